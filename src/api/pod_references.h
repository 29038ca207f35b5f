/* The Secrets and ConfigMaps that a Pod or a PersistentVolume names, wherever in it. Upstream: api/pod VisitPodSecretNames and siblings.
 *
 * Found by walking the descriptors: every field that upstream's visitors list has one of a few names, so that a new kind of volume is found by itself. */
#ifndef CKUBE_API_POD_REFERENCES_H
#define CKUBE_API_POD_REFERENCES_H
#include "api/object.h"

enum reference_kind { REFERENCE_SECRET, REFERENCE_CONFIGMAP };
/* namespace NULL: that of the object. */
typedef void (*reference_fn)(void *arg, enum reference_kind kind, const char *namespace, const char *name);
/* Only what a kubelet needs: secrets for attaching and expanding volumes by controllers are left out. */
void references_visit(const struct type_desc *type, const void *obj, reference_fn fn, void *arg);
#endif
