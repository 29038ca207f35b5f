#include "apiserver/versions.h"
#include <stdio.h>
#include <string.h>
#include "api/convert.h"
#include "base/str.h"

const struct type_desc *request_type(const struct api_request *r) {
    const struct type_desc *stored = r->strategy->type;
    return r->rd && r->rd->type && r->rd->type->kind && str_eq(r->rd->type->kind, stored->kind) ? r->rd->type : stored;
}

void *request_version(const struct api_request *r, void *stored) {
    return stored ? object_convert(r->arena, r->strategy->type, stored, request_type(r)) : NULL;
}

void *storage_version(const struct api_request *r, void *obj) {
    return obj ? object_convert(r->arena, request_type(r), obj, r->strategy->type) : NULL;
}

const struct type_desc *stored_list_type(const struct api_request *r) {
    if (request_type(r) == r->strategy->type) return r->rd->list_type;
    for (size_t i = 0; i < api_kinds_len; i++)
        if (api_kinds[i]->item_type == r->strategy->type) return api_kinds[i];
    return r->rd->list_type;
}

const struct type_desc *response_type(const struct api_request *r, const struct type_desc *type) {
    if (!r->strategy || !r->rd) return type;
    if (type == r->strategy->type) return request_type(r);
    if (type->item_type == r->strategy->type && type->item_type != request_type(r) && r->rd->list_type) return r->rd->list_type;
    return type;
}

void *response_object(const struct api_request *r, const struct type_desc *type, void *obj) {
    const struct type_desc *to = response_type(r, type);
    return type->item_type ? object_list_convert(r->arena, type, obj, to) : object_convert(r->arena, type, obj, to);
}

/* v2 before v1 before betas before alphas, the later of two alike first. */
int version_rank(const char *version) {
    int major = 0, minor = 0, n = 0;
    if (sscanf(version, "v%d%n", &major, &n) != 1) return 0;
    if (!version[n]) return 2000000 + major;
    if (sscanf(version + n, "beta%d", &minor) == 1) return 1000000 + major * 1000 + minor;
    if (sscanf(version + n, "alpha%d", &minor) == 1) return major * 1000 + minor;
    return 0;
}

const char *storage_version_of(const struct resource_desc *d) {
    static const struct { const char *group, *resource, *version; } overrides[] = {
        {"admissionregistration.k8s.io", "mutatingadmissionpolicies", "v1beta1"}, {"admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "v1beta1"},
        {"coordination.k8s.io", "leasecandidates", "v1beta1"}, {"resource.k8s.io", "devicetaintrules", "v1alpha3"}};
    const char *best = d->version;
    for (size_t i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++)
        if (str_eq(overrides[i].group, d->group) && str_eq(overrides[i].resource, d->resource)) return overrides[i].version;
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *o = &api_resources[i];
        if (!o->subresource && str_eq(o->group, d->group) && str_eq(o->resource, d->resource) && version_rank(o->version) > version_rank(best)) best = o->version;
    }
    return best;
}
