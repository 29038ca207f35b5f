/* Strategies of core/v1 but Pods and Services. Upstream: pkg/registry/core. */
#include <string.h>
#include "api/names.h"
#include "api/quantity.h"
#include "api/time.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/warnings.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"
#include "wire/x509_key_pair.h"

/* ---- ConfigMap, Secret ---- */

const struct strategy configmap_strategy = {.group = "", .version = "v1", .resource = "configmaps", .type = &corev1_ConfigMap_desc, .flags = META_TWICE, .validate = validate_configmap, .validate_update = validate_configmap_update};

static const char *secret_field(struct arena *a UNUSED, const void *obj, const char *name) { return strcmp(name, "type") == 0 ? ((const struct corev1_Secret *)obj)->type : NULL; }

static void secret_prepare_update(struct api_request *r UNUSED, void *obj, const void *old) {
    struct corev1_Secret *s = obj;
    if (str_empty(s->type)) s->type = ((const struct corev1_Secret *)old)->type;
}

/* A TLS secret ought to hold a certificate and its key. */
static void secret_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct corev1_Secret *s = obj;
    struct bytes cert = {0}, key = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!str_eq(s->type, "kubernetes.io/tls")) return;
    LIST_FOREACH(e, &s->data) {
        if (strcmp(e->key, "tls.crt") == 0) cert = e->value;
        if (strcmp(e->key, "tls.key") == 0) key = e->value;
    }
    if (x509_key_pair_check(cert.data, cert.len, key.data, key.len, &err) != 0) request_warn(r, "%s", status_message(&err));
}

static const char *const secret_fields[] = {"type", NULL};
const struct strategy secret_strategy = {.group = "", .version = "v1", .resource = "secrets", .type = &corev1_Secret_desc, .flags = META_TWICE, .warnings = secret_warnings, .prepare_update = secret_prepare_update,
    .validate = validate_secret, .validate_update = validate_secret_update, .selectable_fields = secret_fields, .field = secret_field};

/* ---- Namespace ---- */

static void namespace_prepare_create(struct api_request *r, void *obj) {
    struct corev1_Namespace *ns = obj;
    ns->status = (struct corev1_NamespaceStatus){.phase = "Active"};
    if (!string_list_has(&ns->spec.finalizers, "kubernetes")) string_list_push(r->arena, &ns->spec.finalizers, "kubernetes");
}

static void namespace_prepare_update(struct api_request *r UNUSED, void *obj, const void *old) {
    struct corev1_Namespace *ns = obj;
    ns->spec.finalizers = ((const struct corev1_Namespace *)old)->spec.finalizers;
    ns->status = ((const struct corev1_Namespace *)old)->status;
}

static void namespace_prepare_finalize(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_Namespace *)obj)->status = ((const struct corev1_Namespace *)old)->status; }
static void namespace_prepare_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_Namespace *)obj)->spec = ((const struct corev1_Namespace *)old)->spec; }

static const char *namespace_field(struct arena *a UNUSED, const void *obj, const char *name) { return strcmp(name, "status.phase") == 0 ? ((const struct corev1_Namespace *)obj)->status.phase : NULL; }

static const char *const namespace_fields[] = {"status.phase", NULL};
const struct strategy namespace_strategy = {.group = "", .version = "v1", .resource = "namespaces", .type = &corev1_Namespace_desc, .flags = RETURN_DELETED_OBJECT | META_TWICE, .validate_name = object_name_dns_label,
    .prepare_create = namespace_prepare_create, .prepare_update = namespace_prepare_update, .prepare_status_update = namespace_prepare_status, .validate = validate_namespace,
    .validate_update = validate_namespace_update, .validate_status_update = validate_namespace_status_update, .selectable_fields = namespace_fields, .field = namespace_field};
/* namespaces/finalize: all but the status may be written, the spec's finalizers too. */
const struct strategy namespace_finalize_strategy = {.group = "", .version = "v1", .resource = "namespaces", .type = &corev1_Namespace_desc, .prepare_update = namespace_prepare_finalize,
    .validate_update = validate_namespace_finalize_update};

/* ---- Node ---- */

/* A node's configuration from a ConfigMap is gone from Kubernetes: only what still bears one keeps it. */
static void node_prepare_create(struct api_request *r UNUSED, void *obj) {
    struct corev1_Node *n = obj;
    n->spec.configSource = NULL;
    n->status.config = NULL;
}
static void node_prepare_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct corev1_Node *n = obj;
    const struct corev1_Node *old = old_obj;
    n->status = old->status;
    if (!old->spec.configSource) n->spec.configSource = NULL;
}
static void node_prepare_status(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct corev1_Node *n = obj;
    const struct corev1_Node *old = old_obj;
    n->spec = old->spec;
    if (!old->status.config) n->status.config = NULL;
}
static void node_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct corev1_Node *n = obj;
    if (n->spec.configSource) request_warn(r, "spec.configSource: the feature is removed");
    if (!str_empty(n->spec.externalID)) request_warn(r, "spec.externalID: this field is deprecated, and is unused by Kubernetes");
    for (size_t i = 0; i < n->spec.podCIDRs.len; i++) cidr_warnings(r->arena, n->spec.podCIDRs.items[i], FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "podCIDRs"), i), &r->warnings);
}
static const char *node_field(struct arena *a UNUSED, const void *obj, const char *name) {
    return strcmp(name, "spec.unschedulable") == 0 ? (((const struct corev1_Node *)obj)->spec.unschedulable ? "true" : "false") : NULL;
}
static const char *const node_fields[] = {"spec.unschedulable", NULL};
const struct strategy node_strategy = {.group = "", .version = "v1", .resource = "nodes", .type = &corev1_Node_desc, .storage_prefix = "/registry/minions", .prepare_create = node_prepare_create,
    .prepare_update = node_prepare_update, .prepare_status_update = node_prepare_status, .validate = validate_node, .validate_update = validate_node_update, .flags = META_TWICE,
    .validate_status_update = validate_node_status_update, .warnings = node_warnings, .selectable_fields = node_fields, .field = node_field};

/* ---- Endpoints, Event, ServiceAccount ---- */

static void addresses_warnings(struct api_request *r, const struct corev1_EndpointAddress_list *list, const struct field_path *at) {
    for (size_t i = 0; i < list->len; i++) ip_warnings(r->arena, list->items[i].ip, FIELD(FIELD_INDEX(at, i), "ip"), &r->warnings);
}
/* The controller's own are well-formed. */
static void endpoints_warnings(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct corev1_Endpoints *e = obj;
    if (str_eq(string_map_get(&e->metadata.labels, "endpoints.kubernetes.io/managed-by"), "endpoint-controller")) return;
    for (size_t i = 0; i < e->subsets.len; i++) {
        const struct field_path *at = FIELD_INDEX(FIELD(NULL, "subsets"), i);
        addresses_warnings(r, &e->subsets.items[i].addresses, FIELD(at, "addresses"));
        addresses_warnings(r, &e->subsets.items[i].notReadyAddresses, FIELD(at, "notReadyAddresses"));
    }
}
const struct strategy endpoints_strategy = {.group = "", .version = "v1", .resource = "endpoints", .type = &corev1_Endpoints_desc, .storage_prefix = "/registry/services/endpoints",
    .flags = CREATE_ON_UPDATE | META_TWICE, .validate = validate_endpoints, .validate_update = validate_endpoints_update, .warnings = endpoints_warnings};

static const char *event_field(struct arena *a UNUSED, const void *obj, const char *name) {
    const struct corev1_Event *e = obj;
    const struct { const char *name, *value; } fields[] = {
        {"involvedObject.kind", e->involvedObject.kind}, {"involvedObject.namespace", e->involvedObject.namespace}, {"involvedObject.name", e->involvedObject.name},
        {"involvedObject.uid", e->involvedObject.uid}, {"involvedObject.apiVersion", e->involvedObject.apiVersion}, {"involvedObject.resourceVersion", e->involvedObject.resourceVersion},
        {"involvedObject.fieldPath", e->involvedObject.fieldPath}, {"reason", e->reason}, {"reportingComponent", str_or(e->reportingComponent, e->source.component)},
        {"source", str_or(e->source.component, e->reportingComponent)}, {"type", e->type}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].name, name) == 0) return fields[i].value;
    return NULL;
}
static const char *const event_fields[] = {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
    "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type", NULL};
const struct strategy event_strategy = {.group = "", .version = "v1", .resource = "events", .type = &corev1_Event_desc, .flags = CREATE_ON_UPDATE | META_LATE, .validate = validate_event, .validate_update = validate_event_update,
    .selectable_fields = event_fields, .field = event_field};

static void serviceaccount_warnings(struct api_request *r, const void *obj, const void *old) {
    static const char enforce[] = "kubernetes.io/enforce-mountable-secrets";
    if (old && string_map_has(&((const struct object *)old)->metadata.annotations, enforce)) return;
    if (string_map_has(&((const struct object *)obj)->metadata.annotations, enforce))
        request_warn(r, "metadata.annotations[%s]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets", enforce);
}
/* Of references to Secrets the names alone are kept. Upstream: cleanSecretReferences. */
static void serviceaccount_create(struct api_request *r UNUSED, void *obj) {
    LIST_FOREACH(s, &((struct corev1_ServiceAccount *)obj)->secrets) *s = (struct corev1_ObjectReference){.name = s->name};
}
static void serviceaccount_update(struct api_request *r, void *obj, const void *old UNUSED) { serviceaccount_create(r, obj); }
const struct strategy serviceaccount_strategy = {.group = "", .version = "v1", .resource = "serviceaccounts", .prepare_create = serviceaccount_create, .prepare_update = serviceaccount_update, .warnings = serviceaccount_warnings,
    .type = &corev1_ServiceAccount_desc, .flags = RETURN_DELETED_OBJECT | META_TWICE};

/* ---- the rest: status is apart, spec makes the generation ---- */

#define SPLIT_STATUS(name, T)                                                                                                                  \
    static void name##_prepare_create(struct api_request *r UNUSED, void *obj) { memset(&((struct T *)obj)->status, 0, sizeof(((struct T *)obj)->status)); } \
    static void name##_prepare_update(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->status = ((const struct T *)old)->status; } \
    static void name##_prepare_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->spec = ((const struct T *)old)->spec; }

SPLIT_STATUS(quota, corev1_ResourceQuota)
/* Requests that are more than the limits. */
static void quota_warnings(struct api_request *r, const void *obj, const void *old) {
    static const char *const names[] = {"cpu", "memory", "storage", "ephemeral-storage"};
    const struct string_map *hard = &((const struct corev1_ResourceQuota *)obj)->spec.hard;
    for (size_t i = 0; !old && i < ARRAY_LEN(names); i++) {
        const char *request = arena_printf(r->arena, "requests.%s", names[i]), *limit = arena_printf(r->arena, "limits.%s", names[i]);
        if (!string_map_has(hard, request) && i < 2) request = names[i]; /* cpu and memory by their bare names too */
        const char *low = string_map_get(hard, request), *high = string_map_get(hard, limit);
        if (low && high && quantity_text_cmp(low, high) > 0) request_warn(r, "ResourceQuota %s (%s) should be less than %s (%s)", request, low, limit, high);
    }
}
const struct strategy resourcequota_strategy = {.group = "", .version = "v1", .resource = "resourcequotas", .type = &corev1_ResourceQuota_desc, .flags = RETURN_DELETED_OBJECT, .prepare_create = quota_prepare_create,
    .prepare_update = quota_prepare_update, .prepare_status_update = quota_prepare_status, .validate = validate_resource_quota, .validate_update = validate_resource_quota_update,
    .validate_status_update = validate_resource_quota_status_update, .warnings = quota_warnings};

SPLIT_STATUS(pvc, corev1_PersistentVolumeClaim)
/* A source of another namespace is behind a gate that is off; of old sources only claims and snapshots are kept, and each of the two fields fills the other. */
static void pvc_data_sources(struct arena *a, struct corev1_PersistentVolumeClaimSpec *s, const struct corev1_PersistentVolumeClaimSpec *old) {
    if (s->dataSourceRef && !str_empty(s->dataSourceRef->namespace) && !(old && old->dataSourceRef)) s->dataSourceRef = NULL;
    bool in_use = old && (old->dataSource || old->dataSourceRef);
    if (!in_use && !s->dataSourceRef && s->dataSource) {
        bool claim = str_eq(s->dataSource->kind, "PersistentVolumeClaim") && str_empty(s->dataSource->apiGroup);
        bool snapshot = str_eq(s->dataSource->kind, "VolumeSnapshot") && str_eq(s->dataSource->apiGroup, "snapshot.storage.k8s.io");
        if (!claim && !snapshot) s->dataSource = NULL;
    }
    if (s->dataSource && !s->dataSourceRef) {
        s->dataSourceRef = ARENA_NEW(a, struct corev1_TypedObjectReference);
        *s->dataSourceRef = (struct corev1_TypedObjectReference){.apiGroup = s->dataSource->apiGroup, .kind = s->dataSource->kind, .name = s->dataSource->name};
    } else if (s->dataSourceRef && !s->dataSource && str_empty(s->dataSourceRef->namespace)) {
        s->dataSource = ARENA_NEW(a, struct corev1_TypedLocalObjectReference);
        *s->dataSource = (struct corev1_TypedLocalObjectReference){.apiGroup = s->dataSourceRef->apiGroup, .kind = s->dataSourceRef->kind, .name = s->dataSourceRef->name};
    }
}
static void pvc_create(struct api_request *r, void *obj) {
    struct corev1_PersistentVolumeClaim *c = obj;
    pvc_prepare_create(r, obj);
    c->status.phase = "Pending";
    pvc_data_sources(r->arena, &c->spec, NULL);
}
static void pvc_update(struct api_request *r, void *obj, const void *old) {
    pvc_prepare_update(r, obj, old);
    pvc_data_sources(r->arena, &((struct corev1_PersistentVolumeClaim *)obj)->spec, &((const struct corev1_PersistentVolumeClaim *)old)->spec);
}
static void pvc_warnings(struct api_request *r, const void *obj, const void *old UNUSED) { persistent_volume_claim_warnings(r->arena, obj, &r->warnings); }
const struct strategy persistentvolumeclaim_strategy = {.group = "", .version = "v1", .resource = "persistentvolumeclaims", .type = &corev1_PersistentVolumeClaim_desc, .flags = RETURN_DELETED_OBJECT | META_TWICE,
    .prepare_create = pvc_create, .prepare_update = pvc_update, .prepare_status_update = pvc_prepare_status, .validate = validate_persistent_volume_claim, .validate_update = validate_persistent_volume_claim_update,
    .validate_status_update = validate_persistent_volume_claim_status_update, .warnings = pvc_warnings};

SPLIT_STATUS(pv, corev1_PersistentVolume)
static void pv_create(struct api_request *r, void *obj) {
    struct corev1_PersistentVolume *pv = obj;
    pv_prepare_create(r, obj);
    pv->status.phase = "Pending";
    pv->status.lastPhaseTransitionTime = time_from_s(env_now_s(apiserver_env(r->server)));
}
static void pv_status(struct api_request *r, void *obj, const void *old_obj) {
    struct corev1_PersistentVolume *pv = obj;
    const struct corev1_PersistentVolume *old = old_obj;
    struct api_time *now = &pv->status.lastPhaseTransitionTime;
    const struct api_time *before = &old->status.lastPhaseTransitionTime;
    bool same_time = now->set == before->set && now->sec == before->sec, moved = !str_eq(pv->status.phase, old->status.phase);
    pv_prepare_status(r, obj, old);
    if (!moved && !now->set) *now = *before;
    else if (moved && (!now->set || same_time)) *now = time_from_s(env_now_s(apiserver_env(r->server)));
}
static void pv_warnings(struct api_request *r, const void *obj, const void *old UNUSED) { persistent_volume_warnings(r->arena, obj, &r->warnings); }
const struct strategy persistentvolume_strategy = {.group = "", .version = "v1", .resource = "persistentvolumes", .type = &corev1_PersistentVolume_desc, .flags = RETURN_DELETED_OBJECT | META_ONLY | META_THRICE, .prepare_create = pv_create,
    .prepare_update = pv_prepare_update, .prepare_status_update = pv_status, .validate = validate_persistent_volume, .validate_update = validate_persistent_volume_update, .warnings = pv_warnings};

/* The only kind that names itself. */
static void limitrange_create(struct api_request *r, void *obj) {
    struct metav1_ObjectMeta *m = &((struct object *)obj)->metadata;
    char uuid[37];
    if (!str_empty(m->name)) return;
    env_uuid(apiserver_env(r->server), uuid);
    m->name = arena_strdup(r->arena, uuid);
}
const struct strategy limitrange_strategy = {.group = "", .version = "v1", .resource = "limitranges", .type = &corev1_LimitRange_desc, .flags = CREATE_ON_UPDATE | META_ONLY, .prepare_create = limitrange_create, .validate = validate_limit_range, .validate_update = validate_limit_range_update};

/* ---- PodTemplate: its template makes the generation ---- */

static void podtemplate_create(struct api_request *r UNUSED, void *obj) { pod_spec_drop_disabled(&((struct corev1_PodTemplate *)obj)->template.spec, NULL); }
static void podtemplate_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct corev1_PodTemplate *t = obj;
    const struct corev1_PodTemplate *old = old_obj;
    pod_spec_drop_disabled(&t->template.spec, &old->template.spec);
    if (!object_equal(&corev1_PodTemplateSpec_desc, &t->template, &old->template)) t->metadata.generation = old->metadata.generation + 1;
}
static void podtemplate_validate(const void *obj, struct field_errors *errs) { validate_pod_template(&((const struct corev1_PodTemplate *)obj)->template, FIELD(NULL, "template"), errs); }
static void podtemplate_validate_update(const void *obj, const void *old UNUSED, struct field_errors *errs) { podtemplate_validate(obj, errs); }
static void podtemplate_warnings(struct api_request *r, const void *obj, const void *old) {
    const struct corev1_PodTemplate *t = obj;
    if (!old || t->metadata.generation != ((const struct object *)old)->metadata.generation) pod_warnings(r->arena, &t->template.spec, &t->template.metadata, FIELD(NULL, "template"), &r->warnings);
}
const struct strategy podtemplate_strategy = {.group = "", .version = "v1", .resource = "podtemplates", .type = &corev1_PodTemplate_desc, .flags = RETURN_DELETED_OBJECT | HAS_GENERATION,
    .prepare_create = podtemplate_create, .prepare_update = podtemplate_update, .validate = podtemplate_validate, .validate_update = podtemplate_validate_update, .warnings = podtemplate_warnings};
