/* What the scheduler believes to be on each node, and the other objects that its plugins read. Upstream: scheduler/backend/cache and the informers' listers.
 *
 * A Pod's way:   (none) --assume--> assumed --confirm (the watch shows it bound)--> there --remove--> (none)
 *                                      \--forget (binding failed)--> (none)
 * Upstream copies a snapshot for each cycle; here the scheduling thread holds the lock during its cycle instead (a fraction of a millisecond), and those
 * who bring news wait: nothing is copied. Nodes that have no node object (Pods came first, or the node went first) are kept but not offered.
 *
 * Everything is used with the lock held (cache_lock), which comes before the queue's. A dry run (nominated Pods, preemption) really takes Pods off a node
 * and puts them back under one hold of the lock. Tests: test_scheduler*.c. */
#ifndef CKUBE_SCHEDULER_CACHE_H
#define CKUBE_SCHEDULER_CACHE_H
#include "scheduler/topology_index.h"

struct scheduler_cache;
struct scheduler_cache *cache_new(void);
void cache_free(struct scheduler_cache *c);
void cache_lock(struct scheduler_cache *c);
void cache_unlock(struct scheduler_cache *c);

struct topology_index *cache_index(struct scheduler_cache *c);
struct devices *cache_devices(struct scheduler_cache *c); /* devices.h */
/* Nodes that have a node object, one zone after the other in turn (upstream: nodeTree); valid until a node comes or goes. */
struct node_info *const *cache_nodes(struct scheduler_cache *c, size_t *ret_len);
struct node_info *cache_node(struct scheduler_cache *c, const char *name); /* NULL: none of that name has a node object */

/* What there was before; release it when it is no longer looked at. */
struct old_node { struct arena *arena; const struct corev1_Node *node; };
struct old_node cache_set_node(struct scheduler_cache *c, const struct corev1_Node *node); /* copies; old.node NULL: it is new */
struct old_node cache_delete_node(struct scheduler_cache *c, const char *name);
void old_node_release(struct old_node *o);

/* A Pod that the API shows on a node: confirms an assumed one, moves it if it turned out to be elsewhere, replaces it if it changed. Returns what was
 * there before, a reference of the caller's, or NULL. */
struct pod_info *cache_set_pod(struct scheduler_cache *c, struct pod_info *pod);
struct pod_info *cache_delete_pod(struct scheduler_cache *c, const char *key); /* also forgets an assumed one; returns what was there, as above */
const struct pod_info *cache_pod(struct scheduler_cache *c, const char *key);
struct node_info *cache_pod_node(struct scheduler_cache *c, const char *key);
bool cache_pod_assumed(struct scheduler_cache *c, const char *key);
size_t cache_pods_len(struct scheduler_cache *c, size_t *ret_assumed); /* Pods on nodes, and how many of them are assumed */
bool cache_assume(struct scheduler_cache *c, struct pod_info *pod, const char *node); /* false if the Pod is already on a node */

/* Dry runs: the counts change, the books on who is where do not. Whoever takes a Pod away holds a reference to it. */
void cache_node_add_pod(struct scheduler_cache *c, struct node_info *n, struct pod_info *p);
void cache_node_remove_pod(struct scheduler_cache *c, struct node_info *n, struct pod_info *p);

/* Pods that wait for room on a node (status.nominatedNodeName); node NULL or "": no longer. */
void cache_nominate(struct scheduler_cache *c, struct pod_info *pod, const char *node);
void cache_nominate_none(struct scheduler_cache *c, const char *key);
const char *cache_nominated_node(struct scheduler_cache *c, const char *key);
const struct pod_info *cache_nominated_pod(struct scheduler_cache *c, const char *key); /* as it was nominated */

/* Other objects, by type and name. An assumed object hides the API's until the API shows something new. */
const void *cache_get(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name);
const void *cache_get_api(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name); /* assumed ones aside */
/* for (size_t pos = 0; (obj = cache_next(c, type, &pos));) ... */
const void *cache_next(struct scheduler_cache *c, const struct type_desc *type, size_t *pos);
size_t cache_count(struct scheduler_cache *c, const struct type_desc *type);
uint64_t cache_generation(struct scheduler_cache *c, const struct type_desc *type); /* moves with each change */
/* Copies; *ret_old: what was there, in an arena of its own that the caller frees (NULL: nothing, and old NULL). */
struct arena *cache_set(struct scheduler_cache *c, const struct type_desc *type, const void *obj, const void **ret_old);
struct arena *cache_delete(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name, const void **ret_old);
void cache_assume_object(struct scheduler_cache *c, const struct type_desc *type, const void *obj); /* copies */
void cache_restore_object(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name);

const struct image_state *cache_image(struct scheduler_cache *c, const char *name); /* NULL: no node has it */
#endif
