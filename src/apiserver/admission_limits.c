/* LimitRanger: see admission_quota.h. */
#include <string.h>
#include "api/quantity.h"
#include "api/quota.h"
#include "apiserver/admission_quota.h"
#include "apiserver/apiserver.h"
#include "base/str.h"

struct limit_ranges { struct corev1_LimitRange **items; size_t len; };
struct listing { struct api_request *r; const struct strategy *st; struct limit_ranges *ret; };

static bool take(void *arg, const struct store_view *v) {
    struct listing *l = arg;
    struct corev1_LimitRange *range = registry_decode(l->r->arena, l->st, v);
    if (range) *LIST_PUSH(l->r->arena, l->ret) = range;
    return true;
}

static int limits_of_namespace(struct api_request *r, struct limit_ranges *ret, struct status *reterr) {
    const struct strategy *st = strategy_find("", "limitranges");
    struct listing l = {r, st, ret};
    struct store_txn *t;
    if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    store_range(t, storage_key(r->arena, st, r->namespace, NULL), NULL, take, &l);
    store_read_end(t);
    return 0;
}

static bool supported(const struct admission_attributes *a) {
    if (a->old && ((const struct object *)a->old)->metadata.deletionTimestamp.set) return false;
    if (a->st->type == &corev1_Pod_desc) return a->o->subresource ? str_eq(a->o->subresource, "resize") && a->op == ADMIT_UPDATE : a->op == ADMIT_CREATE;
    return a->st->type == &corev1_PersistentVolumeClaim_desc && !a->o->subresource;
}

/* ---- defaults ---- */

/* What was missing, in words for the annotation. */
static const char *fill(struct arena *a, struct string_map *list, const struct string_map *defaults, const char *what, const char *kind, const char *name, const char *text) {
    const char *added = "";
    LIST_FOREACH(e, defaults) {
        if (string_map_has(list, e->key)) continue;
        string_map_set(a, list, e->key, e->value);
        added = arena_printf(a, "%s%s%s", added, *added ? ", " : "", e->key);
    }
    return *added ? arena_printf(a, "%s%s%s %s for %s %s", text, *text ? "; " : "", added, what, kind, str_or(name, "")) : text;
}

static const char *fill_containers(struct arena *a, struct corev1_Container_list *list, const struct string_map *requests, const struct string_map *limits, const char *kind, const char *text) {
    LIST_FOREACH(c, list) {
        const char *name = c->name;
        struct string_map own = string_map_copy(a, &c->resources.limits);
        const char *limit_text = fill(a, &own, limits, "limit", kind, name, "");
        text = fill(a, &c->resources.requests, requests, "request", kind, name, text);
        c->resources.limits = own;
        if (*limit_text) text = arena_printf(a, "%s%s%s", text, *text ? "; " : "", limit_text);
    }
    return text;
}

static void default_pod(struct arena *a, struct corev1_Pod *pod, const struct corev1_LimitRange *range) {
    struct string_map requests = {0}, limits = {0};
    LIST_FOREACH(l, &range->spec.limits) {
        if (!str_eq(l->type, "Container")) continue;
        LIST_FOREACH(e, &l->defaultRequest) string_map_set(a, &requests, e->key, e->value);
        LIST_FOREACH(e, &l->default_) string_map_set(a, &limits, e->key, e->value);
    }
    const char *text = fill_containers(a, &pod->spec.containers, &requests, &limits, "container", "");
    text = fill_containers(a, &pod->spec.initContainers, &requests, &limits, "init container", text);
    if (*text) string_map_set(a, &pod->metadata.annotations, "kubernetes.io/limit-ranger", arena_printf(a, "LimitRanger plugin set: %s", text));
}

int limit_range_mutate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    struct limit_ranges all = {0};
    if (a->st->type != &corev1_Pod_desc || !supported(a)) return 0;
    if (limits_of_namespace(a->r, &all, reterr) != 0) return -1;
    LIST_FOREACH(range, &all) default_pod(a->r->arena, a->obj, *range);
    return 0;
}

/* ---- bounds ---- */

struct messages { struct arena *arena; struct string_list list; };

static void say(struct messages *m, const char *format, ...) PRINTF_LIKE(2, 3);
static void say(struct messages *m, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(m->arena, format, args);
    va_end(args);
    if (!string_list_has(&m->list, text)) string_list_push(m->arena, &m->list, text);
}

static void at_least(struct messages *m, const char *type, const char *name, const char *bound, const struct string_map *requests, const struct string_map *limits) {
    const char *request = string_map_get(requests, name), *limit = limits ? string_map_get(limits, name) : NULL;
    if (!request) say(m, "minimum %s usage per %s is %s.  No request is specified", name, type, bound);
    else if (quantity_text_cmp(request, bound) < 0) say(m, "minimum %s usage per %s is %s, but request is %s", name, type, bound, request);
    else if (limit && quantity_text_cmp(limit, bound) < 0) say(m, "minimum %s usage per %s is %s, but limit is %s", name, type, bound, limit);
}

static void at_most(struct messages *m, const char *type, const char *name, const char *bound, const struct string_map *requests, const struct string_map *limits) {
    const char *request = string_map_get(requests, name), *limit = string_map_get(limits, name);
    if (!limit) say(m, "maximum %s usage per %s is %s.  No limit is specified", name, type, bound);
    else if (quantity_text_cmp(limit, bound) > 0) say(m, "maximum %s usage per %s is %s, but limit is %s", name, type, bound, limit);
    else if (request && quantity_text_cmp(request, bound) > 0) say(m, "maximum %s usage per %s is %s, but request is %s", name, type, bound, request);
}

static void request_at_most(struct messages *m, const char *type, const char *name, const char *bound, const struct string_map *requests) {
    const char *request = string_map_get(requests, name);
    if (!request) say(m, "maximum %s usage per %s is %s.  No request is specified", name, type, bound);
    else if (quantity_text_cmp(request, bound) > 0) say(m, "maximum %s usage per %s is %s, but request is %s", name, type, bound, request);
}

static void ratio(struct messages *m, const char *type, const char *name, const char *bound, const struct string_map *requests, const struct string_map *limits) {
    struct quantity request = quantity_of(string_map_get(requests, name)), limit = quantity_of(string_map_get(limits, name)), most = quantity_of(bound);
    if (request.nanos == 0) say(m, "%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, type, bound);
    else if (limit.nanos == 0) say(m, "%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", name, type, bound);
    else {
        double observed = (double)limit.nanos / (double)request.nanos;
        if (observed * 1000 > (double)quantity_milli_value(&most)) say(m, "%s max limit to request ratio per %s is %s, but provided ratio is %f", name, type, bound, observed);
    }
}

static void bounds(struct messages *m, const struct corev1_LimitRangeItem *l, const struct string_map *requests, const struct string_map *limits) {
    LIST_FOREACH(e, &l->min) at_least(m, l->type, e->key, e->value, requests, limits);
    LIST_FOREACH(e, &l->max) at_most(m, l->type, e->key, e->value, requests, limits);
    LIST_FOREACH(e, &l->maxLimitRequestRatio) ratio(m, l->type, e->key, e->value, requests, limits);
}

static void pod_bounds(struct messages *m, const struct corev1_LimitRangeItem *l, const struct corev1_PodSpec *s) {
    if (str_eq(l->type, "Container")) {
        LIST_FOREACH(c, &s->containers) bounds(m, l, &c->resources.requests, &c->resources.limits);
        LIST_FOREACH(c, &s->initContainers) bounds(m, l, &c->resources.requests, &c->resources.limits);
    } else if (str_eq(l->type, "Pod")) {
        struct string_map requests = quota_pod_resources(m->arena, s, false, false), limits = quota_pod_resources(m->arena, s, true, false);
        bounds(m, l, &requests, &limits);
    }
}

static void claim_bounds(struct messages *m, const struct corev1_LimitRangeItem *l, const struct corev1_PersistentVolumeClaimSpec *s) {
    if (!str_eq(l->type, "PersistentVolumeClaim")) return;
    LIST_FOREACH(e, &l->min) at_least(m, l->type, e->key, e->value, &s->resources.requests, NULL);
    LIST_FOREACH(e, &l->max) request_at_most(m, l->type, e->key, e->value, &s->resources.requests);
}

int limit_range_validate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    struct limit_ranges all = {0};
    if (!supported(a)) return 0;
    if (limits_of_namespace(a->r, &all, reterr) != 0) return -1;
    LIST_FOREACH(range, &all) {
        struct messages m = {.arena = a->r->arena};
        LIST_FOREACH(l, &(*range)->spec.limits) {
            if (a->st->type == &corev1_Pod_desc) pod_bounds(&m, l, &((const struct corev1_Pod *)a->obj)->spec);
            else claim_bounds(&m, l, &((const struct corev1_PersistentVolumeClaim *)a->obj)->spec);
        }
        if (!m.list.len) continue;
        const char *text = m.list.items[0];
        for (size_t i = 1; i < m.list.len; i++) text = arena_printf(a->r->arena, "%s, %s", text, m.list.items[i]);
        return admission_forbid(a, m.list.len > 1 ? arena_printf(a->r->arena, "[%s]", text) : text, reterr);
    }
    return 0;
}
