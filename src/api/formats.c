/* Patterns and string formats of schemas. Go's RE2 syntax is close to a subset of Perl's; what only Perl's has (look-around, back references) is refused. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <arpa/inet.h>
#include <ctype.h>
#include <pcre2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "api/names.h"
#include "api/structural.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

struct regex { pcre2_code *code; };

enum { MATCH_LIMIT = 1000000 }; /* steps of one match: what takes more does not match, so that no pattern can stop a loop */

static void code_free(void *code) { pcre2_code_free(code); }

/* Look-around, atomic groups, back references and recursion: Go has none of them. */
static const char *perl_only(const char *p) {
    for (bool class = false; *p; p++) {
        if (*p == '\\' && p[1]) {
            if (!class && (isdigit((unsigned char)p[1]) ? p[1] != '0' : strchr("kgGKRXZ", p[1]) != NULL)) return "invalid escape sequence";
            p++;
        } else if (*p == '[' && !class) class = true;
        else if (*p == ']' && class) class = false;
        else if (!class && p[0] == '(' && p[1] == '?' && strchr("=!>|&#(+R0123456789", p[2]) && p[2]) return "invalid or unsupported Perl syntax";
        else if (!class && strncmp(p, "(?<", 3) == 0 && (p[3] == '=' || p[3] == '!')) return "invalid or unsupported Perl syntax";
    }
    return NULL;
}

struct regex *regex_compile(struct arena *a, const char *pattern, const char **ret_error) {
    int code;
    PCRE2_SIZE at;
    const char *why = perl_only(pattern), *syntax = regex_syntax_error(a, pattern);
    if (syntax) {
        if (ret_error) *ret_error = arena_printf(a, "error parsing regexp: %s", syntax);
        return NULL;
    }
    pcre2_code *c = why ? NULL : pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE, &code, &at, NULL);
    if (!c) {
        unsigned char text[128] = "";
        if (!why) pcre2_get_error_message(code, text, sizeof(text));
        if (ret_error) *ret_error = arena_printf(a, "error parsing regexp: %s: `%s`", why ? why : (const char *)text, pattern);
        return NULL;
    }
    struct regex *r = ARENA_NEW(a, struct regex);
    r->code = c;
    arena_on_free(a, code_free, c);
    return r;
}

bool regex_matches(const struct regex *r, const char *s, size_t len) {
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    CHECK(data && limits);
    pcre2_set_match_limit(limits, MATCH_LIMIT);
    int n = pcre2_match(r->code, (PCRE2_SPTR)s, len, 0, 0, data, limits);
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    return n >= 0;
}

/* ---- formats ---- */

static bool is_ipv6(const char *s) { return name_is_ip(s) && strchr(s, ':'); }

static bool is_date(const char *s) {
    char full[32];
    struct api_time t;
    if (strlen(s) != 10) return false;
    snprintf(full, sizeof(full), "%sT00:00:00Z", s);
    return time_parse(full, &t, NULL) == 0;
}

/* Upstream splits at every t, in either case, and looks at the first two parts. */
static bool is_date_time(const char *s) {
    char date[11], rest[64];
    size_t n = 0;
    if (strcspn(s, "tT") != 10 || strlen(s) < 20) return false;
    snprintf(date, sizeof(date), "%s", s);
    for (const char *p = s + 11; *p && *p != 't' && *p != 'T' && n + 1 < sizeof(rest); p++) rest[n++] = *p;
    rest[n] = 0;
    return is_date(date) && format_matches("time-of-day", rest);
}

static bool is_duration_unit(const char *unit) {
    static const struct { const char *exact, *also, *prefix; } units[] = {{"ns", NULL, "nano"}, {"us", "\xC2\xB5s", "micro"}, {"ms", NULL, "milli"}, {"s", NULL, "sec"}, {"m", NULL, "min"}, {"h", "hr", "hour"}, {"d", NULL, "day"}, {"w", "wk", "week"}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(unit, units[i].exact) == 0 || (units[i].also && strcmp(unit, units[i].also) == 0) || str_has_prefix(unit, units[i].prefix)) return true;
    return false;
}

/* Go's form, or any text with a number and a unit somewhere in it. */
static bool is_duration(const char *s) {
    bool found = format_matches("go-duration", s);
    while (!found && *s) {
        char unit[32];
        size_t digits = strspn(s, "0123456789"), n = 0;
        if (!digits) {
            s++;
            continue;
        }
        if (digits > 18) return false;
        s += digits;
        s += strspn(s, " \t\n\f\r");
        while (isalpha((unsigned char)*s) || strncmp(s, "\xC2\xB5", 2) == 0) {
            if (n + 2 < sizeof(unit)) unit[n++] = (char)tolower((unsigned char)*s);
            s++;
            if ((unsigned char)s[-1] == 0xC2 && n + 2 < sizeof(unit)) unit[n++] = *s++;
        }
        unit[n] = 0;
        found = n && is_duration_unit(unit);
    }
    return found;
}

static bool anything(const char *s UNUSED) { return true; }

static bool luhn(const char *s, size_t len) {
    int sum = 0;
    for (size_t i = 0; i < len; i++) {
        int d = s[len - 1 - i] - '0';
        if (i % 2) d = d * 2 > 9 ? d * 2 - 9 : d * 2;
        sum += d;
    }
    return sum % 10 == 0;
}

static bool is_credit_card(const char *s) {
    char digits[32];
    size_t n = 0;
    for (; *s && n < sizeof(digits); s++)
        if (isdigit((unsigned char)*s)) digits[n++] = *s;
    return n >= 13 && n <= 16 && luhn(digits, n);
}

static size_t isbn_digits(const char *s, char *out, size_t max) {
    size_t n = 0;
    for (; *s && n < max; s++)
        if (*s != '-' && *s != ' ') out[n++] = *s;
    return n;
}

static bool is_isbn10(const char *s) {
    char d[16];
    int sum = 0;
    if (isbn_digits(s, d, sizeof(d)) != 10) return false;
    for (int i = 0; i < 10; i++) {
        if (!isdigit((unsigned char)d[i]) && !(i == 9 && d[i] == 'X')) return false;
        sum += (d[i] == 'X' ? 10 : d[i] - '0') * (i == 9 ? 10 : i + 1);
    }
    return sum % 11 == 0;
}

static bool is_isbn13(const char *s) {
    char d[16];
    int sum = 0;
    if (isbn_digits(s, d, sizeof(d)) != 13) return false;
    for (int i = 0; i < 13; i++) {
        if (!isdigit((unsigned char)d[i])) return false;
        sum += (d[i] - '0') * (i % 2 ? 3 : 1);
    }
    return sum % 10 == 0;
}

static bool is_isbn(const char *s) { return is_isbn10(s) || is_isbn13(s); }

static bool by_rule(const char *s, void (*rule)(struct arena *, const char *, struct string_list *)) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct string_list msgs = {0};
    rule(a, s, &msgs);
    return msgs.len == 0;
}
static bool is_short_name(const char *s) { return by_rule(s, name_dns1123_label); }
static bool is_long_name(const char *s) { return by_rule(s, name_dns1123_subdomain); }

#define HEX "[0-9a-fA-F]"
#define RGB "0|[1-9]\\d?|1\\d\\d?|2[0-4]\\d|25[0-5]"
#define LETTER "a-zA-Z0-9\\p{S}\\p{L}"
#define UUID(a, b) "^" HEX "{8}-?" HEX "{4}-?" a HEX "{3}-?" b HEX "{3}-?" HEX "{12}$"
static const struct format { const char *name; bool (*test)(const char *s); const char *pattern; } formats[] = {
    {"bsonobjectid", NULL, "^" HEX "{24}$"},
    {"byte", NULL, "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$"},
    {"cidr", name_is_cidr, NULL},
    {"creditcard", is_credit_card, NULL},
    {"date", is_date, NULL},
    {"datetime", is_date_time, NULL},
    {"duration", is_duration, NULL},
    {"email", NULL, "^([^@<>]*<)?[^@ \\t<>]+@[^@ \\t<>]+>?$"},
    {"hexcolor", NULL, "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"},
    {"goduration", NULL, "^[-+]?(0|([0-9]*(\\.[0-9]*)?(?<=[0-9.])(ns|us|µs|μs|ms|s|m|h))+)$"}, /* no format of upstream's: a part of one */
    {"hostname", NULL, "^(?=.{1,255}$)(?!.*[^.]{64})([" LETTER "]((-?[" LETTER "]{0,62})?)|([" LETTER "](([-" LETTER "]{0,61}[" LETTER "])?)(\\.)){1,}([a-zA-Z\\p{L}]){2,63})$"},
    {"ipv4", name_is_ipv4, NULL},
    {"ipv6", is_ipv6, NULL},
    {"isbn", is_isbn, NULL},
    {"isbn10", is_isbn10, NULL},
    {"isbn13", is_isbn13, NULL},
    {"k8slongname", is_long_name, NULL},
    {"k8sshortname", is_short_name, NULL},
    {"mac", NULL, "^(" HEX "{2}([:-]" HEX "{2}){5}(([:-]" HEX "{2}){2}|([:-]" HEX "{2}){14})?|" HEX "{4}(\\." HEX "{4}){2}(\\." HEX "{4}){0,1})$"},
    {"password", anything, NULL},
    {"rgbcolor", NULL, "^rgb\\(\\s*(" RGB ")\\s*,\\s*(" RGB ")\\s*,\\s*(" RGB ")\\s*\\)$"},
    {"ssn", NULL, "^(?=.{11}$)[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"},
    {"timeofday", NULL, "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](.[0-9]+)?([zZ]|[+-][0-9]{2}:[0-9]{2})$"}, /* as above */
    {"uri", NULL, "^(/|[a-zA-Z][a-zA-Z0-9+.-]*:)[^ \\x00-\\x1f\\x7f]*$"},
    {"uuid", NULL, UUID(HEX, HEX)},
    {"uuid3", NULL, UUID("3", HEX)},
    {"uuid4", NULL, UUID("4", "[89abAB]")},
    {"uuid5", NULL, UUID("5", "[89abAB]")},
};

static pcre2_code *compiled[ARRAY_LEN(formats)];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_compiled(void) {
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) pcre2_code_free(compiled[i]);
}

static void compile_all(void) {
    int code;
    PCRE2_SIZE at;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (!formats[i].pattern) continue;
        compiled[i] = pcre2_compile((PCRE2_SPTR)formats[i].pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
        CHECK(compiled[i]);
    }
    atexit(free_compiled);
}

/* Dashes in a format's name do not count: date-time is datetime. */
static const struct format *find(const char *name) {
    char plain[32];
    size_t n = 0;
    for (; *name && n + 1 < sizeof(plain); name++)
        if (*name != '-') plain[n++] = *name;
    plain[n] = 0;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(formats[i].name, plain) == 0) return &formats[i];
    return NULL;
}

bool format_known(const char *format) {
    const struct format *f = find(format);
    return f && strcmp(f->name, "goduration") != 0 && strcmp(f->name, "timeofday") != 0;
}

bool format_matches(const char *format, const char *s) {
    const struct format *f = find(format);
    if (!f) return true;
    if (f->test) return f->test(s);
    pthread_once(&once, compile_all);
    return regex_matches(&(struct regex){compiled[f - formats]}, s, strlen(s));
}
