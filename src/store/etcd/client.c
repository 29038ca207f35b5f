/* The way to the cluster: one connection to one member, calls on it, the next member when it fails. See etcd.h.
 *
 * A call waits for a connection, is sent, and ends with its answer or at its deadline. When the connection breaks it is sent again if it is idempotent or
 * was never seen. A member that is silent too long, or says that it has no leader, is left for the next.
 *
 * A follower passes writes on to its leader and forgets them when that one is lost: nobody answers before etcd's own 7 s are over. Every answer tells the
 * term of the leader; what was sent before a new term and is not answered soon after it is given up, so that its writer can act.
 *
 * A member that is well is left for a better one (etcd_move) when no write is under way: whose connection is cut under it does not know what came of it. */
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "rpc.pb-c.h"
#include "store/etcd/etcd.h"
#include "wire/grpc_channel.h"

enum { CONNECT_MS = 1000, CONNECT_MS_MAX = 4000, PING_MS = 6000 /* oftener than each 5 s, etcd hangs up */, SILENT_MS = 12000, NEW_MS = 500, RETRY_MS_MAX = 1000, LOST_MS = 1000 /* what survived a change of leaders is answered sooner */,
       MOVE_MS = 500 /* how long writes may be held up to go to a better member */, HURRY_MS = 1000 /* how long the cluster may take for an answer when we are about to end */ };

struct etcd_call {
    struct etcd *etcd;
    struct etcd_call *next;
    struct grpc_stream *stream;    /* NULL: waits for a connection, or to be tried again */
    const char *method;
    struct buf request, answer;
    const ProtobufCMessageDescriptor *type;
    int64_t begun_ms, deadline_ms, sent_ms;
    bool idempotent, answered;
    void (*done)(void *arg, const struct etcd_answer *a);
    void *arg;
};

int64_t etcd_now_ms(void) { return env_mono_ns(env_real()) / 1000000; }

/* ---- answers ---- */

static bool says(const struct etcd_answer *a, const char *text) { return strcmp(a->desc, text) == 0; }

bool etcd_had_no_effect(const struct etcd_answer *a) {
    return !a->sent || says(a, "etcdserver: no leader") || says(a, "etcdserver: not leader") || says(a, "etcdserver: rpc not supported for learner") ||
           says(a, "etcdserver: too many requests") || says(a, "etcdserver: mvcc: database space exceeded") || says(a, "etcdserver: request is too large") ||
           a->code == GRPC_INVALID_ARGUMENT || a->code == GRPC_UNIMPLEMENTED || a->code == GRPC_OUT_OF_RANGE;
}

int etcd_error(const struct etcd_answer *a, struct status *reterr) {
    if (str_has_prefix(a->desc, "etcdserver: ")) return status_set(reterr, 500, NULL, "%s", a->desc);
    return status_set(reterr, 500, NULL, "rpc error: code = %s desc = %s", grpc_code_name(a->code), a->desc);
}

char *etcd_key(struct arena *a, const struct etcd *e, const char *key) {
    return str_has_prefix(key, "/registry/") ? arena_printf(a, "%s%s", e->prefix, key + strlen("/registry")) : NULL;
}

/* ---- calls ---- */

static void leader_changed(struct etcd *e) { e->leader_changed_ms = etcd_now_ms(); }

void etcd_note_header(struct etcd *e, const Etcdserverpb__ResponseHeader *h) {
    if (!h || h->raft_term <= e->raft_term) return;
    if (e->raft_term) leader_changed(e);
    e->raft_term = h->raft_term;
}

static const Etcdserverpb__ResponseHeader *header_of(const ProtobufCMessage *m) {
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "header");
    const Etcdserverpb__ResponseHeader *h = NULL;
    if (f) memcpy(&h, (const char *)m + f->offset, sizeof(h));
    return h;
}

/* Takes the call out of the list and tells its owner. */
static void finish(struct etcd_call *c, int code, const char *desc, bool sent) {
    struct etcd *e = c->etcd;
    struct etcd_answer a = {code, desc, sent, NULL};
    for (struct etcd_call **p = &e->calls; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    if (c->stream) grpc_stream_cancel(c->stream);
    if (code == GRPC_OK) {
        a.message = c->answered ? protobuf_c_message_unpack(c->type, NULL, c->answer.len, (const uint8_t *)buf_cstr(&c->answer)) : NULL;
        if (!a.message) {
            a.code = GRPC_INTERNAL;
            a.desc = "malformed answer from server";
        } else etcd_note_header(e, header_of(a.message));
    }
    c->done(c->arg, &a);
    if (a.message) protobuf_c_message_free_unpacked(a.message, NULL);
    buf_release(&c->request);
    buf_release(&c->answer);
    free(c);
}

static void on_message(void *arg, const void *data, size_t len) {
    struct etcd_call *c = arg;
    buf_clear(&c->answer);
    buf_append(&c->answer, data, len);
    c->answered = true;
}

static bool try_elsewhere(int code, const char *desc) {
    return code == GRPC_UNAVAILABLE || code == GRPC_DEADLINE_EXCEEDED || (code == GRPC_RESOURCE_EXHAUSTED && strcmp(desc, "etcdserver: too many requests") == 0);
}

static void on_end(void *arg, int code, const char *desc, bool sent) {
    struct etcd_call *c = arg;
    struct etcd *e = c->etcd;
    struct etcd_answer a = {code, desc, sent, NULL};
    c->stream = NULL;
    if (says(&a, "etcdserver: leader changed")) leader_changed(e);
    bool again = !e->stopping && try_elsewhere(code, desc) && (c->idempotent || etcd_had_no_effect(&a)) && etcd_now_ms() < c->deadline_ms;
    if (again) snprintf(e->last_error, sizeof(e->last_error), "%s", desc); /* it stays in the list: the tick, or the next connection, sends it */
    if (str_has_prefix(desc, "etcdserver: no leader") || str_has_prefix(desc, "etcdserver: rpc not supported") || str_has_prefix(desc, "etcdserver: request timed out")) etcd_suspect(e, desc);
    if (!again) finish(c, code, desc, sent);
}

static const struct grpc_stream_handler call_handler = {on_message, on_end};

static void send_call(struct etcd_call *c) {
    struct etcd *e = c->etcd;
    if (c->stream || !e->open || (e->moving && !c->idempotent)) return;
    int64_t now = etcd_now_ms(), left = MIN(c->deadline_ms - now, (int64_t)ETCD_ATTEMPT_MS);
    c->answered = false;
    c->stream = grpc_stream_new(e->channel, c->method, (int)MAX(left, (int64_t)1), &call_handler, c);
    if (!c->stream) return; /* the connection takes no more (going away): it will break and be replaced */
    c->sent_ms = now;
    grpc_stream_send(c->stream, c->request.data, c->request.len, true);
}

void etcd_call(struct etcd *e, const char *method, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type, bool idempotent, int timeout_ms,
               void (*done)(void *arg, const struct etcd_answer *a), void *arg) {
    struct etcd_call *c = calloc(1, sizeof(*c));
    CHECK(c);
    int64_t now = etcd_now_ms();
    *c = (struct etcd_call){.etcd = e, .method = method, .type = type, .idempotent = idempotent, .begun_ms = now, .deadline_ms = now + timeout_ms, .done = done, .arg = arg};
    size_t len = protobuf_c_message_get_packed_size(request);
    buf_reserve(&c->request, len);
    c->request.len = protobuf_c_message_pack(request, (uint8_t *)c->request.data);
    c->next = e->calls;
    e->calls = c;
    if (e->stopping) finish(c, GRPC_CANCELED, "the store is closing", false);
    else if (e->given_up) finish(c, GRPC_UNAVAILABLE, "etcdserver: request timed out", false);
    else send_call(c);
}

/* ---- the connection ---- */

static void connect_next(struct etcd *e, const char *why, bool failed) {
    snprintf(e->last_error, sizeof(e->last_error), "%s", why);
    if (e->failures <= (int)e->endpoints_len)
        log_info("etcd's member at %s:%d is left for the %s: %s", e->endpoints[e->endpoint].host, e->endpoints[e->endpoint].port, e->moving ? "preferred one" : "next", e->last_error);
    e->failures = failed ? e->failures + 1 : 0;
    e->endpoint = e->moving ? e->move_to : (e->endpoint + 1) % e->endpoints_len;
    e->moving = false;
    /* All members once without a pause, then with one that grows. */
    int64_t pause = e->failures < (int)e->endpoints_len ? 0 : MIN((int64_t)50 << MIN(e->failures - (int)e->endpoints_len, 5), (int64_t)RETRY_MS_MAX);
    e->connect_at_ms = etcd_now_ms() + pause;
}

static void drop_channel(struct etcd *e) {
    struct grpc_channel *c = e->channel;
    e->channel = NULL;
    e->open = false;
    grpc_channel_free(c);
}

static void on_open(void *ctx) {
    struct etcd *e = ctx;
    e->open = true;
    e->failures = 0;
    e->opened_ms = e->pinged_ms = etcd_now_ms();
    for (struct etcd_call *c = e->calls, *next; c; c = next) {
        next = c->next;
        send_call(c);
    }
    mirror_opened(e);
}

static void on_closed(void *ctx, const char *why) {
    struct etcd *e = ctx;
    bool failed = !e->open || etcd_now_ms() - e->opened_ms < NEW_MS;
    char text[300];
    snprintf(text, sizeof(text), "connection error: desc = \"transport: Error while dialing: %s:%d: %s\"", e->endpoints[e->endpoint].host, e->endpoints[e->endpoint].port, why);
    drop_channel(e);
    e->moving = false;
    connect_next(e, text, failed);
}

static const struct grpc_channel_handler channel_handler = {on_open, on_closed};

void etcd_suspect(struct etcd *e, const char *why) {
    if (!e->channel || e->endpoints_len == 1 || (e->open && etcd_now_ms() - e->opened_ms < NEW_MS)) return;
    snprintf(e->last_error, sizeof(e->last_error), "%s", why);
    e->suspected = true; /* the tick leaves it: not from within the callback that found out */
}

void etcd_move(struct etcd *e, size_t endpoint, const char *why) {
    if (e->moving || !e->open || endpoint == e->endpoint) return;
    snprintf(e->last_error, sizeof(e->last_error), "%s", why);
    e->moving = true;
    e->move_to = endpoint;
    e->moving_ms = etcd_now_ms();
}

static bool writes_under_way(const struct etcd *e) {
    for (const struct etcd_call *c = e->calls; c; c = c->next)
        if (c->stream && !c->idempotent) return true;
    return false;
}

/* Whether to go now. */
static bool may_move(struct etcd *e, int64_t now) {
    if (!e->moving) return false;
    if (!writes_under_way(e)) return true;
    if (now - e->moving_ms > MOVE_MS) e->moving = false; /* at another time */
    return false;
}

static void connect_now(struct etcd *e) {
    struct endpoint *p = &e->endpoints[e->endpoint];
    e->opened_ms = etcd_now_ms();
    e->channel = grpc_channel_new(p->host, p->port, p->tls ? e->tls : NULL, &channel_handler, e);
    if (!e->channel) connect_next(e, "cannot look up the member's address", true);
}

/* Short, for one that cannot be reached should hold up nobody; longer when none was in the last round, for far ones and for loaded machines. */
static int64_t connect_timeout_ms(const struct etcd *e) {
    int rounds = e->failures / (int)e->endpoints_len;
    return MIN((int64_t)CONNECT_MS << MIN(rounds, 4), (int64_t)CONNECT_MS_MAX);
}

static void watch_channel(struct etcd *e, int64_t now) {
    if (!e->channel) {
        if (now >= e->connect_at_ms) connect_now(e);
        return;
    }
    int64_t silent = grpc_channel_silent_ms(e->channel);
    if (!e->open && now - e->opened_ms > connect_timeout_ms(e)) {
        drop_channel(e);
        connect_next(e, "connection error: desc = \"transport: Error while dialing: i/o timeout\"", true);
    } else if (e->open && (e->suspected || silent > SILENT_MS || may_move(e, now))) {
        char why[sizeof(e->last_error)];
        snprintf(why, sizeof(why), "%s", silent > SILENT_MS ? "etcdserver: request timed out" : e->last_error);
        e->moving = e->moving && !e->suspected && silent <= SILENT_MS;
        e->suspected = false;
        drop_channel(e);
        connect_next(e, why, false);
        connect_now(e);
    } else if (e->open && silent > PING_MS && now - e->pinged_ms > PING_MS) {
        e->pinged_ms = now;
        grpc_channel_ping(e->channel);
    }
}

static bool is_lost(const struct etcd_call *c, int64_t now) {
    int64_t changed = c->etcd->leader_changed_ms;
    return c->stream && !c->idempotent && c->sent_ms <= changed && now - changed > LOST_MS;
}

/* Who is about to end asks the cluster a few last things. When it does not answer the first of them in time it is not asked again: all that wait are told at once. */
static void give_up(struct etcd *e, int64_t now) {
    for (struct etcd_call *c = e->calls; c && e->hurried_ms; c = c->next) e->given_up |= now - MAX(c->begun_ms, e->hurried_ms) > HURRY_MS;
}

/* Calls that wait are sent, those that wait too long end. A member that has not answered one for long is left. */
static void watch_calls(struct etcd *e, int64_t now) {
    bool slow = false;
    give_up(e, now);
    for (struct etcd_call *c = e->calls, *next; c; c = next) {
        next = c->next;
        if (c->stream && now - c->sent_ms > ETCD_ATTEMPT_MS) slow = true;
        if (e->given_up || now >= c->deadline_ms || is_lost(c, now)) {
            bool sent = c->stream && !c->idempotent;
            finish(c, GRPC_UNAVAILABLE, str_has_prefix(e->last_error, "connection error") && !c->stream ? e->last_error : "etcdserver: request timed out", sent);
            next = e->calls; /* its owner may have begun or ended others: from the front again */
        } else if (!c->stream) send_call(c);
    }
    if (slow) etcd_suspect(e, "etcdserver: request timed out");
}

static void on_tick(void *arg) {
    struct etcd *e = arg;
    int64_t now = etcd_now_ms();
    watch_channel(e, now);
    watch_calls(e, now);
    preferred_tick(e, now);
    current_tick(e);
    mirror_tick(e);
    compact_tick(e);
}

void etcd_client_start(struct etcd *e) {
    e->tick = loop_timer_new(on_tick, e);
    loop_timer_start(e->tick, 0, ETCD_TICK_MS);
}

void etcd_client_stop(struct etcd *e) {
    e->stopping = true;
    preferred_stop(e);
    drop_channel(e);
    while (e->calls) finish(e->calls, GRPC_CANCELED, "the store is closing", e->calls->stream != NULL);
    loop_timer_free(e->tick);
}
