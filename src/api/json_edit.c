#include "api/json_edit.h"
#include <stdint.h>
#include <string.h>

enum { LINEAR_MAX = 16 };

static void remember(struct json_edit *e, size_t i) { map_put(e->places, yyjson_mut_get_str(e->items[i].key), (void *)(uintptr_t)(i + 1)); }

static void index_if_large(struct json_edit *e) {
    if (e->places || e->len <= LINEAR_MAX) return;
    e->places = map_new();
    for (size_t i = 0; i < e->len; i++) remember(e, i);
}

void json_edit_open(struct json_edit *e, struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *object) {
    size_t i, n;
    yyjson_mut_val *key, *value;
    *e = (struct json_edit){.arena = a, .doc = doc, .object = object};
    yyjson_mut_obj_foreach(object, i, n, key, value) *LIST_PUSH(a, e) = (struct json_edit_member){key, value};
    index_if_large(e);
}

static struct json_edit_member *find(const struct json_edit *e, const char *key) {
    if (e->places) {
        size_t place = (size_t)(uintptr_t)map_get(e->places, key);
        return place ? &e->items[place - 1] : NULL;
    }
    for (size_t i = e->len; i-- > 0;) /* of duplicates the last one counts */
        if (strcmp(yyjson_mut_get_str(e->items[i].key), key) == 0) return &e->items[i];
    return NULL;
}

yyjson_mut_val *json_edit_get(const struct json_edit *e, const char *key) {
    const struct json_edit_member *m = find(e, key);
    return m ? m->value : NULL;
}

void json_edit_set(struct json_edit *e, const char *key, yyjson_mut_val *value) {
    struct json_edit_member *m = find(e, key);
    if (m) m->value = value;
    else if (value) {
        *LIST_PUSH(e->arena, e) = (struct json_edit_member){yyjson_mut_strcpy(e->doc, key), value};
        if (e->places) remember(e, e->len - 1);
        else index_if_large(e);
    }
}

void json_edit_close(struct json_edit *e) {
    yyjson_mut_obj_clear(e->object);
    for (size_t i = 0; i < e->len; i++)
        if (e->items[i].value) yyjson_mut_obj_add(e->object, e->items[i].key, e->items[i].value);
    map_free(e->places);
    e->places = NULL;
}
