/* Whether one member of the cluster answers: a linearizable read on a connection of its own, as upstream's prober asks. The store itself may be well on another member. */
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "rpc.pb-c.h"
#include "store/etcd/etcd.h"
#include "store/lmdb.h"
#include "wire/grpc_channel.h"

struct probe {
    struct etcd *etcd;
    char *host;
    int port;
    int timeout_ms;
    struct grpc_channel *channel;
    struct loop_timer *timer;
    bool answered;
    struct status error;
    void (*done)(void *arg, const struct status *error);
    void *arg;
};

void probe_cancel(struct probe *p) {
    if (!p) return;
    p->answered = true;
    grpc_channel_free(p->channel);
    loop_timer_free(p->timer);
    status_release(&p->error);
    free(p->host);
    free(p);
}

/* The timer's: the connection is not to be closed from within what it calls. */
static void end(void *arg) {
    struct probe *p = arg;
    if (!p->answered) status_set(&p->error, 500, NULL, "context deadline exceeded");
    p->answered = true;
    p->done(p->arg, p->error.code ? &p->error : NULL);
    probe_cancel(p);
}

static void answer(struct probe *p) {
    p->answered = true;
    loop_timer_start(p->timer, 0, 0);
}

static void on_message(void *arg UNUSED, const void *data UNUSED, size_t len UNUSED) {}

static void on_end(void *arg, int code, const char *desc, bool sent) {
    struct probe *p = arg;
    if (p->answered) return;
    if (code != GRPC_OK) etcd_error(&(struct etcd_answer){code, desc, sent, NULL}, &p->error);
    answer(p);
}

static void on_open(void *ctx) {
    static const struct grpc_stream_handler handler = {on_message, on_end};
    struct probe *p = ctx;
    Etcdserverpb__RangeRequest req = ETCDSERVERPB__RANGE_REQUEST__INIT;
    req.key = (ProtobufCBinaryData){6, (uint8_t *)(uintptr_t) "health"};
    req.count_only = true;
    uint8_t bytes[64];
    size_t len = etcdserverpb__range_request__get_packed_size(&req);
    CHECK(len <= sizeof(bytes));
    etcdserverpb__range_request__pack(&req, bytes);
    struct grpc_stream *s = grpc_stream_new(p->channel, "/etcdserverpb.KV/Range", p->timeout_ms, &handler, p);
    if (s) grpc_stream_send(s, bytes, len, true);
}

static void on_closed(void *ctx, const char *why) {
    struct probe *p = ctx;
    if (p->answered) return;
    status_set(&p->error, 500, NULL, "connection error: desc = \"transport: Error while dialing: %s:%d: %s\"", p->host, p->port, why);
    answer(p);
}

struct probe *probe_begin(struct etcd *e, const struct endpoint *endpoint, int timeout_ms, void (*done)(void *arg, const struct status *error), void *arg) {
    static const struct grpc_channel_handler handler = {on_open, on_closed};
    struct probe *p = calloc(1, sizeof(*p));
    CHECK(p && (p->host = strdup(endpoint->host)));
    p->etcd = e;
    p->port = endpoint->port;
    p->timeout_ms = timeout_ms;
    p->done = done;
    p->arg = arg;
    p->timer = loop_timer_new(end, p);
    loop_timer_start(p->timer, (uint64_t)timeout_ms, 0);
    p->channel = grpc_channel_new(p->host, p->port, endpoint->tls ? e->tls : NULL, &handler, p);
    if (p->channel) return p;
    status_set(&p->error, 500, NULL, "cannot look up the member's address");
    answer(p);
    return p;
}

/* ---- for who waits ---- */

struct prober { struct etcd *etcd; size_t endpoint; int timeout_ms; struct store_waiter waiter; struct status error; };

static void wake(void *arg, const struct status *error) {
    struct prober *p = arg;
    if (error) status_copy(&p->error, error);
    store_waiter_wake(&p->waiter);
}

static void begin(void *arg) {
    struct prober *p = arg;
    if (p->endpoint < p->etcd->endpoints_len) {
        probe_begin(p->etcd, &p->etcd->endpoints[p->endpoint], p->timeout_ms, wake, p);
        return;
    }
    status_set(&p->error, 500, NULL, "the member has gone"); /* meanwhile: see etcd_set_servers */
    store_waiter_wake(&p->waiter);
}

int etcd_probe(struct etcd *e, size_t endpoint, int timeout_ms, struct status *reterr) {
    struct prober p = {.etcd = e, .endpoint = endpoint, .timeout_ms = timeout_ms};
    store_waiter_init(&p.waiter);
    loop_post(e->loop, begin, &p);
    store_waiter_wait(&p.waiter);
    if (!p.error.code) return 0;
    status_copy(reterr, &p.error);
    status_release(&p.error);
    return -1;
}
