/* What a certificate says: whom it names, who signed it, for what and how long. Tests: tests/unit/test_certificates.c. */
#ifndef CKUBE_WIRE_X509_FACTS_H
#define CKUBE_WIRE_X509_FACTS_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/status.h"

enum { X509_FINGERPRINT_LEN = 64 };
struct x509_facts {
    const char *common_name;           /* the last one, as Go reads a subject; "" if there is none */
    const char **organizations;        /* lists end with NULL; all texts are in the arena */
    const char *subject, *issuer;      /* "CN=admin,O=system:masters" (RFC 2253) */
    const char **dns_names, **ips;
    int64_t not_before_s, not_after_s; /* since 1970 */
    bool authority, server, client;    /* server, client: its extended key usages */
    char fingerprint[X509_FINGERPRINT_LEN + 1]; /* SHA-256 of its DER, in hex */
};
/* -1: it says something that cannot be told in text, e.g. a name with a NUL byte in it, which nobody may mistake for the part before. */
int x509_facts_of(struct arena *a, X509 *cert, struct x509_facts *ret);
/* The same of its common name, organizations and fingerprint alone: what is asked with every request. */
int x509_subject_of(struct arena *a, X509 *cert, struct x509_facts *ret);
/* The names of a subject: the last common name ("" if there is none) and all organizations, which end with NULL. -1 as above. */
int x509_names_of(struct arena *a, const X509_NAME *subject, const char **ret_common_name, const char ***ret_organizations, size_t *ret_organizations_len);
/* Of the first certificate of a PEM file. -1 with a status: it cannot be read. */
int x509_facts_read(struct arena *a, const char *file, struct x509_facts *ret, struct status *reterr);
/* Whether one file's certificate was signed by the other's authority. */
bool x509_issued_by(const char *cert_file, const char *ca_cert_file);
/* A time of certificates in seconds since 1970; -1: it is none. */
int64_t x509_time_s(const ASN1_TIME *t);
const char *x509_string_text(struct arena *a, const ASN1_STRING *s);        /* NULL: it is no text, or there is a NUL byte in it */
const char *x509_address_text(struct arena *a, const ASN1_OCTET_STRING *ip); /* NULL: it is no address */
#endif
