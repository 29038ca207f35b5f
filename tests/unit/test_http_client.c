/* wire/http_client against a server that plays scripts byte for byte, and against wire/http_server over TLS with client certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/env.h"
#include "base/str.h"
#include "wire/http_client.h"
#include "wire/http_client_redirect.h"
#include "wire/http_server.h"
#include "wire/x509.h"

/* ---- a server that plays a script: per connection, one answer for each request head, then an end. "HOLD": says nothing until the client leaves ---- */

struct script { const char *answers[4]; };
struct player {
    int fd, port;
    const struct script *scripts;
    size_t scripts_len;
    pthread_t thread;
    char seen[8192]; /* all requests */
    atomic_int accepted;
};

static bool read_head(int fd, char *to, size_t size) {
    size_t len = 0;
    while (len + 1 < size) {
        ssize_t n = read(fd, to + len, size - 1 - len);
        if (n <= 0) return false;
        len += (size_t)n;
        to[len] = 0;
        if (strstr(to, "\r\n\r\n")) return true;
    }
    return false;
}

static void *play(void *arg) {
    struct player *p = arg;
    for (size_t i = 0; i < p->scripts_len; i++) {
        int fd = accept(p->fd, NULL, NULL);
        if (fd < 0) break;
        atomic_fetch_add(&p->accepted, 1);
        for (size_t j = 0; j < 4 && p->scripts[i].answers[j]; j++) {
            char head[4096] = "", c;
            if (!read_head(fd, head, sizeof(head))) break;
            strncat(p->seen, head, sizeof(p->seen) - strlen(p->seen) - 1);
            const char *answer = p->scripts[i].answers[j];
            if (strcmp(answer, "HOLD") == 0) (void)!read(fd, &c, 1);
            else (void)!write(fd, answer, strlen(answer));
        }
        close(fd);
    }
    return NULL;
}

static struct player *player_start(const struct script *scripts, size_t len, const char *unix_path) {
    struct player *p = calloc(1, sizeof(*p));
    p->scripts = scripts;
    p->scripts_len = len;
    if (unix_path) {
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", unix_path);
        unlink(unix_path);
        p->fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(bind(p->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    } else {
        struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t sa_len = sizeof(sa);
        p->fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(p->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
        getsockname(p->fd, (struct sockaddr *)&sa, &sa_len);
        p->port = ntohs(sa.sin_port);
    }
    assert_int_equal(listen(p->fd, 8), 0);
    pthread_create(&p->thread, NULL, play, p);
    return p;
}

static void player_stop(struct player *p) {
    shutdown(p->fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->fd);
    free(p);
}

static struct http_client *client_to(int port) {
    struct http_client_options o = {.host = "127.0.0.1", .port = port, .user_agent = "test"};
    struct http_client *c = http_client_new(&o, NULL);
    assert_non_null(c);
    return c;
}

static void bodies_are_read_whatever_their_framing(void **state UNUSED) {
    static const struct { const char *answer, *body, *error; } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello", NULL},
        {"HTTP/1.1 200 OK\r\n\r\nuntil close", "until close", NULL},
        {"HTTP/1.0 200 OK\r\n\r\nold", "old", NULL},
        {"HTTP/1.1 204 No Content\r\n\r\n", "", NULL},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", NULL},
        {"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok", "ok", NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", NULL, "unexpected EOF"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhe", NULL, "unexpected EOF"},
        {"nonsense\r\n\r\n", NULL, "malformed HTTP response"},
        {"", NULL, "EOF"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s = {{cases[i].answer}};
        struct player *p = player_start(&s, 1, NULL);
        struct http_client *c = client_to(p->port);
        struct http_reply *r = NULL;
        struct status err = STATUS_INIT;
        int failed = http_client_call(c, &(struct http_call){.target = "/x", .timeout_ms = 2000}, &r, &err);
        if (cases[i].error) {
            assert_int_equal(failed, -1);
            assert_int_equal(err.code, 502);
            if (!strstr(err.message, cases[i].error) || !strstr(err.message, "Get \"http://127.0.0.1:")) fail_msg("case %zu: %s", i, err.message);
        } else {
            if (failed) fail_msg("case %zu: %s", i, status_message(&err));
            assert_string_equal(r->body, cases[i].body);
        }
        http_reply_free(r);
        http_client_free(c);
        player_stop(p);
        status_release(&err);
    }
}

static int give_token(void *ctx, struct buf *ret, struct status *reterr UNUSED) {
    buf_append_str(ret, ctx);
    return 0;
}

static void a_request_carries_what_it_was_given(void **state UNUSED) {
    char token[] = "secret";
    struct script s = {{"HTTP/1.1 201 Created\r\nX-a: 1\r\nContent-Length: 0\r\n\r\n"}};
    struct player *p = player_start(&s, 1, NULL);
    struct http_client_options o = {.host = "127.0.0.1", .port = p->port, .host_header = "example", .bearer_token = give_token, .bearer_token_ctx = token};
    struct http_client *c = http_client_new(&o, NULL);
    const struct http_header headers[] = {{"Accept", "text/*"}, {"User-Agent", ""}};
    struct http_reply *r = NULL;
    assert_int_equal(http_client_call(c, &(struct http_call){.method = "POST", .target = "/y?z=1", .headers = headers, .headers_len = 2, .body = "abc", .body_len = 3}, &r, NULL), 0);
    assert_int_equal(r->code, 201);
    assert_string_equal(r->reason, "Created");
    assert_string_equal(http_reply_header(r, "x-A"), "1");
    http_reply_free(r);
    assert_string_equal(p->seen, "POST /y?z=1 HTTP/1.1\r\nHost: example\r\nAccept: text/*\r\nAuthorization: Bearer secret\r\nContent-Length: 3\r\n\r\nabc");
    const struct http_header evil[] = {{"A", "x\r\nB: y"}};
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/", .headers = evil, .headers_len = 1}, &r, NULL), -1);
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/ HTTP/1.1\r\n"}, &r, NULL), -1);
    http_client_free(c);
    player_stop(p);
}

static void get_ok(struct http_client *c, const char *method) {
    struct http_reply *r = NULL;
    struct status err = STATUS_INIT;
    if (http_client_call(c, &(struct http_call){.method = method, .target = "/", .timeout_ms = 2000}, &r, &err) != 0) fail_msg("%s", status_message(&err));
    assert_string_equal(r->body, "ok");
    http_reply_free(r);
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void connections_are_kept_and_dead_ones_replaced(void **state UNUSED) {
    const struct script s[] = {{{OK_ANSWER, OK_ANSWER}}, {{OK_ANSWER, ""}}, {{OK_ANSWER}}};
    struct player *p = player_start(s, 3, NULL);
    struct http_client *c = client_to(p->port);
    get_ok(c, "GET");
    get_ok(c, "POST");
    assert_int_equal(atomic_load(&p->accepted), 1);
    env_sleep_ms(env_real(), 20); /* the server has closed: seen before the request is sent */
    get_ok(c, "POST");
    assert_int_equal(atomic_load(&p->accepted), 2);
    get_ok(c, "GET"); /* the server closes while the request is on its way: sent again, because it is a GET */
    assert_int_equal(atomic_load(&p->accepted), 3);
    http_client_free(c);
    player_stop(p);
}

static void a_post_is_not_sent_twice(void **state UNUSED) {
    const struct script s[] = {{{OK_ANSWER, ""}}, {{OK_ANSWER}}};
    struct player *p = player_start(s, 2, NULL);
    struct http_client *c = client_to(p->port);
    get_ok(c, "GET");
    struct http_reply *r = NULL;
    assert_int_equal(http_client_call(c, &(struct http_call){.method = "POST", .target = "/", .timeout_ms = 2000}, &r, NULL), -1);
    assert_int_equal(atomic_load(&p->accepted), 1);
    http_client_free(c);
    player_stop(p);
}

static void deadlines_and_refusals_read_as_in_go(void **state UNUSED) {
    struct script s = {{"HOLD"}};
    struct player *p = player_start(&s, 1, NULL);
    struct http_client *c = client_to(p->port);
    struct http_reply *r = NULL;
    struct status err = STATUS_INIT;
    char want[200];
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/slow", .timeout_ms = 50}, &r, &err), -1);
    assert_int_equal(err.code, 504);
    snprintf(want, sizeof(want), "Get \"http://127.0.0.1:%d/slow\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", p->port);
    assert_string_equal(err.message, want);
    int port = p->port;
    player_stop(p);
    assert_int_equal(http_client_call(c, &(struct http_call){.method = "HEAD", .target = "/"}, &r, &err), -1);
    assert_int_equal(err.code, 503);
    snprintf(want, sizeof(want), "Head \"http://127.0.0.1:%d/\": dial tcp 127.0.0.1:%d: connect: connection refused", port, port);
    assert_string_equal(err.message, want);
    status_release(&err);
    http_client_free(c);
}

static void *fire_soon(void *arg) {
    env_sleep_ms(env_real(), 30);
    http_cancel_fire(arg);
    return NULL;
}

static void another_thread_ends_a_watch(void **state UNUSED) {
    struct script s = {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n", "HOLD"}};
    struct player *p = player_start(&s, 1, NULL);
    struct http_client *c = client_to(p->port);
    struct http_cancel cancel;
    http_cancel_init(&cancel);
    struct http_reply *r = NULL;
    struct status err = STATUS_INIT;
    assert_int_equal(http_client_open(c, &(struct http_call){.target = "/watch", .cancel = &cancel}, &r, NULL), 0);
    char got[64] = "";
    assert_int_equal(http_reply_read(r, got, 3, 1000, NULL), 3);
    assert_int_equal(http_reply_read(r, got + 3, 60, 1000, NULL), 2);
    assert_string_equal(got, "event");
    assert_int_equal(http_reply_read(r, got, 3, 10, &err), -1); /* nothing more yet */
    assert_int_equal(err.code, 504);
    pthread_t t;
    pthread_create(&t, NULL, fire_soon, &cancel);
    assert_int_equal(http_reply_read(r, got, 3, 0, &err), -1);
    assert_int_equal(err.code, 499);
    pthread_join(t, NULL);
    http_reply_free(r);
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/", .cancel = &cancel}, &r, &err), -1);
    assert_int_equal(err.code, 499);
    http_cancel_release(&cancel);
    status_release(&err);
    http_client_free(c);
    player_stop(p);
}

static void limits_hold(void **state UNUSED) {
    struct script s[] = {{{"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"}}, {{"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"}}};
    struct player *p = player_start(s, 2, NULL);
    struct http_client *c = client_to(p->port);
    struct http_reply *r = NULL;
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/", .body_bytes_max = 4}, &r, NULL), -1);
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/", .body_bytes_max = 4, .truncate = true}, &r, NULL), 0);
    assert_string_equal(r->body, "abcd");
    http_reply_free(r);
    http_client_free(c);
    player_stop(p);
}

static void a_unix_socket_serves_as_well(void **state UNUSED) {
    char path[64];
    snprintf(path, sizeof(path), "/tmp/test_http_client.%d", (int)getpid());
    struct script s = {{OK_ANSWER}};
    struct player *p = player_start(&s, 1, path);
    struct http_client_options o = {.unix_path = path};
    struct http_client *c = http_client_new(&o, NULL);
    get_ok(c, "GET");
    http_client_free(c);
    player_stop(p);
    unlink(path);
}

static void locations_are_resolved(void **state UNUSED) {
    static const struct { const char *location, *want; } cases[] = {
        {"/a/b?c", "http h 80 /a/b?c"}, {"b", "http h 80 /x/b"}, {"../b", "http h 80 /b"}, {"./", "http h 80 /x/"}, {"../../../b/..", "http h 80 /"},
        {"?q=1", "http h 80 /x/y?q=1"}, {"#f", "http h 80 /x/y?z"}, {"/b#f", "http h 80 /b"}, {"//other:81/p", "http other 81 /p"},
        {"https://h", "https h 0 /"}, {"https://h?a", "https h 0 /?a"}, {"HTTP://u:p@[::1]:8080/p", "http ::1 8080 /p"},
        {"ftp://h/", NULL}, {"http://h:x/", NULL}, {"http://h:70000/", NULL}, {"http:///p", NULL}, {"/a b", NULL}, {"http://[::1/", NULL},
    };
    const struct http_place base = {.scheme = "http", .host = "h", .port = 80, .target = "/x/y?z"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new();
        struct http_place got;
        bool ok = http_redirect_resolve(a, &base, cases[i].location, &got);
        const char *text = ok ? arena_printf(a, "%s %s %d %s", got.scheme, got.host, got.port, got.target) : NULL;
        if (!str_eq(text, cases[i].want)) fail_msg("%s: %s", cases[i].location, text);
        arena_free(a);
    }
}

static void redirects_are_followed_within_the_host_only(void **state UNUSED) {
    struct script target = {{OK_ANSWER}};
    struct player *second = player_start(&target, 1, NULL);
    char away[200];
    snprintf(away, sizeof(away), "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:%d/z\r\n\r\n", second->port);
    struct script s[] = {{{"HTTP/1.1 301 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", away,
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://elsewhere/\r\n\r\n"}}};
    struct player *p = player_start(s, 1, NULL);
    struct http_client *c = client_to(p->port);
    struct http_reply *r = NULL;
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/a", .follow_same_host = true, .timeout_ms = 2000}, &r, NULL), 0);
    assert_string_equal(r->body, "ok");
    http_reply_free(r);
    assert_non_null(strstr(p->seen, "GET /b "));
    assert_non_null(strstr(second->seen, "GET /z "));
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/", .follow_same_host = true, .timeout_ms = 2000}, &r, NULL), 0);
    assert_int_equal(r->code, 302);
    http_reply_free(r);
    http_client_free(c);
    player_stop(p);
    player_stop(second);
}

/* ---- TLS ---- */

static void say_who(struct http_request *req, void *ctx UNUSED) {
    char name[64] = "nobody";
    if (req->peer_cert) X509_NAME_get_text_by_NID(X509_get_subject_name(req->peer_cert), NID_commonName, name, sizeof(name));
    http_respond(req, 200, NULL, 0, &(struct http_slice){.data = name, .len = strlen(name)}, 1);
}

static void *many_calls(void *arg) {
    for (int i = 0; i < 20; i++) {
        struct http_reply *r = NULL;
        struct status err = STATUS_INIT;
        if (http_client_call(arg, &(struct http_call){.target = "/", .timeout_ms = 5000}, &r, &err) != 0) return strdup(status_message(&err));
        bool right = strcmp(r->body, "me") == 0;
        http_reply_free(r);
        if (!right) return strdup("wrong body");
    }
    return NULL;
}

static void tls_fails_with(struct http_client_options o, const char *message) {
    struct status err = STATUS_INIT;
    struct http_client *c = http_client_new(&o, &err);
    assert_non_null(c);
    struct http_reply *r = NULL;
    assert_int_equal(http_client_call(c, &(struct http_call){.target = "/", .timeout_ms = 5000}, &r, &err), -1);
    if (!strstr(err.message, message)) fail_msg("%s", err.message);
    status_release(&err);
    http_client_free(c);
}

static void tls_verifies_the_server_and_shows_our_certificate(void **state UNUSED) {
    char dir[] = "/tmp/test_http_client.XXXXXX", f[8][64];
    assert_non_null(mkdtemp(dir));
    static const char *const names[] = {"ca.crt", "ca.key", "s.crt", "s.key", "c.crt", "c.key", "o.crt", "o.key"};
    for (int i = 0; i < 8; i++) snprintf(f[i], sizeof(f[i]), "%s/%s", dir, names[i]);
    const char *ips[] = {"127.0.0.1", NULL};
    struct x509_request srv = {.common_name = "srv", .ips = ips, .server = true, .days = 1}, me = {.common_name = "me", .client = true, .days = 1};
    assert_int_equal(x509_make_ca(f[0], f[1], "ca", NULL), 0);
    assert_int_equal(x509_make_ca(f[6], f[7], "other", NULL), 0);
    assert_int_equal(x509_make_leaf(f[2], f[3], f[0], f[1], &srv, NULL), 0);
    assert_int_equal(x509_make_leaf(f[4], f[5], f[0], f[1], &me, NULL), 0);
    struct http_server_options so = {.bind_address = "127.0.0.1", .loops = 1, .cert_file = f[2], .key_file = f[3], .client_ca_file = f[0], .handler = say_who};
    struct http_server *server = http_server_new(&so, NULL);
    assert_non_null(server);
    struct http_client_options o = {.host = "127.0.0.1", .port = http_server_port(server), .tls = true, .ca_file = f[0], .cert_file = f[4], .key_file = f[5]};
    struct http_client *c = http_client_new(&o, NULL);
    assert_non_null(c);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, many_calls, c);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        if (failed) fail_msg("%s", (char *)failed);
    }
    http_client_free(c);
    struct http_client_options wrong = o;
    wrong.ca_file = f[6];
    tls_fails_with(wrong, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
    wrong = o;
    wrong.server_name = "example.com";
    tls_fails_with(wrong, "x509: certificate is not valid for example.com");
    http_server_free(server, 100);
    for (int i = 0; i < 8; i++) unlink(f[i]);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_read_whatever_their_framing), cmocka_unit_test(a_request_carries_what_it_was_given),
        cmocka_unit_test(connections_are_kept_and_dead_ones_replaced), cmocka_unit_test(a_post_is_not_sent_twice),
        cmocka_unit_test(deadlines_and_refusals_read_as_in_go), cmocka_unit_test(another_thread_ends_a_watch),
        cmocka_unit_test(limits_hold), cmocka_unit_test(a_unix_socket_serves_as_well),
        cmocka_unit_test(locations_are_resolved), cmocka_unit_test(redirects_are_followed_within_the_host_only),
        cmocka_unit_test(tls_verifies_the_server_and_shows_our_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
