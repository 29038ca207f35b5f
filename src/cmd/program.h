/* Programs of the distribution that we run: found on PATH, run to their end, their words taken. */
#ifndef CKUBE_CMD_PROGRAM_H
#define CKUBE_CMD_PROGRAM_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

/* The program's path, searched in PATH and in the sbin folders that a user's PATH may lack; NULL if there is none. In the arena. */
const char *program_find(struct arena *a, const char *name);
/* Runs argv (NULL at its end; argv[0] is a path) with env ("NAME=value", NULL at its end; NULL: none) besides ours, and waits for at most timeout_ms. What it
 * writes to stdout is appended to ret_out (NULL: dropped). 0 if it exits with 0; otherwise -1 with the end of what it wrote to stderr. */
int program_run(const char *const *argv, const char *const *env, int timeout_ms, struct buf *ret_out, struct status *reterr);
#endif
