/* Create, update, delete as upstream's generic registry does them (apiserver/pkg/registry), over the strategies and the store. */
#include "apiserver/registry.h"
#include <stdio.h>
#include <string.h>
#include "api/custom_object.h"
#include "api/defaults.h"
#include "api/managedfields.h"
#include "api/names.h"
#include "api/time.h"
#include "api/validation/meta.h"
#include "apiserver/admission.h"
#include "apiserver/apiserver.h"
#include "apiserver/authorization.h"
#include "apiserver/custom_conversion.h"
#include "apiserver/fence.h"
#include "apiserver/handlers.h"
#include "base/fiber.h"
#include "base/str.h"

enum { NAME_SUFFIX_LEN = 5, NAME_GENERATED_MAX = 63, CREATE_TRIES = 8, UPDATE_TRIES = 100, TRANSACT_TRIES = 100, EVENT_TTL_S = 3600 };

char *storage_key(struct arena *a, const struct strategy *st, const char *namespace, const char *name) {
    return ARENA_CONCAT(a, st->storage_prefix ? st->storage_prefix : "/registry/", st->storage_prefix ? NULL : st->resource, "/", namespace, namespace ? "/" : NULL, name);
}

void *registry_decode(struct arena *a, const struct strategy *st, const struct store_view *view) {
    struct object *obj = arena_alloc(a, st->type->size);
    if (object_decode_json(a, st->type, obj, view->value, view->value_len, NULL, NULL) != 0) return NULL;
    obj->metadata.resourceVersion = arena_u64(a, view->mod_revision);
    return obj;
}

int registry_unreadable(const struct store_view *v, struct status *reterr) {
    return status_internal(reterr, "unable to transform key \"%.*s\": %s", (int)v->key_len, v->key, v->trouble);
}

int registry_get_stored(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, void **ret, uint64_t *ret_revision, bool *ret_stale, struct status *reterr) {
    struct store_txn *t;
    struct store_view v;
    if (store_wait_current(apiserver_store(r->server), reterr) != 0 || store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    struct object *obj = NULL;
    int found = store_get(t, storage_key(r->arena, st, namespace, name), &v);
    if (found && v.trouble) {
        registry_unreadable(&v, reterr);
        store_read_end(t);
        return -1;
    }
    if (found) {
        obj = registry_decode(r->arena, st, &v);
        if (ret_revision) *ret_revision = v.mod_revision;
        if (ret_stale) *ret_stale = v.stale || (obj && custom_is_stale(st, obj));
    }
    store_read_end(t);
    if (!found) return status_not_found(reterr, st->group, st->resource, name);
    if (!obj) return status_internal(reterr, "the stored %s \"%s\" cannot be decoded", st->resource, name);
    *ret = obj;
    return custom_convert(r, st, (struct object **)ret, 1, reterr);
}

int registry_get(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, void **ret, uint64_t *ret_revision, struct status *reterr) {
    return registry_get_stored(r, st, namespace, name, ret, ret_revision, NULL, reterr);
}

int registry_find(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, void **ret, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (registry_get(r, st, namespace, name, ret, NULL, &err) == 0) return 1;
    *ret = NULL;
    if (status_is(&err, 404)) return 0;
    status_copy(reterr, &err);
    return -1;
}

/* ---- writing ---- */

static bool lost(const struct store_result *res) { return res->outcome == STORE_CONFLICT && res->conflict_op > 0; }

/* Writes the object's operation, and with it what the token takes or gives back; lost() says afterwards that the latter was not to be had any more. */
static void transact(struct api_request *r, const struct strategy *st, void *token, const struct object *obj, const struct store_op *op, struct store_result *ret) {
    for (int tries = 0; tries < TRANSACT_TRIES; tries++) {
        struct store_op_list ops = {0};
        *ret = (struct store_result){0};
        *LIST_PUSH(r->arena, &ops) = *op;
        int made = token ? st->transact(r, token, obj, &ops, &ret->error) : 0;
        if (made != 0) {
            ret->outcome = made < 0 ? STORE_FAILED : STORE_CONFLICT;
            ret->conflict_op = 1;
            return;
        }
        fenced_write(r, ops.items, ops.len, ret);
        if (!lost(ret)) return;
    }
}

static void write_with(struct api_request *r, const struct strategy *st, void *token, const struct object *obj, const struct store_op *op, struct store_result *ret) {
    struct fiber_mutex *lock = token && st->transact_lock ? st->transact_lock(r, token) : NULL;
    if (lock) fiber_mutex_lock(lock);
    transact(r, st, token, obj, op, ret);
    if (lock) fiber_mutex_unlock(lock);
}

/* A custom object as it will be in the store, and itself as it will be read from there when no webhook has a say in that. NULL with an error. */
static struct object *custom_stored(struct api_request *r, const struct strategy *st, struct object *obj, struct status *reterr) {
    object_set_type_meta(r->arena, st->type, obj);
    if (custom_converts(st)) return custom_to_storage(r, st, obj, reterr);
    return custom_object_round_trip(r->arena, (struct custom_object *)(void *)obj, reterr) == 0 ? obj : NULL;
}

static int store_put(struct api_request *r, const struct strategy *st, void *token, struct object *obj, int64_t expect, struct store_result *ret) {
    *ret = (struct store_result){0};
    struct object *stored = st->type->flags & TYPE_DOCUMENT ? custom_stored(r, st, obj, &ret->error) : obj;
    if (!stored) {
        ret->outcome = STORE_FAILED;
        return -1;
    }
    const struct type_desc *type = stored == obj ? st->type : &custom_type_of(st->type)->storage->desc;
    _cleanup_buf_ struct buf out = BUF_INIT;
    size_t rv_offset;
    object_set_type_meta(r->arena, type, stored);
    object_set_defaults(r->arena, type, stored); /* upstream defaults what it reads from its store: a strategy may have left something to default */
    object_drop_empty(type, stored);
    object_encode_stored(type, stored, &out, &rv_offset);
    int event_ttl = apiserver_options(r->server)->event_ttl_s;
    struct store_op op = {.key = storage_key(r->arena, st, r->rd && !r->rd->namespaced ? NULL : obj->metadata.namespace, obj->metadata.name),
                          .expect_mod_revision = expect, .value = out.data, .value_len = out.len, .rv_offset = (uint32_t)rv_offset, .ttl_s = st->type == &corev1_Event_desc ? (event_ttl ? event_ttl : EVENT_TTL_S) : 0};
    write_with(r, st, token, obj, &op, ret);
    if (ret->outcome != STORE_OK) return 0;
    stored->metadata.resourceVersion = arena_u64(r->arena, ret->revision);
    if (stored == obj) return 0;
    object_copy_into(r->arena, st->type, obj, stored); /* what is answered is what the webhook makes of what is stored */
    if (custom_convert(r, st, &obj, 1, &ret->error) != 0) ret->outcome = STORE_FAILED;
    return 0;
}

static int failed(struct store_result *res, struct status *reterr) {
    status_copy(reterr, &res->error);
    status_release(&res->error);
    return -1;
}

static int invalid(const struct strategy *st, const struct field_errors *errs, const char *name, struct status *reterr) {
    return field_errors_status(errs, st->type->group, st->type->kind, name, reterr);
}

static void generate_name(struct api_request *r, const struct strategy *st, struct object *obj) {
    if (st->flags & NAMES_AS_GIVEN) {
        obj->metadata.name = obj->metadata.generateName;
        return;
    }
    char suffix[NAME_SUFFIX_LEN + 1];
    env_name_suffix(apiserver_env(r->server), suffix, NAME_SUFFIX_LEN);
    int keep = NAME_GENERATED_MAX - NAME_SUFFIX_LEN;
    obj->metadata.name = ARENA_CONCAT(r->arena, arena_strndup(r->arena, obj->metadata.generateName, strnlen(obj->metadata.generateName, (size_t)keep)), suffix);
}

static void fill_system_fields(struct api_request *r, struct object *obj) {
    char uuid[37];
    env_uuid(apiserver_env(r->server), uuid);
    obj->metadata.uid = arena_strdup(r->arena, uuid);
    obj->metadata.creationTimestamp = time_from_s(env_now_s(apiserver_env(r->server)));
    obj->metadata.selfLink = NULL;
}

/* The name that error texts give: generateName's objects have none yet when they are refused for it. */
static const char *name_for_errors(const struct object *obj) { return obj->metadata.name; }

static bool has_generic_meta(const struct strategy *st) { return (st->type->flags & TYPE_DOCUMENT) || (st->flags & META_GENERIC); }

static int validate_create(struct api_request *r, const struct strategy *st, struct object *obj, struct status *reterr) {
    struct field_errors errs = field_errors_in(r->arena);
    const struct field_path *at = FIELD(NULL, "metadata");
    bool namespaced = r->rd ? r->rd->namespaced : true;
    struct metav1_ObjectMeta seen = obj->metadata;
    if (st->flags & META_PLAIN_PREFIX) seen.generateName = NULL;
    if (has_generic_meta(st)) validate_object_meta_generic(&seen, namespaced, st->validate_name, at, &errs);
    else if (!(st->flags & META_LATE)) validate_object_meta(&seen, namespaced, st->validate_name, at, &errs);
    if (st->validate_in_context) st->validate_in_context(r, obj, NULL, &errs);
    if (st->validate) st->validate(obj, &errs);
    if (!errs.len) validate_object_meta_generic(&obj->metadata, namespaced, object_name_path_segment, at, &errs);
    return errs.len ? invalid(st, &errs, name_for_errors(obj), reterr) : 0;
}

/* What admission sees: the object in its namespace, without what only the server sets. */
static void begin_create(struct api_request *r, struct object *obj) {
    struct metav1_ObjectMeta *m = &obj->metadata;
    m->uid = NULL;
    m->deletionTimestamp.set = false;
    m->deletionGracePeriodSeconds.has = false;
    m->namespace = r->rd && r->rd->namespaced ? r->namespace : NULL;
}

static void complete_create(struct api_request *r, const struct strategy *st, struct object *obj) {
    if (st->flags & HAS_GENERATION) obj->metadata.generation = 1;
    fill_system_fields(r, obj);
    if (str_empty(obj->metadata.name) && !str_empty(obj->metadata.generateName)) generate_name(r, st, obj);
}

/* What stands in the way of a creation is named, and whether it is on its way out. */
static int already_exists(struct api_request *r, const struct strategy *st, const struct object *obj, struct status *reterr) {
    void *there;
    status_already_exists(reterr, st->group, st->resource, obj->metadata.name);
    if (!str_empty(obj->metadata.generateName)) { /* even where a name was given too */
        const char *message = arena_strdup(r->arena, status_message(reterr));
        status_set(reterr, 409, REASON_ALREADY_EXISTS, "%s, the server was not able to generate a unique name for the object", message);
        status_details(reterr, st->group, st->resource, obj->metadata.name);
        reterr->retry_after_seconds = 1;
    }
    if (registry_get(r, st, obj->metadata.namespace, obj->metadata.name, &there, NULL, NULL) != 0 || !((struct object *)there)->metadata.deletionTimestamp.set) return -1;
    const char *message = arena_strdup(r->arena, status_message(reterr));
    status_set(reterr, 409, REASON_ALREADY_EXISTS, "object is being deleted: %s", message);
    status_details(reterr, st->group, st->resource, obj->metadata.name);
    return -1;
}

enum { WRITE_AGAIN = 1 };

/* What a dry run answers has been through the codec, as if it were read again. */
static void as_if_stored(struct api_request *r, const struct strategy *st, struct object *obj) {
    if (st->type->flags & TYPE_DOCUMENT) return;
    object_set_defaults(r->arena, st->type, obj);
}

/* A version is refused when all else is right. What is no number is none. */
static int check_unversioned(const struct object *obj, struct status *reterr) {
    uint64_t version;
    bool has = str_to_u64(str_or(obj->metadata.resourceVersion, ""), &version) && version;
    return has ? status_set(reterr, 500, NULL, "resourceVersion should not be set on objects to be created") : 0;
}

static int store_new(struct api_request *r, const struct strategy *st, void *token, struct object *obj, bool generated, const struct write_options *o, struct status *reterr) {
    if (!o->dry_run && check_unversioned(obj, reterr) != 0) return -1;
    for (int tries = 0;; tries++) {
        struct store_result res;
        void *there;
        obj->metadata.resourceVersion = NULL;
        if (o->dry_run) {
            if (registry_get(r, st, obj->metadata.namespace, obj->metadata.name, &there, NULL, NULL) == 0)
                return already_exists(r, st, obj, reterr);
            as_if_stored(r, st, obj);
            return 0;
        }
        store_put(r, st, token, obj, 0, &res);
        if (res.outcome == STORE_OK) return 0;
        if (lost(&res)) return WRITE_AGAIN;
        if (res.outcome == STORE_CONFLICT && generated && tries < CREATE_TRIES) {
            generate_name(r, st, obj);
            continue;
        }
        if (res.outcome == STORE_FAILED) return failed(&res, reterr);
        return already_exists(r, st, obj, reterr);
    }
}

/* From the completed object to the stored one. */
static int check_and_store(struct admission_attributes *a, void *token, struct object *obj, bool generated, struct status *reterr) {
    struct api_request *r = a->r;
    const struct strategy *st = a->st;
    const struct write_options *o = a->o;
    if (st->prepare_create) st->prepare_create(r, obj);
    if (validate_create(r, st, obj, reterr) != 0) return -1;
    if (st->warnings) st->warnings(r, obj, NULL);
    if (st->canonicalize) st->canonicalize(obj);
    if (!o->no_admission && admission_validate(a, reterr) != 0) return -1;
    return store_new(r, st, token, obj, generated, o, reterr);
}

/* What another writer takes between our looking and writing is chosen anew, from the object as it was. */
static int allocate_and_store(struct admission_attributes *a, struct object *obj, bool generated, struct status *reterr) {
    struct api_request *r = a->r;
    const struct strategy *st = a->st;
    const void *before = object_copy(r->arena, st->type, obj);
    for (int tries = 0; tries < UPDATE_TRIES; tries++) {
        if (tries) {
            object_copy_into(r->arena, st->type, obj, before);
            admission_object_changed(a);
        }
        void *token = st->begin(r, obj, NULL, a->o, reterr);
        int result = token ? check_and_store(a, token, obj, generated, reterr) : -1;
        if (result != WRITE_AGAIN) return result;
    }
    return status_conflict(reterr, st->group, st->resource, str_or(obj->metadata.name, ""), "too many others allocate at once; please try again");
}

int registry_create(struct api_request *r, const struct strategy *st, void *object, const struct write_options *o, struct status *reterr) {
    struct object *obj = object;
    bool generated = str_empty(obj->metadata.name) && !str_empty(obj->metadata.generateName);
    struct admission_attributes a;
    struct admission_charges charges = {0};
    if (st->guard && st->guard(r, obj, NULL, reterr) != 0) return -1;
    begin_create(r, obj);
    admission_attributes_init(&a, r, st, ADMIT_CREATE, obj, NULL, o);
    a.charges = &charges;
    if (!o->no_admission && admission_mutate(&a, reterr) != 0) return -1;
    dedup_owner_references(r, obj, true);
    complete_create(r, st, obj);
    return st->begin ? allocate_and_store(&a, obj, generated, reterr) : check_and_store(&a, NULL, obj, generated, reterr);
}

/* What a client cannot change, whatever it sends. */
static void keep_system_fields(struct object *obj, const struct object *old) {
    struct metav1_ObjectMeta *m = &obj->metadata;
    m->creationTimestamp = old->metadata.creationTimestamp;
    if (old->metadata.deletionTimestamp.set) m->deletionTimestamp = old->metadata.deletionTimestamp;
    if (old->metadata.deletionGracePeriodSeconds.has && !m->deletionGracePeriodSeconds.has) m->deletionGracePeriodSeconds = old->metadata.deletionGracePeriodSeconds;
    if (str_empty(m->uid)) m->uid = old->metadata.uid;
    m->generation = old->metadata.generation;
}

static int check_revision(const struct strategy *st, const struct object *obj, uint64_t current, struct status *reterr) {
    uint64_t rv;
    const char *text = obj->metadata.resourceVersion;
    if (str_empty(text) || str_eq(text, "0")) return 0;
    if (!str_to_u64(text, &rv)) return status_set(reterr, 500, NULL, "strconv.ParseUint: parsing \"%s\": invalid syntax", text);
    if (rv != current)
        return status_conflict(reterr, st->group, st->resource, obj->metadata.name, "the object has been modified; please apply your changes to the latest version and try again");
    return 0;
}

static bool spec_changed(const struct strategy *st, const void *a, const void *b) {
    for (size_t i = 0; i < st->type->fields_len; i++) {
        const struct field_desc *f = &st->type->fields[i];
        if (strcmp(f->name, "spec") != 0 || f->kind != FK_STRUCT) continue;
        const void *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
        if (f->shape == SHAPE_POINTER) {
            x = *(const void *const *)x;
            y = *(const void *const *)y;
            if (!x || !y) return x != y;
        }
        return !object_equal(f->type, x, y);
    }
    return false;
}

/* Metadata is looked at by the generic code and by the kinds' own again: the causes of a refusal show it. */
static void validate_meta_update(struct api_request *r, const struct strategy *st, const struct object *obj, const struct object *old, bool status, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "metadata");
    bool namespaced = r->rd ? r->rd->namespaced : true;
    unsigned flags = status && !(st->flags & META_STATUS_ALIKE) ? st->flags & META_LATE : st->flags;
    bool generic = has_generic_meta(st);
    validate_object_meta_generic(&obj->metadata, namespaced, object_name_path_segment, at, errs);
    validate_object_meta_update(&obj->metadata, &old->metadata, at, errs);
    if (!(flags & (META_ONLY | META_LATE))) {
        validate_object_meta_update(&obj->metadata, &old->metadata, at, errs);
        if (!generic) validate_finalizer_domains(&obj->metadata.finalizers, FIELD(at, "finalizers"), errs);
    }
    struct metav1_ObjectMeta seen = obj->metadata;
    if (flags & META_PLAIN_PREFIX) seen.generateName = NULL;
    int wholes = !!(flags & (META_TWICE | META_ONLY)) + !!(flags & META_THRICE);
    while (wholes-- > 0) (generic ? validate_object_meta_generic : validate_object_meta)(&seen, namespaced, st->validate_name, at, errs);
}

static int before_update(struct admission_attributes *a, struct object *obj, struct object *old, struct status *reterr) {
    struct api_request *r = a->r;
    const struct strategy *st = a->st;
    const struct write_options *o = a->o;
    struct field_errors errs = field_errors_in(r->arena);
    bool status = str_eq(o->subresource, "status");
    keep_system_fields(obj, old);
    if (r->rd && r->rd->namespaced) obj->metadata.namespace = old->metadata.namespace;
    else obj->metadata.namespace = NULL;
    if (status) {
        if (st->prepare_status_update) st->prepare_status_update(r, obj, old);
    } else {
        if (st->prepare_update) st->prepare_update(r, obj, old);
        bool annotations = st->type == &appsv1_Deployment_desc && !string_map_equal(&obj->metadata.annotations, &old->metadata.annotations);
        if ((st->flags & HAS_GENERATION) && (annotations || spec_changed(st, obj, old))) obj->metadata.generation = old->metadata.generation + 1;
    }
    validate_meta_update(r, st, obj, old, status, &errs);
    if (st->validate_in_context) st->validate_in_context(r, obj, old, &errs);
    if (status && st->validate_status_update) st->validate_status_update(obj, old, &errs);
    else if (!status && st->validate_update) st->validate_update(obj, old, &errs);
    if (errs.len) return invalid(st, &errs, obj->metadata.name, reterr);
    if (!status && st->warnings) st->warnings(r, obj, old);
    if (status && st->status_warnings) st->status_warnings(r, obj, old);
    if (st->canonicalize) st->canonicalize(obj);
    return o->no_admission ? 0 : admission_validate(a, reterr);
}

/* An object whose last finalizer has gone while it is being deleted goes with this update. */
static bool completes_deletion(const struct strategy *st, const struct object *obj) {
    if (!obj->metadata.deletionTimestamp.set || obj->metadata.finalizers.len) return false;
    if (st->type == &corev1_Namespace_desc) return ((const struct corev1_Namespace *)(const void *)obj)->spec.finalizers.len == 0;
    return !obj->metadata.deletionGracePeriodSeconds.has || obj->metadata.deletionGracePeriodSeconds.value == 0;
}

/* `stored` is the object as it is in the store: what that holds is given back. */
static void delete_now(struct api_request *r, const struct strategy *st, const struct object *stored, int64_t expect, struct store_result *ret) {
    struct store_op op = {.key = storage_key(r->arena, st, r->rd && !r->rd->namespaced ? NULL : stored->metadata.namespace, stored->metadata.name), .expect_mod_revision = expect};
    write_with(r, st, st->release ? st->release(r, stored) : NULL, stored, &op, ret);
}

/* Who creates by an update or apply must be allowed to create. */
static int may_create(struct api_request *r, struct status *reterr) {
    const char *verb = r->verb;
    if (!str_eq(verb, "update") && !str_eq(verb, "patch")) return 0;
    r->verb = "create";
    int failed = authorize(r, reterr);
    r->verb = verb;
    return failed;
}

int registry_uid_conflict(struct api_request *r, const struct strategy *st, const char *wanted, const char *is, const char *name, const struct write_options *o, struct status *reterr) {
    const char *key = storage_key(r->arena, st, r->rd && !r->rd->namespaced ? NULL : r->namespace, name);
    if (o->dry_run && str_has_prefix(key, "/registry/")) key += strlen("/registry"); /* only what really writes knows of the prefix */
    return status_conflict(reterr, st->group, st->resource, name,
                           arena_printf(r->arena, "StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %s, UID in object meta: %s", key, wanted, is));
}

static int create_by_update(struct api_request *r, const struct strategy *st, const char *name, registry_transform transform, void *arg, const struct write_options *o, void **ret,
                            bool *ret_created, struct status *reterr) {
    if (!(st->flags & CREATE_ON_UPDATE) && !o->force_allow_create) return status_not_found(reterr, st->group, st->resource, name);
    struct object *obj = transform(r, NULL, arg, reterr);
    if (!obj || (!str_eq(r->verb, "create") && authorize_create(r, reterr) != 0)) return -1;
    if (!str_empty(obj->metadata.uid) && !o->force_allow_create)
        return registry_uid_conflict(r, st, obj->metadata.uid, "", name, o, reterr);
    obj->metadata.resourceVersion = NULL;
    if (may_create(r, reterr) != 0 || registry_create(r, st, obj, o, reterr) != 0) return -1;
    *ret = obj;
    *ret_created = true;
    return 0;
}

/* What is there at present, and what earlier tries have been charged. */
struct present { struct object *old; uint64_t revision; bool stale; struct admission_charges *charges; };

static int check_and_update(struct admission_attributes *a, void *token, struct object *obj, const struct present *p, struct status *reterr) {
    struct api_request *r = a->r;
    const struct strategy *st = a->st;
    const struct write_options *o = a->o;
    struct store_result res;
    struct object *old = p->old;
    if (before_update(a, obj, old, reterr) != 0) return -1;
    obj->metadata.resourceVersion = old->metadata.resourceVersion;
    managed_fields_ignore_times(st->type, old, obj);
    if (o->dry_run || (!p->stale && object_equal(st->type, obj, old) && !completes_deletion(st, obj))) return 0;
    obj->metadata.selfLink = NULL; /* what is stored has none */
    if (completes_deletion(st, obj)) delete_now(r, st, old, (int64_t)p->revision, &res);
    else store_put(r, st, token, obj, (int64_t)p->revision, &res);
    if (res.outcome == STORE_FAILED) return failed(&res, reterr);
    return res.outcome == STORE_OK ? 0 : WRITE_AGAIN;
}

/* One try. */
static int update_once(struct api_request *r, const struct strategy *st, struct object *obj, const struct present *p, const struct write_options *o, struct status *reterr) {
    void *token = NULL;
    struct object *old = p->old;
    struct admission_attributes a;
    admission_attributes_init(&a, r, st, ADMIT_UPDATE, obj, old, o);
    a.charges = p->charges;
    if (!o->no_admission && admission_mutate(&a, reterr) != 0) return -1;
    dedup_owner_references(r, obj, true);
    if (st->begin && !o->subresource && !(token = st->begin(r, obj, old, o, reterr))) return -1;
    return check_and_update(&a, token, obj, p, reterr);
}

int registry_update(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, registry_transform transform, void *arg,
                    const struct write_options *o, void **ret, bool *ret_created, struct status *reterr) {
    struct admission_charges charges = {0};
    *ret_created = false;
    for (int tries = 0; tries < UPDATE_TRIES; tries++) {
        void *current;
        uint64_t revision;
        bool stale;
        struct status err = STATUS_INIT;
        if (registry_get_stored(r, st, namespace, name, &current, &revision, &stale, &err) != 0) {
            bool missing = err.code == 404;
            if (!missing) status_copy(reterr, &err);
            status_release(&err);
            return missing ? create_by_update(r, st, name, transform, arg, o, ret, ret_created, reterr) : -1;
        }
        struct object *old = current, *obj = transform(r, object_copy(r->arena, st->type, current), arg, reterr);
        if (!obj) return -1;
        if (str_eq(r->verb, "update") && !str_empty(obj->metadata.uid) && !str_eq(obj->metadata.uid, old->metadata.uid))
            return registry_uid_conflict(r, st, obj->metadata.uid, old->metadata.uid, name, o, reterr);
        if (st->guard && st->guard(r, obj, old, reterr) != 0) return -1;
        bool conditional = !str_empty(obj->metadata.resourceVersion) && !str_eq(obj->metadata.resourceVersion, "0");
        if (!conditional && (st->flags & NO_UNCONDITIONAL_UPDATE)) {
            struct field_errors errs = field_errors_in(r->arena);
            field_invalid_int(&errs, FIELD(FIELD(NULL, "metadata"), "resourceVersion"), 0, "must be specified for an update");
            field_errors_status(&errs, st->group, st->resource, name, reterr);
            return -1;
        }
        if (check_revision(st, obj, revision, reterr) != 0) return -1;
        *ret = obj;
        int result = update_once(r, st, obj, &(struct present){old, revision, stale, &charges}, o, reterr);
        if (result != WRITE_AGAIN) return result;
        /* It changed meanwhile: once more from what is there now. A PUT with a resourceVersion fails then; a patch is applied anew. */
    }
    return status_conflict(reterr, st->group, st->resource, name, "the object has been modified; please apply your changes to the latest version and try again");
}

/* ---- deleting ---- */

static int check_preconditions(const struct strategy *st, const struct object *obj, const struct metav1_DeleteOptions *o, struct status *reterr) {
    const struct metav1_Preconditions *p = o->preconditions;
    if (!p) return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    if (p->uid && !str_eq(p->uid, obj->metadata.uid))
        return status_conflict(reterr, st->group, st->type->kind, obj->metadata.name,
                               arena_printf(a, "the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", p->uid, obj->metadata.uid));
    if (p->resourceVersion && !str_eq(p->resourceVersion, obj->metadata.resourceVersion))
        return status_conflict(reterr, st->group, st->type->kind, obj->metadata.name,
                               arena_printf(a, "the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", p->resourceVersion, obj->metadata.resourceVersion));
    return 0;
}

static void set_finalizer(struct arena *a, struct object *obj, const char *name, bool on) {
    struct string_list keep = {0};
    for (size_t i = 0; i < obj->metadata.finalizers.len; i++)
        if (!str_eq(obj->metadata.finalizers.items[i], name)) string_list_push(a, &keep, obj->metadata.finalizers.items[i]);
    if (on) string_list_push(a, &keep, name);
    obj->metadata.finalizers = keep;
}

/* Upstream's deletionFinalizersForGarbageCollection: what the options, or what the object already has, ask of the collector. */
static void garbage_finalizers(struct api_request *r, const struct strategy *st, struct object *obj, const struct metav1_DeleteOptions *o) {
    bool orphan = string_list_has(&obj->metadata.finalizers, "orphan"), foreground = string_list_has(&obj->metadata.finalizers, "foregroundDeletion");
    if (o->orphanDependents.has) {
        orphan = o->orphanDependents.value;
        foreground = false;
    } else if (o->propagationPolicy) {
        orphan = str_eq(o->propagationPolicy, "Orphan");
        foreground = str_eq(o->propagationPolicy, "Foreground");
    } else if (!orphan && !foreground && (st->flags & ORPHAN_BY_DEFAULT)) orphan = true;
    if (st->type == &corev1_Event_desc) orphan = foreground = false; /* Events are not collected */
    set_finalizer(r->arena, obj, "orphan", orphan);
    set_finalizer(r->arena, obj, "foregroundDeletion", foreground);
}

/* Sets the deletion timestamp and grace; a shorter grace shortens, nothing lengthens. */
static void mark_deleted(struct api_request *r, const struct strategy *st, struct object *obj, int64_t grace) {
    struct metav1_ObjectMeta *m = &obj->metadata;
    int64_t now = env_now_s(apiserver_env(r->server));
    if (m->deletionTimestamp.set) {
        if (m->deletionGracePeriodSeconds.has && grace >= m->deletionGracePeriodSeconds.value) return;
        m->deletionTimestamp = time_from_s(m->deletionTimestamp.sec - m->deletionGracePeriodSeconds.value + grace);
    } else {
        m->deletionTimestamp = time_from_s(now + grace);
        if (m->generation > 0 || (st->flags & HAS_GENERATION)) m->generation++;
    }
    if (st->type != &corev1_Namespace_desc) m->deletionGracePeriodSeconds = (struct opt_int64)OPT(grace);
}

int registry_delete(struct api_request *r, const struct strategy *st, const char *namespace, const char *name, const struct metav1_DeleteOptions *options, const struct write_options *how,
                    void **ret, bool *ret_done, struct status *reterr) {
    for (int tries = 0; tries < UPDATE_TRIES; tries++) {
        void *current;
        uint64_t revision;
        struct store_result res;
        if (registry_get(r, st, namespace, name, &current, &revision, reterr) != 0) return -1;
        struct object *old = current, *obj = object_copy(r->arena, st->type, current);
        if (check_preconditions(st, obj, options, reterr) != 0) return -1;
        if (st->check_delete && st->check_delete(r, obj, reterr) != 0) return -1;
        struct admission_attributes a;
        admission_attributes_init(&a, r, st, ADMIT_DELETE, NULL, old, how);
        if (!how->no_admission && (admission_mutate(&a, reterr) != 0 || admission_validate(&a, reterr) != 0)) return -1;
        if (st->begin_delete && !obj->metadata.deletionTimestamp.set) {
            st->begin_delete(r, obj);
            *ret = obj;
            *ret_done = false;
            if (how->dry_run) return 0;
            store_put(r, st, NULL, obj, (int64_t)revision, &res);
            if (res.outcome == STORE_OK) return 0;
            if (res.outcome == STORE_FAILED) return failed(&res, reterr);
            continue;
        }
        int64_t grace = !options->gracePeriodSeconds.has ? -1 : options->gracePeriodSeconds.value < 0 ? 1 : options->gracePeriodSeconds.value;
        bool graceful = st->check_graceful_delete && st->check_graceful_delete(r, obj, &grace);
        garbage_finalizers(r, st, obj, options);
        bool stays = obj->metadata.finalizers.len > 0 || (graceful && grace > 0) || (st->type == &corev1_Namespace_desc && ((struct corev1_Namespace *)(void *)obj)->spec.finalizers.len > 0);
        if (stays) {
            mark_deleted(r, st, obj, graceful ? grace : 0);
            if (st->type == &corev1_Namespace_desc) ((struct corev1_Namespace *)(void *)obj)->status.phase = "Terminating";
        } else if (graceful || st->check_graceful_delete) mark_deleted(r, st, obj, 0);
        *ret = obj;
        *ret_done = !stays;
        if (how->dry_run) return 0;
        if (stays && object_equal(st->type, obj, old)) return 0;
        if (stays) store_put(r, st, NULL, obj, (int64_t)revision, &res);
        else delete_now(r, st, old, (int64_t)revision, &res);
        if (res.outcome == STORE_OK) return 0;
        if (res.outcome == STORE_FAILED) return failed(&res, reterr);
    }
    return status_conflict(reterr, st->group, st->resource, name, "the object has been modified; please apply your changes to the latest version and try again");
}
