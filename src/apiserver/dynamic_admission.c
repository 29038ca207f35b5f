#include "apiserver/dynamic_admission.h"
#include <string.h>
#include "api/defaults.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "apiserver/authorization.h"
#include "base/str.h"
#include "wire/json.h"

bool admission_is_exempt(const struct admission_attributes *a) { return strcmp(a->st->group, "admissionregistration.k8s.io") == 0; }

/* ---- matching ---- */

static bool has(const struct string_list *list, const char *s) { return string_list_has(list, "*") || string_list_has(list, s); }

/* "pods", "pods/status", "pods/x", and stars on either side. */
static bool resource_matches(const struct string_list *resources, const char *resource, const char *sub) {
    for (size_t i = 0; i < resources->len; i++) {
        const char *r = resources->items[i], *slash = strchr(r, '/');
        size_t len = slash ? (size_t)(slash - r) : strlen(r);
        bool name = (len == 1 && *r == '*') || (strlen(resource) == len && strncmp(r, resource, len) == 0);
        bool rest = slash ? strcmp(slash + 1, "*") == 0 || str_eq(slash + 1, sub) : str_empty(sub);
        if (name && rest) return true;
    }
    return false;
}

bool admission_rule_matches(const struct admission_attributes *a, const struct admission_rule *rule, bool equivalent) {
    bool namespaced = !str_empty(a->namespace) && a->st->type != &corev1_Namespace_desc;
    if (!has(rule->operations, admission_operation_name(a)) || !has(rule->groups, a->st->group) || (!equivalent && !has(rule->versions, a->st->version))) return false;
    if (!resource_matches(rule->resources, a->st->resource, a->o->subresource)) return false;
    if (str_eq(rule->scope, "Namespaced") && !namespaced) return false;
    if (str_eq(rule->scope, "Cluster") && namespaced) return false;
    return !rule->names || !rule->names->len || string_list_has(rule->names, a->name);
}

static bool namespace_matches(struct admission_attributes *a, const struct selector *s) {
    const struct object *self = a->obj ? a->obj : a->old;
    if (a->st->type == &corev1_Namespace_desc) return selector_matches(s, &self->metadata.labels);
    if (str_empty(a->namespace)) return true;
    const struct corev1_Namespace *ns = admission_namespace(a);
    static const struct string_map none;
    return selector_matches(s, ns ? &ns->metadata.labels : &none);
}

int admission_selectors_match(struct admission_attributes *a, const struct metav1_LabelSelector *namespaces, const struct metav1_LabelSelector *objects, bool *ret, struct status *reterr) {
    struct selector s;
    *ret = false;
    if (namespaces && label_selector_from(a->r->arena, namespaces, &s, reterr) != 0) return -1;
    if (namespaces && s.len && !namespace_matches(a, &s)) return 0;
    if (objects && label_selector_from(a->r->arena, objects, &s, reterr) != 0) return -1;
    if (a->op == ADMIT_CONNECT) { /* options have no labels */
        *ret = !objects || !s.len;
        return 0;
    }
    const struct object *now = a->obj, *before = a->old;
    *ret = !objects || !s.len || (now && selector_matches(&s, &now->metadata.labels)) || (before && selector_matches(&s, &before->metadata.labels));
    return 0;
}

/* ---- expressions ---- */

static yyjson_mut_val *kind_json(yyjson_mut_doc *doc, const char *group, const char *version, const char *last, const char *value) {
    yyjson_mut_val *o = yyjson_mut_obj(doc);
    yyjson_mut_obj_add_str(doc, o, "group", group);
    yyjson_mut_obj_add_str(doc, o, "version", version);
    yyjson_mut_obj_add_str(doc, o, last, value);
    return o;
}

static yyjson_mut_val *user_json(yyjson_mut_doc *doc, const struct user_info *u) {
    yyjson_mut_val *o = yyjson_mut_obj(doc), *groups = yyjson_mut_arr(doc), *extra = yyjson_mut_obj(doc);
    yyjson_mut_obj_add_strcpy(doc, o, "username", str_or(u->name, ""));
    if (!str_empty(u->uid)) yyjson_mut_obj_add_strcpy(doc, o, "uid", u->uid);
    for (size_t i = 0; i < u->groups.len; i++) yyjson_mut_arr_append(groups, yyjson_mut_strcpy(doc, u->groups.items[i]));
    for (size_t i = 0; i < u->extra.len; i++) {
        yyjson_mut_val *list = yyjson_mut_arr(doc);
        for (size_t j = 0; j < u->extra.items[i].value.len; j++) yyjson_mut_arr_append(list, yyjson_mut_strcpy(doc, u->extra.items[i].value.items[j]));
        yyjson_mut_obj_add(extra, yyjson_mut_strcpy(doc, u->extra.items[i].key), list);
    }
    yyjson_mut_obj_add_val(doc, o, "groups", groups);
    if (u->extra.len) yyjson_mut_obj_add_val(doc, o, "extra", extra);
    return o;
}

static struct cel_value request_value(struct admission_attributes *a) {
    yyjson_mut_doc *doc = json_mut_new(a->r->arena, NULL);
    yyjson_mut_val *o = yyjson_mut_obj(doc);
    const char *sub = str_or(a->o->subresource, "");
    yyjson_mut_obj_add_val(doc, o, "kind", kind_json(doc, a->st->type->group, a->st->type->version, "kind", a->st->type->kind));
    yyjson_mut_obj_add_val(doc, o, "resource", kind_json(doc, a->st->group, a->st->version, "resource", a->st->resource));
    yyjson_mut_obj_add_str(doc, o, "subResource", sub);
    yyjson_mut_obj_add_val(doc, o, "requestKind", kind_json(doc, a->st->type->group, a->st->type->version, "kind", a->st->type->kind));
    yyjson_mut_obj_add_val(doc, o, "requestResource", kind_json(doc, a->st->group, a->st->version, "resource", a->st->resource));
    yyjson_mut_obj_add_str(doc, o, "requestSubResource", sub);
    yyjson_mut_obj_add_str(doc, o, "name", str_or(a->name, ""));
    yyjson_mut_obj_add_str(doc, o, "namespace", str_or(a->namespace, ""));
    yyjson_mut_obj_add_str(doc, o, "operation", admission_operation_name(a));
    yyjson_mut_obj_add_val(doc, o, "userInfo", user_json(doc, &a->r->user));
    yyjson_mut_obj_add_bool(doc, o, "dryRun", a->o->dry_run);
    yyjson_mut_doc_set_root(doc, o);
    yyjson_doc *copy = yyjson_mut_doc_imut_copy(doc, json_arena_alc(a->r->arena));
    return cel_from_json(a->r->arena, yyjson_doc_get_root(copy), NULL);
}

/* ---- authorizer ---- */

static void ask_authorizer(struct cel_authorizer *q, struct arena *arena, const char *verb) {
    struct api_request *r = q->arg;
    struct user_info user = r->user;
    if (q->service_account_name) {
        user = (struct user_info){.name = arena_printf(arena, "system:serviceaccount:%s:%s", q->service_account_namespace, q->service_account_name)};
        string_list_push(arena, &user.groups, "system:serviceaccounts");
        string_list_push(arena, &user.groups, arena_printf(arena, "system:serviceaccounts:%s", q->service_account_namespace));
    }
    struct field_selector fields;
    struct selector labels = {0};
    struct authz_attributes at = {.user = &user, .resource_request = !q->path, .verb = verb, .path = q->path, .group = q->group, .version = "*", .resource = q->resource, .subresource = q->subresource, .namespace = q->namespace,
        .name = q->name};
    if (q->field_selector && field_selector_parse(arena, q->field_selector, &fields, NULL) == 0) at.fields = &fields;
    if (q->label_selector && label_selector_parse(arena, q->label_selector, &labels, NULL) == 0) at.labels = &labels;
    q->reason = q->error = NULL;
    q->allowed = authorizer_decide_error(apiserver_authorizer(r->server), arena, &at, &q->reason, &q->error) == AUTHZ_ALLOW;
}

static struct cel_value authorizer_value(struct admission_attributes *a) {
    struct cel_authorizer *z = ARENA_NEW(a->r->arena, struct cel_authorizer), *own = ARENA_NEW(a->r->arena, struct cel_authorizer);
    *own = (struct cel_authorizer){.check = ask_authorizer, .arg = a->r, .group = a->st->group, .resource = a->st->resource, .subresource = a->o->subresource, .namespace = a->namespace, .name = a->name};
    *z = (struct cel_authorizer){.check = ask_authorizer, .arg = a->r, .request_resource = own};
    return (struct cel_value){.kind = CEL_AUTHORIZER, .authorizer = z};
}

void admission_bindings(struct admission_attributes *a, const struct cel_value *params, const struct cel_value *vars, struct cel_binding bindings[ADMISSION_BINDINGS]) {
    struct arena *arena = a->r->arena;
    const struct cel_value null = {.kind = CEL_NULL};
    const struct corev1_Namespace *ns = admission_namespace(a);
    yyjson_val *object = admission_object(a), *old = admission_old_object(a);
    bindings[0] = (struct cel_binding){"object", object ? cel_from_json(arena, object, NULL) : null};
    bindings[1] = (struct cel_binding){"oldObject", old ? cel_from_json(arena, old, NULL) : null};
    bindings[2] = (struct cel_binding){"request", request_value(a)};
    bindings[3] = (struct cel_binding){"namespaceObject", null};
    if (ns) {
        struct buf out = BUF_INIT;
        object_encode_json(&corev1_Namespace_desc, ns, &out);
        bindings[3].value = cel_from_json(arena, yyjson_doc_get_root(json_parse_in(arena, out.data, out.len, 0, NULL)), NULL);
        buf_release(&out);
    }
    bindings[4] = (struct cel_binding){"params", params ? *params : null};
    bindings[5] = (struct cel_binding){"variables", vars ? *vars : null};
    bindings[6] = (struct cel_binding){"authorizer", authorizer_value(a)};
    bindings[7] = (struct cel_binding){NULL, null};
}

int admission_conditions_hold(struct admission_attributes *a, const struct admissionregistrationv1_MatchCondition_list *conditions, const struct cel_value *params, const char **ret_error) {
    struct cel_binding bindings[ADMISSION_BINDINGS];
    const struct cel_activation act = {.bindings = bindings};
    int result = 1;
    uint64_t cost = 0;
    if (!conditions->len) return 1;
    admission_bindings(a, params, NULL, bindings);
    LIST_FOREACH(c, conditions) {
        const char *why = NULL;
        struct cel_program *p = registered_program(a->registered, a->r->arena, c->expression, CEL_BOOL, &why);
        struct cel_value v = p ? cel_eval(a->r->arena, p, &act, CEL_COST_PER_CALL, &cost) : cel_error(a->r->arena, "compilation error: %s", why);
        if (v.kind == CEL_BOOL && !v.b) return 0;
        if (v.kind == CEL_BOOL) continue;
        if (result == 1) *ret_error = v.kind == CEL_ERROR ? v.str.s : "no such overload";
        result = -1;
    }
    return result;
}

/* ---- running once more ---- */

static void require_again(struct arena *a, struct admission_reinvocation *x) {
    for (size_t i = 0; i < x->invoked.len; i++)
        if (!string_list_has(&x->required, x->invoked.items[i])) string_list_push(a, &x->required, x->invoked.items[i]);
    x->invoked = (struct string_list){0};
}

void admission_reinvocation_begin(struct admission_attributes *a, struct admission_reinvocation *x) {
    if (a->round) admission_object_changed(a); /* the built-in plugins have been at it */
    if (a->round && a->obj && x->last && !json_equal(x->last, admission_object(a))) require_again(a->r->arena, x);
}

bool admission_reinvocation_skips(const struct admission_attributes *a, const struct admission_reinvocation *x, const char *name) { return a->round && !string_list_has(&x->required, name); }

void admission_reinvocation_done(struct admission_attributes *a, struct admission_reinvocation *x, const char *name, bool changed, bool again) {
    if (changed) {
        require_again(a->r->arena, x);
        a->reinvoke = true;
    }
    if (again) string_list_push(a->r->arena, &x->invoked, name);
}

/* ---- the object ---- */

int admission_replace_object(struct admission_attributes *a, yyjson_mut_doc *doc, struct status *reterr) {
    struct buf text = BUF_INIT;
    const struct type_desc *type = a->st->type;
    void *changed = arena_alloc(a->r->arena, type->size);
    json_write_mut(&text, yyjson_mut_doc_get_root(doc));
    int failed = object_decode_json(a->r->arena, type, changed, buf_cstr(&text), text.len, NULL, reterr);
    buf_release(&text);
    if (failed) return -1;
    object_set_defaults(a->r->arena, type, changed);
    object_set_type_meta(a->r->arena, type, changed);
    memcpy(a->obj, changed, type->size);
    admission_object_changed(a);
    return 0;
}

int admission_refuse(const struct admission_attributes *a, int code, const char *reason, const char *message, struct status *reterr) {
    status_forbidden(reterr, a->st->group, a->st->resource, str_or(a->name, "Unknown"), message);
    if (!reterr) return -1;
    reterr->code = code;
    reterr->reason = reason;
    status_add_cause(reterr, NULL, NULL, "%s", message);
    return -1;
}

int registrations_setup(const struct admission_setup *s, const char *text UNUSED, size_t len UNUSED, void **ret_state, struct status *reterr UNUSED) {
    *ret_state = s->registrations;
    return 0;
}
