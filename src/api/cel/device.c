#include "api/cel/device.h"
#include "api/cel/cost.h"
#include "api/cel/internal.h"

/* attributes and capacity: by domain, then by name. An attribute is a bool, an int, a string or a version. */
static const struct cel_type quantity = {.kind = CEL_QUANTITY}, attributes = {.kind = CEL_MAP, .key = &cel_string, .elem = &cel_dyn}, capacities = {.kind = CEL_MAP, .key = &cel_string, .elem = &quantity},
    attributes_by_domain = {.kind = CEL_MAP, .key = &cel_string, .elem = &attributes}, capacities_by_domain = {.kind = CEL_MAP, .key = &cel_string, .elem = &capacities};
static const struct cel_variable fields[] = {{"driver", &cel_string}, {"allowMultipleAllocations", &cel_bool}, {"attributes", &attributes_by_domain}, {"capacity", &capacities_by_domain}, {NULL, NULL}};
static const struct cel_type device = {.kind = CEL_OBJECT, .name = "kubernetes.DRADevice", .fields = fields};
static const struct cel_variable variables[] = {{"device", &device}, {NULL, NULL}};
static const struct cel_env env = {.variables = variables};

/* How long and how many these may be at most. */
enum { DRIVER_LEN_MAX = 63, DOMAIN_LEN_MAX = 63, NAME_LEN_MAX = 32, VALUE_LEN_MAX = 64, ATTRIBUTES_MAX = 32 };
static const struct cel_bounds driver_bounds = {.max = DRIVER_LEN_MAX}, flag_bounds = {.max = 1}, domain_bounds = {.max = DOMAIN_LEN_MAX}, name_bounds = {.max = NAME_LEN_MAX}, value_bounds = {.max = VALUE_LEN_MAX}, quantity_bounds = {0},
    attributes_bounds = {.max = ATTRIBUTES_MAX, .key = &name_bounds, .elem = &value_bounds, .elem_by_name = true}, capacities_bounds = {.max = ATTRIBUTES_MAX, .key = &name_bounds, .elem = &quantity_bounds},
    attributes_by_domain_bounds = {.max = ATTRIBUTES_MAX, .key = &domain_bounds, .elem = &attributes_bounds}, capacities_by_domain_bounds = {.max = ATTRIBUTES_MAX, .key = &domain_bounds, .elem = &capacities_bounds};
static const struct cel_bounds_field bounds_fields[] = {{"driver", &driver_bounds}, {"allowMultipleAllocations", &flag_bounds}, {"attributes", &attributes_by_domain_bounds}, {"capacity", &capacities_by_domain_bounds}, {NULL, NULL}};
static const struct cel_bounds device_bounds = {.fields = bounds_fields};

void cel_check_device_selector(const char *text, const struct field_path *at, struct field_errors *errs) {
    const char *why = NULL;
    const struct cel_program *p = cel_compile(errs->arena, &env, text, CEL_DYN, &why);
    if (!p) {
        field_invalid(errs, at, text, "compilation failed: %s", why);
        return;
    }
    const struct cel_type *type = cel_program_type(p);
    if (type->kind == CEL_BOOL || type->kind == CEL_DYN) {
        if (cel_max_cost(errs->arena, p, &device_bounds, "device") > CEL_COST_PER_CALL) field_forbidden(errs, at, "too complex, exceeds cost limit");
    } else field_invalid(errs, at, text, "must evaluate to bool or the unknown type, not %s", cel_type_text(errs->arena, type));
}
