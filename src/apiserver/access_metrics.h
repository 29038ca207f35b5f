/* Counts of authentication, authorization and admission, in upstream's names. Upstream: endpoints/filters/metrics.go, pkg/admission/metrics.
 *
 * Of the process, as upstream's: several servers in one (tests) count together. Any thread. Tests: tests/integration/test_health.py. */
#ifndef CKUBE_APISERVER_ACCESS_METRICS_H
#define CKUBE_APISERVER_ACCESS_METRICS_H
#include <stdbool.h>
#include "apiserver/latency.h"

enum authentication_result { AUTHENTICATION_SUCCESS, AUTHENTICATION_FAILURE, AUTHENTICATION_ERROR, AUTHENTICATION_RESULTS };
enum authorization_result { AUTHORIZATION_ALLOWED, AUTHORIZATION_DENIED, AUTHORIZATION_NO_OPINION, AUTHORIZATION_ERROR, AUTHORIZATION_RESULTS };
/* user: of a success; its name is told by one of a few categories alone. */
void metrics_authentication(enum authentication_result result, const char *user, int64_t ns);
void metrics_authorization(enum authorization_result result, int64_t ns);

/* Admission: one plugin's part in it, or a whole step's. operation: enum admission_operation. */
enum { ADMISSION_OPERATIONS = 4 };
struct admission_latencies { struct latency by[2][ADMISSION_OPERATIONS][2]; }; /* validating, operation, rejected */
void metrics_admission_plugin(struct admission_latencies *l, bool validating, int operation, bool rejected, int64_t ns);
void metrics_admission_step(bool validating, int operation, bool rejected, int64_t ns);
void metrics_admission_plugin_put(struct buf *out, const char *name, const struct admission_latencies *l);

/* A webhook's call. error: NULL, or upstream's word for why it was refused ("no_error": the webhook said no). code: 200, or of the answer or error. */
struct webhook_outcome { const char *name, *operation, *error; bool validating, rejected, failed_open; int code; };
void metrics_webhook(const struct webhook_outcome *o, int64_t ns);

void metrics_access_put(struct buf *out); /* all but the plugins */
#endif
