#include "wire/x509_pem.h"
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

struct block { char *name, *header; unsigned char *data; long len; };

static bool next_block(BIO *bio, struct block *b) {
    *b = (struct block){0};
    if (PEM_read_bio(bio, &b->name, &b->header, &b->data, &b->len) == 1) return true;
    ERR_clear_error();
    return false;
}

static void block_release(struct block *b) {
    OPENSSL_free(b->name);
    OPENSSL_free(b->header);
    OPENSSL_free(b->data);
}

static BIO *open_memory(const void *pem, size_t len) {
    BIO *bio = BIO_new_mem_buf(len ? pem : "", (int)len);
    CHECK(bio);
    return bio;
}

static int check_request(const struct block *b, struct status *reterr) {
    const unsigned char *p = b->data;
    if (strcmp(b->name, "CERTIFICATE REQUEST") != 0) return status_bad_request(reterr, "PEM block type must be CERTIFICATE REQUEST");
    X509_REQ *req = d2i_X509_REQ(NULL, &p, b->len);
    if (!req) {
        ERR_clear_error();
        return status_bad_request(reterr, "asn1: structure error");
    }
    int verified = X509_REQ_verify(req, X509_REQ_get0_pubkey(req));
    X509_REQ_free(req);
    ERR_clear_error();
    return verified == 1 ? 0 : status_bad_request(reterr, "x509: signature verification failed");
}

int x509_request_check(const void *pem, size_t len, struct status *reterr) {
    BIO *bio = open_memory(pem, len);
    struct block b;
    int r = next_block(bio, &b) ? check_request(&b, reterr) : status_bad_request(reterr, "PEM block type must be CERTIFICATE REQUEST");
    block_release(&b);
    BIO_free(bio);
    return r;
}

static int check_certificate(const struct block *b, struct status *reterr) {
    const unsigned char *p = b->data;
    if (strcmp(b->name, "CERTIFICATE") != 0) return status_bad_request(reterr, "only CERTIFICATE PEM blocks are allowed, found \"%s\"", b->name);
    if (b->header && *b->header) return status_bad_request(reterr, "no PEM block headers are permitted");
    X509 *cert = d2i_X509(NULL, &p, b->len);
    ERR_clear_error();
    if (!cert) return status_bad_request(reterr, "x509: malformed certificate");
    X509_free(cert);
    return 0;
}

int x509_certificates_check(const void *pem, size_t len, struct status *reterr) {
    BIO *bio = open_memory(pem, len);
    struct block b;
    int blocks = 0, r = 0;
    while (r == 0 && next_block(bio, &b)) {
        r = check_certificate(&b, reterr);
        block_release(&b);
        blocks++;
    }
    BIO_free(bio);
    return r == 0 && blocks == 0 ? status_bad_request(reterr, "must contain at least one CERTIFICATE PEM block") : r;
}

/* Whether the block is a certificate that can be read; what is none of the kind is passed over. */
static bool is_authority(const struct block *b, bool *malformed) {
    const unsigned char *p = b->data;
    if (strcmp(b->name, "CERTIFICATE") != 0 || (b->header && *b->header)) return false;
    X509 *cert = d2i_X509(NULL, &p, b->len);
    ERR_clear_error();
    *malformed |= !cert;
    X509_free(cert);
    return cert != NULL;
}

int x509_ca_bundle_check(const void *pem, size_t len, struct status *reterr) {
    BIO *bio = open_memory(pem, len);
    struct block b;
    bool found = false, malformed = false, any = false;
    while (next_block(bio, &b)) {
        any = true;
        found |= is_authority(&b, &malformed);
        block_release(&b);
    }
    BIO_free(bio);
    if (found) return 0;
    return status_bad_request(reterr, malformed ? "failed to parse certificate: x509: malformed certificate" : any ? "no valid certificate authority data seen" : "unable to parse bytes as PEM block");
}
