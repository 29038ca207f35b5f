/* A v2 document, written as JSON, turned into the protobuf that gnostic's OpenAPIv2.proto describes: old clients (kubectl before 1.27) ask for nothing else.
 * Members are looked up in small tables by their JSON names; what a table does not name is left out. */
#include <string.h>
#include "apiserver/openapi_document.h"
#include "base/str.h"

static void put_varint(struct buf *out, uint64_t v) {
    while (v >= 0x80) {
        buf_append_char(out, (char)(v | 0x80));
        v >>= 7;
    }
    buf_append_char(out, (char)v);
}

static void put_bytes(struct buf *out, unsigned number, const char *data, size_t len) {
    put_varint(out, (uint64_t)number << 3 | 2);
    put_varint(out, len);
    buf_append(out, data, len);
}

static void put_bool(struct buf *out, unsigned number, bool v) {
    if (!v) return;
    put_varint(out, (uint64_t)number << 3);
    put_varint(out, 1);
}

static void put_int(struct buf *out, unsigned number, yyjson_val *v) {
    put_varint(out, (uint64_t)number << 3);
    put_varint(out, (uint64_t)yyjson_get_sint(v));
}

static void put_double(struct buf *out, unsigned number, yyjson_val *v) {
    double d = yyjson_get_num(v);
    put_varint(out, (uint64_t)number << 3 | 1);
    buf_append(out, &d, sizeof(d));
}

static void take(struct buf *out, unsigned number, struct buf *message) {
    put_bytes(out, number, message->data, message->len);
    buf_release(message);
}

/* Any {yaml = 2}: JSON is YAML. */
static void put_any(struct buf *out, unsigned number, yyjson_val *v) {
    struct buf any = BUF_INIT, text = BUF_INIT;
    json_write_value(&text, v);
    buf_append_char(&text, '\n');
    put_bytes(&any, 2, text.data, text.len);
    buf_release(&text);
    take(out, number, &any);
}

static void put_named_any(struct buf *out, unsigned number, yyjson_val *k, yyjson_val *v) {
    struct buf named = BUF_INIT;
    put_bytes(&named, 1, yyjson_get_str(k), yyjson_get_len(k));
    put_any(&named, 2, v);
    take(out, number, &named);
}

enum form { STRING, STRINGS, BOOL, INT, DOUBLE, ANY, ANIES, SCHEMA, SCHEMAS, NAMED_SCHEMAS, TYPE, ITEMS, ADDITIONAL, PARAMETERS, RESPONSES, PATHS, OPERATION, INFO, DEFINITIONS };
struct member { const char *name; unsigned number; enum form form; };

static const struct member schema_members[] = {
    {"$ref", 1, STRING}, {"format", 2, STRING}, {"title", 3, STRING}, {"description", 4, STRING}, {"default", 5, ANY}, {"multipleOf", 6, DOUBLE}, {"maximum", 7, DOUBLE}, {"exclusiveMaximum", 8, BOOL},
    {"minimum", 9, DOUBLE}, {"exclusiveMinimum", 10, BOOL}, {"maxLength", 11, INT}, {"minLength", 12, INT}, {"pattern", 13, STRING}, {"maxItems", 14, INT}, {"minItems", 15, INT}, {"uniqueItems", 16, BOOL},
    {"maxProperties", 17, INT}, {"minProperties", 18, INT}, {"required", 19, STRINGS}, {"enum", 20, ANIES}, {"additionalProperties", 21, ADDITIONAL}, {"type", 22, TYPE}, {"items", 23, ITEMS}, {"allOf", 24, SCHEMAS},
    {"properties", 25, NAMED_SCHEMAS}, {"example", 30, ANY}, {NULL, 31, ANY}};
static const struct member info_members[] = {{"title", 1, STRING}, {"version", 2, STRING}, {NULL, 7, ANY}};
static const struct member operation_members[] = {{"tags", 1, STRINGS}, {"description", 3, STRING}, {"operationId", 5, STRING}, {"produces", 6, STRINGS}, {"consumes", 7, STRINGS}, {"parameters", 8, PARAMETERS},
    {"responses", 9, RESPONSES}, {"schemes", 10, STRINGS}, {"deprecated", 11, BOOL}, {NULL, 13, ANY}};
static const struct member path_members[] = {{"get", 2, OPERATION}, {"put", 3, OPERATION}, {"post", 4, OPERATION}, {"delete", 5, OPERATION}, {"options", 6, OPERATION}, {"head", 7, OPERATION}, {"patch", 8, OPERATION}, {"parameters", 9, PARAMETERS}, {NULL, 10, ANY}};
static const struct member body_members[] = {{"description", 1, STRING}, {"name", 2, STRING}, {"in", 3, STRING}, {"required", 4, BOOL}, {"schema", 5, SCHEMA}, {NULL, 6, ANY}};
static const struct member query_members[] = {{"required", 1, BOOL}, {"in", 2, STRING}, {"description", 3, STRING}, {"name", 4, STRING}, {"type", 6, STRING}, {"uniqueItems", 20, BOOL}, {NULL, 23, ANY}};
static const struct member variable_members[] = {{"required", 1, BOOL}, {"in", 2, STRING}, {"description", 3, STRING}, {"name", 4, STRING}, {"type", 5, STRING}, {"uniqueItems", 19, BOOL}, {NULL, 22, ANY}};
static const struct member document_members[] = {{"swagger", 1, STRING}, {"info", 2, INFO}, {"paths", 8, PATHS}, {"definitions", 9, DEFINITIONS}, {NULL, 16, ANY}};

static void put_members(struct buf *out, const struct member *members, yyjson_val *object);

static void put_object(struct buf *out, unsigned number, const struct member *members, yyjson_val *object) {
    struct buf message = BUF_INIT;
    put_members(&message, members, object);
    take(out, number, &message);
}

/* Properties and Definitions: {repeated NamedSchema = 1}. */
static void put_named_schemas(struct buf *out, unsigned number, yyjson_val *object) {
    struct buf all = BUF_INIT;
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(object, i, n, k, v) {
        struct buf named = BUF_INIT;
        put_bytes(&named, 1, yyjson_get_str(k), yyjson_get_len(k));
        put_object(&named, 2, schema_members, v);
        take(&all, 1, &named);
    }
    take(out, number, &all);
}

/* ParametersItem {parameter {body | non-body {query | path}}} */
static void put_parameter(struct buf *out, unsigned number, yyjson_val *p) {
    struct buf item = BUF_INIT, parameter = BUF_INIT;
    const char *in = yyjson_get_str(yyjson_obj_get(p, "in"));
    if (str_eq(in, "body")) put_object(&parameter, 1, body_members, p);
    else {
        struct buf other = BUF_INIT;
        if (str_eq(in, "path")) put_object(&other, 4, variable_members, p);
        else put_object(&other, 3, query_members, p);
        take(&parameter, 2, &other);
    }
    take(&item, 1, &parameter);
    take(out, number, &item);
}

/* Responses {NamedResponseValue = 1 {name, ResponseValue {Response {description, SchemaItem {Schema}}}}} */
static void put_responses(struct buf *out, unsigned number, yyjson_val *responses) {
    struct buf all = BUF_INIT;
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(responses, i, n, k, v) {
        struct buf named = BUF_INIT, value = BUF_INIT, response = BUF_INIT;
        yyjson_val *schema = yyjson_obj_get(v, "schema");
        put_bytes(&named, 1, yyjson_get_str(k), yyjson_get_len(k));
        put_bytes(&response, 1, "OK", 2);
        if (schema) {
            struct buf item = BUF_INIT;
            put_object(&item, 1, schema_members, schema);
            take(&response, 2, &item);
        }
        take(&value, 1, &response);
        take(&named, 2, &value);
        take(&all, 1, &named);
    }
    take(out, number, &all);
}

static void put_paths(struct buf *out, unsigned number, yyjson_val *paths) {
    struct buf all = BUF_INIT;
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(paths, i, n, k, v) {
        struct buf named = BUF_INIT;
        put_bytes(&named, 1, yyjson_get_str(k), yyjson_get_len(k));
        put_object(&named, 2, path_members, v);
        take(&all, 2, &named);
    }
    take(out, number, &all);
}

static void put_each(struct buf *out, const struct member *m, yyjson_val *list) {
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(list, i, n, v) {
        if (m->form == STRINGS) put_bytes(out, m->number, yyjson_get_str(v), yyjson_get_len(v));
        else if (m->form == ANIES) put_any(out, m->number, v);
        else if (m->form == SCHEMAS) put_object(out, m->number, schema_members, v);
        else put_parameter(out, m->number, v);
    }
}

static void put_additional(struct buf *out, unsigned number, yyjson_val *v) {
    struct buf item = BUF_INIT;
    if (yyjson_is_bool(v)) put_bool(&item, 2, yyjson_get_bool(v));
    else put_object(&item, 1, schema_members, v);
    take(out, number, &item);
}

static void put_member(struct buf *out, const struct member *m, yyjson_val *v) {
    struct buf inner = BUF_INIT;
    switch (m->form) {
        case STRING: put_bytes(out, m->number, yyjson_get_str(v), yyjson_get_len(v)); break;
        case BOOL: put_bool(out, m->number, yyjson_get_bool(v)); break;
        case INT: put_int(out, m->number, v); break;
        case DOUBLE: put_double(out, m->number, v); break;
        case ANY: put_any(out, m->number, v); break;
        case STRINGS: case ANIES: case SCHEMAS: case PARAMETERS: put_each(out, m, v); break;
        case SCHEMA: put_object(out, m->number, schema_members, v); break;
        case NAMED_SCHEMAS: case DEFINITIONS: put_named_schemas(out, m->number, v); break;
        case ADDITIONAL: put_additional(out, m->number, v); break;
        case RESPONSES: put_responses(out, m->number, v); break;
        case PATHS: put_paths(out, m->number, v); break;
        case OPERATION: put_object(out, m->number, operation_members, v); break;
        case INFO: put_object(out, m->number, info_members, v); break;
        case TYPE: case ITEMS:
            if (m->form == TYPE) put_bytes(&inner, 1, yyjson_get_str(v), yyjson_get_len(v));
            else put_object(&inner, 1, schema_members, v);
            take(out, m->number, &inner);
            break;
    }
}

static void put_members(struct buf *out, const struct member *members, yyjson_val *object) {
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(object, i, n, k, v) {
        const struct member *m = members;
        while (m->name && !yyjson_equals_str(k, m->name)) m++;
        if (m->name) put_member(out, m, v);
        else if (str_has_prefix(yyjson_get_str(k), "x-")) put_named_any(out, m->number, k, v);
    }
}

void openapi_v2_to_proto(yyjson_val *document, struct buf *out) { put_members(out, document_members, document); }
