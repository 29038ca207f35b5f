/* The object model's descriptors: what tools/schemac makes of src/api/schema/ files, and the C forms that field values take.
 *
 * Every API type is a C struct (api_types.h) beside a constant table (struct type_desc) that says where each field lies and how it looks in JSON and
 * protobuf; a handful of table-driven routines (object.h) then serve every type. Types are named PACKAGEv_Type as a Go program's import alias would
 * read: corev1_Pod, appsv1_Deployment, metav1_ObjectMeta. Fields carry their JSON names; a name that C reserves gets a trailing underscore (default_).
 *
 *   schema type          plain C form                        pointer form (`*T` in the schema: nil differs from zero)
 *   string, quantity     const char * (NULL is "")           const char * (NULL is nil, "" is set)
 *   bool int32 int64     bool, int32_t, int64_t, double      struct opt_bool, opt_int32, opt_int64, opt_double
 *   time, microtime      struct api_time                     struct api_time (set says whether there is one)
 *   intorstring          struct int_or_string                struct int_or_string (kind INTSTR_NONE is nil)
 *   bytes                struct bytes                        -
 *   raw                  struct raw_json                     struct raw_json (data NULL is nil)
 *   Type                 struct pkg_Type                     struct pkg_Type *
 *   []T                  struct pkg_Type_list, string_list, int32_list, ...: items NULL is nil, else the list is there though len may be 0
 *   map[string]T         struct string_map, pkg_Type_map, ...: sorted by key; items NULL is nil
 *
 * A quantity is held in canonical text (quantity.h parses it). An `inline` member (a Go embedded struct) can be reached field by field or whole:
 * volume->emptyDir and volume->VolumeSource are the same memory. */
#ifndef CKUBE_API_SCHEMA_H
#define CKUBE_API_SCHEMA_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct opt_bool { bool has, value; };
struct opt_int32 { bool has; int32_t value; };
struct opt_int64 { bool has; int64_t value; };
struct opt_double { bool has; double value; };
#define OPT(v) {true, (v)}

struct api_time { bool set; int32_t nsec; int64_t sec; };  /* seconds since 1970; a Time has nsec 0, a MicroTime whole microseconds */
enum { INTSTR_NONE, INTSTR_INT, INTSTR_STRING };
struct int_or_string { uint8_t kind; int32_t i; const char *s; };
struct bytes { const unsigned char *data; size_t len; };   /* data NULL: nil */
struct raw_json { const char *data; size_t len; };         /* compact JSON text, NUL-terminated; data NULL: nil */

struct string_list { const char **items; size_t len; };
struct bool_list { bool *items; size_t len; };
struct int32_list { int32_t *items; size_t len; };
struct int64_list { int64_t *items; size_t len; };
struct raw_json_list { struct raw_json *items; size_t len; };

struct string_map_entry { const char *key, *value; };
struct string_map { struct string_map_entry *items; size_t len; };
struct bytes_map_entry { const char *key; struct bytes value; };
struct bytes_map { struct bytes_map_entry *items; size_t len; };
struct raw_json_map_entry { const char *key; struct raw_json value; };
struct raw_json_map { struct raw_json_map_entry *items; size_t len; };
struct api_time_map_entry { const char *key; struct api_time value; };
struct api_time_map { struct api_time_map_entry *items; size_t len; };
struct string_list_map_entry { const char *key; struct string_list value; };
struct string_list_map { struct string_list_map_entry *items; size_t len; };

/* The generic shape of every list and map above, for table-driven code: maps' entries begin with their key. */
struct any_list { void *items; size_t len; };

enum field_kind {
    FK_STRING, FK_BOOL, FK_INT32, FK_INT64, FK_DOUBLE, FK_BYTES, FK_TIME, FK_MICROTIME, FK_QUANTITY, FK_INTORSTRING, FK_RAW, FK_STRUCT,
    FK_STRING_LIST /* only as a map's value */
};
enum field_shape { SHAPE_PLAIN, SHAPE_POINTER, SHAPE_LIST, SHAPE_MAP };
enum field_flags {
    FIELD_OMITEMPTY = 1,        /* left out of JSON when zero: false, 0, "", nil pointer, list or map of length 0 (never a plain struct) */
    FIELD_OMITZERO = 2,         /* a plain struct or time that is all zero is left out too */
    FIELD_REQUIRED = 4,
    FIELD_INLINED = 8,          /* came from an inline member: protobuf has it inside that member's message */
    FIELD_PATCH_MERGE = 16,     /* strategic merge: lists merge (by patch_key, or as sets of primitives) */
    FIELD_PATCH_REPLACE = 32,
    FIELD_PATCH_RETAINKEYS = 64,
    FIELD_MAP_ATOMIC = 128,     /* apply: this map or struct is owned whole */
    FIELD_MAP_GRANULAR = 256,   /* apply: this struct is owned field by field, though its type says otherwise */
};
enum list_type { LIST_ATOMIC_DEFAULT, LIST_ATOMIC, LIST_SET, LIST_MAP }; /* ATOMIC_DEFAULT: the schema does not say; apply treats it as atomic */

struct type_desc;

struct field_desc {
    const char *name;                 /* JSON name */
    const struct type_desc *type;     /* of FK_STRUCT, else NULL */
    const char *const *list_keys;     /* list=map: key fields, NULL-terminated; else NULL */
    const char *const *enum_values;   /* NULL-terminated, or NULL */
    const char *patch_key;            /* strategic merge key, or NULL */
    const char *default_json;         /* declared default as JSON text, or NULL */
    uint32_t offset;                  /* of the member in the C struct */
    uint16_t number;                  /* protobuf field number; 0: not in protobuf */
    uint16_t item_size;               /* SHAPE_LIST: of an item; SHAPE_MAP: of an entry */
    uint8_t name_len, kind, shape;
    uint16_t flags;
    uint8_t list_type;
};

struct inline_desc { const struct type_desc *type; uint32_t offset; uint16_t number; /* protobuf number of the message; 0: TypeMeta, not in protobuf */ };

enum type_flags { TYPE_HAS_TYPE_META = 1, TYPE_HAS_OBJECT_META = 2, TYPE_HAS_LIST_META = 4, TYPE_MAP_ATOMIC = 8,
    TYPE_DOCUMENT = 16,         /* made at run time for a custom resource: see custom_object.h */
    TYPE_SORTED_META = 32       /* ObjectMeta with its fields in order of name */ };

struct type_desc {
    const char *name;                  /* "core.v1.Pod" */
    const char *group, *version, *kind; /* of a top-level kind; kind NULL otherwise. group "" is core */
    const struct field_desc *fields;   /* in the order in which JSON is written; inlined members' fields in place */
    const uint16_t *by_name;           /* indexes into fields, sorted by name */
    const struct inline_desc *inlines;
    const struct type_desc *item_type; /* of a ...List kind: the type of its items */
    uint32_t size;                     /* of the C struct */
    uint16_t fields_len;
    uint8_t inlines_len, flags;
};

/* The field of that JSON name, or NULL. */
const struct field_desc *type_field(const struct type_desc *type, const char *name, size_t name_len);

/* What every resource object begins with: the same memory as kind, apiVersion and metadata of any kind with TYPE_HAS_OBJECT_META. Declared in
 * object.h as struct object. */

enum api_verb {
    VERB_CREATE = 1, VERB_DELETE = 2, VERB_DELETECOLLECTION = 4, VERB_GET = 8, VERB_LIST = 16, VERB_PATCH = 32, VERB_UPDATE = 64, VERB_WATCH = 128
};

/* One row of discovery: a resource or a subresource. */
struct resource_desc {
    const char *group, *version, *resource, *subresource; /* subresource NULL for the resource itself */
    const char *kind, *singular;
    const char *acts_on_group, *acts_on_version;          /* of the body, where it differs (scale: autoscaling/v1); else NULL */
    const char *const *short_names, *const *categories;   /* NULL-terminated */
    const struct type_desc *type, *list_type;             /* of the body; list_type NULL where there is none */
    uint8_t verbs;
    bool namespaced, off_by_default;
};

extern const struct resource_desc api_resources[];
extern const size_t api_resources_len;
extern const uint16_t api_resources_by_name[]; /* their places, sorted by resource, subresource, version and group */
extern const struct type_desc *const api_kinds[]; /* every type that has a kind */
extern const size_t api_kinds_len;

/* Upstream's scheme: the type of a group, version and kind, or NULL. */
const struct type_desc *api_kind_find(const char *group, const char *version, const char *kind);
/* The (sub)resource, or NULL; subresource NULL for the resource itself. */
const struct resource_desc *api_resource_find(const char *group, const char *version, const char *resource, const char *subresource);
const struct resource_desc *api_resource_of_type(const struct type_desc *type); /* the resource (not a subresource) that holds such objects, or NULL */
#endif
