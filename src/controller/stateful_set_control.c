/* Which ordinal of a StatefulSet is made, replaced or taken away next: see stateful_set.h. Upstream: pkg/controller/statefulset stateful_set_control.go. */
#include <stdatomic.h>
#include "api/defaults.h"
#include "api/intstr.h"
#include "base/str.h"
#include "client/parallel.h"
#include "controller/metrics.h"
#include "controller/stateful_set.h"

/* ---- ordinals ---- */

int stateful_ordinal(const char *set_name, const char *pod_name) {
    int64_t n;
    size_t len = strlen(set_name);
    if (strncmp(pod_name, set_name, len) != 0 || pod_name[len] != '-' || !pod_name[len + 1] || strspn(pod_name + len + 1, "0123456789") != strlen(pod_name + len + 1)) return -1;
    return str_to_i64(pod_name + len + 1, &n) && n <= INT32_MAX ? (int)n : -1;
}

static int ordinal_of(const struct stateful_sync *s, stateful_pod *p) { return stateful_ordinal(s->set->metadata.name, p->metadata.name); }

bool stateful_in_range(const struct stateful_sync *s, stateful_pod *p) {
    int n = ordinal_of(s, p);
    return n >= s->start && n < s->start + s->replicas;
}

/* ---- states of a Pod ---- */

static bool created(stateful_pod *p) { return !str_empty(p->status.phase); }
static bool terminating(stateful_pod *p) { return p->metadata.deletionTimestamp.set; }
static bool running_and_ready(stateful_pod *p) { return str_eq(p->status.phase, "Running") && pod_is_ready(p); }
static bool available(const struct stateful_sync *s, stateful_pod *p) { return pod_is_available(p, s->set->spec.minReadySeconds, s->now_ns, NULL); }
static bool unavailable(const struct stateful_sync *s, stateful_pod *p) { return !available(s, p) || terminating(p); }
static const char *revision_of(stateful_pod *p) { return string_map_get(&p->metadata.labels, LABEL_CONTROLLER_REVISION_HASH); }

static void count(struct stateful_sync *s, const struct stateful_pods *l) {
    for (size_t i = 0; i < l->len; i++) {
        stateful_pod *p = l->items[i];
        s->status.replicas += created(p);
        s->status.readyReplicas += running_and_ready(p);
        s->status.availableReplicas += running_and_ready(p) && available(s, p);
        if (!created(p) || terminating(p)) continue;
        s->status.currentReplicas += str_eq(revision_of(p), s->current->metadata.name);
        s->status.updatedReplicas += str_eq(revision_of(p), s->update->metadata.name);
    }
}

static void count_all(struct stateful_sync *s, const struct stateful_pods *x, const struct stateful_pods *y) {
    struct appsv1_StatefulSetStatus *st = &s->status;
    st->replicas = st->readyReplicas = st->availableReplicas = st->currentReplicas = st->updatedReplicas = 0;
    count(s, x);
    if (y) count(s, y);
}

/* ---- revisions ---- */

static const struct appsv1_StatefulSet *with_revision(struct stateful_sync *s, controller_revision *r, struct status *reterr) {
    struct appsv1_StatefulSet *copy = arena_memdup(s->a, s->set, sizeof(*s->set));
    return history_template(s->a, r, &copy->spec.template, reterr) == 0 ? copy : NULL;
}

/* An older server's defaults may have made another text of the same template. */
static bool same_when_defaulted(struct stateful_sync *s, controller_revision *r, const char *data) {
    struct appsv1_StatefulSet *copy = object_copy(s->a, &appsv1_StatefulSet_desc, s->set);
    if (history_template(s->a, r, &copy->spec.template, NULL) != 0) return false;
    object_set_defaults(s->a, &appsv1_StatefulSet_desc, copy);
    return str_eq(history_patch(s->a, &copy->spec.template), data);
}

static int create_revision(struct stateful_sync *s, const char *data, int64_t number, int32_t *collisions, controller_revision **ret, struct status *reterr) {
    struct arena *a = s->a;
    const struct appsv1_StatefulSet *set = s->set;
    struct appsv1_ControllerRevision *r = object_new(a, &appsv1_ControllerRevision_desc), *made = arena_alloc(a, sizeof(*made));
    r->metadata.namespace = set->metadata.namespace;
    r->metadata.labels = string_map_copy(a, &set->spec.template.metadata.labels);
    string_map_set(a, &r->metadata.labels, LABEL_HISTORY_HASH, history_hash(a, data, *collisions));
    r->metadata.annotations = string_map_copy(a, &set->metadata.annotations);
    *LIST_PUSH(a, &r->metadata.ownerReferences) = controller_ref(a, &appsv1_StatefulSet_desc, set);
    r->data = (struct raw_json){data, strlen(data)};
    r->revision = number;
    *ret = made;
    for (;; ++*collisions) {
        _cleanup_status_ struct status err = STATUS_INIT;
        r->metadata.name = arena_printf(a, "%.223s-%s", set->metadata.name, history_hash(a, data, *collisions));
        if (client_create(s->sc->c->client, a, &appsv1_ControllerRevision_desc, r, made, &err) == 0) return 0;
        if (!str_eq(err.reason, REASON_ALREADY_EXISTS)) {
            if (reterr) status_copy(reterr, &err);
            return -1;
        }
        if (client_get(s->sc->c->client, a, &appsv1_ControllerRevision_desc, set->metadata.namespace, r->metadata.name, made, reterr) != 0) return -1;
        if (history_equal(made, data)) return 0;
    }
}

static int renumber(struct stateful_sync *s, controller_revision **r, int64_t number, struct status *reterr) {
    struct appsv1_ControllerRevision *copy = arena_memdup(s->a, *r, sizeof(**r)), *fresh = arena_alloc(s->a, sizeof(*fresh));
    if (copy->revision == number) return 0;
    copy->revision = number;
    if (client_update(s->sc->c->client, s->a, &appsv1_ControllerRevision_desc, copy, fresh, reterr) != 0) return -1;
    *r = fresh;
    return 0;
}

static int find_revisions(struct stateful_sync *s, struct revision_list *all, struct status *reterr) {
    const char *data = history_patch(s->a, &s->set->spec.template);
    int64_t next = all->len ? all->items[all->len - 1]->revision + 1 : 1;
    int32_t collisions = s->set->status.collisionCount.value;
    controller_revision *equal = NULL, *latest = all->len ? all->items[all->len - 1] : NULL;
    for (size_t i = 0; i < all->len; i++)
        if (history_equal(all->items[i], data)) equal = all->items[i];
    if (equal && (equal == latest || history_equal(latest, data))) s->update = latest;
    else if (equal) {
        s->update = equal;
        if (renumber(s, &s->update, next, reterr) != 0) return -1;
    } else if (latest && same_when_defaulted(s, latest, data)) s->update = latest;
    else if (create_revision(s, data, next, &collisions, &s->update, reterr) != 0) return -1;
    s->current = s->update;
    for (size_t i = 0; i < all->len; i++)
        if (str_eq(all->items[i]->metadata.name, s->set->status.currentRevision)) s->current = all->items[i];
    s->status = (struct appsv1_StatefulSetStatus){.observedGeneration = s->set->metadata.generation, .currentRevision = s->current->metadata.name, .updateRevision = s->update->metadata.name,
        .collisionCount = OPT(collisions)};
    s->current_set = with_revision(s, s->current, reterr);
    s->update_set = s->current_set ? with_revision(s, s->update, reterr) : NULL;
    return s->update_set ? 0 : -1;
}

static int truncate_history(struct stateful_sync *s, const struct revision_list *all, struct status *reterr) {
    size_t limit = (size_t)(s->set->spec.revisionHistoryLimit.has ? s->set->spec.revisionHistoryLimit.value : 10), dead = 0;
    controller_revision **items = arena_calloc(s->a, all->len + 1, sizeof(*items));
    for (size_t i = 0; i < all->len; i++) {
        const char *name = all->items[i]->metadata.name;
        bool live = (s->current && str_eq(s->current->metadata.name, name)) || (s->update && str_eq(s->update->metadata.name, name));
        for (size_t j = 0; j < s->pods.len && !live; j++) live = str_eq(revision_of(s->pods.items[j]), name);
        if (!live) items[dead++] = all->items[i];
    }
    for (size_t i = 0; i + limit < dead; i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (client_delete(s->sc->c->client, &appsv1_ControllerRevision_desc, items[i]->metadata.namespace, items[i]->metadata.name, NULL, &err) == 0 || status_is(&err, 404)) continue;
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    return 0;
}

/* ---- one Pod ---- */

enum step { STEP_ON, STEP_WAIT /* nothing more in this sync */, STEP_FAILED };

struct walk {
    struct stateful_sync *s;
    const struct stateful_pods *pods;
    stateful_pod *first_unavailable;
    enum step (*fn)(struct walk *w, struct arena *a, stateful_pod *p, struct status *reterr);
    pthread_mutex_t mutex;
    struct status err;
};

static enum step done(int rc, enum step then) { return rc == 0 ? then : STEP_FAILED; }

static enum step process_replica(struct walk *w, struct arena *a, stateful_pod *p, struct status *reterr) {
    struct stateful_sync *s = w->s;
    if (pod_is_terminal(p)) return terminating(p) ? STEP_WAIT : done(stateful_pod_delete(s, p, reterr), STEP_WAIT);
    if (!created(p)) {
        if (stateful_claim_is_stale(s, a, s->set, p)) return STEP_WAIT;
        if (stateful_pod_create(s, a, s->set, p, reterr) != 0) return STEP_FAILED;
        return s->monotonic ? STEP_WAIT : STEP_ON;
    }
    if (str_eq(p->status.phase, "Pending") && (stateful_claims_create(s, a, s->set, p, reterr) != 0 || stateful_claims_update_retention(s, a, s->set, p, reterr) != 0)) return STEP_FAILED;
    if (s->monotonic && (terminating(p) || !running_and_ready(p) || !available(s, p))) return STEP_WAIT;
    return done(stateful_pod_update(s, a, s->update_set, p, reterr), STEP_ON);
}

static enum step fix_claims(struct walk *w, struct arena *a, stateful_pod *p, struct status *reterr) {
    if (stateful_claims_match_retention(w->s, a, w->s->update_set, p)) return STEP_ON;
    return done(stateful_claims_update_retention(w->s, a, w->s->update_set, p, reterr), STEP_ON);
}

static enum step process_condemned(struct walk *w, struct arena *a UNUSED, stateful_pod *p, struct status *reterr) {
    struct stateful_sync *s = w->s;
    if (terminating(p)) return s->monotonic ? STEP_WAIT : STEP_ON;
    if (s->monotonic && p != w->first_unavailable && (!running_and_ready(p) || !available(s, p))) return STEP_WAIT;
    return done(stateful_pod_delete(s, p, reterr), STEP_WAIT);
}

static int walk_one(void *arg, size_t i) {
    struct walk *w = arg;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    if (w->fn(w, a, w->pods->items[i], &err) != STEP_FAILED) return 0;
    pthread_mutex_lock(&w->mutex);
    if (!w->err.code && !w->err.message) status_copy(&w->err, &err);
    pthread_mutex_unlock(&w->mutex);
    return -1;
}

/* One after the other until one says to wait, or all at once in growing batches. */
static enum step walk(struct walk *w, const struct stateful_pods *pods, enum step (*fn)(struct walk *w, struct arena *a, stateful_pod *p, struct status *reterr), struct status *reterr) {
    w->pods = pods;
    w->fn = fn;
    if (w->s->monotonic) {
        for (size_t i = 0; i < pods->len; i++) {
            enum step st = fn(w, w->s->a, pods->items[i], reterr);
            if (st != STEP_ON) return st;
        }
        return STEP_ON;
    }
    pthread_mutex_init(&w->mutex, NULL);
    w->err = (struct status)STATUS_INIT;
    size_t n = parallel_slow_start(pods->len, walk_one, w);
    pthread_mutex_destroy(&w->mutex);
    if (n < pods->len && reterr) status_copy(reterr, &w->err);
    status_release(&w->err);
    return n < pods->len ? STEP_FAILED : STEP_ON;
}

/* ---- rolling ---- */

static int roll_one(struct stateful_sync *s, stateful_pod *p, struct status *reterr) {
    if (stateful_pod_delete(s, p, reterr) != 0) return -1;
    s->status.currentReplicas--;
    return 0;
}

static bool is_old(const struct stateful_sync *s, stateful_pod *p) { return !str_eq(revision_of(p), s->update->metadata.name) && !terminating(p); }

static int roll_several(struct stateful_sync *s, const struct stateful_pods *replicas, size_t partition, int32_t max, struct status *reterr) {
    int32_t gone = 0;
    for (size_t i = 0; i < replicas->len; i++) gone += unavailable(s, replicas->items[i]);
    for (size_t i = replicas->len; i > partition && gone < max; i--) {
        if (!is_old(s, replicas->items[i - 1])) continue;
        if (roll_one(s, replicas->items[i - 1], reterr) != 0) return -1;
        gone++;
    }
    return 0;
}

static int32_t max_unavailable(const struct stateful_sync *s) {
    const struct appsv1_RollingUpdateStatefulSetStrategy *r = s->set->spec.updateStrategy.rollingUpdate;
    return r && r->maxUnavailable.kind != INTSTR_NONE ? MAX(intstr_scaled_or(&r->maxUnavailable, s->replicas, false, 1), 1) : 1;
}

static void tell(const struct stateful_sync *s, struct metric_family *f, int32_t n) {
    controller_metric_set(f, n, "pod_management_policy=\"%s\",statefulset_name=\"%s\",statefulset_namespace=\"%s\"", str_or(s->set->spec.podManagementPolicy, "OrderedReady"),
                          s->set->metadata.name, s->set->metadata.namespace);
}

/* From the last ordinal down to the partition; each waits until the one before works. */
static int roll(struct stateful_sync *s, const struct stateful_pods *replicas, struct status *reterr) {
    const struct appsv1_RollingUpdateStatefulSetStrategy *r = s->set->spec.updateStrategy.rollingUpdate;
    size_t partition = r && r->partition.has ? (size_t)MAX(r->partition.value, 0) : 0;
    int32_t gone = 0;
    for (size_t i = 0; i < replicas->len; i++) gone += unavailable(s, replicas->items[i]);
    tell(s, &metrics_stateful_unavailable, gone);
    if (r && r->maxUnavailable.kind != INTSTR_NONE) return roll_several(s, replicas, partition, max_unavailable(s), reterr);
    for (size_t i = replicas->len; i > partition; i--) {
        if (is_old(s, replicas->items[i - 1])) return roll_one(s, replicas->items[i - 1], reterr);
        if (unavailable(s, replicas->items[i - 1])) return 0;
    }
    return 0;
}

/* ---- all of them ---- */

/* Below the partition, and below what has not been updated yet, a new Pod is of the current revision. */
static stateful_pod *new_pod(struct stateful_sync *s, int ordinal) {
    const struct appsv1_StatefulSetUpdateStrategy *u = &s->set->spec.updateStrategy;
    bool current = u->rollingUpdate ? ordinal < s->start + u->rollingUpdate->partition.value : str_eq(u->type, "RollingUpdate") && ordinal < s->start + s->set->status.currentReplicas;
    return stateful_pod_new(s->a, current ? s->current_set : s->update_set, ordinal, current ? s->current->metadata.name : s->update->metadata.name);
}

static void sort_out(struct stateful_sync *s, struct stateful_pods *replicas, struct stateful_pods *condemned, stateful_pod **ret_first_unavailable) {
    *replicas = (struct stateful_pods){arena_calloc(s->a, (size_t)s->replicas + 1, sizeof(*replicas->items)), (size_t)s->replicas};
    *condemned = (struct stateful_pods){arena_calloc(s->a, s->pods.len + 1, sizeof(*condemned->items)), 0};
    for (size_t i = 0; i < s->pods.len; i++)
        if (stateful_in_range(s, s->pods.items[i])) replicas->items[ordinal_of(s, s->pods.items[i]) - s->start] = s->pods.items[i];
    for (size_t i = s->pods.len; i > 0; i--) /* the highest ordinals first */
        if (!stateful_in_range(s, s->pods.items[i - 1])) condemned->items[condemned->len++] = s->pods.items[i - 1];
    for (int i = 0; i < s->replicas; i++)
        if (!replicas->items[i]) replicas->items[i] = new_pod(s, s->start + i);
    *ret_first_unavailable = NULL;
    for (size_t i = 0; i < replicas->len && !*ret_first_unavailable; i++)
        if (unavailable(s, replicas->items[i])) *ret_first_unavailable = replicas->items[i];
    for (size_t i = condemned->len; i > 0 && !*ret_first_unavailable; i--)
        if (unavailable(s, condemned->items[i - 1])) *ret_first_unavailable = condemned->items[i - 1];
}

static int update_pods(struct stateful_sync *s, struct status *reterr) {
    struct stateful_pods replicas, condemned;
    struct walk w = {.s = s};
    count_all(s, &s->pods, NULL);
    if (s->set->metadata.deletionTimestamp.set) return 0;
    sort_out(s, &replicas, &condemned, &w.first_unavailable);
    enum step st = walk(&w, &replicas, process_replica, reterr);
    if (st == STEP_ON) st = walk(&w, &condemned, fix_claims, reterr);
    if (st == STEP_ON) st = walk(&w, &condemned, process_condemned, reterr);
    count_all(s, &replicas, &condemned);
    if (st != STEP_ON) return st == STEP_FAILED ? -1 : 0;
    return str_eq(s->set->spec.updateStrategy.type, "OnDelete") ? 0 : roll(s, &replicas, reterr);
}

static int write_status(struct stateful_sync *s, struct status *reterr) {
    struct appsv1_StatefulSetStatus *n = &s->status;
    const struct appsv1_StatefulSetStatus *o = &s->set->status;
    if (str_eq(s->set->spec.updateStrategy.type, "RollingUpdate") && n->updatedReplicas == s->replicas && n->readyReplicas == s->replicas && n->replicas == s->replicas) {
        n->currentReplicas = n->updatedReplicas; /* the update is complete: it is the current revision now */
        n->currentRevision = n->updateRevision;
    }
    n->conditions = o->conditions;
    if (n->observedGeneration <= o->observedGeneration && n->replicas == o->replicas && n->currentReplicas == o->currentReplicas && n->readyReplicas == o->readyReplicas &&
        n->updatedReplicas == o->updatedReplicas && n->availableReplicas == o->availableReplicas && str_eq(n->currentRevision, o->currentRevision) && str_eq(n->updateRevision, o->updateRevision))
        return 0;
    struct appsv1_StatefulSet *copy = arena_memdup(s->a, s->set, sizeof(*s->set));
    copy->status = *n;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_update_status(s->sc->c->client, s->a, &appsv1_StatefulSet_desc, copy, NULL, &err) == 0 || status_is(&err, 404)) return 0;
    if (reterr) status_copy(reterr, &err);
    return -1;
}

int stateful_set_update(struct stateful_sync *s, struct status *reterr) {
    struct revision_list all;
    struct cached_list hold = {0};
    int rc = history_claim(s->sc->c, s->a, &appsv1_StatefulSet_desc, s->set, &s->selector, s->sc->revisions, s->sc->revisions_by_controller, &hold, &all, reterr);
    cached_list_take(&s->hold, &hold);
    if (rc != 0 || find_revisions(s, &all, reterr) != 0) return -1;
    rc = update_pods(s, reterr);
    tell(s, &metrics_stateful_max_unavailable, max_unavailable(s));
    if (write_status(s, rc == 0 ? reterr : NULL) != 0) rc = -1;
    if (truncate_history(s, &all, rc == 0 ? reterr : NULL) != 0) rc = -1;
    return rc;
}
