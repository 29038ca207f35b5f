/* Lookups over the descriptors that tools/schemac made: upstream's runtime.Scheme and REST mapping. */
#include <stdlib.h>
#include <string.h>
#include "api/schema.h"
#include "base/str.h"

const struct field_desc *type_field(const struct type_desc *type, const char *name, size_t name_len) {
    size_t lo = 0, hi = type->fields_len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct field_desc *f = &type->fields[type->by_name[mid]];
        size_t n = f->name_len < name_len ? f->name_len : name_len;
        int c = memcmp(f->name, name, n);
        if (c == 0) c = (f->name_len > name_len) - (f->name_len < name_len);
        if (c == 0) return f;
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

const struct type_desc *api_kind_find(const char *group, const char *version, const char *kind) {
    for (size_t i = 0; i < api_kinds_len; i++) {
        const struct type_desc *t = api_kinds[i];
        if (strcmp(t->kind, kind) == 0 && str_eq(t->version, version) && str_eq(t->group, group)) return t;
    }
    return NULL;
}

const struct resource_desc *api_resource_find(const char *group, const char *version, const char *resource, const char *subresource) {
    size_t lo = 0, hi = api_resources_len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct resource_desc *r = &api_resources[api_resources_by_name[mid]];
        int c = strcmp(r->resource, str_or(resource, ""));
        if (c == 0) c = strcmp(str_or(r->subresource, ""), str_or(subresource, ""));
        if (c == 0) c = strcmp(r->version, str_or(version, ""));
        if (c == 0) c = strcmp(r->group, str_or(group, ""));
        if (c == 0) return r;
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

const struct resource_desc *api_resource_of_type(const struct type_desc *type) {
    for (size_t i = 0; i < api_resources_len; i++)
        if (!api_resources[i].subresource && api_resources[i].type == type) return &api_resources[i];
    return NULL;
}
