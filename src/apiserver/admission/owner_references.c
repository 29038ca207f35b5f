/* OwnerReferencesPermissionEnforcement: who changes owners must be allowed to delete what they own, and who makes an owner wait for it to finalize the owner.
 * Upstream: plugin/pkg/admission/gc. */
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "apiserver/authorization.h"
#include "apiserver/custom_resources.h"
#include "base/str.h"

static bool may(struct admission_attributes *a, const struct authz_attributes *attrs, const char **ret_reason) {
    return authorizer_decide(apiserver_authorizer(a->r->server), a->r->arena, attrs, ret_reason) == AUTHZ_ALLOW;
}

static bool changes_owners(const struct metav1_OwnerReference_list *now, const struct metav1_OwnerReference_list *old) {
    if (now->len != old->len) return true;
    for (size_t i = 0; i < now->len; i++)
        if (!object_equal(&metav1_OwnerReference_desc, &now->items[i], &old->items[i])) return true;
    return false;
}

static bool blocks(const struct metav1_OwnerReference *ref) { return ref->blockOwnerDeletion.has && ref->blockOwnerDeletion.value; }

/* A reference that blocks its owner's deletion now and did not before. */
static bool is_newly_blocking(const struct metav1_OwnerReference *ref, const struct metav1_OwnerReference_list *old) {
    const struct metav1_OwnerReference *was = NULL;
    LIST_FOREACH(o, old)
        if (str_eq(o->uid, ref->uid)) was = o;
    return blocks(ref) && (!was || !blocks(was));
}

/* The resource of a kind: of those that are built in, or of a definition. False: there is none. */
static bool find_resource(struct admission_attributes *a, const struct metav1_OwnerReference *ref, struct authz_attributes *ret) {
    const char *slash = strchr(str_or(ref->apiVersion, ""), '/');
    const char *group = slash ? arena_strndup(a->r->arena, ref->apiVersion, (size_t)(slash - ref->apiVersion)) : "", *version = slash ? slash + 1 : str_or(ref->apiVersion, "");
    const struct resource_desc *found = NULL;
    for (size_t i = 0; i < api_resources_len && !found; i++) {
        const struct resource_desc *d = &api_resources[i];
        if (str_empty(d->subresource) && str_eq(d->group, group) && str_eq(d->version, version) && str_eq(d->kind, ref->kind)) found = d;
    }
    struct custom_resource_list all = found ? (struct custom_resource_list){0} : custom_resources_served(apiserver_custom_resources(a->r->server), a->r->arena);
    for (size_t i = 0; i < all.len && !found; i++)
        for (size_t k = 0; k < all.items[i]->versions.len && !found; k++) {
            const struct custom_version *v = &all.items[i]->versions.items[k];
            if (str_eq(v->resource.kind, ref->kind) && str_eq(v->type.api_version, ref->apiVersion)) found = &v->resource;
        }
    if (!found) return false;
    *ret = (struct authz_attributes){.user = &a->r->user, .resource_request = true, .verb = "update", .group = found->group, .version = found->version, .resource = found->resource, .subresource = "finalizers", .name = ref->name,
        .namespace = found->namespaced ? a->namespace : NULL};
    return true;
}

int owner_references_validate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    static const struct metav1_OwnerReference_list none;
    const struct object *obj = a->obj, *old = a->old;
    const struct metav1_OwnerReference_list *now = &obj->metadata.ownerReferences, *before = old ? &old->metadata.ownerReferences : &none;
    const char *why = "";
    if (!changes_owners(now, before) || (a->st->type == &corev1_Pod_desc && str_eq(a->o->subresource, "status"))) return 0;
    struct authz_attributes delete = {.user = &a->r->user, .resource_request = true, .verb = "delete", .namespace = a->namespace, .group = a->st->group, .version = a->st->version, .resource = a->st->resource,
        .subresource = a->o->subresource, .name = a->name};
    if (a->op != ADMIT_CREATE && !may(a, &delete, &why)) return ADMISSION_FORBID(a, reterr, "cannot set an ownerRef on a resource you can't delete: %s, <nil>", str_or(why, ""));
    const struct authz_attributes anything = {.user = &a->r->user, .resource_request = true, .verb = "update", .group = "*", .version = "*", .resource = "*", .subresource = "finalizers", .name = "*"};
    bool asked = false;
    LIST_FOREACH(ref, now) {
        struct authz_attributes finalize;
        if (!is_newly_blocking(ref, before)) continue;
        if (!asked && may(a, &anything, &why)) return 0;
        asked = true;
        if (!find_resource(a, ref, &finalize))
            return ADMISSION_FORBID(a, reterr, "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %s Kind %s: no matches for kind \"%s\" in version \"%s\"", str_or(ref->apiVersion, ""),
                                    str_or(ref->kind, ""), str_or(ref->kind, ""), str_or(ref->apiVersion, ""));
        if (!may(a, &finalize, &why)) return ADMISSION_FORBID(a, reterr, "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: %s, <nil>", str_or(why, ""));
    }
    return 0;
}
