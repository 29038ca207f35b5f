#include "apiserver/custom_controller.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

#define CLEANUP_FINALIZER "customresourcecleanup.apiextensions.k8s.io"
enum { RETRY_MS = 250, DELETE_AT_ONCE = 500 };

struct custom_controller {
    struct apiserver *server;
    const struct strategy *strategy;
    void (*serve)(void *arg, const char *name, struct custom_resource *r);
    void *arg;
    struct store_watch *watch;
    pthread_t thread;
    bool started, stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct map *queue;              /* names of definitions to look at */
    struct map *again;              /* those to look at again in a while; the thread's own */
};

/* ---- the queue ---- */

static void enqueue(struct custom_controller *c, const char *name) {
    pthread_mutex_lock(&c->mutex);
    map_put(c->queue, name, c);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->mutex);
}

static const char *name_of(const char *key) { return strrchr(key, '/') + 1; }

static void on_event(void *arg, struct store_event *e) { enqueue(arg, name_of(e->key)); }

static char *dequeue(struct custom_controller *c) {
    const char *key = NULL;
    void *value;
    size_t i = 0;
    char *name = NULL;
    pthread_mutex_lock(&c->mutex);
    while (!c->stop && map_len(c->queue) == 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += RETRY_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (map_len(c->again) == 0) pthread_cond_wait(&c->wake, &c->mutex);
        else if (pthread_cond_timedwait(&c->wake, &c->mutex, &until) == ETIMEDOUT) {
            for (i = 0; map_next(c->again, &i, &key, &value);) map_put(c->queue, key, c);
            map_clear(c->again);
        }
    }
    i = 0;
    if (!c->stop && map_next(c->queue, &i, &key, &value)) {
        name = strdup(key);
        map_del(c->queue, name);
    }
    pthread_mutex_unlock(&c->mutex);
    return name;
}

/* ---- conditions ---- */

static struct apiextensionsv1_CustomResourceDefinitionCondition *find_condition(struct apiextensionsv1_CustomResourceDefinition *crd, const char *type) {
    LIST_FOREACH(c, &crd->status.conditions)
        if (str_eq(c->type, type)) return c;
    return NULL;
}

static bool is_true(struct apiextensionsv1_CustomResourceDefinition *crd, const char *type) {
    const struct apiextensionsv1_CustomResourceDefinitionCondition *c = find_condition(crd, type);
    return c && str_eq(c->status, "True");
}

static void set_condition(struct arena *a, struct apiextensionsv1_CustomResourceDefinition *crd, const char *type, const char *status, const char *reason, const char *message, int64_t now) {
    struct apiextensionsv1_CustomResourceDefinitionCondition *c = find_condition(crd, type);
    if (!c) c = LIST_PUSH(a, &crd->status.conditions);
    if (!str_eq(c->status, status)) c->lastTransitionTime = time_from_s(now);
    c->type = type;
    c->status = status;
    c->reason = reason;
    c->message = message;
}

/* ---- naming ---- */

struct taken { struct arena *a; const char *group, *name; struct custom_controller *c; struct string_list resources, kinds; };

static bool take_names(void *arg, const struct store_view *v) {
    struct taken *t = arg;
    struct apiextensionsv1_CustomResourceDefinition *crd = registry_decode(t->a, t->c->strategy, v);
    if (!crd || !str_eq(crd->spec.group, t->group)) return true;
    const struct apiextensionsv1_CustomResourceDefinitionNames *n = &crd->status.acceptedNames;
    string_list_push(t->a, &t->resources, n->plural);
    string_list_push(t->a, &t->resources, n->singular);
    for (size_t i = 0; i < n->shortNames.len; i++) string_list_push(t->a, &t->resources, n->shortNames.items[i]);
    string_list_push(t->a, &t->kinds, n->kind);
    string_list_push(t->a, &t->kinds, n->listKind);
    return true;
}

struct verdict { struct arena *a; const char *reason, *message; };

static void accept_name(struct verdict *v, const char *wanted, const char **accepted, const struct string_list *taken, const char *reason) {
    if (str_eq(wanted, *accepted) || !string_list_has(taken, wanted)) *accepted = wanted;
    else {
        v->reason = reason;
        v->message = arena_printf(v->a, "\"%s\" is already in use", wanted);
    }
}

static void accept_short_names(struct verdict *v, const struct string_list *wanted, struct string_list *accepted, const struct string_list *taken) {
    const char *messages = NULL;
    size_t n = 0;
    for (size_t i = 0; i < wanted->len; i++) {
        if (string_list_has(accepted, wanted->items[i]) || !string_list_has(taken, wanted->items[i])) continue;
        messages = arena_printf(v->a, "%s%s\"%s\" is already in use", n ? messages : "", n ? ", " : "", wanted->items[i]);
        n++;
    }
    if (!n) *accepted = *wanted;
    else {
        v->reason = "ShortNamesConflict";
        v->message = n > 1 ? arena_printf(v->a, "[%s]", messages) : messages;
    }
}

/* Accepted names and the conditions that follow from them. */
static void settle_names(struct custom_controller *c, struct arena *a, struct store_txn *t, struct apiextensionsv1_CustomResourceDefinition *crd) {
    struct taken taken = {.a = a, .group = crd->spec.group, .name = crd->metadata.name, .c = c};
    struct verdict v = {.a = a};
    const struct apiextensionsv1_CustomResourceDefinitionNames *want = &crd->spec.names;
    struct apiextensionsv1_CustomResourceDefinitionNames *got = &crd->status.acceptedNames;
    int64_t now = env_now_s(apiserver_env(c->server));
    if (object_equal(&apiextensionsv1_CustomResourceDefinitionNames_desc, want, got)) return;
    store_range(t, storage_key(a, c->strategy, NULL, NULL), NULL, take_names, &taken);
    accept_name(&v, want->plural, &got->plural, &taken.resources, "PluralConflict");
    accept_name(&v, want->singular, &got->singular, &taken.resources, "SingularConflict");
    accept_short_names(&v, &want->shortNames, &got->shortNames, &taken.resources);
    accept_name(&v, want->kind, &got->kind, &taken.kinds, "KindConflict");
    accept_name(&v, want->listKind, &got->listKind, &taken.kinds, "ListKindConflict");
    got->categories = want->categories;
    set_condition(a, crd, "NamesAccepted", v.reason ? "False" : "True", v.reason ? v.reason : "NoConflicts", v.reason ? v.message : "no conflicts found", now);
    if (is_true(crd, "Established")) return;
    if (v.reason && !find_condition(crd, "Established")) set_condition(a, crd, "Established", "False", "NotAccepted", "not all names are accepted", now);
    if (!v.reason) set_condition(a, crd, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now);
}

/* ---- writing ---- */

static bool write_object(struct custom_controller *c, struct arena *a, const struct type_desc *type, const char *key, struct object *obj, uint64_t revision, bool remove) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    size_t rv_offset = 0;
    struct store_result res;
    object_set_type_meta(a, type, obj);
    object_encode_stored(type, obj, &out, &rv_offset);
    struct store_op op = {.key = key, .expect_mod_revision = (int64_t)revision, .value = remove ? NULL : out.data, .value_len = remove ? 0 : out.len, .rv_offset = remove ? 0 : (uint32_t)rv_offset};
    store_write_wait(apiserver_store(c->server), &op, 1, &res);
    if (res.outcome == STORE_FAILED) status_release(&res.error);
    return res.outcome == STORE_OK;
}

/* ---- finalizing ---- */

struct instance { const char *key; struct object *obj; uint64_t revision; };
struct instances { struct arena *a; const struct type_desc *type; size_t max; struct instance *items; size_t len; };

static bool take_instance(void *arg, const struct store_view *v) {
    struct instances *all = arg;
    struct object *obj = arena_alloc(all->a, all->type->size);
    const char *key = arena_strndup(all->a, v->key, v->key_len);
    if (object_decode_json(all->a, all->type, obj, v->value, v->value_len, NULL, NULL) != 0) obj = NULL;
    *LIST_PUSH(all->a, all) = (struct instance){key, obj, v->mod_revision};
    return !all->max || all->len < all->max;
}

/* Deletes what has no finalizers, marks the rest; how many there still are. */
static size_t delete_instances(struct custom_controller *c, struct arena *a, struct custom_resource *r) {
    struct store_txn *t;
    struct instances all = {.a = a, .type = &r->versions.items[0].type.desc, .max = DELETE_AT_ONCE};
    if (store_read_begin(apiserver_store(c->server), &t, NULL) != 0) return 1;
    store_range(t, arena_printf(a, "/registry/%s/%s/", r->crd->spec.group, r->crd->spec.names.plural), NULL, take_instance, &all);
    store_read_end(t);
    for (size_t i = 0; i < all.len; i++) {
        struct instance *n = &all.items[i];
        if (!n->obj || n->obj->metadata.finalizers.len == 0) write_object(c, a, all.type, n->key, n->obj ? n->obj : object_new(a, all.type), n->revision, true);
        else if (!n->obj->metadata.deletionTimestamp.set) {
            n->obj->metadata.deletionTimestamp = time_from_s(env_now_s(apiserver_env(c->server)));
            n->obj->metadata.deletionGracePeriodSeconds = (struct opt_int64)OPT(0);
            n->obj->metadata.generation++;
            write_object(c, a, all.type, n->key, n->obj, n->revision, false);
        }
    }
    return all.len;
}

static void drop_finalizer(struct arena *a, struct apiextensionsv1_CustomResourceDefinition *crd) {
    struct string_list keep = {0};
    for (size_t i = 0; i < crd->metadata.finalizers.len; i++)
        if (!str_eq(crd->metadata.finalizers.items[i], CLEANUP_FINALIZER)) string_list_push(a, &keep, crd->metadata.finalizers.items[i]);
    crd->metadata.finalizers = keep;
}

/* True when the definition changed. */
static bool finalize(struct custom_controller *c, struct arena *a, struct apiextensionsv1_CustomResourceDefinition *crd, uint64_t revision) {
    int64_t now = env_now_s(apiserver_env(c->server));
    if (!string_list_has(&crd->metadata.finalizers, CLEANUP_FINALIZER)) return false;
    bool gone = true;
    if (is_true(crd, "Established")) {
        struct custom_resource *r = custom_resource_new(crd, revision, NULL);
        gone = !r || delete_instances(c, a, r) == 0;
        custom_resource_unref(r);
    }
    if (!gone) {
        map_put(c->again, crd->metadata.name, c);
        if (str_eq(find_condition(crd, "Terminating") ? find_condition(crd, "Terminating")->reason : NULL, "InstanceDeletionInProgress")) return false;
        set_condition(a, crd, "Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress", now);
        return true;
    }
    set_condition(a, crd, "Terminating", "False", "InstanceDeletionCompleted", "removed all instances", now);
    drop_finalizer(a, crd);
    return true;
}

/* ---- one definition ---- */

/* Those of the same group may have waited for a name. */
static void requeue_others(struct custom_controller *c, struct arena *a, const char *group, const char *but) {
    struct store_txn *t;
    struct instances all = {.a = a, .type = c->strategy->type};
    if (store_read_begin(apiserver_store(c->server), &t, NULL) != 0) return;
    store_range(t, storage_key(a, c->strategy, NULL, NULL), NULL, take_instance, &all);
    store_read_end(t);
    for (size_t i = 0; i < all.len; i++)
        if (!str_eq(name_of(all.items[i].key), but) && str_has_suffix(all.items[i].key, group)) enqueue(c, name_of(all.items[i].key));
}

static void publish(struct custom_controller *c, struct apiextensionsv1_CustomResourceDefinition *crd, uint64_t revision) {
    struct status err = STATUS_INIT;
    struct custom_resource *r = is_true(crd, "Established") ? custom_resource_new(crd, revision, &err) : NULL;
    if (err.code) log_error("custom resource %s is not served: %s", crd->metadata.name, status_message(&err));
    status_release(&err);
    c->serve(c->arg, crd->metadata.name, r);
}

static void sync_definition(struct custom_controller *c, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct store_txn *t;
    struct store_view v;
    if (store_read_begin(apiserver_store(c->server), &t, NULL) != 0) return;
    const char *key = storage_key(a, c->strategy, NULL, name);
    struct apiextensionsv1_CustomResourceDefinition *crd = store_get(t, key, &v) ? registry_decode(a, c->strategy, &v) : NULL, *before = NULL;
    uint64_t revision = crd ? v.mod_revision : 0;
    if (crd) {
        before = object_copy(a, c->strategy->type, crd);
        if (!crd->metadata.deletionTimestamp.set) settle_names(c, a, t, crd);
    }
    store_read_end(t);
    if (!crd) {
        c->serve(c->arg, name, NULL);
        requeue_others(c, a, strchr(name, '.') ? strchr(name, '.') + 1 : name, name);
        return;
    }
    if (crd->metadata.deletionTimestamp.set) finalize(c, a, crd, revision);
    bool last = crd->metadata.deletionTimestamp.set && crd->metadata.finalizers.len == 0;
    if (!last && object_equal(c->strategy->type, crd, before)) {
        publish(c, crd, revision);
        return;
    }
    if (last) c->serve(c->arg, name, NULL);
    if (!write_object(c, a, c->strategy->type, key, (struct object *)crd, revision, last)) enqueue(c, name); /* changed meanwhile */
}

static void *run(void *arg) {
    struct custom_controller *c = arg;
    for (char *name; (name = dequeue(c));) {
        sync_definition(c, name);
        free(name);
    }
    return NULL;
}

/* ---- life ---- */

static bool take_name(void *arg, const struct store_view *v) {
    _cleanup_arena_ struct arena *a = arena_new();
    enqueue(arg, name_of(arena_strndup(a, v->key, v->key_len)));
    return true;
}

/* What was established before the server started is served from its first request on. */
static void read_stored(struct custom_controller *c, struct store_txn *t) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct instances all = {.a = a, .type = c->strategy->type};
    const char *prefix = storage_key(a, c->strategy, NULL, NULL);
    store_range(t, prefix, NULL, take_name, c);
    store_range(t, prefix, NULL, take_instance, &all);
    for (size_t i = 0; i < all.len; i++)
        if (all.items[i].obj) publish(c, (struct apiextensionsv1_CustomResourceDefinition *)(void *)all.items[i].obj, all.items[i].revision);
}

struct custom_controller *custom_controller_new(struct apiserver *s, void (*serve)(void *arg, const char *name, struct custom_resource *r), void *arg, struct status *reterr) {
    struct custom_controller *c = calloc(1, sizeof(*c));
    struct store_txn *t;
    CHECK(c);
    c->server = s;
    c->serve = serve;
    c->arg = arg;
    c->strategy = strategy_find("apiextensions.k8s.io", "customresourcedefinitions");
    c->queue = map_new();
    c->again = map_new();
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->wake, NULL);
    if (store_read_begin(apiserver_store(s), &t, reterr) == 0) {
        _cleanup_arena_ struct arena *a = arena_new();
        uint64_t revision = store_txn_revision(t);
        read_stored(c, t);
        store_read_end(t);
        if (store_watch_start(apiserver_store(s), storage_key(a, c->strategy, NULL, NULL), revision, on_event, c, &c->watch, reterr) == 0) {
            c->started = pthread_create(&c->thread, NULL, run, c) == 0;
            CHECK(c->started);
            return c;
        }
    }
    custom_controller_free(c);
    return NULL;
}

void custom_controller_free(struct custom_controller *c) {
    if (!c) return;
    if (c->watch) store_watch_stop(c->watch);
    pthread_mutex_lock(&c->mutex);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->mutex);
    if (c->started) pthread_join(c->thread, NULL);
    map_free(c->queue);
    map_free(c->again);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}
