/* Who asks. Upstream: authentication/request and kubeapiserver/authenticator.
 *
 * In upstream's order: a front proxy's headers, the client certificate, a bearer token (static, of a ServiceAccount, for bootstrap, of an OpenID Connect issuer, known to a
 * webhook), nobody (system:anonymous). Any thread; may wait for others, in fibers. */
#ifndef CKUBE_APISERVER_AUTHENTICATION_H
#define CKUBE_APISERVER_AUTHENTICATION_H
#include "apiserver/apiserver.h"
#include "apiserver/request.h"
#include "apiserver/service_account_tokens.h"

struct authenticator;
struct authenticator *authenticator_new(const struct apiserver_options *options, struct status *reterr);
void authenticator_free(struct authenticator *a);
struct service_account_tokens *authenticator_service_accounts(struct authenticator *a);
/* Fills r->user; -1 with 401 Unauthorized. A request of the server's own (in-process) has its user set and does not come here. */
int authenticate(struct authenticator *a, struct api_request *r, struct status *reterr);
/* Whose token this is; wanted NULL: for this apiserver. The groups do not have system:authenticated yet. */
enum token_outcome authenticate_token(struct authenticator *a, struct api_request *r, const char *token, const struct string_list *wanted, struct token_verdict *ret);
/* TokenReview and SelfSubjectReview: true when the request was one of them. token_review.c */
bool handle_authentication_review(struct api_request *r);

/* ---- bootstrap_tokens.c ---- */
/* ID.SECRET against the Secrets bootstrap-token-ID in kube-system. */
enum token_outcome bootstrap_token_authenticate(struct store *store, int64_t now_s, struct arena *a, const char *token, struct user_info *ret);

/* ---- front_proxy.c ---- */
struct front_proxy;
struct front_proxy *front_proxy_new(const struct apiserver_options *o, struct status *reterr); /* NULL without an error when none is configured */
void front_proxy_free(struct front_proxy *p);
bool front_proxy_authenticate(struct front_proxy *p, struct api_request *r); /* fills r->user */
#endif
