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

/* Each parameter of a media type is `; NAME=VALUE`; one `;` may end them. */
static bool parameters_fit(const char *p) {
    while (*p == ';') {
        p++;
        p += strspn(p, " \t");
        if (!*p) return true;
        size_t name = strcspn(p, "=; \t,"), value;
        if (!name || p[name] != '=') return false;
        p += name + 1;
        if (*p == '"') {
            for (p++; *p && *p != '"'; p++)
                if (*p == '\\' && p[1]) p++;
            if (*p++ != '"') return false;
        } else {
            value = strcspn(p, "; \t,=\"");
            if (!value) return false;
            p += value;
        }
        p += strspn(p, " \t");
    }
    return !*p;
}

static int content_media(struct api_request *r, enum media *ret, struct status *reterr) {
    const char *type = http_request_header(r->http, "Content-Type");
    size_t len = type ? strcspn(type, ";") : 0;
    bool bad = type && !parameters_fit(type + len);
    while (len && type[len - 1] == ' ') len--;
    if (!bad && str_empty(type)) *ret = MEDIA_JSON;
    else if (bad || len == 0) return status_set(reterr, 415, REASON_UNSUPPORTED_MEDIA_TYPE, "the body of the request was in an unknown format - accepted media types include: %s", accepted_media);
    else if ( (len == 16 && strncasecmp(type, "application/json", 16) == 0)) *ret = MEDIA_JSON;
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
static const char *go_package(struct arena *a, const struct type_desc *type) {
    static const char *const own[][2] = {{"", "core"}, {"events.k8s.io", "core"}, {"internal.apiserver.k8s.io", "apiserverinternal"}};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (strcmp(own[i][0], type->group) == 0) return own[i][1];
    return arena_strndup(a, type->group, strcspn(type->group, "."));
}

/* Two groups are served by servers of their own, which know no other kinds. */
static const char *own_scheme(const struct type_desc *type) {
    return strcmp(type->group, "apiregistration.k8s.io") == 0 ? "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28"
           : strcmp(type->group, "apiextensions.k8s.io") == 0 ? "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55"
                                                              : NULL;
}

/* The version of an apiVersion, which is what errors about decoding name. */
static const char *version_part(const char *api_version) {
    const char *slash = strchr(api_version, '/');
    return slash ? slash + 1 : api_version;
}

/* What kinds there are in a version: the API's own, their lists, and those that every version has. */
static bool is_registered(const char *api_version, const char *kind) {
    static const char *const everywhere[] = {"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "GetOptions", "ListOptions", "WatchEvent", NULL};
    static const char *const unversioned[] = {"Status", "APIVersions", "APIGroupList", "APIGroup", "APIResourceList", NULL};
    bool version = false;
    for (size_t i = 0; i < api_kinds_len; i++) {
        const struct type_desc *t = api_kinds[i];
        size_t group = strlen(t->group);
        bool same = group ? strncmp(api_version, t->group, group) == 0 && api_version[group] == '/' && strcmp(api_version + group + 1, t->version) == 0 : strcmp(api_version, t->version) == 0;
        if (same && str_eq(t->kind, kind)) return true;
        version |= same;
    }
    return version && (str_in(kind, everywhere) || (str_in(kind, unversioned) && str_eq(api_version, "v1")));
}

/* The body's first 30 bytes, as errors about what is no object end: in hexadecimal unless it looks like JSON. */
static const char *body_excerpt(struct api_request *r, const char *data, size_t len) {
    enum { SHOWN = 30 };
    size_t n = MIN(len, (size_t)SHOWN);
    struct buf out = BUF_INIT;
    if (len == 0) return "<empty>";
    bool plain = *data == '{';
    for (size_t i = 0; i < n; i++) buf_printf(&out, plain ? "%c" : "%02x", (unsigned char)data[i]);
    if (len > n) buf_append_str(&out, " ...");
    const char *text = arena_strdup(r->arena, buf_cstr(&out));
    buf_release(&out);
    return text;
}

static int unrecognized(struct api_request *r, const struct type_desc *type, const char *why, const char *data, size_t len, struct status *reterr) {
    return status_bad_request(reterr, "the object provided is unrecognized (must be of type %s): %s (%s)", type->kind, why, body_excerpt(r, data, len));
}

/* That there is such a kind at all. */
static int check_registered(struct api_request *r, const struct type_desc *type, const char *api_version, const char *kind, struct status *reterr) {
    const char *has = str_empty(api_version) ? type_api_version(r->arena, type) : api_version, *is = str_empty(kind) ? type->kind : kind, *slash = strchr(has, '/');
    if (slash && strchr(slash + 1, '/')) return unrecognized(r, type, arena_printf(r->arena, "unexpected GroupVersion string: %s", has), r->http->body, r->http->body_len, reterr);
    bool elsewhere = own_scheme(type) && slash && strncmp(has, type->group, strlen(type->group)) != 0;
    if (own_scheme(type) && !slash) elsewhere = !str_in(is, (const char *const[]){"Status", "APIVersions", "APIGroupList", "APIGroup", "APIResourceList", NULL});
    if (!elsewhere && is_registered(has, is)) return 0;
    return status_bad_request(reterr, "%s in version \"%s\" cannot be handled as a %s: no kind \"%s\" is registered for version \"%s\" in scheme \"%s\"", is, version_part(has), type->kind, is, has,
                              str_or(own_scheme(type), "pkg/api/legacyscheme/scheme.go:30"));
}

/* That the body is of the kind and version that are served here. Upstream: the decoder, its conversion, and what the handlers check after. */
static int check_kind(struct api_request *r, const struct type_desc *type, const char *api_version, const char *kind, struct status *reterr) {
    const char *want = type_api_version(r->arena, type), *has = str_empty(api_version) ? want : api_version, *is = str_empty(kind) ? type->kind : kind;
    if (str_eq(has, want) && str_eq(is, type->kind)) return 0;
    if (type == &policyv1_Eviction_desc && str_eq(has, "policy/v1beta1") && str_eq(is, type->kind)) return 0; /* the one kind that is still read in a version that is not served */
    if (check_registered(r, type, api_version, kind, reterr) != 0) return -1;
    if (!str_eq(is, type->kind))
        return status_bad_request(reterr, "%s in version \"%s\" cannot be handled as a %s: converting (%s.%s) to (%s.%s): unknown conversion", is, version_part(has), type->kind, version_part(has), is,
                                  go_package(r->arena, type), type->kind);
    return status_bad_request(reterr, "the API version in the data (%s) does not match the expected API version (%s)", has, want);
}

static int report_strict(struct api_request *r, int validation, const struct string_list *before, const struct string_list *strict, const char *duplicate, const struct type_desc *type, struct status *reterr) {
    struct buf all = BUF_INIT;
    size_t n = 0;
    if (validation == VALIDATE_IGNORE) return 0;
    if (duplicate && validation == VALIDATE_WARN) request_warn_lines(r, duplicate);
    if (duplicate) buf_printf(&all, "%syaml: unmarshal errors:\n  %s", n++ ? ", " : "", duplicate);
    for (size_t i = 0; i < before->len + strict->len; i++) {
        const char *text = i < before->len ? before->items[i] : strict->items[i - before->len];
        if (validation == VALIDATE_WARN) request_warn(r, "%s", text);
        else buf_printf(&all, "%s%s", n++ ? ", " : "", text);
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

void *body_decode_json(struct api_request *r, const struct type_desc *type, const char *json, size_t len, const char *duplicate, const struct string_list *before, struct status *reterr) {
    int validation;
    static const struct string_list none;
    if (!before) before = &none;
    struct string_list strict = {0};
    struct object *obj = arena_alloc(r->arena, type->size);
    if (field_validation(r, &validation, reterr) != 0) return NULL;
    if (object_decode_json(r->arena, type, obj, json, len, &strict, reterr) != 0) {
        if (!(type->flags & TYPE_DOCUMENT) && check_registered(r, type, obj->apiVersion, obj->kind, reterr) != 0) return NULL; /* of a kind that there is not no field is looked at */
        struct status inner = STATUS_INIT;
        status_copy(&inner, reterr);
        status_bad_request(reterr, "%s in version \"%s\" cannot be handled as a %s: %s", type->kind, type->version, type->kind, inner.message);
        status_release(&inner);
        return NULL;
    }
    if (type->flags & TYPE_DOCUMENT) {
        if (report_strict(r, validation, before, &strict, duplicate, type, reterr) != 0 || check_custom_kind(r, type, obj, reterr) != 0) return NULL;
    } else if (check_kind(r, type, obj->apiVersion, obj->kind, reterr) != 0 || report_strict(r, validation, before, &strict, duplicate, type, reterr) != 0) return NULL;
    object_set_type_meta(r->arena, type, obj);
    object_set_defaults(r->arena, type, obj);
    return obj;
}

static void *decode_protobuf(struct api_request *r, const struct type_desc *type, struct status *reterr) {
    const char *api_version, *kind;
    struct bytes raw;
    void *obj = arena_alloc(r->arena, type->size);
    if (proto_envelope_open(r->arena, r->http->body, r->http->body_len, &api_version, &kind, &raw, reterr) != 0) {
        const char *why = arena_strdup(r->arena, status_message(reterr));
        unrecognized(r, type, why, r->http->body, r->http->body_len, reterr);
        return NULL;
    }
    if (check_kind(r, type, api_version, kind, reterr) != 0 ||
        object_decode_proto(r->arena, type, obj, raw.data, raw.len, reterr) != 0)
        return NULL;
    object_set_type_meta(r->arena, type, obj);
    object_set_defaults(r->arena, type, obj);
    return obj;
}

/* What is no JSON, or no object, or says no kind and version as strings, is not recognized at all; custom objects' readers have words of their own. */
static int check_shape(struct api_request *r, const struct type_desc *type, const char *json, size_t len, struct status *reterr) {
    struct status err = STATUS_INIT;
    const char *why = NULL;
    if (type->flags & TYPE_DOCUMENT) return 0;
    size_t i = 0;
    while (i < len && strchr(" \t\r\n", json[i]) && json[i]) i++;
    if (i == len) why = "unexpected end of JSON input";
    else if (json[i] != '{' && !(len - i >= 4 && memcmp(json + i, "null", 4) == 0)) {
        yyjson_doc *doc = json_parse_in(r->arena, json, len, JSON_NUMBERS_RAW, &err);
        yyjson_val *root = yyjson_doc_get_root(doc);
        why = !doc ? arena_strdup(r->arena, status_message(&err))
                   : arena_printf(r->arena, "json: cannot unmarshal %s into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
                                  yyjson_is_arr(root) ? "array" : yyjson_is_bool(root) ? "bool" : yyjson_is_str(root) ? "string" : "number");
    }
    status_release(&err);
    if (!why) return 0;
    return unrecognized(r, type, arena_printf(r->arena, "couldn't get version/kind; json parse error: %s", why), r->http->body, r->http->body_len, reterr);
}

int body_check_media(struct api_request *r, struct status *reterr) {
    enum media media;
    if (content_media(r, &media, reterr) != 0) return -1;
    return r->http->body_too_large ? status_set(reterr, 413, REASON_REQUEST_ENTITY_TOO_LARGE, "Request entity too large: limit is 3145728") : 0;
}

void *body_decode(struct api_request *r, const struct type_desc *type, struct status *reterr) {
    enum media media;
    if (content_media(r, &media, reterr) != 0) return NULL;
    if (r->http->body_too_large) {
        status_set(reterr, 413, REASON_REQUEST_ENTITY_TOO_LARGE, "Request entity too large: limit is 3145728");
        return NULL;
    }
    if (media == MEDIA_PROTOBUF) return decode_protobuf(r, type, reterr);
    if (media == MEDIA_JSON) {
        if (check_shape(r, type, r->http->body, r->http->body_len, reterr) != 0) return NULL;
        return body_decode_json(r, type, r->http->body, r->http->body_len, NULL, NULL, reterr);
    }
    _cleanup_buf_ struct buf json = BUF_INIT;
    _cleanup_free_ char *duplicate = NULL;
    if (yaml_to_json(r->http->body, r->http->body_len, &json, &duplicate, reterr) != 0) {
        static const char prefix[] = "error converting YAML to JSON: ";
        const char *why = arena_strdup(r->arena, status_message(reterr));
        unrecognized(r, type, str_has_prefix(why, prefix) ? why + strlen(prefix) : why, r->http->body, r->http->body_len, reterr);
        return NULL;
    }
    if (check_shape(r, type, json.data, json.len, reterr) != 0) return NULL;
    return body_decode_json(r, type, json.data, json.len, duplicate, NULL, reterr);
}

int body_check_namespace(struct api_request *r, const struct object *obj, struct status *reterr) {
    if (!str_empty(obj->metadata.namespace) && !str_eq(obj->metadata.namespace, r->namespace))
        return status_bad_request(reterr, "the namespace of the provided object does not match the namespace sent on the request");
    return 0;
}

int body_check_names(struct api_request *r, struct object *obj, struct status *reterr) {
    if (r->rd->namespaced && body_check_namespace(r, obj, reterr) != 0) return -1;
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

int too_large_version(uint64_t asked, uint64_t now, bool deleting, struct status *reterr) {
    status_set(reterr, 504, REASON_TIMEOUT, "Timeout: Too large resource version: %llu, current: %llu", (unsigned long long)asked, (unsigned long long)now);
    status_add_cause(reterr, "ResourceVersionTooLarge", NULL, "Too large resource version");
    reterr->has_details = true;
    if (!deleting) reterr->retry_after_seconds = 1; /* a reader may ask again */
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
    if (!str_empty(url_query_get(&r->query, "export")) && request_flag(r, "export")) {
        if (negotiate(r, true, false, &err) == 0) status_bad_request(&err, "the export parameter, deprecated since v1.14, is no longer supported");
    } else if (!str_empty(version) && !str_to_u64(version, &rv)) status_set(&err, 500, NULL, "invalid resource version \"%s\"", version);
    if (err.code || negotiate(r, true, false, &err) != 0 || read_wait(r, str_empty(version), rv, &err) != 0 || store_read_begin(apiserver_store(r->server), &t, &err) != 0) {
        fail(r, &err);
        return;
    }
    bool found = store_get(t, storage_key(r->arena, r->strategy, r->rd->namespaced ? r->namespace : NULL, r->name), &v);
    if (rv > store_txn_revision(t)) too_large_version(rv, store_txn_revision(t), false, &err);
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

/* DeleteOptions out of a body. */
static int decode_delete_options(struct api_request *r, struct metav1_DeleteOptions *o, struct status *reterr) {
    enum media media;
    if (content_media(r, &media, reterr) != 0) return -1;
    _cleanup_buf_ struct buf json = BUF_INIT;
    const char *version = NULL;
    struct bytes raw;
    if (media == MEDIA_PROTOBUF) {
        if (proto_envelope_open(r->arena, r->http->body, r->http->body_len, &version, &o->kind, &raw, reterr) != 0 || object_decode_proto(r->arena, &metav1_DeleteOptions_desc, o, raw.data, raw.len, reterr) != 0) return -1;
        o->apiVersion = version;
    } else {
        if (media == MEDIA_JSON) buf_append(&json, r->http->body, r->http->body_len);
        else if (yaml_to_json(r->http->body, r->http->body_len, &json, NULL, reterr) != 0) return -1;
        if (object_decode_json(r->arena, &metav1_DeleteOptions_desc, o, json.data, json.len, NULL, reterr) != 0) return -1;
    }
    if (!str_empty(o->kind) && !str_eq(o->kind, "DeleteOptions"))
        return status_bad_request(reterr, "no kind \"%s\" is registered for version \"%s\" in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"", o->kind,
                                  str_empty(o->apiVersion) ? "meta.k8s.io/v1" : o->apiVersion);
    return 0;
}

/* DeleteOptions come in the body, or as parameters. */
static int delete_options(struct api_request *r, struct metav1_DeleteOptions *o, struct status *reterr) {
    const char *grace = url_query_get(&r->query, "gracePeriodSeconds"), *policy = url_query_get(&r->query, "propagationPolicy");
    int64_t n;
    *o = (struct metav1_DeleteOptions){0};
    if (r->http->body_too_large) return status_set(reterr, 413, REASON_REQUEST_ENTITY_TOO_LARGE, "Request entity too large: limit is 3145728");
    if (r->http->body_len) return decode_delete_options(r, o, reterr);
    if (!str_empty(grace)) {
        if (!str_to_i64(grace, &n)) return status_bad_request(reterr, "strconv.ParseInt: parsing \"%s\": invalid syntax", grace);
        o->gracePeriodSeconds = (struct opt_int64)OPT(n);
    }
    o->propagationPolicy = policy; /* an empty one is none of those that there are */
    if (url_query_has(&r->query, "orphanDependents")) o->orphanDependents = (struct opt_bool)OPT(request_flag(r, "orphanDependents"));
    for (size_t i = 0; i < r->query.len; i++)
        if (str_eq(r->query.items[i].key, "dryRun")) string_list_push(r->arena, &o->dryRun, r->query.items[i].value);
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
            for (size_t j = 0; j < o->dryRun.len; j++) {
                buf_append_char(&given, j ? ',' : '[');
                json_write_string(&given, o->dryRun.items[j]);
            }
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

/* The objects go as they are listed, by all the options of a list, and the list is the answer. */
void handle_delete_collection(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct metav1_DeleteOptions o;
    struct object_list *list = NULL;
    const struct type_desc *list_type = stored_list_type(r);
    bool ready = negotiate(r, true, false, &err) == 0 && list_check_options(r, &err) == 0 && delete_options(r, &o, &err) == 0 && check_delete_options(r, &o, &err) == 0;
    if (ready) warn_of_orphans(r, &o);
    if (!ready || !(list = list_objects(r, &err))) {
        respond_status(r, &err);
        return;
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
