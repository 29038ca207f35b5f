/* What components ask of Pods. Upstream: pkg/api/v1/pod, and component-helpers/resource. */
#ifndef CKUBE_API_POD_UTIL_H
#define CKUBE_API_POD_UTIL_H
#include "api/object.h"
#include "api/quantity.h"

const struct corev1_PodCondition *pod_condition(const struct corev1_Pod *p, const char *type); /* NULL if it has none of that type */
bool pod_is_ready(const struct corev1_Pod *p);    /* condition Ready is True */
bool pod_is_terminal(const struct corev1_Pod *p); /* phase Succeeded or Failed */
bool pod_is_active(const struct corev1_Pod *p);   /* neither terminal nor being deleted */
/* Ready for min_ready_seconds; *ret_wait_ms (NULL: not wanted): how long until it would be, 0 if it is not ready or is available. */
bool pod_is_available(const struct corev1_Pod *p, int32_t min_ready_seconds, int64_t now_ns, int64_t *ret_wait_ms);
/* The n-th container as upstream visits them: init, ordinary, ephemeral ones; NULL past the end. Its list's name and its index there (NULL: not wanted). */
const struct corev1_Container *pod_container_at(const struct corev1_PodSpec *s, size_t n, const char **ret_list, size_t *ret_index);
/* What all containers together ask for (or are limited to): init containers run one by one, sidecars go on. *ret_any (NULL: not wanted): whether any does.
 * Upstream: AggregateContainerRequests and AggregateContainerLimits. */
struct quantity pod_aggregate(const struct corev1_PodSpec *s, const char *resource, bool limits, bool *ret_any);
#endif
