#include "apiserver/config_watch.h"
#include <pthread.h>
#include <string.h>
#include "base/buf.h"
#include "base/env.h"
#include "base/file.h"
#include "base/log.h"

enum { LOOK_MS = 1000, AGAIN_MS = 60000, NS_PER_MS = 1000000 };

struct config_watch {
    char *path;
    struct buf settled;       /* of the thread alone */
    config_changed_fn *changed;
    void *arg;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stop;                /* under it */
};

bool config_watch_pause(struct config_watch *w, int ms) {
    int64_t until_ns = env_mono_ns(env_real()) + (int64_t)ms * NS_PER_MS;
    pthread_mutex_lock(&w->mutex);
    while (!w->stop && env_cond_wait(env_real(), &w->cond, &w->mutex, until_ns)) {}
    bool goes_on = !w->stop;
    pthread_mutex_unlock(&w->mutex);
    return goes_on;
}

static void look(struct config_watch *w, int64_t *again_ns, bool *unreadable) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    int64_t now_ns = env_mono_ns(env_real());
    if (file_read(w->path, FILE_OPTION_MAX, &text, &err) != 0) {
        if (!*unreadable) log_error("%s cannot be read again: %s", w->path, status_message(&err));
        *unreadable = true;
        return;
    }
    *unreadable = false;
    if ((text.len == w->settled.len && memcmp(buf_cstr(&text), buf_cstr(&w->settled), text.len) == 0) || now_ns < *again_ns) return;
    *again_ns = 0;
    if (w->changed(w->arg, w, buf_cstr(&text), text.len)) {
        buf_clear(&w->settled);
        buf_append(&w->settled, text.data, text.len);
    } else *again_ns = env_mono_ns(env_real()) + (int64_t)AGAIN_MS * NS_PER_MS;
}

static void *run(void *arg) {
    struct config_watch *w = arg;
    int64_t again_ns = 0;
    bool unreadable = false;
    while (config_watch_pause(w, LOOK_MS)) look(w, &again_ns, &unreadable);
    return NULL;
}

struct config_watch *config_watch_new(const char *path, const char *text, size_t len, config_changed_fn *changed, void *arg) {
    struct config_watch *w = calloc(1, sizeof(*w));
    CHECK(w && (w->path = strdup(path)));
    buf_append(&w->settled, text, len);
    w->changed = changed;
    w->arg = arg;
    pthread_mutex_init(&w->mutex, NULL);
    env_cond_init(&w->cond);
    CHECK(pthread_create(&w->thread, NULL, run, w) == 0);
    return w;
}

void config_watch_free(struct config_watch *w) {
    if (!w) return;
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->cond);
    buf_release(&w->settled);
    free(w->path);
    free(w);
}
