/* Between controllers and their apiserver: a transport that fails, delays, conflicts, loses answers and breaks watches, as its struct faults says, and that lets
 * the controllers die between any two writes.
 *
 * What befalls a call follows from the seed, the call (method and path, made-up endings of names left out) and how often it was made, so that a seed is the same story each time
 * as far as threads allow. Watches keep what upstream promises of them: of one object everything in order; what they may do, they do: end at any event, forget where
 * they were (410, then all is listed again), tell the last event twice, and be late, each resource by itself, so that what happened to objects of two kinds is seen in any order. */
#ifndef CKUBE_TESTS_CONTROLLER_FAULTS_H
#define CKUBE_TESTS_CONTROLLER_FAULTS_H
#include <stdatomic.h>
#include <string.h>
#include "base/env.h"
#include "base/map.h"
#include "base/str.h"
#include "client/transport.h"

enum { FAULTS_COUNTERS = 1024 };

/* Chances are in a thousand. May change while controllers run. */
struct faults {
    _Atomic int refused;    /* writes: 500, nothing was done */
    _Atomic int lost;       /* writes: it was done, but no answer comes */
    _Atomic int conflict;   /* 409 for updates */
    _Atomic int delay_ms;   /* of writes, up to */
    _Atomic int unread;     /* reads: 500 */
    _Atomic int watch_cut, watch_gone, watch_twice; /* of each piece of a watch that is read */
    _Atomic int watch_delay_ms; /* of each piece, up to */
    _Atomic int64_t writes_left; /* then nothing is written any more: the controllers are as good as dead; -1: no end */
    _Atomic uint64_t seed;
    const char *metrics;    /* what GETs below /apis/metrics.k8s.io are answered ('  stands for "); NULL: the apiserver answers */
    void (*wrote)(void *data); /* called after each write that was done, on the thread that wrote; NULL: nobody */
    void *wrote_data;
    _Atomic uint64_t writes, hits; /* writes that were done; faults that struck */
    _Atomic uint32_t made[FAULTS_COUNTERS];
};

/* ---- what befalls a call ---- */

static uint64_t faults_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The path without "-x7k2p" at the end of names, which are different each time. */
static uint64_t faults_hash(const char *method, const char *target) {
    char text[512];
    size_t n = (size_t)snprintf(text, sizeof(text), "%.10s ", method);
    for (const char *p = target; *p && *p != '?' && n < sizeof(text) - 1; p++) {
        size_t word = strcspn(p + 1, "/?-");
        if (*p == '-' && word == 5 && p[6] != '-') p += 5;
        else text[n++] = *p;
    }
    return hash_bytes(text, n);
}

struct fate { uint64_t state; };

static struct fate faults_fate(struct faults *f, const char *method, const char *target) {
    uint64_t h = faults_hash(method, target);
    return (struct fate){faults_mix(f->seed * 0x9e3779b97f4a7c15u + h + faults_mix(atomic_fetch_add(&f->made[h % FAULTS_COUNTERS], 1)))};
}

static int fate_draw(struct fate *x, int below) { return (int)(faults_mix(x->state += 0x9e3779b97f4a7c15u) % (uint64_t)below); }

static bool fate_strikes(struct faults *f, struct fate *x, int chance) {
    if (!chance || fate_draw(x, 1000) >= chance) return false;
    atomic_fetch_add(&f->hits, 1);
    return true;
}

static void fate_delay(struct fate *x, int up_to_ms) {
    if (up_to_ms) env_sleep_ms(env_real(), fate_draw(x, up_to_ms));
}

/* ---- calls ---- */

struct faulty_transport { struct transport base; struct transport *inner; struct faults *faults; };

static int faulty_read(struct faulty_transport *t, const struct transport_call *c, int *ret_code, struct buf *ret_body, struct status *reterr) {
    struct faults *f = t->faults;
    if (f->metrics && str_has_prefix(c->target, "/apis/metrics.k8s.io/")) {
        *ret_code = 200;
        for (const char *p = f->metrics; *p; p++) buf_append_char(ret_body, *p == '\'' ? '"' : *p);
        return 0;
    }
    struct fate x = faults_fate(f, c->method, c->target);
    if (fate_strikes(f, &x, f->unread)) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "not read, by the test");
    return t->inner->call(t->inner, c, ret_code, ret_body, reterr);
}

static int faulty_call(struct transport *base, const struct transport_call *c, int *ret_code, struct buf *ret_body, struct status *reterr) {
    struct faulty_transport *t = (struct faulty_transport *)base;
    struct faults *f = t->faults;
    if (str_eq(c->method, "GET")) return faulty_read(t, c, ret_code, ret_body, reterr);
    if (f->writes_left >= 0 && atomic_fetch_sub(&f->writes_left, 1) <= 0) {
        f->writes_left = 0;
        return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "dead");
    }
    struct fate x = faults_fate(f, c->method, c->target);
    fate_delay(&x, f->delay_ms);
    if (fate_strikes(f, &x, f->refused)) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "refused by the test");
    if (str_eq(c->method, "PUT") && fate_strikes(f, &x, f->conflict)) return status_set(reterr, 409, REASON_CONFLICT, "conflict by the test");
    int rc = t->inner->call(t->inner, c, ret_code, ret_body, reterr);
    if (rc != 0) return rc;
    if (*ret_code < 300) {
        atomic_fetch_add(&f->writes, 1);
        if (f->wrote) f->wrote(f->wrote_data);
    }
    if (!fate_strikes(f, &x, f->lost)) return 0;
    buf_clear(ret_body);
    return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "the answer was lost by the test");
}

/* ---- watches ---- */

/* Hands on whole lines. */
struct faulty_stream {
    struct transport_stream base;
    struct transport_stream *inner;
    struct faults *faults;
    struct fate fate;
    struct buf got, out; /* out: whole lines to be handed on */
    bool ended;
};

static int faulty_open(struct transport_stream *base, const struct transport_call *c, int *ret_code, struct status *reterr) {
    struct faulty_stream *s = (struct faulty_stream *)base;
    s->fate = faults_fate(s->faults, "WATCH", c->target);
    if (fate_strikes(s->faults, &s->fate, s->faults->unread)) return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "not opened, by the test");
    return s->inner->open(s->inner, c, ret_code, reterr);
}

static void faulty_take_lines(struct faulty_stream *s) {
    char *end = memrchr(s->got.data, '\n', s->got.len);
    if (!end) return;
    size_t n = (size_t)(end - s->got.data) + 1;
    char *before = n > 1 ? memrchr(s->got.data, '\n', n - 1) : NULL, *last = before ? before + 1 : s->got.data;
    buf_append(&s->out, s->got.data, n);
    if (!str_has_prefix(last, "{\"type\":\"BOOKMARK\"") && fate_strikes(s->faults, &s->fate, s->faults->watch_twice)) buf_append(&s->out, last, (size_t)(end + 1 - last));
    buf_consume(&s->got, n);
    if (fate_strikes(s->faults, &s->fate, s->faults->watch_gone)) {
        buf_append_str(&s->out, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"gone, by the test\",\"reason\":\"Expired\",\"code\":410}}\n");
        s->ended = true;
    }
}

static ssize_t faulty_stream_read(struct transport_stream *base, void *to, size_t len, int timeout_ms, struct status *reterr) {
    struct faulty_stream *s = (struct faulty_stream *)base;
    while (!s->out.len) {
        char chunk[16384];
        if (s->ended) return 0;
        ssize_t n = s->inner->read(s->inner, chunk, sizeof(chunk), timeout_ms, reterr);
        if (n <= 0) return n;
        fate_delay(&s->fate, s->faults->watch_delay_ms);
        if (fate_strikes(s->faults, &s->fate, s->faults->watch_cut)) return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "cut by the test");
        buf_append(&s->got, chunk, (size_t)n);
        faulty_take_lines(s);
    }
    size_t n = MIN(len, s->out.len);
    memcpy(to, s->out.data, n);
    buf_consume(&s->out, n);
    return (ssize_t)n;
}

static void faulty_cancel(struct transport_stream *base) {
    struct faulty_stream *s = (struct faulty_stream *)base;
    s->inner->cancel(s->inner);
}

static void faulty_stream_free(struct transport_stream *base) {
    struct faulty_stream *s = (struct faulty_stream *)base;
    s->inner->free(s->inner);
    buf_release(&s->got);
    buf_release(&s->out);
    free(s);
}

/* ---- life ---- */

static struct transport_stream *faulty_stream_new(struct transport *base) {
    struct faulty_transport *t = (struct faulty_transport *)base;
    struct faulty_stream *s = calloc(1, sizeof(*s));
    CHECK(s);
    *s = (struct faulty_stream){.base = {faulty_open, faulty_stream_read, faulty_cancel, faulty_stream_free}, .inner = t->inner->stream_new(t->inner), .faults = t->faults, .got = BUF_INIT, .out = BUF_INIT};
    return &s->base;
}

static void faulty_free(struct transport *base) {
    transport_free(((struct faulty_transport *)base)->inner);
    free(base);
}

/* The transport, which it takes, behind the faults, which are the caller's. */
static struct transport *faulty_new(struct faults *f, struct transport *inner) {
    struct faulty_transport *t = calloc(1, sizeof(*t));
    CHECK(t);
    *t = (struct faulty_transport){{faulty_call, faulty_stream_new, faulty_free}, inner, f};
    return &t->base;
}
#endif
