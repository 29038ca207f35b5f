/* Nothing is stored: the controller manager and the scheduler are asked on the ports they have by default, on this machine; our store answers for etcd.
 * A list comes in the names' order (upstream's is by chance). Tests: tests/integration/test_registry.py. */
#include "apiserver/component_status.h"
#include <string.h>
#include "api/selector.h"
#include "apiserver/apiserver.h"
#include "apiserver/handlers.h"
#include "base/str.h"
#include "wire/http_client.h"

enum { CONTROLLER_MANAGER_PORT = 10257, SCHEDULER_PORT = 10259, PROBE_TIMEOUT_MS = 20000, PROBE_BODY_MAX = 10 << 10 };
static const struct component { const char *name; int port; } components[] = {{"controller-manager", CONTROLLER_MANAGER_PORT}, {"etcd-0", 0}, {"scheduler", SCHEDULER_PORT}};

static struct corev1_ComponentCondition probe(struct arena *a, int port) {
    struct corev1_ComponentCondition c = {.type = "Healthy", .status = "False"};
    struct http_client_options o = {.host = "127.0.0.1", .port = port, .tls = true, .insecure = true, .no_keep_alive = true};
    struct http_call call = {.target = "/healthz", .timeout_ms = PROBE_TIMEOUT_MS, .body_bytes_max = PROBE_BODY_MAX, .truncate = true};
    _cleanup_status_ struct status err = STATUS_INIT;
    struct http_client *client = http_client_new(&o, &err);
    struct http_reply *reply = NULL;
    if (!client || http_client_call(client, &call, &reply, &err) != 0) c.message = arena_strdup(a, status_message(&err));
    else if (reply->code >= 200 && reply->code < 400) {
        c.status = "True";
        c.message = arena_strndup(a, reply->body, reply->body_len);
    } else c.message = arena_printf(a, "HTTP probe failed with statuscode: %d", reply->code);
    http_reply_free(reply);
    http_client_free(client);
    return c;
}

static struct corev1_ComponentStatus *status_of(struct arena *a, const struct component *c) {
    struct corev1_ComponentStatus *s = object_new(a, &corev1_ComponentStatus_desc);
    s->metadata.name = c->name;
    *LIST_PUSH(a, &s->conditions) = c->port ? probe(a, c->port) : (struct corev1_ComponentCondition){.type = "Healthy", .status = "True", .message = "ok"};
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
    for (size_t i = 0; i < ARRAY_LEN(components); i++) {
        if (!matches(components[i].name, &labels, &fields)) continue;
        struct corev1_ComponentStatus *to = LIST_PUSH(r->arena, &l->items);
        *to = *status_of(r->arena, &components[i]);
        to->kind = to->apiVersion = NULL;
    }
    respond_object(r, 200, &corev1_ComponentStatusList_desc, l);
    return 0;
}

static int get(struct api_request *r, struct status *reterr) {
    for (size_t i = 0; i < ARRAY_LEN(components); i++)
        if (str_eq(components[i].name, r->name)) {
            respond_object(r, 200, &corev1_ComponentStatus_desc, status_of(r->arena, &components[i]));
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
