/* wire/json: strings are looked through sixteen bytes at a time; what must be seen is seen wherever it stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "wire/json.h"

enum { LONG = 70 };

static void what_is_escaped_is_escaped_at_every_place_of_strings_of_every_length(void **state UNUSED) {
    static const struct { const char *in, *out; } table[] = {
        {"\"", "\\\""}, {"\\", "\\\\"}, {"\n", "\\n"}, {"\x01", "\\u0001"}, {"\x1f", "\\u001f"}, {"<", "\\u003c"}, {">", "\\u003e"}, {"&", "\\u0026"},
        {" ", " "}, {"\x7f", "\x7f"}, {"\xc3\xa4", "\xc3\xa4"}, {"\xe2\x80\xa8", "\\u2028"}, {"\xe2\x80\xa9", "\\u2029"}, {"\xe2\x82\xac", "\xe2\x82\xac"},
    };
    for (size_t t = 0; t < ARRAY_LEN(table); t++)
        for (int len = 0; len < LONG; len++)
            for (int at = 0; at <= len; at++) {
                char in[LONG * 2], want[LONG * 2 + 20];
                _cleanup_buf_ struct buf out = BUF_INIT;
                snprintf(in, sizeof(in), "%.*s%s%.*s", at, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", table[t].in, len - at,
                    "0123456789012345678901234567890123456789012345678901234567890123456789");
                snprintf(want, sizeof(want), "\"%.*s%s%.*s\"", at, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", table[t].out, len - at,
                    "0123456789012345678901234567890123456789012345678901234567890123456789");
                json_write_string(&out, in);
                assert_string_equal(out.data, want);
            }
}

static void brackets_count_towards_the_depth_but_in_strings(void **state UNUSED) {
    char text[JSON_DEPTH_MAX * 2 + 200];
    for (int len = 0; len < LONG; len++)
        for (int more = 0; more <= 1; more++) { /* a string of brackets and escaped quotes, then as deep as may be, or one deeper */
            struct status err = STATUS_INIT;
            size_t n = (size_t)snprintf(text, sizeof(text), "[\"%.*s\\\"[[[{{{\\\\\",", len, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
            size_t deep = JSON_DEPTH_MAX - 1 + (size_t)more;
            memset(text + n, '[', deep);
            memset(text + n + deep, ']', deep + 1);
            yyjson_doc *doc = json_parse(text, n + deep * 2 + 1, 0, &err);
            assert_int_equal(doc != NULL, !more);
            if (more) assert_string_equal(status_message(&err), "exceeded max depth");
            yyjson_doc_free(doc);
            status_release(&err);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_escaped_is_escaped_at_every_place_of_strings_of_every_length),
        cmocka_unit_test(brackets_count_towards_the_depth_but_in_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
