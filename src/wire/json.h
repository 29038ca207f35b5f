/* JSON text in and out: yyjson for parsing, and writers that spell values exactly as Go's encoding/json does (HTML characters escaped, floats as Go
 * prints them), because that is what upstream's clients see. Strings in memory are modified UTF-8: C0 80 stands for a NUL inside a string. */
#ifndef CKUBE_WIRE_JSON_H
#define CKUBE_WIRE_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

enum { JSON_NUMBERS_RAW = 1 /* keep number tokens as text */ };
enum { JSON_DEPTH_MAX = 500 };

/* Parses one document; invalid UTF-8 becomes U+FFFD. NULL with a 400 and Go's words on failure. Free with yyjson_doc_free. */
yyjson_doc *json_parse(const char *text, size_t len, unsigned flags, struct status *reterr);
/* The same, living in the arena: never freed by itself. */
yyjson_doc *json_parse_in(struct arena *a, const char *text, size_t len, unsigned flags, struct status *reterr);
/* An editable document in the arena, with a copy of the value as its root (NULL: an empty document). */
yyjson_mut_doc *json_mut_new(struct arena *a, yyjson_val *root);
/* An allocator over the arena for yyjson calls. */
const yyjson_alc *json_arena_alc(struct arena *a);

void json_write_string(struct buf *out, const char *s);                   /* NULL writes "" */
void json_write_string_n(struct buf *out, const char *s, size_t len);
void json_write_double(struct buf *out, double v);
void json_write_base64(struct buf *out, const unsigned char *data, size_t len); /* quoted */
void json_write_value(struct buf *out, yyjson_val *value);                /* compact */
void json_write_mut(struct buf *out, yyjson_mut_val *value);              /* compact */

/* Standard base64 with padding, newlines ignored, as Go's decoder; and the URL form without padding. */
int base64_decode(struct arena *a, const char *text, size_t len, unsigned char **ret, size_t *ret_len, struct status *reterr);
void base64_encode(struct buf *out, const unsigned char *data, size_t len);
int base64url_decode(struct arena *a, const char *text, size_t len, unsigned char **ret, size_t *ret_len, struct status *reterr);
void base64url_encode(struct buf *out, const unsigned char *data, size_t len);
/* As Go prints a decoded document (%v): maps by key, no quotes. For error texts. */
void json_print_go(struct arena *a, yyjson_val *v, struct buf *out);
#endif
