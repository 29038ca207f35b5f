/* Quantities: the canonical form has the same value, and from the second time on the same text (a binary amount that no suffix divides loses its suffix,
 * and is decimal from then on: so it is upstream). */
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
    if (!twice || quantity_text_cmp(once, twice) != 0) abort();
    char *thrice = quantity_canonicalize(a, twice, NULL);
    if (!thrice || strcmp(twice, thrice) != 0) abort();
    return 0;
}
