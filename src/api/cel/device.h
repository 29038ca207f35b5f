/* Selectors of DeviceClasses and ResourceClaims: expressions about one device. Upstream: k8s.io/dynamic-resource-allocation/cel. */
#ifndef CKUBE_API_CEL_DEVICE_H
#define CKUBE_API_CEL_DEVICE_H
#include "api/cel/cel.h"

/* Appends what is wrong with an expression that is to say whether a device is wanted. So is what it could cost at most. */
void cel_check_device_selector(const char *text, const struct field_path *at, struct field_errors *errs);
#endif
