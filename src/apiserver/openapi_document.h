/* An OpenAPI document in the making: v2 (swagger) or v3, written as JSON from the descriptors. Types are queued as they are referred to and written at the end,
 * so that a document holds what it reaches. Upstream: kube-openapi builder and builder3. */
#ifndef CKUBE_APISERVER_OPENAPI_DOCUMENT_H
#define CKUBE_APISERVER_OPENAPI_DOCUMENT_H
#include "api/custom_object.h"
#include "api/descriptions.h"
#include "api/object.h"
#include "base/map.h"
#include "wire/json.h"

struct openapi_document {
    struct arena *arena;
    struct buf out;
    bool v2;
    unsigned scalars;                /* the well-known scalar types that were referred to */
    bool first_path;
    struct descriptions *descriptions; /* NULL until one is wanted */
    struct string_list versions;     /* group/version of what was put */
    struct map *seen;                /* names of types already queued */
    struct { const struct type_desc **items; size_t len; } queue;
};

void openapi_document_begin(struct openapi_document *d, struct arena *a, bool v2);
void openapi_document_release(struct openapi_document *d);
/* The paths of one (sub)resource. */
void openapi_put_resource(struct openapi_document *d, const struct resource_desc *r);
/* Ends the paths, writes the types, and what they refer to, closes the document. */
void openapi_document_end(struct openapi_document *d);

/* What writers of schemas need: a reference to a type, which is queued; the name clients know a type by. */
void openapi_put_ref(struct openapi_document *d, const struct type_desc *t);
const char *openapi_type_name(struct arena *a, const struct type_desc *t);
void openapi_put_gvk(struct openapi_document *d, const char *group, const char *version, const char *kind);

/* A v2 document as gnostic's protobuf, for `application/com.github.proto-openapi.spec.v2.v1.0+protobuf`. */
void openapi_v2_to_proto(yyjson_val *document, struct buf *out);
#endif
