/* What the files of the DaemonSet controller share; nobody else includes it. daemon_set.c: events, which node wants a Pod, status; daemon_set_update.c: revisions
 * and rolling updates. */
#ifndef CKUBE_CONTROLLER_DAEMON_SET_H
#define CKUBE_CONTROLLER_DAEMON_SET_H
#include "base/map.h"
#include "controller/controller_history.h"

struct daemon_set_controller {
    struct controller *c;
    struct informer *sets, *pods, *nodes, *revisions;
    int pods_by_controller, pods_by_node, revisions_by_controller;
    struct expectations *expectations;
    pthread_mutex_t mutex;
    struct map *backoffs; /* of failed Pods: "UID/generation/node" -> struct backoff * */
};

typedef const struct corev1_Pod daemon_pod;
/* A node that has Pods of the set, or should have. */
struct node_pods { const char *node; struct { daemon_pod **items; size_t len; } pods; };
struct node_pods_list { struct node_pods *items; size_t len; };

struct daemon_sync {
    struct daemon_set_controller *dc;
    struct arena *a;
    const char *key;
    const struct appsv1_DaemonSet *set;
    struct selector selector;
    struct corev1_Toleration_list tolerations; /* of its Pods */
    struct cached_list nodes;                  /* by name */
    struct cached_list hold;                   /* references of Pods and revisions */
    const char *hash;                          /* of the current revision */
    struct revision_list old;                  /* revisions */
    int64_t now_ns;
};

/* ---- daemon_set.c ---- */
void daemon_should_run(const struct daemon_sync *s, const struct corev1_Node *node, bool *ret_run, bool *ret_stay);
/* Claims the set's Pods and groups them by node; finished ones that are being deleted are left out unless `all`. */
int daemon_pods(struct daemon_sync *s, bool all, struct node_pods_list *ret, struct status *reterr);
struct node_pods *daemon_node(struct arena *a, struct node_pods_list *l, const char *node, bool make);
bool daemon_pod_is_updated(const struct daemon_sync *s, daemon_pod *p);
bool daemon_pod_is_available(const struct daemon_sync *s, daemon_pod *p);
/* Deletes these Pods and makes one on each of these nodes. */
int daemon_sync_nodes(struct daemon_sync *s, daemon_pod *const *delete, size_t delete_len, const struct string_list *nodes, struct status *reterr);
int32_t daemon_max_surge(const struct appsv1_DaemonSet *set, int total);
int32_t daemon_max_unavailable(const struct appsv1_DaemonSet *set, int total);

/* ---- daemon_set_update.c ---- */
int daemon_construct_history(struct daemon_sync *s, struct status *reterr); /* fills hash and old */
int daemon_clean_up_history(struct daemon_sync *s, struct status *reterr);
int daemon_rolling_update(struct daemon_sync *s, struct status *reterr);
#endif
