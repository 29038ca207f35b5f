#include "apiserver/authentication.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "apiserver/oidc/structured_authentication.h"
#include "apiserver/token_webhook.h"
#include "base/str.h"
#include "wire/x509_facts.h"

struct token { char *token, *name, *uid, *groups; };
struct authenticator {
    struct arena *arena;
    struct { struct token *items; size_t len; } tokens;
    struct service_account_tokens *accounts;
    struct structured_authentication *structured;
    struct token_webhook *webhook; /* NULL: none */
    struct front_proxy *proxy;
    bool no_bootstrap_tokens;
};

/* Static tokens: "token,user,uid,\"group1,group2\"" a line. */
static void read_token_line(struct authenticator *a, char *line) {
    char *fields[4] = {NULL}, *p = line;
    for (size_t i = 0; i < 4 && p; i++) {
        bool quoted = *p == '"';
        if (quoted) p++;
        fields[i] = p;
        char *end = quoted ? strchr(p, '"') : strchr(p, ',');
        if (!end) break;
        *end = 0;
        p = quoted ? (end[1] == ',' ? end + 2 : NULL) : end + 1;
    }
    if (!fields[2]) return;
    *LIST_PUSH(a->arena, &a->tokens) = (struct token){arena_strdup(a->arena, fields[0]), arena_strdup(a->arena, fields[1]), arena_strdup(a->arena, fields[2]), arena_strdup(a->arena, fields[3])};
}

static int read_token_file(struct authenticator *a, const char *file, struct status *reterr) {
    FILE *f = fopen(file, "re");
    char line[4096];
    if (!f) return status_errno(reterr, file);
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line && *line != '#') read_token_line(a, line);
    }
    fclose(f);
    return 0;
}

struct authenticator *authenticator_new(const struct apiserver_options *o, struct status *reterr) {
    struct authenticator *a = calloc(1, sizeof(*a));
    CHECK(a);
    a->arena = arena_new();
    a->no_bootstrap_tokens = o->no_bootstrap_token_auth;
    struct service_account_tokens_options accounts = {.signing_key_file = o->service_account_signing_key_file, .key_files = o->service_account_key_file, .issuers = o->service_account_issuer,
        .audiences = o->api_audiences, .no_extended_expiration = o->no_extended_token_expiration, .max_expiration_s = o->service_account_max_token_expiration_s};
    bool ok = (!o->token_file || read_token_file(a, o->token_file, reterr) == 0) && (a->accounts = service_account_tokens_new(&accounts, reterr));
    if (ok) ok = (a->structured = structured_authentication_new(o, service_account_issuers(a->accounts), reterr)) != NULL;
    if (ok && o->authentication_token_webhook_config_file)
        ok = (a->webhook = token_webhook_new(o->authentication_token_webhook_config_file, o->authentication_token_webhook_version, o->authentication_token_webhook_cache_ttl_ns, reterr)) != NULL;
    if (ok && o->requestheader_client_ca_file) ok = (a->proxy = front_proxy_new(o, reterr)) != NULL;
    if (ok) return a;
    authenticator_free(a);
    return NULL;
}

void authenticator_free(struct authenticator *a) {
    if (!a) return;
    structured_authentication_free(a->structured);
    token_webhook_free(a->webhook);
    service_account_tokens_free(a->accounts);
    front_proxy_free(a->proxy);
    arena_free(a->arena);
    free(a);
}

struct service_account_tokens *authenticator_service_accounts(struct authenticator *a) { return a->accounts; }

/* ---- certificates ---- */

/* The last common name and every organization, as Go reads a subject; and which certificate it was. */
static bool by_certificate(struct api_request *r) {
    struct x509_facts f;
    if (!r->http->peer_cert || x509_subject_of(r->arena, r->http->peer_cert, &f) != 0 || str_empty(f.common_name)) return false;
    struct user_info u = {.name = f.common_name};
    for (size_t i = 0; f.organizations[i]; i++) string_list_push(r->arena, &u.groups, f.organizations[i]);
    struct string_list_map_entry *e = LIST_PUSH(r->arena, &u.extra);
    e->key = "authentication.kubernetes.io/credential-id";
    string_list_push(r->arena, &e->value, arena_printf(r->arena, "X509SHA256=%s", f.fingerprint));
    r->user = u;
    return true;
}

/* ---- tokens ---- */

static bool by_static_token(struct authenticator *a, struct arena *arena, const char *token, struct user_info *ret) {
    const struct token *found = NULL;
    for (size_t i = 0; i < a->tokens.len; i++) { /* all are compared, in constant time each */
        const struct token *t = &a->tokens.items[i];
        if (strlen(t->token) == strlen(token) && CRYPTO_memcmp(t->token, token, strlen(token)) == 0) found = t;
    }
    if (!found) return false;
    *ret = (struct user_info){.name = found->name, .uid = found->uid};
    for (const char *p = str_or(found->groups, ""); *p;) {
        size_t len = strcspn(p, ",");
        if (len) string_list_push(arena, &ret->groups, arena_strndup(arena, p, len));
        p += len + (p[len] == ',');
    }
    return true;
}

/* A token that says nothing of audiences is for this apiserver. */
static enum token_outcome for_audiences(struct authenticator *a, struct arena *arena, const struct string_list *wanted, struct token_verdict *ret) {
    const struct string_list *own = service_account_audiences(a->accounts);
    for (size_t i = 0; i < own->len; i++)
        if (!wanted || string_list_has(wanted, own->items[i])) string_list_push(arena, &ret->audiences, own->items[i]);
    return ret->audiences.len ? TOKEN_GOOD : TOKEN_NOT_OURS;
}

static void add_error(struct arena *a, const char **errors, const struct token_verdict *v, enum token_outcome o) {
    if (o == TOKEN_REFUSED) *errors = *errors ? arena_printf(a, "%s, %s", *errors, v->error) : v->error;
}

/* Local ways first, then those that may ask others. A refusal of one does not keep the next from knowing the token. */
enum token_outcome authenticate_token(struct authenticator *a, struct api_request *r, const char *token, const struct string_list *wanted, struct token_verdict *ret) {
    struct store *store = apiserver_store(r->server);
    int64_t now_s = env_now_s(apiserver_env(r->server));
    const char *errors = NULL;
    *ret = (struct token_verdict){0};
    if (by_static_token(a, r->arena, token, &ret->user)) return for_audiences(a, r->arena, wanted, ret);
    enum token_outcome o = service_account_authenticate(a->accounts, store, now_s, r->arena, token, wanted, ret);
    legacy_token_used(r, &ret->legacy);
    if (o == TOKEN_GOOD) return o;
    add_error(r->arena, &errors, ret, o);
    if (o == TOKEN_NOT_OURS && !a->no_bootstrap_tokens && bootstrap_token_authenticate(store, now_s, r->arena, token, &ret->user) == TOKEN_GOOD) return for_audiences(a, r->arena, wanted, ret);
    *ret = (struct token_verdict){0};
    o = structured_authenticate(a->structured, now_s, r->arena, token, ret);
    if (o == TOKEN_GOOD && for_audiences(a, r->arena, wanted, ret) == TOKEN_GOOD) return o;
    add_error(r->arena, &errors, ret, o);
    *ret = (struct token_verdict){0};
    const struct string_list *own = service_account_audiences(a->accounts);
    o = a->webhook ? token_webhook_authenticate(a->webhook, r->arena, token, wanted ? wanted : own, own, ret) : TOKEN_NOT_OURS;
    if (o == TOKEN_GOOD) return o;
    add_error(r->arena, &errors, ret, o);
    *ret = (struct token_verdict){.error = errors};
    return errors ? TOKEN_REFUSED : TOKEN_NOT_OURS;
}

static bool by_token(struct authenticator *a, struct api_request *r, const char *token) {
    struct token_verdict v;
    if (authenticate_token(a, r, token, NULL, &v) != TOKEN_GOOD) return false;
    r->user = v.user;
    return true;
}

/* The second word behind "Bearer"; NULL: the header says something else, or nothing. */
static const char *bearer_token(struct api_request *r, const char *auth) {
    auth += strspn(auth, " \t");
    if (strncasecmp(auth, "Bearer ", 7) != 0) return NULL;
    const char *token = auth + 7;
    size_t len = strcspn(token, " ");
    if (!len && token[strspn(token, " \t")]) request_warn(r, "the provided Authorization header contains extra space before the bearer token, and is ignored");
    return len ? arena_strndup(r->arena, token, len) : NULL;
}

int authenticate(struct authenticator *a, struct api_request *r, struct status *reterr) {
    const char *auth = http_request_header(r->http, "Authorization");
    const char *token = auth ? bearer_token(r, auth) : NULL;
    bool bearer = token != NULL, ok = (a->proxy && front_proxy_authenticate(a->proxy, r)) || by_certificate(r);
    if (!ok && bearer) ok = by_token(a, r, token);
    if (!ok && (bearer || r->http->peer_cert_invalid || !structured_anonymous_allowed(a->structured, r->path))) return status_set(reterr, 401, REASON_UNAUTHORIZED, "Unauthorized");
    if (!ok) {
        r->user = (struct user_info){.name = "system:anonymous"};
        string_list_push(r->arena, &r->user.groups, "system:unauthenticated");
        return 0;
    }
    if (!string_list_has(&r->user.groups, "system:authenticated") && !string_list_has(&r->user.groups, "system:unauthenticated")) string_list_push(r->arena, &r->user.groups, "system:authenticated");
    return 0;
}
