/* Updates of a Pod's status, and of its ephemeral containers. Upstream: ValidatePodStatusUpdate. Tests: tests/unit/test_validation_pods.c. */
#include <arpa/inet.h>
#include <string.h>
#include "api/names.h"
#include "api/pod_util.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

enum { HEALTH_MESSAGE_MAX = 1024 };

static void conditions(const struct corev1_PodCondition_list *list, const struct field_path *at, struct field_errors *errs) {
    static const char *const system[] = {"PodScheduled", "Ready", "Initialized", NULL};
    for (size_t i = 0; i < list->len; i++) {
        const struct corev1_PodCondition *c = &list->items[i];
        struct string_list msgs = {0};
        if (c->observedGeneration < 0) field_invalid_int(errs, FIELD(FIELD_INDEX(at, i), "observedGeneration"), c->observedGeneration, "must be a non-negative integer");
        if (str_in(str_or(c->type, ""), system)) continue;
        name_qualified(errs->arena, str_or(c->type, ""), &msgs);
        field_invalid_each(errs, FIELD(FIELD_INDEX(at, i), "Type"), c->type, &msgs);
    }
}

static void nominated(const struct corev1_Pod *pod, const struct corev1_Pod *old, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    const char *name = pod->status.nominatedNodeName;
    if (str_empty(name) || str_eq(name, old->status.nominatedNodeName)) return;
    object_name_dns_subdomain(errs->arena, name, false, &msgs);
    field_invalid_each(errs, at, name, &msgs);
    if (!str_empty(old->spec.nodeName)) field_forbidden(errs, at, "may not be set on pods that are already bound to a node");
}

/* ---- what has ended stays so, unless it is to be restarted ---- */

static bool rule_matches(const struct corev1_ContainerRestartRule *rule, int32_t code) {
    if (!rule->exitCodes) return false;
    bool in = false;
    for (size_t i = 0; i < rule->exitCodes->values.len; i++) in |= rule->exitCodes->values.items[i] == code;
    return str_eq(rule->exitCodes->operator, "NotIn") ? !in : in;
}

static bool restarts(const struct corev1_Container *c, const char *pod_policy, int32_t code) {
    const char *policy = str_or(c->restartPolicy, pod_policy);
    LIST_FOREACH(rule, &c->restartPolicyRules)
        if (c->restartPolicy && rule_matches(rule, code)) return true;
    return str_eq(policy, "Always") || (str_eq(policy, "OnFailure") && code != 0);
}

static bool restarts_all(const struct corev1_Container_list *list) {
    LIST_FOREACH(c, list)
        LIST_FOREACH(rule, &c->restartPolicyRules)
            if (str_eq(rule->action, "RestartAllContainers")) return true;
    return false;
}

static const struct corev1_ContainerStatus *status_named(const struct corev1_ContainerStatus_list *list, const char *name) {
    LIST_FOREACH(s, list)
        if (str_eq(s->name, name)) return s;
    return NULL;
}

/* `containers` is NULL for ephemeral ones, which never restart. */
static void transitions(const struct corev1_ContainerStatus_list *now, const struct corev1_ContainerStatus_list *old, const struct corev1_Container_list *containers, const char *policy,
                        const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < old->len; i++) {
        const struct corev1_ContainerStateTerminated *ended = old->items[i].state.terminated;
        const struct corev1_ContainerStatus *s = ended ? status_named(now, old->items[i].name) : NULL;
        bool allowed = false;
        if (!s || s->state.terminated) continue;
        for (size_t k = 0; containers && k < containers->len; k++)
            if (str_eq(containers->items[k].name, s->name)) {
                allowed = restarts(&containers->items[k], policy, ended->exitCode);
                break;
            }
        if (!allowed) field_forbidden(errs, FIELD(FIELD_INDEX(at, i), "state"), "may not be transitioned to non-terminated state");
    }
}

static void all_transitions(const struct corev1_Pod *pod, const struct corev1_Pod *old, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodSpec *s = &old->spec;
    bool anew = restarts_all(&s->containers) || restarts_all(&s->initContainers);
    if (!anew) transitions(&pod->status.containerStatuses, &old->status.containerStatuses, &s->containers, s->restartPolicy, FIELD(at, "containerStatuses"), errs);
    if (!anew) transitions(&pod->status.initContainerStatuses, &old->status.initContainerStatuses, &s->initContainers, s->restartPolicy, FIELD(at, "initContainerStatuses"), errs);
    transitions(&pod->status.ephemeralContainerStatuses, &old->status.ephemeralContainerStatuses, NULL, s->restartPolicy, FIELD(at, "ephemeralContainerStatuses"), errs);
}

/* ---- claims, addresses, users ---- */

static void claim_statuses(const struct corev1_Pod *pod, const struct field_path *all, struct field_errors *errs) {
    for (size_t i = 0; i < pod->status.resourceClaimStatuses.len; i++) {
        const struct corev1_PodResourceClaimStatus *s = &pod->status.resourceClaimStatuses.items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        bool known = false, before = false;
        struct string_list msgs = {0};
        LIST_FOREACH(c, &pod->spec.resourceClaims) known |= str_eq(c->name, s->name);
        for (size_t k = 0; k < i; k++) before |= str_eq(pod->status.resourceClaimStatuses.items[k].name, s->name);
        if (!known) field_invalid(errs, FIELD(at, "name"), s->name, "must match the name of an entry in `spec.resourceClaims`");
        if (before) field_duplicate(errs, FIELD(at, "name"), s->name);
        if (s->resourceClaimName) object_name_dns_subdomain(errs->arena, s->resourceClaimName, false, &msgs);
        field_invalid_each(errs, FIELD(at, "resourceClaimName"), s->resourceClaimName, &msgs);
    }
}

/* A claim that stands for extended resources: whose requests it serves. */
static void extended_claim(const struct corev1_Pod *pod, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodExtendedResourceClaimStatus *s = pod->status.extendedResourceClaimStatus;
    const struct field_path *all = FIELD(at, "requestMappings");
    if (!s) return;
    if (!s->requestMappings.len) field_required(errs, all, "at least one request mapping is required");
    for (size_t i = 0; i < s->requestMappings.len; i++) {
        const struct corev1_ContainerExtendedResourceRequest *m = &s->requestMappings.items[i];
        const struct field_path *p = FIELD_INDEX(all, i);
        const struct corev1_Container *container = NULL, *c;
        for (size_t n = 0; n < pod->spec.initContainers.len + pod->spec.containers.len && (c = pod_container_at(&pod->spec, n, NULL, NULL)); n++)
            if (str_eq(c->name, m->containerName)) container = c;
        if (!container) field_invalid(errs, FIELD(p, "containerName"), m->containerName, "must match the name of an entry in spec.initContainers.name or spec.containers.name");
        else if (!string_map_has(&container->resources.requests, str_or(m->resourceName, "")))
            field_invalid(errs, FIELD(p, "resourceName"), m->resourceName, "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests");
        validate_dns1123_label(m->requestName, FIELD(at, "requestName"), errs);
        bool before = false;
        for (size_t k = 0; k < i; k++) before |= object_equal(&corev1_ContainerExtendedResourceRequest_desc, &s->requestMappings.items[k], m);
        if (!before) continue;
        field_duplicate(errs, FIELD(p, "containerName"), m->containerName);
        field_duplicate(errs, FIELD(p, "resourceName"), m->resourceName);
        field_duplicate(errs, FIELD(p, "requestName"), m->requestName);
    }
    if (str_empty(s->resourceClaimName)) field_required(errs, FIELD(at, "resourceClaimName"), "%s", "");
    else validate_dns1123_subdomain(s->resourceClaimName, FIELD(at, "resourceClaimName"), errs);
}

/* 4 or 6, as Go's lenient parser takes the address: leading zeros are fine, and an IPv4 address in IPv6 form is IPv4. 0: it is none. */
static int family(const char *ip) {
    struct in6_addr six;
    int parts = 0;
    if (inet_pton(AF_INET6, str_or(ip, ""), &six) == 1) return IN6_IS_ADDR_V4MAPPED(&six) ? 4 : 6;
    for (const char *p = str_or(ip, ""); *p; parts++) {
        size_t digits = strspn(p, "0123456789");
        int64_t number = 0;
        for (size_t i = 0; i < digits && number <= UINT8_MAX; i++) number = number * 10 + (p[i] - '0');
        if (!digits || number > UINT8_MAX || (p[digits] && (p[digits] != '.' || !p[digits + 1]))) return 0;
        p += digits + (p[digits] == '.');
    }
    return parts == 4 ? 4 : 0;
}

/* Each well-formed unless it was there before, and at most one of each family. */
static void addresses(const struct string_list *now, const struct string_list *old, const char *values, const struct field_path *at, struct field_errors *errs) {
    size_t fours = 0, sixes = 0;
    for (size_t i = 0; i < now->len; i++)
        if (!string_list_has(old, now->items[i])) validate_ip(now->items[i], FIELD_INDEX(at, i), errs);
    for (size_t i = 0; i < now->len && now->len > 1; i++) {
        int f = family(now->items[i]);
        fours += f == 4;
        sixes += f == 6;
        if (f) continue;
        field_internal_error(errs, at, "failed to check for dual stack with error:invalid IP[%zu]: %s", i, str_or(now->items[i], ""));
        fours = sixes = 0;
        break;
    }
    if (now->len > 1 && (!fours || !sixes || now->len > 2)) field_invalid_raw(errs, at, values, "may specify no more than one IP for each IP family");
}

static const char *addresses_text(struct arena *a, const struct string_list *list) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    for (size_t i = 0; i < list->len; i++) buf_printf(&text, "%s{\"IP\":%s}", i ? "," : "[", go_quote(a, str_or(list->items[i], "")));
    buf_append_char(&text, ']');
    return arena_strdup(a, text.data);
}

static void pod_ips(const struct corev1_Pod *pod, const struct corev1_Pod *old, const struct field_path *at, struct field_errors *errs) {
    struct string_list now = {0}, before = {0};
    LIST_FOREACH(ip, &pod->status.podIPs) string_list_push(errs->arena, &now, ip->ip);
    LIST_FOREACH(ip, &old->status.podIPs) string_list_push(errs->arena, &before, ip->ip);
    addresses(&now, &before, addresses_text(errs->arena, &now), at, errs);
}

static void host_ips(const struct corev1_Pod *pod, const struct corev1_Pod *old, const struct field_path *at, struct field_errors *errs) {
    struct string_list now = {0}, before = {0};
    if (!pod->status.hostIPs.len) return;
    LIST_FOREACH(ip, &pod->status.hostIPs) string_list_push(errs->arena, &now, ip->ip);
    LIST_FOREACH(ip, &old->status.hostIPs) string_list_push(errs->arena, &before, ip->ip);
    if (!str_eq(pod->status.hostIP, now.items[0])) field_invalid(errs, FIELD(FIELD_INDEX(at, 0), "ip"), now.items[0], "must be equal to `hostIP`");
    addresses(&now, &before, addresses_text(errs->arena, &now), at, errs);
}

/* ---- users and devices of containers ---- */

static void user_id(int64_t v, const struct field_path *at, struct field_errors *errs) {
    if (v < 0 || v > INT32_MAX) field_invalid_int(errs, at, v, "must be between 0 and 2147483647, inclusive");
}

static void users(const struct corev1_ContainerStatus_list *list, const struct corev1_PodOS *os, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct corev1_LinuxContainerUser *u = list->items[i].user ? list->items[i].user->linux_ : NULL;
        const struct field_path *p = FIELD(FIELD(FIELD_INDEX(at, i), "user"), "linux");
        if (!u) continue;
        if (os && str_eq(os->name, "windows")) field_forbidden(errs, p, "cannot be set for a windows pod");
        if (os && !str_eq(os->name, "linux")) continue;
        user_id(u->uid, FIELD(p, "uid"), errs);
        user_id(u->gid, FIELD(p, "gid"), errs);
        for (size_t g = 0; g < u->supplementalGroups.len; g++) user_id(u->supplementalGroups.items[g], FIELD_INDEX(FIELD(p, "supplementalGroups"), g), errs);
    }
}

static void device(const struct corev1_ResourceStatus *s, size_t k, const struct field_path *at, struct field_errors *errs) {
    static const char *const known[] = {"Healthy", "Unhealthy", "Unknown", NULL};
    const struct corev1_ResourceHealth *h = &s->resources.items[k];
    bool before = false;
    for (size_t j = 0; j < k; j++) before |= str_eq(s->resources.items[j].resourceID, h->resourceID);
    validate_enum(str_or(h->health, ""), known, FIELD(at, "health"), errs);
    if (h->message && !*h->message) field_required(errs, FIELD(at, "message"), "must be non-empty if specified");
    else if (h->message && strlen(h->message) > HEALTH_MESSAGE_MAX) field_too_long(errs, FIELD(at, "message"), HEALTH_MESSAGE_MAX);
    if (before) field_duplicate(errs, FIELD(at, "resourceID"), h->resourceID);
}

static bool asks_for(struct arena *a, const struct corev1_Container *c, const char *name, bool claim) {
    if (!claim) return string_map_has(&c->resources.requests, name);
    LIST_FOREACH(r, &c->resources.claims)
        if (str_eq(name, str_empty(r->request) ? arena_printf(a, "claim:%s", str_or(r->name, "")) : arena_printf(a, "claim:%s/%s", str_or(r->name, ""), r->request))) return true;
    return false;
}

/* `containers` is NULL for ephemeral ones, which have no devices. */
static void devices(const struct corev1_ContainerStatus_list *list, const struct corev1_Container_list *containers, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct corev1_ContainerStatus *s = &list->items[i];
        const struct field_path *all = FIELD(FIELD_INDEX(at, i), "allocatedResourcesStatus");
        const struct corev1_Container *c = NULL;
        if (!containers && s->allocatedResourcesStatus.len) field_forbidden(errs, all, "must not be specified in container status");
        for (size_t k = 0; containers && k < containers->len && !c; k++)
            if (str_eq(containers->items[k].name, s->name)) c = &containers->items[k];
        for (size_t j = 0; containers && j < s->allocatedResourcesStatus.len; j++) {
            const struct corev1_ResourceStatus *r = &s->allocatedResourcesStatus.items[j];
            bool claim = str_has_prefix(str_or(r->name, ""), "claim:");
            if (c && !asks_for(errs->arena, c, str_or(r->name, ""), claim))
                field_invalid(errs, FIELD(FIELD_INDEX(all, j), "name"), r->name, "%s", claim ? "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty" : "must match one of the container's resource requests");
            for (size_t k = 0; k < r->resources.len; k++) device(r, k, FIELD_INDEX(FIELD(FIELD_INDEX(all, j), "resources"), k), errs);
        }
    }
}

static void all_containers(const struct corev1_Pod *pod, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodStatus *s = &pod->status;
    users(&s->containerStatuses, pod->spec.os, FIELD(at, "containerStatuses"), errs);
    users(&s->initContainerStatuses, pod->spec.os, FIELD(at, "initContainerStatuses"), errs);
    users(&s->ephemeralContainerStatuses, pod->spec.os, FIELD(at, "ephemeralContainerStatuses"), errs);
    devices(&s->containerStatuses, &pod->spec.containers, FIELD(at, "containerStatuses"), errs);
    devices(&s->initContainerStatuses, &pod->spec.initContainers, FIELD(at, "initContainerStatuses"), errs);
    devices(&s->ephemeralContainerStatuses, NULL, FIELD(at, "ephemeralContainerStatuses"), errs);
}

void validate_pod_status_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Pod *pod = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "status");
    validate_pod_annotations_update(pod, old, errs);
    conditions(&pod->status.conditions, FIELD(at, "conditions"), errs);
    nominated(pod, old, FIELD(at, "nominatedNodeName"), errs);
    if (pod->status.observedGeneration < 0) field_invalid_int(errs, FIELD(at, "observedGeneration"), pod->status.observedGeneration, "must be a non-negative integer");
    validate_immutable(str_eq(pod->status.qosClass, old->status.qosClass), go_quote(errs->arena, str_or(pod->status.qosClass, "")), FIELD(at, "qosClass"), errs);
    all_transitions(pod, old, at, errs);
    claim_statuses(pod, FIELD(at, "resourceClaimStatuses"), errs);
    extended_claim(pod, FIELD(at, "extendedResourceClaimStatus"), errs);
    pod_ips(pod, old, FIELD(at, "podIPs"), errs);
    host_ips(pod, old, FIELD(at, "hostIPs"), errs);
    all_containers(pod, at, errs);
}

void validate_pod_ephemeral_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Pod *pod = obj, *old = old_obj;
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "ephemeralContainers");
    size_t before = errs->len;
    validate_changed_pod(pod, errs);
    validate_pod_annotations_update(pod, old, errs);
    if (string_map_has(&old->metadata.annotations, "kubernetes.io/config.mirror")) {
        errs->len = before;
        field_forbidden(errs, FIELD(NULL, "[]"), "static pods do not support ephemeral containers");
        return;
    }
    LIST_FOREACH(o, &old->spec.ephemeralContainers) {
        const struct corev1_EphemeralContainer *now = NULL;
        LIST_FOREACH(c, &pod->spec.ephemeralContainers)
            if (str_eq(c->name, o->name)) now = c;
        if (!now) field_forbidden(errs, at, "existing ephemeral containers \"%s\" may not be removed\n", o->name);
        else if (!object_equal(&corev1_EphemeralContainer_desc, now, o)) field_forbidden(errs, at, "existing ephemeral containers \"%s\" may not be changed", o->name);
    }
}
