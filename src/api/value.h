/* JSON values as apply sees them: immutable trees in an arena, made from typed objects, parsed documents or merges. Upstream: structured-merge-diff's value.
 *
 * Members of a map are sorted by name (byte order), so that two maps are walked side by side. Parts are shared between trees, never changed. */
#ifndef CKUBE_API_VALUE_H
#define CKUBE_API_VALUE_H
#include <yyjson.h>
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"

enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_FLOAT, VALUE_STRING, VALUE_LIST, VALUE_MAP };

struct value_member;
struct value {
    uint8_t kind;
    uint32_t len; /* of a string, list or map */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s; /* NUL-terminated */
        const struct value *items;
        const struct value_member *members;
    };
};
struct value_member { const char *name; struct value value; };

struct value value_string(const char *s); /* not copied */
/* A parsed document (numbers not raw); strings are not copied, duplicate members keep the last. */
struct value value_from_json(struct arena *a, yyjson_val *v);
/* A typed object: what object_encode_json would write, without the text between. Strings are not copied. */
struct value value_from_object(struct arena *a, const struct type_desc *type, const void *obj);
void value_write_json(struct buf *out, const struct value *v); /* compact */

bool value_equal(const struct value *a, const struct value *b);   /* 1 equals 1.0; null equals null only */
int value_compare(const struct value *a, const struct value *b);  /* upstream's total order: numbers, strings, bools, lists, maps, null */
const struct value *value_get(const struct value *map, const char *name); /* NULL if absent or no map */
/* map.first.second, and a string's text; NULL if there is none. */
static inline const struct value *value_at(const struct value *map, const char *first, const char *second) { return value_get(value_get(map, first), second); }
static inline bool value_is(const struct value *v, enum value_kind kind) { return v && v->kind == kind; }
static inline const char *value_text(const struct value *v) { return value_is(v, VALUE_STRING) ? v->s : NULL; }

/* How Go prints the value: %v of an interface{}, and %#v, for error texts in upstream's words. */
void value_print_go(struct buf *out, const struct value *v, bool sharp);
const char *value_go_type(const struct value *v); /* %T */
#endif
