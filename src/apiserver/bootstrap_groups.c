/* FlowSchemas, priority levels, local APIServices, system PriorityClasses and the cluster's ServiceCIDR, as upstream's post-start hooks write them.
   Upstream: registry/flowcontrol/ensurer, registry/scheduling/rest, controlplane/apiserver/aggregator.go, controlplane/controller/defaultservicecidr. */
#include "apiserver/bootstrap_groups.h"
#include <string.h>
#include "api/defaults.h"
#include "api/flowcontrol_bootstrap.h"
#include "api/managedfields.h"
#include "api/time.h"
#include "apiserver/managers.h"
#include "apiserver/runtime_config.h"
#include "base/str.h"

struct hook { struct arena *a; int64_t now_s; bootstrap_emit emit; void *arg; };

void bootstrap_own(struct arena *a, const struct type_desc *type, void *obj, const char *manager, int64_t now_s) {
    object_set_type_meta(a, type, obj);
    object_set_defaults(a, type, obj);
    const struct resource_desc *d = api_resource_of_type(type);
    struct field_manager m = {.arena = a, .manager = manager, .now_s = now_s, .reset = reset_fields_of(d->group, d->version, d->resource, NULL)};
    managed_fields_update(&m, type, NULL, obj);
}

/* The entry of a controller that applied one condition to the status. */
static void own_condition(struct hook *h, struct object *obj, const char *api_version, const char *manager, const char *fields) {
    *LIST_PUSH(h->a, &obj->metadata.managedFields) = (struct metav1_ManagedFieldsEntry){.manager = manager, .operation = "Apply", .apiVersion = api_version, .time = time_from_s(h->now_s),
        .fieldsType = "FieldsV1", .fieldsV1 = {fields, strlen(fields)}, .subresource = "status"};
}

/* ---- flow control ---- */

static const char apf_producer[] = "api-priority-and-fairness-config-producer-v1";
static const char apf_consumer[] = "api-priority-and-fairness-config-consumer-v1";

static void flow_control(struct hook *h) {
    struct flowcontrolv1_PriorityLevelConfiguration *p;
    struct flowcontrolv1_FlowSchema *f;
    for (size_t i = 0; (p = bootstrap_priority_level(h->a, i)); i++) {
        string_map_set(h->a, &p->metadata.annotations, "apf.kubernetes.io/autoupdate-spec", "true");
        p->metadata.generation = 1;
        bootstrap_own(h->a, &flowcontrolv1_PriorityLevelConfiguration_desc, p, apf_producer, h->now_s);
        h->emit(h->arg, "prioritylevelconfigurations", "flowcontrol.apiserver.k8s.io", p);
    }
    for (size_t i = 0; (f = bootstrap_flow_schema(h->a, i)); i++) {
        string_map_set(h->a, &f->metadata.annotations, "apf.kubernetes.io/autoupdate-spec", "true");
        f->metadata.generation = 1;
        bootstrap_own(h->a, &flowcontrolv1_FlowSchema_desc, f, apf_producer, h->now_s);
        *LIST_PUSH(h->a, &f->status.conditions) = (struct flowcontrolv1_FlowSchemaCondition){.type = "Dangling", .status = "False", .lastTransitionTime = time_from_s(h->now_s), .reason = "Found",
            .message = arena_printf(h->a, "This FlowSchema references the PriorityLevelConfiguration object named \"%s\" and it exists", f->spec.priorityLevelConfiguration.name)};
        own_condition(h, (struct object *)f, "flowcontrol.apiserver.k8s.io/v1", apf_consumer,
                      "{\"f:status\":{\"f:conditions\":{\"k:{\\\"type\\\":\\\"Dangling\\\"}\":{\".\":{},\"f:lastTransitionTime\":{},\"f:message\":{},\"f:reason\":{},\"f:status\":{},\"f:type\":{}}}}}");
        h->emit(h->arg, "flowschemas", "flowcontrol.apiserver.k8s.io", f);
    }
}

/* ---- local APIServices ---- */

static int32_t group_priority(const char *group) {
    static const struct { const char *group; int32_t priority; } priorities[] = {
        {"", 18000}, {"apiregistration.k8s.io", 0}, {"apps", 17800}, {"events.k8s.io", 17750}, {"authentication.k8s.io", 17700}, {"authorization.k8s.io", 17600}, {"autoscaling", 17500}, {"batch", 17400},
        {"certificates.k8s.io", 17300}, {"networking.k8s.io", 17200}, {"policy", 17100}, {"rbac.authorization.k8s.io", 17000}, {"storage.k8s.io", 16800}, {"admissionregistration.k8s.io", 16700},
        {"apiextensions.k8s.io", 16700}, {"scheduling.k8s.io", 16600}, {"coordination.k8s.io", 16500}, {"node.k8s.io", 16300}, {"discovery.k8s.io", 16200}, {"flowcontrol.apiserver.k8s.io", 16100},
        {"internal.apiserver.k8s.io", 16000}, {"resource.k8s.io", 15900}, {"storagemigration.k8s.io", 15800},
    };
    for (size_t i = 0; i < ARRAY_LEN(priorities); i++)
        if (strcmp(priorities[i].group, group) == 0) return priorities[i].priority;
    return 0;
}

static int32_t version_priority(const char *group, const char *version) {
    static const struct { const char *group, *version; int32_t priority; } priorities[] = {
        {"", "v1", 1}, {"autoscaling", "v2", 30}, {"flowcontrol.apiserver.k8s.io", "v1", 21}, {"coordination.k8s.io", "v1beta1", 13}, {"coordination.k8s.io", "v1alpha2", 12},
        {"admissionregistration.k8s.io", "v1beta1", 12}, {"admissionregistration.k8s.io", "v1alpha1", 9}, {"resource.k8s.io", "v1beta2", 12}, {"resource.k8s.io", "v1beta1", 10}, {"resource.k8s.io", "v1alpha3", 9},
        {"internal.apiserver.k8s.io", "v1alpha1", 9}, {"scheduling.k8s.io", "v1alpha2", 9},
    };
    for (size_t i = 0; i < ARRAY_LEN(priorities); i++)
        if (strcmp(priorities[i].group, group) == 0 && strcmp(priorities[i].version, version) == 0) return priorities[i].priority;
    return strstr(version, "alpha") ? 1 : strstr(version, "beta") ? 9 : 15;
}

static void api_service(struct hook *h, const char *group, const char *version) {
    struct apiregistrationv1_APIService *s = object_new(h->a, &apiregistrationv1_APIService_desc);
    s->metadata.name = arena_printf(h->a, "%s.%s", version, group);
    string_map_set(h->a, &s->metadata.labels, "kube-aggregator.kubernetes.io/automanaged", "onstart");
    s->spec.group = group;
    s->spec.version = version;
    s->spec.groupPriorityMinimum = group_priority(group);
    s->spec.versionPriority = version_priority(group, version);
    bootstrap_own(h->a, &apiregistrationv1_APIService_desc, s, "kube-apiserver", h->now_s);
    *LIST_PUSH(h->a, &s->status.conditions) = (struct apiregistrationv1_APIServiceCondition){.type = "Available", .status = "True", .lastTransitionTime = time_from_s(h->now_s), .reason = "Local",
        .message = "Local APIServices are always available"};
    h->emit(h->arg, "apiservices", "apiregistration.k8s.io", s);
}

/* One for every group and version that is served. */
static void api_services(struct hook *h) {
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *d = &api_resources[i];
        bool first = resource_served(d) && group_priority(d->group);
        for (size_t k = 0; first && k < i; k++)
            if (resource_served(&api_resources[k]) && strcmp(api_resources[k].group, d->group) == 0 && strcmp(api_resources[k].version, d->version) == 0) first = false;
        if (first) api_service(h, d->group, d->version);
    }
}

/* ---- scheduling, networking ---- */

static void priority_class(struct hook *h, const char *name, int32_t value, const char *description) {
    struct schedulingv1_PriorityClass *pc = object_new(h->a, &schedulingv1_PriorityClass_desc);
    pc->metadata.name = name;
    pc->metadata.generation = 1;
    pc->value = value;
    pc->description = description;
    bootstrap_own(h->a, &schedulingv1_PriorityClass_desc, pc, "kube-apiserver", h->now_s);
    h->emit(h->arg, "priorityclasses", "scheduling.k8s.io", pc);
}

static void service_cidr(struct hook *h, const char *const ranges[2]) {
    struct networkingv1_ServiceCIDR *c = object_new(h->a, &networkingv1_ServiceCIDR_desc);
    c->metadata.name = "kubernetes";
    for (size_t i = 0; i < 2 && ranges[i]; i++) string_list_push(h->a, &c->spec.cidrs, ranges[i]);
    bootstrap_own(h->a, &networkingv1_ServiceCIDR_desc, c, "kube-apiserver", h->now_s);
    *LIST_PUSH(h->a, &c->status.conditions) = (struct metav1_Condition){.type = "Ready", .status = "True", .lastTransitionTime = time_from_s(h->now_s), .message = "Kubernetes default Service CIDR is ready"};
    own_condition(h, (struct object *)c, "networking.k8s.io/v1", "kubernetes-service-cidr-controller",
                  "{\"f:status\":{\"f:conditions\":{\"k:{\\\"type\\\":\\\"Ready\\\"}\":{\".\":{},\"f:lastTransitionTime\":{},\"f:message\":{},\"f:status\":{},\"f:type\":{}}}}}");
    h->emit(h->arg, "servicecidrs", "networking.k8s.io", c);
}

void bootstrap_groups(struct arena *a, int64_t now_s, const char *const service_ranges[2], bootstrap_emit emit, void *arg) {
    struct hook h = {a, now_s, emit, arg};
    priority_class(&h, "system-cluster-critical", 2000000000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.");
    priority_class(&h, "system-node-critical", 2000001000, "Used for system critical pods that must not be moved from their current node.");
    flow_control(&h);
    api_services(&h);
    service_cidr(&h, service_ranges);
}
