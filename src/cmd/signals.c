/* How a command waits for its end. */
#include <pthread.h>
#include <signal.h>
#include "cmd/commands.h"

static void terminating(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

void command_block_signals(void) {
    sigset_t set;
    terminating(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int command_wait_signal(void) {
    sigset_t set;
    int sig = 0;
    terminating(&set);
    sigwait(&set, &sig);
    return sig;
}

bool command_signal_pending(void) {
    sigset_t set;
    return sigpending(&set) == 0 && (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGINT) == 1);
}
