/* Following redirects within a host name: resolving Location, and asking the next place through a client of its own where scheme or port differ. */
#include "wire/http_client_redirect.h"
#include <strings.h>
#include "base/env.h"
#include "base/str.h"

/* Length of "scheme:" at the start of s, without the colon, or 0. */
static size_t scheme_len(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return n > 0 && s[n] == ':' && strspn(s, "+-.0123456789") == 0 ? n : 0;
}

/* "//user@host:port" into *ret; returns what follows, or NULL if it makes no sense. */
static const char *read_authority(struct arena *a, const char *s, struct http_place *ret) {
    size_t len = strcspn(s, "/?#");
    const char *end = s + len, *at = memrchr(s, '@', len), *host = at ? at + 1 : s, *host_end;
    if (*host == '[') {
        host_end = memchr(host, ']', (size_t)(end - host));
        if (!host_end) return NULL;
        ret->host = arena_strndup(a, host + 1, (size_t)(host_end - host - 1));
        host_end++;
    } else {
        host_end = memchr(host, ':', (size_t)(end - host));
        if (!host_end) host_end = end;
        ret->host = arena_strndup(a, host, (size_t)(host_end - host));
    }
    ret->port = 0;
    if (host_end < end && *host_end == ':' && host_end + 1 < end) {
        int64_t port;
        if (!str_to_i64(arena_strndup(a, host_end + 1, (size_t)(end - host_end - 1)), &port) || port < 1 || port > 65535) return NULL;
        ret->port = (int)port;
    } else if (host_end < end && *host_end != ':') {
        return NULL;
    }
    return str_empty(ret->host) ? NULL : end;
}

/* Removes . and .. segments of an absolute path in place. */
static void remove_dots(char *path) {
    char *out = path;
    for (char *in = path; *in;) {
        size_t n = 1 + strcspn(in + 1, "/"); /* in points at a slash */
        bool last = in[n] == 0;
        if (n == 2 && in[1] == '.') {
            if (last) *out++ = '/';
        } else if (n == 3 && in[1] == '.' && in[2] == '.') {
            while (out > path && *--out != '/') {}
            if (last) *out++ = '/';
        } else {
            memmove(out, in, n);
            out += n;
        }
        in += n;
    }
    if (out == path) *out++ = '/';
    *out = 0;
}

static const char *resolve_target(struct arena *a, const char *base, const char *ref) {
    size_t base_path = strcspn(base, "?#"), ref_path = strcspn(ref, "?#"), ref_len = strcspn(ref, "#");
    if (ref_path == 0) {
        if (ref_len == 0) return arena_strndup(a, base, strcspn(base, "#"));
        return arena_printf(a, "%.*s%.*s", (int)base_path, base, (int)ref_len, ref);
    }
    const char *slash = memrchr(base, '/', base_path);
    size_t dir = ref[0] == '/' || !slash ? 0 : (size_t)(slash + 1 - base);
    char *path = arena_printf(a, "%s%.*s%.*s", ref[0] == '/' || dir ? "" : "/", (int)dir, base, (int)ref_path, ref);
    remove_dots(path);
    return arena_printf(a, "%s%.*s", path, (int)(ref_len - ref_path), ref + ref_path);
}

bool http_redirect_resolve(struct arena *a, const struct http_place *base, const char *location, struct http_place *ret) {
    for (const char *p = location; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f) return false;
    struct http_place to = *base;
    const char *rest = location;
    size_t scheme = scheme_len(rest);
    if (scheme) {
        to.scheme = scheme == 4 && strncasecmp(rest, "http", 4) == 0 ? "http" : scheme == 5 && strncasecmp(rest, "https", 5) == 0 ? "https" : NULL;
        rest += scheme + 1;
        if (!to.scheme || !str_has_prefix(rest, "//")) return false;
    }
    if (str_has_prefix(rest, "//")) {
        rest = read_authority(a, rest + 2, &to);
        if (!rest) return false;
        to.target = resolve_target(a, "/", *rest ? rest : "/");
        if (to.target[0] == '?') to.target = arena_printf(a, "/%s", to.target);
    } else {
        to.target = resolve_target(a, base->target, rest);
    }
    *ret = to;
    return true;
}

static bool is_redirect(int code) { return code == 301 || code == 302 || code == 303 || code == 307 || code == 308; }

static int port_of(const struct http_place *p) { return p->port ? p->port : str_eq(p->scheme, "https") ? 443 : 80; }

/* Asks another scheme or port of the same host, over a connection for this once. */
static int send_elsewhere(const struct http_client_options *base, const struct http_place *to, const struct http_call *call, http_send_fn *send,
    struct http_reply **ret, struct status *reterr) {
    struct http_client_options o = *base;
    o.tls = str_eq(to->scheme, "https");
    o.port = port_of(to);
    o.host_header = NULL;
    o.no_keep_alive = true;
    struct http_client *c = http_client_new(&o, reterr);
    if (!c) return -1;
    if (send(c, call, ret, reterr) != 0) {
        http_client_free(c);
        return -1;
    }
    http_reply_own_client(*ret, c);
    return 0;
}

/* What is left of the call's time; at least a millisecond, which then fails by itself. */
static int left_ms(int timeout_ms, int64_t begun_ns) {
    if (timeout_ms <= 0) return 0;
    int64_t left = timeout_ms - (env_mono_ns(env_real()) - begun_ns) / 1000000;
    return left < 1 ? 1 : (int)left;
}

int http_redirect_follow(const struct http_client_options *o, struct http_client *c, const struct http_call *call, http_send_fn *send,
    struct http_reply **ret, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    int64_t begun_ns = env_mono_ns(env_real());
    struct http_place first = {.scheme = o->tls ? "https" : "http", .host = o->host, .port = o->port, .target = call->target}, at = first;
    struct http_call step = *call;
    step.follow_same_host = false;
    for (int hops = 0;; hops++) {
        step.target = at.target;
        step.timeout_ms = left_ms(call->timeout_ms, begun_ns);
        bool home = str_eq(at.scheme, first.scheme) && port_of(&at) == port_of(&first);
        struct http_reply *r;
        if ((home ? send(c, &step, &r, reterr) : send_elsewhere(o, &at, &step, send, &r, reterr)) != 0) return -1;
        const char *location = http_reply_header(r, "Location");
        struct http_place next;
        if (!is_redirect(r->code) || str_empty(location)) {
            *ret = r;
            return 0;
        }
        bool understood = http_redirect_resolve(a, &at, location, &next);
        if (understood && !str_eq_nocase(next.host, first.host)) {
            *ret = r;
            return 0;
        }
        if (!understood) status_set(reterr, 502, NULL, "Get \"%s\": failed to parse Location header \"%s\"", at.target, location);
        else if (hops + 1 >= HTTP_REDIRECTS_MAX) status_set(reterr, 502, NULL, "Get \"%s\": stopped after %d redirects", next.target, HTTP_REDIRECTS_MAX);
        http_reply_free(r);
        if (!understood || hops + 1 >= HTTP_REDIRECTS_MAX) return -1;
        at = next;
    }
}
