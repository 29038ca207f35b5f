/* wire/spdy: a conversation between two of ours, a frame as Go's spdystream would send it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/str.h"
#include "wire/spdy.h"

static void note(void *arg, const struct spdy_event *e) {
    buf_printf(arg, "%d:%u%s", (int)e->type, e->stream_id, e->fin ? "F" : "");
    if (e->status) buf_printf(arg, "=%u", e->status);
    for (size_t i = 0; i < e->headers_len; i++) buf_printf(arg, " %s:%s", e->headers[i].name, e->headers[i].value);
    if (e->len) buf_printf(arg, " %.*s", (int)e->len, e->data);
    buf_append_str(arg, "; ");
}

static void both_ends_understand_each_other(void **state UNUSED) {
    struct spdy client, server;
    struct buf wire = BUF_INIT, got = BUF_INIT;
    const struct http_header error[] = {{"streamType", "error"}}, stdin_headers[] = {{"streamType", "stdin"}, {"Empty", ""}};
    spdy_init(&client, true);
    spdy_init(&server, false);
    assert_int_equal(spdy_write_syn_stream(&client, &wire, error, 1, true), 1);
    assert_int_equal(spdy_write_syn_stream(&client, &wire, stdin_headers, 2, false), 3);
    spdy_write_data(&wire, 3, "hello", 5, false);
    spdy_write_data(&wire, 3, "", 0, true);
    assert_int_equal(spdy_write_ping(&client, &wire), 1);
    assert_int_equal(spdy_feed(&server, wire.data, wire.len, note, &got, NULL), 0);
    assert_string_equal(got.data, "1:1F streamtype:error; 1:3 streamtype:stdin empty:; 0:3 hello; 0:3F; 6:1; ");
    buf_clear(&wire);
    buf_clear(&got);
    spdy_write_syn_reply(&server, &wire, 1, NULL, 0, false);
    spdy_answer_ping(&server, &wire, 1);
    spdy_answer_ping(&server, &wire, 2); /* the answer to one of its own */
    spdy_write_rst_stream(&wire, 3, SPDY_RST_CANCEL);
    spdy_write_goaway(&wire, 3, 0);
    assert_int_equal(spdy_feed(&client, wire.data, wire.len, note, &got, NULL), 0);
    assert_string_equal(got.data, "2:1; 6:1; 3:3=5; 7:3; ");
    spdy_release(&client);
    spdy_release(&server);
    buf_release(&wire);
    buf_release(&got);
}

static void frames_may_come_in_any_pieces(void **state UNUSED) {
    struct spdy client;
    struct buf wire = BUF_INIT, whole = BUF_INIT;
    const struct http_header h[] = {{"port", "8080"}, {"requestID", "0"}};
    spdy_init(&client, true);
    for (int i = 0; i < 3; i++) {
        uint32_t id = spdy_write_syn_stream(&client, &wire, h, 2, false);
        spdy_write_data(&wire, id, "x", 1, true);
    }
    for (size_t step = 1; step < 40; step++) {
        struct spdy server;
        struct buf got = BUF_INIT;
        spdy_init(&server, false);
        for (size_t at = 0; at < wire.len; at += step) assert_int_equal(spdy_feed(&server, wire.data + at, MIN(step, wire.len - at), note, &got, NULL), 0);
        assert_string_equal(got.data, "1:1 port:8080 requestid:0; 0:1F x; 1:3 port:8080 requestid:0; 0:3F x; 1:5 port:8080 requestid:0; 0:5F x; ");
        spdy_release(&server);
        buf_release(&got);
    }
    spdy_release(&client);
    buf_release(&wire);
    buf_release(&whole);
}

/* zlib's best compression over the standard dictionary: SYN_STREAM 1 with streamtype: error. */
static const char go_frame[] = 
    "\x80\x03\x00\x01\x00\x00\x00\x28\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x78\xf9\xe3\xc6\xa7\xc2\x02\xa6\x23\x46\x70\x3a\x2b\x29"
    "\x4a\x4d\xcc\x85\x16\x25\xac\xa9\xa0\x80\x06\x00\x00\x00\xff\xff";

static void a_frame_of_another_implementation_is_read(void **state UNUSED) {
    struct spdy s;
    struct buf got = BUF_INIT;
    spdy_init(&s, false);
    assert_int_equal(spdy_feed(&s, go_frame, sizeof(go_frame) - 1, note, &got, NULL), 0);
    assert_string_equal(buf_cstr(&got), "1:1 streamtype:error; ");
    spdy_release(&s);
    buf_release(&got);
}

static void nonsense_is_refused(void **state UNUSED) {
    static const struct { const char *bytes; size_t len; const char *error; } cases[] = {
        {"\x80\x02\0\x01\0\0\0\0", 8, "spdy: unsupported version"},
        {"\x80\x03\0\x01\0\xff\xff\xff", 8, "spdy: control frame is too large"},
        {"\x80\x03\0\x01\0\0\0\x04\0\0\0\x01", 12, "spdy: control frame is cut short"},
        {"\x80\x03\0\x02\0\0\0\x08\0\0\0\x01garb", 16, "spdy: header block does not decompress"},
        {"\x80\x03\0\x02\0\0\0\x04\0\0\0\x01", 12, "spdy: header block is cut short"},
        {"\x80\x03\0\x02\0\0\0\x04\0\0\0\x00", 12, "spdy: stream 0"},
        {"\x80\x03\0\x4d\0\0\0\x01x", 9, NULL}, /* unknown types are passed over */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct spdy s;
        struct buf got = BUF_INIT;
        struct status err = STATUS_INIT;
        spdy_init(&s, false);
        assert_int_equal(spdy_feed(&s, cases[i].bytes, cases[i].len, note, &got, &err), cases[i].error ? -1 : 0);
        if (!str_eq(err.message, cases[i].error)) fail_msg("case %zu: %s", i, status_message(&err));
        assert_int_equal(got.len, 0);
        spdy_release(&s);
        buf_release(&got);
        status_release(&err);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_ends_understand_each_other), cmocka_unit_test(frames_may_come_in_any_pieces),
        cmocka_unit_test(a_frame_of_another_implementation_is_read), cmocka_unit_test(nonsense_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
