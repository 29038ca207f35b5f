/* What the scheduler believes to be on each node. Upstream: scheduler/internal/cache.
 *
 * A Pod's way:   (none) --assume--> assumed --confirm (the watch shows it bound)--> there --remove--> (none)
 *                                      \--forget (binding failed)--> (none)
 * Upstream copies a snapshot for each cycle; here the scheduling thread holds the lock during its cycle instead (a fraction of a millisecond), and those
 * who bring news wait: nothing is copied. Nodes that have no node object (Pods came first, or the node went first) are kept but not offered.
 * Thread-safe: every function but cache_nodes and cache_assume_locked takes the lock itself. Tests: test_scheduler.c. */
#ifndef CKUBE_SCHEDULER_CACHE_H
#define CKUBE_SCHEDULER_CACHE_H
#include "scheduler/types.h"

struct scheduler_cache;
struct scheduler_cache *cache_new(void);
void cache_free(struct scheduler_cache *c);

void cache_set_node(struct scheduler_cache *c, const struct corev1_Node *node); /* copies */
void cache_delete_node(struct scheduler_cache *c, const char *name);
/* A Pod that the API shows on a node: confirms an assumed one, moves it if it turned out to be elsewhere, replaces it if it changed. */
void cache_set_pod(struct scheduler_cache *c, struct pod_info *pod);
void cache_delete_pod(struct scheduler_cache *c, const char *key); /* also forgets an assumed one */
bool cache_has_pod(struct scheduler_cache *c, const char *key);
bool cache_pod_assumed(struct scheduler_cache *c, const char *key);

void cache_lock(struct scheduler_cache *c);
void cache_unlock(struct scheduler_cache *c);
struct node_info *const *cache_nodes(struct scheduler_cache *c, size_t *ret_len); /* with the lock held; valid while it is */
/* With the lock held; false if the Pod is already on a node. */
bool cache_assume_locked(struct scheduler_cache *c, struct pod_info *pod, const char *node);
#endif
