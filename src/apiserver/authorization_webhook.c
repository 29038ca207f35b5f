#include "apiserver/authorization_webhook.h"
#include <stdio.h>
#include <string.h>
#include "base/metric_family.h"
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
    bool beta, deny_on_error;
    const struct authorization_conditions *conditions;
    char *name, *labels; /* labels: of its conditions' metrics */
};

/* ---- metrics ---- */

#define BOUNDS .bounds = {.001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1.024, 2.048, 4.096, 8.192, 16.384}
static struct metric_family evaluations = METRIC_FAMILY("apiserver_authorization_webhook_evaluations_total", "counter",
                                                        "[ALPHA] Round-trips to authorization webhooks."),
                            fail_open = METRIC_FAMILY("apiserver_authorization_webhook_evaluations_fail_open_total", "counter",
                                                      "[ALPHA] NoOpinion results due to webhook timeout or error."),
                            duration = {.name = "apiserver_authorization_webhook_duration_seconds", .kind = "histogram", .help = "[ALPHA] Request latency in seconds.", BOUNDS, .mutex = PTHREAD_MUTEX_INITIALIZER},
                            match_errors = METRIC_FAMILY("apiserver_authorization_match_condition_evaluation_errors_total", "counter",
                                                         "[ALPHA] Total number of errors when an authorization webhook encounters a match condition error split by authorizer type and name."),
                            match_exclusions = METRIC_FAMILY("apiserver_authorization_match_condition_exclusions_total", "counter",
                                                             "[ALPHA] Total number of exclusions when an authorization webhook is skipped because match conditions exclude it."),
                            match_seconds = {.name = "apiserver_authorization_match_condition_evaluation_seconds", .kind = "histogram",
                                .help = "[ALPHA] Authorization match condition evaluation time in seconds, split by authorizer type and name.", .bounds = {.001, .005, .01, .025, .1, .2, .25}, .mutex = PTHREAD_MUTEX_INITIALIZER};

void authorization_webhook_put_metrics(struct buf *out) {
    struct metric_family *all[] = {&evaluations, &fail_open, &duration, &match_errors, &match_exclusions, &match_seconds};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) metric_put(all[i], out);
}

static double seconds_since(int64_t begun_ns) { return (double)(env_mono_ns(env_real()) - begun_ns) / 1e9; }

static void record_ask(const struct authorization_webhook *w, struct arena *a, const struct status *err, int64_t begun_ns) {
    const char *result = !err->code ? "success" : err->code == 504 ? "timeout" : "error", *labels = arena_printf(a, "name=\"%s\",result=\"%s\"", w->name, result);
    metric_add(&evaluations, labels, 1);
    metric_observe(&duration, labels, seconds_since(begun_ns));
    if (err->code && !w->deny_on_error) metric_add(&fail_open, labels, 1);
}

struct authorization_webhook *authorization_webhook_new(const struct authorization_webhook_options *o, struct status *reterr) {
    const char *version = str_or(o->version, "v1beta1");
    if (!str_eq(version, "v1") && !str_eq(version, "v1beta1"))
        return status_bad_request(reterr, "unsupported webhook authorizer version \"%s\", supported versions are \"v1\", \"v1beta1\"", version), NULL;
    struct webhook_client *client = webhook_client_new(o->config_file, o->timeout_ms ? o->timeout_ms : TIMEOUT_MS, reterr);
    if (!client) return NULL;
    struct authorization_webhook *w = calloc(1, sizeof(*w));
    CHECK(w);
    *w = (struct authorization_webhook){.client = client, .answers = expiring_cache_new(CACHE_ENTRIES), .authorized_ttl_ns = o->authorized_ttl_ns, .unauthorized_ttl_ns = o->unauthorized_ttl_ns,
        .beta = str_eq(version, "v1beta1"), .deny_on_error = o->deny_on_error, .conditions = o->conditions, .name = strdup(str_or(o->name, "default"))};
    CHECK(asprintf(&w->labels, "name=\"%s\",type=\"Webhook\"", w->name) > 0);
    return w;
}

void authorization_webhook_free(struct authorization_webhook *w) {
    if (!w) return;
    webhook_client_free(w->client);
    expiring_cache_free(w->answers);
    free(w->name);
    free(w->labels);
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

/* Comparisons of labels are not for reviews: what is left out makes the question wider. */
static struct authorizationv1_LabelSelectorAttributes *label_requirements(struct arena *a, const struct selector *labels) {
    static const char *const operators[] = {[SELECT_IN] = "In", [SELECT_NOT_IN] = "NotIn", [SELECT_EXISTS] = "Exists", [SELECT_NOT_EXISTS] = "DoesNotExist", [SELECT_GT] = NULL, [SELECT_LT] = NULL};
    struct authorizationv1_LabelSelectorAttributes *out = ARENA_NEW(a, struct authorizationv1_LabelSelectorAttributes);
    for (size_t i = 0; labels && i < labels->len; i++) {
        const struct requirement *q = &labels->items[i];
        if (operators[q->op]) *LIST_PUSH(a, &out->requirements) = (struct metav1_LabelSelectorRequirement){.key = q->key, .operator = operators[q->op], .values = q->values};
    }
    return out->requirements.len ? out : NULL;
}

struct question { struct authorizationv1_SubjectAccessReviewSpec spec; struct authorizationv1_ResourceAttributes resource; struct authorizationv1_NonResourceAttributes path; };

static void fill_question(struct arena *a, const struct authz_attributes *at, struct question *q) {
    q->spec = (struct authorizationv1_SubjectAccessReviewSpec){.user = at->user->name, .uid = at->user->uid, .groups = at->user->groups, .extra = at->user->extra};
    q->resource = (struct authorizationv1_ResourceAttributes){.namespace = at->namespace, .verb = at->verb, .group = at->group, .version = at->version, .resource = at->resource, .subresource = at->subresource,
        .name = at->name, .fieldSelector = field_requirements(a, at->fields), .labelSelector = label_requirements(a, at->labels)};
    q->path = (struct authorizationv1_NonResourceAttributes){.path = at->path, .verb = at->verb};
    if (at->resource_request) q->spec.resourceAttributes = &q->resource;
    else q->spec.nonResourceAttributes = &q->path;
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
    for (size_t i = 0; at->labels && i < at->labels->len; i++) {
        n += length(at->labels->items[i].key);
        for (size_t k = 0; k < at->labels->items[i].values.len; k++) n += length(at->labels->items[i].values.items[k]);
    }
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

/* ---- conditions ---- */

/* The spec as expressions see it: with every string, also the empty ones. */
static yyjson_val *request_value(struct arena *a, const struct question *q) {
    _cleanup_buf_ struct buf spec = BUF_INIT;
    object_encode_json(&authorizationv1_SubjectAccessReviewSpec_desc, &q->spec, &spec);
    yyjson_mut_doc *doc = json_mut_new(a, yyjson_doc_get_root(json_parse_in(a, spec.data, spec.len, 0, NULL)));
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc), *resource = yyjson_mut_obj_get(root, "resourceAttributes"), *path = yyjson_mut_obj_get(root, "nonResourceAttributes");
    static const char *const own[] = {"user", "uid"}, *const resources[] = {"namespace", "verb", "group", "version", "resource", "subresource", "name"}, *const paths[] = {"path", "verb"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (!yyjson_mut_obj_get(root, own[i])) yyjson_mut_obj_add_str(doc, root, own[i], "");
    if (!yyjson_mut_obj_get(root, "groups")) yyjson_mut_obj_add_arr(doc, root, "groups");
    if (!yyjson_mut_obj_get(root, "extra")) yyjson_mut_obj_add_obj(doc, root, "extra");
    for (size_t i = 0; resource && i < ARRAY_LEN(resources); i++)
        if (!yyjson_mut_obj_get(resource, resources[i])) yyjson_mut_obj_add_str(doc, resource, resources[i], "");
    for (size_t i = 0; path && i < ARRAY_LEN(paths); i++)
        if (!yyjson_mut_obj_get(path, paths[i])) yyjson_mut_obj_add_str(doc, path, paths[i], "");
    return yyjson_doc_get_root(yyjson_mut_doc_imut_copy(doc, json_arena_alc(a)));
}

/* 1: it is to be asked; 0: not about this; -1: nobody can tell, with words. */
static int conditions_hold(const struct authorization_webhook *w, struct arena *a, const struct question *q, const char **ret_error) {
    const struct cel_binding bindings[] = {{"request", cel_from_json(a, request_value(a, q), NULL)}, {NULL, {0}}};
    const struct cel_activation act = {.bindings = bindings, .now_s = env_now_s(env_real())};
    const char *errors = NULL;
    for (size_t i = 0; i < w->conditions->len; i++) {
        uint64_t cost = 0;
        struct cel_value v = cel_eval(a, w->conditions->programs[i], &act, CEL_COST_PER_CALL, &cost);
        if (v.kind == CEL_BOOL && !v.b) return 0;
        if (v.kind == CEL_BOOL) continue;
        const char *why = v.kind == CEL_ERROR ? arena_printf(a, "cel evaluation error: expression '%s' resulted in error: %.*s", w->conditions->texts[i], (int)v.str.len, v.str.s)
                                              : arena_printf(a, "cel evaluation error: expression '%s' eval result type should be bool but got %s", w->conditions->texts[i], cel_value_type(&v));
        errors = errors ? arena_printf(a, "%s, %s", errors, why) : why;
    }
    *ret_error = errors;
    return errors ? -1 : 1;
}

static int check_conditions(const struct authorization_webhook *w, struct arena *a, const struct question *q, const char **ret_error) {
    if (!w->conditions) return 1;
    int64_t begun_ns = env_mono_ns(env_real());
    int hold = conditions_hold(w, a, q, ret_error);
    metric_observe(&match_seconds, w->labels, seconds_since(begun_ns));
    if (hold < 0) metric_add(&match_errors, w->labels, 1);
    if (hold == 0) metric_add(&match_exclusions, w->labels, 1);
    return hold;
}

/* ---- deciding ---- */

enum authz_decision authorization_webhook_decide(struct authorization_webhook *w, struct arena *a, const struct authz_attributes *at, const char **ret_reason, const char **ret_error) {
    _cleanup_buf_ struct buf spec = BUF_INIT, kept = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct authorizationv1_SubjectAccessReviewStatus s;
    struct question q;
    fill_question(a, at, &q);
    int hold = check_conditions(w, a, &q, ret_error);
    if (hold <= 0) return hold < 0 && w->deny_on_error ? AUTHZ_DENY : AUTHZ_NO_OPINION;
    object_encode_json(&authorizationv1_SubjectAccessReviewSpec_desc, &q.spec, &spec);
    bool known = expiring_cache_get(w->answers, buf_cstr(&spec), env_mono_ns(env_real()), &kept) && read_status(a, &kept, false, &s, NULL) == 0;
    if (!known) {
        int64_t begun_ns = env_mono_ns(env_real());
        int failed = ask(w, a, at, &spec, &s, &err);
        record_ask(w, a, &err, begun_ns);
        if (failed) {
            log_error("Failed to make webhook authorizer request: %s", status_message(&err));
            *ret_error = arena_strdup(a, status_message(&err));
            return w->deny_on_error ? AUTHZ_DENY : AUTHZ_NO_OPINION;
        }
    }
    if (ret_reason) *ret_reason = str_or(s.reason, "");
    if (s.denied && s.allowed) *ret_error = "webhook subject access review returned both allow and deny response";
    return s.denied ? AUTHZ_DENY : s.allowed ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}
