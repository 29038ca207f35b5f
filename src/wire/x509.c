#include "wire/x509.h"
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "wire/x509_facts.h"

enum { CA_DAYS = 3650, LEAF_DAYS = 365, RENEW_DAYS = 30, DAY_S = 86400 };

static int fail(struct status *reterr, const char *what, const char *file) { return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s %s failed", what, file); }

/* Written beside and renamed, so that a crash leaves the old file or the new one. */
static FILE *open_new(const char *file, char *tmp, size_t size) {
    snprintf(tmp, size, "%s.tmp", file);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct stat old;
    if (fd >= 0 && stat(file, &old) == 0 && (old.st_uid != geteuid() || old.st_gid != getegid()) && fchown(fd, old.st_uid, old.st_gid) != 0) { /* whoever reads it must be able to go on */
        close(fd);
        return NULL;
    }
    return fd < 0 ? NULL : fdopen(fd, "w");
}

static int write_key(EVP_PKEY *key, const char *file, struct status *reterr) {
    char tmp[4200];
    FILE *f = open_new(file, tmp, sizeof(tmp));
    if (!f) return status_errno(reterr, file);
    int ok = PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    if (fclose(f) != 0 || !ok || rename(tmp, file) != 0) return fail(reterr, "writing", file);
    return 0;
}

static int write_cert(X509 *cert, const char *file, struct status *reterr) {
    char tmp[4200];
    FILE *f = open_new(file, tmp, sizeof(tmp));
    if (!f) return status_errno(reterr, file);
    int ok = PEM_write_X509(f, cert);
    if (fclose(f) != 0 || !ok || rename(tmp, file) != 0) return fail(reterr, "writing", file);
    return 0;
}

static X509 *read_cert(const char *file) {
    FILE *f = fopen(file, "re");
    if (!f) return NULL;
    X509 *c = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    return c;
}

static EVP_PKEY *read_key(const char *file) {
    FILE *f = fopen(file, "re");
    if (!f) return NULL;
    EVP_PKEY *k = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    return k;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (!e) return;
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

static X509 *begin_cert(EVP_PKEY *key, const char *cn, const char *const *orgs, int days) {
    X509 *c = X509_new();
    unsigned char serial[16];
    RAND_bytes(serial, sizeof(serial));
    serial[0] &= 0x7f;
    BIGNUM *n = BN_bin2bn(serial, sizeof(serial), NULL);
    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c));
    BN_free(n);
    X509_set_version(c, 2);
    X509_gmtime_adj(X509_getm_notBefore(c), -60); /* clocks differ a little */
    X509_gmtime_adj(X509_getm_notAfter(c), (long)days * 86400);
    X509_NAME *name = X509_get_subject_name(c);
    for (; orgs && *orgs; orgs++) X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)*orgs, -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_set_pubkey(c, key);
    return c;
}

int x509_make_ca(const char *cert_file, const char *key_file, const char *cn, struct status *reterr) {
    if (access(cert_file, R_OK) == 0 && access(key_file, R_OK) == 0) return 0;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!key) return fail(reterr, "making a key for", cert_file);
    X509 *c = begin_cert(key, cn, NULL, CA_DAYS);
    X509_set_issuer_name(c, X509_get_subject_name(c));
    add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(c, c, NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign");
    add_extension(c, c, NID_subject_key_identifier, "hash");
    int r = X509_sign(c, key, EVP_sha256()) ? 0 : fail(reterr, "signing", cert_file);
    if (r == 0) r = write_key(key, key_file, reterr);
    if (r == 0) r = write_cert(c, cert_file, reterr);
    X509_free(c);
    EVP_PKEY_free(key);
    return r;
}

static void alt_names(const struct x509_request *req, struct buf *out) {
    for (const char *const *p = req->dns_names; p && *p; p++) buf_printf(out, "%sDNS:%s", out->len ? "," : "", *p);
    for (const char *const *p = req->ips; p && *p; p++) buf_printf(out, "%sIP:%s", out->len ? "," : "", *p);
}

static bool names_covered(X509 *c, const struct x509_request *req) {
    for (const char *const *p = req->dns_names; p && *p; p++)
        if (X509_check_host(c, *p, 0, 0, NULL) != 1) return false;
    for (const char *const *p = req->ips; p && *p; p++)
        if (X509_check_ip_asc(c, *p, 0) != 1) return false;
    return true;
}

int64_t x509_renewal_s(int64_t not_before_s, int64_t not_after_s) { return not_after_s - MIN((int64_t)RENEW_DAYS * DAY_S, (not_after_s - not_before_s) / 3); }

/* Whether the leaf on disk will do. */
static bool still_good(const char *cert_file, const char *key_file, X509 *ca, const struct x509_request *req) {
    X509 *c = read_cert(cert_file);
    EVP_PKEY *ca_key = X509_get0_pubkey(ca);
    bool good = c && access(key_file, R_OK) == 0 && time(NULL) < x509_renewal_s(x509_time_s(X509_get0_notBefore(c)), x509_time_s(X509_get0_notAfter(c))) && X509_verify(c, ca_key) == 1 && names_covered(c, req);
    X509_free(c);
    return good;
}

static int make_leaf(const char *cert_file, const char *key_file, X509 *ca, EVP_PKEY *ca_key, const struct x509_request *req, struct status *reterr) {
    _cleanup_buf_ struct buf names = BUF_INIT;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!key) return fail(reterr, "making a key for", cert_file);
    X509 *c = begin_cert(key, req->common_name, req->organizations, req->days ? req->days : LEAF_DAYS);
    X509_set_issuer_name(c, X509_get_subject_name(ca));
    add_extension(c, ca, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(c, ca, NID_key_usage, "critical,digitalSignature,keyEncipherment");
    add_extension(c, ca, NID_ext_key_usage, req->server && req->client ? "serverAuth,clientAuth" : req->server ? "serverAuth" : "clientAuth");
    add_extension(c, ca, NID_authority_key_identifier, "keyid");
    alt_names(req, &names);
    if (names.len) add_extension(c, ca, NID_subject_alt_name, buf_cstr(&names));
    int r = X509_sign(c, ca_key, EVP_sha256()) ? 0 : fail(reterr, "signing", cert_file);
    if (r == 0) r = write_key(key, key_file, reterr);
    if (r == 0) r = write_cert(c, cert_file, reterr);
    X509_free(c);
    EVP_PKEY_free(key);
    return r;
}

/* anew: also if the one that is there will do. */
static int leaf_from(const char *cert_file, const char *key_file, const char *ca_cert_file, const char *ca_key_file, const struct x509_request *req, bool anew, struct status *reterr) {
    X509 *ca = read_cert(ca_cert_file);
    EVP_PKEY *ca_key = read_key(ca_key_file);
    int r = 0;
    if (!ca || !ca_key) r = fail(reterr, "reading", ca_cert_file);
    else if (anew || !still_good(cert_file, key_file, ca, req)) r = make_leaf(cert_file, key_file, ca, ca_key, req, reterr);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    return r;
}

int x509_make_leaf(const char *cert_file, const char *key_file, const char *ca_cert_file, const char *ca_key_file, const struct x509_request *req, struct status *reterr) {
    return leaf_from(cert_file, key_file, ca_cert_file, ca_key_file, req, false, reterr);
}

int x509_renew_leaf(const char *cert_file, const char *key_file, const char *ca_cert_file, const char *ca_key_file, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct x509_facts f;
    if (x509_facts_read(a, cert_file, &f, reterr) != 0) return -1;
    struct x509_request req = {.common_name = f.common_name, .organizations = f.organizations, .dns_names = f.dns_names, .ips = f.ips, .server = f.server, .client = f.client};
    return leaf_from(cert_file, key_file, ca_cert_file, ca_key_file, &req, true, reterr);
}

bool x509_key_fits(const char *cert_file, const char *key_file) {
    X509 *c = read_cert(cert_file);
    EVP_PKEY *key = read_key(key_file);
    bool fits = c && key && X509_check_private_key(c, key) == 1;
    X509_free(c);
    EVP_PKEY_free(key);
    return fits;
}

int x509_make_key(const char *key_file, struct status *reterr) {
    if (access(key_file, R_OK) == 0) return 0;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    int r = key ? write_key(key, key_file, reterr) : fail(reterr, "making", key_file);
    EVP_PKEY_free(key);
    return r;
}
