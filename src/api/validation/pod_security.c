#include "api/validation/pod_security.h"
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "api/validation/pod_volumes.h"
#include "base/str.h"

static void id(const struct opt_int64 *v, const struct field_path *at, struct field_errors *errs) {
    if (v->has && (v->value < 0 || v->value > INT32_MAX)) field_invalid_int(errs, at, v->value, "must be between 0 and 2147483647, inclusive");
}

static void seccomp(const struct corev1_SeccompProfile *p, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};
    if (!p) return;
    if (str_empty(p->type)) field_required(errs, FIELD(at, "type"), "type is required when seccompProfile is set");
    else if (!str_in(p->type, types)) field_not_supported(errs, FIELD(at, "type"), p->type, types);
    if (str_eq(p->type, "Localhost")) {
        if (!p->localhostProfile) field_required(errs, FIELD(at, "localhostProfile"), "must be set when seccomp type is Localhost");
        else validate_local_descending_path(p->localhostProfile, FIELD(at, "localhostProfile"), errs);
    } else if (p->localhostProfile)
        field_invalid_raw(errs, FIELD(at, "localhostProfile"), object_json_text(errs->arena, &corev1_SeccompProfile_desc, p), "can only be set when seccomp type is Localhost");
}

static void app_armor(const struct corev1_AppArmorProfile *p, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};
    if (!p) return;
    const char *profile = p->localhostProfile;
    if (str_eq(p->type, "Localhost")) {
        if (str_empty(profile)) field_required(errs, FIELD(at, "localhostProfile"), "must be set when AppArmor type is Localhost");
        else if (profile[0] == ' ' || profile[strlen(profile) - 1] == ' ') field_invalid(errs, FIELD(at, "localhostProfile"), profile, "must not be padded with whitespace");
    } else if (str_empty(p->type)) field_required(errs, FIELD(at, "type"), "type is required when appArmorProfile is set");
    else if (!str_in(p->type, types)) field_not_supported(errs, FIELD(at, "type"), p->type, types);
    else if (profile) field_invalid(errs, FIELD(at, "localhostProfile"), profile, "can only be set when AppArmor type is Localhost");
}

/* ---- sysctls: segments of lower-case words joined by dots or slashes ---- */

static bool sysctl_form(const char *name) {
    bool start = true;
    if (!*name || strlen(name) > 253) return false;
    for (const char *p = name; *p; p++) {
        bool word = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9'), separator = *p == '.' || *p == '/';
        if (separator && (start || !((p[-1] >= 'a' && p[-1] <= 'z') || (p[-1] >= '0' && p[-1] <= '9')))) return false;
        if (!separator && !word && (start || (*p != '-' && *p != '_'))) return false;
        start = separator;
    }
    char last = name[strlen(name) - 1];
    return (last >= 'a' && last <= 'z') || (last >= '0' && last <= '9');
}

static void sysctls(const struct corev1_PodSecurityContext *c, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < c->sysctls.len; i++) {
        const char *name = str_or(c->sysctls.items[i].name, "");
        const struct field_path *p = FIELD(FIELD_INDEX(at, i), "name");
        if (!*name) {
            field_required(errs, p, "%s", "");
            continue;
        }
        if (!sysctl_form(name))
            field_invalid(errs, p, name, "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
        else {
            for (size_t j = 0; j < i; j++)
                if (str_eq(c->sysctls.items[j].name, name)) {
                    field_duplicate(errs, p, name);
                    break;
                }
        }
        if (s->hostNetwork && (str_has_prefix(name, "net.") || str_has_prefix(name, "net/"))) field_invalid(errs, p, name, "may not be specified when 'hostNetwork' is true");
    }
}

void validate_pod_security(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodSecurityContext *c = s->securityContext;
    if (s->hostUsers.has && !s->hostUsers.value) {
        if (s->hostNetwork) field_forbidden(errs, FIELD(at, "hostNetwork"), "when `hostUsers` is false");
        if (s->hostPID) field_forbidden(errs, FIELD(at, "HostPID"), "when `hostUsers` is false");
        if (s->hostIPC) field_forbidden(errs, FIELD(at, "HostIPC"), "when `hostUsers` is false");
        for (size_t i = 0; i < s->containers.len; i++)
            if (s->containers.items[i].volumeDevices.len) field_forbidden(errs, FIELD(FIELD_INDEX(FIELD(at, "containers"), i), "volumeDevices"), "when `hostUsers` is false");
    }
    if (!c) return;
    const struct field_path *p = FIELD(at, "securityContext");
    id(&c->fsGroup, FIELD(p, "fsGroup"), errs);
    id(&c->runAsUser, FIELD(p, "runAsUser"), errs);
    id(&c->runAsGroup, FIELD(p, "runAsGroup"), errs);
    for (size_t i = 0; i < c->supplementalGroups.len; i++) id(&(struct opt_int64){true, c->supplementalGroups.items[i]}, FIELD_INDEX(FIELD(p, "supplementalGroups"), i), errs);
    if (s->shareProcessNamespace.has && s->shareProcessNamespace.value && s->hostPID)
        field_invalid_bool(errs, FIELD(p, "shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled");
    sysctls(c, s, FIELD(p, "sysctls"), errs);
    static const char *const change[] = {"Always", "OnRootMismatch", NULL}, *const groups[] = {"Merge", "Strict", NULL}, *const selinux[] = {"MountOption", "Recursive", NULL};
    if (c->fsGroupChangePolicy && !str_in(c->fsGroupChangePolicy, change)) field_not_supported(errs, FIELD(p, "fsGroupChangePolicy"), c->fsGroupChangePolicy, change);
    seccomp(c->seccompProfile, FIELD(p, "seccompProfile"), errs);
    app_armor(c->appArmorProfile, FIELD(p, "appArmorProfile"), errs);
    if (c->supplementalGroupsPolicy && !str_in(c->supplementalGroupsPolicy, groups)) field_not_supported(errs, FIELD(p, "supplementalGroupsPolicy"), c->supplementalGroupsPolicy, groups);
    if (c->seLinuxChangePolicy && !str_in(c->seLinuxChangePolicy, selinux)) field_not_supported(errs, FIELD(p, "seLinuxChangePolicy"), c->seLinuxChangePolicy, selinux);
    if (c->windowsOptions && c->windowsOptions->hostProcess.has && c->windowsOptions->hostProcess.value && !s->hostNetwork)
        field_invalid_bool(errs, FIELD(at, "hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers");
}

void validate_container_security(const struct corev1_SecurityContext *c, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const mounts[] = {"Default", "Unmasked", NULL};
    if (!c) return;
    id(&c->runAsUser, FIELD(at, "runAsUser"), errs);
    id(&c->runAsGroup, FIELD(at, "runAsGroup"), errs);
    if (c->procMount) {
        if (!str_in(c->procMount, mounts)) field_not_supported(errs, FIELD(at, "procMount"), c->procMount, mounts);
        bool host_users = !s->hostUsers.has || s->hostUsers.value;
        if (host_users && str_eq(c->procMount, "Unmasked")) field_invalid(errs, FIELD(at, "procMount"), c->procMount, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(c->seccompProfile, FIELD(at, "seccompProfile"), errs);
    if (c->allowPrivilegeEscalation.has && !c->allowPrivilegeEscalation.value) {
        if (c->privileged.has && c->privileged.value)
            field_invalid_raw(errs, at, object_json_text(errs->arena, &corev1_SecurityContext_desc, c), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        for (size_t i = 0; c->capabilities && i < c->capabilities->add.len; i++)
            if (str_eq(c->capabilities->add.items[i], "CAP_SYS_ADMIN"))
                field_invalid_raw(errs, at, object_json_text(errs->arena, &corev1_SecurityContext_desc, c), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
    }
    app_armor(c->appArmorProfile, FIELD(at, "appArmorProfile"), errs);
    if (c->windowsOptions && c->windowsOptions->hostProcess.has && c->windowsOptions->hostProcess.value && !s->hostNetwork)
        field_invalid_bool(errs, FIELD(FIELD(NULL, "spec"), "hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers");
}

static const char *list_text(struct arena *a, const struct string_list *l) {
    struct buf out = BUF_INIT;
    buf_append_char(&out, '[');
    for (size_t i = 0; i < l->len; i++) buf_printf(&out, "%s\"%s\"", i ? "," : "", l->items[i]);
    buf_append_char(&out, ']');
    const char *text = arena_strdup(a, out.data);
    buf_release(&out);
    return text;
}

void validate_dns_config(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodDNSConfig *c = s->dnsConfig;
    bool none = str_eq(s->dnsPolicy, "None");
    if (none && !c) field_required(errs, at, "must provide `dnsConfig` when `dnsPolicy` is None");
    else if (none && !c->nameservers.len) field_required(errs, FIELD(at, "nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None");
    if (!c || (none && !c->nameservers.len)) return;
    if (c->nameservers.len > 3) field_invalid_raw(errs, FIELD(at, "nameservers"), list_text(errs->arena, &c->nameservers), "must not have more than 3 nameservers");
    for (size_t i = 0; i < c->nameservers.len; i++)
        if (!name_is_ip(c->nameservers.items[i])) field_invalid(errs, FIELD_INDEX(FIELD(at, "nameservers"), i), c->nameservers.items[i], "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    if (c->searches.len > 32) field_invalid_raw(errs, FIELD(at, "searches"), list_text(errs->arena, &c->searches), "must not have more than 32 search paths");
    for (size_t i = 0; i < c->options.len; i++)
        if (str_empty(c->options.items[i].name)) field_required(errs, FIELD_INDEX(FIELD(at, "options"), i), "must not be empty");
}

/* Fields that the other operating system does not have. */
void validate_os(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const systems[] = {"linux", "windows", NULL};
    if (!s->os) return;
    if (str_empty(s->os->name)) {
        field_required(errs, FIELD(FIELD(at, "os"), "name"), "%s", "");
        return;
    }
    if (!str_in(s->os->name, systems)) {
        field_not_supported(errs, FIELD(FIELD(at, "os"), "name"), s->os->name, systems);
        return;
    }
    if (str_eq(s->os->name, "linux")) {
        if (s->securityContext && s->securityContext->windowsOptions) field_forbidden(errs, FIELD(FIELD(at, "securityContext"), "windowsOptions"), "windows options cannot be set for a linux pod");
        for (size_t i = 0; i < s->containers.len; i++)
            if (s->containers.items[i].securityContext && s->containers.items[i].securityContext->windowsOptions)
                field_forbidden(errs, FIELD(FIELD(FIELD_INDEX(FIELD(at, "containers"), i), "securityContext"), "windowsOptions"), "windows options cannot be set for a linux pod");
        return;
    }
    static const char no[] = "cannot be set for a windows pod";
    if (s->hostPID) field_forbidden(errs, FIELD(at, "hostPID"), "%s", no);
    if (s->hostIPC) field_forbidden(errs, FIELD(at, "hostIPC"), "%s", no);
    const struct corev1_PodSecurityContext *c = s->securityContext;
    const struct field_path *p = FIELD(at, "securityContext");
    if (!c) return;
    if (c->seLinuxOptions) field_forbidden(errs, FIELD(p, "seLinuxOptions"), "%s", no);
    if (c->seccompProfile) field_forbidden(errs, FIELD(p, "seccompProfile"), "%s", no);
    if (c->appArmorProfile) field_forbidden(errs, FIELD(p, "appArmorProfile"), "%s", no);
    if (c->fsGroup.has) field_forbidden(errs, FIELD(p, "fsGroup"), "%s", no);
    if (c->fsGroupChangePolicy) field_forbidden(errs, FIELD(p, "fsGroupChangePolicy"), "%s", no);
    if (c->sysctls.len) field_forbidden(errs, FIELD(p, "sysctls"), "%s", no);
    if (s->shareProcessNamespace.has) field_forbidden(errs, FIELD(p, "shareProcessNamespace"), "%s", no);
    if (c->runAsUser.has) field_forbidden(errs, FIELD(p, "runAsUser"), "%s", no);
    if (c->runAsGroup.has) field_forbidden(errs, FIELD(p, "runAsGroup"), "%s", no);
    if (c->supplementalGroups.len) field_forbidden(errs, FIELD(p, "supplementalGroups"), "%s", no);
}
