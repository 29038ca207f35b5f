/* Everything that is no resource: discovery (plain and aggregated), version; health and metrics have files of their own. */
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include "apiserver/aggregated_discovery.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom_resources.h"
#include "apiserver/handlers.h"
#include "apiserver/metrics.h"
#include "apiserver/openapi.h"
#include "apiserver/runtime_config.h"
#include "apiserver/versions.h"
#include "base/str.h"
#include "wire/json.h"

/* The order upstream lists its groups in: by priority, set when each was added. */
static const char *const group_order[] = {"apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io",
    "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io",
    "node.k8s.io", "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "storagemigration.k8s.io"};

static bool group_exists(const char *group) {
    for (size_t i = 0; i < api_resources_len; i++)
        if (strcmp(api_resources[i].group, group) == 0 && resource_served(&api_resources[i])) return true;
    return false;
}

/* The served versions of a group, the preferred (most stable) one first. */
static struct string_list versions_of(struct arena *a, const char *group) {
    struct string_list list = {0};
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *d = &api_resources[i];
        if (strcmp(d->group, group) != 0 || !resource_served(d) || string_list_has(&list, d->version)) continue;
        string_list_push(a, &list, d->version);
        for (size_t k = list.len - 1; k > 0 && version_rank(list.items[k]) > version_rank(list.items[k - 1]); k--) {
            const char *later = list.items[k];
            list.items[k] = list.items[k - 1];
            list.items[k - 1] = later;
        }
    }
    return list;
}

static const char *group_version(struct arena *a, const char *group, const char *version) { return *group ? arena_printf(a, "%s/%s", group, version) : version; }

/* Definitions are hashed by the version they began with. */
static const char *hashed_version(const struct resource_desc *d) { return strcmp(d->resource, "customresourcedefinitions") == 0 ? "v1beta1" : storage_version_of(d); }

static const char *hash_of(struct arena *a, const char *group, const char *version, const char *kind) {
    unsigned char sum[SHA256_DIGEST_LENGTH];
    struct buf out = BUF_INIT;
    const char *text = arena_printf(a, "%s/%s/%s", group, version, kind);
    SHA256((const unsigned char *)text, strlen(text), sum);
    base64_encode(&out, sum, 8);
    const char *hash = arena_strdup(a, out.data);
    buf_release(&out);
    return hash;
}

static const char *storage_hash(struct arena *a, const struct resource_desc *d) {
    if (strcmp(d->resource, "events") == 0) return hash_of(a, "", "v1", d->kind); /* both groups' are the core group's */
    return hash_of(a, d->group, hashed_version(d), d->kind);
}

/* In the order in which upstream lists them for custom resources. */
static struct string_list custom_verbs(struct arena *a) {
    static const char *const verbs[] = {"delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"};
    struct string_list list = {0};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) string_list_push(a, &list, verbs[i]);
    return list;
}

static struct string_list verb_list(struct arena *a, uint8_t verbs) {
    static const char *const names[] = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
    struct string_list list = {0};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (verbs & (1u << i)) string_list_push(a, &list, names[i]);
    return list;
}

static struct string_list copy_names(struct arena *a, const char *const *names) {
    struct string_list list = {0};
    for (; *names; names++) string_list_push(a, &list, *names);
    return list;
}

static int compare_versions(const void *x, const void *y) { return kube_version_compare(*(const char *const *)x, *(const char *const *)y); }

/* Of a group built in, of custom resources, or of another server's. */
static struct string_list all_versions_of(struct api_request *r, const struct aggregated_list *others, const char *group) {
    struct string_list list = versions_of(r->arena, group), custom = {0};
    struct custom_resource_list all = custom_resources_served(apiserver_custom_resources(r->server), r->arena);
    for (size_t i = 0; i < all.len; i++)
        for (size_t j = 0; strcmp(all.items[i]->crd->spec.group, group) == 0 && j < all.items[i]->versions.len; j++) {
            const struct custom_version *v = &all.items[i]->versions.items[j];
            if (v->served && !string_list_has(&list, v->name) && !string_list_has(&custom, v->name)) string_list_push(r->arena, &custom, v->name);
        }
    if (custom.len) qsort(custom.items, custom.len, sizeof(char *), compare_versions);
    for (size_t i = 0; i < custom.len; i++) string_list_push(r->arena, &list, custom.items[i]);
    for (size_t i = 0; i < others->len; i++)
        if (strcmp(others->items[i].group, group) == 0 && !string_list_has(&list, others->items[i].version)) string_list_push(r->arena, &list, others->items[i].version);
    return list;
}

struct more_group { const char *name; int32_t priority; };
struct more_groups { struct more_group *items; size_t len; };

static int compare_groups(const void *x, const void *y) {
    const struct more_group *a = x, *b = y;
    return a->priority != b->priority ? (a->priority > b->priority ? -1 : 1) : strcmp(a->name, b->name);
}

static void add_group(struct arena *a, struct more_groups *list, const char *name, int32_t priority) {
    bool has = group_exists(name);
    for (size_t i = 0; !has && i < list->len; i++) has = strcmp(list->items[i].name, name) == 0;
    if (!has) *LIST_PUSH(a, list) = (struct more_group){name, priority};
}

/* Groups that are not built in: those of custom resources and of other servers, the most important first. */
static struct more_groups more_groups(struct api_request *r, const struct aggregated_list *others) {
    enum { CUSTOM_PRIORITY = 1000 }; /* as upstream registers them */
    struct more_groups list = {0};
    struct custom_resource_list all = custom_resources_served(apiserver_custom_resources(r->server), r->arena);
    for (size_t i = 0; i < all.len; i++) add_group(r->arena, &list, all.items[i]->crd->spec.group, CUSTOM_PRIORITY);
    for (size_t i = 0; i < others->len; i++) add_group(r->arena, &list, others->items[i].group, others->items[i].service->spec.groupPriorityMinimum);
    if (list.len) qsort(list.items, list.len, sizeof(*list.items), compare_groups);
    return list;
}

static void put_resource(struct arena *a, struct metav1_APIResourceList *out, const struct resource_desc *d, const char *hash, bool custom) {
    *LIST_PUSH(a, &out->resources) = (struct metav1_APIResource){
        .name = d->subresource ? arena_printf(a, "%s/%s", d->resource, d->subresource) : d->resource, .singularName = d->singular, .namespaced = d->namespaced, .group = d->acts_on_group,
        .version = d->acts_on_version, .kind = d->kind, .verbs = custom && !d->subresource ? custom_verbs(a) : verb_list(a, d->verbs), .shortNames = copy_names(a, d->short_names),
        .categories = copy_names(a, d->categories), .storageVersionHash = hash};
}

static void put_custom_resources(struct api_request *r, struct metav1_APIResourceList *out, const char *group, const char *version) {
    struct custom_resource_list all = custom_resources_served(apiserver_custom_resources(r->server), r->arena);
    for (size_t i = 0; i < all.len; i++)
        for (size_t j = 0; j < all.items[i]->versions.len; j++) {
            const struct custom_version *v = &all.items[i]->versions.items[j];
            if (!v->served || strcmp(all.items[i]->crd->spec.group, group) != 0 || strcmp(v->name, version) != 0) continue;
            put_resource(r->arena, out, &v->resource, hash_of(r->arena, group, v->type.storage->desc.version, v->resource.kind), true);
            if (v->type.has_status) put_resource(r->arena, out, &v->status, NULL, true);
            if (v->type.has_scale) put_resource(r->arena, out, &v->scale, NULL, true);
        }
}

static void respond_resources(struct api_request *r, const char *group, const char *version) {
    struct metav1_APIResourceList out = {.kind = "APIResourceList", .apiVersion = *group ? "v1" : NULL, .groupVersion = group_version(r->arena, group, version)};
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *d = &api_resources[i];
        if (strcmp(d->group, group) != 0 || strcmp(d->version, version) != 0 || !resource_served(d)) continue;
        bool stored = !d->subresource && (d->verbs & VERB_CREATE) && (d->verbs & VERB_GET);
        put_resource(r->arena, &out, d, stored ? storage_hash(r->arena, d) : NULL, false);
    }
    put_custom_resources(r, &out, group, version);
    _cleanup_buf_ struct buf json = BUF_INIT;
    object_encode_json(&metav1_APIResourceList_desc, &out, &json);
    buf_append_char(&json, '\n');
    respond_text(r, 200, "application/json", json.data);
}

static void fill_group(struct api_request *r, const struct aggregated_list *others, struct metav1_APIGroup *g, const char *group) {
    struct arena *a = r->arena;
    struct string_list versions = all_versions_of(r, others, group);
    g->name = group;
    for (size_t i = 0; i < versions.len; i++)
        *LIST_PUSH(a, &g->versions) = (struct metav1_GroupVersionForDiscovery){.groupVersion = group_version(a, group, versions.items[i]), .version = versions.items[i]};
    if (g->versions.len) g->preferredVersion = g->versions.items[0];
}

static void respond_encoded(struct api_request *r, const struct type_desc *type, const void *obj, const char *content_type) {
    _cleanup_buf_ struct buf json = BUF_INIT;
    object_encode_json(type, obj, &json);
    buf_append_char(&json, '\n');
    respond_text(r, 200, content_type, json.data);
}

/* ---- aggregated ---- */

static struct apidiscoveryv2_APIResourceDiscovery discover(struct arena *a, const struct resource_desc *d) {
    struct apidiscoveryv2_APIResourceDiscovery out = {.resource = d->resource, .scope = d->namespaced ? "Namespaced" : "Cluster", .singularResource = d->singular,
                                                      .verbs = verb_list(a, d->verbs), .shortNames = copy_names(a, d->short_names), .categories = copy_names(a, d->categories)};
    out.responseKind = ARENA_NEW(a, struct metav1_GroupVersionKind);
    out.responseKind->kind = d->kind;
    out.responseKind->group = d->acts_on_group;
    out.responseKind->version = d->acts_on_version;
    return out;
}

static void discover_custom_part(struct arena *a, struct apidiscoveryv2_APIResourceDiscovery *parent, const struct resource_desc *d) {
    struct apidiscoveryv2_APISubresourceDiscovery *sub = LIST_PUSH(a, &parent->subresources);
    sub->subresource = d->subresource;
    sub->verbs = verb_list(a, d->verbs);
    sub->responseKind = ARENA_NEW(a, struct metav1_GroupVersionKind);
    *sub->responseKind = (struct metav1_GroupVersionKind){.group = d->acts_on_group ? d->acts_on_group : d->group, .version = d->acts_on_version ? d->acts_on_version : d->version, .kind = d->kind};
}

static void discover_custom(struct api_request *r, struct apidiscoveryv2_APIVersionDiscovery *to, const char *group, const char *version) {
    struct custom_resource_list all = custom_resources_served(apiserver_custom_resources(r->server), r->arena);
    for (size_t i = 0; i < all.len; i++)
        for (size_t j = 0; strcmp(all.items[i]->crd->spec.group, group) == 0 && j < all.items[i]->versions.len; j++) {
            const struct custom_version *v = &all.items[i]->versions.items[j];
            if (!v->served || strcmp(v->name, version) != 0) continue;
            struct apidiscoveryv2_APIResourceDiscovery *d = LIST_PUSH(r->arena, &to->resources);
            *d = discover(r->arena, &v->resource);
            d->verbs = custom_verbs(r->arena);
            d->responseKind->group = group;
            d->responseKind->version = version;
            if (v->type.has_status) discover_custom_part(r->arena, d, &v->status);
            if (v->type.has_scale) discover_custom_part(r->arena, d, &v->scale);
        }
}

static void discover_version(struct arena *a, struct apidiscoveryv2_APIVersionDiscovery *v, const char *group, const char *version) {
    v->version = version;
    v->freshness = "Current";
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *d = &api_resources[i];
        if (strcmp(d->group, group) != 0 || strcmp(d->version, version) != 0 || !resource_served(d)) continue;
        if (!d->subresource) {
            *LIST_PUSH(a, &v->resources) = discover(a, d);
            continue;
        }
        struct apidiscoveryv2_APIResourceDiscovery *parent = NULL;
        for (size_t j = 0; j < v->resources.len; j++)
            if (strcmp(v->resources.items[j].resource, d->resource) == 0) parent = &v->resources.items[j];
        if (!parent) continue;
        struct apidiscoveryv2_APISubresourceDiscovery *sub = LIST_PUSH(a, &parent->subresources);
        sub->subresource = d->subresource;
        sub->verbs = verb_list(a, d->verbs);
        sub->responseKind = ARENA_NEW(a, struct metav1_GroupVersionKind);
        sub->responseKind->kind = d->kind;
        sub->responseKind->group = d->acts_on_group;
        sub->responseKind->version = d->acts_on_version;
    }
}

static void discover_group(struct api_request *r, const struct aggregated_list *others, struct apidiscoveryv2_APIGroupDiscoveryList *list, const char *group) {
    struct arena *a = r->arena;
    struct apidiscoveryv2_APIGroupDiscovery *g = LIST_PUSH(a, &list->items);
    struct string_list versions = all_versions_of(r, others, group);
    g->metadata.name = *group ? group : NULL;
    for (size_t i = 0; i < versions.len; i++) {
        struct apidiscoveryv2_APIVersionDiscovery *v = LIST_PUSH(a, &g->versions);
        const struct aggregated_version *other = aggregated_find(others, group, versions.items[i]);
        if (other) {
            aggregated_discover(r, other, v);
            continue;
        }
        discover_version(a, v, group, versions.items[i]);
        discover_custom(r, v, group, versions.items[i]);
    }
}

static void put_etag(char *to, size_t size, const struct buf *json) {
    unsigned char sum[SHA512_DIGEST_LENGTH];
    SHA512((const unsigned char *)json->data, json->len, sum);
    size_t n = (size_t)snprintf(to, size, "\"");
    for (size_t i = 0; i < sizeof(sum); i++) n += (size_t)snprintf(to + n, size - n, "%02X", sum[i]);
    snprintf(to + n, size - n, "\"");
}

static void respond_aggregated(struct api_request *r, bool core, const char *version) {
    struct apidiscoveryv2_APIGroupDiscoveryList list = {.kind = "APIGroupDiscoveryList", .apiVersion = arena_printf(r->arena, "apidiscovery.k8s.io/%s", version)};
    _cleanup_buf_ struct buf json = BUF_INIT;
    char etag[SHA512_DIGEST_LENGTH * 2 + 3];
    struct { struct http_header *items; size_t len; } h = {0};
    struct aggregated_list others = core ? (struct aggregated_list){0} : aggregated_versions(r);
    if (core) discover_group(r, &others, &list, "");
    else {
        struct more_groups more = more_groups(r, &others);
        for (size_t i = 0; i < ARRAY_LEN(group_order); i++)
            if (group_exists(group_order[i])) discover_group(r, &others, &list, group_order[i]);
        for (size_t i = 0; i < more.len; i++) discover_group(r, &others, &list, more.items[i].name);
    }
    object_encode_json(&apidiscoveryv2_APIGroupDiscoveryList_desc, &list, &json);
    buf_append_char(&json, '\n');
    put_etag(etag, sizeof(etag), &json);
    h.items = response_headers(r, arena_printf(r->arena, "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList", version), &h.len);
    *LIST_PUSH(r->arena, &h) = (struct http_header){"Etag", arena_strdup(r->arena, etag)};
    *LIST_PUSH(r->arena, &h) = (struct http_header){"Vary", "Accept"};
    bool same = str_eq(http_request_header(r->http, "If-None-Match"), etag);
    http_respond(r->http, same ? 304 : 200, h.items, h.len, &(struct http_slice){json.data, json.len}, same ? 0 : 1);
}

/* The version of the aggregated form that the client prefers to the plain one, or NULL. */
static const char *wants_aggregated(struct api_request *r) {
    const char *accept = http_request_header(r->http, "Accept");
    for (const char *p = accept; p && *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ',')) {
        const char *clause = arena_strndup(r->arena, p, strcspn(p, ","));
        if (strstr(clause, "as=APIGroupDiscoveryList") && strstr(clause, "g=apidiscovery.k8s.io") && strstr(clause, "application/json")) {
            const char *v = strstr(clause, "v=v2");
            size_t len = v ? strcspn(v, "; ") : 0;
            if (len == 4) return "v2"; /* v2beta1 is not served any more since 1.35 */
        } else if (strstr(clause, "application/json") && !strstr(clause, "as=")) return NULL;
    }
    return NULL;
}

/* ---- the roots ---- */

static void respond_api(struct api_request *r) {
    const char *aggregated = wants_aggregated(r);
    if (aggregated) {
        respond_aggregated(r, true, aggregated);
        return;
    }
    struct metav1_APIVersions out = {.kind = "APIVersions"};
    string_list_push(r->arena, &out.versions, "v1");
    *LIST_PUSH(r->arena, &out.serverAddressByClientCIDRs) = (struct metav1_ServerAddressByClientCIDR){.clientCIDR = "0.0.0.0/0", .serverAddress = str_or(http_request_header(r->http, "Host"), "")};
    respond_encoded(r, &metav1_APIVersions_desc, &out, "application/json");
}

static void respond_apis(struct api_request *r) {
    const char *aggregated = wants_aggregated(r);
    if (aggregated) {
        respond_aggregated(r, false, aggregated);
        return;
    }
    struct metav1_APIGroupList out = {.kind = "APIGroupList", .apiVersion = "v1"};
    struct aggregated_list others = aggregated_versions(r);
    struct more_groups more = more_groups(r, &others);
    for (size_t i = 0; i < ARRAY_LEN(group_order); i++)
        if (group_exists(group_order[i])) fill_group(r, &others, LIST_PUSH(r->arena, &out.groups), group_order[i]);
    for (size_t i = 0; i < more.len; i++) fill_group(r, &others, LIST_PUSH(r->arena, &out.groups), more.items[i].name);
    respond_encoded(r, &metav1_APIGroupList_desc, &out, "application/json");
}

static void respond_version(struct api_request *r) {
    struct utsname u;
    uname(&u);
    const char *json = arena_printf(r->arena,
        "{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"emulationMajor\": \"1\",\n  \"emulationMinor\": \"36\",\n  \"minCompatibilityMajor\": \"1\",\n  \"minCompatibilityMinor\": \"35\",\n"
        "  \"gitVersion\": \"v1.36.2+ckube-%s\",\n  \"gitCommit\": \"\",\n  \"gitTreeState\": \"clean\",\n  \"buildDate\": \"\",\n  \"goVersion\": \"\",\n  \"compiler\": \"gcc\",\n  \"platform\": \"linux/%s\"\n}",
        CKUBE_VERSION, strcmp(u.machine, "x86_64") == 0 ? "amd64" : strcmp(u.machine, "aarch64") == 0 ? "arm64" : u.machine);
    respond_text(r, 200, "application/json", json);
}

static void fail(struct api_request *r, int code, const char *reason, const char *message) {
    _cleanup_status_ struct status err = STATUS_INIT;
    status_set(&err, code, reason, "%s", message);
    err.has_details = code != 406;
    respond_status(r, &err);
}

static void group_document(struct api_request *r, const char *group) {
    struct metav1_APIGroup g = {.kind = "APIGroup", .apiVersion = "v1"};
    struct aggregated_list others = aggregated_versions(r);
    fill_group(r, &others, &g, group);
    respond_encoded(r, &metav1_APIGroup_desc, &g, "application/json");
}

static bool version_exists(const char *group, const char *version) {
    for (size_t i = 0; i < api_resources_len; i++)
        if (strcmp(api_resources[i].group, group) == 0 && strcmp(api_resources[i].version, version) == 0 && resource_served(&api_resources[i])) return true;
    return false;
}

/* /api, /api/v1, /apis, /apis/G, /apis/G/V */
static bool api_path(struct api_request *r) {
    const char *p = r->path;
    char *parts[4] = {NULL}, *copy = arena_strdup(r->arena, p), *save = NULL;
    size_t n = 0;
    for (char *s = strtok_r(copy, "/", &save); s && n < 4; s = strtok_r(NULL, "/", &save)) parts[n++] = s;
    bool core = n && strcmp(parts[0], "api") == 0, groups = n && strcmp(parts[0], "apis") == 0;
    if ((!core && !groups) || n > (core ? 2u : 3u)) return false;
    bool builtin = groups && n >= 2 && group_exists(parts[1]);
    struct aggregated_list others = {0};
    if (groups && n >= 2 && !builtin && !custom_resources_has_group(apiserver_custom_resources(r->server), parts[1])) {
        others = aggregated_versions(r);
        if (!aggregated_find(&others, parts[1], NULL)) return false;
    }
    if (groups && n == 3 && !builtin) { /* other servers' versions have been passed on */
        struct string_list versions = all_versions_of(r, &(struct aggregated_list){0}, parts[1]);
        if (!string_list_has(&versions, parts[2])) return false;
    }
    if (strcmp(r->method, "GET") != 0) {
        fail(r, 405, REASON_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
        return true;
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!(n == 1 && wants_aggregated(r)) && negotiate(r, false, false, &err) != 0) {
        respond_status(r, &err);
        return true;
    }
    r->out = (struct negotiated){0};
    const char *group = core ? "" : n >= 2 ? parts[1] : NULL, *version = core ? parts[1] : parts[2];
    if (n == 1) core ? respond_api(r) : respond_apis(r);
    else if (groups && n == 2) group_document(r, group);
    else if (core || builtin ? !version_exists(group, version) : false) fail(r, 404, REASON_NOT_FOUND, "the server could not find the requested resource");
    else respond_resources(r, group, version);
    return true;
}

bool handle_nonresource(struct api_request *r) {
    bool get = strcmp(r->method, "GET") == 0;
    if (api_path(r)) return true;
    if (strcmp(r->path, "/version") == 0 || strcmp(r->path, "/version/") == 0) {
        if (get) respond_version(r);
        else fail(r, 405, REASON_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
        return true;
    }
    if (handle_health(r)) return true; /* by whatever method */
    if (!get) return false;
    if (handle_openapi(r)) return true;
    if (strcmp(r->path, "/metrics") == 0) {
        respond_metrics(r);
        return true;
    }
    return false;
}
