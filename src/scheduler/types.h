/* What the scheduler knows of a Pod and of a node, parsed once so that the hot loop compares integers. Upstream: framework.PodInfo, NodeInfo, Resource.
 * pod_info: counted; immutable but for the fields marked as the cache's, which are touched under its lock only. node_info: owned by the cache and
 * changed under its lock only. Tests: tests/unit/test_scheduler*.c. */
#ifndef CKUBE_SCHEDULER_TYPES_H
#define CKUBE_SCHEDULER_TYPES_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "api/node_match.h"
#include "api/object.h"
#include "api/selector.h"

/* Resource names are numbered when first seen; extended resources beyond RESOURCES_MAX kinds make a Pod that asks for them unschedulable. */
#define RESOURCES_MAX 64
enum { RESOURCE_CPU, RESOURCE_MEMORY, RESOURCE_EPHEMERAL_STORAGE, RESOURCE_FIRST_SCALAR };
struct resources { int64_t v[RESOURCES_MAX]; }; /* cpu in thousandths, the others in units */

int resource_index(const char *name);                  /* thread-safe; -1: no room, or not a countable resource (pods) */
int resource_count(void);
const char *resource_name(int index);
const char *resource_insufficient_reason(int index);   /* "Insufficient cpu"; lives forever */
/* Adds the amounts to *to; true if all names had room. */
bool resources_add_list(struct resources *to, const struct string_map *list);

struct host_port { const char *ip, *protocol; int32_t port; };
struct host_port_list { struct host_port *items; size_t len; };

/* Which Pods a term or a constraint means. Equal texts select alike. */
struct selection {
    const char *text;
    struct string_list namespaces;
    bool by_namespace_selector;
    struct selector namespace_selector, selector;
};
struct selection_list { struct selection *items; size_t len; };

struct counter;
struct holding;
struct pod_class;

/* The terms of inter-pod affinity that a Pod carries. */
enum term_kind { TERM_AFFINITY, TERM_ANTI_AFFINITY, TERM_PREFERRED_AFFINITY, TERM_PREFERRED_ANTI_AFFINITY, TERM_KINDS };
struct pod_term {
    struct selection selection;
    const char *topology_key;
    int32_t weight;            /* of preferred terms */
    uint64_t epoch;            /* the cache's: of the index when the pointers were found */
    struct counter *counter;
    struct holding *holding;
};
struct pod_term_list { struct pod_term *items; size_t len; };

/* One attached volume: of a CSI driver, or of an in-tree plugin that a driver may have taken over. */
struct volume_attach { const char *plugin, *driver, *handle; };
struct volume_attach_list { struct volume_attach *items; size_t len; };

/* What a Pod's topologySpreadConstraints, or the defaults, ask for. */
struct spread_constraint {
    struct selection selection;
    const char *topology_key;
    int32_t max_skew, min_domains;
    bool hard;                 /* DoNotSchedule */
    bool honor_affinity, honor_taints;
    bool self;                 /* the Pod itself is selected */
    uint64_t epoch;            /* the cache's, as above */
    struct counter *counter, *node_counter;
};
struct spread_constraint_list { struct spread_constraint *items; size_t len; };

struct amount { int index; int64_t value; };
struct amounts { struct amount *items; size_t len; };

/* What counting a Pod on a node reads comes first, so that it lies in two or three cache lines. */
struct pod_info {
    atomic_int refs;
    int32_t priority;
    uint64_t key_hash;
    size_t position;              /* the cache's: in the list of the node that it is on */
    struct pod_class *class;      /* the cache's, good while class_epoch is the index's */
    uint64_t class_epoch;
    struct amounts amounts;       /* of requests, those that are not 0 */
    struct amount first_amounts[3];
    int64_t nonzero_cpu, nonzero_memory; /* for scores: Pods without requests count as 100m and 200Mi a container */
    struct host_port_list ports;
    struct pod_term_list terms[TERM_KINDS];
    struct api_time started;      /* status.startTime; not set: far in the future */
    bool unknown_resources;       /* asked for a resource we have no number for */
    bool terminating, has_claims, has_volumes; /* has_claims: volumes by PersistentVolumeClaim */
    struct arena *arena;          /* holds everything below, and this */
    const struct corev1_Pod *pod; /* a deep copy */
    const char *key;              /* namespace/name */
    const char *class_key;        /* namespace, labels, and whether it is being deleted: what selectors can see */
    struct selection_list affinity; /* of the required affinity terms, all of which count together */
    struct spread_constraint_list spread;
    struct resources requests;
    /* The cache's. */
    struct volume_attach_list attaches; /* plugins/node_volume_limits.c: once all its claims are bound */
    bool attaches_known;
    uint64_t signature[2];        /* plugins/default_preemption.c: Pods of one signature preempt alike; 0: not made yet */
};
static inline bool pod_info_same(const struct pod_info *a, const struct pod_info *b) { return a == b || (a->key_hash == b->key_hash && !strcmp(a->key, b->key)); } /* of one name */
struct pod_info *pod_info_new(const struct corev1_Pod *pod); /* count 1 */
struct pod_info *pod_info_ref(struct pod_info *p);
void pod_info_unref(struct pod_info *p); /* NULL is fine */

/* A selection by a LabelSelector in the namespaces given; extra: further requirements. Strings are shared with the arguments. */
void selection_init(struct arena *a, struct selection *s, const struct string_list *namespaces, const struct metav1_LabelSelector *namespace_selector,
                    const struct metav1_LabelSelector *selector);
void selection_add_requirement(struct arena *a, struct selection *s, const char *key, enum selector_op op, const char *value);
void selection_finish(struct arena *a, struct selection *s); /* writes text */
struct selection selection_copy(struct arena *a, const struct selection *s);

/* An image that some node holds; counted by its nodes. */
struct image_state { char *name; size_t nodes; };
struct node_image { struct image_state *image; int64_t bytes; };
struct node_image_list { struct node_image *items; size_t len; };

struct node_info {
    const struct corev1_Node *node; /* NULL: Pods arrived before their node, or it was deleted under them */
    struct arena *arena;            /* of the node's own part; NULL while only Pods are known */
    char *name;
    int64_t pods_max, nonzero_cpu, nonzero_memory;
    struct pod_info **pods;         /* counted references */
    size_t pods_len, pods_cap, ports; /* ports: host ports in use */
    int32_t *topology;              /* by the index's keys: the number of the node's label value, -1: no such label */
    int32_t slot;                   /* a small number of its own while it has a node; else -1 */
    size_t index_position, list_position; /* the index's and the cache's */
    int zone;                       /* the cache's number of its zone */
    bool unschedulable;             /* spec.unschedulable */
    uint16_t hard_taints, soft_taints;
    uint64_t version;               /* moves when Pods come or go or the node changes, dry runs aside */
    struct preemption_memo *memo;   /* plugins/default_preemption.c */
    struct pod_info **nominated;    /* Pods that wait for room here; counted references */
    size_t nominated_len, nominated_cap;
    int32_t nominated_priority_min;
    struct resources nominated_sum; /* their requests */
    struct resources allocatable, requested;
    struct node_image_list images;
};
struct node_info *node_info_new(const char *name);
void node_info_free(struct node_info *n);
void node_info_set_node(struct node_info *n, const struct corev1_Node *node); /* copies; NULL forgets it */
void node_info_add_pod(struct node_info *n, struct pod_info *p);
void node_info_remove_pod(struct node_info *n, struct pod_info *p); /* it is there */

/* Upstream: component-helpers resource.PodRequests: containers, init containers, sidecars, Pod-level resources and overhead, and what a resize under way
 * still holds. */
bool pod_requests(const struct corev1_Pod *pod, struct resources *ret);
/* The same for scores: containers that do not say count as 100m and 200Mi. Upstream: non0Requests. */
void pod_requests_nonzero(const struct corev1_Pod *pod, const struct resources *requests, int64_t *ret_cpu, int64_t *ret_memory);
/* The first NoSchedule or NoExecute taint that is not tolerated, or NULL. */
const struct corev1_Taint *node_untolerated_taint(const struct corev1_Node *node, const struct corev1_Toleration_list *tolerations);
#endif
