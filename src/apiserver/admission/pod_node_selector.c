/* PodNodeSelector: a namespace's node selector for all its Pods, and which labels they may select by. Upstream: plugin/pkg/admission/podnodeselector.
 *
 * The namespace says its selector in an annotation, otherwise the configuration's clusterDefaultNodeSelector counts; the configuration's entry of the namespace's name is the white list.
 * Pods in any other form than "a=b,c=d" selectors are refused. */
#include "apiserver/admission/config.h"
#include "apiserver/admission/plugins.h"
#include "base/str.h"
#include "wire/json.h"

#define ANNOTATION "scheduler.alpha.kubernetes.io/node-selector"

/* Upstream's pluginConfig: namespace to selector. It takes what it can read and never fails. */
int pod_node_selector_setup(const struct admission_setup *s, const char *text, size_t len, void **ret_state, struct status *reterr UNUSED) {
    struct string_map *selectors = *ret_state = ARENA_NEW(s->arena, struct string_map);
    yyjson_val *root = text ? admission_config_parse(s->arena, text, len, NULL, NULL, NULL) : NULL, *key, *value;
    size_t i, max;
    yyjson_obj_foreach(yyjson_obj_get(root, "podNodeSelectorPluginConfig"), i, max, key, value)
        if (yyjson_is_str(value)) string_map_set(s->arena, selectors, arena_strdup(s->arena, yyjson_get_str(key)), arena_strdup(s->arena, yyjson_get_str(value)));
    return 0;
}

static const char *trimmed(struct arena *a, const char *s, size_t len) {
    while (len && (*s == ' ' || *s == '\t')) {
        s++;
        len--;
    }
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t')) len--;
    return arena_strndup(a, s, len);
}

/* Upstream's ConvertSelectorToLabelsMap: "a=b, c=d". */
static int parse(struct arena *a, const char *text, struct string_map *ret, struct status *reterr) {
    for (const char *p = text; p && *p;) {
        size_t len = strcspn(p, ",");
        const char *pair = arena_strndup(a, p, len), *equals = strchr(pair, '=');
        if (!equals || strchr(equals + 1, '=')) return status_set(reterr, 500, NULL, "invalid selector: [%s]", pair);
        string_map_set(a, ret, trimmed(a, pair, (size_t)(equals - pair)), trimmed(a, equals + 1, strlen(equals + 1)));
        p += len + (p[len] == ',');
    }
    return 0;
}

static int selector_of_namespace(struct admission_attributes *a, const struct string_map *config, struct string_map *ret, struct status *reterr) {
    const struct corev1_Namespace *ns = admission_namespace(a);
    if (!ns) return status_internal(reterr, "namespace %s does not exist", str_or(a->namespace, ""));
    bool own = string_map_has(&ns->metadata.annotations, ANNOTATION);
    return parse(a->r->arena, own ? string_map_get(&ns->metadata.annotations, ANNOTATION) : string_map_get(config, "clusterDefaultNodeSelector"), ret, reterr);
}

static bool conflicts(const struct string_map *x, const struct string_map *y) {
    LIST_FOREACH(e, x)
        if (string_map_has(y, e->key) && !str_eq(string_map_get(y, e->key), e->value)) return true;
    return false;
}

static int check(struct admission_attributes *a, const struct string_map *config, const struct string_map *wanted, struct status *reterr) {
    const struct corev1_Pod *pod = a->obj;
    struct string_map whitelist = {0};
    if (conflicts(wanted, &pod->spec.nodeSelector)) return admission_forbid(a, "pod node label selector conflicts with its namespace node label selector", reterr);
    if (parse(a->r->arena, string_map_get(config, a->namespace), &whitelist, reterr) != 0) return -1;
    LIST_FOREACH(e, &pod->spec.nodeSelector)
        if (whitelist.len && (!string_map_has(&whitelist, e->key) || !str_eq(string_map_get(&whitelist, e->key), e->value)))
            return admission_forbid(a, "pod node label selector labels conflict with its namespace whitelist", reterr);
    return 0;
}

int pod_node_selector_mutate(struct admission_attributes *a, void *state, struct status *reterr) {
    struct corev1_Pod *pod = a->obj;
    struct string_map wanted = {0};
    if (a->o->subresource) return 0;
    if (selector_of_namespace(a, state, &wanted, reterr) != 0) return -1;
    if (conflicts(&wanted, &pod->spec.nodeSelector)) return admission_forbid(a, "pod node label selector conflicts with its namespace node label selector", reterr);
    LIST_FOREACH(e, &wanted) string_map_set(a->r->arena, &pod->spec.nodeSelector, e->key, e->value);
    return check(a, state, &wanted, reterr);
}

int pod_node_selector_validate(struct admission_attributes *a, void *state, struct status *reterr) {
    struct string_map wanted = {0};
    if (a->o->subresource) return 0;
    return selector_of_namespace(a, state, &wanted, reterr) != 0 ? -1 : check(a, state, &wanted, reterr);
}
