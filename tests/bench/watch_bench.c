/* What watching costs: `watch_bench PORT PID TOKEN WATCHERS [--http2] [--rate R --seconds S] [--idle S]`, against a server on 127.0.0.1 whose process is PID.
 *
 * One thread with epoll holds all the connections, each with TLS and one watch of the ConfigMaps of the namespace default, so that the client takes little
 * of the cores it shares with the server. With --rate one ConfigMap is written R times a second, with the time in its data, which each watcher compares
 * with the time at which it gets the event: what is measured begins before the write is sent. With --idle it only waits and looks at the server's memory.
 * Prints `name value` a line: established_s, established_cpu_s, deliveries, expected, cpu (of the server, in cores), p50_ms, p99_ms, max_ms, client_cpu, rss_mb. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "base/macros.h"

enum { PATH_MAX_BYTES = 512, LATENCY_STEP_US = 100, LATENCY_STEPS = 100000, READ_BYTES = 64 << 10, VALUE_BYTES = 256, CONNECTING_MAX = 256 };
#define MARK "\"at\":\"" /* before the time in an event */
enum { STAMP_BYTES = 20 };

struct peer {
    SSL *ssl;
    int fd;
    uint32_t events;
    bool open, watching;
    char tail[64];             /* the last bytes of what came: a mark or a stamp may be cut in two */
    size_t tail_len;
};

static struct {
    int port, pid, epoll;
    const char *token;
    bool http2;
    size_t n, watching, connected;
    struct peer *peers, writer;
    SSL_CTX *tls;
    unsigned long long deliveries;
    unsigned latency[LATENCY_STEPS + 1];
    int64_t latency_max_ns;
} b;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static _Noreturn void die(const char *what) {
    fprintf(stderr, "watch_bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double client_cpu_s(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double server_cpu_s(void) {
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", b.pid);
    FILE *f = fopen(path, "r");
    if (!f) die(path);
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = 0;
    unsigned long user = 0, sys = 0;
    char *at = strrchr(text, ')');
    if (!at || sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2) die(path);
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static double server_rss_mb(void) {
    char path[64], line[256];
    double kb = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", b.pid);
    FILE *f = fopen(path, "r");
    if (!f) die(path);
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %lf", &kb) == 1) break;
    fclose(f);
    return kb / 1024;
}

/* ---- connections ---- */

static void poll_for(struct peer *p, uint32_t events) {
    if (p->events == events) return;
    struct epoll_event e = {.events = events, .data.ptr = p};
    if (epoll_ctl(b.epoll, p->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p->fd, &e) != 0) die("epoll_ctl");
    p->events = events;
}

static void peer_connect(struct peer *p, bool http2) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    *p = (struct peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (p->fd < 0) die("socket");
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(p->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS) die("connect");
    p->ssl = SSL_new(b.tls);
    if (!p->ssl || SSL_set_fd(p->ssl, p->fd) != 1) die("SSL_new");
    if (http2) SSL_set_alpn_protos(p->ssl, (const unsigned char *)"\x02h2", 3);
    SSL_set_connect_state(p->ssl);
    poll_for(p, EPOLLIN | EPOLLOUT);
}

static void send_all(struct peer *p, const void *data, size_t len) {
    size_t done;
    if (SSL_write_ex(p->ssl, data, len, &done) != 1 || done != len) die("writing a request"); /* far less than a socket's buffer */
}

/* ---- HTTP/2, as much as a watch needs ---- */

static size_t put_frame(unsigned char *to, unsigned char type, unsigned char flags, uint32_t stream, const void *data, size_t len) {
    unsigned char head[9] = {(unsigned char)(len >> 16), (unsigned char)(len >> 8), (unsigned char)len, type, flags,
                             (unsigned char)(stream >> 24), (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};
    memcpy(to, head, sizeof(head));
    memcpy(to + sizeof(head), data, len);
    return sizeof(head) + len;
}

/* A literal header field, not indexed, without Huffman; values up to 126 bytes. */
static size_t put_field(unsigned char *to, const char *name, const char *value) {
    size_t n = strlen(name), v = strlen(value);
    to[0] = 0;
    to[1] = (unsigned char)n;
    memcpy(to + 2, name, n);
    to[2 + n] = (unsigned char)v;
    memcpy(to + 3 + n, value, v);
    return 3 + n + v;
}

static void send_http2(struct peer *p, const char *path, const char *bearer) {
    static const unsigned char window_max[6] = {0, 4, 0x7f, 0xff, 0xff, 0xff}, more[4] = {0x7f, 0xfe, 0, 0};
    unsigned char out[2048], fields[1024];
    size_t n = 24, f = 0;
    memcpy(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    n += put_frame(out + n, 4, 0, 0, window_max, sizeof(window_max));
    n += put_frame(out + n, 4, 1, 0, "", 0);
    n += put_frame(out + n, 8, 0, 0, more, sizeof(more));
    f += put_field(fields + f, ":method", "GET");
    f += put_field(fields + f, ":scheme", "https");
    f += put_field(fields + f, ":authority", "localhost");
    f += put_field(fields + f, ":path", path);
    f += put_field(fields + f, "authorization", bearer);
    n += put_frame(out + n, 1, 5, 1, fields, f);
    send_all(p, out, n);
}

static void send_watch(struct peer *p) {
    static const char path[] = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0&allowWatchBookmarks=true";
    char text[PATH_MAX_BYTES + 256], bearer[128];
    snprintf(bearer, sizeof(bearer), "Bearer %s", b.token);
    if (b.http2) {
        send_http2(p, path, bearer);
        return;
    }
    send_all(p, text, (size_t)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n\r\n", path, bearer));
}

/* ---- what comes ---- */

static void note_delivery(const char *stamp, int64_t now) {
    int64_t took = now - strtoll(stamp, NULL, 10);
    b.deliveries++;
    b.latency_max_ns = MAX(b.latency_max_ns, took);
    b.latency[MIN(MAX(took, (int64_t)0) / (LATENCY_STEP_US * 1000), (int64_t)LATENCY_STEPS)]++;
}

/* Counts the events in what came, together with the bytes kept of before; keeps what may be the beginning of one. */
static void take(struct peer *p, char *data, size_t len, int64_t now) {
    enum { WHOLE = sizeof(MARK) - 1 + STAMP_BYTES };
    char *from = data - p->tail_len, *end = data + len, *at;
    memcpy(from, p->tail, p->tail_len);
    p->tail_len = 0;
    while ((at = memmem(from, (size_t)(end - from), MARK, sizeof(MARK) - 1)) && end - at >= WHOLE) {
        note_delivery(at + sizeof(MARK) - 1, now);
        from = at + WHOLE;
    }
    if (!at) at = MAX(from, end - (long)sizeof(MARK) + 2);
    p->tail_len = (size_t)(end - at);
    memcpy(p->tail, at, p->tail_len);
}

static void began(struct peer *p) {
    p->watching = true;
    b.watching++;
}

/* The head of an answer: HTTP/1.1's status line, or a HEADERS frame that ends its headers. */
static bool is_head(const char *data, size_t len) {
    return (b.http2 ? memmem(data, len, "\x01\x04\x00\x00\x00\x01", 6) : memmem(data, len, "HTTP/1.1 200", 12)) != NULL;
}

static void read_peer(struct peer *p) {
    static char room[sizeof(p->tail) + READ_BYTES + 1];
    char *data = room + sizeof(p->tail);
    size_t n;
    while (SSL_read_ex(p->ssl, data, READ_BYTES, &n) == 1) {
        data[n] = 0;
        if (p == &b.writer) {
            if (memmem(data, n, "HTTP/1.1 ", 9) && !memmem(data, n, "HTTP/1.1 20", 11)) {
                fprintf(stderr, "watch_bench: the write failed: %.400s\n", data);
                exit(1);
            }
            continue;
        }
        if (!p->watching && is_head(data, n)) began(p);
        take(p, data, n, now_ns());
    }
    int e = SSL_get_error(p->ssl, 0);
    if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) {
        fprintf(stderr, "watch_bench: a connection ended (TLS error %d)\n", e);
        exit(1);
    }
}

static void on_peer(struct peer *p) {
    if (!p->open) {
        int n = SSL_do_handshake(p->ssl), e = n == 1 ? SSL_ERROR_NONE : SSL_get_error(p->ssl, n);
        if (n != 1 && e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) die("TLS handshake");
        poll_for(p, e == SSL_ERROR_WANT_WRITE ? EPOLLIN | EPOLLOUT : EPOLLIN);
        if (n != 1) return;
        p->open = true;
        b.connected++;
        if (p != &b.writer) send_watch(p);
    }
    read_peer(p);
}

static void turn(int timeout_ms) {
    struct epoll_event events[512];
    int n = epoll_wait(b.epoll, events, ARRAY_LEN(events), timeout_ms);
    for (int i = 0; i < n; i++) on_peer(events[i].data.ptr);
}

/* ---- the three measurements ---- */

static void establish(void) {
    double cpu = server_cpu_s();
    int64_t start = now_ns();
    for (size_t i = 0; i < b.n;) {
        for (; i < b.n && i - b.watching < CONNECTING_MAX; i++) peer_connect(&b.peers[i], b.http2);
        turn(1);
    }
    while (b.watching < b.n) {
        turn(100);
        if (now_ns() - start > 120000000000LL) die("not all watches begin");
    }
    printf("established_s %.3f\nestablished_cpu_s %.2f\n", (double)(now_ns() - start) / 1e9, server_cpu_s() - cpu);
}

static void send_update(void) {
    char body[1024], text[1536], value[VALUE_BYTES + 1];
    memset(value, 'x', VALUE_BYTES);
    value[VALUE_BYTES] = 0;
    int n = snprintf(body, sizeof(body), "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"watched\"},\"data\":{\"at\":\"%0*lld\",\"more\":\"%s\"}}", STAMP_BYTES, (long long)now_ns(), value);
    send_all(&b.writer, text, (size_t)snprintf(text, sizeof(text),
        "PUT /api/v1/namespaces/default/configmaps/watched HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", b.token, n, body));
}

static double latency_ms(double part) {
    unsigned long long want = (unsigned long long)((double)b.deliveries * part), seen = 0;
    for (size_t i = 0; i <= LATENCY_STEPS; i++)
        if ((seen += b.latency[i]) > want) return (double)(i + 1) * LATENCY_STEP_US / 1000;
    return 0;
}

static void fan_out(int rate, int seconds) {
    peer_connect(&b.writer, false);
    while (!b.writer.open) turn(10);
    double cpu = server_cpu_s(), own = client_cpu_s();
    int64_t start = now_ns(), step = 1000000000LL / rate;
    unsigned long long updates = 0, expected;
    while (updates < (unsigned long long)rate * (unsigned)seconds) {
        int64_t due = start + (int64_t)updates * step, left = due - now_ns();
        if (left <= 0) {
            send_update();
            updates++;
        }
        turn(left <= 0 ? 0 : (int)(left / 1000000));
    }
    expected = updates * b.n;
    double took = (double)(now_ns() - start) / 1e9, server = server_cpu_s() - cpu, client = client_cpu_s() - own;
    for (int64_t until = now_ns() + 30000000000LL; b.deliveries < expected && now_ns() < until;) turn(20);
    printf("deliveries %llu\nexpected %llu\ncpu %.3f\nclient_cpu %.3f\np50_ms %.1f\np99_ms %.1f\nmax_ms %.1f\n", b.deliveries, expected, server / took, client / took, latency_ms(0.5), latency_ms(0.99),
           (double)b.latency_max_ns / 1e6);
}

static void prepare(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    b.epoll = epoll_create1(EPOLL_CLOEXEC);
    b.tls = SSL_CTX_new(TLS_client_method());
    b.peers = calloc(b.n, sizeof(*b.peers));
    if (b.epoll < 0 || !b.tls || !b.peers) die("memory");
    SSL_CTX_set_read_ahead(b.tls, 1);
    SSL_CTX_set_session_cache_mode(b.tls, SSL_SESS_CACHE_OFF);
    if (b.n > 2000) SSL_CTX_set_mode(b.tls, SSL_MODE_RELEASE_BUFFERS); /* many that rest: the client's memory counts too */
}

int main(int argc, char **argv) {
    int rate = 0, seconds = 10, idle = 0;
    if (argc < 5) {
        fprintf(stderr, "usage: watch_bench PORT PID TOKEN WATCHERS [--http2] [--rate R --seconds S] [--idle S]\n");
        return 2;
    }
    b.port = atoi(argv[1]);
    b.pid = atoi(argv[2]);
    b.token = argv[3];
    b.n = strtoul(argv[4], NULL, 10);
    for (int i = 5; i < argc; i++) {
        if (strcmp(argv[i], "--http2") == 0) b.http2 = true;
        else if (i + 1 < argc && strcmp(argv[i], "--rate") == 0) rate = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0) seconds = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--idle") == 0) idle = atoi(argv[++i]);
    }
    prepare();
    establish();
    if (rate) fan_out(rate, seconds);
    for (int64_t until = now_ns() + idle * 1000000000LL; now_ns() < until;) turn(100);
    if (idle) printf("rss_mb %.1f\n", server_rss_mb());
    return 0;
}
