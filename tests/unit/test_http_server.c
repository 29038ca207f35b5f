/* wire/http_server: HTTP/1.1 over a plain socket, byte for byte; HTTP/2 and TLS are driven by kubectl in the integration tests. */
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

static atomic_int closed_streams;

static void count_close(void *arg) {
    atomic_fetch_add(&closed_streams, 1);
    http_request_unref(arg);
}

static struct http_stream *raw;

static void echo_raw(void *arg UNUSED, const char *data, size_t len) { http_stream_write(raw, data, len); }
static void raw_closed(void *arg UNUSED) { atomic_fetch_add(&closed_streams, 1); }

static void handler(struct http_request *req, void *ctx UNUSED) {
    const struct http_header text[] = {{"Content-Type", "text/plain"}};
    if (strcmp(req->path, "/sleep") == 0) fiber_sleep_ms(20);
    if (strcmp(req->path, "/stream") == 0) {
        http_response_begin(req, 200, text, 1);
        for (int i = 0; i < 3; i++) {
            http_response_write(req, "part", 4);
            fiber_sleep_ms(5);
        }
        http_response_end(req);
    } else if (strcmp(req->path, "/watch") == 0) {
        http_response_begin(req, 200, text, 1);
        http_response_write(req, "begun", 5);
        http_request_on_close(http_request_ref(req), count_close, req);
    } else if (strcmp(req->path, "/raw") == 0) {
        const struct http_header up[] = {{"Connection", "Upgrade"}, {"Upgrade", "echo"}};
        const struct http_stream_handler h = {.on_data = echo_raw, .on_close = raw_closed};
        raw = http_upgrade(req, up, 2, NULL);
        if (raw) http_stream_start(raw, &h);
    } else {
        char *head = arena_printf(req->arena, "%s %s?%s big=%d host=%s ", req->method, req->path, req->query, req->body_too_large, http_request_header(req, "HOST"));
        struct http_slice body[] = {{head, strlen(head)}, {req->body, req->body_len}};
        http_respond(req, 200, text, 1, body, 2);
    }
}

static struct http_server *server;

static int start(void **state UNUSED) {
    struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 2, .body_bytes_max = 1000, .handler = handler};
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

/* Sends, then reads until `until` has been seen, the peer closes, or a second has passed. */
static const char *talk(int fd, const char *send, const char *until) {
    static char got[8192];
    size_t len = 0;
    if (*send) assert_int_equal(write(fd, send, strlen(send)), (ssize_t)strlen(send));
    got[0] = 0;
    while (!(until && strstr(got, until))) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 1000) != 1) break;
        ssize_t n = read(fd, got + len, sizeof(got) - 1 - len);
        if (n <= 0) break;
        len += (size_t)n;
        got[len] = 0;
    }
    return got;
}

static void contains(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no \"%s\" in \"%s\"", part, text);
}

static void requests_are_answered_in_order_on_one_connection(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\n", "host=h"), "GET /a?x=1 big=0 host=h");
    const char *got = talk(fd, "GET /sleep HTTP/1.1\r\nHost: 1\r\n\r\nPOST /b HTTP/1.1\r\nHost: 2\r\nContent-Length: 5\r\n\r\nhello", "hello");
    contains(got, "GET /sleep?");
    assert_true(strstr(got, "/sleep") < strstr(got, "POST /b? big=0 host=2 hello"));
    close(fd);
}

static void a_chunked_body_is_put_together(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"), "host=h abcde");
    close(fd);
}

static void a_body_over_the_limit_is_not_read(void **state UNUSED) {
    int fd = dial();
    char request[1400] = "POST /d HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n";
    memset(request + strlen(request), 'x', 1200);
    const char *got = talk(fd, request, NULL);
    contains(got, "big=1");
    contains(got, "Connection: close");
    close(fd);
}

static void streams_are_chunked(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n0\r\n\r\n"), "4\r\npart\r\n4\r\npart\r\n4\r\npart\r\n0\r\n\r\n");
    contains(talk(fd, "GET /after HTTP/1.1\r\nHost: h\r\n\r\n", "/after"), "GET /after");
    close(fd);
}

static void a_watcher_that_leaves_is_noticed(void **state UNUSED) {
    int before = atomic_load(&closed_streams), fd = dial();
    contains(talk(fd, "GET /watch HTTP/1.1\r\nHost: h\r\n\r\n", "begun"), "begun");
    close(fd);
    for (int i = 0; i < 100 && atomic_load(&closed_streams) == before; i++) env_sleep_ms(env_real(), 10);
    assert_int_equal(atomic_load(&closed_streams), before + 1);
}

static void an_upgraded_connection_carries_bytes(void **state UNUSED) {
    int fd = dial();
    contains(talk(fd, "GET /raw HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly", "early"), "101 Switching Protocols");
    contains(talk(fd, "late", "late"), "late");
    close(fd);
}

static void nonsense_is_refused_as_go_does(void **state UNUSED) {
    static const char *const bad[] = {"NONSENSE\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int fd = dial();
        contains(talk(fd, bad[i], NULL), "HTTP/1.1 400 Bad Request");
        close(fd);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_in_order_on_one_connection), cmocka_unit_test(a_chunked_body_is_put_together),
        cmocka_unit_test(a_body_over_the_limit_is_not_read),                cmocka_unit_test(streams_are_chunked),
        cmocka_unit_test(a_watcher_that_leaves_is_noticed),                 cmocka_unit_test(an_upgraded_connection_carries_bytes),
        cmocka_unit_test(nonsense_is_refused_as_go_does),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
