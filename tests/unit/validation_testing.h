/* Tables of objects and what validation says of them. Objects are JSON with ' for "; what is wrong is one line of `field: text` with " | " between. */
#ifndef CKUBE_TESTS_VALIDATION_TESTING_H
#define CKUBE_TESTS_VALIDATION_TESTING_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "api/defaults.h"
#include "api/field_error.h"
#include "api/object.h"
#include "base/str.h"

struct validation_case { const char *object, *want; };
struct update_case { const char *old, *object, *want; };

static inline void *object_from(struct arena *a, const struct type_desc *type, const char *text) {
    struct status err = STATUS_INIT;
    void *obj = object_new(a, type);
    char *json = arena_strdup(a, text);
    for (char *p = json; *p; p++)
        if (*p == '\'') *p = '"';
    if (object_decode_json(a, type, obj, json, strlen(json), NULL, &err) != 0) fail_msg("%s: %s", status_message(&err), json);
    object_set_defaults(a, type, obj);
    return obj;
}

static inline void same_errors(const struct field_errors *errs, const char *object, const char *want) {
    _cleanup_buf_ struct buf got = BUF_INIT;
    for (size_t i = 0; i < errs->len; i++) buf_printf(&got, "%s%s: %s", i ? " | " : "", errs->items[i].field, errs->items[i].detail);
    if (strcmp(buf_cstr(&got), want) != 0) fail_msg("%s\n  want: %s\n  got:  %s", object, want, buf_cstr(&got));
}

static inline void check_creations(const struct type_desc *type, void (*validate)(const void *, struct field_errors *), const struct validation_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct field_errors errs = field_errors_in(a);
        validate(object_from(a, type, cases[i].object), &errs);
        same_errors(&errs, cases[i].object, cases[i].want);
    }
}

static inline void check_updates(const struct type_desc *type, void (*validate)(const void *, const void *, struct field_errors *), const struct update_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct field_errors errs = field_errors_in(a);
        validate(object_from(a, type, cases[i].object), object_from(a, type, cases[i].old), &errs);
        same_errors(&errs, cases[i].object, cases[i].want);
    }
}
#define CHECK_CREATIONS(type, validate, cases) check_creations(&type, validate, cases, ARRAY_LEN(cases))
#define CHECK_UPDATES(type, validate, cases) check_updates(&type, validate, cases, ARRAY_LEN(cases))
#endif
