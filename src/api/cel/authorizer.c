/* What expressions of admission policies ask of authorization: authorizer.group('apps').resource('deployments').namespace('x').check('create').allowed().
 * Upstream: apiserver pkg/cel/library/authz.go. The values are steps on the way to a decision; who decides is a function of the caller's. */
#include <string.h>
#include "api/cel/internal.h"
#include "api/names.h"
#include "base/str.h"

enum { CHECK_COST = 350000 }; /* upstream's authzCheckCost: a decision may go to a webhook */

static const char *text_of(struct call *c, size_t i) { return arena_strndup(c->arena, c->args[i].str.s, c->args[i].str.len); }

static bool is_blank(const char *s) { return s[strspn(s, " \t\n\r\v\f")] == 0; }

/* A copy of the receiver, as another step. */
static struct cel_authorizer *step(struct call *c, struct cel_value *ret, enum cel_kind kind) {
    struct cel_authorizer *z = arena_memdup(c->arena, c->args[0].authorizer, sizeof(*z));
    *ret = (struct cel_value){.kind = kind, .authorizer = z};
    return z;
}

static void service_account(struct call *c, struct cel_value *ret) {
    const char *namespace = text_of(c, 1), *name = text_of(c, 2);
    struct string_list msgs = {0};
    object_name_dns_subdomain(c->arena, name, false, &msgs);
    if (msgs.len) {
        *ret = cel_error(c->arena, "Invalid service account name");
        return;
    }
    object_name_dns_label(c->arena, namespace, false, &msgs);
    if (msgs.len) {
        *ret = cel_error(c->arena, "Invalid service account namespace");
        return;
    }
    struct cel_authorizer *z = step(c, ret, CEL_AUTHORIZER);
    z->service_account_namespace = namespace;
    z->service_account_name = name;
}

static bool begin(struct call *c, struct cel_value *ret) {
    const char *s = c->len >= 2 && c->args[1].kind == CEL_STRING ? text_of(c, 1) : NULL;
    if (!s) return false;
    if (strcmp(c->name, "serviceAccount") == 0 && c->len == 3 && c->args[2].kind == CEL_STRING) return service_account(c, ret), true;
    if (c->len != 2) return false;
    if (strcmp(c->name, "group") == 0) return step(c, ret, CEL_AUTHZ_GROUP)->group = s, true;
    if (strcmp(c->name, "path") != 0) return false;
    if (is_blank(s)) *ret = cel_error(c->arena, "path must not be empty");
    else step(c, ret, CEL_AUTHZ_PATH)->path = s;
    return true;
}

static bool check(struct call *c, struct cel_value *ret) {
    struct cel_authorizer *z = step(c, ret, CEL_AUTHZ_DECISION);
    c->cost += CHECK_COST;
    z->check(z, c->arena, text_of(c, 1));
    return true;
}

static bool refine(struct call *c, struct cel_value *ret) {
    static const struct { const char *name; size_t offset; } setters[] = {{"subresource", offsetof(struct cel_authorizer, subresource)}, {"namespace", offsetof(struct cel_authorizer, namespace)},
        {"name", offsetof(struct cel_authorizer, name)}, {"fieldSelector", offsetof(struct cel_authorizer, field_selector)}, {"labelSelector", offsetof(struct cel_authorizer, label_selector)}};
    for (size_t i = 0; i < ARRAY_LEN(setters); i++)
        if (strcmp(setters[i].name, c->name) == 0) {
            *(const char **)(void *)((char *)step(c, ret, CEL_AUTHZ_RESOURCE) + setters[i].offset) = text_of(c, 1);
            return true;
        }
    return false;
}

static bool decision(struct call *c, struct cel_value *ret) {
    const struct cel_authorizer *z = c->args[0].authorizer;
    if (strcmp(c->name, "allowed") == 0) *ret = CEL_BOOL_VALUE(z->allowed);
    else if (strcmp(c->name, "reason") == 0) *ret = cel_string_value(c->arena, z->reason);
    else if (strcmp(c->name, "errored") == 0) *ret = CEL_BOOL_VALUE(z->error != NULL);
    else if (strcmp(c->name, "error") == 0) *ret = cel_string_value(c->arena, z->error);
    else return false;
    return true;
}

bool cel_call_authorizer(struct call *c, struct cel_value *ret) {
    if (!c->method || !c->len) return false;
    enum cel_kind kind = c->args[0].kind;
    if (kind == CEL_AUTHORIZER) return begin(c, ret);
    if (kind == CEL_AUTHZ_DECISION) return c->len == 1 && decision(c, ret);
    if (c->len != 2 || c->args[1].kind != CEL_STRING) return false;
    if (kind == CEL_AUTHZ_GROUP && strcmp(c->name, "resource") == 0) {
        const char *s = text_of(c, 1);
        if (is_blank(s)) *ret = cel_error(c->arena, "resource must not be empty");
        else step(c, ret, CEL_AUTHZ_RESOURCE)->resource = s;
        return true;
    }
    if ((kind == CEL_AUTHZ_PATH || kind == CEL_AUTHZ_RESOURCE) && strcmp(c->name, "check") == 0) return check(c, ret);
    return kind == CEL_AUTHZ_RESOURCE && refine(c, ret);
}
