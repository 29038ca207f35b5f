#include "apiserver/authorization.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "api/field_error.h"
#include "apiserver/access_metrics.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "apiserver/authorization_webhook.h"
#include "apiserver/config_file.h"
#include "apiserver/config_watch.h"
#include "base/metric_family.h"
#include "apiserver/node_authorizer.h"
#include "apiserver/rbac/rbac.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

enum mode { MODE_NODE, MODE_RBAC, MODE_ALWAYS_ALLOW, MODE_ALWAYS_DENY, MODE_WEBHOOK, MODES };
static const char *const mode_names[MODES] = {"Node", "RBAC", "AlwaysAllow", "AlwaysDeny", "Webhook"};

struct entry {
    enum mode mode;
    struct authorization_webhook *webhook; /* of mode Webhook */
    struct metric_series *allowed, *denied;
};
/* Counted: who asks holds it while it waits for a webhook. */
struct chain {
    atomic_int refs;
    struct arena *arena;
    struct { struct entry *items; size_t len; } entries;
    bool has_webhook;
};

struct authorizer {
    struct rbac *rbac;
    struct node_authorizer *nodes; /* NULL when mode Node was not there at start */
    pthread_mutex_t mutex;
    struct chain *chain;           /* under it */
    struct string_list required;   /* types that a changed file must have; in the arena */
    struct arena *arena;
    struct config_watch *watch;    /* NULL: no file */
};

static struct metric_family decisions = METRIC_FAMILY("apiserver_authorization_decisions_total", "counter", "[ALPHA] Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.");

void authorizer_put_metrics(struct buf *out) {
    metric_put(&decisions, out);
    authorization_webhook_put_metrics(out);
}

/* ---- chains ---- */

static struct chain *chain_new(void) {
    struct chain *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->refs = 1;
    c->arena = arena_new();
    return c;
}

static void chain_unref(struct chain *c) {
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1) return;
    for (size_t i = 0; i < c->entries.len; i++) authorization_webhook_free(c->entries.items[i].webhook);
    arena_free(c->arena);
    free(c);
}

static struct chain *chain_get(struct authorizer *z) {
    pthread_mutex_lock(&z->mutex);
    struct chain *c = z->chain;
    atomic_fetch_add(&c->refs, 1);
    pthread_mutex_unlock(&z->mutex);
    return c;
}

static bool has_mode(const struct chain *c, enum mode m) {
    for (size_t i = 0; i < c->entries.len; i++)
        if (c->entries.items[i].mode == m) return true;
    return false;
}

/* What it decides, counted as upstream does it: by type and name. */
static struct entry *add_entry(struct chain *c, enum mode m, const char *name) {
    struct entry *e = LIST_PUSH(c->arena, &c->entries);
    e->mode = m;
    e->allowed = metric_series(&decisions, arena_printf(c->arena, "decision=\"allowed\",name=\"%s\",type=\"%s\"", name, mode_names[m]));
    e->denied = metric_series(&decisions, arena_printf(c->arena, "decision=\"denied\",name=\"%s\",type=\"%s\"", name, mode_names[m]));
    c->has_webhook |= m == MODE_WEBHOOK;
    return e;
}

/* ---- from flags ---- */

static int add_mode(struct chain *c, const char *name, size_t len, struct status *reterr) {
    static const char *const names[MODES] = {"node", "rbac", "alwaysallow", "alwaysdeny", "default"};
    for (int m = 0; m < MODES; m++) {
        if (strlen(mode_names[m]) != len || strncmp(mode_names[m], name, len) != 0) continue;
        if (has_mode(c, (enum mode)m)) return status_set(reterr, 400, REASON_BAD_REQUEST, "authorization-mode \"%.*s\" is specified more than once", (int)len, name);
        add_entry(c, (enum mode)m, names[m]);
        return 0;
    }
    return status_set(reterr, 400, REASON_BAD_REQUEST, "authorization-mode \"%.*s\" is not a valid mode", (int)len, name);
}

static int open_webhook(struct chain *c, const struct authorization_webhook_options *o, struct status *reterr) {
    bool configured = o && o->config_file;
    if (!c->has_webhook) return configured ? status_bad_request(reterr, "cannot specify --authorization-webhook-config-file without mode Webhook") : 0;
    if (!configured) return status_bad_request(reterr, "authorization-mode Webhook's authorization config file not passed");
    for (size_t i = 0; i < c->entries.len; i++)
        if (c->entries.items[i].mode == MODE_WEBHOOK && !(c->entries.items[i].webhook = authorization_webhook_new(o, reterr))) return -1;
    return 0;
}

/* ---- from a file ---- */

static int add_settings(struct chain *c, const struct authorizer_settings *s, struct status *reterr) {
    enum mode m = 0;
    while (strcmp(mode_names[m], s->type) != 0) m++; /* the parser lets no other through */
    struct entry *e = add_entry(c, m, s->name);
    if (m != MODE_WEBHOOK) return 0;
    const struct authorization_webhook_options o = {.config_file = s->kubeconfig_file, .version = s->version, .authorized_ttl_ns = s->authorized_ttl_ns, .unauthorized_ttl_ns = s->unauthorized_ttl_ns, .name = s->name,
        .timeout_ms = (int)MAX(s->timeout_ns / 1000000, 1), .deny_on_error = s->deny_on_error, .conditions = s->conditions};
    return (e->webhook = authorization_webhook_new(&o, reterr)) ? 0 : -1;
}

static int check_known_at_start(struct authorizer *z, const struct chain *c, struct status *reterr) {
    if (z->chain && has_mode(c, MODE_NODE) && !z->nodes) return status_bad_request(reterr, "authorizer type Node is not allowed if it was not enabled at initial server startup");
    if (z->chain && has_mode(c, MODE_RBAC) && !string_list_has(&z->required, "RBAC")) return status_bad_request(reterr, "authorizer type RBAC is not allowed if it was not enabled at initial server startup");
    return 0;
}

/* NULL with upstream's words. */
static struct chain *read_chain(struct authorizer *z, const char *text, size_t len, struct status *reterr) {
    struct chain *c = chain_new();
    struct authorization_config config;
    int failed = authorization_config_parse(c->arena, text, len, z->chain ? &z->required : NULL, &config, reterr);
    for (size_t i = 0; !failed && i < config.len; i++) failed = add_settings(c, &config.items[i], reterr);
    if (!failed && check_known_at_start(z, c, reterr) == 0) return c;
    chain_unref(c);
    return NULL;
}

static bool file_changed(void *arg, struct config_watch *w UNUSED, const char *text, size_t len) {
    struct authorizer *z = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct chain *fresh = read_chain(z, text, len, &err), *old;
    if (!fresh) {
        log_error("reloading authorization config: %s; the one from before stays in force", status_message(&err));
        config_file_failed(CONFIG_OF_AUTHORIZATION);
        return true;
    }
    pthread_mutex_lock(&z->mutex);
    old = z->chain;
    z->chain = fresh;
    pthread_mutex_unlock(&z->mutex);
    chain_unref(old);
    log_info("reloaded authz config");
    config_file_loaded(CONFIG_OF_AUTHORIZATION, text, len, true);
    return true;
}

/* ---- life ---- */

static struct authorizer *authorizer_make(void) {
    struct authorizer *z = calloc(1, sizeof(*z));
    CHECK(z);
    z->arena = arena_new();
    pthread_mutex_init(&z->mutex, NULL);
    return z;
}

/* Takes the chain (NULL: it could not be made) and makes what its modes need. */
static struct authorizer *complete(struct authorizer *z, struct chain *chain, struct store *store, struct status *reterr) {
    z->chain = chain;
    if (chain && (z->rbac = rbac_new(store, reterr)) && (!has_mode(chain, MODE_NODE) || (z->nodes = node_authorizer_new(store, reterr)))) return z;
    authorizer_free(z);
    return NULL;
}

struct authorizer *authorizer_new(const char *modes, const struct authorization_webhook_options *webhook, struct store *store, struct status *reterr) {
    struct chain *c = chain_new();
    int failed = 0;
    for (const char *p = str_or(modes, "Node,RBAC"); *p && !failed;) {
        size_t len = strcspn(p, ",");
        failed = add_mode(c, p, len, reterr);
        p += len + (p[len] == ',');
    }
    if (failed || open_webhook(c, webhook, reterr) != 0) {
        chain_unref(c);
        c = NULL;
    }
    return complete(authorizer_make(), c, store, reterr);
}

struct authorizer *authorizer_new_from_file(const char *file, struct store *store, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    struct authorizer *z = authorizer_make();
    struct chain *c = file_read(file, FILE_OPTION_MAX, &text, reterr) == 0 ? read_chain(z, buf_cstr(&text), text.len, reterr) : NULL;
    if (!(z = complete(z, c, store, reterr))) return NULL;
    for (size_t i = 0; i < c->entries.len; i++)
        if (c->entries.items[i].mode != MODE_WEBHOOK) string_list_push(z->arena, &z->required, mode_names[c->entries.items[i].mode]);
    config_file_loaded(CONFIG_OF_AUTHORIZATION, buf_cstr(&text), text.len, false);
    z->watch = config_watch_new(file, buf_cstr(&text), text.len, file_changed, z);
    return z;
}

void authorizer_free(struct authorizer *z) {
    if (!z) return;
    config_watch_free(z->watch);
    chain_unref(z->chain);
    rbac_free(z->rbac);
    node_authorizer_free(z->nodes);
    pthread_mutex_destroy(&z->mutex);
    arena_free(z->arena);
    free(z);
}

struct rbac *authorizer_rbac(struct authorizer *z) { return z->rbac; }

bool authorizer_has_rbac_mode(struct authorizer *z) {
    struct chain *c = chain_get(z);
    bool has = has_mode(c, MODE_RBAC);
    chain_unref(c);
    return has;
}

/* ---- deciding ---- */

static enum authz_decision ask(struct authorizer *z, const struct entry *e, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason, const char **ret_error) {
    switch (e->mode) {
        case MODE_NODE: return node_authorizer_decide(z->nodes, a, attrs, ret_reason);
        case MODE_RBAC: return rbac_decide(z->rbac, a, attrs, ret_reason);
        case MODE_ALWAYS_ALLOW: return AUTHZ_ALLOW;
        case MODE_ALWAYS_DENY:
            if (ret_reason) *ret_reason = "Everything is forbidden.";
            return AUTHZ_NO_OPINION;
        case MODE_WEBHOOK: return authorization_webhook_decide(e->webhook, a, attrs, ret_reason, ret_error);
        default: return AUTHZ_NO_OPINION;
    }
}

enum authz_decision authorizer_decide(struct authorizer *z, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason) {
    const char *error;
    return authorizer_decide_error(z, a, attrs, ret_reason, &error);
}

static enum authz_decision ask_chain(struct authorizer *z, const struct chain *c, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason, const char **ret_error) {
    struct string_list reasons = {0}, errors = {0};
    enum authz_decision d = AUTHZ_NO_OPINION;
    for (size_t i = 0; i < c->entries.len && d == AUTHZ_NO_OPINION; i++) {
        const char *reason = "", *error = NULL;
        d = ask(z, &c->entries.items[i], a, attrs, ret_reason ? &reason : NULL, &error);
        if (error) string_list_push(a, &errors, error);
        if (d != AUTHZ_NO_OPINION && ret_reason) *ret_reason = reason;
        if (d == AUTHZ_NO_OPINION && !str_empty(reason)) string_list_push(a, &reasons, reason);
        if (d != AUTHZ_NO_OPINION) {
            metric_series_count(d == AUTHZ_ALLOW ? c->entries.items[i].allowed : c->entries.items[i].denied);
            *ret_error = error; /* as upstream: who decides tells of its own trouble alone */
            return d;
        }
    }
    for (size_t i = 0; ret_reason && i < reasons.len; i++) *ret_reason = i ? arena_printf(a, "%s\n%s", *ret_reason, reasons.items[i]) : reasons.items[i];
    if (errors.len) *ret_error = aggregate_messages(a, &errors);
    return AUTHZ_NO_OPINION;
}

enum authz_decision authorizer_decide_error(struct authorizer *z, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason, const char **ret_error) {
    if (ret_reason) *ret_reason = "";
    *ret_error = NULL;
    if (string_list_has(&attrs->user->groups, "system:masters")) return AUTHZ_ALLOW;
    struct chain *c = chain_get(z);
    enum authz_decision d = ask_chain(z, c, a, attrs, ret_reason, ret_error);
    chain_unref(c);
    return d;
}

static void rules_of(struct authorizer *z, const struct entry *e, struct arena *a, const struct user_info *user, const char *namespace, struct authorizationv1_SubjectRulesReviewStatus *status, struct string_list *errors,
                     struct rbacv1_PolicyRule_list *ret) {
    const char *node;
    if (e->mode == MODE_RBAC) *ret = rbac_rules_for(z->rbac, a, user, namespace, errors);
    else if (e->mode == MODE_ALWAYS_ALLOW) {
        struct rbacv1_PolicyRule *all = LIST_PUSH(a, ret);
        string_list_push(a, &all->verbs, "*");
        all->apiGroups = all->resources = all->nonResourceURLs = all->verbs;
    } else if (e->mode == MODE_NODE && node_identity(user, &node)) {
        status->incomplete = true;
        string_list_push(a, errors, "node authorizer does not support user rule resolution");
    } else if (e->mode == MODE_WEBHOOK) {
        status->incomplete = true;
        string_list_push(a, errors, "webhook authorizer does not support user rule resolution");
    }
}

void authorizer_rules(struct authorizer *z, struct arena *a, const struct user_info *user, const char *namespace, struct authorizationv1_SubjectRulesReviewStatus *status,
                      void (*add)(struct arena *, const struct rbacv1_PolicyRule *, struct authorizationv1_SubjectRulesReviewStatus *)) {
    struct string_list errors = {0};
    struct chain *c = chain_get(z);
    for (size_t i = 0; i < c->entries.len; i++) {
        struct rbacv1_PolicyRule_list rules = {0};
        rules_of(z, &c->entries.items[i], a, user, namespace, status, &errors, &rules);
        LIST_FOREACH(rule, &rules) add(a, rule, status);
    }
    chain_unref(c);
    if (errors.len) status->evaluationError = aggregate_messages(a, &errors);
}

static bool is_collection_verb(const char *verb) { return strcmp(verb, "list") == 0 || strcmp(verb, "watch") == 0 || strcmp(verb, "deletecollection") == 0; }

/* A list of the one object that a field selector names counts as a request for it. */
static void read_selectors(struct api_request *r, struct authz_attributes *at) {
    struct field_selector *fs = ARENA_NEW(r->arena, struct field_selector);
    struct selector *labels = ARENA_NEW(r->arena, struct selector);
    const char *text = url_query_get(&r->query, "fieldSelector"), *label_text = url_query_get(&r->query, "labelSelector");
    if (!str_empty(label_text) && label_selector_parse(r->arena, label_text, labels, NULL) == 0) at->labels = labels;
    if (str_empty(text) || field_selector_parse(r->arena, text, fs, NULL) != 0) return;
    at->fields = fs;
    for (size_t i = 0; i < fs->len; i++) {
        const struct field_requirement *f = &fs->items[i];
        if (!f->negated && strcmp(f->field, "metadata.name") == 0 && str_empty(at->name) && !str_empty(f->value) && !strpbrk(f->value, "/%") && strcmp(f->value, ".") != 0 && strcmp(f->value, "..") != 0)
            at->name = f->value;
    }
}

struct authz_attributes request_attributes(struct api_request *r) {
    struct authz_attributes at = {.user = &r->user, .resource_request = r->is_resource, .verb = r->verb, .namespace = r->namespace, .group = r->group, .version = r->version, .resource = r->resource,
        .subresource = r->subresource, .name = r->name, .path = r->path};
    if (r->is_resource) {
        if (is_collection_verb(r->verb)) read_selectors(r, &at);
        return at;
    }
    char *method = arena_strdup(r->arena, r->method);
    for (char *p = method; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p | 0x20);
    at.verb = method;
    return at;
}

int authz_forbidden(struct arena *a, const struct authz_attributes *at, const char *reason, struct status *reterr) {
    const char *user = go_quote(a, str_or(at->user->name, "")), *after = str_empty(reason) ? "" : arena_printf(a, ": %s", reason);
    if (!at->resource_request) {
        status_set(reterr, 403, REASON_FORBIDDEN, "forbidden: User %s cannot %s path %s%s", user, at->verb, go_quote(a, str_or(at->path, "")), after);
        reterr->has_details = true;
        return -1;
    }
    const char *resource = str_empty(at->subresource) ? str_or(at->resource, "") : arena_printf(a, "%s/%s", str_or(at->resource, ""), at->subresource);
    const char *scope = str_empty(at->namespace) ? "at the cluster scope" : arena_printf(a, "in the namespace %s", go_quote(a, at->namespace));
    return status_forbidden(reterr, at->group, at->resource, at->name,
                            arena_printf(a, "User %s cannot %s resource %s in API group %s %s%s", user, str_or(at->verb, ""), go_quote(a, resource), go_quote(a, str_or(at->group, "")), scope, after));
}

int authorize(struct api_request *r, struct status *reterr) {
    struct authorizer *z = apiserver_authorizer(r->server);
    struct authz_attributes at = request_attributes(r);
    const char *reason = "", *error = NULL;
    struct chain *c = chain_get(z);
    bool words = r->audit || c->has_webhook; /* the common case builds none */
    chain_unref(c);
    int64_t begun = env_mono_ns(env_real());
    enum authz_decision d = authorizer_decide_error(z, r->arena, &at, words ? &reason : NULL, &error);
    metrics_authorization(d == AUTHZ_ALLOW ? AUTHORIZATION_ALLOWED : error ? AUTHORIZATION_ERROR : d == AUTHZ_DENY ? AUTHORIZATION_DENIED : AUTHORIZATION_NO_OPINION, env_mono_ns(env_real()) - begun);
    if (d != AUTHZ_ALLOW && !words) authorizer_decide(z, r->arena, &at, &reason);
    if (r->audit && (d == AUTHZ_ALLOW || !error)) audit_decided(r, d == AUTHZ_ALLOW, reason);
    if (d == AUTHZ_ALLOW) return 0;
    if (!error) return authz_forbidden(r->arena, &at, reason, reterr);
    audit_annotate(r, "authorization.k8s.io/reason", "internal error");
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "Internal Server Error: %s: %s", go_quote(r->arena, *r->http->query ? arena_printf(r->arena, "%s?%s", r->path, r->http->query) : r->path), error);
}

int authorize_create(struct api_request *r, struct status *reterr) {
    struct authz_attributes at = request_attributes(r);
    const char *reason;
    at.verb = "create";
    if (authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, &reason) == AUTHZ_ALLOW) return 0;
    return authz_forbidden(r->arena, &at, reason, reterr);
}
