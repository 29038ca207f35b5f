/* Zones of Nodes, how healthy each is, and how fast the Nodes of each may be tainted. Upstream: nodelifecycle's zone states and scheduler/rate_limited_queue.go.
 *
 * Pure data: the owner locks, and tells the time. Tests: tests/unit/test_controller_node.c. */
#ifndef CKUBE_CONTROLLER_NODE_ZONE_H
#define CKUBE_CONTROLLER_NODE_ZONE_H
#include "api/object.h"
#include "base/map.h"

enum zone_state { ZONE_INITIAL, ZONE_NORMAL, ZONE_PARTIAL_DISRUPTION, ZONE_FULL_DISRUPTION };

/* One action at once, then qps a second; 0: none at all. */
struct rate_limiter { double qps, tokens; int64_t at_ns; };
struct rate_limiter rate_limiter_new(double qps, int64_t now_ns);
bool rate_limiter_try(struct rate_limiter *l, int64_t now_ns);
/* Another rate; one that waits now waits on. */
void rate_limiter_swap(struct rate_limiter *l, double qps, int64_t now_ns);

struct zone {
    char *key;
    enum zone_state state;
    bool seen;               /* in the pass under way */
    int ready, not_ready;    /* counted in the pass under way */
    struct rate_limiter limiter;
    char **queue;            /* Nodes that wait for their NoExecute taint, the oldest first */
    size_t queue_len, queue_cap;
};
void zone_free(void *zone);
bool zone_queue_has(const struct zone *z, const char *node);
void zone_queue_add(struct zone *z, const char *node);    /* nothing if it waits already */
bool zone_queue_remove(struct zone *z, const char *node); /* true if it waited */

/* "region:\0:zone" with the NUL as text, or "" without both labels. */
char *zone_key(struct arena *a, const struct corev1_Node *node);
/* Of how many are Ready and not. */
enum zone_state zone_state_of(int ready, int not_ready, double unhealthy_threshold);
#endif
