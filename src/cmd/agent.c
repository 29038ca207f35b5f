#include "cmd/commands.h"
int cmd_agent(int argc, char **argv) { (void)argc; (void)argv; return 1; }
