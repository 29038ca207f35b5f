/* The loop over CustomResourceDefinitions: names are accepted or not, what is accepted is established, what is deleted loses its objects and then goes. One thread; it writes
 * straight to the store. Upstream: apiextensions-apiserver pkg/controller/{status,establish,finalizer}. */
#ifndef CKUBE_APISERVER_CUSTOM_CONTROLLER_H
#define CKUBE_APISERVER_CUSTOM_CONTROLLER_H
#include "apiserver/custom_resources.h"

struct custom_controller;
/* `serve` is told what to serve under a definition's name from now on (NULL: nothing any more); it takes the reference. Called for all that is stored before this returns. */
struct custom_controller *custom_controller_new(struct apiserver *s, void (*serve)(void *arg, const char *name, struct custom_resource *r), void *arg, struct status *reterr);
void custom_controller_free(struct custom_controller *c); /* NULL is fine */
#endif
