/* HTTP/1.1 on one connection: llhttp parses, one request is answered at a time, what arrives meanwhile waits in c->in. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "base/str.h"
#include "wire/http_conn.h"

static struct conn *conn_of(llhttp_t *p) { return p->data; }

/* ---- requests ---- */

/* Remembers why the request is refused and stops the parser. */
static int refuse_later(struct conn *c, int code, const char *text) {
    c->refuse_code = code;
    c->refuse_text = text;
    return -1;
}

/* Headers count against a limit, or a client could feed them forever. */
static int count_header(struct conn *c, size_t len) {
    c->header_bytes += len;
    return c->header_bytes > conn_options(c)->header_bytes_max ? refuse_later(c, 431, NULL) : 0;
}

static int on_url(llhttp_t *p, const char *at, size_t len) {
    struct conn *c = conn_of(p);
    buf_append(&c->url, at, len);
    return count_header(c, len);
}

static void header_complete(struct conn *c) {
    while (c->value.len && (c->value.data[c->value.len - 1] == ' ' || c->value.data[c->value.len - 1] == '\t')) c->value.len--;
    if (c->name.len && c->current->headers.len < HTTP_HEADERS_MAX)
        request_add_header(c->current, c->name.data, c->name.len, buf_cstr(&c->value), c->value.len);
    buf_clear(&c->name);
    buf_clear(&c->value);
    c->header_bytes += 4; /* what stands between and behind */
    c->in_value = false;
}

static int on_header_field(llhttp_t *p, const char *at, size_t len) {
    struct conn *c = conn_of(p);
    if (c->body_since_ms) return count_header(c, len); /* trailers are not kept */
    if (c->in_value) header_complete(c);
    buf_append(&c->name, at, len);
    return count_header(c, len);
}

static int on_header_value(llhttp_t *p, const char *at, size_t len) {
    struct conn *c = conn_of(p);
    if (c->body_since_ms) return count_header(c, len);
    c->in_value = true;
    buf_append(&c->value, at, len);
    return count_header(c, len);
}

static int on_message_begin(llhttp_t *p) {
    struct conn *c = conn_of(p);
    c->current = request_new(c);
    if (!c->head_since_ms) c->head_since_ms = MAX(conn_now_ms(c), (int64_t)1);
    return 0;
}

/* What the headers ask of the connection. -1: the request is refused. */
static int heed_headers(struct conn *c, struct request_ext *r) {
    size_t hosts = 0;
    bool expects = false;
    for (size_t i = 0; i < r->headers.len; i++) {
        const struct http_header *h = &r->headers.items[i];
        if (strcasecmp(h->name, "Host") == 0) hosts++;
        if (strcasecmp(h->name, "Expect") != 0) continue;
        if (strcasecmp(h->value, "100-continue") != 0) return refuse_later(c, 417, NULL);
        expects = true;
    }
    if (c->parser.http_major != 1) return refuse_later(c, 505, "unsupported protocol version");
    if (hosts > 1) return refuse_later(c, 400, "too many Host headers");
    if (!hosts && c->parser.http_minor >= 1) return refuse_later(c, 400, "missing required Host header");
    if ((c->parser.flags & F_CONTENT_LENGTH) && !request_length_allowed(r, c->parser.content_length)) return -1; /* answered without reading it */
    if (expects) sock_write(&c->sock, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return 0;
}

static int on_headers_complete(llhttp_t *p) {
    struct conn *c = conn_of(p);
    struct request_ext *r = c->current;
    header_complete(c);
    r->pub.method = c->odd_method[0] ? arena_strdup(r->pub.arena, c->odd_method) : llhttp_method_name(llhttp_get_method(p));
    c->odd_method[0] = 0;
    r->pub.path = arena_strndup(r->pub.arena, buf_cstr(&c->url), c->url.len);
    r->pub.upgrade = p->upgrade;
    r->keep_alive = llhttp_should_keep_alive(p);
    r->head_only = p->method == HTTP_HEAD;
    c->head_since_ms = 0;
    c->body_since_ms = MAX(conn_now_ms(c), (int64_t)1);
    buf_clear(&c->url);
    return heed_headers(c, r);
}

static int on_body(llhttp_t *p, const char *at, size_t len) { return request_take_body(conn_of(p)->current, at, len); }

static int on_message_complete(llhttp_t *p UNUSED) { return HPE_PAUSED; }

static const llhttp_settings_t settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http1_init(struct conn *c) {
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
}

void http1_release(struct conn *c) {
    struct request_ext *r = c->current;
    c->current = NULL;
    if (r) request_finished(r);
    buf_release(&c->in);
    buf_release(&c->name);
    buf_release(&c->value);
    buf_release(&c->url);
}

/* Bad requests get what Go's server says, and the connection ends. */
static void refuse(struct conn *c) {
    int code = c->refuse_code ? c->refuse_code : 400;
    const char *text = http_code_text(code), *colon = c->refuse_text ? ": " : "", *more = c->refuse_text ? c->refuse_text : "";
    char answer[512];
    int len;
    if (code == 417) len = snprintf(answer, sizeof(answer), "HTTP/1.1 417 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", text);
    else if (code == 501) len = snprintf(answer, sizeof(answer),
        "HTTP/1.1 501 %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nUnsupported transfer encoding", text);
    else len = snprintf(answer, sizeof(answer), "HTTP/1.1 %d %s%s%s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%d %s%s%s",
        code, text, colon, more, code, text, colon, more);
    sock_write(&c->sock, answer, (size_t)len);
    conn_finish(c);
}

static void dispatch(struct conn *c) {
    c->body_since_ms = c->head_since_ms = 0;
    c->header_bytes = 0;
    request_dispatch(c->current);
}

static bool ready_to_parse(const struct conn *c) {
    return c->mode == CONN_HTTP1 && !c->sock.closing && !c->finishing && !(c->current && c->current->dispatched);
}

static bool is_token_char(char c) { return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c)); }

static size_t method_len(const char *data, size_t len) {
    size_t n = 0;
    while (n < len && n < sizeof(((struct conn *)NULL)->odd_method) && is_token_char(data[n])) n++;
    return n;
}

/* Whether these bytes are the beginning of a request, too short yet to tell its method. */
static bool is_partial_method(const struct conn *c, const char *data, size_t len) { return !c->current && method_len(data, len) == len; }

static bool is_known_method(const char *data, size_t len) {
    static const char *const known[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strlen(known[i]) == len && memcmp(known[i], data, len) == 0) return true;
    return false;
}

/* Go's server takes any token for a method, llhttp only those it knows: it is given another, and the handler the real one. Returns how much was used. */
static size_t replace_odd_method(struct conn *c, const char *data, size_t len) {
    size_t n = method_len(data, len);
    if (c->current || n == 0 || n >= sizeof(c->odd_method) || n == len || data[n] != ' ' || is_known_method(data, n)) return 0;
    memcpy(c->odd_method, data, n);
    c->odd_method[n] = 0;
    if (llhttp_execute(&c->parser, "POST", 4) == HPE_PAUSED_UPGRADE) { /* asked for by the last request, which was answered otherwise */
        llhttp_resume_after_upgrade(&c->parser);
        llhttp_execute(&c->parser, "POST", 4);
    }
    return n;
}

/* Parses until a request is complete and dispatches it. Returns how much was used. */
static size_t parse_one(struct conn *c, const char *data, size_t len) {
    size_t odd = replace_odd_method(c, data, len);
    enum llhttp_errno e = llhttp_execute(&c->parser, data + odd, len - odd);
    if (e == HPE_OK) return len;
    if (e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE) {
        size_t used = (size_t)(llhttp_get_error_pos(&c->parser) - data);
        if (e == HPE_PAUSED) llhttp_resume(&c->parser);
        else llhttp_resume_after_upgrade(&c->parser);
        if (!c->current) return used; /* the upgrade asked for by the last request, which was answered otherwise: the next one follows */
        dispatch(c);
        return used;
    }
    if (c->current && c->current->pub.body_too_large) { /* answered, and then the connection ends: the rest is not worth reading */
        c->current->keep_alive = false;
        dispatch(c);
        return len;
    }
    if (e == HPE_INVALID_TRANSFER_ENCODING && !c->refuse_code) c->refuse_code = (c->parser.flags & F_CONTENT_LENGTH) ? 400 : 501;
    refuse(c);
    return len;
}

static void parse_waiting(struct conn *c) {
    size_t at = 0;
    struct buf in = c->in;
    c->in = (struct buf)BUF_INIT;
    while (at < in.len && ready_to_parse(c) && !is_partial_method(c, in.data + at, in.len - at)) {
        at += parse_one(c, in.data + at, in.len - at);
    }
    if (at < in.len && c->mode == CONN_RAW) http_stream_data(&c->stream, in.data + at, in.len - at);
    if (at < in.len && c->mode == CONN_HTTP1 && !c->sock.closing && !c->finishing) {
        buf_consume(&in, at);
        c->in = in;
    } else buf_release(&in);
}

void http1_input(struct conn *c, const char *data, size_t len) {
    if (c->in.len == 0)
        while (len && ready_to_parse(c) && !is_partial_method(c, data, len)) {
            size_t used = parse_one(c, data, len);
            data += used;
            len -= used;
        }
    if (len && c->mode == CONN_RAW) http_stream_data(&c->stream, data, len);
    if (!len || c->mode != CONN_HTTP1 || c->finishing || c->sock.closing) return;
    buf_append(&c->in, data, len);
    if (ready_to_parse(c)) { /* what waited was the beginning of a method */
        if (!c->head_since_ms) c->head_since_ms = MAX(conn_now_ms(c), (int64_t)1);
        parse_waiting(c);
    }
    if (c->in.len > HTTP_IN_BYTES_MAX) sock_pause(&c->sock, true);
}

/* The client has ended its half. A request that is complete is still answered, unless the answer is a stream without end. */
void http1_eof(struct conn *c) {
    struct request_ext *r = c->current;
    c->eof = true;
    if (!r || !r->dispatched || r->streaming) sock_close(&c->sock);
}

/* ---- answers ---- */

static const char *date_line(void) {
    static _Thread_local char line[64];
    static _Thread_local time_t at;
    time_t now = time(NULL);
    if (now != at) {
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(line, sizeof(line), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        at = now;
    }
    return line;
}

static void put_str(struct outq *q, const char *s) { outq_append(q, s, strlen(s)); }

static void put_head(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len) {
    struct outq *q = sock_out(&r->conn->sock);
    char number[STR_U64_MAX];
    put_str(q, "HTTP/1.1 ");
    outq_append(q, number, str_from_u64((uint64_t)code, number));
    put_str(q, " ");
    put_str(q, http_code_text(code));
    put_str(q, "\r\n");
    for (size_t i = 0; i < headers_len; i++) {
        size_t n = strlen(headers[i].name), v = strlen(headers[i].value);
        char *to = outq_reserve(q, n + v + 4);
        memcpy(to, headers[i].name, n);
        memcpy(to + n, ": ", 2);
        memcpy(to + n + 2, headers[i].value, v);
        memcpy(to + n + 2 + v, "\r\n", 2);
    }
    if (code != 101) put_str(q, date_line());
}

static void continue_later(void *arg) {
    struct request_ext *r = arg;
    struct conn *c = r->home;
    if (!c->gone && c->mode == CONN_HTTP1 && !c->sock.closing) {
        parse_waiting(c);
        if (c->in.len <= HTTP_IN_BYTES_MAX) sock_pause(&c->sock, false);
        if (c->eof && !c->finishing && !(c->current && c->current->dispatched)) conn_finish(c);
    }
    if (--c->handlers == 0 && c->gone) free(c);
    http_request_unref(&r->pub);
}

/* The answer is complete: the connection turns to the next request, not from within this one's handler. */
static void answered(struct request_ext *r) {
    struct conn *c = r->conn;
    bool more = c->in.len || c->eof;
    if (!r->keep_alive || c->hl->stopping) conn_finish(c);
    else if (more) {
        c->handlers++;
        http_request_ref(&r->pub);
        loop_post(c->hl->loop, continue_later, r);
    }
    c->current = NULL;
    request_finished(r);
}

static void put_connection(struct request_ext *r, struct outq *q) {
    const struct conn *c = r->conn;
    if (!r->keep_alive || c->hl->stopping) put_str(q, "Connection: close\r\n");
    else if (c->parser.http_minor == 0) put_str(q, "Connection: keep-alive\r\n");
}

void http1_respond(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body,
    size_t body_len, bool stream) {
    struct outq *q = sock_out(&r->conn->sock);
    const char *length = http_headers_get(headers, headers_len, "Content-Length");
    size_t len = 0;
    sock_flush_later(&r->conn->sock);
    if (stream && code != 101 && !length && r->conn->parser.http_minor == 0) r->keep_alive = false; /* the body ends with the connection */
    put_head(r, code, headers, headers_len);
    if (code != 101) put_connection(r, q);
    if (stream) {
        r->has_length = length != NULL;
        r->length_left = length ? strtoull(length, NULL, 10) : 0;
        r->chunked = code != 101 && !length && r->conn->parser.http_minor > 0;
        put_str(q, r->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
        sock_cut_record(&r->conn->sock); /* a client that waits for the socket must not find the first event already read with the head */
        if (code != 101 && r->conn->eof) sock_close(&r->conn->sock);
        return;
    }
    for (size_t i = 0; i < body_len; i++) len += http_slice_len(&body[i]);
    if (!length && code != 204 && code != 304) {
        char number[STR_U64_MAX];
        put_str(q, "Content-Length: ");
        outq_append(q, number, str_from_u64(len, number));
        put_str(q, "\r\n");
    }
    put_str(q, "\r\n");
    for (size_t i = 0; i < body_len && !r->head_only; i++) http_slice_append(q, &body[i]);
    answered(r);
}

void http1_write(struct request_ext *r, const void *data, size_t len, struct shared *block) {
    struct outq *q = sock_out(&r->conn->sock);
    char line[24];
    if (r->has_length) {
        len = (size_t)MIN((unsigned long long)len, r->length_left);
        r->length_left -= len;
    }
    if (!len) return;
    if (r->chunked) outq_append(q, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", len));
    if (block) outq_append_shared(q, block, data, len);
    else outq_append(q, data, len);
    if (r->chunked) outq_append(q, "\r\n", 2);
    sock_flush_later(&r->conn->sock);
}

void http1_end(struct request_ext *r) {
    if (r->has_length && r->length_left && !r->head_only) { /* the client must not take what comes next for the rest */
        sock_close(&r->conn->sock);
        return;
    }
    if (r->chunked && !r->head_only) put_str(sock_out(&r->conn->sock), "0\r\n\r\n");
    sock_flush_later(&r->conn->sock);
    answered(r);
}
