/* wire/upstream and wire/upstream_proxy: a front server passes what it is asked to a back server, plain and over TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/fiber.h"
#include "wire/upstream_proxy.h"

static struct http_server *front, *back, *secure;
static char cert_file[] = "/tmp/test_upstream_cert_XXXXXX", key_file[] = "/tmp/test_upstream_key_XXXXXX";

/* ---- a self-signed certificate for 127.0.0.1 ---- */

static void make_certificate(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(cert, san, -1);
    X509_EXTENSION_free(san);
    X509_sign(cert, key, EVP_sha256());
    FILE *f = fdopen(mkstemp(cert_file), "w");
    PEM_write_X509(f, cert);
    fclose(f);
    f = fdopen(mkstemp(key_file), "w");
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* ---- the back server: answers in several ways ---- */

enum { LARGE_BYTES = 3 << 20 };
static atomic_int gone;

static void count_gone(void *arg) {
    atomic_fetch_add(&gone, 1);
    http_request_unref(arg);
}

struct echo { struct http_stream *stream; };
static void echo_data(void *arg, const char *data, size_t len) { http_stream_write(((struct echo *)arg)->stream, data, len); }
static void echo_eof(void *arg) {
    http_stream_write(((struct echo *)arg)->stream, "bye", 3);
    http_stream_shutdown(((struct echo *)arg)->stream);
}
static void echo_close(void *arg) { free(arg); }

static void serve_large(struct http_request *req) {
    char *bytes = malloc(LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i++) bytes[i] = (char)('a' + i % 23);
    struct shared *block = shared_new(bytes, LARGE_BYTES);
    free(bytes);
    const struct http_slice body = {NULL, 0, block};
    http_respond(req, 200, NULL, 0, &body, 1);
    shared_unref(block);
}

static void back_handler(struct http_request *req, void *ctx UNUSED) {
    const struct http_header text[] = {{"Content-Type", "text/plain"}, {"X-Back", "yes"}};
    if (strcmp(req->path, "/stream") == 0) {
        http_response_begin(req, 200, text, 2);
        for (int i = 0; i < 3; i++) {
            http_response_write(req, "part", 4);
            fiber_sleep_ms(2);
        }
        http_response_end(req);
    } else if (strcmp(req->path, "/endless") == 0) {
        http_response_begin(req, 200, text, 2);
        http_response_write(req, "begun", 5);
        http_request_on_close(http_request_ref(req), count_gone, req);
    } else if (strcmp(req->path, "/cut") == 0) {
        http_response_begin(req, 200, text, 2);
        http_response_write(req, "begun", 5);
        fiber_sleep_ms(5);
        http_request_abort(req);
    } else if (strcmp(req->path, "/silent") == 0) fiber_sleep_ms(1500);
    else if (strcmp(req->path, "/large") == 0) serve_large(req);
    else if (strcmp(req->path, "/none") == 0) http_respond(req, 204, text, 2, NULL, 0);
    else if (req->upgrade) {
        const struct http_header up[] = {{"Connection", "Upgrade"}, {"Upgrade", "echo"}};
        struct echo *e = malloc(sizeof(*e));
        e->stream = http_upgrade(req, up, 2, NULL);
        const struct http_stream_handler h = {.on_data = echo_data, .on_eof = echo_eof, .on_close = echo_close, .arg = e};
        http_stream_start(e->stream, &h);
    } else {
        const char *forwarded = http_request_header(req, "X-Forwarded-For"), *auth = http_request_header(req, "Authorization"),
            *added = http_request_header(req, "X-Added");
        char *head = arena_printf(req->arena, "%s %s?%s for=%s auth=%s added=%s ", req->method, req->path, req->query, forwarded ? forwarded : "", auth
            ? auth : "", added ? added : "");
        const struct http_slice body[] = {{head, strlen(head), NULL}, {req->body, req->body_len, NULL}};
        http_respond(req, 200, text, 2, body, 2);
    }
}

/* ---- the front server: passes on ---- */

static struct upstream_tls *trusting;

static void front_handler(struct http_request *req, void *ctx UNUSED) {
    const struct http_header added[] = {{"X-Added", "1"}};
    bool tls = strncmp(req->path, "/tls", 4) == 0, refused = strcmp(req->path, "/refused") == 0;
    struct proxy_target t = {.host = "127.0.0.1", .port = refused ? 1 : http_server_port(tls ? secure : back), .tls = tls ? trusting : NULL,
        .headers = added, .headers_len = 1,
                             .target = arena_printf(req->arena, "%s%s%s", tls ? req->path + 4 : req->path, *req->query ? "?" : "", req->query),
                                 .head_timeout_ms = 1000};
    _cleanup_status_ struct status st = STATUS_INIT;
    if (proxy_request(req, &t, &st) == 0) return;
    const struct http_slice body = {status_message(&st), strlen(status_message(&st)), NULL};
    http_respond(req, st.code, NULL, 0, &body, 1);
}

static int start(void **state UNUSED) {
    make_certificate();
    struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 2, .body_bytes_max = 4 << 20, .handler = back_handler};
    back = http_server_new(&o, NULL);
    o.cert_file = cert_file;
    o.key_file = key_file;
    secure = http_server_new(&o, NULL);
    o.cert_file = NULL;
    o.handler = front_handler;
    front = http_server_new(&o, NULL);
    trusting = upstream_tls_new(&(struct upstream_tls_options){.ca_file = cert_file}, NULL);
    return back && secure && front && trusting ? 0 : -1;
}

static int stop(void **state UNUSED) {
    http_server_free(front, 200);
    http_server_free(secure, 200);
    http_server_free(back, 200);
    upstream_tls_unref(trusting);
    unlink(cert_file);
    unlink(key_file);
    return 0;
}

/* ---- a blocking client ---- */

static int dial(void) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(front)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

/* Sends, then reads until `until` has been seen, the peer closes, or two seconds have passed. */
static const char *talk(int fd, const char *send, const char *until) {
    static char got[LARGE_BYTES + 4096];
    size_t len = 0;
    if (*send) assert_int_equal(write(fd, send, strlen(send)), (ssize_t)strlen(send));
    got[0] = 0;
    while (!(until && strstr(got, until))) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 2000) != 1) break;
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

static const char *ask(const char *request, const char *until) {
    int fd = dial();
    const char *got = talk(fd, request, until);
    close(fd);
    return got;
}

static void a_request_is_passed_on_and_its_answer_back(void **state UNUSED) {
    const char *got = ask("POST /a/b?x=%20y HTTP/1.1\r\nHost: h\r\nAuthorization: secret\r\nX-Drop: 1\r\nConnection: X-Drop\r\nContent-Length: 4\r\n\r\nbody", "body");
    contains(got, "HTTP/1.1 200 OK");
    contains(got, "X-Back: yes");
    contains(got, "POST /a/b?x=%20y for=127.0.0.1 auth= added=1 body");
}

static void the_same_over_tls(void **state UNUSED) { contains(ask("GET /tls/a HTTP/1.1\r\nHost: h\r\n\r\n", "added=1"), "GET /a? for=127.0.0.1"); }

static void a_stream_is_passed_on_as_it_comes(void **state UNUSED) {
    contains(ask("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", "0\r\n\r\n"), "4\r\npart\r\n");
    contains(ask("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n", "begun"), "begun");
}

static void a_client_that_leaves_ends_the_upstream_request(void **state UNUSED) {
    int before = atomic_load(&gone);
    ask("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n", "begun");
    for (int i = 0; i < 6000 && atomic_load(&gone) == before; i++) env_sleep_ms(env_real(), 5);
    assert_true(atomic_load(&gone) > before);
}

static void a_large_answer_arrives_whole(void **state UNUSED) {
    static const char *const requests[] = {"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /tls/large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        const char *got = ask(requests[i], NULL), *body = strstr(got, "\r\n\r\n");
        contains(got, "Content-Length: 3145728");
        assert_non_null(body);
        assert_int_equal(strlen(body + 4), LARGE_BYTES);
        for (size_t j = 0; j < LARGE_BYTES; j += 997) assert_int_equal(body[4 + j], 'a' + j % 23);
    }
}

static void an_answer_without_a_body_has_none(void **state UNUSED) {
    contains(ask("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n\r\n"), "204 No Content");
    const char *got = ask("HEAD /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", NULL);
    contains(got, "Content-Length: 3145728");
    assert_int_equal(strlen(strstr(got, "\r\n\r\n")), 4);
}

static void an_answer_cut_short_is_not_made_to_look_whole(void **state UNUSED) {
    const char *got = ask("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
    contains(got, "begun");
    assert_null(strstr(got, "0\r\n\r\n"));
}

static void failures_are_named_as_go_does(void **state UNUSED) {
    contains(ask("GET /refused HTTP/1.1\r\nHost: h\r\n\r\n", "refused"), "dial tcp 127.0.0.1:1: connect: connection refused");
    const char *got = ask("GET /silent HTTP/1.1\r\nHost: h\r\n\r\n", "timeout");
    contains(got, "504 Gateway Timeout");
    contains(got, "i/o timeout");
}

static void an_upgraded_connection_is_spliced(void **state UNUSED) {
    static const char *const requests[] = {"GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly",
                                           "GET /tls/up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly"};
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        int fd = dial();
        const char *got = talk(fd, requests[i], "early");
        contains(got, "101 Switching Protocols");
        contains(got, "Upgrade: echo");
        contains(got, "early");
        contains(talk(fd, "late", "late"), "late");
        shutdown(fd, SHUT_WR); /* passes through to the echo, whose last word comes back */
        assert_string_equal(talk(fd, "", NULL), "bye");
        close(fd);
    }
}

/* Pushes megabytes into an upgraded connection without reading: nothing is lost, and what is in between stays bounded. */
static void a_splice_holds_back_a_fast_sender(void **state UNUSED) {
    enum { TOTAL = 8 << 20 };
    int fd = dial();
    contains(talk(fd, "GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly", "early"), "101");
    static char piece[64 << 10];
    memset(piece, 'z', sizeof(piece));
    size_t sent = 0, received = 0;
    for (int idle = 0; received < TOTAL && idle < 4;) {
        struct pollfd p = {fd, (short)((sent < TOTAL ? POLLOUT : 0) | (sent == TOTAL ? POLLIN : 0)), 0};
        if (poll(&p, 1, 500) == 0) {
            idle++;
            p.events = POLLIN; /* everything in between is full: begin to read */
            if (poll(&p, 1, 500) != 1) continue;
        }
        if (p.revents & POLLIN) {
            ssize_t n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
            assert_true(n > 0);
            for (ssize_t i = 0; i < n; i += 1000) assert_int_equal(piece[i], 'z');
            received += (size_t)n;
            idle = 0;
        }
        if (p.revents & POLLOUT) {
            memset(piece, 'z', sizeof(piece));
            ssize_t n = send(fd, piece, MIN(sizeof(piece), TOTAL - sent), MSG_DONTWAIT);
            if (n > 0) sent += (size_t)n;
        }
    }
    assert_int_equal(received, TOTAL);
    close(fd);
}

/* ---- the client by itself ---- */

struct checked { struct upstream_tls *tls; int code; char message[256]; };

static void connect_here(void *arg) {
    struct checked *c = arg;
    _cleanup_status_ struct status st = STATUS_INIT;
    struct upstream *u = upstream_connect("127.0.0.1", http_server_port(secure), c->tls, 2000, &st);
    c->code = st.code;
    snprintf(c->message, sizeof(c->message), "%s", status_message(&st));
    upstream_free(u);
}

static void an_unknown_authority_is_refused(void **state UNUSED) {
    struct checked c = {.tls = upstream_tls_new(&(struct upstream_tls_options){0}, NULL)};
    loop_call(http_server_loop(front, 0), connect_here, &c);
    assert_string_equal(c.message, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
    upstream_tls_unref(c.tls);
    c.tls = upstream_tls_new(&(struct upstream_tls_options){.insecure = true}, NULL);
    loop_call(http_server_loop(front, 0), connect_here, &c);
    assert_int_equal(c.code, 0);
    upstream_tls_unref(c.tls);
    c.tls = upstream_tls_new(&(struct upstream_tls_options){.ca_file = cert_file, .server_name = "other.example"}, NULL);
    loop_call(http_server_loop(front, 0), connect_here, &c);
    contains(c.message, "x509: certificate is not valid for");
    upstream_tls_unref(c.tls);
}

static void two_on_one_connection(void *arg) {
    struct arena *a = arena_new();
    struct buf body = BUF_INIT;
    struct upstream *u = upstream_connect("localhost", http_server_port(back), NULL, 2000, NULL);
    struct upstream_response answer;
    int *done = arg;
    for (int i = 0; u && i < 2; i++) {
        struct upstream_request ask = {.method = "GET", .target = "/stream"};
        if (upstream_request(u, &ask, 1000, a, &answer, NULL) == 0 && upstream_read_all(u, &body, 1000, 1000, NULL) == 0 && upstream_reusable(u)) ++*done;
    }
    if (!strcmp(buf_cstr(&body), "partpartpartpartpartpart")) ++*done;
    if (u) upstream_free(u);
    buf_release(&body);
    arena_free(a);
}

static void a_connection_can_be_used_again(void **state UNUSED) {
    int done = 0;
    loop_call(http_server_loop(front, 1), two_on_one_connection, &done);
    assert_int_equal(done, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_passed_on_and_its_answer_back),
        cmocka_unit_test(the_same_over_tls),
        cmocka_unit_test(a_stream_is_passed_on_as_it_comes),
        cmocka_unit_test(a_client_that_leaves_ends_the_upstream_request),
        cmocka_unit_test(a_large_answer_arrives_whole),
        cmocka_unit_test(an_answer_without_a_body_has_none),
        cmocka_unit_test(an_answer_cut_short_is_not_made_to_look_whole),
        cmocka_unit_test(failures_are_named_as_go_does),
        cmocka_unit_test(an_upgraded_connection_is_spliced),
        cmocka_unit_test(a_splice_holds_back_a_fast_sender),
        cmocka_unit_test(an_unknown_authority_is_refused),
        cmocka_unit_test(a_connection_can_be_used_again),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
