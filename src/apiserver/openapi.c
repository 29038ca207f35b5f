/* A document holds the schemas that its resources reach, and their paths with the parameters that clients look for (kubectl asks whether PATCH takes
 * fieldValidation before it trusts the server to validate). Descriptions are not written yet. */
#include "apiserver/openapi.h"
#include <stdio.h>
#include <string.h>
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

/* "core.v1.Pod" is io.k8s.api.core.v1.Pod to clients. */
static const char *public_name(struct arena *a, const struct type_desc *t) {
    if (str_has_prefix(t->name, "meta.v1.")) return arena_printf(a, "io.k8s.apimachinery.pkg.apis.%s", t->name);
    if (str_has_prefix(t->name, "apiextensions.")) return arena_printf(a, "io.k8s.apiextensions-apiserver.pkg.apis.%s", t->name);
    if (str_has_prefix(t->name, "apiregistration.")) return arena_printf(a, "io.k8s.kube-aggregator.pkg.apis.%s", t->name);
    return arena_printf(a, "io.k8s.api.%s", t->name);
}

struct document {
    struct arena *arena;
    struct buf out;
    struct map *seen;                /* names of types already queued */
    struct { const struct type_desc **items; size_t len; } queue;
};

static void want(struct document *d, const struct type_desc *t) {
    if (map_has(d->seen, t->name)) return;
    map_put(d->seen, t->name, d);
    *LIST_PUSH(d->arena, &d->queue) = t;
}

static void put_kind(struct document *d, const struct field_desc *f) {
    switch ((enum field_kind)f->kind) {
        case FK_STRING: buf_append_str(&d->out, "\"type\":\"string\""); break;
        case FK_BOOL: buf_append_str(&d->out, "\"type\":\"boolean\""); break;
        case FK_INT32: buf_append_str(&d->out, "\"type\":\"integer\",\"format\":\"int32\""); break;
        case FK_INT64: buf_append_str(&d->out, "\"type\":\"integer\",\"format\":\"int64\""); break;
        case FK_DOUBLE: buf_append_str(&d->out, "\"type\":\"number\",\"format\":\"double\""); break;
        case FK_BYTES: buf_append_str(&d->out, "\"type\":\"string\",\"format\":\"byte\""); break;
        case FK_TIME: case FK_MICROTIME: buf_append_str(&d->out, "\"type\":\"string\",\"format\":\"date-time\""); break;
        case FK_QUANTITY: buf_append_str(&d->out, "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]"); break;
        case FK_INTORSTRING: buf_append_str(&d->out, "\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"format\":\"int-or-string\""); break;
        case FK_RAW: buf_append_str(&d->out, "\"type\":\"object\""); break;
        case FK_STRING_LIST: buf_append_str(&d->out, "\"type\":\"array\",\"items\":{\"type\":\"string\"}"); break;
        case FK_STRUCT:
            want(d, f->type);
            buf_printf(&d->out, "\"allOf\":[{\"$ref\":\"#/components/schemas/%s\"}]", public_name(d->arena, f->type));
            break;
    }
}

static void put_list_marks(struct document *d, const struct field_desc *f) {
    static const char *const types[] = {NULL, "atomic", "set", "map"};
    if (types[f->list_type]) buf_printf(&d->out, ",\"x-kubernetes-list-type\":\"%s\"", types[f->list_type]);
    if (f->list_keys) {
        buf_append_str(&d->out, ",\"x-kubernetes-list-map-keys\":[");
        for (size_t i = 0; f->list_keys[i]; i++) buf_printf(&d->out, "%s\"%s\"", i ? "," : "", f->list_keys[i]);
        buf_append_char(&d->out, ']');
    }
    if (f->flags & FIELD_PATCH_MERGE) buf_printf(&d->out, ",\"x-kubernetes-patch-strategy\":\"%s\"", f->flags & FIELD_PATCH_RETAINKEYS ? "merge,retainKeys" : "merge");
    if (f->patch_key) buf_printf(&d->out, ",\"x-kubernetes-patch-merge-key\":\"%s\"", f->patch_key);
}

static void put_field(struct document *d, const struct field_desc *f) {
    json_write_string(&d->out, f->name);
    buf_append_str(&d->out, ":{");
    if (f->shape == SHAPE_LIST || f->shape == SHAPE_MAP) {
        buf_append_str(&d->out, f->shape == SHAPE_LIST ? "\"type\":\"array\",\"items\":{" : "\"type\":\"object\",\"additionalProperties\":{");
        put_kind(d, f);
        buf_append_char(&d->out, '}');
        put_list_marks(d, f);
    } else put_kind(d, f);
    if (f->flags & FIELD_MAP_ATOMIC) buf_append_str(&d->out, ",\"x-kubernetes-map-type\":\"atomic\"");
    if (f->enum_values) {
        buf_append_str(&d->out, ",\"enum\":[");
        for (size_t i = 0; f->enum_values[i]; i++) {
            if (i) buf_append_char(&d->out, ',');
            json_write_string(&d->out, f->enum_values[i]);
        }
        buf_append_char(&d->out, ']');
    }
    if (f->default_json) buf_printf(&d->out, ",\"default\":%s", f->default_json);
    buf_append_char(&d->out, '}');
}

static void put_gvk(struct document *d, const char *group, const char *version, const char *kind) {
    buf_printf(&d->out, "{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}", group, version, kind);
}

static void put_schema(struct document *d, const struct type_desc *t) {
    bool required = false;
    buf_printf(&d->out, "\"%s\":{\"type\":\"object\",\"properties\":{", public_name(d->arena, t));
    for (size_t i = 0; i < t->fields_len; i++) {
        if (i) buf_append_char(&d->out, ',');
        put_field(d, &t->fields[i]);
    }
    buf_append_char(&d->out, '}');
    for (size_t i = 0; i < t->fields_len; i++) {
        if (!(t->fields[i].flags & FIELD_REQUIRED)) continue;
        buf_append_str(&d->out, required ? "," : ",\"required\":[");
        json_write_string(&d->out, t->fields[i].name);
        required = true;
    }
    if (required) buf_append_char(&d->out, ']');
    if (t->flags & TYPE_MAP_ATOMIC) buf_append_str(&d->out, ",\"x-kubernetes-map-type\":\"atomic\"");
    if (t->kind) {
        buf_append_str(&d->out, ",\"x-kubernetes-group-version-kind\":[");
        put_gvk(d, t->group, t->version, t->kind);
        buf_append_char(&d->out, ']');
    }
    buf_append_char(&d->out, '}');
}

/* ---- paths ---- */

static const char *const write_parameters[] = {"dryRun", "fieldManager", "fieldValidation", NULL};
static const char *const patch_parameters[] = {"dryRun", "fieldManager", "fieldValidation", "force", NULL};
static const char *const list_parameters[] = {"allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch", NULL};
static const char *const delete_parameters[] = {"dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy", NULL};
static const char *const no_parameters[] = {NULL};

static void put_operation(struct document *d, const struct resource_desc *r, const char *method, const char *action, const char *const *parameters, bool body, bool *first) {
    const char *group = r->acts_on_group ? r->acts_on_group : r->group, *version = r->acts_on_version ? r->acts_on_version : r->version;
    const struct type_desc *answer = strcmp(action, "list") == 0 && r->list_type ? r->list_type : r->type;
    buf_printf(&d->out, "%s\"%s\":{\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":", *first ? "" : ",", method, action);
    *first = false;
    put_gvk(d, group, version, r->kind);
    buf_append_str(&d->out, ",\"parameters\":[");
    for (size_t i = 0; parameters[i]; i++) buf_printf(&d->out, "%s{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":\"string\",\"uniqueItems\":true}}", i ? "," : "", parameters[i]);
    buf_append_char(&d->out, ']');
    want(d, answer);
    if (body) {
        want(d, r->type);
        buf_printf(&d->out, ",\"requestBody\":{\"content\":{\"*/*\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}}}", public_name(d->arena, r->type));
    }
    buf_printf(&d->out, ",\"responses\":{\"200\":{\"description\":\"OK\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}}}}}", public_name(d->arena, answer));
}

static void put_path_head(struct document *d, const char *path, bool *first_path) {
    buf_printf(&d->out, "%s\"%s\":{", *first_path ? "" : ",", path);
    *first_path = false;
}

static const char *collection_path(struct arena *a, const struct resource_desc *r) {
    const char *root = *r->group ? arena_printf(a, "/apis/%s/%s", r->group, r->version) : arena_printf(a, "/api/%s", r->version);
    return arena_printf(a, "%s%s/%s", root, r->namespaced ? "/namespaces/{namespace}" : "", r->resource);
}

static void put_resource_paths(struct document *d, const struct resource_desc *r, bool *first_path) {
    const char *collection = collection_path(d->arena, r);
    bool first = true;
    if (!r->subresource) {
        put_path_head(d, collection, first_path);
        if (r->verbs & VERB_LIST) put_operation(d, r, "get", "list", list_parameters, false, &first);
        if (r->verbs & VERB_CREATE) put_operation(d, r, "post", "post", write_parameters, true, &first);
        if (r->verbs & VERB_DELETECOLLECTION) put_operation(d, r, "delete", "deletecollection", delete_parameters, false, &first);
        buf_append_char(&d->out, '}');
        if (!(r->verbs & (VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE))) return;
    }
    first = true;
    put_path_head(d, r->subresource ? arena_printf(d->arena, "%s/{name}/%s", collection, r->subresource) : arena_printf(d->arena, "%s/{name}", collection), first_path);
    if (r->verbs & VERB_GET) put_operation(d, r, "get", "get", no_parameters, false, &first);
    if (r->subresource && (r->verbs & VERB_CREATE)) put_operation(d, r, "post", "post", write_parameters, true, &first);
    if (r->verbs & VERB_UPDATE) put_operation(d, r, "put", "put", write_parameters, true, &first);
    if (r->verbs & VERB_PATCH) put_operation(d, r, "patch", "patch", patch_parameters, true, &first);
    if (r->verbs & VERB_DELETE) put_operation(d, r, "delete", "delete", delete_parameters, false, &first);
    buf_append_char(&d->out, '}');
}

/* False when nothing of that group and version is served. */
static bool write_document(struct document *d, const char *group, const char *version) {
    bool first_path = true;
    buf_append_str(&d->out, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.2\"},\"paths\":{");
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *r = &api_resources[i];
        if (strcmp(r->group, group) == 0 && strcmp(r->version, version) == 0 && !r->off_by_default) put_resource_paths(d, r, &first_path);
    }
    buf_append_str(&d->out, "},\"components\":{\"schemas\":{");
    for (size_t i = 0; i < d->queue.len; i++) { /* grows while it is walked */
        if (i) buf_append_char(&d->out, ',');
        put_schema(d, d->queue.items[i]);
    }
    buf_append_str(&d->out, "}}}\n");
    return !first_path;
}

static void respond_document(struct api_request *r, const char *group, const char *version) {
    struct document d = {.arena = r->arena, .seen = map_new()};
    if (write_document(&d, group, version)) respond_bytes(r, 200, "application/json", &(struct http_slice){d.out.data, d.out.len}, 1);
    else respond_text(r, 404, "text/plain; charset=utf-8", "404 page not found\n");
    map_free(d.seen);
    buf_release(&d.out);
}

static void respond_index(struct api_request *r) {
    struct buf out = BUF_INIT;
    struct string_list seen = {0};
    buf_append_str(&out, "{\"paths\":{");
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *d = &api_resources[i];
        const char *path = *d->group ? arena_printf(r->arena, "apis/%s/%s", d->group, d->version) : arena_printf(r->arena, "api/%s", d->version);
        if (d->off_by_default || string_list_has(&seen, path)) continue;
        /* The documents change with the binary alone, so its version is their hash. */
        buf_printf(&out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%016llX\"}", seen.len ? "," : "", path, path, (unsigned long long)hash_bytes(CKUBE_VERSION, strlen(CKUBE_VERSION)));
        string_list_push(r->arena, &seen, path);
    }
    buf_append_str(&out, "}}\n");
    respond_bytes(r, 200, "application/json", &(struct http_slice){out.data, out.len}, 1);
    buf_release(&out);
}

bool handle_openapi(struct api_request *r) {
    char group[128] = "", version[64] = "";
    if (strcmp(r->path, "/openapi/v3") == 0 || strcmp(r->path, "/openapi/v3/") == 0) respond_index(r);
    else if (sscanf(r->path, "/openapi/v3/apis/%127[^/]/%63[^/]", group, version) == 2) respond_document(r, group, version);
    else if (sscanf(r->path, "/openapi/v3/api/%63[^/]", version) == 1) respond_document(r, "", version);
    else return false;
    return true;
}
