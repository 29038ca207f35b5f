/* Who may ask the kubelet: see auth.h. */
#include "kubelet/auth.h"
#include "base/log.h"
#include "base/str.h"
#include "client/delegated_auth.h"

enum { TOKEN_TTL_S = 120, ALLOWED_TTL_S = 300, DENIED_TTL_S = 30 };

struct kubelet_auth {
    struct kubelet_auth_options o;
    struct delegated_auth *delegated;
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

/* ---- whether they may ---- */

static int may_use(struct kubelet_auth *auth, struct arena *a, const struct authenticationv1_UserInfo *user, const char *verb, const char *subresource, struct status *reterr) {
    struct authorizationv1_ResourceAttributes what = {.verb = verb, .version = "v1", .resource = "nodes", .subresource = subresource, .name = auth->o.node_name};
    return delegated_auth_may(auth->delegated, a, user, &(struct authorizationv1_SubjectAccessReviewSpec){.resourceAttributes = &what}, reterr);
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
    if (!delegated_auth_user(auth->delegated, req, &user)) return refuse(req, 401, "Unauthorized");
    if (auth->o.always_allow) return true;
    size_t n = kubelet_subresources(req->path, subresources);
    for (size_t i = 0; i < n; i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        int may = may_use(auth, a, &user, verb, subresources[i], &err);
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
    auth->delegated = delegated_auth_new(&(struct delegated_auth_options){.component = "kubelet", .authentication = options->client, .authorization = options->client, .anonymous = options->anonymous,
        .no_token_webhook = options->no_token_webhook, .token_ttl_s = TOKEN_TTL_S, .allowed_ttl_s = ALLOWED_TTL_S, .denied_ttl_s = DENIED_TTL_S, .env = options->env});
    return auth;
}

void kubelet_auth_drain(struct kubelet_auth *auth) {
    if (auth) delegated_auth_drain(auth->delegated);
}

void kubelet_auth_free(struct kubelet_auth *auth) {
    if (!auth) return;
    delegated_auth_free(auth->delegated);
    free(auth);
}
