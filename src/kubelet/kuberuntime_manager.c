/* What the runtime has of a Pod, and the steps from there to what the Pod wants. Upstream: kuberuntime_manager.go (computePodActions, SyncPod, KillPod). */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/grpc.h"

/* ---- the runtime's state ---- */

static int newest_container_first(const void *x, const void *y) {
    const struct rt_container *a = x, *b = y;
    return a->created_at < b->created_at ? 1 : a->created_at > b->created_at ? -1 : 0;
}

static int newest_sandbox_first(const void *x, const void *y) {
    const struct rt_sandbox *a = x, *b = y;
    return a->created_at < b->created_at ? 1 : a->created_at > b->created_at ? -1 : 0;
}

enum { TERMINATION_MESSAGE_MAX = 4096, TERMINATION_LOG_MAX = 2048, TERMINATION_LOG_LINES = 80 };

/* The last lines of a container's log, as the message of a failure where the Pod asks for it. */
static const char *log_tail(struct arena *a, const char *path) {
    char *text;
    size_t len;
    if (str_empty(path) || read_file(a, path, 64 << 20, &text, &len) != 0) return "";
    _cleanup_buf_ struct buf b = BUF_INIT;
    const char *p = text + len;
    for (int lines = 0; p > text && lines <= TERMINATION_LOG_LINES; lines++) {
        p--;
        while (p > text && p[-1] != '\n') p--;
    }
    for (; *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : p + strlen(p)) {
        const char *content = p, *end = strchrnul(p, '\n');
        for (int i = 0; i < 3 && content; i++) content = memchr(content, ' ', (size_t)(end - content)) ? (char *)memchr(content, ' ', (size_t)(end - content)) + 1 : NULL;
        if (content) buf_append(&b, content, (size_t)(end - content)), buf_append_char(&b, '\n');
    }
    size_t skip = b.len > TERMINATION_LOG_MAX ? b.len - TERMINATION_LOG_MAX : 0;
    return arena_strdup(a, buf_cstr(&b) + skip);
}

static void read_termination_message(struct arena *a, const Runtime__V1__ContainerStatus *st, struct rt_container *c) {
    const char *path = CRI_MAP_GET(st->n_annotations, st->annotations, "io.kubernetes.container.terminationMessagePath");
    const char *policy = CRI_MAP_GET(st->n_annotations, st->annotations, "io.kubernetes.container.terminationMessagePolicy");
    char *text = NULL;
    for (size_t i = 0; !str_empty(path) && i < st->n_mounts; i++)
        if (str_eq(st->mounts[i]->container_path, path)) read_file(a, st->mounts[i]->host_path, TERMINATION_MESSAGE_MAX, &text, NULL);
    if (str_empty(text) && str_eq(policy, "FallbackToLogsOnError") && c->exit_code != 0) text = (char *)(uintptr_t)log_tail(a, st->log_path);
    if (!str_empty(text)) c->message = text;
}

static void fill_container(struct arena *a, const Runtime__V1__ContainerStatus *st, const char *sandbox_id, struct rt_container *c) {
    int64_t number = 0;
    *c = (struct rt_container){.id = st->id, .name = st->metadata->name, .sandbox_id = sandbox_id, .created_at = st->created_at, .uid = -1, .gid = -1};
    c->image = st->image ? st->image->image : "";
    if (st->image && !str_empty(st->image->user_specified_image)) c->image = st->image->user_specified_image;
    c->image_id = !str_empty(st->image_ref) ? st->image_ref : st->image_id;
    c->log_path = st->log_path;
    c->state = st->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED ? RT_CREATED : st->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING ? RT_RUNNING
        : st->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED ? RT_EXITED : RT_UNKNOWN;
    const char *restarts = CRI_MAP_GET(st->n_annotations, st->annotations, "io.kubernetes.container.restartCount");
    const char *hash = CRI_MAP_GET(st->n_annotations, st->annotations, "io.kubernetes.container.hash");
    if (str_to_i64(str_or(restarts, "0"), &number)) c->restart_count = (int32_t)number;
    if (hash) c->hash = (uint32_t)strtoul(hash, NULL, 16);
    if (c->state != RT_CREATED) c->started_at = st->started_at;
    if (c->state == RT_EXITED) {
        c->finished_at = st->finished_at;
        c->exit_code = st->exit_code;
        c->reason = st->reason;
        c->message = st->message;
        read_termination_message(a, st, c);
    }
    if (st->user && st->user->linux) {
        c->uid = st->user->linux->uid;
        c->gid = st->user->linux->gid;
    }
}

int runtime_pod_status(struct kubelet *k, struct arena *a, const char *uid, struct rt_status *ret, struct status *reterr) {
    Runtime__V1__ListPodSandboxResponse *sandboxes;
    Runtime__V1__ListContainersResponse *containers;
    struct rt_status s = {0};
    if (cri_list_pod_sandboxes(k->cri, a, uid, &sandboxes, reterr) != 0 || cri_list_containers(k->cri, a, uid, &containers, reterr) != 0) return -1;
    for (size_t i = 0; i < sandboxes->n_items; i++) {
        Runtime__V1__PodSandboxStatus *st;
        _cleanup_status_ struct status err = STATUS_INIT;
        if (cri_pod_sandbox_status(k->cri, a, sandboxes->items[i]->id, &st, &err) != 0) {
            if (status_is(&err, 404)) continue; /* removed meanwhile */
            status_copy(reterr, &err);
            return -1;
        }
        struct rt_sandbox *box = LIST_PUSH(a, &s.sandboxes);
        *box = (struct rt_sandbox){.id = st->id, .attempt = st->metadata->attempt, .created_at = st->created_at, .ready = st->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY};
        box->host_network = st->linux && st->linux->namespaces && st->linux->namespaces->options && st->linux->namespaces->options->network == RUNTIME__V1__NAMESPACE_MODE__NODE;
        if (st->network && !str_empty(st->network->ip)) {
            string_list_push(a, &box->ips, st->network->ip);
            for (size_t j = 0; j < st->network->n_additional_ips; j++) string_list_push(a, &box->ips, st->network->additional_ips[j]->ip);
        }
    }
    for (size_t i = 0; i < containers->n_containers; i++) {
        Runtime__V1__ContainerStatus *st;
        _cleanup_status_ struct status err = STATUS_INIT;
        if (cri_container_status(k->cri, a, containers->containers[i]->id, &st, &err) != 0) {
            if (status_is(&err, 404)) continue;
            status_copy(reterr, &err);
            return -1;
        }
        struct rt_container *c = LIST_PUSH(a, &s.containers);
        fill_container(a, st, containers->containers[i]->pod_sandbox_id, c);
    }
    if (s.containers.len) qsort(s.containers.items, s.containers.len, sizeof(*s.containers.items), newest_container_first);
    if (s.sandboxes.len) qsort(s.sandboxes.items, s.sandboxes.len, sizeof(*s.sandboxes.items), newest_sandbox_first);
    *ret = s;
    return 0;
}

const struct rt_container *rt_container_find(const struct rt_status *s, const char *name) {
    LIST_FOREACH(c, &s->containers) if (str_eq(c->name, name)) return c;
    return NULL;
}

const struct rt_container *rt_container_by_id(const struct rt_status *s, const char *id) {
    LIST_FOREACH(c, &s->containers) if (str_eq(c->id, id)) return c;
    return NULL;
}

/* ---- back-off and failures ---- */

static bool expired(const struct backoff *b, int64_t now_ns) { return now_ns - b->updated_ns > 2 * (int64_t)BACKOFF_MAX_S * 1000000000; }

bool backoff_active_since(const struct backoff *b, int64_t event_ns, int64_t now_ns) {
    return b->delay_ns && !expired(b, event_ns) && now_ns - event_ns < b->delay_ns;
}

bool backoff_active_since_update(const struct backoff *b, int64_t now_ns) { return b->delay_ns && now_ns - b->updated_ns < b->delay_ns; }

void backoff_next(struct backoff *b, int64_t now_ns) {
    int64_t initial = (int64_t)BACKOFF_INITIAL_S * 1000000000, max = (int64_t)BACKOFF_MAX_S * 1000000000;
    b->delay_ns = b->delay_ns == 0 || expired(b, now_ns) ? initial : MIN(b->delay_ns * 2, max);
    b->updated_ns = now_ns;
}

static void failure_free(void *p) {
    struct start_failure *f = p;
    free(f->reason);
    free(f->message);
    free(f);
}

void pod_runtime_init(struct pod_runtime *r) {
    *r = (struct pod_runtime){.backoffs = map_new(), .failures = map_new(), .wake_ns = INT64_MAX};
}

void pod_runtime_release(struct pod_runtime *r) {
    map_free_with(r->backoffs, free);
    map_free_with(r->failures, failure_free);
}

void pod_runtime_ok(struct pod_runtime *r, const char *container) {
    struct start_failure *f = map_del(r->failures, container);
    if (f) failure_free(f);
}

void pod_runtime_fail(struct pod_runtime *r, const char *container, const char *reason, const char *format, ...) {
    struct start_failure *f = calloc(1, sizeof(*f));
    _cleanup_buf_ struct buf b = BUF_INIT;
    va_list args;
    CHECK(f);
    va_start(args, format);
    buf_vprintf(&b, format, args);
    va_end(args);
    f->reason = strdup(reason);
    f->message = strdup(buf_cstr(&b));
    struct start_failure *old = map_put(r->failures, container, f);
    if (old) failure_free(old);
}

/* Go's spelling of whole seconds: 10s, 1m20s, 5m0s. */
static const char *seconds_text(struct arena *a, int64_t ns) {
    long long s = ns / 1000000000;
    return s < 60 ? arena_printf(a, "%llds", s) : arena_printf(a, "%lldm%llds", s / 60, s % 60);
}

/* True, with event and waiting reason, while a container that ended may not start again yet. */
static bool crash_loop(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const struct rt_status *s, struct pod_runtime *r) {
    const struct rt_container *last = rt_container_find(s, c->name);
    if (!last || last->state != RT_EXITED || last->finished_at == 0) return false;
    struct backoff *b = map_get(r->backoffs, c->name);
    if (!b) {
        b = calloc(1, sizeof(*b));
        CHECK(b);
        map_put(r->backoffs, c->name, b);
    }
    int64_t now = env_now_ns(k->env);
    if (!backoff_active_since(b, last->finished_at, now)) {
        backoff_next(b, now);
        return false;
    }
    event_pod(k, p, c->name, EVENT_WARNING, "BackOff", "Back-off restarting failed container %s in pod %s", c->name, pod_full_name(a, p));
    pod_runtime_fail(r, c->name, "CrashLoopBackOff", "back-off %s restarting failed container=%s pod=%s", seconds_text(a, b->delay_ns), c->name, pod_full_name(a, p));
    r->wake_ns = MIN(r->wake_ns, env_mono_ns(k->env) + last->finished_at + b->delay_ns - now + 50000000);
    return true;
}

/* ---- sync ---- */

struct sync {
    struct kubelet *k;
    struct arena *a;
    const struct corev1_Pod *p;
    const struct rt_status *s;
    struct pod_runtime *r;
    const char *sandbox_id;
    const struct string_list *ips;
    int failures;
    struct status *reterr;
};

static void sync_start(struct sync *y, const struct corev1_Container *c, const char *target_id) {
    if (atomic_load(&y->r->cancel)) return;
    if (crash_loop(y->k, y->a, y->p, c, y->s, y->r)) {
        y->failures++;
        return;
    }
    const char *reason = "";
    _cleanup_status_ struct status err = STATUS_INIT;
    if (container_start(y->k, y->a, y->p, c, target_id, y->s, y->sandbox_id, y->ips, y->r, &reason, &err) == 0) {
        pod_runtime_ok(y->r, c->name);
        return;
    }
    pod_runtime_fail(y->r, c->name, reason, "%s", grpc_status_desc(&err));
    if (y->failures++ == 0) status_copy(y->reterr, &err);
}

static bool failed_probe(struct sync *y, const struct corev1_Container *c, const struct rt_container *st, const char **ret_message) {
    if (c->livenessProbe && prober_result(y->k->prober, PROBE_LIVENESS, st->id) == PROBE_FAILURE)
        *ret_message = arena_printf(y->a, "Container %s failed liveness probe, will be restarted", c->name);
    else if (c->startupProbe && prober_result(y->k->prober, PROBE_STARTUP, st->id) == PROBE_FAILURE)
        *ret_message = arena_printf(y->a, "Container %s failed startup probe, will be restarted", c->name);
    else return false;
    return true;
}

static int64_t probe_grace(const struct corev1_Container *c) {
    if (c->livenessProbe && c->livenessProbe->terminationGracePeriodSeconds.has) return c->livenessProbe->terminationGracePeriodSeconds.value;
    if (c->startupProbe && c->startupProbe->terminationGracePeriodSeconds.has) return c->startupProbe->terminationGracePeriodSeconds.value;
    return -1;
}

/* A running container that must be replaced is stopped; true if so. */
static bool sync_kill_unfit(struct sync *y, const struct corev1_Container *c, const struct rt_container *st) {
    const char *message = NULL;
    int64_t grace = -1;
    if (st->hash != container_hash(c)) message = arena_printf(y->a, "Container %s definition changed, will be restarted", c->name);
    else if (failed_probe(y, c, st, &message)) grace = probe_grace(c);
    else return false;
    runtime_kill_container(y->k, y->p, st->id, c->name, message, grace, NULL);
    return true;
}

static bool may_restart(const struct corev1_Pod *p, const struct corev1_Container *c, const struct rt_container *st) {
    if (!st || st->state == RT_UNKNOWN || st->state == RT_CREATED) return true;
    if (st->state == RT_RUNNING) return false;
    const char *policy = pod_container_is_sidecar(c) ? "Always" : p->spec.restartPolicy;
    return str_eq(policy, "Always") || str_empty(policy) || (str_eq(policy, "OnFailure") && st->exit_code != 0);
}

static bool container_started(struct sync *y, const struct corev1_Container *c, const struct rt_container *st) {
    return st && st->state == RT_RUNNING && (!c->startupProbe || prober_result(y->k->prober, PROBE_STARTUP, st->id) == PROBE_SUCCESS);
}

/* Init containers in their order, one after the other; sidecars stay. True when the Pod's own containers may start. */
static bool sync_init_containers(struct sync *y) {
    bool initialized = false;
    LIST_FOREACH(c, &y->p->spec.containers) initialized = initialized || rt_container_find(y->s, c->name);
    LIST_FOREACH(c, &y->p->spec.initContainers) {
        const struct rt_container *st = rt_container_find(y->s, c->name);
        bool sidecar = pod_container_is_sidecar(c);
        if (!sidecar && initialized) continue;
        if (st && st->state == RT_RUNNING) {
            if (sidecar && sync_kill_unfit(y, c, st)) return initialized;
            if (sidecar && container_started(y, c, st)) continue;
            if (!initialized) return false;
            continue;
        }
        if (!sidecar && st && st->state == RT_EXITED && st->exit_code == 0) continue;
        if (!sidecar && st && st->state == RT_EXITED && str_eq(y->p->spec.restartPolicy, "Never")) return false;
        sync_start(y, c, NULL);
        if (!initialized && (!sidecar || c->startupProbe)) return false;
        if (!initialized && map_get(y->r->failures, c->name)) return false;
    }
    return true;
}

static void sync_containers(struct sync *y) {
    _Static_assert(sizeof(struct corev1_EphemeralContainerCommon) == sizeof(struct corev1_Container), "ephemeral containers differ");
    LIST_FOREACH(e, &y->p->spec.ephemeralContainers) {
        const struct corev1_Container *c = (const struct corev1_Container *)(const void *)&e->EphemeralContainerCommon;
        const struct rt_container *target = str_empty(e->targetContainerName) ? NULL : rt_container_find(y->s, e->targetContainerName);
        if (!rt_container_find(y->s, c->name)) sync_start(y, c, target ? target->id : NULL);
    }
    if (!sync_init_containers(y)) return;
    LIST_FOREACH(c, &y->p->spec.containers) {
        const struct rt_container *st = rt_container_find(y->s, c->name);
        if (st && st->state == RT_RUNNING) {
            pod_runtime_ok(y->r, c->name);
            if (sync_kill_unfit(y, c, st)) y->r->wake_ns = 0; /* seen as ended at the next sync, which starts it */
        } else if (may_restart(y->p, c, st)) {
            sync_start(y, c, NULL);
        }
    }
}

/* All its containers have ended for good: no sandbox is made again for it. */
static bool all_done(const struct corev1_Pod *p, const struct rt_status *s) {
    LIST_FOREACH(c, &p->spec.containers) {
        const struct rt_container *st = rt_container_find(s, c->name);
        if (!st || st->state != RT_EXITED || may_restart(p, c, st)) return false;
    }
    return true;
}

static int sync_sandbox(struct sync *y, struct rt_status *after) {
    const struct rt_sandbox *box = y->s->sandboxes.len ? &y->s->sandboxes.items[0] : NULL;
    *after = *y->s;
    if (box && box->ready && (box->host_network || box->ips.len) && box->host_network == y->p->spec.hostNetwork) {
        y->sandbox_id = box->id;
        y->ips = &box->ips;
        return 0;
    }
    if (box) {
        if (str_eq(y->p->spec.restartPolicy, "Never") && y->s->containers.len) return 1;
        event_pod(y->k, y->p, NULL, EVENT_NORMAL, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        if (runtime_kill_pod(y->k, y->a, y->p, y->s, pod_grace_seconds(y->p), y->reterr) != 0) return -1;
        if (runtime_pod_status(y->k, y->a, y->p->metadata.uid, after, y->reterr) != 0) return -1;
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *id = NULL;
    uint32_t attempt = box ? box->attempt + 1 : 0;
    if (make_dirs(kubelet_pod_log_dir(y->k, y->a, y->p), 0755, &err) != 0
        || cri_run_pod_sandbox(y->k->cri, y->a, sandbox_config(y->k, y->a, y->p, attempt), NULL, &y->r->cancel, &id, &err) != 0) {
        if (!atomic_load(&y->r->cancel)) event_pod(y->k, y->p, NULL, EVENT_WARNING, "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", status_message(&err));
        status_copy(y->reterr, &err);
        return -1;
    }
    Runtime__V1__PodSandboxStatus *st;
    if (cri_pod_sandbox_status(y->k->cri, y->a, id, &st, y->reterr) != 0) return -1;
    struct rt_sandbox *fresh = ARENA_NEW(y->a, struct rt_sandbox);
    *fresh = (struct rt_sandbox){.id = id, .attempt = attempt, .created_at = st->created_at, .ready = true, .host_network = y->p->spec.hostNetwork};
    if (st->network && !str_empty(st->network->ip)) string_list_push(y->a, &fresh->ips, st->network->ip);
    for (size_t i = 0; st->network && i < st->network->n_additional_ips; i++) string_list_push(y->a, &fresh->ips, st->network->additional_ips[i]->ip);
    after->sandboxes.items = fresh;
    after->sandboxes.len = 1;
    y->sandbox_id = id;
    y->ips = &fresh->ips;
    return 0;
}

int runtime_sync_pod(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct rt_status *s, struct pod_runtime *r, struct status *reterr) {
    struct sync y = {k, a, p, s, r, NULL, NULL, 0, reterr};
    struct rt_status after;
    if (all_done(p, s)) return 0;
    int box = sync_sandbox(&y, &after);
    if (box != 0) return box < 0 ? -1 : 0;
    y.s = &after;
    sync_containers(&y);
    return y.failures ? -1 : 0;
}

/* ---- the end ---- */

struct kill_task { struct kubelet *k; const struct corev1_Pod *p; const char *id, *name; int64_t grace; int result; pthread_t thread; };

static void *kill_one(void *arg) {
    struct kill_task *t = arg;
    t->result = runtime_kill_container(t->k, t->p, t->id, t->name, NULL, t->grace, NULL);
    return NULL;
}

/* Stops these at the same time. */
static int kill_all(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct rt_status *s, int64_t grace, bool sidecars) {
    struct kill_task *tasks = arena_calloc(a, s->containers.len + 1, sizeof(*tasks));
    size_t n = 0;
    int result = 0;
    LIST_FOREACH(c, &s->containers) {
        const struct corev1_Container *spec = pod_container(p, c->name);
        bool sidecar = spec && pod_container_is_sidecar(spec);
        if ((c->state != RT_RUNNING && c->state != RT_UNKNOWN) || sidecar != sidecars) continue;
        tasks[n] = (struct kill_task){k, p, c->id, c->name, grace, 0, 0};
        if (pthread_create(&tasks[n].thread, NULL, kill_one, &tasks[n]) == 0) n++;
        else result = runtime_kill_container(k, p, c->id, c->name, NULL, grace, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(tasks[i].thread, NULL);
        if (tasks[i].result != 0) result = -1;
    }
    return result;
}

int runtime_kill_pod(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct rt_status *s, int64_t grace_seconds, struct status *reterr) {
    int64_t began = env_mono_ns(k->env);
    int result = kill_all(k, a, p, s, grace_seconds, false);
    int64_t left = MAX(grace_seconds - (env_mono_ns(k->env) - began) / 1000000000, MIN(grace_seconds, 2));
    if (kill_all(k, a, p, s, left, true) != 0) result = -1; /* sidecars serve the others to their end */
    if (result != 0) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "error killing pod: a container does not stop");
    LIST_FOREACH(box, &s->sandboxes) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (!box->ready && box != s->sandboxes.items) continue;
        if (cri_stop_pod_sandbox(k->cri, box->id, &err) == 0 || status_is(&err, 404)) continue;
        event_pod(k, p, NULL, EVENT_WARNING, "FailedKillPod", "error killing pod: failed to \"KillPodSandbox\" for \"%s\": %s", p->metadata.uid, status_message(&err));
        status_copy(reterr, &err);
        result = -1;
    }
    return result;
}

void runtime_remove_pod(struct kubelet *k, struct arena *a UNUSED, const struct rt_status *s) {
    LIST_FOREACH(c, &s->containers) if (c->state != RT_RUNNING) cri_remove_container(k->cri, c->id, NULL);
    LIST_FOREACH(box, &s->sandboxes) {
        cri_stop_pod_sandbox(k->cri, box->id, NULL);
        cri_remove_pod_sandbox(k->cri, box->id, NULL);
    }
}
