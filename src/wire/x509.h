/* Certificates: making authorities and leaves, all ECDSA P-256; private keys are for their owner alone. Tests: tests/unit/test_certificates.c. */
#ifndef CKUBE_WIRE_X509_H
#define CKUBE_WIRE_X509_H
#include <stdbool.h>
#include <stdint.h>
#include "base/status.h"

struct x509_request {
    const char *common_name;
    const char *const *organizations;  /* NULL-terminated, or NULL */
    const char *const *dns_names, *const *ips;
    bool server, client;               /* extended key usages */
    int days;
};

/* A self-signed authority into two PEM files (the key 0600); does nothing if both are there. */
int x509_make_ca(const char *cert_file, const char *key_file, const char *common_name, struct status *reterr);
/* A leaf signed by the authority; made anew when it is missing, about to expire (x509_renewal_s), from another authority or for other names. */
int x509_make_leaf(const char *cert_file, const char *key_file, const char *ca_cert_file, const char *ca_key_file, const struct x509_request *req, struct status *reterr);
/* The same for a leaf that is there, in any case: subject, names and usages stay what they are, the key is a new one. The files keep their owner. The key comes first, then the certificate. */
int x509_renew_leaf(const char *cert_file, const char *key_file, const char *ca_cert_file, const char *ca_key_file, struct status *reterr);
/* From when on a certificate is to be renewed: 30 days before its end, or when a third of its life is left if that is shorter. */
int64_t x509_renewal_s(int64_t not_before_s, int64_t not_after_s);
/* Whether a key belongs to a certificate. */
bool x509_key_fits(const char *cert_file, const char *key_file);
/* A private key alone (for signing tokens). */
int x509_make_key(const char *key_file, struct status *reterr);
#endif
