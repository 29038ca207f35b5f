/* The ConfigMap kube-root-ca.crt in every active namespace: what Pods check the apiserver's certificate with. Upstream: pkg/controller/certificates/rootcacertpublisher.
 * Tests: tests/unit/test_controller_namespace.c. */
#include "base/file.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"

#define ROOT_CA_NAME "kube-root-ca.crt"
#define DESCRIPTION_KEY "kubernetes.io/description"
#define DESCRIPTION "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. " \
                    "No other usage is guaranteed across distributions of Kubernetes clusters."

struct root_ca_publisher {
    struct controller *c;
    struct informer *config_maps, *namespaces;
    char *pem;
};

static void on_config_map(struct root_ca_publisher *rp, const struct cached *cm) {
    if (str_eq(cm->obj->metadata.name, ROOT_CA_NAME)) work_queue_add(rp->c->queue, cm->obj->metadata.namespace);
}
static void on_config_map_update(void *data, struct cached *old UNUSED, struct cached *now) { on_config_map(data, now); }
static void on_config_map_delete(void *data, struct cached *old) { on_config_map(data, old); }

static int create(struct root_ca_publisher *rp, struct arena *a, const char *ns, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_ConfigMap *cm = object_new(a, &corev1_ConfigMap_desc);
    cm->metadata.namespace = ns;
    cm->metadata.name = ROOT_CA_NAME;
    string_map_set(a, &cm->metadata.annotations, DESCRIPTION_KEY, DESCRIPTION);
    string_map_set(a, &cm->data, "ca.crt", rp->pem);
    if (client_create(rp->c->client, a, &corev1_ConfigMap_desc, cm, NULL, &err) == 0 || status_is(&err, 409) || status_has_cause(&err, "NamespaceTerminating")) return 0;
    status_copy(reterr, &err);
    return -1;
}

static int publish(struct root_ca_publisher *rp, struct arena *a, const char *key, struct status *reterr) {
    _cleanup_cached_ struct cached *ns = informer_get(rp->namespaces, NULL, key);
    if (!ns || !str_eq(CACHED(ns, corev1_Namespace)->status.phase, "Active")) return 0;
    _cleanup_cached_ struct cached *cached = informer_get(rp->config_maps, key, ROOT_CA_NAME);
    if (!cached) return create(rp, a, key, reterr);
    const struct corev1_ConfigMap *now = CACHED(cached, corev1_ConfigMap);
    if (now->data.len == 1 && str_eq(string_map_get(&now->data, "ca.crt"), rp->pem) && str_eq(string_map_get(&now->metadata.annotations, DESCRIPTION_KEY), DESCRIPTION)) return 0;
    struct corev1_ConfigMap *cm = object_copy(a, &corev1_ConfigMap_desc, now);
    cm->data = (struct string_map){0};
    string_map_set(a, &cm->data, "ca.crt", rp->pem);
    string_map_set(a, &cm->metadata.annotations, DESCRIPTION_KEY, DESCRIPTION);
    return client_update(rp->c->client, a, &corev1_ConfigMap_desc, cm, NULL, reterr);
}

static int sync_namespace(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct root_ca_publisher *rp = self;
    int64_t began_ns = env_mono_ns(rp->c->env);
    int rc = publish(rp, a, key, reterr), code = rc == 0 ? 200 : reterr && reterr->code ? reterr->code : 500;
    controller_metric_observe(&metrics_root_ca_sync_duration, (double)(env_mono_ns(rp->c->env) - began_ns) / 1e9, "code=\"%d\"", code);
    controller_metric_add(&metrics_root_ca_syncs, 1, "code=\"%d\"", code);
    return rc;
}

static void free_self(void *self) {
    struct root_ca_publisher *rp = self;
    free(rp->pem);
    free(rp);
}

static void *new(struct controller *c, struct status *reterr) {
    const struct controller_options *o = c->context->options;
    _cleanup_buf_ struct buf pem = BUF_INIT;
    if (!o->root_ca_pem && str_empty(o->root_ca_file)) return status_bad_request(reterr, "--root-ca-file is not given"), NULL;
    if (o->root_ca_pem) buf_append_str(&pem, o->root_ca_pem);
    else if (file_read(o->root_ca_file, FILE_OPTION_MAX, &pem, reterr) != 0) return NULL;
    struct root_ca_publisher *rp = calloc(1, sizeof(*rp));
    CHECK(rp);
    rp->c = c;
    rp->pem = buf_steal(&pem);
    rp->config_maps = informers_get(c->context->informers, &corev1_ConfigMap_desc);
    rp->namespaces = informers_get(c->context->informers, &corev1_Namespace_desc);
    informer_add_handler(rp->config_maps, &(struct informer_handler){rp, NULL, on_config_map_update, on_config_map_delete});
    informer_add_handler(rp->namespaces, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    return rp;
}

const struct controller_desc controller_root_ca_publisher = {
    .name = "root-ca-certificate-publisher-controller", .queue = "root_ca_cert_publisher", .account = "root-ca-cert-publisher", .workers = 1, .new = new, .sync = sync_namespace, .free = free_self};
