/* Any text as an expression: it is refused, or runs within its bounds. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "api/cel/cel.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char document[] = "{\"a\":[1,2,{\"b\":\"c\"}],\"s\":\"text\",\"m\":{\"x\":1.5}}";
    struct arena *a = arena_new();
    const struct cel_variable variables[] = {{"self", &cel_dyn}, {"s", &cel_string}, {NULL, NULL}};
    const struct cel_env env = {.variables = variables};
    const char *why = NULL;
    struct cel_program *p = size < 4096 ? cel_compile(a, &env, arena_strndup(a, (const char *)data, size), CEL_DYN, &why) : NULL;
    if (p) {
        yyjson_doc *doc = json_parse_in(a, document, strlen(document), 0, NULL);
        const struct cel_binding bindings[] = {{"self", cel_from_json(a, yyjson_doc_get_root(doc), NULL)}, {"s", cel_string_value(a, "text")}, {NULL, {.kind = CEL_NULL}}};
        const struct cel_activation act = {.bindings = bindings};
        uint64_t cost = 0;
        struct cel_value v = cel_eval(a, p, &act, 20000, &cost);
        if (v.kind != CEL_ERROR) cel_to_json(a, json_mut_new(a, NULL), &v);
    }
    arena_free(a);
    return 0;
}
