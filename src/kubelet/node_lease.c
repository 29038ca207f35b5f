/* The Node's Lease in kube-node-lease, renewed every ten seconds: the cheap sign of life. Upstream: component-helpers apimachinery/lease. */
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"

enum { RENEW_MS = 10000, RETRY_MS = 1000, DURATION_S = 40 };
#define LEASE_NAMESPACE "kube-node-lease"

static void fill(struct kubelet *k, struct arena *a, struct coordinationv1_Lease *l) {
    object_set_type_meta(a, &coordinationv1_Lease_desc, l);
    l->metadata.name = k->o.node_name;
    l->metadata.namespace = LEASE_NAMESPACE;
    l->spec.holderIdentity = k->o.node_name;
    l->spec.leaseDurationSeconds = (struct opt_int32)OPT(DURATION_S);
    l->spec.renewTime = micro_time_from_ns(env_now_ns(k->env));
    pthread_mutex_lock(&k->mutex);
    if (l->metadata.ownerReferences.len == 0 && k->node && !str_empty(k->node->metadata.uid)) {
        struct metav1_OwnerReference *o = LIST_PUSH(a, &l->metadata.ownerReferences);
        *o = (struct metav1_OwnerReference){.apiVersion = "v1", .kind = "Node", .name = k->o.node_name, .uid = arena_strdup(a, k->node->metadata.uid)};
    }
    pthread_mutex_unlock(&k->mutex);
}

static int renew(struct kubelet *k, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct coordinationv1_Lease l = {0};
    if (api_get(k, a, &coordinationv1_Lease_desc, LEASE_NAMESPACE, k->o.node_name, &l, reterr) == 0) {
        fill(k, a, &l);
        return api_update(k, a, &coordinationv1_Lease_desc, &l, NULL, reterr);
    }
    if (!status_is(reterr, 404)) return -1;
    l = (struct coordinationv1_Lease){0};
    fill(k, a, &l);
    return api_create(k, a, &coordinationv1_Lease_desc, &l, NULL, reterr);
}

void *node_lease_thread(void *arg) {
    struct kubelet *k = arg;
    int64_t wait_ms = 0;
    while (!kubelet_sleep_ms(k, wait_ms)) {
        _cleanup_status_ struct status err = STATUS_INIT;
        wait_ms = renew(k, &err) == 0 ? RENEW_MS : RETRY_MS;
        if (wait_ms == RETRY_MS) log_debug("lease: %s", status_message(&err));
    }
    return NULL;
}
