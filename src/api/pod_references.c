#include "api/pod_references.h"
#include <string.h>
#include "base/str.h"

static const char *string_field(const struct type_desc *type, const void *obj, const char *name) {
    const struct field_desc *f = type_field(type, name, strlen(name));
    if (!f || f->kind != FK_STRING || (f->shape != SHAPE_PLAIN && f->shape != SHAPE_POINTER)) return NULL;
    return *(const char *const *)((const char *)obj + f->offset);
}

/* A structure that stands in a field of that name names an object. */
static bool names_object(const char *field, enum reference_kind *ret) {
    static const char *const secrets[] = {"secretRef", "secretKeyRef", "secret", "imagePullSecrets", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef", NULL};
    static const char *const configmaps[] = {"configMap", "configMapRef", "configMapKeyRef", NULL};
    if (str_in(field, secrets)) *ret = REFERENCE_SECRET;
    else if (str_in(field, configmaps)) *ret = REFERENCE_CONFIGMAP;
    else return false;
    return true;
}

static void visit_struct(const struct field_desc *f, const void *value, reference_fn fn, void *arg) {
    enum reference_kind kind = REFERENCE_SECRET;
    const char *name = names_object(f->name, &kind) ? string_field(f->type, value, "name") : NULL;
    if (!str_empty(name)) fn(arg, kind, string_field(f->type, value, "namespace"), name);
    references_visit(f->type, value, fn, arg);
}

static void visit_field(const struct type_desc *type, const struct field_desc *f, const void *obj, reference_fn fn, void *arg) {
    const char *at = (const char *)obj + f->offset;
    if (f->kind == FK_STRING && strcmp(f->name, "secretName") == 0) {
        const char *name = *(const char *const *)at;
        if (!str_empty(name)) fn(arg, REFERENCE_SECRET, string_field(type, obj, "secretNamespace"), name);
    }
    if (f->kind != FK_STRUCT) return;
    if (f->shape == SHAPE_PLAIN) visit_struct(f, at, fn, arg);
    else if (f->shape == SHAPE_POINTER) {
        const void *value = *(const void *const *)at;
        if (value) visit_struct(f, value, fn, arg);
    } else if (f->shape == SHAPE_LIST) {
        const struct any_list *list = (const void *)at;
        for (size_t i = 0; i < list->len; i++) visit_struct(f, (const char *)list->items + i * f->item_size, fn, arg);
    }
}

void references_visit(const struct type_desc *type, const void *obj, reference_fn fn, void *arg) {
    for (size_t i = 0; i < type->fields_len; i++) visit_field(type, &type->fields[i], obj, fn, arg);
}
