/* References of images, as [domain/]path[:tag][@digest]. Upstream: pkg/util/parsers over distribution's reference package. */
#ifndef CKUBE_API_IMAGE_REFERENCE_H
#define CKUBE_API_IMAGE_REFERENCE_H
#include "base/arena.h"

/* The tag: "latest" where there is neither tag nor digest, "" where there is only a digest or the reference cannot be read. */
const char *image_tag(struct arena *a, const char *reference);
#endif
