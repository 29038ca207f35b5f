/* Editing one JSON object key by key in linear time: yyjson's own lookups walk the whole object, so a patch of n keys would cost n times n. Used by the
 * patches. The object must not be changed otherwise between open and close. */
#ifndef CKUBE_API_JSON_EDIT_H
#define CKUBE_API_JSON_EDIT_H
#include <yyjson.h>
#include "base/arena.h"
#include "base/map.h"

struct json_edit_member { yyjson_mut_val *key, *value; }; /* value NULL: removed */
struct json_edit {
    struct arena *arena;
    yyjson_mut_doc *doc;
    yyjson_mut_val *object;
    struct json_edit_member *items;
    size_t len;
    struct map *places; /* key to place in items, counted from 1; only made for large objects */
};

void json_edit_open(struct json_edit *e, struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *object);
yyjson_mut_val *json_edit_get(const struct json_edit *e, const char *key);                  /* NULL if absent */
void json_edit_set(struct json_edit *e, const char *key, yyjson_mut_val *value);            /* NULL removes; the value must not hang elsewhere */
void json_edit_close(struct json_edit *e);                                                  /* writes the object back */
#endif
