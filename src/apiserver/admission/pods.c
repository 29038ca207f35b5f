/* Small plugins that look at Pods alone: DefaultTolerationSeconds, ExtendedResourceToleration, AlwaysPullImages, LimitPodHardAntiAffinityTopology, PodTopologyLabels.
 * Upstream: plugin/pkg/admission/{defaulttolerationseconds,extendedresourcetoleration,alwayspullimages,antiaffinity,podtopologylabels}. */
#include <stdlib.h>
#include <string.h>
#include "api/validation/pod_parts.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/tolerations.h"
#include "base/str.h"

/* ---- DefaultTolerationSeconds ---- */

struct default_seconds { int not_ready, unreachable; };

int default_tolerations_setup(const struct admission_setup *s, const char *text UNUSED, size_t len UNUSED, void **ret_state, struct status *reterr UNUSED) {
    struct default_seconds *d = *ret_state = ARENA_NEW(s->arena, struct default_seconds);
    *d = (struct default_seconds){s->options->not_ready_toleration_s, s->options->unreachable_toleration_s};
    return 0;
}

static bool tolerates(const struct corev1_Pod *pod, const char *key) {
    LIST_FOREACH(t, &pod->spec.tolerations)
        if ((str_eq(t->key, key) || str_empty(t->key)) && (str_eq(t->effect, "NoExecute") || str_empty(t->effect))) return true;
    return false;
}

int default_tolerations(struct admission_attributes *a, void *state, struct status *reterr UNUSED) {
    const struct default_seconds *d = state;
    const struct { const char *key; int seconds; } wanted[] = {{"node.kubernetes.io/not-ready", d->not_ready}, {"node.kubernetes.io/unreachable", d->unreachable}};
    struct corev1_Pod *pod = a->obj;
    bool need[2];
    if (a->o->subresource) return 0;
    for (size_t i = 0; i < 2; i++) need[i] = !tolerates(pod, wanted[i].key);
    for (size_t i = 0; i < 2; i++)
        if (need[i]) *LIST_PUSH(a->r->arena, &pod->spec.tolerations) = (struct corev1_Toleration){.key = wanted[i].key, .operator = "Exists", .effect = "NoExecute", .tolerationSeconds = OPT(wanted[i].seconds)};
    return 0;
}

/* ---- ExtendedResourceToleration ---- */

static void add_extended(struct arena *a, struct string_map *set, const struct corev1_Container_list *containers) {
    LIST_FOREACH(c, containers)
        LIST_FOREACH(e, &c->resources.requests)
            if (resource_is_extended(e->key)) string_map_set(a, set, e->key, "");
}

int extended_resource_toleration(struct admission_attributes *a, void *state UNUSED, struct status *reterr UNUSED) {
    struct corev1_Pod *pod = a->obj;
    struct string_map resources = {0}; /* sorted, as tolerations are added */
    if (a->o->subresource) return 0;
    add_extended(a->r->arena, &resources, &pod->spec.containers);
    add_extended(a->r->arena, &resources, &pod->spec.initContainers);
    LIST_FOREACH(e, &resources) tolerations_add_or_update(a->r->arena, &pod->spec.tolerations, &(struct corev1_Toleration){.key = e->key, .operator = "Exists", .effect = "NoSchedule"});
    return 0;
}

/* ---- AlwaysPullImages ---- */

static bool has_image(const struct corev1_PodSpec *s, const char *image) {
    LIST_FOREACH(c, &s->initContainers)
        if (str_eq(c->image, image)) return true;
    LIST_FOREACH(c, &s->containers)
        if (str_eq(c->image, image)) return true;
    LIST_FOREACH(c, &s->ephemeralContainers)
        if (str_eq(c->image, image)) return true;
    return false;
}

/* An update that brings no image leaves the Pods as they are that were there before the plugin was. */
static bool brings_no_image(const struct admission_attributes *a) {
    if (a->op != ADMIT_UPDATE) return false;
    const struct corev1_PodSpec *now = &((const struct corev1_Pod *)a->obj)->spec, *old = &((const struct corev1_Pod *)a->old)->spec;
    LIST_FOREACH(c, &now->initContainers)
        if (!has_image(old, c->image)) return false;
    LIST_FOREACH(c, &now->containers)
        if (!has_image(old, c->image)) return false;
    LIST_FOREACH(c, &now->ephemeralContainers)
        if (!has_image(old, c->image)) return false;
    return true;
}

int always_pull_images_mutate(struct admission_attributes *a, void *state UNUSED, struct status *reterr UNUSED) {
    struct corev1_PodSpec *s = &((struct corev1_Pod *)a->obj)->spec;
    if (a->o->subresource || brings_no_image(a)) return 0;
    LIST_FOREACH(c, &s->initContainers) c->imagePullPolicy = "Always";
    LIST_FOREACH(c, &s->containers) c->imagePullPolicy = "Always";
    LIST_FOREACH(c, &s->ephemeralContainers) c->imagePullPolicy = "Always";
    LIST_FOREACH(v, &s->volumes)
        if (v->image) v->image->pullPolicy = "Always";
    return 0;
}

static void check_policy(struct field_errors *errs, const char *list, size_t i, const char *policy) {
    if (!str_eq(policy, "Always")) field_not_supported(errs, FIELD(FIELD_INDEX(FIELD(FIELD(NULL, "spec"), list), i), "imagePullPolicy"), str_or(policy, ""), (const char *const[]){"Always", NULL});
}

/* Each error is a 403 of its own upstream, but an aggregate of them is no Status: 500 with all texts. */
int always_pull_images_validate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct corev1_PodSpec *s = &((const struct corev1_Pod *)a->obj)->spec;
    struct field_errors errs = field_errors_in(a->r->arena);
    if (a->o->subresource || brings_no_image(a)) return 0;
    for (size_t i = 0; i < s->initContainers.len; i++) check_policy(&errs, "initContainers", i, s->initContainers.items[i].imagePullPolicy);
    for (size_t i = 0; i < s->containers.len; i++) check_policy(&errs, "containers", i, s->containers.items[i].imagePullPolicy);
    for (size_t i = 0; i < s->ephemeralContainers.len; i++) check_policy(&errs, "ephemeralContainers", i, s->ephemeralContainers.items[i].imagePullPolicy);
    for (size_t i = 0; i < s->volumes.len; i++)
        if (s->volumes.items[i].image && !str_eq(s->volumes.items[i].image->pullPolicy, "Always"))
            field_not_supported(&errs, FIELD(FIELD(FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "volumes"), i), "image"), "pullPolicy"), str_or(s->volumes.items[i].image->pullPolicy, ""), (const char *const[]){"Always", NULL});
    if (!errs.len) return 0;
    const char *all = "";
    for (size_t i = 0; i < errs.len; i++)
        all = arena_printf(a->r->arena, "%s%spods \"%s\" is forbidden: %s: %s", all, i ? ", " : "", str_or(a->name, ""), errs.items[i].field, errs.items[i].detail);
    return status_set(reterr, 500, NULL, errs.len > 1 ? "[%s]" : "%s", all);
}

/* ---- LimitPodHardAntiAffinityTopology ---- */

int limit_hard_anti_affinity(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct corev1_Pod *pod = a->obj;
    if (a->o->subresource || !pod->spec.affinity || !pod->spec.affinity->podAntiAffinity) return 0;
    LIST_FOREACH(t, &pod->spec.affinity->podAntiAffinity->requiredDuringSchedulingIgnoredDuringExecution)
        if (!str_eq(t->topologyKey, "kubernetes.io/hostname"))
            return ADMISSION_FORBID(a, reterr, "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey %s but only key kubernetes.io/hostname is allowed", str_or(t->topologyKey, ""));
    return 0;
}

/* ---- PodTopologyLabels ---- */

/* A Pod that gets its node also gets the node's zone and region, for its containers to read: through the Binding, or at once when it is made on a node. */
int pod_topology_labels(struct admission_attributes *a, void *state UNUSED, struct status *reterr UNUSED) {
    static const char *const keys[] = {"topology.kubernetes.io/region", "topology.kubernetes.io/zone"};
    const char *node_name;
    void *node;
    if (a->st->type == &corev1_Binding_desc) {
        const struct corev1_Binding *b = a->obj;
        node_name = str_eq(b->target.kind, "Node") ? b->target.name : NULL;
    } else node_name = a->o->subresource ? NULL : ((const struct corev1_Pod *)a->obj)->spec.nodeName;
    if (str_empty(node_name) || registry_get(a->r, strategy_find("", "nodes"), NULL, node_name, &node, NULL, NULL) != 0) return 0;
    struct object *obj = a->obj;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *value = string_map_get(&((const struct object *)node)->metadata.labels, keys[i]);
        if (string_map_has(&((const struct object *)node)->metadata.labels, keys[i])) string_map_set(a->r->arena, &obj->metadata.labels, keys[i], str_or(value, ""));
    }
    return 0;
}
