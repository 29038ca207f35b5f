/* ImageLocality: nodes that already hold the Pod's large images score higher, the more so the more nodes hold them. Upstream: plugins/imagelocality. */
#include "base/str.h"
#include "scheduler/framework.h"

#define THRESHOLD_MIN_BYTES (23LL * 1024 * 1024)
#define THRESHOLD_MAX_BYTES (1000LL * 1024 * 1024) /* a container */

/* The name with a tag: upstream's normalizedImageName. */
static const char *normalized(struct arena *a, const char *image) {
    const char *colon = strrchr(str_or(image, ""), ':'), *slash = strrchr(str_or(image, ""), '/');
    return !colon || (slash && colon < slash) ? arena_printf(a, "%s:latest", str_or(image, "")) : image;
}

static int64_t image_bytes(const struct node_info *node, const char *image) {
    LIST_FOREACH(i, &node->node->status.images)
        if (string_list_has(&i->names, image)) return i->sizeBytes;
    return 0;
}

struct image { const char *name; size_t nodes; };
struct image_list { struct image *items; size_t len; };

static void image_add(struct cycle *cycle, struct image_list *list, const char *name) {
    struct image image = {normalized(cycle->arena, name), 0};
    for (size_t n = 0; n < cycle->nodes_len; n++) image.nodes += image_bytes(cycle->nodes[n], image.name) > 0;
    if (image.nodes) *LIST_PUSH(cycle->arena, list) = image;
}

static enum code pre_score(struct cycle *cycle, const struct node_info *const *nodes, size_t len) {
    (void)nodes, (void)len;
    struct image_list *list = ARENA_NEW(cycle->arena, struct image_list);
    LIST_FOREACH(c, &cycle->pod->pod->spec.initContainers) image_add(cycle, list, c->image);
    LIST_FOREACH(c, &cycle->pod->pod->spec.containers) image_add(cycle, list, c->image);
    cycle->state[cycle->plugin] = list;
    return list->len ? CODE_SUCCESS : CODE_SKIP;
}

static int64_t score(struct cycle *cycle, const struct node_info *node) {
    const struct image_list *list = cycle->state[cycle->plugin];
    int64_t sum = 0, containers = (int64_t)(cycle->pod->pod->spec.containers.len + cycle->pod->pod->spec.initContainers.len);
    LIST_FOREACH(i, list) sum += (int64_t)((double)image_bytes(node, i->name) * ((double)i->nodes / (double)cycle->nodes_len));
    int64_t max = THRESHOLD_MAX_BYTES * containers;
    sum = MIN(MAX(sum, THRESHOLD_MIN_BYTES), max);
    return NODE_SCORE_MAX * (sum - THRESHOLD_MIN_BYTES) / (max - THRESHOLD_MIN_BYTES);
}

const struct plugin plugin_image_locality = {.name = "ImageLocality", .weight = 1, .pre_score = pre_score, .score = score};
