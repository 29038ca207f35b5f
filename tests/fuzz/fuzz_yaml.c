/* YAML text into JSON: what comes out must be JSON. */
#include <stdint.h>
#include <stdlib.h>
#include "wire/json.h"
#include "wire/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_buf_ struct buf json = BUF_INIT, yaml = BUF_INIT;
    _cleanup_free_ char *duplicate = NULL;
    if (yaml_to_json((const char *)data, size, &json, &duplicate, NULL) != 0) return 0;
    yyjson_doc *doc = json_parse(buf_cstr(&json), json.len, JSON_NUMBERS_RAW, NULL);
    if (doc) yaml_write(&yaml, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return 0;
}
