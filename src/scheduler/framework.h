/* The scheduling framework: plugins as tables of functions, one slot an extension point, any of which may be NULL. Upstream: scheduler/framework.
 *
 * A profile is a list of plugins in order. One cycle schedules one Pod, on the scheduling thread, with the cache's lock held: PreFilter, Filter (each
 * node), PostFilter if none is left, PreScore, Score (each node left), Normalize, Reserve, Permit. PreBind and Bind run later, on a binding thread,
 * without the lock. A plugin that keeps something between its points puts it in cycle->state at its own index, allocated from cycle->arena.
 * Reasons are strings that live forever, or as long as the cycle's arena: equal ones are counted by their text. */
#ifndef CKUBE_SCHEDULER_FRAMEWORK_H
#define CKUBE_SCHEDULER_FRAMEWORK_H
#include "base/env.h"
#include "scheduler/types.h"

#define PLUGINS_MAX 32
#define NODE_SCORE_MAX 100
#define REASONS_MAX 40 /* a resource each, and some */

enum code { CODE_SUCCESS, CODE_ERROR, CODE_UNSCHEDULABLE, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, CODE_WAIT, CODE_SKIP };
struct reasons { const char *items[REASONS_MAX]; size_t len; };
enum code reasons_add(struct reasons *r, enum code code, const char *reason); /* returns code */

struct cycle {
    struct arena *arena;
    const struct pod_info *pod;
    struct node_info *const *nodes; /* all of the cluster */
    size_t nodes_len;
    void *state[PLUGINS_MAX];
    bool skip_filter[PLUGINS_MAX], skip_score[PLUGINS_MAX]; /* a Pre point said CODE_SKIP */
    int plugin;                     /* the index of the plugin that is being called */
};

struct plugin {
    const char *name;
    int weight; /* of its scores; 0 counts as 1 */
    enum code (*pre_enqueue)(const struct pod_info *pod, struct reasons *why); /* anything but success keeps the Pod out of the queue */
    enum code (*pre_filter)(struct cycle *cycle, struct reasons *why);
    enum code (*filter)(struct cycle *cycle, const struct node_info *node, struct reasons *why);
    enum code (*post_filter)(struct cycle *cycle, const enum code *codes, const char **ret_message, const char **ret_nominated_node);
    enum code (*pre_score)(struct cycle *cycle, const struct node_info *const *nodes, size_t len);
    int64_t (*score)(struct cycle *cycle, const struct node_info *node);
    void (*normalize)(struct cycle *cycle, int64_t *scores, size_t len); /* to 0..NODE_SCORE_MAX; NULL: they are already */
    enum code (*reserve)(struct cycle *cycle, const struct node_info *node);
    void (*unreserve)(const struct pod_info *pod, const char *node);
    enum code (*permit)(struct cycle *cycle, const struct node_info *node);
    int (*pre_bind)(const struct pod_info *pod, const char *node, struct status *reterr);
};

/* plugins/: in upstream's default order. */
extern const struct plugin plugin_scheduling_gates, plugin_node_unschedulable, plugin_node_name, plugin_taint_toleration, plugin_node_affinity,
    plugin_node_ports, plugin_node_resources_fit, plugin_node_resources_balanced_allocation, plugin_image_locality, plugin_default_preemption;
extern const struct plugin *const default_plugins[]; /* ends with NULL */

/* Scales so that the largest is NODE_SCORE_MAX; reverse: small is good. Upstream: helper.DefaultNormalizeScore. */
void scores_normalize(int64_t *scores, size_t len, bool reverse);
/* nodeSelector and the required node affinity. Upstream: nodeaffinity.GetRequiredNodeAffinity(pod).Match(node) */
bool node_affinity_required_matches(const struct corev1_PodSpec *spec, const struct corev1_Node *node);

struct framework {
    const struct plugin *const *plugins;
    struct env *env;
    size_t next_start; /* where the next cycle begins to look, so that all nodes get their turn in large clusters */
};
struct schedule_result {
    struct node_info *node;    /* NULL: it fits nowhere */
    size_t evaluated, feasible;
    const char *message;       /* why not, in upstream's words; in the cycle's arena */
    bool error;                /* not a matter of fit: try again */
};
/* One Pod against the nodes; the caller holds what protects them. */
void framework_schedule(struct framework *f, struct arena *arena, const struct pod_info *pod, struct node_info *const *nodes, size_t len, struct schedule_result *ret);
#endif
