/* A server that a kubeconfig file names, to ask it questions in JSON: webhooks for tokens and for authorization. Upstream: apiserver pkg/util/webhook.
 *
 * Calls are made in fibers (the loop goes on meanwhile), each on a connection of its own; failures that may pass are tried again, up to five times, with growing pauses. Immutable. */
#ifndef CKUBE_APISERVER_WEBHOOK_CLIENT_H
#define CKUBE_APISERVER_WEBHOOK_CLIENT_H
#include <stdatomic.h>
#include <stdbool.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

struct webhook_client;
struct webhook_client *webhook_client_new(const char *kubeconfig_file, int timeout_ms, struct status *reterr);
void webhook_client_free(struct webhook_client *w); /* NULL is fine */
/* POSTs and appends the answer's body. -1: no answer with a code of 2xx came. */
int webhook_client_post(struct webhook_client *w, struct arena *a, const struct buf *body, struct buf *ret, struct status *reterr);
struct webhook_retry {
    int backoff_ms;          /* before the second try; half as much again before each further one */
    bool any_failure;        /* all are tried again, not only those that may pass */
    int deadline_ms;         /* for all of it; 0: none */
    const atomic_bool *stop; /* once set, there is no further try; may be NULL */
};
int webhook_client_post_retrying(struct webhook_client *w, struct arena *a, const struct buf *body, struct buf *ret, const struct webhook_retry *how, struct status *reterr);
#endif
