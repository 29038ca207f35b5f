/* The devices of the cluster as the scheduler sees them: what ResourceSlices publish, who has what, and which pools a node can use. Upstream: dynamicresources'
 * claim tracker and allocatedDevices, dynamic-resource-allocation/structured (GatherPools).
 *
 * Owned by the cache and touched under its lock only. Slices are the cache's own copies: a pointer to a device is good while the lock is held. Allocations are counted
 * per device as claims change, so that a cycle counts nothing. A claim that a Pod has been given devices for is `pending` from Reserve until the API shows its
 * allocation (or something newer than what was written): meanwhile the devices count as taken. Tests: test_scheduler_devices.c. */
#ifndef CKUBE_SCHEDULER_DEVICES_H
#define CKUBE_SCHEDULER_DEVICES_H
#include "api/object.h"
#include "api/quantity.h"

#define DEVICE_PROGRAMS_MAX 64

struct consumed { const char *name; int128 nanos; };
struct consumed_list { struct consumed *items; size_t len; };
/* Who has a device: it outlives slices while a claim has it. */
struct device_id {
    char *key;                     /* driver/pool/device */
    size_t refs;
    size_t dedicated, shared;      /* allocations of it whole, and of shares of it */
    struct consumed_list consumed; /* by its shares; on the heap */
};
struct device {
    const struct resourcev1_Device *spec;
    const struct device_slice *slice;
    struct device_id *id;
    uint64_t match_epoch;          /* of match: by program, what its selector says: 0 not asked yet, 1 no, 2 yes */
    uint8_t match[DEVICE_PROGRAMS_MAX];
};
struct device_slice {
    const struct resourcev1_ResourceSlice *obj;
    struct device *devices;
    size_t devices_len;
};
struct device_slice_list { struct device_slice **items; size_t len; };
struct device_counter { const char *set, *name; int128 total, available; };
struct device_counter_list { struct device_counter *items; size_t len; };

/* One pool as one node sees it. */
struct device_pool {
    const char *driver, *name;
    bool incomplete, invalid;      /* being updated; contradicts itself */
    const char *invalid_reason;
    struct device_slice_list slices, others; /* with devices for the node, by name; of other nodes */
    struct device_counter_list counters;     /* available: see devices_pool_counters */
    uint64_t counters_version;
    bool binding_conditions;
};
struct device_pool_list { struct device_pool *items; size_t len; };

struct devices;
struct devices *devices_new(void);
void devices_free(struct devices *d);

/* ---- news, from the cache ---- */
/* now NULL: it is gone. The old object is still readable during the call. */
void devices_slice_changed(struct devices *d, const char *name, const struct resourcev1_ResourceSlice *now);
void devices_claim_changed(struct devices *d, const char *namespace, const char *name, const struct resourcev1_ResourceClaim *now);
void devices_node_changed(struct devices *d, const char *node); /* its labels, or it came or went */

/* ---- allocations under way ---- */
void devices_pend(struct devices *d, const struct resourcev1_ResourceClaim *claim, const struct resourcev1_AllocationResult *allocation);
bool devices_pending(const struct devices *d, const struct resourcev1_ResourceClaim *claim);
/* It has been written, with this resourceVersion: the API will show it. */
void devices_written(struct devices *d, const struct resourcev1_ResourceClaim *claim, const char *resource_version);
void devices_unpend(struct devices *d, const struct resourcev1_ResourceClaim *claim); /* it came to nothing; not if it was written */
uint64_t devices_version(const struct devices *d); /* moves with each change of who has what */

/* ---- for allocators ---- */
/* Upstream: GatherPools. Kept until a slice or the node changes. */
const struct device_pool_list *devices_of_node(struct devices *d, const struct corev1_Node *node);
/* The pool's counters with what allocated devices leave of them. */
const struct device_counter_list *devices_pool_counters(struct devices *d, struct device_pool *pool);
/* Whether the node is meant. Upstream: NodeMatches. */
bool devices_node_matches(const struct corev1_Node *node, const char *name, const struct opt_bool *all, const struct corev1_NodeSelector *selector);
/* Whether a selector selects the device: 1, 0; -1: *ret_error (in the arena) says why it cannot be told, *ret_compile whether it does not even compile. */
int devices_select(struct devices *d, struct arena *a, struct device *device, const char *expression, const char **ret_error, bool *ret_compile);
#endif
