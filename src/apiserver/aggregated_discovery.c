#include "apiserver/aggregated_discovery.h"
#include <pthread.h>
#include <string.h>
#include "apiserver/aggregation.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom_resources.h"
#include "base/env.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

enum { REFRESH_MS = 60000, RETRY_MS = 5000, MS = 1000000 };
#define ACCEPT_DISCOVERY "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"

struct said {
    int64_t due_ms;    /* when it is to be asked again */
    bool busy, stale;  /* somebody is asking; the last time nothing came */
    char *discovery;   /* an APIVersionDiscovery in JSON; NULL: it never said */
    char *openapi;     /* the address of its document; NULL: none */
    int64_t v2_due_ms; /* the same for its OpenAPI v2 document */
    bool v2_busy;
    char *v2;
};
struct aggregated_cache {
    pthread_mutex_t mutex;
    struct map *said;  /* by the APIService's uid and generation */
};

struct aggregated_cache *aggregated_cache_new(void) {
    struct aggregated_cache *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->said = map_new();
    pthread_mutex_init(&c->mutex, NULL);
    return c;
}

static void said_free(void *arg) {
    struct said *s = arg;
    free(s->discovery);
    free(s->openapi);
    free(s->v2);
    free(s);
}

void aggregated_cache_free(struct aggregated_cache *c) {
    if (!c) return;
    map_free_with(c->said, said_free);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

/* ---- which there are ---- */

struct listing { struct api_request *r; const struct strategy *strategy; struct aggregated_list list; };

static bool take(void *arg, const struct store_view *view) {
    struct listing *l = arg;
    const struct apiregistrationv1_APIService *s = registry_decode(l->r->arena, l->strategy, view);
    if (s && s->spec.service) *LIST_PUSH(l->r->arena, &l->list) = (struct aggregated_version){s->metadata.name, str_or(s->spec.group, ""), str_or(s->spec.version, ""), s};
    return true;
}

static int compare(const void *x, const void *y) {
    const struct aggregated_version *a = x, *b = y;
    const struct apiregistrationv1_APIServiceSpec *sa = &a->service->spec, *sb = &b->service->spec;
    int by_name = strcmp(a->group, b->group);
    if (by_name) return sa->groupPriorityMinimum != sb->groupPriorityMinimum ? (sa->groupPriorityMinimum > sb->groupPriorityMinimum ? -1 : 1) : by_name;
    if (sa->versionPriority != sb->versionPriority) return sa->versionPriority > sb->versionPriority ? -1 : 1;
    return kube_version_compare(a->version, b->version);
}

struct aggregated_list aggregated_versions(struct api_request *r) {
    struct listing l = {.r = r, .strategy = strategy_find("apiregistration.k8s.io", "apiservices")};
    struct store_txn *t;
    if (store_read_begin(apiserver_store(r->server), &t, NULL) != 0) return l.list;
    store_range(t, storage_key(r->arena, l.strategy, NULL, NULL), NULL, take, &l);
    store_read_end(t);
    if (l.list.len) qsort(l.list.items, l.list.len, sizeof(*l.list.items), compare);
    return l.list;
}

const struct aggregated_version *aggregated_find(const struct aggregated_list *list, const char *group, const char *version) {
    for (size_t i = 0; i < list->len; i++)
        if (strcmp(list->items[i].group, group) == 0 && (!version || strcmp(list->items[i].version, version) == 0)) return &list->items[i];
    return NULL;
}

/* ---- asking them ---- */

static struct metav1_GroupVersionKind *kind_of(struct arena *a, const struct metav1_APIResource *from, const struct aggregated_version *v) {
    struct metav1_GroupVersionKind *k = ARENA_NEW(a, struct metav1_GroupVersionKind);
    *k = (struct metav1_GroupVersionKind){.group = str_empty(from->group) ? v->group : from->group, .version = str_empty(from->version) ? v->version : from->version, .kind = from->kind};
    return k;
}

/* Of a server that knows the plain form alone. */
static bool from_plain(struct arena *a, const struct aggregated_version *v, const struct buf *text, struct apidiscoveryv2_APIVersionDiscovery *ret) {
    struct metav1_APIResourceList *list = arena_alloc(a, sizeof(*list));
    if (object_decode_json(a, &metav1_APIResourceList_desc, list, buf_cstr(text), text->len, NULL, NULL) != 0) return false;
    LIST_FOREACH(from, &list->resources) {
        const char *slash = strchr(str_or(from->name, ""), '/');
        if (!slash) {
            *LIST_PUSH(a, &ret->resources) = (struct apidiscoveryv2_APIResourceDiscovery){.resource = from->name, .responseKind = kind_of(a, from, v), .scope = from->namespaced ? "Namespaced" : "Cluster",
                .singularResource = from->singularName, .verbs = from->verbs, .shortNames = from->shortNames, .categories = from->categories};
            continue;
        }
        LIST_FOREACH(parent, &ret->resources)
            if (strlen(parent->resource) == (size_t)(slash - from->name) && strncmp(parent->resource, from->name, (size_t)(slash - from->name)) == 0)
                *LIST_PUSH(a, &parent->subresources) = (struct apidiscoveryv2_APISubresourceDiscovery){.subresource = slash + 1, .responseKind = kind_of(a, from, v), .verbs = from->verbs};
    }
    return true;
}

static bool from_aggregated(struct arena *a, const struct aggregated_version *v, const struct buf *text, struct apidiscoveryv2_APIVersionDiscovery *ret) {
    struct apidiscoveryv2_APIGroupDiscoveryList *list = arena_alloc(a, sizeof(*list));
    if (object_decode_json(a, &apidiscoveryv2_APIGroupDiscoveryList_desc, list, buf_cstr(text), text->len, NULL, NULL) != 0) return false;
    LIST_FOREACH(g, &list->items)
        LIST_FOREACH(gv, &g->versions)
            if (str_eq(g->metadata.name, v->group) && str_eq(gv->version, v->version)) {
                *ret = *gv;
                return true;
            }
    return false;
}

static char *fetch_discovery(struct api_request *r, const struct aggregated_version *v) {
    struct apidiscoveryv2_APIVersionDiscovery d = {.version = v->version};
    _cleanup_buf_ struct buf text = BUF_INIT;
    struct buf out = BUF_INIT;
    const char *type = NULL;
    bool got = aggregated_get(r, v->service, "/apis", ACCEPT_DISCOVERY, &text, &type, NULL) == 0 && strstr(str_or(type, ""), "as=APIGroupDiscoveryList") && from_aggregated(r->arena, v, &text, &d);
    if (!got) {
        buf_clear(&text);
        got = aggregated_get(r, v->service, arena_printf(r->arena, "/apis/%s/%s", v->group, v->version), "application/json", &text, &type, NULL) == 0 && from_plain(r->arena, v, &text, &d);
    }
    if (!got) return NULL;
    object_encode_json(&apidiscoveryv2_APIVersionDiscovery_desc, &d, &out);
    return buf_steal(&out);
}

static char *fetch_openapi(struct api_request *r, const struct aggregated_version *v) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    const char *type = NULL, *path = arena_printf(r->arena, "apis/%s/%s", v->group, v->version);
    if (aggregated_get(r, v->service, "/openapi/v3", "application/json", &text, &type, NULL) != 0) return NULL;
    yyjson_doc *doc = json_parse_in(r->arena, buf_cstr(&text), text.len, 0, NULL);
    yyjson_val *url = doc ? yyjson_obj_get(yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "paths"), path), "serverRelativeURL") : NULL;
    return yyjson_is_str(url) && str_has_prefix(yyjson_get_str(url), "/openapi/v3/") ? strdup(yyjson_get_str(url)) : NULL;
}

static struct said *said_of(struct aggregated_cache *c, const char *key) {
    struct said *s = map_get(c->said, key);
    if (s) return s;
    s = calloc(1, sizeof(*s));
    CHECK(s);
    map_put(c->said, key, s);
    return s;
}

static const char *key_of(struct api_request *r, const struct aggregated_version *v) {
    return arena_printf(r->arena, "%s %s %lld", v->name, str_or(v->service->metadata.uid, ""), (long long)v->service->metadata.generation);
}

/* What it says; old answers are renewed, by one request at a time: the others have the old one meanwhile. */
static struct said ask(struct api_request *r, const struct aggregated_version *v) {
    struct aggregated_cache *c = apiserver_aggregated_cache(r->server);
    const char *key = key_of(r, v);
    pthread_mutex_lock(&c->mutex);
    struct said *s = said_of(c, key);
    bool mine = !s->busy && env_mono_ns(env_real()) / MS >= s->due_ms;
    if (mine) s->busy = true;
    pthread_mutex_unlock(&c->mutex);
    char *discovery = mine ? fetch_discovery(r, v) : NULL, *openapi = discovery ? fetch_openapi(r, v) : NULL;
    pthread_mutex_lock(&c->mutex);
    if (mine) {
        s->busy = false;
        s->stale = !discovery;
        s->due_ms = env_mono_ns(env_real()) / MS + (discovery ? REFRESH_MS : RETRY_MS);
    }
    if (discovery) {
        free(s->discovery);
        free(s->openapi);
        s->discovery = discovery;
        s->openapi = openapi;
    }
    struct said copy = {.stale = s->stale, .discovery = arena_strdup(r->arena, s->discovery), .openapi = arena_strdup(r->arena, s->openapi)};
    pthread_mutex_unlock(&c->mutex);
    return copy;
}

void aggregated_discover(struct api_request *r, const struct aggregated_version *v, struct apidiscoveryv2_APIVersionDiscovery *ret) {
    struct said s = ask(r, v);
    *ret = (struct apidiscoveryv2_APIVersionDiscovery){0};
    if (s.discovery && object_decode_json(r->arena, &apidiscoveryv2_APIVersionDiscovery_desc, ret, s.discovery, strlen(s.discovery), NULL, NULL) != 0) s.stale = true; /* not what we wrote */
    ret->version = v->version;
    ret->freshness = s.stale || !s.discovery ? "Stale" : "Current";
}

const char *aggregated_openapi_url(struct api_request *r, const struct aggregated_version *v) { return ask(r, v).openapi; }

static char *fetch_v2(struct api_request *r, const struct aggregated_version *v) {
    struct buf text = BUF_INIT;
    const char *type = NULL;
    yyjson_doc *doc = aggregated_get(r, v->service, "/openapi/v2", "application/json", &text, &type, NULL) == 0 ? json_parse_in(r->arena, buf_cstr(&text), text.len, 0, NULL) : NULL;
    if (doc && yyjson_is_obj(yyjson_doc_get_root(doc))) return buf_steal(&text);
    buf_release(&text);
    return NULL;
}

const char *aggregated_openapi_v2(struct api_request *r, const struct aggregated_version *v) {
    struct aggregated_cache *c = apiserver_aggregated_cache(r->server);
    pthread_mutex_lock(&c->mutex);
    struct said *s = said_of(c, key_of(r, v));
    bool mine = !s->v2_busy && env_mono_ns(env_real()) / MS >= s->v2_due_ms;
    if (mine) s->v2_busy = true;
    pthread_mutex_unlock(&c->mutex);
    char *v2 = mine ? fetch_v2(r, v) : NULL;
    pthread_mutex_lock(&c->mutex);
    if (mine) {
        s->v2_busy = false;
        s->v2_due_ms = env_mono_ns(env_real()) / MS + (v2 ? REFRESH_MS : RETRY_MS);
    }
    if (v2) {
        free(s->v2);
        s->v2 = v2;
    }
    const char *copy = arena_strdup(r->arena, s->v2);
    pthread_mutex_unlock(&c->mutex);
    return copy;
}
