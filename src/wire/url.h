/* Paths and queries of URLs, as Go's net/url reads them. */
#ifndef CKUBE_WIRE_URL_H
#define CKUBE_WIRE_URL_H
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"

struct url_param { const char *key, *value; };
struct url_query { struct url_param *items; size_t len; };

/* Percent-decoding into the arena; NULL on a bad escape. `plus` turns + into a blank, as in queries. A decoded NUL is refused too. */
char *url_unescape(struct arena *a, const char *s, size_t len, bool plus);
char *url_escape_query(struct arena *a, const char *s);
/* Keys and values in order; pairs that do not decode are dropped, as Go's url.ParseQuery's callers see it. */
struct url_query url_parse_query(struct arena *a, const char *query);
const char *url_query_get(const struct url_query *q, const char *key); /* the first value, or NULL */
bool url_query_has(const struct url_query *q, const char *key);
#endif
