#include "apiserver/node_restriction.h"
#include <string.h>
#include "api/field_error.h"
#include "apiserver/apiserver.h"
#include "apiserver/node_authorizer.h"
#include "api/pod_references.h"
#include "base/str.h"
#include "wire/x509_csr.h"

struct restricting {
    struct api_request *r;
    const struct strategy *st;
    enum admission_operation op;
    const char *node, *quoted, *name; /* the node that asks, and as %q prints it; the object's name */
    struct status *reterr;
};

static int refuse(const struct restricting *c, const char *why) { return status_forbidden(c->reterr, c->st->group, c->st->resource, str_empty(c->name) ? "Unknown" : c->name, why); }
#define REFUSE(c, ...) refuse(c, arena_printf((c)->r->arena, __VA_ARGS__))

/* ---- Pods ---- */

static void count_reference(void *arg, enum reference_kind kind, const char *namespace UNUSED, const char *name UNUSED) { ((size_t *)arg)[kind]++; }

static int admit_owner(const struct restricting *c, const struct corev1_Pod *pod) {
    const struct metav1_OwnerReference *owner = pod->metadata.ownerReferences.items;
    void *node;
    if (pod->metadata.ownerReferences.len > 1) return REFUSE(c, "node %s can only create pods with a single owner reference set to itself", c->quoted);
    if (!pod->metadata.ownerReferences.len || !str_eq(owner->apiVersion, "v1") || !str_eq(owner->kind, "Node") || !str_eq(owner->name, c->node))
        return REFUSE(c, "node %s can only create pods with an owner reference set to itself", c->quoted);
    if (!owner->controller.has || !owner->controller.value) return REFUSE(c, "node %s can only create pods with a controller owner reference set to itself", c->quoted);
    if (owner->blockOwnerDeletion.has && owner->blockOwnerDeletion.value) return REFUSE(c, "node %s must not set blockOwnerDeletion on an owner reference", c->quoted);
    if (registry_get(c->r, strategy_find("", "nodes"), NULL, c->node, &node, NULL, c->reterr) != 0) return -1;
    if (!str_eq(owner->uid, ((struct object *)node)->metadata.uid)) return REFUSE(c, "node %s UID mismatch: expected %s got %s", c->node, str_or(owner->uid, ""), ((struct object *)node)->metadata.uid);
    return 0;
}

static int admit_pod_create(const struct restricting *c, const struct corev1_Pod *pod) {
    size_t references[2] = {0};
    if (!string_map_has(&pod->metadata.annotations, "kubernetes.io/config.mirror")) return REFUSE(c, "pod does not have \"kubernetes.io/config.mirror\" annotation, node %s can only create mirror pods", c->quoted);
    if (!str_eq(pod->spec.nodeName, c->node)) return REFUSE(c, "node %s can only create pods with spec.nodeName set to itself", c->quoted);
    if (admit_owner(c, pod) != 0) return -1;
    if (!str_empty(pod->spec.serviceAccountName)) return REFUSE(c, "node %s can not create pods that reference a service account", c->quoted);
    references_visit(&corev1_PodSpec_desc, &pod->spec, count_reference, references);
    if (references[REFERENCE_SECRET]) return REFUSE(c, "node %s can not create pods that reference secrets", c->quoted);
    if (references[REFERENCE_CONFIGMAP]) return REFUSE(c, "node %s can not create pods that reference configmaps", c->quoted);
    LIST_FOREACH(v, &pod->spec.volumes) {
        if (v->projected)
            LIST_FOREACH(s, &v->projected->sources)
                if (s->clusterTrustBundle) return REFUSE(c, "node %s can not create pods that reference clustertrustbundles", c->quoted);
        if (v->persistentVolumeClaim) return REFUSE(c, "node %s can not create pods that reference persistentvolumeclaims", c->quoted);
    }
    if (pod->spec.resourceClaims.len) return REFUSE(c, "node %s can not create pods that reference resourceclaims", c->quoted);
    return 0;
}

static int admit_pod(const struct restricting *c, const struct corev1_Pod *pod, const struct corev1_Pod *old) {
    if (c->op == ADMIT_CREATE) return admit_pod_create(c, pod);
    if (c->op == ADMIT_UPDATE) return REFUSE(c, "unexpected operation \"UPDATE\", node %s can only create and delete mirror pods", c->quoted);
    return str_eq(old->spec.nodeName, c->node) ? 0 : REFUSE(c, "node %s can only delete pods with spec.nodeName set to itself", c->quoted);
}

static bool same_claim_statuses(const struct corev1_Pod *x, const struct corev1_Pod *y) {
    struct corev1_PodStatus a = {.resourceClaimStatuses = x->status.resourceClaimStatuses}, b = {.resourceClaimStatuses = y->status.resourceClaimStatuses};
    return object_equal(&corev1_PodStatus_desc, &a, &b);
}

static int admit_pod_status(const struct restricting *c, const struct corev1_Pod *pod, const struct corev1_Pod *old) {
    if (!str_eq(old->spec.nodeName, c->node)) return REFUSE(c, "node %s can only update pod status for pods with spec.nodeName set to itself", c->quoted);
    if (!string_map_equal(&pod->metadata.labels, &old->metadata.labels)) return REFUSE(c, "node %s cannot update labels through pod status", c->quoted);
    if (!same_claim_statuses(pod, old)) return REFUSE(c, "node %s cannot update resource claim statues", c->quoted);
    return 0;
}

/* ---- Nodes ---- */

static bool in_domain(const char *domain, size_t len, const char *of) {
    size_t n = strlen(of);
    return (len == n && strncmp(domain, of, n) == 0) || (len > n && strncmp(domain + len - n, of, n) == 0 && domain[len - n - 1] == '.');
}

/* Labels below kubernetes.io and k8s.io are not the kubelet's, but these. */
static bool is_kubelet_label(const char *key, size_t domain) {
    static const char *const keys[] = {"kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch", NULL};
    return str_in(key, keys) || in_domain(key, domain, "kubelet.kubernetes.io") || in_domain(key, domain, "node.kubernetes.io");
}

static bool label_forbidden(const char *key) {
    const char *slash = strchr(key, '/');
    size_t len = slash ? (size_t)(slash - key) : 0;
    if (in_domain(key, len, "node-restriction.kubernetes.io")) return true;
    return (in_domain(key, len, "kubernetes.io") || in_domain(key, len, "k8s.io")) && !is_kubelet_label(key, len);
}

/* Keys that differ and may not, sorted and joined; NULL when there are none. Both maps are sorted. */
static const char *forbidden_labels(struct arena *a, const struct string_map *new, const struct string_map *old) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0, j = 0; i < new->len || j < old->len;) {
        const struct string_map_entry *n = i < new->len ? &new->items[i] : NULL, *o = j < old->len ? &old->items[j] : NULL;
        int cmp = !n ? 1 : !o ? -1 : strcmp(n->key, o->key);
        const char *key = cmp <= 0 ? n->key : o->key;
        bool differs = cmp != 0 || !str_eq(n->value, o->value);
        i += cmp <= 0;
        j += cmp >= 0;
        if (differs && label_forbidden(key)) buf_printf(&out, "%s%s", out.len ? ", " : "", key);
    }
    return out.len ? arena_strdup(a, out.data) : NULL;
}

static int admit_node(const struct restricting *c, const struct corev1_Node *node, const struct corev1_Node *old) {
    static const struct string_map none = {0};
    if (!str_eq(c->name, c->node)) return REFUSE(c, "node %s is not allowed to modify node %s", c->quoted, go_quote(c->r->arena, str_or(c->name, "")));
    if (c->op == ADMIT_DELETE) return 0;
    const char *labels = forbidden_labels(c->r->arena, &node->metadata.labels, old ? &old->metadata.labels : &none);
    if (c->op == ADMIT_CREATE) {
        if (node->spec.configSource) return REFUSE(c, "node %s is not allowed to create pods with a non-nil configSource", c->quoted);
        return labels ? REFUSE(c, "node %s is not allowed to set the following labels: %s", c->quoted, labels) : 0;
    }
    struct corev1_NodeSpec x = {.taints = node->spec.taints}, y = {.taints = old->spec.taints};
    struct metav1_ObjectMeta m = {.ownerReferences = node->metadata.ownerReferences}, o = {.ownerReferences = old->metadata.ownerReferences};
    if (node->spec.configSource && (!old->spec.configSource || !object_equal(&corev1_NodeConfigSource_desc, node->spec.configSource, old->spec.configSource)))
        return REFUSE(c, "node %s is not allowed to update configSource to a new non-nil configSource", c->quoted);
    if (!object_equal(&corev1_NodeSpec_desc, &x, &y)) return REFUSE(c, "node %s is not allowed to modify taints", c->quoted);
    if (labels) return REFUSE(c, "is not allowed to modify labels: %s", labels);
    return object_equal(&metav1_ObjectMeta_desc, &m, &o) ? 0 : REFUSE(c, "node %s is not allowed to modify ownerReferences", c->quoted);
}

/* ---- the rest ---- */

static int admit_claim_status(const struct restricting *c, const struct corev1_PersistentVolumeClaim *claim, const struct corev1_PersistentVolumeClaim *old) {
    struct corev1_PersistentVolumeClaim x = *claim, y = *old, *both[] = {&x, &y};
    for (size_t i = 0; i < 2; i++) {
        both[i]->metadata.resourceVersion = NULL;
        memset(&both[i]->metadata.managedFields, 0, sizeof(both[i]->metadata.managedFields));
        memset(&both[i]->status.capacity, 0, sizeof(both[i]->status.capacity));
        memset(&both[i]->status.conditions, 0, sizeof(both[i]->status.conditions));
        memset(&both[i]->status.allocatedResources, 0, sizeof(both[i]->status.allocatedResources));
        memset(&both[i]->status.allocatedResourceStatuses, 0, sizeof(both[i]->status.allocatedResourceStatuses));
    }
    return object_equal(&corev1_PersistentVolumeClaim_desc, &x, &y) ? 0 : REFUSE(c, "node %s is not allowed to update fields other than status.quantity and status.conditions", c->quoted);
}

static int admit_lease(const struct restricting *c) {
    if (!str_eq(c->r->namespace, "kube-node-lease")) return refuse(c, "can only access leases in the \"kube-node-lease\" system namespace");
    return str_eq(c->name, c->node) ? 0 : refuse(c, "can only access node lease with the same name as the requesting node");
}

static int admit_slice(const struct restricting *c, const struct resourcev1_ResourceSlice *slice, const struct resourcev1_ResourceSlice *old) {
    if (c->op == ADMIT_CREATE && !str_eq(slice->spec.nodeName, c->node)) return refuse(c, "can only create ResourceSlice with the same NodeName as the requesting node");
    if (c->op == ADMIT_DELETE && !str_eq(old->spec.nodeName, c->node)) return refuse(c, "can only delete ResourceSlice with the same NodeName as the requesting node");
    return 0;
}

static int admit_eviction(const struct restricting *c) {
    void *pod;
    if (registry_get(c->r, strategy_find("", "pods"), c->r->namespace, c->name, &pod, NULL, c->reterr) != 0) return -1;
    return str_eq(((const struct corev1_Pod *)pod)->spec.nodeName, c->node) ? 0 : REFUSE(c, "node %s can only evict pods with spec.nodeName set to itself", c->node);
}

#define WRONG(c, ...) status_set((c)->reterr, 500, NULL, __VA_ARGS__)

/* For a Pod that runs on the node that asks, as its own ServiceAccount. What could be a cache's lag upstream is a 500 there, and so here. */
static int admit_pod_certificate_request(const struct restricting *c, const struct certificatesv1beta1_PodCertificateRequest *req, const char *subresource) {
    const struct certificatesv1beta1_PodCertificateRequestSpec *s = &req->spec;
    const char *namespace = c->r->namespace, *pod_name = go_quote(c->r->arena, arena_printf(c->r->arena, "%s/%s", str_or(namespace, ""), str_or(s->podName, "")));
    void *node, *pod, *account;
    if (c->op != ADMIT_CREATE) return REFUSE(c, "unexpected operation %s", c->op == ADMIT_UPDATE ? "UPDATE" : "DELETE");
    if (subresource) return REFUSE(c, "unexpected subresource %s", subresource);
    if (!str_eq(s->nodeName, c->node)) return REFUSE(c, "PodCertificateRequest.Spec.NodeName=\"%s\", which is not the requesting node %s", str_or(s->nodeName, ""), c->quoted);
    if (registry_get(c->r, strategy_find("", "nodes"), NULL, c->node, &node, NULL, NULL) != 0) return WRONG(c, "while retrieving node %s named in the PodCertificateRequest: nodes %s not found", c->quoted, c->quoted);
    if (!str_eq(((struct object *)node)->metadata.uid, s->nodeUID))
        return WRONG(c, "PodCertificateRequest for pod %s names node UID \"%s\", inconsistent with the running node (\"%s\")", pod_name, str_or(s->nodeUID, ""), ((struct object *)node)->metadata.uid);
    if (registry_get(c->r, strategy_find("", "pods"), namespace, s->podName, &pod, NULL, NULL) != 0)
        return WRONG(c, "while retrieving pod %s named in the PodCertificateRequest: pods \"%s\" not found", pod_name, str_or(s->podName, ""));
    const struct corev1_Pod *p = pod;
    if (!str_eq(p->metadata.uid, s->podUID)) return WRONG(c, "PodCertificateRequest for pod %s contains pod UID (\"%s\") which differs from running pod \"%s\"", pod_name, str_or(s->podUID, ""), p->metadata.uid);
    if (!str_eq(p->spec.nodeName, c->node)) return REFUSE(c, "pod %s is not running on node %s named in the PodCertificateRequest", pod_name, c->quoted);
    if (string_map_has(&p->metadata.annotations, "kubernetes.io/config.mirror")) return REFUSE(c, "pod %s is a mirror pod", pod_name);
    if (!str_eq(s->serviceAccountName, p->spec.serviceAccountName))
        return REFUSE(c, "PodCertificateRequest for pod %s contains serviceAccountName (\"%s\") that differs from running pod (\"%s\")", pod_name, str_or(s->serviceAccountName, ""), str_or(p->spec.serviceAccountName, ""));
    if (registry_get(c->r, strategy_find("", "serviceaccounts"), namespace, s->serviceAccountName, &account, NULL, NULL) != 0)
        return WRONG(c, "while retrieving service account \"%s/%s\" named in the PodCertificateRequest: serviceaccounts \"%s\" not found", str_or(namespace, ""), s->serviceAccountName, s->serviceAccountName);
    if (str_eq(((struct object *)account)->metadata.uid, s->serviceAccountUID)) return 0;
    return WRONG(c, "PodCertificateRequest for pod %s names service account UID \"%s\", which differs from the running service account (\"%s\")", pod_name, str_or(s->serviceAccountUID, ""), ((struct object *)account)->metadata.uid);
}

/* The signer looks at the rest of it. */
static int admit_signing_request(const struct restricting *c, const struct certificatesv1_CertificateSigningRequest *csr) {
    static const char *const signers[] = {"kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet", NULL};
    struct x509_csr parsed;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (c->op != ADMIT_CREATE || !str_in(str_or(csr->spec.signerName, ""), signers)) return 0;
    if (x509_csr_parse(c->r->arena, csr->spec.request.data, csr->spec.request.len, &parsed, &err) != 0) return REFUSE(c, "unable to parse csr: %s", status_message(&err));
    return str_eq(parsed.common_name, arena_printf(c->r->arena, "system:node:%s", c->node)) ? 0 : REFUSE(c, "can only create a node CSR with CN=system:node:%s", c->node);
}

/* A token for whom else than this apiserver: the Pod must ask for it in a volume, or a rule must allow it. */
static bool audience_wanted(struct api_request *r, const struct corev1_Pod *pod, const char *audience) {
    LIST_FOREACH(v, &pod->spec.volumes) {
        if (v->projected)
            LIST_FOREACH(s, &v->projected->sources)
                if (s->serviceAccountToken && str_eq(s->serviceAccountToken->audience, audience)) return true;
        void *driver;
        if (!v->csi || registry_get(r, strategy_find("storage.k8s.io", "csidrivers"), NULL, v->csi->driver, &driver, NULL, NULL) != 0) continue;
        LIST_FOREACH(t, &((struct storagev1_CSIDriver *)driver)->spec.tokenRequests)
            if (str_eq(t->audience, audience)) return true;
    }
    struct authz_attributes at = {.user = &r->user, .resource_request = true, .verb = "request-serviceaccounts-token-audience", .namespace = r->namespace, .group = "", .version = "", .resource = audience, .name = r->name};
    return authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, NULL) == AUTHZ_ALLOW;
}

static int admit_token(const struct restricting *c, const struct authenticationv1_TokenRequest *req) {
    struct api_request *r = c->r;
    const struct authenticationv1_BoundObjectReference *ref = req->spec.boundObjectRef;
    void *found;
    if (!ref || !str_eq(ref->apiVersion, "v1") || !str_eq(ref->kind, "Pod") || str_empty(ref->name)) return refuse(c, "node requested token not bound to a pod");
    if (str_empty(ref->uid)) return refuse(c, "node requested token with a pod binding without a uid");
    if (registry_get(r, strategy_find("", "pods"), r->namespace, ref->name, &found, NULL, c->reterr) != 0) return -1;
    const struct corev1_Pod *pod = found;
    if (!str_eq(ref->uid, pod->metadata.uid)) return REFUSE(c, "the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref->uid);
    if (!str_eq(pod->spec.nodeName, c->node)) return refuse(c, "node requested token bound to a pod scheduled on a different node");
    if (req->spec.audiences.len > 1) return refuse(c, "node may only request 0 or 1 audiences");
    const char *audience = req->spec.audiences.len ? req->spec.audiences.items[0] : "";
    if (audience_wanted(r, pod, audience)) return 0;
    return REFUSE(c, "audience %s not found in pod spec volume, system:node:%s is not authorized to request tokens for this audience", go_quote(r->arena, audience), c->node);
}

int node_restriction(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    struct restricting c = {.r = a->r, .st = a->st, .op = a->op, .reterr = reterr};
    const struct type_desc *type = a->st->type;
    if (!node_identity(&a->r->user, &c.node)) return 0;
    c.name = a->name;
    c.quoted = go_quote(a->r->arena, c.node);
    if (!*c.node) return REFUSE(&c, "could not determine node from user %s", go_quote(a->r->arena, a->r->user.name));
    if (type == &corev1_Pod_desc) {
        if (str_empty(a->o->subresource)) return admit_pod(&c, a->obj, a->old);
        if (str_eq(a->o->subresource, "status") && a->op == ADMIT_UPDATE) return admit_pod_status(&c, a->obj, a->old);
        return REFUSE(&c, "unexpected pod subresource %s, only 'status' and 'eviction' are allowed", go_quote(a->r->arena, a->o->subresource));
    }
    if (type == &corev1_Node_desc) return admit_node(&c, a->obj, a->old);
    if (type == &corev1_PersistentVolumeClaim_desc) return str_eq(a->o->subresource, "status") && a->op == ADMIT_UPDATE ? admit_claim_status(&c, a->obj, a->old) : refuse(&c, "may only update PVC status");
    if (type == &coordinationv1_Lease_desc) return admit_lease(&c);
    if (type == &storagev1_CSINode_desc) return str_eq(c.name, c.node) ? 0 : refuse(&c, "can only access CSINode with the same name as the requesting node");
    if (type == &resourcev1_ResourceSlice_desc) return admit_slice(&c, a->obj, a->old);
    if (type == &policyv1_Eviction_desc) return admit_eviction(&c);
    if (type == &authenticationv1_TokenRequest_desc) return admit_token(&c, a->obj);
    if (type == &certificatesv1beta1_PodCertificateRequest_desc) return admit_pod_certificate_request(&c, a->obj, a->o->subresource);
    if (type == &certificatesv1_CertificateSigningRequest_desc) return admit_signing_request(&c, a->obj);
    return 0;
}
