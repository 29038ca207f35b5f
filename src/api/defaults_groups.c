/* Defaults of admissionregistration, apiregistration, autoscaling, flowcontrol, resource and scheduling. Upstream: pkg/apis/GROUP/VERSION/defaults.go. */
#include "api/defaults_groups.h"
#include <string.h>
#include "base/str.h"

#define DEFAULT_STR(field, value) ((field) = str_empty(field) ? (value) : (field))
#define DEFAULT_PTR(field, value) ((field) = (field) ? (field) : (value)) /* "" stays */
#define DEFAULT_OPT(field, v) ((field).has ? (void)0 : ((field).has = true, (field).value = (v), (void)0))
#define DEFAULT_STRUCT(a, field) ((field) = (field) ? (field) : arena_alloc((a), sizeof(*(field))))

/* ---- autoscaling ---- */

static struct autoscalingv2_HPAScalingRules *scaling_rules(struct arena *a, const struct autoscalingv2_HPAScalingRules *given, bool up) {
    struct autoscalingv2_HPAScalingRules *r = ARENA_NEW(a, struct autoscalingv2_HPAScalingRules);
    if (given) *r = *given;
    DEFAULT_PTR(r->selectPolicy, "Max");
    if (up) DEFAULT_OPT(r->stabilizationWindowSeconds, 0);
    if (r->policies.items) return r;
    if (up) *LIST_PUSH(a, &r->policies) = (struct autoscalingv2_HPAScalingPolicy){"Pods", 4, 15};
    *LIST_PUSH(a, &r->policies) = (struct autoscalingv2_HPAScalingPolicy){"Percent", 100, 15};
    return r;
}

static void hpa_v2(struct arena *a, void *obj) {
    struct autoscalingv2_HorizontalPodAutoscalerSpec *s = &((struct autoscalingv2_HorizontalPodAutoscaler *)obj)->spec;
    DEFAULT_OPT(s->minReplicas, 1);
    if (!s->metrics.len) {
        struct autoscalingv2_MetricSpec *m = LIST_PUSH(a, &s->metrics);
        m->type = "Resource";
        m->resource = ARENA_NEW(a, struct autoscalingv2_ResourceMetricSource);
        *m->resource = (struct autoscalingv2_ResourceMetricSource){"cpu", {.type = "Utilization", .averageUtilization = OPT(80)}};
    }
    if (!s->behavior) return;
    s->behavior->scaleUp = scaling_rules(a, s->behavior->scaleUp, true);
    s->behavior->scaleDown = scaling_rules(a, s->behavior->scaleDown, false);
}

static void hpa_v1(struct arena *a, void *obj) {
    (void)a;
    DEFAULT_OPT(((struct autoscalingv1_HorizontalPodAutoscaler *)obj)->spec.minReplicas, 1);
}

/* ---- flowcontrol ---- */

static void flow_schema(struct arena *a, void *obj) {
    struct flowcontrolv1_FlowSchemaSpec *s = &((struct flowcontrolv1_FlowSchema *)obj)->spec;
    (void)a;
    if (s->matchingPrecedence == 0) s->matchingPrecedence = 1000;
}

static void priority_level(struct arena *a, void *obj) {
    struct flowcontrolv1_PriorityLevelConfigurationSpec *s = &((struct flowcontrolv1_PriorityLevelConfiguration *)obj)->spec;
    (void)a;
    if (s->exempt) {
        DEFAULT_OPT(s->exempt->nominalConcurrencyShares, 0);
        DEFAULT_OPT(s->exempt->lendablePercent, 0);
    }
    if (!s->limited) return;
    DEFAULT_OPT(s->limited->nominalConcurrencyShares, 30);
    DEFAULT_OPT(s->limited->lendablePercent, 0);
    struct flowcontrolv1_QueuingConfiguration *q = s->limited->limitResponse.queuing;
    if (!q) return;
    if (q->queues == 0) q->queues = 64;
    if (q->handSize == 0) q->handSize = 8;
    if (q->queueLengthLimit == 0) q->queueLengthLimit = 50;
}

/* ---- admissionregistration: three versions of one form ---- */

#define WEBHOOK(a, h)                                   \
    do {                                                \
        DEFAULT_PTR((h)->failurePolicy, "Fail");        \
        DEFAULT_PTR((h)->matchPolicy, "Equivalent");    \
        DEFAULT_STRUCT(a, (h)->namespaceSelector);      \
        DEFAULT_STRUCT(a, (h)->objectSelector);         \
        DEFAULT_OPT((h)->timeoutSeconds, 10);           \
        if ((h)->clientConfig.service) DEFAULT_OPT((h)->clientConfig.service->port, 443); \
        LIST_FOREACH(rule_, &(h)->rules) DEFAULT_PTR(rule_->scope, "*");                  \
    } while (0)

static void validating_webhooks(struct arena *a, void *obj) {
    LIST_FOREACH(h, &((struct admissionregistrationv1_ValidatingWebhookConfiguration *)obj)->webhooks) WEBHOOK(a, h);
}

static void mutating_webhooks(struct arena *a, void *obj) {
    LIST_FOREACH(h, &((struct admissionregistrationv1_MutatingWebhookConfiguration *)obj)->webhooks) {
        WEBHOOK(a, h);
        DEFAULT_PTR(h->reinvocationPolicy, "Never");
    }
}

#define MATCH_RESOURCES(a, m)                                                          \
    do {                                                                               \
        if (!(m)) break;                                                               \
        DEFAULT_PTR((m)->matchPolicy, "Equivalent");                                   \
        DEFAULT_STRUCT(a, (m)->namespaceSelector);                                     \
        DEFAULT_STRUCT(a, (m)->objectSelector);                                        \
        LIST_FOREACH(rule_, &(m)->resourceRules) DEFAULT_PTR(rule_->scope, "*");       \
        LIST_FOREACH(rule_, &(m)->excludeResourceRules) DEFAULT_PTR(rule_->scope, "*"); \
    } while (0)

static void validating_policy(struct arena *a, void *obj) {
    struct admissionregistrationv1_ValidatingAdmissionPolicySpec *s = &((struct admissionregistrationv1_ValidatingAdmissionPolicy *)obj)->spec;
    DEFAULT_PTR(s->failurePolicy, "Fail");
    MATCH_RESOURCES(a, s->matchConstraints);
}
static void validating_binding(struct arena *a, void *obj) { MATCH_RESOURCES(a, ((struct admissionregistrationv1_ValidatingAdmissionPolicyBinding *)obj)->spec.matchResources); }

#define MUTATING(version)                                                                                                   \
    static void mutating_policy_##version(struct arena *a, void *obj) {                                                     \
        struct admissionregistration##version##_MutatingAdmissionPolicySpec *s = &((struct admissionregistration##version##_MutatingAdmissionPolicy *)obj)->spec; \
        DEFAULT_PTR(s->failurePolicy, "Fail");                                                                              \
        MATCH_RESOURCES(a, s->matchConstraints);                                                                            \
    }                                                                                                                       \
    static void mutating_binding_##version(struct arena *a, void *obj) { MATCH_RESOURCES(a, ((struct admissionregistration##version##_MutatingAdmissionPolicyBinding *)obj)->spec.matchResources); }
MUTATING(v1)
MUTATING(v1beta1)
MUTATING(v1alpha1)

/* ---- resource.k8s.io ---- */

#define MODE_AND_COUNT(r)                                                     \
    do {                                                                      \
        DEFAULT_STR((r)->allocationMode, "ExactCount");                       \
        if (str_eq((r)->allocationMode, "ExactCount") && (r)->count == 0) (r)->count = 1; \
        LIST_FOREACH(t_, &(r)->tolerations) DEFAULT_STR(t_->operator, "Equal"); \
    } while (0)

#define CLAIM_SPEC(version, nested)                                                                      \
    static void claim_spec_##version(struct resource##version##_ResourceClaimSpec *s) {                  \
        LIST_FOREACH(r, &s->devices.requests) {                                                          \
            nested;                                                                                      \
            LIST_FOREACH(sub, &r->firstAvailable) MODE_AND_COUNT(sub);                                   \
        }                                                                                                \
    }                                                                                                    \
    static void claim_##version(struct arena *a, void *obj) {                                            \
        (void)a;                                                                                         \
        claim_spec_##version(&((struct resource##version##_ResourceClaim *)obj)->spec);                  \
    }                                                                                                    \
    static void claim_template_##version(struct arena *a, void *obj) {                                   \
        (void)a;                                                                                         \
        claim_spec_##version(&((struct resource##version##_ResourceClaimTemplate *)obj)->spec.spec);     \
    }
CLAIM_SPEC(v1, if (r->exactly) MODE_AND_COUNT(r->exactly))
CLAIM_SPEC(v1beta2, if (r->exactly) MODE_AND_COUNT(r->exactly))
CLAIM_SPEC(v1beta1, if (!str_empty(r->deviceClassName)) MODE_AND_COUNT(r))

/* ---- the rest ---- */

static void api_service(struct arena *a, void *obj) {
    struct apiregistrationv1_APIServiceSpec *s = &((struct apiregistrationv1_APIService *)obj)->spec;
    (void)a;
    if (s->service) DEFAULT_OPT(s->service->port, 443);
}

static void pod_group(struct arena *a, void *obj) {
    (void)a;
    DEFAULT_PTR(((struct schedulingv1alpha2_PodGroup *)obj)->spec.disruptionMode, "Pod");
}

static void pod_certificate_request(struct arena *a, void *obj) {
    (void)a;
    DEFAULT_OPT(((struct certificatesv1beta1_PodCertificateRequest *)obj)->spec.maxExpirationSeconds, 86400);
}

static void pool_status_request(struct arena *a, void *obj) {
    (void)a;
    DEFAULT_OPT(((struct resourcev1alpha3_ResourcePoolStatusRequest *)obj)->spec.limit, 100);
}

bool default_group_object(struct arena *a, const struct type_desc *type, void *obj) {
    static const struct { const struct type_desc *type; void (*fn)(struct arena *, void *); } table[] = {
        {&autoscalingv2_HorizontalPodAutoscaler_desc, hpa_v2}, {&autoscalingv1_HorizontalPodAutoscaler_desc, hpa_v1}, {&flowcontrolv1_FlowSchema_desc, flow_schema}, {&flowcontrolv1_PriorityLevelConfiguration_desc, priority_level},
        {&admissionregistrationv1_ValidatingWebhookConfiguration_desc, validating_webhooks}, {&admissionregistrationv1_MutatingWebhookConfiguration_desc, mutating_webhooks},
        {&admissionregistrationv1_ValidatingAdmissionPolicy_desc, validating_policy}, {&admissionregistrationv1_ValidatingAdmissionPolicyBinding_desc, validating_binding},
        {&admissionregistrationv1_MutatingAdmissionPolicy_desc, mutating_policy_v1}, {&admissionregistrationv1_MutatingAdmissionPolicyBinding_desc, mutating_binding_v1},
        {&admissionregistrationv1beta1_MutatingAdmissionPolicy_desc, mutating_policy_v1beta1}, {&admissionregistrationv1beta1_MutatingAdmissionPolicyBinding_desc, mutating_binding_v1beta1},
        {&admissionregistrationv1alpha1_MutatingAdmissionPolicy_desc, mutating_policy_v1alpha1}, {&admissionregistrationv1alpha1_MutatingAdmissionPolicyBinding_desc, mutating_binding_v1alpha1},
        {&resourcev1_ResourceClaim_desc, claim_v1}, {&resourcev1_ResourceClaimTemplate_desc, claim_template_v1}, {&resourcev1beta2_ResourceClaim_desc, claim_v1beta2}, {&resourcev1beta2_ResourceClaimTemplate_desc, claim_template_v1beta2},
        {&resourcev1beta1_ResourceClaim_desc, claim_v1beta1}, {&resourcev1beta1_ResourceClaimTemplate_desc, claim_template_v1beta1}, {&apiregistrationv1_APIService_desc, api_service},
        {&schedulingv1alpha2_PodGroup_desc, pod_group}, {&certificatesv1beta1_PodCertificateRequest_desc, pod_certificate_request}, {&resourcev1alpha3_ResourcePoolStatusRequest_desc, pool_status_request},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].type == type) {
            table[i].fn(a, obj);
            return true;
        }
    return false;
}
