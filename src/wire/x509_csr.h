/* Certificate requests (PKCS#10): what they ask for, and certificates made of them. Tests: tests/unit/test_controller_certificates.c. */
#ifndef CKUBE_WIRE_X509_CSR_H
#define CKUBE_WIRE_X509_CSR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

struct x509_csr {
    const char *common_name;
    const char **organizations;        /* NULL-terminated; in the arena */
    size_t organizations_len;
    size_t dns_names, emails, ips, uris; /* how many alternative names of each kind */
    const char **dns_name_list, **ip_list; /* those; end with NULL */
};
/* -1: not a request in PEM. */
int x509_csr_parse(struct arena *a, const void *pem, size_t len, struct x509_csr *ret, struct status *reterr);

/* Signs a request: its subject, names and key; usages are the API's names ("client auth"). Appends PEM. The authority's files are read each time, as they may be renewed. */
int x509_csr_sign(const void *pem, size_t len, const char *ca_cert_file, const char *ca_key_file, const char *const *usages, size_t usages_len, int64_t not_before_s, int64_t not_after_s,
                  struct buf *ret, struct status *reterr);
/* A new P-256 key and a request for it, both appended in PEM. dns_names and ips end with NULL; NULL: none. */
int x509_csr_make(const char *common_name, const char *const *organizations, const char *const *dns_names, const char *const *ips, struct buf *ret_request, struct buf *ret_key, struct status *reterr);
/* When the first certificate of a PEM text ends, in seconds since 1970; -1: it is none. */
int64_t x509_not_after(const void *pem, size_t len);
#endif
