/* The Node object: registration, and its status every ten seconds when something has changed, every five minutes when not.
 * Upstream: kubelet_node_status.go and nodestatus/setters.go. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"
#include "kubelet/cni.h"

enum { UPDATE_MS = 10000, FAST_MS = 500, REPORT_S = 300, RUNTIME_DOWN_S = 30, IMAGES_MAX = 50 };
#define KUBELET_VERSION "v1.36.0+ckube-" CKUBE_VERSION

static const char *machine(void) {
    static struct utsname u;
    uname(&u);
    return strcmp(u.machine, "x86_64") == 0 ? "amd64" : strcmp(u.machine, "aarch64") == 0 ? "arm64" : u.machine;
}

static const char *first_line(struct arena *a, const char *path) {
    char *text;
    if (read_file(a, path, 4096, &text, NULL) != 0) return "";
    text[strcspn(text, "\n")] = 0;
    return text;
}

static const char *os_image(struct arena *a) {
    char *text;
    if (read_file(a, "/etc/os-release", 65536, &text, NULL) != 0) return "Linux";
    char *at = strstr(text, "PRETTY_NAME=\"");
    if (!at) return "Linux";
    at += 13;
    at[strcspn(at, "\"\n")] = 0;
    return at;
}

static void system_info(struct kubelet *k, struct arena *a, struct corev1_NodeSystemInfo *i) {
    struct utsname u;
    uname(&u);
    i->machineID = first_line(a, "/etc/machine-id");
    i->systemUUID = first_line(a, "/sys/class/dmi/id/product_uuid");
    if (str_empty(i->systemUUID)) i->systemUUID = i->machineID;
    i->bootID = first_line(a, "/proc/sys/kernel/random/boot_id");
    i->kernelVersion = arena_strdup(a, u.release);
    i->osImage = os_image(a);
    i->kubeletVersion = KUBELET_VERSION;
    i->kubeProxyVersion = "";
    i->operatingSystem = "linux";
    i->architecture = machine();
    Runtime__V1__VersionResponse *v;
    i->containerRuntimeVersion = cri_version(k->cri, a, &v, NULL) == 0 ? arena_printf(a, "%s://%s", v->runtime_name, v->runtime_version) : "Unknown";
}

static const char *ki(struct arena *a, int64_t bytes) { return arena_printf(a, "%lldKi", (long long)(bytes / 1024)); }

static void capacity(struct kubelet *k, struct arena *a, struct corev1_NodeStatus *st) {
    struct statvfs fs;
    for (int pass = 0; pass < 2; pass++) {
        struct string_map *m = pass ? &st->allocatable : &st->capacity;
        *m = (struct string_map){0};
        string_map_set(a, m, "cpu", arena_printf(a, "%lld", (long long)(k->cpu_milli / 1000)));
        string_map_set(a, m, "memory", ki(a, k->memory_capacity));
        string_map_set(a, m, "pods", arena_printf(a, "%d", k->o.max_pods));
        string_map_set(a, m, "hugepages-1Gi", "0");
        string_map_set(a, m, "hugepages-2Mi", "0");
        if (statvfs(k->o.root_dir, &fs) != 0) continue;
        int64_t bytes = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
        /* Nine tenths: the rest is what eviction would defend. */
        string_map_set(a, m, "ephemeral-storage", pass ? arena_printf(a, "%lld", (long long)(bytes / 10 * 9)) : ki(a, bytes));
    }
}

static void condition(struct arena *a, struct corev1_NodeStatus *st, const struct corev1_NodeStatus *old, int64_t now, const char *type, bool value, const char *reason, const char *message) {
    const char *status = value ? "True" : "False";
    struct corev1_NodeCondition c = {.type = type, .status = status, .reason = reason, .message = message, .lastHeartbeatTime = time_from_s(now), .lastTransitionTime = time_from_s(now)};
    LIST_FOREACH(o, &old->conditions) if (str_eq(o->type, type) && str_eq(o->status, status)) c.lastTransitionTime = o->lastTransitionTime;
    *LIST_PUSH(a, &st->conditions) = c;
}

/* Looks at the runtime; fills why the node is not ready, "" if it is. */
static const char *readiness(struct kubelet *k, struct arena *a) {
    _cleanup_buf_ struct buf why = BUF_INIT;
    int n = 0;
    pthread_mutex_lock(&k->mutex);
    if (!k->runtime_ready) buf_append_str(&why, k->runtime_error), n++;
    if (!k->network_ready) buf_printf(&why, "%s%s", n++ ? ", " : "", k->network_error);
    if (k->runtime_ready && !k->pleg_ok) buf_printf(&why, "%sPLEG is not healthy: pleg has yet to be successful", n++ ? ", " : "");
    pthread_mutex_unlock(&k->mutex);
    return n > 1 ? arena_printf(a, "[%s]", buf_cstr(&why)) : arena_strdup(a, buf_cstr(&why));
}

static int bigger_image(const void *x, const void *y) {
    const struct corev1_ContainerImage *a = x, *b = y;
    return a->sizeBytes < b->sizeBytes ? 1 : a->sizeBytes > b->sizeBytes ? -1 : 0;
}

static void images(struct kubelet *k, struct arena *a, struct corev1_NodeStatus *st) {
    Runtime__V1__ListImagesResponse *l;
    if (cri_list_images(k->cri, a, &l, NULL) != 0) return;
    st->images = (struct corev1_ContainerImage_list){0};
    for (size_t i = 0; i < l->n_images; i++) {
        struct corev1_ContainerImage *to = LIST_PUSH(a, &st->images);
        for (size_t j = 0; j < l->images[i]->n_repo_digests; j++) string_list_push(a, &to->names, l->images[i]->repo_digests[j]);
        for (size_t j = 0; j < l->images[i]->n_repo_tags; j++) string_list_push(a, &to->names, l->images[i]->repo_tags[j]);
        to->sizeBytes = (int64_t)l->images[i]->size;
    }
    if (st->images.len) qsort(st->images.items, st->images.len, sizeof(*st->images.items), bigger_image);
    st->images.len = MIN(st->images.len, IMAGES_MAX);
}

static void status_fill(struct kubelet *k, struct arena *a, const struct corev1_NodeStatus *old, struct corev1_NodeStatus *st) {
    int64_t now = env_now_s(k->env);
    const char *why = readiness(k, a);
    *st = *old;
    st->conditions = (struct corev1_NodeCondition_list){0};
    st->addresses = (struct corev1_NodeAddress_list){0};
    *LIST_PUSH(a, &st->addresses) = (struct corev1_NodeAddress){"InternalIP", k->o.node_ip};
    *LIST_PUSH(a, &st->addresses) = (struct corev1_NodeAddress){"Hostname", k->o.node_name};
    capacity(k, a, st);
    condition(a, st, old, now, "MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available");
    condition(a, st, old, now, "DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
    condition(a, st, old, now, "PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available");
    condition(a, st, old, now, "Ready", str_empty(why), str_empty(why) ? "KubeletReady" : "KubeletNotReady", str_empty(why) ? "kubelet is posting ready status" : why);
    LIST_FOREACH(c, &old->conditions) { /* others' stay */
        bool ours = false;
        LIST_FOREACH(n, &st->conditions) ours = ours || str_eq(n->type, c->type);
        if (!ours) *LIST_PUSH(a, &st->conditions) = *c;
    }
    st->daemonEndpoints.kubeletEndpoint.Port = k->o.port > 0 ? k->o.port : 0;
    system_info(k, a, &st->nodeInfo);
    images(k, a, st);
}

/* ---- registration ---- */

static void split_labels(struct arena *a, const char *text, struct string_map *m) {
    if (!text) return;
    for (char *item, *rest = arena_strdup(a, text); (item = strsep(&rest, ","));) {
        char *value = strchr(item, '=');
        if (!*item) continue;
        if (value) *value++ = 0;
        string_map_set(a, m, item, value ? value : "");
    }
}

static void split_taints(struct arena *a, const char *text, struct corev1_Taint_list *l) {
    if (!text) return;
    for (char *item, *rest = arena_strdup(a, text); (item = strsep(&rest, ","));) {
        char *effect = strrchr(item, ':');
        if (!effect) continue;
        *effect++ = 0;
        char *value = strchr(item, '=');
        if (value) *value++ = 0;
        *LIST_PUSH(a, l) = (struct corev1_Taint){.key = item, .value = value, .effect = effect};
    }
}

static void labels_fill(struct kubelet *k, struct arena *a, struct corev1_Node *n) {
    static const char *const os[] = {"kubernetes.io/os", "beta.kubernetes.io/os"}, *const arch[] = {"kubernetes.io/arch", "beta.kubernetes.io/arch"};
    for (size_t i = 0; i < 2; i++) {
        string_map_set(a, &n->metadata.labels, os[i], "linux");
        string_map_set(a, &n->metadata.labels, arch[i], machine());
    }
    string_map_set(a, &n->metadata.labels, "kubernetes.io/hostname", k->o.node_name);
    split_labels(a, k->o.node_labels, &n->metadata.labels);
}

/* Creates the Node, or finds the one of an earlier run and corrects its labels. */
static int register_node(struct kubelet *k, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Node n = {0};
    if (api_get(k, a, &corev1_Node_desc, NULL, k->o.node_name, &n, reterr) == 0) {
        struct string_map before = string_map_copy(a, &n.metadata.labels);
        labels_fill(k, a, &n);
        if (!string_map_equal(&before, &n.metadata.labels) && api_update(k, a, &corev1_Node_desc, &n, &n, reterr) != 0) return -1;
        node_seen(k, &n);
        return 0;
    }
    if (!status_is(reterr, 404)) return -1;
    n = (struct corev1_Node){0};
    object_set_type_meta(a, &corev1_Node_desc, &n);
    n.metadata.name = k->o.node_name;
    string_map_set(a, &n.metadata.annotations, "volumes.kubernetes.io/controller-managed-attach-detach", "true");
    labels_fill(k, a, &n);
    split_taints(a, k->o.register_taints, &n.spec.taints);
    struct corev1_NodeStatus none = {0};
    status_fill(k, a, &none, &n.status);
    struct corev1_Node made;
    if (api_create(k, a, &corev1_Node_desc, &n, &made, reterr) != 0) return -1;
    log_info("registered node %s", k->o.node_name);
    node_seen(k, &made);
    return 0;
}

void node_seen(struct kubelet *k, const struct corev1_Node *n) {
    struct arena *a = arena_new();
    struct corev1_Node *copy = object_copy(a, &corev1_Node_desc, n);
    pthread_mutex_lock(&k->mutex);
    struct arena *old = k->node_arena;
    bool changed = !k->node || !str_eq(k->node->spec.podCIDR, copy->spec.podCIDR);
    k->node = copy;
    k->node_arena = a;
    pthread_mutex_unlock(&k->mutex);
    arena_free(old);
    const char *cidr = k->o.no_node_ipam ? k->o.pod_cidr : n->spec.podCIDR;
    if (!changed || str_empty(cidr) || !k->o.cni_conf_dir) return;
    _cleanup_arena_ struct arena *t = arena_new();
    const char **cidrs = arena_calloc(t, n->spec.podCIDRs.len + 1, sizeof(*cidrs));
    int len = 0;
    if (k->o.no_node_ipam || n->spec.podCIDRs.len == 0) cidrs[len++] = cidr;
    else LIST_FOREACH(c, &n->spec.podCIDRs) cidrs[len++] = *c;
    struct cni_options o = {.conf_dir = k->o.cni_conf_dir, .ipam_dir = arena_printf(t, "%s/cni-ipam", k->o.root_dir), .bridge = k->o.cni_bridge, .pod_cidrs = cidrs, .pod_cidrs_len = len};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (cni_config_write(&o, &err) != 0) log_error("CNI configuration: %s", status_message(&err));
    else log_info("Pod network %s on %s", cidr, k->o.cni_bridge);
}

/* ---- the status loop ---- */

static void runtime_check(struct kubelet *k) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    Runtime__V1__RuntimeStatus *st;
    bool runtime = false, network = false;
    char runtime_error[512] = "", network_error[512] = "";
    if (cri_status(k->cri, a, &st, &err) != 0) {
        snprintf(runtime_error, sizeof(runtime_error), "container runtime is down");
        pthread_mutex_lock(&k->mutex); /* nothing new about the network */
        network = k->network_ready;
        memcpy(network_error, k->network_error, sizeof(network_error));
        pthread_mutex_unlock(&k->mutex);
    } else {
        for (size_t i = 0; i < st->n_conditions; i++) {
            const Runtime__V1__RuntimeCondition *c = st->conditions[i];
            bool is_network = str_eq(c->type, "NetworkReady");
            if (is_network) network = c->status;
            else if (str_eq(c->type, "RuntimeReady")) runtime = c->status;
            else continue;
            if (!c->status) snprintf(is_network ? network_error : runtime_error, 512, "container runtime %snot ready: %s=false reason:%s message:%s", is_network ? "network " : "",
                                     c->type, str_or(c->reason, ""), str_or(c->message, ""));
        }
    }
    pthread_mutex_lock(&k->mutex);
    k->runtime_ready = runtime;
    k->network_ready = network;
    memcpy(k->runtime_error, runtime_error, sizeof(runtime_error));
    memcpy(k->network_error, network_error, sizeof(network_error));
    if (runtime) k->runtime_seen_ns = env_mono_ns(k->env);
    pthread_mutex_unlock(&k->mutex);
}

static bool same_but_times(struct arena *a, const struct corev1_NodeStatus *x, const struct corev1_NodeStatus *y) {
    struct corev1_NodeStatus c[2];
    for (int i = 0; i < 2; i++) {
        object_copy_into(a, &corev1_NodeStatus_desc, memset(&c[i], 0, sizeof(c[i])), i ? y : x);
        LIST_FOREACH(cond, &c[i].conditions) cond->lastHeartbeatTime = (struct api_time){0};
    }
    return object_equal(&corev1_NodeStatus_desc, &c[0], &c[1]);
}

static int report(struct kubelet *k, int64_t *last_report_s, bool *ret_ready, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Node n = {0};
    if (api_get(k, a, &corev1_Node_desc, NULL, k->o.node_name, &n, reterr) != 0) return -1;
    struct corev1_NodeStatus st;
    status_fill(k, a, &n.status, &st);
    LIST_FOREACH(c, &st.conditions) if (str_eq(c->type, "Ready")) *ret_ready = str_eq(c->status, "True");
    int64_t now = env_now_s(k->env);
    if (same_but_times(a, &n.status, &st) && now - *last_report_s < REPORT_S) return 0;
    _cleanup_buf_ struct buf patch = BUF_INIT;
    buf_append_str(&patch, "{\"status\":");
    object_encode_json(&corev1_NodeStatus_desc, &st, &patch);
    buf_append_char(&patch, '}');
    struct corev1_Node after;
    if (api_patch_status(k, a, &corev1_Node_desc, NULL, k->o.node_name, buf_cstr(&patch), &after, reterr) != 0) return -1;
    node_seen(k, &after);
    *last_report_s = now;
    return 0;
}

void *node_status_thread(void *arg) {
    struct kubelet *k = arg;
    bool registered = false, ready = false, was_ready = false;
    int64_t last_report = 0, last_try = 0;
    for (int64_t wait = 0; !kubelet_sleep_ms(k, wait);) {
        _cleanup_status_ struct status err = STATUS_INIT;
        pthread_mutex_lock(&k->mutex);
        bool before = k->runtime_ready && k->network_ready;
        pthread_mutex_unlock(&k->mutex);
        runtime_check(k);
        pthread_mutex_lock(&k->mutex);
        bool now = k->runtime_ready && k->network_ready, changed = now != before;
        pthread_mutex_unlock(&k->mutex);
        int64_t mono = env_mono_ns(k->env) / 1000000;
        wait = now && ready ? 2000 : FAST_MS;
        if (!changed && registered && now == ready && mono - last_try < UPDATE_MS) continue;
        last_try = mono;
        if (!registered && register_node(k, &err) != 0) {
            log_debug("registering: %s", status_message(&err));
            continue;
        }
        registered = true;
        if (report(k, &last_report, &ready, &err) != 0) {
            if (status_is(&err, 404)) registered = false; /* somebody deleted it */
            log_debug("node status: %s", status_message(&err));
            last_try = 0;
        }
        if (ready != was_ready) {
            event_node(k, EVENT_NORMAL, ready ? "NodeReady" : "NodeNotReady", "Node %s status is now: %s", k->o.node_name, ready ? "NodeReady" : "NodeNotReady");
            log_info("node %s is %s", k->o.node_name, ready ? "Ready" : "NotReady");
        }
        was_ready = ready;
    }
    return NULL;
}
