/* Environments of containers, and what they read. */
#include <ctype.h>
#include <string.h>
#include "api/names.h"
#include "api/pod_util.h"
#include "api/quantity.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

static void key_selector(const char *name, const char *key, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    validate_dns1123_subdomain(name, FIELD(at, "name"), errs);
    if (str_empty(key)) field_required(errs, FIELD(at, "key"), "%s", "");
    else {
        name_config_map_key(errs->arena, key, &msgs);
        field_invalid_each(errs, FIELD(at, "key"), key, &msgs);
    }
}

static void file_key_selector(const struct corev1_FileKeySelector *s, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (str_empty(s->key)) field_required(errs, FIELD(at, "key"), "%s", "");
    else {
        name_env_var(errs->arena, s->key, &msgs);
        field_invalid_each(errs, FIELD(at, "key"), s->key, &msgs);
    }
    if (str_empty(s->volumeName)) field_required(errs, FIELD(at, "volumeName"), "%s", "");
    else validate_dns1123_label(s->volumeName, FIELD(at, "volumeName"), errs);
    if (str_empty(s->path)) field_required(errs, FIELD(at, "path"), "%s", "");
    else validate_path_no_backsteps(s->path, FIELD(at, "path"), errs);
}

/* ---- fields of the Pod ---- */

/* metadata.labels['KEY'] and metadata.annotations['KEY']: the path and the key. */
static bool subscripted(struct arena *a, const char *path, const char **ret_path, const char **ret_key) {
    const char *open = strstr(path, "['");
    if (!open || open == path || !str_has_suffix(path, "']") || strlen(open) < 4) return false;
    *ret_path = arena_strndup(a, path, (size_t)(open - path));
    *ret_key = arena_strndup(a, open + 2, strlen(open) - 4);
    return true;
}

static void subscript(const char *path, const char *key, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    char *checked = arena_strdup(errs->arena, key);
    if (str_eq(path, "metadata.annotations"))
        for (char *p = checked; *p; p++) *p = (char)tolower((unsigned char)*p);
    name_qualified(errs->arena, checked, &msgs);
    field_invalid_each(errs, at, checked, &msgs);
}

void validate_object_field_selector(const struct corev1_ObjectFieldSelector *f, const char *const *expressions, const struct field_path *at, struct field_errors *errs) {
    static const char *const known[] = {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName",
                                        "spec.schedulerName", "status.phase", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs", NULL};
    const char *path, *key;
    const struct field_path *p = FIELD(at, "fieldPath");
    if (str_empty(f->apiVersion)) {
        field_required(errs, FIELD(at, "apiVersion"), "%s", "");
        return;
    }
    if (str_empty(f->fieldPath)) {
        field_required(errs, p, "%s", "");
        return;
    }
    if (!str_eq(f->apiVersion, "v1")) {
        field_invalid(errs, p, f->fieldPath, "error converting fieldPath: unsupported pod version: %s", f->apiVersion);
        return;
    }
    if (subscripted(errs->arena, f->fieldPath, &path, &key)) {
        if (str_eq(path, "metadata.annotations") || str_eq(path, "metadata.labels")) subscript(path, key, at, errs);
        else field_invalid(errs, p, f->fieldPath, "error converting fieldPath: field label does not support subscript: %s", f->fieldPath);
        return;
    }
    path = str_eq(f->fieldPath, "spec.host") ? "spec.nodeName" : f->fieldPath; /* the field's old name */
    if (!str_in(path, known)) field_invalid(errs, p, f->fieldPath, "error converting fieldPath: field label not supported: %s", f->fieldPath);
    else if (!str_in(path, expressions)) field_not_supported(errs, p, path, expressions);
}

/* ---- resources of a container ---- */

static void divisor(const char *resource, const char *value, const struct field_path *at, struct field_errors *errs) {
    static const char *const cpu[] = {"1m", "1", NULL}, *const bytes[] = {"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL};
    static const char list[] = "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the %s resource";
    if (quantity_of(value).nanos == 0) return;
    const char *name = str_has_prefix(resource, "limits.") ? resource + strlen("limits.") : str_has_prefix(resource, "requests.") ? resource + strlen("requests.") : "";
    const char *what = str_eq(name, "memory") ? "memory" : str_eq(name, "ephemeral-storage") ? "local ephemeral storage" : str_has_prefix(name, "hugepages-") ? "hugepages" : NULL;
    if (str_eq(name, "cpu")) {
        if (!str_in(value, cpu)) field_invalid(errs, FIELD(at, "divisor"), resource, "only divisor's values 1m and 1 are supported with the cpu resource");
    } else if (what && !str_in(value, bytes)) field_invalid(errs, FIELD(at, "divisor"), resource, list, what);
}

void validate_resource_field_selector(const struct corev1_ResourceFieldSelector *f, bool volume, const struct field_path *at, struct field_errors *errs) {
    static const char *const expressions[] = {"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory", NULL};
    const char *resource = str_or(f->resource, "");
    if (volume && str_empty(f->containerName)) field_required(errs, FIELD(at, "containerName"), "%s", "");
    else if (!*resource) field_required(errs, FIELD(at, "resource"), "%s", "");
    else if (!str_in(resource, expressions) && !str_has_prefix(resource, "requests.hugepages-") && !str_has_prefix(resource, "limits.hugepages-"))
        field_not_supported(errs, FIELD(at, "resource"), resource, expressions);
    divisor(resource, f->divisor, at, errs);
}

/* ---- env, envFrom ---- */

static void value_from(const struct corev1_EnvVar *e, const struct field_path *at, struct field_errors *errs) {
    static const char *const expressions[] = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs", NULL};
    const struct corev1_EnvVarSource *s = e->valueFrom;
    size_t n = 0;
    if (s->fieldRef && ++n) validate_object_field_selector(s->fieldRef, expressions, FIELD(at, "fieldRef"), errs);
    if (s->resourceFieldRef && ++n) validate_resource_field_selector(s->resourceFieldRef, false, FIELD(at, "resourceFieldRef"), errs);
    if (s->configMapKeyRef && ++n) key_selector(s->configMapKeyRef->name, s->configMapKeyRef->key, FIELD(at, "configMapKeyRef"), errs);
    if (s->secretKeyRef && ++n) key_selector(s->secretKeyRef->name, s->secretKeyRef->key, FIELD(at, "secretKeyRef"), errs);
    if (s->fileKeyRef && ++n) file_key_selector(s->fileKeyRef, FIELD(at, "fileKeyRef"), errs);
    if (n == 0) field_invalid(errs, at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    else if (!str_empty(e->value)) field_invalid(errs, at, "", "may not be specified when `value` is not empty");
    else if (n > 1) field_invalid(errs, at, "", "may not have more than one field specified at a time");
}

static void env_source(const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (str_empty(name)) field_required(errs, FIELD(at, "name"), "%s", "");
    else {
        object_name_dns_subdomain(errs->arena, name, true, &msgs);
        field_invalid_each(errs, FIELD(at, "name"), name, &msgs);
    }
}

static void env_var_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_env_var(errs->arena, name, &msgs);
    field_invalid_each(errs, at, name, &msgs);
}

void validate_container_environment(const struct corev1_Container *c, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *env = FIELD(at, "env"), *from = FIELD(at, "envFrom");
    for (size_t i = 0; i < c->env.len; i++) {
        const struct corev1_EnvVar *e = &c->env.items[i];
        if (str_empty(e->name)) field_required(errs, FIELD(FIELD_INDEX(env, i), "name"), "%s", "");
        else env_var_name(e->name, FIELD(FIELD_INDEX(env, i), "name"), errs);
        if (e->valueFrom) value_from(e, FIELD(FIELD_INDEX(env, i), "valueFrom"), errs);
    }
    for (size_t i = 0; i < c->envFrom.len; i++) {
        const struct corev1_EnvFromSource *e = &c->envFrom.items[i];
        if (!str_empty(e->prefix)) env_var_name(e->prefix, FIELD(FIELD_INDEX(from, i), "prefix"), errs);
        if (e->configMapRef) env_source(e->configMapRef->name, FIELD(FIELD_INDEX(from, i), "configMapRef"), errs);
        if (e->secretRef) env_source(e->secretRef->name, FIELD(FIELD_INDEX(from, i), "secretRef"), errs);
        if (!e->configMapRef && !e->secretRef) field_invalid(errs, from, "", "must specify one of: `configMapRef` or `secretRef`");
        else if (e->configMapRef && e->secretRef) field_invalid(errs, from, "", "may not have more than one field specified at a time");
    }
}

static void file_key_volume(const struct corev1_PodSpec *s, const struct corev1_EnvVar_list *env, const struct field_path *container, struct field_errors *errs) {
    for (size_t i = 0; i < env->len; i++) {
        const struct corev1_EnvVarSource *from = env->items[i].valueFrom;
        const struct corev1_Volume *found = NULL;
        if (!from || !from->fileKeyRef) continue;
        const struct field_path *at = FIELD(FIELD(FIELD(FIELD_INDEX(FIELD(container, "env"), i), "valueFrom"), "fileKeyRef"), "volumeName");
        LIST_FOREACH(v, &s->volumes)
            if (str_eq(v->name, from->fileKeyRef->volumeName)) found = v;
        if (!found) field_not_found(errs, at, from->fileKeyRef->volumeName);
        else if (!found->emptyDir) field_invalid(errs, at, from->fileKeyRef->volumeName, "referenced volume must be of type emptyDir");
    }
}

void validate_file_key_volumes(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_Container *c;
    const char *list;
    size_t i;
    for (size_t n = 0; (c = pod_container_at(s, n, &list, &i)); n++) file_key_volume(s, &c->env, FIELD_INDEX(FIELD(at, list), i), errs);
}
