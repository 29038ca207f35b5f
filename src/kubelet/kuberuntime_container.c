/* One container's start: image, configuration, creation, postStart hook; and its end. Upstream: kuberuntime_container*.go. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/grpc.h"

enum { GRACE_MIN_S = 2 };

uint32_t container_hash(const struct corev1_Container *c) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_printf(&b, "%s\n%s", str_or(c->name, ""), str_or(c->image, "")); /* what may not change under a running container */
    return (uint32_t)hash_bytes(b.data, b.len);
}

static char **expanded(struct arena *a, const struct string_list *l, const struct env_list *env, size_t *ret_len) {
    char **out = arena_calloc(a, l->len + 1, sizeof(*out));
    for (size_t i = 0; i < l->len; i++) out[i] = arena_strdup(a, env_expand(a, str_or(l->items[i], ""), env));
    *ret_len = l->len;
    return out;
}

static char **copied(struct arena *a, const struct string_list *l, size_t *ret_len) {
    struct env_list none = {0};
    char **out = expanded(a, l, &none, ret_len);
    for (size_t i = 0; i < l->len; i++) out[i] = arena_strdup(a, str_or(l->items[i], ""));
    return out;
}

static Runtime__V1__LinuxContainerResources *resources_of(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c) {
    Runtime__V1__LinuxContainerResources *r = CRI_NEW(a, LinuxContainerResources, linux_container_resources);
    struct quantity cpu_request = quantity_of(string_map_get(&c->resources.requests, "cpu")), cpu_limit = quantity_of(string_map_get(&c->resources.limits, "cpu"));
    struct quantity memory_limit = quantity_of(string_map_get(&c->resources.limits, "memory"));
    r->cpu_shares = milli_cpu_to_shares(quantity_milli_value(cpu_request.nanos ? &cpu_request : &cpu_limit));
    r->memory_limit_in_bytes = quantity_value(&memory_limit);
    r->cpu_quota = milli_cpu_to_quota(quantity_milli_value(&cpu_limit));
    r->cpu_period = r->cpu_quota ? CPU_PERIOD_US : 0;
    r->oom_score_adj = container_oom_score_adj(p, c, k->memory_capacity);
    if (k->cgroups.v2 && r->memory_limit_in_bytes) {
        struct string_map unified = {0};
        string_map_set(a, &unified, "memory.oom.group", "1"); /* a container dies whole */
        CRI_MAP(a, r->n_unified, r->unified, LinuxContainerResources__UnifiedEntry, linux_container_resources__unified_entry, &unified);
        r->memory_swap_limit_in_bytes = r->memory_limit_in_bytes;
    }
    return r;
}

static Runtime__V1__Int64Value *int64_of(struct arena *a, int64_t v) {
    Runtime__V1__Int64Value *out = CRI_NEW(a, Int64Value, int64_value);
    out->value = v;
    return out;
}

static char **paths(struct arena *a, const char *const *list, size_t len, size_t *ret_len) {
    char **out = arena_calloc(a, len + 1, sizeof(*out));
    for (size_t i = 0; i < len; i++) out[i] = arena_strdup(a, list[i]);
    *ret_len = len;
    return out;
}

static Runtime__V1__LinuxContainerSecurityContext *security_of(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c,
                                                               const char *target_id) {
    static const char *const masked[] = {"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"};
    static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
    const struct corev1_PodSecurityContext *ps = p->spec.securityContext;
    const struct corev1_SecurityContext *cs = c->securityContext;
    Runtime__V1__LinuxContainerSecurityContext *s = CRI_NEW(a, LinuxContainerSecurityContext, linux_container_security_context);
    s->namespace_options = namespace_options(a, p);
    if (target_id) {
        s->namespace_options->pid = RUNTIME__V1__NAMESPACE_MODE__TARGET;
        s->namespace_options->target_id = arena_strdup(a, target_id);
    }
    s->privileged = cs && cs->privileged.value;
    s->readonly_rootfs = cs && cs->readOnlyRootFilesystem.value;
    s->no_new_privs = cs && cs->allowPrivilegeEscalation.has && !cs->allowPrivilegeEscalation.value;
    s->seccomp = seccomp_profile(k, a, ps ? ps->seccompProfile : NULL, cs ? cs->seccompProfile : NULL);
    if (s->privileged) s->seccomp->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
    if (cs && cs->runAsUser.has) s->run_as_user = int64_of(a, cs->runAsUser.value);
    else if (ps && ps->runAsUser.has) s->run_as_user = int64_of(a, ps->runAsUser.value);
    if (cs && cs->runAsGroup.has) s->run_as_group = int64_of(a, cs->runAsGroup.value);
    else if (ps && ps->runAsGroup.has) s->run_as_group = int64_of(a, ps->runAsGroup.value);
    if (s->run_as_group && !s->run_as_user) s->run_as_user = int64_of(a, 0); /* the runtime takes a group only with a user */
    if (ps) {
        size_t n = 0;
        s->supplemental_groups = arena_calloc(a, ps->supplementalGroups.len + 1, sizeof(int64_t));
        if (ps->fsGroup.has) s->supplemental_groups[n++] = ps->fsGroup.value;
        LIST_FOREACH(g, &ps->supplementalGroups) s->supplemental_groups[n++] = *g;
        s->n_supplemental_groups = n;
        if (str_eq(ps->supplementalGroupsPolicy, "Strict")) s->supplemental_groups_policy = RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict;
    }
    if (cs && cs->capabilities) {
        s->capabilities = CRI_NEW(a, Capability, capability);
        s->capabilities->add_capabilities = copied(a, &cs->capabilities->add, &s->capabilities->n_add_capabilities);
        s->capabilities->drop_capabilities = copied(a, &cs->capabilities->drop, &s->capabilities->n_drop_capabilities);
    }
    if (!(cs && str_eq(cs->procMount, "Unmasked"))) {
        s->masked_paths = paths(a, masked, ARRAY_LEN(masked), &s->n_masked_paths);
        s->readonly_paths = paths(a, readonly, ARRAY_LEN(readonly), &s->n_readonly_paths);
    }
    return s;
}

/* runAsNonRoot is checked here, where the image's user is known. */
static int check_non_root(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, struct status *reterr) {
    const struct corev1_PodSecurityContext *ps = p->spec.securityContext;
    const struct corev1_SecurityContext *cs = c->securityContext;
    bool wanted = cs && cs->runAsNonRoot.has ? cs->runAsNonRoot.value : ps && ps->runAsNonRoot.value;
    if (!wanted) return 0;
    const struct opt_int64 *user = cs && cs->runAsUser.has ? &cs->runAsUser : ps && ps->runAsUser.has ? &ps->runAsUser : NULL;
    if (user && user->value == 0)
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "container's runAsUser breaks non-root policy (pod: \"%s\", container: %s)", pod_full_name(a, p), c->name);
    if (user) return 0;
    Runtime__V1__Image *image = NULL;
    if (cri_image_status(k->cri, a, image_with_tag(a, c->image), &image, reterr) != 0) return -1;
    if (image && !str_empty(image->username) && !str_eq(image->username, "0"))
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root (pod: \"%s\", container: %s)",
                               image->username, pod_full_name(a, p), c->name);
    if (!image || !image->uid || image->uid->value == 0)
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "container has runAsNonRoot and image will run as root (pod: \"%s\", container: %s)", pod_full_name(a, p), c->name);
    return 0;
}

static void label_container(struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, int restart_count, Runtime__V1__ContainerConfig *config) {
    struct string_map labels = {0}, annotations = {0};
    string_map_set(a, &labels, "io.kubernetes.pod.name", p->metadata.name);
    string_map_set(a, &labels, "io.kubernetes.pod.namespace", p->metadata.namespace);
    string_map_set(a, &labels, "io.kubernetes.pod.uid", p->metadata.uid);
    string_map_set(a, &labels, "io.kubernetes.container.name", c->name);
    CRI_MAP(a, config->n_labels, config->labels, ContainerConfig__LabelsEntry, container_config__labels_entry, &labels);
    string_map_set(a, &annotations, "io.kubernetes.container.hash", arena_printf(a, "%x", container_hash(c)));
    string_map_set(a, &annotations, "io.kubernetes.container.restartCount", arena_printf(a, "%d", restart_count));
    string_map_set(a, &annotations, "io.kubernetes.container.terminationMessagePath", str_or(c->terminationMessagePath, ""));
    string_map_set(a, &annotations, "io.kubernetes.container.terminationMessagePolicy", str_or(c->terminationMessagePolicy, ""));
    string_map_set(a, &annotations, "io.kubernetes.pod.terminationGracePeriod", arena_printf(a, "%lld", (long long)pod_grace_seconds(p)));
    CRI_MAP(a, config->n_annotations, config->annotations, ContainerConfig__AnnotationsEntry, container_config__annotations_entry, &annotations);
}

static Runtime__V1__ContainerConfig *config_of(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const char *target_id,
                                               const char *image_ref, int restart_count, const struct string_list *pod_ips, struct status *reterr) {
    struct env_list env = {0};
    Runtime__V1__ContainerConfig *config = CRI_NEW(a, ContainerConfig, container_config);
    if (check_non_root(k, a, p, c, reterr) != 0 || container_env(k, a, p, c, pod_ips, &env, reterr) != 0) return NULL;
    if (container_mounts(k, a, p, c, &env, pod_ips, restart_count, config, reterr) != 0) return NULL;
    config->metadata = CRI_NEW(a, ContainerMetadata, container_metadata);
    config->metadata->name = arena_strdup(a, c->name);
    config->metadata->attempt = (uint32_t)restart_count;
    config->image = CRI_NEW(a, ImageSpec, image_spec);
    config->image->image = arena_strdup(a, image_ref);
    config->image->user_specified_image = arena_strdup(a, c->image);
    config->command = expanded(a, &c->command, &env, &config->n_command);
    config->args = expanded(a, &c->args, &env, &config->n_args);
    config->working_dir = arena_strdup(a, str_or(c->workingDir, ""));
    config->envs = arena_calloc(a, env.len + 1, sizeof(*config->envs));
    LIST_FOREACH(e, &env) {
        Runtime__V1__KeyValue *kv = CRI_NEW(a, KeyValue, key_value);
        kv->key = arena_strdup(a, e->name);
        kv->value.data = (uint8_t *)arena_strdup(a, str_or(e->value, ""));
        kv->value.len = strlen((char *)kv->value.data);
        config->envs[config->n_envs++] = kv;
    }
    label_container(a, p, c, restart_count, config);
    config->log_path = arena_printf(a, "%s/%d.log", c->name, restart_count);
    config->stdin = c->stdin;
    config->stdin_once = c->stdinOnce;
    config->tty = c->tty;
    config->linux = CRI_NEW(a, LinuxContainerConfig, linux_container_config);
    config->linux->resources = resources_of(k, a, p, c);
    config->linux->security_context = security_of(k, a, p, c, target_id);
    return make_dirs(arena_printf(a, "%s/%s", kubelet_pod_log_dir(k, a, p), c->name), 0755, reterr) == 0 ? config : NULL;
}

/* How often it ran before, told by its logs: for when the runtime has forgotten it. */
static int restarts_by_logs(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c) {
    DIR *d = opendir(arena_printf(a, "%s/%s", kubelet_pod_log_dir(k, a, p), c->name));
    int next = 0, n;
    for (struct dirent *e; d && (e = readdir(d));)
        if (sscanf(e->d_name, "%d.log", &n) == 1 && n >= next) next = n + 1;
    if (d) closedir(d);
    return next;
}

static int fail_start(struct kubelet *k, const struct corev1_Pod *p, const struct corev1_Container *c, const char *reason, const char **ret_reason, struct status *reterr) {
    event_pod(k, p, c->name, EVENT_WARNING, "Failed", "Error: %s", grpc_status_desc(reterr));
    *ret_reason = reason;
    return -1;
}

int container_start(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const char *target_id, const struct rt_status *s,
                    const char *sandbox_id, const struct string_list *pod_ips, struct pod_runtime *r, const char **ret_reason, struct status *reterr) {
    const char *image_ref = NULL, *id = NULL;
    if (image_ensure(k, a, p, c, r, &image_ref, ret_reason, reterr) != 0) {
        event_pod(k, p, c->name, EVENT_WARNING, "Failed", "Error: %s", *ret_reason);
        return -1;
    }
    const struct rt_container *last = rt_container_find(s, c->name);
    int restart_count = last ? last->restart_count + 1 : restarts_by_logs(k, a, p, c);
    Runtime__V1__ContainerConfig *config = config_of(k, a, p, c, target_id, image_ref, restart_count, pod_ips, reterr);
    if (!config) return fail_start(k, p, c, "CreateContainerConfigError", ret_reason, reterr);
    uint32_t attempt = s->sandboxes.len ? s->sandboxes.items[0].attempt : 0;
    if (cri_create_container(k->cri, a, sandbox_id, config, sandbox_config(k, a, p, attempt), &id, reterr) != 0)
        return fail_start(k, p, c, "CreateContainerError", ret_reason, reterr);
    event_pod(k, p, c->name, EVENT_NORMAL, "Created", "Container created");
    if (cri_start_container(k->cri, id, reterr) != 0) return fail_start(k, p, c, "RunContainerError", ret_reason, reterr);
    event_pod(k, p, c->name, EVENT_NORMAL, "Started", "Container started");
    if (c->lifecycle && c->lifecycle->postStart) {
        if (lifecycle_run(k, p, c, id, c->lifecycle->postStart, 3600, reterr) != 0) {
            event_pod(k, p, c->name, EVENT_WARNING, "FailedPostStartHook", "PostStartHook failed");
            log_warning("postStart hook of %s in %s failed: %s", c->name, pod_full_name(a, p), status_message(reterr));
            runtime_kill_container(k, p, id, c->name, "FailedPostStartHook", -1, NULL);
            *ret_reason = "PostStartHookError";
            return -1;
        }
    }
    return 0;
}

int runtime_kill_container(struct kubelet *k, const struct corev1_Pod *p, const char *id, const char *name, const char *message, int64_t grace_seconds, struct status *reterr) {
    const struct corev1_Container *c = pod_container(p, name);
    int64_t grace = grace_seconds >= 0 ? grace_seconds : pod_grace_seconds(p);
    if (message) event_pod(k, p, name, EVENT_NORMAL, "Killing", "%s", message);
    else event_pod(k, p, name, EVENT_NORMAL, "Killing", "Stopping container %s", name);
    if (c && c->lifecycle && c->lifecycle->preStop && grace > 0) {
        _cleanup_status_ struct status err = STATUS_INIT;
        int64_t began = env_mono_ns(k->env);
        if (lifecycle_run(k, p, c, id, c->lifecycle->preStop, grace, &err) != 0) {
            event_pod(k, p, name, EVENT_WARNING, "FailedPreStopHook", "PreStopHook failed");
            log_warning("preStop hook of %s failed: %s", name, status_message(&err));
        }
        grace = MAX(grace - (env_mono_ns(k->env) - began) / 1000000000, GRACE_MIN_S);
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    if (cri_stop_container(k->cri, id, grace, &err) == 0 || status_is(&err, 404)) return 0;
    status_copy(reterr, &err);
    return -1;
}
