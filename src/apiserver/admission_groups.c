/* DefaultIngressClass. Upstream: plugin/pkg/admission/network/defaultingressclass. Tests: tests/integration/test_golden.py. */
#include "apiserver/admission_groups.h"
#include "apiserver/apiserver.h"
#include "base/str.h"

struct default_class { struct api_request *r; const struct networkingv1_IngressClass *best; };

/* The youngest default one; of two as young the first by name. */
static bool find_default(void *arg, const struct store_view *v) {
    struct default_class *d = arg;
    const struct networkingv1_IngressClass *c = registry_decode(d->r->arena, strategy_find("networking.k8s.io", "ingressclasses"), v);
    if (!c || !str_eq(string_map_get(&c->metadata.annotations, "ingressclass.kubernetes.io/is-default-class"), "true")) return true;
    if (!d->best || c->metadata.creationTimestamp.sec > d->best->metadata.creationTimestamp.sec) d->best = c;
    return true;
}

int default_ingress_class(struct api_request *r, struct networkingv1_Ingress *ingress, struct status *reterr) {
    struct default_class d = {r, NULL};
    struct store_txn *t;
    if (ingress->spec.ingressClassName || string_map_has(&ingress->metadata.annotations, "kubernetes.io/ingress.class")) return 0;
    if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    store_range(t, storage_key(r->arena, strategy_find("networking.k8s.io", "ingressclasses"), NULL, ""), NULL, find_default, &d);
    store_read_end(t);
    if (d.best) ingress->spec.ingressClassName = d.best->metadata.name;
    return 0;
}
