#include "apiserver/custom_resources.h"
#include <ctype.h>
#include <pthread.h>
#include <string.h>
#include "api/cel/rules.h"
#include "api/merge_schema.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom_controller.h"
#include "apiserver/custom_conversion.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

struct custom_resources {
    struct apiserver *server;
    pthread_mutex_t mutex;
    struct map *served;             /* name of the definition to struct custom_resource, each with a reference */
    uint64_t generation;
    struct custom_controller *controller;
};

/* ---- versions ---- */

static bool parse_version(const char *v, long *major, int *stage, long *minor) {
    char *end;
    if (*v != 'v' || !isdigit((unsigned char)v[1]) || v[1] == '0') return false;
    *major = strtol(v + 1, &end, 10);
    *minor = 0;
    *stage = 2;
    if (!*end) return true;
    if (str_has_prefix(end, "alpha")) {
        *stage = 0;
        end += 5;
    } else if (str_has_prefix(end, "beta")) {
        *stage = 1;
        end += 4;
    } else return false;
    if (!isdigit((unsigned char)*end) || *end == '0') return false;
    *minor = strtol(end, &end, 10);
    return !*end;
}

int kube_version_compare(const char *a, const char *b) {
    long ma = 0, mb = 0, na = 0, nb = 0;
    int sa = 0, sb = 0;
    bool ka = parse_version(a, &ma, &sa, &na), kb = parse_version(b, &mb, &sb, &nb);
    if (!ka && !kb) return strcmp(a, b);
    if (ka != kb) return ka ? -1 : 1;
    if (sa != sb) return sb - sa;
    if (ma != mb) return ma < mb ? 1 : -1;
    return na < nb ? 1 : na > nb ? -1 : 0;
}

/* ---- making one ---- */

static const char *const *names_of(struct arena *a, const struct string_list *list) {
    const char **names = arena_calloc(a, list->len + 1, sizeof(char *));
    for (size_t i = 0; i < list->len; i++) names[i] = list->items[i];
    return names;
}

static void init_resources(struct custom_version *v, const struct apiextensionsv1_CustomResourceDefinition *crd, struct arena *a) {
    enum { ALL = VERB_CREATE | VERB_DELETE | VERB_DELETECOLLECTION | VERB_GET | VERB_LIST | VERB_PATCH | VERB_UPDATE | VERB_WATCH, PART = VERB_GET | VERB_PATCH | VERB_UPDATE };
    static const char *const none[] = {NULL};
    const struct apiextensionsv1_CustomResourceDefinitionNames *n = &crd->status.acceptedNames;
    bool namespaced = str_eq(crd->spec.scope, "Namespaced");
    v->resource = (struct resource_desc){.group = crd->spec.group, .version = v->name, .resource = n->plural, .kind = n->kind, .singular = n->singular, .short_names = names_of(a, &n->shortNames),
                                         .categories = names_of(a, &n->categories), .type = &v->type.desc, .list_type = &v->type.list_desc, .verbs = ALL, .namespaced = namespaced};
    v->status = v->resource;
    v->status.subresource = "status";
    v->status.singular = "";
    v->status.short_names = v->status.categories = none;
    v->status.list_type = NULL;
    v->status.verbs = PART;
    v->scale = v->status;
    v->scale.subresource = "scale";
    v->scale.kind = "Scale";
    v->scale.acts_on_group = "autoscaling";
    v->scale.acts_on_version = "v1";
    v->scale.type = &autoscalingv1_Scale_desc;
}

static void init_columns(struct custom_version *v, const struct apiextensionsv1_CustomResourceDefinitionVersion *from, struct arena *a) {
    static const struct apiextensionsv1_CustomResourceColumnDefinition age = {.name = "Age", .type = "date", .jsonPath = ".metadata.creationTimestamp",
        .description = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. "
                       "Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
                       "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"};
    for (size_t i = 0; i < from->additionalPrinterColumns.len; i++) {
        const struct apiextensionsv1_CustomResourceColumnDefinition *c = &from->additionalPrinterColumns.items[i];
        *LIST_PUSH(a, &v->type.columns) = (struct custom_column){c, jsonpath_parse(a, c->jsonPath)};
    }
    if (!from->additionalPrinterColumns.len) *LIST_PUSH(a, &v->type.columns) = (struct custom_column){&age, jsonpath_parse(a, age.jsonPath)};
}

/* What a deprecated version warns of when its definition gives no text: upstream's default. */
static const char *default_warning(const struct apiextensionsv1_CustomResourceDefinition *crd, const char *version, struct arena *a) {
    const char *best = NULL;
    LIST_FOREACH(v, &crd->spec.versions)
        if (v->served && !v->deprecated && kube_version_compare(v->name, version) < 0 && (!best || kube_version_compare(v->name, best) < 0)) best = v->name;
    const char *text = arena_printf(a, "%s/%s %s is deprecated", crd->spec.group, version, crd->spec.names.kind);
    return best ? arena_printf(a, "%s; use %s/%s %s", text, crd->spec.group, best, crd->spec.names.kind) : text;
}

static const struct schema_node *merge_schema(struct arena *a, const struct apiextensionsv1_CustomResourceDefinitionVersion *from) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (!from->schema || !from->schema->openAPIV3Schema) return schema_from_openapi(a, NULL);
    object_encode_json(&apiextensionsv1_JSONSchemaProps_desc, from->schema->openAPIV3Schema, &text);
    return schema_from_openapi(a, yyjson_doc_get_root(json_parse_in(a, buf_cstr(&text), text.len, 0, NULL)));
}

static bool is_converted(const struct apiextensionsv1_CustomResourceDefinition *crd) {
    return crd->spec.versions.len > 1 && crd->spec.conversion && str_eq(crd->spec.conversion->strategy, "Webhook") && crd->spec.conversion->webhook;
}

static int init_version(struct custom_resource *r, struct custom_version *v, const struct apiextensionsv1_CustomResourceDefinitionVersion *from, struct status *reterr) {
    struct arena *a = r->arena;
    const struct apiextensionsv1_CustomResourceDefinition *crd = r->crd;
    v->name = from->name;
    v->served = from->served;
    v->storage = from->storage;
    if (from->deprecated) v->warning = from->deprecationWarning ? from->deprecationWarning : default_warning(crd, from->name, a);
    custom_type_init(a, &v->type, crd->spec.group, from->name, crd->spec.names.kind, crd->spec.names.listKind);
    v->type.preserve_unknown = crd->spec.preserveUnknownFields;
    v->type.converts = is_converted(crd);
    if (from->schema && from->schema->openAPIV3Schema && structural_new(a, from->schema->openAPIV3Schema, &v->type.schema, reterr) != 0) return -1;
    v->type.merge_schema = merge_schema(a, from);
    if (v->type.schema) cel_rules_compile(a, v->type.schema, true);
    if (from->subresources) {
        v->type.has_status = from->subresources->status != NULL;
        v->type.scale = from->subresources->scale;
        v->type.has_scale = v->type.scale != NULL;
    }
    for (size_t i = 0; i < from->selectableFields.len; i++) {
        const char *path = from->selectableFields.items[i].jsonPath;
        string_list_push(a, &v->type.selectable, *path == '.' ? path + 1 : path);
    }
    string_list_push(a, &v->type.selectable, NULL);
    init_columns(v, from, a);
    init_resources(v, crd, a);
    custom_strategy_init(v, crd, a);
    v->strategy.custom = v->status_strategy.custom = r;
    if (v->type.converts) v->converted = conversion_cache_new();
    return 0;
}

static int compare_versions(const void *x, const void *y) {
    const struct apiextensionsv1_CustomResourceDefinitionVersion *a = *(const void *const *)x, *b = *(const void *const *)y;
    if (a->served != b->served) return a->served ? -1 : 1;
    return kube_version_compare(a->name, b->name);
}

struct custom_resource *custom_resource_new(const struct apiextensionsv1_CustomResourceDefinition *crd, uint64_t revision, struct status *reterr) {
    struct arena *a = arena_new();
    struct custom_resource *r = ARENA_NEW(a, struct custom_resource);
    size_t len = crd->spec.versions.len;
    atomic_init(&r->refs, 1);
    r->arena = a;
    r->crd = object_copy(a, &apiextensionsv1_CustomResourceDefinition_desc, crd);
    r->revision = revision;
    r->terminating = crd->metadata.deletionTimestamp.set;
    r->versions.items = arena_calloc(a, len, sizeof(struct custom_version));
    r->versions.len = len;
    r->types = arena_calloc(a, len + 1, sizeof(*r->types));
    const struct apiextensionsv1_CustomResourceDefinitionVersion **order = arena_calloc(a, len, sizeof(*order));
    for (size_t i = 0; i < len; i++) order[i] = &r->crd->spec.versions.items[i];
    if (len) qsort(order, len, sizeof(*order), compare_versions);
    for (size_t i = 0; i < len; i++) {
        if (init_version(r, &r->versions.items[i], order[i], reterr) != 0) {
            custom_resource_unref(r);
            return NULL;
        }
        r->types[i] = &r->versions.items[i].type;
    }
    for (size_t i = 0; i < len; i++) {
        r->versions.items[i].type.versions = r->types;
        r->versions.items[i].type.storage = &r->versions.items[i].type;
        for (size_t j = 0; j < len; j++)
            if (r->versions.items[j].storage) r->versions.items[i].type.storage = &r->versions.items[j].type;
    }
    return r;
}

void custom_resource_unref(struct custom_resource *r) {
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1) return;
    for (size_t i = 0; i < r->versions.len; i++) conversion_cache_free(r->versions.items[i].converted);
    arena_free(r->arena);
}

static void unref(void *r) { custom_resource_unref(r); }

/* ---- what is served ---- */

static void serve(void *arg, const char *name, struct custom_resource *r) {
    struct custom_resources *c = arg;
    pthread_mutex_lock(&c->mutex);
    struct custom_resource *before = r ? map_put(c->served, name, r) : map_del(c->served, name);
    if (r || before) c->generation++;
    if (before && (!r || !object_equal(&apiextensionsv1_CustomResourceDefinitionSpec_desc, &before->crd->spec, &r->crd->spec))) atomic_store(&before->replaced, true);
    pthread_mutex_unlock(&c->mutex);
    custom_resource_unref(before);
}

struct custom_resources *custom_resources_new(struct apiserver *s, struct status *reterr) {
    struct custom_resources *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->server = s;
    c->served = map_new();
    pthread_mutex_init(&c->mutex, NULL);
    c->controller = custom_controller_new(s, serve, c, reterr);
    if (c->controller) return c;
    custom_resources_free(c);
    return NULL;
}

void custom_resources_free(struct custom_resources *c) {
    if (!c) return;
    custom_controller_free(c->controller);
    map_free_with(c->served, unref);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

static struct custom_resource *hold(struct custom_resource *r, struct arena *a) {
    atomic_fetch_add(&r->refs, 1);
    arena_on_free(a, unref, r);
    return r;
}

static bool use(struct api_request *r, const struct custom_version *v) {
    if (str_eq(r->subresource, "")) r->rd = &v->resource;
    else if (str_eq(r->subresource, "status") && v->type.has_status) r->rd = &v->status;
    else if (str_eq(r->subresource, "scale") && v->type.has_scale) r->rd = &v->scale;
    else return false;
    r->strategy = str_eq(r->subresource, "status") ? &v->status_strategy : &v->strategy;
    if (v->warning) request_warn(r, "%s", v->warning);
    return true;
}

bool custom_resources_find(struct api_request *r) {
    struct custom_resources *c = apiserver_custom_resources(r->server);
    if (str_empty(r->group)) return false;
    pthread_mutex_lock(&c->mutex);
    struct custom_resource *found = map_get(c->served, arena_printf(r->arena, "%s.%s", r->resource, r->group));
    if (found) hold(found, r->arena);
    pthread_mutex_unlock(&c->mutex);
    for (size_t i = 0; found && i < found->versions.len; i++) {
        const struct custom_version *v = &found->versions.items[i];
        if (!v->served || strcmp(v->name, r->version) != 0) continue;
        r->custom = found;
        return use(r, v);
    }
    return false;
}

static int compare_resources(const void *x, const void *y) {
    const struct custom_resource *a = *(struct custom_resource *const *)x, *b = *(struct custom_resource *const *)y;
    int c = strcmp(a->crd->spec.group, b->crd->spec.group);
    return c ? c : strcmp(a->crd->metadata.name, b->crd->metadata.name);
}

struct custom_resource_list custom_resources_served(struct custom_resources *c, struct arena *a) {
    struct custom_resource_list list = {0};
    const char *name;
    void *r;
    pthread_mutex_lock(&c->mutex);
    for (size_t i = 0; map_next(c->served, &i, &name, &r);) *LIST_PUSH(a, &list) = hold(r, a);
    pthread_mutex_unlock(&c->mutex);
    if (list.len) qsort(list.items, list.len, sizeof(*list.items), compare_resources);
    return list;
}

uint64_t custom_resources_generation(struct custom_resources *c) {
    pthread_mutex_lock(&c->mutex);
    uint64_t n = c->generation;
    pthread_mutex_unlock(&c->mutex);
    return n;
}

bool custom_resources_has_group(struct custom_resources *c, const char *group) {
    bool has = false;
    const char *name;
    void *r;
    pthread_mutex_lock(&c->mutex);
    for (size_t i = 0; !has && map_next(c->served, &i, &name, &r);) has = strcmp(((struct custom_resource *)r)->crd->spec.group, group) == 0;
    pthread_mutex_unlock(&c->mutex);
    return has;
}
