/* The verbs. Each runs in the request's fiber and answers once. */
#ifndef CKUBE_APISERVER_HANDLERS_H
#define CKUBE_APISERVER_HANDLERS_H
#include "apiserver/registry.h"

void handle_get(struct api_request *r);
void handle_list(struct api_request *r);
void handle_watch(struct api_request *r);
void handle_create(struct api_request *r);
void handle_update(struct api_request *r);
void handle_patch(struct api_request *r);
void handle_delete(struct api_request *r);
void handle_delete_collection(struct api_request *r);
/* Subresources with bodies of their own kind: scale, binding, eviction, token, ... True when it was one of them. */
bool handle_subresource(struct api_request *r);
/* /api, /apis, /openapi, /version, health: everything that is no resource. False when the path is unknown. */
bool handle_nonresource(struct api_request *r);
bool handle_health(struct api_request *r); /* /healthz, /livez, /readyz and what is below them; false: another path */

/* ---- what several verbs share ---- */

/* The request's body as an object of the type, by its Content-Type; checks kind and apiVersion, field validation (Strict, Warn, Ignore), sets defaults. */
void *body_decode(struct api_request *r, const struct type_desc *type, struct status *reterr);
/* The same from bytes already known to be JSON (a patch's result). What a strict reader has found before: duplicate keys of YAML, a line each, and further errors; NULL: nothing. */
void *body_decode_json(struct api_request *r, const struct type_desc *type, const char *json, size_t len, const char *duplicate, const struct string_list *before, struct status *reterr);
int body_check_media(struct api_request *r, struct status *reterr); /* that the body is of a known media type and not too large: -1 with 415 or 413 */
/* Name and namespace of the body against the URL. */
int body_check_names(struct api_request *r, struct object *obj, struct status *reterr);
/* The first half of it, of what is created in a subresource. */
int body_check_namespace(struct api_request *r, const struct object *obj, struct status *reterr);
/* What only the server sets, of an object that is to be created. Upstream: rest.WipeObjectMetaSystemFields. */
void wipe_system_fields(struct object *obj);
/* Owner references of an object that are there twice go, with a warning: before and after mutating admission. */
void dedup_owner_references(struct api_request *r, struct object *obj, bool after_admission);
/* Create-, Update- or PatchOptions from the query, and the manager's name; 422 for what upstream refuses. The second is for apply patches. */
int read_write_options(struct api_request *r, struct write_options *ret, struct status *reterr);
int read_apply_options(struct api_request *r, struct write_options *ret, struct status *reterr);
/* DeleteOptions as every deletion is held to them; -1 with a 422. Upstream: ValidateDeleteOptions. */
int check_delete_options(struct api_request *r, const struct metav1_DeleteOptions *o, struct status *reterr);

struct apply;
enum patch_kind { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY };
struct patch {
    enum patch_kind kind;
    struct yyjson_val *body;        /* not of an apply */
    struct string_list strict;      /* what a strict reader says of it */
    struct apply *apply;
};
/* The request's patch, by its Content-Type, and its options. */
int patch_read(struct api_request *r, struct patch *p, struct write_options *o, struct status *reterr);
/* `current` (NULL: there is none) as the patch changes it: decoded, defaulted, its name checked, its managed fields set. NULL with the error that upstream gives. */
void *patch_apply(struct api_request *r, const struct patch *p, const struct write_options *o, const struct type_desc *type, void *current, struct status *reterr);

/* Which objects a list or watch wants. */
struct object_filter {
    struct selector labels;
    struct field_selector fields;
    const struct strategy *strategy;
    const char *name;               /* metadata.name=NAME given as a requirement or in the path, or NULL */
    bool any;                       /* everything matches */
};
int filter_from_request(struct api_request *r, struct object_filter *ret, struct status *reterr);
bool filter_matches(struct arena *a, const struct object_filter *f, const void *obj);
/* Of a list of custom objects as they were read: converts them by their webhook and drops those that then do not match. Nothing for all other kinds, which were filtered as they were read. */
int list_convert(struct api_request *r, const struct object_filter *f, struct object_list *list, struct status *reterr);
/* The options of a list, decoded and checked; and the list they ask for, its items without kind and version (NULL with the error). */
int list_check_options(struct api_request *r, struct status *reterr);
struct object_list *list_objects(struct api_request *r, struct status *reterr);
int too_large_version(uint64_t asked, uint64_t now, bool deleting, struct status *reterr); /* the 504 of a revision that is not there yet; -1 */
/* Waits until the store shows what a get, list or watch asks for: the most recent (its resourceVersion is unset), else that revision; 0: whatever is there. */
int read_wait(struct api_request *r, bool most_recent, uint64_t revision, struct status *reterr);
#endif
