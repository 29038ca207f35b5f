/* HTTP extenders: see extender.h. The bodies are the Go structs of kube-scheduler/extender/v1, whose field names have capitals. */
#include "scheduler/extender.h"
#include <stdio.h>
#include <yyjson.h>
#include "base/str.h"
#include "scheduler/framework.h"
#include "wire/http_client.h"
#include "wire/json.h"

#define EXTENDER_SCORE_MAX 10
#define TIMEOUT_MS_DEFAULT 5000

/* ---- transport ---- */

/* "http://host:port/path" in its parts. */
static bool url_split(const char *url, bool *ret_tls, char host[256], int *ret_port, const char **ret_path) {
    *ret_tls = str_has_prefix(url, "https://");
    if (!*ret_tls && !str_has_prefix(url, "http://")) return false;
    const char *at = url + (*ret_tls ? 8 : 7), *slash = strchr(at, '/'), *end = slash ? slash : at + strlen(at);
    size_t len = (size_t)(end - at);
    if (!len || len >= 256) return false;
    memcpy(host, at, len);
    host[len] = '\0';
    char *colon = strrchr(host, ':');
    *ret_port = 0;
    int64_t port;
    if (colon && !strchr(colon, ']') && str_to_i64(colon + 1, &port)) {
        *ret_port = (int)port;
        *colon = '\0';
    }
    if (host[0] == '[') { /* IPv6 */
        char *close = strchr(host, ']');
        if (close) *close = '\0';
        memmove(host, host + 1, strlen(host));
    }
    *ret_path = slash ? slash : "/";
    return true;
}

static int post_http(const struct extender *e, const char *url, const struct buf *body, struct buf *out, struct status *reterr) {
    bool tls;
    char host[256];
    const char *path;
    struct http_client_options options = {.insecure = e->insecure, .server_name = e->server_name, .cert_file = e->cert_file, .key_file = e->key_file, .ca_file = e->ca_file};
    if (!url_split(url, &tls, host, &options.port, &path)) return status_set(reterr, 500, NULL, "extender at URL %s: not a URL", url);
    options.host = host;
    options.tls = tls;
    options.no_keep_alive = true;
    struct http_client *c = http_client_new(&options, reterr);
    if (!c) return -1;
    const struct http_header headers[] = {{"Content-Type", "application/json"}};
    struct http_call call = {.method = "POST", .target = path, .headers = headers, .headers_len = 1, .body = body->data, .body_len = body->len,
                             .timeout_ms = (int)(e->timeout_ms > 0 ? e->timeout_ms : TIMEOUT_MS_DEFAULT)};
    struct http_reply *reply = NULL;
    int r = http_client_call(c, &call, &reply, reterr);
    if (!r && reply->code != 200) r = status_set(reterr, 500, NULL, "failed %s with extender at URL %s, code %d", strrchr(url, '/') + 1, url, reply->code);
    if (!r) buf_append(out, reply->body, reply->body_len);
    http_reply_free(reply);
    http_client_free(c);
    return r;
}

/* The answer as a document, the caller's to free. */
static yyjson_doc *post(const struct extender *e, const char *verb, const struct buf *body, struct status *reterr) {
    _cleanup_buf_ struct buf url = BUF_INIT, out = BUF_INIT;
    size_t len = strlen(e->url_prefix);
    buf_printf(&url, "%.*s/%s", (int)(len && e->url_prefix[len - 1] == '/' ? len - 1 : len), e->url_prefix, verb);
    int r = e->post ? e->post(e->post_data, e, buf_cstr(&url), body, &out, reterr) : post_http(e, buf_cstr(&url), body, &out, reterr);
    if (r) return NULL;
    yyjson_doc *doc = yyjson_read(out.data ? out.data : "", out.len, 0);
    if (!doc) status_set(reterr, 500, NULL, "extender at URL %s: the answer is not JSON", buf_cstr(&url));
    return doc;
}

/* ---- whom it concerns ---- */

static bool asks_for(const struct corev1_Container_list *containers, const char *name) {
    LIST_FOREACH(c, containers)
        if (string_map_has(&c->resources.requests, name) || string_map_has(&c->resources.limits, name)) return true;
    return false;
}

bool extender_interested(const struct extender *e, const struct corev1_Pod *pod) {
    LIST_FOREACH(m, &e->managed)
        if (asks_for(&pod->spec.containers, m->name) || asks_for(&pod->spec.initContainers, m->name)) return true;
    return !e->managed.len;
}

/* ---- bodies ---- */

static void args_write(const struct extender *e, const struct corev1_Pod *pod, const struct extender_node_list *nodes, struct buf *b) {
    buf_append_str(b, "{\"Pod\":");
    object_encode_json(&corev1_Pod_desc, pod, b);
    buf_append_str(b, e->node_cache_capable ? ",\"Nodes\":null,\"NodeNames\":[" : ",\"Nodes\":{\"metadata\":{},\"items\":[");
    bool first = true;
    LIST_FOREACH(n, nodes) {
        if (n->failed) continue;
        if (!first) buf_append_char(b, ',');
        first = false;
        if (e->node_cache_capable) json_write_string(b, n->name);
        else object_encode_json(&corev1_Node_desc, n->node, b);
    }
    buf_append_str(b, e->node_cache_capable ? "]}" : "]},\"NodeNames\":null}");
}

static yyjson_val *member(yyjson_val *obj, const char *name) {
    yyjson_val *v = yyjson_obj_get(obj, name);
    if (v) return v;
    size_t i, n;
    yyjson_val *key;
    yyjson_obj_foreach(obj, i, n, key, v) /* Go's decoder takes names in any case */
        if (str_eq_nocase(yyjson_get_str(key), name)) return v;
    return NULL;
}

static struct extender_node *node_named(struct extender_node_list *nodes, const char *name) {
    LIST_FOREACH(n, nodes)
        if (str_eq(n->name, name)) return n;
    return NULL;
}

static void mark_failed(struct arena *a, struct extender_node_list *nodes, yyjson_val *map, bool unresolvable) {
    size_t i, n;
    yyjson_val *key, *v;
    yyjson_obj_foreach(map, i, n, key, v) {
        struct extender_node *node = node_named(nodes, yyjson_get_str(key));
        if (!node || (node->failed && node->unresolvable)) continue;
        node->failed = true;
        node->unresolvable = unresolvable;
        node->message = arena_strdup(a, str_or(yyjson_get_str(v), ""));
    }
}

static const char *item_name(const struct extender *e, yyjson_val *item) {
    return e->node_cache_capable ? yyjson_get_str(item) : yyjson_get_str(member(member(item, "metadata"), "name"));
}

int extender_filter(const struct extender *e, struct arena *a, const struct corev1_Pod *pod, struct extender_node_list *nodes, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    args_write(e, pod, nodes, &body);
    yyjson_doc *doc = post(e, e->filter_verb, &body, reterr);
    if (!doc) return -1;
    yyjson_val *root = yyjson_doc_get_root(doc), *list = member(root, e->node_cache_capable ? "NodeNames" : "Nodes");
    const char *error = yyjson_get_str(member(root, "Error"));
    if (!str_empty(error)) {
        status_set(reterr, 500, NULL, "%s", error);
        yyjson_doc_free(doc);
        return -1;
    }
    if (list && !e->node_cache_capable) list = member(list, "items");
    bool *kept = arena_calloc(a, nodes->len, sizeof(bool));
    size_t i, n;
    yyjson_val *item;
    if (list && yyjson_is_arr(list))
        yyjson_arr_foreach(list, i, n, item) {
            struct extender_node *node = node_named(nodes, item_name(e, item));
            if (node) kept[node - nodes->items] = true;
        }
    mark_failed(a, nodes, member(root, "FailedAndUnresolvableNodes"), true);
    mark_failed(a, nodes, member(root, "FailedNodes"), false);
    for (size_t k = 0; k < nodes->len; k++) {
        struct extender_node *node = &nodes->items[k];
        if (kept[k] || node->failed) continue;
        node->failed = true; /* left out without a word */
        node->message = "";
    }
    yyjson_doc_free(doc);
    return 0;
}

int extender_prioritize(const struct extender *e, struct arena *a, const struct corev1_Pod *pod, struct extender_node_list *nodes, struct status *reterr) {
    (void)a;
    _cleanup_buf_ struct buf body = BUF_INIT;
    args_write(e, pod, nodes, &body);
    yyjson_doc *doc = post(e, e->prioritize_verb, &body, reterr);
    if (!doc) return -1;
    yyjson_val *root = yyjson_doc_get_root(doc), *item;
    size_t i, n;
    if (yyjson_is_arr(root))
        yyjson_arr_foreach(root, i, n, item) {
            struct extender_node *node = node_named(nodes, yyjson_get_str(member(item, "Host")));
            if (node) node->score += yyjson_get_sint(member(item, "Score")) * e->weight * (NODE_SCORE_MAX / EXTENDER_SCORE_MAX);
        }
    yyjson_doc_free(doc);
    return 0;
}

int extender_bind(const struct extender *e, const struct corev1_Pod *pod, const char *node, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    static const char *const names[] = {"PodName", "PodNamespace", "PodUID", "Node"};
    const char *values[] = {pod->metadata.name, pod->metadata.namespace, pod->metadata.uid, node};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        buf_printf(&body, "%c\"%s\":", i ? ',' : '{', names[i]);
        json_write_string(&body, str_or(values[i], ""));
    }
    buf_append_char(&body, '}');
    yyjson_doc *doc = post(e, e->bind_verb, &body, reterr);
    if (!doc) return -1;
    const char *error = yyjson_get_str(member(yyjson_doc_get_root(doc), "Error"));
    int r = str_empty(error) ? 0 : status_set(reterr, 500, NULL, "%s", error);
    yyjson_doc_free(doc);
    return r;
}
