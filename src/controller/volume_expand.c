/* Claims that ask for more than they have are told who expands them. Upstream: pkg/controller/volume/expand. No volume is expanded in process: CSI's resizer does it.
 * Tests: tests/unit/test_controller_volume.c. */
#include "api/quantity.h"
#include "base/str.h"
#include "controller/controllers.h"

struct volume_expand { struct controller *c; struct informer *claims; };

static int sync_claim(void *self, struct arena *a, const char *key, struct status *reterr UNUSED) {
    struct volume_expand *ve = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(ve->claims, ns, name);
    if (!cached) return 0;
    const struct corev1_PersistentVolumeClaim *c = CACHED(cached, corev1_PersistentVolumeClaim);
    const char *want = string_map_get(&c->spec.resources.requests, "storage"), *have = string_map_get(&c->status.capacity, "storage");
    if (!str_eq(c->status.phase, "Bound") || quantity_text_cmp(want, have) <= 0) return 0;
    event_record(ve->c->events, &corev1_PersistentVolumeClaim_desc, c, EVENT_NORMAL, "ExternalExpanding", "waiting for an external controller to expand this PVC");
    return 0;
}

static void on_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_PersistentVolumeClaim *was = CACHED(old, corev1_PersistentVolumeClaim), *is = CACHED(now, corev1_PersistentVolumeClaim);
    if (quantity_text_cmp(string_map_get(&is->spec.resources.requests, "storage"), string_map_get(&was->spec.resources.requests, "storage")) > 0) controller_enqueue(data, is);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct volume_expand *ve = calloc(1, sizeof(*ve));
    CHECK(ve);
    ve->c = c;
    ve->claims = informers_get(c->context->informers, &corev1_PersistentVolumeClaim_desc);
    informer_add_handler(ve->claims, &(struct informer_handler){c, controller_on_add, on_update, NULL});
    return ve;
}

const struct controller_desc controller_volume_expand = {.name = "persistentvolume-expander-controller", .queue = "volume_expand", .account = "expand-controller", .component = "volume_expand", .workers = 1, .new = new, .sync = sync_claim, .free = free};
