/* Answers: negotiation of their form, and writing them. Upstream: endpoints/handlers/negotiation and responsewriters. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "api/printers.h"
#include "apiserver/audit.h"
#include "apiserver/flowcontrol/flow_control.h"
#include "apiserver/request.h"
#include "apiserver/versions.h"
#include "base/env.h"
#include "base/str.h"
#include "wire/gzip.h"
#include "wire/http_stream.h"
#include "wire/json.h"
#include "wire/yaml.h"

const char *media_content_type(enum media m) {
    return m == MEDIA_YAML ? "application/yaml" : m == MEDIA_PROTOBUF ? "application/vnd.kubernetes.protobuf" : "application/json";
}

/* ---- Accept ---- */

struct clause {
    char type[64], as[40], group[40], version[16];
    bool transformed;       /* it says `as`, `g` or `v` */
    bool no_stream;         /* it asks for a stream of another kind than a watch */
    bool stream;
    double q;
};

static void clause_param(struct clause *c, const char *key, size_t key_len, const char *value, size_t len) {
    struct { const char *name; char *to; size_t size; } known[] = {{"as", c->as, sizeof(c->as)}, {"g", c->group, sizeof(c->group)}, {"v", c->version, sizeof(c->version)}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (key_len == strlen(known[i].name) && strncasecmp(key, known[i].name, key_len) == 0) snprintf(known[i].to, known[i].size, "%.*s", (int)len, value);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) c->transformed |= *known[i].to;
    if (key_len == 1 && *key == 'q') c->q = strtod(value, NULL);
    if (key_len == 6 && strncasecmp(key, "stream", 6) == 0 && len) {
        c->stream = true;
        c->no_stream = len != 5 || strncmp(value, "watch", 5) != 0;
    }
}

static const char *skip_blanks(const char *p) {
    while (*p == ' ' || *p == '\t') p++;
    return p;
}

static const char *parse_clause(const char *p, struct clause *c) {
    *c = (struct clause){.q = 1};
    p = skip_blanks(p);
    size_t len = strcspn(p, ";,"), n = len;
    while (n && p[n - 1] == ' ') n--;
    memcpy(c->type, p, MIN(n, sizeof(c->type) - 1)); /* *c is zeroed */
    p += len;
    while (*p == ';') {
        p = skip_blanks(p + 1);
        size_t end = strcspn(p, ";,");
        const char *eq = memchr(p, '=', end);
        if (eq) clause_param(c, p, (size_t)(eq - p), eq + 1, end - (size_t)(eq - p) - 1);
        p += end;
    }
    return *p == ',' ? p + 1 : p;
}

static bool media_of(const char *type, enum media *ret) {
    if (strcmp(type, "*/*") == 0 || strcmp(type, "application/*") == 0 || strcmp(type, "application/json") == 0) *ret = MEDIA_JSON;
    else if (strcmp(type, "application/yaml") == 0) *ret = MEDIA_YAML;
    else if (strcmp(type, "application/vnd.kubernetes.protobuf") == 0) *ret = MEDIA_PROTOBUF;
    else return false;
    return true;
}

/* Whether the `as` of a clause can be served, and how. */
static bool accept_as(const struct clause *c, bool allow_table, bool streaming, struct negotiated *out) {
    out->as = AS_OBJECT;
    if (c->no_stream || (c->stream && !streaming && out->media == MEDIA_YAML)) return false;
    if (!c->transformed) return true;
    if (!str_eq(c->group, "meta.k8s.io") || (!str_eq(c->version, "v1") && !str_eq(c->version, "v1beta1"))) return false;
    if (str_eq(c->as, "Table") && allow_table) out->as = AS_TABLE;
    else if (str_eq(c->as, "PartialObjectMetadata")) out->as = AS_PARTIAL_METADATA;
    else if (str_eq(c->as, "PartialObjectMetadataList") && !streaming) out->as = AS_PARTIAL_METADATA_LIST;
    else return false;
    out->beta = str_eq(c->version, "v1beta1");
    return out->media != MEDIA_PROTOBUF || out->as != AS_TABLE;
}

static bool wants_pretty(struct api_request *r) {
    const char *p = url_query_get(&r->query, "pretty"), *agent = http_request_header(r->http, "User-Agent");
    if (p) return strcmp(p, "false") != 0 && strcmp(p, "0") != 0;
    return agent && (str_has_prefix(agent, "curl") || str_has_prefix(agent, "Wget") || str_has_prefix(agent, "Mozilla/5.0"));
}

/* The router compares what stands before the parameters, letter by letter. */
static bool router_takes(const char *accept) {
    static const char *const produced[] = {"*/*", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", NULL};
    for (const char *p = accept;; p++) {
        size_t len = strcspn(p, ","), n;
        const char *from = p + strspn(p, " \t");
        n = strcspn(from, ",;");
        while (n && (from[n - 1] == ' ' || from[n - 1] == '\t')) n--;
        for (size_t i = 0; produced[i]; i++)
            if (strlen(produced[i]) == n && strncmp(from, produced[i], n) == 0) return true;
        p += len;
        if (!*p) return false;
    }
}

static int not_acceptable(struct api_request *r, struct status *reterr) {
    bool listing = r->is_resource && str_eq(r->method, "GET") && (!r->name || str_eq(r->verb, "watch"));
    status_set(reterr, 406, REASON_NOT_ACCEPTABLE, "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf%s",
               listing ? ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch" : "");
    reterr->has_details = true;
    return -1;
}

int check_route_media(struct api_request *r, struct status *reterr) {
    static const char *const patches[] = {"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml", NULL};
    const char *accept = http_request_header(r->http, "Accept"), *type = str_or(http_request_header(r->http, "Content-Type"), "");
    bool known = !str_eq(r->verb, "patch");
    size_t n = strcspn(type, "; ");
    for (size_t i = 0; !known && patches[i]; i++) known = strlen(patches[i]) == n && strncmp(type, patches[i], n) == 0;
    if (!known) {
        status_set(reterr, 415, REASON_UNSUPPORTED_MEDIA_TYPE, "415: Unsupported Media Type");
        reterr->has_details = true;
        return -1;
    }
    return str_empty(accept) || router_takes(accept) ? 0 : not_acceptable(r, reterr);
}

/* Errors have no other forms: clauses that ask for one are passed over, and without any that is left it is JSON. */
static enum media error_media(struct api_request *r) {
    const char *accept = http_request_header(r->http, "Accept");
    enum media best = MEDIA_JSON;
    double best_q = -1;
    for (const char *p = str_or(accept, ""); *p;) {
        struct clause c;
        enum media media;
        p = parse_clause(p, &c);
        if (c.q <= best_q || c.transformed || c.no_stream || !media_of(c.type, &media) || (c.stream && media == MEDIA_YAML) || (media == MEDIA_PROTOBUF && r->custom)) continue;
        best = media;
        best_q = c.q;
    }
    return best;
}

int negotiate(struct api_request *r, bool allow_table, bool streaming, struct status *reterr) {
    const char *accept = http_request_header(r->http, "Accept");
    struct negotiated best = {.media = MEDIA_JSON};
    double best_q = -1;
    bool as_refused = false;
    if (str_empty(accept)) accept = "*/*";
    for (const char *p = accept; *p;) {
        struct clause c;
        struct negotiated n = {0};
        p = parse_clause(p, &c);
        if (c.q <= best_q || !media_of(c.type, &n.media)) continue;
        if (n.media == MEDIA_PROTOBUF && r->custom && !c.transformed) continue; /* custom objects have no such form */
        if (!accept_as(&c, allow_table, streaming, &n)) {
            as_refused = true;
            continue;
        }
        best = n;
        best_q = c.q;
    }
    if (best_q < 0) {
        r->out = (struct negotiated){0};
        if (as_refused) return status_set(reterr, 406, REASON_NOT_ACCEPTABLE, "only the following media types are accepted: %s", streaming ? "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
                                                                                                                                           : "application/json, application/yaml, application/vnd.kubernetes.protobuf");
        return not_acceptable(r, reterr);
    }
    if (streaming && best.media == MEDIA_YAML) { /* there are no frames of it */
        r->out = (struct negotiated){0};
        return status_set(reterr, 406, REASON_NOT_ACCEPTABLE, "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch");
    }
    best.pretty = wants_pretty(r);
    r->out = best;
    return 0;
}

/* ---- writing ---- */

struct http_header *response_headers(struct api_request *r, const char *content_type, size_t *ret_len) {
    struct { struct http_header *items; size_t len; } h = {0};
    char uuid[37];
    const char *schema, *level;
    env_uuid(env_real(), uuid);
    flow_classification(r, &schema, &level);
    if (level) *LIST_PUSH(r->arena, &h) = (struct http_header){"X-Kubernetes-Pf-Flowschema-Uid", schema};
    if (level) *LIST_PUSH(r->arena, &h) = (struct http_header){"X-Kubernetes-Pf-Prioritylevel-Uid", level};
    *LIST_PUSH(r->arena, &h) = (struct http_header){"Audit-Id", audit_id(r) ? audit_id(r) : arena_strdup(r->arena, uuid)};
    *LIST_PUSH(r->arena, &h) = (struct http_header){"Cache-Control", "no-cache, private"};
    if (content_type) *LIST_PUSH(r->arena, &h) = (struct http_header){"Content-Type", content_type};
    if (r->retry_after_s) *LIST_PUSH(r->arena, &h) = (struct http_header){"Retry-After", arena_printf(r->arena, "%d", r->retry_after_s)};
    for (size_t i = 0; i < r->warnings.len && i < 30; i++) {
        bool said = false;
        for (size_t k = 0; k < i; k++) said |= strcmp(r->warnings.items[k], r->warnings.items[i]) == 0;
        if (said) continue;
        struct buf text = BUF_INIT;
        buf_append_str(&text, "299 - \"");
        for (const char *p = r->warnings.items[i]; *p; p++) {
            if (*p == '"' || *p == '\\') buf_append_char(&text, '\\');
            buf_append_char(&text, (unsigned char)*p < ' ' ? ' ' : *p);
        }
        buf_append_char(&text, '"');
        *LIST_PUSH(r->arena, &h) = (struct http_header){"Warning", arena_strdup(r->arena, text.data)};
        buf_release(&text);
    }
    *ret_len = h.len;
    return h.items;
}

/* As upstream: large answers go out compressed to those who take that, at the least effort. */
enum { GZIP_FROM_BYTES = 128 * 1024 };

static bool wants_gzip(struct api_request *r, int code, const struct http_slice *body, size_t body_len) {
    const char *accept = http_request_header(r->http, "Accept-Encoding");
    size_t len = 0;
    if (code != 200 || !accept || !r->is_resource || !str_in(r->verb, (const char *const[]){"get", "list", NULL})) return false;
    for (size_t i = 0; i < body_len; i++) len += http_slice_len(&body[i]);
    if (len <= GZIP_FROM_BYTES) return false;
    for (const char *p = accept; *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " ");
        size_t n = strcspn(p, ",; ");
        if (n == 4 && strncmp(p, "gzip", 4) == 0) return true;
    }
    return false;
}

void respond_bytes(struct api_request *r, int code, const char *content_type, const struct http_slice *body, size_t body_len) {
    size_t n;
    struct http_header *h = response_headers(r, content_type, &n);
    r->code = code;
    _cleanup_buf_ struct buf packed = BUF_INIT;
    if (!wants_gzip(r, code, body, body_len) || gzip_slices(body, body_len, &packed) != 0) {
        http_respond(r->http, code, h, n, body, body_len);
        return;
    }
    struct http_header *more = arena_calloc(r->arena, n + 2, sizeof(*more));
    memcpy(more, h, n * sizeof(*more));
    more[n] = (struct http_header){"Content-Encoding", "gzip"};
    more[n + 1] = (struct http_header){"Vary", "Accept-Encoding"};
    http_respond(r->http, code, more, n + 2, &(struct http_slice){packed.data, packed.len, NULL}, 1);
}

static void respond_nosniff(struct api_request *r, int code, const char *content_type, const char *text) {
    size_t n;
    struct http_header *h = response_headers(r, content_type, &n), *more = arena_calloc(r->arena, n + 1, sizeof(*more));
    memcpy(more, h, n * sizeof(*more));
    more[n] = (struct http_header){"X-Content-Type-Options", "nosniff"};
    r->code = code;
    http_respond(r->http, code, more, n + 1, &(struct http_slice){text, strlen(text), NULL}, 1);
}

void respond_text(struct api_request *r, int code, const char *content_type, const char *text) {
    if (code >= 400) respond_nosniff(r, code, content_type, text); /* as Go's http.Error says it */
    else respond_bytes(r, code, content_type, &(struct http_slice){text, strlen(text), NULL}, 1);
}

void respond_health(struct api_request *r, int code, const char *text) { respond_nosniff(r, code, "text/plain; charset=utf-8", text); }

static void respond_json(struct api_request *r, int code, const char *json, size_t len) {
    if (r->out.media == MEDIA_YAML) {
        _cleanup_buf_ struct buf yaml = BUF_INIT;
        yyjson_doc *doc = json_parse_in(r->arena, json, len, JSON_NUMBERS_RAW, NULL);
        yaml_write(&yaml, yyjson_doc_get_root(doc));
        respond_bytes(r, code, "application/yaml", &(struct http_slice){yaml.data, yaml.len}, 1);
        return;
    }
    if (r->out.pretty) {
        yyjson_doc *doc = json_parse_in(r->arena, json, len, JSON_NUMBERS_RAW, NULL);
        size_t pretty_len = 0;
        char *text = doc ? yyjson_write_opts(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, json_arena_alc(r->arena), &pretty_len, NULL) : NULL;
        if (text) {
            respond_bytes(r, code, "application/json", &(struct http_slice){text, pretty_len}, 1);
            return;
        }
    }
    struct http_slice body[] = {{json, len}, {"\n", 1}};
    respond_bytes(r, code, "application/json", body, 2);
}

static void respond_encoded(struct api_request *r, int code, const struct type_desc *type, void *obj) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (r->out.media == MEDIA_PROTOBUF) {
        object_encode_proto_envelope(type, obj, &out);
        respond_bytes(r, code, "application/vnd.kubernetes.protobuf", &(struct http_slice){out.data, out.len}, 1);
        return;
    }
    object_encode_json(type, obj, &out);
    respond_json(r, code, out.data, out.len);
}

/* As upstream prints the type of what its registries give: its package is that of the group. */
static const char *go_type(struct api_request *r, const struct type_desc *type) {
    if (type->flags & TYPE_DOCUMENT || r->custom) return type->item_type ? "*unstructured.UnstructuredList" : "*unstructured.Unstructured";
    bool core = str_empty(type->group) || str_eq(type->group, "events.k8s.io");
    return arena_printf(r->arena, "*%s.%s", core ? "core" : arena_strndup(r->arena, type->group, strcspn(type->group, ".")), type->kind);
}

int response_check_form(struct api_request *r, const struct type_desc *type, struct status *reterr) {
    static const char *const known[] = {"", "Metadata", "Object", "None", NULL};
    const char *include = url_query_get(&r->query, "includeObject");
    bool list = type->item_type != NULL;
    if (r->out.as == AS_TABLE && include && !str_in(include, known))
        return status_bad_request(reterr, "Unable to convert to Table as requested: includeObject: Invalid value: \"%s\": must be 'Metadata', 'Object', 'None', or empty", include);
    if (r->out.as == AS_PARTIAL_METADATA && list)
        return status_set(reterr, 406, REASON_NOT_ACCEPTABLE, "you requested PartialObjectMetadata, but the requested object is a list (%s)", go_type(r, type));
    if (r->out.as == AS_PARTIAL_METADATA_LIST && !list)
        return status_set(reterr, 406, REASON_NOT_ACCEPTABLE, "you requested PartialObjectMetadataList, but the requested object is not a list (%s)", go_type(r, type));
    return 0;
}

/* Tables and metadata alone have the same fields in both versions; the objects in a list or a table say the version too. */
void response_set_form_version(struct api_request *r, const struct type_desc *type, void *form) {
    static const char beta[] = "meta.k8s.io/v1beta1";
    if (!r->out.beta) return;
    if (type == &metav1_Table_desc) {
        struct metav1_Table *table = form;
        static const char stable[] = "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\"";
        table->apiVersion = beta;
        LIST_FOREACH(row, &table->rows) {
            if (row->object.len < strlen(stable) || memcmp(row->object.data, stable, strlen(stable)) != 0) continue;
            row->object.data = arena_printf(r->arena, "%.*sbeta1\"%s", (int)strlen(stable) - 1, stable, row->object.data + strlen(stable));
            row->object.len = strlen(row->object.data);
        }
    }
    else if (type == &metav1_PartialObjectMetadata_desc) ((struct metav1_PartialObjectMetadata *)form)->apiVersion = beta;
    else if (type == &metav1_PartialObjectMetadataList_desc) {
        struct metav1_PartialObjectMetadataList *list = form;
        list->apiVersion = beta;
        for (size_t i = 0; i < list->items.len; i++) list->items.items[i].apiVersion = beta;
    }
}

void respond_object(struct api_request *r, int code, const struct type_desc *type, void *obj) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (response_check_form(r, type, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    if (r->out.as == AS_TABLE) {
        const char *include = url_query_get(&r->query, "includeObject");
        struct metav1_Table *table = printers_table_as(r->arena, type, obj, include, env_now_s(env_real()), response_type(r, type->item_type ? type->item_type : type));
        type = &metav1_Table_desc;
        obj = table;
    } else if (r->out.as != AS_OBJECT) {
        obj = printers_partial_metadata(r->arena, type, obj, &type);
    } else {
        obj = response_object(r, type, obj);
        type = response_type(r, type);
        object_set_type_meta(r->arena, type, obj);
    }
    if (r->out.as != AS_OBJECT) response_set_form_version(r, type, obj);
    respond_encoded(r, code, type, obj);
}

void respond_stored(struct api_request *r, int code, const struct type_desc *type, const char *bytes, size_t len, uint32_t rv_offset, uint64_t revision) {
    char digits[STR_U64_MAX];
    size_t n = str_from_u64(revision, digits);
    if (r->out.as == AS_OBJECT && r->out.media == MEDIA_JSON && !r->out.pretty && response_type(r, type) == type && !(type->flags & TYPE_DOCUMENT)) {
        struct http_slice body[] = {{bytes, rv_offset}, {digits, n}, {bytes + rv_offset, len - rv_offset}, {"\n", 1}};
        respond_bytes(r, code, "application/json", body, 4);
        return;
    }
    struct status err = STATUS_INIT;
    struct object *obj = arena_alloc(r->arena, type->size);
    if (object_decode_json(r->arena, type, obj, bytes, len, NULL, &err) != 0) {
        respond_status(r, &err);
        status_release(&err);
        return;
    }
    obj->metadata.resourceVersion = arena_u64(r->arena, revision);
    respond_object(r, code, type, obj);
}

void respond_status(struct api_request *r, const struct status *s) {
    struct metav1_Status out = {.kind = "Status", .apiVersion = "v1", .status = "Failure", .message = status_message(s), .reason = s->reason, .code = s->code ? s->code : 500};
    struct metav1_StatusDetails details = {.group = s->group, .kind = s->kind, .name = s->name, .uid = s->uid, .retryAfterSeconds = s->retry_after_seconds};
    if (s->has_details) out.details = &details;
    for (size_t i = 0; i < s->causes_len; i++)
        *LIST_PUSH(r->arena, &details.causes) = (struct metav1_StatusCause){.reason = s->causes[i].type, .message = s->causes[i].message, .field = s->causes[i].field};
    r->out = (struct negotiated){.media = error_media(r), .pretty = wants_pretty(r)};
    if (s->has_details) r->retry_after_s = s->retry_after_seconds; /* as upstream: in a header too */
    respond_encoded(r, out.code, &metav1_Status_desc, &out);
}

void respond_success(struct api_request *r, int code, const char *group, const char *kind, const char *name, const char *uid) {
    struct metav1_Status out = {.kind = "Status", .apiVersion = "v1", .status = "Success", .code = code == 200 ? 0 : code};
    struct metav1_StatusDetails details = {.group = group, .kind = kind, .name = name, .uid = uid};
    out.details = &details;
    r->out.as = AS_OBJECT;
    respond_encoded(r, code, &metav1_Status_desc, &out);
}
