/* storage.k8s.io. Upstream: pkg/apis/storage/validation. */
#include <string.h>
#include "api/quantity.h"
#include "api/validation/core.h"
#include "api/validation/groups.h"

enum { PARAMETERS_MAX = 512, PARAMETERS_BYTES_MAX = 256 << 10, NODE_ID_BYTES_MAX = 256, MESSAGE_BYTES_MAX = 1024, METADATA_BYTES_MAX = 256 << 10 };

static char *lower(struct arena *a, const char *s) {
    char *out = arena_strdup(a, str_or(s, ""));
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
    return out;
}

static void provisioner(const char *name, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(name)) field_required(errs, at, "%s", "");
    else {
        const char *low = lower(errs->arena, name);
        CHECK_NAME(errs, at, low, name_qualified);
    }
}

static void parameters(const struct string_map *map, bool required, const struct field_path *at, struct field_errors *errs) {
    size_t total = 0;
    if (map->len > PARAMETERS_MAX) {
        field_too_long(errs, at, PARAMETERS_MAX);
        return;
    }
    LIST_FOREACH(e, map) {
        if (str_empty(e->key)) field_invalid(errs, at, "", "field can not be empty.");
        total += strlen(e->key) + strlen(str_or(e->value, ""));
    }
    if (total > PARAMETERS_BYTES_MAX) field_too_long(errs, at, PARAMETERS_BYTES_MAX);
    if (required && !map->len) field_required(errs, at, "must contain at least one key/value pair");
}

/* ---- StorageClass ---- */

/* Upstream compares terms as maps from keys to sets of values: of a key that is there twice the last counts. */
static bool same_values(const struct string_list *a, const struct string_list *b) {
    for (size_t i = 0; i < a->len; i++)
        if (!string_list_has(b, a->items[i])) return false;
    for (size_t i = 0; i < b->len; i++)
        if (!string_list_has(a, b->items[i])) return false;
    return true;
}
static const struct corev1_TopologySelectorLabelRequirement *requirement_of(const struct corev1_TopologySelectorTerm *t, const char *key) {
    for (size_t i = t->matchLabelExpressions.len; i > 0; i--)
        if (str_eq(t->matchLabelExpressions.items[i - 1].key, key)) return &t->matchLabelExpressions.items[i - 1];
    return NULL;
}
static bool within(const struct corev1_TopologySelectorTerm *a, const struct corev1_TopologySelectorTerm *b) {
    LIST_FOREACH(r, &a->matchLabelExpressions) {
        const struct corev1_TopologySelectorLabelRequirement *x = requirement_of(a, r->key), *y = requirement_of(b, r->key);
        if (!y || !same_values(&x->values, &y->values)) return false;
    }
    return true;
}

/* core's ValidateTopologySelectorTerm */
static void topology_term(const struct corev1_TopologySelectorTerm *t, const struct field_path *at, struct field_errors *errs) {
    struct string_list keys = {0};
    for (size_t j = 0; j < t->matchLabelExpressions.len; j++) {
        const struct corev1_TopologySelectorLabelRequirement *r = &t->matchLabelExpressions.items[j];
        const struct field_path *p = FIELD_INDEX(at, j);
        struct string_list values = {0};
        if (!r->values.len) field_required(errs, FIELD(p, "values"), "%s", "");
        for (size_t k = 0; k < r->values.len; k++) check_duplicate(errs, FIELD_INDEX(FIELD(p, "values"), k), &values, r->values.items[k]);
        CHECK_NAME(errs, FIELD(p, "key"), r->key, name_qualified);
        check_duplicate(errs, FIELD(p, "key"), &keys, r->key);
    }
}

/* Terms that say the same are duplicates of each other. Upstream compares with as many empty terms as there are terms besides, so one that says nothing is a duplicate of each. */
static void topologies(const struct corev1_TopologySelectorTerm_list *terms, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < terms->len; i++) {
        const struct corev1_TopologySelectorTerm *t = &terms->items[i];
        const struct field_path *e = FIELD(FIELD_INDEX(at, i), "matchLabelExpressions");
        topology_term(t, e, errs);
        for (size_t j = 0; !t->matchLabelExpressions.len && j < terms->len; j++) field_duplicate(errs, e, "");
        for (size_t j = 0; j < i; j++)
            if (within(t, &terms->items[j]) && within(&terms->items[j], t)) field_duplicate(errs, e, "");
    }
}

void validate_storageclass(const void *obj, struct field_errors *errs) {
    const struct storagev1_StorageClass *s = obj;
    provisioner(s->provisioner, FIELD(NULL, "provisioner"), errs);
    parameters(&s->parameters, false, FIELD(NULL, "parameters"), errs);
    if (s->reclaimPolicy && *s->reclaimPolicy) check_supported(errs, FIELD(NULL, "reclaimPolicy"), s->reclaimPolicy, ONE_OF("Delete", "Retain"));
    if (!s->volumeBindingMode) field_required(errs, FIELD(NULL, "volumeBindingMode"), "%s", "");
    else check_supported(errs, FIELD(NULL, "volumeBindingMode"), s->volumeBindingMode, ONE_OF("Immediate", "WaitForFirstConsumer"));
    topologies(&s->allowedTopologies, FIELD(NULL, "allowedTopologies"), errs);
}

void validate_storageclass_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct storagev1_StorageClass *s = obj, *old = old_obj;
    validate_storageclass(obj, errs);
    validate_immutable(string_map_equal(&s->parameters, &old->parameters), text_of_map(errs->arena, &s->parameters), FIELD(NULL, "parameters"), errs);
    check_immutable_string(errs, FIELD(NULL, "provisioner"), s->provisioner, old->provisioner);
    check_immutable_string(errs, FIELD(NULL, "reclaimPolicy"), s->reclaimPolicy, old->reclaimPolicy);
    check_immutable_string(errs, FIELD(NULL, "volumeBindingMode"), s->volumeBindingMode, old->volumeBindingMode);
}

/* ---- VolumeAttributesClass ---- */

void validate_volumeattributesclass(const void *obj, struct field_errors *errs) {
    const struct storagev1_VolumeAttributesClass *c = obj;
    provisioner(c->driverName, FIELD(NULL, "driverName"), errs);
    parameters(&c->parameters, true, FIELD(NULL, "parameters"), errs);
}

void validate_volumeattributesclass_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct storagev1_VolumeAttributesClass *c = obj, *old = old_obj;
    if (!str_eq(c->driverName, old->driverName)) field_forbidden(errs, FIELD(NULL, "driverName"), "updates to driverName are forbidden.");
    if (!string_map_equal(&c->parameters, &old->parameters)) field_forbidden(errs, FIELD(NULL, "parameters"), "updates to parameters are forbidden.");
    validate_volumeattributesclass(obj, errs);
}

/* ---- CSIDriver ---- */

static void token_requests(const struct storagev1_TokenRequest_list *list, const struct field_path *at, struct field_errors *errs) {
    struct string_list audiences = {0};
    for (size_t i = 0; i < list->len; i++) {
        const struct storagev1_TokenRequest *t = &list->items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        if (!check_duplicate(errs, FIELD(p, "audience"), &audiences, t->audience) || !t->expirationSeconds.has) continue;
        if (t->expirationSeconds.value < 600) field_invalid_int(errs, FIELD(p, "expirationSeconds"), t->expirationSeconds.value, "may not specify a duration less than 10 minutes");
        if (t->expirationSeconds.value > (int64_t)1 << 32) field_invalid_int(errs, FIELD(p, "expirationSeconds"), t->expirationSeconds.value, "may not specify a duration larger than 2^32 seconds");
    }
}

static void csidriver_spec(const struct storagev1_CSIDriverSpec *s, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec");
    if (!s->attachRequired.has) field_required(errs, FIELD(at, "attachedRequired"), "%s", ""); /* sic */
    if (!s->podInfoOnMount.has) field_required(errs, FIELD(at, "podInfoOnMount"), "%s", "");
    if (!s->storageCapacity.has) field_required(errs, FIELD(at, "storageCapacity"), "%s", "");
    if (s->fsGroupPolicy) check_supported(errs, FIELD(at, "fsGroupPolicy"), s->fsGroupPolicy, ONE_OF("File", "None", "ReadWriteOnceWithFSType"));
    token_requests(&s->tokenRequests, FIELD(at, "tokenRequests"), errs);
    for (size_t i = 0; i < s->volumeLifecycleModes.len; i++) check_supported(errs, FIELD(at, "volumeLifecycleModes"), s->volumeLifecycleModes.items[i], ONE_OF("Persistent", "Ephemeral"));
    if (!s->seLinuxMount.has) field_required(errs, FIELD(at, "seLinuxMount"), "%s", "");
    if (s->nodeAllocatableUpdatePeriodSeconds.has && s->nodeAllocatableUpdatePeriodSeconds.value < 10)
        field_invalid_int(errs, FIELD(at, "nodeAllocatableUpdatePeriodSeconds"), s->nodeAllocatableUpdatePeriodSeconds.value, "must be greater than or equal to 10 seconds");
    if (s->serviceAccountTokenInSecrets.has && !s->tokenRequests.len)
        field_invalid_bool(errs, FIELD(at, "serviceAccountTokenInSecrets"), s->serviceAccountTokenInSecrets.value, "serviceAccountTokenInSecrets is set but no tokenRequests are specified");
}

void validate_csidriver(const void *obj, struct field_errors *errs) {
    const struct storagev1_CSIDriver *d = obj;
    csidriver_spec(&d->spec, errs);
}

void validate_csidriver_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct storagev1_CSIDriverSpec *s = &((const struct storagev1_CSIDriver *)obj)->spec, *old = &((const struct storagev1_CSIDriver *)old_obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    csidriver_spec(s, errs);
    bool attach = s->attachRequired.has == old->attachRequired.has && s->attachRequired.value == old->attachRequired.value;
    validate_immutable(attach, s->attachRequired.has ? (s->attachRequired.value ? "true" : "false") : "null", FIELD(at, "attachedRequired"), errs); /* sic */
    bool modes = s->volumeLifecycleModes.len == old->volumeLifecycleModes.len;
    for (size_t i = 0; modes && i < old->volumeLifecycleModes.len; i++) modes = str_eq(s->volumeLifecycleModes.items[i], old->volumeLifecycleModes.items[i]);
    validate_immutable(modes, text_of_list(errs->arena, &s->volumeLifecycleModes), FIELD(at, "volumeLifecycleModes"), errs);
}

/* ---- CSINode ---- */

static void csinode_drivers(const struct storagev1_CSINodeDriver_list *drivers, struct field_errors *errs) {
    struct string_list names = {0};
    for (size_t i = 0; i < drivers->len; i++) {
        const struct storagev1_CSINodeDriver *d = &drivers->items[i];
        const struct field_path *at = FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "drivers"), i);
        check_driver_name(errs, FIELD(at, "name"), d->name);
        if (str_empty(d->nodeID)) field_required(errs, FIELD(at, "nodeID"), "%s", "");
        else if (strlen(d->nodeID) > NODE_ID_BYTES_MAX) field_invalid(errs, FIELD(at, "nodeID"), d->nodeID, "must be %d characters or less", NODE_ID_BYTES_MAX);
        if (d->allocatable && d->allocatable->count.has) validate_non_negative(d->allocatable->count.value, FIELD(FIELD(at, "allocatable"), "count"), errs);
        check_duplicate(errs, FIELD(at, "name"), &names, d->name);
        struct string_list keys = {0};
        for (size_t j = 0; j < d->topologyKeys.len; j++) {
            const char *key = str_or(d->topologyKeys.items[j], "");
            if (!*key) field_required(errs, at, "%s", "");
            check_duplicate(errs, at, &keys, key);
            CHECK_NAME(errs, at, key, name_qualified);
        }
    }
}

void validate_csinode(const void *obj, struct field_errors *errs) { csinode_drivers(&((const struct storagev1_CSINode *)obj)->spec.drivers, errs); }

void validate_csinode_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct storagev1_CSINode *n = obj, *old = old_obj;
    validate_csinode(obj, errs);
    LIST_FOREACH(d, &n->spec.drivers)
        LIST_FOREACH(o, &old->spec.drivers) {
            if (!str_eq(d->name, o->name)) continue;
            struct storagev1_CSINodeDriver now = *d, was = *o;
            now.allocatable = was.allocatable = NULL; /* may change since 1.33 */
            if (!object_equal(&storagev1_CSINodeDriver_desc, &now, &was)) field_invalid_raw(errs, FIELD(FIELD(NULL, "spec"), "drivers"), text_of_go(errs->arena, &storagev1_CSINodeDriver_desc, &now), "field is immutable");
        }
}

/* ---- VolumeAttachment ---- */

static void volume_error(const struct storagev1_VolumeError *e, const struct field_path *at, struct field_errors *errs) {
    if (!e) return;
    if (strlen(str_or(e->message, "")) > MESSAGE_BYTES_MAX) field_too_long(errs, FIELD(at, "message"), METADATA_BYTES_MAX);
    if (e->errorCode.has && e->errorCode.value < 0) field_invalid_int(errs, FIELD(at, "errorCode"), e->errorCode.value, "must be between 0 and %d, inclusive", INT32_MAX);
}

static void attachment_status(const struct storagev1_VolumeAttachmentStatus *s, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "status");
    size_t total = 0;
    LIST_FOREACH(e, &s->attachmentMetadata) total += strlen(e->key) + strlen(str_or(e->value, ""));
    if (total > METADATA_BYTES_MAX) field_too_long(errs, FIELD(at, "attachmentMetadata"), METADATA_BYTES_MAX);
    volume_error(s->attachError, FIELD(at, "attachError"), errs);
    volume_error(s->detachError, FIELD(at, "detachError"), errs);
}

static void attachment_source(const struct storagev1_VolumeAttachmentSource *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->persistentVolumeName && !s->inlineVolumeSpec) field_required(errs, at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    else if (s->persistentVolumeName && s->inlineVolumeSpec) field_forbidden(errs, at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    else if (s->persistentVolumeName) {
        if (!*s->persistentVolumeName) field_required(errs, FIELD(at, "persistentVolumeName"), "must specify non empty persistentVolumeName");
    } else validate_inline_volume_spec(s->inlineVolumeSpec, FIELD(at, "inlineVolumeSpec"), errs);
}

void validate_volumeattachment(const void *obj, struct field_errors *errs) {
    const struct storagev1_VolumeAttachment *v = obj;
    const struct field_path *at = FIELD(NULL, "spec");
    check_driver_name(errs, FIELD(at, "attacher"), v->spec.attacher);
    attachment_source(&v->spec.source, FIELD(at, "source"), errs);
    CHECK_NAME(errs, FIELD(at, "nodeName"), v->spec.nodeName, name_dns1123_subdomain);
    attachment_status(&v->status, errs);
    const char *volume = v->spec.source.persistentVolumeName;
    if (volume) CHECK_NAME(errs, FIELD(FIELD(at, "source"), "persistentVolumeName"), volume, name_dns1123_subdomain);
}

void validate_volumeattachment_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct storagev1_VolumeAttachment *v = obj, *old = old_obj;
    validate_volumeattachment(obj, errs);
    validate_immutable(object_equal(&storagev1_VolumeAttachmentSpec_desc, &v->spec, &old->spec), text_of_go(errs->arena, &storagev1_VolumeAttachmentSpec_desc, &v->spec), FIELD(NULL, "spec"), errs);
}

/* ---- CSIStorageCapacity ---- */

void validate_csistoragecapacity(const void *obj, struct field_errors *errs) {
    const struct storagev1_CSIStorageCapacity *c = obj;
    validate_label_selector(c->nodeTopology, FIELD(NULL, "nodeTopology"), errs);
    CHECK_NAME(errs, FIELD(NULL, "storageClassName"), c->storageClassName, name_dns1123_subdomain);
    if (c->capacity && quantity_of(c->capacity).nanos < 0) field_invalid(errs, FIELD(NULL, "capacity"), c->capacity, "must be greater than or equal to 0");
}

void validate_csistoragecapacity_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct storagev1_CSIStorageCapacity *c = obj, *old = old_obj;
    bool topology = c->nodeTopology && old->nodeTopology ? object_equal(&metav1_LabelSelector_desc, c->nodeTopology, old->nodeTopology) : c->nodeTopology == old->nodeTopology;
    validate_csistoragecapacity(obj, errs);
    validate_immutable(topology, c->nodeTopology ? object_json_text(errs->arena, &metav1_LabelSelector_desc, c->nodeTopology) : "null", FIELD(NULL, "nodeTopology"), errs);
    check_immutable_string(errs, FIELD(NULL, "storageClassName"), c->storageClassName, old->storageClassName);
}
