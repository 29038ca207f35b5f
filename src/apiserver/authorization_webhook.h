/* Authorization by a server of the user's: SubjectAccessReviews are posted to it. Upstream: apiserver plugin/pkg/authorizer/webhook.
 *
 * Answers are kept for a while (at most 8192 of them), those to long questions not. Conditions in CEL may keep a request from it: one that is false skips the webhook, one that
 * cannot be told counts like no answer. Called in fibers; any loop. Tests: tests/integration/test_access.py. */
#ifndef CKUBE_APISERVER_AUTHORIZATION_WEBHOOK_H
#define CKUBE_APISERVER_AUTHORIZATION_WEBHOOK_H
#include "apiserver/authorization.h"
#include "apiserver/authorization_config.h"

struct authorization_webhook_options {
    const char *config_file;                     /* a kubeconfig */
    const char *version;                         /* of SubjectAccessReview: v1, v1beta1; NULL: v1beta1 */
    int64_t authorized_ttl_ns, unauthorized_ttl_ns; /* 0: not kept */
    const char *name;                            /* in metrics; NULL: "default", as upstream calls that of the flags */
    int timeout_ms;                              /* 0: 30 s */
    bool deny_on_error;                          /* no answer is a no, rather than no opinion */
    const struct authorization_conditions *conditions; /* what must hold for it to be asked; NULL: nothing. Must live as long */
};
struct authorization_webhook;
struct authorization_webhook *authorization_webhook_new(const struct authorization_webhook_options *o, struct status *reterr);
void authorization_webhook_free(struct authorization_webhook *w); /* NULL is fine */
/* *ret_error: why it could not be asked; in the arena. */
enum authz_decision authorization_webhook_decide(struct authorization_webhook *w, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason, const char **ret_error);
void authorization_webhook_put_metrics(struct buf *out);
#endif
