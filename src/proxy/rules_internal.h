/* What rules.c (state, diff, transactions) and rules_render.c (one Service port as nftables text) share. */
#ifndef CKUBE_PROXY_RULES_INTERNAL_H
#define CKUBE_PROXY_RULES_INTERNAL_H
#include "base/arena.h"
#include "base/buf.h"
#include "proxy/rules.h"

enum item_kind { ITEM_SET, ITEM_CHAIN, ITEM_ELEMENT };
/* One named thing in the kernel. Sets and chains belong to one Service port; elements may be shared and are counted. */
struct item {
    enum item_kind kind;
    const char *where; /* "ip ckube NAME": NAME is the set or chain itself, or what the element lives in */
    const char *key;   /* elements: the key; otherwise NULL */
    const char *value; /* elements: the verdict, or NULL in a set; sets: the declaration; chains: its rules, a line each */
};

/* How one Service port is, or is to be, in the kernel. */
struct rendered {
    struct arena *arena;
    struct item *items;
    size_t len;
};

struct rules_family {
    bool enabled;
    const char *name;     /* ip, ip6 */
    const char *addr;     /* ipv4_addr, ipv6_addr */
    int af;
    char *cluster_cidr;   /* NULL: unknown */
};

/* 400 for malformed names and addresses; otherwise the caller owns the result. */
struct rendered *rendered_new(const struct rules_family families[2], const struct service_port *port, struct status *reterr);
void rendered_free(struct rendered *r);
/* The table, its maps and the chains that hang in the hooks. */
void rules_render_base(struct buf *out, const struct rules_config *config, const struct rules_family *f);
/* "address" or "address/bits" of the family, and nothing else. */
bool rules_address_valid(int af, const char *text, bool with_prefix);
#endif
