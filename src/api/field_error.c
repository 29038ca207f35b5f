#include "api/field_error.h"
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/str.h"

static void print_path(const struct field_path *p, struct buf *out) {
    if (!p) return;
    print_path(p->up, out);
    if (p->is_key) buf_printf(out, "[%s]", p->name ? p->name : "");
    else if (p->name) buf_printf(out, "%s%s", out->len ? "." : "", p->name);
    else buf_printf(out, "[%zu]", p->index);
}

char *field_path_string(struct arena *a, const struct field_path *path) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    print_path(path, &out);
    return arena_strdup(a, buf_cstr(&out));
}

/* Decodes one UTF-8 rune; returns its length, or 0 if the bytes are not valid. */
static size_t rune_at(const unsigned char *p, uint32_t *ret) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
    if (n == 0) return 0;
    uint32_t r = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        r = r << 6 | (p[i] & 0x3f);
    }
    if (r < least[n] || r > 0x10ffff || (r >= 0xd800 && r < 0xe000)) return 0;
    *ret = r;
    return n;
}

char *go_quote(struct arena *a, const char *s) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_char(&out, '"');
    for (const unsigned char *p = (const unsigned char *)(s ? s : ""); *p;) {
        uint32_t r;
        size_t n = rune_at(p, &r);
        if (p[0] == 0xc0 && p[1] == 0x80) {
            buf_append_str(&out, "\\x00");
            p += 2;
            continue;
        }
        if (n == 0) {
            buf_printf(&out, "\\x%02x", *p++);
            continue;
        }
        static const char escapes[] = "a\ab\bf\fn\nr\rt\tv\v";
        const char *e = NULL;
        for (size_t i = 0; i + 1 < sizeof(escapes); i += 2)
            if ((uint32_t)escapes[i + 1] == r) e = &escapes[i];
        if (r == '"' || r == '\\') buf_printf(&out, "\\%c", (int)r);
        else if (e) buf_printf(&out, "\\%c", *e);
        else if (r < 0x20 || r == 0x7f) buf_printf(&out, "\\x%02x", r);
        else if ((r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xad) buf_printf(&out, "\\u%04x", r);
        else buf_append(&out, p, n);
        p += n;
    }
    buf_append_char(&out, '"');
    return arena_strdup(a, out.data);
}

static void add(struct field_errors *errs, const char *type, const struct field_path *path, const char *detail) {
    struct field_error *e = LIST_PUSH(errs->arena, errs);
    *e = (struct field_error){type, field_path_string(errs->arena, path), detail};
}

static void add_detailed(struct field_errors *errs, const char *type, const struct field_path *path, const char *prefix, const char *format, va_list args) PRINTF_LIKE(5, 0);
/* "PREFIX: DETAIL", or the prefix alone when the detail is empty. */
static void add_detailed(struct field_errors *errs, const char *type, const struct field_path *path, const char *prefix, const char *format, va_list args) {
    const char *detail = arena_vprintf(errs->arena, format, args);
    add(errs, type, path, *detail ? arena_printf(errs->arena, "%s: %s", prefix, detail) : prefix);
}

#define DETAILED(type, prefix)                                   \
    do {                                                         \
        va_list args;                                            \
        va_start(args, format);                                  \
        add_detailed(errs, type, path, prefix, format, args);    \
        va_end(args);                                            \
    } while (0)

void field_invalid(struct field_errors *errs, const struct field_path *path, const char *value, const char *format, ...) {
    DETAILED("FieldValueInvalid", arena_printf(errs->arena, "Invalid value: %s", go_quote(errs->arena, value)));
}

void field_invalid_int(struct field_errors *errs, const struct field_path *path, int64_t value, const char *format, ...) {
    DETAILED("FieldValueInvalid", arena_printf(errs->arena, "Invalid value: %lld", (long long)value));
}

void field_invalid_bool(struct field_errors *errs, const struct field_path *path, bool value, const char *format, ...) {
    DETAILED("FieldValueInvalid", arena_printf(errs->arena, "Invalid value: %s", value ? "true" : "false"));
}

void field_invalid_raw(struct field_errors *errs, const struct field_path *path, const char *value, const char *format, ...) {
    DETAILED("FieldValueInvalid", arena_printf(errs->arena, "Invalid value: %s", value));
}

void field_type_invalid(struct field_errors *errs, const struct field_path *path, const char *value_raw, const char *format, ...) {
    DETAILED("FieldValueTypeInvalid", arena_printf(errs->arena, "Invalid value: %s", value_raw));
}

void field_required(struct field_errors *errs, const struct field_path *path, const char *format, ...) { DETAILED("FieldValueRequired", "Required value"); }
void field_forbidden(struct field_errors *errs, const struct field_path *path, const char *format, ...) { DETAILED("FieldValueForbidden", "Forbidden"); }
void field_internal_error(struct field_errors *errs, const struct field_path *path, const char *format, ...) { DETAILED("InternalError", "Internal error"); }

void field_error_add(struct field_errors *errs, const char *type, const struct field_path *path, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(errs, type, path, arena_vprintf(errs->arena, format, args));
    va_end(args);
}

void field_duplicate(struct field_errors *errs, const struct field_path *path, const char *value) { field_duplicate_raw(errs, path, go_quote(errs->arena, value)); }

void field_duplicate_raw(struct field_errors *errs, const struct field_path *path, const char *value) {
    add(errs, "FieldValueDuplicate", path, arena_printf(errs->arena, "Duplicate value: %s", value));
}

void field_not_found(struct field_errors *errs, const struct field_path *path, const char *value) {
    add(errs, "FieldValueNotFound", path, arena_printf(errs->arena, "Not found: %s", go_quote(errs->arena, value)));
}

void field_not_supported(struct field_errors *errs, const struct field_path *path, const char *value, const char *const *supported) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_printf(&out, "Unsupported value: %s", go_quote(errs->arena, value));
    for (size_t i = 0; supported[i]; i++) buf_printf(&out, "%s%s", i ? ", " : ": supported values: ", go_quote(errs->arena, supported[i]));
    add(errs, "FieldValueNotSupported", path, arena_strdup(errs->arena, out.data));
}

void field_too_long(struct field_errors *errs, const struct field_path *path, int64_t max_bytes) {
    if (max_bytes < 0) add(errs, "FieldValueTooLong", path, "Too long: value is too long");
    else add(errs, "FieldValueTooLong", path, arena_printf(errs->arena, "Too long: may not be more than %lld bytes", (long long)max_bytes));
}

void field_too_many(struct field_errors *errs, const struct field_path *path, int64_t actual, int64_t max) {
    add(errs, "FieldValueTooMany", path, arena_printf(errs->arena, "Too many: %lld: must have at most %lld item%s", (long long)actual, (long long)max, max == 1 ? "" : "s"));
}

void field_errors_append(struct field_errors *errs, const struct field_errors *more) {
    for (size_t i = 0; i < more->len; i++) {
        struct field_error e = more->items[i];
        *LIST_PUSH(errs->arena, errs) = e;
    }
}

/* Upstream's aggregate prints equal messages once, though each stays a cause of its own. */
static bool printed_before(const struct field_errors *errs, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (strcmp(errs->items[i].field, errs->items[at].field) == 0 && strcmp(errs->items[i].detail, errs->items[at].detail) == 0) return true;
    return false;
}

int field_errors_status(const struct field_errors *errs, const char *group, const char *kind, const char *name, struct status *reterr) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    size_t distinct = 0;
    for (size_t i = 0; i < errs->len; i++) {
        if (printed_before(errs, i)) continue;
        buf_printf(&out, "%s%s: %s", distinct++ ? ", " : "", errs->items[i].field, errs->items[i].detail);
    }
    const char *qualified = str_empty(group) ? kind : arena_printf(errs->arena, "%s.%s", kind, group);
    status_set(reterr, 422, REASON_INVALID, distinct > 1 ? "%s %s is invalid: [%s]" : "%s %s is invalid: %s", qualified, go_quote(errs->arena, name), buf_cstr(&out));
    status_details(reterr, str_empty(group) ? NULL : group, kind, str_empty(name) ? NULL : name);
    for (size_t i = 0; i < errs->len; i++) status_add_cause(reterr, errs->items[i].type, errs->items[i].field, "%s", errs->items[i].detail);
    return -1;
}
