/* ClusterTrustBundles and PodCertificateRequests. Upstream: pkg/apis/certificates/validation. CertificateSigningRequests are in certificates.c. */
#include <string.h>
#include "api/validation/certificates.h"
#include "api/validation/groups.h"
#include "wire/json.h"
#include "wire/x509_pem.h"
#include "wire/x509_possession.h"

enum { TRUST_BUNDLE_BYTES_MAX = 1 << 20, POSSESSION_BYTES_MAX = 10 * 1024 };

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
        validate_signer_name(signer, FIELD(at, "signerName"), errs);
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

/* An error that does not show the value. */
static void omitted(struct field_errors *errs, const struct field_path *at, const char *detail) { field_error_add(errs, "FieldValueInvalid", at, "Invalid value: %s", detail); }

static void check_stub_request(const struct certificatesv1beta1_PodCertificateRequestSpec *s, const struct field_path *at, struct field_errors *errs) {
    struct possession_key key;
    if (s->stubPKCS10Request.len > POSSESSION_BYTES_MAX) {
        field_too_long(errs, at, POSSESSION_BYTES_MAX);
        return;
    }
    switch (x509_possession_by_request(s->stubPKCS10Request.data, s->stubPKCS10Request.len, &key)) {
    case POSSESSION_SHOWN: break;
    case POSSESSION_UNREADABLE: omitted(errs, at, "must be a valid PKCS#10 CSR"); break;
    case POSSESSION_KEY_TYPE: omitted(errs, at, "unknown public key type; supported types are Ed25519, ECDSA, and RSA"); break;
    case POSSESSION_CURVE: field_invalid(errs, at, arena_printf(errs->arena, "curve %s", key.curve), "elliptic public keys must use curve P256, P384, or P521"); break;
    case POSSESSION_MODULUS: field_invalid(errs, at, arena_printf(errs->arena, "%d-bit modulus", key.bits), "RSA keys must have modulus size 3072 or 4096"); break;
    case POSSESSION_SIGNATURE: omitted(errs, at, "invalid signature"); break;
    }
}

static void check_signed_key(const struct certificatesv1beta1_PodCertificateRequestSpec *s, const struct field_path *spec, struct field_errors *errs) {
    const struct field_path *key_at = FIELD(spec, "pkixPublicKey"), *proof_at = FIELD(spec, "proofOfPossession");
    const char *uid = str_or(s->podUID, ""), *raw;
    _cleanup_buf_ struct buf base64 = BUF_INIT;
    struct possession_key key;
    base64_encode(&base64, s->pkixPublicKey.data, s->pkixPublicKey.len);
    raw = arena_printf(errs->arena, "\"%s\"", buf_cstr(&base64));
    if (s->pkixPublicKey.len > POSSESSION_BYTES_MAX || s->proofOfPossession.len > POSSESSION_BYTES_MAX) {
        field_too_long(errs, s->pkixPublicKey.len > POSSESSION_BYTES_MAX ? key_at : proof_at, POSSESSION_BYTES_MAX);
        return;
    }
    switch (x509_possession_by_signature(s->pkixPublicKey.data, s->pkixPublicKey.len, uid, strlen(uid), s->proofOfPossession.data, s->proofOfPossession.len, &key)) {
    case POSSESSION_SHOWN: break;
    case POSSESSION_UNREADABLE: field_invalid_raw(errs, key_at, raw, "must be a valid PKIX-serialized public key"); break;
    case POSSESSION_KEY_TYPE: field_invalid_raw(errs, key_at, raw, "unknown public key type; supported types are Ed25519, ECDSA, and RSA"); break;
    case POSSESSION_CURVE: field_invalid(errs, key_at, arena_printf(errs->arena, "curve %s", key.curve), "elliptic public keys must use curve P256 or P384"); break;
    case POSSESSION_MODULUS: field_invalid(errs, key_at, arena_printf(errs->arena, "%d-bit modulus", key.bits), "RSA keys must have modulus size 3072 or 4096"); break;
    case POSSESSION_SIGNATURE: omitted(errs, proof_at, "could not verify proof-of-possession signature"); break;
    }
}

/* Whoever asks must have the key: by a request that it signed, or by its signature of the Pod's UID. */
static void check_possession(const struct certificatesv1beta1_PodCertificateRequestSpec *s, const struct field_path *at, struct field_errors *errs) {
    bool stub = s->stubPKCS10Request.len, key = s->pkixPublicKey.len, proof = s->proofOfPossession.len;
    if (stub && !key && !proof) check_stub_request(s, FIELD(at, "stubPKCS10Request"), errs);
    else if (!stub && key && proof) check_signed_key(s, at, errs);
    else omitted(errs, at, "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set");
}

void validate_podcertificaterequest(const void *obj, struct field_errors *errs) {
    const struct certificatesv1beta1_PodCertificateRequestSpec *s = &((const struct certificatesv1beta1_PodCertificateRequest *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    validate_signer_name(s->signerName, FIELD(at, "signerName"), errs);
    CHECK_NAME(errs, FIELD(at, "podName"), s->podName, name_dns1123_subdomain);
    if (str_empty(s->podUID)) field_required(errs, FIELD(at, "podUID"), "%s", "");
    CHECK_NAME(errs, FIELD(at, "serviceAccountName"), s->serviceAccountName, name_dns1123_subdomain);
    if (str_empty(s->serviceAccountUID)) field_required(errs, FIELD(at, "serviceAccountUID"), "%s", "");
    CHECK_NAME(errs, FIELD(at, "nodeName"), s->nodeName, name_dns1123_subdomain);
    if (str_empty(s->nodeUID)) field_required(errs, FIELD(at, "nodeUID"), "%s", "");
    if (s->maxExpirationSeconds.has && (s->maxExpirationSeconds.value < 3600 || s->maxExpirationSeconds.value > 91 * 86400)) field_invalid_int(errs, FIELD(at, "maxExpirationSeconds"), s->maxExpirationSeconds.value, "must be in the range [3600, 7862400]");
    check_possession(s, at, errs);
}

void validate_podcertificaterequest_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct certificatesv1beta1_PodCertificateRequest *r = obj, *old = old_obj;
    if (!object_equal(&certificatesv1beta1_PodCertificateRequestSpec_desc, &r->spec, &old->spec)) field_invalid_raw(errs, FIELD(NULL, "spec"), text_of_go(errs->arena, &certificatesv1beta1_PodCertificateRequestSpec_desc, &r->spec), "field is immutable");
}
