/* Approves kubelets' serving certificates (kubernetes.io/kubelet-serving). Upstream leaves this to an administrator or to the distribution; `ckube server` does it, so that the apiserver can verify kubelets.
 *
 * A request is approved when a node asks for itself, and every name and address in it is one that its Node has in status.addresses and that no other Node has. What a node says of its own addresses is not
 * checked further: its certificate is good towards those alone who trust the cluster's client authority for kubelets, which is the apiserver, and only at an address that a Node has. A request that is not approved waits
 * for somebody's hand, and is looked at again as its Node may change. Tests: tests/unit/test_controller_certificates.c. */
#include "base/str.h"
#include "controller/certificates.h"
#include "controller/controllers.h"

#define SERVING_SIGNER "kubernetes.io/kubelet-serving"

struct serving { struct controller *c; struct informer *requests, *nodes; };

static bool has_address(const struct corev1_Node *n, const char *what, bool ip) {
    LIST_FOREACH(x, &n->status.addresses) {
        bool dns = str_eq(x->type, "InternalDNS") || str_eq(x->type, "ExternalDNS"), host = str_eq(x->type, "Hostname");
        if (str_eq(x->address, what) && (host || dns == !ip)) return true;
    }
    return false;
}

/* NULL: all of these are the Node's alone. */
static const char *foreign(struct serving *s, struct arena *a, const struct corev1_Node *n, const char **names, bool ip) {
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(s->nodes, NULL, &all);
    for (; *names; names++) {
        if (!has_address(n, *names, ip)) return arena_printf(a, "%s is no address of node %s", *names, n->metadata.name);
        CACHED_FOREACH(other, corev1_Node, &all)
            if (!str_eq(other->metadata.name, n->metadata.name) && has_address(other, *names, ip)) return arena_printf(a, "%s is an address of node %s too", *names, other->metadata.name);
    }
    return NULL;
}

static int approve(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct serving *s = self;
    struct x509_csr x;
    struct corev1_Node n = {0};
    _cleanup_cached_ struct cached *cached = informer_get(s->requests, NULL, key);
    if (!cached) return 0;
    const struct certificatesv1_CertificateSigningRequest *r = CACHED(cached, certificatesv1_CertificateSigningRequest);
    if (!csr_pending(r) || !str_eq(r->spec.signerName, SERVING_SIGNER) || x509_csr_parse(a, r->spec.request.data, r->spec.request.len, &x, NULL) != 0) return 0;
    if (csr_not_kubelet_serving(r, &x) || !str_eq(r->spec.username, x.common_name) || !string_list_has(&r->spec.groups, "system:nodes")) return 0; /* nobody's but an administrator's to judge */
    if (client_get(s->c->client, a, &corev1_Node_desc, NULL, x.common_name + strlen("system:node:"), &n, reterr) != 0) return -1;
    const char *why = foreign(s, a, &n, x.dns_name_list, false);
    if (!why) why = foreign(s, a, &n, x.ip_list, true);
    if (why) return status_set(reterr, 0, NULL, "csr %s is not approved: %s", key, why);
    return csr_auto_approve(s->c, a, r, "Auto approving kubelet serving certificate for the addresses of its node.", reterr);
}

static void *new(struct controller *c, struct status *reterr) {
    if (!c->context->options->approve_kubelet_serving) return status_bad_request(reterr, "kubelets' serving certificates are approved by others"), NULL;
    struct serving *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->c = c;
    s->requests = informers_get(c->context->informers, &certificatesv1_CertificateSigningRequest_desc);
    s->nodes = informers_get(c->context->informers, &corev1_Node_desc);
    informer_add_handler(s->requests, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    return s;
}

const struct controller_desc controller_csr_serving_approving = {.name = "kubelet-serving-approving-controller", .queue = "certificate", .account = "kubelet-serving-approver", .workers = 2, .retries_max = 20, .new = new, .sync = approve, .free = free};
