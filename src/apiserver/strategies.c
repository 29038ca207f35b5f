/* The list of strategies: those with rules of their own from registry/, and plain ones for every other resource that is stored. */
#include <pthread.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "apiserver/registry.h"
#include "apiserver/registry/strategies.h"
#include "apiserver/versions.h"
#include "base/str.h"

enum { STRATEGIES_MAX = 128 };
static struct strategy all[STRATEGIES_MAX];
static size_t all_len;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct strategy *special(const struct resource_desc *d) {
    for (size_t i = 0; i < special_strategies_len; i++)
        if (strcmp(special_strategies[i]->resource, d->resource) == 0 && strcmp(special_strategies[i]->group, d->group) == 0) return special_strategies[i];
    for (size_t i = 0; i < group_strategies_len; i++)
        if (strcmp(group_strategies[i]->resource, d->resource) == 0 && strcmp(group_strategies[i]->group, d->group) == 0) return group_strategies[i];
    return NULL;
}

static bool has_field(const struct type_desc *type, const char *name) { return type_field(type, name, strlen(name)) != NULL; }

/* What a stored resource without rules of its own gets: names are DNS subdomains, a spec makes a generation. */
static struct strategy plain(const struct resource_desc *d) {
    struct strategy s = {.group = d->group, .version = d->version, .resource = d->resource, .type = d->type};
    if (has_field(d->type, "spec") && has_field(d->type, "status")) s.flags |= HAS_GENERATION;
    return s;
}

static void collect(void) {
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *d = &api_resources[i];
        if (d->subresource || !(d->verbs & VERB_CREATE) || !(d->verbs & VERB_GET) || !(d->type->flags & TYPE_HAS_OBJECT_META)) continue;
        const struct strategy *s = special(d);
        if (strcmp(s ? s->version : storage_version_of(d), d->version) != 0) continue;
        CHECK(all_len < STRATEGIES_MAX);
        all[all_len++] = s ? *s : plain(d);
    }
}

const struct strategy *strategy_at(size_t i) {
    pthread_once(&once, collect);
    return i < all_len ? &all[i] : NULL;
}

const struct strategy *strategy_find(const char *group, const char *resource) {
    pthread_once(&once, collect);
    for (size_t i = 0; i < all_len; i++)
        if (strcmp(all[i].resource, resource) == 0 && strcmp(all[i].group, group) == 0) return &all[i];
    return NULL;
}

const struct strategy *strategy_of_subresource(const char *group, const char *resource, const char *subresource) {
    if (str_eq(subresource, "status")) return strategy_find(group, resource);
    if (str_eq(group, "certificates.k8s.io") && str_eq(resource, "certificatesigningrequests") && str_eq(subresource, "approval")) return &csr_approval_strategy;
    if (str_eq(group, "") && str_eq(resource, "pods") && str_eq(subresource, "ephemeralcontainers")) return &pod_ephemeral_strategy;
    if (str_eq(group, "") && str_eq(resource, "pods") && str_eq(subresource, "resize")) return &pod_resize_strategy;
    if (str_eq(group, "") && str_eq(resource, "namespaces") && str_eq(subresource, "finalize")) return &namespace_finalize_strategy;
    return NULL;
}
