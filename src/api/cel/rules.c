#include "api/cel/rules.h"
#include <string.h>
#include "api/cel/cost.h"
#include "base/str.h"
#include "wire/json.h"

struct compiled {
    const struct apiextensionsv1_ValidationRule *rule;
    struct cel_program *program, *message;
    const char *error;
    bool uses_old;
};
struct cel_rules { struct compiled *items; size_t len; };

static const char *trimmed(struct arena *a, const char *s) {
    s = str_or(s, "");
    s += strspn(s, " \t\r\n");
    size_t len = strlen(s);
    while (len && strchr(" \t\r\n", s[len - 1])) len--;
    return arena_strndup(a, s, len);
}

static struct compiled compile(struct arena *a, const struct structural *s, bool root, const struct apiextensionsv1_ValidationRule *rule, const char **message_error) {
    const struct cel_type *self = cel_type_of_schema(a, s, root || s->embedded), *old;
    struct compiled c = {.rule = rule};
    if (!self) self = &cel_dyn;
    old = rule->optionalOldSelf.has && rule->optionalOldSelf.value ? arena_memdup(a, &(struct cel_type){.kind = CEL_OPTIONAL, .elem = self}, sizeof(*self)) : self;
    const struct cel_variable variables[] = {{"self", self}, {"oldSelf", old}, {NULL, NULL}};
    const struct cel_env env = {.variables = variables};
    const char *why = NULL;
    if (!*trimmed(a, rule->rule)) return c; /* that it says nothing is told elsewhere */
    c.program = cel_compile(a, &env, rule->rule, CEL_BOOL, &why);
    if (!c.program) c.error = str_has_prefix(why, "must evaluate") ? "cel expression must evaluate to a bool" : arena_printf(a, "compilation failed: %s", why);
    else c.uses_old = cel_program_uses(c.program, "oldSelf");
    if (!c.program || str_empty(rule->messageExpression)) return c;
    c.message = cel_compile(a, &env, rule->messageExpression, CEL_STRING, &why);
    if (!c.message) *message_error = str_has_prefix(why, "must evaluate") ? "messageExpression must evaluate to a string" : arena_printf(a, "messageExpression compilation failed: %s", why);
    return c;
}

static const char *rule_text(struct arena *a, const struct apiextensionsv1_ValidationRule *r) {
    struct buf out = BUF_INIT;
    buf_append_str(&out, "{\"Rule\":");
    json_write_string(&out, r->rule);
    buf_append_str(&out, ",\"Message\":");
    json_write_string(&out, r->message);
    buf_append_str(&out, ",\"MessageExpression\":");
    json_write_string(&out, r->messageExpression);
    buf_append_str(&out, ",\"Reason\":");
    if (r->reason) json_write_string(&out, r->reason);
    else buf_append_str(&out, "null");
    buf_append_str(&out, ",\"FieldPath\":");
    json_write_string(&out, r->fieldPath);
    buf_printf(&out, ",\"OptionalOldSelf\":%s}", !r->optionalOldSelf.has ? "null" : r->optionalOldSelf.value ? "true" : "false");
    const char *text = arena_strdup(a, out.data);
    buf_release(&out);
    return text;
}

/* ---- costs ---- */

static const char *excess(struct arena *a, const char *what, uint64_t cost, uint64_t limit) {
    double factor = (double)cost / (double)limit;
    const char *times = factor > 100 ? "more than 100x" : factor < 1.5 ? arena_printf(a, "%fx", factor) : arena_printf(a, "%.1fx", factor);
    return arena_printf(a, "%s exceeds budget by factor of %s (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)", what, times);
}

static void observe(struct cel_total_cost *t, struct arena *a, const struct field_path *at, uint64_t cost) {
    size_t i = t->len;
    t->total = t->total > UINT64_MAX - cost ? UINT64_MAX : t->total + cost;
    if (cost < CEL_SCHEMA_COST_LIMIT / 100) return;
    while (i && t->expensive[i - 1].cost < cost) i--;
    if (i == CEL_EXPENSIVE_MAX) return;
    if (t->len < CEL_EXPENSIVE_MAX) t->len++;
    memmove(&t->expensive[i + 1], &t->expensive[i], (t->len - i - 1) * sizeof(t->expensive[0]));
    t->expensive[i].path = field_path_string(a, at);
    t->expensive[i].cost = cost;
}

static void check_cost(const struct cel_rule_place *place, const char *what, uint64_t cost, const struct field_path *at, struct field_errors *errs) {
    if (!place->costs_accepted && cost > CEL_RULE_COST_LIMIT) field_forbidden(errs, at, "%s", excess(errs->arena, what, cost, CEL_RULE_COST_LIMIT));
    if (place->total) observe(place->total, errs->arena, at, cost);
}

void cel_check_total_cost(const struct cel_total_cost *t, const struct field_path *at, struct field_errors *errs) {
    if (t->total <= CEL_SCHEMA_COST_LIMIT) return;
    for (size_t i = 0; i < t->len; i++) field_forbidden(errs, FIELD(NULL, t->expensive[i].path), "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
    field_forbidden(errs, at, "%s", excess(errs->arena, "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", t->total, CEL_SCHEMA_COST_LIMIT));
}

/* Of one rule: how often it may run counts; what it says when it fails is said once. */
static void check_costs(const struct structural *s, const struct cel_rule_place *place, const struct compiled *c, const struct field_path *at, struct field_errors *errs) {
    const struct cel_bounds *bounds = cel_bounds_of_schema(errs->arena, s, place->root || s->embedded);
    if (!bounds) return;
    uint64_t times = place->bounded ? place->cardinality : cel_max_cardinality(bounds), cost = c->program ? cel_max_cost(errs->arena, c->program, bounds, NULL) : 0;
    check_cost(place, "estimated rule cost", times && cost > UINT64_MAX / times ? UINT64_MAX : cost * times, FIELD(at, "rule"), errs);
    if (c->message) check_cost(place, "estimated messageExpression cost", cel_max_cost(errs->arena, c->message, bounds, NULL), FIELD(at, "messageExpression"), errs);
}

void cel_check_rule(const struct structural *s, const struct cel_rule_place *place, const struct apiextensionsv1_ValidationRule *rule, const struct field_path *at, struct field_errors *errs) {
    const char *message_error = NULL;
    const struct field_path *uncorrelatable = place->uncorrelatable;
    struct compiled c = compile(errs->arena, s, place->root, rule, &message_error);
    check_costs(s, place, &c, at, errs);
    if (c.error) field_invalid_raw(errs, FIELD(at, "rule"), rule_text(errs->arena, rule), "%s", c.error);
    if (message_error) field_invalid_raw(errs, FIELD(at, "messageExpression"), rule_text(errs->arena, rule), "%s", message_error);
    if (c.uses_old && uncorrelatable) field_invalid(errs, FIELD(at, "rule"), rule->rule, "oldSelf cannot be used on the uncorrelatable portion of the schema within %s", field_path_string(errs->arena, uncorrelatable));
    else if (!c.uses_old && rule->optionalOldSelf.has) field_invalid_bool(errs, FIELD(at, "optionalOldSelf"), rule->optionalOldSelf.value, "may not be set if oldSelf is not used in rule");
}

void cel_rules_compile(struct arena *a, struct structural *s, bool root) {
    const struct apiextensionsv1_ValidationRule_list *rules = &s->props->x_kubernetes_validations;
    const char *ignored;
    if (!s->has_rules) return;
    if (rules->len && !s->rules) {
        struct cel_rules *c = ARENA_NEW(a, struct cel_rules);
        for (size_t i = 0; i < rules->len; i++) *LIST_PUSH(a, c) = compile(a, s, root, &rules->items[i], &ignored);
        s->rules = c;
    }
    if (s->items) cel_rules_compile(a, s->items, false);
    if (s->additional) cel_rules_compile(a, s->additional, false);
    for (size_t i = 0; i < s->properties.len; i++) cel_rules_compile(a, s->properties.items[i], false);
}

/* ---- running ---- */

struct runner { struct field_errors *errs, *passed; uint64_t left; bool over; };

static const char *shown(const struct apiextensionsv1_ValidationRule *r, struct arena *a) { return trimmed(a, str_empty(r->message) ? r->rule : r->message); }

static void refuse(struct field_errors *errs, const struct structural *s, const struct compiled *c, yyjson_val *x, const char *detail, const struct field_path *at) {
    struct arena *a = errs->arena;
    const char *path = str_or(c->rule->fieldPath, ""), *reason = str_or(c->rule->reason, "FieldValueInvalid"), *value = yyjson_is_str(x) ? go_quote(a, yyjson_get_str(x)) : json_text(a, x);
    bool omit = str_eq(s->props->type, "object") || str_eq(s->props->type, "array");
    static const struct field_path nowhere = {NULL, "<nil>", 0, false};
    const struct field_path inner = {at, *path == '.' ? path + 1 : path, 0, false};
    if (*path) at = &inner;
    if (!at) at = &nowhere;
    if (strcmp(reason, "FieldValueForbidden") == 0) field_forbidden(errs, at, "%s", detail);
    else if (strcmp(reason, "FieldValueRequired") == 0) field_required(errs, at, "%s", detail);
    else if (strcmp(reason, "FieldValueDuplicate") == 0 && omit) field_error_add(errs, reason, at, "Duplicate value");
    else if (strcmp(reason, "FieldValueDuplicate") == 0) field_duplicate_raw(errs, at, value);
    else if (omit) field_error_add(errs, "FieldValueInvalid", at, "Invalid value: %s", detail);
    else field_invalid_raw(errs, at, value, "%s", detail);
}

static const char *message_of(struct runner *r, struct arena *a, const struct compiled *c, const struct cel_activation *act) {
    uint64_t cost = 0;
    if (c->message) {
        struct cel_value v = cel_eval(a, c->message, act, MIN(r->left, CEL_COST_PER_CALL), &cost);
        r->left -= MIN(cost, r->left);
        const char *text = v.kind == CEL_STRING ? trimmed(a, arena_strndup(a, v.str.s, v.str.len)) : "";
        if (*text && !strpbrk(text, "\r\n") && strlen(text) <= 5000) return text;
    }
    return str_empty(c->rule->message) ? arena_printf(a, "failed rule: %s", trimmed(a, c->rule->rule)) : trimmed(a, c->rule->message);
}

static void failed(struct runner *r, const struct structural *s, const struct compiled *c, const char *why, const struct field_path *at) {
    struct arena *a = r->errs->arena;
    static const struct field_path nowhere = {NULL, "<nil>", 0, false};
    const char *type = str_or(s->props->type, ""), *rule = shown(c->rule, a);
    if (!at) at = &nowhere;
    if (str_has_prefix(why, "no such overload")) field_invalid(r->errs, at, type, "'%s': call arguments did not match a supported operator, function or macro signature for rule: %s", why, rule);
    else if (str_has_prefix(why, "operation cancelled")) {
        field_invalid(r->errs, at, type, "'%s': no further validation rules will be run due to call cost exceeds limit for rule: %s", why, rule);
        r->over = true;
    } else field_invalid(r->errs, at, type, "%s evaluating rule: %s", why, rule);
}

static void run_rule(struct runner *r, const struct structural *s, const struct compiled *c, yyjson_val *x, yyjson_val *old, bool same, const struct field_path *at) {
    _cleanup_arena_ struct arena *a = arena_new();
    bool optional = c->rule->optionalOldSelf.has && c->rule->optionalOldSelf.value;
    struct cel_value before = old ? cel_from_json(a, old, s) : (struct cel_value){.kind = CEL_NULL};
    if (c->error) {
        field_invalid(r->errs, at ? at : FIELD(NULL, "<nil>"), str_or(s->props->type, ""), "rule compile error: %s", c->error);
        return;
    }
    if (!c->program || (c->uses_old && !old && !optional)) return;
    if (optional) before = (struct cel_value){.kind = CEL_OPTIONAL, .opt = old ? arena_memdup(a, &before, sizeof(before)) : NULL};
    const struct cel_binding bindings[] = {{"self", cel_from_json(a, x, s)}, {"oldSelf", before}, {NULL, {.kind = CEL_NULL}}};
    const struct cel_activation act = {.bindings = bindings};
    uint64_t cost = 0;
    struct cel_value v = cel_eval(a, c->program, &act, CEL_COST_PER_CALL, &cost);
    if (cost > r->left) {
        field_invalid(r->errs, at ? at : FIELD(NULL, "<nil>"), str_or(s->props->type, ""), "validation failed due to running out of cost budget, no further validation rules will be run");
        r->over = true;
        return;
    }
    r->left -= cost;
    if (v.kind == CEL_ERROR) failed(r, s, c, v.str.s, at);
    else if (v.kind != CEL_BOOL) failed(r, s, c, "no such overload", at);
    else if (!v.b) {
        struct field_errors *to = c->uses_old || !same ? r->errs : r->passed;
        if (to) refuse(to, s, c, x, arena_strdup(to->arena, message_of(r, a, c, &act)), at);
    }
}

static bool keys_equal(const struct structural *s, yyjson_val *a, yyjson_val *b) {
    const struct string_list *keys = &s->props->x_kubernetes_list_map_keys;
    for (size_t i = 0; i < keys->len; i++)
        if (!json_equal(yyjson_obj_get(a, keys->items[i]), yyjson_obj_get(b, keys->items[i]))) return false;
    return true;
}

static yyjson_val *old_item(const struct structural *s, yyjson_val *old, yyjson_val *item) {
    size_t i, n;
    yyjson_val *o;
    if (s->list_type != LIST_MAP || !yyjson_is_arr(old)) return NULL;
    yyjson_arr_foreach(old, i, n, o) if (keys_equal(s, o, item)) return o;
    return NULL;
}

/* `was`: what the value was, as far as it can be told; `old`, what rules may see of that: not within maps that are replaced whole.
 * `same`: the value, or one that it lies in, is as it was: then only rules about changes count. */
struct past { yyjson_val *was, *old; bool same; };

static void run(struct runner *r, const struct structural *s, yyjson_val *x, struct past past, bool root, const struct field_path *at) {
    size_t i, n;
    yyjson_val *key, *value;
    if (!s || !s->has_rules || yyjson_is_null(x) || r->over) return;
    if (yyjson_is_null(past.old)) past.old = NULL;
    if (past.was) past.same = json_equal(x, past.was);
    for (i = 0; s->rules && i < s->rules->len && !r->over; i++) run_rule(r, s, &s->rules->items[i], x, past.old, past.same, at);
    if (yyjson_is_arr(x)) yyjson_arr_foreach(x, i, n, value) run(r, s->items, value, (struct past){old_item(s, past.was, value), old_item(s, past.old, value), past.same}, false, FIELD_INDEX(at, i));
    if (!yyjson_is_obj(x)) return;
    yyjson_obj_foreach(x, i, n, key, value) {
        const char *k = yyjson_get_str(key);
        const struct structural *p = structural_property(s, k);
        bool is_type = root && (strcmp(k, "apiVersion") == 0 || strcmp(k, "kind") == 0);
        struct past inner = {is_type ? NULL : yyjson_obj_get(past.was, k), s->map_atomic ? NULL : yyjson_obj_get(past.old, k), past.same && !is_type};
        run(r, p ? p : s->additional, value, inner, false, p ? FIELD(at, k) : FIELD_KEY(at, k));
    }
}

void structural_validate_rules(const struct structural *s, yyjson_val *x, yyjson_val *old, const struct field_path *at, struct field_errors *errs, struct field_errors *passed) {
    struct runner r = {errs, passed, CEL_COST_BUDGET, false};
    run(&r, s, x, (struct past){old, old, false}, true, at);
}
