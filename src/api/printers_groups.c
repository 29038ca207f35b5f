/* The printers of networking, policy, autoscaling, storage, resource, flowcontrol, admissionregistration, certificates, coordination, scheduling and
   apiregistration kinds, each of its storage version. Upstream: pkg/printers/internalversion, and kube-aggregator's own for APIServices. A kind without
   a printer here shows name and creation time, as upstream's resources without a table of their own do. */
#include <stdlib.h>
#include <string.h>
#include "api/printers_groups.h"
#include "api/printers_columns.h"
#include "api/selector.h"
#include "api/time.h"
#include "base/str.h"

static void cell_bool(struct row *row, bool v) { *LIST_PUSH(row->arena, &row->cells) = v ? (struct raw_json){"true", 4} : (struct raw_json){"false", 5}; }

static const char *joined(struct row *row, const struct string_list *list, const char *joint) {
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < list->len; i++) buf_printf(&out, "%s%s", i ? joint : "", list->items[i]);
    const char *text = arena_strdup(row->arena, buf_cstr(&out));
    buf_release(&out);
    return text;
}

static int order_strings(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static const char *selector_text(struct row *row, const struct metav1_LabelSelector *ls) {
    struct selector s;
    if (label_selector_from(row->arena, ls, &s, NULL) != 0) return "<error>";
    const char *text = selector_string(row->arena, &s);
    return str_empty(text) ? "<none>" : text;
}

/* Kinds of which only name and age are shown. */
static void name_and_age(struct row *row, const void *obj) {
    const struct object *o = obj;
    cell_str(row, o->metadata.name);
    cell_age(row, &o->metadata.creationTimestamp);
}

/* ---- networking.k8s.io ---- */

/* The first three hosts; rules without a host count for "more" as upstream counts them. */
static const char *ingress_hosts(struct row *row, const struct networkingv1_Ingress *in) {
    struct string_list hosts = {0};
    bool more = false;
    LIST_FOREACH(r, &in->spec.rules) {
        if (hosts.len == 3) more = true;
        if (!more && !str_empty(r->host)) string_list_push(row->arena, &hosts, r->host);
    }
    if (!hosts.len) return "*";
    const char *text = joined(row, &hosts, ",");
    return more ? arena_printf(row->arena, "%s + %zu more...", text, in->spec.rules.len - 3) : text;
}

static const char *ingress_addresses(struct row *row, const struct networkingv1_Ingress *in) {
    struct string_list all = {0}, unique = {0};
    LIST_FOREACH(i, &in->status.loadBalancer.ingress) {
        const char *address = !str_empty(i->ip) ? i->ip : i->hostname;
        if (!str_empty(address)) string_list_push(row->arena, &all, address);
    }
    if (all.len) qsort(all.items, all.len, sizeof(*all.items), order_strings);
    for (size_t i = 0; i < all.len; i++)
        if (i == 0 || strcmp(all.items[i], all.items[i - 1]) != 0) string_list_push(row->arena, &unique, all.items[i]);
    return joined(row, &unique, ",");
}

static void ingress(struct row *row, const void *obj) {
    const struct networkingv1_Ingress *in = obj;
    cell_str(row, in->metadata.name);
    cell_str(row, in->spec.ingressClassName ? in->spec.ingressClassName : "<none>");
    cell_str(row, ingress_hosts(row, in));
    cell_str(row, ingress_addresses(row, in));
    cell_str(row, in->spec.tls.len ? "80, 443" : "80");
    cell_age(row, &in->metadata.creationTimestamp);
}

static void ingress_class(struct row *row, const void *obj) {
    const struct networkingv1_IngressClass *c = obj;
    const struct networkingv1_IngressClassParametersReference *p = c->spec.parameters;
    cell_str(row, c->metadata.name);
    cell_str(row, str_or(c->spec.controller, ""));
    if (!p) cell_str(row, "<none>");
    else cell_printf(row, "%s%s%s/%s", str_or(p->kind, ""), p->apiGroup ? "." : "", str_or(p->apiGroup, ""), str_or(p->name, ""));
    cell_age(row, &c->metadata.creationTimestamp);
}

static void network_policy(struct row *row, const void *obj) {
    const struct networkingv1_NetworkPolicy *n = obj;
    cell_str(row, n->metadata.name);
    cell_str(row, selector_text(row, &n->spec.podSelector));
    cell_age(row, &n->metadata.creationTimestamp);
}

/* Upstream prints the age although its table has no column for it. */
static void ip_address(struct row *row, const void *obj) {
    const struct networkingv1_IPAddress *ip = obj;
    const struct networkingv1_ParentReference *p = ip->spec.parentRef;
    cell_str(row, ip->metadata.name);
    if (!p) cell_str(row, "<none>");
    else
        cell_printf(row, "%s%s%s%s%s/%s", str_or(p->resource, ""), str_empty(p->group) ? "" : ".", str_or(p->group, ""), str_empty(p->namespace) ? "" : "/", str_or(p->namespace, ""), str_or(p->name, ""));
    cell_age(row, &ip->metadata.creationTimestamp);
}

static void service_cidr(struct row *row, const void *obj) {
    const struct networkingv1_ServiceCIDR *c = obj;
    cell_str(row, c->metadata.name);
    cell_str(row, joined(row, &c->spec.cidrs, ","));
    cell_age(row, &c->metadata.creationTimestamp);
}

/* ---- policy, autoscaling ---- */

static const char *int_or_string_text(struct row *row, const struct int_or_string *v) {
    return v->kind == INTSTR_NONE ? "N/A" : v->kind == INTSTR_INT ? arena_printf(row->arena, "%d", v->i) : str_or(v->s, "");
}

static void disruption_budget(struct row *row, const void *obj) {
    const struct policyv1_PodDisruptionBudget *b = obj;
    cell_str(row, b->metadata.name);
    cell_str(row, int_or_string_text(row, &b->spec.minAvailable));
    cell_str(row, int_or_string_text(row, &b->spec.maxUnavailable));
    cell_int(row, b->status.disruptionsAllowed);
    cell_age(row, &b->metadata.creationTimestamp);
}

static const struct autoscalingv2_MetricValueStatus no_value;

/* Object and external metrics: an average where the target is one. */
static const char *metric_value(struct row *row, const struct autoscalingv2_MetricTarget *t, const struct autoscalingv2_MetricValueStatus *now) {
    if (t->averageValue) return arena_printf(row->arena, "%s/%s (avg)", now->averageValue ? now->averageValue : "<unknown>", t->averageValue);
    return arena_printf(row->arena, "%s/%s", now->value ? now->value : "<unknown>", str_or(t->value, ""));
}

/* Resource metrics: "cpu: 77%/50%". */
static const char *metric_resource(struct row *row, const char *name, const struct autoscalingv2_MetricTarget *t, const struct autoscalingv2_MetricValueStatus *now) {
    if (t->averageValue) return arena_printf(row->arena, "%s: %s/%s", str_or(name, ""), now->averageValue ? now->averageValue : "<unknown>", t->averageValue);
    const char *current = now->averageUtilization.has ? arena_printf(row->arena, "%d%%", now->averageUtilization.value) : "<unknown>";
    const char *target = t->averageUtilization.has ? arena_printf(row->arena, "%d%%", t->averageUtilization.value) : "<auto>";
    return arena_printf(row->arena, "%s: %s/%s", str_or(name, ""), current, target);
}

static const char *metric_text(struct row *row, const struct autoscalingv2_MetricSpec *m, const struct autoscalingv2_MetricStatus *s) {
    if (str_eq(m->type, "External") && m->external) return metric_value(row, &m->external->target, s && s->external ? &s->external->current : &no_value);
    if (str_eq(m->type, "Object") && m->object) return metric_value(row, &m->object->target, s && s->object ? &s->object->current : &no_value);
    if (str_eq(m->type, "Resource") && m->resource) return metric_resource(row, m->resource->name, &m->resource->target, s && s->resource ? &s->resource->current : &no_value);
    if (str_eq(m->type, "ContainerResource") && m->containerResource)
        return metric_resource(row, m->containerResource->name, &m->containerResource->target, s && s->containerResource ? &s->containerResource->current : &no_value);
    if (str_eq(m->type, "Pods") && m->pods) {
        const char *now = s && s->pods ? s->pods->current.averageValue : NULL;
        return arena_printf(row->arena, "%s/%s", now ? now : "<unknown>", str_or(m->pods->target.averageValue, ""));
    }
    return "<unknown type>";
}

static const char *metrics_text(struct row *row, const struct autoscalingv2_HorizontalPodAutoscaler *h) {
    size_t len = h->spec.metrics.len, shown = len < 2 ? len : 2;
    if (!len) return "<none>";
    struct string_list texts = {0};
    for (size_t i = 0; i < shown; i++) string_list_push(row->arena, &texts, metric_text(row, &h->spec.metrics.items[i], i < h->status.currentMetrics.len ? &h->status.currentMetrics.items[i] : NULL));
    const char *text = joined(row, &texts, ", ");
    return len > 2 ? arena_printf(row->arena, "%s + %zu more...", text, len - 2) : text;
}

static void autoscaler(struct row *row, const void *obj) {
    const struct autoscalingv2_HorizontalPodAutoscaler *h = obj;
    cell_str(row, h->metadata.name);
    cell_printf(row, "%s/%s", str_or(h->spec.scaleTargetRef.kind, ""), str_or(h->spec.scaleTargetRef.name, ""));
    cell_str(row, metrics_text(row, h));
    if (h->spec.minReplicas.has) cell_printf(row, "%d", h->spec.minReplicas.value);
    else cell_str(row, "<unset>");
    cell_int(row, h->spec.maxReplicas);
    cell_int(row, h->status.currentReplicas);
    cell_age(row, &h->metadata.creationTimestamp);
}

/* ---- storage.k8s.io ---- */

static void csi_driver(struct row *row, const void *obj) {
    const struct storagev1_CSIDriver *d = obj;
    struct string_list audiences = {0};
    LIST_FOREACH(t, &d->spec.tokenRequests) string_list_push(row->arena, &audiences, str_or(t->audience, ""));
    cell_str(row, d->metadata.name);
    cell_bool(row, !d->spec.attachRequired.has || d->spec.attachRequired.value);
    cell_bool(row, d->spec.podInfoOnMount.has && d->spec.podInfoOnMount.value);
    cell_bool(row, d->spec.storageCapacity.has && d->spec.storageCapacity.value);
    cell_str(row, d->spec.tokenRequests.items ? joined(row, &audiences, ",") : "<unset>");
    cell_bool(row, d->spec.requiresRepublish.has && d->spec.requiresRepublish.value);
    cell_str(row, d->spec.volumeLifecycleModes.len ? joined(row, &d->spec.volumeLifecycleModes, ",") : "<none>");
    cell_age(row, &d->metadata.creationTimestamp);
}

static void csi_node(struct row *row, const void *obj) {
    const struct storagev1_CSINode *n = obj;
    cell_str(row, n->metadata.name);
    cell_int(row, (int64_t)n->spec.drivers.len);
    cell_age(row, &n->metadata.creationTimestamp);
}

static void volume_attachment(struct row *row, const void *obj) {
    const struct storagev1_VolumeAttachment *v = obj;
    cell_str(row, v->metadata.name);
    cell_str(row, str_or(v->spec.attacher, ""));
    cell_str(row, str_or(v->spec.source.persistentVolumeName, ""));
    cell_str(row, str_or(v->spec.nodeName, ""));
    cell_bool(row, v->status.attached);
    cell_age(row, &v->metadata.creationTimestamp);
}

static void attributes_class(struct row *row, const void *obj) {
    const struct storagev1_VolumeAttributesClass *c = obj;
    cell_str(row, c->metadata.name);
    cell_str(row, str_or(c->driverName, ""));
    cell_age(row, &c->metadata.creationTimestamp);
}

/* ---- resource.k8s.io ---- */

static void resource_claim(struct row *row, const void *obj) {
    const struct resourcev1_ResourceClaim *c = obj;
    struct string_list states = {0};
    if (c->metadata.deletionTimestamp.set) string_list_push(row->arena, &states, "deleted");
    if (c->status.allocation) string_list_push(row->arena, &states, "allocated");
    else if (!c->metadata.deletionTimestamp.set) string_list_push(row->arena, &states, "pending");
    if (c->status.allocation && c->status.reservedFor.len) string_list_push(row->arena, &states, "reserved");
    cell_str(row, c->metadata.name);
    cell_str(row, joined(row, &states, ","));
    cell_age(row, &c->metadata.creationTimestamp);
}

static void resource_slice(struct row *row, const void *obj) {
    const struct resourcev1_ResourceSlice *s = obj;
    cell_str(row, s->metadata.name);
    cell_str(row, str_or(s->spec.nodeName, ""));
    cell_str(row, str_or(s->spec.driver, ""));
    cell_str(row, str_or(s->spec.pool.name, ""));
    cell_age(row, &s->metadata.creationTimestamp);
}

static void device_taint(struct row *row, const void *obj) {
    const struct resourcev1alpha3_DeviceTaintRule *r = obj;
    cell_str(row, r->metadata.name);
    cell_str(row, str_or(r->spec.taint.key, ""));
    cell_str(row, str_or(r->spec.taint.value, ""));
    cell_str(row, str_or(r->spec.taint.effect, ""));
    cell_age(row, &r->spec.taint.timeAdded);
    cell_age(row, &r->metadata.creationTimestamp);
}

/* ---- flowcontrol.apiserver.k8s.io ---- */

static void flow_schema(struct row *row, const void *obj) {
    const struct flowcontrolv1_FlowSchema *f = obj;
    const char *dangling = "?";
    LIST_FOREACH(c, &f->status.conditions)
        if (str_eq(c->type, "Dangling")) dangling = str_or(c->status, "");
    cell_str(row, f->metadata.name);
    cell_str(row, str_or(f->spec.priorityLevelConfiguration.name, ""));
    cell_int(row, f->spec.matchingPrecedence);
    cell_str(row, f->spec.distinguisherMethod ? str_or(f->spec.distinguisherMethod->type, "") : "<none>");
    cell_age(row, &f->metadata.creationTimestamp);
    cell_str(row, dangling);
}

static void int_or_none(struct row *row, bool has, int64_t value) {
    if (has) cell_int(row, value);
    else cell_str(row, "<none>");
}

static void priority_level(struct row *row, const void *obj) {
    const struct flowcontrolv1_PriorityLevelConfiguration *p = obj;
    const struct flowcontrolv1_LimitedPriorityLevelConfiguration *l = p->spec.limited;
    const struct flowcontrolv1_QueuingConfiguration *q = l ? l->limitResponse.queuing : NULL;
    cell_str(row, p->metadata.name);
    cell_str(row, str_or(p->spec.type, ""));
    int_or_none(row, l, l ? l->nominalConcurrencyShares.value : 0);
    int_or_none(row, q, q ? q->queues : 0);
    int_or_none(row, q, q ? q->handSize : 0);
    int_or_none(row, q, q ? q->queueLengthLimit : 0);
    cell_age(row, &p->metadata.creationTimestamp);
}

/* ---- admissionregistration.k8s.io ---- */

static void policy_cells(struct row *row, const struct object *o, size_t rules, const char *api_version, const char *kind) {
    cell_str(row, o->metadata.name);
    cell_int(row, (int64_t)rules);
    if (kind || api_version) cell_printf(row, "%s/%s", str_or(api_version, ""), str_or(kind, ""));
    else cell_str(row, "<unset>");
    cell_age(row, &o->metadata.creationTimestamp);
}

static void validating_policy(struct row *row, const void *obj) {
    const struct admissionregistrationv1_ValidatingAdmissionPolicy *p = obj;
    policy_cells(row, obj, p->spec.validations.len, p->spec.paramKind ? p->spec.paramKind->apiVersion : NULL, p->spec.paramKind ? p->spec.paramKind->kind : NULL);
}

static void mutating_policy(struct row *row, const void *obj) {
    const struct admissionregistrationv1beta1_MutatingAdmissionPolicy *p = obj;
    policy_cells(row, obj, p->spec.mutations.len, p->spec.paramKind ? p->spec.paramKind->apiVersion : NULL, p->spec.paramKind ? p->spec.paramKind->kind : NULL);
}

static void binding_cells(struct row *row, const struct object *o, const char *policy, bool has_ref, const char *namespace, const char *name, const struct metav1_LabelSelector *selector) {
    cell_str(row, o->metadata.name);
    cell_str(row, str_or(policy, ""));
    if (!has_ref) cell_str(row, "<unset>");
    else if (!str_empty(name)) cell_printf(row, "%s%s%s", str_or(namespace, ""), str_empty(namespace) ? "" : "/", name);
    else cell_str(row, selector ? selector_text(row, selector) : "<unset>");
    cell_age(row, &o->metadata.creationTimestamp);
}

static void validating_binding(struct row *row, const void *obj) {
    const struct admissionregistrationv1_ValidatingAdmissionPolicyBinding *b = obj;
    const struct admissionregistrationv1_ParamRef *r = b->spec.paramRef;
    binding_cells(row, obj, b->spec.policyName, r, r ? r->namespace : NULL, r ? r->name : NULL, r ? r->selector : NULL);
}

static void mutating_binding(struct row *row, const void *obj) {
    const struct admissionregistrationv1beta1_MutatingAdmissionPolicyBinding *b = obj;
    const struct admissionregistrationv1beta1_ParamRef *r = b->spec.paramRef;
    binding_cells(row, obj, b->spec.policyName, r, r ? r->namespace : NULL, r ? r->name : NULL, r ? r->selector : NULL);
}

static void webhook_cells(struct row *row, const struct object *o, size_t webhooks) {
    cell_str(row, o->metadata.name);
    cell_int(row, (int64_t)webhooks);
    cell_age(row, &o->metadata.creationTimestamp);
}
static void validating_webhooks(struct row *row, const void *obj) { webhook_cells(row, obj, ((const struct admissionregistrationv1_ValidatingWebhookConfiguration *)obj)->webhooks.len); }
static void mutating_webhooks(struct row *row, const void *obj) { webhook_cells(row, obj, ((const struct admissionregistrationv1_MutatingWebhookConfiguration *)obj)->webhooks.len); }

/* ---- certificates.k8s.io, coordination.k8s.io, apiregistration.k8s.io ---- */

static bool csr_has(const struct certificatesv1_CertificateSigningRequest *c, const char *type) {
    LIST_FOREACH(k, &c->status.conditions)
        if (str_eq(k->type, type)) return true;
    return false;
}

static void signing_request(struct row *row, const void *obj) {
    const struct certificatesv1_CertificateSigningRequest *c = obj;
    cell_str(row, c->metadata.name);
    cell_age(row, &c->metadata.creationTimestamp);
    cell_str(row, c->spec.signerName ? c->spec.signerName : "<none>");
    cell_str(row, str_or(c->spec.username, ""));
    cell_str(row, c->spec.expirationSeconds.has ? human_duration(row->arena, c->spec.expirationSeconds.value) : "<none>");
    cell_printf(row, "%s%s%s", csr_has(c, "Denied") ? "Denied" : csr_has(c, "Approved") ? "Approved" : "Pending", csr_has(c, "Failed") ? ",Failed" : "", c->status.certificate.len ? ",Issued" : "");
}

static void trust_bundle(struct row *row, const void *obj) {
    const struct certificatesv1beta1_ClusterTrustBundle *b = obj;
    cell_str(row, b->metadata.name);
    cell_str(row, str_empty(b->spec.signerName) ? "<none>" : b->spec.signerName);
}

static void pod_certificate(struct row *row, const void *obj) {
    const struct certificatesv1beta1_PodCertificateRequest *r = obj;
    const char *state = "Pending";
    LIST_FOREACH(c, &r->status.conditions)
        if (str_eq(c->type, "Issued") || str_eq(c->type, "Denied") || str_eq(c->type, "Failed")) state = c->type;
    struct buf annotations = BUF_INIT;
    LIST_FOREACH(e, &r->spec.unverifiedUserAnnotations) buf_printf(&annotations, "%s%s=%s", annotations.len ? "," : "", e->key, str_or(e->value, ""));
    cell_str(row, r->metadata.name);
    cell_str(row, str_or(r->spec.podName, ""));
    cell_str(row, str_or(r->spec.serviceAccountName, ""));
    cell_str(row, str_or(r->spec.nodeName, ""));
    cell_str(row, str_or(r->spec.signerName, ""));
    cell_str(row, state);
    cell_str(row, annotations.len ? buf_cstr(&annotations) : "<none>");
    buf_release(&annotations);
}

static void lease_candidate(struct row *row, const void *obj) {
    const struct coordinationv1beta1_LeaseCandidate *c = obj;
    cell_str(row, c->metadata.name);
    cell_str(row, str_or(c->spec.leaseName, ""));
    cell_str(row, str_or(c->spec.binaryVersion, ""));
    cell_str(row, str_or(c->spec.emulationVersion, ""));
    cell_age(row, &c->metadata.creationTimestamp);
}

static void api_service(struct row *row, const void *obj) {
    const struct apiregistrationv1_APIService *s = obj;
    const char *available = "Unknown";
    LIST_FOREACH(c, &s->status.conditions)
        if (str_eq(c->type, "Available")) available = str_eq(c->status, "True") ? "True" : arena_printf(row->arena, "%s (%s)", str_or(c->status, ""), str_or(c->reason, ""));
    cell_str(row, s->metadata.name);
    cell_str(row, s->spec.service ? arena_printf(row->arena, "%s/%s", str_or(s->spec.service->namespace, ""), str_or(s->spec.service->name, "")) : "Local");
    cell_str(row, available);
    cell_age(row, &s->metadata.creationTimestamp);
}

const struct printer *printers_groups_find(const struct type_desc *type) {
#define P(desc, name, fn) {&desc, name##_columns, &name##_columns_len, fn}
    static const struct printer printers[] = {
        P(networkingv1_Ingress_desc, ingresses, ingress), P(networkingv1_IngressClass_desc, ingressclasses, ingress_class), P(networkingv1_NetworkPolicy_desc, networkpolicies, network_policy),
        P(networkingv1_IPAddress_desc, ipaddresses, ip_address), P(networkingv1_ServiceCIDR_desc, servicecidrs, service_cidr), P(policyv1_PodDisruptionBudget_desc, poddisruptionbudgets, disruption_budget),
        P(autoscalingv2_HorizontalPodAutoscaler_desc, horizontalpodautoscalers, autoscaler), P(storagev1_CSIDriver_desc, csidrivers, csi_driver), P(storagev1_CSINode_desc, csinodes, csi_node),
        P(storagev1_VolumeAttachment_desc, volumeattachments, volume_attachment), P(storagev1_VolumeAttributesClass_desc, volumeattributesclasses, attributes_class),
        P(resourcev1_DeviceClass_desc, deviceclasses, name_and_age), P(resourcev1_ResourceClaim_desc, resourceclaims, resource_claim), P(resourcev1_ResourceClaimTemplate_desc, resourceclaimtemplates, name_and_age),
        P(resourcev1_ResourceSlice_desc, resourceslices, resource_slice), P(resourcev1alpha3_DeviceTaintRule_desc, devicetaintrules, device_taint), P(flowcontrolv1_FlowSchema_desc, flowschemas, flow_schema),
        P(flowcontrolv1_PriorityLevelConfiguration_desc, prioritylevelconfigurations, priority_level),
        P(admissionregistrationv1_ValidatingAdmissionPolicy_desc, validatingadmissionpolicies, validating_policy),
        P(admissionregistrationv1beta1_MutatingAdmissionPolicy_desc, mutatingadmissionpolicies, mutating_policy),
        P(admissionregistrationv1_ValidatingAdmissionPolicyBinding_desc, validatingadmissionpolicybindings, validating_binding),
        P(admissionregistrationv1beta1_MutatingAdmissionPolicyBinding_desc, mutatingadmissionpolicybindings, mutating_binding),
        P(admissionregistrationv1_ValidatingWebhookConfiguration_desc, validatingwebhookconfigurations, validating_webhooks),
        P(admissionregistrationv1_MutatingWebhookConfiguration_desc, mutatingwebhookconfigurations, mutating_webhooks),
        P(certificatesv1_CertificateSigningRequest_desc, certificatesigningrequests, signing_request), P(certificatesv1beta1_ClusterTrustBundle_desc, clustertrustbundles, trust_bundle),
        P(certificatesv1beta1_PodCertificateRequest_desc, podcertificaterequests, pod_certificate), P(coordinationv1beta1_LeaseCandidate_desc, leasecandidates, lease_candidate),
        P(apiregistrationv1_APIService_desc, apiservices, api_service), P(schedulingv1alpha2_Workload_desc, workloads, name_and_age),
    };
#undef P
    for (size_t i = 0; i < ARRAY_LEN(printers); i++)
        if (printers[i].type == type) return &printers[i];
    return NULL;
}
