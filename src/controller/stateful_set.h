/* What the files of the StatefulSet controller share; nobody else includes it. stateful_set.c: events and one sync; stateful_set_control.c: which ordinal is made,
 * replaced or taken away, and in which order; stateful_pod_control.c: Pods and their claims. */
#ifndef CKUBE_CONTROLLER_STATEFUL_SET_H
#define CKUBE_CONTROLLER_STATEFUL_SET_H
#include "controller/controller_history.h"

#define LABEL_STATEFUL_SET_POD_NAME "statefulset.kubernetes.io/pod-name"
#define LABEL_POD_INDEX "apps.kubernetes.io/pod-index"

struct stateful_set_controller {
    struct controller *c;
    struct informer *sets, *pods, *claims, *revisions;
    int pods_by_controller, revisions_by_controller;
};

typedef const struct corev1_Pod stateful_pod;
struct stateful_pods { stateful_pod **items; size_t len; };

struct stateful_sync {
    struct stateful_set_controller *sc;
    struct arena *a;
    const char *key;
    const struct appsv1_StatefulSet *set;
    struct selector selector;
    struct stateful_pods pods;             /* by ordinal */
    struct cached_list hold;
    int64_t now_ns;
    int start, replicas;                   /* ordinals start ... start + replicas - 1 */
    bool monotonic;                        /* one after the other */
    controller_revision *current, *update;
    const struct appsv1_StatefulSet *current_set, *update_set; /* the set with these revisions' templates */
    struct appsv1_StatefulSetStatus status; /* as it will be */
};

/* ---- stateful_set_control.c ---- */
int stateful_set_update(struct stateful_sync *s, struct status *reterr); /* all of it: revisions, Pods, status, history */
int stateful_ordinal(const char *set_name, const char *pod_name);        /* -1: not a Pod of such a set */
bool stateful_in_range(const struct stateful_sync *s, stateful_pod *p);

/* ---- stateful_pod_control.c; set: whose template and claims count. All may be called on several threads at once. ---- */
struct corev1_Pod *stateful_pod_new(struct arena *a, const struct appsv1_StatefulSet *set, int ordinal, const char *revision);
int stateful_pod_create(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr);
/* Brings identity, volumes and the claims' owners in order; nothing is written if they are. */
int stateful_pod_update(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr);
int stateful_pod_delete(struct stateful_sync *s, stateful_pod *p, struct status *reterr);
int stateful_claims_create(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr);
bool stateful_claims_match_retention(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p);
int stateful_claims_update_retention(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p, struct status *reterr);
/* A claim still belongs to a former Pod of this name and will go with it. */
bool stateful_claim_is_stale(struct stateful_sync *s, struct arena *a, const struct appsv1_StatefulSet *set, stateful_pod *p);
#endif
