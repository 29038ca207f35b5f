#include "apiserver/oidc/jwt_authenticator.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "api/time.h"
#include "apiserver/config_file.h"
#include "base/metric_family.h"
#include "apiserver/oidc/claims.h"
#include "apiserver/oidc/provider.h"
#include "base/env.h"
#include "base/str.h"
#include "wire/json.h"

enum { CLAIM_ISSUERS_MAX = 16, NBF_LEEWAY_S = 60 };

struct jwt_authenticators {
    atomic_int refs;
    struct arena *arena;
    struct authentication_config config;
    struct string_list algorithms;
    struct oidc_provider *providers[JWT_AUTHENTICATORS_MAX]; /* beside config.file.jwt */
    pthread_mutex_t mutex;
    struct { struct oidc_provider *provider; size_t of; } claim_issuers[CLAIM_ISSUERS_MAX]; /* of distributed claims, with the authenticator whose trust they have; under the mutex */
    size_t claim_issuers_len;
};

static struct metric_family latency = {.name = "apiserver_authentication_jwt_authenticator_latency_seconds", .kind = "histogram",
    .help = "[ALPHA] Latency of jwt authentication operations in seconds. This is the time spent authenticating a token for cache miss only (i.e. when the token is not found in the cache).",
    .bounds = {.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, .mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- life ---- */

struct jwt_authenticators *jwt_authenticators_new(struct arena *arena, const struct authentication_config *c, const struct string_list *algorithms, struct status *reterr) {
    struct jwt_authenticators *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->refs = 1;
    s->arena = arena;
    s->config = *c;
    pthread_mutex_init(&s->mutex, NULL);
    for (size_t i = 0; i < algorithms->len; i++) string_list_push(arena, &s->algorithms, arena_strdup(arena, algorithms->items[i]));
    for (size_t i = 0; i < c->file.jwt.len; i++) {
        const struct apiserverconfigv1_Issuer *issuer = &c->file.jwt.items[i].issuer;
        if ((s->providers[i] = oidc_provider_new(issuer->url, issuer->discoveryURL, issuer->certificateAuthority, reterr))) continue;
        jwt_authenticators_free(s);
        return NULL;
    }
    return s;
}

void jwt_authenticators_free(struct jwt_authenticators *s) {
    if (!s) return;
    for (size_t i = 0; i < s->config.file.jwt.len; i++) oidc_provider_free(s->providers[i]);
    for (size_t i = 0; i < s->claim_issuers_len; i++) oidc_provider_free(s->claim_issuers[i].provider);
    pthread_mutex_destroy(&s->mutex);
    arena_free(s->arena);
    free(s);
}

struct jwt_authenticators *jwt_authenticators_ref(struct jwt_authenticators *s) {
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void jwt_authenticators_unref(struct jwt_authenticators *s) { atomic_fetch_sub(&s->refs, 1); }
bool jwt_authenticators_in_use(struct jwt_authenticators *s) { return atomic_load(&s->refs) > 1; }

const char *jwt_authenticators_issuer(const struct jwt_authenticators *s, size_t i) { return i < s->config.file.jwt.len ? s->config.file.jwt.items[i].issuer.url : NULL; }

bool jwt_authenticators_have_issuer(const struct jwt_authenticators *s, const char *issuer) {
    const char *own;
    for (size_t i = 0; (own = jwt_authenticators_issuer(s, i)); i++)
        if (str_eq(own, issuer)) return true;
    return false;
}

bool jwt_authenticators_are_healthy(struct jwt_authenticators *s, struct status *reterr) {
    for (size_t i = 0; i < s->config.file.jwt.len; i++) {
        if (oidc_provider_is_ready(s->providers[i], reterr)) continue;
        status_wrap(reterr, "oidc: authenticator for issuer \"%s\" is not healthy", s->config.file.jwt.items[i].issuer.url);
        return false;
    }
    return true;
}

/* ---- a token ---- */

static const char *quoted_list(struct arena *a, const struct string_list *l) {
    const char *text = "[";
    for (size_t i = 0; i < l->len; i++) text = arena_printf(a, "%s%s%s", text, i ? " " : "", go_quote(a, l->items[i]));
    return arena_printf(a, "%s]", text);
}

static int refuse(struct status *reterr, const char *why) { return status_set(reterr, 401, REASON_UNAUTHORIZED, "%s", why); }

static int check_audience(const struct apiserverconfigv1_Issuer *issuer, struct arena *a, yyjson_val *claims, struct status *reterr) {
    struct string_list own = {0};
    yyjson_val *aud = yyjson_obj_get(claims, "aud");
    if (aud && claims_strings(a, aud, &own, reterr) != 0) {
        status_wrap(reterr, "oidc: failed to unmarshal claims");
        return -1;
    }
    for (size_t i = 0; i < own.len; i++)
        if (string_list_has(&issuer->audiences, own.items[i])) return 0;
    const char *wanted = issuer->audiences.len == 1 ? go_quote(a, issuer->audiences.items[0]) : arena_printf(a, "in %s", quoted_list(a, &issuer->audiences));
    return refuse(reterr, arena_printf(a, "oidc: expected audience %s got %s", wanted, quoted_list(a, &own)));
}

static const char *time_text(struct arena *a, int64_t s) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    struct api_time t = time_from_s(s);
    time_format(&t, &out);
    return arena_strdup(a, buf_cstr(&out));
}

static int check_times(int64_t now_s, struct arena *a, yyjson_val *claims, struct status *reterr) {
    yyjson_val *exp = yyjson_obj_get(claims, "exp"), *nbf = yyjson_obj_get(claims, "nbf");
    int64_t t = 0;
    if (exp && !yyjson_is_null(exp) && !claims_time(exp, &t)) return refuse(reterr, "oidc: failed to unmarshal claims: the claim exp is no number");
    if (t < now_s) return refuse(reterr, arena_printf(a, "oidc: token is expired (Token Expiry: %s)", time_text(a, t)));
    if (!nbf || yyjson_is_null(nbf)) return 0;
    if (!claims_time(nbf, &t)) return refuse(reterr, "oidc: failed to unmarshal claims: the claim nbf is no number");
    return now_s + NBF_LEEWAY_S >= t ? 0 : refuse(reterr, arena_printf(a, "oidc: current time %s before the nbf (not before) time: %s", time_text(a, now_s), time_text(a, t)));
}

/* What go-oidc's verifier does: algorithm, signature, issuer, audience, times. */
static int verify(struct jwt_authenticators *s, const struct apiserverconfigv1_Issuer *issuer, struct oidc_provider *provider, int64_t now_s, struct arena *a, const struct jwt *t, yyjson_val **ret_claims, struct status *reterr) {
    if (!string_list_has(&s->algorithms, t->alg))
        return refuse(reterr, arena_printf(a, "oidc: id token signed with unsupported algorithm, expected %s got %s", quoted_list(a, &s->algorithms), go_quote(a, t->alg)));
    if (oidc_provider_verify(provider, t, reterr) != 0) {
        status_wrap(reterr, "failed to verify signature");
        return -1;
    }
    yyjson_val *claims = claims_parse(a, t->payload, t->payload_len, reterr);
    if (!claims) {
        status_wrap(reterr, "oidc: failed to unmarshal claims");
        return -1;
    }
    const char *iss = yyjson_get_str(yyjson_obj_get(claims, "iss")), *own = oidc_provider_issuer(provider);
    bool google = str_eq(own, "https://accounts.google.com") && str_eq(iss, "accounts.google.com");
    if (!str_eq(iss, own) && !google) return refuse(reterr, arena_printf(a, "oidc: id token issued by a different provider, expected %s got %s", go_quote(a, own), go_quote(a, str_or(iss, ""))));
    if (check_audience(issuer, a, claims, reterr) != 0 || check_times(now_s, a, claims, reterr) != 0) return -1;
    *ret_claims = claims;
    return 0;
}

/* The issuer that a token names: not to be believed before its signature is. */
static const char *untrusted_issuer(struct arena *a, const struct jwt *t) {
    yyjson_doc *doc = json_parse_in(a, t->payload, t->payload_len, 0, NULL);
    const char *iss = doc ? yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "iss")) : NULL;
    return str_eq(iss, "accounts.google.com") ? "https://accounts.google.com" : str_or(iss, "");
}

/* ---- distributed claims ---- */

/* The issuer of a distributed claim, known or made now; with the trust of the authenticator whose token it is for. NULL: not to be had yet. */
static struct oidc_provider *claim_issuer(struct jwt_authenticators *s, size_t of, const char *issuer, struct status *reterr) {
    struct oidc_provider *p = NULL;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->claim_issuers_len && !p; i++)
        if (s->claim_issuers[i].of == of && str_eq(oidc_provider_issuer(s->claim_issuers[i].provider), issuer)) p = s->claim_issuers[i].provider;
    if (!p && s->claim_issuers_len < CLAIM_ISSUERS_MAX && str_has_prefix(issuer, "https://") && (p = oidc_provider_new(issuer, NULL, s->config.file.jwt.items[of].issuer.certificateAuthority, NULL))) {
        s->claim_issuers[s->claim_issuers_len].of = of;
        s->claim_issuers[s->claim_issuers_len++].provider = p;
    }
    pthread_mutex_unlock(&s->mutex);
    if (p && oidc_provider_is_ready(p, NULL)) return p;
    status_bad_request(reterr, "verifier not initialized for issuer: \"%s\"", issuer);
    return NULL;
}

static int resolve(struct jwt_authenticators *s, size_t of, const char *claim, const char *url, const char *bearer, int64_t now_s, struct arena *a, yyjson_val **ret, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    struct jwt t;
    yyjson_val *claims;
    if (oidc_provider_get(s->providers[of], a, url, bearer, &text, reterr) != 0) {
        status_wrap(reterr, "while getting distributed claim \"%s\"", claim);
        return -1;
    }
    while (text.len && strchr(" \r\n\t", text.data[text.len - 1])) text.data[--text.len] = 0;
    if (jwt_parse(a, arena_strdup(a, buf_cstr(&text)), &t, reterr) != 0) {
        status_wrap(reterr, "getting untrusted issuer from endpoint %s failed for claim \"%s\"", url, claim);
        return -1;
    }
    const char *issuer = untrusted_issuer(a, &t);
    struct oidc_provider *p = claim_issuer(s, of, issuer, reterr);
    if (!p) {
        status_wrap(reterr, "verifying untrusted issuer %s failed", issuer);
        return -1;
    }
    if (verify(s, &s->config.file.jwt.items[of].issuer, p, now_s, a, &t, &claims, reterr) != 0) {
        status_wrap(reterr, "verify distributed claim token");
        return -1;
    }
    if (!(*ret = yyjson_obj_get(claims, claim))) return status_bad_request(reterr, "jwt returned by distributed claim endpoint \"%s\" did not contain claim: %s", url, claim);
    return 0;
}

/* Where the groups come from elsewhere, *claims gets them. */
static int expand(struct jwt_authenticators *s, size_t of, int64_t now_s, struct arena *a, yyjson_val **claims, struct status *reterr) {
    const char *claim = s->config.file.jwt.items[of].claimMappings.groups.claim;
    yyjson_val *names = yyjson_obj_get(*claims, "_claim_names"), *sources = yyjson_obj_get(*claims, "_claim_sources"), *value = NULL;
    if (str_empty(claim) || yyjson_obj_get(*claims, claim) || !names) return 0;
    if (!yyjson_is_obj(names)) return status_bad_request(reterr, "oidc: error parsing distributed claim names: it is no object");
    if (!sources) return status_bad_request(reterr, "oidc: no claim sources");
    const char *source = yyjson_get_str(yyjson_obj_get(names, claim));
    if (!source) return 0;
    yyjson_val *endpoint = yyjson_obj_get(sources, source);
    if (!endpoint) return status_bad_request(reterr, "id token _claim_names contained a source %s missing in _claims_sources", source);
    const char *url = yyjson_get_str(yyjson_obj_get(endpoint, "endpoint"));
    if (str_empty(url)) return 0;
    if (resolve(s, of, claim, url, yyjson_get_str(yyjson_obj_get(endpoint, "access_token")), now_s, a, &value, reterr) != 0) return -1;
    yyjson_mut_doc *doc = json_mut_new(a, *claims);
    yyjson_mut_obj_add_val(doc, yyjson_mut_doc_get_root(doc), claim, yyjson_val_mut_copy(doc, value));
    *claims = yyjson_doc_get_root(yyjson_mut_doc_imut_copy(doc, json_arena_alc(a)));
    return 0;
}

/* ---- the whole ---- */

static int authenticate_at(struct jwt_authenticators *s, size_t i, int64_t now_s, struct arena *a, const struct jwt *t, struct user_info *ret, struct status *reterr) {
    const struct apiserverconfigv1_JWTAuthenticator *j = &s->config.file.jwt.items[i];
    yyjson_val *claims;
    if (!oidc_provider_is_ready(s->providers[i], NULL)) return refuse(reterr, "oidc: authenticator not initialized");
    if (verify(s, &j->issuer, s->providers[i], now_s, a, t, &claims, reterr) != 0) {
        status_wrap(reterr, "oidc: verify token");
        return -1;
    }
    if (expand(s, i, now_s, a, &claims, reterr) != 0) {
        status_wrap(reterr, "oidc: could not expand distributed claims");
        return -1;
    }
    return jwt_user(j, &s->config.programs[i], now_s, a, claims, ret, reterr);
}

static void record_latency(const char *issuer, bool good, int64_t ns) {
    char hash[72], labels[160];
    config_hash(issuer, strlen(issuer), hash);
    snprintf(labels, sizeof(labels), "jwt_issuer_hash=\"%s\",result=\"%s\"", hash, good ? "success" : "failure");
    metric_observe(&latency, labels, (double)ns / 1e9);
}

enum token_outcome jwt_authenticate(struct jwt_authenticators *s, int64_t now_s, struct arena *a, const char *token, struct token_verdict *ret) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct jwt t;
    if (!s->config.file.jwt.len || jwt_parse(a, token, &t, NULL) != 0) return TOKEN_NOT_OURS;
    const char *issuer = untrusted_issuer(a, &t), *own;
    size_t i = 0;
    while ((own = jwt_authenticators_issuer(s, i)) && !str_eq(own, issuer)) i++;
    if (!own) return TOKEN_NOT_OURS;
    int64_t begun_ns = env_mono_ns(env_real());
    bool good = authenticate_at(s, i, now_s, a, &t, &ret->user, &err) == 0;
    record_latency(own, good, env_mono_ns(env_real()) - begun_ns);
    if (good) return TOKEN_GOOD;
    ret->error = arena_strdup(a, status_message(&err));
    return TOKEN_REFUSED;
}

void jwt_authenticators_put_metrics(struct buf *out) {
    metric_put(&latency, out);
    oidc_provider_put_metrics(out);
}
