/* The status of a Pod as the API shows it, made from what the runtime says. Upstream: kubelet_pods.go (convertToAPIContainerStatuses, getPhase) and
 * status/generate.go. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/str.h"

static const struct corev1_ContainerStatus *old_status(const struct corev1_ContainerStatus_list *l, const char *name) {
    LIST_FOREACH(s, l) if (str_eq(s->name, name)) return s;
    return NULL;
}

static struct corev1_ContainerState state_of(struct arena *a, const struct rt_container *c) {
    struct corev1_ContainerState st = {0};
    if (c->state == RT_RUNNING) {
        st.running = ARENA_NEW(a, struct corev1_ContainerStateRunning);
        st.running->startedAt = time_from_s(c->started_at / 1000000000);
    } else if (c->state == RT_EXITED) {
        st.terminated = ARENA_NEW(a, struct corev1_ContainerStateTerminated);
        st.terminated->exitCode = c->exit_code;
        st.terminated->reason = str_empty(c->reason) ? (c->exit_code ? "Error" : "Completed") : c->reason;
        st.terminated->message = c->message;
        st.terminated->startedAt = time_from_s(c->started_at > 0 ? c->started_at / 1000000000 : 0);
        st.terminated->finishedAt = time_from_s(c->finished_at / 1000000000);
        st.terminated->containerID = arena_printf(a, "containerd://%s", c->id);
    }
    return st;
}

static struct corev1_ContainerState waiting(struct arena *a, const char *reason, const char *message) {
    struct corev1_ContainerState st = {0};
    st.waiting = ARENA_NEW(a, struct corev1_ContainerStateWaiting);
    st.waiting->reason = reason;
    st.waiting->message = str_empty(message) ? NULL : arena_strdup(a, message);
    return st;
}

static void fill_resources(struct arena *a, const struct corev1_Container *c, struct corev1_ContainerStatus *st) {
    if (c->resources.requests.len) st->allocatedResources = string_map_copy(a, &c->resources.requests);
    st->resources = ARENA_NEW(a, struct corev1_ResourceRequirements);
    st->resources->requests = string_map_copy(a, &c->resources.requests);
    st->resources->limits = string_map_copy(a, &c->resources.limits);
}

static void fill_mounts(struct arena *a, const struct corev1_Container *c, struct corev1_ContainerStatus *st) {
    LIST_FOREACH(m, &c->volumeMounts) {
        struct corev1_VolumeMountStatus *v = LIST_PUSH(a, &st->volumeMounts);
        v->name = m->name;
        v->mountPath = m->mountPath;
        v->readOnly = m->readOnly;
        if (m->readOnly) v->recursiveReadOnly = "Disabled";
    }
}

static bool restarts(const struct corev1_Pod *p, const struct corev1_Container *c, int32_t exit_code, bool init) {
    if (pod_container_is_sidecar(c)) return true;
    if (init && exit_code == 0) return false;
    if (str_eq(p->spec.restartPolicy, "Never")) return false;
    return exit_code != 0 || (!init && !str_eq(p->spec.restartPolicy, "OnFailure"));
}

static struct corev1_ContainerStatus container_status(struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const struct corev1_ContainerStatus *old,
                                                      const struct rt_status *s, struct pod_runtime *r, bool init, bool terminal) {
    struct corev1_ContainerStatus st = {.name = c->name, .image = c->image, .imageID = ""};
    const struct rt_container *newest = NULL, *before = NULL;
    LIST_FOREACH(rc, &s->containers) {
        if (!str_eq(rc->name, c->name)) continue;
        if (!newest) newest = rc;
        else if (!before && rc->state == RT_EXITED) before = rc;
    }
    st.state = waiting(a, p->spec.initContainers.len ? "PodInitializing" : "ContainerCreating", NULL);
    if (newest) {
        st.restartCount = newest->restart_count;
        st.image = newest->image;
        st.imageID = newest->image_id;
        st.containerID = arena_printf(a, "containerd://%s", newest->id);
        if (newest->state == RT_RUNNING || newest->state == RT_EXITED) {
            st.state = state_of(a, newest);
            fill_mounts(a, c, &st);
        }
        if (newest->state == RT_RUNNING) fill_resources(a, c, &st);
        if (newest->uid >= 0 && newest->state == RT_RUNNING) {
            st.user = ARENA_NEW(a, struct corev1_ContainerUser);
            st.user->linux_ = ARENA_NEW(a, struct corev1_LinuxContainerUser);
            st.user->linux_->uid = newest->uid;
            st.user->linux_->gid = newest->gid;
        }
        if (before) st.lastState = state_of(a, before);
        else if (old) st.lastState = old->lastState;
        /* The one before is gone from the runtime but was seen: keep what is known of it. */
        if (!before && old && old->state.terminated && !str_eq(old->containerID, st.containerID)) st.lastState.terminated = old->state.terminated;
    } else if (old) {
        st.restartCount = old->restartCount;
        if (old->state.terminated) {
            st.state = old->state;
            st.lastState = old->lastState;
            st.image = old->image;
            st.imageID = old->imageID;
            st.containerID = old->containerID;
        } else if (old->state.running) { /* it vanished while it ran */
            struct corev1_ContainerStateTerminated *t = ARENA_NEW(a, struct corev1_ContainerStateTerminated);
            *t = (struct corev1_ContainerStateTerminated){.exitCode = 137, .reason = "ContainerStatusUnknown", .message =
                "The container could not be located when the pod was terminated", .containerID = old->containerID};
            if (terminal) st.state = (struct corev1_ContainerState){.terminated = t};
            else st.lastState.terminated = t;
            if (!terminal) t->message = "The container could not be located when the pod was deleted.  The container used to be Running";
        } else {
            st.lastState = old->lastState;
        }
    }
    const struct start_failure *f = r ? map_get(r->failures, c->name) : NULL;
    if (f && !terminal && !st.state.running && (!st.state.terminated || restarts(p, c, st.state.terminated->exitCode, init))) {
        if (st.state.terminated) st.lastState = st.state;
        st.state = waiting(a, arena_strdup(a, f->reason), f->message);
    }
    return st;
}

/* ---- phase ---- */

const char *status_phase(const struct corev1_Pod *p, const struct corev1_PodStatus *st, bool terminal) {
    int pending_init = 0, failed_init = 0, unknown = 0, running = 0, waiting_ = 0, stopped = 0, succeeded = 0;
    LIST_FOREACH(c, &p->spec.initContainers) {
        const struct corev1_ContainerStatus *s = old_status(&st->initContainerStatuses, c->name);
        if (pod_container_is_sidecar(c)) {
            if (!s || !s->state.running || !s->started.value) pending_init += !s || (!s->state.running && !s->state.terminated && !s->lastState.terminated) || (s->state.running && !s->started.value);
            continue;
        }
        if (!s || s->state.running) pending_init++;
        else if (s->state.terminated) failed_init += s->state.terminated->exitCode != 0;
        else if (s->state.waiting && s->lastState.terminated) failed_init += s->lastState.terminated->exitCode != 0;
        else pending_init++;
    }
    LIST_FOREACH(c, &p->spec.containers) {
        const struct corev1_ContainerStatus *s = old_status(&st->containerStatuses, c->name);
        if (!s) unknown++;
        else if (s->state.running) running++;
        else if (s->state.terminated) {
            stopped++;
            succeeded += s->state.terminated->exitCode == 0;
        } else if (s->state.waiting && s->lastState.terminated) stopped++;
        else if (s->state.waiting) waiting_++;
        else unknown++;
    }
    if (failed_init && str_eq(p->spec.restartPolicy, "Never")) return "Failed";
    if (pending_init && running == 0 && stopped == 0) return "Pending";
    if (failed_init && running == 0 && stopped == 0) return "Pending";
    if (waiting_) return "Pending";
    if (running && !unknown) return "Running";
    if (running == 0 && stopped && !unknown) {
        if (terminal) return stopped == succeeded ? "Succeeded" : "Failed";
        if (str_eq(p->spec.restartPolicy, "Always") || str_empty(p->spec.restartPolicy)) return "Running";
        if (stopped == succeeded) return "Succeeded";
        return str_eq(p->spec.restartPolicy, "Never") ? "Failed" : "Running";
    }
    return "Pending";
}

/* ---- conditions ---- */

static const struct corev1_PodCondition *condition_find(const struct corev1_PodCondition_list *l, const char *type) {
    LIST_FOREACH(c, l) if (str_eq(c->type, type)) return c;
    return NULL;
}

static void condition_add(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, struct corev1_PodStatus *st, const char *type, bool value, const char *reason, const char *message) {
    const struct corev1_PodCondition *old = condition_find(&p->status.conditions, type);
    struct corev1_PodCondition *c = LIST_PUSH(a, &st->conditions);
    const char *status = value ? "True" : "False";
    *c = (struct corev1_PodCondition){.type = type, .observedGeneration = p->metadata.generation, .status = status, .reason = reason, .message = message,
        .lastTransitionTime = old && str_eq(old->status, status) ? old->lastTransitionTime : time_from_s(env_now_s(k->env))};
}

static const char *name_list(struct arena *a, const struct string_list *l) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    LIST_FOREACH(s, l) buf_printf(&b, "%s%s", b.len ? " " : "", *s);
    return arena_printf(a, "[%s]", buf_cstr(&b));
}

static void containers_ready(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, struct corev1_PodStatus *st, const char *type) {
    struct string_list unready = {0}, unknown = {0};
    LIST_FOREACH(c, &p->spec.initContainers) {
        const struct corev1_ContainerStatus *s = old_status(&st->initContainerStatuses, c->name);
        if (pod_container_is_sidecar(c) && !(s && s->ready)) string_list_push(a, s ? &unready : &unknown, c->name);
    }
    LIST_FOREACH(c, &p->spec.containers) {
        const struct corev1_ContainerStatus *s = old_status(&st->containerStatuses, c->name);
        if (!s) string_list_push(a, &unknown, c->name);
        else if (!s->ready) string_list_push(a, &unready, c->name);
    }
    if (str_eq(st->phase, "Succeeded")) condition_add(k, a, p, st, type, false, "PodCompleted", NULL);
    else if (str_eq(st->phase, "Failed")) condition_add(k, a, p, st, type, false, "PodFailed", NULL);
    else if (unknown.len && unready.len)
        condition_add(k, a, p, st, type, false, "ContainersNotReady", arena_printf(a, "containers with unknown status: %s, containers with unready status: %s", name_list(a, &unknown), name_list(a, &unready)));
    else if (unknown.len) condition_add(k, a, p, st, type, false, "ContainersNotReady", arena_printf(a, "containers with unknown status: %s", name_list(a, &unknown)));
    else if (unready.len) condition_add(k, a, p, st, type, false, "ContainersNotReady", arena_printf(a, "containers with unready status: %s", name_list(a, &unready)));
    else condition_add(k, a, p, st, type, true, NULL, NULL);
}

static void readiness(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, struct corev1_PodStatus *st) {
    _cleanup_buf_ struct buf missing = BUF_INIT;
    struct corev1_PodStatus only = *st;
    only.conditions = (struct corev1_PodCondition_list){0};
    containers_ready(k, a, p, &only, "Ready");
    struct corev1_PodCondition ready = only.conditions.items[0];
    LIST_FOREACH(g, &p->spec.readinessGates) {
        const struct corev1_PodCondition *c = condition_find(&p->status.conditions, g->conditionType);
        if (c && str_eq(c->status, "True")) continue;
        if (missing.len) buf_append_str(&missing, ", ");
        if (!c) buf_printf(&missing, "corresponding condition of pod readiness gate \"%s\" does not exist.", g->conditionType);
        else buf_printf(&missing, "the status of pod readiness gate \"%s\" is not \"True\", but %s", g->conditionType, c->status);
    }
    if (str_eq(ready.status, "True") && missing.len) condition_add(k, a, p, st, "Ready", false, "ReadinessGatesNotReady", arena_strdup(a, buf_cstr(&missing)));
    else condition_add(k, a, p, st, "Ready", str_eq(ready.status, "True"), ready.reason, ready.message);
}

static void initialized(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, struct corev1_PodStatus *st) {
    struct string_list incomplete = {0}, unknown = {0};
    bool started = false;
    LIST_FOREACH(s, &st->containerStatuses) started = started || s->state.running || s->state.terminated || s->lastState.terminated;
    LIST_FOREACH(c, &p->spec.initContainers) {
        const struct corev1_ContainerStatus *s = old_status(&st->initContainerStatuses, c->name);
        if (!s) string_list_push(a, &unknown, c->name);
        else if (pod_container_is_sidecar(c) ? !s->started.value : !(s->state.terminated && s->state.terminated->exitCode == 0)) string_list_push(a, &incomplete, c->name);
    }
    if (str_eq(st->phase, "Succeeded")) condition_add(k, a, p, st, "Initialized", true, "PodCompleted", NULL);
    else if (started || (!unknown.len && !incomplete.len)) condition_add(k, a, p, st, "Initialized", true, NULL, NULL);
    else if (incomplete.len)
        condition_add(k, a, p, st, "Initialized", false, "ContainersNotInitialized", arena_printf(a, "containers with incomplete status: %s", name_list(a, &incomplete)));
    else condition_add(k, a, p, st, "Initialized", false, "ContainersNotInitialized", arena_printf(a, "containers with unknown status: %s", name_list(a, &unknown)));
}

void status_conditions(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, struct corev1_PodStatus *st, bool sandbox_ready) {
    static const char *const ours[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", NULL};
    st->conditions = (struct corev1_PodCondition_list){0};
    condition_add(k, a, p, st, ours[0], sandbox_ready, NULL, NULL);
    initialized(k, a, p, st);
    readiness(k, a, p, st);
    containers_ready(k, a, p, st, "ContainersReady");
    condition_add(k, a, p, st, "PodScheduled", true, NULL, NULL);
    LIST_FOREACH(c, &p->status.conditions) /* what others have written stays */
        if (!str_in(c->type, ours)) {
            struct corev1_PodCondition *copy = LIST_PUSH(a, &st->conditions);
            *copy = *c;
        }
}

/* ---- all of it ---- */

static void set_ready(struct kubelet *k, const struct corev1_Container *c, struct corev1_ContainerStatus *st, bool init) {
    const char *id = str_empty(st->containerID) ? "" : st->containerID + strlen("containerd://");
    bool running = st->state.running != NULL;
    bool started = running && (!c->startupProbe || prober_result(k->prober, PROBE_STARTUP, id) == PROBE_SUCCESS);
    st->started = (struct opt_bool)OPT(started);
    if (init && !pod_container_is_sidecar(c)) {
        st->ready = st->state.terminated && st->state.terminated->exitCode == 0;
        st->started = (struct opt_bool)OPT(running);
    } else {
        st->ready = started && (!c->readinessProbe || prober_result(k->prober, PROBE_READINESS, id) == PROBE_SUCCESS);
    }
}

void status_generate(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct rt_status *s, struct pod_runtime *r, bool terminal, struct corev1_PodStatus *ret) {
    struct corev1_PodStatus st = {.observedGeneration = p->metadata.generation, .qosClass = pod_qos_class(p), .startTime = p->status.startTime,
        .nominatedNodeName = p->status.nominatedNodeName, .hostIP = k->o.node_ip};
    if (!st.startTime.set) st.startTime = time_from_s(env_now_s(k->env));
    struct corev1_HostIP *host = LIST_PUSH(a, &st.hostIPs);
    host->ip = k->o.node_ip;
    const struct rt_sandbox *box = s->sandboxes.len ? &s->sandboxes.items[0] : NULL;
    if (p->spec.hostNetwork) {
        struct corev1_PodIP *ip = LIST_PUSH(a, &st.podIPs);
        ip->ip = k->o.node_ip;
    } else if (box && box->ready) {
        LIST_FOREACH(ip, &box->ips) {
            struct corev1_PodIP *to = LIST_PUSH(a, &st.podIPs);
            to->ip = *ip;
        }
    } else {
        st.podIPs = p->status.podIPs; /* kept after the end */
    }
    st.podIP = st.podIPs.len ? st.podIPs.items[0].ip : NULL;
    LIST_FOREACH(c, &p->spec.initContainers) {
        struct corev1_ContainerStatus *to = LIST_PUSH(a, &st.initContainerStatuses);
        *to = container_status(a, p, c, old_status(&p->status.initContainerStatuses, c->name), s, r, true, terminal);
        set_ready(k, c, to, true);
    }
    LIST_FOREACH(c, &p->spec.containers) {
        struct corev1_ContainerStatus *to = LIST_PUSH(a, &st.containerStatuses);
        *to = container_status(a, p, c, old_status(&p->status.containerStatuses, c->name), s, r, false, terminal);
        set_ready(k, c, to, false);
    }
    LIST_FOREACH(e, &p->spec.ephemeralContainers) {
        const struct corev1_Container *c = (const struct corev1_Container *)(const void *)&e->EphemeralContainerCommon;
        struct corev1_ContainerStatus *to = LIST_PUSH(a, &st.ephemeralContainerStatuses);
        *to = container_status(a, p, c, old_status(&p->status.ephemeralContainerStatuses, c->name), s, r, false, terminal);
    }
    st.phase = status_phase(p, &st, terminal);
    if (pod_is_terminal(p)) { /* an end is final */
        st.phase = p->status.phase;
        st.reason = p->status.reason;
        st.message = p->status.message;
    }
    status_conditions(k, a, p, &st, box && box->ready && !terminal);
    *ret = st;
}
