/* What the server knows of each resource beyond its schema: upstream's registry strategies.
 *
 * A strategy is a table of small functions over the typed object, one table a resource, in src/apiserver/registry/GROUP.c. Generic code in
 * registry.c calls them in upstream's order:
 *   create: prepare_create -> system fields -> generateName -> defaults were set at decoding -> validate -> store
 *   update: prepare_update -> system fields kept -> validate_update -> no write if nothing changed -> store
 * A status subresource has its own pair. A function that is NULL does nothing. */
#ifndef CKUBE_APISERVER_REGISTRY_H
#define CKUBE_APISERVER_REGISTRY_H
#include "api/field_error.h"
#include "api/object.h"
#include "api/selector.h"
#include "apiserver/request.h"
#include "store/store.h"

struct custom_resource;
struct fiber_mutex;
struct names_rule;
struct write_options;

struct store_op_list { struct store_op *items; size_t len; };
enum { TRANSACT_LOST = 1 };

enum strategy_flags {
    CREATE_ON_UPDATE = 1,        /* AllowCreateOnUpdate */
    NO_UNCONDITIONAL_UPDATE = 2, /* a PUT needs a resourceVersion */
    RETURN_DELETED_OBJECT = 4,   /* DELETE answers with the object */
    HAS_GENERATION = 8,          /* metadata.generation is 1 at creation and grows when the spec changes */
    /* What the kind's own validation looks at in metadata, besides the generic code: each look is a cause of its own in a refusal. A creation is
     * looked at whole (ValidateObjectMeta), an update at what changed (ValidateObjectMetaUpdate), by core's rules, but: */
    META_TWICE = 32,             /* an update also whole */
    META_GENERIC = 64,           /* not by Kubernetes' own rule for finalizers: apimachinery's functions */
    META_LATE = 128,             /* not at all; the generic code does when all else is right */
    META_ONLY = 256,             /* an update whole, but not at what changed */
    META_THRICE = 512,           /* an update whole once more */
    META_PLAIN_PREFIX = 1024,    /* generateName is not looked at (ValidateObjectMetaWithOpts) */
    NAMES_AS_GIVEN = 4096,       /* generateName is the name (noopNameGenerator) */
    META_STATUS_ALIKE = 2048,    /* an update of the status as any other; else it is looked at what changed */
    ORPHAN_BY_DEFAULT = 16,      /* DELETE without a propagation policy leaves dependents (Job) */
};

struct strategy {
    const char *group, *version, *resource;
    const struct type_desc *type;   /* the storage version */
    const char *storage_prefix;     /* "/registry/pods"; NULL: /registry/RESOURCE */
    unsigned flags;
    const struct custom_resource *custom; /* of a custom resource: whose version this is. NULL: built in */
    /* Upstream's name function: messages about what is wrong with a name, into msgs. NULL: DNS subdomain. */
    void (*validate_name)(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
    /* Whether the user may write this at all (RBAC escalation); before anything else. old NULL at creation. */
    int (*guard)(struct api_request *r, const void *obj, const void *old, struct status *reterr);
    void (*prepare_create)(struct api_request *r, void *obj);
    /* What validation asks of other objects: errors among those of validate and its siblings. old NULL at creation; also for updates of the status. */
    void (*validate_in_context)(struct api_request *r, const void *obj, const void *old, struct field_errors *errs);
    void (*prepare_update)(struct api_request *r, void *obj, const void *old);
    void (*validate)(const void *obj, struct field_errors *errs);
    void (*validate_update)(const void *obj, const void *old, struct field_errors *errs);
    void (*canonicalize)(void *obj); /* what validation has nothing against, as it is to be stored */
    void (*prepare_status_update)(struct api_request *r, void *obj, const void *old);
    void (*validate_status_update)(const void *obj, const void *old, struct field_errors *errs);
    void (*warnings)(struct api_request *r, const void *obj, const void *old); /* old NULL at creation */
    void (*status_warnings)(struct api_request *r, const void *obj, const void *old); /* of an update of the status */
    /* Fields for field selectors besides metadata.name and metadata.namespace; NULL-terminated. */
    const char *const *selectable_fields;
    const char *(*field)(struct arena *a, const void *obj, const char *name);
    /* What must be taken from the cluster's pools (cluster IPs, ports), before anything is validated. `old` is NULL at creation. Returns a token for
     * transact, or NULL when it refuses. */
    void *(*begin)(struct api_request *r, void *obj, const void *old, const struct write_options *o, struct status *reterr);
    /* The token of what an object that is deleted gives back. */
    void *(*release)(struct api_request *r, const void *obj);
    /* Appends what is to be written in one transaction with the object: all of the token's taking and giving back. 0; TRANSACT_LOST when something was
     * taken by another meanwhile (begin is called anew); -1 with an error. Called again while the store refuses what it made. */
    int (*transact)(struct api_request *r, void *token, const void *obj, struct store_op_list *ops, struct status *reterr);
    /* What is held from transact to the end of the write, since all such writes of this server would only make each other fail; NULL: nothing. */
    struct fiber_mutex *(*transact_lock)(struct api_request *r, void *token);
    /* The first DELETE of an object that must stay until others have gone: changes it (finalizers, conditions) and it is stored so. */
    void (*begin_delete)(struct api_request *r, void *obj);
    /* Graceful deletion: returns whether the object stays for a while; sets deletionGracePeriodSeconds through *grace. */
    bool (*check_graceful_delete)(struct api_request *r, const void *obj, int64_t *grace);
    /* Refuses a deletion. */
    int (*check_delete)(struct api_request *r, const void *obj, struct status *reterr);
};

const struct strategy *strategy_find(const char *group, const char *resource);
/* The strategy of a subresource that is read and written as its object is (status, ephemeralcontainers, resize); NULL for others. */
const struct strategy *strategy_of_subresource(const char *group, const char *resource, const char *subresource);
/* Every strategy, for discovery and tests. */
const struct strategy *strategy_at(size_t i); /* NULL past the end */

char *storage_key(struct arena *a, const struct strategy *st, const char *namespace, const char *name); /* name NULL: the prefix, ending in / */

/* Reads and decodes one object. 0, or -1 with a 404. *ret_revision is its mod revision. */
int registry_get(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, void **ret, uint64_t *ret_revision, struct status *reterr);
/* registry_get for whom an object that is missing is an answer too: 1 and the object, 0 when there is none, -1 when that is not known (etcd does not answer). */
int registry_find(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, void **ret, struct status *reterr);
/* The 500 of a value that is there and cannot be read (view->trouble). Returns -1. */
int registry_unreadable(const struct store_view *view, struct status *reterr);
/* registry_get for who is to write it again: *ret_stale says that it must be, though nothing has changed. Upstream: TransformFromStorage's stale. */
int registry_get_stored(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, void **ret, uint64_t *ret_revision, bool *ret_stale, struct status *reterr);
void *registry_decode(struct arena *a, const struct strategy *st, const struct store_view *view); /* with resourceVersion filled in; NULL if it cannot be read */

/* The 409 of an update that names another object's uid than the one that is there ("": none is). -1. */
int registry_uid_conflict(struct api_request *r, const struct strategy *st, const char *wanted, const char *is, const char *name, const struct write_options *o, struct status *reterr);

struct write_options {
    bool dry_run;
    const char *field_manager;
    bool force_allow_create; /* apply */
    bool force;              /* apply: conflicts go the manager's way */
    const char *subresource; /* "status", ... or NULL */
    bool no_admission;       /* a write of the server's own, within a request that was admitted */
};
/* Creates obj (which is completed on the way). */
int registry_create(struct api_request *r, const struct strategy *st, void *obj, const struct write_options *o, struct status *reterr);
/* Makes the new object from the current one: called again when another writer was faster. Returns the new object or NULL with an error. */
typedef void *(*registry_transform)(struct api_request *r, void *current, void *arg, struct status *reterr);
/* Read, transform, check, write; *ret is the object as stored, *ret_created whether it is new. `current` is NULL where creation on update is allowed. */
int registry_update(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, registry_transform transform, void *arg,
                    const struct write_options *o, void **ret, bool *ret_created, struct status *reterr);
/* DELETE; of how, dry_run and no_admission count. *ret_done says whether it is gone now (false: it stays for finalizers or its grace period) and *ret is the object as it was or is. */
int registry_delete(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, const struct metav1_DeleteOptions *options, const struct write_options *how,
                    void **ret, bool *ret_done, struct status *reterr);

void *registry_default(struct arena *a, const struct type_desc *type, void *obj); /* api/defaults.h, then returns obj */
#endif
