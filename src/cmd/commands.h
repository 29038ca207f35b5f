/* The commands of the one binary; each takes its own argv and returns the exit code. */
#ifndef CKUBE_CMD_COMMANDS_H
#define CKUBE_CMD_COMMANDS_H
#include <stdbool.h>

int cmd_agent(int argc, char **argv);
int cmd_certificate(int argc, char **argv);
int cmd_cluster(int argc, char **argv);
int cmd_datastore(int argc, char **argv);
int cmd_kube_apiserver(int argc, char **argv);
int cmd_kube_controller_manager(int argc, char **argv);
int cmd_kube_proxy(int argc, char **argv);
int cmd_kube_scheduler(int argc, char **argv);
int cmd_kubelet(int argc, char **argv);
int cmd_server(int argc, char **argv);
int cmd_status(int argc, char **argv);

/* Before any thread is started: SIGTERM and SIGINT are kept for command_wait_signal, SIGPIPE is ignored. */
void command_block_signals(void);
int command_wait_signal(void); /* which one came */
bool command_signal_pending(void); /* whether one has come that command_wait_signal would return */
#endif
