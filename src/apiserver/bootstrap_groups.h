/* Objects of the smaller groups that every cluster starts with. */
#ifndef CKUBE_APISERVER_BOOTSTRAP_GROUPS_H
#define CKUBE_APISERVER_BOOTSTRAP_GROUPS_H
#include "api/object.h"

/* Takes one object with its defaults and managedFields set; it is written unless it is there. */
typedef void (*bootstrap_emit)(void *arg, const char *resource, const char *group, void *obj);

/* Sets defaults and records the manager as owner of what is set by now. */
void bootstrap_own(struct arena *a, const struct type_desc *type, void *obj, const char *manager, int64_t now_s);
/* FlowSchemas, PriorityLevelConfigurations, local APIServices, system PriorityClasses and the ServiceCIDR of the cluster's ranges (the second may be NULL). */
void bootstrap_groups(struct arena *a, int64_t now_s, const char *const service_ranges[2], bootstrap_emit emit, void *arg);
#endif
