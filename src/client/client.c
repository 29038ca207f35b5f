/* Typed calls to the API: see client.h. */
#include "client/client.h"
#include "base/str.h"
#include "wire/http_types.h"
#include "wire/json.h"

enum { CALL_TIMEOUT_MS = 34000 }; /* the server's own limit for a request is 60 s; a component that waits that long has long been replaced */

struct client { struct transport *transport; int timeout_ms; };

struct client *client_new(struct transport *t) {
    struct client *c = calloc(1, sizeof(*c));
    CHECK(c && t);
    c->transport = t;
    c->timeout_ms = CALL_TIMEOUT_MS;
    return c;
}

void client_free(struct client *c) {
    if (!c) return;
    transport_free(c->transport);
    free(c);
}

struct transport *client_transport(struct client *c) { return c->transport; }

void client_set_timeout(struct client *c, int ms) { c->timeout_ms = ms; }

/* ---- answers ---- */

/* Reasons live forever in a status, so those from the wire are mapped to ours. */
static const char *reason_known(const char *reason) {
    static const char *const known[] = {REASON_UNAUTHORIZED, REASON_FORBIDDEN, REASON_NOT_FOUND, REASON_ALREADY_EXISTS, REASON_CONFLICT, REASON_GONE, REASON_EXPIRED, REASON_INVALID,
        REASON_SERVER_TIMEOUT, REASON_TIMEOUT, REASON_TOO_MANY_REQUESTS, REASON_BAD_REQUEST, REASON_SERVICE_UNAVAILABLE, REASON_INTERNAL_ERROR};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_eq(reason, known[i])) return known[i];
    return NULL;
}

int client_status(int code, const char *body, size_t len, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct metav1_Status s = {0};
    if (!len || object_decode_json(a, &metav1_Status_desc, &s, body, len, NULL, NULL) != 0) s = (struct metav1_Status){0};
    status_set(reterr, code, reason_known(s.reason), "%s", str_or(s.message, http_code_text(code)));
    if (!reterr || !s.details) return -1;
    status_details(reterr, s.details->group, s.details->kind, s.details->name);
    reterr->retry_after_seconds = s.details->retryAfterSeconds;
    LIST_FOREACH(cause, &s.details->causes) status_add_cause(reterr, cause->reason, cause->field, "%s", str_or(cause->message, ""));
    return -1;
}

static int call(struct client *c, const struct transport_call *call, struct buf *ret, struct status *reterr) {
    int code;
    if (c->transport->call(c->transport, call, &code, ret, reterr) != 0) return -1;
    return code >= 200 && code <= 299 ? 0 : client_status(code, buf_cstr(ret), ret->len, reterr);
}

/* Sends a body of one type and decodes the answer as another, unless ret is NULL. */
static int exchange(struct client *c, struct arena *a, const char *method, const char *target, const char *content_type, const struct buf *body, const struct type_desc *type,
                    void *ret, struct status *reterr) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    struct transport_call tc = {.method = method, .target = target, .content_type = content_type, .timeout_ms = c->timeout_ms};
    if (body) {
        tc.body = buf_cstr(body);
        tc.body_len = body->len;
    }
    if (call(c, &tc, &answer, reterr) != 0) return -1;
    if (!ret) return 0;
    memset(ret, 0, type->size);
    return object_decode_json(a, type, ret, buf_cstr(&answer), answer.len, NULL, reterr);
}

/* ---- paths ---- */

char *client_path(struct arena *a, const struct resource_desc *r, const char *ns, const char *name, const char *subresource) {
    bool in_ns = r->namespaced && !str_empty(ns);
    return arena_printf(a, "%s%s/%s%s%s/%s%s%s%s%s", str_empty(r->group) ? "/api" : "/apis/", str_or(r->group, ""), r->version, in_ns ? "/namespaces/" : "", in_ns ? ns : "", r->resource,
                        name ? "/" : "", str_or(name, ""), subresource ? "/" : "", str_or(subresource, ""));
}

static const struct resource_desc *resource_of(const struct type_desc *type) {
    const struct resource_desc *r = api_resource_of_type(type);
    CHECK(r); /* the caller named a type that is no resource */
    return r;
}

static const char *with_query(struct arena *a, const char *path, const char *query) { return str_empty(query) ? path : arena_printf(a, "%s?%s", path, query); }

/* ---- verbs ---- */

int client_get(struct client *c, struct arena *a, const struct type_desc *type, const char *ns, const char *name, void *ret, struct status *reterr) {
    return exchange(c, a, "GET", client_path(a, resource_of(type), ns, name, NULL), NULL, NULL, type, ret, reterr);
}

int client_list(struct client *c, struct arena *a, const struct type_desc *type, const char *ns, const char *query, void *ret, struct status *reterr) {
    const struct resource_desc *r = resource_of(type);
    return exchange(c, a, "GET", with_query(a, client_path(a, r, ns, NULL, NULL), query), NULL, NULL, r->list_type, ret, reterr);
}

/* kind and apiVersion may be missing in obj: objects from lists have none. */
static void encode(struct arena *a, const struct type_desc *type, const void *obj, struct buf *out) {
    const struct object *o = obj;
    if (!type->kind || !str_empty(o->kind)) {
        object_encode_json(type, obj, out);
        return;
    }
    void *copy = arena_memdup(a, obj, type->size);
    object_set_type_meta(a, type, copy);
    object_encode_json(type, copy, out);
}

int client_create(struct client *c, struct arena *a, const struct type_desc *type, const void *obj, void *ret, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    encode(a, type, obj, &body);
    return exchange(c, a, "POST", client_path(a, resource_of(type), ((const struct object *)obj)->metadata.namespace, NULL, NULL), NULL, &body, type, ret, reterr);
}

int client_update_subresource(struct client *c, struct arena *a, const struct type_desc *type, const void *obj, const char *subresource, void *ret, struct status *reterr) {
    const struct object *o = obj;
    _cleanup_buf_ struct buf body = BUF_INIT;
    encode(a, type, obj, &body);
    return exchange(c, a, "PUT", client_path(a, resource_of(type), o->metadata.namespace, o->metadata.name, subresource), NULL, &body, type, ret, reterr);
}

int client_update(struct client *c, struct arena *a, const struct type_desc *type, const void *obj, void *ret, struct status *reterr) {
    return client_update_subresource(c, a, type, obj, NULL, ret, reterr);
}

int client_patch(struct client *c, struct arena *a, const struct type_desc *type, const char *ns, const char *name, const char *subresource, const char *patch_type,
                 const char *patch, void *ret, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    buf_append_str(&body, patch);
    return exchange(c, a, "PATCH", client_path(a, resource_of(type), ns, name, subresource), patch_type, &body, type, ret, reterr);
}

static int delete_at(struct client *c, struct arena *a, const char *target, const struct metav1_DeleteOptions *options, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    if (options) encode(a, &metav1_DeleteOptions_desc, options, &body);
    return exchange(c, a, "DELETE", target, NULL, options ? &body : NULL, NULL, NULL, reterr);
}

int client_delete(struct client *c, const struct type_desc *type, const char *ns, const char *name, const struct metav1_DeleteOptions *options, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    return delete_at(c, a, client_path(a, resource_of(type), ns, name, NULL), options, reterr);
}

int client_delete_collection(struct client *c, const struct type_desc *type, const char *ns, const char *query, const struct metav1_DeleteOptions *options, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    return delete_at(c, a, with_query(a, client_path(a, resource_of(type), ns, NULL, NULL), query), options, reterr);
}

int client_create_subresource(struct client *c, struct arena *a, const struct type_desc *type, const char *ns, const char *name, const char *subresource,
                              const struct type_desc *body_type, const void *body, void *ret, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    encode(a, body_type, body, &text);
    return exchange(c, a, "POST", client_path(a, resource_of(type), ns, name, subresource), NULL, &text, body_type, ret, reterr);
}

int client_raw(struct client *c, const char *method, const char *target, const char *content_type, const char *body, size_t body_len, struct buf *ret, struct status *reterr) {
    struct transport_call tc = {.method = method, .target = target, .content_type = content_type, .body = body, .body_len = body_len, .timeout_ms = c->timeout_ms};
    return call(c, &tc, ret, reterr);
}

struct metav1_DeleteOptions *client_delete_options(struct arena *a, const char *uid, const char *propagation) {
    struct metav1_DeleteOptions *o = object_new(a, &metav1_DeleteOptions_desc);
    if (uid) {
        o->preconditions = ARENA_NEW(a, struct metav1_Preconditions);
        o->preconditions->uid = uid;
    }
    o->propagationPolicy = propagation;
    return o;
}
