/* A KubeSchedulerConfiguration: refused with a reason, or profiles that can be used. */
#include <stdint.h>
#include "scheduler/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status st = STATUS_INIT;
    struct scheduler_configuration c;
    if (scheduler_configuration_load(a, (const char *)data, size, &c, &st)) {
        CHECK(*status_message(&st));
        return 0;
    }
    for (size_t i = 0; i < c.profiles_len; i++) CHECK(c.profiles[i].points[POINT_BIND].len > 0 && c.profiles[i].points[POINT_QUEUE_SORT].len > 0);
    return 0;
}
