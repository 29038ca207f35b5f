/* certificates.k8s.io. Upstream: pkg/apis/certificates/validation. */
#include <string.h>
#include "api/validation/groups.h"
#include "wire/json.h"
#include "wire/x509_pem.h"

/* What an update may do, and what it tolerates because it was there before. */
struct csr_options { bool set_approval, set_certificate, both, legacy_signer, duplicate_conditions, empty_types, any_certificate, unknown_usages, duplicate_usages; };

static const char *const usages_known[] = {"any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection",
    "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping", NULL};

/* core's ValidateSignerName: domain/path */
static void signer_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    static const char form[] = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    if (str_empty(name)) {
        field_required(errs, at, "%s", "");
        return;
    }
    const char *slash = strchr(name, '/');
    if (!slash || strchr(slash + 1, '/')) {
        field_invalid(errs, at, name, "%s", form);
        return;
    }
    const char *domain = arena_strndup(errs->arena, name, (size_t)(slash - name)), *path = slash + 1;
    struct string_list msgs = {0};
    name_dns1123_subdomain(errs->arena, domain, &msgs);
    for (size_t i = 0; i < msgs.len; i++) field_invalid(errs, at, domain, "validating label %s: %s", go_quote(errs->arena, domain), msgs.items[i]);
    if (!strchr(domain, '.')) field_invalid(errs, at, domain, "should be a domain with at least two segments separated by dots");
    msgs = (struct string_list){0};
    name_dns1123_subdomain(errs->arena, path, &msgs);
    for (size_t i = 0; i < msgs.len; i++) field_invalid(errs, at, path, "validating label %s: %s", go_quote(errs->arena, path), msgs.items[i]);
    if (strlen(name) > 571) field_too_long(errs, at, 571);
}

static void usages(const struct string_list *list, const struct csr_options *o, const struct field_path *at, struct field_errors *errs) {
    struct string_list seen = {0};
    if (!list->len) field_required(errs, at, "%s", "");
    for (size_t i = 0; !o->unknown_usages && i < list->len; i++) check_supported(errs, FIELD_INDEX(at, i), list->items[i], usages_known);
    for (size_t i = 0; !o->duplicate_usages && i < list->len; i++) check_duplicate(errs, FIELD_INDEX(at, i), &seen, list->items[i]);
}

static void csr_conditions(const struct certificatesv1_CertificateSigningRequestStatus *s, const struct csr_options *o, struct field_errors *errs) {
    const struct field_path *all = FIELD(FIELD(NULL, "status"), "conditions");
    struct string_list seen = {0};
    for (size_t i = 0; i < s->conditions.len; i++) {
        const struct certificatesv1_CertificateSigningRequestCondition *c = &s->conditions.items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        bool final = str_eq(c->type, "Approved") || str_eq(c->type, "Denied") || str_eq(c->type, "Failed");
        if (!o->empty_types && str_empty(c->type)) field_required(errs, FIELD(at, "type"), "%s", "");
        if (str_empty(c->status)) field_required(errs, FIELD(at, "status"), "%s", "");
        else check_supported(errs, FIELD(at, "status"), c->status, final ? ONE_OF("True") : ONE_OF("False", "True", "Unknown"));
        const char *other = str_eq(c->type, "Approved") ? "Denied" : str_eq(c->type, "Denied") ? "Approved" : NULL;
        if (!o->both && other && string_list_has(&seen, other)) field_invalid(errs, all, c->type, "Approved and Denied conditions are mutually exclusive");
        if (!o->duplicate_conditions && string_list_has(&seen, c->type)) field_duplicate(errs, FIELD(at, "type"), c->type);
        string_list_push(errs->arena, &seen, str_or(c->type, ""));
    }
}

static void csr(const struct certificatesv1_CertificateSigningRequest *r, const struct csr_options *o, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec");
    _cleanup_status_ struct status err = STATUS_INIT;
    if (x509_request_check(r->spec.request.data, r->spec.request.len, &err) != 0) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        json_write_base64(&text, r->spec.request.data, r->spec.request.len);
        field_invalid_raw(errs, FIELD(at, "request"), arena_strdup(errs->arena, buf_cstr(&text)), "%s", err.message);
    }
    usages(&r->spec.usages, o, FIELD(at, "usages"), errs);
    if (!o->legacy_signer && str_eq(r->spec.signerName, "kubernetes.io/legacy-unknown")) field_invalid(errs, FIELD(at, "signerName"), r->spec.signerName, "the legacy signerName is not allowed via this API version");
    else signer_name(r->spec.signerName, FIELD(at, "signerName"), errs);
    if (r->spec.expirationSeconds.has && r->spec.expirationSeconds.value < 600) field_invalid_int(errs, FIELD(at, "expirationSeconds"), r->spec.expirationSeconds.value, "may not specify a duration less than 600 seconds (10 minutes)");
    csr_conditions(&r->status, o, errs);
    _cleanup_status_ struct status cert = STATUS_INIT;
    if (!o->any_certificate && r->status.certificate.len && x509_certificates_check(r->status.certificate.data, r->status.certificate.len, &cert) != 0)
        field_invalid(errs, FIELD(FIELD(NULL, "status"), "certificate"), "<certificate data>", "%s", cert.message);
}

void validate_csr(const void *obj, struct field_errors *errs) { csr(obj, &(struct csr_options){0}, errs); }

static size_t count_conditions(const struct certificatesv1_CertificateSigningRequest *r, const char *type) {
    size_t n = 0;
    LIST_FOREACH(c, &r->status.conditions) n += str_eq(c->type, type);
    return n;
}

static bool same_conditions(const struct certificatesv1_CertificateSigningRequest *a, const struct certificatesv1_CertificateSigningRequest *b, const char *type) {
    size_t i = 0;
    LIST_FOREACH(c, &a->status.conditions) {
        if (!str_eq(c->type, type)) continue;
        while (i < b->status.conditions.len && !str_eq(b->status.conditions.items[i].type, type)) i++;
        if (i == b->status.conditions.len || !object_equal(&certificatesv1_CertificateSigningRequestCondition_desc, c, &b->status.conditions.items[i++])) return false;
    }
    return true;
}

static bool same_certificate(const struct certificatesv1_CertificateSigningRequest *a, const struct certificatesv1_CertificateSigningRequest *b) {
    const struct bytes *x = &a->status.certificate, *y = &b->status.certificate;
    return x->len == y->len && (x->len == 0 || memcmp(x->data, y->data, x->len) == 0);
}

static struct csr_options options_for(struct arena *a, const struct certificatesv1_CertificateSigningRequest *r, const struct certificatesv1_CertificateSigningRequest *old) {
    struct csr_options o = {.both = count_conditions(old, "Approved") && count_conditions(old, "Denied"), .legacy_signer = str_eq(old->spec.signerName, "kubernetes.io/legacy-unknown")};
    struct string_list types = {0}, seen = {0};
    LIST_FOREACH(c, &old->status.conditions) {
        o.empty_types |= str_empty(c->type);
        o.duplicate_conditions |= string_list_has(&types, c->type);
        string_list_push(a, &types, str_or(c->type, ""));
    }
    for (size_t i = 0; i < old->spec.usages.len; i++) {
        o.unknown_usages |= !str_in(str_or(old->spec.usages.items[i], ""), usages_known);
        o.duplicate_usages |= string_list_has(&seen, old->spec.usages.items[i]);
        string_list_push(a, &seen, old->spec.usages.items[i]);
    }
    o.any_certificate = same_certificate(r, old);
    return o;
}

static void csr_update(const void *obj, const void *old_obj, bool set_approval, bool set_certificate, struct field_errors *errs) {
    static const char *const types[] = {"Approved", "Denied", "Failed"};
    const struct certificatesv1_CertificateSigningRequest *r = obj, *old = old_obj;
    const struct field_path *conditions = FIELD(FIELD(NULL, "status"), "conditions"), *certificate = FIELD(FIELD(NULL, "status"), "certificate");
    struct csr_options o = options_for(errs->arena, r, old);
    csr(r, &o, errs);
    for (size_t i = 0; i < 3; i++)
        if (count_conditions(r, types[i]) < count_conditions(old, types[i])) field_forbidden(errs, conditions, "updates may not remove a condition of type \"%s\"", types[i]);
    for (size_t i = 0; !set_approval && i < 2; i++) {
        size_t now = count_conditions(r, types[i]), before = count_conditions(old, types[i]);
        if (now > before) field_forbidden(errs, conditions, "updates may not add a condition of type \"%s\"", types[i]);
        else if (now == before && !same_conditions(r, old, types[i])) field_forbidden(errs, conditions, "updates may not modify a condition of type \"%s\"", types[i]);
    }
    if (same_certificate(r, old)) return;
    if (!set_certificate) field_forbidden(errs, certificate, "updates may not set certificate content");
    else if (old->status.certificate.len) field_forbidden(errs, certificate, "updates may not modify existing certificate content");
}

void validate_csr_update(const void *obj, const void *old, struct field_errors *errs) { csr_update(obj, old, false, false, errs); }
void validate_csr_status(const void *obj, const void *old, struct field_errors *errs) { csr_update(obj, old, false, true, errs); }
void validate_csr_approval(const void *obj, const void *old, struct field_errors *errs) { csr_update(obj, old, true, false, errs); }

/* ---- ClusterTrustBundle, PodCertificateRequest ---- */

enum { TRUST_BUNDLE_BYTES_MAX = 1 << 20 };

void validate_clustertrustbundle(const void *obj, struct field_errors *errs) {
    const struct certificatesv1beta1_ClusterTrustBundle *b = obj;
    const struct field_path *at = FIELD(NULL, "spec"), *name = FIELD(FIELD(NULL, "metadata"), "name");
    const char *signer = str_or(b->spec.signerName, ""), *bundle = str_or(b->spec.trustBundle, "");
    if (*signer) {
        char *prefix = arena_printf(errs->arena, "%s:", signer);
        for (char *p = prefix; *p; p++)
            if (*p == '/') *p = ':';
        if (!str_has_prefix(str_or(b->metadata.name, ""), prefix)) field_invalid(errs, name, b->metadata.name, "ClusterTrustBundle for signerName %s must be named with prefix %s", signer, prefix);
        else CHECK_NAME(errs, name, b->metadata.name + strlen(prefix), name_dns1123_subdomain);
        signer_name(signer, FIELD(at, "signerName"), errs);
    } else CHECK_NAME(errs, name, b->metadata.name, name_dns1123_subdomain);
    if (!*bundle) field_required(errs, FIELD(at, "trustBundle"), "%s", "");
    else if (strlen(bundle) > TRUST_BUNDLE_BYTES_MAX) field_too_long(errs, FIELD(at, "trustBundle"), TRUST_BUNDLE_BYTES_MAX);
    else {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (x509_certificates_check(bundle, strlen(bundle), &err) != 0) field_invalid(errs, FIELD(at, "trustBundle"), "<value omitted>", "%s", err.message);
    }
}

void validate_clustertrustbundle_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_clustertrustbundle(obj, errs);
    check_immutable_string(errs, FIELD(FIELD(NULL, "spec"), "signerName"), ((const struct certificatesv1beta1_ClusterTrustBundle *)obj)->spec.signerName, ((const struct certificatesv1beta1_ClusterTrustBundle *)old)->spec.signerName);
}

void validate_podcertificaterequest(const void *obj, struct field_errors *errs) {
    const struct certificatesv1beta1_PodCertificateRequestSpec *s = &((const struct certificatesv1beta1_PodCertificateRequest *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    signer_name(s->signerName, FIELD(at, "signerName"), errs);
    CHECK_NAME(errs, FIELD(at, "podName"), s->podName, name_dns1123_subdomain);
    if (str_empty(s->podUID)) field_required(errs, FIELD(at, "podUID"), "%s", "");
    CHECK_NAME(errs, FIELD(at, "serviceAccountName"), s->serviceAccountName, name_dns1123_subdomain);
    if (str_empty(s->serviceAccountUID)) field_required(errs, FIELD(at, "serviceAccountUID"), "%s", "");
    CHECK_NAME(errs, FIELD(at, "nodeName"), s->nodeName, name_dns1123_subdomain);
    if (str_empty(s->nodeUID)) field_required(errs, FIELD(at, "nodeUID"), "%s", "");
    if (s->maxExpirationSeconds.has && (s->maxExpirationSeconds.value < 3600 || s->maxExpirationSeconds.value > 91 * 86400)) field_invalid_int(errs, FIELD(at, "maxExpirationSeconds"), s->maxExpirationSeconds.value, "must be in the range [3600, 7862400]");
}

void validate_podcertificaterequest_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct certificatesv1beta1_PodCertificateRequest *r = obj, *old = old_obj;
    if (!object_equal(&certificatesv1beta1_PodCertificateRequestSpec_desc, &r->spec, &old->spec)) field_invalid_raw(errs, FIELD(NULL, "spec"), text_of_go(errs->arena, &certificatesv1beta1_PodCertificateRequestSpec_desc, &r->spec), "field is immutable");
}
