/* Who may ask the kubelet: see auth.h. Reviews block, and run on threads of their own; what is cached is answered at once. */
#include "kubelet/auth.h"
#include <openssl/evp.h>
#include <stdatomic.h>
#include <strings.h>
#include "api/object.h"
#include "base/expiring_cache.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client.h"
#include "wire/x509_facts.h"

#define S_NS INT64_C(1000000000)
enum { CACHE_ENTRIES = 4096, TOKEN_TTL_S = 120, ALLOWED_TTL_S = 300, DENIED_TTL_S = 30, REVIEWS_MAX = 64, POLL_MS = 5 };

struct kubelet_auth {
    struct kubelet_auth_options o;
    struct expiring_cache *tokens; /* hash of a token -> UserInfo in JSON; "": it is nobody's */
    struct expiring_cache *access; /* spec of a SubjectAccessReview in JSON -> "1" or "0" */
    atomic_int reviews;            /* that are under way */
};

/* ---- what is asked for ---- */

static bool is_subpath(const char *path, const char *of) { return str_has_prefix(path, of) && (!path[strlen(of)] || path[strlen(of)] == '/'); }

size_t kubelet_subresources(const char *path, const char *ret[KUBELET_SUBRESOURCES_MAX]) {
    static const struct { const char *path, *subresource; bool proxy_too; } rules[] = {
        {"/pods", "pods", true}, {"/healthz", "healthz", true}, {"/configz", "configz", true}, {"/runningpods", "pods", true},
        {"/stats", "stats", false}, {"/metrics", "metrics", false}, {"/logs", "log", false}, {"/checkpoint", "checkpoint", false}, {"/statusz", "statusz", false}, {"/flagz", "configz", false},
    };
    size_t n = 0;
    bool proxy = true;
    for (size_t i = 0; i < ARRAY_LEN(rules) && n == 0; i++) {
        if (!is_subpath(path, rules[i].path)) continue;
        ret[n++] = rules[i].subresource;
        proxy = rules[i].proxy_too;
    }
    if (proxy) ret[n++] = "proxy";
    return n;
}

static const char *verb_of(const char *method) {
    static const char *const verbs[][2] = {{"POST", "create"}, {"GET", "get"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i][0], method) == 0) return verbs[i][1];
    return "";
}

/* ---- calls that block ---- */

struct review {
    struct kubelet_auth *auth;
    struct arena *arena;
    const struct type_desc *type;
    const void *ask;
    void *answer;
    int failed;
    struct status *err;
};

static void review_do(void *arg) {
    struct review *r = arg;
    r->failed = client_create(r->auth->o.client, r->arena, r->type, r->ask, r->answer, r->err);
}

/* Callers that are not known yet cannot make us start threads without end. */
static int review(struct kubelet_auth *auth, struct arena *a, const struct type_desc *type, const void *ask, void *answer, struct status *reterr) {
    struct review r = {auth, a, type, ask, answer, 0, reterr};
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

static int token_review(struct kubelet_auth *auth, struct arena *a, const char *token, const char *key, struct buf *ret, struct status *reterr) {
    struct authenticationv1_TokenReview *ask = object_new(a, &authenticationv1_TokenReview_desc), *answer = object_new(a, &authenticationv1_TokenReview_desc);
    ask->spec.token = token;
    if (review(auth, a, &authenticationv1_TokenReview_desc, ask, answer, reterr) != 0) return -1;
    if (answer->status.authenticated) object_encode_json(&authenticationv1_UserInfo_desc, &answer->status.user, ret);
    expiring_cache_put(auth->tokens, key, ret->data, ret->len, env_mono_ns(auth->o.env) + TOKEN_TTL_S * S_NS);
    return 0;
}

static enum known by_token(struct kubelet_auth *auth, struct http_request *req, struct authenticationv1_UserInfo *ret) {
    const char *header = http_request_header(req, "Authorization");
    _cleanup_buf_ struct buf user = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!header || strncasecmp(header, "Bearer ", 7) != 0) return UNKNOWN;
    const char *token = header + 7 + strspn(header + 7, " ");
    if (!*token) return UNKNOWN;
    if (auth->o.no_token_webhook) return REFUSED;
    char *key = token_key(req->arena, token);
    if (!expiring_cache_get(auth->tokens, key, env_mono_ns(auth->o.env), &user) && token_review(auth, req->arena, token, key, &user, &err) != 0) {
        log_warning("kubelet: a token cannot be reviewed: %s", status_message(&err));
        return REFUSED;
    }
    if (!user.len) return REFUSED;
    return object_decode_json(req->arena, &authenticationv1_UserInfo_desc, ret, buf_cstr(&user), user.len, NULL, &err) == 0 ? KNOWN : REFUSED;
}

/* As upstream's union of authenticators: the first that knows the caller; nobody is anonymous who has shown something that is no good. */
static bool authenticate(struct kubelet_auth *auth, struct http_request *req, struct authenticationv1_UserInfo *ret) {
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

/* 1: yes; 0: no; -1: it is not known. */
static int access_review(struct kubelet_auth *auth, struct arena *a, const struct authenticationv1_UserInfo *user, const char *verb, const char *subresource, struct status *reterr) {
    struct authorizationv1_ResourceAttributes what = {.verb = verb, .version = "v1", .resource = "nodes", .subresource = subresource, .name = auth->o.node_name};
    struct authorizationv1_SubjectAccessReview *ask = object_new(a, &authorizationv1_SubjectAccessReview_desc), *answer = object_new(a, &authorizationv1_SubjectAccessReview_desc);
    _cleanup_buf_ struct buf key = BUF_INIT, known = BUF_INIT;
    ask->spec.user = user->username;
    ask->spec.uid = user->uid;
    ask->spec.groups = user->groups;
    ask->spec.extra = user->extra;
    ask->spec.resourceAttributes = &what;
    object_encode_json(&authorizationv1_SubjectAccessReviewSpec_desc, &ask->spec, &key);
    if (expiring_cache_get(auth->access, buf_cstr(&key), env_mono_ns(auth->o.env), &known)) return known.data[0] == '1';
    if (review(auth, a, &authorizationv1_SubjectAccessReview_desc, ask, answer, reterr) != 0) return -1;
    bool yes = answer->status.allowed;
    expiring_cache_put(auth->access, buf_cstr(&key), yes ? "1" : "0", 1, env_mono_ns(auth->o.env) + (yes ? ALLOWED_TTL_S : DENIED_TTL_S) * S_NS);
    return yes;
}

static bool refuse(struct http_request *req, int code, const char *text) {
    const struct http_header h[] = {{"Content-Type", "text/plain; charset=utf-8"}};
    http_respond(req, code, h, ARRAY_LEN(h), &(struct http_slice){.data = text, .len = strlen(text)}, 1);
    return false;
}

bool kubelet_auth_allows(struct kubelet_auth *auth, struct http_request *req) {
    struct authenticationv1_UserInfo user = {0};
    struct arena *a = req->arena;
    const char *subresources[KUBELET_SUBRESOURCES_MAX], *verb = verb_of(req->method), *tried = "";
    if (!authenticate(auth, req, &user)) return refuse(req, 401, "Unauthorized");
    if (auth->o.always_allow) return true;
    size_t n = kubelet_subresources(req->path, subresources);
    for (size_t i = 0; i < n; i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        int may = access_review(auth, a, &user, verb, subresources[i], &err);
        if (may > 0) return true;
        if (may < 0) {
            log_warning("kubelet: whether %s may %s nodes/%s is not known: %s", user.username, verb, subresources[i], status_message(&err));
            return refuse(req, 500, arena_printf(a, "Authorization error (user=%s, verb=%s, resource=nodes, subresource=%s)", user.username, verb, subresources[i]));
        }
        tried = arena_printf(a, "%s%s%s", tried, *tried ? " " : "", subresources[i]);
    }
    return refuse(req, 403, arena_printf(a, "Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=[%s])\n", user.username, verb, tried));
}

/* ---- life ---- */

struct kubelet_auth *kubelet_auth_new(const struct kubelet_auth_options *options) {
    struct kubelet_auth *auth = calloc(1, sizeof(*auth));
    CHECK(auth);
    auth->o = *options;
    auth->tokens = expiring_cache_new(CACHE_ENTRIES);
    auth->access = expiring_cache_new(CACHE_ENTRIES);
    return auth;
}

void kubelet_auth_drain(struct kubelet_auth *auth) {
    while (auth && atomic_load(&auth->reviews) > 0) env_sleep_ms(auth->o.env, POLL_MS);
}

void kubelet_auth_free(struct kubelet_auth *auth) {
    if (!auth) return;
    expiring_cache_free(auth->tokens);
    expiring_cache_free(auth->access);
    free(auth);
}
