/* Validation of the groups outside core, apps, batch and rbac, one file a group. Upstream: pkg/apis/GROUP/validation. Tests: the recorded
 * conversations, and tests/unit/test_validation_groups.c. */
#ifndef CKUBE_API_VALIDATION_GROUPS_H
#define CKUBE_API_VALIDATION_GROUPS_H
#include "api/field_error.h"
#include "api/names.h"
#include "api/object.h"
#include "api/validation/meta.h"
#include "base/str.h"

/* ---- small helpers that all of them use ---- */

/* What a rule of names.h says about the value, each as an Invalid value at the path. */
#define CHECK_NAME(errs, at, value, rule)                                  \
    do {                                                                   \
        struct string_list msgs_ = {0};                                    \
        rule((errs)->arena, str_or(value, ""), &msgs_);                    \
        field_invalid_each(errs, at, str_or(value, ""), &msgs_);           \
    } while (0)
#define ONE_OF(...) ((const char *const[]){__VA_ARGS__, NULL})
/* Unsupported value unless one of the (sorted) list; NULL and "" count as given. */
void check_supported(struct field_errors *errs, const struct field_path *at, const char *value, const char *const *supported);
/* ["a","b"], or null: as an error text shows a list. */
char *text_of_list(struct arena *a, const struct string_list *list);
char *text_of_map(struct arena *a, const struct string_map *map);
char *text_of_go(struct arena *a, const struct type_desc *type, const void *obj); /* object_encode_go */
/* What a webhook's address and certificates are held to. Upstream: apiserver pkg/util/webhook. Path NULL: none. */
void check_webhook_url(struct field_errors *errs, const struct field_path *at, const char *url);
void check_webhook_service(struct field_errors *errs, const struct field_path *at, const char *namespace, const char *name, const char *path, int32_t port);
void check_ca_bundle(struct field_errors *errs, const struct field_path *at, const struct bytes *bundle);
void check_path_segment(struct field_errors *errs, const struct field_path *at, const char *value);
/* Required when empty, else a path segment. */
void require_path_segment(struct field_errors *errs, const struct field_path *at, const char *value);
/* Upstream's ValidateCSIDriverName, also the rule for DRA drivers. */
void check_driver_name(struct field_errors *errs, const struct field_path *at, const char *name);
void check_immutable_string(struct field_errors *errs, const struct field_path *at, const char *value, const char *old);
/* metav1.ValidateConditions. */
void check_conditions(struct field_errors *errs, const struct field_path *at, const struct metav1_Condition_list *conditions);
/* A number or a percentage, not negative. */
void check_int_or_percent(struct field_errors *errs, const struct field_path *at, const struct int_or_string *v);
bool check_duplicate(struct field_errors *errs, const struct field_path *at, struct string_list *seen, const char *value); /* true: it was new */
void check_tolerations(struct field_errors *errs, const struct field_path *at, const struct corev1_Toleration_list *tolerations);
void check_ip_strict(struct field_errors *errs, const struct field_path *at, const char *ip);     /* IsValidIP */
void check_cidr_strict(struct field_errors *errs, const struct field_path *at, const char *cidr); /* IsValidCIDR */
void name_ip_strict(struct arena *a, const char *ip, struct string_list *msgs);

/* ---- the kinds ---- */

#define KIND(name)                                                             \
    void validate_##name(const void *obj, struct field_errors *errs);          \
    void validate_##name##_update(const void *obj, const void *old, struct field_errors *errs)
#define STATUS(name) void validate_##name##_status(const void *obj, const void *old, struct field_errors *errs)
KIND(networkpolicy); KIND(ingress); STATUS(ingress); KIND(ingressclass); KIND(ipaddress); KIND(servicecidr); KIND(endpointslice);
void object_name_ip(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
KIND(pdb); STATUS(pdb); KIND(hpa); STATUS(hpa);
KIND(storageclass); KIND(csidriver); KIND(csinode); KIND(volumeattachment); KIND(csistoragecapacity); KIND(volumeattributesclass);
KIND(runtimeclass); KIND(priorityclass); KIND(lease); KIND(leasecandidate);
void object_name_priority_class(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
KIND(resourceclaim); STATUS(resourceclaim); KIND(deviceclass); KIND(resourceclaimtemplate); KIND(resourceslice); KIND(devicetaintrule); STATUS(devicetaintrule);
KIND(flowschema); STATUS(flowschema); KIND(prioritylevel); STATUS(prioritylevel);
KIND(vap); STATUS(vap); KIND(vapbinding); KIND(vwebhooks); KIND(mwebhooks); KIND(map); KIND(mapbinding);
KIND(apiservice); STATUS(apiservice);
void object_name_any(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
KIND(clustertrustbundle); KIND(podcertificaterequest);
KIND(svm); STATUS(svm); KIND(storageversion); STATUS(storageversion); KIND(workload); KIND(podgroup);
#undef KIND
#undef STATUS
#endif
