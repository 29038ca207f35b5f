/* ImageLocality: nodes that already hold the Pod's large images score higher, the more so the more nodes hold them. Upstream: plugins/imagelocality. */
#include "base/str.h"
#include "scheduler/plugins/plugins.h"

#define THRESHOLD_MIN_BYTES (23LL * 1024 * 1024)
#define THRESHOLD_MAX_BYTES (1000LL * 1024 * 1024) /* a container */

struct image_list { const struct image_state **items; size_t len; };

/* The name with a tag: upstream's normalizedImageName. */
static const char *normalized(struct arena *a, const char *image) {
    const char *colon = strrchr(str_or(image, ""), ':'), *slash = strrchr(str_or(image, ""), '/');
    return !colon || (slash && colon < slash) ? arena_printf(a, "%s:latest", str_or(image, "")) : image;
}

static void image_add(struct cycle *cycle, struct image_list *list, const char *name) {
    const struct image_state *s = cache_image(cycle->cache, normalized(cycle->arena, name));
    if (s) *LIST_PUSH(cycle->arena, list) = s;
}

static enum code pre_score(struct cycle *cycle, struct node_info *const *nodes, size_t len) {
    (void)nodes, (void)len;
    struct image_list *list = ARENA_NEW(cycle->arena, struct image_list);
    LIST_FOREACH(c, &cycle->pod->pod->spec.initContainers) image_add(cycle, list, c->image);
    LIST_FOREACH(c, &cycle->pod->pod->spec.containers) image_add(cycle, list, c->image);
    LIST_FOREACH(v, &cycle->pod->pod->spec.volumes)
        if (v->image) image_add(cycle, list, v->image->reference);
    cycle->score_state[PLUGIN_IMAGE_LOCALITY] = list;
    return list->len ? CODE_SUCCESS : CODE_SKIP;
}

static int64_t score(struct cycle *cycle, struct node_info *node) {
    const struct image_list *list = cycle->score_state[PLUGIN_IMAGE_LOCALITY];
    const struct corev1_PodSpec *spec = &cycle->pod->pod->spec;
    int64_t sum = 0, images = (int64_t)(spec->containers.len + spec->initContainers.len);
    LIST_FOREACH(v, &spec->volumes) images += v->image != NULL;
    LIST_FOREACH(i, list)
        LIST_FOREACH(have, &node->images)
            if (have->image == *i) sum += (int64_t)((double)have->bytes * ((double)(*i)->nodes / (double)cycle->nodes_len));
    int64_t max = THRESHOLD_MAX_BYTES * images;
    sum = MIN(MAX(sum, THRESHOLD_MIN_BYTES), max);
    return NODE_SCORE_MAX * (sum - THRESHOLD_MIN_BYTES) / (max - THRESHOLD_MIN_BYTES);
}

const struct plugin plugin_image_locality = {.name = "ImageLocality", .id = PLUGIN_IMAGE_LOCALITY, .weight = 1, .pre_score = pre_score, .score = score};
