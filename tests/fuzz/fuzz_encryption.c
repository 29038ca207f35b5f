/* Values as they may lie in a store, for every cipher and for the wrapper of KMS v2; and configurations. */
#include <stdint.h>
#include <string.h>
#include "apiserver/encryption/encryption_config.h"
#include "kms.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum cipher ciphers[] = {CIPHER_AESGCM, CIPHER_AESCBC, CIPHER_SECRETBOX, CIPHER_SEEDED};
    static const char place[] = "/registry/secrets/default/a";
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf out = BUF_INIT, sealed = BUF_INIT;
    struct encryption_config c;
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        struct cipher_key k = {.cipher = ciphers[i], .len = 32};
        (void)cipher_open(&k, place, strlen(place), data, size, &out, NULL);
        buf_clear(&out);
        buf_clear(&sealed);
        CHECK(cipher_seal(&k, place, strlen(place), data, size, &sealed, NULL) == 0);
        CHECK(cipher_open(&k, place, strlen(place), sealed.data, sealed.len, &out, NULL) == 0);
        CHECK(out.len == size && (!size || memcmp(out.data, data, size) == 0));
        buf_clear(&out);
    }
    Kms__EncryptedObject *o = kms__encrypted_object__unpack(NULL, size, data);
    if (o) kms__encrypted_object__free_unpacked(o, NULL);
    if (encryption_config_parse(a, "f", (const char *)data, size, true, &c, NULL) == 0) encryption_config_wipe(&c);
    return 0;
}
