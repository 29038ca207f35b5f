/* The event log, and watches over it. The log is written with each commit (writer.c), read when a watch begins, and cut by age. */
#include <stdatomic.h>
#include <string.h>
#include "store/lmdb.h"

enum { COMPACT_BATCH = 2000 };

/* The count lies behind the public struct: users cannot touch it. */
struct counted_event { struct store_event event; atomic_size_t refs; };

struct store_event *store_event_new(void) {
    struct counted_event *e = calloc(1, sizeof(*e));
    CHECK(e);
    atomic_init(&e->refs, 1);
    return &e->event;
}

struct store_event *store_event_ref(struct store_event *e) {
    atomic_fetch_add_explicit(&((struct counted_event *)e)->refs, 1, memory_order_relaxed);
    return e;
}

void store_event_unref(struct store_event *e) {
    if (!e || atomic_fetch_sub_explicit(&((struct counted_event *)e)->refs, 1, memory_order_acq_rel) != 1) return;
    shared_unref(e->value);
    shared_unref(e->prev);
    free(e->key);
    free(e);
}

static void log_key(uint64_t revision, size_t index, unsigned char out[10]) {
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(revision >> (56 - 8 * i));
    out[8] = (unsigned char)(index >> 8);
    out[9] = (unsigned char)index;
}

static uint64_t log_key_revision(const MDB_val *k) {
    uint64_t r = 0;
    for (int i = 0; i < 8; i++) r = r << 8 | ((const unsigned char *)k->mv_data)[i];
    return r;
}

int store_log_append(struct store *s, MDB_txn *txn, const struct store_event *e, size_t index, int64_t now_s) {
    struct log_record r = {now_s, e->create_revision, e->prev_mod_revision, e->type, (uint32_t)strlen(e->key), e->value ? (uint32_t)shared_len(e->value) : 0,
                           e->prev ? (uint32_t)shared_len(e->prev) : 0, e->rv_offset, e->prev_rv_offset};
    unsigned char key[10];
    log_key(e->revision, index, key);
    MDB_val k = {sizeof(key), key}, v = {sizeof(r) + r.key_len + r.value_len + r.prev_len, NULL};
    int rc = mdb_put(txn, s->log, &k, &v, MDB_RESERVE | MDB_APPEND);
    if (rc) return rc;
    char *p = v.mv_data;
    memcpy(p, &r, sizeof(r));
    memcpy(p += sizeof(r), e->key, r.key_len);
    p += r.key_len;
    if (r.value_len) memcpy(p, shared_data(e->value), r.value_len);
    if (r.prev_len) memcpy(p + r.value_len, shared_data(e->prev), r.prev_len);
    return 0;
}

static struct store_event *read_event(const MDB_val *k, const MDB_val *v) {
    struct log_record r;
    memcpy(&r, v->mv_data, sizeof(r));
    const char *p = (const char *)v->mv_data + sizeof(r);
    struct store_event *e = store_event_new();
    *e = (struct store_event){.revision = log_key_revision(k), .type = r.type, .key = strndup(p, r.key_len), .rv_offset = r.rv_offset, .prev_rv_offset = r.prev_rv_offset,
                                    .create_revision = r.create_revision, .prev_mod_revision = r.prev_mod_revision};
    p += r.key_len;
    if (r.type == STORE_PUT) e->value = shared_new(p, r.value_len);
    if (r.prev_mod_revision) e->prev = shared_new(p + r.value_len, r.prev_len);
    return e;
}

static bool has_prefix(const char *key, const char *prefix) { return strncmp(key, prefix, strlen(prefix)) == 0; }

static bool log_prefix_matches(const MDB_val *v, const char *prefix) {
    struct log_record r;
    memcpy(&r, v->mv_data, sizeof(r));
    size_t n = strlen(prefix);
    return r.key_len >= n && memcmp((const char *)v->mv_data + sizeof(r), prefix, n) == 0;
}

static int too_old(struct status *reterr, uint64_t revision, uint64_t compacted) {
    return status_set(reterr, 410, REASON_EXPIRED, "too old resource version: %llu (%llu)", (unsigned long long)revision, (unsigned long long)compacted);
}

int store_log_read(struct store *s, const char *prefix, uint64_t from, uint64_t to, void (*fn)(void *, struct store_event *), void *arg, struct status *reterr) {
    if (from < s->compacted) return too_old(reterr, from, s->compacted);
    MDB_txn *txn;
    MDB_cursor *c;
    unsigned char start[10];
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc) return store_lmdb_error(reterr, rc, "log");
    if ((rc = mdb_cursor_open(txn, s->log, &c))) {
        mdb_txn_abort(txn);
        return store_lmdb_error(reterr, rc, "log");
    }
    log_key(from + 1, 0, start);
    MDB_val k = {sizeof(start), start}, v;
    for (rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE); rc == 0 && log_key_revision(&k) <= to; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        if (!log_prefix_matches(&v, prefix)) continue;
        struct store_event *e = read_event(&k, &v);
        fn(arg, e);
        store_event_unref(e);
    }
    mdb_cursor_close(c);
    mdb_txn_abort(txn);
    return 0;
}

int store_watch_start(struct store *s, const char *prefix, uint64_t from, void (*fn)(void *, struct store_event *), void *arg, struct store_watch **ret, struct status *reterr) {
    struct store_watch *w = calloc(1, sizeof(*w));
    CHECK(w);
    *w = (struct store_watch){.store = s, .prefix = strdup(prefix), .fn = fn, .arg = arg};
    /* Most of the log without the lock, then the little that came meanwhile with it, so that nothing falls between the log and the live events. */
    uint64_t upto = s->revision;
    int failed = from < upto ? store_log_read(s, prefix, from, upto, fn, arg, reterr) : 0;
    pthread_mutex_lock(&s->watch_mutex);
    uint64_t seen = MAX(from, upto);
    if (!failed && seen < s->dispatched) failed = store_log_read(s, prefix, seen, s->dispatched, fn, arg, reterr);
    if (!failed) {
        w->from = MAX(seen, s->dispatched);
        w->next = s->watches;
        s->watches = w;
    }
    pthread_mutex_unlock(&s->watch_mutex);
    if (failed) {
        free(w->prefix);
        free(w);
        return -1;
    }
    *ret = w;
    return 0;
}

void store_watch_stop(struct store_watch *w) {
    struct store *s = w->store;
    pthread_mutex_lock(&s->watch_mutex);
    for (struct store_watch **p = &s->watches; *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            break;
        }
    pthread_mutex_unlock(&s->watch_mutex);
    free(w->prefix);
    free(w);
}

void store_watch_dispatch(struct store *s, struct submission *batch) {
    pthread_mutex_lock(&s->watch_mutex);
    for (struct submission *sub = batch; sub; sub = sub->next) {
        if (sub->result.outcome != STORE_OK) continue;
        CHECK(sub->result.revision > s->dispatched); /* revisions ascend at the commit and here */
        for (size_t i = 0; i < sub->events_len; i++)
            for (struct store_watch *w = s->watches; w; w = w->next)
                if (sub->events[i]->revision > w->from && has_prefix(sub->events[i]->key, w->prefix)) w->fn(w->arg, sub->events[i]);
        s->dispatched = sub->result.revision;
    }
    pthread_mutex_unlock(&s->watch_mutex);
}

int store_compact_step(struct store *s, MDB_txn *txn, int64_t now_s, size_t *ret_removed, uint64_t *ret_compacted) {
    MDB_cursor *c;
    MDB_val k, v;
    MDB_stat stat;
    int rc = mdb_stat(txn, s->log, &stat);
    if (rc || (rc = mdb_cursor_open(txn, s->log, &c))) return rc;
    size_t entries = stat.ms_entries, n = 0;
    uint64_t cut = 0; /* the revision being cut: all of its entries go or none */
    for (rc = mdb_cursor_get(c, &k, &v, MDB_FIRST); rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        struct log_record r;
        memcpy(&r, v.mv_data, sizeof(r));
        uint64_t revision = log_key_revision(&k);
        bool due = r.time_s + s->log_age_s <= now_s || entries - n > s->log_entries_max;
        if (revision != cut && (!due || n >= COMPACT_BATCH)) break;
        cut = revision;
        if ((rc = mdb_cursor_del(c, 0))) break;
        n++;
    }
    mdb_cursor_close(c);
    *ret_removed = n;
    if (n) *ret_compacted = cut;
    return rc == MDB_NOTFOUND ? 0 : rc;
}
