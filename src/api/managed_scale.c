/* Managed fields of the scale subresource: the object's replicas are Scale's spec.replicas. Upstream: managedfields/scalehandler.go.
 * Any thread. Tests: tests/unit/test_managedfields.c. */
#include "api/managed_entries.h"
#include "base/str.h"

#define SCALE_VERSION "autoscaling/v1"
static const char *const scale_replicas = "spec.replicas";

static const char *path_of(const struct scale_mapping *mappings, const char *api_version) {
    for (; mappings && mappings->api_version; mappings++)
        if (str_eq(mappings->api_version, api_version)) return mappings->path;
    return NULL;
}

static struct field_set one_path(struct arena *a, const char *path) {
    struct field_set s = {0};
    field_set_insert_dotted(a, &s, path);
    return s;
}

struct metav1_ManagedFieldsEntry_list managed_fields_to_scale(struct arena *a, const struct metav1_ManagedFieldsEntry_list *parent, const struct scale_mapping *mappings) {
    struct managed managed, out = {0};
    if (managed_decode(a, parent, &managed, NULL) != 0) return (struct metav1_ManagedFieldsEntry_list){0};
    LIST_FOREACH(e, &managed) {
        const char *path = path_of(mappings, e->version);
        if (!path || !field_set_has_dotted(&e->set, path)) continue;
        struct managed_entry scale = *e;
        managed_set(&scale, one_path(a, scale_replicas));
        scale.version = SCALE_VERSION;
        managed_put(a, &out, &scale);
    }
    return managed_encode(a, &out);
}

struct metav1_ManagedFieldsEntry_list managed_fields_from_scale(struct arena *a, const struct metav1_ManagedFieldsEntry_list *parent, const struct metav1_ManagedFieldsEntry_list *scale,
                                                                const char *api_version, const struct scale_mapping *mappings) {
    struct managed before, after, out = {0};
    if (managed_decode(a, parent, &before, NULL) != 0 || managed_decode(a, scale, &after, NULL) != 0) return *parent;
    LIST_FOREACH(e, &before) {
        const char *path = path_of(mappings, e->version);
        if (!path) continue;
        struct managed_entry *left = managed_find(&after, e), kept = *e;
        if (field_set_has_dotted(&e->set, path)) {
            if (left) managed_set(left, (struct field_set){0}); /* still its own */
            else {
                struct field_set replicas = one_path(a, path);
                managed_set(&kept, field_set_difference(a, &e->set, &replicas));
            }
        }
        if (!field_set_empty(&kept.set)) managed_put(a, &out, &kept);
    }
    LIST_FOREACH(e, &after) {
        if (!field_set_has_dotted(&e->set, scale_replicas)) continue;
        const struct managed_entry *old = managed_find(&before, e);
        struct managed_entry taken = *e;
        managed_set(&taken, one_path(a, path_of(mappings, api_version)));
        taken.version = api_version;
        taken.time = old ? old->time : (struct api_time){0}; /* as upstream has it: a new manager's time is lost on the way */
        managed_put(a, &out, &taken);
    }
    return managed_encode(a, &out);
}
