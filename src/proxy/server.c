/* kube-proxy over the API: see server.h. */
#include "proxy/server.h"
#include <stdatomic.h>
#include "client/reflector.h"

struct proxy_server {
    struct proxier *proxier;
    struct feed *services, *slices;
    atomic_int lists;            /* that have come; both are needed before rules are written */
    atomic_bool services_in, slices_in;
};

static void set_service(void *data, const void *obj) { proxier_set_service(((struct proxy_server *)data)->proxier, obj); }
static void delete_service(void *data, const char *ns, const char *name) { proxier_delete_service(((struct proxy_server *)data)->proxier, ns, name); }
static void set_slice(void *data, const void *obj) { proxier_set_endpoint_slice(((struct proxy_server *)data)->proxier, obj); }
static void delete_slice(void *data, const char *ns, const char *name) { proxier_delete_endpoint_slice(((struct proxy_server *)data)->proxier, ns, name); }

static void list_in(struct proxy_server *s, atomic_bool *which) {
    if (!atomic_exchange(which, true) && atomic_fetch_add(&s->lists, 1) == 1) proxier_synced(s->proxier);
}
static void services_synced(void *data) { list_in(data, &((struct proxy_server *)data)->services_in); }
static void slices_synced(void *data) { list_in(data, &((struct proxy_server *)data)->slices_in); }

struct proxy_server *proxy_server_start(struct client *c, struct env *env, const struct proxier_config *config, struct status *reterr) {
    struct proxier *p = proxier_new(env, config, reterr);
    if (!p) return NULL;
    struct proxy_server *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->proxier = p;
    proxier_start(p);
    s->services = feed_start(c, env, &(struct reflector_source){.type = &corev1_Service_desc}, &(struct feed_handler){s, set_service, delete_service, services_synced});
    s->slices = feed_start(c, env, &(struct reflector_source){.type = &discoveryv1_EndpointSlice_desc}, &(struct feed_handler){s, set_slice, delete_slice, slices_synced});
    return s;
}

void proxy_server_stop(struct proxy_server *s) {
    if (!s) return;
    feed_stop(s->slices);
    feed_stop(s->services);
    proxier_stop(s->proxier);
    proxier_free(s->proxier);
    free(s);
}
