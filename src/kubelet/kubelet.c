/* The kubelet's start and stop, its desired Pods, and who is let in. See kubelet.h. */
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <ctype.h>
#include <unistd.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"
#include "kubelet/cni.h"
#include "wire/host_address.h"

enum { MAX_PODS = 110 };

/* ---- threads ---- */

bool kubelet_sleep_ms(struct kubelet *k, int64_t ms) {
    int64_t deadline = env_mono_ns(k->env) + ms * 1000000;
    pthread_mutex_lock(&k->mutex);
    while (!atomic_load(&k->stopping))
        if (!env_cond_wait(k->env, &k->cond, &k->mutex, deadline)) break;
    pthread_mutex_unlock(&k->mutex);
    return atomic_load(&k->stopping);
}

void kubelet_thread_start(struct kubelet *k, void *(*fn)(void *)) {
    CHECK(k->threads_len < (int)ARRAY_LEN(k->threads));
    CHECK(pthread_create(&k->threads[k->threads_len++], NULL, fn, k) == 0);
}

/* ---- desired Pods ---- */

struct pod *kubelet_pod_get(struct kubelet *k, const char *uid) {
    pthread_mutex_lock(&k->mutex);
    struct pod *p = pod_ref(map_get(k->pods, uid));
    pthread_mutex_unlock(&k->mutex);
    return p;
}

struct pod *kubelet_pod_find(struct kubelet *k, const char *ns, const char *name) {
    void *value;
    struct pod *found = NULL;
    pthread_mutex_lock(&k->mutex);
    for (size_t i = 0; map_next(k->pods, &i, NULL, &value);) {
        struct pod *p = value;
        if (!str_eq(p->obj->metadata.name, name) || !str_eq(p->obj->metadata.namespace, ns)) continue;
        if (!found || found->obj->metadata.deletionTimestamp.set) found = p; /* of two, the one that lives */
    }
    found = pod_ref(found);
    pthread_mutex_unlock(&k->mutex);
    return found;
}

struct pod **kubelet_pods(struct kubelet *k) {
    void *value;
    pthread_mutex_lock(&k->mutex);
    struct pod **out = calloc(map_len(k->pods) + 1, sizeof(*out));
    CHECK(out);
    size_t n = 0;
    for (size_t i = 0; map_next(k->pods, &i, NULL, &value);) out[n++] = pod_ref(value);
    pthread_mutex_unlock(&k->mutex);
    return out;
}

void kubelet_pods_free(struct pod **pods) {
    for (size_t i = 0; pods[i]; i++) pod_unref(pods[i]);
    free(pods);
}

void kubelet_pod_set(struct kubelet *k, const struct corev1_Pod *obj, bool is_static) {
    if (!is_static && pod_is_mirror(obj)) return; /* its static Pod is the one that runs */
    pthread_mutex_lock(&k->mutex);
    struct pod *old = map_get(k->pods, obj->metadata.uid);
    bool same = old && !is_static && object_equal(&corev1_PodSpec_desc, &old->obj->spec, &obj->spec) && object_equal(&metav1_ObjectMeta_desc, &old->obj->metadata, &obj->metadata);
    struct pod *p = same ? NULL : pod_new(obj, is_static);
    if (p) {
        map_put(k->pods, obj->metadata.uid, p);
        pod_ref(p);
    }
    pthread_mutex_unlock(&k->mutex);
    if (!p) return;
    /* A Pod that ended before we knew it has nothing to do, unless it is to be deleted. */
    if (pod_workers_known(k->workers, obj->metadata.uid) || !pod_is_terminal(obj) || obj->metadata.deletionTimestamp.set) pod_workers_update(k->workers, p);
    pod_unref(old);
    pod_unref(p);
}

void kubelet_pod_removed(struct kubelet *k, const char *uid) {
    pthread_mutex_lock(&k->mutex);
    struct pod *old = map_del(k->pods, uid);
    pthread_mutex_unlock(&k->mutex);
    if (!old) return;
    pod_workers_removed(k->workers, old->obj->metadata.uid);
    pod_unref(old);
}

const char *kubelet_pod_dir(struct kubelet *k, struct arena *a, const char *uid) { return arena_printf(a, "%s/pods/%s", k->o.root_dir, uid); }

const char *kubelet_pod_log_dir(struct kubelet *k, struct arena *a, const struct corev1_Pod *p) {
    return arena_printf(a, "%s/%s_%s_%s", k->o.pod_logs_dir, p->metadata.namespace, p->metadata.name, p->metadata.uid);
}

/* ---- admission ---- */

static bool tolerates(const struct corev1_Pod *p, const struct corev1_Taint *t) {
    LIST_FOREACH(x, &p->spec.tolerations) {
        if (!str_empty(x->effect) && !str_eq(x->effect, t->effect)) continue;
        if (str_empty(x->key) ? !str_eq(x->operator, "Exists") : !str_eq(x->key, t->key)) continue;
        if (str_eq(x->operator, "Exists") || str_eq(str_or(x->value, ""), str_or(t->value, ""))) return true;
    }
    return false;
}

/* The sum of what runs here already, without this Pod. */
static int64_t requested(struct kubelet *k, const struct corev1_Pod *p, const char *resource, int *ret_pods) {
    int64_t sum = 0;
    struct pod **pods = kubelet_pods(k);
    *ret_pods = 0;
    for (size_t i = 0; pods[i]; i++) {
        const struct corev1_Pod *x = pods[i]->obj;
        _cleanup_arena_ struct arena *a = arena_new();
        struct corev1_Pod with = *x;
        status_manager_get(k->statuses, a, x->metadata.uid, &with.status);
        if (str_eq(x->metadata.uid, p->metadata.uid) || pod_is_terminal(&with)) continue;
        sum += pod_request_milli(x, resource);
        (*ret_pods)++;
    }
    kubelet_pods_free(pods);
    return sum;
}

void kubelet_admit(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char **ret_reason, const char **ret_message) {
    pthread_mutex_lock(&k->mutex);
    struct corev1_Node *node = k->node ? object_copy(a, &corev1_Node_desc, k->node) : NULL;
    pthread_mutex_unlock(&k->mutex);
    if (!node) return;
    static const char *const names[][2] = {{"cpu", "OutOfcpu"}, {"memory", "OutOfmemory"}};
    int others;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *text = string_map_get(&node->status.allocatable, names[i][0]);
        struct quantity q = quantity_of(text);
        int64_t have = quantity_milli_value(&q), want = pod_request_milli(p, names[i][0]), used = requested(k, p, names[i][0], &others);
        if (!text || want == 0 || want <= have - used) continue;
        int64_t unit = i == 0 ? 1 : 1000; /* CPU is counted in thousandths, memory in bytes */
        *ret_reason = names[i][1];
        *ret_message = arena_printf(a, "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", names[i][0], (long long)(want / unit),
                                    (long long)(used / unit), (long long)(have / unit));
        return;
    }
    requested(k, p, "cpu", &others);
    if (others + 1 > k->o.max_pods) {
        *ret_reason = "OutOfpods";
        *ret_message = arena_printf(a, "Node didn't have enough resource: pods, requested: 1, used: %d, capacity: %d", others, k->o.max_pods);
        return;
    }
    LIST_FOREACH(e, &p->spec.nodeSelector) {
        if (string_map_has(&node->metadata.labels, e->key) && str_eq(string_map_get(&node->metadata.labels, e->key), e->value)) continue;
        *ret_reason = "NodeAffinity";
        *ret_message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return;
    }
    bool is_static = string_map_has(&p->metadata.annotations, ANNOTATION_CONFIG_SOURCE);
    LIST_FOREACH(t, &node->spec.taints) {
        if (!str_eq(t->effect, "NoExecute") || is_static || tolerates(p, t)) continue;
        *ret_reason = "TaintToleration";
        *ret_message = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        return;
    }
}

/* ---- start and stop ---- */

static const char *default_node_name(struct arena *a) {
    struct utsname u;
    uname(&u);
    char *name = arena_strdup(a, u.nodename);
    for (char *c = name; *c; c++) *c = (char)tolower((unsigned char)*c);
    return name;
}

static void options_fill(struct kubelet *k, const struct kubelet_options *o) {
    struct arena *a = k->arena;
    k->o = *o;
    k->o.node_name = o->node_name ? arena_strdup(a, o->node_name) : default_node_name(a);
    k->o.node_ip = o->node_ip ? arena_strdup(a, o->node_ip) : str_or(host_default_address(a, false), "127.0.0.1");
    k->o.root_dir = arena_strdup(a, str_or(o->root_dir, "/var/lib/kubelet"));
    k->o.pod_logs_dir = arena_strdup(a, str_or(o->pod_logs_dir, "/var/log/pods"));
    k->o.cni_bridge = arena_strdup(a, str_or(o->cni_bridge, "cni0"));
    k->o.cluster_domain = arena_strdup(a, str_or(o->cluster_domain, "cluster.local"));
    k->o.bind_address = arena_strdup(a, str_or(o->bind_address, "0.0.0.0"));
    if (k->o.port == 0) k->o.port = 10250;
    if (k->o.max_pods == 0) k->o.max_pods = MAX_PODS;
    const char **copied[] = {&k->o.runtime_endpoint, &k->o.cni_conf_dir, &k->o.cgroup_root, &k->o.cluster_dns, &k->o.static_pod_dir, &k->o.node_labels, &k->o.register_taints,
        &k->o.tls_cert_file, &k->o.tls_key_file, &k->o.client_ca_file, &k->o.pod_cidr, &k->o.authorization_mode};
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) *copied[i] = arena_strdup(a, *copied[i]);
}

struct kubelet *kubelet_start(const struct kubelet_options *options, struct status *reterr) {
    struct kubelet *k = calloc(1, sizeof(*k));
    CHECK(k);
    k->arena = arena_new();
    k->env = env_real();
    k->pods = map_new();
    k->node_arena = arena_new();
    pthread_mutex_init(&k->mutex, NULL);
    env_cond_init(&k->cond);
    options_fill(k, options);
    snprintf(k->runtime_error, sizeof(k->runtime_error), "container runtime is down");
    snprintf(k->network_error, sizeof(k->network_error), "container runtime status check may not have completed yet");
    struct sysinfo info;
    if (sysinfo(&info) == 0) k->memory_capacity = (int64_t)info.totalram * info.mem_unit;
    k->cpu_milli = sysconf(_SC_NPROCESSORS_ONLN) * 1000;
    k->started_ns = env_now_ns(k->env);
    cgroups_init(&k->cgroups, k->arena, k->o.cgroup_root);
    k->cri = cri_new(str_or(k->o.runtime_endpoint, "unix:///run/containerd/containerd.sock"));
    if (make_dirs(arena_printf(k->arena, "%s/pods", k->o.root_dir), 0750, reterr) != 0 || make_dirs(k->o.pod_logs_dir, 0755, reterr) != 0
        || cgroups_make_base(&k->cgroups, reterr) != 0) {
        kubelet_stop(k);
        return NULL;
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    if (k->o.cni_conf_dir && cni_sysctls_apply(&err) != 0) log_warning("%s", status_message(&err));
    k->events = event_recorder_new(k->o.client, k->env, "kubelet", k->o.node_name);
    k->statuses = status_manager_new(k);
    k->prober = prober_new(k);
    k->workers = pod_workers_new(k);
    if (k->o.port > 0 && kubelet_server_start(k, reterr) != 0) {
        kubelet_stop(k);
        return NULL;
    }
    kubelet_thread_start(k, pleg_thread);
    kubelet_thread_start(k, node_status_thread);
    kubelet_thread_start(k, node_lease_thread);
    api_watches_start(k);
    kubelet_thread_start(k, housekeeping_thread);
    if (k->o.static_pod_dir) kubelet_thread_start(k, static_pods_thread);
    event_node(k, EVENT_NORMAL, "Starting", "Starting kubelet.");
    return k;
}

void kubelet_stop(struct kubelet *k) {
    if (!k) return;
    pthread_mutex_lock(&k->mutex);
    atomic_store(&k->stopping, true);
    pthread_cond_broadcast(&k->cond);
    pthread_mutex_unlock(&k->mutex);
    api_watches_stop(k);
    if (k->cri) cri_cancel(k->cri); /* the end of a container may take its whole grace period; the next start sees to it */
    kubelet_server_stop(k);
    for (int i = 0; i < k->threads_len; i++) pthread_join(k->threads[i], NULL);
    if (k->workers) pod_workers_free(k->workers);
    if (k->prober) prober_free(k->prober);
    if (k->statuses) status_manager_free(k->statuses);
    event_recorder_free(k->events);
    api_watches_free(k);
    void *value;
    for (size_t i = 0; map_next(k->pods, &i, NULL, &value);) pod_unref(value);
    map_free(k->pods);
    cri_free(k->cri);
    arena_free(k->node_arena);
    arena_free(k->arena);
    pthread_cond_destroy(&k->cond);
    pthread_mutex_destroy(&k->mutex);
    free(k);
}
