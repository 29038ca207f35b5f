/* Subresources whose body is of another kind than their object: scale, binding. */
#include <string.h>
#include "api/time.h"
#include "api/validation/meta.h"
#include "apiserver/access_review.h"
#include "apiserver/admission.h"
#include "apiserver/apiserver.h"
#include "apiserver/authentication.h"
#include "apiserver/component_status.h"
#include "apiserver/handlers.h"
#include "apiserver/managers.h"
#include "apiserver/pod_subresources.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

static void fail(struct api_request *r, struct status *err) { respond_status(r, err); }

/* ---- pods/binding ---- */

/* A Binding's uid and resourceVersion are preconditions; the words are those of upstream's storage. */
static int check_bound_object(struct api_request *r, const struct corev1_Binding *b, const struct metav1_ObjectMeta *pod, struct status *reterr) {
    const struct { const char *what, *wanted, *found; } all[] = {{"UID", b->metadata.uid, pod->uid}, {"ResourceVersion", b->metadata.resourceVersion, pod->resourceVersion}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (!str_empty(all[i].wanted) && !str_eq(all[i].wanted, all[i].found))
            return status_conflict(reterr, "", "pods", r->name,
                                   arena_printf(r->arena, "StorageError: invalid object, Code: 4, Key: /registry/pods/%s/%s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: %s in precondition: %s, %s in object meta: %s", r->namespace,
                                                r->name, all[i].what, all[i].wanted, all[i].what, all[i].found));
    return 0;
}

static void *bind_transform(struct api_request *r, void *current, void *arg, struct status *reterr) {
    struct corev1_Pod *pod = current;
    const struct corev1_Binding *b = arg;
    if (!pod) {
        status_not_found(reterr, "", "pods", r->name);
        return NULL;
    }
    if (check_bound_object(r, b, &pod->metadata, reterr) != 0) return NULL;
    if (pod->metadata.deletionTimestamp.set) {
        status_conflict(reterr, "", "pods/binding", r->name, arena_printf(r->arena, "pod %s is being deleted, cannot be assigned to a host", r->name));
        return NULL;
    }
    if (!str_empty(pod->spec.nodeName)) {
        status_conflict(reterr, "", "pods/binding", r->name, arena_printf(r->arena, "pod %s is already assigned to node \"%s\"", r->name, pod->spec.nodeName));
        return NULL;
    }
    if (pod->spec.schedulingGates.len) {
        status_conflict(reterr, "", "pods/binding", r->name, arena_printf(r->arena, "pod %s has non-empty .spec.schedulingGates", r->name));
        return NULL;
    }
    pod->spec.nodeName = b->target.name;
    pod->status.nominatedNodeName = NULL;
    LIST_FOREACH(e, &b->metadata.annotations) string_map_set(r->arena, &pod->metadata.annotations, e->key, e->value);
    LIST_FOREACH(e, &b->metadata.labels) string_map_set(r->arena, &pod->metadata.labels, e->key, e->value);
    struct corev1_PodCondition *scheduled = NULL;
    LIST_FOREACH(c, &pod->status.conditions)
        if (str_eq(c->type, "PodScheduled")) scheduled = c;
    if (!scheduled) scheduled = LIST_PUSH(r->arena, &pod->status.conditions);
    *scheduled = (struct corev1_PodCondition){.type = "PodScheduled", .status = "True", .lastTransitionTime = time_from_s(env_now_s(apiserver_env(r->server)))};
    return pod;
}

/* What is wrong with it is no field error to upstream's handler: a 500 with the errors' text. */
static int check_binding(struct api_request *r, const struct corev1_Binding *b, struct status *reterr) {
    static const char *const kinds[] = {"Node", "<empty>", NULL};
    struct field_errors errs = field_errors_in(r->arena);
    const struct field_path *target = FIELD(NULL, "target");
    if (body_check_namespace(r, (const struct object *)(const void *)b, reterr) != 0) return -1;
    if (str_empty(r->name)) return status_bad_request(reterr, "Name parameter required.");
    if (!str_eq(b->metadata.name, r->name)) return status_bad_request(reterr, "name in URL does not match name in Binding object");
    if (!str_empty(b->target.kind) && !str_eq(b->target.kind, "Node")) field_not_supported(&errs, FIELD(target, "kind"), b->target.kind, kinds);
    if (str_empty(b->target.name)) field_required(&errs, FIELD(target, "name"), "%s", "");
    if (errs.len == 1) return status_set(reterr, 500, NULL, "%s: %s", errs.items[0].field, errs.items[0].detail);
    if (errs.len) return status_set(reterr, 500, NULL, "[%s: %s, %s: %s]", errs.items[0].field, errs.items[0].detail, errs.items[1].field, errs.items[1].detail);
    return 0;
}

static void handle_binding(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct write_options o;
    void *stored;
    bool created;
    struct corev1_Binding *b = NULL;
    if (negotiate(r, false, false, &err) == 0 && read_write_options(r, &o, &err) == 0) b = body_decode(r, &corev1_Binding_desc, &err);
    if (b && !r->name) r->name = b->metadata.name; /* POST .../bindings: the Binding names the Pod */
    if (b && check_binding(r, b, &err) != 0) b = NULL;
    int admitted = b ? admission_run(r, &corev1_Binding_desc, ADMIT_CREATE, b, NULL, &o, &err) : -1;
    o.no_admission = true; /* the Binding was asked for, not this write of the Pod */
    if (admitted != 0 || registry_update(r, &pod_binding_strategy, r->namespace, r->name, bind_transform, b, &o, &stored, &created, &err) != 0) fail(r, &err);
    else {
        struct metav1_Status ok = {.kind = "Status", .apiVersion = "v1", .status = "Success", .code = 201};
        respond_object(r, 201, &metav1_Status_desc, &ok);
    }
}

/* ---- scale ---- */

/* Where each scalable kind keeps its replicas. */
static int32_t *replicas_of(const struct strategy *st, void *obj, int32_t *status, struct selector *selector, struct arena *a) {
    struct opt_int32 *spec = NULL;
    const struct metav1_LabelSelector *ls = NULL;
    if (st->type == &appsv1_Deployment_desc) {
        struct appsv1_Deployment *d = obj;
        spec = &d->spec.replicas;
        *status = d->status.replicas;
        ls = d->spec.selector;
    } else if (st->type == &appsv1_ReplicaSet_desc) {
        struct appsv1_ReplicaSet *d = obj;
        spec = &d->spec.replicas;
        *status = d->status.replicas;
        ls = d->spec.selector;
    } else if (st->type == &appsv1_StatefulSet_desc) {
        struct appsv1_StatefulSet *d = obj;
        spec = &d->spec.replicas;
        *status = d->status.replicas;
        ls = d->spec.selector;
    } else if (st->type == &corev1_ReplicationController_desc) {
        struct corev1_ReplicationController *d = obj;
        spec = &d->spec.replicas;
        *status = d->status.replicas;
        *selector = selector_from_map(a, &d->spec.selector);
    } else return NULL;
    if (ls) label_selector_from(a, ls, selector, NULL);
    spec->has = true;
    return &spec->value;
}

static struct autoscalingv1_Scale *scale_of(struct api_request *r, void *object) {
    struct object *obj = object;
    struct autoscalingv1_Scale *s = object_new(r->arena, &autoscalingv1_Scale_desc);
    struct selector selector = {0};
    s->metadata = (struct metav1_ObjectMeta){.name = obj->metadata.name, .namespace = obj->metadata.namespace, .uid = obj->metadata.uid, .resourceVersion = obj->metadata.resourceVersion, .creationTimestamp = obj->metadata.creationTimestamp};
    s->spec.replicas = *replicas_of(r->strategy, obj, &s->status.replicas, &selector, r->arena);
    s->status.selector = selector_string(r->arena, &selector);
    return s;
}

struct scaling { struct autoscalingv1_Scale *scale; const struct patch *patch; const struct write_options *options; };

/* The scale that the request wants of this object: what it sent, or its patch of what is there. */
static struct autoscalingv1_Scale *wanted_scale(struct api_request *r, const struct scaling *s, struct object *obj, struct status *reterr) {
    struct autoscalingv1_Scale *old = scale_of(r, obj), *scale;
    const struct scale_mapping mappings[] = {{type_api_version(r->arena, r->strategy->type), "spec.replicas"}, {0}};
    old->metadata.managedFields = managed_fields_to_scale(r->arena, &obj->metadata.managedFields, mappings);
    if (s->patch) scale = patch_apply(r, s->patch, s->options, &autoscalingv1_Scale_desc, old, reterr);
    else {
        scale = object_copy(r->arena, &autoscalingv1_Scale_desc, s->scale);
        request_managed_update(r, s->options, &autoscalingv1_Scale_desc, old, scale);
    }
    if (!scale || body_check_names(r, (struct object *)scale, reterr) != 0) return NULL;
    struct field_errors errs = field_errors_in(r->arena);
    scale->metadata.namespace = obj->metadata.namespace;
    validate_object_meta(&scale->metadata, true, NULL, FIELD(NULL, "metadata"), &errs);
    if (scale->spec.replicas < 0) field_invalid_int(&errs, FIELD(FIELD(NULL, "spec"), "replicas"), scale->spec.replicas, "must be greater than or equal to 0");
    if (errs.len) {
        field_errors_status(&errs, "autoscaling", "Scale", r->name, reterr);
        return NULL;
    }
    if (!str_empty(scale->metadata.uid) && !str_eq(scale->metadata.uid, obj->metadata.uid)) {
        registry_uid_conflict(r, r->strategy, scale->metadata.uid, obj->metadata.uid, r->name, s->options, reterr);
        return NULL;
    }
    struct write_options how = *s->options;
    how.subresource = "scale";
    if (admission_run(r, &autoscalingv1_Scale_desc, ADMIT_UPDATE, scale, old, &how, reterr) != 0) return NULL;
    obj->metadata.managedFields = managed_fields_from_scale(r->arena, &obj->metadata.managedFields, &scale->metadata.managedFields, mappings[0].api_version, mappings);
    return scale;
}

static void *scale_transform(struct api_request *r, void *current, void *arg, struct status *reterr) {
    struct object *obj = current;
    int32_t status;
    struct selector selector;
    if (!obj) {
        status_not_found(reterr, r->group, r->resource, r->name);
        return NULL;
    }
    struct autoscalingv1_Scale *s = wanted_scale(r, arg, obj, reterr);
    if (!s) return NULL;
    obj->metadata.resourceVersion = s->metadata.resourceVersion;
    *replicas_of(r->strategy, obj, &status, &selector, r->arena) = s->spec.replicas;
    return obj;
}

static void handle_scale(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    void *obj;
    bool created;
    struct write_options o = {0};
    struct patch p = {0};
    struct scaling s = {.options = &o};
    int failed = negotiate(r, true, false, &err);
    if (!failed && str_eq(r->verb, "get")) failed = registry_get(r, r->strategy, r->namespace, r->name, &obj, NULL, &err);
    else if (!failed) {
        if (str_eq(r->verb, "patch")) {
            s.patch = &p;
            failed = patch_read(r, &p, &o, &err);
        } else {
            failed = read_write_options(r, &o, &err) != 0 || !(s.scale = body_decode(r, &autoscalingv1_Scale_desc, &err));
            if (!failed) failed = body_check_names(r, (struct object *)s.scale, &err);
        }
        o.subresource = NULL;
        o.no_admission = true; /* the Scale was asked for, not this write */
        if (!failed) failed = registry_update(r, r->strategy, r->namespace, r->name, scale_transform, &s, &o, &obj, &created, &err);
    }
    if (failed) fail(r, &err);
    else respond_object(r, 200, &autoscalingv1_Scale_desc, scale_of(r, obj));
}

bool handle_subresource(struct api_request *r) {
    const char *sub = str_or(r->subresource, "");
    if ((str_eq(r->resource, "pods") && str_eq(sub, "binding")) || (str_empty(r->group) && str_eq(r->resource, "bindings"))) handle_binding(r);
    else if (str_eq(r->resource, "pods") && handle_pod_subresource(r)) return true;
    else if (str_eq(sub, "scale") && r->strategy) handle_scale(r);
    else if (str_eq(r->resource, "serviceaccounts") && str_eq(sub, "token")) handle_token_request(r);
    else return handle_component_status(r) || handle_access_review(r) || handle_authentication_review(r);
    return true;
}
