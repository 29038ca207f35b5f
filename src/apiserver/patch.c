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
    if (p->kind == PATCH_STRATEGIC) json_print_go(a, p->body, &value);
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

/* A strategic merge patch goes from maps to an object whose type is known: what it says of kind and version counts for nothing. */
static void keep_type(yyjson_mut_doc *doc, const struct type_desc *type, struct arena *a) {
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    const struct { const char *key, *value; } fields[] = {{"kind", type->kind}, {"apiVersion", type_api_version(a, type)}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (yyjson_mut_is_str(yyjson_mut_obj_get(root, fields[i].key))) yyjson_mut_obj_put(root, yyjson_mut_str(doc, fields[i].key), yyjson_mut_strcpy(doc, fields[i].value));
}

static bool lacks_version(yyjson_mut_val *root) {
    yyjson_mut_val *v = yyjson_mut_obj_get(root, "apiVersion");
    return yyjson_mut_is_obj(root) && (!v || yyjson_mut_is_null(v) || yyjson_mut_equals_str(v, ""));
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Upstream takes a document that has lost its version for one of its internal version, whose fields have other names: none is known, and the object has no name. */
static void without_version(struct api_request *r, const struct patch *p, const struct type_desc *type, yyjson_mut_doc *doc, struct status *reterr) {
    const char *validation = url_query_get(&r->query, "fieldValidation"), *why = NULL;
    yyjson_mut_val *key, *value, *root = yyjson_mut_doc_get_root(doc);
    const char *kind = yyjson_mut_get_str(yyjson_mut_obj_get(root, "kind")), *group = str_empty(type->group) ? "core" : arena_strndup(r->arena, type->group, strcspn(type->group, "."));
    struct string_list errors = {0};
    struct buf text = BUF_INIT;
    size_t i, max;
    yyjson_mut_obj_foreach(root, i, max, key, value)
        if (!str_in(yyjson_mut_get_str(key), (const char *const[]){"kind", "apiVersion", NULL})) string_list_push(r->arena, &errors, arena_printf(r->arena, "unknown field \"%s\"", yyjson_mut_get_str(key)));
    if (errors.len) qsort(errors.items, errors.len, sizeof(char *), by_text);
    if (!str_empty(kind) && !str_eq(kind, type->kind)) {
        if (api_kind_find(type->group, type->version, kind)) why = arena_printf(r->arena, "converting (%s.%s) to (%s.%s): unknown conversion", group, kind, group, type->kind);
        else why = arena_printf(r->arena, "no kind \"%s\" is registered for the internal version of group \"%s\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"", kind, type->group);
    }
    for (i = 0; i < errors.len && !why && !str_eq(validation, "Ignore") && !str_eq(validation, "Strict"); i++) request_warn(r, "%s", errors.items[i]);
    if (!why && str_eq(validation, "Strict") && errors.len) {
        _cleanup_buf_ struct buf all = BUF_INIT;
        for (i = 0; i < errors.len; i++) buf_printf(&all, "%s%s", i ? ", " : "strict decoding error: ", errors.items[i]);
        why = arena_strdup(r->arena, all.data);
    }
    json_write_mut(&text, root);
    if (why) invalid_patch(r->arena, p, buf_cstr(&text), why, reterr);
    else status_bad_request(reterr, "the name of the object (%s based on URL) was undeterminable: name must be provided", r->name);
    buf_release(&text);
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
    if (!failed && p->kind == PATCH_STRATEGIC) keep_type(doc, type, a);
    if (!failed && p->kind != PATCH_STRATEGIC && !(type->flags & TYPE_DOCUMENT) && lacks_version(yyjson_mut_doc_get_root(doc))) {
        buf_release(&text);
        without_version(r, p, type, doc, reterr);
        return NULL;
    }
    if (!failed) {
        json_write_mut(&text, yyjson_mut_doc_get_root(doc));
        obj = body_decode_json(r, type, buf_cstr(&text), text.len, NULL, &p->strict, reterr);
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

/* What the strict reader of a JSON patch says of it: operations have four members. */
static void find_unknown(struct arena *a, yyjson_val *body, struct string_list *ret) {
    size_t i, n, j, m;
    yyjson_val *op, *key, *value;
    yyjson_arr_foreach(body, i, n, op) {
        if (!yyjson_is_obj(op)) continue;
        yyjson_obj_foreach(op, j, m, key, value)
            if (!str_in(yyjson_get_str(key), (const char *const[]){"op", "path", "from", "value", NULL})) string_list_push(a, ret, arena_printf(a, "unknown field \"[%zu].%s\"", i, yyjson_get_str(key)));
    }
}

static void strict_errors(struct api_request *r, struct patch *p) {
    struct string_list found = {0};
    if (str_eq(url_query_get(&r->query, "fieldValidation"), "Ignore")) return;
    find_duplicates(r->arena, p->body, "", &found);
    for (size_t i = 0; i < found.len; i++) found.items[i] = arena_printf(r->arena, "duplicate field \"%s\"", found.items[i]);
    if (p->kind == PATCH_JSON) find_unknown(r->arena, p->body, &found);
    for (size_t i = 0; i < found.len; i++) string_list_push(r->arena, &p->strict, arena_printf(r->arena, "%s%s", p->kind == PATCH_JSON ? "json patch " : "", found.items[i]));
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
    if (!doc && p->kind != PATCH_STRATEGIC && reterr) status_wrap(reterr, "error decoding patch");
    p->body = yyjson_doc_get_root(doc);
    if (!doc) return -1;
    strict_errors(r, p);
    return 0;
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
