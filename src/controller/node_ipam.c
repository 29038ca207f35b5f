/* A range of Pod addresses for every Node, of each family of --cluster-cidr. Upstream: pkg/controller/nodeipam (range allocator).
 *
 * What Nodes have already is marked as taken while the informer fills, before any worker runs, so that nothing is given away twice after a restart. The service
 * ranges are kept out. Tests: tests/unit/test_controller_node.c. */
#include "base/log.h"
#include "base/str.h"
#include "controller/cidr_set.h"
#include "controller/controllers.h"
#include "controller/node_util.h"

enum { FAMILIES = 2, PATCH_TRIES = 3 };

struct node_ipam {
    struct controller *c;
    struct informer *nodes;
    pthread_mutex_t mutex;
    struct cidr_set *sets[FAMILIES];
    size_t sets_len;
};

/* ---- what is taken ---- */

static void mark(struct node_ipam *ni, const struct corev1_Node *node, bool taken) {
    pthread_mutex_lock(&ni->mutex);
    for (size_t i = 0; i < node->spec.podCIDRs.len; i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        const char *cidr = node->spec.podCIDRs.items[i];
        int rc = i < ni->sets_len ? (taken ? cidr_set_occupy : cidr_set_release)(ni->sets[i], cidr, &err) : status_bad_request(&err, "no cluster CIDR at index %zu", i);
        if (rc != 0) log_warning("node %s has the range %s: %s", node->metadata.name, cidr, status_message(&err));
    }
    pthread_mutex_unlock(&ni->mutex);
}

/* All families or none. */
static int allocate(struct node_ipam *ni, struct arena *a, struct string_list *ret, struct status *reterr) {
    int rc = 0;
    pthread_mutex_lock(&ni->mutex);
    for (size_t i = 0; i < ni->sets_len && rc == 0; i++) {
        char *cidr = cidr_set_allocate(ni->sets[i], a);
        if (cidr) string_list_push(a, ret, cidr);
        else rc = status_internal(reterr, "failed to allocate cidr from cluster cidr at idx:%zu: CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range", i);
    }
    for (size_t i = 0; rc != 0 && i < ret->len; i++) cidr_set_release(ni->sets[i], ret->items[i], NULL);
    pthread_mutex_unlock(&ni->mutex);
    return rc;
}

/* ---- sync ---- */

static int patch(struct node_ipam *ni, struct arena *a, const char *name, const struct string_list *cidrs, struct status *reterr) {
    _cleanup_buf_ struct buf p = BUF_INIT;
    buf_printf(&p, "{\"spec\":{\"podCIDR\":\"%s\",\"podCIDRs\":[", cidrs->items[0]);
    LIST_FOREACH(cidr, cidrs) buf_printf(&p, "%s\"%s\"", cidr == cidrs->items ? "" : ",", *cidr);
    buf_append_str(&p, "]}}");
    return client_patch(ni->c->client, a, &corev1_Node_desc, NULL, name, NULL, PATCH_STRATEGIC, buf_cstr(&p), NULL, reterr);
}

static void give_back(struct node_ipam *ni, const struct string_list *cidrs) {
    pthread_mutex_lock(&ni->mutex);
    for (size_t i = 0; i < cidrs->len; i++) cidr_set_release(ni->sets[i], cidrs->items[i], NULL);
    pthread_mutex_unlock(&ni->mutex);
}

static int sync_node(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct node_ipam *ni = self;
    struct corev1_Node node;
    struct string_list cidrs = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    /* From the server: the cache may not show yet what an earlier run gave it. */
    if (client_get(ni->c->client, a, &corev1_Node_desc, NULL, key, &node, &err) != 0) return status_is(&err, 404) ? 0 : (status_copy(reterr, &err), -1);
    if (node.spec.podCIDRs.len) return 0;
    if (allocate(ni, a, &cidrs, reterr) != 0) {
        node_record_status(ni->c, &node, "CIDRNotAvailable");
        return -1;
    }
    int rc = -1;
    for (int i = 0; i < PATCH_TRIES && rc != 0; i++) rc = patch(ni, a, key, &cidrs, &err);
    if (rc == 0) return 0;
    /* After no answer (5xx) it may have been written: a part that leaks until the next start is better than one used twice. */
    if (err.code < 500) give_back(ni, &cidrs);
    if (!status_is(&err, 404)) node_record_status(ni->c, &node, "CIDRAssignmentFailed");
    status_copy(reterr, &err);
    return status_is(&err, 404) ? 0 : -1;
}

/* ---- events ---- */

static void on_add(void *data, struct cached *now) {
    struct node_ipam *ni = data;
    const struct corev1_Node *node = CACHED(now, corev1_Node);
    if (node->spec.podCIDRs.len) mark(ni, node, true);
    else controller_enqueue(ni->c, node);
}

static void on_update(void *data, struct cached *old, struct cached *now) {
    if (CACHED(now, corev1_Node)->spec.podCIDRs.len && CACHED(old, corev1_Node)->spec.podCIDRs.len) return;
    on_add(data, now);
}

static void on_delete(void *data, struct cached *old) { mark(data, CACHED(old, corev1_Node), false); }

/* ---- life ---- */

static void free_self(void *self) {
    struct node_ipam *ni = self;
    for (size_t i = 0; i < FAMILIES; i++) cidr_set_free(ni->sets[i]);
    pthread_mutex_destroy(&ni->mutex);
    free(ni);
}

static void *new(struct controller *c, struct status *reterr) {
    const struct controller_options *o = c->context->options;
    if (!o->allocate_node_cidrs || str_empty(o->cluster_cidr[0])) return status_bad_request(reterr, "--allocate-node-cidrs or --cluster-cidr is not given"), NULL;
    struct node_ipam *ni = calloc(1, sizeof(*ni));
    CHECK(ni);
    ni->c = c;
    pthread_mutex_init(&ni->mutex, NULL);
    for (size_t i = 0; i < FAMILIES && !str_empty(o->cluster_cidr[i]); i++) {
        if (!(ni->sets[i] = cidr_set_new(o->cluster_cidr[i], o->node_cidr_mask_size_ipv4, o->node_cidr_mask_size_ipv6, reterr))) {
            free_self(ni);
            return NULL;
        }
        ni->sets_len++;
        for (size_t k = 0; k < ARRAY_LEN(o->service_cluster_ip_range); k++)
            if (cidr_set_overlaps(ni->sets[i], o->service_cluster_ip_range[k])) cidr_set_occupy(ni->sets[i], o->service_cluster_ip_range[k], NULL);
    }
    ni->nodes = informers_get(c->context->informers, &corev1_Node_desc);
    informer_add_handler(ni->nodes, &(struct informer_handler){ni, on_add, on_update, on_delete});
    return ni;
}

const struct controller_desc controller_node_ipam = {
    .name = "node-ipam-controller", .queue = "cidrallocator_node", .account = "node-controller", .component = "cidrAllocator", .workers = 4, .new = new, .sync = sync_node, .free = free_self};
