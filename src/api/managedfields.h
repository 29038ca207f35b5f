/* metadata.managedFields: who set which field last, and server-side apply. Upstream: apimachinery util/managedfields over structured-merge-diff's merge.
 *
 * Two floors. managed_* work on documents (struct value) and know types only by their schema: custom resources use them as they are.
 * managed_fields_* serve typed objects. */
#ifndef CKUBE_API_MANAGEDFIELDS_H
#define CKUBE_API_MANAGEDFIELDS_H
#include "api/object.h"
#include "api/typed_value.h"

/* Fields that a (sub)resource's writes do not touch, so that they cannot be owned through it: upstream's GetResetFields. */
struct reset_fields {
    const char *const *exclude; /* dotted paths, with all below; NULL-terminated */
};

/* One manager's entry. Its identity is manager, operation, subresource and, for updates, the version it was found under. */
struct managed_entry {
    const char *manager, *operation, *id_version, *subresource, *version;
    struct api_time time;
    struct field_set set;
    struct raw_json text; /* the set as it was read; data NULL when it changed since */
    bool applied;
};
struct managed { struct managed_entry *items; size_t len; };

/* What a write knows of itself. */
struct field_manager {
    struct arena *arena;
    struct schema_ref schema;                /* of the objects */
    const char *api_version;                 /* "apps/v1": what they are written in */
    const char *kind;
    const struct value *empty;               /* the kind's empty object, for the first apply; NULL: {} */
    /* The kind's other versions: their schema, and objects between them. False: there is no such version, and its entries are dropped. NULL: there are none. */
    bool (*version_schema)(const struct field_manager *m, const char *api_version, struct schema_ref *ret);
    bool (*convert)(const struct field_manager *m, const struct value *v, const char *from, const char *to, struct value *ret);
    const void *arg;                         /* for these */
    /* How versions of a custom resource are converted into each other; NULL: they differ in apiVersion alone. With its argument. */
    bool (*convert_custom)(void *arg, const struct value *v, const char *from, const char *to, struct value *ret);
    void *convert_arg;
    const char *manager;                     /* "": unknown */
    const char *subresource;
    const struct reset_fields *reset;        /* NULL: none */
    int64_t now_s;
};

int managed_decode(struct arena *a, const struct metav1_ManagedFieldsEntry_list *entries, struct managed *ret, struct status *reterr);
struct metav1_ManagedFieldsEntry_list managed_encode(struct arena *a, const struct managed *managed);
/* Which managers to go by when `sent` comes in for an object that had `live`: a client that leaves them out keeps them, one empty entry clears them. */
struct managed managed_of_update(const struct field_manager *m, const struct metav1_ManagedFieldsEntry_list *live, const struct metav1_ManagedFieldsEntry_list *sent);
/* A create, update or patch turned `live` (creation: the type's empty object) into `now`: what differs is the manager's. -1 if the values do not fit the type. */
int managed_update(const struct field_manager *m, const struct value *live, bool create, const struct value *now, struct managed *managed, struct status *reterr);
/* Server-side apply of `config`; *ret is the object that comes of it, *ret_changed whether it differs from live. -1: 400, 409 with the conflicts, 500. */
int managed_apply(const struct field_manager *m, const struct value *live, const struct value *config, bool force, struct managed *managed, struct value *ret, bool *ret_changed, struct status *reterr);

/* ---- typed objects ---- */

/* Records a create (old NULL) or update in obj's managedFields. */
void managed_fields_update(struct field_manager *m, const struct type_desc *type, const void *old, void *obj);
/* The object that applying config to live (NULL: there is none) makes, its managedFields kept; defaults are not set yet. */
void *managed_fields_apply(struct field_manager *m, const struct type_desc *type, const void *live, const struct value *config, bool force, struct status *reterr);
/* Reverts times of entries that are all that changed, so that nothing need be written. */
void managed_fields_ignore_times(const struct type_desc *type, const void *old, void *obj);

/* ---- the scale subresource: its replicas are a field of the object ---- */

struct scale_mapping { const char *api_version, *path; }; /* "apps/v1", "spec.replicas"; ends with NULL */
struct metav1_ManagedFieldsEntry_list managed_fields_to_scale(struct arena *a, const struct metav1_ManagedFieldsEntry_list *parent, const struct scale_mapping *mappings);
struct metav1_ManagedFieldsEntry_list managed_fields_from_scale(struct arena *a, const struct metav1_ManagedFieldsEntry_list *parent, const struct metav1_ManagedFieldsEntry_list *scale,
                                                                const char *api_version, const struct scale_mapping *mappings);
#endif
