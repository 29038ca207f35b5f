/* Revisions, annotations, conditions and arithmetic of Deployments: see deployment.h. Upstream: pkg/controller/deployment/util. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/intstr.h"
#include "base/str.h"
#include "controller/deployment.h"

enum { REVISION_HISTORY_CHARS_MAX = 2000 };

/* ---- conditions ---- */

const struct appsv1_DeploymentCondition *deployment_condition(const struct appsv1_DeploymentStatus *s, const char *type) {
    LIST_FOREACH(c, &s->conditions)
        if (str_eq(c->type, type)) return c;
    return NULL;
}

void deployment_remove_condition(struct appsv1_DeploymentStatus *s, const char *type) {
    size_t kept = 0;
    for (size_t i = 0; i < s->conditions.len; i++)
        if (!str_eq(s->conditions.items[i].type, type)) s->conditions.items[kept++] = s->conditions.items[i];
    s->conditions.len = kept;
}

void deployment_set_condition(struct arena *a, struct appsv1_DeploymentStatus *s, const struct appsv1_DeploymentCondition *c) {
    struct appsv1_DeploymentCondition now = *c;
    const struct appsv1_DeploymentCondition *was = deployment_condition(s, c->type);
    if (was && str_eq(was->status, c->status)) {
        if (str_eq(was->reason, c->reason)) return;
        now.lastTransitionTime = was->lastTransitionTime;
    }
    struct appsv1_DeploymentCondition_list list = {0};
    LIST_FOREACH(o, &s->conditions)
        if (!str_eq(o->type, c->type)) *LIST_PUSH(a, &list) = *o;
    *LIST_PUSH(a, &list) = now;
    s->conditions = list;
}

struct appsv1_DeploymentCondition deployment_new_condition(const struct rollout *ro, const char *type, const char *status, const char *reason, const char *message) {
    struct api_time now = {.set = true, .sec = env_now_s(ro->dc->c->env)};
    return (struct appsv1_DeploymentCondition){.type = type, .status = status, .lastUpdateTime = now, .lastTransitionTime = now, .reason = reason, .message = message};
}

/* ---- limits ---- */

bool deployment_has_deadline(const struct appsv1_Deployment *d) { return d->spec.progressDeadlineSeconds.has && d->spec.progressDeadlineSeconds.value != INT32_MAX; }
bool deployment_is_rolling(const struct appsv1_Deployment *d) { return str_eq(d->spec.strategy.type, "RollingUpdate"); }

/* Surge rounds up, unavailability down; if both come to nothing, one may be unavailable, or nothing could ever move. */
static void resolve_fenceposts(const struct appsv1_Deployment *d, int32_t *ret_surge, int32_t *ret_unavailable) {
    const struct appsv1_RollingUpdateDeployment *r = d->spec.strategy.rollingUpdate;
    int32_t replicas = d->spec.replicas.value;
    *ret_surge = r ? intstr_scaled_or(&r->maxSurge, replicas, true, 0) : 0;
    *ret_unavailable = r ? intstr_scaled_or(&r->maxUnavailable, replicas, false, 0) : 0;
    if (*ret_surge == 0 && *ret_unavailable == 0) *ret_unavailable = 1;
}

int32_t deployment_max_unavailable(const struct appsv1_Deployment *d) {
    int32_t surge, unavailable;
    if (!deployment_is_rolling(d) || d->spec.replicas.value == 0) return 0;
    resolve_fenceposts(d, &surge, &unavailable);
    return MIN(unavailable, d->spec.replicas.value);
}

int32_t deployment_max_surge(const struct appsv1_Deployment *d) {
    int32_t surge, unavailable;
    if (!deployment_is_rolling(d)) return 0;
    resolve_fenceposts(d, &surge, &unavailable);
    return surge;
}

/* ---- revisions and annotations ---- */

bool set_revision(const void *obj, int64_t *ret) {
    const char *text = string_map_get(&((const struct object *)obj)->metadata.annotations, ANNOTATION_REVISION);
    *ret = 0;
    return !text || str_to_i64(text, ret);
}

int64_t sets_max_revision(const struct set_list *l) {
    int64_t max = 0, v;
    SETS_FOREACH(s, l)
        if (set_revision(s, &v) && v > max) max = v;
    return max;
}

bool annotation_is_own(const char *key) {
    static const char *const own[] = {"kubectl.kubernetes.io/last-applied-configuration", ANNOTATION_REVISION, ANNOTATION_REVISION_HISTORY, ANNOTATION_DESIRED_REPLICAS,
                                      ANNOTATION_MAX_REPLICAS, ANNOTATION_ROLLBACK_TO, NULL};
    return str_in(key, own);
}

static bool annotate(struct arena *a, struct appsv1_ReplicaSet *s, const char *key, const char *value) {
    const char *was = string_map_get(&s->metadata.annotations, key);
    if (was && str_eq(was, value)) return false;
    string_map_set(a, &s->metadata.annotations, key, value);
    return true;
}

bool set_replicas_annotations_differ(replica_set *s, const struct appsv1_Deployment *d) {
    char desired[16], max[16];
    snprintf(desired, sizeof(desired), "%d", d->spec.replicas.value);
    snprintf(max, sizeof(max), "%d", d->spec.replicas.value + deployment_max_surge(d));
    return !str_eq(string_map_get(&s->metadata.annotations, ANNOTATION_DESIRED_REPLICAS), desired) || !str_eq(string_map_get(&s->metadata.annotations, ANNOTATION_MAX_REPLICAS), max);
}

bool set_annotate_replicas(struct arena *a, struct appsv1_ReplicaSet *s, const struct appsv1_Deployment *d) {
    bool changed = annotate(a, s, ANNOTATION_DESIRED_REPLICAS, arena_printf(a, "%d", d->spec.replicas.value));
    return annotate(a, s, ANNOTATION_MAX_REPLICAS, arena_printf(a, "%d", d->spec.replicas.value + deployment_max_surge(d))) || changed;
}

/* A set that becomes the newest again (a rollback) remembers under which revisions it served before; the oldest are dropped when the list gets long. */
static void remember_revision(struct arena *a, struct appsv1_ReplicaSet *s, const char *former) {
    const char *history = string_map_get(&s->metadata.annotations, ANNOTATION_REVISION_HISTORY);
    if (str_empty(history)) {
        string_map_set(a, &s->metadata.annotations, ANNOTATION_REVISION_HISTORY, former);
        return;
    }
    while (history && strlen(history) + strlen(former) + 1 > REVISION_HISTORY_CHARS_MAX) {
        history = strchr(history, ',');
        if (history) history++;
    }
    if (history) string_map_set(a, &s->metadata.annotations, ANNOTATION_REVISION_HISTORY, arena_printf(a, "%s,%s", history, former));
    else if (strlen(former) <= REVISION_HISTORY_CHARS_MAX) string_map_set(a, &s->metadata.annotations, ANNOTATION_REVISION_HISTORY, former);
}

bool set_annotate_new(struct arena *a, const struct appsv1_Deployment *d, struct appsv1_ReplicaSet *s, int64_t revision, bool exists) {
    bool changed = false;
    LIST_FOREACH(e, &d->metadata.annotations)
        if (!annotation_is_own(e->key)) changed |= annotate(a, s, e->key, str_or(e->value, ""));
    const char *former = string_map_get(&s->metadata.annotations, ANNOTATION_REVISION);
    int64_t was = 0;
    /* A revision that is no number is somebody else's: left alone. */
    if (!str_empty(former) && !str_to_i64(former, &was)) return false;
    /* It may well be higher than asked for: old sets that counted have been deleted since. */
    if (was < revision) {
        string_map_set(a, &s->metadata.annotations, ANNOTATION_REVISION, arena_printf(a, "%lld", (long long)revision));
        changed = true;
        if (former) remember_revision(a, s, former);
    }
    if (!exists) changed |= set_annotate_replicas(a, s, d);
    return changed;
}

static bool annotated_number(replica_set *s, const char *key, int32_t *ret) {
    const char *text = string_map_get(&s->metadata.annotations, key);
    int64_t v;
    if (!text || !str_to_i64(text, &v) || v < 0 || v > INT32_MAX) return false;
    *ret = (int32_t)v;
    return true;
}

bool set_desired_replicas(replica_set *s, int32_t *ret) { return annotated_number(s, ANNOTATION_DESIRED_REPLICAS, ret); }

static struct string_map without_hash(const struct string_map *labels, struct string_map_entry *room) {
    struct string_map m = {room, 0};
    LIST_FOREACH(e, labels)
        if (!str_eq(e->key, LABEL_POD_TEMPLATE_HASH)) room[m.len++] = *e;
    return m;
}

bool template_equal_ignoring_hash(const struct corev1_PodTemplateSpec *x, const struct corev1_PodTemplateSpec *y) {
    struct corev1_PodTemplateSpec xc = *x, yc = *y;
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    xc.metadata.labels = without_hash(&x->metadata.labels, arena_calloc(a, x->metadata.labels.len + 1, sizeof(struct string_map_entry)));
    yc.metadata.labels = without_hash(&y->metadata.labels, arena_calloc(a, y->metadata.labels.len + 1, sizeof(struct string_map_entry)));
    return object_equal(&corev1_PodTemplateSpec_desc, &xc, &yc);
}

/* ---- sums and shares ---- */

int32_t sets_replicas(const struct set_list *l) {
    int32_t n = 0;
    SETS_FOREACH(s, l) n += s->spec.replicas.value;
    return n;
}

struct set_list sets_active(struct arena *a, const struct set_list *l, replica_set *more) {
    struct set_list ret = {arena_calloc(a, l->len + 1, sizeof(*ret.items)), 0};
    SETS_FOREACH(s, l)
        if (s->spec.replicas.value > 0) ret.items[ret.len++] = s;
    if (more && more->spec.replicas.value > 0) ret.items[ret.len++] = more;
    return ret;
}

static int32_t round_half_away(double v) { return (int32_t)(v < 0 ? v - 0.5 : v + 0.5); }

/* By how much a set should grow (or shrink) to keep its share of the Deployment, surge included. */
static int32_t fraction(replica_set *s, const struct appsv1_Deployment *d) {
    int32_t size = s->spec.replicas.value, before;
    if (d->spec.replicas.value == 0) return -size;
    if (!annotated_number(s, ANNOTATION_MAX_REPLICAS, &before) || before == 0) {
        before = d->status.replicas; /* somebody tampered with the annotation: an estimate */
        if (before == 0) return 0;
    }
    double max = d->spec.replicas.value + deployment_max_surge(d);
    return round_half_away(size * max / before) - size;
}

int32_t set_proportion(replica_set *s, const struct appsv1_Deployment *d, int32_t to_add, int32_t added) {
    if (s->spec.replicas.value == 0 || to_add == 0 || to_add == added) return 0;
    int32_t part = fraction(s, d), allowed = to_add - added;
    return to_add > 0 ? MIN(part, allowed) : MAX(part, allowed);
}

/* ---- order ---- */

void sets_sort(struct set_list *l, int (*cmp)(const void *, const void *)) { qsort(l->items, l->len, sizeof(*l->items), cmp); }

static int age_cmp(replica_set *x, replica_set *y) {
    int64_t cx = x->metadata.creationTimestamp.sec, cy = y->metadata.creationTimestamp.sec;
    return cx != cy ? (cx < cy ? -1 : 1) : str_cmp(x->metadata.name, y->metadata.name);
}

static int size_cmp(replica_set *x, replica_set *y) { return (x->spec.replicas.value < y->spec.replicas.value) - (x->spec.replicas.value > y->spec.replicas.value); }

#define TWO_SETS replica_set *s = *(replica_set *const *)x, *t = *(replica_set *const *)y
int set_by_age(const void *x, const void *y) { TWO_SETS; return age_cmp(s, t); }
int set_by_age_newest(const void *x, const void *y) { TWO_SETS; return age_cmp(t, s); }
int set_by_size_older(const void *x, const void *y) { TWO_SETS; return size_cmp(s, t) ? size_cmp(s, t) : age_cmp(s, t); }
int set_by_size_newer(const void *x, const void *y) { TWO_SETS; return size_cmp(s, t) ? size_cmp(s, t) : age_cmp(t, s); }

int set_by_revision(const void *x, const void *y) {
    TWO_SETS;
    int64_t rs, rt;
    if (!set_revision(s, &rs) || !set_revision(t, &rt) || rs == rt) return age_cmp(s, t);
    return rs < rt ? -1 : 1;
}
