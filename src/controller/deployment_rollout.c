/* Which ReplicaSet of a Deployment has how many replicas: see deployment.h. Upstream: pkg/controller/deployment sync.go, rolling.go, recreate.go, rollback.go.
 *
 * Every step is computed from the cache and written with the resourceVersion that it was computed from: what rests on an old view fails with a conflict
 * and is tried again. A new set's name follows from its template, so that it cannot be made twice. */
#include "base/log.h"
#include "base/str.h"
#include "controller/deployment.h"

enum { NAME_MAX_LEN = 253 };

/* ---- sets ---- */

static void replace(struct set_list *l, replica_set *was, replica_set *is) {
    for (size_t i = 0; i < l->len; i++)
        if (l->items[i] == was) l->items[i] = is;
}

static int write_set(struct rollout *ro, replica_set *was, const struct appsv1_ReplicaSet *now, replica_set **ret, struct status *reterr) {
    struct appsv1_ReplicaSet *fresh = arena_alloc(ro->a, sizeof(*fresh));
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_update(ro->dc->c->client, ro->a, &appsv1_ReplicaSet_desc, now, fresh, &err) != 0) {
        if (write_is_in_doubt(&err)) own_writes_doubt(ro->dc->writes, ro->d->metadata.uid);
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    own_writes_note(ro->dc->writes, ro->d->metadata.uid, fresh);
    replace(&ro->all, was, fresh);
    replace(&ro->old, was, fresh);
    if (ro->new_set == was) ro->new_set = fresh;
    *ret = fresh;
    return 0;
}

/* force: also when only the annotations differ. Returns 1 if the size was changed, 0 if not, -1. */
static int scale_set(struct rollout *ro, replica_set *s, int32_t to, bool force, struct status *reterr) {
    int32_t from = s->spec.replicas.value;
    if (from == to && (!force || !set_replicas_annotations_differ(s, ro->d))) return 0;
    struct appsv1_ReplicaSet *copy = object_copy(ro->a, &appsv1_ReplicaSet_desc, s);
    copy->spec.replicas = (struct opt_int32)OPT(to);
    set_annotate_replicas(ro->a, copy, ro->d);
    if (write_set(ro, s, copy, &s, reterr) != 0) return -1;
    if (from == to) return 0;
    event_record(ro->dc->c->events, &appsv1_Deployment_desc, ro->d, EVENT_NORMAL, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", from < to ? "up" : "down",
                 s->metadata.name, from, to);
    return 1;
}

static void find(struct rollout *ro) {
    sets_sort(&ro->all, set_by_age);
    ro->new_set = NULL;
    for (size_t i = 0; i < ro->all.len && !ro->new_set; i++)
        if (template_equal_ignoring_hash(&ro->all.items[i]->spec.template, &ro->d->spec.template)) ro->new_set = ro->all.items[i]; /* of several the oldest */
    ro->old = (struct set_list){arena_calloc(ro->a, ro->all.len + 1, sizeof(*ro->old.items)), 0};
    SETS_FOREACH(s, &ro->all)
        if (s != ro->new_set) ro->old.items[ro->old.len++] = s;
}

static bool set_deployment_revision(struct rollout *ro, const char *revision) {
    const char *was = string_map_get(&ro->d->metadata.annotations, ANNOTATION_REVISION);
    if (was && str_eq(was, revision)) return false;
    string_map_set(ro->a, &ro->d->metadata.annotations, ANNOTATION_REVISION, str_or(revision, ""));
    return true;
}

static void set_progressing(struct rollout *ro, const char *status, const char *reason, const char *message) {
    struct appsv1_DeploymentCondition c = deployment_new_condition(ro, "Progressing", status, reason, message);
    deployment_set_condition(ro->a, &ro->d->status, &c);
}

static int update_existing(struct rollout *ro, struct status *reterr) {
    replica_set *s = ro->new_set;
    struct appsv1_ReplicaSet *copy = object_copy(ro->a, &appsv1_ReplicaSet_desc, s);
    bool changed = set_annotate_new(ro->a, ro->d, copy, sets_max_revision(&ro->old) + 1, true);
    if (changed || copy->spec.minReadySeconds != ro->d->spec.minReadySeconds) {
        copy->spec.minReadySeconds = ro->d->spec.minReadySeconds;
        if (write_set(ro, s, copy, &s, reterr) != 0) return -1;
    }
    changed = set_deployment_revision(ro, string_map_get(&s->metadata.annotations, ANNOTATION_REVISION));
    if (deployment_has_deadline(ro->d) && !deployment_condition(&ro->d->status, "Progressing")) {
        set_progressing(ro, "True", "FoundNewReplicaSet", arena_printf(ro->a, "Found new replica set \"%s\"", s->metadata.name));
        changed = true;
    }
    return changed ? rollout_write_status(ro, reterr) : 0;
}

/* ---- a new set ---- */

/* What the old sets hold: also Pods that a set was told to give up and has not yet. Upstream counts what they were told alone, and so may exceed the surge for a while. */
static int32_t old_replicas(const struct rollout *ro) {
    int32_t n = 0;
    SETS_FOREACH(s, &ro->old) n += MAX(s->spec.replicas.value, s->status.replicas);
    return n;
}

/* How large the new set may be: all sets together stay within the surge. */
static int32_t new_replicas(const struct rollout *ro, replica_set *s) {
    int32_t want = ro->d->spec.replicas.value, have = s->spec.replicas.value;
    if (!deployment_is_rolling(ro->d)) return want;
    int32_t max = want + deployment_max_surge(ro->d), now = old_replicas(ro) + have;
    return now >= max ? have : have + MIN(max - now, want - have);
}

static struct appsv1_ReplicaSet *make_set(struct rollout *ro) {
    struct arena *a = ro->a;
    const struct appsv1_Deployment *d = ro->d;
    const char *hash = template_hash(a, &d->spec.template, d->status.collisionCount.has ? d->status.collisionCount.value : -1);
    struct appsv1_ReplicaSet *s = object_new(a, &appsv1_ReplicaSet_desc);
    size_t name_max = NAME_MAX_LEN - 1 - strlen(hash);
    s->metadata.name = arena_printf(a, "%.*s-%s", (int)MIN(strlen(d->metadata.name), name_max), d->metadata.name, hash);
    s->metadata.namespace = d->metadata.namespace;
    *LIST_PUSH(a, &s->metadata.ownerReferences) = controller_ref(a, &appsv1_Deployment_desc, d);
    s->spec.minReadySeconds = d->spec.minReadySeconds;
    s->spec.selector = object_copy(a, &metav1_LabelSelector_desc, d->spec.selector);
    string_map_set(a, &s->spec.selector->matchLabels, LABEL_POD_TEMPLATE_HASH, hash);
    object_copy_into(a, &corev1_PodTemplateSpec_desc, &s->spec.template, &d->spec.template);
    string_map_set(a, &s->spec.template.metadata.labels, LABEL_POD_TEMPLATE_HASH, hash);
    s->metadata.labels = string_map_copy(a, &s->spec.template.metadata.labels);
    s->spec.replicas = (struct opt_int32)OPT(0);
    s->spec.replicas.value = new_replicas(ro, s);
    set_annotate_new(a, d, s, sets_max_revision(&ro->old) + 1, false);
    return s;
}

/* The name is taken: by our own set that the cache did not show yet, or by another template with the same hash. */
static int name_taken(struct rollout *ro, const struct appsv1_ReplicaSet *s, struct appsv1_ReplicaSet *made, struct status *reterr, struct status *err) {
    _cleanup_cached_ struct cached *cached = informer_get(ro->dc->sets, s->metadata.namespace, s->metadata.name);
    if (!cached) return status_not_found(reterr, "apps", "replicasets", s->metadata.name); /* the cache will know soon */
    replica_set *there = CACHED(cached, appsv1_ReplicaSet);
    if (controlled_by(there, ro->d) && template_equal_ignoring_hash(&ro->d->spec.template, &there->spec.template)) {
        object_copy_into(ro->a, &appsv1_ReplicaSet_desc, made, there);
        return 0;
    }
    ro->d->status.collisionCount = (struct opt_int32)OPT((ro->d->status.collisionCount.has ? ro->d->status.collisionCount.value : 0) + 1);
    if (rollout_write_status(ro, NULL) == 0) log_debug("deployment %s/%s: hash collision, now %d", ro->d->metadata.namespace, ro->d->metadata.name, ro->d->status.collisionCount.value);
    if (reterr) status_copy(reterr, err);
    return -1;
}

static int create_failed(struct rollout *ro, const struct appsv1_ReplicaSet *s, const struct status *err, struct status *reterr) {
    if (reterr) status_copy(reterr, err);
    if (status_has_cause(err, "NamespaceTerminating")) return -1;
    const char *msg = arena_printf(ro->a, "Failed to create new replica set \"%s\": %s", s->metadata.name, status_message(err));
    if (deployment_has_deadline(ro->d)) {
        set_progressing(ro, "False", "ReplicaSetCreateError", msg);
        rollout_write_status(ro, NULL); /* the failure itself is what is reported */
    }
    event_record(ro->dc->c->events, &appsv1_Deployment_desc, ro->d, EVENT_WARNING, "ReplicaSetCreateError", "%s", msg);
    return -1;
}

static int create_new(struct rollout *ro, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct appsv1_ReplicaSet *s = make_set(ro), *made = arena_alloc(ro->a, sizeof(*made));
    bool existed = false;
    if (client_create(ro->dc->c->client, ro->a, &appsv1_ReplicaSet_desc, s, made, &err) != 0) {
        existed = str_eq(err.reason, REASON_ALREADY_EXISTS);
        if (write_is_in_doubt(&err)) own_writes_doubt(ro->dc->writes, ro->d->metadata.uid);
        if (!existed) return create_failed(ro, s, &err, reterr);
        if (name_taken(ro, s, made, reterr, &err) != 0) return -1;
    }
    own_writes_note(ro->dc->writes, ro->d->metadata.uid, made);
    if (!existed && s->spec.replicas.value > 0)
        event_record(ro->dc->c->events, &appsv1_Deployment_desc, ro->d, EVENT_NORMAL, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", made->metadata.name, s->spec.replicas.value);
    replica_set **items = arena_calloc(ro->a, ro->all.len + 1, sizeof(*items));
    memcpy(items, ro->all.items, ro->all.len * sizeof(*items));
    items[ro->all.len] = made;
    ro->all = (struct set_list){items, ro->all.len + 1};
    ro->new_set = made;
    bool changed = set_deployment_revision(ro, arena_printf(ro->a, "%lld", (long long)sets_max_revision(&ro->old) + 1));
    if (!existed && deployment_has_deadline(ro->d)) {
        set_progressing(ro, "True", "NewReplicaSetCreated", arena_printf(ro->a, "Created new replica set \"%s\"", made->metadata.name));
        changed = true;
    }
    return changed ? rollout_write_status(ro, reterr) : 0;
}

int rollout_find_new(struct rollout *ro, bool create, struct status *reterr) {
    find(ro);
    if (ro->new_set) return update_existing(ro, reterr);
    return create ? create_new(ro, reterr) : 0;
}

/* ---- scaling ---- */

bool rollout_is_scaling_event(const struct rollout *ro) {
    int32_t desired;
    SETS_FOREACH(s, &ro->all)
        if (s->spec.replicas.value > 0 && set_desired_replicas(s, &desired) && desired != ro->d->spec.replicas.value) return true;
    return false;
}

/* All Pods are where they should be in the end: what other sets have is too much. */
static bool saturated(const struct rollout *ro) {
    int32_t desired, want = ro->d->spec.replicas.value;
    replica_set *s = ro->new_set;
    return s && set_desired_replicas(s, &desired) && desired == want && s->spec.replicas.value == want && s->status.availableReplicas == want;
}

static int scale_in_proportion(struct rollout *ro, struct set_list *active, struct status *reterr) {
    int32_t want = ro->d->spec.replicas.value, allowed = want > 0 ? want + deployment_max_surge(ro->d) : 0;
    int32_t to_add = allowed - sets_replicas(active), added = 0;
    if (to_add) sets_sort(active, to_add > 0 ? set_by_size_newer : set_by_size_older);
    int32_t *sizes = arena_calloc(ro->a, active->len, sizeof(*sizes));
    for (size_t i = 0; i < active->len; i++) {
        int32_t part = to_add ? set_proportion(active->items[i], ro->d, to_add, added) : 0;
        sizes[i] = active->items[i]->spec.replicas.value + part;
        added += part;
    }
    if (to_add && active->len) sizes[0] = MAX(sizes[0] + to_add - added, 0); /* the largest takes what rounding left over */
    for (size_t i = 0; i < active->len; i++)
        if (scale_set(ro, active->items[i], sizes[i], true, reterr) < 0) return -1;
    return 0;
}

int rollout_scale(struct rollout *ro, struct status *reterr) {
    struct set_list active = sets_active(ro->a, &ro->old, ro->new_set);
    if (active.len <= 1) {
        replica_set *one = active.len ? active.items[0] : ro->new_set ? ro->new_set : ro->old.len ? ro->old.items[ro->old.len - 1] : NULL;
        return one && scale_set(ro, one, ro->d->spec.replicas.value, false, reterr) < 0 ? -1 : 0;
    }
    if (saturated(ro)) {
        struct set_list old = sets_active(ro->a, &ro->old, NULL);
        SETS_FOREACH(s, &old)
            if (scale_set(ro, s, 0, false, reterr) < 0) return -1;
        return 0;
    }
    return deployment_is_rolling(ro->d) ? scale_in_proportion(ro, &active, reterr) : 0;
}

/* ---- rolling ---- */

static int32_t unavailable_of(replica_set *s) { return s->spec.replicas.value - s->status.availableReplicas; }

/* What does not work anyway goes first: it takes nothing away, and would block the rest. Returns how many, or -1. */
static int32_t drop_unhealthy(struct rollout *ro, struct set_list *old, int32_t max, struct status *reterr) {
    int32_t dropped = 0;
    for (size_t i = 0; i < old->len && dropped < max; i++) {
        replica_set *s = old->items[i];
        int32_t n = MIN(max - dropped, unavailable_of(s)), size = s->spec.replicas.value;
        if (size == 0 || n <= 0) continue;
        if (scale_set(ro, s, size - n, false, reterr) < 0) return -1;
        dropped += n;
    }
    return dropped;
}

/* A set that was made smaller may still count those that are to go. */
static int32_t will_be_available(replica_set *s) { return MIN(s->status.availableReplicas, s->spec.replicas.value); }

static int32_t drop_available(struct rollout *ro, struct set_list *old, struct status *reterr) {
    int32_t available = will_be_available(ro->new_set), min = ro->d->spec.replicas.value - deployment_max_unavailable(ro->d);
    SETS_FOREACH(s, old) available += will_be_available(s);
    int32_t dropped = 0, max = available - min;
    SETS_FOREACH(s, &ro->all)
        if (s->metadata.generation > s->status.observedGeneration) return 0; /* what it counts is from before it was made smaller; its status comes soon */
    for (size_t i = 0; i < old->len && dropped < max; i++) {
        int32_t size = old->items[i]->spec.replicas.value, n = MIN(size, max - dropped);
        if (size == 0) continue;
        if (scale_set(ro, old->items[i], size - n, false, reterr) < 0) return -1;
        dropped += n;
    }
    return dropped;
}

/* How many were taken away, or -1. */
static int32_t shrink_old(struct rollout *ro, struct status *reterr) {
    struct set_list old = sets_active(ro->a, &ro->old, NULL);
    int32_t min = ro->d->spec.replicas.value - deployment_max_unavailable(ro->d);
    /* New Pods that do not work count as missing: otherwise they would let the old ones go. */
    int32_t max = sets_replicas(&old) + ro->new_set->spec.replicas.value - min - unavailable_of(ro->new_set);
    if (old.len == 0 || max <= 0) return 0;
    int32_t unhealthy = drop_unhealthy(ro, &old, max, reterr);
    if (unhealthy < 0) return -1;
    old = sets_active(ro->a, &ro->old, NULL);
    int32_t healthy = drop_available(ro, &old, reterr);
    return healthy < 0 ? -1 : unhealthy + healthy;
}

static int grow_new(struct rollout *ro, struct status *reterr) {
    replica_set *s = ro->new_set;
    int32_t have = s->spec.replicas.value, want = ro->d->spec.replicas.value;
    if (have == want) return 0;
    return scale_set(ro, s, have > want ? want : new_replicas(ro, s), false, reterr);
}

int rollout_rolling(struct rollout *ro, struct status *reterr) {
    if (!ro->new_set && create_new(ro, reterr) != 0) return -1;
    int grown = grow_new(ro, reterr);
    if (grown < 0) return -1;
    if (grown) return rollout_sync_rollout_status(ro, reterr);
    int32_t shrunk = shrink_old(ro, reterr);
    if (shrunk < 0) {
        rollout_sync_rollout_status(ro, NULL); /* told all the same; the first failure is what counts */
        return -1;
    }
    if (shrunk == 0 && deployment_complete(ro->d, &ro->d->status) && rollout_clean_up(ro, reterr) != 0) return -1;
    return rollout_sync_rollout_status(ro, reterr);
}

/* ---- recreate ---- */

static bool old_pods_run(const struct rollout *ro) {
    SETS_FOREACH(s, &ro->old)
        if (s->status.replicas > 0) return true;
    SETS_FOREACH(s, &ro->old) {
        _cleanup_cached_list_ struct cached_list pods = {0};
        informer_by_index(ro->dc->pods, ro->dc->pods_by_controller, s->metadata.uid, &pods);
        CACHED_FOREACH(p, corev1_Pod, &pods)
            if (!pod_is_terminal(p)) return true;
    }
    return false;
}

int rollout_recreate(struct rollout *ro, struct status *reterr) {
    bool shrunk = false;
    struct set_list old = sets_active(ro->a, &ro->old, NULL);
    SETS_FOREACH(s, &old) {
        int rc = scale_set(ro, s, 0, false, reterr);
        if (rc < 0) return -1;
        shrunk |= rc > 0;
    }
    if (shrunk || old_pods_run(ro)) return rollout_sync_rollout_status(ro, reterr);
    if (!ro->new_set && create_new(ro, reterr) != 0) return -1;
    if (scale_set(ro, ro->new_set, ro->d->spec.replicas.value, false, reterr) < 0) return -1;
    if (deployment_complete(ro->d, &ro->d->status) && rollout_clean_up(ro, reterr) != 0) return -1;
    return rollout_sync_rollout_status(ro, reterr);
}

/* ---- history ---- */

int rollout_clean_up(struct rollout *ro, struct status *reterr) {
    const struct opt_int32 *limit = &ro->d->spec.revisionHistoryLimit;
    if (!limit->has || limit->value == INT32_MAX) return 0;
    struct set_list alive = {arena_calloc(ro->a, ro->old.len + 1, sizeof(*alive.items)), 0};
    SETS_FOREACH(s, &ro->old)
        if (!s->metadata.deletionTimestamp.set) alive.items[alive.len++] = s;
    sets_sort(&alive, set_by_revision);
    for (size_t i = 0; i + (size_t)limit->value < alive.len; i++) {
        replica_set *s = alive.items[i];
        if (s->status.replicas || s->spec.replicas.value || s->metadata.generation > s->status.observedGeneration) continue;
        _cleanup_status_ struct status err = STATUS_INIT;
        if (client_delete(ro->dc->c->client, &appsv1_ReplicaSet_desc, s->metadata.namespace, s->metadata.name, NULL, &err) != 0 && !status_is(&err, 404)) {
            if (reterr) status_copy(reterr, &err);
            return -1;
        }
    }
    return 0;
}

/* The second highest. */
static int64_t last_revision(const struct set_list *l) {
    int64_t max = 0, second = 0, v;
    SETS_FOREACH(s, l) {
        if (!set_revision(s, &v)) continue;
        if (v >= max) {
            second = max;
            max = v;
        } else if (v > second) second = v;
    }
    return second;
}

static int roll_back_done(struct rollout *ro, struct status *reterr) {
    string_map_del(&ro->d->metadata.annotations, ANNOTATION_ROLLBACK_TO);
    return client_update(ro->dc->c->client, ro->a, &appsv1_Deployment_desc, ro->d, NULL, reterr);
}

/* Template and annotations come back from the set. */
static void take_over(struct rollout *ro, replica_set *s) {
    struct arena *a = ro->a;
    object_copy_into(a, &corev1_PodTemplateSpec_desc, &ro->d->spec.template, &s->spec.template);
    string_map_del(&ro->d->spec.template.metadata.labels, LABEL_POD_TEMPLATE_HASH);
    struct string_map kept = {0};
    LIST_FOREACH(e, &ro->d->metadata.annotations)
        if (annotation_is_own(e->key)) string_map_set(a, &kept, e->key, e->value);
    LIST_FOREACH(e, &s->metadata.annotations)
        if (!annotation_is_own(e->key)) string_map_set(a, &kept, e->key, e->value);
    ro->d->metadata.annotations = kept;
}

int rollout_roll_back(struct rollout *ro, struct status *reterr) {
    struct event_recorder *events = ro->dc->c->events;
    const struct type_desc *type = &appsv1_Deployment_desc;
    int64_t to = 0, v;
    if (!ro->new_set && create_new(ro, reterr) != 0) return -1;
    str_to_i64(string_map_get(&ro->d->metadata.annotations, ANNOTATION_ROLLBACK_TO), &to);
    if (to == 0 && (to = last_revision(&ro->all)) == 0) {
        event_record(events, type, ro->d, EVENT_WARNING, "DeploymentRollbackRevisionNotFound", "Unable to find last revision.");
        return roll_back_done(ro, reterr);
    }
    SETS_FOREACH(s, &ro->all) {
        if (!set_revision(s, &v) || v != to) continue;
        bool differs = !template_equal_ignoring_hash(&ro->d->spec.template, &s->spec.template);
        if (differs) take_over(ro, s);
        else event_record(events, type, ro->d, EVENT_WARNING, "DeploymentRollbackTemplateUnchanged", "The rollback revision contains the same template as current deployment \"%s\"",
                          ro->d->metadata.name);
        if (roll_back_done(ro, reterr) != 0) return -1;
        if (differs) event_record(events, type, ro->d, EVENT_NORMAL, "DeploymentRollback", "Rolled back deployment \"%s\" to revision %lld", ro->d->metadata.name, (long long)to);
        return 0;
    }
    event_record(events, type, ro->d, EVENT_WARNING, "DeploymentRollbackRevisionNotFound", "Unable to find the revision to rollback to.");
    return roll_back_done(ro, reterr);
}
