/* kube-proxy's loop: news of Services and EndpointSlices in, rules in the kernel out. Upstream: pkg/proxy/nftables/proxier.go.
 *
 * Whoever watches the API (cmd, through client/) calls the setters from any thread; they only note what is out of date. One thread of our own commits,
 * at most once in min_sync_ms, all that has gathered; after a failure again with a growing delay; everything anew each sync_ms. It does not commit
 * before proxier_synced: a restart must not take rules for Services that it has merely not heard of yet out of the kernel. */
#ifndef CKUBE_PROXY_PROXIER_H
#define CKUBE_PROXY_PROXIER_H
#include "base/env.h"
#include "proxy/change_tracker.h"

struct proxier_config {
    struct rules_config rules;
    const char *node_name;
    int64_t min_sync_ms; /* --nftables-min-sync-period; upstream 1000, ours may be shorter since a commit is cheap; 0: 100 */
    int64_t sync_ms;     /* a full resync this often; 0: an hour */
};
struct proxier_stats {
    struct rules_stats rules;
    size_t services, service_ports;
    uint64_t pending;           /* changes noted and not yet committed */
    int64_t last_sync_mono_ns;  /* of the last success; 0: none */
    char last_error[256];       /* "" after a success */
};

struct proxier;
struct proxier *proxier_new(struct env *env, const struct proxier_config *config, struct status *reterr);
void proxier_free(struct proxier *p); /* stopped; the rules stay in the kernel */
void proxier_start(struct proxier *p);
void proxier_stop(struct proxier *p);

void proxier_set_service(struct proxier *p, const struct corev1_Service *svc); /* copied, as are slices */
void proxier_delete_service(struct proxier *p, const char *namespace, const char *name);
void proxier_set_endpoint_slice(struct proxier *p, const struct discoveryv1_EndpointSlice *slice);
void proxier_delete_endpoint_slice(struct proxier *p, const char *namespace, const char *name);
void proxier_synced(struct proxier *p); /* both lists are in */

void proxier_stats(struct proxier *p, struct proxier_stats *ret);
/* /healthz: the first sync is done and no change has waited for two minutes. */
bool proxier_healthy(struct proxier *p);
#endif
