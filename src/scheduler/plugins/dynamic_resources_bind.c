/* The writing half of DynamicResources: allocations are pending from Reserve, written with the reservation by PreBind, and taken back by Unreserve.
 *
 * PreBind reads a claim again when somebody else has written to it meanwhile; it is given up if it has been deleted or allocated by others. Devices with binding
 * conditions are waited for: framework_bind comes back once a second. */
#include "api/resource_claim.h"
#include "api/time.h"
#include "base/log.h"
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/devices.h"
#include "scheduler/plugins/dynamic_resources.h"

#define CONFLICT_TRIES 5
#define CONFLICT_PAUSE_MS 10

struct bound_claim {
    struct resourcev1_ResourceClaim *claim;          /* as it was, then as written */
    struct resourcev1_AllocationResult *allocation;  /* NULL: it had one */
    bool reserved;                                   /* done */
};
struct bound_claim_list { struct bound_claim *items; size_t len; int64_t deadline_ns; bool waits; };

enum code dra_reserve(struct cycle *cycle, struct node_info *node, struct binding *b, struct reasons *why) {
    struct dra_state *s = cycle->state[PLUGIN_DYNAMIC_RESOURCES];
    if (!s) return CODE_SUCCESS;
    _cleanup_status_ struct status st = STATUS_INIT;
    if (s->allocator && (node->list_position >= s->nodes_len || !s->solutions[node->list_position])) { /* the state was made anew while an extender was asked */
        enum code code = dra_allocate(cycle, s, node, why);
        if (code != CODE_SUCCESS) return code;
        if (node->list_position >= s->nodes_len) return reasons_add(why, CODE_ERROR, "claim allocation not found for node");
    }
    struct bound_claim_list *list = ARENA_NEW(b->arena, struct bound_claim_list);
    size_t open = 0;
    LIST_FOREACH(c, &s->claims) {
        struct bound_claim *to = LIST_PUSH(b->arena, list);
        *to = (struct bound_claim){.claim = object_copy(b->arena, &resourcev1_ResourceClaim_desc, *c), .reserved = claim_is_reserved_for(cycle->pod->pod, *c)};
        if ((*c)->status.allocation) continue;
        if (device_solution_result(s->allocator, b->arena, cycle->handle->env, s->solutions[node->list_position], open++, b->node, &to->allocation, &st))
            return reasons_add(why, CODE_ERROR, arena_strdup(cycle->arena, status_message(&st)));
    }
    LIST_FOREACH(c, list)
        if (c->allocation) devices_pend(cache_devices(cycle->cache), c->claim, c->allocation);
    b->state[PLUGIN_DYNAMIC_RESOURCES] = list;
    return CODE_SUCCESS;
}

void dra_unreserve(struct handle *h, struct binding *b) {
    struct bound_claim_list *list = b->state[PLUGIN_DYNAMIC_RESOURCES];
    if (!list) return;
    cache_lock(h->cache);
    LIST_FOREACH(c, list)
        if (c->allocation) devices_unpend(cache_devices(h->cache), c->claim);
    cache_unlock(h->cache);
    LIST_FOREACH(c, list) {
        _cleanup_status_ struct status st = STATUS_INIT;
        if (!c->claim->status.allocation || !claim_is_reserved_for(b->pod->pod, c->claim) || !h->client->unreserve_resource_claim) continue;
        if (h->client->unreserve_resource_claim(h->client->data, c->claim, b->pod->pod, &st) && !status_is(&st, 404))
            log_warning("scheduler: reservation of ResourceClaim %s/%s for Pod %s: %s", c->claim->metadata.namespace, c->claim->metadata.name, b->pod->key, status_message(&st));
    }
}

/* ---- PreBind ---- */

static int claim_write(struct handle *h, struct binding *b, struct bound_claim *c, struct status *reterr) {
    const struct metav1_ObjectMeta *m = &c->claim->metadata;
    struct resourcev1_ResourceClaim *now = object_copy(b->arena, &resourcev1_ResourceClaim_desc, c->claim), *written = object_new(b->arena, &resourcev1_ResourceClaim_desc);
    if (m->deletionTimestamp.set) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "claim %s/%s got deleted in the meantime", m->namespace, m->name);
    if (c->allocation && now->status.allocation) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "claim %s/%s got allocated elsewhere in the meantime", m->namespace, m->name);
    if (c->allocation && !claim_has_finalizer(now)) {
        string_list_push(b->arena, &now->metadata.finalizers, RESOURCE_CLAIM_FINALIZER);
        if (h->client->put_resource_claim(h->client->data, b->arena, now, false, written, reterr)) {
            status_wrap(reterr, "add finalizer to claim %s/%s", m->namespace, m->name);
            return -1;
        }
        now = written;
        written = object_new(b->arena, &resourcev1_ResourceClaim_desc);
    }
    if (c->allocation) now->status.allocation = c->allocation;
    if (!now->status.allocation) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "claim %s/%s got deallocated elsewhere in the meantime", m->namespace, m->name);
    if (!now->status.allocation->allocationTimestamp.set) now->status.allocation->allocationTimestamp = time_from_s(env_now_s(h->env));
    *LIST_PUSH(b->arena, &now->status.reservedFor) = (struct resourcev1_ResourceClaimConsumerReference){.resource = "pods", .name = b->pod->pod->metadata.name, .uid = b->pod->pod->metadata.uid};
    if (h->client->put_resource_claim(h->client->data, b->arena, now, true, written, reterr)) {
        status_wrap(reterr, c->allocation ? "add allocation and reservation to claim %s/%s" : "add reservation to claim %s/%s", m->namespace, m->name);
        return -1;
    }
    c->claim = written;
    return 0;
}

static int claim_bind(struct handle *h, struct binding *b, struct bound_claim *c, struct status *reterr) {
    if (!h->client->put_resource_claim || !h->client->get_resource_claim) return status_internal(reterr, "%s", "resource claims cannot be bound: the scheduler's client cannot write them");
    const char *ns = c->claim->metadata.namespace, *name = c->claim->metadata.name;
    for (int i = 0;; i++) {
        status_release(reterr);
        if (claim_write(h, b, c, reterr) == 0) break;
        if (!status_is(reterr, 409) || i + 1 == CONFLICT_TRIES) return -1;
        env_sleep_ms(h->env, CONFLICT_PAUSE_MS << i);
        struct resourcev1_ResourceClaim *now = object_new(b->arena, &resourcev1_ResourceClaim_desc);
        status_release(reterr);
        if (h->client->get_resource_claim(h->client->data, b->arena, ns, name, now, reterr)) {
            status_wrap(reterr, "get updated claim %s/%s after conflict", ns, name);
            return -1;
        }
        c->claim = now;
    }
    c->reserved = true;
    if (!c->allocation) return 0;
    cache_lock(h->cache);
    devices_written(cache_devices(h->cache), c->claim, c->claim->metadata.resourceVersion);
    cache_unlock(h->cache);
    return 0;
}

static bool has_binding_conditions(const struct bound_claim_list *list) {
    LIST_FOREACH(c, list) {
        if (!c->claim->status.allocation) continue;
        LIST_FOREACH(r, &c->claim->status.allocation->devices.results)
            if (r->bindingConditions.len) return true;
    }
    return false;
}

/* 0: all devices are ready; 1: not yet; -1. */
static int conditions_check(struct handle *h, const struct binding *b, const struct bound_claim_list *list, struct status *reterr) {
    const struct dynamic_resources_args *args = b->profile->args[PLUGIN_DYNAMIC_RESOURCES];
    LIST_FOREACH(c, list) {
        const struct metav1_ObjectMeta *m = &c->claim->metadata;
        const struct resourcev1_ResourceClaim *now = cache_get_api(h->cache, &resourcev1_ResourceClaim_desc, m->namespace, m->name);
        if (!now) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "could not find ResourceClaim \"%s/%s\"", m->namespace, m->name);
        int ready = dra_claim_ready(now, reterr);
        if (ready < 0) return -1;
        if (!ready && dra_claim_timed_out(now, h->env, args->binding_timeout_ms)) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "device binding timeout: claim=%s", m->name);
        if (!ready) return 1;
    }
    return 0;
}

int dra_pre_bind(struct handle *h, struct binding *b, struct status *reterr) {
    struct bound_claim_list *list = b->state[PLUGIN_DYNAMIC_RESOURCES];
    if (!list) return 0;
    LIST_FOREACH(c, list) {
        if (c->reserved || claim_bind(h, b, c, reterr) == 0) continue;
        if (status_is(reterr, 404)) reterr->code = 500; /* the claim is gone, not the Pod */
        return -1;
    }
    if (!list->waits) {
        if (!has_binding_conditions(list)) return 0;
        const struct dynamic_resources_args *args = b->profile->args[PLUGIN_DYNAMIC_RESOURCES];
        list->waits = true;
        list->deadline_ns = env_mono_ns(h->env) + args->binding_timeout_ms * 1000000;
        h->client->record(h->client->data, b->pod->pod, "Normal", "BindingConditionsPending", "Scheduling",
                          arena_printf(b->arena, "waiting for binding conditions for device on node %s", b->node));
    }
    cache_lock(h->cache);
    int r = conditions_check(h, b, list, reterr);
    cache_unlock(h->cache);
    if (r > 0 && env_mono_ns(h->env) >= list->deadline_ns) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "device binding timeout: context deadline exceeded");
    return r;
}
