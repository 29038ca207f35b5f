/* An issuer of OpenID Connect as the apiserver knows it: found by its discovery document, its keys fetched and kept. Upstream: coreos/go-oidc Provider, remoteKeySet.
 *
 * A thread of its own does all fetching: discovery each ten seconds until it has worked, then the keys at once, and again when a token asks for one that is not there (a rotation)
 * unless the answer's Cache-Control says that it cannot have changed. All who ask meanwhile share one fetch, and there are five a second at most. Fibers and threads wait for it;
 * any of them. What is served with the wrong issuer, over plain HTTP or by a host whose certificate does not verify is not believed.
 * Tests: tests/integration/test_oidc.py. */
#ifndef CKUBE_APISERVER_OIDC_PROVIDER_H
#define CKUBE_APISERVER_OIDC_PROVIDER_H
#include "base/arena.h"
#include "base/buf.h"
#include "wire/jwt.h"

struct oidc_provider;
/* discovery_url NULL or "": below the issuer's URL. ca_pem NULL or "": the system's authorities. All are https URLs. */
struct oidc_provider *oidc_provider_new(const char *issuer, const char *discovery_url, const char *ca_pem, struct status *reterr);
void oidc_provider_free(struct oidc_provider *p); /* nobody waits in it any more; NULL is fine */
const char *oidc_provider_issuer(const struct oidc_provider *p);
/* Whether it has been discovered; why not. */
bool oidc_provider_is_ready(struct oidc_provider *p, struct status *reterr);
/* The signature alone. May wait for keys. */
int oidc_provider_verify(struct oidc_provider *p, const struct jwt *t, struct status *reterr) WARN_UNUSED;
/* A GET in the calling fiber with the provider's trust, for distributed claims. bearer NULL or "": none. */
int oidc_provider_get(struct oidc_provider *p, struct arena *a, const char *url, const char *bearer, struct buf *ret, struct status *reterr);
/* After the issuer was taken out of the configuration: its metrics go. */
void oidc_provider_forget_metrics(const char *issuer);
void oidc_provider_put_metrics(struct buf *out);
#endif
