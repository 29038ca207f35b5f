/* What a failed Pod means for its Job, when a Job has succeeded, and how long to wait after failures: see job.h. Upstream: pkg/controller/job pod_failure_policy.go,
 * success_policy.go, backoff_utils.go. */
#include <stdlib.h>
#include "base/str.h"
#include "controller/job.h"

enum { BACKOFF_S = 10, BACKOFF_MAX_S = 600 };

/* ---- failure policy ---- */

static const struct corev1_ContainerStatus *match_exit_code(const struct corev1_ContainerStatus_list *statuses, const struct batchv1_PodFailurePolicyOnExitCodesRequirement *r) {
    LIST_FOREACH(s, statuses) {
        if (!s->state.terminated || s->state.terminated->exitCode == 0 || (r->containerName && !str_eq(r->containerName, s->name))) continue;
        bool listed = false;
        LIST_FOREACH(v, &r->values) listed |= *v == s->state.terminated->exitCode;
        if (str_eq(r->operator, "In") ? listed : str_eq(r->operator, "NotIn") && !listed) return s;
    }
    return NULL;
}

static const struct corev1_PodCondition *match_condition(job_pod *p, const struct batchv1_PodFailurePolicyOnPodConditionsPattern_list *patterns) {
    LIST_FOREACH(c, &p->status.conditions)
        LIST_FOREACH(w, patterns)
            if (str_eq(c->type, w->type) && str_eq(c->status, w->status)) return c;
    return NULL;
}

static enum job_action action_of(const char *name) {
    return str_eq(name, "Ignore") ? JOB_IGNORE : str_eq(name, "Count") ? JOB_COUNT : str_eq(name, "FailIndex") ? JOB_FAIL_INDEX : str_eq(name, "FailJob") ? JOB_FAIL_JOB : JOB_NO_ACTION;
}

enum job_action job_failure_action(const struct batchv1_Job *j, job_pod *p, struct arena *a, const char **ret_message) {
    const struct batchv1_PodFailurePolicy *policy = j->spec.podFailurePolicy;
    for (size_t i = 0; policy && i < policy->rules.len; i++) {
        const struct batchv1_PodFailurePolicyRule *r = &policy->rules.items[i];
        const char *message = NULL;
        if (r->onExitCodes) {
            const struct corev1_ContainerStatus *s = match_exit_code(&p->status.containerStatuses, r->onExitCodes);
            if (!s) s = match_exit_code(&p->status.initContainerStatuses, r->onExitCodes);
            if (!s) continue;
            message = arena_printf(a, "Container %s for pod %s/%s failed with exit code %d matching %s rule at index %zu", s->name, p->metadata.namespace, p->metadata.name,
                                   s->state.terminated->exitCode, r->action, i);
        } else {
            const struct corev1_PodCondition *c = match_condition(p, &r->onPodConditions);
            if (!c) continue;
            message = arena_printf(a, "Pod %s/%s has condition %s matching %s rule at index %zu", p->metadata.namespace, p->metadata.name, c->type, r->action, i);
        }
        enum job_action action = action_of(r->action);
        if (action == JOB_NO_ACTION) continue;
        if (ret_message) *ret_message = message;
        return action;
    }
    return JOB_NO_ACTION;
}

/* ---- success policy ---- */

const char *job_success_message(struct job_sync *s) {
    const struct batchv1_SuccessPolicy *policy = s->job->spec.successPolicy;
    if (!policy || s->done.len == 0) return NULL;
    for (size_t i = 0; i < policy->rules.len; i++) {
        const struct batchv1_SuccessPolicyRule *r = &policy->rules.items[i];
        bool counted = r->succeededCount.has, met;
        if (r->succeededIndexes) {
            struct job_indexes wanted = job_indexes_parse(s->a, r->succeededIndexes, s->job->spec.completions.value);
            int have = job_indexes_overlap(&wanted, &s->done);
            met = wanted.len && (have == job_indexes_total(&wanted) || (counted && have >= r->succeededCount.value));
        } else met = counted && job_indexes_total(&s->done) >= r->succeededCount.value;
        if (met) return arena_printf(s->a, "Matched rules at index %zu", i);
    }
    return NULL;
}

/* ---- back-off ---- */

static bool is_sidecar(job_pod *p, const char *name) {
    LIST_FOREACH(c, &p->spec.initContainers)
        if (str_eq(c->name, name)) return str_eq(c->restartPolicy, "Always");
    return false;
}

/* False: not all have an end. */
static bool latest_end(const struct corev1_ContainerStatus_list *l, job_pod *sidecars_of, int64_t *at) {
    LIST_FOREACH(s, l) {
        if (sidecars_of && !is_sidecar(sidecars_of, s->name)) continue;
        if (!s->state.terminated || !s->state.terminated->finishedAt.set) return false;
        *at = MAX(*at, s->state.terminated->finishedAt.sec);
    }
    return true;
}

int64_t job_finished_at(job_pod *p) {
    int64_t at = 0;
    if (latest_end(&p->status.containerStatuses, NULL, &at) && latest_end(&p->status.initContainerStatuses, p, &at) && at) return at;
    const struct corev1_PodCondition *c = pod_condition(p, "Ready");
    if (c && str_eq(c->status, "False") && c->lastTransitionTime.set) return c->lastTransitionTime.sec;
    if (p->metadata.deletionTimestamp.set) return p->metadata.deletionTimestamp.sec - p->metadata.deletionGracePeriodSeconds.value;
    return p->metadata.creationTimestamp.sec;
}

static int by_end(const void *x, const void *y) {
    int64_t a = job_finished_at(*(job_pod *const *)x), b = job_finished_at(*(job_pod *const *)y);
    return (a > b) - (a < b);
}

/* A success begins the count anew; failures after the last success count. */
struct job_backoff job_backoff_after(const struct job_backoff *was, struct job_pods *succeeded, struct job_pods *failed) {
    struct job_backoff b = *was;
    if (failed->len) qsort(failed->items, failed->len, sizeof(*failed->items), by_end);
    int64_t success = 0;
    JOB_PODS_FOREACH(p, succeeded) success = MAX(success, job_finished_at(p));
    if (succeeded->len) b = (struct job_backoff){0};
    for (size_t i = failed->len; i > 0; i--) {
        int64_t at = job_finished_at(failed->items[i - 1]);
        if (succeeded->len && at <= success) break;
        if (i == failed->len) b.last_s = at;
        b.failures++;
    }
    return b;
}

int64_t job_backoff_wait_ms(const struct job_backoff *b, int64_t now_ns) {
    if (b->failures == 0) return 0;
    int64_t wait_s = BACKOFF_S;
    for (int i = 1; i < b->failures && wait_s < BACKOFF_MAX_S; i++) wait_s = MIN(wait_s * 2, (int64_t)BACKOFF_MAX_S);
    int64_t left = wait_s * 1000 - (now_ns / 1000000 - b->last_s * 1000);
    return MAX(left, 0);
}

static int32_t number_of(job_pod *p, const char *annotation) {
    int64_t n;
    const char *text = string_map_get(&p->metadata.annotations, annotation);
    return text && str_to_i64(text, &n) && n >= 0 && n <= INT32_MAX ? (int32_t)n : 0;
}

int32_t job_index_failures(job_pod *p) { return number_of(p, ANNOTATION_INDEX_FAILURES); }
int32_t job_index_ignored(job_pod *p) { return number_of(p, ANNOTATION_INDEX_IGNORED); }
