/* Which Lease to move where: see lease_spread.h. Pure: no clock, no client. */
#include "base/str.h"
#include "client/lease_spread.h"

static int load(const struct spread_role *roles, size_t len, const char *node) {
    int sum = 0;
    for (size_t i = 0; i < len; i++)
        if (roles[i].node && str_eq(roles[i].node, node)) sum += roles[i].weight;
    return sum;
}

/* By how much the sum of the squares of the loads falls, halved and divided by the weight: above 0 the move helps, and moves that help come to an end. */
static int gain(const struct spread_role *roles, size_t len, const struct spread_role *r, const char *to) {
    return load(roles, len, r->node) - load(roles, len, to) - r->weight;
}

bool spread_best_move(const struct spread_role *roles, size_t roles_len, size_t *ret_role, size_t *ret_place) {
    int best = 0;
    for (size_t i = 0; i < roles_len; i++) {
        const struct spread_role *r = &roles[i];
        if (!r->movable || !r->node) continue;
        for (size_t p = 0; p < r->places_len; p++) {
            if (str_eq(r->places[p].node, r->node)) continue;
            int g = gain(roles, roles_len, r, r->places[p].node);
            if (g <= best) continue;
            best = g;
            *ret_role = i;
            *ret_place = p;
        }
    }
    return best > 0;
}

bool spread_best_place(const struct spread_role *roles, size_t roles_len, size_t role, size_t *ret_place) {
    const struct spread_role *r = &roles[role];
    for (size_t p = 0; p < r->places_len; p++)
        if (p == 0 || load(roles, roles_len, r->places[p].node) < load(roles, roles_len, r->places[*ret_place].node)) *ret_place = p;
    return r->places_len > 0;
}
