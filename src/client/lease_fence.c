/* The fence around an elected component's writes: see lease_fence.h. */
#include "client/lease_fence.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/str.h"

enum { FENCE_TEXT_MAX = 1024 };

struct lease_fence {
    struct env *env;
    pthread_mutex_t mutex;
    char text[FENCE_TEXT_MAX]; /* the header; "": closed */
    int64_t until_ns;
};
struct fenced_transport {
    struct transport base; /* first */
    struct transport *inner;
    struct lease_fence *fence;
    bool owns;
};

struct lease_fence *lease_fence_new(struct env *env) {
    struct lease_fence *f = calloc(1, sizeof(*f));
    CHECK(f);
    f->env = env;
    pthread_mutex_init(&f->mutex, NULL);
    return f;
}

void lease_fence_free(struct lease_fence *f) {
    if (!f) return;
    pthread_mutex_destroy(&f->mutex);
    free(f);
}

void lease_fence_open(struct lease_fence *f, const char *ns, const char *name, const char *holder, int transitions, int64_t until_ns) {
    pthread_mutex_lock(&f->mutex);
    int n = snprintf(f->text, sizeof(f->text), "%s/%s %d %s", ns, name, transitions, holder);
    CHECK(n > 0 && n < FENCE_TEXT_MAX);
    f->until_ns = until_ns;
    pthread_mutex_unlock(&f->mutex);
}

void lease_fence_close(struct lease_fence *f) {
    pthread_mutex_lock(&f->mutex);
    f->text[0] = 0;
    pthread_mutex_unlock(&f->mutex);
}

static bool pass(struct lease_fence *f, char text[FENCE_TEXT_MAX]) {
    pthread_mutex_lock(&f->mutex);
    bool open = f->text[0] && env_mono_ns(f->env) < f->until_ns;
    if (open) snprintf(text, FENCE_TEXT_MAX, "%s", f->text);
    pthread_mutex_unlock(&f->mutex);
    return open;
}

static int fenced_call(struct transport *t, const struct transport_call *c, int *ret_code, struct buf *ret_body, struct status *reterr) {
    struct fenced_transport *ft = (struct fenced_transport *)t;
    char text[FENCE_TEXT_MAX];
    if (str_eq(c->method, "GET")) return ft->inner->call(ft->inner, c, ret_code, ret_body, reterr);
    if (!pass(ft->fence, text)) return status_set(reterr, 412, NULL, "the lease under which this component acts is not held any more");
    struct transport_call fenced = *c;
    fenced.fence = text;
    return ft->inner->call(ft->inner, &fenced, ret_code, ret_body, reterr);
}

static struct transport_stream *fenced_stream_new(struct transport *t) {
    struct fenced_transport *ft = (struct fenced_transport *)t;
    return ft->inner->stream_new(ft->inner);
}

static void fenced_free(struct transport *t) {
    struct fenced_transport *ft = (struct fenced_transport *)t;
    if (ft->owns) transport_free(ft->inner);
    free(t);
}

struct transport *lease_fence_transport(struct lease_fence *f, struct transport *inner) {
    struct transport *t = lease_fence_transport_over(f, inner);
    ((struct fenced_transport *)t)->owns = true;
    return t;
}

struct transport *lease_fence_transport_over(struct lease_fence *f, struct transport *inner) {
    struct fenced_transport *t = calloc(1, sizeof(*t));
    CHECK(t);
    *t = (struct fenced_transport){{fenced_call, fenced_stream_new, fenced_free}, inner, f, false};
    return &t->base;
}
