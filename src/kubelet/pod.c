/* Pods as the kubelet's threads share them, and questions about one. Upstream: pkg/kubelet/util, pkg/api/v1/pod, pkg/apis/core/v1/helper/qos. */
#include "kubelet/internal.h"
#include <stdio.h>
#include <string.h>
#include "base/str.h"

struct pod *pod_new(const struct corev1_Pod *obj, bool is_static) {
    struct pod *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->refs = 1;
    p->arena = arena_new();
    p->obj = object_copy(p->arena, &corev1_Pod_desc, obj);
    p->is_static = is_static;
    return p;
}

struct pod *pod_ref(struct pod *p) {
    if (p) atomic_fetch_add(&p->refs, 1);
    return p;
}

void pod_unref(struct pod *p) {
    if (!p || atomic_fetch_sub(&p->refs, 1) != 1) return;
    arena_free(p->arena);
    free(p);
}

bool pod_is_mirror(const struct corev1_Pod *p) { return string_map_has(&p->metadata.annotations, ANNOTATION_CONFIG_MIRROR); }
bool pod_container_is_sidecar(const struct corev1_Container *c) { return str_eq(c->restartPolicy, "Always"); }

static bool is_zero(const char *quantity) { return quantity_of(quantity).nanos == 0; }

const char *pod_qos_class(const struct corev1_Pod *p) {
    if (!str_empty(p->status.qosClass)) return p->status.qosClass;
    bool any = false, guaranteed = true;
    static const char *const names[] = {"cpu", "memory"};
    for (int pass = 0; pass < 2; pass++) {
        const struct corev1_Container_list *list = pass ? &p->spec.initContainers : &p->spec.containers;
        LIST_FOREACH(c, list) {
            for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                const char *request = string_map_get(&c->resources.requests, names[i]), *limit = string_map_get(&c->resources.limits, names[i]);
                if (!request) request = limit;
                if (!is_zero(request) || !is_zero(limit)) any = true;
                if (is_zero(limit) || quantity_text_cmp(request, limit) != 0) guaranteed = false;
            }
        }
    }
    return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

const struct corev1_Container *pod_container(const struct corev1_Pod *p, const char *name) {
    LIST_FOREACH(c, &p->spec.containers) if (str_eq(c->name, name)) return c;
    LIST_FOREACH(c, &p->spec.initContainers) if (str_eq(c->name, name)) return c;
    /* An ephemeral container begins with the same members, in the same order. */
    _Static_assert(sizeof(struct corev1_EphemeralContainerCommon) == sizeof(struct corev1_Container), "ephemeral containers differ");
    LIST_FOREACH(c, &p->spec.ephemeralContainers) if (str_eq(c->name, name)) return (const struct corev1_Container *)(const void *)&c->EphemeralContainerCommon;
    return NULL;
}

const char *pod_full_name(struct arena *a, const struct corev1_Pod *p) {
    return arena_printf(a, "%s_%s(%s)", str_or(p->metadata.name, ""), str_or(p->metadata.namespace, ""), str_or(p->metadata.uid, ""));
}

int pod_hostname(struct arena *a, const struct corev1_Pod *p, const char *cluster_domain, const char **ret_hostname, const char **ret_domain) {
    char *host = arena_printf(a, "%.63s", str_or(p->spec.hostname, p->metadata.name));
    if (!str_empty(p->spec.hostnameOverride)) host = arena_printf(a, "%.64s", p->spec.hostnameOverride);
    for (size_t n = strlen(host); n > 0 && (host[n - 1] == '-' || host[n - 1] == '.'); n--) host[n - 1] = 0; /* a cut must not end so */
    *ret_hostname = host;
    *ret_domain = str_empty(p->spec.subdomain) || !str_empty(p->spec.hostnameOverride)
        ? "" : arena_printf(a, "%s.%s.svc.%s", p->spec.subdomain, p->metadata.namespace, cluster_domain);
    return 0;
}

int64_t pod_grace_seconds(const struct corev1_Pod *p) {
    if (p->metadata.deletionGracePeriodSeconds.has) return p->metadata.deletionGracePeriodSeconds.value;
    return p->spec.terminationGracePeriodSeconds.has ? p->spec.terminationGracePeriodSeconds.value : 30;
}
