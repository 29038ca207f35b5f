/* What a gRPC server sends: the framing of messages, which may come in any pieces, and the words of its trailer. The first byte says where it is cut in two. */
#include <stdint.h>
#include "wire/grpc_channel.h"

static void count(void *arg, const void *data, size_t len) {
    size_t *bytes = arg;
    *bytes += len + 5;
    if (len) CHECK(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    _cleanup_buf_ struct buf in = BUF_INIT, words = BUF_INIT;
    size_t cut = MIN((size_t)data[0], size - 1), bytes = 0;
    buf_append(&in, data + 1, cut);
    if (grpc_frames_read(&in, count, &bytes) == 0) {
        buf_append(&in, data + 1 + cut, size - 1 - cut);
        if (grpc_frames_read(&in, count, &bytes) == 0) CHECK(bytes + in.len == size - 1);
    }
    grpc_message_decode(&words, data, size);
    CHECK(words.len <= size);
    return 0;
}
