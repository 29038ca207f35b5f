/* What lies in etcd, by whomever it was written, into our records; and a record that was made goes back. */
#include <stdint.h>
#include "apiserver/storage_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct store_codec *codec = storage_codec(NULL);
    _cleanup_buf_ struct buf record = BUF_INIT, stored = BUF_INIT;
    uint32_t rv_offset = 0;
    if (codec->decode(codec->ctx, "/registry/configmaps/default/a", data, size, &record, &rv_offset) != 0) return 0;
    CHECK(rv_offset <= record.len);
    CHECK(codec->encode(codec->ctx, "/registry/configmaps/default/a", record.data, record.len, rv_offset, &stored, NULL) == 0);
    return 0;
}
