/* Audit: who asked for what, and what came of it, as events that go to a log, a webhook or both (audit_backend.h). Upstream: apiserver/pkg/audit, the filters WithAudit.
 *
 * A request's level is decided once it is known who asks, by the first rule of the policy that matches; no rule, no event. A log that is written at once is written before the
 * answer goes out. A webhook that requests wait for hears of the request before it is served, and of its answer when the handler has given it, which may be on its way by then.
 * Long-running requests (watches, connections) have ResponseStarted when they begin and ResponseComplete when they end. Any thread.
 * Tests: tests/unit/test_audit.c, tests/integration/test_audit.py, test_auth.py. */
#ifndef CKUBE_APISERVER_AUDIT_H
#define CKUBE_APISERVER_AUDIT_H
#include "apiserver/audit_options.h"
#include "apiserver/authorization.h"
#include "apiserver/request.h"

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_REQUEST_RESPONSE };
enum audit_stage { AUDIT_REQUEST_RECEIVED, AUDIT_RESPONSE_STARTED, AUDIT_RESPONSE_COMPLETE, AUDIT_PANIC };

struct audit_policy;
struct audit_decision { enum audit_level level; unsigned omit_stages; /* bits of enum audit_stage */ bool omit_managed_fields; };
/* audit.k8s.io/v1 Policy in YAML or JSON. NULL with words. */
struct audit_policy *audit_policy_parse(const char *text, size_t len, struct status *reterr);
void audit_policy_free(struct audit_policy *p);
struct audit_decision audit_policy_decide(const struct audit_policy *p, const struct authz_attributes *attrs);

struct audit;
struct audit *audit_new(const struct audit_options *o, struct status *reterr);
void audit_free(struct audit *a);
/* Before impersonation and authorization: r->audit is set if this request is to be logged. -1: mode blocking-strict, and the event could not be stored: the request must not go on.
 * In a fiber. Then what is found out on the way. */
int audit_begin(struct audit *a, struct api_request *r);
/* At the end of the handler, in its fiber, holding nothing: what waits for a backend that takes its time. */
void audit_settle(struct api_request *r);
void audit_put_metrics(struct buf *out);
void audit_impersonated(struct api_request *r, const struct user_info *as);
void audit_decided(struct api_request *r, bool allowed, const char *reason);
/* A word for the event's annotations, e.g. of an admission plugin; nothing if the request is not logged. The first value of a key stays, as upstream. Both live as long as the request. */
void audit_annotate(struct api_request *r, const char *key, const char *value);
/* The same also before audit_begin, while it is not known who asks. */
void audit_annotate_early(struct api_request *r, const char *key, const char *value);
bool audit_keeps(const struct api_request *r, enum audit_level level); /* whether the request is logged at this level or a fuller one */
/* From the HTTP server, for every answer. */
void audit_answered(struct http_request *http, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream);
/* From it too: a stream has ended. */
void audit_ended(struct http_request *http);
const char *audit_id(struct api_request *r); /* for the Audit-Id header: the request's own, or NULL */
#endif
