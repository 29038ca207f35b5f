/* Job specs, alone and in CronJobs. A Job's status is in batch_job_status.c. Tests: tests/unit/test_validation_batch.c. */
#include <string.h>
#include "api/cron_schedule.h"
#include "api/names.h"
#include "api/selector.h"
#include "api/validation/batch.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"

enum { PARALLELISM_MAX_INDEXED = 100000, FAILED_INDEXES_MAX = 100000, COMPLETIONS_SOFT_LIMIT = 100000, HIGH_COMPLETIONS_LIMIT = 10000, RULES_MAX = 20, EXIT_CODES_MAX = 255,
       MANAGED_BY_MAX = 63, SUCCEEDED_INDEXES_MAX = 64 * 1024, CRON_JOB_NAME_MAX = 52 };

static const char *const failure_actions[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL};
static const char *const exit_code_operators[] = {"In", "NotIn", NULL};
static const char *const condition_statuses[] = {"False", "True", "Unknown", NULL};

static bool indexed(const struct batchv1_JobSpec *s) { return str_eq(s->completionMode, "Indexed"); }
static bool is_true(const struct opt_bool *b) { return b->has && b->value; }

static void optional_non_negative(const struct opt_int32 *v, const struct field_path *at, struct field_errors *errs) {
    if (v->has) validate_non_negative(v->value, at, errs);
}

/* ---- pod failure policy ---- */

static void on_exit_codes(const struct batchv1_JobSpec *spec, const struct batchv1_PodFailurePolicyOnExitCodesRequirement *e, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *values = FIELD(at, "values");
    bool named = false, ordered = true;
    if (str_empty(e->operator)) field_required(errs, FIELD(at, "operator"), "valid values: [\"In\" \"NotIn\"]");
    else validate_enum(e->operator, exit_code_operators, FIELD(at, "operator"), errs);
    LIST_FOREACH(c, &spec->template.spec.containers) named |= str_eq(c->name, e->containerName);
    LIST_FOREACH(c, &spec->template.spec.initContainers) named |= str_eq(c->name, e->containerName);
    if (e->containerName && !named) field_invalid(errs, FIELD(at, "containerName"), e->containerName, "must be one of the container or initContainer names in the pod template");
    if (!e->values.len) field_invalid_raw(errs, values, int32_list_json_text(errs->arena, &e->values), "at least one value is required");
    else if (e->values.len > EXIT_CODES_MAX) field_too_many(errs, values, (int64_t)e->values.len, EXIT_CODES_MAX);
    for (size_t i = 0; i < e->values.len; i++) {
        bool seen = false;
        if (str_eq(e->operator, "In") && e->values.items[i] == 0) field_invalid_int(errs, FIELD_INDEX(values, i), 0, "must not be 0 for the In operator");
        for (size_t j = 0; j < i; j++) seen |= e->values.items[j] == e->values.items[i];
        if (seen) field_duplicate_raw(errs, FIELD_INDEX(values, i), arena_printf(errs->arena, "%d", e->values.items[i]));
        if (i && e->values.items[i - 1] > e->values.items[i]) ordered = false;
    }
    if (!ordered) field_invalid_raw(errs, values, int32_list_json_text(errs->arena, &e->values), "must be ordered");
}

static void on_pod_conditions(const struct batchv1_PodFailurePolicyOnPodConditionsPattern_list *patterns, const struct field_path *at, struct field_errors *errs) {
    if (patterns->len > RULES_MAX) field_too_many(errs, at, (int64_t)patterns->len, RULES_MAX);
    for (size_t i = 0; i < patterns->len; i++) {
        const struct batchv1_PodFailurePolicyOnPodConditionsPattern *p = &patterns->items[i];
        struct string_list msgs = {0};
        name_qualified(errs->arena, str_or(p->type, ""), &msgs);
        field_invalid_each(errs, FIELD(FIELD_INDEX(at, i), "type"), p->type, &msgs);
        if (str_empty(p->status)) field_required(errs, FIELD(FIELD_INDEX(at, i), "status"), "valid values: [\"False\" \"True\" \"Unknown\"]");
        else validate_enum(p->status, condition_statuses, FIELD(FIELD_INDEX(at, i), "status"), errs);
    }
}

static void failure_rule(const struct batchv1_JobSpec *spec, const struct batchv1_PodFailurePolicyRule *r, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(r->action)) field_required(errs, FIELD(at, "action"), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
    else if (str_eq(r->action, "FailIndex")) {
        if (!spec->backoffLimitPerIndex.has) field_invalid(errs, FIELD(at, "action"), r->action, "requires the backoffLimitPerIndex to be set");
    } else validate_enum(r->action, failure_actions, FIELD(at, "action"), errs);
    if (r->onExitCodes) on_exit_codes(spec, r->onExitCodes, FIELD(at, "onExitCodes"), errs);
    if (r->onPodConditions.len) on_pod_conditions(&r->onPodConditions, FIELD(at, "onPodConditions"), errs);
    if (r->onExitCodes && r->onPodConditions.len) field_invalid_omitted(errs, at, "specifying both OnExitCodes and OnPodConditions is not supported");
    if (!r->onExitCodes && !r->onPodConditions.len) field_invalid_omitted(errs, at, "specifying one of OnExitCodes and OnPodConditions is required");
}

/* ---- success policy ---- */

/* One "N" or "N-M". */
static bool index_interval(struct arena *a, const char *text, int32_t completions, int32_t *x, int32_t *y, const char **ret_error) {
    const char *dash = strchr(text, '-');
    const char *limits[2] = {dash ? arena_strndup(a, text, (size_t)(dash - text)) : text, dash ? dash + 1 : NULL};
    int64_t v[2] = {0, 0};
    if (dash && strchr(dash + 1, '-')) {
        *ret_error = arena_printf(a, "the fragment %s violates the requirement that an index interval can have at most two parts separated by '-'", go_quote(a, text));
        return false;
    }
    for (size_t i = 0; i < (dash ? 2 : 1); i++) {
        if (!str_to_i64(limits[i], &v[i])) {
            *ret_error = arena_printf(a, "cannot convert string to integer for index: %s", go_quote(a, limits[i]));
            return false;
        }
        if (v[i] >= completions) {
            *ret_error = arena_printf(a, "too large index: %s", go_quote(a, limits[i]));
            return false;
        }
    }
    if (dash && v[0] >= v[1]) {
        *ret_error = arena_printf(a, "non-increasing order, previous: %lld, current: %lld", (long long)v[0], (long long)v[1]);
        return false;
    }
    *x = (int32_t)v[0];
    *y = dash ? (int32_t)v[1] : *x;
    return true;
}

int32_t job_indexes_count(struct arena *a, const char *indexes, int32_t completions, const char **ret_error) {
    int32_t total = 0, last = 0, x, y;
    bool first = true;
    if (str_empty(indexes)) return 0;
    for (const char *p = indexes;;) {
        const char *comma = strchr(p, ',');
        if (!index_interval(a, comma ? arena_strndup(a, p, (size_t)(comma - p)) : p, completions, &x, &y, ret_error)) return -1;
        if (!first && last >= x) {
            *ret_error = arena_printf(a, "non-increasing order, previous: %d, current: %d", last, x);
            return -1;
        }
        total += y - x + 1;
        last = y;
        first = false;
        if (!comma) return total;
        p = comma + 1;
    }
}

static void success_rule(const struct batchv1_JobSpec *spec, const struct batchv1_SuccessPolicyRule *r, const struct field_path *at, struct field_errors *errs) {
    int32_t total = 0, completions = spec->completions.value;
    if (!r->succeededCount.has && !r->succeededIndexes) field_required(errs, at, "at least one of succeededCount or succeededIndexes must be specified");
    if (r->succeededIndexes) {
        const char *why = NULL;
        if (strlen(r->succeededIndexes) > SUCCEEDED_INDEXES_MAX) field_too_long(errs, FIELD(at, "succeededIndexes"), SUCCEEDED_INDEXES_MAX);
        total = job_indexes_count(errs->arena, r->succeededIndexes, completions, &why);
        if (total < 0) field_invalid(errs, FIELD(at, "succeededIndexes"), r->succeededIndexes, "error parsing succeededIndexes: %s", why);
        if (total < 0) total = 0;
    }
    if (!r->succeededCount.has) return;
    int32_t count = r->succeededCount.value;
    const struct field_path *p = FIELD(at, "succeededCount");
    validate_non_negative(count, p, errs);
    if (count > completions) field_invalid_int(errs, p, count, "must be less than or equal to %d (the number of specified completions)", completions);
    if (r->succeededIndexes && count > total) field_invalid_int(errs, p, count, "must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", total);
}

static void success_policy(const struct batchv1_JobSpec *spec, const struct field_path *at, struct field_errors *errs) {
    const struct batchv1_SuccessPolicyRule_list *rules = &spec->successPolicy->rules;
    if (!indexed(spec)) {
        field_invalid_raw(errs, at, object_json_text(errs->arena, &batchv1_SuccessPolicy_desc, spec->successPolicy), "requires indexed completion mode");
        return;
    }
    if (!spec->completions.has) return; /* upstream would not survive this; completions are required above */
    if (!rules->len) field_required(errs, FIELD(at, "rules"), "at least one rules must be specified when the successPolicy is specified");
    if (rules->len > RULES_MAX) field_too_many(errs, FIELD(at, "rules"), (int64_t)rules->len, RULES_MAX);
    for (size_t i = 0; i < rules->len; i++) success_rule(spec, &rules->items[i], FIELD_INDEX(FIELD(at, "rules"), i), errs);
}

/* ---- the spec ---- */

static void indexed_limits(const struct batchv1_JobSpec *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *parallelism = FIELD(at, "parallelism"), *failed = FIELD(at, "maxFailedIndexes");
    int32_t p = s->parallelism.has ? s->parallelism.value : 0, f = s->maxFailedIndexes.has ? s->maxFailedIndexes.value : 0;
    if (!s->completions.has) field_required(errs, FIELD(at, "completions"), "when completion mode is Indexed");
    if (p > PARALLELISM_MAX_INDEXED) field_invalid_int(errs, parallelism, p, "must be less than or equal to %d when completion mode is Indexed", PARALLELISM_MAX_INDEXED);
    if (s->completions.has && s->maxFailedIndexes.has && f > s->completions.value) field_invalid_int(errs, failed, f, "must be less than or equal to completions");
    if (f > FAILED_INDEXES_MAX) field_invalid_int(errs, failed, f, "must be less than or equal to %d", FAILED_INDEXES_MAX);
    if (!s->completions.has || s->completions.value <= COMPLETIONS_SOFT_LIMIT || !s->backoffLimitPerIndex.has) return;
    static const char high[] = "must be less than or equal to %d when completions are above %d and used with backoff limit per index";
    if (!s->maxFailedIndexes.has) field_required(errs, failed, "must be specified when completions is above %d", COMPLETIONS_SOFT_LIMIT);
    if (p > HIGH_COMPLETIONS_LIMIT) field_invalid_int(errs, parallelism, p, high, HIGH_COMPLETIONS_LIMIT, COMPLETIONS_SOFT_LIMIT);
    if (f > HIGH_COMPLETIONS_LIMIT) field_invalid_int(errs, failed, f, high, HIGH_COMPLETIONS_LIMIT, COMPLETIONS_SOFT_LIMIT);
}

static void completion_mode(const struct batchv1_JobSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const modes[] = {"NonIndexed", "Indexed", NULL};
    validate_enum(s->completionMode, modes, FIELD(at, "completionMode"), errs);
    if (indexed(s)) indexed_limits(s, at, errs);
    if (s->completionMode && !str_eq(s->completionMode, "NonIndexed")) return;
    if (s->backoffLimitPerIndex.has) field_invalid_int(errs, FIELD(at, "backoffLimitPerIndex"), s->backoffLimitPerIndex.value, "requires indexed completion mode");
    if (s->maxFailedIndexes.has) field_invalid_int(errs, FIELD(at, "maxFailedIndexes"), s->maxFailedIndexes.value, "requires indexed completion mode");
}

static void restart_policy(const struct batchv1_JobSpec *s, const struct field_path *template_spec, struct field_errors *errs) {
    static const char *const policies[] = {"OnFailure", "Never", NULL};
    const struct field_path *at = FIELD(template_spec, "restartPolicy");
    const char *policy = s->template.spec.restartPolicy;
    if (str_empty(policy) || str_eq(policy, "Always")) field_required(errs, at, "valid values: \"OnFailure\", \"Never\"");
    else if (!str_in(policy, policies)) field_not_supported(errs, at, policy, policies);
    else if (s->podFailurePolicy && !str_eq(policy, "Never")) field_invalid(errs, at, policy, "only \"Never\" is supported when podFailurePolicy is specified");
}

static void replacement_policy(const struct batchv1_JobSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const all[] = {"Failed", "TerminatingOrFailed", NULL}, *const failed[] = {"Failed", NULL};
    validate_enum(s->podReplacementPolicy, s->podFailurePolicy ? failed : all, at, errs);
}

static void common_spec(const struct batchv1_JobSpec *s, const struct field_path *at, struct field_errors *errs) {
    optional_non_negative(&s->parallelism, FIELD(at, "parallelism"), errs);
    optional_non_negative(&s->completions, FIELD(at, "completions"), errs);
    if (s->activeDeadlineSeconds.has) validate_non_negative(s->activeDeadlineSeconds.value, FIELD(at, "activeDeadlineSeconds"), errs);
    optional_non_negative(&s->backoffLimit, FIELD(at, "backoffLimit"), errs);
    optional_non_negative(&s->ttlSecondsAfterFinished, FIELD(at, "ttlSecondsAfterFinished"), errs);
    optional_non_negative(&s->backoffLimitPerIndex, FIELD(at, "backoffLimitPerIndex"), errs);
    if (s->maxFailedIndexes.has) {
        validate_non_negative(s->maxFailedIndexes.value, FIELD(at, "maxFailedIndexes"), errs);
        if (!s->backoffLimitPerIndex.has) field_required(errs, FIELD(at, "backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if (s->managedBy) {
        validate_domain_prefixed_path(s->managedBy, FIELD(at, "managedBy"), errs);
        if (strlen(s->managedBy) > MANAGED_BY_MAX) field_too_long(errs, FIELD(at, "managedBy"), MANAGED_BY_MAX);
    }
    completion_mode(s, at, errs);
    if (s->podFailurePolicy) {
        const struct field_path *rules = FIELD(FIELD(at, "podFailurePolicy"), "rules");
        if (s->podFailurePolicy->rules.len > RULES_MAX) field_too_many(errs, rules, (int64_t)s->podFailurePolicy->rules.len, RULES_MAX);
        for (size_t i = 0; i < s->podFailurePolicy->rules.len; i++) failure_rule(s, &s->podFailurePolicy->rules.items[i], FIELD_INDEX(rules, i), errs);
    }
    if (s->successPolicy) success_policy(s, FIELD(at, "successPolicy"), errs);
    replacement_policy(s, FIELD(at, "podReplacementPolicy"), errs);
    validate_pod_template(&s->template, FIELD(at, "template"), errs);
    restart_policy(s, FIELD(FIELD(at, "template"), "spec"), errs);
}

/* Whether a selector matches the labels; one that cannot be parsed matches whatever there is (it is refused elsewhere), none matches nothing. */
static bool matches(struct arena *a, const struct metav1_LabelSelector *s, const struct string_map *labels) {
    struct selector sel;
    return s && (label_selector_from(a, s, &sel, NULL) != 0 || selector_matches(&sel, labels));
}

static void job_spec(const struct batchv1_JobSpec *s, const struct field_path *at, struct field_errors *errs) {
    common_spec(s, at, errs);
    if (!s->selector) field_required(errs, FIELD(at, "selector"), "%s", "");
    else validate_label_selector(s->selector, FIELD(at, "selector"), errs);
    if (!matches(errs->arena, s->selector, &s->template.metadata.labels))
        field_invalid_raw(errs, FIELD(FIELD(FIELD(at, "template"), "metadata"), "labels"), string_map_json_text(errs->arena, &s->template.metadata.labels), "`selector` does not match template `labels`");
}

static void has_label(const struct string_map *labels, const char *key, const char *value, const struct field_path *at, struct field_errors *errs) {
    if (!string_map_has(labels, key)) field_required(errs, FIELD_KEY(at, key), "must be '%s'", str_or(value, ""));
    else if (!str_eq(string_map_get(labels, key), value)) field_invalid_raw(errs, FIELD_KEY(at, key), string_map_json_text(errs->arena, labels), "must be '%s'", str_or(value, ""));
}

/* A selector that was made for the Job must still be the one that was made. */
static void generated_selector(const struct batchv1_Job *j, bool prefixed, struct field_errors *errs) {
    const struct string_map *labels = &j->spec.template.metadata.labels;
    const struct field_path *at = FIELD(FIELD(FIELD(FIELD(NULL, "spec"), "template"), "metadata"), "labels");
    const char *name = str_or(j->metadata.name, "");
    struct string_map expected = {0};
    if (is_true(&j->spec.manualSelector) || !j->spec.selector) return;
    if (str_empty(j->metadata.uid)) field_required(errs, FIELD(FIELD(NULL, "metadata"), "uid"), "%s", "");
    has_label(labels, "controller-uid", j->metadata.uid, at, errs);
    has_label(labels, "job-name", name, at, errs);
    if (prefixed) {
        has_label(labels, "batch.kubernetes.io/controller-uid", j->metadata.uid, at, errs);
        has_label(labels, "batch.kubernetes.io/job-name", name, at, errs);
        string_map_set(errs->arena, &expected, "batch.kubernetes.io/controller-uid", j->metadata.uid);
        string_map_set(errs->arena, &expected, "batch.kubernetes.io/job-name", name);
    }
    string_map_set(errs->arena, &expected, "controller-uid", j->metadata.uid);
    string_map_set(errs->arena, &expected, "job-name", name);
    if (!matches(errs->arena, j->spec.selector, &expected))
        field_invalid_raw(errs, FIELD(FIELD(NULL, "spec"), "selector"), object_json_text(errs->arena, &metav1_LabelSelector_desc, j->spec.selector), "`selector` not auto-generated");
}

static void whole_job(const struct batchv1_Job *j, bool prefixed, struct field_errors *errs) {
    generated_selector(j, prefixed, errs);
    job_spec(&j->spec, FIELD(NULL, "spec"), errs);
    if (!indexed(&j->spec) || !j->spec.completions.has || j->spec.completions.value <= 0) return;
    const char *host = arena_printf(errs->arena, "%s-%d", str_or(j->metadata.name, ""), j->spec.completions.value - 1);
    struct string_list msgs = {0};
    name_dns1123_label(errs->arena, host, &msgs);
    if (msgs.len) field_invalid(errs, FIELD(FIELD(NULL, "metadata"), "name"), j->metadata.name, "will not able to create pod with invalid DNS label: %s", host);
}

void validate_job(const void *obj, struct field_errors *errs) { whole_job(obj, true, errs); }

/* ---- updates ---- */

bool job_condition_is(const struct batchv1_Job *job, const char *type, const char *status) {
    LIST_FOREACH(c, &job->status.conditions)
        if (str_eq(c->type, type) && str_eq(c->status, status)) return true;
    return false;
}

/* While a Job is suspended and nothing of it runs, where its Pods go and what they ask for may change: `like` is the old template with those parts of the new. */
static void allow_scheduling_changes(const struct corev1_PodTemplateSpec *now, struct corev1_PodTemplateSpec *like, struct arena *a) {
    if (!now->spec.affinity && like->spec.affinity) {
        like->spec.affinity->nodeAffinity = NULL;
        if (!like->spec.affinity->podAffinity && !like->spec.affinity->podAntiAffinity) like->spec.affinity = NULL;
    } else if (now->spec.affinity) {
        if (!like->spec.affinity) like->spec.affinity = ARENA_NEW(a, struct corev1_Affinity);
        like->spec.affinity->nodeAffinity = now->spec.affinity->nodeAffinity;
    }
    like->spec.nodeSelector = now->spec.nodeSelector;
    like->spec.tolerations = now->spec.tolerations;
    like->metadata.annotations = now->metadata.annotations;
    like->metadata.labels = now->metadata.labels;
    like->spec.schedulingGates = now->spec.schedulingGates;
}

static void allow_resource_changes(const struct corev1_Container_list *now, struct corev1_Container_list *like) {
    if (now->len != like->len) return;
    for (size_t i = 0; i < now->len; i++)
        if (str_eq(now->items[i].name, like->items[i].name)) like->items[i].resources = now->items[i].resources;
}

static void template_update(const struct batchv1_Job *j, const struct batchv1_Job *old, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "template");
    const struct corev1_PodTemplateSpec *now = &j->spec.template;
    bool suspended = is_true(&old->spec.suspend), idle = !old->status.startTime.set || job_condition_is(old, "Suspended", "True");
    bool free = suspended && idle && old->status.active == 0;
    struct corev1_PodTemplateSpec *like = object_copy(errs->arena, &corev1_PodTemplateSpec_desc, &old->spec.template);
    if (free) allow_scheduling_changes(now, like, errs->arena);
    if (!free) {
        validate_immutable_struct(&corev1_PodTemplateSpec_desc, now, like, at, errs);
        return;
    }
    allow_resource_changes(&now->spec.containers, &like->spec.containers);
    allow_resource_changes(&now->spec.initContainers, &like->spec.initContainers);
    validate_immutable_struct(&corev1_PodSpec_desc, &now->spec, &like->spec, FIELD(FIELD(NULL, "spec"), "template.spec"), errs);
}

static void completions_update(const struct batchv1_JobSpec *s, const struct batchv1_JobSpec *old, const struct field_path *at, struct field_errors *errs) {
    if (!indexed(s)) {
        validate_immutable_int32(s->completions, old->completions, at, errs);
        return;
    }
    bool same = s->completions.has == old->completions.has && s->completions.value == old->completions.value;
    if (!same && s->completions.has && s->completions.value != s->parallelism.value) field_invalid_int(errs, at, s->completions.value, "can only be modified in tandem with spec.parallelism");
}

void validate_job_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct batchv1_Job *j = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "spec");
    const struct string_map *labels = &old->spec.template.metadata.labels;
    bool prefixed = string_map_has(labels, "batch.kubernetes.io/job-name") && string_map_has(labels, "batch.kubernetes.io/controller-uid");
    whole_job(j, prefixed, errs);
    validate_object_meta_update(&j->metadata, &old->metadata, FIELD(NULL, "metadata"), errs);
    job_spec(&j->spec, at, errs);
    completions_update(&j->spec, &old->spec, FIELD(at, "completions"), errs);
    validate_immutable_struct(&metav1_LabelSelector_desc, j->spec.selector, old->spec.selector, FIELD(at, "selector"), errs);
    template_update(j, old, errs);
    validate_immutable_string(j->spec.completionMode, old->spec.completionMode, FIELD(at, "completionMode"), errs);
    validate_immutable_struct(&batchv1_PodFailurePolicy_desc, j->spec.podFailurePolicy, old->spec.podFailurePolicy, FIELD(at, "podFailurePolicy"), errs);
    validate_immutable_int32(j->spec.backoffLimitPerIndex, old->spec.backoffLimitPerIndex, FIELD(at, "backoffLimitPerIndex"), errs);
    validate_immutable_string(j->spec.managedBy, old->spec.managedBy, FIELD(at, "managedBy"), errs);
    validate_immutable_struct(&batchv1_SuccessPolicy_desc, j->spec.successPolicy, old->spec.successPolicy, FIELD(at, "successPolicy"), errs);
}

/* ---- CronJob ---- */

static void schedule(const struct batchv1_CronJobSpec *s, const struct batchv1_CronJobSpec *old, const struct field_path *at, struct field_errors *errs) {
    struct cron_schedule parsed;
    const char *why;
    bool zone_allowed = old && strstr(str_or(old->schedule, ""), "TZ"), zone = strstr(str_or(s->schedule, ""), "TZ") != NULL;
    if (str_empty(s->schedule)) {
        field_required(errs, at, "%s", "");
        return;
    }
    if (cron_schedule_parse(errs->arena, s->schedule, &parsed, &why) != 0) field_invalid(errs, at, s->schedule, "%s", why);
    if (zone_allowed && zone && s->timeZone) field_invalid(errs, at, s->schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    else if (!zone_allowed && zone) field_invalid(errs, at, s->schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
}

static bool time_zone_form(const char *name) {
    for (const char *p = name;; p++) {
        size_t len = strcspn(p, "/");
        if (len < 1 || len > 14 || *p == '-' || (len == 1 && *p == '.') || (len == 2 && p[0] == '.' && p[1] == '.')) return false;
        if (strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-_0123456789+") < len) return false;
        if (!p[len]) return true;
        p += len;
    }
}

static void time_zone(const char *name, const struct field_path *at, struct field_errors *errs) {
    if (!name) return;
    if (!*name) field_invalid(errs, at, name, "timeZone must be nil or non-empty string");
    else if (!time_zone_form(name)) field_invalid(errs, at, name, "unknown time zone %s", name);
    else if (str_eq_nocase(name, "Local")) {
        field_invalid(errs, at, name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
        if (!str_eq(name, "Local")) field_invalid(errs, at, name, "unknown time zone %s", name);
    } else if (!time_zone_is_known(name)) field_invalid(errs, at, name, "unknown time zone %s", name);
}

static void cron_job_spec(const struct batchv1_CronJobSpec *s, const struct batchv1_CronJobSpec *old, const struct field_path *at, struct field_errors *errs) {
    static const char *const policies[] = {"Allow", "Forbid", "Replace", NULL};
    const struct field_path *job = FIELD(FIELD(at, "jobTemplate"), "spec");
    const struct batchv1_JobSpec *j = &s->jobTemplate.spec;
    schedule(s, old, FIELD(at, "schedule"), errs);
    if (s->startingDeadlineSeconds.has) validate_non_negative(s->startingDeadlineSeconds.value, FIELD(at, "startingDeadlineSeconds"), errs);
    if (!old || !str_eq(old->timeZone, s->timeZone) || !old->timeZone != !s->timeZone) time_zone(s->timeZone, FIELD(at, "timeZone"), errs);
    if (str_empty(s->concurrencyPolicy)) field_required(errs, FIELD(at, "concurrencyPolicy"), "%s", "");
    else validate_enum(s->concurrencyPolicy, policies, FIELD(at, "concurrencyPolicy"), errs);
    common_spec(j, job, errs);
    if (j->selector) field_invalid_raw(errs, FIELD(job, "selector"), object_json_text(errs->arena, &metav1_LabelSelector_desc, j->selector), "`selector` will be auto-generated");
    if (is_true(&j->manualSelector)) field_error_add(errs, "FieldValueNotSupported", FIELD(job, "manualSelector"), "Unsupported value: true: supported values: \"nil\", \"false\"");
    optional_non_negative(&s->successfulJobsHistoryLimit, FIELD(at, "successfulJobsHistoryLimit"), errs);
    optional_non_negative(&s->failedJobsHistoryLimit, FIELD(at, "failedJobsHistoryLimit"), errs);
}

void validate_cronjob(const void *obj, struct field_errors *errs) {
    const struct batchv1_CronJob *c = obj;
    cron_job_spec(&c->spec, NULL, FIELD(NULL, "spec"), errs);
    if (strlen(str_or(c->metadata.name, "")) > CRON_JOB_NAME_MAX) field_invalid(errs, FIELD(FIELD(NULL, "metadata"), "name"), c->metadata.name, "must be no more than 52 characters");
}

void validate_cronjob_update(const void *obj, const void *old, struct field_errors *errs) {
    cron_job_spec(&((const struct batchv1_CronJob *)obj)->spec, &((const struct batchv1_CronJob *)old)->spec, FIELD(NULL, "spec"), errs);
}
