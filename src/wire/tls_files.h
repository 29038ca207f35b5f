/* Files that credentials were read from: whether they have become others since, so that certificates are renewed under running processes. Looks at most once a second. */
#ifndef CKUBE_WIRE_TLS_FILES_H
#define CKUBE_WIRE_TLS_FILES_H
#include <stdbool.h>
#include <stdint.h>

struct tls_files {
    const char *paths[3]; /* NULL: none; they are the caller's, and outlive this */
    uint64_t seen;        /* what the files were when they were read last: set it to ret_now once they have been read */
    int64_t looked_ns;
};
/* Takes note of the files as they are now: before they are read for the first time. */
void tls_files_init(struct tls_files *f, const char *a, const char *b, const char *c);
/* Whether they are to be read again; *ret_now is what they are. With the caller's lock. A certificate and its key come one after the other: as long as they do not fit, what was read before stays. */
bool tls_files_changed(struct tls_files *f, uint64_t *ret_now);
#endif
