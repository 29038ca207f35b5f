#include "apiserver/authorization_webhook.h"
#include <string.h>
#include "apiserver/webhook_client.h"
#include "base/env.h"
#include "base/expiring_cache.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/json.h"

enum { TIMEOUT_MS = 30000, CACHE_ENTRIES = 8192, CACHED_ATTRIBUTES_BYTES_MAX = 10000 };

struct authorization_webhook {
    struct webhook_client *client;
    struct expiring_cache *answers; /* the spec's JSON to the status's */
    int64_t authorized_ttl_ns, unauthorized_ttl_ns;
    bool beta;
};

struct authorization_webhook *authorization_webhook_new(const struct authorization_webhook_options *o, struct status *reterr) {
    const char *version = str_or(o->version, "v1beta1");
    if (!str_eq(version, "v1") && !str_eq(version, "v1beta1"))
        return status_bad_request(reterr, "unsupported webhook authorizer version \"%s\", supported versions are \"v1\", \"v1beta1\"", version), NULL;
    struct webhook_client *client = webhook_client_new(o->config_file, TIMEOUT_MS, reterr);
    if (!client) return NULL;
    struct authorization_webhook *w = calloc(1, sizeof(*w));
    CHECK(w);
    *w = (struct authorization_webhook){client, expiring_cache_new(CACHE_ENTRIES), o->authorized_ttl_ns, o->unauthorized_ttl_ns, str_eq(version, "v1beta1")};
    return w;
}

void authorization_webhook_free(struct authorization_webhook *w) {
    if (!w) return;
    webhook_client_free(w->client);
    expiring_cache_free(w->answers);
    free(w);
}

/* ---- the question ---- */

static struct authorizationv1_FieldSelectorAttributes *field_requirements(struct arena *a, const struct field_selector *fields) {
    if (!fields || !fields->len) return NULL;
    struct authorizationv1_FieldSelectorAttributes *out = ARENA_NEW(a, struct authorizationv1_FieldSelectorAttributes);
    for (size_t i = 0; i < fields->len; i++) {
        struct metav1_FieldSelectorRequirement *q = LIST_PUSH(a, &out->requirements);
        *q = (struct metav1_FieldSelectorRequirement){.key = fields->items[i].field, .operator = fields->items[i].negated ? "NotIn" : "In"};
        string_list_push(a, &q->values, str_or(fields->items[i].value, ""));
    }
    return out;
}

static void write_spec(struct arena *a, const struct authz_attributes *at, struct buf *out) {
    struct authorizationv1_SubjectAccessReviewSpec spec = {.user = at->user->name, .uid = at->user->uid, .groups = at->user->groups, .extra = at->user->extra};
    struct authorizationv1_ResourceAttributes resource = {.namespace = at->namespace, .verb = at->verb, .group = at->group, .version = at->version, .resource = at->resource, .subresource = at->subresource,
        .name = at->name, .fieldSelector = field_requirements(a, at->fields)};
    struct authorizationv1_NonResourceAttributes path = {.path = at->path, .verb = at->verb};
    if (at->resource_request) spec.resourceAttributes = &resource;
    else spec.nonResourceAttributes = &path;
    object_encode_json(&authorizationv1_SubjectAccessReviewSpec_desc, &spec, out);
}

/* v1beta1 says "group" where v1 says "groups". */
static void write_review(const struct authorization_webhook *w, struct arena *a, const struct buf *spec, struct buf *out) {
    buf_printf(out, "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/%s\",\"metadata\":{},\"spec\":", w->beta ? "v1beta1" : "v1");
    if (w->beta) {
        yyjson_mut_doc *doc = json_mut_new(a, yyjson_doc_get_root(json_parse_in(a, spec->data, spec->len, 0, NULL)));
        yyjson_mut_obj_rename_key(doc, yyjson_mut_doc_get_root(doc), "groups", "group");
        json_write_mut(out, yyjson_mut_doc_get_root(doc));
    } else buf_append(out, spec->data, spec->len);
    buf_append_str(out, ",\"status\":{\"allowed\":false}}");
}

static size_t length(const char *s) { return s ? strlen(s) : 0; }

/* What the asker controls could be made to fill the memory. */
static bool is_short(const struct authz_attributes *at) {
    size_t n = length(at->namespace) + length(at->verb) + length(at->group) + length(at->version) + length(at->resource) + length(at->subresource) + length(at->name) + length(at->path);
    for (size_t i = 0; at->fields && i < at->fields->len; i++) n += length(at->fields->items[i].field) + length(at->fields->items[i].value);
    return n < CACHED_ATTRIBUTES_BYTES_MAX;
}

/* ---- the answer ---- */

static int read_status(struct arena *a, const struct buf *text, bool whole, struct authorizationv1_SubjectAccessReviewStatus *ret, struct status *reterr) {
    yyjson_doc *doc = json_parse_in(a, text->data ? text->data : "", text->len, 0, reterr);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL, *status = whole ? yyjson_obj_get(root, "status") : root;
    *ret = (struct authorizationv1_SubjectAccessReviewStatus){0};
    if (!doc) return -1;
    if (!yyjson_is_obj(root)) return status_bad_request(reterr, "the answer is no SubjectAccessReview");
    return status ? object_decode_value(a, &authorizationv1_SubjectAccessReviewStatus_desc, ret, status, NULL, reterr) : 0;
}

static int ask(struct authorization_webhook *w, struct arena *a, const struct authz_attributes *at, const struct buf *spec, struct authorizationv1_SubjectAccessReviewStatus *ret, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT, answer = BUF_INIT, kept = BUF_INIT;
    write_review(w, a, spec, &body);
    if (webhook_client_post(w->client, a, &body, &answer, reterr) != 0 || read_status(a, &answer, true, ret, reterr) != 0) return -1;
    int64_t ttl_ns = ret->allowed ? w->authorized_ttl_ns : w->unauthorized_ttl_ns;
    if (!ttl_ns || !is_short(at)) return 0;
    object_encode_json(&authorizationv1_SubjectAccessReviewStatus_desc, ret, &kept);
    expiring_cache_put(w->answers, spec->data, kept.data, kept.len, env_mono_ns(env_real()) + ttl_ns);
    return 0;
}

enum authz_decision authorization_webhook_decide(struct authorization_webhook *w, struct arena *a, const struct authz_attributes *at, const char **ret_reason, const char **ret_error) {
    _cleanup_buf_ struct buf spec = BUF_INIT, kept = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct authorizationv1_SubjectAccessReviewStatus s;
    write_spec(a, at, &spec);
    bool known = expiring_cache_get(w->answers, buf_cstr(&spec), env_mono_ns(env_real()), &kept) && read_status(a, &kept, false, &s, NULL) == 0;
    if (!known && ask(w, a, at, &spec, &s, &err) != 0) {
        log_error("Failed to make webhook authorizer request: %s", status_message(&err));
        *ret_error = arena_strdup(a, status_message(&err));
        return AUTHZ_NO_OPINION;
    }
    if (ret_reason) *ret_reason = str_or(s.reason, "");
    if (s.denied && s.allowed) *ret_error = "webhook subject access review returned both allow and deny response";
    return s.denied ? AUTHZ_DENY : s.allowed ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}
