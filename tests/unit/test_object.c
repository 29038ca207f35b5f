/* api/: every type through every codec, and the forms of single values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "api/convert.h"
#include "api/object.h"
#include "api/quantity.h"
#include "api/time.h"
#include "apiserver/versions.h"
#include "wire/json.h"

/* Fills every field of an object from the schema: each value distinct, so that a swapped or lost field shows. */
struct filler { struct arena *a; int n, depth; bool not_in_proto; };

static void fill_struct(struct filler *f, const struct type_desc *type, void *obj);

static void fill_plain(struct filler *x, const struct field_desc *f, void *at) {
    int n = ++x->n;
    switch ((enum field_kind)f->kind) {
        case FK_STRING: *(const char **)at = arena_printf(x->a, "s\"<\xc3\xa9\xc0\x80>-%d", n); break;
        case FK_QUANTITY: *(const char **)at = arena_printf(x->a, "%dm", n * 10 + 1); break;
        case FK_BOOL: *(bool *)at = true; break;
        case FK_INT32: *(int32_t *)at = n % 2 ? n : -n; break;
        case FK_INT64: *(int64_t *)at = (int64_t)n << 33; break;
        case FK_DOUBLE: *(double *)at = n + 0.25; break;
        case FK_BYTES: *(struct bytes *)at = (struct bytes){arena_memdup(x->a, "\x00\xff\x01", 3), 3}; break;
        case FK_TIME: *(struct api_time *)at = time_from_s(1700000000 + n); break;
        case FK_MICROTIME: *(struct api_time *)at = micro_time_from_ns(1700000000123456000 + n * 1000); break;
        case FK_INTORSTRING: *(struct int_or_string *)at = n % 2 ? (struct int_or_string){INTSTR_INT, n, NULL} : (struct int_or_string){INTSTR_STRING, 0, "25%"}; break;
        case FK_RAW: *(struct raw_json *)at = (struct raw_json){"{\"a\":[1,null]}", 14}; break;
        case FK_STRUCT: fill_struct(x, f->type, at); break;
        case FK_STRING_LIST: string_list_push(x->a, at, arena_printf(x->a, "item-%d", n)); break;
    }
}

static void fill_pointer(struct filler *x, const struct field_desc *f, char *at) {
    void *value = at;
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: *(bool *)at = true; value = &((struct opt_bool *)(void *)at)->value; break;
        case FK_INT32: *(bool *)at = true; value = &((struct opt_int32 *)(void *)at)->value; break;
        case FK_INT64: *(bool *)at = true; value = &((struct opt_int64 *)(void *)at)->value; break;
        case FK_DOUBLE: *(bool *)at = true; value = &((struct opt_double *)(void *)at)->value; break;
        case FK_STRUCT:
            if (x->depth > 12) return; /* types that hold themselves end somewhere */
            value = *(void **)(void *)at = arena_alloc(x->a, f->type->size);
            break;
        default: break;
    }
    fill_plain(x, f, value);
}

static void fill_struct(struct filler *x, const struct type_desc *type, void *obj) {
    x->depth++;
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        char *at = (char *)obj + f->offset;
        struct any_list *list = (void *)at;
        if (f->number == 0 && (strcmp(f->name, "kind") == 0 || strcmp(f->name, "apiVersion") == 0)) continue; /* type meta: not in protobuf */
        if (f->number == 0) x->not_in_proto = true;
        if (x->depth > 12 && f->shape != SHAPE_PLAIN) continue;
        if (f->shape == SHAPE_PLAIN) fill_plain(x, f, at);
        else if (f->shape == SHAPE_POINTER) fill_pointer(x, f, at);
        else
            for (int k = 0; k < 2; k++) {
                char *item = arena_list_push(x->a, &list->items, &list->len, f->item_size);
                if (f->shape == SHAPE_MAP) *(const char **)(void *)item = arena_printf(x->a, "key-%d", k);
                if (x->depth > 6 && f->kind == FK_STRUCT) continue;
                fill_plain(x, f, item + (f->shape == SHAPE_MAP ? sizeof(char *) : 0));
            }
    }
    x->depth--;
}

static void every_type_survives_json_and_protobuf(void **state UNUSED) {
    for (size_t i = 0; i < api_kinds_len; i++) {
        const struct type_desc *type = api_kinds[i];
        if (strstr(type->name, "JSONSchema") || strstr(type->name, "CustomResourceDefinition")) continue; /* recursive without end: tested by hand below */
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        void *obj = arena_alloc(a, type->size);
        struct filler filler = {a, 0, 0, false};
        fill_struct(&filler, type, obj);
        object_set_type_meta(a, type, obj);

        _cleanup_buf_ struct buf json = BUF_INIT, again = BUF_INIT, proto = BUF_INIT;
        object_encode_json(type, obj, &json);
        void *back = arena_alloc(a, type->size);
        struct string_list strict = {0};
        if (object_decode_json(a, type, back, json.data, json.len, &strict, &err) != 0) fail_msg("%s: %s", type->name, err.message);
        assert_int_equal(strict.len, 0);
        assert_true(object_equal(type, obj, back));
        object_encode_json(type, back, &again);
        assert_string_equal(json.data, again.data);

        object_encode_proto(type, obj, &proto);
        void *from_proto = arena_alloc(a, type->size);
        if (object_decode_proto(a, type, from_proto, proto.data, proto.len, &err) != 0) fail_msg("%s: %s", type->name, err.message);
        object_set_type_meta(a, type, from_proto);
        buf_clear(&again);
        object_encode_json(type, from_proto, &again);
        if (!filler.not_in_proto) assert_string_equal(json.data, again.data);

        void *copy = object_copy(a, type, obj);
        assert_true(object_equal(type, obj, copy));
    }
}

/* Each version of a resource is read into the stored one and back: nothing may be lost on the way, whatever the fields are called. */
static void every_version_survives_being_stored(void **state UNUSED) {
    size_t pairs = 0;
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *d = &api_resources[i], *s = api_resource_find(d->group, storage_version_of(d), d->resource, NULL);
        if (d->subresource || !s || s->type == d->type) continue;
        if (d->type == &autoscalingv1_HorizontalPodAutoscaler_desc) continue; /* comes back with annotations, as upstream's does */
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_buf_ struct buf before = BUF_INIT, after = BUF_INIT;
        void *obj = arena_alloc(a, d->type->size);
        fill_struct(&(struct filler){a, 0, 0, false}, d->type, obj);
        object_set_type_meta(a, d->type, obj);
        object_encode_json(d->type, obj, &before);
        void *stored = object_convert(a, d->type, object_copy(a, d->type, obj), s->type);
        void *back = object_convert(a, s->type, object_copy(a, s->type, stored), d->type);
        object_encode_json(d->type, back, &after);
        size_t same = 0;
        while (before.data[same] && before.data[same] == after.data[same]) same++;
        size_t from = same > 100 ? same - 100 : 0;
        if (before.data[same] || after.data[same]) fail_msg("%s by way of %s:\n%.300s\n%.300s", d->type->name, s->type->name, before.data + from, after.data + from);
        pairs++;
    }
    assert_true(pairs > 10);
}

static void protobuf_cut_anywhere_is_refused_or_read_but_never_crashes(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Pod *pod = object_new(a, &corev1_Pod_desc);
    fill_struct(&(struct filler){a, 0, 4}, &corev1_Pod_desc, pod);
    _cleanup_buf_ struct buf proto = BUF_INIT;
    object_encode_proto(&corev1_Pod_desc, pod, &proto);
    for (size_t n = 0; n < proto.len; n += 1 + proto.len / 500) {
        _cleanup_arena_ struct arena *b = arena_new();
        void *cut = arena_memdup(b, proto.data, n), *obj = arena_alloc(b, sizeof(*pod));
        int r = object_decode_proto(b, &corev1_Pod_desc, obj, cut, n, NULL);
        (void)r;
    }
}

static char *through_json(struct arena *a, const struct type_desc *type, const char *json, const char **ret_strict) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct string_list strict = {0};
    void *obj = arena_alloc(a, type->size);
    if (object_decode_json(a, type, obj, json, strlen(json), &strict, &err) != 0) return arena_printf(a, "error: %s", status_message(&err));
    if (ret_strict) *ret_strict = strict.len ? strict.items[0] : NULL;
    struct buf out = BUF_INIT;
    object_encode_json(type, obj, &out);
    char *copy = arena_strdup(a, buf_cstr(&out));
    buf_release(&out);
    return copy;
}

static void json_is_read_and_written_as_go_would(void **state UNUSED) {
    static const struct { const struct type_desc *type; const char *in, *out, *strict; } cases[] = {
        {&corev1_ConfigMap_desc, "{\"data\":{\"b\":\"<&>\",\"a\":\"x\\u0000y\"}}", "{\"metadata\":{},\"data\":{\"a\":\"x\\u0000y\",\"b\":\"\\u003c\\u0026\\u003e\"}}", NULL},
        {&corev1_ConfigMap_desc, "{\"immutable\":false,\"data\":{}}", "{\"metadata\":{},\"immutable\":false}", NULL},
        {&corev1_ConfigMap_desc, "{\"nope\":1}", "{\"metadata\":{}}", "unknown field \"nope\""},
        {&corev1_ConfigMap_desc, "{\"metadata\":{\"name\":\"a\",\"name\":\"b\"}}", "{\"metadata\":{\"name\":\"b\"}}", "duplicate field \"metadata.name\""},
        {&corev1_Secret_desc, "{\"data\":{\"k\":\"aGk=\",\"n\":null}}", "{\"metadata\":{},\"data\":{\"k\":\"aGk=\",\"n\":null}}", NULL},
        {&corev1_Container_desc, "{\"resources\":{\"limits\":{\"cpu\":\"1000m\",\"memory\":1024}}}", "{\"name\":\"\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1024\"}}}", NULL},
        {&corev1_ServicePort_desc, "{\"port\":80,\"targetPort\":\"web\"}", "{\"port\":80,\"targetPort\":\"web\"}", NULL},
        {&corev1_Volume_desc, "{\"name\":\"v\",\"emptyDir\":{}}", "{\"name\":\"v\",\"emptyDir\":{}}", NULL},
        {&corev1_ServicePort_desc, "{\"port\":\"80\"}", "error: json: cannot unmarshal string into Go struct field ServicePort.port of type int32", NULL},
        {&corev1_ServicePort_desc, "{\"port\":3000000000}", "error: json: cannot unmarshal number 3000000000 into Go struct field ServicePort.port of type int32", NULL},
        {&appsv1_Deployment_desc, "{\"spec\":{\"replicas\":\"x\"}}", "error: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32", NULL},
        {&corev1_Pod_desc, "{\"spec\":{\"containers\":[{\"env\":[{\"value\":5}]}]}}", "error: json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string", NULL},
        {&corev1_Pod_desc, "{\"spec\":{\"containers\":{}}}", "error: json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container", NULL},
        {&corev1_Pod_desc, "{\"spec\":{\"containers\":[\"c\"]}}", "error: json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container", NULL},
        {&corev1_Pod_desc, "{\"spec\":[]}", "error: json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec", NULL},
        {&corev1_Pod_desc, "{\"metadata\":{\"labels\":{\"a\":true}}}", "error: json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string", NULL},
        {&corev1_Pod_desc, "{\"metadata\":{\"labels\":\"a\"}}", "error: json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels of type map[string]string", NULL},
        {&corev1_Pod_desc, "{\"metadata\":{\"creationTimestamp\":1}}", "error: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string", NULL},
        {&corev1_Pod_desc, "{\"spec\":{\"volumes\":[{\"emptyDir\":{\"sizeLimit\":{}}}]}}", "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'", NULL},
        {&corev1_ServicePort_desc, "{\"targetPort\":false}", "error: json: cannot unmarshal bool into Go struct field ServicePort.targetPort of type int32", NULL},
        {&corev1_Pod_desc, "{\"metadata\":{\"finalizers\":[null],\"annotations\":{\"a\":null}},\"spec\":{\"overhead\":{\"cpu\":null}}}", "{\"metadata\":{\"annotations\":{\"a\":\"\"},\"finalizers\":[\"\"]},\"spec\":{\"containers\":null,\"overhead\":{\"cpu\":\"0\"}},\"status\":{}}", NULL},
        {&corev1_Container_desc, "{\"resources\":{\"limits\":{\"cpu\":\"e\"}}}", "error: unable to parse quantity's suffix", NULL},
        {&corev1_Container_desc, "{\"resources\":{\"limits\":{\"cpu\":\"-Mi\"}}}", "{\"name\":\"\",\"resources\":{\"limits\":{\"cpu\":\"0\"}}}", NULL},
        {&corev1_ServicePort_desc, "[]", "error: json: cannot unmarshal array into Go value of type v1.ServicePort", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *strict = NULL;
        assert_string_equal(through_json(a, cases[i].type, cases[i].in, &strict), cases[i].out);
        if (cases[i].strict) assert_string_equal(strict, cases[i].strict);
        else assert_null(strict);
    }
}

static void a_stored_object_notes_where_its_revision_goes(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct appsv1_Deployment *d = object_new(a, &appsv1_Deployment_desc);
    d->metadata.name = "web";
    d->metadata.resourceVersion = "12";
    _cleanup_buf_ struct buf out = BUF_INIT;
    size_t at;
    object_encode_stored(&appsv1_Deployment_desc, d, &out, &at);
    assert_non_null(strstr(out.data, "\"resourceVersion\":\"\""));
    assert_ptr_equal(out.data + at, strstr(out.data, "\"resourceVersion\":\"\"") + strlen("\"resourceVersion\":\""));
    assert_null(strstr(out.data + at, "resourceVersion")); /* the template's is left out */
}

static void quantities_are_canonical(void **state UNUSED) {
    static const struct { const char *in, *out; } cases[] = {
        {"0", "0"}, {"1000m", "1"}, {"1.5", "1500m"}, {"100m", "100m"}, {"1500", "1500"}, {"10000", "10k"}, {"1e3", "1e3"}, {"1E", "1E"}, {"12e6", "12e6"},
        {"1024Mi", "1Gi"}, {"1.5Gi", "1536Mi"}, {"0.5Ki", "512"}, {"1Ki", "1Ki"}, {"1000Ki", "1000Ki"}, {"0.1n", "1n"}, {"-0.5", "-500m"}, {"+1", "1"}, {".5", "500m"},
        {"1.", "1"}, {"0.0001", "100u"}, {"9223372036854775808", "9223372036854775807"}, {"100Ei", "9223372036854775807"}, {"1e-3", "1e-3"}, {"1.5Ki", "1536"},
        {"3.5e3", "3500"}, {"1.23456789012345", "1234567891n"},
        {"Ki", "0"}, {".", "0"}, {"-", "0"}, {"e3", "0"}, {" 1 ", "1"},
    };
    static const char *const refused[] = {"x", "1x", "1ki", "1.2.3", "1 Gi", "e", "1e", "1iK", "", " "};
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *got = quantity_canonicalize(a, cases[i].in, NULL);
        if (!got || strcmp(got, cases[i].out) != 0) fail_msg("%s: wanted %s, got %s", cases[i].in, cases[i].out, got ? got : "an error");
    }
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (quantity_canonicalize(a, refused[i], NULL)) fail_msg("%s was taken", refused[i]);
    assert_int_equal(quantity_text_cmp("1Ki", "1024"), 0);
    assert_int_equal(quantity_milli_value(&(struct quantity){1500000001, 0}), 1501);
}

/* Upstream's internal struct keeps what a Pod shares with its host in its security context. */
static void pods_as_go_has_them(void **state UNUSED) {
    const struct corev1_PodSpec s = {.nodeName = "n", .hostPID = true, .setHostnameAsFQDN = {.has = true, .value = true}, .serviceAccount = "s"};
    _cleanup_buf_ struct buf out = BUF_INIT;
    object_encode_go(&corev1_PodSpec_desc, &s, &out);
    assert_non_null(strstr(out.data, "\"NodeName\":\"n\",\"SecurityContext\":{\"HostNetwork\":false,\"HostPID\":true,\"HostIPC\":false,\"ShareProcessNamespace\":null,\"HostUsers\":null,\"SELinuxOptions\":null,"));
    assert_non_null(strstr(out.data, "\"Subdomain\":\"\",\"SetHostnameAsFQDN\":true,\"Affinity\":null"));
    assert_null(strstr(out.data, "\"ServiceAccount\":"));
}

static void times_and_ages(void **state UNUSED) {
    struct api_time t;
    _cleanup_buf_ struct buf out = BUF_INIT;
    _cleanup_arena_ struct arena *a = arena_new();
    assert_int_equal(time_parse("2024-02-29T23:59:59.9+02:00", &t, NULL), 0);
    time_format(&t, &out);
    assert_string_equal(out.data, "2024-02-29T21:59:59Z");
    buf_clear(&out);
    assert_int_equal(micro_time_parse("2024-01-01T00:00:00.1234567Z", &t, NULL), 0);
    micro_time_format(&t, &out);
    assert_string_equal(out.data, "2024-01-01T00:00:00.123456Z");
    static const char *const kept[] = {"0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2000-02-29T01:02:03Z", "9999-12-31T23:59:59Z"};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        buf_clear(&out);
        assert_int_equal(time_parse(kept[i], &t, NULL), 0);
        time_format(&t, &out);
        assert_string_equal(out.data, kept[i]);
    }
    assert_int_equal(time_parse("2023-02-29T00:00:00Z", &t, NULL), -1);
    assert_int_equal(time_parse("yesterday", &t, NULL), -1);
    static const struct { int64_t s; const char *want; } ages[] = {{0, "0s"}, {119, "119s"}, {120, "2m"}, {130, "2m10s"}, {600, "10m"}, {10800, "3h"}, {29000, "8h"}, {172800, "2d"}, {200000, "2d7h"}, {70000000, "2y80d"}};
    for (size_t i = 0; i < ARRAY_LEN(ages); i++) assert_string_equal(human_duration(a, ages[i].s), ages[i].want);
}

static void floats_are_written_as_go_writes_them(void **state UNUSED) {
    static const struct { double v; const char *want; } cases[] = {{1, "1"}, {0.1, "0.1"}, {1e21, "1e+21"}, {1e20, "100000000000000000000"}, {1e-7, "1e-7"}, {123456.789, "123456.789"}, {-2.5e-10, "-2.5e-10"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf out = BUF_INIT;
        json_write_double(&out, cases[i].v);
        assert_string_equal(out.data, cases[i].want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_survives_json_and_protobuf),
        cmocka_unit_test(every_version_survives_being_stored),
        cmocka_unit_test(protobuf_cut_anywhere_is_refused_or_read_but_never_crashes),
        cmocka_unit_test(json_is_read_and_written_as_go_would),
        cmocka_unit_test(a_stored_object_notes_where_its_revision_goes),
        cmocka_unit_test(quantities_are_canonical),
        cmocka_unit_test(pods_as_go_has_them), cmocka_unit_test(times_and_ages),
        cmocka_unit_test(floats_are_written_as_go_writes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
