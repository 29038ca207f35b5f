#include "apiserver/node_authorizer.h"
#include <pthread.h>
#include <string.h>
#include "api/field_error.h"
#include "api/pod_references.h"
#include "apiserver/rbac/policy.h"
#include "apiserver/rbac/rbac.h"
#include "apiserver/registry.h"
#include "base/map.h"
#include "base/str.h"

static const char *const prefixes[] = {"/registry/pods/", "/registry/persistentvolumes/", "/registry/volumeattachments/", "/registry/resourceslices/"};
enum { PODS, VOLUMES, ATTACHMENTS, SLICES, KINDS };

/* What one object has put into the maps, to be taken out again. For Pods keys of `edges`; for volumes keys of `by_secret` and their claim. */
struct entry { char **keys; size_t len; char *claim; };
/* The claims of the volumes that name one Secret. */
struct claims { char **items; size_t len; };

struct node_authorizer {
    struct store *store;
    struct store_watch *watches[KINDS];
    pthread_mutex_t dirty_mutex; /* dirty: all that the store's writer touches */
    struct map *dirty;           /* store keys that have changed since they were read */
    pthread_mutex_t mutex;       /* the rest */
    bool filled;
    struct map *objects;         /* store key to struct entry */
    struct map *edges;           /* "NODE KIND NAMESPACE/NAME" to how many Pods (or attachments, slices) make it so */
    struct map *by_secret;       /* "NAMESPACE/NAME" of a Secret to struct claims */
    struct arena *rules_arena;
    struct rbacv1_PolicyRule_list rules; /* of every node, whatever runs on it */
};

/* ---- the maps ---- */

static void edge_add(struct node_authorizer *n, const char *key, intptr_t by) {
    intptr_t count = (intptr_t)map_get(n->edges, key) + by;
    if (count > 0) map_put(n->edges, key, (void *)count);
    else map_del(n->edges, key);
}

static void entry_push(struct entry *e, const char *key) {
    e->keys = realloc(e->keys, (e->len + 1) * sizeof(*e->keys));
    CHECK(e->keys);
    e->keys[e->len++] = strdup(key);
}

static void secret_add(struct node_authorizer *n, const char *secret, const char *claim) {
    struct claims *c = map_get(n->by_secret, secret);
    if (!c) {
        c = calloc(1, sizeof(*c));
        CHECK(c);
        map_put(n->by_secret, secret, c);
    }
    c->items = realloc(c->items, (c->len + 1) * sizeof(*c->items));
    CHECK(c->items);
    c->items[c->len++] = strdup(claim);
}

static void free_claims(void *p) {
    struct claims *c = p;
    for (size_t i = 0; i < c->len; i++) free(c->items[i]);
    free(c->items);
    free(c);
}

static void secret_remove(struct node_authorizer *n, const char *secret, const char *claim) {
    struct claims *c = map_get(n->by_secret, secret);
    for (size_t i = 0; c && i < c->len; i++)
        if (strcmp(c->items[i], claim) == 0) {
            free(c->items[i]);
            c->items[i] = c->items[--c->len];
            break;
        }
    if (c && c->len == 0) free_claims(map_del(n->by_secret, secret));
}

static void entry_free(void *p) {
    struct entry *e = p;
    for (size_t i = 0; e && i < e->len; i++) free(e->keys[i]);
    if (!e) return;
    free(e->keys);
    free(e->claim);
    free(e);
}

static void forget(struct node_authorizer *n, const char *key) {
    struct entry *e = map_del(n->objects, key);
    for (size_t i = 0; e && i < e->len; i++) {
        if (e->claim) secret_remove(n, e->keys[i], e->claim);
        else edge_add(n, e->keys[i], -1);
    }
    entry_free(e);
}

/* ---- what an object brings ---- */

struct adding { struct node_authorizer *n; struct arena *a; struct entry *e; const char *node, *namespace; };

static void add_edge(struct adding *ad, const char *kind, const char *namespace, const char *name) {
    if (str_empty(name)) return;
    const char *key = arena_printf(ad->a, "%s %s %s/%s", ad->node, kind, str_or(namespace, ""), name);
    edge_add(ad->n, key, 1);
    entry_push(ad->e, key);
}

static void add_reference(void *arg, enum reference_kind kind, const char *namespace UNUSED, const char *name) {
    struct adding *ad = arg;
    add_edge(ad, kind == REFERENCE_SECRET ? "secret" : "configmap", ad->namespace, name);
}

static const char *claim_name(const struct corev1_Pod *pod, const struct corev1_PodResourceClaim *c) {
    if (c->resourceClaimName) return c->resourceClaimName;
    LIST_FOREACH(s, &pod->status.resourceClaimStatuses)
        if (str_eq(s->name, c->name)) return s->resourceClaimName;
    return NULL;
}

static void add_pod(struct adding *ad, const struct corev1_Pod *pod) {
    if (str_empty(pod->spec.nodeName)) return;
    ad->node = pod->spec.nodeName;
    ad->namespace = pod->metadata.namespace;
    add_edge(ad, "pod", ad->namespace, pod->metadata.name);
    if (string_map_has(&pod->metadata.annotations, "kubernetes.io/config.mirror")) return; /* a node makes these itself: they must not give it anything */
    add_edge(ad, "serviceaccount", ad->namespace, pod->spec.serviceAccountName);
    references_visit(&corev1_PodSpec_desc, &pod->spec, add_reference, ad);
    LIST_FOREACH(v, &pod->spec.volumes) {
        if (v->persistentVolumeClaim) add_edge(ad, "persistentvolumeclaim", ad->namespace, v->persistentVolumeClaim->claimName);
        else if (v->ephemeral) add_edge(ad, "persistentvolumeclaim", ad->namespace, arena_printf(ad->a, "%s-%s", pod->metadata.name, v->name));
    }
    LIST_FOREACH(c, &pod->spec.resourceClaims) add_edge(ad, "resourceclaim", ad->namespace, claim_name(pod, c));
}

static void add_volume_secret(void *arg, enum reference_kind kind, const char *namespace, const char *name) {
    struct adding *ad = arg;
    if (kind != REFERENCE_SECRET) return;
    const char *key = arena_printf(ad->a, "%s/%s", str_or(namespace, ad->namespace), name);
    secret_add(ad->n, key, ad->e->claim);
    entry_push(ad->e, key);
}

static void add_volume(struct adding *ad, const struct corev1_PersistentVolume *pv) {
    const struct corev1_ObjectReference *claim = pv->spec.claimRef;
    if (!claim) return;
    ad->namespace = claim->namespace;
    ad->e->claim = strdup(arena_printf(ad->a, "%s/%s", str_or(claim->namespace, ""), str_or(claim->name, "")));
    references_visit(&corev1_PersistentVolumeSource_desc, &pv->spec.PersistentVolumeSource, add_volume_secret, ad);
}

static void remember(struct node_authorizer *n, struct arena *a, int kind, const char *key, const struct store_view *v) {
    static const struct { const char *group, *resource; } of[KINDS] = {{"", "pods"}, {"", "persistentvolumes"}, {"storage.k8s.io", "volumeattachments"}, {"resource.k8s.io", "resourceslices"}};
    void *obj = registry_decode(a, strategy_find(of[kind].group, of[kind].resource), v);
    if (!obj) return;
    struct adding ad = {.n = n, .a = a, .e = calloc(1, sizeof(struct entry))};
    CHECK(ad.e);
    if (kind == PODS) add_pod(&ad, obj);
    else if (kind == VOLUMES) add_volume(&ad, obj);
    else {
        ad.node = kind == ATTACHMENTS ? ((struct storagev1_VolumeAttachment *)obj)->spec.nodeName : ((struct resourcev1_ResourceSlice *)obj)->spec.nodeName;
        if (!str_empty(ad.node)) add_edge(&ad, kind == ATTACHMENTS ? "volumeattachment" : "resourceslice", NULL, ((struct object *)obj)->metadata.name);
    }
    if (ad.e->len || ad.e->claim) map_put(n->objects, key, ad.e);
    else entry_free(ad.e);
}

/* ---- keeping up with the store ---- */

static int kind_of(const char *key) {
    for (int i = 0; i < KINDS; i++)
        if (str_has_prefix(key, prefixes[i])) return i;
    return -1;
}

/* On the store's writer thread, before the writer of the object is told. */
static void on_event(void *arg, struct store_event *e) {
    struct node_authorizer *n = arg;
    pthread_mutex_lock(&n->dirty_mutex);
    map_put(n->dirty, e->key, n);
    pthread_mutex_unlock(&n->dirty_mutex);
}

struct filling { struct node_authorizer *n; int kind; };
static bool on_stored(void *arg, const struct store_view *v) {
    struct filling *f = arg;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *key = arena_strndup(a, v->key, v->key_len);
    forget(f->n, key);
    remember(f->n, a, f->kind, key, v);
    return true;
}

static void catch_up_all(struct node_authorizer *n, struct store_txn *t) {
    for (int i = 0; i < KINDS; i++) store_range(t, prefixes[i], NULL, on_stored, &(struct filling){n, i});
    n->filled = true;
}

static void catch_up_some(struct node_authorizer *n, struct store_txn *t, struct map *dirty) {
    const char *key;
    void *unused;
    for (size_t i = 0; map_next(dirty, &i, &key, &unused);) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct store_view v;
        forget(n, key);
        if (store_get(t, key, &v)) remember(n, a, kind_of(key), key, &v);
    }
}

/* The mutex is held. False: the store cannot be read, nothing may be allowed. */
static bool catch_up(struct node_authorizer *n) {
    struct store_txn *t;
    struct map *dirty = NULL;
    pthread_mutex_lock(&n->dirty_mutex);
    if (map_len(n->dirty)) {
        dirty = n->dirty;
        n->dirty = map_new();
    }
    pthread_mutex_unlock(&n->dirty_mutex);
    if (!dirty && n->filled) return true;
    bool ok = store_read_begin(n->store, &t, NULL) == 0; /* begun after the keys were taken: it sees all their writes */
    if (ok) {
        if (!n->filled) catch_up_all(n, t);
        else catch_up_some(n, t, dirty);
        store_read_end(t);
    } else n->filled = false; /* all anew next time */
    map_free(dirty);
    return ok;
}

/* ---- life ---- */

static void load_rules(struct node_authorizer *n) {
    n->rules_arena = arena_new();
    for (size_t i = 0; i < policy_roles_len; i++)
        if (!policy_roles[i].namespace && strcmp(policy_roles[i].name, "system:node") == 0) n->rules = policy_rules(n->rules_arena, policy_roles[i].rules);
    CHECK(n->rules.len);
}

struct node_authorizer *node_authorizer_new(struct store *store, struct status *reterr) {
    struct node_authorizer *n = calloc(1, sizeof(*n));
    CHECK(n);
    n->store = store;
    pthread_mutex_init(&n->dirty_mutex, NULL);
    pthread_mutex_init(&n->mutex, NULL);
    n->dirty = map_new();
    n->objects = map_new();
    n->edges = map_new();
    n->by_secret = map_new();
    load_rules(n);
    for (int i = 0; i < KINDS; i++)
        if (store_watch_start(store, prefixes[i], store_revision(store), on_event, n, &n->watches[i], reterr) != 0) {
            node_authorizer_free(n);
            return NULL;
        }
    return n;
}

void node_authorizer_free(struct node_authorizer *n) {
    if (!n) return;
    for (int i = 0; i < KINDS; i++)
        if (n->watches[i]) store_watch_stop(n->watches[i]);
    map_free(n->dirty);
    map_free_with(n->objects, entry_free);
    map_free(n->edges);
    map_free_with(n->by_secret, free_claims);
    arena_free(n->rules_arena);
    pthread_mutex_destroy(&n->dirty_mutex);
    pthread_mutex_destroy(&n->mutex);
    free(n);
}

/* ---- asking ---- */

struct question { struct node_authorizer *n; struct arena *a; const char *node; const struct authz_attributes *at; const char *reason; };

static bool has_edge(struct question *q, const char *kind, const char *object) { return map_has(q->n->edges, arena_printf(q->a, "%s %s %s", q->node, kind, object)); }

/* A volume is related through the claim it is bound to; a Secret also through such volumes. */
static bool has_path(struct question *q, const char *kind, const char *object) {
    if (strcmp(kind, "persistentvolume") == 0) {
        const struct entry *pv = map_get(q->n->objects, arena_printf(q->a, "%s%s", prefixes[VOLUMES], object + 1));
        return pv && pv->claim && has_edge(q, "persistentvolumeclaim", pv->claim);
    }
    if (has_edge(q, kind, object)) return true;
    const struct claims *c = strcmp(kind, "secret") == 0 ? map_get(q->n->by_secret, object) : NULL;
    for (size_t i = 0; c && i < c->len; i++)
        if (has_edge(q, "persistentvolumeclaim", c->items[i])) return true;
    return false;
}

static enum authz_decision no(struct question *q, const char *reason) {
    q->reason = reason;
    return AUTHZ_NO_OPINION;
}

static enum authz_decision related(struct question *q, const char *kind) {
    if (str_empty(q->at->name)) return no(q, "No Object name found");
    bool cluster = strcmp(kind, "persistentvolume") == 0 || strcmp(kind, "volumeattachment") == 0 || strcmp(kind, "resourceslice") == 0;
    const char *object = arena_printf(q->a, "%s/%s", cluster ? "" : str_or(q->at->namespace, ""), q->at->name);
    pthread_mutex_lock(&q->n->mutex);
    bool found = catch_up(q->n) && has_path(q, kind, object);
    pthread_mutex_unlock(&q->n->mutex);
    return found ? AUTHZ_ALLOW : no(q, arena_printf(q->a, "no relationship found between node '%s' and this object", q->node));
}

static bool verb_in(const struct question *q, const char *const *verbs) { return str_in(str_or(q->at->verb, ""), verbs); }

static bool selects(const struct question *q, const char *field) {
    const struct field_selector *fs = q->at->fields;
    for (size_t i = 0; fs && i < fs->len; i++)
        if (!fs->items[i].negated && strcmp(fs->items[i].field, field) == 0 && str_eq(fs->items[i].value, q->node)) return true;
    return false;
}

static enum authz_decision ask_read(struct question *q, const char *kind) {
    static const char *const verbs[] = {"get", "list", "watch", NULL};
    if (!verb_in(q, verbs)) return no(q, "can only read resources of this type");
    if (!str_empty(q->at->subresource)) return no(q, "cannot read subresource");
    if (str_empty(q->at->namespace)) return no(q, "can only read namespaced object of this type");
    return related(q, kind);
}

static enum authz_decision ask_get(struct question *q, const char *kind) {
    if (!str_eq(q->at->verb, "get")) return no(q, "can only get individual resources of this type");
    if (!str_empty(q->at->subresource)) return no(q, "cannot get subresource");
    return related(q, kind);
}

static enum authz_decision ask_claim(struct question *q, const char *kind) {
    static const char *const verbs[] = {"update", "patch", NULL};
    if (!str_eq(q->at->subresource, "status")) return ask_get(q, kind);
    return verb_in(q, verbs) ? related(q, kind) : no(q, "can only get/update/patch this type");
}

static enum authz_decision ask_token(struct question *q, const char *kind) {
    if (!str_eq(q->at->verb, "create") || str_empty(q->at->name)) return no(q, "can only create tokens for individual service accounts");
    if (!str_eq(q->at->subresource, "token")) return no(q, "can only create token subresource of serviceaccount");
    return related(q, kind);
}

static enum authz_decision ask_lease(struct question *q, const char *kind UNUSED) {
    static const char *const verbs[] = {"get", "create", "update", "patch", "delete", NULL};
    if (!verb_in(q, verbs)) return no(q, "can only get, create, update, patch, or delete a node lease");
    if (!str_eq(q->at->namespace, "kube-node-lease")) return no(q, "can only access leases in the \"kube-node-lease\" system namespace");
    if (!str_eq(q->at->verb, "create") && !str_eq(q->at->name, q->node)) return no(q, "can only access node lease with the same name as the requesting node");
    return AUTHZ_ALLOW;
}

static enum authz_decision ask_csinode(struct question *q, const char *kind UNUSED) {
    static const char *const verbs[] = {"get", "create", "update", "patch", "delete", NULL};
    if (!verb_in(q, verbs)) return no(q, "can only get, create, update, patch, or delete a CSINode");
    if (!str_empty(q->at->subresource)) return no(q, "cannot authorize CSINode subresources");
    if (!str_eq(q->at->verb, "create") && !str_eq(q->at->name, q->node)) return no(q, "can only access CSINode with the same name as the requesting node");
    return AUTHZ_ALLOW;
}

static enum authz_decision ask_slice(struct question *q, const char *kind) {
    static const char *const one[] = {"get", "update", "patch", "delete", NULL}, *const many[] = {"watch", "list", "deletecollection", NULL};
    if (!str_empty(q->at->subresource)) return no(q, "cannot authorize ResourceSlice subresources");
    if (str_eq(q->at->verb, "create")) return AUTHZ_ALLOW;
    if (verb_in(q, one)) return related(q, kind);
    if (verb_in(q, many)) return selects(q, "spec.nodeName") ? AUTHZ_ALLOW : no(q, "can only list/watch/deletecollection resourceslices with nodeName field selector");
    return no(q, "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection");
}

static enum authz_decision ask_node(struct question *q, const char *kind UNUSED) {
    static const char *const writes[] = {"create", "update", "patch", NULL}, *const reads[] = {"get", "list", "watch", NULL}, *const status[] = {"update", "patch", NULL};
    if (str_eq(q->at->subresource, "status")) return verb_in(q, status) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
    if (!str_empty(q->at->subresource)) return AUTHZ_NO_OPINION;
    if (verb_in(q, writes)) return AUTHZ_ALLOW; /* NodeRestriction sees to it that it is its own */
    if (!verb_in(q, reads)) return AUTHZ_NO_OPINION;
    if (str_eq(q->at->name, q->node)) return AUTHZ_ALLOW;
    if (str_empty(q->at->name)) return no(q, arena_printf(q->a, "node '%s' cannot read all nodes, only its own Node object", q->node));
    return no(q, arena_printf(q->a, "node '%s' cannot read '%s', only its own Node object", q->node, q->at->name));
}

static enum authz_decision ask_pod(struct question *q, const char *kind) {
    static const char *const lists[] = {"list", "watch", NULL}, *const mirror[] = {"create", "delete", NULL}, *const status[] = {"update", "patch", NULL};
    const char *sub = q->at->subresource;
    if (str_eq(sub, "status")) return verb_in(q, status) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
    if (str_eq(sub, "eviction")) return str_eq(q->at->verb, "create") ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
    if (!str_empty(sub)) return AUTHZ_NO_OPINION;
    if (str_eq(q->at->verb, "get")) return ask_get(q, kind);
    if (verb_in(q, mirror)) return AUTHZ_ALLOW;
    if (!verb_in(q, lists)) return AUTHZ_NO_OPINION;
    if (selects(q, "spec.nodeName")) return AUTHZ_ALLOW;
    return !str_empty(q->at->name) ? related(q, kind) : no(q, "can only list/watch pods with spec.nodeName field selector");
}

static const struct { const char *group, *resource; enum authz_decision (*ask)(struct question *, const char *kind); const char *kind; } resources[] = {
    {"", "secrets", ask_read, "secret"}, {"", "configmaps", ask_read, "configmap"}, {"", "persistentvolumeclaims", ask_claim, "persistentvolumeclaim"}, {"", "persistentvolumes", ask_get, "persistentvolume"},
    {"resource.k8s.io", "resourceclaims", ask_get, "resourceclaim"}, {"storage.k8s.io", "volumeattachments", ask_get, "volumeattachment"}, {"", "serviceaccounts", ask_token, "serviceaccount"},
    {"coordination.k8s.io", "leases", ask_lease, "lease"}, {"storage.k8s.io", "csinodes", ask_csinode, "csinode"}, {"resource.k8s.io", "resourceslices", ask_slice, "resourceslice"}, {"", "nodes", ask_node, "node"},
    {"", "pods", ask_pod, "pod"}};

bool node_identity(const struct user_info *user, const char **ret_name) {
    if (!str_has_prefix(str_or(user->name, ""), "system:node:") || !string_list_has(&user->groups, "system:nodes")) return false;
    *ret_name = user->name + strlen("system:node:");
    return true;
}

enum authz_decision node_authorizer_decide(struct node_authorizer *n, struct arena *a, const struct authz_attributes *at, const char **ret_reason) {
    struct question q = {n, a, NULL, at, ""};
    enum authz_decision d = AUTHZ_NO_OPINION;
    if (!node_identity(at->user, &q.node)) return AUTHZ_NO_OPINION;
    const char *group = str_or(at->group, ""), *resource = str_or(at->resource, "");
    size_t i = at->resource_request ? 0 : ARRAY_LEN(resources);
    while (i < ARRAY_LEN(resources) && (strcmp(resources[i].resource, resource) != 0 || strcmp(resources[i].group, group) != 0)) i++;
    if (str_empty(q.node)) no(&q, arena_printf(a, "unknown node for user %s", go_quote(a, at->user->name)));
    else if (i < ARRAY_LEN(resources)) d = resources[i].ask(&q, resources[i].kind);
    else
        for (size_t r = 0; r < n->rules.len && d != AUTHZ_ALLOW; r++)
            if (rbac_rule_allows(&n->rules.items[r], at)) d = AUTHZ_ALLOW;
    if (ret_reason) *ret_reason = q.reason;
    return d;
}
