/* Flow control's life and its thread: the objects become the configuration whenever one changes, FlowSchemas are told whether their level exists, the default
 * objects are kept as upstream has them, and seats are lent. Upstream: flowcontrol/apf_controller.go, registry/flowcontrol/ensurer. */
#include <stdlib.h>
#include <string.h>
#include "api/defaults.h"
#include "api/flowcontrol_bootstrap.h"
#include "api/time.h"
#include "apiserver/flowcontrol/flow_internal.h"
#include "apiserver/local_transport.h"
#include "apiserver/registry.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client.h"
#include "wire/json.h"

#define GROUP "flowcontrol.apiserver.k8s.io"
#define AUTO_UPDATE "apf.kubernetes.io/autoupdate-spec"
static const char *const producer = "api-priority-and-fairness-config-producer-v1", *const consumer = "api-priority-and-fairness-config-consumer-v1";
static const int64_t SECOND = 1000000000, ADJUST_S = 10, ENSURE_S = 60, RETRY_S = 1;

static int64_t now_ns(void) { return env_mono_ns(env_real()); }

/* ---- reading ---- */

struct config { struct arena *arena; struct flow_schema_list schemas; struct priority_level_list levels; };

static bool take_schema(void *arg, const struct store_view *v) {
    struct config *c = arg;
    void *obj = registry_decode(c->arena, strategy_find(GROUP, "flowschemas"), v);
    if (obj) *LIST_PUSH(c->arena, &c->schemas) = obj;
    return true;
}

static bool take_level(void *arg, const struct store_view *v) {
    struct config *c = arg;
    void *obj = registry_decode(c->arena, strategy_find(GROUP, "prioritylevelconfigurations"), v);
    if (obj) *LIST_PUSH(c->arena, &c->levels) = obj;
    return true;
}

/* All objects at one revision; 0: the store cannot be read. */
static uint64_t read_config(struct flow_control *f, struct config *c) {
    struct store_txn *t;
    if (store_read_begin(apiserver_store(f->server), &t, NULL) != 0) return 0;
    store_range(t, storage_key(c->arena, strategy_find(GROUP, "flowschemas"), NULL, NULL), NULL, take_schema, c);
    store_range(t, storage_key(c->arena, strategy_find(GROUP, "prioritylevelconfigurations"), NULL, NULL), NULL, take_level, c);
    uint64_t revision = store_txn_revision(t);
    store_read_end(t);
    return revision;
}

/* ---- conditions ---- */

static const struct flowcontrolv1_FlowSchemaCondition *condition_of(const struct flowcontrolv1_FlowSchema *fs) {
    LIST_FOREACH(c, &fs->status.conditions)
        if (str_eq(c->type, "Dangling")) return c;
    return NULL;
}

/* False: it has to be tried again. */
static bool tell(struct flow_control *f, struct arena *a, const struct flowcontrolv1_FlowSchema *fs, bool dangling) {
    const struct flowcontrolv1_FlowSchemaCondition *old = condition_of(fs);
    struct flowcontrolv1_FlowSchemaCondition want = {.type = "Dangling", .status = dangling ? "True" : "False", .reason = dangling ? "NotFound" : "Found",
        .message = arena_printf(a, "This FlowSchema references the PriorityLevelConfiguration object named \"%s\" %s", str_or(fs->spec.priorityLevelConfiguration.name, ""),
                                dangling ? "but there is no such object" : "and it exists")};
    if (old && str_eq(old->status, want.status) && str_eq(old->reason, want.reason) && str_eq(old->message, want.message)) return true;
    _cleanup_buf_ struct buf time = BUF_INIT, body = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    time_format(&(struct api_time){true, 0, env_now_s(apiserver_env(f->server))}, &time);
    buf_printf(&body, "{\"apiVersion\":\"" GROUP "/v1\",\"kind\":\"FlowSchema\",\"metadata\":{\"name\":");
    json_write_string(&body, fs->metadata.name);
    buf_printf(&body, "},\"status\":{\"conditions\":[{\"type\":\"Dangling\",\"status\":\"%s\",\"lastTransitionTime\":\"%s\",\"reason\":\"%s\",\"message\":", want.status, buf_cstr(&time), want.reason);
    json_write_string(&body, want.message);
    buf_append_str(&body, "}]}}");
    const char *path = client_path(a, api_resource_find(GROUP, "v1", "flowschemas", NULL), NULL, fs->metadata.name, "status");
    _cleanup_buf_ struct buf answer = BUF_INIT;
    if (client_raw(f->client, "PATCH", arena_printf(a, "%s?fieldManager=%s&force=true", path, consumer), PATCH_APPLY, buf_cstr(&body), body.len, &answer, &err) == 0 || status_is(&err, 404)) return true;
    log_error("failed to set a status.condition for FlowSchema %s: %s", fs->metadata.name, status_message(&err));
    return false;
}

/* ---- the configuration ---- */

static bool sync_config(struct flow_control *f) {
    struct config c = {.arena = arena_new()};
    bool done = true;
    if (!read_config(f, &c)) {
        arena_free(c.arena);
        return false;
    }
    flow_digest(f, c.arena, &c.schemas, &c.levels, now_ns());
    _cleanup_arena_ struct arena *a = arena_new(); /* the schemas live on in the configuration, until this thread replaces it */
    for (size_t i = 0; i < c.schemas.len && f->client; i++) {
        pthread_rwlock_rdlock(&f->lock);
        bool dangling = flow_has_dangling_level(f, c.schemas.items[i]);
        pthread_rwlock_unlock(&f->lock);
        done &= tell(f, a, c.schemas.items[i], dangling);
    }
    return done;
}

/* ---- the default objects ---- */

struct kind { const char *resource; const struct type_desc *type, *spec; size_t spec_at, spec_size; void *(*bootstrap)(struct arena *a, size_t i); };

static void *schema_at(struct arena *a, size_t i) { return bootstrap_flow_schema(a, i); }
static void *level_at(struct arena *a, size_t i) { return bootstrap_priority_level(a, i); }
static const struct kind kinds[] = {
    {"prioritylevelconfigurations", &flowcontrolv1_PriorityLevelConfiguration_desc, &flowcontrolv1_PriorityLevelConfigurationSpec_desc, offsetof(struct flowcontrolv1_PriorityLevelConfiguration, spec),
     sizeof(struct flowcontrolv1_PriorityLevelConfigurationSpec), level_at},
    {"flowschemas", &flowcontrolv1_FlowSchema_desc, &flowcontrolv1_FlowSchemaSpec_desc, offsetof(struct flowcontrolv1_FlowSchema, spec), sizeof(struct flowcontrolv1_FlowSchemaSpec), schema_at},
};

struct found { struct arena *a; const struct strategy *st; struct object **items; size_t len; };

static bool take_object(void *arg, const struct store_view *v) {
    struct found *all = arg;
    void *obj = registry_decode(all->a, all->st, v);
    if (obj) *LIST_PUSH(all->a, all) = obj;
    return true;
}

static struct object *find(const struct found *all, const char *name) {
    for (size_t i = 0; i < all->len; i++)
        if (str_eq(all->items[i]->metadata.name, name)) return all->items[i];
    return NULL;
}

/* Whether the administrator leaves the object to us. Without a word on it: while nobody has changed its spec. */
static bool is_ours(const struct object *obj) {
    bool value;
    return str_to_bool(string_map_get(&obj->metadata.annotations, AUTO_UPDATE), &value) ? value : obj->metadata.generation == 1;
}

static bool write_object(struct flow_control *f, struct arena *a, const struct kind *k, const char *method, struct object *obj, const char *name) {
    _cleanup_buf_ struct buf body = BUF_INIT, answer = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *path = client_path(a, api_resource_of_type(k->type), NULL, name, NULL);
    object_set_type_meta(a, k->type, obj);
    object_encode_json(k->type, obj, &body);
    if (client_raw(f->client, method, arena_printf(a, "%s?fieldManager=%s", path, producer), NULL, buf_cstr(&body), body.len, &answer, &err) == 0 || status_is(&err, 409)) return true;
    log_error("keeping %s %s: %s", k->resource, obj->metadata.name, status_message(&err));
    return false;
}

/* Creates or corrects one. */
static bool ensure_one(struct flow_control *f, struct arena *a, const struct kind *k, struct object *want, struct object *have, bool mandatory) {
    object_set_defaults(a, k->type, want);
    if (!have) {
        string_map_set(a, &want->metadata.annotations, AUTO_UPDATE, "true");
        return write_object(f, a, k, "POST", want, NULL);
    }
    bool ours = mandatory || is_ours(have), value, annotated = str_to_bool(string_map_get(&have->metadata.annotations, AUTO_UPDATE), &value) && value == ours;
    bool same = object_equal(k->spec, (char *)want + k->spec_at, (char *)have + k->spec_at);
    if (annotated && (same || !ours)) return true;
    if (ours) memcpy((char *)have + k->spec_at, (char *)want + k->spec_at, k->spec_size);
    string_map_set(a, &have->metadata.annotations, AUTO_UPDATE, ours ? "true" : "false");
    return write_object(f, a, k, "PUT", have, have->metadata.name);
}

/* What an earlier release had among its defaults, and this one has not. */
static bool remove_unwanted(struct flow_control *f, const struct kind *k, const struct object *obj) {
    _cleanup_status_ struct status err = STATUS_INIT;
    bool value;
    if (!str_to_bool(string_map_get(&obj->metadata.annotations, AUTO_UPDATE), &value) || !value) return true;
    if (client_delete(f->client, k->type, NULL, obj->metadata.name, NULL, &err) == 0 || status_is(&err, 404)) return true;
    log_error("removing %s %s: %s", k->resource, obj->metadata.name, status_message(&err));
    return false;
}

static bool ensure_kind(struct flow_control *f, const struct kind *k) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct found all = {.a = a, .st = strategy_find(GROUP, k->resource)};
    struct store_txn *t;
    struct object *want;
    bool done = true;
    if (store_read_begin(apiserver_store(f->server), &t, NULL) != 0) return false;
    store_range(t, storage_key(a, all.st, NULL, NULL), NULL, take_object, &all);
    store_read_end(t);
    for (size_t i = 0; (want = k->bootstrap(a, i)); i++) {
        struct object *have = find(&all, want->metadata.name);
        bool mandatory = str_eq(want->metadata.name, "exempt") || str_eq(want->metadata.name, "catch-all");
        done &= ensure_one(f, a, k, want, have, mandatory);
        if (have) have->metadata.name = NULL; /* what is left afterwards is none of the defaults */
    }
    for (size_t i = 0; i < all.len; i++)
        if (all.items[i]->metadata.name) done &= remove_unwanted(f, k, all.items[i]);
    return done;
}

static bool ensure(struct flow_control *f) {
    bool done = true;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) done &= ensure_kind(f, &kinds[i]);
    return done;
}

/* ---- the thread ---- */

/* True: the objects have changed. False: time is up, or it is to stop. */
static bool wait_until(struct flow_control *f, int64_t deadline_ns) {
    pthread_mutex_lock(&f->mutex);
    while (!f->stop && !f->changed && env_cond_wait(env_real(), &f->wake, &f->mutex, deadline_ns)) continue;
    bool changed = f->changed;
    f->changed = false;
    pthread_mutex_unlock(&f->mutex);
    return changed;
}

static bool is_stopped(struct flow_control *f) {
    pthread_mutex_lock(&f->mutex);
    bool stop = f->stop;
    pthread_mutex_unlock(&f->mutex);
    return stop;
}

static void lend(struct flow_control *f) {
    flow_costs_refresh(f);
    flow_adjust(f, now_ns());
}

static void *run(void *arg) {
    struct flow_control *f = arg;
    int64_t now = now_ns(), adjust_at = now + ADJUST_S * SECOND, ensure_at = now, sync_at = now;
    while (!is_stopped(f)) {
        bool changed = wait_until(f, MIN(sync_at, MIN(adjust_at, ensure_at)));
        now = now_ns();
        if (is_stopped(f)) break;
        if (now >= ensure_at) ensure_at = now + (ensure(f) ? ENSURE_S : RETRY_S) * SECOND;
        if (!f->fair) {
            sync_at = adjust_at = ensure_at;
            continue;
        }
        if (changed || now >= sync_at) sync_at = sync_config(f) ? INT64_MAX : now + RETRY_S * SECOND;
        if (now < adjust_at) continue;
        lend(f);
        if (flow_has_quiescing(f)) sync_at = now; /* those that are idle by now go */
        adjust_at = now + ADJUST_S * SECOND;
    }
    return NULL;
}

/* ---- life ---- */

static void on_event(void *arg, struct store_event *e UNUSED) {
    struct flow_control *f = arg;
    pthread_mutex_lock(&f->mutex);
    f->changed = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->mutex);
}

static int follow(struct flow_control *f, struct status *reterr) {
    struct config c = {.arena = arena_new()};
    uint64_t revision = read_config(f, &c);
    flow_digest(f, c.arena, &c.schemas, &c.levels, now_ns());
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (store_watch_start(apiserver_store(f->server), storage_key(a, strategy_find(GROUP, kinds[i].resource), NULL, NULL), revision, on_event, f, &f->watches[i], reterr) != 0) return -1;
    return 0;
}

struct flow_control *flow_control_new(struct apiserver *s, struct status *reterr) {
    const struct apiserver_options *o = apiserver_options(s);
    struct flow_control *f = calloc(1, sizeof(*f));
    CHECK(f);
    f->server = s;
    f->fair = !o->no_priority_and_fairness;
    f->limit_reading = o->max_requests_inflight;
    f->limit_mutating = o->max_mutating_requests_inflight;
    if (f->fair && f->limit_reading + f->limit_mutating == 0) {
        f->limit_reading = FLOW_LIMIT_READING;
        f->limit_mutating = FLOW_LIMIT_MUTATING;
    }
    f->request_timeout_ms = o->request_timeout_ms ? o->request_timeout_ms : FLOW_REQUEST_TIMEOUT_MS;
    pthread_mutex_init(&f->mutex, NULL);
    env_cond_init(&f->wake);
    flow_costs_init(f);
    flow_config_init(f, now_ns());
    if (!f->fair || follow(f, reterr) == 0) return f;
    flow_control_stop(f);
    flow_control_free(f);
    return NULL;
}

void flow_control_start(struct flow_control *f) {
    static const char *const groups[] = {"system:masters", NULL};
    f->client = client_new(local_transport_new(f->server, "system:apiserver", groups, "kube-apiserver"));
    CHECK(pthread_create(&f->thread, NULL, run, f) == 0);
    f->started = true;
}

void flow_control_stop(struct flow_control *f) {
    if (!f) return;
    for (size_t i = 0; i < ARRAY_LEN(f->watches); i++)
        if (f->watches[i]) store_watch_stop(f->watches[i]);
    pthread_mutex_lock(&f->mutex);
    f->stop = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->mutex);
    if (f->started) pthread_join(f->thread, NULL);
    client_free(f->client);
    flow_lingering_end(f);
}

void flow_control_free(struct flow_control *f) {
    if (!f) return;
    flow_config_free(f);
    flow_costs_free(f);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->mutex);
    free(f);
}
