/* An etcd snapshot as a file: etcd's database (a bbolt file of whole pages) and 32 bytes, its SHA-256. Shared by admin.c and admin_file.c. */
#ifndef CKUBE_STORE_ETCD_ADMIN_FILE_H
#define CKUBE_STORE_ETCD_ADMIN_FILE_H
#include <stdbool.h>
#include <stddef.h>
#include "base/status.h"

struct snapshot_writer;
struct snapshot_writer *snapshot_writer_new(const char *path, struct status *reterr); /* writes beside it; an existing file is an error */
int snapshot_writer_add(struct snapshot_writer *w, const void *data, size_t len, struct status *reterr);
/* good: all has been added. It is checked and gets its name; otherwise, and on failure, nothing stays. Frees w. -1: it was not good, or is not now. */
int snapshot_writer_end(struct snapshot_writer *w, bool good, struct status *reterr);
#endif
