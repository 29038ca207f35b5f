/* Certificates by CertificateSigningRequest: see certificate_manager.h. */
#include "client/certificate_manager.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "wire/x509.h"
#include "wire/x509_csr.h"
#include "wire/x509_facts.h"

enum { WAIT_MS = 15 * 60 * 1000, POLL_MS_MIN = 100, POLL_MS_MAX = 2000, RETRY_MS_MIN = 1000, RETRY_MS_MAX = 60000, LOOK_MS = 60000 };
#define NS_PER_MS INT64_C(1000000)

struct certificate_manager {
    struct arena *arena;
    struct certificate_manager_options o;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping;       /* under the mutex */
    char fingerprint[X509_FINGERPRINT_LEN + 1]; /* of the certificate that rotate_at_s is for; the thread's own */
    int64_t rotate_at_s;
};

char *certificate_current_path(struct arena *a, const char *dir, const char *pair) { return arena_printf(a, "%s/%s-current.pem", dir, pair); }

int64_t certificate_rotation_s(struct env *env, int64_t not_before_s, int64_t not_after_s) {
    int64_t life = not_after_s - not_before_s;
    return not_before_s + life * 7 / 10 + (life >= 5 ? (int64_t)env_random_below(env, (uint64_t)(life / 5)) : 0);
}

bool certificate_usable(const char *path, const char *node_name, int64_t now_s) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct x509_facts f;
    if (x509_facts_read(a, path, &f, NULL) != 0 || f.not_after_s <= now_s || !x509_key_fits(path, path)) return false;
    return str_eq(f.common_name, arena_printf(a, "system:node:%s", node_name));
}

/* ---- files ---- */

static int write_pair(const char *path, const struct buf *cert, const struct buf *key, struct status *reterr) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return status_errno(reterr, path);
    bool ok = write(fd, cert->data, cert->len) == (ssize_t)cert->len && write(fd, key->data, key->len) == (ssize_t)key->len && fsync(fd) == 0;
    return close(fd) == 0 && ok ? 0 : status_errno(reterr, path);
}

/* The link changes at once from the old pair to the new one; the old file stays, as upstream leaves it, until it is the one before the last. */
static int store(const struct certificate_manager_options *o, struct arena *a, const struct buf *cert, const struct buf *key, struct status *reterr) {
    char stamp[32], old[4096];
    time_t now = (time_t)env_now_s(o->env);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d-%H-%M-%S", &tm);
    if (mkdir(o->dir, 0700) != 0 && errno != EEXIST) return status_errno(reterr, o->dir);
    const char *link = certificate_current_path(a, o->dir, o->pair), *next = arena_printf(a, "%s.next", link);
    const char *name = arena_printf(a, "%s-%s-%08x.pem", o->pair, stamp, (unsigned)env_random_u64(o->env));
    if (write_pair(arena_printf(a, "%s/%s", o->dir, name), cert, key, reterr) != 0) return -1;
    ssize_t n = readlink(link, old, sizeof(old) - 1);
    unlink(next);
    if (symlink(name, next) != 0 || rename(next, link) != 0) return status_errno(reterr, link);
    if (n > 0) {
        old[n] = 0;
        unlink(arena_printf(a, "%s/%s", o->dir, old));
    }
    return 0;
}

/* ---- asking ---- */

typedef struct certificatesv1_CertificateSigningRequest request;

static int ask(const struct certificate_manager_options *o, struct arena *a, const struct buf *csr, request *ret, struct status *reterr) {
    request *r = object_new(a, &certificatesv1_CertificateSigningRequest_desc);
    r->metadata.generateName = "csr-";
    r->spec.request = (struct bytes){arena_memdup(a, csr->data, csr->len), csr->len};
    r->spec.signerName = o->serving ? SIGNER_KUBELET_SERVING : SIGNER_KUBELET_CLIENT;
    string_list_push(a, &r->spec.usages, "digital signature");
    string_list_push(a, &r->spec.usages, o->serving ? "server auth" : "client auth");
    return client_create(o->client, a, &certificatesv1_CertificateSigningRequest_desc, r, ret, reterr);
}

/* 1: *ret_cert is there; 0: not yet; -1: there will be none. */
static int look(const struct certificate_manager_options *o, const char *name, struct buf *ret_cert, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    request r = {0};
    if (client_get(o->client, a, &certificatesv1_CertificateSigningRequest_desc, NULL, name, &r, &err) != 0) {
        if (err.code >= 500 || err.code == 429) return 0; /* the server is away for the moment */
        status_copy(reterr, &err);
        return -1;
    }
    LIST_FOREACH(c, &r.status.conditions)
        if (str_eq(c->type, "Denied") || str_eq(c->type, "Failed"))
            return status_set(reterr, 403, REASON_FORBIDDEN, "certificate signing request %s is %s, reason: %s, message: %s", name, str_eq(c->type, "Denied") ? "denied" : "failed", str_or(c->reason, ""), str_or(c->message, ""));
    if (!r.status.certificate.len) return 0;
    buf_append(ret_cert, r.status.certificate.data, r.status.certificate.len);
    return 1;
}

static int wait_for(const struct certificate_manager_options *o, const char *name, int64_t timeout_ms, bool (*stop)(void *ctx), void *stop_ctx, struct buf *ret_cert, struct status *reterr) {
    int64_t until = env_mono_ns(o->env) + timeout_ms * NS_PER_MS;
    for (int64_t pause = POLL_MS_MIN;; pause = MIN(pause * 2, (int64_t)POLL_MS_MAX)) {
        int rc = look(o, name, ret_cert, reterr);
        if (rc != 0) return rc > 0 ? 0 : -1;
        if (env_mono_ns(o->env) >= until) return status_set(reterr, 504, REASON_TIMEOUT, "certificate signing request %s has not been approved and signed in time", name);
        for (int64_t slept = 0; slept < pause; slept += POLL_MS_MIN) {
            if (stop && stop(stop_ctx)) return status_set(reterr, 499, NULL, "stopped while waiting for a certificate");
            env_sleep_ms(o->env, POLL_MS_MIN);
        }
    }
}

int certificate_request(const struct certificate_manager_options *o, int64_t timeout_ms, bool (*stop)(void *ctx), void *stop_ctx, struct status *reterr) {
    static const char *const organizations[] = {"system:nodes", NULL};
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf csr = BUF_INIT, key = BUF_INIT, cert = BUF_INIT;
    struct certificate_names names = {0};
    request made = {0};
    if (o->names && o->names(o->ctx, a, &names, reterr) != 0) return -1;
    if (x509_csr_make(arena_printf(a, "system:node:%s", o->node_name), organizations, names.dns_names, names.ips, &csr, &key, reterr) != 0 || ask(o, a, &csr, &made, reterr) != 0) return -1;
    log_info("asked for a %s certificate by CertificateSigningRequest %s", o->serving ? "serving" : "client", made.metadata.name);
    if (wait_for(o, made.metadata.name, timeout_ms, stop, stop_ctx, &cert, reterr) != 0) return -1;
    int rc = store(o, a, &cert, &key, reterr);
    explicit_bzero(key.data, key.len);
    return rc;
}

/* ---- the thread ---- */

static bool stopping(void *arg) {
    struct certificate_manager *m = arg;
    pthread_mutex_lock(&m->mutex);
    bool yes = m->stopping;
    pthread_mutex_unlock(&m->mutex);
    return yes;
}

static bool covers(const char **have, const char *const *want) {
    for (; want && *want; want++) {
        bool found = false;
        for (size_t i = 0; have[i]; i++) found |= str_eq(have[i], *want);
        if (!found) return false;
    }
    return true;
}

/* Whether a new certificate is wanted now; otherwise *ret_ms is when to look again. */
static bool due(struct certificate_manager *m, int64_t *ret_ms) {
    const struct certificate_manager_options *o = &m->o;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *path = certificate_current_path(a, o->dir, o->pair);
    int64_t now = env_now_s(o->env);
    struct x509_facts f;
    struct certificate_names names = {0};
    if (!certificate_usable(path, o->node_name, now) || x509_facts_read(a, path, &f, NULL) != 0) return true;
    if (!str_eq(m->fingerprint, f.fingerprint)) { /* the date is drawn once for each */
        snprintf(m->fingerprint, sizeof(m->fingerprint), "%s", f.fingerprint);
        m->rotate_at_s = certificate_rotation_s(o->env, f.not_before_s, f.not_after_s);
    }
    if (now >= m->rotate_at_s) return true;
    if (o->names && o->names(o->ctx, a, &names, NULL) == 0 && (!covers(f.dns_names, names.dns_names) || !covers(f.ips, names.ips))) return true;
    *ret_ms = MIN((m->rotate_at_s - now) * 1000, (int64_t)LOOK_MS);
    return false;
}

static void *run(void *arg) {
    struct certificate_manager *m = arg;
    int64_t wait = 0, retry = RETRY_MS_MIN;
    while (!stopping(m)) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (due(m, &wait)) {
            wait = 0;
            if (certificate_request(&m->o, WAIT_MS, stopping, m, &err) == 0) {
                retry = RETRY_MS_MIN;
                log_info("%s: a new certificate of this node", m->o.pair);
                if (m->o.changed) m->o.changed(m->o.ctx);
            } else {
                if (err.code != 499) log_warning("%s: no new certificate: %s; tried again in %lld s", m->o.pair, status_message(&err), (long long)retry / 1000);
                wait = retry;
                retry = MIN(retry * 2, (int64_t)RETRY_MS_MAX);
            }
        }
        int64_t until_ns = env_mono_ns(m->o.env) + wait * NS_PER_MS;
        pthread_mutex_lock(&m->mutex);
        while (!m->stopping && env_mono_ns(m->o.env) < until_ns) env_cond_wait(m->o.env, &m->cond, &m->mutex, until_ns);
        pthread_mutex_unlock(&m->mutex);
    }
    return NULL;
}

struct certificate_manager *certificate_manager_start(const struct certificate_manager_options *options) {
    struct certificate_manager *m = calloc(1, sizeof(*m));
    CHECK(m);
    m->arena = arena_new();
    m->o = *options;
    const char **strings[] = {&m->o.dir, &m->o.pair, &m->o.node_name};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) *strings[i] = arena_strdup(m->arena, *strings[i]);
    pthread_mutex_init(&m->mutex, NULL);
    env_cond_init(&m->cond);
    CHECK(pthread_create(&m->thread, NULL, run, m) == 0);
    return m;
}

void certificate_manager_stop(struct certificate_manager *m) {
    if (!m) return;
    pthread_mutex_lock(&m->mutex);
    m->stopping = true;
    pthread_cond_broadcast(&m->cond);
    pthread_mutex_unlock(&m->mutex);
    pthread_join(m->thread, NULL);
    pthread_cond_destroy(&m->cond);
    pthread_mutex_destroy(&m->mutex);
    arena_free(m->arena);
    free(m);
}
