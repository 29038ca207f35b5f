/* What the controllers of Endpoints and EndpointSlices have in common. Upstream: k8s.io/endpointslice/util. Tests: tests/unit/test_controller_endpoints.c. */
#ifndef CKUBE_CONTROLLER_SERVICE_UTIL_H
#define CKUBE_CONTROLLER_SERVICE_UTIL_H
#include "controller/controller_utils.h"

/* Enqueues Services when they change and when a Pod that they select, or did, changes in a way that endpoints show. */
struct service_watch { struct controller *c; struct informer *services, *pods; };
void service_watch_start(struct service_watch *w, struct controller *c); /* w lives as long as the informers run */

void service_list_pods(const struct service_watch *w, struct arena *a, const struct corev1_Service *svc, struct cached_list *ret); /* that it selects, by name */
bool pod_belongs_in_endpoints(const struct corev1_Pod *p, bool include_terminating);
bool pod_endpoint_has_hostname(const struct corev1_Pod *p, const struct corev1_Service *svc);
/* The container port that a Service's port means; -1: the Pod has none of that name. */
int32_t pod_find_port(const struct corev1_Pod *p, const struct corev1_ServicePort *port);
bool service_has_cluster_ip(const struct corev1_Service *svc); /* not headless */
/* The Pod's address of a family, in canonical form; NULL: it has none. */
const char *pod_address(struct arena *a, const struct corev1_Pod *p, bool ipv6);
int address_compare(const char *a, const char *b); /* by bytes, IPv4 as mapped */

/* When what made a write necessary happened, for the annotation endpoints.kubernetes.io/last-change-trigger-time. Upstream: TriggerTimeTracker. Thread-safe. */
#define TRIGGER_TIME_ANNOTATION "endpoints.kubernetes.io/last-change-trigger-time"
struct trigger_times;
struct trigger_times *trigger_times_new(void);
void trigger_times_free(struct trigger_times *t);
/* Seconds since 1970; 0: nothing that has a time. */
int64_t trigger_times_compute(struct trigger_times *t, const char *key, const struct corev1_Service *svc, const struct cached_list *pods);
void trigger_times_delete(struct trigger_times *t, const char *key);
/* Sets the annotation, or takes it off. */
void trigger_time_annotate(struct arena *a, struct string_map *annotations, int64_t time_s);

/* Versions that we wrote and that the cache may not show yet: then it is not to be acted upon. Upstream: EndpointSliceTracker, staleEndpointsTracker. Thread-safe. */
struct version_tracker;
struct version_tracker *version_tracker_new(void);
void version_tracker_free(struct version_tracker *t);
void version_tracker_wrote(struct version_tracker *t, const char *owner, const struct object *obj); /* as the server returned it */
void version_tracker_deleted(struct version_tracker *t, const char *owner, const struct object *obj);
void version_tracker_gone(struct version_tracker *t, const char *owner, const struct object *obj);  /* its deletion was seen */
void version_tracker_forget(struct version_tracker *t, const char *owner);
bool version_tracker_stale(struct version_tracker *t, const char *owner, const struct cached_list *cached);
#endif
