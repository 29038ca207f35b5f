/* HTTP/1.1 on one connection: llhttp parses, one request is answered at a time, what arrives meanwhile waits in c->in. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "wire/http_conn.h"

static struct conn *conn_of(llhttp_t *p) { return p->data; }

/* Headers count against a limit, or a client could feed them forever. */
static int count_header(struct conn *c, size_t len) {
    c->header_bytes += len;
    return c->header_bytes > HTTP_HEADER_BYTES_MAX ? -1 : 0;
}

static int on_url(llhttp_t *p, const char *at, size_t len) {
    struct conn *c = conn_of(p);
    buf_append(&c->url, at, len);
    return count_header(c, len);
}

static void header_complete(struct conn *c) {
    if (c->header_name.len) request_add_header(c->current, buf_cstr(&c->header_name), c->header_name.len, buf_cstr(&c->header_value), c->header_value.len);
    buf_clear(&c->header_name);
    buf_clear(&c->header_value);
    c->in_value = false;
}

static int on_header_field(llhttp_t *p, const char *at, size_t len) {
    struct conn *c = conn_of(p);
    if (c->in_value) header_complete(c);
    buf_append(&c->header_name, at, len);
    return count_header(c, len);
}

static int on_header_value(llhttp_t *p, const char *at, size_t len) {
    struct conn *c = conn_of(p);
    c->in_value = true;
    buf_append(&c->header_value, at, len);
    return count_header(c, len);
}

static int on_message_begin(llhttp_t *p) {
    struct conn *c = conn_of(p);
    c->current = request_new(c);
    c->requests--; /* not yet one that is being answered */
    return 0;
}

static int on_headers_complete(llhttp_t *p) {
    struct conn *c = conn_of(p);
    header_complete(c);
    struct request_ext *r = c->current;
    r->pub.method = arena_strdup(r->pub.arena, llhttp_method_name(llhttp_get_method(p)));
    r->pub.path = arena_strndup(r->pub.arena, buf_cstr(&c->url), c->url.len);
    r->pub.upgrade = p->upgrade;
    r->keep_alive = llhttp_should_keep_alive(p);
    r->head_only = p->method == HTTP_HEAD;
    c->header_bytes = 0;
    buf_clear(&c->url);
    for (size_t i = 0; i < r->headers.len; i++)
        if (strcasecmp(r->headers.items[i].name, "Expect") == 0 && strcasecmp(r->headers.items[i].value, "100-continue") == 0) {
            buf_append_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
            conn_mark_dirty(c);
        }
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len) {
    struct conn *c = conn_of(p);
    if (request_take_body(c->current, at, len) != 0) c->current->keep_alive = false; /* the rest is not worth reading: answer, then close */
    return c->current->pub.body_too_large ? HPE_PAUSED : 0;
}

static int on_message_complete(llhttp_t *p UNUSED) { return HPE_PAUSED; }

static const llhttp_settings_t *settings(void) {
    static llhttp_settings_t s;
    if (!s.on_url) {
        llhttp_settings_t t;
        llhttp_settings_init(&t);
        t.on_message_begin = on_message_begin;
        t.on_header_field = on_header_field;
        t.on_header_value = on_header_value;
        t.on_headers_complete = on_headers_complete;
        t.on_body = on_body;
        t.on_message_complete = on_message_complete;
        t.on_url = on_url;
        s = t;
    }
    return &s;
}

void http1_init(struct conn *c) {
    llhttp_init(&c->parser, HTTP_REQUEST, settings());
    c->parser.data = c;
}

void http1_release(struct conn *c) {
    if (c->current) {
        struct request_ext *r = c->current;
        c->current = NULL;
        if (!r->dispatched) c->requests++; /* request_finished counts it down */
        request_finished(r);
    }
    buf_release(&c->in);
    buf_release(&c->header_name);
    buf_release(&c->header_value);
    buf_release(&c->url);
}

/* Bad requests get what Go's server says, and the connection ends. */
static void refuse(struct conn *c, int code) {
    const char *text = http_code_text(code);
    buf_printf(&c->out, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%d %s", code, text, code, text);
    c->close_after_write = true;
    conn_mark_dirty(c);
}

static void dispatch(struct conn *c) {
    struct request_ext *r = c->current;
    c->requests++;
    request_dispatch(r);
}

static void parse(struct conn *c) {
    while (c->mode == CONN_HTTP1 && !c->closing && !c->close_after_write && c->in.len && !(c->current && c->current->dispatched)) {
        enum llhttp_errno e = llhttp_execute(&c->parser, c->in.data, c->in.len);
        if (c->closing) return;
        if (e == HPE_OK) {
            buf_clear(&c->in);
            return;
        }
        if (e != HPE_PAUSED && e != HPE_PAUSED_UPGRADE) {
            refuse(c, c->header_bytes > HTTP_HEADER_BYTES_MAX ? 431 : 400);
            return;
        }
        buf_consume(&c->in, (size_t)(llhttp_get_error_pos(&c->parser) - c->in.data));
        if (e == HPE_PAUSED) llhttp_resume(&c->parser);
        else llhttp_resume_after_upgrade(&c->parser);
        dispatch(c);
    }
}

void http1_input(struct conn *c, const char *data, size_t len) {
    if (c->in.len + len > HTTP_IN_BYTES_MAX + (64 << 10) && c->current && c->current->dispatched) {
        conn_close(c); /* pipelining without end while an answer is awaited */
        return;
    }
    buf_append(&c->in, data, len);
    parse(c);
}

void http1_continue(struct conn *c) { parse(c); }

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

static void put_head(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len) {
    struct buf *out = &r->conn->out;
    buf_printf(out, "HTTP/1.1 %d %s\r\n", code, http_code_text(code));
    for (size_t i = 0; i < headers_len; i++) {
        buf_append_str(out, headers[i].name);
        buf_append_str(out, ": ");
        buf_append_str(out, headers[i].value);
        buf_append_str(out, "\r\n");
    }
    if (code != 101) buf_append_str(out, date_line());
}

static void answered(struct request_ext *r) {
    struct conn *c = r->conn;
    c->current = NULL;
    if (!r->keep_alive || c->hl->stopping) c->close_after_write = true;
    request_finished(r);
    if (c->in.len) http1_continue(c);
}

void http1_respond(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream) {
    struct buf *out = &r->conn->out;
    size_t len = 0;
    put_head(r, code, headers, headers_len);
    if (code == 101) {
        buf_append_str(out, "\r\n");
        return;
    }
    if (!r->keep_alive) buf_append_str(out, "Connection: close\r\n");
    if (stream) {
        r->chunked = true;
        buf_append_str(out, "Transfer-Encoding: chunked\r\n\r\n");
        return;
    }
    for (size_t i = 0; i < body_len; i++) len += body[i].len;
    if (code != 204 && code != 304) buf_printf(out, "Content-Length: %zu\r\n", len);
    buf_append_str(out, "\r\n");
    for (size_t i = 0; i < body_len && !r->head_only; i++) buf_append(out, body[i].data, body[i].len);
    answered(r);
}

void http1_write(struct request_ext *r, const void *data, size_t len) {
    struct buf *out = &r->conn->out;
    buf_printf(out, "%zx\r\n", len);
    buf_append(out, data, len);
    buf_append_str(out, "\r\n");
}

void http1_end(struct request_ext *r) {
    buf_append_str(&r->conn->out, "0\r\n\r\n");
    answered(r);
}
