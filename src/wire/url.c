#include "wire/url.h"
#include <string.h>
#include "base/buf.h"

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *url_unescape(struct arena *a, const char *s, size_t len, bool plus) {
    char *out = arena_alloc(a, len + 1), *o = out;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            if (len - i < 3) return NULL;
            int h = hex(s[i + 1]), l = hex(s[i + 2]);
            if (h < 0 || l < 0) return NULL;
            c = (char)(h << 4 | l);
            i += 2;
        } else if (c == '+' && plus) c = ' ';
        if (!c) return NULL;
        *o++ = c;
    }
    return out;
}

char *url_escape_query(struct arena *a, const char *s) {
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, strlen(s) * 3 + 1), *o = out;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-_.~", c)) *o++ = (char)c;
        else if (c == ' ') *o++ = '+';
        else {
            *o++ = '%';
            *o++ = digits[c >> 4];
            *o++ = digits[c & 15];
        }
    }
    return out;
}

struct url_query url_parse_query(struct arena *a, const char *query) {
    struct url_query q = {0};
    for (const char *p = query, *next; *p; p = next) {
        size_t len = strcspn(p, "&");
        next = p + len + (p[len] == '&');
        if (len == 0) continue;
        const char *eq = memchr(p, '=', len);
        size_t key_len = eq ? (size_t)(eq - p) : len;
        char *key = url_unescape(a, p, key_len, true), *value = eq ? url_unescape(a, eq + 1, len - key_len - 1, true) : arena_strdup(a, "");
        if (key && value) *LIST_PUSH(a, &q) = (struct url_param){key, value};
    }
    return q;
}

const char *url_query_get(const struct url_query *q, const char *key) {
    for (size_t i = 0; i < q->len; i++)
        if (strcmp(q->items[i].key, key) == 0) return q->items[i].value;
    return NULL;
}

bool url_query_has(const struct url_query *q, const char *key) { return url_query_get(q, key) != NULL; }
