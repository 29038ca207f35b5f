/* Client certificates from anybody into users. What a certificate names is what its bytes say, no shorter; and a request for a certificate of the same subject is judged by the same name
 * and groups that the certificate would have. Input: a certificate in DER, or "N" and a name in DER (which gets past the certificate's own structure more often). */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <string.h>
#include "base/str.h"
#include "wire/x509_csr.h"
#include "wire/x509_facts.h"

static X509 *certificate_of_name(const uint8_t *data, size_t size) {
    X509_NAME *name = d2i_X509_NAME(NULL, &data, (long)size);
    X509 *cert = name ? X509_new() : NULL;
    if (cert) CHECK(X509_set_version(cert, 2) && X509_set_subject_name(cert, name) && X509_set_issuer_name(cert, name));
    X509_NAME_free(name);
    return cert;
}

static bool says(const X509_NAME_ENTRY *e, const char *text) {
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
    bool same = n >= 0 && strlen(text) == (size_t)n && memcmp(utf8, text, (size_t)n) == 0;
    OPENSSL_free(utf8);
    return same;
}

static void check_user(const X509_NAME *name, const struct x509_facts *f) {
    size_t groups = 0;
    const X509_NAME_ENTRY *last = NULL;
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
        if (nid == NID_commonName) last = e;
        if (nid == NID_organizationName) CHECK(f->organizations[groups] && says(e, f->organizations[groups++]));
    }
    CHECK(!f->organizations[groups] && (last ? says(last, f->common_name) : !*f->common_name) && strlen(f->fingerprint) == X509_FINGERPRINT_LEN);
}

static void check_request(struct arena *a, X509_NAME *name, const struct x509_facts *f) {
    X509_REQ *req = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    char *pem;
    struct x509_csr csr;
    CHECK(req && bio && key && X509_REQ_set_subject_name(req, name) && X509_REQ_set_pubkey(req, key) && X509_REQ_sign(req, key, EVP_sha256()) && PEM_write_bio_X509_REQ(bio, req));
    long len = BIO_get_mem_data(bio, &pem);
    CHECK(x509_csr_parse(a, pem, (size_t)len, &csr, NULL) == 0 && str_eq(csr.common_name, f->common_name));
    for (size_t i = 0; i <= csr.organizations_len; i++) CHECK(csr.organizations[i] == f->organizations[i] || str_eq(csr.organizations[i], f->organizations[i]));
    X509_REQ_free(req);
    BIO_free(bio);
    EVP_PKEY_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_arena_ struct arena *a = arena_new();
    const unsigned char *der = data;
    struct x509_facts f, all;
    X509 *cert = size && data[0] == 'N' ? certificate_of_name(data + 1, size - 1) : d2i_X509(NULL, &der, (long)size);
    if (cert && x509_subject_of(a, cert, &f) == 0) {
        check_user(X509_get_subject_name(cert), &f);
        if (size % 16 == 0) check_request(a, X509_get_subject_name(cert), &f); /* signing is slow: not every time */
    }
    if (cert && x509_facts_of(a, cert, &all) == 0) CHECK(all.subject && all.issuer && str_eq(all.common_name, f.common_name));
    X509_free(cert);
    return 0;
}
