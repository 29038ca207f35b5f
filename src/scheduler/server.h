/* The scheduler over the API: feeds in, bindings, conditions and Events out. Upstream: cmd/kube-scheduler/app. */
#ifndef CKUBE_SCHEDULER_SERVER_H
#define CKUBE_SCHEDULER_SERVER_H
#include "client/client.h"
#include "scheduler/scheduler.h"

struct scheduler_server;
/* Follows the API and schedules until it is stopped. The client must outlive it. */
struct scheduler_server *scheduler_server_start(struct client *c, struct env *env, const struct scheduler_config *config, const char *host);
void scheduler_server_put_metrics(void *scheduler_server, struct buf *out); /* as scheduler_put_metrics */
void scheduler_server_stop(struct scheduler_server *s); /* bindings under way are finished; NULL is fine */
#endif
