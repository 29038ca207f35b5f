#include "api/validation/meta.h"
#include <arpa/inet.h>
#include <string.h>
#include "api/names.h"
#include "base/str.h"
#include "wire/json.h"

enum { ANNOTATIONS_BYTES_MAX = 256 << 10 };

void field_invalid_each(struct field_errors *errs, const struct field_path *at, const char *value, const struct string_list *msgs) {
    for (size_t i = 0; i < msgs->len; i++) field_invalid(errs, at, value, "%s", msgs->items[i]);
}

char *object_json_text(struct arena *a, const struct type_desc *type, const void *obj) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    object_encode_go(type, obj, &out);
    return arena_strdup(a, buf_cstr(&out));
}

void validate_non_negative(int64_t value, const struct field_path *at, struct field_errors *errs) {
    if (value < 0) field_invalid_int(errs, at, value, "must be greater than or equal to 0");
}

void validate_immutable(bool equal, const char *value_raw, const struct field_path *at, struct field_errors *errs) {
    if (!equal) field_invalid_raw(errs, at, value_raw, "field is immutable");
}

static char *without_wrapper(struct arena *a, char *json, const char *key) {
    size_t skip = strlen(key) + 4, len = strlen(json);
    return len > skip ? arena_strndup(a, json + skip, len - skip - 1) : arena_strdup(a, "{}");
}

char *string_map_json_text(struct arena *a, const struct string_map *map) {
    if (!map->items) return arena_strdup(a, "null");
    struct metav1_LabelSelector s = {.matchLabels = *map};
    return without_wrapper(a, object_json_text(a, &metav1_LabelSelector_desc, &s), "matchLabels");
}

char *string_list_json_text(struct arena *a, const struct string_list *list) {
    if (!list->items) return arena_strdup(a, "null");
    if (!list->len) return arena_strdup(a, "[]");
    struct metav1_ObjectMeta m = {.finalizers = *list};
    char *json = object_json_text(a, &metav1_ObjectMeta_desc, &m);
    return without_wrapper(a, json, "finalizers");
}

char *int32_list_json_text(struct arena *a, const struct int32_list *list) {
    if (!list->items) return arena_strdup(a, "null");
    char *out = arena_strdup(a, "[");
    for (size_t i = 0; i < list->len; i++) out = arena_printf(a, "%s%s%d", out, i ? "," : "", list->items[i]);
    return arena_printf(a, "%s]", out);
}

void validate_immutable_struct(const struct type_desc *type, const void *value, const void *old, const struct field_path *at, struct field_errors *errs) {
    if (value == old || (value && old && object_equal(type, value, old))) return;
    field_invalid_raw(errs, at, value ? object_json_text(errs->arena, type, value) : "null", "field is immutable");
}

void validate_immutable_int32(struct opt_int32 value, struct opt_int32 old, const struct field_path *at, struct field_errors *errs) {
    if (value.has == old.has && (!value.has || value.value == old.value)) return;
    if (value.has) field_invalid_int(errs, at, value.value, "field is immutable");
    else field_invalid_raw(errs, at, "null", "field is immutable");
}

void validate_immutable_string(const char *value, const char *old, const struct field_path *at, struct field_errors *errs) {
    if (str_eq(value, old)) return;
    field_invalid_raw(errs, at, value ? go_quote(errs->arena, value) : "null", "field is immutable");
}

void field_invalid_omitted(struct field_errors *errs, const struct field_path *at, const char *detail) {
    field_error_add(errs, "FieldValueInvalid", at, "Invalid value: %s", detail);
}

void validate_enum(const char *value, const char *const *supported, const struct field_path *at, struct field_errors *errs) {
    if (value && !str_in(value, supported)) field_not_supported(errs, at, value, supported);
}

char *ip_without_zeros(struct arena *a, const char *ip) {
    char *out = arena_strdup(a, "");
    for (const char *p = ip; *p;) {
        while (p[0] == '0' && p[1] >= '0' && p[1] <= '9') p++;
        size_t len = strcspn(p, ".");
        out = arena_printf(a, "%s%.*s%s", out, (int)len, p, p[len] ? "." : "");
        p += len + (p[len] == '.');
    }
    return out;
}

/* Four numbers with leading zeros: what Go's sloppy parser took and its strict one refuses. */
static bool has_leading_zeros(struct arena *a, const char *ip) {
    return !ip[strspn(ip, "0123456789.")] && name_is_ip(ip_without_zeros(a, ip));
}

static bool is_mapped(const char *ip) {
    struct in6_addr six;
    return inet_pton(AF_INET6, ip, &six) == 1 && IN6_IS_ADDR_V4MAPPED(&six);
}

void validate_ip(const char *value, const struct field_path *at, struct field_errors *errs) {
    const char *ip = str_or(value, "");
    bool valid = name_is_ip(ip), sloppy = !valid && has_leading_zeros(errs->arena, ip);
    if (!valid && !sloppy) field_invalid(errs, at, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    else if (sloppy) field_invalid(errs, at, value, "must not have leading 0s");
    else if (is_mapped(ip)) field_invalid(errs, at, value, "must not be an IPv4-mapped IPv6 address");
}

/* Bits beyond the prefix are strict validation's to refuse. */
static bool has_host_bits(const char *ip, uint64_t prefix) {
    unsigned char address[16] = {0};
    bool six = strchr(ip, ':') != NULL;
    if (inet_pton(six ? AF_INET6 : AF_INET, ip, address) != 1) return false;
    for (uint64_t i = prefix; i < (six ? 128 : 32); i++)
        if (address[i / 8] & (0x80u >> i % 8)) return true;
    return false;
}

void validate_cidr(const char *value, const struct field_path *at, struct field_errors *errs) {
    const char *slash = strchr(str_or(value, ""), '/');
    const char *ip = slash ? arena_strndup(errs->arena, value, (size_t)(slash - value)) : "";
    uint64_t bits = 0;
    bool valid = slash && str_to_u64(slash + 1, &bits) && (name_is_ip(ip) || has_leading_zeros(errs->arena, ip)) && bits <= (strchr(ip, ':') ? 128u : 32u);
    if (!valid) field_invalid(errs, at, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    else if (!name_is_ip(ip) || (slash[1] == '0' && slash[2])) field_invalid(errs, at, value, "must not have leading 0s in IP or prefix length");
    else if (is_mapped(ip)) field_invalid(errs, at, value, "must not have an IPv4-mapped IPv6 address");
    else if (has_host_bits(ip, bits)) field_invalid(errs, at, value, "must not have bits set beyond the prefix length");
}

void validate_domain_prefixed_path(const char *value, const struct field_path *at, struct field_errors *errs) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/%-._~!$&'()*+,;=:";
    struct string_list msgs = {0};
    const char *slash = strchr(str_or(value, ""), '/');
    if (str_empty(value)) {
        field_required(errs, at, "%s", "");
        return;
    }
    if (!slash || slash == value || !slash[1]) {
        field_invalid(errs, at, value, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    }
    const char *host = arena_strndup(errs->arena, value, (size_t)(slash - value));
    name_dns1123_subdomain(errs->arena, host, &msgs);
    field_invalid_each(errs, at, host, &msgs);
    if (slash[1 + strspn(slash + 1, allowed)])
        field_invalid(errs, at, slash + 1, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
}

void validate_labels(const struct string_map *labels, const struct field_path *at, struct field_errors *errs) {
    LIST_FOREACH(e, labels) {
        struct string_list msgs = {0};
        name_qualified(errs->arena, e->key, &msgs);
        field_invalid_each(errs, at, e->key, &msgs);
        msgs = (struct string_list){0};
        name_label_value(errs->arena, str_or(e->value, ""), &msgs);
        field_invalid_each(errs, at, e->value, &msgs);
    }
}

static char *lower(struct arena *a, const char *s) {
    char *out = arena_strdup(a, s);
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
    return out;
}

void validate_annotations(const struct string_map *annotations, const struct field_path *at, struct field_errors *errs) {
    size_t total = 0;
    LIST_FOREACH(e, annotations) {
        struct string_list msgs = {0};
        name_qualified(errs->arena, lower(errs->arena, e->key), &msgs); /* keys may hold capitals */
        field_invalid_each(errs, at, e->key, &msgs);
        total += strlen(e->key) + strlen(str_or(e->value, ""));
    }
    if (total > ANNOTATIONS_BYTES_MAX) field_too_long(errs, at, ANNOTATIONS_BYTES_MAX);
}

static void validate_owner_references(const struct metav1_OwnerReference_list *refs, const struct field_path *at, struct field_errors *errs) {
    const char *controller = NULL;
    LIST_FOREACH(o, refs) {
        const char *slash = strchr(str_or(o->apiVersion, ""), '/');
        if (str_empty(slash ? slash + 1 : o->apiVersion) || (slash && strchr(slash + 1, '/'))) field_invalid(errs, FIELD(at, "apiVersion"), o->apiVersion, "version must not be empty");
        if (str_empty(o->kind)) field_invalid(errs, FIELD(at, "kind"), o->kind, "must not be empty");
        if (str_empty(o->name)) field_invalid(errs, FIELD(at, "name"), o->name, "must not be empty");
        if (str_empty(o->uid)) field_invalid(errs, FIELD(at, "uid"), o->uid, "must not be empty");
        if (str_eq(o->apiVersion, "v1") && str_eq(o->kind, "Event"))
            field_invalid_raw(errs, at, object_json_text(errs->arena, &metav1_OwnerReference_desc, o), "/v1, Kind=Event is disallowed from being an owner");
        if (!o->controller.has || !o->controller.value) continue;
        if (controller) {
            const char *second = arena_printf(errs->arena, "%s/%s", o->kind, o->name);
            struct buf all = BUF_INIT;
            buf_append_char(&all, '[');
            LIST_FOREACH(p, refs) buf_printf(&all, "%s%s", p == refs->items ? "" : ",", object_json_text(errs->arena, &metav1_OwnerReference_desc, p));
            buf_append_char(&all, ']');
            field_invalid_raw(errs, at, arena_strdup(errs->arena, all.data), "Only one reference can have Controller set to true. Found \"true\" in references for %s and %s", controller, second);
            buf_release(&all);
        } else controller = arena_printf(errs->arena, "%s/%s", o->kind, o->name);
    }
}

void validate_finalizer_domains(const struct string_list *finalizers, const struct field_path *at, struct field_errors *errs) {
    static const char *const standard[] = {"orphan", "foregroundDeletion", "kubernetes", NULL};
    for (size_t i = 0; i < finalizers->len; i++)
        if (!strchr(finalizers->items[i], '/') && !str_in(finalizers->items[i], standard))
            field_invalid(errs, FIELD_INDEX(at, i), finalizers->items[i], "name is neither a standard finalizer name nor is it fully qualified");
}

static void validate_finalizers(const struct string_list *finalizers, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < finalizers->len; i++) {
        const char *f = finalizers->items[i];
        struct string_list msgs = {0};
        name_qualified(errs->arena, f, &msgs);
        field_invalid_each(errs, at, f, &msgs);
    }
    if (string_list_has(finalizers, "orphan") && string_list_has(finalizers, "foregroundDeletion")) {
        struct buf all = BUF_INIT;
        for (size_t i = 0; i < finalizers->len; i++) buf_printf(&all, "%s\"%s\"", i ? "," : "[", finalizers->items[i]);
        buf_append_char(&all, ']');
        field_invalid_raw(errs, at, arena_strdup(errs->arena, all.data), "finalizer orphan and foregroundDeletion cannot be both set");
        buf_release(&all);
    }
}

static void validate_common(const struct metav1_ObjectMeta *m, bool domains, const struct field_path *at, struct field_errors *errs) {
    validate_non_negative(m->generation, FIELD(at, "generation"), errs);
    validate_labels(&m->labels, FIELD(at, "labels"), errs);
    validate_annotations(&m->annotations, FIELD(at, "annotations"), errs);
    validate_owner_references(&m->ownerReferences, FIELD(at, "ownerReferences"), errs);
    validate_finalizers(&m->finalizers, FIELD(at, "finalizers"), errs);
    if (domains) validate_finalizer_domains(&m->finalizers, FIELD(at, "finalizers"), errs);
}

static void check_meta(const struct metav1_ObjectMeta *m, bool namespaced, name_rule rule, bool domains, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (!rule) rule = object_name_dns_subdomain;
    if (!str_empty(m->generateName)) {
        rule(errs->arena, m->generateName, true, &msgs);
        field_invalid_each(errs, FIELD(at, "generateName"), m->generateName, &msgs);
    }
    if (str_empty(m->name)) field_required(errs, FIELD(at, "name"), "name or generateName is required");
    else {
        msgs = (struct string_list){0};
        rule(errs->arena, m->name, false, &msgs);
        field_invalid_each(errs, FIELD(at, "name"), m->name, &msgs);
    }
    if (namespaced && str_empty(m->namespace)) field_required(errs, FIELD(at, "namespace"), "%s", "");
    else if (namespaced) {
        msgs = (struct string_list){0};
        name_dns1123_label(errs->arena, m->namespace, &msgs);
        field_invalid_each(errs, FIELD(at, "namespace"), m->namespace, &msgs);
    } else if (!str_empty(m->namespace)) field_forbidden(errs, FIELD(at, "namespace"), "not allowed on this type");
    validate_common(m, domains, at, errs);
}

void validate_template_meta(const struct metav1_ObjectMeta *m, const struct field_path *at, struct field_errors *errs) {
    const struct { const char *name; bool set; } others[] = {
        {"name", !str_empty(m->name)}, {"generateName", !str_empty(m->generateName)}, {"namespace", !str_empty(m->namespace)}, {"selfLink", !str_empty(m->selfLink)}, {"uID", !str_empty(m->uid)},
        {"resourceVersion", !str_empty(m->resourceVersion)}, {"generation", m->generation != 0}, {"creationTimestamp", m->creationTimestamp.set}, {"deletionTimestamp", m->deletionTimestamp.set},
        {"deletionGracePeriodSeconds", m->deletionGracePeriodSeconds.has}, {"ownerReferences", m->ownerReferences.items != NULL}, {"finalizers", m->finalizers.items != NULL}, {"managedFields", m->managedFields.items != NULL}};
    validate_annotations(&m->annotations, FIELD(at, "annotations"), errs);
    validate_labels(&m->labels, FIELD(at, "labels"), errs);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (others[i].set) field_forbidden(errs, FIELD(at, others[i].name), "cannot be set");
}

char *api_time_json_text(struct arena *a, const struct api_time *t) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (!t->set) return arena_strdup(a, "null");
    buf_append_char(&out, '"');
    struct metav1_ObjectMeta m = {.creationTimestamp = *t};
    object_encode_json(&metav1_ObjectMeta_desc, &m, &out);
    const char *from = strstr(out.data, "creationTimestamp\":\"") + 19;
    return arena_strndup(a, from, 22);
}

void validate_object_meta_update(const struct metav1_ObjectMeta *m, const struct metav1_ObjectMeta *old, const struct field_path *at, struct field_errors *errs) {
    struct arena *a = errs->arena;
    if (old->deletionTimestamp.set) {
        struct buf extra = BUF_INIT;
        for (size_t i = 0; i < m->finalizers.len; i++)
            if (!string_list_has(&old->finalizers, m->finalizers.items[i])) buf_printf(&extra, "%s\"%s\"", extra.len ? ", " : "", m->finalizers.items[i]);
        if (extra.len) field_forbidden(errs, FIELD(at, "finalizers"), "no new finalizers can be added if the object is being deleted, found new finalizers []string{%s}", extra.data);
        buf_release(&extra);
    }
    validate_immutable(str_eq(m->name, old->name), go_quote(a, m->name), FIELD(at, "name"), errs);
    validate_immutable(str_eq(m->namespace, old->namespace), go_quote(a, m->namespace), FIELD(at, "namespace"), errs);
    validate_immutable(str_eq(m->uid, old->uid), go_quote(a, m->uid), FIELD(at, "uid"), errs);
    validate_immutable(m->creationTimestamp.sec == old->creationTimestamp.sec, api_time_json_text(a, &m->creationTimestamp), FIELD(at, "creationTimestamp"), errs);
    validate_immutable(m->deletionTimestamp.set == old->deletionTimestamp.set && m->deletionTimestamp.sec == old->deletionTimestamp.sec, api_time_json_text(a, &m->deletionTimestamp), FIELD(at, "deletionTimestamp"), errs);
    const struct opt_int64 *now = &m->deletionGracePeriodSeconds, *before = &old->deletionGracePeriodSeconds;
    validate_immutable(now->has == before->has && (!now->has || now->value == before->value), now->has ? arena_printf(a, "%lld", (long long)now->value) : "null", FIELD(at, "deletionGracePeriodSeconds"), errs);
    validate_non_negative(m->generation, FIELD(at, "generation"), errs);
    validate_labels(&m->labels, FIELD(at, "labels"), errs);
    validate_annotations(&m->annotations, FIELD(at, "annotations"), errs);
    validate_owner_references(&m->ownerReferences, FIELD(at, "ownerReferences"), errs);
}

void validate_object_meta(const struct metav1_ObjectMeta *m, bool namespaced, name_rule rule, const struct field_path *at, struct field_errors *errs) { check_meta(m, namespaced, rule, true, at, errs); }
void validate_object_meta_generic(const struct metav1_ObjectMeta *m, bool namespaced, name_rule rule, const struct field_path *at, struct field_errors *errs) { check_meta(m, namespaced, rule, false, at, errs); }

void validate_label_requirement(const struct metav1_LabelSelectorRequirement *e, bool any_operator, const struct field_path *p, struct field_errors *errs) {
    static const char *const ops[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
    bool set_op = str_eq(e->operator, "In") || str_eq(e->operator, "NotIn");
    if (set_op && e->values.len == 0) field_required(errs, FIELD(p, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
    if ((str_eq(e->operator, "Exists") || str_eq(e->operator, "DoesNotExist")) && e->values.len)
        field_forbidden(errs, FIELD(p, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    if (!any_operator && !str_in(e->operator, ops)) field_invalid(errs, FIELD(p, "operator"), e->operator, "not a valid selector operator");
    struct string_list msgs = {0};
    name_qualified(errs->arena, str_or(e->key, ""), &msgs);
    field_invalid_each(errs, FIELD(p, "key"), e->key, &msgs);
    for (size_t j = 0; j < e->values.len; j++) {
        msgs = (struct string_list){0};
        name_label_value(errs->arena, e->values.items[j], &msgs);
        field_invalid_each(errs, FIELD_INDEX(FIELD(p, "values"), j), e->values.items[j], &msgs);
    }
}

void validate_label_selector(const struct metav1_LabelSelector *s, const struct field_path *at, struct field_errors *errs) {
    if (!s) return;
    validate_labels(&s->matchLabels, FIELD(at, "matchLabels"), errs);
    for (size_t i = 0; i < s->matchExpressions.len; i++) validate_label_requirement(&s->matchExpressions.items[i], false, FIELD_INDEX(FIELD(at, "matchExpressions"), i), errs);
}
