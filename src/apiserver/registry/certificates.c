/* CertificateSigningRequests: who asks is filled in, approval and signing are separate and have their own verbs.
 * Upstream: registry/certificates/certificates and plugin/pkg/admission/certificates. */
#include "apiserver/registry/certificates.h"
#include <string.h>
#include "api/field_error.h"
#include "api/time.h"
#include "api/validation/certificates.h"
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

#define CSR_STRATEGY .group = GROUP, .version = "v1", .resource = "certificatesigningrequests", .type = &certificatesv1_CertificateSigningRequest_desc, .validate_name = any_name, .selectable_fields = csr_fields, .field = csr_field
const struct strategy csr_strategy = {CSR_STRATEGY, .prepare_create = csr_create, .prepare_update = csr_update, .validate = validate_csr, .validate_update = validate_csr_update,
    .prepare_status_update = csr_status_update, .validate_status_update = validate_csr_status_update};
const struct strategy csr_approval_strategy = {CSR_STRATEGY, .prepare_update = csr_approval_update, .validate_update = validate_csr_approval_update};

/* ---- admission: CertificateApproval, CertificateSigning, CertificateSubjectRestriction ---- */

static bool may(struct api_request *r, const char *verb, const char *signer) {
    struct authz_attributes at = {.user = &r->user, .resource_request = true, .verb = verb, .group = GROUP, .version = "*", .resource = "signers", .name = signer};
    if (authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, NULL) == AUTHZ_ALLOW) return true;
    at.name = arena_printf(r->arena, "%.*s/*", (int)strcspn(signer, "/"), signer); /* all signers of the domain */
    return authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, NULL) == AUTHZ_ALLOW;
}

static bool status_equal(const csr_t *x, const csr_t *y) {
    return object_equal(&certificatesv1_CertificateSigningRequestStatus_desc, &x->status, &y->status);
}

int certificates_admission(struct api_request *r, enum admission_operation op, const void *obj, const void *old, const char *subresource, struct status *reterr) {
    const csr_t *csr = obj, *was = old;
    bool approval = op == ADMIT_UPDATE && str_eq(subresource, "approval"), status = op == ADMIT_UPDATE && str_eq(subresource, "status");
    const char *why = NULL, *signer = str_or(was ? was->spec.signerName : csr->spec.signerName, "");
    if (approval && !may(r, "approve", signer)) why = arena_printf(r->arena, "user not permitted to approve requests with signerName %s", go_quote(r->arena, signer));
    if (status && !status_equal(csr, was) && !may(r, "sign", signer)) why = arena_printf(r->arena, "user not permitted to sign requests with signerName %s", go_quote(r->arena, signer));
    if (op == ADMIT_CREATE && !subresource && strcmp(signer, "kubernetes.io/kube-apiserver-client") == 0 && csr_has_organization(&csr->spec.request, "system:masters"))
        why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
    return why ? status_forbidden(reterr, GROUP, "certificatesigningrequests", (was ? was : csr)->metadata.name, why) : 0;
}
