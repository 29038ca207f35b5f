/* wire/websocket: the first byte picks the role and how the rest is cut into pieces. Invariants: no crash, bounded memory, the cut does not matter. */
#include <stdlib.h>
#include "wire/websocket.h"

enum { MAX = 1000 };
static void digest(void *arg, const struct websocket_event *e) {
    uint64_t *h = arg;
    CHECK(e->len <= MAX);
    *h = *h * 31 + (uint64_t)e->opcode * 7 + (uint64_t)e->close_code;
    for (size_t i = 0; i < e->len; i++) *h = *h * 31 + (unsigned char)e->data[i];
}

static uint64_t play(const uint8_t *data, size_t size, bool client, size_t step) {
    struct websocket w;
    websocket_init(&w, client, MAX);
    uint64_t h = 1;
    for (size_t at = 0; at < size; at += step) {
        if (websocket_feed(&w, (const char *)data + at, MIN(step, size - at), digest, &h, NULL) != 0) {
            h = h * 31 + 1;
            break;
        }
        CHECK(w.frame.len <= MAX + 14 && w.message.len <= MAX);
    }
    websocket_release(&w);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    bool client = data[0] & 1;
    CHECK(play(data + 1, size - 1, client, size) == play(data + 1, size - 1, client, (data[0] >> 1) + 1U));
    return 0;
}
