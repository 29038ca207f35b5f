/* ValidatingAdmissionPolicies: that a generation has been looked at. Upstream: pkg/controller/validatingadmissionpolicystatus. Warnings of type checking are not
 * computed: see docs/status.md. Tests: tests/unit/test_controller_cluster.c. */
#include "base/str.h"
#include "controller/controllers.h"

struct policy_status { struct controller *c; struct informer *policies; };

static int sync_policy(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct policy_status *ps = self;
    _cleanup_cached_ struct cached *cached = informer_get(ps->policies, NULL, key);
    if (!cached) return 0;
    const struct admissionregistrationv1_ValidatingAdmissionPolicy *p = CACHED(cached, admissionregistrationv1_ValidatingAdmissionPolicy);
    if (p->metadata.generation <= p->status.observedGeneration) return 0;
    struct admissionregistrationv1_ValidatingAdmissionPolicy *next = object_copy(a, &admissionregistrationv1_ValidatingAdmissionPolicy_desc, p);
    next->status.observedGeneration = p->metadata.generation;
    next->status.typeChecking = ARENA_NEW(a, struct admissionregistrationv1_TypeChecking);
    return client_update_status(ps->c->client, a, &admissionregistrationv1_ValidatingAdmissionPolicy_desc, next, NULL, reterr);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct policy_status *ps = calloc(1, sizeof(*ps));
    CHECK(ps);
    ps->c = c;
    ps->policies = informers_get(c->context->informers, &admissionregistrationv1_ValidatingAdmissionPolicy_desc);
    informer_add_handler(ps->policies, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    return ps;
}

const struct controller_desc controller_admission_policy_status = {.name = "validatingadmissionpolicy-status-controller", .queue = "validatingadmissionpolicy-status", .workers = 5, .new = new, .sync = sync_policy, .free = free};
