/* gzip of a whole body, as HTTP's Content-Encoding has it. */
#ifndef CKUBE_WIRE_GZIP_H
#define CKUBE_WIRE_GZIP_H
#include "base/buf.h"
#include "wire/http_types.h"

/* Appends the compressed slices to out, quickly rather than small. -1 when zlib has no memory. */
int gzip_slices(const struct http_slice *body, size_t len, struct buf *out);
#endif
