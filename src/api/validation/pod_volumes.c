#include "api/validation/pod_volumes.h"
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "base/str.h"

static bool has_dot_dot(const char *path) {
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && strncmp(p, "..", 2) == 0) return true;
        p += len + (p[len] == '/');
    }
    return false;
}

void validate_local_descending_path(const char *path, const struct field_path *at, struct field_errors *errs) {
    if (path[0] == '/') field_invalid(errs, at, path, "must be a relative path");
    if (has_dot_dot(path)) field_invalid(errs, at, path, "must not contain '..'");
}

static void non_reserved_path(const char *path, const struct field_path *at, struct field_errors *errs) {
    validate_local_descending_path(path, at, errs);
    if (str_has_prefix(path, "..") && !has_dot_dot(path)) field_invalid(errs, at, path, "must not start with '..'");
}

static void mode(const struct opt_int32 *m, const struct field_path *at, struct field_errors *errs) {
    if (m->has && (m->value < 0 || m->value > 0777)) field_invalid_int(errs, at, m->value, "must be a number between 0 and 0777 (octal), both inclusive");
}

static void key_to_path(const struct corev1_KeyToPath_list *items, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < items->len; i++) {
        const struct corev1_KeyToPath *k = &items->items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "items"), i);
        if (str_empty(k->key)) field_required(errs, FIELD(p, "key"), "%s", "");
        if (str_empty(k->path)) field_required(errs, FIELD(p, "path"), "%s", "");
        else non_reserved_path(k->path, FIELD(p, "path"), errs);
        mode(&k->mode, FIELD(p, "mode"), errs);
    }
}

static void host_path(const struct corev1_HostPathVolumeSource *h, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", NULL};
    if (str_empty(h->path)) {
        field_required(errs, FIELD(at, "path"), "%s", "");
        return;
    }
    if (has_dot_dot(h->path)) field_invalid(errs, FIELD(at, "path"), h->path, "must not contain '..'");
    if (h->type && !str_in(h->type, types)) field_not_supported(errs, FIELD(at, "type"), h->type, types);
}

static size_t count_sources(const struct corev1_Volume *v, const char *names[32]) {
    const struct type_desc *t = &corev1_VolumeSource_desc;
    size_t n = 0;
    for (size_t i = 0; i < t->fields_len && n < 32; i++)
        if (*(void *const *)(const void *)((const char *)&v->VolumeSource + t->fields[i].offset)) names[n++] = t->fields[i].name;
    return n;
}

static void volume_source(const struct corev1_Volume *v, const struct field_path *at, struct field_errors *errs) {
    const char *names[32];
    size_t n = count_sources(v, names);
    if (n == 0) field_required(errs, at, "must specify a volume type");
    for (size_t i = 1; i < n; i++) field_forbidden(errs, FIELD(at, names[i]), "may not specify more than 1 volume type");
    if (v->hostPath) host_path(v->hostPath, FIELD(at, "hostPath"), errs);
    if (v->secret) {
        if (str_empty(v->secret->secretName)) field_required(errs, FIELD(FIELD(at, "secret"), "secretName"), "%s", "");
        mode(&v->secret->defaultMode, FIELD(FIELD(at, "secret"), "defaultMode"), errs);
        key_to_path(&v->secret->items, FIELD(at, "secret"), errs);
    }
    if (v->configMap) {
        if (str_empty(v->configMap->name)) field_required(errs, FIELD(FIELD(at, "configMap"), "name"), "%s", "");
        mode(&v->configMap->defaultMode, FIELD(FIELD(at, "configMap"), "defaultMode"), errs);
        key_to_path(&v->configMap->items, FIELD(at, "configMap"), errs);
    }
    if (v->persistentVolumeClaim && str_empty(v->persistentVolumeClaim->claimName)) field_required(errs, FIELD(FIELD(at, "persistentVolumeClaim"), "claimName"), "%s", "");
    if (v->nfs) {
        if (str_empty(v->nfs->server)) field_required(errs, FIELD(FIELD(at, "nfs"), "server"), "%s", "");
        if (str_empty(v->nfs->path)) field_required(errs, FIELD(FIELD(at, "nfs"), "path"), "%s", "");
        else if (v->nfs->path[0] != '/') field_invalid(errs, FIELD(FIELD(at, "nfs"), "path"), v->nfs->path, "must be an absolute path");
    }
}

void validate_volumes(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < s->volumes.len; i++) {
        const struct corev1_Volume *v = &s->volumes.items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        struct string_list msgs = {0};
        volume_source(v, p, errs);
        if (str_empty(v->name)) {
            field_required(errs, FIELD(p, "name"), "%s", "");
            continue;
        }
        name_dns1123_label(errs->arena, v->name, &msgs);
        field_invalid_each(errs, FIELD(p, "name"), v->name, &msgs);
        for (size_t j = 0; j < i; j++)
            if (str_eq(s->volumes.items[j].name, v->name)) {
                field_duplicate(errs, FIELD(p, "name"), v->name);
                break;
            }
    }
}
