/* The strategy of custom objects. Upstream: apiextensions-apiserver pkg/registry/customresource. */
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "apiserver/custom_resources.h"
#include "base/str.h"
#include "wire/json.h"

/* ---- bodies without one member, or with it from elsewhere ---- */

static void set_status(struct arena *a, struct custom_object *obj, yyjson_val *status) {
    yyjson_mut_doc *doc = json_mut_new(a, custom_object_body(a, obj));
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    yyjson_mut_obj_remove_key(root, "status");
    if (status) yyjson_mut_obj_add(root, yyjson_mut_str(doc, "status"), yyjson_val_mut_copy(doc, status));
    custom_object_set_body(a, obj, root);
}

static void prepare_create(struct api_request *r, void *object) {
    struct custom_object *obj = object;
    if (obj->type->has_status) set_status(r->arena, obj, NULL);
    obj->metadata.generation = 1;
}

static void prepare_update(struct api_request *r, void *object, const void *old_object) {
    struct custom_object *obj = object;
    const struct custom_object *old = old_object;
    if (obj->type->has_status) set_status(r->arena, obj, yyjson_obj_get(custom_object_body(r->arena, old), "status"));
    bool same = obj->body.len == old->body.len && memcmp(obj->body.data, old->body.data, obj->body.len) == 0;
    if (!same) obj->metadata.generation = old->metadata.generation + 1;
}

/* Only the status is the client's; the rest is as it was. */
static void prepare_status_update(struct api_request *r, void *object, const void *old_object) {
    struct custom_object *obj = object;
    yyjson_val *status = yyjson_obj_get(custom_object_body(r->arena, obj), "status");
    struct metav1_ManagedFieldsEntry_list managed = obj->metadata.managedFields;
    object_copy_into(r->arena, &obj->type->desc, obj, old_object);
    obj->metadata.managedFields = managed;
    set_status(r->arena, obj, status);
}

/* ---- validation ---- */

static const char *go_type_of(yyjson_val *v) {
    if (yyjson_is_str(v)) return "string";
    if (yyjson_is_bool(v)) return "bool";
    if (yyjson_is_num(v)) return yyjson_is_int(v) ? "int64" : "float64";
    return yyjson_is_arr(v) ? "[]interface {}" : "map[string]interface {}";
}

/* What is at ".spec.size"; NULL when there is nothing, or something on the way is no object, of which *ret_error tells. */
static yyjson_val *nested(struct arena *a, yyjson_val *doc, const char *path, const char **ret_error) {
    const char *p = path + (*path == '.');
    while (doc && !yyjson_is_null(doc)) {
        size_t len = strcspn(p, ".");
        if (!yyjson_is_obj(doc)) {
            *ret_error = arena_printf(a, "%.*s accessor error: %s is of the type %s, expected map[string]interface{}", (int)(p + len - path), path, yyjson_is_str(doc) ? yyjson_get_str(doc) : json_text(a, doc), go_type_of(doc));
            return NULL;
        }
        doc = yyjson_obj_getn(doc, p, len);
        if (!p[len]) return doc;
        p += len + 1;
    }
    return NULL;
}

static const char *not_of_type(struct arena *a, const char *path, yyjson_val *v, const char *want) {
    return arena_printf(a, "%s accessor error: %s is of the type %s, expected %s", path, yyjson_is_null(v) ? "<nil>" : yyjson_is_str(v) ? yyjson_get_str(v) : json_text(a, v), yyjson_is_null(v) ? "<nil>" : go_type_of(v), want);
}

static void scale_number(const char *path, yyjson_val *doc, struct field_errors *errs) {
    const char *why = NULL;
    yyjson_val *v = nested(errs->arena, doc, path, &why);
    const struct field_path *at = FIELD(NULL, path);
    if (v && !yyjson_is_int(v)) why = not_of_type(errs->arena, path, v, "int64");
    if (why) field_invalid_int(errs, at, 0, "%s", why);
    if (why || !v) return;
    if (yyjson_get_sint(v) < 0) field_invalid_int(errs, at, yyjson_get_sint(v), "should be a non-negative integer");
    else if (yyjson_get_sint(v) > INT32_MAX) field_invalid_int(errs, at, yyjson_get_sint(v), "should be less than or equal to %d", INT32_MAX);
}

static void check_scale(const struct custom_type *t, yyjson_val *doc, bool spec, struct field_errors *errs) {
    if (!t->scale) return;
    if (spec) scale_number(t->scale->specReplicasPath, doc, errs);
    scale_number(t->scale->statusReplicasPath, doc, errs);
    if (str_empty(t->scale->labelSelectorPath)) return;
    const char *path = t->scale->labelSelectorPath, *why = NULL;
    yyjson_val *v = nested(errs->arena, doc, path, &why);
    if (v && !yyjson_is_str(v)) why = not_of_type(errs->arena, path, v, "string");
    if (why) field_invalid(errs, FIELD(NULL, path), "", "%s", why);
}

/* Rules are not run over objects whose shape is wrong. */
static bool blocking(const struct field_errors *errs) {
    static const char *const types[] = {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid", NULL};
    for (size_t i = 0; i < errs->len; i++)
        if (str_in(errs->items[i].type, types)) return true;
    return false;
}

static void check_rules(const struct custom_type *t, yyjson_val *doc, yyjson_val *old, struct field_errors *errs) {
    if (!t->schema || !t->schema->has_rules) return;
    if (blocking(errs)) field_invalid_raw(errs, FIELD(NULL, "<nil>"), "null", "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation");
    else structural_validate_rules(t->schema, doc, old, NULL, errs, NULL);
}

static void validate(const void *object, struct field_errors *errs) {
    const struct custom_object *obj = object;
    yyjson_val *doc = custom_object_document(errs->arena, obj);
    structural_validate(obj->type->schema, doc, NULL, NULL, errs);
    check_scale(obj->type, doc, true, errs);
    structural_validate_embedded(obj->type->schema, doc, false, NULL, errs);
    structural_validate_lists(obj->type->schema, doc, NULL, errs);
    check_rules(obj->type, doc, NULL, errs);
}

static void validate_update(const void *object, const void *old_object, struct field_errors *errs) {
    const struct custom_object *obj = object;
    yyjson_val *doc = custom_object_document(errs->arena, obj), *old = custom_object_document(errs->arena, old_object);
    struct field_errors before = field_errors_in(errs->arena);
    structural_validate(obj->type->schema, doc, old, NULL, errs);
    check_scale(obj->type, doc, true, errs);
    structural_validate_embedded(obj->type->schema, doc, false, NULL, errs);
    structural_validate_lists(obj->type->schema, old, NULL, &before);
    if (!before.len) structural_validate_lists(obj->type->schema, doc, NULL, errs);
    check_rules(obj->type, doc, old, errs);
}

static void validate_status_update(const void *object, const void *old_object, struct field_errors *errs) {
    const struct custom_object *obj = object;
    yyjson_val *doc = custom_object_document(errs->arena, obj), *old = custom_object_document(errs->arena, old_object), *status = yyjson_obj_get(doc, "status");
    struct field_errors before = field_errors_in(errs->arena);
    const struct structural *schema = structural_property(obj->type->schema, "status");
    if (status && schema) structural_validate(schema, status, yyjson_obj_get(old, "status"), FIELD(NULL, "status"), errs);
    check_scale(obj->type, doc, false, errs);
    structural_validate_lists(obj->type->schema, old, NULL, &before);
    if (!before.len) structural_validate_lists(obj->type->schema, doc, NULL, errs);
    check_rules(obj->type, doc, old, errs);
}

/* ---- warnings and fields ---- */

static void warn_of_finalizer(struct api_request *r, const char *name) {
    static const char *const standard[] = {"orphan", "foregroundDeletion", "kubernetes", NULL};
    struct string_list msgs = {0};
    name_qualified(r->arena, name, &msgs);
    for (size_t i = 0; i < msgs.len; i++) request_warn(r, "metadata.finalizers: %s: %s", go_quote(r->arena, name), msgs.items[i]);
    if (strchr(name, '/') || str_in(name, standard)) return;
    request_warn(r, "metadata.finalizers: %s: prefer a domain-qualified finalizer name %sto avoid accidental conflicts with other finalizer writers", go_quote(r->arena, name), strchr(name, '.') ? "including a path (/) " : "");
}

static int compare_strings(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Rules that are not met, and were not before, by what has not changed: told, but no reason to refuse. */
static void warn_of_rules(struct api_request *r, const void *object, const void *old_object) {
    const struct custom_object *obj = object;
    struct field_errors ignored = field_errors_in(r->arena), passed = field_errors_in(r->arena);
    if (!old_object || !obj->type->schema || !obj->type->schema->has_rules) return;
    structural_validate_rules(obj->type->schema, custom_object_document(r->arena, obj), custom_object_document(r->arena, old_object), NULL, &ignored, &passed);
    for (size_t i = 0; i < passed.len; i++) request_warn(r, "%s: %s", passed.items[i].field, passed.items[i].detail);
}

static void warnings(struct api_request *r, const void *object, const void *old_object) {
    const struct custom_object *obj = object, *old = old_object;
    struct string_list added = {0};
    for (size_t i = 0; i < obj->metadata.finalizers.len; i++) {
        const char *f = obj->metadata.finalizers.items[i];
        if (!(old && string_list_has(&old->metadata.finalizers, f)) && !string_list_has(&added, f)) string_list_push(r->arena, &added, f);
    }
    if (added.len) qsort(added.items, added.len, sizeof(char *), compare_strings);
    for (size_t i = 0; i < added.len; i++) warn_of_finalizer(r, added.items[i]);
    warn_of_rules(r, object, old_object);
}

static const char *field(struct arena *a, const void *object, const char *name) {
    yyjson_val *v = json_at(custom_object_body(a, object), name);
    if (!v || yyjson_is_null(v)) return "";
    return yyjson_is_str(v) ? arena_strdup(a, yyjson_get_str(v)) : json_text(a, v);
}

void custom_strategy_init(struct custom_version *v, const struct apiextensionsv1_CustomResourceDefinition *crd, struct arena *a) {
    v->strategy = (struct strategy){.group = crd->spec.group, .version = v->name, .resource = crd->spec.names.plural, .type = &v->type.desc, .flags = NO_UNCONDITIONAL_UPDATE,
                                    .storage_prefix = arena_printf(a, "/registry/%s/%s", crd->spec.group, crd->spec.names.plural), .prepare_create = prepare_create, .prepare_update = prepare_update, .validate = validate,
                                    .validate_update = validate_update, .prepare_status_update = prepare_status_update, .validate_status_update = validate_status_update, .warnings = warnings, .status_warnings = warn_of_rules,
                                    .selectable_fields = v->type.selectable.items, .field = field};
    v->status_strategy = v->strategy;
}
