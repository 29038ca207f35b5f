#include "apiserver/authorization_config.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "api/names.h"
#include "api/time.h"
#include "apiserver/config_file.h"
#include "base/str.h"

static const int64_t SECOND = 1000000000;
static const char *const known_types[] = {"AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook", NULL};

/* ---- what conditions may use: SubjectAccessReviewSpec ---- */

static const struct cel_type strings = {.kind = CEL_LIST, .elem = &cel_string}, extra = {.kind = CEL_MAP, .key = &cel_string, .elem = &strings};
static const struct cel_variable requirement_fields[] = {{"key", &cel_string}, {"operator", &cel_string}, {"values", &strings}, {NULL, NULL}};
static const struct cel_type requirement = {.kind = CEL_OBJECT, .name = "kubernetes.SelectorRequirement", .fields = requirement_fields}, requirements = {.kind = CEL_LIST, .elem = &requirement};
static const struct cel_variable selector_fields[] = {{"rawSelector", &cel_string}, {"requirements", &requirements}, {NULL, NULL}};
static const struct cel_type field_selector = {.kind = CEL_OBJECT, .name = "kubernetes.FieldSelectorAttributes", .fields = selector_fields},
                             label_selector = {.kind = CEL_OBJECT, .name = "kubernetes.LabelSelectorAttributes", .fields = selector_fields};
static const struct cel_variable resource_fields[] = {{"namespace", &cel_string}, {"verb", &cel_string}, {"group", &cel_string}, {"version", &cel_string}, {"resource", &cel_string}, {"subresource", &cel_string},
    {"name", &cel_string}, {"fieldSelector", &field_selector}, {"labelSelector", &label_selector}, {NULL, NULL}};
static const struct cel_variable path_fields[] = {{"path", &cel_string}, {"verb", &cel_string}, {NULL, NULL}};
static const struct cel_type resource = {.kind = CEL_OBJECT, .name = "kubernetes.ResourceAttributes", .fields = resource_fields},
                             path = {.kind = CEL_OBJECT, .name = "kubernetes.NonResourceAttributes", .fields = path_fields};
static const struct cel_variable request_fields[] = {{"resourceAttributes", &resource}, {"nonResourceAttributes", &path}, {"user", &cel_string}, {"groups", &strings}, {"extra", &extra}, {"uid", &cel_string}, {NULL, NULL}};
static const struct cel_type request = {.kind = CEL_OBJECT, .name = "kubernetes.SubjectAccessReviewSpec", .fields = request_fields};
static const struct cel_variable variables[] = {{"request", &request}, {NULL, NULL}};
static const struct cel_env env = {.variables = variables};

static bool is_blank(const char *s) { return !s || strspn(s, " \t\r\n\v\f") == strlen(s); }

static bool is_known(const struct authorization_conditions *c, const char *text) {
    for (size_t i = 0; i < c->len; i++)
        if (str_eq(c->texts[i], text)) return true;
    return false;
}

static const struct cel_program *compile(const char *text, const struct field_path *at, struct field_errors *errs) {
    const char *why = NULL;
    const struct cel_program *p = cel_compile(errs->arena, &env, text, CEL_DYN, &why);
    if (!p) field_invalid(errs, at, text, "compilation failed: %s", why);
    else if (cel_program_type(p)->kind != CEL_BOOL) {
        field_invalid(errs, at, text, "must evaluate to bool but got %s", cel_type_text(errs->arena, cel_program_type(p)));
        p = NULL;
    }
    return p;
}

static void read_conditions(const struct apiserverconfigv1_WebhookConfiguration *w, const struct field_path *at, struct field_errors *errs, struct authorizer_settings *ret) {
    struct authorization_conditions *c = ARENA_NEW(errs->arena, struct authorization_conditions);
    if (w->matchConditions.len > MATCH_CONDITIONS_MAX) {
        field_too_many(errs, FIELD(at, "matchConditions"), (int64_t)w->matchConditions.len, MATCH_CONDITIONS_MAX);
        return;
    }
    for (size_t i = 0; i < w->matchConditions.len; i++) {
        const char *text = w->matchConditions.items[i].expression;
        const struct field_path *p = FIELD(FIELD_INDEX(FIELD(at, "matchConditions"), i), "expression");
        if (is_blank(text)) field_required(errs, p, "%s", "");
        else if (is_known(c, text)) field_duplicate(errs, p, text);
        else {
            c->texts[c->len] = text;
            c->programs[c->len++] = compile(text, p, errs);
        }
    }
    if (c->len) ret->conditions = c;
}

/* ---- a webhook ---- */

/* A duration of the file; absent: 0. */
static int64_t duration_of(struct arena *a, const char *text, const struct field_path *at, struct field_errors *errs) {
    int64_t ns = 0;
    if (!str_empty(text) && !duration_parse(text, &ns)) field_invalid(errs, at, text, "time: invalid duration %s", go_quote(a, text));
    return ns;
}

static int64_t read_ttl(const char *text, int64_t preset_ns, struct opt_bool cached, const struct field_path *at, struct field_errors *errs) {
    int64_t ns = duration_of(errs->arena, text, at, errs);
    if (ns == 0) ns = preset_ns;
    if (ns < 0) field_invalid(errs, at, duration_string(errs->arena, ns), "must be > 0s");
    return cached.has && !cached.value ? 0 : ns;
}

static void read_timeout(const char *text, const struct field_path *at, struct field_errors *errs, struct authorizer_settings *ret) {
    ret->timeout_ns = duration_of(errs->arena, text, at, errs);
    if (ret->timeout_ns == 0) field_required(errs, at, "%s", "");
    else if (ret->timeout_ns > 30 * SECOND || ret->timeout_ns < 0) field_invalid(errs, at, duration_string(errs->arena, ret->timeout_ns), "must be > 0s and <= 30s");
}

static void read_versions(const struct apiserverconfigv1_WebhookConfiguration *w, const struct field_path *at, struct field_errors *errs, struct authorizer_settings *ret) {
    const struct field_path *own = FIELD(at, "subjectAccessReviewVersion"), *match = FIELD(at, "matchConditionSubjectAccessReviewVersion");
    ret->version = w->subjectAccessReviewVersion;
    if (str_empty(ret->version)) field_required(errs, own, "%s", "");
    else if (!str_in(ret->version, (const char *const[]){"v1", "v1beta1", NULL})) field_not_supported(errs, own, ret->version, (const char *const[]){"v1", "v1beta1", NULL});
    if (str_empty(w->matchConditionSubjectAccessReviewVersion)) {
        if (w->matchConditions.len) field_required(errs, match, "required if match conditions are specified");
    } else if (!str_eq(w->matchConditionSubjectAccessReviewVersion, "v1")) field_not_supported(errs, match, w->matchConditionSubjectAccessReviewVersion, (const char *const[]){"v1", NULL});
}

static void read_failure_policy(const struct apiserverconfigv1_WebhookConfiguration *w, const struct field_path *at, struct field_errors *errs, struct authorizer_settings *ret) {
    static const char *const policies[] = {"NoOpinion", "Deny", NULL};
    if (str_empty(w->failurePolicy)) field_required(errs, at, "%s", "");
    else if (!str_in(w->failurePolicy, policies)) field_not_supported(errs, at, w->failurePolicy, policies);
    ret->deny_on_error = str_eq(w->failurePolicy, "Deny");
}

static void read_kubeconfig(const char *file, const struct field_path *at, struct field_errors *errs, struct authorizer_settings *ret) {
    struct stat st;
    ret->kubeconfig_file = file;
    if (str_empty(file)) field_required(errs, at, "%s", "");
    else if (*file != '/') field_invalid(errs, at, file, "must be an absolute path");
    else if (stat(file, &st) != 0) {
        char why[128] = "";
        int e = errno;
        for (char *p = strncpy(why, strerror(e), sizeof(why) - 1); *p; p++) *p = p == why && *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
        field_invalid(errs, at, file, "error loading file: stat %s: %s", file, why);
    } else if (!S_ISREG(st.st_mode)) field_invalid(errs, at, file, "must be a regular file");
}

static void read_connection(const struct apiserverconfigv1_WebhookConnectionInfo *c, const struct field_path *at, struct field_errors *errs, struct authorizer_settings *ret) {
    const struct field_path *file = FIELD(at, "kubeConfigFile");
    if (str_empty(c->type)) field_required(errs, FIELD(at, "type"), "%s", "");
    else if (str_eq(c->type, "KubeConfigFile")) read_kubeconfig(c->kubeConfigFile, file, errs, ret);
    else if (!str_eq(c->type, "InClusterConfig")) field_not_supported(errs, FIELD(at, "type"), c->type, (const char *const[]){"InClusterConfig", "KubeConfigFile", NULL});
    else if (c->kubeConfigFile) field_invalid(errs, file, c->kubeConfigFile, "can only be set when type=KubeConfigFile");
    else field_forbidden(errs, FIELD(at, "type"), "InClusterConfig needs a Pod's own credentials, which an apiserver outside of Pods does not have");
}

static void read_webhook(const struct apiserverconfigv1_WebhookConfiguration *w, const struct field_path *at, struct field_errors *errs, struct authorizer_settings *ret) {
    read_timeout(w->timeout, FIELD(at, "timeout"), errs, ret);
    ret->authorized_ttl_ns = read_ttl(w->authorizedTTL, 300 * SECOND, w->cacheAuthorizedRequests, FIELD(at, "authorizedTTL"), errs);
    ret->unauthorized_ttl_ns = read_ttl(w->unauthorizedTTL, 30 * SECOND, w->cacheUnauthorizedRequests, FIELD(at, "unauthorizedTTL"), errs);
    read_versions(w, at, errs, ret);
    read_failure_policy(w, FIELD(at, "failurePolicy"), errs, ret);
    read_connection(&w->connectionInfo, FIELD(at, "connectionInfo"), errs, ret);
    read_conditions(w, at, errs, ret);
}

/* ---- the chain ---- */

static void check_name(const struct authorization_config *before, const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list why = {0};
    if (str_empty(name)) {
        field_required(errs, at, "%s", "");
        return;
    }
    for (size_t i = 0; i < before->len; i++) {
        if (!str_eq(before->items[i].name, name)) continue;
        field_duplicate(errs, at, name);
        return;
    }
    name_dns1123_subdomain(errs->arena, name, &why);
    const char *text = "";
    for (size_t i = 0; i < why.len; i++) text = arena_printf(errs->arena, "%s%s%s", text, i ? ", " : "", why.items[i]);
    if (why.len) field_invalid(errs, at, name, "authorizer name is invalid: %s", text);
}

static bool has_type(const struct authorization_config *c, const char *type) {
    for (size_t i = 0; i < c->len; i++)
        if (str_eq(c->items[i].type, type)) return true;
    return false;
}

static void read_authorizer(const struct apiserverconfigv1_AuthorizerConfiguration *from, const struct field_path *at, struct field_errors *errs, struct authorization_config *ret) {
    struct authorizer_settings s = {.type = from->type, .name = from->name};
    if (str_empty(s.type)) {
        field_required(errs, FIELD(at, "type"), "%s", "");
        return;
    }
    if (!str_in(s.type, known_types)) {
        field_not_supported(errs, FIELD(at, "type"), s.type, known_types);
        return;
    }
    bool webhook = str_eq(s.type, "Webhook");
    if (!webhook && has_type(ret, s.type)) {
        field_duplicate(errs, FIELD(at, "type"), s.type);
        return;
    }
    check_name(ret, s.name, FIELD(at, "name"), errs);
    if (webhook && !from->webhook) field_required(errs, FIELD(at, "webhook"), "required when type=Webhook");
    else if (webhook) read_webhook(from->webhook, at, errs, &s);
    else if (from->webhook) field_invalid(errs, FIELD(at, "webhook"), "non-null", "may only be specified when type=Webhook");
    *LIST_PUSH(errs->arena, ret) = s;
}

/* The apiserver's own demands: names of all but webhooks are those that flags would give, and no type goes away. */
static int check_chain(struct arena *a, const struct authorization_config *c, const struct string_list *required, struct status *reterr) {
    struct string_list wrong = {0};
    const char *missing = NULL, *text = "";
    for (size_t i = 0; i < c->len; i++) {
        char *name = arena_strdup(a, c->items[i].type);
        for (char *p = name; *p; p++)
            if (*p >= 'A' && *p <= 'Z') *p = (char)(*p | 0x20);
        if (!str_eq(name, "webhook") && !str_eq(name, c->items[i].name)) string_list_push(a, &wrong, arena_printf(a, "expected name %s for authorizer %s instead of %s", name, c->items[i].type, c->items[i].name));
    }
    for (size_t i = 0; required && i < required->len; i++)
        if (!has_type(c, required->items[i])) missing = missing ? arena_printf(a, "%s %s", missing, required->items[i]) : required->items[i];
    if (missing) string_list_push(a, &wrong, arena_printf(a, "missing required types: [%s]", missing));
    for (size_t i = 0; i < wrong.len; i++) text = arena_printf(a, "%s%s%s", text, i ? ", " : "", wrong.items[i]);
    return wrong.len ? status_bad_request(reterr, wrong.len > 1 ? "[%s]" : "%s", text) : 0;
}

int authorization_config_parse(struct arena *a, const char *text, size_t len, const struct string_list *required, struct authorization_config *ret, struct status *reterr) {
    struct apiserverconfigv1_AuthorizationConfiguration *file = arena_alloc(a, sizeof(*file));
    struct field_errors errs = field_errors_in(a);
    struct authorization_config c = {0};
    if (len && config_file_decode(a, text, len, "AuthorizationConfiguration", &apiserverconfigv1_AuthorizationConfiguration_desc, file, reterr) != 0) {
        status_wrap(reterr, "failed to load AuthorizationConfiguration from file");
        return -1;
    }
    if (!file->authorizers.len) field_required(&errs, FIELD(NULL, "authorizers"), "at least one authorization mode must be defined");
    for (size_t i = 0; i < file->authorizers.len; i++) read_authorizer(&file->authorizers.items[i], FIELD_INDEX(FIELD(NULL, "authorizers"), i), &errs, &c);
    if (errs.len) return config_file_refuse(&errs, "", reterr);
    if (check_chain(a, &c, required, reterr) != 0) return -1;
    *ret = c;
    return 0;
}
