/* Semantic versions in expressions. Upstream: apiserver pkg/cel/library/semverlib.go, which parses as blang/semver does. A value keeps the version's text. */
#include <ctype.h>
#include <string.h>
#include "api/cel/internal.h"
#include "base/str.h"

struct semver { uint64_t numbers[3]; const char *pre; };

static bool is_number(const char *s, size_t len) {
    if (!len || (len > 1 && *s == '0')) return false;
    for (size_t i = 0; i < len; i++)
        if (!isdigit((unsigned char)s[i])) return false;
    return true;
}

/* Parts between dots, none of them empty, of letters, digits and hyphens; numbers among a pre-release's without leading zeros. */
static bool are_identifiers(const char *s, bool pre) {
    for (;; s++) {
        size_t len = strcspn(s, "."), digits = 0;
        if (!len) return false;
        for (size_t i = 0; i < len; i++) {
            if (!isalnum((unsigned char)s[i]) && s[i] != '-') return false;
            if (isdigit((unsigned char)s[i])) digits++;
        }
        if (pre && digits == len && !is_number(s, len)) return false;
        s += len;
        if (!*s) return true;
    }
}

static bool parse(struct arena *a, const char *s, struct semver *v) {
    *v = (struct semver){.pre = ""};
    for (int i = 0; i < 3; i++) {
        size_t len = i < 2 ? strcspn(s, ".") : strcspn(s, "-+");
        if (!is_number(s, len) || !str_to_u64(arena_strndup(a, s, len), &v->numbers[i]) || (i < 2 && s[len] != '.')) return false;
        s += len + (i < 2);
    }
    const char *build = strchr(s, '+');
    if (build && !are_identifiers(build + 1, false)) return false;
    if (*s != '-') return true;
    v->pre = build ? arena_strndup(a, s + 1, (size_t)(build - s - 1)) : s + 1;
    return are_identifiers(v->pre, true);
}

/* Without a "v" before and zeros in front; what is missing of major.minor.patch is 0. NULL: too short for what follows it. */
static const char *normalized(struct arena *a, const char *s) {
    const char *parts[3] = {"0", "0", "0"};
    int n = 0;
    if (*s == 'v') s++;
    for (bool more = true; more; n++) {
        size_t len = n < 2 ? strcspn(s, ".") : strlen(s);
        const char *part = arena_strndup(a, s, len);
        if (len > 1) {
            part += strspn(part, "0");
            if (!isdigit((unsigned char)*part)) part = arena_printf(a, "0%s", part);
        }
        parts[n] = part;
        more = n < 2 && s[len] == '.';
        s += len + more;
    }
    if (n < 3 && strpbrk(parts[n - 1], "+-")) return NULL;
    return arena_printf(a, "%s.%s.%s", parts[0], parts[1], parts[2]);
}

static int compare_pre(const char *x, const char *y) {
    if (!*x || !*y) return !*y - !*x < 0 ? 1 : !*y - !*x > 0 ? -1 : 0; /* a release is greater than all that came before it */
    while (*x && *y) {
        size_t n = strcspn(x, "."), m = strcspn(y, ".");
        bool xn = strspn(x, "0123456789") == n, yn = strspn(y, "0123456789") == m;
        int c;
        if (xn != yn) return xn ? -1 : 1;
        if (xn && n != m) return n < m ? -1 : 1;
        c = memcmp(x, y, n < m ? n : m);
        if (c || n != m) return c ? (c < 0 ? -1 : 1) : n < m ? -1 : 1;
        x += n + (x[n] == '.');
        y += m + (y[m] == '.');
    }
    return *x ? 1 : *y ? -1 : 0;
}

static int compare(const struct semver *x, const struct semver *y) {
    for (int i = 0; i < 3; i++)
        if (x->numbers[i] != y->numbers[i]) return x->numbers[i] < y->numbers[i] ? -1 : 1;
    return compare_pre(x->pre, y->pre);
}

static const char *text_of(struct call *c, size_t i) { return arena_strndup(c->arena, c->args[i].str.s, c->args[i].str.len); }

static bool make(struct call *c, struct cel_value *ret) {
    struct semver v;
    const char *given = text_of(c, 0), *s = c->len == 2 && c->args[1].b ? normalized(c->arena, given) : given;
    bool ok = s && parse(c->arena, s, &v);
    if (*c->name == 'i') *ret = CEL_BOOL_VALUE(ok);
    else if (ok) *ret = (struct cel_value){.kind = CEL_SEMVER, .str = {s, strlen(s)}};
    else *ret = cel_error(c->arena, "invalid semantic version: %s", go_quote(c->arena, given));
    return true;
}

bool cel_call_semver(struct call *c, struct cel_value *ret) {
    static const char *const parts[] = {"major", "minor", "patch"};
    struct semver x, y;
    if (!c->method) {
        bool named = strcmp(c->name, "semver") == 0 || strcmp(c->name, "isSemver") == 0;
        return named && c->args[0].kind == CEL_STRING && (c->len == 1 || (c->len == 2 && c->args[1].kind == CEL_BOOL)) && make(c, ret);
    }
    if (!parse(c->arena, text_of(c, 0), &x)) return false;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (c->len == 1 && strcmp(c->name, parts[i]) == 0) return *ret = CEL_INT_VALUE((int64_t)x.numbers[i]), true;
    if (c->len != 2 || c->args[1].kind != CEL_SEMVER || !parse(c->arena, text_of(c, 1), &y)) return false;
    int order = compare(&x, &y);
    if (strcmp(c->name, "isGreaterThan") == 0) *ret = CEL_BOOL_VALUE(order > 0);
    else if (strcmp(c->name, "isLessThan") == 0) *ret = CEL_BOOL_VALUE(order < 0);
    else if (strcmp(c->name, "compareTo") == 0) *ret = CEL_INT_VALUE(order);
    else return false;
    return true;
}
