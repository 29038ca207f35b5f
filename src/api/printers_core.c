/* The printers of built-in kinds, and the list of all printers. Upstream: pkg/printers/internalversion. Pods are in printers_pod.c. */
#include <stdio.h>
#include <string.h>
#include "api/printers.h"
#include "api/printers_certificates.h"
#include "api/printers_columns.h"
#include "api/printers_groups.h"
#include "api/printers_pod.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "base/str.h"

static void containers_and_images(struct row *row, const struct corev1_PodSpec *s) {
    struct buf names = BUF_INIT, images = BUF_INIT;
    LIST_FOREACH(c, &s->containers) {
        buf_printf(&names, "%s%s", names.len ? "," : "", str_or(c->name, ""));
        buf_printf(&images, "%s%s", c == s->containers.items ? "" : ",", str_or(c->image, ""));
    }
    cell_str(row, buf_cstr(&names));
    cell_str(row, buf_cstr(&images));
    buf_release(&names);
    buf_release(&images);
}

static const char *none_if_empty(const char *s) { return str_empty(s) ? "<none>" : s; }

static void selector_cell(struct row *row, const struct metav1_LabelSelector *ls) {
    struct selector s;
    if (!ls) cell_str(row, "<none>");
    else if (label_selector_from(row->arena, ls, &s, NULL) != 0) cell_str(row, "<error>");
    else cell_str(row, none_if_empty(selector_string(row->arena, &s)));
}

static const char *labels_text(struct row *row, const struct string_map *m) {
    struct buf out = BUF_INIT;
    LIST_FOREACH(e, m) buf_printf(&out, "%s%s=%s", out.len ? "," : "", e->key, str_or(e->value, ""));
    const char *text = arena_strdup(row->arena, buf_cstr(&out));
    buf_release(&out);
    return none_if_empty(text);
}

static const char *joined(struct row *row, const struct string_list *list, const char *joint) {
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < list->len; i++) buf_printf(&out, "%s%s", i ? joint : "", list->items[i]);
    const char *text = arena_strdup(row->arena, buf_cstr(&out));
    buf_release(&out);
    return text;
}

/* ---- workloads ---- */

static void deployment(struct row *row, const void *obj) {
    const struct appsv1_Deployment *d = obj;
    cell_str(row, d->metadata.name);
    cell_printf(row, "%d/%d", d->status.readyReplicas, d->spec.replicas.value);
    cell_int(row, d->status.updatedReplicas);
    cell_int(row, d->status.availableReplicas);
    cell_age(row, &d->metadata.creationTimestamp);
    containers_and_images(row, &d->spec.template.spec);
    selector_cell(row, d->spec.selector);
}

static void replicaset(struct row *row, const void *obj) {
    const struct appsv1_ReplicaSet *d = obj;
    cell_str(row, d->metadata.name);
    cell_int(row, d->spec.replicas.value);
    cell_int(row, d->status.replicas);
    cell_int(row, d->status.readyReplicas);
    cell_age(row, &d->metadata.creationTimestamp);
    containers_and_images(row, &d->spec.template.spec);
    selector_cell(row, d->spec.selector);
}

static void replication_controller(struct row *row, const void *obj) {
    const struct corev1_ReplicationController *d = obj;
    static const struct corev1_PodSpec empty;
    cell_str(row, d->metadata.name);
    cell_int(row, d->spec.replicas.value);
    cell_int(row, d->status.replicas);
    cell_int(row, d->status.readyReplicas);
    cell_age(row, &d->metadata.creationTimestamp);
    containers_and_images(row, d->spec.template ? &d->spec.template->spec : &empty);
    cell_str(row, labels_text(row, &d->spec.selector));
}

static void statefulset(struct row *row, const void *obj) {
    const struct appsv1_StatefulSet *d = obj;
    cell_str(row, d->metadata.name);
    cell_printf(row, "%d/%d", d->status.readyReplicas, d->spec.replicas.value);
    cell_age(row, &d->metadata.creationTimestamp);
    containers_and_images(row, &d->spec.template.spec);
}

static void daemonset(struct row *row, const void *obj) {
    const struct appsv1_DaemonSet *d = obj;
    cell_str(row, d->metadata.name);
    cell_int(row, d->status.desiredNumberScheduled);
    cell_int(row, d->status.currentNumberScheduled);
    cell_int(row, d->status.numberReady);
    cell_int(row, d->status.updatedNumberScheduled);
    cell_int(row, d->status.numberAvailable);
    cell_str(row, labels_text(row, &d->spec.template.spec.nodeSelector));
    cell_age(row, &d->metadata.creationTimestamp);
    containers_and_images(row, &d->spec.template.spec);
    selector_cell(row, d->spec.selector);
}

static void controller_revision(struct row *row, const void *obj) {
    const struct appsv1_ControllerRevision *r = obj;
    const char *owner = "<none>";
    LIST_FOREACH(o, &r->metadata.ownerReferences)
        if (o->controller.has && o->controller.value) {
            const char *slash = strchr(str_or(o->apiVersion, ""), '/');
            char *kind = arena_strdup(row->arena, o->kind);
            for (char *p = kind; *p; p++) *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
            owner = slash ? arena_printf(row->arena, "%s.%.*s/%s", kind, (int)(slash - o->apiVersion), o->apiVersion, o->name) : arena_printf(row->arena, "%s/%s", kind, o->name);
        }
    cell_str(row, r->metadata.name);
    cell_str(row, owner);
    cell_int(row, r->revision);
    cell_age(row, &r->metadata.creationTimestamp);
}

static bool job_has(const struct batchv1_Job *j, const char *type) {
    LIST_FOREACH(c, &j->status.conditions)
        if (str_eq(c->type, type) && str_eq(c->status, "True")) return true;
    return false;
}

static void job(struct row *row, const void *obj) {
    const struct batchv1_Job *j = obj;
    cell_str(row, j->metadata.name);
    cell_str(row, job_has(j, "Complete") ? "Complete" : job_has(j, "Failed") ? "Failed" : j->metadata.deletionTimestamp.set ? "Terminating" : job_has(j, "Suspended") ? "Suspended"
                  : job_has(j, "FailureTarget") ? "FailureTarget" : job_has(j, "SuccessCriteriaMet") ? "SuccessCriteriaMet" : "Running");
    if (j->spec.completions.has) cell_printf(row, "%d/%d", j->status.succeeded, j->spec.completions.value);
    else if (j->spec.parallelism.value > 1) cell_printf(row, "%d/1 of %d", j->status.succeeded, j->spec.parallelism.value);
    else cell_printf(row, "%d/1", j->status.succeeded);
    if (!j->status.startTime.set) cell_str(row, "");
    else {
        struct api_time end = j->status.completionTime.set ? j->status.completionTime : (struct api_time){true, 0, row->now_s};
        LIST_FOREACH(c, &j->status.conditions)
            if (str_eq(c->type, "Failed") && str_eq(c->status, "True") && !j->status.completionTime.set) end = c->lastTransitionTime;
        struct row at = *row;
        at.now_s = end.sec;
        cell_age(&at, &j->status.startTime);
        at.now_s = row->now_s;
        *row = at;
    }
    cell_age(row, &j->metadata.creationTimestamp);
    containers_and_images(row, &j->spec.template.spec);
    selector_cell(row, j->spec.selector);
}

static void cronjob(struct row *row, const void *obj) {
    const struct batchv1_CronJob *c = obj;
    cell_str(row, c->metadata.name);
    cell_str(row, c->spec.schedule);
    cell_str(row, c->spec.timeZone ? c->spec.timeZone : "<none>");
    cell_str(row, c->spec.suspend.has ? (c->spec.suspend.value ? "True" : "False") : "<unset>");
    cell_int(row, (int64_t)c->status.active.len);
    if (c->status.lastScheduleTime.set) cell_age(row, &c->status.lastScheduleTime);
    else cell_str(row, "<none>");
    cell_age(row, &c->metadata.creationTimestamp);
    containers_and_images(row, &c->spec.jobTemplate.spec.template.spec);
    selector_cell(row, c->spec.jobTemplate.spec.selector);
}

/* ---- core ---- */

static void configmap(struct row *row, const void *obj) {
    const struct corev1_ConfigMap *c = obj;
    cell_str(row, c->metadata.name);
    cell_int(row, (int64_t)(c->data.len + c->binaryData.len));
    cell_age(row, &c->metadata.creationTimestamp);
}

static void secret(struct row *row, const void *obj) {
    const struct corev1_Secret *s = obj;
    cell_str(row, s->metadata.name);
    cell_str(row, s->type);
    cell_int(row, (int64_t)s->data.len);
    cell_age(row, &s->metadata.creationTimestamp);
}

static void name_and_age(struct row *row, const void *obj) {
    const struct object *o = obj;
    cell_str(row, o->metadata.name);
    cell_age(row, &o->metadata.creationTimestamp);
}

static void namespace_(struct row *row, const void *obj) {
    const struct corev1_Namespace *n = obj;
    cell_str(row, n->metadata.name);
    cell_str(row, n->status.phase);
    cell_age(row, &n->metadata.creationTimestamp);
}

static void pod_template(struct row *row, const void *obj) {
    const struct corev1_PodTemplate *t = obj;
    cell_str(row, t->metadata.name);
    containers_and_images(row, &t->template.spec);
    cell_str(row, labels_text(row, &t->template.metadata.labels));
}

static const char *load_balancer_ips(struct row *row, const struct corev1_Service *s) {
    struct string_list list = {0};
    LIST_FOREACH(i, &s->status.loadBalancer.ingress) {
        const char *v = str_empty(i->ip) ? i->hostname : i->ip;
        if (!str_empty(v) && !string_list_has(&list, v)) string_list_push(row->arena, &list, v);
    }
    return joined(row, &list, ",");
}

static const char *external_ips(struct row *row, const struct corev1_Service *s) {
    const char *own = joined(row, &s->spec.externalIPs, ",");
    if (str_eq(s->spec.type, "ExternalName")) return s->spec.externalName;
    if (!str_eq(s->spec.type, "LoadBalancer")) return none_if_empty(own);
    const char *lb = load_balancer_ips(row, s);
    if (*own) return *lb ? arena_printf(row->arena, "%s,%s", lb, own) : own;
    return *lb ? lb : "<pending>";
}

static void service(struct row *row, const void *obj) {
    const struct corev1_Service *s = obj;
    struct buf ports = BUF_INIT;
    LIST_FOREACH(p, &s->spec.ports) {
        if (ports.len) buf_append_char(&ports, ',');
        if (p->nodePort) buf_printf(&ports, "%d:%d/%s", p->port, p->nodePort, p->protocol);
        else buf_printf(&ports, "%d/%s", p->port, p->protocol);
    }
    cell_str(row, s->metadata.name);
    cell_str(row, s->spec.type);
    cell_str(row, s->spec.clusterIPs.len ? s->spec.clusterIPs.items[0] : "<none>");
    cell_str(row, external_ips(row, s));
    cell_str(row, none_if_empty(buf_cstr(&ports)));
    cell_age(row, &s->metadata.creationTimestamp);
    cell_str(row, labels_text(row, &s->spec.selector));
    buf_release(&ports);
}

static void endpoints(struct row *row, const void *obj) {
    const struct corev1_Endpoints *e = obj;
    struct string_list list = {0};
    bool more = false;
    size_t count = 0;
    LIST_FOREACH(s, &e->subsets) {
        if (!s->ports.len)
            LIST_FOREACH(a, &s->addresses) {
                if (list.len == 3) more = true;
                else string_list_push(row->arena, &list, a->ip);
                count++;
            }
        LIST_FOREACH(p, &s->ports)
            LIST_FOREACH(a, &s->addresses) {
                if (list.len == 3) more = true;
                else string_list_push(row->arena, &list, arena_printf(row->arena, strchr(a->ip, ':') ? "[%s]:%d" : "%s:%d", a->ip, p->port));
                count++;
            }
    }
    const char *text = joined(row, &list, ",");
    cell_str(row, e->metadata.name);
    if (more) cell_printf(row, "%s + %zu more...", text, count - 3);
    else cell_str(row, none_if_empty(text));
    cell_age(row, &e->metadata.creationTimestamp);
}

static const char *node_roles(struct row *row, const struct corev1_Node *n) {
    struct string_list roles = {0};
    LIST_FOREACH(l, &n->metadata.labels) {
        if (str_has_prefix(l->key, "node-role.kubernetes.io/") && l->key[24]) string_list_push(row->arena, &roles, l->key + 24);
        else if (str_eq(l->key, "kubernetes.io/role") && !str_empty(l->value)) string_list_push(row->arena, &roles, l->value);
    }
    return none_if_empty(joined(row, &roles, ","));
}

static const char *node_address(const struct corev1_Node *n, const char *type) {
    LIST_FOREACH(a, &n->status.addresses)
        if (str_eq(a->type, type)) return a->address;
    return "<none>";
}

static void node(struct row *row, const void *obj) {
    const struct corev1_Node *n = obj;
    const char *status = "Unknown";
    LIST_FOREACH(c, &n->status.conditions)
        if (str_eq(c->type, "Ready")) status = str_eq(c->status, "True") ? "Ready" : "NotReady";
    if (n->spec.unschedulable) status = arena_printf(row->arena, "%s,SchedulingDisabled", status);
    cell_str(row, n->metadata.name);
    cell_str(row, status);
    cell_str(row, node_roles(row, n));
    cell_age(row, &n->metadata.creationTimestamp);
    cell_str(row, n->status.nodeInfo.kubeletVersion);
    cell_str(row, node_address(n, "InternalIP"));
    cell_str(row, node_address(n, "ExternalIP"));
    cell_str(row, str_or(n->status.nodeInfo.osImage, "<unknown>"));
    const char *kernel = str_or(n->status.nodeInfo.kernelVersion, "<unknown>"), *arch = n->status.nodeInfo.architecture;
    cell_str(row, str_empty(arch) ? kernel : arena_printf(row->arena, "%s (%s)", kernel, arch));
    cell_str(row, str_or(n->status.nodeInfo.containerRuntimeVersion, "<unknown>"));
}

static void event(struct row *row, const void *obj) {
    const struct corev1_Event *e = obj;
    struct api_time first = e->firstTimestamp.set ? e->firstTimestamp : e->eventTime, last = e->series && e->series->lastObservedTime.set ? e->series->lastObservedTime : e->lastTimestamp.set ? e->lastTimestamp : first;
    char *kind = arena_strdup(row->arena, str_or(e->involvedObject.kind, ""));
    for (char *p = kind; *p; p++) *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    const char *source = str_or(e->source.component, str_or(e->reportingComponent, "")), *host = str_or(e->source.host, e->source.component ? "" : str_or(e->reportingInstance, ""));
    size_t end = strlen(str_or(e->message, ""));
    while (end && strchr(" \n\t", e->message[end - 1])) end--;
    cell_age(row, &last);
    cell_str(row, e->type);
    cell_str(row, e->reason);
    cell_str(row, str_empty(e->involvedObject.name) ? kind : arena_printf(row->arena, "%s/%s", kind, e->involvedObject.name));
    cell_str(row, e->involvedObject.fieldPath);
    cell_str(row, *host ? arena_printf(row->arena, "%s, %s", source, host) : source);
    cell_str(row, arena_strndup(row->arena, str_or(e->message, ""), end));
    cell_age(row, &first);
    cell_int(row, e->series ? e->series->count : e->count ? e->count : 1);
    cell_str(row, e->metadata.name);
}

static const char *access_modes(struct row *row, const struct string_list *modes) {
    static const char *const names[][2] = {{"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
    struct string_list out = {0};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (string_list_has(modes, names[i][0])) string_list_push(row->arena, &out, names[i][1]);
    return joined(row, &out, ",");
}

/* The class was an annotation once, which wins. Upstream: GetPersistentVolumeClass. */
static const char *class_of(const struct metav1_ObjectMeta *m, const char *field) {
    static const char beta[] = "volume.beta.kubernetes.io/storage-class";
    return string_map_has(&m->annotations, beta) ? string_map_get(&m->annotations, beta) : field;
}

static void persistent_volume(struct row *row, const void *obj) {
    const struct corev1_PersistentVolume *v = obj;
    cell_str(row, v->metadata.name);
    cell_str(row, str_or(string_map_get(&v->spec.capacity, "storage"), "0"));
    cell_str(row, access_modes(row, &v->spec.accessModes));
    cell_str(row, v->spec.persistentVolumeReclaimPolicy);
    cell_str(row, v->metadata.deletionTimestamp.set ? "Terminating" : v->status.phase);
    cell_str(row, v->spec.claimRef ? arena_printf(row->arena, "%s/%s", str_or(v->spec.claimRef->namespace, ""), str_or(v->spec.claimRef->name, "")) : "");
    cell_str(row, class_of(&v->metadata, v->spec.storageClassName));
    cell_str(row, v->spec.volumeAttributesClassName ? v->spec.volumeAttributesClassName : "<unset>");
    cell_str(row, v->status.reason);
    cell_age(row, &v->metadata.creationTimestamp);
    cell_str(row, v->spec.volumeMode ? v->spec.volumeMode : "<unset>");
}

static void claim(struct row *row, const void *obj) {
    const struct corev1_PersistentVolumeClaim *c = obj;
    bool bound = !str_empty(c->spec.volumeName);
    cell_str(row, c->metadata.name);
    cell_str(row, c->metadata.deletionTimestamp.set ? "Terminating" : c->status.phase);
    cell_str(row, c->spec.volumeName);
    cell_str(row, bound ? str_or(string_map_get(&c->status.capacity, "storage"), "0") : "");
    cell_str(row, bound ? access_modes(row, &c->status.accessModes) : "");
    cell_str(row, class_of(&c->metadata, c->spec.storageClassName));
    cell_str(row, c->spec.volumeAttributesClassName ? c->spec.volumeAttributesClassName : "<unset>");
    cell_age(row, &c->metadata.creationTimestamp);
    cell_str(row, c->spec.volumeMode ? c->spec.volumeMode : "<unset>");
}

static const char *quota_side(struct row *row, const struct corev1_ResourceQuota *q, bool limits) {
    struct string_list out = {0};
    LIST_FOREACH(e, &q->status.hard) {
        if (str_has_prefix(e->key, "limits.") != limits) continue;
        string_list_push(row->arena, &out, arena_printf(row->arena, "%s: %s/%s", e->key, str_or(string_map_get(&q->status.used, e->key), "0"), e->value));
    }
    return joined(row, &out, ", ");
}

static void quota(struct row *row, const void *obj) {
    const struct corev1_ResourceQuota *q = obj;
    cell_str(row, q->metadata.name);
    cell_str(row, quota_side(row, q, false));
    cell_str(row, quota_side(row, q, true));
    cell_age(row, &q->metadata.creationTimestamp);
}

/* ---- the smaller groups ---- */

static void component_status(struct row *row, const void *obj) {
    const struct corev1_ComponentStatus *s = obj;
    const struct corev1_ComponentCondition *healthy = NULL;
    LIST_FOREACH(c, &s->conditions)
        if (!healthy && str_eq(c->type, "Healthy")) healthy = c;
    cell_str(row, s->metadata.name);
    cell_str(row, !healthy ? "Unknown" : str_eq(healthy->status, "True") ? "Healthy" : "Unhealthy");
    cell_str(row, healthy ? str_or(healthy->message, "") : "");
    cell_str(row, healthy ? str_or(healthy->error, "") : "");
}

static void lease(struct row *row, const void *obj) {
    const struct coordinationv1_Lease *l = obj;
    cell_str(row, l->metadata.name);
    cell_str(row, l->spec.holderIdentity);
    cell_age(row, &l->metadata.creationTimestamp);
}

static void priority_class(struct row *row, const void *obj) {
    const struct schedulingv1_PriorityClass *p = obj;
    cell_str(row, p->metadata.name);
    cell_int(row, p->value);
    *LIST_PUSH(row->arena, &row->cells) = p->globalDefault ? (struct raw_json){"true", 4} : (struct raw_json){"false", 5};
    cell_age(row, &p->metadata.creationTimestamp);
    cell_str(row, p->preemptionPolicy ? p->preemptionPolicy : "");
}

static void storage_class(struct row *row, const void *obj) {
    const struct storagev1_StorageClass *s = obj;
    bool is_default = str_eq(string_map_get(&s->metadata.annotations, "storageclass.kubernetes.io/is-default-class"), "true");
    cell_str(row, is_default ? arena_printf(row->arena, "%s (default)", s->metadata.name) : s->metadata.name);
    cell_str(row, s->provisioner);
    cell_str(row, s->reclaimPolicy ? s->reclaimPolicy : "Delete");
    cell_str(row, s->volumeBindingMode ? s->volumeBindingMode : "Immediate");
    bool expand = s->allowVolumeExpansion.has && s->allowVolumeExpansion.value;
    *LIST_PUSH(row->arena, &row->cells) = expand ? (struct raw_json){"true", 4} : (struct raw_json){"false", 5};
    cell_age(row, &s->metadata.creationTimestamp);
}

static void role_binding(struct row *row, const void *obj) {
    const struct rbacv1_RoleBinding *b = obj; /* a ClusterRoleBinding has the same form */
    struct string_list users = {0}, groups = {0}, accounts = {0};
    LIST_FOREACH(s, &b->subjects) {
        if (str_eq(s->kind, "User")) string_list_push(row->arena, &users, s->name);
        else if (str_eq(s->kind, "Group")) string_list_push(row->arena, &groups, s->name);
        else string_list_push(row->arena, &accounts, arena_printf(row->arena, "%s/%s", str_or(s->namespace, ""), s->name));
    }
    cell_str(row, b->metadata.name);
    cell_printf(row, "%s/%s", str_or(b->roleRef.kind, ""), str_or(b->roleRef.name, ""));
    cell_age(row, &b->metadata.creationTimestamp);
    cell_str(row, joined(row, &users, ", "));
    cell_str(row, joined(row, &groups, ", "));
    cell_str(row, joined(row, &accounts, ", "));
}

static void endpoint_slice(struct row *row, const void *obj) {
    const struct discoveryv1_EndpointSlice *s = obj;
    struct string_list ports = {0}, addresses = {0};
    size_t total = 0;
    LIST_FOREACH(p, &s->ports)
        if (ports.len < 3) string_list_push(row->arena, &ports, p->port.has ? arena_printf(row->arena, "%d", p->port.value) : "*");
    LIST_FOREACH(e, &s->endpoints)
        for (size_t i = 0; i < e->addresses.len; i++, total++)
            if (addresses.len < 3) string_list_push(row->arena, &addresses, e->addresses.items[i]);
    const char *p = ports.len ? joined(row, &ports, ",") : "<unset>", *a = addresses.len ? joined(row, &addresses, ",") : "<unset>";
    cell_str(row, s->metadata.name);
    cell_str(row, s->addressType);
    cell_str(row, s->ports.len > 3 ? arena_printf(row->arena, "%s + %zu more...", p, s->ports.len - 3) : p);
    cell_str(row, total > 3 ? arena_printf(row->arena, "%s + %zu more...", a, total - 3) : a);
    cell_age(row, &s->metadata.creationTimestamp);
}

static void runtime_class(struct row *row, const void *obj) {
    const struct nodev1_RuntimeClass *c = obj;
    cell_str(row, c->metadata.name);
    cell_str(row, c->handler);
    cell_age(row, &c->metadata.creationTimestamp);
}

const struct printer *printer_find(const struct type_desc *type) {
#define P(desc, name, fn) {&desc, name##_columns, &name##_columns_len, fn}
    static const struct printer printers[] = {
        P(certificatesv1_CertificateSigningRequest_desc, certificatesigningrequests, printers_certificate_signing_request),
        P(corev1_Pod_desc, pods, printers_pod), P(appsv1_Deployment_desc, deployments, deployment), P(appsv1_ReplicaSet_desc, replicasets, replicaset),
        P(corev1_ReplicationController_desc, replicationcontrollers, replication_controller), P(appsv1_StatefulSet_desc, statefulsets, statefulset), P(appsv1_DaemonSet_desc, daemonsets, daemonset),
        P(appsv1_ControllerRevision_desc, controllerrevisions, controller_revision), P(batchv1_Job_desc, jobs, job), P(batchv1_CronJob_desc, cronjobs, cronjob), P(corev1_ConfigMap_desc, configmaps, configmap),
        P(corev1_Secret_desc, secrets, secret), P(corev1_ServiceAccount_desc, serviceaccounts, name_and_age), P(corev1_Namespace_desc, namespaces, namespace_), P(corev1_PodTemplate_desc, podtemplates, pod_template),
        P(corev1_Service_desc, services, service), P(corev1_Endpoints_desc, endpoints, endpoints), P(corev1_ComponentStatus_desc, componentstatuses, component_status), P(corev1_Node_desc, nodes, node), P(corev1_Event_desc, events, event),
        P(corev1_PersistentVolume_desc, persistentvolumes, persistent_volume), P(corev1_PersistentVolumeClaim_desc, persistentvolumeclaims, claim), P(corev1_ResourceQuota_desc, resourcequotas, quota),
        P(coordinationv1_Lease_desc, leases, lease), P(schedulingv1_PriorityClass_desc, priorityclasses, priority_class), P(storagev1_StorageClass_desc, storageclasses, storage_class),
        P(rbacv1_RoleBinding_desc, rolebindings, role_binding), P(rbacv1_ClusterRoleBinding_desc, clusterrolebindings, role_binding), P(discoveryv1_EndpointSlice_desc, endpointslices, endpoint_slice),
        P(nodev1_RuntimeClass_desc, runtimeclasses, runtime_class),
    };
#undef P
    for (size_t i = 0; i < ARRAY_LEN(printers); i++)
        if (printers[i].type == type) return &printers[i];
    return printers_groups_find(type);
}
