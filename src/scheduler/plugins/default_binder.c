/* DefaultBinder: the Binding at the apiserver. Upstream: plugins/defaultbinder. */
#include "scheduler/plugins/plugins.h"

static int bind(struct handle *h, struct binding *b, struct status *reterr) { return h->client->bind(h->client->data, b->pod->pod, b->node, reterr); }

const struct plugin plugin_default_binder = {.name = "DefaultBinder", .id = PLUGIN_DEFAULT_BINDER, .bind = bind};
