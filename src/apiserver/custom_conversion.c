#include "apiserver/custom_conversion.h"
#include <pthread.h>
#include <string.h>
#include "api/validation/meta.h"
#include "api/value.h"
#include "apiserver/apiserver.h"
#include "apiserver/service_client.h"
#include "base/fiber.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

enum { BATCH_OBJECTS = 500, BATCH_BYTES = 4 << 20, UUID_LEN = 37, CACHE_OBJECTS = 2048, CACHE_BYTES = 16 << 20 };

bool custom_converts(const struct strategy *st) { return st->custom && custom_type_of(st->type)->converts; }

bool custom_is_stale(const struct strategy *st, const struct object *obj) {
    const struct custom_type *t = custom_type_of(st->type);
    return t && !str_eq(obj->apiVersion, t->storage->api_version);
}

/* ---- the review ---- */

/* One question: `kind` names what was asked in its errors, as upstream does by the first object. */
struct review {
    struct api_request *r;
    const struct custom_resource *custom;
    const struct custom_type *to;
    struct custom_object **objs;
    size_t len;
    const char *uid, *version, *kind;
};

static int failed(const struct review *v, struct status *reterr, const char *what) {
    return status_set(reterr, 500, NULL, "conversion webhook for %s failed: %s", v->kind, what);
}

static const char *review_version(const struct custom_resource *c) {
    const struct string_list *versions = &c->crd->spec.conversion->webhook->conversionReviewVersions;
    for (size_t i = 0; i < versions->len; i++)
        if (str_eq(versions->items[i], "v1") || str_eq(versions->items[i], "v1beta1")) return versions->items[i];
    return NULL;
}

/* Upstream's GroupVersionKind.String(). */
static const char *kind_text(struct arena *a, const char *api_version, const char *kind) {
    const char *slash = strchr(str_or(api_version, ""), '/');
    return arena_printf(a, "%s%s, Kind=%s", slash ? "" : "/", str_or(api_version, ""), str_or(kind, ""));
}

static void put_review(const struct review *v, struct buf *out) {
    buf_printf(out, "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/%s\",\"request\":{\"uid\":\"%s\",\"desiredAPIVersion\":\"%s\",\"objects\":[", v->version, v->uid, v->to->api_version);
    for (size_t i = 0; i < v->len; i++) {
        if (i) buf_append_char(out, ',');
        custom_object_encode(v->objs[i], v->objs[i]->type->api_version, out, NULL);
    }
    buf_append_str(out, "]},\"response\":{\"uid\":\"\",\"convertedObjects\":null,\"result\":{\"metadata\":{}}}}");
}

static int locate(const struct review *v, struct service_target *t, const char **ret_url, struct status *reterr) {
    struct arena *a = v->r->arena;
    const struct apiextensionsv1_WebhookClientConfig *client = v->custom->crd->spec.conversion->webhook->clientConfig;
    const struct apiextensionsv1_ServiceReference *s = client ? client->service : NULL;
    int port = s && s->port.has ? s->port.value : 443;
    *ret_url = client && client->url ? client->url : s ? arena_printf(a, "https://%s.%s.svc:%d%s", s->name, s->namespace, port, str_or(s->path, "")) : "";
    if (client && client->url) return service_of_url(v->r, client->url, t, reterr);
    if (!s) return status_bad_request(reterr, "webhook configuration must have either service or URL");
    if (service_resolve(v->r, s->namespace, s->name, port, t, reterr) != 0) return -1;
    if (s->path) t->path = s->path;
    return 0;
}

static int post(const struct review *v, struct buf *answer, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    static const struct bytes none = {0};
    const struct apiextensionsv1_WebhookClientConfig *client = v->custom->crd->spec.conversion->webhook->clientConfig;
    struct service_target t;
    const char *url;
    put_review(v, &body);
    if (locate(v, &t, &url, &err) == 0 && service_post(v->r, &t, client ? &client->caBundle : &none, "timeout=30s", &body, CONVERSION_TIMEOUT_MS, answer, &err) == 0) return 0;
    if (str_has_prefix(status_message(&err), "an error on the server")) return failed(v, reterr, status_message(&err)); /* it did answer */
    return failed(v, reterr, arena_printf(v->r->arena, "Post \"%s?timeout=30s\": %s", url, status_message(&err)));
}

/* ---- the answer ---- */

static const char *text_at(yyjson_val *v, const char *name) { return str_or(yyjson_get_str(yyjson_obj_get(v, name)), ""); }

static const char *go_type(yyjson_val *v) {
    if (yyjson_is_obj(v)) return "map[string]interface {}";
    if (yyjson_is_arr(v)) return "[]interface {}";
    return yyjson_is_str(v) ? "string" : yyjson_is_bool(v) ? "bool" : yyjson_is_int(v) ? "int64" : yyjson_is_real(v) ? "float64" : "<nil>";
}

/* The converted objects, or -1. v1beta1 had nothing that tells whose answer it is. */
static int open_answer(const struct review *v, yyjson_val *root, yyjson_val **ret, struct status *reterr) {
    struct arena *a = v->r->arena;
    yyjson_val *response = yyjson_obj_get(root, "response"), *result = yyjson_obj_get(response, "result");
    const char *want = "apiextensions.k8s.io/v1, Kind=ConversionReview", *got = kind_text(a, text_at(root, "apiVersion"), text_at(root, "kind"));
    bool v1 = strcmp(v->version, "v1") == 0;
    if (v1 && strcmp(got, want) != 0) return failed(v, reterr, arena_printf(a, "expected webhook response of %s, got %s", want, got));
    if (!yyjson_is_obj(response)) return failed(v, reterr, "no response provided");
    if (v1 && strcmp(text_at(response, "uid"), v->uid) != 0) return failed(v, reterr, arena_printf(a, "expected response.uid=\"%s\", got %s", v->uid, go_quote(a, text_at(response, "uid"))));
    if (strcmp(text_at(result, "status"), "Success") != 0) {
        const char *message = text_at(result, "message");
        return failed(v, reterr, *message ? message : arena_printf(a, "response.result.status was '%s', not 'Success'", text_at(result, "status")));
    }
    *ret = yyjson_obj_get(response, "convertedObjects");
    size_t n = yyjson_arr_size(*ret);
    if (n != v->len) return status_set(reterr, 500, NULL, "conversion webhook for %s returned %zu objects, expected %zu", v->kind, n, v->len);
    return 0;
}

/* Upstream's error list as one text. */
static const char *aggregate(struct arena *a, const struct field_errors *errs) {
    const char *text = "";
    for (size_t i = 0; i < errs->len; i++) text = arena_printf(a, "%s%s%s: %s", text, i ? ", " : "", errs->items[i].field, errs->items[i].detail);
    return errs->len > 1 ? arena_printf(a, "[%s]", text) : text;
}

/* Labels or annotations as the webhook left them. NULL, or what is wrong with them. */
static const char *take_strings(struct arena *a, yyjson_val *meta, const char *name, struct string_map *map) {
    yyjson_val *from = yyjson_obj_get(meta, name), *key, *value;
    struct string_map now = {0};
    size_t i, n;
    if (from && !yyjson_is_null(from) && !yyjson_is_obj(from)) return arena_printf(a, "invalid metadata.%s of type %s in converted object", name, go_type(from));
    yyjson_obj_foreach(from, i, n, key, value) {
        if (!yyjson_is_str(value)) return arena_printf(a, "metadata.%s[%s] must be a string, but is %s in converted object", name, yyjson_get_str(key), go_type(value));
        string_map_set(a, &now, arena_strdup(a, yyjson_get_str(key)), arena_strdup(a, yyjson_get_str(value)));
    }
    if (!string_map_equal(&now, map)) {
        struct field_errors errs = field_errors_in(a);
        bool labels = strcmp(name, "labels") == 0;
        (labels ? validate_labels : validate_annotations)(&now, FIELD(FIELD(NULL, "metadata"), labels ? "labels" : "annotation"), &errs);
        if (errs.len) return aggregate(a, &errs);
    }
    *map = now;
    return NULL;
}

static const char *identity_differs(struct arena *a, const struct custom_object *obj, yyjson_val *got) {
    const struct { const char *what, *had, *has; } rows[] = {{"name", obj->metadata.name, "name"}, {"namespace", obj->metadata.namespace, "namespace"}, {"UID", obj->metadata.uid, "uid"}};
    yyjson_val *meta = yyjson_obj_get(got, "metadata");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(str_or(rows[i].had, ""), text_at(meta, rows[i].has)) != 0)
            return arena_printf(a, "must have the same %s: %s != %s", rows[i].what, str_or(rows[i].had, ""), text_at(meta, rows[i].has));
    return NULL;
}

/* Upstream words the failures of one object and of one in a list differently. */
static int wrong_object(const struct review *v, size_t i, const char *why, struct status *reterr) {
    if (v->len == 1) return status_set(reterr, 500, NULL, "conversion webhook for %s returned invalid object: %s", v->kind, why);
    return status_set(reterr, 500, NULL, "conversion webhook for %s returned invalid converted object at index %zu: %s", v->kind, i, why);
}

static int wrong_at(const struct review *v, size_t i, const char *why, struct status *reterr) {
    return status_set(reterr, 500, NULL, "conversion webhook for %s returned invalid %sobject at index %zu: %s", v->kind, v->len == 1 ? "" : "converted ", i, why);
}

static int wrong_metadata(const struct review *v, size_t i, const char *why, struct status *reterr) {
    if (v->len == 1) return status_set(reterr, 500, NULL, "conversion webhook for %s returned invalid metadata: %s", v->kind, why);
    return status_set(reterr, 500, NULL, "conversion webhook for %s returned invalid metadata in object at index %zu: %s", v->kind, i, why);
}

static int take_object(const struct review *v, size_t i, yyjson_val *got, struct status *reterr) {
    struct arena *a = v->r->arena;
    struct custom_object *obj = v->objs[i];
    yyjson_val *meta = yyjson_obj_get(got, "metadata");
    if (!yyjson_is_obj(got) || !*text_at(got, "kind")) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        json_write_value(&text, got);
        return status_set(reterr, 500, NULL, "%sObject 'Kind' is missing in '%s'", v->len == 1 ? "" : arena_printf(a, "conversion webhook for %s returned invalid converted object at index %zu: ", v->kind, i), buf_cstr(&text));
    }
    if (strcmp(text_at(got, "apiVersion"), v->to->api_version) != 0) return wrong_at(v, i, arena_printf(a, "invalid groupVersion (expected %s, received %s)", v->to->api_version, text_at(got, "apiVersion")), reterr);
    if (strcmp(text_at(got, "kind"), v->to->desc.kind) != 0) return wrong_at(v, i, arena_printf(a, "invalid kind (expected %s, received %s)", v->to->desc.kind, text_at(got, "kind")), reterr);
    const char *why = identity_differs(a, obj, got);
    if (why) return wrong_object(v, i, why, reterr);
    why = !meta ? "missing metadata in converted object" : !yyjson_is_obj(meta) ? arena_printf(a, "invalid metadata of type %s in converted object", go_type(meta)) : NULL;
    if (!why) why = take_strings(a, meta, "labels", &obj->metadata.labels);
    if (!why) why = take_strings(a, meta, "annotations", &obj->metadata.annotations);
    if (why) return wrong_metadata(v, i, why, reterr);
    return custom_object_become(a, obj, v->to, got, reterr);
}

static int ask(struct review *v, struct status *reterr) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    char uid[UUID_LEN];
    yyjson_val *objects = NULL;
    env_uuid(apiserver_env(v->r->server), uid);
    v->uid = uid;
    v->version = review_version(v->custom);
    if (!v->version) return status_set(reterr, 500, NULL, "no supported conversion review versions");
    if (post(v, &answer, reterr) != 0) return -1;
    yyjson_doc *doc = json_parse_in(v->r->arena, buf_cstr(&answer), answer.len, 0, &err);
    if (!doc) return failed(v, reterr, arena_printf(v->r->arena, "couldn't get version/kind; json parse error: %s", status_message(&err)));
    if (open_answer(v, yyjson_doc_get_root(doc), &objects, reterr) != 0) return -1;
    for (size_t i = 0; i < v->len; i++)
        if (take_object(v, i, yyjson_arr_get(objects, i), reterr) != 0) return -1;
    return 0;
}

/* ---- which are to be sent ---- */

static bool has_version(const struct custom_type *t, const char *api_version) {
    for (size_t i = 0; t->versions[i]; i++)
        if (str_eq(t->versions[i]->api_version, api_version)) return true;
    return false;
}

static int convert_to(struct api_request *r, const struct custom_resource *custom, const struct custom_type *to, struct object **objs, size_t n, struct status *reterr) {
    struct custom_object **batch = arena_calloc(r->arena, MIN(n, (size_t)BATCH_OBJECTS), sizeof(*batch));
    struct review v = {.r = r, .custom = custom, .to = to, .objs = batch};
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        struct custom_object *obj = (struct custom_object *)(void *)objs[i];
        if (!str_eq(obj->apiVersion, to->api_version)) {
            if (!has_version(to, obj->apiVersion)) return status_set(reterr, 500, NULL, "request to convert CR from an invalid group/version: %s", str_or(obj->apiVersion, ""));
            if (!v.len) v.kind = kind_text(r->arena, obj->apiVersion, to->desc.kind);
            batch[v.len++] = obj;
            bytes += obj->body.len;
        }
        if (!v.len || (i + 1 < n && v.len < BATCH_OBJECTS && bytes < BATCH_BYTES)) continue;
        if (ask(&v, reterr) != 0) return -1;
        v.len = bytes = 0;
    }
    return 0;
}

int custom_convert(struct api_request *r, const struct strategy *st, struct object **objs, size_t n, struct status *reterr) {
    return custom_converts(st) && n ? convert_to(r, st->custom, custom_type_of(st->type), objs, n, reterr) : 0;
}

struct object *custom_to_storage(struct api_request *r, const struct strategy *st, struct object *obj, struct status *reterr) {
    const struct custom_type *t = custom_type_of(st->type);
    if (!custom_converts(st) || t->storage == t) return obj;
    struct object *copy = object_copy(r->arena, st->type, obj);
    return convert_to(r, st->custom, t->storage, &copy, 1, reterr) == 0 ? copy : NULL;
}

/* ---- what several watches want ---- */

struct kept { struct kept *next; struct arena *arena; struct custom_object *obj; size_t bytes; char key[]; };
struct conversion_cache {
    struct fiber_mutex asking;
    pthread_mutex_t mutex;       /* of the rest */
    struct map *by_key;
    struct kept *first, *last;   /* oldest first */
    size_t len, bytes;
    uint64_t failures_ns;        /* when the last question failed, and how */
    struct status failure;
};

struct conversion_cache *conversion_cache_new(void) {
    struct conversion_cache *c = calloc(1, sizeof(*c));
    CHECK(c);
    fiber_mutex_init(&c->asking);
    pthread_mutex_init(&c->mutex, NULL);
    c->by_key = map_new();
    return c;
}

static void drop_oldest(struct conversion_cache *c) {
    struct kept *k = c->first;
    c->first = k->next;
    if (!c->first) c->last = NULL;
    c->len--;
    c->bytes -= k->bytes;
    map_del(c->by_key, k->key);
    arena_free(k->arena);
    free(k);
}

void conversion_cache_free(struct conversion_cache *c) {
    if (!c) return;
    while (c->first) drop_oldest(c);
    map_free(c->by_key);
    status_release(&c->failure);
    fiber_mutex_destroy(&c->asking);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

static const char *item_key(struct arena *a, const struct conversion_item *item) { return arena_printf(a, "%s@%llu", item->key, (unsigned long long)item->revision); }

static void keep(struct conversion_cache *c, const char *key, const struct object *obj) {
    struct kept *k;
    const struct custom_object *from = (const struct custom_object *)(const void *)obj;
    if (map_has(c->by_key, key)) return;
    k = calloc(1, sizeof(*k) + strlen(key) + 1);
    CHECK(k);
    strcpy(k->key, key);
    k->arena = arena_new();
    k->obj = object_copy(k->arena, &from->type->desc, obj);
    k->bytes = from->body.len;
    if (c->last) c->last->next = k;
    else c->first = k;
    c->last = k;
    c->len++;
    c->bytes += k->bytes;
    map_put(c->by_key, key, k);
    while (c->len > CACHE_OBJECTS || (c->bytes > CACHE_BYTES && c->len > 1)) drop_oldest(c);
}

/* What is known becomes so; returns how many are left, and puts them first in `left`. */
static size_t take_known(struct conversion_cache *c, struct arena *a, const struct custom_type *to, struct conversion_item **items, size_t n, struct conversion_item **left) {
    size_t rest = 0;
    pthread_mutex_lock(&c->mutex);
    for (size_t i = 0; i < n; i++) {
        struct kept *k = map_get(c->by_key, item_key(a, items[i]));
        if (k) object_copy_into(a, &to->desc, items[i]->obj, k->obj);
        else left[rest++] = items[i];
    }
    pthread_mutex_unlock(&c->mutex);
    return rest;
}

static int ask_and_keep(struct api_request *r, const struct strategy *st, struct conversion_cache *c, struct conversion_item **items, size_t n, struct status *reterr) {
    struct object **objs = arena_calloc(r->arena, n, sizeof(*objs));
    _cleanup_status_ struct status err = STATUS_INIT;
    for (size_t i = 0; i < n; i++) objs[i] = items[i]->obj;
    int result = custom_convert(r, st, objs, n, &err);
    pthread_mutex_lock(&c->mutex);
    if (result == 0)
        for (size_t i = 0; i < n; i++) keep(c, item_key(r->arena, items[i]), objs[i]);
    else {
        c->failures_ns = (uint64_t)env_mono_ns(env_real());
        status_copy(&c->failure, &err);
        status_copy(reterr, &err);
    }
    pthread_mutex_unlock(&c->mutex);
    return result;
}

static bool failed_since(struct conversion_cache *c, uint64_t since_ns, struct status *reterr) {
    pthread_mutex_lock(&c->mutex);
    bool yes = c->failures_ns > since_ns;
    if (yes) status_copy(reterr, &c->failure);
    pthread_mutex_unlock(&c->mutex);
    return yes;
}

int custom_convert_shared(struct api_request *r, const struct strategy *st, struct conversion_item *items, size_t n, struct status *reterr) {
    const struct custom_type *to = custom_type_of(st->type);
    struct conversion_cache *c = NULL;
    struct conversion_item **left = arena_calloc(r->arena, n, sizeof(*left));
    size_t rest = 0;
    for (size_t i = 0; i < n; i++)
        if (!str_eq(items[i].obj->apiVersion, to->api_version)) left[rest++] = &items[i];
    for (size_t i = 0; i < st->custom->versions.len; i++)
        if (&st->custom->versions.items[i].type == to) c = st->custom->versions.items[i].converted;
    uint64_t since = (uint64_t)env_mono_ns(env_real());
    if (!rest || (rest = take_known(c, r->arena, to, left, rest, left)) == 0) return 0;
    fiber_mutex_lock(&c->asking);
    int result = failed_since(c, since, reterr) ? -1 : 0;
    if (!result && (rest = take_known(c, r->arena, to, left, rest, left))) result = ask_and_keep(r, st, c, left, rest, reterr);
    fiber_mutex_unlock(&c->asking);
    return result;
}

/* ---- managed fields ---- */

static const struct custom_type *version_named(const struct custom_type *t, const char *api_version) {
    for (size_t i = 0; t->versions[i]; i++)
        if (str_eq(t->versions[i]->api_version, api_version)) return t->versions[i];
    return NULL;
}

bool custom_convert_document(void *arg, const struct value *v, const char *from, const char *to, struct value *ret) {
    struct manager_conversion *m = arg;
    struct arena *a = m->r->arena;
    const struct custom_type *t = custom_type_of(m->st->type), *old_type = version_named(t, from), *new_type = version_named(t, to);
    struct custom_object *obj = ARENA_NEW(a, struct custom_object);
    struct object *one = (struct object *)(void *)obj;
    _cleanup_buf_ struct buf text = BUF_INIT;
    value_write_json(&text, v);
    yyjson_val *root = yyjson_doc_get_root(json_parse_in(a, buf_cstr(&text), text.len, 0, m->err)), *meta = yyjson_obj_get(root, "metadata");
    if (!old_type || !new_type || !root || custom_object_become(a, obj, old_type, root, m->err) != 0) return false;
    if (meta && object_decode_value(a, &metav1_ObjectMeta_desc, &obj->metadata, meta, NULL, m->err) != 0) return false;
    if (convert_to(m->r, m->st->custom, new_type, &one, 1, m->err) != 0) return false;
    *ret = value_from_json(a, custom_object_document(a, obj));
    return true;
}
