/* core/v1, apps/v1, batch/v1 and the smaller groups; Pods and their parts are in defaults_pod.c. */
#include "api/defaults.h"
#include <string.h>
#include "api/defaults_groups.h"
#include "api/defaults_pod.h"
#include "base/str.h"

#define DEFAULT_STR(field, value) ((field) = str_empty(field) ? (value) : (field))
#define DEFAULT_OPT(field, v) ((field).has ? (void)0 : ((field).has = true, (field).value = (v), (void)0))

static struct int_or_string percent(const char *s) { return (struct int_or_string){INTSTR_STRING, 0, s}; }

static void service(struct arena *a, void *obj) {
    struct corev1_Service *s = obj;
    struct corev1_ServiceSpec *p = &s->spec;
    DEFAULT_STR(p->sessionAffinity, "None");
    if (str_eq(p->sessionAffinity, "None")) p->sessionAffinityConfig = NULL;
    if (str_eq(p->sessionAffinity, "ClientIP")) {
        struct corev1_SessionAffinityConfig *c = p->sessionAffinityConfig;
        if (!c || !c->clientIP || !c->clientIP->timeoutSeconds.has) {
            p->sessionAffinityConfig = c = ARENA_NEW(a, struct corev1_SessionAffinityConfig);
            c->clientIP = ARENA_NEW(a, struct corev1_ClientIPConfig);
            DEFAULT_OPT(c->clientIP->timeoutSeconds, 10800);
        }
    }
    DEFAULT_STR(p->type, "ClusterIP");
    LIST_FOREACH(port, &p->ports) {
        DEFAULT_STR(port->protocol, "TCP");
        bool zero = port->targetPort.kind == INTSTR_NONE || (port->targetPort.kind == INTSTR_INT && port->targetPort.i == 0) || (port->targetPort.kind == INTSTR_STRING && str_empty(port->targetPort.s));
        if (zero) port->targetPort = (struct int_or_string){INTSTR_INT, port->port, NULL};
    }
    bool balancer = str_eq(p->type, "LoadBalancer"), external = balancer || str_eq(p->type, "NodePort") || (str_eq(p->type, "ClusterIP") && p->externalIPs.len > 0);
    if (external) DEFAULT_STR(p->externalTrafficPolicy, "Cluster");
    if (!p->internalTrafficPolicy && !str_eq(p->type, "ExternalName")) p->internalTrafficPolicy = "Cluster";
    if (balancer) DEFAULT_OPT(p->allocateLoadBalancerNodePorts, true);
    if (balancer)
        LIST_FOREACH(in, &s->status.loadBalancer.ingress)
            if (!str_empty(in->ip) && !in->ipMode) in->ipMode = "VIP";
}

static void pod(struct arena *a, void *obj) { default_pod(a, obj); }
static void pod_template(struct arena *a, void *obj) { default_pod_template(a, &((struct corev1_PodTemplate *)obj)->template); }

static void replication_controller(struct arena *a, void *obj) {
    struct corev1_ReplicationController *rc = obj;
    if (rc->spec.template) {
        const struct string_map *labels = &rc->spec.template->metadata.labels;
        if (labels->len && !rc->spec.selector.len) rc->spec.selector = string_map_copy(a, labels);
        if (labels->len && !rc->metadata.labels.len) rc->metadata.labels = string_map_copy(a, labels);
        default_pod_template(a, rc->spec.template);
    }
    DEFAULT_OPT(rc->spec.replicas, 1);
}

/* stringData is write-only: it lands in data. Upstream does it when it converts to the internal type, so before anybody sees the object. */
static void take_string_data(struct arena *a, struct corev1_Secret *s) {
    LIST_FOREACH(e, &s->stringData) {
        struct bytes value = {(const unsigned char *)str_or(e->value, ""), strlen(str_or(e->value, ""))};
        size_t i = 0;
        while (i < s->data.len && strcmp(s->data.items[i].key, e->key) < 0) i++;
        if (i < s->data.len && strcmp(s->data.items[i].key, e->key) == 0) {
            s->data.items[i].value = value;
            continue;
        }
        struct bytes_map_entry *grown = arena_calloc(a, s->data.len + 1, sizeof(*grown));
        if (i) memcpy(grown, s->data.items, i * sizeof(*grown));
        grown[i] = (struct bytes_map_entry){e->key, value};
        if (i < s->data.len) memcpy(grown + i + 1, s->data.items + i, (s->data.len - i) * sizeof(*grown));
        s->data.items = grown;
        s->data.len++;
    }
    s->stringData = (struct string_map){0};
}

static void secret(struct arena *a, void *obj) {
    struct corev1_Secret *s = obj;
    DEFAULT_STR(s->type, "Opaque");
    take_string_data(a, s);
}

static void namespace_(struct arena *a, void *obj) {
    struct corev1_Namespace *ns = obj;
    if (!str_empty(ns->metadata.name)) string_map_set(a, &ns->metadata.labels, "kubernetes.io/metadata.name", ns->metadata.name);
    DEFAULT_STR(ns->status.phase, "Active");
}

static void node(struct arena *a, void *obj) {
    struct corev1_Node *n = obj;
    struct corev1_NodeSpec *spec = &n->spec;
    /* podCIDR is the first of podCIDRs; where they differ it wins. */
    if (!str_empty(spec->podCIDR) && (!spec->podCIDRs.len || !str_eq(spec->podCIDR, spec->podCIDRs.items[0]))) {
        spec->podCIDRs = (struct string_list){0};
        string_list_push(a, &spec->podCIDRs, spec->podCIDR);
    } else if (spec->podCIDRs.len) spec->podCIDR = spec->podCIDRs.items[0];
    if (!n->status.allocatable.items && n->status.capacity.items) n->status.allocatable = string_map_copy(a, &n->status.capacity);
    default_resource_list(a, &n->status.capacity);
    default_resource_list(a, &n->status.allocatable);
}

static void endpoints(struct arena *a UNUSED, void *obj) {
    LIST_FOREACH(s, &((struct corev1_Endpoints *)obj)->subsets)
        LIST_FOREACH(p, &s->ports) DEFAULT_STR(p->protocol, "TCP");
}

static void volume_spec(struct arena *a, struct corev1_PersistentVolumeSpec *s) {
    default_resource_list(a, &s->capacity);
    if (s->hostPath && !s->hostPath->type) s->hostPath->type = "";
    if (s->iscsi) DEFAULT_STR(s->iscsi->iscsiInterface, "default");
    if (s->rbd) {
        DEFAULT_STR(s->rbd->pool, "rbd");
        DEFAULT_STR(s->rbd->user, "admin");
        DEFAULT_STR(s->rbd->keyring, "/etc/ceph/keyring");
    }
    if (s->azureDisk) {
        if (!s->azureDisk->cachingMode) s->azureDisk->cachingMode = "ReadWrite";
        if (!s->azureDisk->kind) s->azureDisk->kind = "Shared";
        if (!s->azureDisk->fsType) s->azureDisk->fsType = "ext4";
        DEFAULT_OPT(s->azureDisk->readOnly, false);
    }
    if (s->scaleIO) {
        DEFAULT_STR(s->scaleIO->storageMode, "ThinProvisioned");
        DEFAULT_STR(s->scaleIO->fsType, "xfs");
    }
}

static void persistent_volume(struct arena *a, void *obj) {
    struct corev1_PersistentVolume *pv = obj;
    DEFAULT_STR(pv->status.phase, "Pending");
    DEFAULT_STR(pv->spec.persistentVolumeReclaimPolicy, "Retain");
    if (!pv->spec.volumeMode) pv->spec.volumeMode = "Filesystem";
    volume_spec(a, &pv->spec);
}

static void volume_attachment(struct arena *a, void *obj) {
    struct storagev1_VolumeAttachmentSource *s = &((struct storagev1_VolumeAttachment *)obj)->spec.source;
    if (s->inlineVolumeSpec) volume_spec(a, s->inlineVolumeSpec);
}

static void claim(struct arena *a, void *obj) {
    struct corev1_PersistentVolumeClaim *c = obj;
    DEFAULT_STR(c->status.phase, "Pending");
    if (!c->spec.volumeMode) c->spec.volumeMode = "Filesystem";
    default_resource_list(a, &c->spec.resources.limits);
    default_resource_list(a, &c->spec.resources.requests);
    default_resource_list(a, &c->status.capacity);
    default_resource_list(a, &c->status.allocatedResources);
}

static void resource_quota(struct arena *a, void *obj) {
    struct corev1_ResourceQuota *q = obj;
    default_resource_list(a, &q->spec.hard);
    default_resource_list(a, &q->status.hard);
    default_resource_list(a, &q->status.used);
}

static void fill_missing(struct arena *a, struct string_map *into, const struct string_map *from) {
    LIST_FOREACH(e, from)
        if (!string_map_has(into, e->key)) string_map_set(a, into, e->key, e->value);
}

static void limit_range(struct arena *a, void *obj) {
    LIST_FOREACH(l, &((struct corev1_LimitRange *)obj)->spec.limits) {
        if (str_eq(l->type, "Container")) {
            fill_missing(a, &l->default_, &l->max);
            fill_missing(a, &l->defaultRequest, &l->default_);
            fill_missing(a, &l->defaultRequest, &l->min);
        }
        struct string_map *const lists[] = {&l->max, &l->min, &l->default_, &l->defaultRequest, &l->maxLimitRequestRatio};
        for (size_t i = 0; i < ARRAY_LEN(lists); i++) default_resource_list(a, lists[i]);
    }
}

/* ---- apps ---- */

static void deployment(struct arena *a, void *obj) {
    struct appsv1_DeploymentSpec *s = &((struct appsv1_Deployment *)obj)->spec;
    default_pod_template(a, &s->template);
    DEFAULT_OPT(s->replicas, 1);
    DEFAULT_STR(s->strategy.type, "RollingUpdate");
    if (str_eq(s->strategy.type, "RollingUpdate")) {
        if (!s->strategy.rollingUpdate) s->strategy.rollingUpdate = ARENA_NEW(a, struct appsv1_RollingUpdateDeployment);
        if (!s->strategy.rollingUpdate->maxUnavailable.kind) s->strategy.rollingUpdate->maxUnavailable = percent("25%");
        if (!s->strategy.rollingUpdate->maxSurge.kind) s->strategy.rollingUpdate->maxSurge = percent("25%");
    }
    DEFAULT_OPT(s->revisionHistoryLimit, 10);
    DEFAULT_OPT(s->progressDeadlineSeconds, 600);
}

static void replica_set(struct arena *a, void *obj) {
    struct appsv1_ReplicaSetSpec *s = &((struct appsv1_ReplicaSet *)obj)->spec;
    default_pod_template(a, &s->template);
    DEFAULT_OPT(s->replicas, 1);
}

static void stateful_set(struct arena *a, void *obj) {
    struct appsv1_StatefulSetSpec *s = &((struct appsv1_StatefulSet *)obj)->spec;
    default_pod_template(a, &s->template);
    DEFAULT_STR(s->podManagementPolicy, "OrderedReady");
    if (str_empty(s->updateStrategy.type)) { /* whoever names the type may leave the rest out */
        s->updateStrategy.type = "RollingUpdate";
        if (!s->updateStrategy.rollingUpdate) s->updateStrategy.rollingUpdate = ARENA_NEW(a, struct appsv1_RollingUpdateStatefulSetStrategy);
    }
    if (str_eq(s->updateStrategy.type, "RollingUpdate") && s->updateStrategy.rollingUpdate) DEFAULT_OPT(s->updateStrategy.rollingUpdate->partition, 0);
    if (!s->persistentVolumeClaimRetentionPolicy) s->persistentVolumeClaimRetentionPolicy = ARENA_NEW(a, struct appsv1_StatefulSetPersistentVolumeClaimRetentionPolicy);
    DEFAULT_STR(s->persistentVolumeClaimRetentionPolicy->whenDeleted, "Retain");
    DEFAULT_STR(s->persistentVolumeClaimRetentionPolicy->whenScaled, "Retain");
    DEFAULT_OPT(s->replicas, 1);
    DEFAULT_OPT(s->revisionHistoryLimit, 10);
    LIST_FOREACH(c, &s->volumeClaimTemplates) {
        c->kind = str_or(c->kind, "PersistentVolumeClaim");
        c->apiVersion = str_or(c->apiVersion, "v1");
        claim(a, c);
    }
}

#define TEMPLATE_GENERATION "deprecated.daemonset.template.generation"

static void daemon_set(struct arena *a, void *obj) {
    struct appsv1_DaemonSetSpec *s = &((struct appsv1_DaemonSet *)obj)->spec;
    default_pod_template(a, &s->template);
    DEFAULT_STR(s->updateStrategy.type, "RollingUpdate");
    if (str_eq(s->updateStrategy.type, "RollingUpdate")) {
        if (!s->updateStrategy.rollingUpdate) s->updateStrategy.rollingUpdate = ARENA_NEW(a, struct appsv1_RollingUpdateDaemonSet);
        if (!s->updateStrategy.rollingUpdate->maxUnavailable.kind) s->updateStrategy.rollingUpdate->maxUnavailable = (struct int_or_string){INTSTR_INT, 1, NULL};
        if (!s->updateStrategy.rollingUpdate->maxSurge.kind) s->updateStrategy.rollingUpdate->maxSurge = (struct int_or_string){INTSTR_INT, 0, NULL};
    }
    DEFAULT_OPT(s->revisionHistoryLimit, 10);
    /* the conversion from upstream's internal form always writes it */
    struct string_map *annotations = &((struct appsv1_DaemonSet *)obj)->metadata.annotations;
    if (string_map_has(annotations, TEMPLATE_GENERATION)) return;
    *annotations = string_map_copy(a, annotations);
    string_map_set(a, annotations, TEMPLATE_GENERATION, "0");
}

/* ---- batch ---- */

static void failure_policy(struct batchv1_PodFailurePolicy *p) {
    if (!p) return;
    LIST_FOREACH(r, &p->rules)
        LIST_FOREACH(c, &r->onPodConditions) DEFAULT_STR(c->status, "True");
}

static void job_spec(struct arena *a, struct batchv1_JobSpec *s) {
    default_pod_template(a, &s->template);
    if (!s->completions.has && !s->parallelism.has) {
        DEFAULT_OPT(s->completions, 1);
        DEFAULT_OPT(s->parallelism, 1);
    }
    DEFAULT_OPT(s->parallelism, 1);
    if (!s->backoffLimit.has) DEFAULT_OPT(s->backoffLimit, s->backoffLimitPerIndex.has ? INT32_MAX : 6);
    if (!s->completionMode) s->completionMode = "NonIndexed";
    DEFAULT_OPT(s->suspend, false);
    DEFAULT_OPT(s->manualSelector, false);
    failure_policy(s->podFailurePolicy);
    if (!s->podReplacementPolicy) s->podReplacementPolicy = s->podFailurePolicy ? "Failed" : "TerminatingOrFailed";
}

static void job(struct arena *a, void *obj) {
    struct batchv1_Job *j = obj;
    job_spec(a, &j->spec);
    if (!j->metadata.labels.len) j->metadata.labels = j->spec.template.metadata.labels; /* one map: a creation adds to both */
}

static void cron_job(struct arena *a, void *obj) {
    struct batchv1_CronJobSpec *s = &((struct batchv1_CronJob *)obj)->spec;
    DEFAULT_STR(s->concurrencyPolicy, "Allow");
    DEFAULT_OPT(s->suspend, false);
    DEFAULT_OPT(s->successfulJobsHistoryLimit, 3);
    DEFAULT_OPT(s->failedJobsHistoryLimit, 1);
    default_pod_template(a, &s->jobTemplate.spec.template); /* the Job's own defaults come when it is made */
    failure_policy(s->jobTemplate.spec.podFailurePolicy);
}

/* ---- the smaller groups ---- */

static void role_binding(struct arena *a UNUSED, void *obj) {
    struct rbacv1_RoleBinding *b = obj; /* a ClusterRoleBinding has the same form */
    DEFAULT_STR(b->roleRef.apiGroup, "rbac.authorization.k8s.io");
    LIST_FOREACH(s, &b->subjects)
        if (str_eq(s->kind, "User") || str_eq(s->kind, "Group")) DEFAULT_STR(s->apiGroup, "rbac.authorization.k8s.io");
}
_Static_assert(sizeof(struct rbacv1_RoleBinding) == sizeof(struct rbacv1_ClusterRoleBinding), "one function defaults both");

static void storage_class(struct arena *a UNUSED, void *obj) {
    struct storagev1_StorageClass *s = obj;
    if (!s->reclaimPolicy) s->reclaimPolicy = "Delete";
    if (!s->volumeBindingMode) s->volumeBindingMode = "Immediate";
}

static void csi_driver(struct arena *a, void *obj) {
    struct storagev1_CSIDriverSpec *s = &((struct storagev1_CSIDriver *)obj)->spec;
    DEFAULT_OPT(s->attachRequired, true);
    DEFAULT_OPT(s->podInfoOnMount, false);
    DEFAULT_OPT(s->storageCapacity, false);
    if (!s->fsGroupPolicy) s->fsGroupPolicy = "ReadWriteOnceWithFSType";
    if (!s->volumeLifecycleModes.len) string_list_push(a, &s->volumeLifecycleModes, "Persistent");
    DEFAULT_OPT(s->requiresRepublish, false);
    DEFAULT_OPT(s->seLinuxMount, false);
}

static void priority_class(struct arena *a UNUSED, void *obj) {
    struct schedulingv1_PriorityClass *p = obj;
    if (!p->preemptionPolicy) p->preemptionPolicy = "PreemptLowerPriority";
}

static void ingress_class(struct arena *a UNUSED, void *obj) {
    struct networkingv1_IngressClass *c = obj;
    if (c->spec.parameters && !c->spec.parameters->scope) c->spec.parameters->scope = "Cluster";
}

static void network_policy(struct arena *a, void *obj) {
    struct networkingv1_NetworkPolicySpec *s = &((struct networkingv1_NetworkPolicy *)obj)->spec;
    if (!s->policyTypes.len) {
        string_list_push(a, &s->policyTypes, "Ingress");
        if (s->egress.len) string_list_push(a, &s->policyTypes, "Egress");
    }
    LIST_FOREACH(r, &s->ingress)
        LIST_FOREACH(p, &r->ports)
            if (!p->protocol) p->protocol = "TCP";
    LIST_FOREACH(r, &s->egress)
        LIST_FOREACH(p, &r->ports)
            if (!p->protocol) p->protocol = "TCP";
}

static void endpoint_slice(struct arena *a UNUSED, void *obj) {
    LIST_FOREACH(p, &((struct discoveryv1_EndpointSlice *)obj)->ports) {
        if (!p->name) p->name = "";
        if (!p->protocol) p->protocol = "TCP";
    }
}

static void custom_resource_definition(struct arena *a, void *obj) {
    struct apiextensionsv1_CustomResourceDefinition *crd = obj;
    struct apiextensionsv1_CustomResourceDefinitionNames *n = &crd->spec.names;
    if (str_empty(n->singular) && !str_empty(n->kind)) {
        char *lower = arena_strdup(a, n->kind);
        for (char *c = lower; *c; c++)
            if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + 32);
        n->singular = lower;
    }
    if (str_empty(n->listKind) && !str_empty(n->kind)) n->listKind = arena_printf(a, "%sList", n->kind);
    if (!crd->spec.conversion) {
        crd->spec.conversion = ARENA_NEW(a, struct apiextensionsv1_CustomResourceConversion);
        crd->spec.conversion->strategy = "None";
    }
    struct apiextensionsv1_WebhookConversion *w = crd->spec.conversion->webhook;
    if (w && w->clientConfig && w->clientConfig->service) DEFAULT_OPT(w->clientConfig->service->port, 443);
    if (crd->status.storedVersions.len) return;
    LIST_FOREACH(v, &crd->spec.versions) {
        if (!v->storage) continue;
        string_list_push(a, &crd->status.storedVersions, v->name);
        break;
    }
}

void object_set_defaults(struct arena *a, const struct type_desc *type, void *obj) {
    static const struct { const struct type_desc *type; void (*fn)(struct arena *, void *); } table[] = {
        {&corev1_Pod_desc, pod}, {&corev1_PodTemplate_desc, pod_template}, {&corev1_Service_desc, service}, {&corev1_ReplicationController_desc, replication_controller},
        {&corev1_Secret_desc, secret}, {&corev1_Namespace_desc, namespace_}, {&corev1_Node_desc, node}, {&corev1_Endpoints_desc, endpoints},
        {&corev1_PersistentVolume_desc, persistent_volume}, {&corev1_PersistentVolumeClaim_desc, claim}, {&corev1_LimitRange_desc, limit_range}, {&corev1_ResourceQuota_desc, resource_quota}, {&storagev1_VolumeAttachment_desc, volume_attachment},
        {&appsv1_Deployment_desc, deployment}, {&appsv1_ReplicaSet_desc, replica_set}, {&appsv1_StatefulSet_desc, stateful_set}, {&appsv1_DaemonSet_desc, daemon_set},
        {&batchv1_Job_desc, job}, {&batchv1_CronJob_desc, cron_job}, {&rbacv1_RoleBinding_desc, role_binding}, {&rbacv1_ClusterRoleBinding_desc, role_binding},
        {&storagev1_StorageClass_desc, storage_class}, {&storagev1_CSIDriver_desc, csi_driver}, {&schedulingv1_PriorityClass_desc, priority_class},
        {&networkingv1_IngressClass_desc, ingress_class}, {&networkingv1_NetworkPolicy_desc, network_policy}, {&discoveryv1_EndpointSlice_desc, endpoint_slice},
        {&apiextensionsv1_CustomResourceDefinition_desc, custom_resource_definition},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].type == type) table[i].fn(a, obj);
    default_group_object(a, type, obj);
}
