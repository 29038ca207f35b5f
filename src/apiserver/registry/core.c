/* Strategies of core/v1 but Pods and Services. Upstream: pkg/registry/core. */
#include <string.h>
#include "api/names.h"
#include "api/time.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/warnings.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

/* ---- ConfigMap, Secret ---- */

const struct strategy configmap_strategy = {.group = "", .version = "v1", .resource = "configmaps", .type = &corev1_ConfigMap_desc, .flags = META_TWICE, .validate = validate_configmap, .validate_update = validate_configmap_update};

static const char *secret_field(struct arena *a UNUSED, const void *obj, const char *name) { return strcmp(name, "type") == 0 ? ((const struct corev1_Secret *)obj)->type : NULL; }

static void secret_prepare_update(struct api_request *r UNUSED, void *obj, const void *old) {
    struct corev1_Secret *s = obj;
    if (str_empty(s->type)) s->type = ((const struct corev1_Secret *)old)->type;
}

static const char *const secret_fields[] = {"type", NULL};
const struct strategy secret_strategy = {.group = "", .version = "v1", .resource = "secrets", .type = &corev1_Secret_desc, .prepare_update = secret_prepare_update,
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

static void namespace_prepare_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_Namespace *)obj)->spec = ((const struct corev1_Namespace *)old)->spec; }

static const char *namespace_field(struct arena *a UNUSED, const void *obj, const char *name) { return strcmp(name, "status.phase") == 0 ? ((const struct corev1_Namespace *)obj)->status.phase : NULL; }

static const char *const namespace_fields[] = {"status.phase", NULL};
const struct strategy namespace_strategy = {.group = "", .version = "v1", .resource = "namespaces", .type = &corev1_Namespace_desc, .flags = RETURN_DELETED_OBJECT, .validate_name = object_name_dns_label,
    .prepare_create = namespace_prepare_create, .prepare_update = namespace_prepare_update, .prepare_status_update = namespace_prepare_status,
    .selectable_fields = namespace_fields, .field = namespace_field};

/* namespaces/finalize: the only way to change spec.finalizers. */
static void namespace_prepare_finalize(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_Namespace *)obj)->status = ((const struct corev1_Namespace *)old)->status; }

static void namespace_validate_finalize(const void *obj, const void *old UNUSED, struct field_errors *errs) {
    const struct corev1_Namespace *ns = obj;
    for (size_t i = 0; i < ns->spec.finalizers.len; i++) {
        struct string_list msgs = {0};
        name_qualified(errs->arena, ns->spec.finalizers.items[i], &msgs);
        LIST_FOREACH(m, &msgs) field_invalid(errs, FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "finalizers"), i), ns->spec.finalizers.items[i], "%s", *m);
    }
}

const struct strategy namespace_finalize_strategy = {.group = "", .version = "v1", .resource = "namespaces", .type = &corev1_Namespace_desc, .flags = RETURN_DELETED_OBJECT,
    .validate_name = object_name_dns_label, .prepare_update = namespace_prepare_finalize, .validate_update = namespace_validate_finalize};

/* ---- Node ---- */

static void node_prepare_update(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_Node *)obj)->status = ((const struct corev1_Node *)old)->status; }
static void node_prepare_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_Node *)obj)->spec = ((const struct corev1_Node *)old)->spec; }
static const char *node_field(struct arena *a UNUSED, const void *obj, const char *name) {
    return strcmp(name, "spec.unschedulable") == 0 ? (((const struct corev1_Node *)obj)->spec.unschedulable ? "true" : "false") : NULL;
}
static const char *const node_fields[] = {"spec.unschedulable", NULL};
const struct strategy node_strategy = {.group = "", .version = "v1", .resource = "nodes", .type = &corev1_Node_desc, .storage_prefix = "/registry/minions", .prepare_update = node_prepare_update,
    .prepare_status_update = node_prepare_status, .validate = validate_node, .validate_update = validate_node_update, .selectable_fields = node_fields, .field = node_field};

/* ---- Endpoints, Event, ServiceAccount ---- */

const struct strategy endpoints_strategy = {.group = "", .version = "v1", .resource = "endpoints", .type = &corev1_Endpoints_desc, .storage_prefix = "/registry/services/endpoints", .flags = CREATE_ON_UPDATE};

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
const struct strategy event_strategy = {.group = "", .version = "v1", .resource = "events", .type = &corev1_Event_desc, .flags = CREATE_ON_UPDATE, .selectable_fields = event_fields, .field = event_field};

const struct strategy serviceaccount_strategy = {.group = "", .version = "v1", .resource = "serviceaccounts", .type = &corev1_ServiceAccount_desc, .flags = RETURN_DELETED_OBJECT};

/* ---- the rest: status is apart, spec makes the generation ---- */

#define SPLIT_STATUS(name, T)                                                                                                                  \
    static void name##_prepare_create(struct api_request *r UNUSED, void *obj) { memset(&((struct T *)obj)->status, 0, sizeof(((struct T *)obj)->status)); } \
    static void name##_prepare_update(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->status = ((const struct T *)old)->status; } \
    static void name##_prepare_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->spec = ((const struct T *)old)->spec; }

SPLIT_STATUS(quota, corev1_ResourceQuota)
const struct strategy resourcequota_strategy = {.group = "", .version = "v1", .resource = "resourcequotas", .type = &corev1_ResourceQuota_desc, .flags = RETURN_DELETED_OBJECT, .prepare_create = quota_prepare_create,
    .prepare_update = quota_prepare_update, .prepare_status_update = quota_prepare_status, .validate = validate_resource_quota, .validate_update = validate_resource_quota_update,
    .validate_status_update = validate_resource_quota_status_update};

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
static const char *name_field(struct arena *a UNUSED, const void *obj, const char *name) { return strcmp(name, "name") == 0 ? ((const struct object *)obj)->metadata.name : NULL; }
static const char *const name_fields[] = {"name", NULL};
const struct strategy persistentvolumeclaim_strategy = {.group = "", .version = "v1", .resource = "persistentvolumeclaims", .type = &corev1_PersistentVolumeClaim_desc, .flags = RETURN_DELETED_OBJECT,
    .prepare_create = pvc_create, .prepare_update = pvc_update, .prepare_status_update = pvc_prepare_status, .validate = validate_persistent_volume_claim, .validate_update = validate_persistent_volume_claim_update,
    .validate_status_update = validate_persistent_volume_claim_status_update, .warnings = pvc_warnings, .selectable_fields = name_fields, .field = name_field};

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
const struct strategy persistentvolume_strategy = {.group = "", .version = "v1", .resource = "persistentvolumes", .type = &corev1_PersistentVolume_desc, .flags = RETURN_DELETED_OBJECT, .prepare_create = pv_create,
    .prepare_update = pv_prepare_update, .prepare_status_update = pv_status, .validate = validate_persistent_volume, .validate_update = validate_persistent_volume_update, .warnings = pv_warnings,
    .selectable_fields = name_fields, .field = name_field};

const struct strategy limitrange_strategy = {.group = "", .version = "v1", .resource = "limitranges", .type = &corev1_LimitRange_desc, .validate = validate_limit_range, .validate_update = validate_limit_range_update};
const struct strategy podtemplate_strategy = {.group = "", .version = "v1", .resource = "podtemplates", .type = &corev1_PodTemplate_desc, .flags = RETURN_DELETED_OBJECT};
