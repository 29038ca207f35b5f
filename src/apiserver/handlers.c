/* get, create, update, delete and what they share. Upstream: endpoints/handlers. */
#include "apiserver/handlers.h"
#include <string.h>
#include <strings.h>
#include "api/defaults.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom_conversion.h"
#include "apiserver/managers.h"
#include "apiserver/versions.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/yaml.h"

/* ---- bodies ---- */

static const char *const accepted_media = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

static int content_media(struct api_request *r, enum media *ret, struct status *reterr) {
    const char *type = http_request_header(r->http, "Content-Type");
    size_t len = type ? strcspn(type, ";") : 0;
    while (len && type[len - 1] == ' ') len--;
    if (len == 0 || (len == 16 && strncasecmp(type, "application/json", 16) == 0)) *ret = MEDIA_JSON;
    else if (len == 16 && strncasecmp(type, "application/yaml", 16) == 0) *ret = MEDIA_YAML;
    else if (len == 35 && strncasecmp(type, "application/vnd.kubernetes.protobuf", 35) == 0) *ret = MEDIA_PROTOBUF;
    else return status_set(reterr, 415, REASON_UNSUPPORTED_MEDIA_TYPE, "the body of the request was in an unknown format - accepted media types include: %s", accepted_media);
    return 0;
}

enum { VALIDATE_IGNORE, VALIDATE_WARN, VALIDATE_STRICT };

static int field_validation(struct api_request *r, int *ret, struct status *reterr) {
    const char *v = url_query_get(&r->query, "fieldValidation");
    if (str_empty(v) || str_eq(v, "Warn")) *ret = VALIDATE_WARN;
    else if (str_eq(v, "Ignore")) *ret = VALIDATE_IGNORE;
    else if (str_eq(v, "Strict")) *ret = VALIDATE_STRICT;
    else {
        status_set(reterr, 422, REASON_INVALID, "%sOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"%s\": supported values: \"Ignore\", \"Strict\", \"Warn\"",
                   str_eq(r->verb, "create") ? "Create" : str_eq(r->verb, "patch") ? "Patch" : "Update", v);
        status_details(reterr, "meta.k8s.io", str_eq(r->verb, "create") ? "CreateOptions" : str_eq(r->verb, "patch") ? "PatchOptions" : "UpdateOptions", NULL);
        status_add_cause(reterr, "FieldValueNotSupported", "fieldValidation", "Unsupported value: \"%s\": supported values: \"Ignore\", \"Strict\", \"Warn\"", v);
        return -1;
    }
    return 0;
}

/* The package of upstream's internal type. */
static const char *go_package(const struct type_desc *type) { return type == &autoscalingv1_Scale_desc ? "autoscaling" : "core"; }

static int check_kind(struct api_request *r, const struct type_desc *type, const char *api_version, const char *kind, struct status *reterr) {
    const char *want = type_api_version(r->arena, type);
    if (!str_empty(kind) && !str_eq(kind, type->kind)) {
        if (api_kind_find(*type->group ? type->group : "", type->version, kind) || true)
            return status_bad_request(reterr, "%s in version \"%s\" cannot be handled as a %s: converting (v1.%s) to (%s.%s): unknown conversion", kind, str_or(api_version, want), type->kind, kind, go_package(type), type->kind);
    }
    if (!str_empty(api_version) && !str_eq(api_version, want))
        return status_bad_request(reterr, "the API version in the data (%s) does not match the expected API version (%s)", api_version, want);
    return 0;
}

static int report_strict(struct api_request *r, int validation, const struct string_list *strict, const char *duplicate, const struct type_desc *type, struct status *reterr) {
    struct buf all = BUF_INIT;
    size_t n = 0;
    if (validation == VALIDATE_IGNORE) return 0;
    if (duplicate && validation == VALIDATE_WARN) request_warn(r, "%s", duplicate);
    if (duplicate) buf_printf(&all, "%syaml: unmarshal errors:\n  %s", n++ ? ", " : "", duplicate);
    for (size_t i = 0; i < strict->len; i++) {
        if (validation == VALIDATE_WARN) request_warn(r, "%s", strict->items[i]);
        else buf_printf(&all, "%s%s", n++ ? ", " : "", strict->items[i]);
    }
    int failed = 0;
    if (validation == VALIDATE_STRICT && n)
        failed = status_bad_request(reterr, "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s", type->kind, type->version, type->kind, all.data);
    buf_release(&all);
    return failed;
}

/* A custom object's kind is checked like a field, its version before anything else of it. */
static int check_custom_kind(struct api_request *r, const struct type_desc *type, const struct object *obj, struct status *reterr) {
    const char *want = type_api_version(r->arena, type);
    if (str_empty(obj->kind)) return status_bad_request(reterr, "Object 'Kind' is missing in '%.*s'", (int)MIN(r->http->body_len, (size_t)1024), r->http->body ? r->http->body : "");
    if (!str_eq(obj->apiVersion, want)) return status_bad_request(reterr, "the API version in the data (%s) does not match the expected API version (%s)", str_or(obj->apiVersion, ""), want);
    if (str_eq(obj->kind, type->kind)) return 0;
    struct field_errors errs = field_errors_in(r->arena);
    field_invalid(&errs, FIELD(NULL, "kind"), obj->kind, "must be %s", type->kind);
    return field_errors_status(&errs, type->group, obj->kind, str_or(obj->metadata.name, ""), reterr);
}

void *body_decode_json(struct api_request *r, const struct type_desc *type, const char *json, size_t len, const char *duplicate, struct status *reterr) {
    int validation;
    struct string_list strict = {0};
    struct object *obj = arena_alloc(r->arena, type->size);
    if (field_validation(r, &validation, reterr) != 0) return NULL;
    if (object_decode_json(r->arena, type, obj, json, len, &strict, reterr) != 0) {
        struct status inner = STATUS_INIT;
        status_copy(&inner, reterr);
        status_bad_request(reterr, "%s in version \"%s\" cannot be handled as a %s: %s", type->kind, type->version, type->kind, inner.message);
        status_release(&inner);
        return NULL;
    }
    if (type->flags & TYPE_DOCUMENT) {
        if (report_strict(r, validation, &strict, duplicate, type, reterr) != 0 || check_custom_kind(r, type, obj, reterr) != 0) return NULL;
    } else if (check_kind(r, type, obj->apiVersion, obj->kind, reterr) != 0 || report_strict(r, validation, &strict, duplicate, type, reterr) != 0) return NULL;
    object_set_type_meta(r->arena, type, obj);
    object_set_defaults(r->arena, type, obj);
    return obj;
}

static void *decode_protobuf(struct api_request *r, const struct type_desc *type, struct status *reterr) {
    const char *api_version, *kind;
    struct bytes raw;
    void *obj = arena_alloc(r->arena, type->size);
    if (proto_envelope_open(r->arena, r->http->body, r->http->body_len, &api_version, &kind, &raw, reterr) != 0 || check_kind(r, type, api_version, kind, reterr) != 0 ||
        object_decode_proto(r->arena, type, obj, raw.data, raw.len, reterr) != 0)
        return NULL;
    object_set_type_meta(r->arena, type, obj);
    object_set_defaults(r->arena, type, obj);
    return obj;
}

void *body_decode(struct api_request *r, const struct type_desc *type, struct status *reterr) {
    enum media media;
    if (content_media(r, &media, reterr) != 0) return NULL;
    if (r->http->body_too_large) {
        status_set(reterr, 413, REASON_REQUEST_ENTITY_TOO_LARGE, "Request entity too large: limit is 3145728");
        return NULL;
    }
    if (media == MEDIA_PROTOBUF) return decode_protobuf(r, type, reterr);
    if (media == MEDIA_JSON) return body_decode_json(r, type, r->http->body, r->http->body_len, NULL, reterr);
    _cleanup_buf_ struct buf json = BUF_INIT;
    _cleanup_free_ char *duplicate = NULL;
    if (yaml_to_json(r->http->body, r->http->body_len, &json, &duplicate, reterr) != 0) return NULL;
    return body_decode_json(r, type, json.data, json.len, duplicate, reterr);
}

int body_check_names(struct api_request *r, struct object *obj, struct status *reterr) {
    if (r->rd->namespaced && !str_empty(obj->metadata.namespace) && !str_eq(obj->metadata.namespace, r->namespace))
        return status_bad_request(reterr, "the namespace of the provided object does not match the namespace sent on the request");
    if (r->name && str_empty(obj->metadata.name))
        return status_bad_request(reterr, "the name of the object (%s based on URL) was undeterminable: name must be provided", r->name);
    if (r->name && !str_eq(obj->metadata.name, r->name))
        return status_bad_request(reterr, "the name of the object (%s) does not match the name on the URL (%s)", obj->metadata.name, r->name);
    return 0;
}

/* ---- verbs ---- */

static void fail(struct api_request *r, struct status *s) {
    respond_status(r, s);
    status_release(s);
}

int too_large_version(uint64_t asked, uint64_t now, struct status *reterr) {
    status_set(reterr, 504, REASON_TIMEOUT, "Too large resource version: %llu, current: %llu", (unsigned long long)asked, (unsigned long long)now);
    status_add_cause(reterr, "ResourceVersionTooLarge", NULL, "Too large resource version");
    reterr->retry_after_seconds = 1;
    return -1;
}

int read_wait(struct api_request *r, bool most_recent, uint64_t revision, struct status *reterr) {
    if (most_recent) return store_wait_current(apiserver_store(r->server), reterr);
    if (revision) store_wait_revision(apiserver_store(r->server), revision);
    return 0;
}

void handle_get(struct api_request *r) {
    struct status err = STATUS_INIT;
    struct store_txn *t;
    struct store_view v;
    struct object *obj = NULL;
    uint64_t rv = 0;
    const char *version = url_query_get(&r->query, "resourceVersion");
    if (!str_empty(version) && !str_to_u64(version, &rv)) status_set(&err, 500, NULL, "invalid resource version \"%s\"", version);
    if (err.code || negotiate(r, true, false, &err) != 0 || read_wait(r, str_empty(version), rv, &err) != 0 || store_read_begin(apiserver_store(r->server), &t, &err) != 0) {
        fail(r, &err);
        return;
    }
    bool found = store_get(t, storage_key(r->arena, r->strategy, r->rd->namespaced ? r->namespace : NULL, r->name), &v);
    if (rv > store_txn_revision(t)) too_large_version(rv, store_txn_revision(t), &err);
    else if (found && v.trouble) registry_unreadable(&v, &err);
    else if (found && custom_converts(r->strategy)) {
        if (!(obj = registry_decode(r->arena, r->strategy, &v))) status_internal(&err, "the stored %s \"%s\" cannot be decoded", r->resource, r->name);
    } else if (found) respond_stored(r, 200, r->strategy->type, v.value, v.value_len, v.rv_offset, v.mod_revision);
    else status_not_found(&err, r->group, r->resource, r->name);
    store_read_end(t);
    if (obj && custom_convert(r, r->strategy, &obj, 1, &err) == 0) respond_object(r, 200, r->strategy->type, obj);
    if (err.code) fail(r, &err);
}

/* What a client has no say in when it creates: gone before managed fields look. */
void wipe_system_fields(struct object *obj) {
    obj->metadata.creationTimestamp = obj->metadata.deletionTimestamp = (struct api_time){0};
    obj->metadata.deletionGracePeriodSeconds.has = false;
    obj->metadata.selfLink = obj->metadata.uid = NULL;
}

void handle_create(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct write_options o;
    struct object *obj = NULL;
    if (negotiate(r, true, false, &err) == 0 && read_write_options(r, &o, &err) == 0) obj = body_decode(r, request_type(r), &err);
    if (!obj || body_check_names(r, obj, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    wipe_system_fields(obj);
    dedup_owner_references(r, obj, false);
    request_managed_update(r, &o, request_type(r), NULL, obj);
    obj = storage_version(r, obj);
    if (registry_create(r, r->strategy, obj, &o, &err) != 0) respond_status(r, &err);
    else respond_object(r, 201, r->strategy->type, obj);
}

struct put { void *obj; struct write_options *o; };

static void *put_transform(struct api_request *r, void *current, void *arg, struct status *reterr UNUSED) {
    struct put *p = arg;
    struct object *obj = object_copy(r->arena, request_type(r), p->obj);
    dedup_owner_references(r, obj, false);
    current = request_version(r, current);
    request_managed_update(r, p->o, request_type(r), current, obj);
    return storage_version(r, obj);
}

void handle_update(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct write_options o;
    struct object *obj = NULL;
    void *stored;
    bool created;
    if (negotiate(r, true, false, &err) == 0 && read_write_options(r, &o, &err) == 0) obj = body_decode(r, request_type(r), &err);
    struct put p = {obj, &o};
    if (!obj || body_check_names(r, obj, &err) != 0 ||
        registry_update(r, r->strategy, r->rd->namespaced ? r->namespace : NULL, r->name, put_transform, &p, &o, &stored, &created, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    respond_object(r, created ? 201 : 200, r->strategy->type, stored);
}

/* DeleteOptions come in the body, or as parameters. */
static int delete_options(struct api_request *r, struct metav1_DeleteOptions *o, struct status *reterr) {
    *o = (struct metav1_DeleteOptions){0};
    if (r->http->body_len) {
        struct metav1_DeleteOptions *body;
        enum media media;
        if (content_media(r, &media, reterr) != 0) return -1;
        struct buf json = BUF_INIT;
        int failed = 0;
        body = ARENA_NEW(r->arena, struct metav1_DeleteOptions);
        if (media == MEDIA_YAML) failed = yaml_to_json(r->http->body, r->http->body_len, &json, NULL, reterr);
        else if (media == MEDIA_JSON) buf_append(&json, r->http->body, r->http->body_len);
        else {
            const char *v;
            struct bytes raw;
            failed = proto_envelope_open(r->arena, r->http->body, r->http->body_len, &v, &body->kind, &raw, reterr) != 0 ||
                     object_decode_proto(r->arena, &metav1_DeleteOptions_desc, body, raw.data, raw.len, reterr) != 0;
        }
        if (!failed && media != MEDIA_PROTOBUF) failed = object_decode_json(r->arena, &metav1_DeleteOptions_desc, body, json.data, json.len, NULL, reterr);
        buf_release(&json);
        if (failed) return -1;
        if (!str_empty(body->kind) && !str_eq(body->kind, "DeleteOptions"))
            return status_bad_request(reterr, "no kind \"%s\" is registered for version \"%s\"", body->kind, str_or(body->apiVersion, ""));
        *o = *body;
    } else {
        const char *grace = url_query_get(&r->query, "gracePeriodSeconds"), *policy = url_query_get(&r->query, "propagationPolicy"), *orphan = url_query_get(&r->query, "orphanDependents");
        int64_t n;
        if (!str_empty(grace)) {
            if (!str_to_i64(grace, &n)) return status_bad_request(reterr, "strconv.ParseInt: parsing \"%s\": invalid syntax", grace);
            o->gracePeriodSeconds = (struct opt_int64)OPT(n);
        }
        if (!str_empty(policy)) o->propagationPolicy = policy;
        if (!str_empty(orphan)) o->orphanDependents = (struct opt_bool)OPT(str_eq(orphan, "true") || str_eq(orphan, "1"));
        for (size_t i = 0; i < r->query.len; i++)
            if (str_eq(r->query.items[i].key, "dryRun")) string_list_push(r->arena, &o->dryRun, r->query.items[i].value);
    }
    return 0;
}

int check_delete_options(struct api_request *r, const struct metav1_DeleteOptions *o, struct status *reterr) {
    static const char *const policies[] = {"Background", "Foreground", "Orphan", NULL};
    static const char *const all[] = {"All", NULL};
    struct field_errors errs = field_errors_in(r->arena);
    if (o->orphanDependents.has && o->propagationPolicy)
        field_invalid(&errs, FIELD(NULL, "propagationPolicy"), o->propagationPolicy, "orphanDependents and deletionPropagation cannot be both set");
    if (o->propagationPolicy && !str_in(o->propagationPolicy, policies))
        field_not_supported(&errs, FIELD(NULL, "propagationPolicy"), o->propagationPolicy, (const char *const[]){"Foreground", "Background", "Orphan", "nil", NULL});
    for (size_t i = 0; i < o->dryRun.len; i++)
        if (!str_eq(o->dryRun.items[i], "All")) {
            struct buf given = BUF_INIT;
            for (size_t j = 0; j < o->dryRun.len; j++) buf_printf(&given, "%s\"%s\"", j ? "," : "[", o->dryRun.items[j]);
            field_error_add(&errs, "FieldValueNotSupported", FIELD(NULL, "dryRun"), "Unsupported value: %s]: supported values: \"%s\"", given.data, all[0]);
            buf_release(&given);
            break;
        }
    if (errs.len == 0) return 0;
    return field_errors_status(&errs, "meta.k8s.io", "DeleteOptions", "", reterr);
}

/* Dependents of Jobs are left alone unless one says otherwise. */
static void warn_of_orphans(struct api_request *r, const struct metav1_DeleteOptions *o) {
    if (r->strategy->type != &batchv1_Job_desc || o->orphanDependents.has || o->propagationPolicy) return;
    request_warn(r, "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
}

void handle_delete(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct metav1_DeleteOptions o;
    void *obj;
    bool done;
    bool ready = negotiate(r, true, false, &err) == 0 && delete_options(r, &o, &err) == 0 && check_delete_options(r, &o, &err) == 0;
    if (ready) warn_of_orphans(r, &o);
    if (!ready || registry_delete(r, r->strategy, r->rd->namespaced ? r->namespace : NULL, r->name, &o, &(struct write_options){.dry_run = o.dryRun.len > 0}, &obj, &done, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    struct object *gone = obj;
    if (!done || (r->strategy->flags & RETURN_DELETED_OBJECT)) respond_object(r, 200, r->strategy->type, obj);
    else respond_success(r, 200, str_empty(r->group) ? NULL : r->group, r->resource, gone->metadata.name, gone->metadata.uid);
}

/* The objects as they are listed, which is how they are answered too. */
struct collected { struct arena *a; const struct object_filter *filter; struct object_list *list; struct status *err; };

static bool collect(void *arg, const struct store_view *v) {
    struct collected *c = arg;
    const struct type_desc *type = c->filter->strategy->type;
    if (v->trouble) {
        registry_unreadable(v, c->err);
        return false;
    }
    struct object *obj = registry_decode(c->a, c->filter->strategy, v);
    if (!obj || (!custom_converts(c->filter->strategy) && !filter_matches(c->a, c->filter, obj))) return true;
    memcpy(arena_list_push(c->a, &c->list->items.items, &c->list->items.len, type->size), obj, type->size);
    return true;
}

void handle_delete_collection(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct metav1_DeleteOptions o;
    struct object_filter filter;
    struct store_txn *t;
    if (negotiate(r, true, false, &err) != 0 || delete_options(r, &o, &err) != 0 || check_delete_options(r, &o, &err) != 0 || filter_from_request(r, &filter, &err) != 0 ||
        store_read_begin(apiserver_store(r->server), &t, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    warn_of_orphans(r, &o);
    const struct type_desc *list_type = stored_list_type(r);
    struct object_list *list = object_new(r->arena, list_type);
    struct collected c = {r->arena, &filter, list, &err};
    list->items.items = arena_list_alloc(r->arena, 0, r->strategy->type->size);
    list->metadata.resourceVersion = arena_printf(r->arena, "%llu", (unsigned long long)store_txn_revision(t));
    store_range(t, storage_key(r->arena, r->strategy, r->rd->namespaced ? r->namespace : NULL, NULL), NULL, collect, &c);
    store_read_end(t);
    if (err.code || list_convert(r, &filter, list, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    for (size_t i = 0; i < list->items.len; i++) {
        struct object *obj = (void *)((char *)list->items.items + i * r->strategy->type->size);
        obj->kind = obj->apiVersion = NULL;
    }
    for (size_t i = 0; i < list->items.len; i++) {
        const struct object *obj = (const void *)((const char *)list->items.items + i * r->strategy->type->size);
        void *gone;
        bool done;
        if (registry_delete(r, r->strategy, obj->metadata.namespace, obj->metadata.name, &o, &(struct write_options){.dry_run = o.dryRun.len > 0}, &gone, &done, &err) == 0) continue;
        if (err.code != 404) {
            respond_status(r, &err);
            return;
        }
        status_release(&err);
        err = (struct status)STATUS_INIT;
    }
    respond_object(r, 200, list_type, list);
}
