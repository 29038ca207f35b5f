/* Which fields a write through a resource or subresource does not touch, so that nobody owns them through it. Upstream: each strategy's GetResetFields.
 *
 * The rule is: the object's own path leaves status alone, the status path leaves spec alone, other subresources leave nothing alone (upstream's strategies of
 * pods/resize and pods/ephemeralcontainers have filters, which nobody asks for). The table has what differs.
 * Tests: tests/integration/test_apply.py and the recorded conversations. */
#include "apiserver/managers.h"
#include "base/str.h"

static const char *const status_only[] = {"status", NULL}, *const spec_only[] = {"spec", NULL}, *const spec_and_status[] = {"spec", "status", NULL};
static const char *const spec_and_metadata[] = {"spec", "metadata", NULL}, *const spec_and_labels[] = {"spec", "metadata.labels", NULL};
static const char *const spec_and_conditions[] = {"spec", "status.conditions", NULL}, *const spec_and_certificate[] = {"spec", "status.certificate", NULL};
static const char *const pod_status[] = {"spec", "metadata.deletionTimestamp", "metadata.ownerReferences", NULL};

static const struct { const char *group, *resource, *subresource; struct reset_fields fields; } table[] = {
    {"", "pods", "status", {pod_status}},
    {"", "namespaces", "finalize", {status_only}},
    {"apps", "deployments", "status", {spec_and_labels}},
    {"certificates.k8s.io", "certificatesigningrequests", NULL, {spec_and_status}},
    {"certificates.k8s.io", "certificatesigningrequests", "status", {spec_and_conditions}},
    {"certificates.k8s.io", "certificatesigningrequests", "approval", {spec_and_certificate}},
    {"storage.k8s.io", "volumeattachments", "status", {spec_and_metadata}},
    {"networking.k8s.io", "servicecidrs", "status", {spec_and_metadata}},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", "status", {spec_and_metadata}},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "status", {spec_and_metadata}},
    {"apiregistration.k8s.io", "apiservices", "status", {spec_and_metadata}},
    {"resource.k8s.io", "resourceclaims", "status", {spec_and_metadata}},
};

const struct reset_fields *reset_fields_of(const char *group, const char *version, const char *resource, const char *subresource) {
    static const struct reset_fields main_path = {status_only}, status_path = {spec_only};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (str_eq(table[i].resource, resource) && str_eq(table[i].group, group) && str_eq(table[i].subresource, subresource)) return &table[i].fields;
    if (str_eq(subresource, "status")) return &status_path;
    if (!str_empty(subresource)) return NULL;
    return api_resource_find(group, version, resource, "status") ? &main_path : NULL;
}

const struct reset_fields *reset_fields_of_custom(bool has_status, const char *subresource) {
    static const struct reset_fields main_path = {status_only}, status_path = {spec_and_metadata};
    if (str_eq(subresource, "status")) return &status_path;
    return str_empty(subresource) && has_status ? &main_path : NULL;
}
