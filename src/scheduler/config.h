/* KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1): read from YAML, defaulted, validated with upstream's errors, and made into profiles.
 * Upstream: pkg/scheduler/apis/config (v1 defaults, validation), cmd/kube-scheduler/app/options/configfile.go. Tests: test_scheduler_config.c. */
#ifndef CKUBE_SCHEDULER_CONFIG_H
#define CKUBE_SCHEDULER_CONFIG_H
#include "scheduler/extender.h"
#include "scheduler/framework.h"

struct scheduler_configuration {
    int32_t parallelism; /* validated only: one thread schedules */
    bool leader_elect;
    int64_t lease_duration_ms, renew_deadline_ms, retry_period_ms;
    const char *resource_lock, *resource_name, *resource_namespace;
    const char *kubeconfig; /* clientConnection.kubeconfig */
    int64_t backoff_initial_seconds, backoff_max_seconds;
    struct profile *profiles;
    size_t profiles_len;
    struct extender_list extenders;
};

/* What holds without a file. All in the arena, which outlives the scheduler. */
void scheduler_configuration_default(struct arena *a, struct scheduler_configuration *ret);
/* 400 with upstream's words if the text is not valid. */
int scheduler_configuration_load(struct arena *a, const char *yaml, size_t len, struct scheduler_configuration *ret, struct status *reterr);
#endif
