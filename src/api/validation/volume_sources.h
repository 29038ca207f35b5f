/* Validation of volumes' sources, of Pods and of PersistentVolumes alike. Upstream: the validate...VolumeSource functions of pkg/apis/core/validation. */
#ifndef CKUBE_API_VALIDATION_VOLUME_SOURCES_H
#define CKUBE_API_VALIDATION_VOLUME_SOURCES_H
#include "api/field_error.h"
#include "api/object.h"

/* Relative, and never upwards; and never beginning with "..". */
void validate_local_descending_path(const char *path, const struct field_path *at, struct field_errors *errs);
void validate_local_non_reserved_path(const char *path, const struct field_path *at, struct field_errors *errs);
void validate_path_no_backsteps(const char *path, const struct field_path *at, struct field_errors *errs);
bool path_has_backsteps(const char *path);
void validate_file_mode(const struct opt_int32 *mode, const struct field_path *at, struct field_errors *errs);
void validate_required(const char *value, const struct field_path *at, struct field_errors *errs);
void validate_dns1123_label(const char *value, const struct field_path *at, struct field_errors *errs);
void validate_dns1123_subdomain(const char *value, const struct field_path *at, struct field_errors *errs);
void validate_csi_driver_name(const char *name, const struct field_path *at, struct field_errors *errs);

void validate_host_path_source(const struct corev1_HostPathVolumeSource *s, const struct field_path *at, struct field_errors *errs);
void validate_gce_disk_source(const struct corev1_GCEPersistentDiskVolumeSource *s, const struct field_path *at, struct field_errors *errs);
void validate_aws_disk_source(const struct corev1_AWSElasticBlockStoreVolumeSource *s, const struct field_path *at, struct field_errors *errs);
void validate_nfs_source(const struct corev1_NFSVolumeSource *s, const struct field_path *at, struct field_errors *errs);
void validate_fc_source(const struct corev1_FCVolumeSource *s, const struct field_path *at, struct field_errors *errs);
void validate_flocker_source(const struct corev1_FlockerVolumeSource *s, const struct field_path *at, struct field_errors *errs);
void validate_quobyte_source(const struct corev1_QuobyteVolumeSource *s, const struct field_path *at, struct field_errors *errs);
void validate_azure_disk_source(const struct corev1_AzureDiskVolumeSource *s, const struct field_path *at, struct field_errors *errs);
void validate_flex_source(const char *driver, const struct string_map *options, const struct field_path *at, struct field_errors *errs);
/* What a Pod's and a PersistentVolume's iSCSI sources have in common; the second's words are fewer. */
struct iscsi_source { const char *target_portal, *iqn, *initiator_name; int32_t lun; bool chap, has_secret; };
void validate_iscsi_source(const struct iscsi_source *s, bool persistent, const struct field_path *at, struct field_errors *errs);
void validate_storageos_names(const char *name, const char *namespace, const struct field_path *at, struct field_errors *errs);
#endif
