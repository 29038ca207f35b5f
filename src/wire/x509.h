/* Certificates: making authorities and leaves, all ECDSA P-256. */
#ifndef CKUBE_WIRE_X509_H
#define CKUBE_WIRE_X509_H
#include <stdbool.h>
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
/* A leaf signed by the authority; made anew when it is missing, about to expire (within 30 days), from another authority or for other names. */
int x509_make_leaf(const char *cert_file, const char *key_file, const char *ca_cert_file, const char *ca_key_file, const struct x509_request *req, struct status *reterr);
/* A private key alone (for signing tokens). */
int x509_make_key(const char *key_file, struct status *reterr);
#endif
