/* One thread per Pod, which reads from top to bottom: sync until the Pod is to end, stop its containers, clean up, tell the API server.
 *
 * A worker is woken by a new version of its Pod, by news from the runtime or a probe, or by its own clock. It is known by UID; it ends when the Pod has
 * been stopped and is gone from its source. Upstream: pod_workers.go and syncPod, syncTerminatingPod, syncTerminatedPod of kubelet.go. */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/grpc.h"

enum { STACK_BYTES = 512 << 10, RESYNC_S = 60, RETRY_S = 10, KILL_RETRY_S = 2 };

struct worker {
    struct pod_workers *set;
    char *uid;
    /* Under the set's mutex. */
    struct pod *pod;           /* the newest version; NULL for an orphan */
    bool woken, removed, evicted;
    bool refused; /* its thread's: never started here, its status is final */
    char *evict_reason, *evict_message;
    struct pod_runtime runtime;
    pthread_t thread;
    pthread_cond_t cond;
};

struct pod_workers {
    struct kubelet *k;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    struct map *workers; /* uid -> struct worker * */
    bool stopping;
};

/* ---- one Pod's life ---- */

static bool must_end(const struct worker *w) {
    return w->removed || w->evicted || (w->pod && w->pod->obj->metadata.deletionTimestamp.set) || (w->pod && pod_is_terminal(w->pod->obj));
}

/* Takes the newest version; with the API server's status replaced by ours, which is newer. */
static struct pod *worker_pod(struct worker *w, struct arena *a, struct corev1_Pod **ret_obj) {
    struct pod_workers *set = w->set;
    pthread_mutex_lock(&set->mutex);
    struct pod *p = pod_ref(w->pod);
    pthread_mutex_unlock(&set->mutex);
    struct corev1_Pod *obj = ARENA_NEW(a, struct corev1_Pod);
    *obj = *p->obj;
    struct corev1_PodStatus ours;
    if (status_manager_get(set->k->statuses, a, w->uid, &ours)) {
        /* Conditions that others write come from the API server. */
        struct corev1_PodCondition_list theirs = obj->status.conditions, all = ours.conditions;
        obj->status = ours;
        obj->status.conditions = (struct corev1_PodCondition_list){0};
        LIST_FOREACH(c, &all) *LIST_PUSH(a, &obj->status.conditions) = *c;
        LIST_FOREACH(c, &theirs) {
            bool have = false;
            LIST_FOREACH(o, &obj->status.conditions) {
                if (!str_eq(o->type, c->type)) continue;
                have = true;
                static const char *const own[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", NULL};
                if (!str_in(c->type, own)) *o = *c;
            }
            if (!have) *LIST_PUSH(a, &obj->status.conditions) = *c;
        }
    }
    *ret_obj = obj;
    return p;
}

static void refuse(struct kubelet *k, struct arena *a, const struct pod *p, const struct corev1_Pod *obj, const char *reason, const char *message) {
    struct corev1_PodStatus st = {.phase = "Failed", .reason = reason, .message = arena_printf(a, "Pod was rejected: %s", message), .qosClass = pod_qos_class(obj),
        .observedGeneration = obj->metadata.generation, .startTime = time_from_s(env_now_s(k->env)), .conditions = obj->status.conditions};
    event_pod(k, obj, NULL, EVENT_WARNING, reason, "%s", message);
    status_manager_set(k->statuses, p, &st);
}

/* A Pod that has never run here is looked at before it starts. True: refused. */
static bool admission(struct worker *w, struct arena *a, const struct pod *p, const struct corev1_Pod *obj) {
    const char *reason = "", *message = "";
    if (pod_is_terminal(obj)) return false;
    kubelet_admit(w->set->k, a, obj, &reason, &message);
    if (str_empty(reason)) return false;
    refuse(w->set->k, a, p, obj, reason, message);
    return true;
}

static bool past_deadline(struct kubelet *k, const struct corev1_Pod *p, int64_t *ret_left_ns) {
    if (!p->spec.activeDeadlineSeconds.has || !p->status.startTime.set) return false;
    *ret_left_ns = (p->status.startTime.sec + p->spec.activeDeadlineSeconds.value) * 1000000000 - env_now_ns(k->env);
    return *ret_left_ns <= 0;
}

/* One sync of a Pod that is to run. Nanoseconds until the next; 0: at once; -1: it has ended by itself. */
static int64_t sync_pod(struct worker *w) {
    struct kubelet *k = w->set->k;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Pod *obj;
    _cleanup_pod_ struct pod *p = worker_pod(w, a, &obj);
    struct rt_status s;
    w->runtime.wake_ns = INT64_MAX;
    if (runtime_pod_status(k, a, w->uid, &s, &err) != 0) {
        log_debug("%s: %s", pod_full_name(a, obj), status_message(&err));
        return (int64_t)KILL_RETRY_S * 1000000000;
    }
    struct corev1_PodStatus st;
    status_generate(k, a, obj, &s, &w->runtime, false, &st);
    int64_t left = INT64_MAX;
    if (past_deadline(k, obj, &left)) {
        event_pod(k, obj, NULL, EVENT_NORMAL, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
        pod_workers_end(w->set, w->uid, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
        return 0;
    }
    bool ended = str_eq(st.phase, "Succeeded") || str_eq(st.phase, "Failed");
    if (p->is_static) mirror_pod_sync(k, p);
    if (ended) return -1;
    status_manager_set(k->statuses, p, &st);
    prober_pod_set(k->prober, p);
    pthread_mutex_lock(&k->mutex);
    bool network_ready = k->network_ready;
    const char *why = arena_strdup(a, k->network_error);
    pthread_mutex_unlock(&k->mutex);
    if (!network_ready && !obj->spec.hostNetwork) {
        event_pod(k, obj, NULL, EVENT_WARNING, "NetworkNotReady", "network is not ready: %s", why);
        return 1000000000;
    }
    int result = 0;
    if (make_dirs(kubelet_pod_dir(k, a, w->uid), 0750, &err) != 0 || (!cgroups_pod_exists(&k->cgroups, obj) && cgroups_pod_make(&k->cgroups, obj, &err) != 0)) {
        event_pod(k, obj, NULL, EVENT_WARNING, "FailedCreatePodContainer", "unable to ensure pod container exists: %s", status_message(&err));
        result = -1;
    }
    if (result == 0 && (result = volumes_mount(k, a, obj, !w->runtime.volumes_done, &err)) == 0) w->runtime.volumes_done = true;
    /* What already runs keeps running when a refresh fails. */
    if (result == 0 || w->runtime.volumes_done) {
        int r = runtime_sync_pod(k, a, obj, &s, &w->runtime, &err);
        result = result ? result : r;
    }
    if (result != 0) log_debug("%s: %s", pod_full_name(a, obj), status_message(&err));
    /* What the sync has changed shows at once. */
    if (runtime_pod_status(k, a, w->uid, &s, NULL) == 0) {
        status_generate(k, a, obj, &s, &w->runtime, false, &st);
        if (str_eq(st.phase, "Succeeded") || str_eq(st.phase, "Failed")) return -1;
        status_manager_set(k->statuses, p, &st);
        prober_pod_set(k->prober, p);
    }
    int64_t base = result ? (int64_t)RETRY_S * 1000000000 : (int64_t)RESYNC_S * 1000000000;
    int64_t next = base + (int64_t)env_random_below(k->env, (uint64_t)base / 2);
    if (result && !w->runtime.volumes_done) next = (int64_t)KILL_RETRY_S * 1000000000; /* a missing ConfigMap may come at any time */
    if (w->runtime.wake_ns != INT64_MAX) next = MIN(next, MAX(w->runtime.wake_ns - env_mono_ns(k->env), 0));
    return MIN(next, left);
}

/* Stops the Pod; 0 when nothing of it runs any more. */
static int terminate_pod(struct worker *w, int64_t grace) {
    struct kubelet *k = w->set->k;
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Pod *obj;
    _cleanup_pod_ struct pod *p = worker_pod(w, a, &obj);
    struct rt_status s;
    struct corev1_PodStatus st;
    if (runtime_pod_status(k, a, w->uid, &s, NULL) != 0) return -1;
    status_generate(k, a, obj, &s, &w->runtime, false, &st);
    pthread_mutex_lock(&w->set->mutex);
    if (w->evicted) {
        st.phase = "Failed";
        st.reason = arena_strdup(a, w->evict_reason);
        st.message = arena_strdup(a, w->evict_message);
    }
    pthread_mutex_unlock(&w->set->mutex);
    status_manager_set(k->statuses, p, &st);
    prober_pod_stop_liveness(k->prober, w->uid);
    if (runtime_kill_pod(k, a, obj, &s, grace, NULL) != 0) return -1;
    prober_pod_remove(k->prober, w->uid);
    if (runtime_pod_status(k, a, w->uid, &s, NULL) != 0) return -1;
    LIST_FOREACH(c, &s.containers) if (c->state == RT_RUNNING) return -1;
    struct corev1_Pod with = *obj;
    if (status_manager_get(k->statuses, a, w->uid, &with.status) && pod_is_terminal(&with)) obj->status = with.status;
    status_generate(k, a, obj, &s, &w->runtime, true, &st);
    if (str_eq(st.phase, "Pending") || str_eq(st.phase, "Running")) st.phase = s.containers.len ? "Failed" : st.phase;
    status_manager_set(k->statuses, p, &st);
    return 0;
}

static void clean_up(struct worker *w) {
    struct kubelet *k = w->set->k;
    volumes_unmount(k, w->uid);
    cgroups_pod_remove(&k->cgroups, w->uid);
}

/* Waits up to ns (< 0: for ever) for news. False: the kubelet is stopping. */
static bool worker_wait(struct worker *w, int64_t ns) {
    struct pod_workers *set = w->set;
    int64_t deadline = ns < 0 ? -1 : env_mono_ns(set->k->env) + ns;
    pthread_mutex_lock(&set->mutex);
    while (!w->woken && !set->stopping)
        if (!env_cond_wait(set->k->env, &w->cond, &set->mutex, deadline)) break;
    w->woken = false;
    bool go_on = !set->stopping;
    pthread_mutex_unlock(&set->mutex);
    return go_on;
}

static bool worker_must_end(struct worker *w) {
    pthread_mutex_lock(&w->set->mutex);
    bool end = must_end(w);
    pthread_mutex_unlock(&w->set->mutex);
    return end;
}

static int64_t end_grace(struct worker *w) {
    pthread_mutex_lock(&w->set->mutex);
    int64_t grace = pod_grace_seconds(w->pod->obj);
    if (w->removed && !w->pod->obj->metadata.deletionTimestamp.set) grace = MIN(grace, 30);
    pthread_mutex_unlock(&w->set->mutex);
    return grace;
}

/* False: the kubelet is stopping. */
static bool worker_run_until_end(struct worker *w) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Pod *obj;
    struct pod *first = worker_pod(w, a, &obj);
    struct rt_status s;
    bool ran = runtime_pod_status(w->set->k, a, w->uid, &s, NULL) == 0 && s.containers.len > 0; /* adopted: it was let in before */
    w->refused = !ran && !worker_must_end(w) && admission(w, a, first, obj);
    pod_unref(first);
    if (w->refused) return true;
    while (!worker_must_end(w)) {
        int64_t next = sync_pod(w);
        if (next < 0) return true;
        if (next > 0 && !worker_must_end(w) && !worker_wait(w, next)) return false;
        if (next == 0 && atomic_load(&w->set->k->stopping)) return false;
    }
    return true;
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct pod_workers *set = w->set;
    struct kubelet *k = set->k;
    bool alive = worker_run_until_end(w);
    while (alive && !w->refused && terminate_pod(w, end_grace(w)) != 0) alive = worker_wait(w, (int64_t)KILL_RETRY_S * 1000000000);
    if (alive) {
        clean_up(w);
        /* The Pod object goes when its last status is there; then so does what the runtime keeps of it, which logs and statuses needed until then. */
        for (;;) {
            pthread_mutex_lock(&set->mutex);
            struct pod *p = pod_ref(w->pod);
            bool removed = w->removed;
            pthread_mutex_unlock(&set->mutex);
            if (!removed && p->obj->metadata.deletionTimestamp.set) status_manager_finish(k->statuses, p);
            pod_unref(p);
            if (removed || !(alive = worker_wait(w, -1))) break;
        }
    }
    if (alive) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct rt_status s;
        if (runtime_pod_status(k, a, w->uid, &s, NULL) == 0) runtime_remove_pod(k, a, &s);
        cgroups_pod_remove(&k->cgroups, w->uid);
        struct pod *p = w->pod;
        if (p->is_static) mirror_pod_delete(k, p->obj->metadata.namespace, p->obj->metadata.name);
        remove_tree(kubelet_pod_log_dir(k, a, p->obj));
        status_manager_forget(k->statuses, w->uid);
    }
    prober_pod_remove(k->prober, w->uid);
    pthread_mutex_lock(&set->mutex);
    map_del(set->workers, w->uid);
    pthread_cond_broadcast(&set->ended);
    pthread_mutex_unlock(&set->mutex);
    pod_unref(w->pod);
    pod_runtime_release(&w->runtime);
    pthread_cond_destroy(&w->cond);
    free(w->evict_reason);
    free(w->evict_message);
    free(w->uid);
    free(w);
    return NULL;
}

/* ---- the set ---- */

struct pod_workers *pod_workers_new(struct kubelet *k) {
    struct pod_workers *set = calloc(1, sizeof(*set));
    CHECK(set);
    set->k = k;
    set->workers = map_new();
    pthread_mutex_init(&set->mutex, NULL);
    env_cond_init(&set->ended);
    return set;
}

static void wake(struct worker *w) {
    w->woken = true;
    pthread_cond_signal(&w->cond);
}

void pod_workers_free(struct pod_workers *set) {
    pthread_mutex_lock(&set->mutex);
    set->stopping = true;
    void *value;
    for (size_t i = 0; map_next(set->workers, &i, NULL, &value);) {
        atomic_store(&((struct worker *)value)->runtime.cancel, true);
        wake(value);
    }
    while (map_len(set->workers)) env_cond_wait(set->k->env, &set->ended, &set->mutex, -1);
    pthread_mutex_unlock(&set->mutex);
    map_free(set->workers);
    pthread_cond_destroy(&set->ended);
    pthread_mutex_destroy(&set->mutex);
    free(set);
}

static struct worker *worker_start(struct pod_workers *set, struct pod *p) {
    struct worker *w = calloc(1, sizeof(*w));
    CHECK(w);
    w->set = set;
    w->uid = strdup(p->obj->metadata.uid);
    w->pod = pod_ref(p);
    pod_runtime_init(&w->runtime);
    env_cond_init(&w->cond);
    map_put(set->workers, w->uid, w);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    CHECK(pthread_create(&w->thread, &attr, worker_main, w) == 0);
    pthread_attr_destroy(&attr);
    return w;
}

void pod_workers_update(struct pod_workers *set, struct pod *p) {
    pthread_mutex_lock(&set->mutex);
    struct worker *w = map_get(set->workers, p->obj->metadata.uid);
    if (!w) {
        if (!set->stopping) worker_start(set, p);
    } else {
        pod_unref(w->pod);
        w->pod = pod_ref(p);
        if (p->obj->metadata.deletionTimestamp.set) atomic_store(&w->runtime.cancel, true);
        wake(w);
    }
    pthread_mutex_unlock(&set->mutex);
}

void pod_workers_removed(struct pod_workers *set, const char *uid) {
    pthread_mutex_lock(&set->mutex);
    struct worker *w = map_get(set->workers, uid);
    if (w) {
        w->removed = true;
        atomic_store(&w->runtime.cancel, true);
        wake(w);
    }
    pthread_mutex_unlock(&set->mutex);
}

void pod_workers_wake(struct pod_workers *set, const char *uid) {
    pthread_mutex_lock(&set->mutex);
    struct worker *w = map_get(set->workers, uid);
    if (w) wake(w);
    pthread_mutex_unlock(&set->mutex);
}

bool pod_workers_known(struct pod_workers *set, const char *uid) {
    pthread_mutex_lock(&set->mutex);
    bool known = map_has(set->workers, uid);
    pthread_mutex_unlock(&set->mutex);
    return known;
}

void pod_workers_end(struct pod_workers *set, const char *uid, const char *reason, const char *message) {
    pthread_mutex_lock(&set->mutex);
    struct worker *w = map_get(set->workers, uid);
    if (w && !w->evicted) {
        w->evicted = true;
        w->evict_reason = strdup(reason);
        w->evict_message = strdup(message);
        atomic_store(&w->runtime.cancel, true);
        wake(w);
    }
    pthread_mutex_unlock(&set->mutex);
}

void pod_workers_orphan(struct pod_workers *set, const char *uid, const char *ns, const char *name) {
    struct corev1_Pod obj = {.metadata = {.name = name, .namespace = ns, .uid = uid}};
    struct pod *p = pod_new(&obj, false);
    pthread_mutex_lock(&set->mutex);
    if (!map_has(set->workers, uid) && !set->stopping) {
        struct worker *w = worker_start(set, p);
        w->removed = true;
    }
    pthread_mutex_unlock(&set->mutex);
    pod_unref(p);
}
