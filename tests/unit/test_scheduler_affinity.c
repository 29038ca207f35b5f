/* Inter-pod affinity and topology spread: tables, and a seeded random cluster in which every node's verdict and scores are compared with a slow reference
 * that counts all Pods anew, as upstream does. */
#include "scheduler_testing.h"
#include <math.h>

#define ZONE "topology.kubernetes.io/zone"
#define HOST "kubernetes.io/hostname"

static struct corev1_Node *big_node(const char *name, const char *labels) {
    return decode(&corev1_Node_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"" HOST "\":\"%s\"%s%s}},\"status\":{\"allocatable\":"
        "{\"cpu\":\"64\",\"memory\":\"64Gi\",\"pods\":\"110\"}}}", name, name, *labels ? "," : "", labels));
}

/* a1, a2 in zone a, b1 in zone b; "web" runs on a1 (app=web), "lonely" on b1 keeps app=db out of its zone. */
static struct scheduler_cache *cluster(void) {
    struct scheduler_cache *c = cache_new();
    cluster_object(c, &corev1_Namespace_desc, "{\"metadata\":{\"name\":\"default\",\"labels\":{\"team\":\"x\"}}}");
    cluster_object(c, &corev1_Namespace_desc, "{\"metadata\":{\"name\":\"other\",\"labels\":{\"team\":\"y\"}}}");
    cluster_node(c, big_node("a1", "\"" ZONE "\":\"a\""));
    cluster_node(c, big_node("a2", "\"" ZONE "\":\"a\""));
    cluster_node(c, big_node("b1", "\"" ZONE "\":\"b\""));
    cluster_pod(c, pod_in("default", "web", "\"app\":\"web\"", "\"nodeName\":\"a1\"", ""));
    cluster_pod(c, pod_in("other", "far", "\"app\":\"far\"", "\"nodeName\":\"a2\"", ""));
    cluster_pod(c, pod_in("default", "lonely", "", "\"nodeName\":\"b1\",\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":["
        "{\"topologyKey\":\"" ZONE "\",\"labelSelector\":{\"matchLabels\":{\"app\":\"db\"}}}]}}", ""));
    return c;
}

#define TERM(app, key, more) "{\"topologyKey\":\"" key "\",\"labelSelector\":{\"matchLabels\":{\"app\":\"" app "\"}}" more "}"
#define AFFINITY(terms) "\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[" terms "]}}"
#define ANTI(terms) "\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[" terms "]}}"
#define NO_HELP(n) " no new claims to deallocate, preemption: 0/3 nodes are available: " n "."

static void inter_pod_affinity_by_the_table(void **state) {
    (void)state;
    static const struct { const char *labels, *spec, *fits, *says; } cases[] = {
        {"", AFFINITY(TERM("web", ZONE, "")), "a1|a2", NULL},
        {"", AFFINITY(TERM("web", HOST, "")), "a1", NULL},
        {"", AFFINITY(TERM("nobody", ZONE, "")), NULL,
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules." NO_HELP("3 Preemption is not helpful for scheduling")},
        {"\"app\":\"first\"", AFFINITY(TERM("first", ZONE, "")), "a1|a2|b1", NULL}, /* the first of its kind */
        {"\"app\":\"first\"", AFFINITY(TERM("first", "rack", "")), NULL,
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules." NO_HELP("3 Preemption is not helpful for scheduling")},
        {"", AFFINITY(TERM("web", ZONE, "") "," TERM("far", ZONE, ",\"namespaces\":[\"other\"]")), NULL, /* no one Pod is meant by both */
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules." NO_HELP("3 Preemption is not helpful for scheduling")},
        {"", AFFINITY(TERM("far", HOST, "")), NULL,
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules." NO_HELP("3 Preemption is not helpful for scheduling")},
        {"", AFFINITY(TERM("far", HOST, ",\"namespaces\":[\"other\"]")), "a2", NULL},
        {"", AFFINITY(TERM("far", HOST, ",\"namespaceSelector\":{}")), "a2", NULL},
        {"", AFFINITY(TERM("far", HOST, ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"y\"}}")), "a2", NULL},
        {"", AFFINITY(TERM("far", HOST, ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"x\"}}")), NULL,
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules." NO_HELP("3 Preemption is not helpful for scheduling")},
        {"", ANTI(TERM("web", ZONE, "")), "b1", NULL},
        {"\"app\":\"db\"", "\"nodeSelector\":{\"" ZONE "\":\"b\"}", NULL,
            "0/3 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules, 2 node(s) didn't match Pod's node affinity/selector."
            NO_HELP("1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling")},
        {"\"app\":\"db\"", "\"nodeSelector\":{\"" ZONE "\":\"a\"}", "a1|a2", NULL},
        {"\"app\":\"db\"", ANTI(TERM("web", ZONE, "")), NULL,
            "0/3 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules, 2 node(s) didn't match pod anti-affinity rules."
            NO_HELP("3 No preemption victims found for incoming pod")},
        {"", "\"affinity\":{\"podAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":100,\"podAffinityTerm\":" TERM("web", HOST, "") "}]}}", "a1", NULL},
        {"", "\"affinity\":{\"podAntiAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":100,\"podAffinityTerm\":" TERM("web", ZONE, "") "}]}}", "b1", NULL},
    };
    struct scheduler_cache *c = cluster();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case %zu\n", i);
        struct schedule_result r = cycle_of(c, NULL, pod_in("default", "new", cases[i].labels, cases[i].spec, ""));
        assert_result(&r, cases[i].fits, cases[i].says);
    }
    cache_free(c);
}

#define SPREAD(key, skew, when, more) "{\"topologyKey\":\"" key "\",\"maxSkew\":" skew ",\"whenUnsatisfiable\":\"" when "\",\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}}" more "}"
#define HARD(key, skew, more) "\"topologySpreadConstraints\":[" SPREAD(key, skew, "DoNotSchedule", more) "]"

static void topology_spread_by_the_table(void **state) {
    (void)state;
    static const struct { const char *labels, *spec, *fits, *says; } cases[] = {
        {"\"app\":\"web\"", HARD(ZONE, "1", ""), "b1", NULL},
        {"", HARD(ZONE, "1", ""), "a1|a2|b1", NULL}, /* does not add to what it counts */
        {"\"app\":\"web\"", HARD(ZONE, "2", ""), "a1|a2|b1", NULL},
        {"\"app\":\"web\"", HARD(HOST, "1", ""), "a2|b1", NULL},
        {"\"app\":\"web\"", HARD("rack", "1", ""), NULL,
            "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label)." NO_HELP("3 Preemption is not helpful for scheduling")},
        {"\"app\":\"web\"", HARD(ZONE, "1", "") ",\"nodeSelector\":{\"" ZONE "\":\"a\"}", "a1|a2", NULL}, /* zone b does not count */
        {"\"app\":\"web\"", HARD(ZONE, "1", ",\"nodeAffinityPolicy\":\"Ignore\"") ",\"nodeSelector\":{\"" ZONE "\":\"a\"}", NULL,
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) didn't match pod topology spread constraints."
            NO_HELP("1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod")},
        {"\"app\":\"web\"", HARD(ZONE, "1", ",\"minDomains\":3"), "b1", NULL},
        {"\"app\":\"web\",\"v\":\"2\"", HARD(ZONE, "1", ",\"matchLabelKeys\":[\"v\"]"), "a1|a2|b1", NULL}, /* web has no such label */
        {"\"app\":\"web\"", "\"topologySpreadConstraints\":[" SPREAD(ZONE, "1", "ScheduleAnyway", "") "]", "b1", NULL},
        {"\"app\":\"web\"", "\"topologySpreadConstraints\":[" SPREAD(ZONE, "1", "DoNotSchedule", "") "," SPREAD(HOST, "1", "DoNotSchedule", "") "]", "b1", NULL},
    };
    struct scheduler_cache *c = cluster();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case %zu\n", i);
        struct schedule_result r = cycle_of(c, NULL, pod_in("default", "new", cases[i].labels, cases[i].spec, ""));
        assert_result(&r, cases[i].fits, cases[i].says);
    }
    cluster_pod(c, pod_in("default", "web2", "\"app\":\"web\"", "\"nodeName\":\"b1\"", ""));
    struct schedule_result r = cycle_of(c, NULL, pod_in("default", "new", "\"app\":\"web\"", HARD(ZONE, "1", ",\"minDomains\":3"), ""));
    assert_result(&r, NULL, "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints." NO_HELP("3 No preemption victims found for incoming pod"));
    cache_free(c);
}

static void pods_of_a_service_or_replica_set_are_spread_without_being_asked(void **state) {
    (void)state;
    struct scheduler_cache *c = cluster();
    struct corev1_Pod *p = pod_in("default", "new", "\"app\":\"web\"", "\"tolerations\":[]", "");
    cluster_object(c, &corev1_Service_desc, "{\"metadata\":{\"name\":\"s\",\"namespace\":\"default\"},\"spec\":{\"selector\":{\"app\":\"web\"}}}");
    struct schedule_result r = cycle_of(c, NULL, p);
    assert_result(&r, "b1", NULL);
    cluster_pod(c, pod_in("default", "web2", "\"app\":\"web\"", "\"nodeName\":\"b1\"", ""));
    cluster_pod(c, pod_in("default", "web3", "\"app\":\"web\"", "\"nodeName\":\"b1\"", ""));
    r = cycle_of(c, NULL, p);
    assert_result(&r, "a2", NULL);
    cache_free(c);
}

/* ---- the random cluster ---- */

static uint64_t state_of_random;
static unsigned rnd(unsigned n) {
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state_of_random >> 33) % n;
}

static const char *random_term(void) {
    static const char *const keys[] = {ZONE, HOST, "rack"}, *const apps[] = {"a", "b", "c"};
    static const char *const namespaces[] = {"", ",\"namespaces\":[\"n2\"]", ",\"namespaceSelector\":{}", ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"x\"}}",
                                             ",\"namespaces\":[\"n1\"],\"namespaceSelector\":{\"matchExpressions\":[{\"key\":\"team\",\"operator\":\"DoesNotExist\"}]}"};
    return arena_printf(arena, "{\"topologyKey\":\"%s\",\"labelSelector\":{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"%s\",\"values\":[\"%s\"]}]}%s}", keys[rnd(3)],
                        rnd(4) ? "In" : "NotIn", apps[rnd(3)], namespaces[rnd(5)]);
}

static const char *random_terms(void) {
    return rnd(3) ? random_term() : arena_printf(arena, "%s,%s", random_term(), random_term());
}
static const char *random_weighted(void) { return arena_printf(arena, "{\"weight\":%u,\"podAffinityTerm\":%s}", 1 + rnd(100), random_term()); }

static const char *random_spec(const char *on) {
    char *s = arena_printf(arena, "\"nodeName\":\"%s\"", on);
    if (rnd(3) == 0) s = arena_printf(arena, "%s,\"nodeSelector\":{\"disk\":\"%s\"}", s, rnd(2) ? "ssd" : "hdd");
    if (rnd(4) == 0) s = arena_printf(arena, "%s,\"tolerations\":[{\"operator\":\"Exists\"}]", s);
    if (rnd(2)) {
        s = arena_printf(arena, "%s,\"affinity\":{", s);
        bool first = true;
        for (int anti = 0; anti < 2; anti++) {
            if (rnd(2)) continue;
            s = arena_printf(arena, "%s%s\"pod%sAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[%s],\"preferredDuringSchedulingIgnoredDuringExecution\":[%s]}", s,
                             first ? "" : ",", anti ? "Anti" : "", rnd(2) ? random_terms() : "", rnd(2) ? random_weighted() : "");
            first = false;
        }
        s = arena_printf(arena, "%s}", s);
    }
    if (rnd(2) == 0) return s;
    static const char *const keys[] = {ZONE, HOST, "rack"};
    s = arena_printf(arena, "%s,\"topologySpreadConstraints\":[", s);
    for (unsigned i = 0, n = 1 + rnd(2); i < n; i++)
        s = arena_printf(arena, "%s%s{\"topologyKey\":\"%s\",\"maxSkew\":%u,\"whenUnsatisfiable\":\"%s\",\"labelSelector\":{\"matchLabels\":{\"app\":\"%c\"}}%s%s%s}", s, i ? "," : "",
                         keys[(rnd(2) + i) % 3], 1 + rnd(2), rnd(2) ? "DoNotSchedule" : "ScheduleAnyway", "abc"[rnd(3)], rnd(3) ? "" : ",\"nodeTaintsPolicy\":\"Honor\"",
                         rnd(3) ? "" : ",\"nodeAffinityPolicy\":\"Ignore\"", "");
    return arena_printf(arena, "%s]", s);
}

static struct corev1_Pod *random_pod(const char *name, const char *on) {
    struct corev1_Pod *p = pod_in(arena_printf(arena, "n%u", 1 + rnd(3)), name, arena_printf(arena, "\"app\":\"%c\"", "abc"[rnd(3)]), random_spec(on), "");
    if (rnd(8) == 0) p->metadata.deletionTimestamp = (struct api_time){.set = true, .sec = 5};
    return p;
}

static void random_node(struct scheduler_cache *c, unsigned i) {
    char *labels = arena_printf(arena, "\"disk\":\"%s\"", rnd(2) ? "ssd" : "hdd");
    if (rnd(8)) labels = arena_printf(arena, "%s,\"" ZONE "\":\"z%u\"", labels, rnd(3));
    if (rnd(2)) labels = arena_printf(arena, "%s,\"rack\":\"r%u\"", labels, rnd(4));
    struct corev1_Node *n = big_node(arena_printf(arena, "node%u", i), labels);
    if (rnd(4) == 0) *LIST_PUSH(arena, &n->spec.taints) = (struct corev1_Taint){.key = "k", .effect = "NoSchedule"};
    cluster_node(c, n);
}

/* ---- the reference: counts everything anew, by upstream's text ---- */

static bool term_means(struct scheduler_cache *c, const struct corev1_Pod *owner, const struct corev1_PodAffinityTerm *t, const struct corev1_Pod *p) {
    struct selector s, ns;
    assert_int_equal(label_selector_from(arena, t->labelSelector, &s, NULL), 0);
    bool in = string_list_has(&t->namespaces, p->metadata.namespace);
    if (!t->namespaces.len && !t->namespaceSelector) in = str_eq(owner->metadata.namespace, p->metadata.namespace);
    if (t->namespaceSelector) {
        const struct corev1_Namespace *n = cache_get(c, &corev1_Namespace_desc, NULL, p->metadata.namespace);
        assert_int_equal(label_selector_from(arena, t->namespaceSelector, &ns, NULL), 0);
        static const struct string_map none; /* a namespace that is not known has no labels */
        in |= selector_matches(&ns, n ? &n->metadata.labels : &none);
    }
    return in && selector_matches(&s, &p->metadata.labels);
}

static bool same_domain(const struct corev1_Node *a, const struct corev1_Node *b, const char *key) {
    const char *x = string_map_get(&a->metadata.labels, key), *y = string_map_get(&b->metadata.labels, key);
    return x && y && str_eq(x, y);
}

#define EACH_POD(cy, n, e) \
    for (size_t n##_i = 0; n##_i < (cy)->nodes_len; n##_i++) \
        for (size_t e##_i = 0; e##_i < (cy)->nodes[n##_i]->pods_len; e##_i++) \
            for (const struct corev1_Node *n = (cy)->nodes[n##_i]->node, *n##_once = n; n##_once; n##_once = NULL) \
                for (const struct corev1_Pod *e = (cy)->nodes[n##_i]->pods[e##_i]->pod; e; e = NULL)

static const struct corev1_PodAffinity none_affinity;
static const struct corev1_PodAffinity *affinity_of(const struct corev1_Pod *p) {
    return p->spec.affinity && p->spec.affinity->podAffinity ? p->spec.affinity->podAffinity : &none_affinity;
}
static const struct corev1_PodAntiAffinity none_anti;
static const struct corev1_PodAntiAffinity *anti_of(const struct corev1_Pod *p) {
    return p->spec.affinity && p->spec.affinity->podAntiAffinity ? p->spec.affinity->podAntiAffinity : &none_anti;
}

static bool all_mean(struct scheduler_cache *c, const struct corev1_Pod *p, const struct corev1_Pod *e) {
    LIST_FOREACH(t, &affinity_of(p)->requiredDuringSchedulingIgnoredDuringExecution)
        if (!term_means(c, p, t, e)) return false;
    return true;
}

static const char *reference_affinity(struct cycle *cy, const struct corev1_Pod *p, const struct corev1_Node *node) {
    const struct corev1_PodAffinityTerm_list *required = &affinity_of(p)->requiredDuringSchedulingIgnoredDuringExecution;
    bool anywhere = false, here = true;
    LIST_FOREACH(t, required) {
        if (!string_map_has(&node->metadata.labels, t->topologyKey)) return "node(s) didn't match pod affinity rules";
        bool found = false;
        EACH_POD(cy, n, e) {
            if (!all_mean(cy->cache, p, e)) continue;
            anywhere |= string_map_has(&n->metadata.labels, t->topologyKey);
            found |= same_domain(n, node, t->topologyKey);
        }
        here &= found;
    }
    if (required->len && !here && (anywhere || !all_mean(cy->cache, p, p))) return "node(s) didn't match pod affinity rules";
    LIST_FOREACH(t, &anti_of(p)->requiredDuringSchedulingIgnoredDuringExecution)
        EACH_POD(cy, n, e)
            if (term_means(cy->cache, p, t, e) && same_domain(n, node, t->topologyKey)) return "node(s) didn't match pod anti-affinity rules";
    EACH_POD(cy, n, e)
        LIST_FOREACH(t, &anti_of(e)->requiredDuringSchedulingIgnoredDuringExecution)
            if (term_means(cy->cache, e, t, p) && same_domain(n, node, t->topologyKey)) return "node(s) didn't satisfy existing pods anti-affinity rules";
    return NULL;
}

static int64_t reference_affinity_score(struct cycle *cy, const struct corev1_Pod *p, const struct corev1_Node *node) {
    int64_t sum = 0;
    EACH_POD(cy, n, e) {
        LIST_FOREACH(t, &affinity_of(p)->preferredDuringSchedulingIgnoredDuringExecution)
            if (term_means(cy->cache, p, &t->podAffinityTerm, e) && same_domain(n, node, t->podAffinityTerm.topologyKey)) sum += t->weight;
        LIST_FOREACH(t, &anti_of(p)->preferredDuringSchedulingIgnoredDuringExecution)
            if (term_means(cy->cache, p, &t->podAffinityTerm, e) && same_domain(n, node, t->podAffinityTerm.topologyKey)) sum -= t->weight;
        LIST_FOREACH(t, &affinity_of(e)->requiredDuringSchedulingIgnoredDuringExecution)
            if (term_means(cy->cache, e, t, p) && same_domain(n, node, t->topologyKey)) sum += 1;
        LIST_FOREACH(t, &affinity_of(e)->preferredDuringSchedulingIgnoredDuringExecution)
            if (term_means(cy->cache, e, &t->podAffinityTerm, p) && same_domain(n, node, t->podAffinityTerm.topologyKey)) sum += t->weight;
        LIST_FOREACH(t, &anti_of(e)->preferredDuringSchedulingIgnoredDuringExecution)
            if (term_means(cy->cache, e, &t->podAffinityTerm, p) && same_domain(n, node, t->podAffinityTerm.topologyKey)) sum -= t->weight;
    }
    return sum;
}

static bool has_keys(const struct corev1_Pod *p, const char *when, const struct corev1_Node *n) {
    LIST_FOREACH(c, &p->spec.topologySpreadConstraints)
        if (str_eq(c->whenUnsatisfiable, when) && !string_map_has(&n->metadata.labels, c->topologyKey)) return false;
    return true;
}

static bool counts(const struct corev1_TopologySpreadConstraint *c, const struct corev1_Pod *p, const struct corev1_Node *n) {
    if (!str_eq(c->nodeAffinityPolicy, "Ignore") && !node_match_affinity(&p->spec, n)) return false;
    return !str_eq(c->nodeTaintsPolicy, "Honor") || !node_untolerated_taint(n, &p->spec.tolerations);
}

static int64_t selected_on(const struct corev1_TopologySpreadConstraint *c, const struct corev1_Pod *p, const struct node_info *n) {
    struct selector s;
    int64_t count = 0;
    assert_int_equal(label_selector_from(arena, c->labelSelector, &s, NULL), 0);
    for (size_t i = 0; i < n->pods_len; i++) {
        const struct corev1_Pod *e = n->pods[i]->pod;
        count += !e->metadata.deletionTimestamp.set && str_eq(e->metadata.namespace, p->metadata.namespace) && selector_matches(&s, &e->metadata.labels);
    }
    return count;
}

/* Selected Pods in the domain of `at` (*ret_found: an eligible node is in it). */
static int64_t domain_count(struct cycle *cy, const struct corev1_TopologySpreadConstraint *c, const struct corev1_Pod *p, const char *when, const struct corev1_Node *at, bool *ret_found) {
    int64_t sum = 0;
    *ret_found = false;
    for (size_t i = 0; i < cy->nodes_len; i++) {
        const struct node_info *n = cy->nodes[i];
        if (!has_keys(p, when, n->node) || !counts(c, p, n->node) || !same_domain(n->node, at, c->topologyKey)) continue;
        *ret_found = true;
        sum += selected_on(c, p, n);
    }
    return sum;
}

static const char *reference_spread(struct cycle *cy, const struct corev1_Pod *p, const struct corev1_Node *node) {
    LIST_FOREACH(c, &p->spec.topologySpreadConstraints) {
        if (!str_eq(c->whenUnsatisfiable, "DoNotSchedule")) continue;
        if (!string_map_has(&node->metadata.labels, c->topologyKey)) return "node(s) didn't match pod topology spread constraints (missing required label)";
        int64_t min = INT32_MAX;
        bool found, any = false;
        for (size_t i = 0; i < cy->nodes_len; i++) {
            int64_t n = domain_count(cy, c, p, "DoNotSchedule", cy->nodes[i]->node, &found);
            if (found) min = MIN(min, n), any = true;
        }
        if (!any) min = 0;
        struct selector s;
        assert_int_equal(label_selector_from(arena, c->labelSelector, &s, NULL), 0);
        if (domain_count(cy, c, p, "DoNotSchedule", node, &found) + selector_matches(&s, &p->metadata.labels) - min > c->maxSkew)
            return "node(s) didn't match pod topology spread constraints";
    }
    return NULL;
}

static int64_t reference_spread_score(struct cycle *cy, const struct corev1_Pod *p, const struct node_info *node) {
    if (!has_keys(p, "ScheduleAnyway", node->node)) return 0;
    double sum = 0;
    LIST_FOREACH(c, &p->spec.topologySpreadConstraints) {
        if (!str_eq(c->whenUnsatisfiable, "ScheduleAnyway")) continue;
        size_t size = 0;
        bool found;
        for (size_t i = 0; i < cy->nodes_len; i++) {
            bool first = has_keys(p, "ScheduleAnyway", cy->nodes[i]->node);
            if (!str_eq(c->topologyKey, HOST))
                for (size_t k = 0; k < i; k++)
                    first &= !has_keys(p, "ScheduleAnyway", cy->nodes[k]->node) || !same_domain(cy->nodes[k]->node, cy->nodes[i]->node, c->topologyKey);
            size += first;
        }
        int64_t n = str_eq(c->topologyKey, HOST) ? selected_on(c, p, node) : domain_count(cy, c, p, "ScheduleAnyway", node->node, &found);
        sum += (double)n * log((double)size + 2) + c->maxSkew - 1;
    }
    return llround(sum);
}

/* ---- comparing ---- */

static struct profile only_these(void) {
    struct profile p, q;
    profile_init_default(&p, "x");
    q = p;
    q.percentage = 100;
    for (int point = 0; point < POINTS_LEN; point++) {
        q.points[point].len = 0;
        for (int i = 0; i < p.points[point].len; i++) {
            enum plugin_id id = p.points[point].items[i].plugin->id;
            if (id == PLUGIN_INTER_POD_AFFINITY || id == PLUGIN_POD_TOPOLOGY_SPREAD) q.points[point].items[q.points[point].len++] = p.points[point].items[i];
        }
    }
    return q;
}

static const char *verdict(struct cycle *cy, enum plugin_id id, struct node_info *n) {
    struct reasons why = {0};
    if (cy->skip_filter >> id & 1) return NULL;
    cy->use = &(struct plugin_use){all_plugins[id], cy->profile->args[id], 1};
    return all_plugins[id]->filter(cy, n, &why) == CODE_SUCCESS ? NULL : why.items[0];
}

static void scores_compare(struct cycle *cy, const struct corev1_Pod *p) {
    cy->use = &(struct plugin_use){&plugin_inter_pod_affinity, cy->profile->args[PLUGIN_INTER_POD_AFFINITY], 1};
    bool skip = plugin_inter_pod_affinity.pre_score(cy, cy->nodes, cy->nodes_len) == CODE_SKIP;
    for (size_t i = 0; i < cy->nodes_len; i++)
        assert_int_equal(skip ? 0 : plugin_inter_pod_affinity.score(cy, cy->nodes[i]), reference_affinity_score(cy, p, cy->nodes[i]->node));
    cy->use = &(struct plugin_use){&plugin_pod_topology_spread, cy->profile->args[PLUGIN_POD_TOPOLOGY_SPREAD], 1};
    if (plugin_pod_topology_spread.pre_score(cy, cy->nodes, cy->nodes_len) == CODE_SKIP) return;
    for (size_t i = 0; i < cy->nodes_len; i++) assert_int_equal(plugin_pod_topology_spread.score(cy, cy->nodes[i]), reference_spread_score(cy, p, cy->nodes[i]));
}

static void compare(struct scheduler_cache *c, const struct profile *profile, const struct corev1_Pod *p) {
    struct framework f = {.handle = {&fake_env, c, NULL}};
    struct pod_info *info = pod_info_new(p);
    struct schedule_result r;
    struct cycle *cy;
    framework_schedule(&f, profile, arena, info, &r, &cy);
    for (size_t i = 0; i < cy->nodes_len; i++) {
        const char *a = verdict(cy, PLUGIN_INTER_POD_AFFINITY, cy->nodes[i]), *b = reference_affinity(cy, p, cy->nodes[i]->node);
        if (!str_eq(a, b)) fail_msg("affinity of %s: %s, but by the reference: %s", cy->nodes[i]->name, str_or(a, "fits"), str_or(b, "fits"));
        a = verdict(cy, PLUGIN_POD_TOPOLOGY_SPREAD, cy->nodes[i]), b = reference_spread(cy, p, cy->nodes[i]->node);
        if (!str_eq(a, b)) fail_msg("spread of %s: %s, but by the reference: %s", cy->nodes[i]->name, str_or(a, "fits"), str_or(b, "fits"));
    }
    scores_compare(cy, p);
    pod_info_unref(info);
}

static void node_gone(struct scheduler_cache *c, const char *name) {
    struct old_node old = cache_delete_node(c, name);
    old_node_release(&old);
}

static void counts_that_are_kept_up_to_date_agree_with_counting_anew(void **state) {
    (void)state;
    struct profile profile = only_these();
    for (uint64_t round = 1; round <= 60; round++) {
        state_of_random = round * 977;
        struct scheduler_cache *c = cache_new();
        for (int step = 0; step < 150; step++) {
            unsigned what = rnd(20);
            const char *name = arena_printf(arena, "p%u", rnd(25)), *on = arena_printf(arena, "node%u", rnd(9));
            if (what < 4) random_node(c, rnd(8));
            else if (what < 5) node_gone(c, on);
            else if (what < 12) cluster_pod(c, random_pod(name, on));
            else if (what < 14) pod_info_unref(cache_delete_pod(c, arena_printf(arena, "n%u/%s", 1 + rnd(3), name)));
            else if (what < 15)
                cluster_object(c, &corev1_Namespace_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"n%u\",\"labels\":{%s}}}", 1 + rnd(3), rnd(2) ? "\"team\":\"x\"" : ""));
            else compare(c, &profile, random_pod("new", ""));
        }
        cache_free(c);
        arena_reset(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(inter_pod_affinity_by_the_table),
        TEST(topology_spread_by_the_table),
        TEST(pods_of_a_service_or_replica_set_are_spread_without_being_asked),
        TEST(counts_that_are_kept_up_to_date_agree_with_counting_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
