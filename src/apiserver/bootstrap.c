#include "apiserver/bootstrap.h"
#include <string.h>
#include "api/defaults.h"
#include "api/time.h"
#include "apiserver/allocators.h"
#include "apiserver/bootstrap_groups.h"
#include "apiserver/kubernetes_service.h"
#include "apiserver/legacy_tokens.h"
#include "apiserver/registry.h"
#include "base/str.h"

struct writer { struct apiserver *s; struct arena *a; struct { struct store_op *items; size_t len; } ops; };

/* Queues the object for writing unless it is there. */
static void want(struct writer *w, struct store_txn *t, const char *resource, const char *group, void *object) {
    const struct strategy *st = strategy_find(group, resource);
    struct object *obj = object;
    struct store_view v;
    struct buf out = BUF_INIT;
    size_t rv_offset;
    char uuid[37];
    CHECK(st);
    char *key = storage_key(w->a, st, obj->metadata.namespace, obj->metadata.name);
    if (store_get(t, key, &v)) return;
    env_uuid(apiserver_env(w->s), uuid);
    obj->metadata.uid = arena_strdup(w->a, uuid);
    obj->metadata.creationTimestamp = time_from_s(env_now_s(apiserver_env(w->s)));
    object_set_type_meta(w->a, st->type, obj);
    object_set_defaults(w->a, st->type, obj);
    object_encode_stored(st->type, obj, &out, &rv_offset);
    *LIST_PUSH(w->a, &w->ops) = (struct store_op){.key = key, .expect_mod_revision = 0, .value = arena_memdup(w->a, out.data, out.len), .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
    buf_release(&out);
}

static void want_namespace(struct writer *w, struct store_txn *t, const char *name) {
    struct corev1_Namespace *ns = object_new(w->a, &corev1_Namespace_desc);
    ns->metadata.name = name;
    string_list_push(w->a, &ns->spec.finalizers, "kubernetes");
    ns->status.phase = "Active";
    want(w, t, "namespaces", "", ns);
}

static void want_kubernetes_service(struct writer *w, struct store_txn *t) {
    struct corev1_Service *svc = kubernetes_service_object(w->a, w->s);
    bootstrap_own(w->a, &corev1_Service_desc, svc, "kube-apiserver", env_now_s(apiserver_env(w->s)));
    string_list_push(w->a, &svc->spec.clusterIPs, svc->spec.clusterIP); /* what the registry allocates belongs to no manager */
    string_list_push(w->a, &svc->spec.ipFamilies, ip_family(svc->spec.clusterIP));
    size_t before = w->ops.len;
    want(w, t, "services", "", svc);
    if (w->ops.len > before) want(w, t, "ipaddresses", "networking.k8s.io", ip_address_new(w->a, apiserver_env(w->s), svc->spec.clusterIP, "default", "kubernetes"));
}

/* Since when the use of tokens in Secrets is written down; later legacy_tokens.h sees to it. */
static void want_token_tracking(struct writer *w, struct store_txn *t) {
    struct corev1_ConfigMap *cm = object_new(w->a, &corev1_ConfigMap_desc);
    int64_t now_s = env_now_s(apiserver_env(w->s));
    cm->metadata.namespace = "kube-system";
    cm->metadata.name = LEGACY_TOKEN_TRACKING;
    string_map_set(w->a, &cm->data, "since", date_string(w->a, now_s));
    bootstrap_own(w->a, &corev1_ConfigMap_desc, cm, "kube-apiserver", now_s);
    want(w, t, "configmaps", "", cm);
}

struct emit { struct writer *w; struct store_txn *t; };

static void want_emitted(void *arg, const char *resource, const char *group, void *obj) {
    struct emit *e = arg;
    want(e->w, e->t, resource, group, obj);
}

int bootstrap(struct apiserver *s, struct status *reterr) {
    static const char *const namespaces[] = {"default", "kube-node-lease", "kube-public", "kube-system"};
    _cleanup_arena_ struct arena *a = arena_new();
    struct writer w = {.s = s, .a = a};
    struct store_txn *t;
    struct store_result res = {0};
    if (store_read_begin(apiserver_store(s), &t, reterr) != 0) return -1;
    for (size_t i = 0; i < ARRAY_LEN(namespaces); i++) want_namespace(&w, t, namespaces[i]);
    want_kubernetes_service(&w, t);
    want_token_tracking(&w, t);
    const char *const ranges[] = {apiserver_service_range(s, 0), apiserver_service_range(s, 1)};
    bootstrap_groups(a, env_now_s(apiserver_env(s)), ranges, want_emitted, &(struct emit){&w, t});
    store_read_end(t);
    /* Where several apiservers begin at once, the first to write an object wins: one that is there by now is as good as ours. */
    size_t step = apiserver_options(s)->etcd_servers ? 1 : MAX(w.ops.len, (size_t)1);
    for (size_t i = 0; i < w.ops.len && res.outcome != STORE_FAILED; i += step) store_write_wait(apiserver_store(s), w.ops.items + i, step, &res);
    if (res.outcome != STORE_FAILED) return 0;
    status_copy(reterr, &res.error);
    status_release(&res.error);
    return -1;
}
