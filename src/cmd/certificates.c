/* Certificates of a data folder: see certificates.h. */
#include "cmd/certificates.h"
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "client/kubeconfig.h"
#include "cmd/pki.h"
#include "wire/x509.h"

enum { LOOK_S = 3600 };

const struct certificate certificates_all[] = {
    {"server-ca", NULL, "tls/server-ca.crt", "tls/server-ca.key", false},
    {"client-ca", NULL, "tls/client-ca.crt", "tls/client-ca.key", false},
    {"request-header-ca", NULL, "tls/request-header-ca.crt", "tls/request-header-ca.key", false},
    {"etcd-ca", NULL, "tls/etcd-ca.crt", "tls/etcd-ca.key", false},
    {"etcd-peer-ca", NULL, "tls/etcd-peer-ca.crt", "tls/etcd-peer-ca.key", false},
    {"kubelet-ca", NULL, "agent/kubelet-ca.crt", "agent/kubelet-ca.key", false},
    {"apiserver", "server-ca", "tls/apiserver.crt", "tls/apiserver.key", false},
    {"admin", "client-ca", "tls/admin.crt", "tls/admin.key", false},
    {"apiserver-kubelet-client", "client-ca", "tls/apiserver-kubelet-client.crt", "tls/apiserver-kubelet-client.key", false},
    {"front-proxy-client", "request-header-ca", "tls/front-proxy-client.crt", "tls/front-proxy-client.key", false},
    {"etcd-client", "etcd-ca", "tls/etcd-client.crt", "tls/etcd-client.key", false},
    {"etcd-server", "etcd-ca", "etcd/tls/server.crt", "etcd/tls/server.key", false},
    {"etcd-peer", "etcd-peer-ca", "etcd/tls/peer.crt", "etcd/tls/peer.key", false},
    {"kubelet-client", "client-ca", "agent/node-client.crt", "agent/node-client.key", false},
    {"kubelet", "client-ca", "agent/kubelet.crt", "agent/kubelet.key", false},
    {"kubelet-client-current", "client-ca", "agent/pki/kubelet-client-current.pem", "agent/pki/kubelet-client-current.pem", true},
    {"kubelet-server-current", "client-ca", "agent/pki/kubelet-server-current.pem", "agent/pki/kubelet-server-current.pem", true},
};
const size_t certificates_len = ARRAY_LEN(certificates_all);

static const char *at(struct arena *a, const char *dir, const char *file) { return arena_printf(a, "%s/%s", dir, file); }

const struct certificate *certificate_find(const char *name) {
    for (size_t i = 0; i < certificates_len; i++)
        if (str_eq(certificates_all[i].name, name)) return &certificates_all[i];
    return NULL;
}

bool certificate_exists(struct arena *a, const char *data_dir, const struct certificate *c) { return access(at(a, data_dir, c->file), F_OK) == 0; }

/* Where a node has no authority of the cluster its kubelet's certificate is by one of its own. */
static const struct certificate *authority_of(struct arena *a, const char *data_dir, const struct certificate *c) {
    const struct certificate *ca = certificate_find(c->authority), *own = certificate_find("kubelet-ca");
    return str_eq(c->name, "kubelet") && !certificate_exists(a, data_dir, ca) && certificate_exists(a, data_dir, own) ? own : ca;
}

/* ---- looking ---- */

static const char *key_problem(struct arena *a, const char *data_dir, const struct certificate *c) {
    struct stat st;
    const char *key = at(a, data_dir, c->key_file);
    if (stat(key, &st) != 0) return arena_printf(a, "its key %s is not there", key);
    if (st.st_mode & 077) return arena_printf(a, "its key %s can be read by others (mode %04o)", key, st.st_mode & 07777u);
    return x509_key_fits(at(a, data_dir, c->file), key) ? NULL : "its key is another certificate's";
}

const char *certificate_problem(struct arena *a, const char *data_dir, const struct certificate *c, int64_t now_s) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct x509_facts f;
    const char *file = at(a, data_dir, c->file), *problem;
    if (x509_facts_read(a, file, &f, &err) != 0) return arena_strdup(a, status_message(&err));
    if (f.not_after_s <= now_s) return "it has expired";
    if (f.not_before_s > now_s) return "it is not valid yet: is this machine's clock right?";
    if ((problem = key_problem(a, data_dir, c))) return problem;
    const struct certificate *ca = c->authority ? authority_of(a, data_dir, c) : NULL;
    if (ca && certificate_exists(a, data_dir, ca) && !x509_issued_by(file, at(a, data_dir, ca->file))) return arena_printf(a, "%s has not signed it", ca->name);
    return x509_renewal_s(f.not_before_s, f.not_after_s) <= now_s ? "it expires soon and has not been renewed" : NULL;
}

/* ---- rotating ---- */

/* Held by whoever replaces certificates. -1: there is no such folder. */
static int lock_folder(struct arena *a, const char *data_dir) {
    int fd = open(at(a, data_dir, "tls"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) fd = open(at(a, data_dir, "agent"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) flock(fd, LOCK_EX);
    return fd;
}

static int rewrite_kubeconfig(struct arena *a, const char *data_dir, struct status *reterr) {
    struct kubeconfig k;
    const char *path = at(a, data_dir, "admin.kubeconfig");
    if (access(path, F_OK) != 0) return 0; /* the server writes it when it starts */
    return kubeconfig_read(a, path, &k, reterr) == 0 ? pki_write_admin_kubeconfig(data_dir, path, k.http.host, k.http.port, reterr) : -1;
}

static int rotate(struct arena *a, const char *data_dir, const struct certificate *c, struct status *reterr) {
    const struct certificate *ca = authority_of(a, data_dir, c);
    if (access(at(a, data_dir, ca->key_file), R_OK) != 0)
        return status_bad_request(reterr, "%s: the key of %s, which signs it, is not in %s", c->name, ca->name, data_dir);
    if (x509_renew_leaf(at(a, data_dir, c->file), at(a, data_dir, c->key_file), at(a, data_dir, ca->file), at(a, data_dir, ca->key_file), reterr) != 0) return -1;
    return str_eq(c->name, "admin") ? rewrite_kubeconfig(a, data_dir, reterr) : 0;
}

int certificate_rotate(const char *data_dir, const struct certificate *c, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    if (!c->authority)
        return status_bad_request(reterr, "%s is an authority: nodes, kubeconfigs and other servers know it by its certificate, so that a new one in its place would lock them all out; authorities are not rotated", c->name);
    if (c->by_request) return status_bad_request(reterr, "%s comes by CertificateSigningRequest: the kubelet rotates it by itself", c->name);
    if (!certificate_exists(a, data_dir, c)) return status_bad_request(reterr, "%s: there is none in %s", c->name, data_dir);
    int fd = lock_folder(a, data_dir), rc = rotate(a, data_dir, c, reterr);
    if (fd >= 0) close(fd);
    return rc;
}

/* ---- renewing ---- */

/* In how many seconds it is due; 0: now. What this process cannot renew is never due. */
static int64_t due_in(struct arena *a, const char *data_dir, const struct certificate *c, int64_t now_s) {
    struct x509_facts f;
    if (!c->authority || c->by_request || !certificate_exists(a, data_dir, c) || x509_facts_read(a, at(a, data_dir, c->file), &f, NULL) != 0) return LOOK_S;
    if (access(at(a, data_dir, authority_of(a, data_dir, c)->key_file), R_OK) != 0) return LOOK_S;
    return MAX(x509_renewal_s(f.not_before_s, f.not_after_s) - now_s, (int64_t)0);
}

static void renew_one(struct arena *a, const char *data_dir, const struct certificate *c) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (rotate(a, data_dir, c, &err) == 0) log_info("the certificate %s was about to expire and has been renewed", c->name);
    else log_error("the certificate %s is about to expire and cannot be renewed: %s", c->name, status_message(&err));
}

int64_t certificates_renew(const char *data_dir, int64_t now_s) {
    _cleanup_arena_ struct arena *a = arena_new();
    int64_t next = LOOK_S;
    int fd = lock_folder(a, data_dir);
    for (size_t i = 0; i < certificates_len && fd >= 0; i++) {
        const struct certificate *c = &certificates_all[i];
        if (due_in(a, data_dir, c, now_s) == 0) renew_one(a, data_dir, c);
        int64_t in = due_in(a, data_dir, c, now_s);
        next = MIN(next, in ? in : (int64_t)LOOK_S); /* what could not be renewed is tried again in an hour */
    }
    if (fd >= 0) close(fd);
    return next;
}

struct certificates_renewer {
    struct env *env;
    char *data_dir;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping; /* under the mutex */
};

static void *run(void *arg) {
    struct certificates_renewer *r = arg;
    pthread_mutex_lock(&r->mutex);
    while (!r->stopping) {
        pthread_mutex_unlock(&r->mutex);
        int64_t until_ns = env_mono_ns(r->env) + MAX(certificates_renew(r->data_dir, env_now_s(r->env)), (int64_t)1) * 1000000000;
        pthread_mutex_lock(&r->mutex);
        while (!r->stopping && env_cond_wait(r->env, &r->cond, &r->mutex, until_ns)) {}
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

struct certificates_renewer *certificates_renewer_start(const char *data_dir, struct env *env) {
    struct certificates_renewer *r = calloc(1, sizeof(*r));
    CHECK(r && (r->data_dir = strdup(data_dir)));
    r->env = env;
    pthread_mutex_init(&r->mutex, NULL);
    env_cond_init(&r->cond);
    CHECK(pthread_create(&r->thread, NULL, run, r) == 0);
    return r;
}

void certificates_renewer_stop(struct certificates_renewer *r) {
    if (!r) return;
    pthread_mutex_lock(&r->mutex);
    r->stopping = true;
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_unlock(&r->mutex);
    pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->mutex);
    free(r->data_dir);
    free(r);
}
