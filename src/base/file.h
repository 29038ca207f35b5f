/* Whole small files, and a thread that tells when one has changed. */
#ifndef CKUBE_BASE_FILE_H
#define CKUBE_BASE_FILE_H
#include <stddef.h>
#include "base/buf.h"
#include "base/status.h"

enum { FILE_OPTION_MAX = 1 << 20 }; /* bytes of a file that an option names: certificates, configurations */
/* Appends the file's bytes. -1: it cannot be read, or has more than `max` bytes. */
int file_read(const char *path, size_t max, struct buf *ret, struct status *reterr);

/* Mode 0600, whole or not at all, durable but for its name. */
int file_write_secret(const char *path, const void *data, size_t len, struct status *reterr);

/* The folder and those above it, with this mode where they are not there. */
int make_dirs(const char *path, int mode, struct status *reterr);

/* Watches files by looking at them each second (also through links that are changed, as kubelets mount Secrets). One thread for all; each `changed` is called on it, after the
 * file's time, size or inode has changed, once a second at most. A file that is gone for a while counts as unchanged. Upstream: pkg/util/filesystem WatchUntil. */
struct file_watch;
struct file_watch *file_watch_new(void);
void file_watch_add(struct file_watch *w, const char *path, void (*changed)(void *arg), void *arg); /* before file_watch_start; NULL path: nothing. The path is copied */
void file_watch_start(struct file_watch *w);
void file_watch_free(struct file_watch *w); /* ends its thread first; NULL is fine */
#endif
