/* A local, indexed copy of a resource that follows the server, and the handlers that are told of its changes. Upstream: client-go SharedIndexInformer, Lister.
 *
 * Contract: the copy is never newer than what a handler will be told of; each object's changes are told in order; what was told deleted is gone from the
 * copy. Events may be skipped (two updates become one) but the last state is always told. Handlers run on the informer's thread, one call at a time: they add keys to work
 * queues and return. Objects are frozen: read-only, counted; a change begins with object_copy. managedFields are dropped (a PUT without them keeps the server's).
 * Thread-safe. Tests: tests/unit/test_client.c. */
#ifndef CKUBE_CLIENT_INFORMER_H
#define CKUBE_CLIENT_INFORMER_H
#include <stdatomic.h>
#include "client/reflector.h"

/* A frozen object. */
struct cached {
    atomic_int refs;
    struct arena *arena;
    const struct object *obj; /* typed as its informer's type */
};
struct cached *cached_ref(struct cached *c);
void cached_unref(struct cached *c); /* NULL is fine */
static inline void cached_unrefp(struct cached **c) { cached_unref(*c); }
#define _cleanup_cached_ __attribute__((cleanup(cached_unrefp)))
#define CACHED(c, type_) ((const struct type_ *)(const void *)(c)->obj)

struct cached_list { struct cached **items; size_t len, cap; };
void cached_list_release(struct cached_list *l); /* with its references */
#define _cleanup_cached_list_ __attribute__((cleanup(cached_list_release)))
#define CACHED_FOREACH(var, type_, list) \
    for (size_t var##_i = 0; var##_i < (list)->len; var##_i++) \
        for (const struct type_ *var = CACHED((list)->items[var##_i], type_), *var##_once = var; var##_once; var##_once = NULL)

/* `old` and `now` are the informer's: cached_ref what is kept. Any may be NULL. */
struct informer_handler {
    void *data;
    void (*add)(void *data, struct cached *now);
    void (*update)(void *data, struct cached *old, struct cached *now);
    void (*delete)(void *data, struct cached *old);
};
/* The values under which an object is found: string_list_push them. */
typedef void (*index_function)(struct arena *a, const void *obj, struct string_list *ret);

struct informer;
struct informer *informer_new(struct client *c, struct env *env, const struct reflector_source *source);
void informer_free(struct informer *inf);  /* stops it; NULL is fine */
void informer_start(struct informer *inf); /* nothing if it runs */
bool informer_synced(struct informer *inf);
bool informer_wait_synced(struct informer *inf, int64_t timeout_ms); /* false: not in time, or stopped */
/* A handler that comes late is first told of all that is there, on the caller's thread. */
void informer_add_handler(struct informer *inf, const struct informer_handler *h);
/* Returns the index's number; the same name again gives the same number. */
int informer_add_index(struct informer *inf, const char *name, index_function fn);

/* ---- the lister ---- */
struct cached *informer_get(struct informer *inf, const char *ns, const char *name); /* a reference, or NULL */
void informer_list(struct informer *inf, const char *ns, struct cached_list *ret);   /* ns NULL: all; appends, in no order */
void informer_by_index(struct informer *inf, int index, const char *value, struct cached_list *ret);
size_t informer_count(struct informer *inf);
bool informer_index_has(struct informer *inf, int index, const char *value);
/* The resourceVersion up to which the copy knows everything; 0: nothing yet. Upstream: LastSyncResourceVersion. */
uint64_t informer_version(struct informer *inf);

/* Usual indexes. */
void index_by_controller_uid(struct arena *a, const void *obj, struct string_list *ret); /* metadata.ownerReferences[controller=true].uid */
void index_by_node_name(struct arena *a, const void *pod, struct string_list *ret);      /* of a Pod: spec.nodeName */

/* Informers shared by all who ask for the same resource. Upstream: SharedInformerFactory. */
struct informers;
struct informers *informers_new(struct client *c, struct env *env);
void informers_free(struct informers *f);  /* stops them; NULL is fine */
struct informer *informers_get(struct informers *f, const struct type_desc *type);
struct informer *informers_get_metadata(struct informers *f, const struct resource_desc *resource); /* of metav1_PartialObjectMetadata */
void informers_start(struct informers *f); /* those that were asked for since */
bool informers_wait_synced(struct informers *f, int64_t timeout_ms);
void informers_stop(struct informers *f);  /* ends all waiting and every thread; nothing is told any more */

/* "namespace/name", or "name" without a namespace: the form of work queue keys. */
char *object_key(struct arena *a, const void *obj);
/* The other way round; *ret_ns is NULL without one. */
void object_key_split(struct arena *a, const char *key, const char **ret_ns, const char **ret_name);
#endif
