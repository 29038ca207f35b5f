/* `ckube kube-apiserver`: the apiserver alone on its embedded store. Stops on SIGTERM and SIGINT. */
#include "base/log.h"
#include "cmd/apiserver_command.h"
#include "cmd/commands.h"

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
    command_block_signals();
    struct apiserver *s = apiserver_command_start(&c, a, &err);
    if (!s) {
        log_error("%s", status_message(&err));
        return 1;
    }
    log_info("stopping on signal %d", command_wait_signal());
    apiserver_free(s);
    return 0;
}
