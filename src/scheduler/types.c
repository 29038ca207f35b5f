/* Pods and nodes as the scheduler holds them: see types.h. What a Pod asks for is counted in resource_requests.c. */
#include "scheduler/types.h"
#include "api/quantity.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/str.h"

/* ---- selections ---- */

void selection_init(struct arena *a, struct selection *s, const struct string_list *namespaces, const struct metav1_LabelSelector *namespace_selector,
                    const struct metav1_LabelSelector *selector) {
    *s = (struct selection){.namespaces = *namespaces, .by_namespace_selector = namespace_selector != NULL};
    if (namespace_selector && label_selector_from(a, namespace_selector, &s->namespace_selector, NULL)) s->namespace_selector.nothing = true;
    if (label_selector_from(a, selector, &s->selector, NULL)) s->selector.nothing = true; /* validation lets none such pass */
}

void selection_add_requirement(struct arena *a, struct selection *s, const char *key, enum selector_op op, const char *value) {
    LIST_FOREACH(r, &s->selector)
        if (r->op == op && str_eq(r->key, key) && r->values.len == 1 && str_eq(r->values.items[0], value)) return;
    struct requirement *items = arena_calloc(a, s->selector.len + 1, sizeof(*items));
    if (s->selector.len) memcpy(items, s->selector.items, s->selector.len * sizeof(*items));
    struct requirement r = {.key = key, .op = op};
    string_list_push(a, &r.values, value);
    items[s->selector.len++] = r;
    s->selector.items = items;
}

void selection_finish(struct arena *a, struct selection *s) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    LIST_FOREACH(n, &s->namespaces) buf_printf(&b, "%s,", *n);
    if (s->by_namespace_selector) buf_printf(&b, "/%s%s", s->namespace_selector.nothing ? "!" : "", selector_string(a, &s->namespace_selector));
    buf_printf(&b, "|%s%s", s->selector.nothing ? "!" : "", selector_string(a, &s->selector));
    s->text = arena_strdup(a, buf_cstr(&b));
}

static struct selector selector_copy(struct arena *a, const struct selector *s) {
    struct selector r = {.len = s->len, .nothing = s->nothing, .items = arena_calloc(a, s->len, sizeof(*r.items))};
    for (size_t i = 0; i < s->len; i++) {
        r.items[i] = (struct requirement){.key = arena_strdup(a, s->items[i].key), .op = s->items[i].op};
        LIST_FOREACH(v, &s->items[i].values) string_list_push(a, &r.items[i].values, arena_strdup(a, *v));
    }
    return r;
}

struct selection selection_copy(struct arena *a, const struct selection *s) {
    struct selection r = {.text = arena_strdup(a, s->text), .by_namespace_selector = s->by_namespace_selector,
        .namespace_selector = selector_copy(a, &s->namespace_selector), .selector = selector_copy(a, &s->selector)};
    LIST_FOREACH(n, &s->namespaces) string_list_push(a, &r.namespaces, arena_strdup(a, *n));
    return r;
}

/* ---- Pods ---- */

static void pod_ports(struct pod_info *p, const struct corev1_Container_list *containers, bool sidecars_only) {
    LIST_FOREACH(c, containers) {
        if (sidecars_only && !str_eq(c->restartPolicy, "Always")) continue;
        LIST_FOREACH(port, &c->ports) {
            if (port->hostPort <= 0) continue;
            *LIST_PUSH(p->arena, &p->ports) = (struct host_port){str_or(port->hostIP, "0.0.0.0"), str_or(port->protocol, "TCP"), port->hostPort};
        }
    }
}

static void pod_term(struct pod_info *p, enum term_kind kind, const struct corev1_PodAffinityTerm *t, int32_t weight) {
    struct pod_term *term = LIST_PUSH(p->arena, &p->terms[kind]);
    struct string_list namespaces = t->namespaces;
    if (!namespaces.len && !t->namespaceSelector) string_list_push(p->arena, &namespaces, p->pod->metadata.namespace);
    selection_init(p->arena, &term->selection, &namespaces, t->namespaceSelector, t->labelSelector);
    selection_finish(p->arena, &term->selection);
    term->topology_key = t->topologyKey;
    term->weight = weight;
    if (kind == TERM_AFFINITY) *LIST_PUSH(p->arena, &p->affinity) = term->selection;
}

static void pod_terms(struct pod_info *p) {
    const struct corev1_Affinity *a = p->pod->spec.affinity;
    if (a && a->podAffinity) {
        LIST_FOREACH(t, &a->podAffinity->requiredDuringSchedulingIgnoredDuringExecution) pod_term(p, TERM_AFFINITY, t, 0);
        LIST_FOREACH(t, &a->podAffinity->preferredDuringSchedulingIgnoredDuringExecution) pod_term(p, TERM_PREFERRED_AFFINITY, &t->podAffinityTerm, t->weight);
    }
    if (a && a->podAntiAffinity) {
        LIST_FOREACH(t, &a->podAntiAffinity->requiredDuringSchedulingIgnoredDuringExecution) pod_term(p, TERM_ANTI_AFFINITY, t, 0);
        LIST_FOREACH(t, &a->podAntiAffinity->preferredDuringSchedulingIgnoredDuringExecution)
            pod_term(p, TERM_PREFERRED_ANTI_AFFINITY, &t->podAffinityTerm, t->weight);
    }
}

static void pod_spread(struct pod_info *p) {
    LIST_FOREACH(c, &p->pod->spec.topologySpreadConstraints) {
        struct spread_constraint *s = LIST_PUSH(p->arena, &p->spread);
        struct string_list namespaces = {0};
        string_list_push(p->arena, &namespaces, p->pod->metadata.namespace);
        selection_init(p->arena, &s->selection, &namespaces, NULL, c->labelSelector);
        LIST_FOREACH(k, &c->matchLabelKeys)
            if (string_map_has(&p->pod->metadata.labels, *k))
                selection_add_requirement(p->arena, &s->selection, *k, SELECT_IN, string_map_get(&p->pod->metadata.labels, *k));
        selection_finish(p->arena, &s->selection);
        s->topology_key = c->topologyKey;
        s->max_skew = c->maxSkew;
        s->min_domains = c->minDomains.has ? c->minDomains.value : 1;
        s->hard = str_eq(c->whenUnsatisfiable, "DoNotSchedule");
        s->honor_affinity = !str_eq(c->nodeAffinityPolicy, "Ignore");
        s->honor_taints = str_eq(c->nodeTaintsPolicy, "Honor");
        s->self = selector_matches(&s->selection.selector, &p->pod->metadata.labels);
    }
}

static const char *class_key(struct pod_info *p) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    const struct string_map *labels = &p->pod->metadata.labels;
    buf_printf(&b, "%s%s", str_or(p->pod->metadata.namespace, ""), p->terminating ? "!" : "");
    for (size_t i = 0; i < labels->len; i++) buf_printf(&b, "\n%s=%s", labels->items[i].key, str_or(labels->items[i].value, ""));
    return arena_strdup(p->arena, buf_cstr(&b));
}

static void pod_amounts(struct pod_info *p) {
    int n = resource_count();
    for (int i = 0; i < n; i++) p->amounts.len += p->requests.v[i] != 0;
    p->amounts.items = p->amounts.len <= ARRAY_LEN(p->first_amounts) ? p->first_amounts : arena_calloc(p->arena, p->amounts.len, sizeof(struct amount));
    struct amount *to = p->amounts.items;
    for (int i = 0; i < n; i++)
        if (p->requests.v[i]) *to++ = (struct amount){i, p->requests.v[i]};
}

struct pod_info *pod_info_new(const struct corev1_Pod *pod) {
    struct arena *a = arena_new();
    struct pod_info *p = ARENA_NEW(a, struct pod_info);
    atomic_init(&p->refs, 1);
    p->arena = a;
    p->pod = object_copy(a, &corev1_Pod_desc, pod);
    p->key = arena_printf(a, "%s/%s", str_or(pod->metadata.namespace, ""), str_or(pod->metadata.name, ""));
    p->terminating = pod->metadata.deletionTimestamp.set;
    p->class_key = class_key(p);
    p->unknown_resources = !pod_requests(p->pod, &p->requests);
    pod_requests_nonzero(p->pod, &p->requests, &p->nonzero_cpu, &p->nonzero_memory);
    pod_amounts(p);
    p->key_hash = hash_bytes(p->key, strlen(p->key));
    p->started = pod->status.startTime.set ? pod->status.startTime : (struct api_time){.set = true, .sec = INT64_MAX};
    p->priority = pod->spec.priority.has ? pod->spec.priority.value : 0;
    LIST_FOREACH(v, &p->pod->spec.volumes) p->has_claims |= v->persistentVolumeClaim || v->ephemeral;
    p->has_volumes = p->pod->spec.volumes.len > 0;
    pod_ports(p, &p->pod->spec.initContainers, true);
    pod_ports(p, &p->pod->spec.containers, false);
    pod_terms(p);
    pod_spread(p);
    return p;
}

struct pod_info *pod_info_ref(struct pod_info *p) {
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void pod_info_unref(struct pod_info *p) {
    if (p && atomic_fetch_sub(&p->refs, 1) == 1) arena_free(p->arena);
}

/* ---- nodes ---- */

struct node_info *node_info_new(const char *name) {
    struct node_info *n = calloc(1, sizeof(*n));
    CHECK(n && (n->name = strdup(name)));
    n->slot = -1;
    return n;
}

void node_info_free(struct node_info *n) {
    if (!n) return;
    for (size_t i = 0; i < n->pods_len; i++) pod_info_unref(n->pods[i]);
    for (size_t i = 0; i < n->nominated_len; i++) pod_info_unref(n->nominated[i]);
    free(n->pods);
    free(n->nominated);
    free(n->topology);
    free(n->memo);
    free(n->images.items);
    arena_free(n->arena);
    free(n->name);
    free(n);
}

void node_info_set_node(struct node_info *n, const struct corev1_Node *node) {
    arena_free(n->arena);
    n->arena = NULL;
    n->node = NULL;
    n->allocatable = (struct resources){0};
    n->pods_max = 0;
    n->hard_taints = n->soft_taints = 0;
    n->unschedulable = node && node->spec.unschedulable;
    if (!node) return;
    n->arena = arena_new();
    n->node = object_copy(n->arena, &corev1_Node_desc, node);
    resources_add_list(&n->allocatable, &node->status.allocatable);
    struct quantity pods = quantity_of(string_map_get(&node->status.allocatable, "pods"));
    n->pods_max = quantity_value(&pods);
    LIST_FOREACH(t, &n->node->spec.taints) {
        n->hard_taints += str_eq(t->effect, "NoSchedule") || str_eq(t->effect, "NoExecute");
        n->soft_taints += str_eq(t->effect, "PreferNoSchedule");
    }
}

static void node_count_pod(struct node_info *n, const struct pod_info *p, int sign) {
    LIST_FOREACH(r, &p->amounts) n->requested.v[r->index] += sign * r->value;
    n->nonzero_cpu += sign * p->nonzero_cpu;
    n->nonzero_memory += sign * p->nonzero_memory;
    if (sign > 0) n->ports += p->ports.len;
    else n->ports -= p->ports.len;
}

void node_info_add_pod(struct node_info *n, struct pod_info *p) {
    if (n->pods_len == n->pods_cap) {
        n->pods_cap = n->pods_cap ? n->pods_cap * 2 : 16;
        CHECK(n->pods = realloc(n->pods, n->pods_cap * sizeof(struct pod_info *)));
    }
    p->position = n->pods_len;
    n->pods[n->pods_len++] = pod_info_ref(p);
    node_count_pod(n, p, 1);
}

void node_info_remove_pod(struct node_info *n, struct pod_info *p) {
    CHECK(p->position < n->pods_len && n->pods[p->position] == p);
    node_count_pod(n, p, -1);
    n->pods[p->position] = n->pods[--n->pods_len];
    n->pods[p->position]->position = p->position;
    pod_info_unref(p);
}

/* ---- taints ---- */

const struct corev1_Taint *node_untolerated_taint(const struct corev1_Node *node, const struct corev1_Toleration_list *tolerations) {
    LIST_FOREACH(t, &node->spec.taints)
        if ((str_eq(t->effect, "NoSchedule") || str_eq(t->effect, "NoExecute")) && !node_match_tolerates(tolerations, t)) return t;
    return NULL;
}
