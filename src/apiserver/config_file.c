#include "apiserver/config_file.h"
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/metric_family.h"
#include "base/env.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/yaml.h"

/* ---- decoding ---- */

static int check_type(yyjson_val *root, const char *kind, struct status *reterr) {
    static const char *const versions[] = {"apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1", NULL};
    const char *version = yyjson_get_str(yyjson_obj_get(root, "apiVersion")), *own = yyjson_get_str(yyjson_obj_get(root, "kind"));
    _cleanup_free_ char *text = root ? yyjson_val_write(root, 0, NULL) : NULL;
    if (str_empty(own)) return status_bad_request(reterr, "Object 'Kind' is missing in '%s'", str_or(text, ""));
    if (str_empty(version)) return status_bad_request(reterr, "Object 'apiVersion' is missing in '%s'", str_or(text, ""));
    if (!str_in(version, versions)) return status_bad_request(reterr, "no kind \"%s\" is registered for version \"%s\"", own, version);
    return str_eq(own, kind) ? 0 : status_bad_request(reterr, "expected %s, got %s", kind, own);
}

static int refuse_strict(struct arena *a, const struct string_list *unknown, const char *duplicate, struct status *reterr) {
    const char *text = duplicate ? arena_printf(a, "yaml: unmarshal errors:\n  %s", duplicate) : "";
    for (size_t i = 0; i < unknown->len; i++) text = arena_printf(a, "%s%s%s", text, *text ? ", " : "", unknown->items[i]);
    return *text ? status_bad_request(reterr, "strict decoding error: %s", text) : 0;
}

int config_file_decode(struct arena *a, const char *text, size_t len, const char *kind, const struct type_desc *type, void *obj, struct status *reterr) {
    _cleanup_buf_ struct buf json = BUF_INIT;
    _cleanup_free_ char *duplicate = NULL;
    struct string_list unknown = {0};
    if (yaml_to_json(text, len, &json, &duplicate, reterr) != 0) return -1;
    yyjson_doc *doc = json_parse_in(a, json.data, json.len, 0, reterr);
    if (!doc || check_type(yyjson_doc_get_root(doc), kind, reterr) != 0 || object_decode_value(a, type, obj, yyjson_doc_get_root(doc), &unknown, reterr) != 0) return -1;
    return refuse_strict(a, &unknown, duplicate, reterr);
}

int config_file_refuse(const struct field_errors *errs, const char *before, struct status *reterr) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < errs->len; i++) buf_printf(&out, "%s%s: %s", i ? ", " : "", errs->items[i].field, errs->items[i].detail);
    return status_bad_request(reterr, errs->len > 1 ? "%s[%s]" : "%s%s", before, buf_cstr(&out));
}

/* ---- metrics ---- */

void config_hash(const char *text, size_t len, char ret[72]) {
    unsigned char sum[SHA256_DIGEST_LENGTH];
    *ret = 0;
    if (!len) return;
    SHA256((const unsigned char *)text, len, sum);
    strcpy(ret, "sha256:");
    for (size_t i = 0; i < sizeof(sum); i++) snprintf(ret + 7 + 2 * i, 3, "%02x", sum[i]);
}

void apiserver_identity(char ret[64]) {
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned char sum[SHA256_DIGEST_LENGTH];
    char host[256] = "";
    size_t at = (size_t)snprintf(ret, 64, "apiserver-"), bits = 0;
    unsigned window = 0;
    gethostname(host, sizeof(host) - 1);
    SHA256((const unsigned char *)host, strlen(host), sum);
    for (size_t i = 0; i < 16; i++) {
        window = window << 8 | sum[i];
        for (bits += 8; bits >= 5; bits -= 5) ret[at++] = alphabet[window >> (bits - 5) & 31];
    }
    if (bits) ret[at++] = alphabet[window << (5 - bits) & 31];
    ret[at] = 0;
}

static char id_hash[72];
static void make_id_hash(void) {
    char id[64];
    apiserver_identity(id);
    config_hash(id, strlen(id), id_hash);
}

const char *apiserver_id_hash(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_id_hash);
    return id_hash;
}

#define FAMILIES(what)                                                                                                                                                                    \
    {METRIC_FAMILY("apiserver_" what "_config_controller_automatic_reloads_total", "counter", "[BETA] Total number of automatic reloads of " what " configuration split by status and apiserver identity."), \
     METRIC_FAMILY("apiserver_" what "_config_controller_automatic_reload_last_timestamp_seconds", "gauge", "[BETA] Timestamp of the last automatic reload of " what " configuration split by status and apiserver identity."), \
     METRIC_FAMILY("apiserver_" what "_config_controller_last_config_info", "gauge", "[ALPHA] Information about the last applied " what " configuration with hash as label, split by apiserver identity.")}
static struct { struct metric_family reloads, last, info; } families[] = {FAMILIES("authentication"), FAMILIES("authorization")};

static void count(enum config_file_of which, const char *status) {
    char labels[160];
    snprintf(labels, sizeof(labels), "apiserver_id_hash=\"%s\",status=\"%s\"", apiserver_id_hash(), status);
    metric_add(&families[which].reloads, labels, 1);
    metric_set(&families[which].last, labels, (double)env_now_ns(env_real()) / 1e9);
}

void config_file_loaded(enum config_file_of which, const char *text, size_t len, bool reload) {
    char labels[240], hash[72];
    if (reload) count(which, "success");
    config_hash(text, len, hash);
    snprintf(labels, sizeof(labels), "apiserver_id_hash=\"%s\",hash=\"%s\"", apiserver_id_hash(), hash);
    metric_drop(&families[which].info, "");
    metric_set(&families[which].info, labels, 1);
}

void config_file_failed(enum config_file_of which) { count(which, "failure"); }

void config_file_put_metrics(struct buf *out) {
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        metric_put(&families[i].reloads, out);
        metric_put(&families[i].last, out);
        metric_put(&families[i].info, out);
    }
}
