/* ClusterTrustBundles and PodCertificateRequests. Upstream: pkg/apis/certificates/validation. CertificateSigningRequests are in certificates.c. */
#include <string.h>
#include "api/validation/certificates.h"
#include "api/validation/groups.h"
#include "wire/x509_pem.h"

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
}

void validate_podcertificaterequest_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct certificatesv1beta1_PodCertificateRequest *r = obj, *old = old_obj;
    if (!object_equal(&certificatesv1beta1_PodCertificateRequestSpec_desc, &r->spec, &old->spec)) field_invalid_raw(errs, FIELD(NULL, "spec"), text_of_go(errs->arena, &certificatesv1beta1_PodCertificateRequestSpec_desc, &r->spec), "field is immutable");
}
