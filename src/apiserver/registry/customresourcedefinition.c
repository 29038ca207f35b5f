/* The strategy of CustomResourceDefinitions. Upstream: apiextensions-apiserver pkg/registry/customresourcedefinition. */
#include <string.h>
#include "api/time.h"
#include "api/validation/crd.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/env.h"
#include "base/str.h"

#define CLEANUP_FINALIZER "customresourcecleanup.apiextensions.k8s.io"

/* Every version that ever was the stored one stays in the list until somebody takes it out. */
static void note_storage_version(struct arena *a, struct apiextensionsv1_CustomResourceDefinition *crd) {
    LIST_FOREACH(v, &crd->spec.versions) {
        if (!v->storage) continue;
        if (!string_list_has(&crd->status.storedVersions, v->name)) string_list_push(a, &crd->status.storedVersions, v->name);
        return;
    }
}

static void prepare_create(struct api_request *r, void *obj) {
    struct apiextensionsv1_CustomResourceDefinition *crd = obj;
    memset(&crd->status, 0, sizeof(crd->status));
    note_storage_version(r->arena, crd);
}

static void prepare_update(struct api_request *r, void *obj, const void *old) {
    struct apiextensionsv1_CustomResourceDefinition *crd = obj, *copy = object_copy(r->arena, &apiextensionsv1_CustomResourceDefinition_desc, old);
    crd->status = copy->status;
    note_storage_version(r->arena, crd);
}

static void prepare_status_update(struct api_request *r, void *obj, const void *old) {
    struct apiextensionsv1_CustomResourceDefinition *crd = obj, *copy = object_copy(r->arena, &apiextensionsv1_CustomResourceDefinition_desc, old);
    crd->spec = copy->spec; /* and the metadata is the client's: upstream resets it to itself */
}

static void begin_delete(struct api_request *r, void *obj) {
    struct apiextensionsv1_CustomResourceDefinition *crd = obj;
    struct api_time now = time_from_s(env_now_s(apiserver_env(r->server)));
    crd->metadata.deletionTimestamp = now;
    if (!string_list_has(&crd->metadata.finalizers, CLEANUP_FINALIZER)) string_list_push(r->arena, &crd->metadata.finalizers, CLEANUP_FINALIZER);
    struct apiextensionsv1_CustomResourceDefinitionCondition *c = NULL;
    LIST_FOREACH(i, &crd->status.conditions)
        if (str_eq(i->type, "Terminating")) c = i;
    if (!c) c = LIST_PUSH(r->arena, &crd->status.conditions);
    *c = (struct apiextensionsv1_CustomResourceDefinitionCondition){.type = "Terminating", .status = "True", .lastTransitionTime = now, .reason = "InstanceDeletionPending",
        .message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"};
}

/* ---- warnings ---- */

struct warner { struct arena *a; struct string_list *list; };

static void warn(struct warner *w, const char *text) {
    if (!string_list_has(w->list, text)) string_list_push(w->a, w->list, text);
}

static void warn_of_schema(void *arg, const struct structural *s) {
    struct warner *w = arg;
    if (!str_empty(s->props->format) && !s->format) warn(w, arena_printf(w->a, "unrecognized format \"%s\"", s->props->format));
    if (s->list_type == LIST_SET && s->items && (str_eq(s->items->props->type, "object") || str_eq(s->items->props->type, "array")))
        warn(w, arena_printf(w->a, "x-kubernetes-list-type: set for items of type \"%s\" is not supported by server-side apply or CEL validation rules", s->items->props->type));
}

static void gather_warnings(struct arena *a, const struct apiextensionsv1_CustomResourceDefinition *crd, struct string_list *list) {
    struct warner w = {a, list};
    LIST_FOREACH(v, &crd->spec.versions) {
        struct structural *s;
        if (v->schema && v->schema->openAPIV3Schema && structural_new(a, v->schema->openAPIV3Schema, &s, NULL) == 0) structural_walk(s, warn_of_schema, &w);
    }
}

static void warnings(struct api_request *r, const void *obj, const void *old) {
    struct string_list now = {0}, before = {0};
    gather_warnings(r->arena, obj, &now);
    if (old) gather_warnings(r->arena, old, &before);
    for (size_t i = 0; i < now.len; i++)
        if (!string_list_has(&before, now.items[i])) request_warn(r, "%s", now.items[i]);
}

const struct strategy customresourcedefinition_strategy = {.group = "apiextensions.k8s.io", .version = "v1", .resource = "customresourcedefinitions", .type = &apiextensionsv1_CustomResourceDefinition_desc,
    .storage_prefix = "/registry/apiextensions.k8s.io/customresourcedefinitions", .flags = HAS_GENERATION | NO_UNCONDITIONAL_UPDATE | META_GENERIC, .prepare_create = prepare_create, .prepare_update = prepare_update,
    .prepare_status_update = prepare_status_update, .validate = validate_custom_resource_definition, .validate_update = validate_custom_resource_definition_update,
    .validate_status_update = validate_custom_resource_definition_status_update, .warnings = warnings, .begin_delete = begin_delete};
