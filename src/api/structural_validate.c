/* Values against a schema, with the errors that kube-openapi's validators give and in their order: type, combinations, strings, formats, numbers, lists, enums, objects. */
#include <float.h>
#include <math.h>
#include <string.h>
#include "api/names.h"
#include "api/structural.h"
#include "api/validation/meta.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

/* What one schema said of one value. `matches` counts what went well: of several alternatives that all failed, the one that matched most is reported. */
struct result { struct field_errors errs; int matches; };
struct validator {
    struct arena *arena;
    const struct field_path *at;  /* put before every field; messages do without it */
    bool declared;                /* a default against the schema as it is declared: formats that are not known count, x-kubernetes-int-or-string does not */
};

/* What is said twice in the same words is said once. */
static void say_once(struct field_errors *errs) {
    size_t n = 0;
    for (size_t i = 0; i < errs->len; i++) {
        bool said = false;
        for (size_t j = 0; j < n && !said; j++) said = str_eq(errs->items[i].field, errs->items[j].field) && str_eq(errs->items[i].detail, errs->items[j].detail);
        if (!said) errs->items[n++] = errs->items[i];
    }
    errs->len = n;
}

static void merge(struct result *to, const struct result *from) {
    field_errors_append(&to->errs, &from->errs);
    if (from->errs.len && to->errs.len > from->errs.len) say_once(&to->errs);
    to->matches += from->matches;
}

static struct result fresh(const struct validator *v) { return (struct result){field_errors_in(v->arena), 0}; }

static const struct field_path nowhere = {NULL, "<nil>", 0, false};

/* The field of an error: what lies above and the path, which may begin with a dot. */
static const struct field_path *at_path(struct validator *v, const char *path) {
    if (*path == '.') path++;
    if (!*path) return v->at ? v->at : &nowhere;
    return arena_memdup(v->arena, &(const struct field_path){v->at, path, 0, false}, sizeof(struct field_path));
}

/* Errors that kube-openapi gives without a place. */
static void plain_error(struct validator *v, struct result *r, const char *text) {
    field_invalid(&r->errs, v->at ? v->at : &nowhere, "", "%s", text);
}

static bool is_int(yyjson_val *x) { return yyjson_is_sint(x) || (yyjson_is_uint(x) && yyjson_get_uint(x) <= INT64_MAX); }

static const char *kind_of(yyjson_val *x) {
    if (yyjson_is_str(x)) return "string";
    if (yyjson_is_bool(x)) return "boolean";
    if (yyjson_is_num(x)) return is_int(x) ? "integer" : "number";
    if (yyjson_is_arr(x)) return "array";
    return yyjson_is_obj(x) ? "object" : "null";
}

static bool wants(const struct validator *v, const struct structural *s, const char *type) {
    if (s->int_or_string && !v->declared) return strcmp(type, "integer") == 0 || strcmp(type, "string") == 0;
    return str_eq(s->props->type, type);
}

static const char *type_text(const struct validator *v, const struct structural *s) { return s->int_or_string && !v->declared ? "integer,string" : str_or(s->props->type, ""); }
static bool has_type(const struct validator *v, const struct structural *s) { return *type_text(v, s) != 0; }
static const char *format_of(const struct validator *v, const struct structural *s) { return !v->declared ? s->format : str_empty(s->props->format) ? NULL : s->props->format; }

/* swag.IsFloat64AJSONInteger: whole, or hardly more. */
static bool is_whole(double d) {
    if (!isfinite(d) || fabs(d) > 9007199254740991.0) return false;
    double low = trunc(d);
    return d == low || (low > 0 && (d - low) / (d + low) < 1e-9);
}

static void wrong_type(struct validator *v, struct result *r, const char *path, const char *want, const char *got) {
    field_type_invalid(&r->errs, at_path(v, path), go_quote(v->arena, got), "%s in body must be of type %s: %s", path, want, go_quote(v->arena, got));
}

static void check_type(struct validator *v, const struct structural *s, yyjson_val *x, const char *path, struct result *r) {
    const char *kind = kind_of(x), *format = format_of(v, s);
    size_t before = r->errs.len;
    if (yyjson_is_null(x)) {
        if (has_type(v, s) && !s->nullable) wrong_type(v, r, path, type_text(v, s), "null");
        r->matches += r->errs.len == before;
        return;
    }
    if (!has_type(v, s) && !format) return;
    bool textual = yyjson_is_str(x) || yyjson_is_arr(x), number = yyjson_is_num(x) && !is_int(x), numeric = wants(v, s, "number") || wants(v, s, "integer");
    bool fits = wants(v, s, kind) || (number && is_whole(yyjson_get_num(x)) && wants(v, s, "integer")) || (is_int(x) && wants(v, s, "number"));
    const char *own_format = is_int(x) ? "int64" : number ? "float64" : "";
    if (!textual && format && !fits && strcmp(own_format, format) != 0) wrong_type(v, r, path, format, own_format);
    else if (!numeric && format && textual) {
        /* the format decides */
    } else if (!fits) wrong_type(v, r, path, type_text(v, s), kind);
    r->matches += 1 + (r->errs.len == before);
}

/* ---- numbers ---- */

static const char *number_text(struct arena *a, double d) {
    struct buf out = BUF_INIT;
    json_write_double(&out, d);
    const char *text = arena_strdup(a, out.data);
    buf_release(&out);
    return text;
}

/* How a number is written: as a whole one that fits 64 bits, or with a point or an exponent. */
enum fraction { INT64, FLOAT };

/* Whether the number can be of the type at all. */
static bool check_range(struct validator *v, const struct structural *s, double d, enum fraction fraction, const char *what, const char *path, struct result *r) {
    static const char *const ints[] = {"int32", "int64", NULL}, *const floats[] = {"float", "double", NULL};
    const char *format = format_of(v, s), *type = type_text(v, s);
    bool integer = strcmp(type, "integer") == 0, ok = true;
    if (!integer && strcmp(type, "number") != 0) return true;
    if (!str_in(format, integer ? ints : floats)) format = NULL;
    if (integer) ok = (fraction == INT64 || (d == trunc(d) && fabs(d) < 9223372036854775808.0)) && (!str_eq(format, "int32") || (d >= INT32_MIN && d <= INT32_MAX));
    else if (str_eq(format, "float")) ok = fabs(d) <= FLT_MAX;
    if (ok) return true;
    if (format) plain_error(v, r, arena_printf(v->arena, "%s value must be of type %s with format %s in %s", what, type, format, path));
    else plain_error(v, r, arena_printf(v->arena, "%s value must be of type %s (default format) in %s", what, type, path));
    return false;
}

/* Go's int64(float64), as its compiler does it on most machines. */
static int64_t to_int64(double d) { return d >= 9223372036854775808.0 || d < -9223372036854775808.0 || isnan(d) ? INT64_MIN : (int64_t)d; }

static void check_multiple(struct validator *v, yyjson_val *x, double factor, bool native, const char *path, struct result *r) {
    const struct field_path *at = at_path(v, path);
    bool whole = native && is_int(x);
    int64_t whole_factor = to_int64(factor);
    double d = yyjson_get_num(x);
    const char *text = whole ? arena_printf(v->arena, "%lld", (long long)whole_factor) : number_text(v->arena, factor);
    if (whole ? whole_factor <= 0 : factor <= 0) field_invalid_raw(&r->errs, at, text, "factor MultipleOf declared for %s must be positive: %s", path, text);
    else if (whole ? yyjson_get_sint(x) % whole_factor != 0 : !is_whole(factor < 1 ? 1 / factor * d : d / factor))
        field_invalid_raw(&r->errs, at, native ? json_text(v->arena, x) : number_text(v->arena, d), "%s in body should be a multiple of %s", path, text);
}

/* A whole number is compared with what is whole of the bound. */
static void check_bound(struct validator *v, yyjson_val *x, double bound, bool exclusive, bool upper, bool native, const char *path, struct result *r) {
    bool whole = native && is_int(x);
    int64_t whole_bound = to_int64(bound), n = is_int(x) ? yyjson_get_sint(x) : 0;
    double d = yyjson_get_num(x);
    bool beyond = whole ? (upper ? n > whole_bound : n < whole_bound) : upper ? d > bound : d < bound, equal = whole ? n == whole_bound : d == bound;
    if (!beyond && !(exclusive && equal)) return;
    field_invalid_raw(&r->errs, at_path(v, path), native ? json_text(v->arena, x) : number_text(v->arena, d), "%s in body should be %s than %s%s", path, upper ? "less" : "greater", exclusive ? "" : "or equal to ",
                      whole ? arena_printf(v->arena, "%lld", (long long)whole_bound) : number_text(v->arena, bound));
}

static void check_number(struct validator *v, const struct structural *s, yyjson_val *x, const char *path, struct result *r) {
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    double d = yyjson_get_num(x);
    check_range(v, s, d, is_int(x) ? INT64 : FLOAT, "Checked", path, r);
    if (p->multipleOf.has) {
        double f = p->multipleOf.value;
        check_multiple(v, x, f, check_range(v, s, f, FLOAT, "MultipleOf", path, r), path, r);
    }
    if (p->minimum.has) {
        double f = p->minimum.value;
        check_bound(v, x, f, p->exclusiveMinimum, false, check_range(v, s, f, FLOAT, "Minimum boundary", path, r), path, r);
    }
    if (p->maximum.has) {
        double f = p->maximum.value;
        check_bound(v, x, f, p->exclusiveMaximum, true, check_range(v, s, f, FLOAT, "Maximum boundary", path, r), path, r);
    }
    r->matches += 2;
}

/* ---- strings ---- */

static int64_t runes(const char *s, size_t len) {
    int64_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

static void check_string(struct validator *v, const struct structural *s, yyjson_val *x, const char *path, struct result *r) {
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    const char *text = yyjson_get_str(x), *format = format_of(v, s);
    int64_t n = runes(text, yyjson_get_len(x));
    if (p->maxLength.has && n > p->maxLength.value) field_too_long(&r->errs, at_path(v, path), p->maxLength.value);
    else if (p->minLength.has && n < p->minLength.value) field_invalid(&r->errs, at_path(v, path), text, "%s in body should be at least %lld chars long", path, (long long)p->minLength.value);
    else if (s->pattern && !regex_matches(s->pattern, text, yyjson_get_len(x))) field_invalid(&r->errs, at_path(v, path), text, "%s in body should match '%s'", path, p->pattern);
    r->matches++;
    if (!format || !format_known(format)) return;
    if (!format_matches(format, text)) wrong_type(v, r, path, format, text);
    r->matches++;
}

/* ---- lists and objects ---- */

/* `old`: what the value was before; NULL: that is not known, as for all within the branches of a combination. */
static void check(struct validator *v, const struct structural *s, yyjson_val *x, yyjson_val *old, const char *path, struct result *r);

/* What was wrong before and has not changed is let pass. */
static void check_below(struct validator *v, const struct structural *s, yyjson_val *x, yyjson_val *old, const char *path, struct result *r) {
    struct result below = fresh(v);
    check(v, s, x, old, path, &below);
    if (below.errs.len && old && json_equal(x, old)) below.errs.len = 0;
    merge(r, &below);
}

/* The old value of a member. Of the object's own kind and version the client sees another than what is compared. */
static yyjson_val *old_member(yyjson_val *old, const char *key, bool root) { return root && (strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0) ? NULL : yyjson_obj_get(old, key); }

static bool same_keys(const struct structural *s, yyjson_val *a, yyjson_val *b) {
    const struct string_list *keys = &s->props->x_kubernetes_list_map_keys;
    for (size_t i = 0; i < keys->len; i++) {
        yyjson_val *x = yyjson_obj_get(a, keys->items[i]), *y = yyjson_obj_get(b, keys->items[i]);
        if (!x || !y || yyjson_is_ctn(x) || yyjson_is_null(x) || !json_equal(x, y)) return false;
    }
    return keys->len > 0;
}

/* The item of the old list that this one was: only lists that are maps can tell. */
static yyjson_val *old_item(const struct structural *s, yyjson_val *old, yyjson_val *item) {
    size_t i, n;
    yyjson_val *o;
    if (s->list_type != LIST_MAP || !yyjson_is_arr(old)) return NULL;
    yyjson_arr_foreach(old, i, n, o) if (same_keys(s, o, item)) return o;
    return NULL;
}

static void check_list(struct validator *v, const struct structural *s, yyjson_val *x, yyjson_val *old, const char *path, struct result *r) {
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    size_t i, n;
    yyjson_val *item;
    int64_t len = (int64_t)yyjson_arr_size(x);
    if (s->items) yyjson_arr_foreach(x, i, n, item) check_below(v, s->items, item, old_item(s, old, item), arena_printf(v->arena, "%s[%zu]", path, i), r);
    if (p->minItems.has && len < p->minItems.value) field_invalid_int(&r->errs, at_path(v, path), len, "%s in body should have at least %lld items", path, (long long)p->minItems.value);
    if (p->maxItems.has && len > p->maxItems.value) field_too_many(&r->errs, at_path(v, path), len, p->maxItems.value);
    r->matches += 2;
}

static void check_object(struct validator *v, const struct structural *s, yyjson_val *x, yyjson_val *old, const char *path, struct result *r) {
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    size_t i, n;
    yyjson_val *key, *value;
    int64_t len = (int64_t)yyjson_obj_size(x);
    if (p->minProperties.has && len < p->minProperties.value) field_invalid_int(&r->errs, at_path(v, path), len, "%s in body should have at least %lld properties", path, (long long)p->minProperties.value);
    if (p->maxProperties.has && len > p->maxProperties.value) field_too_many(&r->errs, at_path(v, path), len, p->maxProperties.value);
    yyjson_obj_foreach(x, i, n, key, value) {
        const char *k = yyjson_get_str(key);
        if (structural_property(s, k)) continue;
        if (s->has_additional && !s->additional_allowed) field_invalid(&r->errs, at_path(v, path), k, "%s.%s in body is a forbidden property", path, k);
        else if (s->additional) check_below(v, s->additional, value, old_member(old, k, !*path), arena_printf(v->arena, "%s.%s", path, k), r);
    }
    for (i = 0; i < s->properties.len; i++) {
        const char *k = s->properties.names[i];
        value = yyjson_obj_get(x, k);
        if (value) check_below(v, s->properties.items[i], value, old_member(old, k, !*path), *path ? arena_printf(v->arena, "%s.%s", path, k) : k, r);
    }
    for (i = 0; i < p->required.len; i++)
        if (!yyjson_obj_get(x, p->required.items[i])) field_required(&r->errs, at_path(v, arena_printf(v->arena, "%s.%s", path, p->required.items[i])), "%s", "");
    r->matches++;
}

/* ---- combinations ---- */

static void check_any(struct validator *v, const struct structural *s, yyjson_val *x, const char *path, struct result *r) {
    struct result best = {0};
    bool have = false;
    for (size_t i = 0; i < s->any_of.len; i++) {
        struct result one = fresh(v);
        check(v, s->any_of.items[i], x, NULL, path, &one);
        if (one.errs.len == 0) {
            merge(r, &one);
            return;
        }
        if (!have || one.matches > best.matches) best = one;
        have = true;
    }
    plain_error(v, r, arena_printf(v->arena, "%s must validate at least one schema (anyOf)", go_quote(v->arena, path)));
    merge(r, &best);
}

static void check_one(struct validator *v, const struct structural *s, yyjson_val *x, const char *path, struct result *r) {
    struct result best = {0}, success = {0};
    size_t valid = 0;
    bool have = false;
    for (size_t i = 0; i < s->one_of.len; i++) {
        struct result one = fresh(v);
        check(v, s->one_of.items[i], x, NULL, path, &one);
        if (one.errs.len == 0) {
            if (!valid++) success = one;
            have = false;
        } else if (valid == 0 && (!have || one.matches > best.matches)) {
            best = one;
            have = true;
        }
    }
    if (valid == 1) {
        merge(r, &success);
        return;
    }
    plain_error(v, r, arena_printf(v->arena, "%s must validate one and only one schema (oneOf). %s", go_quote(v->arena, path), valid ? arena_printf(v->arena, "Found %zu valid alternatives", valid) : "Found none valid"));
    if (have) merge(r, &best);
}

static void check_all(struct validator *v, const struct structural *s, yyjson_val *x, const char *path, struct result *r) {
    size_t valid = 0;
    for (size_t i = 0; i < s->all_of.len; i++) {
        struct result one = fresh(v);
        check(v, s->all_of.items[i], x, NULL, path, &one);
        if (one.errs.len == 0) valid++;
        merge(r, &one);
    }
    if (valid != s->all_of.len) plain_error(v, r, arena_printf(v->arena, "%s must validate all the schemas (allOf)%s", go_quote(v->arena, path), valid ? "" : ". None validated"));
}

static void check_not(struct validator *v, const struct structural *s, yyjson_val *x, const char *path, struct result *r) {
    struct result one = fresh(v);
    check(v, s->not_, x, NULL, path, &one);
    if (one.errs.len == 0) plain_error(v, r, arena_printf(v->arena, "%s must not validate the schema (not)", go_quote(v->arena, path)));
}

/* Numbers are compared as the listed one's kind: 1.5 is 1 to a list of whole numbers. Null is nothing that a list could hold. */
static bool is_listed(yyjson_val *listed, yyjson_val *x) {
    if (yyjson_is_null(listed) || yyjson_is_null(x)) return false;
    if (yyjson_is_num(listed) && yyjson_is_num(x) && is_int(listed) && !is_int(x)) return to_int64(yyjson_get_num(x)) == yyjson_get_sint(listed);
    return json_equal(listed, x);
}

static void check_enum(struct validator *v, const struct structural *s, yyjson_val *x, const char *path, struct result *r) {
    struct string_list names = {0};
    for (size_t i = 0; i < s->enums.len; i++) {
        if (is_listed(s->enums.items[i], x)) return;
        string_list_push(v->arena, &names, yyjson_is_str(s->enums.items[i]) ? yyjson_get_str(s->enums.items[i]) : json_text(v->arena, s->enums.items[i]));
    }
    string_list_push(v->arena, &names, NULL);
    if (yyjson_is_str(x)) {
        field_not_supported(&r->errs, at_path(v, path), yyjson_get_str(x), names.items);
        return;
    }
    struct buf text = BUF_INIT;
    for (size_t i = 0; i + 1 < names.len; i++) buf_printf(&text, "%s%s", i ? ", " : "", go_quote(v->arena, names.items[i]));
    field_error_add(&r->errs, "FieldValueNotSupported", at_path(v, path), "Unsupported value: %s: supported values: %s", json_text(v->arena, x), buf_cstr(&text));
    buf_release(&text);
}

static void check(struct validator *v, const struct structural *s, yyjson_val *x, yyjson_val *old, const char *path, struct result *r) {
    check_type(v, s, x, path, r);
    if (!yyjson_is_null(x)) {
        if (s->any_of.len) check_any(v, s, x, path, r);
        if (s->one_of.len) check_one(v, s, x, path, r);
        if (s->all_of.len) check_all(v, s, x, path, r);
        if (s->not_) check_not(v, s, x, path, r);
        if (yyjson_is_str(x)) check_string(v, s, x, path, r);
        else if (yyjson_is_num(x)) check_number(v, s, x, path, r);
        else if (yyjson_is_arr(x)) check_list(v, s, x, old, path, r);
        r->matches += 4; /* the combinations twice, the list of values, the whole */
    }
    if (s->enums.len) check_enum(v, s, x, path, r);
    if (yyjson_is_obj(x)) check_object(v, s, x, old, path, r);
    if (r->errs.len > 1) say_once(&r->errs);
}

void structural_validate(const struct structural *s, yyjson_val *x, yyjson_val *old, const struct field_path *at, struct field_errors *errs) {
    struct validator v = {errs->arena, at, false};
    struct result r = fresh(&v);
    if (!s) return;
    check(&v, s, x, old, "", &r);
    if (r.errs.len && old && json_equal(x, old)) return;
    field_errors_append(errs, &r.errs);
}

void structural_validate_default(const struct structural *s, yyjson_val *x, const struct field_path *at, struct field_errors *errs) {
    struct validator v = {errs->arena, at, true};
    struct result r = fresh(&v);
    check(&v, s, x, NULL, "", &r);
    field_errors_append(errs, &r.errs);
}

/* ---- sets and maps ---- */

static const char *list_key(struct arena *a, const struct structural *s, yyjson_val *item) {
    const struct string_list *keys = &s->props->x_kubernetes_list_map_keys;
    if (s->list_type != LIST_MAP) return json_text(a, item);
    yyjson_mut_doc *doc = json_mut_new(a, NULL);
    yyjson_mut_val *key = yyjson_mut_obj(doc);
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < keys->len; i++) {
        yyjson_val *v = yyjson_obj_get(item, keys->items[i]);
        if (v) yyjson_mut_obj_add(key, yyjson_mut_str(doc, keys->items[i]), yyjson_val_mut_copy(doc, v));
    }
    json_write_sorted(&out, key);
    const char *text = arena_strdup(a, out.data);
    buf_release(&out);
    return text;
}

static void check_unique(const struct structural *s, yyjson_val *x, const struct field_path *at, struct field_errors *errs) {
    size_t i, n;
    yyjson_val *item;
    static char once, twice;
    if (s->list_type == LIST_MAP) yyjson_arr_foreach(x, i, n, item) {
        if (yyjson_is_obj(item) || yyjson_is_null(item)) continue;
        field_invalid_raw(errs, FIELD_INDEX(at, i), yyjson_is_str(item) ? go_quote(errs->arena, yyjson_get_str(item)) : json_text(errs->arena, item), "must be an object for an array of list-type map");
        return;
    }
    struct map *seen = map_new();
    yyjson_arr_foreach(x, i, n, item) {
        const char *key = list_key(errs->arena, s, item);
        void *before = map_put(seen, key, &once);
        if (!before) continue;
        map_put(seen, key, &twice);
        if (before == &once) field_duplicate_raw(errs, FIELD_INDEX(at, i), key);
    }
    map_free(seen);
}

void structural_validate_lists(const struct structural *s, yyjson_val *x, const struct field_path *at, struct field_errors *errs) {
    size_t i, n;
    yyjson_val *key, *value;
    if (!s) return;
    if (yyjson_is_arr(x)) {
        if (s->list_type == LIST_SET || s->list_type == LIST_MAP) check_unique(s, x, at, errs);
        if (s->items) yyjson_arr_foreach(x, i, n, value) structural_validate_lists(s->items, value, FIELD_INDEX(at, i), errs);
    } else if (yyjson_is_obj(x)) yyjson_obj_foreach(x, i, n, key, value) {
        const char *k = yyjson_get_str(key);
        const struct structural *p = structural_property(s, k);
        if (p) structural_validate_lists(p, value, FIELD(at, k), errs);
        else if (s->additional) structural_validate_lists(s->additional, value, FIELD_KEY(at, k), errs);
    }
}

/* ---- embedded resources ---- */

static void check_label_text(const char *name, yyjson_val *v, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    const struct field_path *f = FIELD(at, name);
    if (!yyjson_is_str(v)) field_invalid_raw(errs, f, json_text(errs->arena, v), "must be a string");
    else if (!yyjson_get_len(v)) field_invalid(errs, f, "", "must not be empty");
    else if (strcmp(name, "kind") == 0) {
        char *lower = arena_strdup(errs->arena, yyjson_get_str(v));
        for (char *c = lower; *c; c++)
            if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + 32);
        name_dns1035_label(errs->arena, lower, &msgs);
        if (msgs.len) field_invalid(errs, f, yyjson_get_str(v), "may have mixed case, but should otherwise match: %s%s%s", msgs.items[0], msgs.len > 1 ? "," : "", msgs.len > 1 ? msgs.items[1] : "");
    } else if (strchr(yyjson_get_str(v), '/') != strrchr(yyjson_get_str(v), '/')) field_invalid(errs, f, yyjson_get_str(v), "unexpected GroupVersion string: %s", yyjson_get_str(v));
}

static void check_embedded(yyjson_val *x, const struct field_path *at, struct field_errors *errs) {
    static const char *const required[] = {"apiVersion", "kind"};
    for (size_t i = 0; i < 2; i++)
        if (!yyjson_obj_get(x, required[i])) field_required(errs, FIELD(at, required[i]), "%s", "");
    for (size_t i = 0; i < 2; i++) {
        yyjson_val *v = yyjson_obj_get(x, required[i]);
        if (v) check_label_text(required[i], v, at, errs);
    }
    yyjson_val *meta = yyjson_obj_get(x, "metadata");
    struct metav1_ObjectMeta m = {0};
    struct status err = STATUS_INIT;
    if (!meta) return;
    if (object_decode_value(errs->arena, &metav1_ObjectMeta_desc, &m, meta, NULL, &err) != 0) field_invalid_raw(errs, FIELD(at, "metadata"), json_text(errs->arena, meta), "%s", status_message(&err));
    else {
        if (str_empty(m.name)) m.name = "fakename"; /* upstream does the same */
        validate_object_meta_generic(&m, !str_empty(m.namespace), object_name_path_segment, FIELD(at, "metadata"), errs);
    }
    status_release(&err);
}

void structural_validate_embedded(const struct structural *s, yyjson_val *x, bool root, const struct field_path *at, struct field_errors *errs) {
    size_t i, n;
    yyjson_val *key, *value;
    if (!s) return;
    if (yyjson_is_arr(x)) yyjson_arr_foreach(x, i, n, value) structural_validate_embedded(s->items, value, false, FIELD_INDEX(at, i), errs);
    if (!yyjson_is_obj(x)) return;
    if (root || s->embedded) check_embedded(x, at, errs);
    yyjson_obj_foreach(x, i, n, key, value) {
        const char *k = yyjson_get_str(key);
        const struct structural *p = structural_property(s, k);
        if (p) structural_validate_embedded(p, value, false, FIELD(at, k), errs);
        else if (s->additional) structural_validate_embedded(s->additional, value, false, FIELD_KEY(at, k), errs);
    }
}
