/* Strategies of the groups outside core, apps, batch and rbac. Upstream: pkg/registry/GROUP/RESOURCE/strategy.go and kube-aggregator's. */
#include <string.h>
#include "api/names.h"
#include "api/time.h"
#include "api/validation/core.h"
#include "api/validation/groups.h"
#include "api/warnings.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "apiserver/runtime_config.h"
#include "base/str.h"

/* metav1.ResetObjectMetaForStatus: a status update changes nothing else of the metadata. */
static void keep_meta(struct object *obj, const struct object *old) {
    struct metav1_ManagedFieldsEntry_list managed = obj->metadata.managedFields;
    const char *version = obj->metadata.resourceVersion;
    obj->metadata = old->metadata;
    obj->metadata.managedFields = managed;
    obj->metadata.resourceVersion = version;
}

/* Status apart from spec: a creation has none, an update keeps it, the subresource keeps the spec. */
#define SPLIT_STATUS(name, T)                                                                                                                                   \
    static void name##_create(struct api_request *r UNUSED, void *obj) { memset(&((struct T *)obj)->status, 0, sizeof(((struct T *)obj)->status)); }             \
    static void name##_update(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->status = ((const struct T *)old)->status; }         \
    static void name##_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->spec = ((const struct T *)old)->spec; }
/* The same, and the metadata is kept too. */
#define SPLIT_STATUS_META(name, T)                                                                                                                               \
    static void name##_create(struct api_request *r UNUSED, void *obj) { memset(&((struct T *)obj)->status, 0, sizeof(((struct T *)obj)->status)); }             \
    static void name##_update(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->status = ((const struct T *)old)->status; }         \
    static void name##_status(struct api_request *r UNUSED, void *obj, const void *old) {                                                                        \
        ((struct T *)obj)->spec = ((const struct T *)old)->spec;                                                                                                 \
        keep_meta(obj, old);                                                                                                                                     \
    }

#define KIND(g, v, res, desc, name) .group = g, .version = v, .resource = res, .type = &desc, .validate = validate_##name, .validate_update = validate_##name##_update
#define WITH_STATUS(prefix) .prepare_create = prefix##_create, .prepare_update = prefix##_update, .prepare_status_update = prefix##_status

/* ---- networking.k8s.io, discovery.k8s.io ---- */

static void ip_block_warnings(struct api_request *r, const struct networkingv1_NetworkPolicyPeer_list *peers, const struct field_path *at) {
    for (size_t i = 0; i < peers->len; i++) {
        const struct networkingv1_IPBlock *b = peers->items[i].ipBlock;
        const struct field_path *p = FIELD(FIELD_INDEX(at, i), "ipBlock");
        if (!b) continue;
        cidr_warnings(r->arena, b->cidr, FIELD(p, "cidr"), &r->warnings);
        for (size_t k = 0; k < b->except.len; k++) cidr_warnings(r->arena, b->except.items[k], FIELD_INDEX(FIELD(p, "except"), k), &r->warnings);
    }
}
static void networkpolicy_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct networkingv1_NetworkPolicySpec *s = &((const struct networkingv1_NetworkPolicy *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    for (size_t i = 0; i < s->ingress.len; i++) ip_block_warnings(r, &s->ingress.items[i].from, FIELD(FIELD_INDEX(FIELD(at, "ingress"), i), "from"));
    for (size_t i = 0; i < s->egress.len; i++) ip_block_warnings(r, &s->egress.items[i].to, FIELD(FIELD_INDEX(FIELD(at, "egress"), i), "to"));
}
static const struct strategy networkpolicy_strategy = {KIND("networking.k8s.io", "v1", "networkpolicies", networkingv1_NetworkPolicy_desc, networkpolicy), .flags = HAS_GENERATION, .warnings = networkpolicy_warnings};

SPLIT_STATUS(ingress, networkingv1_Ingress)
static void ingress_warnings(struct api_request *r, const void *obj, const void *old) {
    if (!old && !((const struct networkingv1_Ingress *)obj)->spec.ingressClassName && string_map_has(&((const struct object *)obj)->metadata.annotations, "kubernetes.io/ingress.class"))
        request_warn(r, "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
}
static void ingress_status_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct networkingv1_IngressLoadBalancerIngress_list *list = &((const struct networkingv1_Ingress *)obj)->status.loadBalancer.ingress;
    for (size_t i = 0; i < list->len; i++) ip_warnings(r->arena, list->items[i].ip, FIELD_INDEX(FIELD(FIELD(FIELD(NULL, "status"), "loadBalancer"), "ingress"), i), &r->warnings);
}
static const struct strategy ingress_strategy = {KIND("networking.k8s.io", "v1", "ingresses", networkingv1_Ingress_desc, ingress), .storage_prefix = "/registry/ingress", .flags = HAS_GENERATION | META_TWICE, WITH_STATUS(ingress),
    .validate_status_update = validate_ingress_status, .warnings = ingress_warnings, .status_warnings = ingress_status_warnings};

static const struct strategy ingressclass_strategy = {KIND("networking.k8s.io", "v1", "ingressclasses", networkingv1_IngressClass_desc, ingressclass), .flags = HAS_GENERATION | META_TWICE};

static const struct strategy ipaddress_strategy = {KIND("networking.k8s.io", "v1", "ipaddresses", networkingv1_IPAddress_desc, ipaddress), .flags = META_TWICE | NAMES_AS_GIVEN, .validate_name = object_name_ip};

SPLIT_STATUS_META(servicecidr, networkingv1_ServiceCIDR)
static const struct strategy servicecidr_strategy = {KIND("networking.k8s.io", "v1", "servicecidrs", networkingv1_ServiceCIDR_desc, servicecidr), WITH_STATUS(servicecidr)};

/* Topology is v1beta1's: here only the node name that an old object's topology names is taken from it. Upstream: dropTopologyOnV1. */
static bool names_node(const struct discoveryv1_EndpointSlice *s, const char *name) {
    if (s && !str_empty(name))
        LIST_FOREACH(e, &s->endpoints)
            if (str_eq(string_map_get(&e->deprecatedTopology, "kubernetes.io/hostname"), name)) return true;
    return false;
}
static void drop_topology(struct arena *a, struct discoveryv1_EndpointSlice *s, const struct discoveryv1_EndpointSlice *old) {
    struct discoveryv1_EndpointSlice now = {.endpoints = s->endpoints}, before = {.endpoints = old ? old->endpoints : (struct discoveryv1_Endpoint_list){0}};
    if (old && object_equal(&discoveryv1_EndpointSlice_desc, &now, &before)) return;
    LIST_FOREACH(e, &s->endpoints) {
        const char *node = string_map_get(&e->deprecatedTopology, "kubernetes.io/hostname");
        struct string_list msgs = {0};
        if (!e->nodeName && names_node(old, node)) {
            object_name_dns_subdomain(a, node, false, &msgs);
            if (!msgs.len) e->nodeName = node;
        }
        e->deprecatedTopology = (struct string_map){0};
    }
}
static void endpointslice_create(struct api_request *r, void *obj) { drop_topology(r->arena, obj, NULL); }
/* All but metadata, and labels, make a new generation. */
static void endpointslice_update(struct api_request *r, void *obj, const void *old_obj) {
    struct discoveryv1_EndpointSlice *s = obj;
    struct discoveryv1_EndpointSlice old = *(const struct discoveryv1_EndpointSlice *)old_obj;
    bool labels = string_map_equal(&s->metadata.labels, &old.metadata.labels);
    old.metadata = s->metadata;
    if (!labels || !object_equal(&discoveryv1_EndpointSlice_desc, s, &old)) s->metadata.generation++;
    drop_topology(r->arena, s, old_obj);
}
/* The controllers' own are well-formed. */
static void endpointslice_warnings(struct api_request *r, const void *obj, const void *old) {
    const struct discoveryv1_EndpointSlice *s = obj;
    const char *by = string_map_get(&s->metadata.labels, "endpointslice.kubernetes.io/managed-by");
    if (!old && str_eq(s->addressType, "FQDN")) request_warn(r, "spec.addressType: FQDN endpoints are deprecated");
    if (str_eq(by, "endpointslice-controller.k8s.io") || str_eq(by, "endpointslicemirroring-controller.k8s.io")) return;
    for (size_t i = 0; i < s->endpoints.len; i++)
        for (size_t k = 0; k < s->endpoints.items[i].addresses.len; k++)
            ip_warnings(r->arena, s->endpoints.items[i].addresses.items[k], FIELD_INDEX(FIELD(FIELD_INDEX(FIELD(NULL, "endpoints"), i), "addresses"), k), &r->warnings);
}
static const struct strategy endpointslice_strategy = {KIND("discovery.k8s.io", "v1", "endpointslices", discoveryv1_EndpointSlice_desc, endpointslice), .flags = HAS_GENERATION | META_ONLY, .prepare_create = endpointslice_create, .prepare_update = endpointslice_update,
    .warnings = endpointslice_warnings};

/* ---- policy, autoscaling ---- */

SPLIT_STATUS(pdb, policyv1_PodDisruptionBudget)
static const struct strategy pdb_strategy = {KIND("policy", "v1", "poddisruptionbudgets", policyv1_PodDisruptionBudget_desc, pdb), .flags = HAS_GENERATION | NO_UNCONDITIONAL_UPDATE | META_LATE, WITH_STATUS(pdb),
    .validate_status_update = validate_pdb_status};

SPLIT_STATUS(hpa, autoscalingv2_HorizontalPodAutoscaler)
static const struct strategy hpa_strategy = {KIND("autoscaling", "v2", "horizontalpodautoscalers", autoscalingv2_HorizontalPodAutoscaler_desc, hpa), WITH_STATUS(hpa), .validate_status_update = validate_hpa_status};

/* ---- storage.k8s.io ---- */

static void warn_of_label(struct api_request *r, const struct field_path *at, const char *key) {
    const char *text = node_label_deprecation(key);
    if (text) request_warn(r, "%s: %s", field_path_string(r->arena, at), text);
}

static void storageclass_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct storagev1_StorageClass *s = obj;
    for (size_t i = 0; i < s->allowedTopologies.len; i++)
        for (size_t j = 0; j < s->allowedTopologies.items[i].matchLabelExpressions.len; j++)
            warn_of_label(r, FIELD(FIELD_INDEX(FIELD(FIELD_INDEX(FIELD(NULL, "allowedTopologies"), i), "matchLabelExpressions"), j), "key"), s->allowedTopologies.items[i].matchLabelExpressions.items[j].key);
}
static const struct strategy storageclass_strategy = {KIND("storage.k8s.io", "v1", "storageclasses", storagev1_StorageClass_desc, storageclass), .flags = RETURN_DELETED_OBJECT | META_TWICE, .warnings = storageclass_warnings};
static const struct strategy volumeattributesclass_strategy = {KIND("storage.k8s.io", "v1", "volumeattributesclasses", storagev1_VolumeAttributesClass_desc, volumeattributesclass), .flags = RETURN_DELETED_OBJECT | META_TWICE};

/* preventPodSchedulingIfMissing is behind a gate (VolumeLimitScaling) that is off. No generation at first; every change of the spec makes one. */
static void csidriver_create(struct api_request *r UNUSED, void *obj) { ((struct storagev1_CSIDriver *)obj)->spec.preventPodSchedulingIfMissing.has = false; }
static void csidriver_update(struct api_request *r UNUSED, void *obj, const void *old) {
    struct storagev1_CSIDriver *d = obj;
    if (!((const struct storagev1_CSIDriver *)old)->spec.preventPodSchedulingIfMissing.has) d->spec.preventPodSchedulingIfMissing.has = false;
    if (!object_equal(&storagev1_CSIDriverSpec_desc, &d->spec, &((const struct storagev1_CSIDriver *)old)->spec)) d->metadata.generation++;
}
static void csidriver_warnings(struct api_request *r, const void *obj, const void *old_obj) {
    const struct storagev1_CSIDriver *d = obj, *old = old_obj;
    struct storagev1_CSIDriverSpec now = {.tokenRequests = d->spec.tokenRequests}, before = {0};
    if (old) before.tokenRequests = old->spec.tokenRequests;
    if (!d->spec.tokenRequests.len || d->spec.serviceAccountTokenInSecrets.has || (old && object_equal(&storagev1_CSIDriverSpec_desc, &now, &before))) return;
    request_warn(r, "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes");
}
static const struct strategy csidriver_strategy = {KIND("storage.k8s.io", "v1", "csidrivers", storagev1_CSIDriver_desc, csidriver), .flags = RETURN_DELETED_OBJECT | NO_UNCONDITIONAL_UPDATE, .prepare_create = csidriver_create, .prepare_update = csidriver_update, .warnings = csidriver_warnings};
static const struct strategy csinode_strategy = {KIND("storage.k8s.io", "v1", "csinodes", storagev1_CSINode_desc, csinode), .flags = RETURN_DELETED_OBJECT | NO_UNCONDITIONAL_UPDATE | META_ONLY};

SPLIT_STATUS_META(volumeattachment, storagev1_VolumeAttachment)
static const struct strategy volumeattachment_strategy = {KIND("storage.k8s.io", "v1", "volumeattachments", storagev1_VolumeAttachment_desc, volumeattachment), .flags = RETURN_DELETED_OBJECT | NO_UNCONDITIONAL_UPDATE | META_ONLY | META_STATUS_ALIKE,
    WITH_STATUS(volumeattachment), .validate_status_update = validate_volumeattachment_update};
static void csistoragecapacity_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct metav1_LabelSelector *s = ((const struct storagev1_CSIStorageCapacity *)obj)->nodeTopology;
    const struct field_path *at = FIELD(NULL, "nodeTopology");
    for (size_t i = 0; s && i < s->matchExpressions.len; i++) {
        const char *key = s->matchExpressions.items[i].key, *text = node_label_deprecation(key);
        if (text) request_warn(r, "%s: %s is %s", field_path_string(r->arena, FIELD(FIELD_INDEX(FIELD(at, "matchExpressions"), i), "key")), key, text);
    }
    if (s) LIST_FOREACH(e, &s->matchLabels) warn_of_label(r, FIELD(FIELD(at, "matchLabels"), e->key), e->key);
}
static const struct strategy csistoragecapacity_strategy = {KIND("storage.k8s.io", "v1", "csistoragecapacities", storagev1_CSIStorageCapacity_desc, csistoragecapacity), .flags = NO_UNCONDITIONAL_UPDATE | META_TWICE, .warnings = csistoragecapacity_warnings};

/* ---- node.k8s.io, scheduling.k8s.io, coordination.k8s.io, events.k8s.io ---- */

static void runtimeclass_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct nodev1_RuntimeClass *c = obj;
    if (c->scheduling)
        LIST_FOREACH(e, &c->scheduling->nodeSelector) warn_of_label(r, FIELD(FIELD(NULL, "scheduling"), "nodeSelector"), e->key);
}
static const struct strategy runtimeclass_strategy = {KIND("node.k8s.io", "v1", "runtimeclasses", nodev1_RuntimeClass_desc, runtimeclass), .flags = NO_UNCONDITIONAL_UPDATE | CREATE_ON_UPDATE | META_GENERIC | META_TWICE, .warnings = runtimeclass_warnings};

static void priorityclass_create(struct api_request *r UNUSED, void *obj) { ((struct object *)obj)->metadata.generation = 1; }
static int priorityclass_delete(struct api_request *r UNUSED, const void *obj, struct status *reterr) {
    const char *name = ((const struct object *)obj)->metadata.name;
    if (!str_eq(name, "system-node-critical") && !str_eq(name, "system-cluster-critical")) return 0;
    return status_forbidden(reterr, "scheduling.k8s.io", "priorityclasses", name, "this is a system priority class and cannot be deleted");
}
static const struct strategy priorityclass_strategy = {KIND("scheduling.k8s.io", "v1", "priorityclasses", schedulingv1_PriorityClass_desc, priorityclass), .prepare_create = priorityclass_create, .check_delete = priorityclass_delete};
static const struct strategy workload_strategy = {KIND("scheduling.k8s.io", "v1alpha2", "workloads", schedulingv1alpha2_Workload_desc, workload), .flags = HAS_GENERATION};
SPLIT_STATUS_META(podgroup, schedulingv1alpha2_PodGroup)
static const struct strategy podgroup_strategy = {KIND("scheduling.k8s.io", "v1alpha2", "podgroups", schedulingv1alpha2_PodGroup_desc, podgroup), .flags = HAS_GENERATION, WITH_STATUS(podgroup)};

/* Upstream has a feature gate for coordinated leader election; here it is on where LeaseCandidates are served. Where it is off its fields are dropped unless they are in use already. */
static bool coordinated(void) {
    return resource_served(api_resource_find("coordination.k8s.io", "v1beta1", "leasecandidates", NULL)) || resource_served(api_resource_find("coordination.k8s.io", "v1alpha2", "leasecandidates", NULL));
}
static void lease_create(struct api_request *r UNUSED, void *obj) {
    struct coordinationv1_Lease *l = obj;
    if (!coordinated()) l->spec.strategy = l->spec.preferredHolder = NULL;
}
static void lease_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct coordinationv1_Lease *l = obj;
    const struct coordinationv1_Lease *old = old_obj;
    if (coordinated()) return;
    if (!old->spec.strategy) l->spec.strategy = NULL;
    if (!old->spec.preferredHolder) l->spec.preferredHolder = NULL;
}
/* Upstream's IsConfigMapKey: candidates are named by identities, "host_uuid". */
static void leasecandidate_name(struct arena *a, const char *name, bool prefix UNUSED, struct string_list *msgs) { name_config_map_key(a, name, msgs); }
static const char *const leasecandidate_fields[] = {"spec.leaseName", NULL};
static const char *leasecandidate_field(struct arena *a UNUSED, const void *obj, const char *name) {
    return str_eq(name, "spec.leaseName") ? str_or(((const struct coordinationv1beta1_LeaseCandidate *)obj)->spec.leaseName, "") : NULL;
}
static const struct strategy lease_strategy = {KIND("coordination.k8s.io", "v1", "leases", coordinationv1_Lease_desc, lease), .flags = NO_UNCONDITIONAL_UPDATE | META_GENERIC | CREATE_ON_UPDATE, .prepare_create = lease_create,
    .prepare_update = lease_update};
static const struct strategy leasecandidate_strategy = {KIND("coordination.k8s.io", "v1beta1", "leasecandidates", coordinationv1beta1_LeaseCandidate_desc, leasecandidate), .flags = NO_UNCONDITIONAL_UPDATE | META_GENERIC | CREATE_ON_UPDATE,
    .validate_name = leasecandidate_name, .selectable_fields = leasecandidate_fields, .field = leasecandidate_field};

/* The same objects as core's Events, under the new group's names. */
static const char *events_field(struct arena *a, const void *obj, const char *name) {
    if (str_has_prefix(name, "regarding.")) name = arena_printf(a, "involvedObject.%s", name + 10);
    else if (str_eq(name, "reportingController")) name = "reportingComponent";
    return event_strategy.field(a, obj, name);
}
static const char *const events_fields[] = {"regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion", "regarding.resourceVersion", "regarding.fieldPath",
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
    "reason", "reportingController", "reportingComponent", "source", "type", NULL};
static const struct strategy events_event_strategy = {KIND("events.k8s.io", "v1", "events", corev1_Event_desc, events_event), .flags = CREATE_ON_UPDATE | META_LATE, .selectable_fields = events_fields, .field = events_field};

/* ---- resource.k8s.io ---- */

SPLIT_STATUS_META(resourceclaim, resourcev1_ResourceClaim)

/* Access for administrators is to be had in namespaces that say so. Upstream: AuthorizedForAdmin, AuthorizedForAdminStatus. */
static void admin_namespace(struct api_request *r, const struct object *obj, const struct field_path *at, struct field_errors *errs) {
    static const char label[] = "resource.kubernetes.io/admin-access";
    _cleanup_status_ struct status err = STATUS_INIT;
    void *ns;
    if (registry_get(r, &namespace_strategy, NULL, obj->metadata.namespace, &ns, NULL, &err) != 0) field_internal_error(errs, at, "could not retrieve namespace to verify admin access: %s", status_message(&err));
    else if (!str_eq(string_map_get(&((const struct object *)ns)->metadata.labels, label), "true"))
        field_forbidden(errs, at, "admin access to devices requires the `%s: true` label on the containing namespace", label);
}
static void admin_requests(struct api_request *r, const struct object *obj, const struct resourcev1_ResourceClaimSpec *s, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(FIELD(NULL, "spec"), "devices"), "requests");
    for (size_t i = 0; i < s->devices.requests.len; i++) {
        const struct resourcev1_ExactDeviceRequest *e = s->devices.requests.items[i].exactly;
        if (!e || !e->adminAccess.has || !e->adminAccess.value) continue;
        admin_namespace(r, obj, FIELD(FIELD_INDEX(at, i), "adminAccess"), errs);
        return;
    }
}
/* The first result with such access; -1: none. */
static int admin_result(const struct resourcev1_AllocationResult *a) {
    for (size_t i = 0; a && i < a->devices.results.len; i++)
        if (a->devices.results.items[i].adminAccess.has && a->devices.results.items[i].adminAccess.value) return (int)i;
    return -1;
}
static void resourceclaim_context(struct api_request *r, const void *obj, const void *old, struct field_errors *errs) {
    const struct resourcev1_ResourceClaim *c = obj;
    const struct field_path *at = FIELD(FIELD(FIELD(FIELD(NULL, "status"), "allocation"), "devices"), "results");
    if (!old) {
        admin_requests(r, obj, &c->spec, errs);
        return;
    }
    int first = admin_result(c->status.allocation);
    if (first >= 0 && admin_result(((const struct resourcev1_ResourceClaim *)old)->status.allocation) < 0) admin_namespace(r, obj, FIELD(FIELD_INDEX(at, (size_t)first), "adminAccess"), errs);
}
static void resourceclaimtemplate_context(struct api_request *r, const void *obj, const void *old, struct field_errors *errs) {
    if (!old) admin_requests(r, obj, &((const struct resourcev1_ResourceClaimTemplate *)obj)->spec.spec, errs);
}

static bool is_result(const struct resourcev1_AllocationResult *a, const struct resourcev1_AllocatedDeviceStatus *d) {
    if (a)
        LIST_FOREACH(r, &a->devices.results)
            if (str_eq(r->driver, d->driver) && str_eq(r->pool, d->pool) && str_eq(r->device, d->device) && !r->shareID == !d->shareID && str_eq(r->shareID, d->shareID)) return true;
    return false;
}
/* What is said of devices that have just been given back is dropped. Upstream: dropDeallocatedStatusDevices. */
static void resourceclaim_status_update(struct api_request *r, void *obj, const void *old) {
    struct resourcev1_ResourceClaimStatus *s = &((struct resourcev1_ResourceClaim *)obj)->status;
    size_t kept = 0;
    resourceclaim_status(r, obj, old);
    for (size_t i = 0; i < s->devices.len; i++)
        if (is_result(s->allocation, &s->devices.items[i]) || !is_result(((const struct resourcev1_ResourceClaim *)old)->status.allocation, &s->devices.items[i])) s->devices.items[kept++] = s->devices.items[i];
    s->devices.len = kept;
    if (!kept) s->devices.items = NULL;
}
static const struct strategy resourceclaim_strategy = {KIND("resource.k8s.io", "v1", "resourceclaims", resourcev1_ResourceClaim_desc, resourceclaim), .flags = RETURN_DELETED_OBJECT | META_TWICE, .prepare_create = resourceclaim_create, .prepare_update = resourceclaim_update, .prepare_status_update = resourceclaim_status_update, .validate_in_context = resourceclaim_context,
    .validate_status_update = validate_resourceclaim_status};
static const struct strategy deviceclass_strategy = {KIND("resource.k8s.io", "v1", "deviceclasses", resourcev1_DeviceClass_desc, deviceclass), .flags = RETURN_DELETED_OBJECT | HAS_GENERATION | META_TWICE | META_PLAIN_PREFIX};
static const struct strategy resourceclaimtemplate_strategy = {KIND("resource.k8s.io", "v1", "resourceclaimtemplates", resourcev1_ResourceClaimTemplate_desc, resourceclaimtemplate), .flags = RETURN_DELETED_OBJECT | META_TWICE, .validate_in_context = resourceclaimtemplate_context};

static void slice_taint_times(struct api_request *r, void *obj) {
    LIST_FOREACH(d, &((struct resourcev1_ResourceSlice *)obj)->spec.devices)
        LIST_FOREACH(t, &d->taints)
            if (!t->timeAdded.set) t->timeAdded = time_from_s(env_now_s(apiserver_env(r->server)));
}
/* Behind gates that are off (DRAListTypeAttributes, DRANodeAllocatableResources): kept only where they are in use already. */
static bool has_lists(const struct resourcev1_DeviceAttribute *a) { return a->bools.items || a->ints.items || a->strings.items || a->versions.items; }
static bool uses_lists(const struct resourcev1_ResourceSlice *s) {
    LIST_FOREACH(d, &s->spec.devices)
        LIST_FOREACH(e, &d->attributes)
            if (has_lists(&e->value)) return true;
    return false;
}
static bool uses_mappings(const struct resourcev1_ResourceSlice *s) {
    LIST_FOREACH(d, &s->spec.devices)
        if (d->nodeAllocatableResourceMappings.len) return true;
    return false;
}
static void slice_drop(struct resourcev1_ResourceSlice *s, const struct resourcev1_ResourceSlice *old) {
    bool lists = old && uses_lists(old), mappings = old && uses_mappings(old);
    LIST_FOREACH(d, &s->spec.devices) {
        if (!mappings) memset(&d->nodeAllocatableResourceMappings, 0, sizeof(d->nodeAllocatableResourceMappings));
        LIST_FOREACH(e, &d->attributes) {
            if (lists) continue;
            memset(&e->value.bools, 0, sizeof(e->value.bools));
            memset(&e->value.ints, 0, sizeof(e->value.ints));
            e->value.strings = e->value.versions = (struct string_list){0};
        }
    }
}
static void slice_create(struct api_request *r, void *obj) {
    slice_taint_times(r, obj);
    slice_drop(obj, NULL);
}
static void slice_update(struct api_request *r, void *obj, const void *old) {
    slice_taint_times(r, obj);
    slice_drop(obj, old);
}
static const char *slice_field(struct arena *a UNUSED, const void *obj, const char *name) {
    const struct resourcev1_ResourceSliceSpec *s = &((const struct resourcev1_ResourceSlice *)obj)->spec;
    return str_eq(name, "spec.nodeName") ? s->nodeName : str_eq(name, "spec.driver") ? s->driver : NULL;
}
static const char *const slice_fields[] = {"spec.driver", "spec.nodeName", NULL};
static void slice_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const char *driver = str_or(((const struct resourcev1_ResourceSlice *)obj)->spec.driver, "");
    if (driver[strcspn(driver, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")]) request_warn(r, "spec.driver: driver names should be lowercase; \"%s\" contains uppercase characters", driver);
}
static const struct strategy resourceslice_strategy = {KIND("resource.k8s.io", "v1", "resourceslices", resourcev1_ResourceSlice_desc, resourceslice), .flags = RETURN_DELETED_OBJECT | HAS_GENERATION, .prepare_create = slice_create,
    .prepare_update = slice_update, .warnings = slice_warnings, .selectable_fields = slice_fields, .field = slice_field};

SPLIT_STATUS_META(devicetaintrule, resourcev1alpha3_DeviceTaintRule)
static const struct strategy devicetaintrule_strategy = {KIND("resource.k8s.io", "v1alpha3", "devicetaintrules", resourcev1alpha3_DeviceTaintRule_desc, devicetaintrule), .flags = RETURN_DELETED_OBJECT | HAS_GENERATION,
    WITH_STATUS(devicetaintrule), .validate_status_update = validate_devicetaintrule_status};

/* ---- flowcontrol.apiserver.k8s.io ---- */

SPLIT_STATUS_META(flowschema, flowcontrolv1_FlowSchema)
static const struct strategy flowschema_strategy = {KIND("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", flowcontrolv1_FlowSchema_desc, flowschema), .flags = HAS_GENERATION | META_ONLY | META_STATUS_ALIKE, WITH_STATUS(flowschema),
    .validate_status_update = validate_flowschema_status};
SPLIT_STATUS_META(prioritylevel, flowcontrolv1_PriorityLevelConfiguration)
static const struct strategy prioritylevel_strategy = {KIND("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations", flowcontrolv1_PriorityLevelConfiguration_desc, prioritylevel), .flags = HAS_GENERATION | META_ONLY | META_STATUS_ALIKE,
    WITH_STATUS(prioritylevel), .validate_status_update = validate_prioritylevel_status};

/* ---- admissionregistration.k8s.io ---- */

static void static_suffix_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    static const char suffix[] = ".static.k8s.io";
    if (str_has_suffix(str_or(((const struct object *)obj)->metadata.name, ""), suffix))
        request_warn(r, "metadata.name: names ending with \"%s\" are reserved for static manifest-based configurations and cannot be managed via the API", suffix);
}

SPLIT_STATUS_META(vap, admissionregistrationv1_ValidatingAdmissionPolicy)
static const struct strategy vap_strategy = {KIND("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", admissionregistrationv1_ValidatingAdmissionPolicy_desc, vap), .flags = HAS_GENERATION | NO_UNCONDITIONAL_UPDATE | META_GENERIC | META_ONLY | META_STATUS_ALIKE,
    WITH_STATUS(vap), .validate_status_update = validate_vap_status, .warnings = static_suffix_warnings};
static const struct strategy vapbinding_strategy = {KIND("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", admissionregistrationv1_ValidatingAdmissionPolicyBinding_desc, vapbinding),
    .flags = HAS_GENERATION | NO_UNCONDITIONAL_UPDATE | META_GENERIC | META_ONLY, .warnings = static_suffix_warnings};
static const struct strategy map_strategy = {KIND("admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicies", admissionregistrationv1beta1_MutatingAdmissionPolicy_desc, map), .flags = HAS_GENERATION | NO_UNCONDITIONAL_UPDATE | META_GENERIC | META_ONLY | META_STATUS_ALIKE, .warnings = static_suffix_warnings};
static const struct strategy mapbinding_strategy = {KIND("admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicybindings", admissionregistrationv1beta1_MutatingAdmissionPolicyBinding_desc, mapbinding),
    .flags = HAS_GENERATION | NO_UNCONDITIONAL_UPDATE | META_GENERIC | META_ONLY, .warnings = static_suffix_warnings};

static void vwebhooks_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct admissionregistrationv1_ValidatingWebhookConfiguration *c = obj;
    struct admissionregistrationv1_ValidatingWebhookConfiguration old = *(const struct admissionregistrationv1_ValidatingWebhookConfiguration *)old_obj;
    old.metadata = c->metadata;
    if (!object_equal(&admissionregistrationv1_ValidatingWebhookConfiguration_desc, c, &old)) c->metadata.generation++;
}
static void mwebhooks_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct admissionregistrationv1_MutatingWebhookConfiguration *c = obj;
    struct admissionregistrationv1_MutatingWebhookConfiguration old = *(const struct admissionregistrationv1_MutatingWebhookConfiguration *)old_obj;
    old.metadata = c->metadata;
    if (!object_equal(&admissionregistrationv1_MutatingWebhookConfiguration_desc, c, &old)) c->metadata.generation++;
}
static const struct strategy vwebhooks_strategy = {KIND("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", admissionregistrationv1_ValidatingWebhookConfiguration_desc, vwebhooks),
    .flags = HAS_GENERATION | NO_UNCONDITIONAL_UPDATE | META_GENERIC | META_ONLY, .prepare_update = vwebhooks_update, .warnings = static_suffix_warnings};
static const struct strategy mwebhooks_strategy = {KIND("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", admissionregistrationv1_MutatingWebhookConfiguration_desc, mwebhooks),
    .flags = HAS_GENERATION | NO_UNCONDITIONAL_UPDATE | META_GENERIC | META_ONLY, .prepare_update = mwebhooks_update, .warnings = static_suffix_warnings};

/* ---- apiregistration.k8s.io ---- */

static void apiservice_local(struct api_request *r, struct apiregistrationv1_APIService *s) {
    if (s->spec.service || s->status.conditions.len) return; /* what this server serves itself is always available */
    *LIST_PUSH(r->arena, &s->status.conditions) = (struct apiregistrationv1_APIServiceCondition){.type = "Available", .status = "True", .lastTransitionTime = time_from_s(env_now_s(apiserver_env(r->server))), .reason = "Local", .message = "Local APIServices are always available"};
}
static void apiservice_create(struct api_request *r, void *obj) {
    struct apiregistrationv1_APIService *s = obj;
    memset(&s->status, 0, sizeof(s->status));
    apiservice_local(r, s);
}
static void apiservice_update(struct api_request *r UNUSED, void *obj, const void *old) { ((struct apiregistrationv1_APIService *)obj)->status = ((const struct apiregistrationv1_APIService *)old)->status; }
static void apiservice_status(struct api_request *r UNUSED, void *obj, const void *old) {
    ((struct apiregistrationv1_APIService *)obj)->spec = ((const struct apiregistrationv1_APIService *)old)->spec;
    keep_meta(obj, old);
}
static const struct strategy apiservice_strategy = {KIND("apiregistration.k8s.io", "v1", "apiservices", apiregistrationv1_APIService_desc, apiservice), .storage_prefix = "/registry/apiregistration.k8s.io/apiservices",
    .flags = NO_UNCONDITIONAL_UPDATE | META_GENERIC | META_TWICE | META_STATUS_ALIKE, .validate_name = object_name_any, WITH_STATUS(apiservice), .validate_status_update = validate_apiservice_status};

/* ---- certificates.k8s.io: CertificateSigningRequests are in certificates.c ---- */

static const char *const bundle_fields[] = {"spec.signerName", NULL};
static const char *bundle_field(struct arena *a UNUSED, const void *obj, const char *name) { return str_eq(name, "spec.signerName") ? ((const struct certificatesv1beta1_ClusterTrustBundle *)obj)->spec.signerName : NULL; }
static const struct strategy clustertrustbundle_strategy = {KIND("certificates.k8s.io", "v1beta1", "clustertrustbundles", certificatesv1beta1_ClusterTrustBundle_desc, clustertrustbundle), .flags = NO_UNCONDITIONAL_UPDATE | META_TWICE,
    .validate_name = object_name_any, .selectable_fields = bundle_fields, .field = bundle_field};

SPLIT_STATUS_META(podcertificaterequest, certificatesv1beta1_PodCertificateRequest)
static const char *podcertificate_field(struct arena *a UNUSED, const void *obj, const char *name) {
    const struct certificatesv1beta1_PodCertificateRequestSpec *s = &((const struct certificatesv1beta1_PodCertificateRequest *)obj)->spec;
    return str_eq(name, "spec.signerName") ? s->signerName : str_eq(name, "spec.podName") ? s->podName : str_eq(name, "spec.nodeName") ? s->nodeName : NULL;
}
static const char *const podcertificate_fields[] = {"spec.signerName", "spec.podName", "spec.nodeName", NULL};
static const struct strategy podcertificaterequest_strategy = {KIND("certificates.k8s.io", "v1beta1", "podcertificaterequests", certificatesv1beta1_PodCertificateRequest_desc, podcertificaterequest), .flags = NO_UNCONDITIONAL_UPDATE,
    WITH_STATUS(podcertificaterequest), .selectable_fields = podcertificate_fields, .field = podcertificate_field};

/* ---- storagemigration.k8s.io, internal.apiserver.k8s.io ---- */

SPLIT_STATUS_META(svm, storagemigrationv1beta1_StorageVersionMigration)
static const struct strategy svm_strategy = {KIND("storagemigration.k8s.io", "v1beta1", "storageversionmigrations", storagemigrationv1beta1_StorageVersionMigration_desc, svm), .flags = NO_UNCONDITIONAL_UPDATE, WITH_STATUS(svm),
    .validate_status_update = validate_svm_status};

SPLIT_STATUS_META(storageversion, apiserverinternalv1alpha1_StorageVersion)
static const struct strategy storageversion_strategy = {KIND("internal.apiserver.k8s.io", "v1alpha1", "storageversions", apiserverinternalv1alpha1_StorageVersion_desc, storageversion), .flags = NO_UNCONDITIONAL_UPDATE,
    WITH_STATUS(storageversion), .validate_status_update = validate_storageversion_status};

const struct strategy *const group_strategies[] = {
    &networkpolicy_strategy, &ingress_strategy, &ingressclass_strategy, &ipaddress_strategy, &servicecidr_strategy, &endpointslice_strategy, &pdb_strategy, &hpa_strategy, &storageclass_strategy, &volumeattributesclass_strategy,
    &csidriver_strategy, &csinode_strategy, &volumeattachment_strategy, &csistoragecapacity_strategy, &runtimeclass_strategy, &priorityclass_strategy, &workload_strategy, &podgroup_strategy, &lease_strategy, &leasecandidate_strategy,
    &events_event_strategy, &resourceclaim_strategy, &deviceclass_strategy, &resourceclaimtemplate_strategy, &resourceslice_strategy, &devicetaintrule_strategy, &flowschema_strategy, &prioritylevel_strategy, &vap_strategy,
    &vapbinding_strategy, &map_strategy, &mapbinding_strategy, &vwebhooks_strategy, &mwebhooks_strategy, &apiservice_strategy, &clustertrustbundle_strategy, &podcertificaterequest_strategy, &svm_strategy,
    &storageversion_strategy};
const size_t group_strategies_len = ARRAY_LEN(group_strategies);
