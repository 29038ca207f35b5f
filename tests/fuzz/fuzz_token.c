/* Bearer tokens all the way: parsed, their signature checked, their claims looked up in a store. Input: "C" and claims, which are signed with the server's key as if it had issued them;
 * "P", two bytes of place, and bytes that are written over a good token; anything else is a token as it stands. Whatever comes in, nobody but the one ServiceAccount that is there comes out. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "apiserver/service_account_tokens.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/x509.h"

enum { NOW = 1800000000 };
#define CLAIMS "{\"iss\":\"https://issuer\",\"aud\":[\"api\"],\"exp\":1800003600,\"kubernetes.io\":{\"namespace\":\"ns\",\"serviceaccount\":{\"name\":\"bot\",\"uid\":\"sa-1\"}},\"sub\":\"system:serviceaccount:ns:bot\"}"
#define LEGACY "{\"iss\":\"kubernetes/serviceaccount\",\"kubernetes.io/serviceaccount/namespace\":\"ns\",\"kubernetes.io/serviceaccount/secret.name\":\"t\",\"kubernetes.io/serviceaccount/service-account.name\":\"bot\"," \
    "\"kubernetes.io/serviceaccount/service-account.uid\":\"sa-1\",\"sub\":\"system:serviceaccount:ns:bot\"}"

static struct { char dir[64], key[96]; struct store *store; struct service_account_tokens *tokens; char *good; } world;

static void put(const char *key, const char *json) {
    struct store_op op = {.key = key, .expect_mod_revision = STORE_ANY, .value = json, .value_len = strlen(json)};
    struct store_result res;
    store_write_wait(world.store, &op, 1, &res);
    CHECK(res.outcome == STORE_OK);
}

static void end(void) {
    char command[96];
    store_close(world.store);
    service_account_tokens_free(world.tokens);
    free(world.good);
    snprintf(command, sizeof(command), "rm -rf %s", world.dir);
    if (system(command) != 0) perror(world.dir);
}

static char *sign(struct arena *a, const void *claims, size_t len) { return jwt_sign(a, service_account_signing_key(world.tokens), claims, len, NULL); }

static void begin(void) {
    _cleanup_arena_ struct arena *a = arena_new();
    snprintf(world.dir, sizeof(world.dir), "/tmp/ckube-fuzz-token-XXXXXX");
    CHECK(mkdtemp(world.dir));
    snprintf(world.key, sizeof(world.key), "%s/sa.key", world.dir);
    struct store_options so = {.dir = world.dir, .no_sync = true};
    CHECK(store_open(&so, &world.store, NULL) == 0 && x509_make_key(world.key, NULL) == 0);
    struct service_account_tokens_options o = {.signing_key_file = world.key, .issuers = "https://issuer", .audiences = "api"};
    CHECK((world.tokens = service_account_tokens_new(&o, NULL)));
    put("/registry/serviceaccounts/ns/bot", "{\"metadata\":{\"name\":\"bot\",\"namespace\":\"ns\",\"uid\":\"sa-1\"}}");
    put("/registry/pods/ns/p", "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"pod-1\"}}");
    put("/registry/minions/n", "{\"metadata\":{\"name\":\"n\",\"uid\":\"node-1\"}}");
    CHECK((world.good = strdup(sign(a, CLAIMS, sizeof(CLAIMS) - 1))));
    atexit(end);
}

/* The Secret that a legacy token must be the copy of. An ECDSA signature is another one each time: the Secret is made for the token at hand. */
static void keep_in_secret(struct arena *a, const char *token) {
    _cleanup_buf_ struct buf json = BUF_INIT;
    buf_append_str(&json, "{\"metadata\":{\"name\":\"t\",\"namespace\":\"ns\",\"uid\":\"secret-1\"},\"data\":{\"token\":\"");
    base64_encode(&json, (const unsigned char *)token, strlen(token));
    buf_append_str(&json, "\"}}");
    put("/registry/secrets/ns/t", arena_strdup(a, buf_cstr(&json)));
}

static void ask(struct arena *a, const char *token) {
    struct token_verdict v;
    enum token_outcome o = service_account_authenticate(world.tokens, world.store, NOW, a, token, NULL, &v);
    if (o == TOKEN_REFUSED) CHECK(!str_empty(v.error));
    if (o != TOKEN_GOOD) return;
    CHECK(str_eq(v.user.name, "system:serviceaccount:ns:bot") && str_eq(v.user.uid, "sa-1") && v.user.groups.len == 2 && str_eq(v.user.groups.items[1], "system:serviceaccounts:ns"));
    CHECK(v.audiences.len == 1 && str_eq(v.audiences.items[0], "api"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_arena_ struct arena *a = arena_new();
    if (!world.store) begin();
    if (size && data[0] == 'C') {
        char *token = sign(a, data + 1, size - 1);
        if (memmem(data, size, "secret.name", 11) && memmem(data, size, "kubernetes/serviceaccount", 25)) keep_in_secret(a, token);
        ask(a, token);
    } else if (size > 3 && data[0] == 'P') {
        char *token = arena_strdup(a, world.good);
        size_t at = ((size_t)data[1] << 8 | data[2]) % strlen(token), n = MIN(size - 3, strlen(token) - at);
        memcpy(token + at, data + 3, n);
        struct token_verdict v;
        bool payload = at < (size_t)(strrchr(world.good, '.') - world.good) && strncmp(token, world.good, (size_t)(strrchr(world.good, '.') - world.good)) != 0;
        if (payload) CHECK(service_account_authenticate(world.tokens, world.store, NOW, a, token, NULL, &v) != TOKEN_GOOD);
        ask(a, token);
    } else {
        struct token_verdict v;
        CHECK(service_account_authenticate(world.tokens, world.store, NOW, a, arena_strndup(a, (const char *)data, size), NULL, &v) != TOKEN_GOOD);
    }
    return 0;
}
