/* Namespaces. Upstream: ValidateNamespace and its siblings in pkg/apis/core/validation. Tests: tests/unit/test_validation_core.c. */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"

/* Standard, or qualified by somebody's domain. */
static void finalizer(const char *name, const struct field_path *at, struct field_errors *errs) {
    static const char *const standard[] = {"kubernetes", "orphan", "foregroundDeletion", NULL};
    struct string_list msgs = {0};
    name_qualified(errs->arena, str_or(name, ""), &msgs);
    field_invalid_each(errs, at, name, &msgs);
    if (!strchr(str_or(name, ""), '/') && !str_in(name, standard)) field_invalid(errs, at, name, "name is neither a standard finalizer name nor is it fully qualified");
}

void validate_namespace(const void *obj, struct field_errors *errs) {
    const struct string_list *list = &((const struct corev1_Namespace *)obj)->spec.finalizers;
    for (size_t i = 0; i < list->len; i++) finalizer(list->items[i], FIELD(FIELD(NULL, "spec"), "finalizers"), errs);
}

void validate_namespace_update(const void *obj, const void *old UNUSED, struct field_errors *errs) { validate_namespace(obj, errs); }

void validate_namespace_status_update(const void *obj, const void *old UNUSED, struct field_errors *errs) {
    const struct corev1_Namespace *ns = obj;
    const struct field_path *at = FIELD(FIELD(NULL, "status"), "Phase");
    bool ends = ns->metadata.deletionTimestamp.set;
    if (str_eq(ns->status.phase, ends ? "Terminating" : "Active")) return;
    if (ends) field_invalid(errs, at, ns->status.phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
    else field_invalid(errs, at, ns->status.phase, "may only be 'Active' if `deletionTimestamp` is empty");
}

void validate_namespace_finalize_update(const void *obj, const void *old UNUSED, struct field_errors *errs) {
    const struct string_list *list = &((const struct corev1_Namespace *)obj)->spec.finalizers;
    for (size_t i = 0; i < list->len; i++) finalizer(list->items[i], FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "finalizers"), i), errs);
}
