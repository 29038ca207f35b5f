#include "apiserver/token_webhook.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>
#include "apiserver/webhook_client.h"
#include "base/env.h"
#include "base/expiring_cache.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/json.h"

enum { TIMEOUT_MS = 30000, CACHE_ENTRIES = 32 * 128, KEY_BYTES = 32 };

struct token_webhook {
    struct webhook_client *client;
    struct expiring_cache *answers; /* the hash of token and audiences, to the status's JSON */
    unsigned char key[KEY_BYTES];
    int64_t ttl_ns;
    bool beta;
};

struct token_webhook *token_webhook_new(const char *kubeconfig_file, const char *version, int64_t ttl_ns, struct status *reterr) {
    const char *v = str_or(version, "v1beta1");
    if (!str_eq(v, "v1") && !str_eq(v, "v1beta1")) {
        status_bad_request(reterr, "unsupported authentication webhook version \"%s\", supported versions are \"v1\", \"v1beta1\"", v);
        return NULL;
    }
    struct webhook_client *client = webhook_client_new(kubeconfig_file, TIMEOUT_MS, reterr);
    if (!client) return NULL;
    struct token_webhook *w = calloc(1, sizeof(*w));
    CHECK(w);
    *w = (struct token_webhook){.client = client, .answers = expiring_cache_new(CACHE_ENTRIES), .ttl_ns = ttl_ns, .beta = str_eq(v, "v1beta1")};
    CHECK(RAND_bytes(w->key, sizeof(w->key)) == 1);
    return w;
}

void token_webhook_free(struct token_webhook *w) {
    if (!w) return;
    webhook_client_free(w->client);
    expiring_cache_free(w->answers);
    free(w);
}

/* ---- the question ---- */

static void write_review(const struct token_webhook *w, const char *token, const struct string_list *wanted, struct buf *out) {
    struct authenticationv1_TokenReviewSpec spec = {.token = token, .audiences = *wanted};
    buf_printf(out, "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/%s\",\"metadata\":{},\"spec\":", w->beta ? "v1beta1" : "v1");
    object_encode_json(&authenticationv1_TokenReviewSpec_desc, &spec, out);
    buf_append_str(out, ",\"status\":{\"user\":{}}}");
}

static const char *cache_key(struct token_webhook *w, struct arena *a, const char *token, const struct string_list *wanted) {
    _cleanup_buf_ struct buf text = BUF_INIT, out = BUF_INIT;
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    buf_append(&text, token, strlen(token) + 1);
    for (size_t i = 0; i < wanted->len; i++) buf_append(&text, wanted->items[i], strlen(wanted->items[i]) + 1);
    CHECK(HMAC(EVP_sha256(), w->key, sizeof(w->key), (unsigned char *)text.data, text.len, sum, &len));
    OPENSSL_cleanse(text.data, text.len);
    base64url_encode(&out, sum, len);
    return arena_strdup(a, out.data);
}

/* ---- the answer ---- */

static int read_status(struct arena *a, const struct buf *text, bool whole, struct authenticationv1_TokenReviewStatus *ret, struct status *reterr) {
    yyjson_doc *doc = json_parse_in(a, buf_cstr(text), text->len, 0, reterr);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL, *status = whole ? yyjson_obj_get(root, "status") : root;
    *ret = (struct authenticationv1_TokenReviewStatus){0};
    if (!doc) return -1;
    if (!yyjson_is_obj(root)) return status_bad_request(reterr, "the answer is no TokenReview");
    return status ? object_decode_value(a, &authenticationv1_TokenReviewStatus_desc, ret, status, NULL, reterr) : 0;
}

static int ask(struct token_webhook *w, struct arena *a, const char *token, const struct string_list *wanted, struct authenticationv1_TokenReviewStatus *ret, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT, answer = BUF_INIT;
    write_review(w, token, wanted, &body);
    int failed = webhook_client_post(w->client, a, &body, &answer, reterr) != 0 || read_status(a, &answer, true, ret, reterr) != 0;
    OPENSSL_cleanse(body.data, body.len);
    return failed ? -1 : 0;
}

static int ask_or_remember(struct token_webhook *w, struct arena *a, const char *token, const struct string_list *wanted, struct authenticationv1_TokenReviewStatus *ret, struct status *reterr) {
    _cleanup_buf_ struct buf kept = BUF_INIT;
    const char *key = cache_key(w, a, token, wanted);
    if (w->ttl_ns && expiring_cache_get(w->answers, key, env_mono_ns(env_real()), &kept) && read_status(a, &kept, false, ret, NULL) == 0) return 0;
    if (ask(w, a, token, wanted, ret, reterr) != 0) return -1;
    if (!w->ttl_ns || !str_empty(ret->error)) return 0; /* as upstream: an error is not kept */
    object_encode_json(&authenticationv1_TokenReviewStatus_desc, ret, &kept);
    expiring_cache_put(w->answers, key, kept.data, kept.len, env_mono_ns(env_real()) + w->ttl_ns);
    return 0;
}

enum token_outcome token_webhook_authenticate(struct token_webhook *w, struct arena *a, const char *token, const struct string_list *wanted, const struct string_list *own, struct token_verdict *ret) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct authenticationv1_TokenReviewStatus s;
    if (ask_or_remember(w, a, token, wanted, &s, &err) != 0) {
        log_error("Failed to make webhook authenticator request: %s", status_message(&err));
        ret->error = arena_strdup(a, status_message(&err));
        return TOKEN_REFUSED;
    }
    const struct string_list *got = s.audiences.len ? &s.audiences : own;
    ret->audiences = (struct string_list){0};
    for (size_t i = 0; i < wanted->len; i++)
        if (string_list_has(got, wanted->items[i])) string_list_push(a, &ret->audiences, wanted->items[i]);
    if (!ret->audiences.len) return TOKEN_NOT_OURS;
    if (!s.authenticated) {
        ret->error = s.error;
        return str_empty(s.error) ? TOKEN_NOT_OURS : TOKEN_REFUSED;
    }
    ret->user = (struct user_info){.name = s.user.username, .uid = s.user.uid, .groups = s.user.groups, .extra = s.user.extra};
    return TOKEN_GOOD;
}
