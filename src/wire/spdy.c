/* SPDY/3.1 framing. See spdy.h; the format is that of the draft "SPDY Protocol - Draft 3.1", section 2. */
#include "wire/spdy.h"
#include <ctype.h>
#include <pthread.h>
#include <string.h>
#include "base/str.h"

enum { HEAD_BYTES = 8, DATA_FRAME_BYTES_MAX = (1 << 24) - 1, INFLATE_PIECE = 8192 };

/* ---- the dictionary for header blocks: these words, each behind its length, then the rest as it is (section 2.6.10.1) ---- */

static const char *const dictionary_words[] = {
    "options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language", "accept-ranges", "age", "allow",
    "authorization", "cache-control", "connection", "content-base", "content-encoding", "content-language", "content-length", "content-location", "content-md5",
    "content-range", "content-type", "date", "etag", "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "last-modified", "location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer",
    "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning", "www-authenticate", "method", "get",
    "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin",
};
static const char dictionary_rest[] =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found"
    "500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

enum { DICTIONARY_BYTES = 1423 };
static unsigned char dictionary[DICTIONARY_BYTES];
static pthread_once_t dictionary_once = PTHREAD_ONCE_INIT;

static void put32(unsigned char *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static uint32_t get32(const unsigned char *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static void dictionary_make(void) {
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(dictionary_words); i++) {
        size_t len = strlen(dictionary_words[i]);
        put32(dictionary + at, (uint32_t)len);
        memcpy(dictionary + at + 4, dictionary_words[i], len);
        at += 4 + len;
    }
    CHECK(at + sizeof(dictionary_rest) - 1 == DICTIONARY_BYTES);
    memcpy(dictionary + at, dictionary_rest, sizeof(dictionary_rest) - 1);
}

void spdy_init(struct spdy *s, bool client) {
    pthread_once(&dictionary_once, dictionary_make);
    *s = (struct spdy){.client = client, .next_stream_id = client ? 1 : 2, .next_ping_id = client ? 1 : 2};
    CHECK(inflateInit(&s->inflate) == Z_OK);
    /* The smallest window that holds the dictionary: headers are few and short here. */
    CHECK(deflateInit2(&s->deflate, Z_BEST_COMPRESSION, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) == Z_OK);
    CHECK(deflateSetDictionary(&s->deflate, dictionary, DICTIONARY_BYTES) == Z_OK);
}

void spdy_release(struct spdy *s) {
    inflateEnd(&s->inflate);
    deflateEnd(&s->deflate);
    buf_release(&s->control);
}

/* ---- reading ---- */

static int broken(struct status *reterr, const char *why) { return status_set(reterr, 502, NULL, "spdy: %s", why); }

static int inflate_block(struct spdy *s, const unsigned char *data, size_t len, struct buf *out, struct status *reterr) {
    unsigned char piece[INFLATE_PIECE];
    s->inflate.next_in = (unsigned char *)(uintptr_t)data;
    s->inflate.avail_in = (uInt)len;
    for (;;) {
        s->inflate.next_out = piece;
        s->inflate.avail_out = sizeof(piece);
        int r = inflate(&s->inflate, Z_SYNC_FLUSH);
        if (r == Z_NEED_DICT) {
            if (inflateSetDictionary(&s->inflate, dictionary, DICTIONARY_BYTES) != Z_OK) return broken(reterr, "header block of another dictionary");
            continue;
        }
        if (r != Z_OK && r != Z_BUF_ERROR) return broken(reterr, "header block does not decompress");
        size_t got = sizeof(piece) - s->inflate.avail_out;
        buf_append(out, piece, got);
        if (out->len > SPDY_HEADER_BYTES_MAX) return broken(reterr, "header block is too large");
        if (s->inflate.avail_out > 0) return s->inflate.avail_in == 0 ? 0 : broken(reterr, "header block does not decompress");
    }
}

struct header_list { struct http_header *items; size_t len; };

/* One length-prefixed string. */
static bool take_string(const unsigned char **p, const unsigned char *end, const char **ret, size_t *ret_len) {
    if (end - *p < 4) return false;
    size_t len = get32(*p);
    *p += 4;
    if ((size_t)(end - *p) < len) return false;
    *ret = (const char *)*p;
    *ret_len = len;
    *p += len;
    return true;
}

static int read_headers(struct spdy *s, struct arena *a, const unsigned char *data, size_t len, struct header_list *ret, struct status *reterr) {
    _cleanup_buf_ struct buf block = BUF_INIT;
    if (inflate_block(s, data, len, &block, reterr) != 0) return -1;
    const unsigned char *p = (const unsigned char *)buf_cstr(&block), *end = p + block.len;
    if (block.len < 4) return broken(reterr, "header block is cut short");
    uint32_t count = get32(p);
    p += 4;
    for (uint32_t i = 0; i < count; i++) {
        const char *name, *value;
        size_t name_len, value_len;
        if (!take_string(&p, end, &name, &name_len) || !take_string(&p, end, &value, &value_len)) return broken(reterr, "header block is cut short");
        if (name_len == 0 || memchr(name, 0, name_len)) return broken(reterr, "bad header name");
        name = arena_strndup(a, name, name_len);
        for (size_t at = 0; at <= value_len;) { /* values are set apart by NULs */
            const char *nul = memchr(value + at, 0, value_len - at);
            size_t n = nul ? (size_t)(nul - value) - at : value_len - at;
            *LIST_PUSH(a, ret) = (struct http_header){name, arena_strndup(a, value + at, n)};
            at += n + 1;
        }
    }
    return 0;
}

/* How many bytes a control frame of each type has at least before its header block or entries; 0: types that we pass over. */
static size_t fixed_bytes(int type) {
    switch (type) {
    case SPDY_SYN_STREAM: return 10;
    case SPDY_SYN_REPLY: case SPDY_HEADERS: case SPDY_SETTINGS: case SPDY_PING: return 4;
    case SPDY_RST_STREAM: case SPDY_GOAWAY: case SPDY_WINDOW_UPDATE: return 8;
    default: return 0;
    }
}

static int take_control(struct spdy *s, const unsigned char *frame, size_t len, void (*on_event)(void *, const struct spdy_event *), void *arg, struct status *reterr) {
    int type = frame[2] << 8 | frame[3];
    const unsigned char *p = frame + HEAD_BYTES;
    size_t fixed = fixed_bytes(type);
    len -= HEAD_BYTES;
    if (fixed == 0) return 0;
    if (len < fixed) return broken(reterr, "control frame is cut short");
    if (type == SPDY_SETTINGS) {
        on_event(arg, &(struct spdy_event){.type = SPDY_SETTINGS});
        return 0;
    }
    _cleanup_arena_ struct arena *a = arena_new();
    struct header_list headers = {0};
    struct spdy_event e = {.type = (enum spdy_type)type, .stream_id = get32(p), .fin = frame[4] & SPDY_FLAG_FIN};
    if (type != SPDY_PING) e.stream_id &= 0x7fffffff;
    if (type == SPDY_SYN_STREAM) {
        e.associated_id = get32(p + 4) & 0x7fffffff;
        e.unidirectional = frame[4] & SPDY_FLAG_UNIDIRECTIONAL;
    } else if (fixed == 8) {
        e.status = get32(p + 4);
    }
    if (type == SPDY_SYN_STREAM || type == SPDY_SYN_REPLY || type == SPDY_HEADERS) {
        if (e.stream_id == 0) return broken(reterr, "stream 0");
        if (read_headers(s, a, p + fixed, len - fixed, &headers, reterr) != 0) return -1;
        e.headers = headers.items;
        e.headers_len = headers.len;
    }
    on_event(arg, &e);
    return 0;
}

/* Fills s->control up to `want` bytes; false while some are missing. */
static bool gather(struct spdy *s, const char **data, size_t *len, size_t want) {
    size_t n = s->control.len < want ? MIN(*len, want - s->control.len) : 0;
    buf_append(&s->control, *data, n);
    *data += n;
    *len -= n;
    return s->control.len >= want;
}

static void pass_data(struct spdy *s, const char **data, size_t *len, void (*on_event)(void *, const struct spdy_event *), void *arg) {
    size_t n = MIN(*len, s->data_left);
    struct spdy_event e = {.type = SPDY_DATA, .stream_id = s->data_stream, .data = *data, .len = n};
    s->data_left -= n;
    *data += n;
    *len -= n;
    s->in_data = s->data_left > 0;
    e.fin = !s->in_data && s->data_fin;
    if (n || e.fin) on_event(arg, &e);
}

int spdy_feed(struct spdy *s, const char *data, size_t len, void (*on_event)(void *arg, const struct spdy_event *event), void *arg, struct status *reterr) {
    while (!s->broken) {
        if (s->in_data) {
            if (!len && s->data_left) return 0;
            pass_data(s, &data, &len, on_event, arg);
            continue;
        }
        if (!gather(s, &data, &len, HEAD_BYTES)) return 0;
        const unsigned char *head = (const unsigned char *)s->control.data;
        size_t payload = get32(head + 4) & 0xffffff;
        if (!(head[0] & 0x80)) {
            s->data_stream = get32(head);
            s->data_fin = head[4] & SPDY_FLAG_FIN;
            s->data_left = payload;
            s->in_data = true;
            buf_clear(&s->control);
            continue;
        }
        int failed = 0;
        if ((get32(head) >> 16 & 0x7fff) != 3) failed = broken(reterr, "unsupported version");
        else if (payload > SPDY_CONTROL_BYTES_MAX) failed = broken(reterr, "control frame is too large");
        else if (!gather(s, &data, &len, HEAD_BYTES + payload)) return 0;
        else failed = take_control(s, (const unsigned char *)s->control.data, s->control.len, on_event, arg, reterr);
        buf_clear(&s->control);
        if (failed) {
            s->broken = true;
            return -1;
        }
    }
    return 0;
}

/* ---- writing ---- */

static void write_head(struct buf *out, enum spdy_type type, bool fin, size_t payload) {
    unsigned char head[HEAD_BYTES];
    put32(head, 0x80030000u | (uint32_t)type);
    put32(head + 4, (uint32_t)payload);
    head[4] = fin ? SPDY_FLAG_FIN : 0;
    buf_append(out, head, sizeof(head));
}

static void append32(struct buf *out, uint32_t v) {
    unsigned char bytes[4];
    put32(bytes, v);
    buf_append(out, bytes, 4);
}

static void append_headers(struct spdy *s, struct buf *out, const struct http_header *headers, size_t headers_len) {
    _cleanup_buf_ struct buf block = BUF_INIT;
    append32(&block, (uint32_t)headers_len);
    for (size_t i = 0; i < headers_len; i++) {
        size_t name_len = strlen(headers[i].name), value_len = strlen(str_or(headers[i].value, ""));
        append32(&block, (uint32_t)name_len);
        for (size_t j = 0; j < name_len; j++) buf_append_char(&block, (char)tolower((unsigned char)headers[i].name[j]));
        append32(&block, (uint32_t)value_len);
        buf_append(&block, str_or(headers[i].value, ""), value_len);
    }
    s->deflate.next_in = (unsigned char *)block.data;
    s->deflate.avail_in = (uInt)block.len;
    do {
        buf_reserve(out, INFLATE_PIECE);
        s->deflate.next_out = (unsigned char *)out->data + out->len;
        s->deflate.avail_out = INFLATE_PIECE;
        deflate(&s->deflate, Z_SYNC_FLUSH);
        out->len += INFLATE_PIECE - s->deflate.avail_out;
        out->data[out->len] = 0;
    } while (s->deflate.avail_out == 0);
}

/* The length of a frame that began at `at` is known only now. */
static void patch_length(struct buf *out, size_t at) {
    unsigned char *head = (unsigned char *)out->data + at, flags = head[4];
    put32(head + 4, (uint32_t)(out->len - at - HEAD_BYTES));
    head[4] = flags;
}

uint32_t spdy_write_syn_stream(struct spdy *s, struct buf *out, const struct http_header *headers, size_t headers_len, bool fin) {
    uint32_t id = s->next_stream_id;
    size_t at = out->len;
    s->next_stream_id += 2;
    write_head(out, SPDY_SYN_STREAM, fin, 0);
    append32(out, id);
    append32(out, 0);
    buf_append(out, "\0\0", 2); /* the highest priority, no credential slot */
    append_headers(s, out, headers, headers_len);
    patch_length(out, at);
    return id;
}

void spdy_write_syn_reply(struct spdy *s, struct buf *out, uint32_t stream_id, const struct http_header *headers, size_t headers_len, bool fin) {
    size_t at = out->len;
    write_head(out, SPDY_SYN_REPLY, fin, 0);
    append32(out, stream_id);
    append_headers(s, out, headers, headers_len);
    patch_length(out, at);
}

void spdy_write_rst_stream(struct buf *out, uint32_t stream_id, enum spdy_rst status) {
    write_head(out, SPDY_RST_STREAM, false, 8);
    append32(out, stream_id);
    append32(out, status);
}

void spdy_write_data(struct buf *out, uint32_t stream_id, const void *data, size_t len, bool fin) {
    const char *p = data;
    do {
        size_t n = MIN(len, (size_t)DATA_FRAME_BYTES_MAX);
        len -= n;
        append32(out, stream_id & 0x7fffffff);
        append32(out, (uint32_t)n | (fin && !len ? (uint32_t)SPDY_FLAG_FIN << 24 : 0));
        buf_append(out, p, n);
        p += n;
    } while (len);
}

uint32_t spdy_write_ping(struct spdy *s, struct buf *out) {
    uint32_t id = s->next_ping_id;
    s->next_ping_id += 2;
    write_head(out, SPDY_PING, false, 4);
    append32(out, id);
    return id;
}

void spdy_answer_ping(struct spdy *s, struct buf *out, uint32_t id) {
    if ((id & 1) == (s->client ? 1u : 0u)) return;
    write_head(out, SPDY_PING, false, 4);
    append32(out, id);
}

void spdy_write_goaway(struct buf *out, uint32_t last_good_stream, uint32_t status) {
    write_head(out, SPDY_GOAWAY, false, 8);
    append32(out, last_good_stream);
    append32(out, status);
}
