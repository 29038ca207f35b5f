/* The nftables engine: what is wanted, what the kernel holds, and the transactions between the two. See rules.h; the text of one Service port comes
 * from rules_render.c. Invariant: after a successful commit `applied` of every port, and every element's `applied`, are exactly what the kernel has. */
#include "proxy/rules.h"
#include <arpa/inet.h>
#include <nftables/libnftables.h>
#include "base/env.h"
#include "base/map.h"
#include "base/str.h"
#include "proxy/rules_internal.h"

/* One element of a map or set, counted: two ports of a Service share their cluster IP. */
struct element {
    char *where, *key;
    char *value;   /* wanted; NULL in sets */
    int refs;      /* how many ports want it */
    bool applied;  /* in the kernel */
    char *applied_value;
    bool touched;  /* in the current commit's list */
};

/* A Service port. */
struct port_state {
    struct rendered *applied, *desired; /* desired NULL: to be deleted */
    bool dirty;
    char *key;
};

struct rules {
    struct nft_ctx *nft;
    struct arena *arena; /* the configuration's copy */
    struct rules_config config;
    struct rules_family families[2];
    struct map *ports;    /* key -> port_state */
    struct map *elements; /* "where key" -> element */
    struct port_state **dirty;
    size_t dirty_len, dirty_cap;
    struct element **touched;
    size_t touched_len, touched_cap;
    bool resync;     /* the next commit replaces everything */
    bool contested;  /* two ports want one key (a node port, say): only full syncs keep the first winner straight */
    struct rules_stats stats;
};

/* The steps of a transaction, in the order the kernel wants them. */
struct transaction { struct buf drop_elements, declare, fill, flush, drop_chains, drop_sets, add_elements; };

static void transaction_release(struct transaction *t) {
    struct buf *all[] = {&t->drop_elements, &t->declare, &t->fill, &t->flush, &t->drop_chains, &t->drop_sets, &t->add_elements};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) buf_release(all[i]);
}

static void transaction_join(struct transaction *t, struct buf *out) {
    struct buf *all[] = {&t->drop_elements, &t->declare, &t->flush, &t->fill, &t->drop_chains, &t->drop_sets, &t->add_elements};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) buf_append(out, buf_cstr(all[i]), all[i]->len);
}

static int family_config(struct rules *r, const char *cidr, struct status *reterr) {
    for (int i = 0; i < 2; i++)
        if (rules_address_valid(r->families[i].af, cidr, true)) {
            r->families[i].cluster_cidr = arena_strdup(r->arena, cidr);
            return 0;
        }
    return status_bad_request(reterr, "invalid CIDR \"%s\"", cidr);
}

static int config_copy(struct rules *r, const struct rules_config *config, struct status *reterr) {
    r->config = *config;
    r->families[0] = (struct rules_family){.enabled = config->ipv4, .name = "ip", .addr = "ipv4_addr", .af = AF_INET};
    r->families[1] = (struct rules_family){.enabled = config->ipv6, .name = "ip6", .addr = "ipv6_addr", .af = AF_INET6};
    for (int i = 0; i < 2; i++)
        if (!str_empty(config->cluster_cidr[i]) && family_config(r, config->cluster_cidr[i], reterr)) return -1;
    if (!config->nodeport_addresses) return 0;
    size_t n = 0;
    while (config->nodeport_addresses[n]) n++;
    const char **copy = arena_calloc(r->arena, n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++) {
        const char *c = config->nodeport_addresses[i];
        if (!rules_address_valid(AF_INET, c, true) && !rules_address_valid(AF_INET6, c, true)) return status_bad_request(reterr, "invalid CIDR \"%s\"", c);
        copy[i] = arena_strdup(r->arena, c);
    }
    r->config.nodeport_addresses = copy;
    return 0;
}

struct rules *rules_new(const struct rules_config *config, struct status *reterr) {
    struct rules *r = calloc(1, sizeof(*r));
    CHECK(r);
    r->arena = arena_new();
    r->ports = map_new();
    r->elements = map_new();
    r->resync = true;
    if (config_copy(r, config, reterr)) {
        rules_free(r);
        return NULL;
    }
    r->nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!r->nft || nft_ctx_buffer_error(r->nft) || nft_ctx_buffer_output(r->nft)) {
        rules_free(r);
        status_internal(reterr, "nftables: cannot open netlink");
        return NULL;
    }
    return r;
}

static void port_free(void *p) {
    struct port_state *s = p;
    if (s->desired != s->applied) rendered_free(s->desired);
    rendered_free(s->applied);
    free(s->key);
    free(s);
}

static void element_free(void *p) {
    struct element *e = p;
    free(e->where);
    free(e->key);
    free(e->value);
    free(e->applied_value);
    free(e);
}

void rules_free(struct rules *r) {
    if (!r) return;
    if (r->nft) nft_ctx_free(r->nft);
    map_free_with(r->ports, port_free);
    map_free_with(r->elements, element_free);
    free(r->dirty);
    free(r->touched);
    arena_free(r->arena);
    free(r);
}

static void port_mark_dirty(struct rules *r, struct port_state *s) {
    if (s->dirty) return;
    s->dirty = true;
    if (r->dirty_len == r->dirty_cap) {
        r->dirty_cap = r->dirty_cap ? r->dirty_cap * 2 : 16;
        CHECK(r->dirty = realloc(r->dirty, r->dirty_cap * sizeof(struct port_state *)));
    }
    r->dirty[r->dirty_len++] = s;
}

static void port_key(struct buf *b, const char *namespace, const char *name, const char *port_name, const char *protocol) {
    buf_printf(b, "%s/%s:%s/%s", str_or(namespace, ""), str_or(name, ""), str_or(port_name, ""), str_or(protocol, ""));
}

int rules_set(struct rules *r, const struct service_port *port, struct status *reterr) {
    struct rendered *desired = rendered_new(r->families, port, reterr);
    if (!desired) return -1;
    _cleanup_buf_ struct buf key = BUF_INIT;
    port_key(&key, port->namespace, port->name, port->port_name, port->protocol);
    struct port_state *s = map_get(r->ports, buf_cstr(&key));
    if (!s) {
        CHECK(s = calloc(1, sizeof(*s)));
        CHECK(s->key = strdup(buf_cstr(&key)));
        map_put(r->ports, buf_cstr(&key), s);
    }
    if (s->desired != s->applied) rendered_free(s->desired);
    s->desired = desired;
    port_mark_dirty(r, s);
    return 0;
}

void rules_delete(struct rules *r, const char *namespace, const char *name, const char *port_name, const char *protocol) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    port_key(&key, namespace, name, port_name, protocol);
    struct port_state *s = map_get(r->ports, buf_cstr(&key));
    if (!s) return;
    if (s->desired != s->applied) rendered_free(s->desired);
    s->desired = NULL;
    port_mark_dirty(r, s);
}

void rules_mark_resync(struct rules *r) { r->resync = true; }
size_t rules_len(const struct rules *r) { return map_len(r->ports); }
const struct rules_stats *rules_stats(const struct rules *r) { return &r->stats; }

static void element_touch(struct rules *r, struct element *e) {
    if (e->touched) return;
    e->touched = true;
    if (r->touched_len == r->touched_cap) {
        r->touched_cap = r->touched_cap ? r->touched_cap * 2 : 64;
        CHECK(r->touched = realloc(r->touched, r->touched_cap * sizeof(struct element *)));
    }
    r->touched[r->touched_len++] = e;
}

static struct element *element_get(struct rules *r, const struct item *it) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s %s", it->where, it->key);
    struct element *e = map_get(r->elements, buf_cstr(&key));
    if (!e) {
        CHECK(e = calloc(1, sizeof(*e)));
        CHECK((e->where = strdup(it->where)) && (e->key = strdup(it->key)));
        map_put(r->elements, buf_cstr(&key), e);
    }
    element_touch(r, e);
    return e;
}

static void elements_count_wanted(struct rules *r, const struct rendered *new) {
    for (size_t i = 0; new && i < new->len; i++) {
        if (new->items[i].kind != ITEM_ELEMENT) continue;
        struct element *e = element_get(r, &new->items[i]);
        if (e->refs++ == 0) {
            free(e->value);
            e->value = new->items[i].value ? strdup(new->items[i].value) : NULL;
        } else if (!str_eq(e->value, new->items[i].value)) {
            r->contested = true;
        }
    }
}

/* Counts the elements of the dirty ports: first what they no longer want, then what they want, so that a key may move between two of them. */
static void elements_count(struct rules *r) {
    for (size_t d = 0; d < r->dirty_len; d++) {
        const struct rendered *old = r->dirty[d]->applied;
        for (size_t i = 0; old && i < old->len; i++)
            if (old->items[i].kind == ITEM_ELEMENT) element_get(r, &old->items[i])->refs--;
    }
    for (size_t d = 0; d < r->dirty_len; d++) elements_count_wanted(r, r->dirty[d]->desired);
}

/* Counts everything anew before a full sync, which is what a key that two ports want needs: the next one may have it now. */
static void elements_recount(struct rules *r) {
    const char *key;
    void *value;
    for (size_t pos = 0; map_next(r->elements, &pos, &key, &value);) {
        struct element *e = value;
        e->refs = 0;
        element_touch(r, e);
    }
    r->contested = false;
    for (size_t pos = 0; map_next(r->ports, &pos, &key, &value);) elements_count_wanted(r, ((struct port_state *)value)->desired);
}

static const struct item *item_find(const struct rendered *in, const struct item *like) {
    for (size_t i = 0; in && i < in->len; i++)
        if (in->items[i].kind == like->kind && str_eq(in->items[i].where, like->where)) return &in->items[i];
    return NULL;
}

static void chain_fill(struct transaction *t, const struct item *chain) {
    for (const char *line = chain->value; *line;) {
        const char *end = strchr(line, '\n');
        buf_printf(&t->fill, "add rule %s %.*s\n", chain->where, (int)(end - line), line);
        line = end + 1;
    }
}

/* Sets and chains of one port; old NULL: all new, new NULL: all gone. */
static void port_diff(struct transaction *t, const struct rendered *old, const struct rendered *new) {
    for (size_t i = 0; new && i < new->len; i++) {
        const struct item *it = &new->items[i];
        if (it->kind == ITEM_ELEMENT) continue;
        const struct item *was = item_find(old, it);
        if (was && str_eq(was->value, it->value)) continue;
        if (it->kind == ITEM_SET) {
            CHECK(!was); /* a set's name says all that its declaration does */
            buf_printf(&t->declare, "add set %s %s\n", it->where, it->value);
        } else {
            if (was) buf_printf(&t->flush, "flush chain %s\n", it->where);
            else buf_printf(&t->declare, "add chain %s\n", it->where);
            chain_fill(t, it);
        }
    }
    for (size_t i = 0; old && i < old->len; i++) {
        const struct item *it = &old->items[i];
        if (it->kind == ITEM_ELEMENT || item_find(new, it)) continue;
        if (it->kind == ITEM_SET) {
            buf_printf(&t->drop_sets, "delete set %s\n", it->where);
        } else {
            buf_printf(&t->flush, "flush chain %s\n", it->where);
            buf_printf(&t->drop_chains, "delete chain %s\n", it->where);
        }
    }
}

static void element_line(struct buf *b, const char *verb, const struct element *e, const char *value) {
    buf_printf(b, "%s element %s { %s", verb, e->where, e->key);
    if (value) buf_printf(b, " : %s", value);
    buf_append_str(b, " }\n");
}

static void elements_diff(struct rules *r, struct transaction *t) {
    for (size_t i = 0; i < r->touched_len; i++) {
        struct element *e = r->touched[i];
        bool keep = e->applied && e->refs > 0 && str_eq(e->applied_value, e->value);
        if (keep) continue;
        if (e->applied) element_line(&t->drop_elements, "delete", e, NULL);
        if (e->refs > 0) element_line(&t->add_elements, "add", e, e->value);
    }
}

static void incremental_build(struct rules *r, struct buf *out) {
    struct transaction t = {0};
    for (size_t d = 0; d < r->dirty_len; d++) port_diff(&t, r->dirty[d]->applied, r->dirty[d]->desired);
    elements_diff(r, &t);
    transaction_join(&t, out);
    transaction_release(&t);
}

/* All elements of one map or set in one command: nft takes a long list far faster than many lines. */
static void full_elements(struct rules *r, struct buf *out) {
    static const char *const names[] = {"cluster-ips", "hairpin", "service-ips", "no-endpoint-services", "service-nodeports", "no-endpoint-nodeports"};
    struct buf lists[2][ARRAY_LEN(names)] = {0};
    const char *key;
    void *value;
    for (size_t pos = 0; map_next(r->elements, &pos, &key, &value);) {
        const struct element *e = value;
        if (e->refs <= 0) continue;
        bool v6 = str_has_prefix(e->where, "ip6 ");
        const char *name = strrchr(e->where, ' ') + 1;
        size_t n = 0;
        while (n < ARRAY_LEN(names) && !str_eq(names[n], name)) n++;
        CHECK(n < ARRAY_LEN(names));
        struct buf *b = &lists[v6][n];
        if (b->len) buf_append_str(b, ", ");
        else buf_printf(b, "add element %s { ", e->where);
        buf_append_str(b, e->key);
        if (e->value) buf_printf(b, " : %s", e->value);
    }
    for (int f = 0; f < 2; f++)
        for (size_t n = 0; n < ARRAY_LEN(names); n++) {
            if (lists[f][n].len) buf_printf(out, "%s }\n", buf_cstr(&lists[f][n]));
            buf_release(&lists[f][n]);
        }
}

static void full_build(struct rules *r, struct buf *out) {
    for (int f = 0; f < 2; f++) {
        if (!r->families[f].enabled) continue;
        buf_printf(out, "add table %s ckube\ndelete table %s ckube\n", r->families[f].name, r->families[f].name);
        rules_render_base(out, &r->config, &r->families[f]);
    }
    struct transaction t = {0};
    const char *key;
    void *value;
    for (size_t pos = 0; map_next(r->ports, &pos, &key, &value);) port_diff(&t, NULL, ((struct port_state *)value)->desired);
    transaction_join(&t, out);
    transaction_release(&t);
    full_elements(r, out);
}

static int transaction_run(struct rules *r, const struct buf *text, struct status *reterr) {
    r->stats.transaction_bytes = text->len;
    if (!text->len) return 0;
    int rc = nft_run_cmd_from_buffer(r->nft, buf_cstr(text));
    const char *error = nft_ctx_get_error_buffer(r->nft);
    if (rc == 0) return 0;
    r->stats.failures++;
    return status_internal(reterr, "nftables: %.400s", error && *error ? error : "the transaction was refused");
}

/* What was wanted is now what is. */
static void commit_settle(struct rules *r, bool full) {
    for (size_t d = 0; d < r->dirty_len; d++) {
        struct port_state *s = r->dirty[d];
        s->dirty = false;
        if (s->applied != s->desired) rendered_free(s->applied);
        s->applied = s->desired;
        if (!s->desired) {
            map_del(r->ports, s->key);
            port_free(s);
        }
    }
    r->dirty_len = 0;
    for (size_t i = 0; i < r->touched_len; i++) {
        struct element *e = r->touched[i];
        e->touched = false;
        free(e->applied_value);
        e->applied = e->refs > 0;
        e->applied_value = e->applied && e->value ? strdup(e->value) : NULL;
        if (e->applied) continue;
        _cleanup_buf_ struct buf key = BUF_INIT;
        buf_printf(&key, "%s %s", e->where, e->key);
        map_del(r->elements, buf_cstr(&key));
        element_free(e);
    }
    r->touched_len = 0;
    if (full) r->resync = false;
}

/* A refused commit: the counts go back to what is applied, and the ports stay dirty. */
static void commit_undo(struct rules *r) {
    for (size_t d = 0; d < r->dirty_len; d++) {
        const struct rendered *new = r->dirty[d]->desired, *old = r->dirty[d]->applied;
        for (size_t i = 0; new && i < new->len; i++)
            if (new->items[i].kind == ITEM_ELEMENT) element_get(r, &new->items[i])->refs--;
        for (size_t i = 0; old && i < old->len; i++)
            if (old->items[i].kind == ITEM_ELEMENT) element_get(r, &old->items[i])->refs++;
    }
    for (size_t i = 0; i < r->touched_len; i++) r->touched[i]->touched = false;
    r->touched_len = 0;
    r->resync = true;
}

int rules_commit(struct rules *r, struct status *reterr) {
    if (!r->dirty_len && !r->resync) return 0;
    int64_t begun = env_mono_ns(env_real());
    elements_count(r);
    bool full = r->resync || r->contested;
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (!full) {
        incremental_build(r, &text);
        /* Someone else may have changed our table: then start over from the whole. */
        if (transaction_run(r, &text, NULL)) full = true;
    }
    if (full) {
        buf_clear(&text);
        elements_recount(r);
        full_build(r, &text);
        r->stats.full_syncs++;
        if (transaction_run(r, &text, reterr)) {
            commit_undo(r);
            return -1;
        }
    }
    commit_settle(r, full);
    r->stats.commits++;
    r->stats.duration_ns = env_mono_ns(env_real()) - begun;
    return 0;
}

int rules_cleanup(struct rules *r, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    for (int f = 0; f < 2; f++)
        if (r->families[f].enabled) buf_printf(&text, "add table %s ckube\ndelete table %s ckube\n", r->families[f].name, r->families[f].name);
    r->resync = true;
    return transaction_run(r, &text, reterr);
}
