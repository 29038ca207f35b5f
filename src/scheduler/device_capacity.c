/* Shares of devices that may be allocated more than once: see device_allocator_internal.h. Upstream: structured/internal/incubating/consumable_capacity.go. */
#include "base/str.h"
#include "scheduler/device_allocator_internal.h"

static struct quantity round_up(const struct quantity *wanted, const struct resourcev1_CapacityRequestPolicy *policy) {
    if (policy->validRange && policy->validRange->min) {
        struct quantity min = quantity_of(policy->validRange->min), step = quantity_of(policy->validRange->step);
        if (quantity_cmp(wanted, &min) < 0) return min;
        int64_t s = quantity_value(&step), first = quantity_value(&min);
        if (!policy->validRange->step || s <= 0) return *wanted;
        int64_t steps = (quantity_value(wanted) - first + s - 1) / s;
        return quantity_from_value(first + s * steps, QUANTITY_BINARY_SI);
    }
    LIST_FOREACH(v, &policy->validValues) {
        struct quantity q = quantity_of(*v);
        if (quantity_cmp(wanted, &q) <= 0) return q;
    }
    return *wanted;
}

/* Upstream: calculateConsumedCapacity. */
static struct quantity consumes(const struct resourcev1_DeviceCapacity *capacity, const char *wanted) {
    const struct resourcev1_CapacityRequestPolicy *policy = capacity->requestPolicy;
    if (!wanted) return quantity_of(policy && policy->default_ ? policy->default_ : capacity->value);
    struct quantity q = quantity_of(wanted);
    return policy ? round_up(&q, policy) : q;
}

static bool violates(const struct quantity *q, const struct resourcev1_CapacityRequestPolicy *policy) {
    if (!policy) return false;
    struct quantity standard = quantity_of(policy->default_);
    if (policy->default_ && quantity_cmp(q, &standard) == 0) return false;
    if (policy->validRange) {
        struct quantity max = quantity_of(policy->validRange->max), min = quantity_of(policy->validRange->min), step = quantity_of(policy->validRange->step);
        if (policy->validRange->max && quantity_cmp(q, &max) > 0) return true;
        int64_t s = policy->validRange->step ? quantity_value(&step) : 0;
        return s > 0 && (quantity_value(q) - quantity_value(&min)) % s != 0;
    }
    LIST_FOREACH(v, &policy->validValues) {
        struct quantity valid = quantity_of(*v);
        if (quantity_cmp(q, &valid) == 0) return false;
    }
    return policy->validValues.len > 0;
}

static const char *wanted_of(const struct resourcev1_CapacityRequirements *wanted, const char *name) { return wanted ? string_map_get(&wanted->requests, name) : NULL; }

static int128 consumed_by_search(const struct device *v, const char *name, const struct device_choice_list *claims, size_t len) {
    int128 sum = 0;
    for (size_t i = 0; i < len; i++)
        LIST_FOREACH(c, &claims[i])
            if (c->device->id == v->id && c->consumed.len) {
                struct quantity q = quantity_of(string_map_get(&c->consumed, name));
                sum += q.nanos;
            }
    return sum;
}

bool device_capacity_fits(const struct device *v, const struct resourcev1_CapacityRequirements *wanted, const struct device_choice_list *claims, size_t claims_len) {
    for (size_t i = 0; wanted && i < wanted->requests.len; i++) {
        bool known = false;
        LIST_FOREACH(c, &v->spec->capacity) known |= str_eq(c->key, wanted->requests.items[i].key);
        if (!known) return false;
    }
    LIST_FOREACH(c, &v->spec->capacity) {
        struct quantity q = consumes(&c->value, wanted_of(wanted, c->key)), have = quantity_of(c->value.value);
        if (violates(&q, c->value.requestPolicy)) return false;
        int128 sum = q.nanos + consumed_by_search(v, c->key, claims, claims_len);
        LIST_FOREACH(x, &v->id->consumed)
            if (str_eq(x->name, c->key)) sum += x->nanos;
        if (sum > have.nanos) return false;
    }
    return true;
}

struct string_map device_capacity_consumed(struct arena *a, const struct device *v, const struct resourcev1_CapacityRequirements *wanted) {
    struct string_map m = {0};
    LIST_FOREACH(c, &v->spec->capacity) {
        struct quantity q = consumes(&c->value, wanted_of(wanted, c->key));
        string_map_set(a, &m, c->key, quantity_format(a, &q));
    }
    return m;
}
