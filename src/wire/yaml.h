/* YAML in and out, as sigs.k8s.io/yaml does it: YAML 1.1's scalars (yes, on, 0o17, 1_000), merge keys, the first document of a stream. */
#ifndef CKUBE_WIRE_YAML_H
#define CKUBE_WIRE_YAML_H
#include <yyjson.h>
#include "base/buf.h"
#include "base/status.h"

/* YAML text as JSON text. Duplicate keys keep the last value; what is to be said of them goes to *ret_duplicate
 * (`line 7: key "a" already set in map`, a line each, indented by two from the second on; heap, the caller frees; NULL: not wanted). */
int yaml_to_json(const char *text, size_t len, struct buf *out, char **ret_duplicate, struct status *reterr);
/* Whether the text without quotes is a string to a YAML 1.1 reader: no number, boolean, null or date. */
bool yaml_is_string(const char *s);
/* A JSON value as block-style YAML with sorted keys. */
void yaml_write(struct buf *out, yyjson_val *root);
#endif
