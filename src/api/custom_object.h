/* Custom objects: kinds that a CustomResourceDefinition brought. They take the same way as the built-in ones: a type descriptor made at run time (TYPE_DOCUMENT) whose
 * objects are `struct custom_object`, so that kind, apiVersion and metadata are where every object has them, and the rest is a JSON document with sorted keys: one text a
 * value, so that equal texts are equal values.
 *
 * The routines of object.h (decode, encode, copy, compare) know such types; decoding prunes and sets defaults by the schema. A type never changes once it is made; it lives
 * in its arena and may be used by any thread. Upstream: unstructured.Unstructured and the coercing codecs of apiextensions-apiserver. */
#ifndef CKUBE_API_CUSTOM_OBJECT_H
#define CKUBE_API_CUSTOM_OBJECT_H
#include "api/jsonpath.h"
#include "api/structural.h"

struct custom_type;
struct custom_object { /* begins as struct object does */
    const char *kind, *apiVersion;
    struct metav1_ObjectMeta metadata;
    const struct custom_type *type;
    struct raw_json body;           /* all but kind, apiVersion and metadata; "{}" at least */
};

struct custom_column { const struct apiextensionsv1_CustomResourceColumnDefinition *column; struct jsonpath *path; };
struct custom_type {
    struct type_desc desc, list_desc;
    struct field_desc list_fields[4];
    const char *api_version;        /* "example.org/v1" */
    struct structural *schema;      /* NULL: nothing is known, everything is kept */
    const struct schema_node *merge_schema; /* what server-side apply knows of it */
    const struct custom_type *storage; /* the version that is stored */
    const struct custom_type *const *versions; /* all of the kind, NULL-terminated */
    bool preserve_unknown;          /* spec.preserveUnknownFields */
    bool converts;                  /* a webhook converts: what is read of another version stays in that version (obj->type) until it has been asked */
    bool has_status, has_scale;
    const struct apiextensionsv1_CustomResourceSubresourceScale *scale;
    struct { struct custom_column *items; size_t len; } columns;
    struct string_list selectable;  /* names of selectable fields (spec.a), NULL at the end */
};

/* Fills desc and list_desc for the kind; all names must outlive the type. */
void custom_type_init(struct arena *a, struct custom_type *t, const char *group, const char *version, const char *kind, const char *list_kind);
static inline const struct custom_type *custom_type_of(const struct type_desc *desc) { return desc->flags & TYPE_DOCUMENT ? (const struct custom_type *)(const void *)desc : NULL; }

/* For object.h's routines. `value` has plain (not raw) numbers. */
int custom_object_decode(struct arena *a, const struct custom_type *t, struct custom_object *obj, yyjson_val *value, struct string_list *strict, struct status *reterr);
/* Keys sorted, as upstream's maps are. rv_offset: see object_encode_stored. */
void custom_object_encode(const struct custom_object *obj, const char *api_version, struct buf *out, size_t *rv_offset);

/* The object as one parsed document, metadata and all. */
yyjson_val *custom_object_document(struct arena *a, const struct custom_object *obj);
yyjson_val *custom_object_body(struct arena *a, const struct custom_object *obj);
void custom_object_set_body(struct arena *a, struct custom_object *obj, yyjson_mut_val *body);
/* The value at a path of names ("spec.size"), or NULL. */
yyjson_val *json_at(yyjson_val *root, const char *path);
/* The object becomes what converting it made of its body (kind, apiVersion and metadata in `value` are passed over): of type t, made to fit its schema, without defaults. */
int custom_object_become(struct arena *a, struct custom_object *obj, const struct custom_type *t, yyjson_val *value, struct status *reterr);
/* As it is after it went to the store and came back: through the stored version's schema. */
int custom_object_round_trip(struct arena *a, struct custom_object *obj, struct status *reterr);

struct metav1_Table;
/* The columns of the kind and the cells of an object. */
void custom_table_columns(struct arena *a, const struct custom_type *t, struct metav1_Table *table);
struct raw_json_list custom_table_cells(struct arena *a, const struct custom_object *obj, int64_t now_s);
#endif
