/* What the groups' validations share. */
#include "api/validation/groups.h"
#include <arpa/inet.h>
#include <string.h>
#include "wire/json.h"

void check_supported(struct field_errors *errs, const struct field_path *at, const char *value, const char *const *supported) {
    if (!str_in(str_or(value, ""), supported)) field_not_supported(errs, at, value, supported);
}

char *text_of_list(struct arena *a, const struct string_list *list) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (!list->items) return arena_strdup(a, "null");
    buf_append_char(&out, '[');
    for (size_t i = 0; i < list->len; i++) {
        if (i) buf_append_char(&out, ',');
        json_write_string(&out, list->items[i]);
    }
    buf_append_char(&out, ']');
    return arena_strdup(a, out.data);
}

char *text_of_map(struct arena *a, const struct string_map *map) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (!map->items) return arena_strdup(a, "null");
    LIST_FOREACH(e, map) {
        buf_append_char(&out, e == map->items ? '{' : ',');
        json_write_string(&out, e->key);
        buf_append_char(&out, ':');
        json_write_string(&out, e->value);
    }
    return arena_printf(a, "%s}", map->len ? out.data : "{");
}

char *text_of_go(struct arena *a, const struct type_desc *type, const void *obj) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    object_encode_go(type, obj, &out);
    return arena_strdup(a, buf_cstr(&out));
}

void check_path_segment(struct field_errors *errs, const struct field_path *at, const char *value) {
    struct string_list msgs = {0};
    name_path_segment(errs->arena, str_or(value, ""), false, &msgs);
    field_invalid_each(errs, at, value, &msgs);
}

void require_path_segment(struct field_errors *errs, const struct field_path *at, const char *value) {
    if (str_empty(value)) field_required(errs, at, "%s", "");
    else check_path_segment(errs, at, value);
}

static char *lower(struct arena *a, const char *s) {
    char *out = arena_strdup(a, s);
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
    return out;
}

void check_driver_name(struct field_errors *errs, const struct field_path *at, const char *name) {
    if (str_empty(name)) {
        field_required(errs, at, "%s", "");
        return;
    }
    if (strlen(name) > 63) field_too_long(errs, at, 63);
    struct string_list msgs = {0};
    name_dns1123_subdomain(errs->arena, lower(errs->arena, name), &msgs);
    field_invalid_each(errs, at, name, &msgs);
}

void check_immutable_string(struct field_errors *errs, const struct field_path *at, const char *value, const char *old) {
    if (!str_eq(value, old)) field_invalid_raw(errs, at, value ? go_quote(errs->arena, value) : "null", "field is immutable");
}

void check_conditions(struct field_errors *errs, const struct field_path *at, const struct metav1_Condition_list *conditions) {
    struct string_list types = {0};
    for (size_t i = 0; i < conditions->len; i++) {
        const struct metav1_Condition *c = &conditions->items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        if (string_list_has(&types, c->type)) field_duplicate(errs, FIELD(p, "type"), c->type);
        string_list_push(errs->arena, &types, c->type);
        if (str_empty(c->type)) field_required(errs, FIELD(p, "type"), "must be set");
        else CHECK_NAME(errs, FIELD(p, "type"), c->type, name_qualified);
        if (str_empty(c->status)) field_required(errs, FIELD(p, "status"), "must be set");
        else check_supported(errs, FIELD(p, "status"), c->status, ONE_OF("False", "True", "Unknown"));
        if (c->observedGeneration < 0) field_invalid_int(errs, FIELD(p, "observedGeneration"), c->observedGeneration, "must be greater than or equal to zero");
        if (!c->lastTransitionTime.set) field_required(errs, FIELD(p, "lastTransitionTime"), "must be set");
        if (str_empty(c->reason)) field_required(errs, FIELD(p, "reason"), "must be set");
        else {
            size_t n = strspn(c->reason, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_,:"), len = strlen(c->reason);
            bool first = (c->reason[0] | 32) >= 'a' && (c->reason[0] | 32) <= 'z';
            if (!first || n != len || c->reason[len - 1] == ',' || c->reason[len - 1] == ':')
                field_invalid(errs, FIELD(p, "reason"), c->reason, "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
            if (len > 1024) field_too_long(errs, FIELD(p, "reason"), 1024);
        }
        if (strlen(str_or(c->message, "")) > 32768) field_too_long(errs, FIELD(p, "message"), 32768);
    }
}

void check_int_or_percent(struct field_errors *errs, const struct field_path *at, const struct int_or_string *v) {
    if (v->kind == INTSTR_STRING) {
        struct string_list msgs = {0};
        name_percent(errs->arena, str_or(v->s, ""), &msgs);
        field_invalid_each(errs, at, v->s, &msgs);
        if (!msgs.len && (strlen(v->s) > 4 || atoi(v->s) > 100)) field_invalid(errs, at, v->s, "must not be greater than 100%%");
    } else if (v->kind == INTSTR_INT) validate_non_negative(v->i, at, errs);
}

bool check_duplicate(struct field_errors *errs, const struct field_path *at, struct string_list *seen, const char *value) {
    bool there = string_list_has(seen, value);
    if (there) field_duplicate(errs, at, value);
    else string_list_push(errs->arena, seen, str_or(value, ""));
    return !there;
}

/* core's ValidateTolerations. */
void check_tolerations(struct field_errors *errs, const struct field_path *at, const struct corev1_Toleration_list *tolerations) {
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    for (size_t i = 0; i < tolerations->len; i++) {
        const struct corev1_Toleration *t = &tolerations->items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        if (!str_empty(t->key)) CHECK_NAME(errs, FIELD(p, "key"), t->key, name_qualified);
        if (str_empty(t->key) && !str_eq(t->operator, "Exists"))
            field_invalid(errs, FIELD(p, "operator"), t->operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        if (t->tolerationSeconds.has && !str_eq(t->effect, "NoExecute")) field_invalid(errs, FIELD(p, "effect"), t->effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (str_empty(t->operator) || str_eq(t->operator, "Equal")) {
            struct string_list msgs = {0};
            name_label_value(errs->arena, str_or(t->value, ""), &msgs);
            if (msgs.len) field_invalid(errs, FIELD(p, "operator"), t->value, "%s", msgs.items[0]);
        } else if (str_eq(t->operator, "Exists")) {
            if (!str_empty(t->value)) field_invalid(errs, FIELD(p, "operator"), t->value, "value must be empty when `operator` is 'Exists'");
        } else field_not_supported(errs, FIELD(p, "operator"), t->operator, ONE_OF("Equal", "Exists"));
        if (!str_empty(t->effect) && !str_in(t->effect, effects)) field_not_supported(errs, FIELD(p, "effect"), t->effect, effects);
    }
}

/* ---- addresses, strictly: Go's netip would print them as they are written ---- */

enum address_fault { ADDRESS_FINE, ADDRESS_BAD, ADDRESS_ZEROS, ADDRESS_MAPPED, ADDRESS_FORM };

static bool sloppy_v4(const char *v, char plain[32]) {
    unsigned part[4];
    size_t len = 0;
    const char *p = v;
    for (int i = 0; i < 4; i++) {
        size_t n = strspn(p, "0123456789");
        if (n == 0 || n > 12) return false;
        unsigned long value = strtoul(p, NULL, 10);
        if (value > 255) return false;
        part[i] = (unsigned)value;
        p += n;
        if (i < 3 && *p++ != '.') return false;
    }
    if (*p) return false;
    for (int i = 0; i < 4; i++) {
        unsigned x = part[i];
        if (i) plain[len++] = '.';
        if (x >= 100) plain[len++] = (char)('0' + x / 100);
        if (x >= 10) plain[len++] = (char)('0' + x / 10 % 10);
        plain[len++] = (char)('0' + x % 10);
    }
    plain[len] = 0;
    return true;
}

static enum address_fault address_fault(const char *v, char form[64]) {
    char plain[32];
    if (sloppy_v4(v, plain)) return strcmp(plain, v) == 0 ? ADDRESS_FINE : ADDRESS_ZEROS;
    struct in6_addr six;
    if (!strchr(v, ':') || inet_pton(AF_INET6, v, &six) != 1) return ADDRESS_BAD;
    if (IN6_IS_ADDR_V4MAPPED(&six)) return ADDRESS_MAPPED;
    inet_ntop(AF_INET6, &six, form, 64);
    return strcmp(form, v) == 0 ? ADDRESS_FINE : ADDRESS_FORM;
}

void name_ip_strict(struct arena *a, const char *v, struct string_list *msgs) {
    char form[64];
    switch (address_fault(v, form)) {
        case ADDRESS_FINE: break;
        case ADDRESS_BAD: string_list_push(a, msgs, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"); break;
        case ADDRESS_ZEROS: string_list_push(a, msgs, "must not have leading 0s"); break;
        case ADDRESS_MAPPED: string_list_push(a, msgs, "must not be an IPv4-mapped IPv6 address"); break;
        case ADDRESS_FORM: string_list_push(a, msgs, arena_printf(a, "must be in canonical form (\"%s\")", form)); break;
    }
}

void object_name_ip(struct arena *a, const char *name, bool prefix, struct string_list *msgs) {
    (void)prefix;
    name_ip_strict(a, name, msgs);
}

void check_ip_strict(struct field_errors *errs, const struct field_path *at, const char *ip) { CHECK_NAME(errs, at, ip, name_ip_strict); }

static bool bits_beyond(const unsigned char *bytes, size_t len, unsigned prefix) {
    for (size_t bit = prefix; bit < len * 8; bit++)
        if (bytes[bit / 8] & (0x80 >> bit % 8)) return true;
    return false;
}

void check_cidr_strict(struct field_errors *errs, const struct field_path *at, const char *cidr) {
    const char *v = str_or(cidr, ""), *slash = strchr(v, '/');
    char *ip = slash ? arena_strndup(errs->arena, v, (size_t)(slash - v)) : NULL, form[64] = "";
    uint64_t prefix;
    enum address_fault fault = ip ? address_fault(ip, form) : ADDRESS_BAD;
    bool six = ip && strchr(ip, ':');
    if (fault == ADDRESS_BAD || !str_to_u64(slash + 1, &prefix) || prefix > (six ? 128u : 32u)) {
        field_invalid(errs, at, v, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
        return;
    }
    if (fault == ADDRESS_ZEROS) field_invalid(errs, at, v, "must not have leading 0s in IP");
    if (slash[1] == '0' && slash[2]) field_invalid(errs, at, v, "must not have leading 0s in prefix length");
    if (fault == ADDRESS_MAPPED) field_invalid(errs, at, v, "must not have an IPv4-mapped IPv6 address");
    char plain[32];
    unsigned char bytes[16];
    bool ok = six ? inet_pton(AF_INET6, ip, bytes) == 1 : sloppy_v4(ip, plain) && inet_pton(AF_INET, plain, bytes) == 1;
    if (ok && fault != ADDRESS_MAPPED && bits_beyond(bytes, six ? 16 : 4, (unsigned)prefix)) field_invalid(errs, at, v, "must not have bits set beyond the prefix length");
    else if (fault == ADDRESS_FORM) field_invalid(errs, at, v, "must be in canonical form (\"%s/%llu\")", form, (unsigned long long)prefix);
}
