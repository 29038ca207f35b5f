/* exec and attach of a v5.channel.k8s.io WebSocket client, translated to SPDY v4 towards the kubelet. Upstream: streamtranslator.go and client-go's
 * remotecommand executor (v4.go).
 *
 * The client's WebSocket is opened first; whatever then goes wrong is told on its error channel, as a Status. Each client message begins with its channel:
 * 0 stdin, 4 resize, 255 the end of the channel named next. Each channel of the kubelet's is a SPDY stream; when stdout, stderr and error have ended, the
 * outcome that the error stream told is sent on channel 3 and the connection closed. */
#include <string.h>
#include "apiserver/stream_bridge.h"
#include "apiserver/stream_translate.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/spdy.h"

enum { CONNECT_MS = 30000, ERROR_BYTES_MAX = 64 << 10, CHANNEL_CLOSE = 255 };
enum channel { STDIN, STDOUT, STDERR, ERROR, RESIZE, CHANNELS };

struct channel_stream { uint32_t id; bool open, remote_ended, local_ended; };

struct command {
    struct bridge bridge; /* must be first */
    struct stream_options options;
    struct spdy spdy;
    struct channel_stream streams[CHANNELS];
    struct upstream *connecting; /* while the kubelet is being asked */
    struct buf early;            /* what the client sent meanwhile */
    struct buf frame;            /* for the kubelet */
    struct buf error;            /* what the error stream has told */
    bool running;                /* the kubelet has switched */
    bool broken;                 /* the connection to it has ended before its time */
};

static struct command *command_of(struct bridge *b) { return (struct command *)(void *)b; }

/* ---- telling the client how it ended ---- */

static void send_error(struct command *c, const void *data, size_t len) { bridge_send_client(&c->bridge, "\x03", 1, data, len); }

static void send_success(struct command *c) {
    static const char success[] = "{\"metadata\":{},\"status\":\"Success\"}";
    send_error(c, success, sizeof(success) - 1);
}

static void send_internal_error(struct command *c, const char *why) {
    _cleanup_buf_ struct buf text = BUF_INIT, message = BUF_INIT;
    buf_printf(&message, "Internal error occurred: %s", why);
    buf_append_str(&text, "{\"metadata\":{},\"status\":\"Failure\",\"message\":");
    json_write_string(&text, message.data);
    buf_append_str(&text, ",\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":");
    json_write_string(&text, why);
    buf_append_str(&text, "}]},\"code\":500}");
    send_error(c, text.data, text.len);
}

static void send_exit_code(struct command *c, unsigned code) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    buf_printf(&text, "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: command terminated with exit code %u\","
        "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"%u\"}]}}", code, code);
    send_error(c, text.data, text.len);
}

static const char *member(yyjson_val *obj, const char *key) { return str_or(yyjson_get_str(yyjson_obj_get(obj, key)), ""); }

/* A failed Status that says NonZeroExitCode holds the code among its causes. */
static void send_exit_cause(struct command *c, yyjson_val *status) {
    yyjson_val *details = yyjson_obj_get(status, "details"), *causes = yyjson_obj_get(details, "causes"), *cause;
    size_t i, n;
    if (!yyjson_is_obj(details)) {
        send_internal_error(c, "error stream protocol error: details must be set");
        return;
    }
    yyjson_arr_foreach(causes, i, n, cause) {
        if (!str_eq(member(cause, "reason"), "ExitCode")) continue;
        uint64_t code;
        char why[100];
        snprintf(why, sizeof(why), "error stream protocol error: invalid exit code value \"%.20s\"", member(cause, "message"));
        if (str_to_u64(member(cause, "message"), &code) && code <= 255) send_exit_code(c, (unsigned)code);
        else send_internal_error(c, why);
        return;
    }
    send_internal_error(c, "error stream protocol error: no ExitCode cause given");
}

/* What the kubelet's error stream told in v4: nothing, or a Status. */
static void send_outcome(struct command *c) {
    if (c->error.len == 0) {
        if (c->broken) send_internal_error(c, "error reading from error stream: unexpected EOF");
        else send_success(c);
        return;
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    yyjson_doc *doc = json_parse(c->error.data, c->error.len, 0, &err);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *status = member(root, "status");
    if (!doc) {
        _cleanup_buf_ struct buf why = BUF_INIT;
        buf_printf(&why, "error stream protocol error: %s in ", status_message(&err));
        json_write_string(&why, c->error.data);
        send_internal_error(c, why.data);
    } else if (str_eq(status, "Success")) send_success(c);
    else if (!str_eq(status, "Failure")) send_internal_error(c, "error stream protocol error: unknown error");
    else if (str_eq(member(root, "reason"), "NonZeroExitCode")) send_exit_cause(c, root);
    else send_internal_error(c, member(root, "message"));
    yyjson_doc_free(doc);
}

/* ---- from the kubelet to the client ---- */

static void flush_up(struct command *c) {
    bridge_send_up(&c->bridge, buf_cstr(&c->frame), c->frame.len);
    buf_clear(&c->frame);
}

static void end_local(struct command *c, enum channel ch) {
    struct channel_stream *s = &c->streams[ch];
    if (!s->open || s->local_ended) return;
    s->local_ended = true;
    spdy_write_data(&c->frame, s->id, "", 0, true);
}

static bool ended(const struct channel_stream *s) { return !s->open || s->remote_ended; }

static void end_remote(struct command *c, enum channel ch) {
    c->streams[ch].remote_ended = true;
    if (ch == STDIN) end_local(c, STDIN); /* nobody reads it any more */
    if (c->bridge.closing || !ended(&c->streams[STDOUT]) || !ended(&c->streams[STDERR]) || !ended(&c->streams[ERROR])) return;
    flush_up(c);
    send_outcome(c);
    bridge_close(&c->bridge, WEBSOCKET_CLOSE_NORMAL, NULL);
}

static void on_frame(void *arg, const struct spdy_event *e) {
    struct command *c = arg;
    if (c->bridge.closing) return;
    if (e->type == SPDY_PING) spdy_answer_ping(&c->spdy, &c->frame, e->stream_id);
    if (e->type == SPDY_SYN_STREAM) spdy_write_rst_stream(&c->frame, e->stream_id, SPDY_RST_REFUSED_STREAM);
    if (e->type != SPDY_DATA && e->type != SPDY_SYN_REPLY && e->type != SPDY_HEADERS && e->type != SPDY_RST_STREAM) return;
    for (int ch = 0; ch < CHANNELS; ch++) {
        struct channel_stream *s = &c->streams[ch];
        if (!s->open || s->id != e->stream_id || s->remote_ended) continue;
        if (ch == ERROR) buf_append(&c->error, e->data, MIN(e->len, ERROR_BYTES_MAX - MIN(c->error.len, (size_t)ERROR_BYTES_MAX)));
        else if (e->len && (ch == STDOUT || ch == STDERR)) bridge_send_client(&c->bridge, ch == STDOUT ? "\x01" : "\x02", 1, e->data, e->len);
        if (e->type == SPDY_RST_STREAM) s->local_ended = true;
        if (e->fin || e->type == SPDY_RST_STREAM) end_remote(c, (enum channel)ch);
        return;
    }
}

static void on_up_data(struct bridge *b, const char *data, size_t len) {
    struct command *c = command_of(b);
    _cleanup_status_ struct status err = STATUS_INIT;
    if (spdy_feed(&c->spdy, data, len, on_frame, c, &err) != 0 && !b->closing) {
        send_internal_error(c, status_message(&err));
        bridge_close(b, WEBSOCKET_CLOSE_NORMAL, NULL);
    }
    if (c->frame.len) flush_up(c);
}

static void on_up_end(struct bridge *b) {
    struct command *c = command_of(b);
    c->broken = true;
    send_outcome(c);
}

/* ---- from the client to the kubelet ---- */

static void on_message(struct bridge *b, const char *data, size_t len) {
    struct command *c = command_of(b);
    if (!c->running) { /* the kubelet is still being asked; the client is paused, so this is little */
        uint32_t n = (uint32_t)len;
        buf_append(&c->early, &n, sizeof(n));
        buf_append(&c->early, data, len);
        return;
    }
    if (len == 0) return;
    unsigned char ch = (unsigned char)data[0];
    struct channel_stream *s = ch == STDIN || ch == RESIZE ? &c->streams[ch] : NULL;
    if (ch == CHANNEL_CLOSE && len > 1 && data[1] == STDIN) end_local(c, STDIN);
    else if (s && s->open && !s->local_ended && len > 1) spdy_write_data(&c->frame, s->id, data + 1, len - 1, false);
    if (c->frame.len) flush_up(c);
}

static void play_early(struct command *c) {
    struct buf early = c->early;
    c->early = (struct buf)BUF_INIT;
    for (size_t at = 0; at < early.len;) {
        uint32_t n;
        memcpy(&n, early.data + at, sizeof(n));
        on_message(&c->bridge, early.data + at + sizeof(n), n);
        at += sizeof(n) + n;
    }
    buf_release(&early);
}

static void on_client_close(struct bridge *b) {
    struct command *c = command_of(b);
    if (c->connecting) upstream_abort(c->connecting);
}

static void on_free(struct bridge *b) {
    struct command *c = command_of(b);
    spdy_release(&c->spdy);
    buf_release(&c->early);
    buf_release(&c->frame);
    buf_release(&c->error);
    free(c);
}

/* ---- beginning ---- */

static void open_stream(struct command *c, enum channel ch, const char *type, bool wanted) {
    if (!wanted) return;
    const struct http_header headers[] = {{"streamType", type}};
    c->streams[ch].open = true;
    c->streams[ch].id = spdy_write_syn_stream(&c->spdy, &c->frame, headers, 1, false);
}

/* In upstream's order, which is that of client-go's protocol handlers. */
static void open_streams(struct command *c) {
    open_stream(c, ERROR, "error", true);
    open_stream(c, STDIN, "stdin", c->options.in);
    open_stream(c, STDOUT, "stdout", c->options.out);
    open_stream(c, STDERR, "stderr", c->options.err && !c->options.tty);
    open_stream(c, RESIZE, "resize", c->options.tty);
    flush_up(c);
}

/* The kubelet did not switch: a Status of its own is passed on, other words are wrapped. */
static void send_refusal(struct command *c, struct upstream *u, const struct upstream_response *answer) {
    _cleanup_buf_ struct buf body = BUF_INIT, why = BUF_INIT;
    if (!answer->upgraded) upstream_read_all(u, &body, ERROR_BYTES_MAX, CONNECT_MS, NULL);
    yyjson_doc *doc = body.len && body.data[0] == '{' ? json_parse(body.data, body.len, 0, NULL) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    while (body.len && strchr("\r\n ", body.data[body.len - 1])) body.data[--body.len] = 0;
    buf_printf(&why, "unable to upgrade connection: %s", answer->upgraded ? "missing upgrade headers in response" : buf_cstr(&body));
    if (str_eq(member(root, "kind"), "Status") && str_eq(member(root, "apiVersion"), "v1")) send_error(c, body.data, body.len);
    else send_internal_error(c, why.data);
    yyjson_doc_free(doc);
}

/* Asks the kubelet and opens the streams; errors are the client's to hear. */
static void connect_kubelet(struct command *c, struct http_request *req, const struct proxy_target *t) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct upstream_response answer;
    struct upstream *u = upstream_connect(t->host, t->port, t->tls, t->connect_timeout_ms ? t->connect_timeout_ms : CONNECT_MS, &err);
    c->connecting = u;
    int failed = u && !c->bridge.closing ? bridge_request_spdy(req, u, t, "v4.channel.k8s.io", &answer, &err) : -1;
    c->connecting = NULL;
    if (!failed && !c->bridge.closing && str_eq(bridge_spdy_protocol(&answer), "v4.channel.k8s.io")) {
        c->running = true;
        bridge_start_up(&c->bridge, upstream_upgrade(u));
        if (c->bridge.client) http_stream_pause(c->bridge.client, false);
        open_streams(c);
        play_early(c);
        return;
    }
    if (failed) send_internal_error(c, arena_printf(req->arena, "error sending request: Post \"%s\": %s", bridge_target_url(req, t), status_message(&err)));
    else if (!c->bridge.closing) send_refusal(c, u, &answer);
    bridge_close(&c->bridge, WEBSOCKET_CLOSE_NORMAL, NULL);
    upstream_free(u);
}

int stream_remote_command(struct http_request *req, const struct stream_options *options, const struct proxy_target *t, struct status *reterr) {
    struct http_header headers[4];
    size_t headers_len;
    if (websocket_accept(req->arena, req->headers, req->headers_len, "v5.channel.k8s.io", headers, &headers_len, reterr) != 0) return -1;
    http_request_ref(req);
    struct http_stream *client = http_upgrade(req, headers, headers_len, reterr);
    if (!client) {
        http_request_unref(req);
        return -1;
    }
    struct command *c = calloc(1, sizeof(*c));
    CHECK(c);
    bridge_init(&c->bridge);
    c->bridge.on_message = on_message;
    c->bridge.on_up_data = on_up_data;
    c->bridge.on_up_end = on_up_end;
    c->bridge.on_client_close = on_client_close;
    c->bridge.on_free = on_free;
    c->options = *options;
    spdy_init(&c->spdy, true);
    bridge_start_client(&c->bridge, client);
    http_stream_pause(client, true);
    /* An empty message on the lowest channel that we write to tells the client that the connection stands. */
    bridge_send_client(&c->bridge, options->out ? "\x01" : options->err ? "\x02" : "\x03", 1, "", 0);
    connect_kubelet(c, req, t);
    bridge_release(&c->bridge);
    http_request_unref(req);
    return 0;
}
