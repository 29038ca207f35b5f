#include "api/cel/device.h"
#include "api/cel/cost.h"
#include "api/cel/internal.h"
#include <string.h>
#include "api/quantity.h"
#include "base/str.h"

/* attributes and capacity: by domain, then by name. An attribute is a bool, an int, a string or a version. */
static const struct cel_type quantity = {.kind = CEL_QUANTITY}, attributes = {.kind = CEL_MAP, .key = &cel_string, .elem = &cel_dyn}, capacities = {.kind = CEL_MAP, .key = &cel_string, .elem = &quantity},
    attributes_by_domain = {.kind = CEL_MAP, .key = &cel_string, .elem = &attributes}, capacities_by_domain = {.kind = CEL_MAP, .key = &cel_string, .elem = &capacities};
static const struct cel_variable fields[] = {{"driver", &cel_string}, {"allowMultipleAllocations", &cel_bool}, {"attributes", &attributes_by_domain}, {"capacity", &capacities_by_domain}, {NULL, NULL}};
static const struct cel_type device = {.kind = CEL_OBJECT, .name = "kubernetes.DRADevice", .fields = fields};
static const struct cel_variable variables[] = {{"device", &device}, {NULL, NULL}};
static const struct cel_env env = {.variables = variables, .bindings = true};

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

struct cel_program *cel_device_compile(struct arena *a, const char *text, const char **ret_error) { return cel_compile(a, &env, text, CEL_DYN, ret_error); }

/* A map that answers what it has not got with an empty map, as upstream's do for domains: then the error is about the name. */
static struct cel_value map_new_value(struct arena *a, bool of_domains) {
    struct cel_map *m = ARENA_NEW(a, struct cel_map);
    if (of_domains) {
        struct cel_value none = map_new_value(a, false);
        m->missing = arena_memdup(a, &none, sizeof(none));
    }
    return (struct cel_value){.kind = CEL_MAP, .map = m};
}

static void map_add(struct arena *a, const struct cel_value *map, const char *key, struct cel_value v) {
    struct cel_value k = cel_string_value(a, key);
    *LIST_PUSH(a, map->map) = (struct cel_entry){arena_memdup(a, &k, sizeof(k)), arena_memdup(a, &v, sizeof(v))};
}

/* "DOMAIN/NAME", or a name of the driver's own. */
static void domain_add(struct arena *a, const struct cel_value *domains, const char *driver, const char *name, struct cel_value v) {
    const char *slash = strchr(name, '/');
    const char *domain = slash ? arena_strndup(a, name, (size_t)(slash - name)) : driver;
    LIST_FOREACH(e, domains->map)
        if (strcmp(e->key->str.s, domain) == 0) {
            map_add(a, e->value, slash ? slash + 1 : name, v);
            return;
        }
    struct cel_value inner = map_new_value(a, false);
    map_add(a, &inner, slash ? slash + 1 : name, v);
    map_add(a, domains, domain, inner);
}

static struct cel_value attribute_value(struct arena *a, const struct resourcev1_DeviceAttribute *x) {
    if (x->int_.has) return (struct cel_value){.kind = CEL_INT, .i = x->int_.value};
    if (x->bool_.has) return (struct cel_value){.kind = CEL_BOOL, .b = x->bool_.value};
    if (x->string) return cel_string_value(a, x->string);
    struct cel_value v = cel_string_value(a, x->version);
    v.kind = CEL_SEMVER;
    return v;
}

int cel_device_matches(struct arena *a, const struct cel_program *p, const char *driver, const struct resourcev1_Device *d, const char **ret_error) {
    struct cel_value object = map_new_value(a, false), attrs = map_new_value(a, true), capacity = map_new_value(a, true);
    object.name = device.name;
    LIST_FOREACH(e, &d->attributes) {
        if (!e->value.int_.has && !e->value.bool_.has && !e->value.string && !e->value.version) {
            *ret_error = arena_printf(a, "attribute %s: unsupported attribute value", e->key);
            return -1;
        }
        domain_add(a, &attrs, driver, e->key, attribute_value(a, &e->value));
    }
    LIST_FOREACH(e, &d->capacity) {
        struct quantity q = quantity_of(e->value.value);
        domain_add(a, &capacity, driver, e->key, (struct cel_value){.kind = CEL_QUANTITY, .quantity = arena_memdup(a, &q, sizeof(q))});
    }
    map_add(a, &object, "driver", cel_string_value(a, driver));
    map_add(a, &object, "allowMultipleAllocations", (struct cel_value){.kind = CEL_BOOL, .b = d->allowMultipleAllocations.has && d->allowMultipleAllocations.value});
    map_add(a, &object, "attributes", attrs);
    map_add(a, &object, "capacity", capacity);
    uint64_t cost = 0;
    struct cel_binding bindings[] = {{"device", object}, {0}};
    struct cel_value v = cel_eval(a, p, &(struct cel_activation){.bindings = bindings}, CEL_COST_PER_CALL, &cost);
    if (v.kind == CEL_BOOL) return v.b;
    if (v.kind == CEL_ERROR) *ret_error = arena_strndup(a, v.str.s, v.str.len);
    else *ret_error = arena_printf(a, "CEL result of type %s could not be converted to bool: type conversion error from '%s' to 'bool'", cel_value_type(&v), cel_value_type(&v));
    return -1;
}
