#include "apiserver/admission_quota.h"
#include <string.h>
#include "api/quantity.h"
#include "api/quota.h"
#include "apiserver/apiserver.h"
#include "apiserver/fence.h"
#include "base/str.h"

enum { QUOTA_TRIES = 1000 };

static struct quota_kind kind_of(const struct strategy *st) { return (struct quota_kind){st->group, st->resource, st->type}; }

static struct string_map usage_of(struct arena *a, const struct strategy *st, const void *obj) {
    struct quota_kind k = kind_of(st);
    return quota_usage_of(a, &k, obj);
}

static bool concerns(struct arena *a, const struct strategy *st, const char *name) {
    struct quota_kind k = kind_of(st);
    return quota_concerns(a, &k, name);
}

static bool quota_matches(struct arena *a, const struct corev1_ResourceQuota *q, const struct strategy *st, const void *obj) {
    struct quota_kind k = kind_of(st);
    LIST_FOREACH(e, &q->status.hard)
        if (quota_concerns(a, &k, e->key)) return quota_scopes_match(&q->spec, &k, obj);
    return false;
}

/* ---- one quota ---- */

static int refuse(const struct strategy *st, const void *obj, const char *why, struct status *reterr) { return status_forbidden(reterr, st->group, st->resource, admission_name(obj), why); }

static void missing_in(struct arena *a, const struct corev1_Container_list *list, const char *resource, struct string_map *names) {
    LIST_FOREACH(c, list) {
        struct string_map have = {0};
        quota_compute_usage(a, &c->resources.requests, &c->resources.limits, &have);
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
        quota_add_amount(a, &used, e->key, e->value);
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

struct request_usage { const struct strategy *st; const void *obj, *old; struct string_map now, delta; struct admission_charges *charges; };

static struct admission_charge *charge_of(const struct request_usage *u, const char *quota) {
    LIST_FOREACH(c, u->charges)
        if (str_eq(c->quota, quota)) return c;
    return NULL;
}

/* What the quota is to be charged for this try: what an earlier one has paid is paid. */
static struct string_map to_charge(struct arena *a, const struct corev1_ResourceQuota *q, const struct request_usage *u) {
    struct string_map asked = u->old && quota_matches(a, q, u->st, u->old) ? u->delta : u->now;
    const struct admission_charge *paid = charge_of(u, q->metadata.name);
    return difference(a, &asked, paid ? &paid->amounts : NULL);
}

static void note_charge(struct arena *a, const struct request_usage *u, const char *quota, const struct string_map *amounts) {
    struct admission_charge *c = charge_of(u, quota);
    if (!c) {
        c = LIST_PUSH(a, u->charges);
        c->quota = arena_strdup(a, quota);
    }
    LIST_FOREACH(e, amounts) quota_add_amount(a, &c->amounts, e->key, e->value);
}

/* Checks one quota and, when `commit`, writes its status, which is noted; tried again when another writer was faster. */
static int charge_quota(struct api_request *r, struct corev1_ResourceQuota *q, const struct request_usage *u, bool commit, struct status *reterr) {
    const struct strategy *quotas = strategy_find("", "resourcequotas");
    for (int tries = 0; tries < QUOTA_TRIES; tries++) {
        bool changed = false;
        uint64_t revision = 0;
        struct string_map delta = to_charge(r->arena, q, u);
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
            note_charge(r->arena, u, q->metadata.name, &delta);
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

/* Gives back what a quota has charged the write, when another one refuses it. */
static void refund(struct api_request *r, const struct admission_charge *charge) {
    const struct strategy *quotas = strategy_find("", "resourcequotas");
    for (int tries = 0; tries < QUOTA_TRIES; tries++) {
        void *current;
        uint64_t revision;
        if (registry_get(r, quotas, r->namespace, charge->quota, &current, &revision, NULL) != 0) return;
        struct corev1_ResourceQuota *q = current;
        struct string_map used = string_map_copy(r->arena, &q->status.used);
        LIST_FOREACH(e, &charge->amounts) {
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
        struct store_op op = {.key = storage_key(r->arena, quotas, r->namespace, charge->quota), .expect_mod_revision = (int64_t)revision, .value = out.data, .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
        store_write_wait(apiserver_store(r->server), &op, 1, &res);
        if (res.outcome == STORE_FAILED) status_release(&res.error);
        if (res.outcome != STORE_CONFLICT) return;
    }
}

static bool handles(const struct strategy *st, enum admission_operation op, const void *obj, const void *old, const struct write_options *o) {
    if (op == ADMIT_DELETE || st->type == &corev1_Event_desc || st->type == &eventsv1_Event_desc) return false;
    if (st->type == &corev1_Pod_desc) {
        if (o->subresource) return str_eq(o->subresource, "resize") && op == ADMIT_UPDATE;
        return op == ADMIT_CREATE || quota_pod_terminating(obj) != quota_pod_terminating(old);
    }
    if (o->subresource) return false;
    return op == ADMIT_CREATE || st->type == &corev1_Service_desc || st->type == &corev1_PersistentVolumeClaim_desc || st->type == &resourcev1_ResourceClaim_desc;
}

int quota_admit(struct admission_attributes *at, void *state UNUSED, struct status *reterr) {
    struct api_request *r = at->r;
    const struct strategy *st = at->st;
    const void *obj = at->obj, *old = at->old;
    const struct write_options *o = at->o;
    struct quota_list all = {0}, interesting = {0};
    struct admission_charges own = {0};
    if (!r->namespace || !r->rd || !r->rd->namespaced || !handles(st, at->op, obj, old, o)) return 0;
    if (list_quotas(r, &all, reterr) != 0) return -1;
    LIST_FOREACH(q, &all) {
        if (!quota_matches(r->arena, *q, st, obj)) continue;
        if (constraints(r->arena, *q, st, obj, reterr) != 0 || usage_known(r->arena, *q, st, obj, reterr) != 0) return -1;
        *LIST_PUSH(r->arena, &interesting) = *q;
    }
    if (!interesting.len) return 0;
    struct request_usage u = {.st = st, .obj = obj, .old = old, .now = usage_of(r->arena, st, obj), .charges = at->charges ? at->charges : &own};
    struct string_map before = {0};
    if (old) before = usage_of(r->arena, st, old);
    u.delta = difference(r->arena, &u.now, old ? &before : NULL);
    LIST_FOREACH(q, &interesting)
        if (charge_quota(r, object_copy(r->arena, &corev1_ResourceQuota_desc, *q), &u, false, reterr) != 0) return -1;
    for (size_t i = 0; !o->dry_run && i < interesting.len; i++)
        if (charge_quota(r, interesting.items[i], &u, true, reterr) != 0) {
            LIST_FOREACH(c, u.charges) refund(r, c);
            u.charges->len = 0;
            return -1;
        }
    return 0;
}
