/* FieldsV1, and configurations applied to a Deployment and to a custom resource: whatever comes in, sets survive being written and read, and apply ends. */
#include <stdint.h>
#include <string.h>
#include "api/managedfields.h"
#include "wire/json.h"

static const char live[] = "{\"metadata\":{\"name\":\"w\",\"finalizers\":[\"a\",\"b\"],\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Apply\",\"apiVersion\":\"apps/v1\",\"fieldsType\":\"FieldsV1\","
                           "\"fieldsV1\":{\"f:spec\":{\"f:replicas\":{},\"f:template\":{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\".\":{},\"f:image\":{}}}}}}}},"
                           "{\"manager\":\"u\",\"operation\":\"Update\",\"apiVersion\":\"apps/v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"a\\\"\":{}}}}}]},"
                           "\"spec\":{\"replicas\":1,\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"ports\":[{\"containerPort\":1}]},{\"name\":\"b\"}],\"nodeSelector\":{\"x\":\"y\"}}}}}";

static void fields(struct arena *a, const uint8_t *data, size_t size) {
    struct field_set s, again;
    if (field_set_parse(a, (const char *)data, size, &s, NULL) != 0) return;
    _cleanup_buf_ struct buf out = BUF_INIT;
    field_set_write(&out, &s);
    CHECK(field_set_parse(a, out.data, out.len, &again, NULL) == 0);
    struct field_set both = field_set_union(a, &s, &again), none = field_set_difference(a, &both, &s);
    CHECK(field_set_empty(&none));
    typed_set_reconcile(a, schema_of_type(&appsv1_Deployment_desc), &s);
}

static void configuration(struct arena *a, const uint8_t *data, size_t size) {
    yyjson_doc *doc = json_parse_in(a, (const char *)data, size, 0, NULL);
    if (!doc || !yyjson_is_obj(yyjson_doc_get_root(doc))) return;
    struct value config = value_from_json(a, yyjson_doc_get_root(doc));
    struct object *obj = object_new(a, &appsv1_Deployment_desc);
    CHECK(object_decode_json(a, &appsv1_Deployment_desc, obj, live, strlen(live), NULL, NULL) == 0);
    for (int force = 0; force < 2; force++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        struct field_manager m = {.arena = a, .manager = force ? "kubectl" : "m", .now_s = 1};
        struct object *now = managed_fields_apply(&m, &appsv1_Deployment_desc, obj, &config, force, &err);
        if (now) managed_fields_apply(&m, &appsv1_Deployment_desc, now, &config, force, &err);
    }
    const struct schema_node *schema = schema_from_openapi(a, yyjson_doc_get_root(doc));
    struct string_list errs = {0};
    typed_validate(a, schema_of_node(schema), &config, true, &errs);
    typed_field_set(a, schema_of_node(schema), &config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *a = arena_new();
    fields(a, data, size);
    configuration(a, data, size);
    arena_free(a);
    return 0;
}
