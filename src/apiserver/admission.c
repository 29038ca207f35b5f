/* The admission plugins that are built in, in upstream's order. */
#include "apiserver/admission.h"
#include <string.h>
#include "apiserver/admission_groups.h"
#include "apiserver/admission_pods.h"
#include "apiserver/admission_quota.h"
#include "apiserver/apiserver.h"
#include "apiserver/node_restriction.h"
#include "apiserver/registry/certificates.h"
#include "base/env.h"
#include "base/str.h"

/* ---- NamespaceLifecycle ---- */

static int namespace_lifecycle(struct api_request *r, const struct strategy *st, enum admission_operation op, const void *obj, const void *old, struct status *reterr) {
    static const char *const immortal[] = {"default", "kube-system", "kube-public", NULL};
    if (st->type == &corev1_Namespace_desc) {
        const struct object *ns = old;
        if (op == ADMIT_DELETE && str_in(ns->metadata.name, immortal)) return status_forbidden(reterr, "", "namespaces", ns->metadata.name, "this namespace may not be deleted");
        return 0;
    }
    if (op != ADMIT_CREATE || !r->namespace || !r->rd || !r->rd->namespaced) return 0;
    void *found;
    if (registry_get(r, strategy_find("", "namespaces"), NULL, r->namespace, &found, NULL, reterr) != 0) return -1;
    const struct corev1_Namespace *ns = found;
    if (!str_eq(ns->status.phase, "Terminating")) return 0;
    status_forbidden(reterr, st->group, st->resource, admission_name(obj), arena_printf(r->arena, "unable to create new content in namespace %s because it is being terminated", r->namespace));
    status_add_cause(reterr, "NamespaceTerminating", "metadata.namespace", "namespace %s is being terminated", r->namespace);
    return -1;
}

/* ---- ServiceAccount ---- */

static void mount_token(struct arena *a, struct corev1_Container_list *containers, const char *volume) {
    LIST_FOREACH(c, containers) {
        bool there = false;
        LIST_FOREACH(m, &c->volumeMounts) there |= str_eq(m->mountPath, "/var/run/secrets/kubernetes.io/serviceaccount");
        if (!there) *LIST_PUSH(a, &c->volumeMounts) = (struct corev1_VolumeMount){.name = volume, .readOnly = true, .mountPath = "/var/run/secrets/kubernetes.io/serviceaccount"};
    }
}

static void add_token_volume(struct api_request *r, struct corev1_Pod *pod) {
    struct arena *a = r->arena;
    char suffix[6];
    env_name_suffix(apiserver_env(r->server), suffix, 5);
    struct corev1_Volume *v = LIST_PUSH(a, &pod->spec.volumes);
    v->name = arena_printf(a, "kube-api-access-%s", suffix);
    v->projected = ARENA_NEW(a, struct corev1_ProjectedVolumeSource);
    v->projected->defaultMode = (struct opt_int32)OPT(0644);
    struct corev1_VolumeProjection *p = LIST_PUSH(a, &v->projected->sources);
    p->serviceAccountToken = ARENA_NEW(a, struct corev1_ServiceAccountTokenProjection);
    *p->serviceAccountToken = (struct corev1_ServiceAccountTokenProjection){.expirationSeconds = OPT(3607), .path = "token"};
    p = LIST_PUSH(a, &v->projected->sources);
    p->configMap = ARENA_NEW(a, struct corev1_ConfigMapProjection);
    p->configMap->name = "kube-root-ca.crt";
    *LIST_PUSH(a, &p->configMap->items) = (struct corev1_KeyToPath){.key = "ca.crt", .path = "ca.crt"};
    p = LIST_PUSH(a, &v->projected->sources);
    p->downwardAPI = ARENA_NEW(a, struct corev1_DownwardAPIProjection);
    struct corev1_DownwardAPIVolumeFile *f = LIST_PUSH(a, &p->downwardAPI->items);
    f->path = "namespace";
    f->fieldRef = ARENA_NEW(a, struct corev1_ObjectFieldSelector);
    *f->fieldRef = (struct corev1_ObjectFieldSelector){.apiVersion = "v1", .fieldPath = "metadata.namespace"};
    mount_token(a, &pod->spec.containers, v->name);
    mount_token(a, &pod->spec.initContainers, v->name);
}

static int service_account(struct api_request *r, struct corev1_Pod *pod, struct status *reterr) {
    void *found;
    struct status err = STATUS_INIT;
    if (string_map_has(&pod->metadata.annotations, "kubernetes.io/config.mirror")) return 0;
    if (str_empty(pod->spec.serviceAccountName)) pod->spec.serviceAccountName = pod->spec.serviceAccount = "default";
    if (registry_get(r, strategy_find("", "serviceaccounts"), r->namespace, pod->spec.serviceAccountName, &found, NULL, &err) != 0) {
        status_forbidden(reterr, "", "pods", pod->metadata.name,
                         arena_printf(r->arena, "error looking up service account %s/%s: serviceaccount \"%s\" not found", r->namespace, pod->spec.serviceAccountName, pod->spec.serviceAccountName));
        status_release(&err);
        return -1;
    }
    const struct corev1_ServiceAccount *sa = found;
    bool mount = pod->spec.automountServiceAccountToken.has ? pod->spec.automountServiceAccountToken.value : !sa->automountServiceAccountToken.has || sa->automountServiceAccountToken.value;
    bool mounted = false;
    LIST_FOREACH(v, &pod->spec.volumes) mounted |= str_has_prefix(str_or(v->name, ""), "kube-api-access-");
    if (mount && !mounted) add_token_volume(r, pod);
    if (!pod->spec.imagePullSecrets.len)
        LIST_FOREACH(s, &sa->imagePullSecrets) *LIST_PUSH(r->arena, &pod->spec.imagePullSecrets) = *s;
    return 0;
}

/* ---- Priority ---- */

struct default_class { struct api_request *r; const struct schedulingv1_PriorityClass *best; };

static bool find_default(void *arg, const struct store_view *v) {
    struct default_class *d = arg;
    const struct schedulingv1_PriorityClass *pc = registry_decode(d->r->arena, strategy_find("scheduling.k8s.io", "priorityclasses"), v);
    if (pc && pc->globalDefault && (!d->best || pc->value < d->best->value)) d->best = pc;
    return true;
}

static int priority(struct api_request *r, struct corev1_Pod *pod, struct status *reterr) {
    const struct schedulingv1_PriorityClass *pc = NULL;
    void *found;
    if (!str_empty(pod->spec.priorityClassName)) {
        if (registry_get(r, strategy_find("scheduling.k8s.io", "priorityclasses"), NULL, pod->spec.priorityClassName, &found, NULL, NULL) != 0)
            return status_forbidden(reterr, "", "pods", pod->metadata.name, arena_printf(r->arena, "no PriorityClass with name %s was found", pod->spec.priorityClassName));
        pc = found;
    } else {
        struct store_txn *t;
        struct default_class d = {r, NULL};
        if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
        store_range(t, "/registry/priorityclasses/", NULL, find_default, &d);
        store_read_end(t);
        pc = d.best;
        if (pc) pod->spec.priorityClassName = pc->metadata.name;
    }
    int32_t value = pc ? pc->value : 0;
    const char *policy = pc && pc->preemptionPolicy ? pc->preemptionPolicy : "PreemptLowerPriority";
    if (pod->spec.priority.has && pod->spec.priority.value != value)
        return status_forbidden(reterr, "", "pods", pod->metadata.name,
                                arena_printf(r->arena, "the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", pod->spec.priority.value, value));
    pod->spec.priority = (struct opt_int32)OPT(value);
    if (pod->spec.preemptionPolicy && !str_eq(pod->spec.preemptionPolicy, policy))
        return status_forbidden(reterr, "", "pods", pod->metadata.name,
                                arena_printf(r->arena, "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", pod->spec.preemptionPolicy, policy));
    pod->spec.preemptionPolicy = policy;
    return 0;
}

/* ---- DefaultTolerationSeconds ---- */

static bool tolerates(const struct corev1_Pod *pod, const char *key) {
    LIST_FOREACH(t, &pod->spec.tolerations)
        if ((str_eq(t->key, key) || str_empty(t->key)) && (str_eq(t->effect, "NoExecute") || str_empty(t->effect))) return true;
    return false;
}

static void default_tolerations(struct api_request *r, struct corev1_Pod *pod) {
    static const char *const keys[] = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"};
    bool need[2] = {!tolerates(pod, keys[0]), !tolerates(pod, keys[1])};
    for (size_t i = 0; i < 2; i++)
        if (need[i]) *LIST_PUSH(r->arena, &pod->spec.tolerations) = (struct corev1_Toleration){.key = keys[i], .operator = "Exists", .effect = "NoExecute", .tolerationSeconds = OPT(300)};
}

/* ---- TaintNodesByCondition, StorageObjectInUseProtection ---- */

static void taint_new_node(struct api_request *r, struct corev1_Node *node) {
    LIST_FOREACH(t, &node->spec.taints)
        if (str_eq(t->key, "node.kubernetes.io/not-ready") && str_eq(t->effect, "NoSchedule")) return;
    *LIST_PUSH(r->arena, &node->spec.taints) = (struct corev1_Taint){.key = "node.kubernetes.io/not-ready", .effect = "NoSchedule"};
}

static void protect(struct api_request *r, struct object *obj, const char *finalizer) {
    if (!string_list_has(&obj->metadata.finalizers, finalizer)) string_list_push(r->arena, &obj->metadata.finalizers, finalizer);
}

static int mutate_new(struct api_request *r, const struct strategy *st, void *obj, struct status *reterr) {
    if (st->type == &corev1_Pod_desc) {
        if (priority(r, obj, reterr) != 0) return -1;
        default_tolerations(r, obj);
        return runtime_class_mutate(r, obj, reterr);
    }
    if (st->type == &corev1_PersistentVolumeClaim_desc) {
        if (default_storage_class(r, obj, reterr) != 0) return -1;
        protect(r, obj, "kubernetes.io/pvc-protection");
    } else if (st->type == &networkingv1_Ingress_desc) return default_ingress_class(r, obj, reterr);
    else if (st->type == &corev1_Node_desc) taint_new_node(r, obj);
    else if (st->type == &corev1_PersistentVolume_desc) protect(r, obj, "kubernetes.io/pv-protection");
    else if (st->type == &storagev1_VolumeAttributesClass_desc) protect(r, obj, "kubernetes.io/vac-protection");
    return 0;
}

int admission_mutate(struct api_request *r, const struct strategy *st, enum admission_operation op, void *obj, const void *old, const struct write_options *o, struct status *reterr) {
    bool creates = op == ADMIT_CREATE && !o->subresource;
    if (namespace_lifecycle(r, st, op, obj, old, reterr) != 0) return -1;
    if (limit_range_mutate(r, st, op, obj, o, reterr) != 0) return -1;
    if (creates && st->type == &corev1_Pod_desc && service_account(r, obj, reterr) != 0) return -1;
    if (node_restriction(r, st, op, obj, old, o->subresource, reterr) != 0) return -1;
    return creates ? mutate_new(r, st, obj, reterr) : 0;
}

int admission_validate(struct api_request *r, const struct strategy *st, enum admission_operation op, const void *obj, const void *old, const struct write_options *o, struct status *reterr) {
    if (st->type == &certificatesv1_CertificateSigningRequest_desc && certificates_admission(r, op, obj, old, o->subresource, reterr) != 0) return -1;
    if (op == ADMIT_DELETE) return namespace_lifecycle(r, st, op, NULL, old, reterr) != 0 ? -1 : node_restriction(r, st, op, NULL, old, o->subresource, reterr);
    if (limit_range_validate(r, st, op, obj, old, o, reterr) != 0) return -1;
    if (st->type == &corev1_PersistentVolumeClaim_desc && op == ADMIT_UPDATE && !o->subresource && claim_resize(r, obj, old, reterr) != 0) return -1;
    return quota_admit(r, st, op, obj, old, o, reterr); /* last: it writes down what it allows */
}
