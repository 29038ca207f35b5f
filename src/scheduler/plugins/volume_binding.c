/* VolumeBinding: bound volumes must be reachable from the node; claims that wait for their first consumer get a volume that is, or one is provisioned there.
 * Upstream: plugins/volumebinding.
 *
 * Reserve assumes the choice (the cache hides the API's objects behind it); PreBind writes it and then asks, once a second, whether the volume controller
 * has done its part (framework_bind says "not yet" in the meantime); Unreserve takes it back. Tests: test_scheduler_volumes.c. */
#include "api/quantity.h"
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/volumes.h"

#define SELECTED_NODE "volume.kubernetes.io/selected-node"
#define BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define NO_PROVISIONER "kubernetes.io/no-provisioner"

struct volume_list { const struct corev1_PersistentVolume **items; size_t len; };
/* A claim that is to be bound now. */
struct open_claim {
    const struct corev1_PersistentVolumeClaim *pvc;
    const char *selected;      /* already given to a node, for provisioning there */
    struct volume_list fitting; /* volumes that fit but for the node, the smallest first */
};
struct open_claim_list { struct open_claim *items; size_t len; };
struct claims {
    struct volume_list bound; /* of claims that are bound */
    bool lost;                /* one of these does not exist */
    struct open_claim_list open;
};

/* What is done for one Pod on its node; lives in the binding's arena. */
struct choice { struct corev1_PersistentVolume *pv; struct corev1_PersistentVolumeClaim *pvc; bool provision; };
struct choice_list { struct choice *items; size_t len; bool written; int64_t deadline_ns; };

/* ---- PreFilter ---- */

static int64_t storage_of(const struct string_map *m) {
    struct quantity q = quantity_of(string_map_get(m, "storage"));
    return quantity_value(&q);
}

static bool fully_bound(const struct corev1_PersistentVolumeClaim *pvc) {
    return !str_empty(pvc->spec.volumeName) && string_map_has(&pvc->metadata.annotations, BIND_COMPLETED);
}

static bool bound_to(const struct corev1_PersistentVolume *pv, const struct corev1_PersistentVolumeClaim *pvc) {
    const struct corev1_ObjectReference *r = pv->spec.claimRef;
    return r && str_eq(r->name, pvc->metadata.name) && str_eq(r->namespace, pvc->metadata.namespace) && (str_empty(r->uid) || str_eq(r->uid, pvc->metadata.uid));
}

static bool modes_fit(const struct corev1_PersistentVolumeClaim *pvc, const struct corev1_PersistentVolume *pv) {
    LIST_FOREACH(m, &pvc->spec.accessModes)
        if (!string_list_has(&pv->spec.accessModes, *m)) return false;
    return true;
}

/* All but the node. Upstream: volume.FindMatchingVolume. */
static bool volume_fits(const struct corev1_PersistentVolume *pv, const struct corev1_PersistentVolumeClaim *pvc, const struct selector *selector) {
    if (pv->spec.claimRef && !bound_to(pv, pvc)) return false;
    if (storage_of(&pv->spec.capacity) < storage_of(&pvc->spec.resources.requests)) return false;
    if (!str_eq(str_or(pv->spec.volumeMode, "Filesystem"), str_or(pvc->spec.volumeMode, "Filesystem"))) return false;
    if (pv->metadata.deletionTimestamp.set || !str_eq(pv->spec.volumeAttributesClassName, pvc->spec.volumeAttributesClassName)) return false;
    if (pv->spec.claimRef) return true; /* made for this claim */
    return str_eq(pv->status.phase, "Available") && str_eq(volume_class(pv), claim_class(pvc)) && modes_fit(pvc, pv) &&
           (!selector || selector_matches(selector, &pv->metadata.labels));
}

static int volume_cmp(const void *a, const void *b) {
    const struct corev1_PersistentVolume *p = *(const struct corev1_PersistentVolume *const *)a, *q = *(const struct corev1_PersistentVolume *const *)b;
    if (!p->spec.claimRef != !q->spec.claimRef) return p->spec.claimRef ? -1 : 1;
    int64_t x = storage_of(&p->spec.capacity), y = storage_of(&q->spec.capacity);
    return x != y ? (x < y ? -1 : 1) : str_cmp(p->metadata.name, q->metadata.name);
}

static void open_claim_add(struct cycle *cycle, struct claims *c, const struct corev1_PersistentVolumeClaim *pvc) {
    struct open_claim *o = LIST_PUSH(cycle->arena, &c->open);
    o->pvc = pvc;
    o->selected = string_map_get(&pvc->metadata.annotations, SELECTED_NODE);
    struct selector selector = {0};
    if (pvc->spec.selector && label_selector_from(cycle->arena, pvc->spec.selector, &selector, NULL)) return;
    const struct corev1_PersistentVolume *pv;
    for (size_t pos = 0; (pv = cache_next(cycle->cache, &corev1_PersistentVolume_desc, &pos));)
        if (volume_fits(pv, pvc, pvc->spec.selector ? &selector : NULL)) *LIST_PUSH(cycle->arena, &o->fitting) = pv;
    if (o->fitting.len > 1) qsort(o->fitting.items, o->fitting.len, sizeof(*o->fitting.items), volume_cmp);
}

/* Why the claim cannot be used at all; NULL: it can. */
static const char *claim_trouble(struct cycle *cycle, const struct corev1_Volume *v, const struct corev1_PersistentVolumeClaim *pvc, const char *name) {
    const struct corev1_Pod *pod = cycle->pod->pod;
    if (!pvc && v->ephemeral) return arena_printf(cycle->arena, "waiting for ephemeral volume controller to create the persistentvolumeclaim \"%s\"", name);
    if (!pvc) return arena_printf(cycle->arena, "persistentvolumeclaim \"%s\" not found", name);
    if (str_eq(pvc->status.phase, "Lost"))
        return arena_printf(cycle->arena, "persistentvolumeclaim \"%s\" bound to non-existent persistentvolume \"%s\"", name, str_or(pvc->spec.volumeName, ""));
    if (pvc->metadata.deletionTimestamp.set) return arena_printf(cycle->arena, "persistentvolumeclaim \"%s\" is being deleted", name);
    if (!v->ephemeral) return NULL;
    LIST_FOREACH(o, &pvc->metadata.ownerReferences)
        if (o->controller.has && o->controller.value && str_eq(o->uid, pod->metadata.uid)) return NULL;
    return arena_printf(cycle->arena, "PVC %s/%s was not created for pod %s/%s (pod is not owner)", pod->metadata.namespace, name, pod->metadata.namespace, pod->metadata.name);
}

/* Whether the claim waits for its first consumer. */
static bool delayed(struct scheduler_cache *cache, const struct corev1_PersistentVolumeClaim *pvc) {
    const char *name = claim_class(pvc);
    const struct storagev1_StorageClass *class = str_empty(name) ? NULL : cache_get(cache, &storagev1_StorageClass_desc, NULL, name);
    return class && str_eq(class->volumeBindingMode, "WaitForFirstConsumer");
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    const struct corev1_Pod *pod = cycle->pod->pod;
    if (!cycle->pod->has_claims) return CODE_SKIP;
    struct claims *c = cycle->state[PLUGIN_VOLUME_BINDING] = ARENA_NEW(cycle->arena, struct claims);
    bool immediate = false;
    for (int pass = 0; pass < 2; pass++) /* what is wrong with a claim comes before what is not yet done */
        LIST_FOREACH(v, &pod->spec.volumes) {
            const char *name = volume_claim_name(cycle->arena, pod, v);
            if (!name) continue;
            const struct corev1_PersistentVolumeClaim *pvc = claim_get(cycle->cache, pod->metadata.namespace, name);
            const char *trouble = pass ? NULL : claim_trouble(cycle, v, pvc, name);
            if (trouble) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, trouble);
            if (!pass) continue;
            if (fully_bound(pvc)) {
                const struct corev1_PersistentVolume *pv = cache_get(cycle->cache, &corev1_PersistentVolume_desc, NULL, pvc->spec.volumeName);
                if (pv) *LIST_PUSH(cycle->arena, &c->bound) = pv;
                else c->lost = true;
            } else if (str_empty(pvc->spec.volumeName) && delayed(cycle->cache, pvc)) {
                open_claim_add(cycle, c, pvc);
            } else {
                immediate = true;
            }
        }
    if (immediate) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "pod has unbound immediate PersistentVolumeClaims");
    return CODE_SUCCESS;
}

/* ---- Filter ---- */

static bool topology_allows(const struct corev1_TopologySelectorTerm_list *terms, const struct corev1_Node *node) {
    LIST_FOREACH(t, terms) {
        bool all = t->matchLabelExpressions.len > 0;
        LIST_FOREACH(r, &t->matchLabelExpressions) {
            const char *value = string_map_get(&node->metadata.labels, r->key);
            all &= value && string_list_has(&r->values, value);
        }
        if (all) return true;
    }
    return !terms->len;
}

/* Only for drivers that publish what they have. */
static bool capacity_enough(struct cycle *cycle, const struct storagev1_StorageClass *class, const struct corev1_PersistentVolumeClaim *pvc, const struct corev1_Node *node) {
    const struct storagev1_CSIDriver *driver = cache_get(cycle->cache, &storagev1_CSIDriver_desc, NULL, class->provisioner);
    if (!driver || !driver->spec.storageCapacity.has || !driver->spec.storageCapacity.value || !string_map_has(&pvc->spec.resources.requests, "storage")) return true;
    int64_t wanted = storage_of(&pvc->spec.resources.requests);
    const struct storagev1_CSIStorageCapacity *c;
    for (size_t pos = 0; (c = cache_next(cycle->cache, &storagev1_CSIStorageCapacity_desc, &pos));) {
        const char *text = c->maximumVolumeSize ? c->maximumVolumeSize : c->capacity;
        struct quantity limit = quantity_of(text);
        struct selector s = {0};
        if (!str_eq(c->storageClassName, class->metadata.name) || !text || quantity_value(&limit) < wanted || !c->nodeTopology) continue;
        if (!label_selector_from(cycle->arena, c->nodeTopology, &s, NULL) && selector_matches(&s, &node->metadata.labels)) return true;
    }
    return false;
}

enum fate { FATE_GOOD, FATE_BIND_CONFLICT, FATE_NO_SPACE };

static enum fate provision(struct cycle *cycle, const struct corev1_PersistentVolumeClaim *pvc, const struct corev1_Node *node) {
    const struct storagev1_StorageClass *class = cache_get(cycle->cache, &storagev1_StorageClass_desc, NULL, claim_class(pvc));
    if (!class || str_empty(class->provisioner) || str_eq(class->provisioner, NO_PROVISIONER) || !topology_allows(&class->allowedTopologies, node)) return FATE_BIND_CONFLICT;
    return capacity_enough(cycle, class, pvc, node) ? FATE_GOOD : FATE_NO_SPACE;
}

/* Volumes for the open claims on a node: chosen[i] for claim i, NULL where one is to be provisioned. */
static enum fate open_claims_fate(struct cycle *cycle, const struct claims *c, const struct corev1_Node *node, const struct corev1_PersistentVolume **chosen) {
    for (size_t i = 0; i < c->open.len; i++) {
        const struct open_claim *o = &c->open.items[i];
        chosen[i] = NULL;
        if (o->selected && !str_eq(o->selected, node->metadata.name)) return FATE_BIND_CONFLICT;
        for (size_t v = 0; !o->selected && v < o->fitting.len && !chosen[i]; v++) {
            bool taken = false;
            for (size_t k = 0; k < i; k++) taken |= chosen[k] == o->fitting.items[v];
            if (!taken && volume_node_matches(o->fitting.items[v], node)) chosen[i] = o->fitting.items[v];
        }
        enum fate fate = chosen[i] ? FATE_GOOD : provision(cycle, o->pvc, node);
        if (fate != FATE_GOOD) return fate;
    }
    return FATE_GOOD;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    const struct claims *c = cycle->state[PLUGIN_VOLUME_BINDING];
    enum code code = CODE_SUCCESS;
    bool matches = true;
    for (size_t i = 0; i < c->bound.len && matches; i++) matches = volume_node_matches(c->bound.items[i], node->node);
    if (!matches) code = reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match PersistentVolume's node affinity");
    if (c->open.len) {
        const struct corev1_PersistentVolume **chosen = arena_calloc(cycle->arena, c->open.len, sizeof(*chosen));
        enum fate fate = open_claims_fate(cycle, c, node->node, chosen);
        if (fate == FATE_BIND_CONFLICT) code = reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't find available persistent volumes to bind");
        if (fate == FATE_NO_SPACE) code = reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) did not have enough free storage");
    }
    if (c->lost) code = reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
    return code;
}

/* ---- Reserve and after ---- */

static void choose_volume(struct binding *b, struct choice *choice, const struct corev1_PersistentVolume *pv) {
    struct arena *a = b->arena;
    const struct corev1_PersistentVolumeClaim *pvc = choice->pvc;
    bool ours = !bound_to(pv, pvc);
    choice->pv = object_copy(a, &corev1_PersistentVolume_desc, pv);
    choice->pv->spec.claimRef = ARENA_NEW(a, struct corev1_ObjectReference);
    *choice->pv->spec.claimRef = (struct corev1_ObjectReference){.kind = "PersistentVolumeClaim", .apiVersion = "v1", .namespace = pvc->metadata.namespace,
        .name = pvc->metadata.name, .uid = pvc->metadata.uid, .resourceVersion = pvc->metadata.resourceVersion};
    if (ours) string_map_set(a, &choice->pv->metadata.annotations, BOUND_BY_CONTROLLER, "yes");
}

static enum code reserve(struct cycle *cycle, struct node_info *node, struct binding *b, struct reasons *why) {
    const struct claims *c = cycle->state[PLUGIN_VOLUME_BINDING];
    if (!c || !c->open.len) return CODE_SUCCESS;
    const struct corev1_PersistentVolume **chosen = arena_calloc(cycle->arena, c->open.len, sizeof(*chosen));
    if (open_claims_fate(cycle, c, node->node, chosen) != FATE_GOOD)
        return reasons_add(why, CODE_UNSCHEDULABLE, "node(s) didn't find available persistent volumes to bind");
    struct choice_list *list = b->state[PLUGIN_VOLUME_BINDING] = ARENA_NEW(b->arena, struct choice_list);
    for (size_t i = 0; i < c->open.len; i++) {
        struct choice *choice = LIST_PUSH(b->arena, list);
        choice->pvc = object_copy(b->arena, &corev1_PersistentVolumeClaim_desc, c->open.items[i].pvc);
        choice->provision = !chosen[i];
        if (chosen[i]) {
            choose_volume(b, choice, chosen[i]);
            cache_assume_object(cycle->cache, &corev1_PersistentVolume_desc, choice->pv);
        } else {
            string_map_set(b->arena, &choice->pvc->metadata.annotations, SELECTED_NODE, b->node);
            cache_assume_object(cycle->cache, &corev1_PersistentVolumeClaim_desc, choice->pvc);
        }
    }
    return CODE_SUCCESS;
}

static void unreserve(struct handle *h, struct binding *b) {
    struct choice_list *list = b->state[PLUGIN_VOLUME_BINDING];
    if (!list) return;
    cache_lock(h->cache);
    LIST_FOREACH(c, list) {
        if (c->provision) cache_restore_object(h->cache, &corev1_PersistentVolumeClaim_desc, c->pvc->metadata.namespace, c->pvc->metadata.name);
        else cache_restore_object(h->cache, &corev1_PersistentVolume_desc, NULL, c->pv->metadata.name);
    }
    cache_unlock(h->cache);
}

static int choices_write(struct handle *h, struct choice_list *list, struct status *reterr) {
    if (!h->client->update_volume || !h->client->update_claim) return status_internal(reterr, "%s", "volumes cannot be bound: the scheduler's client cannot update them");
    LIST_FOREACH(c, list)
        if (!c->provision && h->client->update_volume(h->client->data, c->pv, reterr)) return -1;
    LIST_FOREACH(c, list)
        if (c->provision && h->client->update_claim(h->client->data, c->pvc, reterr)) return -1;
    return 0;
}

/* 0: bound; 1: not yet; -1: it will not be. */
static int choice_check(struct handle *h, const struct binding *b, const struct choice *c, struct status *reterr) {
    const struct corev1_PersistentVolumeClaim *pvc = cache_get_api(h->cache, &corev1_PersistentVolumeClaim_desc, c->pvc->metadata.namespace, c->pvc->metadata.name);
    const struct node_info *node = cache_node(h->cache, b->node);
    if (!pvc) return status_set(reterr, 500, NULL, "failed to check provisioning pvc: could not find v1.PersistentVolumeClaim \"%s/%s\"", c->pvc->metadata.namespace, c->pvc->metadata.name);
    if (!node) return status_set(reterr, 500, NULL, "failed to get node \"%s\": node \"%s\" not found", b->node, b->node);
    if (c->provision) {
        if (str_eq(pvc->metadata.resourceVersion, c->pvc->metadata.resourceVersion)) return 1; /* the watch has not shown our own write yet */
        if (!str_eq(string_map_get(&pvc->metadata.annotations, SELECTED_NODE), b->node))
            return status_set(reterr, 500, NULL, "provisioning failed for PVC \"%s\"", pvc->metadata.name);
        if (str_empty(pvc->spec.volumeName)) return 1;
    } else {
        const struct corev1_PersistentVolume *pv = cache_get_api(h->cache, &corev1_PersistentVolume_desc, NULL, c->pv->metadata.name);
        if (!pv) return status_set(reterr, 500, NULL, "failed to check binding: could not find v1.PersistentVolume \"%s\"", c->pv->metadata.name);
        if (str_eq(pv->metadata.resourceVersion, c->pv->metadata.resourceVersion)) return 1;
        if (!pv->spec.claimRef || str_empty(pv->spec.claimRef->uid)) return status_set(reterr, 500, NULL, "ClaimRef got reset for pv \"%s\"", pv->metadata.name);
    }
    const struct corev1_PersistentVolume *pv = str_empty(pvc->spec.volumeName) ? NULL : cache_get_api(h->cache, &corev1_PersistentVolume_desc, NULL, pvc->spec.volumeName);
    if (pv && !volume_node_matches(pv, node->node))
        return status_set(reterr, 500, NULL, "pv \"%s\" node affinity doesn't match node \"%s\": no matching NodeSelectorTerms", pv->metadata.name, b->node);
    return !pv || !fully_bound(pvc);
}

static int pre_bind(struct handle *h, struct binding *b, struct status *reterr) {
    struct choice_list *list = b->state[PLUGIN_VOLUME_BINDING];
    if (!list) return 0;
    const struct volume_binding_args *args = b->profile->args[PLUGIN_VOLUME_BINDING];
    if (!list->written) {
        if (choices_write(h, list, reterr)) return -1;
        list->written = true;
        list->deadline_ns = env_mono_ns(h->env) + args->bind_timeout_seconds * 1000000000;
    }
    int worst = 0;
    cache_lock(h->cache);
    for (size_t i = 0; i < list->len && worst >= 0; i++) {
        int r = choice_check(h, b, &list->items[i], reterr);
        worst = r < 0 ? r : MAX(worst, r);
    }
    cache_unlock(h->cache);
    if (worst > 0 && env_mono_ns(h->env) >= list->deadline_ns) worst = status_set(reterr, 500, NULL, "context deadline exceeded");
    if (worst < 0) status_wrap(reterr, "binding volumes");
    return worst;
}

/* ---- hints ---- */

static int64_t capacity_limit(const struct storagev1_CSIStorageCapacity *c) {
    struct quantity q = quantity_of(c->maximumVolumeSize ? c->maximumVolumeSize : c->capacity);
    return c->maximumVolumeSize || c->capacity ? quantity_value(&q) : -1;
}

static bool topologies_differ(const struct storagev1_StorageClass *a, const struct storagev1_StorageClass *b) {
    if (a->allowedTopologies.len != b->allowedTopologies.len) return true;
    for (size_t i = 0; i < a->allowedTopologies.len; i++)
        if (!object_equal(&corev1_TopologySelectorTerm_desc, &a->allowedTopologies.items[i], &b->allowedTopologies.items[i])) return true;
    return false;
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    if (e->resource == EVENT_PERSISTENT_VOLUME_CLAIM) return pod_uses_claim(pod->pod, e->new_obj);
    if (!e->old_obj) return true;
    if (e->resource == EVENT_STORAGE_CLASS) return topologies_differ(e->old_obj, e->new_obj);
    if (e->resource == EVENT_CSI_STORAGE_CAPACITY) return capacity_limit(e->new_obj) > capacity_limit(e->old_obj);
    if (e->resource == EVENT_CSI_NODE) {
        const char *key = "storage.alpha.kubernetes.io/migrated-plugins";
        return !str_eq(string_map_get(&((const struct storagev1_CSINode *)e->old_obj)->metadata.annotations, key),
                       string_map_get(&((const struct storagev1_CSINode *)e->new_obj)->metadata.annotations, key));
    }
    if (e->resource == EVENT_CSI_DRIVER) {
        const struct storagev1_CSIDriver *was = e->old_obj, *is = e->new_obj;
        return was->spec.storageCapacity.has && was->spec.storageCapacity.value && !(is->spec.storageCapacity.has && is->spec.storageCapacity.value);
    }
    return true;
}

const struct plugin plugin_volume_binding = {.name = "VolumeBinding", .id = PLUGIN_VOLUME_BINDING, .pre_filter = pre_filter, .filter = filter, .reserve = reserve,
    .unreserve = unreserve, .pre_bind = pre_bind, .hint = hint,
    .events = {[EVENT_STORAGE_CLASS] = ACTION_ADD | ACTION_UPDATE, [EVENT_PERSISTENT_VOLUME_CLAIM] = ACTION_ADD | ACTION_UPDATE,
               [EVENT_PERSISTENT_VOLUME] = ACTION_ADD | ACTION_UPDATE, [EVENT_NODE] = ACTION_ADD | ACTION_NODE_LABEL, [EVENT_CSI_NODE] = ACTION_ADD | ACTION_UPDATE,
               [EVENT_CSI_DRIVER] = ACTION_UPDATE, [EVENT_CSI_STORAGE_CAPACITY] = ACTION_ADD | ACTION_UPDATE}};
