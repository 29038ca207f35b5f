/* Structs to JSON, driven by the descriptors, as Go's encoder writes the same Go types. Runs on any thread; touches nothing but its arguments.
 * Tests: tests/unit/test_object.c. */
#include <string.h>
#include "api/custom_object.h"
#include "api/object.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

struct encoder {
    struct buf *out;
    size_t *rv_offset; /* not NULL: this is for storage; see object_encode_stored */
    bool go;           /* see object_encode_go */
};

static void put_struct(struct encoder *e, const struct type_desc *type, const void *obj);

static void put_name(struct buf *out, const struct field_desc *f, bool first) {
    buf_reserve(out, f->name_len + 4u);
    char *p = out->data + out->len;
    if (!first) *p++ = ',';
    *p++ = '"';
    memcpy(p, f->name, f->name_len);
    p += f->name_len;
    *p++ = '"';
    *p++ = ':';
    *p = 0;
    out->len = (size_t)(p - out->data);
}

/* Where upstream's internal struct has a name of its own. */
static const char *renamed_in_go(const struct type_desc *type, const char *name) {
    static const char *const attribute[][2] = {{"int", "IntValue"}, {"bool", "BoolValue"}, {"string", "StringValue"}, {"version", "VersionValue"},
                                               {"ints", "IntValues"}, {"bools", "BoolValues"}, {"strings", "StringValues"}, {"versions", "VersionValues"}};
    if (type != &resourcev1_DeviceAttribute_desc) return NULL;
    for (size_t i = 0; i < sizeof(attribute) / sizeof(attribute[0]); i++)
        if (strcmp(attribute[i][0], name) == 0) return attribute[i][1];
    return NULL;
}

/* The field's name in upstream's internal Go struct: capital first, initialisms whole. */
static void put_go_name(struct buf *out, const struct type_desc *type, const struct field_desc *f, bool first) {
    static const char *const initialisms[] = {"api", "uid", "url", "cidr", "ip", "cel", "csi", "http", "tls", "ca", "nfs", "iscsi", "fc", "rbd", "gce", "aws", "id", "fs", "dns", "se", "tty", "gmsa", "qos", "os", "iqn", "wwid", "pd"};
    const char *own = renamed_in_go(type, f->name);
    size_t whole = 0;
    if (strcmp(f->name, "jsonPath") == 0) own = "JSONPath";
    if (own) {
        buf_printf(out, "%s\"%s\":", first ? "" : ",", own);
        return;
    }
    for (size_t i = 0; i < sizeof(initialisms) / sizeof(initialisms[0]); i++) {
        size_t n = strlen(initialisms[i]);
        char next = strncmp(f->name, initialisms[i], n) == 0 ? f->name[n] : 'x';
        if (next == 0 || (next >= 'A' && next <= 'Z') || (next == 's' && f->name[n + 1] == 0)) whole = n;
    }
    buf_printf(out, "%s\"", first ? "" : ",");
    for (size_t i = 0; i < f->name_len; i++) buf_append_char(out, i <= (whole ? whole - 1 : 0) && f->name[i] >= 'a' && f->name[i] <= 'z' ? (char)(f->name[i] - 32) : f->name[i]);
    buf_append_str(out, "\":");
}

static void put_int_or_string(struct buf *out, const struct int_or_string *v) {
    if (v->kind == INTSTR_STRING) json_write_string(out, v->s);
    else buf_append_i64(out, v->i);
}

static void put_string_list(struct buf *out, const struct string_list *list) {
    if (!list->items) {
        buf_append_str(out, "null");
        return;
    }
    buf_append_char(out, '[');
    for (size_t i = 0; i < list->len; i++) {
        if (i) buf_append_char(out, ',');
        json_write_string(out, list->items[i]);
    }
    buf_append_char(out, ']');
}

static void put_plain(struct encoder *e, const struct field_desc *f, const void *at) {
    struct buf *out = e->out;
    switch ((enum field_kind)f->kind) {
        case FK_STRING: json_write_string(out, *(const char *const *)at); break;
        case FK_BOOL: buf_append_str(out, *(const bool *)at ? "true" : "false"); break;
        case FK_INT32: buf_append_i64(out, *(const int32_t *)at); break;
        case FK_INT64: buf_append_i64(out, *(const int64_t *)at); break;
        case FK_DOUBLE: json_write_double(out, *(const double *)at); break;
        case FK_BYTES: {
            const struct bytes *b = at;
            if (!b->data) buf_append_str(out, "null");
            else json_write_base64(out, b->data, b->len);
            break;
        }
        case FK_TIME: case FK_MICROTIME: {
            const struct api_time *t = at;
            if (!t->set) buf_append_str(out, "null");
            else {
                buf_append_char(out, '"');
                if (f->kind == FK_TIME) time_format(t, out);
                else micro_time_format(t, out);
                buf_append_char(out, '"');
            }
            break;
        }
        case FK_QUANTITY: json_write_string(out, str_or(*(const char *const *)at, "0")); break;
        case FK_INTORSTRING: put_int_or_string(out, at); break;
        case FK_RAW: {
            const struct raw_json *r = at;
            if (r->data) buf_append(out, r->data, r->len);
            else buf_append_str(out, "null");
            break;
        }
        case FK_STRUCT: put_struct(e, f->type, at); break;
        case FK_STRING_LIST: put_string_list(out, at); break;
    }
}

static void put_pointer(struct encoder *e, const struct field_desc *f, const char *at) {
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: put_plain(e, f, &((const struct opt_bool *)(const void *)at)->value); break;
        case FK_INT32: put_plain(e, f, &((const struct opt_int32 *)(const void *)at)->value); break;
        case FK_INT64: put_plain(e, f, &((const struct opt_int64 *)(const void *)at)->value); break;
        case FK_DOUBLE: put_plain(e, f, &((const struct opt_double *)(const void *)at)->value); break;
        case FK_STRUCT: put_plain(e, f, *(const void *const *)(const void *)at); break;
        default: put_plain(e, f, at); break;
    }
}

bool object_field_is_nil(const struct field_desc *f, const void *at) {
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: return !((const struct opt_bool *)at)->has;
        case FK_INT32: return !((const struct opt_int32 *)at)->has;
        case FK_INT64: return !((const struct opt_int64 *)at)->has;
        case FK_DOUBLE: return !((const struct opt_double *)at)->has;
        case FK_STRING: case FK_QUANTITY: case FK_STRUCT: return !*(const void *const *)at;
        case FK_TIME: case FK_MICROTIME: return !((const struct api_time *)at)->set;
        case FK_INTORSTRING: return ((const struct int_or_string *)at)->kind == INTSTR_NONE;
        case FK_RAW: return !((const struct raw_json *)at)->data;
        case FK_BYTES: return !((const struct bytes *)at)->data;
        case FK_STRING_LIST: return !((const struct string_list *)at)->items;
    }
    return true;
}

/* What Go's omitempty leaves out of a plain field: never a struct. */
static bool plain_is_empty(const struct field_desc *f, const void *at) {
    switch ((enum field_kind)f->kind) {
        case FK_STRING: return str_empty(*(const char *const *)at);
        case FK_BOOL: return !*(const bool *)at;
        case FK_INT32: return *(const int32_t *)at == 0;
        case FK_INT64: return *(const int64_t *)at == 0;
        case FK_DOUBLE: return *(const double *)at == 0;
        case FK_BYTES: return ((const struct bytes *)at)->len == 0;
        case FK_RAW: return !((const struct raw_json *)at)->data;
        default: return false;
    }
}

static bool plain_is_zero(const struct field_desc *f, const void *at) {
    switch ((enum field_kind)f->kind) {
        case FK_TIME: case FK_MICROTIME: return !((const struct api_time *)at)->set;
        case FK_QUANTITY: return str_empty(*(const char *const *)at) || str_eq(*(const char *const *)at, "0");
        case FK_INTORSTRING: {
            const struct int_or_string *v = at;
            return v->kind == INTSTR_NONE || (v->kind == INTSTR_INT && v->i == 0);
        }
        case FK_STRUCT: return object_is_zero(f->type, at);
        default: return plain_is_empty(f, at);
    }
}

static bool field_is_nil(const struct field_desc *f, const void *at) {
    switch ((enum field_shape)f->shape) {
        case SHAPE_PLAIN: return plain_is_zero(f, at);
        case SHAPE_POINTER: return object_field_is_nil(f, at);
        case SHAPE_LIST: case SHAPE_MAP: return ((const struct any_list *)at)->len == 0;
    }
    return true;
}

bool object_is_zero(const struct type_desc *type, const void *obj) {
    for (size_t i = 0; i < type->fields_len; i++)
        if (!field_is_nil(&type->fields[i], (const char *)obj + type->fields[i].offset)) return false;
    return true;
}

bool object_field_left_out(const struct field_desc *f, const void *at) {
    if ((f->flags & FIELD_OMITZERO) && f->shape == SHAPE_PLAIN && plain_is_zero(f, at)) return true;
    if (!(f->flags & FIELD_OMITEMPTY)) return false;
    return f->shape == SHAPE_PLAIN ? plain_is_empty(f, at) : field_is_nil(f, at);
}

static void put_list(struct encoder *e, const struct field_desc *f, const struct any_list *list) {
    if (!list->items) {
        buf_append_str(e->out, "null");
        return;
    }
    buf_append_char(e->out, '[');
    for (size_t i = 0; i < list->len; i++) {
        if (i) buf_append_char(e->out, ',');
        put_plain(e, f, (const char *)list->items + i * f->item_size);
    }
    buf_append_char(e->out, ']');
}

static void put_map(struct encoder *e, const struct field_desc *f, const struct any_list *map) {
    if (!map->items) {
        buf_append_str(e->out, "null");
        return;
    }
    buf_append_char(e->out, '{');
    for (size_t i = 0; i < map->len; i++) {
        const char *entry = (const char *)map->items + i * f->item_size;
        if (i) buf_append_char(e->out, ',');
        json_write_string(e->out, *(const char *const *)(const void *)entry);
        buf_append_char(e->out, ':');
        put_plain(e, f, entry + sizeof(char *));
    }
    buf_append_char(e->out, '}');
}

static void put_value(struct encoder *e, const struct field_desc *f, const void *at) {
    switch ((enum field_shape)f->shape) {
        case SHAPE_PLAIN: put_plain(e, f, at); break;
        case SHAPE_POINTER:
            if (object_field_is_nil(f, at)) buf_append_str(e->out, "null");
            else put_pointer(e, f, at);
            break;
        case SHAPE_LIST: put_list(e, f, at); break;
        case SHAPE_MAP: put_map(e, f, at); break;
    }
}

static bool put_fields(struct encoder *e, const struct type_desc *type, const void *obj, bool first);

static const struct field_desc *field_named(const struct type_desc *type, const char *name, size_t len) {
    for (size_t i = 0; i < type->fields_len; i++)
        if (type->fields[i].name_len == len && strncmp(type->fields[i].name, name, len) == 0) return &type->fields[i];
    return NULL;
}

/* The fields in the order of upstream's internal struct. */
static bool put_go_fields(struct encoder *e, const struct type_desc *type, const void *obj, const char *order, bool first) {
    static const char context[] = "seLinuxOptions,windowsOptions,runAsUser,runAsGroup,runAsNonRoot,supplementalGroups,supplementalGroupsPolicy,fsGroup,fsGroupChangePolicy,sysctls,seccompProfile,appArmorProfile,seLinuxChangePolicy";
    static const struct corev1_PodSecurityContext none;
    for (size_t n; *order; order += n + (order[n] == ',')) {
        n = strcspn(order, ",");
        const struct field_desc *f = field_named(type, order, n);
        if (!f) continue;
        put_go_name(e->out, type, f, first);
        first = false;
        if (type == &corev1_PodSpec_desc && strcmp(f->name, "securityContext") == 0) { /* that is where the internal one keeps what a Pod shares with its host */
            const struct corev1_PodSecurityContext *own = ((const struct corev1_PodSpec *)obj)->securityContext;
            buf_append_char(e->out, '{');
            put_go_fields(e, type, obj, "hostNetwork,hostPID,hostIPC,shareProcessNamespace,hostUsers", true);
            put_go_fields(e, &corev1_PodSecurityContext_desc, own ? own : &none, context, false);
            buf_append_char(e->out, '}');
        } else put_value(e, f, (const char *)obj + f->offset);
    }
    return first;
}

static bool put_fields(struct encoder *e, const struct type_desc *type, const void *obj, bool first) {
    static const char pod[] = "volumes,initContainers,containers,ephemeralContainers,restartPolicy,terminationGracePeriodSeconds,activeDeadlineSeconds,dnsPolicy,nodeSelector,serviceAccountName,"
                              "automountServiceAccountToken,nodeName,securityContext,imagePullSecrets,hostname,subdomain,setHostnameAsFQDN,affinity,schedulerName,tolerations,hostAliases,priorityClassName,priority,"
                              "preemptionPolicy,dnsConfig,readinessGates,runtimeClassName,overhead,enableServiceLinks,topologySpreadConstraints,os,schedulingGates,resourceClaims,resources,hostnameOverride,schedulingGroup";
    if (e->go && type == &corev1_PodSpec_desc) return put_go_fields(e, type, obj, pod, first);
    bool go = e->go && strncmp(type->name, "meta.v1.", 8) != 0; /* meta's types have JSON tags in upstream's internal structs too */
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        const void *at = (const char *)obj + f->offset;
        bool rv = e->rv_offset && (type == &metav1_ObjectMeta_desc || (type->flags & TYPE_SORTED_META)) && f->offset == offsetof(struct metav1_ObjectMeta, resourceVersion) && !*e->rv_offset;
        if (!go && !rv && object_field_left_out(f, at)) continue;
        if (go && f->kind == FK_STRUCT && f->shape == SHAPE_PLAIN && f->type == &metav1_ObjectMeta_desc) { /* embedded, without a name of its own */
            first = put_fields(e, f->type, at, first);
            continue;
        }
        go ? put_go_name(e->out, type, f, first) : put_name(e->out, f, first);
        first = false;
        if (rv) {
            buf_append_str(e->out, "\"\"");
            *e->rv_offset = e->out->len - 1;
        } else put_value(e, f, at);
    }
    return first;
}

static void put_struct(struct encoder *e, const struct type_desc *type, const void *obj) {
    if (type->flags & TYPE_DOCUMENT) {
        const struct custom_object *custom = obj;
        custom_object_encode(custom, e->rv_offset && !custom->type->converts ? custom->type->storage->api_version : custom->type->api_version, e->out, e->rv_offset);
        return;
    }
    buf_append_char(e->out, '{');
    put_fields(e, type, obj, true);
    buf_append_char(e->out, '}');
}

void object_encode_json(const struct type_desc *type, const void *obj, struct buf *out) {
    struct encoder e = {out, NULL, false};
    put_struct(&e, type, obj);
}

void object_encode_go(const struct type_desc *type, const void *obj, struct buf *out) {
    struct encoder e = {out, NULL, true};
    put_struct(&e, type, obj);
}

void object_encode_stored(const struct type_desc *type, const void *obj, struct buf *out, size_t *ret_rv_offset) {
    size_t base = out->len;
    *ret_rv_offset = 0;
    struct encoder e = {out, ret_rv_offset, false};
    put_struct(&e, type, obj);
    CHECK(*ret_rv_offset > base); /* every stored kind has object metadata, and its own comes before any template's */
    *ret_rv_offset -= base;
}
