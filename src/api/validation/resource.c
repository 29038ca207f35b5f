/* resource.k8s.io (dynamic resource allocation) but for the compiling of expressions. Upstream: pkg/apis/resource/validation. */
#include <string.h>
#include <yyjson.h>
#include "api/cel/device.h"
#include "api/quantity.h"
#include "api/validation/groups.h"
#include "api/validation/pod_scheduling.h"
#include "wire/json.h"

enum { REQUESTS_MAX = 32, CONSTRAINTS_MAX = 32, CONFIG_MAX = 32, SELECTORS_MAX = 32, ALTERNATIVES_MAX = 8, RESULTS_MAX = 32, RESERVED_MAX = 256, DEVICES_MAX = 128, DEVICES_ADVANCED_MAX = 64,
       COUNTER_SETS_MAX = 8, COUNTERS_MAX = 32, ATTRIBUTES_MAX = 32, ATTRIBUTE_BYTES_MAX = 64, TAINTS_MAX = 16, CONSUMPTIONS_MAX = 2, ID_BYTES_MAX = 32, POOL_BYTES_MAX = 253, PARAMETERS_BYTES_MAX = 10 << 10,
       EXPRESSION_BYTES_MAX = 10 << 10, CONDITIONS_MAX = 8, IPS_MAX = 16, BINDING_CONDITIONS_MAX = 4, ATTRIBUTE_VALUES_MAX = 48, KEY_BYTES_SHOWN = 96, OPTIONS_MAX = 10 };

static bool too_many(struct field_errors *errs, const struct field_path *at, size_t len, size_t max) {
    if (len > max) field_too_many(errs, at, (int64_t)len, (int64_t)max);
    return len > max;
}

static void duplicates(struct field_errors *errs, const struct field_path *all, struct string_list *keys) {
    for (size_t i = 0; i < keys->len; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(keys->items[i], keys->items[j])) {
                field_duplicate(errs, FIELD_INDEX(all, i), keys->items[i]);
                break;
            }
}

static void pool_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(name)) {
        field_required(errs, at, "%s", "");
        return;
    }
    if (strlen(name) > POOL_BYTES_MAX) field_too_long(errs, at, POOL_BYTES_MAX);
    for (const char *p = name;;) {
        size_t len = strcspn(p, "/");
        const char *part = arena_strndup(errs->arena, p, len);
        CHECK_NAME(errs, at, part, name_dns1123_subdomain);
        if (!p[len]) break;
        p += len + 1;
    }
}

static void c_identifier(const char *id, const struct field_path *at, struct field_errors *errs) {
    if (strlen(id) > ID_BYTES_MAX) field_too_long(errs, at, ID_BYTES_MAX);
    CHECK_NAME(errs, at, id, name_c_identifier);
}

static void qualified_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    const char *slash = strchr(name, '/');
    if (!slash) {
        c_identifier(name, at, errs);
        return;
    }
    if (strchr(slash + 1, '/')) return; /* upstream does not look at what has more than one slash */
    if (slash == name) field_invalid(errs, at, "", "the domain must not be empty");
    else check_driver_name(errs, at, arena_strndup(errs->arena, name, (size_t)(slash - name)));
    if (!slash[1]) field_invalid(errs, at, "", "the name must not be empty");
    else c_identifier(slash + 1, at, errs);
}

static void fully_qualified_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    qualified_name(name, at, errs);
    if (!strchr(name, '/')) field_invalid(errs, at, name, "a fully qualified name must be a domain and a name separated by a slash");
}

/* ---- requests ---- */

static void tolerations(const struct resourcev1_DeviceToleration_list *list, const struct field_path *all, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct resourcev1_DeviceToleration *t = &list->items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        if (!str_empty(t->key)) CHECK_NAME(errs, FIELD(at, "key"), t->key, name_qualified);
        if (str_eq(t->operator, "Exists")) {
            if (!str_empty(t->value)) field_invalid(errs, FIELD(at, "value"), t->value, "must be empty for operator `Exists`");
        } else if (str_eq(t->operator, "Equal")) CHECK_NAME(errs, FIELD(at, "value"), t->value, name_label_value);
        else if (str_empty(t->operator)) field_required(errs, FIELD(at, "operator"), "%s", "");
        else field_not_supported(errs, FIELD(at, "operator"), t->operator, ONE_OF("Equal", "Exists"));
        if (!str_empty(t->effect)) check_supported(errs, FIELD(at, "effect"), t->effect, ONE_OF("NoExecute", "NoSchedule", "None"));
    }
}

static void selectors(const struct resourcev1_DeviceSelector_list *list, const struct field_path *all, struct field_errors *errs) {
    if (too_many(errs, all, list->len, SELECTORS_MAX)) return;
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *cel = FIELD(FIELD_INDEX(all, i), "cel");
        if (!list->items[i].cel) field_required(errs, cel, "%s", "");
        else if (strlen(str_or(list->items[i].cel->expression, "")) > EXPRESSION_BYTES_MAX) field_too_long(errs, FIELD(cel, "expression"), EXPRESSION_BYTES_MAX);
        else cel_check_device_selector(str_or(list->items[i].cel->expression, ""), FIELD(cel, "expression"), errs);
    }
}

static void allocation_mode(const char *mode, int64_t count, const struct field_path *at, struct field_errors *errs) {
    if (str_eq(mode, "All")) {
        if (count != 0) field_invalid_int(errs, FIELD(at, "count"), count, "must not be specified when allocationMode is 'All'");
    } else if (str_eq(mode, "ExactCount")) {
        if (count <= 0) field_invalid_int(errs, FIELD(at, "count"), count, "must be greater than zero");
    } else field_not_supported(errs, FIELD(at, "allocationMode"), mode, ONE_OF("All", "ExactCount"));
}

static void class_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(name)) field_required(errs, at, "%s", "");
    else CHECK_NAME(errs, at, name, name_dns1123_subdomain);
}

static void sub_requests(const struct resourcev1_DeviceSubRequest_list *list, const struct field_path *all, struct field_errors *errs) {
    struct string_list names = {0};
    if (too_many(errs, all, list->len, ALTERNATIVES_MAX)) return;
    for (size_t i = 0; i < list->len; i++) {
        const struct resourcev1_DeviceSubRequest *r = &list->items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        CHECK_NAME(errs, FIELD(at, "name"), r->name, name_dns1123_label);
        class_name(r->deviceClassName, FIELD(at, "deviceClassName"), errs);
        selectors(&r->selectors, FIELD(at, "selectors"), errs);
        allocation_mode(r->allocationMode, r->count, at, errs);
        tolerations(&r->tolerations, FIELD(at, "tolerations"), errs);
        string_list_push(errs->arena, &names, str_or(r->name, ""));
    }
    duplicates(errs, all, &names);
}

static void request(const struct resourcev1_DeviceRequest *r, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *exactly = FIELD(at, "exactly");
    CHECK_NAME(errs, FIELD(at, "name"), r->name, name_dns1123_label);
    if (!r->exactly && !r->firstAvailable.len) field_required(errs, at, "exactly one of `exactly` or `firstAvailable` is required");
    else if (r->exactly && r->firstAvailable.len) field_invalid_raw(errs, at, "null", "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
    else if (r->exactly) {
        class_name(r->exactly->deviceClassName, FIELD(exactly, "deviceClassName"), errs);
        selectors(&r->exactly->selectors, FIELD(exactly, "selectors"), errs);
        allocation_mode(r->exactly->allocationMode, r->exactly->count, exactly, errs);
        tolerations(&r->exactly->tolerations, FIELD(exactly, "tolerations"), errs);
    } else sub_requests(&r->firstAvailable, FIELD(at, "firstAvailable"), errs);
}

static bool request_exists(const struct resourcev1_DeviceClaim *c, const char *name) {
    const char *slash = strchr(name, '/');
    size_t len = slash ? (size_t)(slash - name) : strlen(name);
    if (slash && strchr(slash + 1, '/')) return false;
    LIST_FOREACH(r, &c->requests) {
        if (strlen(str_or(r->name, "")) != len || strncmp(str_or(r->name, ""), name, len) != 0) continue;
        if (!slash) return true;
        LIST_FOREACH(s, &r->firstAvailable)
            if (str_eq(s->name, slash + 1)) return true;
    }
    return false;
}

static void request_reference(const struct resourcev1_DeviceClaim *c, const char *name, const struct field_path *at, struct field_errors *errs) {
    static const char wrong[] = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    const char *slash = strchr(name, '/');
    if (slash && strchr(slash + 1, '/')) {
        field_invalid(errs, at, name, "%s", wrong);
        return;
    }
    const char *first = slash ? arena_strndup(errs->arena, name, (size_t)(slash - name)) : name;
    CHECK_NAME(errs, at, first, name_dns1123_label);
    if (slash) CHECK_NAME(errs, at, slash + 1, name_dns1123_label);
    if (!request_exists(c, name)) field_invalid(errs, at, name, "%s", wrong);
}

static void request_references(const struct resourcev1_DeviceClaim *c, struct string_list list, const struct field_path *all, struct field_errors *errs) {
    if (too_many(errs, all, list.len, REQUESTS_MAX)) return;
    for (size_t i = 0; i < list.len; i++) request_reference(c, str_or(list.items[i], ""), FIELD_INDEX(all, i), errs);
    duplicates(errs, all, &list);
}

static void constraints(const struct resourcev1_DeviceClaim *c, const struct field_path *all, struct field_errors *errs) {
    if (too_many(errs, all, c->constraints.len, CONSTRAINTS_MAX)) return;
    for (size_t i = 0; i < c->constraints.len; i++) {
        const struct resourcev1_DeviceConstraint *k = &c->constraints.items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        request_references(c, k->requests, FIELD(at, "requests"), errs);
        if (k->matchAttribute) fully_qualified_name(k->matchAttribute, FIELD(at, "matchAttribute"), errs);
        else if (k->distinctAttribute) fully_qualified_name(k->distinctAttribute, FIELD(at, "distinctAttribute"), errs);
        else field_required(errs, at, "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set");
    }
}

static void raw_object(const struct raw_json *raw, bool stored, size_t max, const struct field_path *at, struct field_errors *errs) {
    if (!raw->data || raw->len == 0 || str_eq(raw->data, "null")) field_required(errs, at, "%s", "");
    else if (!stored && raw->len > max) field_too_long(errs, at, (int64_t)max);
    else if (raw->data[0] != '{') field_invalid(errs, at, "<value omitted>", "must be a valid JSON object");
}

static void configuration(const struct resourcev1_OpaqueDeviceConfiguration *o, bool stored, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *opaque = FIELD(at, "opaque");
    if (!o) {
        field_required(errs, opaque, "%s", "");
        return;
    }
    check_driver_name(errs, FIELD(opaque, "driver"), o->driver);
    raw_object(&o->parameters, stored, PARAMETERS_BYTES_MAX, FIELD(opaque, "parameters"), errs);
}

static void claim_spec(const struct resourcev1_ResourceClaimSpec *s, const struct field_path *spec, struct field_errors *errs) {
    const struct resourcev1_DeviceClaim *c = &s->devices;
    const struct field_path *at = FIELD(spec, "devices"), *requests = FIELD(at, "requests"), *config = FIELD(at, "config");
    struct string_list names = {0};
    if (!too_many(errs, requests, c->requests.len, REQUESTS_MAX)) {
        for (size_t i = 0; i < c->requests.len; i++) {
            request(&c->requests.items[i], FIELD_INDEX(requests, i), errs);
            string_list_push(errs->arena, &names, str_or(c->requests.items[i].name, ""));
        }
        duplicates(errs, requests, &names);
    }
    constraints(c, FIELD(at, "constraints"), errs);
    if (too_many(errs, config, c->config.len, CONFIG_MAX)) return;
    for (size_t i = 0; i < c->config.len; i++) {
        request_references(c, c->config.items[i].requests, FIELD(FIELD_INDEX(config, i), "requests"), errs);
        configuration(c->config.items[i].opaque, false, FIELD_INDEX(config, i), errs);
    }
}

void validate_resourceclaim(const void *obj, struct field_errors *errs) { claim_spec(&((const struct resourcev1_ResourceClaim *)obj)->spec, FIELD(NULL, "spec"), errs); }

void validate_resourceclaim_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct resourcev1_ResourceClaim *c = obj, *old = old_obj;
    validate_immutable(object_equal(&resourcev1_ResourceClaimSpec_desc, &c->spec, &old->spec), text_of_go(errs->arena, &resourcev1_ResourceClaimSpec_desc, &c->spec), FIELD(NULL, "spec"), errs);
}

/* ---- a claim's status ---- */

static void binding_parameters(const struct string_list *conditions, const struct string_list *failures, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *c = FIELD(at, "bindingConditions"), *f = FIELD(at, "bindingFailureConditions");
    struct string_list seen = {0}, seen_failures = {0};
    for (size_t i = 0; !(i == 0 && too_many(errs, c, conditions->len, BINDING_CONDITIONS_MAX)) && i < conditions->len; i++) CHECK_NAME(errs, FIELD_INDEX(c, i), conditions->items[i], name_qualified);
    for (size_t i = 0; !(i == 0 && too_many(errs, f, failures->len, BINDING_CONDITIONS_MAX)) && i < failures->len; i++) CHECK_NAME(errs, FIELD_INDEX(f, i), failures->items[i], name_qualified);
    for (size_t i = 0; i < conditions->len; i++) check_duplicate(errs, FIELD_INDEX(c, i), &seen, conditions->items[i]);
    for (size_t i = 0; i < failures->len; i++) {
        check_duplicate(errs, FIELD_INDEX(f, i), &seen_failures, failures->items[i]);
        if (string_list_has(conditions, failures->items[i])) field_invalid(errs, FIELD_INDEX(f, i), failures->items[i], "bindingFailureConditions must not overlap with bindingConditions");
    }
    if (!conditions->len && failures->len) field_invalid_raw(errs, c, text_of_list(errs->arena, conditions), "bindingConditions are required to use bindingFailureConditions");
    if (!failures->len && conditions->len) field_invalid_raw(errs, f, text_of_list(errs->arena, failures), "bindingFailureConditions are required to use bindingConditions");
}

/* What Go's uuid.Validate says, which also knows other forms: urn:uuid:..., {...} and no dashes. NULL: nothing. */
static const char *uuid_trouble(struct arena *a, const char *id) {
    size_t len = strlen(id);
    if (len == 36 + 9) {
        if (strncasecmp(id, "urn:uuid:", 9) != 0) return arena_printf(a, "invalid urn prefix: %s", go_quote(a, arena_strndup(a, id, 9)));
        id += 9;
    } else if (len == 36 + 2) {
        if (id[0] != '{' || id[37] != '}') return "invalid bracketed UUID format";
        id++;
    } else if (len == 32) return strspn(id, "0123456789abcdefABCDEF") == 32 ? NULL : "invalid UUID format";
    else if (len != 36) return arena_printf(a, "invalid UUID length: %zu", len);
    for (size_t i = 0; i < 36; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23 ? id[i] != '-' : !strchr("0123456789abcdefABCDEF", id[i])) return "invalid UUID format";
    return NULL;
}

static void share_id(const char *id, const struct field_path *at, struct field_errors *errs) {
    const char *trouble = uuid_trouble(errs->arena, id);
    if (trouble) field_invalid(errs, at, id, "error validating uid: %s", trouble);
    else if (strlen(id) != 36 || id[strcspn(id, "ABCDEF")]) field_invalid(errs, at, id, "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters");
}

static void allocation(const struct resourcev1_AllocationResult *a, const struct resourcev1_DeviceClaim *claim, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *devices = FIELD(at, "devices"), *results = FIELD(devices, "results"), *config = FIELD(devices, "config");
    if (!too_many(errs, results, a->devices.results.len, RESULTS_MAX))
        for (size_t i = 0; i < a->devices.results.len; i++) {
            const struct resourcev1_DeviceRequestAllocationResult *r = &a->devices.results.items[i];
            const struct field_path *p = FIELD_INDEX(results, i);
            request_reference(claim, str_or(r->request, ""), FIELD(p, "request"), errs);
            check_driver_name(errs, FIELD(p, "driver"), r->driver);
            pool_name(r->pool, FIELD(p, "pool"), errs);
            CHECK_NAME(errs, FIELD(p, "device"), r->device, name_dns1123_label);
            binding_parameters(&r->bindingConditions, &r->bindingFailureConditions, p, errs);
            if (r->shareID) share_id(r->shareID, FIELD(p, "shareID"), errs);
        }
    if (!too_many(errs, config, a->devices.config.len, 2 * CONFIG_MAX))
        for (size_t i = 0; i < a->devices.config.len; i++) {
            const struct resourcev1_DeviceAllocationConfiguration *c = &a->devices.config.items[i];
            const struct field_path *p = FIELD_INDEX(config, i);
            if (str_empty(c->source)) field_required(errs, FIELD(p, "source"), "%s", "");
            else check_supported(errs, FIELD(p, "source"), c->source, ONE_OF("FromClaim", "FromClass"));
            request_references(claim, c->requests, FIELD(p, "requests"), errs);
            configuration(c->opaque, false, p, errs);
        }
    if (a->nodeSelector) validate_node_selector(a->nodeSelector, FIELD(at, "nodeSelector"), errs);
}

static const char *device_id(struct arena *a, const char *driver, const char *pool, const char *device, const char *share) {
    return arena_printf(a, "%s/%s/%s%s%s", str_or(driver, ""), str_or(pool, ""), str_or(device, ""), share ? "/" : "", share ? share : "");
}

static void network_data(const struct resourcev1_NetworkDeviceData *n, const struct field_path *at, struct field_errors *errs) {
    if (!n) return;
    if (strlen(str_or(n->interfaceName, "")) > 256) field_too_long(errs, FIELD(at, "interfaceName"), 256);
    if (strlen(str_or(n->hardwareAddress, "")) > 128) field_too_long(errs, FIELD(at, "hardwareAddress"), 128);
    if (too_many(errs, FIELD(at, "ips"), n->ips.len, IPS_MAX)) return;
    for (size_t i = 0; i < n->ips.len; i++)
        if (!name_is_cidr(n->ips.items[i])) field_invalid(errs, FIELD_INDEX(FIELD(at, "ips"), i), n->ips.items[i], "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)");
    struct string_list ips = n->ips;
    duplicates(errs, FIELD(at, "ips"), &ips);
}

static void device_statuses(const struct resourcev1_ResourceClaimStatus *s, const struct field_path *all, struct field_errors *errs) {
    struct string_list allocated = {0}, ids = {0};
    if (s->allocation)
        LIST_FOREACH(r, &s->allocation->devices.results) string_list_push(errs->arena, &allocated, device_id(errs->arena, r->driver, r->pool, r->device, r->shareID));
    for (size_t i = 0; i < s->devices.len; i++) {
        const struct resourcev1_AllocatedDeviceStatus *d = &s->devices.items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        const char *id = device_id(errs->arena, d->driver, d->pool, d->device, d->shareID);
        check_driver_name(errs, FIELD(at, "driver"), d->driver);
        pool_name(d->pool, FIELD(at, "pool"), errs);
        CHECK_NAME(errs, FIELD(at, "device"), d->device, name_dns1123_label);
        if (d->shareID) share_id(d->shareID, FIELD(at, "shareID"), errs);
        if (!string_list_has(&allocated, id)) field_invalid_raw(errs, at, arena_printf(errs->arena, "{\"Driver\":%s,\"Pool\":%s,\"Device\":%s,\"ShareID\":%s}", go_quote(errs->arena, d->driver), go_quote(errs->arena, d->pool), go_quote(errs->arena, d->device), go_quote(errs->arena, d->shareID)), "must be an allocated device in the claim");
        too_many(errs, FIELD(at, "conditions"), d->conditions.len, CONDITIONS_MAX);
        check_conditions(errs, FIELD(at, "conditions"), &d->conditions);
        if (d->data.data) raw_object(&d->data, false, PARAMETERS_BYTES_MAX, FIELD(at, "data"), errs);
        network_data(d->networkData, FIELD(at, "networkData"), errs);
        string_list_push(errs->arena, &ids, id);
    }
    duplicates(errs, all, &ids);
}

static bool reserved_before(const struct resourcev1_ResourceClaimStatus *old, const struct resourcev1_ResourceClaimConsumerReference *r) {
    LIST_FOREACH(o, &old->reservedFor)
        if (object_equal(&resourcev1_ResourceClaimConsumerReference_desc, o, r)) return true;
    return false;
}

void validate_resourceclaim_status(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct resourcev1_ResourceClaim *c = obj, *old = old_obj;
    const struct resourcev1_ResourceClaimStatus *s = &c->status;
    const struct field_path *at = FIELD(NULL, "status"), *reserved = FIELD(at, "reservedFor");
    struct string_list uids = {0};
    if (!too_many(errs, reserved, s->reservedFor.len, RESERVED_MAX)) {
        for (size_t i = 0; i < s->reservedFor.len; i++) {
            const struct field_path *p = FIELD_INDEX(reserved, i);
            if (str_empty(s->reservedFor.items[i].resource)) field_required(errs, FIELD(p, "resource"), "%s", "");
            if (str_empty(s->reservedFor.items[i].name)) field_required(errs, FIELD(p, "name"), "%s", "");
            if (str_empty(s->reservedFor.items[i].uid)) field_required(errs, FIELD(p, "uid"), "%s", "");
            string_list_push(errs->arena, &uids, str_or(s->reservedFor.items[i].uid, ""));
        }
        duplicates(errs, reserved, &uids);
    }
    device_statuses(s, FIELD(at, "devices"), errs);
    bool added = false;
    LIST_FOREACH(r, &s->reservedFor) added |= !reserved_before(&old->status, r);
    if (s->reservedFor.len && !s->allocation) field_forbidden(errs, reserved, "may not be specified when `allocated` is not set");
    else if (c->metadata.deletionTimestamp.set && added) field_forbidden(errs, reserved, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
    if (!s->allocation) return;
    if (old->status.allocation) validate_immutable(object_equal(&resourcev1_AllocationResult_desc, s->allocation, old->status.allocation), text_of_go(errs->arena, &resourcev1_AllocationResult_desc, s->allocation), FIELD(at, "allocation"), errs);
    else allocation(s->allocation, &c->spec.devices, FIELD(at, "allocation"), errs);
}

/* ---- DeviceClass, ResourceClaimTemplate ---- */

void validate_deviceclass(const void *obj, struct field_errors *errs) {
    const struct resourcev1_DeviceClassSpec *s = &((const struct resourcev1_DeviceClass *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *config = FIELD(at, "config");
    selectors(&s->selectors, FIELD(at, "selectors"), errs);
    if (!too_many(errs, config, s->config.len, CONFIG_MAX))
        for (size_t i = 0; i < s->config.len; i++) configuration(s->config.items[i].opaque, false, FIELD_INDEX(config, i), errs);
    const char *name = s->extendedResourceName, *slash = name ? strchr(name, '/') : NULL;
    struct string_list msgs = {0};
    if (slash) name_qualified(errs->arena, name, &msgs);
    if (name && (!slash || msgs.len || strstr(name, "kubernetes.io/") || str_has_prefix(name, "requests."))) field_invalid(errs, FIELD(at, "extendedResourceName"), name, "must be a valid extended resource name");
}

void validate_deviceclass_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_deviceclass(obj, errs);
}

void validate_resourceclaimtemplate(const void *obj, struct field_errors *errs) {
    const struct resourcev1_ResourceClaimTemplateSpec *s = &((const struct resourcev1_ResourceClaimTemplate *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    validate_template_meta(&s->metadata, FIELD(at, "metadata"), errs);
    claim_spec(&s->spec, FIELD(at, "spec"), errs);
}

void validate_resourceclaimtemplate_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct resourcev1_ResourceClaimTemplate *t = obj, *old = old_obj;
    validate_resourceclaimtemplate(obj, errs);
    validate_immutable(object_equal(&resourcev1_ResourceClaimTemplateSpec_desc, &t->spec, &old->spec), text_of_go(errs->arena, &resourcev1_ResourceClaimTemplateSpec_desc, &t->spec), FIELD(NULL, "spec"), errs);
}

/* ---- ResourceSlice ---- */

/* semver.org's grammar, as far as digits and identifiers go */
static bool semver(const char *v) {
    for (int i = 0; i < 3; i++) {
        size_t n = strspn(v, "0123456789");
        if (n == 0 || (n > 1 && *v == '0')) return false;
        v += n;
        if (i < 2 && *v++ != '.') return false;
    }
    for (char lead = '-'; *v && (*v == lead || *v == '+'); lead = '+') {
        bool build = *v++ == '+';
        for (;;) {
            size_t n = strspn(v, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-");
            if (n == 0 || (!build && n > 1 && *v == '0' && strspn(v, "0123456789") == n)) return false;
            v += n;
            if (*v != '.') break;
            v++;
        }
        if (build) break;
    }
    return *v == 0;
}

static void version_value(const char *v, const struct field_path *at, struct field_errors *errs) {
    if (!semver(v)) field_invalid(errs, at, v, "must be a string compatible with semver.org spec 2.0.0");
    if (strlen(v) > ATTRIBUTE_BYTES_MAX) field_too_long(errs, at, ATTRIBUTE_BYTES_MAX);
}

static void attribute(const struct resourcev1_DeviceAttribute *v, const struct field_path *at, struct field_errors *errs) {
    int set = v->bool_.has + v->int_.has + !!v->string + !!v->version + !!v->bools.items + !!v->ints.items + !!v->strings.items + !!v->versions.items;
    if (v->string && strlen(v->string) > ATTRIBUTE_BYTES_MAX) field_too_long(errs, FIELD(at, "string"), ATTRIBUTE_BYTES_MAX);
    if (v->version) version_value(v->version, FIELD(at, "version"), errs);
    for (size_t i = 0; i < v->strings.len; i++)
        if (strlen(str_or(v->strings.items[i], "")) > ATTRIBUTE_BYTES_MAX) field_too_long(errs, FIELD_INDEX(FIELD(at, "strings"), i), ATTRIBUTE_BYTES_MAX);
    for (size_t i = 0; i < v->versions.len; i++) version_value(str_or(v->versions.items[i], ""), FIELD_INDEX(FIELD(at, "versions"), i), errs);
    if (set == 0) field_invalid(errs, at, "", "exactly one value must be specified");
    else if (set > 1) field_invalid_raw(errs, at, text_of_go(errs->arena, &resourcev1_DeviceAttribute_desc, v), "exactly one value must be specified");
}

static void counters(const struct resourcev1_Counter_map *map, const struct field_path *at, struct field_errors *errs) {
    if (!map->len) field_required(errs, at, "%s", "");
    else if (!too_many(errs, at, map->len, COUNTERS_MAX))
        LIST_FOREACH(e, map) CHECK_NAME(errs, at, e->key, name_dns1123_label);
}

static void device_taints(const struct resourcev1_DeviceTaint_list *list, const struct field_path *all, struct field_errors *errs) {
    if (too_many(errs, all, list->len, TAINTS_MAX)) return;
    for (size_t i = 0; i < list->len; i++) {
        const struct resourcev1_DeviceTaint *t = &list->items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        CHECK_NAME(errs, FIELD(at, "key"), t->key, name_qualified);
        if (!str_empty(t->value)) CHECK_NAME(errs, FIELD(at, "value"), t->value, name_label_value);
        if (str_empty(t->effect)) field_required(errs, FIELD(at, "effect"), "%s", "");
        else check_supported(errs, FIELD(at, "effect"), t->effect, ONE_OF("NoExecute", "NoSchedule", "None"));
    }
}

static void valid_values(const char *def, const char *most, struct string_list values, const struct field_path *at, struct field_errors *errs) {
    bool found = false;
    for (size_t i = 0; i + 1 < values.len; i++)
        if (quantity_text_cmp(values.items[i], values.items[i + 1]) > 0) field_invalid(errs, FIELD_INDEX(at, i + 1), values.items[i + 1], "values must be sorted in ascending order");
    if (!too_many(errs, at, values.len, OPTIONS_MAX)) {
        struct string_list keys = {0};
        for (size_t i = 0; i < values.len; i++) {
            struct quantity q = quantity_of(values.items[i]);
            if (quantity_text_cmp(values.items[i], most) > 0) field_invalid(errs, FIELD_INDEX(at, i), values.items[i], "option is larger than capacity value: %s", most);
            found |= quantity_text_cmp(values.items[i], def) == 0;
            string_list_push(errs->arena, &keys, arena_printf(errs->arena, "%lld", (long long)quantity_value(&q)));
        }
        duplicates(errs, at, &keys);
    }
    if (!found) field_invalid(errs, at, def, "default value is not valid according to the requestPolicy");
}

static void range_step(const char *value, const char *min, const char *step, const struct field_path *at, struct field_errors *errs) {
    struct quantity v = quantity_of(value), m = quantity_of(min), s = quantity_of(step);
    if (quantity_value(&s) && (quantity_value(&v) - quantity_value(&m)) % quantity_value(&s) != 0)
        field_invalid(errs, at, value, "value is not a multiple of a given step (%s) from (%s)", step, min);
}

static void valid_range(const char *def, const char *most, const struct resourcev1_CapacityRequestPolicyRange *r, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *step = FIELD(at, "step");
    if (!r->min) {
        field_required(errs, FIELD(at, "min"), "required when validRange is defined");
        return;
    }
    if (quantity_text_cmp(r->min, most) > 0) field_invalid(errs, FIELD(at, "min"), r->min, "min is larger than capacity value: %s", most);
    if (quantity_text_cmp(def, r->min) < 0) field_invalid(errs, FIELD(at, "min"), def, "default is less than min: %s", r->min);
    if (r->max) {
        if (quantity_text_cmp(r->min, r->max) > 0) field_invalid(errs, FIELD(at, "max"), r->min, "min is larger than max: %s", r->max);
        if (quantity_text_cmp(r->max, most) > 0) field_invalid(errs, FIELD(at, "max"), r->max, "max is larger than capacity value: %s", most);
        if (quantity_text_cmp(def, r->max) > 0) field_invalid(errs, FIELD(at, "max"), def, "default is more than max: %s", r->max);
    }
    if (!r->step) return;
    struct quantity added = quantity_of(r->min), more = quantity_of(r->step), limit = quantity_of(most);
    quantity_add(&added, &more);
    if (quantity_cmp(&added, &limit) > 0) field_invalid(errs, step, r->step, "one step %s is larger than capacity value: %s", quantity_format(errs->arena, &added), most);
    range_step(def, r->min, r->step, step, errs);
    if (r->max) range_step(r->max, r->min, r->step, step, errs);
}

/* What may be asked of a capacity that several claims share. */
static void request_policy(const struct resourcev1_CapacityRequestPolicy *p, const char *most, const struct field_path *at, struct field_errors *errs) {
    most = str_or(most, "0");
    if (p->validValues.len && p->validRange) field_forbidden(errs, at, "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time");
    else if (p->validValues.len) {
        if (!p->default_) field_required(errs, FIELD(at, "default"), "required when validValues is defined");
        else valid_values(p->default_, most, p->validValues, FIELD(at, "validValues"), errs);
    } else if (p->validRange) {
        if (!p->default_) field_required(errs, FIELD(at, "default"), "required when validRange is defined");
        else valid_range(p->default_, most, p->validRange, FIELD(at, "validRange"), errs);
    }
}

/* A long key is shown without its middle. */
static const char *shown_key(struct arena *a, const char *key) {
    size_t len = strlen(key), left = KEY_BYTES_SHOWN - strlen("...");
    return len <= KEY_BYTES_SHOWN ? key : arena_printf(a, "%.*s...%s", (int)((left + 1) / 2), key, key + len - left / 2);
}

static void attributes_and_capacity(const struct resourcev1_Device *d, const struct field_path *at, struct field_errors *errs) {
    size_t total = d->attributes.len + d->capacity.len;
    const struct field_path *attributes = FIELD(at, "attributes"), *capacity = FIELD(at, "capacity");
    bool shared = d->allowMultipleAllocations.has && d->allowMultipleAllocations.value;
    if (total > ATTRIBUTES_MAX) field_invalid_int(errs, at, (int64_t)total, "the total number of attributes and capacities must not exceed %d", ATTRIBUTES_MAX);
    if (d->attributes.len > ATTRIBUTE_VALUES_MAX) field_invalid_int(errs, at, (int64_t)d->attributes.len, "the total number of attribute values must not exceed %d", ATTRIBUTE_VALUES_MAX);
    LIST_FOREACH(e, &d->attributes) {
        qualified_name(e->key, attributes, errs);
        attribute(&e->value, FIELD_KEY(attributes, shown_key(errs->arena, e->key)), errs);
    }
    LIST_FOREACH(e, &d->capacity) {
        const struct field_path *policy = FIELD(FIELD_KEY(capacity, shown_key(errs->arena, e->key)), "requestPolicy");
        qualified_name(e->key, capacity, errs);
        if (!e->value.requestPolicy) continue;
        if (shared) request_policy(e->value.requestPolicy, e->value.value, policy, errs);
        else field_forbidden(errs, policy, "allowMultipleAllocations must be true");
    }
}

static const struct resourcev1_Device *device_of(const struct resourcev1_ResourceSliceSpec *s, const char *name) {
    if (s)
        LIST_FOREACH(d, &s->devices)
            if (str_eq(d->name, name)) return d;
    return NULL;
}

/* Taints that were there before may stay as they are. */
static bool same_taints(const struct resourcev1_Device *d, const struct resourcev1_Device *old) {
    struct resourcev1_Device a = {.taints = d->taints}, b = {.taints = old ? old->taints : (struct resourcev1_DeviceTaint_list){0}};
    return old && object_equal(&resourcev1_Device_desc, &a, &b);
}

static void device_nodes(const struct resourcev1_Device *d, bool per_device, const struct field_path *at, struct field_errors *errs) {
    _cleanup_buf_ struct buf set = BUF_INIT;
    int n = 0;
    if (!per_device) {
        if (d->nodeName || d->nodeSelector || d->allNodes.has) field_invalid_raw(errs, at, "null", "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec");
        return;
    }
    if (d->nodeName && *d->nodeName) {
        buf_printf(&set, "%s`nodeName`", n++ ? ", " : "");
        CHECK_NAME(errs, FIELD(at, "nodeName"), d->nodeName, name_dns1123_subdomain);
    } else if (d->nodeName) field_invalid(errs, FIELD(at, "nodeName"), "", "must not be empty");
    if (d->nodeSelector) {
        buf_printf(&set, "%s`nodeSelector`", n++ ? ", " : "");
        validate_node_selector(d->nodeSelector, FIELD(at, "nodeSelector"), errs);
    }
    if (d->allNodes.has && d->allNodes.value) buf_printf(&set, "%s`allNodes`", n++ ? ", " : "");
    else if (d->allNodes.has) field_invalid_bool(errs, FIELD(at, "allNodes"), false, "must be either unset or set to true");
    static const char one[] = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    if (n == 0) field_required(errs, at, "%s", one);
    else if (n > 1) field_invalid(errs, at, arena_printf(errs->arena, "{%s}", set.data), "%s", one);
}

static void device(const struct resourcev1_Device *d, const struct resourcev1_Device *old, bool per_device, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *consumes = FIELD(at, "consumesCounters");
    struct string_list sets = {0};
    CHECK_NAME(errs, FIELD(at, "name"), d->name, name_dns1123_label);
    attributes_and_capacity(d, at, errs);
    if (!same_taints(d, old)) device_taints(&d->taints, FIELD(at, "taints"), errs);
    if (!too_many(errs, consumes, d->consumesCounters.len, CONSUMPTIONS_MAX)) {
        for (size_t i = 0; i < d->consumesCounters.len; i++) {
            const struct field_path *p = FIELD_INDEX(consumes, i);
            if (str_empty(d->consumesCounters.items[i].counterSet)) field_required(errs, FIELD(p, "counterSet"), "%s", "");
            else CHECK_NAME(errs, FIELD(p, "counterSet"), d->consumesCounters.items[i].counterSet, name_dns1123_label);
            counters(&d->consumesCounters.items[i].counters, FIELD(p, "counters"), errs);
            string_list_push(errs->arena, &sets, str_or(d->consumesCounters.items[i].counterSet, ""));
        }
        duplicates(errs, consumes, &sets);
    }
    device_nodes(d, per_device, at, errs);
    binding_parameters(&d->bindingConditions, &d->bindingFailureConditions, at, errs);
}

static void slice_nodes(const struct resourcev1_ResourceSliceSpec *s, const struct field_path *at, struct field_errors *errs) {
    _cleanup_buf_ struct buf set = BUF_INIT;
    int n = 0;
    if (s->nodeName && *s->nodeName) {
        buf_printf(&set, "%s`nodeName`", n++ ? ", " : "");
        CHECK_NAME(errs, FIELD(at, "nodeName"), s->nodeName, name_dns1123_subdomain);
    } else if (s->nodeName) field_invalid(errs, FIELD(at, "nodeName"), "", "must be either unset or set to a non-empty string");
    if (s->nodeSelector) {
        buf_printf(&set, "%s`nodeSelector`", n++ ? ", " : "");
        validate_node_selector(s->nodeSelector, FIELD(at, "nodeSelector"), errs);
        if (s->nodeSelector->nodeSelectorTerms.len != 1) field_invalid_raw(errs, FIELD(FIELD(at, "nodeSelector"), "nodeSelectorTerms"), s->nodeSelector->nodeSelectorTerms.items ? "[]" : "null", "must have exactly one node selector term");
    }
    if (s->allNodes.has && s->allNodes.value) buf_printf(&set, "%s`allNodes`", n++ ? ", " : "");
    else if (s->allNodes.has) field_invalid_bool(errs, FIELD(at, "allNodes"), false, "must be either unset or set to true");
    if (s->perDeviceNodeSelection.has && s->perDeviceNodeSelection.value) buf_printf(&set, "%s`perDeviceNodeSelection`", n++ ? ", " : "");
    else if (s->perDeviceNodeSelection.has) field_invalid_bool(errs, FIELD(at, "perDeviceNodeSelection"), false, "must be either unset or set to true");
    static const char one[] = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    if (n == 0) field_required(errs, at, "%s", one);
    else if (n > 1) field_invalid(errs, at, arena_printf(errs->arena, "{%s}", set.data), "%s, but multiple fields are set", one);
}

static void slice_devices(const struct resourcev1_ResourceSliceSpec *s, const struct resourcev1_ResourceSliceSpec *old, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *devices = FIELD(at, "devices"), *shared = FIELD(at, "sharedCounters");
    struct string_list names = {0}, sets = {0};
    bool advanced = false;
    LIST_FOREACH(d, &s->devices) advanced |= d->taints.len || d->consumesCounters.len;
    if (s->sharedCounters.items && s->devices.items) field_invalid(errs, at, "", "only one of `sharedCounters` or `devices` is allowed");
    if (!too_many(errs, devices, s->devices.len, advanced ? DEVICES_ADVANCED_MAX : DEVICES_MAX)) {
        for (size_t i = 0; i < s->devices.len; i++) {
            device(&s->devices.items[i], device_of(old, s->devices.items[i].name), s->perDeviceNodeSelection.has && s->perDeviceNodeSelection.value, FIELD_INDEX(devices, i), errs);
            string_list_push(errs->arena, &names, str_or(s->devices.items[i].name, ""));
        }
        duplicates(errs, devices, &names);
    }
    if (too_many(errs, shared, s->sharedCounters.len, COUNTER_SETS_MAX)) return;
    for (size_t i = 0; i < s->sharedCounters.len; i++) {
        const struct field_path *p = FIELD_INDEX(shared, i);
        if (str_empty(s->sharedCounters.items[i].name)) field_required(errs, FIELD(p, "name"), "%s", "");
        else CHECK_NAME(errs, FIELD(p, "name"), s->sharedCounters.items[i].name, name_dns1123_label);
        counters(&s->sharedCounters.items[i].counters, FIELD(p, "counters"), errs);
        string_list_push(errs->arena, &sets, str_or(s->sharedCounters.items[i].name, ""));
    }
    duplicates(errs, shared, &sets);
}

static void slice_spec(const struct resourcev1_ResourceSliceSpec *s, const struct resourcev1_ResourceSliceSpec *old, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec"), *pool = FIELD(at, "pool");
    check_driver_name(errs, FIELD(at, "driver"), s->driver);
    pool_name(s->pool.name, FIELD(pool, "name"), errs);
    if (s->pool.resourceSliceCount <= 0) field_invalid_int(errs, FIELD(pool, "resourceSliceCount"), s->pool.resourceSliceCount, "must be greater than zero");
    if (s->pool.generation < 0) field_invalid_int(errs, FIELD(pool, "generation"), s->pool.generation, "must be greater than or equal to zero");
    if (old) {
        check_immutable_string(errs, FIELD(pool, "name"), s->pool.name, old->pool.name);
        check_immutable_string(errs, FIELD(at, "driver"), s->driver, old->driver);
        check_immutable_string(errs, FIELD(at, "nodeName"), s->nodeName, old->nodeName);
    }
    slice_nodes(s, at, errs);
    slice_devices(s, old, at, errs);
}

void validate_resourceslice(const void *obj, struct field_errors *errs) { slice_spec(&((const struct resourcev1_ResourceSlice *)obj)->spec, NULL, errs); }
void validate_resourceslice_update(const void *obj, const void *old, struct field_errors *errs) { slice_spec(&((const struct resourcev1_ResourceSlice *)obj)->spec, &((const struct resourcev1_ResourceSlice *)old)->spec, errs); }

/* ---- DeviceTaintRule ---- */

void validate_devicetaintrule(const void *obj, struct field_errors *errs) {
    const struct resourcev1alpha3_DeviceTaintRuleSpec *s = &((const struct resourcev1alpha3_DeviceTaintRule *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *selector = FIELD(at, "deviceSelector"), *taint = FIELD(at, "taint");
    if (s->deviceSelector) {
        if (s->deviceSelector->driver) check_driver_name(errs, FIELD(selector, "driver"), s->deviceSelector->driver);
        if (s->deviceSelector->pool) pool_name(s->deviceSelector->pool, FIELD(selector, "pool"), errs);
        if (s->deviceSelector->device) CHECK_NAME(errs, FIELD(selector, "device"), s->deviceSelector->device, name_dns1123_label);
    }
    CHECK_NAME(errs, FIELD(taint, "key"), s->taint.key, name_qualified);
    if (!str_empty(s->taint.value)) CHECK_NAME(errs, FIELD(taint, "value"), s->taint.value, name_label_value);
    if (str_empty(s->taint.effect)) field_required(errs, FIELD(taint, "effect"), "%s", "");
    else check_supported(errs, FIELD(taint, "effect"), s->taint.effect, ONE_OF("NoExecute", "NoSchedule", "None"));
}

void validate_devicetaintrule_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_devicetaintrule(obj, errs);
}

void validate_devicetaintrule_status(const void *obj, const void *old, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "status"), "conditions");
    const struct metav1_Condition_list *c = &((const struct resourcev1alpha3_DeviceTaintRule *)obj)->status.conditions;
    (void)old;
    check_conditions(errs, at, c);
    too_many(errs, at, c->len, CONDITIONS_MAX);
}
