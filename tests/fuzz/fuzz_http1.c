/* Fuzzes the HTTP server's input: the bytes go to a connection of a running server, HTTP/1.1 or (behind its preface) HTTP/2, in two pieces cut where the
 * first byte says. Nothing may crash or leak, and each connection must end once its client has. Corpus: tests/fuzz/corpus/http1. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "wire/http_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http_stream *raw;

static void echo(void *arg UNUSED, const char *data, size_t len) { http_stream_write(raw, data, len); }

static void handler(struct http_request *req, void *ctx UNUSED) {
    const struct http_header h[] = {{"Content-Type", "text/plain"}};
    const struct http_slice body = {req->body, req->body_len, NULL};
    const struct http_stream_handler echoing = {.on_data = echo};
    size_t sum = 0; /* every byte that a handler may look at is there */
    for (size_t i = 0; i < req->headers_len; i++) sum += strlen(req->headers[i].name) + strlen(req->headers[i].value);
    CHECK(sum < 1 << 20 && strlen(req->method) < 100 && strlen(req->path) + strlen(req->query) < 1 << 20);
    if (req->upgrade && req->path[0] && req->path[1] == 'r' && (raw = http_upgrade(req, h, 1, NULL))) {
        http_stream_start(raw, &echoing);
        return;
    }
    if (req->path[0] && req->path[1] == 's') {
        http_response_begin(req, 200, h, 1);
        http_response_write(req, req->body, req->body_len);
        http_response_end(req);
    } else http_respond(req, req->body_too_large ? 413 : 200, h, 1, &body, 1);
}

static struct http_server *server;

static void stop(void) { http_server_free(server, 1000); }

static int dial(void) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger now = {.l_onoff = 1, .l_linger = 0}; /* thousands of connections a second must not use up the ports */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!server) {
        struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 1, .body_bytes_max = 1000, .header_bytes_max = 20000, .handler = handler};
        server = http_server_new(&o, NULL);
        CHECK(server);
        atexit(stop);
    }
    if (size < 1 || size > 100000) return 0;
    size_t cut = 1 + (size - 1) * data[0] / 256;
    int fd = dial();
    if (send(fd, data + 1, cut - 1, MSG_NOSIGNAL) >= 0 && send(fd, data + cut, size - cut, MSG_NOSIGNAL) >= 0) shutdown(fd, SHUT_WR);
    char answer[4096];
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        CHECK(poll(&p, 1, 20000) == 1); /* the server must end what the client has ended */
        if (read(fd, answer, sizeof(answer)) <= 0) break;
    }
    close(fd);
    return 0;
}
