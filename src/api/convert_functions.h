/* The conversions done by hand, for convert.c alone: each finishes what carrying fields over by name began. */
#ifndef CKUBE_API_CONVERT_FUNCTIONS_H
#define CKUBE_API_CONVERT_FUNCTIONS_H
#include "api/object.h"

struct conversion {
    const struct type_desc *from, *to;
    void (*fn)(struct arena *a, const void *in, void *out);
};
extern const struct conversion conversions[];
extern const size_t conversions_len;

/* One struct that is not a kind, by the same rules. */
void *object_convert_struct(struct arena *a, const struct type_desc *from, const void *src, const struct type_desc *to);

/* convert_autoscaling.c */
void hpa_v1_to_v2(struct arena *a, const void *in, void *out);
void hpa_v2_to_v1(struct arena *a, const void *in, void *out);
#endif
