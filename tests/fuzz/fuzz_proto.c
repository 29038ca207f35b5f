/* Protobuf bytes into typed objects, and the envelope. */
#include <stdint.h>
#include "api/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *version, *kind;
    struct bytes raw;
    if (proto_envelope_open(a, data, size, &version, &kind, &raw, NULL) == 0) {
        const struct type_desc *t = api_kind_find("", "v1", kind);
        void *obj = t ? arena_alloc(a, t->size) : NULL;
        if (obj && object_decode_proto(a, t, obj, raw.data, raw.len, NULL) == 0) {
            _cleanup_buf_ struct buf out = BUF_INIT;
            object_encode_json(t, obj, &out);
        }
    }
    struct corev1_Pod *pod = arena_alloc(a, sizeof(*pod));
    if (object_decode_proto(a, &corev1_Pod_desc, pod, data, size, NULL) == 0) {
        _cleanup_buf_ struct buf out = BUF_INIT;
        object_encode_proto(&corev1_Pod_desc, pod, &out);
    }
    return 0;
}
