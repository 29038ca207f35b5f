/* What apply needs to know of a type: is this a scalar, a list or a map, who owns it, by what is an item known. Upstream: structured-merge-diff's schema.
 *
 * The merge engine (typed_value.h) sees types only through this: built-in ones resolve from their descriptors as they are asked for, custom resources from
 * nodes that schema_from_openapi makes of their structural schema. A place of a custom resource whose type nobody knows
 * (x-kubernetes-preserve-unknown-fields) is "deduced": what is a map is granular, what is a list is atomic. Raw JSON in built-in types is atomic. */
#ifndef CKUBE_API_MERGE_SCHEMA_H
#define CKUBE_API_MERGE_SCHEMA_H
#include <yyjson.h>
#include "api/value.h"

enum scalar_kind { SCALAR_NONE, SCALAR_STRING, SCALAR_NUMERIC, SCALAR_BOOLEAN, SCALAR_UNTYPED };
enum list_relation { RELATION_NONE, RELATION_ATOMIC, RELATION_ASSOCIATIVE, RELATION_GRANULAR };

/* Names a type; cheap to copy. Zero: no type, so that a map without element type allows only its declared fields. */
struct schema_ref {
    enum { REF_NONE, REF_TYPE, REF_FIELD, REF_ITEM, REF_NODE, REF_DEDUCED, REF_UNTYPED_ATOMIC } kind;
    const struct type_desc *type;   /* REF_TYPE; the field's parent for REF_FIELD and REF_ITEM */
    const void *p;                  /* struct field_desc or struct schema_node */
};

/* A type's forms; more than one only where the type is untyped. */
struct atom {
    enum scalar_kind scalar;        /* SCALAR_NONE: not a scalar */
    enum list_relation list;        /* RELATION_NONE: not a list; ATOMIC or ASSOCIATIVE */
    enum list_relation map;         /* RELATION_NONE: not a map; ATOMIC or GRANULAR */
    const char *const *keys;        /* associative lists of maps; NULL: a set */
    struct schema_ref list_item, map_item;
};

struct schema_node_field { const char *name; const struct schema_node *node; struct value *default_value; };
/* An explicit type, for custom resources. */
struct schema_node {
    struct atom atom;
    struct schema_node_field *fields; /* sorted by name */
    size_t fields_len;
    const struct type_desc *builtin;  /* the node is this type (ObjectMeta); the rest is unused */
};

struct schema_ref schema_of_type(const struct type_desc *type);
struct schema_ref schema_of_node(const struct schema_node *node);
struct schema_ref schema_deduced(void);

struct atom schema_resolve(struct schema_ref ref);
/* The type of a map's member; *declared says whether it is a field of its own (and not just any key). REF_NONE if the type has no such member. */
struct schema_ref schema_member(struct schema_ref ref, const struct atom *atom, const char *name, bool *declared);
/* The default that stands in for a key field that an item leaves out; false if there is none. */
bool schema_key_default(struct arena *a, struct schema_ref item, const char *name, struct value *ret);

/* A structural schema (openAPIV3Schema of a CustomResourceDefinition) as nodes in the arena; `metadata`, `kind` and `apiVersion` of the root get their
 * usual types. NULL schema: everything is deduced. Upstream: kube-openapi's schemaconv. */
const struct schema_node *schema_from_openapi(struct arena *a, yyjson_val *schema);
#endif
