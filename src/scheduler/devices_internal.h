/* The struct behind devices.h, shared by devices.c (who has what) and device_pools.c (what there is). */
#ifndef CKUBE_SCHEDULER_DEVICES_INTERNAL_H
#define CKUBE_SCHEDULER_DEVICES_INTERNAL_H
#include "base/buf.h"
#include "base/map.h"
#include "scheduler/devices.h"

struct cel_program;
struct device_program { const char *text; struct cel_program *program; const char *error; };
struct devices {
    struct map *ids;             /* key -> device_id */
    struct map *claims;          /* namespace/name -> claim_entry (devices.c) */
    uint64_t version;
    struct map *slices;          /* name -> device_slice */
    struct map *pools;           /* driver/pool -> slice_set: all slices of a pool */
    struct map *nodes;           /* name -> node_devices (device_pools.c) */
    struct slice_set *shared;    /* slices that are not of one node alone */
    uint64_t shared_epoch;       /* moves when one of these changes */
    struct device_program programs[DEVICE_PROGRAMS_MAX];
    size_t programs_len;
    struct arena *programs_arena;
    uint64_t programs_epoch;
};
/* A counted reference. */
struct device_id *device_id_get(struct devices *d, const char *driver, const char *pool, const char *device);
void device_id_put(struct devices *d, struct device_id *id);
void devices_pools_init(struct devices *d);
void devices_pools_free(struct devices *d);
#endif
