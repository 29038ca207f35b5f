/* The scale subresource of custom objects. Upstream: apiextensions-apiserver pkg/registry/customresource/etcd.go. */
#include <string.h>
#include "apiserver/admission.h"
#include "apiserver/custom_resources.h"
#include "apiserver/handlers.h"
#include "base/str.h"
#include "wire/json.h"

static int64_t number_at(yyjson_val *doc, const char *path) {
    yyjson_val *v = json_at(doc, path);
    return yyjson_is_int(v) ? yyjson_get_sint(v) : 0;
}

/* -1: the object says nothing of its replicas. */
static int scale_of(struct api_request *r, const struct custom_object *obj, struct autoscalingv1_Scale **ret, struct status *reterr) {
    const struct apiextensionsv1_CustomResourceSubresourceScale *paths = obj->type->scale;
    yyjson_val *doc = custom_object_document(r->arena, obj);
    struct autoscalingv1_Scale *s = object_new(r->arena, &autoscalingv1_Scale_desc);
    s->metadata = (struct metav1_ObjectMeta){.name = obj->metadata.name, .namespace = obj->metadata.namespace, .uid = obj->metadata.uid, .resourceVersion = obj->metadata.resourceVersion,
                                             .creationTimestamp = obj->metadata.creationTimestamp};
    s->spec.replicas = (int32_t)number_at(doc, paths->specReplicasPath);
    s->status.replicas = (int32_t)number_at(doc, paths->statusReplicasPath);
    yyjson_val *selector = str_empty(paths->labelSelectorPath) ? NULL : json_at(doc, paths->labelSelectorPath);
    if (yyjson_is_str(selector)) s->status.selector = arena_strdup(r->arena, yyjson_get_str(selector));
    *ret = s;
    if (reterr && !json_at(doc, paths->specReplicasPath)) return status_internal(reterr, "the spec replicas field \"%s\" does not exist", paths->specReplicasPath);
    return 0;
}

/* Sets the number at a path of names, making the objects on the way. */
static void set_number(struct arena *a, struct custom_object *obj, const char *path, int64_t n) {
    yyjson_mut_doc *doc = json_mut_new(a, custom_object_body(a, obj));
    yyjson_mut_val *at = yyjson_mut_doc_get_root(doc);
    if (*path == '.') path++;
    for (;;) {
        size_t len = strcspn(path, ".");
        yyjson_mut_val *key = yyjson_mut_strncpy(doc, path, len);
        if (!path[len]) {
            yyjson_mut_obj_put(at, key, yyjson_mut_sint(doc, n));
            break;
        }
        yyjson_mut_val *next = yyjson_mut_obj_getn(at, path, len);
        if (!yyjson_mut_is_obj(next)) {
            next = yyjson_mut_obj(doc);
            yyjson_mut_obj_put(at, key, next);
        }
        at = next;
        path += len + 1;
    }
    custom_object_set_body(a, obj, yyjson_mut_doc_get_root(doc));
}

struct scaling { const struct patch *patch; const struct write_options *options; struct autoscalingv1_Scale *body; };

static void *transform(struct api_request *r, void *current, void *arg, struct status *reterr) {
    struct custom_object *obj = current;
    struct scaling *s = arg;
    struct autoscalingv1_Scale *scale = s->body;
    if (!obj) {
        status_not_found(reterr, r->group, r->resource, r->name);
        return NULL;
    }
    if (s->patch) {
        struct autoscalingv1_Scale *now;
        scale_of(r, obj, &now, NULL);
        scale = patch_apply(r, s->patch, s->options, &autoscalingv1_Scale_desc, now, reterr);
        if (!scale) return NULL;
    }
    struct write_options how = *s->options;
    struct autoscalingv1_Scale *old = NULL;
    how.subresource = "scale";
    if (scale_of(r, obj, &old, reterr) != 0 || admission_run(r, &autoscalingv1_Scale_desc, ADMIT_UPDATE, scale, old, &how, reterr) != 0) return NULL;
    set_number(r->arena, obj, obj->type->scale->specReplicasPath, scale->spec.replicas);
    if (s->body && !str_empty(scale->metadata.resourceVersion)) obj->metadata.resourceVersion = scale->metadata.resourceVersion;
    return obj;
}

void handle_custom_scale(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct write_options o;
    struct patch p = {0};
    struct scaling s = {0};
    struct autoscalingv1_Scale *scale;
    void *obj;
    bool created;
    const char *namespace = r->rd->namespaced ? r->namespace : NULL;
    int failed = negotiate(r, true, false, &err) != 0;
    if (!failed && str_eq(r->verb, "get")) failed = registry_get(r, r->strategy, namespace, r->name, &obj, NULL, &err) != 0 || scale_of(r, obj, &scale, &err) != 0;
    else if (!failed) {
        s.options = &o;
        if (str_eq(r->verb, "patch")) {
            failed = patch_read(r, &p, &o, &err) != 0;
            o.force_allow_create = false;
            s.patch = &p;
        } else {
            failed = read_write_options(r, &o, &err) != 0;
            if (!failed) s.body = body_decode(r, &autoscalingv1_Scale_desc, &err);
            failed = failed || !s.body || body_check_names(r, (struct object *)s.body, &err) != 0;
        }
        o.subresource = NULL;
        o.no_admission = true;
        if (!failed) failed = registry_update(r, r->strategy, namespace, r->name, transform, &s, &o, &obj, &created, &err) != 0 || scale_of(r, obj, &scale, &err) != 0;
    }
    if (failed) respond_status(r, &err);
    else respond_object(r, 200, &autoscalingv1_Scale_desc, scale);
}
