/* Requests and reflectors over HTTPS: see rest_client.h. */
#include "client/rest_client.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include "base/env.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/http_client.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { CALL_TIMEOUT_MS = 30000, WATCH_IDLE_MS = 600000, RETRY_MS = 1000, RETRY_STEP_MS = 100 };

struct rest_client {
    struct http_client *http;
    char *token; /* NULL: none */
};

/* ---- kubeconfig ---- */

static yyjson_val *named(yyjson_val *root, const char *list, const char *name, const char *inner) {
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(yyjson_obj_get(root, list), i, max, item)
        if (str_eq(yyjson_get_str(yyjson_obj_get(item, "name")), name)) return yyjson_obj_get(item, inner);
    return NULL;
}

static const char *pem(struct arena *a, yyjson_val *from, const char *key) {
    const char *text = yyjson_get_str(yyjson_obj_get(from, key));
    unsigned char *data;
    size_t len;
    if (!text || base64_decode(a, text, strlen(text), &data, &len, NULL) != 0) return NULL;
    return arena_strndup(a, (char *)data, len);
}

/* "https://HOST[:PORT]" into its parts. */
static void server_split(struct arena *a, const char *server, struct http_client_options *o) {
    o->tls = !str_has_prefix(server, "http://");
    o->port = o->tls ? 443 : 80;
    char *host = arena_strdup(a, strstr(server, "://") + 3);
    host[strcspn(host, "/")] = 0;
    char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
    if (colon && colon > bracket) {
        o->port = atoi(colon + 1);
        *colon = 0;
    }
    if (*host == '[') {
        host++;
        host[strcspn(host, "]")] = 0;
    }
    o->host = host;
}

static int token_append(void *ctx, struct buf *ret, struct status *reterr) {
    (void)reterr;
    buf_append_str(ret, ((struct rest_client *)ctx)->token);
    return 0;
}

static yyjson_val *kubeconfig_load(struct arena *a, const char *path, struct status *reterr) {
    FILE *f = fopen(path, "re");
    if (!f) return status_errno(reterr, path), NULL;
    _cleanup_buf_ struct buf text = BUF_INIT, json = BUF_INIT;
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), f)) > 0;) buf_append(&text, chunk, n);
    fclose(f);
    if (yaml_to_json(buf_cstr(&text), text.len, &json, NULL, reterr)) return NULL;
    yyjson_doc *doc = json_parse_in(a, json.data, json.len, 0, reterr);
    return doc ? yyjson_doc_get_root(doc) : NULL;
}

struct rest_client *rest_client_from_kubeconfig(const char *path, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    yyjson_val *root = kubeconfig_load(a, path, reterr);
    if (!root) return NULL;
    yyjson_val *context = named(root, "contexts", yyjson_get_str(yyjson_obj_get(root, "current-context")), "context");
    yyjson_val *cluster = named(root, "clusters", yyjson_get_str(yyjson_obj_get(context, "cluster")), "cluster");
    yyjson_val *user = named(root, "users", yyjson_get_str(yyjson_obj_get(context, "user")), "user");
    const char *server = yyjson_get_str(yyjson_obj_get(cluster, "server")), *token = yyjson_get_str(yyjson_obj_get(user, "token"));
    if (!server || !strstr(server, "://")) return status_bad_request(reterr, "%s names no server", path), NULL;
    struct rest_client *c = calloc(1, sizeof(*c));
    CHECK(c && (!token || (c->token = strdup(token))));
    struct http_client_options o = {
        .ca_pem = pem(a, cluster, "certificate-authority-data"),
        .ca_file = yyjson_get_str(yyjson_obj_get(cluster, "certificate-authority")),
        .insecure = yyjson_get_bool(yyjson_obj_get(cluster, "insecure-skip-tls-verify")),
        .cert_pem = pem(a, user, "client-certificate-data"),
        .cert_file = yyjson_get_str(yyjson_obj_get(user, "client-certificate")),
        .key_pem = pem(a, user, "client-key-data"),
        .key_file = yyjson_get_str(yyjson_obj_get(user, "client-key")),
        .bearer_token = token ? token_append : NULL,
        .bearer_token_ctx = c,
    };
    server_split(a, server, &o);
    c->http = http_client_new(&o, reterr);
    if (c->http) return c;
    rest_client_free(c);
    return NULL;
}

void rest_client_free(struct rest_client *c) {
    if (!c) return;
    http_client_free(c->http);
    free(c->token);
    free(c);
}

/* ---- one request ---- */

static int reply_status(struct arena *a, const struct http_reply *r, struct status *reterr) {
    yyjson_doc *doc = json_parse_in(a, str_or(r->body, ""), r->body_len, 0, NULL);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *message = yyjson_get_str(yyjson_obj_get(root, "message")), *reason = yyjson_get_str(yyjson_obj_get(root, "reason"));
    static const char *const known[] = {REASON_NOT_FOUND, REASON_ALREADY_EXISTS, REASON_CONFLICT, REASON_FORBIDDEN, REASON_INVALID, REASON_GONE,
        REASON_EXPIRED, REASON_UNAUTHORIZED, REASON_TOO_MANY_REQUESTS, REASON_BAD_REQUEST, NULL};
    const char *kept = REASON_INTERNAL_ERROR;
    for (size_t i = 0; known[i]; i++)
        if (str_eq(reason, known[i])) kept = known[i];
    return status_set(reterr, r->code, kept, "%s", str_or(message, http_code_text(r->code)));
}

int rest_client_request(struct rest_client *c, struct arena *a, const char *method, const char *target, const char *content_type, const struct buf *body,
                        const struct type_desc *type, void *ret_obj, struct status *reterr) {
    struct http_header headers[] = {{"Accept", "application/json"}, {"Content-Type", str_or(content_type, "application/json")}};
    struct http_call call = {.method = method, .target = target, .headers = headers, .headers_len = body ? 2 : 1, .timeout_ms = CALL_TIMEOUT_MS};
    if (body) {
        call.body = body->data;
        call.body_len = body->len;
    }
    struct http_reply *r = NULL;
    if (http_client_call(c->http, &call, &r, reterr)) return -1;
    int rc = 0;
    if (r->code < 200 || r->code > 299) rc = reply_status(a, r, reterr);
    else if (ret_obj) rc = object_decode_json(a, type, ret_obj, r->body, r->body_len, NULL, reterr);
    http_reply_free(r);
    return rc;
}

/* ---- reflectors ---- */

struct reflector {
    struct rest_client *client;
    char *target;
    const struct type_desc *type, *list_type;
    struct reflector_handler handler;
    struct map *known; /* namespace/name of all that was set and not deleted */
    char *version;     /* where to watch from; NULL: list first */
    pthread_t thread;
    atomic_bool stopping;
    struct http_cancel cancel;
};

static void version_set(struct reflector *r, const char *version) {
    free(r->version);
    r->version = version ? strdup(version) : NULL;
}

static void known_key(struct buf *b, const struct object *o) { buf_printf(b, "%s/%s", str_or(o->metadata.namespace, ""), str_or(o->metadata.name, "")); }

static void object_seen(struct reflector *r, const struct object *o, bool deleted, struct map *into) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    known_key(&key, o);
    if (deleted) {
        map_del(into, buf_cstr(&key));
        r->handler.delete(r->handler.data, str_or(o->metadata.namespace, ""), o->metadata.name);
    } else {
        map_put(into, buf_cstr(&key), r);
        r->handler.set(r->handler.data, o);
    }
}

static int reflector_list(struct reflector *r, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct object_list *list = arena_alloc(a, r->list_type->size);
    if (rest_client_request(r->client, a, "GET", r->target, NULL, NULL, r->list_type, list, reterr)) return -1;
    struct map *now = map_new();
    for (size_t i = 0; i < list->items.len; i++) object_seen(r, (const struct object *)(const void *)((const char *)list->items.items + i * r->type->size), false, now);
    const char *key;
    void *value;
    for (size_t pos = 0; map_next(r->known, &pos, &key, &value);) {
        if (map_has(now, key)) continue;
        const char *slash = strchr(key, '/');
        r->handler.delete(r->handler.data, arena_strndup(a, key, (size_t)(slash - key)), slash + 1);
    }
    map_free(r->known);
    r->known = now;
    version_set(r, str_or(list->metadata.resourceVersion, "0"));
    if (r->handler.synced) r->handler.synced(r->handler.data);
    return 0;
}

/* One line of a watch. -1: the place is lost, list again. */
static int watch_line(struct reflector *r, const char *line, size_t len) {
    _cleanup_arena_ struct arena *a = arena_new();
    yyjson_doc *doc = json_parse_in(a, line, len, JSON_NUMBERS_RAW, NULL);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *type = yyjson_get_str(yyjson_obj_get(root, "type"));
    struct object *obj = arena_alloc(a, r->type->size);
    if (!type || str_eq(type, "ERROR") || object_decode_value(a, r->type, obj, yyjson_obj_get(root, "object"), NULL, NULL)) return -1;
    if (!str_empty(obj->metadata.resourceVersion)) version_set(r, obj->metadata.resourceVersion);
    if (!str_eq(type, "BOOKMARK")) object_seen(r, obj, str_eq(type, "DELETED"), r->known);
    return 0;
}

static void watch_read(struct reflector *r, struct http_reply *reply) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    char chunk[16384];
    while (!atomic_load(&r->stopping)) {
        ssize_t n = http_reply_read(reply, chunk, sizeof(chunk), WATCH_IDLE_MS, NULL);
        if (n <= 0) return;
        buf_append(&b, chunk, (size_t)n);
        size_t used = 0;
        for (char *end; used < b.len && (end = memchr(b.data + used, '\n', b.len - used)); used = (size_t)(end - b.data) + 1) {
            size_t len = (size_t)(end - b.data) - used;
            if (!len || watch_line(r, b.data + used, len) == 0) continue;
            version_set(r, NULL);
            return;
        }
        buf_consume(&b, used);
    }
}

/* false: wait before the next try. */
static bool reflector_step(struct reflector *r) {
    _cleanup_status_ struct status st = STATUS_INIT;
    _cleanup_arena_ struct arena *a = arena_new();
    if (!r->version && reflector_list(r, &st)) {
        log_debug("%s: %s", r->target, status_message(&st));
        return false;
    }
    struct http_call call = {.timeout_ms = CALL_TIMEOUT_MS, .cancel = &r->cancel, .target = arena_printf(a, "%s%cwatch=true&allowWatchBookmarks=true&resourceVersion=%s",
        r->target, strchr(r->target, '?') ? '&' : '?', r->version)};
    struct http_reply *reply = NULL;
    bool ok = http_client_open(r->client->http, &call, &reply, &st) == 0 && reply->code == 200;
    if (ok) watch_read(r, reply);
    else if (reply && reply->code == 410) version_set(r, NULL);
    http_reply_free(reply);
    return ok;
}

static void *reflector_thread(void *arg) {
    struct reflector *r = arg;
    while (!atomic_load(&r->stopping))
        if (!reflector_step(r))
            for (int ms = 0; ms < RETRY_MS && !atomic_load(&r->stopping); ms += RETRY_STEP_MS) env_sleep_ms(env_real(), RETRY_STEP_MS);
    return NULL;
}

struct reflector *reflector_start(struct rest_client *c, const char *target, const struct type_desc *type, const struct type_desc *list_type, const struct reflector_handler *handler) {
    struct reflector *r = calloc(1, sizeof(*r));
    CHECK(r && (r->target = strdup(target)));
    r->client = c;
    r->type = type;
    r->list_type = list_type;
    r->handler = *handler;
    r->known = map_new();
    http_cancel_init(&r->cancel);
    CHECK(pthread_create(&r->thread, NULL, reflector_thread, r) == 0);
    return r;
}

void reflector_stop(struct reflector *r) {
    if (!r) return;
    atomic_store(&r->stopping, true);
    http_cancel_fire(&r->cancel);
    pthread_join(r->thread, NULL);
    http_cancel_release(&r->cancel);
    map_free(r->known);
    free(r->version);
    free(r->target);
    free(r);
}
