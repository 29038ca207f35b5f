/* Revisions and rolling updates of DaemonSets: see daemon_set.h. Upstream: pkg/controller/daemon update.go. */
#include "base/log.h"
#include "base/str.h"
#include "controller/daemon_set.h"

/* ---- revisions ---- */

static struct client *client_of(const struct daemon_sync *s) { return s->dc->c->client; }

/* The name is taken: by the same revision, which the cache has not shown, or by another one with the same hash; then the count goes up, and so does the next try. */
static int name_taken(struct daemon_sync *s, const char *name, const char *data, struct appsv1_ControllerRevision *made, const struct status *err, struct status *reterr) {
    struct appsv1_DaemonSet now;
    if (client_get(client_of(s), s->a, &appsv1_ControllerRevision_desc, s->set->metadata.namespace, name, made, reterr) != 0) return -1;
    if (history_equal(made, data)) return 0;
    if (client_get(client_of(s), s->a, &appsv1_DaemonSet_desc, s->set->metadata.namespace, s->set->metadata.name, &now, reterr) != 0) return -1;
    const struct opt_int32 *was = &s->set->status.collisionCount;
    if (now.status.collisionCount.has != was->has || now.status.collisionCount.value != was->value)
        return status_internal(reterr, "found a stale collision count (%d, expected %d) of DaemonSet \"%s\" while processing; will retry until it is updated", was->value,
                               now.status.collisionCount.value, s->set->metadata.name);
    now.status.collisionCount = (struct opt_int32)OPT(was->value + 1);
    if (client_update_status(client_of(s), s->a, &appsv1_DaemonSet_desc, &now, NULL, reterr) != 0) return -1;
    if (reterr) status_copy(reterr, err);
    return -1;
}

static int snapshot(struct daemon_sync *s, const char *data, int64_t revision, struct status *reterr) {
    struct arena *a = s->a;
    const struct appsv1_DaemonSet *set = s->set;
    const char *hash = template_hash(a, &set->spec.template, set->status.collisionCount.has ? set->status.collisionCount.value : -1);
    struct appsv1_ControllerRevision *r = object_new(a, &appsv1_ControllerRevision_desc), made;
    r->metadata.name = arena_printf(a, "%s-%s", set->metadata.name, hash);
    r->metadata.namespace = set->metadata.namespace;
    r->metadata.labels = string_map_copy(a, &set->spec.template.metadata.labels);
    string_map_set(a, &r->metadata.labels, LABEL_CONTROLLER_REVISION_HASH, hash);
    r->metadata.annotations = string_map_copy(a, &set->metadata.annotations);
    *LIST_PUSH(a, &r->metadata.ownerReferences) = controller_ref(a, &appsv1_DaemonSet_desc, set);
    r->data = (struct raw_json){data, strlen(data)};
    r->revision = revision;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_create(client_of(s), a, &appsv1_ControllerRevision_desc, r, &made, &err) != 0) {
        if (!str_eq(err.reason, REASON_ALREADY_EXISTS)) {
            if (reterr) status_copy(reterr, &err);
            return -1;
        }
        if (name_taken(s, r->metadata.name, data, &made, &err, reterr) != 0) return -1;
    }
    s->hash = string_map_get(&made.metadata.labels, LABEL_CONTROLLER_REVISION_HASH);
    return 0;
}

/* Of several revisions that hold the same, the newest is kept, and Pods are relabelled to it. */
static int keep_one(struct daemon_sync *s, const struct revision_list *same, controller_revision *keep, struct status *reterr) {
    struct node_pods_list pods;
    const char *hash = string_map_get(&keep->metadata.labels, LABEL_CONTROLLER_REVISION_HASH);
    if (same->len == 1) return 0;
    if (daemon_pods(s, true, &pods, reterr) != 0) return -1;
    const char *patch = arena_printf(s->a, "{\"metadata\":{\"labels\":{\"%s\":\"%s\"}}}", LABEL_CONTROLLER_REVISION_HASH, str_or(hash, ""));
    for (size_t i = 0; i < pods.len; i++)
        for (size_t j = 0; j < pods.items[i].pods.len; j++) {
            daemon_pod *p = pods.items[i].pods.items[j];
            if (str_eq(string_map_get(&p->metadata.labels, LABEL_CONTROLLER_REVISION_HASH), hash)) continue;
            if (client_patch(client_of(s), s->a, &corev1_Pod_desc, p->metadata.namespace, p->metadata.name, NULL, PATCH_MERGE, patch, NULL, reterr) != 0) return -1;
        }
    for (size_t i = 0; i < same->len; i++)
        if (same->items[i] != keep && client_delete(client_of(s), &appsv1_ControllerRevision_desc, keep->metadata.namespace, same->items[i]->metadata.name, NULL, reterr) != 0) return -1;
    return 0;
}

static int label_with_name(struct daemon_sync *s, controller_revision **r, struct status *reterr) {
    struct appsv1_ControllerRevision *copy = object_copy(s->a, &appsv1_ControllerRevision_desc, *r), *fresh = arena_alloc(s->a, sizeof(*fresh));
    string_map_set(s->a, &copy->metadata.labels, LABEL_CONTROLLER_REVISION_HASH, copy->metadata.name);
    if (client_update(client_of(s), s->a, &appsv1_ControllerRevision_desc, copy, fresh, reterr) != 0) return -1;
    *r = fresh;
    return 0;
}

int daemon_construct_history(struct daemon_sync *s, struct status *reterr) {
    struct revision_list all, same = {0};
    struct cached_list hold = {0};
    const char *data = history_patch(s->a, &s->set->spec.template);
    int failed = history_claim(s->dc->c, s->a, &appsv1_DaemonSet_desc, s->set, &s->selector, s->dc->revisions, s->dc->revisions_by_controller, &hold, &all, reterr);
    cached_list_take(&s->hold, &hold);
    if (failed) return -1;
    s->old = (struct revision_list){arena_calloc(s->a, all.len + 1, sizeof(*all.items)), 0};
    same.items = arena_calloc(s->a, all.len + 1, sizeof(*all.items));
    for (size_t i = 0; i < all.len; i++) {
        if (!string_map_has(&all.items[i]->metadata.labels, LABEL_CONTROLLER_REVISION_HASH) && label_with_name(s, &all.items[i], reterr) != 0) return -1;
        if (history_equal(all.items[i], data)) same.items[same.len++] = all.items[i];
        else s->old.items[s->old.len++] = all.items[i];
    }
    int64_t revision = history_max(&s->old) + 1;
    if (same.len == 0) return snapshot(s, data, revision, reterr);
    controller_revision *keep = same.items[same.len - 1];
    if (keep_one(s, &same, keep, reterr) != 0) return -1;
    s->hash = string_map_get(&keep->metadata.labels, LABEL_CONTROLLER_REVISION_HASH);
    if (keep->revision >= revision) return 0;
    struct appsv1_ControllerRevision *copy = arena_memdup(s->a, keep, sizeof(*keep));
    copy->revision = revision;
    return client_update(client_of(s), s->a, &appsv1_ControllerRevision_desc, copy, NULL, reterr);
}

int daemon_clean_up_history(struct daemon_sync *s, struct status *reterr) {
    struct node_pods_list pods;
    size_t keep = (size_t)MAX(s->set->spec.revisionHistoryLimit.has ? s->set->spec.revisionHistoryLimit.value : 10, 0), kill = s->old.len > keep ? s->old.len - keep : 0;
    if (kill == 0) return 0;
    if (daemon_pods(s, true, &pods, reterr) != 0) return -1;
    struct map *live = map_new();
    for (size_t i = 0; i < pods.len; i++)
        for (size_t j = 0; j < pods.items[i].pods.len; j++) map_put(live, str_or(string_map_get(&pods.items[i].pods.items[j]->metadata.labels, LABEL_CONTROLLER_REVISION_HASH), ""), s);
    int rc = 0;
    for (size_t i = 0; i < s->old.len && kill > 0 && rc == 0; i++) {
        controller_revision *r = s->old.items[i];
        if (map_has(live, str_or(string_map_get(&r->metadata.labels, LABEL_CONTROLLER_REVISION_HASH), "-"))) continue;
        rc = client_delete(client_of(s), &appsv1_ControllerRevision_desc, r->metadata.namespace, r->metadata.name, NULL, reterr);
        kill--;
    }
    map_free(live);
    return rc;
}

/* ---- rolling ---- */

/* The one new and the one old Pod of a node. False: there are several, which are pruned elsewhere. */
static bool on_node(const struct daemon_sync *s, const struct node_pods *n, daemon_pod **ret_new, daemon_pod **ret_old) {
    *ret_new = *ret_old = NULL;
    for (size_t i = 0; i < n->pods.len; i++) {
        daemon_pod *p = n->pods.items[i], **to = daemon_pod_is_updated(s, p) ? ret_new : ret_old;
        if (p->metadata.deletionTimestamp.set) continue;
        if (*to) return false;
        *to = p;
    }
    return true;
}

struct pod_list { daemon_pod **items; size_t len; };

/* Without surge an old Pod is deleted, and the next sync makes a new one in its place. */
static int roll_by_deleting(struct daemon_sync *s, const struct node_pods_list *nodes, int32_t max_unavailable, struct status *reterr) {
    struct pod_list replace = {0}, candidates = {0};
    int32_t unavailable = 0;
    for (size_t i = 0; i < nodes->len; i++) {
        daemon_pod *fresh, *old;
        bool ok = on_node(s, &nodes->items[i], &fresh, &old);
        if (!ok || !fresh == !old) unavailable++;
        else if (fresh) unavailable += !daemon_pod_is_available(s, fresh);
        else if (!daemon_pod_is_available(s, old)) {
            *LIST_PUSH(s->a, &replace) = old; /* costs nothing */
            unavailable++;
        } else if (unavailable < max_unavailable) *LIST_PUSH(s->a, &candidates) = old;
    }
    size_t more = (size_t)MAX(max_unavailable - unavailable, 0);
    for (size_t i = 0; i < MIN(more, candidates.len); i++) *LIST_PUSH(s->a, &replace) = candidates.items[i];
    return replace.len ? daemon_sync_nodes(s, replace.items, replace.len, NULL, reterr) : 0;
}

struct surge {
    struct pod_list delete, misplaced; /* misplaced: on nodes that suit no more; they go when enough work elsewhere */
    struct string_list allowed, candidates;
    int32_t surging, available;
};

static void surge_node(struct daemon_sync *s, const struct node_pods *n, const struct corev1_Node *node, struct surge *g) {
    daemon_pod *fresh, *old;
    if (!on_node(s, n, &fresh, &old)) {
        g->surging++;
        return;
    }
    daemon_pod *counts = old ? old : fresh;
    if (counts) g->available += daemon_pod_is_available(s, counts);
    if (!old) return;
    if (fresh) {
        if (daemon_pod_is_available(s, fresh)) *LIST_PUSH(s->a, &g->delete) = old;
        else g->surging++;
        return;
    }
    bool run = false, stay, works = daemon_pod_is_available(s, old);
    if (node) daemon_should_run(s, node, &run, &stay);
    if (!run) *LIST_PUSH(s->a, works ? &g->misplaced : &g->delete) = old;
    else string_list_push(s->a, works ? &g->candidates : &g->allowed, n->node);
}

static int roll_by_surging(struct daemon_sync *s, const struct node_pods_list *nodes, int32_t max_surge, int32_t desired, struct status *reterr) {
    struct surge g = {0};
    for (size_t i = 0; i < nodes->len; i++) {
        _cleanup_cached_ struct cached *node = informer_get(s->dc->nodes, NULL, nodes->items[i].node);
        surge_node(s, &nodes->items[i], node ? CACHED(node, corev1_Node) : NULL, &g);
    }
    size_t spare = (size_t)MAX(g.available - desired, 0), more = (size_t)MAX(max_surge - g.surging, 0);
    for (size_t i = 0; i < MIN(spare, g.misplaced.len); i++) *LIST_PUSH(s->a, &g.delete) = g.misplaced.items[i];
    for (size_t i = 0; i < MIN(more, g.candidates.len); i++) string_list_push(s->a, &g.allowed, g.candidates.items[i]);
    return g.delete.len || g.allowed.len ? daemon_sync_nodes(s, g.delete.items, g.delete.len, &g.allowed, reterr) : 0;
}

int daemon_rolling_update(struct daemon_sync *s, struct status *reterr) {
    struct node_pods_list nodes;
    int32_t desired = 0;
    if (daemon_pods(s, false, &nodes, reterr) != 0) return -1;
    struct map *with_pods = map_new();
    for (size_t i = 0; i < nodes.len; i++) map_put(with_pods, nodes.items[i].node, s);
    CACHED_FOREACH(node, corev1_Node, &s->nodes) {
        bool run, stay;
        daemon_should_run(s, node, &run, &stay);
        if (!run) continue;
        desired++;
        if (!map_has(with_pods, node->metadata.name)) LIST_PUSH(s->a, &nodes)->node = node->metadata.name; /* counts as unavailable */
    }
    map_free(with_pods);
    int32_t surge = daemon_max_surge(s->set, desired), unavailable = daemon_max_unavailable(s->set, desired);
    if (desired > 0 && unavailable == 0 && surge == 0) unavailable = 1; /* or nothing could ever move */
    return surge == 0 ? roll_by_deleting(s, &nodes, unavailable, reterr) : roll_by_surging(s, &nodes, surge, desired, reterr);
}
