/* Cluster IPs and node ports. What is taken is in the store and nowhere else: an IPAddress for each cluster IP, and upstream's RangeAllocation for the node
 * ports. They are written in one transaction with the Service that takes or leaves them, on the condition that nobody else has done so meanwhile; so nothing
 * leaks and nothing is given twice, whichever of several servers on one store writes. Upstream: pkg/registry/core/service/ipallocator, portallocator.
 *
 * All functions read one snapshot of the caller's. Tests: tests/unit/test_allocators.c, tests/integration/test_services.py. */
#ifndef CKUBE_APISERVER_ALLOCATORS_H
#define CKUBE_APISERVER_ALLOCATORS_H
#include <stdbool.h>
#include "api/object.h"
#include "base/arena.h"
#include "base/env.h"
#include "base/status.h"
#include "store/store.h"

#define IP_ADDRESS_LABEL_MANAGED_BY "ipaddress.kubernetes.io/managed-by"
#define IP_ADDRESS_LABEL_FAMILY "ipaddress.kubernetes.io/ip-family"
#define IP_ADDRESS_MANAGER "ipallocator.k8s.io"

/* ---- ranges ---- */

bool ip_is_v6(const char *text);                            /* of an address or a range */
const char *ip_family(const char *text);                    /* "IPv4" or "IPv6" */
/* Whether it is a range that Services' addresses can come from; IPv6 has at most 64 bits for hosts. */
bool ip_range_valid(const char *cidr);
char *ip_range_first(struct arena *a, const char *cidr);    /* the kubernetes Service's; NULL if the range is malformed */
char *ip_range_base(struct arena *a, const char *cidr);     /* what a dry run is given */
bool ip_range_contains(const char *cidr, const char *ip);   /* as a Service's: not the network's address nor IPv4's broadcast. False for anything malformed */

/* ---- cluster IPs ---- */

/* The ranges that addresses are given from: those of ServiceCIDRs that are ready and not being deleted. */
void service_ranges_read(struct arena *a, struct store_txn *t, struct string_list *ret);
/* A free address of the family: the lower part of each range is left to those who ask for an address, as long as the upper one lasts. NULL: all are taken. */
char *cluster_ip_next(struct arena *a, struct env *env, struct store_txn *t, const struct string_list *ranges, const char *family);
/* NULL: the address may be taken. Otherwise upstream's words for why not; `taken_too` false (dry run) does not look whether it is taken. */
const char *cluster_ip_refused(struct arena *a, struct store_txn *t, const struct string_list *ranges, const char *ip, bool taken_too);
char *ip_address_key(struct arena *a, const char *ip);
/* The IPAddress that says whose the address is, with all that a creation sets. */
struct networkingv1_IPAddress *ip_address_new(struct arena *a, struct env *env, const char *ip, const char *service_namespace, const char *service_name);
/* The operation that stores it, on the condition that the key's revision is still `expect` (0: that there is none). */
struct store_op ip_address_put(struct arena *a, struct networkingv1_IPAddress *ip, uint64_t expect);
/* The operation that gives the address back: what has finalizers is marked as deleted. False: there is none, or it is not this Service's. */
bool ip_address_remove(struct arena *a, struct env *env, struct store_txn *t, const char *ip, const char *service_namespace, const char *service_name, struct store_op *ret);

/* ---- node ports ---- */

struct node_ports {
    int min, max;
    uint64_t revision;      /* of the stored RangeAllocation; 0: none */
    bool mismatch;          /* the stored one is of another range */
    bool *taken;            /* max - min + 1 of them */
    const struct corev1_RangeAllocation *stored;
};
void node_ports_read(struct arena *a, struct store_txn *t, int min, int max, struct node_ports *ret);
int node_ports_next(const struct node_ports *p, struct env *env); /* 0: none is free */
/* The operation that stores what is taken now, on the condition that nobody else changed it. */
struct store_op node_ports_put(struct arena *a, const struct node_ports *p);
#endif
