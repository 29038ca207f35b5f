/* WebSocket framing and handshake. See websocket.h. */
#include "wire/websocket.h"
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>
#include "base/env.h"
#include "base/str.h"

void websocket_init(struct websocket *w, bool client, size_t message_bytes_max) {
    *w = (struct websocket){.client = client, .message_bytes_max = message_bytes_max};
}

void websocket_release(struct websocket *w) {
    buf_release(&w->frame);
    buf_release(&w->message);
}

/* ---- reading ---- */

struct frame { int opcode; bool fin, masked; size_t head_len; uint64_t len; unsigned char mask[4]; };

static int broken(struct status *reterr, const char *why) { return status_set(reterr, WEBSOCKET_CLOSE_PROTOCOL_ERROR, NULL, "websocket: %s", why); }

/* 1: a whole head; 0: more bytes are needed. */
static int read_head(const unsigned char *p, size_t len, struct frame *ret) {
    if (len < 2) return 0;
    size_t need = 2;
    uint64_t payload = p[1] & 0x7f;
    if (payload == 126) need += 2;
    else if (payload == 127) need += 8;
    bool masked = p[1] & 0x80;
    if (len < need + (masked ? 4 : 0)) return 0;
    if (payload >= 126) {
        size_t n = payload == 126 ? 2 : 8;
        payload = 0;
        for (size_t i = 0; i < n; i++) payload = payload << 8 | p[2 + i];
    }
    *ret = (struct frame){.opcode = p[0] & 0x0f, .fin = p[0] & 0x80, .masked = masked, .len = payload, .head_len = need + (masked ? 4 : 0)};
    if (masked) memcpy(ret->mask, p + need, 4);
    return 1;
}

static int check_head(const struct websocket *w, unsigned char first, const struct frame *f, struct status *reterr) {
    if (first & 0x70) return broken(reterr, "reserved bits are set");
    if (f->masked == w->client) return broken(reterr, w->client ? "server frames must not be masked" : "client frames must be masked");
    if (f->opcode >= 8) {
        if (f->opcode > WEBSOCKET_PONG) return broken(reterr, "unknown opcode");
        return !f->fin || f->len > 125 ? broken(reterr, "bad control frame") : 0;
    }
    if (f->opcode > WEBSOCKET_BINARY) return broken(reterr, "unknown opcode");
    if ((f->opcode == WEBSOCKET_CONTINUATION) != (w->message_opcode != 0)) return broken(reterr, "bad continuation");
    if (f->len > w->message_bytes_max || w->message.len + f->len > w->message_bytes_max) return status_set(reterr, WEBSOCKET_CLOSE_TOO_BIG, NULL, "websocket: message too big");
    return 0;
}

static int take_close(struct websocket *w, struct websocket_event *e, struct status *reterr) {
    w->closed = true;
    if (e->len == 1) return broken(reterr, "bad close frame");
    e->close_code = WEBSOCKET_CLOSE_NO_STATUS;
    if (e->len < 2) return 0;
    int code = (unsigned char)e->data[0] << 8 | (unsigned char)e->data[1];
    bool allowed = (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) || (code >= 3000 && code <= 4999);
    if (!allowed) return broken(reterr, "bad close code");
    e->close_code = code;
    e->data += 2;
    e->len -= 2;
    return 0;
}

/* One whole frame, its payload already unmasked. */
static int take_frame(struct websocket *w, const struct frame *f, const char *payload, void (*on_event)(void *, const struct websocket_event *), void *arg, struct status *reterr) {
    struct websocket_event e = {.opcode = (enum websocket_opcode)f->opcode, .data = payload, .len = (size_t)f->len};
    if (f->opcode >= 8) {
        if (f->opcode == WEBSOCKET_CLOSE && take_close(w, &e, reterr) != 0) return -1;
        on_event(arg, &e);
        return 0;
    }
    if (f->fin && f->opcode != WEBSOCKET_CONTINUATION) {
        on_event(arg, &e);
        return 0;
    }
    if (f->opcode != WEBSOCKET_CONTINUATION) w->message_opcode = f->opcode;
    buf_append(&w->message, payload, (size_t)f->len);
    if (!f->fin) return 0;
    e = (struct websocket_event){.opcode = (enum websocket_opcode)w->message_opcode, .data = buf_cstr(&w->message), .len = w->message.len};
    on_event(arg, &e);
    w->message_opcode = 0;
    buf_release(&w->message); /* it may have been large */
    return 0;
}

/* Frames are put together in w->frame; a head is checked as soon as it is there, so that no more is ever kept than one allowed frame. */
int websocket_feed(struct websocket *w, const char *data, size_t len, void (*on_event)(void *arg, const struct websocket_event *event), void *arg, struct status *reterr) {
    while (!w->closed) {
        struct frame f;
        /* A head is 14 bytes at most: take what may be missing of it. */
        if (w->frame.len < 14) {
            size_t n = MIN(len, 14 - w->frame.len);
            buf_append(&w->frame, data, n);
            data += n;
            len -= n;
        }
        unsigned char *p = (unsigned char *)w->frame.data;
        if (!w->frame.len || !read_head(p, w->frame.len, &f)) return 0;
        if (check_head(w, p[0], &f, reterr) != 0) {
            w->closed = true;
            return -1;
        }
        size_t whole = f.head_len + (size_t)f.len;
        if (w->frame.len < whole) {
            size_t n = MIN(len, whole - w->frame.len);
            buf_append(&w->frame, data, n);
            data += n;
            len -= n;
            if (w->frame.len < whole) return 0;
        }
        char *payload = w->frame.data + f.head_len;
        if (f.masked)
            for (size_t i = 0; i < f.len; i++) payload[i] = (char)(payload[i] ^ f.mask[i & 3]);
        if (take_frame(w, &f, payload, on_event, arg, reterr) != 0) {
            w->closed = true;
            return -1;
        }
        buf_consume(&w->frame, whole);
    }
    return 0;
}

/* ---- writing ---- */

void websocket_write2(struct websocket *w, struct buf *out, enum websocket_opcode opcode, const void *a, size_t a_len, const void *b, size_t b_len) {
    uint64_t len = a_len + b_len;
    unsigned char head[14] = {(unsigned char)(0x80 | opcode)}, mask[4] = {0};
    size_t n = 2;
    CHECK(opcode < 8 || len <= 125);
    if (len < 126) head[1] = (unsigned char)len;
    else {
        size_t bytes = len <= 0xffff ? 2 : 8;
        head[1] = bytes == 2 ? 126 : 127;
        for (size_t i = 0; i < bytes; i++) head[n + i] = (unsigned char)(len >> (8 * (bytes - 1 - i)));
        n += bytes;
    }
    if (w->client) {
        head[1] |= 0x80;
        env_random(env_real(), mask, sizeof(mask));
        memcpy(head + n, mask, 4);
        n += 4;
    }
    buf_reserve(out, n + len);
    buf_append(out, head, n);
    size_t at = out->len;
    buf_append(out, a, a_len);
    buf_append(out, b, b_len);
    if (w->client)
        for (size_t i = 0; i < len; i++) out->data[at + i] = (char)(out->data[at + i] ^ mask[i & 3]);
}

void websocket_write(struct websocket *w, struct buf *out, enum websocket_opcode opcode, const void *data, size_t len) { websocket_write2(w, out, opcode, "", 0, data, len); }

void websocket_write_close(struct websocket *w, struct buf *out, int code, const char *reason) {
    const char bytes[2] = {(char)(code >> 8), (char)code};
    websocket_write2(w, out, WEBSOCKET_CLOSE, bytes, 2, str_or(reason, ""), MIN(strlen(str_or(reason, "")), 123));
}

/* ---- the handshake ---- */

bool websocket_is_request(const struct http_header *headers, size_t headers_len) {
    return http_headers_has_token(headers, headers_len, "Connection", "upgrade") && http_headers_has_token(headers, headers_len, "Upgrade", "websocket");
}

const char *websocket_pick_protocol(const struct http_header *headers, size_t headers_len, const char *const *supported) {
    for (size_t i = 0; i < headers_len; i++) {
        if (strcasecmp(headers[i].name, "Sec-WebSocket-Protocol") != 0) continue;
        for (const char *p = headers[i].value; *p;) {
            p += strspn(p, ", \t");
            size_t len = strcspn(p, ", \t");
            for (size_t j = 0; supported[j]; j++)
                if (len && strlen(supported[j]) == len && memcmp(p, supported[j], len) == 0) return supported[j];
            p += len;
        }
    }
    return NULL;
}

void websocket_accept_key(const char *key, char out[29]) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    unsigned char digest[SHA_DIGEST_LENGTH];
    buf_append_str(&text, key);
    buf_append_str(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    SHA1((const unsigned char *)text.data, text.len, digest);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof(digest));
}

void websocket_new_key(char out[25]) {
    unsigned char bytes[16];
    env_random(env_real(), bytes, sizeof(bytes));
    EVP_EncodeBlock((unsigned char *)out, bytes, sizeof(bytes));
}

int websocket_accept(struct arena *a, const struct http_header *headers, size_t headers_len, const char *protocol, struct http_header ret[4], size_t *ret_len, struct status *reterr) {
    const char *key = http_headers_get(headers, headers_len, "Sec-WebSocket-Key"), *version = http_headers_get(headers, headers_len, "Sec-WebSocket-Version");
    if (!websocket_is_request(headers, headers_len)) return status_bad_request(reterr, "not websocket protocol");
    if (!str_eq(version, "13")) return status_bad_request(reterr, "missing or bad WebSocket Version");
    if (!key || strlen(key) != 24) return status_bad_request(reterr, "missing or bad Sec-WebSocket-Key");
    char *accept = arena_alloc(a, 29);
    websocket_accept_key(key, accept);
    size_t n = 0;
    ret[n++] = (struct http_header){"Upgrade", "websocket"};
    ret[n++] = (struct http_header){"Connection", "Upgrade"};
    ret[n++] = (struct http_header){"Sec-WebSocket-Accept", accept};
    if (protocol) ret[n++] = (struct http_header){"Sec-WebSocket-Protocol", protocol};
    *ret_len = n;
    return 0;
}
