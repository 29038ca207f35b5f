/* events.k8s.io, resource.k8s.io and the table of all conversions by hand. autoscaling is in convert_autoscaling.c. */
#include "api/convert_functions.h"

/* ---- Event: one object, two spellings. Upstream: pkg/apis/events/v1/conversion.go ---- */

static void event_to_core(struct arena *a, const void *in, void *out) {
    const struct eventsv1_Event *e = in;
    struct corev1_Event *c = out;
    (void)a;
    c->message = e->note;
    c->involvedObject = e->regarding;
    c->source = e->deprecatedSource;
    c->firstTimestamp = e->deprecatedFirstTimestamp;
    c->lastTimestamp = e->deprecatedLastTimestamp;
    c->count = e->deprecatedCount;
    c->reportingComponent = e->reportingController;
}

static void event_from_core(struct arena *a, const void *in, void *out) {
    const struct corev1_Event *c = in;
    struct eventsv1_Event *e = out;
    (void)a;
    e->note = c->message;
    e->regarding = c->involvedObject;
    e->deprecatedSource = c->source;
    e->deprecatedFirstTimestamp = c->firstTimestamp;
    e->deprecatedLastTimestamp = c->lastTimestamp;
    e->deprecatedCount = c->count;
    e->reportingController = c->reportingComponent;
}

/* ---- resource.k8s.io/v1beta1: a request's one alternative is not nested in `exactly`; a device's fields are in `basic` ---- */

static void request_from_v1beta1(struct arena *a, const void *in, void *out) {
    const struct resourcev1beta1_DeviceRequest *b = in;
    struct resourcev1_DeviceRequest *r = out;
    bool flat = b->deviceClassName || b->selectors.items || b->allocationMode || b->count || b->adminAccess.has || b->tolerations.items || b->capacity;
    if (flat) r->exactly = object_convert_struct(a, &resourcev1beta1_DeviceRequest_desc, in, &resourcev1_ExactDeviceRequest_desc);
}

static void request_to_v1beta1(struct arena *a, const void *in, void *out) {
    const struct resourcev1_DeviceRequest *r = in;
    struct resourcev1beta1_DeviceRequest *b = out;
    if (!r->exactly) return;
    struct resourcev1beta1_DeviceRequest *flat = object_convert_struct(a, &resourcev1_ExactDeviceRequest_desc, r->exactly, &resourcev1beta1_DeviceRequest_desc);
    flat->name = b->name;
    flat->firstAvailable = b->firstAvailable;
    *b = *flat;
}

static void device_from_v1beta1(struct arena *a, const void *in, void *out) {
    const struct resourcev1beta1_Device *b = in;
    struct resourcev1_Device *d = out;
    if (!b->basic) return;
    struct resourcev1_Device *flat = object_convert_struct(a, &resourcev1beta1_BasicDevice_desc, b->basic, &resourcev1_Device_desc);
    flat->name = b->name;
    *d = *flat;
}

static void device_to_v1beta1(struct arena *a, const void *in, void *out) {
    ((struct resourcev1beta1_Device *)out)->basic = object_convert_struct(a, &resourcev1_Device_desc, in, &resourcev1beta1_BasicDevice_desc);
}

const struct conversion conversions[] = {
    {&eventsv1_Event_desc, &corev1_Event_desc, event_to_core},
    {&corev1_Event_desc, &eventsv1_Event_desc, event_from_core},
    {&autoscalingv1_HorizontalPodAutoscaler_desc, &autoscalingv2_HorizontalPodAutoscaler_desc, hpa_v1_to_v2},
    {&autoscalingv2_HorizontalPodAutoscaler_desc, &autoscalingv1_HorizontalPodAutoscaler_desc, hpa_v2_to_v1},
    {&resourcev1beta1_DeviceRequest_desc, &resourcev1_DeviceRequest_desc, request_from_v1beta1},
    {&resourcev1_DeviceRequest_desc, &resourcev1beta1_DeviceRequest_desc, request_to_v1beta1},
    {&resourcev1beta1_Device_desc, &resourcev1_Device_desc, device_from_v1beta1},
    {&resourcev1_Device_desc, &resourcev1beta1_Device_desc, device_to_v1beta1},
};
const size_t conversions_len = sizeof(conversions) / sizeof(conversions[0]);
