/* The file of --encryption-provider-config: which resources' values are kept encrypted, and how. Upstream: apis/apiserver EncryptionConfiguration, its validation, and
 * server/options/encryptionconfig. Pure. Tests: tests/unit/test_encryption.c. */
#ifndef CKUBE_APISERVER_ENCRYPTION_CONFIG_H
#define CKUBE_APISERVER_ENCRYPTION_CONFIG_H
#include "api/schema.h"
#include "apiserver/encryption/ciphers.h"
#include "base/arena.h"

enum provider_kind { PROVIDER_AESGCM, PROVIDER_AESCBC, PROVIDER_SECRETBOX, PROVIDER_KMS, PROVIDER_IDENTITY };

struct named_key { const char *name; struct cipher_key key; };

struct kms_settings { const char *api_version, *name, *endpoint; int64_t timeout_ms; bool has_cache_size; };

struct provider_config {
    enum provider_kind kind;
    struct { struct named_key *items; size_t len; } keys; /* of the ciphers */
    struct kms_settings kms;
};

struct resource_config {
    struct string_list resources; /* "secrets", "foos.example.com", "*.", "*.apps", "*.*" */
    struct { struct provider_config *items; size_t len; } providers;
};

struct encryption_config { struct { struct resource_config *items; size_t len; } resources; };

/* Reads YAML or JSON. All of it lives in the arena, which the caller wipes with encryption_config_wipe before it frees it. reload: --encryption-provider-config-automatic-reload. -1
 * with upstream's words, which never hold a key. */
int encryption_config_parse(struct arena *a, const char *file, const char *text, size_t len, bool reload, struct encryption_config *ret, struct status *reterr);
void encryption_config_wipe(struct encryption_config *c);
#endif
