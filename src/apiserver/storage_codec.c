#include "apiserver/storage_codec.h"
#include <string.h>
#include "api/convert.h"
#include "api/defaults.h"
#include "api/object.h"
#include "apiserver/registry.h"
#include "base/str.h"
#include "wire/json.h"

static const char envelope_magic[] = "k8s";

/* The strategy of a built-in kind by its group and kind; NULL: none is stored under that name. */
static const struct strategy *strategy_of_kind(const char *group, const char *kind) {
    const struct strategy *st;
    for (size_t i = 0; (st = strategy_at(i)); i++)
        if (strcmp(st->type->kind, kind) == 0 && strcmp(st->group, group) == 0) return st;
    return NULL;
}

static void split_version(struct arena *a, const char *api_version, const char **ret_group, const char **ret_version) {
    const char *slash = strchr(api_version, '/');
    *ret_group = slash ? arena_strndup(a, api_version, (size_t)(slash - api_version)) : "";
    *ret_version = slash ? slash + 1 : api_version;
}

/* The type that the names stand for, and the one its kind is stored as. False: not a kind of ours. Upstream's record of node ports is an object that is served nowhere. */
static bool find_types(struct arena *a, const char *api_version, const char *kind, const struct type_desc **ret_type, const struct type_desc **ret_stored) {
    const char *group, *version;
    split_version(a, api_version, &group, &version);
    const struct type_desc *type = api_kind_find(group, version, kind);
    const struct strategy *st = strategy_of_kind(group, kind);
    if (!type || (!st && type != &corev1_RangeAllocation_desc)) return false;
    *ret_type = type;
    *ret_stored = st ? st->type : type;
    return true;
}

static int write_record(struct arena *a, const struct type_desc *type, void *obj, const struct type_desc *stored, struct buf *ret, uint32_t *ret_rv_offset) {
    size_t offset;
    if (type != stored && !(obj = object_convert(a, type, obj, stored))) return -1;
    ((struct object *)obj)->metadata.resourceVersion = NULL;
    object_set_type_meta(a, stored, obj);
    object_set_defaults(a, stored, obj); /* as upstream does with what it reads */
    object_encode_stored(stored, obj, ret, &offset);
    *ret_rv_offset = (uint32_t)offset;
    return 0;
}

static int decode_protobuf(struct arena *a, const void *data, size_t len, struct buf *ret, uint32_t *ret_rv_offset) {
    const char *api_version, *kind;
    struct bytes raw;
    const struct type_desc *type, *stored;
    if (proto_envelope_open(a, data, len, &api_version, &kind, &raw, NULL) != 0) return -1;
    if (!find_types(a, str_or(api_version, ""), str_or(kind, ""), &type, &stored)) return 1;
    void *obj = arena_alloc(a, type->size);
    return object_decode_proto(a, type, obj, raw.data, raw.len, NULL) != 0 ? -1 : write_record(a, type, obj, stored, ret, ret_rv_offset);
}

/* A custom object as it is, but for a place for the revision at the head of its metadata. */
static int custom_record(yyjson_val *root, struct buf *ret, uint32_t *ret_rv_offset) {
    size_t i, n, j, m;
    yyjson_val *key, *value, *k, *v;
    bool any = false;
    buf_append_char(ret, '{');
    yyjson_obj_foreach(root, i, n, key, value) {
        if (i) buf_append_char(ret, ',');
        json_write_string(ret, yyjson_get_str(key));
        buf_append_char(ret, ':');
        if (strcmp(yyjson_get_str(key), "metadata") != 0 || !yyjson_is_obj(value)) {
            json_write_value(ret, value);
            continue;
        }
        any = true;
        buf_append_str(ret, "{\"resourceVersion\":\"");
        *ret_rv_offset = (uint32_t)ret->len;
        buf_append_char(ret, '"');
        yyjson_obj_foreach(value, j, m, k, v) {
            if (strcmp(yyjson_get_str(k), "resourceVersion") == 0) continue;
            buf_append_char(ret, ',');
            json_write_string(ret, yyjson_get_str(k));
            buf_append_char(ret, ':');
            json_write_value(ret, v);
        }
        buf_append_char(ret, '}');
    }
    buf_append_char(ret, '}');
    return any ? 0 : 1;
}

static int decode_json(struct arena *a, const void *data, size_t len, struct buf *ret, uint32_t *ret_rv_offset) {
    yyjson_doc *doc = json_parse_in(a, data, len, 0, NULL);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *api_version = yyjson_get_str(yyjson_obj_get(root, "apiVersion")), *kind = yyjson_get_str(yyjson_obj_get(root, "kind"));
    const struct type_desc *type, *stored;
    if (!yyjson_is_obj(root)) return doc ? 1 : -1;
    if (!api_version || !kind) return 1;
    if (!find_types(a, api_version, kind, &type, &stored)) return custom_record(root, ret, ret_rv_offset);
    void *obj = arena_alloc(a, type->size);
    return object_decode_json(a, type, obj, data, len, NULL, NULL) != 0 ? -1 : write_record(a, type, obj, stored, ret, ret_rv_offset);
}

static int decode(void *ctx UNUSED, const char *key UNUSED, const void *data, size_t len, struct buf *ret, uint32_t *ret_rv_offset) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *p = data;
    if (len >= sizeof(envelope_magic) && memcmp(p, envelope_magic, sizeof(envelope_magic)) == 0) return decode_protobuf(a, data, len, ret, ret_rv_offset);
    if (len && (*p == '{' || *p == ' ' || *p == '\n')) return decode_json(a, data, len, ret, ret_rv_offset);
    return 1; /* a number of an allocator, or the like; an object that is encrypted is none that we can read either */
}

/* The record without its place for the revision. */
static int encode_json(const char *value, size_t len, uint32_t rv_offset, struct buf *ret) {
    static const char name[] = "\"resourceVersion\":\"";
    size_t from = rv_offset - (sizeof(name) - 1), to = (size_t)rv_offset + 1;
    if (rv_offset == 0 || rv_offset < sizeof(name) - 1 || to > len || memcmp(value + from, name, sizeof(name) - 1) != 0) {
        buf_append(ret, value, len);
        return 0;
    }
    if (to < len && value[to] == ',') to++;
    else if (from && value[from - 1] == ',') from--;
    buf_append(ret, value, from);
    buf_append(ret, value + to, len - to);
    return 0;
}

static int encode(void *ctx, const char *key, const void *value, size_t len, uint32_t rv_offset, struct buf *ret, struct status *reterr) {
    const bool *json = ctx;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *api_version = NULL, *kind = NULL;
    const struct type_desc *type, *stored;
    yyjson_doc *doc = *json ? NULL : json_parse_in(a, value, len, 0, NULL);
    if (doc) {
        api_version = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "apiVersion"));
        kind = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "kind"));
    }
    if (!api_version || !kind || !find_types(a, api_version, kind, &type, &stored)) return encode_json(value, len, rv_offset, ret);
    struct object *obj = arena_alloc(a, type->size);
    if (object_decode_json(a, type, obj, value, len, NULL, reterr) != 0) {
        status_wrap(reterr, "encoding %s", key);
        return -1;
    }
    obj->metadata.resourceVersion = NULL;
    object_encode_proto_envelope(type, obj, ret);
    return 0;
}

const struct store_codec *storage_codec(const char *media) {
    static bool yes = true, no = false;
    static const struct store_codec protobuf = {decode, encode, &no}, json = {decode, encode, &yes};
    if (str_empty(media) || strcmp(media, "application/vnd.kubernetes.protobuf") == 0) return &protobuf;
    return strcmp(media, "application/json") == 0 ? &json : NULL;
}
