/* Keeps the records of cluster IPs and node ports true to the Services: makes what is missing (an older database has no IPAddresses), drops what has leaked, and says
 * in Events and in the log what it cannot mend. Upstream: pkg/registry/core/service/{ipallocator,portallocator}/controller.
 *
 * A pass over everything at start, before anything is served, and every three minutes; between them a thread looks at each IPAddress that is changed or deleted.
 * Tests: tests/integration/test_services.py. */
#ifndef CKUBE_APISERVER_SERVICE_REPAIR_H
#define CKUBE_APISERVER_SERVICE_REPAIR_H
#include "apiserver/apiserver.h"

struct service_repair;
/* Makes the first pass on the calling thread and starts the other. NULL with a status when the store cannot be read or written. */
struct service_repair *service_repair_new(struct apiserver *s, struct status *reterr);
void service_repair_free(struct service_repair *p); /* NULL is fine; before the store is closed */
#endif
