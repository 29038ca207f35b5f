#include "apiserver/oidc/structured_authentication.h"
#include <pthread.h>
#include <string.h>
#include "apiserver/config_file.h"
#include "apiserver/config_watch.h"
#include "apiserver/oidc/jwt_authenticator.h"
#include "apiserver/oidc/provider.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

enum { POLL_MS = 50, HEALTHY_WITHIN_MS = 60000, OLD_KEPT_MS = 60000 };
static const char *const algorithms[] = {"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"};

struct structured_authentication {
    struct arena *arena;                                   /* what was configured at start */
    struct apiserverconfigv1_AnonymousAuthConfig *anonymous; /* of the file; NULL: it says nothing */
    bool anonymous_flag;
    const struct string_list *disallowed;
    struct string_list algorithms;
    pthread_mutex_t mutex;
    struct jwt_authenticators *current;                    /* under it; held by it and by requests */
    struct config_watch *watch;                            /* NULL: no file */
};

/* ---- from flags ---- */

/* Upstream: names other than e-mail addresses have the issuer before them, unless "-" says that they shall not. */
static const char *username_prefix(struct arena *a, const struct oidc_flags *f) {
    if (str_eq(f->username_prefix, "-")) return "";
    if (str_empty(f->username_prefix) && !str_eq(f->username_claim, "email")) return arena_printf(a, "%s#", f->issuer_url);
    return str_or(f->username_prefix, "");
}

static int take_required_claims(struct arena *a, const struct oidc_flags *f, struct apiserverconfigv1_JWTAuthenticator *j, struct status *reterr) {
    for (size_t i = 0; i < f->required_claims_len; i++) {
        const char *pair = f->required_claims[i], *eq = strchr(pair, '=');
        if (!eq) return status_bad_request(reterr, "invalid argument \"%s\" for \"--oidc-required-claim\" flag: malformed pair, expect string=string", pair);
        const char *claim = arena_strndup(a, pair, (size_t)(eq - pair));
        struct apiserverconfigv1_ClaimValidationRule *r = NULL;
        LIST_FOREACH(other, &j->claimValidationRules)
            if (str_eq(other->claim, claim)) r = other; /* the last one counts */
        if (!r) r = LIST_PUSH(a, &j->claimValidationRules);
        r->claim = claim;
        r->requiredValue = eq + 1;
    }
    return 0;
}

static int from_flags(struct arena *a, const struct oidc_flags *f, struct authentication_config *c, struct string_list *ret_algorithms, struct status *reterr) {
    struct apiserverconfigv1_JWTAuthenticator *j = LIST_PUSH(a, &c->file.jwt);
    _cleanup_buf_ struct buf pem = BUF_INIT;
    j->issuer.url = f->issuer_url;
    string_list_push(a, &j->issuer.audiences, f->client_id);
    j->claimMappings.username.claim = str_or(f->username_claim, "sub");
    j->claimMappings.username.prefix = username_prefix(a, f);
    if (!str_empty(f->groups_claim)) {
        j->claimMappings.groups.claim = f->groups_claim;
        j->claimMappings.groups.prefix = str_or(f->groups_prefix, "");
    }
    if (!str_empty(f->ca_file)) {
        if (file_read(f->ca_file, FILE_OPTION_MAX, &pem, reterr) != 0) return -1;
        j->issuer.certificateAuthority = arena_strdup(a, buf_cstr(&pem));
    }
    *ret_algorithms = string_list_split(a, str_or(f->signing_algs, "RS256"));
    for (size_t i = 0; i < ret_algorithms->len; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(algorithms); k++) known |= str_eq(algorithms[k], ret_algorithms->items[i]);
        if (!known) return status_bad_request(reterr, "oidc: unsupported signing alg: \"%s\"", ret_algorithms->items[i]);
    }
    return take_required_claims(a, f, j, reterr);
}

/* ---- from the file ---- */

static bool same_anonymous(const struct apiserverconfigv1_AnonymousAuthConfig *x, const struct apiserverconfigv1_AnonymousAuthConfig *y) {
    if (!x || !y) return x == y;
    bool same = x->enabled == y->enabled && x->conditions.len == y->conditions.len;
    for (size_t i = 0; same && i < x->conditions.len; i++) same = str_eq(x->conditions.items[i].path, y->conditions.items[i].path);
    return same;
}

static bool wait_until_healthy(struct config_watch *w, struct jwt_authenticators *s, struct status *reterr) {
    for (int ms = 0; ms < HEALTHY_WITHIN_MS; ms += POLL_MS) {
        if (jwt_authenticators_are_healthy(s, NULL)) return true;
        if (!config_watch_pause(w, POLL_MS)) break;
    }
    return jwt_authenticators_are_healthy(s, reterr);
}

/* Requests that began with the old configuration end with it. */
static void retire(struct config_watch *w, struct jwt_authenticators *old, const struct jwt_authenticators *fresh) {
    const char *issuer;
    for (int ms = 0; ms < OLD_KEPT_MS && jwt_authenticators_in_use(old); ms += POLL_MS)
        if (!config_watch_pause(w, POLL_MS)) break;
    while (jwt_authenticators_in_use(old)) config_watch_pause(w, POLL_MS);
    for (size_t i = 0; (issuer = jwt_authenticators_issuer(old, i)); i++)
        if (!jwt_authenticators_have_issuer(fresh, issuer)) oidc_provider_forget_metrics(issuer);
    jwt_authenticators_free(old);
}

static void refused(const char *what, const struct status *err) {
    log_error("%s: %s; the authentication configuration from before stays in force", what, status_message(err));
    config_file_failed(CONFIG_OF_AUTHENTICATION);
}

/* NULL when it is not valid. */
static struct jwt_authenticators *load_again(struct structured_authentication *s, const char *text, size_t len) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct arena *a = arena_new();
    struct authentication_config *c = ARENA_NEW(a, struct authentication_config);
    struct field_errors errs = field_errors_in(a);
    if (authentication_config_parse(a, text, len, c, &err) != 0) refused("failed to load authentication config", &err);
    else {
        authentication_config_validate(c, s->disallowed, &errs);
        if (!same_anonymous(s->anonymous, c->file.anonymous)) field_forbidden(&errs, FIELD(NULL, "anonymous"), "changed from initial configuration file");
        struct jwt_authenticators *fresh = errs.len ? NULL : jwt_authenticators_new(a, c, &s->algorithms, &err);
        if (fresh) return fresh;
        if (!errs.len) { /* the arena was taken */
            refused("failed to update authentication config", &err);
            return NULL;
        }
        config_file_refuse(&errs, "", &err);
        refused("failed to validate authentication config", &err);
    }
    arena_free(a);
    return NULL;
}

static bool file_changed(void *arg, struct config_watch *w, const char *text, size_t len) {
    struct structured_authentication *s = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct jwt_authenticators *fresh = load_again(s, text, len), *old;
    if (!fresh) return true;
    if (!wait_until_healthy(w, fresh, &err)) {
        refused("failed to update authentication config", &err);
        jwt_authenticators_free(fresh);
        return false;
    }
    pthread_mutex_lock(&s->mutex);
    old = s->current;
    s->current = fresh;
    pthread_mutex_unlock(&s->mutex);
    log_info("reloaded authentication config");
    config_file_loaded(CONFIG_OF_AUTHENTICATION, text, len, true);
    retire(w, old, fresh);
    return true;
}

/* ---- life ---- */

static int read_file(struct arena *a, const char *file, struct buf *text, struct authentication_config *c, struct status *reterr) {
    if (file_read(file, FILE_OPTION_MAX, text, reterr) == 0 && authentication_config_parse(a, buf_cstr(text), text->len, c, reterr) == 0) return 0;
    status_wrap(reterr, "failed to load authentication configuration from file \"%s\"", file);
    return -1;
}

static int check_flags(const struct apiserver_options *o, struct status *reterr) {
    const struct oidc_flags *f = &o->oidc;
    bool any = f->issuer_url || f->client_id || f->ca_file || f->username_claim || f->username_prefix || f->groups_claim || f->groups_prefix || f->signing_algs || f->required_claims_len;
    if (any && o->authentication_config) return status_bad_request(reterr, "authentication-config file and oidc-* flags are mutually exclusive");
    if (any && (str_empty(f->issuer_url) || str_empty(f->client_id))) return status_bad_request(reterr, "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
    return 0;
}

static int keep_anonymous(struct structured_authentication *s, const struct apiserver_options *o, const struct authentication_config *c, struct status *reterr) {
    s->anonymous_flag = !o->no_anonymous_auth;
    if (!c->file.anonymous) return 0;
    if (o->anonymous_auth_given) return status_bad_request(reterr, "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file");
    s->anonymous = object_copy(s->arena, &apiserverconfigv1_AnonymousAuthConfig_desc, c->file.anonymous);
    return 0;
}

static int begin(struct structured_authentication *s, const struct apiserver_options *o, struct arena *a, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    struct authentication_config *c = ARENA_NEW(a, struct authentication_config);
    struct field_errors errs = field_errors_in(a);
    int failed = check_flags(o, reterr);
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) string_list_push(s->arena, &s->algorithms, algorithms[i]);
    if (!failed && o->authentication_config) failed = read_file(a, o->authentication_config, &text, c, reterr);
    else if (!failed && !str_empty(o->oidc.issuer_url)) failed = from_flags(a, &o->oidc, c, &s->algorithms, reterr);
    if (!failed) failed = keep_anonymous(s, o, c, reterr);
    if (!failed) authentication_config_validate(c, s->disallowed, &errs);
    if (errs.len) failed = config_file_refuse(&errs, "invalid authentication configuration: ", reterr);
    if (failed) {
        arena_free(a);
        return -1;
    }
    if (!(s->current = jwt_authenticators_new(a, c, &s->algorithms, reterr))) return -1;
    if (!o->authentication_config) return 0;
    config_file_loaded(CONFIG_OF_AUTHENTICATION, buf_cstr(&text), text.len, false);
    s->watch = config_watch_new(o->authentication_config, buf_cstr(&text), text.len, file_changed, s);
    return 0;
}

struct structured_authentication *structured_authentication_new(const struct apiserver_options *o, const struct string_list *disallowed, struct status *reterr) {
    struct structured_authentication *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->arena = arena_new();
    s->disallowed = disallowed;
    pthread_mutex_init(&s->mutex, NULL);
    if (begin(s, o, arena_new(), reterr) == 0) return s;
    structured_authentication_free(s);
    return NULL;
}

void structured_authentication_free(struct structured_authentication *s) {
    if (!s) return;
    config_watch_free(s->watch);
    jwt_authenticators_free(s->current);
    pthread_mutex_destroy(&s->mutex);
    arena_free(s->arena);
    free(s);
}

enum token_outcome structured_authenticate(struct structured_authentication *s, int64_t now_s, struct arena *a, const char *token, struct token_verdict *ret) {
    pthread_mutex_lock(&s->mutex);
    struct jwt_authenticators *current = jwt_authenticators_ref(s->current);
    pthread_mutex_unlock(&s->mutex);
    enum token_outcome o = jwt_authenticate(current, now_s, a, token, ret);
    jwt_authenticators_unref(current);
    return o;
}

bool structured_anonymous_allowed(const struct structured_authentication *s, const char *path) {
    const struct apiserverconfigv1_AnonymousAuthConfig *n = s->anonymous;
    if (!n) return s->anonymous_flag;
    for (size_t i = 0; n->enabled && i < n->conditions.len; i++)
        if (str_eq(n->conditions.items[i].path, path)) return true;
    return n->enabled && !n->conditions.len;
}
