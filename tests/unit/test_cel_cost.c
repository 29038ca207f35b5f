/* What expressions could cost at most, in upstream's figures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "api/cel/cost.h"
#include "api/cel/device.h"
#include "api/cel/rules.h"
#include "base/macros.h"
#include "wire/json.h"

struct row { const char *schema, *rule; uint64_t cost; };

#define ARRAY(of) "{\"type\":\"array\",\"items\":" of "}"
#define ARRAY_TO(of, max) "{\"type\":\"array\",\"maxItems\":" max ",\"items\":" of "}"
#define MAP(of) "{\"type\":\"object\",\"additionalProperties\":" of "}"
#define MAP_TO(of, max) "{\"type\":\"object\",\"maxProperties\":" max ",\"additionalProperties\":" of "}"
#define TYPE(t) "{\"type\":\"" t "\"}"
#define FORMAT(f) "{\"type\":\"string\",\"format\":\"" f "\"}"
#define STRING_TO(max) "{\"type\":\"string\",\"maxLength\":" max "}"
#define NEEDY "{\"type\":\"object\",\"required\":[\"required\"],\"properties\":{\"required\":{\"type\":\"string\"},\"optional\":{\"type\":\"string\"}}}"
#define TEXTS "{\"type\":\"object\",\"properties\":{\"str\":{\"type\":\"string\"},\"before\":{\"type\":\"string\"},\"after\":{\"type\":\"string\"},\"separator\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}}}"
#define TEXTS_TO(max) "{\"type\":\"object\",\"properties\":{\"str\":" STRING_TO(max) ",\"before\":" STRING_TO(max) ",\"after\":" STRING_TO(max) ",\"separator\":" STRING_TO(max) "}}"

/* The first of each pair without bounds, the second with some. */
static const struct row rows[] = {
    {ARRAY(TYPE("number")), "self.all(x, true)", 4718591}, {ARRAY_TO(TYPE("number"), "10"), "self.all(x, true)", 32},
    {ARRAY(TYPE("string")), "self.all(x, true)", 3145727}, {ARRAY_TO(TYPE("string"), "20"), "self.all(x, true)", 62},
    {ARRAY(TYPE("boolean")), "self.all(x, true)", 1887437}, {ARRAY(ARRAY(TYPE("number"))), "self.all(x, true)", 3145727},
    {MAP(TYPE("number")), "self.all(x, true)", 1348169}, {MAP_TO(TYPE("number"), "10"), "self.all(x, true)", 32}, {MAP(TYPE("string")), "self.all(x, true)", 1179647}, {MAP(TYPE("boolean")), "self.all(x, true)", 943718},
    {MAP(TYPE("number")), "has(self.x)", 1},
    {TYPE("string"), "self.contains('test')", 314574}, {STRING_TO("10"), "self.contains('test')", 5}, {TYPE("string"), "self.startsWith('test')", 2}, {TYPE("string"), "self.endsWith('test')", 2},
    {TYPE("string"), "size(self + \"hello\") > size(\"hello\")", 314578}, {STRING_TO("4"), "size(self + \"hello\") > size(\"hello\")", 7},
    {ARRAY(TYPE("number")), "self[1] == 0.0", 2}, {ARRAY(TYPE("string")), "self[1] == self[1]", 314577}, {ARRAY_TO(TYPE("string"), "8"), "self[1] == self[1]", 314577},
    {ARRAY_TO(TYPE("number"), "10"), "self.all(x, self.all(y, true))", 352}, {ARRAY_TO(TYPE("number"), "10"), "self.all(x, self.all(y, self.all(z, true)))", 3552},
    {TYPE("string"), "self.matches(\"x\")", 314574}, {STRING_TO("50"), "self.matches(\"x\")", 22}, {TYPE("string"), "\"\".matches(\"(((((((((())))))))))[0-9]\")", 7}, {TYPE("string"), "self.matches(\"\")", 1},
    {MAP(TYPE("string")), "self.all(x, x.contains(self[x]))", 2752507}, {MAP_TO(STRING_TO("10"), "10"), "self.all(x, x.contains(self[x]))", 72},
    {MAP(TYPE("number")), "self[\"x\"] == 0.0", 2}, {TYPE("string"), "self == \"x\"", 2}, {STRING_TO("0"), "self == \"x\"", 1}, {FORMAT("byte"), "self == b\"x\"", 2},
    {ARRAY(TYPE("number")), "self.all(x, x == 0.0)", 6291454}, {ARRAY_TO(TYPE("number"), "6291456"), "self.all(x, x == 0.0)", 25165826},
    {ARRAY(MAP(NEEDY)), "self.all(x, x[\"y\"].required == \"z\")", 7340027}, {ARRAY_TO(MAP(NEEDY), "10"), "self.all(x, x[\"y\"].required == \"z\")", 72},
    {ARRAY("{\"x-kubernetes-int-or-string\":true}"), "self.all(x, true)", 4718591}, {ARRAY("{\"x-kubernetes-int-or-string\":true}"), "self[0] == 5", 3}, {ARRAY(TYPE("boolean")), "self[0] == false", 2},
    {ARRAY(ARRAY(TYPE("number"))), "self[0][0] == -1.0", 3}, {ARRAY(MAP(TYPE("number"))), "self.all(x, x.y == 25.2)", 6291452}, {ARRAY_TO(MAP(TYPE("number")), "12"), "self.all(x, x.y == 25.2)", 74}, {ARRAY(MAP(TYPE("number"))), "self[0].x > 2.0", 4},
    {ARRAY(FORMAT("duration")), "self.all(x, true)", 2359295}, {ARRAY(FORMAT("duration")), "self[0].getHours() == 2", 4}, {ARRAY(FORMAT("date")), "self.all(x, true)", 725936}, {ARRAY(FORMAT("date-time")), "self.all(x, true)", 428963},
    {ARRAY(FORMAT("date-time")), "self[2].getMinutes() == 45", 4}, {MAP("{\"x-kubernetes-int-or-string\":true}"), "self.all(x, true)", 1348169}, {MAP(NEEDY), "self.all(x, true)", 428963}, {MAP(MAP(TYPE("number"))), "self.all(x, true)", 1179647},
    {MAP(FORMAT("duration")), "self.all(x, true)", 1048577}, {MAP(FORMAT("date")), "self.all(x, true)", 524288}, {MAP(FORMAT("date-time")), "self.all(x, true)", 349526},
    {TYPE("string"), "self.find('[0-9]+') == ''", 629147}, {STRING_TO("10"), "self.find('[0-9]+') == ''", 11}, {ARRAY(TYPE("string")), "self.join(' ') == 'aa bb'", 329853068905}, {ARRAY(TYPE("string")), "self.isSorted() == true", 329854432052},
    {TEXTS, "self.str.replace(self.before, self.after) == 'does not matter'", 629154}, {TEXTS_TO("4"), "self.str.replace(self.before, self.after) == 'does not matter'", 12},
    {TEXTS, "self.str.split(self.separator) == []", 629160}, {TEXTS_TO("10"), "self.str.split(self.separator) == []", 22}, {TYPE("string"), "self.lowerAscii() == 'lower!'", 314575}, {STRING_TO("10"), "self.lowerAscii() == 'lower!'", 6},
    {MAP(TYPE("integer")), "oldSelf.size() == self.size()", 5}, {MAP(FORMAT("date-time")), "self[\"a\"] == self[\"b\"]", 8},
    {"{\"type\":\"string\",\"enum\":[\"a\",\"bbbbbbbbbbbbbbbbbbbb\"]}", "self.contains('test')", 3},
    {ARRAY_TO(TYPE("integer"), "10"), "self.filter(x, x > 1).size() > 2", 164}, {ARRAY_TO(TYPE("integer"), "10"), "self.map(x, x * 2).exists(y, y == 3)", 213}, {ARRAY_TO(TYPE("integer"), "10"), "self.exists_one(x, x == 2)", 33},
    {TEXTS, "self.n > 0 && (self.n < 5 || self.n == 9)", 8}, {TEXTS, "self.n > 0 ? true : false", 3}, {TEXTS, "cel.bind(x, self.n, x + x > 2)", 16},
};

static uint64_t cost(struct arena *a, const struct row *row) {
    struct apiextensionsv1_JSONSchemaProps *props = arena_alloc(a, sizeof(*props));
    struct structural *s;
    const char *why = NULL;
    assert_int_equal(object_decode_json(a, &apiextensionsv1_JSONSchemaProps_desc, props, row->schema, strlen(row->schema), NULL, NULL), 0);
    assert_int_equal(structural_new(a, props, &s, NULL), 0);
    const struct cel_type *self = cel_type_of_schema(a, s, false);
    const struct cel_variable variables[] = {{"self", self}, {"oldSelf", self}, {NULL, NULL}};
    const struct cel_env env = {.variables = variables, .bindings = true};
    struct cel_program *p = cel_compile(a, &env, row->rule, CEL_BOOL, &why);
    if (!p) fail_msg("%s: %s", row->rule, why);
    return cel_max_cost(a, p, cel_bounds_of_schema(a, s, false), NULL);
}

static void test_costs(void **state UNUSED) {
    struct arena *a = arena_new();
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = cost(a, &rows[i]);
        if (got == rows[i].cost) continue;
        print_error("%s over %s: %llu, wanted %llu\n", rows[i].rule, rows[i].schema, (unsigned long long)got, (unsigned long long)rows[i].cost);
        wrong++;
    }
    arena_free(a);
    assert_int_equal(wrong, 0);
}

static void test_totals(void **state UNUSED) {
    struct arena *a = arena_new();
    struct field_errors errs = field_errors_in(a);
    struct cel_total_cost t = {.total = 150000000, .len = 1, .expensive = {{"spec.x", 150000000}}};
    cel_check_total_cost(&t, FIELD(NULL, "spec"), &errs);
    assert_int_equal(errs.len, 2);
    assert_string_equal(errs.items[0].detail, "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
    assert_string_equal(errs.items[1].detail, "Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.5x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)");
    t.total = CEL_SCHEMA_COST_LIMIT;
    cel_check_total_cost(&t, FIELD(NULL, "spec"), &errs);
    assert_int_equal(errs.len, 2);
    arena_free(a);
}

static void test_devices(void **state UNUSED) {
    static const struct { const char *text; size_t errors; } selectors[] = {
        {"device.driver == 'a.example.org' && device.attributes['a.example.org'].model.startsWith('x')", 0},
        {"device.attributes.all(d, device.attributes[d].all(n, device.attributes[d][n] == 'x'))", 0},
        {"device.attributes.all(d, device.attributes.all(e, device.attributes.all(f, device.attributes.all(g, true))))", 1},
        {"device.attributes['a'].x.matches('" "aaaaaaaaaaaaaaaaaaaa" "')", 0}};
    for (size_t i = 0; i < ARRAY_LEN(selectors); i++) {
        struct arena *a = arena_new();
        struct field_errors errs = field_errors_in(a);
        cel_check_device_selector(selectors[i].text, FIELD(NULL, "expression"), &errs);
        if (errs.len != selectors[i].errors) fail_msg("%s: %zu errors, %s", selectors[i].text, errs.len, errs.len ? errs.items[0].detail : "");
        if (errs.len) assert_string_equal(errs.items[0].detail, "Forbidden: too complex, exceeds cost limit");
        arena_free(a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_costs), cmocka_unit_test(test_totals), cmocka_unit_test(test_devices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
