/* `ckube kube-apiserver`: the apiserver alone on its embedded store. Stops on SIGTERM and SIGINT. */
#include <unistd.h>
#include "base/env.h"
#include "base/log.h"
#include "cmd/apiserver_command.h"
#include "cmd/certificates.h"
#include "cmd/commands.h"
#include "cmd/coordination.h"
#include "cmd/harden.h"
#include "cmd/leader_flags.h"

int cmd_kube_apiserver(int argc, char **argv) {
    struct apiserver_command c;
    struct flag flags[APISERVER_FLAGS_MAX + 1] = {0};
    apiserver_command_init(&c);
    apiserver_command_flags(&c, flags);
    int parsed = flags_parse("kube-apiserver", flags, argc, argv);
    if (parsed != 0) return parsed < 0 ? 2 : 0;
    if (apiserver_command_check(&c, "kube-apiserver") != 0) return 2;
    log_set_verbosity(c.verbosity);
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    harden_control_plane(&(struct harden_options){.low_port = c.options.secure_port > 0 && c.options.secure_port < 1024});
    command_block_signals();
    struct apiserver *s = apiserver_command_start(&c, a, &err);
    if (!s) {
        log_error("%s", status_message(&err));
        return 1;
    }
    char host[256] = "localhost", uuid[37];
    gethostname(host, sizeof(host) - 1);
    env_uuid(env_real(), uuid);
    struct leader_flags leader = {0};
    struct leader_election_config times = {0};
    leader_flags_take(&leader, "kube-apiserver", false, &times);
    struct coordination *coordination = coordination_start(s, arena_printf(a, "%s_%s", host, uuid), &times);
    struct certificates_renewer *renewer = certificates_renewer_start(c.options.data_dir, env_real());
    log_info("stopping on signal %d", command_wait_signal());
    apiserver_hurry(s);
    certificates_renewer_stop(renewer);
    coordination_stop(coordination);
    apiserver_free(s);
    coordination_free(coordination);
    return 0;
}
