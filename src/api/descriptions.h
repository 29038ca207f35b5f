/* What every type and field is for, in a sentence: the texts of src/api/schema, as tools/schemac compressed them into the binary. Only OpenAPI documents want
 * them, so they are unpacked when one is made and die with it: at rest they are pages of the file that nobody touches. Upstream: SwaggerDoc of every type.
 * Tests: tests/integration/test_openapi.py. */
#ifndef CKUBE_API_DESCRIPTIONS_H
#define CKUBE_API_DESCRIPTIONS_H
#include "api/schema.h"
#include "base/arena.h"

/* Made by tools/schemac: texts, each ended by NUL, then a record a type, sorted by name: the name, NUL, a count and as many numbers of texts, 16 bits each,
 * the lower byte first: the type's own text, then one a field in order of their names. */
struct description_block {
    const unsigned char *zipped;
    uint32_t zipped_len, len;        /* bytes; len is of what it unpacks to */
    uint32_t texts_len, types_len;
};
extern const struct description_block api_descriptions;
extern const char api_schema_digest[]; /* changes whenever src/api/schema or ckube's version does: documents made from it are named by it */

struct descriptions;
/* The texts, unpacked into the arena. */
struct descriptions *descriptions_open(struct arena *a);
/* "" for what has none: a type that was made at run time, or a field of one. */
const char *description_of_type(const struct descriptions *d, const struct type_desc *t);
const char *description_of_field(const struct descriptions *d, const struct type_desc *t, const struct field_desc *f);
#endif
