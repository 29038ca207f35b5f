/* What other servers' groups have to do with our discovery and OpenAPI documents. Upstream: kube-aggregator's handler_apis.go, handler_discovery.go and its openapiv3.
 *
 * The plain lists name every version of an APIService that has a Service. The aggregated document and OpenAPI's documents hold what those servers say of themselves: it is fetched
 * when it is asked for and a minute old, as system:kube-aggregator. A server that does not answer keeps what it last said, marked Stale, and is not asked again at once.
 * Tests: tests/integration/test_aggregation.py. */
#ifndef CKUBE_APISERVER_AGGREGATED_DISCOVERY_H
#define CKUBE_APISERVER_AGGREGATED_DISCOVERY_H
#include "apiserver/request.h"

struct aggregated_version { const char *name, *group, *version; const struct apiregistrationv1_APIService *service; };
struct aggregated_list { struct aggregated_version *items; size_t len; };
/* Groups of greater priority first, then by name; of a group versions of greater priority first, then as kube_version_compare has them. */
struct aggregated_list aggregated_versions(struct api_request *r);
/* The one of a list, or NULL. version NULL: the group's first. */
const struct aggregated_version *aggregated_find(const struct aggregated_list *list, const char *group, const char *version);

/* ---- in a fiber: these may ask the other server ---- */

void aggregated_discover(struct api_request *r, const struct aggregated_version *v, struct apidiscoveryv2_APIVersionDiscovery *ret);
/* Where its OpenAPI v3 document is, as its own index says; NULL: it has none. */
const char *aggregated_openapi_url(struct api_request *r, const struct aggregated_version *v);
/* Its whole OpenAPI v2 document in JSON; NULL: it has none, or does not say. */
const char *aggregated_openapi_v2(struct api_request *r, const struct aggregated_version *v);

struct aggregated_cache;
struct aggregated_cache *aggregated_cache_new(void);
void aggregated_cache_free(struct aggregated_cache *c); /* NULL is fine */
#endif
