#include "api/validation/pod_volumes.h"
#include <string.h>
#include "api/names.h"
#include "api/quantity.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"

enum { TOKEN_SECONDS_MIN = 600, ISCSI_NAME_MAX = 64 };

static const char only_one[] = "may not specify more than 1 volume type";

/* ---- keys and files ---- */

static void key_to_path(const struct corev1_KeyToPath *k, const struct field_path *at, struct field_errors *errs) {
    validate_required(k->key, FIELD(at, "key"), errs);
    validate_required(k->path, FIELD(at, "path"), errs);
    validate_local_non_reserved_path(k->path, FIELD(at, "path"), errs);
    validate_file_mode(&k->mode, FIELD(at, "mode"), errs);
}

static void keyed_source(const char *name, const char *name_field, const struct opt_int32 *mode, const struct corev1_KeyToPath_list *items, const struct field_path *at, struct field_errors *errs) {
    validate_required(name, FIELD(at, name_field), errs);
    validate_file_mode(mode, FIELD(at, "defaultMode"), errs);
    for (size_t i = 0; i < items->len; i++) key_to_path(&items->items[i], FIELD_INDEX(FIELD(at, "items"), i), errs);
}

static void downward_file(const struct corev1_DownwardAPIVolumeFile *f, const struct field_path *at, struct field_errors *errs) {
    static const char *const expressions[] = {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid", NULL};
    validate_required(f->path, FIELD(at, "path"), errs);
    validate_local_non_reserved_path(f->path, FIELD(at, "path"), errs);
    if (f->fieldRef) {
        validate_object_field_selector(f->fieldRef, expressions, FIELD(at, "fieldRef"), errs);
        if (f->resourceFieldRef) field_invalid(errs, at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
    } else if (f->resourceFieldRef) validate_resource_field_selector(f->resourceFieldRef, true, FIELD(at, "resourceFieldRef"), errs);
    else field_required(errs, at, "one of fieldRef and resourceFieldRef is required");
    validate_file_mode(&f->mode, FIELD(at, "mode"), errs);
}

static void downward_api(const struct corev1_DownwardAPIVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_file_mode(&s->defaultMode, FIELD(at, "defaultMode"), errs);
    LIST_FOREACH(f, &s->items) downward_file(f, at, errs);
}

/* ---- projected ---- */

/* A path that an earlier source of the volume fills too. */
static void unique_path(struct string_list *seen, const char *path, const char *value, const struct field_path *projected, struct field_errors *errs) {
    if (string_list_has(seen, path)) field_invalid(errs, projected, value, "conflicting duplicate paths");
    else string_list_push(errs->arena, seen, path);
}

static void projected_keys(const char *name, const struct corev1_KeyToPath_list *items, struct string_list *seen, const struct field_path *projected, const struct field_path *at, struct field_errors *errs) {
    validate_required(name, FIELD(at, "name"), errs);
    for (size_t i = 0; i < items->len; i++) {
        key_to_path(&items->items[i], FIELD_INDEX(FIELD(at, "items"), i), errs);
        if (!str_empty(items->items[i].path)) unique_path(seen, items->items[i].path, name, projected, errs);
    }
}

static void service_account_token(const struct corev1_ServiceAccountTokenProjection *t, const struct field_path *projected, const struct field_path *at, struct field_errors *errs) {
    int64_t seconds = t->expirationSeconds.value;
    if (seconds < TOKEN_SECONDS_MIN) field_invalid_int(errs, FIELD(at, "expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
    if (seconds > INT64_C(1) << 32) field_invalid_int(errs, FIELD(at, "expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
    if (str_empty(t->path)) field_required(errs, FIELD(projected, "path"), "%s", "");
    else validate_local_non_reserved_path(t->path, FIELD(projected, "path"), errs);
}

static void pod_certificate(const struct corev1_PodCertificateProjection *c, struct string_list *seen, const struct field_path *projected, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", NULL};
    const struct { const char *name, *path; } paths[] = {{"credentialBundlePath", c->credentialBundlePath}, {"keyPath", c->keyPath}, {"certificateChainPath", c->certificateChainPath}};
    size_t n = 0;
    validate_required(c->signerName, FIELD(at, "signerName"), errs);
    validate_enum(str_or(c->keyType, ""), types, FIELD(at, "keyType"), errs);
    if (c->maxExpirationSeconds.has && c->maxExpirationSeconds.value < 3600)
        field_invalid_int(errs, FIELD(at, "maxExpirationSeconds"), c->maxExpirationSeconds.value, "if provided, maxExpirationSeconds must be >= 3600");
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (str_empty(paths[i].path)) continue;
        n++;
        validate_local_non_reserved_path(paths[i].path, FIELD(at, paths[i].name), errs);
        unique_path(seen, paths[i].path, paths[i].path, projected, errs);
    }
    if (!n) field_required(errs, at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
}

static void projection(const struct corev1_VolumeProjection *s, struct string_list *seen, const struct field_path *projected, const struct field_path *at, struct field_errors *errs) {
    size_t n = 0;
    if (s->secret && ++n) projected_keys(s->secret->name, &s->secret->items, seen, projected, FIELD(at, "secret"), errs);
    if (s->configMap && ++n) projected_keys(s->configMap->name, &s->configMap->items, seen, projected, FIELD(at, "configMap"), errs);
    if (s->downwardAPI && ++n)
        LIST_FOREACH(f, &s->downwardAPI->items) {
            downward_file(f, FIELD(at, "downwardAPI"), errs);
            if (!str_empty(f->path)) unique_path(seen, f->path, f->path, projected, errs);
        }
    if (s->serviceAccountToken && ++n) service_account_token(s->serviceAccountToken, projected, FIELD(at, "serviceAccountToken"), errs);
    if (s->podCertificate && ++n) pod_certificate(s->podCertificate, seen, projected, FIELD(at, "podCertificate"), errs);
    if (n > 1) field_forbidden(errs, at, "may not specify more than 1 volume type per source");
}

static void projected_source(const struct corev1_ProjectedVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    struct string_list seen = {0};
    validate_file_mode(&s->defaultMode, FIELD(at, "defaultMode"), errs);
    for (size_t i = 0; i < s->sources.len; i++) projection(&s->sources.items[i], &seen, at, FIELD_INDEX(FIELD(at, "sources"), i), errs);
}

/* ---- the others ---- */

static void git_repo(const struct corev1_GitRepoVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->repository, FIELD(at, "repository"), errs);
    validate_local_descending_path(s->directory, FIELD(at, "directory"), errs);
}

static void iscsi(const struct corev1_ISCSIVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    struct iscsi_source common = {s->targetPortal, s->iqn, s->initiatorName, s->lun, s->chapAuthDiscovery || s->chapAuthSession, s->secretRef != NULL};
    validate_required(s->targetPortal, FIELD(at, "targetPortal"), errs);
    validate_iscsi_source(&common, false, at, errs);
}

static void two_required(const char *a, const char *a_name, const char *b, const char *b_name, const struct field_path *at, struct field_errors *errs) {
    validate_required(a, FIELD(at, a_name), errs);
    validate_required(b, FIELD(at, b_name), errs);
}

static void secret_named(const struct corev1_LocalObjectReference *ref, const struct field_path *at, struct field_errors *errs) {
    if (ref) validate_required(ref->name, FIELD(FIELD(at, "secretRef"), "name"), errs);
}

static void rbd(const struct corev1_RBDVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->monitors.len) field_required(errs, FIELD(at, "monitors"), "%s", "");
    validate_required(s->image, FIELD(at, "image"), errs);
}

static void cinder(const struct corev1_CinderVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->volumeID, FIELD(at, "volumeID"), errs);
    secret_named(s->secretRef, at, errs);
}

static void scale_io(const struct corev1_ScaleIOVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    two_required(s->gateway, "gateway", s->system, "system", at, errs);
    validate_required(s->volumeName, FIELD(at, "volumeName"), errs);
}

static void storageos(const struct corev1_StorageOSVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_storageos_names(s->volumeName, s->volumeNamespace, at, errs);
    secret_named(s->secretRef, at, errs);
}

static void csi(const struct corev1_CSIVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_csi_driver_name(s->driver, FIELD(at, "driver"), errs);
    if (!s->nodePublishSecretRef) return;
    if (str_empty(s->nodePublishSecretRef->name)) field_required(errs, FIELD(FIELD(at, "nodePublishSecretRef"), "name"), "%s", "");
    else validate_dns1123_subdomain(s->nodePublishSecretRef->name, FIELD(at, "name"), errs);
}

static void ephemeral(const struct corev1_Volume *v, const struct metav1_ObjectMeta *meta, const struct field_path *volume, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(volume, "ephemeral"), "volumeClaimTemplate");
    if (!v->ephemeral->volumeClaimTemplate) field_required(errs, at, "%s", "");
    else {
        validate_template_meta(&v->ephemeral->volumeClaimTemplate->metadata, FIELD(at, "metadata"), errs);
        validate_claim_spec(&v->ephemeral->volumeClaimTemplate->spec, FIELD(at, "spec"), errs);
    }
    if (!meta || str_empty(meta->name) || str_empty(v->name)) return;
    const char *claim = arena_printf(errs->arena, "%s-%s", meta->name, v->name);
    struct string_list msgs = {0};
    object_name_dns_subdomain(errs->arena, claim, false, &msgs);
    for (size_t i = 0; i < msgs.len; i++) field_invalid(errs, FIELD(volume, "name"), v->name, "PVC name \"%s\": %s", claim, msgs.items[i]);
}

static void image(const struct corev1_ImageVolumeSource *s, bool is_template, const struct field_path *at, struct field_errors *errs) {
    static const char *const policies[] = {"Always", "IfNotPresent", "Never", NULL};
    if (!is_template) validate_required(s->reference, FIELD(at, "reference"), errs);
    if (str_empty(s->pullPolicy)) field_required(errs, FIELD(at, "pullPolicy"), "%s", "");
    else validate_enum(s->pullPolicy, policies, FIELD(at, "pullPolicy"), errs);
}

/* The second source of a volume is refused, under a name that is not always the field's own; the first is checked. */
#define SOURCE(field, refused, name, call)                                                    \
    if (v->field) {                                                                           \
        if (n) field_forbidden(errs, FIELD(at, refused), "%s", only_one);                     \
        else {                                                                                \
            const struct field_path *p = FIELD(at, name);                                     \
            n++;                                                                              \
            call;                                                                             \
        }                                                                                     \
    }

static size_t network_sources(const struct corev1_Volume *v, size_t n, const struct field_path *at, struct field_errors *errs) {
    SOURCE(nfs, "nfs", "nfs", validate_nfs_source(v->nfs, p, errs))
    SOURCE(iscsi, "iscsi", "iscsi", iscsi(v->iscsi, p, errs))
    if (v->iscsi && v->iscsi->initiatorName && strlen(str_or(v->name, "")) + 1 + strlen(str_or(v->iscsi->targetPortal, "")) > ISCSI_NAME_MAX)
        field_invalid(errs, FIELD(at, "name"), v->name, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.");
    SOURCE(glusterfs, "glusterfs", "glusterfs", two_required(v->glusterfs->endpoints, "endpoints", v->glusterfs->path, "path", p, errs))
    SOURCE(flocker, "flocker", "flocker", validate_flocker_source(v->flocker, p, errs))
    SOURCE(persistentVolumeClaim, "persistentVolumeClaim", "persistentVolumeClaim", validate_required(v->persistentVolumeClaim->claimName, FIELD(p, "claimName"), errs))
    SOURCE(rbd, "rbd", "rbd", rbd(v->rbd, p, errs))
    SOURCE(cinder, "cinder", "cinder", cinder(v->cinder, p, errs))
    SOURCE(cephfs, "cephFS", "cephfs", if (!v->cephfs->monitors.len) field_required(errs, FIELD(p, "monitors"), "%s", ""))
    SOURCE(quobyte, "quobyte", "quobyte", validate_quobyte_source(v->quobyte, p, errs))
    SOURCE(downwardAPI, "downwarAPI", "downwardAPI", downward_api(v->downwardAPI, p, errs))
    SOURCE(fc, "fc", "fc", validate_fc_source(v->fc, p, errs))
    SOURCE(flexVolume, "flexVolume", "flexVolume", validate_flex_source(v->flexVolume->driver, &v->flexVolume->options, p, errs))
    return n;
}

static void volume_source(const struct corev1_Volume *v, const struct metav1_ObjectMeta *meta, bool is_template, const struct field_path *at, struct field_errors *errs) {
    size_t n = 0;
    if (v->emptyDir) {
        n++;
        if (quantity_of(v->emptyDir->sizeLimit).nanos < 0) field_forbidden(errs, FIELD(FIELD(at, "emptyDir"), "sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
    SOURCE(hostPath, "hostPath", "hostPath", validate_host_path_source(v->hostPath, p, errs))
    SOURCE(gitRepo, "gitRepo", "gitRepo", git_repo(v->gitRepo, p, errs))
    SOURCE(gcePersistentDisk, "gcePersistentDisk", "persistentDisk", validate_gce_disk_source(v->gcePersistentDisk, p, errs))
    SOURCE(awsElasticBlockStore, "awsElasticBlockStore", "awsElasticBlockStore", validate_aws_disk_source(v->awsElasticBlockStore, p, errs))
    SOURCE(secret, "secret", "secret", keyed_source(v->secret->secretName, "secretName", &v->secret->defaultMode, &v->secret->items, p, errs))
    n = network_sources(v, n, at, errs);
    SOURCE(configMap, "configMap", "configMap", keyed_source(v->configMap->name, "name", &v->configMap->defaultMode, &v->configMap->items, p, errs))
    SOURCE(azureFile, "azureFile", "azureFile", two_required(v->azureFile->secretName, "secretName", v->azureFile->shareName, "shareName", p, errs))
    SOURCE(vsphereVolume, "vsphereVolume", "vsphereVolume", validate_required(v->vsphereVolume->volumePath, FIELD(p, "volumePath"), errs))
    SOURCE(photonPersistentDisk, "photonPersistentDisk", "photonPersistentDisk", validate_required(v->photonPersistentDisk->pdID, FIELD(p, "pdID"), errs))
    SOURCE(portworxVolume, "portworxVolume", "portworxVolume", validate_required(v->portworxVolume->volumeID, FIELD(p, "volumeID"), errs))
    SOURCE(azureDisk, "azureDisk", "azureDisk", validate_azure_disk_source(v->azureDisk, p, errs))
    SOURCE(storageos, "storageos", "storageos", storageos(v->storageos, p, errs))
    SOURCE(projected, "projected", "projected", projected_source(v->projected, p, errs))
    SOURCE(scaleIO, "scaleIO", "scaleIO", scale_io(v->scaleIO, p, errs))
    SOURCE(csi, "csi", "csi", csi(v->csi, p, errs))
    SOURCE(ephemeral, "ephemeral", "ephemeral", (void)p; ephemeral(v, meta, at, errs))
    SOURCE(image, "image", "image", image(v->image, is_template, p, errs))
    if (!n) field_required(errs, at, "must specify a volume type");
}

/* The claims that the Pod's ephemeral volumes will make are not there to be named by other volumes. */
static bool claim_is_made_by_pod(const struct corev1_PodSpec *s, const struct metav1_ObjectMeta *meta, const char *claim, struct arena *a) {
    if (!meta || str_empty(meta->name)) return false;
    LIST_FOREACH(v, &s->volumes)
        if (v->ephemeral && str_eq(arena_printf(a, "%s-%s", meta->name, str_or(v->name, "")), claim)) return true;
    return false;
}

void validate_volumes(const struct corev1_PodSpec *s, const struct metav1_ObjectMeta *meta, bool is_template, const struct field_path *at, struct pod_volumes *ret, struct field_errors *errs) {
    for (size_t i = 0; i < s->volumes.len; i++) {
        const struct corev1_Volume *v = &s->volumes.items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        size_t before = errs->len;
        volume_source(v, is_template ? NULL : meta, is_template, p, errs);
        if (str_empty(v->name)) field_required(errs, FIELD(p, "name"), "%s", "");
        else validate_dns1123_label(v->name, FIELD(p, "name"), errs);
        if (pod_volumes_find(ret, v->name)) field_duplicate(errs, FIELD(p, "name"), v->name);
        if (errs->len == before) *LIST_PUSH(errs->arena, ret) = v;
        if (v->persistentVolumeClaim && claim_is_made_by_pod(s, is_template ? NULL : meta, v->persistentVolumeClaim->claimName, errs->arena))
            field_invalid(errs, FIELD(FIELD(p, "persistentVolumeClaim"), "claimName"), v->persistentVolumeClaim->claimName, "must not reference a PVC that gets created for an ephemeral volume");
    }
}

const struct corev1_Volume *pod_volumes_find(const struct pod_volumes *v, const char *name) {
    for (size_t i = 0; i < v->len; i++)
        if (str_eq(v->items[i]->name, name)) return v->items[i];
    return NULL;
}
