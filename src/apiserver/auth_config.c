#include "apiserver/auth_config.h"
#include <string.h>
#include "api/time.h"
#include "apiserver/registry.h"
#include "base/file.h"
#include "base/str.h"
#include "wire/json.h"

static const char *read_file(struct arena *a, const char *file, struct status *reterr) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    return file_read(file, FILE_OPTION_MAX, &out, reterr) == 0 ? arena_strdup(a, buf_cstr(&out)) : NULL;
}

/* "a,b" as a JSON list. */
static const char *json_list(struct arena *a, const char *commas) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_char(&out, '[');
    for (const char *p = str_or(commas, ""); *p;) {
        size_t len = strcspn(p, ",");
        if (out.len > 1) buf_append_char(&out, ',');
        json_write_string_n(&out, p, len);
        p += len + (p[len] == ',');
    }
    buf_append_char(&out, ']');
    return arena_strdup(a, out.data);
}

static int fill(struct arena *a, const struct apiserver_options *o, struct string_map *data, struct status *reterr) {
    const char *pem;
    if (o->client_ca_file) {
        if (!(pem = read_file(a, o->client_ca_file, reterr))) return -1;
        string_map_set(a, data, "client-ca-file", pem);
    }
    if (!o->requestheader_client_ca_file) return 0;
    if (!(pem = read_file(a, o->requestheader_client_ca_file, reterr))) return -1;
    string_map_set(a, data, "requestheader-client-ca-file", pem);
    string_map_set(a, data, "requestheader-allowed-names", json_list(a, o->requestheader_allowed_names));
    string_map_set(a, data, "requestheader-username-headers", json_list(a, str_or(o->requestheader_username_headers, "X-Remote-User")));
    string_map_set(a, data, "requestheader-uid-headers", json_list(a, str_or(o->requestheader_uid_headers, "X-Remote-Uid")));
    string_map_set(a, data, "requestheader-group-headers", json_list(a, str_or(o->requestheader_group_headers, "X-Remote-Group")));
    string_map_set(a, data, "requestheader-extra-headers-prefix", json_list(a, str_or(o->requestheader_extra_headers_prefix, "X-Remote-Extra-")));
    return 0;
}

int auth_config_publish(struct apiserver *s, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf out = BUF_INIT;
    const struct strategy *st = strategy_find("", "configmaps");
    struct corev1_ConfigMap *cm = NULL;
    struct string_map data = {0};
    struct store_txn *t;
    struct store_view v;
    struct store_result res = {0};
    size_t rv_offset;
    char uuid[37];
    const char *key = storage_key(a, st, "kube-system", "extension-apiserver-authentication");
    if (fill(a, apiserver_options(s), &data, reterr) != 0) return -1;
    if (!data.len) return 0;
    if (store_read_begin(apiserver_store(s), &t, reterr) != 0) return -1;
    if (store_get(t, key, &v)) cm = registry_decode(a, st, &v);
    store_read_end(t);
    if (cm && string_map_equal(&cm->data, &data)) return 0;
    if (!cm) {
        cm = object_new(a, &corev1_ConfigMap_desc);
        env_uuid(apiserver_env(s), uuid);
        cm->metadata.name = "extension-apiserver-authentication";
        cm->metadata.namespace = "kube-system";
        cm->metadata.uid = uuid;
        cm->metadata.creationTimestamp = time_from_s(env_now_s(apiserver_env(s)));
    }
    cm->data = data;
    object_encode_stored(&corev1_ConfigMap_desc, cm, &out, &rv_offset);
    struct store_op op = {.key = key, .expect_mod_revision = STORE_ANY, .value = out.data, .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
    store_write_wait(apiserver_store(s), &op, 1, &res);
    if (res.outcome == STORE_OK) return 0;
    status_copy(reterr, &res.error);
    status_release(&res.error);
    return -1;
}
