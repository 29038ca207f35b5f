/* PersistentVolumes and claims of them. Tests: tests/unit/test_validation_storage.c. */
#include <string.h>
#include "api/names.h"
#include "api/quantity.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_scheduling.h"
#include "api/validation/volume_sources.h"
#include "base/str.h"

enum { ISCSI_NAME_MAX = 64 };

static const char *const access_modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", NULL};
static const char *const volume_modes[] = {"Block", "Filesystem", NULL};
static const char beta_storage_class[] = "volume.beta.kubernetes.io/storage-class";

static void validate_access_modes(const struct string_list *modes, const struct field_path *at, struct field_errors *errs) {
    bool once_pod = false, other = false;
    for (size_t i = 0; i < modes->len; i++) {
        bool known = str_in(modes->items[i], access_modes);
        if (!known) field_not_supported(errs, at, modes->items[i], access_modes);
        if (str_eq(modes->items[i], "ReadWriteOncePod")) once_pod = true;
        else if (known) other = true;
    }
    if (once_pod && other) field_forbidden(errs, at, "may not use ReadWriteOncePod with other access modes");
}

static bool positive_quantity(const char *value, const struct field_path *at, struct field_errors *errs) {
    if (quantity_of(value).nanos > 0) return true;
    field_invalid(errs, at, value, "must be greater than zero");
    return false;
}

static void class_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    object_name_dns_subdomain(errs->arena, name, false, &msgs);
    field_invalid_each(errs, at, name, &msgs);
}

/* ---- PersistentVolume: sources ---- */

static void secret_reference(const struct corev1_SecretReference *ref, const struct field_path *at, struct field_errors *errs) {
    if (!ref) return;
    if (str_empty(ref->name)) field_required(errs, FIELD(at, "name"), "%s", "");
    else validate_dns1123_subdomain(ref->name, FIELD(at, "name"), errs);
    if (str_empty(ref->namespace)) field_required(errs, FIELD(at, "namespace"), "%s", "");
    else validate_dns1123_label(ref->namespace, FIELD(at, "namespace"), errs);
}

static void csi(const struct corev1_CSIPersistentVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_csi_driver_name(s->driver, FIELD(at, "driver"), errs);
    validate_required(s->volumeHandle, FIELD(at, "volumeHandle"), errs);
    secret_reference(s->controllerPublishSecretRef, FIELD(at, "controllerPublishSecretRef"), errs);
    secret_reference(s->controllerExpandSecretRef, FIELD(at, "controllerExpandSecretRef"), errs);
    secret_reference(s->nodePublishSecretRef, FIELD(at, "nodePublishSecretRef"), errs);
    secret_reference(s->nodeExpandSecretRef, FIELD(at, "nodeExpandSecretRef"), errs);
}

static void glusterfs(const struct corev1_GlusterfsPersistentVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->endpoints, FIELD(at, "endpoints"), errs);
    validate_required(s->path, FIELD(at, "path"), errs);
    if (!s->endpointsNamespace) return;
    if (!*s->endpointsNamespace) field_invalid(errs, FIELD(at, "endpointsNamespace"), "", "if the endpointnamespace is set, it must be a valid namespace name");
    else validate_dns1123_label(s->endpointsNamespace, FIELD(at, "endpointsNamespace"), errs);
}

static void iscsi(const struct corev1_ISCSIPersistentVolumeSource *s, const char *name, const struct field_path *at, struct field_errors *errs) {
    struct iscsi_source common = {s->targetPortal, s->iqn, s->initiatorName, s->lun, s->chapAuthDiscovery || s->chapAuthSession, s->secretRef != NULL};
    validate_required(s->targetPortal, FIELD(at, "targetPortal"), errs);
    if (s->initiatorName && strlen(str_or(name, "")) + 1 + strlen(str_or(s->targetPortal, "")) > ISCSI_NAME_MAX)
        field_invalid(errs, FIELD(at, "targetportal"), s->targetPortal, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.");
    validate_iscsi_source(&common, true, at, errs);
    if (s->secretRef) validate_required(s->secretRef->name, FIELD(FIELD(at, "secretRef"), "name"), errs);
}

static void named_secret(const char *name, const char *namespace, const struct field_path *at, struct field_errors *errs) {
    validate_required(name, FIELD(FIELD(at, "secretRef"), "name"), errs);
    validate_required(namespace, FIELD(FIELD(at, "secretRef"), "namespace"), errs);
}

static void cinder(const struct corev1_CinderPersistentVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->volumeID, FIELD(at, "volumeID"), errs);
    if (s->secretRef) named_secret(s->secretRef->name, s->secretRef->namespace, at, errs);
}

static void rbd(const struct corev1_RBDPersistentVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->monitors.len) field_required(errs, FIELD(at, "monitors"), "%s", "");
    validate_required(s->image, FIELD(at, "image"), errs);
}

static void azure_file(const struct corev1_AzureFilePersistentVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->secretName, FIELD(at, "secretName"), errs);
    validate_required(s->shareName, FIELD(at, "shareName"), errs);
    if (s->secretNamespace) validate_required(s->secretNamespace, FIELD(at, "secretNamespace"), errs);
}

static void scale_io(const struct corev1_ScaleIOPersistentVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->gateway, FIELD(at, "gateway"), errs);
    validate_required(s->system, FIELD(at, "system"), errs);
    validate_required(s->volumeName, FIELD(at, "volumeName"), errs);
}

static void storageos(const struct corev1_StorageOSPersistentVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_storageos_names(s->volumeName, s->volumeNamespace, at, errs);
    if (s->secretRef) named_secret(s->secretRef->name, s->secretRef->namespace, at, errs);
}

static void local(const struct corev1_PersistentVolumeSpec *s, const struct field_path *at, const struct field_path *spec, struct field_errors *errs) {
    validate_required(s->local->path, FIELD(at, "path"), errs);
    validate_path_no_backsteps(s->local->path, FIELD(at, "path"), errs);
    if (!s->nodeAffinity) field_required(errs, FIELD(spec, "nodeAffinity"), "Local volume requires node affinity");
}

#define SOURCE(field, refused, name, call)                                                    \
    if (s->field) {                                                                           \
        if (n) field_forbidden(errs, FIELD(at, refused), "may not specify more than 1 volume type"); \
        else {                                                                                \
            const struct field_path *p = FIELD(at, name);                                     \
            n++;                                                                              \
            call;                                                                             \
        }                                                                                     \
    }

static void volume_source(const struct corev1_PersistentVolumeSpec *s, const char *pv_name, const struct field_path *at, struct field_errors *errs) {
    size_t n = 0;
    SOURCE(hostPath, "hostPath", "hostPath", validate_host_path_source(s->hostPath, p, errs))
    SOURCE(gcePersistentDisk, "gcePersistentDisk", "persistentDisk", validate_gce_disk_source(s->gcePersistentDisk, p, errs))
    SOURCE(awsElasticBlockStore, "awsElasticBlockStore", "awsElasticBlockStore", validate_aws_disk_source(s->awsElasticBlockStore, p, errs))
    SOURCE(glusterfs, "glusterfs", "glusterfs", glusterfs(s->glusterfs, p, errs))
    SOURCE(flocker, "flocker", "flocker", validate_flocker_source(s->flocker, p, errs))
    SOURCE(nfs, "nfs", "nfs", validate_nfs_source(s->nfs, p, errs))
    SOURCE(rbd, "rbd", "rbd", rbd(s->rbd, p, errs))
    SOURCE(quobyte, "quobyte", "quobyte", validate_quobyte_source(s->quobyte, p, errs))
    SOURCE(cephfs, "cephFS", "cephfs", if (!s->cephfs->monitors.len) field_required(errs, FIELD(p, "monitors"), "%s", ""))
    SOURCE(iscsi, "iscsi", "iscsi", iscsi(s->iscsi, pv_name, p, errs))
    SOURCE(cinder, "cinder", "cinder", cinder(s->cinder, p, errs))
    SOURCE(fc, "fc", "fc", validate_fc_source(s->fc, p, errs))
    if (s->flexVolume) {
        n++;
        validate_flex_source(s->flexVolume->driver, &s->flexVolume->options, FIELD(at, "flexVolume"), errs);
    }
    SOURCE(azureFile, "azureFile", "azureFile", azure_file(s->azureFile, p, errs))
    SOURCE(vsphereVolume, "vsphereVolume", "vsphereVolume", validate_required(s->vsphereVolume->volumePath, FIELD(p, "volumePath"), errs))
    SOURCE(photonPersistentDisk, "photonPersistentDisk", "photonPersistentDisk", validate_required(s->photonPersistentDisk->pdID, FIELD(p, "pdID"), errs))
    SOURCE(portworxVolume, "portworxVolume", "portworxVolume", validate_required(s->portworxVolume->volumeID, FIELD(p, "volumeID"), errs))
    SOURCE(azureDisk, "azureDisk", "azureDisk", validate_azure_disk_source(s->azureDisk, p, errs))
    SOURCE(scaleIO, "scaleIO", "scaleIO", scale_io(s->scaleIO, p, errs))
    SOURCE(local, "local", "local", local(s, p, at, errs))
    SOURCE(storageos, "storageos", "storageos", storageos(s->storageos, p, errs))
    SOURCE(csi, "csi", "csi", csi(s->csi, p, errs))
    if (!n) field_required(errs, at, "must specify a volume type");
}

/* ---- PersistentVolume: the rest ---- */

static void capacity(const struct string_map *c, const struct field_path *at, struct field_errors *errs) {
    if (!c->len) field_required(errs, at, "%s", "");
    if (!string_map_has(c, "storage") || c->len > 1)
        field_error_add(errs, "FieldValueNotSupported", at, "Unsupported value: %s: supported values: \"storage\"", string_map_json_text(errs->arena, c));
    LIST_FOREACH(e, c) {
        struct quantity q = quantity_of(e->value);
        if (quantity_value(&q) < 0) field_invalid_int(errs, FIELD_KEY(at, e->key), quantity_value(&q), "must be a valid resource quantity");
        positive_quantity(e->value, FIELD_KEY(at, e->key), errs);
    }
}

static bool is_root(const char *path) { return path && *path == '/' && path[strspn(path, "/.")] == '\0'; }

static void attributes_class(const struct corev1_PersistentVolumeSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->volumeAttributesClassName) return;
    if (!*s->volumeAttributesClassName) field_required(errs, FIELD(at, "volumeAttributesClassName"), "an empty string is disallowed");
    else class_name(s->volumeAttributesClassName, FIELD(at, "volumeAttributesClassName"), errs);
    if (!s->csi) field_required(errs, FIELD(at, "csi"), "has to be specified when using volumeAttributesClassName");
}

static bool takes_mount_options(const struct corev1_PersistentVolumeSpec *s) {
    return s->gcePersistentDisk || s->awsElasticBlockStore || s->glusterfs || s->nfs || s->rbd || s->quobyte || s->iscsi || s->cinder || s->cephfs || s->azureFile || s->vsphereVolume || s->azureDisk ||
           s->photonPersistentDisk;
}

static void recycled_root(const struct corev1_PersistentVolumeSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (s->hostPath && is_root(s->hostPath->path) && str_eq(s->persistentVolumeReclaimPolicy, "Recycle"))
        field_forbidden(errs, FIELD(at, "persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'");
}

/* What an attachment's own volume must not say. */
static void inline_only(const struct corev1_PersistentVolumeSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char no[] = "may not be specified in the context of inline volumes";
    if (s->claimRef) field_forbidden(errs, FIELD(at, "claimRef"), "%s", no);
    if (s->capacity.len) field_forbidden(errs, FIELD(at, "capacity"), "%s", no);
    if (!s->csi) field_required(errs, FIELD(at, "csi"), "has to be specified in the context of inline volumes");
    if (!str_empty(s->persistentVolumeReclaimPolicy) && !str_eq(s->persistentVolumeReclaimPolicy, "Retain"))
        field_forbidden(errs, FIELD(at, "persistentVolumeReclaimPolicy"), "may only be Retain in the context of inline volumes");
    if (s->nodeAffinity) field_forbidden(errs, FIELD(at, "nodeAffinity"), "%s", no);
    if (!str_empty(s->storageClassName)) field_forbidden(errs, FIELD(at, "storageClassName"), "%s", no);
    if (s->volumeMode && !str_eq(s->volumeMode, "Filesystem")) field_forbidden(errs, FIELD(at, "volumeMode"), "may not specify volumeMode other than Filesystem in the context of inline volumes");
}

void validate_inline_volume_spec(const struct corev1_PersistentVolumeSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->accessModes.len) field_required(errs, FIELD(at, "accessModes"), "%s", "");
    validate_access_modes(&s->accessModes, FIELD(at, "accessModes"), errs);
    inline_only(s, at, errs);
    volume_source(s, "", at, errs);
    recycled_root(s, at, errs);
}

static void volume_spec(const struct corev1_PersistentVolume *pv, struct field_errors *errs) {
    static const char *const policies[] = {"Delete", "Recycle", "Retain", NULL};
    const struct corev1_PersistentVolumeSpec *s = &pv->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    if (!s->accessModes.len) field_required(errs, FIELD(at, "accessModes"), "%s", "");
    validate_access_modes(&s->accessModes, FIELD(at, "accessModes"), errs);
    capacity(&s->capacity, FIELD(at, "capacity"), errs);
    if (!str_empty(s->persistentVolumeReclaimPolicy)) validate_enum(s->persistentVolumeReclaimPolicy, policies, FIELD(at, "persistentVolumeReclaimPolicy"), errs);
    if (s->nodeAffinity) {
        if (s->nodeAffinity->required) validate_node_selector(s->nodeAffinity->required, FIELD(FIELD(at, "nodeAffinity"), "required"), errs);
        else field_required(errs, FIELD(FIELD(at, "nodeAffinity"), "required"), "must specify required node constraints");
    }
    volume_source(s, pv->metadata.name, at, errs);
    recycled_root(s, at, errs);
    if (!str_empty(s->storageClassName)) class_name(s->storageClassName, FIELD(at, "storageClassName"), errs);
    validate_enum(s->volumeMode, volume_modes, FIELD(at, "volumeMode"), errs);
    attributes_class(s, at, errs);
}

void validate_persistent_volume(const void *obj, struct field_errors *errs) {
    const struct corev1_PersistentVolume *pv = obj;
    static const char mount_options[] = "volume.beta.kubernetes.io/mount-options";
    volume_spec(pv, errs);
    if (!takes_mount_options(&pv->spec) && string_map_has(&pv->metadata.annotations, mount_options))
        field_forbidden(errs, FIELD(FIELD(FIELD(NULL, "metadata"), "annotations"), mount_options), "may not specify mount options for this volume type");
}

static bool same_optional(const char *a, const char *b) { return !a == !b && str_eq(a, b); }

static void validate_source_immutable(const struct corev1_PersistentVolume *pv, const struct corev1_PersistentVolume *old, struct field_errors *errs) {
    struct corev1_PersistentVolumeSource now = pv->spec.PersistentVolumeSource;
    struct corev1_CSIPersistentVolumeSource csi_copy;
    if (now.csi && old->spec.csi && !old->spec.csi->controllerExpandSecretRef && now.csi->controllerExpandSecretRef) {
        csi_copy = *now.csi;
        csi_copy.controllerExpandSecretRef = NULL;
        now.csi = &csi_copy;
    }
    if (!object_equal(&corev1_PersistentVolumeSource_desc, &now, &old->spec.PersistentVolumeSource))
        field_forbidden(errs, FIELD(FIELD(NULL, "spec"), "persistentvolumesource"), "spec.persistentvolumesource is immutable after creation");
}

void validate_persistent_volume_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_PersistentVolume *pv = obj, *old = old_obj;
    validate_persistent_volume(obj, errs);
    volume_spec(pv, errs); /* upstream validates twice: the causes show it */
    validate_source_immutable(pv, old, errs);
    validate_immutable_string(pv->spec.volumeMode, old->spec.volumeMode, FIELD(NULL, "volumeMode"), errs);
    if (old->spec.nodeAffinity && (!pv->spec.nodeAffinity || !object_equal(&corev1_VolumeNodeAffinity_desc, pv->spec.nodeAffinity, old->spec.nodeAffinity)))
        field_invalid_raw(errs, FIELD(NULL, "nodeAffinity"), pv->spec.nodeAffinity ? object_json_text(errs->arena, &corev1_VolumeNodeAffinity_desc, pv->spec.nodeAffinity) : "null",
                          "field is immutable, except for updating from beta label to GA");
    if (old->spec.volumeAttributesClassName && !pv->spec.volumeAttributesClassName)
        field_forbidden(errs, FIELD(FIELD(NULL, "spec"), "volumeAttributesClassName"), "update from non-nil value to nil is forbidden");
}

/* ---- PersistentVolumeClaim ---- */

/* old_group: there was one before this update, which is not looked at any more. */
static void data_source(const char *group, const char *kind, const char *name, const char *namespace, bool old_group, const struct field_path *at, struct field_errors *errs) {
    validate_required(name, FIELD(at, "name"), errs);
    validate_required(kind, FIELD(at, "kind"), errs);
    if (str_empty(group) && !str_eq(kind, "PersistentVolumeClaim")) field_invalid(errs, at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    if (!str_empty(group) && !old_group) validate_dns1123_subdomain(group, FIELD(at, "apiGroup"), errs);
    if (!str_empty(namespace)) validate_dns1123_label(namespace, FIELD(at, "namespace"), errs);
}

static void data_sources(const struct corev1_PersistentVolumeClaimSpec *s, bool old_group, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_TypedLocalObjectReference *d = s->dataSource;
    const struct corev1_TypedObjectReference *r = s->dataSourceRef;
    if (d) data_source(d->apiGroup, d->kind, d->name, NULL, old_group, FIELD(at, "dataSource"), errs);
    if (r) data_source(r->apiGroup, r->kind, r->name, r->namespace, old_group, FIELD(at, "dataSourceRef"), errs);
    if (!d || !r) return;
    if (!str_empty(r->namespace)) field_invalid_raw(errs, at, "{}", "may not be specified when dataSourceRef.namespace is specified");
    else if (!same_optional(d->apiGroup, r->apiGroup) || !str_eq(d->kind, r->kind) || !str_eq(d->name, r->name)) field_invalid_raw(errs, at, "{}", "must match dataSourceRef");
}

static void claim_spec(const struct corev1_PersistentVolumeClaimSpec *s, bool old_group, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *size = FIELD_KEY(FIELD(at, "resources"), "storage");
    if (!s->accessModes.len) field_required(errs, FIELD(at, "accessModes"), "at least 1 access mode is required");
    validate_label_selector(s->selector, FIELD(at, "selector"), errs);
    validate_access_modes(&s->accessModes, FIELD(at, "accessModes"), errs);
    if (!string_map_has(&s->resources.requests, "storage")) field_required(errs, size, "%s", "");
    else positive_quantity(string_map_get(&s->resources.requests, "storage"), size, errs);
    if (!str_empty(s->storageClassName)) class_name(s->storageClassName, FIELD(at, "storageClassName"), errs);
    validate_enum(s->volumeMode, volume_modes, FIELD(at, "volumeMode"), errs);
    data_sources(s, old_group, at, errs);
    if (!str_empty(s->volumeAttributesClassName)) class_name(s->volumeAttributesClassName, FIELD(at, "volumeAttributesClassName"), errs);
}

void validate_claim_spec(const struct corev1_PersistentVolumeClaimSpec *s, const struct field_path *at, struct field_errors *errs) { claim_spec(s, false, at, errs); }

void validate_persistent_volume_claim(const void *obj, struct field_errors *errs) { validate_claim_spec(&((const struct corev1_PersistentVolumeClaim *)obj)->spec, FIELD(NULL, "spec"), errs); }

/* The old class was an annotation, and the new one says the same as a field. */
static bool class_from_annotation(const struct corev1_PersistentVolumeClaim *c, const struct corev1_PersistentVolumeClaim *old) {
    const char *before = string_map_get(&old->metadata.annotations, beta_storage_class);
    return string_map_has(&old->metadata.annotations, beta_storage_class) && !old->spec.storageClassName && c->spec.storageClassName && str_eq(c->spec.storageClassName, before) &&
           (!string_map_has(&c->metadata.annotations, beta_storage_class) || str_eq(string_map_get(&c->metadata.annotations, beta_storage_class), before));
}

/* A copy of the new spec in which all that may change is as it was. */
static struct corev1_PersistentVolumeClaimSpec *without_allowed_changes(const struct corev1_PersistentVolumeClaim *c, const struct corev1_PersistentVolumeClaim *old, struct field_errors *errs) {
    struct corev1_PersistentVolumeClaimSpec *a = object_copy(errs->arena, &corev1_PersistentVolumeClaimSpec_desc, &c->spec);
    const char *before = string_map_get(&old->metadata.annotations, beta_storage_class), *now = string_map_get(&c->metadata.annotations, beta_storage_class);
    if (str_empty(old->spec.volumeName)) a->volumeName = old->spec.volumeName;
    if (class_from_annotation(c, old)) a->storageClassName = NULL;
    else {
        if (!str_eq(before, now)) field_invalid(errs, FIELD(FIELD(FIELD(NULL, "metadata"), "annotations"), beta_storage_class), now, "field is immutable");
        if (c->spec.storageClassName && !old->spec.storageClassName && (!before || str_eq(c->spec.storageClassName, before))) a->storageClassName = NULL;
    }
    if (str_eq(c->status.phase, "Bound")) {
        if (a->resources.requests.items) {
            if (string_map_has(&old->spec.resources.requests, "storage")) string_map_set(errs->arena, &a->resources.requests, "storage", string_map_get(&old->spec.resources.requests, "storage"));
            else string_map_del(&a->resources.requests, "storage");
        }
        a->volumeAttributesClassName = old->spec.volumeAttributesClassName;
    }
    return a;
}

static void size_update(const struct corev1_PersistentVolumeClaim *c, const struct corev1_PersistentVolumeClaim *old, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(FIELD(FIELD(NULL, "spec"), "resources"), "requests"), "storage");
    const char *now = string_map_get(&c->spec.resources.requests, "storage"), *before = string_map_get(&old->spec.resources.requests, "storage");
    if (quantity_text_cmp(now, before) < 0 && quantity_text_cmp(now, string_map_get(&old->status.capacity, "storage")) <= 0) field_forbidden(errs, at, "field can not be less than status.capacity");
}

static void attributes_class_update(const struct corev1_PersistentVolumeClaim *c, const struct corev1_PersistentVolumeClaim *old, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "volumeAttributesClassName");
    const char *now = c->spec.volumeAttributesClassName;
    if (same_optional(now, old->spec.volumeAttributesClassName) || !old->status.currentVolumeAttributesClassName) return;
    if (!now) field_forbidden(errs, at, "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil");
    else if (!*now) field_forbidden(errs, at, "update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil");
}

void validate_persistent_volume_claim_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_PersistentVolumeClaim *c = obj, *old = old_obj;
    const struct corev1_PersistentVolumeClaimSpec *o = &old->spec;
    claim_spec(&c->spec, (o->dataSource && o->dataSource->apiGroup) || (o->dataSourceRef && o->dataSourceRef->apiGroup), FIELD(NULL, "spec"), errs);
    if (!object_equal(&corev1_PersistentVolumeClaimSpec_desc, without_allowed_changes(c, old, errs), &old->spec))
        field_forbidden(errs, FIELD(NULL, "spec"), "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
    size_update(c, old, errs);
    validate_immutable_string(c->spec.volumeMode, old->spec.volumeMode, FIELD(NULL, "volumeMode"), errs);
    attributes_class_update(c, old, errs);
}

/* ---- claims' status ---- */

static bool resource_key(const char *key, const struct field_path *at, struct field_errors *errs) {
    static const char *const storage[] = {"storage", NULL};
    struct string_list msgs = {0};
    size_t before = errs->len;
    name_qualified(errs->arena, key, &msgs);
    field_invalid_each(errs, at, key, &msgs);
    bool native = !strchr(key, '/') || strstr(key, "kubernetes.io/");
    if (!msgs.len && native && !str_eq(key, "storage")) field_not_supported(errs, at, key, storage);
    return errs->len == before;
}

static bool basic_quantity(const char *value, const struct field_path *at, struct field_errors *errs) {
    struct quantity q = quantity_of(value);
    if (quantity_value(&q) >= 0) return true;
    field_invalid_int(errs, at, quantity_value(&q), "must be a valid resource quantity");
    return false;
}

void validate_persistent_volume_claim_status_update(const void *obj, const void *old UNUSED, struct field_errors *errs) {
    static const char *const statuses[] = {"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending", NULL};
    static const char *const sorted[] = {"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending", NULL};
    const struct corev1_PersistentVolumeClaim *c = obj;
    const struct field_path *at = FIELD(NULL, "status");
    if (!c->spec.accessModes.len) field_required(errs, FIELD(FIELD(NULL, "Spec"), "accessModes"), "%s", "");
    LIST_FOREACH(e, &c->status.capacity) basic_quantity(e->value, FIELD_KEY(FIELD(at, "capacity"), e->key), errs);
    LIST_FOREACH(e, &c->status.allocatedResourceStatuses) {
        resource_key(e->key, FIELD(at, "allocatedResourceStatuses"), errs);
        if (!str_in(e->value, statuses)) field_not_supported(errs, FIELD(at, "allocatedResourceStatuses"), e->key, sorted);
    }
    LIST_FOREACH(e, &c->status.allocatedResources)
        if (resource_key(e->key, FIELD(at, "allocatedResources"), errs)) basic_quantity(e->value, FIELD_KEY(FIELD(at, "allocatedResources"), e->key), errs);
}
