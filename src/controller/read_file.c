/* Files that options name: see read_file.h. */
#include "controller/read_file.h"
#include <stdio.h>
#include "base/buf.h"

enum { FILE_MAX = 1 << 20 };

char *controller_read_file(const char *path, struct status *reterr) {
    FILE *f = fopen(path, "re");
    if (!f) return status_errno(reterr, path), NULL;
    _cleanup_buf_ struct buf b = BUF_INIT;
    char part[4096];
    for (size_t n; b.len < FILE_MAX && (n = fread(part, 1, sizeof(part), f)) > 0;) buf_append(&b, part, n);
    bool failed = ferror(f);
    fclose(f);
    if (failed) return status_errno(reterr, path), NULL;
    return buf_steal(&b);
}
