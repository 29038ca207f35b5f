/* A solution as it is written into claims: see device_allocator.h. Upstream: allocator_incubating.go, Allocate's end and createNodeSelector. */
#include "api/resource_claim.h"
#include "base/str.h"
#include "scheduler/device_allocator_internal.h"

static const struct device_request *request_taken(const struct device_allocator *al, const struct device_solution *s, size_t claim, size_t request) {
    return &al->requests[claim][request].items[s->alternatives[claim][request]];
}

static const char *request_name(struct arena *a, const struct device_request *r) { return r->parent ? arena_printf(a, "%s/%s", r->parent, r->name) : r->name; }

static void result_fill(struct arena *a, struct env *env, struct resourcev1_DeviceRequestAllocationResult *to, const struct device_choice *c) {
    const struct resourcev1_ResourceSliceSpec *slice = &c->device->slice->obj->spec;
    *to = (struct resourcev1_DeviceRequestAllocationResult){.request = request_name(a, c->request), .driver = slice->driver, .pool = slice->pool.name, .device = c->device->spec->name,
        .tolerations = *c->request->tolerations, .bindingConditions = c->device->spec->bindingConditions, .bindingFailureConditions = c->device->spec->bindingFailureConditions,
        .consumedCapacity = c->consumed};
    if (c->request->admin) to->adminAccess = (struct opt_bool){true, true};
    if (!device_shared(c->device)) return;
    char id[37];
    env_uuid(env, id);
    to->shareID = arena_strdup(a, id);
}

/* Of the classes of the requests; requests of one class share its entries. */
static void class_configs(const struct device_allocator *al, struct arena *a, const struct device_solution *s, size_t claim, struct resourcev1_DeviceAllocationConfiguration_list *to) {
    const struct resourcev1_DeviceRequest_list *requests = &al->claims.items[claim]->spec.devices.requests;
    for (size_t r = 0; r < requests->len; r++) {
        const struct device_request *taken = request_taken(al, s, claim, r);
        bool known = false;
        size_t at = 0;
        for (size_t k = 0; k < r; k++) { /* the entries of each class follow one another in the order in which the classes came */
            const struct device_request *before = request_taken(al, s, claim, k);
            bool first = true;
            for (size_t j = 0; j < k; j++) first &= request_taken(al, s, claim, j)->class != before->class;
            if (!first) continue;
            if (before->class == taken->class) {
                known = true;
                break;
            }
            at += before->class->spec.config.len;
        }
        for (size_t i = 0; i < taken->class->spec.config.len; i++) {
            if (known) {
                string_list_push(a, &to->items[at + i].requests, request_name(a, taken));
                continue;
            }
            struct resourcev1_DeviceAllocationConfiguration *c = LIST_PUSH(a, to);
            *c = (struct resourcev1_DeviceAllocationConfiguration){.source = "FromClass"};
            string_list_push(a, &c->requests, request_name(a, taken));
            c->DeviceConfiguration = taken->class->spec.config.items[i].DeviceConfiguration;
        }
    }
}

static void claim_configs(const struct device_allocator *al, struct arena *a, const struct device_solution *s, size_t claim, struct resourcev1_DeviceAllocationConfiguration_list *to) {
    const struct resourcev1_DeviceClaim *spec = &al->claims.items[claim]->spec.devices;
    LIST_FOREACH(c, &spec->config) {
        size_t times = !c->requests.len;
        for (size_t r = 0; c->requests.len && r < spec->requests.len; r++) {
            const struct device_request *taken = request_taken(al, s, claim, r);
            times += string_list_has(&c->requests, spec->requests.items[r].name) || (taken->parent && string_list_has(&c->requests, request_name(a, taken)));
        }
        for (; times; times--) {
            struct resourcev1_DeviceAllocationConfiguration *x = LIST_PUSH(a, to);
            *x = (struct resourcev1_DeviceAllocationConfiguration){.source = "FromClaim", .requests = c->requests};
            x->DeviceConfiguration = c->DeviceConfiguration;
        }
    }
}

/* ---- where it can be used ---- */

static bool values_equal(const struct string_list *x, const struct string_list *y) {
    LIST_FOREACH(v, x)
        if (!string_list_has(y, *v)) return false;
    LIST_FOREACH(v, y)
        if (!string_list_has(x, *v)) return false;
    return true;
}

static void requirements_add(struct arena *a, struct corev1_NodeSelectorRequirement_list *to, const struct corev1_NodeSelectorRequirement_list *from) {
    LIST_FOREACH(r, from) {
        bool there = false;
        LIST_FOREACH(t, to) there |= str_eq(t->key, r->key) && str_eq(t->operator, r->operator) && values_equal(&t->values, &r->values);
        if (!there) *LIST_PUSH(a, to) = *r;
    }
}

static struct corev1_NodeSelector *selector_of_node(struct arena *a, const char *node) {
    struct corev1_NodeSelector *s = ARENA_NEW(a, struct corev1_NodeSelector);
    struct corev1_NodeSelectorTerm *t = LIST_PUSH(a, &s->nodeSelectorTerms);
    *t = (struct corev1_NodeSelectorTerm){0};
    struct corev1_NodeSelectorRequirement *r = LIST_PUSH(a, &t->matchFields);
    *r = (struct corev1_NodeSelectorRequirement){.key = "metadata.name", .operator = "In"};
    string_list_push(a, &r->values, node);
    return s;
}

static int node_selector(struct arena *a, const struct device_choice_list *chosen, const char *node, struct corev1_NodeSelector **ret, struct status *reterr) {
    struct corev1_NodeSelector *s = ARENA_NEW(a, struct corev1_NodeSelector);
    struct corev1_NodeSelectorTerm *t = LIST_PUSH(a, &s->nodeSelectorTerms);
    *t = (struct corev1_NodeSelectorTerm){0};
    *ret = NULL;
    LIST_FOREACH(c, chosen) {
        const struct resourcev1_ResourceSliceSpec *slice = &c->device->slice->obj->spec;
        const struct resourcev1_Device *v = c->device->spec;
        bool each = slice->perDeviceNodeSelection.has && slice->perDeviceNodeSelection.value;
        const struct corev1_NodeSelector *from = each ? v->nodeSelector : slice->nodeSelector;
        if ((each ? v->nodeName : slice->nodeName) || (v->bindsToNode.has && v->bindsToNode.value)) {
            *ret = selector_of_node(a, node);
            return 0;
        }
        if (!from || !from->nodeSelectorTerms.len) continue;
        if (from->nodeSelectorTerms.len > 1)
            return status_set(reterr, 500, REASON_INTERNAL_ERROR, "unsupported ResourceSlice.NodeSelector with %zu terms", from->nodeSelectorTerms.len);
        requirements_add(a, &t->matchFields, &from->nodeSelectorTerms.items[0].matchFields);
        requirements_add(a, &t->matchExpressions, &from->nodeSelectorTerms.items[0].matchExpressions);
    }
    if (t->matchFields.len || t->matchExpressions.len) *ret = s;
    return 0;
}

/* ---- the whole ---- */

int device_solution_result(const struct device_allocator *al, struct arena *a, struct env *env, const struct device_solution *s, size_t i, const char *node,
                           struct resourcev1_AllocationResult **ret, struct status *reterr) {
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct resourcev1_AllocationResult r = {0};
    LIST_FOREACH(c, &s->claims[i]) result_fill(scratch, env, LIST_PUSH(scratch, &r.devices.results), c);
    class_configs(al, scratch, s, i, &r.devices.config);
    claim_configs(al, scratch, s, i, &r.devices.config);
    if (node_selector(scratch, &s->claims[i], node, &r.nodeSelector, reterr)) {
        status_wrap(reterr, "create NodeSelector for claim %s", al->claims.items[i]->metadata.name);
        return -1;
    }
    *ret = object_copy(a, &resourcev1_AllocationResult_desc, &r);
    return 0;
}

int64_t device_solution_score(const struct device_allocator *al, const struct device_solution *s) {
    int64_t score = 0;
    for (size_t c = 0; c < al->claims.len; c++)
        for (size_t r = 0; r < al->claims.items[c]->spec.devices.requests.len; r++) {
            if (!al->requests[c][r].prioritized) continue;
            const struct device_request *taken = request_taken(al, s, c, r);
            bool used = false;
            LIST_FOREACH(x, &s->claims[c]) used |= x->request == taken;
            if (used) score += RESOURCE_CLAIM_FIRST_AVAILABLE_MAX - (int64_t)s->alternatives[c][r];
        }
    return score;
}
