/* Files that options name: certificates and keys. */
#ifndef CKUBE_CONTROLLER_READ_FILE_H
#define CKUBE_CONTROLLER_READ_FILE_H
#include "base/status.h"

/* A small file of text, the caller's to free; NULL with a status. */
char *controller_read_file(const char *path, struct status *reterr);
#endif
