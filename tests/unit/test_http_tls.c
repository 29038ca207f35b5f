/* wire/http_server over TLS: client certificates, ALPN, versions, new certificates while it runs. Driven by OpenSSL on blocking sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "wire/http_server.h"

enum { LARGE_BYTES = 6 << 20 };

static struct http_server *server;
static struct shared *large;
static char folder[] = "/tmp/test_http_tls_XXXXXX";

/* ---- certificates ---- */

struct identity { X509 *cert; EVP_PKEY *key; };

static struct identity make_identity(const char *cn, const struct identity *issuer) {
    struct identity id = {X509_new(), EVP_EC_gen("P-256")};
    X509_NAME *name = X509_get_subject_name(id.cert);
    X509_set_version(id.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), (long)env_random_below(env_real(), 1000000) + 1);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600);
    X509_set_pubkey(id.cert, id.key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(id.cert, issuer ? X509_get_subject_name(issuer->cert) : name);
    if (!issuer) {
        X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(id.cert, ca, -1);
        X509_EXTENSION_free(ca);
    }
    assert_true(X509_sign(id.cert, issuer ? issuer->key : id.key, EVP_sha256()) > 0);
    return id;
}

static void identity_release(struct identity *id) {
    X509_free(id->cert);
    EVP_PKEY_free(id->key);
}

static const char *path_of(const char *name) {
    static char paths[4][128];
    static int next;
    char *p = paths[next++ % 4];
    snprintf(p, sizeof(paths[0]), "%s/%s", folder, name);
    return p;
}

static void save(const struct identity *id, const char *cert, const char *key) {
    FILE *f = fopen(path_of(cert), "w");
    PEM_write_X509(f, id->cert);
    fclose(f);
    if (!key) return;
    f = fopen(path_of(key), "w");
    PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

static struct identity ca, other_ca, serving, renewed, user, stranger;

/* ---- the server ---- */

static void handler(struct http_request *req, void *ctx UNUSED) {
    char name[64] = "nobody";
    const struct http_slice whole = {NULL, 0, large};
    if (strcmp(req->path, "/large") == 0) {
        http_respond(req, 200, NULL, 0, &whole, 1);
        return;
    }
    if (req->peer_cert) X509_NAME_get_text_by_NID(X509_get_subject_name(req->peer_cert), NID_commonName, name, sizeof(name));
    char *text = arena_printf(req->arena, "user=%s invalid=%d sent=%d", name, req->peer_cert_invalid, req->peer_chain ? sk_X509_num(req->peer_chain) : 0);
    const struct http_slice body = {text, strlen(text), NULL};
    http_respond(req, 200, NULL, 0, &body, 1);
}

static int start(void **state UNUSED) {
    if (!mkdtemp(folder)) return -1;
    ca = make_identity("ca", NULL);
    other_ca = make_identity("other ca", NULL);
    serving = make_identity("serving", &ca);
    renewed = make_identity("renewed", &ca);
    user = make_identity("alice", &ca);
    stranger = make_identity("mallory", &other_ca);
    save(&ca, "ca.crt", NULL);
    save(&serving, "serving.crt", "serving.key");
    save(&renewed, "renewed.crt", "renewed.key");
    char *bytes = malloc(LARGE_BYTES);
    memset(bytes, 'l', LARGE_BYTES);
    large = shared_new(bytes, LARGE_BYTES);
    free(bytes);
    struct http_server_options o = {.bind_address = "127.0.0.1", .loops = 2, .cert_file = path_of("serving.crt"), .key_file = path_of("serving.key"),
        .client_ca_file = path_of("ca.crt"),
                                    .header_timeout_ms = 300, .handler = handler};
    server = http_server_new(&o, NULL);
    return server ? 0 : -1;
}

static int stop(void **state UNUSED) {
    static const char *const names[] = {"ca.crt", "serving.crt", "serving.key", "renewed.crt", "renewed.key"};
    struct identity *ids[] = {&ca, &other_ca, &serving, &renewed, &user, &stranger};
    http_server_free(server, 100);
    shared_unref(large);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) identity_release(ids[i]);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) unlink(path_of(names[i]));
    rmdir(folder);
    return 0;
}

/* ---- the client ---- */

struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static int dial(void) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 3};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

/* 1: agreed; else not. */
static int client_open(struct client *c, const struct identity *id, int version, const char *alpn) {
    c->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(c->ctx, version);
    SSL_CTX_set_max_proto_version(c->ctx, version);
    SSL_CTX_set_options(c->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (version < TLS1_2_VERSION) SSL_CTX_set_security_level(c->ctx, 0);
    if (id) {
        SSL_CTX_use_certificate(c->ctx, id->cert);
        SSL_CTX_use_PrivateKey(c->ctx, id->key);
    }
    c->fd = dial();
    c->ssl = SSL_new(c->ctx);
    SSL_set_fd(c->ssl, c->fd);
    if (alpn) SSL_set_alpn_protos(c->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    return SSL_connect(c->ssl);
}

static void client_close(struct client *c) {
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
    ERR_clear_error();
}

/* Sends the text and reads until `until` has come or the end has. */
static const char *talk(struct client *c, const char *text, const char *until) {
    static char got[8192];
    size_t len = 0;
    if (*text) assert_int_equal(SSL_write(c->ssl, text, (int)strlen(text)), (int)strlen(text));
    got[0] = 0;
    while (len < sizeof(got) - 1 && !strstr(got, until)) {
        int n = SSL_read(c->ssl, got + len, (int)(sizeof(got) - 1 - len));
        if (n <= 0) break;
        len += (size_t)n;
        got[len] = 0;
    }
    return got;
}

static void contains(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no \"%s\" in \"%.300s\"", part, text);
}

static const char request[] = "GET /who HTTP/1.1\r\nHost: h\r\n\r\n";

static void a_client_certificate_names_the_user(void **state UNUSED) {
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct client c;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        assert_int_equal(client_open(&c, &user, versions[i], NULL), 1);
        contains(talk(&c, request, "sent="), "user=alice invalid=0 sent=1");
        contains(talk(&c, request, "sent="), "user=alice invalid=0 sent=1");
        client_close(&c);
    }
}

static void a_certificate_of_another_authority_is_reported_not_believed(void **state UNUSED) {
    struct client c;
    assert_int_equal(client_open(&c, &stranger, TLS1_3_VERSION, NULL), 1);
    contains(talk(&c, request, "sent="), "user=nobody invalid=1 sent=1");
    client_close(&c);
}

static void a_client_without_certificate_is_served(void **state UNUSED) {
    struct client c;
    assert_int_equal(client_open(&c, NULL, TLS1_3_VERSION, NULL), 1);
    contains(talk(&c, request, "sent="), "user=nobody invalid=0 sent=0");
    client_close(&c);
}

static void http_2_is_preferred_and_http_1_1_spoken_without_alpn(void **state UNUSED) {
    static const struct { const char *offered, *chosen; } cases[] = {{"\x08http/1.1\x02h2", "h2"}, {"\x08http/1.1", "http/1.1"}, {"\x04spdy", ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const unsigned char *proto;
        unsigned len;
        struct client c;
        assert_int_equal(client_open(&c, NULL, TLS1_3_VERSION, cases[i].offered), 1);
        SSL_get0_alpn_selected(c.ssl, &proto, &len);
        assert_int_equal(len, strlen(cases[i].chosen));
        assert_memory_equal(proto ? (const char *)proto : "", cases[i].chosen, len);
        client_close(&c);
    }
}

static void old_versions_are_refused(void **state UNUSED) {
    struct client c;
    assert_int_not_equal(client_open(&c, NULL, TLS1_1_VERSION, NULL), 1);
    client_close(&c);
}

static void a_large_answer_arrives_whole(void **state UNUSED) {
    static char piece[64 << 10];
    struct client c;
    size_t total = 0;
    int n;
    assert_int_equal(client_open(&c, NULL, TLS1_3_VERSION, NULL), 1);
    static const char ask[] = "GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    SSL_write(c.ssl, ask, sizeof(ask) - 1);
    while ((n = SSL_read(c.ssl, piece, sizeof(piece))) > 0) total += (size_t)n;
    assert_in_range(total, LARGE_BYTES + 50, LARGE_BYTES + 500);
    assert_int_equal(piece[0], 'l');
    client_close(&c);
}

static void plain_http_is_told_so(void **state UNUSED) {
    char got[256] = "";
    int fd = dial();
    assert_int_equal(write(fd, request, sizeof(request) - 1), (ssize_t)sizeof(request) - 1);
    assert_true(read(fd, got, sizeof(got) - 1) > 0);
    assert_string_equal(got, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    close(fd);
}

static void garbage_and_silence_end_the_connection(void **state UNUSED) {
    static const char *const sent[] = {"\x16\x03\x01\x02", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x16\x03\x01\x00\x05hello", ""};
    for (size_t i = 0; i < ARRAY_LEN(sent); i++) {
        char got[256];
        int fd = dial();
        if (*sent[i]) assert_true(write(fd, sent[i], strlen(sent[i])) > 0);
        ssize_t n;
        while ((n = read(fd, got, sizeof(got))) > 0) {} /* an alert, perhaps */
        assert_true(n == 0 || errno == ECONNRESET);
        close(fd);
    }
}

static void new_certificates_serve_new_connections(void **state UNUSED) {
    struct client old, fresh;
    char name[64];
    assert_int_equal(client_open(&old, &user, TLS1_3_VERSION, NULL), 1);
    _cleanup_status_ struct status st = STATUS_INIT;
    assert_int_equal(http_server_reload_tls(server, path_of("missing"), path_of("renewed.key"), path_of("ca.crt"), &st), -1);
    assert_int_equal(http_server_reload_tls(server, path_of("renewed.crt"), path_of("renewed.key"), path_of("ca.crt"), NULL), 0);
    contains(talk(&old, request, "sent="), "user=alice");
    assert_int_equal(client_open(&fresh, &user, TLS1_3_VERSION, NULL), 1);
    X509 *cert = SSL_get1_peer_certificate(fresh.ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
    assert_string_equal(name, "renewed");
    X509_free(cert);
    contains(talk(&fresh, request, "sent="), "user=alice");
    client_close(&old);
    client_close(&fresh);
}

static void a_key_that_does_not_fit_is_an_error(void **state UNUSED) {
    struct http_server_options o = {.bind_address = "127.0.0.1", .cert_file = path_of("serving.crt"), .key_file = path_of("renewed.key"), .handler = handler};
    _cleanup_status_ struct status st = STATUS_INIT;
    assert_null(http_server_new(&o, &st));
    contains(status_message(&st), "key");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_certificate_names_the_user),
        cmocka_unit_test(a_certificate_of_another_authority_is_reported_not_believed),
        cmocka_unit_test(a_client_without_certificate_is_served),
        cmocka_unit_test(http_2_is_preferred_and_http_1_1_spoken_without_alpn),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(a_large_answer_arrives_whole),
        cmocka_unit_test(plain_http_is_told_so),
        cmocka_unit_test(garbage_and_silence_end_the_connection),
        cmocka_unit_test(new_certificates_serve_new_connections),
        cmocka_unit_test(a_key_that_does_not_fit_is_an_error),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
