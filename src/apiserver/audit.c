#include "apiserver/audit.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "api/field_error.h"
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit_backend.h"
#include "base/metric_family.h"
#include "base/str.h"
#include "wire/json.h"

enum { POLICY_BYTES_MAX = 1 << 20 };

struct audit {
    struct audit_policy *policy;
    struct audit_backend *backends[2]; /* log, webhook; each may be NULL */
    bool legacy;                       /* somebody wants lines of text */
};

/* What is known of one request. Lives in its arena. */
struct audit_event {
    struct audit *audit;
    struct audit_decision decision;
    struct api_request *r;
    struct authz_attributes attrs;
    struct user_info user, as;
    bool impersonated;
    struct string_map annotations; /* sorted by key */
    int64_t received_ns;
    char id[37];
    int code;                      /* of the answer, once there is one */
    bool settled;                  /* the handler has returned: nobody waits any more */
    struct audit_record *waiting;  /* for backends that may wait, once the handler has answered */
};

/* ---- life ---- */

static struct audit_policy *load_policy(const char *file, struct status *reterr) {
    FILE *f = fopen(file, "re");
    _cleanup_buf_ struct buf text = BUF_INIT;
    char part[4096];
    size_t n;
    if (!f) {
        status_errno(reterr, file);
        return NULL;
    }
    while (text.len < POLICY_BYTES_MAX && (n = fread(part, 1, sizeof(part), f)) > 0) buf_append(&text, part, n);
    fclose(f);
    struct audit_policy *p = audit_policy_parse(buf_cstr(&text), text.len, reterr);
    if (!p) status_wrap(reterr, "audit policy %s", file);
    return p;
}

struct audit *audit_new(const struct audit_options *o, struct status *reterr) {
    struct audit *a = calloc(1, sizeof(*a));
    CHECK(a);
    bool log = o->log.path || !o->webhook.config_file;
    a->legacy = log && o->log.legacy;
    if ((a->policy = load_policy(o->policy_file, reterr)) && (!log || (a->backends[0] = audit_log_backend_new(&o->log, reterr))) &&
        (!o->webhook.config_file || (a->backends[1] = audit_webhook_backend_new(&o->webhook, reterr)))) return a;
    audit_free(a);
    return NULL;
}

void audit_free(struct audit *a) {
    if (!a) return;
    audit_policy_free(a->policy);
    for (size_t i = 0; i < ARRAY_LEN(a->backends); i++) audit_backend_free(a->backends[i]);
    free(a);
}

/* ---- metrics ---- */

static struct metric_family events = METRIC_FAMILY("apiserver_audit_event_total", "counter", "[ALPHA] Counter of audit events generated and sent to the audit backend."),
                            level_counts = METRIC_FAMILY("apiserver_audit_level_total", "counter", "[ALPHA] Counter of policy levels for audit events (1 per request)."),
                            rejected = METRIC_FAMILY("apiserver_audit_requests_rejected_total", "counter", "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.");

void audit_put_metrics(struct buf *out) {
    metric_put(&events, out);
    metric_put(&level_counts, out);
    metric_put(&rejected, out);
    audit_backend_put_metrics(out);
}

/* ---- what is written ---- */

static void member(struct buf *out, const char *name, const char *value) {
    if (str_empty(value)) return;
    buf_printf(out, ",\"%s\":", name);
    json_write_string(out, value);
}

static void write_user(struct buf *out, const char *name, const struct user_info *u) {
    struct authenticationv1_UserInfo info = {.username = u->name, .uid = u->uid, .groups = u->groups, .extra = u->extra};
    buf_printf(out, ",\"%s\":", name);
    object_encode_json(&authenticationv1_UserInfo_desc, &info, out);
}

static void write_time(struct buf *out, const char *name, int64_t ns) {
    struct api_time t = micro_time_from_ns(ns);
    buf_printf(out, ",\"%s\":\"", name);
    micro_time_format(&t, out);
    buf_append_char(out, '"');
}

static void write_reference(struct buf *out, const struct authz_attributes *at) {
    if (!at->resource_request) return;
    size_t begin = out->len;
    buf_append_str(out, ",\"objectRef\":{");
    size_t empty = out->len;
    member(out, "resource", at->resource);
    member(out, "namespace", at->namespace);
    member(out, "name", at->name);
    member(out, "apiGroup", at->group);
    member(out, "apiVersion", at->version);
    member(out, "subresource", at->subresource);
    if (out->len == empty) out->len = begin;
    else {
        memmove(out->data + empty, out->data + empty + 1, out->len - empty - 1); /* the first comma */
        out->data[out->len - 1] = '}';
    }
}

/* JSON of a body, whatever its form; NULL if it cannot be said in JSON. */
static yyjson_mut_doc *body_document(struct audit_event *e, const char *type, const char *data, size_t len) {
    struct arena *a = e->r->arena;
    _cleanup_buf_ struct buf json = BUF_INIT;
    if (!len) return NULL;
    if (type && strncasecmp(type, "application/vnd.kubernetes.protobuf", 35) == 0) {
        const char *version, *kind, *slash;
        struct bytes raw;
        if (proto_envelope_open(a, data, len, &version, &kind, &raw, NULL) != 0) return NULL;
        slash = strchr(version, '/');
        const struct type_desc *desc = api_kind_find(slash ? arena_strndup(a, version, (size_t)(slash - version)) : "", slash ? slash + 1 : version, kind);
        void *obj = desc ? arena_alloc(a, desc->size) : NULL;
        if (!obj || object_decode_proto(a, desc, obj, raw.data, raw.len, NULL) != 0) return NULL;
        object_set_type_meta(a, desc, obj);
        object_encode_json(desc, obj, &json);
        data = json.data;
        len = json.len;
    } else if (type && !strstr(type, "json")) return NULL;
    yyjson_doc *doc = json_parse_in(a, data, len, 0, NULL);
    return doc ? json_mut_new(a, yyjson_doc_get_root(doc)) : NULL;
}

static void strip_managed_fields(yyjson_mut_val *object) {
    yyjson_mut_val *items = yyjson_mut_obj_get(object, "items"), *item;
    size_t i, max;
    yyjson_mut_obj_remove_key(yyjson_mut_obj_get(object, "metadata"), "managedFields");
    yyjson_mut_arr_foreach(items, i, max, item) yyjson_mut_obj_remove_key(yyjson_mut_obj_get(item, "metadata"), "managedFields");
}

static void write_body(struct audit_event *e, struct buf *out, const char *name, const char *type, const char *data, size_t len) {
    yyjson_mut_doc *doc = body_document(e, type, data, len);
    if (!doc) return;
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    if (e->decision.omit_managed_fields) strip_managed_fields(root);
    buf_printf(out, ",\"%s\":", name);
    json_write_mut(out, root);
}

static void write_status(struct audit_event *e, struct buf *out, int code, const char *data, size_t len) {
    buf_append_str(out, ",\"responseStatus\":{\"metadata\":{}");
    yyjson_doc *doc = code >= 400 && len ? json_parse_in(e->r->arena, data, len, 0, NULL) : NULL;
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    member(out, "status", yyjson_get_str(yyjson_obj_get(root, "status")));
    member(out, "message", yyjson_get_str(yyjson_obj_get(root, "message")));
    member(out, "reason", yyjson_get_str(yyjson_obj_get(root, "reason")));
    buf_printf(out, ",\"code\":%d}", code);
}

static const char *const levels[] = {"None", "Metadata", "Request", "RequestResponse"}, *const stages[] = {"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"};

static const char *uri_of(const struct audit_event *e) {
    const struct http_request *http = e->r->http;
    return *http->query ? arena_printf(e->r->arena, "%s?%s", http->path, http->query) : http->path;
}

static const char *ip_of(const struct audit_event *e) {
    const char *peer = e->r->http->peer, *colon = strrchr(peer, ':');
    return colon ? arena_strndup(e->r->arena, peer, (size_t)(colon - peer)) : NULL;
}

static void begin_line(struct audit_event *e, struct buf *out, enum audit_stage stage) {
    const char *ip = ip_of(e);
    buf_printf(out, "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"%s\",\"auditID\":\"%s\",\"stage\":\"%s\"", levels[e->decision.level], e->id, stages[stage]);
    member(out, "requestURI", uri_of(e));
    member(out, "verb", e->attrs.verb);
    write_user(out, "user", &e->user);
    if (e->impersonated) write_user(out, "impersonatedUser", &e->as);
    if (ip) {
        buf_append_str(out, ",\"sourceIPs\":[");
        json_write_string(out, ip);
        buf_append_char(out, ']');
    }
    member(out, "userAgent", http_request_header(e->r->http, "User-Agent"));
    write_reference(out, &e->attrs);
}

static void end_line(struct audit_event *e, struct audit_record *record) {
    struct buf *out = &record->json;
    write_time(out, "requestReceivedTimestamp", e->received_ns);
    write_time(out, "stageTimestamp", env_now_ns(apiserver_env(e->r->server)));
    for (size_t i = 0; i < e->annotations.len; i++) {
        buf_append_str(out, i ? "," : ",\"annotations\":{");
        if (!i) record->annotations_at = out->len;
        json_write_string(out, e->annotations.items[i].key);
        buf_append_char(out, ':');
        json_write_string(out, e->annotations.items[i].value);
    }
    buf_append_str(out, e->annotations.len ? "}}" : "}");
}

/* ---- the same as a line of text, upstream's EventString ---- */

static const char *quoted_groups(struct arena *a, const struct string_list *groups) {
    const char *text = "";
    for (size_t i = 0; i < groups->len; i++) text = arena_printf(a, "%s%s%s", text, i ? "," : "", go_quote(a, groups->items[i]));
    return text;
}

/* Go's RFC3339Nano: as many digits as there are. */
static const char *received_text(struct audit_event *e) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    struct api_time t = micro_time_from_ns(e->received_ns);
    micro_time_format(&t, &out);
    size_t n = out.len - 1; /* the Z */
    while (n && out.data[n - 1] == '0') n--;
    if (n && out.data[n - 1] == '.') n--;
    return arena_printf(e->r->arena, "%.*sZ", (int)n, out.data);
}

static void write_legacy(struct audit_event *e, struct buf *out, enum audit_stage stage) {
    struct arena *a = e->r->arena;
    const char *name = str_or(e->user.name, "<none>"), *groups = !str_empty(e->user.name) && e->user.groups.len ? quoted_groups(a, &e->user.groups) : "<none>";
    const char *as = e->impersonated ? str_or(e->as.name, "") : "<self>", *as_groups = e->impersonated && e->as.groups.len ? quoted_groups(a, &e->as.groups) : "<lookup>";
    const char *namespace = e->attrs.resource_request ? str_or(e->attrs.namespace, "<none>") : "<none>", *agent = str_or(http_request_header(e->r->http, "User-Agent"), "");
    buf_printf(out, "%s AUDIT: id=\"%s\" stage=\"%s\" ip=%s method=%s user=%s groups=%s as=%s asgroups=%s user-agent=%s namespace=%s uri=%s response=\"", received_text(e), e->id, stages[stage],
               go_quote(a, str_or(ip_of(e), "<unknown>")), go_quote(a, str_or(e->attrs.verb, "")), go_quote(a, name), go_quote(a, groups), go_quote(a, as), go_quote(a, as_groups), go_quote(a, agent), go_quote(a, namespace),
               go_quote(a, uri_of(e)));
    if (e->code) buf_printf(out, "%d\"", e->code);
    else buf_append_str(out, "<deferred>\"");
}

/* ---- to the backends ---- */

/* Takes the record. Those that may wait get it at once if the caller may wait too; otherwise audit_settle gives it to them. False: not stored, though it must be. */
static bool process(struct audit_event *e, enum audit_stage stage, struct audit_record *record, bool may_wait) {
    bool stored = true;
    end_line(e, record);
    if (e->audit->legacy) write_legacy(e, &record->line, stage);
    metric_add(&events, "", 1);
    for (size_t i = 0; i < ARRAY_LEN(e->audit->backends); i++) {
        struct audit_backend *b = e->audit->backends[i];
        if (!b) continue;
        if (may_wait || e->settled || !audit_backend_may_wait(b)) stored = audit_backend_process(b, record) && stored;
        else {
            audit_record_unref(e->waiting);
            e->waiting = audit_record_ref(record);
        }
    }
    audit_record_unref(record);
    return stored;
}

static bool wanted(const struct audit_event *e, enum audit_stage stage) { return !(e->decision.omit_stages & 1u << stage); }

/* ---- a request's way ---- */

int audit_begin(struct audit *a, struct api_request *r) {
    struct authz_attributes at = request_attributes(r);
    struct audit_decision d = audit_policy_decide(a->policy, &at);
    metric_add(&level_counts, arena_printf(r->arena, "level=\"%s\"", levels[d.level]), 1);
    if (d.level == AUDIT_NONE) return 0;
    struct audit_event *e = ARENA_NEW(r->arena, struct audit_event);
    *e = (struct audit_event){.audit = a, .decision = d, .r = r, .attrs = at, .user = r->user, .received_ns = env_now_ns(apiserver_env(r->server))};
    env_uuid(apiserver_env(r->server), e->id);
    r->audit = e;
    for (size_t i = 0; i < r->early_annotations.len; i++) audit_annotate(r, r->early_annotations.items[i].key, r->early_annotations.items[i].value);
    if (!wanted(e, AUDIT_REQUEST_RECEIVED)) return 0;
    struct audit_record *record = audit_record_new();
    begin_line(e, &record->json, AUDIT_REQUEST_RECEIVED);
    if (process(e, AUDIT_REQUEST_RECEIVED, record, true)) return 0;
    metric_add(&rejected, "", 1);
    return -1;
}

void audit_settle(struct api_request *r) {
    struct audit_event *e = r->audit;
    if (!e) return;
    struct audit_record *record = e->waiting;
    e->waiting = NULL;
    e->settled = true;
    for (size_t i = 0; record && i < ARRAY_LEN(e->audit->backends); i++)
        if (e->audit->backends[i] && audit_backend_may_wait(e->audit->backends[i])) audit_backend_process(e->audit->backends[i], record);
    audit_record_unref(record);
}

void audit_impersonated(struct api_request *r, const struct user_info *as) {
    if (!r->audit) return;
    r->audit->impersonated = true;
    r->audit->as = *as;
}

void audit_decided(struct api_request *r, bool allowed, const char *reason) {
    audit_annotate(r, "authorization.k8s.io/decision", allowed ? "allow" : "forbid");
    audit_annotate(r, "authorization.k8s.io/reason", str_or(reason, ""));
}

bool audit_keeps(const struct api_request *r, enum audit_level level) { return r->audit && r->audit->decision.level >= level; }

void audit_annotate(struct api_request *r, const char *key, const char *value) {
    if (!r->audit || string_map_get(&r->audit->annotations, key)) return;
    struct string_map *m = &r->audit->annotations;
    LIST_PUSH(r->arena, m);
    size_t at = m->len - 1;
    for (; at && strcmp(m->items[at - 1].key, key) > 0; at--) m->items[at] = m->items[at - 1];
    m->items[at].key = key;
    m->items[at].value = value;
}

void audit_annotate_early(struct api_request *r, const char *key, const char *value) {
    if (r->audit) audit_annotate(r, key, value);
    else string_map_set(r->arena, &r->early_annotations, key, value);
}

void audit_answered(struct http_request *http, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream) {
    struct api_request *r = http->user;
    struct audit_event *e = r ? r->audit : NULL;
    enum audit_stage stage = stream ? AUDIT_RESPONSE_STARTED : AUDIT_RESPONSE_COMPLETE;
    if (e) e->code = code;
    if (!e || !wanted(e, stage)) return;
    _cleanup_buf_ struct buf whole = BUF_INIT;
    struct audit_record *record = audit_record_new();
    struct buf *out = &record->json;
    bool full = e->decision.level == AUDIT_REQUEST_RESPONSE;
    for (size_t i = 0; !stream && (full || code >= 400) && i < body_len; i++) {
        const struct http_slice *s = &body[i];
        if (s->shared && !s->data) buf_append(&whole, shared_data(s->shared), shared_len(s->shared));
        else buf_append(&whole, s->data, s->len);
    }
    begin_line(e, out, stage);
    write_status(e, out, code, whole.data, whole.len);
    record->bodies_at = out->len;
    if (e->decision.level >= AUDIT_REQUEST) write_body(e, out, "requestObject", http_request_header(http, "Content-Type"), http->body, http->body_len);
    if (full && !stream) write_body(e, out, "responseObject", http_headers_get(headers, headers_len, "Content-Type"), whole.data, whole.len);
    record->bodies_len = out->len - record->bodies_at;
    process(e, stage, record, false);
}

void audit_ended(struct http_request *http) {
    struct api_request *r = http->user;
    struct audit_event *e = r ? r->audit : NULL;
    if (!e || !wanted(e, AUDIT_RESPONSE_COMPLETE)) return;
    struct audit_record *record = audit_record_new();
    begin_line(e, &record->json, AUDIT_RESPONSE_COMPLETE);
    write_status(e, &record->json, e->code, NULL, 0);
    process(e, AUDIT_RESPONSE_COMPLETE, record, false);
}

const char *audit_id(struct api_request *r) { return r->audit ? r->audit->id : NULL; }
