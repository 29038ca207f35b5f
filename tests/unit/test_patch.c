/* JSON patch, merge patch and strategic merge as upstream's handlers apply them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "api/object.h"
#include "api/patch.h"
#include "base/str.h"
#include "wire/json.h"

enum kind { JSON, MERGE, STRATEGIC };

/* The patched document, or "CODE: message". */
static char *patched(struct arena *a, enum kind kind, const struct type_desc *type, const char *doc_text, const char *patch_text) {
    _cleanup_status_ struct status err = STATUS_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT;
    yyjson_val *base = yyjson_doc_get_root(json_parse_in(a, doc_text, strlen(doc_text), JSON_NUMBERS_RAW, NULL));
    yyjson_val *patch = yyjson_doc_get_root(json_parse_in(a, patch_text, strlen(patch_text), JSON_NUMBERS_RAW, NULL));
    assert_non_null(base);
    assert_non_null(patch);
    yyjson_mut_doc *doc = json_mut_new(a, base);
    int r = kind == JSON ? json_patch_apply(a, doc, patch, &err) : kind == MERGE ? merge_patch_apply(a, doc, patch, &err) : strategic_patch_apply(a, type, doc, patch, &err);
    if (r != 0) return arena_printf(a, "%d: %s", err.code, status_message(&err));
    json_write_mut(&out, yyjson_mut_doc_get_root(doc));
    return arena_strdup(a, buf_cstr(&out));
}

struct patch_case { const char *doc, *patch, *want; };

static void check(enum kind kind, const struct type_desc *type, const struct patch_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *got = patched(a, kind, type, cases[i].doc, cases[i].patch);
        if (!str_has_prefix(got, cases[i].want) || (cases[i].want[0] == '{' && strcmp(got, cases[i].want) != 0))
            fail_msg("%s on %s:\n  wanted %s\n  got    %s", cases[i].patch, cases[i].doc, cases[i].want, got);
    }
}

static void json_patch_operations(void **state UNUSED) {
    static const struct patch_case cases[] = {
        {"{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]", "{\"a\":1}"},
        {"{\"l\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/l/1\",\"value\":2}]", "{\"l\":[1,2,3]}"},
        {"{\"l\":[1]}", "[{\"op\":\"add\",\"path\":\"/l/-\",\"value\":2}]", "{\"l\":[1,2]}"},
        {"{\"a/b\":1,\"m~n\":2}", "[{\"op\":\"remove\",\"path\":\"/a~1b\"},{\"op\":\"replace\",\"path\":\"/m~0n\",\"value\":3}]", "{\"m~n\":3}"},
        {"{\"a\":{}}", "[{\"op\":\"replace\",\"path\":\"/a/new\",\"value\":3}]", "{\"a\":{\"new\":3}}"},
        {"{\"a\":{\"x\":1}}", "[{\"op\":\"move\",\"from\":\"/a/x\",\"path\":\"/y\"}]", "{\"a\":{},\"y\":1}"},
        {"{\"a\":{\"x\":1}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"},{\"op\":\"add\",\"path\":\"/b/z\",\"value\":2}]", "{\"a\":{\"x\":1},\"b\":{\"x\":1,\"z\":2}}"},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1},{\"op\":\"test\",\"path\":\"/no\",\"value\":null}]", "{\"a\":1}"},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", "422: "},
        {"{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", "422: "},
        {"{\"l\":[]}", "[{\"op\":\"add\",\"path\":\"/l/2\",\"value\":1}]", "422: "},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", "422: "},
        {"{}", "[{\"op\":\"dance\",\"path\":\"/a\"}]", "422: "},
        {"{}", "[{\"op\":\"move\",\"path\":\"/a\"}]", "422: "},
        {"{}", "{}", "400: "},
        {"{}", "[1]", "400: "},
        {"{}", "[{\"op\":5,\"path\":\"/a\"}]", "400: error decoding patch"},
        {"{\"a\":1}", "null", "{\"a\":1}"},
        {"{}", "[{\"op\":\"add\",\"path\":\"what/a\",\"value\":1}]", "{\"a\":1}"}, /* what stands before the first slash is not looked at */
        {"{\"a\":{}}", "[{\"op\":\"copy\",\"from\":\"/a/no\",\"path\":\"/b\"}]", "{\"a\":{},\"b\":null}"},
        {"{\"a\":{}}", "[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/b\"}]", "422: "},
        {"{}", "[{\"op\":\"add\",\"path\":\"\",\"value\":{}}]", "422: "},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"value\":2}]", "{\"a\":2}"},
    };
    check(JSON, NULL, cases, ARRAY_LEN(cases));
}

static void a_json_patch_of_more_than_ten_thousand_operations_is_too_large(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf patch = BUF_INIT;
    for (int i = 0; i < 10001; i++) buf_printf(&patch, "%c{\"op\":\"test\",\"path\":\"/x\",\"value\":null}", i ? ',' : '[');
    buf_append_char(&patch, ']');
    assert_string_equal(patched(a, JSON, NULL, "{}", patch.data), "413: Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001");
}

static void merge_patch_follows_rfc_7386(void **state UNUSED) {
    static const struct patch_case cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[1,2]}", "{\"a\":[null,3]}", "{\"a\":[null,3]}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"{}", "[]", "400: "},
    };
    check(MERGE, NULL, cases, ARRAY_LEN(cases));
}

#define AB "{\"containers\":[{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"b\"}]}"

static void strategic_lists_merge_by_key_in_upstreams_order(void **state UNUSED) {
    static const struct patch_case cases[] = {
        {AB, "{\"containers\":[{\"name\":\"b\",\"image\":\"j\"}]}", "{\"containers\":[{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"b\",\"image\":\"j\"}]}"},
        {AB, "{\"containers\":[{\"name\":\"n\"}]}", "{\"containers\":[{\"name\":\"n\"},{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"b\"}]}"},
        {AB, "{\"containers\":[{\"name\":\"b\"},{\"name\":\"n\"}]}", "{\"containers\":[{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"b\"},{\"name\":\"n\"}]}"},
        {AB, "{\"containers\":[{\"name\":\"a\",\"$patch\":\"delete\"}]}", "{\"containers\":[{\"name\":\"b\"}]}"},
        {AB, "{\"containers\":[{\"name\":\"n\"},{\"$patch\":\"replace\"}]}", "{\"containers\":[{\"name\":\"n\"}]}"},
        {AB, "{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}", "{\"containers\":[{\"name\":\"b\"},{\"name\":\"a\",\"image\":\"i\"}]}"},
        {AB, "{\"$setElementOrder/containers\":[{\"name\":\"a\"},{\"name\":\"n\"}],\"containers\":[{\"name\":\"n\"}]}",
            "{\"containers\":[{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"n\"},{\"name\":\"b\"}]}"},
        {"{}", "{\"containers\":[{\"name\":\"n\",\"image\":null},{\"$patch\":\"delete\",\"name\":\"z\"}]}", "{\"containers\":[{\"name\":\"n\"}]}"},
        {"{\"tolerations\":[{\"key\":\"a\"}]}", "{\"tolerations\":[{\"key\":\"b\"}]}", "{\"tolerations\":[{\"key\":\"b\"}]}"},
        {AB, "{\"containers\":null}", "{}"},
    };
    check(STRATEGIC, &corev1_PodSpec_desc, cases, ARRAY_LEN(cases));
}

static void strategic_maps_and_primitive_lists(void **state UNUSED) {
    static const struct patch_case cases[] = {
        {"{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}", "{\"labels\":{\"a\":null,\"c\":\"3\"}}", "{\"labels\":{\"b\":\"2\",\"c\":\"3\"}}"},
        {"{\"labels\":{\"a\":\"1\"}}", "{\"labels\":{\"$patch\":\"replace\",\"c\":\"3\"}}", "{\"labels\":{\"c\":\"3\"}}"},
        {"{\"labels\":{\"a\":\"1\"}}", "{\"labels\":{\"$patch\":\"delete\"}}", "{\"labels\":{}}"},
        {"{}", "{\"labels\":{\"$patch\":\"explode\"}}", "{}"},
        {"{\"finalizers\":[\"x\",\"y\"]}", "{\"finalizers\":[\"y\",\"z\"]}", "{\"finalizers\":[\"x\",\"y\",\"z\"]}"},
        {"{\"finalizers\":[\"x\",\"y\"]}", "{\"$deleteFromPrimitiveList/finalizers\":[\"x\",\"none\"]}", "{\"finalizers\":[\"y\"]}"},
        {"{\"finalizers\":[\"x\",\"y\"]}", "{\"$setElementOrder/finalizers\":[\"y\",\"x\"]}", "{\"finalizers\":[\"y\",\"x\"]}"},
    };
    check(STRATEGIC, &metav1_ObjectMeta_desc, cases, ARRAY_LEN(cases));
}

static void retained_keys_drop_the_others(void **state UNUSED) {
    static const struct patch_case cases[] = {
        {"{\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1}}}", "{\"strategy\":{\"$retainKeys\":[\"type\"],\"type\":\"Recreate\"}}", "{\"strategy\":{\"type\":\"Recreate\"}}"},
        {"{\"strategy\":{\"type\":\"R\"}}", "{\"strategy\":{\"$retainKeys\":[\"type\"],\"rollingUpdate\":{}}}", "400: invalid patch format of retainKeys"},
        {"{\"strategy\":{\"type\":\"R\"}}", "{\"strategy\":{\"$retainKeys\":\"type\"}}", "400: invalid patch format of retainKeys"},
    };
    check(STRATEGIC, &appsv1_DeploymentSpec_desc, cases, ARRAY_LEN(cases));
}

static void strategic_patches_that_upstream_refuses(void **state UNUSED) {
    static const struct patch_case cases[] = {
        {AB, "{\"containers\":[{\"image\":\"x\"}]}", "500: map: map[image:x] does not contain declared merge key: name"},
        {AB, "{\"containers\":[{\"$patch\":\"delete\"}]}", "500: map: map[$patch:delete] does not contain declared merge key: name"},
        {AB, "{\"containers\":[{\"$patch\":\"explode\",\"name\":\"a\"}]}", "500: unknown patch type: explode"},
        {AB, "{\"containers\":[{\"$patch\":\"merge\",\"name\":\"a\"}]}", "500: merging lists cannot yet be specified in the patch"},
        {AB, "{\"containers\":[\"a\"]}", "500: "},
        {AB, "{\"containers\":[[]]}", "422: lists of lists are not supported"},
        {AB, "{\"$setElementOrder/containers\":[{\"name\":\"b\"}],\"containers\":[{\"name\":\"e\"}]}", "500: The order in patch list"},
        {AB, "{\"$setElementOrder/containers\":{}}", "500: expected a []interface {}"},
        {AB, "{\"$setElementOrder/none\":[]}", "500: unable to find api field"},
        {AB, "{\"$setElementOrder\":[]}", "400: invalid patch format of setElementOrder list"},
        {"{\"nodeSelector\":{\"a\":\"b\"}}", "{\"nodeSelector\":{\"$patch\":\"merge\"}}", "500: unknown patch type: merge"},
        {AB, "[]", "400: "},
    };
    check(STRATEGIC, &corev1_PodSpec_desc, cases, ARRAY_LEN(cases));
}

/* A body's worth of keys must not cost their square: these finish in well under a second, or the test times out. */
static void patches_with_very_many_keys_are_quick(void **state UNUSED) {
    static const enum kind kinds[] = {MERGE, STRATEGIC};
    _cleanup_buf_ struct buf patch = BUF_INIT;
    for (int i = 0; i < 100000; i++) buf_printf(&patch, "%s\"k%d\":\"\"", i ? "," : "{\"data\":{", i);
    buf_append_str(&patch, "}}");
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        _cleanup_arena_ struct arena *a = arena_new();
        assert_string_equal(patched(a, kinds[k], &corev1_ConfigMap_desc, "{\"data\":{}}", patch.data), patch.data);
        assert_string_equal(patched(a, kinds[k], &corev1_ConfigMap_desc, "{}", patch.data), patch.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_patch_operations),
        cmocka_unit_test(a_json_patch_of_more_than_ten_thousand_operations_is_too_large),
        cmocka_unit_test(merge_patch_follows_rfc_7386),
        cmocka_unit_test(strategic_lists_merge_by_key_in_upstreams_order),
        cmocka_unit_test(strategic_maps_and_primitive_lists),
        cmocka_unit_test(retained_keys_drop_the_others),
        cmocka_unit_test(strategic_patches_that_upstream_refuses),
        cmocka_unit_test(patches_with_very_many_keys_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
