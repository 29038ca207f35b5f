/* CEL: expressions and what they come to, in tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "api/cel/cel.h"
#include "api/cel/device.h"
#include "base/str.h"
#include "wire/json.h"

static const char document[] = "{\"name\":\"web-0\",\"replicas\":3,\"ratio\":0.5,\"on\":true,\"none\":null,\"tags\":[\"a\",\"b\",\"c\"],\"nums\":[3,1,2],\"labels\":{\"app\":\"web\",\"tier\":\"front\"},"
                               "\"ports\":[{\"name\":\"http\",\"port\":80},{\"name\":\"https\",\"port\":443}],\"when\":\"2021-01-02T03:04:05Z\"}";

static const char *shown(struct arena *a, const struct cel_value *v) {
    struct buf out = BUF_INIT;
    yyjson_mut_doc *doc = json_mut_new(a, NULL);
    yyjson_mut_val *json = v->kind == CEL_ERROR ? NULL : cel_to_json(a, doc, v);
    if (v->kind == CEL_ERROR) return arena_printf(a, "error: %.*s", (int)v->str.len, v->str.s);
    if (!json) return "?";
    json_write_sorted(&out, json);
    const char *text = arena_strdup(a, out.data);
    buf_release(&out);
    return text;
}

static const char *run(struct arena *a, const char *text) {
    const struct cel_variable variables[] = {{"self", &cel_dyn}, {NULL, NULL}};
    const struct cel_env env = {.variables = variables, .bindings = true};
    const char *why = NULL;
    struct cel_program *p = cel_compile(a, &env, text, CEL_DYN, &why);
    if (!p) return arena_printf(a, "refused: %s", why);
    yyjson_doc *doc = json_parse_in(a, document, strlen(document), 0, NULL);
    const struct cel_binding bindings[] = {{"self", cel_from_json(a, yyjson_doc_get_root(doc), NULL)}, {NULL, {.kind = CEL_NULL}}};
    const struct cel_activation act = {.bindings = bindings};
    uint64_t cost = 0;
    struct cel_value v = cel_eval(a, p, &act, CEL_COST_PER_CALL, &cost);
    return shown(a, &v);
}

static void check(const char *const (*table)[2], size_t len) {
    for (size_t i = 0; i < len; i++) {
        struct arena *a = arena_new();
        const char *got = run(a, table[i][0]);
        if (!str_has_prefix(got, table[i][1]) || (!strchr(table[i][1], ':') && !str_eq(got, table[i][1]))) fail_msg("%s\n  wanted %s\n  got    %s", table[i][0], table[i][1], got);
        arena_free(a);
    }
}
#define CHECK_TABLE(t) check(t, sizeof(t) / sizeof((t)[0]))

static void operators(void **state UNUSED) {
    static const char *const table[][2] = {
        {"1 + 2 * 3", "7"}, {"(1 + 2) * 3", "9"}, {"7 / 2", "3"}, {"-7 % 3", "-1"}, {"1.5 + 1.5", "3"}, {"'a' + 'b'", "\"ab\""}, {"[1] + [2]", "[1,2]"}, {"1 < 2 && 2 < 3", "true"}, {"!(1 == 2)", "true"},
        {"1 == 1.0", "refused: ERROR"}, {"dyn(1) == 1.0", "true"}, {"1u + 2u", "3"}, {"1 < 2.5", "true"}, {"true ? 1 : 2", "1"}, {"0x1F", "31"}, {"1e3", "1000"}, {"1 / 0", "error: division by zero"},
        {"9223372036854775807 + 1", "error: integer overflow"}, {"true || 1 / 0 > 0", "true"}, {"1 / 0 > 0 || true", "true"}, {"1 / 0 > 0 && false", "false"}, {"'a' in ['a', 'b']", "true"}, {"'x' in {'x': 1}", "true"},
        {"{'a': 1, 'b': [2]}", "{\"a\":1,\"b\":[2]}"}, {"[1, 2, 3][1]", "2"}, {"[1][5]", "error: index out of bounds: 5"}, {"{'a': 1}['b']", "error: no such key: b"}, {"'a\\n\\u00e9' == \"a\\n\xC3\xA9\"", "true"}, {"r'a\\n'.size()", "3"},
        {"b'ab'.size()", "2"}, {"null == null", "true"}, {"type(1) == int", "true"}, {"'''a'b'''", "\"a'b\""}, {"// a comment\n1", "1"}};
    CHECK_TABLE(table);
}

static void documents(void **state UNUSED) {
    static const char *const table[][2] = {
        {"self.name", "\"web-0\""}, {"self.replicas > 2", "true"}, {"has(self.nope)", "false"}, {"has(self.labels.app)", "true"}, {"self.nope", "error: no such key: nope"}, {"self.ports[1].port", "443"}, {"self.none == null", "true"},
        {"self.ports.all(p, p.port < 1000)", "true"}, {"self.ports.exists(p, p.name == 'http')", "true"}, {"self.ports.exists_one(p, p.port == 80)", "true"}, {"self.tags.map(t, t + '!')", "[\"a!\",\"b!\",\"c!\"]"},
        {"self.nums.filter(n, n > 1)", "[3,2]"}, {"self.nums.map(n, n > 1, n * 2)", "[6,4]"}, {"self.labels.all(k, k.size() > 2)", "true"}, {"self.labels.all(k, v, v.size() > 2)", "true"}, {"self.tags.transformList(i, t, t + string(i))", "[\"a0\",\"b1\",\"c2\"]"},
        {"self.labels.transformMap(k, v, v + '1')", "{\"app\":\"web1\",\"tier\":\"front1\"}"}, {"self.?nope.orValue(7)", "7"}, {"self.?labels.?app.hasValue()", "true"}, {"self.labels[?'zz'].orValue('d')", "\"d\""},
        {"optional.of(2).optMap(x, x + 1).value()", "3"}, {"[?self.?nope, 1]", "[1]"}, {"cel.bind(x, self.replicas, x * x)", "9"}, {"timestamp(self.when).getFullYear()", "2021"}, {"size(self.labels)", "2"}, {"self.ratio * 2.0", "1"}};
    CHECK_TABLE(table);
}

static void libraries(void **state UNUSED) {
    static const char *const table[][2] = {
        {"'hello'.startsWith('he')", "true"}, {"'hello'.matches('^h.*o$')", "true"}, {"'hello'.charAt(1)", "\"e\""}, {"'hello'.indexOf('l')", "2"}, {"'hello'.lastIndexOf('l')", "3"}, {"'a,b,c'.split(',')", "[\"a\",\"b\",\"c\"]"},
        {"['a', 'b'].join('-')", "\"a-b\""}, {"'aXbX'.replace('X', '')", "\"ab\""}, {"'hello'.substring(1, 3)", "\"el\""}, {"' x '.trim()", "\"x\""}, {"'AbC'.lowerAscii()", "\"abc\""}, {"'h\xC3\xA9'.reverse()", "\"\xC3\xA9h\""},
        {"'%s has %d of %.2f'.format(['a', 2, 1.5])", "\"a has 2 of 1.50\""}, {"'ab12'.find('[0-9]+')", "\"12\""}, {"'a1b2'.findAll('[0-9]')", "[\"1\",\"2\"]"}, {"[1, 2, 3].sum()", "6"}, {"[3, 1].min()", "1"}, {"[1, 2].isSorted()", "true"},
        {"[1, 2, 1].lastIndexOf(1)", "2"}, {"sets.contains([1, 2], [2])", "true"}, {"sets.equivalent([1, 2], [2, 1, 1])", "true"}, {"sets.intersects([1], [2])", "false"}, {"quantity('1Gi').isGreaterThan(quantity('1G'))", "true"},
        {"quantity('1').add(quantity('500m')).compareTo(quantity('1500m'))", "0"}, {"isQuantity('x')", "false"}, {"quantity('2k').asInteger()", "2000"}, {"url('https://a.example:8443/p?x=1&x=2').getPort()", "\"8443\""},
        {"url('https://a.example:8443/p?x=1&x=2').getQuery()", "{\"x\":[\"1\",\"2\"]}"}, {"isURL('no url')", "false"}, {"ip('10.0.0.1').family()", "4"}, {"ip('::1').isLoopback()", "true"}, {"isIP('300.1.1.1')", "false"},
        {"cidr('10.0.0.0/8').containsIP('10.1.2.3')", "true"}, {"cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true"}, {"cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", "true"}, {"format.dns1123Label().validate('ok').hasValue()", "false"},
        {"format.named('dns1123Label').value().validate('Not Ok').hasValue()", "true"}, {"duration('1h30m') > duration('89m')", "true"}, {"timestamp('2021-01-02T00:00:00Z') + duration('24h') == timestamp('2021-01-03T00:00:00Z')", "true"},
        {"int('12') + int(3.9)", "15"}, {"string(1.5)", "\"1.5\""}, {"double('x')", "error: type conversion error"}, {"bool('true')", "true"},
        {"semver('1.2.3').major() + semver('1.2.3').minor() * 10 + semver('1.2.3').patch() * 100", "321"}, {"semver('1.10.0').isGreaterThan(semver('1.9.0'))", "true"}, {"semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))", "true"},
        {"semver('1.0.0-rc.2').compareTo(semver('1.0.0-rc.10'))", "-1"}, {"semver('1.0.0-1').compareTo(semver('1.0.0-a'))", "-1"}, {"semver('1.0.0-a.b').compareTo(semver('1.0.0-a'))", "1"}, {"semver('1.0.0+x').compareTo(semver('1.0.0+y'))", "0"},
        {"isSemver('1.2') || isSemver('v1.2.3') || isSemver('1.02.3') || isSemver('1.2.3-01') || isSemver('1.2.3-') || isSemver('')", "false"}, {"isSemver('1.2.3-a-b.0+build.5')", "true"},
        {"isSemver('v1.2', true) && semver('v01.2', true).compareTo(semver('1.2.0')) == 0", "true"}, {"isSemver('1-rc', true)", "false"}, {"semver('x')", "error: "}};
    CHECK_TABLE(table);
}

static void refusals(void **state UNUSED) {
    static const char *const table[][2] = {
        {"self ===", "refused: ERROR: <input>:1:8: Syntax error:"}, {"1 +", "refused: ERROR: <input>:1:4: Syntax error:"}, {"foo", "refused: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')"},
        {"'a' + 1", "refused: ERROR: <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'"}, {"'a'.nope()", "refused: ERROR: <input>:1:9: undeclared reference to 'nope'"}, {"has(self)", "refused: ERROR: <input>:1:5: invalid argument to has() macro"},
        {"self.", "refused: ERROR: <input>:1:6: Syntax error: no viable alternative at input '.'"}, {"self[1", "refused: ERROR: <input>:1:7: Syntax error: missing ']' at '<EOF>'"}, {"self ? 1", "refused: ERROR: <input>:1:9: Syntax error: mismatched input '<EOF>' expecting ':'"},
        {"self self", "refused: ERROR: <input>:1:6: Syntax error: extraneous input 'self' expecting <EOF>"}, {"[1 2]", "refused: ERROR: <input>:1:4: Syntax error: extraneous input '2' expecting {']', ','}"}, {"self.1", "refused: ERROR: <input>:1:5: Syntax error: extraneous input '.1' expecting <EOF>"},
        {"{1", "refused: ERROR: <input>:1:3: Syntax error: mismatched input '<EOF>' expecting ':'"}, {"self.in", "refused: ERROR: <input>:1:6: Syntax error: no viable alternative at input '.in'"}, {"0x", "refused: ERROR: <input>:1:2: Syntax error: extraneous input 'x' expecting <EOF>"},
        {"'open", "refused: ERROR: <input>:1:1: Syntax error:"}, {"[1, 2].all(1, true)", "refused: ERROR"}, {"1 ? 2 : 3", "refused: ERROR"}, {"while", "refused: ERROR: <input>:1:1: reserved identifier: while"}, {"'x'.size() == 'y'", "refused: ERROR"}, {"", "refused: ERROR: <input>:1:1: Syntax error:"}};
    CHECK_TABLE(table);
}

/* Of DeviceClasses and ResourceClaims: what compiles about a device, and gives a bool or what is not known. */
static void device_selectors(void **state UNUSED) {
    static const char *const table[][2] = {
        {"device.driver == 'gpu.example.org'", NULL}, {"device.attributes['gpu.example.org'].model == 'a100'", NULL}, {"device.attributes['gpu.example.org'].shared", NULL},
        {"device.capacity['gpu.example.org'].memory.compareTo(quantity('10Gi')) >= 0", NULL}, {"device.allowMultipleAllocations", NULL},
        {"cel.bind(gpu, device.attributes['gpu.example.org'], gpu.a && gpu.b.isGreaterThan(semver('1.2.3')))", NULL}, {"'gpu.example.org' in device.attributes && device.attributes.exists(d, d == 'x')", NULL},
        {"device.driver ==", "compilation failed: ERROR: <input>:1:17: Syntax error:"}, {"device.nothing", "compilation failed: ERROR: <input>:1:7: undefined field 'nothing'"},
        {"'text'", "must evaluate to bool or the unknown type, not string"}, {"device", "must evaluate to bool or the unknown type, not kubernetes.DRADevice"}, {"device.driver == 1", "compilation failed: ERROR"},
        {"device.capacity['a'].b > 1", "compilation failed: ERROR"}, {"object.spec", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'object'"}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct arena *a = arena_new();
        struct field_errors errs = field_errors_in(a);
        cel_check_device_selector(table[i][0], FIELD(NULL, "expression"), &errs);
        if (errs.len != (table[i][1] != NULL) || (errs.len && !strstr(errs.items[0].detail, table[i][1]))) fail_msg("%s\n  wanted %s\n  got    %s", table[i][0], table[i][1], errs.len ? errs.items[0].detail : NULL);
        arena_free(a);
    }
}

/* Expressions cannot run for long, nor nest for ever. */
static void limits(void **state UNUSED) {
    struct arena *a = arena_new();
    const char *nested = "[0,1,2,3,4,5,6,7,8,9]";
    const char *slow = arena_printf(a, "%s.all(a, %s.all(b, %s.all(c, %s.all(d, %s.all(e, %s.all(f, a + b + c + d + e + f >= 0))))))", nested, nested, nested, nested, nested, nested);
    assert_true(str_has_prefix(run(a, slow), "error: operation cancelled: actual cost limit exceeded"));
    char *deep = arena_alloc(a, 20001);
    memset(deep, '(', 10000);
    assert_true(str_has_prefix(run(a, deep), "refused: ERROR"));
    memset(deep, '!', 10000);
    assert_true(str_has_prefix(run(a, deep), "refused: ERROR"));
    arena_free(a);
}

/* ---- authorizer ---- */

static int questions;

/* Everybody may get; service accounts of the namespace "own" may do anything; a path decides by itself. */
static void decide(struct cel_authorizer *q, struct arena *a, const char *verb) {
    questions++;
    q->reason = q->error = NULL;
    q->allowed = strcmp(verb, "get") == 0 || str_eq(q->service_account_namespace, "own") || str_eq(q->path, "/open");
    q->reason = arena_printf(a, "%s %s/%s/%s %s/%s %s", verb, str_or(q->group, "-"), str_or(q->resource, "-"), str_or(q->subresource, "-"), str_or(q->namespace, "-"), str_or(q->name, "-"), str_or(q->path, "-"));
    if (strcmp(verb, "break") == 0) q->error = "broken";
}

static void authorizer(void **state UNUSED) {
    static const char *const table[][2] = {
        {"authorizer.group('').resource('pods').check('get').allowed()", "true"}, {"authorizer.group('').resource('pods').check('create').allowed()", "false"},
        {"authorizer.group('apps').resource('deployments').subresource('scale').namespace('n').name('d').check('update').reason()", "\"update apps/deployments/scale n/d -\""},
        {"authorizer.serviceAccount('own', 'x').group('').resource('pods').check('create').allowed()", "true"}, {"authorizer.serviceAccount('Own', 'x').path('/x').check('post').allowed()", "error: Invalid service account namespace"},
        {"authorizer.path('/open').check('post').allowed()", "true"}, {"authorizer.path('').check('get').allowed()", "error: path must not be empty"}, {"authorizer.group('').resource(' ').check('get').allowed()", "error: resource must not be empty"},
        {"authorizer.group('').resource('pods').check('break').errored()", "true"}, {"authorizer.group('').resource('pods').check('break').error()", "\"broken\""}, {"authorizer.group('').resource('pods').check('get').error()", "\"\""},
        {"authorizer.requestResource.check('get').reason()", "\"get g/r/- ns/n -\""}, {"authorizer.requestResource.name('other').check('get').reason()", "\"get g/r/- ns/other -\""},
        {"authorizer.group('').check('get').allowed()", "refused: ERROR: <input>:1:27: found no matching overload for 'check' applied to 'kubernetes.authorization.GroupCheck.(string)'"},
        {"authorizer.group('').resource('pods').allowed()", "refused: ERROR"}, {"authorizer.nope", "refused: ERROR"}, {"authorizer.group(1)", "refused: ERROR"}};
    const struct cel_type type = {.kind = CEL_AUTHORIZER};
    const struct cel_variable variables[] = {{"authorizer", &type}, {NULL, NULL}};
    const struct cel_env env = {.variables = variables};
    const struct cel_authorizer own = {.check = decide, .group = "g", .resource = "r", .namespace = "ns", .name = "n"}, z = {.check = decide, .request_resource = &own};
    const struct cel_binding bindings[] = {{"authorizer", {.kind = CEL_AUTHORIZER, .authorizer = &z}}, {NULL, {.kind = CEL_NULL}}};
    const struct cel_activation act = {.bindings = bindings};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *why = NULL, *got;
        struct cel_program *p = cel_compile(a, &env, table[i][0], CEL_DYN, &why);
        uint64_t cost = 0;
        struct cel_value v = p ? cel_eval(a, p, &act, CEL_COST_PER_CALL, &cost) : cel_error(a, "none");
        got = p ? shown(a, &v) : arena_printf(a, "refused: %s", why);
        if (!str_has_prefix(got, table[i][1])) fail_msg("%s\n  wanted %s\n  got    %s", table[i][0], table[i][1], got);
    }
    /* a decision is dear: an expression cannot ask for many */
    _cleanup_arena_ struct arena *a = arena_new();
    const char *why = NULL;
    struct cel_program *p = cel_compile(a, &env, "[1, 2, 3, 4, 5, 6].all(x, authorizer.path('/open').check('post').allowed())", CEL_DYN, &why);
    uint64_t cost = 0;
    struct cel_value v = cel_eval(a, p, &act, CEL_COST_PER_CALL, &cost);
    assert_string_equal(shown(a, &v), "error: operation cancelled: actual cost limit exceeded");
    assert_true(questions > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(operators), cmocka_unit_test(documents), cmocka_unit_test(libraries), cmocka_unit_test(refusals), cmocka_unit_test(device_selectors), cmocka_unit_test(limits), cmocka_unit_test(authorizer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
