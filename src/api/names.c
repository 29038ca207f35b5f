#include "api/names.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

static void say(struct arena *a, struct string_list *msgs, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(struct arena *a, struct string_list *msgs, const char *format, ...) {
    va_list args;
    va_start(args, format);
    *LIST_PUSH(a, msgs) = arena_vprintf(a, format, args);
    va_end(args);
}

static bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
static bool alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool alnum(char c) { return alpha(c) || (c >= '0' && c <= '9'); }

static bool dns_label_form(const char *s, size_t len) {
    if (len == 0 || !lower_alnum(s[0]) || !lower_alnum(s[len - 1])) return false;
    for (size_t i = 0; i < len; i++)
        if (!lower_alnum(s[i]) && s[i] != '-') return false;
    return true;
}

static bool dns_subdomain_form(const char *s) {
    for (;;) {
        size_t len = strcspn(s, ".");
        if (!dns_label_form(s, len)) return false;
        if (!s[len]) return true;
        s += len + 1;
    }
}

#define LABEL_FORM "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
static void too_long(struct arena *a, struct string_list *msgs, int max) { say(a, msgs, "must be no more than %d characters", max); }

void name_dns1123_label(struct arena *a, const char *v, struct string_list *msgs) {
    if (strlen(v) > 63) too_long(a, msgs, 63);
    if (!dns_label_form(v, strlen(v)))
        say(a, msgs, "%s", dns_subdomain_form(v)
                ? "must not contain dots"
                : "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
                  "'123-abc', regex used for validation is '" LABEL_FORM "')");
}

void name_dns1123_subdomain(struct arena *a, const char *v, struct string_list *msgs) {
    if (strlen(v) > 253) too_long(a, msgs, 253);
    if (!dns_subdomain_form(v))
        say(a, msgs, "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
                     "'example.com', regex used for validation is '" LABEL_FORM "(\\." LABEL_FORM ")*')");
}

void name_dns1123_subdomain_with_underscore(struct arena *a, const char *v, struct string_list *msgs) {
    bool ok = *v != 0;
    if (strlen(v) > 253) too_long(a, msgs, 253);
    for (const char *p = v; ok && *p;) {
        size_t len = strcspn(p, "."), word = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789-_"), first = p[0] == '_';
        ok = len > first && word == len && lower_alnum(p[first]) && lower_alnum(p[len - 1]);
        p += len + (p[len] == '.');
        if (ok && p[-1] == '.' && !*p) ok = false;
    }
    if (!ok)
        say(a, msgs, "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. "
                     "'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')");
}

void name_wildcard_dns1123_subdomain(struct arena *a, const char *v, struct string_list *msgs) {
    if (strlen(v) > 253) too_long(a, msgs, 253);
    if (!str_has_prefix(v, "*.") || !dns_subdomain_form(v + 2))
        say(a, msgs, "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and "
                     "end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\." LABEL_FORM "(\\." LABEL_FORM ")*')");
}

void name_dns1035_label(struct arena *a, const char *v, struct string_list *msgs) {
    size_t len = strlen(v);
    if (len > 63) too_long(a, msgs, 63);
    if (!dns_label_form(v, len) || (v[0] >= '0' && v[0] <= '9'))
        say(a, msgs, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. "
                     "'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')");
}

static bool qualified_form(const char *s, size_t len) {
    if (len == 0 || !alnum(s[0]) || !alnum(s[len - 1])) return false;
    for (size_t i = 0; i < len; i++)
        if (!alnum(s[i]) && !strchr("-_.", s[i])) return false;
    return true;
}

void name_qualified(struct arena *a, const char *v, struct string_list *msgs) {
    const char *slash = strchr(v, '/'), *name = slash ? slash + 1 : v;
    static const char form[] = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                               "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    if (slash && strchr(name, '/')) {
        say(a, msgs, "a valid label key %s with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')", form);
        return;
    }
    if (slash) {
        const char *prefix = arena_strndup(a, v, (size_t)(slash - v));
        struct string_list inner = {0};
        if (!*prefix) say(a, msgs, "prefix part must be non-empty");
        else name_dns1123_subdomain(a, prefix, &inner);
        bool long_prefix = strlen(prefix) > 253; /* is what comes first; of keys upstream counts bytes, of names characters */
        if (long_prefix) say(a, msgs, "prefix part must be no more than 253 bytes");
        for (size_t i = long_prefix; i < inner.len; i++) say(a, msgs, "prefix part %s", inner.items[i]);
    }
    if (!*name) say(a, msgs, "name part must be non-empty");
    else if (strlen(name) > 63) say(a, msgs, "name part must be no more than 63 bytes");
    if (!qualified_form(name, strlen(name))) say(a, msgs, "name part %s", form);
}

void name_label_value(struct arena *a, const char *v, struct string_list *msgs) {
    if (strlen(v) > 63) say(a, msgs, "must be no more than 63 bytes");
    if (*v && !qualified_form(v, strlen(v)))
        say(a, msgs, "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                     "'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
}

static void dots(struct arena *a, const char *v, struct string_list *msgs) {
    if (strcmp(v, ".") == 0) say(a, msgs, "must not be '.'");
    else if (strcmp(v, "..") == 0) say(a, msgs, "must not be '..'");
    else if (str_has_prefix(v, "..")) say(a, msgs, "must not start with '..'");
}

void name_config_map_key(struct arena *a, const char *v, struct string_list *msgs) {
    bool ok = *v != 0;
    if (strlen(v) > 253) too_long(a, msgs, 253);
    for (const char *p = v; *p; p++) ok &= alnum(*p) || strchr("-._", *p);
    if (!ok) say(a, msgs, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
    dots(a, v, msgs);
}

void name_env_var(struct arena *a, const char *v, struct string_list *msgs) {
    bool ok = *v != 0;
    for (const char *p = v; *p; p++) ok &= *p >= ' ' && *p < 0x7f && *p != '=';
    if (!ok) say(a, msgs, "a valid environment variable name must consist only of printable ASCII characters other than '='");
}

void name_c_identifier(struct arena *a, const char *v, struct string_list *msgs) {
    bool ok = alpha(v[0]) || v[0] == '_';
    for (const char *p = v; *p; p++) ok &= alnum(*p) || *p == '_';
    if (!ok) say(a, msgs, "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')");
}

void name_port(struct arena *a, const char *v, struct string_list *msgs) {
    size_t len = strlen(v);
    bool chars = true, letter = false;
    if (len > 15) say(a, msgs, "must be no more than 15 characters");
    for (const char *p = v; *p; p++) {
        chars &= lower_alnum(*p) || *p == '-';
        letter |= *p >= 'a' && *p <= 'z';
    }
    if (!chars || !len) say(a, msgs, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    if (!letter) say(a, msgs, "must contain at least one letter (a-z)");
    if (strstr(v, "--")) say(a, msgs, "must not contain consecutive hyphens");
    if (len && (v[0] == '-' || v[len - 1] == '-')) say(a, msgs, "must not begin or end with a hyphen");
}

void name_path_segment(struct arena *a, const char *v, bool prefix, struct string_list *msgs) {
    if (!prefix && strcmp(v, ".") == 0) say(a, msgs, "may not be '.'");
    else if (!prefix && strcmp(v, "..") == 0) say(a, msgs, "may not be '..'");
    if (strchr(v, '/')) say(a, msgs, "may not contain '/'");
    if (strchr(v, '%')) say(a, msgs, "may not contain '%%'");
}

void name_port_number(struct arena *a, int64_t port, struct string_list *msgs) {
    if (port < 1 || port > 65535) say(a, msgs, "must be between 1 and 65535, inclusive");
}

void name_percent(struct arena *a, const char *v, struct string_list *msgs) {
    size_t n = strspn(v, "0123456789");
    if (n == 0 || strcmp(v + n, "%") != 0) say(a, msgs, "a valid percent string must be a numeric string followed by an ending '%%' (e.g. '1%%',  or '93%%', regex used for validation is '[0-9]+%%')");
}

bool name_is_ipv4(const char *v) {
    struct in_addr four;
    for (const char *p = v; *p; p++)
        if (*p == '0' && (p == v || p[-1] == '.') && p[1] >= '0' && p[1] <= '9') return false;
    return inet_pton(AF_INET, v, &four) == 1;
}

bool name_is_ip(const char *v) {
    struct in6_addr six;
    return v && (name_is_ipv4(v) || (strchr(v, ':') && inet_pton(AF_INET6, v, &six) == 1));
}

void name_ip(struct arena *a, const char *v, struct string_list *msgs) {
    if (!name_is_ip(v)) say(a, msgs, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

bool name_is_cidr(const char *v) {
    const char *slash = v ? strchr(v, '/') : NULL;
    char ip[64];
    uint64_t bits;
    if (!slash || (size_t)(slash - v) >= sizeof(ip)) return false;
    snprintf(ip, sizeof(ip), "%.*s", (int)(slash - v), v);
    return name_is_ip(ip) && str_to_u64(slash + 1, &bits) && bits <= (strchr(ip, ':') ? 128u : 32u);
}

/* A generated name gets a suffix, so a trailing dash is no fault of a prefix. */
static const char *mask(struct arena *a, const char *name, bool prefix) {
    size_t len = strlen(name);
    return prefix && len > 1 && name[len - 1] == '-' ? arena_printf(a, "%.*sa", (int)len - 2, name) : name;
}

void object_name_dns_subdomain(struct arena *a, const char *n, bool prefix, struct string_list *msgs) { name_dns1123_subdomain(a, mask(a, n, prefix), msgs); }
void object_name_dns_label(struct arena *a, const char *n, bool prefix, struct string_list *msgs) { name_dns1123_label(a, mask(a, n, prefix), msgs); }
void object_name_dns1035_label(struct arena *a, const char *n, bool prefix, struct string_list *msgs) { name_dns1035_label(a, mask(a, n, prefix), msgs); }
void object_name_path_segment(struct arena *a, const char *n, bool prefix, struct string_list *msgs) { name_path_segment(a, n, prefix, msgs); }
