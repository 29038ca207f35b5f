/* Parts of an address range, as a bitmap: see cidr_set.h. */
#include "controller/cidr_set.h"
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "controller/metrics.h"

enum { IPV4_PARTS_BITS_MAX = 24, IPV6_PARTS_BITS_MAX = 16 };

struct range { int family, bits, mask; unsigned char address[16]; }; /* bits: 32 or 128; the address without its host part */

struct cidr_set {
    struct range whole;
    int node_mask;
    size_t max, next, used;
    char label[INET6_ADDRSTRLEN + 32]; /* of its metrics */
    unsigned char *taken; /* a bit a part */
};

static bool range_parse(const char *cidr, struct range *ret) {
    char text[INET6_ADDRSTRLEN + 1];
    const char *slash = cidr ? strchr(cidr, '/') : NULL;
    int64_t mask;
    if (!slash || (size_t)(slash - cidr) >= sizeof(text) || !str_to_i64(slash + 1, &mask)) return false;
    memcpy(text, cidr, (size_t)(slash - cidr));
    text[slash - cidr] = 0;
    memset(ret, 0, sizeof(*ret));
    ret->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    ret->bits = ret->family == AF_INET ? 32 : 128;
    if (mask < 0 || mask > ret->bits || inet_pton(ret->family, text, ret->address) != 1) return false;
    ret->mask = (int)mask;
    for (int i = ret->mask; i < ret->bits; i++) ret->address[i / 8] &= (unsigned char)~(0x80 >> (i % 8));
    return true;
}

static bool same_prefix(const struct range *a, const struct range *b, int bits) {
    for (int i = 0; i < bits; i++)
        if ((a->address[i / 8] ^ b->address[i / 8]) & (0x80 >> (i % 8))) return false;
    return true;
}

static bool overlap(const struct range *a, const struct range *b) { return a->family == b->family && same_prefix(a, b, a->mask < b->mask ? a->mask : b->mask); }

struct cidr_set *cidr_set_new(const char *cidr, int node_mask_ipv4, int node_mask_ipv6, struct status *reterr) {
    struct range whole;
    if (!range_parse(cidr, &whole)) return status_bad_request(reterr, "invalid CIDR address: %s", cidr), NULL;
    bool v4 = whole.family == AF_INET;
    int node_mask = v4 ? node_mask_ipv4 : node_mask_ipv6, bits = node_mask - whole.mask;
    if (bits < 0) return status_bad_request(reterr, "size of the Nodes' ranges (/%d) is larger than the cluster's range %s", node_mask, cidr), NULL;
    if (bits > (v4 ? IPV4_PARTS_BITS_MAX : IPV6_PARTS_BITS_MAX) || node_mask > whole.bits)
        return status_bad_request(reterr, "New CIDR set failed; the node CIDR size is too big"), NULL;
    struct cidr_set *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->whole = whole;
    s->node_mask = node_mask;
    s->max = (size_t)1 << bits;
    CHECK(s->taken = calloc(1, s->max / 8 + 1));
    char text[INET6_ADDRSTRLEN];
    inet_ntop(whole.family, whole.address, text, sizeof(text));
    snprintf(s->label, sizeof(s->label), "clusterCIDR=\"%s/%d\"", text, whole.mask);
    metric_set(&metrics_cidr_max, s->label, (double)s->max);
    return s;
}

void cidr_set_free(struct cidr_set *s) {
    if (!s) return;
    free(s->taken);
    free(s);
}

static void tell_usage(const struct cidr_set *s) { metric_set(&metrics_cidr_usage, s->label, (double)s->used / (double)s->max); }

static bool is_taken(const struct cidr_set *s, size_t i) { return s->taken[i / 8] & (1 << (i % 8)); }

static void set_taken(struct cidr_set *s, size_t i, bool taken) {
    if (is_taken(s, i) == taken) return;
    s->taken[i / 8] ^= (unsigned char)(1 << (i % 8));
    s->used += taken ? 1 : (size_t)-1;
    metric_add(taken ? &metrics_cidr_allocations : &metrics_cidr_releases, s->label, 1);
}

char *cidr_set_allocate(struct cidr_set *s, struct arena *a) {
    if (s->used == s->max) return NULL;
    size_t i = s->next;
    size_t tries = 0;
    for (; is_taken(s, i); tries++) i = (i + 1) % s->max;
    set_taken(s, i, true);
    metric_observe(&metrics_cidr_tries, s->label, (double)tries);
    tell_usage(s);
    s->next = (i + 1) % s->max;
    struct range part = s->whole;
    for (int bit = 0; s->max >> bit > 1; bit++) {
        int at = s->node_mask - 1 - bit;
        if (i >> bit & 1) part.address[at / 8] |= (unsigned char)(0x80 >> (at % 8));
    }
    char text[INET6_ADDRSTRLEN];
    inet_ntop(part.family, part.address, text, sizeof(text));
    return arena_printf(a, "%s/%d", text, s->node_mask);
}

static int mark(struct cidr_set *s, const char *cidr, bool taken, struct status *reterr) {
    struct range r;
    if (!range_parse(cidr, &r)) return status_bad_request(reterr, "invalid CIDR address: %s", cidr);
    if (!overlap(&s->whole, &r)) return status_bad_request(reterr, "cidr %s is out the range of cluster cidr", cidr);
    size_t first = 0, n = s->max;
    if (r.mask > s->whole.mask) {
        for (int i = s->whole.mask; i < s->node_mask; i++) first = first << 1 | (r.address[i / 8] >> (7 - i % 8) & 1);
        n = r.mask < s->node_mask ? (size_t)1 << (s->node_mask - r.mask) : 1;
    }
    for (size_t i = first; i < first + n && i < s->max; i++) set_taken(s, i, taken);
    tell_usage(s);
    return 0;
}

int cidr_set_occupy(struct cidr_set *s, const char *cidr, struct status *reterr) { return mark(s, cidr, true, reterr); }
int cidr_set_release(struct cidr_set *s, const char *cidr, struct status *reterr) { return mark(s, cidr, false, reterr); }

bool cidr_set_overlaps(const struct cidr_set *s, const char *cidr) {
    struct range r;
    return range_parse(cidr, &r) && overlap(&s->whole, &r);
}

bool cidr_contains(const char *cidr, const char *address) {
    struct range r, one;
    char text[INET6_ADDRSTRLEN + 5];
    if (!address || strlen(address) > INET6_ADDRSTRLEN || !range_parse(cidr, &r)) return false;
    snprintf(text, sizeof(text), "%s/%d", address, strchr(address, ':') ? 128 : 32);
    return range_parse(text, &one) && overlap(&r, &one);
}
