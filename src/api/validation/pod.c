/* Pods: containers, what they need, and what may change. Upstream: pkg/apis/core/validation/validation.go. Volumes are in pod_volumes.c. */
#include <string.h>
#include "api/names.h"
#include "api/quantity.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "api/validation/pod_scheduling.h"
#include "api/validation/pod_security.h"
#include "api/validation/pod_volumes.h"
#include "base/str.h"


static void port_number(int64_t v, const struct field_path *at, struct field_errors *errs) {
    if (v < 1 || v > 65535) field_invalid_int(errs, at, v, "must be between 1 and 65535, inclusive");
}

static void port_or_name(const struct int_or_string *v, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (v->kind != INTSTR_STRING) {
        port_number(v->i, at, errs);
        return;
    }
    name_port(errs->arena, str_or(v->s, ""), &msgs);
    field_invalid_each(errs, at, v->s, &msgs);
}

/* ---- resources ---- */

static bool native(const char *name) { return !strchr(name, '/') || strstr(name, "kubernetes.io/") != NULL; }
static bool huge(const char *name) { return str_has_prefix(name, "hugepages-"); }

static bool standard_container_resource(const char *name) {
    static const char *const known[] = {"cpu", "memory", "ephemeral-storage", NULL};
    return str_in(name, known) || huge(name);
}

static bool standard_resource(const char *name) {
    static const char *const known[] = {"cpu", "memory", "ephemeral-storage", "storage", "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
        "services.nodeports", "services.loadbalancers", "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", NULL};
    return str_in(name, known) || huge(name) || str_has_prefix(name, "requests.hugepages-");
}

static void resource_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_qualified(errs->arena, name, &msgs);
    field_invalid_each(errs, at, name, &msgs);
    if (msgs.len) return;
    if (!strchr(name, '/') && !standard_container_resource(name)) {
        if (!standard_resource(name)) field_invalid(errs, at, name, "must be a standard resource type or fully qualified");
        field_invalid(errs, at, name, "must be a standard resource for containers");
    }
}

static void resource_quantity(const char *name, const char *value, const struct field_path *at, struct field_errors *errs) {
    struct quantity q = quantity_of(value);
    if (q.nanos < 0) field_invalid(errs, at, value, "must be greater than or equal to 0");
    bool extended = strchr(name, '/') && !native(name);
    if (extended && !quantity_is_integer(&q)) field_invalid(errs, at, value, "must be an integer");
}

static void resources(const struct corev1_ResourceRequirements *r, const struct field_path *at, struct field_errors *errs) {
    LIST_FOREACH(e, &r->limits) {
        const struct field_path *p = FIELD_KEY(FIELD(at, "limits"), e->key);
        resource_name(e->key, p, errs);
        resource_quantity(e->key, e->value, p, errs);
    }
    LIST_FOREACH(e, &r->requests) {
        const struct field_path *p = FIELD_KEY(FIELD(at, "requests"), e->key);
        const char *limit = string_map_get(&r->limits, e->key);
        resource_name(e->key, p, errs);
        resource_quantity(e->key, e->value, p, errs);
        bool extended = strchr(e->key, '/') && !native(e->key);
        if (limit && (extended || huge(e->key)) && quantity_text_cmp(e->value, limit) != 0) field_invalid(errs, FIELD(at, "requests"), e->value, "must be equal to %s limit of %s", e->key, limit);
        else if (limit && quantity_text_cmp(e->value, limit) > 0) field_invalid(errs, FIELD(at, "requests"), e->value, "must be less than or equal to %s limit of %s", e->key, limit);
        else if (!limit && (extended || huge(e->key))) field_required(errs, FIELD(at, "limits"), "Limit must be set for non overcommitable resources");
    }
}

/* ---- environment ---- */

static const char *const env_field_paths[] = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs", NULL};

static void field_selector(const struct corev1_ObjectFieldSelector *f, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(f->apiVersion)) {
        field_required(errs, FIELD(at, "apiVersion"), "%s", "");
        return;
    }
    if (str_empty(f->fieldPath)) {
        field_required(errs, FIELD(at, "fieldPath"), "%s", "");
        return;
    }
    const char *p = f->fieldPath;
    bool subscript = str_has_prefix(p, "metadata.labels['") || str_has_prefix(p, "metadata.annotations['");
    if (subscript && str_has_suffix(p, "']")) return;
    if (!str_in(p, env_field_paths)) {
        static const char *const convertible[] = {"metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "spec.hostNetwork", "status.phase", "status.nominatedNodeName", NULL};
        if (str_in(p, convertible)) field_not_supported(errs, FIELD(at, "fieldPath"), p, env_field_paths);
        else field_invalid(errs, FIELD(at, "fieldPath"), p, "error converting fieldPath: field label not supported: %s", p);
    }
}

static void env_source(const struct corev1_EnvVarSource *s, const struct field_path *at, const char *value, struct field_errors *errs) {
    size_t n = 0;
    struct string_list msgs = {0};
    if (s->fieldRef) {
        n++;
        field_selector(s->fieldRef, FIELD(at, "fieldRef"), errs);
    }
    if (s->resourceFieldRef) {
        n++;
        if (str_empty(s->resourceFieldRef->resource)) field_required(errs, FIELD(FIELD(at, "resourceFieldRef"), "resource"), "%s", "");
    }
    if (s->configMapKeyRef) {
        n++;
        if (str_empty(s->configMapKeyRef->key)) field_required(errs, FIELD(FIELD(at, "configMapKeyRef"), "key"), "%s", "");
        else {
            name_config_map_key(errs->arena, s->configMapKeyRef->key, &msgs);
            field_invalid_each(errs, FIELD(FIELD(at, "configMapKeyRef"), "key"), s->configMapKeyRef->key, &msgs);
        }
    }
    if (s->secretKeyRef) {
        n++;
        if (str_empty(s->secretKeyRef->key)) field_required(errs, FIELD(FIELD(at, "secretKeyRef"), "key"), "%s", "");
        else {
            msgs = (struct string_list){0};
            name_config_map_key(errs->arena, s->secretKeyRef->key, &msgs);
            field_invalid_each(errs, FIELD(FIELD(at, "secretKeyRef"), "key"), s->secretKeyRef->key, &msgs);
        }
    }
    if (s->fileKeyRef) n++;
    if (n == 0) field_invalid(errs, at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    else if (!str_empty(value)) field_invalid(errs, at, "", "may not be specified when `value` is not empty");
    else if (n > 1) field_invalid(errs, at, "", "may not have more than one field specified at a time");
}

static void environment(const struct corev1_Container *c, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < c->env.len; i++) {
        const struct corev1_EnvVar *e = &c->env.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "env"), i);
        if (str_empty(e->name)) field_required(errs, FIELD(p, "name"), "%s", "");
        else {
            struct string_list msgs = {0};
            name_env_var(errs->arena, e->name, &msgs);
            field_invalid_each(errs, FIELD(p, "name"), e->name, &msgs);
        }
        if (e->valueFrom) env_source(e->valueFrom, FIELD(p, "valueFrom"), e->value, errs);
    }
    for (size_t i = 0; i < c->envFrom.len; i++) {
        const struct corev1_EnvFromSource *e = &c->envFrom.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "envFrom"), i);
        if (!str_empty(e->prefix)) {
            struct string_list msgs = {0};
            name_env_var(errs->arena, e->prefix, &msgs);
            field_invalid_each(errs, FIELD(p, "prefix"), e->prefix, &msgs);
        }
        if (e->configMapRef && str_empty(e->configMapRef->name)) field_required(errs, FIELD(FIELD(p, "configMapRef"), "name"), "%s", "");
        if (e->secretRef && str_empty(e->secretRef->name)) field_required(errs, FIELD(FIELD(p, "secretRef"), "name"), "%s", "");
        if (!e->configMapRef && !e->secretRef) field_invalid(errs, FIELD(at, "envFrom"), "", "must specify one of: `configMapRef` or `secretRef`");
        else if (e->configMapRef && e->secretRef) field_invalid(errs, FIELD(at, "envFrom"), "", "may not have more than one field specified at a time");
    }
}

/* ---- ports, probes, hooks ---- */

static void ports(const struct corev1_Container *c, const struct field_path *at, struct field_errors *errs) {
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    for (size_t i = 0; i < c->ports.len; i++) {
        const struct corev1_ContainerPort *p = &c->ports.items[i];
        const struct field_path *pp = FIELD_INDEX(FIELD(at, "ports"), i);
        if (!str_empty(p->name)) {
            struct string_list msgs = {0};
            name_port(errs->arena, p->name, &msgs);
            field_invalid_each(errs, FIELD(pp, "name"), p->name, &msgs);
            bool duplicate = false;
            for (size_t j = 0; j < i; j++) duplicate |= str_eq(c->ports.items[j].name, p->name);
            if (!msgs.len && duplicate) field_duplicate(errs, FIELD(pp, "name"), p->name);
        }
        if (p->containerPort == 0) field_required(errs, FIELD(pp, "containerPort"), "%s", "");
        else port_number(p->containerPort, FIELD(pp, "containerPort"), errs);
        if (p->hostPort) port_number(p->hostPort, FIELD(pp, "hostPort"), errs);
        if (str_empty(p->protocol)) field_required(errs, FIELD(pp, "protocol"), "%s", "");
        else if (!str_in(p->protocol, protocols)) field_not_supported(errs, FIELD(pp, "protocol"), p->protocol, protocols);
    }
}

static void http_get(const struct corev1_HTTPGetAction *h, const struct field_path *at, struct field_errors *errs) {
    static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
    if (str_empty(h->path)) field_required(errs, FIELD(at, "path"), "%s", "");
    port_or_name(&h->port, FIELD(at, "port"), errs);
    if (!str_in(h->scheme, schemes)) field_not_supported(errs, FIELD(at, "scheme"), h->scheme, schemes);
    for (size_t i = 0; i < h->httpHeaders.len; i++) {
        const char *name = str_or(h->httpHeaders.items[i].name, "");
        bool ok = *name != 0;
        for (const char *c = name; *c; c++) ok &= (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-';
        if (!ok) field_invalid(errs, FIELD(at, "httpHeaders"), name, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')");
    }
}

static void handler(const struct corev1_ExecAction *exec, const struct corev1_HTTPGetAction *http, const struct corev1_TCPSocketAction *tcp, const struct corev1_GRPCAction *grpc, const struct corev1_SleepAction *sleep,
                    const struct field_path *at, struct field_errors *errs) {
    size_t n = 0;
    const char *const names[] = {"exec", "httpGet", "tcpSocket", "grpc", "sleep"};
    const void *const given[] = {exec, http, tcp, grpc, sleep};
    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        if (given[i] && n++ > 0) field_forbidden(errs, FIELD(at, names[i]), "may not specify more than 1 handler type");
    if (exec && !exec->command.len && n == 1) field_required(errs, FIELD(FIELD(at, "exec"), "command"), "%s", "");
    if (http && n == 1) http_get(http, FIELD(at, "httpGet"), errs);
    if (tcp && n == 1) port_or_name(&tcp->port, FIELD(FIELD(at, "tcpSocket"), "port"), errs);
    if (grpc && n == 1) port_number(grpc->port, FIELD(FIELD(at, "grpc"), "port"), errs);
    if (n == 0) field_required(errs, at, "must specify a handler type");
}

static void probe(const struct corev1_Probe *p, const struct field_path *at, bool one_success, struct field_errors *errs) {
    if (!p) return;
    if (!one_success && p->terminationGracePeriodSeconds.has) field_invalid_int(errs, FIELD(at, "terminationGracePeriodSeconds"), p->terminationGracePeriodSeconds.value, "must not be set for readinessProbes");
    handler(p->exec, p->httpGet, p->tcpSocket, p->grpc, NULL, at, errs);
    validate_non_negative(p->initialDelaySeconds, FIELD(at, "initialDelaySeconds"), errs);
    validate_non_negative(p->timeoutSeconds, FIELD(at, "timeoutSeconds"), errs);
    validate_non_negative(p->periodSeconds, FIELD(at, "periodSeconds"), errs);
    validate_non_negative(p->successThreshold, FIELD(at, "successThreshold"), errs);
    validate_non_negative(p->failureThreshold, FIELD(at, "failureThreshold"), errs);
    if (p->terminationGracePeriodSeconds.has && p->terminationGracePeriodSeconds.value <= 0)
        field_invalid_int(errs, FIELD(at, "terminationGracePeriodSeconds"), p->terminationGracePeriodSeconds.value, "must be greater than 0");
    if (one_success && p->successThreshold != 1) field_invalid_int(errs, FIELD(at, "successThreshold"), p->successThreshold, "must be 1");
}

static void lifecycle(const struct corev1_Lifecycle *l, const struct field_path *at, struct field_errors *errs) {
    if (!l) return;
    if (l->postStart) handler(l->postStart->exec, l->postStart->httpGet, l->postStart->tcpSocket, NULL, l->postStart->sleep, FIELD(at, "postStart"), errs);
    if (l->preStop) handler(l->preStop->exec, l->preStop->httpGet, l->preStop->tcpSocket, NULL, l->preStop->sleep, FIELD(at, "preStop"), errs);
}

/* ---- containers ---- */

static void volume_mounts(const struct corev1_Container *c, const struct corev1_PodSpec *spec, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < c->volumeMounts.len; i++) {
        const struct corev1_VolumeMount *m = &c->volumeMounts.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "volumeMounts"), i);
        bool found = false;
        if (str_empty(m->name)) field_required(errs, FIELD(p, "name"), "%s", "");
        LIST_FOREACH(v, &spec->volumes) found |= str_eq(v->name, m->name) && !str_empty(m->name);
        if (!found) field_not_found(errs, FIELD(p, "name"), m->name);
        if (str_empty(m->mountPath)) field_required(errs, FIELD(p, "mountPath"), "%s", "");
        for (size_t j = 0; j < i; j++)
            if (str_eq(c->volumeMounts.items[j].mountPath, m->mountPath)) {
                field_invalid(errs, FIELD(p, "mountPath"), m->mountPath, "must be unique");
                break;
            }
        if (!str_empty(m->subPath) && !str_empty(m->subPathExpr)) field_invalid(errs, FIELD(p, "subPathExpr"), m->subPathExpr, "subPathExpr and subPath are mutually exclusive");
        if (!str_empty(m->subPath)) validate_local_descending_path(m->subPath, FIELD(FIELD(at, "volumeMounts"), "subPath"), errs);
    }
}

static void container(const struct corev1_Container *c, const struct corev1_PodSpec *spec, bool init, const struct field_path *at, struct field_errors *errs) {
    static const char *const policies[] = {"Always", "IfNotPresent", "Never", NULL}, *const message_policies[] = {"File", "FallbackToLogsOnError", NULL};
    struct string_list msgs = {0};
    if (str_empty(c->name)) field_required(errs, FIELD(at, "name"), "%s", "");
    else {
        name_dns1123_label(errs->arena, c->name, &msgs);
        field_invalid_each(errs, FIELD(at, "name"), c->name, &msgs);
    }
    if (str_empty(c->image)) field_required(errs, FIELD(at, "image"), "%s", "");
    else if (strchr(" \t\r\n", c->image[0]) || strchr(" \t\r\n", c->image[strlen(c->image) - 1])) field_invalid(errs, FIELD(at, "image"), c->image, "must not have leading or trailing whitespace");
    if (!str_in(c->terminationMessagePolicy, message_policies)) field_not_supported(errs, FIELD(at, "terminationMessagePolicy"), c->terminationMessagePolicy, message_policies);
    ports(c, at, errs);
    environment(c, at, errs);
    volume_mounts(c, spec, at, errs);
    if (!str_in(c->imagePullPolicy, policies)) field_not_supported(errs, FIELD(at, "imagePullPolicy"), c->imagePullPolicy, policies);
    resources(&c->resources, FIELD(at, "resources"), errs);
    bool sidecar = init && str_eq(c->restartPolicy, "Always");
    if (init && !sidecar) {
        if (c->lifecycle) field_forbidden(errs, FIELD(at, "lifecycle"), "may not be set for init containers without restartPolicy=Always");
        if (c->livenessProbe) field_forbidden(errs, FIELD(at, "livenessProbe"), "may not be set for init containers without restartPolicy=Always");
        if (c->readinessProbe) field_forbidden(errs, FIELD(at, "readinessProbe"), "may not be set for init containers without restartPolicy=Always");
        if (c->startupProbe) field_forbidden(errs, FIELD(at, "startupProbe"), "may not be set for init containers without restartPolicy=Always");
        validate_container_security(c->securityContext, spec, FIELD(at, "securityContext"), errs);
        return;
    }
    validate_container_security(c->securityContext, spec, FIELD(at, "securityContext"), errs);
    lifecycle(c->lifecycle, FIELD(at, "lifecycle"), errs);
    probe(c->livenessProbe, FIELD(at, "livenessProbe"), true, errs);
    probe(c->readinessProbe, FIELD(at, "readinessProbe"), false, errs);
    probe(c->startupProbe, FIELD(at, "startupProbe"), true, errs);
}

void validate_pod_container(const struct corev1_Container *c, const struct corev1_PodSpec *spec, bool init, const struct field_path *at, struct field_errors *errs) {
    container(c, spec, init, at, errs);
}

static void containers(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->containers.len) field_required(errs, FIELD(at, "containers"), "%s", "");
    for (size_t i = 0; i < s->containers.len; i++) {
        const struct field_path *p = FIELD_INDEX(FIELD(at, "containers"), i);
        container(&s->containers.items[i], s, false, p, errs);
        for (size_t j = 0; j < i; j++)
            if (!str_empty(s->containers.items[i].name) && str_eq(s->containers.items[j].name, s->containers.items[i].name)) {
                field_duplicate(errs, FIELD(p, "name"), s->containers.items[i].name);
                break;
            }
    }
    for (size_t i = 0; i < s->initContainers.len; i++) {
        const struct corev1_Container *c = &s->initContainers.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "initContainers"), i);
        bool duplicate = false;
        container(c, s, true, p, errs);
        LIST_FOREACH(o, &s->containers) duplicate |= str_eq(o->name, c->name);
        for (size_t j = 0; j < i; j++) duplicate |= str_eq(s->initContainers.items[j].name, c->name);
        if (duplicate && !str_empty(c->name)) field_duplicate(errs, FIELD(p, "name"), c->name);
    }
}

static void host_ports(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < s->containers.len; i++)
        for (size_t k = 0; k < s->containers.items[i].ports.len; k++) {
            const struct corev1_ContainerPort *p = &s->containers.items[i].ports.items[k];
            bool taken = false;
            if (!p->hostPort) continue;
            for (size_t a = 0; a <= i; a++)
                for (size_t b = 0; b < s->containers.items[a].ports.len && !(a == i && b == k); b++) {
                    const struct corev1_ContainerPort *o = &s->containers.items[a].ports.items[b];
                    taken |= o->hostPort == p->hostPort && str_eq(o->protocol, p->protocol) && str_eq(o->hostIP, p->hostIP);
                }
            if (taken)
                field_duplicate(errs, FIELD(FIELD_INDEX(FIELD(FIELD_INDEX(FIELD(at, "containers"), i), "ports"), k), "hostPort"), arena_printf(errs->arena, "%s/%s/%d", p->protocol, str_or(p->hostIP, ""), p->hostPort));
        }
}

static void tolerations(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const effects[] = {"NoExecute", "NoSchedule", "PreferNoSchedule", NULL};
    for (size_t i = 0; i < s->tolerations.len; i++) {
        const struct corev1_Toleration *t = &s->tolerations.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "tolerations"), i);
        struct string_list msgs = {0};
        if (!str_empty(t->key)) {
            name_qualified(errs->arena, t->key, &msgs);
            field_invalid_each(errs, FIELD(p, "key"), t->key, &msgs);
        } else if (!str_eq(t->operator, "Exists")) field_invalid(errs, FIELD(p, "operator"), t->operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        if (t->tolerationSeconds.has && !str_eq(t->effect, "NoExecute")) field_invalid(errs, FIELD(p, "effect"), t->effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (str_empty(t->operator) || str_eq(t->operator, "Equal")) {
            msgs = (struct string_list){0};
            name_label_value(errs->arena, str_or(t->value, ""), &msgs);
            field_invalid_each(errs, FIELD(p, "operator"), t->value, &msgs);
        } else if (str_eq(t->operator, "Exists")) {
            if (!str_empty(t->value)) field_invalid(errs, FIELD(p, "operator"), t->value, "value must be empty when `operator` is 'Exists'");
        } else field_not_supported(errs, FIELD(p, "operator"), t->operator, (const char *const[]){"Equal", "Exists", NULL});
        if (!str_empty(t->effect) && !str_in(t->effect, effects)) field_not_supported(errs, FIELD(p, "effect"), t->effect, (const char *const[]){"NoSchedule", "PreferNoSchedule", "NoExecute", NULL});
    }
}

void validate_pod_spec(const struct corev1_PodSpec *s, const struct metav1_ObjectMeta *meta UNUSED, const struct field_path *at, bool is_template UNUSED, struct field_errors *errs) {
    static const char *const restart[] = {"Always", "OnFailure", "Never", NULL}, *const dns[] = {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None", NULL};
    struct string_list msgs = {0};
    validate_volumes(s, FIELD(at, "volumes"), errs);
    containers(s, at, errs);
    if (!str_in(s->restartPolicy, restart)) field_not_supported(errs, FIELD(at, "restartPolicy"), s->restartPolicy, restart);
    if (!str_in(s->dnsPolicy, dns)) field_not_supported(errs, FIELD(at, "dnsPolicy"), s->dnsPolicy, dns);
    validate_labels(&s->nodeSelector, FIELD(at, "nodeSelector"), errs);
    host_ports(s, at, errs);
    if (s->hostNetwork)
        for (size_t i = 0; i < s->containers.len; i++)
            for (size_t k = 0; k < s->containers.items[i].ports.len; k++) {
                const struct corev1_ContainerPort *p = &s->containers.items[i].ports.items[k];
                if (p->hostPort != p->containerPort) field_invalid_int(errs, FIELD(FIELD_INDEX(FIELD(FIELD_INDEX(FIELD(at, "containers"), i), "ports"), k), "hostPort"), p->hostPort, "must match `containerPort` when `hostNetwork` is true");
            }
    validate_pod_security(s, at, errs);
    validate_dns_config(s, FIELD(at, "dnsConfig"), errs);
    validate_scheduling(s, at, errs);
    if (!str_empty(s->serviceAccountName)) {
        object_name_dns_subdomain(errs->arena, s->serviceAccountName, false, &msgs);
        field_invalid_each(errs, FIELD(at, "serviceAccountName"), s->serviceAccountName, &msgs);
    }
    if (!str_empty(s->nodeName)) {
        msgs = (struct string_list){0};
        object_name_dns_subdomain(errs->arena, s->nodeName, false, &msgs);
        field_invalid_each(errs, FIELD(at, "nodeName"), s->nodeName, &msgs);
    }
    if (s->activeDeadlineSeconds.has && (s->activeDeadlineSeconds.value < 1 || s->activeDeadlineSeconds.value > INT32_MAX))
        field_invalid_int(errs, FIELD(at, "activeDeadlineSeconds"), s->activeDeadlineSeconds.value, "must be between 1 and 2147483647, inclusive");
    const char *const labels[] = {s->hostname, s->subdomain}, *const label_names[] = {"hostname", "subdomain"};
    for (size_t i = 0; i < 2; i++) {
        if (str_empty(labels[i])) continue;
        msgs = (struct string_list){0};
        name_dns1123_label(errs->arena, labels[i], &msgs);
        field_invalid_each(errs, FIELD(at, label_names[i]), labels[i], &msgs);
    }
    tolerations(s, at, errs);
    validate_os(s, at, errs);
    for (size_t i = 0; i < s->hostAliases.len; i++)
        for (size_t j = 0; j < s->hostAliases.items[i].hostnames.len; j++) {
            struct string_list bad = {0};
            name_dns1123_subdomain(errs->arena, s->hostAliases.items[i].hostnames.items[j], &bad);
            field_invalid_each(errs, FIELD_INDEX(FIELD(FIELD_INDEX(FIELD(at, "hostAliases"), i), "hostnames"), j), s->hostAliases.items[i].hostnames.items[j], &bad);
        }
    for (size_t i = 0; i < s->hostAliases.len; i++)
        if (!name_is_ip(s->hostAliases.items[i].ip)) field_invalid(errs, FIELD(FIELD_INDEX(FIELD(at, "hostAliases"), i), "ip"), s->hostAliases.items[i].ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    if (s->terminationGracePeriodSeconds.has) validate_non_negative(s->terminationGracePeriodSeconds.value, FIELD(at, "terminationGracePeriodSeconds"), errs);
}

void validate_pod_template(const struct corev1_PodTemplateSpec *t, const struct field_path *at, struct field_errors *errs) {
    validate_labels(&t->metadata.labels, FIELD(at, "labels"), errs);
    validate_annotations(&t->metadata.annotations, FIELD(at, "annotations"), errs);
    validate_pod_spec(&t->spec, &t->metadata, FIELD(at, "spec"), true, errs);
    if (t->spec.ephemeralContainers.len) field_forbidden(errs, FIELD(FIELD(at, "spec"), "ephemeralContainers"), "ephemeral containers not allowed in pod template");
}

void validate_pod(const void *obj, struct field_errors *errs) {
    const struct corev1_Pod *p = obj;
    validate_pod_spec(&p->spec, &p->metadata, FIELD(NULL, "spec"), false, errs);
    if (p->spec.ephemeralContainers.len) field_forbidden(errs, FIELD(FIELD(NULL, "spec"), "ephemeralContainers"), "cannot be set on create");
    validate_scheduling_gates(&p->spec, FIELD(NULL, "spec"), errs);
}

/* ---- updates: images, deadline, tolerations added, gates removed; nothing else ---- */

static bool tolerations_only_added(const struct corev1_Pod *pod, const struct corev1_Pod *old) {
    LIST_FOREACH(o, &old->spec.tolerations) {
        bool found = false;
        LIST_FOREACH(t, &pod->spec.tolerations) {
            struct corev1_Toleration a = *o, b = *t;
            a.tolerationSeconds = b.tolerationSeconds;
            found |= object_equal(&corev1_Toleration_desc, &a, &b);
        }
        if (!found) return false;
    }
    return true;
}

void validate_pod_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Pod *pod = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "spec");
    if (pod->spec.containers.len != old->spec.containers.len || pod->spec.initContainers.len != old->spec.initContainers.len) {
        field_forbidden(errs, FIELD(at, pod->spec.containers.len != old->spec.containers.len ? "containers" : "initContainers"), "pod updates may not add or remove containers");
        return;
    }
    for (size_t i = 0; i < pod->spec.containers.len; i++)
        if (str_empty(pod->spec.containers.items[i].image)) field_required(errs, FIELD(FIELD_INDEX(FIELD(at, "containers"), i), "image"), "%s", "");
    if (pod->spec.activeDeadlineSeconds.has) {
        int64_t v = pod->spec.activeDeadlineSeconds.value;
        if (v < 0 || v > INT32_MAX) {
            field_invalid_int(errs, FIELD(at, "activeDeadlineSeconds"), v, "must be between 0 and 2147483647, inclusive");
            return;
        }
        if (old->spec.activeDeadlineSeconds.has && v > old->spec.activeDeadlineSeconds.value) {
            field_invalid_int(errs, FIELD(at, "activeDeadlineSeconds"), v, "must be less than or equal to previous value");
            return;
        }
    } else if (old->spec.activeDeadlineSeconds.has)
        field_invalid_raw(errs, FIELD(at, "activeDeadlineSeconds"), "null", "must not update from a positive integer to nil value");
    if (!tolerations_only_added(pod, old)) field_forbidden(errs, FIELD(at, "tolerations"), "existing toleration can not be modified except its tolerationSeconds");
    struct corev1_PodSpec *a = object_copy(errs->arena, &corev1_PodSpec_desc, &pod->spec);
    for (size_t i = 0; i < a->containers.len; i++) a->containers.items[i].image = old->spec.containers.items[i].image;
    for (size_t i = 0; i < a->initContainers.len; i++) a->initContainers.items[i].image = old->spec.initContainers.items[i].image;
    a->activeDeadlineSeconds = old->spec.activeDeadlineSeconds;
    a->tolerations = old->spec.tolerations;
    validate_gated_update(pod, old, a, at, errs);
    if (old->spec.terminationGracePeriodSeconds.value < 0 && a->terminationGracePeriodSeconds.value == 1) a->terminationGracePeriodSeconds = old->spec.terminationGracePeriodSeconds;
    if (!object_equal(&corev1_PodSpec_desc, a, &old->spec))
        field_forbidden(errs, at, "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)");
}
