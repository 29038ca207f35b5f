/* PATCH: the patch is applied to the object as the client would see it, and the result takes the way of an update. Upstream: handlers/patch.go. */
#include <string.h>
#include <strings.h>
#include "api/patch.h"
#include "apiserver/apiserver.h"
#include "apiserver/handlers.h"
#include "apiserver/managers.h"
#include "apiserver/versions.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

static int patch_kind(struct api_request *r, enum patch_kind *ret, struct status *reterr) {
    static const struct { const char *type; enum patch_kind kind; } kinds[] = {{"application/json-patch+json", PATCH_JSON}, {"application/merge-patch+json", PATCH_MERGE},
        {"application/strategic-merge-patch+json", PATCH_STRATEGIC}, {"application/apply-patch+yaml", PATCH_APPLY}};
    const char *type = str_or(http_request_header(r->http, "Content-Type"), "");
    size_t len = strcspn(type, "; ");
    if (r->custom && len == strlen(kinds[2].type) && strncasecmp(type, kinds[2].type, len) == 0)
        return status_set(reterr, 415, REASON_UNSUPPORTED_MEDIA_TYPE, "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strlen(kinds[i].type) == len && strncasecmp(kinds[i].type, type, len) == 0) {
            *ret = kinds[i].kind;
            return 0;
        }
    status_set(reterr, 415, REASON_UNSUPPORTED_MEDIA_TYPE, "415: Unsupported Media Type");
    reterr->has_details = true;
    return -1;
}

static int by_key(const void *x, const void *y) { return strcmp(yyjson_get_str(*(yyjson_val *const *)x), yyjson_get_str(*(yyjson_val *const *)y)); }

/* As Go prints what the patch was decoded to: maps by key, no quotes. */
static void print_go(struct arena *a, yyjson_val *v, struct buf *out) {
    size_t i, max;
    yyjson_val *key, *val;
    if (yyjson_is_obj(v)) {
        yyjson_val **keys = arena_calloc(a, yyjson_obj_size(v) + 1, sizeof(*keys));
        yyjson_obj_foreach(v, i, max, key, val) keys[i] = key;
        qsort(keys, yyjson_obj_size(v), sizeof(*keys), by_key);
        buf_append_str(out, "map[");
        for (i = 0; i < yyjson_obj_size(v); i++) {
            buf_printf(out, "%s%s:", i ? " " : "", yyjson_get_str(keys[i]));
            print_go(a, unsafe_yyjson_get_next(keys[i]), out);
        }
        buf_append_char(out, ']');
    } else if (yyjson_is_arr(v)) {
        buf_append_char(out, '[');
        yyjson_arr_foreach(v, i, max, val) {
            if (i) buf_append_char(out, ' ');
            print_go(a, val, out);
        }
        buf_append_char(out, ']');
    } else if (yyjson_is_null(v)) buf_append_str(out, "<nil>");
    else if (yyjson_is_str(v)) buf_append_str(out, yyjson_get_str(v));
    else json_write_value(out, v);
}

/* A strategic merge patch goes from maps to the object without JSON between, and what does not fit is said in other words. Upstream: runtime.FromUnstructured. */
static const char *unstructured_error(struct arena *a, const char *why) {
    static const struct { const char *json, *go; } kinds[] = {{"string", "string"}, {"bool", "bool"}, {"number", "int64"}, {"array", "slice"}, {"object", "map"}};
    const char *into = strstr(why, " into Go "), *type = strstr(why, " of type "), *value = why + strlen("json: cannot unmarshal ");
    if (!str_has_prefix(why, "json: cannot unmarshal ") || !into || !type) return why;
    const char *kind = "";
    type += strlen(" of type ");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_has_prefix(value, kinds[i].json)) kind = kinds[i].go;
    if (str_has_prefix(value, "number ") && !str_has_prefix(value, "number into ")) return arena_printf(a, "cannot convert float64 to %s", type); /* its digits are told where a whole number was wanted */
    if (str_has_prefix(type, "[]")) return arena_printf(a, "cannot restore slice from %s", kind);
    if (str_has_prefix(type, "map[") || str_eq(type, "v1.ResourceList")) return arena_printf(a, "cannot restore map from %s", kind);
    if (strchr(type, '.')) return arena_printf(a, "cannot restore struct from: %s", kind);
    return str_eq(kind, "int64") && str_eq(type, "string") ? "cannot convert int64 to string" : arena_printf(a, "unrecognized type: %s", type);
}

static int invalid_patch(struct arena *a, const struct patch *p, const char *patched, const char *why, struct status *reterr) {
    struct buf value = BUF_INIT;
    if (p->kind == PATCH_STRATEGIC) print_go(a, p->body, &value);
    else buf_append_str(&value, patched);
    const char *text = arena_printf(a, "Invalid value: %s: %s", go_quote(a, buf_cstr(&value)), why);
    buf_release(&value);
    status_set(reterr, 422, REASON_INVALID, " \"\" is invalid: patch: %s", text);
    status_add_cause(reterr, "FieldValueInvalid", "patch", "%s", text);
    reterr->has_details = true;
    return -1;
}

/* A patch after which the document does not fit the type, or says that it is of another, is an invalid patch. */
static void misfit(struct arena *a, const struct patch *p, const char *patched, struct status *reterr) {
    const char *why = arena_strdup(a, reterr->message), *handled = strstr(why, " cannot be handled as a ");
    if (handled && (handled = strstr(handled, ": "))) why = handled + 2;
    else if (!strstr(why, "does not match the expected API version")) return;
    invalid_patch(a, p, patched, p->kind == PATCH_STRATEGIC ? unstructured_error(a, why) : why, reterr);
}

static void *patch_document(struct api_request *r, const struct patch *p, const struct type_desc *type, void *current, struct status *reterr) {
    struct arena *a = r->arena;
    struct buf text = BUF_INIT;
    object_set_type_meta(a, type, current);
    object_encode_json(type, current, &text);
    yyjson_doc *before = json_parse_in(a, text.data, text.len, JSON_NUMBERS_RAW, NULL);
    buf_clear(&text);
    yyjson_mut_doc *doc = json_mut_new(a, yyjson_doc_get_root(before));
    int failed = p->kind == PATCH_JSON ? json_patch_apply(a, doc, p->body, reterr) : p->kind == PATCH_MERGE ? merge_patch_apply(a, doc, p->body, reterr) : strategic_patch_apply(a, type, doc, p->body, reterr);
    void *obj = NULL;
    if (failed && reterr && reterr->code == 422) reterr->has_details = true;
    if (!failed) {
        json_write_mut(&text, yyjson_mut_doc_get_root(doc));
        obj = body_decode_json(r, type, buf_cstr(&text), text.len, NULL, reterr);
        if (!obj && reterr && reterr->code == 400) misfit(a, p, buf_cstr(&text), reterr);
    }
    buf_release(&text);
    if (obj && body_check_names(r, obj, reterr) != 0) return NULL;
    return obj;
}

void *patch_apply(struct api_request *r, const struct patch *p, const struct write_options *o, const struct type_desc *type, void *current, struct status *reterr) {
    if (p->kind == PATCH_APPLY) return apply_to(r, p->apply, type, current, reterr);
    if (!current) {
        status_not_found(reterr, r->group, r->resource, r->name);
        return NULL;
    }
    void *obj = patch_document(r, p, type, current, reterr);
    if (obj) request_managed_update(r, o, type, current, obj);
    return obj;
}

struct patching { const struct patch *patch; const struct write_options *options; };

static void *patch_transform(struct api_request *r, void *current, void *arg, struct status *reterr) {
    const struct patching *p = arg;
    return storage_version(r, patch_apply(r, p->patch, p->options, request_type(r), request_version(r, current), reterr));
}

/* The fields a document has twice, with their paths. */
static void find_duplicates(struct arena *a, yyjson_val *v, const char *path, struct string_list *ret) {
    size_t i, max;
    yyjson_val *key, *val;
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, max, val) find_duplicates(a, val, arena_printf(a, "%s[%zu]", path, i), ret);
        return;
    }
    if (!yyjson_is_obj(v)) return;
    struct map *seen = map_new();
    yyjson_obj_foreach(v, i, max, key, val) {
        const char *name = yyjson_get_str(key), *at = arena_printf(a, "%s%s%s", path, *path ? "." : "", name);
        if (map_get(seen, name)) {
            if (!string_list_has(ret, at)) string_list_push(a, ret, at);
        } else map_put(seen, name, val);
        find_duplicates(a, val, at, ret);
    }
    map_free(seen);
}

static int report_duplicates(struct api_request *r, yyjson_val *body, struct status *reterr) {
    const char *validation = url_query_get(&r->query, "fieldValidation");
    struct string_list found = {0};
    if (str_eq(validation, "Ignore")) return 0;
    find_duplicates(r->arena, body, "", &found);
    if (!found.len) return 0;
    struct buf all = BUF_INIT;
    for (size_t i = 0; i < found.len; i++) {
        if (!str_eq(validation, "Strict")) request_warn(r, "duplicate field \"%s\"", found.items[i]);
        buf_printf(&all, "%sduplicate field \"%s\"", i ? ", " : "", found.items[i]);
    }
    if (str_eq(validation, "Strict")) {
        status_set(reterr, 422, REASON_INVALID, " \"\" is invalid: patch: Invalid value: \"%.*s\": strict decoding error: %s", (int)MIN(r->http->body_len, (size_t)1024), r->http->body, all.data);
        status_add_cause(reterr, "FieldValueInvalid", "patch", "Invalid value: strict decoding error: %s", all.data);
        reterr->has_details = true;
    }
    buf_release(&all);
    return str_eq(validation, "Strict") ? -1 : 0;
}

int patch_read(struct api_request *r, struct patch *p, struct write_options *o, struct status *reterr) {
    if (patch_kind(r, &p->kind, reterr) != 0) return -1;
    if (r->http->body_too_large) return status_set(reterr, 413, REASON_REQUEST_ENTITY_TOO_LARGE, "Request entity too large: limit is 3145728");
    if (p->kind == PATCH_APPLY) {
        if (read_apply_options(r, o, reterr) != 0) return -1;
        p->apply = ARENA_NEW(r->arena, struct apply);
        p->apply->options = o;
        o->force_allow_create = str_empty(r->subresource);
        return apply_read(r, p->apply, reterr);
    }
    if (read_write_options(r, o, reterr) != 0) return -1;
    yyjson_doc *doc = json_parse_in(r->arena, r->http->body, r->http->body_len, JSON_NUMBERS_RAW, reterr);
    p->body = yyjson_doc_get_root(doc);
    return doc ? report_duplicates(r, p->body, reterr) : -1;
}

void handle_patch(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct write_options o;
    struct patch p = {0};
    struct patching patching = {&p, &o};
    void *stored;
    bool created;
    int failed = negotiate(r, true, false, &err) != 0 || patch_read(r, &p, &o, &err) != 0 ||
                 registry_update(r, r->strategy, r->rd->namespaced ? r->namespace : NULL, r->name, patch_transform, &patching, &o, &stored, &created, &err) != 0;
    if (failed) respond_status(r, &err);
    else respond_object(r, created ? 201 : 200, r->strategy->type, stored);
}
