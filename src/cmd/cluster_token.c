/* Tokens: see cluster_token.h. */
#include "cmd/cluster_token.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include "base/env.h"
#include "base/str.h"

static const char begin[] = "CK1", for_servers[] = "::server:", for_nodes[] = "::node:";
enum { ID_LEN = 6, NODE_SECRET_LEN = 16 };

static void to_hex(const unsigned char *bytes, size_t n, char *ret) {
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    ret[2 * n] = 0;
}

static bool is_secret(const char *s) {
    size_t len = strlen(s);
    for (const char *p = s; *p; p++)
        if (*p <= ' ' || *p > '~' || *p == ':') return false; /* it goes into a header */
    return len >= CLUSTER_SECRET_MIN && len <= 256;
}

/* The hash before `middle`, and what is behind it; a text without "::" is all secret. */
static int split(const char *text, const char *middle, const char *form, struct cluster_token *ret, struct status *reterr) {
    const char *sep = text ? strstr(text, "::") : NULL;
    if (str_empty(text)) return status_bad_request(reterr, "the token is empty");
    *ret = (struct cluster_token){.secret = text};
    if (!sep) return 0;
    size_t len = (size_t)(sep - text);
    bool hashed = str_has_prefix(text, begin) && len == strlen(begin) + CLUSTER_HASH_LEN && strspn(text + strlen(begin), "0123456789abcdef") == CLUSTER_HASH_LEN;
    if (!hashed || !str_has_prefix(sep, middle)) return status_bad_request(reterr, "the token is not of the form %s", form);
    memcpy(ret->hash, text + strlen(begin), CLUSTER_HASH_LEN);
    ret->secret = sep + strlen(middle);
    return 0;
}

int cluster_token_parse(struct arena *a, const char *text, struct cluster_token *ret, struct status *reterr) {
    struct cluster_token t;
    if (split(text, for_servers, "CK1<hash>::server:<secret>", &t, reterr) != 0) return -1;
    if (!is_secret(t.secret)) return status_bad_request(reterr, "the token's secret must have %d to 256 printable characters and neither blanks nor colons", CLUSTER_SECRET_MIN);
    t.secret = arena_strdup(a, t.secret);
    *ret = t;
    return 0;
}

bool cluster_secret_is_good(const char *secret) { return strlen(secret) >= CLUSTER_SECRET_GOOD; }

char *cluster_token_text(struct arena *a, const struct cluster_token *t) { return arena_printf(a, "%s%s%s%s", begin, t->hash, for_servers, t->secret); }

static bool is_node_secret(const char *s) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    return strspn(s, letters) == ID_LEN && s[ID_LEN] == '.' && strspn(s + ID_LEN + 1, letters) == NODE_SECRET_LEN && !s[ID_LEN + 1 + NODE_SECRET_LEN];
}

int node_token_parse(struct arena *a, const char *text, struct cluster_token *ret, struct status *reterr) {
    struct cluster_token t;
    if (split(text, for_nodes, "CK1<hash>::node:<id>.<secret>, as ckube server keeps it in DATA_DIR/server/node-token", &t, reterr) != 0) return -1;
    if (!is_node_secret(t.secret)) return status_bad_request(reterr, "the token's end is not of the form [a-z0-9]{6}.[a-z0-9]{16}: nodes join with the token in DATA_DIR/server/node-token of a server");
    t.secret = arena_strdup(a, t.secret);
    *ret = t;
    return 0;
}

char *node_token_text(struct arena *a, const struct cluster_token *t) { return arena_printf(a, "%s%s%s%s", begin, t->hash, for_nodes, t->secret); }

char *node_token_new_secret(struct arena *a) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    char text[ID_LEN + 1 + NODE_SECRET_LEN + 1];
    for (size_t i = 0; i < sizeof(text) - 1; i++) text[i] = i == ID_LEN ? '.' : letters[env_random_below(env_real(), sizeof(letters) - 1)];
    text[sizeof(text) - 1] = 0;
    return arena_strdup(a, text);
}

char *cluster_token_new_secret(struct arena *a) {
    unsigned char bytes[16];
    char hex[2 * sizeof(bytes) + 1];
    env_random(env_real(), bytes, sizeof(bytes));
    to_hex(bytes, sizeof(bytes), hex);
    return arena_strdup(a, hex);
}

int cluster_ca_hash(const char *pem, char ret[CLUSTER_HASH_LEN + 1], struct status *reterr) {
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    bool ok = cert && X509_digest(cert, EVP_sha256(), sum, &len) == 1 && 2 * len == CLUSTER_HASH_LEN;
    if (ok) to_hex(sum, len, ret);
    X509_free(cert);
    BIO_free(bio);
    return ok ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "what should be the cluster's authority is no certificate");
}

bool cluster_secrets_equal(const char *a, const char *b) {
    unsigned char x[EVP_MAX_MD_SIZE], y[EVP_MAX_MD_SIZE];
    unsigned n = 0, m = 0;
    bool ok = EVP_Digest(a, strlen(a), x, &n, EVP_sha256(), NULL) == 1 && EVP_Digest(b, strlen(b), y, &m, EVP_sha256(), NULL) == 1;
    return ok && CRYPTO_memcmp(x, y, n) == 0;
}
