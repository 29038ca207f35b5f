/* ControllerRevisions: the former templates of DaemonSets and StatefulSets. Upstream: pkg/controller/history. */
#ifndef CKUBE_CONTROLLER_CONTROLLER_HISTORY_H
#define CKUBE_CONTROLLER_CONTROLLER_HISTORY_H
#include "controller/controller_utils.h"

#define LABEL_CONTROLLER_REVISION_HASH "controller-revision-hash" /* of Pods: which revision they are of */
#define LABEL_HISTORY_HASH "controller.kubernetes.io/hash"        /* of a StatefulSet's revisions */

typedef const struct appsv1_ControllerRevision controller_revision;
struct revision_list { controller_revision **items; size_t len; };

/* The owner's revisions and orphans that match, which it adopts; by revision. `hold` keeps the references. */
int history_claim(struct controller *c, struct arena *a, const struct type_desc *owner_type, const void *owner, const struct selector *selector, struct informer *revisions, int by_controller,
                  struct cached_list *hold, struct revision_list *ret, struct status *reterr);
void history_sort(struct revision_list *l);            /* by revision, then age, then name */
int64_t history_max(const struct revision_list *l);    /* the highest number, 0 without any */
/* What a revision holds: a strategic merge patch that replaces spec.template, its keys sorted as Go writes a map. */
char *history_patch(struct arena *a, const struct corev1_PodTemplateSpec *template);
char *history_hash(struct arena *a, const char *data, int64_t collision_count); /* upstream's FNV-32 over the data */
/* The template that a revision holds. -1: it holds none. */
int history_template(struct arena *a, controller_revision *r, struct corev1_PodTemplateSpec *ret, struct status *reterr);
bool history_equal(controller_revision *r, const char *data);
#endif
