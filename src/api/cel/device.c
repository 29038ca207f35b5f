#include "api/cel/device.h"
#include "api/cel/internal.h"

/* attributes and capacity: by domain, then by name. An attribute is a bool, an int, a string or a version. */
static const struct cel_type quantity = {.kind = CEL_QUANTITY}, attributes = {.kind = CEL_MAP, .key = &cel_string, .elem = &cel_dyn}, capacities = {.kind = CEL_MAP, .key = &cel_string, .elem = &quantity},
    attributes_by_domain = {.kind = CEL_MAP, .key = &cel_string, .elem = &attributes}, capacities_by_domain = {.kind = CEL_MAP, .key = &cel_string, .elem = &capacities};
static const struct cel_variable fields[] = {{"driver", &cel_string}, {"allowMultipleAllocations", &cel_bool}, {"attributes", &attributes_by_domain}, {"capacity", &capacities_by_domain}, {NULL, NULL}};
static const struct cel_type device = {.kind = CEL_OBJECT, .name = "kubernetes.DRADevice", .fields = fields};
static const struct cel_variable variables[] = {{"device", &device}, {NULL, NULL}};
static const struct cel_env env = {.variables = variables};

void cel_check_device_selector(const char *text, const struct field_path *at, struct field_errors *errs) {
    const char *why = NULL;
    const struct cel_program *p = cel_compile(errs->arena, &env, text, CEL_DYN, &why);
    if (!p) {
        field_invalid(errs, at, text, "compilation failed: %s", why);
        return;
    }
    const struct cel_type *type = cel_program_type(p);
    if (type->kind != CEL_BOOL && type->kind != CEL_DYN) field_invalid(errs, at, text, "must evaluate to bool or the unknown type, not %s", cel_type_text(errs->arena, type));
}
