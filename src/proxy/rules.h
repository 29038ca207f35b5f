/* The nftables engine of kube-proxy: Services and their endpoints as plain structs in, packet rules in the kernel out.
 *
 * Who uses it: proxy/proxier.c feeds it; the tests drive it directly. One owner thread; rules_commit blocks on netlink for milliseconds.
 * Upstream: pkg/proxy/nftables. Everything lives in one table per family, `ip ckube` and `ip6 ckube`, which is ours alone:
 *   maps    service-ips, service-nodeports         (address . protocol . port, protocol . port) -> the Service's chain
 *           no-endpoint-services, -nodeports       the same keys -> reject or drop
 *   sets    cluster-ips, hairpin                   hairpin: addresses of local endpoints, paired with themselves
 *   chains  service-, local-, external-HASH-ns/name/proto/port; with session affinity also endpoint-... and a set affinity-... each
 * A commit is one netlink transaction that writes only what differs from the last commit. The first commit, and any after a failure, replaces both
 * tables whole, in one transaction as well: connections that are tracked keep their translation, so a restart drops no traffic.
 * Limits: a Service port has at most PROXY_ENDPOINTS_MAX endpoints; more are ignored. Tests: tests/unit/test_proxy_rules.c. */
#ifndef CKUBE_PROXY_RULES_H
#define CKUBE_PROXY_RULES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

#define PROXY_ENDPOINTS_MAX 10000
#define PROXY_MASQUERADE_MARK 0x4000 /* upstream's default --iptables-masquerade-bit, 14 */

/* Upstream: proxy.Endpoint. */
struct proxy_endpoint {
    const char *ip;
    uint16_t port;
    bool ready, serving, terminating;
    bool local; /* runs on this node */
};

/* One port of a Service. Upstream: proxy.ServicePort. Strings and lists are the caller's and only read during the call. */
struct service_port {
    const char *namespace, *name, *port_name; /* port_name may be NULL */
    const char *protocol;                     /* TCP, UDP or SCTP */
    uint16_t port;
    uint16_t node_port;                       /* 0: none */
    const char *const *cluster_ips;           /* each list ends with NULL, and may itself be NULL; either family */
    const char *const *external_ips;
    const char *const *load_balancer_ips;
    int32_t affinity_seconds;                 /* session affinity ClientIP; 0: none */
    bool internal_local, external_local;      /* the traffic policies: Local rather than Cluster */
    const struct proxy_endpoint *endpoints;
    size_t endpoints_len;
};

struct rules_config {
    bool ipv4, ipv6;
    const char *cluster_cidr[2];              /* IPv4 or IPv6 in either place; NULL: unknown. Traffic to cluster IPs from outside it is masqueraded */
    bool masquerade_all;                      /* --masquerade-all: whatever goes to a Service */
    bool masquerade_pods;                     /* also what leaves the cluster CIDR from within it */
    const char *const *nodeport_addresses;    /* CIDRs, NULL at the end; NULL: all local addresses but loopback */
};

/* What the last commit did; for metrics and tests. */
struct rules_stats {
    uint64_t commits, full_syncs, failures;
    size_t transaction_bytes;  /* of the last one */
    int64_t duration_ns;
};

struct rules;
/* Opens netlink in the network namespace of the calling thread, and stays there. Does not touch the kernel's rules yet. 400 for a bad CIDR. */
struct rules *rules_new(const struct rules_config *config, struct status *reterr);
void rules_free(struct rules *r); /* leaves the rules in the kernel; NULL is fine */

/* Records how the port is to be from the next commit on. 400 if a name, address or protocol is malformed: then nothing changes. */
int rules_set(struct rules *r, const struct service_port *port, struct status *reterr) WARN_UNUSED;
/* Records that it is to go; unknown ones are fine. */
void rules_delete(struct rules *r, const char *namespace, const char *name, const char *port_name, const char *protocol);
/* Makes it so. On failure nothing changed in the kernel; the next commit tries a full sync. Does nothing if nothing was recorded. */
int rules_commit(struct rules *r, struct status *reterr) WARN_UNUSED;
/* The next commit replaces everything: for a periodic resync against foreign changes. */
void rules_mark_resync(struct rules *r);
size_t rules_len(const struct rules *r); /* Service ports */
const struct rules_stats *rules_stats(const struct rules *r);
/* Removes our tables: kube-proxy --cleanup. */
int rules_cleanup(struct rules *r, struct status *reterr) WARN_UNUSED;
#endif
