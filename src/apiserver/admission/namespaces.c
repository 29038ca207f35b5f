/* NamespaceLifecycle, NamespaceExists, NamespaceAutoProvision. Upstream: apiserver/pkg/admission/plugin/namespace/lifecycle, plugin/pkg/admission/namespace. */
#include "api/defaults.h"
#include "apiserver/admission/plugins.h"
#include "base/str.h"

/* Whether the write is of something in a namespace, which must then be there. */
static bool is_in_namespace(const struct admission_attributes *a) { return !str_empty(a->namespace) && a->st->type != &corev1_Namespace_desc; }

/* NULL with why: it is not there, or nobody can tell now. */
static const struct corev1_Namespace *needed_namespace(struct admission_attributes *a, struct status *reterr) {
    const struct corev1_Namespace *ns = admission_namespace(a);
    void *found;
    if (ns) return ns;
    int there = registry_find(a->r, strategy_find("", "namespaces"), NULL, a->namespace, &found, reterr);
    if (there == 0) status_not_found(reterr, "", "namespaces", a->namespace);
    return there == 1 ? a->ns = found : NULL;
}

/* An update needs no look: its object is there, so its namespace is. */
int namespace_lifecycle(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    static const char *const immortal[] = {"default", "kube-system", "kube-public", NULL};
    if (a->st->type == &corev1_Namespace_desc) return a->op == ADMIT_DELETE && str_in(a->name, immortal) ? admission_forbid(a, "this namespace may not be deleted", reterr) : 0;
    if (a->op != ADMIT_CREATE || !is_in_namespace(a) || a->st->type == &authorizationv1_LocalSubjectAccessReview_desc) return 0; /* the answer to a review must not tell of namespaces */
    const struct corev1_Namespace *ns = needed_namespace(a, reterr);
    if (!ns) return -1;
    if (!str_eq(ns->status.phase, "Terminating")) return 0;
    ADMISSION_FORBID(a, reterr, "unable to create new content in namespace %s because it is being terminated", a->namespace);
    status_add_cause(reterr, "NamespaceTerminating", "metadata.namespace", "namespace %s is being terminated", a->namespace);
    return -1;
}

int namespace_exists(struct admission_attributes *a, void *state UNUSED, struct status *reterr) { return is_in_namespace(a) && !needed_namespace(a, reterr) ? -1 : 0; }

/* The server itself makes it, whoever asks; two who ask at once are both served. */
int namespace_auto_provision(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct strategy *namespaces = strategy_find("", "namespaces");
    _cleanup_status_ struct status err = STATUS_INIT;
    if (a->o->dry_run || !is_in_namespace(a) || admission_namespace(a)) return 0;
    struct corev1_Namespace *ns = object_new(a->r->arena, &corev1_Namespace_desc);
    const struct resource_desc *rd = a->r->rd;
    const char *namespace = a->r->namespace;
    ns->metadata.name = a->namespace;
    object_set_defaults(a->r->arena, &corev1_Namespace_desc, ns);
    a->r->rd = api_resource_find("", "v1", "namespaces", NULL); /* for this one write the request is one for a namespace */
    a->r->namespace = NULL;
    int failed = registry_create(a->r, namespaces, ns, &(struct write_options){.field_manager = a->o->field_manager}, &err);
    a->r->rd = rd;
    a->r->namespace = namespace;
    a->ns_known = false;
    return failed && err.code != 409 ? admission_forbid(a, status_message(&err), reterr) : 0;
}
