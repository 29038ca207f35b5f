/* The certificates of a data folder: which there are, whether they are well, and new ones in their place: `ckube certificate`, and the thread that renews leaves before they end.
 *
 * Authorities live ten years, leaves one. Leaves are renewed when 30 days (or a third of a shorter life) are left: at the start, and while ckube runs by a thread that looks when the
 * next one is due, each hour at least. Whoever uses a leaf reads its files again within a second or two: the apiserver and the kubelet for new connections, clients of kubelets, etcd and
 * aggregated servers likewise, etcd at each handshake. Two processes on one folder do not get into each other's way: a lock on DATA_DIR/tls. What a node gets by
 * CertificateSigningRequest is not renewed here but by client/certificate_manager.h. Tests: tests/unit/test_certificates.c, tests/integration/test_certificates.py. */
#ifndef CKUBE_CMD_CERTIFICATES_H
#define CKUBE_CMD_CERTIFICATES_H
#include <stddef.h>
#include "base/arena.h"
#include "base/env.h"
#include "base/status.h"
#include "wire/x509_facts.h"

struct certificate {
    const char *name;            /* "apiserver" */
    const char *authority;       /* the name of who signs it; NULL: it is an authority itself */
    const char *file, *key_file; /* in DATA_DIR */
    bool by_request;             /* it comes by CertificateSigningRequest */
};
extern const struct certificate certificates_all[];
extern const size_t certificates_len;
const struct certificate *certificate_find(const char *name); /* NULL: there is none of that name */
bool certificate_exists(struct arena *a, const char *data_dir, const struct certificate *c);
/* NULL: it is well; otherwise what is wrong with it, in the arena. */
const char *certificate_problem(struct arena *a, const char *data_dir, const struct certificate *c, int64_t now_s);
/* A new leaf in its place, at once. The admin's goes into DATA_DIR/admin.kubeconfig too. -1 for authorities, for what comes by request, and when the authority's key is not here. */
int certificate_rotate(const char *data_dir, const struct certificate *c, struct status *reterr);

/* Renews leaves that are due. Returns in how many seconds the next one is. */
int64_t certificates_renew(const char *data_dir, int64_t now_s);
struct certificates_renewer;
struct certificates_renewer *certificates_renewer_start(const char *data_dir, struct env *env);
void certificates_renewer_stop(struct certificates_renewer *r); /* NULL is fine */
#endif
