/* Pods and nodes as the scheduler holds them: see types.h. */
#include "scheduler/types.h"
#include <pthread.h>
#include <stdio.h>
#include "api/quantity.h"
#include "base/str.h"

#define NONZERO_CPU_MILLI 100
#define NONZERO_MEMORY_BYTES (200LL * 1024 * 1024)

static pthread_mutex_t names_mutex = PTHREAD_MUTEX_INITIALIZER;
static char *names[RESOURCES_MAX] = {(char *)(uintptr_t)"cpu", (char *)(uintptr_t)"memory", (char *)(uintptr_t)"ephemeral-storage"};
static char *reasons[RESOURCES_MAX] = {(char *)(uintptr_t)"Insufficient cpu", (char *)(uintptr_t)"Insufficient memory", (char *)(uintptr_t)"Insufficient ephemeral-storage"};
static atomic_int names_len = RESOURCE_FIRST_SCALAR;

int resource_index(const char *name) {
    if (str_eq(name, "pods")) return -1;
    for (int i = 0; i < atomic_load(&names_len); i++)
        if (str_eq(names[i], name)) return i;
    pthread_mutex_lock(&names_mutex);
    int n = atomic_load(&names_len), found = -1;
    for (int i = 0; i < n && found < 0; i++)
        if (str_eq(names[i], name)) found = i;
    if (found < 0 && n < RESOURCES_MAX) {
        CHECK((names[n] = strdup(name)) && asprintf(&reasons[n], "Insufficient %s", name) > 0);
        found = n;
        atomic_store(&names_len, n + 1);
    }
    pthread_mutex_unlock(&names_mutex);
    return found;
}

int resource_count(void) { return atomic_load(&names_len); }
const char *resource_insufficient_reason(int index) { return reasons[index]; }

static int64_t amount(int index, const char *text) {
    struct quantity q = quantity_of(text);
    return index == RESOURCE_CPU ? quantity_milli_value(&q) : quantity_value(&q);
}

static int64_t add_capped(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

bool resources_add_list(struct resources *to, const struct string_map *list) {
    bool all = true;
    for (size_t i = 0; i < list->len; i++) {
        int index = resource_index(list->items[i].key);
        if (index >= 0) to->v[index] = add_capped(to->v[index], amount(index, list->items[i].value));
        else if (!str_eq(list->items[i].key, "pods")) all = false;
    }
    return all;
}

static void resources_add(struct resources *to, const struct resources *more) {
    for (int i = 0; i < RESOURCES_MAX; i++) to->v[i] = add_capped(to->v[i], more->v[i]);
}

static void resources_max(struct resources *to, const struct resources *other) {
    for (int i = 0; i < RESOURCES_MAX; i++) to->v[i] = MAX(to->v[i], other->v[i]);
}

bool pod_requests(const struct corev1_Pod *pod, struct resources *ret) {
    struct resources total = {0}, init_max = {0}, sidecars = {0};
    bool all = true;
    LIST_FOREACH(c, &pod->spec.containers) all &= resources_add_list(&total, &c->resources.requests);
    LIST_FOREACH(c, &pod->spec.initContainers) {
        struct resources one = {0};
        all &= resources_add_list(&one, &c->resources.requests);
        if (str_eq(c->restartPolicy, "Always")) { /* a sidecar runs beside all that follow, and beside the containers */
            resources_add(&total, &one);
            resources_add(&sidecars, &one);
            one = sidecars;
        } else {
            resources_add(&one, &sidecars);
        }
        resources_max(&init_max, &one);
    }
    resources_max(&total, &init_max);
    if (pod->spec.resources) {
        const struct string_map *requests = &pod->spec.resources->requests;
        for (size_t i = 0; i < requests->len; i++) {
            int index = resource_index(requests->items[i].key);
            if (index >= 0) total.v[index] = amount(index, requests->items[i].value);
        }
    }
    all &= resources_add_list(&total, &pod->spec.overhead);
    *ret = total;
    return all;
}

static void pod_nonzero(struct pod_info *p) {
    p->nonzero_cpu = p->requests.v[RESOURCE_CPU];
    p->nonzero_memory = p->requests.v[RESOURCE_MEMORY];
    LIST_FOREACH(c, &p->pod->spec.containers) {
        if (!string_map_has(&c->resources.requests, "cpu")) p->nonzero_cpu = add_capped(p->nonzero_cpu, NONZERO_CPU_MILLI);
        if (!string_map_has(&c->resources.requests, "memory")) p->nonzero_memory = add_capped(p->nonzero_memory, NONZERO_MEMORY_BYTES);
    }
}

static void pod_ports(struct pod_info *p, const struct corev1_Container_list *containers, bool sidecars_only) {
    LIST_FOREACH(c, containers) {
        if (sidecars_only && !str_eq(c->restartPolicy, "Always")) continue;
        LIST_FOREACH(port, &c->ports) {
            if (port->hostPort <= 0) continue;
            *LIST_PUSH(p->arena, &p->ports) = (struct host_port){str_or(port->hostIP, "0.0.0.0"), str_or(port->protocol, "TCP"), port->hostPort};
        }
    }
}

struct pod_info *pod_info_new(const struct corev1_Pod *pod) {
    struct arena *a = arena_new();
    struct pod_info *p = ARENA_NEW(a, struct pod_info);
    atomic_init(&p->refs, 1);
    p->arena = a;
    p->pod = object_copy(a, &corev1_Pod_desc, pod);
    p->key = arena_printf(a, "%s/%s", str_or(pod->metadata.namespace, ""), str_or(pod->metadata.name, ""));
    p->unknown_resources = !pod_requests(p->pod, &p->requests);
    p->priority = pod->spec.priority.has ? pod->spec.priority.value : 0;
    pod_nonzero(p);
    pod_ports(p, &p->pod->spec.initContainers, true);
    pod_ports(p, &p->pod->spec.containers, false);
    return p;
}

struct pod_info *pod_info_ref(struct pod_info *p) {
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void pod_info_unref(struct pod_info *p) {
    if (p && atomic_fetch_sub(&p->refs, 1) == 1) arena_free(p->arena);
}

struct node_info *node_info_new(const char *name) {
    struct node_info *n = calloc(1, sizeof(*n));
    CHECK(n && (n->name = strdup(name)));
    return n;
}

void node_info_free(struct node_info *n) {
    if (!n) return;
    for (size_t i = 0; i < n->pods_len; i++) pod_info_unref(n->pods[i]);
    free(n->pods);
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
    if (!node) return;
    n->arena = arena_new();
    n->node = object_copy(n->arena, &corev1_Node_desc, node);
    resources_add_list(&n->allocatable, &node->status.allocatable);
    struct quantity pods = quantity_of(string_map_get(&node->status.allocatable, "pods"));
    n->pods_max = quantity_value(&pods);
}

static void node_count_pod(struct node_info *n, const struct pod_info *p, int sign) {
    for (int i = 0; i < RESOURCES_MAX; i++) n->requested.v[i] += sign * p->requests.v[i];
    n->nonzero_cpu += sign * p->nonzero_cpu;
    n->nonzero_memory += sign * p->nonzero_memory;
}

void node_info_add_pod(struct node_info *n, struct pod_info *p) {
    if (n->pods_len == n->pods_cap) {
        n->pods_cap = n->pods_cap ? n->pods_cap * 2 : 16;
        CHECK(n->pods = realloc(n->pods, n->pods_cap * sizeof(struct pod_info *)));
    }
    n->pods[n->pods_len++] = pod_info_ref(p);
    node_count_pod(n, p, 1);
}

bool node_info_remove_pod(struct node_info *n, const char *key) {
    for (size_t i = 0; i < n->pods_len; i++) {
        if (!str_eq(n->pods[i]->key, key)) continue;
        node_count_pod(n, n->pods[i], -1);
        pod_info_unref(n->pods[i]);
        n->pods[i] = n->pods[--n->pods_len];
        return true;
    }
    return false;
}

bool toleration_tolerates(const struct corev1_Toleration *t, const struct corev1_Taint *taint) {
    if (!str_empty(t->effect) && !str_eq(t->effect, taint->effect)) return false;
    if (!str_empty(t->key) && !str_eq(t->key, taint->key)) return false;
    if (str_eq(t->operator, "Exists")) return true;
    int64_t have, want;
    bool numbers = str_to_i64(str_or(taint->value, ""), &have) && str_to_i64(str_or(t->value, ""), &want);
    if (str_eq(t->operator, "Lt")) return numbers && have < want;
    if (str_eq(t->operator, "Gt")) return numbers && have > want;
    return (str_empty(t->operator) || str_eq(t->operator, "Equal")) && str_eq(t->value, taint->value);
}

bool tolerations_tolerate(const struct corev1_Toleration_list *list, const struct corev1_Taint *taint) {
    LIST_FOREACH(t, list)
        if (toleration_tolerates(t, taint)) return true;
    return false;
}
