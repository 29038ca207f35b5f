/* The blocking HTTP/1.1 client: the pool of connections, requests, and replies parsed by llhttp. Connections: http_client_conn.c; redirects:
 * http_client_redirect.c. See http_client.h. */
#include "wire/http_client.h"
#include <llhttp.h>
#include <stdio.h>
#include <strings.h>
#include "base/arena.h"
#include "base/env.h"
#include "base/str.h"
#include "wire/http_client_conn.h"
#include "wire/http_client_redirect.h"
#include "wire/tls_files.h"

enum {
    HEADER_BYTES_MAX = 1 << 20,
    BODY_BYTES_MAX = 64 << 20,
    IDLE_CONNECTIONS_MAX = 16,
    IDLE_TIMEOUT_S = 60, /* below the 90 s after which Go's servers and ours close */
    CONNECT_TIMEOUT_MS = 30000,
    READ_BYTES = 16 << 10,
};

struct http_client {
    struct http_client_options o; /* strings in the arena */
    struct arena *arena;
    SSL_CTX *tls;
    struct tls_files files;       /* that it was made of */
    pthread_mutex_t mutex;        /* over the pool and these */
    struct client_conn *idle;     /* the latest first */
    size_t idle_len;
};

struct reply {
    struct http_reply pub; /* must be first */
    struct http_client *client;
    struct http_client *owned; /* a client for this once, or NULL */
    struct client_conn *conn;
    struct arena *arena;
    llhttp_t parser;
    char url[512];         /* for messages */
    char verb[24];         /* "Get" */
    struct { struct http_header *items; size_t len; } headers;
    struct buf name, value, reason;
    struct buf body;       /* parsed but not yet read */
    size_t body_pos, head_bytes;
    bool head_only, head_done, done, upgraded, keep_alive, any_byte, too_long, in_value, extra;
};

/* ---- the client and its pool ---- */

static void tls_drop(SSL_CTX **tls) { SSL_CTX_free(*tls); }
#define _cleanup_tls_ __attribute__((cleanup(tls_drop)))

struct http_client *http_client_new(const struct http_client_options *options, struct status *reterr) {
    struct http_client *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->arena = arena_new();
    c->o = *options;
    const char **strings[] = {&c->o.host, &c->o.unix_path, &c->o.ca_pem, &c->o.ca_file, &c->o.cert_pem, &c->o.key_pem, &c->o.cert_file, &c->o.key_file,
        &c->o.server_name, &c->o.host_header, &c->o.user_agent};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) *strings[i] = arena_strdup(c->arena, *strings[i]);
    c->o.host = str_or(c->o.host, "localhost");
    int own_port = c->o.tls ? 443 : 80;
    if (c->o.port == 0) c->o.port = own_port;
    if (!c->o.host_header) {
        const char *host = strchr(c->o.host, ':') ? arena_printf(c->arena, "[%s]", c->o.host) : c->o.host;
        c->o.host_header = c->o.port == own_port || c->o.unix_path ? host : arena_printf(c->arena, "%s:%d", host, c->o.port);
    }
    if (!c->o.user_agent) c->o.user_agent = "ckube/" CKUBE_VERSION;
    if (c->o.connect_timeout_ms <= 0) c->o.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    pthread_mutex_init(&c->mutex, NULL);
    tls_files_init(&c->files, c->o.ca_file, c->o.cert_file, c->o.key_file);
    if (c->o.tls && !(c->tls = client_tls_context(&c->o, reterr))) {
        http_client_free(c);
        return NULL;
    }
    return c;
}

void http_client_close_idle(struct http_client *c) {
    pthread_mutex_lock(&c->mutex);
    struct client_conn *list = c->idle;
    c->idle = NULL;
    c->idle_len = 0;
    pthread_mutex_unlock(&c->mutex);
    while (list) {
        struct client_conn *next = list->next;
        client_conn_close(list);
        list = next;
    }
}

void http_client_free(struct http_client *c) {
    if (!c) return;
    http_client_close_idle(c);
    SSL_CTX_free(c->tls);
    pthread_mutex_destroy(&c->mutex);
    arena_free(c->arena);
    free(c);
}

/* The credentials of the moment, counted. When their files have changed, connections that were made with the old ones are not used again. */
static SSL_CTX *tls_take(struct http_client *c) {
    _cleanup_status_ struct status err = STATUS_INIT;
    uint64_t now;
    bool fresh = false;
    if (!c->tls) return NULL;
    pthread_mutex_lock(&c->mutex);
    if (tls_files_changed(&c->files, &now)) {
        SSL_CTX *next = client_tls_context(&c->o, &err);
        fresh = next != NULL;
        if (fresh) {
            SSL_CTX_free(c->tls);
            c->tls = next;
            c->files.seen = now;
        }
    }
    SSL_CTX *tls = c->tls;
    SSL_CTX_up_ref(tls);
    pthread_mutex_unlock(&c->mutex);
    if (fresh) http_client_close_idle(c);
    return tls;
}

/* A kept connection that still lives, or NULL; closes those that have died or waited too long. */
static struct client_conn *pool_take(struct http_client *c) {
    for (;;) {
        pthread_mutex_lock(&c->mutex);
        struct client_conn *conn = c->idle;
        if (conn) {
            c->idle = conn->next;
            c->idle_len--;
        }
        pthread_mutex_unlock(&c->mutex);
        if (!conn) return NULL;
        conn->next = NULL;
        bool fresh = env_mono_ns(env_real()) - conn->idle_since_ns < (int64_t)IDLE_TIMEOUT_S * 1000000000;
        if (fresh && client_conn_is_alive(conn)) return conn;
        client_conn_close(conn);
    }
}

static void pool_give(struct http_client *c, struct client_conn *conn) {
    client_conn_attach(conn, NULL, NULL);
    conn->idle_since_ns = env_mono_ns(env_real());
    conn->reused = true;
    pthread_mutex_lock(&c->mutex);
    bool room = c->idle_len < IDLE_CONNECTIONS_MAX;
    if (room) {
        conn->next = c->idle;
        c->idle = conn;
        c->idle_len++;
    }
    pthread_mutex_unlock(&c->mutex);
    if (!room) client_conn_close(conn);
}

static struct client_conn *connection_get(struct http_client *c, bool fresh, struct http_cancel *cancel, int64_t deadline_ns, struct status *reterr) {
    _cleanup_tls_ SSL_CTX *tls = tls_take(c);
    struct client_conn *conn = fresh || c->o.no_keep_alive ? NULL : pool_take(c);
    if (conn) {
        if (client_conn_attach(conn, cancel, reterr) == 0) return conn;
        client_conn_close(conn);
        return NULL;
    }
    int64_t connect_deadline_ns = env_mono_ns(env_real()) + (int64_t)c->o.connect_timeout_ms * 1000000;
    if (deadline_ns >= 0 && deadline_ns < connect_deadline_ns) connect_deadline_ns = deadline_ns;
    return client_conn_open(&c->o, tls, cancel, connect_deadline_ns, reterr);
}

/* ---- parsing ---- */

static int count_head(struct reply *r, size_t len) {
    r->head_bytes += len;
    return r->head_bytes > HEADER_BYTES_MAX ? HPE_USER : 0;
}

static void finish_header(struct reply *r) {
    if (!r->in_value) return;
    struct http_header *h = arena_list_push(r->arena, &r->headers.items, &r->headers.len, sizeof(*h));
    h->name = arena_strndup(r->arena, buf_cstr(&r->name), r->name.len);
    h->value = arena_strndup(r->arena, buf_cstr(&r->value), r->value.len);
    buf_clear(&r->name);
    buf_clear(&r->value);
    r->in_value = false;
}

static int on_status(llhttp_t *p, const char *at, size_t len) {
    struct reply *r = p->data;
    buf_append(&r->reason, at, len);
    return count_head(r, len);
}

static int on_header_field(llhttp_t *p, const char *at, size_t len) {
    struct reply *r = p->data;
    finish_header(r);
    buf_append(&r->name, at, len);
    return count_head(r, len);
}

static int on_header_value(llhttp_t *p, const char *at, size_t len) {
    struct reply *r = p->data;
    buf_append(&r->value, at, len);
    return count_head(r, len);
}

static int on_header_value_complete(llhttp_t *p) {
    struct reply *r = p->data;
    r->in_value = true;
    return 0;
}

static int on_headers_complete(llhttp_t *p) {
    struct reply *r = p->data;
    finish_header(r);
    int code = llhttp_get_status_code(p);
    if (code / 100 == 1 && code != 101) { /* an interim answer: the real one follows */
        r->headers.items = NULL;
        r->headers.len = 0;
        buf_clear(&r->reason);
        return 0;
    }
    r->head_done = true;
    r->pub.code = code;
    r->pub.reason = arena_strdup(r->arena, buf_cstr(&r->reason));
    r->pub.headers = r->headers.items;
    r->pub.headers_len = r->headers.len;
    r->keep_alive = llhttp_should_keep_alive(p) != 0;
    if (code == 101) {
        r->upgraded = true;
        return 2;
    }
    p->upgrade = 0; /* an Upgrade header on another code is an offer, no switch */
    return r->head_only ? 1 : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len) {
    struct reply *r = p->data;
    buf_append(&r->body, at, len);
    return 0;
}

static int on_message_complete(llhttp_t *p) {
    struct reply *r = p->data;
    if (!r->head_done) return 0;
    r->done = !r->upgraded;
    return r->upgraded ? 0 : HPE_PAUSED;
}

static void parser_init(struct reply *r) {
    static const llhttp_settings_t settings = {.on_status = on_status, .on_header_field = on_header_field, .on_header_value = on_header_value,
        .on_header_value_complete = on_header_value_complete, .on_headers_complete = on_headers_complete, .on_body = on_body,
        .on_message_complete = on_message_complete};
    llhttp_init(&r->parser, HTTP_RESPONSE, &settings);
    r->parser.data = r;
}

/* Takes what one read brought. */
static int parse(struct reply *r, const char *data, size_t len, struct status *reterr) {
    llhttp_errno_t e = llhttp_execute(&r->parser, data, len);
    if (e == HPE_OK) return 0;
    const char *stop = llhttp_get_error_pos(&r->parser);
    if (e == HPE_PAUSED_UPGRADE || (e == HPE_PAUSED && r->done)) {
        size_t rest = stop && stop >= data && stop <= data + len ? (size_t)(data + len - stop) : 0;
        if (r->upgraded) buf_append(&r->body, stop, rest);
        else if (rest) r->extra = true;
        return 0;
    }
    if (r->head_bytes > HEADER_BYTES_MAX) return status_set(reterr, 502, NULL, "net/http: server response headers exceeded %d bytes; aborted", HEADER_BYTES_MAX);
    return status_set(reterr, 502, NULL, "net/http: HTTP/1.x transport connection broken: malformed HTTP response (%s)", str_or(llhttp_get_error_reason(&r->parser), "parse error"));
}

/* Reads once and parses it. */
static int reply_pull(struct reply *r, int64_t deadline_ns, struct status *reterr) {
    char chunk[READ_BYTES];
    ssize_t n = client_conn_read(r->conn, chunk, sizeof(chunk), deadline_ns, reterr);
    if (n < 0) return -1;
    if (n == 0) {
        if (r->upgraded) r->done = true;
        else if (r->head_done && llhttp_message_needs_eof(&r->parser)) {
            r->done = true;
            r->keep_alive = false;
        } else return status_set(reterr, 502, NULL, r->any_byte ? "unexpected EOF" : "EOF");
        return 0;
    }
    r->any_byte = true;
    if (r->upgraded) {
        buf_append(&r->body, chunk, (size_t)n);
        return 0;
    }
    return parse(r, chunk, (size_t)n, reterr);
}

/* ---- requests ---- */

static bool call_has_header(const struct http_call *call, const char *name) {
    for (size_t i = 0; i < call->headers_len; i++)
        if (strcasecmp(call->headers[i].name, name) == 0) return true;
    return false;
}

static bool has_line_break(const char *s) { return s && strpbrk(s, "\r\n") != NULL; }

static int build_head(struct http_client *c, const struct http_call *call, struct buf *out, struct status *reterr) {
    const char *method = str_or(call->method, "GET");
    if (has_line_break(method) || has_line_break(call->target) || str_empty(call->target) || strchr(call->target, ' ')) return status_set(reterr, 400, REASON_BAD_REQUEST, "net/http: invalid request target");
    buf_printf(out, "%s %s HTTP/1.1\r\n", method, call->target);
    if (!call_has_header(call, "Host")) buf_printf(out, "Host: %s\r\n", c->o.host_header);
    if (!call_has_header(call, "User-Agent")) buf_printf(out, "User-Agent: %s\r\n", c->o.user_agent);
    for (size_t i = 0; i < call->headers_len; i++) {
        const struct http_header *h = &call->headers[i];
        if (has_line_break(h->name) || has_line_break(h->value)) return status_set(reterr, 400, REASON_BAD_REQUEST, "net/http: invalid header field value for \"%s\"", h->name);
        if (!str_empty(h->value)) buf_printf(out, "%s: %s\r\n", h->name, h->value);
    }
    if (c->o.bearer_token && !call_has_header(call, "Authorization")) {
        _cleanup_buf_ struct buf token = BUF_INIT;
        if (c->o.bearer_token(c->o.bearer_token_ctx, &token, reterr) != 0) return -1;
        if (token.len && !has_line_break(token.data)) buf_printf(out, "Authorization: Bearer %s\r\n", token.data);
    }
    if (call->body_len || str_eq(method, "POST") || str_eq(method, "PUT") || str_eq(method, "PATCH")) buf_printf(out, "Content-Length: %zu\r\n", call->body_len);
    if (c->o.no_keep_alive && !call_has_header(call, "Connection")) buf_append_str(out, "Connection: close\r\n");
    buf_append_str(out, "\r\n");
    return 0;
}

static struct reply *reply_new(struct http_client *c, const struct http_call *call) {
    struct reply *r = calloc(1, sizeof(*r));
    CHECK(r);
    r->client = c;
    r->arena = arena_new();
    const char *method = str_or(call->method, "GET");
    r->head_only = str_eq(method, "HEAD");
    snprintf(r->verb, sizeof(r->verb), "%c", method[0]);
    for (size_t i = 1; i < sizeof(r->verb) - 1 && method[i]; i++) r->verb[i] = method[i] >= 'A' && method[i] <= 'Z' ? (char)(method[i] + 32) : method[i];
    snprintf(r->url, sizeof(r->url), "%s://%s%s", c->o.tls ? "https" : "http", c->o.host_header, str_or(call->target, ""));
    parser_init(r);
    return r;
}

/* The head first, then the body, so that large bodies are not copied; small ones go out in one piece. */
static int send_request(struct reply *r, struct buf *head, const struct http_call *call, int64_t deadline_ns, bool *ret_sent, struct status *reterr) {
    size_t taken = 0;
    bool small = call->body_len && call->body_len <= READ_BYTES;
    if (small) buf_append(head, call->body, call->body_len);
    int failed = client_conn_write(r->conn, head->data, head->len, deadline_ns, &taken, reterr);
    if (small) head->len -= call->body_len;
    *ret_sent = taken > 0;
    if (!failed && !small && call->body_len) failed = client_conn_write(r->conn, call->body, call->body_len, deadline_ns, NULL, reterr);
    return failed;
}

static int try_request(struct reply *r, struct buf *head, const struct http_call *call, int64_t deadline_ns, bool *ret_sent, struct status *reterr) {
    _cleanup_status_ struct status write_error = STATUS_INIT;
    bool failed = send_request(r, head, call, deadline_ns, ret_sent, &write_error) != 0;
    if (failed && (write_error.code != 502 || !*ret_sent)) {
        status_copy(reterr, &write_error);
        return -1;
    }
    /* A server may answer (413, 401) and hang up before it has read the whole body: look for the answer all the same. */
    while (!r->head_done) {
        if (reply_pull(r, deadline_ns, reterr) == 0) continue;
        if (failed && !r->any_byte) status_copy(reterr, &write_error);
        return -1;
    }
    if (failed) r->keep_alive = false;
    return 0;
}

static bool method_is_replayable(const char *m) { return str_empty(m) || str_eq(m, "GET") || str_eq(m, "HEAD") || str_eq(m, "OPTIONS"); }

/* Connects, sends and reads the head, once more if a kept connection was dead. */
static int exchange(struct reply *r, const struct http_call *call, int64_t deadline_ns, struct status *reterr) {
    _cleanup_buf_ struct buf head = BUF_INIT;
    if (build_head(r->client, call, &head, reterr) != 0) return -1;
    for (bool fresh = false;; fresh = true) {
        r->conn = connection_get(r->client, fresh, call->cancel, deadline_ns, reterr);
        if (!r->conn) return -1;
        bool sent = false;
        _cleanup_status_ struct status err = STATUS_INIT;
        if (try_request(r, &head, call, deadline_ns, &sent, &err) == 0) return 0;
        bool retry = r->conn->reused && !r->any_byte && err.code == 502 && (!sent || method_is_replayable(call->method));
        client_conn_close(r->conn);
        r->conn = NULL;
        if (!retry) {
            status_copy(reterr, &err);
            return -1;
        }
    }
}

/* The words that net/http adds: `Get "URL": ...`. */
static int fail_call(const struct reply *r, struct status *err, const char *phase, struct status *reterr) {
    if (err->code == 504 && strcmp(status_message(err), "context deadline exceeded") == 0)
        status_set(reterr, 504, REASON_TIMEOUT, "%s \"%s\": context deadline exceeded (Client.Timeout exceeded while %s)", r->verb, r->url, phase);
    else status_set(reterr, err->code, err->reason, "%s \"%s\": %s", r->verb, r->url, status_message(err));
    return -1;
}

static int64_t deadline_of(int timeout_ms) { return timeout_ms > 0 ? env_mono_ns(env_real()) + (int64_t)timeout_ms * 1000000 : -1; }

static struct reply *open_once(struct http_client *c, const struct http_call *call, int64_t deadline_ns, struct status *reterr) {
    struct reply *r = reply_new(c, call);
    _cleanup_status_ struct status err = STATUS_INIT;
    if (exchange(r, call, deadline_ns, &err) == 0) return r;
    fail_call(r, &err, "awaiting headers", reterr);
    http_reply_free(&r->pub);
    return NULL;
}

static int read_whole(struct reply *r, const struct http_call *call, int64_t deadline_ns, struct status *reterr) {
    size_t max = call->body_bytes_max ? call->body_bytes_max : BODY_BYTES_MAX;
    _cleanup_status_ struct status err = STATUS_INIT;
    while (!r->done && !r->upgraded && r->body.len <= max)
        if (reply_pull(r, deadline_ns, &err) != 0) return fail_call(r, &err, "reading body", reterr);
    if (r->upgraded) { /* what came right behind the head is for http_reply_read */
        r->pub.body = "";
        return 0;
    }
    if (r->body.len > max) {
        if (!call->truncate) return status_set(reterr, 502, NULL, "%s \"%s\": response body is larger than %zu bytes", r->verb, r->url, max);
        r->body.len = max;
        r->body.data[max] = 0;
    }
    r->pub.body = buf_cstr(&r->body);
    r->pub.body_len = r->body.len;
    r->body_pos = r->body.len;
    return 0;
}

static int run(struct http_client *c, const struct http_call *call, bool whole, struct http_reply **ret, struct status *reterr) {
    int64_t deadline_ns = deadline_of(call->timeout_ms);
    struct reply *r = open_once(c, call, deadline_ns, reterr);
    if (!r) return -1;
    if (whole && read_whole(r, call, deadline_ns, reterr) != 0) {
        http_reply_free(&r->pub);
        return -1;
    }
    *ret = &r->pub;
    return 0;
}

static int start(struct http_client *c, const struct http_call *call, bool whole, struct http_reply **ret, struct status *reterr) {
    if (call->follow_same_host && (str_empty(call->method) || str_eq(call->method, "GET") || str_eq(call->method, "HEAD")))
        return http_redirect_follow(&c->o, c, call, whole ? http_client_call : http_client_open, ret, reterr);
    return run(c, call, whole, ret, reterr);
}

int http_client_call(struct http_client *c, const struct http_call *call, struct http_reply **ret, struct status *reterr) { return start(c, call, true, ret, reterr); }

int http_client_open(struct http_client *c, const struct http_call *call, struct http_reply **ret, struct status *reterr) { return start(c, call, false, ret, reterr); }

/* ---- replies ---- */

const char *http_reply_header(const struct http_reply *r, const char *name) {
    for (size_t i = 0; i < r->headers_len; i++)
        if (strcasecmp(r->headers[i].name, name) == 0) return r->headers[i].value;
    return NULL;
}

ssize_t http_reply_read(struct http_reply *reply, void *to, size_t len, int timeout_ms, struct status *reterr) {
    struct reply *r = (struct reply *)(void *)reply;
    int64_t deadline_ns = deadline_of(timeout_ms);
    while (r->body_pos == r->body.len) {
        buf_clear(&r->body);
        r->body_pos = 0;
        if (r->done) return 0;
        if (reply_pull(r, deadline_ns, reterr) != 0) {
            r->keep_alive = false;
            return -1;
        }
    }
    size_t n = MIN(len, r->body.len - r->body_pos);
    memcpy(to, r->body.data + r->body_pos, n);
    r->body_pos += n;
    return (ssize_t)n;
}

int http_reply_write(struct http_reply *reply, const void *data, size_t len, int timeout_ms, struct status *reterr) {
    struct reply *r = (struct reply *)(void *)reply;
    CHECK(r->upgraded);
    return client_conn_write(r->conn, data, len, deadline_of(timeout_ms), NULL, reterr);
}

void http_reply_free(struct http_reply *reply) {
    struct reply *r = (struct reply *)(void *)reply;
    if (!r) return;
    bool keep = r->conn && r->done && r->keep_alive && !r->upgraded && !r->extra && !r->client->o.no_keep_alive;
    if (keep) pool_give(r->client, r->conn);
    else client_conn_close(r->conn);
    buf_release(&r->name);
    buf_release(&r->value);
    buf_release(&r->reason);
    buf_release(&r->body);
    arena_free(r->arena);
    http_client_free(r->owned);
    free(r);
}

void http_reply_own_client(struct http_reply *r, struct http_client *c) { ((struct reply *)(void *)r)->owned = c; }
