/* The kubelet's calls to the API server, and what it watches there: its Pods, its Node, all Services. The one file here that knows the client.
 * Upstream: client-go as the kubelet uses it; config/apiserver.go for the Pod source. */
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"
#include "client/informer.h"

/* ---- calls ---- */

int api_get(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *ns, const char *name, void *ret_obj, struct status *reterr) {
    return client_get(k->o.client, a, type, ns, name, ret_obj, reterr);
}

int api_get_named(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *singular, const char *ns, const char *name, void *ret_obj, struct status *reterr) {
    if (api_get(k, a, type, ns, name, ret_obj, reterr) == 0) return 0;
    if (status_is(reterr, 404)) status_set(reterr, 404, REASON_NOT_FOUND, "%s \"%s\" not found", singular, name);
    return -1;
}

int api_create(struct kubelet *k, struct arena *a, const struct type_desc *type, const void *obj, void *ret_obj, struct status *reterr) {
    return client_create(k->o.client, a, type, obj, ret_obj, reterr);
}

int api_update(struct kubelet *k, struct arena *a, const struct type_desc *type, const void *obj, void *ret_obj, struct status *reterr) {
    return client_update(k->o.client, a, type, obj, ret_obj, reterr);
}

int api_patch_status(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *ns, const char *name, const char *patch, void *ret_obj, struct status *reterr) {
    return client_patch(k->o.client, a, type, ns, name, "status", PATCH_STRATEGIC, patch, ret_obj, reterr);
}

int api_pod_delete(struct kubelet *k, const char *ns, const char *name, const char *uid, int64_t grace_seconds, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct metav1_DeleteOptions *o = client_delete_options(a, uid, NULL);
    o->gracePeriodSeconds = (struct opt_int64)OPT(grace_seconds);
    return client_delete(k->o.client, &corev1_Pod_desc, ns, name, o, reterr);
}

int api_token_request(struct kubelet *k, struct arena *a, const char *ns, const char *service_account, struct authenticationv1_TokenRequest *req, struct status *reterr) {
    return client_create_subresource(k->o.client, a, &corev1_ServiceAccount_desc, ns, service_account, "token", &authenticationv1_TokenRequest_desc, req, req, reterr);
}

/* ---- what is watched ---- */

struct api_watches {
    struct reflector *pods;
    struct feed *node;
    struct informer *services;
    struct map *listed; /* UIDs of the list that comes; the Pods' reflector's own */
};

static void pod_set(void *data, const void *obj) { kubelet_pod_set(data, obj, false); }
static void pod_deleted(void *data, const void *obj) { kubelet_pod_removed(data, ((const struct corev1_Pod *)obj)->metadata.uid); }

static void pods_begin(void *data) {
    struct api_watches *w = ((struct kubelet *)data)->watches;
    map_free(w->listed);
    w->listed = map_new();
}

static void pod_listed(void *data, const void *obj) {
    struct kubelet *k = data;
    map_put(k->watches->listed, str_or(((const struct corev1_Pod *)obj)->metadata.uid, ""), k);
    kubelet_pod_set(k, obj, false);
}

/* What was not in the list is gone. Only then is it known which Pods there are: until then none is killed for being unknown. */
static void pods_end(void *data) {
    struct kubelet *k = data;
    struct pod **known = kubelet_pods(k);
    for (size_t i = 0; known[i]; i++)
        if (!known[i]->is_static && !map_has(k->watches->listed, str_or(known[i]->obj->metadata.uid, ""))) kubelet_pod_removed(k, known[i]->obj->metadata.uid);
    kubelet_pods_free(known);
    pthread_mutex_lock(&k->mutex);
    k->pods_synced = true;
    pthread_mutex_unlock(&k->mutex);
}

static void node_set(void *data, const void *obj) { node_seen(data, obj); }
static void node_deleted(void *data UNUSED, const char *ns UNUSED, const char *name UNUSED) {}

void api_services_list(struct kubelet *k, struct cached_list *ret) {
    informer_wait_synced(k->watches->services, SERVICES_WAIT_MS);
    informer_list(k->watches->services, NULL, ret);
}

void api_watches_start(struct kubelet *k) {
    struct api_watches *w = k->watches = calloc(1, sizeof(*w));
    CHECK(w);
    const char *pods = arena_printf(k->arena, "fieldSelector=spec.nodeName%%3D%s", k->o.node_name), *node = arena_printf(k->arena, "fieldSelector=metadata.name%%3D%s", k->o.node_name);
    w->services = informer_new(k->o.client, k->env, &(struct reflector_source){.type = &corev1_Service_desc});
    informer_start(w->services);
    w->node = feed_start(k->o.client, k->env, &(struct reflector_source){.type = &corev1_Node_desc, .query = node}, &(struct feed_handler){k, node_set, node_deleted, NULL});
    w->pods = reflector_start(k->o.client, k->env, &(struct reflector_source){.type = &corev1_Pod_desc, .query = pods},
        &(struct reflector_sink){k, pods_begin, pod_listed, pods_end, pod_set, pod_deleted});
}

void api_watches_stop(struct kubelet *k) {
    struct api_watches *w = k->watches;
    if (!w) return;
    reflector_stop(w->pods);
    feed_stop(w->node);
    w->pods = NULL;
    w->node = NULL;
}

void api_watches_free(struct kubelet *k) {
    struct api_watches *w = k->watches;
    if (!w) return;
    informer_free(w->services);
    map_free(w->listed);
    free(w);
}
