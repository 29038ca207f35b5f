/* Sets of fields: which parts of an object a manager owns. Upstream: structured-merge-diff's fieldpath.
 *
 * A set is a tree. Each node has a path element (a field's name, the keys or the value of a list's item, an index), says whether it is itself a member,
 * and holds the set of what is below it. Nodes are sorted in upstream's order and written as upstream writes FieldsV1:
 *   {"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}}}}
 * Sets live in arenas; operations share parts of what they were given, so a set that was given away is not changed any more. */
#ifndef CKUBE_API_FIELD_SET_H
#define CKUBE_API_FIELD_SET_H
#include "api/value.h"
#include "base/status.h"

enum path_kind { PATH_FIELD, PATH_KEY, PATH_VALUE, PATH_INDEX }; /* in their order */

struct path_element {
    uint8_t kind;
    union {
        const char *name;
        const struct value *value; /* PATH_KEY: a map of the keys; PATH_VALUE */
        int64_t index;
    };
};

struct set_node;
struct field_set { struct set_node *items; size_t len; };
struct set_node {
    struct path_element pe;
    bool member;
    struct field_set children;
};

static inline struct path_element path_field(const char *name) { return (struct path_element){PATH_FIELD, {.name = name}}; }

int path_element_compare(const struct path_element *a, const struct path_element *b);
void path_element_print(struct arena *a, struct buf *out, const struct path_element *pe); /* .name, [name="c",port=80], [="x"], [3]: as error texts show it */

/* The node of that element; NULL if absent. */
struct set_node *field_set_find(const struct field_set *s, const struct path_element *pe);
/* The same, made if missing. */
struct set_node *field_set_descend(struct arena *a, struct field_set *s, const struct path_element *pe);
/* Adds a node whose element is not in the set yet; cheap when it sorts last. */
void field_set_add(struct arena *a, struct field_set *s, const struct set_node *node);
/* A set of dotted field names, "metadata.name": paths end with NULL. */
struct field_set field_set_of(struct arena *a, const char *const *paths);
void field_set_insert_dotted(struct arena *a, struct field_set *s, const char *path);
bool field_set_has_dotted(const struct field_set *s, const char *path);

bool field_set_empty(const struct field_set *s);
bool field_set_equal(const struct field_set *a, const struct field_set *b);
struct field_set field_set_union(struct arena *a, const struct field_set *x, const struct field_set *y);
struct field_set field_set_intersection(struct arena *a, const struct field_set *x, const struct field_set *y);
struct field_set field_set_difference(struct arena *a, const struct field_set *x, const struct field_set *y);
/* The same, but what is in y goes with all that is below it. */
struct field_set field_set_recursive_difference(struct arena *a, const struct field_set *x, const struct field_set *y);

/* Calls fn for each member with its printed path (".spec.replicas"), members of a level before what is below them: upstream's Iterate. */
void field_set_each(struct arena *a, const struct field_set *s, void (*fn)(void *arg, const char *path), void *arg);

/* FieldsV1. Elements of unknown kinds are dropped; -1 for what upstream cannot read. The text is copied. */
int field_set_parse(struct arena *a, const char *json, size_t len, struct field_set *ret, struct status *reterr) WARN_UNUSED;
void field_set_write(struct buf *out, const struct field_set *s);
#endif
