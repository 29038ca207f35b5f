/* Discovery for the garbage collector: see garbage_discovery.h. Asks for the aggregated form, which every supported upstream release serves. */
#include "controller/garbage_discovery.h"
#include "base/map.h"
#include "base/str.h"

#define DISCOVERY_ACCEPT "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
enum { DISCOVERY_TIMEOUT_MS = 30000 };

struct gc_resources {
    struct arena *arena;
    struct { struct gc_resource *items; size_t len; } list;
    struct map *by_kind; /* "apiVersion/Kind" -> index + 1 */
};

static char *kind_key(struct arena *a, const char *api_version, const char *kind) { return arena_printf(a, "%s/%s", str_or(api_version, ""), str_or(kind, "")); }

static void add(struct gc_resources *r, struct map *preferred, const char *group, const char *version, const struct apidiscoveryv2_APIResourceDiscovery *d) {
    struct arena *a = r->arena;
    /* Kinds that are answered only (a review) have no responseKind of their own group: their owner references make no sense anyway. */
    if (!d->responseKind || str_empty(d->responseKind->kind)) return;
    bool verbs = string_list_has(&d->verbs, "delete") && string_list_has(&d->verbs, "list") && string_list_has(&d->verbs, "watch");
    bool event = str_eq(d->resource, "events") && (str_empty(group) || str_eq(group, "events.k8s.io"));
    const char *name = arena_printf(a, "%s/%s", str_or(group, ""), d->resource);
    struct gc_resource *g = LIST_PUSH(a, &r->list);
    *g = (struct gc_resource){.group = arena_strdup(a, str_or(group, "")), .resource = arena_strdup(a, d->resource), .kind = arena_strdup(a, d->responseKind->kind),
        .namespaced = str_eq(d->scope, "Namespaced"), .followed = verbs && !event && !map_has(preferred, name)};
    g->api_version = str_empty(group) ? arena_strdup(a, version) : arena_printf(a, "%s/%s", group, version);
    g->path = arena_printf(a, "%s/%s", str_empty(group) ? "/api" : "/apis", g->api_version);
    map_put(preferred, name, r); /* versions come in the order of preference */
    const char *key = kind_key(a, g->api_version, g->kind);
    if (!map_has(r->by_kind, key)) map_put(r->by_kind, key, (void *)(uintptr_t)r->list.len);
}

static void keep_group(struct gc_resources *r, const struct gc_resources *was, const char *api_version) {
    for (size_t i = 0; was && i < was->list.len; i++) {
        const struct gc_resource *o = &was->list.items[i];
        if (!str_eq(o->api_version, api_version)) continue;
        struct gc_resource *g = LIST_PUSH(r->arena, &r->list);
        *g = (struct gc_resource){arena_strdup(r->arena, o->group), arena_strdup(r->arena, o->api_version), arena_strdup(r->arena, o->resource), arena_strdup(r->arena, o->kind),
                                  arena_strdup(r->arena, o->path), o->namespaced, o->followed};
        map_put(r->by_kind, kind_key(r->arena, g->api_version, g->kind), (void *)(uintptr_t)r->list.len);
    }
}

static int fetch(struct client *c, struct arena *a, const char *target, struct apidiscoveryv2_APIGroupDiscoveryList *ret, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    struct transport *t = client_transport(c);
    struct transport_call call = {.method = "GET", .target = target, .accept = DISCOVERY_ACCEPT, .timeout_ms = DISCOVERY_TIMEOUT_MS};
    int code;
    if (t->call(t, &call, &code, &body, reterr) != 0) return -1;
    if (code != 200) return client_status(code, buf_cstr(&body), body.len, reterr);
    return object_decode_json(a, &apidiscoveryv2_APIGroupDiscoveryList_desc, ret, buf_cstr(&body), body.len, NULL, reterr);
}

struct gc_resources *gc_resources_discover(struct client *c, const struct gc_resources *was, struct status *reterr) {
    static const char *const roots[] = {"/api", "/apis"};
    struct gc_resources *r = calloc(1, sizeof(*r));
    struct map *preferred = map_new();
    CHECK(r);
    r->arena = arena_new();
    r->by_kind = map_new();
    for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct apidiscoveryv2_APIGroupDiscoveryList list = {0};
        if (fetch(c, a, roots[i], &list, reterr) != 0) {
            map_free(preferred);
            gc_resources_free(r);
            return NULL;
        }
        LIST_FOREACH(group, &list.items)
            LIST_FOREACH(v, &group->versions) {
                const char *name = group->metadata.name;
                if (str_eq(v->freshness, "Stale")) keep_group(r, was, str_empty(name) ? v->version : arena_printf(a, "%s/%s", name, v->version));
                else LIST_FOREACH(d, &v->resources) add(r, preferred, name, v->version, d);
            }
    }
    map_free(preferred);
    return r;
}

void gc_resources_free(struct gc_resources *r) {
    if (!r) return;
    map_free(r->by_kind);
    arena_free(r->arena);
    free(r);
}

const struct gc_resource *gc_resources_find(const struct gc_resources *r, const char *api_version, const char *kind) {
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    size_t i = r ? (size_t)(uintptr_t)map_get(r->by_kind, kind_key(a, api_version, kind)) : 0;
    return i ? &r->list.items[i - 1] : NULL;
}

size_t gc_resources_len(const struct gc_resources *r) { return r->list.len; }
const struct gc_resource *gc_resources_at(const struct gc_resources *r, size_t i) { return &r->list.items[i]; }
