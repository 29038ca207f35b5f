/* The API's own libraries: quantities, URLs, addresses and their ranges, named formats. Upstream: apiserver pkg/cel/library. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "api/cel/internal.h"
#include "api/names.h"
#include "api/quantity.h"
#include "base/str.h"
#include "wire/url.h"

static const char *text_of(struct call *c, size_t i) { return arena_strndup(c->arena, c->args[i].str.s, c->args[i].str.len); }

/* ---- quantities ---- */

static struct cel_value quantity_value_of(struct arena *a, const struct quantity *q) { return CEL_VALUE(CEL_QUANTITY, quantity, arena_memdup(a, q, sizeof(*q))); }

static bool quantity_methods(struct call *c, struct cel_value *ret) {
    const struct quantity *q = c->args[0].quantity;
    const struct cel_value *y = c->len == 2 ? &c->args[1] : NULL;
    struct quantity zero = quantity_of("0"), other;
    if (y && y->kind == CEL_INT) other = quantity_from_value(y->i, q->format);
    else if (y && y->kind == CEL_QUANTITY) other = *y->quantity;
    else if (y) return false;
    if (!y) {
        if (strcmp(c->name, "sign") == 0) *ret = CEL_INT_VALUE(quantity_cmp(q, &zero));
        else if (strcmp(c->name, "isInteger") == 0) *ret = CEL_BOOL_VALUE(quantity_is_integer(q));
        else if (strcmp(c->name, "asInteger") == 0) *ret = quantity_is_integer(q) ? CEL_INT_VALUE(quantity_value(q)) : cel_error(c->arena, "cannot convert value to integer");
        else if (strcmp(c->name, "asApproximateFloat") == 0) *ret = CEL_VALUE(CEL_DOUBLE, d, (double)q->nanos / 1e9);
        else return false;
        return true;
    }
    struct quantity sum = *q;
    if (strcmp(c->name, "add") == 0) quantity_add(&sum, &other);
    else if (strcmp(c->name, "sub") == 0) quantity_sub(&sum, &other);
    else if (strcmp(c->name, "isGreaterThan") == 0) return *ret = CEL_BOOL_VALUE(quantity_cmp(q, &other) > 0), true;
    else if (strcmp(c->name, "isLessThan") == 0) return *ret = CEL_BOOL_VALUE(quantity_cmp(q, &other) < 0), true;
    else if (strcmp(c->name, "compareTo") == 0) return *ret = CEL_INT_VALUE(quantity_cmp(q, &other)), true;
    else return false;
    *ret = quantity_value_of(c->arena, &sum);
    return true;
}

/* ---- URLs ---- */

struct url_parts { const char *scheme, *host, *path, *query; };

/* Go's ParseRequestURI: an absolute URI or an absolute path. */
static bool url_split(struct arena *a, const char *s, struct url_parts *u) {
    *u = (struct url_parts){"", "", "", ""};
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7F) return false;
    size_t scheme = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    if (*s != '/') {
        if (!scheme || s[scheme] != ':' || (*s >= '0' && *s <= '9')) return false;
        u->scheme = arena_strndup(a, s, scheme);
        s += scheme + 1;
    }
    if (strncmp(s, "//", 2) == 0) {
        size_t len = strcspn(s + 2, "/?");
        const char *host = arena_strndup(a, s + 2, len), *at = strrchr(host, '@');
        u->host = at ? at + 1 : host;
        s += 2 + len;
    }
    size_t path = strcspn(s, "?");
    u->path = arena_strndup(a, s, path);
    u->query = s[path] ? s + path + 1 : "";
    return true;
}

static struct cel_value host_part(struct arena *a, const char *host, bool port) {
    const char *colon = strrchr(host, ':'), *bracket = strchr(host, ']');
    if (colon && bracket && colon < bracket) colon = NULL;
    if (port) return cel_string_value(a, colon ? colon + 1 : "");
    const char *name = colon ? arena_strndup(a, host, (size_t)(colon - host)) : host;
    if (*name == '[') name = arena_strndup(a, name + 1, strcspn(name + 1, "]"));
    return cel_string_value(a, name);
}

static struct cel_value query_map(struct arena *a, const char *query) {
    struct url_query q = url_parse_query(a, query);
    struct cel_value map = CEL_VALUE(CEL_MAP, map, ARENA_NEW(a, struct cel_map)), v;
    for (size_t i = 0; i < q.len; i++) {
        struct cel_value k = cel_string_value(a, q.items[i].key), item = cel_string_value(a, q.items[i].value);
        if (!cel_map_get(a, &map, &k, &v)) {
            v = cel_list_new(a);
            *LIST_PUSH(a, map.map) = (struct cel_entry){arena_memdup(a, &k, sizeof(k)), arena_memdup(a, &v, sizeof(v))};
        }
        cel_list_push(a, &v, &item);
    }
    return map;
}

static bool url_methods(struct call *c, struct cel_value *ret) {
    struct url_parts u;
    if (c->len != 1 || !url_split(c->arena, text_of(c, 0), &u)) return false;
    if (strcmp(c->name, "getScheme") == 0) *ret = cel_string_value(c->arena, u.scheme);
    else if (strcmp(c->name, "getHost") == 0) *ret = cel_string_value(c->arena, u.host);
    else if (strcmp(c->name, "getHostname") == 0) *ret = host_part(c->arena, u.host, false);
    else if (strcmp(c->name, "getPort") == 0) *ret = host_part(c->arena, u.host, true);
    else if (strcmp(c->name, "getEscapedPath") == 0) *ret = cel_string_value(c->arena, u.path);
    else if (strcmp(c->name, "getQuery") == 0) *ret = query_map(c->arena, u.query);
    else return false;
    return true;
}

/* ---- addresses ---- */

static bool parse_ip(const char *s, struct cel_value *ret) {
    *ret = (struct cel_value){.kind = CEL_IP};
    if (strchr(s, '%')) return false;
    if (inet_pton(AF_INET, s, ret->ip.bytes) == 1) {
        for (const char *p = s; *p; p += strcspn(p, ".") + (p[strcspn(p, ".")] == '.'))
            if (p[0] == '0' && p[1] >= '0' && p[1] <= '9') return false;
        return true;
    }
    if (inet_pton(AF_INET6, s, ret->ip.bytes) != 1) return false;
    ret->ip.v6 = 1;
    return !strchr(s, '.'); /* no IPv4-mapped addresses */
}

static bool parse_cidr(struct arena *a, const char *s, struct cel_value *ret) {
    const char *slash = strchr(s, '/');
    uint64_t bits;
    if (!slash || !parse_ip(arena_strndup(a, s, (size_t)(slash - s)), ret) || !str_to_u64(slash + 1, &bits) || bits > (ret->ip.v6 ? 128u : 32u) || (slash[1] == '0' && slash[2])) return false;
    ret->kind = CEL_CIDR;
    ret->ip.prefix = (uint8_t)bits;
    return true;
}

static void mask(struct cel_value *v) {
    for (int i = v->ip.prefix; i < (v->ip.v6 ? 128 : 32); i++) v->ip.bytes[i / 8] &= (unsigned char)~(0x80 >> (i % 8));
}

static bool ip_methods(struct call *c, struct cel_value *ret) {
    const unsigned char *b = c->args[0].ip.bytes;
    bool v6 = c->args[0].ip.v6, zero = true, link, multi, loop = v6 ? b[15] == 1 : b[0] == 127;
    for (int i = 0; i < (v6 ? 16 : 4); i++) zero &= b[i] == 0;
    for (int i = 0; v6 && i < 15; i++) loop &= b[i] == 0;
    link = v6 ? b[0] == 0xFE && (b[1] & 0xC0) == 0x80 : b[0] == 169 && b[1] == 254;
    multi = v6 ? b[0] == 0xFF && (b[1] & 0x0F) == 2 : b[0] == 224 && b[1] == 0 && b[2] == 0;
    bool multicast = v6 ? b[0] == 0xFF : (b[0] & 0xF0) == 0xE0, broadcast = !v6 && b[0] == 255 && b[1] == 255 && b[2] == 255 && b[3] == 255;
    if (c->len != 1) return false;
    if (strcmp(c->name, "family") == 0) *ret = CEL_INT_VALUE(v6 ? 6 : 4);
    else if (strcmp(c->name, "isUnspecified") == 0) *ret = CEL_BOOL_VALUE(zero);
    else if (strcmp(c->name, "isLoopback") == 0) *ret = CEL_BOOL_VALUE(loop);
    else if (strcmp(c->name, "isLinkLocalMulticast") == 0) *ret = CEL_BOOL_VALUE(multi);
    else if (strcmp(c->name, "isLinkLocalUnicast") == 0) *ret = CEL_BOOL_VALUE(link);
    else if (strcmp(c->name, "isGlobalUnicast") == 0) *ret = CEL_BOOL_VALUE(!zero && !loop && !multicast && !link && !broadcast);
    else return false;
    return true;
}

static bool cidr_methods(struct call *c, struct cel_value *ret) {
    const struct cel_value *x = &c->args[0];
    struct cel_value y, net = *x;
    if (c->len == 1) {
        *ret = *x;
        if (strcmp(c->name, "masked") == 0) mask(ret);
        else if (strcmp(c->name, "prefixLength") == 0) *ret = CEL_INT_VALUE(x->ip.prefix);
        else if (strcmp(c->name, "ip") == 0) {
            ret->kind = CEL_IP;
            ret->ip.prefix = 0;
        } else return false;
        return true;
    }
    bool ip = strcmp(c->name, "containsIP") == 0;
    if (c->len != 2 || (!ip && strcmp(c->name, "containsCIDR") != 0)) return false;
    y = c->args[1];
    if (y.kind == CEL_STRING && !(ip ? parse_ip(text_of(c, 1), &y) : parse_cidr(c->arena, text_of(c, 1), &y))) {
        *ret = cel_error(c->arena, "%s %s", ip ? "IP Address parse error:" : "network address parse error:", text_of(c, 1));
        return true;
    }
    if (y.kind != (ip ? CEL_IP : CEL_CIDR)) return false;
    bool narrower = ip || y.ip.prefix >= x->ip.prefix;
    y.ip.prefix = x->ip.prefix;
    mask(&y);
    mask(&net);
    *ret = CEL_BOOL_VALUE(narrower && y.ip.v6 == net.ip.v6 && memcmp(y.ip.bytes, net.ip.bytes, 16) == 0);
    return true;
}

/* ---- named formats ---- */

static const struct { const char *name; void (*rule)(struct arena *, const char *, struct string_list *); void (*prefix)(struct arena *, const char *, bool, struct string_list *); const char *format; } named[] = {
    {"dns1123Label", name_dns1123_label, NULL, NULL}, {"dns1123Subdomain", name_dns1123_subdomain, NULL, NULL}, {"dns1035Label", name_dns1035_label, NULL, NULL}, {"qualifiedName", name_qualified, NULL, NULL},
    {"labelValue", name_label_value, NULL, NULL}, {"dns1123LabelPrefix", NULL, object_name_dns_label, NULL}, {"dns1123SubdomainPrefix", NULL, object_name_dns_subdomain, NULL},
    {"dns1035LabelPrefix", NULL, object_name_dns1035_label, NULL}, {"uri", NULL, NULL, "uri"}, {"uuid", NULL, NULL, "uuid"}, {"byte", NULL, NULL, "byte"}, {"date", NULL, NULL, "date"}, {"datetime", NULL, NULL, "datetime"}};

static bool find_format(struct call *c, struct cel_value *ret) {
    bool by_name = strcmp(c->name, "named") == 0 && c->len == 2 && c->args[1].kind == CEL_STRING;
    const char *name = by_name ? text_of(c, 1) : c->name;
    if (!by_name && c->len != 1) return false;
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (strcmp(named[i].name, name) != 0) continue;
        struct cel_value f = {.kind = CEL_FORMAT, .str = {named[i].name, strlen(named[i].name)}};
        *ret = by_name ? CEL_VALUE(CEL_OPTIONAL, opt, arena_memdup(c->arena, &f, sizeof(f))) : f;
        return true;
    }
    *ret = (struct cel_value){.kind = CEL_OPTIONAL};
    return by_name;
}

static bool validate(struct call *c, struct cel_value *ret) {
    const char *name = text_of(c, 0), *text = text_of(c, 1);
    struct string_list msgs = {0};
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (strcmp(named[i].name, name) != 0) continue;
        if (named[i].rule) named[i].rule(c->arena, text, &msgs);
        else if (named[i].prefix) named[i].prefix(c->arena, text, true, &msgs);
        else if (!format_matches(named[i].format, text)) string_list_push(c->arena, &msgs, arena_printf(c->arena, "invalid %s", name));
    }
    *ret = (struct cel_value){.kind = CEL_OPTIONAL};
    if (!msgs.len) return true;
    struct cel_value list = cel_list_new(c->arena);
    for (size_t i = 0; i < msgs.len; i++) {
        struct cel_value m = cel_string_value(c->arena, msgs.items[i]);
        cel_list_push(c->arena, &list, &m);
    }
    ret->opt = arena_memdup(c->arena, &list, sizeof(list));
    return true;
}

/* ---- what makes them ---- */

static bool make(struct call *c, struct cel_value *ret) {
    const char *n = c->name, *s = text_of(c, 0);
    struct quantity q;
    struct url_parts u;
    struct cel_value v;
    if (strcmp(n, "quantity") == 0 || strcmp(n, "isQuantity") == 0) {
        bool ok = quantity_parse(s, &q, NULL) == 0;
        *ret = *n == 'i' ? CEL_BOOL_VALUE(ok) : ok ? quantity_value_of(c->arena, &q) : cel_error(c->arena, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    } else if (strcmp(n, "url") == 0 || strcmp(n, "isURL") == 0) {
        bool ok = url_split(c->arena, s, &u);
        if (*n == 'i') *ret = CEL_BOOL_VALUE(ok);
        else if (ok) *ret = (struct cel_value){.kind = CEL_URL, .str = {s, strlen(s)}};
        else *ret = cel_error(c->arena, "URL parse error during conversion from string: parse %s: invalid URI for request", go_quote(c->arena, s));
    } else if (strcmp(n, "ip") == 0 || strcmp(n, "isIP") == 0) {
        bool ok = parse_ip(s, &v);
        *ret = n[1] == 's' ? CEL_BOOL_VALUE(ok) : ok ? v : cel_error(c->arena, "IP Address %s parse error during conversion from string: ParseAddr(%s): unable to parse IP", go_quote(c->arena, s), go_quote(c->arena, s));
    } else if (strcmp(n, "cidr") == 0 || strcmp(n, "isCIDR") == 0) {
        bool ok = parse_cidr(c->arena, s, &v);
        *ret = *n == 'i' ? CEL_BOOL_VALUE(ok) : ok ? v : cel_error(c->arena, "network address parse error during conversion from string: netip.ParsePrefix(%s): no '/'", go_quote(c->arena, s));
    } else return false;
    return true;
}

static bool is_canonical(struct call *c, struct cel_value *ret) {
    struct cel_value v;
    char text[INET6_ADDRSTRLEN];
    const char *s = text_of(c, 1);
    if (!parse_ip(s, &v)) *ret = cel_error(c->arena, "IP Address %s parse error during conversion from string", go_quote(c->arena, s));
    else *ret = CEL_BOOL_VALUE(inet_ntop(v.ip.v6 ? AF_INET6 : AF_INET, v.ip.bytes, text, sizeof(text)) && strcmp(text, s) == 0);
    return true;
}

bool cel_call_kubernetes(struct call *c, struct cel_value *ret) {
    if (!c->len) return false;
    const struct cel_value *x = &c->args[0];
    if (!c->method && cel_call_semver(c, ret)) return true;
    if (!c->method) return c->len == 1 && x->kind == CEL_STRING && make(c, ret);
    if (x->kind == CEL_QUANTITY) return quantity_methods(c, ret);
    if (x->kind == CEL_SEMVER) return cel_call_semver(c, ret);
    if (x->kind == CEL_URL) return url_methods(c, ret);
    if (x->kind == CEL_IP) return ip_methods(c, ret);
    if (x->kind == CEL_CIDR) return cidr_methods(c, ret);
    if (x->kind == CEL_FORMAT) return strcmp(c->name, "validate") == 0 && c->len == 2 && c->args[1].kind == CEL_STRING && validate(c, ret);
    if (x->kind != CEL_TYPE) return false;
    if (strcmp(c->name, "isCanonical") == 0) return c->len == 2 && c->args[1].kind == CEL_STRING && is_canonical(c, ret);
    return find_format(c, ret);
}
