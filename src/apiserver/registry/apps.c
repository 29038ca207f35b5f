/* Strategies of apps/v1, and of ReplicationControllers. Upstream: pkg/registry/apps. */
#include <string.h>
#include "api/names.h"
#include "api/validation/apps.h"
#include "api/warnings.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

#define TEMPLATE(o) ((o)->spec.template)
#define SPLIT_STATUS(name, T)                                                                                                                                        \
    static void name##_create(struct api_request *r UNUSED, void *obj) {                                                                                             \
        struct T *o = obj;                                                                                                                                            \
        memset(&o->status, 0, sizeof(o->status));                                                                                                                     \
        pod_spec_drop_disabled(&TEMPLATE(o).spec, NULL);                                                                                                              \
    }                                                                                                                                                                 \
    static void name##_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {                                                                        \
        struct T *o = obj;                                                                                                                                            \
        const struct T *old = old_obj;                                                                                                                                \
        o->status = old->status;                                                                                                                                      \
        pod_spec_drop_disabled(&TEMPLATE(o).spec, &TEMPLATE(old).spec);                                                                                               \
    }                                                                                                                                                                 \
    static void name##_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->spec = ((const struct T *)old)->spec; }
/* At creation the name too, later the template only when the generation moved. */
#define TEMPLATE_WARNINGS(prefix, T)                                                                                                                           \
    static void prefix##_warnings(struct api_request *r, const void *obj, const void *old) {                                                                          \
        const struct T *o = obj;                                                                                                                                      \
        if (!old) pod_name_warnings(r->arena, o->metadata.name, false, &r->warnings);                                                                      \
        if (!old || o->metadata.generation != ((const struct T *)old)->metadata.generation)                                                                           \
            pod_warnings(r->arena, &o->spec.template.spec, &o->spec.template.metadata, FIELD(FIELD(NULL, "spec"), "template"), &r->warnings);                         \
    }

/* A status write keeps labels as they were. */
#define KEEP_LABELS(name, T)                                                                                                                                          \
    static void name##_status_keep(struct api_request *r, void *obj, const void *old) {                                                                               \
        name##_status(r, obj, old);                                                                                                                                   \
        ((struct T *)obj)->metadata.labels = ((const struct T *)old)->metadata.labels;                                                                                \
    }

SPLIT_STATUS(deployment, appsv1_Deployment)
KEEP_LABELS(deployment, appsv1_Deployment)
TEMPLATE_WARNINGS(deployment, appsv1_Deployment)
const struct strategy deployment_strategy = {.group = "apps", .version = "v1", .resource = "deployments", .type = &appsv1_Deployment_desc, .flags = HAS_GENERATION, .prepare_create = deployment_create,
    .prepare_update = deployment_update, .prepare_status_update = deployment_status_keep, .validate = validate_deployment, .validate_update = validate_deployment_update,
    .validate_status_update = validate_deployment_status_update, .warnings = deployment_warnings};

SPLIT_STATUS(replicaset, appsv1_ReplicaSet)
TEMPLATE_WARNINGS(replicaset, appsv1_ReplicaSet)
const struct strategy replicaset_strategy = {.group = "apps", .version = "v1", .resource = "replicasets", .type = &appsv1_ReplicaSet_desc, .flags = HAS_GENERATION, .prepare_create = replicaset_create,
    .prepare_update = replicaset_update, .prepare_status_update = replicaset_status, .validate = validate_replicaset, .validate_update = validate_replicaset_update,
    .validate_status_update = validate_replicaset_status_update, .warnings = replicaset_warnings};

/* ---- StatefulSet ---- */

SPLIT_STATUS(statefulset, appsv1_StatefulSet)
static void pending_claims(struct appsv1_StatefulSet *s) {
    LIST_FOREACH(c, &s->spec.volumeClaimTemplates) c->status.phase = "Pending";
}
/* maxUnavailable's feature gate is off by default. */
static void drop_max_unavailable(struct appsv1_StatefulSet *s, const struct appsv1_StatefulSet *old) {
    bool in_use = old && old->spec.updateStrategy.rollingUpdate && old->spec.updateStrategy.rollingUpdate->maxUnavailable.kind;
    if (!in_use && s->spec.updateStrategy.rollingUpdate) s->spec.updateStrategy.rollingUpdate->maxUnavailable = (struct int_or_string){0};
}
static void statefulset_begin(struct api_request *r, void *obj) {
    statefulset_create(r, obj);
    drop_max_unavailable(obj, NULL);
    pending_claims(obj);
}
static void statefulset_change(struct api_request *r, void *obj, const void *old) {
    statefulset_update(r, obj, old);
    drop_max_unavailable(obj, old);
}
static void statefulset_warnings(struct api_request *r, const void *obj, const void *old_obj) {
    const struct appsv1_StatefulSet *s = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "spec");
    if (!old || s->metadata.generation != old->metadata.generation) pod_warnings(r->arena, &s->spec.template.spec, &s->spec.template.metadata, FIELD(at, "template"), &r->warnings);
    for (size_t i = 0; i < s->spec.volumeClaimTemplates.len; i++) {
        const struct field_path *p = FIELD_INDEX(FIELD(at, "volumeClaimTemplates"), i);
        claim_spec_warnings(r->arena, &s->spec.volumeClaimTemplates.items[i].spec, old ? FIELD(p, "Spec") : p, &r->warnings);
    }
    if (s->spec.revisionHistoryLimit.has && s->spec.revisionHistoryLimit.value < 0)
        request_warn(r, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended");
}
const struct strategy statefulset_strategy = {.group = "apps", .version = "v1", .resource = "statefulsets", .type = &appsv1_StatefulSet_desc, .flags = HAS_GENERATION, .validate_name = object_name_dns_label,
    .prepare_create = statefulset_begin, .prepare_update = statefulset_change, .prepare_status_update = statefulset_status, .validate = validate_statefulset, .validate_update = validate_statefulset_update,
    .validate_status_update = validate_statefulset_status_update, .warnings = statefulset_warnings};

/* ---- DaemonSet: an annotation counts its templates ---- */

static const char template_generation[] = "deprecated.daemonset.template.generation";

SPLIT_STATUS(daemonset, appsv1_DaemonSet)
/* Told by the template's own generation. */
static void daemonset_warnings(struct api_request *r, const void *obj, const void *old) {
    const struct appsv1_DaemonSet *d = obj;
    if (!old || !object_equal(&corev1_PodTemplateSpec_desc, &d->spec.template, &((const struct appsv1_DaemonSet *)old)->spec.template))
        pod_warnings(r->arena, &d->spec.template.spec, &d->spec.template.metadata, FIELD(FIELD(NULL, "spec"), "template"), &r->warnings);
}
static void set_template_generation(struct api_request *r, struct appsv1_DaemonSet *d, int64_t n) {
    d->metadata.annotations = string_map_copy(r->arena, &d->metadata.annotations);
    string_map_set(r->arena, &d->metadata.annotations, template_generation, arena_printf(r->arena, "%lld", (long long)n));
}
static void daemonset_begin(struct api_request *r, void *obj) {
    daemonset_create(r, obj);
    set_template_generation(r, obj, 1);
}
static void daemonset_change(struct api_request *r, void *obj, const void *old_obj) {
    struct appsv1_DaemonSet *d = obj;
    const struct appsv1_DaemonSet *old = old_obj;
    int64_t n = 1;
    daemonset_update(r, obj, old);
    str_to_i64(str_or(string_map_get(&old->metadata.annotations, template_generation), "1"), &n);
    set_template_generation(r, d, n + !object_equal(&corev1_PodTemplateSpec_desc, &d->spec.template, &old->spec.template));
}
static void daemonset_status_change(struct api_request *r, void *obj, const void *old_obj) {
    const struct appsv1_DaemonSet *old = old_obj;
    int64_t n = 1;
    daemonset_status(r, obj, old);
    str_to_i64(str_or(string_map_get(&old->metadata.annotations, template_generation), "1"), &n);
    set_template_generation(r, obj, n);
}
const struct strategy daemonset_strategy = {.group = "apps", .version = "v1", .resource = "daemonsets", .type = &appsv1_DaemonSet_desc, .flags = HAS_GENERATION, .prepare_create = daemonset_begin,
    .prepare_update = daemonset_change, .prepare_status_update = daemonset_status_change, .validate = validate_daemonset, .validate_update = validate_daemonset_update,
    .validate_status_update = validate_daemonset_status_update, .warnings = daemonset_warnings};

const struct strategy controllerrevision_strategy = {.group = "apps", .version = "v1", .resource = "controllerrevisions", .type = &appsv1_ControllerRevision_desc, .flags = META_TWICE, .validate = validate_controllerrevision,
    .validate_update = validate_controllerrevision_update};

/* ---- ReplicationController ---- */

static void rc_create(struct api_request *r UNUSED, void *obj) {
    struct corev1_ReplicationController *c = obj;
    c->status = (struct corev1_ReplicationControllerStatus){0};
    if (c->spec.template) pod_spec_drop_disabled(&c->spec.template->spec, NULL);
}
static void rc_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct corev1_ReplicationController *c = obj;
    const struct corev1_ReplicationController *old = old_obj;
    c->status = old->status;
    if (c->spec.template) pod_spec_drop_disabled(&c->spec.template->spec, old->spec.template ? &old->spec.template->spec : NULL);
}
static void rc_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_ReplicationController *)obj)->spec = ((const struct corev1_ReplicationController *)old)->spec; }
/* An update is warned of what the old template held: upstream mixes the two up. */
static void rc_warnings(struct api_request *r, const void *obj, const void *old) {
    const struct corev1_ReplicationController *c = obj, *before = old;
    const struct corev1_PodTemplateSpec *t = before ? before->spec.template : c->spec.template;
    if (!old) pod_name_warnings(r->arena, c->metadata.name, false, &r->warnings);
    if (t && (!before || c->metadata.generation != before->metadata.generation)) pod_warnings(r->arena, &t->spec, &t->metadata, FIELD(FIELD(NULL, "spec"), "template"), &r->warnings);
}
static const char *const replica_fields[] = {"status.replicas", NULL};
static const char *rc_field(struct arena *a, const void *obj, const char *name) {
    return strcmp(name, "status.replicas") == 0 ? arena_printf(a, "%d", ((const struct corev1_ReplicationController *)obj)->status.replicas) : NULL;
}
const struct strategy replicationcontroller_strategy = {.group = "", .version = "v1", .resource = "replicationcontrollers", .type = &corev1_ReplicationController_desc, .storage_prefix = "/registry/controllers",
    .flags = HAS_GENERATION | ORPHAN_BY_DEFAULT | META_PLAIN_PREFIX, .prepare_create = rc_create, .prepare_update = rc_update, .prepare_status_update = rc_status, .validate = validate_replicationcontroller,
    .validate_update = validate_replicationcontroller_update, .validate_status_update = validate_replicationcontroller_status_update, .warnings = rc_warnings, .selectable_fields = replica_fields, .field = rc_field};
