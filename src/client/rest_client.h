/* The smallest client over HTTPS: requests with typed objects, and reflectors (list, then watch). The scheduler and kube-proxy as commands use it.
 *
 * Upstream: client-go rest.Config, rest.Request, cache.Reflector. Thread-safe; blocking; nothing here runs on a loop. Informers with stores and work queues
 * are to be built upon it. Tried by tests/integration. */
#ifndef CKUBE_CLIENT_REST_CLIENT_H
#define CKUBE_CLIENT_REST_CLIENT_H
#include <stdbool.h>
#include "api/object.h"

struct rest_client;
/* Server and credentials of the file's current context. */
struct rest_client *rest_client_from_kubeconfig(const char *path, struct status *reterr);
void rest_client_free(struct rest_client *c); /* its reflectors stopped; NULL is fine */

/* One request. body NULL: none. The answer is decoded into *ret_obj (of the type, in the arena) unless that is NULL. Answers beyond 2xx are failures with the
 * server's code, reason and message. content_type NULL: application/json. */
int rest_client_request(struct rest_client *c, struct arena *a, const char *method, const char *target, const char *content_type, const struct buf *body,
                        const struct type_desc *type, void *ret_obj, struct status *reterr) WARN_UNUSED;

/* Calls come from the reflector's thread, one at a time. Objects live for the call only. After a gap it lists again and tells what is gone by deletes. */
struct reflector_handler {
    void *data;
    void (*set)(void *data, const void *obj);
    void (*delete)(void *data, const char *namespace, const char *name);
    void (*synced)(void *data); /* after each whole list */
};
struct reflector;
/* target: "/api/v1/pods" or with a query "/api/v1/pods?fieldSelector=..." . */
struct reflector *reflector_start(struct rest_client *c, const char *target, const struct type_desc *type, const struct type_desc *list_type, const struct reflector_handler *handler);
void reflector_stop(struct reflector *r); /* returns when its thread has ended; frees it; NULL is fine */
#endif
