/* Nothing is stored: who is named is asked. The controller manager and the scheduler as upstream asks them, on the ports they have by default on this machine; where nobody
 * listens there (in `ckube server`, or when they run elsewhere), their Leases tell whether one of them works. Each server of etcd is asked by itself: upstream has one
 * row, etcd-0, for all of --etcd-servers. The embedded store is a healthy etcd-0.
 * A list comes in the names' order (upstream's is by chance). Tests: tests/integration/test_registry.py, test_etcd_members.py. */
#include "apiserver/component_status.h"
#include <string.h>
#include "api/selector.h"
#include "apiserver/apiserver.h"
#include "apiserver/handlers.h"
#include "apiserver/registry.h"
#include "base/str.h"
#include "wire/http_client.h"

#define LEASE_NAMESPACE "kube-system"
enum { CONTROLLER_MANAGER_PORT = 10257, SCHEDULER_PORT = 10259, PROBE_TIMEOUT_MS = 20000, PROBE_BODY_MAX = 10 << 10, ETCD_TIMEOUT_MS = 2000 };
struct component { const char *name, *lease; int port; size_t server; };
struct components { struct component *items; size_t len; };

static struct components components(struct api_request *r) {
    struct components all = {0};
    *LIST_PUSH(r->arena, &all) = (struct component){.name = "controller-manager", .lease = "kube-controller-manager", .port = CONTROLLER_MANAGER_PORT};
    for (size_t i = 0; i < store_servers(apiserver_store(r->server)); i++) *LIST_PUSH(r->arena, &all) = (struct component){.name = arena_printf(r->arena, "etcd-%zu", i), .server = i};
    *LIST_PUSH(r->arena, &all) = (struct component){.name = "scheduler", .lease = "kube-scheduler", .port = SCHEDULER_PORT};
    return all;
}

/* Whether somebody holds the Lease and has renewed it in time. */
static bool is_led(struct api_request *r, const char *lease) {
    void *obj;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (registry_get(r, strategy_find("coordination.k8s.io", "leases"), LEASE_NAMESPACE, lease, &obj, NULL, &err) != 0) return false;
    const struct coordinationv1_LeaseSpec *l = &((const struct coordinationv1_Lease *)obj)->spec;
    return !str_empty(l->holderIdentity) && l->leaseDurationSeconds.has && l->renewTime.set && l->renewTime.sec + l->leaseDurationSeconds.value >= env_now_s(apiserver_env(r->server));
}

static struct corev1_ComponentCondition probe_etcd(struct api_request *r, size_t server) {
    _cleanup_status_ struct status err = STATUS_INIT;
    int timeout_ms = apiserver_options(r->server)->etcd_health_timeout_ms;
    if (store_check_server(apiserver_store(r->server), server, timeout_ms ? timeout_ms : ETCD_TIMEOUT_MS, &err) == 0) return (struct corev1_ComponentCondition){.type = "Healthy", .status = "True", .message = "ok"};
    return (struct corev1_ComponentCondition){.type = "Healthy", .status = "False", .error = arena_strdup(r->arena, status_message(&err))};
}

static struct corev1_ComponentCondition probe(struct api_request *r, const struct component *component) {
    struct arena *a = r->arena;
    int port = component->port;
    struct corev1_ComponentCondition c = {.type = "Healthy", .status = "False"};
    struct http_client_options o = {.host = "127.0.0.1", .port = port, .tls = true, .insecure = true, .no_keep_alive = true};
    struct http_call call = {.target = "/healthz", .timeout_ms = PROBE_TIMEOUT_MS, .body_bytes_max = PROBE_BODY_MAX, .truncate = true};
    _cleanup_status_ struct status err = STATUS_INIT;
    struct http_client *client = http_client_new(&o, &err);
    struct http_reply *reply = NULL;
    if (!client || http_client_call(client, &call, &reply, &err) != 0) {
        bool led = is_led(r, component->lease);
        if (led) c.status = "True";
        c.message = led ? "ok" : arena_strdup(a, status_message(&err));
    }
    else if (reply->code >= 200 && reply->code < 400) {
        c.status = "True";
        c.message = arena_strndup(a, reply->body, reply->body_len);
    } else c.message = arena_printf(a, "HTTP probe failed with statuscode: %d", reply->code);
    http_reply_free(reply);
    http_client_free(client);
    return c;
}

static struct corev1_ComponentStatus *status_of(struct api_request *r, const struct component *c) {
    struct corev1_ComponentStatus *s = object_new(r->arena, &corev1_ComponentStatus_desc);
    s->metadata.name = c->name;
    *LIST_PUSH(r->arena, &s->conditions) = c->port ? probe(r, c) : probe_etcd(r, c->server);
    return s;
}

static int selectors(struct api_request *r, struct selector *labels, struct field_selector *fields, struct status *reterr) {
    if (label_selector_parse(r->arena, str_or(url_query_get(&r->query, "labelSelector"), ""), labels, reterr) != 0) return -1;
    if (field_selector_parse(r->arena, str_or(url_query_get(&r->query, "fieldSelector"), ""), fields, reterr) != 0) return -1;
    for (size_t i = 0; i < fields->len; i++)
        if (!str_eq(fields->items[i].field, "metadata.name") && !str_eq(fields->items[i].field, "metadata.namespace"))
            return status_bad_request(reterr, "\"%s\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", str_or(fields->items[i].field, ""));
    return 0;
}

static bool matches(const char *name, const struct selector *labels, const struct field_selector *fields) {
    static const struct string_map none;
    for (size_t i = 0; i < fields->len; i++) {
        const char *value = str_eq(fields->items[i].field, "metadata.name") ? name : "";
        if (str_eq(value, fields->items[i].value) == fields->items[i].negated) return false;
    }
    return selector_matches(labels, &none);
}

static int list(struct api_request *r, struct status *reterr) {
    struct selector labels;
    struct field_selector fields;
    if (selectors(r, &labels, &fields, reterr) != 0) return -1;
    struct corev1_ComponentStatusList *l = object_new(r->arena, &corev1_ComponentStatusList_desc);
    l->items.items = arena_list_alloc(r->arena, 0, sizeof(*l->items.items));
    struct components all = components(r);
    LIST_FOREACH(c, &all) {
        if (!matches(c->name, &labels, &fields)) continue;
        struct corev1_ComponentStatus *to = LIST_PUSH(r->arena, &l->items);
        *to = *status_of(r, c);
        to->kind = to->apiVersion = NULL;
    }
    respond_object(r, 200, &corev1_ComponentStatusList_desc, l);
    return 0;
}

static int get(struct api_request *r, struct status *reterr) {
    struct components all = components(r);
    LIST_FOREACH(c, &all)
        if (str_eq(c->name, r->name)) {
            respond_object(r, 200, &corev1_ComponentStatus_desc, status_of(r, c));
            return 0;
        }
    return status_not_found(reterr, "", "componentstatus", r->name);
}

bool handle_component_status(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    bool lists = str_eq(r->verb, "list");
    if (!str_empty(r->group) || !str_eq(r->resource, "componentstatuses") || r->subresource) return false;
    if (negotiate(r, true, false, &err) != 0 || (lists ? list(r, &err) : get(r, &err)) != 0) respond_status(r, &err);
    return true;
}
