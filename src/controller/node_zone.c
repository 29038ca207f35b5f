/* Zones of Nodes: see node_zone.h. */
#include "controller/node_zone.h"
#include "base/str.h"

struct rate_limiter rate_limiter_new(double qps, int64_t now_ns) { return (struct rate_limiter){qps, 1, now_ns}; }

bool rate_limiter_try(struct rate_limiter *l, int64_t now_ns) {
    if (l->qps <= 0) return false;
    l->tokens = MIN(1, l->tokens + (double)(now_ns - l->at_ns) / 1e9 * l->qps);
    l->at_ns = now_ns;
    if (l->tokens < 1) return false;
    l->tokens -= 1;
    return true;
}

void rate_limiter_swap(struct rate_limiter *l, double qps, int64_t now_ns) {
    if (l->qps == qps) return;
    bool free_now = rate_limiter_try(l, now_ns);
    *l = rate_limiter_new(qps, now_ns);
    if (!free_now) l->tokens = 0;
}

void zone_free(void *zone) {
    struct zone *z = zone;
    for (size_t i = 0; i < z->queue_len; i++) free(z->queue[i]);
    free(z->queue);
    free(z->key);
    free(z);
}

bool zone_queue_has(const struct zone *z, const char *node) {
    for (size_t i = 0; i < z->queue_len; i++)
        if (str_eq(z->queue[i], node)) return true;
    return false;
}

void zone_queue_add(struct zone *z, const char *node) {
    if (zone_queue_has(z, node)) return;
    if (z->queue_len == z->queue_cap) {
        z->queue_cap = z->queue_cap ? z->queue_cap * 2 : 8;
        CHECK(z->queue = realloc(z->queue, z->queue_cap * sizeof(*z->queue)));
    }
    CHECK(z->queue[z->queue_len++] = strdup(node));
}

bool zone_queue_remove(struct zone *z, const char *node) {
    for (size_t i = 0; i < z->queue_len; i++) {
        if (!str_eq(z->queue[i], node)) continue;
        free(z->queue[i]);
        memmove(z->queue + i, z->queue + i + 1, (--z->queue_len - i) * sizeof(*z->queue));
        return true;
    }
    return false;
}

char *zone_key(struct arena *a, const struct corev1_Node *node) {
    const struct string_map *l = &node->metadata.labels;
    const char *zone = string_map_get(l, "topology.kubernetes.io/zone"), *region = string_map_get(l, "topology.kubernetes.io/region");
    if (!zone) zone = string_map_get(l, "failure-domain.beta.kubernetes.io/zone");
    if (!region) region = string_map_get(l, "failure-domain.beta.kubernetes.io/region");
    if (str_empty(zone) && str_empty(region)) return arena_strdup(a, "");
    return arena_printf(a, "%s:\\0:%s", str_or(region, ""), str_or(zone, ""));
}

enum zone_state zone_state_of(int ready, int not_ready, double unhealthy_threshold) {
    if (ready == 0 && not_ready > 0) return ZONE_FULL_DISRUPTION;
    if (not_ready > 2 && (float)not_ready / (float)(not_ready + ready) >= (float)unhealthy_threshold) return ZONE_PARTIAL_DISRUPTION;
    return ZONE_NORMAL;
}
