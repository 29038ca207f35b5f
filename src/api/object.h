/* Table-driven routines over every API type: decode, encode, copy, compare. Upstream's serializers and DeepCopy.
 *
 * All take the type's descriptor and a pointer to the C struct. Decoded objects live in the given arena, strings included. */
#ifndef CKUBE_API_OBJECT_H
#define CKUBE_API_OBJECT_H
#include "api/schema.h"
#include "api_descs.h"
#include "api_types.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

/* What every resource object begins with: any type with TYPE_HAS_OBJECT_META may be read through this. Upstream: metav1.Object. */
struct object {
    const char *kind, *apiVersion;
    struct metav1_ObjectMeta metadata;
};
/* What every ...List begins with; items follow. */
struct object_list {
    const char *kind, *apiVersion;
    struct metav1_ListMeta metadata;
    struct any_list items;
};

struct yyjson_val;

/* A zeroed object of the type, with kind and apiVersion set where the type has them. */
void *object_new(struct arena *a, const struct type_desc *type);
/* Sets kind and apiVersion from the descriptor ("apps/v1", "Deployment"). The strings live in the arena or forever. */
void object_set_type_meta(struct arena *a, const struct type_desc *type, void *obj);
/* "v1" or "apps/v1" */
const char *type_api_version(struct arena *a, const struct type_desc *type);

/* JSON to struct. Unknown and duplicate fields are no error: they are listed in *strict (NULL: not wanted) in upstream's words
 * (`unknown field "spec.x"`). Wrong types, bad quantities and times fail with the text that upstream's decoder gives (400 is the caller's to set).
 * null for anything leaves it zero. */
int object_decode_json(struct arena *a, const struct type_desc *type, void *obj, const char *json, size_t len, struct string_list *strict, struct status *reterr) WARN_UNUSED;
/* The same from a parsed value (numbers raw or not). */
int object_decode_value(struct arena *a, const struct type_desc *type, void *obj, struct yyjson_val *value, struct string_list *strict, struct status *reterr) WARN_UNUSED;

/* Struct to compact JSON, as Go's encoder would write it: fields in the schema's order, omitempty honoured, maps sorted. */
void object_encode_json(const struct type_desc *type, const void *obj, struct buf *out);
/* The same for storage: metadata.resourceVersion is written as "" and *ret_rv_offset says where its digits belong (between the quotes). */
void object_encode_stored(const struct type_desc *type, const void *obj, struct buf *out, size_t *ret_rv_offset);

/* The same in the spelling of upstream's internal Go structs, which have no JSON tags: {"NodeID":"n","TopologyKeys":null}. Some error texts and one
 * annotation are made of it. */
void object_encode_go(const struct type_desc *type, const void *obj, struct buf *out);

/* Protobuf: the bare message. */
int object_decode_proto(struct arena *a, const struct type_desc *type, void *obj, const void *data, size_t len, struct status *reterr) WARN_UNUSED;
void object_encode_proto(const struct type_desc *type, const void *obj, struct buf *out);
/* Upstream's envelope: "k8s\0" and a runtime.Unknown {typeMeta, raw}. Decoding finds the type by its type meta in the scheme. */
void object_encode_proto_envelope(const struct type_desc *type, const void *obj, struct buf *out);
int proto_envelope_open(struct arena *a, const void *data, size_t len, const char **ret_api_version, const char **ret_kind, struct bytes *ret_raw, struct status *reterr) WARN_UNUSED;

/* Deep copy into the arena. */
void *object_copy(struct arena *a, const struct type_desc *type, const void *obj);
void object_copy_into(struct arena *a, const struct type_desc *type, void *dst, const void *src);
/* Upstream's semantic deep equality: nil and empty lists, maps and strings are equal; quantities compare by value. */
bool object_equal(const struct type_desc *type, const void *a, const void *b);
/* Empty lists and maps become nil, as a turn through upstream's storage (protobuf) makes them. */
void object_drop_empty(const struct type_desc *type, void *obj);
/* All zero, so that omitzero would leave it out. */
bool object_is_zero(const struct type_desc *type, const void *obj);
/* Whether a SHAPE_POINTER field is nil, and whether Go's encoder leaves the field out (omitempty, omitzero); `at` is the member. */
bool object_field_is_nil(const struct field_desc *f, const void *at);
bool object_field_left_out(const struct field_desc *f, const void *at);

/* Maps are sorted by key; these keep them so. NULL if absent. */
const char *string_map_get(const struct string_map *map, const char *key);
bool string_map_has(const struct string_map *map, const char *key);
void string_map_set(struct arena *a, struct string_map *map, const char *key, const char *value); /* key and value are not copied */
void string_map_del(struct string_map *map, const char *key);
struct string_map string_map_copy(struct arena *a, const struct string_map *map);
bool string_map_equal(const struct string_map *a, const struct string_map *b);
bool string_list_has(const struct string_list *list, const char *s);
/* string_list_push(a, &list, "x") appends; the string is not copied. */
void string_list_push(struct arena *a, struct string_list *list, const char *s);
/* "a,b,,c" as a flag has it: its parts, copied, without empty ones. NULL is "". */
struct string_list string_list_split(struct arena *a, const char *text);
#endif
