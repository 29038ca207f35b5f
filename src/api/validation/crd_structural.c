/* Whether a schema is structural: every field that is validated is also specified, with a type, outside of any combination. Upstream: pkg/apiserver/schema/validation.go. */
#include <string.h>
#include "api/validation/crd.h"
#include "base/str.h"
#include "wire/json.h"

enum level { ROOT, ITEM, VALUE };

static void check_value(const struct structural *s, bool skip_any, bool skip_first_all_any, const struct field_path *at, struct field_errors *errs);

/* One branch of a combination: it may restrict values, not structure. */
static void check_nested(const struct structural *s, bool skip_any, bool skip_first, const struct field_path *at, struct field_errors *errs) {
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    check_value(s, skip_any, skip_first, at, errs);
    if (s->items) check_nested(s->items, false, false, FIELD(at, "items"), errs);
    for (size_t i = 0; i < s->properties.len; i++) check_nested(s->properties.items[i], false, false, FIELD_KEY(FIELD(at, "properties"), s->properties.names[i]), errs);
    if (!str_empty(p->type)) field_forbidden(errs, FIELD(at, "type"), "must be empty to be structural");
    if (s->has_additional) field_forbidden(errs, FIELD(at, "additionalProperties"), "must be undefined to be structural");
    if (s->default_) field_forbidden(errs, FIELD(at, "default"), "must be undefined to be structural");
    if (!str_empty(p->title)) field_forbidden(errs, FIELD(at, "title"), "must be empty to be structural");
    if (!str_empty(p->description)) field_forbidden(errs, FIELD(at, "description"), "must be empty to be structural");
    if (p->nullable) field_forbidden(errs, FIELD(at, "nullable"), "must be false to be structural");
    if (s->preserve) field_forbidden(errs, FIELD(at, "x-kubernetes-preserve-unknown-fields"), "must be false to be structural");
    if (s->embedded) field_forbidden(errs, FIELD(at, "x-kubernetes-embedded-resource"), "must be false to be structural");
    if (s->int_or_string) field_forbidden(errs, FIELD(at, "x-kubernetes-int-or-string"), "must be false to be structural");
    if (p->x_kubernetes_list_map_keys.len) field_forbidden(errs, FIELD(at, "x-kubernetes-list-map-keys"), "must be empty to be structural");
    if (p->x_kubernetes_list_type) field_forbidden(errs, FIELD(at, "x-kubernetes-list-type"), "must be undefined to be structural");
    if (p->x_kubernetes_map_type) field_forbidden(errs, FIELD(at, "x-kubernetes-map-type"), "must be undefined to be structural");
    if (p->x_kubernetes_validations.len) field_forbidden(errs, FIELD(at, "x-kubernetes-validations"), "must be empty to be structural");
    if (structural_property(s, "metadata")) field_forbidden(errs, FIELD_KEY(FIELD(at, "properties"), "metadata"), "must not be specified in a nested context");
}

static bool only_type(const struct structural *s, const char *type) {
    struct apiextensionsv1_JSONSchemaProps bare = {.type = type};
    return object_equal(&apiextensionsv1_JSONSchemaProps_desc, s->props, &bare);
}

/* anyOf [integer, string]: the form in which int-or-string may say so. */
static bool int_or_string_any(const struct structural *s) { return s->any_of.len == 2 && only_type(s->any_of.items[0], "integer") && only_type(s->any_of.items[1], "string"); }

static void check_value(const struct structural *s, bool skip_any, bool skip_first_all_any, const struct field_path *at, struct field_errors *errs) {
    const char *why = NULL;
    for (size_t i = 0; !skip_any && i < s->any_of.len; i++) check_nested(s->any_of.items[i], false, false, FIELD_INDEX(FIELD(at, "anyOf"), i), errs);
    for (size_t i = 0; i < s->all_of.len; i++) check_nested(s->all_of.items[i], skip_first_all_any && i == 0, false, FIELD_INDEX(FIELD(at, "allOf"), i), errs);
    for (size_t i = 0; i < s->one_of.len; i++) check_nested(s->one_of.items[i], false, false, FIELD_INDEX(FIELD(at, "oneOf"), i), errs);
    if (s->not_) check_nested(s->not_, false, false, FIELD(at, "not"), errs);
    if (!str_empty(s->props->pattern) && !s->pattern) {
        regex_compile(errs->arena, s->props->pattern, &why);
        field_invalid(errs, FIELD(at, "pattern"), s->props->pattern, "must be a valid regular expression, but isn't: %s", why);
    }
}

static void check_type(const struct structural *s, enum level level, const struct field_path *at, struct field_errors *errs) {
    static const char *const missing[] = {"must not be empty at the root", "must not be empty for specified array items", "must not be empty for specified object fields"};
    const char *type = s->props->type;
    const struct field_path *f = FIELD(at, "type");
    if (s->embedded && !str_eq(type, "object")) {
        if (str_empty(type)) field_required(errs, f, "must be object if x-kubernetes-embedded-resource is true");
        else field_invalid(errs, f, type, "must be object if x-kubernetes-embedded-resource is true");
    } else if (str_empty(type) && !s->int_or_string && !s->preserve) field_required(errs, f, "%s", missing[level]);
    if (s->embedded && s->has_additional) field_forbidden(errs, FIELD(at, "additionalProperties"), "must not be used if x-kubernetes-embedded-resource is set");
    if (level == ROOT && !str_empty(type) && !str_eq(type, "object")) field_invalid(errs, f, type, "must be object at the root");
}

/* metadata at the root may say something of name and generateName only. */
static void check_metadata(const struct structural *m, bool checked, enum level level, const struct field_path *at, struct field_errors *errs) {
    if (checked && !str_eq(m->props->type, "object")) field_invalid(errs, FIELD(at, "type"), str_or(m->props->type, ""), "must be object");
    if (level != ROOT) return;
    struct apiextensionsv1_JSONSchemaProps rest = *m->props;
    bool names = m->properties.len > 0;
    for (size_t i = 0; i < m->properties.len; i++) names &= strcmp(m->properties.names[i], "name") == 0 || strcmp(m->properties.names[i], "generateName") == 0;
    rest.type = NULL;
    rest.default_ = (struct raw_json){0};
    if (names) rest.properties.len = 0;
    if (!object_is_zero(&apiextensionsv1_JSONSchemaProps_desc, &rest)) field_forbidden(errs, at, "must not specify anything other than name and generateName, but metadata is implicitly specified");
}

static void check_type_meta(const struct structural *s, const char *name, const struct field_path *at, struct field_errors *errs) {
    const struct structural *p = structural_property(s, name);
    if (p && !str_eq(p->props->type, "string")) field_invalid(errs, FIELD(FIELD_KEY(FIELD(at, "properties"), name), "type"), str_or(p->props->type, ""), "must be string");
}

static void check_invariants(const struct structural *s, enum level level, const struct field_path *at, struct field_errors *errs) {
    if (str_eq(s->props->type, "array") && !s->items && !s->items_list.len) field_required(errs, FIELD(at, "items"), "must be specified");
    if (s->items) check_invariants(s->items, ITEM, FIELD(at, "items"), errs);
    for (size_t i = 0; i < s->properties.len; i++) check_invariants(s->properties.items[i], VALUE, FIELD_KEY(FIELD(at, "properties"), s->properties.names[i]), errs);
    if (s->has_additional && level == ROOT) field_forbidden(errs, FIELD(at, "additionalProperties"), "must not be used at the root");
    if (s->additional) check_invariants(s->additional, VALUE, FIELD(at, "additionalProperties"), errs);
    if (s->int_or_string && s->preserve) field_invalid_bool(errs, FIELD(at, "x-kubernetes-preserve-unknown-fields"), true, "must be false if x-kubernetes-int-or-string is true");
    if (s->int_or_string && s->embedded) field_invalid_bool(errs, FIELD(at, "x-kubernetes-embedded-resource"), true, "must be false if x-kubernetes-int-or-string is true");
    check_value(s, int_or_string_any(s), s->all_of.len && int_or_string_any(s->all_of.items[0]), at, errs);
    check_type(s, level, at, errs);
    bool meta = level == ROOT || s->embedded;
    if (meta) check_type_meta(s, "kind", at, errs);
    if (meta) check_type_meta(s, "apiVersion", at, errs);
    const struct structural *metadata = structural_property(s, "metadata");
    if (metadata) check_metadata(metadata, meta, level, FIELD_KEY(FIELD(at, "properties"), "metadata"), errs);
    if (s->embedded && !s->preserve && !s->properties.len) field_required(errs, FIELD(at, "properties"), "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
}

/* ---- completeness: what a combination restricts is specified outside ---- */

static void check_complete(const struct structural *branch, const struct structural *s, const struct field_path *at, const struct field_path *main, struct field_errors *errs) {
    struct structural_list lists[] = {branch->all_of, branch->any_of, branch->one_of};
    static const char *const names[] = {"allOf", "anyOf", "oneOf"};
    for (size_t l = 0; l < 3; l++)
        for (size_t i = 0; i < lists[l].len; i++) check_complete(lists[l].items[i], s, FIELD_INDEX(FIELD(at, names[l]), i), main, errs);
    if (branch->not_) check_complete(branch->not_, s, FIELD(at, "not"), main, errs);
    if (branch == s) return;
    char *where = field_path_string(errs->arena, at);
    if (branch->items && !s->items) field_required(errs, FIELD(main, "items"), "because it is defined in %s", field_path_string(errs->arena, FIELD(at, "items")));
    else if (branch->items) check_complete(branch->items, s->items, FIELD(at, "items"), FIELD(main, "items"), errs);
    for (size_t i = 0; i < branch->properties.len; i++) {
        const struct structural *p = structural_property(s, branch->properties.names[i]);
        const struct field_path *there = FIELD_KEY(FIELD(main, "properties"), branch->properties.names[i]), *here = FIELD_KEY(FIELD(at, "properties"), branch->properties.names[i]);
        if (!p) field_required(errs, there, "because it is defined in %s", arena_printf(errs->arena, "%s.properties[%s]", where, branch->properties.names[i]));
        else check_complete(branch->properties.items[i], p, here, there, errs);
    }
}

static int compare_errors(const void *x, const void *y) {
    const struct field_error *a = x, *b = y;
    _cleanup_buf_ struct buf ta = BUF_INIT, tb = BUF_INIT;
    buf_printf(&ta, "%s: %s", a->field, a->detail);
    buf_printf(&tb, "%s: %s", b->field, b->detail);
    return strcmp(ta.data, tb.data);
}

void validate_structural(const struct structural *s, const struct field_path *at, struct field_errors *errs) {
    struct field_errors found = field_errors_in(errs->arena);
    check_invariants(s, ROOT, at, &found);
    check_complete(s, s, at, at, &found); /* upstream looks at the root's combinations only */
    if (found.len) qsort(found.items, found.len, sizeof(*found.items), compare_errors);
    field_errors_append(errs, &found);
}

/* ---- defaults ---- */

/* `embedded`: as an object of its own, with kind and apiVersion. */
static void check_default(const struct structural *s, bool embedded, const struct field_path *at, struct field_errors *errs) {
    struct arena *a = errs->arena;
    struct status err = STATUS_INIT;
    struct field_errors found = field_errors_in(a);
    yyjson_mut_doc *doc = json_mut_new(a, s->default_);
    struct buf text = BUF_INIT;
    structural_prune(a, s, yyjson_mut_doc_get_root(doc), embedded, NULL);
    json_write_sorted(&text, yyjson_mut_doc_get_root(doc));
    const char *value = yyjson_is_str(s->default_) ? go_quote(a, yyjson_get_str(s->default_)) : json_text(a, s->default_);
    yyjson_doc *pruned = json_parse_in(a, text.data, text.len, 0, NULL);
    if (!json_equal(yyjson_doc_get_root(pruned), s->default_)) field_invalid_raw(errs, at, value, "must not have unknown fields");
    buf_release(&text);
    if (structural_coerce(a, doc, s, yyjson_mut_doc_get_root(doc), embedded, NULL, &err) != 0) field_invalid_raw(errs, at, value, "%s", status_message(&err));
    else {
        structural_validate_embedded(s, s->default_, embedded, at, &found);
        if (!found.len) structural_validate_default(s, s->default_, at, &found);
        if (!found.len && s->has_rules) structural_validate_rules(s, s->default_, NULL, at, &found, NULL);
        field_errors_append(errs, &found);
    }
    status_release(&err);
}

static void check_defaults(const struct structural *s, bool root, bool inside_meta, const struct field_path *at, struct field_errors *errs) {
    bool embedded = root || s->embedded;
    if (embedded) inside_meta = false;
    if (s->default_ && inside_meta) structural_validate_default(s, s->default_, FIELD(at, "default"), errs);
    else if (s->default_) check_default(s, embedded, FIELD(at, "default"), errs);
    if (s->items) check_defaults(s->items, false, inside_meta, FIELD(at, "items"), errs);
    for (size_t i = 0; i < s->properties.len; i++) {
        const char *k = s->properties.names[i];
        bool meta = inside_meta || (embedded && (strcmp(k, "metadata") == 0 || strcmp(k, "apiVersion") == 0 || strcmp(k, "kind") == 0));
        check_defaults(s->properties.items[i], false, meta, FIELD_KEY(FIELD(at, "properties"), k), errs);
    }
}

void validate_structural_defaults(const struct structural *s, const struct field_path *at, struct field_errors *errs) { check_defaults(s, true, false, at, errs); }

/* ---- paths into a schema ---- */

/* The next of a path's parts: a dot, a bracket, a quoted string with its quotes, or what lies between them. NULL at the end. */
static const char *path_token(struct arena *a, const char **path) {
    const char *p = *path;
    size_t len = 1;
    if (!*p) return NULL;
    if (*p == '\'') {
        while (p[len] && !(p[len] == '\'' && p[len - 1] != '\\')) len++;
        len += p[len] == '\'';
    } else if (!strchr(".[]", *p)) len = strcspn(p, ".[]");
    *path += len;
    return arena_strndup(a, p, len);
}

static const char *unquote(struct arena *a, const char *quoted, const char **ret_error) {
    static const char from[] = "abfnrtv'\\", to[] = "\a\b\f\n\r\t\v'\\";
    size_t len = strlen(quoted), n = 0;
    if (len < 2 || quoted[0] != '\'' || quoted[len - 1] != '\'') {
        *ret_error = arena_printf(a, "expected single quoted string but got %s", quoted);
        return NULL;
    }
    char *out = arena_strndup(a, quoted + 1, len - 2);
    for (const char *p = out; *p; p++) {
        const char *escape = *p == '\\' && p[1] ? strchr(from, p[1]) : NULL;
        if (*p == '\\' && p[1] && !escape) *ret_error = arena_printf(a, "invalid string literal: invalid escape char %.2s", p);
        if (escape) p++;
        out[n++] = escape ? to[escape - from] : *p;
    }
    out[n] = 0;
    return out;
}

/* The name that follows a dot or stands in brackets; *path moves behind it. */
static const char *path_name(struct arena *a, const char *token, const char **path, bool array_notation, const char **ret_error) {
    bool dot = strcmp(token, ".") == 0;
    if (!dot && strcmp(token, "[") != 0) *ret_error = arena_printf(a, "expected [ or . but got: %s", token);
    else if (!dot && !array_notation) *ret_error = "array notation is not allowed";
    else if (!(token = path_token(a, path))) *ret_error = "unexpected end of JSON path";
    if (*ret_error) return NULL;
    return dot ? token : unquote(a, token, ret_error);
}

const struct structural *structural_field_path(struct arena *a, const struct structural *s, const char *path, bool array_notation, const char **ret_error) {
    const char *token;
    *ret_error = NULL;
    while (!*ret_error && (token = path_token(a, &path))) {
        bool bracket = strcmp(token, "[") == 0;
        const char *name = path_name(a, token, &path, array_notation, ret_error);
        if (*ret_error) break;
        const struct structural *next = s && s->properties.len ? structural_property(s, name) : s ? s->additional : NULL;
        if (!s || (s->properties.len ? !next : !s->has_additional)) *ret_error = "does not refer to a valid field";
        else if (bracket && !(token = path_token(a, &path))) *ret_error = "unexpected end of JSON path";
        else if (bracket && strcmp(token, "]") != 0) *ret_error = arena_printf(a, "expected ] but got %s", token);
        s = next;
    }
    return *ret_error ? NULL : s;
}

void structural_walk(const struct structural *s, void (*fn)(void *arg, const struct structural *s), void *arg) {
    if (!s) return;
    fn(arg, s);
    structural_walk(s->items, fn, arg);
    structural_walk(s->not_, fn, arg);
    structural_walk(s->additional, fn, arg);
    const struct structural_list *lists[] = {&s->items_list, &s->all_of, &s->any_of, &s->one_of};
    for (size_t l = 0; l < ARRAY_LEN(lists); l++)
        for (size_t i = 0; i < lists[l]->len; i++) structural_walk(lists[l]->items[i], fn, arg);
    for (size_t i = 0; i < s->properties.len; i++) structural_walk(s->properties.items[i], fn, arg);
}
