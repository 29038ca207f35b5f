/* CertificateSigningRequests: who asks is filled in, approval and signing are separate and have their own verbs.
 * Upstream: registry/certificates/certificates and plugin/pkg/admission/certificates. */
#include <string.h>
#include "api/field_error.h"
#include "api/time.h"
#include "api/validation/certificates.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "apiserver/authorization.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

#define GROUP "certificates.k8s.io"
typedef struct certificatesv1_CertificateSigningRequest csr_t;

static void any_name(struct arena *a UNUSED, const char *name UNUSED, bool prefix UNUSED, struct string_list *msgs UNUSED) {}

static void csr_create(struct api_request *r, void *obj) {
    csr_t *csr = obj;
    csr->spec.username = r->user.name;
    csr->spec.uid = r->user.uid;
    csr->spec.groups = r->user.groups;
    csr->spec.extra = r->user.extra;
    csr->status = (struct certificatesv1_CertificateSigningRequestStatus){0};
}

static void csr_update(struct api_request *r UNUSED, void *obj, const void *old) {
    ((csr_t *)obj)->spec = ((const csr_t *)old)->spec;
    ((csr_t *)obj)->status = ((const csr_t *)old)->status;
}

/* Times that the client leaves out: now, or for a condition that is as it was, as it was. */
static void fill_times(struct api_request *r, csr_t *csr, const csr_t *old) {
    struct api_time now = time_from_s(env_now_s(apiserver_env(r->server)));
    LIST_FOREACH(c, &csr->status.conditions) {
        if (!c->lastUpdateTime.set) c->lastUpdateTime = now;
        if (c->lastTransitionTime.set) continue;
        c->lastTransitionTime = now;
        LIST_FOREACH(o, &old->status.conditions)
            if (str_eq(o->type, c->type) && str_eq(o->status, c->status) && o->lastTransitionTime.set) c->lastTransitionTime = o->lastTransitionTime;
    }
}

/* Approvals cannot be changed here: an entry of the type stays what it was. */
static void keep_condition(csr_t *csr, const csr_t *old, const char *type) {
    const struct certificatesv1_CertificateSigningRequestCondition *was = NULL;
    LIST_FOREACH(o, &old->status.conditions)
        if (str_eq(o->type, type)) was = o;
    LIST_FOREACH(c, &csr->status.conditions)
        if (was && str_eq(c->type, type)) *c = *was;
}

static void csr_status_update(struct api_request *r, void *obj, const void *old) {
    csr_t *csr = obj;
    csr->spec = ((const csr_t *)old)->spec;
    keep_condition(csr, old, "Approved");
    keep_condition(csr, old, "Denied");
    fill_times(r, csr, old);
}

static void csr_approval_update(struct api_request *r, void *obj, const void *old) {
    csr_t *csr = obj;
    fill_times(r, csr, old);
    struct certificatesv1_CertificateSigningRequestCondition_list conditions = csr->status.conditions;
    csr_update(r, obj, old);
    csr->status.conditions = conditions;
}

static const char *csr_field(struct arena *a UNUSED, const void *obj, const char *name) { return strcmp(name, "spec.signerName") == 0 ? ((const csr_t *)obj)->spec.signerName : NULL; }
static const char *const csr_fields[] = {"spec.signerName", NULL};

#define CSR_STRATEGY .group = GROUP, .version = "v1", .resource = "certificatesigningrequests", .type = &certificatesv1_CertificateSigningRequest_desc, .validate_name = any_name, .flags = META_TWICE, .selectable_fields = csr_fields, .field = csr_field
const struct strategy csr_strategy = {CSR_STRATEGY, .prepare_create = csr_create, .prepare_update = csr_update, .validate = validate_csr, .validate_update = validate_csr_update,
    .prepare_status_update = csr_status_update, .validate_status_update = validate_csr_status_update};
const struct strategy csr_approval_strategy = {CSR_STRATEGY, .prepare_update = csr_approval_update, .validate_update = validate_csr_approval_update};

/* ---- admission: CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest ---- */

static bool may(struct api_request *r, const char *verb, const char *signer) {
    struct authz_attributes at = {.user = &r->user, .resource_request = true, .verb = verb, .group = GROUP, .version = "*", .resource = "signers", .name = signer};
    if (authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, NULL) == AUTHZ_ALLOW) return true;
    at.name = arena_printf(r->arena, "%.*s/*", (int)strcspn(signer, "/"), signer); /* all signers of the domain */
    return authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, NULL) == AUTHZ_ALLOW;
}

static bool status_equal(const csr_t *x, const csr_t *y) {
    return object_equal(&certificatesv1_CertificateSigningRequestStatus_desc, &x->status, &y->status);
}

/* What the old one says counts: nobody gets another signer's right by changing the name on the way. */
int certificate_approval(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const char *signer = str_or(((const csr_t *)a->old)->spec.signerName, "");
    if (!str_eq(a->o->subresource, "approval") || may(a->r, "approve", signer)) return 0;
    return ADMISSION_FORBID(a, reterr, "user not permitted to approve requests with signerName %s", go_quote(a->r->arena, signer));
}

int certificate_signing(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const char *signer = str_or(((const csr_t *)a->old)->spec.signerName, "");
    if (!str_eq(a->o->subresource, "status") || status_equal(a->obj, a->old) || may(a->r, "sign", signer)) return 0;
    return ADMISSION_FORBID(a, reterr, "user not permitted to sign requests with signerName %s", go_quote(a->r->arena, signer));
}

int certificate_subject_restriction(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const csr_t *csr = a->obj;
    if (a->o->subresource || !str_eq(csr->spec.signerName, "kubernetes.io/kube-apiserver-client") || !csr_has_organization(&csr->spec.request, "system:masters")) return 0;
    return admission_forbid(a, "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed", reterr);
}

/* Whether nothing but owners and finalizers changes: the garbage collector's writes. Upstream: registry/rbac IsOnlyMutatingGCFields. */
static bool only_collects(const struct certificatesv1beta1_ClusterTrustBundle *now, const struct certificatesv1beta1_ClusterTrustBundle *old) {
    struct certificatesv1beta1_ClusterTrustBundle x = *now, y = *old;
    x.metadata.ownerReferences = y.metadata.ownerReferences;
    x.metadata.finalizers = y.metadata.finalizers;
    x.metadata.managedFields = y.metadata.managedFields;
    x.apiVersion = y.apiVersion;
    x.kind = y.kind;
    return object_equal(&certificatesv1beta1_ClusterTrustBundle_desc, &x, &y);
}

int cluster_trust_bundle_attest(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct certificatesv1beta1_ClusterTrustBundle *b = a->obj;
    if (str_empty(b->spec.signerName) || (a->op == ADMIT_UPDATE && only_collects(b, a->old)) || may(a->r, "attest", b->spec.signerName)) return 0;
    return ADMISSION_FORBID(a, reterr, "user not permitted to attest for signerName %s", go_quote(a->r->arena, b->spec.signerName));
}
