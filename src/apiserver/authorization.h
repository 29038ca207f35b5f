/* Whether a user may do something: the chain of authorizers. Upstream: apiserver/pkg/authorization and kubeapiserver/authorizer.
 *
 * Group system:masters may do anything, whatever the modes. Then each mode in the order given; the first that allows or denies decides; if none has an
 * opinion, it is denied. The chain is set by flags, or by a file and then replaced as a whole while questions go on. Any thread. */
#ifndef CKUBE_APISERVER_AUTHORIZATION_H
#define CKUBE_APISERVER_AUTHORIZATION_H
#include "api/selector.h"
#include "apiserver/request.h"

enum authz_decision { AUTHZ_NO_OPINION, AUTHZ_ALLOW, AUTHZ_DENY };

/* What is asked for; upstream's authorizer.Attributes. NULL strings are empty. */
struct authz_attributes {
    const struct user_info *user;
    bool resource_request;
    const char *verb, *namespace, *group, *version, *resource, *subresource, *name;
    const char *path;                  /* of a request that is for no resource */
    const struct field_selector *fields; /* of list, watch and deletecollection; NULL: none, or not readable */
    const struct selector *labels;       /* the same */
};

struct authorizer;
struct rbac;
struct store;
struct authorization_webhook_options;
/* modes: "Node,RBAC" and the like, of Node, RBAC, AlwaysAllow, AlwaysDeny, Webhook; NULL: Node,RBAC. webhook: NULL or without a file if there is none. NULL with words for a mode
 * that is unknown, given twice or not configured. */
struct authorizer *authorizer_new(const char *modes, const struct authorization_webhook_options *webhook, struct store *store, struct status *reterr);
/* By the file of --authorization-config, which is read again when it changes; what is wrong then leaves the chain as it was. Types other than Webhook must stay those of the start. */
struct authorizer *authorizer_new_from_file(const char *file, struct store *store, struct status *reterr);
void authorizer_free(struct authorizer *z);
void authorizer_put_metrics(struct buf *out);
struct rbac *authorizer_rbac(struct authorizer *z); /* always there: escalation checks need it whatever the modes are */
bool authorizer_has_rbac_mode(struct authorizer *z);

/* *ret_reason (may be NULL) is upstream's text, "" when there is none; it lives in the arena. */
enum authz_decision authorizer_decide(struct authorizer *z, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason);
/* The same; *ret_error is what went wrong on the way (a webhook that cannot be reached), or NULL: a request that is not allowed then ends with a 500. */
enum authz_decision authorizer_decide_error(struct authorizer *z, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason, const char **ret_error);
/* Upstream's rule resolvers: each rule of the user in the namespace, and whether the list is complete. */
void authorizer_rules(struct authorizer *z, struct arena *a, const struct user_info *user, const char *namespace, struct authorizationv1_SubjectRulesReviewStatus *status,
                      void (*add)(struct arena *a, const struct rbacv1_PolicyRule *rule, struct authorizationv1_SubjectRulesReviewStatus *status));
/* The request's own attributes. */
struct authz_attributes request_attributes(struct api_request *r);
/* -1 with upstream's 403. */
int authorize(struct api_request *r, struct status *reterr);
/* -1 with a 403 when the user may not also create what is asked for: a PUT or apply that makes an object, a stream that is opened by GET. */
int authorize_create(struct api_request *r, struct status *reterr);
/* The 403 for any attributes (impersonation). */
int authz_forbidden(struct arena *a, const struct authz_attributes *attrs, const char *reason, struct status *reterr);
#endif
