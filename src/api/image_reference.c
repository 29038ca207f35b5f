#include "api/image_reference.h"
#include <ctype.h>
#include <string.h>
#include "base/str.h"

enum { TAG_MAX = 128, NAME_MAX_TOTAL = 255, DIGEST_HEX_MIN = 32, SHA256_HEX = 64, IDENTIFIER_HEX = 64 };

static bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/* How many characters of a separator stand here: one dot, one or two underscores, any number of dashes. */
static size_t separator(const char *p) {
    if (*p == '.') return 1;
    if (*p == '_') return p[1] == '_' ? 2 : 1;
    return strspn(p, "-");
}

static bool is_path(const char *p) {
    while (lower_alnum(*p)) {
        while (lower_alnum(*p)) p++;
        if (!*p) return true;
        p += *p == '/' ? 1 : separator(p);
    }
    return false;
}

static bool is_domain(const char *d, size_t len) {
    const char *end = d + len, *host_end = memchr(d, ':', len);
    if (len && *d == '[') {
        const char *close = memchr(d, ']', len);
        if (!close) return false;
        host_end = close + 1 < end ? close + 1 : NULL;
    } else
        for (const char *p = d; p < (host_end ? host_end : end); p++) {
            bool edge = p == d || p[-1] == '.' || p + 1 == (host_end ? host_end : end) || p[1] == '.';
            if (*p != '.' ? !isalnum((unsigned char)*p) && (*p != '-' || edge) : edge && p == d) return false;
        }
    if (!host_end) return len > 0;
    if (*host_end != ':' || host_end + 1 == end) return false;
    for (const char *p = host_end + 1; p < end; p++)
        if (!isdigit((unsigned char)*p)) return false;
    return true;
}

static bool is_tag(const char *t) {
    size_t len = strlen(t);
    if (!len || len > TAG_MAX || t[0] == '.' || t[0] == '-') return false;
    for (; *t; t++)
        if (!isalnum((unsigned char)*t) && !strchr("_.-", *t)) return false;
    return true;
}

static bool is_digest(const char *d) {
    const char *colon = strchr(d, ':');
    if (!colon || !isalpha((unsigned char)*d)) return false;
    size_t hex = strspn(colon + 1, "0123456789abcdefABCDEF");
    if (colon[1 + hex] || hex < DIGEST_HEX_MIN) return false;
    return !str_has_prefix(d, "sha256:") || (hex == SHA256_HEX && !strpbrk(colon + 1, "ABCDEF"));
}

/* Whether what stands before the first slash names a registry. */
static bool names_registry(const char *s, size_t len) {
    if (memchr(s, '.', len) || memchr(s, ':', len) || (len == 9 && memcmp(s, "localhost", 9) == 0)) return true;
    for (size_t i = 0; i < len; i++)
        if (isupper((unsigned char)s[i])) return true;
    return false;
}

const char *image_tag(struct arena *a, const char *reference) {
    char *name = arena_strdup(a, str_or(reference, "")), *path = name, *at = strchr(name, '@'), *slash = strchr(name, '/');
    if (strlen(name) == IDENTIFIER_HEX && strspn(name, "0123456789abcdef") == IDENTIFIER_HEX) return "";
    if (at) *at++ = 0;
    if (slash && (!at || slash < at) && names_registry(name, (size_t)(slash - name))) {
        if (!is_domain(name, (size_t)(slash - name))) return "";
        path = slash + 1;
    }
    char *tag = strchr(path, ':');
    if (tag) *tag++ = 0;
    if (!is_path(path) || strlen(name) > NAME_MAX_TOTAL || (tag && !is_tag(tag)) || (at && !is_digest(at))) return "";
    return tag ? tag : at ? "" : "latest";
}
