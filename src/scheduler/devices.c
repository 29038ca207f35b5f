/* Who has which device: see devices.h. Slices and pools are in device_pools.c. */
#include "base/str.h"
#include "scheduler/devices_internal.h"

struct holding { struct device_id *id; bool shared; struct consumed_list consumed; };
struct holding_list { struct holding *items; size_t len; struct arena *arena; };
/* What one claim has: by the API, or, as long as that says nothing, by a decision of ours. */
struct claim_entry {
    char *uid, *pending_uid;
    bool allocated, pending;
    int64_t written_version; /* 0: not written yet */
    int64_t version;
    struct holding_list api, ours;
};

/* ---- device ids ---- */

struct device_id *device_id_get(struct devices *d, const char *driver, const char *pool, const char *device) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s/%s/%s", driver, pool, device);
    struct device_id *id = map_get(d->ids, buf_cstr(&key));
    if (!id) {
        CHECK((id = calloc(1, sizeof(*id))) && (id->key = strdup(buf_cstr(&key))));
        map_put(d->ids, id->key, id);
    }
    id->refs++;
    return id;
}

static void id_free(struct device_id *id) {
    for (size_t i = 0; i < id->consumed.len; i++) free((char *)id->consumed.items[i].name);
    free(id->consumed.items);
    free(id->key);
    free(id);
}

void device_id_put(struct devices *d, struct device_id *id) {
    if (--id->refs) return;
    map_del(d->ids, id->key);
    id_free(id);
}

static void consume(struct device_id *id, const struct consumed_list *list, int sign) {
    LIST_FOREACH(c, list) {
        struct consumed *have = NULL;
        for (size_t i = 0; i < id->consumed.len && !have; i++)
            if (str_eq(id->consumed.items[i].name, c->name)) have = &id->consumed.items[i];
        if (!have) {
            CHECK(id->consumed.items = realloc(id->consumed.items, (id->consumed.len + 1) * sizeof(*id->consumed.items)));
            have = &id->consumed.items[id->consumed.len++];
            *have = (struct consumed){strdup(c->name), 0};
            CHECK(have->name);
        }
        have->nanos += sign * c->nanos;
    }
}

/* ---- claims ---- */

static void holdings_apply(struct devices *d, const struct holding_list *l, int sign) {
    LIST_FOREACH(h, l) {
        if (h->shared) h->id->shared += (size_t)sign;
        else h->id->dedicated += (size_t)sign;
        consume(h->id, &h->consumed, sign);
    }
    if (l->len) d->version++;
}

static void holdings_clear(struct devices *d, struct holding_list *l) {
    LIST_FOREACH(h, l) device_id_put(d, h->id);
    arena_free(l->arena);
    *l = (struct holding_list){0};
}

static void holdings_set(struct devices *d, struct holding_list *l, const struct resourcev1_AllocationResult *allocation) {
    struct holding_list now = {0};
    if (allocation) now.arena = arena_new_sized(512);
    for (size_t i = 0; allocation && i < allocation->devices.results.len; i++) {
        const struct resourcev1_DeviceRequestAllocationResult *r = &allocation->devices.results.items[i];
        if (r->adminAccess.has && r->adminAccess.value) continue; /* takes nothing from anybody */
        struct holding *h = LIST_PUSH(now.arena, &now);
        *h = (struct holding){.id = device_id_get(d, r->driver, r->pool, r->device), .shared = r->shareID != NULL};
        for (size_t c = 0; h->shared && c < r->consumedCapacity.len; c++) {
            struct quantity q = quantity_of(r->consumedCapacity.items[c].value);
            *LIST_PUSH(now.arena, &h->consumed) = (struct consumed){arena_strdup(now.arena, r->consumedCapacity.items[c].key), q.nanos};
        }
    }
    holdings_clear(d, l);
    *l = now;
}

static const struct holding_list *effective(const struct claim_entry *e) {
    static const struct holding_list none;
    return e->allocated ? &e->api : e->pending ? &e->ours : &none;
}

static struct claim_entry *entry_of(const struct devices *d, const char *ns, const char *name) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s/%s", str_or(ns, ""), name);
    return map_get(d->claims, buf_cstr(&key));
}

static void entry_drop(struct devices *d, struct claim_entry *e, const char *ns, const char *name) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s/%s", str_or(ns, ""), name);
    map_del(d->claims, buf_cstr(&key));
    holdings_clear(d, &e->api);
    holdings_clear(d, &e->ours);
    free(e->uid);
    free(e->pending_uid);
    free(e);
}

static struct claim_entry *entry_make(struct devices *d, const char *ns, const char *name) {
    struct claim_entry *e = entry_of(d, ns, name);
    if (e) return e;
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s/%s", str_or(ns, ""), name);
    CHECK(e = calloc(1, sizeof(*e)));
    map_put(d->claims, buf_cstr(&key), e);
    return e;
}

static void pending_end(struct devices *d, struct claim_entry *e) {
    holdings_clear(d, &e->ours);
    e->pending = false;
    e->written_version = 0;
}

static void text_set(char **to, const char *s) {
    free(*to);
    CHECK(*to = strdup(str_or(s, "")));
}

void devices_claim_changed(struct devices *d, const char *ns, const char *name, const struct resourcev1_ResourceClaim *now) {
    struct claim_entry *e = now ? entry_make(d, ns, name) : entry_of(d, ns, name);
    if (!e) return;
    holdings_apply(d, effective(e), -1);
    if (!now) {
        entry_drop(d, e, ns, name);
        return;
    }
    text_set(&e->uid, now->metadata.uid);
    e->version = str_empty(now->metadata.resourceVersion) ? 0 : strtoll(now->metadata.resourceVersion, NULL, 10);
    e->allocated = now->status.allocation != NULL;
    holdings_set(d, &e->api, now->status.allocation);
    bool shown = e->allocated || (e->written_version && e->version >= e->written_version) || !str_eq(e->pending_uid, e->uid);
    if (e->pending && shown) pending_end(d, e);
    holdings_apply(d, effective(e), 1);
}

void devices_pend(struct devices *d, const struct resourcev1_ResourceClaim *claim, const struct resourcev1_AllocationResult *allocation) {
    struct claim_entry *e = entry_make(d, claim->metadata.namespace, claim->metadata.name);
    holdings_apply(d, effective(e), -1);
    text_set(&e->pending_uid, claim->metadata.uid);
    e->pending = true;
    e->written_version = 0;
    holdings_set(d, &e->ours, allocation);
    holdings_apply(d, effective(e), 1);
}

bool devices_pending(const struct devices *d, const struct resourcev1_ResourceClaim *claim) {
    const struct claim_entry *e = entry_of(d, claim->metadata.namespace, claim->metadata.name);
    return e && e->pending && str_eq(e->pending_uid, claim->metadata.uid);
}

void devices_written(struct devices *d, const struct resourcev1_ResourceClaim *claim, const char *resource_version) {
    struct claim_entry *e = entry_of(d, claim->metadata.namespace, claim->metadata.name);
    if (!e || !e->pending || !str_eq(e->pending_uid, claim->metadata.uid)) return;
    e->written_version = str_empty(resource_version) ? 1 : strtoll(resource_version, NULL, 10);
    if (e->version < e->written_version) return;
    holdings_apply(d, effective(e), -1);
    pending_end(d, e);
    holdings_apply(d, effective(e), 1);
}

void devices_unpend(struct devices *d, const struct resourcev1_ResourceClaim *claim) {
    struct claim_entry *e = entry_of(d, claim->metadata.namespace, claim->metadata.name);
    if (!e || !e->pending || e->written_version || !str_eq(e->pending_uid, claim->metadata.uid)) return;
    holdings_apply(d, effective(e), -1);
    pending_end(d, e);
    holdings_apply(d, effective(e), 1);
    if (!e->uid) entry_drop(d, e, claim->metadata.namespace, claim->metadata.name);
}

uint64_t devices_version(const struct devices *d) { return d->version; }

/* ---- the whole ---- */

struct devices *devices_new(void) {
    struct devices *d = calloc(1, sizeof(*d));
    CHECK(d);
    d->ids = map_new();
    d->claims = map_new();
    d->version = 1;
    devices_pools_init(d);
    return d;
}

void devices_free(struct devices *d) {
    if (!d) return;
    const char *key;
    void *v;
    for (size_t pos = 0; map_next(d->claims, &pos, &key, &v);) {
        struct claim_entry *e = v;
        holdings_clear(d, &e->api);
        holdings_clear(d, &e->ours);
        free(e->uid);
        free(e->pending_uid);
        free(e);
    }
    map_free(d->claims);
    devices_pools_free(d);
    CHECK(map_len(d->ids) == 0);
    map_free(d->ids);
    free(d);
}
