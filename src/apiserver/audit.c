#include "apiserver/audit.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit_backups.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/json.h"

enum { POLICY_BYTES_MAX = 1 << 20 };

struct audit {
    struct audit_policy *policy;
    char *path;
    int64_t max_bytes, bytes;
    int backups_max, age_days_max; /* 0: no limit */
    int fd;
    pthread_mutex_t mutex; /* fd and bytes */
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

static int open_log(struct audit *a) {
    struct stat st;
    a->fd = strcmp(a->path, "-") == 0 ? dup(STDOUT_FILENO) : open(a->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (a->fd < 0) return -1;
    a->bytes = fstat(a->fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : 0;
    return 0;
}

struct audit *audit_new(const char *policy_file, const struct audit_log_options *o, struct status *reterr) {
    struct audit *a = calloc(1, sizeof(*a));
    CHECK(a);
    a->fd = -1;
    pthread_mutex_init(&a->mutex, NULL);
    a->path = strdup(str_or(o->path, "-"));
    a->max_bytes = (int64_t)o->max_size_mb << 20;
    a->backups_max = o->backups_max;
    a->age_days_max = o->age_days_max;
    if ((a->policy = load_policy(policy_file, reterr))) {
        if (open_log(a) == 0) return a;
        status_errno(reterr, a->path);
    }
    audit_free(a);
    return NULL;
}

void audit_free(struct audit *a) {
    if (!a) return;
    audit_policy_free(a->policy);
    if (a->fd >= 0) close(a->fd);
    pthread_mutex_destroy(&a->mutex);
    free(a->path);
    free(a);
}

/* The full file steps aside under the time's name, and the oldest of those go. The mutex is held. */
static void rotate(struct audit *a) {
    char aside[4200];
    int64_t now = env_now_ns(env_real());
    audit_backup_name(a->path, now, aside, sizeof(aside));
    if (rename(a->path, aside) != 0) return;
    close(a->fd);
    if (open_log(a) != 0) log_error("audit: cannot open %s: %s", a->path, strerror(errno));
    audit_backups_prune(a->path, a->backups_max, a->age_days_max, now);
}

static void write_line(struct audit *a, const struct buf *line) {
    pthread_mutex_lock(&a->mutex);
    if (a->max_bytes && a->bytes && a->bytes + (int64_t)line->len > a->max_bytes && strcmp(a->path, "-") != 0) rotate(a);
    for (size_t done = 0; a->fd >= 0 && done < line->len;) {
        ssize_t n = write(a->fd, line->data + done, line->len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            log_error("audit: cannot write %s: %s", a->path, strerror(errno));
            break;
        }
        done += (size_t)n;
    }
    a->bytes += (int64_t)line->len;
    pthread_mutex_unlock(&a->mutex);
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

static void begin_line(struct audit_event *e, struct buf *out, enum audit_stage stage) {
    static const char *const levels[] = {"None", "Metadata", "Request", "RequestResponse"}, *const stages[] = {"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"};
    const struct http_request *http = e->r->http;
    const char *colon = strrchr(http->peer, ':');
    buf_printf(out, "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"%s\",\"auditID\":\"%s\",\"stage\":\"%s\"", levels[e->decision.level], e->id, stages[stage]);
    member(out, "requestURI", *http->query ? arena_printf(e->r->arena, "%s?%s", http->path, http->query) : http->path);
    member(out, "verb", e->attrs.verb);
    write_user(out, "user", &e->user);
    if (e->impersonated) write_user(out, "impersonatedUser", &e->as);
    if (colon) {
        buf_append_str(out, ",\"sourceIPs\":[");
        json_write_string_n(out, http->peer, (size_t)(colon - http->peer));
        buf_append_char(out, ']');
    }
    member(out, "userAgent", http_request_header(http, "User-Agent"));
    write_reference(out, &e->attrs);
}

static void end_line(struct audit_event *e, struct buf *out) {
    write_time(out, "requestReceivedTimestamp", e->received_ns);
    write_time(out, "stageTimestamp", env_now_ns(apiserver_env(e->r->server)));
    for (size_t i = 0; i < e->annotations.len; i++) {
        buf_append_str(out, i ? "," : ",\"annotations\":{");
        json_write_string(out, e->annotations.items[i].key);
        buf_append_char(out, ':');
        json_write_string(out, e->annotations.items[i].value);
    }
    if (e->annotations.len) buf_append_char(out, '}');
    buf_append_str(out, "}\n");
    write_line(e->audit, out);
}

static bool wanted(const struct audit_event *e, enum audit_stage stage) { return !(e->decision.omit_stages & 1u << stage); }

/* ---- a request's way ---- */

void audit_begin(struct audit *a, struct api_request *r) {
    struct authz_attributes at = request_attributes(r);
    struct audit_decision d = audit_policy_decide(a->policy, &at);
    if (d.level == AUDIT_NONE) return;
    struct audit_event *e = ARENA_NEW(r->arena, struct audit_event);
    *e = (struct audit_event){.audit = a, .decision = d, .r = r, .attrs = at, .user = r->user, .received_ns = env_now_ns(apiserver_env(r->server))};
    env_uuid(apiserver_env(r->server), e->id);
    r->audit = e;
    if (!wanted(e, AUDIT_REQUEST_RECEIVED)) return;
    _cleanup_buf_ struct buf out = BUF_INIT;
    begin_line(e, &out, AUDIT_REQUEST_RECEIVED);
    end_line(e, &out);
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

void audit_answered(struct http_request *http, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream) {
    struct api_request *r = http->user;
    struct audit_event *e = r ? r->audit : NULL;
    enum audit_stage stage = stream ? AUDIT_RESPONSE_STARTED : AUDIT_RESPONSE_COMPLETE;
    if (!e || !wanted(e, stage)) return;
    _cleanup_buf_ struct buf out = BUF_INIT, whole = BUF_INIT;
    bool full = e->decision.level == AUDIT_REQUEST_RESPONSE;
    for (size_t i = 0; !stream && (full || code >= 400) && i < body_len; i++) {
        const struct http_slice *s = &body[i];
        if (s->shared && !s->data) buf_append(&whole, shared_data(s->shared), shared_len(s->shared));
        else buf_append(&whole, s->data, s->len);
    }
    begin_line(e, &out, stage);
    write_status(e, &out, code, whole.data, whole.len);
    if (e->decision.level >= AUDIT_REQUEST) write_body(e, &out, "requestObject", http_request_header(http, "Content-Type"), http->body, http->body_len);
    if (full && !stream) write_body(e, &out, "responseObject", http_headers_get(headers, headers_len, "Content-Type"), whole.data, whole.len);
    end_line(e, &out);
}

const char *audit_id(struct api_request *r) { return r->audit ? r->audit->id : NULL; }
