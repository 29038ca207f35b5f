/* Updates of a Job's status: what it may say of itself, and what it may not take back. A rule is applied only where its fields change, so that an
 * object that broke it before can still be written. */
#include <stdlib.h>
#include <string.h>
#include "api/validation/batch.h"
#include "api/validation/meta.h"
#include "base/str.h"

static bool is(const struct batchv1_Job *j, const char *type) { return job_condition_is(j, type, "True"); }
static bool finished(const struct batchv1_Job *j) { return is(j, "Complete") || is(j, "Failed"); }
static bool indexed(const struct batchv1_Job *j) { return str_eq(j->spec.completionMode, "Indexed"); }
static bool same_i32(struct opt_int32 a, struct opt_int32 b) { return a.has == b.has && (!a.has || a.value == b.value); }
static bool same_text(const char *a, const char *b) { return !a == !b && str_eq(a, b); }
static bool same_time(const struct api_time *a, const struct api_time *b) { return a->set == b->set && (!a->set || (a->sec == b->sec && a->nsec == b->nsec)); }
static bool before(const struct api_time *a, const struct api_time *b) { return a->sec < b->sec || (a->sec == b->sec && a->nsec < b->nsec); }

/* What differs from the old object, as upstream's getStatusValidationOptions asks it. */
struct changes { bool finished, complete, failed, failure_target, success_criteria, completed_indexes, failed_indexes, active, start_time, completion_time, uncounted, ready, terminating; };

static struct changes changes_between(const struct batchv1_Job *j, const struct batchv1_Job *old) {
    const struct batchv1_JobStatus *s = &j->status, *o = &old->status;
    bool uncounted = s->uncountedTerminatedPods && o->uncountedTerminatedPods
                         ? !object_equal(&batchv1_UncountedTerminatedPods_desc, s->uncountedTerminatedPods, o->uncountedTerminatedPods)
                         : s->uncountedTerminatedPods != o->uncountedTerminatedPods;
    return (struct changes){.finished = finished(j) != finished(old), .complete = is(j, "Complete") != is(old, "Complete"), .failed = is(j, "Failed") != is(old, "Failed"),
        .failure_target = is(j, "FailureTarget") != is(old, "FailureTarget"), .success_criteria = is(j, "SuccessCriteriaMet") != is(old, "SuccessCriteriaMet"),
        .completed_indexes = !str_eq(s->completedIndexes, o->completedIndexes), .failed_indexes = !same_text(s->failedIndexes, o->failedIndexes), .active = s->active != o->active,
        .start_time = !same_time(&s->startTime, &o->startTime), .completion_time = !same_time(&s->completionTime, &o->completionTime), .uncounted = uncounted,
        .ready = !same_i32(s->ready, o->ready), .terminating = !same_i32(s->terminating, o->terminating)};
}

static void uncounted(const struct batchv1_UncountedTerminatedPods *u, const struct field_path *at, struct field_errors *errs) {
    const struct { const char *name; const struct string_list *list; } lists[] = {{"succeeded", &u->succeeded}, {"failed", &u->failed}};
    struct string_list seen = {0};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l].list->len; i++) {
            const char *uid = lists[l].list->items[i];
            const struct field_path *p = FIELD_INDEX(FIELD(at, lists[l].name), i);
            if (str_empty(uid)) field_invalid(errs, p, uid, "must not be empty");
            else if (string_list_has(&seen, uid)) field_duplicate(errs, p, uid);
            else string_list_push(errs->arena, &seen, uid);
        }
}

static void counts(const struct batchv1_JobStatus *s, const struct field_path *at, struct field_errors *errs) {
    validate_non_negative(s->active, FIELD(at, "active"), errs);
    validate_non_negative(s->succeeded, FIELD(at, "succeeded"), errs);
    validate_non_negative(s->failed, FIELD(at, "failed"), errs);
    if (s->ready.has) validate_non_negative(s->ready.value, FIELD(at, "ready"), errs);
    if (s->terminating.has) validate_non_negative(s->terminating.value, FIELD(at, "terminating"), errs);
    if (s->uncountedTerminatedPods) uncounted(s->uncountedTerminatedPods, FIELD(at, "uncountedTerminatedPods"), errs);
}

/* Conditions against each other and against the times. */
static void conditions_and_times(const struct batchv1_Job *j, const struct changes *c, const struct field_path *at, struct field_errors *errs) {
    const struct batchv1_JobStatus *s = &j->status;
    const struct field_path *conditions = FIELD(at, "conditions"), *completion = FIELD(at, "completionTime");
    if ((c->complete || c->failed) && is(j, "Complete") && is(j, "Failed")) field_invalid_omitted(errs, conditions, "cannot set Complete=True and Failed=true conditions");
    if ((c->complete || c->failure_target) && is(j, "Complete") && is(j, "FailureTarget")) field_invalid_omitted(errs, conditions, "cannot set Complete=True and FailureTarget=true conditions");
    if ((c->complete || c->completion_time) && s->completionTime.set && !is(j, "Complete"))
        field_invalid_raw(errs, completion, api_time_json_text(errs->arena, &s->completionTime), "cannot set completionTime when there is no Complete=True condition");
    if ((c->complete || c->completion_time) && !s->completionTime.set && is(j, "Complete")) field_required(errs, completion, "completionTime is required for Complete jobs");
    if ((c->start_time || c->completion_time) && s->startTime.set && s->completionTime.set && before(&s->completionTime, &s->startTime))
        field_invalid_raw(errs, completion, api_time_json_text(errs->arena, &s->completionTime), "must be equal to or after `startTime`");
    if ((c->failed || c->failed_indexes) && is(j, "Failed") && !is(j, "FailureTarget")) field_invalid_omitted(errs, conditions, "cannot set Failed=True condition without the FailureTarget=true condition");
    if ((c->complete || c->success_criteria) && is(j, "Complete") && !is(j, "SuccessCriteriaMet"))
        field_invalid_omitted(errs, conditions, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
}

static bool next_interval(const char **p, int32_t completions, int32_t *x, int32_t *y) {
    while (*p && **p) {
        char *end;
        long first = strtol(*p, &end, 10), last = first;
        bool ok = end != *p;
        if (ok && *end == '-') last = strtol(end + 1, &end, 10);
        ok &= (*end == ',' || !*end) && first <= last && last < completions;
        const char *comma = strchr(*p, ',');
        *p = comma ? comma + 1 : NULL;
        if (!ok) continue; /* the format is complained of elsewhere */
        *x = (int32_t)first;
        *y = (int32_t)last;
        return true;
    }
    return false;
}

/* The first index that both lists hold, or -1. Both are in increasing order. */
static int32_t overlap(const char *completed, const char *failed, int32_t completions) {
    int32_t cx, cy, fx, fy;
    bool more_c = next_interval(&completed, completions, &cx, &cy), more_f = next_interval(&failed, completions, &fx, &fy);
    while (more_c && more_f) {
        if (cx <= fy && fx <= cy) return cx > fx ? cx : fx;
        if (cx <= fx) more_c = next_interval(&completed, completions, &cx, &cy);
        else more_f = next_interval(&failed, completions, &fx, &fy);
    }
    return -1;
}

static void indexes(const struct batchv1_Job *j, const struct changes *c, const struct field_path *at, struct field_errors *errs) {
    const struct batchv1_JobStatus *s = &j->status;
    const struct field_path *failed = FIELD(at, "failedIndexes"), *completed = FIELD(at, "completedIndexes");
    const char *why;
    if (c->completed_indexes && j->spec.completions.has && job_indexes_count(errs->arena, s->completedIndexes, j->spec.completions.value, &why) < 0)
        field_invalid(errs, completed, s->completedIndexes, "error parsing completedIndexes: %s", why);
    if (c->failed_indexes && j->spec.completions.has && j->spec.backoffLimitPerIndex.has && s->failedIndexes &&
        job_indexes_count(errs->arena, s->failedIndexes, j->spec.completions.value, &why) < 0)
        field_invalid(errs, failed, s->failedIndexes, "error parsing failedIndexes: %s", why);
    if (c->completed_indexes && !str_empty(s->completedIndexes) && !indexed(j)) field_invalid(errs, completed, s->completedIndexes, "cannot set non-empty completedIndexes when non-indexed completion mode");
    if (c->failed_indexes && !j->spec.backoffLimitPerIndex.has && s->failedIndexes) field_invalid(errs, failed, s->failedIndexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    if ((c->failed_indexes || c->completed_indexes) && j->spec.completions.has && s->failedIndexes) {
        int32_t at_index = overlap(s->completedIndexes, s->failedIndexes, j->spec.completions.value);
        if (at_index >= 0) field_invalid(errs, failed, s->failedIndexes, "failedIndexes and completedIndexes overlap at index: %d", at_index);
    }
}

static void finished_rules(const struct batchv1_Job *j, const struct changes *c, const struct field_path *at, struct field_errors *errs) {
    const struct batchv1_JobStatus *s = &j->status;
    bool done = finished(j), suspended_empty = j->spec.suspend.has && j->spec.suspend.value && j->spec.completions.has && j->spec.completions.value == 0;
    if ((c->finished || c->active) && s->active > 0 && done) field_invalid_int(errs, FIELD(at, "active"), s->active, "active>0 is invalid for finished job");
    if ((c->finished || c->start_time) && !suspended_empty && !s->startTime.set && done) field_required(errs, FIELD(at, "startTime"), "startTime is required for finished job");
    if ((c->finished || c->uncounted) && done && s->uncountedTerminatedPods && s->uncountedTerminatedPods->failed.len + s->uncountedTerminatedPods->succeeded.len > 0)
        field_invalid_raw(errs, FIELD(at, "uncountedTerminatedPods"), object_json_text(errs->arena, &batchv1_UncountedTerminatedPods_desc, s->uncountedTerminatedPods), "must be empty for finished job");
    indexes(j, c, at, errs);
    if ((c->finished || c->terminating) && s->terminating.has && s->terminating.value > 0 && done)
        field_invalid_int(errs, FIELD(at, "terminating"), s->terminating.value, "terminating>0 is invalid for finished job");
    if ((c->ready || c->active) && s->ready.has && s->ready.value > s->active) field_invalid_int(errs, FIELD(at, "ready"), s->ready.value, "cannot set more ready pods than active");
    if (is(j, "SuccessCriteriaMet") && is(j, "Failed")) field_invalid_omitted(errs, FIELD(at, "conditions"), "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    if (is(j, "SuccessCriteriaMet") && is(j, "FailureTarget")) field_invalid_omitted(errs, FIELD(at, "conditions"), "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    if (j->spec.successPolicy && !is(j, "SuccessCriteriaMet") && is(j, "Complete"))
        field_invalid_omitted(errs, FIELD(at, "conditions"), "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
}

static void not_taken_back(const struct batchv1_Job *j, const struct batchv1_Job *old, const struct changes *c, const struct field_path *at, struct field_errors *errs) {
    static const char *const terminal[] = {"Failed", "Complete", "FailureTarget"};
    const struct batchv1_JobStatus *s = &j->status, *o = &old->status;
    const struct field_path *conditions = FIELD(at, "conditions");
    for (size_t i = 0; i < ARRAY_LEN(terminal); i++)
        if (is(old, terminal[i]) && !is(j, terminal[i])) field_invalid_omitted(errs, conditions, arena_printf(errs->arena, "cannot disable the terminal %s=True condition", terminal[i]));
    if (s->failed < o->failed) field_invalid_int(errs, FIELD(at, "failed"), s->failed, "cannot decrease the failed counter");
    bool scalable = indexed(j) && same_i32(j->spec.completions, j->spec.parallelism);
    if (!scalable && s->succeeded < o->succeeded) field_invalid_int(errs, FIELD(at, "succeeded"), s->succeeded, "cannot decrease the succeeded counter");
    if (s->completionTime.set && o->completionTime.set && c->completion_time)
        field_invalid_raw(errs, FIELD(at, "completionTime"), api_time_json_text(errs->arena, &s->completionTime), "field is immutable");
    bool resuming = is(old, "Suspended") && job_condition_is(j, "Suspended", "False"), suspended = j->spec.suspend.has && j->spec.suspend.value;
    if (c->start_time && !resuming && o->startTime.set && !suspended)
        field_invalid_raw(errs, FIELD(at, "startTime"), api_time_json_text(errs->arena, &s->startTime), "field is immutable for unsuspended job once set");
    if (is(old, "SuccessCriteriaMet") && !is(j, "SuccessCriteriaMet")) field_invalid_omitted(errs, conditions, "cannot disable the SuccessCriteriaMet=True condition");
    if (is(old, "Complete") && !is(old, "SuccessCriteriaMet") && is(j, "SuccessCriteriaMet"))
        field_invalid_omitted(errs, conditions, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
}

void validate_job_status_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct batchv1_Job *j = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "status");
    struct changes c = changes_between(j, old);
    counts(&j->status, at, errs);
    conditions_and_times(j, &c, at, errs);
    finished_rules(j, &c, at, errs);
    not_taken_back(j, old, &c, at, errs);
}
