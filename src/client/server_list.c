/* The apiservers of the cluster: see server_list.h. */
#include "client/server_list.h"
#include <stdio.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "client/reflector.h"

enum { FILE_BYTES_MAX = 1 << 16, PROBE_MS = 10000, PROBE_TIMEOUT_MS = 5000 };

struct server_list {
    struct reflector *watch;
    struct transport *transport;
    struct env *env;
    char *file;
    struct buf known; /* the watch's: what the transport knows of it */
    pthread_t prober;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping;    /* under the mutex */
};

/* ---- learning ---- */

/* Whole or not at all; a file that cannot be written is no more than a start that knows less. */
static void keep(struct server_list *l) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *temporary = arena_printf(a, "%s.new", l->file);
    FILE *f = fopen(temporary, "we");
    bool ok = f && fwrite(l->known.data, 1, l->known.len, f) == l->known.len;
    if (f) ok = fclose(f) == 0 && ok;
    if (!ok || rename(temporary, l->file) != 0) log_debug("%s: cannot be written", l->file);
}

static void take(void *data, const void *obj) {
    struct server_list *l = data;
    const struct discoveryv1_EndpointSlice *s = obj;
    if (!str_eq(s->metadata.name, "kubernetes")) return;
    int port = 443;
    _cleanup_buf_ struct buf urls = BUF_INIT;
    LIST_FOREACH(p, &s->ports) if (str_eq(p->name, "https") && p->port.has) port = p->port.value;
    LIST_FOREACH(e, &s->endpoints)
        LIST_FOREACH(address, &e->addresses) {
            bool v6 = strchr(*address, ':') != NULL;
            buf_printf(&urls, "https://%s%s%s:%d\n", v6 ? "[" : "", *address, v6 ? "]" : "", port);
        }
    if (!urls.len || str_eq(buf_cstr(&urls), buf_cstr(&l->known))) return;
    buf_clear(&l->known);
    buf_append(&l->known, urls.data, urls.len);
    transport_https_learn(l->transport, buf_cstr(&l->known));
    keep(l);
}

static void nothing(void *data UNUSED) {}
static void gone(void *data UNUSED, const void *obj UNUSED) {} /* the last server's slice: nobody would answer anyway */

/* ---- probing ---- */

/* What comes of it is the transport's to know. */
static void probe(struct server_list *l) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    struct transport_call call = {.method = "GET", .target = "/livez", .accept = "*/*", .timeout_ms = PROBE_TIMEOUT_MS};
    int code;
    l->transport->call(l->transport, &call, &code, &answer, NULL);
}

static void *probe_on(void *arg) {
    struct server_list *l = arg;
    pthread_mutex_lock(&l->mutex);
    while (!l->stopping) {
        int64_t until = env_mono_ns(l->env) + (int64_t)PROBE_MS * 1000000;
        while (!l->stopping && env_cond_wait(l->env, &l->cond, &l->mutex, until)) {}
        pthread_mutex_unlock(&l->mutex);
        if (transport_https_has_choice(l->transport)) probe(l);
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* ---- life ---- */

struct server_list *server_list_start(struct client *c, struct env *env, const char *kubeconfig, const char *more, struct transport *t, struct status *reterr) {
    _cleanup_buf_ struct buf kept = BUF_INIT;
    if (transport_https_servers(t, more, reterr) != 0) return NULL;
    struct server_list *l = calloc(1, sizeof(*l));
    CHECK(l && asprintf(&l->file, "%s.servers", kubeconfig) > 0);
    l->env = env;
    l->transport = t;
    if (access(l->file, R_OK) == 0 && file_read(l->file, FILE_BYTES_MAX, &kept, NULL) == 0) transport_https_learn(t, buf_cstr(&kept));
    struct reflector_source source = {.type = &discoveryv1_EndpointSlice_desc, .ns = "default", .query = "fieldSelector=metadata.name%3Dkubernetes"};
    struct reflector_sink sink = {.data = l, .replace_begin = nothing, .replace_object = take, .replace_end = nothing, .set = take, .delete = gone};
    l->watch = reflector_start(c, env, &source, &sink);
    pthread_mutex_init(&l->mutex, NULL);
    env_cond_init(&l->cond);
    CHECK(pthread_create(&l->prober, NULL, probe_on, l) == 0);
    return l;
}

void server_list_stop(struct server_list *l) {
    if (!l) return;
    pthread_mutex_lock(&l->mutex);
    l->stopping = true;
    pthread_cond_broadcast(&l->cond);
    pthread_mutex_unlock(&l->mutex);
    pthread_join(l->prober, NULL);
    reflector_stop(l->watch);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->mutex);
    buf_release(&l->known);
    free(l->file);
    free(l);
}
