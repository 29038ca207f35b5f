/* Options of writes: Create-, Update- and PatchOptions from the query, checked as upstream's metav1 validation does; and the manager's name.
 * Tests: tests/integration/test_apply.py. */
#include <string.h>
#include "apiserver/handlers.h"
#include "base/str.h"
#include "wire/json.h"

enum { FIELD_MANAGER_MAX = 128 };

/* A rune of UTF-8 text; *len is what it takes. Bytes that are none count as U+FFFD, one each. */
static uint32_t rune_at(const unsigned char *p, size_t *len) {
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
    uint32_t r = n == 1 ? p[0] : n == 2 ? p[0] & 0x1fu : n == 3 ? p[0] & 0xfu : p[0] & 7u;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) n = 0;
        else r = r << 6 | (p[i] & 0x3fu);
    }
    *len = n ? n : 1;
    return n ? r : 0xfffd;
}

/* Go's unicode.IsPrint, but for unassigned code points: no controls, no spaces but the blank, nothing invisible or private. */
static bool printable(uint32_t r) {
    static const struct { uint32_t from, to; } hidden[] = {{0, 0x1f}, {0x7f, 0xa0}, {0xad, 0xad}, {0x600, 0x605}, {0x61c, 0x61c}, {0x6dd, 0x6dd}, {0x70f, 0x70f}, {0x1680, 0x1680}, {0x180e, 0x180e},
        {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000}, {0xd800, 0xf8ff}, {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe007f}, {0xf0000, 0x10ffff}};
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        if (r >= hidden[i].from && r <= hidden[i].to) return false;
    return true;
}

static void check_manager(const char *manager, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "fieldManager");
    size_t n, len = strlen(manager);
    if (len > FIELD_MANAGER_MAX) field_too_long(errs, at, FIELD_MANAGER_MAX);
    for (size_t i = 0; i < len; i += n) {
        uint32_t r = rune_at((const unsigned char *)manager + i, &n);
        if (!printable(r)) field_invalid(errs, at, manager, "invalid character U+%04X (at position %zu)", r, i);
    }
}

static void check_dry_run(const struct api_request *r, bool *ret, struct field_errors *errs) {
    bool wrong = false;
    _cleanup_buf_ struct buf given = BUF_INIT;
    *ret = false;
    for (size_t i = 0; i < r->query.len; i++) {
        if (strcmp(r->query.items[i].key, "dryRun") != 0) continue;
        buf_append_char(&given, given.len ? ',' : '[');
        json_write_string(&given, r->query.items[i].value);
        if (strcmp(r->query.items[i].value, "All") == 0) *ret = true;
        else wrong = true;
    }
    if (wrong) field_error_add(errs, "FieldValueNotSupported", FIELD(NULL, "dryRun"), "Unsupported value: %s]: supported values: \"All\"", given.data);
}

/* The manager when none is named: the first word of the User-Agent, as far as it can be printed. */
static const char *manager_of_agent(struct api_request *r) {
    const char *agent = str_or(http_request_header(r->http, "User-Agent"), "");
    char *out = arena_alloc(r->arena, FIELD_MANAGER_MAX + 1);
    size_t len = 0, n;
    for (size_t i = 0; agent[i] && agent[i] != '/'; i += n) {
        uint32_t rune = rune_at((const unsigned char *)agent + i, &n);
        if (!printable(rune) || rune == 0xfffd) continue;
        if (len + n > FIELD_MANAGER_MAX) break;
        memcpy(out + len, agent + i, n);
        len += n;
    }
    return len ? out : "unknown";
}

static bool is_false(const char *text) { return str_eq(text, "0") || str_eq_nocase(text, "false"); }

static int check_options(struct api_request *r, bool apply, struct write_options *ret, struct status *reterr) {
    static const char *const validations[] = {"", "Ignore", "Strict", "Warn", NULL};
    const char *manager = str_or(url_query_get(&r->query, "fieldManager"), ""), *validation = url_query_get(&r->query, "fieldValidation");
    struct field_errors errs = field_errors_in(r->arena);
    if (str_eq(r->verb, "create") && body_check_media(r, reterr) != 0) return -1; /* looked at first when something is created */
    *ret = (struct write_options){.subresource = r->subresource};
    if (apply && str_empty(manager)) field_required(&errs, FIELD(NULL, "fieldManager"), "is required for apply patch");
    if (str_eq(r->verb, "patch") && !apply && url_query_has(&r->query, "force")) field_forbidden(&errs, FIELD(NULL, "force"), "may not be specified for non-apply patch");
    check_manager(manager, &errs);
    check_dry_run(r, &ret->dry_run, &errs);
    if (!str_empty(validation) && !str_in(validation, validations)) field_not_supported(&errs, FIELD(NULL, "fieldValidation"), validation, validations);
    if (errs.len) return field_errors_status(&errs, "meta.k8s.io", request_options_kind(r), "", reterr);
    ret->force = apply && url_query_has(&r->query, "force") && !is_false(url_query_get(&r->query, "force"));
    ret->field_manager = str_empty(manager) ? manager_of_agent(r) : manager;
    return 0;
}

int read_write_options(struct api_request *r, struct write_options *ret, struct status *reterr) { return check_options(r, false, ret, reterr); }
int read_apply_options(struct api_request *r, struct write_options *ret, struct status *reterr) { return check_options(r, true, ret, reterr); }
