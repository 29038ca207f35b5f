#include "apiserver/service_account_tokens.h"
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>
#include "api/field_error.h"
#include "apiserver/impersonation.h"
#include "apiserver/registry.h"
#include "base/str.h"
#include "wire/json.h"

enum { SEEN = 4096, LEEWAY_S = 60 };
#define EXTRA "authentication.kubernetes.io/"
static const char *const legacy_issuer = "kubernetes/serviceaccount";

struct service_account_tokens {
    struct arena *arena;
    struct jwt_keys signing, verifying;
    struct string_list issuers, audiences;
    bool extend;
    int64_t max_expiration_s;
    pthread_mutex_t mutex;                                  /* seen */
    unsigned char seen[SEEN][SHA256_DIGEST_LENGTH];         /* hashes of tokens whose signatures are good; placed by their first bytes */
};

/* ---- life ---- */

static int load_keys(struct service_account_tokens *s, const struct service_account_tokens_options *o, struct status *reterr) {
    struct string_list files = string_list_split(s->arena, o->key_files);
    if (o->signing_key_file && jwt_keys_load(o->signing_key_file, &s->signing, reterr) != 0) return -1;
    if (s->signing.len && !jwt_key_is_private(s->signing.items[0])) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s: data does not contain a valid RSA or ECDSA private key", o->signing_key_file);
    if (!files.len && o->signing_key_file) string_list_push(s->arena, &files, o->signing_key_file);
    for (size_t i = 0; i < files.len; i++)
        if (jwt_keys_load(files.items[i], &s->verifying, reterr) != 0) return -1;
    return 0;
}

struct service_account_tokens *service_account_tokens_new(const struct service_account_tokens_options *o, struct status *reterr) {
    struct service_account_tokens *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->arena = arena_new();
    pthread_mutex_init(&s->mutex, NULL);
    s->issuers = string_list_split(s->arena, str_or(o->issuers, "https://kubernetes.default.svc.cluster.local"));
    s->audiences = string_list_split(s->arena, o->audiences);
    if (!s->audiences.len) string_list_push(s->arena, &s->audiences, s->issuers.items[0]);
    s->extend = !o->no_extended_expiration;
    s->max_expiration_s = o->max_expiration_s;
    if (load_keys(s, o, reterr) == 0) return s;
    service_account_tokens_free(s);
    return NULL;
}

void service_account_tokens_free(struct service_account_tokens *s) {
    if (!s) return;
    jwt_keys_release(&s->signing);
    jwt_keys_release(&s->verifying);
    pthread_mutex_destroy(&s->mutex);
    arena_free(s->arena);
    free(s);
}

const struct string_list *service_account_audiences(const struct service_account_tokens *s) { return &s->audiences; }
const struct string_list *service_account_issuers(const struct service_account_tokens *s) { return &s->issuers; }
const char *service_account_issuer(const struct service_account_tokens *s) { return s->issuers.items[0]; }
const struct jwt_keys *service_account_public_keys(const struct service_account_tokens *s) { return &s->verifying; }
const struct jwt_key *service_account_signing_key(const struct service_account_tokens *s) { return s->signing.len ? s->signing.items[0] : NULL; }
int64_t service_account_max_expiration(const struct service_account_tokens *s) { return s->max_expiration_s; }
bool service_account_extends(const struct service_account_tokens *s) { return s->extend; }

/* ---- the signature ---- */

static bool seen_before(struct service_account_tokens *s, const unsigned char sum[SHA256_DIGEST_LENGTH], bool remember) {
    unsigned char *slot = s->seen[(sum[0] << 8 | sum[1]) % SEEN];
    pthread_mutex_lock(&s->mutex);
    bool found = CRYPTO_memcmp(slot, sum, SHA256_DIGEST_LENGTH) == 0;
    if (remember) memcpy(slot, sum, SHA256_DIGEST_LENGTH);
    pthread_mutex_unlock(&s->mutex);
    return found;
}

/* NULL when one of the keys made it. A key id that nobody has is refused: no other key is tried. */
static const char *check_signature(struct service_account_tokens *s, const char *text, const struct jwt *t) {
    unsigned char sum[SHA256_DIGEST_LENGTH];
    bool candidates = false;
    SHA256((const unsigned char *)text, strlen(text), sum);
    if (seen_before(s, sum, false)) return NULL;
    for (size_t i = 0; i < s->verifying.len; i++) {
        if (!str_empty(t->kid) && strcmp(t->kid, jwt_key_id(s->verifying.items[i])) != 0) continue;
        candidates = true;
        if (!jwt_verify(t, s->verifying.items[i])) continue;
        seen_before(s, sum, true);
        return NULL;
    }
    return candidates ? "go-jose/go-jose: error in cryptographic primitive" : "invalid signature, no keys found";
}

/* ---- claims ---- */

static const char *text_of(struct arena *a, yyjson_val *object, const char *name) { return arena_strdup(a, yyjson_get_str(yyjson_obj_get(object, name))); }

/* A NumericDate; false when the claim is there but no number. */
static bool time_of(yyjson_val *claims, const char *name, bool *ret_there, int64_t *ret) {
    yyjson_val *v = yyjson_obj_get(claims, name);
    *ret_there = v && !yyjson_is_null(v);
    if (!*ret_there) return true;
    if (!yyjson_is_num(v)) return false;
    double d = yyjson_get_num(v);
    *ret = d > 1e15 ? (int64_t)1e15 : d < -1e15 ? (int64_t)-1e15 : (int64_t)d;
    return true;
}

static struct string_list audiences_of(struct arena *a, yyjson_val *claims) {
    struct string_list l = {0};
    yyjson_val *aud = yyjson_obj_get(claims, "aud"), *item;
    size_t i, max;
    if (yyjson_is_str(aud)) string_list_push(a, &l, arena_strdup(a, yyjson_get_str(aud)));
    if (yyjson_is_arr(aud)) yyjson_arr_foreach(aud, i, max, item) {
        if (yyjson_is_str(item)) string_list_push(a, &l, arena_strdup(a, yyjson_get_str(item)));
    }
    return l;
}

static struct string_list intersect(struct arena *a, const struct string_list *x, const struct string_list *y) {
    struct string_list out = {0};
    for (size_t i = 0; i < x->len; i++)
        if (string_list_has(y, x->items[i])) string_list_push(a, &out, x->items[i]);
    return out;
}

static const char *quoted_list(struct arena *a, const struct string_list *l) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_char(&out, '[');
    for (size_t i = 0; i < l->len; i++) buf_printf(&out, "%s%s", i ? " " : "", go_quote(a, l->items[i]));
    buf_append_char(&out, ']');
    return arena_strdup(a, out.data);
}

struct checking {
    struct store *store;
    struct arena *a;
    int64_t now_s;
    yyjson_val *claims;
    const char *token;
    struct token_verdict *ret;
};

static enum token_outcome refuse(struct checking *c, const char *why) {
    c->ret->error = why;
    return TOKEN_REFUSED;
}

static const char *check_times(const struct checking *c) {
    bool there;
    int64_t t = 0;
    if (!time_of(c->claims, "nbf", &there, &t)) return "service account token claims could not be validated due to unexpected validation error";
    if (there && c->now_s + LEEWAY_S < t) return "service account token is not valid yet";
    if (!time_of(c->claims, "exp", &there, &t)) return "service account token claims could not be validated due to unexpected validation error";
    if (there && c->now_s - LEEWAY_S > t) return "service account token has expired";
    if (!time_of(c->claims, "iat", &there, &t) || (there && c->now_s + LEEWAY_S < t)) return "service account token claims could not be validated due to unexpected validation error";
    return NULL;
}

/* ---- the objects that a token is bound to ---- */

static struct object *find(struct checking *c, const char *resource, const char *namespace, const char *name) {
    const struct strategy *st = strategy_find("", resource);
    struct store_txn *t;
    struct store_view v;
    struct object *obj = NULL;
    if (str_empty(name) || strchr(name, '/') || (namespace && (str_empty(namespace) || strchr(namespace, '/'))) || store_read_begin(c->store, &t, NULL) != 0) return NULL;
    if (store_get(t, storage_key(c->a, st, namespace, name), &v)) obj = registry_decode(c->a, st, &v);
    store_read_end(t);
    return obj;
}

static bool long_deleted(const struct checking *c, const struct object *obj) { return obj->metadata.deletionTimestamp.set && obj->metadata.deletionTimestamp.sec < c->now_s - LEEWAY_S; }

/* One of pod, secret, node: there, not deleted, the same one. NULL when it is, or when the token is not bound to such a thing. */
static const char *check_bound(struct checking *c, yyjson_val *kube, const char *kind, const char *resource, const char *namespace) {
    yyjson_val *ref = yyjson_obj_get(kube, kind);
    if (!yyjson_is_obj(ref)) return NULL;
    const char *uid = text_of(c->a, ref, "uid");
    const struct object *obj = find(c, resource, namespace, text_of(c->a, ref, "name"));
    if (!obj || long_deleted(c, obj)) return "service account token has been invalidated";
    if (str_empty(uid) || !str_eq(uid, obj->metadata.uid))
        return arena_printf(c->a, "%s UID (%s) does not match service account %s ref claim (%s)", kind, obj->metadata.uid, kind, str_or(uid, ""));
    return NULL;
}

static const char *check_account(struct checking *c, const char *namespace, const char *name, const char *uid) {
    const struct object *sa = find(c, "serviceaccounts", str_or(namespace, ""), name);
    if (!sa) return arena_printf(c->a, "serviceaccounts %s not found", go_quote(c->a, str_or(name, "")));
    if (long_deleted(c, sa)) return arena_printf(c->a, "service account %s/%s has been deleted", namespace, name);
    if (str_empty(uid) || !str_eq(sa->metadata.uid, uid)) return arena_printf(c->a, "service account UID (%s) does not match claim (%s)", sa->metadata.uid, str_or(uid, ""));
    return NULL;
}

static void add_extra(struct checking *c, const char *key, const char *value) {
    struct string_list_map *extra = &c->ret->user.extra;
    if (str_empty(value)) return;
    struct string_list_map_entry *e = LIST_PUSH(c->a, extra); /* called in the keys' order */
    e->key = key;
    string_list_push(c->a, &e->value, value);
}

static void fill_user(struct checking *c, const char *namespace, const char *name, const char *uid) {
    c->ret->user = (struct user_info){.name = arena_printf(c->a, "system:serviceaccount:%s:%s", namespace, name), .uid = uid};
    service_account_groups(c->a, namespace, &c->ret->user.groups);
}

static enum token_outcome check_claims(struct checking *c) {
    yyjson_val *kube = yyjson_obj_get(c->claims, "kubernetes.io"), *account = yyjson_obj_get(kube, "serviceaccount"), *pod = yyjson_obj_get(kube, "pod"), *node = yyjson_obj_get(kube, "node");
    const char *namespace = text_of(c->a, kube, "namespace"), *name = text_of(c->a, account, "name"), *uid = text_of(c->a, account, "uid"), *jti = text_of(c->a, c->claims, "jti"), *why;
    if ((why = check_times(c)) || (why = check_account(c, namespace, name, uid)) || (why = check_bound(c, kube, "secret", "secrets", namespace)) || (why = check_bound(c, kube, "pod", "pods", namespace)))
        return refuse(c, why);
    if (!yyjson_is_obj(pod) && (why = check_bound(c, kube, "node", "nodes", NULL))) return refuse(c, why); /* of a Pod's token the node is told, not checked */
    fill_user(c, namespace, name, uid);
    if (!str_empty(jti)) add_extra(c, EXTRA "credential-id", arena_printf(c->a, "JTI=%s", jti));
    add_extra(c, EXTRA "node-name", text_of(c->a, node, "name"));
    add_extra(c, EXTRA "node-uid", text_of(c->a, node, "uid"));
    add_extra(c, EXTRA "pod-name", text_of(c->a, pod, "name"));
    add_extra(c, EXTRA "pod-uid", text_of(c->a, pod, "uid"));
    return TOKEN_GOOD;
}

/* ---- tokens that live in Secrets ---- */

static const char *legacy_claim(struct checking *c, const char *name) { return text_of(c->a, c->claims, arena_printf(c->a, "kubernetes.io/serviceaccount/%s", name)); }

#define INVALID_SINCE "kubernetes.io/legacy-token-invalid-since"
#define LAST_USED "kubernetes.io/legacy-token-last-used"

static const char *check_secret(struct checking *c, const char *namespace, const char *name, const struct corev1_Secret **ret) {
    const struct corev1_Secret *secret = (const struct corev1_Secret *)(const void *)find(c, "secrets", namespace, name);
    const struct bytes *stored = NULL;
    if (!secret || secret->metadata.deletionTimestamp.set) return "Token has been invalidated";
    LIST_FOREACH(e, &secret->data)
        if (strcmp(e->key, "token") == 0) stored = &e->value;
    if (!stored || stored->len != strlen(c->token) || CRYPTO_memcmp(stored->data, c->token, stored->len) != 0) return "Token does not match server's copy";
    *ret = secret;
    return NULL;
}

static const char *check_legacy_account(struct checking *c, const char *namespace, const char *name, const char *uid, const struct corev1_ServiceAccount **ret) {
    const struct corev1_ServiceAccount *sa = (const struct corev1_ServiceAccount *)(const void *)find(c, "serviceaccounts", namespace, name);
    if (!sa) return arena_printf(c->a, "serviceaccounts %s not found", go_quote(c->a, name));
    if (sa->metadata.deletionTimestamp.set) return arena_printf(c->a, "ServiceAccount %s/%s has been deleted", namespace, name);
    if (!str_eq(sa->metadata.uid, uid)) return arena_printf(c->a, "ServiceAccount UID (%s) does not match claim (%s)", sa->metadata.uid, uid);
    *ret = sa;
    return NULL;
}

static bool lists_secret(const struct corev1_ServiceAccount *sa, const char *secret) {
    LIST_FOREACH(ref, &sa->secrets)
        if (str_eq(ref->name, secret)) return true;
    return false;
}

static enum token_outcome check_legacy(struct checking *c) {
    const char *namespace = legacy_claim(c, "namespace"), *secret_name = legacy_claim(c, "secret.name"), *name = legacy_claim(c, "service-account.name"), *uid = legacy_claim(c, "service-account.uid"), *why;
    const struct corev1_Secret *secret = NULL;
    const struct corev1_ServiceAccount *sa = NULL;
    if (str_empty(namespace)) return refuse(c, "namespace claim is missing");
    if (str_empty(secret_name)) return refuse(c, "secretName claim is missing");
    if (str_empty(name)) return refuse(c, "serviceAccountName claim is missing");
    if (str_empty(uid)) return refuse(c, "serviceAccountUID claim is missing");
    if (!str_eq(text_of(c->a, c->claims, "sub"), arena_printf(c->a, "system:serviceaccount:%s:%s", namespace, name))) return refuse(c, "sub claim is invalid");
    if ((why = check_secret(c, namespace, secret_name, &secret)) || (why = check_legacy_account(c, namespace, name, uid, &sa))) return refuse(c, why);
    bool invalid = !str_empty(string_map_get(&secret->metadata.labels, INVALID_SINCE));
    c->ret->legacy = (struct legacy_token_use){.kind = invalid ? LEGACY_TOKEN_INVALIDATED : lists_secret(sa, secret_name) ? LEGACY_TOKEN_AUTO : LEGACY_TOKEN_MANUAL,
        .namespace = namespace, .secret = secret_name, .uid = secret->metadata.uid, .last_used = string_map_get(&secret->metadata.labels, LAST_USED)};
    if (invalid) return refuse(c, arena_printf(c->a, "the token in secret %s/%s for service account %s/%s has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, "
        "or remove the '" INVALID_SINCE "' label from the secret to temporarily allow use of this token", namespace, secret_name, namespace, name));
    fill_user(c, namespace, name, uid);
    return TOKEN_GOOD;
}

enum token_outcome service_account_authenticate(struct service_account_tokens *s, struct store *store, int64_t now_s, struct arena *a, const char *token, const struct string_list *wanted,
                                                struct token_verdict *ret) {
    struct jwt t;
    struct checking c = {store, a, now_s, NULL, token, ret};
    *ret = (struct token_verdict){0};
    if (jwt_parse(a, token, &t, NULL) != 0) return TOKEN_NOT_OURS;
    yyjson_doc *doc = json_parse_in(a, t.payload, t.payload_len, 0, NULL);
    c.claims = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *issuer = yyjson_is_obj(c.claims) ? text_of(a, c.claims, "iss") : NULL, *why;
    bool legacy = str_eq(issuer, legacy_issuer);
    if (str_empty(issuer) || (!legacy && !string_list_has(&s->issuers, issuer))) return TOKEN_NOT_OURS;
    if ((why = check_signature(s, token, &t))) return refuse(&c, why);
    struct string_list audiences = audiences_of(a, c.claims);
    if (!audiences.len) audiences = s->audiences;
    if (!wanted) wanted = &s->audiences;
    ret->audiences = intersect(a, &audiences, wanted);
    if (!ret->audiences.len) return refuse(&c, arena_printf(a, "token audiences %s is invalid for the target audiences %s", quoted_list(a, &audiences), quoted_list(a, wanted)));
    return legacy ? check_legacy(&c) : check_claims(&c);
}
