/* Updates of a Pod's status, and of its ephemeral containers. */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

static void ips(const char *ip, const struct field_path *at, struct field_errors *errs) {
    if (!name_is_ip(ip)) field_invalid(errs, at, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

static void pod_ips(const struct corev1_Pod *p, const struct field_path *at, struct field_errors *errs) {
    size_t fours = 0, sixes = 0;
    for (size_t i = 0; i < p->status.podIPs.len; i++) {
        ips(p->status.podIPs.items[i].ip, FIELD_INDEX(at, i), errs);
        if (strchr(str_or(p->status.podIPs.items[i].ip, ""), ':')) sixes++;
        else fours++;
    }
    if (fours > 1 || sixes > 1) {
        struct buf text = BUF_INIT;
        LIST_FOREACH(i, &p->status.podIPs) buf_printf(&text, "%s{\"ip\":\"%s\"}", text.len ? "," : "[", i->ip);
        buf_append_char(&text, ']');
        field_invalid_raw(errs, at, arena_strdup(errs->arena, text.data), "may specify no more than one IP for each IP family");
        buf_release(&text);
    }
}

void validate_pod_status_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Pod *pod = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "status");
    struct string_list msgs = {0};
    if (!str_empty(pod->status.nominatedNodeName)) {
        object_name_dns_subdomain(errs->arena, pod->status.nominatedNodeName, false, &msgs);
        field_invalid_each(errs, FIELD(at, "nominatedNodeName"), pod->status.nominatedNodeName, &msgs);
    }
    for (size_t i = 0; i < pod->status.conditions.len; i++) {
        msgs = (struct string_list){0};
        name_qualified(errs->arena, str_or(pod->status.conditions.items[i].type, ""), &msgs);
        field_invalid_each(errs, FIELD(FIELD_INDEX(FIELD(at, "conditions"), i), "Type"), pod->status.conditions.items[i].type, &msgs);
    }
    pod_ips(pod, FIELD(at, "podIPs"), errs);
    for (size_t i = 0; i < pod->status.hostIPs.len; i++) ips(pod->status.hostIPs.items[i].ip, FIELD_INDEX(FIELD(at, "hostIPs"), i), errs);
    validate_immutable(str_eq(pod->status.qosClass, old->status.qosClass), go_quote(errs->arena, pod->status.qosClass), FIELD(at, "qosClass"), errs);
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
