/* The audit log: who asked for what, and what came of it, a JSON line an event. Upstream: apiserver/pkg/audit, the filters WithAudit, plugin/pkg/audit/log.
 *
 * A request's level is decided once it is known who asks, by the first rule of the policy that matches; no rule, no event. Lines are written whole
 * and before the answer goes out. Long-running requests have the stages RequestReceived and ResponseStarted. Any thread.
 * Tests: tests/unit/test_audit.c, tests/integration/test_auth.py. */
#ifndef CKUBE_APISERVER_AUDIT_H
#define CKUBE_APISERVER_AUDIT_H
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
/* path "-" (or NULL) is standard output; a file is set aside above max_size_mb (0: never), and so many of those are kept, for so many days (0: no limit). */
struct audit_log_options { const char *path; int max_size_mb, backups_max, age_days_max; };
struct audit *audit_new(const char *policy_file, const struct audit_log_options *o, struct status *reterr);
void audit_free(struct audit *a);
/* Before impersonation and authorization: r->audit is set if this request is to be logged. Then what is found out on the way. */
void audit_begin(struct audit *a, struct api_request *r);
void audit_impersonated(struct api_request *r, const struct user_info *as);
void audit_decided(struct api_request *r, bool allowed, const char *reason);
/* A word for the event's annotations, e.g. of an admission plugin; nothing if the request is not logged. The first value of a key stays, as upstream. Both live as long as the request. */
void audit_annotate(struct api_request *r, const char *key, const char *value);
bool audit_keeps(const struct api_request *r, enum audit_level level); /* whether the request is logged at this level or a fuller one */
/* From the HTTP server, for every answer. */
void audit_answered(struct http_request *http, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream);
const char *audit_id(struct api_request *r); /* for the Audit-Id header: the request's own, or NULL */
#endif
