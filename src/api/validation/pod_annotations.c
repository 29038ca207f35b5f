/* Annotations that once were, or still are, fields of Pods. Upstream: ValidatePodSpecificAnnotations and its neighbours.
 * Tests: tests/unit/test_validation_pods.c. */
#include <string.h>
#include <yyjson.h>
#include "api/pod_util.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

static const char mirror[] = "kubernetes.io/config.mirror", deletion_cost[] = "controller.kubernetes.io/pod-deletion-cost", alpha_tolerations[] = "scheduler.alpha.kubernetes.io/tolerations";
static const char seccomp_pod[] = "seccomp.security.alpha.kubernetes.io/pod", seccomp_container[] = "container.seccomp.security.alpha.kubernetes.io/";
static const char app_armor[] = "container.apparmor.security.beta.kubernetes.io/", localhost[] = "localhost/";

/* ---- each by itself ---- */

/* No plus sign and no zeros in front, within 32 bits. */
static bool is_deletion_cost(const char *value) {
    int64_t number;
    bool begins = value[0] == '-' || (value[0] >= '1' && value[0] <= '9') || strcmp(value, "0") == 0;
    return begins && str_to_i64(value, &number) && number >= INT32_MIN && number <= INT32_MAX;
}

/* A member of a toleration as Go reads it into its internal type, whose fields have no JSON names: by their own, in any case of letters. */
static bool read_member(struct arena *a, const char *name, yyjson_val *v, struct corev1_Toleration *ret) {
    const struct { const char *name; const char **at; } texts[] = {{"key", &ret->key}, {"operator", &ret->operator}, {"value", &ret->value}, {"effect", &ret->effect}};
    if (yyjson_is_null(v)) return true;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (!str_eq_nocase(name, texts[i].name)) continue;
        if (yyjson_is_str(v)) *texts[i].at = arena_strdup(a, yyjson_get_str(v));
        return yyjson_is_str(v);
    }
    if (!str_eq_nocase(name, "tolerationSeconds")) return true;
    if (yyjson_is_int(v)) ret->tolerationSeconds = (struct opt_int64){true, yyjson_get_sint(v)};
    return yyjson_is_int(v);
}

static bool read_tolerations(struct arena *a, yyjson_val *list, struct corev1_Toleration_list *ret) {
    yyjson_val *item, *key, *value;
    size_t i, n, k, m;
    if (!yyjson_is_arr(list)) return yyjson_is_null(list);
    yyjson_arr_foreach(list, i, n, item) {
        struct corev1_Toleration *t = LIST_PUSH(a, ret);
        *t = (struct corev1_Toleration){0};
        if (!yyjson_is_obj(item) && !yyjson_is_null(item)) return false;
        yyjson_obj_foreach(item, k, m, key, value)
            if (!read_member(a, yyjson_get_str(key), value, t)) return false;
    }
    return true;
}

static void tolerations(const char *text, const struct field_path *at, struct field_errors *errs) {
    struct corev1_Toleration_list list = {0};
    if (str_empty(text)) return;
    yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
    if (!doc || !read_tolerations(errs->arena, yyjson_doc_get_root(doc), &list)) field_invalid(errs, at, alpha_tolerations, "json: cannot unmarshal the tolerations");
    else validate_tolerations(&list, FIELD(at, alpha_tolerations), errs);
    yyjson_doc_free(doc);
}

static void seccomp_profile(const char *p, const struct field_path *at, struct field_errors *errs) {
    static const char *const named[] = {"runtime/default", "docker/default", "unconfined", NULL};
    if (str_in(p, named)) return;
    if (str_has_prefix(p, localhost)) validate_local_descending_path(p + strlen(localhost), at, errs);
    else field_invalid(errs, at, p, "must be a valid seccomp profile");
}

static bool has_container(const struct corev1_PodSpec *s, const char *name) {
    const struct corev1_Container *c;
    for (size_t n = 0; (c = pod_container_at(s, n, NULL, NULL)); n++)
        if (str_eq(c->name, name)) return true;
    return false;
}

static void app_armor_profile(const char *key, const char *p, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const named[] = {"", "runtime/default", "unconfined", NULL};
    const char *name = key + strlen(app_armor);
    if (!has_container(s, name)) field_invalid(errs, at, name, "container not found");
    if (!str_in(p, named) && !str_has_prefix(p, localhost)) field_invalid(errs, at, p, "invalid AppArmor profile name: %s", go_quote(errs->arena, p));
}

void validate_pod_annotations(const struct string_map *annotations, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (string_map_has(annotations, mirror) && str_empty(s->nodeName))
        field_invalid(errs, FIELD_KEY(at, mirror), string_map_get(annotations, mirror), "must set spec.nodeName if mirror pod annotation is set");
    tolerations(string_map_get(annotations, alpha_tolerations), at, errs);
    if (string_map_has(annotations, deletion_cost) && !is_deletion_cost(str_or(string_map_get(annotations, deletion_cost), "")))
        field_invalid(errs, FIELD_KEY(at, deletion_cost), string_map_get(annotations, deletion_cost), "must be a 32bit integer");
    if (string_map_has(annotations, seccomp_pod)) seccomp_profile(str_or(string_map_get(annotations, seccomp_pod), ""), FIELD(at, seccomp_pod), errs);
    LIST_FOREACH(e, annotations)
        if (str_has_prefix(e->key, seccomp_container)) seccomp_profile(str_or(e->value, ""), FIELD(at, e->key), errs);
    LIST_FOREACH(e, annotations)
        if (str_has_prefix(e->key, app_armor)) app_armor_profile(e->key, str_or(e->value, ""), s, FIELD_KEY(at, e->key), errs);
}

/* ---- against the fields of the same meaning ---- */

struct profile { const char *type, *localhost; };

/* What an annotation says must be what the field says. */
static void same_profile(const struct profile *field, const char *annotation, const char *what, bool docker, const struct field_path *at, struct field_errors *errs) {
    bool local = str_eq(field->type, "Localhost"), same = true;
    if (str_eq(field->type, "Unconfined")) same = str_eq(annotation, "unconfined");
    else if (str_eq(field->type, "RuntimeDefault")) same = str_eq(annotation, "runtime/default") || (docker && str_eq(annotation, "docker/default"));
    else if (local) same = str_has_prefix(str_or(annotation, ""), localhost);
    if (!same) field_forbidden(errs, FIELD(at, "type"), "%s type in annotation and field must match", what);
    else if (local && !(field->localhost && str_eq(annotation + strlen(localhost), field->localhost))) field_forbidden(errs, FIELD(at, "localhostProfile"), "%s profile in annotation and field must match", what);
}

static void seccomp_matches(const struct corev1_SeccompProfile *p, const struct string_map *annotations, const char *key, const struct field_path *security, struct field_errors *errs) {
    if (!p || !string_map_has(annotations, key)) return;
    same_profile(&(struct profile){p->type, p->localhostProfile}, string_map_get(annotations, key), "seccomp", true, FIELD(security, "seccompProfile"), errs);
}

void validate_pod_annotations_match(const struct string_map *annotations, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_Container *c;
    const char *list;
    size_t i;
    if (s->securityContext) seccomp_matches(s->securityContext->seccompProfile, annotations, seccomp_pod, FIELD(at, "securityContext"), errs);
    for (size_t n = 0; (c = pod_container_at(s, n, &list, &i)); n++)
        if (c->securityContext)
            seccomp_matches(c->securityContext->seccompProfile, annotations, arena_printf(errs->arena, "%s%s", seccomp_container, str_or(c->name, "")), FIELD(FIELD_INDEX(FIELD(at, list), i), "securityContext"), errs);
    if (s->os && str_eq(s->os->name, "windows")) return;
    for (size_t n = 0; (c = pod_container_at(s, n, &list, &i)); n++) {
        const struct corev1_AppArmorProfile *p = s->securityContext ? s->securityContext->appArmorProfile : NULL;
        const char *key = arena_printf(errs->arena, "%s%s", app_armor, str_or(c->name, ""));
        if (c->securityContext && c->securityContext->appArmorProfile) p = c->securityContext->appArmorProfile;
        if (p && string_map_has(annotations, key))
            same_profile(&(struct profile){p->type, p->localhostProfile}, string_map_get(annotations, key), "apparmor", false, FIELD(FIELD(FIELD_INDEX(FIELD(at, list), i), "securityContext"), "appArmorProfile"), errs);
    }
}

/* ---- what may not change ---- */

static void fixed(const char *key, const char *app_armor_text, const char *mirror_text, const struct field_path *at, struct field_errors *errs) {
    if (str_has_prefix(key, app_armor)) field_forbidden(errs, FIELD_KEY(at, key), "%s", app_armor_text);
    if (str_eq(key, mirror)) field_forbidden(errs, FIELD_KEY(at, key), "%s", mirror_text);
}

void validate_pod_annotations_update(const struct corev1_Pod *pod, const struct corev1_Pod *old, struct field_errors *errs) {
    const struct string_map *now = &pod->metadata.annotations, *before = &old->metadata.annotations;
    const struct field_path *at = FIELD(FIELD(NULL, "metadata"), "annotations");
    LIST_FOREACH(e, before)
        if (!string_map_has(now, e->key) || !str_eq(string_map_get(now, e->key), e->value)) fixed(e->key, "may not remove or update AppArmor annotations", "may not remove or update mirror pod annotation", at, errs);
    LIST_FOREACH(e, now)
        if (!string_map_has(before, e->key)) fixed(e->key, "may not add AppArmor annotations", "may not add mirror pod annotation", at, errs);
    validate_pod_annotations(now, &pod->spec, at, errs);
}
