/* Server-side apply over typed objects: conversations of managers, each step with what comes of it; merge, validation and schemas. Cases follow upstream's
 * documentation and the behaviour of structured-merge-diff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "api/convert.h"
#include "api/managedfields.h"
#include "base/str.h"
#include "wire/json.h"

/* "manager/operation[/subresource] fields; ..." */
static const char *owners(struct arena *a, const struct object *obj) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    LIST_FOREACH(e, &obj->metadata.managedFields)
        buf_printf(&out, "%s%s/%s%s%s %s", out.len ? "; " : "", e->manager, e->operation, str_empty(e->subresource) ? "" : "/", str_or(e->subresource, ""), e->fieldsV1.data);
    return arena_strdup(a, buf_cstr(&out));
}

/* The object without its managed fields, kind and apiVersion. */
static const char *body(struct arena *a, const struct type_desc *type, const struct object *obj) {
    struct object *o = arena_memdup(a, obj, type->size);
    o->metadata.managedFields = (struct metav1_ManagedFieldsEntry_list){0};
    o->kind = o->apiVersion = NULL;
    _cleanup_buf_ struct buf out = BUF_INIT;
    object_encode_json(type, o, &out);
    return arena_strdup(a, buf_cstr(&out));
}

enum action { APPLY, FORCE, UPDATE, CREATE };
struct step {
    enum action action;
    const char *manager, *text; /* of APPLY without apiVersion, kind and name; of UPDATE the whole object */
    const char *body, *owners;  /* NULL: not looked at; body may be "CODE: message" */
};

struct conversation { struct arena *a; const struct type_desc *type; void *obj; int64_t now_s; };

static struct value parse(struct arena *a, const char *text) {
    yyjson_doc *doc = json_parse_in(a, text, strlen(text), 0, NULL);
    if (!doc) fail_msg("bad JSON in the test: %s", text);
    return value_from_json(a, yyjson_doc_get_root(doc));
}

static const char *configuration(struct conversation *c, const char *text) {
    const char *rest = text[0] && text[1] != '}' ? text + 1 : "}";
    return arena_printf(c->a, "{\"apiVersion\":\"%s\",\"kind\":\"%s\"%s%s", type_api_version(c->a, c->type), c->type->kind, rest[0] == '}' ? "" : ",", rest);
}

static void take(struct conversation *c, const struct step *s) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct field_manager m = {.arena = c->a, .manager = s->manager, .now_s = c->now_s++};
    void *now = NULL;
    if (s->action == APPLY || s->action == FORCE) {
        struct value config = parse(c->a, configuration(c, s->text));
        now = managed_fields_apply(&m, c->type, c->obj, &config, s->action == FORCE, &err);
    } else {
        now = object_new(c->a, c->type);
        assert_int_equal(object_decode_json(c->a, c->type, now, s->text, strlen(s->text), NULL, &err), 0);
        managed_fields_update(&m, c->type, s->action == CREATE ? NULL : c->obj, now);
    }
    const char *got = now ? body(c->a, c->type, now) : arena_printf(c->a, "%d: %s", err.code, status_message(&err));
    if (s->body && strcmp(got, s->body) != 0) fail_msg("%s %s:\n  wanted %s\n  got    %s", s->manager, s->text, s->body, got);
    if (now) c->obj = now;
    got = c->obj ? owners(c->a, c->obj) : "";
    if (s->owners && strcmp(got, s->owners) != 0) fail_msg("%s %s:\n  wanted %s\n  got    %s", s->manager, s->text, s->owners, got);
}

static void converse(const struct type_desc *type, const struct step *steps, size_t n) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct conversation c = {a, type, NULL, 1000};
    for (size_t i = 0; i < n; i++) take(&c, &steps[i]);
}

static void fields_of_config_maps(void **state UNUSED) {
    static const struct step steps[] = {
        {APPLY, "alice", "{\"data\":{\"k\":\"v\",\"l\":\"w\"}}", "{\"metadata\":{},\"data\":{\"k\":\"v\",\"l\":\"w\"}}", "alice/Apply {\"f:data\":{\"f:k\":{},\"f:l\":{}}}"},
        {APPLY, "alice", "{\"data\":{\"l\":\"w\"}}", "{\"metadata\":{},\"data\":{\"l\":\"w\"}}", "alice/Apply {\"f:data\":{\"f:l\":{}}}"},
        {APPLY, "bob", "{\"data\":{\"l\":\"x\"}}", "409: Apply failed with 1 conflict: conflict with \"alice\": .data.l", NULL},
        {APPLY, "bob", "{\"data\":{\"l\":\"w\",\"m\":\"1\"}}", "{\"metadata\":{},\"data\":{\"l\":\"w\",\"m\":\"1\"}}", "alice/Apply {\"f:data\":{\"f:l\":{}}}; bob/Apply {\"f:data\":{\"f:l\":{},\"f:m\":{}}}"},
        {APPLY, "alice", "{}", "{\"metadata\":{},\"data\":{\"l\":\"w\",\"m\":\"1\"}}", "bob/Apply {\"f:data\":{\"f:l\":{},\"f:m\":{}}}"},
        {FORCE, "carol", "{\"data\":{\"l\":\"z\"}}", "{\"metadata\":{},\"data\":{\"l\":\"z\",\"m\":\"1\"}}", "bob/Apply {\"f:data\":{\"f:m\":{}}}; carol/Apply {\"f:data\":{\"f:l\":{}}}"},
        {APPLY, "bob", "{\"data\":{\"l\":\"a\",\"m\":\"2\"}}", "409: Apply failed with 1 conflict: conflict with \"carol\": .data.l", NULL},
        {UPDATE, "put", "{\"data\":{\"l\":\"z\",\"m\":\"9\"}}", NULL, "carol/Apply {\"f:data\":{\"f:l\":{}}}; put/Update {\"f:data\":{\"f:m\":{}}}"},
        {APPLY, "bob", "{\"data\":{\"l\":\"a\",\"m\":\"2\"}}", "409: Apply failed with 2 conflicts: conflicts with \"carol\":\n- .data.l\nconflicts with \"put\" using v1:\n- .data.m", NULL},
    };
    converse(&corev1_ConfigMap_desc, steps, ARRAY_LEN(steps));
}

#define DEPLOYMENT(containers) "{\"spec\":{\"template\":{\"spec\":{\"containers\":[" containers "]}}}}"
#define MADE(containers) "{\"metadata\":{},\"spec\":{\"selector\":null,\"template\":{\"metadata\":{},\"spec\":{\"containers\":[" containers "]}},\"strategy\":{}},\"status\":{}}"
#define OWNS(containers) " {\"f:spec\":{\"f:template\":{\"f:spec\":{\"f:containers\":{" containers "}}}}}"

static void lists_of_maps(void **state UNUSED) {
    static const struct step steps[] = {
        {APPLY, "alice", DEPLOYMENT("{\"name\":\"a\",\"image\":\"i\"}"), MADE("{\"name\":\"a\",\"image\":\"i\",\"resources\":{}}"), "alice/Apply" OWNS("\"k:{\\\"name\\\":\\\"a\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{}}")},
        {APPLY, "side", DEPLOYMENT("{\"name\":\"s\",\"image\":\"j\"}"), MADE("{\"name\":\"a\",\"image\":\"i\",\"resources\":{}},{\"name\":\"s\",\"image\":\"j\",\"resources\":{}}"), NULL},
        {APPLY, "alice", DEPLOYMENT("{\"name\":\"b\",\"image\":\"i\"}"), MADE("{\"name\":\"s\",\"image\":\"j\",\"resources\":{}},{\"name\":\"b\",\"image\":\"i\",\"resources\":{}}"), NULL},
        {APPLY, "env", DEPLOYMENT("{\"name\":\"b\",\"env\":[{\"name\":\"E\",\"value\":\"1\"}]}"), MADE("{\"name\":\"s\",\"image\":\"j\",\"resources\":{}},{\"name\":\"b\",\"image\":\"i\",\"env\":[{\"name\":\"E\",\"value\":\"1\"}],\"resources\":{}}"), NULL},
        /* what another owns inside keeps the item */
        {APPLY, "alice", "{}", MADE("{\"name\":\"s\",\"image\":\"j\",\"resources\":{}},{\"name\":\"b\",\"env\":[{\"name\":\"E\",\"value\":\"1\"}],\"resources\":{}}"), NULL},
        {APPLY, "env", "{}", MADE("{\"name\":\"s\",\"image\":\"j\",\"resources\":{}}"), "side/Apply" OWNS("\"k:{\\\"name\\\":\\\"s\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{}}")},
        {APPLY, "dup", DEPLOYMENT("{\"name\":\"a\"},{\"name\":\"a\"}"), "500: failed to create typed patch object (/; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name=\"a\"]", NULL},
        {APPLY, "odd", DEPLOYMENT("null"), "500: failed to create typed patch object (/; apps/v1, Kind=Deployment): .spec.template.spec.containers: element 0: associative list with keys may not have a null element", NULL},
    };
    converse(&appsv1_Deployment_desc, steps, ARRAY_LEN(steps));
}

static void keys_with_defaults(void **state UNUSED) {
    static const struct step steps[] = {
        {APPLY, "a", "{\"spec\":{\"ports\":[{\"port\":80}]}}", NULL, "a/Apply {\"f:spec\":{\"f:ports\":{\"k:{\\\"port\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:port\":{}}}}}"},
        {APPLY, "b", "{\"spec\":{\"ports\":[{\"port\":80,\"protocol\":\"TCP\",\"name\":\"x\"},{\"port\":80,\"protocol\":\"UDP\"}]}}", NULL, NULL},
        {APPLY, "c", "{\"spec\":{\"ports\":[{\"port\":80,\"protocol\":\"TCP\",\"name\":\"y\"}]}}", "409: Apply failed with 1 conflict: conflict with \"b\": .spec.ports[port=80,protocol=\"TCP\"].name", NULL},
    };
    converse(&corev1_Service_desc, steps, ARRAY_LEN(steps));
}

static void sets_and_atomics(void **state UNUSED) {
    static const struct step steps[] = {
        {APPLY, "a", "{\"metadata\":{\"finalizers\":[\"x/a\",\"x/b\"]},\"spec\":{\"nodeSelector\":{\"p\":\"q\"},\"tolerations\":[{\"key\":\"k\"}]}}", NULL,
         "a/Apply {\"f:metadata\":{\"f:finalizers\":{\"v:\\\"x/a\\\"\":{},\"v:\\\"x/b\\\"\":{}}},\"f:spec\":{\"f:nodeSelector\":{},\"f:tolerations\":{}}}"},
        {APPLY, "b", "{\"metadata\":{\"finalizers\":[\"x/c\",\"x/b\"]}}", "{\"metadata\":{\"finalizers\":[\"x/a\",\"x/c\",\"x/b\"]},\"spec\":{\"containers\":null,\"nodeSelector\":{\"p\":\"q\"},\"tolerations\":[{\"key\":\"k\"}]},\"status\":{}}", NULL},
        {APPLY, "a", "{\"metadata\":{\"finalizers\":[\"x/a\"]}}", "{\"metadata\":{\"finalizers\":[\"x/a\",\"x/c\",\"x/b\"]},\"spec\":{\"containers\":null},\"status\":{}}", NULL},
        {APPLY, "c", "{\"spec\":{\"nodeSelector\":{\"r\":\"s\"}}}", NULL, NULL},
        {APPLY, "d", "{\"spec\":{\"nodeSelector\":{\"t\":\"u\"}}}", "409: Apply failed with 1 conflict: conflict with \"c\": .spec.nodeSelector", NULL},
        {APPLY, "e", "{\"metadata\":{\"finalizers\":[\"z\",\"z\"]}}", "500: failed to create typed patch object (/; /v1, Kind=Pod): .metadata.finalizers: duplicate entries for key [=\"z\"]", NULL},
    };
    converse(&corev1_Pod_desc, steps, ARRAY_LEN(steps));
}

static void what_is_refused(void **state UNUSED) {
    static const struct step steps[] = {
        {APPLY, "m", "{\"metadata\":{\"name\":\"n\",\"namespace\":\"ns\"},\"datum\":{}}", "500: failed to create typed patch object (ns/n; /v1, Kind=ConfigMap): .datum: field not declared in schema", NULL},
        {APPLY, "m", "{\"data\":{\"k\":7}}", "500: failed to create typed patch object (/; /v1, Kind=ConfigMap): .data.k: expected string, got &value.valueUnstructured{Value:7}", NULL},
        {APPLY, "m", "{\"data\":[\"a\",1]}", "500: failed to create typed patch object (/; /v1, Kind=ConfigMap): .data: expected map, got &{[a 1]}", NULL},
        {APPLY, "m", "{\"immutable\":\"yes\",\"data\":{\"a\":false,\"b\":{\"c\":1.5}}}",
         "500: failed to create typed patch object (/; /v1, Kind=ConfigMap): errors:\n  .data.a: expected string, got &value.valueUnstructured{Value:false}\n"
         "  .data.b: expected string, got &value.valueUnstructured{Value:map[string]interface {}{\"c\":1.5}}\n  .immutable: expected boolean, got &{yes}", NULL},
        {APPLY, "m", "{\"metadata\":{\"generation\":\"x\"}}", "500: failed to create typed patch object (/; /v1, Kind=ConfigMap): .metadata.generation: expected numeric (int or float), got string", NULL},
        {APPLY, "m", "{\"metadata\":{\"managedFields\":[]}}", "400: metadata.managedFields must be nil", NULL},
        {APPLY, "m", "{\"metadata\":{\"creationTimestamp\":\"never\"}}", NULL, NULL},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    struct conversation c = {a, &corev1_ConfigMap_desc, NULL, 1};
    for (size_t i = 0; i + 1 < ARRAY_LEN(steps); i++) {
        take(&c, &steps[i]);
        assert_null(c.obj);
    }
    struct field_manager m = {.arena = a, .manager = "m"};
    static const struct { const char *config, *want; } kinds[] = {
        {"{\"kind\":\"ConfigMap\"}", "400: invalid object type: /, Kind=ConfigMap"},
        {"{\"apiVersion\":\"v1\"}", "400: invalid object type: /v1, Kind="},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Secret\"}", "400: invalid object type: /v1, Kind=Secret"},
        {"{\"apiVersion\":\"apps/v1\",\"kind\":\"ConfigMap\"}", "400: invalid object type: apps/v1, Kind=ConfigMap"},
        {"{\"apiVersion\":\"a/b/c\",\"kind\":\"ConfigMap\"}", "400: invalid object type: /, Kind="},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        struct value config = parse(a, kinds[i].config);
        assert_null(managed_fields_apply(&m, &corev1_ConfigMap_desc, NULL, &config, false, &err));
        assert_string_equal(arena_printf(a, "%d: %s", err.code, err.message), kinds[i].want);
    }
}

/* kubectl's annotation lets kubectl take over what it applied client-side, and only that. */
static void from_client_side_apply(void **state UNUSED) {
#define LAST "kubectl.kubernetes.io/last-applied-configuration"
    static const struct step steps[] = {
        {CREATE, "kubectl-client-side-apply", "{\"metadata\":{\"annotations\":{\"" LAST "\":\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":\\\"ConfigMap\\\",\\\"data\\\":{\\\"k\\\":\\\"v\\\"}}\"}},\"data\":{\"k\":\"v\",\"o\":\"1\"}}", NULL, NULL},
        {APPLY, "other", "{\"data\":{\"k\":\"w\"}}", "409: Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.k", NULL},
        {APPLY, "kubectl", "{\"data\":{\"k\":\"w\",\"o\":\"2\"}}", "409: Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.o", NULL},
        {APPLY, "kubectl", "{\"data\":{\"k\":\"w\"}}",
         "{\"metadata\":{\"annotations\":{\"" LAST "\":\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"data\\\":{\\\"k\\\":\\\"w\\\"},\\\"kind\\\":\\\"ConfigMap\\\"}\\n\"}},\"data\":{\"k\":\"w\",\"o\":\"1\"}}", NULL},
    };
    converse(&corev1_ConfigMap_desc, steps, ARRAY_LEN(steps));
}

/* What was there before anybody applied belongs to somebody of before. */
static void first_apply(void **state UNUSED) {
    static const struct step steps[] = {
        {UPDATE, "nobody", "{\"data\":{\"k\":\"v\"}}", NULL, ""},
        {APPLY, "a", "{\"data\":{\"k\":\"w\"}}", "409: Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.k", NULL},
        {APPLY, "a", "{\"data\":{\"l\":\"w\"}}", NULL, "a/Apply {\"f:data\":{\"f:l\":{}}}; before-first-apply/Update {\"f:data\":{\".\":{},\"f:k\":{}}}"},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    struct conversation c = {a, &corev1_ConfigMap_desc, object_new(a, &corev1_ConfigMap_desc), 1};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) take(&c, &steps[i]);
}

static void times_move_with_changes(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct conversation c = {a, &corev1_ConfigMap_desc, NULL, 100};
    static const struct step first = {APPLY, "a", "{\"data\":{\"k\":\"v\"}}", NULL, NULL}, other = {APPLY, "a", "{\"data\":{\"k\":\"w\"}}", NULL, NULL}, shares = {APPLY, "b", "{\"data\":{\"k\":\"w\"}}", NULL, NULL};
    take(&c, &first);
    take(&c, &first);
    assert_int_equal(((struct object *)c.obj)->metadata.managedFields.items[0].time.sec, 100);
    take(&c, &other);
    assert_int_equal(((struct object *)c.obj)->metadata.managedFields.items[0].time.sec, 102);
    take(&c, &shares); /* the object does not change: upstream gives the new manager no time, so it sorts first */
    assert_string_equal(((struct object *)c.obj)->metadata.managedFields.items[0].manager, "b");
    assert_false(((struct object *)c.obj)->metadata.managedFields.items[0].time.set);
}

/* Managers that know the kind in different versions: their fields are compared, and pruned, each in its own. */
static void versions(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct conversation c = {a, &autoscalingv1_HorizontalPodAutoscaler_desc, NULL, 1};
    static const struct step v1[] = {
        {APPLY, "old", "{\"spec\":{\"maxReplicas\":3,\"minReplicas\":2,\"scaleTargetRef\":{\"kind\":\"D\",\"name\":\"d\"}}}", NULL,
         "old/Apply {\"f:spec\":{\"f:maxReplicas\":{},\"f:minReplicas\":{},\"f:scaleTargetRef\":{}}}"},
    };
    static const struct step v2[] = {
        {APPLY, "new", "{\"spec\":{\"maxReplicas\":4}}", "409: Apply failed with 1 conflict: conflict with \"old\": .spec.maxReplicas", NULL},
        {FORCE, "new", "{\"spec\":{\"maxReplicas\":4}}", NULL, "old/Apply {\"f:spec\":{\"f:minReplicas\":{},\"f:scaleTargetRef\":{}}}; new/Apply {\"f:spec\":{\"f:maxReplicas\":{}}}"},
        {APPLY, "old", "{\"spec\":{\"scaleTargetRef\":{\"kind\":\"D\",\"name\":\"d\"}}}", NULL, "new/Apply {\"f:spec\":{\"f:maxReplicas\":{}}}; old/Apply {\"f:spec\":{\"f:scaleTargetRef\":{\"f:kind\":{},\"f:name\":{}}}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(v1); i++) take(&c, &v1[i]);
    c.obj = object_convert(a, c.type, c.obj, &autoscalingv2_HorizontalPodAutoscaler_desc);
    c.type = &autoscalingv2_HorizontalPodAutoscaler_desc;
    assert_string_equal(((struct object *)c.obj)->metadata.managedFields.items[0].apiVersion, "autoscaling/v1");
    for (size_t i = 0; i < ARRAY_LEN(v2); i++) take(&c, &v2[i]);
    const struct autoscalingv2_HorizontalPodAutoscaler *hpa = c.obj;
    assert_false(hpa->spec.minReplicas.has); /* was old's alone */
    assert_int_equal(hpa->spec.maxReplicas, 4);
}

/* ---- custom resources ---- */

static const char schema_text[] =
    "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{"
    "\"size\":{\"x-kubernetes-int-or-string\":true},\"names\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":\"string\"}},"
    "\"ports\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"port\",\"proto\"],"
    "\"items\":{\"type\":\"object\",\"properties\":{\"port\":{\"type\":\"integer\"},\"proto\":{\"type\":\"string\",\"default\":\"TCP\"},\"note\":{\"type\":\"string\"}}}},"
    "\"whole\":{\"type\":\"object\",\"x-kubernetes-map-type\":\"atomic\",\"additionalProperties\":{\"type\":\"string\"}},"
    "\"free\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}}}}}";

static void custom_schemas(void **state UNUSED) {
    static const struct { const char *config, *want; } cases[] = {
        {"{\"spec\":{\"size\":\"5\",\"names\":[\"b\",\"a\"]}}", "{\"f:spec\":{\"f:names\":{\"v:\\\"a\\\"\":{},\"v:\\\"b\\\"\":{}},\"f:size\":{}}}"},
        {"{\"spec\":{\"ports\":[{\"port\":1,\"note\":\"n\"}]}}", "{\"f:spec\":{\"f:ports\":{\"k:{\\\"port\\\":1,\\\"proto\\\":\\\"TCP\\\"}\":{\".\":{},\"f:note\":{},\"f:port\":{}}}}}"},
        {"{\"spec\":{\"whole\":{\"a\":\"b\"},\"free\":{\"x\":{\"y\":[1]}}}}", "{\"f:spec\":{\"f:free\":{\"f:x\":{\".\":{},\"f:y\":{}}},\"f:whole\":{}}}"},
        {"{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", "{\"f:metadata\":{\"f:labels\":{\"f:a\":{}}}}"},
        {"{\"spec\":{\"other\":1}}", ".spec.other: field not declared in schema"},
        {"{\"spec\":{\"size\":[]}}", ".spec.size: expected any scalar, got &{[]}"},
        {"{\"metadata\":{\"other\":1}}", ".metadata.other: field not declared in schema"},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    yyjson_doc *doc = json_parse_in(a, schema_text, strlen(schema_text), 0, NULL);
    struct schema_ref type = schema_of_node(schema_from_openapi(a, yyjson_doc_get_root(doc)));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct string_list errs = {0};
        _cleanup_buf_ struct buf out = BUF_INIT;
        struct value v = parse(a, cases[i].config);
        typed_validate(a, type, &v, false, &errs);
        struct field_set s = typed_field_set(a, type, &v);
        if (errs.len) buf_append_str(&out, typed_error_text(a, &errs));
        else field_set_write(&out, &s);
        assert_string_equal(out.data, cases[i].want);
    }
    struct value v = parse(a, "{\"anything\":{\"a\":[1]}}");
    struct string_list errs = {0};
    typed_validate(a, schema_of_node(schema_from_openapi(a, NULL)), &v, false, &errs);
    assert_int_equal(errs.len, 0);
}

/* The order of merged lists: the configuration's, with the live object's own items where they were. */
static void order_of_lists(void **state UNUSED) {
    static const struct { const char *live, *config, *want; } cases[] = {
        {"[\"a\",\"b\",\"c\"]", "[]", "[\"a\",\"b\",\"c\"]"},
        {"[\"a\",\"b\",\"c\"]", "[\"d\"]", "[\"a\",\"b\",\"c\",\"d\"]"},
        {"[\"a\",\"b\",\"c\"]", "[\"c\",\"a\"]", "[\"b\",\"c\",\"a\"]"},
        {"[\"a\",\"b\",\"c\"]", "[\"c\",\"b\",\"a\"]", "[\"c\",\"b\",\"a\"]"},
        {"[\"a\",\"b\",\"c\"]", "[\"x\",\"b\",\"y\"]", "[\"a\",\"x\",\"b\",\"c\",\"y\"]"},
        {"[\"a\",\"a\",\"b\"]", "[\"a\"]", "[\"a\",\"b\"]"},
        {"null", "[\"a\"]", "[\"a\"]"},
    };
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct string_list errs = {0};
        _cleanup_buf_ struct buf out = BUF_INIT;
        struct value live = parse(a, arena_printf(a, "{\"metadata\":{\"finalizers\":%s}}", cases[i].live)), config = parse(a, arena_printf(a, "{\"metadata\":{\"finalizers\":%s}}", cases[i].config));
        struct value merged = typed_merge(a, schema_of_type(&corev1_ConfigMap_desc), &live, &config, &errs);
        assert_int_equal(errs.len, 0);
        value_write_json(&out, value_at(&merged, "metadata", "finalizers"));
        if (strcmp(out.data, cases[i].want) != 0) fail_msg("%s with %s: wanted %s, got %s", cases[i].live, cases[i].config, cases[i].want, out.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_config_maps), cmocka_unit_test(lists_of_maps), cmocka_unit_test(keys_with_defaults), cmocka_unit_test(sets_and_atomics), cmocka_unit_test(what_is_refused),
        cmocka_unit_test(from_client_side_apply), cmocka_unit_test(first_apply), cmocka_unit_test(times_move_with_changes), cmocka_unit_test(versions), cmocka_unit_test(custom_schemas), cmocka_unit_test(order_of_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
