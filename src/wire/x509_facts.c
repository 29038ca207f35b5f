/* Reading certificates: see x509_facts.h. */
#include "wire/x509_facts.h"
#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

const char *x509_string_text(struct arena *a, const ASN1_STRING *s) {
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, s);
    const char *copy = len >= 0 && !memchr(utf8, 0, (size_t)len) ? arena_strndup(a, (char *)utf8, (size_t)len) : NULL;
    if (len >= 0) OPENSSL_free(utf8);
    return copy;
}

int x509_names_of(struct arena *a, const X509_NAME *subject, const char **ret_common_name, const char ***ret_organizations, size_t *ret_organizations_len) {
    int n = X509_NAME_entry_count(subject);
    const char **organizations = arena_calloc(a, (size_t)n + 1, sizeof(*organizations));
    size_t len = 0;
    *ret_common_name = "";
    for (int i = 0; i < n; i++) {
        const X509_NAME_ENTRY *e = X509_NAME_get_entry(subject, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
        if (nid != NID_commonName && nid != NID_organizationName) continue;
        const char *text = x509_string_text(a, X509_NAME_ENTRY_get_data(e));
        if (!text) return -1;
        if (nid == NID_commonName) *ret_common_name = text;
        else organizations[len++] = text;
    }
    *ret_organizations = organizations;
    *ret_organizations_len = len;
    return 0;
}

static const char *name_text(struct arena *a, const X509_NAME *name) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    CHECK(bio);
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
    long len = BIO_get_mem_data(bio, &data);
    const char *text = len > 0 ? arena_strndup(a, data, (size_t)len) : "";
    BIO_free(bio);
    return text;
}

const char *x509_address_text(struct arena *a, const ASN1_OCTET_STRING *ip) {
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(ip);
    if (len != 4 && len != 16) return NULL;
    return inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof(text)) ? arena_strdup(a, text) : NULL;
}

static int read_names(struct arena *a, X509 *cert, struct x509_facts *ret) {
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int n = MAX(sk_GENERAL_NAME_num(names), 0), rc = 0;
    size_t dns = 0, ips = 0;
    ret->dns_names = arena_calloc(a, (size_t)n + 1, sizeof(*ret->dns_names));
    ret->ips = arena_calloc(a, (size_t)n + 1, sizeof(*ret->ips));
    for (int i = 0; i < n && rc == 0; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type == GEN_DNS && !(ret->dns_names[dns++] = x509_string_text(a, g->d.dNSName))) rc = -1;
        if (g->type == GEN_IPADD && !(ret->ips[ips++] = x509_address_text(a, g->d.iPAddress))) rc = -1;
    }
    GENERAL_NAMES_free(names);
    return rc;
}

int64_t x509_time_s(const ASN1_TIME *t) {
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : -1;
}

int x509_subject_of(struct arena *a, X509 *cert, struct x509_facts *ret) {
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    size_t organizations;
    struct x509_facts f = {0};
    if (x509_names_of(a, X509_get_subject_name(cert), &f.common_name, &f.organizations, &organizations) != 0) return -1;
    if (X509_digest(cert, EVP_sha256(), sum, &len) != 1 || 2 * len != X509_FINGERPRINT_LEN) return -1;
    for (unsigned i = 0; i < len; i++) {
        f.fingerprint[2 * i] = "0123456789abcdef"[sum[i] >> 4];
        f.fingerprint[2 * i + 1] = "0123456789abcdef"[sum[i] & 15];
    }
    *ret = f;
    return 0;
}

int x509_facts_of(struct arena *a, X509 *cert, struct x509_facts *ret) {
    struct x509_facts f;
    if (x509_subject_of(a, cert, &f) != 0 || read_names(a, cert, &f) != 0) return -1;
    f.not_before_s = x509_time_s(X509_get0_notBefore(cert));
    f.not_after_s = x509_time_s(X509_get0_notAfter(cert));
    f.authority = X509_check_ca(cert) == 1;
    f.subject = name_text(a, X509_get_subject_name(cert));
    f.issuer = name_text(a, X509_get_issuer_name(cert));
    uint32_t usages = X509_get_extension_flags(cert) & EXFLAG_XKUSAGE ? X509_get_extended_key_usage(cert) : 0;
    f.server = usages & XKU_SSL_SERVER;
    f.client = usages & XKU_SSL_CLIENT;
    *ret = f;
    return 0;
}

static X509 *read_cert(const char *file) {
    FILE *f = fopen(file, "re");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    if (f) fclose(f);
    return cert;
}

int x509_facts_read(struct arena *a, const char *file, struct x509_facts *ret, struct status *reterr) {
    X509 *cert = read_cert(file);
    int rc = cert ? x509_facts_of(a, cert, ret) : -1;
    X509_free(cert);
    return rc == 0 ? 0 : status_internal(reterr, "%s: no certificate can be read from it", file);
}

bool x509_issued_by(const char *cert_file, const char *ca_cert_file) {
    X509 *cert = read_cert(cert_file), *ca = read_cert(ca_cert_file);
    EVP_PKEY *key = ca ? X509_get0_pubkey(ca) : NULL;
    bool yes = cert && key && X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(ca)) == 0 && X509_verify(cert, key) == 1;
    X509_free(cert);
    X509_free(ca);
    return yes;
}
