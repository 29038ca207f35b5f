/* TLS as a client. See upstream.h for struct upstream_tls. */
#ifndef CKUBE_WIRE_UPSTREAM_TLS_H
#define CKUBE_WIRE_UPSTREAM_TLS_H
#include <openssl/ssl.h>
#include "wire/upstream.h"

/* A new client session for `host`, verified as the options said. */
SSL *upstream_tls_session(struct upstream_tls *t, const char *host);
#endif
