/* Objects between our records (JSON with a place for the revision, store.h) and what upstream keeps in etcd: built-in kinds as protobuf in the "k8s\0" envelope or as
 * JSON, custom ones as JSON. Upstream: runtime codecs below storage/etcd3. What another apiserver wrote in another version of a kind becomes the stored version's
 * record. Tests: tests/integration/test_etcd.py. Fuzz: tests/fuzz/fuzz_storage_codec.c. */
#ifndef CKUBE_APISERVER_STORAGE_CODEC_H
#define CKUBE_APISERVER_STORAGE_CODEC_H
#include "store/store.h"

/* media: --storage-media-type, "application/vnd.kubernetes.protobuf" (also NULL) or "application/json"; NULL for any other. Lives for ever. */
const struct store_codec *storage_codec(const char *media);
#endif
