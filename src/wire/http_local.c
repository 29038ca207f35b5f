/* Requests from within the process: see http_local.h.
 *
 * Two owners share a struct http_local, each with a reference: the caller's thread, and the request on its loop until that is over. What passes between
 * them (code, body, flags) is under the mutex; `request` is touched on the loop alone. */
#include "wire/http_local.h"
#include <string.h>
#include "base/env.h"
#include "base/fiber.h"
#include "wire/http_conn.h"

struct http_local {
    atomic_int refs;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct buf body;             /* written and not yet read */
    int code;                    /* 0: no head yet */
    bool ended, cut, cancelled;  /* ended: the answer is complete; cut: it never will be */
    bool drain_wanted;           /* the request waits for the reader */
    struct loop *loop;           /* NULL before the start */
    struct request_ext *request; /* NULL when over */
};

struct http_local *http_local_new(void) {
    struct http_local *l = calloc(1, sizeof(*l));
    CHECK(l);
    atomic_init(&l->refs, 1);
    pthread_mutex_init(&l->mutex, NULL);
    env_cond_init(&l->cond);
    return l;
}

static void local_unref(struct http_local *l) {
    if (atomic_fetch_sub(&l->refs, 1) > 1) return;
    buf_release(&l->body);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

/* ---- on the loop ---- */

void local_answer(struct request_ext *r, int code, const struct http_slice *body, size_t body_len, bool stream) {
    struct http_local *l = r->local;
    pthread_mutex_lock(&l->mutex);
    l->code = code;
    for (size_t i = 0; i < body_len; i++) {
        const struct http_slice *s = &body[i];
        if (s->shared && !s->data) buf_append(&l->body, shared_data(s->shared), shared_len(s->shared));
        else buf_append(&l->body, s->data, s->len);
    }
    l->ended = !stream;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->mutex);
    if (!stream) request_finished(r);
}

void local_write(struct request_ext *r, const void *data, size_t len) {
    struct http_local *l = r->local;
    pthread_mutex_lock(&l->mutex);
    buf_append(&l->body, data, len);
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->mutex);
}

size_t local_backlog_bytes(struct request_ext *r) {
    struct http_local *l = r->local;
    pthread_mutex_lock(&l->mutex);
    size_t bytes = l->body.len;
    l->drain_wanted = bytes > 0;
    pthread_mutex_unlock(&l->mutex);
    return bytes;
}

void local_end(struct request_ext *r) {
    struct http_local *l = r->local;
    pthread_mutex_lock(&l->mutex);
    l->ended = true;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->mutex);
    request_finished(r);
}

void local_gone(struct request_ext *r) {
    struct http_local *l = r->local;
    if (r->next_local) r->next_local->at_local = r->at_local;
    *r->at_local = r->next_local;
    l->request = NULL;
    pthread_mutex_lock(&l->mutex);
    l->cut = !l->ended;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->mutex);
    local_unref(l);
}

static void dispatch(void *arg) {
    struct request_ext *r = arg;
    struct http_loop *hl = r->local_loop;
    r->next_local = hl->locals;
    if (hl->locals) hl->locals->at_local = &r->next_local;
    r->at_local = &hl->locals;
    hl->locals = r;
    if (hl->stopping) request_finished(r); /* the server is on its way out */
    else request_dispatch(r);
}

static void finish_on_loop(void *arg) {
    struct http_local *l = arg;
    if (l->request) request_finished(l->request);
    local_unref(l);
}

static void drained_on_loop(void *arg) {
    struct http_local *l = arg;
    if (l->request) request_drained(l->request);
    local_unref(l);
}

void local_close_all(struct http_loop *hl) {
    while (hl->locals) request_finished(hl->locals);
}

/* ---- on the caller's thread ---- */

void http_local_start(struct http_local *l, struct http_server *s, const struct http_local_options *o) {
    static atomic_uint turn;
    struct http_loop *hl = &s->loops[atomic_fetch_add(&turn, 1) % s->loops_len];
    struct arena *a = arena_new();
    struct request_ext *r = ARENA_NEW(a, struct request_ext);
    CHECK(!l->loop && !loop_current());
    r->refs = 1;
    r->local = l;
    r->local_loop = hl;
    r->pub = (struct http_request){.method = arena_strdup(a, o->method), .path = arena_strdup(a, o->target), .query = "", .body = "", .http_major = 1, .arena = a, .loop = hl->loop, .local_identity = o->identity};
    for (size_t i = 0; i < o->headers_len; i++) request_add_header(r, o->headers[i].name, strlen(o->headers[i].name), o->headers[i].value, strlen(o->headers[i].value));
    if (o->body_len) buf_append(&r->body, o->body, o->body_len);
    size_t max = s->options.body_bytes_max;
    if (max && o->body_len > max) {
        r->pub.body_too_large = true;
        buf_release(&r->body);
    }
    l->request = r;
    atomic_fetch_add(&l->refs, 1); /* the request's */
    pthread_mutex_lock(&l->mutex);
    l->loop = hl->loop;
    pthread_mutex_unlock(&l->mutex);
    loop_post(hl->loop, dispatch, r);
}

/* With the mutex: what was there has been taken. */
static void tell_drained(struct http_local *l) {
    if (!l->drain_wanted) return;
    l->drain_wanted = false;
    atomic_fetch_add(&l->refs, 1);
    loop_post(l->loop, drained_on_loop, l);
}

/* With the mutex: waits until something can be said. */
static int wait_for(struct http_local *l, bool head_only, int timeout_ms, struct status *reterr) {
    int64_t deadline = timeout_ms > 0 ? env_mono_ns(env_real()) + (int64_t)timeout_ms * 1000000 : -1;
    for (;;) {
        if (l->cancelled) return status_set(reterr, 499, REASON_TIMEOUT, "context canceled");
        if (head_only ? l->code != 0 : l->body.len > 0 || l->ended) return 0;
        if (l->cut) return status_set(reterr, 502, REASON_INTERNAL_ERROR, "unexpected EOF");
        if (!env_cond_wait(env_real(), &l->cond, &l->mutex, deadline)) return status_set(reterr, 504, REASON_TIMEOUT, "context deadline exceeded");
    }
}

int http_local_head(struct http_local *l, int timeout_ms, struct status *reterr) {
    pthread_mutex_lock(&l->mutex);
    int code = wait_for(l, true, timeout_ms, reterr) == 0 ? l->code : -1;
    pthread_mutex_unlock(&l->mutex);
    return code;
}

ssize_t http_local_read(struct http_local *l, void *to, size_t len, int timeout_ms, struct status *reterr) {
    pthread_mutex_lock(&l->mutex);
    ssize_t n = -1;
    if (wait_for(l, false, timeout_ms, reterr) == 0) {
        n = (ssize_t)MIN(len, l->body.len);
        memcpy(to, buf_cstr(&l->body), (size_t)n);
        buf_consume(&l->body, (size_t)n);
        if (!l->body.len) {
            buf_release(&l->body); /* an idle watch holds no memory */
            tell_drained(l);
        }
    }
    pthread_mutex_unlock(&l->mutex);
    return n;
}

int http_local_read_all(struct http_local *l, struct buf *ret, int timeout_ms, struct status *reterr) {
    pthread_mutex_lock(&l->mutex);
    int rc = 0;
    while (!l->ended && rc == 0) {
        if (l->body.len && !l->cut && !l->cancelled) { /* a stream: take what is there, so that it is not cut for its backlog */
            buf_append(ret, l->body.data, l->body.len);
            buf_clear(&l->body);
            tell_drained(l);
        }
        rc = wait_for(l, false, timeout_ms, reterr);
    }
    if (rc == 0) {
        if (!ret->len) {
            buf_release(ret);
            *ret = l->body;
            l->body = (struct buf)BUF_INIT;
        } else buf_append(ret, buf_cstr(&l->body), l->body.len);
    }
    pthread_mutex_unlock(&l->mutex);
    return rc;
}

void http_local_cancel(struct http_local *l) {
    pthread_mutex_lock(&l->mutex);
    l->cancelled = true;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->mutex);
}

void http_local_free(struct http_local *l) {
    if (!l) return;
    pthread_mutex_lock(&l->mutex);
    bool over = !l->loop || l->ended || l->cut;
    l->cancelled = true;
    pthread_mutex_unlock(&l->mutex);
    if (over) local_unref(l);
    else loop_post(l->loop, finish_on_loop, l); /* with our reference */
}
