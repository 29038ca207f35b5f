/* Nodes. Upstream: ValidateNode and ValidateNodeUpdate in pkg/apis/core/validation; an update runs both, so that what is wrong with taints and
 * resources is said twice. Tests: tests/unit/test_validation_core.c. */
#include <ctype.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

enum { FEATURE_NAME_MAX = 253 };

static void taint(const struct corev1_Taint *t, const struct field_path *at, struct field_errors *errs) {
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    struct string_list msgs = {0};
    name_qualified(errs->arena, str_or(t->key, ""), &msgs);
    field_invalid_each(errs, FIELD(at, "key"), t->key, &msgs);
    msgs = (struct string_list){0};
    name_label_value(errs->arena, str_or(t->value, ""), &msgs);
    const char *all = msgs.len ? msgs.items[0] : NULL;
    for (size_t i = 1; i < msgs.len; i++) all = arena_printf(errs->arena, "%s;%s", all, msgs.items[i]);
    if (all) field_invalid(errs, FIELD(at, "value"), t->value, "%s", all);
    if (str_empty(t->effect)) field_required(errs, FIELD(at, "effect"), "%s", "");
    else if (!str_in(t->effect, effects)) field_not_supported(errs, FIELD(at, "effect"), t->effect, effects);
}

static void taints(const struct corev1_Taint_list *list, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct corev1_Taint *t = &list->items[i];
        taint(t, FIELD_INDEX(at, i), errs);
        for (size_t j = 0; j < i; j++)
            if (str_eq(list->items[j].key, t->key) && str_eq(list->items[j].effect, t->effect)) {
                field_error_add(errs, "FieldValueDuplicate", FIELD_INDEX(at, i), "Duplicate value: %s: taints must be unique by key and effect pair", object_json_text(errs->arena, &corev1_Taint_desc, t));
                break;
            }
    }
}

static void amounts(const struct string_map *map, const struct field_path *at, struct field_errors *errs) {
    LIST_FOREACH(e, map) validate_resource_quantity(e->key, e->value, FIELD(at, e->key), errs);
}

static void resources(const struct corev1_NodeStatus *s, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "status");
    amounts(&s->capacity, FIELD(at, "capacity"), errs);
    amounts(&s->allocatable, FIELD(at, "allocatable"), errs);
}

/* MyFeature or MyFeature/mySubFeature */
static bool is_feature_name(const char *name) {
    if (!isupper((unsigned char)*name)) return false;
    for (const char *p = name; *p; p++)
        if (*p == '/' ? !isalnum((unsigned char)p[1]) : !isalnum((unsigned char)*p)) return false;
    return true;
}

static void declared_features(const struct string_list *list, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "status"), "declaredFeatures");
    for (size_t i = 0; i < list->len; i++) {
        const char *name = str_or(list->items[i], ""), *next = i + 1 < list->len ? str_or(list->items[i + 1], "") : NULL;
        const char *quoted = go_quote(errs->arena, name);
        if (strlen(name) > FEATURE_NAME_MAX) field_invalid(errs, FIELD_INDEX(at, i), name, "invalid feature name %s: must be no more than %d characters", quoted, FEATURE_NAME_MAX);
        else if (!is_feature_name(name))
            field_invalid(errs, FIELD_INDEX(at, i), name, "invalid feature name %s: must start with an UpperCamelCase segment, with subsequent segments separated by '/' "
                          "(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes", quoted);
        int order = next ? strcmp(name, next) : -1;
        if (order == 0) field_duplicate(errs, FIELD_INDEX(at, i + 1), next);
        else if (order > 0) field_invalid(errs, FIELD_INDEX(at, i + 1), next, "list must be sorted alphabetically");
    }
}

static void pod_cidrs(const struct string_list *list, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "podCIDRs");
    bool readable = true, four = false, six = false;
    for (size_t i = 0; i < list->len; i++) {
        size_t before = errs->len;
        validate_cidr(list->items[i], FIELD_INDEX(at, i), errs);
        readable &= name_is_cidr(list->items[i]) || errs->len == before;
        if (strchr(str_or(list->items[i], ""), ':')) six = true;
        else four = true;
    }
    if (list->len <= 1) return;
    for (size_t i = 0; !readable && i < list->len; i++)
        if (!name_is_cidr(list->items[i])) {
            field_internal_error(errs, at, "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[%zu]: %s (invalid CIDR address: %s)", i, "<nil>", str_or(list->items[i], ""));
            break;
        }
    if (!readable || !(four && six) || list->len > 2) field_invalid_raw(errs, at, string_list_json_text(errs->arena, list), "may specify no more than one CIDR for each IP family");
}

/* What was in annotations before it was in the API is still looked at. */
static bool decode_annotation(struct arena *a, const struct type_desc *type, const char *text, void *ret, const char **ret_why) {
    _cleanup_status_ struct status err = STATUS_INIT;
    bool ok = object_decode_json(a, type, ret, text, strlen(text), NULL, &err) == 0;
    *ret_why = ok ? NULL : arena_strdup(a, status_message(&err));
    return ok;
}

static void old_annotations(const struct string_map *annotations, struct field_errors *errs) {
    static const char taints_key[] = "scheduler.alpha.kubernetes.io/taints", avoid_key[] = "scheduler.alpha.kubernetes.io/preferAvoidPods";
    const struct field_path *at = FIELD(FIELD(NULL, "metadata"), "annotations");
    const char *text = string_map_get(annotations, taints_key), *why;
    struct corev1_NodeSpec spec = {0};
    struct corev1_AvoidPods avoid = {0};
    if (!str_empty(text)) {
        if (decode_annotation(errs->arena, &corev1_NodeSpec_desc, arena_printf(errs->arena, "{\"taints\":%s}", text), &spec, &why)) taints(&spec.taints, FIELD(at, taints_key), errs);
        else field_invalid(errs, at, taints_key, "%s", why);
    }
    text = string_map_get(annotations, avoid_key);
    if (str_empty(text)) return;
    if (!decode_annotation(errs->arena, &corev1_AvoidPods_desc, text, &avoid, &why)) {
        field_invalid(errs, FIELD(at, "AvoidPods"), avoid_key, "%s", why);
        return;
    }
    for (size_t i = 0; i < avoid.preferAvoidPods.len; i++) {
        const struct metav1_OwnerReference *c = avoid.preferAvoidPods.items[i].podSignature.podController;
        const struct field_path *signature = FIELD(FIELD_INDEX(FIELD(at, avoid_key), i), "PodSignature");
        if (!c) field_required(errs, signature, "%s", "");
        else if (!c->controller.has || !c->controller.value) field_invalid_bool(errs, FIELD(FIELD(signature, "PodController"), "Controller"), false, "must point to a controller");
    }
}

void validate_node(const void *obj, struct field_errors *errs) {
    const struct corev1_Node *n = obj;
    old_annotations(&n->metadata.annotations, errs);
    taints(&n->spec.taints, FIELD(FIELD(NULL, "metadata"), "taints"), errs);
    resources(&n->status, errs);
    const struct corev1_NodeSwapStatus *swap = n->status.nodeInfo.swap;
    if (swap && swap->capacity.has && swap->capacity.value <= 0)
        field_invalid_int(errs, FIELD(FIELD(FIELD(NULL, "metadata"), "nodeSwapStatus"), "capacity"), swap->capacity.value, "must be greater than zero");
    declared_features(&n->status.declaredFeatures, errs);
    pod_cidrs(&n->spec.podCIDRs, errs);
}

static void addresses(const struct corev1_NodeAddress_list *list, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(list->items[i].type, list->items[j].type) && str_eq(list->items[i].address, list->items[j].address)) {
                field_duplicate_raw(errs, FIELD_INDEX(FIELD(FIELD(NULL, "status"), "addresses"), i), object_json_text(errs->arena, &corev1_NodeAddress_desc, &list->items[i]));
                break;
            }
}

static void pod_cidrs_stay(const struct string_list *list, const struct string_list *old, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "podCIDRs");
    static const char text[] = "node updates may not change podCIDR except from \"\" to valid";
    if (old->len && old->len != list->len) field_forbidden(errs, at, text);
    for (size_t i = 0; old->len == list->len && i < list->len; i++)
        if (!str_eq(list->items[i], old->items[i])) field_forbidden(errs, at, text);
}

/* Also what an update of the status is held to. */
void validate_node_status_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Node *n = obj, *old = old_obj;
    old_annotations(&n->metadata.annotations, errs);
    resources(&n->status, errs);
    declared_features(&n->status.declaredFeatures, errs);
    addresses(&n->status.addresses, errs);
    pod_cidrs_stay(&n->spec.podCIDRs, &old->spec.podCIDRs, errs);
    if (!str_empty(old->spec.providerID) && !str_eq(n->spec.providerID, old->spec.providerID))
        field_forbidden(errs, FIELD(FIELD(NULL, "spec"), "providerID"), "node updates may not change providerID except from \"\" to valid");
    taints(&n->spec.taints, FIELD(FIELD(NULL, "metadata"), "taints"), errs);
    if (!str_eq(n->spec.externalID, old->spec.externalID)) field_forbidden(errs, FIELD(FIELD(NULL, "spec"), "externalID"), "may not be updated");
}

void validate_node_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_node(obj, errs);
    validate_node_status_update(obj, old, errs);
}
