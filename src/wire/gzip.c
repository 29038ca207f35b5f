/* See gzip.h. Tests: tests/integration/test_health.py. */
#include "wire/gzip.h"
#include <zlib.h>
#include "wire/http_stream.h"

int gzip_slices(const struct http_slice *body, size_t len, struct buf *out) {
    enum { GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };
    unsigned char chunk[16384];
    z_stream z = {0};
    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) return -1;
    int rc = Z_OK;
    for (size_t i = 0; i < len; i++) {
        z.next_in = (unsigned char *)(uintptr_t)(body[i].shared ? shared_data(body[i].shared) : body[i].data);
        z.avail_in = (uInt)http_slice_len(&body[i]);
        int flush = i + 1 == len ? Z_FINISH : Z_NO_FLUSH;
        do {
            z.next_out = chunk;
            z.avail_out = sizeof(chunk);
            rc = deflate(&z, flush);
            buf_append(out, chunk, sizeof(chunk) - z.avail_out);
        } while (z.avail_out == 0);
    }
    deflateEnd(&z);
    return rc == Z_STREAM_END ? 0 : -1;
}
