#include "api/printers_pod.h"
#include <string.h>
#include "api/time.h"
#include "base/str.h"

struct restarts { int64_t count; struct api_time last; };
struct summary { const char *reason; size_t total, ready; struct restarts restarts, sidecars; /* the second: of sidecars alone */ };

static bool restartable_init(const struct corev1_Pod *p, const char *name) {
    LIST_FOREACH(c, &p->spec.initContainers)
        if (str_eq(c->name, name)) return str_eq(c->restartPolicy, "Always");
    return false;
}

static void note_restart(struct restarts *r, const struct corev1_ContainerStatus *c) {
    const struct corev1_ContainerStateTerminated *t = c->lastState.terminated;
    r->count += c->restartCount;
    if (t && t->finishedAt.set && (!r->last.set || t->finishedAt.sec > r->last.sec)) r->last = t->finishedAt;
}

static const char *terminated_reason(struct arena *a, const struct corev1_ContainerStateTerminated *t, const char *prefix) {
    if (!str_empty(t->reason)) return arena_printf(a, "%s%s", prefix, t->reason);
    return t->signal ? arena_printf(a, "%sSignal:%d", prefix, t->signal) : arena_printf(a, "%sExitCode:%d", prefix, t->exitCode);
}

/* True while init containers keep the Pod from starting. */
static bool init_containers(struct arena *a, const struct corev1_Pod *p, struct summary *s) {
    for (size_t i = 0; i < p->status.initContainerStatuses.len; i++) {
        const struct corev1_ContainerStatus *c = &p->status.initContainerStatuses.items[i];
        bool sidecar = restartable_init(p, c->name);
        note_restart(&s->restarts, c);
        if (sidecar) note_restart(&s->sidecars, c);
        if (c->state.terminated && c->state.terminated->exitCode == 0) continue;
        if (sidecar && c->started.has && c->started.value) {
            if (c->ready) s->ready++;
            continue;
        }
        if (c->state.terminated) s->reason = terminated_reason(a, c->state.terminated, "Init:");
        else if (c->state.waiting && !str_empty(c->state.waiting->reason) && !str_eq(c->state.waiting->reason, "PodInitializing")) s->reason = arena_printf(a, "Init:%s", c->state.waiting->reason);
        else s->reason = arena_printf(a, "Init:%zu/%zu", i, p->spec.initContainers.len);
        return true;
    }
    return false;
}

static bool pod_ready_condition(const struct corev1_Pod *p) {
    LIST_FOREACH(c, &p->status.conditions)
        if (str_eq(c->type, "Ready") && str_eq(c->status, "True")) return true;
    return false;
}

static bool initialized(const struct corev1_Pod *p) {
    LIST_FOREACH(c, &p->status.conditions)
        if (str_eq(c->type, "Initialized") && str_eq(c->status, "True")) return true;
    return false;
}

static void containers(struct arena *a, const struct corev1_Pod *p, struct summary *s) {
    bool running = false;
    const char *failure = NULL;
    s->restarts = s->sidecars;
    for (size_t i = p->status.containerStatuses.len; i-- > 0;) {
        const struct corev1_ContainerStatus *c = &p->status.containerStatuses.items[i];
        note_restart(&s->restarts, c);
        if (c->state.waiting && !str_empty(c->state.waiting->reason)) s->reason = c->state.waiting->reason;
        else if (c->state.terminated) {
            s->reason = terminated_reason(a, c->state.terminated, "");
            if (c->state.terminated->exitCode != 0) failure = s->reason;
        } else if (c->ready && c->state.running) {
            running = true;
            s->ready++;
        }
    }
    if (!str_eq(s->reason, "Completed")) return;
    if (running && pod_ready_condition(p)) s->reason = "Running";
    else if (failure) s->reason = failure;
    else if (running) s->reason = "NotReady";
}

static const char *gates(struct arena *a, const struct corev1_Pod *p) {
    size_t met = 0;
    if (!p->spec.readinessGates.len) return "<none>";
    LIST_FOREACH(g, &p->spec.readinessGates)
        LIST_FOREACH(c, &p->status.conditions)
            if (str_eq(c->type, g->conditionType)) {
                met += str_eq(c->status, "True");
                break;
            }
    return arena_printf(a, "%zu/%zu", met, p->spec.readinessGates.len);
}

void printers_pod(struct row *row, const void *obj) {
    const struct corev1_Pod *p = obj;
    struct arena *a = row->arena;
    struct summary s = {.reason = str_or(p->status.reason, p->status.phase), .total = p->spec.containers.len};
    LIST_FOREACH(c, &p->spec.initContainers) s.total += str_eq(c->restartPolicy, "Always");
    LIST_FOREACH(c, &p->status.conditions)
        if (str_eq(c->type, "PodScheduled") && str_eq(c->reason, "SchedulingGated")) s.reason = "SchedulingGated";
    if (!init_containers(a, p, &s) || initialized(p)) containers(a, p, &s);
    if (p->metadata.deletionTimestamp.set) {
        if (str_eq(p->status.reason, "NodeLost")) s.reason = "Unknown";
        else if (!str_eq(p->status.phase, "Failed") && !str_eq(p->status.phase, "Succeeded")) s.reason = "Terminating";
    }
    cell_str(row, p->metadata.name);
    cell_printf(row, "%zu/%zu", s.ready, s.total);
    cell_str(row, s.reason);
    if (s.restarts.count && s.restarts.last.set) cell_printf(row, "%lld (%s ago)", (long long)s.restarts.count, human_duration(a, row->now_s - s.restarts.last.sec));
    else cell_printf(row, "%lld", (long long)s.restarts.count);
    cell_age(row, &p->metadata.creationTimestamp);
    cell_str(row, str_or(p->status.podIPs.len ? p->status.podIPs.items[0].ip : NULL, "<none>"));
    cell_str(row, str_or(p->spec.nodeName, "<none>"));
    cell_str(row, str_or(p->status.nominatedNodeName, "<none>"));
    cell_str(row, gates(a, p));
}
