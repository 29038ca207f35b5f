/* How many replicas a metric asks for. Upstream: pkg/controller/podautoscaler replica_calculator.go, metrics/. */
#ifndef CKUBE_CONTROLLER_REPLICA_CALCULATOR_H
#define CKUBE_CONTROLLER_REPLICA_CALCULATOR_H
#include "controller/controller_utils.h"

/* What a question is about; all fields are inputs. */
struct replica_question {
    struct controller *c;
    struct arena *a;
    struct informer *pods;
    const char *ns;
    struct selector selector;      /* of the target's Pods */
    int32_t replicas, status_replicas;
    double tolerance_up, tolerance_down;
};
struct replica_answer { int32_t replicas, utilization; int64_t usage; /* in thousandths */ };

/* All return 0, or -1 with upstream's words. container NULL: the whole Pod. */
int replicas_for_utilization(const struct replica_question *q, const char *resource, const char *container, int32_t target_percent, struct replica_answer *ret, struct status *reterr);
int replicas_for_usage(const struct replica_question *q, const char *resource, const char *container, int64_t target_milli, struct replica_answer *ret, struct status *reterr);
int replicas_for_pods_metric(const struct replica_question *q, const struct autoscalingv2_MetricIdentifier *metric, int64_t target_milli, struct replica_answer *ret, struct status *reterr);
/* per_pod: the target is for each Pod. */
int replicas_for_object_metric(const struct replica_question *q, const struct autoscalingv2_CrossVersionObjectReference *object, const char *resource,
                               const struct autoscalingv2_MetricIdentifier *metric, int64_t target_milli, bool per_pod, struct replica_answer *ret, struct status *reterr);
int replicas_for_external_metric(const struct replica_question *q, const struct autoscalingv2_MetricIdentifier *metric, int64_t target_milli, bool per_pod, struct replica_answer *ret,
                                 struct status *reterr);
#endif
