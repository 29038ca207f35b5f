/* API priority and fairness: which requests run now, which wait, which are refused. Upstream: apiserver/pkg/util/flowcontrol, server/filters.
 *
 * FlowSchemas sort requests into priority levels, each with its share of the server's seats, and into flows, which share their level fairly
 * (queue_set.h). A request that waits suspends its fiber. The configuration is read again, as a whole, when an object changes; a thread does that, keeps
 * the default objects as upstream has them, and every ten seconds lends seats from levels that do not use theirs to those that could.
 * With --enable-priority-and-fairness=false there are two plain limits instead: so many that read, so many that write.
 *
 * Not behind it: long-running requests other than watches; a watch has its seats until it has begun. Tests: tests/unit/test_flow_control.c,
 * tests/integration/test_flow_control.py. */
#ifndef CKUBE_APISERVER_FLOWCONTROL_FLOW_CONTROL_H
#define CKUBE_APISERVER_FLOWCONTROL_FLOW_CONTROL_H
#include "apiserver/apiserver.h"
#include "apiserver/request.h"

struct flow_control;
struct flow_control *flow_control_new(struct apiserver *s, struct status *reterr);
/* Starts what keeps the configuration; once the server listens, since it writes through it. */
void flow_control_start(struct flow_control *f);
void flow_control_stop(struct flow_control *f); /* before the HTTP server goes */
void flow_control_free(struct flow_control *f); /* after it; NULL is fine */

/* In the request's fiber, once it is known who asks. False: it was refused and has its answer. */
bool flow_begin(struct flow_control *f, struct api_request *r);
/* The request gives its seats back: when it has been served, or earlier (a watch that another server answers). Twice counts once. */
void flow_end(struct api_request *r);
/* Headers that every answer of a classified request has; adds to the list. */
struct flow_ticket;
void flow_classification(const struct api_request *r, const char **ret_schema_uid, const char **ret_level_uid); /* NULL: none */

/* A watch has begun: from now on its resource's writes are counted as more work. The key is freed by flow_watch_forget. */
char *flow_watch_register(struct flow_control *f, const struct api_request *r);
void flow_watch_forget(struct flow_control *f, char *key); /* NULL is fine */

void flow_put_metrics(struct flow_control *f, struct buf *out);
bool flow_handle_debug(struct flow_control *f, struct api_request *r); /* /debug/api_priority_and_fairness/...; false: another path */
#endif
