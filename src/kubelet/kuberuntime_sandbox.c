/* Sandbox configurations: names, DNS, ports, cgroup parent, security. Upstream: kuberuntime_sandbox*.go, pkg/kubelet/network/dns. */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/str.h"

enum { SEARCHES_MAX = 32, NAMESERVERS_MAX = 3 };

static char **copy_strings(struct arena *a, const struct string_list *l, size_t *ret_len) {
    char **out = arena_calloc(a, l->len + 1, sizeof(*out));
    for (size_t i = 0; i < l->len; i++) out[i] = arena_strdup(a, l->items[i]);
    *ret_len = l->len;
    return out;
}

static void add_unique(struct arena *a, struct string_list *l, const char *s, size_t max) {
    if (!string_list_has(l, s) && l->len < max) string_list_push(a, l, s);
}

struct resolv { struct string_list servers, searches, options; };

static void host_resolv(struct arena *a, struct resolv *r) {
    char *text;
    if (read_file(a, "/etc/resolv.conf", 1 << 16, &text, NULL) != 0) return;
    for (char *line, *rest = text; (line = strsep(&rest, "\n"));) {
        char *word = strsep(&line, " \t");
        struct string_list *to = str_eq(word, "nameserver") ? &r->servers : str_eq(word, "search") ? &r->searches : str_eq(word, "options") ? &r->options : NULL;
        if (!to) continue;
        if (to == &r->searches) r->searches.len = 0; /* the last line counts */
        for (char *w; (w = strsep(&line, " \t\r"));)
            if (*w) string_list_push(a, to, w);
    }
}

static Runtime__V1__DNSConfig *dns_config(struct kubelet *k, struct arena *a, const struct corev1_Pod *p) {
    struct resolv host = {0}, r = {0};
    const char *policy = str_or(p->spec.dnsPolicy, "ClusterFirst"), *domain = k->o.cluster_domain;
    host_resolv(a, &host);
    bool cluster = (str_eq(policy, "ClusterFirst") && !p->spec.hostNetwork) || str_eq(policy, "ClusterFirstWithHostNet");
    if (cluster && str_empty(k->o.cluster_dns)) cluster = false;
    if (cluster) {
        string_list_push(a, &r.servers, k->o.cluster_dns);
        string_list_push(a, &r.searches, arena_printf(a, "%s.svc.%s", p->metadata.namespace, domain));
        string_list_push(a, &r.searches, arena_printf(a, "svc.%s", domain));
        string_list_push(a, &r.searches, domain);
        LIST_FOREACH(s, &host.searches) add_unique(a, &r.searches, *s, SEARCHES_MAX);
        string_list_push(a, &r.options, "ndots:5");
    } else if (!str_eq(policy, "None")) {
        r = host;
    }
    if (p->spec.dnsConfig) {
        LIST_FOREACH(s, &p->spec.dnsConfig->nameservers) add_unique(a, &r.servers, *s, NAMESERVERS_MAX);
        LIST_FOREACH(s, &p->spec.dnsConfig->searches) add_unique(a, &r.searches, *s, SEARCHES_MAX);
        LIST_FOREACH(o, &p->spec.dnsConfig->options) {
            const char *text = str_empty(o->value) ? o->name : arena_printf(a, "%s:%s", o->name, o->value);
            bool replaced = false;
            LIST_FOREACH(old, &r.options) {
                size_t n = strlen(o->name);
                if (strncmp(*old, o->name, n) != 0 || ((*old)[n] != ':' && (*old)[n] != 0)) continue;
                *old = text;
                replaced = true;
            }
            if (!replaced) string_list_push(a, &r.options, text);
        }
    }
    if (r.servers.len > NAMESERVERS_MAX) r.servers.len = NAMESERVERS_MAX;
    Runtime__V1__DNSConfig *d = CRI_NEW(a, DNSConfig, dnsconfig);
    d->servers = copy_strings(a, &r.servers, &d->n_servers);
    d->searches = copy_strings(a, &r.searches, &d->n_searches);
    d->options = copy_strings(a, &r.options, &d->n_options);
    return d;
}

Runtime__V1__NamespaceOption *namespace_options(struct arena *a, const struct corev1_Pod *p) {
    Runtime__V1__NamespaceOption *n = CRI_NEW(a, NamespaceOption, namespace_option);
    n->network = p->spec.hostNetwork ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    n->ipc = p->spec.hostIPC ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    n->pid = p->spec.hostPID ? RUNTIME__V1__NAMESPACE_MODE__NODE
        : p->spec.shareProcessNamespace.has && p->spec.shareProcessNamespace.value ? RUNTIME__V1__NAMESPACE_MODE__POD : RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    return n;
}

Runtime__V1__SecurityProfile *seccomp_profile(struct kubelet *k, struct arena *a, const struct corev1_SeccompProfile *pod, const struct corev1_SeccompProfile *own) {
    const struct corev1_SeccompProfile *s = own ? own : pod;
    Runtime__V1__SecurityProfile *out = CRI_NEW(a, SecurityProfile, security_profile);
    out->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
    if (s && str_eq(s->type, "RuntimeDefault")) out->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault;
    if (s && str_eq(s->type, "Localhost")) {
        out->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
        out->localhost_ref = arena_printf(a, "%s/seccomp/%s", k->o.root_dir, str_or(s->localhostProfile, ""));
    }
    return out;
}

static bool any_privileged(const struct corev1_Pod *p) {
    LIST_FOREACH(c, &p->spec.containers) if (c->securityContext && c->securityContext->privileged.value) return true;
    LIST_FOREACH(c, &p->spec.initContainers) if (c->securityContext && c->securityContext->privileged.value) return true;
    return false;
}

static Runtime__V1__Int64Value *int64_value(struct arena *a, const struct opt_int64 *v) {
    if (!v->has) return NULL;
    Runtime__V1__Int64Value *out = CRI_NEW(a, Int64Value, int64_value);
    out->value = v->value;
    return out;
}

static Runtime__V1__LinuxPodSandboxConfig *linux_config(struct kubelet *k, struct arena *a, const struct corev1_Pod *p) {
    Runtime__V1__LinuxPodSandboxConfig *l = CRI_NEW(a, LinuxPodSandboxConfig, linux_pod_sandbox_config);
    const struct corev1_PodSecurityContext *sc = p->spec.securityContext;
    l->cgroup_parent = arena_strdup(a, cgroups_pod_path(&k->cgroups, a, p));
    l->security_context = CRI_NEW(a, LinuxSandboxSecurityContext, linux_sandbox_security_context);
    l->security_context->namespace_options = namespace_options(a, p);
    l->security_context->privileged = any_privileged(p);
    Runtime__V1__SecurityProfile *seccomp = CRI_NEW(a, SecurityProfile, security_profile);
    seccomp->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault; /* the pause process needs no more */
    l->security_context->seccomp = seccomp;
    struct string_map sysctls = {0};
    if (sc) {
        l->security_context->run_as_user = int64_value(a, &sc->runAsUser);
        if (sc->runAsUser.has) l->security_context->run_as_group = int64_value(a, &sc->runAsGroup);
        size_t n = 0;
        l->security_context->supplemental_groups = arena_calloc(a, sc->supplementalGroups.len + 1, sizeof(int64_t));
        if (sc->fsGroup.has) l->security_context->supplemental_groups[n++] = sc->fsGroup.value;
        LIST_FOREACH(g, &sc->supplementalGroups) l->security_context->supplemental_groups[n++] = *g;
        l->security_context->n_supplemental_groups = n;
        LIST_FOREACH(s, &sc->sysctls) {
            char *name = arena_strdup(a, s->name);
            for (char *c = name; *c; c++) if (*c == '/') *c = '.';
            string_map_set(a, &sysctls, name, s->value);
        }
    }
    CRI_MAP(a, l->n_sysctls, l->sysctls, LinuxPodSandboxConfig__SysctlsEntry, linux_pod_sandbox_config__sysctls_entry, &sysctls);
    return l;
}

static void port_mappings(struct arena *a, const struct corev1_Pod *p, Runtime__V1__PodSandboxConfig *config) {
    size_t max = 0;
    LIST_FOREACH(c, &p->spec.containers) max += c->ports.len;
    LIST_FOREACH(c, &p->spec.initContainers) max += c->ports.len;
    config->port_mappings = arena_calloc(a, max + 1, sizeof(*config->port_mappings));
    for (int pass = 0; pass < 2; pass++) {
        const struct corev1_Container_list *list = pass ? &p->spec.initContainers : &p->spec.containers;
        LIST_FOREACH(c, list) {
            if (pass && !pod_container_is_sidecar(c)) continue;
            LIST_FOREACH(port, &c->ports) {
                Runtime__V1__PortMapping *m = CRI_NEW(a, PortMapping, port_mapping);
                m->container_port = port->containerPort;
                m->host_port = port->hostPort;
                m->host_ip = arena_strdup(a, str_or(port->hostIP, ""));
                m->protocol = str_eq(port->protocol, "UDP") ? RUNTIME__V1__PROTOCOL__UDP : str_eq(port->protocol, "SCTP") ? RUNTIME__V1__PROTOCOL__SCTP : RUNTIME__V1__PROTOCOL__TCP;
                config->port_mappings[config->n_port_mappings++] = m;
            }
        }
    }
}

Runtime__V1__PodSandboxConfig *sandbox_config(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, uint32_t attempt) {
    Runtime__V1__PodSandboxConfig *c = CRI_NEW(a, PodSandboxConfig, pod_sandbox_config);
    c->metadata = CRI_NEW(a, PodSandboxMetadata, pod_sandbox_metadata);
    c->metadata->name = arena_strdup(a, p->metadata.name);
    c->metadata->namespace_ = arena_strdup(a, p->metadata.namespace);
    c->metadata->uid = arena_strdup(a, p->metadata.uid);
    c->metadata->attempt = attempt;
    c->dns_config = dns_config(k, a, p);
    c->log_directory = arena_strdup(a, kubelet_pod_log_dir(k, a, p));
    if (!p->spec.hostNetwork) {
        const char *hostname, *domain;
        pod_hostname(a, p, k->o.cluster_domain, &hostname, &domain);
        c->hostname = arena_strdup(a, p->spec.setHostnameAsFQDN.value && !str_empty(domain) ? arena_printf(a, "%s.%s", hostname, domain) : hostname);
        port_mappings(a, p, c);
    }
    struct string_map labels = string_map_copy(a, &p->metadata.labels);
    string_map_set(a, &labels, "io.kubernetes.pod.name", p->metadata.name);
    string_map_set(a, &labels, "io.kubernetes.pod.namespace", p->metadata.namespace);
    string_map_set(a, &labels, "io.kubernetes.pod.uid", p->metadata.uid);
    CRI_MAP(a, c->n_labels, c->labels, PodSandboxConfig__LabelsEntry, pod_sandbox_config__labels_entry, &labels);
    CRI_MAP(a, c->n_annotations, c->annotations, PodSandboxConfig__AnnotationsEntry, pod_sandbox_config__annotations_entry, &p->metadata.annotations);
    c->linux = linux_config(k, a, p);
    return c;
}
