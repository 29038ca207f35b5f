/* Encryption at rest: the ciphers against known vectors, and against values that are wrong in every way; the configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "apiserver/encryption/encryption.h"
#include "apiserver/encryption/encryption_config.h"
#include "base/str.h"

static size_t from_hex(const char *hex, unsigned char *out) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned x;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &x), 1);
        out[i] = (unsigned char)x;
    }
    return n;
}

static struct cipher_key key_of(enum cipher cipher, const char *hex) {
    struct cipher_key k = {.cipher = cipher};
    k.len = from_hex(hex, k.bytes);
    return k;
}

static const char key32[] = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389", place[] = "/registry/secrets/default/a";

/* NaCl's own test of crypto_secretbox. */
static void secretbox_is_nacls(void **state UNUSED) {
    unsigned char key[32], nonce[24], plain[131], want[147], got[147], back[131];
    from_hex(key32, key);
    from_hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37", nonce);
    assert_int_equal(from_hex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21"
                              "af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705", plain), 131);
    assert_int_equal(from_hex("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526"
                              "ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5", want), 147);
    secretbox_seal(key, nonce, plain, sizeof(plain), got);
    assert_memory_equal(got, want, sizeof(want));
    assert_true(secretbox_open(key, nonce, want, sizeof(want), back));
    assert_memory_equal(back, plain, sizeof(plain));
    for (size_t i = 0; i < sizeof(want); i += 7) {
        want[i] ^= 1;
        assert_false(secretbox_open(key, nonce, want, sizeof(want), back));
        want[i] ^= 1;
    }
}

/* What others have made is opened: AES-GCM from McGrew and Viega's test case 14 (a zero key and block), AES-CBC from NIST SP 800-38A F.2.5 with a block of padding, and
 * HKDF-Expand of RFC 5869 in effect through a value that Go's implementation would make: nonce and info of zeros. */
static void known_values_are_opened(void **state UNUSED) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    unsigned char data[256];
    struct cipher_key k = key_of(CIPHER_AESGCM, "0000000000000000000000000000000000000000000000000000000000000000");
    size_t n = from_hex("000000000000000000000000cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919", data);
    assert_int_equal(cipher_open(&k, NULL, 0, data, n, &out, NULL), 0);
    assert_int_equal(out.len, 16);
    for (size_t i = 0; i < 16; i++) assert_int_equal(out.data[i], 0);
    buf_clear(&out);
    k = key_of(CIPHER_AESCBC, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    n = from_hex("000102030405060708090a0b0c0d0e0ff58c4c04d6e5f1ba779eabfb5f7bfbd6", data); /* its first block, which is no padding */
    assert_int_equal(cipher_open(&k, NULL, 0, data, n, &out, NULL), -1);
    assert_int_equal(out.len, 0);
}

static const struct { enum cipher cipher; const char *key; bool authentic, placed; } ciphers[] = {
    {CIPHER_AESGCM, key32, true, true}, {CIPHER_AESGCM, "000102030405060708090a0b0c0d0e0f", true, true}, {CIPHER_AESCBC, key32, false, false},
    {CIPHER_AESCBC, "000102030405060708090a0b0c0d0e0f1011121314151617", false, false}, {CIPHER_SECRETBOX, key32, true, false}, {CIPHER_SEEDED, key32, true, true},
};

static void values_come_back(void **state UNUSED) {
    for (size_t c = 0; c < ARRAY_LEN(ciphers); c++) {
        struct cipher_key k = key_of(ciphers[c].cipher, ciphers[c].key);
        for (size_t len = 0; len < 300; len += len < 70 ? 1 : 37) {
            _cleanup_buf_ struct buf sealed = BUF_INIT, again = BUF_INIT, back = BUF_INIT;
            char plain[300];
            memset(plain, 'p', sizeof(plain));
            buf_append_str(&back, "before");
            assert_int_equal(cipher_seal(&k, place, strlen(place), plain, len, &sealed, NULL), 0);
            assert_int_equal(cipher_seal(&k, place, strlen(place), plain, len, &again, NULL), 0);
            assert_true(sealed.len != again.len || memcmp(sealed.data, again.data, sealed.len) != 0); /* never twice the same */
            if (len > 8) assert_null(memmem(sealed.data, sealed.len, plain, len));
            assert_int_equal(cipher_open(&k, place, strlen(place), sealed.data, sealed.len, &back, NULL), 0);
            assert_int_equal(back.len, 6 + len);
            assert_memory_equal(back.data + 6, plain, len);
        }
    }
}

static void what_is_wrong_is_not_opened(void **state UNUSED) {
    static const char plain[] = "{\"kind\":\"Secret\",\"data\":{\"a\":\"cGxhaW4=\"}}";
    for (size_t c = 0; c < ARRAY_LEN(ciphers); c++) {
        _cleanup_buf_ struct buf sealed = BUF_INIT, back = BUF_INIT;
        struct cipher_key k = key_of(ciphers[c].cipher, ciphers[c].key), other = k;
        other.bytes[0] ^= 1;
        assert_int_equal(cipher_seal(&k, place, strlen(place), plain, strlen(plain), &sealed, NULL), 0);
        for (size_t len = 0; len < sealed.len; len++) { /* cut short */
            int rc = cipher_open(&k, place, strlen(place), sealed.data, len, &back, NULL);
            if (ciphers[c].authentic) assert_int_equal(rc, -1);
            if (rc) assert_int_equal(back.len, 0);
            buf_clear(&back);
        }
        for (size_t i = 0; i < sealed.len; i++) { /* tampered with */
            sealed.data[i] ^= 0x10;
            int rc = cipher_open(&k, place, strlen(place), sealed.data, sealed.len, &back, NULL);
            if (ciphers[c].authentic) assert_int_equal(rc, -1);
            sealed.data[i] ^= 0x10;
            buf_clear(&back);
        }
        if (ciphers[c].authentic) assert_int_equal(cipher_open(&other, place, strlen(place), sealed.data, sealed.len, &back, NULL), -1);
        buf_clear(&back);
        if (ciphers[c].placed) assert_int_equal(cipher_open(&k, "/registry/secrets/default/b", strlen(place), sealed.data, sealed.len, &back, NULL), -1); /* moved elsewhere */
    }
}

/* ---- the configuration ---- */

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
#define KEY16 "AAECAwQFBgcICQoLDA0ODw=="
#define KEY32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static void configurations_are_checked(void **state UNUSED) {
    static const struct { const char *text, *error; } cases[] = {
        {HEAD "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: a, secret: " KEY32 "}]}}, {identity: {}}]\n", NULL},
        {HEAD "- resources: [secrets, foos.example.com]\n  providers: [{secretbox: {keys: [{name: a, secret: " KEY32 "}]}}]\n- resources: ['*.apps']\n  providers: [{aesgcm: {keys: [{name: a, secret: " KEY16 "}]}}]\n- resources: ['*.*']\n  providers: [{identity: {}}]\n", NULL},
        {"", "error while parsing file: error while loading file: encryption provider configuration file \"f\" is empty"},
        {"kind: X", "error while parsing file: error decoding encryption provider configuration file \"f\": no kind \"X\" is registered for version \"\" in scheme"},
        {HEAD, "error while parsing file: resources: Required value: at least one resources is required"},
        {HEAD "- resources: [secrets]\n  providers: []\n", "error while parsing file: resources[0].providers: Required value: at least one resources[0].providers is required"},
        {HEAD "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: a, secret: " KEY32 "}]}, identity: {}}]\n",
         "error while parsing file: resources[0].providers[0]: Invalid value: REDACTED: more than one provider specified in a single element, should split into different list elements"},
        {HEAD "- resources: [secrets]\n  providers: [{aesgcm: {keys: [{name: a, secret: AAEC}]}}]\n",
         "error while parsing file: resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 3, expected one of [16 24 32]"},
        {HEAD "- resources: [secrets]\n  providers: [{secretbox: {keys: [{name: a, secret: " KEY16 "}]}}]\n",
         "error while parsing file: resources[0].providers[0].secretbox.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 16, expected one of [32]"},
        {HEAD "- resources: [secrets]\n  providers: [{aesgcm: {keys: [{name: a, secret: '%%%'}]}}]\n", "error while parsing file: resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded"},
        {HEAD "- resources: [secrets]\n  providers: [{aesgcm: {keys: [{secret: " KEY16 "}]}}]\n", "error while parsing file: resources[0].providers[0].aesgcm.keys[0].name: Required value: name is a mandatory field for a key"},
        {HEAD "- resources: [secrets]\n  providers: [{kms: {apiVersion: v2, name: 'a:b', endpoint: 'unix:///x'}}]\n",
         "error while parsing file: resources[0].providers[0].kms.name: Invalid value: \"a:b\": invalid KMS provider name a:b, must not contain ':'"},
        {HEAD "- resources: [secrets]\n  providers: [{kms: {apiVersion: v2, name: a, endpoint: 'tcp://x'}}]\n",
         "error while parsing file: resources[0].providers[0].kms.endpoint: Invalid value: \"tcp://x\": unsupported scheme \"tcp\" for KMS provider, only unix is supported"},
        {HEAD "- resources: [secrets]\n  providers: [{kms: {apiVersion: v2, name: a, endpoint: 'unix:///x', timeout: 0s}}]\n", "error while parsing file: resources[0].providers[0].kms.timeout: Invalid value: \"0s\": timeout should be a positive value"},
        {HEAD "- resources: [secrets]\n  providers: [{kms: {name: a, endpoint: 'unix:///x'}}]\n", "error while building transformers: KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature."},
        {HEAD "- resources: ['*']\n  providers: [{identity: {}}]\n", "error while parsing file: resources[0].resources[0]: Invalid value: \"*\": use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"},
        {HEAD "- resources: [secrets, '*.']\n  providers: [{identity: {}}]\n",
         "error while parsing file: resources[0].resources: Invalid value: [\"secrets\",\"*.\"]: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked"},
        {HEAD "- resources: ['*.']\n  providers: [{identity: {}}]\n- resources: [secrets]\n  providers: [{identity: {}}]\n", "error while building transformers: resource \"secrets\" is masked by earlier rule \"*.\""},
        {HEAD "- resources: [Secrets]\n  providers: [{identity: {}}]\n", "error while parsing file: resources[0].resources[0]: Invalid value: \"Secrets\": resource name should not contain capital letters"},
        {HEAD "- resources: [secrets]\n  provider: []\n  providers: [{identity: {}}]\n", "error while parsing file: error decoding encryption provider configuration file \"f\": strict decoding error: unknown field \"resources.provider\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        struct encryption_config c;
        int rc = encryption_config_parse(a, "f", cases[i].text, strlen(cases[i].text), false, &c, &err);
        assert_string_equal(rc ? status_message(&err) : "", str_or(cases[i].error, ""));
    }
}

/* ---- values and their resources ---- */

static struct encryption *begin(const char *text) {
    char path[] = "/tmp/ckube-encryption-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct status err = STATUS_INIT;
    struct encryption *e = encryption_new(&(struct encryption_options){.file = path}, &err);
    if (!e) fail_msg("%s", status_message(&err));
    unlink(path);
    return e;
}

static void resources_have_their_providers(void **state UNUSED) {
    static const struct { const char *key, *prefix; } cases[] = {
        {"/registry/secrets/default/a", "k8s:enc:aescbc:v1:one:"}, {"/registry/configmaps/default/a", ""}, {"/registry/deployments/default/a", "k8s:enc:aesgcm:v1:two:"},
        {"/registry/statefulsets/default/a", "k8s:enc:aesgcm:v1:two:"}, {"/registry/example.com/foos/default/a", "k8s:enc:secretbox:v1:three:"}, {"/registry/example.com/bars/default/a", ""},
        {"/registry/secretsx/default/a", ""}, {"/registry/other", ""}, {"/elsewhere/secrets/default/a", ""},
    };
    struct encryption *e = begin(HEAD "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: one, secret: " KEY32 "}]}}, {identity: {}}]\n- resources: ['*.apps']\n  providers: [{aesgcm: {keys: [{name: two, secret: " KEY32
                                      "}]}}, {identity: {}}]\n- resources: [foos.example.com]\n  providers: [{secretbox: {keys: [{name: three, secret: " KEY32 "}]}}, {identity: {}}]\n");
    const struct store_cipher *c = encryption_cipher(e);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf sealed = BUF_INIT, back = BUF_INIT;
        int rc = c->seal(c->ctx, cases[i].key, "{}", 2, &sealed, NULL);
        assert_int_equal(rc, *cases[i].prefix ? 0 : 1);
        if (rc) continue;
        assert_true(str_has_prefix(buf_cstr(&sealed), cases[i].prefix));
        assert_int_equal(c->open(c->ctx, cases[i].key, strlen(cases[i].key), sealed.data, sealed.len, &back, NULL, NULL), 0);
        assert_string_equal(buf_cstr(&back), "{}");
        buf_clear(&back);
        assert_int_equal(c->open(c->ctx, cases[i].key, strlen(cases[i].key), "{}", 2, &back, NULL, NULL), 1); /* from before it was configured */
        assert_int_equal(c->open(c->ctx, "/registry/configmaps/default/a", 30, sealed.data, sealed.len, &back, NULL, NULL), -1);
    }
    encryption_free(e);
}

static void any_key_opens_and_the_first_seals(void **state UNUSED) {
    const char *key = "/registry/secrets/default/a";
    _cleanup_buf_ struct buf old = BUF_INIT, fresh = BUF_INIT, back = BUF_INIT;
    struct encryption *before = begin(HEAD "- resources: [secrets]\n  providers: [{aesgcm: {keys: [{name: old, secret: " KEY32 "}]}}]\n");
    struct encryption *now = begin(HEAD "- resources: [secrets]\n  providers: [{aesgcm: {keys: [{name: new, secret: " KEY16 "}]}}, {aesgcm: {keys: [{name: old, secret: " KEY32 "}]}}]\n");
    struct encryption *after = begin(HEAD "- resources: [secrets]\n  providers: [{aesgcm: {keys: [{name: new, secret: " KEY16 "}]}}]\n");
    const struct store_cipher *b = encryption_cipher(before), *n = encryption_cipher(now), *a = encryption_cipher(after);
    assert_int_equal(b->seal(b->ctx, key, "{1}", 3, &old, NULL), 0);
    bool stale = false;
    assert_int_equal(n->open(n->ctx, key, strlen(key), old.data, old.len, &back, &stale, NULL), 0);
    assert_true(stale);
    assert_string_equal(buf_cstr(&back), "{1}");
    assert_int_equal(n->seal(n->ctx, key, "{2}", 3, &fresh, NULL), 0);
    assert_true(str_has_prefix(buf_cstr(&fresh), "k8s:enc:aesgcm:v1:new:"));
    buf_clear(&back);
    assert_int_equal(a->open(a->ctx, key, strlen(key), fresh.data, fresh.len, &back, &stale, NULL), 0);
    assert_false(stale);
    _cleanup_status_ struct status err = STATUS_INIT;
    assert_int_equal(a->open(a->ctx, key, strlen(key), old.data, old.len, &back, NULL, &err), -1);
    assert_non_null(strstr(status_message(&err), "no matching key was found for the provided AES transformer"));
    assert_int_equal(a->open(a->ctx, key, strlen(key), "{}", 2, &back, NULL, NULL), -1); /* without identity, what is plain is refused, as upstream */
    encryption_free(before);
    encryption_free(now);
    encryption_free(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secretbox_is_nacls), cmocka_unit_test(known_values_are_opened), cmocka_unit_test(values_come_back), cmocka_unit_test(what_is_wrong_is_not_opened),
        cmocka_unit_test(configurations_are_checked), cmocka_unit_test(resources_have_their_providers), cmocka_unit_test(any_key_opens_and_the_first_seals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
