#include "api/validation/volume_sources.h"
#include <ctype.h>
#include <regex.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "base/str.h"

enum { FILE_MODE_MAX = 0777, LUN_MAX = 255, PARTITION_MAX = 255, DRIVER_NAME_MAX = 63, TENANT_MAX = 64 };

bool path_has_backsteps(const char *path) {
    for (const char *p = str_or(path, ""); *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && strncmp(p, "..", 2) == 0) return true;
        p += len + (p[len] == '/');
    }
    return false;
}

void validate_path_no_backsteps(const char *path, const struct field_path *at, struct field_errors *errs) {
    if (path_has_backsteps(path)) field_invalid(errs, at, path, "must not contain '..'");
}

void validate_local_descending_path(const char *path, const struct field_path *at, struct field_errors *errs) {
    if (str_or(path, "")[0] == '/') field_invalid(errs, at, path, "must be a relative path");
    validate_path_no_backsteps(path, at, errs);
}

void validate_local_non_reserved_path(const char *path, const struct field_path *at, struct field_errors *errs) {
    validate_local_descending_path(path, at, errs);
    if (str_has_prefix(str_or(path, ""), "..") && !str_has_prefix(path, "../")) field_invalid(errs, at, path, "must not start with '..'");
}

void validate_file_mode(const struct opt_int32 *mode, const struct field_path *at, struct field_errors *errs) {
    if (mode->has && (mode->value < 0 || mode->value > FILE_MODE_MAX)) field_invalid_int(errs, at, mode->value, "must be a number between 0 and 0777 (octal), both inclusive");
}

void validate_required(const char *value, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(value)) field_required(errs, at, "%s", "");
}

void validate_dns1123_label(const char *value, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_dns1123_label(errs->arena, str_or(value, ""), &msgs);
    field_invalid_each(errs, at, value, &msgs);
}

void validate_dns1123_subdomain(const char *value, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_dns1123_subdomain(errs->arena, str_or(value, ""), &msgs);
    field_invalid_each(errs, at, value, &msgs);
}

void validate_csi_driver_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    char *lower = arena_strdup(errs->arena, str_or(name, ""));
    for (char *p = lower; *p; p++) *p = (char)tolower((unsigned char)*p);
    if (str_empty(name)) {
        field_required(errs, at, "%s", "");
        return;
    }
    if (strlen(lower) > DRIVER_NAME_MAX) field_too_long(errs, at, DRIVER_NAME_MAX);
    name_dns1123_subdomain(errs->arena, lower, &msgs);
    field_invalid_each(errs, at, name, &msgs);
}

void validate_host_path_source(const struct corev1_HostPathVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", NULL};
    if (str_empty(s->path)) {
        field_required(errs, FIELD(at, "path"), "%s", "");
        return;
    }
    validate_path_no_backsteps(s->path, FIELD(at, "path"), errs);
    validate_enum(s->type, types, FIELD(at, "type"), errs);
}

static void partition(int32_t v, const struct field_path *at, struct field_errors *errs) {
    if (v < 0 || v > PARTITION_MAX) field_invalid_int(errs, at, v, "must be between 1 and 255, inclusive");
}

void validate_gce_disk_source(const struct corev1_GCEPersistentDiskVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->pdName, FIELD(at, "pdName"), errs);
    partition(s->partition, FIELD(at, "partition"), errs);
}

void validate_aws_disk_source(const struct corev1_AWSElasticBlockStoreVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->volumeID, FIELD(at, "volumeID"), errs);
    partition(s->partition, FIELD(at, "partition"), errs);
}

void validate_nfs_source(const struct corev1_NFSVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    validate_required(s->server, FIELD(at, "server"), errs);
    validate_required(s->path, FIELD(at, "path"), errs);
    if (str_or(s->path, "")[0] != '/') field_invalid(errs, FIELD(at, "path"), s->path, "must be an absolute path");
}

static void lun_range(int32_t v, const struct field_path *at, struct field_errors *errs) {
    if (v < 0 || v > LUN_MAX) field_invalid_int(errs, at, v, "must be between 0 and 255, inclusive");
}

void validate_fc_source(const struct corev1_FCVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *wwns = FIELD(at, "targetWWNs");
    if (!s->targetWWNs.len && !s->wwids.len) field_required(errs, wwns, "must specify either targetWWNs or wwids, but not both");
    if (s->targetWWNs.len && s->wwids.len) field_invalid_raw(errs, wwns, string_list_json_text(errs->arena, &s->targetWWNs), "targetWWNs and wwids can not be specified simultaneously");
    if (!s->targetWWNs.len) return;
    if (!s->lun.has) field_required(errs, FIELD(at, "lun"), "lun is required if targetWWNs is specified");
    else lun_range(s->lun.value, FIELD(at, "lun"), errs);
}

void validate_flocker_source(const struct corev1_FlockerVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(s->datasetName) && str_empty(s->datasetUUID)) field_required(errs, at, "one of datasetName and datasetUUID is required");
    if (!str_empty(s->datasetName) && !str_empty(s->datasetUUID)) field_invalid(errs, at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
    if (strchr(str_or(s->datasetName, ""), '/')) field_invalid(errs, FIELD(at, "datasetName"), s->datasetName, "must not contain '/'");
}

/* net.SplitHostPort accepts it. */
static bool host_and_port(const char *s, size_t len) {
    const char *colon = memrchr(s, ':', len);
    if (!colon) return false;
    size_t host = (size_t)(colon - s);
    if (host && s[0] == '[') return s[host - 1] == ']';
    return memchr(s, ':', host) == NULL && memchr(s, ']', len) == NULL && memchr(s, '[', len) == NULL;
}

void validate_quobyte_source(const struct corev1_QuobyteVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    static const char form[] = "must be a host:port pair or multiple pairs separated by commas";
    if (str_empty(s->registry)) field_required(errs, FIELD(at, "registry"), "%s", form);
    else if (strlen(str_or(s->tenant, "")) > TENANT_MAX) field_required(errs, FIELD(at, "tenant"), "must be a UUID and may not exceed a length of 64 characters");
    else
        for (const char *p = s->registry;; p++) {
            size_t len = strcspn(p, ",");
            if (!host_and_port(p, len)) field_invalid(errs, FIELD(at, "registry"), s->registry, "%s", form);
            if (!p[len]) break;
            p += len;
        }
    validate_required(s->volume, FIELD(at, "volume"), errs);
}

void validate_azure_disk_source(const struct corev1_AzureDiskVolumeSource *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const caching[] = {"None", "ReadOnly", "ReadWrite", NULL}, *const kinds[] = {"Dedicated", "Managed", "Shared", NULL};
    static const char *const managed[] = {"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}", NULL};
    static const char *const blob[] = {"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd", NULL};
    const char *uri = str_or(s->diskURI, "");
    validate_required(s->diskName, FIELD(at, "diskName"), errs);
    validate_required(s->diskURI, FIELD(at, "diskURI"), errs);
    validate_enum(s->cachingMode, caching, FIELD(at, "cachingMode"), errs);
    validate_enum(s->kind, kinds, FIELD(at, "kind"), errs);
    if (s->kind && str_eq(s->kind, "Managed") && !str_has_prefix(uri, "/subscriptions/")) field_not_supported(errs, FIELD(at, "diskURI"), uri, managed);
    if (s->kind && !str_eq(s->kind, "Managed") && !str_has_prefix(uri, "https://")) field_not_supported(errs, FIELD(at, "diskURI"), uri, blob);
}

void validate_flex_source(const char *driver, const struct string_map *options, const struct field_path *at, struct field_errors *errs) {
    validate_required(driver, FIELD(at, "driver"), errs);
    LIST_FOREACH(e, options) {
        char *namespace = arena_printf(errs->arena, ".%.*s", (int)strcspn(e->key, "/"), e->key);
        for (char *p = namespace; *p; p++) *p = (char)tolower((unsigned char)*p);
        if (str_has_suffix(namespace, ".kubernetes.io") || str_has_suffix(namespace, ".k8s.io"))
            field_invalid(errs, FIELD_KEY(FIELD(at, "options"), e->key), e->key, "kubernetes.io and k8s.io namespaces are reserved");
    }
}

/* ---- iSCSI ---- */

static bool matches(const char *pattern, const char *s) {
    regex_t re;
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0) return false;
    bool ok = regexec(&re, s, 0, NULL, 0) == 0;
    regfree(&re);
    return ok;
}

static void iscsi_name(const char *name, const char *no_prefix_text, const struct field_path *at, struct field_errors *errs) {
    static const struct { const char *prefix, *pattern; } forms[] = {
        {"iqn", "iqn\\.[0-9]{4}-[0-9]{2}\\.([[:alnum:].-]+)(:[^],;*&$|[:space:]]+)$"}, {"eui", "^eui.[[:alnum:]]{16}$"}, {"naa", "^naa.[[:alnum:]]{32}$"}};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        if (str_has_prefix(name, forms[i].prefix)) {
            if (!matches(forms[i].pattern, name)) field_invalid(errs, at, name, "must be valid format");
            return;
        }
    field_invalid(errs, at, name, "%s", no_prefix_text);
}

void validate_iscsi_source(const struct iscsi_source *s, bool persistent, const struct field_path *at, struct field_errors *errs) {
    const char *no_prefix = persistent ? "must be valid format" : "must be valid format starting with iqn, eui, or naa";
    if (str_empty(s->iqn)) field_required(errs, FIELD(at, "iqn"), "%s", "");
    else iscsi_name(s->iqn, no_prefix, FIELD(at, "iqn"), errs);
    lun_range(s->lun, FIELD(at, "lun"), errs);
    if (s->chap && !s->has_secret) field_required(errs, FIELD(at, "secretRef"), "%s", "");
    if (s->initiator_name) iscsi_name(s->initiator_name, no_prefix, FIELD(at, "initiatorname"), errs);
}

void validate_storageos_names(const char *name, const char *namespace, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(name)) field_required(errs, FIELD(at, "volumeName"), "%s", "");
    else validate_dns1123_label(name, FIELD(at, "volumeName"), errs);
    if (!str_empty(namespace)) validate_dns1123_label(namespace, FIELD(at, "volumeNamespace"), errs);
}
