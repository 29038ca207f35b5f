#include "apiserver/oidc/authentication_config.h"
#include <ctype.h>
#include <openssl/pem.h>
#include <string.h>
#include "api/validation/meta.h"
#include "apiserver/config_file.h"
#include "base/str.h"
#include "wire/json.h"

typedef struct apiserverconfigv1_JWTAuthenticator jwt_authenticator;

int authentication_config_parse(struct arena *a, const char *text, size_t len, struct authentication_config *ret, struct status *reterr) {
    if (!len) return status_bad_request(reterr, "empty config data");
    *ret = (struct authentication_config){0};
    return config_file_decode(a, text, len, "AuthenticationConfiguration", &apiserverconfigv1_AuthenticationConfiguration_desc, &ret->file, reterr);
}

/* ---- URLs, as Go's net/url takes them apart ---- */

struct url { const char *scheme; bool has_user, has_query, has_fragment; };

/* What url.Parse says of the text, or NULL. */
static const char *parse_url(struct arena *a, const char *text, struct url *ret) {
    const char *fragment = strchr(text, '#'), *colon = strchr(text, ':');
    size_t len = fragment ? (size_t)(fragment - text) : strlen(text);
    *ret = (struct url){.scheme = "", .has_fragment = fragment && fragment[1]};
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) return arena_printf(a, "parse %s: net/url: invalid control character in URL", go_quote(a, text));
        if (*p == '%' && !(isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2]))) return arena_printf(a, "parse %s: invalid URL escape %s", go_quote(a, text), go_quote(a, arena_strndup(a, p, MIN(strlen(p), (size_t)3))));
    }
    if (colon == text) return arena_printf(a, "parse %s: missing protocol scheme", go_quote(a, text));
    const char *rest = text;
    if (colon && colon < text + len && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") == (size_t)(colon - text) && isalpha((unsigned char)*text)) {
        char *scheme = arena_strndup(a, text, (size_t)(colon - text));
        for (char *p = scheme; *p; p++) *p = (char)tolower((unsigned char)*p);
        ret->scheme = scheme;
        rest = colon + 1;
    }
    const char *query = memchr(rest, '?', len - (size_t)(rest - text));
    ret->has_query = query && query + 1 < text + len;
    if (!str_has_prefix(rest, "//")) return NULL;
    const char *authority = arena_strndup(a, rest + 2, strcspn(rest + 2, "/?#")), *at = strrchr(authority, '@'), *host = at ? at + 1 : authority, *port = strrchr(host, ':');
    ret->has_user = at != NULL;
    if (port && !strchr(port, ']') && strspn(port + 1, "0123456789") != strlen(port + 1)) return arena_printf(a, "parse %s: invalid port %s after host", go_quote(a, text), go_quote(a, port));
    return NULL;
}

static const char *sorted_list(struct arena *a, const struct string_list *l) {
    const char *text = "[";
    for (size_t i = 0; i < l->len; i++) text = arena_printf(a, "%s%s%s", text, i ? " " : "", l->items[i]);
    return arena_printf(a, "%s]", text);
}

static void validate_url(const char *text, const struct string_list *disallowed, const struct field_path *at, struct field_errors *errs) {
    struct url u;
    if (disallowed && string_list_has(disallowed, text)) field_invalid(errs, at, text, "URL must not overlap with disallowed issuers: %s", sorted_list(errs->arena, disallowed));
    const char *why = parse_url(errs->arena, text, &u);
    if (why) {
        field_invalid(errs, at, text, "%s", why);
        return;
    }
    if (!str_eq(u.scheme, "https")) field_invalid(errs, at, text, "URL scheme must be https");
    if (u.has_user) field_invalid(errs, at, text, "URL must not contain a username or password");
    if (u.has_query) field_invalid(errs, at, text, "URL must not contain a query");
    if (u.has_fragment) field_invalid(errs, at, text, "URL must not contain a fragment");
}

/* ---- the issuer ---- */

static bool same_but_slashes(const char *x, const char *y) {
    size_t n = strlen(x), m = strlen(y);
    while (n && x[n - 1] == '/') n--;
    while (m && y[m - 1] == '/') m--;
    return n == m && strncmp(x, y, n) == 0;
}

static void validate_audiences(const struct apiserverconfigv1_Issuer *i, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *list = FIELD(at, "audiences"), *policy = FIELD(at, "audienceMatchPolicy");
    const char *match = str_or(i->audienceMatchPolicy, "");
    if (!i->audiences.len) {
        field_required(errs, list, "at least one %s is required", field_path_string(errs->arena, list));
        return;
    }
    for (size_t k = 0; k < i->audiences.len; k++) {
        struct string_list before = {i->audiences.items, k};
        if (str_empty(i->audiences.items[k])) field_required(errs, FIELD_INDEX(list, k), "%s", "");
        if (string_list_has(&before, i->audiences.items[k])) field_duplicate(errs, FIELD_INDEX(list, k), i->audiences.items[k]);
    }
    if (i->audiences.len > 1 && !str_eq(match, "MatchAny")) field_invalid(errs, policy, match, "audienceMatchPolicy must be MatchAny for multiple audiences");
    if (i->audiences.len == 1 && *match && !str_eq(match, "MatchAny")) field_invalid(errs, policy, match, "audienceMatchPolicy must be empty or MatchAny for single audience");
}

static bool has_certificate(const char *pem) {
    BIO *bio = BIO_new_mem_buf(pem, -1);
    CHECK(bio);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    X509_free(cert);
    BIO_free(bio);
    return cert != NULL;
}

static void validate_issuer(const struct apiserverconfigv1_Issuer *i, const struct string_list *disallowed, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *egress = FIELD(at, "egressSelectorType");
    if (str_empty(i->url)) field_required(errs, FIELD(at, "url"), "%s", "");
    else validate_url(i->url, disallowed, FIELD(at, "url"), errs);
    if (!str_empty(i->discoveryURL)) {
        if (!str_empty(i->url) && same_but_slashes(i->url, i->discoveryURL)) field_invalid(errs, FIELD(at, "discoveryURL"), i->discoveryURL, "discoveryURL must be different from URL");
        validate_url(i->discoveryURL, NULL, FIELD(at, "discoveryURL"), errs);
    }
    validate_audiences(i, at, errs);
    if (!str_empty(i->certificateAuthority) && !has_certificate(i->certificateAuthority))
        field_invalid(errs, FIELD(at, "certificateAuthority"), "<omitted>", "data does not contain any valid RSA or ECDSA certificates");
    if (!str_empty(i->egressSelectorType) && !str_in(i->egressSelectorType, (const char *const[]){"controlplane", "cluster", NULL}))
        field_invalid(errs, egress, i->egressSelectorType, "egress selector must be either controlplane or cluster");
    else if (!str_empty(i->egressSelectorType)) field_forbidden(errs, egress, "oidc: egress lookup required with egress selector type %s", go_quote(errs->arena, i->egressSelectorType));
}

/* ---- expressions ---- */

static const struct cel_type claims = {.kind = CEL_MAP, .key = &cel_string, .elem = &cel_dyn}, strings = {.kind = CEL_LIST, .elem = &cel_string}, extra = {.kind = CEL_MAP, .key = &cel_string, .elem = &strings};
static const struct cel_variable user_fields[] = {{"username", &cel_string}, {"uid", &cel_string}, {"groups", &strings}, {"extra", &extra}, {NULL, NULL}};
static const struct cel_type user = {.kind = CEL_OBJECT, .name = "kubernetes.UserInfo", .fields = user_fields};
static const struct cel_variable claims_variables[] = {{"claims", &claims}, {NULL, NULL}}, user_variables[] = {{"user", &user}, {NULL, NULL}};
static const struct cel_env claims_env = {.variables = claims_variables}, user_env = {.variables = user_variables};

struct compiling {
    const struct string_list *disallowed;
    struct field_errors *errs;
    bool uses_email, uses_email_verified;
};

/* want CEL_DYN: of any type. */
static const struct cel_program *compile(struct compiling *c, const struct cel_env *env, const char *text, enum cel_kind want, const struct field_path *at) {
    const char *why = NULL;
    const struct cel_program *p = cel_compile(c->errs->arena, env, text, CEL_DYN, &why);
    if (!p) field_invalid(c->errs, at, text, "compilation failed: %s", why);
    else if (want != CEL_DYN && cel_program_type(p)->kind != want) {
        field_invalid(c->errs, at, text, "must evaluate to bool");
        p = NULL;
    }
    return p;
}

static void note_verified(struct compiling *c, const struct cel_program *p) { c->uses_email_verified |= p && cel_program_selects(p, "claims", "email_verified"); }

static bool expression_before(const struct apiserverconfigv1_ClaimValidationRule *rules, size_t i, const char *claim, const char *expression) {
    for (size_t k = 0; k < i; k++) {
        bool both = !str_empty(rules[k].claim) && !str_empty(rules[k].expression);
        if (!both && ((claim && str_eq(rules[k].claim, claim)) || (expression && str_eq(rules[k].expression, expression)))) return true;
    }
    return false;
}

static void validate_claim_rules(struct compiling *c, const jwt_authenticator *j, const struct field_path *at, struct jwt_programs *ret) {
    ret->claim_rules = arena_calloc(c->errs->arena, j->claimValidationRules.len, sizeof(*ret->claim_rules));
    for (size_t i = 0; i < j->claimValidationRules.len; i++) {
        const struct apiserverconfigv1_ClaimValidationRule *r = &j->claimValidationRules.items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        bool claim = !str_empty(r->claim), expression = !str_empty(r->expression);
        if (claim && expression) field_invalid(c->errs, p, r->claim, "claim and expression can't both be set");
        else if (!claim && !expression) field_required(c->errs, p, "claim or expression is required");
        else if (claim) {
            if (!str_empty(r->message)) field_invalid(c->errs, FIELD(p, "message"), r->message, "may not be specified when claim is set");
            if (expression_before(j->claimValidationRules.items, i, r->claim, NULL)) field_duplicate(c->errs, FIELD(p, "claim"), r->claim);
        } else {
            if (!str_empty(r->requiredValue)) field_invalid(c->errs, FIELD(p, "requiredValue"), r->requiredValue, "may not be specified when expression is set");
            if (expression_before(j->claimValidationRules.items, i, NULL, r->expression)) field_duplicate(c->errs, FIELD(p, "expression"), r->expression);
            else note_verified(c, ret->claim_rules[i] = compile(c, &claims_env, r->expression, CEL_BOOL, FIELD(p, "expression")));
        }
    }
}

static const struct cel_program *validate_mapping(struct compiling *c, const struct apiserverconfigv1_PrefixedClaimOrExpression *m, const struct field_path *at, bool required) {
    bool claim = !str_empty(m->claim), expression = !str_empty(m->expression);
    if (claim && expression) field_invalid(c->errs, at, "", "claim and expression can't both be set");
    else if (!claim && !expression && required) field_required(c->errs, at, "claim or expression is required");
    else if (expression) {
        if (m->prefix) field_invalid(c->errs, FIELD(at, "prefix"), m->prefix, "may not be specified when expression is set");
        return compile(c, &claims_env, m->expression, CEL_DYN, FIELD(at, "expression"));
    } else if (claim && !m->prefix) field_required(c->errs, FIELD(at, "prefix"), "prefix is required when claim is set. It can be set to an empty string to disable prefixing");
    return NULL;
}

/* Keys of Kubernetes' own are not for others to give. */
static bool is_kubernetes_domain(struct arena *a, const char *key) {
    const char *slash = strchr(key, '/'), *domain = slash ? arena_strndup(a, key, (size_t)(slash - key)) : "";
    return str_eq(domain, "kubernetes.io") || str_has_suffix(domain, ".kubernetes.io") || str_eq(domain, "k8s.io") || str_has_suffix(domain, ".k8s.io");
}

static bool has_upper(const char *s) {
    for (; *s; s++)
        if (*s >= 'A' && *s <= 'Z') return true;
    return false;
}

static bool key_before(const struct apiserverconfigv1_ExtraMapping *items, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (str_eq(items[k].key, items[i].key)) return true;
    return false;
}

static void validate_extra(struct compiling *c, const struct apiserverconfigv1_ClaimMappings *m, const struct field_path *at, struct jwt_programs *ret) {
    ret->extra = arena_calloc(c->errs->arena, m->extra.len, sizeof(*ret->extra));
    for (size_t i = 0; i < m->extra.len; i++) {
        const struct field_path *p = FIELD_INDEX(at, i), *key = FIELD(p, "key");
        const char *k = str_or(m->extra.items[i].key, ""), *expression = m->extra.items[i].valueExpression;
        validate_domain_prefixed_path(k, key, c->errs);
        if (has_upper(k)) field_invalid(c->errs, key, k, "must be lowercase");
        if (is_kubernetes_domain(c->errs->arena, k)) field_invalid(c->errs, key, k, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
        if (key_before(m->extra.items, i)) field_duplicate(c->errs, key, k);
        else if (str_empty(expression)) field_required(c->errs, FIELD(p, "valueExpression"), "%s", "");
        else note_verified(c, ret->extra[i] = compile(c, &claims_env, expression, CEL_DYN, FIELD(p, "valueExpression")));
    }
}

static void validate_mappings(struct compiling *c, const struct apiserverconfigv1_ClaimMappings *m, const struct field_path *at, struct jwt_programs *ret) {
    const struct field_path *uid = FIELD(at, "uid");
    if ((ret->username = validate_mapping(c, &m->username, FIELD(at, "username"), true))) c->uses_email |= cel_program_selects(ret->username, "claims", "email");
    note_verified(c, ret->username);
    ret->groups = validate_mapping(c, &m->groups, FIELD(at, "groups"), false);
    if (!str_empty(m->uid.claim) && !str_empty(m->uid.expression)) field_invalid(c->errs, uid, "", "claim and expression can't both be set");
    else if (!str_empty(m->uid.expression)) ret->uid = compile(c, &claims_env, m->uid.expression, CEL_DYN, FIELD(uid, "expression"));
    validate_extra(c, m, FIELD(at, "extra"), ret);
    if (c->uses_email && !c->uses_email_verified)
        field_invalid(c->errs, FIELD(FIELD(at, "username"), "expression"), m->username.expression,
                      "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in "
                      "claimMappings.username.expression");
}

static void validate_user_rules(struct compiling *c, const jwt_authenticator *j, const struct field_path *at, struct jwt_programs *ret) {
    ret->user_rules = arena_calloc(c->errs->arena, j->userValidationRules.len, sizeof(*ret->user_rules));
    for (size_t i = 0; i < j->userValidationRules.len; i++) {
        const char *expression = j->userValidationRules.items[i].expression;
        const struct field_path *p = FIELD(FIELD_INDEX(at, i), "expression");
        bool before = false;
        for (size_t k = 0; k < i; k++) before |= str_eq(j->userValidationRules.items[k].expression, expression);
        if (str_empty(expression)) field_required(c->errs, p, "%s", "");
        else if (before) field_duplicate(c->errs, p, expression);
        else ret->user_rules[i] = compile(c, &user_env, expression, CEL_BOOL, p);
    }
}

/* ---- the whole ---- */

static void validate_anonymous(const struct apiserverconfigv1_AnonymousAuthConfig *n, struct field_errors *errs) {
    _cleanup_buf_ struct buf list = BUF_INIT;
    if (!n || n->enabled || !n->conditions.len) return;
    for (size_t i = 0; i < n->conditions.len; i++) {
        buf_append_str(&list, i ? ",{\"Path\":" : "[{\"Path\":");
        json_write_string(&list, n->conditions.items[i].path);
        buf_append_char(&list, '}');
    }
    buf_append_char(&list, ']');
    field_invalid_raw(errs, FIELD(FIELD(NULL, "anonymous"), "conditions"), buf_cstr(&list), "enabled should be set to true when conditions are defined");
}

static void validate_unique(const struct authentication_config *conf, size_t i, const struct field_path *at, struct field_errors *errs) {
    const struct apiserverconfigv1_Issuer *x = &conf->file.jwt.items[i].issuer;
    bool url = false, discovery = false;
    for (size_t k = 0; k < i; k++) {
        url |= str_eq(conf->file.jwt.items[k].issuer.url, x->url);
        discovery |= !str_empty(x->discoveryURL) && str_eq(conf->file.jwt.items[k].issuer.discoveryURL, x->discoveryURL);
    }
    if (url) field_duplicate(errs, FIELD(at, "url"), str_or(x->url, ""));
    if (discovery) field_duplicate(errs, FIELD(at, "discoveryURL"), x->discoveryURL);
}

void authentication_config_validate(struct authentication_config *conf, const struct string_list *disallowed, struct field_errors *errs) {
    const struct field_path *root = FIELD(NULL, "jwt");
    if (conf->file.jwt.len > JWT_AUTHENTICATORS_MAX) {
        field_too_many(errs, root, (int64_t)conf->file.jwt.len, JWT_AUTHENTICATORS_MAX);
        return;
    }
    for (size_t i = 0; i < conf->file.jwt.len; i++) {
        const jwt_authenticator *j = &conf->file.jwt.items[i];
        const struct field_path *at = FIELD_INDEX(root, i);
        struct compiling c = {.disallowed = disallowed, .errs = errs};
        validate_issuer(&j->issuer, disallowed, FIELD(at, "issuer"), errs);
        validate_claim_rules(&c, j, FIELD(at, "claimValidationRules"), &conf->programs[i]);
        validate_mappings(&c, &j->claimMappings, FIELD(at, "claimMappings"), &conf->programs[i]);
        validate_user_rules(&c, j, FIELD(at, "userValidationRules"), &conf->programs[i]);
        validate_unique(conf, i, FIELD(at, "issuer"), errs);
    }
    validate_anonymous(conf->file.anonymous, errs);
}
