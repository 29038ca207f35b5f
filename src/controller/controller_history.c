/* ControllerRevisions: see controller_history.h. */
#include "controller/controller_history.h"
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "wire/json.h"

/* ---- lists ---- */

static int by_revision(const void *x, const void *y) {
    controller_revision *r = *(controller_revision *const *)x, *s = *(controller_revision *const *)y;
    if (r->revision != s->revision) return r->revision < s->revision ? -1 : 1;
    int64_t cr = r->metadata.creationTimestamp.sec, cs = s->metadata.creationTimestamp.sec;
    return cr != cs ? (cr < cs ? -1 : 1) : str_cmp(r->metadata.name, s->metadata.name);
}

void history_sort(struct revision_list *l) {
    if (l->len) qsort(l->items, l->len, sizeof(*l->items), by_revision);
}

int64_t history_max(const struct revision_list *l) {
    int64_t max = 0;
    for (size_t i = 0; i < l->len; i++) max = MAX(max, l->items[i]->revision);
    return max;
}

int history_claim(struct controller *c, struct arena *a, const struct type_desc *owner_type, const void *owner, const struct selector *selector, struct informer *revisions, int by_controller,
                  struct cached_list *hold, struct revision_list *ret, struct status *reterr) {
    _cleanup_cached_list_ struct cached_list all = {0};
    pods_owned_or_orphaned(revisions, by_controller, owner, &all);
    if (controller_claim(c, a, owner_type, owner, selector, &appsv1_ControllerRevision_desc, &all, hold, reterr) != 0) return -1;
    *ret = (struct revision_list){arena_calloc(a, hold->len + 1, sizeof(*ret->items)), 0};
    CACHED_FOREACH(r, appsv1_ControllerRevision, hold) ret->items[ret->len++] = r;
    history_sort(ret);
    return 0;
}

/* ---- data ---- */

struct member { yyjson_val *key, *value; };

static int by_key(const void *x, const void *y) { return strcmp(yyjson_get_str(((const struct member *)x)->key), yyjson_get_str(((const struct member *)y)->key)); }

static void write_sorted(struct arena *a, struct buf *out, yyjson_val *v, bool replace) {
    size_t i, max, n = 0;
    yyjson_val *key, *item;
    if (yyjson_is_arr(v)) {
        buf_append_char(out, '[');
        yyjson_arr_foreach(v, i, max, item) {
            if (i) buf_append_char(out, ',');
            write_sorted(a, out, item, false);
        }
        buf_append_char(out, ']');
        return;
    }
    if (!yyjson_is_obj(v)) {
        json_write_value(out, v);
        return;
    }
    struct member *members = arena_calloc(a, yyjson_obj_size(v) + 1, sizeof(*members));
    yyjson_obj_foreach(v, i, max, key, item) members[n++] = (struct member){key, item};
    qsort(members, n, sizeof(*members), by_key);
    buf_append_str(out, replace ? "{\"$patch\":\"replace\"" : "{");
    for (i = 0; i < n; i++) {
        if (i || replace) buf_append_char(out, ',');
        json_write_string(out, yyjson_get_str(members[i].key));
        buf_append_char(out, ':');
        write_sorted(a, out, members[i].value, false);
    }
    buf_append_char(out, '}');
}

char *history_patch(struct arena *a, const struct corev1_PodTemplateSpec *template) {
    _cleanup_buf_ struct buf plain = BUF_INIT, out = BUF_INIT;
    object_encode_json(&corev1_PodTemplateSpec_desc, template, &plain);
    yyjson_doc *doc = json_parse_in(a, buf_cstr(&plain), plain.len, JSON_NUMBERS_RAW, NULL);
    CHECK(doc);
    buf_append_str(&out, "{\"spec\":{\"template\":");
    write_sorted(a, &out, yyjson_doc_get_root(doc), true);
    buf_append_str(&out, "}}");
    return arena_strdup(a, out.data);
}

char *history_hash(struct arena *a, const char *data, int64_t collision_count) {
    uint32_t h = 2166136261u;
    for (const char *p = data; *p; p++) h = (h * 16777619u) ^ (unsigned char)*p;
    char digits[24] = "";
    if (collision_count >= 0) snprintf(digits, sizeof(digits), "%lld", (long long)collision_count);
    for (const char *p = digits; *p; p++) h = (h * 16777619u) ^ (unsigned char)*p;
    return safe_encode_number(a, h);
}

bool history_equal(controller_revision *r, const char *data) { return r->data.data && r->data.len == strlen(data) && memcmp(r->data.data, data, r->data.len) == 0; }

int history_template(struct arena *a, controller_revision *r, struct corev1_PodTemplateSpec *ret, struct status *reterr) {
    yyjson_doc *doc = r->data.data ? json_parse_in(a, r->data.data, r->data.len, JSON_NUMBERS_RAW, reterr) : NULL;
    yyjson_val *t = doc ? yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "spec"), "template") : NULL;
    if (!t) return status_internal(reterr, "revision %s holds no template", r->metadata.name);
    memset(ret, 0, sizeof(*ret));
    return object_decode_value(a, &corev1_PodTemplateSpec_desc, ret, t, NULL, reterr);
}
