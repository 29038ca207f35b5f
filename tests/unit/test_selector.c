/* Label selectors, field selectors and YAML's scalars, as their text forms are read upstream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "api/selector.h"
#include "wire/json.h"
#include "wire/yaml.h"

static void label_selectors_are_read_and_printed(void **state UNUSED) {
    static const struct { const char *in, *out; } cases[] = {
        {"", ""}, {"a", "a"}, {"!a", "!a"}, {"a=b", "a=b"}, {"a==b", "a=b"}, {"a!=b", "a!=b"}, {" a = b , c ", "a=b,c"}, {"a=", "a="},
        {"a in (c,b)", "a in (b,c)"}, {"a notin (b)", "a!=b"}, {"a in ()", "a="}, {"a in (b,,c)", "a in (,b,c)"}, {"n>1,m<2", "n>1,m<2"}, {"in in (in,notin)", "in in (in,notin)"},
        {"a in dev", "!unable to parse requirement: found 'dev' expected: '('"},
        {"a notin", "!unable to parse requirement: found '' expected: '('"},
        {"a in (b", "!unable to parse requirement: found '', expected: ',' or ')'"},
        {"=x", "!found '=', expected: !, identifier, or 'end of string'"},
        {"!", "!unable to parse requirement: found '', expected: identifier"},
        {"!a=b", "!found '=', expected: ',' or 'end of string'"},
        {"a=b=c", "!found '=', expected: ',' or 'end of string'"},
        {"a,,b", "!found ',', expected: identifier after ','"},
        {"a b", "!unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
        {"n>x", "!unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"},
        {"/a=b", "!unable to parse requirement: <nil>: Invalid value: \"/a\": prefix part must be non-empty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        struct selector s;
        const char *got = label_selector_parse(a, cases[i].in, &s, &err) == 0 ? selector_string(a, &s) : arena_printf(a, "!%s", status_message(&err));
        if (cases[i].out[0] == '!' && cases[i].out[1] != 'a') assert_int_equal(err.code, 400);
        if (strcmp(got, cases[i].out) != 0) fail_msg("'%s': wanted %s, got %s", cases[i].in, cases[i].out, got);
    }
}

static void selectors_match_labels(void **state UNUSED) {
    static struct string_map_entry entries[] = {{"env", "dev"}, {"n", "5"}};
    const struct string_map labels = {entries, 2};
    static const struct { const char *selector; bool want; } cases[] = {
        {"", true}, {"env", true}, {"!env", false}, {"none", false}, {"!none", true}, {"env=dev", true}, {"env!=dev", false}, {"none!=x", true},
        {"env in (prod,dev)", true}, {"env notin (prod)", true}, {"none notin (x)", true}, {"none in (x)", false}, {"n>4", true}, {"n>5", false}, {"n<6", true}, {"env>1", false}, {"none>1", false}, {"env=dev,n=4", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct selector s;
        assert_int_equal(label_selector_parse(a, cases[i].selector, &s, NULL), 0);
        if (selector_matches(&s, &labels) != cases[i].want) fail_msg("%s", cases[i].selector);
    }
}

static void field_selectors_unescape_their_values(void **state UNUSED) {
    static const struct { const char *in, *field, *value; bool negated; } good[] = {
        {"metadata.name=a", "metadata.name", "a", false}, {"a==b", "a", "b", false}, {"a!=b", "a", "b", true}, {"a=", "a", "", false}, {",a=b,", "a", "b", false},
        {"a=b\\,c\\=d\\\\", "a", "b,c=d\\", false}, {"a!b=c", "a!b", "c", false}, {"=x", "", "x", false},
    };
    static const struct { const char *in, *why; } bad[] = {
        {"metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"},
        {"a=b=c", "invalid field selector: unescaped character in value: 61"},
        {"a=\\x", "invalid field selector: invalid escape sequence: \\x"},
        {"a=b\\", "invalid field selector: invalid escape sequence: \\"},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct field_selector fs;
        assert_int_equal(field_selector_parse(a, good[i].in, &fs, NULL), 0);
        assert_int_equal(fs.len, 1);
        assert_string_equal(fs.items[0].field, good[i].field);
        assert_string_equal(fs.items[0].value, good[i].value);
        assert_int_equal(fs.items[0].negated, good[i].negated);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        struct field_selector fs;
        assert_int_equal(field_selector_parse(a, bad[i].in, &fs, &err), -1);
        assert_string_equal(err.message, bad[i].why);
    }
}

static void yaml_has_the_scalars_of_1_1(void **state UNUSED) {
    static const struct { const char *in, *out; } cases[] = {
        {"a: yes\nb: off\nc: n", "{\"a\":true,\"b\":false,\"c\":false}"},
        {"yes: 1", "{\"true\":1}"},
        {"a: 017\nb: 0o17\nc: 0x10\nd: 1_000\ne: 0b11", "{\"a\":15,\"b\":15,\"c\":16,\"d\":1000,\"e\":3}"},
        {"a: '017'\nb: \"yes\"\nc: !!str 1", "{\"a\":\"017\",\"b\":\"yes\",\"c\":\"1\"}"},
        {"a: ~\nb:\nc: null", "{\"a\":null,\"b\":null,\"c\":null}"},
        {"a: 2001-02-03", "{\"a\":\"2001-02-03\"}"},
        {"x: &b {k: 1, l: 2}\nz: {<<: *b, l: 3}", "{\"x\":{\"k\":1,\"l\":2},\"z\":{\"l\":3,\"k\":1}}"},
        {"a: 1\n---\na: 2", "{\"a\":1}"},
        {"a: |\n  x\n  y\nb: >-\n  x\n  y", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}"},
        {"[1, 2.5, 1e3, -0]", NULL},
        {"a: [", "!"}, {"a: *none", "!"}, {"\ta: 1", "!"}, {"~: a", "!"}, {"[a]: b", "!"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf out = BUF_INIT;
        int r = yaml_to_json(cases[i].in, strlen(cases[i].in), &out, NULL, NULL);
        if (!cases[i].out) assert_int_equal(r, 0);
        else if (cases[i].out[0] == '!') {
            if (r != -1) fail_msg("%s was read as %s", cases[i].in, out.data);
        }
        else if (r != 0 || strcmp(out.data, cases[i].out) != 0) fail_msg("%s: wanted %s, got %s", cases[i].in, cases[i].out, r == 0 ? out.data : "an error");
    }
}

static void a_duplicate_yaml_key_is_told_with_its_line(void **state UNUSED) {
    static const struct { const char *in, *want; } cases[] = {
        {"a: 1\nb: 2\na: 3", "line 3: key \"a\" already set in map"}, {"y: 1\non: 2", "line 2: key true already set in map"}, {"a: {b: 1,\n b: 2}", "line 2: key \"b\" already set in map"}, {"a: 1\nb: 2", NULL},
        {"a: 1\nb: {c: 1, c: 2}\na: 3", "line 3: key \"a\" already set in map\n  line 2: key \"c\" already set in map"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf out = BUF_INIT;
        _cleanup_free_ char *duplicate = NULL;
        assert_int_equal(yaml_to_json(cases[i].in, strlen(cases[i].in), &out, &duplicate, NULL), 0);
        if (cases[i].want) assert_string_equal(duplicate, cases[i].want);
        else assert_null(duplicate);
    }
}

static void what_is_written_as_yaml_is_read_back_the_same(void **state UNUSED) {
    static const char *const cases[] = {
        "{\"a\":{\"b\":[1,{\"c\":\"d\",\"e\":[]}],\"f\":{}},\"g\":null}", "{\"s\":[\"yes\",\"017\",\"1e3\",\"\",\" x\",\"x \",\"a: b\",\"# c\",\"- d\",\"null\",\"~\",\"2001-02-03\",\"it's\",\"say \\\"x\\\"\"]}",
        "{\"t\":\"one\\ntwo\\n\",\"u\":\"one\\ntwo\",\"v\":\"x\\n\\n\",\"w\":\"\\n x\",\"x\":\"tab\\there\"}", "[[1,[2]],[]]", "\"top\"", "{\"true\":\"a\",\"1\":\"b\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_buf_ struct buf yaml = BUF_INIT, json = BUF_INIT;
        yaml_write(&yaml, yyjson_doc_get_root(json_parse_in(a, cases[i], strlen(cases[i]), 0, NULL)));
        assert_int_equal(yaml_to_json(yaml.data, yaml.len, &json, NULL, NULL), 0);
        yyjson_doc *want = json_parse_in(a, cases[i], strlen(cases[i]), 0, NULL), *got = json_parse_in(a, json.data, json.len, 0, NULL);
        if (!got || !yyjson_equals(yyjson_doc_get_root(want), yyjson_doc_get_root(got))) fail_msg("%s became\n%s", cases[i], yaml.data);
    }
}

/* What libyaml's writer makes of them, as upstream's answers show it. */
static void yaml_is_written_in_upstreams_style(void **state UNUSED) {
    static const struct { const char *json, *want; } cases[] = {
        {"{\"a\":\"x\",\"b\":[1,{\"c\":[]}]}", "a: x\nb:\n- 1\n- c: []\n"},
        {"[\"a: b\",\"# c\",\"it's: so\",\"yes\",\"1e3\",\"2026-11-27\",\"190:20:30\",\"\",\"a\\tb\",\"x \"]", "- 'a: b'\n- '# c'\n- 'it''s: so'\n- \"yes\"\n- \"1e3\"\n- \"2026-11-27\"\n- \"190:20:30\"\n- \"\"\n- \"a\\tb\"\n- 'x '\n"},
        {"{\"t\":\"one\\ntwo\\n\",\"u\":\" x\\ny\"}", "t: |\n  one\n  two\nu: |2-\n   x\n  y\n"},
        {"{\"d\":\"0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 end\"}", "d: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\n  end\n"},
        {"{\"d\":\"0: 23456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 end\"}", "d: '0: 23456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\n  0123456789 end'\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_buf_ struct buf yaml = BUF_INIT;
        yaml_write(&yaml, yyjson_doc_get_root(json_parse_in(a, cases[i].json, strlen(cases[i].json), 0, NULL)));
        assert_string_equal(buf_cstr(&yaml), cases[i].want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_is_written_in_upstreams_style),
        cmocka_unit_test(label_selectors_are_read_and_printed), cmocka_unit_test(selectors_match_labels), cmocka_unit_test(field_selectors_unescape_their_values),
        cmocka_unit_test(yaml_has_the_scalars_of_1_1),          cmocka_unit_test(a_duplicate_yaml_key_is_told_with_its_line), cmocka_unit_test(what_is_written_as_yaml_is_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
