/* The search for devices: see device_allocator.h. Upstream: structured/internal/incubating/allocator_incubating.go. */
#include "api/resource_claim.h"
#include "base/str.h"
#include "scheduler/device_allocator_internal.h"

#define CLOCK_EVERY 256 /* steps of the search between two looks at the clock */

/* What one search knows of a request on this node. */
struct request_state { size_t wanted; struct device **all; size_t all_len; struct device_pool **all_pools; };
/* What a constraint has seen: the attributes of the devices chosen so far, with the requests that it is about. */
struct attribute_list { const struct resourcev1_DeviceAttribute **items; size_t len; };
struct constraint { const struct resourcev1_DeviceConstraint *spec; struct attribute_list seen; };
struct counter_use { const struct device_counter *counter; int128 nanos; };
struct counter_use_list { struct counter_use *items; size_t len; };
struct search {
    struct device_allocator *al;
    struct arena *arena;
    struct env *env;
    int64_t deadline_ns;
    uint64_t steps;
    const struct corev1_Node *node;
    const struct device_pool_list *pools;
    struct request_state ***states;     /* claim, request, alternative */
    struct constraint **constraints;    /* claim, constraint */
    struct counter_use_list used;
    struct device_solution *solution;
    const char *error;
    bool timeout;
};
enum found { FOUND_NO, FOUND_YES, FOUND_TOO_MANY /* more than one claim may have */, FOUND_ERROR };
struct position { size_t claim, request, alternative, device; };
struct location { size_t pool, slice, device; };

static const char *claim_text(const struct search *s, size_t i) {
    const struct metav1_ObjectMeta *m = &s->al->claims.items[i]->metadata;
    return arena_printf(s->arena, "%s/%s", m->namespace, m->name);
}

static enum found fail(struct search *s, const char *error) {
    s->error = error;
    return FOUND_ERROR;
}

/* ---- requests ---- */

static void request_class(struct device_allocator *al, struct device_request *r) { r->class = cache_get(al->cache, &resourcev1_DeviceClass_desc, NULL, r->class_name); }

static void alternatives_of(struct device_allocator *al, const struct resourcev1_DeviceRequest *from, struct device_alternatives *to) {
    to->prioritized = from->firstAvailable.len > 0;
    al->has_alternatives |= to->prioritized;
    to->len = to->prioritized ? from->firstAvailable.len : from->exactly ? 1 : 0;
    to->items = arena_calloc(al->arena, to->len + 1, sizeof(*to->items));
    for (size_t i = 0; to->prioritized && i < to->len; i++) {
        const struct resourcev1_DeviceSubRequest *x = &from->firstAvailable.items[i];
        to->items[i] = (struct device_request){x->name, from->name, x->deviceClassName, str_or(x->allocationMode, "ExactCount"), x->count, false, &x->selectors, &x->tolerations, x->capacity, NULL};
        request_class(al, &to->items[i]);
    }
    const struct resourcev1_ExactDeviceRequest *x = from->exactly;
    if (to->prioritized || !x) return;
    to->items[0] = (struct device_request){from->name, NULL, x->deviceClassName, str_or(x->allocationMode, "ExactCount"), x->count, x->adminAccess.has && x->adminAccess.value, &x->selectors,
                                           &x->tolerations, x->capacity, NULL};
    request_class(al, &to->items[0]);
}

struct device_allocator *device_allocator_new(struct arena *a, struct scheduler_cache *cache, const struct device_claims *claims) {
    struct device_allocator *al = ARENA_NEW(a, struct device_allocator);
    al->arena = a;
    al->cache = cache;
    al->devices = cache_devices(cache);
    al->claims = *claims;
    al->requests = arena_calloc(a, claims->len + 1, sizeof(*al->requests));
    for (size_t c = 0; c < claims->len; c++) {
        const struct resourcev1_DeviceRequest_list *list = &claims->items[c]->spec.devices.requests;
        al->requests[c] = arena_calloc(a, list->len + 1, sizeof(**al->requests));
        for (size_t r = 0; r < list->len; r++) alternatives_of(al, &list->items[r], &al->requests[c][r]);
    }
    return al;
}

bool device_allocator_has_alternatives(const struct device_allocator *al) { return al->has_alternatives; }

/* ---- selectors ---- */

static enum found selectors_match(struct search *s, size_t claim, struct device *v, const struct resourcev1_DeviceClass *class, const struct resourcev1_DeviceSelector_list *list) {
    for (size_t i = 0; i < list->len; i++) {
        const char *why = NULL;
        bool compile = false;
        int r = list->items[i].cel ? devices_select(s->al->devices, s->arena, v, list->items[i].cel->expression, &why, &compile) : 0;
        if (r == 0) return FOUND_NO;
        if (r > 0) continue;
        const char *whose = class ? arena_printf(s->arena, "class %s", class->metadata.name) : arena_printf(s->arena, "claim %s", claim_text(s, claim));
        return fail(s, arena_printf(s->arena, "%s: selector #%zu: CEL %s error: %s", whose, i, compile ? "compile" : "runtime", why));
    }
    return FOUND_YES;
}

static enum found selectable(struct search *s, size_t claim, const struct device_request *r, struct device *v) {
    enum found f = r->class ? selectors_match(s, claim, v, r->class, &r->class->spec.selectors) : FOUND_YES;
    if (f == FOUND_YES) f = selectors_match(s, claim, v, NULL, r->selectors);
    if (f != FOUND_YES) return f;
    const struct opt_bool *each = &v->slice->obj->spec.perDeviceNodeSelection;
    return !(each->has && each->value) || devices_node_matches(s->node, v->spec->nodeName, &v->spec->allNodes, v->spec->nodeSelector) ? FOUND_YES : FOUND_NO;
}

static bool capacity_fits(const struct search *s, const struct device_request *r, const struct device *v) {
    return device_capacity_fits(v, r->capacity, s->solution->claims, s->al->claims.len);
}

/* All devices that the request asks for. */
static enum found request_all(struct search *s, size_t claim, const struct device_request *r, struct request_state *to) {
    struct { struct device **items; size_t len; } all = {0};
    struct { struct device_pool **items; size_t len; } pools = {0};
    LIST_FOREACH(p, s->pools) {
        if (p->incomplete || p->invalid)
            return fail(s, arena_printf(s->arena, "claim %s, request %s: asks for all devices, but resource pool %s/%s is currently %s", claim_text(s, claim), r->name, p->driver, p->name,
                                        p->incomplete ? "being updated" : "invalid"));
        for (size_t i = 0; i < p->slices.len; i++)
            for (size_t k = 0; k < p->slices.items[i]->devices_len; k++) {
                struct device *v = &p->slices.items[i]->devices[k];
                enum found f = selectable(s, claim, r, v);
                if (f == FOUND_ERROR) return f;
                if (f != FOUND_YES || !capacity_fits(s, r, v)) continue;
                *LIST_PUSH(s->arena, &all) = v;
                *LIST_PUSH(s->arena, &pools) = p;
            }
    }
    to->all = all.items;
    to->all_pools = pools.items;
    to->wanted = to->all_len = all.len;
    return FOUND_YES;
}

static enum found request_validate(struct search *s, size_t claim, const struct device_request *r, struct request_state *to) {
    const char *name = claim_text(s, claim);
    for (size_t i = 0; i < r->selectors->len; i++)
        if (!r->selectors->items[i].cel)
            return fail(s, arena_printf(s->arena, "claim %s, request %s, selector #%zu: CEL expression empty (unsupported selector type?)", name, r->name, i));
    if (str_empty(r->class_name)) return fail(s, arena_printf(s->arena, "claim %s, request %s: missing device class name (unsupported request type?)", name, r->name));
    if (!r->class)
        return fail(s, arena_printf(s->arena, "claim %s, request %s: could not retrieve device class %s: deviceclass.resource.k8s.io \"%s\" not found", name, r->name, r->class_name, r->class_name));
    if (str_eq(r->mode, "All")) return request_all(s, claim, r, to);
    if (!str_eq(r->mode, "ExactCount")) return fail(s, arena_printf(s->arena, "claim %s, request %s: unsupported count mode %s", name, r->name, r->mode));
    to->wanted = (size_t)MAX(r->count, (int64_t)0);
    return FOUND_YES;
}

/* Of one claim: its requests' states and its constraints. */
static enum found claim_prepare(struct search *s, size_t c) {
    const struct resourcev1_DeviceClaim *spec = &s->al->claims.items[c]->spec.devices;
    size_t least = 0;
    s->states[c] = arena_calloc(s->arena, spec->requests.len + 1, sizeof(**s->states));
    for (size_t r = 0; r < spec->requests.len; r++) {
        const struct device_alternatives *alternatives = &s->al->requests[c][r];
        size_t fewest = SIZE_MAX;
        s->states[c][r] = arena_calloc(s->arena, alternatives->len + 1, sizeof(***s->states));
        for (size_t i = 0; i < alternatives->len; i++) {
            if (request_validate(s, c, &alternatives->items[i], &s->states[c][r][i]) == FOUND_ERROR) return FOUND_ERROR;
            fewest = MIN(fewest, s->states[c][r][i].wanted);
        }
        if (alternatives->len) least += fewest;
    }
    if (least > RESOURCE_CLAIM_RESULTS_MAX)
        return fail(s, arena_printf(s->arena, "claim %s: number of requested devices %zu exceeds the claim limit of %d", claim_text(s, c), least, RESOURCE_CLAIM_RESULTS_MAX));
    s->constraints[c] = arena_calloc(s->arena, spec->constraints.len + 1, sizeof(**s->constraints));
    for (size_t i = 0; i < spec->constraints.len; i++) {
        s->constraints[c][i].spec = &spec->constraints.items[i];
        if (!spec->constraints.items[i].matchAttribute && !spec->constraints.items[i].distinctAttribute)
            return fail(s, arena_printf(s->arena, "claim %s, constraint #%zu: empty constraint (unsupported constraint type?)", claim_text(s, c), i));
    }
    return FOUND_YES;
}

/* ---- constraints ---- */

static bool constraint_meant(const struct search *s, const struct constraint *c, const struct device_request *r) {
    const struct string_list *l = &c->spec->requests;
    if (!l->len || string_list_has(l, r->parent ? r->parent : r->name)) return true;
    return r->parent && string_list_has(l, arena_printf(s->arena, "%s/%s", r->parent, r->name));
}

static const struct resourcev1_DeviceAttribute *attribute_get(const struct device *v, const char *name) {
    LIST_FOREACH(e, &v->spec->attributes)
        if (str_eq(e->key, name)) return &e->value;
    const char *slash = strchr(name, '/'), *driver = v->slice->obj->spec.driver;
    if (!slash || strlen(driver) != (size_t)(slash - name) || strncmp(driver, name, strlen(driver)) != 0) return NULL;
    LIST_FOREACH(e, &v->spec->attributes)
        if (str_eq(e->key, slash + 1)) return &e->value;
    return NULL;
}

/* An attribute of a kind that we do not know equals none; *ret_known. */
static bool attributes_equal(const struct resourcev1_DeviceAttribute *x, const struct resourcev1_DeviceAttribute *y, bool *ret_known) {
    *ret_known = true;
    if (x->string) return y->string && strcmp(x->string, y->string) == 0;
    if (x->int_.has) return y->int_.has && x->int_.value == y->int_.value;
    if (x->bool_.has) return y->bool_.has && x->bool_.value == y->bool_.value;
    if (x->version) return y->version && strcmp(x->version, y->version) == 0;
    return *ret_known = false;
}

static bool constraint_add(const struct search *s, struct constraint *c, const struct device_request *r, const struct device *v) {
    if (!constraint_meant(s, c, r)) return true;
    const char *name = str_or(c->spec->matchAttribute, c->spec->distinctAttribute);
    const struct resourcev1_DeviceAttribute *x = attribute_get(v, name);
    if (!x) return false;
    for (size_t i = 0; i < c->seen.len; i++) {
        bool known, equal = attributes_equal(x, c->seen.items[i], &known);
        if (!known || equal != (c->spec->matchAttribute != NULL)) return false;
    }
    *LIST_PUSH(s->arena, &c->seen) = x;
    return true;
}

static void constraint_remove(const struct search *s, struct constraint *c, const struct device_request *r) {
    if (constraint_meant(s, c, r)) c->seen.len--;
}

/* ---- counters ---- */

static void counters_add(struct search *s, const struct device_counter_list *counters, const struct device *v, int sign) {
    LIST_FOREACH(use, &v->spec->consumesCounters)
        LIST_FOREACH(want, &use->counters) {
            const struct device_counter *counter = NULL;
            LIST_FOREACH(c, counters)
                if (str_eq(c->set, use->counterSet) && str_eq(c->name, want->key)) counter = c;
            struct counter_use *mine = NULL;
            LIST_FOREACH(u, &s->used)
                if (u->counter == counter) mine = u;
            if (!mine) {
                mine = LIST_PUSH(s->arena, &s->used);
                *mine = (struct counter_use){.counter = counter};
            }
            struct quantity q = quantity_of(want->value.value);
            mine->nanos += sign * q.nanos;
        }
}

static bool counters_take(struct search *s, struct device_pool *p, const struct device *v) {
    const struct device_counter_list *counters = devices_pool_counters(s->al->devices, p);
    counters_add(s, counters, v, 1);
    bool enough = true;
    LIST_FOREACH(c, counters) enough &= c->available >= 0;
    LIST_FOREACH(u, &s->used)
        if (u->counter >= counters->items && u->counter < counters->items + counters->len) enough &= u->counter->available >= u->nanos;
    if (!enough) counters_add(s, counters, v, -1);
    return enough;
}

/* ---- one device ---- */

static bool chosen_in(const struct device_choice_list *l, const struct device *v) {
    LIST_FOREACH(c, l)
        if (c->device->id == v->id && !device_shared(c->device)) return true;
    return false;
}

static bool in_use(const struct search *s, const struct device *v) {
    if (v->id->dedicated) return true;
    for (size_t i = 0; i < s->al->claims.len; i++)
        if (chosen_in(&s->solution->claims[i], v)) return true;
    return false;
}

static bool shares_in_use(const struct search *s, const struct device *v) {
    if (v->id->consumed.len && v->id->shared) return true;
    for (size_t i = 0; i < s->al->claims.len; i++)
        LIST_FOREACH(c, &s->solution->claims[i])
            if (c->device->id == v->id && c->consumed.len) return true;
    return false;
}

static bool taints_refuse(const struct device *v, const struct device_request *r) {
    LIST_FOREACH(t, &v->spec->taints) {
        if (!str_eq(t->effect, "NoExecute") && !str_eq(t->effect, "NoSchedule")) continue;
        bool tolerated = false;
        LIST_FOREACH(tol, r->tolerations) tolerated |= device_toleration_tolerates(tol, t);
        if (!tolerated) return true;
    }
    return false;
}

/* FOUND_YES: it is in the solution now. `must`: it is one of all, so a constraint that it breaks can never be met. */
static enum found device_take(struct search *s, const struct position *at, const struct device_request *r, struct device *v, struct device_pool *pool, bool must) {
    struct device_choice_list *mine = &s->solution->claims[at->claim];
    bool shared = device_shared(v), counted = false;
    if (r->admin ? !shared && chosen_in(mine, v) : in_use(s, v)) return FOUND_NO;
    if (taints_refuse(v, r) || !capacity_fits(s, r, v)) return FOUND_NO;
    if (v->spec->consumesCounters.len && !(shared && shares_in_use(s, v))) {
        if (!counters_take(s, pool, v)) return FOUND_NO;
        counted = true;
    }
    size_t n = s->al->claims.items[at->claim]->spec.devices.constraints.len;
    for (size_t i = 0; i < n; i++) {
        if (constraint_add(s, &s->constraints[at->claim][i], r, v)) continue;
        while (i > 0) constraint_remove(s, &s->constraints[at->claim][--i], r);
        if (counted) counters_add(s, devices_pool_counters(s->al->devices, pool), v, -1);
        if (must)
            return fail(s, arena_printf(s->arena, "claim %s, request %s: cannot add device %s because a claim constraint would not be satisfied", claim_text(s, at->claim), r->name, v->id->key));
        return FOUND_NO;
    }
    struct device_choice *c = LIST_PUSH(s->arena, mine);
    *c = (struct device_choice){.device = v, .request = r, .counted = counted};
    if (shared) c->consumed = device_capacity_consumed(s->arena, v, r->capacity);
    return FOUND_YES;
}

static void device_give_back(struct search *s, const struct position *at, struct device_pool *pool) {
    struct device_choice_list *mine = &s->solution->claims[at->claim];
    const struct device_choice *c = &mine->items[mine->len - 1];
    size_t n = s->al->claims.items[at->claim]->spec.devices.constraints.len;
    for (size_t i = 0; i < n; i++) constraint_remove(s, &s->constraints[at->claim][i], c->request);
    if (c->counted) counters_add(s, devices_pool_counters(s->al->devices, pool), c->device, -1);
    mine->len--;
}

/* ---- the search ---- */

static enum found search_from(struct search *s, struct position at, bool chosen, struct location start);

static enum found search_alternatives(struct search *s, struct position at) {
    const struct device_alternatives *alternatives = &s->al->requests[at.claim][at.request];
    bool too_many = true;
    for (at.alternative = 0; at.alternative < alternatives->len; at.alternative++) {
        enum found f = search_from(s, at, true, (struct location){0});
        if (f == FOUND_TOO_MANY) continue;
        too_many = false;
        if (f == FOUND_YES) s->solution->alternatives[at.claim][at.request] = at.alternative;
        if (f != FOUND_NO) return f;
    }
    return too_many ? FOUND_TOO_MANY : FOUND_NO;
}

static enum found search_all(struct search *s, struct position at, const struct device_request *r, const struct request_state *state) {
    struct device_pool *pool = state->all_pools[at.device];
    enum found f = device_take(s, &at, r, state->all[at.device], pool, true);
    if (f != FOUND_YES) return f;
    struct position next = at;
    next.device++;
    f = search_from(s, next, true, (struct location){0});
    if (f != FOUND_YES) device_give_back(s, &at, pool);
    return f;
}

static enum found search_device(struct search *s, struct position at, const struct device_request *r, struct device_pool *pool, struct location where) {
    struct device *v = &pool->slices.items[where.slice]->devices[where.device];
    if (r->admin ? chosen_in(&s->solution->claims[at.claim], v) : in_use(s, v)) return FOUND_NO;
    enum found f = selectable(s, at.claim, r, v);
    if (f == FOUND_YES) f = device_take(s, &at, r, v, pool, false);
    if (f != FOUND_YES) return f;
    struct position next = at;
    next.device++;
    where.device++;
    f = search_from(s, next, true, where);
    if (f != FOUND_YES) device_give_back(s, &at, pool);
    return f;
}

static enum found search_counted(struct search *s, struct position at, const struct device_request *r, struct location start) {
    for (struct location w = start; w.pool < s->pools->len; w = (struct location){.pool = w.pool + 1}) {
        struct device_pool *pool = &s->pools->items[w.pool];
        if (pool->incomplete || pool->invalid) continue;
        for (; w.slice < pool->slices.len; w.slice++, w.device = 0)
            for (; w.device < pool->slices.items[w.slice]->devices_len; w.device++) {
                enum found f = search_device(s, at, r, pool, w);
                if (f != FOUND_NO) return f;
            }
    }
    return FOUND_NO;
}

static bool time_is_up(struct search *s) {
    if (s->deadline_ns && s->steps++ % CLOCK_EVERY == 0 && env_mono_ns(s->env) >= s->deadline_ns) s->timeout = true;
    return s->timeout;
}

/* Everything from this position on; chosen: one of the alternatives has been chosen. Upstream: allocateOne. */
static enum found search_from(struct search *s, struct position at, bool chosen, struct location start) {
    if (time_is_up(s)) return FOUND_ERROR;
    if (at.claim >= s->al->claims.len) return FOUND_YES;
    if (at.request >= s->al->claims.items[at.claim]->spec.devices.requests.len) {
        enum found f = search_from(s, (struct position){.claim = at.claim + 1}, false, (struct location){0});
        return f == FOUND_TOO_MANY ? FOUND_NO : f;
    }
    const struct device_alternatives *alternatives = &s->al->requests[at.claim][at.request];
    if (!chosen && alternatives->prioritized) return search_alternatives(s, at);
    if (!alternatives->len) return FOUND_NO;
    const struct device_request *r = &alternatives->items[at.alternative];
    const struct request_state *state = &s->states[at.claim][at.request][at.alternative];
    bool all = str_eq(r->mode, "All");
    if (all && !state->all_len) return FOUND_NO;
    if (at.device >= state->wanted) return search_from(s, (struct position){.claim = at.claim, .request = at.request + 1}, false, (struct location){0});
    if (s->solution->claims[at.claim].len + state->wanted - at.device > RESOURCE_CLAIM_RESULTS_MAX) return FOUND_TOO_MANY;
    return all ? search_all(s, at, r, state) : search_counted(s, at, r, start);
}

enum device_outcome device_allocate(struct device_allocator *al, struct env *env, int64_t deadline_ns, const struct corev1_Node *node, struct device_solution **ret, const char **ret_error) {
    struct search s = {.al = al, .arena = al->arena, .env = env, .deadline_ns = deadline_ns, .node = node};
    size_t n = al->claims.len;
    s.pools = devices_of_node(al->devices, node);
    s.states = arena_calloc(al->arena, n + 1, sizeof(*s.states));
    s.constraints = arena_calloc(al->arena, n + 1, sizeof(*s.constraints));
    s.solution = ARENA_NEW(al->arena, struct device_solution);
    s.solution->claims = arena_calloc(al->arena, n + 1, sizeof(*s.solution->claims));
    s.solution->alternatives = arena_calloc(al->arena, n + 1, sizeof(*s.solution->alternatives));
    enum found f = FOUND_YES;
    for (size_t c = 0; c < n && f == FOUND_YES; c++) {
        s.solution->alternatives[c] = arena_calloc(al->arena, al->claims.items[c]->spec.devices.requests.len + 1, sizeof(**s.solution->alternatives));
        f = claim_prepare(&s, c);
    }
    if (f == FOUND_YES) f = search_from(&s, (struct position){0}, false, (struct location){0});
    *ret = s.solution;
    *ret_error = str_or(s.error, "allocation max size exceeded");
    if (f == FOUND_YES) return DEVICES_FOUND;
    if (s.timeout) return DEVICES_TIMEOUT;
    if (f == FOUND_ERROR || f == FOUND_TOO_MANY) return DEVICES_ERROR;
    LIST_FOREACH(p, s.pools)
        if (p->invalid) {
            *ret_error = "invalid resource pools were encountered";
            return DEVICES_INVALID;
        }
    return DEVICES_NONE;
}
