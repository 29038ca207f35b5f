#include "wire/x509_key_pair.h"
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include "base/buf.h"
#include "base/str.h"

struct pem_input {
    unsigned char *found; /* the first block of the wanted type; OpenSSL's to free */
    long len;
    size_t skipped;
    struct buf types; /* of those skipped, with blanks between */
};

static bool wanted(const char *name, bool key) {
    size_t len = strlen(name);
    return key ? strcmp(name, "PRIVATE KEY") == 0 || (len > 12 && strcmp(name + len - 12, " PRIVATE KEY") == 0) : strcmp(name, "CERTIFICATE") == 0;
}

static struct pem_input pem_read(const void *data, size_t len, bool key) {
    struct pem_input in = {.types = BUF_INIT};
    BIO *bio = BIO_new_mem_buf(len ? data : "", (int)len);
    char *name, *header;
    CHECK(bio);
    while (!in.found && PEM_read_bio(bio, &name, &header, &in.found, &in.len) == 1) {
        if (!wanted(name, key)) {
            buf_printf(&in.types, "%s%s", in.skipped++ ? " " : "", name);
            OPENSSL_free(in.found);
            in.found = NULL;
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
    }
    BIO_free(bio);
    ERR_clear_error();
    return in;
}

static int no_certificate(const struct pem_input *in, struct status *reterr) {
    if (!in->skipped) return status_bad_request(reterr, "tls: failed to find any PEM data in certificate input");
    if (in->skipped == 1 && wanted(in->types.data, true))
        return status_bad_request(reterr, "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched");
    return status_bad_request(reterr, "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [%s]", in->types.data);
}

static int no_key(const struct pem_input *in, struct status *reterr) {
    if (!in->skipped) return status_bad_request(reterr, "tls: failed to find any PEM data in key input");
    if (in->skipped == 1 && strcmp(in->types.data, "CERTIFICATE") == 0) return status_bad_request(reterr, "tls: found a certificate rather than a key in the PEM for the private key");
    return status_bad_request(reterr, "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [%s]", in->types.data);
}

static int check_pair(const struct pem_input *cert, const struct pem_input *key, struct status *reterr) {
    const unsigned char *c = cert->found, *k = key->found;
    X509 *x = d2i_X509(NULL, &c, cert->len);
    EVP_PKEY *private = x ? d2i_AutoPrivateKey(NULL, &k, key->len) : NULL, *public = x ? X509_get0_pubkey(x) : NULL;
    int r = 0;
    if (!x) r = status_bad_request(reterr, "x509: malformed certificate");
    else if (!private) r = status_bad_request(reterr, "tls: failed to parse private key");
    else if (!public || EVP_PKEY_get_base_id(public) != EVP_PKEY_get_base_id(private)) r = status_bad_request(reterr, "tls: private key type does not match public key type");
    else if (X509_check_private_key(x, private) != 1) r = status_bad_request(reterr, "tls: private key does not match public key");
    X509_free(x);
    EVP_PKEY_free(private);
    ERR_clear_error();
    return r;
}

int x509_key_pair_check(const void *cert, size_t cert_len, const void *key, size_t key_len, struct status *reterr) {
    struct pem_input c = pem_read(cert, cert_len, false), k = pem_read(key, key_len, true);
    int r;
    if (!c.found) r = no_certificate(&c, reterr);
    else if (!k.found) r = no_key(&k, reterr);
    else r = check_pair(&c, &k, reterr);
    OPENSSL_free(c.found);
    OPENSSL_free(k.found);
    buf_release(&c.types);
    buf_release(&k.types);
    return r;
}
