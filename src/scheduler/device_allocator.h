/* Chooses devices for claims on one node. Upstream: k8s.io/dynamic-resource-allocation/structured, its "incubating" allocator: exact counts and all, prioritized lists,
 * selectors, constraints, admin access, taints and tolerations, shared counters of partitionable devices, consumable capacity, binding conditions.
 *
 * The search is upstream's: requests in order, pools, slices and devices in order, depth first with backtracking, so that the first solution is the same. One
 * difference on purpose: constraints on distinct attributes look at all devices chosen, not at the last one of each request, and what a choice that is given up
 * had taken is always given back. Used with the cache's lock held; lives in the cycle's arena. Tests: test_scheduler_devices.c. */
#ifndef CKUBE_SCHEDULER_DEVICE_ALLOCATOR_H
#define CKUBE_SCHEDULER_DEVICE_ALLOCATOR_H
#include "base/env.h"
#include "scheduler/cache.h"

/* A request, or one of the alternatives of a request with a prioritized list. */
struct device_request {
    const char *name, *parent;           /* parent: of the request whose alternative it is; NULL */
    const char *class_name, *mode;
    int64_t count;
    bool admin;
    const struct resourcev1_DeviceSelector_list *selectors;
    const struct resourcev1_DeviceToleration_list *tolerations;
    const struct resourcev1_CapacityRequirements *capacity;
    const struct resourcev1_DeviceClass *class;
};
/* A device that was chosen. */
struct device_choice { struct device *device; const struct device_request *request; struct string_map consumed; bool counted; };
struct device_choice_list { struct device_choice *items; size_t len; };
/* One solution: of each claim the devices, and of each of its requests the alternative that was taken. */
struct device_solution { struct device_choice_list *claims; size_t **alternatives; };

struct device_claims { const struct resourcev1_ResourceClaim **items; size_t len; };
struct device_allocator;
/* claims: those without an allocation; they and the classes live as long as the lock is held. */
struct device_allocator *device_allocator_new(struct arena *a, struct scheduler_cache *cache, const struct device_claims *claims);

enum device_outcome {
    DEVICES_FOUND, DEVICES_NONE,
    DEVICES_INVALID,  /* none, and pools of the node contradict themselves: *ret_error */
    DEVICES_TIMEOUT,  /* the deadline has passed */
    DEVICES_ERROR     /* the claims, a class or a selector are at fault: it is of no use to try other nodes. *ret_error */
};
/* deadline_ns: on the monotonic clock; 0: none. *ret lives in the allocator's arena. */
enum device_outcome device_allocate(struct device_allocator *al, struct env *env, int64_t deadline_ns, const struct corev1_Node *node, struct device_solution **ret,
                                    const char **ret_error);
/* Points for alternatives that come early. Upstream: computeScore. */
int64_t device_solution_score(const struct device_allocator *al, const struct device_solution *s);
bool device_allocator_has_alternatives(const struct device_allocator *al);
/* The solution for claim i as it is written into its status, copied to the arena. -1: the node selector of a slice cannot be expressed. */
int device_solution_result(const struct device_allocator *al, struct arena *a, struct env *env, const struct device_solution *s, size_t i, const char *node,
                           struct resourcev1_AllocationResult **ret, struct status *reterr);
#endif
