/* Admission plugins that concern the smaller groups. */
#ifndef CKUBE_APISERVER_ADMISSION_GROUPS_H
#define CKUBE_APISERVER_ADMISSION_GROUPS_H
#include "apiserver/registry.h"

/* A new Ingress without a class gets the default one. */
int default_ingress_class(struct api_request *r, struct networkingv1_Ingress *ingress, struct status *reterr);
#endif
