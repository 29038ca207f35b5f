/* The struct behind device_allocator.h: device_allocator.c searches, device_result.c writes down what was found, device_capacity.c measures shares. */
#ifndef CKUBE_SCHEDULER_DEVICE_ALLOCATOR_INTERNAL_H
#define CKUBE_SCHEDULER_DEVICE_ALLOCATOR_INTERNAL_H
#include "scheduler/device_allocator.h"
#include "scheduler/devices.h"

struct device_alternatives { struct device_request *items; size_t len; bool prioritized; };
struct device_allocator {
    struct arena *arena;
    struct scheduler_cache *cache;
    struct devices *devices;
    struct device_claims claims;
    struct device_alternatives **requests; /* of each claim and each of its requests */
    bool has_alternatives;
};

/* Whether the device has room for what the request consumes of it, beside what `taken` (of this very search) and others consume. False too if the request names a
 * capacity that it has not. Upstream: CmpRequestOverCapacity. */
bool device_capacity_fits(const struct device *v, const struct resourcev1_CapacityRequirements *wanted, const struct device_choice_list *claims, size_t claims_len);
/* What a share of the device takes. Upstream: GetConsumedCapacityFromRequest. */
struct string_map device_capacity_consumed(struct arena *a, const struct device *v, const struct resourcev1_CapacityRequirements *wanted);
static inline bool device_shared(const struct device *v) { return v->spec->allowMultipleAllocations.has && v->spec->allowMultipleAllocations.value; }
#endif
