/* list: from one snapshot, filtered, in pages that stay at their first page's revision. */
#include <stdio.h>
#include <string.h>
#include "apiserver/apiserver.h"
#include "apiserver/custom_conversion.h"
#include "apiserver/handlers.h"
#include "apiserver/versions.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

/* ---- filters ---- */

/* Kinds with fields of their own list all that they allow; the rest know an object's name and namespace. */
static int check_field(struct api_request *r, const char *field, struct status *reterr) {
    const char *const *own = r->strategy->selectable_fields;
    bool namespaced = r->rd->namespaced;
    if (str_eq(field, "metadata.name") || (str_eq(field, "metadata.namespace") && (namespaced || !own)) || (own && str_in(field, own))) return 0;
    if (r->strategy->type == &batchv1_Job_desc) return status_bad_request(reterr, "field label %s not supported for Job", go_quote(r->arena, str_or(field, "")));
    if (str_eq(r->resource, "resourceslices")) return status_bad_request(reterr, "field label not supported for %s/%s, Kind=ResourceSlice: %s", r->group, r->version, str_or(field, ""));
    if (own) return status_bad_request(reterr, "field label not supported: %s", str_or(field, ""));
    return status_bad_request(reterr, "\"%s\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", str_or(field, ""));
}

int filter_from_request(struct api_request *r, struct object_filter *ret, struct status *reterr) {
    const char *labels = url_query_get(&r->query, "labelSelector"), *fields = url_query_get(&r->query, "fieldSelector");
    struct object_filter f = {.strategy = r->strategy};
    if (label_selector_parse(r->arena, str_or(labels, ""), &f.labels, reterr) != 0) return -1;
    if (field_selector_parse(r->arena, str_or(fields, ""), &f.fields, reterr) != 0) return -1;
    for (size_t i = 0; i < f.fields.len; i++) {
        if (check_field(r, f.fields.items[i].field, reterr) != 0) return -1;
        if (str_eq(f.fields.items[i].field, "metadata.name") && !f.fields.items[i].negated) f.name = f.fields.items[i].value;
    }
    if (r->name && !r->subresource) {
        if (f.name && !str_eq(f.name, r->name)) return status_bad_request(reterr, "fieldSelector metadata.name doesn't match requested name");
        f.name = r->name;
        *LIST_PUSH(r->arena, &f.fields) = (struct field_requirement){"metadata.name", r->name, false};
    }
    f.any = f.labels.len == 0 && f.fields.len == 0;
    *ret = f;
    return 0;
}

static const char *field_value(struct arena *a, const struct object_filter *f, const struct object *obj, const char *field) {
    if (strcmp(field, "metadata.name") == 0) return obj->metadata.name;
    if (strcmp(field, "metadata.namespace") == 0) return obj->metadata.namespace;
    return f->strategy->field ? f->strategy->field(a, obj, field) : NULL;
}

bool filter_matches(struct arena *a, const struct object_filter *f, const void *obj) {
    const struct object *o = obj;
    if (f->any) return true;
    for (size_t i = 0; i < f->fields.len; i++)
        if (str_eq(field_value(a, f, o, f->fields.items[i].field), f->fields.items[i].value) == f->fields.items[i].negated) return false;
    return selector_matches(&f->labels, &o->metadata.labels);
}

int list_convert(struct api_request *r, const struct object_filter *f, struct object_list *list, struct status *reterr) {
    size_t size = f->strategy->type->size, kept = 0;
    char *items = list->items.items;
    struct object **objs = arena_calloc(r->arena, list->items.len, sizeof(*objs));
    if (!custom_converts(f->strategy)) return 0;
    for (size_t i = 0; i < list->items.len; i++) objs[i] = (void *)(items + i * size);
    if (custom_convert(r, f->strategy, objs, list->items.len, reterr) != 0) return -1;
    for (size_t i = 0; i < list->items.len; i++)
        if (filter_matches(r->arena, f, objs[i])) memmove(items + kept++ * size, objs[i], size);
    list->items.len = kept;
    return 0;
}

/* ---- continue tokens: base64 of {"v":"meta.k8s.io/v1","rv":N,"start":"key"} ---- */

static char *encode_continue(struct arena *a, uint64_t revision, const char *start) {
    _cleanup_buf_ struct buf json = BUF_INIT, out = BUF_INIT;
    buf_printf(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%llu,\"start\":", (unsigned long long)revision);
    json_write_string(&json, start);
    buf_append_char(&json, '}');
    base64url_encode(&out, (unsigned char *)json.data, json.len);
    return arena_strdup(a, out.data);
}

static int bad_token(struct status *reterr, const char *why) { return status_bad_request(reterr, "invalid continue token: continue key is not valid: %s", why); }

static int decode_continue(struct arena *a, const char *token, uint64_t *revision, const char **start, struct status *reterr) {
    unsigned char *json;
    size_t len;
    struct status inner = STATUS_INIT;
    if (base64url_decode(a, token, strlen(token), &json, &len, &inner) != 0) {
        bad_token(reterr, inner.message);
        status_release(&inner);
        return -1;
    }
    yyjson_doc *doc = json_parse_in(a, (char *)json, len, 0, NULL);
    if (!doc) return bad_token(reterr, "invalid character");
    yyjson_val *root = yyjson_doc_get_root(doc), *v = yyjson_obj_get(root, "v"), *rv = yyjson_obj_get(root, "rv"), *s = yyjson_obj_get(root, "start");
    if (!yyjson_is_str(v) || strcmp(yyjson_get_str(v), "meta.k8s.io/v1") != 0)
        return bad_token(reterr, arena_printf(a, "server does not recognize this encoded version %s", yyjson_is_str(v) ? yyjson_get_str(v) : ""));
    if (!yyjson_is_int(rv) || yyjson_get_sint(rv) == 0) return bad_token(reterr, "incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
    if (!yyjson_is_str(s) || !yyjson_get_len(s)) return bad_token(reterr, "encoded start key empty (version meta.k8s.io/v1)");
    *revision = (uint64_t)yyjson_get_sint(rv);
    *start = yyjson_get_str(s);
    return 0;
}

/* ---- the past: what keys held at an earlier revision, from the events since ---- */

struct past { struct arena *a; struct map *first; };

static void note_first(void *arg, struct store_event *e) {
    struct past *p = arg;
    if (!map_has(p->first, e->key)) map_put(p->first, e->key, store_event_ref(e));
}

/* ---- listing ---- */

struct lister {
    struct api_request *r;
    struct status *err;          /* of what can be seen but not be read: then there is no list */
    struct object_filter filter;
    const char *prefix;
    uint64_t revision;
    uint64_t limit;
    bool typed;                  /* objects are wanted, not bytes */
    bool converting;             /* by a webhook, which is asked after the snapshot was let go of: only then is it known what matches a filter */
    struct buf items;            /* JSON of the items so far, typed or not */
    struct object_list *list;    /* typed */
    size_t count;
    char *next;                  /* key to continue at, or NULL */
    int64_t remaining;           /* there were from `next` on, when listing the past */
    size_t skip_len;             /* of `"kind":"X","apiVersion":"Y",` which items do without */
};

static void add_bytes(struct lister *l, const struct store_view *v) {
    char digits[STR_U64_MAX];
    size_t n = str_from_u64(v->mod_revision, digits);
    if (l->count) buf_append_char(&l->items, ',');
    buf_append_char(&l->items, '{');
    buf_append(&l->items, v->value + 1 + l->skip_len, v->rv_offset - 1 - l->skip_len);
    buf_append(&l->items, digits, n);
    buf_append(&l->items, v->value + v->rv_offset, v->value_len - v->rv_offset);
    l->count++;
}

static bool take(struct lister *l, const struct store_view *v) {
    if (v->trouble) {
        registry_unreadable(v, l->err);
        return false;
    }
    if (l->limit && l->count >= l->limit && (l->filter.any || !l->converting)) {
        l->next = arena_strndup(l->r->arena, v->key, v->key_len);
        return false;
    }
    if (!l->typed && l->filter.any) {
        add_bytes(l, v);
        return true;
    }
    struct arena *a = l->typed ? l->r->arena : arena_new();
    struct object *obj = registry_decode(a, l->r->strategy, v);
    if (obj && (l->converting || filter_matches(a, &l->filter, obj))) {
        if (!l->typed) add_bytes(l, v);
        else {
            struct object *slot = arena_list_push(a, &l->list->items.items, &l->list->items.len, l->r->strategy->type->size);
            memcpy(slot, obj, l->r->strategy->type->size);
            if (!l->converting) slot->kind = slot->apiVersion = NULL;
            l->count++;
        }
    }
    if (!l->typed) arena_free(a);
    return true;
}

static bool take_now(void *arg, const struct store_view *v) { return take(arg, v); }

static int compare_strings(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

struct keys { struct arena *a; struct string_list list; struct map *seen; };

static bool take_key(void *arg, const struct store_view *v) {
    struct keys *k = arg;
    string_list_push(k->a, &k->list, arena_strndup(k->a, v->key, v->key_len));
    return true;
}

/* The view a key had at the lister's revision: the first later event's previous value, or what is there now. False: there was nothing. */
static bool view_then(struct lister *l, struct store_txn *t, struct map *first, const char *key, struct store_view *v) {
    struct store_event *e = map_get(first, key);
    if (!e) return store_get(t, key, v);
    if (!e->prev) return false;
    *v = (struct store_view){key, shared_data(e->prev), strlen(key), shared_len(e->prev), e->prev_rv_offset, e->create_revision, e->prev_mod_revision};
    (void)l;
    return true;
}

static void event_unref(void *e) { store_event_unref(e); }

/* Walks the keys of now and of then together. */
static int list_past(struct lister *l, struct store_txn *t, const char *start, struct status *reterr) {
    struct past past = {l->r->arena, map_new()};
    int failed = store_log_read(apiserver_store(l->r->server), l->prefix, l->revision, store_txn_revision(t), note_first, &past, reterr);
    struct keys keys = {.a = l->r->arena};
    const char *key;
    void *e;
    if (!failed) store_range(t, l->prefix, start, take_key, &keys);
    for (size_t i = 0; !failed && map_next(past.first, &i, &key, &e);)
        if (strcmp(key, start) >= 0) string_list_push(keys.a, &keys.list, arena_strdup(keys.a, key));
    if (keys.list.len) qsort(keys.list.items, keys.list.len, sizeof(char *), compare_strings);
    for (size_t i = 0; i < keys.list.len; i++) {
        struct store_view v;
        if (i && strcmp(keys.list.items[i], keys.list.items[i - 1]) == 0) continue;
        if (!view_then(l, t, past.first, keys.list.items[i], &v)) continue;
        if (l->next || !take(l, &v)) l->remaining++;
    }
    map_free_with(past.first, event_unref);
    return failed;
}

static int parse_numbers(struct api_request *r, uint64_t *ret, struct status *reterr) {
    const char *text = url_query_get(&r->query, "limit");
    int64_t n = 0;
    if (!str_empty(text) && !str_to_i64(text, &n)) return status_bad_request(reterr, "strconv.ParseInt: parsing \"%s\": invalid syntax", text);
    *ret = n > 0 ? (uint64_t)n : 0;
    text = url_query_get(&r->query, "timeoutSeconds");
    if (!str_empty(text) && !str_to_i64(text, &n)) return status_bad_request(reterr, "strconv.ParseInt: parsing \"%s\": invalid syntax", text);
    return 0;
}

/* Upstream's ValidateListOptions. */
static int validate_options(struct api_request *r, struct status *reterr) {
    const char *rv = url_query_get(&r->query, "resourceVersion"), *match = url_query_get(&r->query, "resourceVersionMatch");
    struct field_errors errs = field_errors_in(r->arena);
    if (!str_empty(match)) {
        static const char *const supported[] = {"Exact", "NotOlderThan", "", NULL};
        if (str_empty(rv)) field_forbidden(&errs, FIELD(NULL, "resourceVersionMatch"), "resourceVersionMatch is forbidden unless resourceVersion is provided");
        if (!str_empty(url_query_get(&r->query, "continue"))) field_forbidden(&errs, FIELD(NULL, "resourceVersionMatch"), "resourceVersionMatch is forbidden when continue is provided");
        if (!str_in(match, supported)) field_not_supported(&errs, FIELD(NULL, "resourceVersionMatch"), match, supported);
        if (str_eq(match, "Exact") && str_eq(rv, "0")) field_forbidden(&errs, FIELD(NULL, "resourceVersionMatch"), "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if (url_query_has(&r->query, "sendInitialEvents")) field_forbidden(&errs, FIELD(NULL, "sendInitialEvents"), "sendInitialEvents is forbidden for list");
    return errs.len ? field_errors_status(&errs, "meta.k8s.io", "ListOptions", "", reterr) : 0;
}

/* Which revision resourceVersion and resourceVersionMatch ask for. */
static int check_versions(struct api_request *r, bool continued, uint64_t *ret_exact, uint64_t now, struct status *reterr) {
    const char *rv = url_query_get(&r->query, "resourceVersion"), *match = url_query_get(&r->query, "resourceVersionMatch");
    uint64_t n = 0;
    if (!str_empty(rv) && !str_to_u64(rv, &n)) return status_bad_request(reterr, "invalid resource version: resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing \"%s\": invalid syntax", rv, rv);
    if (continued && n) return status_bad_request(reterr, "specifying resource version is not allowed when using continue");
    bool exact = str_eq(match, "Exact") || (str_empty(match) && url_query_get(&r->query, "limit") && !str_eq(url_query_get(&r->query, "limit"), "0"));
    if (n > now) return too_large_version(n, now, !str_eq(r->verb, "list"), reterr);
    if (n && exact) *ret_exact = n;
    return 0;
}

static int read_options(struct lister *l, struct status *reterr) {
    return parse_numbers(l->r, &l->limit, reterr) != 0 || filter_from_request(l->r, &l->filter, reterr) != 0 ? -1 : validate_options(l->r, reterr);
}

int list_check_options(struct api_request *r, struct status *reterr) { return read_options(&(struct lister){.r = r}, reterr); }

/* How many there are behind a page. */
static void count_remaining(struct lister *l, struct store_txn *t) {
    if (l->next && l->filter.any && !l->remaining) l->remaining = (int64_t)store_count(t, l->prefix, l->next);
}

/* What was found as it is in the version asked for, cut at the limit. */
static int convert_found(struct lister *l, struct status *reterr) {
    struct api_request *r = l->r;
    size_t size = r->strategy->type->size;
    if (list_convert(r, &l->filter, l->list, reterr) != 0) return -1;
    for (size_t i = 0; i < l->list->items.len; i++) {
        struct object *obj = (void *)((char *)l->list->items.items + i * size);
        obj->kind = obj->apiVersion = NULL;
    }
    if (!l->limit || l->list->items.len <= l->limit) return 0;
    const struct object *next = (const void *)((const char *)l->list->items.items + l->limit * size);
    l->next = storage_key(r->arena, r->strategy, r->rd->namespaced ? next->metadata.namespace : NULL, next->metadata.name);
    l->list->items.len = l->limit;
    return 0;
}

static void finish_meta(struct lister *l, struct metav1_ListMeta *m) {
    struct arena *a = l->r->arena;
    m->resourceVersion = arena_u64(a, l->revision);
    if (!l->next) return;
    m->continue_ = encode_continue(a, l->revision, l->next + strlen(l->prefix));
    if (l->filter.any) m->remainingItemCount = (struct opt_int64)OPT(l->remaining);
}

static void respond_bytes_list(struct lister *l, const struct metav1_ListMeta *m) {
    _cleanup_buf_ struct buf head = BUF_INIT;
    const struct type_desc *type = l->r->rd->list_type;
    buf_printf(&head, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":", type->kind, type_api_version(l->r->arena, type));
    object_encode_json(&metav1_ListMeta_desc, m, &head);
    buf_append_str(&head, ",\"items\":[");
    struct shared *items = shared_from_buf(&l->items); /* megabytes, perhaps: sent without another copy */
    struct http_slice body[] = {{head.data, head.len, NULL}, {NULL, 0, items}, {"]}\n", 3, NULL}};
    respond_bytes(l->r, 200, "application/json", body, 3);
    shared_unref(items);
}

static int run(struct lister *l, struct status *reterr) {
    struct api_request *r = l->r;
    const char *token = url_query_get(&r->query, "continue"), *start = NULL;
    struct store_txn *t;
    uint64_t exact = 0;
    if (read_options(l, reterr) != 0) return -1;
    if (!str_empty(token) && decode_continue(r->arena, token, &exact, &start, reterr) != 0) return -1;
    const char *version = url_query_get(&r->query, "resourceVersion");
    uint64_t wanted = exact;
    if (!str_empty(version)) str_to_u64(version, &wanted); /* what is no number is refused below */
    if (read_wait(r, !exact && str_empty(version), wanted, reterr) != 0) return -1;
    if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    uint64_t now = store_txn_revision(t);
    l->prefix = storage_key(r->arena, r->strategy, r->rd->namespaced ? r->namespace : NULL, NULL);
    int failed = check_versions(r, start != NULL, &exact, now, reterr);
    l->revision = exact ? exact : now;
    if (!failed) {
        const char *from = start ? arena_printf(r->arena, "%s%s", l->prefix, start) : l->prefix;
        if (exact && exact < now) failed = list_past(l, t, from, reterr);
        else store_range(t, l->prefix, from, take_now, l);
        if (l->err->code) failed = -1;
    }
    if (!failed) count_remaining(l, t);
    if (l->converting) {
        store_read_end(t);
        if (!failed) failed = convert_found(l, reterr);
    }
    if (!failed) {
        struct metav1_ListMeta meta = {0};
        finish_meta(l, &meta);
        if (l->typed) l->list->metadata = meta;
        else respond_bytes_list(l, &meta);
    }
    if (!l->converting) store_read_end(t);
    return failed;
}

static void begin(struct lister *l) {
    struct api_request *r = l->r;
    l->converting = custom_converts(r->strategy);
    l->skip_len = strlen("\"kind\":\"\",\"apiVersion\":\"\",") + strlen(r->strategy->type->kind) + strlen(type_api_version(r->arena, r->strategy->type));
    if (!l->typed) return;
    l->list = object_new(r->arena, stored_list_type(r));
    l->list->items.items = arena_list_alloc(r->arena, 0, r->strategy->type->size);
}

void handle_list(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct lister l = {.r = r, .err = &err};
    if (negotiate(r, true, false, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    l.typed = r->custom || r->out.as != AS_OBJECT || r->out.media != MEDIA_JSON || r->out.pretty || request_type(r) != r->strategy->type;
    begin(&l);
    if (run(&l, &err) != 0) respond_status(r, &err);
    else if (l.typed) respond_object(r, 200, stored_list_type(r), l.list);
    buf_release(&l.items);
}

struct object_list *list_objects(struct api_request *r, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct lister l = {.r = r, .err = &err, .typed = true};
    begin(&l);
    if (run(&l, &err) != 0) {
        status_copy(reterr, &err);
        return NULL;
    }
    return l.list;
}
