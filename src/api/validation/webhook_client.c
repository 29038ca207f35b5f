/* Where a webhook is, and whom it is believed. Upstream: apiserver pkg/util/webhook/validation.go, with what Go's net/url refuses of an address. */
#include <ctype.h>
#include <string.h>
#include "api/validation/groups.h"
#include "wire/json.h"
#include "wire/x509_pem.h"

#define FORM "; desired format: https://host[/path]"

struct address { const char *scheme, *host, *user, *fragment, *query; }; /* user NULL: none */

/* What is before the first ':', when that is a scheme; NULL with an error. */
static const char *take_scheme(struct arena *a, const char *text, const char **rest, const char **ret_error) {
    size_t n = 0;
    *rest = text;
    while (isalpha((unsigned char)text[n]) || (n && text[n] && strchr("0123456789+-.", text[n]))) n++;
    if (text[n] != ':') return "";
    if (n == 0) {
        *ret_error = "missing protocol scheme";
        return NULL;
    }
    *rest = text + n + 1;
    char *scheme = arena_strndup(a, text, n);
    for (char *p = scheme; *p; p++) *p = (char)tolower((unsigned char)*p);
    return scheme;
}

static const char *bad_port(struct arena *a, const char *host) {
    const char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
    if (*host == '[' && !bracket) return "missing ']' in host";
    if (bracket) colon = bracket[1] ? bracket + 1 : NULL;
    if (!colon || (*colon == ':' && colon[1 + strspn(colon + 1, "0123456789")] == 0)) return NULL;
    return arena_printf(a, "invalid port %s after host", go_quote(a, colon));
}

static void take_authority(struct arena *a, const char *authority, struct address *ret, const char **ret_error) {
    const char *at = strrchr(authority, '@'), *host = at ? at + 1 : authority;
    if (at) ret->user = arena_strndup(a, authority, (size_t)(at - authority));
    ret->host = host;
    if (ret->user && strspn(ret->user, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:~!$&'()*+,;=%@") != strlen(ret->user)) *ret_error = "net/url: invalid userinfo";
    else *ret_error = bad_port(a, host);
    size_t space = strcspn(host, " \"<>\\^`{|}");
    if (!*ret_error && host[space]) *ret_error = arena_printf(a, "invalid character \"%c\" in host name", host[space]);
}

/* url.Parse, as far as webhooks are asked. */
static struct address parse(struct arena *a, const char *text, const char **ret_error) {
    struct address u = {"", "", NULL, "", ""};
    const char *rest = NULL;
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7F) *ret_error = "net/url: invalid control character in URL";
    if (*ret_error) return u;
    const char *hash = strchr(text, '#');
    if (hash) {
        u.fragment = hash + 1;
        text = arena_strndup(a, text, (size_t)(hash - text));
    }
    u.scheme = take_scheme(a, text, &rest, ret_error);
    if (*ret_error) return u;
    const char *mark = strchr(rest, '?');
    if (mark) {
        u.query = mark + 1;
        rest = arena_strndup(a, rest, (size_t)(mark - rest));
    }
    size_t segment = strcspn(rest, "/");
    if (*rest != '/' && *u.scheme) return u; /* opaque */
    if (*rest != '/' && memchr(rest, ':', segment)) *ret_error = "first path segment in URL cannot contain colon";
    else if (strncmp(rest, "//", 2) == 0 && (*u.scheme || rest[2] != '/')) {
        size_t len = strcspn(rest + 2, "/");
        take_authority(a, arena_strndup(a, rest + 2, len), &u, ret_error);
        rest += 2 + len;
    }
    for (const char *p = rest; *p && !*ret_error; p++)
        if (*p == '%' && !(isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2]))) *ret_error = arena_printf(a, "invalid URL escape %s", go_quote(a, arena_strndup(a, p, strnlen(p, 3))));
    return u;
}

void check_webhook_url(struct field_errors *errs, const struct field_path *at, const char *url) {
    const char *why = NULL;
    struct address u = parse(errs->arena, url, &why);
    if (why) {
        field_required(errs, at, "url must be a valid URL: parse %s: %s" FORM, go_quote(errs->arena, url), why);
        return;
    }
    if (!str_eq(u.scheme, "https")) field_invalid(errs, at, u.scheme, "'https' is the only allowed URL scheme" FORM);
    if (!*u.host) field_invalid(errs, at, "", "host must be specified" FORM);
    if (u.user) field_invalid(errs, at, u.user, "user information is not permitted in the URL");
    if (*u.fragment) field_invalid(errs, at, u.fragment, "fragments are not permitted in the URL");
    if (*u.query) field_invalid(errs, at, u.query, "query parameters are not permitted in the URL");
}

static void check_path(struct field_errors *errs, const struct field_path *at, const char *path) {
    if (!*path || str_eq(path, "/")) return;
    if (str_eq(path, "//")) {
        field_invalid(errs, at, path, "segment[0] may not be empty");
        return;
    }
    if (path[0] != '/') field_invalid(errs, at, path, "must start with a '/'");
    const char *rest = path + 1; /* the first character is not part of a segment, whatever it is */
    size_t len = strlen(rest), n = 0;
    if (len && rest[len - 1] == '/') rest = arena_strndup(errs->arena, rest, len - 1);
    for (;; n++) {
        size_t size = strcspn(rest, "/");
        const char *segment = arena_strndup(errs->arena, rest, size);
        if (!size) field_invalid(errs, at, path, "segment[%zu] may not be empty", n);
        else {
            struct string_list msgs = {0};
            name_dns1123_subdomain(errs->arena, segment, &msgs);
            for (size_t i = 0; i < msgs.len; i++) field_invalid(errs, at, path, "segment[%zu]: %s", n, msgs.items[i]);
        }
        if (!rest[size]) break;
        rest += size + 1;
    }
}

void check_webhook_service(struct field_errors *errs, const struct field_path *at, const char *namespace, const char *name, const char *path, int32_t port) {
    /* upstream's callers give the two the other way round: what is missing shows under the other's name */
    if (str_empty(namespace)) field_required(errs, FIELD(at, "name"), "%s", "");
    if (str_empty(name)) field_required(errs, FIELD(at, "namespace"), "%s", "");
    if (port < 1 || port > 65535) field_invalid_int(errs, FIELD(at, "port"), port, "port is not valid: must be between 1 and 65535, inclusive");
    if (path) check_path(errs, FIELD(at, "path"), path);
}

void check_ca_bundle(struct field_errors *errs, const struct field_path *at, const struct bytes *bundle) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (x509_ca_bundle_check(bundle->data, bundle->len, &err) == 0) return;
    _cleanup_buf_ struct buf text = BUF_INIT;
    json_write_base64(&text, bundle->data, bundle->len);
    field_invalid_raw(errs, at, buf_cstr(&text), "unable to load root certificates: %s", status_message(&err));
}
