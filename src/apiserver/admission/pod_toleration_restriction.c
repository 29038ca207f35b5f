/* PodTolerationRestriction: default tolerations of a namespace's Pods, and which ones they may have; by annotations of the namespace, otherwise by the configuration.
 * Upstream: plugin/pkg/admission/podtolerationrestriction. */
#include <string.h>
#include "api/validation/groups.h"
#include "apiserver/admission/config.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/tolerations.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"
#include "wire/json.h"

#define DEFAULTS_ANNOTATION "scheduler.alpha.kubernetes.io/defaultTolerations"
#define WHITELIST_ANNOTATION "scheduler.alpha.kubernetes.io/tolerationsWhitelist"

struct restriction { struct corev1_Toleration_list defaults, whitelist; };

static int read_list(struct arena *a, yyjson_val *list, struct corev1_Toleration_list *ret, struct status *reterr) {
    yyjson_val *item;
    size_t i, max;
    if (list && !yyjson_is_null(list) && !yyjson_is_arr(list)) return status_set(reterr, 500, NULL, "json: cannot unmarshal into Go value of type []v1.Toleration");
    yyjson_arr_foreach(list, i, max, item) if (object_decode_value(a, &corev1_Toleration_desc, LIST_PUSH(a, ret), item, NULL, reterr) != 0) return -1;
    return 0;
}

int pod_toleration_restriction_setup(const struct admission_setup *s, const char *text, size_t len, void **ret_state, struct status *reterr) {
    static const char *const versions[] = {"podtolerationrestriction.admission.k8s.io/v1alpha1", NULL}, *const members[] = {"apiVersion", "kind", "default", "whitelist", NULL};
    struct restriction *p = *ret_state = ARENA_NEW(s->arena, struct restriction);
    struct field_errors errs = field_errors_in(s->arena);
    if (!text) return 0;
    yyjson_val *root = admission_config_parse(s->arena, text, len, versions, "Configuration", reterr);
    if (!root || admission_config_members(s->arena, root, "", members, reterr) != 0 || read_list(s->arena, yyjson_obj_get(root, "default"), &p->defaults, reterr) != 0 ||
        read_list(s->arena, yyjson_obj_get(root, "whitelist"), &p->whitelist, reterr) != 0) return -1;
    const struct field_path *at = FIELD(NULL, "podtolerationrestriction");
    check_tolerations(&errs, FIELD(at, "default"), &p->defaults);
    check_tolerations(&errs, FIELD(at, "whitelist"), &p->whitelist);
    return errs.len ? admission_config_refuse(&errs, "invalid config: ", reterr) : 0;
}

/* The list of an annotation; *ret_has: there is one, though it may be empty. */
static int of_namespace(struct admission_attributes *a, const char *key, bool *ret_has, struct corev1_Toleration_list *ret, struct status *reterr) {
    const struct corev1_Namespace *ns = admission_namespace(a);
    *ret_has = false;
    if (!ns) return status_not_found(reterr, "", "namespaces", str_or(a->namespace, ""));
    const char *text = string_map_get(&ns->metadata.annotations, key);
    *ret_has = string_map_has(&ns->metadata.annotations, key);
    if (str_empty(text)) return 0;
    yyjson_doc *doc = json_parse_in(a->r->arena, text, strlen(text), 0, reterr);
    if (doc && read_list(a->r->arena, yyjson_doc_get_root(doc), ret, reterr) == 0) return 0;
    reterr->code = 500; /* the namespace is at fault, not the request */
    reterr->reason = NULL;
    return -1;
}

int pod_toleration_restriction_validate(struct admission_attributes *a, void *state, struct status *reterr) {
    const struct restriction *p = state;
    const struct corev1_Pod *pod = a->obj;
    struct corev1_Toleration_list whitelist = {0};
    bool own;
    if (a->o->subresource || !pod->spec.tolerations.len) return 0;
    if (of_namespace(a, WHITELIST_ANNOTATION, &own, &whitelist, reterr) != 0) return -1;
    if (tolerations_allowed(&pod->spec.tolerations, own ? &whitelist : &p->whitelist)) return 0;
    return status_set(reterr, 500, NULL, "pod tolerations (possibly merged with namespace default tolerations) conflict with its %s whitelist", own ? "namespace" : "cluster");
}

int pod_toleration_restriction_mutate(struct admission_attributes *a, void *state, struct status *reterr) {
    const struct restriction *p = state;
    struct corev1_Pod *pod = a->obj;
    struct corev1_Toleration_list more = {0};
    bool own;
    if (a->o->subresource) return 0;
    if (a->op == ADMIT_CREATE) {
        if (of_namespace(a, DEFAULTS_ANNOTATION, &own, &more, reterr) != 0) return -1;
        if (!own)
            LIST_FOREACH(t, &p->defaults) *LIST_PUSH(a->r->arena, &more) = *t;
    }
    if (!str_eq(compute_pod_qos(&pod->spec), "BestEffort"))
        *LIST_PUSH(a->r->arena, &more) = (struct corev1_Toleration){.key = "node.kubernetes.io/memory-pressure", .operator = "Exists", .effect = "NoSchedule"};
    if (more.len) pod->spec.tolerations = tolerations_merge(a->r->arena, &pod->spec.tolerations, &more);
    return pod_toleration_restriction_validate(a, state, reterr);
}
