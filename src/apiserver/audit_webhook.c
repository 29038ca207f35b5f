/* Events posted to a server of the administrator's, as EventLists. Upstream: plugin/pkg/audit/webhook. */
#include <pthread.h>
#include <string.h>
#include "apiserver/audit_backend.h"
#include "apiserver/webhook_client.h"
#include "base/env.h"
#include "base/fiber.h"
#include "base/loop.h"

enum { TIMEOUT_MS = 30000, LAST_WAIT_MS = 3000, BATCHES_ON_WAY_MAX = 256, NS_PER_MS = 1000000 };
#define PREFIX "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"," /* items of a list do not have it */

struct audit_webhook {
    struct webhook_client *client;
    int backoff_ms, blocking_ms_max;
    struct loop *loop;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t on_way;                     /* batches; under it */
    atomic_bool stop;
};

struct batch { struct audit_webhook *w; size_t n; struct audit_record *records[]; };

static int millis(int64_t ns) { return (int)MIN(ns / NS_PER_MS, (int64_t)INT32_MAX); }

struct audit_webhook *audit_webhook_new(const struct audit_webhook_options *o, struct status *reterr) {
    struct webhook_client *client = webhook_client_new(o->config_file, TIMEOUT_MS, reterr);
    if (!client) {
        status_wrap(reterr, "initializing audit webhook");
        return NULL;
    }
    struct audit_webhook *w = calloc(1, sizeof(*w));
    CHECK(w);
    w->client = client;
    w->backoff_ms = millis(o->initial_backoff_ns);
    w->blocking_ms_max = millis(o->blocking_ns_max);
    pthread_mutex_init(&w->mutex, NULL);
    env_cond_init(&w->changed);
    w->loop = loop_new();
    loop_start(w->loop);
    return w;
}

/* ---- one post ---- */

static bool post(struct audit_webhook *w, struct audit_record *const *records, size_t n, int deadline_ms) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf body = BUF_INIT, answer = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    const struct webhook_retry retry = {.backoff_ms = w->backoff_ms, .any_failure = true, .deadline_ms = deadline_ms, .stop = &w->stop};
    buf_append_str(&body, "{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":[");
    for (size_t i = 0; i < n; i++) {
        buf_append_str(&body, i ? ",{" : "{");
        buf_append(&body, records[i]->json.data + sizeof(PREFIX) - 1, records[i]->json.len - (sizeof(PREFIX) - 1));
    }
    buf_append_str(&body, "]}");
    if (webhook_client_post_retrying(w->client, a, &body, &answer, &retry, &err) == 0) return true;
    audit_count_error("webhook", n, status_message(&err));
    return false;
}

bool audit_webhook_send_wait(struct audit_webhook *w, struct audit_record *r) { return post(w, &r, 1, w->blocking_ms_max); }

/* ---- in the background ---- */

static void landed(struct audit_webhook *w) {
    pthread_mutex_lock(&w->mutex);
    w->on_way--;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static void run_batch(void *arg) {
    struct batch *b = arg;
    struct audit_webhook *w = b->w;
    post(w, b->records, b->n, 0);
    for (size_t i = 0; i < b->n; i++) audit_record_unref(b->records[i]);
    free(b);
    landed(w);
}

static void begin_batch(void *arg) { fiber_spawn(run_batch, arg); }

void audit_webhook_send(struct audit_webhook *w, struct audit_record *const *records, size_t n) {
    pthread_mutex_lock(&w->mutex);
    bool full = w->on_way >= BATCHES_ON_WAY_MAX;
    w->on_way += !full;
    pthread_mutex_unlock(&w->mutex);
    if (full) {
        audit_count_error("webhook", n, "too many batches are on their way");
        return;
    }
    struct batch *b = malloc(sizeof(*b) + n * sizeof(struct audit_record *));
    CHECK(b);
    *b = (struct batch){.w = w, .n = n};
    for (size_t i = 0; i < n; i++) b->records[i] = audit_record_ref(records[i]);
    loop_post(w->loop, begin_batch, b);
}

static void wait_landed(struct audit_webhook *w, int64_t deadline_ns) {
    while (w->on_way && env_cond_wait(env_real(), &w->changed, &w->mutex, deadline_ns)) {}
}

/* What is on its way has some seconds; then it is tried no more, and what is being tried comes to its end. */
void audit_webhook_free(struct audit_webhook *w) {
    pthread_mutex_lock(&w->mutex);
    wait_landed(w, env_mono_ns(env_real()) + (int64_t)LAST_WAIT_MS * NS_PER_MS);
    atomic_store(&w->stop, true);
    wait_landed(w, -1);
    pthread_mutex_unlock(&w->mutex);
    loop_stop(w->loop);
    loop_free(w->loop);
    webhook_client_free(w->client);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->changed);
    free(w);
}
