#include "apiserver/admission_quota.h"
#include <string.h>
#include "api/quantity.h"
#include "api/validation/pod_parts.h"
#include "apiserver/apiserver.h"
#include "apiserver/fence.h"
#include "base/str.h"

enum { QUOTA_TRIES = 1000 };

/* ---- sums ---- */

static void add_amount(struct arena *a, struct string_map *sum, const char *name, const char *value) {
    struct quantity total = quantity_of(string_map_get(sum, name)), more = quantity_of(value);
    if (string_map_has(sum, name)) quantity_add(&total, &more);
    else total = more;
    string_map_set(a, sum, name, quantity_format(a, &total));
}

static void add_all(struct arena *a, struct string_map *sum, const struct string_map *more) { LIST_FOREACH(e, more) add_amount(a, sum, e->key, e->value); }

static void max_all(struct arena *a, struct string_map *into, const struct string_map *other) {
    LIST_FOREACH(e, other)
        if (!string_map_has(into, e->key) || quantity_text_cmp(e->value, string_map_get(into, e->key)) > 0) string_map_set(a, into, e->key, e->value);
}

struct string_map pod_total_resources(struct arena *a, const struct corev1_PodSpec *s, bool limits, bool overhead) {
    struct string_map sum = {0}, sidecars = {0}, peak = {0};
    LIST_FOREACH(c, &s->containers) add_all(a, &sum, limits ? &c->resources.limits : &c->resources.requests);
    LIST_FOREACH(c, &s->initContainers) {
        const struct string_map *own = limits ? &c->resources.limits : &c->resources.requests;
        struct string_map now = string_map_copy(a, &sidecars);
        add_all(a, &now, own);
        if (str_eq(c->restartPolicy, "Always")) {
            add_all(a, &sum, own);
            sidecars = string_map_copy(a, &now);
        }
        max_all(a, &peak, &now);
    }
    max_all(a, &sum, &peak);
    if (s->resources)
        LIST_FOREACH(e, limits ? &s->resources->limits : &s->resources->requests)
            if (str_eq(e->key, "cpu") || str_eq(e->key, "memory") || resource_is_huge_page(e->key)) string_map_set(a, &sum, e->key, e->value);
    if (overhead)
        LIST_FOREACH(e, &s->overhead)
            if (!limits || quantity_of(string_map_get(&sum, e->key)).nanos > 0) add_amount(a, &sum, e->key, e->value);
    return sum;
}

/* ---- what an object uses: upstream's evaluators ---- */

static const char *count_name(struct arena *a, const struct strategy *st) { return arena_printf(a, str_empty(st->group) ? "count/%s%s" : "count/%s.%s", st->resource, st->group); }

/* Resources that are counted under a short name too. */
static const char *short_name(const struct strategy *st) {
    static const char *const named[] = {"services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims", NULL};
    return str_empty(st->group) && str_in(st->resource, named) ? st->resource : NULL;
}

static void compute_usage(struct arena *a, const struct string_map *requests, const struct string_map *limits, struct string_map *ret) {
    static const char *const names[] = {"cpu", "memory", "ephemeral-storage"};
    string_map_set(a, ret, "pods", "1");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *request = string_map_get(requests, names[i]), *limit = string_map_get(limits, names[i]);
        if (request) string_map_set(a, ret, names[i], request);
        if (request) string_map_set(a, ret, arena_printf(a, "requests.%s", names[i]), request);
        if (limit) string_map_set(a, ret, arena_printf(a, "limits.%s", names[i]), limit);
    }
    LIST_FOREACH(e, requests) {
        if (resource_is_huge_page(e->key)) string_map_set(a, ret, e->key, e->value);
        if (resource_is_huge_page(e->key) || resource_is_extended(e->key)) string_map_set(a, ret, arena_printf(a, "requests.%s", e->key), e->value);
    }
}

static void service_usage(struct arena *a, const struct corev1_Service *s, struct string_map *ret) {
    size_t ports = 0;
    bool balancer = str_eq(s->spec.type, "LoadBalancer"), all = str_eq(s->spec.type, "NodePort") || (balancer && (!s->spec.allocateLoadBalancerNodePorts.has || s->spec.allocateLoadBalancerNodePorts.value));
    LIST_FOREACH(p, &s->spec.ports) ports += all || (balancer && p->nodePort);
    string_map_set(a, ret, "services.nodeports", arena_printf(a, "%zu", ports));
    string_map_set(a, ret, "services.loadbalancers", balancer ? "1" : "0");
}

static const char *claim_class(const struct corev1_PersistentVolumeClaim *c) {
    const char *beta = string_map_get(&c->metadata.annotations, "volume.beta.kubernetes.io/storage-class");
    return beta ? beta : c->spec.storageClassName;
}

static void claim_usage(struct arena *a, const struct corev1_PersistentVolumeClaim *c, struct string_map *ret) {
    const char *class = claim_class(c), *size = string_map_get(&c->spec.resources.requests, "storage"), *allocated = string_map_get(&c->status.allocatedResources, "storage");
    if (allocated && quantity_text_cmp(allocated, size) > 0) size = allocated;
    if (!str_empty(class)) string_map_set(a, ret, arena_printf(a, "%s.storageclass.storage.k8s.io/persistentvolumeclaims", class), "1");
    if (!size) return;
    string_map_set(a, ret, "requests.storage", size);
    if (!str_empty(class)) string_map_set(a, ret, arena_printf(a, "%s.storageclass.storage.k8s.io/requests.storage", class), size);
}

static struct string_map usage_of(struct arena *a, const struct strategy *st, const void *obj) {
    struct string_map ret = {0};
    string_map_set(a, &ret, count_name(a, st), "1");
    if (short_name(st)) string_map_set(a, &ret, short_name(st), "1");
    if (st->type == &corev1_Pod_desc) {
        const struct corev1_Pod *p = obj;
        struct string_map requests = pod_total_resources(a, &p->spec, false, true), limits = pod_total_resources(a, &p->spec, true, true);
        if (!str_eq(p->status.phase, "Failed") && !str_eq(p->status.phase, "Succeeded")) compute_usage(a, &requests, &limits, &ret);
    } else if (st->type == &corev1_Service_desc) service_usage(a, obj, &ret);
    else if (st->type == &corev1_PersistentVolumeClaim_desc) claim_usage(a, obj, &ret);
    return ret;
}

/* Whether a quota's resource is one that objects of this kind use. */
static bool concerns(struct arena *a, const struct strategy *st, const char *name) {
    static const char *const pod[] = {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", NULL};
    if (str_eq(name, count_name(a, st)) || (short_name(st) && str_eq(name, short_name(st)))) return true;
    if (st->type == &corev1_Pod_desc)
        return str_in(name, pod) || resource_is_huge_page(name) || str_has_prefix(name, "requests.hugepages-") || (!resource_is_native(name) && str_has_prefix(name, "requests."));
    if (st->type == &corev1_Service_desc) return str_eq(name, "services.nodeports") || str_eq(name, "services.loadbalancers");
    if (st->type == &corev1_PersistentVolumeClaim_desc)
        return str_eq(name, "requests.storage") || str_has_suffix(name, ".storageclass.storage.k8s.io/requests.storage") || str_has_suffix(name, ".storageclass.storage.k8s.io/persistentvolumeclaims");
    return false;
}

/* ---- scopes ---- */

static bool best_effort(const struct corev1_PodSpec *s) {
    static const char *const names[] = {"cpu", "memory"};
    for (size_t i = 0; i < 2; i++) {
        if (s->resources && (quantity_of(string_map_get(&s->resources->requests, names[i])).nanos > 0 || quantity_of(string_map_get(&s->resources->limits, names[i])).nanos > 0)) return false;
        LIST_FOREACH(c, &s->containers)
            if (quantity_of(string_map_get(&c->resources.requests, names[i])).nanos > 0 || quantity_of(string_map_get(&c->resources.limits, names[i])).nanos > 0) return false;
        LIST_FOREACH(c, &s->initContainers)
            if (quantity_of(string_map_get(&c->resources.requests, names[i])).nanos > 0 || quantity_of(string_map_get(&c->resources.limits, names[i])).nanos > 0) return false;
    }
    return true;
}

static bool terminating(const struct corev1_Pod *p) { return p->spec.activeDeadlineSeconds.has && p->spec.activeDeadlineSeconds.value >= 0; }

static bool other_namespaces(const struct corev1_PodAffinityTerm_list *required, const struct corev1_WeightedPodAffinityTerm_list *preferred) {
    LIST_FOREACH(t, required)
        if (t->namespaces.len || t->namespaceSelector) return true;
    LIST_FOREACH(t, preferred)
        if (t->podAffinityTerm.namespaces.len || t->podAffinityTerm.namespaceSelector) return true;
    return false;
}

static bool cross_namespace(const struct corev1_Affinity *f) {
    if (!f) return false;
    return (f->podAffinity && other_namespaces(&f->podAffinity->requiredDuringSchedulingIgnoredDuringExecution, &f->podAffinity->preferredDuringSchedulingIgnoredDuringExecution)) ||
           (f->podAntiAffinity && other_namespaces(&f->podAntiAffinity->requiredDuringSchedulingIgnoredDuringExecution, &f->podAntiAffinity->preferredDuringSchedulingIgnoredDuringExecution));
}

/* A requirement on a value that may be absent. */
static bool value_matches(const char *value, const char *op, const struct string_list *values) {
    bool present = !str_empty(value);
    if (str_eq(op, "Exists")) return present;
    if (str_eq(op, "DoesNotExist")) return !present;
    bool in = present && string_list_has(values, value);
    return str_eq(op, "In") ? in : str_eq(op, "NotIn") && !in;
}

static bool scope_matches(const struct strategy *st, const void *obj, const char *scope, const char *op, const struct string_list *values) {
    if (st->type == &corev1_PersistentVolumeClaim_desc && str_eq(scope, "VolumeAttributesClass")) return value_matches(((const struct corev1_PersistentVolumeClaim *)obj)->spec.volumeAttributesClassName, op, values);
    if (st->type != &corev1_Pod_desc) return false;
    const struct corev1_Pod *p = obj;
    if (str_eq(scope, "Terminating")) return terminating(p);
    if (str_eq(scope, "NotTerminating")) return !terminating(p);
    if (str_eq(scope, "BestEffort")) return best_effort(&p->spec);
    if (str_eq(scope, "NotBestEffort")) return !best_effort(&p->spec);
    if (str_eq(scope, "PriorityClass")) return value_matches(p->spec.priorityClassName, op, values);
    return str_eq(scope, "CrossNamespacePodAffinity") && cross_namespace(p->spec.affinity);
}

static bool quota_matches(struct arena *a, const struct corev1_ResourceQuota *q, const struct strategy *st, const void *obj) {
    bool any = false;
    LIST_FOREACH(e, &q->status.hard) any |= concerns(a, st, e->key);
    for (size_t i = 0; any && i < q->spec.scopes.len; i++) any = scope_matches(st, obj, q->spec.scopes.items[i], "Exists", NULL);
    if (any && q->spec.scopeSelector)
        LIST_FOREACH(e, &q->spec.scopeSelector->matchExpressions) any = any && scope_matches(st, obj, e->scopeName, e->operator, &e->values);
    return any;
}

/* ---- one quota ---- */

static int refuse(const struct strategy *st, const void *obj, const char *why, struct status *reterr) { return status_forbidden(reterr, st->group, st->resource, admission_name(obj), why); }

static void missing_in(struct arena *a, const struct corev1_Container_list *list, const char *resource, struct string_map *names) {
    LIST_FOREACH(c, list) {
        struct string_map have = {0};
        compute_usage(a, &c->resources.requests, &c->resources.limits, &have);
        if (!string_map_has(&have, resource)) string_map_set(a, names, str_or(c->name, ""), "");
    }
}

/* A quota on computing resources asks every container to say what it needs. */
static int constraints(struct arena *a, const struct corev1_ResourceQuota *q, const struct strategy *st, const void *obj, struct status *reterr) {
    static const char *const sorted[] = {"cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"};
    const struct corev1_Pod *p = obj;
    const char *text = "";
    if (st->type != &corev1_Pod_desc || (p->spec.resources && (p->spec.resources->requests.len || p->spec.resources->limits.len))) return 0;
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
        struct string_map names = {0};
        if (!string_map_has(&q->status.hard, sorted[i])) continue;
        missing_in(a, &p->spec.containers, sorted[i], &names);
        missing_in(a, &p->spec.initContainers, sorted[i], &names);
        if (!names.len) continue;
        text = arena_printf(a, "%s%s%s for: ", text, *text ? "; " : "", sorted[i]);
        LIST_FOREACH(n, &names) text = arena_printf(a, "%s%s%s", text, n == names.items ? "" : ",", n->key);
    }
    return *text ? refuse(st, obj, arena_printf(a, "failed quota: %s: must specify %s", q->metadata.name, text), reterr) : 0;
}

static int usage_known(struct arena *a, const struct corev1_ResourceQuota *q, const struct strategy *st, const void *obj, struct status *reterr) {
    const char *names = "";
    bool known = true;
    LIST_FOREACH(e, &q->status.hard) {
        if (!concerns(a, st, e->key)) continue;
        names = arena_printf(a, "%s%s%s", names, *names ? "," : "", e->key);
        known &= string_map_has(&q->status.used, e->key);
    }
    return known ? 0 : refuse(st, obj, arena_printf(a, "status unknown for quota: %s, resources: %s", q->metadata.name, names), reterr);
}

static const char *listed(struct arena *a, const struct string_map *list, const struct string_map *names) {
    const char *text = "";
    LIST_FOREACH(n, names) text = arena_printf(a, "%s%s%s=%s", text, *text ? "," : "", n->key, str_or(string_map_get(list, n->key), "0"));
    return text;
}

/* Adds what is asked for to what is used; -1 when that is more than there may be. *ret_changed says whether anything is. */
static int charge(struct arena *a, struct corev1_ResourceQuota *q, const struct strategy *st, const void *obj, const struct string_map *delta, bool *ret_changed, struct status *reterr) {
    struct string_map exceeded = {0}, asked = {0}, used = string_map_copy(a, &q->status.used);
    LIST_FOREACH(e, delta) {
        const char *hard = string_map_get(&q->status.hard, e->key);
        if (!hard) continue;
        string_map_set(a, &asked, e->key, e->value);
        add_amount(a, &used, e->key, e->value);
        if (quantity_text_cmp(string_map_get(&used, e->key), hard) > 0) string_map_set(a, &exceeded, e->key, "");
    }
    if (exceeded.len)
        return refuse(st, obj, arena_printf(a, "exceeded quota: %s, requested: %s, used: %s, limited: %s", q->metadata.name, listed(a, &asked, &exceeded), listed(a, &q->status.used, &exceeded),
                                            listed(a, &q->status.hard, &exceeded)), reterr);
    *ret_changed = asked.len > 0;
    q->status.used = used;
    return 0;
}

/* The new usage less the old, never below nothing, without zeros. */
static struct string_map difference(struct arena *a, const struct string_map *now, const struct string_map *before) {
    struct string_map ret = {0};
    LIST_FOREACH(e, now) {
        struct quantity q = quantity_of(e->value), less = quantity_of(before ? string_map_get(before, e->key) : NULL);
        quantity_sub(&q, &less);
        if (q.nanos > 0) string_map_set(a, &ret, e->key, quantity_format(a, &q));
    }
    return ret;
}

/* ---- all quotas of the namespace ---- */

struct quota_list { struct corev1_ResourceQuota **items; size_t len; };
struct listing { struct api_request *r; const struct strategy *st; struct quota_list *ret; };

static bool take_quota(void *arg, const struct store_view *v) {
    struct listing *l = arg;
    struct corev1_ResourceQuota *q = registry_decode(l->r->arena, l->st, v);
    if (q) *LIST_PUSH(l->r->arena, l->ret) = q;
    return true;
}

static int list_quotas(struct api_request *r, struct quota_list *ret, struct status *reterr) {
    const struct strategy *st = strategy_find("", "resourcequotas");
    struct listing l = {r, st, ret};
    struct store_txn *t;
    if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    store_range(t, storage_key(r->arena, st, r->namespace, NULL), NULL, take_quota, &l);
    store_read_end(t);
    return 0;
}

struct request_usage { const struct strategy *st; const void *obj, *old; struct string_map now, delta; };

/* Checks one quota and, when `commit`, writes its status; tried again when another writer was faster. */
static int charge_quota(struct api_request *r, struct corev1_ResourceQuota *q, const struct request_usage *u, bool commit, bool *ret_charged, struct status *reterr) {
    const struct strategy *quotas = strategy_find("", "resourcequotas");
    for (int tries = 0; tries < QUOTA_TRIES; tries++) {
        bool changed = false;
        uint64_t revision = 0;
        struct string_map delta = u->old && quota_matches(r->arena, q, u->st, u->old) ? u->delta : difference(r->arena, &u->now, NULL);
        void *current = NULL;
        if (commit) {
            _cleanup_status_ struct status err = STATUS_INIT;
            if (registry_get(r, quotas, r->namespace, q->metadata.name, &current, &revision, &err) != 0) {
                if (status_is(&err, 404)) return 0; /* it went meanwhile */
                status_copy(reterr, &err);
                return -1;
            }
            q = current;
        }
        if (charge(r->arena, q, u->st, u->obj, &delta, &changed, reterr) != 0) return -1;
        if (!commit || !changed) return 0;
        _cleanup_buf_ struct buf out = BUF_INIT;
        size_t rv_offset;
        struct store_result res;
        object_set_type_meta(r->arena, quotas->type, q);
        object_encode_stored(quotas->type, q, &out, &rv_offset);
        struct store_op op = {.key = storage_key(r->arena, quotas, r->namespace, q->metadata.name), .expect_mod_revision = (int64_t)revision, .value = out.data, .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
        fenced_write(r, &op, 1, &res);
        if (res.outcome == STORE_OK) {
            *ret_charged = true;
            return 0;
        }
        if (res.outcome == STORE_FAILED) {
            status_copy(reterr, &res.error);
            status_release(&res.error);
            return -1;
        }
    }
    return status_internal(reterr, "resource quota evaluation timed out");
}

/* Gives back what an earlier quota of the same request was charged, when a later one refused. */
static void refund(struct api_request *r, const char *name, const struct request_usage *u) {
    const struct strategy *quotas = strategy_find("", "resourcequotas");
    for (int tries = 0; tries < QUOTA_TRIES; tries++) {
        void *current;
        uint64_t revision;
        if (registry_get(r, quotas, r->namespace, name, &current, &revision, NULL) != 0) return;
        struct corev1_ResourceQuota *q = current;
        struct string_map delta = u->old && quota_matches(r->arena, q, u->st, u->old) ? u->delta : u->now;
        struct string_map used = string_map_copy(r->arena, &q->status.used);
        LIST_FOREACH(e, &delta) {
            struct quantity left = quantity_of(string_map_get(&used, e->key)), less = quantity_of(e->value);
            if (!string_map_has(&used, e->key) || !string_map_has(&q->status.hard, e->key)) continue;
            quantity_sub(&left, &less);
            string_map_set(r->arena, &used, e->key, quantity_format(r->arena, &left));
        }
        q->status.used = used;
        _cleanup_buf_ struct buf out = BUF_INIT;
        size_t rv_offset;
        struct store_result res;
        object_set_type_meta(r->arena, quotas->type, q);
        object_encode_stored(quotas->type, q, &out, &rv_offset);
        struct store_op op = {.key = storage_key(r->arena, quotas, r->namespace, name), .expect_mod_revision = (int64_t)revision, .value = out.data, .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
        store_write_wait(apiserver_store(r->server), &op, 1, &res);
        if (res.outcome == STORE_FAILED) status_release(&res.error);
        if (res.outcome != STORE_CONFLICT) return;
    }
}

static bool handles(const struct strategy *st, enum admission_operation op, const void *obj, const void *old, const struct write_options *o) {
    if (op == ADMIT_DELETE || st->type == &corev1_Event_desc || st->type == &eventsv1_Event_desc) return false;
    if (st->type == &corev1_Pod_desc) {
        if (o->subresource) return str_eq(o->subresource, "resize") && op == ADMIT_UPDATE;
        return op == ADMIT_CREATE || terminating(obj) != terminating(old);
    }
    if (o->subresource) return false;
    return op == ADMIT_CREATE || st->type == &corev1_Service_desc || st->type == &corev1_PersistentVolumeClaim_desc;
}

int quota_admit(struct admission_attributes *at, void *state UNUSED, struct status *reterr) {
    struct api_request *r = at->r;
    const struct strategy *st = at->st;
    const void *obj = at->obj, *old = at->old;
    const struct write_options *o = at->o;
    struct quota_list all = {0}, interesting = {0};
    struct string_list charged = {0};
    if (!r->namespace || !r->rd || !r->rd->namespaced || !handles(st, at->op, obj, old, o)) return 0;
    if (list_quotas(r, &all, reterr) != 0) return -1;
    LIST_FOREACH(q, &all) {
        if (!quota_matches(r->arena, *q, st, obj)) continue;
        if (constraints(r->arena, *q, st, obj, reterr) != 0 || usage_known(r->arena, *q, st, obj, reterr) != 0) return -1;
        *LIST_PUSH(r->arena, &interesting) = *q;
    }
    if (!interesting.len) return 0;
    struct request_usage u = {.st = st, .obj = obj, .old = old, .now = usage_of(r->arena, st, obj)};
    struct string_map before = {0};
    if (old) before = usage_of(r->arena, st, old);
    u.delta = difference(r->arena, &u.now, old ? &before : NULL);
    bool ignored;
    LIST_FOREACH(q, &interesting)
        if (charge_quota(r, object_copy(r->arena, &corev1_ResourceQuota_desc, *q), &u, false, &ignored, reterr) != 0) return -1;
    for (size_t i = 0; !o->dry_run && i < interesting.len; i++) {
        bool did = false;
        if (charge_quota(r, interesting.items[i], &u, true, &did, reterr) != 0) {
            for (size_t k = 0; k < charged.len; k++) refund(r, charged.items[k], &u);
            return -1;
        }
        if (did) string_list_push(r->arena, &charged, interesting.items[i]->metadata.name);
    }
    return 0;
}
