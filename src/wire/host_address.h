/* Which address others reach this machine at, and what kind of address a text is. Upstream: apimachinery util/net (ChooseHostInterface). */
#ifndef CKUBE_WIRE_HOST_ADDRESS_H
#define CKUBE_WIRE_HOST_ADDRESS_H
#include <stdbool.h>
#include "base/arena.h"

/* A global address of the interface that has the default route; without such a route (where upstream gives up), of the first interface that is up and no loopback. NULL if
 * there is none. */
char *host_default_address(struct arena *a, bool ipv6);

enum address_kind { ADDRESS_INVALID, ADDRESS_UNSPECIFIED, ADDRESS_LOOPBACK, ADDRESS_LOCAL /* link-local, multicast, broadcast */, ADDRESS_GLOBAL };
/* ret_ipv6 may be NULL. */
enum address_kind address_kind(const char *text, bool *ret_ipv6);
#endif
