#include "apiserver/openapi_document.h"
#include <ctype.h>
#include <string.h>
#include "base/str.h"

/* Types that upstream writes in Go and that are scalars to us. */
enum scalar { SCALAR_QUANTITY, SCALAR_INT_OR_STRING, SCALAR_TIME, SCALAR_MICRO_TIME, SCALAR_RAW_EXTENSION, SCALAR_FIELDS, SCALAR_JSON, SCALAR_OR_ARRAY, SCALAR_OR_BOOL, SCALAR_OR_STRINGS };
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

/* A reference that stands for a field: v3 wants it in an allOf when it has siblings, v2 does not. */
static void put_scalar(struct openapi_document *d, enum scalar s) {
    d->scalars |= 1u << s;
    buf_printf(&d->out, d->v2 ? "\"$ref\":\"%s%s\"" : "\"allOf\":[{\"$ref\":\"%s%s\"}]", prefix_of(d), scalars[s].name);
}

static enum scalar raw_scalar(const struct type_desc *of, const struct field_desc *f) {
    static const char *const any[] = {"default", "enum", "example", NULL}, *const or_bool[] = {"additionalProperties", "additionalItems", NULL};
    if (strcmp(f->name, "fieldsV1") == 0) return SCALAR_FIELDS;
    if (strcmp(of->name, "apiextensions.v1.JSONSchemaProps") != 0) return SCALAR_RAW_EXTENSION;
    return str_in(f->name, any) ? SCALAR_JSON : str_in(f->name, or_bool) ? SCALAR_OR_BOOL : strcmp(f->name, "items") == 0 ? SCALAR_OR_ARRAY : SCALAR_OR_STRINGS;
}

static void put_kind(struct openapi_document *d, const struct type_desc *of, const struct field_desc *f) {
    switch ((enum field_kind)f->kind) {
        case FK_STRING: buf_append_str(&d->out, "\"type\":\"string\""); break;
        case FK_BOOL: buf_append_str(&d->out, "\"type\":\"boolean\""); break;
        case FK_INT32: buf_append_str(&d->out, "\"type\":\"integer\",\"format\":\"int32\""); break;
        case FK_INT64: buf_append_str(&d->out, "\"type\":\"integer\",\"format\":\"int64\""); break;
        case FK_DOUBLE: buf_append_str(&d->out, "\"type\":\"number\",\"format\":\"double\""); break;
        case FK_BYTES: buf_append_str(&d->out, "\"type\":\"string\",\"format\":\"byte\""); break;
        case FK_TIME: put_scalar(d, SCALAR_TIME); break;
        case FK_MICROTIME: put_scalar(d, SCALAR_MICRO_TIME); break;
        case FK_QUANTITY: put_scalar(d, SCALAR_QUANTITY); break;
        case FK_INTORSTRING: put_scalar(d, SCALAR_INT_OR_STRING); break;
        case FK_RAW: put_scalar(d, raw_scalar(of, f)); break;
        case FK_STRING_LIST: buf_append_str(&d->out, "\"type\":\"array\",\"items\":{\"type\":\"string\"}"); break;
        case FK_STRUCT:
            if (!d->v2) buf_append_str(&d->out, "\"allOf\":[{");
            openapi_put_ref(d, f->type);
            if (!d->v2) buf_append_str(&d->out, "}]");
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

static void put_field(struct openapi_document *d, const struct type_desc *of, const struct field_desc *f) {
    json_write_string(&d->out, f->name);
    buf_append_str(&d->out, ":{");
    if (f->shape == SHAPE_LIST || f->shape == SHAPE_MAP) {
        buf_append_str(&d->out, f->shape == SHAPE_LIST ? "\"type\":\"array\",\"items\":{" : "\"type\":\"object\",\"additionalProperties\":{");
        put_kind(d, of, f);
        buf_append_char(&d->out, '}');
        put_list_marks(d, f);
    } else put_kind(d, of, f);
    put_patch_marks(d, f);
    if (f->flags & FIELD_MAP_ATOMIC) buf_append_str(&d->out, ",\"x-kubernetes-map-type\":\"atomic\"");
    if (f->enum_values) {
        buf_append_str(&d->out, ",\"enum\":[");
        for (size_t i = 0; f->enum_values[i]; i++) {
            if (i) buf_append_char(&d->out, ',');
            json_write_string(&d->out, f->enum_values[i]);
        }
        buf_append_char(&d->out, ']');
    }
    if (f->default_json) buf_printf(&d->out, ",\"default\":%s", f->default_json);
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
    if (t->kind) {
        buf_append_str(&d->out, ",\"x-kubernetes-group-version-kind\":[");
        openapi_put_gvk(d, t->group, t->version, t->kind);
        buf_append_char(&d->out, ']');
    }
    buf_append_char(&d->out, '}');
}

/* ---- paths ---- */

static const char *const write_parameters[] = {"dryRun", "fieldManager", "fieldValidation", NULL};
static const char *const patch_parameters[] = {"dryRun", "fieldManager", "fieldValidation", "force", NULL};
static const char *const list_parameters[] = {"allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch", NULL};
static const char *const delete_parameters[] = {"dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy", NULL};
static const char *const no_parameters[] = {NULL};

static const char *parameter_type(const char *name) {
    static const char *const numbers[] = {"limit", "timeoutSeconds", "gracePeriodSeconds", NULL}, *const bools[] = {"allowWatchBookmarks", "force", "orphanDependents", "sendInitialEvents", "watch", NULL};
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

static void put_operation_id(struct openapi_document *d, const struct operation *o) {
    const struct resource_desc *r = o->r;
    bool collection = strcmp(o->action, "deletecollection") == 0;
    buf_printf(&d->out, "\"operationId\":\"%s%s%s%s%s%s%s%s\"", o->verb, group_word(d->arena, r->group), title(d->arena, r->version), collection ? "Collection" : "", r->namespaced && !o->everywhere ? "Namespaced" : "",
               r->kind, r->subresource ? title(d->arena, r->subresource) : "", o->everywhere ? "ForAllNamespaces" : "");
}

static const char *operation_description(struct openapi_document *d, const struct operation *o) {
    const struct resource_desc *r = o->r;
    const char *what = r->subresource ? arena_printf(d->arena, "the %s of one of the %s", r->subresource, r->resource) : arena_printf(d->arena, "an object of kind %s", r->kind);
    if (strcmp(o->action, "list") == 0) return arena_printf(d->arena, "Lists or watches objects of kind %s%s.", r->kind, o->everywhere ? " in all namespaces" : r->namespaced ? " in a namespace" : "");
    if (strcmp(o->action, "deletecollection") == 0) return arena_printf(d->arena, "Deletes the objects of kind %s that the selectors fit.", r->kind);
    if (strcmp(o->action, "patch") == 0) return arena_printf(d->arena, "Changes parts of %s, or applies them.", what);
    return arena_printf(d->arena, "%s %s.", strcmp(o->action, "get") == 0 ? "Reads" : strcmp(o->action, "post") == 0 ? "Creates" : strcmp(o->action, "put") == 0 ? "Replaces" : "Deletes", what);
}

static void put_parameters(struct openapi_document *d, const struct operation *o) {
    buf_append_str(&d->out, ",\"parameters\":[");
    bool first = true;
    if (d->v2 && o->body) {
        buf_append_str(&d->out, "{\"in\":\"body\",\"name\":\"body\",\"required\":true,\"schema\":{");
        if (strcmp(o->method, "patch") == 0) buf_append_str(&d->out, "\"type\":\"object\"");
        else openapi_put_ref(d, o->r->type);
        buf_append_str(&d->out, "}}");
        first = false;
    }
    for (size_t i = 0; o->parameters[i]; i++, first = false) {
        const char *name = o->parameters[i], *type = parameter_type(name);
        buf_printf(&d->out, d->v2 ? "%s{\"name\":\"%s\",\"in\":\"query\",\"type\":\"%s\",\"uniqueItems\":true" : "%s{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}", first ? "" : ",", name, type);
        put_description(d, description_of_field(descriptions(d), o->options, type_field(o->options, name, strlen(name))));
        buf_append_char(&d->out, '}');
    }
    buf_append_char(&d->out, ']');
}

static void put_answer(struct openapi_document *d, const struct type_desc *answer) {
    buf_append_str(&d->out, ",\"responses\":{\"200\":{\"description\":\"OK\",");
    if (!d->v2) buf_append_str(&d->out, "\"content\":{\"application/json\":{");
    buf_append_str(&d->out, "\"schema\":{");
    openapi_put_ref(d, answer);
    buf_append_str(&d->out, d->v2 ? "}}}" : "}}}}}");
}

static void put_operation(struct openapi_document *d, const struct operation *o, bool *first) {
    const struct resource_desc *r = o->r;
    const char *group = r->acts_on_group ? r->acts_on_group : r->group, *version = r->acts_on_version ? r->acts_on_version : r->version;
    const struct type_desc *answer = strcmp(o->action, "list") == 0 && r->list_type ? r->list_type : r->type;
    buf_printf(&d->out, "%s\"%s\":{", *first ? "" : ",", o->method);
    *first = false;
    put_operation_id(d, o);
    put_description(d, operation_description(d, o));
    buf_printf(&d->out, ",\"tags\":[\"%s_%s\"]", *r->group ? arena_strndup(d->arena, r->group, strcspn(r->group, ".")) : "core", r->version);
    if (d->v2) buf_append_str(&d->out, ",\"consumes\":[\"*/*\"],\"produces\":[\"application/json\",\"application/yaml\",\"application/vnd.kubernetes.protobuf\"],\"schemes\":[\"https\"]");
    put_parameters(d, o);
    if (!d->v2 && o->body) {
        buf_append_str(&d->out, ",\"requestBody\":{\"content\":{\"*/*\":{\"schema\":{");
        openapi_put_ref(d, r->type);
        buf_append_str(&d->out, "}}}}");
    }
    put_answer(d, answer);
    buf_printf(&d->out, ",\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":", o->action);
    openapi_put_gvk(d, group, version, r->kind);
    buf_append_char(&d->out, '}');
}

/* The path's variables belong to the path, not to its operations. */
static void path_begin(struct openapi_document *d, const char *path) {
    buf_printf(&d->out, "%s\"%s\":{", d->first_path ? "" : ",", path);
    d->first_path = false;
}

static void path_end(struct openapi_document *d, const char *path, bool first) {
    static const struct { const char *name, *description; } variables[] = {{"name", "Name of the object that is meant."}, {"namespace", "Namespace that the objects are in."}};
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        if (!strstr(path, arena_printf(d->arena, "{%s}", variables[i].name))) continue;
        buf_printf(&d->out, "%s{\"name\":\"%s\",\"in\":\"path\",\"required\":true,\"description\":\"%s\",", any ? "," : first ? "\"parameters\":[" : ",\"parameters\":[", variables[i].name, variables[i].description);
        buf_append_str(&d->out, d->v2 ? "\"type\":\"string\",\"uniqueItems\":true}" : "\"schema\":{\"type\":\"string\",\"uniqueItems\":true}}");
        any = true;
    }
    buf_append_str(&d->out, any ? "]}" : "}");
}

static void put_collection(struct openapi_document *d, const struct resource_desc *r, const char *path, bool everywhere) {
    bool first = true;
    path_begin(d, path);
    if (r->verbs & VERB_LIST) put_operation(d, &(struct operation){r, "get", "list", "list", list_parameters, &metav1_ListOptions_desc, false, everywhere}, &first);
    if (!everywhere && (r->verbs & VERB_CREATE)) put_operation(d, &(struct operation){r, "post", "post", "create", write_parameters, &metav1_CreateOptions_desc, true, false}, &first);
    if (!everywhere && (r->verbs & VERB_DELETECOLLECTION)) put_operation(d, &(struct operation){r, "delete", "deletecollection", "delete", delete_parameters, &metav1_DeleteOptions_desc, false, false}, &first);
    path_end(d, path, first);
}

static void put_item(struct openapi_document *d, const struct resource_desc *r, const char *path) {
    bool first = true;
    path_begin(d, path);
    if (r->verbs & VERB_GET) put_operation(d, &(struct operation){r, "get", "get", "read", no_parameters, NULL, false, false}, &first);
    if (r->subresource && (r->verbs & VERB_CREATE)) put_operation(d, &(struct operation){r, "post", "post", "create", write_parameters, &metav1_CreateOptions_desc, true, false}, &first);
    if (r->verbs & VERB_UPDATE) put_operation(d, &(struct operation){r, "put", "put", "replace", write_parameters, &metav1_CreateOptions_desc, true, false}, &first);
    if (r->verbs & VERB_PATCH) put_operation(d, &(struct operation){r, "patch", "patch", "patch", patch_parameters, &metav1_PatchOptions_desc, true, false}, &first);
    if (r->verbs & VERB_DELETE) put_operation(d, &(struct operation){r, "delete", "delete", "delete", delete_parameters, &metav1_DeleteOptions_desc, false, false}, &first);
    path_end(d, path, first);
}

void openapi_put_resource(struct openapi_document *d, const struct resource_desc *r) {
    struct arena *a = d->arena;
    const char *root = *r->group ? arena_printf(a, "/apis/%s/%s", r->group, r->version) : arena_printf(a, "/api/%s", r->version);
    const char *collection = arena_printf(a, "%s%s/%s", root, r->namespaced ? "/namespaces/{namespace}" : "", r->resource);
    if (r->subresource) {
        put_item(d, r, arena_printf(a, "%s/{name}/%s", collection, r->subresource));
        return;
    }
    put_collection(d, r, collection, false);
    if (r->namespaced && (r->verbs & VERB_LIST)) put_collection(d, r, arena_printf(a, "%s/%s", root, r->resource), true);
    if (r->verbs & (VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE)) put_item(d, r, arena_printf(a, "%s/{name}", collection));
}

/* ---- the whole ---- */

void openapi_document_begin(struct openapi_document *d, struct arena *a, bool v2) {
    *d = (struct openapi_document){.arena = a, .v2 = v2, .seen = map_new(), .first_path = true};
    buf_printf(&d->out, "{\"%s\":\"%s\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.2\"},\"paths\":{", v2 ? "swagger" : "openapi", v2 ? "2.0" : "3.0.0");
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
