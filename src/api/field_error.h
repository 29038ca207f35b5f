/* Validation errors: what is wrong with which field, in upstream's words. Upstream: apimachinery util/validation/field.
 *
 * A path is a chain of stack structs that is printed only when there is an error to print:
 *
 *     static void validate_spec(const struct corev1_PodSpec *spec, const struct field_path *at, struct field_errors *errs) {
 *         for (size_t i = 0; i < spec->containers.len; i++) {
 *             const struct field_path *c = FIELD_INDEX(FIELD(at, "containers"), i);
 *             if (str_empty(spec->containers.items[i].name)) field_required(errs, FIELD(c, "name"), "");
 *
 * FIELD(...) makes a compound literal that lives as long as the enclosing block. Errors are collected, all of them, in the order found. */
#ifndef CKUBE_API_FIELD_ERROR_H
#define CKUBE_API_FIELD_ERROR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/macros.h"
#include "base/status.h"

struct field_path {
    const struct field_path *up;
    const char *name; /* .name, or with is_key [name] */
    size_t index;     /* [index] when name is NULL */
    bool is_key;
};
#define FIELD(up, name) (&(const struct field_path){(up), (name), 0, false})
#define FIELD_INDEX(up, i) (&(const struct field_path){(up), NULL, (i), false})
#define FIELD_KEY(up, key) (&(const struct field_path){(up), (key), 0, true})
/* "spec.containers[0].name"; "" for NULL (upstream prints "<nil>" for a nil path: pass FIELD(NULL, "<nil>") where that shows). */
char *field_path_string(struct arena *a, const struct field_path *path);

struct field_error {
    const char *type;   /* FieldValueInvalid, ... as in a Status cause's reason */
    const char *field;
    const char *detail; /* all after "field: " */
};

struct field_errors {
    struct arena *arena;
    struct field_error *items;
    size_t len;
};
static inline struct field_errors field_errors_in(struct arena *a) { return (struct field_errors){a, NULL, 0}; }

/* `Invalid value: VALUE: DETAIL`. The value is quoted as a string, printed as a number or bool, or taken as it is (`_raw`: JSON, a struct dump). */
void field_invalid(struct field_errors *errs, const struct field_path *path, const char *value, const char *format, ...) PRINTF_LIKE(4, 5);
void field_invalid_int(struct field_errors *errs, const struct field_path *path, int64_t value, const char *format, ...) PRINTF_LIKE(4, 5);
void field_invalid_bool(struct field_errors *errs, const struct field_path *path, bool value, const char *format, ...) PRINTF_LIKE(4, 5);
void field_invalid_raw(struct field_errors *errs, const struct field_path *path, const char *value, const char *format, ...) PRINTF_LIKE(4, 5);
/* `Required value: DETAIL`, or without a detail when it is "". */
void field_required(struct field_errors *errs, const struct field_path *path, const char *format, ...) PRINTF_LIKE(3, 4);
void field_forbidden(struct field_errors *errs, const struct field_path *path, const char *format, ...) PRINTF_LIKE(3, 4);
void field_duplicate(struct field_errors *errs, const struct field_path *path, const char *value);       /* quoted */
void field_duplicate_raw(struct field_errors *errs, const struct field_path *path, const char *value);
void field_not_found(struct field_errors *errs, const struct field_path *path, const char *value);       /* quoted */
/* `Unsupported value: "x": supported values: "a", "b"`; supported ends with NULL and is printed in the order given (upstream sorts: so should you). */
void field_not_supported(struct field_errors *errs, const struct field_path *path, const char *value, const char *const *supported);
void field_too_long(struct field_errors *errs, const struct field_path *path, int64_t max_bytes);         /* Too long: may not be more than N bytes */
void field_too_many(struct field_errors *errs, const struct field_path *path, int64_t actual, int64_t max);
void field_internal_error(struct field_errors *errs, const struct field_path *path, const char *format, ...) PRINTF_LIKE(3, 4);
void field_type_invalid(struct field_errors *errs, const struct field_path *path, const char *value_raw, const char *format, ...) PRINTF_LIKE(4, 5);
/* Any other type or text, and appending what another function found. */
void field_error_add(struct field_errors *errs, const char *type, const struct field_path *path, const char *format, ...) PRINTF_LIKE(4, 5);
void field_errors_append(struct field_errors *errs, const struct field_errors *more);

/* The 422 that upstream's errors.NewInvalid gives: `Pod "x" is invalid: spec.a: Required value`, or `[.., ..]` for several; details and causes. Returns -1. */
int field_errors_status(const struct field_errors *errs, const char *group, const char *kind, const char *name, struct status *reterr);
/* A Go string literal of s, as %q prints it. */
char *go_quote(struct arena *a, const char *s);
#endif
