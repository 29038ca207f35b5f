/* What the scheduler knows of a Pod and of a node, parsed once so that the hot loop compares integers. Upstream: framework.PodInfo, NodeInfo, Resource.
 * pod_info: immutable, counted. node_info: owned by the cache and changed under its lock only. Tests: tests/unit/test_scheduler.c. */
#ifndef CKUBE_SCHEDULER_TYPES_H
#define CKUBE_SCHEDULER_TYPES_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "api/object.h"

/* Resource names are numbered when first seen; extended resources beyond RESOURCES_MAX kinds make a Pod that asks for them unschedulable. */
#define RESOURCES_MAX 32
enum { RESOURCE_CPU, RESOURCE_MEMORY, RESOURCE_EPHEMERAL_STORAGE, RESOURCE_FIRST_SCALAR };
struct resources { int64_t v[RESOURCES_MAX]; }; /* cpu in thousandths, the others in units */

int resource_index(const char *name);                  /* thread-safe; -1: no room, or not a countable resource (pods) */
int resource_count(void);
const char *resource_insufficient_reason(int index);   /* "Insufficient cpu"; lives forever */
/* Adds the amounts to *to; true if all names had room. */
bool resources_add_list(struct resources *to, const struct string_map *list);

struct host_port { const char *ip, *protocol; int32_t port; };
struct host_port_list { struct host_port *items; size_t len; };

struct pod_info {
    atomic_int refs;
    struct arena *arena;          /* holds everything below, and this */
    const struct corev1_Pod *pod; /* a deep copy */
    const char *key;              /* namespace/name */
    struct resources requests;
    int64_t nonzero_cpu, nonzero_memory; /* for scores: Pods without requests count as 100m and 200Mi a container */
    bool unknown_resources;       /* asked for a resource we have no number for */
    struct host_port_list ports;
    int32_t priority;
};
struct pod_info *pod_info_new(const struct corev1_Pod *pod); /* count 1 */
struct pod_info *pod_info_ref(struct pod_info *p);
void pod_info_unref(struct pod_info *p); /* NULL is fine */

struct node_info {
    struct arena *arena;            /* of the node's own part; NULL while only Pods are known */
    const struct corev1_Node *node; /* NULL: Pods arrived before their node, or it was deleted under them */
    char *name;
    struct resources allocatable, requested;
    int64_t pods_max, nonzero_cpu, nonzero_memory;
    struct pod_info **pods; /* counted references */
    size_t pods_len, pods_cap;
};
struct node_info *node_info_new(const char *name);
void node_info_free(struct node_info *n);
void node_info_set_node(struct node_info *n, const struct corev1_Node *node); /* copies; NULL forgets it */
void node_info_add_pod(struct node_info *n, struct pod_info *p);
bool node_info_remove_pod(struct node_info *n, const char *key); /* false: was not there */

/* Upstream: component-helpers resource.PodRequests: containers, init containers, sidecars, Pod-level resources and overhead. */
bool pod_requests(const struct corev1_Pod *pod, struct resources *ret);
bool toleration_tolerates(const struct corev1_Toleration *t, const struct corev1_Taint *taint);
bool tolerations_tolerate(const struct corev1_Toleration_list *list, const struct corev1_Taint *taint);
#endif
