#include "api/cel/policy.h"
#include "base/str.h"

static const struct cel_variable variables[] = {{"object", &cel_dyn}, {"oldObject", &cel_dyn}, {"request", &cel_dyn}, {"namespaceObject", &cel_dyn}, {"params", &cel_dyn}, {"variables", &cel_dyn}, {NULL, NULL}};
static const char *const messages[] = {"Object", "JSONPatch", NULL};
const struct cel_env cel_policy_env = {.variables = variables, .messages = messages};

void cel_check_expression(const char *text, enum cel_kind want, const struct field_path *at, struct field_errors *errs) {
    const char *why = NULL;
    if (cel_compile(errs->arena, &cel_policy_env, text, want, &why)) return;
    if (str_has_prefix(why, "must evaluate")) field_invalid(errs, at, text, "%s", why);
    else field_invalid(errs, at, text, "compilation failed: %s", why);
}
