#include "wire/upstream_proxy.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/fiber.h"

enum { CONNECT_MS = 30000, BACKLOG_BYTES_MAX = 256 << 10 };

struct header_list { struct http_header *items; size_t len; };

/* What the proxy's client asked us to drop on the way: hop-by-hop headers, and those it names in Connection. */
static bool passes(const struct http_header *all, size_t all_len, const char *name) {
    return !http_header_is_hop(name) && !http_headers_has_token(all, all_len, "Connection", name);
}

static bool replaced(const struct proxy_target *t, const char *name) {
    static const char *const ours[] = {"Host", "Content-Length", "Expect", "Authorization", "X-Forwarded-For"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (strcasecmp(name, ours[i]) == 0) return true;
    for (size_t i = 0; i < t->headers_len; i++)
        if (strcasecmp(name, t->headers[i].name) == 0) return true;
    return false;
}

static void add(struct http_request *req, struct header_list *list, const char *name, const char *value) {
    *LIST_PUSH(req->arena, list) = (struct http_header){name, value};
}

/* The client's address, behind those that it came through itself. */
static const char *forwarded_for(struct http_request *req) {
    const char *before = http_request_header(req, "X-Forwarded-For"), *colon = strrchr(req->peer, ':');
    char *peer = arena_strndup(req->arena, req->peer, colon ? (size_t)(colon - req->peer) : strlen(req->peer));
    size_t len = strlen(peer);
    if (len > 2 && peer[0] == '[' && peer[len - 1] == ']') peer = arena_strndup(req->arena, peer + 1, len - 2);
    return before && *before ? arena_printf(req->arena, "%s, %s", before, peer) : peer;
}

static struct header_list request_headers(struct http_request *req, const struct proxy_target *t) {
    struct header_list list = {0};
    struct in6_addr v6;
    if (t->host_header) add(req, &list, "Host", t->host_header);
    else add(req, &list, "Host", arena_printf(req->arena, inet_pton(AF_INET6, t->host, &v6) == 1 ? "[%s]:%d" : "%s:%d", t->host, t->port));
    for (size_t i = 0; i < req->headers_len; i++)
        if (passes(req->headers, req->headers_len, req->headers[i].name) && !replaced(t, req->headers[i].name))
            add(req, &list, req->headers[i].name, req->headers[i].value);
    const char *upgrade = http_request_header(req, "Upgrade");
    if (req->upgrade && upgrade) {
        add(req, &list, "Connection", "Upgrade");
        add(req, &list, "Upgrade", upgrade);
    }
    add(req, &list, "X-Forwarded-For", forwarded_for(req));
    for (size_t i = 0; i < t->headers_len; i++)
        if (t->headers[i].value) add(req, &list, t->headers[i].name, t->headers[i].value);
    return list;
}

static struct header_list answer_headers(struct http_request *req, const struct upstream_response *answer) {
    struct header_list list = {0};
    for (size_t i = 0; i < answer->headers_len; i++) {
        const struct http_header *h = &answer->headers[i];
        if (answer->upgraded) {
            if (strcasecmp(h->name, "Content-Length") != 0) add(req, &list, h->name, h->value);
        } else if (passes(answer->headers, answer->headers_len, h->name) && strcasecmp(h->name, "Date") != 0) add(req, &list, h->name, h->value);
    }
    return list;
}

/* The body goes on piece by piece, no faster than the client takes it. */
static void pass_body(struct http_request *req, struct upstream *u) {
    _cleanup_buf_ struct buf piece = BUF_INIT;
    int r;
    while (http_response_wait(req, BACKLOG_BYTES_MAX) == 0 && (r = upstream_read(u, &piece, 0, NULL)) != 0) {
        if (r < 0) {
            http_request_abort(req); /* what the client has is not all there was: it must not look so */
            return;
        }
        http_response_write(req, piece.data, piece.len);
        buf_clear(&piece);
    }
    if (!http_request_closed(req)) http_response_end(req);
}

static void client_gone(void *arg) { upstream_abort(arg); }

static int pass_answer(struct http_request *req, struct upstream *u, const struct upstream_response *answer, struct status *reterr) {
    struct header_list headers = answer_headers(req, answer);
    if (answer->upgraded) {
        struct http_stream *client = http_upgrade(req, headers.items, headers.len, reterr);
        if (!client) return -1;
        http_stream_splice(client, upstream_upgrade(u), NULL, NULL);
        return 1;
    }
    bool none = answer->code == 204 || answer->code == 304;
    if (none) http_respond(req, answer->code, headers.items, headers.len, NULL, 0);
    else {
        http_response_begin(req, answer->code, headers.items, headers.len);
        pass_body(req, u);
    }
    return 0;
}

int proxy_request(struct http_request *req, const struct proxy_target *t, struct status *reterr) {
    struct upstream *u = upstream_connect(t->host, t->port, t->tls, t->connect_timeout_ms ? t->connect_timeout_ms : CONNECT_MS, reterr);
    if (!u) return -1;
    struct header_list headers = request_headers(req, t);
    struct upstream_request ask = {.method = t->method ? t->method : req->method, .target = t->target, .headers = headers.items, .headers_len = headers.len,
                                   .body = req->body, .body_len = req->body_len};
    struct upstream_response answer;
    if (!http_request_closed(req)) http_request_on_close(req, client_gone, u);
    else upstream_abort(u);
    int r = upstream_request(u, &ask, t->head_timeout_ms, req->arena, &answer, reterr);
    if (r == 0) r = pass_answer(req, u, &answer, reterr);
    http_request_on_close(req, NULL, NULL);
    if (r != 1) upstream_free(u);
    return r < 0 ? -1 : 0;
}
