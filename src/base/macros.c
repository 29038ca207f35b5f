#include "base/macros.h"
#include <stdio.h>

void check_failed(const char *expr, const char *file, int line) {
    fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, expr);
    abort();
}
