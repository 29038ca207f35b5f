/* TLS for the server: certificates, ALPN, and client certificates that are verified but never demanded. */
#include <openssl/err.h>
#include <string.h>
#include "wire/http_conn.h"

static int select_alpn(SSL *ssl UNUSED, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *arg UNUSED) {
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *picked;
    if (SSL_select_next_proto(&picked, out_len, ours, sizeof(ours) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
    *out = picked;
    return SSL_TLSEXT_ERR_OK;
}

/* A bad client certificate does not end the handshake: the request is refused with a 401 that says so. */
static int accept_any(int ok UNUSED, X509_STORE_CTX *ctx UNUSED) { return 1; }

static int tls_error(struct status *reterr, const char *what, const char *file) {
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s %s: %s", what, file, text);
}

SSL_CTX *tls_server_context(const char *cert_file, const char *key_file, const char *client_ca_file, struct status *reterr) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    CHECK(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"ckube", 5);
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"); /* in the order of Go's server */
    SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                 "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
                                 "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA");
    SSL_CTX_set_num_tickets(ctx, 1); /* as Go's server; each costs every handshake */
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    int failed = 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1) failed = tls_error(reterr, "reading certificate", cert_file);
    else if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1) failed = tls_error(reterr, "reading key", key_file);
    else if (client_ca_file) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, accept_any);
        if (SSL_CTX_load_verify_locations(ctx, client_ca_file, NULL) != 1) failed = tls_error(reterr, "reading client CA", client_ca_file);
        else SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(client_ca_file));
    }
    if (!failed) return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}
