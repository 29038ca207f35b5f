/* apiserver/connect: how the name in a proxy's path is read. The rest is driven by kubectl in the integration tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "apiserver/connect.h"
#include "base/str.h"

static void names_with_schemes_and_ports_are_split(void **state UNUSED) {
    static const struct { const char *id, *want; } cases[] = {
        {"web", " web "}, {"web:80", " web 80"}, {"web:http", " web http"}, {"https:web:443", "https web 443"}, {"http:web:", "http web "}, {":web:80", " web 80"},
        {"", NULL}, {":80", NULL}, {"ftp:web:80", NULL}, {"http:web:80:x", NULL}, {"https::443", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new();
        const char *scheme, *name, *port;
        bool ok = connect_split_id(a, cases[i].id, &scheme, &name, &port);
        const char *got = ok ? arena_printf(a, "%s %s %s", scheme, name, port) : NULL;
        if (!str_eq(got, cases[i].want)) fail_msg("%s: %s", cases[i].id, got);
        arena_free(a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_with_schemes_and_ports_are_split)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
