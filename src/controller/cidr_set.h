/* The parts of one address range that are given away, one a Node. Upstream: pkg/controller/nodeipam/ipam/cidrset. Not thread-safe. Tests: tests/unit/test_controller_node.c. */
#ifndef CKUBE_CONTROLLER_CIDR_SET_H
#define CKUBE_CONTROLLER_CIDR_SET_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/status.h"

struct cidr_set;
/* The parts of /node_mask of a range of either family ("10.42.0.0/16", "fd00::/56"); at most 65,536 (IPv6) or 16,777,216 of them. NULL with a status. */
struct cidr_set *cidr_set_new(const char *cidr, int node_mask_ipv4, int node_mask_ipv6, struct status *reterr);
void cidr_set_free(struct cidr_set *s); /* NULL is fine */
/* The next free part, round and round, so that one that was given back is not used again at once. NULL: all are taken. */
char *cidr_set_allocate(struct cidr_set *s, struct arena *a);
/* Takes, or gives back, all parts that a range touches; it need not be of the set's part size. -1: not a range, of another family or outside. */
int cidr_set_occupy(struct cidr_set *s, const char *cidr, struct status *reterr);
int cidr_set_release(struct cidr_set *s, const char *cidr, struct status *reterr);
/* Whether a range has addresses in common with the set's. */
bool cidr_set_overlaps(const struct cidr_set *s, const char *cidr);
bool cidr_contains(const char *cidr, const char *address); /* false for anything malformed */
#endif
