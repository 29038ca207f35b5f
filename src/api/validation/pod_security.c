#include "api/validation/pod_security.h"
#include <ctype.h>
#include <string.h>
#include "api/names.h"
#include "api/pod_util.h"
#include "api/validation/meta.h"
#include "api/validation/pod_volumes.h"
#include "base/str.h"

enum { PROFILE_MAX = 4095, SYSCTL_MAX = 253 };

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

void validate_app_armor_profile(const struct corev1_AppArmorProfile *p, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};
    if (!p) return;
    const char *profile = p->localhostProfile;
    if (str_eq(p->type, "Localhost")) {
        if (str_empty(profile)) field_required(errs, FIELD(at, "localhostProfile"), "must be set when AppArmor type is Localhost");
        else if (isspace((unsigned char)profile[0]) || isspace((unsigned char)profile[strlen(profile) - 1])) field_invalid(errs, FIELD(at, "localhostProfile"), profile, "must not be padded with whitespace");
        if (profile && strlen(profile) > PROFILE_MAX) field_too_long(errs, FIELD(at, "localhostProfile"), PROFILE_MAX);
    } else if (str_empty(p->type)) field_required(errs, FIELD(at, "type"), "type is required when appArmorProfile is set");
    else if (!str_in(p->type, types)) field_not_supported(errs, FIELD(at, "type"), p->type, types);
    else if (profile) field_invalid(errs, FIELD(at, "localhostProfile"), profile, "can only be set when AppArmor type is Localhost");
}

/* ---- sysctls: segments of lower-case words joined by dots or slashes ---- */

static bool sysctl_form(const char *name) {
    bool start = true;
    if (!*name || strlen(name) > SYSCTL_MAX) return false;
    for (const char *p = name; *p; p++) {
        bool word = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9'), separator = *p == '.' || *p == '/';
        if (separator && (start || !((p[-1] >= 'a' && p[-1] <= 'z') || (p[-1] >= '0' && p[-1] <= '9')))) return false;
        if (!separator && !word && (start || (*p != '-' && *p != '_'))) return false;
        start = separator;
    }
    char last = name[strlen(name) - 1];
    return (last >= 'a' && last <= 'z') || (last >= '0' && last <= '9');
}

/* Whether the sysctl belongs to the namespace of IPC or of networks; in names whose first separator is a slash, slashes are the dots. */
static void sysctl_namespace(const char *name, bool *ret_ipc, bool *ret_net) {
    static const char *const ipc[] = {"kernel.shm", "kernel.msg", "fs.mqueue."};
    char dotted[SYSCTL_MAX + 1] = "";
    size_t len = strnlen(name, SYSCTL_MAX), first = strcspn(name, "./");
    bool slashed = name[first] == '/';
    for (size_t i = 0; i < len; i++) dotted[i] = !slashed ? name[i] : name[i] == '/' ? '.' : name[i] == '.' ? '/' : name[i];
    *ret_net = str_has_prefix(dotted, "net.");
    *ret_ipc = str_eq(dotted, "kernel.sem");
    for (size_t i = 0; i < ARRAY_LEN(ipc); i++) *ret_ipc |= str_has_prefix(dotted, ipc[i]);
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
        bool ipc, net;
        sysctl_namespace(name, &ipc, &net);
        if (s->hostNetwork && net) field_invalid(errs, p, name, "may not be specified when 'hostNetwork' is true");
        else if (s->hostIPC && ipc) field_invalid(errs, p, name, "may not be specified when 'hostIPC' is true");
    }
}

/* ---- Windows: the account that processes run as is DOMAIN\\USER or USER ---- */

static bool netbios_domain(const char *d, size_t len) { return len >= 1 && len <= 15 && d[0] != '.' && strcspn(d, "\\/:*?\"<>|") >= len; }

/* Labels of letters, digits and dashes (not at their ends), joined by dots. */
static bool dns_domain(const char *d, size_t len) {
    for (size_t from = 0; from <= len;) {
        size_t n = 0;
        while (from + n < len && (isalnum((unsigned char)d[from + n]) || d[from + n] == '-')) n++;
        if (n < 1 || n > 63 || d[from] == '-' || d[from + n - 1] == '-') return false;
        if (from + n < len && d[from + n] != '.') return false;
        from += n + 1;
    }
    return true;
}

static void windows_user(const char *name, const struct field_path *at, struct field_errors *errs) {
    const char *slash = strchr(name, '\\'), *user = slash ? slash + 1 : name;
    size_t domain = slash ? (size_t)(slash - name) : 0;
    bool control = false;
    for (const char *p = name; *p; p++) control |= (unsigned char)*p < 0x20 || *p == 0x7f;
    if (!*name) field_invalid(errs, at, name, "runAsUserName cannot be an empty string");
    else if (control) field_invalid(errs, at, name, "runAsUserName cannot contain control characters");
    else if (slash && strchr(slash + 1, '\\')) field_invalid(errs, at, name, "runAsUserName cannot contain more than one backslash");
    else {
        if (domain >= 256) field_invalid(errs, at, name, "runAsUserName's Domain length must be under 256 characters");
        if (slash && !netbios_domain(name, domain) && !dns_domain(name, domain)) field_invalid(errs, at, name, "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        if (!*user) field_invalid(errs, at, name, "runAsUserName's User cannot be empty");
        else if (strlen(user) > 104) field_invalid(errs, at, name, "runAsUserName's User length must not be longer than 104 characters");
        if (*user && user[strspn(user, ". ")] == '\0') field_invalid(errs, at, name, "runAsUserName's User cannot contain only periods or spaces");
        if (user[strcspn(user, "\"/:;|=,+*?<>@[]")]) field_invalid(errs, at, name, "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
}

static void windows_options(const struct corev1_WindowsSecurityContextOptions *o, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (!o) return;
    if (o->gmsaCredentialSpecName) {
        name_dns1123_subdomain(errs->arena, o->gmsaCredentialSpecName, &msgs);
        field_invalid_each(errs, FIELD(at, "gmsaCredentialSpecName"), o->gmsaCredentialSpecName, &msgs);
    }
    if (o->gmsaCredentialSpec && !*o->gmsaCredentialSpec) field_invalid(errs, FIELD(at, "gmsaCredentialSpec"), "", "gmsaCredentialSpec cannot be an empty string");
    else if (o->gmsaCredentialSpec && strlen(o->gmsaCredentialSpec) > 64 << 10) field_invalid(errs, FIELD(at, "gmsaCredentialSpec"), o->gmsaCredentialSpec, "gmsaCredentialSpec size must be under 64 KiB");
    if (o->runAsUserName) windows_user(o->runAsUserName, FIELD(at, "runAsUserName"), errs);
}

void validate_pod_security(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodSecurityContext *c = s->securityContext;
    if (!c) return;
    const struct field_path *p = FIELD(at, "securityContext");
    id(&c->fsGroup, FIELD(p, "fsGroup"), errs);
    id(&c->runAsUser, FIELD(p, "runAsUser"), errs);
    id(&c->runAsGroup, FIELD(p, "runAsGroup"), errs);
    for (size_t i = 0; i < c->supplementalGroups.len; i++) id(&(struct opt_int64){true, c->supplementalGroups.items[i]}, FIELD_INDEX(FIELD(p, "supplementalGroups"), i), errs);
    if (s->shareProcessNamespace.has && s->shareProcessNamespace.value && s->hostPID)
        field_invalid_bool(errs, FIELD(p, "shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled");
    sysctls(c, s, FIELD(p, "sysctls"), errs);
    static const char *const change[] = {"Always", "OnRootMismatch", NULL}, *const groups[] = {"Merge", "Strict", NULL}, *const selinux[] = {"Recursive", NULL}; /* MountOption: its gate, SELinuxMount, is off by default */
    if (c->fsGroupChangePolicy && !str_in(c->fsGroupChangePolicy, change)) field_not_supported(errs, FIELD(p, "fsGroupChangePolicy"), c->fsGroupChangePolicy, change);
    seccomp(c->seccompProfile, FIELD(p, "seccompProfile"), errs);
    windows_options(c->windowsOptions, FIELD(p, "windowsOptions"), errs);
    validate_app_armor_profile(c->appArmorProfile, FIELD(p, "appArmorProfile"), errs);
    if (c->supplementalGroupsPolicy && !str_in(c->supplementalGroupsPolicy, groups)) field_not_supported(errs, FIELD(p, "supplementalGroupsPolicy"), c->supplementalGroupsPolicy, groups);
    if (c->seLinuxChangePolicy && !str_in(c->seLinuxChangePolicy, selinux)) field_not_supported(errs, FIELD(p, "seLinuxChangePolicy"), c->seLinuxChangePolicy, selinux);
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
    windows_options(c->windowsOptions, FIELD(at, "windowsOptions"), errs);
    validate_app_armor_profile(c->appArmorProfile, FIELD(at, "appArmorProfile"), errs);
}

/* Domains may hold underscores and end in a dot; "." alone is fine. */
static void search_domains(const struct corev1_PodDNSConfig *c, const struct field_path *at, struct field_errors *errs) {
    size_t total = c->searches.len ? c->searches.len - 1 : 0;
    for (size_t i = 0; i < c->searches.len; i++) total += strlen(c->searches.items[i]);
    if (total > 2048) field_invalid_raw(errs, at, string_list_json_text(errs->arena, &c->searches), "must not have more than 2048 characters (including spaces) in the search list");
    for (size_t i = 0; i < c->searches.len; i++) {
        const char *s = c->searches.items[i];
        size_t len = strlen(s);
        if (str_eq(s, ".")) continue;
        if (len && s[len - 1] == '.') s = arena_strndup(errs->arena, s, len - 1);
        struct string_list msgs = {0};
        name_dns1123_subdomain_with_underscore(errs->arena, s, &msgs);
        field_invalid_each(errs, FIELD_INDEX(at, i), s, &msgs);
    }
}

void validate_dns_config(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodDNSConfig *c = s->dnsConfig;
    bool none = str_eq(s->dnsPolicy, "None");
    if (none && !c) field_required(errs, at, "must provide `dnsConfig` when `dnsPolicy` is None");
    else if (none && !c->nameservers.len) field_required(errs, FIELD(at, "nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None");
    if (!c || (none && !c->nameservers.len)) return;
    if (c->nameservers.len > 3) field_invalid_raw(errs, FIELD(at, "nameservers"), string_list_json_text(errs->arena, &c->nameservers), "must not have more than 3 nameservers");
    for (size_t i = 0; i < c->nameservers.len; i++)
        validate_ip(c->nameservers.items[i], FIELD_INDEX(FIELD(at, "nameservers"), i), errs);
    if (c->searches.len > 32) field_invalid_raw(errs, FIELD(at, "searches"), string_list_json_text(errs->arena, &c->searches), "must not have more than 32 search paths");
    search_domains(c, FIELD(at, "searches"), errs);
    for (size_t i = 0; i < c->options.len; i++)
        if (str_empty(c->options.items[i].name)) field_required(errs, FIELD_INDEX(FIELD(at, "options"), i), "must not be empty");
}

/* ---- users of the host, processes of the host ---- */

void validate_host_users(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->hostUsers.has || s->hostUsers.value) return;
    if (s->hostNetwork) field_forbidden(errs, FIELD(at, "hostNetwork"), "when `hostUsers` is false");
    if (s->hostPID) field_forbidden(errs, FIELD(at, "HostPID"), "when `hostUsers` is false");
    if (s->hostIPC) field_forbidden(errs, FIELD(at, "HostIPC"), "when `hostUsers` is false");
    const struct corev1_Container *c;
    const char *list;
    size_t i;
    for (size_t n = 0; (c = pod_container_at(s, n, &list, &i)); n++)
        if (c->volumeDevices.len) field_forbidden(errs, FIELD(FIELD_INDEX(FIELD(at, list), i), "volumeDevices"), "when `hostUsers` is false");
}

static struct opt_bool host_process_of(const struct corev1_WindowsSecurityContextOptions *o) { return o ? o->hostProcess : (struct opt_bool){0}; }

void validate_host_process(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    struct opt_bool pod = host_process_of(s->securityContext ? s->securityContext->windowsOptions : NULL);
    const struct corev1_Container *c;
    const char *list;
    size_t i, all = 0, n = 0;
    for (; (c = pod_container_at(s, all, &list, &i)); all++) {
        struct opt_bool own = host_process_of(c->securityContext ? c->securityContext->windowsOptions : NULL);
        if (pod.has && own.has && pod.value != own.value)
            field_invalid_bool(errs, FIELD(FIELD(FIELD(FIELD_INDEX(FIELD(at, list), i), "securityContext"), "windowsOptions"), "hostProcess"), own.value,
                               "pod hostProcess value must be identical if both are specified, was %s", pod.value ? "true" : "false");
        n += own.has ? own.value : pod.has && pod.value;
    }
    if (!n) return;
    if (n != all) field_invalid(errs, at, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers");
    if (!s->hostNetwork) field_invalid_bool(errs, FIELD(at, "hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers");
}

/* ---- operating systems: fields that the other one does not have ---- */

struct os_field { const char *name; bool set; };

static void not_for_os(const struct os_field *fields, size_t len, const char *text, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < len; i++)
        if (fields[i].set) field_forbidden(errs, FIELD(at, fields[i].name), "%s", text);
}

static void windows_container(const struct corev1_SecurityContext *c, const struct field_path *at, struct field_errors *errs) {
    if (!c) return;
    const struct os_field fields[] = {{"appArmorProfile", c->appArmorProfile != NULL}, {"seLinuxOptions", c->seLinuxOptions != NULL}, {"seccompProfile", c->seccompProfile != NULL},
        {"capabilities", c->capabilities != NULL}, {"readOnlyRootFilesystem", c->readOnlyRootFilesystem.has}, {"privileged", c->privileged.has},
        {"allowPrivilegeEscalation", c->allowPrivilegeEscalation.has}, {"procMount", c->procMount != NULL}, {"runAsUser", c->runAsUser.has}, {"runAsGroup", c->runAsGroup.has}};
    not_for_os(fields, ARRAY_LEN(fields), "cannot be set for a windows pod", FIELD(at, "securityContext"), errs);
}

static void windows_pod(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char no[] = "cannot be set for a windows pod";
    const struct corev1_PodSecurityContext none = {0}, *c = s->securityContext ? s->securityContext : &none;
    const struct field_path *p = FIELD(at, "securityContext");
    const struct os_field first[] = {{"appArmorProfile", c->appArmorProfile != NULL}, {"seLinuxOptions", c->seLinuxOptions != NULL}};
    const struct os_field host[] = {{"hostUsers", s->hostUsers.has}, {"hostPID", s->hostPID}, {"hostIPC", s->hostIPC}};
    const struct os_field more[] = {{"seccompProfile", c->seccompProfile != NULL}, {"fsGroup", c->fsGroup.has}, {"fsGroupChangePolicy", c->fsGroupChangePolicy != NULL}, {"sysctls", c->sysctls.len > 0}};
    const struct os_field last[] = {{"runAsUser", c->runAsUser.has}, {"runAsGroup", c->runAsGroup.has}, {"supplementalGroups", c->supplementalGroups.items != NULL},
                                    {"supplementalGroupsPolicy", c->supplementalGroupsPolicy != NULL}, {"seLinuxChangePolicy", c->seLinuxChangePolicy != NULL}};
    not_for_os(first, ARRAY_LEN(first), no, p, errs);
    not_for_os(host, ARRAY_LEN(host), no, at, errs);
    not_for_os(more, ARRAY_LEN(more), no, p, errs);
    if (s->shareProcessNamespace.has) field_forbidden(errs, FIELD(at, "shareProcessNamespace"), "%s", no);
    not_for_os(last, ARRAY_LEN(last), no, p, errs);
}

static void linux_container(const struct corev1_SecurityContext *c, const struct field_path *at, struct field_errors *errs) {
    if (c && c->windowsOptions) field_forbidden(errs, FIELD(FIELD(at, "securityContext"), "windowsOptions"), "windows options cannot be set for a linux pod");
}

void validate_os(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const systems[] = {"linux", "windows", NULL};
    const struct corev1_Container *c;
    const char *list;
    size_t i;
    if (!s->os) return;
    bool windows = str_eq(s->os->name, "windows");
    if (str_empty(s->os->name)) {
        field_required(errs, FIELD(FIELD(at, "os"), "name"), "%s", "");
        return;
    }
    if (!str_in(s->os->name, systems)) {
        field_not_supported(errs, FIELD(at, "os"), s->os->name, systems);
        return;
    }
    if (windows) windows_pod(s, at, errs);
    else if (s->securityContext && s->securityContext->windowsOptions) field_forbidden(errs, FIELD(FIELD(at, "securityContext"), "windowsOptions"), "windows options cannot be set for a linux pod");
    for (size_t n = 0; (c = pod_container_at(s, n, &list, &i)); n++) (windows ? windows_container : linux_container)(c->securityContext, FIELD_INDEX(FIELD(at, list), i), errs);
}
