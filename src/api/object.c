/* Copying, comparing and making API objects, and the helpers over their maps and lists. */
#include "api/object.h"
#include <string.h>
#include "api/quantity.h"
#include "base/str.h"

_Static_assert(offsetof(struct corev1_Pod, metadata) == offsetof(struct object, metadata), "objects begin alike");
_Static_assert(offsetof(struct corev1_PodList, items) == offsetof(struct object_list, items), "lists begin alike");
_Static_assert(offsetof(struct corev1_Pod_map_entry, value) == sizeof(char *), "a map's value follows its key");

const char *type_api_version(struct arena *a, const struct type_desc *type) {
    return *type->group ? arena_printf(a, "%s/%s", type->group, type->version) : type->version;
}

void object_set_type_meta(struct arena *a, const struct type_desc *type, void *obj) {
    if (!(type->flags & TYPE_HAS_TYPE_META) || !type->kind) return;
    struct object *o = obj;
    o->kind = type->kind;
    o->apiVersion = type_api_version(a, type);
}

void *object_new(struct arena *a, const struct type_desc *type) {
    void *obj = arena_alloc(a, type->size);
    object_set_type_meta(a, type, obj);
    return obj;
}

static void copy_plain(struct arena *a, const struct field_desc *f, void *dst, const void *src) {
    switch ((enum field_kind)f->kind) {
        case FK_STRING: case FK_QUANTITY: *(const char **)dst = arena_strdup(a, *(const char *const *)src); break;
        case FK_BYTES: ((struct bytes *)dst)->data = arena_memdup(a, ((const struct bytes *)src)->data, ((const struct bytes *)src)->len); break;
        case FK_INTORSTRING: ((struct int_or_string *)dst)->s = arena_strdup(a, ((const struct int_or_string *)src)->s); break;
        case FK_RAW: ((struct raw_json *)dst)->data = arena_strndup(a, ((const struct raw_json *)src)->data, ((const struct raw_json *)src)->len); break;
        case FK_STRUCT: object_copy_into(a, f->type, dst, src); break;
        case FK_STRING_LIST: {
            const struct string_list *from = src;
            struct string_list *to = dst;
            if (from->items) to->items = arena_list_alloc(a, from->len, sizeof(char *));
            for (size_t i = 0; i < from->len; i++) to->items[i] = arena_strdup(a, from->items[i]);
            break;
        }
        default: break; /* scalars came with the struct's bytes */
    }
}

static void copy_items(struct arena *a, const struct field_desc *f, struct any_list *dst, const struct any_list *src, bool map) {
    size_t offset = map ? sizeof(char *) : 0;
    if (!src->items) return;
    dst->items = arena_list_alloc(a, src->len, f->item_size);
    memcpy(dst->items, src->items, src->len * f->item_size);
    for (size_t i = 0; i < src->len; i++) {
        char *to = (char *)dst->items + i * f->item_size;
        const char *from = (const char *)src->items + i * f->item_size;
        if (map) *(const char **)(void *)to = arena_strdup(a, *(const char *const *)(const void *)from);
        copy_plain(a, f, to + offset, from + offset);
    }
}

void object_copy_into(struct arena *a, const struct type_desc *type, void *dst, const void *src) {
    if (dst != src) memcpy(dst, src, type->size);
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        void *to = (char *)dst + f->offset;
        const void *from = (const char *)src + f->offset;
        if (f->shape == SHAPE_LIST || f->shape == SHAPE_MAP) copy_items(a, f, to, from, f->shape == SHAPE_MAP);
        else if (f->shape == SHAPE_POINTER && f->kind == FK_STRUCT) {
            const void *pointee = *(const void *const *)from;
            *(void **)to = pointee ? object_copy(a, f->type, pointee) : NULL;
        } else copy_plain(a, f, to, from);
    }
}

void *object_copy(struct arena *a, const struct type_desc *type, const void *obj) {
    void *copy = arena_alloc(a, type->size);
    object_copy_into(a, type, copy, obj);
    return copy;
}

void object_drop_empty(const struct type_desc *type, void *obj) {
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        void *at = (char *)obj + f->offset;
        if (f->shape == SHAPE_LIST || f->shape == SHAPE_MAP) {
            struct any_list *list = at;
            if (list->len == 0) list->items = NULL;
            for (size_t j = 0; f->kind == FK_STRUCT && j < list->len; j++) object_drop_empty(f->type, (char *)list->items + j * f->item_size + (f->shape == SHAPE_MAP ? sizeof(char *) : 0));
        } else if (f->kind == FK_STRUCT) {
            void *inner = f->shape == SHAPE_POINTER ? *(void **)at : at;
            if (inner) object_drop_empty(f->type, inner);
        }
    }
}

static bool bytes_equal(const void *a, size_t a_len, const void *b, size_t b_len) { return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0); }

static bool plain_equal(const struct field_desc *f, const void *a, const void *b) {
    switch ((enum field_kind)f->kind) {
        case FK_STRING: return str_eq(*(const char *const *)a, *(const char *const *)b);
        case FK_BOOL: return *(const bool *)a == *(const bool *)b;
        case FK_INT32: return *(const int32_t *)a == *(const int32_t *)b;
        case FK_INT64: return *(const int64_t *)a == *(const int64_t *)b;
        case FK_DOUBLE: return *(const double *)a == *(const double *)b;
        case FK_BYTES: return bytes_equal(((const struct bytes *)a)->data, ((const struct bytes *)a)->len, ((const struct bytes *)b)->data, ((const struct bytes *)b)->len);
        case FK_TIME: case FK_MICROTIME: {
            const struct api_time *x = a, *y = b;
            return x->set == y->set && (!x->set || (x->sec == y->sec && x->nsec == y->nsec));
        }
        case FK_QUANTITY: {
            const char *x = *(const char *const *)a, *y = *(const char *const *)b;
            return str_eq(x, y) || quantity_text_cmp(str_or(x, "0"), str_or(y, "0")) == 0;
        }
        case FK_INTORSTRING: {
            const struct int_or_string *x = a, *y = b;
            return x->kind == y->kind && x->i == y->i && str_eq(x->s, y->s);
        }
        case FK_RAW: return bytes_equal(((const struct raw_json *)a)->data, ((const struct raw_json *)a)->len, ((const struct raw_json *)b)->data, ((const struct raw_json *)b)->len);
        case FK_STRUCT: return object_equal(f->type, a, b);
        case FK_STRING_LIST: {
            const struct string_list *x = a, *y = b;
            if (x->len != y->len) return false;
            for (size_t i = 0; i < x->len; i++)
                if (!str_eq(x->items[i], y->items[i])) return false;
            return true;
        }
    }
    return false;
}

static bool pointer_equal(const struct field_desc *f, const void *a, const void *b) {
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: case FK_INT32: case FK_INT64: case FK_DOUBLE: {
            bool has_a = *(const bool *)a, has_b = *(const bool *)b;
            size_t at = f->kind == FK_BOOL ? offsetof(struct opt_bool, value) : f->kind == FK_INT32 ? offsetof(struct opt_int32, value) : offsetof(struct opt_int64, value);
            return has_a == has_b && (!has_a || plain_equal(f, (const char *)a + at, (const char *)b + at));
        }
        case FK_STRUCT: {
            const void *x = *(const void *const *)a, *y = *(const void *const *)b;
            return x && y ? object_equal(f->type, x, y) : x == y;
        }
        case FK_STRING: case FK_QUANTITY: {
            const void *x = *(const void *const *)a, *y = *(const void *const *)b;
            return x && y ? plain_equal(f, a, b) : x == y;
        }
        default: return plain_equal(f, a, b);
    }
}

static bool items_equal(const struct field_desc *f, const struct any_list *a, const struct any_list *b, bool map) {
    if (a->len != b->len) return false;
    size_t offset = map ? sizeof(char *) : 0;
    for (size_t i = 0; i < a->len; i++) {
        const char *x = (const char *)a->items + i * f->item_size, *y = (const char *)b->items + i * f->item_size;
        if (map && !str_eq(*(const char *const *)(const void *)x, *(const char *const *)(const void *)y)) return false;
        if (!plain_equal(f, x + offset, y + offset)) return false;
    }
    return true;
}

bool object_equal(const struct type_desc *type, const void *a, const void *b) {
    if (a == b) return true;
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        const void *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
        bool equal = f->shape == SHAPE_PLAIN     ? plain_equal(f, x, y)
                     : f->shape == SHAPE_POINTER ? pointer_equal(f, x, y)
                                                 : items_equal(f, x, y, f->shape == SHAPE_MAP);
        if (!equal) return false;
    }
    return true;
}

/* The index of the first entry whose key is not below `key`. */
static size_t string_map_at(const struct string_map *map, const char *key) {
    size_t lo = 0, hi = map->len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (strcmp(map->items[mid].key, key) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

bool string_map_has(const struct string_map *map, const char *key) {
    size_t i = string_map_at(map, key);
    return i < map->len && strcmp(map->items[i].key, key) == 0;
}

const char *string_map_get(const struct string_map *map, const char *key) {
    size_t i = string_map_at(map, key);
    return i < map->len && strcmp(map->items[i].key, key) == 0 ? str_or(map->items[i].value, "") : NULL;
}

void string_map_set(struct arena *a, struct string_map *map, const char *key, const char *value) {
    size_t i = string_map_at(map, key);
    if (i < map->len && strcmp(map->items[i].key, key) == 0) {
        map->items[i].value = value;
        return;
    }
    struct string_map_entry *grown = arena_calloc(a, map->len + 1, sizeof(*grown));
    if (i) memcpy(grown, map->items, i * sizeof(*grown));
    grown[i] = (struct string_map_entry){key, value};
    if (i < map->len) memcpy(grown + i + 1, map->items + i, (map->len - i) * sizeof(*grown));
    map->items = grown;
    map->len++;
}

void string_map_del(struct string_map *map, const char *key) {
    size_t i = string_map_at(map, key);
    if (i == map->len || strcmp(map->items[i].key, key) != 0) return;
    memmove(map->items + i, map->items + i + 1, (map->len - i - 1) * sizeof(*map->items));
    map->len--;
}

struct string_map string_map_copy(struct arena *a, const struct string_map *map) {
    struct string_map copy = {arena_memdup(a, map->items, map->len * sizeof(*map->items)), map->len};
    for (size_t i = 0; i < copy.len; i++) copy.items[i] = (struct string_map_entry){arena_strdup(a, map->items[i].key), arena_strdup(a, map->items[i].value)};
    return copy;
}

bool string_map_equal(const struct string_map *a, const struct string_map *b) {
    if (a->len != b->len) return false;
    for (size_t i = 0; i < a->len; i++)
        if (!str_eq(a->items[i].key, b->items[i].key) || !str_eq(a->items[i].value, b->items[i].value)) return false;
    return true;
}

bool string_list_has(const struct string_list *list, const char *s) {
    for (size_t i = 0; i < list->len; i++)
        if (str_eq(list->items[i], s)) return true;
    return false;
}

void string_list_push(struct arena *a, struct string_list *list, const char *s) { *LIST_PUSH(a, list) = s; }

struct string_list string_list_split(struct arena *a, const char *text) {
    struct string_list l = {0};
    for (const char *p = str_or(text, ""); *p;) {
        size_t len = strcspn(p, ",");
        if (len) string_list_push(a, &l, arena_strndup(a, p, len));
        p += len + (p[len] == ',');
    }
    return l;
}
