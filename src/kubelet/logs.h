/* Container logs in the CRI's format ("TIME STREAM TAGS TEXT"), for the /containerLogs endpoint. Upstream: cri-client/pkg/logs. */
#ifndef CKUBE_KUBELET_LOGS_H
#define CKUBE_KUBELET_LOGS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"

struct log_options {
    bool follow, previous, timestamps;
    int64_t tail_lines;   /* -1: all */
    int64_t limit_bytes;  /* -1: none */
    int64_t since_ns;     /* wall clock; INT64_MIN: all */
    bool only_stdout, only_stderr;
};
/* From the query of a request. */
int log_options_parse(const char *query, int64_t now_ns, struct log_options *ret, struct status *reterr);
/* Where the last n lines of an open file begin. */
int64_t log_tail_offset(int fd, int64_t lines);
/* Appends what one line (without its newline) shows; nothing if it is filtered out. False: the line has not this format. */
bool log_line_append(const struct log_options *o, const char *line, size_t len, struct buf *out);
#endif
