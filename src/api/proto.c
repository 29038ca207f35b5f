/* Protobuf to and from structs, driven by the descriptors; wire format and envelope as upstream's apimachinery serializer has them.
 *
 * Plain scalars are always written (as gogo's non-nullable fields are), nil pointers, lists and maps are left out. Unknown fields are skipped.
 * Malformed input of any kind is a 400, never a crash: every length is checked against what is left. Tests: tests/unit/test_object.c, fuzz_proto. */
#include <string.h>
#include "api/object.h"
#include "api/quantity.h"
#include "base/str.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5, DEPTH_MAX = 100 };

/* ---- encoding ---- */

static void put_varint(struct buf *out, uint64_t v) {
    unsigned char bytes[10];
    size_t n = 0;
    do {
        bytes[n] = (unsigned char)(v & 0x7f);
        v >>= 7;
        if (v) bytes[n] |= 0x80;
        n++;
    } while (v);
    buf_append(out, bytes, n);
}

static void put_tag(struct buf *out, unsigned number, unsigned wire) { put_varint(out, (uint64_t)number << 3 | wire); }

static void put_varint_field(struct buf *out, unsigned number, uint64_t v) {
    put_tag(out, number, WIRE_VARINT);
    put_varint(out, v);
}

static void put_bytes_field(struct buf *out, unsigned number, const void *data, size_t len) {
    put_tag(out, number, WIRE_BYTES);
    put_varint(out, len);
    buf_append(out, data, len);
}

/* Strings in memory are modified UTF-8: C0 80 stands for NUL. */
static void put_string_field(struct buf *out, unsigned number, const char *s) {
    size_t len = s ? strlen(s) : 0;
    const char *nul = len ? strstr(s, "\xc0\x80") : NULL;
    if (!nul) {
        put_bytes_field(out, number, s, len);
        return;
    }
    _cleanup_buf_ struct buf plain = BUF_INIT;
    for (; nul; s = nul + 2, nul = strstr(s, "\xc0\x80")) {
        buf_append(&plain, s, (size_t)(nul - s));
        buf_append(&plain, "", 1);
    }
    buf_append_str(&plain, s);
    put_bytes_field(out, number, plain.data, plain.len);
}

/* A nested message: written behind a gap for its length, which is then closed. Lengths are varints of unknown size, so the body moves by what the
 * one-byte guess was short of. */
static size_t begin_message(struct buf *out, unsigned number) {
    put_tag(out, number, WIRE_BYTES);
    buf_append_char(out, 0);
    return out->len;
}

static void end_message(struct buf *out, size_t start) {
    size_t len = out->len - start, extra = 0;
    for (size_t v = len; v >= 0x80; v >>= 7) extra++;
    if (extra) {
        static const char zeros[10];
        buf_append(out, zeros, extra);
        memmove(out->data + start + extra, out->data + start, len);
    }
    unsigned char *p = (unsigned char *)out->data + start - 1;
    size_t v = len;
    for (; v >= 0x80; v >>= 7) *p++ = (unsigned char)(v | 0x80);
    *p = (unsigned char)v;
}

static void put_message(const struct type_desc *type, const void *obj, struct buf *out);

static void put_time(struct buf *out, const struct api_time *t) {
    if (!t->set) return;
    put_varint_field(out, 1, (uint64_t)t->sec);
    put_varint_field(out, 2, (uint64_t)t->nsec);
}

static void put_int_or_string(struct buf *out, const struct int_or_string *v) {
    put_varint_field(out, 1, v->kind == INTSTR_STRING ? 1 : 0);
    put_varint_field(out, 2, (uint64_t)(int64_t)v->i);
    put_string_field(out, 3, v->s);
}

static void put_plain(const struct field_desc *f, unsigned number, const void *at, struct buf *out) {
    size_t start;
    switch ((enum field_kind)f->kind) {
        case FK_STRING: put_string_field(out, number, *(const char *const *)at); return;
        case FK_BOOL: put_varint_field(out, number, *(const bool *)at); return;
        case FK_INT32: put_varint_field(out, number, (uint64_t)(int64_t)*(const int32_t *)at); return;
        case FK_INT64: put_varint_field(out, number, (uint64_t)*(const int64_t *)at); return;
        case FK_DOUBLE:
            put_tag(out, number, WIRE_FIXED64);
            buf_append(out, at, sizeof(double));
            return;
        case FK_BYTES:
            if (((const struct bytes *)at)->data) put_bytes_field(out, number, ((const struct bytes *)at)->data, ((const struct bytes *)at)->len);
            return;
        default: break;
    }
    start = begin_message(out, number);
    switch ((enum field_kind)f->kind) {
        case FK_TIME: case FK_MICROTIME: put_time(out, at); break;
        case FK_QUANTITY: put_string_field(out, 1, str_or(*(const char *const *)at, "0")); break;
        case FK_INTORSTRING: put_int_or_string(out, at); break;
        case FK_RAW:
            if (((const struct raw_json *)at)->data) put_bytes_field(out, 1, ((const struct raw_json *)at)->data, ((const struct raw_json *)at)->len);
            break;
        case FK_STRUCT: put_message(f->type, at, out); break;
        case FK_STRING_LIST: {
            const struct string_list *list = at;
            for (size_t i = 0; i < list->len; i++) put_string_field(out, 1, list->items[i]);
            break;
        }
        default: break;
    }
    end_message(out, start);
}

static const void *pointee(const struct field_desc *f, const void *at) {
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: return ((const struct opt_bool *)at)->has ? &((const struct opt_bool *)at)->value : NULL;
        case FK_INT32: return ((const struct opt_int32 *)at)->has ? &((const struct opt_int32 *)at)->value : NULL;
        case FK_INT64: return ((const struct opt_int64 *)at)->has ? &((const struct opt_int64 *)at)->value : NULL;
        case FK_DOUBLE: return ((const struct opt_double *)at)->has ? &((const struct opt_double *)at)->value : NULL;
        case FK_STRUCT: return *(const void *const *)at;
        case FK_STRING: case FK_QUANTITY: return *(const void *const *)at ? at : NULL;
        case FK_TIME: case FK_MICROTIME: return ((const struct api_time *)at)->set ? at : NULL;
        case FK_INTORSTRING: return ((const struct int_or_string *)at)->kind != INTSTR_NONE ? at : NULL;
        case FK_RAW: return ((const struct raw_json *)at)->data ? at : NULL;
        case FK_BYTES: case FK_STRING_LIST: return at;
    }
    return NULL;
}

static void put_field(const struct field_desc *f, const void *obj, struct buf *out) {
    const void *at = (const char *)obj + f->offset;
    const struct any_list *list = at;
    switch ((enum field_shape)f->shape) {
        case SHAPE_PLAIN: put_plain(f, f->number, at, out); break;
        case SHAPE_POINTER:
            at = pointee(f, at);
            if (at) put_plain(f, f->number, at, out);
            break;
        case SHAPE_LIST:
            for (size_t i = 0; i < list->len; i++) put_plain(f, f->number, (const char *)list->items + i * f->item_size, out);
            break;
        case SHAPE_MAP:
            for (size_t i = 0; i < list->len; i++) {
                const char *entry = (const char *)list->items + i * f->item_size;
                size_t start = begin_message(out, f->number);
                put_string_field(out, 1, *(const char *const *)(const void *)entry);
                put_plain(f, 2, entry + sizeof(char *), out);
                end_message(out, start);
            }
            break;
    }
}

static void put_message(const struct type_desc *type, const void *obj, struct buf *out) {
    for (size_t i = 0; i < type->inlines_len; i++) {
        const struct inline_desc *in = &type->inlines[i];
        size_t start = begin_message(out, in->number);
        put_message(in->type, (const char *)obj + in->offset, out);
        end_message(out, start);
    }
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        if (f->number && !(f->flags & FIELD_INLINED)) put_field(f, obj, out);
    }
}

void object_encode_proto(const struct type_desc *type, const void *obj, struct buf *out) { put_message(type, obj, out); }

void object_encode_proto_envelope(const struct type_desc *type, const void *obj, struct buf *out) {
    _cleanup_arena_ struct arena *a = arena_new();
    buf_append(out, "k8s", 4);
    size_t meta = begin_message(out, 1);
    put_string_field(out, 1, type_api_version(a, type));
    put_string_field(out, 2, type->kind);
    end_message(out, meta);
    size_t raw = begin_message(out, 2);
    put_message(type, obj, out);
    end_message(out, raw);
    put_string_field(out, 3, "");
    put_string_field(out, 4, "");
}

/* ---- decoding ---- */

struct reader {
    const unsigned char *p, *end;
    struct arena *arena;
    struct status *err;
    int depth;
};

static int malformed(struct reader *r, const char *what) { return status_bad_request(r->err, "proto: %s", what); }

static int get_varint(struct reader *r, uint64_t *ret) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (r->p == r->end) return malformed(r, "unexpected EOF");
        unsigned char b = *r->p++;
        if (shift == 63 && b > 1) break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = v;
            return 0;
        }
    }
    return malformed(r, "integer overflow");
}

static int get_bytes(struct reader *r, const unsigned char **ret, size_t *ret_len) {
    uint64_t len = 0;
    if (get_varint(r, &len) != 0) return -1;
    if (len > (uint64_t)(r->end - r->p)) return malformed(r, "unexpected EOF");
    *ret = r->p;
    *ret_len = (size_t)len;
    r->p += len;
    return 0;
}

static int skip(struct reader *r, unsigned wire) {
    uint64_t v;
    const unsigned char *data;
    size_t len = wire == WIRE_FIXED64 ? 8 : 4;
    switch (wire) {
        case WIRE_VARINT: return get_varint(r, &v);
        case WIRE_BYTES: return get_bytes(r, &data, &len);
        case WIRE_FIXED64: case WIRE_FIXED32:
            if ((size_t)(r->end - r->p) < len) return malformed(r, "unexpected EOF");
            r->p += len;
            return 0;
        default: return malformed(r, "illegal wireType");
    }
}

static const char *make_string(struct arena *a, const unsigned char *data, size_t len) {
    if (!memchr(data, 0, len)) return arena_strndup(a, (const char *)data, len);
    char *out = arena_alloc(a, len * 2 + 1), *o = out;
    for (size_t i = 0; i < len; i++) {
        if (data[i]) *o++ = (char)data[i];
        else o += (o[0] = (char)0xc0, o[1] = (char)0x80, 2);
    }
    return out;
}

static int get_tag(struct reader *r, unsigned *number, unsigned *wire) {
    uint64_t tag = 0;
    if (get_varint(r, &tag) != 0) return -1;
    *number = (unsigned)(tag >> 3);
    *wire = tag & 7;
    if (*number == 0 || tag >> 3 > 0x1fffffff) return malformed(r, "illegal tag");
    return 0;
}

static int get_message(struct reader *r, const struct type_desc *type, void *obj);

/* The fields 1..3 of a small well-known message as varints or strings. */
struct small { uint64_t v[4]; const unsigned char *s[4]; size_t len[4]; };

static int get_small(struct reader *r, struct small *m) {
    *m = (struct small){0};
    while (r->p < r->end) {
        unsigned number, wire;
        if (get_tag(r, &number, &wire) != 0) return -1;
        if (number <= 3 && wire == WIRE_VARINT) {
            if (get_varint(r, &m->v[number]) != 0) return -1;
        } else if (number <= 3 && wire == WIRE_BYTES) {
            if (get_bytes(r, &m->s[number], &m->len[number]) != 0) return -1;
        } else if (skip(r, wire) != 0) return -1;
    }
    return 0;
}

static int get_well_known(struct reader *r, const struct field_desc *f, void *at) {
    struct small m;
    if (get_small(r, &m) != 0) return -1;
    switch ((enum field_kind)f->kind) {
        case FK_TIME: case FK_MICROTIME: {
            bool zero = !m.v[1] && !m.v[2] && f->shape != SHAPE_POINTER;
            if ((int64_t)m.v[1] < -62135596800 || (int64_t)m.v[1] > 253402300799 || m.v[2] > 999999999) return malformed(r, "time out of range");
            *(struct api_time *)at = (struct api_time){!zero, f->kind == FK_TIME ? 0 : (int32_t)(m.v[2] / 1000 * 1000), (int64_t)m.v[1]};
            return 0;
        }
        case FK_QUANTITY: {
            const char *text = m.s[1] ? make_string(r->arena, m.s[1], m.len[1]) : "0";
            const char *canonical = quantity_canonicalize(r->arena, str_empty(text) ? "0" : text, r->err);
            if (!canonical) return -1;
            *(const char **)at = canonical;
            return 0;
        }
        case FK_INTORSTRING:
            *(struct int_or_string *)at = (struct int_or_string){m.v[1] ? INTSTR_STRING : INTSTR_INT, m.v[1] ? 0 : (int32_t)m.v[2],
                                                                 m.v[1] ? make_string(r->arena, m.s[3], m.len[3]) : NULL};
            return 0;
        default:
            if (m.s[1]) *(struct raw_json *)at = (struct raw_json){arena_strndup(r->arena, (const char *)m.s[1], m.len[1]), m.len[1]};
            return 0;
    }
}

static int get_string_list(struct reader *r, struct string_list *list) {
    list->items = arena_list_alloc(r->arena, 0, sizeof(char *));
    while (r->p < r->end) {
        unsigned number, wire;
        const unsigned char *data = NULL;
        size_t len = 0;
        if (get_tag(r, &number, &wire) != 0) return -1;
        if (number != 1 || wire != WIRE_BYTES) {
            if (skip(r, wire) != 0) return -1;
            continue;
        }
        if (get_bytes(r, &data, &len) != 0) return -1;
        string_list_push(r->arena, list, make_string(r->arena, data, len));
    }
    return 0;
}

static int get_submessage(struct reader *r, const struct field_desc *f, void *at, const unsigned char *data, size_t len) {
    struct reader inner = {data, data + len, r->arena, r->err, r->depth + 1};
    if (inner.depth > DEPTH_MAX) return malformed(r, "nested too deep");
    if (f->kind == FK_STRUCT) return get_message(&inner, f->type, at);
    if (f->kind == FK_STRING_LIST) return get_string_list(&inner, at);
    return get_well_known(&inner, f, at);
}

static int get_plain(struct reader *r, const struct field_desc *f, unsigned wire, void *at) {
    uint64_t v = 0;
    const unsigned char *data;
    size_t len;
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: case FK_INT32: case FK_INT64:
            if (wire != WIRE_VARINT) return malformed(r, "wrong wireType for a number");
            if (get_varint(r, &v) != 0) return -1;
            if (f->kind == FK_BOOL) *(bool *)at = v != 0;
            else if (f->kind == FK_INT32) *(int32_t *)at = (int32_t)v;
            else *(int64_t *)at = (int64_t)v;
            return 0;
        case FK_DOUBLE:
            if (wire != WIRE_FIXED64 || r->end - r->p < 8) return malformed(r, "wrong wireType for a double");
            memcpy(at, r->p, 8);
            r->p += 8;
            return 0;
        default: break;
    }
    if (wire != WIRE_BYTES) return malformed(r, "wrong wireType for a message");
    if (get_bytes(r, &data, &len) != 0) return -1;
    if (f->kind == FK_STRING) *(const char **)at = make_string(r->arena, data, len);
    else if (f->kind == FK_BYTES) *(struct bytes *)at = (struct bytes){arena_memdup(r->arena, data, len), len};
    else return get_submessage(r, f, at, data, len);
    return 0;
}

static int get_pointer(struct reader *r, const struct field_desc *f, unsigned wire, void *at) {
    void *value = at;
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: ((struct opt_bool *)at)->has = true; value = &((struct opt_bool *)at)->value; break;
        case FK_INT32: ((struct opt_int32 *)at)->has = true; value = &((struct opt_int32 *)at)->value; break;
        case FK_INT64: ((struct opt_int64 *)at)->has = true; value = &((struct opt_int64 *)at)->value; break;
        case FK_DOUBLE: ((struct opt_double *)at)->has = true; value = &((struct opt_double *)at)->value; break;
        case FK_STRUCT:
            if (!*(void **)at) *(void **)at = arena_alloc(r->arena, f->type->size);
            value = *(void **)at;
            break;
        default: break;
    }
    return get_plain(r, f, wire, value);
}

static int get_map_entry(struct reader *r, const struct field_desc *f, unsigned wire, struct any_list *map) {
    const unsigned char *data;
    size_t len;
    if (wire != WIRE_BYTES) return malformed(r, "wrong wireType for a map");
    if (get_bytes(r, &data, &len) != 0) return -1;
    char *entry = arena_list_push(r->arena, &map->items, &map->len, f->item_size);
    struct reader inner = {data, data + len, r->arena, r->err, r->depth};
    *(const char **)(void *)entry = "";
    while (inner.p < inner.end) {
        unsigned number, w;
        if (get_tag(&inner, &number, &w) != 0) return -1;
        if (number == 1 && w == WIRE_BYTES) {
            if (get_bytes(&inner, &data, &len) != 0) return -1;
            *(const char **)(void *)entry = make_string(r->arena, data, len);
        } else if (number == 2) {
            if (get_plain(&inner, f, w, entry + sizeof(char *)) != 0) return -1;
        } else if (skip(&inner, w) != 0) return -1;
    }
    return 0;
}

static int get_field(struct reader *r, const struct field_desc *f, unsigned wire, void *obj) {
    void *at = (char *)obj + f->offset;
    struct any_list *list = at;
    switch ((enum field_shape)f->shape) {
        case SHAPE_PLAIN: return get_plain(r, f, wire, at);
        case SHAPE_POINTER: return get_pointer(r, f, wire, at);
        case SHAPE_LIST:
            if (wire == WIRE_BYTES && (f->kind == FK_INT32 || f->kind == FK_INT64 || f->kind == FK_BOOL)) { /* packed */
                const unsigned char *data;
                size_t len;
                if (get_bytes(r, &data, &len) != 0) return -1;
                struct reader inner = {data, data + len, r->arena, r->err, r->depth};
                while (inner.p < inner.end)
                    if (get_plain(&inner, f, WIRE_VARINT, arena_list_push(r->arena, &list->items, &list->len, f->item_size)) != 0) return -1;
                return 0;
            }
            return get_plain(r, f, wire, arena_list_push(r->arena, &list->items, &list->len, f->item_size));
        case SHAPE_MAP: return get_map_entry(r, f, wire, list);
    }
    return 0;
}

static const struct field_desc *field_by_number(const struct type_desc *type, unsigned number) {
    for (size_t i = 0; i < type->fields_len; i++)
        if (type->fields[i].number == number && !(type->fields[i].flags & FIELD_INLINED)) return &type->fields[i];
    return NULL;
}

static const struct inline_desc *inline_by_number(const struct type_desc *type, unsigned number) {
    for (size_t i = 0; i < type->inlines_len; i++)
        if (type->inlines[i].number == number) return &type->inlines[i];
    return NULL;
}

static int compare_entries(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Maps arrive in any order, and a repeated key replaces: of equal keys the one that came last is kept. */
static void sort_maps(const struct type_desc *type, void *obj) {
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        struct any_list *map = (void *)((char *)obj + f->offset);
        if (f->shape != SHAPE_MAP || map->len < 2) continue;
        qsort(map->items, map->len, f->item_size, compare_entries);
        size_t kept = 1;
        char *items = map->items;
        for (size_t j = 1; j < map->len; j++) {
            char *entry = items + j * f->item_size;
            if (compare_entries(items + (kept - 1) * f->item_size, entry) != 0) kept++;
            if (items + (kept - 1) * f->item_size != entry) memcpy(items + (kept - 1) * f->item_size, entry, f->item_size);
        }
        map->len = kept;
    }
}

static int get_message(struct reader *r, const struct type_desc *type, void *obj) {
    while (r->p < r->end) {
        unsigned number, wire;
        if (get_tag(r, &number, &wire) != 0) return -1;
        const struct field_desc *f = field_by_number(type, number);
        const struct inline_desc *in = f ? NULL : inline_by_number(type, number);
        if (f) {
            if (get_field(r, f, wire, obj) != 0) return -1;
        } else if (in && wire == WIRE_BYTES) {
            struct field_desc as = {.type = in->type, .kind = FK_STRUCT};
            const unsigned char *data;
            size_t len;
            if (get_bytes(r, &data, &len) != 0 || get_submessage(r, &as, (char *)obj + in->offset, data, len) != 0) return -1;
        } else if (skip(r, wire) != 0) return -1;
    }
    sort_maps(type, obj);
    return 0;
}

int object_decode_proto(struct arena *a, const struct type_desc *type, void *obj, const void *data, size_t len, struct status *reterr) {
    struct reader r = {data, (const unsigned char *)data + len, a, reterr, 0};
    return get_message(&r, type, obj);
}

int proto_envelope_open(struct arena *a, const void *data, size_t len, const char **ret_api_version, const char **ret_kind, struct bytes *ret_raw, struct status *reterr) {
    struct reader r = {data, (const unsigned char *)data + len, a, reterr, 0};
    if (len < 4 || memcmp(data, "k8s", 4) != 0) return status_bad_request(reterr, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    r.p += 4;
    struct small outer, meta;
    if (get_small(&r, &outer) != 0) return -1;
    struct reader m = {outer.s[1], outer.s[1] ? outer.s[1] + outer.len[1] : NULL, a, reterr, 0};
    if (get_small(&m, &meta) != 0) return -1;
    *ret_api_version = meta.s[1] ? make_string(a, meta.s[1], meta.len[1]) : "";
    *ret_kind = meta.s[2] ? make_string(a, meta.s[2], meta.len[2]) : "";
    *ret_raw = (struct bytes){outer.s[2] ? outer.s[2] : (const unsigned char *)"", outer.len[2]};
    return 0;
}
