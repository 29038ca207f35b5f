/* wire/websocket: frames of RFC 6455, the examples of its section 5.7 among them, and the handshake of section 1.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/str.h"
#include "wire/websocket.h"

static void note(void *arg, const struct websocket_event *e) {
    static const char *const names[] = {[1] = "text", [2] = "binary", [8] = "close", [9] = "ping", [10] = "pong"};
    buf_printf(arg, "%s(%.*s)", names[e->opcode], (int)MIN(e->len, 20), e->data);
    if (e->opcode == WEBSOCKET_CLOSE) buf_printf(arg, "%d", e->close_code);
}

static void frames_become_events(void **state UNUSED) {
    static const struct { bool client; const char *bytes; size_t len; const char *want; int error; } cases[] = {
        {true, "\x81\x05Hello", 7, "text(Hello)", 0},
        {false, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, "text(Hello)", 0},
        {true, "\x01\x03Hel\x80\x02lo", 9, "text(Hello)", 0},
        {true, "\x01\x03Hel\x89\x00\x80\x02lo", 11, "ping()text(Hello)", 0},
        {true, "\x88\x05\x03\xe8" "bye\x81\x01x", 10, "close(bye)1000", 0},
        {true, "\x88\x00", 2, "close()1005", 0},
        {true, "\x82\x7e\x00\x02hi", 6, "binary(hi)", 0},
        {true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, "", 1002}, /* masked by a server */
        {false, "\x81\x05Hello", 7, "", 1002},
        {true, "\xc1\x00", 2, "", 1002},
        {true, "\x83\x00", 2, "", 1002},
        {true, "\x09\x00", 2, "", 1002},         /* fragmented ping */
        {true, "\x80\x00", 2, "", 1002},         /* continues nothing */
        {true, "\x01\x00\x81\x00", 4, "", 1002}, /* a new message within one */
        {true, "\x88\x01\x03", 3, "", 1002},
        {true, "\x88\x02\x03\xed", 4, "", 1002}, /* 1005 must not be sent */
        {true, "\x82\x7e\x10\x01", 4, "", 1009},
        {true, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10, "", 1009},
        {true, "\x02\x7e\x0f\xff", 4, "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t step = 1; step <= 20; step += 19) {
            struct websocket w;
            struct buf got = BUF_INIT;
            struct status err = STATUS_INIT;
            websocket_init(&w, cases[i].client, 4096);
            int failed = 0;
            for (size_t at = 0; at < cases[i].len && !failed; at += step) failed = websocket_feed(&w, cases[i].bytes + at, MIN(step, cases[i].len - at), note, &got, &err);
            if (!str_eq(buf_cstr(&got), cases[i].want) || err.code != cases[i].error) fail_msg("case %zu: %s %d", i, buf_cstr(&got), err.code);
            websocket_release(&w);
            buf_release(&got);
            status_release(&err);
        }
}

static void what_one_side_writes_the_other_reads(void **state UNUSED) {
    static char big[70000];
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, sizeof(big)};
    memset(big, 'b', sizeof(big));
    for (int client = 0; client < 2; client++)
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            struct websocket a, b;
            struct buf wire = BUF_INIT, got = BUF_INIT;
            websocket_init(&a, client, 1 << 20);
            websocket_init(&b, !client, 1 << 20);
            websocket_write2(&a, &wire, WEBSOCKET_BINARY, "\x01", 1, big, sizes[i]);
            websocket_write_close(&a, &wire, 1000, "done");
            assert_int_equal(websocket_feed(&b, wire.data, wire.len, note, &got, NULL), 0);
            char want[64] = "binary(";
            size_t n = MIN(sizes[i] + 1, 20);
            want[7] = 1;
            memset(want + 8, 'b', n - 1);
            strcpy(want + 7 + n, ")close(done)1000");
            assert_string_equal(got.data, want);
            websocket_release(&a);
            websocket_release(&b);
            buf_release(&wire);
            buf_release(&got);
        }
}

static void the_handshake_is_answered(void **state UNUSED) {
    const struct http_header good[] = {{"Connection", "keep-alive, Upgrade"}, {"upgrade", "WebSocket"}, {"Sec-WebSocket-Version", "13"},
        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}, {"Sec-WebSocket-Protocol", "v9, v5.channel.k8s.io,v4.channel.k8s.io"}};
    static const char *const ours[] = {"v4.channel.k8s.io", "v5.channel.k8s.io", NULL};
    struct arena *a = arena_new();
    struct http_header h[4];
    size_t len = 0;
    assert_string_equal(websocket_pick_protocol(good, 5, ours), "v5.channel.k8s.io");
    assert_null(websocket_pick_protocol(good, 4, ours));
    assert_int_equal(websocket_accept(a, good, 5, "v5.channel.k8s.io", h, &len, NULL), 0);
    assert_int_equal(len, 4);
    assert_string_equal(h[2].value, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    for (size_t left_out = 0; left_out < 4; left_out++) {
        struct http_header some[5];
        memcpy(some, good, sizeof(some));
        some[left_out].value = "x";
        assert_int_equal(websocket_accept(a, some, 5, NULL, h, &len, NULL), -1);
    }
    char key[25];
    websocket_new_key(key);
    assert_int_equal(strlen(key), 24);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(frames_become_events), cmocka_unit_test(what_one_side_writes_the_other_reads),
        cmocka_unit_test(the_handshake_is_answered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
