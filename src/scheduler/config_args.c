/* The plugins' arguments in the configuration: decoded, defaulted, validated. Upstream: apis/config/types_pluginargs.go, v1/defaults.go,
 * validation/validation_pluginargs.go. */
#include <stdio.h>
#include "api/names.h"
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/config_internal.h"

#define SCORE_MAX 10 /* upstream: MaxCustomPriorityScore */

struct place { struct reader *r; yyjson_val *obj; const char *where; const struct field_path *at; struct field_errors *valid, *init; };

static const char *sub(const struct place *p, const char *name) { return arena_printf(p->r->arena, "%s.%s", p->where, name); }

static void fields(const struct place *p, const char *type, const struct config_field *list) { config_read(p->r, p->obj, type, p->where, list); }

static void out_of_range(struct field_errors *errs, const struct field_path *at, int64_t v, int64_t min, int64_t max) {
    if (v < min || v > max) field_invalid_int(errs, at, v, "not in valid range [%lld, %lld]", (long long)min, (long long)max);
}

/* ---- shared parts ---- */

static void resources_read(const struct place *p, yyjson_val *list, const char *where, struct resource_weight_list *ret) {
    size_t i, n;
    yyjson_val *item;
    if (!list) return;
    ret->len = 0;
    ret->items = NULL;
    yyjson_arr_foreach(list, i, n, item) {
        struct resource_weight w = {.name = ""};
        const struct config_field list_fields[] = {{"name", CONFIG_STRING, &w.name}, {"weight", CONFIG_INT64, &w.weight}, {0}};
        config_read(p->r, item, "ResourceSpec", arena_printf(p->r->arena, "%s[%zu]", where, i), list_fields);
        if (!w.weight) w.weight = 1;
        w.index = resource_index(w.name);
        *LIST_PUSH(p->r->arena, ret) = w;
    }
}

static void shape_read(const struct place *p, yyjson_val *list, const char *where, struct shape *ret) {
    size_t i, n;
    yyjson_val *item;
    if (!list) return;
    yyjson_arr_foreach(list, i, n, item) {
        struct shape_point point = {0};
        const struct config_field list_fields[] = {{"utilization", CONFIG_INT32, &point.utilization}, {"score", CONFIG_INT32, &point.score}, {0}};
        config_read(p->r, item, "UtilizationShapePoint", arena_printf(p->r->arena, "%s[%zu]", where, i), list_fields);
        *LIST_PUSH(p->r->arena, ret) = point;
    }
}

static void shape_validate(const struct shape *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->len) {
        field_required(errs, at, "%s", "at least one point must be specified");
        return;
    }
    for (size_t i = 1; i < s->len; i++) {
        if (s->items[i - 1].utilization < s->items[i].utilization) continue;
        field_invalid_int(errs, FIELD(FIELD_INDEX(at, i), "utilization"), s->items[i].utilization, "%s", "values must be sorted in increasing order");
        break;
    }
    for (size_t i = 0; i < s->len; i++) {
        out_of_range(errs, FIELD(FIELD_INDEX(at, i), "utilization"), s->items[i].utilization, 0, 100);
        out_of_range(errs, FIELD(FIELD_INDEX(at, i), "score"), s->items[i].score, 0, SCORE_MAX);
    }
}

static void label_name_validate(struct arena *a, const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_qualified(a, str_or(name, ""), &msgs);
    LIST_FOREACH(m, &msgs) field_invalid(errs, at, str_or(name, ""), "%s", *m);
}

/* ---- a function for each plugin ---- */

static const void *preemption_args(const struct place *p) {
    struct default_preemption_args *x = ARENA_NEW(p->r->arena, struct default_preemption_args);
    *x = (struct default_preemption_args){10, 100};
    fields(p, "DefaultPreemptionArgs", (const struct config_field[]){{"minCandidateNodesPercentage", CONFIG_INT32, &x->min_candidate_nodes_percentage},
        {"minCandidateNodesAbsolute", CONFIG_INT32, &x->min_candidate_nodes_absolute}, {0}});
    const struct field_path *percentage = FIELD(p->at, "minCandidateNodesPercentage"), *absolute = FIELD(p->at, "minCandidateNodesAbsolute");
    out_of_range(p->valid, percentage, x->min_candidate_nodes_percentage, 0, 100);
    if (x->min_candidate_nodes_absolute < 0) field_invalid_int(p->valid, absolute, x->min_candidate_nodes_absolute, "%s", "not in valid range [0, inf)");
    if (!x->min_candidate_nodes_percentage && !x->min_candidate_nodes_absolute) {
        field_invalid_int(p->valid, percentage, 0, "%s", "cannot be zero at the same time as minCandidateNodesAbsolute");
        field_invalid_int(p->valid, absolute, 0, "%s", "cannot be zero at the same time as minCandidateNodesPercentage");
    }
    return x;
}

static const void *inter_pod_affinity_args(const struct place *p) {
    struct inter_pod_affinity_args *x = ARENA_NEW(p->r->arena, struct inter_pod_affinity_args);
    x->hard_pod_affinity_weight = 1;
    fields(p, "InterPodAffinityArgs", (const struct config_field[]){{"hardPodAffinityWeight", CONFIG_INT32, &x->hard_pod_affinity_weight},
        {"ignorePreferredTermsOfExistingPods", CONFIG_BOOL, &x->ignore_preferred_terms_of_existing_pods}, {0}});
    out_of_range(p->valid, FIELD(p->at, "hardPodAffinityWeight"), x->hard_pod_affinity_weight, 0, 100);
    return x;
}

static void decoded(const struct place *p, const struct type_desc *type, void *obj, yyjson_val *value, const char *where) {
    _cleanup_status_ struct status st = STATUS_INIT;
    struct string_list strict = {0};
    if (object_decode_value(p->r->arena, type, obj, value, &strict, &st) && !p->r->error) p->r->error = arena_printf(p->r->arena, "%s: %s", where, status_message(&st));
    LIST_FOREACH(s, &strict) string_list_push(p->r->arena, &p->r->strict, *s);
}

static bool node_operator_known(const char *op) {
    static const char *const known[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", NULL};
    return str_in(op, known);
}

static void term_validate(const struct corev1_NodeSelectorTerm *t, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < t->matchExpressions.len; i++)
        if (!node_operator_known(t->matchExpressions.items[i].operator))
            field_invalid(errs, FIELD(FIELD_INDEX(FIELD(at, "matchExpressions"), i), "operator"), str_or(t->matchExpressions.items[i].operator, ""), "%s", "not a valid selector operator");
    for (size_t i = 0; i < t->matchFields.len; i++) {
        const struct corev1_NodeSelectorRequirement *r = &t->matchFields.items[i];
        const struct field_path *here = FIELD_INDEX(FIELD(at, "matchFields"), i);
        if (!str_eq(r->operator, "In") && !str_eq(r->operator, "NotIn")) field_invalid(errs, FIELD(here, "operator"), str_or(r->operator, ""), "%s", "not a valid selector operator");
        if (r->values.len != 1) field_required(errs, FIELD(here, "values"), "%s", "must have one element");
    }
}

static const void *node_affinity_args(const struct place *p) {
    struct node_affinity_args *x = ARENA_NEW(p->r->arena, struct node_affinity_args);
    yyjson_val *added = NULL;
    fields(p, "NodeAffinityArgs", (const struct config_field[]){{"addedAffinity", CONFIG_VALUE, &added}, {0}});
    if (!added) return x;
    struct corev1_NodeAffinity *a = ARENA_NEW(p->r->arena, struct corev1_NodeAffinity);
    decoded(p, &corev1_NodeAffinity_desc, a, added, sub(p, "addedAffinity"));
    const struct field_path *at = FIELD(p->at, "addedAffinity");
    const struct field_path *required = FIELD(FIELD(at, "requiredDuringSchedulingIgnoredDuringExecution"), "nodeSelectorTerms");
    if (a->requiredDuringSchedulingIgnoredDuringExecution)
        for (size_t i = 0; i < a->requiredDuringSchedulingIgnoredDuringExecution->nodeSelectorTerms.len; i++)
            term_validate(&a->requiredDuringSchedulingIgnoredDuringExecution->nodeSelectorTerms.items[i], FIELD_INDEX(required, i), p->valid);
    for (size_t i = 0; i < a->preferredDuringSchedulingIgnoredDuringExecution.len; i++)
        term_validate(&a->preferredDuringSchedulingIgnoredDuringExecution.items[i].preference,
                      FIELD_INDEX(FIELD(at, "preferredDuringSchedulingIgnoredDuringExecution"), i), p->valid);
    x->added = a;
    return x;
}

static const void *balanced_args(const struct place *p) {
    struct node_resources_balanced_args *x = ARENA_NEW(p->r->arena, struct node_resources_balanced_args);
    yyjson_val *resources = NULL;
    fields(p, "NodeResourcesBalancedAllocationArgs", (const struct config_field[]){{"resources", CONFIG_LIST, &resources}, {0}});
    resources_read(p, resources, sub(p, "resources"), &x->resources);
    if (!x->resources.len) return plugin_default_args(PLUGIN_NODE_RESOURCES_BALANCED_ALLOCATION);
    for (size_t i = 0; i < x->resources.len; i++) {
        const struct field_path *at = FIELD_INDEX(FIELD(p->at, "resources"), i);
        for (size_t k = 0; k < i; k++)
            if (str_eq(x->resources.items[k].name, x->resources.items[i].name)) {
                field_duplicate(p->valid, FIELD(at, "name"), x->resources.items[i].name);
                break;
            }
        if (x->resources.items[i].weight != 1) field_invalid_int(p->valid, FIELD(at, "weight"), x->resources.items[i].weight, "%s", "must be 1");
    }
    return x;
}

static const char *const strategies[] = {"LeastAllocated", "MostAllocated", "RequestedToCapacityRatio", NULL};

static void strategy_read(const struct place *p, yyjson_val *strategy, struct node_resources_fit_args *x, const struct field_path *at) {
    const char *type = "", *where = sub(p, "scoringStrategy");
    yyjson_val *resources = NULL, *ratio = NULL, *shape = NULL;
    config_read(p->r, strategy, "ScoringStrategy", where, (const struct config_field[]){{"type", CONFIG_STRING, &type}, {"resources", CONFIG_LIST, &resources},
        {"requestedToCapacityRatio", CONFIG_VALUE, &ratio}, {0}});
    resources_read(p, resources, arena_printf(p->r->arena, "%s.resources", where), &x->resources);
    if (!x->resources.len) x->resources = ((const struct node_resources_fit_args *)plugin_default_args(PLUGIN_NODE_RESOURCES_FIT))->resources;
    if (!str_in(type, strategies)) field_not_supported(p->init, FIELD(at, "type"), type, strategies);
    for (size_t i = 0; i < x->resources.len; i++)
        if (x->resources.items[i].weight <= 0 || x->resources.items[i].weight > 100)
            field_invalid_int(p->init, FIELD(FIELD_INDEX(FIELD(at, "resources"), i), "weight"), x->resources.items[i].weight, "resource weight of %s not in valid range (0, 100]",
                              x->resources.items[i].name);
    x->strategy = str_eq(type, strategies[1]) ? MOST_ALLOCATED : str_eq(type, strategies[2]) ? REQUESTED_TO_CAPACITY_RATIO : LEAST_ALLOCATED;
    const struct field_path *ratio_at = FIELD(at, "requestedToCapacityRatio");
    if (ratio) {
        const char *ratio_where = arena_printf(p->r->arena, "%s.requestedToCapacityRatio", where);
        config_read(p->r, ratio, "RequestedToCapacityRatioParam", ratio_where, (const struct config_field[]){{"shape", CONFIG_LIST, &shape}, {0}});
        shape_read(p, shape, arena_printf(p->r->arena, "%s.shape", ratio_where), &x->shape);
    }
    if (x->strategy == REQUESTED_TO_CAPACITY_RATIO && !ratio) field_required(p->init, ratio_at, "%s", "must be specified when type is RequestedToCapacityRatio");
    else if (x->strategy == REQUESTED_TO_CAPACITY_RATIO) shape_validate(&x->shape, FIELD(ratio_at, "shape"), p->init);
    else if (ratio) field_forbidden(p->init, ratio_at, "%s", "must be nil when type is not RequestedToCapacityRatio");
}

/* Upstream's table of validations has this plugin under a wrong name: what is wrong is found when the plugin is made, without the path to it. */
static const void *fit_args(const struct place *p) {
    struct node_resources_fit_args *x = ARENA_NEW(p->r->arena, struct node_resources_fit_args);
    *x = *(const struct node_resources_fit_args *)plugin_default_args(PLUGIN_NODE_RESOURCES_FIT);
    yyjson_val *strategy = NULL;
    fields(p, "NodeResourcesFitArgs", (const struct config_field[]){{"ignoredResources", CONFIG_STRINGS, &x->ignored_resources},
        {"ignoredResourceGroups", CONFIG_STRINGS, &x->ignored_resource_groups}, {"scoringStrategy", CONFIG_VALUE, &strategy}, {0}});
    for (size_t i = 0; i < x->ignored_resources.len; i++)
        label_name_validate(p->r->arena, x->ignored_resources.items[i], FIELD_INDEX(FIELD(NULL, "ignoredResources"), i), p->init);
    for (size_t i = 0; i < x->ignored_resource_groups.len; i++) {
        const struct field_path *at = FIELD_INDEX(FIELD(NULL, "ignoredResourceGroups"), i);
        if (strchr(x->ignored_resource_groups.items[i], '/')) field_invalid(p->init, at, x->ignored_resource_groups.items[i], "%s", "resource group name can't contain '/'");
        label_name_validate(p->r->arena, x->ignored_resource_groups.items[i], at, p->init);
    }
    if (strategy) strategy_read(p, strategy, x, FIELD(NULL, "scoringStrategy"));
    return x;
}

static void default_constraint_validate(const struct place *p, const struct corev1_TopologySpreadConstraint_list *list, size_t i, const struct field_path *all) {
    static const char *const whens[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
    const struct corev1_TopologySpreadConstraint *c = &list->items[i];
    const struct field_path *at = FIELD_INDEX(all, i);
    if (c->maxSkew <= 0) field_invalid_int(p->valid, FIELD(at, "maxSkew"), c->maxSkew, "%s", "not in valid range (0, inf)");
    if (str_empty(c->topologyKey)) field_required(p->valid, FIELD(at, "topologyKey"), "%s", "can not be empty");
    else label_name_validate(p->r->arena, c->topologyKey, FIELD(at, "topologyKey"), p->valid);
    if (str_empty(c->whenUnsatisfiable)) field_required(p->valid, FIELD(at, "whenUnsatisfiable"), "%s", "can not be empty");
    else if (!str_in(c->whenUnsatisfiable, whens)) field_not_supported(p->valid, FIELD(at, "whenUnsatisfiable"), c->whenUnsatisfiable, whens);
    if (c->labelSelector) field_forbidden(p->valid, FIELD(at, "labelSelector"), "%s", "constraint must not define a selector, as they deduced for each pod");
    for (size_t k = 0; k < i; k++)
        if (str_eq(list->items[k].topologyKey, c->topologyKey) && str_eq(list->items[k].whenUnsatisfiable, c->whenUnsatisfiable)) {
            field_duplicate(p->valid, at, arena_printf(p->r->arena, "{%s, %s}", str_or(c->topologyKey, ""), str_or(c->whenUnsatisfiable, "")));
            return;
        }
}

static const void *spread_args(const struct place *p) {
    static const char *const types[] = {"System", "List", NULL};
    struct pod_topology_spread_args *x = ARENA_NEW(p->r->arena, struct pod_topology_spread_args);
    const char *type = "System";
    yyjson_val *list = NULL, *item;
    size_t i, n;
    fields(p, "PodTopologySpreadArgs", (const struct config_field[]){{"defaultConstraints", CONFIG_LIST, &list}, {"defaultingType", CONFIG_STRING, &type}, {0}});
    yyjson_arr_foreach(list, i, n, item)
        decoded(p, &corev1_TopologySpreadConstraint_desc, LIST_PUSH(p->r->arena, &x->defaults), item, arena_printf(p->r->arena, "%s.defaultConstraints[%zu]", p->where, i));
    x->system_defaulted = str_eq(type, "System");
    if (!str_in(type, types)) field_not_supported(p->valid, FIELD(p->at, "defaultingType"), type, types);
    else if (x->system_defaulted && x->defaults.len) field_invalid(p->valid, FIELD(p->at, "defaultingType"), type, "%s", "when .defaultConstraints are not empty");
    for (size_t k = 0; k < x->defaults.len; k++) default_constraint_validate(p, &x->defaults, k, FIELD(p->at, "defaultConstraints"));
    if (x->system_defaulted) x->defaults = ((const struct pod_topology_spread_args *)plugin_default_args(PLUGIN_POD_TOPOLOGY_SPREAD))->defaults;
    return x;
}

static const void *volume_binding_args(const struct place *p) {
    struct volume_binding_args *x = ARENA_NEW(p->r->arena, struct volume_binding_args);
    yyjson_val *shape = NULL;
    x->bind_timeout_seconds = 600;
    fields(p, "VolumeBindingArgs", (const struct config_field[]){{"bindTimeoutSeconds", CONFIG_INT64, &x->bind_timeout_seconds}, {"shape", CONFIG_LIST, &shape}, {0}});
    if (x->bind_timeout_seconds < 0)
        field_invalid_int(p->valid, FIELD(p->at, "bindTimeoutSeconds"), x->bind_timeout_seconds, "%s", "invalid BindTimeoutSeconds, should not be a negative value");
    _cleanup_free_ char *text = shape ? yyjson_val_write(shape, 0, NULL) : NULL;
    if (shape) field_invalid_raw(p->valid, FIELD(p->at, "shape"), str_or(text, ""), "%s", "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring");
    return x;
}

static const void *dynamic_resources_args(const struct place *p) {
    struct dynamic_resources_args *x = ARENA_NEW(p->r->arena, struct dynamic_resources_args);
    *x = (struct dynamic_resources_args){10000, 600000};
    fields(p, "DynamicResourcesArgs", (const struct config_field[]){{"filterTimeout", CONFIG_DURATION_MS, &x->filter_timeout_ms}, {"bindingTimeout", CONFIG_DURATION_MS, &x->binding_timeout_ms}, {0}});
    if (x->filter_timeout_ms < 0) field_invalid_int(p->valid, FIELD(p->at, "filterTimeout"), x->filter_timeout_ms, "%s", "must be zero or positive");
    if (x->binding_timeout_ms < 1000) field_invalid_int(p->valid, FIELD(p->at, "bindingTimeout"), x->binding_timeout_ms, "%s", "must be at least 1 second");
    return x;
}

const void *config_plugin_args(struct reader *r, enum plugin_id id, yyjson_val *args, const char *where, const struct field_path *at, struct field_errors *valid_errs,
                               struct field_errors *init_errs) {
    struct place p = {r, args, where, at, valid_errs, init_errs};
    switch (id) {
    case PLUGIN_DEFAULT_PREEMPTION: return preemption_args(&p);
    case PLUGIN_INTER_POD_AFFINITY: return inter_pod_affinity_args(&p);
    case PLUGIN_NODE_AFFINITY: return node_affinity_args(&p);
    case PLUGIN_NODE_RESOURCES_FIT: return fit_args(&p);
    case PLUGIN_NODE_RESOURCES_BALANCED_ALLOCATION: return balanced_args(&p);
    case PLUGIN_POD_TOPOLOGY_SPREAD: return spread_args(&p);
    case PLUGIN_VOLUME_BINDING: return volume_binding_args(&p);
    case PLUGIN_DYNAMIC_RESOURCES: return dynamic_resources_args(&p);
    default: return NULL;
    }
}
