#include "apiserver/encryption/encryption_config.h"
#include <ctype.h>
#include <openssl/crypto.h>
#include <string.h>
#include "api/field_error.h"
#include "api/object.h"
#include "api/time.h"
#include "api/validation/groups.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { TIMEOUT_MS = 3000, NS_PER_MS = 1000000 };

struct reader { struct arena *a; struct field_errors errs; bool reload; struct string_list kms_names; const char *unknown; };

/* ---- reading ---- */

static const char *text_of(yyjson_val *obj, const char *key) { return str_or(yyjson_get_str(yyjson_obj_get(obj, key)), ""); }

/* Notes the first field that none of the names is. */
static void check_fields(struct reader *r, yyjson_val *obj, const char *at, const char *const *known) {
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(obj, i, n, key, value)
        if (!str_in(yyjson_get_str(key), known) && !r->unknown) r->unknown = arena_printf(r->a, "unknown field \"%s%s\"", at, yyjson_get_str(key));
}

static void read_key(struct reader *r, yyjson_val *v, const struct field_path *at, enum cipher cipher, struct provider_config *p) {
    struct named_key *k = LIST_PUSH(r->a, &p->keys);
    const char *secret = text_of(v, "secret");
    unsigned char *bytes;
    size_t len = 0;
    *k = (struct named_key){.name = arena_strdup(r->a, text_of(v, "name")), .key.cipher = cipher};
    check_fields(r, v, "keys.", (const char *const[]){"name", "secret", NULL});
    if (!*k->name) field_required(&r->errs, FIELD(at, "name"), "name is a mandatory field for a key");
    if (!*secret) {
        field_required(&r->errs, FIELD(at, "secret"), "secret is a mandatory field for a key");
        return;
    }
    if (base64_decode(r->a, secret, strlen(secret), &bytes, &len, NULL) != 0) {
        field_invalid(&r->errs, FIELD(at, "secret"), "REDACTED", "secrets must be base64 encoded");
        return;
    }
    if (!cipher_key_fits(cipher, len)) field_invalid(&r->errs, FIELD(at, "secret"), "REDACTED", "secret is not of the expected length, got %zu, expected one of %s", len, cipher == CIPHER_SECRETBOX ? "[32]" : "[16 24 32]");
    else {
        memcpy(k->key.bytes, bytes, len);
        k->key.len = len;
    }
    OPENSSL_cleanse(bytes, len);
}

static void read_keys(struct reader *r, yyjson_val *v, const struct field_path *at, enum cipher cipher, struct provider_config *p) {
    yyjson_val *keys = yyjson_obj_get(v, "keys"), *key;
    size_t i, n;
    check_fields(r, v, "", (const char *const[]){"keys", NULL});
    if (!yyjson_arr_size(keys)) field_required(&r->errs, FIELD(at, "keys"), "at least one keys is required");
    yyjson_arr_foreach(keys, i, n, key) read_key(r, key, FIELD_INDEX(FIELD(at, "keys"), i), cipher, p);
}

static void check_kms_name(struct reader *r, const struct kms_settings *k, const struct field_path *at) {
    bool v1 = str_eq(k->api_version, "v1");
    if (!*k->name) field_required(&r->errs, at, "name is a mandatory field for a provider");
    if (!v1 && strchr(k->name, ':')) field_invalid(&r->errs, at, k->name, "invalid KMS provider name %s, must not contain ':'", k->name);
    if ((r->reload || !v1) && string_list_has(&r->kms_names, k->name)) field_invalid(&r->errs, at, k->name, "duplicate KMS provider name %s, names must be unique", k->name);
    string_list_push(r->a, &r->kms_names, k->name);
}

static void check_endpoint(struct reader *r, const char *endpoint, const struct field_path *at) {
    const char *colon = strstr(endpoint, ":");
    if (!*endpoint) field_invalid(&r->errs, at, "", "endpoint is a mandatory field for a kms");
    else if (!str_has_prefix(endpoint, "unix:"))
        field_invalid(&r->errs, at, endpoint, "unsupported scheme %s for KMS provider, only unix is supported", go_quote(r->a, colon ? arena_strndup(r->a, endpoint, (size_t)(colon - endpoint)) : ""));
}

static void read_kms(struct reader *r, yyjson_val *v, const struct field_path *at, struct kms_settings *k) {
    const char *timeout = text_of(v, "timeout");
    int64_t ns = 0;
    *k = (struct kms_settings){.api_version = arena_strdup(r->a, str_or(text_of(v, "apiVersion"), "v1")), .name = arena_strdup(r->a, text_of(v, "name")), .endpoint = arena_strdup(r->a, text_of(v, "endpoint")),
        .timeout_ms = TIMEOUT_MS, .has_cache_size = yyjson_obj_get(v, "cachesize") != NULL};
    check_fields(r, v, "kms.", (const char *const[]){"apiVersion", "name", "cachesize", "endpoint", "timeout", NULL});
    check_kms_name(r, k, FIELD(at, "name"));
    if (*timeout) k->timeout_ms = duration_parse(timeout, &ns) ? (ns > 0 ? MAX(ns / NS_PER_MS, 1) : 0) : 0;
    if (k->timeout_ms <= 0) field_invalid(&r->errs, FIELD(at, "timeout"), timeout, "timeout should be a positive value");
    check_endpoint(r, k->endpoint, FIELD(at, "endpoint"));
    if (!str_eq(k->api_version, "v1") && k->has_cache_size) field_invalid_int(&r->errs, FIELD(at, "cachesize"), yyjson_get_sint(yyjson_obj_get(v, "cachesize")), "cachesize is not supported in v2");
    if (!str_in(k->api_version, (const char *const[]){"v1", "v2", NULL}))
        field_invalid(&r->errs, FIELD(at, "apiVersion"), k->api_version, "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported");
}

static void read_provider(struct reader *r, yyjson_val *v, const struct field_path *at, struct resource_config *to) {
    static const struct { const char *name; enum provider_kind kind; enum cipher cipher; } kinds[] = {{"kms", PROVIDER_KMS, 0}, {"aesgcm", PROVIDER_AESGCM, CIPHER_AESGCM}, {"aescbc", PROVIDER_AESCBC, CIPHER_AESCBC},
        {"secretbox", PROVIDER_SECRETBOX, CIPHER_SECRETBOX}, {"identity", PROVIDER_IDENTITY, 0}};
    struct provider_config *p = LIST_PUSH(r->a, &to->providers);
    int found = 0;
    *p = (struct provider_config){.kind = PROVIDER_IDENTITY};
    check_fields(r, v, "", (const char *const[]){"kms", "aesgcm", "aescbc", "secretbox", "identity", NULL});
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) found += !!yyjson_is_obj(yyjson_obj_get(v, kinds[i].name));
    if (found == 0) field_invalid_raw(&r->errs, at, "{}", "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity");
    if (found > 1) field_invalid_raw(&r->errs, at, "REDACTED", "more than one provider specified in a single element, should split into different list elements");
    for (size_t i = 0; i < ARRAY_LEN(kinds) && found == 1; i++) {
        yyjson_val *inner = yyjson_obj_get(v, kinds[i].name);
        if (!yyjson_is_obj(inner)) continue;
        p->kind = kinds[i].kind;
        if (p->kind == PROVIDER_KMS) read_kms(r, inner, FIELD(at, "kms"), &p->kms);
        else if (p->kind != PROVIDER_IDENTITY) read_keys(r, inner, FIELD(at, kinds[i].name), kinds[i].cipher, p);
    }
}

/* ---- resources ---- */

struct group_resource { const char *group, *resource; };

static struct group_resource parse_resource(struct arena *a, const char *text) {
    const char *dot = strchr(text, '.');
    return dot ? (struct group_resource){dot + 1, arena_strndup(a, text, (size_t)(dot - text))} : (struct group_resource){"", text};
}

static void check_overlap(struct reader *r, const struct string_list *list, const struct field_path *at) {
    bool duplicate = false, overlap = false;
    for (size_t i = 0; i < list->len; i++) {
        struct group_resource x = parse_resource(r->a, list->items[i]);
        for (size_t k = 0; k < list->len; k++) {
            struct group_resource y = parse_resource(r->a, list->items[k]);
            if (i == k) continue;
            if (str_eq(x.group, y.group) && str_eq(x.resource, y.resource) && !duplicate) duplicate = true;
            else if ((str_eq(x.group, "*") && str_eq(x.resource, "*")) || (str_eq(x.group, y.group) && (str_eq(x.resource, "*") || str_eq(y.resource, "*")))) overlap = true;
        }
    }
    if (duplicate) field_invalid_raw(&r->errs, at, text_of_list(r->a, list), "the same resource cannot be specified multiple times");
    if (overlap) field_invalid_raw(&r->errs, at, text_of_list(r->a, list), "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked");
}

static const char *name_trouble(struct arena *a, const char *name) {
    struct group_resource gr = parse_resource(a, name);
    for (const char *p = name; *p; p++)
        if (isupper((unsigned char)*p)) return "resource name should not contain capital letters";
    if (str_eq(name, "*")) return "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources";
    if (str_in(name, (const char *const[]){"apiserveripinfo", "serviceipallocations", "servicenodeportallocations", NULL})) return "resources which do not have REST API/s cannot be encrypted";
    if (str_eq(gr.group, "events.k8s.io")) return "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file";
    if (str_eq(gr.group, "extensions")) return "'extensions' group has been removed and cannot be used for encryption";
    return str_eq(gr.group, "*") && !str_eq(gr.resource, "*") ? "encrypting the same resource across groups is not supported" : NULL;
}

static void read_resources(struct reader *r, yyjson_val *v, const struct field_path *at, struct encryption_config *to) {
    struct resource_config *c = LIST_PUSH(r->a, &to->resources);
    yyjson_val *names = yyjson_obj_get(v, "resources"), *providers = yyjson_obj_get(v, "providers"), *item;
    size_t i, n;
    *c = (struct resource_config){0};
    check_fields(r, v, "resources.", (const char *const[]){"resources", "providers", NULL});
    yyjson_arr_foreach(names, i, n, item) string_list_push(r->a, &c->resources, arena_strdup(r->a, str_or(yyjson_get_str(item), "")));
    if (!c->resources.len) field_required(&r->errs, FIELD(at, "resources"), "at least one %s is required", field_path_string(r->a, FIELD(at, "resources")));
    check_overlap(r, &c->resources, FIELD(at, "resources"));
    for (i = 0; i < c->resources.len; i++) {
        const char *wrong = name_trouble(r->a, c->resources.items[i]);
        if (wrong) field_invalid(&r->errs, FIELD_INDEX(FIELD(at, "resources"), i), c->resources.items[i], "%s", wrong);
    }
    if (!yyjson_arr_size(providers)) field_required(&r->errs, FIELD(at, "providers"), "at least one %s is required", field_path_string(r->a, FIELD(at, "providers")));
    yyjson_arr_foreach(providers, i, n, item) read_provider(r, item, FIELD_INDEX(FIELD(at, "providers"), i), c);
}

/* A rule for a whole group hides what comes later. */
static int check_masks(struct arena *a, const struct encryption_config *c, struct status *reterr) {
    struct string_list seen = {0};
    for (size_t i = 0; i < c->resources.len; i++)
        for (size_t k = 0; k < c->resources.items[i].resources.len; k++) {
            const char *name = c->resources.items[i].resources.items[k];
            struct group_resource gr = parse_resource(a, name);
            const char *masks[] = {arena_printf(a, "*.%s", gr.group), "*.*"};
            for (size_t m = 0; m < 2; m++)
                if (string_list_has(&seen, masks[m])) return status_set(reterr, 500, NULL, "error while building transformers: resource %s is masked by earlier rule %s", go_quote(a, name), go_quote(a, masks[m]));
            string_list_push(a, &seen, name);
        }
    return 0;
}

static int check_kms_versions(const struct encryption_config *c, struct status *reterr) {
    LIST_FOREACH(r, &c->resources)
        LIST_FOREACH(p, &r->providers)
            if (p->kind == PROVIDER_KMS && str_eq(p->kms.api_version, "v1"))
                return status_set(reterr, 500, NULL, "error while building transformers: KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature.");
    return 0;
}

/* The errors as upstream's aggregate prints them. */
static int aggregate(struct reader *r, struct status *reterr) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < r->errs.len; i++) buf_printf(&out, "%s%s: %s", i ? ", " : "", r->errs.items[i].field, r->errs.items[i].detail);
    return status_set(reterr, 500, NULL, r->errs.len > 1 ? "error while parsing file: [%s]" : "error while parsing file: %s", buf_cstr(&out));
}

int encryption_config_parse(struct arena *a, const char *file, const char *text, size_t len, bool reload, struct encryption_config *ret, struct status *reterr) {
    static const char prefix[] = "error while parsing file: error decoding encryption provider configuration file";
    struct reader r = {.a = a, .errs = field_errors_in(a), .reload = reload};
    _cleanup_buf_ struct buf json = BUF_INIT;
    yyjson_val *item;
    size_t i, n;
    *ret = (struct encryption_config){0};
    if (!len) return status_set(reterr, 500, NULL, "error while parsing file: error while loading file: encryption provider configuration file %s is empty", go_quote(a, file));
    yyjson_doc *doc = yaml_to_json(text, len, &json, NULL, reterr) == 0 ? json_parse_in(a, json.data, json.len, 0, reterr) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (json.len) OPENSSL_cleanse(json.data, json.len);
    if (!doc) {
        status_set(reterr, 500, NULL, "%s %s: it is neither YAML nor JSON", prefix, go_quote(a, file)); /* the parser's words may show what is written there */
        return -1;
    }
    const char *version = text_of(root, "apiVersion"), *kind = text_of(root, "kind");
    if (!str_eq(version, "apiserver.config.k8s.io/v1") || !str_eq(kind, "EncryptionConfiguration"))
        return status_set(reterr, 500, NULL, "%s %s: no kind %s is registered for version %s in scheme", prefix, go_quote(a, file), go_quote(a, kind), go_quote(a, version));
    check_fields(&r, root, "", (const char *const[]){"apiVersion", "kind", "resources", NULL});
    yyjson_val *resources = yyjson_obj_get(root, "resources");
    if (!yyjson_arr_size(resources)) field_required(&r.errs, FIELD(NULL, "resources"), "at least one resources is required");
    yyjson_arr_foreach(resources, i, n, item) read_resources(&r, item, FIELD_INDEX(FIELD(NULL, "resources"), i), ret);
    if (r.unknown) return status_set(reterr, 500, NULL, "%s %s: strict decoding error: %s", prefix, go_quote(a, file), r.unknown);
    if (r.errs.len) return aggregate(&r, reterr);
    return check_masks(a, ret, reterr) != 0 ? -1 : check_kms_versions(ret, reterr);
}

void encryption_config_wipe(struct encryption_config *c) {
    LIST_FOREACH(r, &c->resources)
        LIST_FOREACH(p, &r->providers)
            LIST_FOREACH(k, &p->keys) OPENSSL_cleanse(&k->key, sizeof(k->key));
}
