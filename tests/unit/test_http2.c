/* wire/http_server over HTTP/2, without TLS (prior knowledge), driven by nghttp2's client half on a blocking socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/fiber.h"
#include "wire/http_server.h"

enum { LARGE_BYTES = 5 << 20, STREAMS = 64 };

static struct http_server *server;
static struct shared *large;
static atomic_int closed_streams, running, drained_streams;

static void count_close(void *arg) {
    atomic_fetch_add(&closed_streams, 1);
    http_request_unref(arg);
}

static void drained(void *arg) {
    atomic_fetch_add(&drained_streams, 1);
    http_response_end(arg);
    http_request_unref(arg);
}

static void handler(struct http_request *req, void *ctx UNUSED) {
    const struct http_header text[] = {{"Content-Type", "text/plain"}, {"Connection", "close"}};
    const struct http_slice whole = {NULL, 0, large};
    if (strcmp(req->path, "/large") == 0) http_respond(req, 200, text, 2, &whole, 1);
    else if (strcmp(req->path, "/stream") == 0) {
        http_response_begin(req, 200, text, 2);
        for (int i = 0; i < 3; i++) {
            http_response_write(req, "part", 4);
            fiber_sleep_ms(3);
        }
        http_response_end(req);
    } else if (strcmp(req->path, "/watch") == 0) {
        http_response_begin(req, 200, text, 2);
        http_response_write(req, "begun", 5);
        http_request_on_close(http_request_ref(req), count_close, req);
    } else if (strcmp(req->path, "/much") == 0) {
        http_response_begin(req, 200, text, 2);
        http_response_write_shared(req, large);
        http_response_on_drain(req, 1000, drained, http_request_ref(req));
        http_request_on_close(req, count_close, req);
    } else if (strcmp(req->path, "/abort") == 0) http_request_abort(req);
    else if (strcmp(req->path, "/slow") == 0) {
        atomic_fetch_add(&running, 1);
        fiber_sleep_ms(200);
        atomic_fetch_sub(&running, 1);
        http_respond(req, 200, NULL, 0, NULL, 0);
    } else if (req->body_too_large) {
        const struct http_slice words = {"too large", 9, NULL};
        http_respond(req, 413, text, 2, &words, 1);
    } else {
        char *head = arena_printf(req->arena, "%s %s?%s host=%s v%d ", req->method, req->path, req->query, http_request_header(req, "Host"), req->http_major);
        const struct http_slice body[] = {{head, strlen(head), NULL}, {req->body, req->body_len, NULL}};
        http_respond(req, 200, text, 2, body, 2);
    }
}

static int start(void **state UNUSED) {
    struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 1, .body_bytes_max = 3 << 20, .header_bytes_max = 60000,
        .body_timeout_ms = 300, .handler = handler};
    char *bytes = malloc(LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i++) bytes[i] = (char)('a' + i % 23);
    large = shared_new(bytes, LARGE_BYTES);
    free(bytes);
    server = http_server_new(&o, NULL);
    return server ? 0 : -1;
}

static int stop(void **state UNUSED) {
    http_server_free(server, 100);
    shared_unref(large);
    return 0;
}

/* ---- the client ---- */

struct answer {
    int code;
    char body[200];
    size_t len;
    bool ended, wrong;
    uint32_t error;
    const char *send; /* a body of `left` bytes 'x', or of this text */
    size_t left;
};

struct client {
    int fd;
    nghttp2_session *h2;
    struct answer answers[2 * STREAMS + 2];
    bool goaway, closed;
    bool hold_windows; /* does not give the window back: a reader that stalls */
};

static struct answer *answer_of(struct client *c, int32_t id) { return &c->answers[(size_t)id % ARRAY_LEN(c->answers)]; }

static ssize_t on_send(nghttp2_session *h2 UNUSED, const uint8_t *data, size_t len, int flags UNUSED, void *user) {
    ssize_t n = send(((struct client *)user)->fd, data, len, MSG_NOSIGNAL);
    return n < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : n;
}

static int on_header(nghttp2_session *h2 UNUSED, const nghttp2_frame *f, const uint8_t *name, size_t name_len, const uint8_t *value,
    size_t value_len UNUSED, uint8_t flags UNUSED,
                     void *user) {
    struct answer *a = answer_of(user, f->hd.stream_id);
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) a->code = atoi((const char *)value);
    if (name_len == 10 && memcmp(name, "connection", 10) == 0) a->wrong = true;
    return 0;
}

static int on_chunk(nghttp2_session *h2, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user) {
    struct client *c = user;
    struct answer *a = answer_of(c, id);
    for (size_t i = 0; i < len; i++) {
        if (a->len < sizeof(a->body) - 1) a->body[a->len] = (char)data[i];
        else if (data[i] != 'a' + a->len % 23) a->wrong = true;
        a->len++;
    }
    if (!c->hold_windows) nghttp2_session_consume(h2, id, len);
    return 0;
}

static int on_frame(nghttp2_session *h2 UNUSED, const nghttp2_frame *f, void *user) {
    if (f->hd.type == NGHTTP2_GOAWAY) ((struct client *)user)->goaway = true;
    return 0;
}

static int on_close(nghttp2_session *h2 UNUSED, int32_t id, uint32_t error, void *user) {
    answer_of(user, id)->ended = true;
    answer_of(user, id)->error = error;
    return 0;
}

static void client_open(struct client *c) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    memset(c, 0, sizeof(*c));
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_send_callback(cb, on_send);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_client_new2(&c->h2, cb, c, option);
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(option);
    nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void client_close(struct client *c) {
    nghttp2_session_del(c->h2);
    close(c->fd);
}

static ssize_t give_body(nghttp2_session *h2 UNUSED, int32_t id UNUSED, uint8_t *to, size_t max, uint32_t *flags, nghttp2_data_source *source,
    void *user UNUSED) {
    struct answer *a = source->ptr;
    size_t n = MIN(a->left, max);
    if (a->send) memcpy(to, a->send, n); /* short: one piece */
    else memset(to, 'x', n);
    a->left -= n;
    if (!a->left) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

#define NV(name, value) {(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE}

static int32_t ask(struct client *c, const char *method, const char *path, const char *body, size_t body_len, const char *extra) {
    nghttp2_nv nv[] = {NV(":method", method), NV(":scheme", "http"), NV(":path", path), NV(":authority", "h"), NV("x-extra", extra ? extra : "")};
    int32_t id = nghttp2_session_get_next_stream_id(c->h2);
    struct answer *a = answer_of(c, id);
    *a = (struct answer){.send = body, .left = body_len};
    nghttp2_data_provider give = {.source.ptr = a, .read_callback = give_body};
    assert_int_equal(nghttp2_submit_request(c->h2, NULL, nv, ARRAY_LEN(nv), body_len ? &give : NULL, NULL), id);
    return id;
}

/* Exchanges frames until the stream has ended (0: until nothing comes for a while), the server closes, or two seconds have passed. */
static void run(struct client *c, int32_t until) {
    static uint8_t bytes[64 << 10];
    for (int i = 0; i < 100000 && !(until && answer_of(c, until)->ended); i++) {
        c->closed = nghttp2_session_send(c->h2) != 0;
        if (c->closed) return;
        struct pollfd p = {c->fd, POLLIN, 0};
        if (poll(&p, 1, until ? 2000 : 50) != 1) return;
        ssize_t n = read(c->fd, bytes, sizeof(bytes));
        if (n <= 0 || nghttp2_session_mem_recv(c->h2, bytes, (size_t)n) < 0) {
            c->closed = true;
            return;
        }
    }
}

static bool soon(atomic_int *value, int wanted) {
    for (int i = 0; i < 6000 && atomic_load(value) != wanted; i++) env_sleep_ms(env_real(), 5);
    return atomic_load(value) == wanted;
}

/* ---- what is to be ---- */

static void a_request_is_answered(void **state UNUSED) {
    struct client c;
    client_open(&c);
    int32_t id = ask(&c, "POST", "/a?x=1", "body", 4, NULL);
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->code, 200);
    assert_string_equal(answer_of(&c, id)->body, "POST /a?x=1 host=h v2 body");
    assert_false(answer_of(&c, id)->wrong); /* no Connection header in HTTP/2 */
    id = ask(&c, "HEAD", "/a", NULL, 0, NULL);
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->code, 200);
    assert_int_equal(answer_of(&c, id)->len, 0);
    client_close(&c);
}

static void many_streams_run_side_by_side(void **state UNUSED) {
    struct client c;
    client_open(&c);
    for (int i = 0; i < STREAMS; i++) ask(&c, "GET", i % 4 == 0 ? "/stream" : i % 4 == 1 ? "/large" : "/a", NULL, 0, NULL);
    for (int i = 0; i < STREAMS; i++) {
        struct answer *a = answer_of(&c, 2 * i + 1);
        run(&c, 2 * i + 1);
        assert_int_equal(a->code, 200);
        assert_false(a->wrong);
        if (i % 4 == 0) assert_string_equal(a->body, "partpartpart");
        if (i % 4 == 1) assert_int_equal(a->len, LARGE_BYTES);
    }
    client_close(&c);
}

static void a_large_body_arrives_under_flow_control(void **state UNUSED) {
    struct client c;
    client_open(&c);
    int32_t id = ask(&c, "POST", "/up", NULL, 3 << 20, NULL);
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->code, 200);
    assert_true(answer_of(&c, id)->len > 3 << 20);
    client_close(&c);
}

static void a_body_over_the_limit_is_answered_at_once(void **state UNUSED) {
    struct client c;
    client_open(&c);
    int32_t id = ask(&c, "POST", "/up", NULL, 30 << 20, NULL);
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->code, 413);
    assert_string_equal(answer_of(&c, id)->body, "too large");
    assert_int_equal(answer_of(&c, id)->error, NGHTTP2_NO_ERROR);
    assert_true(answer_of(&c, id)->left > 20 << 20);
    id = ask(&c, "GET", "/a", NULL, 0, NULL); /* the connection goes on */
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->code, 200);
    client_close(&c);
}

static void headers_over_the_limit_get_431(void **state UNUSED) {
    struct client c;
    static char extra[61000];
    memset(extra, 'x', sizeof(extra) - 1);
    client_open(&c);
    int32_t id = ask(&c, "GET", "/a", NULL, 0, extra);
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->code, 431);
    client_close(&c);
}

static void a_reset_stream_is_noticed_and_the_others_go_on(void **state UNUSED) {
    struct client c;
    int before = atomic_load(&closed_streams);
    client_open(&c);
    int32_t watch = ask(&c, "GET", "/watch", NULL, 0, NULL);
    run(&c, 0);
    assert_string_equal(answer_of(&c, watch)->body, "begun");
    nghttp2_submit_rst_stream(c.h2, NGHTTP2_FLAG_NONE, watch, NGHTTP2_CANCEL);
    int32_t id = ask(&c, "GET", "/a", NULL, 0, NULL);
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->code, 200);
    assert_true(soon(&closed_streams, before + 1));
    ask(&c, "GET", "/watch", NULL, 0, NULL);
    run(&c, 0);
    client_close(&c);
    assert_true(soon(&closed_streams, before + 2));
}

static void an_aborted_stream_is_reset(void **state UNUSED) {
    struct client c;
    client_open(&c);
    int32_t id = ask(&c, "GET", "/abort", NULL, 0, NULL);
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->error, NGHTTP2_INTERNAL_ERROR);
    client_close(&c);
}

static void a_stream_that_stalls_holds_up_no_other(void **state UNUSED) {
    struct client c;
    int before = atomic_load(&drained_streams);
    client_open(&c);
    nghttp2_submit_window_update(c.h2, NGHTTP2_FLAG_NONE, 0, 10 << 20); /* the connection has room, the stream has not */
    c.hold_windows = true;
    int32_t stalled = ask(&c, "GET", "/much", NULL, 0, NULL);
    run(&c, 0);
    assert_int_equal(answer_of(&c, stalled)->len, 65535);
    assert_int_equal(atomic_load(&drained_streams), before);
    int32_t id = ask(&c, "GET", "/a", NULL, 0, NULL);
    run(&c, id);
    assert_int_equal(answer_of(&c, id)->code, 200);
    c.hold_windows = false;
    nghttp2_session_consume_stream(c.h2, stalled, 65535);
    run(&c, stalled);
    assert_int_equal(answer_of(&c, stalled)->len, LARGE_BYTES);
    assert_int_equal(atomic_load(&drained_streams), before + 1);
    client_close(&c);
}

static void a_client_that_resets_rapidly_is_cut(void **state UNUSED) {
    struct client c;
    client_open(&c);
    run(&c, 0);
    for (int i = 0; i < 5000 && !c.closed; i++) {
        int32_t id = ask(&c, "GET", "/slow", NULL, 0, NULL);
        c.closed |= nghttp2_session_send(c.h2) != 0;
        nghttp2_submit_rst_stream(c.h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        c.closed |= nghttp2_session_send(c.h2) != 0;
    }
    for (int i = 0; i < 100 && !c.closed && !c.goaway; i++) run(&c, 0);
    assert_true(c.closed || c.goaway);
    assert_true(atomic_load(&running) <= 1001);
    assert_true(soon(&running, 0));
    client_close(&c);
}

static void a_body_that_does_not_come_is_not_awaited_for_ever(void **state UNUSED) {
    struct client c;
    client_open(&c);
    nghttp2_nv nv[] = {NV(":method", "POST"), NV(":scheme", "http"), NV(":path", "/a"), NV(":authority", "h")};
    assert_int_equal(nghttp2_submit_headers(c.h2, NGHTTP2_FLAG_NONE, -1, NULL, nv, ARRAY_LEN(nv), NULL), 1);
    run(&c, 1);
    assert_int_equal(answer_of(&c, 1)->error, NGHTTP2_CANCEL);
    client_close(&c);
}

static void a_stop_says_goaway_and_lets_streams_finish(void **state UNUSED) {
    struct http_server *first = server;
    struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 1, .handler = handler};
    struct client c;
    server = http_server_new(&o, NULL);
    client_open(&c);
    int32_t id = ask(&c, "GET", "/slow", NULL, 0, NULL);
    run(&c, 0);
    int64_t before = env_mono_ns(env_real());
    http_server_free(server, 3000);
    assert_true(env_mono_ns(env_real()) - before < 2000000000);
    run(&c, id);
    assert_true(c.goaway);
    assert_int_equal(answer_of(&c, id)->code, 200);
    client_close(&c);
    server = first;
}

static void garbage_behind_the_preface_ends_the_connection(void **state UNUSED) {
    static const char garbage[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x01\x02\x03\x04\x05\x06\x07\x08\x09";
    struct client c;
    client_open(&c);
    assert_int_equal(send(c.fd, garbage, sizeof(garbage) - 1, 0), (ssize_t)sizeof(garbage) - 1);
    uint8_t bytes[1000];
    struct pollfd p = {c.fd, POLLIN, 0};
    bool ended = false;
    while (poll(&p, 1, 2000) == 1 && !ended) ended = read(c.fd, bytes, sizeof(bytes)) <= 0;
    assert_true(ended);
    client_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered),
        cmocka_unit_test(many_streams_run_side_by_side),
        cmocka_unit_test(a_large_body_arrives_under_flow_control),
        cmocka_unit_test(a_body_over_the_limit_is_answered_at_once),
        cmocka_unit_test(headers_over_the_limit_get_431),
        cmocka_unit_test(a_reset_stream_is_noticed_and_the_others_go_on),
        cmocka_unit_test(an_aborted_stream_is_reset),
        cmocka_unit_test(a_stream_that_stalls_holds_up_no_other),
        cmocka_unit_test(a_client_that_resets_rapidly_is_cut),
        cmocka_unit_test(a_body_that_does_not_come_is_not_awaited_for_ever),
        cmocka_unit_test(a_stop_says_goaway_and_lets_streams_finish),
        cmocka_unit_test(garbage_behind_the_preface_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
