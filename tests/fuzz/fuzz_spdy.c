/* wire/spdy: the first byte picks how the rest is cut into pieces. Invariants: no crash, bounded memory, the cut does not matter. */
#include <string.h>
#include "wire/spdy.h"

static uint64_t mix(uint64_t h, const void *data, size_t len) {
    for (size_t i = 0; i < len; i++) h = h * 31 + ((const unsigned char *)data)[i];
    return h;
}

/* Pieces of data are told apart by the cut, so only their bytes and ends count. */
static void digest(void *arg, const struct spdy_event *e) {
    uint64_t *h = arg;
    if (e->type != SPDY_DATA) *h = *h * 31 + (uint64_t)e->type + e->stream_id * 3 + e->status * 5 + e->associated_id;
    *h = mix(*h, e->data, e->len);
    *h = *h * (e->fin ? 37 : 1);
    for (size_t i = 0; i < e->headers_len; i++) {
        *h = mix(*h, e->headers[i].name, strlen(e->headers[i].name));
        *h = mix(*h, e->headers[i].value, strlen(e->headers[i].value));
    }
}

static uint64_t play(const uint8_t *data, size_t size, size_t step) {
    struct spdy s;
    spdy_init(&s, true);
    uint64_t h = 1;
    for (size_t at = 0; at < size; at += step) {
        if (spdy_feed(&s, (const char *)data + at, MIN(step, size - at), digest, &h, NULL) != 0) break;
        CHECK(s.control.len <= SPDY_CONTROL_BYTES_MAX + 8);
    }
    spdy_release(&s);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    CHECK(play(data + 1, size - 1, size) == play(data + 1, size - 1, data[0] + 1U));
    return 0;
}
