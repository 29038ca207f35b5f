#include "wire/upstream_tls.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "wire/tls_files.h"

struct upstream_tls {
    atomic_int refs;
    pthread_mutex_t mutex;   /* over the next two */
    SSL_CTX *ctx;
    struct tls_files files;  /* that it was made of */
    struct arena *arena;
    struct upstream_tls_options o;
};

static int tls_error(struct status *reterr, const char *what) {
    unsigned long e = ERR_peek_last_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s: %s", what, text ? text : "cannot be read");
}

static int add_roots(SSL_CTX *ctx, const struct upstream_tls_options *o, struct status *reterr) {
    if (!o->ca_pem && !o->ca_file) {
        SSL_CTX_set_default_verify_paths(ctx);
        return 0;
    }
    if (o->ca_file && SSL_CTX_load_verify_locations(ctx, o->ca_file, NULL) != 1) return tls_error(reterr, o->ca_file);
    if (!o->ca_pem) return 0;
    BIO *bio = BIO_new_mem_buf(o->ca_pem, -1);
    X509 *cert;
    int n = 0;
    for (; (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)); n++) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    return n ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "unable to load root certificates");
}

static int add_pem_identity(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, struct status *reterr) {
    BIO *certs = BIO_new_mem_buf(cert_pem, -1), *keys = BIO_new_mem_buf(key_pem, -1);
    X509 *cert = PEM_read_bio_X509(certs, NULL, NULL, NULL), *more;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(keys, NULL, NULL, NULL);
    int r = 0;
    if (!cert || !key || SSL_CTX_use_certificate(ctx, cert) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1) r = tls_error(reterr, "client certificate");
    while (r == 0 && (more = PEM_read_bio_X509(certs, NULL, NULL, NULL))) SSL_CTX_add_extra_chain_cert(ctx, more);
    ERR_clear_error();
    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(certs);
    BIO_free(keys);
    return r;
}

static int add_identity(SSL_CTX *ctx, const struct upstream_tls_options *o, struct status *reterr) {
    if (o->cert_pem && o->key_pem) return add_pem_identity(ctx, o->cert_pem, o->key_pem, reterr);
    if (!o->cert_file || !o->key_file) return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1) return tls_error(reterr, o->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, o->key_file, SSL_FILETYPE_PEM) != 1) return tls_error(reterr, o->key_file);
    return 0;
}

static SSL_CTX *context_new(const struct upstream_tls_options *o, struct status *reterr) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CHECK(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    if ((o->insecure || add_roots(ctx, o, reterr) == 0) && add_identity(ctx, o, reterr) == 0) return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

struct upstream_tls *upstream_tls_new(const struct upstream_tls_options *options, struct status *reterr) {
    struct upstream_tls *t = calloc(1, sizeof(*t));
    CHECK(t);
    t->arena = arena_new();
    t->o = *options;
    const char **strings[] = {&t->o.ca_pem, &t->o.ca_file, &t->o.cert_pem, &t->o.key_pem, &t->o.cert_file, &t->o.key_file, &t->o.server_name};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) *strings[i] = arena_strdup(t->arena, *strings[i]);
    atomic_init(&t->refs, 1);
    pthread_mutex_init(&t->mutex, NULL);
    tls_files_init(&t->files, t->o.ca_file, t->o.cert_file, t->o.key_file);
    if ((t->ctx = context_new(&t->o, reterr))) return t;
    upstream_tls_unref(t);
    return NULL;
}

struct upstream_tls *upstream_tls_ref(struct upstream_tls *t) {
    if (t) atomic_fetch_add(&t->refs, 1);
    return t;
}

void upstream_tls_unref(struct upstream_tls *t) {
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
    SSL_CTX_free(t->ctx);
    pthread_mutex_destroy(&t->mutex);
    arena_free(t->arena);
    free(t);
}

/* With the credentials that the files hold by now. */
static SSL *session_new(struct upstream_tls *t) {
    _cleanup_status_ struct status err = STATUS_INIT;
    uint64_t now;
    pthread_mutex_lock(&t->mutex);
    SSL_CTX *next = tls_files_changed(&t->files, &now) ? context_new(&t->o, &err) : NULL;
    if (next) {
        SSL_CTX_free(t->ctx); /* sessions that use it hold it */
        t->ctx = next;
        t->files.seen = now;
    }
    SSL *ssl = SSL_new(t->ctx);
    pthread_mutex_unlock(&t->mutex);
    return ssl;
}

SSL *upstream_tls_session(struct upstream_tls *t, const char *host) {
    const char *name = t->o.server_name ? t->o.server_name : host;
    unsigned char address[16];
    bool is_address = inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
    SSL *ssl = session_new(t);
    CHECK(ssl);
    SSL_set_connect_state(ssl);
    SSL_set_alpn_protos(ssl, (const unsigned char *)"\x08http/1.1", 9);
    if (!is_address) SSL_set_tlsext_host_name(ssl, name);
    if (t->o.insecure) return ssl;
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (is_address) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
    else SSL_set1_host(ssl, name);
    return ssl;
}
