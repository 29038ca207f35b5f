/* Upstream's RequestInfoFactory: verbs and resources out of methods and paths. */
#include "apiserver/request.h"
#include <string.h>
#include "base/str.h"

static struct string_list split_path(struct arena *a, const char *path) {
    struct string_list parts = {0};
    while (*path) {
        while (*path == '/') path++;
        size_t len = strcspn(path, "/");
        if (len) {
            char *part = url_unescape(a, path, len, false);
            string_list_push(a, &parts, part ? part : arena_strndup(a, path, len));
        }
        path += len;
    }
    return parts;
}

static const char *verb_of(struct api_request *r) {
    static const struct { const char *method, *verb; } verbs[] = {{"POST", "create"}, {"GET", "get"}, {"HEAD", "get"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].method, r->method) == 0) return verbs[i].verb;
    return "";
}

/* Namespaces' own subresources; any other third segment below namespaces/NAME is a resource in it. */
static bool is_namespace_subresource(const char *s) { return strcmp(s, "status") == 0 || strcmp(s, "finalize") == 0; }

bool request_flag(const struct api_request *r, const char *key) {
    const char *v = url_query_get(&r->query, key);
    return v && !str_eq(v, "0") && !str_eq_nocase(v, "false");
}

static void whole_collection_verb(struct api_request *r) {
    if (strcmp(r->verb, "get") == 0) r->verb = request_flag(r, "watch") ? "watch" : "list";
    else if (strcmp(r->verb, "delete") == 0) r->verb = "deletecollection";
}

bool request_info(struct api_request *r) {
    struct string_list p = split_path(r->arena, r->path);
    size_t at;
    r->verb = verb_of(r);
    r->group = "";
    if (p.len >= 2 && strcmp(p.items[0], "api") == 0) at = 1;
    else if (p.len >= 3 && strcmp(p.items[0], "apis") == 0) {
        r->group = p.items[1];
        at = 2;
    } else return false;
    r->version = p.items[at++];
    if (at == p.len) return false;
    if (strcmp(p.items[at], "watch") == 0 && p.len > at + 1 && strcmp(r->verb, "get") == 0) {
        at++; /* the old form of watching */
        r->verb = "watch";
    }
    if (strcmp(p.items[at], "namespaces") == 0 && p.len > at + 1) {
        r->namespace = p.items[at + 1];
        if (p.len > at + 2 && !is_namespace_subresource(p.items[at + 2])) at += 2;
    }
    r->resource = p.items[at++];
    if (at < p.len) r->name = p.items[at++];
    if (at < p.len) r->subresource = p.items[at++];
    for (; at < p.len; at++) string_list_push(r->arena, &r->rest, p.items[at]);
    if (strcmp(r->resource, "namespaces") == 0 && r->name && !r->namespace) r->namespace = r->name; /* a namespace is in itself, for authorization */
    if (!r->name && strcmp(r->verb, "watch") != 0) whole_collection_verb(r);
    r->is_resource = true;
    return true;
}

void request_warn(struct api_request *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(r->arena, format, args);
    va_end(args);
    if (!string_list_has(&r->warnings, text)) string_list_push(r->arena, &r->warnings, text);
}

void request_warn_lines(struct api_request *r, const char *lines) {
    for (const char *p = lines; *p;) {
        size_t len = strcspn(p, "\n");
        request_warn(r, "%.*s", (int)len, p);
        p += len;
        p += strspn(p, "\n ");
    }
}

/* "CreateOptions" and its siblings, for errors about options. */
const char *request_options_kind(const struct api_request *r) {
    return str_eq(r->verb, "create") ? "CreateOptions" : str_eq(r->verb, "patch") ? "PatchOptions" : str_eq(r->verb, "update") ? "UpdateOptions" : "DeleteOptions";
}

int request_dry_run(struct api_request *r, bool *ret, struct status *reterr) {
    struct buf given = BUF_INIT;
    bool all = false, wrong = false;
    for (size_t i = 0; i < r->query.len; i++) {
        if (strcmp(r->query.items[i].key, "dryRun") != 0) continue;
        buf_printf(&given, "%s\"%s\"", given.len ? "," : "[", r->query.items[i].value);
        if (strcmp(r->query.items[i].value, "All") == 0) all = true;
        else wrong = true;
    }
    const char *text = arena_printf(r->arena, "%s]", buf_cstr(&given));
    buf_release(&given);
    *ret = all;
    if (!wrong) return 0;
    const char *kind = request_options_kind(r);
    status_set(reterr, 422, REASON_INVALID, "%s.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: %s: supported values: \"All\"", kind, text);
    status_details(reterr, "meta.k8s.io", kind, NULL);
    status_add_cause(reterr, "FieldValueNotSupported", "dryRun", "Unsupported value: %s: supported values: \"All\"", text);
    return -1;
}
