/* wire/http_server: HTTP/1.1 over a plain socket, byte for byte; how it treats those who are slow, greedy or wrong. HTTP/2: test_http2.c; TLS:
 * test_http_tls.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/fiber.h"
#include "wire/http_server.h"

enum { BLOCK_BYTES = 1 << 20, BLOCKS = 24 };

static atomic_int closed_streams, drained_streams;
static atomic_size_t backlog_seen;
static struct http_server *server;

static void count_close(void *arg) {
    atomic_fetch_add(&closed_streams, 1);
    http_request_unref(arg);
}

static struct http_stream *raw;

static void echo_raw(void *arg UNUSED, const char *data, size_t len) { http_stream_write(raw, data, len); }
static void raw_closed(void *arg UNUSED) { atomic_fetch_add(&closed_streams, 1); }

static void upgrade(struct http_request *req) {
    const struct http_header up[] = {{"Connection", "Upgrade"}, {"Upgrade", "echo"}};
    const struct http_stream_handler h = {.on_data = echo_raw, .on_close = raw_closed};
    raw = http_upgrade(req, up, 2, NULL);
    if (raw) http_stream_start(raw, &h);
    else http_respond(req, 400, NULL, 0, NULL, 0);
}

static void drained(void *arg) {
    atomic_fetch_add(&drained_streams, 1);
    http_response_end(arg);
    http_request_unref(arg);
}

/* More than any socket buffer takes, by reference to one block. */
static void send_much(struct http_request *req, bool cut) {
    char *bytes = malloc(BLOCK_BYTES);
    memset(bytes, 'm', BLOCK_BYTES);
    struct shared *block = shared_new(bytes, BLOCK_BYTES);
    free(bytes);
    http_response_begin(req, 200, NULL, 0);
    for (int i = 0; i < BLOCKS; i++) http_response_write_shared(req, block);
    shared_unref(block);
    atomic_store(&backlog_seen, http_response_backlog_bytes(req));
    if (cut) {
        fiber_sleep_ms(20);
        http_request_abort(req);
        return;
    }
    http_response_on_drain(req, 1000, drained, http_request_ref(req));
    http_request_on_close(req, count_close, req);
}

/* Writes as fast as the client reads. */
static void send_politely(struct http_request *req) {
    char piece[1000];
    memset(piece, 'p', sizeof(piece));
    http_response_begin(req, 200, NULL, 0);
    for (int i = 0; i < 5000; i++) {
        http_response_write(req, piece, sizeof(piece));
        if (http_response_wait(req, 100000) != 0) return;
    }
    http_response_end(req);
}

static void stream(struct http_request *req, const struct http_header *headers, size_t headers_len) {
    http_response_begin(req, 200, headers, headers_len);
    for (int i = 0; i < 3; i++) {
        http_response_write(req, "part", 4);
        fiber_sleep_ms(5);
    }
    http_response_end(req);
}

static void handler(struct http_request *req, void *ctx UNUSED) {
    const struct http_header text[] = {{"Content-Type", "text/plain"}}, sized[] = {{"Content-Length", "12"}}, oversized[] = {{"Content-Length", "13"}};
    if (strcmp(req->path, "/sleep") == 0) fiber_sleep_ms(20);
    if (strcmp(req->path, "/stream") == 0) stream(req, text, 1);
    else if (strcmp(req->path, "/sized") == 0) stream(req, sized, 1);
    else if (strcmp(req->path, "/oversized") == 0) stream(req, oversized, 1);
    else if (strcmp(req->path, "/watch") == 0) {
        http_response_begin(req, 200, text, 1);
        http_response_write(req, "begun", 5);
        http_request_on_close(http_request_ref(req), count_close, req);
    } else if (strcmp(req->path, "/raw") == 0) upgrade(req);
    else if (strcmp(req->path, "/much") == 0) send_much(req, false);
    else if (strcmp(req->path, "/cut") == 0) send_much(req, true);
    else if (strcmp(req->path, "/polite") == 0) send_politely(req);
    else if (strcmp(req->path, "/nothing") == 0) return;
    else if (req->body_too_large) http_respond(req, 413, NULL, 0, NULL, 0);
    else {
        char *head = arena_printf(req->arena, "%s %s?%s host=%s ", req->method, req->path, req->query, http_request_header(req, "HOST"));
        struct http_slice body[] = {{head, strlen(head), NULL}, {req->body, req->body_len, NULL}};
        http_respond(req, 200, text, 1, body, 2);
    }
}

static int start(void **state UNUSED) {
    struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 2, .body_bytes_max = 1000, .header_bytes_max = 8000, .header_timeout_ms = 300,
        .body_timeout_ms = 300,
                                    .idle_timeout_ms = 1500, .handler = handler};
    server = http_server_new(&o, NULL);
    return server ? 0 : -1;
}

static int stop(void **state UNUSED) {
    http_server_free(server, 100);
    return 0;
}

static int dial(void) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

/* Sends, then reads until `until` has been seen, the peer closes, or three seconds have passed. */
static const char *talk(int fd, const char *send, const char *until) {
    static char got[1 << 20];
    size_t len = 0;
    if (*send) assert_int_equal(write(fd, send, strlen(send)), (ssize_t)strlen(send));
    got[0] = 0;
    while (!(until && strstr(got, until))) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 3000) != 1) break;
        ssize_t n = read(fd, got + len, sizeof(got) - 1 - len);
        if (n <= 0) break;
        len += (size_t)n;
        got[len] = 0;
    }
    return got;
}

static void contains(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no \"%s\" in \"%.300s\"", part, text);
}

/* Reads to the end; how many bytes came. */
static size_t drink(int fd) {
    static char glass[256 << 10];
    size_t total = 0;
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 3000) != 1) fail_msg("no end after %zu bytes", total);
        ssize_t n = read(fd, glass, sizeof(glass));
        if (n <= 0) return total;
        total += (size_t)n;
    }
}

static bool soon(atomic_int *value, int wanted) {
    for (int i = 0; i < 6000 && atomic_load(value) != wanted; i++) env_sleep_ms(env_real(), 5);
    return atomic_load(value) == wanted;
}

static void requests_are_answered_in_order_on_one_connection(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\n", "host=h"), "GET /a?x=1 host=h");
    const char *got = talk(fd, "GET /sleep HTTP/1.1\r\nHost: 1\r\n\r\nPOST /b HTTP/1.1\r\nHost: 2\r\nContent-Length: 5\r\n\r\nhello", "hello");
    contains(got, "GET /sleep?");
    assert_true(strstr(got, "/sleep") < strstr(got, "POST /b? host=2 hello"));
    close(fd);
}

static void hundreds_of_requests_in_one_write_are_all_answered(void **state UNUSED) {
    char all[64000] = "";
    size_t len = 0;
    for (int i = 0; i < 500; i++)
        len += (size_t)snprintf(all + len, sizeof(all) - len, "GET /%s/%d HTTP/1.1\r\nHost: h\r\n\r\n", i % 100 == 0 ? "sleep" : "n", i);
    int fd = dial();
    const char *got = talk(fd, all, "/499?");
    for (int i = 0; i < 500; i++) {
        char part[32];
        snprintf(part, sizeof(part), "/%d? host", i);
        got = strstr(got, part);
        if (!got) fail_msg("answer %d is missing or out of order", i);
    }
    close(fd);
}

static void a_request_may_come_byte_by_byte(void **state UNUSED) {
    static const char text[] = "POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    int fd = dial();
    for (size_t i = 0; i + 1 < sizeof(text) - 1; i++) {
        assert_int_equal(write(fd, text + i, 1), 1);
        if (i % 8 == 0) env_sleep_ms(env_real(), 1);
    }
    contains(talk(fd, "c", "abc"), "POST /slow? host=h abc");
    close(fd);
}

static void any_token_is_a_method(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "FOO-1 /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "ab"), "FOO-1 /x? host=h ab");
    contains(talk(fd, "get /y HTTP/1.1\r\nHost: h\r\n\r\nGET /z HTTP/1.1\r\nHost: h\r\n\r\n", "/z?"), "get /y?");
    contains(talk(fd, "GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nFOO /v HTTP/1.1\r\nHost: h\r\n\r\n", "/v?"), "FOO /v?");
    static const char split[] = "FOO /w HTTP/1.1\r\nHost: h\r\n\r\n";
    for (size_t i = 0; i + 1 < sizeof(split); i++) {
        assert_int_equal(write(fd, split + i, 1), 1);
        if (i < 6) env_sleep_ms(env_real(), 2);
    }
    contains(talk(fd, "", "/w?"), "FOO /w?");
    contains(talk(fd, "F@O / HTTP/1.1\r\nHost: h\r\n\r\n", NULL), "400 Bad Request");
    close(fd);
}

static void a_chunked_body_is_put_together(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n", "abcde"),
        "host=h abcde");
    contains(talk(fd, "GET /next HTTP/1.1\r\nHost: h2\r\n\r\n", "host="), "host=h2");
    close(fd);
}

static void a_body_over_the_limit_is_not_read(void **state UNUSED) {
    static const char *const announced = "POST /d HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 100000000\r\n\r\n";
    int fd = dial();
    const char *got = talk(fd, announced, NULL);
    contains(got, "HTTP/1.1 413 ");
    contains(got, "Connection: close");
    assert_null(strstr(got, "100 Continue"));
    close(fd);
    char chunked[2000] = "POST /d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n";
    memset(chunked + strlen(chunked), 'x', 1500);
    fd = dial();
    contains(talk(fd, chunked, NULL), "HTTP/1.1 413 ");
    close(fd);
}

static void a_client_that_waits_for_100_is_told_to_go_on(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", "100 Continue\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n");
    contains(talk(fd, "body", "body"), "host=h body");
    contains(talk(fd, "GET / HTTP/1.1\r\nHost: h\r\nExpect: a miracle\r\n\r\n", NULL), "HTTP/1.1 417 Expectation Failed");
    close(fd);
}

static void streams_are_chunked(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n0\r\n\r\n"), "4\r\npart\r\n4\r\npart\r\n4\r\npart\r\n0\r\n\r\n");
    const char *got = talk(fd, "GET /sized HTTP/1.1\r\nHost: h\r\n\r\n", "partpartpart");
    contains(got, "Content-Length: 12\r\n");
    assert_null(strstr(got, "chunked"));
    contains(talk(fd, "GET /after HTTP/1.1\r\nHost: h\r\n\r\n", "/after"), "GET /after");
    contains(talk(fd, "GET /oversized HTTP/1.1\r\nHost: h\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n", NULL), "Content-Length: 13\r\n");
    assert_null(strstr(talk(fd, "", NULL), "never"));
    close(fd);
}

static void http_1_0_gets_neither_chunks_nor_a_kept_connection_unasked(void **state UNUSED) {
    int fd = dial();
    const char *got = talk(fd, "GET /stream HTTP/1.0\r\n\r\n", NULL);
    contains(got, "\r\n\r\npartpartpart");
    assert_null(strstr(got, "chunked"));
    close(fd);
    fd = dial();
    contains(talk(fd, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "/a?"), "Connection: keep-alive");
    contains(talk(fd, "GET /b HTTP/1.0\r\n\r\n", NULL), "Connection: close");
    close(fd);
}

static void a_head_request_gets_headers_alone(void **state UNUSED) {
    int fd = dial();
    const char *got = talk(fd, "HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", NULL);
    contains(got, "Content-Length: ");
    assert_int_equal(strlen(strstr(got, "\r\n\r\n")), 4);
    close(fd);
}

static void a_handler_that_does_not_answer_gets_500(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n\r\n"), "HTTP/1.1 500 Internal Server Error");
    close(fd);
}

static void a_watcher_that_leaves_is_noticed(void **state UNUSED) {
    int before = atomic_load(&closed_streams), fd = dial();
    contains(talk(fd, "GET /watch HTTP/1.1\r\nHost: h\r\n\r\n", "begun"), "begun");
    close(fd);
    assert_true(soon(&closed_streams, before + 1));
}

static void a_client_that_has_ended_its_half_is_still_answered(void **state UNUSED) {
    int fd = dial();
    assert_int_equal(write(fd, "GET /sleep HTTP/1.1\r\nHost: h\r\n\r\n", 33), 33);
    shutdown(fd, SHUT_WR);
    contains(talk(fd, "", NULL), "GET /sleep?");
    close(fd);
}

static void a_reader_that_stalls_costs_the_backlog_and_is_drained_later(void **state UNUSED) {
    int before = atomic_load(&drained_streams), fd = dial();
    contains(talk(fd, "GET /much HTTP/1.1\r\nHost: h\r\n\r\n", "m"), "200 OK");
    assert_true(atomic_load(&backlog_seen) > (size_t)(BLOCKS - 1) * BLOCK_BYTES);
    env_sleep_ms(env_real(), 30);
    assert_int_equal(atomic_load(&drained_streams), before);
    close(fd);
    fd = dial();
    assert_int_equal(write(fd, "GET /much HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 50), 50);
    assert_true(drink(fd) > (size_t)BLOCKS * BLOCK_BYTES);
    assert_true(soon(&drained_streams, before + 1));
    close(fd);
}

static void a_reader_that_stalls_can_be_cut(void **state UNUSED) {
    int fd = dial();
    assert_int_equal(write(fd, "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n", 31), 31);
    env_sleep_ms(env_real(), 60);
    assert_true(drink(fd) < (size_t)BLOCKS * BLOCK_BYTES);
    close(fd);
}

static void a_writer_can_wait_for_its_reader(void **state UNUSED) {
    int fd = dial();
    assert_int_equal(write(fd, "GET /polite HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 52), 52);
    env_sleep_ms(env_real(), 20);
    assert_true(drink(fd) > 5000000);
    close(fd);
}

static void an_upgraded_connection_carries_bytes(void **state UNUSED) {
    int before = atomic_load(&closed_streams), fd = dial();
    contains(talk(fd, "GET /raw HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly", "early"), "101 Switching Protocols");
    contains(talk(fd, "late", "late"), "late");
    shutdown(fd, SHUT_WR);
    assert_string_equal(talk(fd, "", NULL), "");
    assert_true(soon(&closed_streams, before + 1));
    close(fd);
    fd = dial();
    contains(talk(fd, "GET /raw HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n\r\n"), "400 Bad Request");
    close(fd);
}

static void a_refused_upgrade_leaves_the_connection_usable(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 0\r\n\r\n", "host=h"), "POST /a?");
    contains(talk(fd, "GET /b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n", "GET /c"), "GET /b?");
    close(fd);
}

static void an_upgrade_that_is_not_taken_up_leaves_the_connection_as_it_was(void **state UNUSED) {
    int fd = dial();
    const char *got = talk(fd, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", "/b?");
    contains(got, "GET /a?");
    contains(talk(fd, "GET /c HTTP/1.1\r\nHost: h\r\n\r\n", "/c?"), "GET /c? host=h");
    close(fd);
}

static void nonsense_is_refused_as_go_does(void **state UNUSED) {
    static const struct { const char *request, *answer; } bad[] = {
        {"NONSENSE\r\n\r\n", "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 Not Implemented\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\nName : value\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: h\r\n folded: value\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\nHost: h\n\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\n\r\n", "\r\n\r\n400 Bad Request: missing required Host header"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "\r\n\r\n400 Bad Request: too many Host headers"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int fd = dial();
        contains(talk(fd, bad[i].request, NULL), bad[i].answer);
        close(fd);
    }
}

static void headers_over_the_limit_are_refused(void **state UNUSED) {
    char request[16000] = "GET / HTTP/1.1\r\nHost: h\r\nX-Long: ";
    memset(request + strlen(request), 'x', 9000);
    int fd = dial();
    contains(talk(fd, request, NULL), "HTTP/1.1 431 Request Header Fields Too Large");
    close(fd);
    memset(request, 0, sizeof(request));
    strcpy(request, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 1000; i++) strcat(request, "A: bcdef\r\n");
    fd = dial();
    contains(talk(fd, request, NULL), "HTTP/1.1 431 Request Header Fields Too Large");
    close(fd);
}

static void those_who_are_slow_to_ask_are_cut(void **state UNUSED) {
    static const char *const begun[] = {"", "GE", "GET / HTTP/1.1\r\nHost: h\r\nX-", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"};
    int fds[ARRAY_LEN(begun)];
    int64_t before = env_mono_ns(env_real());
    for (size_t i = 0; i < ARRAY_LEN(begun); i++) {
        fds[i] = dial();
        if (*begun[i]) assert_int_equal(write(fds[i], begun[i], strlen(begun[i])), (ssize_t)strlen(begun[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(begun); i++) {
        assert_string_equal(talk(fds[i], "", NULL), "");
        assert_true(env_mono_ns(env_real()) - before < 2500000000);
        close(fds[i]);
    }
}

static void an_idle_connection_is_closed_after_a_while(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "host=h"), "200 OK");
    env_sleep_ms(env_real(), 600);
    contains(talk(fd, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", "host=h"), "200 OK");
    int64_t before = env_mono_ns(env_real());
    assert_string_equal(talk(fd, "", NULL), "");
    assert_in_range(env_mono_ns(env_real()) - before, 1000000000, 2900000000);
    close(fd);
}

static void a_port_is_not_shared(void **state UNUSED) {
    struct http_server_options o = {.bind_address = "127.0.0.1", .port = http_server_port(server), .handler = handler};
    _cleanup_status_ struct status st = STATUS_INIT;
    assert_null(http_server_new(&o, &st));
    contains(status_message(&st), "Address already in use");
}

static void a_stop_lets_running_requests_finish(void **state UNUSED) {
    struct http_server *first = server;
    assert_int_equal(start(NULL), 0);
    int fd = dial();
    assert_int_equal(write(fd, "GET /sleep HTTP/1.1\r\nHost: h\r\n\r\n", 33), 33);
    env_sleep_ms(env_real(), 8);
    int64_t before = env_mono_ns(env_real());
    http_server_free(server, 2000);
    assert_true(env_mono_ns(env_real()) - before < 1900000000);
    contains(talk(fd, "", NULL), "GET /sleep?");
    close(fd);
    server = first;
}

static void connections_over_the_limit_are_turned_away(void **state UNUSED) {
    struct http_server *first = server;
    struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 2, .conns_max = 2, .handler = handler};
    server = http_server_new(&o, NULL);
    int fds[3] = {dial(), dial(), dial()}, answered = 0;
    for (int i = 0; i < 3; i++) {
        static const char request[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        if (send(fds[i], request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 && strstr(talk(fds[i], "", "host=h"), "200 OK")) answered++;
    }
    assert_int_equal(answered, 2);
    for (int i = 0; i < 3; i++) close(fds[i]);
    http_server_free(server, 100);
    server = first;
}

static atomic_int answers_begun, answers_ended, whole_answers;

static void note_answer(struct http_request *req UNUSED, int code UNUSED, const struct http_header *headers UNUSED, size_t headers_len UNUSED, const struct http_slice *body UNUSED, size_t body_len UNUSED, bool stream) {
    atomic_fetch_add(stream ? &answers_begun : &whole_answers, 1);
}

static void note_end(struct http_request *req) {
    assert_non_null(req->path);
    atomic_fetch_add(&answers_ended, 1);
}

/* Whoever watches answers hears of each stream's end once: of one that was written to its end, of one that was cut, of an upgraded connection. */
static void the_ends_of_streams_are_told(void **state UNUSED) {
    struct http_server *first = server;
    struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 2, .handler = handler, .on_answer = note_answer, .on_end = note_end};
    server = http_server_new(&o, NULL);
    int fd = dial();
    contains(talk(fd, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "host=h"), "200 OK");
    assert_int_equal(write(fd, "GET /polite HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 52), 52);
    assert_true(drink(fd) > 5000000);
    close(fd);
    assert_true(soon(&answers_ended, 1));
    fd = dial();
    assert_int_equal(write(fd, "GET /polite HTTP/1.1\r\nHost: h\r\n\r\n", 33), 33);
    assert_true(soon(&answers_begun, 2));
    close(fd);
    assert_true(soon(&answers_ended, 2));
    fd = dial();
    contains(talk(fd, "GET /raw HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly", "early"), "101 Switching Protocols");
    assert_int_equal(atomic_load(&answers_begun), 3);
    assert_int_equal(atomic_load(&answers_ended), 2);
    close(fd);
    assert_true(soon(&answers_ended, 3));
    http_server_free(server, 500);
    server = first;
    assert_int_equal(atomic_load(&answers_begun), 3);
    assert_int_equal(atomic_load(&answers_ended), 3);
    assert_int_equal(atomic_load(&whole_answers), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ends_of_streams_are_told),
        cmocka_unit_test(requests_are_answered_in_order_on_one_connection),
        cmocka_unit_test(hundreds_of_requests_in_one_write_are_all_answered),
        cmocka_unit_test(a_request_may_come_byte_by_byte),
        cmocka_unit_test(any_token_is_a_method),
        cmocka_unit_test(a_chunked_body_is_put_together),
        cmocka_unit_test(a_body_over_the_limit_is_not_read),
        cmocka_unit_test(a_client_that_waits_for_100_is_told_to_go_on),
        cmocka_unit_test(streams_are_chunked),
        cmocka_unit_test(http_1_0_gets_neither_chunks_nor_a_kept_connection_unasked),
        cmocka_unit_test(a_head_request_gets_headers_alone),
        cmocka_unit_test(a_handler_that_does_not_answer_gets_500),
        cmocka_unit_test(a_watcher_that_leaves_is_noticed),
        cmocka_unit_test(a_client_that_has_ended_its_half_is_still_answered),
        cmocka_unit_test(a_reader_that_stalls_costs_the_backlog_and_is_drained_later),
        cmocka_unit_test(a_reader_that_stalls_can_be_cut),
        cmocka_unit_test(a_writer_can_wait_for_its_reader),
        cmocka_unit_test(an_upgraded_connection_carries_bytes),
        cmocka_unit_test(a_refused_upgrade_leaves_the_connection_usable),
        cmocka_unit_test(an_upgrade_that_is_not_taken_up_leaves_the_connection_as_it_was),
        cmocka_unit_test(nonsense_is_refused_as_go_does),
        cmocka_unit_test(headers_over_the_limit_are_refused),
        cmocka_unit_test(those_who_are_slow_to_ask_are_cut),
        cmocka_unit_test(an_idle_connection_is_closed_after_a_while),
        cmocka_unit_test(a_port_is_not_shared),
        cmocka_unit_test(a_stop_lets_running_requests_finish),
        cmocka_unit_test(connections_over_the_limit_are_turned_away),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
