/* What controllers of Pods have in common: see controller_utils.h. */
#include "controller/controller_utils.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/url.h"

enum { EXPECTATIONS_S = 300, SWEEP_MIN = 1024 };

/* ---- expectations ---- */

struct expectation { int creations; struct map *deletions; int64_t at_ns; };
struct expectations {
    struct env *env;
    pthread_mutex_t mutex;
    struct map *items; /* key -> struct expectation * */
    struct map *doubts; /* keys */
    size_t sweep_at;    /* items are looked through for those of owners long gone when there are so many */
};

static void expectation_free(void *p) {
    map_free(((struct expectation *)p)->deletions);
    free(p);
}

struct expectations *expectations_new(struct env *env) {
    struct expectations *e = calloc(1, sizeof(*e));
    CHECK(e);
    e->env = env;
    e->items = map_new();
    e->doubts = map_new();
    e->sweep_at = SWEEP_MIN;
    pthread_mutex_init(&e->mutex, NULL);
    return e;
}

void expectations_free(struct expectations *e) {
    if (!e) return;
    map_free_with(e->items, expectation_free);
    map_free(e->doubts);
    pthread_mutex_destroy(&e->mutex);
    free(e);
}

static bool is_over(const struct expectations *e, const struct expectation *x) {
    return (x->creations <= 0 && map_len(x->deletions) == 0) || env_mono_ns(e->env) - x->at_ns > (int64_t)EXPECTATIONS_S * 1000000000;
}

/* A sync that ends after its owner's deletion was seen leaves its expectations behind. With the mutex. */
static void sweep(struct expectations *e) {
    const char *key;
    void *x;
    if (map_len(e->items) < e->sweep_at) return;
    for (size_t i = 0; map_next(e->items, &i, &key, &x);)
        if (is_over(e, x)) expectation_free(map_del(e->items, key));
    e->sweep_at = SWEEP_MIN + 2 * map_len(e->items);
}

/* Begins anew; with the mutex. */
static struct expectation *expect(struct expectations *e, const char *key) {
    struct expectation *x = calloc(1, sizeof(*x));
    CHECK(x);
    sweep(e);
    x->deletions = map_new();
    x->at_ns = env_mono_ns(e->env);
    struct expectation *old = map_put(e->items, key, x);
    if (old) expectation_free(old);
    return x;
}

void expectations_expect_creations(struct expectations *e, const char *key, int n) {
    pthread_mutex_lock(&e->mutex);
    expect(e, key)->creations = n;
    pthread_mutex_unlock(&e->mutex);
}

void expectations_expect_deletions(struct expectations *e, const char *key, const struct string_list *pod_keys) {
    pthread_mutex_lock(&e->mutex);
    struct expectation *x = expect(e, key);
    LIST_FOREACH(k, pod_keys) map_put(x->deletions, *k, x);
    pthread_mutex_unlock(&e->mutex);
}

void expectations_expect(struct expectations *e, const char *key, int creations, const struct string_list *deletion_pod_keys) {
    pthread_mutex_lock(&e->mutex);
    struct expectation *x = expect(e, key);
    x->creations = creations;
    LIST_FOREACH(k, deletion_pod_keys) map_put(x->deletions, *k, x);
    pthread_mutex_unlock(&e->mutex);
}

void expectations_creation_observed(struct expectations *e, const char *key) {
    pthread_mutex_lock(&e->mutex);
    struct expectation *x = map_get(e->items, key);
    if (x && x->creations > 0) x->creations--;
    pthread_mutex_unlock(&e->mutex);
}

void expectations_deletion_observed(struct expectations *e, const char *key, const char *pod_key) {
    pthread_mutex_lock(&e->mutex);
    struct expectation *x = map_get(e->items, key);
    if (x) map_del(x->deletions, pod_key);
    pthread_mutex_unlock(&e->mutex);
}

bool expectations_satisfied(struct expectations *e, const char *key) {
    pthread_mutex_lock(&e->mutex);
    const struct expectation *x = map_get(e->items, key);
    bool ok = !x || is_over(e, x);
    pthread_mutex_unlock(&e->mutex);
    return ok;
}

bool expectations_deletes(struct expectations *e, const char *key, const char *pod_key) {
    pthread_mutex_lock(&e->mutex);
    const struct expectation *x = map_get(e->items, key);
    bool deletes = x && !is_over(e, x) && map_has(x->deletions, pod_key);
    pthread_mutex_unlock(&e->mutex);
    return deletes;
}

void expectations_delete(struct expectations *e, const char *key) {
    pthread_mutex_lock(&e->mutex);
    struct expectation *x = map_del(e->items, key);
    if (x) expectation_free(x);
    map_del(e->doubts, key);
    pthread_mutex_unlock(&e->mutex);
}

/* ---- doubts ---- */

bool write_is_in_doubt(const struct status *err) { return err->code == 0 || err->code == 408 || err->code >= 500; }

void expectations_doubt(struct expectations *e, const char *key) {
    pthread_mutex_lock(&e->mutex);
    map_put(e->doubts, key, e);
    pthread_mutex_unlock(&e->mutex);
}

static bool in_doubt(struct expectations *e, const char *key) {
    pthread_mutex_lock(&e->mutex);
    bool yes = map_has(e->doubts, key);
    pthread_mutex_unlock(&e->mutex);
    return yes;
}

/* Both know the same Pods of the owner, and of each whether it is active. */
static bool cache_agrees(struct arena *a, const struct corev1_PodList *live, const struct cached_list *cached, const void *owner) {
    struct map *known = map_new();
    size_t same = 0, there = 0;
    LIST_FOREACH(p, &live->items)
        if (controlled_by(p, owner)) map_put(known, p->metadata.uid, pod_is_active(p) ? (void *)a : (void *)known);
    CACHED_FOREACH(p, corev1_Pod, cached) {
        if (!controlled_by(p, owner)) continue;
        there++;
        same += map_get(known, p->metadata.uid) == (pod_is_active(p) ? (void *)a : (void *)known);
    }
    bool agrees = same == there && same == map_len(known);
    map_free(known);
    return agrees;
}

bool expectations_settle(struct expectations *e, const char *key, struct controller *c, struct arena *a, struct informer *pods, int by_controller, const void *owner,
                         const struct selector *selector) {
    if (!in_doubt(e, key)) return true;
    _cleanup_cached_list_ struct cached_list cached = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_PodList live;
    const struct object *o = owner;
    const char *query = arena_printf(a, "labelSelector=%s", url_escape_query(a, selector_string(a, selector)));
    if (client_list(c->client, a, &corev1_Pod_desc, o->metadata.namespace, query, &live, &err) != 0) return false;
    informer_by_index(pods, by_controller, o->metadata.uid, &cached); /* after the list: it can but be newer */
    if (!cache_agrees(a, &live, &cached, owner)) return false;
    pthread_mutex_lock(&e->mutex);
    map_del(e->doubts, key);
    pthread_mutex_unlock(&e->mutex);
    return true;
}

/* ---- own writes ---- */

struct own_writes {
    pthread_mutex_t mutex;
    struct map *versions;       /* key -> the highest resourceVersion, as a pointer */
    struct map *doubts;
};

struct own_writes *own_writes_new(void) {
    struct own_writes *w = calloc(1, sizeof(*w));
    CHECK(w);
    w->versions = map_new();
    w->doubts = map_new();
    pthread_mutex_init(&w->mutex, NULL);
    return w;
}

void own_writes_free(struct own_writes *w) {
    if (!w) return;
    map_free(w->versions);
    map_free(w->doubts);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

void own_writes_note(struct own_writes *w, const char *key, const void *obj) {
    uintptr_t version = (uintptr_t)strtoull(str_or(((const struct object *)obj)->metadata.resourceVersion, "0"), NULL, 10);
    pthread_mutex_lock(&w->mutex);
    if ((uintptr_t)map_get(w->versions, key) < version) map_put(w->versions, key, (void *)version);
    pthread_mutex_unlock(&w->mutex);
}

void own_writes_doubt(struct own_writes *w, const char *key) {
    pthread_mutex_lock(&w->mutex);
    map_put(w->doubts, key, w);
    pthread_mutex_unlock(&w->mutex);
}

bool own_writes_in_doubt(struct own_writes *w, const char *key) {
    pthread_mutex_lock(&w->mutex);
    bool yes = map_has(w->doubts, key);
    pthread_mutex_unlock(&w->mutex);
    return yes;
}

void own_writes_settle(struct own_writes *w, const char *key) {
    pthread_mutex_lock(&w->mutex);
    map_del(w->doubts, key);
    pthread_mutex_unlock(&w->mutex);
}

bool own_writes_seen(struct own_writes *w, const char *key, struct informer *inf) {
    pthread_mutex_lock(&w->mutex);
    bool seen = !map_has(w->doubts, key) && (uintptr_t)map_get(w->versions, key) <= informer_version(inf);
    if (seen) map_del(w->versions, key);
    pthread_mutex_unlock(&w->mutex);
    return seen;
}

bool status_has_cause(const struct status *s, const char *type) {
    for (size_t i = 0; i < s->causes_len; i++)
        if (str_eq(s->causes[i].type, type)) return true;
    return false;
}

/* ---- owners ---- */

const struct metav1_OwnerReference *controller_of(const void *obj) {
    LIST_FOREACH(o, &((const struct object *)obj)->metadata.ownerReferences)
        if (o->controller.has && o->controller.value) return o;
    return NULL;
}

bool controlled_by(const void *obj, const void *owner) {
    const struct metav1_OwnerReference *o = controller_of(obj);
    return o && str_eq(o->uid, ((const struct object *)owner)->metadata.uid);
}

struct metav1_OwnerReference controller_ref(struct arena *a, const struct type_desc *type, const void *owner) {
    const struct object *o = owner;
    return (struct metav1_OwnerReference){.apiVersion = type_api_version(a, type), .kind = type->kind, .name = o->metadata.name, .uid = o->metadata.uid, .controller = OPT(true), .blockOwnerDeletion = OPT(true)};
}

static void index_by_controller(struct arena *a, const void *obj, struct string_list *ret) {
    const struct object *o = obj;
    const struct metav1_OwnerReference *ref = controller_of(o);
    string_list_push(a, ret, ref ? ref->uid : arena_printf(a, "orphans/%s", o->metadata.namespace));
}

int pods_index_by_controller(struct informer *pods) { return informer_add_index(pods, "controller-or-orphan", index_by_controller); }

void pods_owned_or_orphaned(struct informer *pods, int by_controller, const void *owner, struct cached_list *ret) {
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    const struct object *o = owner;
    informer_by_index(pods, by_controller, o->metadata.uid, ret);
    informer_by_index(pods, by_controller, arena_printf(a, "orphans/%s", o->metadata.namespace), ret);
}

struct claim {
    struct controller *c;
    struct arena *a;
    const struct type_desc *owner_type, *type;
    const struct object *owner;
    const char *finalizer;
    bool checked; /* the owner has been read again */
};

/* An owner that is being deleted, or was replaced by another of its name, adopts nothing; the cache may not know yet. */
static int may_adopt(struct claim *cl, struct status *reterr) {
    if (cl->checked) return 0;
    struct object *fresh = arena_alloc(cl->a, cl->owner_type->size);
    if (client_get(cl->c->client, cl->a, cl->owner_type, cl->owner->metadata.namespace, cl->owner->metadata.name, fresh, reterr) != 0) return -1;
    if (!str_eq(fresh->metadata.uid, cl->owner->metadata.uid))
        return status_set(reterr, 409, REASON_CONFLICT, "original %s %s/%s is gone: got uid %s, wanted %s", cl->owner_type->kind, str_or(cl->owner->metadata.namespace, ""), cl->owner->metadata.name,
                          str_or(fresh->metadata.uid, ""), str_or(cl->owner->metadata.uid, ""));
    if (fresh->metadata.deletionTimestamp.set)
        return status_set(reterr, 409, REASON_CONFLICT, "%s %s/%s has just been deleted", cl->owner_type->kind, str_or(cl->owner->metadata.namespace, ""), cl->owner->metadata.name);
    cl->checked = true;
    return 0;
}

static void put_member(struct buf *b, const char *name, const char *value) {
    buf_printf(b, "\"%s\":", name);
    json_write_string(b, str_or(value, ""));
}

static int adopt(struct claim *cl, const struct object *o, struct status *reterr) {
    if (may_adopt(cl, reterr) != 0) return -1;
    _cleanup_buf_ struct buf p = BUF_INIT;
    buf_append_str(&p, "{\"metadata\":{\"ownerReferences\":[{");
    put_member(&p, "apiVersion", type_api_version(cl->a, cl->owner_type));
    buf_append_char(&p, ',');
    put_member(&p, "kind", cl->owner_type->kind);
    buf_append_char(&p, ',');
    put_member(&p, "name", cl->owner->metadata.name);
    buf_append_char(&p, ',');
    put_member(&p, "uid", cl->owner->metadata.uid);
    buf_append_str(&p, ",\"controller\":true,\"blockOwnerDeletion\":true}],");
    if (cl->finalizer) buf_printf(&p, "\"finalizers\":[\"%s\"],", cl->finalizer);
    put_member(&p, "uid", o->metadata.uid);
    buf_append_str(&p, "}}");
    return client_patch(cl->c->client, cl->a, cl->type, o->metadata.namespace, o->metadata.name, NULL, PATCH_STRATEGIC, buf_cstr(&p), NULL, reterr);
}

/* One that is gone, or is another by now, needs no release. */
static int release(struct claim *cl, const struct object *o, struct status *reterr) {
    _cleanup_buf_ struct buf p = BUF_INIT;
    struct status err = STATUS_INIT;
    buf_append_str(&p, "{\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",");
    put_member(&p, "uid", cl->owner->metadata.uid);
    buf_append_str(&p, "}],");
    put_member(&p, "uid", o->metadata.uid);
    buf_append_str(&p, "}}");
    int rc = client_patch(cl->c->client, cl->a, cl->type, o->metadata.namespace, o->metadata.name, NULL, PATCH_STRATEGIC, buf_cstr(&p), NULL, &err);
    if (rc != 0 && (status_is(&err, 404) || status_is(&err, 422))) rc = 0;
    if (rc != 0 && reterr) status_copy(reterr, &err);
    status_release(&err);
    return rc;
}

void cached_list_push(struct cached_list *ret, struct cached *c) {
    if (ret->len == ret->cap) {
        ret->cap = ret->cap ? ret->cap * 2 : 8;
        CHECK(ret->items = realloc(ret->items, ret->cap * sizeof(*ret->items)));
    }
    ret->items[ret->len++] = cached_ref(c);
}

void cached_list_take(struct cached_list *to, struct cached_list *from) {
    for (size_t i = 0; i < from->len; i++) cached_list_push(to, from->items[i]);
    cached_list_release(from);
}

/* 1: it is ours. */
static int claim_one(struct claim *cl, const struct selector *selector, const struct object *o, struct status *reterr) {
    const struct metav1_OwnerReference *ref = controller_of(o);
    bool matches = selector_matches(selector, &o->metadata.labels), leaving = cl->owner->metadata.deletionTimestamp.set;
    if (ref) {
        if (!str_eq(ref->uid, cl->owner->metadata.uid)) return 0;
        if (matches) return 1;
        return leaving ? 0 : release(cl, o, reterr);
    }
    if (leaving || !matches || o->metadata.deletionTimestamp.set) return 0;
    if (!str_eq(o->metadata.namespace, cl->owner->metadata.namespace)) return 0;
    struct status err = STATUS_INIT;
    int rc = adopt(cl, o, &err);
    bool gone = rc != 0 && status_is(&err, 404);
    if (rc != 0 && !gone && reterr) status_copy(reterr, &err);
    status_release(&err);
    return rc == 0 ? 1 : gone ? 0 : -1;
}

int controller_claim(struct controller *c, struct arena *a, const struct type_desc *owner_type, const void *owner, const struct selector *selector, const struct type_desc *type,
                     const struct cached_list *all, struct cached_list *ret, struct status *reterr) {
    return controller_claim_with(c, a, owner_type, owner, selector, type, all, NULL, ret, reterr);
}

int controller_claim_with(struct controller *c, struct arena *a, const struct type_desc *owner_type, const void *owner, const struct selector *selector, const struct type_desc *type,
                          const struct cached_list *all, const char *finalizer, struct cached_list *ret, struct status *reterr) {
    struct claim cl = {.c = c, .a = a, .owner_type = owner_type, .type = type, .owner = owner, .finalizer = finalizer};
    int failed = 0;
    for (size_t i = 0; i < all->len; i++) {
        int rc = claim_one(&cl, selector, all->items[i]->obj, reterr);
        if (rc > 0) cached_list_push(ret, all->items[i]);
        else if (rc < 0) failed = -1; /* the others are claimed all the same */
    }
    return failed;
}

/* ---- Pods ---- */

struct corev1_Pod *pod_from_template(struct arena *a, const struct type_desc *owner_type, const void *owner, const struct corev1_PodTemplateSpec *template) {
    const struct object *o = owner;
    struct corev1_Pod *p = object_new(a, &corev1_Pod_desc);
    p->metadata.namespace = o->metadata.namespace;
    p->metadata.generateName = arena_printf(a, "%s-", o->metadata.name);
    p->metadata.labels = string_map_copy(a, &template->metadata.labels);
    p->metadata.annotations = string_map_copy(a, &template->metadata.annotations);
    LIST_FOREACH(f, &template->metadata.finalizers) string_list_push(a, &p->metadata.finalizers, *f);
    *LIST_PUSH(a, &p->metadata.ownerReferences) = controller_ref(a, owner_type, owner);
    object_copy_into(a, &corev1_PodSpec_desc, &p->spec, &template->spec);
    return p;
}

int pod_control_create_pod(struct controller *c, const struct type_desc *owner_type, const void *owner, const struct corev1_Pod *pod, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Pod made;
    if (pod->metadata.labels.len == 0) return status_internal(reterr, "unable to create pods, no labels");
    if (client_create(c->client, a, &corev1_Pod_desc, pod, &made, &err) != 0) {
        /* In a namespace that is going away nothing more can be made: that is no news. */
        if (!status_has_cause(&err, "NamespaceTerminating")) event_record(c->events, owner_type, owner, EVENT_WARNING, "FailedCreate", "Error creating: %s", status_message(&err));
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    event_record(c->events, owner_type, owner, EVENT_NORMAL, "SuccessfulCreate", "Created pod: %s", made.metadata.name);
    return 0;
}

int pod_control_create(struct controller *c, const struct type_desc *owner_type, const void *owner, const struct corev1_PodTemplateSpec *template, const char *name, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Pod *p = pod_from_template(a, owner_type, owner, template);
    if (name) {
        p->metadata.name = name;
        p->metadata.generateName = NULL;
    }
    return pod_control_create_pod(c, owner_type, owner, p, reterr);
}

int pod_control_delete(struct controller *c, const struct type_desc *owner_type, const void *owner, const struct corev1_Pod *pod, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_delete(c->client, &corev1_Pod_desc, pod->metadata.namespace, pod->metadata.name, NULL, &err) == 0) {
        event_record(c->events, owner_type, owner, EVENT_NORMAL, "SuccessfulDelete", "Deleted pod: %s", pod->metadata.name);
        return 0;
    }
    if (!status_is(&err, 404)) event_record(c->events, owner_type, owner, EVENT_WARNING, "FailedDelete", "Error deleting: %s", status_message(&err));
    if (reterr) status_copy(reterr, &err);
    return -1;
}

static int phase_rank(const struct corev1_Pod *p) { return str_eq(p->status.phase, "Running") ? 2 : str_eq(p->status.phase, "Unknown") ? 1 : 0; }

static int64_t ready_since(const struct corev1_Pod *p) {
    const struct corev1_PodCondition *c = pod_condition(p, "Ready");
    return c && str_eq(c->status, "True") && c->lastTransitionTime.set ? c->lastTransitionTime.sec : 0;
}

static int restarts_max(const struct corev1_Pod *p) {
    int max = 0;
    LIST_FOREACH(s, &p->status.initContainerStatuses) max = MAX(max, s->restartCount);
    LIST_FOREACH(s, &p->status.containerStatuses) max = MAX(max, s->restartCount);
    return max;
}

static int deletion_cost(const struct corev1_Pod *p) {
    int64_t cost = 0;
    const char *text = string_map_get(&p->metadata.annotations, "controller.kubernetes.io/pod-deletion-cost");
    if (text) str_to_i64(text, &cost);
    return (int)cost;
}

/* Upstream compares ages on a logarithmic scale, so that of Pods of about the same age any may go. */
static int log_bucket(int64_t age_s) {
    int b = 0;
    for (; age_s > 1; age_s >>= 1) b++;
    return b;
}

#define DIFFER(x, y) do { if ((x) != (y)) return (x) < (y) ? -1 : 1; } while (0)

int pod_deletion_order(const struct corev1_Pod *a, int rank_a, const struct corev1_Pod *b, int rank_b, int64_t now_s) {
    DIFFER(!str_empty(a->spec.nodeName), !str_empty(b->spec.nodeName)); /* without a node first */
    DIFFER(phase_rank(a), phase_rank(b));                               /* pending, unknown, running */
    DIFFER(pod_is_ready(a), pod_is_ready(b));
    DIFFER(deletion_cost(a), deletion_cost(b));
    DIFFER(-rank_a, -rank_b);                                           /* from where there are most */
    if (pod_is_ready(a) && ready_since(a) != ready_since(b)) {          /* ready for a shorter time first */
        if (!ready_since(a) || !ready_since(b)) return ready_since(b) ? 1 : -1;
        int ba = log_bucket(now_s - ready_since(a)), bb = log_bucket(now_s - ready_since(b));
        if (ba == bb) return str_cmp(a->metadata.uid, b->metadata.uid);
        return ba < bb ? -1 : 1;
    }
    DIFFER(-restarts_max(a), -restarts_max(b));
    int64_t ca = a->metadata.creationTimestamp.sec, cb = b->metadata.creationTimestamp.sec;
    if (ca != cb) {
        int ba = log_bucket(now_s - ca), bb = log_bucket(now_s - cb);
        if (ba == bb) return str_cmp(a->metadata.uid, b->metadata.uid);
        return ba < bb ? -1 : 1;
    }
    return 0;
}

/* ---- hashes ---- */

char *safe_encode_number(struct arena *a, uint32_t number) {
    static const char safe[] = "bcdfghjklmnpqrstvwxz2456789";
    char *text = arena_printf(a, "%u", number);
    for (char *p = text; *p; p++) *p = safe[(unsigned char)*p % (sizeof(safe) - 1)];
    return text;
}

char *template_hash(struct arena *a, const struct corev1_PodTemplateSpec *template, int64_t collision_count) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    object_encode_json(&corev1_PodTemplateSpec_desc, template, &b);
    if (collision_count >= 0) buf_printf(&b, "%lld", (long long)collision_count);
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < b.len; i++) h = (h ^ (unsigned char)b.data[i]) * 16777619u;
    return safe_encode_number(a, h);
}
