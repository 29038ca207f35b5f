/* Every kind of patch against a Deployment's document. */
#include <stdint.h>
#include <string.h>
#include "api/object.h"
#include "api/patch.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char base[] = "{\"metadata\":{\"name\":\"w\",\"finalizers\":[\"a\"]},\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"ports\":[{\"containerPort\":1}]},{\"name\":\"b\"}],\"nodeSelector\":{\"x\":\"y\"}}}}}";
    for (int kind = 0; kind < 3; kind++) {
        _cleanup_arena_ struct arena *a = arena_new();
        yyjson_doc *patch = json_parse_in(a, (const char *)data, size, JSON_NUMBERS_RAW, NULL), *doc = json_parse_in(a, base, strlen(base), JSON_NUMBERS_RAW, NULL);
        if (!patch) return 0;
        yyjson_mut_doc *mut = json_mut_new(a, yyjson_doc_get_root(doc));
        int r = kind == 0 ? json_patch_apply(a, mut, yyjson_doc_get_root(patch), NULL) : kind == 1 ? merge_patch_apply(a, mut, yyjson_doc_get_root(patch), NULL) : strategic_patch_apply(a, &appsv1_Deployment_desc, mut, yyjson_doc_get_root(patch), NULL);
        if (r != 0) continue;
        _cleanup_buf_ struct buf out = BUF_INIT;
        json_write_mut(&out, yyjson_mut_doc_get_root(mut));
    }
    return 0;
}
