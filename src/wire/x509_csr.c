/* Certificate requests: see x509_csr.h. */
#include "wire/x509_csr.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include "base/str.h"
#include "wire/x509_facts.h"

static int fail(struct status *reterr, const char *what) { return status_internal(reterr, "%s failed", what); }

static X509_REQ *read_request(const void *pem, size_t len) {
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509_REQ *req = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return req;
}

static GENERAL_NAMES *alt_names(X509_REQ *req) {
    STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(req);
    GENERAL_NAMES *names = all ? X509V3_get_d2i(all, NID_subject_alt_name, NULL, NULL) : NULL;
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    return names;
}

/* Names as text, and how many there are of each kind. -1: one of them is none. */
static int read_names(struct arena *a, X509_REQ *req, struct x509_csr *ret) {
    GENERAL_NAMES *names = alt_names(req);
    int n = MAX(sk_GENERAL_NAME_num(names), 0), rc = 0;
    ret->dns_name_list = arena_calloc(a, (size_t)n + 1, sizeof(*ret->dns_name_list));
    ret->ip_list = arena_calloc(a, (size_t)n + 1, sizeof(*ret->ip_list));
    for (int i = 0; i < n && rc == 0; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        ret->emails += g->type == GEN_EMAIL;
        ret->uris += g->type == GEN_URI;
        if (g->type == GEN_DNS && !(ret->dns_name_list[ret->dns_names++] = x509_string_text(a, g->d.dNSName))) rc = -1;
        if (g->type == GEN_IPADD && !(ret->ip_list[ret->ips++] = x509_address_text(a, g->d.iPAddress))) rc = -1;
    }
    GENERAL_NAMES_free(names);
    return rc;
}

int x509_csr_parse(struct arena *a, const void *pem, size_t len, struct x509_csr *ret, struct status *reterr) {
    X509_REQ *req = read_request(pem, len);
    if (!req) return status_bad_request(reterr, "PEM block type must be CERTIFICATE REQUEST");
    *ret = (struct x509_csr){0};
    int rc = x509_names_of(a, X509_REQ_get_subject_name(req), &ret->common_name, &ret->organizations, &ret->organizations_len);
    if (rc == 0) rc = read_names(a, req, ret);
    X509_REQ_free(req);
    return rc == 0 ? 0 : status_bad_request(reterr, "the request names something that is no text or no address");
}

/* ---- making ---- */

static bool add_name(STACK_OF(GENERAL_NAME) *to, int type, const char *text) {
    GENERAL_NAME *g = a2i_GENERAL_NAME(NULL, NULL, NULL, type, text, 0);
    return g && sk_GENERAL_NAME_push(to, g) > 0;
}

static bool add_alt_names(X509_REQ *req, const char *const *dns_names, const char *const *ips) {
    STACK_OF(GENERAL_NAME) *names = sk_GENERAL_NAME_new_null();
    STACK_OF(X509_EXTENSION) *all = NULL;
    bool ok = names != NULL;
    for (; ok && dns_names && *dns_names; dns_names++) ok = add_name(names, GEN_DNS, *dns_names);
    for (; ok && ips && *ips; ips++) ok = add_name(names, GEN_IPADD, *ips);
    if (ok && sk_GENERAL_NAME_num(names) > 0) ok = X509V3_add1_i2d(&all, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1 && X509_REQ_add_extensions(req, all) == 1;
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return ok;
}

static bool write_bio(BIO *bio, struct buf *ret) {
    char *data = NULL;
    long n = BIO_get_mem_data(bio, &data);
    if (n <= 0) return false;
    buf_append(ret, data, (size_t)n);
    return true;
}

int x509_csr_make(const char *common_name, const char *const *organizations, const char *const *dns_names, const char *const *ips, struct buf *ret_request, struct buf *ret_key, struct status *reterr) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_REQ *req = X509_REQ_new();
    BIO *pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_secmem());
    CHECK(req && pem && key_pem);
    X509_NAME *name = X509_REQ_get_subject_name(req);
    bool ok = key && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(req, key) == 1;
    for (; ok && organizations && *organizations; organizations++) ok = X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)*organizations, -1, -1, 0) == 1;
    ok = ok && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1 && add_alt_names(req, dns_names, ips);
    ok = ok && X509_REQ_sign(req, key, EVP_sha256()) > 0 && PEM_write_bio_X509_REQ(pem, req) == 1 && PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) == 1;
    ok = ok && write_bio(pem, ret_request) && write_bio(key_pem, ret_key);
    BIO_free(pem);
    BIO_free(key_pem);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    return ok ? 0 : fail(reterr, "making a certificate request");
}

/* ---- signing ---- */

static const struct { const char *name, *key_usage, *ext_usage; } usage_names[] = {
    {"signing", "digitalSignature", NULL}, {"digital signature", "digitalSignature", NULL}, {"content commitment", "nonRepudiation", NULL}, {"key encipherment", "keyEncipherment", NULL},
    {"key agreement", "keyAgreement", NULL}, {"data encipherment", "dataEncipherment", NULL}, {"cert sign", "keyCertSign", NULL}, {"crl sign", "cRLSign", NULL}, {"encipher only", "encipherOnly", NULL},
    {"decipher only", "decipherOnly", NULL}, {"any", NULL, "anyExtendedKeyUsage"}, {"server auth", NULL, "serverAuth"}, {"client auth", NULL, "clientAuth"}, {"code signing", NULL, "codeSigning"},
    {"email protection", NULL, "emailProtection"}, {"s/mime", NULL, "emailProtection"}, {"ipsec end system", NULL, "ipsecEndSystem"}, {"ipsec tunnel", NULL, "ipsecTunnel"}, {"ipsec user", NULL, "ipsecUser"},
    {"timestamping", NULL, "timeStamping"}, {"ocsp signing", NULL, "OCSPSigning"}, {"microsoft sgc", NULL, "msSGC"}, {"netscape sgc", NULL, "nsSGC"},
};

/* False: a usage is unknown. */
static bool usage_texts(const char *const *usages, size_t len, struct buf *key_usage, struct buf *ext_usage) {
    for (size_t i = 0; i < len; i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(usage_names) && !str_eq(usage_names[k].name, usages[i])) k++;
        if (k == ARRAY_LEN(usage_names)) return false;
        struct buf *to = usage_names[k].key_usage ? key_usage : ext_usage;
        buf_printf(to, "%s%s", to->len ? "," : "critical,", str_or(usage_names[k].key_usage, usage_names[k].ext_usage));
    }
    if (ext_usage->len) buf_consume(ext_usage, strlen("critical,"));
    return true;
}

static bool add_extension(X509 *cert, X509 *ca, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, ca, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
    return ok;
}

static bool set_serial(X509 *cert) {
    unsigned char serial[16];
    if (RAND_bytes(serial, sizeof(serial)) != 1) return false;
    serial[0] &= 0x7f;
    BIGNUM *n = BN_bin2bn(serial, sizeof(serial), NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

static bool copy_names(X509 *cert, X509_REQ *req) {
    GENERAL_NAMES *names = alt_names(req);
    bool ok = !names || X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static bool fill(X509 *cert, X509_REQ *req, X509 *ca, const char *key_usage, const char *ext_usage, int64_t not_before_s, int64_t not_after_s) {
    ASN1_TIME *begin = ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)not_before_s), *end = ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)not_after_s);
    if (!begin || !end || !X509_set_version(cert, 2) || !set_serial(cert)) return false;
    if (ASN1_TIME_compare(X509_get0_notAfter(ca), end) < 0 && !X509_set1_notAfter(cert, X509_get0_notAfter(ca))) return false; /* never longer than its authority */
    if (!X509_set_subject_name(cert, X509_REQ_get_subject_name(req)) || !X509_set_issuer_name(cert, X509_get_subject_name(ca)) || !X509_set_pubkey(cert, X509_REQ_get0_pubkey(req))) return false;
    return (!*key_usage || add_extension(cert, ca, NID_key_usage, key_usage)) && (!*ext_usage || add_extension(cert, ca, NID_ext_key_usage, ext_usage)) &&
           add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") && copy_names(cert, req);
}

static void write_pem(X509 *cert, struct buf *ret) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    if (bio && PEM_write_bio_X509(bio, cert)) {
        long n = BIO_get_mem_data(bio, &data);
        buf_append(ret, data, (size_t)n);
    }
    BIO_free(bio);
}

int x509_csr_sign(const void *pem, size_t len, const char *ca_cert_file, const char *ca_key_file, const char *const *usages, size_t usages_len, int64_t not_before_s, int64_t not_after_s,
                  struct buf *ret, struct status *reterr) {
    _cleanup_buf_ struct buf key_usage = BUF_INIT, ext_usage = BUF_INIT;
    if (!usage_texts(usages, usages_len, &key_usage, &ext_usage)) return status_bad_request(reterr, "unrecognized usage values");
    FILE *cf = fopen(ca_cert_file, "re"), *kf = fopen(ca_key_file, "re");
    X509 *ca = cf ? PEM_read_X509(cf, NULL, NULL, NULL) : NULL, *cert = X509_new();
    EVP_PKEY *key = kf ? PEM_read_PrivateKey(kf, NULL, NULL, NULL) : NULL;
    X509_REQ *req = read_request(pem, len);
    if (cf) fclose(cf);
    if (kf) fclose(kf);
    int rc = !ca || !key ? fail(reterr, "reading the signing authority") : !req ? fail(reterr, "reading the request") : 0;
    const EVP_MD *digest = key && (EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448")) ? NULL : EVP_sha256();
    if (rc == 0 && (!fill(cert, req, ca, buf_cstr(&key_usage), buf_cstr(&ext_usage), not_before_s, not_after_s) || !X509_sign(cert, key, digest))) rc = fail(reterr, "signing");
    if (rc == 0) write_pem(cert, ret);
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(key);
    X509_REQ_free(req);
    return rc;
}

int64_t x509_not_after(const void *pem, size_t len) {
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    X509 *c = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    int64_t at = c ? x509_time_s(X509_get0_notAfter(c)) : -1;
    X509_free(c);
    BIO_free(bio);
    return at;
}
