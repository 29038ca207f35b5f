/* Command-line flags as upstream's components take them: --name=value, --name value, and --name for booleans. */
#ifndef CKUBE_CMD_FLAGS_H
#define CKUBE_CMD_FLAGS_H
#include <stdbool.h>
#include <stddef.h>

enum { FLAG_VALUES_MAX = 64 };
struct flag_values { const char *items[FLAG_VALUES_MAX]; size_t len; }; /* of a flag that may be given several times */
struct flag {
    const char *name;
    const char **text;     /* one of these */
    int *number;
    bool *on;
    struct flag_values *each;
    bool *given;           /* set when the flag was there; may be NULL */
    const char *help;
    bool list;             /* a text that, given again, is added behind a comma, as upstream's lists; else the last one counts */
};
/* 0; or -1 after saying on stderr what is wrong; 1 after --help was printed. */
int flags_parse(const char *command, const struct flag *flags, int argc, char **argv);
#endif
