/* How many Pods that a term selects are in each topology domain, kept up to date as Pods come and go, so that a cycle reads where upstream counts all
 * Pods anew. Upstream has no counterpart: interpodaffinity and podtopologyspread walk over all nodes' Pods in PreFilter.
 *
 *   class      Pods that selectors cannot tell apart: same namespace and labels, being deleted or not
 *   counter    a selection and a topology key: Pods selected, by the key's value (or by node, where the key is NULL)
 *   holding    a kind of term, its selection, weight and key: Pods that carry such a term, by the key's value
 *
 * Which counters count a class and which holdings select it is found once for each pair; placing a Pod then costs one addition for each. A counter is
 * made when the first Pod asks for it, by one walk over all Pods, and lives until index_maintain finds that there are too many: then all are forgotten.
 * Pointers are good until the next index_maintain. Owned by the cache and used under its lock. Tests: test_scheduler_affinity.c. */
#ifndef CKUBE_SCHEDULER_TOPOLOGY_INDEX_H
#define CKUBE_SCHEDULER_TOPOLOGY_INDEX_H
#include "scheduler/types.h"

struct topology_key {
    char *name;
    int number;              /* index into node_info.topology */
    struct map *values;      /* value -> number + 1 */
    char **texts;            /* of each number; NULL: free */
    int32_t *nodes;          /* of each number: how many nodes have it */
    int32_t *free;           /* numbers that no node has any more */
    int32_t len, cap, free_len;
    size_t nodes_with;       /* nodes that have the label at all */
};

struct counter {
    const struct topology_key *key; /* NULL: by node_info.slot */
    struct selection *all;          /* a Pod must be meant by each of these */
    size_t all_len;
    bool living;                    /* Pods that are being deleted do not count */
    int32_t *counts, cap;
    int64_t total;
    uint64_t version;               /* moves with each change */
};

struct holding {
    enum term_kind kind;
    int32_t weight;
    const struct topology_key *key;
    struct selection selection;
    int32_t *counts, cap;
    int64_t total;
};

struct pod_class {
    struct pod_class *next;
    const char *namespace;
    struct string_map labels;
    bool terminating, mark;
    struct counter **counters;
    struct holding **holdings;
    size_t counters_len, holdings_len;
    /* The constraints of default spreading (plugins/pod_topology_spread.c), and what they were made of. */
    struct arena *default_arena;
    struct spread_constraint_list defaults;
    const char *default_owner;
    const void *default_args;
    uint64_t default_generation;
};

struct topology_index;
/* The labels of a namespace; NULL: there is none of that name. */
typedef const struct string_map *(*namespace_labels_fn)(void *data, const char *namespace);
struct topology_index *index_new(namespace_labels_fn namespace_labels, void *data);
void index_free(struct topology_index *x);

/* A node appears or goes, with the Pods that are on it. Its labels may only change in between. */
void index_add_node(struct topology_index *x, struct node_info *n);
void index_remove_node(struct topology_index *x, struct node_info *n);
/* A Pod comes to (+1) or leaves (-1) a node that has been added. */
void index_count_pod(struct topology_index *x, const struct node_info *n, struct pod_info *p, int sign);

/* Before a cycle: forgets what has become too much or out of date. */
void index_maintain(struct topology_index *x);
void index_namespaces_changed(struct topology_index *x); /* what namespaceSelectors select is to be found anew at the next index_maintain */
uint64_t index_epoch(const struct topology_index *x);    /* changes when pointers become invalid */

struct pod_class *index_class(struct topology_index *x, struct pod_info *p);
bool selection_means(const struct topology_index *x, const struct selection *s, const struct pod_class *c);
struct counter *index_counter(struct topology_index *x, const struct selection *all, size_t len, const char *topology_key, bool living);
const struct topology_key *index_topology_key(struct topology_index *x, const char *name);

/* The domain of a node under a key (NULL: the node itself); -1: it has none. */
static inline int32_t topology_value(const struct topology_key *key, const struct node_info *n) { return key ? n->topology[key->number] : n->slot; }
static inline int32_t counter_of(const struct counter *c, int32_t value) { return value >= 0 && value < c->cap ? c->counts[value] : 0; }
static inline int32_t holding_of(const struct holding *h, int32_t value) { return value >= 0 && value < h->cap ? h->counts[value] : 0; }
#endif
