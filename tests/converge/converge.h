/* Controllers that must come to the same state whatever fails: scenarios for the harness in converge.c, which `make converge` runs.
 *
 * A scenario is a small world: a real apiserver on a store of its own, one controller or some that belong together, objects at the beginning, and steps that a user takes. The harness plays it
 * once without faults: where that ends (done) is the state to come to. Then once for each seed with faults (controller_faults.h): requests fail, answers get lost, updates
 * conflict, watches are late, cut, forget and repeat, steps come early or late, and the controllers are killed after so many writes, to begin anew without memory. After each write of theirs
 * `holds` is asked whether anything went too far. At the end, faults over, the state must be the same, and no more be written.
 *
 * A new scenario: a `const struct scenario` in a file of its area and a line in SCENARIOS. */
#ifndef CKUBE_TESTS_CONVERGE_H
#define CKUBE_TESTS_CONVERGE_H
#include "controller_test.h"

struct world;
struct scenario {
    const char *name;
    const char *controllers;    /* as in --controllers */
    enum kubelet_mode kubelet;
    int steps;
    int pace_ms;                /* how far the clock goes with each look at the world (every 2 ms or later) */
    void (*begin)(struct world *w);         /* flags, and objects that are there before the controllers; may be NULL */
    void (*act)(struct world *w, int step); /* what a user does, in 0..steps-1; must be possible whatever the controllers have or have not done */
    void (*look)(struct world *w);          /* with each look, between two: what kubelets and others keep doing; may be NULL */
    const char *(*ready)(struct world *w, struct arena *a); /* what is missing before faults begin; NULL: begin at once */
    const char *(*holds)(struct world *w, struct arena *a); /* what is wrong, or NULL; on any thread, at any time */
    const char *(*done)(struct world *w, struct arena *a);  /* what is missing at the end, or NULL */
    const char *const *state;   /* paths of the lists that make up the state, ends with NULL */
};

struct world {
    struct cluster *k;
    const struct scenario *scenario;
    uint64_t seed;              /* 0: without faults */
    struct fate chance;
    bool begun;                 /* it was ready: holds is asked from now on */
    _Atomic int step;           /* the one that is being taken, or the next; `holds` reads it after what it judges, since the bounds widen with it */
    pthread_mutex_t mutex;      /* of what follows */
    struct arena *arena;
    struct map *memory;
    char *failure;              /* the first one */
};

/* Remembers the first value for a key; true if this is it (or the same again). Thread-safe: for what must never change once it was. */
bool world_same(struct world *w, const char *key, const char *value);
/* The same, but the value may be replaced; returns the former one, NULL at first, in the world's arena. */
const char *world_remember(struct world *w, const char *key, const char *value);
int world_draw(struct world *w, int below); /* the main thread's chance: for steps */
/* Reads a list; ends the process if it cannot be read. ns NULL: all. */
void world_list(struct world *w, struct arena *a, const struct type_desc *type, const char *ns, void *ret);
/* NULL if the value is as wanted; else a text that says what it is. For done. */
const char *world_want(struct world *w, struct arena *a, const char *target, const char *path, const char *want);
/* A pair of target, path, value each; ends with NULL. NULL if all are so. */
const char *world_want_all(struct world *w, struct arena *a, const char *const (*wants)[3]);
/* DELETE that may come to nothing: for steps. */
void world_delete(struct world *w, const char *target, const char *options);

#define SCENARIOS \
    SCENARIO(replication_controller) \
    SCENARIO(deployment) \
    SCENARIO(daemon_set) \
    SCENARIO(stateful_set) \
    SCENARIO(job) \
    SCENARIO(indexed_job) \
    SCENARIO(cronjob) \
    SCENARIO(ttl_after_finished) \
    SCENARIO(endpoints) \
    SCENARIO(endpoint_slice) \
    SCENARIO(endpoint_slice_mirroring) \
    SCENARIO(service_cidr) \
    SCENARIO(namespace) \
    SCENARIO(service_account) \
    SCENARIO(root_ca) \
    SCENARIO(service_account_token) \
    SCENARIO(resource_quota) \
    SCENARIO(garbage_collector) \
    SCENARIO(cluster_role_aggregation) \
    SCENARIO(disruption) \
    SCENARIO(horizontal) \
    SCENARIO(certificates) \
    SCENARIO(bootstrap_tokens) \
    SCENARIO(policy_status) \
    SCENARIO(node_ipam) \
    SCENARIO(node_lifecycle) \
    SCENARIO(ttl) \
    SCENARIO(pod_gc) \
    SCENARIO(pod_gc_finished) \
    SCENARIO(volume_binder) \
    SCENARIO(volume_protection) \
    SCENARIO(attach_detach) \
    SCENARIO(ephemeral_volume) \
    SCENARIO(attributes_class_protection) \
    SCENARIO(volume_expand)

#define SCENARIO(id) extern const struct scenario scenario_##id;
SCENARIOS
#undef SCENARIO
#endif
