/* Claims and volumes: binding, protection, claims of Pods' own, attributes classes, expansion. */
#include "converge.h"

#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"
#define VOLUMES "/api/v1/persistentvolumes"

static void make_volume(struct world *w, const char *name, const char *size, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'PersistentVolume','metadata':{'name':'%s'},'spec':{'capacity':{'storage':'%s'},'accessModes':['ReadWriteOnce'],'hostPath':{'path':'/tmp/x'}%s}}", name, size, more));
}

static void make_claim(struct world *w, const char *name, const char *size, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *class = strstr(more, "volumeName") ? "other" : "";
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'%s','namespace':'default'},'spec':{'accessModes':['ReadWriteOnce'],'storageClassName':'%s',"
        "'resources':{'requests':{'storage':'%s'}}%s}}", name, class, size, more));
}

/* Once a claim has a volume it keeps it; no two have the same; a volume's claim changes only when it was given up. */
static const char *bindings_hold(struct world *w, struct arena *a) {
    struct corev1_PersistentVolumeClaimList claims;
    struct corev1_PersistentVolumeList volumes;
    world_list(w, a, &corev1_PersistentVolume_desc, NULL, &volumes);
    world_list(w, a, &corev1_PersistentVolumeClaim_desc, "default", &claims);
    LIST_FOREACH(c, &claims.items) {
        if (str_empty(c->spec.volumeName) || !str_eq(c->status.phase, "Bound")) continue;
        if (!world_same(w, c->metadata.uid, c->spec.volumeName)) return arena_printf(a, "claim %s was bound to another volume before %s", c->metadata.name, c->spec.volumeName);
        for (const struct corev1_PersistentVolumeClaim *o = c + 1; o < claims.items.items + claims.items.len; o++)
            if (str_eq(o->status.phase, "Bound") && str_eq(o->spec.volumeName, c->spec.volumeName)) return arena_printf(a, "claims %s and %s are bound to volume %s", c->metadata.name, o->metadata.name, c->spec.volumeName);
    }
    LIST_FOREACH(v, &volumes.items)
        if (str_eq(v->status.phase, "Bound") && v->spec.claimRef && !world_same(w, v->metadata.name, v->spec.claimRef->uid)) return arena_printf(a, "volume %s had another claim", v->metadata.name);
    return NULL;
}

#define BINDER "persistentvolume-binder-controller,persistentvolumeclaim-protection-controller,persistentvolume-protection-controller"

static void binder_begin(struct world *w) {
    make_volume(w, "v1", "1Gi", "");
    make_volume(w, "v2", "1Gi", "");
    make_volume(w, "v3", "1Gi", "");
    make_volume(w, "named", "10Gi", ",'storageClassName':'other'");
    make_volume(w, "kept", "20Gi", ",'claimRef':{'namespace':'default','name':'meant'}");
}

static void binder_act(struct world *w, int step) {
    if (step == 0) make_claim(w, "a", "1Gi", ""), make_claim(w, "b", "1Gi", "");
    if (step == 1) make_claim(w, "c", "1Gi", ""), make_claim(w, "x", "8Gi", ",'volumeName':'named'"), make_claim(w, "y", "8Gi", ",'volumeName':'named'");
    if (step == 2) make_claim(w, "meant", "1Gi", "");
    if (step == 3) make_claim(w, "late", "1Gi", ""), make_volume(w, "v4", "1Gi", "");
    if (step == 4) world_delete(w, CLAIMS "/a", NULL);
}

static const char *binder_done(struct world *w, struct arena *a) {
    static const char *const names[] = {"b", "c", "meant", "late"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *claim = arena_printf(a, CLAIMS "/%s", names[i]);
        if (!str_eq(cluster_get(w->k, a, claim, "status.phase"), "Bound")) return arena_printf(a, "%s is %s", names[i], cluster_get(w->k, a, claim, "status.phase"));
        char *volume = arena_printf(a, VOLUMES "/%s", cluster_get(w->k, a, claim, "spec.volumeName"));
        const char *missing = world_want(w, a, volume, "spec.claimRef.uid", cluster_get(w->k, a, claim, "metadata.uid"));
        if (!missing) missing = world_want(w, a, volume, "status.phase", "Bound");
        if (missing) return missing;
    }
    static const char *const wants[][3] = {{CLAIMS "/meant", "spec.volumeName", "kept"}, {VOLUMES "/named", "status.phase", "Bound"}, {CLAIMS "/a", "metadata.name", ""}, {NULL}};
    const char *missing = world_want_all(w, a, wants);
    if (missing) return missing;
    bool x = str_eq(cluster_get(w->k, a, CLAIMS "/x", "status.phase"), "Bound"), y = str_eq(cluster_get(w->k, a, CLAIMS "/y", "status.phase"), "Bound");
    if (x == y) return "not exactly one of x and y is bound";
    struct corev1_PersistentVolumeList volumes;
    int bound = 0;
    world_list(w, a, &corev1_PersistentVolume_desc, NULL, &volumes);
    LIST_FOREACH(v, &volumes.items) bound += str_eq(v->status.phase, "Bound");
    return bound == 5 ? NULL : arena_printf(a, "%d volumes are bound, 5 should be", bound);
}

/* Which of equal volumes a claim gets is nobody's promise: the phases alone are compared, by done. */
const struct scenario scenario_volume_binder = {.name = "persistentvolume-binder", .controllers = BINDER, .steps = 5, .pace_ms = 100, .begin = binder_begin, .act = binder_act, .holds = bindings_hold, .done = binder_done,
    .state = (const char *const[]){"/api/v1/namespaces/default/pods", NULL}};

/* ---- what is used is not deleted ---- */

static void protection_begin(struct world *w) {
    make_claim(w, "used", "1Gi", "");
    make_claim(w, "free", "1Gi", "");
    make_volume(w, "bound", "1Gi", "");
    make_volume(w, "unbound", "1Gi", "");
    cluster_patch(w->k, VOLUMES "/bound/status", "{'status':{'phase':'Bound'}}");
    cluster_create(w->k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'user','namespace':'default'},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'used'}}]}}");
}

static const char *protection_ready(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CLAIMS "/used", "#metadata.finalizers", "1"}, {CLAIMS "/free", "#metadata.finalizers", "1"}, {VOLUMES "/bound", "#metadata.finalizers", "1"},
        {VOLUMES "/unbound", "#metadata.finalizers", "1"}, {NULL}};
    return world_want_all(w, a, wants);
}

static void protection_act(struct world *w, int step) {
    if (step == 0) world_delete(w, CLAIMS "/used", NULL), world_delete(w, CLAIMS "/free", NULL);
    if (step == 1) world_delete(w, VOLUMES "/bound", NULL), world_delete(w, VOLUMES "/unbound", NULL);
    if (step == 2) make_claim(w, "new", "1Gi", "");
    if (step == 3) cluster_delete(w->k, PODS "/user", "{'gracePeriodSeconds':0}");
    if (step == 4) cluster_patch(w->k, VOLUMES "/bound/status", "{'status':{'phase':'Released'}}");
}

static const char *protection_holds(struct world *w, struct arena *a) {
    bool claim = *cluster_get(w->k, a, CLAIMS "/used", "metadata.name") != 0, volume = *cluster_get(w->k, a, VOLUMES "/bound", "metadata.name") != 0;
    if (!claim && w->step < 3) return "a claim that a Pod uses is gone";
    return !volume && w->step < 4 ? "a bound volume is gone" : NULL;
}

static const char *protection_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CLAIMS, "#items", "1"}, {VOLUMES, "#items", "0"}, {CLAIMS "/new", "metadata.finalizers", "[\"kubernetes.io/pvc-protection\"]"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_volume_protection = {.name = "pvc-and-pv-protection", .controllers = "persistentvolumeclaim-protection-controller,persistentvolume-protection-controller", .steps = 5, .pace_ms = 20,
    .begin = protection_begin, .ready = protection_ready, .act = protection_act, .holds = protection_holds, .done = protection_done, .state = (const char *const[]){CLAIMS, VOLUMES, NULL}};

/* ---- Pods' own claims ---- */

static void make_owner(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default'},'spec':{'containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v','ephemeral':{'volumeClaimTemplate':"
        "{'metadata':{'labels':{'of':'%s'}},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}}},{'name':'w','ephemeral':{'volumeClaimTemplate':"
        "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}}}]}}", name, name));
}

static void ephemeral_begin(struct world *w) {
    make_claim(w, "q-v", "3Gi", ""); /* somebody else's */
    make_owner(w, "p");
}

static void ephemeral_act(struct world *w, int step) {
    if (step == 0) make_owner(w, "q");
    for (int i = 0; step == 1 && i < 2; i++) {
        const char *claim = i ? CLAIMS "/p-v" : CLAIMS "/p-w";
        cluster_request(w->k, "PATCH", claim, PATCH_MERGE, "{'metadata':{'finalizers':null}}", NULL, NULL);
        world_delete(w, claim, NULL);
    }
    if (step == 2) make_owner(w, "r");
}

static const char *ephemeral_holds(struct world *w, struct arena *a) {
    struct corev1_PersistentVolumeClaimList claims;
    world_list(w, a, &corev1_PersistentVolumeClaim_desc, "default", &claims);
    LIST_FOREACH(c, &claims.items)
        if (str_eq(c->metadata.name, "q-v") ? c->metadata.ownerReferences.len != 0 : c->metadata.ownerReferences.len != 1) return arena_printf(a, "%s has %zu owners", c->metadata.name, c->metadata.ownerReferences.len);
    return claims.items.len > 6 ? "there are more claims than volumes" : NULL;
}

static const char *ephemeral_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CLAIMS "/p-v", "metadata.labels.of", "p"}, {CLAIMS "/p-w", "metadata.ownerReferences[0].name", "p"}, {CLAIMS "/r-v", "metadata.labels.of", "r"},
        {CLAIMS "/r-w", "metadata.ownerReferences[0].name", "r"}, {CLAIMS "/q-v", "metadata.ownerReferences", ""}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_ephemeral_volume = {.name = "ephemeral-volume", .controllers = "ephemeral-volume-controller", .steps = 3, .pace_ms = 20, .begin = ephemeral_begin, .act = ephemeral_act, .holds = ephemeral_holds,
    .done = ephemeral_done, .state = (const char *const[]){CLAIMS "?labelSelector=of", NULL}};

/* ---- attributes classes ---- */

#define CLASSES "/apis/storage.k8s.io/v1/volumeattributesclasses"

static void make_class(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'storage.k8s.io/v1','kind':'VolumeAttributesClass','metadata':{'name':'%s'},'driverName':'d.example.com','parameters':{'k':'v'}}", name));
}

static void class_begin(struct world *w) {
    make_class(w, "used");
    make_class(w, "free");
    make_claim(w, "c", "1Gi", ",'volumeAttributesClassName':'used'");
}

static const char *class_ready(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CLASSES "/used", "#metadata.finalizers", "1"}, {CLASSES "/free", "#metadata.finalizers", "1"}, {NULL}};
    return world_want_all(w, a, wants);
}

static void class_act(struct world *w, int step) {
    if (step == 0) world_delete(w, CLASSES "/used", NULL);
    if (step == 1) world_delete(w, CLASSES "/free", NULL);
    if (step == 2) make_class(w, "new");
    if (step == 3) cluster_delete(w->k, CLAIMS "/c", NULL), cluster_request(w->k, "PATCH", CLAIMS "/c", PATCH_MERGE, "{'metadata':{'finalizers':null}}", NULL, NULL);
}

static const char *class_holds(struct world *w, struct arena *a) {
    return !*cluster_get(w->k, a, CLASSES "/used", "metadata.name") && w->step < 3 ? "a class that a claim uses is gone" : NULL;
}

static const char *class_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CLASSES, "#items", "1"}, {CLASSES "/new", "#metadata.finalizers", "1"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_attributes_class_protection = {.name = "volumeattributesclass-protection", .controllers = "volumeattributesclass-protection-controller", .steps = 4, .pace_ms = 20, .begin = class_begin,
    .ready = class_ready, .act = class_act, .holds = class_holds, .done = class_done, .state = (const char *const[]){CLASSES, NULL}};

/* ---- expansion: it says so, and touches nothing ---- */

static void expand_begin(struct world *w) {
    cluster_create(w->k, "{'apiVersion':'storage.k8s.io/v1','kind':'StorageClass','metadata':{'name':'grows'},'provisioner':'example.com/p','allowVolumeExpansion':true}");
    cluster_create(w->k, "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'c','namespace':'default'},'spec':{'accessModes':['ReadWriteOnce'],'storageClassName':'grows','volumeName':'v',"
        "'resources':{'requests':{'storage':'1Gi'}}}}");
    cluster_patch(w->k, CLAIMS "/c/status", "{'status':{'phase':'Bound','capacity':{'storage':'1Gi'}}}");
}

static void expand_act(struct world *w, int step) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(w->k, CLAIMS "/c", arena_printf(a, "{'spec':{'resources':{'requests':{'storage':'%dGi'}}}}", step + 2));
}

static const char *expand_done(struct world *w, struct arena *a) { return world_want(w, a, CLAIMS "/c", "spec.resources.requests.storage", "4Gi"); }

const struct scenario scenario_volume_expand = {.name = "persistentvolume-expander", .controllers = "persistentvolume-expander-controller", .steps = 3, .begin = expand_begin, .act = expand_act, .done = expand_done,
    .state = (const char *const[]){CLAIMS, NULL}};
