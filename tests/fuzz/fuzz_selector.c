/* Label and field selectors: what parses must print to something that parses. */
#include <stdint.h>
#include <stdlib.h>
#include "api/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_arena_ struct arena *a = arena_new();
    char *text = arena_strndup(a, (const char *)data, size);
    struct selector s, again;
    struct field_selector fs;
    if (label_selector_parse(a, text, &s, NULL) == 0 && label_selector_parse(a, selector_string(a, &s), &again, NULL) != 0) abort();
    int r = field_selector_parse(a, text, &fs, NULL);
    (void)r;
    return 0;
}
