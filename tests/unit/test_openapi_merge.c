/* Other servers' OpenAPI documents merged into ours: names that clash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "apiserver/openapi_merge.h"
#include "base/macros.h"

static const char ours[] = "{\"paths\":{\"/apis/a/v1/x\":{\"get\":{\"id\":\"ours\"}}},\"definitions\":{\"Same\":{\"type\":\"object\",\"x-kubernetes-group-version-kind\":[{\"kind\":\"A\"}]},\"Other\":{\"type\":\"string\"},\"Other_v2\":{\"type\":\"number\"}}}";
static const char theirs[] = "{\"paths\":{\"/apis/a/v1/x\":{\"get\":{\"id\":\"theirs\"}},\"/apis/b/v1/y\":{\"get\":{\"schema\":{\"$ref\":\"#/definitions/Outer\"},\"p\":[{\"$ref\":\"#/parameters/limit\"}]}},\"/apis/c/v1/z\":{\"get\":{\"$ref\":\"#/definitions/Far\"}}},"
    "\"parameters\":{\"limit\":{\"in\":\"query\"}},\"definitions\":{\"Outer\":{\"properties\":{\"a\":{\"$ref\":\"#/definitions/Same\"},\"b\":{\"$ref\":\"#/definitions/Other\"}}},"
    "\"Same\":{\"type\":\"object\",\"x-kubernetes-group-version-kind\":[{\"kind\":\"A\"},{\"kind\":\"B\"}]},\"Other\":{\"type\":\"boolean\"},\"Far\":{\"type\":\"string\"}}}";
static const char want[] = "{\"paths\":{\"/apis/a/v1/x\":{\"get\":{\"id\":\"ours\"}},\"/apis/b/v1/y\":{\"get\":{\"schema\":{\"$ref\":\"#/definitions/Outer\"},\"p\":[{\"$ref\":\"#/parameters/limit\"}]}}},"
    "\"definitions\":{\"Same\":{\"type\":\"object\",\"x-kubernetes-group-version-kind\":[{\"kind\":\"A\"},{\"kind\":\"B\"}]},\"Other\":{\"type\":\"string\"},\"Other_v2\":{\"type\":\"number\"},"
    "\"Other_v3\":{\"type\":\"boolean\"},\"Outer\":{\"properties\":{\"a\":{\"$ref\":\"#/definitions/Same\"},\"b\":{\"$ref\":\"#/definitions/Other_v3\"}}}},\"parameters\":{\"limit\":{\"in\":\"query\"}}}";

static yyjson_val *parse(struct arena *a, const char *text) { return yyjson_doc_get_root(json_parse_in(a, text, strlen(text), 0, NULL)); }

static void test_names_that_clash(void **state UNUSED) {
    struct arena *a = arena_new();
    yyjson_mut_doc *doc = json_mut_new(a, parse(a, ours)), *expected = json_mut_new(a, parse(a, want));
    openapi_v2_merge(a, doc, parse(a, theirs), "/apis/b/v1/");
    if (!yyjson_mut_equals(yyjson_mut_doc_get_root(doc), yyjson_mut_doc_get_root(expected))) {
        struct buf out = BUF_INIT;
        json_write_mut(&out, yyjson_mut_doc_get_root(doc));
        print_error("%s\n", buf_cstr(&out));
        buf_release(&out);
        fail();
    }
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names_that_clash)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
