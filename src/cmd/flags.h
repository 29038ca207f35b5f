/* Command-line flags as upstream's components take them: --name=value, --name value, and --name for booleans. */
#ifndef CKUBE_CMD_FLAGS_H
#define CKUBE_CMD_FLAGS_H
#include <stdbool.h>

struct flag {
    const char *name;
    const char **text;     /* one of these */
    int *number;
    bool *on;
    const char *help;
};
/* 0; or -1 after saying on stderr what is wrong; 1 after --help was printed. */
int flags_parse(const char *command, const struct flag *flags, int argc, char **argv);
#endif
