/* Mutating and validating webhooks. Upstream: pkg/admission/plugin/webhook. They are called one after another, those of a configuration in their order. */
#include <string.h>
#include "api/patch.h"
#include "apiserver/access_metrics.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "apiserver/dynamic_admission.h"
#include "apiserver/service_client.h"
#include "base/str.h"
#include "wire/json.h"

enum { TIMEOUT_S_DEFAULT = 10, AUDIT_UID_LEN = 37 };

/* What both kinds have. */
struct webhook {
    const char *configuration, *name, *failure_policy, *match_policy, *side_effects;
    const struct admissionregistrationv1_WebhookClientConfig *client;
    const struct admissionregistrationv1_RuleWithOperations_list *rules;
    const struct metav1_LabelSelector *namespaces, *objects;
    const struct admissionregistrationv1_MatchCondition_list *conditions;
    const struct string_list *versions;
    int timeout_s;
};

#define WEBHOOK(w) {.name = (w)->name, .failure_policy = (w)->failurePolicy, .match_policy = (w)->matchPolicy, .side_effects = (w)->sideEffects, .client = &(w)->clientConfig, .rules = &(w)->rules, .namespaces = (w)->namespaceSelector, \
                    .objects = (w)->objectSelector, .conditions = &(w)->matchConditions, .versions = &(w)->admissionReviewVersions, .timeout_s = (w)->timeoutSeconds.has ? (w)->timeoutSeconds.value : TIMEOUT_S_DEFAULT}

static bool ignores(const struct webhook *w) { return str_eq(w->failure_policy, "Ignore"); }

/* ---- whether it is called ---- */

static bool any_rule(const struct admission_attributes *a, const struct webhook *w) {
    LIST_FOREACH(r, w->rules) {
        const struct admission_rule rule = {NULL, &r->operations, &r->apiGroups, &r->apiVersions, &r->resources, r->scope};
        if (admission_rule_matches(a, &rule, !str_eq(w->match_policy, "Exact"))) return true;
    }
    return false;
}

/* 1 yes, 0 no, -1 an error. */
static int is_called(struct admission_attributes *a, const struct webhook *w, struct status *reterr) {
    bool match;
    const char *why = NULL;
    if (!any_rule(a, w)) return 0;
    if (admission_selectors_match(a, w->namespaces, w->objects, &match, reterr) != 0) return -1;
    if (!match) return 0;
    int hold = admission_conditions_hold(a, w->conditions, NULL, &why);
    if (hold >= 0) return hold;
    if (ignores(w)) return 0;
    return status_forbidden(reterr, a->st->group, a->st->resource, a->name, why);
}

/* ---- the review ---- */

static void put_raw(struct buf *out, const char *name, yyjson_val *v) {
    buf_printf(out, ",\"%s\":", name);
    if (v) json_write_value(out, v);
    else buf_append_str(out, "null");
}

static void put_options(struct admission_attributes *a, struct buf *out) {
    if (a->op == ADMIT_CONNECT) return; /* the options are its object */
    static const char *const kinds[] = {[ADMIT_CREATE] = "CreateOptions", [ADMIT_UPDATE] = "UpdateOptions", [ADMIT_DELETE] = "DeleteOptions"};
    buf_printf(out, ",\"options\":{\"kind\":\"%s\",\"apiVersion\":\"meta.k8s.io/v1\"%s", str_eq(a->r->verb, "patch") && a->op == ADMIT_UPDATE ? "PatchOptions" : kinds[a->op], a->o->dry_run ? ",\"dryRun\":[\"All\"]" : "");
    if (!str_empty(a->o->field_manager)) {
        buf_append_str(out, ",\"fieldManager\":");
        json_write_string(out, a->o->field_manager);
    }
    buf_append_char(out, '}');
}

static void put_review(struct admission_attributes *a, const char *uid, const char *version, struct buf *out) {
    struct admissionv1_AdmissionRequest req = {.uid = uid, .kind = {.group = a->st->type->group, .version = a->st->type->version, .kind = a->st->type->kind}, .resource = {.group = a->st->group, .version = a->st->version, .resource = a->st->resource},
        .subResource = a->o->subresource, .name = a->name, .namespace = a->namespace, .operation = admission_operation_name(a), .dryRun = {true, a->o->dry_run}};
    struct metav1_GroupVersionKind kind = req.kind;
    struct metav1_GroupVersionResource resource = req.resource;
    req.requestKind = &kind;
    req.requestResource = &resource;
    req.requestSubResource = a->o->subresource;
    req.userInfo = (struct authenticationv1_UserInfo){.username = a->r->user.name, .uid = a->r->user.uid, .groups = a->r->user.groups, .extra = a->r->user.extra};
    struct buf body = BUF_INIT;
    object_encode_json(&admissionv1_AdmissionRequest_desc, &req, &body);
    /* The objects' places are null in it: they are put in as they are, not through another copy. */
    buf_printf(out, "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/%s\",\"request\":", version);
    yyjson_doc *doc = json_parse_in(a->r->arena, body.data, body.len, 0, NULL);
    yyjson_mut_doc *copy = json_mut_new(a->r->arena, yyjson_doc_get_root(doc));
    static const char *const own[] = {"object", "oldObject", "options"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) yyjson_mut_obj_remove_key(yyjson_mut_doc_get_root(copy), own[i]);
    json_write_mut(out, yyjson_mut_doc_get_root(copy));
    out->len--; /* the brace */
    put_raw(out, "object", admission_object(a));
    put_raw(out, "oldObject", admission_old_object(a));
    put_options(a, out);
    buf_append_str(out, "}}");
    buf_release(&body);
}

/* ---- the call ---- */

static int locate(struct admission_attributes *a, const struct webhook *w, struct service_target *t, struct status *reterr) {
    const struct admissionregistrationv1_ServiceReference *s = w->client->service;
    if (w->client->url) return service_of_url(a->r, w->client->url, t, reterr);
    if (!s) return status_bad_request(reterr, "webhook must define either URL or Service");
    if (service_resolve(a->r, s->namespace, s->name, s->port.has ? s->port.value : 443, t, reterr) != 0) return -1;
    if (s->path) t->path = s->path;
    return 0;
}

static const char *review_version(const struct webhook *w) {
    for (size_t i = 0; i < w->versions->len; i++)
        if (str_eq(w->versions->items[i], "v1") || str_eq(w->versions->items[i], "v1beta1")) return w->versions->items[i];
    return NULL;
}

static int read_answer(struct admission_attributes *a, const char *uid, const char *version, const struct buf *text, struct admissionv1_AdmissionResponse **ret, struct status *reterr) {
    yyjson_doc *doc = json_parse_in(a->r->arena, buf_cstr(text), text->len, 0, reterr);
    if (!doc) return -1;
    yyjson_val *root = yyjson_doc_get_root(doc), *response = yyjson_obj_get(root, "response");
    const char *want = arena_printf(a->r->arena, "admission.k8s.io/%s", version), *got = yyjson_get_str(yyjson_obj_get(root, "apiVersion"));
    if (str_eq(version, "v1") && (!str_eq(got, want) || !str_eq(yyjson_get_str(yyjson_obj_get(root, "kind")), "AdmissionReview")))
        return status_internal(reterr, "expected webhook response of %s, Kind=AdmissionReview, got %s, Kind=%s", want, str_or(got, ""), str_or(yyjson_get_str(yyjson_obj_get(root, "kind")), ""));
    if (!yyjson_is_obj(response)) return status_internal(reterr, "webhook response was absent");
    *ret = ARENA_NEW(a->r->arena, struct admissionv1_AdmissionResponse);
    if (object_decode_value(a->r->arena, &admissionv1_AdmissionResponse_desc, *ret, response, NULL, reterr) != 0) return -1;
    if (str_eq(version, "v1") && !str_eq((*ret)->uid, uid)) return status_internal(reterr, "expected response.uid=\"%s\", got \"%s\"", uid, str_or((*ret)->uid, ""));
    if ((*ret)->patch.len && !str_eq((*ret)->patchType, "JSONPatch")) return status_internal(reterr, "unsupported patch type \"%s\"", str_or((*ret)->patchType, ""));
    return 0;
}

static int call(struct admission_attributes *a, const struct webhook *w, struct admissionv1_AdmissionResponse **ret, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT, answer = BUF_INIT;
    struct service_target t;
    char uid[AUDIT_UID_LEN];
    const char *version = review_version(w);
    if (!version) return status_internal(reterr, "webhook does not accept known AdmissionReview versions (v1, v1beta1)");
    env_uuid(apiserver_env(a->r->server), uid);
    put_review(a, uid, version, &body);
    if (locate(a, w, &t, reterr) != 0 || service_post(a->r, &t, &w->client->caBundle, arena_printf(a->r->arena, "timeout=%ds", w->timeout_s), &body, w->timeout_s * 1000, &answer, reterr) != 0) {
        const char *why = arena_strdup(a->r->arena, status_message(reterr)), *url = w->client->url ? w->client->url : arena_printf(a->r->arena, "https://%s.%s.svc:%d%s", w->client->service ? w->client->service->name : "",
            w->client->service ? w->client->service->namespace : "", w->client->service && w->client->service->port.has ? w->client->service->port.value : 443, w->client->service ? str_or(w->client->service->path, "") : "");
        return status_internal(reterr, "failed to call webhook: Post \"%s?timeout=%ds\": %s", url, w->timeout_s, why);
    }
    return read_answer(a, uid, version, &answer, ret, reterr);
}

static int denied(struct admission_attributes *a, const struct webhook *w, const struct metav1_Status *s, struct status *reterr) {
    const char *by = arena_printf(a->r->arena, "admission webhook \"%s\" denied the request", w->name);
    int code = s && s->code >= 400 ? s->code : 400;
    const char *reason = s && !str_empty(s->reason) ? s->reason : NULL;
    if (s && !str_empty(s->message)) status_set(reterr, code, reason, "%s: %s", by, s->message);
    else if (reason) status_set(reterr, code, reason, "%s: %s", by, reason);
    else status_set(reterr, code, reason, "%s without explanation", by);
    if (reterr && s && s->details) {
        status_details(reterr, s->details->group, s->details->kind, s->details->name);
        LIST_FOREACH(c, &s->details->causes) status_add_cause(reterr, c->reason, c->field, "%s", str_or(c->message, ""));
    }
    return -1;
}

/* 0 with *ret NULL: its failure is ignored. */
static int consult_uncounted(struct admission_attributes *a, const struct webhook *w, const char *failed_open_key, struct webhook_outcome *outcome, struct admissionv1_AdmissionResponse **ret, struct status *reterr) {
    struct status err = STATUS_INIT;
    *ret = NULL;
    outcome->error = "apiserver_internal_error";
    if (a->o->dry_run && !str_eq(w->side_effects, "None") && !str_eq(w->side_effects, "NoneOnDryRun")) return status_bad_request(reterr, "admission webhook \"%s\" does not support dry run", w->name);
    if (call(a, w, ret, &err) != 0) {
        const char *why = arena_strdup(a->r->arena, str_has_prefix(status_message(&err), "Internal error occurred: ") ? status_message(&err) + strlen("Internal error occurred: ") : status_message(&err));
        status_release(&err);
        *ret = NULL;
        outcome->error = "calling_webhook_error";
        outcome->code = 503; /* what upstream makes of a call without an answer */
        outcome->failed_open = ignores(w);
        if (ignores(w)) {
            admission_annotate(a, failed_open_key, w->name);
            return 0;
        }
        status_internal(reterr, "failed calling webhook \"%s\": %s", w->name, why);
        if (reterr) status_add_cause(reterr, NULL, NULL, "failed calling webhook \"%s\": %s", w->name, why);
        return -1;
    }
    LIST_FOREACH(e, &(*ret)->auditAnnotations) admission_annotate(a, arena_printf(a->r->arena, "%s/%s", w->name, e->key), e->value);
    for (size_t i = 0; i < (*ret)->warnings.len; i++) request_warn(a->r, "%s", (*ret)->warnings.items[i]);
    if ((*ret)->allowed) {
        outcome->code = 200;
        return 0;
    }
    const struct metav1_Status *s = (*ret)->status;
    outcome->error = "no_error";
    outcome->code = s && s->code >= 400 ? s->code : 400;
    return denied(a, w, s, reterr);
}

static int consult(struct admission_attributes *a, const struct webhook *w, bool validating, const char *failed_open_key, struct admissionv1_AdmissionResponse **ret, struct status *reterr) {
    struct webhook_outcome outcome = {.name = w->name, .operation = admission_operation_name(a), .validating = validating};
    int64_t begun = env_mono_ns(env_real());
    int failed = consult_uncounted(a, w, failed_open_key, &outcome, ret, reterr);
    outcome.rejected = failed != 0;
    metrics_webhook(&outcome, env_mono_ns(env_real()) - begun);
    return failed;
}

/* ---- mutating ---- */

static int apply_patch(struct admission_attributes *a, const struct webhook *w, const struct bytes *patch, struct status *reterr) {
    struct arena *arena = a->r->arena;
    yyjson_doc *body = json_parse_in(arena, (const char *)patch->data, patch->len, 0, reterr);
    yyjson_mut_doc *doc = json_mut_new(arena, admission_object(a));
    if (body && json_patch_apply(arena, doc, yyjson_doc_get_root(body), reterr) == 0 && admission_replace_object(a, doc, reterr) == 0) return 0;
    const char *why = arena_strdup(arena, status_message(reterr));
    return status_internal(reterr, "admission webhook \"%s\" attempted to modify the object, which is not supported for this operation: %s", w->name, why);
}

/* A line of the audit log on what it changed. */
static void annotate_mutation(struct admission_attributes *a, const struct webhook *w, size_t index, bool changed, const struct bytes *patch) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (!a->r->audit) return;
    buf_append_str(&text, "{\"configuration\":");
    json_write_string(&text, w->configuration);
    buf_append_str(&text, ",\"webhook\":");
    json_write_string(&text, w->name);
    size_t common = text.len;
    buf_printf(&text, ",\"mutated\":%s}", changed ? "true" : "false");
    admission_annotate(a, arena_printf(a->r->arena, "mutation.webhook.admission.k8s.io/round_%d_index_%zu", a->round, index), arena_strdup(a->r->arena, buf_cstr(&text)));
    if (!patch || !audit_keeps(a->r, AUDIT_REQUEST)) return;
    text.len = common;
    buf_printf(&text, ",\"patch\":%.*s,\"patchType\":\"JSONPatch\"}", (int)patch->len, (const char *)patch->data);
    admission_annotate(a, arena_printf(a->r->arena, "patch.webhook.admission.k8s.io/round_%d_index_%zu", a->round, index), arena_strdup(a->r->arena, buf_cstr(&text)));
}

static int mutate_once(struct admission_attributes *a, const struct webhook *w, size_t index, bool *changed, struct status *reterr) {
    struct admissionv1_AdmissionResponse *answer = NULL;
    bool patched = false;
    *changed = false;
    int failed = consult(a, w, false, arena_printf(a->r->arena, "failed-open.mutation.webhook.admission.k8s.io/round_%d_index_%zu", a->round, index), &answer, reterr);
    if (!failed && answer && answer->patch.len && a->obj) {
        yyjson_val *before = admission_object(a);
        failed = apply_patch(a, w, &answer->patch, reterr);
        patched = !failed;
        *changed = patched && !json_equal(before, admission_object(a));
    }
    annotate_mutation(a, w, index, *changed, patched ? &answer->patch : NULL);
    return failed;
}

static int mutate_all(struct admission_attributes *a, struct status *reterr) {
    const struct registered_objects *all = registered_of(a->registered, MUTATING_WEBHOOKS);
    size_t index = 0;
    admission_reinvocation_begin(a, &a->webhooks);
    for (size_t i = 0; i < all->len; i++) {
        const struct admissionregistrationv1_MutatingWebhookConfiguration *c = all->items[i];
        LIST_FOREACH(w, &c->webhooks) {
            struct webhook h = WEBHOOK(w);
            const char *name = arena_printf(a->r->arena, "%s/%s", c->metadata.name, h.name);
            bool changed;
            h.configuration = c->metadata.name;
            int called = is_called(a, &h, reterr);
            if (called < 0) return -1;
            if (called && !admission_reinvocation_skips(a, &a->webhooks, name)) {
                int failed = mutate_once(a, &h, index, &changed, reterr);
                admission_reinvocation_done(a, &a->webhooks, name, changed, str_eq(w->reinvocationPolicy, "IfNeeded"));
                if (failed) return -1;
            }
            index++;
        }
    }
    if (a->webhooks.invoked.len) a->webhooks.last = admission_object(a);
    return 0;
}

int mutating_webhooks(struct admission_attributes *a, void *state, struct status *reterr) {
    if (admission_is_exempt(a) || !(a->registered = registrations_get(state, MUTATING_WEBHOOKS))) return 0;
    int result = mutate_all(a, reterr);
    registered_put(a->registered);
    a->registered = NULL;
    return result;
}

/* ---- validating ---- */

static int validate_all(struct admission_attributes *a, struct status *reterr) {
    const struct registered_objects *all = registered_of(a->registered, VALIDATING_WEBHOOKS);
    struct admissionv1_AdmissionResponse *answer;
    size_t index = 0;
    for (size_t i = 0; i < all->len; i++)
        LIST_FOREACH(w, &((struct admissionregistrationv1_ValidatingWebhookConfiguration *)all->items[i])->webhooks) {
            const struct webhook h = WEBHOOK(w);
            int called = is_called(a, &h, reterr);
            if (called < 0 || (called && consult(a, &h, true, arena_printf(a->r->arena, "failed-open.validating.webhook.admission.k8s.io/round_0_index_%zu", index), &answer, reterr) != 0)) return -1;
            index++;
        }
    return 0;
}

int validating_webhooks(struct admission_attributes *a, void *state, struct status *reterr) {
    if (admission_is_exempt(a) || !(a->registered = registrations_get(state, VALIDATING_WEBHOOKS))) return 0;
    int result = validate_all(a, reterr);
    registered_put(a->registered);
    a->registered = NULL;
    return result;
}
