/* FieldsV1, operations on sets, and what updates do to managers' entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "api/managedfields.h"
#include "base/str.h"
#include "wire/json.h"

static struct field_set set_of(struct arena *a, const char *text) {
    struct field_set s = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (field_set_parse(a, text, strlen(text), &s, &err) != 0) fail_msg("%s: %s", text, err.message);
    return s;
}

static const char *text_of(struct arena *a, const struct field_set *s) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    field_set_write(&out, s);
    return arena_strdup(a, out.data);
}

/* Read and written again: sorted, canonical. */
static void fields_v1(void **state UNUSED) {
    static const struct { const char *text, *want; } cases[] = {
        {"{}", "{}"},
        {"null", "{}"},
        {"{\"f:b\":{},\"f:a\":{}}", "{\"f:a\":{},\"f:b\":{}}"},
        {"{\"f:a\":{\".\":{},\"f:b\":{}}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}"},
        {"{\"f:a\":{\".\":{}}}", "{\"f:a\":{}}"},
        {"{\"f:a\":{\"f:b\":{},\".\":{}}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}"},
        /* fields, keys, values, indexes; within values numbers, strings, bools */
        {"{\"i:2\":{},\"v:true\":{},\"v:\\\"s\\\"\":{},\"v:1\":{},\"k:{\\\"b\\\":1,\\\"a\\\":\\\"x\\\"}\":{},\"f:z\":{}}", "{\"f:z\":{},\"k:{\\\"a\\\":\\\"x\\\",\\\"b\\\":1}\":{},\"v:1\":{},\"v:\\\"s\\\"\":{},\"v:true\":{},\"i:2\":{}}"},
        {"{\"i:10\":{},\"i:9\":{}}", "{\"i:9\":{},\"i:10\":{}}"},
        {"{\"k:{\\\"port\\\":443}\":{},\"k:{\\\"port\\\":80}\":{}}", "{\"k:{\\\"port\\\":80}\":{},\"k:{\\\"port\\\":443}\":{}}"},
        {"{\"x:new\":{\"f:a\":{}},\"f:a\":{}}", "{\"f:a\":{}}"},
        {"{\"f:a.b/c\":{}}", "{\"f:a.b/c\":{}}"},
        {"{\"f:a\":null}", "{\"f:a\":{}}"},
    };
    static const char *const bad[] = {"[]", "{\"f\":{}}", "{\"fx\":{}}", "{\"k:[]\":{}}", "{\"k:{\":{}}", "{\"v:x\":{}}", "{\"i:x\":{}}", "{\"f:a\":1}", "{\"f:a\":{}} x", "{"};
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct field_set s = set_of(a, cases[i].text);
        assert_string_equal(text_of(a, &s), cases[i].want);
        struct field_set again = set_of(a, cases[i].want);
        assert_true(field_set_equal(&s, &again));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct field_set s;
        if (field_set_parse(a, bad[i], strlen(bad[i]), &s, NULL) == 0) fail_msg("taken: %s", bad[i]);
    }
}

static void operations(void **state UNUSED) {
    static const struct { const char *x, *y, *both, *common, *less, *recursive; } cases[] = {
        {"{\"f:a\":{},\"f:b\":{}}", "{\"f:b\":{},\"f:c\":{}}", "{\"f:a\":{},\"f:b\":{},\"f:c\":{}}", "{\"f:b\":{}}", "{\"f:a\":{}}", "{\"f:a\":{}}"},
        {"{\"f:a\":{\".\":{},\"f:b\":{}}}", "{\"f:a\":{}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}", "{\"f:a\":{}}", "{\"f:a\":{\"f:b\":{}}}", "{}"},
        {"{\"f:a\":{}}", "{\"f:a\":{\"f:b\":{}}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}", "{}", "{\"f:a\":{}}", "{\"f:a\":{}}"},
        {"{\"f:a\":{\"f:b\":{},\"f:c\":{}}}", "{\"f:a\":{\"f:b\":{},\"f:c\":{}}}", "{\"f:a\":{\"f:b\":{},\"f:c\":{}}}", "{\"f:a\":{\"f:b\":{},\"f:c\":{}}}", "{}", "{}"},
        {"{}", "{\"f:a\":{}}", "{\"f:a\":{}}", "{}", "{}", "{}"},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct field_set x = set_of(a, cases[i].x), y = set_of(a, cases[i].y), r;
        r = field_set_union(a, &x, &y);
        assert_string_equal(text_of(a, &r), cases[i].both);
        r = field_set_intersection(a, &x, &y);
        assert_string_equal(text_of(a, &r), cases[i].common);
        r = field_set_difference(a, &x, &y);
        assert_string_equal(text_of(a, &r), cases[i].less);
        r = field_set_recursive_difference(a, &x, &y);
        assert_string_equal(text_of(a, &r), cases[i].recursive);
    }
}

static struct object *decode(struct arena *a, const struct type_desc *type, const char *text) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct object *obj = object_new(a, type);
    if (object_decode_json(a, type, obj, text, strlen(text), NULL, &err) != 0) fail_msg("%s: %s", text, err.message);
    return obj;
}

static const char *owners(struct arena *a, const struct object *obj) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    LIST_FOREACH(e, &obj->metadata.managedFields)
        buf_printf(&out, "%s%s/%s%s%s %s", out.len ? "; " : "", e->manager, e->operation, str_empty(e->subresource) ? "" : "/", str_or(e->subresource, ""), e->fieldsV1.data);
    return arena_strdup(a, buf_cstr(&out));
}

static const char *const no_status[] = {"status", NULL}, *const no_spec[] = {"spec", NULL};

static void updates(void **state UNUSED) {
    static const struct { const char *manager, *subresource; const struct reset_fields reset; const char *text, *want; } steps[] = {
        {"make", NULL, {no_status}, "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"replicas\":1,\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}},\"status\":{\"replicas\":3}}",
         "make/Update {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}},\"f:spec\":{\"f:replicas\":{},\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:name\":{},\"f:resources\":{}}}}}}}"},
        {"scale", NULL, {no_status}, "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"replicas\":2,\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}},\"status\":{\"replicas\":3}}",
         "make/Update {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}},\"f:spec\":{\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:name\":{},\"f:resources\":{}}}}}}}; "
         "scale/Update {\"f:spec\":{\"f:replicas\":{}}}"},
        {"ctl", "status", {no_spec}, "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"replicas\":9,\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}},\"status\":{\"replicas\":4}}",
         "make/Update {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}},\"f:spec\":{\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:name\":{},\"f:resources\":{}}}}}}}; "
         "scale/Update {\"f:spec\":{\"f:replicas\":{}}}; ctl/Update/status {\"f:status\":{\"f:replicas\":{}}}"},
        {"cut", NULL, {no_status}, "{\"metadata\":{},\"spec\":{\"template\":{\"spec\":{\"containers\":[]}}},\"status\":{\"replicas\":4}}",
         "ctl/Update/status {\"f:status\":{\"f:replicas\":{}}}; cut/Update {\"f:spec\":{\"f:template\":{\"f:spec\":{\"f:containers\":{}}}}}"},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    struct object *old = NULL;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct field_manager m = {.arena = a, .manager = steps[i].manager, .subresource = steps[i].subresource, .reset = &steps[i].reset, .now_s = (int64_t)(10 + i)};
        struct object *now = decode(a, &appsv1_Deployment_desc, steps[i].text);
        managed_fields_update(&m, &appsv1_Deployment_desc, old, now);
        if (i == ARRAY_LEN(steps) - 1) { /* an empty list in place of a full one: its owner is told by what upstream does, only the others are looked at */
            assert_null(strstr(owners(a, now), "make/"));
            assert_null(strstr(owners(a, now), "scale/"));
            assert_non_null(strstr(owners(a, now), "ctl/Update/status {\"f:status\":{\"f:replicas\":{}}}"));
            break;
        }
        if (strcmp(owners(a, now), steps[i].want) != 0) fail_msg("step %zu:\n  wanted %s\n  got    %s", i, steps[i].want, owners(a, now));
        old = now;
    }
}

/* What the client sends in managedFields. */
static void entries_from_clients(void **state UNUSED) {
#define ENTRY(op, type) "{\"manager\":\"x\",\"operation\":\"" op "\",\"apiVersion\":\"v1\",\"fieldsType\":\"" type "\",\"fieldsV1\":{\"f:data\":{\"f:b\":{}}}}"
    static const struct { const char *sent, *want; } cases[] = {
        {"{\"data\":{\"a\":\"1\",\"b\":\"1\"}}", "one/Update {\"f:data\":{\".\":{},\"f:a\":{},\"f:b\":{}}}"},
        {"{\"metadata\":{\"managedFields\":[]},\"data\":{\"a\":\"2\"}}", ""},
        {"{\"metadata\":{\"managedFields\":[{}]},\"data\":{\"a\":\"2\"}}", ""},
        {"{\"metadata\":{\"managedFields\":[" ENTRY("Bogus", "FieldsV1") "]},\"data\":{\"a\":\"1\",\"b\":\"1\"}}", "one/Update {\"f:data\":{\".\":{},\"f:a\":{},\"f:b\":{}}}"},
        {"{\"metadata\":{\"managedFields\":[" ENTRY("Update", "FieldsV9") "]},\"data\":{\"a\":\"1\",\"b\":\"1\"}}", "one/Update {\"f:data\":{\".\":{},\"f:a\":{},\"f:b\":{}}}"},
        {"{\"metadata\":{\"managedFields\":[" ENTRY("Update", "FieldsV1") "]},\"data\":{\"a\":\"3\",\"b\":\"1\"}}", "x/Update {\"f:data\":{\"f:b\":{}}}; two/Update {\"f:data\":{\"f:a\":{}}}"},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct object *old = decode(a, &corev1_ConfigMap_desc, "{\"metadata\":{\"uid\":\"u\"},\"data\":{\"a\":\"1\",\"b\":\"1\"}}"), *now = decode(a, &corev1_ConfigMap_desc, cases[i].sent);
        struct field_manager one = {.arena = a, .manager = "one", .now_s = 1}, two = {.arena = a, .manager = "two", .now_s = 2};
        managed_fields_update(&one, &corev1_ConfigMap_desc, NULL, old);
        managed_fields_update(&two, &corev1_ConfigMap_desc, old, now);
        if (strcmp(owners(a, now), cases[i].want) != 0) fail_msg("%s:\n  wanted %s\n  got    %s", cases[i].sent, cases[i].want, owners(a, now));
    }
}

/* More than ten managers of updates: the oldest become one. */
static void ancient_changes(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct object *old = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT;
    buf_append_str(&text, "{\"data\":{");
    for (int i = 0; i < 12; i++) {
        buf_printf(&text, "%s\"k%02d\":\"v\"", i ? "," : "", i);
        struct object *now = decode(a, &corev1_ConfigMap_desc, arena_printf(a, "%s}}", text.data));
        struct field_manager m = {.arena = a, .manager = arena_printf(a, "m%02d", i), .now_s = 100 + i};
        managed_fields_update(&m, &corev1_ConfigMap_desc, old, now);
        old = now;
    }
    assert_int_equal(old->metadata.managedFields.len, 10);
    assert_string_equal(old->metadata.managedFields.items[0].manager, "ancient-changes");
    assert_string_equal(old->metadata.managedFields.items[0].fieldsV1.data, "{\"f:data\":{\".\":{},\"f:k00\":{},\"f:k01\":{},\"f:k02\":{}}}");
    assert_int_equal(old->metadata.managedFields.items[0].time.sec, 102);
    assert_string_equal(old->metadata.managedFields.items[1].manager, "m03");
}

static void only_times_changed(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct object *old = decode(a, &corev1_ConfigMap_desc, "{\"data\":{\"a\":\"1\"}}");
    struct field_manager m = {.arena = a, .manager = "m", .now_s = 1};
    managed_fields_update(&m, &corev1_ConfigMap_desc, NULL, old);
    struct object *now = object_copy(a, &corev1_ConfigMap_desc, old);
    now->metadata.managedFields.items[0].time.sec = 9;
    managed_fields_ignore_times(&corev1_ConfigMap_desc, old, now);
    assert_int_equal(now->metadata.managedFields.items[0].time.sec, 1);
    now = object_copy(a, &corev1_ConfigMap_desc, old);
    now->metadata.managedFields.items[0].time.sec = 9;
    string_map_set(a, &((struct corev1_ConfigMap *)(void *)now)->data, "b", "2");
    managed_fields_ignore_times(&corev1_ConfigMap_desc, old, now);
    assert_int_equal(now->metadata.managedFields.items[0].time.sec, 9);
}

static void scale(void **state UNUSED) {
    static const struct scale_mapping mappings[] = {{"apps/v1", "spec.replicas"}, {0}};
    _cleanup_arena_ struct arena *a = arena_new();
#define SCALE_ENTRY(manager, op, version, fields) "{\"manager\":\"" manager "\",\"operation\":\"" op "\",\"apiVersion\":\"" version "\",\"time\":\"2026-01-01T00:00:00Z\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":" fields "}"
    struct object *parent = decode(a, &appsv1_Deployment_desc, "{\"metadata\":{\"managedFields\":[" SCALE_ENTRY("alice", "Apply", "apps/v1", "{\"f:spec\":{\"f:paused\":{},\"f:replicas\":{}}}") ","
                                   SCALE_ENTRY("other", "Update", "apps/v1", "{\"f:spec\":{\"f:paused\":{}}}") "," SCALE_ENTRY("old", "Update", "apps/v0", "{\"f:spec\":{\"f:replicas\":{}}}") "]}}");
    struct object *s = decode(a, &autoscalingv1_Scale_desc, "{}");
    s->metadata.managedFields = managed_fields_to_scale(a, &parent->metadata.managedFields, mappings);
    assert_string_equal(owners(a, s), "alice/Apply {\"f:spec\":{\"f:replicas\":{}}}");
    assert_string_equal(s->metadata.managedFields.items[0].apiVersion, "autoscaling/v1");
    struct object *after = decode(a, &autoscalingv1_Scale_desc, "{\"metadata\":{\"managedFields\":[" SCALE_ENTRY("hpa", "Update", "autoscaling/v1", "{\"f:spec\":{\"f:replicas\":{}}}") "]}}");
    parent->metadata.managedFields = managed_fields_from_scale(a, &parent->metadata.managedFields, &after->metadata.managedFields, "apps/v1", mappings);
    assert_string_equal(owners(a, parent), "alice/Apply {\"f:spec\":{\"f:paused\":{}}}; hpa/Update {\"f:spec\":{\"f:replicas\":{}}}; other/Update {\"f:spec\":{\"f:paused\":{}}}");
}

/* A set from when a map was granular, now that it is atomic. */
static void older_schemas(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct field_set s = set_of(a, "{\"f:spec\":{\"f:selector\":{\".\":{},\"f:matchLabels\":{\"f:a\":{}}},\"f:replicas\":{}}}");
    s = typed_set_reconcile(a, schema_of_type(&appsv1_Deployment_desc), &s);
    assert_string_equal(text_of(a, &s), "{\"f:spec\":{\"f:replicas\":{},\"f:selector\":{}}}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_v1), cmocka_unit_test(operations), cmocka_unit_test(updates), cmocka_unit_test(entries_from_clients), cmocka_unit_test(ancient_changes), cmocka_unit_test(only_times_changed),
        cmocka_unit_test(scale), cmocka_unit_test(older_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
