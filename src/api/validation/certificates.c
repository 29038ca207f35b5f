#include "api/validation/certificates.h"
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "base/str.h"
#include "wire/json.h"

/* ---- PEM ---- */

/* The first block; its type into *ret_type (OpenSSL's to free), or false. */
static bool first_block(BIO *bio, char **ret_type, unsigned char **ret_data, long *ret_len, bool *ret_headers) {
    char *header;
    if (PEM_read_bio(bio, ret_type, &header, ret_data, ret_len) != 1) return false;
    *ret_headers = *header != 0;
    OPENSSL_free(header);
    return true;
}

static X509_REQ *parse_request(const struct bytes *pem, const char **ret_why) {
    BIO *bio = BIO_new_mem_buf(pem->data ? pem->data : (const unsigned char *)"", (int)pem->len);
    char *type = NULL;
    unsigned char *data = NULL;
    long len;
    bool headers;
    X509_REQ *req = NULL;
    CHECK(bio);
    *ret_why = "PEM block type must be CERTIFICATE REQUEST";
    if (first_block(bio, &type, &data, &len, &headers) && strcmp(type, "CERTIFICATE REQUEST") == 0) {
        const unsigned char *p = data;
        req = d2i_X509_REQ(NULL, &p, len);
        if (!req || p != data + len) *ret_why = "asn1: structure error";
    }
    OPENSSL_free(type);
    OPENSSL_free(data);
    BIO_free(bio);
    return req;
}

static const char *check_request(const struct bytes *pem) {
    const char *why;
    X509_REQ *req = parse_request(pem, &why);
    if (!req) return why;
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    why = key && X509_REQ_verify(req, key) == 1 ? NULL : "x509: signature verification failure";
    X509_REQ_free(req);
    return why;
}

bool csr_has_organization(const struct bytes *pem, const char *organization) {
    const char *why;
    X509_REQ *req = parse_request(pem, &why);
    bool found = false;
    if (!req) return false;
    X509_NAME *subject = X509_REQ_get_subject_name(req);
    for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_organizationName, i)) >= 0;) {
        unsigned char *utf8 = NULL;
        int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));
        found |= len == (int)strlen(organization) && memcmp(utf8, organization, (size_t)len) == 0;
        OPENSSL_free(utf8);
    }
    X509_REQ_free(req);
    return found;
}

static const char *check_block(struct arena *a, const char *type, const unsigned char *data, long len, bool headers) {
    if (strcmp(type, "CERTIFICATE") != 0) return arena_printf(a, "only CERTIFICATE PEM blocks are allowed, found %s", go_quote(a, type));
    if (headers) return "no PEM block headers are permitted";
    X509 *cert = d2i_X509(NULL, &data, len);
    X509_free(cert);
    return cert ? NULL : "x509: malformed certificate";
}

/* One or more certificates and nothing else; none at all is fine too. */
static const char *check_certificates(struct arena *a, const struct bytes *pem) {
    if (!pem->len) return NULL;
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
    char *type;
    unsigned char *data;
    long len;
    bool headers, any = false;
    const char *why = NULL;
    CHECK(bio);
    while (!why && first_block(bio, &type, &data, &len, &headers)) {
        any = true;
        why = check_block(a, type, data, len, headers);
        OPENSSL_free(type);
        OPENSSL_free(data);
    }
    BIO_free(bio);
    return any ? why : "must contain at least one CERTIFICATE PEM block";
}

/* ---- the spec ---- */

static const char *const usages[] = {"any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only",
    "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping", NULL};

static bool duplicate_at(const struct string_list *l, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (str_eq(l->items[j], l->items[i])) return true;
    return false;
}

static void validate_usages(const struct string_list *l, const struct field_path *at, struct field_errors *errs) {
    if (!l->len) field_required(errs, at, "%s", "");
    for (size_t i = 0; i < l->len; i++)
        if (!str_in(l->items[i], usages)) field_not_supported(errs, FIELD_INDEX(at, i), l->items[i], usages);
    for (size_t i = 0; i < l->len; i++)
        if (duplicate_at(l, i)) field_duplicate(errs, FIELD_INDEX(at, i), l->items[i]);
}

/* Labels parted by dots; the first that is wrong is told. Returns how many there are. */
static size_t validate_labels_of(const char *segment, bool path, const struct field_path *at, struct field_errors *errs) {
    size_t n = 0;
    bool told = false;
    for (const char *p = segment;;) {
        size_t len = strcspn(p, ".");
        const char *label = arena_strndup(errs->arena, p, len);
        struct string_list msgs = {0};
        if (path) name_dns1123_subdomain(errs->arena, label, &msgs);
        else name_dns1123_label(errs->arena, label, &msgs);
        for (size_t i = 0; i < msgs.len && !told; i++) field_invalid(errs, at, segment, "validating label %s: %s", go_quote(errs->arena, label), msgs.items[i]);
        told |= msgs.len > 0;
        n++;
        if (!p[len]) return n;
        p += len + 1;
    }
}

void validate_signer_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    enum { DOMAIN_MAX = 253, PATH_MAX_LEN = 253 + 63 + 1 };
    const char *slash = strchr(str_or(name, ""), '/');
    if (str_empty(name)) {
        field_required(errs, at, "%s", "");
        return;
    }
    if (!slash || strchr(slash + 1, '/')) {
        field_invalid(errs, at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    }
    const char *domain = arena_strndup(errs->arena, name, (size_t)(slash - name));
    if (strlen(domain) > DOMAIN_MAX) field_too_long(errs, at, DOMAIN_MAX);
    if (validate_labels_of(domain, false, at, errs) < 2) field_invalid(errs, at, domain, "should be a domain with at least two segments separated by dots");
    validate_labels_of(slash + 1, true, at, errs);
    if (strlen(slash + 1) > PATH_MAX_LEN) field_too_long(errs, at, PATH_MAX_LEN);
}

/* ---- conditions ---- */

static bool has_condition(const struct certificatesv1_CertificateSigningRequest *csr, const char *type) {
    LIST_FOREACH(c, &csr->status.conditions)
        if (str_eq(c->type, type)) return true;
    return false;
}

static void validate_conditions(const struct certificatesv1_CertificateSigningRequest *csr, const struct certificatesv1_CertificateSigningRequest *old, const struct field_path *at, struct field_errors *errs) {
    static const char *const yes[] = {"True", NULL}, *const any[] = {"False", "True", "Unknown", NULL}, *const final[] = {"Approved", "Denied", "Failed", NULL};
    bool approved = false, denied = false, tolerated = old && has_condition(old, "Approved") && has_condition(old, "Denied");
    for (size_t i = 0; i < csr->status.conditions.len; i++) {
        const struct certificatesv1_CertificateSigningRequestCondition *c = &csr->status.conditions.items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        const char *const *allowed = str_in(str_or(c->type, ""), final) ? yes : any;
        if (str_empty(c->type)) field_required(errs, FIELD(p, "type"), "%s", "");
        if (str_empty(c->status)) field_required(errs, FIELD(p, "status"), "%s", "");
        else if (!str_in(c->status, allowed)) field_not_supported(errs, FIELD(p, "status"), c->status, allowed);
        bool is_approved = str_eq(c->type, "Approved"), is_denied = str_eq(c->type, "Denied");
        if (!tolerated && ((is_approved && denied) || (is_denied && approved))) field_invalid(errs, at, c->type, "Approved and Denied conditions are mutually exclusive");
        approved |= is_approved;
        denied |= is_denied;
        for (size_t j = 0; j < i; j++)
            if (str_eq(csr->status.conditions.items[j].type, c->type)) {
                field_duplicate(errs, FIELD(p, "type"), c->type);
                break;
            }
    }
}

static size_t count(const struct certificatesv1_CertificateSigningRequest *csr, const char *type) {
    size_t n = 0;
    LIST_FOREACH(c, &csr->status.conditions) n += str_eq(c->type, type);
    return n;
}

static bool same_conditions(const struct certificatesv1_CertificateSigningRequest *x, const struct certificatesv1_CertificateSigningRequest *y, const char *type) {
    LIST_FOREACH(c, &x->status.conditions) {
        if (!str_eq(c->type, type)) continue;
        bool same = false;
        LIST_FOREACH(d, &y->status.conditions) same |= object_equal(&certificatesv1_CertificateSigningRequestCondition_desc, c, d);
        if (!same) return false;
    }
    return true;
}

/* ---- all of it ---- */

static void validate(const struct certificatesv1_CertificateSigningRequest *csr, const struct certificatesv1_CertificateSigningRequest *old, struct field_errors *errs) {
    const struct field_path *spec = FIELD(NULL, "spec"), *status = FIELD(NULL, "status");
    const char *why = check_request(&csr->spec.request);
    if (why) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        json_write_base64(&text, csr->spec.request.data, csr->spec.request.len);
        field_invalid_raw(errs, FIELD(spec, "request"), arena_strdup(errs->arena, text.data), "%s", why);
    }
    validate_usages(&csr->spec.usages, FIELD(spec, "usages"), errs);
    if (!old && str_eq(csr->spec.signerName, "kubernetes.io/legacy-unknown"))
        field_invalid(errs, FIELD(spec, "signerName"), csr->spec.signerName, "the legacy signerName is not allowed via this API version");
    else validate_signer_name(csr->spec.signerName, FIELD(spec, "signerName"), errs);
    if (csr->spec.expirationSeconds.has && csr->spec.expirationSeconds.value < 600)
        field_invalid_int(errs, FIELD(spec, "expirationSeconds"), csr->spec.expirationSeconds.value, "may not specify a duration less than 600 seconds (10 minutes)");
    validate_conditions(csr, old, FIELD(status, "conditions"), errs);
    bool untouched = old && csr->status.certificate.len == old->status.certificate.len && (!csr->status.certificate.len || memcmp(csr->status.certificate.data, old->status.certificate.data, csr->status.certificate.len) == 0);
    if (!untouched && (why = check_certificates(errs->arena, &csr->status.certificate))) field_invalid(errs, FIELD(status, "certificate"), "<certificate data>", "%s", why);
}

void validate_csr(const void *obj, struct field_errors *errs) { validate(obj, NULL, errs); }

static void validate_update(const struct certificatesv1_CertificateSigningRequest *csr, const struct certificatesv1_CertificateSigningRequest *old, bool approval, bool certificate, struct field_errors *errs) {
    static const char *const types[] = {"Approved", "Denied", "Failed"};
    const struct field_path *status = FIELD(NULL, "status"), *conditions = FIELD(status, "conditions");
    validate(csr, old, errs);
    for (size_t i = 0; i < 3; i++)
        if (count(csr, types[i]) < count(old, types[i])) field_forbidden(errs, conditions, "updates may not remove a condition of type \"%s\"", types[i]);
    for (size_t i = 0; i < 2 && !approval; i++) {
        if (count(csr, types[i]) > count(old, types[i])) field_forbidden(errs, conditions, "updates may not add a condition of type \"%s\"", types[i]);
        else if (count(csr, types[i]) == count(old, types[i]) && !same_conditions(csr, old, types[i])) field_forbidden(errs, conditions, "updates may not modify a condition of type \"%s\"", types[i]);
    }
    const struct bytes *new = &csr->status.certificate, *was = &old->status.certificate;
    if (new->len == was->len && (!new->len || memcmp(new->data, was->data, new->len) == 0)) return;
    if (!certificate) field_forbidden(errs, FIELD(status, "certificate"), "updates may not set certificate content");
    else if (was->len) field_forbidden(errs, FIELD(status, "certificate"), "updates may not modify existing certificate content");
}

void validate_csr_update(const void *obj, const void *old, struct field_errors *errs) { validate_update(obj, old, false, false, errs); }
void validate_csr_status_update(const void *obj, const void *old, struct field_errors *errs) { validate_update(obj, old, false, true, errs); }
void validate_csr_approval_update(const void *obj, const void *old, struct field_errors *errs) { validate_update(obj, old, true, false, errs); }
