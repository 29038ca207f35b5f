/* Endpoints, EndpointSlices, mirrored ones, Service address ranges. */
#include "converge.h"

#define SERVICES "/api/v1/namespaces/default/services"
#define ENDPOINTS "/api/v1/namespaces/default/endpoints"
#define SLICES "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
#define OF(svc) SLICES "?labelSelector=kubernetes.io/service-name=" svc

/* ---- a Service and Pods that come, get ready, fail and go ---- */

static void put_pod(struct world *w, const char *name, const char *ip, const char *port) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default','labels':{'app':'web'}},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i','ports':["
        "{'name':'http','containerPort':%s}]}]}}", name, port));
    cluster_patch(w->k, arena_printf(a, PODS "/%s/status", name), arena_printf(a, "{'status':{'phase':'Running','podIP':'%s','podIPs':[{'ip':'%s'}],'conditions':[{'type':'Ready','status':'False'}]}}", ip, ip));
}

static void put_ready(struct world *w, const char *name, const char *status) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(w->k, arena_printf(a, PODS "/%s/status", name), arena_printf(a, "{'status':{'conditions':[{'type':'Ready','status':'%s'}]}}", status));
}

static void web_begin(struct world *w) {
    cluster_create(w->k, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n1','labels':{'topology.kubernetes.io/zone':'a'}}}");
    cluster_create(w->k, "{'apiVersion':'v1','kind':'Service','metadata':{'name':'web','namespace':'default'},'spec':{'selector':{'app':'web'},'ports':[{'port':80,'targetPort':'http'}]}}");
    cluster_create(w->k, "{'apiVersion':'v1','kind':'Service','metadata':{'name':'goes','namespace':'default'},'spec':{'selector':{'app':'web'},'ports':[{'port':81,'targetPort':81}]}}");
    put_pod(w, "p0", "10.0.0.1", "8080");
    put_pod(w, "p1", "10.0.0.2", "8080");
    put_ready(w, "p1", "True");
}

static void web_act(struct world *w, int step) {
    if (step == 0) put_ready(w, "p0", "True");
    if (step == 1) put_pod(w, "p2", "10.0.0.3", "9090");
    if (step == 2) cluster_delete(w->k, PODS "/p1", "{'gracePeriodSeconds':0}");
    if (step == 3) put_ready(w, "p2", "True");
    if (step == 4) cluster_patch(w->k, SERVICES "/web", "{'metadata':{'labels':{'l':'1'}},'spec':{'publishNotReadyAddresses':true}}");
    if (step == 5) put_ready(w, "p0", "False");
    if (step == 6) cluster_delete(w->k, SERVICES "/goes", NULL);
    if (step == 7) cluster_patch(w->k, PODS "/p2", "{'metadata':{'labels':{'app':'other'}}}");
}

static bool of_the_pods(const char *ip) { return str_eq(ip, "10.0.0.1") || str_eq(ip, "10.0.0.2") || str_eq(ip, "10.0.0.3"); }

/* No address twice in a slice, none that no Pod ever had; a slice of one Service never holds what another one's ports are. */
static const char *slices_hold(struct world *w, struct arena *a) {
    struct discoveryv1_EndpointSliceList slices;
    world_list(w, a, &discoveryv1_EndpointSlice_desc, "default", &slices);
    LIST_FOREACH(s, &slices.items)
        LIST_FOREACH(e, &s->endpoints) {
            if (!e->addresses.len || !of_the_pods(e->addresses.items[0])) return arena_printf(a, "%s has an address of no Pod", s->metadata.name);
            for (const struct discoveryv1_Endpoint *o = e + 1; o < s->endpoints.items + s->endpoints.len; o++)
                if (str_eq(e->addresses.items[0], o->addresses.items[0])) return arena_printf(a, "%s has %s twice", s->metadata.name, e->addresses.items[0]);
        }
    return NULL;
}

static const char *endpoints_hold(struct world *w, struct arena *a) {
    struct corev1_EndpointsList all;
    world_list(w, a, &corev1_Endpoints_desc, "default", &all);
    LIST_FOREACH(e, &all.items)
        LIST_FOREACH(s, &e->subsets) {
            LIST_FOREACH(x, &s->addresses) {
                if (!of_the_pods(x->ip)) return arena_printf(a, "%s has an address of no Pod", e->metadata.name);
                LIST_FOREACH(n, &s->notReadyAddresses) if (str_eq(n->ip, x->ip)) return arena_printf(a, "%s is ready and not ready at once", n->ip);
            }
        }
    return NULL;
}

static const char *slices_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{OF("web"), "#items", "1"}, {OF("goes"), "#items", "1"}, {OF("web"), "#items[0].endpoints", "1"}, {OF("web"), "items[0].endpoints[0].addresses", "[\"10.0.0.1\"]"},
        {OF("web"), "items[0].endpoints[0].conditions.ready", "true"}, {OF("web"), "items[0].metadata.labels.l", "1"}, {NULL}};
    /* the slices of a Service that is gone are the garbage collector's */
    return world_want_all(w, a, wants);
}

static const char *endpoints_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{ENDPOINTS "/web", "#subsets", "1"}, {ENDPOINTS "/web", "subsets[0].addresses[0].ip", "10.0.0.1"}, {ENDPOINTS "/web", "metadata.labels.l", "1"},
        {ENDPOINTS "/goes", "metadata.name", ""}, {NULL}};
    return world_want_all(w, a, wants);
}

static const char *slices_ready(struct world *w, struct arena *a) { return world_want(w, a, OF("goes"), "#items", "1"); }
static const char *endpoints_ready(struct world *w, struct arena *a) { return world_want(w, a, ENDPOINTS "/goes", "metadata.name", "goes"); }

const struct scenario scenario_endpoint_slice = {.name = "endpointslice", .controllers = "endpointslice-controller", .steps = 8, .pace_ms = 20, .begin = web_begin, .ready = slices_ready, .act = web_act, .holds = slices_hold,
    .done = slices_done, .state = (const char *const[]){OF("web"), NULL}};
const struct scenario scenario_endpoints = {.name = "endpoints", .controllers = "endpoints-controller", .steps = 8, .pace_ms = 20, .begin = web_begin, .ready = endpoints_ready, .act = web_act, .holds = endpoints_hold,
    .done = endpoints_done, .state = (const char *const[]){ENDPOINTS, NULL}};

/* ---- Endpoints kept by hand are mirrored ---- */

static void mirror_begin(struct world *w) {
    static const char *const names[] = {"ext", "stops", "goes", "selects"};
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Service','metadata':{'name':'%s','namespace':'default'},'spec':{'ports':[{'port':80}]}}", names[i]));
        cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Endpoints','metadata':{'name':'%s','namespace':'default'},'subsets':[{'addresses':[{'ip':'192.0.2.1'},{'ip':'fd00::1'}],"
            "'ports':[{'port':80,'protocol':'TCP'}]}]}", names[i]));
    }
}

static void mirror_act(struct world *w, int step) {
    if (step == 0) cluster_patch(w->k, ENDPOINTS "/ext", "{'subsets':[{'addresses':[{'ip':'192.0.2.1'},{'ip':'192.0.2.9'}],'ports':[{'port':80,'protocol':'TCP'}]},{'notReadyAddresses':[{'ip':'192.0.2.3'}],'ports':[{'port':443,'protocol':'TCP'}]}]}");
    if (step == 1) cluster_patch(w->k, ENDPOINTS "/stops", "{'metadata':{'labels':{'endpointslice.kubernetes.io/skip-mirror':'true'}}}");
    if (step == 2) cluster_delete(w->k, ENDPOINTS "/goes", NULL);
    if (step == 3) cluster_patch(w->k, SERVICES "/selects", "{'spec':{'selector':{'app':'web'}}}");
    if (step == 4) cluster_patch(w->k, ENDPOINTS "/ext", "{'metadata':{'labels':{'x':'y'}}}");
}

static const char *mirror_holds(struct world *w, struct arena *a) {
    struct discoveryv1_EndpointSliceList slices;
    world_list(w, a, &discoveryv1_EndpointSlice_desc, "default", &slices);
    LIST_FOREACH(s, &slices.items) {
        if (s->endpoints.len > 2) return arena_printf(a, "%s has %zu addresses", s->metadata.name, s->endpoints.len);
        LIST_FOREACH(e, &s->endpoints)
            if (!str_has_prefix(e->addresses.items[0], str_eq(s->addressType, "IPv4") ? "192.0.2." : "fd00::")) return arena_printf(a, "%s has an address of another family", s->metadata.name);
    }
    return NULL;
}

static const char *mirror_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{OF("ext"), "#items", "2"}, {OF("stops"), "#items", "0"}, {OF("goes"), "#items", "0"}, {OF("selects"), "#items", "0"}, {OF("ext"), "items[0].metadata.labels.x", "y"},
        {OF("ext"), "items[1].metadata.labels.x", "y"}, {NULL}};
    return world_want_all(w, a, wants);
}

static const char *mirror_ready(struct world *w, struct arena *a) { return world_want(w, a, SLICES "?labelSelector=endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io", "#items", "8"); }

const struct scenario scenario_endpoint_slice_mirroring = {.name = "endpointslice-mirroring", .controllers = "endpointslice-mirroring-controller", .steps = 5, .pace_ms = 20, .begin = mirror_begin, .ready = mirror_ready,
    .act = mirror_act, .holds = mirror_holds, .done = mirror_done, .state = (const char *const[]){SLICES, NULL}};

/* ---- a range stays while its addresses are used ---- */

#define CIDRS "/apis/networking.k8s.io/v1/servicecidrs"
#define ADDRESSES "/apis/networking.k8s.io/v1/ipaddresses"

static void cidr_begin(struct world *w) {
    cluster_create(w->k, "{'apiVersion':'networking.k8s.io/v1','kind':'ServiceCIDR','metadata':{'name':'more'},'spec':{'cidrs':['10.200.0.0/24']}}");
    cluster_create(w->k, "{'apiVersion':'networking.k8s.io/v1','kind':'ServiceCIDR','metadata':{'name':'unused'},'spec':{'cidrs':['10.201.0.0/24']}}");
    cluster_create(w->k, "{'apiVersion':'networking.k8s.io/v1','kind':'IPAddress','metadata':{'name':'10.200.0.7'},'spec':{'parentRef':{'resource':'services','namespace':'default','name':'s'}}}");
}

static const char *cidr_ready(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CIDRS "/more", "#metadata.finalizers", "1"}, {CIDRS "/unused", "#metadata.finalizers", "1"}, {NULL}};
    return world_want_all(w, a, wants);
}

static void cidr_act(struct world *w, int step) {
    if (step == 0) world_delete(w, CIDRS "/more", NULL);
    if (step == 1) world_delete(w, CIDRS "/unused", NULL);
    if (step == 2) cluster_create(w->k, "{'apiVersion':'networking.k8s.io/v1','kind':'ServiceCIDR','metadata':{'name':'wider'},'spec':{'cidrs':['10.202.0.0/16']}}");
    if (step == 3) world_delete(w, ADDRESSES "/10.200.0.7", NULL);
}

static const char *cidr_holds(struct world *w, struct arena *a) {
    bool used = *cluster_get(w->k, a, ADDRESSES "/10.200.0.7", "metadata.name") != 0; /* first: it may go meanwhile */
    if (w->step >= 3) return NULL;
    return used && !*cluster_get(w->k, a, CIDRS "/more", "metadata.name") ? "the range is gone while its address is used" : NULL;
}

static const char *cidr_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CIDRS "/more", "metadata.name", ""}, {CIDRS "/unused", "metadata.name", ""}, {CIDRS "/wider", "status.conditions[type=Ready].status", "True"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_service_cidr = {.name = "service-cidr", .controllers = "service-cidr-controller", .steps = 4, .pace_ms = 200, .begin = cidr_begin, .ready = cidr_ready, .act = cidr_act, .holds = cidr_holds,
    .done = cidr_done, .state = (const char *const[]){CIDRS, NULL}};
