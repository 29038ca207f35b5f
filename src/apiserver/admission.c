#include "apiserver/admission.h"
#include "apiserver/access_metrics.h"
#include <string.h>
#include "apiserver/admission/config.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/registrations.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/json.h"

/* ---- attributes ---- */

void admission_attributes_init(struct admission_attributes *a, struct api_request *r, const struct strategy *st, enum admission_operation op, void *obj, const void *old, const struct write_options *o) {
    const struct object *any = op == ADMIT_CONNECT ? NULL : obj ? obj : old; /* options have no metadata */
    bool namespaced = r->rd ? r->rd->namespaced : any && !str_empty(any->metadata.namespace);
    *a = (struct admission_attributes){.r = r, .st = st, .op = op, .obj = obj, .old = old, .o = o, .name = any ? any->metadata.name : r->name};
    if (st->type == &corev1_Namespace_desc) a->namespace = a->name;
    else if (namespaced) a->namespace = any && !str_empty(any->metadata.namespace) ? any->metadata.namespace : r->namespace;
}

const char *admission_operation_name(const struct admission_attributes *a) {
    static const char *const names[] = {[ADMIT_CREATE] = "CREATE", [ADMIT_UPDATE] = "UPDATE", [ADMIT_DELETE] = "DELETE", [ADMIT_CONNECT] = "CONNECT"};
    return names[a->op];
}

static yyjson_val *document(struct admission_attributes *a, const void *obj) {
    struct buf out = BUF_INIT;
    struct object *copy = arena_memdup(a->r->arena, obj, a->st->type->size);
    object_set_type_meta(a->r->arena, a->st->type, copy);
    object_encode_json(a->st->type, copy, &out);
    yyjson_doc *doc = json_parse_in(a->r->arena, out.data, out.len, 0, NULL);
    buf_release(&out);
    return yyjson_doc_get_root(doc);
}

yyjson_val *admission_object(struct admission_attributes *a) {
    if (!a->object && a->obj) a->object = document(a, a->obj);
    return a->object;
}

yyjson_val *admission_old_object(struct admission_attributes *a) {
    if (!a->old_object && a->old) a->old_object = document(a, a->old);
    return a->old_object;
}

void admission_object_changed(struct admission_attributes *a) { a->object = NULL; }

const struct corev1_Namespace *admission_namespace(struct admission_attributes *a) {
    void *found;
    if (a->ns_known) return a->ns;
    a->ns_known = true;
    if (!str_empty(a->namespace) && a->st->type != &corev1_Namespace_desc && registry_get(a->r, strategy_find("", "namespaces"), NULL, a->namespace, &found, NULL, NULL) == 0) a->ns = found;
    return a->ns;
}

const char *admission_name(const void *obj) {
    const struct object *o = obj;
    return str_or(str_or(o->metadata.name, o->metadata.generateName), "Unknown");
}

int admission_forbid(const struct admission_attributes *a, const char *why, struct status *reterr) {
    const char *name = !str_empty(a->name) ? a->name : a->obj ? admission_name(a->obj) : "Unknown";
    return status_forbidden(reterr, a->st->group, a->st->resource, name, why);
}

void admission_annotate(const struct admission_attributes *a, const char *key, const char *value) {
    if (a->r->audit) audit_annotate(a->r, key, value);
}

/* ---- the chains ---- */

struct step { admission_fn run; void *state; unsigned operations; struct admission_latencies *latencies; };
struct steps { struct step *items; size_t len; };
/* What is run for the objects of one type; NULL: of all types that have no chain of their own. */
struct chain { const struct type_desc *type; struct steps mutate, validate; };
struct loaded { const struct admission_plugin *plugin; void *state; struct admission_latencies *latencies; };

struct admission {
    struct arena *arena;
    struct registrations *registrations;
    struct { struct loaded *items; size_t len; } loaded;
    struct { struct chain *items; size_t len; } chains; /* the one of no type first */
};

static bool looks_at(const struct admission_plugin *p, const struct type_desc *type) {
    if (!p->types) return true;
    for (size_t i = 0; p->types[i]; i++)
        if (p->types[i] == type) return true;
    return false;
}

static void add_chain(struct admission *ad, const struct type_desc *type) {
    LIST_FOREACH(c, &ad->chains)
        if (c->type == type) return;
    struct chain *chain = LIST_PUSH(ad->arena, &ad->chains);
    chain->type = type;
    LIST_FOREACH(l, &ad->loaded) {
        if (!looks_at(l->plugin, type)) continue;
        if (l->plugin->mutate) *LIST_PUSH(ad->arena, &chain->mutate) = (struct step){l->plugin->mutate, l->state, l->plugin->operations, l->latencies};
        if (l->plugin->validate) *LIST_PUSH(ad->arena, &chain->validate) = (struct step){l->plugin->validate, l->state, l->plugin->operations, l->latencies};
    }
}

static const struct chain *chain_of(const struct admission *ad, const struct type_desc *type) {
    for (size_t i = 1; i < ad->chains.len; i++)
        if (ad->chains.items[i].type == type) return &ad->chains.items[i];
    return &ad->chains.items[0];
}

static int run(struct admission_attributes *a, const struct steps *steps, bool validating, struct status *reterr) {
    int64_t begun = env_mono_ns(env_real()), since = begun;
    int failed = 0;
    for (size_t i = 0; i < steps->len && !failed; i++) {
        const struct step *s = &steps->items[i];
        if (!(s->operations & 1u << a->op)) continue;
        failed = s->run(a, s->state, reterr);
        int64_t now = env_mono_ns(env_real());
        metrics_admission_plugin(s->latencies, validating, (int)a->op, failed != 0, now - since);
        since = now;
    }
    metrics_admission_step(validating, (int)a->op, failed != 0, since - begun);
    return failed ? -1 : 0;
}

void admission_put_metrics(const struct admission *ad, struct buf *out) {
    metrics_admission_plugin_put(out, NULL, NULL);
    LIST_FOREACH(l, &ad->loaded) metrics_admission_plugin_put(out, l->plugin->name, l->latencies);
}

/* What users' policies and webhooks have changed is shown to all plugins once more; of users' own, to those that ask for it. */
int admission_mutate(struct admission_attributes *a, struct status *reterr) {
    const struct steps *steps = &chain_of(apiserver_admission(a->r->server), a->st->type)->mutate;
    if (run(a, steps, false, reterr) != 0) return -1;
    if (!a->reinvoke) return 0;
    a->round = 1;
    return run(a, steps, false, reterr);
}

int admission_validate(struct admission_attributes *a, struct status *reterr) {
    const struct object *any = a->obj ? a->obj : a->old;
    if (str_empty(a->name) && any && a->op != ADMIT_CONNECT) a->name = any->metadata.name; /* it was generated since */
    admission_object_changed(a);                                 /* and the strategy has prepared it */
    return run(a, &chain_of(apiserver_admission(a->r->server), a->st->type)->validate, true, reterr);
}

int admission_run(struct api_request *r, const struct type_desc *type, enum admission_operation op, void *obj, const void *old, const struct write_options *o, struct status *reterr) {
    const struct strategy st = {.group = r->group, .version = r->version, .resource = r->resource, .type = type};
    struct admission_attributes a;
    admission_attributes_init(&a, r, &st, op, obj, old, o);
    if (r->name) a.name = r->name;
    return admission_mutate(&a, reterr) != 0 ? -1 : admission_validate(&a, reterr);
}

/* ---- setting up ---- */

static int load(struct admission *ad, const struct admission_plugin *p, const struct admission_options *o, struct admission_config *config, struct status *reterr) {
    const struct admission_setup setup = {ad->arena, o, ad->registrations};
    _cleanup_buf_ struct buf text = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct loaded l = {.plugin = p, .latencies = ARENA_NEW(ad->arena, struct admission_latencies)};
    bool has;
    if (admission_config_for(config, p->name, &text, &has, reterr) != 0) return -1;
    if (p->setup && p->setup(&setup, has ? buf_cstr(&text) : NULL, text.len, &l.state, &err) != 0)
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "couldn't init admission plugin \"%s\": %s", p->name, status_message(&err));
    *LIST_PUSH(ad->arena, &ad->loaded) = l;
    return 0;
}

struct admission *admission_new(const struct admission_options *options, struct store *store, struct status *reterr) {
    struct admission *ad = calloc(1, sizeof(*ad));
    CHECK(ad);
    ad->arena = arena_new();
    struct admission_config *config = admission_config_read(ad->arena, options->config_file, reterr);
    bool failed = !config || admission_check_flags(options->enable, options->disable, reterr) != 0 || !(ad->registrations = registrations_new(store, reterr));
    for (const struct admission_plugin *p = admission_plugins; !failed && p->name; p++)
        if (admission_plugin_enabled(p, options)) failed = load(ad, p, options, config, reterr) != 0;
    if (failed) {
        admission_free(ad);
        return NULL;
    }
    add_chain(ad, NULL);
    LIST_FOREACH(l, &ad->loaded)
        for (size_t i = 0; l->plugin->types && l->plugin->types[i]; i++) add_chain(ad, l->plugin->types[i]);
    return ad;
}

void admission_free(struct admission *ad) {
    if (!ad) return;
    LIST_FOREACH(l, &ad->loaded)
        if (l->plugin->release) l->plugin->release(l->state);
    registrations_free(ad->registrations);
    arena_free(ad->arena);
    free(ad);
}
