/* Quantities: the canonical form is its own canonical form. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "api/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_arena_ struct arena *a = arena_new();
    char *once = quantity_canonicalize(a, arena_strndup(a, (const char *)data, size), NULL);
    if (!once) return 0;
    char *twice = quantity_canonicalize(a, once, NULL);
    if (!twice || strcmp(once, twice) != 0) abort();
    return 0;
}
