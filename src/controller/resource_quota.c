/* ResourceQuotas: what is used is counted again when something goes, when the quota changes and every --resource-quota-sync-period. Upstream: pkg/controller/resourcequota.
 *
 * Admission charges what is created; this controller gives back. Pods, Services, claims and what has short names are always watched; any other resource is from the
 * first quota that counts it ("count/jobs.batch") on, by its metadata alone; of custom resources the group's preferred version is asked for. Tests: tests/unit/test_controller_quota.c. */
#include "api/quantity.h"
#include "api/quota.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"

enum { KINDS_MAX = 256 };

struct resource_quota_controller;
struct watched {
    struct resource_quota_controller *rc;
    struct quota_kind kind;
    struct informer *informer;
    bool own; /* the informer is ours to free */
};

struct resource_quota_controller {
    struct controller *c;
    struct informer *quotas;
    pthread_mutex_t mutex;               /* of kinds */
    struct watched *kinds[KINDS_MAX];
    size_t kinds_len;
};

/* ---- what is watched ---- */

static void enqueue_concerned(struct watched *w, const char *ns) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_cached_list_ struct cached_list quotas = {0};
    informer_list(w->rc->quotas, ns, &quotas);
    CACHED_FOREACH(q, corev1_ResourceQuota, &quotas) {
        bool any = false;
        LIST_FOREACH(e, &q->spec.hard) any = any || quota_concerns(a, &w->kind, e->key);
        if (any) controller_enqueue(w->rc->c, q);
    }
}

static void on_delete(void *data, struct cached *old) { enqueue_concerned(data, old->obj->metadata.namespace); }

/* An update matters if the object now uses something else. */
static void on_update(void *data, struct cached *old, struct cached *now) {
    struct watched *w = data;
    if (w->kind.type == &metav1_PartialObjectMetadata_desc || w->kind.type == &corev1_ConfigMap_desc) return; /* counts as one, whatever it says */
    _cleanup_arena_ struct arena *a = arena_new();
    struct string_map was = quota_usage_of(a, &w->kind, old->obj), is = quota_usage_of(a, &w->kind, now->obj);
    if (!string_map_equal(&was, &is)) enqueue_concerned(w, now->obj->metadata.namespace);
}

/* With the mutex, or in `new`. */
static struct watched *watch(struct resource_quota_controller *rc, const struct quota_kind *kind, struct informer *informer, bool own) {
    struct watched *w = calloc(1, sizeof(*w));
    CHECK(w && rc->kinds_len < KINDS_MAX);
    *w = (struct watched){rc, *kind, informer, own};
    CHECK((w->kind.group = strdup(str_or(kind->group, ""))) && (w->kind.resource = strdup(kind->resource)));
    rc->kinds[rc->kinds_len++] = w;
    informer_add_handler(informer, &(struct informer_handler){w, NULL, on_update, on_delete});
    return w;
}

static const char *preferred_version(struct resource_quota_controller *rc, struct arena *a, const char *group) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    struct metav1_APIGroup g = {0};
    if (client_raw(rc->c->client, "GET", arena_printf(a, "/apis/%s", group), NULL, NULL, 0, &answer, NULL) != 0) return NULL;
    return object_decode_json(a, &metav1_APIGroup_desc, &g, buf_cstr(&answer), answer.len, NULL, NULL) == 0 ? g.preferredVersion.version : NULL;
}

static struct informer *custom_informer(struct resource_quota_controller *rc, struct arena *a, const char *group, const char *resource) {
    const char *version = preferred_version(rc, a, group);
    if (!version) return NULL;
    return informer_new(rc->c->client, rc->c->env, &(struct reflector_source){.type = &metav1_PartialObjectMetadata_desc, .path = arena_printf(a, "/apis/%s/%s/%s", group, version, resource), .metadata_only = true});
}

/* "count/jobs.batch": begins to watch it, if nothing does. */
static void watch_counted(struct resource_quota_controller *rc, struct arena *a, const char *name) {
    const char *text = arena_strdup(a, name + strlen("count/")), *dot = strchr(text, '.'), *group = dot ? dot + 1 : "";
    const char *resource = dot ? arena_strndup(a, text, (size_t)(dot - text)) : text;
    struct quota_kind kind = {group, resource, &metav1_PartialObjectMetadata_desc};
    for (size_t i = 0; i < rc->kinds_len; i++)
        if (str_eq(rc->kinds[i]->kind.group, group) && str_eq(rc->kinds[i]->kind.resource, resource)) return;
    if (rc->kinds_len == KINDS_MAX) return;
    const struct resource_desc *built_in = NULL;
    for (size_t i = 0; i < api_resources_len && !built_in; i++) {
        const struct resource_desc *r = &api_resources[i];
        if (str_eq(r->group, group) && str_eq(r->resource, resource) && !r->subresource && r->namespaced && r->list_type && !r->off_by_default) built_in = r;
    }
    struct informer *informer = built_in ? informers_get_metadata(rc->c->context->informers, built_in) : str_empty(group) ? NULL : custom_informer(rc, a, group, resource);
    if (!informer) return;
    watch(rc, &kind, informer, !built_in);
    informer_start(informer);
}

/* ---- counting ---- */

static void add(struct arena *a, struct string_map *used, const char *name, const char *value) {
    struct quantity total = quantity_of(string_map_get(used, name)), more = quantity_of(value);
    if (total.nanos == 0) total = more;
    else quantity_add(&total, &more);
    string_map_set(a, used, name, quantity_format(a, &total));
}

/* False: what there is is not known yet. */
static bool count_kind(const struct watched *w, struct arena *a, const struct corev1_ResourceQuota *q, struct string_map *used) {
    bool any = false;
    LIST_FOREACH(e, &q->spec.hard) {
        if (!quota_concerns(a, &w->kind, e->key)) continue;
        any = true;
        string_map_set(a, used, e->key, "0");
    }
    if (!any) return true;
    if (!informer_synced(w->informer)) return false;
    _cleanup_cached_list_ struct cached_list objects = {0};
    informer_list(w->informer, q->metadata.namespace, &objects);
    for (size_t i = 0; i < objects.len; i++) {
        _cleanup_arena_ struct arena *scratch = arena_new();
        const void *obj = objects.items[i]->obj;
        if (!quota_scopes_match(&q->spec, &w->kind, obj)) continue;
        struct string_map one = quota_usage_of(scratch, &w->kind, obj);
        LIST_FOREACH(e, &one)
            if (string_map_has(used, e->key)) add(a, used, arena_strdup(a, e->key), e->value);
    }
    return true;
}

static bool amounts_equal(const struct string_map *a, const struct string_map *b) {
    if (a->len != b->len) return false;
    for (size_t i = 0; i < a->len; i++)
        if (!str_eq(a->items[i].key, b->items[i].key) || quantity_text_cmp(a->items[i].value, b->items[i].value) != 0) return false;
    return true;
}

static int sync_quota(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct resource_quota_controller *rc = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(rc->quotas, ns, name);
    if (!cached) return 0;
    const struct corev1_ResourceQuota *q = CACHED(cached, corev1_ResourceQuota);
    struct string_map counted = {0}, used = {0};
    bool known = true;
    pthread_mutex_lock(&rc->mutex);
    LIST_FOREACH(e, &q->spec.hard)
        if (str_has_prefix(e->key, "count/")) watch_counted(rc, a, e->key);
    size_t kinds = rc->kinds_len;
    pthread_mutex_unlock(&rc->mutex);
    for (size_t i = 0; i < kinds && known; i++) known = count_kind(rc->kinds[i], a, q, &counted);
    if (!known) {
        work_queue_add_after(rc->c->queue, key, 100);
        return 0;
    }
    LIST_FOREACH(e, &q->spec.hard) { /* what nobody here counts stays as it is */
        const char *value = string_map_has(&counted, e->key) ? string_map_get(&counted, e->key) : string_map_get(&q->status.used, e->key);
        if (value) string_map_set(a, &used, e->key, value);
    }
    if (q->status.hard.items && q->status.used.items && amounts_equal(&q->spec.hard, &q->status.hard) && amounts_equal(&used, &q->status.used)) return 0;
    struct corev1_ResourceQuota *next = object_copy(a, &corev1_ResourceQuota_desc, q);
    next->status.hard = string_map_copy(a, &q->spec.hard);
    next->status.used = used;
    return client_update_status(rc->c->client, a, &corev1_ResourceQuota_desc, next, NULL, reterr);
}

/* ---- events and life ---- */

static void on_quota_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_ResourceQuota *was = CACHED(old, corev1_ResourceQuota), *is = CACHED(now, corev1_ResourceQuota);
    if (!amounts_equal(&was->spec.hard, &is->spec.hard)) controller_enqueue(data, is); /* its status changes with every charge */
}

static void run(void *self) {
    struct resource_quota_controller *rc = self;
    while (controller_sleep_ms(rc->c, rc->c->context->options->resource_quota_sync_period_ms)) {
        _cleanup_cached_list_ struct cached_list quotas = {0};
        informer_list(rc->quotas, NULL, &quotas);
        for (size_t i = 0; i < quotas.len; i++) controller_enqueue(rc->c, quotas.items[i]->obj);
    }
}

static void free_self(void *self) {
    struct resource_quota_controller *rc = self;
    for (size_t i = 0; i < rc->kinds_len; i++) {
        if (rc->kinds[i]->own) informer_free(rc->kinds[i]->informer);
        free((void *)(uintptr_t)rc->kinds[i]->kind.group);
        free((void *)(uintptr_t)rc->kinds[i]->kind.resource);
        free(rc->kinds[i]);
    }
    pthread_mutex_destroy(&rc->mutex);
    free(rc);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    static const struct type_desc *const always[] = {&corev1_Pod_desc, &corev1_Service_desc, &corev1_PersistentVolumeClaim_desc, &corev1_ConfigMap_desc,
                                                      &resourcev1_ResourceClaim_desc};
    static const struct type_desc *const by_metadata[] = {&corev1_ReplicationController_desc, &corev1_ResourceQuota_desc, &corev1_Secret_desc};
    struct resource_quota_controller *rc = calloc(1, sizeof(*rc));
    CHECK(rc);
    rc->c = c;
    pthread_mutex_init(&rc->mutex, NULL);
    rc->quotas = informers_get(c->context->informers, &corev1_ResourceQuota_desc);
    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        const struct resource_desc *r = api_resource_of_type(always[i]);
        watch(rc, &(struct quota_kind){r->group, r->resource, always[i]}, informers_get(c->context->informers, always[i]), false);
    }
    for (size_t i = 0; i < ARRAY_LEN(by_metadata); i++) {
        const struct resource_desc *r = api_resource_of_type(by_metadata[i]);
        watch(rc, &(struct quota_kind){"", r->resource, &metav1_PartialObjectMetadata_desc}, informers_get_metadata(c->context->informers, r), false);
    }
    informer_add_handler(rc->quotas, &(struct informer_handler){c, controller_on_add, on_quota_update, NULL});
    return rc;
}

const struct controller_desc controller_resource_quota = {.name = "resourcequota-controller", .queue = "resourcequota_primary", .workers = 5, .new = new, .sync = sync_quota, .run = run, .free = free_self};
