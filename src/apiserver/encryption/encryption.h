/* Encryption at rest: between the values of configured resources and what the store keeps. Upstream: server/options/encryptionconfig, storage/value.
 *
 * A stored value is "k8s:enc:PROVIDER:v1:KEY:" and the cipher's bytes, exactly as upstream writes it: with etcd the object as it stands there, so that either may take over
 * from the other; in the embedded store our record. What is read is opened by whichever of the resource's providers fits, what is written is sealed by the first.
 * The mirror of an etcd holds the values of these resources under a key that only this process has: it is thrown away at each start.
 *
 * A value that cannot be opened is not there for lists of components but an error for who asks the API (store_view.trouble). The file can be read again while serving;
 * what is wrong then leaves the old configuration in force. Any thread.
 * Tests: tests/unit/test_encryption.c, tests/integration/test_encryption.py. Fuzz: tests/fuzz/fuzz_encryption.c. */
#ifndef CKUBE_APISERVER_ENCRYPTION_ENCRYPTION_H
#define CKUBE_APISERVER_ENCRYPTION_ENCRYPTION_H
#include "base/buf.h"
#include "base/status.h"
#include "store/store.h"

struct encryption_options {
    const char *file;               /* --encryption-provider-config */
    bool reload;                    /* --encryption-provider-config-automatic-reload */
    const char *etcd_prefix;        /* NULL: the embedded store; otherwise --etcd-prefix, "/registry" */
    const struct store_codec *codec; /* with etcd: what makes objects of opened values; must live as long */
};
struct encryption;
struct encryption *encryption_new(const struct encryption_options *o, struct status *reterr);
void encryption_free(struct encryption *e); /* when the store is closed; NULL is fine */
const struct store_cipher *encryption_cipher(struct encryption *e); /* of the file: the embedded store's, or the mirror's */
const struct store_codec *encryption_codec(struct encryption *e);   /* with etcd */
/* The health check "kms-providers": whether there is one, and how it is. */
bool encryption_has_health(struct encryption *e);
bool encryption_is_healthy(struct encryption *e, struct status *reterr);
#endif
