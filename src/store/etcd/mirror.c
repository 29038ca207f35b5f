/* The mirror of the cluster: loaded at start, fed by a watch, brought up to date by comparison when the watch cannot go on. See etcd.h.
 *
 * LOADING   pages of one revision go straight into the tables; nobody reads yet            -> WATCHING
 * WATCHING  the watch's events, grouped by revision, are queued for the writer thread; a broken watch begins again behind the last one received
 *           etcd has compacted what comes next, or the mirror could not be written         -> COMPARING
 * COMPARING pages of one revision are compared with the tables (nothing is queued meanwhile); what differs becomes events:
 *           a put at its mod_revision; a delete, whose revision nobody knows any more, at the listed revision; an object that was deleted and made anew,
 *           first a delete right before its creation                                       -> WATCHING
 *           What happened between is not known: the log is cut, and clients' watches are ended (store_on_gap)
 * `received` is the last revision queued; events at or below it are old ones, sent again. */
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "rpc.pb-c.h"
#include "store/etcd/etcd.h"
#include "store/lmdb.h"
#include "wire/grpc_channel.h"

enum { PAGE_KEYS = 500, RETRY_MS = 200 };

struct change { uint64_t revision; struct store_op op; };

struct mirror {
    struct etcd *etcd;
    enum { LOADING, COMPARING, WATCHING } state;
    uint64_t received, cluster_id;
    int64_t retry_at_ms, load_deadline_ms;

    /* listing */
    bool listing, wait_quiet;
    int64_t list_revision;
    struct arena *arena;                 /* what is collected while listing or for one revision of the watch */
    char *list_from;                     /* etcd's key to go on at */
    struct { struct change *items; size_t len; } changes;

    /* watching */
    struct grpc_stream *stream;
    struct arena *group_arena;           /* of the revision that is being received */
    uint64_t group_revision;
    struct { struct store_op *items; size_t len; } group;

    atomic_bool broken;                  /* the writer could not apply */
    struct { pthread_mutex_t mutex; pthread_cond_t cond; bool done, failed; struct status error; } start;
};

/* ---- what arrives ---- */

static void applied(void *arg, struct store_result *result) {
    struct mirror *m = arg;
    if (result->outcome != STORE_OK) {
        log_error("the mirror of etcd cannot be written: %s", status_message(&result->error));
        atomic_store(&m->broken, true);
        status_release(&result->error);
    }
    etcd_applied(m->etcd);
}

static void queue_revision(struct mirror *m, uint64_t revision, uint64_t gap_until, const struct store_op *ops, size_t n) {
    struct submission *sub = calloc(1, sizeof(*sub));
    CHECK(sub && revision > m->received);
    sub->ops = store_ops_copy(ops, n, &sub->bytes);
    sub->ops_len = n;
    sub->revision = revision;
    sub->gap_until = gap_until;
    sub->done = applied;
    sub->arg = m;
    m->received = revision;
    store_enqueue(m->etcd->store, sub);
}

/* Our name of etcd's key, or NULL when it is not below the prefix (or longer than we can hold: none of upstream's is). */
static char *our_key(struct etcd *e, struct arena *a, const ProtobufCBinaryData *key) {
    size_t n = strlen(e->prefix);
    if (key->len <= n || memcmp(key->data, e->prefix, n) != 0 || key->data[n] != '/' || memchr(key->data, 0, key->len) || key->len - n + 9 > STORE_KEY_MAX) return NULL;
    return arena_printf(a, "/registry%.*s", (int)(key->len - n), (const char *)key->data + n);
}

/* Fills op's value from etcd's bytes. False: they cannot be read. */
static bool decode(struct etcd *e, struct arena *a, struct store_op *op, const ProtobufCBinaryData *value) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    uint32_t rv_offset = 0;
    int rc = e->codec ? e->codec->decode(e->codec->ctx, op->key, value->data, value->len, &out, &rv_offset) : 1;
    if (rc < 0) {
        e->store->damaged++;
        log_error("the object %s in etcd cannot be decoded", op->key);
        return false;
    }
    if (rc > 0) {
        buf_clear(&out);
        buf_append(&out, value->data, value->len);
        rv_offset = 0;
    }
    op->value = arena_memdup(a, buf_cstr(&out), out.len + 1);
    op->value_len = out.len;
    op->rv_offset = rv_offset;
    return true;
}

/* ---- listing ---- */

static void list_next(struct mirror *m);
static void watch(struct mirror *m);

static void list_begin(struct mirror *m) {
    struct etcd *e = m->etcd;
    arena_free(m->arena);
    m->arena = arena_new();
    m->changes.items = NULL;
    m->changes.len = 0;
    m->list_revision = 0;
    m->list_from = arena_printf(m->arena, "%s/", e->prefix);
    m->listing = true;
    list_next(m);
}

static int load_page(struct mirror *m, const Etcdserverpb__RangeResponse *page) {
    struct store *s = m->etcd->store;
    _cleanup_arena_ struct arena *a = arena_new();
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->file.env, NULL, 0, &txn);
    if (rc) return rc;
    for (size_t i = 0; i < page->n_kvs && !rc; i++) {
        const Etcdserverpb__KeyValue *kv = page->kvs[i];
        struct store_op op = {.key = our_key(m->etcd, a, &kv->key)};
        if (!op.key || !decode(m->etcd, a, &op, &kv->value)) continue;
        struct record r = {(uint64_t)kv->create_revision, (uint64_t)kv->mod_revision, 0, op.rv_offset, 0};
        _cleanup_buf_ struct buf sealed = BUF_INIT;
        if (s->cipher && s->cipher->seal(s->cipher->ctx, op.key, op.value, op.value_len, &sealed, NULL) == 0) {
            op.value = sealed.data;
            op.value_len = sealed.len;
        }
        MDB_val k = {strlen(op.key), (void *)(uintptr_t)op.key}, v = {sizeof(r) + op.value_len, NULL};
        if ((rc = mdb_put(txn, s->file.kv, &k, &v, MDB_RESERVE))) break;
        memcpy(v.mv_data, &r, sizeof(r));
        memcpy((char *)v.mv_data + sizeof(r), op.value, op.value_len);
    }
    if (!rc && !page->more) rc = store_meta_put(&s->file, txn, "compacted", (uint64_t)m->list_revision); /* nothing before is known */
    if (rc) mdb_txn_abort(txn);
    else rc = mdb_txn_commit(txn);
    if (!rc && !page->more) s->compacted = (uint64_t)m->list_revision;
    return rc;
}

static void add_change(struct mirror *m, uint64_t revision, struct store_op op) { *LIST_PUSH(m->arena, &m->changes) = (struct change){revision, op}; }

struct compare {
    struct mirror *m;
    const Etcdserverpb__RangeResponse *page;
    size_t at;
    char *until; /* our key behind the page; NULL: it is the last */
};

static void changed(struct compare *c, const Etcdserverpb__KeyValue *kv, const struct store_view *old) {
    struct mirror *m = c->m;
    struct store_op op = {.key = our_key(m->etcd, m->arena, &kv->key), .expect_mod_revision = STORE_ANY};
    if (!op.key || (old && old->mod_revision == (uint64_t)kv->mod_revision)) return;
    bool anew = old && old->create_revision != (uint64_t)kv->create_revision;
    if (anew) add_change(m, (uint64_t)kv->create_revision - 1, op);
    if (decode(m->etcd, m->arena, &op, &kv->value)) add_change(m, (uint64_t)kv->mod_revision, op);
    else if (old && !anew) add_change(m, (uint64_t)kv->mod_revision, op); /* not to be read any more: a delete */
}

static int key_order(struct compare *c, const Etcdserverpb__KeyValue *kv, const struct store_view *v) {
    size_t n = strlen(c->m->etcd->prefix), len = kv->key.len - n, have = v->key_len - strlen("/registry");
    int d = memcmp(kv->key.data + n, v->key + strlen("/registry"), MIN(len, have));
    return d ? d : (len > have) - (len < have);
}

/* Each of the mirror's keys in the page's span, in order, against the page's. */
static bool compare_key(void *arg, const struct store_view *v) {
    struct compare *c = arg;
    char *key = arena_strndup(c->m->arena, v->key, v->key_len);
    if (c->until && strcmp(key, c->until) >= 0) return false;
    while (c->at < c->page->n_kvs && key_order(c, c->page->kvs[c->at], v) < 0) changed(c, c->page->kvs[c->at++], NULL);
    if (c->at < c->page->n_kvs && key_order(c, c->page->kvs[c->at], v) == 0) changed(c, c->page->kvs[c->at++], v);
    else add_change(c->m, (uint64_t)c->m->list_revision, (struct store_op){.key = key, .expect_mod_revision = STORE_ANY});
    return true;
}

static int compare_page(struct mirror *m, const Etcdserverpb__RangeResponse *page) {
    struct etcd *e = m->etcd;
    struct compare c = {m, page, 0, NULL};
    struct store_txn *t;
    char *from = arena_printf(m->arena, "/registry%s", m->list_from + strlen(e->prefix));
    if (page->more) c.until = arena_printf(m->arena, "%s\x01", our_key(e, m->arena, &page->kvs[page->n_kvs - 1]->key));
    if (store_read_begin(e->store, &t, NULL) != 0) return -1;
    store_range(t, "/registry/", from, compare_key, &c);
    while (c.at < page->n_kvs) changed(&c, page->kvs[c.at++], NULL);
    store_read_end(t);
    return 0;
}

static int compare_changes(const void *a, const void *b) {
    const struct change *x = a, *y = b;
    return x->revision != y->revision ? (x->revision > y->revision ? 1 : -1) : strcmp(x->op.key, y->op.key);
}

/* What differs is queued as if the watch had brought it. */
static void queue_changes(struct mirror *m) {
    if (m->changes.len) qsort(m->changes.items, m->changes.len, sizeof(*m->changes.items), compare_changes);
    log_info("the mirror of etcd was compared at revision %lld: %zu changes", (long long)m->list_revision, m->changes.len);
    for (size_t i = 0, n; i < m->changes.len; i = n) {
        struct { struct store_op *items; size_t len; } ops = {0};
        uint64_t revision = m->changes.items[i].revision;
        for (n = i; n < m->changes.len && m->changes.items[n].revision == revision; n++) *LIST_PUSH(m->arena, &ops) = m->changes.items[n].op;
        queue_revision(m, MAX(revision, m->received + 1), i == 0 ? (uint64_t)m->list_revision : 0, ops.items, ops.len);
    }
}

static void started(struct mirror *m, const struct status *error) {
    pthread_mutex_lock(&m->start.mutex);
    if (!m->start.done && error) {
        m->start.failed = true;
        status_copy(&m->start.error, error);
    }
    m->start.done = true;
    pthread_cond_signal(&m->start.cond);
    pthread_mutex_unlock(&m->start.mutex);
}

static void loaded(void *arg, bool reached) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!reached) status_set(&err, 500, NULL, "the mirror of etcd cannot be written");
    started(arg, reached ? NULL : &err);
}

static void list_done(struct mirror *m) {
    bool first = m->state == LOADING;
    if (m->state == COMPARING) queue_changes(m);
    uint64_t gap_until = m->state == COMPARING && !m->changes.len ? (uint64_t)m->list_revision : 0; /* what came and went is not seen by comparing */
    if (m->received < (uint64_t)m->list_revision) queue_revision(m, (uint64_t)m->list_revision, gap_until, NULL, 0);
    m->listing = false;
    m->state = WATCHING;
    arena_free(m->arena);
    m->arena = NULL;
    /* Who opens the store must find it at this revision: a watch from before must be told that the log does not reach back so far. */
    if (first) etcd_await(m->etcd, m->received, ETCD_TIMEOUT_MS, loaded, m);
    watch(m);
}

static void list_again(struct mirror *m, const char *why) {
    log_warning("listing etcd is begun again: %s", why);
    m->listing = false;
    m->retry_at_ms = etcd_now_ms() + RETRY_MS;
}

static void on_page(void *arg, const struct etcd_answer *a) {
    struct mirror *m = arg;
    const Etcdserverpb__RangeResponse *page = a->message;
    if (m->etcd->stopping) return;
    if (a->code != GRPC_OK || !page->header) {
        list_again(m, a->desc);
        return;
    }
    if (!m->list_revision) m->list_revision = page->header->revision;
    m->cluster_id = page->header->cluster_id;
    int rc = m->state == LOADING ? load_page(m, page) : compare_page(m, page);
    if (rc) {
        list_again(m, "the mirror cannot be written");
        return;
    }
    if (!page->more || !page->n_kvs) {
        list_done(m);
        return;
    }
    const ProtobufCBinaryData *last = &page->kvs[page->n_kvs - 1]->key;
    m->list_from = arena_printf(m->arena, "%.*s\x01", (int)last->len, (const char *)last->data); /* the next key: no key of the API holds a byte below 2 */
    list_next(m);
}

static ProtobufCBinaryData bytes_of(const char *s) { return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s}; }

static void list_next(struct mirror *m) {
    Etcdserverpb__RangeRequest req = ETCDSERVERPB__RANGE_REQUEST__INIT;
    char *end = arena_printf(m->arena, "%s0", m->etcd->prefix); /* '0' comes after '/' */
    req.key = bytes_of(m->list_from);
    req.range_end = bytes_of(end);
    req.limit = PAGE_KEYS;
    req.revision = m->list_revision;
    etcd_call(m->etcd, "/etcdserverpb.KV/Range", &req.base, &etcdserverpb__range_response__descriptor, true, ETCD_TIMEOUT_MS, on_page, m);
}

static void compare(struct mirror *m, const char *why) {
    log_warning("the watch of etcd cannot go on at revision %llu: %s", (unsigned long long)m->received + 1, why);
    m->state = COMPARING;
    m->listing = false;
    m->retry_at_ms = 0;
    if (m->stream) grpc_stream_cancel(m->stream);
    m->stream = NULL;
}

/* ---- watching ---- */

static void group_flush(struct mirror *m) {
    if (m->group_revision > m->received) queue_revision(m, m->group_revision, 0, m->group.items, m->group.len);
    arena_free(m->group_arena);
    m->group_arena = NULL;
    m->group.items = NULL;
    m->group.len = 0;
    m->group_revision = 0;
}

static void on_event(struct mirror *m, const Etcdserverpb__Event *ev) {
    struct etcd *e = m->etcd;
    const Etcdserverpb__KeyValue *kv = ev->kv;
    if (!kv || (uint64_t)kv->mod_revision <= m->received) return;
    if ((uint64_t)kv->mod_revision != m->group_revision) group_flush(m);
    m->group_revision = (uint64_t)kv->mod_revision;
    if (!m->group_arena) m->group_arena = arena_new();
    struct store_op op = {.key = our_key(e, m->group_arena, &kv->key), .expect_mod_revision = STORE_ANY};
    if (!op.key) return;
    if (ev->type == ETCDSERVERPB__EVENT__EVENT_TYPE__PUT) {
        const struct store_op *ours = etcd_write_match(e, op.key, kv->value.data, kv->value.len);
        if (ours) {
            op.value = ours->value_len ? arena_memdup(m->group_arena, ours->value, ours->value_len) : "";
            op.value_len = ours->value_len;
            op.rv_offset = ours->rv_offset;
        } else decode(e, m->group_arena, &op, &kv->value); /* one that cannot be read is as good as deleted */
    }
    *LIST_PUSH(m->group_arena, &m->group) = op;
}

static void on_response(struct mirror *m, const Etcdserverpb__WatchResponse *r) {
    char text[200];
    etcd_note_header(m->etcd, r->header);
    if (r->header && m->cluster_id && r->header->cluster_id != m->cluster_id) {
        log_error("etcd is another cluster than the one this server began with: restart this server");
        m->cluster_id = r->header->cluster_id;
    }
    if (r->compact_revision) {
        snprintf(text, sizeof(text), "it was compacted at %lld", (long long)r->compact_revision);
        compare(m, text);
        return;
    }
    if (r->canceled) {
        log_warning("etcd canceled the watch: %s", r->cancel_reason);
        grpc_stream_cancel(m->stream);
        m->stream = NULL;
        m->retry_at_ms = etcd_now_ms() + RETRY_MS;
        return;
    }
    for (size_t i = 0; i < r->n_events; i++) on_event(m, r->events[i]);
    if (!r->fragment) group_flush(m);
}

static void on_watch_message(void *arg, const void *data, size_t len) {
    struct mirror *m = arg;
    Etcdserverpb__WatchResponse *r = etcdserverpb__watch_response__unpack(NULL, len, data);
    if (!r) {
        compare(m, "malformed answer from server");
        return;
    }
    on_response(m, r);
    etcdserverpb__watch_response__free_unpacked(r, NULL);
}

static void on_watch_end(void *arg, int code UNUSED, const char *desc, bool sent UNUSED) {
    struct mirror *m = arg;
    m->stream = NULL;
    m->group_revision = 0; /* half a revision comes again, whole */
    group_flush(m);
    m->retry_at_ms = etcd_now_ms() + RETRY_MS;
    if (!m->etcd->stopping && strstr(desc, "etcdserver:")) etcd_suspect(m->etcd, desc);
}

static const struct grpc_stream_handler watch_handler = {on_watch_message, on_watch_end};

static void watch(struct mirror *m) {
    struct etcd *e = m->etcd;
    if (m->stream || !e->open || m->state != WATCHING) return;
    m->stream = grpc_stream_new(e->channel, "/etcdserverpb.Watch/Watch", 0, &watch_handler, m);
    if (!m->stream) return;
    Etcdserverpb__WatchRequest req = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.key = create.range_end = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "\0"}; /* all keys */
    create.start_revision = (int64_t)m->received + 1;
    create.fragment = true;
    req.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    req.create_request = &create;
    uint8_t packed[128];
    CHECK(etcdserverpb__watch_request__get_packed_size(&req) <= sizeof(packed));
    grpc_stream_send(m->stream, packed, etcdserverpb__watch_request__pack(&req, packed), false);
}

/* ---- life ---- */

void mirror_opened(struct etcd *e) { watch(e->mirror); }

void mirror_tick(struct etcd *e) {
    struct mirror *m = e->mirror;
    int64_t now = etcd_now_ms();
    if (!m->start.done && now > m->load_deadline_ms) {
        _cleanup_status_ struct status err = STATUS_INIT;
        status_set(&err, 500, NULL, "etcd cannot be reached: %s", *e->last_error ? e->last_error : "context deadline exceeded");
        started(m, &err);
    }
    if (atomic_exchange(&m->broken, false) && m->state == WATCHING) {
        compare(m, "the mirror could not be written");
        m->retry_at_ms = now + 1000;
        m->wait_quiet = true;
    }
    if (now < m->retry_at_ms || m->listing) return;
    if (m->state == WATCHING) watch(m);
    else if (m->state == LOADING) list_begin(m);
    else if (store_revision(e->store) >= m->received || m->wait_quiet) { /* all that was queued is applied: what is compared stands still */
        if (m->wait_quiet) m->received = store_revision(e->store);
        m->wait_quiet = false;
        list_begin(m);
    }
}

int mirror_wait(struct etcd *e, struct status *reterr) {
    struct mirror *m = e->mirror;
    pthread_mutex_lock(&m->start.mutex);
    while (!m->start.done) pthread_cond_wait(&m->start.cond, &m->start.mutex);
    pthread_mutex_unlock(&m->start.mutex);
    if (!m->start.failed) return 0;
    status_copy(reterr, &m->start.error);
    return -1;
}

void mirror_new(struct etcd *e, int64_t timeout_ms) {
    struct mirror *m = calloc(1, sizeof(*m));
    CHECK(m);
    m->etcd = e;
    m->received = store_revision(e->store);
    m->load_deadline_ms = etcd_now_ms() + timeout_ms;
    pthread_mutex_init(&m->start.mutex, NULL);
    pthread_cond_init(&m->start.cond, NULL);
    e->mirror = m;
}

void mirror_free(struct mirror *m) {
    if (!m) return;
    arena_free(m->arena);
    arena_free(m->group_arena);
    status_release(&m->start.error);
    pthread_mutex_destroy(&m->start.mutex);
    pthread_cond_destroy(&m->start.cond);
    free(m);
}
