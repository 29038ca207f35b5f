#include "base/status.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "base/str.h"

void status_release(struct status *s) {
    if (!s) return;
    arena_free(s->arena);
    *s = (struct status)STATUS_INIT;
}

static struct arena *status_arena(struct status *s) {
    if (!s->arena) s->arena = arena_new();
    return s->arena;
}

int status_set(struct status *s, int code, const char *reason, const char *format, ...) {
    if (!s) return -1;
    struct arena *old = s->arena; /* the arguments may live in the status that is being replaced */
    *s = (struct status){.code = code, .reason = reason};
    va_list args;
    va_start(args, format);
    s->message = arena_vprintf(status_arena(s), format, args);
    va_end(args);
    arena_free(old);
    return -1;
}

void status_details(struct status *s, const char *group, const char *kind, const char *name) {
    if (!s) return;
    s->has_details = true;
    s->group = arena_strdup(status_arena(s), group);
    s->kind = arena_strdup(s->arena, kind);
    s->name = arena_strdup(s->arena, name);
}

void status_add_cause(struct status *s, const char *type, const char *field, const char *format, ...) {
    if (!s) return;
    struct { struct status_cause *items; size_t len; } list = {s->causes, s->causes_len};
    struct status_cause *c = LIST_PUSH(status_arena(s), &list);
    c->type = arena_strdup(s->arena, type);
    c->field = arena_strdup(s->arena, field);
    va_list args;
    va_start(args, format);
    c->message = arena_vprintf(s->arena, format, args);
    va_end(args);
    s->causes = list.items;
    s->causes_len = list.len;
    s->has_details = true;
}

void status_wrap(struct status *s, const char *format, ...) {
    if (!s || !s->code) return;
    va_list args;
    va_start(args, format);
    const char *context = arena_vprintf(status_arena(s), format, args);
    va_end(args);
    s->message = arena_printf(s->arena, "%s: %s", context, status_message(s));
}

void status_copy(struct status *dst, const struct status *src) {
    if (!dst || dst == src) return;
    status_release(dst);
    dst->code = src->code;
    dst->reason = src->reason;
    dst->retry_after_seconds = src->retry_after_seconds;
    dst->message = arena_strdup(status_arena(dst), src->message);
    if (src->has_details) status_details(dst, src->group, src->kind, src->name);
    dst->uid = arena_strdup(dst->arena, src->uid);
    for (size_t i = 0; i < src->causes_len; i++) status_add_cause(dst, src->causes[i].type, src->causes[i].field, "%s", src->causes[i].message ? src->causes[i].message : "");
}

const char *status_message(const struct status *s) { return s && s->message ? s->message : ""; }

/* "pods" for core, "deployments.apps" for the rest: upstream's GroupResource.String() */
static const char *group_resource(struct status *s, const char *group, const char *resource) {
    if (!group || !*group) return resource ? resource : "";
    return arena_printf(status_arena(s), "%s.%s", resource ? resource : "", group);
}

/* BEFORE resource "name" AFTER, with details; without a name the quoted part is left out. */
static int about(struct status *s, int code, const char *reason, const char *group, const char *resource, const char *name, const char *before, const char *after) {
    if (!s) return -1;
    struct status next = {.code = code, .reason = reason};
    const char *gr = group_resource(&next, group, resource);
    next.message = name && *name ? arena_printf(status_arena(&next), "%s%s \"%s\"%s", before, gr, name, after) : arena_printf(status_arena(&next), "%s%s%s", before, gr, after);
    status_details(&next, group && *group ? group : NULL, resource, name);
    status_release(s);
    *s = next;
    return -1;
}

int status_not_found(struct status *s, const char *group, const char *resource, const char *name) {
    return about(s, 404, REASON_NOT_FOUND, group, resource, name, "", " not found");
}

int status_already_exists(struct status *s, const char *group, const char *resource, const char *name) {
    return about(s, 409, REASON_ALREADY_EXISTS, group, resource, name, "", " already exists");
}

static int about_because(struct status *s, int code, const char *reason, const char *group, const char *resource, const char *name, const char *before, const char *joint, const char *why) {
    struct arena *a = arena_new();
    about(s, code, reason, group, resource, name, before, arena_printf(a, "%s%s", joint, why));
    arena_free(a);
    return -1;
}

int status_conflict(struct status *s, const char *group, const char *resource, const char *name, const char *why) {
    return about_because(s, 409, REASON_CONFLICT, group, resource, name, "Operation cannot be fulfilled on ", ": ", why);
}

int status_forbidden(struct status *s, const char *group, const char *resource, const char *name, const char *why) {
    return about_because(s, 403, REASON_FORBIDDEN, group, resource, name, "", str_empty(resource) ? "forbidden: " : " is forbidden: ", why);
}

static int vset(struct status *s, int code, const char *reason, const char *prefix, const char *format, va_list args) PRINTF_LIKE(5, 0);
static int vset(struct status *s, int code, const char *reason, const char *prefix, const char *format, va_list args) {
    if (!s) return -1;
    struct arena *a = arena_new();
    const char *text = arena_vprintf(a, format, args);
    status_set(s, code, reason, "%s%s", prefix, text);
    arena_free(a);
    return -1;
}

int status_bad_request(struct status *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vset(s, 400, REASON_BAD_REQUEST, "", format, args);
    va_end(args);
    return -1;
}

int status_internal(struct status *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct arena *a = arena_new();
    const char *text = arena_vprintf(a, format, args);
    va_end(args);
    status_set(s, 500, REASON_INTERNAL_ERROR, "Internal error occurred: %s", text);
    status_add_cause(s, NULL, NULL, "%s", text);
    arena_free(a);
    return -1;
}

int status_errno(struct status *s, const char *what) {
    int e = errno;
    return status_set(s, 500, REASON_INTERNAL_ERROR, "%s: %s", what, strerror(e));
}
