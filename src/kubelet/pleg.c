/* What has changed in the runtime: lists all sandboxes and containers each second and wakes the workers of the Pods that look different.
 * Upstream: pleg/generic.go. */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"

enum { RELIST_MS = 1000 };

/* A Pod's state as one number: sums of hashes, so that the order does not count. */
static void mix(struct map *states, const char *uid, const char *id, int state) {
    if (!uid) return;
    char text[200];
    snprintf(text, sizeof(text), "%s/%d", id, state);
    uintptr_t sum = (uintptr_t)map_get(states, uid) + (uintptr_t)hash_bytes(text, strlen(text));
    map_put(states, uid, (void *)(sum | 1));
}

static struct map *relist(struct kubelet *k) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    Runtime__V1__ListPodSandboxResponse *boxes;
    Runtime__V1__ListContainersResponse *containers;
    if (cri_list_pod_sandboxes(k->cri, a, NULL, &boxes, &err) != 0 || cri_list_containers(k->cri, a, NULL, &containers, &err) != 0) {
        log_debug("relist: %s", status_message(&err));
        return NULL;
    }
    struct map *states = map_new();
    for (size_t i = 0; i < boxes->n_items; i++)
        mix(states, CRI_MAP_GET(boxes->items[i]->n_labels, boxes->items[i]->labels, "io.kubernetes.pod.uid"), boxes->items[i]->id, (int)boxes->items[i]->state);
    for (size_t i = 0; i < containers->n_containers; i++) {
        const Runtime__V1__Container *c = containers->containers[i];
        mix(states, CRI_MAP_GET(c->n_labels, c->labels, "io.kubernetes.pod.uid"), c->id, 10 + (int)c->state);
    }
    return states;
}

void *pleg_thread(void *arg) {
    struct kubelet *k = arg;
    struct map *last = map_new();
    for (int64_t wait = 0; !kubelet_sleep_ms(k, wait); wait = RELIST_MS) {
        struct map *now = relist(k);
        pthread_mutex_lock(&k->mutex);
        k->pleg_ok = now != NULL;
        pthread_mutex_unlock(&k->mutex);
        if (!now) continue;
        const char *uid;
        void *value;
        for (size_t i = 0; map_next(now, &i, &uid, &value);)
            if (map_get(last, uid) != value) pod_workers_wake(k->workers, uid);
        for (size_t i = 0; map_next(last, &i, &uid, &value);)
            if (!map_has(now, uid)) pod_workers_wake(k->workers, uid);
        map_free(last);
        last = now;
    }
    map_free(last);
    return NULL;
}
