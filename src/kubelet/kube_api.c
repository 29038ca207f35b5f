/* The kubelet's calls to the API server, and its watches of its Pods and its Node. The one file here that knows how the server is reached.
 * Upstream: client-go as the kubelet uses it; config/apiserver.go for the Pod source. */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/http_client.h"
#include "wire/json.h"

enum { CALL_TIMEOUT_MS = 30000, WATCH_IDLE_MS = 600000, RETRY_MS = 1000 };

/* ---- one request ---- */

static int reply_status(struct arena *a, const struct http_reply *r, struct status *reterr) {
    yyjson_doc *doc = json_parse_in(a, str_or(r->body, ""), r->body_len, 0, NULL);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *message = yyjson_get_str(yyjson_obj_get(root, "message")), *reason = yyjson_get_str(yyjson_obj_get(root, "reason"));
    static const char *const known[] = {REASON_NOT_FOUND, REASON_ALREADY_EXISTS, REASON_CONFLICT, REASON_FORBIDDEN, REASON_INVALID, REASON_GONE, REASON_EXPIRED, NULL};
    const char *kept = REASON_INTERNAL_ERROR;
    for (size_t i = 0; known[i]; i++) if (str_eq(reason, known[i])) kept = known[i];
    return status_set(reterr, r->code, kept, "%s", str_or(message, http_code_text(r->code)));
}

static int request(struct kubelet *k, struct arena *a, const char *method, const char *target, const char *content_type, const struct buf *body, const struct type_desc *type,
                   void *ret_obj, struct status *reterr) {
    struct http_header headers[] = {{"Accept", "application/json"}, {"Content-Type", content_type}};
    struct http_call call = {.method = method, .target = target, .headers = headers, .headers_len = content_type ? 2 : 1, .timeout_ms = CALL_TIMEOUT_MS};
    if (body) {
        call.body = body->data;
        call.body_len = body->len;
    }
    struct http_reply *r = NULL;
    if (http_client_call(k->api, &call, &r, reterr) != 0) return -1;
    int result = 0;
    if (r->code < 200 || r->code > 299) result = reply_status(a, r, reterr);
    else if (ret_obj) {
        memset(ret_obj, 0, type->size);
        result = object_decode_json(a, type, ret_obj, r->body, r->body_len, NULL, reterr);
    }
    http_reply_free(r);
    return result;
}

static const char *path_of(struct arena *a, const struct type_desc *type, const char *ns, const char *name, const char *sub) {
    const struct resource_desc *r = api_resource_of_type(type);
    CHECK(r);
    return arena_printf(a, "%s%s/%s%s%s/%s%s%s%s%s", str_empty(r->group) ? "/api" : arena_printf(a, "/apis/%s", r->group), "", r->version,
                        r->namespaced && !str_empty(ns) ? "/namespaces/" : "", r->namespaced ? str_or(ns, "") : "", r->resource, name ? "/" : "", str_or(name, ""),
                        sub ? "/" : "", str_or(sub, ""));
}

int api_get(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *ns, const char *name, void *ret_obj, struct status *reterr) {
    return request(k, a, "GET", path_of(a, type, ns, name, NULL), NULL, NULL, type, ret_obj, reterr);
}

int api_get_named(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *singular, const char *ns, const char *name, void *ret_obj, struct status *reterr) {
    if (api_get(k, a, type, ns, name, ret_obj, reterr) == 0) return 0;
    if (status_is(reterr, 404)) status_set(reterr, 404, REASON_NOT_FOUND, "%s \"%s\" not found", singular, name);
    return -1;
}

int api_create(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *ns, const void *obj, void *ret_obj, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    object_encode_json(type, obj, &body);
    return request(k, a, "POST", path_of(a, type, ns, NULL, NULL), "application/json", &body, type, ret_obj, reterr);
}

int api_update(struct kubelet *k, struct arena *a, const struct type_desc *type, const void *obj, void *ret_obj, struct status *reterr) {
    const struct object *o = obj;
    _cleanup_buf_ struct buf body = BUF_INIT;
    object_encode_json(type, obj, &body);
    return request(k, a, "PUT", path_of(a, type, o->metadata.namespace, o->metadata.name, NULL), "application/json", &body, type, ret_obj, reterr);
}

int api_patch_status(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *ns, const char *name, const char *patch, void *ret_obj, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    buf_append_str(&body, patch);
    return request(k, a, "PATCH", path_of(a, type, ns, name, "status"), "application/strategic-merge-patch+json", &body, type, ret_obj, reterr);
}

int api_pod_delete(struct kubelet *k, const char *ns, const char *name, const char *uid, int64_t grace_seconds, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf body = BUF_INIT;
    buf_printf(&body, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":%lld,\"preconditions\":{\"uid\":", (long long)grace_seconds);
    json_write_string(&body, uid);
    buf_append_str(&body, "}}");
    return request(k, a, "DELETE", path_of(a, &corev1_Pod_desc, ns, name, NULL), "application/json", &body, NULL, NULL, reterr);
}

int api_token_request(struct kubelet *k, struct arena *a, const char *ns, const char *service_account, struct authenticationv1_TokenRequest *req, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    object_encode_json(&authenticationv1_TokenRequest_desc, req, &body);
    return request(k, a, "POST", arena_printf(a, "/api/v1/namespaces/%s/serviceaccounts/%s/token", ns, service_account), "application/json", &body,
                   &authenticationv1_TokenRequest_desc, req, reterr);
}

int api_list_services(struct kubelet *k, struct arena *a, struct corev1_ServiceList *ret, struct status *reterr) {
    return request(k, a, "GET", "/api/v1/services", NULL, NULL, &corev1_ServiceList_desc, ret, reterr);
}

/* ---- watches ---- */

struct watch { struct kubelet *k; const char *path, *query; const struct type_desc *type, *list_type; void (*on_list)(struct kubelet *k, void *list); void (*on_event)(struct kubelet *k, const char *type, void *obj); };

/* One line of a watch. -1: list again. */
static int watch_line(const struct watch *w, const char *line, size_t len, char **ret_rv) {
    _cleanup_arena_ struct arena *a = arena_new();
    yyjson_doc *doc = json_parse_in(a, line, len, JSON_NUMBERS_RAW, NULL);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *type = yyjson_get_str(yyjson_obj_get(root, "type"));
    void *obj = arena_alloc(a, w->type->size);
    if (!type || str_eq(type, "ERROR") || object_decode_value(a, w->type, obj, yyjson_obj_get(root, "object"), NULL, NULL) != 0) return -1;
    const char *rv = ((struct object *)obj)->metadata.resourceVersion;
    if (!str_empty(rv)) {
        free(*ret_rv);
        *ret_rv = strdup(rv);
    }
    if (!str_eq(type, "BOOKMARK")) w->on_event(w->k, type, obj);
    return 0;
}

static void watch_stream(const struct watch *w, struct http_reply *r, char **rv) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    char chunk[16384];
    int64_t quiet_ms = 0;
    while (!atomic_load(&w->k->stopping) && quiet_ms < WATCH_IDLE_MS) {
        _cleanup_status_ struct status err = STATUS_INIT;
        ssize_t n = http_reply_read(r, chunk, sizeof(chunk), WATCH_IDLE_MS, &err);
        if (n <= 0) return;
        buf_append(&b, chunk, (size_t)n);
        for (char *end; b.len && (end = memchr(b.data, '\n', b.len));) {
            size_t len = (size_t)(end - b.data);
            if (len && watch_line(w, b.data, len, rv) != 0) {
                free(*rv);
                *rv = NULL;
                return;
            }
            buf_consume(&b, len + 1);
        }
    }
}

/* Lists, then watches from there; lists again when the server has forgotten the place. Returns when the kubelet stops. */
static void watch_run(const struct watch *w) {
    struct kubelet *k = w->k;
    char *rv = NULL;
    while (!atomic_load(&k->stopping)) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        if (!rv) {
            struct object_list *list = arena_alloc(a, w->list_type->size);
            if (request(k, a, "GET", arena_printf(a, "%s?%s", w->path, w->query), NULL, NULL, w->list_type, list, &err) != 0) {
                log_debug("%s: %s", w->path, status_message(&err));
                kubelet_sleep_ms(k, RETRY_MS);
                continue;
            }
            rv = strdup(str_or(list->metadata.resourceVersion, "0"));
            w->on_list(k, list);
        }
        struct http_call call = {.target = arena_printf(a, "%s?%s&watch=true&allowWatchBookmarks=true&resourceVersion=%s", w->path, w->query, rv), .timeout_ms = CALL_TIMEOUT_MS,
            .cancel = &k->watch_cancel[w->type == &corev1_Node_desc]};
        struct http_reply *r = NULL;
        if (http_client_open(k->api, &call, &r, &err) == 0 && r->code == 200) watch_stream(w, r, &rv);
        else {
            if (r && r->code == 410) free(rv), rv = NULL;
            kubelet_sleep_ms(k, RETRY_MS);
        }
        http_reply_free(r);
    }
    free(rv);
}

static void pods_listed(struct kubelet *k, void *obj) {
    struct corev1_PodList *list = obj;
    struct pod **known = kubelet_pods(k);
    for (size_t i = 0; known[i]; i++) {
        bool there = known[i]->is_static;
        LIST_FOREACH(p, &list->items) there = there || str_eq(p->metadata.uid, known[i]->obj->metadata.uid);
        if (!there) kubelet_pod_removed(k, known[i]->obj->metadata.uid);
    }
    kubelet_pods_free(known);
    LIST_FOREACH(p, &list->items) kubelet_pod_set(k, p, false);
    pthread_mutex_lock(&k->mutex);
    k->pods_synced = true;
    pthread_mutex_unlock(&k->mutex);
}

static void pod_event(struct kubelet *k, const char *type, void *obj) {
    struct corev1_Pod *p = obj;
    if (str_eq(type, "DELETED")) kubelet_pod_removed(k, p->metadata.uid);
    else kubelet_pod_set(k, p, false);
}

void *api_watch_pods_thread(void *arg) {
    struct kubelet *k = arg;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *query = arena_printf(a, "fieldSelector=spec.nodeName%%3D%s", k->o.node_name);
    struct watch w = {k, "/api/v1/pods", query, &corev1_Pod_desc, &corev1_PodList_desc, pods_listed, pod_event};
    watch_run(&w);
    return NULL;
}

static void node_event(struct kubelet *k, const char *type, void *obj) {
    if (!str_eq(type, "DELETED")) node_seen(k, obj);
}

static void nodes_listed(struct kubelet *k, void *obj) {
    struct corev1_NodeList *list = obj;
    LIST_FOREACH(n, &list->items) node_seen(k, n);
}

void *api_watch_node_thread(void *arg) {
    struct kubelet *k = arg;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *query = arena_printf(a, "fieldSelector=metadata.name%%3D%s", k->o.node_name);
    struct watch w = {k, "/api/v1/nodes", query, &corev1_Node_desc, &corev1_NodeList_desc, nodes_listed, node_event};
    watch_run(&w);
    return NULL;
}
