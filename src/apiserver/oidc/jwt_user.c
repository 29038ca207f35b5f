/* From claims to a user. Upstream: oidc.go getUsername, getGroups, getUID, getExtra and the rules. */
#include <string.h>
#include "apiserver/impersonation.h"
#include "apiserver/oidc/claims.h"
#include "apiserver/oidc/jwt_authenticator.h"
#include "base/str.h"

struct mapping {
    const struct apiserverconfigv1_JWTAuthenticator *j;
    const struct jwt_programs *p;
    int64_t now_s;
    struct arena *a;
    yyjson_val *claims;
};

/* ---- expressions ---- */

static int eval(const struct mapping *m, const struct cel_program *program, const char *text, const char *variable, yyjson_val *value, struct cel_value *ret, struct status *reterr) {
    const struct cel_binding bindings[] = {{variable, cel_from_json(m->a, value, NULL)}, {NULL, {0}}};
    const struct cel_activation act = {.bindings = bindings, .now_s = m->now_s};
    uint64_t cost = 0;
    *ret = cel_eval(m->a, program, &act, CEL_COST_PER_CALL, &cost);
    return ret->kind == CEL_ERROR ? status_bad_request(reterr, "expression '%s' resulted in error: %.*s", text, (int)ret->str.len, ret->str.s) : 0;
}

static int refuse(struct status *reterr, const char *what, const char *why) { return status_set(reterr, 401, REASON_UNAUTHORIZED, "oidc: error evaluating %s: %s", what, why); }

static int eval_string(const struct mapping *m, const struct cel_program *program, const char *text, const char *what, const char **ret, struct status *reterr) {
    struct cel_value v;
    const char *claim = arena_printf(m->a, "%s claim expression", what);
    if (eval(m, program, text, "claims", m->claims, &v, reterr) != 0) {
        status_wrap(reterr, "oidc: error evaluating %s", claim);
        return -1;
    }
    if (v.kind != CEL_STRING) return refuse(reterr, claim, arena_printf(m->a, "%s claim expression must return a string", what));
    *ret = arena_strndup(m->a, v.str.s, v.str.len);
    return 0;
}

/* A string or a list of strings; empty ones and null are none. */
static int string_list_of(const struct mapping *m, const struct cel_value *v, struct string_list *ret, struct status *reterr) {
    yyjson_mut_doc *doc = json_mut_new(m->a, NULL);
    if (v->kind == CEL_NULL) return 0;
    yyjson_mut_val *tree = v->kind == CEL_STRING || v->kind == CEL_LIST ? cel_to_json(m->a, doc, v) : NULL, *item;
    size_t i, max;
    if (!tree) return status_bad_request(reterr, "expression must return a string or a list of strings");
    if (yyjson_mut_is_str(tree)) {
        if (yyjson_mut_get_len(tree)) string_list_push(m->a, ret, arena_strdup(m->a, yyjson_mut_get_str(tree)));
        return 0;
    }
    yyjson_mut_arr_foreach(tree, i, max, item) {
        if (!yyjson_mut_is_str(item)) return status_bad_request(reterr, "expression must return a string or a list of strings");
        if (yyjson_mut_get_len(item)) string_list_push(m->a, ret, arena_strdup(m->a, yyjson_mut_get_str(item)));
    }
    return 0;
}

/* ---- the parts of a user ---- */

static int verify_email(const struct mapping *m, struct status *reterr) {
    yyjson_val *v = yyjson_obj_get(m->claims, "email_verified");
    bool verified = true;
    if (v && claims_bool(v, &verified, reterr) != 0) {
        status_wrap(reterr, "oidc: parse 'email_verified' claim");
        return -1;
    }
    return verified ? 0 : status_set(reterr, 401, REASON_UNAUTHORIZED, "oidc: email not verified");
}

static int map_username(const struct mapping *m, const char **ret, struct status *reterr) {
    const struct apiserverconfigv1_PrefixedClaimOrExpression *u = &m->j->claimMappings.username;
    const char *name = NULL;
    if (m->p->username) {
        if (eval_string(m, m->p->username, u->expression, "username", ret, reterr) != 0) return -1;
        return **ret ? 0 : status_set(reterr, 401, REASON_UNAUTHORIZED, "oidc: empty username via CEL expression is not allowed");
    }
    if (claims_string(m->a, m->claims, u->claim, &name, reterr) != 0) {
        status_wrap(reterr, "oidc: parse username claims \"%s\"", u->claim);
        return -1;
    }
    if (str_eq(u->claim, "email") && verify_email(m, reterr) != 0) return -1;
    *ret = arena_printf(m->a, "%s%s", str_or(u->prefix, ""), name);
    return 0;
}

static int map_groups(const struct mapping *m, struct string_list *ret, struct status *reterr) {
    const struct apiserverconfigv1_PrefixedClaimOrExpression *g = &m->j->claimMappings.groups;
    yyjson_val *claim = str_empty(g->claim) ? NULL : yyjson_obj_get(m->claims, g->claim);
    struct cel_value v;
    if (claim && claims_strings(m->a, claim, ret, reterr) != 0) {
        status_wrap(reterr, "oidc: parse groups claim \"%s\"", g->claim);
        return -1;
    }
    for (size_t i = 0; claim && i < ret->len && !str_empty(g->prefix); i++) ret->items[i] = arena_printf(m->a, "%s%s", g->prefix, ret->items[i]);
    if (claim || !m->p->groups) return 0;
    if (eval(m, m->p->groups, g->expression, "claims", m->claims, &v, reterr) == 0 && string_list_of(m, &v, ret, reterr) == 0) return 0;
    status_wrap(reterr, "oidc: error evaluating group claim expression");
    return -1;
}

static int map_uid(const struct mapping *m, const char **ret, struct status *reterr) {
    const struct apiserverconfigv1_ClaimOrExpression *u = &m->j->claimMappings.uid;
    if (!str_empty(u->claim)) {
        if (claims_string(m->a, m->claims, u->claim, ret, reterr) == 0) return 0;
        status_wrap(reterr, "oidc: parse uid claim \"%s\"", u->claim);
        return -1;
    }
    return m->p->uid ? eval_string(m, m->p->uid, u->expression, "uid", ret, reterr) : 0;
}

static int map_extra(const struct mapping *m, struct string_list_map *ret, struct status *reterr) {
    const char *jti = NULL;
    if (claims_string(m->a, m->claims, "jti", &jti, NULL) == 0) user_add_extra(m->a, ret, "authentication.kubernetes.io/credential-id", arena_printf(m->a, "JTI=%s", jti));
    for (size_t i = 0; i < m->j->claimMappings.extra.len; i++) {
        const struct apiserverconfigv1_ExtraMapping *e = &m->j->claimMappings.extra.items[i];
        struct string_list values = {0};
        struct cel_value v;
        if (eval(m, m->p->extra[i], e->valueExpression, "claims", m->claims, &v, reterr) != 0) return -1;
        if (string_list_of(m, &v, &values, reterr) != 0) {
            status_wrap(reterr, "oidc: error evaluating extra claim expression: %s", e->valueExpression);
            return -1;
        }
        for (size_t k = 0; k < values.len; k++) user_add_extra(m->a, ret, e->key, values.items[k]);
    }
    return 0;
}

/* ---- rules ---- */

static int check_rule(const struct mapping *m, const struct cel_program *program, const char *text, const char *message, const char *variable, yyjson_val *value, struct status *reterr) {
    struct cel_value v;
    if (eval(m, program, text, variable, value, &v, reterr) != 0) return -1;
    if (v.kind != CEL_BOOL) return status_bad_request(reterr, "validation expression must return a boolean");
    return v.b ? 0 : status_bad_request(reterr, "validation expression '%s' failed: %s", text, str_or(message, ""));
}

static int check_required(const struct mapping *m, const struct apiserverconfigv1_ClaimValidationRule *r, struct status *reterr) {
    const char *value = "";
    yyjson_val *v = yyjson_obj_get(m->claims, r->claim);
    if (!v) return status_set(reterr, 401, REASON_UNAUTHORIZED, "oidc: required claim %s not present in ID token", r->claim);
    if (!yyjson_is_str(v)) {
        claims_string(m->a, m->claims, r->claim, &value, reterr);
        status_wrap(reterr, "oidc: parse claim %s", r->claim);
        return -1;
    }
    value = yyjson_get_str(v);
    if (str_eq(value, r->requiredValue)) return 0;
    return status_set(reterr, 401, REASON_UNAUTHORIZED, "oidc: required claim %s value does not match. Got = %s, want = %s", r->claim, value, str_or(r->requiredValue, ""));
}

static int check_claims(const struct mapping *m, struct status *reterr) {
    for (size_t i = 0; i < m->j->claimValidationRules.len; i++) {
        const struct apiserverconfigv1_ClaimValidationRule *r = &m->j->claimValidationRules.items[i];
        if (!str_empty(r->claim) && check_required(m, r, reterr) != 0) return -1;
    }
    for (size_t i = 0; i < m->j->claimValidationRules.len; i++) {
        const struct apiserverconfigv1_ClaimValidationRule *r = &m->j->claimValidationRules.items[i];
        if (!m->p->claim_rules[i] || check_rule(m, m->p->claim_rules[i], r->expression, r->message, "claims", m->claims, reterr) == 0) continue;
        status_wrap(reterr, "oidc: error evaluating claim validation expression");
        return -1;
    }
    return 0;
}

static void write_strings(struct buf *out, const struct string_list *l) {
    buf_append_char(out, '[');
    for (size_t i = 0; i < l->len; i++) {
        if (i) buf_append_char(out, ',');
        json_write_string(out, l->items[i]);
    }
    buf_append_char(out, ']');
}

/* All fields, as expressions may ask for any. */
static yyjson_val *user_document(const struct mapping *m, const struct user_info *u) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    buf_append_str(&text, "{\"username\":");
    json_write_string(&text, u->name);
    buf_append_str(&text, ",\"uid\":");
    json_write_string(&text, u->uid);
    buf_append_str(&text, ",\"groups\":");
    write_strings(&text, &u->groups);
    buf_append_str(&text, ",\"extra\":{");
    for (size_t i = 0; i < u->extra.len; i++) {
        if (i) buf_append_char(&text, ',');
        json_write_string(&text, u->extra.items[i].key);
        buf_append_char(&text, ':');
        write_strings(&text, &u->extra.items[i].value);
    }
    buf_append_str(&text, "}}");
    yyjson_doc *doc = json_parse_in(m->a, text.data, text.len, 0, NULL);
    return doc ? yyjson_doc_get_root(doc) : NULL;
}

static int check_user(const struct mapping *m, const struct user_info *u, struct status *reterr) {
    if (!m->j->userValidationRules.len) return 0;
    yyjson_val *value = user_document(m, u);
    for (size_t i = 0; i < m->j->userValidationRules.len; i++) {
        const struct apiserverconfigv1_UserValidationRule *r = &m->j->userValidationRules.items[i];
        if (check_rule(m, m->p->user_rules[i], r->expression, r->message, "user", value, reterr) == 0) continue;
        status_wrap(reterr, "oidc: error evaluating user info validation rule");
        return -1;
    }
    return 0;
}

int jwt_user(const struct apiserverconfigv1_JWTAuthenticator *j, const struct jwt_programs *p, int64_t now_s, struct arena *a, yyjson_val *claims, struct user_info *ret, struct status *reterr) {
    const struct mapping m = {j, p, now_s, a, claims};
    struct user_info u = {0};
    if (map_username(&m, &u.name, reterr) != 0 || map_groups(&m, &u.groups, reterr) != 0 || map_uid(&m, &u.uid, reterr) != 0 || map_extra(&m, &u.extra, reterr) != 0 || check_claims(&m, reterr) != 0 ||
        check_user(&m, &u, reterr) != 0) return -1;
    *ret = u;
    return 0;
}
