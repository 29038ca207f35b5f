/* The apiserver as commands start it: its flags, its folders, its certificates, the admin's kubeconfig. Shared by `ckube kube-apiserver` and `ckube server`. */
#ifndef CKUBE_CMD_APISERVER_COMMAND_H
#define CKUBE_CMD_APISERVER_COMMAND_H
#include "apiserver/apiserver.h"
#include "base/arena.h"
#include "cmd/audit_flags.h"
#include "cmd/flags.h"

struct apiserver_command {
    const char *advertise, *tls_san, *endpoint_reconciler, *node_ports, *write_kubeconfig, *max_token_expiration, *event_ttl, *etcd_compaction_interval, *etcd_health_timeout, *etcd_ready_timeout, *webhook_authorized_ttl,
        *webhook_unauthorized_ttl, *token_webhook_ttl, *request_timeout;
    bool fairness, anonymous, bootstrap_tokens, extend_tokens;
    struct flag_values required_claims;
    struct audit_flags audit;
    int verbosity;
    struct apiserver_options options;
};
enum { APISERVER_FLAGS_MAX = 160 };
void apiserver_command_init(struct apiserver_command *c); /* upstream's and our defaults */
/* Writes the flags that fill c to `out` (APISERVER_FLAGS_MAX at most) and returns how many. */
size_t apiserver_command_flags(struct apiserver_command *c, struct flag *out);
/* 2 after saying on stderr what is wrong with the flags; else 0. */
int apiserver_command_check(struct apiserver_command *c, const char *command);
int apiserver_command_make_dir(const struct apiserver_command *c, struct status *reterr); /* the data folder, with those above it */
/* Makes what is missing in the data folder and starts serving. What it adds to the options lives in the arena. NULL with a status. */
struct apiserver *apiserver_command_start(struct apiserver_command *c, struct arena *a, struct status *reterr);
#endif
