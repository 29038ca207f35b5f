/* Whether a Pod may be on a Node: taints and tolerations, node selectors and required node affinity. Upstream: component-helpers scheduling/corev1. */
#ifndef CKUBE_API_NODE_MATCH_H
#define CKUBE_API_NODE_MATCH_H
#include "api/object.h"

bool node_match_toleration(const struct corev1_Toleration *toleration, const struct corev1_Taint *taint);
/* Any of them tolerates it. */
bool node_match_tolerates(const struct corev1_Toleration_list *tolerations, const struct corev1_Taint *taint);
/* The first taint with this effect ("NoSchedule" or "NoExecute") that is not tolerated, or NULL. */
const struct corev1_Taint *node_match_untolerated(const struct corev1_Node *node, const struct corev1_Toleration_list *tolerations, const char *effect);
/* All of a term must hold; an empty term matches nothing. Of fields metadata.name is known. */
bool node_match_term(const struct corev1_NodeSelectorTerm *term, const struct corev1_Node *node);
bool node_match_selector(const struct corev1_NodeSelector *selector, const struct corev1_Node *node); /* any of its terms */
/* The Pod's nodeSelector and its required node affinity. */
bool node_match_affinity(const struct corev1_PodSpec *spec, const struct corev1_Node *node);
#endif
