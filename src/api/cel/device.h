/* Selectors of DeviceClasses and ResourceClaims: expressions about one device. Upstream: k8s.io/dynamic-resource-allocation/cel. */
#ifndef CKUBE_API_CEL_DEVICE_H
#define CKUBE_API_CEL_DEVICE_H
#include "api/cel/cel.h"
#include "api/object.h"

/* Appends what is wrong with an expression that is to say whether a device is wanted. So is what it could cost at most. */
void cel_check_device_selector(const char *text, const struct field_path *at, struct field_errors *errs);

/* A selector to be asked of many devices, in the arena; NULL: *ret_error says why it does not compile. */
struct cel_program *cel_device_compile(struct arena *a, const char *text, const char **ret_error);
/* Whether it selects the driver's device. 1; 0; -1: *ret_error says why it cannot be told (in the arena). */
int cel_device_matches(struct arena *a, const struct cel_program *p, const char *driver, const struct resourcev1_Device *device, const char **ret_error);
#endif
