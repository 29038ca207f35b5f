/* What the two halves of DynamicResources share: dynamic_resources.c decides, dynamic_resources_bind.c writes. */
#ifndef CKUBE_SCHEDULER_PLUGINS_DYNAMIC_RESOURCES_H
#define CKUBE_SCHEDULER_PLUGINS_DYNAMIC_RESOURCES_H
#include "scheduler/device_allocator.h"
#include "scheduler/plugins/plugins.h"

struct dra_claims { const struct resourcev1_ResourceClaim **items; size_t len; };
struct dra_state {
    struct dra_claims claims;              /* all of the Pod's */
    struct device_claims open;             /* those without an allocation */
    struct device_allocator *allocator;    /* NULL: none is open */
    struct device_solution **solutions;    /* by a node's list_position; NULL: not found, or not asked */
    size_t nodes_len;
    const struct resourcev1_ResourceClaim *unavailable; /* one that cannot be used on some node, and that only this Pod uses */
};

/* The claim behind an entry; *ret NULL: none is needed. -1 with a status: it cannot be used now. */
int dra_claim(struct scheduler_cache *cache, const struct corev1_Pod *pod, const struct corev1_PodResourceClaim *entry, const struct resourcev1_ResourceClaim **ret, struct status *reterr);
/* Whether all devices of the claim are ready for a Pod to be bound. 1; 0: not yet; -1: one has failed. Upstream: isClaimReadyForBinding. */
int dra_claim_ready(const struct resourcev1_ResourceClaim *claim, struct status *reterr);
bool dra_claim_timed_out(const struct resourcev1_ResourceClaim *claim, struct env *env, int64_t timeout_ms);
enum code dra_allocate(struct cycle *cycle, struct dra_state *s, struct node_info *node, struct reasons *why);

enum code dra_reserve(struct cycle *cycle, struct node_info *node, struct binding *b, struct reasons *why);
void dra_unreserve(struct handle *h, struct binding *b);
int dra_pre_bind(struct handle *h, struct binding *b, struct status *reterr);
#endif
