/* DynamicResources, as far as it goes: Pods without resource claims pass; Pods with claims are refused with a clear reason, since allocation of devices is
 * not in this version (docs/status.md). Upstream: plugins/dynamicresources. */
#include "scheduler/plugins/plugins.h"

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    if (!cycle->pod->pod->spec.resourceClaims.len) return CODE_SKIP;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "dynamic resource allocation is not available: pod has resourceClaims");
}

/* There is never a claim to give back. */
static enum code post_filter(struct cycle *cycle, const uint8_t *codes, struct schedule_result *ret, const char **ret_message) {
    (void)cycle, (void)codes, (void)ret;
    *ret_message = "no new claims to deallocate";
    return CODE_UNSCHEDULABLE;
}

const struct plugin plugin_dynamic_resources = {.name = "DynamicResources", .id = PLUGIN_DYNAMIC_RESOURCES, .pre_filter = pre_filter, .post_filter = post_filter};
