/* ReplicationController, Deployment with ReplicaSets, DaemonSet, StatefulSet. */
#include "api/pod_util.h"
#include "converge.h"

#define RC "/api/v1/namespaces/default/replicationcontrollers/rc"

static void make_pod_of(struct world *w, const char *name, const char *labels, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default','labels':{%s}},'spec':{'containers':[{'name':'c','image':'a'}]%s}}", name, labels, more));
}

static bool is_active(const struct corev1_Pod *p) { return !p->metadata.deletionTimestamp.set && !pod_is_terminal(p); }

/* ---- ReplicationController: 3, 5, 2; a Pod to adopt, one to release ---- */

static void rc_begin(struct world *w) {
    make_pod_of(w, "alone", "'app':'rc'", "");
    cluster_create(w->k, "{'apiVersion':'v1','kind':'ReplicationController','metadata':{'name':'rc','namespace':'default'},'spec':{'replicas':3,'selector':{'app':'rc'},"
        "'template':{'metadata':{'labels':{'app':'rc'}},'spec':{'containers':[{'name':'c','image':'a'}]}}}}");
}

static void rc_act(struct world *w, int step) {
    if (step == 0) cluster_patch(w->k, RC, "{'spec':{'replicas':5}}");
    if (step == 1) cluster_request(w->k, "PATCH", PODS "/alone", PATCH_MERGE, "{'metadata':{'labels':{'app':'other'}}}", NULL, NULL);
    if (step == 2) cluster_delete(w->k, PODS "?labelSelector=app=rc", NULL);
    if (step == 3) cluster_patch(w->k, RC, "{'spec':{'replicas':2}}");
}

static const char *rc_holds(struct world *w, struct arena *a) {
    struct corev1_PodList pods;
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    int n = 0;
    LIST_FOREACH(p, &pods.items) n += is_active(p) && str_eq(string_map_get(&p->metadata.labels, "app"), "rc");
    return n > 5 ? arena_printf(a, "%d Pods, never more than 5 were asked for", n) : NULL;
}

static const char *rc_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{RC, "status.replicas", "2"}, {RC, "status.availableReplicas", "2"}, {RC, "status.fullyLabeledReplicas", "2"}, {PODS "?labelSelector=app=rc", "#items", "2"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_replication_controller = {.name = "replicationcontroller", .controllers = "replicationcontroller-controller", .kubelet = KUBELET_RUNS, .steps = 4, .begin = rc_begin, .act = rc_act,
    .holds = rc_holds, .done = rc_done, .state = (const char *const[]){PODS "?labelSelector=app=rc", "/api/v1/namespaces/default/replicationcontrollers", NULL}};

/* ---- Deployment with its ReplicaSets: two images, more replicas, back again; 4 or 6 with a surge of 2, at most one unavailable ---- */

#define DEPLOYMENT "/apis/apps/v1/namespaces/default/deployments/web"
#define SETS "/apis/apps/v1/namespaces/default/replicasets"

static void deployment_begin(struct world *w) {
    cluster_create(w->k, "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':'default'},'spec':{'replicas':4,'strategy':{'rollingUpdate':{'maxSurge':2,'maxUnavailable':1}},"
        "'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}");
}

static const char *deployment_ready(struct world *w, struct arena *a) { return world_want(w, a, DEPLOYMENT, "status.availableReplicas", "4"); }

static void deployment_act(struct world *w, int step) {
    static const char *const patches[] = {"{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'b'}]}}}}", "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'c'}]}}}}", "{'spec':{'replicas':6}}",
        "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'a'}]}}}}"};
    cluster_patch(w->k, DEPLOYMENT, patches[step]);
}

static char *sets_text(struct arena *a, const struct appsv1_ReplicaSetList *sets) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    LIST_FOREACH(s, &sets->items) buf_printf(&b, " %s: %d replicas, %d available, generation %d of %d;", s->spec.template.spec.containers.items[0].image, s->spec.replicas.value, s->status.availableReplicas,
        (int)s->status.observedGeneration, (int)s->metadata.generation);
    return arena_strdup(a, buf_cstr(&b));
}

static const char *deployment_holds(struct world *w, struct arena *a) {
    struct appsv1_ReplicaSetList sets;
    struct corev1_PodList pods;
    int sum = 0, ready = 0;
    world_list(w, a, &appsv1_ReplicaSet_desc, "default", &sets);
    LIST_FOREACH(s, &sets.items) sum += s->spec.replicas.value;
    int most = w->step < 2 ? 6 : 8;
    if (sum > most) return arena_printf(a, "the sets together have %d replicas, of at most %d:%s", sum, most, sets_text(a, &sets));
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    LIST_FOREACH(p, &pods.items) ready += is_active(p) && pod_is_ready(p);
    if (ready < 3) return arena_printf(a, "%d of %zu Pods are ready, at least 3 must be:%s", ready, pods.items.len, sets_text(a, &sets));
    LIST_FOREACH(s, &sets.items) {
        int n = 0;
        LIST_FOREACH(p, &pods.items) n += is_active(p) && str_eq(p->metadata.ownerReferences.items[0].uid, s->metadata.uid);
        if (n > most) return arena_printf(a, "%s has %d Pods", s->metadata.name, n);
    }
    return NULL;
}

static const char *deployment_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{DEPLOYMENT, "status.replicas", "6"}, {DEPLOYMENT, "status.updatedReplicas", "6"}, {DEPLOYMENT, "status.availableReplicas", "6"},
        {DEPLOYMENT, "status.conditions[type=Progressing].reason", "NewReplicaSetAvailable"}, {PODS, "#items", "6"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_deployment = {.name = "deployment", .controllers = "deployment-controller,replicaset-controller", .kubelet = KUBELET_RUNS, .steps = 4, .begin = deployment_begin, .ready = deployment_ready,
    .act = deployment_act, .holds = deployment_holds, .done = deployment_done, .state = (const char *const[]){PODS, NULL}};

/* ---- DaemonSet: a new image, a node that comes, one that is emptied ---- */

#define DAEMONS "/apis/apps/v1/namespaces/default/daemonsets/ds"

static void make_free_node(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'%s'}}", name));
    cluster_patch(w->k, arena_printf(a, "/api/v1/nodes/%s", name), "{'spec':{'taints':null}}");
}

static void daemon_begin(struct world *w) {
    make_free_node(w, "n1");
    make_free_node(w, "n2");
    make_free_node(w, "n3");
    cluster_create(w->k, "{'apiVersion':'apps/v1','kind':'DaemonSet','metadata':{'name':'ds','namespace':'default'},'spec':{'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1}},"
        "'selector':{'matchLabels':{'app':'ds'}},'template':{'metadata':{'labels':{'app':'ds'}},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}");
}

static const char *daemon_ready(struct world *w, struct arena *a) { return world_want(w, a, DAEMONS, "status.numberAvailable", "3"); }

static void daemon_act(struct world *w, int step) {
    if (step == 0) cluster_patch(w->k, DAEMONS, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'b'}]}}}}");
    if (step == 1) make_free_node(w, "n4");
    if (step == 2) cluster_patch(w->k, "/api/v1/nodes/n2", "{'spec':{'taints':[{'key':'k','effect':'NoExecute'}]}}");
    if (step == 3) cluster_patch(w->k, DAEMONS, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'c'}]}}}}");
}

/* Never two on a node; of those nodes that always are to have one, at most one is without. */
static const char *daemon_holds(struct world *w, struct arena *a) {
    struct corev1_PodList pods;
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    int ready = 0;
    LIST_FOREACH(p, &pods.items) {
        if (!is_active(p)) continue;
        const char *node = cluster_node_of(p);
        ready += pod_is_ready(p) && (str_eq(node, "n1") || str_eq(node, "n3"));
        for (const struct corev1_Pod *o = p + 1; o < pods.items.items + pods.items.len; o++)
            if (is_active(o) && str_eq(cluster_node_of(o), node)) return arena_printf(a, "two Pods are on %s", node);
    }
    return ready < 1 ? "neither n1 nor n3 has a ready Pod, though one at most may be without" : NULL;
}

static const char *daemon_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{DAEMONS, "status.desiredNumberScheduled", "3"}, {DAEMONS, "status.updatedNumberScheduled", "3"}, {DAEMONS, "status.numberAvailable", "3"}, {PODS, "#items", "3"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_daemon_set = {.name = "daemonset", .controllers = "daemonset-controller", .kubelet = KUBELET_RUNS, .steps = 4, .begin = daemon_begin, .ready = daemon_ready, .act = daemon_act,
    .holds = daemon_holds, .done = daemon_done, .state = (const char *const[]){PODS, NULL}};

/* ---- StatefulSet: two images, a Pod that is deleted, more and fewer ---- */

#define STATEFUL "/apis/apps/v1/namespaces/default/statefulsets/web"
#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"

static void stateful_begin(struct world *w) {
    cluster_create(w->k, "{'apiVersion':'apps/v1','kind':'StatefulSet','metadata':{'name':'web','namespace':'default'},'spec':{'replicas':3,'serviceName':'web','selector':{'matchLabels':{'app':'web'}},"
        "'volumeClaimTemplates':[{'metadata':{'name':'data'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}],"
        "'template':{'metadata':{'labels':{'app':'web'}},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}");
}

static const char *stateful_ready(struct world *w, struct arena *a) { return world_want(w, a, STATEFUL, "status.availableReplicas", "3"); }

static void stateful_act(struct world *w, int step) {
    static const char *const patches[] = {"{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'b'}]}}}}", "{'spec':{'replicas':5}}", "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'c'}]}}}}",
        "{'spec':{'replicas':2}}"};
    cluster_patch(w->k, STATEFUL, patches[step]);
}

/* Of the three that were there at first one at a time may be away; a claim once made stays; no more than asked for. */
static const char *stateful_holds(struct world *w, struct arena *a) {
    struct corev1_PodList pods;
    struct corev1_PersistentVolumeClaimList claims;
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    int ready = 0;
    LIST_FOREACH(p, &pods.items) {
        int ordinal = atoi(strrchr(p->metadata.name, '-') + 1);
        if (ordinal > 4 || (ordinal > 2 && w->step < 1)) return arena_printf(a, "%s was not asked for", p->metadata.name);
        ready += is_active(p) && pod_is_ready(p) && ordinal < 2;
    }
    if (ready < 1) return "web-0 and web-1 are away at once";
    world_list(w, a, &corev1_PersistentVolumeClaim_desc, "default", &claims);
    LIST_FOREACH(c, &claims.items)
        if (!world_same(w, c->metadata.name, c->metadata.uid)) return arena_printf(a, "%s was made anew", c->metadata.name);
    return NULL;
}

static const char *stateful_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{STATEFUL, "status.replicas", "2"}, {STATEFUL, "status.updatedReplicas", "2"}, {STATEFUL, "status.availableReplicas", "2"}, {PODS "/web-0", "spec.containers[0].image", "c"},
        {PODS "/web-1", "spec.containers[0].image", "c"}, {PODS, "#items", "2"}, {NULL}};
    const char *missing = world_want_all(w, a, wants);
    return missing ? missing : world_want(w, a, STATEFUL, "status.currentRevision", cluster_get(w->k, a, STATEFUL, "status.updateRevision"));
}

const struct scenario scenario_stateful_set = {.name = "statefulset", .controllers = "statefulset-controller", .kubelet = KUBELET_RUNS, .steps = 4, .begin = stateful_begin, .ready = stateful_ready, .act = stateful_act,
    .holds = stateful_holds, .done = stateful_done, .state = (const char *const[]){PODS, NULL}};
