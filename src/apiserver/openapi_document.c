#include "apiserver/openapi_document.h"
#include <ctype.h>
#include <string.h>
#include "apiserver/registry.h"
#include "base/str.h"

/* Types that upstream writes in Go and that are scalars to us. */
enum scalar { SCALAR_QUANTITY, SCALAR_INT_OR_STRING, SCALAR_TIME, SCALAR_MICRO_TIME, SCALAR_RAW_EXTENSION, SCALAR_FIELDS, SCALAR_JSON, SCALAR_OR_ARRAY, SCALAR_OR_BOOL, SCALAR_OR_STRINGS, SCALAR_PATCH };
#define EXTENSIONS "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
#define STRING "\"type\":\"string\","
#define OBJECT "\"type\":\"object\","
#define DATE_TIME "\"type\":\"string\",\"format\":\"date-time\","
#define INT_OR_STRING "\"format\":\"int-or-string\","
static const struct { const char *name, *v2, *v3, *description; } scalars[] = {
    [SCALAR_QUANTITY] = {"io.k8s.apimachinery.pkg.api.resource.Quantity", STRING, "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}],",
        "An amount of a resource: a decimal number with an optional suffix, such as 100m, 1.5, 2e3, 4k or 512Mi."},
    [SCALAR_INT_OR_STRING] = {"io.k8s.apimachinery.pkg.util.intstr.IntOrString", STRING INT_OR_STRING, "\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]," INT_OR_STRING,
        "A whole number, or a string such as a percentage or the name of a port."},
    [SCALAR_TIME] = {"io.k8s.apimachinery.pkg.apis.meta.v1.Time", DATE_TIME, DATE_TIME, "A moment to the second, written as RFC 3339 has it."},
    [SCALAR_MICRO_TIME] = {"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", DATE_TIME, DATE_TIME, "A moment to the microsecond, written as RFC 3339 has it."},
    [SCALAR_RAW_EXTENSION] = {"io.k8s.apimachinery.pkg.runtime.RawExtension", OBJECT, OBJECT, "An object of some other kind, carried as it was given."},
    [SCALAR_FIELDS] = {"io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", OBJECT, OBJECT, "A set of fields as a tree: f:NAME is a member, k:KEYS or v:VALUE an item of a list, . the node itself."},
    [SCALAR_JSON] = {EXTENSIONS "JSON", "", "", "Any JSON value, kept as it was given."},
    [SCALAR_OR_ARRAY] = {EXTENSIONS "JSONSchemaPropsOrArray", "", "", "A schema, or a list of schemas."},
    [SCALAR_OR_BOOL] = {EXTENSIONS "JSONSchemaPropsOrBool", "", "", "A schema, or true or false for anything or nothing."},
    [SCALAR_PATCH] = {"io.k8s.apimachinery.pkg.apis.meta.v1.Patch", OBJECT, OBJECT, "A change to an object, in the form that the request's media type names."},
    [SCALAR_OR_STRINGS] = {EXTENSIONS "JSONSchemaPropsOrStringArray", "", "", "A schema, or a list of names of properties."},
};

static bool is_custom(const struct type_desc *t) { return (t->flags & TYPE_DOCUMENT) || (t->item_type && (t->item_type->flags & TYPE_DOCUMENT)); }

/* Widget of example.org/v1 is org.example.v1.Widget. */
static const char *custom_name(struct arena *a, const struct type_desc *t) {
    const char *name = "", *end = t->group + strlen(t->group);
    while (end > t->group) {
        const char *start = end;
        while (start > t->group && start[-1] != '.') start--;
        name = arena_printf(a, "%s%.*s.", name, (int)(end - start), start);
        end = start > t->group ? start - 1 : start;
    }
    return arena_printf(a, "%s%s.%s", name, t->version, t->kind);
}

/* "core.v1.Pod" is io.k8s.api.core.v1.Pod to clients. */
const char *openapi_type_name(struct arena *a, const struct type_desc *t) {
    if (is_custom(t)) return custom_name(a, t);
    if (str_has_prefix(t->name, "meta.v1.")) return arena_printf(a, "io.k8s.apimachinery.pkg.apis.%s", t->name);
    if (str_has_prefix(t->name, "apiextensions.")) return arena_printf(a, "io.k8s.apiextensions-apiserver.pkg.apis.%s", t->name);
    if (str_has_prefix(t->name, "apiregistration.")) return arena_printf(a, "io.k8s.kube-aggregator.pkg.apis.%s", t->name);
    return arena_printf(a, "io.k8s.api.%s", t->name);
}

static const char *prefix_of(const struct openapi_document *d) { return d->v2 ? "#/definitions/" : "#/components/schemas/"; }

static void want(struct openapi_document *d, const struct type_desc *t) {
    if (map_has(d->seen, t->name)) return;
    map_put(d->seen, t->name, d);
    *LIST_PUSH(d->arena, &d->queue) = t;
}

void openapi_put_ref(struct openapi_document *d, const struct type_desc *t) {
    want(d, t);
    buf_printf(&d->out, "\"$ref\":\"%s%s\"", prefix_of(d), openapi_type_name(d->arena, t));
}

void openapi_put_gvk(struct openapi_document *d, const char *group, const char *version, const char *kind) {
    buf_printf(&d->out, "{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}", group, version, kind);
}

/* A reference that stands for a field: v3 wants it in an allOf since it has siblings, v2 does not. `alone`: for the items of a list or map, which have none. */
static void put_scalar(struct openapi_document *d, enum scalar s, bool alone) {
    d->scalars |= 1u << s;
    buf_printf(&d->out, d->v2 || alone ? "\"$ref\":\"%s%s\"" : "\"allOf\":[{\"$ref\":\"%s%s\"}]", prefix_of(d), scalars[s].name);
}

static enum scalar raw_scalar(const struct type_desc *of, const struct field_desc *f) {
    static const char *const any[] = {"default", "enum", "example", NULL}, *const or_bool[] = {"additionalProperties", "additionalItems", NULL};
    if (strcmp(f->name, "fieldsV1") == 0) return SCALAR_FIELDS;
    if (strcmp(of->name, "apiextensions.v1.JSONSchemaProps") != 0) return SCALAR_RAW_EXTENSION;
    return str_in(f->name, any) ? SCALAR_JSON : str_in(f->name, or_bool) ? SCALAR_OR_BOOL : strcmp(f->name, "items") == 0 ? SCALAR_OR_ARRAY : SCALAR_OR_STRINGS;
}

static void put_kind(struct openapi_document *d, const struct type_desc *of, const struct field_desc *f) {
    bool alone = f->shape == SHAPE_LIST || f->shape == SHAPE_MAP;
    switch ((enum field_kind)f->kind) {
        case FK_STRING: buf_append_str(&d->out, "\"type\":\"string\""); break;
        case FK_BOOL: buf_append_str(&d->out, "\"type\":\"boolean\""); break;
        case FK_INT32: buf_append_str(&d->out, "\"type\":\"integer\",\"format\":\"int32\""); break;
        case FK_INT64: buf_append_str(&d->out, "\"type\":\"integer\",\"format\":\"int64\""); break;
        case FK_DOUBLE: buf_append_str(&d->out, "\"type\":\"number\",\"format\":\"double\""); break;
        case FK_BYTES: buf_append_str(&d->out, "\"type\":\"string\",\"format\":\"byte\""); break;
        case FK_TIME: put_scalar(d, SCALAR_TIME, alone); break;
        case FK_MICROTIME: put_scalar(d, SCALAR_MICRO_TIME, alone); break;
        case FK_QUANTITY: put_scalar(d, SCALAR_QUANTITY, alone); break;
        case FK_INTORSTRING: put_scalar(d, SCALAR_INT_OR_STRING, alone); break;
        case FK_RAW: put_scalar(d, raw_scalar(of, f), alone || (raw_scalar(of, f) >= SCALAR_JSON && strcmp(f->name, "default") != 0)); break;
        case FK_STRING_LIST: buf_append_str(&d->out, "\"type\":\"array\",\"items\":{\"type\":\"string\"}"); break;
        case FK_STRUCT:
            if (!d->v2 && !alone) buf_append_str(&d->out, "\"allOf\":[{");
            openapi_put_ref(d, f->type);
            if (!d->v2 && !alone) buf_append_str(&d->out, "}]");
            break;
    }
}

static void put_list_marks(struct openapi_document *d, const struct field_desc *f) {
    static const char *const types[] = {NULL, "atomic", "set", "map"};
    if (types[f->list_type]) buf_printf(&d->out, ",\"x-kubernetes-list-type\":\"%s\"", types[f->list_type]);
    if (f->list_keys) {
        buf_append_str(&d->out, ",\"x-kubernetes-list-map-keys\":[");
        for (size_t i = 0; f->list_keys[i]; i++) buf_printf(&d->out, "%s\"%s\"", i ? "," : "", f->list_keys[i]);
        buf_append_char(&d->out, ']');
    }
}

static void put_patch_marks(struct openapi_document *d, const struct field_desc *f) {
    bool merge = f->flags & FIELD_PATCH_MERGE, retain = f->flags & FIELD_PATCH_RETAINKEYS;
    if (merge || retain) buf_printf(&d->out, ",\"x-kubernetes-patch-strategy\":\"%s\"", merge && retain ? "merge,retainKeys" : merge ? "merge" : "retainKeys");
    else if (f->flags & FIELD_PATCH_REPLACE) buf_append_str(&d->out, ",\"x-kubernetes-patch-strategy\":\"replace\"");
    if (f->patch_key) buf_printf(&d->out, ",\"x-kubernetes-patch-merge-key\":\"%s\"", f->patch_key);
}

/* Unpacked when the first one is wanted. */
static const struct descriptions *descriptions(struct openapi_document *d) {
    if (!d->descriptions) d->descriptions = descriptions_open(d->arena);
    return d->descriptions;
}

static void put_description(struct openapi_document *d, const char *text) {
    if (!*text) return;
    buf_append_str(&d->out, ",\"description\":");
    json_write_string(&d->out, text);
}

/* A list of custom objects is described as any list is. */
static const char *field_description(struct openapi_document *d, const struct type_desc *of, const struct field_desc *f) {
    const struct type_desc *any = &metav1_PartialObjectMetadataList_desc;
    if (!is_custom(of)) return description_of_field(descriptions(d), of, f);
    if (f->type && is_custom(f->type)) return arena_printf(d->arena, "The %s objects of the list or of its page.", f->type->kind);
    return description_of_field(descriptions(d), any, type_field(any, f->name, f->name_len));
}

/* Defaults that are zero, which the schema leaves to the code. */
static bool has_zero_default(const struct type_desc *of, const struct field_desc *f) {
    static const struct { const char *type, *field; } known[] = {{"autoscaling.v1.ScaleSpec", "replicas"}, {"core.v1.AzureDiskVolumeSource", "readOnly"}, {"core.v1.ConfigMapEnvSource", "name"}, {"core.v1.ConfigMapKeySelector", "name"},
        {"core.v1.ConfigMapProjection", "name"}, {"core.v1.ConfigMapVolumeSource", "name"}, {"core.v1.FileKeySelector", "optional"}, {"core.v1.GRPCAction", "service"}, {"core.v1.LocalObjectReference", "name"},
        {"core.v1.ReplicationControllerSpec", "minReadySeconds"}, {"core.v1.SecretEnvSource", "name"}, {"core.v1.SecretKeySelector", "name"}, {"core.v1.SecretProjection", "name"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].type, of->name) == 0 && strcmp(known[i].field, f->name) == 0) return true;
    return false;
}

static const char *zero_of(const struct field_desc *f) {
    return f->kind == FK_STRING ? "\"\"" : f->kind == FK_BOOL ? "false" : f->kind == FK_INT32 || f->kind == FK_INT64 || f->kind == FK_DOUBLE ? "0" : NULL;
}

/* v3 says what a field is that is always there: zero, or an empty object. */
static const char *zero_default(const struct type_desc *of, const struct field_desc *f) {
    if (has_zero_default(of, f)) return zero_of(f);
    if (f->shape != SHAPE_PLAIN) return NULL;
    if (f->kind == FK_STRUCT) return "{}";
    if (f->flags & (FIELD_OMITEMPTY | FIELD_OMITZERO)) return NULL;
    return zero_of(f);
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void put_enum(struct openapi_document *d, const struct field_desc *f) {
    struct string_list values = {0};
    if (!f->enum_values) return;
    for (size_t i = 0; f->enum_values[i]; i++) string_list_push(d->arena, &values, f->enum_values[i]);
    if (values.len) qsort(values.items, values.len, sizeof(char *), by_text);
    buf_append_str(&d->out, ",\"enum\":[");
    for (size_t i = 0; i < values.len; i++) {
        if (i) buf_append_char(&d->out, ',');
        json_write_string(&d->out, values.items[i]);
    }
    buf_append_char(&d->out, ']');
}

static bool is_granular(const struct type_desc *of, const struct field_desc *f) {
    return (strcmp(of->name, "core.v1.PersistentVolumeSpec") == 0 && strcmp(f->name, "claimRef") == 0) || (strcmp(of->name, "core.v1.PersistentVolumeClaimStatus") == 0 && strcmp(f->name, "allocatedResourceStatuses") == 0);
}

static void put_field(struct openapi_document *d, const struct type_desc *of, const struct field_desc *f) {
    json_write_string(&d->out, f->name);
    buf_append_str(&d->out, ":{");
    if (f->shape == SHAPE_LIST || f->shape == SHAPE_MAP) {
        buf_append_str(&d->out, f->shape == SHAPE_LIST ? "\"type\":\"array\",\"items\":{" : "\"type\":\"object\",\"additionalProperties\":{");
        put_kind(d, of, f);
        put_enum(d, f);
        buf_append_char(&d->out, '}');
        put_list_marks(d, f);
    } else {
        put_kind(d, of, f);
        put_enum(d, f);
    }
    put_patch_marks(d, f);
    if (f->flags & FIELD_MAP_ATOMIC) buf_append_str(&d->out, ",\"x-kubernetes-map-type\":\"atomic\"");
    else if (is_granular(of, f)) buf_append_str(&d->out, ",\"x-kubernetes-map-type\":\"granular\"");
    const char *value = f->default_json ? f->default_json : d->v2 ? NULL : zero_default(of, f);
    if (value) buf_printf(&d->out, ",\"default\":%s", value);
    put_description(d, field_description(d, of, f));
    buf_append_char(&d->out, '}');
}

/* ---- custom resources: the schema as it was given, with what every object has ---- */

static void put_props(struct openapi_document *d, const struct structural *s, bool resource);

static void put_comma(struct openapi_document *d) {
    if (d->out.data[d->out.len - 1] != '{') buf_append_char(&d->out, ',');
}

/* What needs no care: the declared members without those that lead on. In v2 there are no combinations, and nothing is nullable. */
static void put_plain_props(struct openapi_document *d, const struct structural *s) {
    struct apiextensionsv1_JSONSchemaProps p = *s->props;
    struct buf text = BUF_INIT;
    bool loose = d->v2 && (s->int_or_string || s->preserve || s->nullable);
    p.properties.items = NULL;
    p.properties.len = 0;
    p.items = p.additionalProperties = (struct raw_json){0};
    if (d->v2) {
        p.anyOf.len = p.oneOf.len = p.allOf.len = 0;
        p.not = NULL;
        p.nullable = false;
        if (loose) p.type = NULL;
        if (loose) p.required.len = 0;
    }
    object_encode_json(&apiextensionsv1_JSONSchemaProps_desc, &p, &text);
    if (text.len > 2) {
        put_comma(d);
        buf_append(&d->out, text.data + 1, text.len - 2);
    }
    buf_release(&text);
}

static void put_implied_field(struct openapi_document *d, const char *name) {
    const struct type_desc *any = &metav1_PartialObjectMetadata_desc;
    put_field(d, any, type_field(any, name, strlen(name)));
    buf_append_char(&d->out, ',');
}

static void put_implied(struct openapi_document *d, const struct structural *s) {
    if (!structural_property(s, "apiVersion")) put_implied_field(d, "apiVersion");
    if (!structural_property(s, "kind")) put_implied_field(d, "kind");
    put_implied_field(d, "metadata");
    d->out.len--;
}

static void put_props(struct openapi_document *d, const struct structural *s, bool resource) {
    bool loose = d->v2 && (s->int_or_string || s->preserve || s->nullable) && !resource;
    put_plain_props(d, s);
    if (!loose && (s->properties.len || resource)) {
        put_comma(d);
        buf_append_str(&d->out, "\"properties\":{");
        if (resource) put_implied(d, s);
        for (size_t i = 0; i < s->properties.len; i++) {
            if (resource && strcmp(s->properties.names[i], "metadata") == 0) continue;
            put_comma(d);
            json_write_string(&d->out, s->properties.names[i]);
            buf_append_str(&d->out, ":{");
            put_props(d, s->properties.items[i], s->properties.items[i]->embedded);
            buf_append_char(&d->out, '}');
        }
        buf_append_char(&d->out, '}');
    }
    if (!loose && s->items) {
        put_comma(d);
        buf_append_str(&d->out, "\"items\":{");
        put_props(d, s->items, s->items->embedded);
        buf_append_char(&d->out, '}');
    }
    if (!loose && s->additional) {
        put_comma(d);
        buf_append_str(&d->out, "\"additionalProperties\":{");
        put_props(d, s->additional, s->additional->embedded);
        buf_append_char(&d->out, '}');
    } else if (!loose && s->has_additional && s->additional_allowed) {
        put_comma(d);
        buf_append_str(&d->out, "\"additionalProperties\":true");
    }
}

static void put_custom_schema(struct openapi_document *d, const struct type_desc *t) {
    const struct custom_type *c = custom_type_of(t);
    buf_append_char(&d->out, '{');
    if (c->schema) put_props(d, c->schema, true);
    else buf_append_str(&d->out, "\"type\":\"object\"");
    buf_append_str(&d->out, ",\"x-kubernetes-group-version-kind\":[");
    openapi_put_gvk(d, t->group, t->version, t->kind);
    buf_append_str(&d->out, "]}");
}

/* Structs of which one member belongs to each value of another. */
static const char *unions_of(const struct type_desc *t) {
    static const char profile[] = "{\"discriminator\":\"type\",\"fields-to-discriminateBy\":{\"localhostProfile\":\"LocalhostProfile\"}}";
    static const struct { const char *type, *unions; } known[] = {{"core.v1.AppArmorProfile", profile}, {"core.v1.SeccompProfile", profile},
        {"core.v1.PodSchedulingGroup", "{\"fields-to-discriminateBy\":{\"podGroupName\":\"PodGroupName\"}}"},
        {"flowcontrol.v1.LimitResponse", "{\"discriminator\":\"type\",\"fields-to-discriminateBy\":{\"queuing\":\"Queuing\"}}"},
        {"flowcontrol.v1.PriorityLevelConfigurationSpec", "{\"discriminator\":\"type\",\"fields-to-discriminateBy\":{\"exempt\":\"Exempt\",\"limited\":\"Limited\"}}"},
        {"flowcontrol.v1.Subject", "{\"discriminator\":\"kind\",\"fields-to-discriminateBy\":{\"group\":\"Group\",\"serviceAccount\":\"ServiceAccount\",\"user\":\"User\"}}"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].type, t->name) == 0) return known[i].unions;
    return NULL;
}

/* Kinds that every version has, and of which the document has one schema. */
static void put_gvks(struct openapi_document *d, const struct type_desc *t) {
    bool everywhere = t == &metav1_DeleteOptions_desc || t == &metav1_WatchEvent_desc;
    const char *kind = t == &metav1_WatchEvent_desc ? "WatchEvent" : t->kind;
    if (!kind) return;
    buf_append_str(&d->out, ",\"x-kubernetes-group-version-kind\":[");
    openapi_put_gvk(d, everywhere ? "" : t->group, everywhere ? "v1" : t->version, kind);
    if (d->versions.len) qsort(d->versions.items, d->versions.len, sizeof(char *), by_text);
    for (size_t i = 0; everywhere && i < d->versions.len; i++) {
        const char *slash = strchr(d->versions.items[i], '/');
        if (!slash) continue;
        buf_append_char(&d->out, ',');
        openapi_put_gvk(d, arena_strndup(d->arena, d->versions.items[i], (size_t)(slash - d->versions.items[i])), slash + 1, kind);
    }
    buf_append_char(&d->out, ']');
}

static void put_schema(struct openapi_document *d, const struct type_desc *t) {
    bool required = false;
    if (t->flags & TYPE_DOCUMENT) {
        put_custom_schema(d, t);
        return;
    }
    buf_append_str(&d->out, "{\"type\":\"object\"");
    for (size_t i = 0; i < t->fields_len; i++) {
        buf_append_str(&d->out, i ? "," : ",\"properties\":{");
        put_field(d, t, &t->fields[i]);
    }
    if (t->fields_len) buf_append_char(&d->out, '}');
    for (size_t i = 0; i < t->fields_len; i++) {
        if (!(t->fields[i].flags & FIELD_REQUIRED)) continue;
        buf_append_str(&d->out, required ? "," : ",\"required\":[");
        json_write_string(&d->out, t->fields[i].name);
        required = true;
    }
    if (required) buf_append_char(&d->out, ']');
    put_description(d, is_custom(t) ? arena_printf(d->arena, "A list of %s objects, or one page of it.", t->item_type->kind) : description_of_type(descriptions(d), t));
    if (t->flags & TYPE_MAP_ATOMIC) buf_append_str(&d->out, ",\"x-kubernetes-map-type\":\"atomic\"");
    if (unions_of(t)) buf_printf(&d->out, ",\"x-kubernetes-unions\":[%s]", unions_of(t));
    put_gvks(d, t);
    buf_append_char(&d->out, '}');
}

/* ---- paths ---- */

static const char *const write_parameters[] = {"dryRun", "fieldManager", "fieldValidation", NULL};
static const char *const patch_parameters[] = {"dryRun", "fieldManager", "fieldValidation", "force", NULL};
static const char *const list_parameters[] = {"allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "shardSelector", "timeoutSeconds", "watch", NULL};
static const char *const delete_parameters[] = {"dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "orphanDependents", "propagationPolicy", NULL};
static const char *const collection_parameters[] = {"continue", "dryRun", "fieldSelector", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "labelSelector", "limit", "orphanDependents",
    "propagationPolicy", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "shardSelector", "timeoutSeconds", NULL};
static const char *const no_parameters[] = {NULL};

static const char *parameter_type(const char *name) {
    static const char *const numbers[] = {"limit", "timeoutSeconds", "gracePeriodSeconds", NULL}, *const bools[] = {"allowWatchBookmarks", "force", "ignoreStoreReadErrorWithClusterBreakingPotential", "orphanDependents", "sendInitialEvents", "watch", NULL};
    return str_in(name, numbers) ? "integer" : str_in(name, bools) ? "boolean" : "string";
}

/* RbacAuthorization of rbac.authorization.k8s.io, Core of "". */
static const char *group_word(struct arena *a, const char *group) {
    if (!*group) return "Core";
    char *copy = arena_strdup(a, group), *end = strstr(copy, ".k8s.io");
    if (end && !end[7]) *end = 0;
    struct buf out = BUF_INIT;
    bool upper = true;
    for (const char *p = copy; *p; p++) {
        if (*p == '.' || *p == '-') upper = true;
        else {
            buf_append_char(&out, upper ? (char)toupper((unsigned char)*p) : *p);
            upper = false;
        }
    }
    const char *word = arena_strdup(a, buf_cstr(&out));
    buf_release(&out);
    return word;
}

static const char *title(struct arena *a, const char *s) {
    char *t = arena_strdup(a, s);
    *t = (char)toupper((unsigned char)*t);
    return t;
}

struct operation {
    const struct resource_desc *r;
    const char *method, *action, *verb;  /* verb: of the operationId */
    const char *const *parameters;       /* fields of `options` */
    const struct type_desc *options;
    bool body, everywhere;               /* everywhere: over all namespaces */
};

/* An operation is named after the kind whose part a subresource is. */
static const char *owner_kind(const struct resource_desc *r) {
    const struct resource_desc *owner = r->subresource ? api_resource_find(r->group, r->version, r->resource, NULL) : NULL;
    return owner ? owner->kind : r->kind;
}

/* rbacAuthorization_v1 of rbac.authorization.k8s.io/v1. */
static void put_tags(struct openapi_document *d, const char *group, const char *version) {
    char *word = arena_strdup(d->arena, group_word(d->arena, group));
    *word = (char)tolower((unsigned char)*word);
    buf_printf(&d->out, ",\"tags\":[\"%s_%s\"]", word, version);
}

static bool is_watch(const struct operation *o) { return str_has_prefix(o->action, "watch"); }

static void put_operation_id(struct openapi_document *d, const struct operation *o) {
    const struct resource_desc *r = o->r;
    if (strcmp(o->action, "connect") == 0) {
        buf_printf(&d->out, "\"operationId\":\"connect%s%s%s%s%s%s\"", group_word(d->arena, r->group), title(d->arena, r->version), title(d->arena, o->method), r->namespaced ? "Namespaced" : "", owner_kind(r), o->verb);
        return;
    }
    if (strcmp(o->action, "watchlist") == 0) {
        buf_printf(&d->out, "\"operationId\":\"watch%s%s%s%sList%s\"", group_word(d->arena, r->group), title(d->arena, r->version), r->namespaced && !o->everywhere ? "Namespaced" : "", r->kind, o->everywhere ? "ForAllNamespaces" : "");
        return;
    }
    bool collection = strcmp(o->action, "deletecollection") == 0;
    buf_printf(&d->out, "\"operationId\":\"%s%s%s%s%s%s%s%s\"", o->verb, group_word(d->arena, r->group), title(d->arena, r->version), collection ? "Collection" : "", r->namespaced && !o->everywhere ? "Namespaced" : "",
               owner_kind(r), r->subresource ? title(d->arena, r->subresource) : "", o->everywhere ? "ForAllNamespaces" : "");
}

static const char *operation_description(struct openapi_document *d, const struct operation *o) {
    const struct resource_desc *r = o->r;
    const char *what = r->subresource ? arena_printf(d->arena, "the %s of one of the %s", r->subresource, r->resource) : arena_printf(d->arena, "an object of kind %s", r->kind);
    if (is_watch(o)) return arena_printf(d->arena, "Follows objects of kind %s; a list with the parameter watch does the same.", r->kind);
    if (strcmp(o->action, "connect") == 0) return arena_printf(d->arena, "Connects a request of method %s to %s.", o->method, what);
    if (strcmp(o->action, "list") == 0) return arena_printf(d->arena, "Lists or watches objects of kind %s%s.", r->kind, o->everywhere ? " in all namespaces" : r->namespaced ? " in a namespace" : "");
    if (strcmp(o->action, "deletecollection") == 0) return arena_printf(d->arena, "Deletes the objects of kind %s that the selectors fit.", r->kind);
    if (strcmp(o->action, "patch") == 0) return arena_printf(d->arena, "Changes parts of %s, or applies them.", what);
    return arena_printf(d->arena, "%s %s.", strcmp(o->action, "get") == 0 ? "Reads" : strcmp(o->action, "post") == 0 ? "Creates" : strcmp(o->action, "put") == 0 ? "Replaces" : "Deletes", what);
}

/* What a parameter is for: a field of the options of that name. */
static const char *parameter_description(struct openapi_document *d, const struct type_desc *options, const char *name) {
    const struct type_desc *more[] = {options, &metav1_ListOptions_desc, &metav1_DeleteOptions_desc};
    if (strcmp(name, "pretty") == 0) return "Whether the answer is laid out for people to read.";
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        const struct field_desc *f = more[i] ? type_field(more[i], name, strlen(name)) : NULL;
        if (f) return description_of_field(descriptions(d), more[i], f);
    }
    return "";
}

static void put_query(struct openapi_document *d, const struct type_desc *options, const char *name) {
    const struct field_desc *f = options ? type_field(options, name, strlen(name)) : NULL;
    const char *type = !f ? parameter_type(name) : f->kind == FK_BOOL ? "boolean" : f->kind == FK_INT32 || f->kind == FK_INT64 ? "integer" : "string";
    buf_printf(&d->out, d->v2 ? "{\"name\":\"%s\",\"in\":\"query\",\"type\":\"%s\",\"uniqueItems\":true" : "{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}", name, type);
    put_description(d, parameter_description(d, options, name));
    buf_append_char(&d->out, '}');
}

/* `hoisted`: the path says them, since it has this operation alone. */
static void put_parameters(struct openapi_document *d, const struct operation *o, bool hoisted) {
    bool first = true, body = d->v2 && o->body, deletes = strcmp(o->method, "delete") == 0;
    if (!body && (hoisted || !o->parameters[0])) return;
    buf_append_str(&d->out, ",\"parameters\":[");
    if (body) {
        buf_printf(&d->out, "{\"in\":\"body\",\"name\":\"body\",%s\"schema\":{", deletes ? "" : "\"required\":true,");
        if (strcmp(o->method, "patch") == 0) put_scalar(d, SCALAR_PATCH, true);
        else openapi_put_ref(d, deletes ? &metav1_DeleteOptions_desc : o->r->type);
        buf_append_str(&d->out, "}}");
        first = false;
    }
    for (size_t i = 0; !hoisted && o->parameters[i]; i++, first = false) {
        if (!first) buf_append_char(&d->out, ',');
        put_query(d, o->options, o->parameters[i]);
    }
    buf_append_char(&d->out, ']');
}

static const char *const objects_media[] = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf", NULL};
static const char *const lists_media[] = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch", NULL};
static const char *const custom_media[] = {"application/json", "application/yaml", NULL};
static const char *const any_media[] = {"*/*", NULL};
static const char *const patches_media[] = {"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml", NULL};
static const char *const custom_patches_media[] = {"application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml", NULL};

static void put_media(struct openapi_document *d, const char *name, const char *const *media) {
    buf_printf(&d->out, ",\"%s\":[", name);
    for (size_t i = 0; media[i]; i++) buf_printf(&d->out, "%s\"%s\"", i ? "," : "", media[i]);
    buf_append_char(&d->out, ']');
}

static bool is_log(const struct resource_desc *r) { return r->subresource && strcmp(r->subresource, "log") == 0; }

static const char *const *produced(const struct operation *o) {
    static const char *const log_media[] = {"text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", NULL};
    if (is_log(o->r)) return log_media;
    bool custom = is_custom(o->r->type);
    if (strcmp(o->action, "connect") == 0) return any_media;
    if (custom) return custom_media;
    return strcmp(o->action, "list") == 0 || is_watch(o) ? lists_media : objects_media;
}

static const char *const *consumed(const struct operation *o) {
    if (strcmp(o->method, "patch") != 0 || strcmp(o->action, "connect") == 0) return any_media;
    return is_custom(o->r->type) ? custom_patches_media : patches_media;
}

static void put_schema_of(struct openapi_document *d, const struct type_desc *t) {
    buf_append_str(&d->out, "\"schema\":{");
    if (t) openapi_put_ref(d, t);
    else buf_append_str(&d->out, "\"type\":\"string\"");
    buf_append_char(&d->out, '}');
}

static void put_content(struct openapi_document *d, const char *const *media, const struct type_desc *t) {
    buf_append_str(&d->out, "\"content\":{");
    for (size_t i = 0; media[i]; i++) {
        buf_printf(&d->out, "%s\"%s\":{", i ? "," : "", media[i]);
        put_schema_of(d, t);
        buf_append_char(&d->out, '}');
    }
    buf_append_char(&d->out, '}');
}

/* What an operation answers with; NULL: whatever it is connected to. */
static const struct type_desc *answer_of(const struct operation *o) {
    const struct resource_desc *r = o->r;
    if (strcmp(o->action, "connect") == 0 || is_log(r)) return NULL;
    if (is_watch(o)) return &metav1_WatchEvent_desc;
    if (strcmp(o->action, "list") == 0 && r->list_type) return r->list_type;
    if (strcmp(o->action, "deletecollection") == 0) return &metav1_Status_desc;
    if (strcmp(o->action, "delete") != 0) return r->type;
    const struct strategy *st = is_custom(r->type) ? NULL : strategy_find(r->group, r->resource);
    return st && (st->flags & RETURN_DELETED_OBJECT) && strcmp(r->resource, "namespaces") != 0 ? r->type : &metav1_Status_desc;
}

static void put_answers(struct openapi_document *d, const struct operation *o) {
    bool creates = strcmp(o->action, "post") == 0, writes = creates || strcmp(o->action, "put") == 0 || strcmp(o->action, "patch") == 0, deletes = strcmp(o->action, "delete") == 0;
    const struct { const char *code, *text; bool said; } answers[] = {{"200", "OK", true}, {"201", "Created", writes}, {"202", "Accepted", creates || deletes}};
    buf_append_str(&d->out, ",\"responses\":{");
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        if (!answers[i].said) continue;
        buf_printf(&d->out, "\"%s\":{\"description\":\"%s\",", answers[i].code, answers[i].text);
        if (d->v2) put_schema_of(d, answer_of(o));
        else put_content(d, produced(o), answer_of(o));
        buf_append_str(&d->out, "},");
    }
    buf_append_str(&d->out, "\"401\":{\"description\":\"Unauthorized\"}}");
}

static void put_request_body(struct openapi_document *d, const struct operation *o) {
    bool deletes = strcmp(o->method, "delete") == 0;
    if (d->v2 || !o->body) return;
    buf_append_str(&d->out, ",\"requestBody\":{");
    if (strcmp(o->method, "patch") == 0) {
        const char *const *media = consumed(o);
        buf_append_str(&d->out, "\"content\":{");
        for (size_t i = 0; media[i]; i++) {
            buf_printf(&d->out, "%s\"%s\":{\"schema\":{", i ? "," : "", media[i]);
            put_scalar(d, SCALAR_PATCH, true);
            buf_append_str(&d->out, "}}");
        }
        buf_append_char(&d->out, '}');
    } else put_content(d, any_media, deletes ? &metav1_DeleteOptions_desc : o->r->type);
    buf_append_str(&d->out, deletes ? "}" : ",\"required\":true}");
}

static void put_operation(struct openapi_document *d, const struct operation *o, bool alone) {
    const struct resource_desc *r = o->r;
    const char *group = r->acts_on_group ? r->acts_on_group : r->group, *version = r->acts_on_version ? r->acts_on_version : r->version;
    buf_printf(&d->out, "\"%s\":{", o->method);
    put_operation_id(d, o);
    put_description(d, operation_description(d, o));
    put_tags(d, r->group, r->version);
    if (d->v2) {
        put_media(d, "consumes", consumed(o));
        put_media(d, "produces", produced(o));
        buf_append_str(&d->out, ",\"schemes\":[\"https\"]");
    }
    put_parameters(d, o, alone);
    put_request_body(d, o);
    put_answers(d, o);
    buf_printf(&d->out, ",\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":", o->action);
    openapi_put_gvk(d, group, version, r->kind);
    buf_append_char(&d->out, '}');
}

static const struct { const char *name, *description; } variables[] = {{"name", "Name of the object that is meant."}, {"namespace", "Namespace that the objects are in."}, {"path", "The path behind the proxy that is meant."}};

static void put_variable(struct openapi_document *d, size_t v) {
    buf_printf(&d->out, "{\"name\":\"%s\",\"in\":\"path\",\"required\":true,\"description\":\"%s\",", variables[v].name, variables[v].description);
    buf_append_str(&d->out, d->v2 ? "\"type\":\"string\",\"uniqueItems\":true}" : "\"schema\":{\"type\":\"string\",\"uniqueItems\":true}}");
}

/* The parameters of a path, by name: its variables, `pretty`, those of an operation that is its only one, and the options of a connection. */
static void put_path_parameters(struct openapi_document *d, const char *path, const struct operation *only, const struct type_desc *options, bool pretty) {
    struct string_list names = {0};
    for (size_t i = 0; options && i < options->fields_len; i++)
        if (options->fields[i].kind != FK_TIME && !str_in(options->fields[i].name, (const char *const[]){"kind", "apiVersion", NULL}))
            string_list_push(d->arena, &names, arena_printf(d->arena, "%s!", options->fields[i].name)); /* marked as one of the query: what a path has too comes first */
    if (pretty) string_list_push(d->arena, &names, "pretty!");
    for (size_t i = 0; only && only->parameters[i]; i++) string_list_push(d->arena, &names, arena_printf(d->arena, "%s!", only->parameters[i]));
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        if (strstr(path, arena_printf(d->arena, "{%s}", variables[i].name))) string_list_push(d->arena, &names, variables[i].name);
    if (!names.len) return;
    qsort(names.items, names.len, sizeof(char *), by_text);
    buf_append_str(&d->out, ",\"parameters\":[");
    for (size_t i = 0; i < names.len; i++) {
        size_t len = strcspn(names.items[i], "!"), v = 0;
        if (i) buf_append_char(&d->out, ',');
        while (v < ARRAY_LEN(variables) && strcmp(variables[v].name, names.items[i]) != 0) v++;
        if (v < ARRAY_LEN(variables)) put_variable(d, v);
        else put_query(d, options ? options : only ? only->options : NULL, arena_strndup(d->arena, names.items[i], len));
    }
    buf_append_char(&d->out, ']');
}

enum { OPERATIONS_MAX = 8 };
struct operations { struct operation items[OPERATIONS_MAX]; size_t len; };

static void add(struct operations *list, struct operation o) { list->items[list->len++] = o; }

static void put_path(struct openapi_document *d, const char *path, const struct operations *list) {
    bool connects = list->len && strcmp(list->items[0].action, "connect") == 0;
    if (!list->len) return;
    buf_printf(&d->out, "%s\"%s\":{", d->first_path ? "" : ",", path);
    d->first_path = false;
    for (size_t i = 0; i < list->len; i++) {
        if (i) buf_append_char(&d->out, ',');
        put_operation(d, &list->items[i], list->len == 1);
    }
    const struct operation *one = &list->items[0];
    const struct type_desc *options = connects ? one->r->type : is_log(one->r) ? &corev1_PodLogOptions_desc : NULL;
    put_path_parameters(d, path, list->len == 1 ? one : NULL, options, !connects);
    buf_append_char(&d->out, '}');
}

static void put_collection(struct openapi_document *d, const struct resource_desc *r, const char *path, bool everywhere) {
    struct operations list = {0};
    if (r->verbs & VERB_LIST) add(&list, (struct operation){r, "get", "list", "list", list_parameters, &metav1_ListOptions_desc, false, everywhere});
    if (!everywhere && (r->verbs & VERB_CREATE)) add(&list, (struct operation){r, "post", "post", "create", write_parameters, &metav1_CreateOptions_desc, true, false});
    if (!everywhere && (r->verbs & VERB_DELETECOLLECTION)) add(&list, (struct operation){r, "delete", "deletecollection", "delete", collection_parameters, &metav1_ListOptions_desc, true, false});
    put_path(d, path, &list);
}

/* Kinds that are asked for by the old form of watching. */
static void put_watch(struct openapi_document *d, const struct resource_desc *r, const char *path, const char *action, bool everywhere) {
    struct operations list = {0};
    if (!(r->verbs & VERB_WATCH) || is_custom(r->type)) return;
    add(&list, (struct operation){r, "get", action, "watch", list_parameters, &metav1_ListOptions_desc, false, everywhere});
    put_path(d, path, &list);
}

/* exec, attach, portforward, proxy: their options are no body, and what they answer is not ours to say. */
static bool connects(const struct resource_desc *r) { return r->subresource && str_in(r->subresource, (const char *const[]){"exec", "attach", "portforward", "proxy", NULL}); }

static void put_connect(struct openapi_document *d, const struct resource_desc *r, const char *path) {
    static const char *const methods[] = {"get", "put", "post", "delete", "options", "head", "patch", NULL};
    bool proxy = strcmp(r->subresource, "proxy") == 0;
    for (int with_path = 0; with_path <= proxy; with_path++) {
        struct operations list = {0};
        const char *name = arena_printf(d->arena, "%s%s", title(d->arena, r->subresource), with_path ? "WithPath" : "");
        for (size_t i = 0; methods[i]; i++)
            if (proxy || str_in(methods[i], (const char *const[]){"get", "post", NULL})) add(&list, (struct operation){r, methods[i], "connect", name, no_parameters, NULL, false, false});
        put_path(d, with_path ? arena_printf(d->arena, "%s/{path}", path) : path, &list);
    }
}

static void put_item(struct openapi_document *d, const struct resource_desc *r, const char *path) {
    struct operations list = {0};
    if (connects(r)) {
        put_connect(d, r, path);
        return;
    }
    if (r->verbs & VERB_GET) add(&list, (struct operation){r, "get", "get", "read", no_parameters, NULL, false, false});
    if (r->subresource && (r->verbs & VERB_CREATE)) add(&list, (struct operation){r, "post", "post", "create", write_parameters, &metav1_CreateOptions_desc, true, false});
    if (r->verbs & VERB_UPDATE) add(&list, (struct operation){r, "put", "put", "replace", write_parameters, &metav1_CreateOptions_desc, true, false});
    if (r->verbs & VERB_PATCH) add(&list, (struct operation){r, "patch", "patch", "patch", patch_parameters, &metav1_PatchOptions_desc, true, false});
    if (r->verbs & VERB_DELETE) add(&list, (struct operation){r, "delete", "delete", "delete", delete_parameters, &metav1_DeleteOptions_desc, true, false});
    put_path(d, path, &list);
}

/* What resources a version has. */
static void put_version(struct openapi_document *d, const char *group, const char *version, const char *root) {
    buf_printf(&d->out, "%s\"%s/\":{\"get\":{\"operationId\":\"get%s%sAPIResources\"", d->first_path ? "" : ",", root, group_word(d->arena, group), title(d->arena, version));
    d->first_path = false;
    put_description(d, "Tells which resources the version has.");
    put_tags(d, group, version);
    if (d->v2) {
        put_media(d, "consumes", objects_media);
        put_media(d, "produces", objects_media);
        buf_append_str(&d->out, ",\"schemes\":[\"https\"]");
    }
    buf_append_str(&d->out, ",\"responses\":{\"200\":{\"description\":\"OK\",");
    if (d->v2) put_schema_of(d, &metav1_APIResourceList_desc);
    else put_content(d, objects_media, &metav1_APIResourceList_desc);
    buf_append_str(&d->out, "},\"401\":{\"description\":\"Unauthorized\"}}}}");
}

void openapi_put_resource(struct openapi_document *d, const struct resource_desc *r) {
    struct arena *a = d->arena;
    const char *root = *r->group ? arena_printf(a, "/apis/%s/%s", r->group, r->version) : arena_printf(a, "/api/%s", r->version), *known = *r->group ? arena_printf(a, "%s/%s", r->group, r->version) : r->version;
    if (!string_list_has(&d->versions, known)) {
        string_list_push(a, &d->versions, known);
        if (!is_custom(r->type)) put_version(d, r->group, r->version, root);
    }
    const char *collection = arena_printf(a, "%s%s/%s", root, r->namespaced ? "/namespaces/{namespace}" : "", r->resource);
    if (r->subresource) {
        put_item(d, r, arena_printf(a, "%s/{name}/%s", collection, r->subresource));
        return;
    }
    const char *watch = arena_printf(a, "%s/watch%s", root, collection + strlen(root));
    put_watch(d, r, watch, "watchlist", false);
    if (r->namespaced) put_watch(d, r, arena_printf(a, "%s/watch/%s", root, r->resource), "watchlist", true);
    if (r->verbs & VERB_GET) put_watch(d, r, arena_printf(a, "%s/{name}", watch), "watch", false);
    put_collection(d, r, collection, false);
    if (r->namespaced && (r->verbs & VERB_LIST)) put_collection(d, r, arena_printf(a, "%s/%s", root, r->resource), true);
    if (r->verbs & (VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE)) put_item(d, r, arena_printf(a, "%s/{name}", collection));
}

/* ---- the whole ---- */

void openapi_document_begin(struct openapi_document *d, struct arena *a, bool v2) {
    *d = (struct openapi_document){.arena = a, .v2 = v2, .seen = map_new(), .first_path = true};
    buf_printf(&d->out, "{\"%s\":\"%s\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"1.36\"},\"paths\":{", v2 ? "swagger" : "openapi", v2 ? "2.0" : "3.0.0");
}

void openapi_document_release(struct openapi_document *d) {
    map_free(d->seen);
    buf_release(&d->out);
}

void openapi_document_end(struct openapi_document *d) {
    bool first = true;
    buf_append_str(&d->out, d->v2 ? "},\"definitions\":{" : "},\"components\":{\"schemas\":{");
    for (size_t i = 0; i < d->queue.len; i++, first = false) { /* grows while it is walked */
        buf_printf(&d->out, "%s\"%s\":", first ? "" : ",", openapi_type_name(d->arena, d->queue.items[i]));
        put_schema(d, d->queue.items[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
        if (!(d->scalars & (1u << i))) continue;
        buf_printf(&d->out, "%s\"%s\":{%s\"description\":\"%s\"}", first ? "" : ",", scalars[i].name, d->v2 ? scalars[i].v2 : scalars[i].v3, scalars[i].description);
        first = false;
    }
    buf_append_str(&d->out, "},\"security");
    if (d->v2) buf_append_str(&d->out, "Definitions\":{\"BearerToken\":{\"type\":\"apiKey\",\"name\":\"authorization\",\"in\":\"header\"}},\"security\":[{\"BearerToken\":[]}]}\n");
    else buf_append_str(&d->out, "Schemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"name\":\"authorization\",\"in\":\"header\"}}}}\n");
}
