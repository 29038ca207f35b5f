/* What the files of the Deployment controller share; nobody else includes it. deployment.c: events and the way through one sync; deployment_rollout.c: which
 * ReplicaSet gets how many replicas; deployment_util.c: revisions, annotations, conditions, arithmetic. */
#ifndef CKUBE_CONTROLLER_DEPLOYMENT_H
#define CKUBE_CONTROLLER_DEPLOYMENT_H
#include "controller/controller_utils.h"

#define ANNOTATION_REVISION "deployment.kubernetes.io/revision"
#define ANNOTATION_REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define ANNOTATION_DESIRED_REPLICAS "deployment.kubernetes.io/desired-replicas"
#define ANNOTATION_MAX_REPLICAS "deployment.kubernetes.io/max-replicas"
#define ANNOTATION_ROLLBACK_TO "deprecated.deployment.rollback.to"
#define LABEL_POD_TEMPLATE_HASH "pod-template-hash"

struct deployment_controller {
    struct controller *c;
    struct informer *deployments, *sets, *pods;
    int sets_by_controller, pods_by_controller;
    struct own_writes *writes;    /* of ReplicaSets, by the Deployment's UID: how many each has follows from what all have */
};

typedef const struct appsv1_ReplicaSet replica_set;
struct set_list { replica_set **items; size_t len; };
#define SETS_FOREACH(s, list) \
    for (size_t s##_i = 0; s##_i < (list)->len; s##_i++) for (replica_set *s = (list)->items[s##_i], *s##_once = s; s##_once; s##_once = NULL)

/* One sync of one Deployment. What is written comes back into it, so that later writes of the same sync do not conflict with earlier ones. */
struct rollout {
    struct deployment_controller *dc;
    struct arena *a;
    struct appsv1_Deployment *d;  /* a copy */
    struct set_list all;          /* its ReplicaSets, oldest first */
    struct set_list old;          /* without the new one */
    replica_set *new_set;         /* whose template is the Deployment's; NULL: not made yet */
};

/* ---- deployment_rollout.c ---- */
/* Finds the new ReplicaSet and brings its annotations and the Deployment's revision up to date; makes it if `create`. */
int rollout_find_new(struct rollout *ro, bool create, struct status *reterr);
bool rollout_is_scaling_event(const struct rollout *ro);
/* To the Deployment's size: in proportion, while there are several sets with replicas. */
int rollout_scale(struct rollout *ro, struct status *reterr);
int rollout_rolling(struct rollout *ro, struct status *reterr);
int rollout_recreate(struct rollout *ro, struct status *reterr);
int rollout_clean_up(struct rollout *ro, struct status *reterr); /* all but revisionHistoryLimit of the old sets */
int rollout_roll_back(struct rollout *ro, struct status *reterr); /* as the old rollbackTo annotation asks */

/* ---- deployment_status.c ---- */
int rollout_sync_status(struct rollout *ro, struct status *reterr);          /* counts and Available */
int rollout_sync_rollout_status(struct rollout *ro, struct status *reterr);  /* and Progressing and ReplicaFailure */
int rollout_write_status(struct rollout *ro, struct status *reterr);         /* ro->d as it is */
int rollout_check_paused(struct rollout *ro, struct status *reterr);
bool deployment_complete(const struct appsv1_Deployment *d, const struct appsv1_DeploymentStatus *s);

/* ---- deployment_util.c ---- */
const struct appsv1_DeploymentCondition *deployment_condition(const struct appsv1_DeploymentStatus *s, const char *type);
/* Nothing changes if one of the same status and reason is there; the transition time is kept while the status stays. */
void deployment_set_condition(struct arena *a, struct appsv1_DeploymentStatus *s, const struct appsv1_DeploymentCondition *c);
void deployment_remove_condition(struct appsv1_DeploymentStatus *s, const char *type);
struct appsv1_DeploymentCondition deployment_new_condition(const struct rollout *ro, const char *type, const char *status, const char *reason, const char *message);
bool deployment_has_deadline(const struct appsv1_Deployment *d);
bool deployment_is_rolling(const struct appsv1_Deployment *d);
int32_t deployment_max_unavailable(const struct appsv1_Deployment *d);
int32_t deployment_max_surge(const struct appsv1_Deployment *d);

bool set_revision(const void *obj, int64_t *ret);                       /* false: the annotation is no number; without one it is 0 */
int64_t sets_max_revision(const struct set_list *l);
bool template_equal_ignoring_hash(const struct corev1_PodTemplateSpec *x, const struct corev1_PodTemplateSpec *y);
bool set_annotate_replicas(struct arena *a, struct appsv1_ReplicaSet *s, const struct appsv1_Deployment *d); /* true: something changed */
bool set_replicas_annotations_differ(replica_set *s, const struct appsv1_Deployment *d);
/* The Deployment's annotations, the revision (and the history of former ones) on its new set. True: something changed. */
bool set_annotate_new(struct arena *a, const struct appsv1_Deployment *d, struct appsv1_ReplicaSet *s, int64_t revision, bool exists);
bool set_desired_replicas(replica_set *s, int32_t *ret);
bool annotation_is_own(const char *key);                                /* not copied between a Deployment and its sets */
/* The share of `to_add` (negative: to remove) that falls to a set, when `added` have been given out. */
int32_t set_proportion(replica_set *s, const struct appsv1_Deployment *d, int32_t to_add, int32_t added);
int32_t sets_replicas(const struct set_list *l);
struct set_list sets_active(struct arena *a, const struct set_list *l, replica_set *more); /* those with replicas; more may be NULL */
void sets_sort(struct set_list *l, int (*cmp)(const void *, const void *));
int set_by_age(const void *x, const void *y);                           /* oldest first */
int set_by_age_newest(const void *x, const void *y);
int set_by_size_older(const void *x, const void *y);                    /* largest first, then oldest */
int set_by_size_newer(const void *x, const void *y);
int set_by_revision(const void *x, const void *y);
#endif
