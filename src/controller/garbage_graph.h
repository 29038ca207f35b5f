/* Who owns whom: the garbage collector's graph of all objects, in memory. Upstream: pkg/controller/garbagecollector graph.go, graph_builder.go, uid_cache.go.
 *
 * A node is an object by its UID; its edges are its owner references. An owner that is referred to and was never seen is a virtual node, until it is seen or
 * the server says that there is none. Changes come from watches; what should be looked at then is given to `enqueue_delete` and `enqueue_orphan` by UID. Nothing but
 * identities, references and a few flags is kept: about 400 bytes an object. Thread-safe; the callbacks are called with the graph locked. Tests: tests/unit/test_garbage_graph.c. */
#ifndef CKUBE_CONTROLLER_GARBAGE_GRAPH_H
#define CKUBE_CONTROLLER_GARBAGE_GRAPH_H
#include "api/object.h"

#define FINALIZER_ORPHAN "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"

struct gc_identity { const char *api_version, *kind, *ns, *name, *uid; }; /* ns NULL: cluster-scoped, or not known to be otherwise */

struct gc_graph_callbacks {
    void *data;
    void (*enqueue_delete)(void *data, const char *uid);
    void (*enqueue_delete_later)(void *data, const char *uid); /* with back-off */
    void (*enqueue_orphan)(void *data, const char *uid);
    /* An object refers to an owner in another namespace. */
    void (*invalid_namespace)(void *data, const struct gc_identity *dependent, const struct gc_identity *owner);
};

struct gc_graph;
struct gc_graph *gc_graph_new(const struct gc_graph_callbacks *cb);
void gc_graph_free(struct gc_graph *g); /* NULL is fine */

/* ---- what watches tell; source: which watch, any address that stays the same ---- */
void gc_graph_set(struct gc_graph *g, const void *source, const char *api_version, const char *kind, const struct object *obj);
void gc_graph_delete(struct gc_graph *g, const struct gc_identity *id);
/* A new list of a source: what is not set between these two is gone. */
void gc_graph_replace_begin(struct gc_graph *g, const void *source);
void gc_graph_replace_end(struct gc_graph *g, const void *source);
void gc_graph_forget_source(struct gc_graph *g, const void *source); /* its nodes stay: the resource is gone from discovery, its objects may not be */

/* ---- what the server told when asked ---- */
void gc_graph_virtual_delete(struct gc_graph *g, const struct gc_identity *id); /* there is no such object */
void gc_graph_absent_add(struct gc_graph *g, const struct gc_identity *id);
bool gc_graph_absent_has(struct gc_graph *g, const struct gc_identity *id);

/* ---- questions ---- */
struct gc_node_view {
    struct gc_identity id; /* in the arena, as everything here */
    bool observed, being_deleted, deleting_dependents;
};
bool gc_graph_view(struct gc_graph *g, struct arena *a, const char *uid, struct gc_node_view *ret);
size_t gc_graph_dependents(struct gc_graph *g, struct arena *a, const char *uid, struct gc_identity **ret); /* ret NULL: how many */
bool gc_graph_dependent_deletes_dependents(struct gc_graph *g, const char *uid);
/* Enqueues the dependents that block uid's deletion and are not on their way out in the foreground themselves. Returns how many block. */
size_t gc_graph_push_blocking(struct gc_graph *g, const char *uid);
/* The owner references of a node. */
struct metav1_OwnerReference_list gc_graph_owners(struct gc_graph *g, struct arena *a, const char *uid);
size_t gc_graph_len(struct gc_graph *g);
#endif
