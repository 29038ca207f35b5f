/* The transport over HTTPS, upon wire/http_client.h. */
#include "client/transport.h"
#include <stdio.h>
#include <string.h>
#include "base/env.h"
#include "base/str.h"
#include "wire/http_client.h"

enum { TOKEN_FILE_AGE_S = 60 };

struct https_transport {
    struct transport base; /* first */
    struct http_client *http;
    pthread_mutex_t mutex; /* of the token */
    char *token, *token_file;
    int64_t token_read_s;
};
struct https_stream {
    struct transport_stream base; /* first */
    struct http_client *http;
    struct http_cancel cancel;
    struct http_reply *reply;
};

static struct http_call call_of(const struct transport_call *c, struct http_header headers[3]) {
    size_t n = 0;
    headers[n++] = (struct http_header){"Accept", str_or(c->accept, "application/json")};
    if (c->body) headers[n++] = (struct http_header){"Content-Type", str_or(c->content_type, "application/json")};
    if (c->fence) headers[n++] = (struct http_header){"Ckube-Lease-Fence", c->fence};
    return (struct http_call){.method = c->method, .target = c->target, .headers = headers, .headers_len = n, .body = c->body, .body_len = c->body_len,
                              .timeout_ms = c->timeout_ms, .body_bytes_max = (size_t)1 << 30};
}

static int https_call(struct transport *t, const struct transport_call *c, int *ret_code, struct buf *ret_body, struct status *reterr) {
    struct http_header headers[3];
    struct http_call call = call_of(c, headers);
    struct http_reply *r = NULL;
    if (http_client_call(((struct https_transport *)t)->http, &call, &r, reterr) != 0) return -1;
    *ret_code = r->code;
    buf_append(ret_body, r->body, r->body_len);
    http_reply_free(r);
    return 0;
}

static int stream_open(struct transport_stream *base, const struct transport_call *c, int *ret_code, struct status *reterr) {
    struct https_stream *s = (struct https_stream *)base;
    struct http_header headers[3];
    struct http_call call = call_of(c, headers);
    call.cancel = &s->cancel;
    if (http_client_open(s->http, &call, &s->reply, reterr) != 0) return -1;
    *ret_code = s->reply->code;
    return 0;
}

static ssize_t stream_read(struct transport_stream *base, void *to, size_t len, int timeout_ms, struct status *reterr) {
    return http_reply_read(((struct https_stream *)base)->reply, to, len, timeout_ms, reterr);
}

static void stream_cancel(struct transport_stream *base) { http_cancel_fire(&((struct https_stream *)base)->cancel); }

static void stream_free(struct transport_stream *base) {
    struct https_stream *s = (struct https_stream *)base;
    http_reply_free(s->reply);
    http_cancel_release(&s->cancel);
    free(s);
}

static struct transport_stream *stream_new(struct transport *t) {
    struct https_stream *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->base = (struct transport_stream){stream_open, stream_read, stream_cancel, stream_free};
    s->http = ((struct https_transport *)t)->http;
    http_cancel_init(&s->cancel);
    return &s->base;
}

static void token_read(struct https_transport *t) {
    char text[16384];
    FILE *f = fopen(t->token_file, "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f) fclose(f);
    while (n && strchr(" \r\n\t", text[n - 1])) n--;
    if (!n) return; /* the old one may still be good */
    text[n] = 0;
    free(t->token);
    t->token = strdup(text);
}

static int token_append(void *ctx, struct buf *ret, struct status *reterr UNUSED) {
    struct https_transport *t = ctx;
    pthread_mutex_lock(&t->mutex);
    int64_t now = env_mono_ns(env_real()) / 1000000000;
    if (t->token_file && (!t->token || now - t->token_read_s > TOKEN_FILE_AGE_S)) {
        token_read(t);
        t->token_read_s = now;
    }
    buf_append_str(ret, t->token);
    pthread_mutex_unlock(&t->mutex);
    return 0;
}

static void https_free(struct transport *base) {
    struct https_transport *t = (struct https_transport *)base;
    http_client_free(t->http);
    pthread_mutex_destroy(&t->mutex);
    free(t->token);
    free(t->token_file);
    free(t);
}

struct transport *transport_https_new(const struct http_client_options *options, const char *token, const char *token_file, struct status *reterr) {
    struct https_transport *t = calloc(1, sizeof(*t));
    CHECK(t);
    t->base = (struct transport){https_call, stream_new, https_free};
    pthread_mutex_init(&t->mutex, NULL);
    CHECK(!token || (t->token = strdup(token)));
    CHECK(!token_file || (t->token_file = strdup(token_file)));
    struct http_client_options o = *options;
    if (token || token_file) {
        o.bearer_token = token_append;
        o.bearer_token_ctx = t;
    }
    t->http = http_client_new(&o, reterr);
    if (t->http) return &t->base;
    https_free(&t->base);
    return NULL;
}
