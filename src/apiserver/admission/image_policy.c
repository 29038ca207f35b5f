/* ImagePolicyWebhook: a server outside says whether the images of a Pod may run. Upstream: plugin/pkg/admission/imagepolicy.
 * Answers are kept for a while by what was asked. Tests: tests/integration/test_admission.py. */
#include <string.h>
#include "api/time.h"
#include "apiserver/admission/config.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/audit.h"
#include "apiserver/webhook_client.h"
#include "base/env.h"
#include "base/expiring_cache.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/json.h"

enum { TIMEOUT_MS = 30000, CACHE_ENTRIES = 1024 };
#define NS_PER_MS 1000000ll
#define NS_PER_S 1000000000ll
#define ANNOTATION_PART ".image-policy.k8s.io/"
#define AUDIT_PREFIX "imagepolicywebhook.image-policy.k8s.io/"

struct policy_webhook {
    struct webhook_client *client;
    struct expiring_cache *answers; /* the spec's JSON to the status's */
    int64_t allow_ttl_ns, deny_ttl_ns;
    bool default_allow;
};

/* ---- configuration ---- */

/* A number of units; 0 is the default, -1 nothing at all. */
static int read_duration(yyjson_val *v, int64_t unit_ns, int64_t min_ns, int64_t max_ns, int64_t default_ns, int64_t *ret, struct arena *a, struct status *reterr) {
    int64_t n = yyjson_get_sint(v);
    *ret = n == -1 ? 0 : default_ns;
    if (n == 0 || n == -1) return 0;
    if (n < INT64_MIN / unit_ns || n > INT64_MAX / unit_ns || n * unit_ns < min_ns || n * unit_ns > max_ns)
        return status_bad_request(reterr, "valid value is between %s and %s, got %s", duration_string(a, min_ns), duration_string(a, max_ns), duration_string(a, n > INT64_MAX / unit_ns || n < INT64_MIN / unit_ns ? n : n * unit_ns));
    *ret = n * unit_ns;
    return 0;
}

int image_policy_setup(const struct admission_setup *s, const char *text, size_t len, void **ret_state, struct status *reterr) {
    struct policy_webhook *w = ARENA_NEW(s->arena, struct policy_webhook);
    const char *file = NULL;
    int64_t backoff_ns; /* checked, though our client has a pause of its own */
    if (!text) return status_bad_request(reterr, "no config specified");
    yyjson_val *root = admission_config_parse(s->arena, text, len, NULL, NULL, reterr), *own = yyjson_obj_get(root, "imagePolicy");
    if (!root || read_duration(yyjson_obj_get(own, "retryBackoff"), NS_PER_MS, 1, 300 * NS_PER_S, 500 * NS_PER_MS, &backoff_ns, s->arena, reterr) != 0 ||
        read_duration(yyjson_obj_get(own, "allowTTL"), NS_PER_S, NS_PER_S, 1800 * NS_PER_S, 300 * NS_PER_S, &w->allow_ttl_ns, s->arena, reterr) != 0 ||
        read_duration(yyjson_obj_get(own, "denyTTL"), NS_PER_S, NS_PER_S, 1800 * NS_PER_S, 30 * NS_PER_S, &w->deny_ttl_ns, s->arena, reterr) != 0 ||
        admission_config_string(s->arena, own, "kubeConfigFile", &file, reterr) != 0) return -1;
    w->default_allow = yyjson_get_bool(yyjson_obj_get(own, "defaultAllow"));
    if (str_empty(file)) return status_bad_request(reterr, "invalid configuration: no configuration has been provided");
    w->client = webhook_client_new(file, TIMEOUT_MS, reterr);
    if (!w->client) return -1;
    w->answers = expiring_cache_new(CACHE_ENTRIES);
    *ret_state = w;
    return 0;
}

void image_policy_release(void *state) {
    struct policy_webhook *w = state;
    if (!w) return;
    webhook_client_free(w->client);
    expiring_cache_free(w->answers);
}

/* ---- asking ---- */

static void add_image(struct buf *out, const char *image, bool *first) {
    buf_append_str(out, *first ? "" : ",");
    *first = false;
    if (str_empty(image)) {
        buf_append_str(out, "{}");
        return;
    }
    buf_append_str(out, "{\"image\":");
    json_write_string(out, image);
    buf_append_char(out, '}');
}

static void write_spec(const struct admission_attributes *a, struct buf *out) {
    const struct corev1_Pod *pod = a->obj;
    bool first = true;
    buf_append_str(out, "{\"containers\":[");
    if (a->o->subresource)
        LIST_FOREACH(c, &pod->spec.ephemeralContainers) add_image(out, c->image, &first);
    else {
        LIST_FOREACH(c, &pod->spec.containers) add_image(out, c->image, &first);
        LIST_FOREACH(c, &pod->spec.initContainers) add_image(out, c->image, &first);
    }
    buf_append_char(out, ']');
    first = true;
    LIST_FOREACH(e, &pod->metadata.annotations) {
        if (!strstr(e->key, ANNOTATION_PART)) continue;
        buf_append_str(out, first ? ",\"annotations\":{" : ",");
        first = false;
        json_write_string(out, e->key);
        buf_append_char(out, ':');
        json_write_string(out, e->value);
    }
    if (!first) buf_append_char(out, '}');
    if (!str_empty(a->namespace)) {
        buf_append_str(out, ",\"namespace\":");
        json_write_string(out, a->namespace);
    }
    buf_append_char(out, '}');
}

/* The status of the answer, in the arena. */
static yyjson_val *ask(struct policy_webhook *w, struct arena *a, const struct buf *spec, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT, answer = BUF_INIT, kept = BUF_INIT;
    buf_printf(&body, "{\"kind\":\"ImageReview\",\"apiVersion\":\"imagepolicy.k8s.io/v1alpha1\",\"metadata\":{},\"spec\":%s,\"status\":{\"allowed\":false}}", spec->data);
    if (webhook_client_post(w->client, a, &body, &answer, reterr) != 0) return NULL;
    yyjson_doc *doc = json_parse_in(a, buf_cstr(&answer), answer.len, 0, reterr);
    if (!doc) return NULL;
    if (!yyjson_is_obj(yyjson_doc_get_root(doc))) return status_bad_request(reterr, "the answer is no ImageReview"), NULL;
    yyjson_val *status = yyjson_obj_get(yyjson_doc_get_root(doc), "status");
    int64_t ttl_ns = yyjson_get_bool(yyjson_obj_get(status, "allowed")) ? w->allow_ttl_ns : w->deny_ttl_ns;
    if (!status) return yyjson_doc_get_root(doc); /* nothing is allowed then */
    json_write_value(&kept, status);
    if (ttl_ns) expiring_cache_put(w->answers, spec->data, kept.data, kept.len, env_mono_ns(env_real()) + ttl_ns);
    return status;
}

static int unreachable(struct admission_attributes *a, const struct policy_webhook *w, const char *why, struct status *reterr) {
    log_debug("error contacting webhook backend: %s", why);
    if (!w->default_allow) return admission_forbid(a, why, reterr);
    if (a->r->audit) audit_annotate(a->r, AUDIT_PREFIX "failed-open", "true");
    string_map_set(a->r->arena, &((struct object *)a->obj)->metadata.annotations, "alpha.image-policy.k8s.io/failed-open", "true");
    admission_object_changed(a);
    return 0;
}

int image_policy(struct admission_attributes *a, void *state, struct status *reterr) {
    struct policy_webhook *w = state;
    _cleanup_buf_ struct buf spec = BUF_INIT, kept = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!str_empty(a->o->subresource) && !str_eq(a->o->subresource, "ephemeralcontainers")) return 0;
    write_spec(a, &spec);
    yyjson_doc *known = expiring_cache_get(w->answers, buf_cstr(&spec), env_mono_ns(env_real()), &kept) ? json_parse_in(a->r->arena, kept.data, kept.len, 0, NULL) : NULL;
    yyjson_val *status = known ? yyjson_doc_get_root(known) : ask(w, a->r->arena, &spec, &err), *key, *value;
    size_t i, max;
    if (!status) return unreachable(a, w, status_message(&err), reterr);
    yyjson_obj_foreach(yyjson_obj_get(status, "auditAnnotations"), i, max, key, value)
        if (a->r->audit && yyjson_is_str(value)) audit_annotate(a->r, arena_printf(a->r->arena, AUDIT_PREFIX "%s", yyjson_get_str(key)), yyjson_get_str(value));
    if (yyjson_get_bool(yyjson_obj_get(status, "allowed"))) return 0;
    const char *reason = yyjson_get_str(yyjson_obj_get(status, "reason"));
    if (str_empty(reason)) return admission_forbid(a, "one or more images rejected by webhook backend", reterr);
    return ADMISSION_FORBID(a, reterr, "image policy webhook backend denied one or more images: %s", reason);
}
