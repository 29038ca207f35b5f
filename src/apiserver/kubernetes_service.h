/* The Service `kubernetes` and its endpoints: all apiservers that live. Upstream: pkg/controlplane/controller/kubernetesservice with the lease reconciler of
 * pkg/controlplane/reconcilers (lease.go, endpointsadapter.go).
 *
 * Each apiserver keeps a lease in the store, /registry/masterleases/ADDRESS, which expires when it is not renewed, and writes the addresses of all leases into the
 * Endpoints and the EndpointSlice `kubernetes`. Besides upstream's rounds (each 10 s) leases are watched, so that an apiserver is listed as soon as it is there and
 * no longer than its lease lasts. Tests: tests/integration/test_etcd.py, test_cluster.py. */
#ifndef CKUBE_APISERVER_KUBERNETES_SERVICE_H
#define CKUBE_APISERVER_KUBERNETES_SERVICE_H
#include "api/object.h"
#include "apiserver/apiserver.h"

/* The Service as it is made when there is none. In the arena. */
struct corev1_Service *kubernetes_service_object(struct arena *a, struct apiserver *s);

struct kubernetes_service;
/* From when the server serves: a thread that keeps all of it. The address is options' advertise_address. */
struct kubernetes_service *kubernetes_service_start(struct apiserver *s, struct status *reterr);
/* While the server still serves: takes this server out of the endpoints, unless the store does not answer. NULL is fine. */
void kubernetes_service_stop(struct kubernetes_service *k);
#endif
