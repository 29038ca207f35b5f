/* Issuing ServiceAccounts' tokens, and telling others how to check them. Upstream: registry/core/serviceaccount/storage/token.go, serviceaccount/openidmetadata.go. */
#include <string.h>
#include "api/field_error.h"
#include "api/names.h"
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "apiserver/authentication.h"
#include "apiserver/handlers.h"
#include "apiserver/managers.h"
#include "apiserver/admission.h"
#include "apiserver/service_account_tokens.h"
#include "base/str.h"
#include "wire/json.h"

#define GROUP "authentication.k8s.io"

struct bound { const struct corev1_Pod *pod; const struct object *secret, *node; const char *node_name; };

/* ---- what is asked for ---- */

static int invalid(struct api_request *r, const char *name, const struct field_path *at, const char *value, const char *why, struct status *reterr) {
    struct field_errors errs = field_errors_in(r->arena);
    field_invalid(&errs, at, value, "%s", why);
    return field_errors_status(&errs, GROUP, "TokenRequest", name, reterr);
}

static int check_names(struct api_request *r, const struct authenticationv1_TokenRequest *req, struct status *reterr) {
    if (body_check_namespace(r, (const struct object *)(const void *)req, reterr) != 0) return -1;
    if (!str_empty(req->metadata.name) && !str_eq(req->metadata.name, r->name))
        return invalid(r, r->name, FIELD(FIELD(NULL, "metadata"), "name"), req->metadata.name, "must match the service account name if specified", reterr);
    return 0;
}

static int check_expiration(struct api_request *r, int64_t seconds, struct status *reterr) {
    struct field_errors errs = field_errors_in(r->arena);
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "expirationSeconds");
    if (seconds < 600) field_invalid_int(&errs, at, seconds, "may not specify a duration less than 10 minutes");
    if (seconds > (int64_t)1 << 32) field_invalid_int(&errs, at, seconds, "may not specify a duration larger than 2^32 seconds");
    return errs.len ? field_errors_status(&errs, GROUP, "TokenRequest", "", reterr) : 0;
}

static int get(struct api_request *r, const char *resource, const char *namespace, const char *name, void **ret, struct status *reterr) {
    return registry_get(r, strategy_find("", resource), namespace, name, ret, NULL, reterr);
}

static int bind_to_pod(struct api_request *r, const char *name, struct bound *b, const char **ret_uid, struct status *reterr) {
    void *obj, *node;
    if (get(r, "pods", r->namespace, name, &obj, reterr) != 0) return -1;
    b->pod = obj;
    if (!str_eq(b->pod->spec.serviceAccountName, r->name))
        return status_bad_request(reterr, "cannot bind token for serviceaccount %s to pod running with serviceaccount %s", go_quote(r->arena, r->name), go_quote(r->arena, str_or(b->pod->spec.serviceAccountName, "")));
    *ret_uid = b->pod->metadata.uid;
    b->node_name = b->pod->spec.nodeName;
    if (!str_empty(b->node_name) && get(r, "nodes", NULL, b->node_name, &node, NULL) == 0) b->node = node;
    return 0;
}

/* Upstream looks things up by their keys, which not every text can be part of. */
static int check_key(struct api_request *r, const char *name, struct status *reterr) {
    struct string_list msgs = {0};
    if (str_empty(name)) return status_bad_request(reterr, "Name parameter required.");
    object_name_path_segment(r->arena, name, false, &msgs);
    if (!msgs.len) return 0;
    const char *all = msgs.items[0];
    for (size_t i = 1; i < msgs.len; i++) all = arena_printf(r->arena, "%s;%s", all, msgs.items[i]);
    return status_bad_request(reterr, "Name parameter invalid: %s: %s", go_quote(r->arena, name), all);
}

static int bind_to(struct api_request *r, const struct authenticationv1_BoundObjectReference *ref, struct bound *b, struct status *reterr) {
    const char *version = str_or(ref->apiVersion, ""), *slash = strchr(version, '/'), *kind = str_or(ref->kind, ""), *uid = NULL;
    void *obj;
    bool core = !slash;
    bool known = core && (strcmp(kind, "Pod") == 0 || strcmp(kind, "Secret") == 0 || strcmp(kind, "Node") == 0);
    if (known && check_key(r, ref->name, reterr) != 0) return -1;
    if (core && strcmp(kind, "Pod") == 0) {
        if (bind_to_pod(r, ref->name, b, &uid, reterr) != 0) return -1;
    } else if (core && (strcmp(kind, "Secret") == 0 || strcmp(kind, "Node") == 0)) {
        bool node = kind[0] == 'N';
        if (get(r, node ? "nodes" : "secrets", node ? NULL : r->namespace, ref->name, &obj, reterr) != 0) return -1;
        uid = ((struct object *)obj)->metadata.uid;
        if (node) {
            b->node = obj;
            b->node_name = b->node->metadata.name;
        } else b->secret = obj;
    } else return status_bad_request(reterr, "cannot bind token to object of type %s%s, Kind=%s", core ? "/" : "", version, kind);
    if (!str_empty(ref->uid) && !str_eq(ref->uid, uid))
        return status_conflict(reterr, "", kind, ref->name, arena_printf(r->arena, "the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref->uid));
    return 0;
}

/* ---- the claims, keys in order as upstream's encoder sorts them ---- */

static void write_ref(struct buf *out, const char *kind, const char *name, const char *uid) {
    buf_printf(out, ",\"%s\":{\"name\":", kind);
    json_write_string(out, name);
    if (!str_empty(uid)) {
        buf_append_str(out, ",\"uid\":");
        json_write_string(out, uid);
    }
    buf_append_char(out, '}');
}

static void write_claims(struct api_request *r, struct buf *out, const char *issuer, const struct authenticationv1_TokenRequest *req, const struct object *sa, const struct bound *b, int64_t now, int64_t exp, int64_t warn_after) {
    char uuid[37];
    env_uuid(apiserver_env(r->server), uuid);
    buf_append_str(out, "{\"aud\":[");
    for (size_t i = 0; i < req->spec.audiences.len; i++) {
        if (i) buf_append_char(out, ',');
        json_write_string(out, req->spec.audiences.items[i]);
    }
    buf_printf(out, "],\"exp\":%lld,\"iat\":%lld,\"iss\":", (long long)(now + exp), (long long)now);
    json_write_string(out, issuer);
    buf_printf(out, ",\"jti\":\"%s\",\"kubernetes.io\":{\"namespace\":", uuid);
    json_write_string(out, sa->metadata.namespace);
    if (!str_empty(b->node_name)) write_ref(out, "node", b->node_name, b->node ? b->node->metadata.uid : NULL);
    if (b->pod) write_ref(out, "pod", b->pod->metadata.name, b->pod->metadata.uid);
    if (b->secret) write_ref(out, "secret", b->secret->metadata.name, b->secret->metadata.uid);
    write_ref(out, "serviceaccount", sa->metadata.name, sa->metadata.uid);
    if (warn_after) buf_printf(out, ",\"warnafter\":%lld", (long long)(now + warn_after));
    buf_printf(out, "},\"nbf\":%lld,\"sub\":", (long long)now);
    json_write_string(out, arena_printf(r->arena, "system:serviceaccount:%s:%s", sa->metadata.namespace, sa->metadata.name));
    buf_append_char(out, '}');
}

static bool for_this_server(const struct service_account_tokens *s, const struct string_list *audiences) {
    const struct string_list *own = service_account_audiences(s);
    for (size_t i = 0; i < audiences->len; i++)
        if (!string_list_has(own, audiences->items[i])) return false;
    return audiences->len > 0;
}

static int issue(struct api_request *r, struct authenticationv1_TokenRequest *req, const struct object *sa, const struct bound *b, int64_t now, struct status *reterr) {
    struct service_account_tokens *s = authenticator_service_accounts(apiserver_authenticator(r->server));
    const struct jwt_key *key = service_account_signing_key(s);
    _cleanup_buf_ struct buf claims = BUF_INIT;
    int64_t max = service_account_max_expiration(s), exp, warn_after = 0;
    if (!key) return status_set(reterr, 404, REASON_NOT_FOUND, "the server could not find the requested resource");
    if (max > 0 && req->spec.expirationSeconds.value > max) {
        request_warn(r, "requested expiration of %lld seconds shortened to %lld seconds", (long long)req->spec.expirationSeconds.value, (long long)max);
        req->spec.expirationSeconds.value = max;
    }
    exp = req->spec.expirationSeconds.value;
    /* A Pod's usual token lives on for a year, lest clients that never read it again break: it is only warned about after its time. */
    if (b->pod && exp == TOKEN_SECONDS_WARN_ONLY && service_account_extends(s) && for_this_server(s, &req->spec.audiences)) {
        warn_after = exp;
        exp = TOKEN_SECONDS_EXTENDED;
    }
    write_claims(r, &claims, service_account_issuer(s), req, sa, b, now, exp, warn_after);
    char *token = jwt_sign(r->arena, key, claims.data, claims.len, reterr);
    if (!token) return -1;
    req->status = (struct authenticationv1_TokenRequestStatus){.token = token, .expirationTimestamp = time_from_s(now + req->spec.expirationSeconds.value)};
    return 0;
}

static int answer(struct api_request *r, struct authenticationv1_TokenRequest *req, const struct write_options *o, struct status *reterr) {
    void *found;
    struct bound b = {0};
    int64_t now = env_now_s(apiserver_env(r->server));
    if (admission_run(r, &authenticationv1_TokenRequest_desc, ADMIT_CREATE, req, NULL, o, reterr) != 0 || check_names(r, req, reterr) != 0 || get(r, "serviceaccounts", r->namespace, r->name, &found, reterr) != 0) return -1;
    const struct object *sa = found;
    if (!str_empty(req->metadata.uid) && !str_eq(req->metadata.uid, sa->metadata.uid))
        return status_conflict(reterr, "", "serviceaccounts", r->name, arena_printf(r->arena, "the UID in the token request (%s) does not match the UID of the service account (%s)", req->metadata.uid, sa->metadata.uid));
    if (!req->spec.audiences.len) req->spec.audiences = *service_account_audiences(authenticator_service_accounts(apiserver_authenticator(r->server)));
    req->metadata.name = sa->metadata.name;
    req->metadata.namespace = sa->metadata.namespace;
    req->metadata.uid = sa->metadata.uid;
    req->metadata.creationTimestamp = time_from_s(now);
    if (check_expiration(r, req->spec.expirationSeconds.value, reterr) != 0 || (req->spec.boundObjectRef && bind_to(r, req->spec.boundObjectRef, &b, reterr) != 0)) return -1;
    return issue(r, req, sa, &b, now, reterr);
}

void handle_token_request(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct write_options o;
    struct authenticationv1_TokenRequest *req = NULL;
    if (negotiate(r, true, false, &err) == 0 && read_write_options(r, &o, &err) == 0) req = body_decode(r, &authenticationv1_TokenRequest_desc, &err);
    if (req) {
        if (!req->spec.expirationSeconds.has) req->spec.expirationSeconds = (struct opt_int64)OPT(3600);
        request_managed_update(r, &o, &authenticationv1_TokenRequest_desc, NULL, req);
    }
    if (req && answer(r, req, &o, &err) == 0) respond_object(r, 201, &authenticationv1_TokenRequest_desc, req);
    else respond_status(r, &err);
}

/* ---- discovery for those who check tokens themselves ---- */

static void respond_json(struct api_request *r, const char *type, const struct buf *body) { respond_bytes(r, 200, type, &(struct http_slice){.data = body->data, .len = body->len}, 1); }

static void respond_jwks(struct api_request *r, const struct jwt_keys *keys) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_str(&out, "{\"keys\":[");
    for (size_t i = 0; i < keys->len; i++) {
        if (i) buf_append_char(&out, ',');
        jwt_key_jwk(keys->items[i], &out);
    }
    buf_append_str(&out, "]}");
    respond_json(r, "application/jwk-set+json", &out);
}

static void respond_configuration(struct api_request *r, const struct service_account_tokens *s) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    const struct jwt_keys *keys = service_account_public_keys(s);
    const struct apiserver_options *o = apiserver_options(r->server);
    struct string_list algs = {0};
    buf_append_str(&out, "{\"issuer\":");
    json_write_string(&out, service_account_issuer(s));
    buf_append_str(&out, ",\"jwks_uri\":");
    json_write_string(&out, !str_empty(o->service_account_jwks_uri) ? o->service_account_jwks_uri : arena_printf(r->arena, "https://%s:%d/openid/v1/jwks", str_or(o->advertise_address, "127.0.0.1"), apiserver_port(r->server)));
    buf_append_str(&out, ",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[");
    for (size_t i = 0; i < keys->len; i++) {
        const char *alg = jwt_key_alg(keys->items[i]);
        if (string_list_has(&algs, alg)) continue;
        buf_printf(&out, "%s\"%s\"", algs.len ? "," : "", alg);
        string_list_push(r->arena, &algs, alg);
    }
    buf_append_str(&out, "]}");
    respond_json(r, "application/json", &out);
}

bool handle_openid(struct api_request *r) {
    struct service_account_tokens *s = authenticator_service_accounts(apiserver_authenticator(r->server));
    bool jwks = strcmp(r->path, "/openid/v1/jwks") == 0;
    if (!jwks && strcmp(r->path, "/.well-known/openid-configuration") != 0) return false;
    if (jwks) respond_jwks(r, service_account_public_keys(s));
    else respond_configuration(r, s);
    return true;
}
