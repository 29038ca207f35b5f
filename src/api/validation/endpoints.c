/* Endpoints. Upstream: ValidateEndpoints in pkg/apis/core/validation. What was wrong before an update and stays as it is, is let be.
 * Tests: tests/unit/test_validation_core.c. */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"

static void label(const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_dns1123_label(errs->arena, name, &msgs);
    field_invalid_each(errs, at, name, &msgs);
}

static void address(const struct corev1_EndpointAddress *a, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    validate_ip(a->ip, FIELD(at, "ip"), errs);
    if (!str_empty(a->hostname)) label(a->hostname, FIELD(at, "hostname"), errs);
    if (a->nodeName) object_name_dns_subdomain(errs->arena, a->nodeName, false, &msgs);
    field_invalid_each(errs, FIELD(at, "nodeName"), a->nodeName, &msgs);
    validate_endpoint_ip(a->ip, FIELD(at, "ip"), errs);
}

static void port(const struct corev1_EndpointPort *p, bool named, const struct field_path *at, struct field_errors *errs) {
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    struct string_list msgs = {0};
    if (!str_empty(p->name)) label(p->name, FIELD(at, "name"), errs);
    else if (named) field_required(errs, FIELD(at, "name"), "%s", "");
    if (p->port < 1 || p->port > 65535) field_invalid_int(errs, FIELD(at, "port"), p->port, "must be between 1 and 65535, inclusive");
    if (str_empty(p->protocol)) field_required(errs, FIELD(at, "protocol"), "%s", "");
    else if (!str_in(p->protocol, protocols)) field_not_supported(errs, FIELD(at, "protocol"), p->protocol, protocols);
    if (!p->appProtocol) return;
    name_qualified(errs->arena, p->appProtocol, &msgs);
    field_invalid_each(errs, FIELD(at, "appProtocol"), p->appProtocol, &msgs);
}

static void addresses(const struct corev1_EndpointAddress_list *list, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) address(&list->items[i], FIELD_INDEX(at, i), errs);
}

void validate_endpoints(const void *obj, struct field_errors *errs) {
    const struct corev1_Endpoints *e = obj;
    for (size_t i = 0; i < e->subsets.len; i++) {
        const struct corev1_EndpointSubset *s = &e->subsets.items[i];
        const struct field_path *at = FIELD_INDEX(FIELD(NULL, "subsets"), i);
        if (!s->addresses.len && !s->notReadyAddresses.len) field_required(errs, at, "must specify `addresses` or `notReadyAddresses`");
        addresses(&s->addresses, FIELD(at, "addresses"), errs);
        addresses(&s->notReadyAddresses, FIELD(at, "notReadyAddresses"), errs);
        for (size_t j = 0; j < s->ports.len; j++) port(&s->ports.items[j], s->ports.len > 1, FIELD_INDEX(FIELD(at, "ports"), j), errs);
    }
}

void validate_endpoints_update(const void *obj, const void *old, struct field_errors *errs) {
    struct corev1_Endpoints a = {.subsets = ((const struct corev1_Endpoints *)obj)->subsets}, b = {.subsets = ((const struct corev1_Endpoints *)old)->subsets};
    if (!object_equal(&corev1_Endpoints_desc, &a, &b)) validate_endpoints(obj, errs);
}
