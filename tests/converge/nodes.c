/* Nodes: address ranges, health and evictions, how long to cache, Pods that nobody ends. */
#include "api/pod_util.h"
#include "converge.h"

#define NODES "/api/v1/nodes"
#define NODE(n) "/api/v1/nodes/" n

static void make_node(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'%s','labels':{'kubernetes.io/os':'linux','kubernetes.io/arch':'amd64'}}}", name));
}

/* ---- ranges: three are there, both families; nodes come and go ---- */

static void ipam_begin(struct world *w) {
    struct controller_options *o = &w->k->options;
    o->allocate_node_cidrs = true;
    o->cluster_cidr[0] = "10.42.0.0/22";
    o->cluster_cidr[1] = "fd00::/62";
    o->service_cluster_ip_range[0] = "10.42.3.0/24";
    make_node(w, "a");
}

static void ipam_act(struct world *w, int step) {
    if (step == 0) make_node(w, "b"), make_node(w, "c");
    if (step == 1) make_node(w, "d"); /* has to wait */
    if (step == 2) cluster_delete(w->k, NODE("b"), NULL);
    if (step == 3) cluster_delete(w->k, NODE("a"), NULL), make_node(w, "a");
}

static const char *ranges_hold(struct world *w, struct arena *a) {
    struct corev1_NodeList nodes;
    world_list(w, a, &corev1_Node_desc, NULL, &nodes);
    LIST_FOREACH(n, &nodes.items) {
        if (!n->spec.podCIDRs.len) continue;
        if (n->spec.podCIDRs.len != 2) return arena_printf(a, "%s has %zu ranges", n->metadata.name, n->spec.podCIDRs.len);
        if (!world_same(w, n->metadata.uid, n->spec.podCIDRs.items[0])) return arena_printf(a, "the range of %s has changed", n->metadata.name);
        if (str_eq(n->spec.podCIDRs.items[0], "10.42.3.0/24")) return "a range of the Services' was given";
        for (const struct corev1_Node *o = n + 1; o < nodes.items.items + nodes.items.len; o++)
            for (size_t f = 0; f < 2; f++)
                if (o->spec.podCIDRs.len == 2 && str_eq(n->spec.podCIDRs.items[f], o->spec.podCIDRs.items[f])) return arena_printf(a, "%s and %s have %s", n->metadata.name, o->metadata.name, n->spec.podCIDRs.items[f]);
    }
    return NULL;
}

static const char *ipam_done(struct world *w, struct arena *a) {
    struct corev1_NodeList nodes;
    world_list(w, a, &corev1_Node_desc, NULL, &nodes);
    LIST_FOREACH(n, &nodes.items)
        if (n->spec.podCIDRs.len != 2) return arena_printf(a, "%s has no ranges", n->metadata.name);
    return nodes.items.len == 3 ? NULL : "not three nodes";
}

/* Which range a node gets is nobody's promise. */
const struct scenario scenario_node_ipam = {.name = "node-ipam", .controllers = "node-ipam-controller", .steps = 4, .pace_ms = 100, .begin = ipam_begin, .act = ipam_act, .holds = ranges_hold, .done = ipam_done,
    .state = (const char *const[]){PODS, NULL}};

/* ---- health: one node falls silent, one says that it is not ready, one is cordoned ---- */

static void post_ready(struct world *w, const char *name, const char *status) {
    _cleanup_arena_ struct arena *a = arena_new();
    int64_t now = env_now_s(&w->k->env);
    struct corev1_NodeCondition c = {.type = "Ready", .status = status, .reason = "KubeletReady", .message = "m", .lastHeartbeatTime = {.set = true, .sec = now}, .lastTransitionTime = {.set = true, .sec = now}};
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"status\":{\"conditions\":[");
    object_encode_json(&corev1_NodeCondition_desc, &c, &b);
    buf_append_str(&b, "]}}");
    if (client_patch(w->k->admin, a, &corev1_Node_desc, NULL, name, "status", PATCH_STRATEGIC, buf_cstr(&b), NULL, NULL) != 0) abort();
}

static void put_pod(struct world *w, const char *name, const char *node, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default'},'spec':{'nodeName':'%s','terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'i'}]%s}}", name, node, more));
}

#define LEAVES_SOON ",'tolerations':[{'key':'node.kubernetes.io/unreachable','operator':'Exists','effect':'NoExecute','tolerationSeconds':20},{'key':'node.kubernetes.io/not-ready','operator':'Exists','effect':'NoExecute','tolerationSeconds':20}]"

static void health_begin(struct world *w) {
    static const char *const names[] = {"n1", "n2", "n3", "n4"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        make_node(w, names[i]);
        post_ready(w, names[i], "True");
    }
    put_pod(w, "on-n1", "n1", LEAVES_SOON);
    put_pod(w, "silent", "n2", LEAVES_SOON);
    put_pod(w, "tolerates", "n2", ",'tolerations':[{'operator':'Exists'}]");
    put_pod(w, "sick", "n3", LEAVES_SOON);
}

static const char *health_ready(struct world *w, struct arena *a) {
    static const char *const names[] = {"n1", "n2", "n3", "n4"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!str_eq(cluster_get(w->k, a, arena_printf(a, NODE("%s"), names[i]), "spec.taints"), "")) return arena_printf(a, "%s is still tainted", names[i]);
    return world_want(w, a, PODS "/sick", "status.phase", "Running");
}

/* Heartbeats, each ten seconds. */
static void health_look(struct world *w) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *last = world_remember(w, "heartbeat", arena_printf(a, "%lld", (long long)env_now_s(&w->k->env) / 10));
    if (last && atoll(last) == env_now_s(&w->k->env) / 10) return;
    post_ready(w, "n1", "True");
    post_ready(w, "n4", "True");
    if (!w->begun || w->step < 1) post_ready(w, "n2", "True");
    post_ready(w, "n3", w->begun && w->step >= 2 ? "False" : "True");
}

static void health_act(struct world *w, int step) {
    if (step == 3) cluster_patch(w->k, NODE("n4"), "{'spec':{'unschedulable':true}}");
}

static const char *health_holds(struct world *w, struct arena *a) {
    if (str_eq(cluster_get(w->k, a, PODS "/on-n1", "metadata.name"), "") || *cluster_get(w->k, a, PODS "/on-n1", "metadata.deletionTimestamp")) return "the Pod of a healthy node is deleted";
    if (str_eq(cluster_get(w->k, a, PODS "/tolerates", "metadata.name"), "")) return "a Pod that tolerates all is deleted";
    return NULL;
}

static const char *health_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{PODS "/silent", "metadata.name", ""}, {PODS "/sick", "metadata.name", ""}, {NODE("n2"), "status.conditions[type=Ready].status", "Unknown"}, {NODE("n2"), "#spec.taints", "2"},
        {NODE("n2"), "spec.taints[effect=NoExecute].key", "node.kubernetes.io/unreachable"}, {NODE("n3"), "spec.taints[effect=NoExecute].key", "node.kubernetes.io/not-ready"}, {NODE("n3"), "#spec.taints", "2"},
        {NODE("n4"), "#spec.taints", "1"}, {NODE("n4"), "spec.taints[0].key", "node.kubernetes.io/unschedulable"}, {NODE("n1"), "spec.taints", ""}, {PODS "/tolerates", "status.conditions[type=Ready].status", "False"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_node_lifecycle = {.name = "node-lifecycle-and-taint-eviction", .controllers = "node-lifecycle-controller,taint-eviction-controller", .kubelet = KUBELET_RUNS, .steps = 4, .pace_ms = 500,
    .begin = health_begin, .ready = health_ready, .look = health_look, .act = health_act, .holds = health_holds, .done = health_done, .state = (const char *const[]){NODES, NULL}};

/* ---- how long nodes may cache ---- */

static void ttl_begin(struct world *w) {
    make_node(w, "a");
    make_node(w, "b");
}

static void ttl_act(struct world *w, int step) {
    if (step == 0) make_node(w, "c");
    if (step == 1) cluster_patch(w->k, NODE("a"), "{'metadata':{'annotations':{'node.alpha.kubernetes.io/ttl':'77','mine':'1'}}}");
    if (step == 2) cluster_delete(w->k, NODE("b"), NULL);
    if (step == 3) cluster_patch(w->k, NODE("c"), "{'metadata':{'annotations':{'node.alpha.kubernetes.io/ttl':null}}}");
}

static const char *ttl_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{NODE("a"), "metadata.annotations.node|alpha|kubernetes|io/ttl", "0"}, {NODE("a"), "metadata.annotations.mine", "1"}, {NODE("c"), "metadata.annotations.node|alpha|kubernetes|io/ttl", "0"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_ttl = {.name = "ttl", .controllers = "ttl-controller", .steps = 4, .pace_ms = 20, .begin = ttl_begin, .act = ttl_act, .done = ttl_done, .state = (const char *const[]){NODES, NULL}};

/* ---- Pods that nobody ends ---- */

static void set_phase(struct world *w, const char *name, const char *phase) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(w->k, arena_printf(a, PODS "/%s/status", name), arena_printf(a, "{'status':{'phase':'%s'}}", phase));
}

static void collector_begin(struct world *w) {
    make_node(w, "n1");
    make_node(w, "goes");
    put_pod(w, "runs", "n1", "");
    put_pod(w, "orphan", "goes", "");
    put_pod(w, "nowhere", "never-there", "");
    put_pod(w, "stays", "n1", "");
    set_phase(w, "runs", "Running");
    set_phase(w, "stays", "Succeeded");
}

static void collector_act(struct world *w, int step) {
    if (step == 0) cluster_delete(w->k, NODE("goes"), NULL);
    if (step == 1) put_pod(w, "more", "n1", ""), set_phase(w, "more", "Running");
    if (step == 2) cluster_create(w->k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'unscheduled','namespace':'default','finalizers':['example.com/f']},'spec':{'containers':[{'name':'c','image':'i'}]}}"),
        cluster_delete(w->k, PODS "/unscheduled", NULL);
    if (step == 3) cluster_patch(w->k, PODS "/unscheduled", "{'metadata':{'finalizers':null}}");
}

static const char *collector_holds(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{PODS "/runs", "metadata.deletionTimestamp", ""}, {PODS "/runs", "status.phase", "Running"}, {PODS "/stays", "metadata.deletionTimestamp", ""}, {PODS "/stays", "status.phase", "Succeeded"}, {NULL}};
    return world_want_all(w, a, wants);
}

static const char *collector_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{PODS "/orphan", "metadata.name", ""}, {PODS "/nowhere", "metadata.name", ""}, {PODS "/more", "status.phase", "Running"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_pod_gc = {.name = "pod-gc", .controllers = "pod-garbage-collector-controller", .steps = 4, .pace_ms = 1000, .begin = collector_begin, .act = collector_act, .holds = collector_holds,
    .done = collector_done, .state = (const char *const[]){PODS, NULL}};

/* ---- of finished Pods two are kept ---- */

static void finish_pod(struct world *w, int i) {
    _cleanup_arena_ struct arena *a = arena_new();
    char *name = arena_printf(a, "done-%d", i);
    put_pod(w, name, "n1", "");
    set_phase(w, name, i % 2 ? "Failed" : "Succeeded");
}

static void finished_begin(struct world *w) {
    w->k->options.terminated_pod_gc_threshold = 2;
    make_node(w, "n1");
    put_pod(w, "runs", "n1", "");
    set_phase(w, "runs", "Running");
    for (int i = 0; i < 3; i++) finish_pod(w, i);
}

static void finished_act(struct world *w, int step) { finish_pod(w, 3 + step); }

static int finished_count(struct world *w, struct arena *a) {
    struct corev1_PodList pods;
    int n = 0;
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    LIST_FOREACH(p, &pods.items) n += pod_is_terminal(p);
    return n;
}

static const char *finished_holds(struct world *w, struct arena *a) {
    if (finished_count(w, a) < 2) return "more finished Pods were deleted than the threshold says";
    return world_want(w, a, PODS "/runs", "status.phase", "Running");
}

static const char *finished_done(struct world *w, struct arena *a) {
    int n = finished_count(w, a);
    return n == 2 ? NULL : arena_printf(a, "%d finished Pods are left", n);
}

const struct scenario scenario_pod_gc_finished = {.name = "pod-gc-finished", .controllers = "pod-garbage-collector-controller", .steps = 4, .pace_ms = 1000, .begin = finished_begin, .act = finished_act,
    .holds = finished_holds, .done = finished_done, .state = (const char *const[]){PODS "?fieldSelector=status.phase=Running", NULL}};
