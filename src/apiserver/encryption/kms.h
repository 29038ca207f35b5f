/* One KMS v2 plugin: a service on a unix socket that keeps the key by which the seeds of our keys are encrypted. Upstream: storage/value/encrypt/envelope/kmsv2 and
 * server/options/encryptionconfig (kmsv2PluginProbe).
 *
 * A thread asks for the plugin's status each minute (each ten seconds while it is not well). The seed in use is new when the server starts and when the plugin's key has
 * another id; while the plugin is not well it serves on for three minutes, then writes fail. What was encrypted before is read with its own seed, which the plugin decrypts
 * once: that call waits, on whatever thread reads, up to the configured timeout; after a failure the same seed is not asked for again for a second.
 * Tests: tests/integration/test_encryption.py. */
#ifndef CKUBE_APISERVER_ENCRYPTION_KMS_H
#define CKUBE_APISERVER_ENCRYPTION_KMS_H
#include "apiserver/encryption/encryption_config.h"

struct kms;
struct kms *kms_new(const struct kms_settings *s); /* asks the plugin once before it returns; that this fails is no error */
void kms_free(struct kms *k);                      /* nothing is sealed or opened; NULL is fine */
const char *kms_name(const struct kms *k);
/* EncryptedObject, as it stands behind the prefix. Any thread. */
int kms_seal(struct kms *k, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret, struct status *reterr);
int kms_open(struct kms *k, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret, bool *ret_stale, struct status *reterr); /* stale: under another key of the plugin's */
void kms_key_id(struct kms *k, struct buf *ret); /* appends the id of the key in use, if any */
/* How the plugin was when it was last asked; asks anew, on its own thread, when that is long ago. */
bool kms_is_healthy(struct kms *k, struct status *reterr);
#endif
