/* Extenders: HTTP services that are asked after the Filters, at scoring, for binding and before preemption. Upstream: scheduler/extender.go and
 * kube-scheduler/extender/v1. Calls block; the framework lets go of the cache's lock around them. Tests: test_scheduler_config.c. */
#ifndef CKUBE_SCHEDULER_EXTENDER_H
#define CKUBE_SCHEDULER_EXTENDER_H
#include "base/buf.h"
#include "base/status.h"
#include "scheduler/types.h"

struct managed_resource { const char *name; bool ignored_by_scheduler; };
struct managed_resource_list { struct managed_resource *items; size_t len; };
struct extender {
    const char *url_prefix, *filter_verb, *preempt_verb, *prioritize_verb, *bind_verb;
    int64_t weight, timeout_ms;
    bool node_cache_capable, ignorable, insecure;
    const char *server_name, *cert_file, *key_file, *ca_file;
    struct managed_resource_list managed;
    /* POST of JSON to url; the answer's body in *out. Tests put their own here; NULL: over HTTP. */
    int (*post)(void *data, const struct extender *e, const char *url, const struct buf *body, struct buf *out, struct status *reterr);
    void *post_data;
};
struct extender_list { struct extender *items; size_t len; };

/* A node on its way through extenders, by name, since nodes may go while they are asked. */
struct extender_node { const char *name; const struct corev1_Node *node; bool failed, unresolvable; const char *message; int64_t score; };
struct extender_node_list { struct extender_node *items; size_t len; };

bool extender_interested(const struct extender *e, const struct corev1_Pod *pod);
/* Marks the nodes that fail. */
int extender_filter(const struct extender *e, struct arena *a, const struct corev1_Pod *pod, struct extender_node_list *nodes, struct status *reterr);
/* Adds the scores, weighted and scaled to NODE_SCORE_MAX. */
int extender_prioritize(const struct extender *e, struct arena *a, const struct corev1_Pod *pod, struct extender_node_list *nodes, struct status *reterr);
int extender_bind(const struct extender *e, const struct corev1_Pod *pod, const char *node, struct status *reterr);
#endif
