/* The FlowSchemas and PriorityLevelConfigurations that every cluster starts with. Upstream: apiserver/pkg/apis/flowcontrol/bootstrap. */
#ifndef CKUBE_API_FLOWCONTROL_BOOTSTRAP_H
#define CKUBE_API_FLOWCONTROL_BOOTSTRAP_H
#include "api/object.h"

/* The i-th one, its name and spec set; NULL past the end. */
struct flowcontrolv1_FlowSchema *bootstrap_flow_schema(struct arena *a, size_t i);
struct flowcontrolv1_PriorityLevelConfiguration *bootstrap_priority_level(struct arena *a, size_t i);
/* "exempt" and "catch-all" cannot be changed by anybody: the fixed object of that name, or NULL. */
const struct flowcontrolv1_FlowSchema *mandatory_flow_schema(struct arena *a, const char *name);
const struct flowcontrolv1_PriorityLevelConfiguration *mandatory_priority_level(struct arena *a, const char *name);
#endif
