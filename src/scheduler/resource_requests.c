/* Resource names by number, and what a Pod asks for: see types.h. Upstream: component-helpers resource.PodRequests. Tests: test_scheduler.c. */
#include "scheduler/types.h"
#include <pthread.h>
#include <stdio.h>
#include "api/quantity.h"
#include "base/str.h"

#define NONZERO_CPU "100m"
#define NONZERO_MEMORY "200Mi"

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

const char *resource_name(int index) { return names[index]; }
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

/* Some opinions of what a container holds: the most of them counts. */
struct opinions { const struct string_map *lists[3]; size_t len; };

static const struct corev1_ContainerStatus *status_of(const struct corev1_ContainerStatus_list *list, const char *name) {
    LIST_FOREACH(s, list)
        if (str_eq(s->name, name)) return s;
    return NULL;
}

static bool resize_infeasible(const struct corev1_Pod *pod) {
    LIST_FOREACH(c, &pod->status.conditions)
        if (str_eq(c->type, "PodResizePending")) return str_eq(c->reason, "Infeasible");
    return false;
}

/* While a resize is under way, the spec, what the kubelet has allocated and what runs may differ. Upstream: determineContainerReqs. */
static struct opinions container_opinions(const struct corev1_Pod *pod, const struct corev1_ContainerStatus_list *statuses, const struct corev1_Container *c) {
    const struct corev1_ContainerStatus *s = status_of(statuses, c->name);
    struct opinions o = {0};
    if (!s || !resize_infeasible(pod) || (!s->resources && !s->allocatedResources.len)) o.lists[o.len++] = &c->resources.requests;
    if (s && s->resources) o.lists[o.len++] = &s->resources->requests;
    if (s && s->allocatedResources.len) o.lists[o.len++] = &s->allocatedResources;
    return o;
}

/* defaults: what counts for cpu and memory where a container does not name them; NULL: nothing. */
static bool container_requests(const struct opinions *o, const struct string_map *defaults, struct resources *ret) {
    bool all = true;
    for (size_t i = 0; i < o->len; i++) {
        struct resources one = {0};
        all &= resources_add_list(&one, o->lists[i]);
        resources_max(ret, &one);
    }
    for (size_t i = 0; defaults && i < defaults->len; i++) {
        bool named = false;
        for (size_t l = 0; l < o->len; l++) named |= string_map_has(o->lists[l], defaults->items[i].key);
        int index = resource_index(defaults->items[i].key);
        if (!named) ret->v[index] = amount(index, defaults->items[i].value);
    }
    return all;
}

static bool containers_requests(const struct corev1_Pod *pod, const struct string_map *defaults, struct resources *total) {
    struct resources init_max = {0}, sidecars = {0};
    bool all = true;
    LIST_FOREACH(c, &pod->spec.containers) {
        struct opinions o = container_opinions(pod, &pod->status.containerStatuses, c);
        struct resources one = {0};
        all &= container_requests(&o, defaults, &one);
        resources_add(total, &one);
    }
    LIST_FOREACH(c, &pod->spec.initContainers) {
        bool sidecar = str_eq(c->restartPolicy, "Always");
        struct opinions o = {{&c->resources.requests}, 1};
        if (sidecar) o = container_opinions(pod, &pod->status.initContainerStatuses, c);
        struct resources one = {0};
        all &= container_requests(&o, defaults, &one);
        if (sidecar) { /* it runs beside all that follow, and beside the containers */
            resources_add(total, &one);
            resources_add(&sidecars, &one);
            one = sidecars;
        } else {
            resources_add(&one, &sidecars);
        }
        resources_max(&init_max, &one);
    }
    resources_max(total, &init_max);
    return all;
}

static bool pod_level(const char *name) { return str_eq(name, "cpu") || str_eq(name, "memory") || str_has_prefix(name, "hugepages-"); }

static bool requests_with(const struct corev1_Pod *pod, const struct string_map *defaults, struct resources *ret) {
    struct resources total = {0};
    bool all = containers_requests(pod, defaults, &total);
    const struct string_map none = {0}, *requests = pod->spec.resources ? &pod->spec.resources->requests : &none;
    for (size_t i = 0; i < requests->len; i++) {
        int index = pod_level(requests->items[i].key) ? resource_index(requests->items[i].key) : -1;
        if (index >= 0) total.v[index] = amount(index, requests->items[i].value);
    }
    all &= resources_add_list(&total, &pod->spec.overhead);
    *ret = total;
    return all;
}

bool pod_requests(const struct corev1_Pod *pod, struct resources *ret) { return requests_with(pod, NULL, ret); }

void pod_requests_nonzero(const struct corev1_Pod *pod, const struct resources *requests, int64_t *ret_cpu, int64_t *ret_memory) {
    bool level = pod->spec.resources && pod->spec.resources->requests.len;
    struct string_map_entry items[2];
    struct string_map defaults = {items, 0};
    if (!level || !requests->v[RESOURCE_CPU]) items[defaults.len++] = (struct string_map_entry){"cpu", NONZERO_CPU};
    if (!level || !requests->v[RESOURCE_MEMORY]) items[defaults.len++] = (struct string_map_entry){"memory", NONZERO_MEMORY};
    struct resources all;
    requests_with(pod, &defaults, &all);
    *ret_cpu = all.v[RESOURCE_CPU];
    *ret_memory = all.v[RESOURCE_MEMORY];
}
