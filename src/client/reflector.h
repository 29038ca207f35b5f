/* Lists a resource and then follows its changes, for as long as it lives: what informers and feeds stand on. Upstream: client-go cache.Reflector.
 *
 * One thread each. It begins with a streaming list (sendInitialEvents) or, where a server refuses that, with a list; then it watches, resumes from the last
 * resourceVersion after a break, and lists again when the server has forgotten the place (410). Retries back off from 0.1 s to 30 s.
 * Tests: tests/unit/test_client.c. */
#ifndef CKUBE_CLIENT_REFLECTOR_H
#define CKUBE_CLIENT_REFLECTOR_H
#include "base/env.h"
#include "client/client.h"

/* What is reflected. Strings are copied. */
struct reflector_source {
    const struct type_desc *type;         /* of the objects as they are decoded */
    const struct resource_desc *resource; /* NULL: the type's own */
    const char *path;                     /* instead of the resource's ("/apis/example.com/v1/widgets"); NULL: none */
    const char *ns;                       /* NULL: all namespaces */
    const char *query;                    /* "fieldSelector=spec.nodeName%3Da", or NULL */
    bool metadata_only;                   /* type is metav1_PartialObjectMetadata */
};

/* Calls come from the reflector's thread, one at a time; objects live for the call only. */
struct reflector_sink {
    void *data;
    void (*replace_begin)(void *data);
    void (*replace_object)(void *data, const void *obj);
    void (*replace_end)(void *data);      /* what was known before and not among these is gone */
    void (*set)(void *data, const void *obj);
    void (*delete)(void *data, const void *obj);
    void (*reached)(void *data, const char *version); /* all up to this resourceVersion was told; may be NULL */
};

struct reflector;
struct reflector *reflector_start(struct client *c, struct env *env, const struct reflector_source *source, const struct reflector_sink *sink);
void reflector_stop(struct reflector *r); /* returns when its thread has ended; frees it; NULL is fine */

/* A reflector for those who keep objects in a form of their own: it remembers the names alone, and turns a new list into deletes and sets.
 * Threads and lifetimes as above. */
struct feed_handler {
    void *data;
    void (*set)(void *data, const void *obj);
    void (*delete)(void *data, const char *ns, const char *name);
    void (*synced)(void *data);           /* after each whole list; may be NULL */
};
struct feed;
struct feed *feed_start(struct client *c, struct env *env, const struct reflector_source *source, const struct feed_handler *handler);
void feed_stop(struct feed *f);           /* as reflector_stop */
#endif
