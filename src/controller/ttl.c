/* How long kubelets may cache Secrets and ConfigMaps: the larger the cluster the longer, told by an annotation of each Node. Upstream: pkg/controller/ttl. Tests: tests/unit/test_controller_misc.c. */
#include "base/str.h"
#include "controller/controllers.h"

#define TTL_ANNOTATION "node.alpha.kubernetes.io/ttl"

/* Steps overlap, so that a cluster at a border does not go to and fro. */
static const struct { size_t min, max; int ttl_s; } steps[] = {{0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, SIZE_MAX, 300}};

struct ttl_controller {
    struct controller *c;
    struct informer *nodes;
    pthread_mutex_t mutex;
    size_t count, step;
};

static int current_ttl(struct ttl_controller *tc, int change) {
    pthread_mutex_lock(&tc->mutex);
    tc->count += (size_t)change;
    if (tc->count > steps[tc->step].max) tc->step++;
    if (tc->count < steps[tc->step].min) tc->step--;
    int ttl = steps[tc->step].ttl_s;
    pthread_mutex_unlock(&tc->mutex);
    return ttl;
}

static int sync_node(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct ttl_controller *tc = self;
    _cleanup_cached_ struct cached *node = informer_get(tc->nodes, NULL, key);
    const char *ttl = arena_printf(a, "%d", current_ttl(tc, 0));
    if (!node || str_eq(string_map_get(&node->obj->metadata.annotations, TTL_ANNOTATION), ttl)) return 0;
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *patch = arena_printf(a, "{\"metadata\":{\"annotations\":{\"" TTL_ANNOTATION "\":\"%s\"}}}", ttl);
    if (client_patch(tc->c->client, a, &corev1_Node_desc, NULL, key, NULL, PATCH_STRATEGIC, patch, NULL, &err) == 0 || status_is(&err, 404)) return 0;
    status_copy(reterr, &err);
    return -1;
}

static void on_add(void *data, struct cached *now) {
    struct ttl_controller *tc = data;
    current_ttl(tc, 1);
    controller_enqueue(tc->c, now->obj);
}
static void on_update(void *data, struct cached *old UNUSED, struct cached *now) { controller_enqueue(((struct ttl_controller *)data)->c, now->obj); }
static void on_delete(void *data, struct cached *old UNUSED) { current_ttl(data, -1); }

static void free_self(void *self) {
    struct ttl_controller *tc = self;
    pthread_mutex_destroy(&tc->mutex);
    free(tc);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct ttl_controller *tc = calloc(1, sizeof(*tc));
    CHECK(tc);
    tc->c = c;
    pthread_mutex_init(&tc->mutex, NULL);
    tc->nodes = informers_get(c->context->informers, &corev1_Node_desc);
    informer_add_handler(tc->nodes, &(struct informer_handler){tc, on_add, on_update, on_delete});
    return tc;
}

const struct controller_desc controller_ttl = {.name = "ttl-controller", .queue = "ttlcontroller", .workers = 5, .new = new, .sync = sync_node, .free = free_self};
