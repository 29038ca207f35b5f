#include "apiserver/admission/pod_security_checks.h"
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

/* ---- levels, versions, policies ---- */

static const char *const level_names[] = {"privileged", "baseline", "restricted", NULL};

const char *pod_security_parse_level(const char *text, enum pod_security_level *ret) {
    for (int i = 0; level_names[i]; i++)
        if (text && strcmp(text, level_names[i]) == 0) {
            *ret = (enum pod_security_level)i;
            return NULL;
        }
    *ret = POD_SECURITY_RESTRICTED;
    return "must be one of privileged, baseline, restricted";
}

const char *pod_security_parse_version(const char *text, int64_t *ret) {
    *ret = POD_SECURITY_LATEST;
    if (str_eq(text, "latest")) return NULL;
    const char *minor = str_has_prefix(str_or(text, ""), "v1.") ? text + 3 : "";
    if (strspn(minor, "0123456789") == strlen(minor) && (*minor != '0' || !minor[1]) && str_to_i64(minor, ret) && *ret != POD_SECURITY_LATEST) return NULL;
    *ret = POD_SECURITY_LATEST;
    return "must be \"latest\" or \"v1.x\"";
}

char *pod_security_standard_string(struct arena *a, const struct pod_security_standard *s) {
    return s->minor == POD_SECURITY_LATEST ? arena_printf(a, "%s:latest", level_names[s->level]) : arena_printf(a, "%s:v1.%lld", level_names[s->level], (long long)s->minor);
}

bool pod_security_standard_equal(const struct pod_security_standard *x, const struct pod_security_standard *y) { return x->level == y->level && x->minor == y->minor; }

static void label_error(struct field_errors *errs, const char *key, const char *value, const char *why) {
    if (why) field_invalid(errs, FIELD_KEY(FIELD(FIELD(NULL, "metadata"), "labels"), key), value, "%s", why);
}

/* One mode's two labels; *ret_level says whether there was one for the level, and *ret_ok whether it could be read. */
static void read_mode(const struct string_map *labels, const char *level_key, const char *version_key, struct pod_security_standard *s, bool *ret_level, bool *ret_ok, bool *ret_version, struct field_errors *errs) {
    *ret_level = string_map_has(labels, level_key);
    *ret_version = string_map_has(labels, version_key);
    *ret_ok = false;
    if (*ret_level) {
        const char *text = str_or(string_map_get(labels, level_key), ""), *why = pod_security_parse_level(text, &s->level);
        *ret_ok = !why;
        label_error(errs, level_key, text, why);
    }
    if (*ret_version) {
        const char *text = str_or(string_map_get(labels, version_key), "");
        label_error(errs, version_key, text, pod_security_parse_version(text, &s->minor));
    }
}

#define LABEL "pod-security.kubernetes.io/"

struct pod_security_policy pod_security_policy_of(const struct string_map *labels, const struct pod_security_policy *defaults, struct field_errors *errs) {
    struct pod_security_policy p = *defaults;
    bool enforce, enforce_ok, audit, audit_ok, warn, warn_ok, version, warn_version;
    if (!labels->len) return p;
    read_mode(labels, LABEL "enforce", LABEL "enforce-version", &p.enforce, &enforce, &enforce_ok, &version, errs);
    read_mode(labels, LABEL "audit", LABEL "audit-version", &p.audit, &audit, &audit_ok, &version, errs);
    if (audit && !audit_ok) p.audit.level = POD_SECURITY_PRIVILEGED; /* these two fail open */
    read_mode(labels, LABEL "warn", LABEL "warn-version", &p.warn, &warn, &warn_ok, &warn_version, errs);
    if (warn && !warn_ok) p.warn.level = POD_SECURITY_PRIVILEGED;
    if (!warn && enforce_ok && p.enforce.level > p.warn.level) { /* what is going to be refused is warned of in templates */
        p.warn.level = p.enforce.level;
        if (!warn_version) p.warn.minor = p.enforce.minor;
    }
    return p;
}

/* ---- what checks work with ---- */

struct subject {
    struct arena *a;
    const struct metav1_ObjectMeta *meta;
    const struct corev1_PodSpec *spec;
    const struct corev1_Container **containers; /* init, ordinary, ephemeral: ends with NULL */
    struct pod_security_result *ret;
};
#define EACH_CONTAINER(c, s) for (const struct corev1_Container **c##_at = (s)->containers, *c; (c = *c##_at) != NULL; c##_at++)

static void violate(const struct subject *s, const char *reason, const char *detail) {
    string_list_push(s->a, &s->ret->reasons, reason);
    string_list_push(s->a, &s->ret->details, detail);
}

static const char *join(struct arena *a, const struct string_list *l, const char *between, const char *around) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < l->len; i++) buf_printf(&out, "%s%s%s%s", i ? between : "", around, l->items[i], around);
    return arena_strdup(a, buf_cstr(&out));
}

static const char *quoted(struct arena *a, const struct string_list *l) { return join(a, l, ", ", "\""); }
static const char *plural(const char *one, const char *more, size_t n) { return n == 1 ? one : more; }

static int compare(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

/* A sorted set, as upstream's sets.String lists it. */
static void set_add(struct arena *a, struct string_list *set, const char *s) {
    if (string_list_has(set, s)) return;
    string_list_push(a, set, s);
    qsort(set->items, set->len, sizeof(*set->items), compare);
}

/* `container "c"`, `containers "c", "d"` */
static const char *containers_text(struct arena *a, const struct string_list *names) { return arena_printf(a, "%s %s", plural("container", "containers", names->len), quoted(a, names)); }

/* `pod and containers "c", "d"`; NULL if neither is bad. */
static const char *setters_text(struct arena *a, bool pod, const struct string_list *names) {
    if (!names->len) return pod ? "pod" : NULL;
    return arena_printf(a, "%s%s", pod ? "pod and " : "", containers_text(a, names));
}

static void add_name(const struct subject *s, struct string_list *l, const struct corev1_Container *c) { string_list_push(s->a, l, str_or(c->name, "")); }

static bool is_true(struct opt_bool b) { return b.has && b.value; }
static bool is_false(struct opt_bool b) { return b.has && !b.value; }
static bool is_windows(const struct subject *s) { return s->spec->os && str_eq(s->spec->os->name, "windows"); }
/* The Pod has user namespaces of its own: root in it is nobody outside. */
static bool has_own_users(const struct subject *s) { return is_false(s->spec->hostUsers); }

/* ---- baseline ---- */

#define APPARMOR_ANNOTATION "container.apparmor.security.beta.kubernetes.io/"

static bool apparmor_fine(const struct corev1_AppArmorProfile *p) { return !p || str_eq(p->type, "RuntimeDefault") || str_eq(p->type, "Localhost"); }

static void app_armor_profile(const struct subject *s) {
    const struct corev1_AppArmorProfile *own = s->spec->securityContext ? s->spec->securityContext->appArmorProfile : NULL;
    struct string_list bad = {0}, values = {0}, annotations = {0};
    if (!apparmor_fine(own)) set_add(s->a, &values, str_or(own->type, ""));
    EACH_CONTAINER(c, s) {
        const struct corev1_AppArmorProfile *p = c->securityContext ? c->securityContext->appArmorProfile : NULL;
        if (apparmor_fine(p)) continue;
        add_name(s, &bad, c);
        set_add(s->a, &values, str_or(p->type, ""));
    }
    LIST_FOREACH(e, &s->meta->annotations)
        if (str_has_prefix(e->key, APPARMOR_ANNOTATION) && !str_empty(e->value) && !str_eq(e->value, "runtime/default") && !str_has_prefix(e->value, "localhost/"))
            set_add(s->a, &annotations, arena_printf(s->a, "%s=%s", e->key, go_quote(s->a, e->value)));
    for (size_t i = 0; i < annotations.len; i++) string_list_push(s->a, &values, annotations.items[i]);
    const char *setters = setters_text(s->a, !apparmor_fine(own), &bad);
    if (annotations.len) setters = arena_printf(s->a, "%s%s%s", setters ? setters : "", setters ? " and " : "", plural("annotation", "annotations", annotations.len));
    if (setters) violate(s, plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len), arena_printf(s->a, "%s must not set AppArmor profile type to %s", setters, quoted(s->a, &values)));
}

/* Capabilities that containers add and that are not allowed; the containers' names. */
static void added_capabilities(const struct subject *s, const char *const *allowed, struct string_list *bad, struct string_list *values) {
    EACH_CONTAINER(c, s) {
        bool fine = true;
        if (!c->securityContext || !c->securityContext->capabilities) continue;
        const struct string_list *add = &c->securityContext->capabilities->add;
        for (size_t i = 0; i < add->len; i++) {
            if (str_in(add->items[i], allowed)) continue;
            fine = false;
            set_add(s->a, values, add->items[i]);
        }
        if (!fine) add_name(s, bad, c);
    }
}

static const char *capabilities_text(const struct subject *s, const struct string_list *bad, const struct string_list *values) {
    return arena_printf(s->a, "%s must not include %s in securityContext.capabilities.add", containers_text(s->a, bad), quoted(s->a, values));
}

static void capabilities_baseline(const struct subject *s) {
    static const char *const allowed[] = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", NULL};
    struct string_list bad = {0}, values = {0};
    added_capabilities(s, allowed, &bad, &values);
    if (bad.len) violate(s, "non-default capabilities", capabilities_text(s, &bad, &values));
}

static void host_namespaces(const struct subject *s) {
    struct string_list set = {0};
    if (s->spec->hostNetwork) string_list_push(s->a, &set, "hostNetwork=true");
    if (s->spec->hostPID) string_list_push(s->a, &set, "hostPID=true");
    if (s->spec->hostIPC) string_list_push(s->a, &set, "hostIPC=true");
    if (set.len) violate(s, "host namespaces", join(s->a, &set, ", ", ""));
}

static void host_path_volumes(const struct subject *s) {
    struct string_list bad = {0};
    LIST_FOREACH(v, &s->spec->volumes)
        if (v->hostPath) string_list_push(s->a, &bad, str_or(v->name, ""));
    if (bad.len) violate(s, "hostPath volumes", arena_printf(s->a, "%s %s", plural("volume", "volumes", bad.len), quoted(s->a, &bad)));
}

static void host_ports(const struct subject *s) {
    struct string_list bad = {0}, ports = {0};
    EACH_CONTAINER(c, s) {
        bool fine = true;
        LIST_FOREACH(p, &c->ports) {
            if (!p->hostPort) continue;
            fine = false;
            set_add(s->a, &ports, arena_printf(s->a, "%d", p->hostPort));
        }
        if (!fine) add_name(s, &bad, c);
    }
    if (bad.len) violate(s, "hostPort", arena_printf(s->a, "%s %s %s %s", containers_text(s->a, &bad), plural("uses", "use", bad.len), plural("hostPort", "hostPorts", ports.len), join(s->a, &ports, ", ", "")));
}

static void add_hosts(const struct subject *s, struct string_list *hosts, const struct corev1_HTTPGetAction *http, const struct corev1_TCPSocketAction *tcp) {
    if (http && !str_empty(http->host)) set_add(s->a, hosts, http->host);
    if (tcp && !str_empty(tcp->host)) set_add(s->a, hosts, tcp->host);
}

static bool names_a_host(const struct corev1_HTTPGetAction *http, const struct corev1_TCPSocketAction *tcp) { return (http && !str_empty(http->host)) || (tcp && !str_empty(tcp->host)); }

static void host_probes(const struct subject *s) {
    struct string_list bad = {0}, hosts = {0};
    EACH_CONTAINER(c, s) {
        const struct corev1_Probe *probes[] = {c->livenessProbe, c->readinessProbe, c->startupProbe};
        const struct corev1_LifecycleHandler *handlers[] = {c->lifecycle ? c->lifecycle->postStart : NULL, c->lifecycle ? c->lifecycle->preStop : NULL};
        bool any = false;
        for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
            if (!probes[i] || !names_a_host(probes[i]->httpGet, probes[i]->tcpSocket)) continue;
            add_hosts(s, &hosts, probes[i]->httpGet, probes[i]->tcpSocket);
            any = true;
        }
        for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
            if (!handlers[i] || !names_a_host(handlers[i]->httpGet, handlers[i]->tcpSocket)) continue;
            add_hosts(s, &hosts, handlers[i]->httpGet, handlers[i]->tcpSocket);
            any = true;
        }
        if (any) set_add(s->a, &bad, str_or(c->name, ""));
    }
    if (bad.len)
        violate(s, "probe or lifecycle host", arena_printf(s->a, "%s %s %s %s", containers_text(s->a, &bad), plural("uses", "use", bad.len), plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len), quoted(s->a, &hosts)));
}

static void privileged(const struct subject *s) {
    struct string_list bad = {0};
    EACH_CONTAINER(c, s)
        if (c->securityContext && is_true(c->securityContext->privileged)) add_name(s, &bad, c);
    if (bad.len) violate(s, "privileged", arena_printf(s->a, "%s must not set securityContext.privileged=true", containers_text(s->a, &bad)));
}

static void proc_mount(const struct subject *s) {
    struct string_list bad = {0}, values = {0};
    EACH_CONTAINER(c, s) {
        const char *mount = c->securityContext ? c->securityContext->procMount : NULL;
        if (!mount || strcmp(mount, "Default") == 0) continue;
        add_name(s, &bad, c);
        set_add(s->a, &values, mount);
    }
    if (bad.len) violate(s, "procMount", arena_printf(s->a, "%s must not set securityContext.procMount to %s", containers_text(s->a, &bad), quoted(s->a, &values)));
}

static void proc_mount_1_35(const struct subject *s) {
    if (!has_own_users(s)) proc_mount(s);
}

struct selinux { const char *const *types; struct string_list bad_types; bool user, role; };

static bool selinux_fine(const struct subject *s, struct selinux *found, const struct corev1_SELinuxOptions *o) {
    if (!o) return true;
    bool type = str_empty(o->type) || str_in(o->type, found->types);
    if (!type) set_add(s->a, &found->bad_types, o->type);
    found->user |= !str_empty(o->user);
    found->role |= !str_empty(o->role);
    return type && str_empty(o->user) && str_empty(o->role);
}

static void selinux_options(const struct subject *s, const char *const *types) {
    struct selinux found = {.types = types};
    struct string_list bad = {0}, data = {0};
    bool pod = !selinux_fine(s, &found, s->spec->securityContext ? s->spec->securityContext->seLinuxOptions : NULL);
    EACH_CONTAINER(c, s)
        if (!selinux_fine(s, &found, c->securityContext ? c->securityContext->seLinuxOptions : NULL)) add_name(s, &bad, c);
    const char *setters = setters_text(s->a, pod, &bad);
    if (!setters) return;
    if (found.bad_types.len) string_list_push(s->a, &data, arena_printf(s->a, "%s %s", plural("type", "types", found.bad_types.len), quoted(s->a, &found.bad_types)));
    if (found.user) string_list_push(s->a, &data, "user may not be set");
    if (found.role) string_list_push(s->a, &data, "role may not be set");
    violate(s, "seLinuxOptions", arena_printf(s->a, "%s set forbidden securityContext.seLinuxOptions: %s", setters, join(s->a, &data, "; ", "")));
}

static const char *const selinux_types[] = {"container_t", "container_init_t", "container_kvm_t", "container_engine_t", NULL}; /* the last since 1.31 */
static void selinux_options_1_0(const struct subject *s) {
    selinux_options(s, (const char *const[]){selinux_types[0], selinux_types[1], selinux_types[2], NULL});
}
static void selinux_options_1_31(const struct subject *s) { selinux_options(s, selinux_types); }

#define SECCOMP_POD_ANNOTATION "seccomp.security.alpha.kubernetes.io/pod"
#define SECCOMP_CONTAINER_ANNOTATION "container.seccomp.security.alpha.kubernetes.io/"

static void seccomp_annotation(const struct subject *s, const char *key, struct string_list *forbidden) {
    if (!string_map_has(&s->meta->annotations, key)) return;
    const char *v = str_or(string_map_get(&s->meta->annotations, key), "");
    if (strcmp(v, "runtime/default") != 0 && strcmp(v, "docker/default") != 0 && !str_has_prefix(v, "localhost/")) set_add(s->a, forbidden, arena_printf(s->a, "%s=%s", key, go_quote(s->a, v)));
}

static void seccomp_baseline_1_0(const struct subject *s) {
    struct string_list forbidden = {0};
    seccomp_annotation(s, SECCOMP_POD_ANNOTATION, &forbidden);
    EACH_CONTAINER(c, s) seccomp_annotation(s, arena_printf(s->a, SECCOMP_CONTAINER_ANNOTATION "%s", str_or(c->name, "")), &forbidden);
    if (forbidden.len) violate(s, "seccompProfile", arena_printf(s->a, "forbidden %s %s", plural("annotation", "annotations", forbidden.len), join(s->a, &forbidden, ", ", "")));
}

static bool seccomp_fine(const struct corev1_SeccompProfile *p) { return str_eq(p->type, "Localhost") || str_eq(p->type, "RuntimeDefault"); }

/* Who sets a profile that is not allowed. True if anyone does: that is told, and what is only missing is not. */
static bool seccomp_wrong(const struct subject *s) {
    const struct corev1_SeccompProfile *own = s->spec->securityContext ? s->spec->securityContext->seccompProfile : NULL;
    struct string_list bad = {0}, values = {0};
    bool pod = own && !seccomp_fine(own);
    if (pod) set_add(s->a, &values, str_or(own->type, ""));
    EACH_CONTAINER(c, s) {
        const struct corev1_SeccompProfile *p = c->securityContext ? c->securityContext->seccompProfile : NULL;
        if (!p || seccomp_fine(p)) continue;
        add_name(s, &bad, c);
        set_add(s->a, &values, str_or(p->type, ""));
    }
    const char *setters = setters_text(s->a, pod, &bad);
    if (setters) violate(s, "seccompProfile", arena_printf(s->a, "%s must not set securityContext.seccompProfile.type to %s", setters, quoted(s->a, &values)));
    return setters != NULL;
}

static void seccomp_baseline_1_19(const struct subject *s) { seccomp_wrong(s); }

static const char *const safe_sysctls[] = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"};
enum { SYSCTLS_1_0 = 5, SYSCTLS_1_27 = 6, SYSCTLS_1_29 = 10, SYSCTLS_1_32 = 12 }; /* how many of them in which version */

static void sysctls(const struct subject *s, size_t safe) {
    struct string_list bad = {0};
    if (!s->spec->securityContext) return;
    LIST_FOREACH(c, &s->spec->securityContext->sysctls) {
        bool fine = false;
        for (size_t i = 0; i < safe; i++) fine |= str_eq(c->name, safe_sysctls[i]);
        if (!fine) string_list_push(s->a, &bad, str_or(c->name, ""));
    }
    if (bad.len) violate(s, "forbidden sysctls", join(s->a, &bad, ", ", ""));
}
static void sysctls_1_0(const struct subject *s) { sysctls(s, SYSCTLS_1_0); }
static void sysctls_1_27(const struct subject *s) { sysctls(s, SYSCTLS_1_27); }
static void sysctls_1_29(const struct subject *s) { sysctls(s, SYSCTLS_1_29); }
static void sysctls_1_32(const struct subject *s) { sysctls(s, SYSCTLS_1_32); }

static void windows_host_process(const struct subject *s) {
    const struct corev1_WindowsSecurityContextOptions *own = s->spec->securityContext ? s->spec->securityContext->windowsOptions : NULL;
    struct string_list bad = {0};
    EACH_CONTAINER(c, s)
        if (c->securityContext && c->securityContext->windowsOptions && is_true(c->securityContext->windowsOptions->hostProcess)) add_name(s, &bad, c);
    const char *setters = setters_text(s->a, own && is_true(own->hostProcess), &bad);
    if (setters) violate(s, "hostProcess", arena_printf(s->a, "%s must not set securityContext.windowsOptions.hostProcess=true", setters));
}

/* ---- restricted ---- */

static void allow_privilege_escalation_1_8(const struct subject *s) {
    struct string_list bad = {0};
    EACH_CONTAINER(c, s)
        if (!c->securityContext || !is_false(c->securityContext->allowPrivilegeEscalation)) add_name(s, &bad, c);
    if (bad.len) violate(s, "allowPrivilegeEscalation != false", arena_printf(s->a, "%s must set securityContext.allowPrivilegeEscalation=false", containers_text(s->a, &bad)));
}
static void allow_privilege_escalation_1_25(const struct subject *s) {
    if (!is_windows(s)) allow_privilege_escalation_1_8(s);
}

static void capabilities_restricted_1_22(const struct subject *s) {
    static const char *const allowed[] = {"NET_BIND_SERVICE", NULL};
    struct string_list missing = {0}, bad = {0}, values = {0}, details = {0};
    EACH_CONTAINER(c, s) {
        const struct corev1_Capabilities *k = c->securityContext ? c->securityContext->capabilities : NULL;
        if (!k || !string_list_has(&k->drop, "ALL")) add_name(s, &missing, c);
    }
    added_capabilities(s, allowed, &bad, &values);
    if (missing.len) string_list_push(s->a, &details, arena_printf(s->a, "%s must set securityContext.capabilities.drop=[\"ALL\"]", containers_text(s->a, &missing)));
    if (bad.len) string_list_push(s->a, &details, capabilities_text(s, &bad, &values));
    if (details.len) violate(s, "unrestricted capabilities", join(s->a, &details, "; ", ""));
}
static void capabilities_restricted_1_25(const struct subject *s) {
    if (!is_windows(s)) capabilities_restricted_1_22(s);
}

/* NULL: it is one of those that are allowed. */
static const char *restricted_volume_type(const struct corev1_Volume *v) {
    if (v->configMap || v->csi || v->downwardAPI || v->emptyDir || v->ephemeral || v->image || v->persistentVolumeClaim || v->projected || v->secret) return NULL;
    const struct { const void *source; const char *name; } types[] = {{v->hostPath, "hostPath"}, {v->gcePersistentDisk, "gcePersistentDisk"}, {v->awsElasticBlockStore, "awsElasticBlockStore"}, {v->gitRepo, "gitRepo"},
        {v->nfs, "nfs"}, {v->iscsi, "iscsi"}, {v->glusterfs, "glusterfs"}, {v->rbd, "rbd"}, {v->flexVolume, "flexVolume"}, {v->cinder, "cinder"}, {v->cephfs, "cephfs"}, {v->flocker, "flocker"}, {v->fc, "fc"},
        {v->azureFile, "azureFile"}, {v->vsphereVolume, "vsphereVolume"}, {v->quobyte, "quobyte"}, {v->azureDisk, "azureDisk"}, {v->photonPersistentDisk, "photonPersistentDisk"}, {v->portworxVolume, "portworxVolume"},
        {v->scaleIO, "scaleIO"}, {v->storageos, "storageos"}};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i].source) return types[i].name;
    return "unknown";
}

static void restricted_volumes(const struct subject *s) {
    struct string_list bad = {0}, types = {0};
    LIST_FOREACH(v, &s->spec->volumes) {
        const char *type = restricted_volume_type(v);
        if (!type) continue;
        string_list_push(s->a, &bad, str_or(v->name, ""));
        set_add(s->a, &types, type);
    }
    if (bad.len)
        violate(s, "restricted volume types", arena_printf(s->a, "%s %s %s %s %s", plural("volume", "volumes", bad.len), quoted(s->a, &bad), plural("uses", "use", bad.len),
                                                           plural("restricted volume type", "restricted volume types", types.len), quoted(s->a, &types)));
}

static void run_as_non_root_1_0(const struct subject *s) {
    struct opt_bool own = s->spec->securityContext ? s->spec->securityContext->runAsNonRoot : (struct opt_bool){0};
    struct string_list explicit = {0}, implicit = {0};
    EACH_CONTAINER(c, s) {
        struct opt_bool set = c->securityContext ? c->securityContext->runAsNonRoot : (struct opt_bool){0};
        if (is_false(set)) add_name(s, &explicit, c);
        else if (!set.has && !is_true(own)) add_name(s, &implicit, c);
    }
    const char *setters = setters_text(s->a, is_false(own), &explicit);
    if (setters) violate(s, "runAsNonRoot != true", arena_printf(s->a, "%s must not set securityContext.runAsNonRoot=false", setters));
    else if (implicit.len) violate(s, "runAsNonRoot != true", arena_printf(s->a, "pod or %s must set securityContext.runAsNonRoot=true", containers_text(s->a, &implicit)));
}
static void run_as_non_root_1_35(const struct subject *s) {
    if (!has_own_users(s)) run_as_non_root_1_0(s);
}

static void run_as_user_1_23(const struct subject *s) {
    struct opt_int64 own = s->spec->securityContext ? s->spec->securityContext->runAsUser : (struct opt_int64){0};
    struct string_list bad = {0};
    EACH_CONTAINER(c, s)
        if (c->securityContext && c->securityContext->runAsUser.has && c->securityContext->runAsUser.value == 0) add_name(s, &bad, c);
    const char *setters = setters_text(s->a, own.has && own.value == 0, &bad);
    if (setters) violate(s, "runAsUser=0", arena_printf(s->a, "%s must not set runAsUser=0", setters));
}
static void run_as_user_1_35(const struct subject *s) {
    if (!has_own_users(s)) run_as_user_1_23(s);
}

static void seccomp_restricted_1_19(const struct subject *s) {
    const struct corev1_SeccompProfile *own = s->spec->securityContext ? s->spec->securityContext->seccompProfile : NULL;
    struct string_list implicit = {0};
    if (seccomp_wrong(s) || own) return;
    EACH_CONTAINER(c, s)
        if (!c->securityContext || !c->securityContext->seccompProfile) add_name(s, &implicit, c);
    if (implicit.len) violate(s, "seccompProfile", arena_printf(s->a, "pod or %s must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"", containers_text(s->a, &implicit)));
}
static void seccomp_restricted_1_25(const struct subject *s) {
    if (!is_windows(s)) seccomp_restricted_1_19(s);
}

/* ---- the table ---- */

enum { REVISIONS_MAX = 4, NEWEST_MINOR = 35 };
struct check {
    const char *id;
    enum pod_security_level level;
    const char *replaces; /* a baseline check, since the first revision */
    struct { int64_t since; void (*run)(const struct subject *s); } revisions[REVISIONS_MAX + 1];
};

/* By level, then by id: the order of messages. */
static const struct check checks[] = {
    {"appArmorProfile", POD_SECURITY_BASELINE, NULL, {{0, app_armor_profile}}},
    {"capabilities_baseline", POD_SECURITY_BASELINE, NULL, {{0, capabilities_baseline}}},
    {"hostNamespaces", POD_SECURITY_BASELINE, NULL, {{0, host_namespaces}}},
    {"hostPathVolumes", POD_SECURITY_BASELINE, NULL, {{0, host_path_volumes}}},
    {"hostPorts", POD_SECURITY_BASELINE, NULL, {{0, host_ports}}},
    {"hostProbesAndHostLifecycle", POD_SECURITY_BASELINE, NULL, {{34, host_probes}}},
    {"privileged", POD_SECURITY_BASELINE, NULL, {{0, privileged}}},
    {"procMount", POD_SECURITY_BASELINE, NULL, {{0, proc_mount}, {35, proc_mount_1_35}}},
    {"seLinuxOptions", POD_SECURITY_BASELINE, NULL, {{0, selinux_options_1_0}, {31, selinux_options_1_31}}},
    {"seccompProfile_baseline", POD_SECURITY_BASELINE, NULL, {{0, seccomp_baseline_1_0}, {19, seccomp_baseline_1_19}}},
    {"sysctls", POD_SECURITY_BASELINE, NULL, {{0, sysctls_1_0}, {27, sysctls_1_27}, {29, sysctls_1_29}, {32, sysctls_1_32}}},
    {"windowsHostProcess", POD_SECURITY_BASELINE, NULL, {{0, windows_host_process}}},
    {"allowPrivilegeEscalation", POD_SECURITY_RESTRICTED, NULL, {{8, allow_privilege_escalation_1_8}, {25, allow_privilege_escalation_1_25}}},
    {"capabilities_restricted", POD_SECURITY_RESTRICTED, "capabilities_baseline", {{22, capabilities_restricted_1_22}, {25, capabilities_restricted_1_25}}},
    {"procMount_restricted", POD_SECURITY_RESTRICTED, "procMount", {{35, proc_mount}}},
    {"restrictedVolumes", POD_SECURITY_RESTRICTED, "hostPathVolumes", {{0, restricted_volumes}}},
    {"runAsNonRoot", POD_SECURITY_RESTRICTED, NULL, {{0, run_as_non_root_1_0}, {35, run_as_non_root_1_35}}},
    {"runAsUser", POD_SECURITY_RESTRICTED, NULL, {{23, run_as_user_1_23}, {35, run_as_user_1_35}}},
    {"seccompProfile_restricted", POD_SECURITY_RESTRICTED, "seccompProfile_baseline", {{19, seccomp_restricted_1_19}, {25, seccomp_restricted_1_25}}},
};

static bool is_replaced(const struct check *c, int64_t minor) {
    for (size_t i = 0; i < ARRAY_LEN(checks); i++)
        if (checks[i].replaces && strcmp(checks[i].replaces, c->id) == 0 && checks[i].revisions[0].since <= minor) return true;
    return false;
}

static void run_check(const struct check *c, int64_t minor, const struct subject *s) {
    void (*run)(const struct subject *) = NULL;
    for (size_t i = 0; c->revisions[i].run && c->revisions[i].since <= minor; i++) run = c->revisions[i].run;
    if (run) run(s);
}

/* An ephemeral container is an ordinary one for all that is looked at here. */
static_assert(offsetof(struct corev1_Container, securityContext) == offsetof(struct corev1_EphemeralContainer, securityContext), "the same layout");
static_assert(sizeof(struct corev1_Container) == sizeof(struct corev1_EphemeralContainerCommon), "the same layout");

struct pod_security_result pod_security_evaluate(struct arena *a, const struct pod_security_standard *standard, const struct metav1_ObjectMeta *meta, const struct corev1_PodSpec *spec) {
    struct pod_security_result ret = {0};
    struct subject s = {a, meta, spec, NULL, &ret};
    int64_t minor = MIN(standard->minor, (int64_t)NEWEST_MINOR);
    size_t n = 0;
    if (standard->level == POD_SECURITY_PRIVILEGED) return ret;
    s.containers = arena_calloc(a, spec->initContainers.len + spec->containers.len + spec->ephemeralContainers.len + 1, sizeof(*s.containers));
    LIST_FOREACH(c, &spec->initContainers) s.containers[n++] = c;
    LIST_FOREACH(c, &spec->containers) s.containers[n++] = c;
    LIST_FOREACH(c, &spec->ephemeralContainers) s.containers[n++] = (const struct corev1_Container *)(const void *)&c->EphemeralContainerCommon;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        const struct check *c = &checks[i];
        if (c->level > standard->level || (standard->level == POD_SECURITY_RESTRICTED && c->level == POD_SECURITY_BASELINE && is_replaced(c, minor))) continue;
        run_check(c, minor, &s);
    }
    return ret;
}

char *pod_security_reason(struct arena *a, const struct pod_security_result *r) { return (char *)(uintptr_t)join(a, &r->reasons, ", ", ""); }

char *pod_security_detail(struct arena *a, const struct pod_security_result *r) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < r->reasons.len; i++) {
        buf_printf(&out, "%s%s", i ? ", " : "", r->reasons.items[i]);
        if (*r->details.items[i]) buf_printf(&out, " (%s)", r->details.items[i]);
    }
    return arena_strdup(a, buf_cstr(&out));
}
