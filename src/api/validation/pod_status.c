/* Updates of a Pod's status, and of its ephemeral containers. Upstream: ValidatePodStatusUpdate. Not here: health of allocated devices, mappings of extended
 * resources to claims. Tests: tests/unit/test_validation_pods.c. */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

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

/* Each well-formed unless it was there before, and at most one of each family. */
static void addresses(const struct string_list *now, const struct string_list *old, const char *values, const struct field_path *at, struct field_errors *errs) {
    size_t fours = 0, sixes = 0;
    for (size_t i = 0; i < now->len; i++) {
        if (!string_list_has(old, now->items[i])) validate_ip(now->items[i], FIELD_INDEX(at, i), errs);
        if (strchr(str_or(now->items[i], ""), ':')) sixes++;
        else fours++;
    }
    if (fours > 1 || sixes > 1) field_invalid_raw(errs, at, values, "may specify no more than one IP for each IP family");
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

void validate_pod_status_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Pod *pod = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "status");
    conditions(&pod->status.conditions, FIELD(at, "conditions"), errs);
    nominated(pod, old, FIELD(at, "nominatedNodeName"), errs);
    if (pod->status.observedGeneration < 0) field_invalid_int(errs, FIELD(at, "observedGeneration"), pod->status.observedGeneration, "must be a non-negative integer");
    validate_immutable(str_eq(pod->status.qosClass, old->status.qosClass), go_quote(errs->arena, str_or(pod->status.qosClass, "")), FIELD(at, "qosClass"), errs);
    all_transitions(pod, old, at, errs);
    claim_statuses(pod, FIELD(at, "resourceClaimStatuses"), errs);
    pod_ips(pod, old, FIELD(at, "podIPs"), errs);
    host_ips(pod, old, FIELD(at, "hostIPs"), errs);
}

void validate_pod_ephemeral_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Pod *pod = obj, *old = old_obj;
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "ephemeralContainers");
    validate_whole_pod(pod, errs);
    LIST_FOREACH(o, &old->spec.ephemeralContainers) {
        const struct corev1_EphemeralContainer *now = NULL;
        LIST_FOREACH(c, &pod->spec.ephemeralContainers)
            if (str_eq(c->name, o->name)) now = c;
        if (!now) field_forbidden(errs, at, "existing ephemeral containers \"%s\" may not be removed", o->name);
        else if (!object_equal(&corev1_EphemeralContainer_desc, now, o)) field_forbidden(errs, at, "existing ephemeral containers \"%s\" may not be changed", o->name);
    }
}
