/* kubelet/streaming: what requests mean, and a client's upgrade that reaches a runtime's streaming server, through wire/http_client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "kubelet/streaming.h"
#include "wire/http_client.h"

static void requests_are_understood(void **state UNUSED) {
    static const struct { const char *method, *path, *query, *want; } cases[] = {
        {"POST", "/exec/ns/p/c", "command=sh&command=-c&command=a+b&input=1&output=1&tty=1&error=1", "0 ns p - c [sh][-c][a b] tty in out"},
        {"GET", "/exec/ns/p/uid/c%20d", "output=1&error=1", "0 ns p uid c d  out err"},
        {"POST", "/attach/ns/p/c", "input=1&command=x", "1 ns p - c  in"},
        {"POST", "/attach/ns/p/c", "", "you must specify at least 1 of stdin, stdout, stderr"},
        {"POST", "/portForward/ns/p", "", "2 ns p - - "},
        {"POST", "/portForward/ns/p/u", "", "2 ns p u - "},
        {"POST", "/run/ns/p/c", "cmd=ls+-l%20/", "3 ns p - c [ls][-l][/]"},
        {"GET", "/run/ns/p/c", "cmd=ls", "405: Method Not Allowed"},
        {"DELETE", "/exec/ns/p/c", "output=1", "405: Method Not Allowed"},
        {"POST", "/exec/ns/p", "output=1", "not ours"},
        {"POST", "/exec/ns//c", "output=1", "not ours"},
        {"POST", "/exec/ns/%zz/c", "output=1", "not ours"},
        {"POST", "/portForward/ns/p/u/x", "", "not ours"},
        {"POST", "/pods", "", "not ours"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new();
        struct http_request req = {.method = cases[i].method, .path = cases[i].path, .query = cases[i].query, .arena = a};
        struct kubelet_stream s = {0};
        struct status err = STATUS_INIT;
        struct buf got = BUF_INIT;
        int ours = kubelet_streaming_parse(&req, &s, &err);
        if (ours < 0) buf_append_str(&got, status_message(&err));
        else if (ours == 0) buf_append_str(&got, "not ours");
        else {
            buf_printf(&got, "%d %s %s %s %s ", (int)s.kind, s.namespace, s.pod, str_or(s.uid, "-"), str_or(s.container, "-"));
            LIST_FOREACH(c, &s.command) buf_printf(&got, "[%s]", *c);
            buf_printf(&got, "%s%s%s%s", s.tty ? " tty" : "", s.in ? " in" : "", s.out ? " out" : "", s.err ? " err" : "");
        }
        assert_string_equal(buf_cstr(&got), cases[i].want);
        buf_release(&got);
        status_release(&err);
        arena_free(a);
    }
}

/* ---- a runtime that echoes ---- */

static void echo(void *stream, const char *data, size_t len) { http_stream_write(*(struct http_stream **)stream, data, len); }
static void gone(void *arg) { free(arg); }

static void runtime(struct http_request *req, void *ctx UNUSED) {
    const struct http_header up[] = {{"Connection", "Upgrade"}, {"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", http_request_header(req, "X-Stream-Protocol-Version")}};
    struct http_stream *s = strcmp(req->path, "/exec/token") == 0 ? http_upgrade(req, up, 3, NULL) : NULL;
    if (!s) {
        http_respond(req, 403, NULL, 0, NULL, 0);
        return;
    }
    struct http_stream **holder = malloc(sizeof(struct http_stream *));
    *holder = s;
    http_stream_start(s, &(struct http_stream_handler){.on_data = echo, .on_close = gone, .arg = holder});
}

static int runtime_port;

static int give_url(void *ctx UNUSED, const struct kubelet_stream *s, struct arena *a, const char **ret_url, struct status *reterr) {
    if (str_eq(s->pod, "missing")) return status_set(reterr, 404, REASON_NOT_FOUND, "pod does not exist");
    *ret_url = arena_printf(a, "http://127.0.0.1:%d/exec/%s", runtime_port, str_eq(s->container, "c") ? "token" : "wrong");
    return 0;
}

static int run_command(void *ctx UNUSED, const struct kubelet_stream *s, struct buf *ret_output, struct status *reterr UNUSED) {
    buf_printf(ret_output, "ran %s", s->command.items[0]);
    return 0;
}

static void kubelet(struct http_request *req, void *ctx) {
    if (!kubelet_streaming_handle(ctx, req)) http_respond(req, 404, NULL, 0, NULL, 0);
}

static void an_upgrade_reaches_the_runtime(void **state UNUSED) {
    static struct kubelet_streaming k = {.url = give_url, .run = run_command};
    struct http_server *rt = http_server_new(&(struct http_server_options){.bind_address = "127.0.0.1", .loops = 1, .handler = runtime}, NULL);
    struct http_server *kl = http_server_new(&(struct http_server_options){.bind_address = "127.0.0.1", .loops = 1, .handler = kubelet, .ctx = &k}, NULL);
    runtime_port = http_server_port(rt);
    struct http_client *c = http_client_new(&(struct http_client_options){.host = "127.0.0.1", .port = http_server_port(kl)}, NULL);
    static const struct http_header up[] = {{"Connection", "Upgrade"}, {"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", "v4.channel.k8s.io"}};
    static const struct { const char *method, *target; bool upgrade; int code; const char *body; } cases[] = {
        {"POST", "/exec/ns/p/c?command=sh&output=1", true, 101, NULL},
        {"POST", "/exec/ns/p/c?command=sh&output=1", false, 400, "Upgrade request required"},
        {"POST", "/exec/ns/missing/c?command=sh&output=1", true, 404, "pod does not exist"},
        {"POST", "/exec/ns/p/other?command=sh&output=1", true, 403, ""},
        {"POST", "/run/ns/p/c?cmd=ls", false, 200, "ran ls"},
        {"POST", "/elsewhere", false, 404, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_reply *r = NULL;
        struct status err = STATUS_INIT;
        struct http_call call = {.method = cases[i].method, .target = cases[i].target, .headers = up, .headers_len = cases[i].upgrade ? 3 : 0, .timeout_ms = 5000};
        if (http_client_call(c, &call, &r, &err) != 0) fail_msg("%s", status_message(&err));
        assert_int_equal(r->code, cases[i].code);
        if (r->code == 101) {
            char got[8] = "";
            assert_string_equal(http_reply_header(r, "X-Stream-Protocol-Version"), "v4.channel.k8s.io");
            assert_int_equal(http_reply_write(r, "hello", 5, 1000, NULL), 0);
            assert_int_equal(http_reply_read(r, got, 7, 5000, NULL), 5);
            assert_string_equal(got, "hello");
        } else {
            assert_string_equal(r->body, cases[i].body);
        }
        http_reply_free(r);
    }
    http_client_free(c);
    http_server_free(kl, 100);
    http_server_free(rt, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests_are_understood), cmocka_unit_test(an_upgrade_reaches_the_runtime)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
