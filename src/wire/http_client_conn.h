/* A blocking connection with deadlines: TCP or unix socket, plain or TLS. The inside of http_client; one thread at a time. */
#ifndef CKUBE_WIRE_HTTP_CLIENT_CONN_H
#define CKUBE_WIRE_HTTP_CLIENT_CONN_H
#include <openssl/ssl.h>
#include "wire/http_client.h"

struct client_conn {
    int fd;                     /* non-blocking */
    SSL *ssl;                   /* NULL: plain */
    struct http_cancel *cancel; /* of the call that uses it, or NULL */
    struct client_conn *next;   /* in the pool */
    int64_t idle_since_ns;
    bool reused;
    char local[64], remote[64]; /* for messages */
};

SSL_CTX *client_tls_context(const struct http_client_options *o, struct status *reterr);
/* Deadlines are on the monotonic clock; < 0: none. */
struct client_conn *client_conn_open(const struct http_client_options *o, SSL_CTX *tls, struct http_cancel *cancel, int64_t deadline_ns, struct status *reterr);
void client_conn_close(struct client_conn *c);
/* Attaches the connection to a call's cancel (NULL detaches); fails if it has fired. */
int client_conn_attach(struct client_conn *c, struct http_cancel *cancel, struct status *reterr);
bool client_conn_is_alive(struct client_conn *c); /* nothing has arrived while it was idle, nor its end */
/* Bytes read, 0 at the end, -1. */
ssize_t client_conn_read(struct client_conn *c, void *to, size_t len, int64_t deadline_ns, struct status *reterr);
/* Writes all; *ret_written says how much was taken, also on failure (may be NULL). */
int client_conn_write(struct client_conn *c, const void *data, size_t len, int64_t deadline_ns, size_t *ret_written, struct status *reterr);
#endif
