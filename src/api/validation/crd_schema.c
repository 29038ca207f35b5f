/* One schema of a CustomResourceDefinition: what OpenAPI allows of it, lists and maps, rules. Upstream: ValidateCustomResourceDefinitionOpenAPISchema. */
#include <string.h>
#include "api/cel/rules.h"
#include "api/validation/crd.h"
#include "base/str.h"
#include "wire/json.h"

/* What is known from above of the place at hand. */
struct place {
    bool root, inside_meta;
    const char *no_default;                  /* why defaults are forbidden here, or NULL */
    const struct field_path *uncorrelatable; /* the first schema above within which old and new values cannot be told to belong together */
    bool rules;                              /* rules are compiled here: not within combinations */
    bool bounded;                            /* all lists and maps above have a maximum; their product: */
    uint64_t cardinality;
    bool costs_accepted;
    struct cel_total_cost *total;
};

/* How often what is below a schema can be there for each time that it is itself. */
static void multiply_cardinality(const struct structural *s, struct place *below) {
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    bool list = str_eq(p->type, "array"), map = str_eq(p->type, "object") && s->has_additional;
    struct opt_int64 max = list ? p->maxItems : map ? p->maxProperties : (struct opt_int64)OPT(1);
    uint64_t times = max.has && max.value > 0 ? (uint64_t)max.value : 0;
    below->bounded = below->bounded && max.has;
    below->cardinality = times && below->cardinality > UINT64_MAX / times ? UINT64_MAX : below->cardinality * times;
}

static const char *quoted_list(struct arena *a, const struct string_list *list) {
    const char *text = "[";
    for (size_t i = 0; i < list->len; i++) text = arena_printf(a, "%s%s%s", text, i ? "," : "", go_quote(a, list->items[i]));
    return arena_printf(a, "%s]", text);
}

static void check_standard(const struct structural *s, const struct place *at, const struct field_path *path, struct field_errors *errs) {
    static const char *const types[] = {"array", "boolean", "integer", "number", "object", "string", NULL};
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    if (!str_empty(p->type) && !str_in(p->type, types)) field_not_supported(errs, FIELD(path, "type"), p->type, types);
    if (s->default_ && at->no_default) field_forbidden(errs, FIELD(path, "default"), "must not be set %s", at->no_default);
    if (!str_empty(p->id)) field_forbidden(errs, FIELD(path, "id"), "id is not supported");
    if (p->additionalItems.data) field_forbidden(errs, FIELD(path, "additionalItems"), "additionalItems is not supported");
    if (p->patternProperties.len) field_forbidden(errs, FIELD(path, "patternProperties"), "patternProperties is not supported");
    if (p->definitions.len) field_forbidden(errs, FIELD(path, "definitions"), "definitions is not supported");
    if (p->dependencies.items) field_forbidden(errs, FIELD(path, "dependencies"), "dependencies is not supported");
    if (p->_ref) field_forbidden(errs, FIELD(path, "$ref"), "$ref is not supported");
    if (str_eq(p->type, "null")) field_forbidden(errs, FIELD(path, "type"), "type cannot be set to null, use nullable as an alternative");
    if (s->items_list.len) field_forbidden(errs, FIELD(path, "items"), "items must be a schema object and not an array");
    if (at->inside_meta && s->embedded) field_forbidden(errs, FIELD(path, "x-kubernetes-embedded-resource"), "must not be used inside of resource meta");
    if (p->uniqueItems) field_forbidden(errs, FIELD(path, "uniqueItems"), "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
}

/* ---- list types ---- */

static void wrong_type_for(const char *type, const struct field_path *path, const char *text, struct field_errors *errs) {
    if (str_empty(type)) field_required(errs, FIELD(path, "type"), "%s", text);
    else field_invalid(errs, FIELD(path, "type"), type, "%s", text);
}

static void check_set_items(const struct structural *s, const struct field_path *path, struct field_errors *errs) {
    const struct apiextensionsv1_JSONSchemaProps *is = s->items->props;
    const struct field_path *items = FIELD(path, "items");
    if (str_eq(is->type, "array") && is->x_kubernetes_list_type && !str_eq(is->x_kubernetes_list_type, "atomic"))
        field_invalid(errs, FIELD(items, "x-kubernetes-list-type"), is->x_kubernetes_list_type, "must be atomic as item of a list with x-kubernetes-list-type=set");
    if (str_eq(is->type, "object") && !str_eq(is->x_kubernetes_map_type, "atomic")) {
        if (is->x_kubernetes_list_type) field_invalid(errs, FIELD(items, "x-kubernetes-map-type"), is->x_kubernetes_list_type, "must be atomic as item of a list with x-kubernetes-list-type=set");
        else field_invalid_raw(errs, FIELD(items, "x-kubernetes-map-type"), "null", "must be atomic as item of a list with x-kubernetes-list-type=set");
    }
}

static void check_map_keys(const struct structural *s, const struct field_path *path, struct field_errors *errs) {
    const struct string_list *keys = &s->props->x_kubernetes_list_map_keys;
    const struct field_path *f = FIELD(path, "x-kubernetes-list-map-keys");
    for (size_t i = 0; i < keys->len; i++) {
        const struct structural *k = structural_property(s->items, keys->items[i]);
        if (!k) field_invalid_raw(errs, f, quoted_list(errs->arena, keys), "entries must all be names of item properties");
        else if (str_eq(k->props->type, "array") || str_eq(k->props->type, "object"))
            field_invalid(errs, FIELD(FIELD_KEY(FIELD(FIELD(path, "items"), "properties"), keys->items[i]), "type"), s->items->props->type, "must be a scalar type if parent array's x-kubernetes-list-type is map");
        for (size_t j = 0; j < i; j++)
            if (str_eq(keys->items[i], keys->items[j])) {
                field_invalid_raw(errs, f, quoted_list(errs->arena, keys), "must not contain duplicate entries");
                break;
            }
    }
}

static void check_map_list(const struct structural *s, const struct field_path *path, struct field_errors *errs) {
    if (!s->props->x_kubernetes_list_map_keys.len) field_required(errs, FIELD(path, "x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map");
    if (!s->has_items) field_required(errs, FIELD(path, "items"), "must have a schema if x-kubernetes-list-type is map");
    else if (!s->items) field_invalid_raw(errs, FIELD(path, "items"), s->items_list.len ? "{}" : "{\"Schema\":null,\"JSONSchemas\":null}", "must only have a single schema if x-kubernetes-list-type is map");
    else if (!str_eq(s->items->props->type, "object")) field_invalid(errs, FIELD(FIELD(path, "items"), "type"), str_or(s->items->props->type, ""), "must be object if parent array's x-kubernetes-list-type is map");
    else check_map_keys(s, path, errs);
}

/* Items of sets and maps are never null, their keys always there. */
static void check_keys_there(const struct structural *s, const struct field_path *path, struct field_errors *errs) {
    if (!s->items || (s->list_type != LIST_SET && s->list_type != LIST_MAP)) return;
    const struct field_path *items = FIELD(path, "items");
    const struct string_list *keys = &s->props->x_kubernetes_list_map_keys;
    if (s->items->nullable) field_forbidden(errs, FIELD(items, "nullable"), "cannot be nullable when x-kubernetes-list-type is %s", s->props->x_kubernetes_list_type);
    for (size_t i = 0; s->list_type == LIST_MAP && i < keys->len; i++) {
        const struct structural *k = structural_property(s->items, keys->items[i]);
        const struct field_path *f = FIELD_KEY(FIELD(items, "properties"), keys->items[i]);
        if (!k) continue;
        if (!string_list_has(&s->items->props->required, keys->items[i]) && !k->default_)
            field_required(errs, FIELD(f, "default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
        if (k->nullable) field_forbidden(errs, FIELD(f, "nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
    }
}

static void check_marks(const struct structural *s, const struct field_path *path, struct field_errors *errs) {
    static const char *const map_types[] = {"atomic", "granular", NULL}, *const list_types[] = {"atomic", "set", "map", NULL};
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    const char *map = p->x_kubernetes_map_type, *list = p->x_kubernetes_list_type;
    if (p->x_kubernetes_preserve_unknown_fields.has && !p->x_kubernetes_preserve_unknown_fields.value) field_invalid_bool(errs, FIELD(path, "x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined");
    if (map && !str_eq(p->type, "object")) wrong_type_for(p->type, path, "must be object if x-kubernetes-map-type is specified", errs);
    if (map && !str_in(map, map_types)) field_not_supported(errs, FIELD(path, "x-kubernetes-map-type"), map, map_types);
    if (list && !str_eq(p->type, "array")) wrong_type_for(p->type, path, "must be array if x-kubernetes-list-type is specified", errs);
    else if (s->list_type == LIST_SET && s->items) check_set_items(s, path, errs);
    if (list && !str_in(list, list_types)) field_not_supported(errs, FIELD(path, "x-kubernetes-list-type"), list, list_types);
    if (p->x_kubernetes_list_map_keys.len && !list) field_required(errs, FIELD(path, "x-kubernetes-list-type"), "must be map if x-kubernetes-list-map-keys is non-empty");
    else if (p->x_kubernetes_list_map_keys.len && !str_eq(list, "map")) field_invalid(errs, FIELD(path, "x-kubernetes-list-type"), list, "must be map if x-kubernetes-list-map-keys is non-empty");
    if (s->list_type == LIST_MAP) check_map_list(s, path, errs);
    check_keys_there(s, path, errs);
}

/* ---- rules ---- */

static bool blank(const char *s) { return !s || !s[strspn(s, " \t\r\n\v\f")]; }
static bool has_newline(const char *s) { return s && strpbrk(s, "\n\r"); }

/* Line breaks at the ends do not count. */
static bool has_inner_newline(const char *s) {
    if (!s) return false;
    s += strspn(s, " \t\r\n\v\f");
    size_t len = strlen(s);
    while (len && strchr(" \t\r\n\v\f", s[len - 1])) len--;
    return memchr(s, '\n', len) || memchr(s, '\r', len);
}

static void check_rule_texts(const struct structural *s, const struct apiextensionsv1_ValidationRule *r, const struct field_path *at, struct field_errors *errs) {
    static const char *const reasons[] = {"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired", NULL};
    const char *why;
    if (blank(r->rule)) field_required(errs, FIELD(at, "rule"), "rule is not specified");
    else if (!str_empty(r->message) && blank(r->message)) field_invalid(errs, FIELD(at, "message"), r->message, "must be non-empty if specified");
    else if (has_inner_newline(r->message)) field_invalid(errs, FIELD(at, "message"), r->message, "must not contain line breaks");
    else if (has_inner_newline(r->rule) && blank(r->message)) field_required(errs, FIELD(at, "message"), "message must be specified if rule contains line breaks");
    if (!str_empty(r->messageExpression) && blank(r->messageExpression)) field_required(errs, FIELD(at, "messageExpression"), "messageExpression must be non-empty if specified");
    if (r->reason && !str_in(r->reason, reasons)) field_not_supported(errs, FIELD(at, "reason"), r->reason, reasons);
    if (!str_empty(r->fieldPath) && blank(r->fieldPath)) field_invalid(errs, FIELD(at, "fieldPath"), r->fieldPath, "must be non-empty if specified");
    if (has_newline(r->fieldPath)) field_invalid(errs, FIELD(at, "fieldPath"), r->fieldPath, "must not contain line breaks");
    if (str_empty(r->fieldPath) || structural_unsupported(s)) return;
    structural_field_path(errs->arena, s, r->fieldPath, true, &why);
    if (why) field_invalid(errs, FIELD(at, "fieldPath"), r->fieldPath, "must be a valid path");
}

/* schema errors and those of rules are kept apart: rules are compiled only below what is right, and are reported last. */
struct found { struct field_errors schema, rules; };

static void check(const struct structural *s, const struct place *at, const struct field_path *path, struct found *found);

static void check_list_of(const struct structural_list *list, const char *name, const struct place *at, const struct field_path *path, struct found *found) {
    for (size_t i = 0; i < list->len; i++) check(list->items[i], at, FIELD_INDEX(FIELD(path, name), i), found);
}

static void check_property(const struct structural *s, size_t i, const struct place *at, const struct place *inside, const struct field_path *path, struct found *found) {
    struct place below = *inside;
    const char *name = s->properties.names[i];
    bool meta = strcmp(name, "metadata") == 0 || strcmp(name, "kind") == 0 || strcmp(name, "apiVersion") == 0;
    if (s->map_atomic && !below.uncorrelatable) below.uncorrelatable = path;
    if ((at->root || s->embedded) && meta) {
        below.inside_meta = true;
        if (at->root) below.no_default = arena_printf(found->schema.arena, "in top-level %s", name);
    }
    check(s->properties.items[i], &below, FIELD_KEY(FIELD(path, "properties"), name), found);
}

static void check_below(const struct structural *s, const struct place *at, const struct field_path *path, struct found *found) {
    struct place below = *at, branch = *at;
    below.root = branch.root = branch.rules = false;
    multiply_cardinality(s, &below);
    if (s->has_additional) {
        struct place additional = below;
        if (s->properties.len && (!s->additional_allowed || s->additional)) field_forbidden(&found->schema, FIELD(path, "additionalProperties"), "additionalProperties and properties are mutual exclusive");
        if (at->inside_meta) additional.no_default = "inside additionalProperties applying to object metadata";
        if (s->additional) check(s->additional, &additional, FIELD(path, "additionalProperties"), found);
    }
    for (size_t i = 0; i < s->properties.len; i++) check_property(s, i, at, &below, path, found);
    if (s->not_) check(s->not_, &branch, FIELD(path, "not"), found);
    check_list_of(&s->all_of, "allOf", &branch, path, found);
    check_list_of(&s->one_of, "oneOf", &branch, path, found);
    check_list_of(&s->any_of, "anyOf", &branch, path, found);
    if (s->list_type != LIST_MAP && !below.uncorrelatable) below.uncorrelatable = path;
    if (s->items) check(s->items, &below, FIELD(path, "items"), found);
    check_list_of(&s->items_list, "items", &below, path, found);
}

static void check_rules(const struct structural *s, const struct place *at, const struct field_path *path, size_t errors_before, struct found *found) {
    const struct apiextensionsv1_ValidationRule_list *rules = &s->props->x_kubernetes_validations;
    const struct field_path *f = FIELD(path, "x-kubernetes-validations");
    for (size_t i = 0; i < rules->len; i++) check_rule_texts(s, &rules->items[i], FIELD_INDEX(f, i), &found->schema);
    if (found->schema.len != errors_before || !at->rules) return;
    const struct cel_rule_place place = {at->root, at->uncorrelatable, at->bounded, at->cardinality, at->costs_accepted, at->total};
    for (size_t i = 0; i < rules->len; i++) cel_check_rule(s, &place, &rules->items[i], FIELD_INDEX(f, i), &found->rules);
}

static void check(const struct structural *s, const struct place *at, const struct field_path *path, struct found *found) {
    size_t before = found->schema.len;
    check_standard(s, at, path, &found->schema);
    check_below(s, at, path, found);
    check_marks(s, path, &found->schema);
    if (s->props->x_kubernetes_validations.len) check_rules(s, at, path, before, found);
}

/* With a status subresource the root says nothing that would be lost when the status is validated by itself. */
static void check_status_root(const struct apiextensionsv1_JSONSchemaProps *p, const struct field_path *at, struct field_errors *errs) {
    struct apiextensionsv1_JSONSchemaProps rest = *p;
    if (!str_empty(p->type) && !str_eq(p->type, "object")) field_invalid(errs, FIELD(at, "type"), p->type, "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled");
    rest.description = rest.type = rest.format = rest.title = rest.pattern = NULL;
    rest.maximum.has = rest.minimum.has = rest.multipleOf.has = false;
    rest.exclusiveMaximum = rest.exclusiveMinimum = rest.uniqueItems = false;
    rest.maxLength.has = rest.minLength.has = rest.maxItems.has = rest.minItems.has = false;
    rest.required.len = rest.properties.len = rest.x_kubernetes_validations.len = 0;
    rest.items = rest.example = (struct raw_json){0};
    rest.externalDocs = NULL;
    rest.x_kubernetes_preserve_unknown_fields.has = false;
    if (!object_is_zero(&apiextensionsv1_JSONSchemaProps_desc, &rest))
        field_invalid_raw(errs, at, "{}", "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items "
                                          "Properties ExternalDocs Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled");
}

void validate_crd_schema(const struct apiextensionsv1_JSONSchemaProps *props, bool has_status, bool unchanged, const struct field_path *at, struct field_errors *errs) {
    struct structural *s;
    struct status err = STATUS_INIT;
    size_t before = errs->len;
    if (has_status) check_status_root(props, at, errs);
    if (props->nullable) field_forbidden(errs, FIELD(at, "nullable"), "nullable cannot be true at the root");
    if (structural_new(errs->arena, props, &s, &err) != 0) {
        field_invalid(errs, at, "", "%s", status_message(&err));
        status_release(&err);
        return;
    }
    size_t structure = errs->len;
    const char *unsupported = structural_unsupported(s); /* told only when nothing else is, since what is wrong with it mostly is told below */
    if (!unsupported) validate_structural(s, at, errs);
    if (!unsupported && errs->len == structure) {
        cel_rules_compile(errs->arena, s, true);
        validate_structural_defaults(s, at, errs);
    }
    struct found found = {field_errors_in(errs->arena), field_errors_in(errs->arena)};
    struct cel_total_cost total = {0};
    struct place place = {.root = true, .rules = !unsupported && errs->len == structure, .bounded = true, .cardinality = 1, .costs_accepted = unchanged, .total = &total};
    check(s, &place, at, &found);
    field_errors_append(errs, &found.schema);
    field_errors_append(errs, &found.rules);
    if (unsupported && errs->len == before) field_invalid(errs, at, "", "%s", unsupported);
    cel_check_total_cost(&total, at, errs);
}
