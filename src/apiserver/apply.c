/* Server-side apply: PATCH with a YAML or JSON configuration. Upstream: handlers/patch.go's applyPatcher. The merging is in api/managed_apply.c.
 * Tests: tests/integration/test_apply.py. */
#include <string.h>
#include "api/custom_object.h"
#include "api/defaults.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom_conversion.h"
#include "apiserver/handlers.h"
#include "apiserver/managers.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/yaml.h"

/* Other managers' versions of a custom object may be had from its conversion webhook alone. */
static void convert_by_webhook(struct api_request *r, struct field_manager *m, struct manager_conversion *c, struct status *err) {
    if (!r->strategy || !custom_converts(r->strategy)) return;
    *c = (struct manager_conversion){r, r->strategy, err};
    m->convert_custom = custom_convert_document;
    m->convert_arg = c;
}

struct field_manager request_field_manager(struct api_request *r, const struct write_options *o) {
    const struct custom_type *custom = r->strategy ? custom_type_of(r->strategy->type) : NULL;
    return (struct field_manager){.arena = r->arena, .manager = o->field_manager, .subresource = r->subresource, .now_s = env_now_s(apiserver_env(r->server)),
                                  .reset = custom ? reset_fields_of_custom(custom->has_status, r->subresource) : reset_fields_of(r->group, r->version, r->resource, r->subresource)};
}

void request_managed_update(struct api_request *r, const struct write_options *o, const struct type_desc *type, const void *old, void *obj) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct field_manager m = request_field_manager(r, o);
    struct manager_conversion c;
    convert_by_webhook(r, &m, &c, &err);
    managed_fields_update(&m, type, old, obj);
    if (err.code && old) ((struct object *)obj)->metadata.managedFields = ((const struct object *)old)->metadata.managedFields; /* nobody loses what could not be looked at */
}

int apply_read(struct api_request *r, struct apply *ret, struct status *reterr) {
    _cleanup_buf_ struct buf json = BUF_INIT;
    _cleanup_free_ char *duplicate = NULL;
    const char *validation = url_query_get(&r->query, "fieldValidation");
    if (r->http->body_too_large) return status_set(reterr, 413, REASON_REQUEST_ENTITY_TOO_LARGE, "Request entity too large: limit is 3145728");
    if (yaml_to_json(r->http->body, r->http->body_len, &json, &duplicate, reterr) != 0) {
        if (reterr) status_wrap(reterr, "error decoding patch");
        return -1;
    }
    yyjson_doc *doc = json_parse_in(r->arena, buf_cstr(&json), json.len, 0, reterr);
    if (!doc) return -1;
    ret->config = value_from_json(r->arena, yyjson_doc_get_root(doc));
    if (ret->config.kind != VALUE_MAP && ret->config.kind != VALUE_NULL)
        return status_bad_request(reterr, "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal %s into Go value of type map[string]interface {}",
                                  ret->config.kind == VALUE_LIST ? "array" : ret->config.kind == VALUE_STRING ? "string" : ret->config.kind == VALUE_BOOL ? "bool" : "number");
    if (ret->config.kind == VALUE_NULL) ret->config = (struct value){.kind = VALUE_MAP};
    ret->duplicate = arena_strdup(r->arena, duplicate);
    ret->strict = str_eq(validation, "Strict");
    ret->warn = str_empty(validation) || str_eq(validation, "Warn");
    return 0;
}

void *apply_to(struct api_request *r, const struct apply *p, const struct type_desc *type, void *current, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct field_manager m = request_field_manager(r, p->options);
    struct manager_conversion c;
    convert_by_webhook(r, &m, &c, &err);
    struct object *obj = managed_fields_apply(&m, type, current, &p->config, p->options->force, reterr);
    if (err.code) {
        status_copy(reterr, &err);
        return NULL;
    }
    if (!obj) return NULL;
    object_set_defaults(r->arena, type, obj);
    if (p->duplicate && p->strict) {
        status_bad_request(reterr, "error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  %s", p->duplicate);
        return NULL;
    }
    if (p->duplicate && p->warn) request_warn_lines(r, p->duplicate);
    if (!current && !str_empty(obj->metadata.uid)) {
        status_conflict(reterr, r->group, r->resource, r->name, arena_printf(r->arena, "uid mismatch: the provided object specified uid %s, and no existing object was found", obj->metadata.uid));
        return NULL;
    }
    return body_check_names(r, obj, reterr) == 0 ? obj : NULL;
}
