/* JSON text into typed objects and back: whatever is accepted must survive another round. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "api/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct type_desc *const types[] = {&corev1_Pod_desc, &appsv1_Deployment_desc, &corev1_Service_desc, &apiextensionsv1_CustomResourceDefinition_desc};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_buf_ struct buf once = BUF_INIT, twice = BUF_INIT;
        void *obj = arena_alloc(a, types[i]->size), *again = arena_alloc(a, types[i]->size);
        if (object_decode_json(a, types[i], obj, (const char *)data, size, NULL, NULL) != 0) continue;
        object_encode_json(types[i], obj, &once);
        if (object_decode_json(a, types[i], again, once.data, once.len, NULL, NULL) != 0) abort();
        object_encode_json(types[i], again, &twice);
        if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0) abort();
    }
    return 0;
}
