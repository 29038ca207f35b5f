/* gRPC client: see grpc.h. Framing: a 5-byte head (compressed flag, big-endian length) and the message; the outcome is in the trailers. */
#include "wire/grpc.h"
#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/env.h"
#include "base/str.h"
#include "wire/grpc_channel.h"
#include "wire/grpc_status.h"

enum { POOL_MAX = 8, MESSAGE_BYTES_MAX = 64 << 20, CANCEL_POLL_MS = 200, STREAM_WINDOW_BYTES = 8 << 20 };

struct call;
struct conn {
    struct grpc_transport *transport;
    nghttp2_session *session;
    struct call *call; /* the one that is driving it */
    struct conn *next;
};
struct call {
    const unsigned char *request;
    size_t request_len, sent;
    unsigned char head[5];
    struct buf body;
    int32_t stream_id;
    int http_code, grpc_code; /* grpc_code -1: not seen */
    struct buf grpc_message;
    bool done, reset, too_large;
    uint32_t reset_code;
    /* of a stream's answer */
    int (*on_message)(void *arg, const void *data, size_t len);
    void *arg;
    bool refused; /* by on_message, or what came is no message of gRPC's */
};
struct grpc_client {
    grpc_dial_fn *dial;
    void *dial_ctx;
    char *authority;
    char *path; /* of the unix socket; NULL with a dial function of the caller's */
    void (*free_ctx)(void *ctx);
    const char *scheme;
    pthread_mutex_t mutex;
    struct conn *idle;
    int idle_len;
};

static int fail(struct status *reterr, int code, const char *desc) {
    static const int http_codes[] = {500, 499, 500, 400, 504, 404, 409, 403, 429, 500, 500, 500, 501, 500, 503, 500, 401};
    if (code < 0 || code >= GRPC_CODES) code = GRPC_UNKNOWN;
    return status_set(reterr, http_codes[code], code == GRPC_NOT_FOUND ? REASON_NOT_FOUND : REASON_INTERNAL_ERROR, "rpc error: code = %s desc = %s", grpc_code_name(code), desc);
}

const char *grpc_status_desc(const struct status *s) {
    const char *message = status_message(s), *desc = strstr(message, " desc = ");
    return str_has_prefix(message, "rpc error: ") && desc ? desc + 8 : message;
}

/* ---- the unix socket ---- */

static ssize_t socket_send(struct grpc_transport *t, const void *data, size_t len) { return send(t->fd, data, len, MSG_NOSIGNAL); }
static ssize_t socket_recv(struct grpc_transport *t, void *data, size_t len) { return recv(t->fd, data, len, 0); }
static void socket_close(struct grpc_transport *t) {
    close(t->fd);
    free(t);
}

static struct grpc_transport *unix_dial(void *ctx, struct status *reterr) {
    const char *path = ctx;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(addr.sun_path)) {
        fail(reterr, GRPC_UNAVAILABLE, "socket path too long");
        return NULL;
    }
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        char text[300];
        snprintf(text, sizeof(text), "connection error: desc = \"transport: Error while dialing: dial unix %s: connect: %s\"", path, strerror(errno));
        if (fd >= 0) close(fd);
        fail(reterr, GRPC_UNAVAILABLE, text);
        return NULL;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct grpc_transport *t = calloc(1, sizeof(*t));
    CHECK(t);
    *t = (struct grpc_transport){fd, socket_send, socket_recv, socket_close};
    return t;
}

/* ---- nghttp2's callbacks ---- */

static ssize_t on_send(nghttp2_session *session UNUSED, const uint8_t *data, size_t len, int flags UNUSED, void *user) {
    struct conn *c = user;
    ssize_t n = c->transport->send(c->transport, data, len);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EINTR ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static struct call *call_of(struct conn *c, int32_t stream_id) { return c->call && c->call->stream_id == stream_id ? c->call : NULL; }

static int on_header(nghttp2_session *session UNUSED, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len,
                     uint8_t flags UNUSED, void *user) {
    struct call *call = call_of(user, frame->hd.stream_id);
    if (!call) return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        call->http_code = atoi((const char *)value);
    } else if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        call->grpc_code = atoi((const char *)value);
    } else if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0) {
        grpc_message_decode(&call->grpc_message, value, value_len);
    }
    return 0;
}

static void take_message(void *arg, const void *data, size_t len) {
    struct call *call = arg;
    if (!call->refused && call->on_message(call->arg, data, len) != 0) call->refused = true;
}

static int on_data(nghttp2_session *session UNUSED, uint8_t flags UNUSED, int32_t stream_id, const uint8_t *data, size_t len, void *user) {
    struct call *call = call_of(user, stream_id);
    if (!call) return 0;
    if (call->body.len + len > MESSAGE_BYTES_MAX) call->too_large = true;
    else buf_append(&call->body, data, len);
    if (call->on_message && !call->refused && grpc_frames_read(&call->body, take_message, call) != 0) call->refused = true;
    return 0;
}

static int on_stream_close(nghttp2_session *session UNUSED, int32_t stream_id, uint32_t code, void *user) {
    struct call *call = call_of(user, stream_id);
    if (!call) return 0;
    call->done = true;
    if (code != NGHTTP2_NO_ERROR) {
        call->reset = true;
        call->reset_code = code;
    }
    return 0;
}

static ssize_t read_request(nghttp2_session *session UNUSED, int32_t stream_id UNUSED, uint8_t *out, size_t max, uint32_t *flags, nghttp2_data_source *source,
                            void *user UNUSED) {
    struct call *call = source->ptr;
    size_t n = 0;
    while (n < max && call->sent < call->request_len + 5) {
        bool head = call->sent < 5;
        const unsigned char *from = head ? call->head + call->sent : call->request + call->sent - 5;
        size_t take = MIN(max - n, head ? 5 - call->sent : call->request_len + 5 - call->sent);
        memcpy(out + n, from, take);
        n += take;
        call->sent += take;
    }
    if (call->sent == call->request_len + 5) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* ---- connections ---- */

static void conn_free(struct conn *c) {
    nghttp2_session_del(c->session);
    c->transport->close(c->transport);
    free(c);
}

static struct conn *conn_open(struct grpc_client *client, struct status *reterr) {
    struct grpc_transport *transport = client->dial(client->dial_ctx, reterr);
    if (!transport) return NULL;
    struct conn *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->transport = transport;
    nghttp2_session_callbacks *callbacks;
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    CHECK(nghttp2_session_client_new(&c->session, callbacks, c) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, STREAM_WINDOW_BYTES);
    return c;
}

/* Reads what has arrived. -1: the connection is of no more use. */
static int conn_read(struct conn *c) {
    unsigned char data[16384];
    for (;;) {
        ssize_t n = c->transport->recv(c->transport, data, sizeof(data));
        if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        if (n == 0 || nghttp2_session_mem_recv(c->session, data, (size_t)n) < 0) return -1;
        if ((size_t)n < sizeof(data)) return 0;
    }
}

/* An idle connection that is still good, or NULL. */
static struct conn *pool_take(struct grpc_client *client) {
    for (;;) {
        pthread_mutex_lock(&client->mutex);
        struct conn *c = client->idle;
        if (c) {
            client->idle = c->next;
            client->idle_len--;
        }
        pthread_mutex_unlock(&client->mutex);
        if (!c) return NULL;
        if (conn_read(c) == 0 && nghttp2_session_check_request_allowed(c->session)) return c;
        conn_free(c);
    }
}

static void pool_put(struct grpc_client *client, struct conn *c) {
    pthread_mutex_lock(&client->mutex);
    bool keep = client->idle_len < POOL_MAX;
    if (keep) {
        c->next = client->idle;
        client->idle = c;
        client->idle_len++;
    }
    pthread_mutex_unlock(&client->mutex);
    if (!keep) conn_free(c);
}

/* ---- calls ---- */

static int call_submit(struct conn *c, struct call *call, const struct grpc_client *client, const char *method, int timeout_ms) {
    char timeout[32];
    snprintf(timeout, sizeof(timeout), "%dm", timeout_ms);
#define HEADER(n, v) {(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE}
    nghttp2_nv headers[] = {HEADER(":method", "POST"), HEADER(":scheme", client->scheme), HEADER(":path", method), HEADER(":authority", client->authority),
        HEADER("content-type", "application/grpc"), HEADER("user-agent", "ckube/" CKUBE_VERSION), HEADER("te", "trailers"), HEADER("grpc-timeout", timeout)};
#undef HEADER
    nghttp2_data_provider provider = {{.ptr = call}, read_request};
    call->stream_id = nghttp2_submit_request(c->session, NULL, headers, ARRAY_LEN(headers) - (timeout_ms <= 0), &provider, NULL);
    return call->stream_id < 0 ? -1 : 0;
}

/* Drives the connection until the call is done. 0; or -1 with a status, and *ret_unused true when the request cannot have reached the server. */
static int call_drive(struct conn *c, struct call *call, int64_t deadline_ns, const atomic_bool *cancel, bool *ret_unused, struct status *reterr) {
    struct env *env = env_real();
    *ret_unused = false;
    while (!call->done) {
        if (nghttp2_session_send(c->session) != 0) {
            *ret_unused = call->http_code == 0;
            return fail(reterr, GRPC_UNAVAILABLE, "error writing to the connection");
        }
        int64_t wait_ns = deadline_ns < 0 ? INT64_MAX : deadline_ns - env_mono_ns(env);
        if (wait_ns <= 0) return fail(reterr, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        int wait_ms = (int)MIN(wait_ns / 1000000 + 1, cancel ? CANCEL_POLL_MS : 60000);
        if (cancel && atomic_load(cancel)) return fail(reterr, GRPC_CANCELED, "context canceled");
        struct pollfd p = {c->transport->fd, (short)(POLLIN | (nghttp2_session_want_write(c->session) ? POLLOUT : 0)), 0};
        if (poll(&p, 1, wait_ms) > 0 && (p.revents & (POLLIN | POLLHUP | POLLERR)) && conn_read(c) != 0 && !call->done) {
            *ret_unused = call->http_code == 0 && call->sent < call->request_len + 5;
            return fail(reterr, GRPC_UNAVAILABLE, "error reading from server: EOF");
        }
        if (call->refused) return -1;
        if (call->too_large) return fail(reterr, GRPC_RESOURCE_EXHAUSTED, "received message larger than max");
    }
    nghttp2_session_send(c->session);
    return 0;
}

static int call_result(struct call *call, struct buf *ret, struct status *reterr) {
    if (call->grpc_code > 0) return fail(reterr, call->grpc_code, buf_cstr(&call->grpc_message));
    if (call->grpc_code < 0) {
        char text[100];
        if (call->reset) snprintf(text, sizeof(text), "stream terminated by RST_STREAM with error code: %s", nghttp2_http2_strerror(call->reset_code));
        else snprintf(text, sizeof(text), "unexpected HTTP status code received from server: %d", call->http_code);
        return fail(reterr, call->http_code == 404 ? GRPC_UNIMPLEMENTED : GRPC_UNAVAILABLE, text);
    }
    if (call->on_message) return call->body.len == 0 ? 0 : fail(reterr, GRPC_INTERNAL, "malformed gRPC message from server");
    const unsigned char *b = (const unsigned char *)call->body.data;
    size_t len = call->body.len >= 5 ? (size_t)b[1] << 24 | (size_t)b[2] << 16 | (size_t)b[3] << 8 | b[4] : 0;
    if (call->body.len < 5 || b[0] != 0 || len != call->body.len - 5) return fail(reterr, GRPC_INTERNAL, "malformed gRPC message from server");
    buf_append(ret, b + 5, len);
    return 0;
}

static int run_call(struct grpc_client *client, const char *method, const struct call *what, int timeout_ms, const atomic_bool *cancel, struct buf *ret, struct status *reterr) {
    int64_t deadline = timeout_ms > 0 ? env_mono_ns(env_real()) + (int64_t)timeout_ms * 1000000 : -1;
    for (;;) {
        struct conn *c = pool_take(client);
        bool fresh = !c, unused;
        if (fresh && !(c = conn_open(client, reterr))) return -1;
        struct call call = *what;
        c->call = &call;
        int r = call_submit(c, &call, client, method, timeout_ms);
        if (r != 0) {
            unused = true;
            fail(reterr, GRPC_INTERNAL, "cannot send the request");
        } else {
            r = call_drive(c, &call, deadline, cancel, &unused, reterr);
        }
        c->call = NULL;
        if (r == 0) {
            pool_put(client, c);
            r = call_result(&call, ret, reterr);
        } else {
            conn_free(c);
        }
        buf_release(&call.body);
        buf_release(&call.grpc_message);
        /* A kept connection may have died unseen: once more on the next one, unless the server may have begun the work. */
        if (r == 0 || fresh || !unused) return r;
    }
}

static struct call new_call(const void *request, size_t n) {
    return (struct call){.request = request, .request_len = n, .grpc_code = -1, .head = {0, (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n}};
}

int grpc_call(struct grpc_client *client, const char *method, const void *request, size_t request_len, int timeout_ms, const atomic_bool *cancel, struct buf *ret,
              struct status *reterr) {
    struct call call = new_call(request, request_len);
    return run_call(client, method, &call, timeout_ms, cancel, ret, reterr);
}

int grpc_call_stream(struct grpc_client *client, const char *method, const void *request, size_t request_len, int timeout_ms, int (*on_message)(void *arg, const void *data, size_t len),
                     void *arg, struct status *reterr) {
    struct call call = new_call(request, request_len);
    call.on_message = on_message;
    call.arg = arg;
    fail(reterr, GRPC_INTERNAL, "malformed gRPC message from server"); /* unless on_message says why it refused */
    int rc = run_call(client, method, &call, timeout_ms, NULL, NULL, reterr);
    if (rc == 0 && reterr) status_release(reterr);
    return rc;
}

static struct grpc_client *client_new(grpc_dial_fn *dial, void *ctx, const char *authority) {
    struct grpc_client *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->dial = dial;
    c->dial_ctx = ctx;
    c->authority = strdup(authority);
    c->scheme = "http";
    pthread_mutex_init(&c->mutex, NULL);
    return c;
}

struct grpc_client *grpc_client_new_with(grpc_dial_fn *dial, void *ctx, const char *authority) { return client_new(dial, ctx, authority); }

struct grpc_client *grpc_client_new(const char *address) {
    if (str_has_prefix(address, "unix://")) address += 7;
    else if (str_has_prefix(address, "unix:")) address += 5;
    char *path = strdup(address);
    struct grpc_client *c = client_new(unix_dial, path, "localhost");
    c->path = path;
    return c;
}

void grpc_client_free(struct grpc_client *c) {
    if (!c) return;
    while (c->idle) {
        struct conn *next = c->idle->next;
        conn_free(c->idle);
        c->idle = next;
    }
    pthread_mutex_destroy(&c->mutex);
    if (c->free_ctx) c->free_ctx(c->dial_ctx);
    free(c->authority);
    free(c->path);
    free(c);
}

struct grpc_client *grpc_client_new_owning(grpc_dial_fn *dial, void *ctx, void (*free_ctx)(void *ctx), const char *authority, const char *scheme) {
    struct grpc_client *c = client_new(dial, ctx, authority);
    c->free_ctx = free_ctx;
    c->scheme = scheme;
    return c;
}
