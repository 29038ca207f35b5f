/* Volumes and the nodes that they are attached to. The driver's external attacher and the kubelets' lists of what they use are played here. */
#include "converge.h"

#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"
#define ATTACHMENTS "/apis/storage.k8s.io/v1/volumeattachments"
#define NAME(handle) "kubernetes.io/csi/d.example.com^" handle

static void make_node(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'%s','annotations':{'volumes.kubernetes.io/controller-managed-attach-detach':'true'}}}", name));
    cluster_patch(w->k, arena_printf(a, "/api/v1/nodes/%s/status", name), "{'status':{'conditions':[{'type':'Ready','status':'True'}]}}");
}

static void make_volume(struct world *w, const char *name, const char *mode) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *claim = arena_printf(a, CLAIMS "/%s", name);
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'%s','namespace':'default'},'spec':{'accessModes':['%s'],'volumeName':'%s',"
        "'resources':{'requests':{'storage':'1Gi'}}}}", name, mode, name));
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'PersistentVolume','metadata':{'name':'%s'},'spec':{'capacity':{'storage':'1Gi'},'accessModes':['%s'],'csi':{'driver':'d.example.com',"
        "'volumeHandle':'%s'},'claimRef':{'namespace':'default','name':'%s','uid':'%s'}}}", name, mode, name, name, cluster_get(w->k, a, claim, "metadata.uid")));
    cluster_patch(w->k, arena_printf(a, "%s/status", claim), "{'status':{'phase':'Bound'}}");
}

static void make_pod(struct world *w, const char *name, const char *node, const char *claim) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default'},'spec':{'nodeName':'%s','containers':[{'name':'c','image':'i'}],"
        "'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'%s'}}]}}", name, node, claim));
}

static void delete_pod(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    world_delete(w, arena_printf(a, PODS "/%s", name), "{'gracePeriodSeconds':0}");
}

/* ---- the attacher ---- */

static void attacher_look(struct world *w, struct arena *a) {
    struct storagev1_VolumeAttachmentList all;
    world_list(w, a, &storagev1_VolumeAttachment_desc, NULL, &all);
    LIST_FOREACH(va, &all.items) {
        const char *target = arena_printf(a, ATTACHMENTS "/%s", va->metadata.name);
        if (world_draw(w, 3) == 0) continue; /* in its own time */
        if (va->metadata.deletionTimestamp.set) cluster_request(w->k, "PATCH", target, PATCH_MERGE, "{'metadata':{'finalizers':null}}", NULL, NULL);
        else if (!va->metadata.finalizers.len) cluster_request(w->k, "PATCH", target, PATCH_MERGE, "{'metadata':{'finalizers':['external-attacher/d']}}", NULL, NULL);
        else if (!va->status.attached && !va->status.attachError && world_draw(w, 4) == 0)
            cluster_request(w->k, "PATCH", arena_printf(a, "%s/status", target), PATCH_MERGE, "{'status':{'attachError':{'message':'not now'}}}", NULL, NULL);
        else if (!va->status.attached) cluster_request(w->k, "PATCH", arena_printf(a, "%s/status", target), PATCH_MERGE, "{'status':{'attached':true,'attachError':null}}", NULL, NULL);
    }
}

/* ---- kubelets: what a Pod on the node needs is in use once the node was told that it is attached, until no Pod needs it ---- */

static bool needs(const struct corev1_PodList *pods, const char *node, const char *volume) {
    LIST_FOREACH(p, &pods->items)
        if (str_eq(p->spec.nodeName, node) && str_has_suffix(volume, p->spec.volumes.items[0].persistentVolumeClaim->claimName)) return true;
    return false;
}

static void kubelet_look(struct world *w, struct arena *a) {
    struct corev1_NodeList nodes;
    struct corev1_PodList pods;
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    world_list(w, a, &corev1_Node_desc, NULL, &nodes);
    LIST_FOREACH(n, &nodes.items) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t count = 0, kept = 0;
        buf_append_str(&b, "{'status':{'volumesInUse':[");
        LIST_FOREACH(v, &n->status.volumesAttached) {
            if (!needs(&pods, n->metadata.name, v->name)) continue;
            kept += string_list_has(&n->status.volumesInUse, v->name);
            buf_printf(&b, "%s'%s'", count++ ? "," : "", v->name);
        }
        buf_append_str(&b, "]}}");
        if (count == kept && kept == n->status.volumesInUse.len) continue;
        /* Only what it knew: a list that has changed meanwhile is looked at again. */
        cluster_request(w->k, "PATCH", arena_printf(a, "/api/v1/nodes/%s/status", n->metadata.name), PATCH_MERGE,
            arena_printf(a, "{'metadata':{'resourceVersion':'%s'},%s", n->metadata.resourceVersion, buf_cstr(&b) + 1), NULL, NULL);
    }
}

static void attach_look(struct world *w) {
    _cleanup_arena_ struct arena *a = arena_new();
    attacher_look(w, a);
    kubelet_look(w, a);
}

/* ---- the story: Pods move between nodes with their volumes ---- */

static void attach_begin(struct world *w) {
    make_node(w, "n1");
    make_node(w, "n2");
    make_volume(w, "one", "ReadWriteOnce");
    make_volume(w, "many", "ReadWriteMany");
    make_pod(w, "a", "n1", "one");
    make_pod(w, "b", "n1", "many");
}

static const char *attach_ready(struct world *w, struct arena *a) { return world_want(w, a, "/api/v1/nodes/n1", "#status.volumesAttached", "2"); }

static void attach_act(struct world *w, int step) {
    if (step == 0) make_pod(w, "c", "n2", "many");
    if (step == 1) delete_pod(w, "a"), make_pod(w, "d", "n2", "one");
    if (step == 2) delete_pod(w, "b");
    if (step == 3) delete_pod(w, "d"), make_pod(w, "e", "n1", "one");
    if (step == 4) make_pod(w, "f", "n2", "one"), make_node(w, "n3"); /* it has to wait */
    if (step == 5) delete_pod(w, "e"), delete_pod(w, "f"), make_pod(w, "g", "n3", "one");
}

/* By the node's own words no volume is taken away that is in use, or that the node may still mount; and an exclusive one is attached once. */
static const char *attach_holds(struct world *w, struct arena *a) {
    struct storagev1_VolumeAttachmentList all;
    struct corev1_NodeList nodes;
    world_list(w, a, &storagev1_VolumeAttachment_desc, NULL, &all); /* before the nodes: what goes meanwhile was told before */
    world_list(w, a, &corev1_Node_desc, NULL, &nodes);
    int exclusive = 0;
    LIST_FOREACH(va, &all.items) {
        const char *pv = va->spec.source.persistentVolumeName, *name = arena_printf(a, NAME("%s"), pv);
        exclusive += str_eq(pv, "one");
        LIST_FOREACH(n, &nodes.items) {
            if (!va->metadata.deletionTimestamp.set || !str_eq(n->metadata.name, va->spec.nodeName)) continue;
            if (string_list_has(&n->status.volumesInUse, name)) return arena_printf(a, "%s is taken from %s, which uses it", pv, va->spec.nodeName);
        }
    }
    return exclusive > 1 ? "a volume for one node is given to two" : NULL;
}

static const char *attach_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{ATTACHMENTS, "#items", "2"}, {"/api/v1/nodes/n1", "#status.volumesAttached", "0"}, {"/api/v1/nodes/n2", "status.volumesInUse", "[\"" NAME("many") "\"]"},
        {"/api/v1/nodes/n3", "status.volumesInUse", "[\"" NAME("one") "\"]"}, {"/api/v1/nodes/n3", "#status.volumesAttached", "1"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_attach_detach = {.name = "attach-detach", .controllers = "persistentvolume-attach-detach-controller", .steps = 6, .pace_ms = 50, .begin = attach_begin, .ready = attach_ready, .act = attach_act,
    .look = attach_look, .holds = attach_holds, .done = attach_done, .state = (const char *const[]){ATTACHMENTS, "/api/v1/nodes", NULL}};
