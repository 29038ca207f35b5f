/* Tokens in Secrets that were made for a ServiceAccount without being asked for (by clusters before 1.24) are marked as invalid when they were not used for a year, and deleted
 * after another. Upstream: pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go.
 *
 * Once a day. What counts is the day: of the label that the apiserver writes on use, and of the ConfigMap that says since when it does. Tests: tests/unit/test_legacy_tokens.c. */
#include "api/pod_references.h"
#include "api/time.h"
#include "base/log.h"
#include "base/str.h"
#include "controller/controllers.h"
#include "wire/json.h"

#define LAST_USED "kubernetes.io/legacy-token-last-used"
#define INVALID_SINCE "kubernetes.io/legacy-token-invalid-since"
#define NAME_ANNOTATION "kubernetes.io/service-account.name"
#define UID_ANNOTATION "kubernetes.io/service-account.uid"
enum { INTERVAL_MS = 86400000, DAY_S = 86400 };

struct cleaner { struct controller *c; struct client *reader; struct informer *accounts, *pods; };

/* A pass: what is older than this was not used for long enough. */
struct pass { struct cleaner *cl; struct arena *a; int64_t now_s, before_s; const char *before_day; };

/* The end of the day on which tracking began, -1: not known. */
static int64_t tracked_since(struct cleaner *cl, struct arena *a) {
    struct corev1_ConfigMap cm;
    _cleanup_status_ struct status err = STATUS_INIT;
    int64_t since;
    if (client_get(cl->c->client, a, &corev1_ConfigMap_desc, "kube-system", "kube-apiserver-legacy-service-account-token-tracking", &cm, &err) != 0) {
        log_error("getting latest possible tracked_since time: %s", status_message(&err));
        return -1;
    }
    return date_parse(string_map_get(&cm.data, "since"), &since) ? since + DAY_S : -1;
}

/* Its ServiceAccount lists it: it was made without being asked for. */
static bool was_generated(struct cleaner *cl, const struct corev1_Secret *s) {
    const char *uid = string_map_get(&s->metadata.annotations, UID_ANNOTATION), *name = string_map_get(&s->metadata.annotations, NAME_ANNOTATION);
    _cleanup_cached_ struct cached *cached = str_empty(name) ? NULL : informer_get(cl->accounts, s->metadata.namespace, name);
    if (!cached || (!str_empty(uid) && !str_eq(uid, cached->obj->metadata.uid))) return false;
    LIST_FOREACH(ref, &CACHED(cached, corev1_ServiceAccount)->secrets)
        if (str_eq(ref->name, s->metadata.name)) return true;
    return false;
}

struct search { const char *name; bool found; };

static void is_it(void *arg, enum reference_kind kind, const char *ns UNUSED, const char *name) {
    struct search *s = arg;
    s->found |= kind == REFERENCE_SECRET && str_eq(name, s->name);
}

static bool is_mounted(struct cleaner *cl, const struct corev1_Secret *s) {
    _cleanup_cached_list_ struct cached_list pods = {0};
    struct search search = {s->metadata.name, false};
    informer_list(cl->pods, s->metadata.namespace, &pods);
    CACHED_FOREACH(pod, corev1_Pod, &pods) references_visit(&corev1_Pod_desc, pod, is_it, &search);
    return search.found;
}

static bool is_unused(const struct pass *p, const struct corev1_Secret *s) {
    const char *used = string_map_get(&s->metadata.labels, LAST_USED);
    int64_t at;
    if (s->metadata.deletionTimestamp.set || s->metadata.creationTimestamp.sec >= p->before_s) return false;
    if (used && (!date_parse(used, &at) || str_cmp(used, p->before_day) >= 0)) return false; /* a day that cannot be read says nothing */
    return was_generated(p->cl, s) && !is_mounted(p->cl, s);
}

static void mark(const struct pass *p, const struct corev1_Secret *s) {
    _cleanup_status_ struct status err = STATUS_INIT;
    _cleanup_buf_ struct buf patch = BUF_INIT;
    const char *today = date_string(p->a, p->now_s);
    log_info("marking the auto-generated service account token %s/%s as invalid", s->metadata.namespace, s->metadata.name);
    buf_append_str(&patch, "{\"metadata\":{\"uid\":");
    json_write_string(&patch, s->metadata.uid);
    buf_printf(&patch, ",\"labels\":{\"" INVALID_SINCE "\":\"%s\"}}}", today);
    if (client_patch(p->cl->c->client, p->a, &corev1_Secret_desc, s->metadata.namespace, s->metadata.name, NULL, PATCH_MERGE, buf_cstr(&patch), NULL, &err) != 0)
        log_error("failed to label legacy service account token secret %s/%s with invalid since date: %s", s->metadata.namespace, s->metadata.name, status_message(&err));
}

/* Only as it was looked at: whoever uses it again, or takes the label away, keeps it. */
static void delete_token(const struct pass *p, const struct corev1_Secret *s) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct metav1_DeleteOptions *options = client_delete_options(p->a, s->metadata.uid, NULL);
    options->preconditions->resourceVersion = s->metadata.resourceVersion;
    log_info("deleting the auto-generated service account token %s/%s", s->metadata.namespace, s->metadata.name);
    if (client_delete(p->cl->c->client, &corev1_Secret_desc, s->metadata.namespace, s->metadata.name, options, &err) != 0 && !status_is(&err, 404) && !status_is(&err, 409))
        log_error("deleting legacy service account token %s/%s: %s", s->metadata.namespace, s->metadata.name, status_message(&err));
}

static void clean(struct cleaner *cl) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    int64_t period_s = cl->c->context->options->legacy_service_account_token_clean_up_period_ms / 1000, now_s = env_now_s(cl->c->env), since = tracked_since(cl, a);
    struct pass p = {cl, a, now_s, now_s - period_s, date_string(a, now_s - period_s)};
    struct corev1_SecretList secrets;
    if (since < 0 || now_s < since + period_s) return; /* it was not tracked for long enough */
    if (client_list(cl->reader, a, &corev1_Secret_desc, NULL, "fieldSelector=type%3Dkubernetes.io%2Fservice-account-token", &secrets, &err) != 0) {
        log_error("listing service account tokens: %s", status_message(&err));
        return;
    }
    LIST_FOREACH(s, &secrets.items) {
        int64_t at;
        const char *invalid_since = string_map_get(&s->metadata.labels, INVALID_SINCE);
        if (!is_unused(&p, s)) continue;
        if (!date_parse(invalid_since, &at)) mark(&p, s);
        else if (str_cmp(invalid_since, p.before_day) < 0) delete_token(&p, s);
    }
}

static void run(void *self) {
    struct cleaner *cl = self;
    do clean(cl);
    while (controller_sleep_ms(cl->c, INTERVAL_MS));
}

static void *new(struct controller *c, struct status *reterr) {
    if (c->context->options->legacy_service_account_token_clean_up_period_ms <= 0) return status_bad_request(reterr, "failed to init the legacy service account token cleaner: invalid CleanUpPeriod: %lldms",
        (long long)c->context->options->legacy_service_account_token_clean_up_period_ms), NULL;
    struct cleaner *cl = calloc(1, sizeof(*cl));
    CHECK(cl);
    cl->c = c;
    cl->reader = c->context->client_for(c->context, CONTROLLER_MANAGER_ITSELF); /* its own account may not list Secrets, as upstream, whose informers are the manager's */
    cl->accounts = informers_get(c->context->informers, &corev1_ServiceAccount_desc);
    cl->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    return cl;
}

const struct controller_desc controller_legacy_token_cleaner = {.name = "legacy-serviceaccount-token-cleaner-controller", .account = "legacy-service-account-token-cleaner", .workers = 1, .new = new, .run = run, .free = free};
