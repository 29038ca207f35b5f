/* Lists of managers' entries: what managedfields.c, managed_apply.c and managed_scale.c share; nobody else includes it. */
#ifndef CKUBE_API_MANAGED_ENTRIES_H
#define CKUBE_API_MANAGED_ENTRIES_H
#include "api/managedfields.h"

#define OPERATION_APPLY "Apply"
#define OPERATION_UPDATE "Update"

bool managed_same(const struct managed_entry *a, const struct managed_entry *b); /* the same identity */
const char *managed_id(struct arena *a, const struct managed_entry *e);          /* the identity as upstream's map key */
struct managed_entry *managed_find(const struct managed *m, const struct managed_entry *like);
struct managed_entry *managed_put(struct arena *a, struct managed *m, const struct managed_entry *e); /* replaces the one of that identity */
void managed_remove_empty(struct managed *m);
struct managed managed_copy(struct arena *a, const struct managed *m);
void managed_set(struct managed_entry *e, struct field_set set);
/* The identity under which this write is recorded. */
struct managed_entry managed_self(const struct field_manager *m, const char *operation);
const char *managed_kind_text(const struct field_manager *m); /* "apps/v1, Kind=Deployment" */
const char *managed_object_text(const struct field_manager *m, const struct value *config); /* "namespace/name; apps/v1, Kind=Deployment" */

struct field_set managed_filter(const struct field_manager *m, const struct field_set *s); /* without what the resource resets */
struct field_set managed_strip(struct arena *a, const struct field_set *s);                /* without names, uid and the like */
/* The schema of a version of the kind; an object in another version. False: no such version. */
bool managed_schema(const struct field_manager *m, const char *api_version, struct schema_ref *ret);
bool managed_convert(const struct field_manager *m, const struct value *v, const char *from, const char *to, struct value *ret);

/* What differs between two objects in each version that some manager's entry is in. */
struct version_diff { const char *version; struct comparison diff; struct field_set changed; /* modified and added */ };
struct version_diffs { struct version_diff *items; size_t len; };
/* The difference in a version, made when it is first asked for: objects are in m's own. NULL with an error, or without one if there is no such version. */
const struct version_diff *managed_diff(const struct field_manager *m, struct version_diffs *diffs, const char *version, const struct value *live, const struct value *now, struct status *reterr);

/* Entries as the type is today; those of unknown versions are left out. */
void managed_reconcile(const struct field_manager *m, struct managed *managed);
#endif
