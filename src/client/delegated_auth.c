/* See delegated_auth.h. */
#include "client/delegated_auth.h"
#include <openssl/evp.h>
#include <stdatomic.h>
#include <strings.h>
#include "base/expiring_cache.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/x509_facts.h"

#define S_NS INT64_C(1000000000)
enum { CACHE_ENTRIES = 4096, REVIEWS_MAX = 64, POLL_MS = 5 };

struct delegated_auth {
    struct delegated_auth_options o;
    struct expiring_cache *tokens; /* hash of a token -> UserInfo in JSON; "": it is nobody's */
    struct expiring_cache *access; /* spec of a SubjectAccessReview in JSON -> "1" or "0" */
    atomic_int reviews;            /* that are under way */
};

/* ---- calls that block ---- */

struct review {
    struct arena *arena;
    struct client *client;
    const struct type_desc *type;
    const void *ask;
    void *answer;
    int failed;
    struct status *err;
};

static void review_do(void *arg) {
    struct review *r = arg;
    r->failed = client_create(r->client, r->arena, r->type, r->ask, r->answer, r->err);
}

/* Callers that are not known yet cannot make us start threads without end. */
static int review(struct delegated_auth *auth, struct client *c, struct arena *a, const struct type_desc *type, const void *ask, void *answer, struct status *reterr) {
    struct review r = {a, c, type, ask, answer, 0, reterr};
    bool begun = atomic_fetch_add(&auth->reviews, 1) < REVIEWS_MAX && fiber_run_blocking(review_do, &r);
    atomic_fetch_sub(&auth->reviews, 1);
    return begun ? r.failed : status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "too many reviews are under way");
}

/* ---- who asks ---- */

enum known { UNKNOWN, KNOWN, REFUSED };

static enum known by_certificate(struct http_request *req, struct authenticationv1_UserInfo *ret) {
    struct x509_facts f;
    if (req->peer_cert_invalid) return REFUSED;
    if (!req->peer_cert) return UNKNOWN;
    if (x509_subject_of(req->arena, req->peer_cert, &f) != 0 || str_empty(f.common_name)) return REFUSED;
    struct authenticationv1_UserInfo u = {.username = f.common_name};
    for (size_t i = 0; f.organizations[i]; i++) string_list_push(req->arena, &u.groups, f.organizations[i]);
    struct string_list_map_entry *e = LIST_PUSH(req->arena, &u.extra);
    e->key = "authentication.kubernetes.io/credential-id";
    string_list_push(req->arena, &e->value, arena_printf(req->arena, "X509SHA256=%s", f.fingerprint));
    *ret = u;
    return KNOWN;
}

/* Tokens themselves are not kept. */
static char *token_key(struct arena *a, const char *token) {
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    CHECK(EVP_Digest(token, strlen(token), sum, &len, EVP_sha256(), NULL) == 1);
    char *hex = arena_alloc(a, 2 * len + 1);
    for (unsigned i = 0; i < len; i++) {
        hex[2 * i] = "0123456789abcdef"[sum[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[sum[i] & 15];
    }
    hex[2 * len] = 0;
    return hex;
}

static int token_review(struct delegated_auth *auth, struct arena *a, const char *token, const char *key, struct buf *ret, struct status *reterr) {
    struct authenticationv1_TokenReview *ask = object_new(a, &authenticationv1_TokenReview_desc), *answer = object_new(a, &authenticationv1_TokenReview_desc);
    ask->spec.token = token;
    if (review(auth, auth->o.authentication, a, &authenticationv1_TokenReview_desc, ask, answer, reterr) != 0) return -1;
    if (answer->status.authenticated) object_encode_json(&authenticationv1_UserInfo_desc, &answer->status.user, ret);
    expiring_cache_put(auth->tokens, key, ret->data, ret->len, env_mono_ns(auth->o.env) + auth->o.token_ttl_s * S_NS);
    return 0;
}

static enum known by_token(struct delegated_auth *auth, struct http_request *req, struct authenticationv1_UserInfo *ret) {
    const char *header = http_request_header(req, "Authorization");
    _cleanup_buf_ struct buf user = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!header || strncasecmp(header, "Bearer ", 7) != 0) return UNKNOWN;
    const char *token = header + 7 + strspn(header + 7, " ");
    if (!*token) return UNKNOWN;
    if (auth->o.no_token_webhook) return REFUSED;
    char *key = token_key(req->arena, token);
    if (!expiring_cache_get(auth->tokens, key, env_mono_ns(auth->o.env), &user) && token_review(auth, req->arena, token, key, &user, &err) != 0) {
        log_warning("%s: a token cannot be reviewed: %s", auth->o.component, status_message(&err));
        return REFUSED;
    }
    if (!user.len) return REFUSED;
    return object_decode_json(req->arena, &authenticationv1_UserInfo_desc, ret, buf_cstr(&user), user.len, NULL, &err) == 0 ? KNOWN : REFUSED;
}

/* As upstream's union of authenticators: the first that knows the caller; nobody is anonymous who has shown something that is no good. */
bool delegated_auth_user(struct delegated_auth *auth, struct http_request *req, struct authenticationv1_UserInfo *ret) {
    enum known cert = by_certificate(req, ret), token = cert == KNOWN ? KNOWN : by_token(auth, req, ret);
    if (cert == KNOWN || token == KNOWN) {
        if (!string_list_has(&ret->groups, "system:authenticated")) string_list_push(req->arena, &ret->groups, "system:authenticated");
        return true;
    }
    if (cert == REFUSED || token == REFUSED || !auth->o.anonymous) return false;
    *ret = (struct authenticationv1_UserInfo){.username = "system:anonymous"};
    string_list_push(req->arena, &ret->groups, "system:unauthenticated");
    return true;
}

/* ---- whether they may ---- */

int delegated_auth_may(struct delegated_auth *auth, struct arena *a, const struct authenticationv1_UserInfo *user, const struct authorizationv1_SubjectAccessReviewSpec *what, struct status *reterr) {
    struct authorizationv1_SubjectAccessReview *ask = object_new(a, &authorizationv1_SubjectAccessReview_desc), *answer = object_new(a, &authorizationv1_SubjectAccessReview_desc);
    _cleanup_buf_ struct buf key = BUF_INIT, known = BUF_INIT;
    ask->spec = *what;
    ask->spec.user = user->username;
    ask->spec.uid = user->uid;
    ask->spec.groups = user->groups;
    ask->spec.extra = user->extra;
    object_encode_json(&authorizationv1_SubjectAccessReviewSpec_desc, &ask->spec, &key);
    if (expiring_cache_get(auth->access, buf_cstr(&key), env_mono_ns(auth->o.env), &known)) return known.data[0] == '1';
    if (review(auth, auth->o.authorization, a, &authorizationv1_SubjectAccessReview_desc, ask, answer, reterr) != 0) return -1;
    bool yes = answer->status.allowed;
    expiring_cache_put(auth->access, buf_cstr(&key), yes ? "1" : "0", 1, env_mono_ns(auth->o.env) + (yes ? auth->o.allowed_ttl_s : auth->o.denied_ttl_s) * S_NS);
    return yes;
}

/* ---- life ---- */

struct delegated_auth *delegated_auth_new(const struct delegated_auth_options *options) {
    struct delegated_auth *auth = calloc(1, sizeof(*auth));
    CHECK(auth);
    auth->o = *options;
    auth->tokens = expiring_cache_new(CACHE_ENTRIES);
    auth->access = expiring_cache_new(CACHE_ENTRIES);
    return auth;
}

void delegated_auth_drain(struct delegated_auth *auth) {
    while (auth && atomic_load(&auth->reviews) > 0) env_sleep_ms(auth->o.env, POLL_MS);
}

void delegated_auth_free(struct delegated_auth *auth) {
    if (!auth) return;
    expiring_cache_free(auth->tokens);
    expiring_cache_free(auth->access);
    free(auth);
}
