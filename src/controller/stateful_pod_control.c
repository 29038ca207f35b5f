/* Pods of StatefulSets and their claims: see stateful_set.h. Upstream: pkg/controller/statefulset stateful_pod_control.go, stateful_set_utils.go. */
#include "base/str.h"
#include "controller/stateful_set.h"

/* ---- identity and storage ---- */

static char *claim_name(struct arena *a, const struct corev1_PersistentVolumeClaim *template, const char *set, int ordinal) {
    return arena_printf(a, "%s-%s-%d", template->metadata.name, set, ordinal);
}

static void set_identity(struct arena *a, const struct appsv1_StatefulSet *set, struct corev1_Pod *p, int ordinal) {
    p->metadata.name = arena_printf(a, "%s-%d", set->metadata.name, ordinal);
    p->metadata.namespace = set->metadata.namespace;
    string_map_set(a, &p->metadata.labels, LABEL_STATEFUL_SET_POD_NAME, p->metadata.name);
    string_map_set(a, &p->metadata.labels, LABEL_POD_INDEX, arena_printf(a, "%d", ordinal));
}

/* The claims' volumes, then the template's others. */
static void set_storage(struct arena *a, const struct appsv1_StatefulSet *set, struct corev1_Pod *p, int ordinal) {
    struct corev1_Volume_list volumes = {0};
    LIST_FOREACH(t, &set->spec.volumeClaimTemplates) {
        struct corev1_Volume *v = LIST_PUSH(a, &volumes);
        v->name = t->metadata.name;
        v->persistentVolumeClaim = ARENA_NEW(a, struct corev1_PersistentVolumeClaimVolumeSource);
        v->persistentVolumeClaim->claimName = claim_name(a, t, set->metadata.name, ordinal);
    }
    LIST_FOREACH(v, &p->spec.volumes) {
        bool claimed = false;
        LIST_FOREACH(t, &set->spec.volumeClaimTemplates) claimed |= str_eq(t->metadata.name, v->name);
        if (!claimed) *LIST_PUSH(a, &volumes) = *v;
    }
    p->spec.volumes = volumes;
}

struct corev1_Pod *stateful_pod_new(struct arena *a, const struct appsv1_StatefulSet *set, int ordinal, const char *revision) {
    struct corev1_Pod *p = pod_from_template(a, &appsv1_StatefulSet_desc, set, &set->spec.template);
    p->metadata.generateName = NULL;
    set_identity(a, set, p, ordinal);
    p->spec.hostname = p->metadata.name;
    p->spec.subdomain = set->spec.serviceName;
    set_storage(a, set, p, ordinal);
    string_map_set(a, &p->metadata.labels, LABEL_CONTROLLER_REVISION_HASH, revision);
    return p;
}

static bool identity_matches(const struct appsv1_StatefulSet *set, stateful_pod *p) {
    return stateful_ordinal(set->metadata.name, p->metadata.name) >= 0 && str_eq(p->metadata.namespace, set->metadata.namespace) &&
           str_eq(string_map_get(&p->metadata.labels, LABEL_STATEFUL_SET_POD_NAME), p->metadata.name);
}

static bool storage_matches(struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p) {
    int ordinal = stateful_ordinal(set->metadata.name, p->metadata.name);
    LIST_FOREACH(t, &set->spec.volumeClaimTemplates) {
        bool found = false;
        LIST_FOREACH(v, &p->spec.volumes)
            found |= str_eq(v->name, t->metadata.name) && v->persistentVolumeClaim && str_eq(v->persistentVolumeClaim->claimName, claim_name(a, t, set->metadata.name, ordinal));
        if (!found) return false;
    }
    return ordinal >= 0;
}

/* ---- events ---- */

static void record(struct stateful_sync *s, const char *verb, stateful_pod *p, const struct status *err) {
    struct event_recorder *events = s->sc->c->events;
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    if (!err) event_record(events, &appsv1_StatefulSet_desc, s->set, EVENT_NORMAL, arena_printf(a, "Successful%s", verb), "%s Pod %s in StatefulSet %s successful", verb, p->metadata.name,
                           s->set->metadata.name);
    else event_record(events, &appsv1_StatefulSet_desc, s->set, EVENT_WARNING, arena_printf(a, "Failed%s", verb), "%s Pod %s in StatefulSet %s failed error: %s", verb, p->metadata.name,
                      s->set->metadata.name, status_message(err));
}

static void record_claim(struct stateful_sync *s, stateful_pod *p, const char *claim, const struct status *err) {
    struct event_recorder *events = s->sc->c->events;
    if (!err) event_record(events, &appsv1_StatefulSet_desc, s->set, EVENT_NORMAL, "SuccessfulCreate", "Create Claim %s Pod %s in StatefulSet %s success", claim, p->metadata.name, s->set->metadata.name);
    else event_record(events, &appsv1_StatefulSet_desc, s->set, EVENT_WARNING, "FailedCreate", "Create Claim %s for Pod %s in StatefulSet %s failed error: %s", claim, p->metadata.name,
                      s->set->metadata.name, status_message(err));
}

/* ---- claims ---- */

static int create_claim(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, const struct corev1_PersistentVolumeClaim *template, stateful_pod *p, struct status *reterr) {
    int ordinal = stateful_ordinal(set->metadata.name, p->metadata.name);
    const char *name = claim_name(a, template, set->metadata.name, ordinal);
    _cleanup_cached_ struct cached *there = informer_get(s->sc->claims, set->metadata.namespace, name);
    if (there && there->obj->metadata.deletionTimestamp.set) return status_internal(reterr, "pvc %s is being deleted", name);
    if (there) return 0;
    struct corev1_PersistentVolumeClaim *c = object_copy(a, &corev1_PersistentVolumeClaim_desc, template);
    object_set_type_meta(a, &corev1_PersistentVolumeClaim_desc, c);
    c->metadata.name = name;
    c->metadata.namespace = set->metadata.namespace;
    LIST_FOREACH(e, &set->spec.selector->matchLabels) string_map_set(a, &c->metadata.labels, e->key, e->value);
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_create(s->sc->c->client, a, &corev1_PersistentVolumeClaim_desc, c, NULL, &err) == 0) {
        record_claim(s, p, name, NULL);
        return 0;
    }
    if (!str_eq(err.reason, REASON_ALREADY_EXISTS)) record_claim(s, p, name, &err);
    if (reterr) {
        status_copy(reterr, &err);
        status_wrap(reterr, "failed to create PVC %s", name);
    }
    return -1;
}

int stateful_claims_create(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr) {
    int rc = 0;
    LIST_FOREACH(t, &set->spec.volumeClaimTemplates)
        if (create_claim(s, a, set, t, p, reterr) != 0) rc = -1;
    return rc;
}

struct retention { bool when_scaled, when_deleted; }; /* true: Delete */

static struct retention retention_of(const struct appsv1_StatefulSet *set) {
    const struct appsv1_StatefulSetPersistentVolumeClaimRetentionPolicy *p = set->spec.persistentVolumeClaimRetentionPolicy;
    return (struct retention){p && str_eq(p->whenScaled, "Delete"), p && str_eq(p->whenDeleted, "Delete")};
}

static bool names(const struct metav1_OwnerReference *r, const char *api_version, const char *kind, const void *obj) {
    return str_eq(r->apiVersion, api_version) && str_eq(r->kind, kind) && str_eq(r->name, ((const struct object *)obj)->metadata.name);
}
static bool names_set(const struct metav1_OwnerReference *r, const struct appsv1_StatefulSet *set) { return names(r, "apps/v1", "StatefulSet", set); }
static bool names_pod(const struct metav1_OwnerReference *r, stateful_pod *p) { return names(r, "v1", "Pod", p); }

/* Somebody else manages it: then the policy does not apply. */
static bool managed_by_another(const struct corev1_PersistentVolumeClaim *c, const struct appsv1_StatefulSet *set, stateful_pod *p) {
    struct retention r = retention_of(set);
    if (!r.when_scaled && !r.when_deleted) return false;
    LIST_FOREACH(o, &c->metadata.ownerReferences) {
        if (names_set(o, set)) {
            if (!str_eq(o->uid, set->metadata.uid)) return true;
        } else if (names_pod(o, p)) {
            if (!str_eq(o->uid, p->metadata.uid)) return true;
        } else if (o->controller.value) return true;
    }
    return false;
}

static bool owned(const struct corev1_PersistentVolumeClaim *c, const void *owner) {
    LIST_FOREACH(o, &c->metadata.ownerReferences)
        if (str_eq(o->uid, ((const struct object *)owner)->metadata.uid)) return true;
    return false;
}

static bool owned_by_former(const struct corev1_PersistentVolumeClaim *c, const struct appsv1_StatefulSet *set, stateful_pod *p) {
    LIST_FOREACH(o, &c->metadata.ownerReferences) {
        if (set && names_set(o, set)) return !str_eq(o->uid, set->metadata.uid);
        if (p && names_pod(o, p)) return !str_eq(o->uid, p->metadata.uid);
    }
    return false;
}

/* Who should own it: the set, if it is to go with the set; the Pod, if it was scaled away and is to go with it. */
static void wanted_owners(struct stateful_sync *s, const struct appsv1_StatefulSet *set, stateful_pod *p, bool *ret_set, bool *ret_pod) {
    struct retention r = retention_of(set);
    bool scaled_away = !stateful_in_range(s, p);
    *ret_pod = r.when_scaled && scaled_away;
    *ret_set = r.when_deleted && !(r.when_scaled && scaled_away);
}

static bool owners_match(struct stateful_sync *s, const struct corev1_PersistentVolumeClaim *c, const struct appsv1_StatefulSet *set, stateful_pod *p) {
    bool set_owns, pod_owns;
    if (owned_by_former(c, set, NULL) || owned_by_former(c, NULL, p)) return true; /* it goes; a new one will be right */
    if (managed_by_another(c, set, p)) return !owned(c, set) && !owned(c, p);
    LIST_FOREACH(o, &c->metadata.ownerReferences)
        if ((str_eq(o->uid, set->metadata.uid) || str_eq(o->uid, p->metadata.uid)) && !o->controller.value) return false;
    wanted_owners(s, set, p, &set_owns, &pod_owns);
    return owned(c, set) == set_owns && owned(c, p) == pod_owns;
}

static int update_owners(struct stateful_sync *s, struct arena *a, const struct corev1_PersistentVolumeClaim *claim, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr) {
    struct corev1_PersistentVolumeClaim *c = arena_memdup(a, claim, sizeof(*claim));
    struct metav1_OwnerReference_list refs = {0};
    bool set_owns, pod_owns, another = managed_by_another(claim, set, p);
    LIST_FOREACH(o, &claim->metadata.ownerReferences)
        if (!names_set(o, set) && !names_pod(o, p)) *LIST_PUSH(a, &refs) = *o;
    wanted_owners(s, set, p, &set_owns, &pod_owns);
    if (!another && pod_owns) *LIST_PUSH(a, &refs) = controller_ref(a, &corev1_Pod_desc, p);
    if (!another && set_owns) *LIST_PUSH(a, &refs) = controller_ref(a, &appsv1_StatefulSet_desc, set);
    c->metadata.ownerReferences = refs;
    return client_update(s->sc->c->client, a, &corev1_PersistentVolumeClaim_desc, c, NULL, reterr);
}

bool stateful_claims_match_retention(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p) {
    int ordinal = stateful_ordinal(set->metadata.name, p->metadata.name);
    LIST_FOREACH(t, &set->spec.volumeClaimTemplates) {
        _cleanup_cached_ struct cached *c = informer_get(s->sc->claims, set->metadata.namespace, claim_name(a, t, set->metadata.name, ordinal));
        if (c && !owners_match(s, CACHED(c, corev1_PersistentVolumeClaim), set, p)) return false;
    }
    return true;
}

int stateful_claims_update_retention(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr) {
    int ordinal = stateful_ordinal(set->metadata.name, p->metadata.name);
    LIST_FOREACH(t, &set->spec.volumeClaimTemplates) {
        const char *name = claim_name(a, t, set->metadata.name, ordinal);
        _cleanup_cached_ struct cached *cached = informer_get(s->sc->claims, set->metadata.namespace, name);
        if (!cached) continue;
        const struct corev1_PersistentVolumeClaim *c = CACHED(cached, corev1_PersistentVolumeClaim);
        if (managed_by_another(c, set, p))
            event_record(s->sc->c->events, &appsv1_StatefulSet_desc, s->set, EVENT_WARNING, "ConflictingController",
                         "PersistentVolumeClaim %s has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim", name);
        if (owners_match(s, c, set, p)) continue;
        if (update_owners(s, a, c, set, p, reterr) == 0) continue;
        if (reterr) status_wrap(reterr, "could not update claim %s for delete policy ownerRefs", name);
        return -1;
    }
    return 0;
}

bool stateful_claim_is_stale(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p) {
    if (!retention_of(set).when_scaled) return false;
    LIST_FOREACH(t, &set->spec.volumeClaimTemplates) {
        _cleanup_cached_ struct cached *c =
            informer_get(s->sc->claims, set->metadata.namespace, claim_name(a, t, set->metadata.name, stateful_ordinal(set->metadata.name, p->metadata.name)));
        if (c && owned_by_former(CACHED(c, corev1_PersistentVolumeClaim), NULL, p)) return true;
    }
    return false;
}

/* ---- Pods ---- */

int stateful_pod_create(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Pod made;
    int rc = stateful_claims_create(s, a, set, p, &err);
    if (rc == 0 && (rc = client_create(s->sc->c->client, a, &corev1_Pod_desc, p, &made, &err)) == 0) rc = stateful_claims_update_retention(s, a, set, &made, &err);
    if (rc == 0) record(s, "Create", p, NULL);
    else if (!(str_eq(err.reason, REASON_ALREADY_EXISTS) && str_eq(err.name, p->metadata.name))) record(s, "Create", p, &err);
    if (rc != 0 && reterr) status_copy(reterr, &err);
    return rc;
}

static int update_once(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, bool *ret_tried, struct status *reterr) {
    struct corev1_Pod *copy = object_copy(a, &corev1_Pod_desc, p);
    int ordinal = stateful_ordinal(set->metadata.name, p->metadata.name);
    bool changed = false;
    if (!identity_matches(set, p)) {
        set_identity(a, set, copy, ordinal);
        changed = true;
    }
    if (!storage_matches(a, set, p)) {
        set_storage(a, set, copy, ordinal);
        if (stateful_claims_create(s, a, set, p, reterr) != 0) return -1;
        changed = true;
    }
    if (!stateful_claims_match_retention(s, a, set, p) && stateful_claims_update_retention(s, a, set, p, reterr) != 0) return -1;
    if (!changed) return 0;
    *ret_tried = true;
    return client_update(s->sc->c->client, a, &corev1_Pod_desc, copy, NULL, reterr);
}

int stateful_pod_update(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr) {
    if (identity_matches(set, p) && storage_matches(a, set, p) && stateful_claims_match_retention(s, a, set, p)) return 0;
    _cleanup_status_ struct status err = STATUS_INIT;
    bool tried = false;
    int rc = update_once(s, a, set, p, &tried, &err);
    if (tried || rc != 0) record(s, "Update", p, rc == 0 ? NULL : &err);
    if (rc != 0 && reterr) status_copy(reterr, &err);
    return rc;
}

/* This very Pod: the cache may not know yet that its successor of the same name is there. */
int stateful_pod_delete(struct stateful_sync *s, stateful_pod *p, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    _cleanup_arena_ struct arena *a = arena_new();
    if (client_delete(s->sc->c->client, &corev1_Pod_desc, p->metadata.namespace, p->metadata.name, client_delete_options(a, p->metadata.uid, NULL), &err) != 0 && !status_is(&err, 404)) {
        if (!status_is(&err, 409)) record(s, "Delete", p, &err);
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    record(s, "Delete", p, NULL);
    return 0;
}
