/* The event log, and watches over it. The log is written with each commit (writer.c), read when a watch begins, and cut by age and count (care.c).
 *
 * Order: the writer thread dispatches under watch_mutex, in revision order. A watch that begins reads the log up to what has been dispatched and joins the
 * list under the same mutex, so that nothing falls between. */
#include <stdatomic.h>
#include <string.h>
#include "store/lmdb.h"

enum { READ_BATCH = 1000 }; /* events of the log that are looked at in one snapshot */

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

uint64_t store_log_key_revision(const MDB_val *k) {
    uint64_t r = 0;
    for (int i = 0; i < 8; i++) r = r << 8 | ((const unsigned char *)k->mv_data)[i];
    return r;
}

int store_log_append(struct store *s, MDB_txn *txn, const struct store_event *e, const MDB_val *value, const struct shared *prev, size_t index, int64_t now_s) {
    struct log_record r = {now_s, e->create_revision, e->prev_mod_revision, e->type, (uint32_t)strlen(e->key), (uint32_t)value->mv_size, prev ? (uint32_t)shared_len(prev) : 0, e->rv_offset, e->prev_rv_offset};
    unsigned char key[10];
    log_key(e->revision, index, key);
    MDB_val k = {sizeof(key), key}, v = {sizeof(r) + r.key_len + r.value_len + r.prev_len, NULL};
    int rc = mdb_put(txn, s->file.log, &k, &v, MDB_RESERVE | MDB_APPEND);
    if (rc) return rc;
    char *p = v.mv_data;
    memcpy(p, &r, sizeof(r));
    memcpy(p += sizeof(r), e->key, r.key_len);
    p += r.key_len;
    if (r.value_len) memcpy(p, value->mv_data, r.value_len);
    if (r.prev_len) memcpy(p + r.value_len, shared_data(prev), r.prev_len);
    return 0;
}

bool store_log_record_read(const MDB_val *v, struct log_record *ret) {
    if (v->mv_size < sizeof(*ret)) return false;
    memcpy(ret, v->mv_data, sizeof(*ret));
    return ret->type <= STORE_DELETE && v->mv_size == sizeof(*ret) + (size_t)ret->key_len + ret->value_len + ret->prev_len;
}

static struct shared *open_part(struct store *s, const struct store_event *e, const char *data, size_t len, uint32_t *rv_offset) {
    struct shared *bytes = shared_new(data, len), *opened = store_open_bytes(s, e->key, strlen(e->key), bytes, rv_offset);
    shared_unref(bytes);
    return opened;
}

static struct store_event *read_event(struct store *s, const MDB_val *k, const struct log_record *r, const char *p) {
    struct store_event *e = store_event_new();
    *e = (struct store_event){.revision = store_log_key_revision(k), .type = r->type, .key = strndup(p, r->key_len), .rv_offset = r->rv_offset,
                              .prev_rv_offset = r->prev_rv_offset, .create_revision = r->create_revision, .prev_mod_revision = r->prev_mod_revision};
    CHECK(e->key);
    p += r->key_len;
    if (r->type == STORE_PUT) e->value = open_part(s, e, p, r->value_len, &e->rv_offset);
    if (r->prev_mod_revision) e->prev = open_part(s, e, p + r->value_len, r->prev_len, &e->prev_rv_offset);
    return e;
}

static bool has_prefix(const char *key, const char *prefix) { return strncmp(key, prefix, strlen(prefix)) == 0; }

static int too_old(struct status *reterr, uint64_t revision, uint64_t compacted) {
    return status_set(reterr, 410, REASON_EXPIRED, "too old resource version: %llu (%llu)", (unsigned long long)revision, (unsigned long long)compacted);
}

struct log_reader {
    struct store *s;
    const char *prefix;
    uint64_t from, to; /* from moves up with what was read; it always stands between two revisions */
    void (*fn)(void *, struct store_event *);
    void *arg;
};

/* Whole revisions until READ_BATCH entries have been looked at. 1: there is more; 0: done; otherwise an LMDB error. */
static int read_entries(struct log_reader *r, MDB_cursor *c) {
    unsigned char start[10];
    log_key(r->from + 1, 0, start);
    MDB_val k = {sizeof(start), start}, v;
    struct log_record record;
    size_t prefix_len = strlen(r->prefix), n = 0;
    int rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        uint64_t revision = store_log_key_revision(&k);
        if (revision > r->to) return 0;
        if (revision > r->from && n >= READ_BATCH) {
            r->from = revision - 1;
            return 1;
        }
        r->from = MAX(r->from, revision);
        n++;
        if (!store_log_record_read(&v, &record)) return MDB_CORRUPTED;
        const char *bytes = (const char *)v.mv_data + sizeof(record);
        if (record.key_len < prefix_len || memcmp(bytes, r->prefix, prefix_len) != 0) continue;
        struct store_event *e = read_event(r->s, &k, &record, bytes);
        r->fn(r->arg, e);
        store_event_unref(e);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* What is compacted is asked of the same snapshot that is read: between two snapshots the log can be cut. */
static int read_batch(struct log_reader *r, bool *ret_more, struct status *reterr) {
    MDB_txn *txn;
    MDB_cursor *c;
    int rc = mdb_txn_begin(r->s->file.env, NULL, MDB_RDONLY, &txn);
    if (rc) return store_lmdb_error(reterr, rc, "log");
    uint64_t compacted = store_meta_get(&r->s->file, txn, "compacted", 0);
    bool old = r->from < compacted;
    if (!old && !(rc = mdb_cursor_open(txn, r->s->file.log, &c))) {
        rc = read_entries(r, c);
        mdb_cursor_close(c);
    }
    mdb_txn_abort(txn);
    *ret_more = rc == 1;
    if (old) return too_old(reterr, r->from, compacted);
    return rc && rc != 1 ? store_lmdb_error(reterr, rc, "log") : 0;
}

int store_log_read(struct store *s, const char *prefix, uint64_t from, uint64_t to, void (*fn)(void *, struct store_event *), void *arg, struct status *reterr) {
    struct log_reader r = {s, prefix, from, to, fn, arg};
    for (bool more = true; more;)
        if (read_batch(&r, &more, reterr) != 0) return -1;
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

void store_on_gap(struct store *s, void (*fn)(void *), void *arg) {
    pthread_mutex_lock(&s->watch_mutex);
    s->on_gap = fn;
    s->on_gap_arg = arg;
    pthread_mutex_unlock(&s->watch_mutex);
}

void store_watch_dispatch(struct store *s, struct submission *batch) {
    pthread_mutex_lock(&s->watch_mutex);
    for (struct submission *sub = batch; sub; sub = sub->next) {
        if (sub->result.outcome != STORE_OK || (!sub->events_len && sub->result.revision <= s->dispatched)) continue;
        CHECK(sub->result.revision > s->dispatched); /* revisions ascend at the commit and here */
        if (sub->gap_until && s->on_gap) s->on_gap(s->on_gap_arg);
        for (size_t i = 0; i < sub->events_len; i++)
            for (struct store_watch *w = s->watches; w; w = w->next)
                if (sub->events[i]->revision > w->from && has_prefix(sub->events[i]->key, w->prefix)) w->fn(w->arg, sub->events[i]);
        s->dispatched = sub->result.revision;
    }
    pthread_mutex_unlock(&s->watch_mutex);
}
