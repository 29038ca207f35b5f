/* What controllers of Nodes have in common. Upstream: pkg/controller/util/node, taints in pkg/controller/controller_utils.go. Thread-safe: no state. */
#ifndef CKUBE_CONTROLLER_NODE_UTIL_H
#define CKUBE_CONTROLLER_NODE_UTIL_H
#include "controller/controller.h"

struct corev1_NodeCondition *node_condition(const struct corev1_Node *node, const char *type); /* NULL if it has none of that type */
bool taint_exists(const struct corev1_Taint_list *taints, const struct corev1_Taint *t);      /* of the same key and effect */
bool taint_tolerated(const struct corev1_Toleration *t, const struct corev1_Taint *taint);
/* Adds taints to a Node (with the time, in place of those of the same key and effect) and takes others off, in one write; nothing is written when `node`, the cached
 * one, needs no change. Reads the Node anew; a lost race is tried again. A Node that is gone is no error. */
int node_swap_taints(struct controller *c, const struct corev1_Node *node, const struct corev1_Taint_list *add, const struct corev1_Taint_list *remove, struct status *reterr);
/* "Node NAME status is now: NEW". */
void node_record_status(struct controller *c, const struct corev1_Node *node, const char *new_status);
#endif
