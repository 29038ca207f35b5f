/* Events of the kubelet, about Pods and its Node, through client/event_recorder.h. */
#include <stdio.h>
#include "base/str.h"
#include "kubelet/internal.h"

void event_pod(struct kubelet *k, const struct corev1_Pod *p, const char *container, const char *type, const char *reason, const char *format, ...) {
    char field[300] = "";
    if (container) {
        const char *list = "containers";
        LIST_FOREACH(c, &p->spec.initContainers) if (str_eq(c->name, container)) list = "initContainers";
        LIST_FOREACH(c, &p->spec.ephemeralContainers) if (str_eq(c->name, container)) list = "ephemeralContainers";
        snprintf(field, sizeof(field), "spec.%s{%s}", list, container);
    }
    struct corev1_ObjectReference ref = {.kind = "Pod", .apiVersion = "v1", .namespace = p->metadata.namespace, .name = p->metadata.name, .uid = p->metadata.uid,
        .resourceVersion = p->metadata.resourceVersion, .fieldPath = field};
    va_list args;
    va_start(args, format);
    event_record_ref(k->events, &ref, NULL, type, reason, format, args);
    va_end(args);
}

void event_node(struct kubelet *k, const char *type, const char *reason, const char *format, ...) {
    struct corev1_ObjectReference ref = {.kind = "Node", .name = k->o.node_name, .uid = k->o.node_name}; /* upstream gives the name as UID too */
    va_list args;
    va_start(args, format);
    event_record_ref(k->events, &ref, NULL, type, reason, format, args);
    va_end(args);
}
