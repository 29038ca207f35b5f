/* How bytes get to an apiserver and back: over HTTPS, or by a direct call into the request pipeline of this process.
 *
 * struct client (client.h) speaks the API over one of these and does not know which. Thread-safe, blocking. HTTPS: transport_https.c; in-process:
 * apiserver/local_transport.h, which authenticates nobody, since the caller is named by this process, but authorizes and admits as for anyone. */
#ifndef CKUBE_CLIENT_TRANSPORT_H
#define CKUBE_CLIENT_TRANSPORT_H
#include <stdbool.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/status.h"

struct transport_call {
    const char *method, *target;       /* target: path and query */
    const char *accept, *content_type; /* NULL: JSON */
    const void *body;                  /* NULL: none */
    size_t body_len;
    const char *fence;                 /* header Ckube-Lease-Fence, see lease_fence.h; NULL: none */
    int timeout_ms;                    /* of the whole call, or of a stream's head; 0: none */
};

struct transport_stream;
struct transport {
    /* One request and its whole answer, appended to *ret_body. -1: no answer came (refused, time-out, cut). */
    int (*call)(struct transport *t, const struct transport_call *c, int *ret_code, struct buf *ret_body, struct status *reterr);
    struct transport_stream *(*stream_new)(struct transport *t);
    void (*free)(struct transport *t);
};
/* One streamed answer, owned by one thread; cancel alone may come from another, at any time. */
struct transport_stream {
    int (*open)(struct transport_stream *s, const struct transport_call *c, int *ret_code, struct status *reterr);
    ssize_t (*read)(struct transport_stream *s, void *to, size_t len, int timeout_ms, struct status *reterr); /* 0: its end; -1: cut, cancelled, time-out */
    void (*cancel)(struct transport_stream *s);
    void (*free)(struct transport_stream *s);
};
static inline void transport_free(struct transport *t) { if (t) t->free(t); }

struct http_client_options;
/* Over TCP. token, or token_file (read again each minute, as tokens rotate); both may be NULL. NULL with a status if the credentials are bad. */
struct transport *transport_https_new(const struct http_client_options *options, const char *token, const char *token_file, struct status *reterr);
/* Over HTTPS: further servers, "https://a:6443,https://b:6443", of the same cluster: certificates and token are for them too. What is tried when is told in transport_https.c. */
int transport_https_servers(struct transport *t, const char *urls, struct status *reterr);
/* The same for servers that were learnt; they take the place of those learnt before. Any thread. */
void transport_https_learn(struct transport *t, const char *urls);
bool transport_https_has_choice(struct transport *t); /* whether it knows more than one */
/* Server and credentials of a kubeconfig's current context. Upstream: clientcmd. */
struct transport *transport_from_kubeconfig(const char *path, struct status *reterr);
/* The same server, but another client certificate. */
struct transport *transport_from_kubeconfig_as(const char *path, const char *cert_file, const char *key_file, struct status *reterr);
#endif
