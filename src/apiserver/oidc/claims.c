#include "apiserver/oidc/claims.h"
#include <string.h>
#include "base/map.h"
#include "base/str.h"

static const char *kind_name(yyjson_val *v) { return yyjson_is_num(v) ? "number" : yyjson_is_bool(v) ? "bool" : yyjson_is_arr(v) ? "array" : yyjson_is_obj(v) ? "object" : yyjson_is_str(v) ? "string" : "null"; }

static int wrong_type(yyjson_val *v, const char *want, struct status *reterr) { return status_bad_request(reterr, "json: cannot unmarshal %s into Go value of type %s", kind_name(v), want); }

yyjson_val *claims_parse(struct arena *a, const char *payload, size_t len, struct status *reterr) {
    yyjson_doc *doc = json_parse_in(a, payload, len, 0, reterr);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL, *key, *value;
    struct map *seen;
    size_t i, max;
    bool doubled = false;
    if (!doc) return NULL;
    if (!yyjson_is_obj(root)) {
        wrong_type(root, "oidc.idToken", reterr);
        return NULL;
    }
    seen = map_new();
    yyjson_obj_foreach(root, i, max, key, value) doubled |= map_put(seen, yyjson_get_str(key), root) != NULL || strlen(yyjson_get_str(key)) != yyjson_get_len(key);
    map_free(seen);
    if (!doubled) return root;
    status_bad_request(reterr, "a claim is there twice");
    return NULL;
}

int claims_string(struct arena *a, yyjson_val *claims, const char *name, const char **ret, struct status *reterr) {
    yyjson_val *v = yyjson_obj_get(claims, name);
    if (!v || yyjson_is_null(v)) return status_bad_request(reterr, "claim not present");
    if (!yyjson_is_str(v)) return wrong_type(v, "string", reterr);
    if (!yyjson_get_len(v)) return status_bad_request(reterr, "claim is empty");
    *ret = arena_strndup(a, yyjson_get_str(v), yyjson_get_len(v));
    return 0;
}

int claims_strings(struct arena *a, yyjson_val *claim, struct string_list *ret, struct status *reterr) {
    yyjson_val *item;
    size_t i, max;
    if (yyjson_is_null(claim)) return 0;
    if (yyjson_is_str(claim)) {
        string_list_push(a, ret, arena_strdup(a, yyjson_get_str(claim)));
        return 0;
    }
    if (!yyjson_is_arr(claim)) return wrong_type(claim, "string", reterr);
    yyjson_arr_foreach(claim, i, max, item) {
        if (!yyjson_is_str(item)) return wrong_type(claim, "string", reterr); /* upstream's second try was for a string */
        string_list_push(a, ret, arena_strdup(a, yyjson_get_str(item)));
    }
    return 0;
}

int claims_bool(yyjson_val *claim, bool *ret, struct status *reterr) {
    if (!yyjson_is_bool(claim)) return wrong_type(claim, "bool", reterr);
    *ret = yyjson_get_bool(claim);
    return 0;
}

bool claims_time(yyjson_val *claim, int64_t *ret_s) {
    if (!yyjson_is_num(claim)) return false;
    double d = yyjson_get_num(claim);
    *ret_s = d > 1e15 ? (int64_t)1e15 : d < -1e15 ? (int64_t)-1e15 : (int64_t)d;
    return true;
}
