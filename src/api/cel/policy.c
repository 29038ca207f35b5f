#include "api/cel/policy.h"
#include "base/str.h"

static const struct cel_type authorizer = {.kind = CEL_AUTHORIZER};
#define VARIABLES {"object", &cel_dyn}, {"oldObject", &cel_dyn}, {"request", &cel_dyn}, {"namespaceObject", &cel_dyn}, {"params", &cel_dyn}, {"variables", &cel_dyn}
static const struct cel_variable variables[] = {VARIABLES, {"authorizer", &authorizer}, {NULL, NULL}}, message_variables[] = {VARIABLES, {NULL, NULL}};
static const char *const messages[] = {"Object", "JSONPatch", NULL};
const struct cel_env cel_policy_env = {.variables = variables, .messages = messages};
const struct cel_env cel_message_env = {.variables = message_variables, .messages = messages};

static void check(const struct cel_env *env, const char *text, enum cel_kind want, const struct field_path *at, struct field_errors *errs) {
    const char *why = NULL;
    if (cel_compile(errs->arena, env, text, want, &why)) return;
    if (str_has_prefix(why, "must evaluate")) field_invalid(errs, at, text, "%s", why);
    else field_invalid(errs, at, text, "compilation failed: %s", why);
}

void cel_check_expression(const char *text, enum cel_kind want, const struct field_path *at, struct field_errors *errs) { check(&cel_policy_env, text, want, at, errs); }
void cel_check_message_expression(const char *text, const struct field_path *at, struct field_errors *errs) { check(&cel_message_env, text, CEL_STRING, at, errs); }
