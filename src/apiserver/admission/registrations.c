#include "apiserver/admission/registrations.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "base/map.h"
#include "base/str.h"

#define ADMISSION_GROUP "admissionregistration.k8s.io"
static const char *const resources[REGISTRATION_KINDS] = {"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations"};

struct compiled { struct cel_program *program; const char *error; };
struct registered {
    atomic_int refs;               /* one is the cache's while it is the current one */
    uint64_t changes[REGISTRATION_KINDS]; /* how many of the kind there were when it was made */
    struct arena *arena;
    struct registered_objects of[REGISTRATION_KINDS];
    struct map *programs;          /* "KIND text" to struct compiled */
};

struct registrations {
    struct store *store;
    struct { _Atomic uint64_t changes, empty_at; struct store_watch *watch; } kinds[REGISTRATION_KINDS]; /* empty_at: the count at which there was none of it, above all counts if never */
    pthread_mutex_t lock;          /* of current */
    struct registered *current;
};

static void on_event(void *arg, struct store_event *e UNUSED) { atomic_fetch_add((_Atomic uint64_t *)arg, 1); }

struct registrations *registrations_new(struct store *store, struct status *reterr) {
    struct registrations *c = calloc(1, sizeof(*c));
    _cleanup_arena_ struct arena *a = arena_new();
    CHECK(c);
    c->store = store;
    pthread_mutex_init(&c->lock, NULL);
    for (int i = 0; i < REGISTRATION_KINDS; i++) {
        c->kinds[i].empty_at = UINT64_MAX;
        if (store_watch_start(store, storage_key(a, strategy_find(ADMISSION_GROUP, resources[i]), NULL, NULL), store_revision(store), on_event, (void *)&c->kinds[i].changes, &c->kinds[i].watch, reterr) != 0) {
            registrations_free(c);
            return NULL;
        }
    }
    return c;
}

static void snapshot_free(struct registered *r) {
    map_free(r->programs);
    arena_free(r->arena);
    free(r);
}

void registrations_free(struct registrations *c) {
    if (!c) return;
    for (int i = 0; i < REGISTRATION_KINDS; i++)
        if (c->kinds[i].watch) store_watch_stop(c->kinds[i].watch);
    if (c->current) snapshot_free(c->current);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- compiling ---- */

static char *program_key(struct arena *a, const char *text, enum cel_kind want) { return arena_printf(a, "%d %s", (int)want, text); }

/* Only messageExpressions want a string. */
static const struct cel_env *env_of(enum cel_kind want) { return want == CEL_STRING ? &cel_message_env : &cel_policy_env; }

static void compile(struct registered *r, const char *text, enum cel_kind want) {
    if (str_empty(text)) return;
    const char *key = program_key(r->arena, text, want);
    if (map_has(r->programs, key)) return;
    struct compiled *c = ARENA_NEW(r->arena, struct compiled);
    c->program = cel_compile(r->arena, env_of(want), text, want, &c->error);
    map_put(r->programs, key, c);
}

static void compile_conditions(struct registered *r, const struct admissionregistrationv1_MatchCondition_list *l) { LIST_FOREACH(m, l) compile(r, m->expression, CEL_BOOL); }
static void compile_variables(struct registered *r, const struct admissionregistrationv1_Variable_list *l) { LIST_FOREACH(v, l) compile(r, v->expression, CEL_DYN); }

static void compile_object(struct registered *r, enum registration_kind kind, void *obj) {
    if (kind == VALIDATING_POLICIES) {
        const struct admissionregistrationv1_ValidatingAdmissionPolicySpec *s = &((struct admissionregistrationv1_ValidatingAdmissionPolicy *)obj)->spec;
        compile_conditions(r, &s->matchConditions);
        compile_variables(r, &s->variables);
        LIST_FOREACH(v, &s->validations) {
            compile(r, v->expression, CEL_BOOL);
            compile(r, v->messageExpression, CEL_STRING);
        }
        LIST_FOREACH(v, &s->auditAnnotations) compile(r, v->valueExpression, CEL_DYN);
    } else if (kind == MUTATING_POLICIES) {
        const struct admissionregistrationv1_MutatingAdmissionPolicySpec *s = &((struct admissionregistrationv1_MutatingAdmissionPolicy *)obj)->spec;
        compile_conditions(r, &s->matchConditions);
        compile_variables(r, &s->variables);
        LIST_FOREACH(m, &s->mutations) {
            if (m->jsonPatch) compile(r, m->jsonPatch->expression, CEL_DYN);
            if (m->applyConfiguration) compile(r, m->applyConfiguration->expression, CEL_DYN);
        }
    } else if (kind == VALIDATING_WEBHOOKS)
        LIST_FOREACH(w, &((struct admissionregistrationv1_ValidatingWebhookConfiguration *)obj)->webhooks) compile_conditions(r, &w->matchConditions);
    else if (kind == MUTATING_WEBHOOKS)
        LIST_FOREACH(w, &((struct admissionregistrationv1_MutatingWebhookConfiguration *)obj)->webhooks) compile_conditions(r, &w->matchConditions);
}

struct cel_program *registered_program(const struct registered *r, struct arena *a, const char *text, enum cel_kind want, const char **ret_error) {
    const struct compiled *c = r ? map_get(r->programs, program_key(a, str_or(text, ""), want)) : NULL;
    if (!c) return cel_compile(a, env_of(want), str_or(text, ""), want, ret_error);
    if (c->error) *ret_error = c->error;
    return c->program;
}

/* ---- snapshots ---- */

struct reading { struct registered *r; const struct strategy *st; enum registration_kind kind; };

static bool take(void *arg, const struct store_view *v) {
    struct reading *g = arg;
    void *obj = registry_decode(g->r->arena, g->st, v);
    if (obj) *LIST_PUSH(g->r->arena, &g->r->of[g->kind]) = obj;
    return true;
}

/* The counts are read before the store: what changes meanwhile makes the snapshot an old one at once. */
static struct registered *snapshot(struct registrations *c) {
    struct registered *r = calloc(1, sizeof(*r));
    struct store_txn *t;
    CHECK(r);
    atomic_init(&r->refs, 1);
    r->arena = arena_new();
    r->programs = map_new();
    for (int i = 0; i < REGISTRATION_KINDS; i++) r->changes[i] = atomic_load(&c->kinds[i].changes);
    if (store_read_begin(c->store, &t, NULL) == 0) {
        for (int i = 0; i < REGISTRATION_KINDS; i++) {
            struct reading g = {r, strategy_find(ADMISSION_GROUP, resources[i]), (enum registration_kind)i};
            store_range(t, storage_key(r->arena, g.st, NULL, NULL), NULL, take, &g);
        }
        store_read_end(t);
    }
    for (int i = 0; i < REGISTRATION_KINDS; i++)
        for (size_t k = 0; k < r->of[i].len; k++) compile_object(r, (enum registration_kind)i, r->of[i].items[k]);
    return r;
}

static bool is_current(struct registrations *c, const struct registered *r) {
    for (int i = 0; r && i < REGISTRATION_KINDS; i++)
        if (r->changes[i] != atomic_load(&c->kinds[i].changes)) return false;
    return r != NULL;
}

static void unref(struct registered *r) {
    if (r && atomic_fetch_sub(&r->refs, 1) == 1) snapshot_free(r);
}

const struct registered *registrations_get(struct registrations *c, enum registration_kind kind) {
    if (atomic_load(&c->kinds[kind].empty_at) == atomic_load(&c->kinds[kind].changes)) return NULL;
    pthread_mutex_lock(&c->lock);
    if (!is_current(c, c->current)) {
        unref(c->current);
        c->current = snapshot(c); /* under the lock: the others would only make the same */
        for (int i = 0; i < REGISTRATION_KINDS; i++) atomic_store(&c->kinds[i].empty_at, c->current->of[i].len ? UINT64_MAX : c->current->changes[i]);
    }
    struct registered *r = c->current->of[kind].len ? c->current : NULL;
    if (r) atomic_fetch_add(&r->refs, 1);
    pthread_mutex_unlock(&c->lock);
    return r;
}

void registered_put(const struct registered *r) { unref((struct registered *)r); }
const struct registered_objects *registered_of(const struct registered *r, enum registration_kind kind) { return &r->of[kind]; }
