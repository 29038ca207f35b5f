/* ValidatingAdmissionPolicy and MutatingAdmissionPolicy with their bindings and parameters. Upstream: pkg/admission/plugin/policy. */
#include <string.h>
#include "api/patch.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom_conversion.h"
#include "apiserver/custom_resources.h"
#include "apiserver/dynamic_admission.h"
#include "base/str.h"
#include "wire/json.h"

/* ---- matching ---- */

static bool any_rule(const struct admission_attributes *a, const struct admissionregistrationv1_NamedRuleWithOperations_list *rules, bool equivalent) {
    LIST_FOREACH(r, rules) {
        const struct admission_rule rule = {&r->resourceNames, &r->operations, &r->apiGroups, &r->apiVersions, &r->resources, r->scope};
        if (admission_rule_matches(a, &rule, equivalent)) return true;
    }
    return false;
}

/* A binding without rules takes what its policy takes. */
static int matches(struct admission_attributes *a, const struct admissionregistrationv1_MatchResources *m, bool policy, bool *ret, struct status *reterr) {
    *ret = !policy;
    if (!m) return 0;
    bool equivalent = !str_eq(m->matchPolicy, "Exact");
    *ret = false;
    if (any_rule(a, &m->excludeResourceRules, equivalent) || ((policy || m->resourceRules.len) && !any_rule(a, &m->resourceRules, equivalent))) return 0;
    return admission_selectors_match(a, m->namespaceSelector, m->objectSelector, ret, reterr);
}

/* ---- parameters ---- */

static const struct strategy *strategy_of_kind(struct api_request *r, const char *api_version, const char *kind, bool *namespaced) {
    for (size_t i = 0; strategy_at(i); i++) {
        const struct strategy *st = strategy_at(i);
        if (!str_eq(st->type->kind, kind) || !str_eq(type_api_version(r->arena, st->type), api_version)) continue;
        const struct resource_desc *d = api_resource_find(st->group, st->version, st->resource, NULL);
        *namespaced = d && d->namespaced;
        return st;
    }
    struct custom_resource_list all = custom_resources_served(apiserver_custom_resources(r->server), r->arena);
    for (size_t i = 0; i < all.len; i++)
        for (size_t j = 0; j < all.items[i]->versions.len; j++) {
            const struct custom_version *v = &all.items[i]->versions.items[j];
            if (!str_eq(v->resource.kind, kind) || !str_eq(v->type.api_version, api_version)) continue;
            *namespaced = v->resource.namespaced;
            return &v->strategy;
        }
    return NULL;
}

struct params { struct cel_value *items; size_t len; };
struct gathering { struct api_request *r; const struct strategy *st; struct object **items; size_t len; };

static void add_param(struct api_request *r, const struct strategy *st, struct object *obj, struct params *to) {
    struct buf out = BUF_INIT;
    object_set_type_meta(r->arena, st->type, obj);
    object_encode_json(st->type, obj, &out);
    yyjson_doc *doc = json_parse_in(r->arena, out.data, out.len, 0, NULL);
    *LIST_PUSH(r->arena, to) = cel_from_json(r->arena, yyjson_doc_get_root(doc), NULL);
    buf_release(&out);
}

static bool take_param(void *arg, const struct store_view *v) {
    struct gathering *g = arg;
    struct object *obj = registry_decode(g->r->arena, g->st, v);
    if (obj) *LIST_PUSH(g->r->arena, g) = obj;
    return true;
}

/* NULL, or why there are none. */
static const char *collect_selected(struct api_request *r, const struct strategy *st, const char *namespace, const struct metav1_LabelSelector *labels, struct params *to) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct gathering g = {.r = r, .st = st};
    struct selector selector;
    struct store_txn *t;
    if (label_selector_from(r->arena, labels, &selector, NULL) != 0 || store_read_begin(apiserver_store(r->server), &t, NULL) != 0) return "cannot parse label selector in paramRef";
    store_range(t, storage_key(r->arena, st, namespace, NULL), NULL, take_param, &g);
    store_read_end(t);
    if (custom_convert(r, st, g.items, g.len, &err) != 0) return arena_strdup(r->arena, status_message(&err));
    for (size_t i = 0; i < g.len; i++)
        if (selector_matches(&selector, &g.items[i]->metadata.labels)) add_param(r, st, g.items[i], to);
    return NULL;
}

/* NULL, or why the binding cannot be configured. */
static const char *collect(struct admission_attributes *a, const struct admissionregistrationv1_ParamKind *kind, const struct admissionregistrationv1_ParamRef *ref, struct params *ret) {
    struct api_request *r = a->r;
    bool namespaced = false;
    if (!kind || !ref) {
        *LIST_PUSH(r->arena, ret) = (struct cel_value){.kind = CEL_NULL};
        return NULL;
    }
    const struct strategy *st = strategy_of_kind(r, kind->apiVersion, kind->kind, &namespaced);
    if (!st) return arena_printf(r->arena, "failed to find resource referenced by paramKind: '%s, Kind=%s'", kind->apiVersion, kind->kind);
    const char *namespace = namespaced ? str_or(ref->namespace, a->namespace) : NULL;
    if (!namespaced && !str_empty(ref->namespace)) return "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
    if (namespaced && str_empty(namespace)) return "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
    void *obj;
    if (!str_empty(ref->name)) {
        if (registry_get(r, st, namespace, ref->name, &obj, NULL, NULL) == 0) add_param(r, st, obj, ret);
    } else {
        const char *why = collect_selected(r, st, namespace, ref->selector, ret);
        if (why) return why;
    }
    if (!ret->len && str_eq(ref->parameterNotFoundAction, "Deny")) return "no params found for policy binding with `Deny` parameterNotFoundAction";
    return NULL;
}

/* ---- expressions of a policy ---- */

/* Variables in their order, each seeing those before it. One that fails is an error where it is used. */
static struct cel_value eval_variables(struct admission_attributes *a, const struct admissionregistrationv1_Variable_list *list, const struct cel_value *params, uint64_t *cost) {
    struct arena *arena = a->r->arena;
    struct cel_value vars = {.kind = CEL_MAP, .map = ARENA_NEW(arena, struct cel_map)};
    LIST_FOREACH(v, list) {
        struct cel_binding bindings[ADMISSION_BINDINGS];
        const struct cel_activation act = {.bindings = bindings};
        const char *why = NULL;
        admission_bindings(a, params, &vars, bindings);
        struct cel_program *p = registered_program(a->registered, arena, v->expression, CEL_DYN, &why);
        struct cel_value value = p ? cel_eval(arena, p, &act, CEL_COST_PER_CALL, cost) : cel_error(arena, "composited variable \"%s\" fails to compile: %s", v->name, why);
        struct cel_value key = cel_string_value(arena, v->name);
        if (p && value.kind == CEL_ERROR) value = cel_error(arena, "composited variable \"%s\" fails to evaluate: %s", v->name, value.str.s);
        *LIST_PUSH(arena, vars.map) = (struct cel_entry){arena_memdup(arena, &key, sizeof(key)), arena_memdup(arena, &value, sizeof(value))};
    }
    return vars;
}

static struct cel_value eval_in(struct admission_attributes *a, const char *text, enum cel_kind want, const struct cel_value *params, const struct cel_value *vars, uint64_t *cost) {
    struct cel_binding bindings[ADMISSION_BINDINGS];
    const struct cel_activation act = {.bindings = bindings};
    const char *why = NULL;
    struct cel_program *p = registered_program(a->registered, a->r->arena, text, want, &why);
    if (!p) return cel_error(a->r->arena, "compilation error: %s", why);
    admission_bindings(a, params, vars, bindings);
    return cel_eval(a->r->arena, p, &act, CEL_COST_PER_CALL, cost);
}

/* ---- validating ---- */

enum { FAILURES_MAX = 50, ANNOTATION_BYTES_MAX = 10 << 10 }; /* in the audit log */

struct annotation { const char *key; struct string_list values; };
struct annotations { struct annotation *items; size_t len; };
struct decision { const char *message, *reason; size_t index; bool always; }; /* index: of the expression; always: whatever the binding's actions are */
struct verdict {
    struct admission_attributes *a;
    const struct admissionregistrationv1_ValidatingAdmissionPolicy *policy;
    const struct admissionregistrationv1_ValidatingAdmissionPolicyBinding *binding;
    struct decision *items; /* denials */
    size_t len;
    struct annotations *annotations; /* of the policy, all bindings */
};
/* What all policies together make of the request. */
struct outcome { struct admission_attributes *a; const char *message, *reason; /* of the first denial */ struct buf failures; size_t failures_len; };

static void deny(struct verdict *v, const char *message, const char *reason, size_t index) { *LIST_PUSH(v->a->r->arena, v) = (struct decision){message, reason, index, false}; }

static bool ignores(const char *failure_policy) { return str_eq(failure_policy, "Ignore"); }

static const char *message_of(struct verdict *v, const struct admissionregistrationv1_Validation *val, const struct cel_value *params, const struct cel_value *vars, uint64_t *cost) {
    struct arena *arena = v->a->r->arena;
    if (!str_empty(val->messageExpression)) {
        struct cel_value m = eval_in(v->a, val->messageExpression, CEL_STRING, params, vars, cost);
        if (m.kind == CEL_STRING && m.str.len && !memchr(m.str.s, '\n', m.str.len)) return arena_strndup(arena, m.str.s, m.str.len);
    }
    if (!str_empty(val->message)) return val->message;
    return arena_printf(arena, "failed expression: %s", val->expression);
}

static const char *trimmed(struct arena *a, const char *s, size_t len) {
    static const char blanks[] = " \t\n\r\v\f";
    while (len && strchr(blanks, *s)) {
        s++;
        len--;
    }
    while (len && strchr(blanks, s[len - 1])) len--;
    return arena_strndup(a, s, len);
}

static void keep_annotation(struct verdict *v, const char *key, const char *value) {
    struct arena *arena = v->a->r->arena;
    struct annotation *found = NULL;
    LIST_FOREACH(n, v->annotations)
        if (str_eq(n->key, key)) found = n;
    if (!found) {
        found = LIST_PUSH(arena, v->annotations);
        found->key = key;
    }
    if (strlen(value) > ANNOTATION_BYTES_MAX) value = arena_strndup(arena, value, ANNOTATION_BYTES_MAX);
    if (!string_list_has(&found->values, value)) string_list_push(arena, &found->values, value);
}

static void run_annotations(struct verdict *v, const struct cel_value *params, const struct cel_value *vars) {
    struct arena *arena = v->a->r->arena;
    uint64_t cost = 0;
    LIST_FOREACH(n, &v->policy->spec.auditAnnotations) {
        struct cel_value value = eval_in(v->a, n->valueExpression, CEL_DYN, params, vars, &cost);
        const char *error = NULL;
        if (value.kind == CEL_STRING) {
            const char *text = trimmed(arena, value.str.s, value.str.len);
            if (*text) keep_annotation(v, n->key, text);
        } else if (value.kind == CEL_ERROR) {
            if (!ignores(v->policy->spec.failurePolicy)) error = arena_printf(arena, "expression '%s' resulted in error: %s", n->valueExpression, value.str.s);
        } else if (value.kind != CEL_NULL)
            error = arena_printf(arena, "valueExpression '%s' resulted in unsupported return type: %s. Return type must be either string or null.", n->valueExpression, cel_value_type(&value));
        if (error) *LIST_PUSH(arena, v) = (struct decision){error, NULL, 0, true};
    }
}

static void run_validations(struct verdict *v, const struct cel_value *params) {
    const struct admissionregistrationv1_ValidatingAdmissionPolicySpec *spec = &v->policy->spec;
    struct arena *arena = v->a->r->arena;
    const char *why = NULL;
    uint64_t cost = 0;
    int hold = admission_conditions_hold(v->a, &spec->matchConditions, params, &why);
    if (hold == 0) return;
    if (hold < 0) {
        if (!ignores(spec->failurePolicy)) deny(v, arena_printf(arena, "match condition error: %s", why), NULL, 0);
        return;
    }
    struct cel_value vars = eval_variables(v->a, &spec->variables, params, &cost);
    for (size_t i = 0; i < spec->validations.len && cost <= CEL_COST_BUDGET; i++) {
        const struct admissionregistrationv1_Validation *val = &spec->validations.items[i];
        struct cel_value result = eval_in(v->a, val->expression, CEL_BOOL, params, &vars, &cost);
        if (cost > CEL_COST_BUDGET) result = cel_error(arena, "validation failed due to running out of cost budget, no further validation rules will be run");
        if (result.kind == CEL_BOOL && result.b) continue;
        if (result.kind == CEL_BOOL) deny(v, message_of(v, val, params, &vars, &cost), str_empty(val->reason) ? NULL : val->reason, i);
        else if (!ignores(spec->failurePolicy)) deny(v, arena_printf(arena, "expression '%s' resulted in error: %s", val->expression, result.kind == CEL_ERROR ? result.str.s : "no such overload"), NULL, i);
    }
    run_annotations(v, params, &vars);
}

static int code_of(const char *reason) {
    if (str_eq(reason, REASON_FORBIDDEN)) return 403;
    if (str_eq(reason, REASON_UNAUTHORIZED)) return 401;
    return str_eq(reason, REASON_REQUEST_ENTITY_TOO_LARGE) ? 413 : 422;
}

/* The first denial of all decides; the others are run for their warnings and their traces in the audit log. */
static void refuse(struct outcome *o, const struct verdict *v, const char *message, const char *reason) {
    struct arena *arena = o->a->r->arena;
    const char *with = v->binding ? arena_printf(arena, " with binding '%s'", v->binding->metadata.name) : "";
    if (o->message) return;
    o->message = arena_printf(arena, "ValidatingAdmissionPolicy '%s'%s denied request: %s", v->policy->metadata.name, with, message);
    o->reason = arena_strdup(arena, str_or(reason, REASON_INVALID));
}

static void note_failure(struct outcome *o, const struct verdict *v, const struct decision *d) {
    const struct string_list *actions = &v->binding->spec.validationActions;
    if (!o->a->r->audit || o->failures_len == FAILURES_MAX) return;
    buf_append_str(&o->failures, o->failures_len++ ? ",{\"message\":" : "[{\"message\":");
    json_write_string(&o->failures, d->message);
    buf_append_str(&o->failures, ",\"policy\":");
    json_write_string(&o->failures, v->policy->metadata.name);
    buf_append_str(&o->failures, ",\"binding\":");
    json_write_string(&o->failures, v->binding->metadata.name);
    buf_printf(&o->failures, ",\"expressionIndex\":%zu,\"validationActions\":[", d->index);
    for (size_t i = 0; i < actions->len; i++) {
        if (i) buf_append_char(&o->failures, ',');
        json_write_string(&o->failures, actions->items[i]);
    }
    buf_append_str(&o->failures, "]}");
}

/* What a binding's actions make of the denials. */
static void act_on(struct outcome *o, const struct verdict *v) {
    const struct string_list *actions = &v->binding->spec.validationActions;
    for (size_t i = 0; i < v->len; i++) {
        const struct decision *d = &v->items[i];
        if (d->always || string_list_has(actions, "Deny")) refuse(o, v, d->message, d->reason);
        if (d->always) continue;
        if (string_list_has(actions, "Audit")) note_failure(o, v, d);
        if (string_list_has(actions, "Warn"))
            request_warn(v->a->r, "Validation failed for ValidatingAdmissionPolicy '%s' with binding '%s': %s", v->policy->metadata.name, v->binding->metadata.name, d->message);
    }
}

static void run_binding(struct outcome *o, struct verdict *v) {
    struct admission_attributes *a = o->a;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct params params = {0};
    bool match;
    const char *why = NULL;
    if (matches(a, v->binding->spec.matchResources, false, &match, &err) != 0) why = arena_strdup(a->r->arena, status_message(&err));
    else if (!match) return;
    else why = collect(a, v->policy->spec.paramKind, v->binding->spec.paramRef, &params);
    if (why && !ignores(v->policy->spec.failurePolicy)) refuse(o, v, arena_printf(a->r->arena, "failed to configure binding: %s", why), NULL);
    for (size_t i = 0; !why && i < params.len; i++) run_validations(v, &params.items[i]);
    act_on(o, v);
}

static void publish_annotations(const struct verdict *v) {
    struct arena *arena = v->a->r->arena;
    LIST_FOREACH(n, v->annotations) {
        const char *value = n->values.items[0];
        for (size_t i = 1; i < n->values.len; i++) value = arena_printf(arena, "%s, %s", value, n->values.items[i]);
        admission_annotate(v->a, arena_printf(arena, "%s/%s", v->policy->metadata.name, n->key), value);
    }
}

static void run_policy(struct outcome *o, const struct admissionregistrationv1_ValidatingAdmissionPolicy *p) {
    const struct registered_objects *bindings = registered_of(o->a->registered, VALIDATING_BINDINGS);
    struct verdict whole = {.a = o->a, .policy = p};
    struct annotations annotations = {0};
    bool match;
    if (matches(o->a, p->spec.matchConstraints, true, &match, NULL) != 0 || !match) return;
    whole.annotations = &annotations;
    for (size_t j = 0; j < bindings->len; j++) {
        struct verdict v = whole;
        v.binding = bindings->items[j];
        if (str_eq(v.binding->spec.policyName, p->metadata.name)) run_binding(o, &v);
    }
    publish_annotations(&whole);
}

static int validate_all(struct admission_attributes *a, struct status *reterr) {
    const struct registered_objects *policies = registered_of(a->registered, VALIDATING_POLICIES);
    struct outcome o = {.a = a};
    for (size_t i = 0; i < policies->len; i++) run_policy(&o, policies->items[i]);
    if (o.failures_len) {
        buf_append_char(&o.failures, ']');
        admission_annotate(a, "validation.policy.admission.k8s.io/validation_failure", arena_strdup(a->r->arena, buf_cstr(&o.failures)));
    }
    buf_release(&o.failures);
    return o.message ? admission_refuse(a, code_of(o.reason), o.reason, o.message, reterr) : 0;
}

int validating_policies(struct admission_attributes *a, void *state, struct status *reterr) {
    if (admission_is_exempt(a) || !(a->registered = registrations_get(state, VALIDATING_POLICIES))) return 0;
    int result = validate_all(a, reterr);
    registered_put(a->registered);
    a->registered = NULL;
    return result;
}

/* ---- mutating ---- */

static int apply_mutation(struct admission_attributes *a, const struct admissionregistrationv1_Mutation *m, const struct cel_value *params, const struct cel_value *vars, uint64_t *cost, struct status *reterr) {
    struct arena *arena = a->r->arena;
    bool json_patch = str_eq(m->patchType, "JSONPatch");
    const char *text = json_patch ? (m->jsonPatch ? m->jsonPatch->expression : "") : m->applyConfiguration ? m->applyConfiguration->expression : "";
    struct cel_value v = eval_in(a, text, CEL_DYN, params, vars, cost);
    if (v.kind == CEL_ERROR) return status_bad_request(reterr, "%s", v.str.s);
    yyjson_mut_doc *patch = json_mut_new(arena, NULL), *doc = json_mut_new(arena, admission_object(a));
    yyjson_mut_val *root = cel_to_json(arena, patch, &v);
    if (!root) return status_bad_request(reterr, "the expression's value is no patch");
    yyjson_mut_doc_set_root(patch, root);
    yyjson_val *body = yyjson_doc_get_root(yyjson_mut_doc_imut_copy(patch, json_arena_alc(arena)));
    int failed = json_patch ? json_patch_apply(arena, doc, body, reterr) : a->st->type->flags & TYPE_DOCUMENT ? merge_patch_apply(arena, doc, body, reterr) : strategic_patch_apply(arena, a->st->type, doc, body, reterr);
    return failed ? -1 : admission_replace_object(a, doc, reterr);
}

static int mutate_with(struct admission_attributes *a, const struct admissionregistrationv1_MutatingAdmissionPolicy *p, const struct cel_value *params, struct status *reterr) {
    const char *why = NULL;
    uint64_t cost = 0;
    int hold = admission_conditions_hold(a, &p->spec.matchConditions, params, &why);
    if (hold == 0) return 0;
    if (hold < 0) return status_bad_request(reterr, "%s", why);
    for (size_t i = 0; i < p->spec.mutations.len; i++) {
        struct cel_value vars = eval_variables(a, &p->spec.variables, params, &cost); /* they see what the last mutation made */
        if (apply_mutation(a, &p->spec.mutations.items[i], params, &vars, &cost, reterr) != 0) return -1;
    }
    return 0;
}

static int mutate_binding(struct admission_attributes *a, const struct admissionregistrationv1_MutatingAdmissionPolicy *p, const struct admissionregistrationv1_MutatingAdmissionPolicyBinding *b, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct params params = {0};
    bool match;
    const char *why = NULL;
    if (matches(a, b->spec.matchResources, false, &match, &err) != 0) why = arena_strdup(a->r->arena, status_message(&err));
    else if (!match) return 0;
    else why = collect(a, p->spec.paramKind, b->spec.paramRef, &params);
    for (size_t i = 0; !why && i < params.len; i++)
        if (mutate_with(a, p, &params.items[i], &err) != 0) why = arena_strdup(a->r->arena, status_message(&err));
    if (!why || ignores(p->spec.failurePolicy)) return 0;
    return admission_refuse(a, 422, REASON_INVALID, arena_printf(a->r->arena, "policy '%s' with binding '%s' denied request: %s", p->metadata.name, b->metadata.name, why), reterr);
}

static int mutate_all(struct admission_attributes *a, struct status *reterr) {
    const struct registered_objects *policies = registered_of(a->registered, MUTATING_POLICIES), *bindings = registered_of(a->registered, MUTATING_BINDINGS);
    admission_reinvocation_begin(a, &a->policies);
    for (size_t i = 0; a->obj && i < policies->len; i++) {
        const struct admissionregistrationv1_MutatingAdmissionPolicy *p = policies->items[i];
        bool match;
        if (matches(a, p->spec.matchConstraints, true, &match, NULL) != 0 || !match) continue;
        for (size_t j = 0; j < bindings->len; j++) {
            const struct admissionregistrationv1_MutatingAdmissionPolicyBinding *b = bindings->items[j];
            const char *name = arena_printf(a->r->arena, "%s/%s", p->metadata.name, b->metadata.name);
            if (!str_eq(b->spec.policyName, p->metadata.name) || admission_reinvocation_skips(a, &a->policies, name)) continue;
            yyjson_val *before = admission_object(a);
            if (mutate_binding(a, p, b, reterr) != 0) return -1;
            admission_reinvocation_done(a, &a->policies, name, !json_equal(before, admission_object(a)), str_eq(p->spec.reinvocationPolicy, "IfNeeded"));
        }
    }
    if (a->policies.invoked.len) a->policies.last = admission_object(a);
    return 0;
}

int mutating_policies(struct admission_attributes *a, void *state, struct status *reterr) {
    if (admission_is_exempt(a) || !(a->registered = registrations_get(state, MUTATING_POLICIES))) return 0;
    int result = mutate_all(a, reterr);
    registered_put(a->registered);
    a->registered = NULL;
    return result;
}
