#include "api/convert.h"
#include <string.h>
#include "api/convert_functions.h"
#include "base/str.h"

static void convert_struct(struct arena *a, const struct type_desc *from, const void *src, const struct type_desc *to, void *dst);

static const struct conversion *find(const struct type_desc *from, const struct type_desc *to) {
    for (size_t i = 0; i < conversions_len; i++)
        if (conversions[i].from == from && conversions[i].to == to) return &conversions[i];
    return NULL;
}

/* The bytes of one value in its plain form. */
static size_t plain_size(const struct field_desc *f) {
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: return sizeof(bool);
        case FK_INT32: return sizeof(int32_t);
        case FK_INT64: return sizeof(int64_t);
        case FK_DOUBLE: return sizeof(double);
        case FK_STRING: case FK_QUANTITY: return sizeof(char *);
        case FK_BYTES: return sizeof(struct bytes);
        case FK_TIME: case FK_MICROTIME: return sizeof(struct api_time);
        case FK_INTORSTRING: return sizeof(struct int_or_string);
        case FK_RAW: return sizeof(struct raw_json);
        case FK_STRING_LIST: return sizeof(struct string_list);
        case FK_STRUCT: return f->type->size;
    }
    return 0;
}

/* Where the value of a pointer form lies behind its `has`; 0 for forms that are their own nil. */
static size_t opt_value_offset(const struct field_desc *f) {
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: return offsetof(struct opt_bool, value);
        case FK_INT32: return offsetof(struct opt_int32, value);
        case FK_INT64: return offsetof(struct opt_int64, value);
        case FK_DOUBLE: return offsetof(struct opt_double, value);
        default: return 0;
    }
}

static bool all_zero(const void *p, size_t len) {
    for (const char *c = p; len; c++, len--)
        if (*c) return false;
    return true;
}

static void convert_plain(struct arena *a, const struct field_desc *from, const void *src, const struct field_desc *to, void *dst) {
    if (from->kind == FK_STRUCT) convert_struct(a, from->type, src, to->type, dst);
    else memcpy(dst, src, plain_size(from));
}

static void convert_items(struct arena *a, const struct field_desc *from, const struct any_list *src, const struct field_desc *to, struct any_list *dst) {
    size_t key = from->shape == SHAPE_MAP ? sizeof(char *) : 0;
    if (!src->items) return;
    if (from->kind != FK_STRUCT || from->type == to->type) {
        *dst = *src;
        return;
    }
    dst->items = arena_list_alloc(a, src->len, to->item_size);
    dst->len = src->len;
    for (size_t i = 0; i < src->len; i++) {
        const char *x = (const char *)src->items + i * from->item_size;
        char *y = (char *)dst->items + i * to->item_size;
        memcpy(y, x, key);
        convert_plain(a, from, x + key, to, y + key);
    }
}

/* A value into a pointer: zero becomes nil. */
static void value_to_pointer(struct arena *a, const struct field_desc *from, const void *src, const struct field_desc *to, void *dst) {
    if (from->kind == FK_STRUCT) {
        if (object_is_zero(from->type, src)) return;
        void *copy = arena_alloc(a, to->type->size);
        convert_struct(a, from->type, src, to->type, copy);
        *(void **)dst = copy;
    } else if ((from->kind == FK_STRING || from->kind == FK_QUANTITY) && str_empty(*(const char *const *)src)) return;
    else if (opt_value_offset(to)) {
        if (all_zero(src, plain_size(from))) return;
        *(bool *)dst = true;
        memcpy((char *)dst + opt_value_offset(to), src, plain_size(from));
    } else memcpy(dst, src, plain_size(from));
}

static void pointer_to_value(struct arena *a, const struct field_desc *from, const void *src, const struct field_desc *to, void *dst) {
    if (from->kind == FK_STRUCT) {
        const void *pointee = *(const void *const *)src;
        if (pointee) convert_struct(a, from->type, pointee, to->type, dst);
    } else memcpy(dst, (const char *)src + opt_value_offset(from), plain_size(from));
}

static void pointer_to_pointer(struct arena *a, const struct field_desc *from, const void *src, const struct field_desc *to, void *dst) {
    if (from->kind != FK_STRUCT) memcpy(dst, src, opt_value_offset(from) ? opt_value_offset(from) + plain_size(from) : plain_size(from));
    else if (*(const void *const *)src) {
        void *copy = arena_alloc(a, to->type->size);
        convert_struct(a, from->type, *(const void *const *)src, to->type, copy);
        *(void **)dst = copy;
    }
}

static void convert_field(struct arena *a, const struct field_desc *from, const void *src, const struct field_desc *to, void *dst) {
    bool from_many = from->shape == SHAPE_LIST || from->shape == SHAPE_MAP, to_many = to->shape == SHAPE_LIST || to->shape == SHAPE_MAP;
    if (from->kind != to->kind || from_many != to_many || (from_many && from->shape != to->shape)) return; /* another thing by the same name */
    if (from_many) convert_items(a, from, src, to, dst);
    else if (from->shape == to->shape) from->shape == SHAPE_PLAIN ? convert_plain(a, from, src, to, dst) : pointer_to_pointer(a, from, src, to, dst);
    else if (from->shape == SHAPE_PLAIN) value_to_pointer(a, from, src, to, dst);
    else pointer_to_value(a, from, src, to, dst);
}

static void convert_struct(struct arena *a, const struct type_desc *from, const void *src, const struct type_desc *to, void *dst) {
    if (from == to) {
        memcpy(dst, src, from->size);
        return;
    }
    for (size_t i = 0; i < to->fields_len; i++) {
        const struct field_desc *t = &to->fields[i], *f = type_field(from, t->name, t->name_len);
        if (f) convert_field(a, f, (const char *)src + f->offset, t, (char *)dst + t->offset);
    }
    const struct conversion *by_hand = find(from, to);
    if (by_hand) by_hand->fn(a, src, dst);
}

void *object_convert(struct arena *a, const struct type_desc *from, const void *obj, const struct type_desc *to) {
    if (from == to) return (void *)(uintptr_t)obj;
    void *out = arena_alloc(a, to->size);
    convert_struct(a, from, obj, to, out);
    object_set_type_meta(a, to, out);
    return out;
}

void *object_list_convert(struct arena *a, const struct type_desc *from, const void *list, const struct type_desc *to) {
    if (from == to) return (void *)(uintptr_t)list;
    const struct object_list *in = list;
    struct object_list *out = object_new(a, to);
    out->metadata = in->metadata;
    out->items.items = arena_list_alloc(a, in->items.len, to->item_type->size);
    out->items.len = in->items.len;
    for (size_t i = 0; i < in->items.len; i++)
        convert_struct(a, from->item_type, (const char *)in->items.items + i * from->item_type->size, to->item_type, (char *)out->items.items + i * to->item_type->size);
    for (size_t i = 0; i < out->items.len; i++) {
        struct object *o = (struct object *)(void *)((char *)out->items.items + i * to->item_type->size);
        o->kind = o->apiVersion = NULL;
    }
    return out;
}

void *object_convert_struct(struct arena *a, const struct type_desc *from, const void *src, const struct type_desc *to) {
    void *out = arena_alloc(a, to->size);
    convert_struct(a, from, src, to, out);
    return out;
}
