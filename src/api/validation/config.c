/* ConfigMaps and Secrets. Upstream: ValidateConfigMap and ValidateSecret in pkg/apis/core/validation. Tests: tests/unit/test_validation_core.c. */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"
#include "wire/json.h"

enum { DATA_BYTES_MAX = 1 << 20 };

static void validate_key(const char *key, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_config_map_key(errs->arena, key, &msgs);
    field_invalid_each(errs, FIELD_KEY(at, key), key, &msgs);
}

void validate_configmap(const void *obj, struct field_errors *errs) {
    const struct corev1_ConfigMap *cm = obj;
    size_t total = 0;
    LIST_FOREACH(e, &cm->data) {
        validate_key(e->key, FIELD(NULL, "data"), errs);
        for (size_t i = 0; i < cm->binaryData.len; i++)
            if (str_eq(cm->binaryData.items[i].key, e->key)) field_invalid(errs, FIELD_KEY(FIELD(NULL, "data"), e->key), e->key, "duplicate of key present in binaryData");
        total += strlen(str_or(e->value, ""));
    }
    LIST_FOREACH(e, &cm->binaryData) {
        validate_key(e->key, FIELD(NULL, "binaryData"), errs);
        total += e->value.len;
    }
    if (total > DATA_BYTES_MAX) field_too_long(errs, NULL, DATA_BYTES_MAX);
}

void validate_configmap_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_ConfigMap *cm = obj, *old = old_obj;
    if (old->immutable.has && old->immutable.value) {
        if (!cm->immutable.has || !cm->immutable.value) field_forbidden(errs, FIELD(NULL, "immutable"), "field is immutable when `immutable` is set");
        if (!string_map_equal(&cm->data, &old->data)) field_forbidden(errs, FIELD(NULL, "data"), "field is immutable when `immutable` is set");
        struct corev1_ConfigMap a = {.binaryData = cm->binaryData}, b = {.binaryData = old->binaryData};
        if (!object_equal(&corev1_ConfigMap_desc, &a, &b) || !cm->binaryData.items != !old->binaryData.items) field_forbidden(errs, FIELD(NULL, "binaryData"), "field is immutable when `immutable` is set");
    }
    validate_configmap(obj, errs);
}

static const struct bytes *secret_get(const struct corev1_Secret *s, const char *key) {
    LIST_FOREACH(e, &s->data)
        if (strcmp(e->key, key) == 0) return &e->value;
    return NULL;
}

static void require_data(const struct corev1_Secret *s, const char *key, struct field_errors *errs) {
    if (!secret_get(s, key)) field_required(errs, FIELD_KEY(FIELD(NULL, "data"), key), "%s", "");
}

static const char *go_json_type(yyjson_val *v) {
    if (yyjson_is_arr(v)) return "array";
    if (yyjson_is_str(v)) return "string";
    return yyjson_is_bool(v) ? "bool" : "number";
}

/* What Go says when it cannot make a map of the text. */
static void validate_json_object(const struct bytes *b, const struct field_path *at, struct field_errors *errs) {
    _cleanup_status_ struct status err = STATUS_INIT;
    yyjson_doc *doc = json_parse_in(errs->arena, b->len ? (const char *)b->data : "", b->len, 0, &err);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    if (!doc) field_invalid(errs, at, "<secret contents redacted>", "%s", status_message(&err));
    else if (!yyjson_is_obj(root) && !yyjson_is_null(root))
        field_invalid(errs, at, "<secret contents redacted>", "json: cannot unmarshal %s into Go value of type map[string]interface {}", go_json_type(root));
}

void validate_secret(const void *obj, struct field_errors *errs) {
    const struct corev1_Secret *s = obj;
    const struct field_path *data = FIELD(NULL, "data");
    size_t total = 0;
    LIST_FOREACH(e, &s->data) {
        validate_key(e->key, data, errs);
        total += e->value.len;
    }
    if (total > DATA_BYTES_MAX) field_too_long(errs, data, DATA_BYTES_MAX);
    if (str_eq(s->type, "kubernetes.io/service-account-token")) {
        if (str_empty(string_map_get(&s->metadata.annotations, "kubernetes.io/service-account.name")))
            field_required(errs, FIELD_KEY(FIELD(FIELD(NULL, "metadata"), "annotations"), "kubernetes.io/service-account.name"), "%s", "");
    } else if (str_eq(s->type, "kubernetes.io/basic-auth")) {
        if (!secret_get(s, "username") && !secret_get(s, "password")) {
            require_data(s, "username", errs);
            require_data(s, "password", errs);
        }
    } else if (str_eq(s->type, "kubernetes.io/ssh-auth")) {
        const struct bytes *key = secret_get(s, "ssh-privatekey");
        if (!key || !key->len) field_required(errs, FIELD_KEY(data, "ssh-privatekey"), "%s", "");
    } else if (str_eq(s->type, "kubernetes.io/tls")) {
        require_data(s, "tls.crt", errs);
        require_data(s, "tls.key", errs);
    } else if (str_eq(s->type, "kubernetes.io/dockerconfigjson") || str_eq(s->type, "kubernetes.io/dockercfg")) {
        const char *key = str_eq(s->type, "kubernetes.io/dockercfg") ? ".dockercfg" : ".dockerconfigjson";
        const struct bytes *b = secret_get(s, key);
        if (!b) require_data(s, key, errs);
        else validate_json_object(b, FIELD_KEY(data, key), errs);
    }
}

void validate_secret_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Secret *s = obj, *old = old_obj;
    validate_immutable(str_eq(s->type, old->type), go_quote(errs->arena, s->type), FIELD(NULL, "type"), errs);
    if (old->immutable.has && old->immutable.value) {
        if (!s->immutable.has || !s->immutable.value) field_forbidden(errs, FIELD(NULL, "immutable"), "field is immutable when `immutable` is set");
        struct corev1_Secret a = {.data = s->data}, b = {.data = old->data};
        if (!object_equal(&corev1_Secret_desc, &a, &b) || !s->data.items != !old->data.items) field_forbidden(errs, FIELD(NULL, "data"), "field is immutable when `immutable` is set");
    }
    validate_secret(obj, errs);
}
