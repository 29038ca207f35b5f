/* Events: leniently as core/v1 has them, strictly as events.k8s.io/v1 does; both are stored as core's. Upstream: pkg/apis/core/validation/events.go.
 * Tests: tests/unit/test_validation_core.c. */
#include <string.h>
#include "api/names.h"
#include "api/time.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"

enum { REPORTING_INSTANCE_MAX = 128, ACTION_MAX = 128, REASON_MAX = 128, NOTE_MAX = 1024 };

static void limited(const char *value, const char *name, size_t max, bool required, struct field_errors *errs) {
    if (required && str_empty(value)) field_required(errs, FIELD(NULL, name), "%s", "");
    if (strlen(str_or(value, "")) > max) field_invalid(errs, FIELD(NULL, name), "", "can have at most %zu characters", max);
}

/* Old events carry no eventTime; only their namespaces have to agree. */
static void every_event(const struct corev1_Event *e, const char *controller_field, struct field_errors *errs) {
    const char *ns = str_or(e->metadata.namespace, ""), *about = str_or(e->involvedObject.namespace, "");
    struct string_list msgs = {0};
    bool agrees;
    if (e->eventTime.set) agrees = *about || str_eq(ns, "default") || str_eq(ns, "kube-system");
    else agrees = *about ? str_eq(ns, about) : !*ns || str_eq(ns, "default");
    if (!agrees) field_invalid(errs, FIELD(FIELD(NULL, "involvedObject"), "namespace"), about, "does not match event.namespace");
    if (e->eventTime.set) {
        if (str_empty(e->reportingComponent)) field_required(errs, FIELD(NULL, controller_field), "%s", "");
        name_qualified(errs->arena, str_or(e->reportingComponent, ""), &msgs);
        field_invalid_each(errs, FIELD(NULL, controller_field), e->reportingComponent, &msgs);
        limited(e->reportingInstance, "reportingInstance", REPORTING_INSTANCE_MAX, true, errs);
        limited(e->action, "action", ACTION_MAX, true, errs);
        limited(e->reason, "reason", REASON_MAX, true, errs);
        limited(e->message, "message", NOTE_MAX, false, errs);
    }
    msgs = (struct string_list){0};
    name_dns1123_subdomain(errs->arena, ns, &msgs);
    field_invalid_each(errs, FIELD(NULL, "namespace"), ns, &msgs);
}

void validate_event(const void *obj, struct field_errors *errs) { every_event(obj, "reportingComponent", errs); }
void validate_event_update(const void *obj, const void *old UNUSED, struct field_errors *errs) { every_event(obj, "reportingComponent", errs); }

/* ---- events.k8s.io/v1 ---- */

static void series(const struct corev1_EventSeries *s, struct field_errors *errs) {
    if (!s) return;
    if (s->count < 2) field_invalid(errs, FIELD(NULL, "series.count"), "", "should be at least 2");
    if (!s->lastObservedTime.set) field_required(errs, FIELD(NULL, "series.lastObservedTime"), "%s", "");
}

void validate_events_event(const void *obj, struct field_errors *errs) {
    const struct corev1_Event *e = obj;
    every_event(e, "reportingController", errs);
    validate_object_meta(&e->metadata, true, object_name_dns_subdomain, FIELD(NULL, "metadata"), errs);
    series(e->series, errs);
    if (!e->eventTime.set) field_required(errs, FIELD(NULL, "eventTime"), "%s", "");
    if (!str_eq(e->type, "Normal") && !str_eq(e->type, "Warning")) field_invalid(errs, FIELD(NULL, "type"), "", "has invalid value: %s", str_or(e->type, ""));
    if (e->firstTimestamp.set) field_invalid(errs, FIELD(NULL, "firstTimestamp"), "", "needs to be unset");
    if (e->lastTimestamp.set) field_invalid(errs, FIELD(NULL, "lastTimestamp"), "", "needs to be unset");
    if (e->count) field_invalid(errs, FIELD(NULL, "count"), "", "needs to be unset");
    if (!str_empty(e->source.component) || !str_empty(e->source.host)) field_invalid(errs, FIELD(NULL, "source"), "", "needs to be unset");
}

static bool same_series(const struct corev1_Event *a, const struct corev1_Event *b) {
    struct corev1_Event x = {.series = a->series}, y = {.series = b->series};
    return object_equal(&corev1_Event_desc, &x, &y);
}

static void immutable_value(const struct type_desc *type, const void *value, const void *old, const char *name, struct field_errors *errs) {
    validate_immutable(object_equal(type, value, old), object_json_text(errs->arena, type, value), FIELD(NULL, name), errs);
}

static void immutable_time(const struct api_time *value, const struct api_time *old, const char *name, struct field_errors *errs) {
    validate_immutable(value->set == old->set && (!value->set || value->sec == old->sec), api_time_json_text(errs->arena, value), FIELD(NULL, name), errs);
}

static void immutable_text(const char *value, const char *old, const char *name, struct field_errors *errs) {
    validate_immutable(str_eq(value, old), go_quote(errs->arena, str_or(value, "")), FIELD(NULL, name), errs);
}

/* Times are kept to the microsecond. */
static void immutable_event_time(const struct api_time *value, const struct api_time *old, struct field_errors *errs) {
    if (value->set == old->set && value->sec == old->sec && value->nsec / 1000 == old->nsec / 1000) return;
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (value->set) micro_time_format(value, &text);
    validate_immutable(false, value->set ? arena_printf(errs->arena, "\"%s\"", text.data) : "null", FIELD(NULL, "eventTime"), errs);
}

void validate_events_event_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Event *e = obj, *old = old_obj;
    every_event(e, "reportingController", errs);
    validate_object_meta_update(&e->metadata, &old->metadata, FIELD(NULL, "metadata"), errs);
    if (!same_series(e, old)) series(e->series, errs);
    immutable_value(&corev1_ObjectReference_desc, &e->involvedObject, &old->involvedObject, "involvedObject", errs);
    immutable_text(e->reason, old->reason, "reason", errs);
    immutable_text(e->message, old->message, "message", errs);
    immutable_value(&corev1_EventSource_desc, &e->source, &old->source, "source", errs);
    immutable_time(&e->firstTimestamp, &old->firstTimestamp, "firstTimestamp", errs);
    immutable_time(&e->lastTimestamp, &old->lastTimestamp, "lastTimestamp", errs);
    validate_immutable(e->count == old->count, arena_printf(errs->arena, "%d", e->count), FIELD(NULL, "count"), errs);
    immutable_text(e->reason, old->reason, "reason", errs);
    immutable_text(e->type, old->type, "type", errs);
    immutable_event_time(&e->eventTime, &old->eventTime, errs);
    immutable_text(e->action, old->action, "action", errs);
    validate_immutable_struct(&corev1_ObjectReference_desc, e->related, old->related, FIELD(NULL, "related"), errs);
    immutable_text(e->reportingComponent, old->reportingComponent, "reportingController", errs);
    immutable_text(e->reportingInstance, old->reportingInstance, "reportingInstance", errs);
}
