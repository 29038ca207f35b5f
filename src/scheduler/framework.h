/* The scheduling framework: plugins as tables of functions, one slot an extension point, any of which may be NULL. Upstream: scheduler/framework.
 *
 * A profile says which plugins are used at which point, in which order, with which weights and arguments. One cycle schedules one Pod, on the scheduling
 * thread, with the cache's lock held: PreFilter, Filter (each node), PostFilter if none is left, PreScore, Score (each node left), Normalize, Reserve,
 * Permit. PreBind, Bind and PostBind run later, on a binding thread, without the lock. A plugin that keeps something between its points puts it in
 * cycle->state at its own id, allocated from cycle->arena; what PreBind needs goes to binding->state, allocated from binding->arena.
 * Reasons are strings that live forever, or as long as the cycle's arena: equal ones are counted by their text. Plugins' own state: none. */
#ifndef CKUBE_SCHEDULER_FRAMEWORK_H
#define CKUBE_SCHEDULER_FRAMEWORK_H
#include "base/env.h"
#include "scheduler/events.h"

#define NODE_SCORE_MAX 100
#define REASONS_MAX 40 /* a resource each, and some */

/* In upstream's default order. */
enum plugin_id {
    PLUGIN_SCHEDULING_GATES, PLUGIN_PRIORITY_SORT, PLUGIN_NODE_UNSCHEDULABLE, PLUGIN_NODE_NAME, PLUGIN_TAINT_TOLERATION, PLUGIN_NODE_AFFINITY,
    PLUGIN_NODE_PORTS, PLUGIN_NODE_RESOURCES_FIT, PLUGIN_VOLUME_RESTRICTIONS, PLUGIN_NODE_VOLUME_LIMITS, PLUGIN_VOLUME_BINDING, PLUGIN_VOLUME_ZONE,
    PLUGIN_POD_TOPOLOGY_SPREAD, PLUGIN_INTER_POD_AFFINITY, PLUGIN_DYNAMIC_RESOURCES, PLUGIN_DEFAULT_PREEMPTION,
    PLUGIN_NODE_RESOURCES_BALANCED_ALLOCATION, PLUGIN_IMAGE_LOCALITY, PLUGIN_DEFAULT_BINDER, PLUGIN_NODE_DECLARED_FEATURES, PLUGINS_LEN,
    PLUGIN_EXTENDER = PLUGINS_LEN /* in masks: an HTTP extender said no */
};

/* Called without locks, from the scheduling thread (condition, event, nomination) and from binding threads (all). Those marked optional may be NULL: what
 * needs them then fails with a clear error. */
struct scheduler_client {
    void *data;
    /* POST pods/NAME/binding. */
    int (*bind)(void *data, const struct corev1_Pod *pod, const char *node, struct status *reterr);
    /* The Pod's condition PodScheduled := False with the reason (Unschedulable, SchedulerError) and message; skip if it says so already. */
    int (*set_unscheduled)(void *data, const struct corev1_Pod *pod, const char *reason, const char *message, struct status *reterr);
    /* An Event about the Pod; type Normal or Warning. */
    void (*record)(void *data, const struct corev1_Pod *pod, const char *type, const char *reason, const char *action, const char *note);
    /* Optional: status.nominatedNodeName := node ("" clears it). */
    int (*nominate)(void *data, const struct corev1_Pod *pod, const char *node, struct status *reterr);
    /* Optional, for preemption: the condition DisruptionTarget=True with reason PreemptionByScheduler and the message; then DELETE the Pod (with its own
     * grace period), with its UID as a precondition. 404 is success. */
    int (*evict)(void *data, const struct corev1_Pod *victim, const char *message, struct status *reterr);
    /* Optional: as record, with `related` set in the Event (the preemptor). */
    void (*record_related)(void *data, const struct corev1_Pod *pod, const struct corev1_Pod *related, const char *type, const char *reason, const char *action,
                           const char *note);
    /* Optional, for delayed volume binding: PUT of the object as it is, its resourceVersion included. */
    int (*update_volume)(void *data, const struct corev1_PersistentVolume *pv, struct status *reterr);
    int (*update_claim)(void *data, const struct corev1_PersistentVolumeClaim *pvc, struct status *reterr);
    /* Optional, for dynamic resources: reads the claim as it is; PUT of the claim or, `status`, of its status; *ret (may be NULL) lives in the arena. */
    int (*get_resource_claim)(void *data, struct arena *a, const char *namespace, const char *name, struct resourcev1_ResourceClaim *ret, struct status *reterr);
    int (*put_resource_claim)(void *data, struct arena *a, const struct resourcev1_ResourceClaim *claim, bool status, struct resourcev1_ResourceClaim *ret, struct status *reterr);
    /* Optional: the Pod is no longer among those that the claim is reserved for. */
    int (*unreserve_resource_claim)(void *data, const struct resourcev1_ResourceClaim *claim, const struct corev1_Pod *pod, struct status *reterr);
};

/* What plugins may use besides their arguments; binding threads take the cache's lock themselves. */
struct handle {
    struct env *env;
    struct scheduler_cache *cache;
    const struct scheduler_client *client;
};

enum code { CODE_SUCCESS, CODE_ERROR, CODE_UNSCHEDULABLE, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, CODE_WAIT, CODE_SKIP };
struct reasons { const char *items[REASONS_MAX]; size_t len; };
enum code reasons_add(struct reasons *r, enum code code, const char *reason); /* returns code */

struct plugin;
struct schedule_result;
struct profile;
struct framework;
struct plugin_use { const struct plugin *plugin; const void *args; int weight; }; /* args: the plugin's own struct (args.h), never NULL where it has one */

struct cycle {
    struct arena *arena;
    struct handle *handle;
    struct scheduler_cache *cache;
    const struct profile *profile;
    const struct plugin_use *use;   /* what is being called */
    struct pod_info *pod;
    struct node_info *const *nodes; /* all of the cluster */
    size_t nodes_len;
    void *state[PLUGINS_LEN], *score_state[PLUGINS_LEN];
    uint32_t skip_filter, skip_score; /* masks of those whose Pre point said CODE_SKIP */
    const struct plugin_use *filters[PLUGINS_LEN]; /* those left */
    int filters_len;
    bool fit_decides;               /* the Filters up to NodeResourcesFit look at nothing but the node and its sums */
    const struct node_info *own;    /* where the Pod is nominated */
    const struct resources *extra;  /* for NodeResourcesFit: requests beside those on the node, of extra_pods Pods; NULL: none */
    size_t extra_pods;
    /* PreFilter may leave only some nodes. */
    bool restricted;
    struct { struct node_info **items; size_t len; } only;
    uint32_t restrictors;
    uint32_t rejectors;             /* mask of plugins that said no */
    struct framework *framework;
};

/* From Reserve to the end of binding. */
struct binding {
    struct binding *next;
    struct arena *arena;
    const struct profile *profile;
    struct pod_info *pod;
    const char *node;
    int attempts;              /* of the Pod, this one included */
    int64_t first_ns, begun_ns; /* when the first of them began, and this one */
    void *state[PLUGINS_LEN];
    struct pod_info **victims; /* not a binding: Pods to evict for pod */
    size_t victims_len;
    struct resourcev1_ResourceClaim *deallocate; /* nor then: a claim that is to give its devices back, so that pod may get others */
};

struct plugin {
    const char *name;
    enum plugin_id id;
    int weight; /* of its scores by default; 0: none */
    /* Anything but success keeps the Pod out of the queue. cache NULL: it is not locked now; say success if it cannot be told without. */
    enum code (*pre_enqueue)(struct scheduler_cache *cache, const struct pod_info *pod, struct reasons *why);
    bool queue_sort;
    enum code (*pre_filter)(struct cycle *cycle, struct reasons *why);
    /* A dry run puts a Pod on a node (+1) or takes it away (-1): what PreFilter found out beside the index follows. */
    void (*count_pod)(struct cycle *cycle, struct node_info *node, struct pod_info *pod, int sign);
    enum code (*filter)(struct cycle *cycle, struct node_info *node, struct reasons *why);
    /* codes: what Filter said of each node, by its list_position. ret->nominated: NULL leaves it as it is, "" clears it. */
    enum code (*post_filter)(struct cycle *cycle, const uint8_t *codes, struct schedule_result *ret, const char **ret_message);
    enum code (*pre_score)(struct cycle *cycle, struct node_info *const *nodes, size_t len);
    int64_t (*score)(struct cycle *cycle, struct node_info *node);
    void (*normalize)(struct cycle *cycle, struct node_info *const *nodes, int64_t *scores, size_t len); /* to 0..NODE_SCORE_MAX; NULL: they are already */
    enum code (*reserve)(struct cycle *cycle, struct node_info *node, struct binding *binding, struct reasons *why);
    void (*unreserve)(struct handle *handle, struct binding *binding); /* takes the cache's lock; also called if Reserve never was */
    enum code (*permit)(struct cycle *cycle, struct node_info *node, struct reasons *why); /* there is no waiting on Permit: none of ours says CODE_WAIT */
    int (*pre_bind)(struct handle *handle, struct binding *binding, struct status *reterr); /* 0; -1; 1: not yet, call again in a second */
    int (*bind)(struct handle *handle, struct binding *binding, struct status *reterr);
    void (*post_bind)(struct handle *handle, struct binding *binding);
    /* Which events may make a Pod schedulable that this plugin said no to: masks of actions. hint says whether this one may; NULL: any may. With the
     * cache's lock held. Upstream: EventsToRegister, QueueingHintFn. */
    unsigned events[EVENT_RESOURCES];
    bool (*hint)(struct scheduler_cache *cache, const void *args, const struct cluster_event *event, struct pod_info *pod);
};

extern const struct plugin *const all_plugins[PLUGINS_LEN]; /* by id */
const struct plugin *plugin_find(const char *name);         /* NULL: none of that name */

enum point {
    POINT_PRE_ENQUEUE, POINT_QUEUE_SORT, POINT_PRE_FILTER, POINT_FILTER, POINT_POST_FILTER, POINT_PRE_SCORE, POINT_SCORE, POINT_RESERVE, POINT_PERMIT,
    POINT_PRE_BIND, POINT_BIND, POINT_POST_BIND, POINTS_LEN
};
bool plugin_has_point(const struct plugin *p, enum point point);

struct plugin_uses { struct plugin_use items[PLUGINS_LEN]; int len; };
struct profile {
    const char *name;      /* spec.schedulerName */
    int percentage;        /* of nodes to score; 0: by the cluster's size */
    struct plugin_uses points[POINTS_LEN];
    const void *args[PLUGINS_LEN];
};
void profile_init_default(struct profile *p, const char *name); /* upstream's default plugins, weights and arguments */
/* The plugins that may have use of this event; then what their hints say of a Pod, as a mask. */
uint32_t profile_event_mask(const struct cluster_event *e);
uint32_t profile_hints(const struct profile *p, struct scheduler_cache *c, const struct cluster_event *e, struct pod_info *pod, uint32_t mask);

/* Scales so that the largest is NODE_SCORE_MAX; reverse: small is good. Upstream: helper.DefaultNormalizeScore. */
void scores_normalize(int64_t *scores, size_t len, bool reverse);

struct extender_list;
struct scheduler_metrics;
struct framework {
    struct handle handle;
    const struct extender_list *extenders; /* NULL: none */
    size_t next_start;                     /* where the next cycle begins to look, so that all nodes get their turn in large clusters */
    uint64_t random;                       /* of the choice among equals; 0: not yet seeded */
    struct scheduler_metrics *metrics;     /* NULL: nothing is counted */
};
struct schedule_result {
    struct node_info *node;    /* NULL: it fits nowhere */
    size_t evaluated, feasible;
    const char *message;       /* why not, in upstream's words; in the cycle's arena */
    bool error;                /* not a matter of fit: try again */
    uint32_t rejectors;        /* mask of the plugins that said no */
    const char *nominated;     /* NULL: leave the nomination as it is; "": clear it; else a node where room is being made */
    struct pod_info **victims; /* by whose eviction; in the cycle's arena, without references */
    size_t victims_len;
    const struct resourcev1_ResourceClaim *deallocate; /* without allocation and reservations, to be written so; in the cycle's arena */
};
/* One Pod against the cache's nodes; the caller holds the cache's lock (which an extender's call lets go of for a while). *ret_cycle may be NULL. */
void framework_schedule(struct framework *f, const struct profile *profile, struct arena *arena, struct pod_info *pod, struct schedule_result *ret, struct cycle **ret_cycle);
/* Reserve and Permit on the node chosen, the Pod being assumed there; on failure all is undone but the assuming. */
bool framework_reserve(struct cycle *cycle, struct node_info *node, struct binding *binding, struct schedule_result *ret);
void framework_unreserve(struct handle *h, struct binding *b);
/* PreBind and Bind, without the lock; the error's words name the plugin. 0; -1; 1: PreBind is to be called again in a second. */
int framework_bind(struct framework *f, struct binding *b, struct status *reterr);

/* For post_filter. All Filters on one node, with the Pods nominated there that come first. */
enum code framework_filter_node(struct cycle *cycle, struct node_info *node, struct reasons *why);
void cycle_node_add_pod(struct cycle *cycle, struct node_info *node, struct pod_info *pod);
void cycle_node_remove_pod(struct cycle *cycle, struct node_info *node, struct pod_info *pod);
uint64_t framework_random(struct framework *f, uint64_t below);

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
struct reason_count { const char *reason; size_t n; };
struct reason_counts { struct reason_count *items; size_t len; };
void reason_counts_add(struct arena *a, struct reason_counts *c, const char *reason, size_t n);
char *reason_counts_message(struct arena *a, size_t nodes, const struct reason_counts *c);
#endif
