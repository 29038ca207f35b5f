/* The tokens that let a server or a node join a cluster: CK1<hash>::server:<secret>, CK1<hash>::node:<id>.<secret>. The node's is a bootstrap token, upstream's kind, with the hash before it.
 *
 * The hash is the SHA-256, in hex, of the cluster's serving authority (its certificate in DER), so that the joining server knows whom it hands the secret to before it does. A token
 * of the secret alone is taken too, and trusts whoever answers. k3s: K10<hash>::server:<secret>. Tests: tests/unit/test_cluster.c. */
#ifndef CKUBE_CMD_CLUSTER_TOKEN_H
#define CKUBE_CMD_CLUSTER_TOKEN_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/status.h"

enum { CLUSTER_SECRET_MIN = 8, CLUSTER_SECRET_GOOD = 16, CLUSTER_HASH_LEN = 64 };
struct cluster_token { char hash[CLUSTER_HASH_LEN + 1]; const char *secret; }; /* hash "": there is none */

/* -1 with 400: it is no token. The secret lives in the arena. */
int cluster_token_parse(struct arena *a, const char *text, struct cluster_token *ret, struct status *reterr);
char *cluster_token_text(struct arena *a, const struct cluster_token *t);
/* The same for nodes: the secret is "id.secret", six and sixteen of [a-z0-9]. */
int node_token_parse(struct arena *a, const char *text, struct cluster_token *ret, struct status *reterr);
char *node_token_text(struct arena *a, const struct cluster_token *t);
char *node_token_new_secret(struct arena *a);
char *cluster_token_new_secret(struct arena *a); /* 128 random bits in hex */
/* Whether it is long enough that nobody guesses it: who is given one that is not should be told. */
bool cluster_secret_is_good(const char *secret);
/* Of the first certificate in PEM text. -1 with a status when there is none. */
int cluster_ca_hash(const char *pem, char ret[CLUSTER_HASH_LEN + 1], struct status *reterr);
bool cluster_secrets_equal(const char *a, const char *b); /* takes as long whatever differs */
#endif
