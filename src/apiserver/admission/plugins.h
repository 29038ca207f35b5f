/* The admission plugins: each a row of the table in plugins.c, which has upstream's names, upstream's order and upstream's default. */
#ifndef CKUBE_APISERVER_ADMISSION_PLUGINS_H
#define CKUBE_APISERVER_ADMISSION_PLUGINS_H
#include "apiserver/admission.h"

/* What a plugin is made from. Its state may keep pointers into the arena, which lives as long. */
struct registrations;
struct admission_setup { struct arena *arena; const struct admission_options *options; struct registrations *registrations; };

typedef int (*admission_fn)(struct admission_attributes *a, void *state, struct status *reterr);
struct admission_plugin {
    const char *name;
    bool on;                              /* by default */
    unsigned operations;                  /* ON_CREATE | ... */
    const struct type_desc *const *types; /* what it looks at, ends with NULL; NULL: everything */
    admission_fn mutate, validate;        /* each may be NULL */
    /* Makes the state; text is the plugin's configuration (YAML or JSON; NULL: none). NULL function: it has none. */
    int (*setup)(const struct admission_setup *s, const char *text, size_t len, void **ret_state, struct status *reterr);
    void (*release)(void *state);
};
/* In order; ends with a NULL name. */
extern const struct admission_plugin admission_plugins[];
const struct admission_plugin *admission_plugin_find(const char *name); /* NULL: there is none */

/* ---- the functions of the table, by file ---- */

#define MUTATES(fn) int fn(struct admission_attributes *a, void *state, struct status *reterr)
#define VALIDATES(fn) MUTATES(fn)
#define SETS_UP(fn) int fn(const struct admission_setup *s, const char *text, size_t len, void **ret_state, struct status *reterr)

/* namespaces.c */
MUTATES(namespace_lifecycle);
MUTATES(namespace_auto_provision);
VALIDATES(namespace_exists);
/* service_account.c */
MUTATES(service_account_mutate);
VALIDATES(service_account_validate);
/* priority.c */
MUTATES(priority_mutate);
VALIDATES(priority_validate);
/* pods.c */
SETS_UP(default_tolerations_setup);
MUTATES(default_tolerations);
MUTATES(extended_resource_toleration);
MUTATES(always_pull_images_mutate);
VALIDATES(always_pull_images_validate);
VALIDATES(limit_hard_anti_affinity);
MUTATES(pod_topology_labels);
/* runtime_class.c */
MUTATES(runtime_class_mutate);
VALIDATES(runtime_class_validate);
/* pod_updates.c */
VALIDATES(pod_resize_validate);
VALIDATES(node_declared_features_validate);
/* pod_node_selector.c */
SETS_UP(pod_node_selector_setup);
MUTATES(pod_node_selector_mutate);
VALIDATES(pod_node_selector_validate);
/* pod_toleration_restriction.c */
SETS_UP(pod_toleration_restriction_setup);
MUTATES(pod_toleration_restriction_mutate);
VALIDATES(pod_toleration_restriction_validate);
/* event_rate_limit.c */
SETS_UP(event_rate_limit_setup);
void event_rate_limit_release(void *state);
VALIDATES(event_rate_limit);
/* image_policy.c */
SETS_UP(image_policy_setup);
void image_policy_release(void *state);
VALIDATES(image_policy);
/* owner_references.c */
VALIDATES(owner_references_validate);
/* objects.c */
MUTATES(always_deny);
MUTATES(taint_nodes_by_condition);
MUTATES(storage_object_in_use_protection);
MUTATES(default_storage_class);
MUTATES(default_ingress_class);
VALIDATES(claim_resize);
VALIDATES(deny_service_external_ips);
/* pod_security.c */
SETS_UP(pod_security_setup);
VALIDATES(pod_security);
/* registry/certificates.c */
VALIDATES(certificate_approval);
VALIDATES(certificate_signing);
VALIDATES(certificate_subject_restriction);
VALIDATES(cluster_trust_bundle_attest);
/* node_restriction.c */
MUTATES(node_restriction);
/* admission_limits.c, admission_quota.c */
MUTATES(limit_range_mutate);
VALIDATES(limit_range_validate);
VALIDATES(quota_admit);
/* admission_policy.c, admission_webhook.c; their state is the cache of registrations */
SETS_UP(registrations_setup);
MUTATES(mutating_policies);
MUTATES(mutating_webhooks);
VALIDATES(validating_policies);
VALIDATES(validating_webhooks);
#endif
