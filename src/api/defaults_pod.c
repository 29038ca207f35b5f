#include "api/defaults_pod.h"
#include <string.h>
#include "api/image_reference.h"
#include "api/pod_util.h"
#include "api/quantity.h"
#include "base/str.h"

#define DEFAULT_STR(field, value) ((field) = str_empty(field) ? (value) : (field))
#define DEFAULT_OPT(field, v) ((field).has ? (void)0 : ((field).has = true, (field).value = (v), (void)0))
#define DEFAULT_INT(field, v) ((field) = (field) ? (field) : (v))

static const char *pull_policy(struct arena *a, const char *image) { return str_eq(image_tag(a, image), "latest") ? "Always" : "IfNotPresent"; }

static void http_get(struct corev1_HTTPGetAction *h) {
    if (!h) return;
    DEFAULT_STR(h->path, "/");
    DEFAULT_STR(h->scheme, "HTTP");
}

static void probe(struct corev1_Probe *p) {
    if (!p) return;
    DEFAULT_INT(p->timeoutSeconds, 1);
    DEFAULT_INT(p->periodSeconds, 10);
    DEFAULT_INT(p->successThreshold, 1);
    DEFAULT_INT(p->failureThreshold, 3);
    http_get(p->httpGet);
    if (p->grpc && !p->grpc->service) p->grpc->service = "";
}

static void lifecycle(struct corev1_Lifecycle *l) {
    if (!l) return;
    if (l->postStart) http_get(l->postStart->httpGet);
    if (l->preStop) http_get(l->preStop->httpGet);
}

void default_resource_list(struct arena *a, struct string_map *list) {
    LIST_FOREACH(e, list) {
        struct quantity q = quantity_of(e->value);
        quantity_round_up_milli(&q);
        e->value = quantity_format(a, &q);
    }
}

static void requirements(struct arena *a, struct corev1_ResourceRequirements *r) {
    if (!r) return;
    default_resource_list(a, &r->limits);
    default_resource_list(a, &r->requests);
}

static void field_ref(struct corev1_ObjectFieldSelector *f) {
    if (f) DEFAULT_STR(f->apiVersion, "v1");
}

static void container(struct arena *a, struct corev1_Container *c) {
    DEFAULT_STR(c->imagePullPolicy, pull_policy(a, c->image));
    DEFAULT_STR(c->terminationMessagePath, "/dev/termination-log");
    DEFAULT_STR(c->terminationMessagePolicy, "File");
    LIST_FOREACH(p, &c->ports) DEFAULT_STR(p->protocol, "TCP");
    LIST_FOREACH(e, &c->env) {
        if (e->valueFrom) field_ref(e->valueFrom->fieldRef);
        if (e->valueFrom && e->valueFrom->fileKeyRef) DEFAULT_OPT(e->valueFrom->fileKeyRef->optional, false);
    }
    requirements(a, &c->resources);
    probe(c->livenessProbe);
    probe(c->readinessProbe);
    probe(c->startupProbe);
    lifecycle(c->lifecycle);
}

static void items_field_refs(struct corev1_DownwardAPIVolumeFile_list *items) { LIST_FOREACH(i, items) field_ref(i->fieldRef); }

static void projected(struct corev1_ProjectedVolumeSource *p) {
    DEFAULT_OPT(p->defaultMode, 0644);
    LIST_FOREACH(s, &p->sources) {
        if (s->serviceAccountToken) DEFAULT_OPT(s->serviceAccountToken->expirationSeconds, 3600);
        if (s->downwardAPI) items_field_refs(&s->downwardAPI->items);
    }
}

static void remote_disks(struct corev1_VolumeSource *v) {
    if (v->iscsi) DEFAULT_STR(v->iscsi->iscsiInterface, "default");
    if (v->rbd) {
        DEFAULT_STR(v->rbd->pool, "rbd");
        DEFAULT_STR(v->rbd->user, "admin");
        DEFAULT_STR(v->rbd->keyring, "/etc/ceph/keyring");
    }
    if (v->azureDisk) {
        if (!v->azureDisk->cachingMode) v->azureDisk->cachingMode = "ReadWrite";
        if (!v->azureDisk->kind) v->azureDisk->kind = "Shared";
        if (!v->azureDisk->fsType) v->azureDisk->fsType = "ext4";
        DEFAULT_OPT(v->azureDisk->readOnly, false);
    }
    if (v->scaleIO) {
        DEFAULT_STR(v->scaleIO->storageMode, "ThinProvisioned");
        DEFAULT_STR(v->scaleIO->fsType, "xfs");
    }
}

static void claim(struct arena *a, struct corev1_PersistentVolumeClaimSpec *s) {
    if (!s->volumeMode) s->volumeMode = "Filesystem";
    default_resource_list(a, &s->resources.limits);
    default_resource_list(a, &s->resources.requests);
}

static void volume(struct arena *a, struct corev1_Volume *v) {
    if (object_is_zero(&corev1_VolumeSource_desc, &v->VolumeSource)) v->emptyDir = ARENA_NEW(a, struct corev1_EmptyDirVolumeSource);
    if (v->image && str_empty(v->image->pullPolicy)) v->image->pullPolicy = pull_policy(a, v->image->reference);
    if (v->secret) DEFAULT_OPT(v->secret->defaultMode, 0644);
    if (v->configMap) DEFAULT_OPT(v->configMap->defaultMode, 0644);
    if (v->downwardAPI) {
        DEFAULT_OPT(v->downwardAPI->defaultMode, 0644);
        items_field_refs(&v->downwardAPI->items);
    }
    if (v->projected) projected(v->projected);
    if (v->hostPath && !v->hostPath->type) v->hostPath->type = "";
    if (v->ephemeral && v->ephemeral->volumeClaimTemplate) claim(a, &v->ephemeral->volumeClaimTemplate->spec);
    remote_disks(&v->VolumeSource);
}

_Static_assert(offsetof(struct corev1_Container, securityContext) == offsetof(struct corev1_EphemeralContainerCommon, securityContext), "an ephemeral container begins as a container");

static void default_pod_spec(struct arena *a, struct corev1_PodSpec *s) {
    DEFAULT_STR(s->dnsPolicy, "ClusterFirst");
    DEFAULT_STR(s->restartPolicy, "Always");
    if (!s->securityContext) s->securityContext = ARENA_NEW(a, struct corev1_PodSecurityContext);
    DEFAULT_OPT(s->terminationGracePeriodSeconds, 30);
    DEFAULT_STR(s->schedulerName, "default-scheduler");
    if (str_empty(s->serviceAccountName)) s->serviceAccountName = s->serviceAccount; /* the old name of the field is kept equal */
    s->serviceAccount = s->serviceAccountName;
    LIST_FOREACH(c, &s->containers) container(a, c);
    LIST_FOREACH(c, &s->initContainers) container(a, c);
    LIST_FOREACH(c, &s->ephemeralContainers) container(a, (struct corev1_Container *)(void *)c);
    LIST_FOREACH(v, &s->volumes) volume(a, v);
    default_resource_list(a, &s->overhead);
    requirements(a, s->resources);
}

/* Annotations of the first init containers are kept nowhere. */
static void drop_init_annotations(struct string_map *annotations) {
    static const char *const old[] = {"pod.beta.kubernetes.io/init-containers", "pod.alpha.kubernetes.io/init-containers", "pod.beta.kubernetes.io/init-container-statuses", "pod.alpha.kubernetes.io/init-container-statuses"};
    for (size_t i = 0; i < ARRAY_LEN(old); i++) string_map_del(annotations, old[i]);
}

void default_pod_template(struct arena *a, struct corev1_PodTemplateSpec *t) {
    default_pod_spec(a, &t->spec);
    drop_init_annotations(&t->metadata.annotations);
}

/* What has a limit but no request requests its limit: in Pods only, not in templates. */
static void requests_from_limits(struct arena *a, struct corev1_ResourceRequirements *r) {
    LIST_FOREACH(e, &r->limits)
        if (!string_map_has(&r->requests, e->key)) string_map_set(a, &r->requests, e->key, e->value);
}

static bool whole_pod_resource(const char *name) { return str_eq(name, "cpu") || str_eq(name, "memory") || str_has_prefix(name, "hugepages-"); }

/* Huge pages that containers are limited to limit the whole Pod, if it has any amounts of its own. */
static void pod_level_huge_pages(struct arena *a, struct corev1_PodSpec *s) {
    struct corev1_ResourceRequirements *r = s->resources;
    const struct corev1_Container *c;
    if (!r || (!r->limits.len && !r->requests.len)) return;
    for (size_t n = 0; n < s->initContainers.len + s->containers.len && (c = pod_container_at(s, n, NULL, NULL)); n++)
        LIST_FOREACH(e, &c->resources.limits) {
            if (!str_has_prefix(e->key, "hugepages-") || string_map_has(&r->requests, e->key) || string_map_has(&r->limits, e->key)) continue;
            struct quantity all = pod_aggregate(s, e->key, true, NULL);
            string_map_set(a, &r->limits, e->key, quantity_format(a, &all));
        }
}

/* Requests of the whole Pod, where it has limits but not requests: what its containers ask for, or else the limit. */
static void pod_level_requests(struct arena *a, struct corev1_PodSpec *s) {
    static const char *const names[] = {"cpu", "memory"};
    bool any;
    if (!s->resources || !s->resources->limits.len) return;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct quantity sum = pod_aggregate(s, names[i], false, &any);
        if (any && !string_map_has(&s->resources->requests, names[i])) string_map_set(a, &s->resources->requests, names[i], quantity_format(a, &sum));
    }
    LIST_FOREACH(e, &s->resources->limits)
        if (whole_pod_resource(e->key) && !string_map_has(&s->resources->requests, e->key)) string_map_set(a, &s->resources->requests, e->key, e->value);
}

/* Not in templates: upstream's gate for that is off. */
static void host_network_ports(struct corev1_PodSpec *s) {
    if (!s->hostNetwork) return;
    LIST_FOREACH(c, &s->containers)
        LIST_FOREACH(p, &c->ports) DEFAULT_INT(p->hostPort, p->containerPort);
    LIST_FOREACH(c, &s->initContainers)
        LIST_FOREACH(p, &c->ports) DEFAULT_INT(p->hostPort, p->containerPort);
}

static void container_statuses(struct arena *a, struct corev1_ContainerStatus_list *list) {
    LIST_FOREACH(c, list) {
        default_resource_list(a, &c->allocatedResources);
        requirements(a, c->resources);
    }
}

static void status(struct arena *a, struct corev1_PodStatus *s) {
    container_statuses(a, &s->initContainerStatuses);
    container_statuses(a, &s->containerStatuses);
    container_statuses(a, &s->ephemeralContainerStatuses);
    default_resource_list(a, &s->allocatedResources);
    requirements(a, s->resources);
}

/* What upstream's conversion to its own form and back makes of a Pod: podIP and podIPs say the same, the first where they differ; a negative grace
 * period, which old objects hold, is the shortest. */
static void convert(struct arena *a, struct corev1_Pod *pod) {
    struct corev1_PodStatus *s = &pod->status;
    if (!str_empty(s->podIP) && (!s->podIPs.len || !str_eq(s->podIP, s->podIPs.items[0].ip))) {
        s->podIPs = (struct corev1_PodIP_list){0};
        LIST_PUSH(a, &s->podIPs)->ip = s->podIP;
    }
    if (s->podIPs.len) s->podIP = s->podIPs.items[0].ip;
    if (pod->spec.terminationGracePeriodSeconds.has && pod->spec.terminationGracePeriodSeconds.value < 0) pod->spec.terminationGracePeriodSeconds.value = 1;
    drop_init_annotations(&pod->metadata.annotations);
}

void default_pod(struct arena *a, struct corev1_Pod *pod) {
    LIST_FOREACH(c, &pod->spec.containers) requests_from_limits(a, &c->resources);
    LIST_FOREACH(c, &pod->spec.initContainers) requests_from_limits(a, &c->resources);
    pod_level_huge_pages(a, &pod->spec);
    pod_level_requests(a, &pod->spec);
    DEFAULT_OPT(pod->spec.enableServiceLinks, true);
    host_network_ports(&pod->spec);
    default_pod_spec(a, &pod->spec);
    status(a, &pod->status);
    convert(a, pod);
}
