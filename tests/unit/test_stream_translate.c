/* apiserver/stream_translate between a WebSocket client made of wire/http_client and a kubelet that speaks SPDY: what kubectl sees of exec, attach and
 * port-forward. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "apiserver/stream_translate.h"
#include "base/str.h"
#include "wire/http_client.h"
#include "wire/http_server.h"
#include "wire/spdy.h"
#include "wire/websocket.h"

/* ---- a kubelet: stdin is echoed on stdout; when it ends, a word on stderr and the outcome that the path names ---- */

struct session {
    struct http_stream *stream;
    struct spdy spdy;
    struct buf out;
    uint32_t in_id, out_id, err_id, error_id, resize_id;
    char path[64];
};

static void session_end(struct session *s) {
    static const char exit3[] = "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"x\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}";
    static const char bad[] = "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"no such \\\"thing\\\"\"}", good[] = "{\"metadata\":{},\"status\":\"Success\"}";
    const char *error = strstr(s->path, "exit3") ? exit3 : strstr(s->path, "fails") ? bad : strstr(s->path, "garbage") ? "[" : good;
    if (s->err_id) spdy_write_data(&s->out, s->err_id, "bye", 3, true);
    if (s->out_id) spdy_write_data(&s->out, s->out_id, "", 0, true);
    spdy_write_data(&s->out, s->error_id, error, strlen(error), true);
}

static void session_frame(void *arg, const struct spdy_event *e) {
    struct session *s = arg;
    if (e->type == SPDY_SYN_STREAM) {
        const char *type = http_headers_get(e->headers, e->headers_len, "streamtype");
        uint32_t *id = str_eq(type, "stdin") ? &s->in_id : str_eq(type, "stdout") ? &s->out_id : str_eq(type, "stderr") ? &s->err_id : str_eq(type, "resize") ? &s->resize_id : &s->error_id;
        *id = e->stream_id;
        spdy_write_syn_reply(&s->spdy, &s->out, e->stream_id, NULL, 0, false);
        if (id == &s->out_id && !strstr(s->path, "stdin")) session_end(s);
    } else if (e->type == SPDY_DATA && e->stream_id == s->in_id) {
        if (e->len) spdy_write_data(&s->out, s->out_id, e->data, e->len, false);
        if (e->fin) session_end(s);
    } else if (e->type == SPDY_DATA && e->stream_id == s->resize_id) {
        spdy_write_data(&s->out, s->out_id, e->data, e->len, false);
    }
}

static void session_data(void *arg, const char *data, size_t len) {
    struct session *s = arg;
    if (strstr(s->path, "forward")) { /* the tunnel does not look inside */
        http_stream_write(s->stream, data, len);
        return;
    }
    if (strstr(s->path, "vanishes")) {
        http_stream_abort(s->stream);
        return;
    }
    spdy_feed(&s->spdy, data, len, session_frame, s, NULL);
    http_stream_write(s->stream, buf_cstr(&s->out), s->out.len);
    buf_clear(&s->out);
}

static void session_free(void *arg) {
    struct session *s = arg;
    spdy_release(&s->spdy);
    buf_release(&s->out);
    free(s);
}

static void kubelet(struct http_request *req, void *ctx UNUSED) {
    static const char status[] = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"no\",\"code\":403}";
    const char *refusal = strstr(req->path, "missing") ? "container not found (\"c\")" : strstr(req->path, "status") ? status : NULL;
    if (refusal) {
        http_respond(req, 404, NULL, 0, &(struct http_slice){.data = refusal, .len = strlen(refusal)}, 1);
        return;
    }
    assert_string_equal(http_request_header(req, "Authorization"), "Bearer ours");
    const struct http_header up[] = {{"Connection", "Upgrade"}, {"Upgrade", http_request_header(req, "Upgrade")},
        {"X-Stream-Protocol-Version", str_or(http_request_header(req, "X-Stream-Protocol-Version"), "none")}};
    struct session *s = calloc(1, sizeof(*s));
    spdy_init(&s->spdy, false);
    snprintf(s->path, sizeof(s->path), "%s", req->path);
    s->stream = http_upgrade(req, up, 3, NULL);
    http_stream_start(s->stream, &(struct http_stream_handler){.on_data = session_data, .on_close = session_free, .arg = s});
}

/* ---- the apiserver: the path says what is wanted; "closed" leads to a port where nobody listens ---- */

static struct http_server *kubelet_server, *api_server;
static struct http_client *client;

static void api(struct http_request *req, void *ctx UNUSED) {
    static const struct http_header ours[] = {{"Authorization", "Bearer ours"}};
    struct proxy_target t = {.host = "127.0.0.1", .port = strstr(req->path, "closed") ? 1 : http_server_port(kubelet_server), .target = req->path, .headers = ours, .headers_len = 1};
    struct stream_options o = {.in = strstr(req->path, "stdin"), .out = true, .err = strstr(req->path, "stderr"), .tty = strstr(req->path, "tty")};
    struct status err = STATUS_INIT;
    if (stream_proxy(req, strstr(req->path, "forward") ? STREAM_PORT_FORWARD : STREAM_REMOTE_COMMAND, &o, &t, &err) != 0) {
        const char *text = status_message(&err);
        http_respond(req, err.code, NULL, 0, &(struct http_slice){.data = text, .len = strlen(text)}, 1);
    }
    status_release(&err);
}

static int start(void **state UNUSED) {
    kubelet_server = http_server_new(&(struct http_server_options){.bind_address = "127.0.0.1", .loops = 1, .handler = kubelet}, NULL);
    api_server = http_server_new(&(struct http_server_options){.bind_address = "127.0.0.1", .loops = 1, .handler = api}, NULL);
    client = http_client_new(&(struct http_client_options){.host = "127.0.0.1", .port = http_server_port(api_server)}, NULL);
    return 0;
}

static int stop(void **state UNUSED) {
    http_client_free(client);
    http_server_free(api_server, 100);
    http_server_free(kubelet_server, 100);
    return 0;
}

/* ---- the client ---- */

struct transcript { struct buf channels[256]; struct buf other; bool closed; };

static void note(void *arg, const struct websocket_event *e) {
    struct transcript *t = arg;
    if (e->opcode == WEBSOCKET_CLOSE) {
        t->closed = true;
        buf_printf(&t->other, "close%d", e->close_code);
    } else if (e->opcode == WEBSOCKET_PONG) buf_printf(&t->other, "pong(%.*s)", (int)e->len, e->data);
    else if (e->len) buf_append(&t->channels[(unsigned char)e->data[0]], e->data + 1, e->len - 1);
}

static struct http_reply *dial(const char *path, const char *protocol) {
    char key[25];
    struct http_reply *r = NULL;
    struct status err = STATUS_INIT;
    websocket_new_key(key);
    const struct http_header h[] = {{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", key}, {"Sec-WebSocket-Protocol", protocol}};
    if (http_client_call(client, &(struct http_call){.target = path, .headers = h, .headers_len = 5, .timeout_ms = 5000}, &r, &err) != 0) fail_msg("%s", status_message(&err));
    return r;
}

/* Sends frames (each: channel byte and text) and reads until the close frame or until `until` has come on stdout. */
static void converse(struct http_reply *r, struct websocket *ws, const char *const *frames, struct transcript *t, const char *until) {
    struct buf out = BUF_INIT;
    char in[4096];
    for (; frames && *frames; frames++) {
        size_t len = strlen(*frames);
        if (strcmp(*frames, "EOF") == 0) websocket_write(ws, &out, WEBSOCKET_BINARY, "\xff\0", 2);
        else if (strcmp(*frames, "PING") == 0) websocket_write(ws, &out, WEBSOCKET_PING, "p", 1);
        else websocket_write2(ws, &out, WEBSOCKET_BINARY, (*frames)[0] == '4' ? "\4" : "\0", 1, *frames + 1, len - 1);
    }
    assert_int_equal(http_reply_write(r, buf_cstr(&out), out.len, 5000, NULL), 0);
    buf_release(&out);
    while (!t->closed && !(until && t->channels[1].len && strstr(t->channels[1].data, until))) {
        ssize_t n = http_reply_read(r, in, sizeof(in), 5000, NULL);
        if (n <= 0) break;
        assert_int_equal(websocket_feed(ws, in, (size_t)n, note, t, NULL), 0);
    }
}

static void transcript_release(struct transcript *t) {
    for (int i = 0; i < 256; i++) buf_release(&t->channels[i]);
    buf_release(&t->other);
}

#define INTERNAL(text) "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal error occurred: " text "\",\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":\"" text "\"}]},\"code\":500}"

static void a_v5_client_is_translated(void **state UNUSED) {
    static const char *const echo[] = {"0hello ", "PING", "0world", "EOF", "0ignored", NULL}, *const resize[] = {"4{\"Width\":80,\"Height\":24}\n", "EOF", NULL}, *const nothing[] = {NULL};
    static const struct { const char *path; const char *const *frames; const char *out, *err, *error; } cases[] = {
        {"/stdin/stderr", echo, "hello world", "bye", "{\"metadata\":{},\"status\":\"Success\"}"},
        {"/stdin", echo, "hello world", "", "{\"metadata\":{},\"status\":\"Success\"}"},
        {"/stdin/stderr/tty", resize, "{\"Width\":80,\"Height\":24}\n", "", "{\"metadata\":{},\"status\":\"Success\"}"},
        {"/stdin/exit3", echo, "hello world", "",
            "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: command terminated with exit code 3\",\"reason\":\"NonZeroExitCode\","
            "\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}"},
        {"/fails", nothing, "", "", INTERNAL("no such \\\"thing\\\"")},
        {"/missing", nothing, "", "", INTERNAL("unable to upgrade connection: container not found (\\\"c\\\")")},
        {"/status", nothing, "", "", "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"no\",\"code\":403}"},
        {"/closed", nothing, "", "", INTERNAL("error sending request: Post \\\"http://127.0.0.1:1/closed\\\": dial tcp 127.0.0.1:1: connect: connection refused")},
        {"/stdin/vanishes", nothing, "", "", INTERNAL("error reading from error stream: unexpected EOF")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct transcript t = {0};
        struct websocket ws;
        websocket_init(&ws, true, 1 << 20);
        struct http_reply *r = dial(cases[i].path, "v5.channel.k8s.io,v4.channel.k8s.io");
        assert_int_equal(r->code, 101);
        assert_string_equal(http_reply_header(r, "Sec-WebSocket-Protocol"), "v5.channel.k8s.io");
        converse(r, &ws, cases[i].frames, &t, NULL);
        assert_string_equal(buf_cstr(&t.channels[3]), cases[i].error);
        assert_string_equal(buf_cstr(&t.channels[1]), cases[i].out);
        assert_string_equal(buf_cstr(&t.channels[2]), cases[i].err);
        assert_string_equal(buf_cstr(&t.other), cases[i].frames == echo ? "pong(p)close1000" : "close1000");
        http_reply_free(r);
        websocket_release(&ws);
        transcript_release(&t);
    }
}

static void a_large_stream_is_not_held_in_memory_nor_lost(void **state UNUSED) {
    static char chunk[1 << 16];
    struct transcript t = {0};
    struct websocket ws;
    websocket_init(&ws, true, 1 << 20);
    memset(chunk, 'x', sizeof(chunk));
    struct http_reply *r = dial("/stdin", "v5.channel.k8s.io");
    for (int i = 0; i < 64; i++) {
        struct buf out = BUF_INIT;
        websocket_write2(&ws, &out, WEBSOCKET_BINARY, "\0", 1, chunk, sizeof(chunk));
        assert_int_equal(http_reply_write(r, out.data, out.len, 5000, NULL), 0);
        buf_release(&out);
        char in[1 << 17];
        ssize_t n = http_reply_read(r, in, sizeof(in), 5000, NULL);
        assert_true(n > 0);
        websocket_feed(&ws, in, (size_t)n, note, &t, NULL);
    }
    static const char *const eof[] = {"EOF", NULL};
    converse(r, &ws, eof, &t, NULL);
    assert_int_equal(t.channels[1].len, 64 * sizeof(chunk));
    assert_string_equal(buf_cstr(&t.channels[3]), "{\"metadata\":{},\"status\":\"Success\"}");
    http_reply_free(r);
    websocket_release(&ws);
    transcript_release(&t);
}

static void a_client_that_leaves_takes_its_streams_along(void **state UNUSED) {
    for (int i = 0; i < 3; i++) http_reply_free(dial(i == 0 ? "/stdin" : "/closed", "v5.channel.k8s.io")); /* leaks and crashes would show */
}

static void port_forward_is_tunnelled(void **state UNUSED) {
    struct transcript t = {0};
    struct websocket ws;
    websocket_init(&ws, true, 1 << 20);
    struct http_reply *r = dial("/forward", "SPDY/3.1+portforward.k8s.io");
    assert_int_equal(r->code, 101);
    assert_string_equal(http_reply_header(r, "Sec-WebSocket-Protocol"), "SPDY/3.1+portforward.k8s.io");
    struct buf out = BUF_INIT;
    websocket_write(&ws, &out, WEBSOCKET_BINARY, "\x01 any bytes", 11);
    assert_int_equal(http_reply_write(r, out.data, out.len, 1000, NULL), 0);
    converse(r, &ws, NULL, &t, " any bytes");
    assert_string_equal(buf_cstr(&t.channels[1]), " any bytes");
    buf_clear(&out);
    websocket_write_close(&ws, &out, 1000, NULL);
    assert_int_equal(http_reply_write(r, out.data, out.len, 1000, NULL), 0);
    converse(r, &ws, NULL, &t, NULL);
    assert_string_equal(buf_cstr(&t.other), "close1000");
    buf_release(&out);
    http_reply_free(r);
    r = dial("/forward/missing", "SPDY/3.1+portforward.k8s.io");
    assert_int_equal(r->code, 404);
    assert_string_equal(r->body, "container not found (\"c\")");
    http_reply_free(r);
    websocket_release(&ws);
    transcript_release(&t);
}

static void the_rest_is_passed_on_or_refused(void **state UNUSED) {
    static const struct http_header spdy[] = {{"Connection", "Upgrade"}, {"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", "v4.channel.k8s.io"}};
    struct http_reply *r = dial("/v4", "v4.channel.k8s.io");
    assert_int_equal(r->code, 101);
    assert_string_equal(http_reply_header(r, "Upgrade"), "websocket");
    http_reply_free(r);
    assert_int_equal(http_client_call(client, &(struct http_call){.method = "POST", .target = "/spdy", .headers = spdy, .headers_len = 3, .timeout_ms = 5000}, &r, NULL), 0);
    assert_int_equal(r->code, 101);
    assert_string_equal(http_reply_header(r, "X-Stream-Protocol-Version"), "v4.channel.k8s.io");
    http_reply_free(r);
    assert_int_equal(http_client_call(client, &(struct http_call){.method = "POST", .target = "/x", .timeout_ms = 5000}, &r, NULL), 0);
    assert_int_equal(r->code, 400);
    assert_string_equal(r->body, "Upgrade request required");
    http_reply_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_v5_client_is_translated), cmocka_unit_test(a_large_stream_is_not_held_in_memory_nor_lost),
        cmocka_unit_test(a_client_that_leaves_takes_its_streams_along), cmocka_unit_test(port_forward_is_tunnelled), cmocka_unit_test(the_rest_is_passed_on_or_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
