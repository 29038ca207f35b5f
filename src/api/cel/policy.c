#include "api/cel/policy.h"
#include <string.h>
#include "api/cel/internal.h"
#include "base/str.h"

static const struct cel_type authorizer = {.kind = CEL_AUTHORIZER};
#define VARIABLES {"object", &cel_dyn}, {"oldObject", &cel_dyn}, {"request", &cel_dyn}, {"namespaceObject", &cel_dyn}, {"params", &cel_dyn}, {"variables", &cel_dyn}
static const struct cel_variable variables[] = {VARIABLES, {"authorizer", &authorizer}, {NULL, NULL}}, message_variables[] = {VARIABLES, {NULL, NULL}};
static const char *const messages[] = {"Object", "JSONPatch", NULL};
const struct cel_env cel_policy_env = {.variables = variables, .messages = messages};
const struct cel_env cel_message_env = {.variables = message_variables, .messages = messages};

/* ---- the types of what expressions are checked against: upstream's BuildRequestType and BuildNamespaceType ---- */

static const struct cel_type integer = {.kind = CEL_INT}, time = {.kind = CEL_TIMESTAMP}, strings = {.kind = CEL_LIST, .elem = &cel_string}, string_map = {.kind = CEL_MAP, .key = &cel_string, .elem = &cel_string},
    extra = {.kind = CEL_MAP, .key = &cel_string, .elem = &strings};
#define END {NULL, NULL}
static const struct cel_variable gvk_fields[] = {{"group", &cel_string}, {"version", &cel_string}, {"kind", &cel_string}, END};
static const struct cel_variable gvr_fields[] = {{"group", &cel_string}, {"version", &cel_string}, {"resource", &cel_string}, END};
static const struct cel_variable user_fields[] = {{"username", &cel_string}, {"uid", &cel_string}, {"groups", &strings}, {"extra", &extra}, END};
static const struct cel_type gvk = {.kind = CEL_OBJECT, .name = "kubernetes.GroupVersionKind", .fields = gvk_fields}, gvr = {.kind = CEL_OBJECT, .name = "kubernetes.GroupVersionResource", .fields = gvr_fields},
    user = {.kind = CEL_OBJECT, .name = "kubernetes.UserInfo", .fields = user_fields};
static const struct cel_variable request_fields[] = {{"kind", &gvk}, {"resource", &gvr}, {"subResource", &cel_string}, {"requestKind", &gvk}, {"requestResource", &gvr}, {"requestSubResource", &cel_string}, {"name", &cel_string},
    {"namespace", &cel_string}, {"operation", &cel_string}, {"userInfo", &user}, {"dryRun", &cel_bool}, {"options", &cel_dyn}, END};
static const struct cel_variable condition_fields[] = {{"status", &cel_string}, {"type", &cel_string}, {"lastTransitionTime", &time}, {"message", &cel_string}, {"reason", &cel_string}, END};
static const struct cel_type condition = {.kind = CEL_OBJECT, .name = "kubernetes.NamespaceCondition", .fields = condition_fields}, conditions = {.kind = CEL_LIST, .elem = &condition};
static const struct cel_variable spec_fields[] = {{"finalizers", &strings}, END}, status_fields[] = {{"conditions", &conditions}, {"phase", &cel_string}, END};
static const struct cel_variable metadata_fields[] = {{"name", &cel_string}, {"generateName", &cel_string}, {"namespace", &cel_string}, {"labels", &string_map}, {"annotations", &string_map}, {"UID", &cel_string},
    {"creationTimestamp", &time}, {"deletionGracePeriodSeconds", &integer}, {"deletionTimestamp", &time}, {"generation", &integer}, {"resourceVersion", &cel_string}, {"finalizers", &strings}, END};
static const struct cel_type metadata = {.kind = CEL_OBJECT, .name = "kubernetes.NamespaceMetadata", .fields = metadata_fields}, spec = {.kind = CEL_OBJECT, .name = "kubernetes.NamespaceSpec", .fields = spec_fields},
    status = {.kind = CEL_OBJECT, .name = "kubernetes.NamespaceStatus", .fields = status_fields};
static const struct cel_variable namespace_fields[] = {{"metadata", &metadata}, {"spec", &spec}, {"status", &status}, END};
static const struct cel_type request = {.kind = CEL_OBJECT, .name = "kubernetes.AdmissionRequest", .fields = request_fields}, namespace_object = {.kind = CEL_OBJECT, .name = "kubernetes.Namespace", .fields = namespace_fields};

/* ---- checking ---- */

struct wanted { enum cel_kind kinds[2]; const char *text; }; /* CEL_DYN first: anything */

static struct cel_env env_of(struct arena *a, const struct cel_policy_scope *scope, bool authorized, bool patches) {
    struct cel_policy_variables fields = {arena_calloc(a, scope->variables.len + 1, sizeof(struct cel_variable)), scope->variables.len}, all = {0};
    for (size_t i = 0; i < fields.len; i++) fields.items[i] = scope->variables.items[i];
    const struct cel_variable fixed[] = {{"object", &cel_dyn}, {"oldObject", &cel_dyn}, {"namespaceObject", &namespace_object}, {"request", &request}};
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) *LIST_PUSH(a, &all) = fixed[i];
    if (scope->params) *LIST_PUSH(a, &all) = (struct cel_variable){"params", &cel_dyn};
    if (authorized) *LIST_PUSH(a, &all) = (struct cel_variable){"authorizer", &authorizer};
    if (scope->composed) {
        const struct cel_type declared = {.kind = CEL_OBJECT, .name = "kubernetes.variables", .fields = fields.items};
        *LIST_PUSH(a, &all) = (struct cel_variable){"variables", arena_memdup(a, &declared, sizeof(declared))};
    }
    *LIST_PUSH(a, &all) = (struct cel_variable)END;
    return (struct cel_env){.variables = all.items, .messages = patches ? messages : NULL};
}

/* What is taken out of something unknown is unknown for sure; of other expressions our checker knows less than upstream's. */
static bool surely_dyn(const struct cel_program *p) {
    const struct node *n = p->root;
    return p->type->kind == CEL_DYN && !p->type->name && (n->kind == NODE_IDENT || n->kind == NODE_SELECT || (n->kind == NODE_CALL && str_eq(n->name, "_[_]")));
}

static bool is_wanted(const struct cel_program *p, const struct wanted *w) {
    enum cel_kind kind = p->type->kind;
    if (w->kinds[0] == CEL_DYN) return true;
    if (kind == CEL_DYN) return !surely_dyn(p) && (!p->type->name || str_eq(p->type->name, w->text));
    if (kind == CEL_LIST && w->kinds[0] == CEL_LIST) return !p->type->elem || (p->type->elem->kind == CEL_DYN && (!p->type->elem->name || str_eq(p->type->elem->name, "JSONPatch")));
    return kind == w->kinds[0] || (w->kinds[1] && kind == w->kinds[1]);
}

static const struct cel_program *check(const struct cel_env *env, const char *text, const struct wanted *w, const char *shown, const struct field_path *at, struct field_errors *errs) {
    const char *why = NULL;
    const struct cel_program *p = cel_compile(errs->arena, env, text, CEL_DYN, &why);
    if (!p) field_invalid(errs, at, shown, "compilation failed: %s", why);
    else if (!is_wanted(p, w)) field_invalid(errs, at, shown, "must evaluate to %s but got %s", w->text, cel_type_text(errs->arena, p->type));
    return p;
}

static const char *trimmed(struct arena *a, const char *s) {
    static const char blanks[] = " \t\r\n\v\f";
    s += strspn(s, blanks);
    size_t len = strlen(s);
    while (len && strchr(blanks, s[len - 1])) len--;
    return arena_strndup(a, s, len);
}

void cel_check_condition(const char *text, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs) {
    struct cel_policy_scope alone = {.params = scope->params};
    struct cel_env env = env_of(errs->arena, &alone, true, false);
    text = trimmed(errs->arena, text);
    check(&env, text, &(const struct wanted){{CEL_BOOL}, "bool"}, text, at, errs);
}

void cel_check_validation(const char *text, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs) {
    struct cel_env env = env_of(errs->arena, scope, true, false);
    check(&env, text, &(const struct wanted){{CEL_BOOL}, "bool"}, text, at, errs);
}

void cel_check_message_expression(const char *text, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs) {
    struct cel_env env = env_of(errs->arena, scope, false, false);
    check(&env, text, &(const struct wanted){{CEL_STRING}, "string"}, text, at, errs);
}

void cel_check_annotation(const char *text, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs) {
    struct cel_env env = env_of(errs->arena, scope, true, false);
    check(&env, trimmed(errs->arena, text), &(const struct wanted){{CEL_STRING, CEL_NULL}, "one of [string null_type]"}, text, at, errs);
}

void cel_check_variable(const char *name, const char *text, struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs) {
    struct cel_env env = env_of(errs->arena, scope, true, false);
    const struct cel_program *p = check(&env, text, &(const struct wanted){{CEL_DYN}, ""}, text, at, errs);
    const struct cel_type *type = p && p->type->kind <= CEL_MAP ? p->type : &cel_dyn; /* types of libraries and messages are not kept */
    *LIST_PUSH(errs->arena, &scope->variables) = (struct cel_variable){name, type};
}

void cel_check_mutation(const char *text, bool json_patch, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs) {
    struct cel_env env = env_of(errs->arena, scope, true, true);
    const struct wanted patch = {{CEL_LIST}, "list(JSONPatch)"}, apply = {{CEL_ERROR}, "Object"};
    text = trimmed(errs->arena, text);
    check(&env, text, json_patch ? &patch : &apply, text, at, errs);
}
