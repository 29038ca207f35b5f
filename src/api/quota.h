/* What objects use of a ResourceQuota, and which quotas they are counted in. Upstream: pkg/quota/v1/evaluator, apiserver/pkg/quota/v1. Pure functions. Tests: tests/unit/test_controller_quota.c. */
#ifndef CKUBE_API_QUOTA_H
#define CKUBE_API_QUOTA_H
#include "api/object.h"

/* A resource whose objects are counted; type: of the objects where more than their number matters (Pods, Services, claims), else any. */
struct quota_kind { const char *group, *resource; const struct type_desc *type; };

struct string_map quota_usage_of(struct arena *a, const struct quota_kind *k, const void *obj);
/* Whether a quota's name ("requests.cpu", "count/jobs.batch") is one that objects of this kind use. */
bool quota_concerns(struct arena *a, const struct quota_kind *k, const char *name);
/* Whether the object is within the quota's scopes. */
bool quota_scopes_match(const struct corev1_ResourceQuotaSpec *spec, const struct quota_kind *k, const void *obj);
/* What a Pod asks for in all: containers and sidecars, or the largest init container, and overhead if asked; `limits` sums limits. Upstream: resourcehelper.PodRequests, PodLimits. */
struct string_map quota_pod_resources(struct arena *a, const struct corev1_PodSpec *spec, bool limits, bool overhead);
/* Under which of a quota's names ("cpu", "requests.cpu", "limits.memory") these count. */
void quota_compute_usage(struct arena *a, const struct string_map *requests, const struct string_map *limits, struct string_map *ret);
/* Adds an amount to that of the same name. */
void quota_add_amount(struct arena *a, struct string_map *sum, const char *name, const char *value);
/* Whether a Pod is in the scope Terminating. */
bool quota_pod_terminating(const struct corev1_Pod *pod);
#endif
