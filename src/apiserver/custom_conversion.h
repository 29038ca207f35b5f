/* Conversion of custom objects between the versions of their definition by a webhook (spec.conversion.strategy: Webhook). Upstream: apiextensions-apiserver
 * pkg/apiserver/conversion/webhook_converter.go.
 *
 * Where it happens: a registry's code sees objects in the version of its request. What is read from the store is decoded in the version it was stored in (custom_type.converts)
 * and converted after the read transaction has ended; what is written is converted before it is given to the store, and back once it is there. A webhook that is slow or dead
 * costs the request that needs it up to CONVERSION_TIMEOUT_MS and an error, and nobody else anything. Watches: watch_convert.h.
 *
 * Without a webhook versions differ in apiVersion and schema alone: decoding does that, and nothing here is called. Tests: tests/integration/test_conversion.py. */
#ifndef CKUBE_APISERVER_CUSTOM_CONVERSION_H
#define CKUBE_APISERVER_CUSTOM_CONVERSION_H
#include "apiserver/custom_resources.h"

enum { CONVERSION_TIMEOUT_MS = 30000 };

/* Whether objects of this strategy may have to be converted by a webhook. False for what is built in. */
bool custom_converts(const struct strategy *st);
/* Each object becomes one of the strategy's version, in place; those that are so already are not sent. As many as fit go in one ConversionReview. In a fiber, outside of store
 * transactions. -1 with a 500 in upstream's words: then some may have been converted and others not. Nothing to do, and 0, for strategies that do not convert. */
int custom_convert(struct api_request *r, const struct strategy *st, struct object **objs, size_t n, struct status *reterr);
/* The object as it is stored: itself, or a copy in the stored version. NULL with an error. */
struct object *custom_to_storage(struct api_request *r, const struct strategy *st, struct object *obj, struct status *reterr);
/* Whether it is stored in another version than would be written now. For objects as they were read, before they are converted. */
bool custom_is_stale(const struct strategy *st, const struct object *obj);

/* ---- what several watches want ---- */

struct conversion_cache;
struct conversion_cache *conversion_cache_new(void);
void conversion_cache_free(struct conversion_cache *c); /* NULL is fine */
/* What was stored under a key at a revision. */
struct conversion_item { const char *key; uint64_t revision; struct object *obj; };
/* custom_convert for watches: what one of them has had converted lately the others get without asking the webhook. One asks at a time, and who waited meanwhile shares its failure. */
int custom_convert_shared(struct api_request *r, const struct strategy *st, struct conversion_item *items, size_t n, struct status *reterr);

/* ---- managed fields ---- */

/* For struct field_manager's convert_custom. */
struct manager_conversion { struct api_request *r; const struct strategy *st; struct status *err; /* of what failed */ };
struct value;
bool custom_convert_document(void *manager_conversion, const struct value *v, const char *from, const char *to, struct value *ret);
#endif
