/* Containers of Pods: ports, probes, hooks, mounts, restart rules. Upstream: the middle of pkg/apis/core/validation. */
#include <ctype.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "api/validation/pod_security.h"
#include "base/str.h"

enum { PORT_MAX = 65535, RESTART_RULES_MAX = 20, EXIT_CODES_MAX = 255 };

void validate_port_number(int64_t v, const struct field_path *at, struct field_errors *errs) {
    if (v < 1 || v > PORT_MAX) field_invalid_int(errs, at, v, "must be between 1 and 65535, inclusive");
}

static void port_or_name(const struct int_or_string *v, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (v->kind != INTSTR_STRING) {
        validate_port_number(v->i, at, errs);
        return;
    }
    name_port(errs->arena, str_or(v->s, ""), &msgs);
    field_invalid_each(errs, at, v->s, &msgs);
}

static void port_name(const struct corev1_ContainerPort_list *ports, size_t i, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    bool duplicate = false;
    if (str_empty(ports->items[i].name)) return;
    name_port(errs->arena, ports->items[i].name, &msgs);
    field_invalid_each(errs, at, ports->items[i].name, &msgs);
    for (size_t j = 0; j < i; j++) duplicate |= str_eq(ports->items[j].name, ports->items[i].name);
    if (!msgs.len && duplicate) field_duplicate(errs, at, ports->items[i].name);
}

static void container_ports(const struct corev1_ContainerPort_list *ports, const struct field_path *at, struct field_errors *errs) {
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    for (size_t i = 0; i < ports->len; i++) {
        const struct corev1_ContainerPort *p = &ports->items[i];
        const struct field_path *pp = FIELD_INDEX(at, i);
        port_name(ports, i, FIELD(pp, "name"), errs);
        if (p->containerPort == 0) field_required(errs, FIELD(pp, "containerPort"), "%s", "");
        else validate_port_number(p->containerPort, FIELD(pp, "containerPort"), errs);
        if (p->hostPort) validate_port_number(p->hostPort, FIELD(pp, "hostPort"), errs);
        if (str_empty(p->protocol)) field_required(errs, FIELD(pp, "protocol"), "%s", "");
        else validate_enum(p->protocol, protocols, FIELD(pp, "protocol"), errs);
    }
}

/* Ports of the host that an earlier container has already. */
static void host_port_conflicts(const struct corev1_Container *items, size_t len, const struct field_path *at, struct field_errors *errs) {
    struct string_list seen = {0};
    for (size_t i = 0; i < len; i++)
        for (size_t k = 0; k < items[i].ports.len; k++) {
            const struct corev1_ContainerPort *p = &items[i].ports.items[k];
            if (!p->hostPort) continue;
            const char *key = arena_printf(errs->arena, "%s/%s/%d", str_or(p->protocol, ""), str_or(p->hostIP, ""), p->hostPort);
            if (string_list_has(&seen, key)) field_duplicate(errs, FIELD(FIELD_INDEX(FIELD(FIELD_INDEX(at, i), "ports"), k), "hostPort"), key);
            else string_list_push(errs->arena, &seen, key);
        }
}

/* ---- probes and hooks ---- */

static void http_get(const struct corev1_HTTPGetAction *h, const struct field_path *at, struct field_errors *errs) {
    static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
    validate_required(h->path, FIELD(at, "path"), errs);
    port_or_name(&h->port, FIELD(at, "port"), errs);
    if (!str_in(h->scheme, schemes)) field_not_supported(errs, FIELD(at, "scheme"), h->scheme, schemes);
    LIST_FOREACH(header, &h->httpHeaders) {
        const char *name = str_or(header->name, "");
        bool ok = *name != 0;
        for (const char *c = name; *c; c++) ok &= isalnum((unsigned char)*c) || *c == '-';
        if (!ok) field_invalid(errs, FIELD(at, "httpHeaders"), name, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')");
    }
}

static void sleep_action(const struct corev1_SleepAction *s, const struct opt_int64 *grace, const struct field_path *at, struct field_errors *errs) {
    if (grace->has && (s->seconds < 0 || s->seconds > grace->value))
        field_invalid_int(errs, at, s->seconds, "must be non-negative and less than terminationGracePeriodSeconds (%lld)", (long long)grace->value);
}

struct any_handler {
    const struct corev1_ExecAction *exec;
    const struct corev1_HTTPGetAction *http;
    const struct corev1_TCPSocketAction *tcp;
    const struct corev1_GRPCAction *grpc;
    const struct corev1_SleepAction *sleep;
};

static void handler(const struct any_handler *h, const struct opt_int64 *grace, const struct field_path *at, struct field_errors *errs) {
    static const char *const names[] = {"exec", "httpGet", "tcpSocket", "grpc", "sleep"};
    const void *const given[] = {h->exec, h->http, h->tcp, h->grpc, h->sleep};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        if (!given[i]) continue;
        const struct field_path *p = FIELD(at, names[i]);
        if (n++) field_forbidden(errs, p, "may not specify more than 1 handler type");
        else if (h->exec) {
            if (!h->exec->command.len) field_required(errs, FIELD(p, "command"), "%s", "");
        } else if (h->http) http_get(h->http, p, errs);
        else if (h->tcp) port_or_name(&h->tcp->port, FIELD(p, "port"), errs);
        else if (h->grpc) validate_port_number(h->grpc->port, FIELD(p, "port"), errs);
        else sleep_action(h->sleep, grace, p, errs);
    }
    if (!n) field_required(errs, at, "must specify a handler type");
}

static void probe(const struct corev1_Probe *p, bool readiness, const struct field_path *at, struct field_errors *errs) {
    if (!p) return;
    const struct opt_int64 no_grace = {0};
    handler(&(struct any_handler){p->exec, p->httpGet, p->tcpSocket, p->grpc, NULL}, &no_grace, at, errs);
    validate_non_negative(p->initialDelaySeconds, FIELD(at, "initialDelaySeconds"), errs);
    validate_non_negative(p->timeoutSeconds, FIELD(at, "timeoutSeconds"), errs);
    validate_non_negative(p->periodSeconds, FIELD(at, "periodSeconds"), errs);
    validate_non_negative(p->successThreshold, FIELD(at, "successThreshold"), errs);
    validate_non_negative(p->failureThreshold, FIELD(at, "failureThreshold"), errs);
    const struct opt_int64 *grace = &p->terminationGracePeriodSeconds;
    if (grace->has && grace->value <= 0) field_invalid_int(errs, FIELD(at, "terminationGracePeriodSeconds"), grace->value, "must be greater than 0");
    if (readiness && grace->has) field_invalid_int(errs, FIELD(at, "terminationGracePeriodSeconds"), grace->value, "must not be set for readinessProbes");
    if (!readiness && p->successThreshold != 1) field_invalid_int(errs, FIELD(at, "successThreshold"), p->successThreshold, "must be 1");
}

static void hook(const struct corev1_LifecycleHandler *h, const struct opt_int64 *grace, const struct field_path *at, struct field_errors *errs) {
    if (h) handler(&(struct any_handler){h->exec, h->httpGet, h->tcpSocket, NULL, h->sleep}, grace, at, errs);
}

static void lifecycle_and_probes(const struct corev1_Container *c, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (c->lifecycle) {
        hook(c->lifecycle->postStart, &s->terminationGracePeriodSeconds, FIELD(FIELD(at, "lifecycle"), "postStart"), errs);
        hook(c->lifecycle->preStop, &s->terminationGracePeriodSeconds, FIELD(FIELD(at, "lifecycle"), "preStop"), errs);
    }
    probe(c->livenessProbe, false, FIELD(at, "livenessProbe"), errs);
    probe(c->readinessProbe, true, FIELD(at, "readinessProbe"), errs);
    probe(c->startupProbe, false, FIELD(at, "startupProbe"), errs);
}

/* ---- mounts and devices ---- */

static void mount_propagation(const struct corev1_VolumeMount *m, const struct corev1_Container *c, const struct field_path *at, struct field_errors *errs) {
    static const char *const modes[] = {"Bidirectional", "HostToContainer", "None", NULL};
    if (!m->mountPropagation) return;
    validate_enum(m->mountPropagation, modes, at, errs);
    bool privileged = c->securityContext && c->securityContext->privileged.has && c->securityContext->privileged.value;
    if (str_eq(m->mountPropagation, "Bidirectional") && !privileged) field_forbidden(errs, at, "Bidirectional mount propagation is available only to privileged containers");
}

static void recursive_read_only(const struct corev1_VolumeMount *m, const struct field_path *at, struct field_errors *errs) {
    static const char *const modes[] = {"Disabled", "Enabled", "IfPossible", NULL};
    if (!m->recursiveReadOnly || str_eq(m->recursiveReadOnly, "Disabled")) return;
    if (!str_in(m->recursiveReadOnly, modes)) {
        field_not_supported(errs, at, m->recursiveReadOnly, modes);
        return;
    }
    if (!m->readOnly) field_forbidden(errs, at, "may only be specified when readOnly is true");
    if (m->mountPropagation && !str_eq(m->mountPropagation, "None")) field_forbidden(errs, at, "may only be specified when mountPropagation is None or not specified");
}

/* Upstream keeps the mounts (and devices) of a container by their names: of several of one name the last one's path. */
static bool last_of_its_name(const struct corev1_VolumeMount_list *list, const struct corev1_VolumeMount *m) {
    for (const struct corev1_VolumeMount *o = m + 1; o < list->items + list->len; o++)
        if (str_eq(o->name, m->name)) return false;
    return true;
}

static bool last_device_of_its_name(const struct corev1_VolumeDevice_list *list, const struct corev1_VolumeDevice *d) {
    for (const struct corev1_VolumeDevice *o = d + 1; o < list->items + list->len; o++)
        if (str_eq(o->name, d->name)) return false;
    return true;
}

static void volume_mount(const struct corev1_Container *c, size_t i, const struct pod_scope *scope, const struct field_path *list, struct field_errors *errs) {
    const struct corev1_VolumeMount *m = &c->volumeMounts.items[i];
    const struct field_path *at = FIELD_INDEX(list, i);
    bool same_path = false, device_name = false, device_path = false;
    for (size_t j = 0; j < i; j++) same_path |= str_eq(c->volumeMounts.items[j].mountPath, m->mountPath);
    LIST_FOREACH(d, &c->volumeDevices) {
        device_name |= str_eq(d->name, m->name);
        device_path |= str_eq(d->devicePath, m->mountPath) && last_device_of_its_name(&c->volumeDevices, d);
    }
    validate_required(m->name, FIELD(at, "name"), errs);
    if (!pod_volumes_find(&scope->volumes, m->name)) field_not_found(errs, FIELD(at, "name"), m->name);
    validate_required(m->mountPath, FIELD(at, "mountPath"), errs);
    if (same_path) field_invalid(errs, FIELD(at, "mountPath"), m->mountPath, "must be unique");
    if (device_name) field_invalid(errs, FIELD(at, "name"), m->name, "must not already exist in volumeDevices");
    if (device_path) field_invalid(errs, FIELD(at, "mountPath"), m->mountPath, "must not already exist as a path in volumeDevices");
    if (!str_empty(m->subPath)) validate_local_descending_path(m->subPath, FIELD(list, "subPath"), errs);
    if (!str_empty(m->subPathExpr)) {
        if (!str_empty(m->subPath)) field_invalid(errs, FIELD(at, "subPathExpr"), m->subPathExpr, "subPathExpr and subPath are mutually exclusive");
        validate_local_descending_path(m->subPathExpr, FIELD(list, "subPathExpr"), errs);
    }
    mount_propagation(m, c, FIELD(list, "mountPropagation"), errs);
    recursive_read_only(m, FIELD(list, "recursiveReadOnly"), errs);
}

static void volume_device(const struct corev1_Container *c, size_t i, const struct pod_scope *scope, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_VolumeDevice *d = &c->volumeDevices.items[i];
    const struct corev1_Volume *v = pod_volumes_find(&scope->volumes, d->name);
    bool same_name = false, same_path = false, mount_name = false, mount_path = false;
    for (size_t j = 0; j < i; j++) {
        same_name |= !str_empty(d->name) && str_eq(c->volumeDevices.items[j].name, d->name);
        same_path |= str_eq(c->volumeDevices.items[j].devicePath, d->devicePath);
    }
    LIST_FOREACH(m, &c->volumeMounts) {
        mount_name |= str_eq(m->name, d->name);
        mount_path |= str_eq(m->mountPath, d->devicePath) && last_of_its_name(&c->volumeMounts, m);
    }
    validate_required(d->name, FIELD(at, "name"), errs);
    if (same_name) field_invalid(errs, FIELD(at, "name"), d->name, "must be unique");
    if (v && !v->persistentVolumeClaim && !v->ephemeral) field_invalid(errs, FIELD(at, "name"), d->name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
    if (!v) field_not_found(errs, FIELD(at, "name"), d->name);
    validate_required(d->devicePath, FIELD(at, "devicePath"), errs);
    if (same_path) field_invalid(errs, FIELD(at, "devicePath"), d->devicePath, "must be unique");
    if (path_has_backsteps(d->devicePath)) field_invalid(errs, FIELD(at, "devicePath"), d->devicePath, "can not contain backsteps ('..')");
    if (mount_name) field_invalid(errs, FIELD(at, "name"), d->name, "must not already exist in volumeMounts");
    if (mount_path) field_invalid(errs, FIELD(at, "devicePath"), d->devicePath, "must not already exist as a path in volumeMounts");
}

/* ---- the container ---- */

static void resize_policy(const struct corev1_Container *c, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const resources[] = {"cpu", "memory", NULL}, *const policies[] = {"NotRequired", "RestartContainer", NULL};
    for (size_t i = 0; i < c->resizePolicy.len; i++) {
        const struct corev1_ContainerResizePolicy *p = &c->resizePolicy.items[i];
        bool duplicate = false;
        for (size_t j = 0; j < i; j++) duplicate |= str_eq(c->resizePolicy.items[j].resourceName, p->resourceName);
        if (duplicate) field_duplicate(errs, FIELD_INDEX(at, i), p->resourceName);
        if (str_empty(p->resourceName)) field_required(errs, at, "%s", "");
        else validate_enum(p->resourceName, resources, at, errs);
        if (str_empty(p->restartPolicy)) field_required(errs, at, "%s", "");
        else validate_enum(p->restartPolicy, policies, at, errs);
        if (str_eq(s->restartPolicy, "Never") && !str_eq(p->restartPolicy, "NotRequired")) field_invalid(errs, at, p->restartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
    }
}

static void container_common(const struct corev1_Container *c, const struct pod_scope *scope, const struct field_path *at, struct field_errors *errs) {
    static const char *const pull[] = {"Always", "IfNotPresent", "Never", NULL}, *const message[] = {"File", "FallbackToLogsOnError", NULL};
    if (str_empty(c->name)) field_required(errs, FIELD(at, "name"), "%s", "");
    else validate_dns1123_label(c->name, FIELD(at, "name"), errs);
    validate_required(c->image, FIELD(at, "image"), errs);
    if (str_empty(c->terminationMessagePolicy)) field_required(errs, FIELD(at, "terminationMessagePolicy"), "%s", "");
    else validate_enum(c->terminationMessagePolicy, message, FIELD(at, "terminationMessagePolicy"), errs);
    container_ports(&c->ports, FIELD(at, "ports"), errs);
    validate_container_environment(c, at, errs);
    for (size_t i = 0; i < c->volumeMounts.len; i++) volume_mount(c, i, scope, FIELD(at, "volumeMounts"), errs);
    for (size_t i = 0; i < c->volumeDevices.len; i++) volume_device(c, i, scope, FIELD_INDEX(FIELD(at, "volumeDevices"), i), errs);
    if (str_empty(c->imagePullPolicy)) field_required(errs, FIELD(at, "imagePullPolicy"), "%s", "");
    else validate_enum(c->imagePullPolicy, pull, FIELD(at, "imagePullPolicy"), errs);
    validate_container_resources(&c->resources, scope->spec, FIELD(at, "resources"), errs);
    resize_policy(c, scope->spec, FIELD(at, "resizePolicy"), errs);
    validate_container_security(c->securityContext, scope->spec, FIELD(at, "securityContext"), errs);
}

static void restart_policy(const struct corev1_Container *c, const struct field_path *at, struct field_errors *errs) {
    static const char *const policies[] = {"Always", "Never", "OnFailure", NULL}, *const actions[] = {"Restart", "RestartAllContainers", NULL}, *const operators[] = {"In", "NotIn", NULL};
    const struct field_path *rules = FIELD(at, "restartPolicyRules");
    if (!c->restartPolicy && c->restartPolicyRules.len) field_required(errs, FIELD(at, "restartPolicy"), "must specify restartPolicy when restart rules are used");
    validate_enum(c->restartPolicy, policies, FIELD(at, "restartPolicy"), errs);
    if (c->restartPolicyRules.len > RESTART_RULES_MAX) field_too_many(errs, rules, (int64_t)c->restartPolicyRules.len, RESTART_RULES_MAX);
    for (size_t i = 0; i < c->restartPolicyRules.len; i++) {
        const struct corev1_ContainerRestartRule *r = &c->restartPolicyRules.items[i];
        const struct field_path *codes = FIELD(FIELD_INDEX(rules, i), "exitCodes");
        validate_enum(str_or(r->action, ""), actions, FIELD(FIELD_INDEX(rules, i), "action"), errs);
        if (!r->exitCodes) {
            field_required(errs, codes, "must be specified");
            continue;
        }
        validate_enum(str_or(r->exitCodes->operator, ""), operators, FIELD(codes, "operator"), errs);
        if (r->exitCodes->values.len > EXIT_CODES_MAX) field_too_many(errs, FIELD(codes, "values"), (int64_t)r->exitCodes->values.len, EXIT_CODES_MAX);
    }
}

static void init_restart_policy(const struct corev1_Container *c, const struct field_path *at, struct field_errors *errs) {
    if (c->restartPolicy) restart_policy(c, at, errs);
    else if (c->restartPolicyRules.len) field_required(errs, FIELD(at, "restartPolicy"), "must specify restartPolicy when restart rules are used");
}

static bool named_before(const struct corev1_Container *items, size_t len, const char *name) {
    for (size_t i = 0; i < len; i++)
        if (str_eq(items[i].name, name)) return true;
    return false;
}

void validate_pod_containers(const struct pod_scope *scope, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_Container_list *list = &scope->spec->containers;
    if (!list->len) {
        field_required(errs, at, "%s", "");
        return;
    }
    for (size_t i = 0; i < list->len; i++) {
        const struct corev1_Container *c = &list->items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        container_common(c, scope, p, errs);
        if (named_before(list->items, i, c->name)) field_duplicate(errs, FIELD(p, "name"), c->name);
        lifecycle_and_probes(c, scope->spec, p, errs);
        restart_policy(c, p, errs);
    }
    host_port_conflicts(list->items, list->len, at, errs);
}

static void runs_once(const struct corev1_Container *c, const struct field_path *at, struct field_errors *errs) {
    const struct { const char *name; bool set; } fields[] = {
        {"lifecycle", c->lifecycle != NULL}, {"livenessProbe", c->livenessProbe != NULL}, {"readinessProbe", c->readinessProbe != NULL}, {"startupProbe", c->startupProbe != NULL}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].set) field_forbidden(errs, FIELD(at, fields[i].name), "may not be set for init containers without restartPolicy=Always");
}

void validate_pod_init_containers(const struct pod_scope *scope, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_Container_list *list = &scope->spec->initContainers;
    for (size_t i = 0; i < list->len; i++) {
        const struct corev1_Container *c = &list->items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        bool sidecar = str_eq(c->restartPolicy, "Always");
        container_common(c, scope, p, errs);
        init_restart_policy(c, p, errs);
        if (named_before(scope->spec->containers.items, scope->spec->containers.len, c->name) || (!str_empty(c->name) && named_before(list->items, i, c->name))) field_duplicate(errs, FIELD(p, "name"), c->name);
        host_port_conflicts(c, 1, at, errs);
        if (sidecar) lifecycle_and_probes(c, scope->spec, p, errs);
        else runs_once(c, p, errs);
        for (size_t j = 0; !sidecar && j < c->resizePolicy.len; j++)
            if (str_eq(c->resizePolicy.items[j].restartPolicy, "RestartContainer"))
                field_invalid(errs, FIELD(FIELD_INDEX(FIELD(p, "resizePolicy"), j), "restartPolicy"), "RestartContainer", "must not be set to 'RestartContainer' for non-sidecar initContainers");
    }
}

/* ---- ephemeral containers ---- */

_Static_assert(offsetof(struct corev1_Container, tty) == offsetof(struct corev1_EphemeralContainerCommon, tty), "an ephemeral container begins as a container");

static void not_for_ephemeral(const struct corev1_EphemeralContainer *c, const struct field_path *at, struct field_errors *errs) {
    const struct { const char *name; bool set; } fields[] = {
        {"ports", c->ports.items != NULL}, {"resources", c->resources.limits.items || c->resources.requests.items || c->resources.claims.items}, {"resizePolicy", c->resizePolicy.items != NULL},
        {"restartPolicy", c->restartPolicy != NULL}, {"restartPolicyRules", c->restartPolicyRules.items != NULL}, {"livenessProbe", c->livenessProbe != NULL},
        {"readinessProbe", c->readinessProbe != NULL}, {"startupProbe", c->startupProbe != NULL}, {"lifecycle", c->lifecycle != NULL}};
    static const char no[] = "cannot be set for an Ephemeral Container";
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].set) field_forbidden(errs, FIELD(at, fields[i].name), "%s", no);
    for (size_t i = 0; i < c->volumeMounts.len; i++) {
        const struct field_path *m = FIELD_INDEX(FIELD(at, "volumeMounts"), i);
        if (!str_empty(c->volumeMounts.items[i].subPath)) field_forbidden(errs, FIELD(m, "subPath"), "%s", no);
        if (!str_empty(c->volumeMounts.items[i].subPathExpr)) field_forbidden(errs, FIELD(m, "subPathExpr"), "%s", no);
    }
}

void validate_image_not_padded(const char *image, const struct field_path *at, struct field_errors *errs) {
    static const char blanks[] = " \t\r\n\v\f";
    if (!str_empty(image) && (strchr(blanks, image[0]) || strchr(blanks, image[strlen(image) - 1]))) field_invalid(errs, FIELD(at, "image"), image, "must not have leading or trailing whitespace");
}

void validate_pod_ephemeral_containers(const struct pod_scope *scope, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodSpec *s = scope->spec;
    for (size_t i = 0; i < s->ephemeralContainers.len; i++) {
        const struct corev1_EphemeralContainer *c = &s->ephemeralContainers.items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        bool other = named_before(s->containers.items, s->containers.len, c->name) || named_before(s->initContainers.items, s->initContainers.len, c->name), duplicate = other;
        for (size_t j = 0; j < i; j++) duplicate |= str_eq(s->ephemeralContainers.items[j].name, c->name);
        container_common((const struct corev1_Container *)(const void *)c, scope, p, errs);
        validate_image_not_padded(c->image, p, errs);
        if (duplicate) field_duplicate(errs, FIELD(p, "name"), c->name);
        const char *target = c->targetContainerName;
        if (!str_empty(target) && !named_before(s->containers.items, s->containers.len, target) && !named_before(s->initContainers.items, s->initContainers.len, target))
            field_not_found(errs, FIELD(p, "targetContainerName"), target);
        not_for_ephemeral(c, p, errs);
    }
}

void validate_images_not_padded(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < s->containers.len; i++) validate_image_not_padded(s->containers.items[i].image, FIELD_INDEX(FIELD(at, "containers"), i), errs);
    for (size_t i = 0; i < s->initContainers.len; i++) validate_image_not_padded(s->initContainers.items[i].image, FIELD_INDEX(FIELD(at, "initContainers"), i), errs);
}
