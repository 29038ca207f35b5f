/* The one error type: the API's Status on its way up.
 *
 * A function that can fail returns 0 or -1 (or a documented negative reason) and takes `struct status *reterr` as its last argument, which may be
 * NULL when the caller needs no words. On failure the callee fills it once with status_set or a sibling; layers on the way prefix context with
 * status_wrap; the edge prints it or serves it as a meta/v1 Status. Upstream: apimachinery api/errors. Owner: whoever declared it; release with
 * status_release (or _cleanup_status_). Outputs of a failed function are untouched. */
#ifndef CKUBE_BASE_STATUS_H
#define CKUBE_BASE_STATUS_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/macros.h"

/* meta/v1 StatusReason values, spelled as on the wire. */
#define REASON_UNAUTHORIZED "Unauthorized"
#define REASON_FORBIDDEN "Forbidden"
#define REASON_NOT_FOUND "NotFound"
#define REASON_ALREADY_EXISTS "AlreadyExists"
#define REASON_CONFLICT "Conflict"
#define REASON_GONE "Gone"
#define REASON_EXPIRED "Expired"
#define REASON_INVALID "Invalid"
#define REASON_SERVER_TIMEOUT "ServerTimeout"
#define REASON_TIMEOUT "Timeout"
#define REASON_TOO_MANY_REQUESTS "TooManyRequests"
#define REASON_BAD_REQUEST "BadRequest"
#define REASON_METHOD_NOT_ALLOWED "MethodNotAllowed"
#define REASON_NOT_ACCEPTABLE "NotAcceptable"
#define REASON_REQUEST_ENTITY_TOO_LARGE "RequestEntityTooLarge"
#define REASON_UNSUPPORTED_MEDIA_TYPE "UnsupportedMediaType"
#define REASON_INTERNAL_ERROR "InternalError"
#define REASON_SERVICE_UNAVAILABLE "ServiceUnavailable"

struct arena;
struct status_cause { char *type, *message, *field; }; /* type: FieldValueInvalid, ...; field: JSON path; any may be NULL */

struct status {
    int code;            /* HTTP code; 0: no error */
    const char *reason;  /* one of the above, or NULL (upstream's "Unknown" is the empty string) */
    char *message;
    char *group, *kind, *name, *uid; /* details; NULL when absent */
    struct status_cause *causes;
    size_t causes_len;
    int retry_after_seconds;
    bool has_details;    /* serve a `details` object even if it is empty */
    struct arena *arena; /* owns the strings above */
};
#define STATUS_INIT {0}

void status_release(struct status *s);
#define _cleanup_status_ __attribute__((cleanup(status_release)))

/* Fills *s (NULL is fine), replacing what it held. Returns -1, so that `return status_set(...)` reads well. */
int status_set(struct status *s, int code, const char *reason, const char *format, ...) PRINTF_LIKE(4, 5);
/* Adds details.{group,kind,name}; any may be NULL. */
void status_details(struct status *s, const char *group, const char *kind, const char *name);
void status_add_cause(struct status *s, const char *type, const char *field, const char *format, ...) PRINTF_LIKE(4, 5);
/* "context: message" */
void status_wrap(struct status *s, const char *format, ...) PRINTF_LIKE(2, 3);
void status_copy(struct status *dst, const struct status *src);
const char *status_message(const struct status *s); /* never NULL */

/* The usual ones, with upstream's texts; `resource` is the plural name, group "" for core. All return -1. */
int status_not_found(struct status *s, const char *group, const char *resource, const char *name);       /* 404: pods "x" not found */
int status_already_exists(struct status *s, const char *group, const char *resource, const char *name);  /* 409 */
int status_conflict(struct status *s, const char *group, const char *resource, const char *name, const char *why); /* 409: Operation cannot be fulfilled on ... */
int status_forbidden(struct status *s, const char *group, const char *resource, const char *name, const char *why); /* 403 */
int status_bad_request(struct status *s, const char *format, ...) PRINTF_LIKE(2, 3);
int status_internal(struct status *s, const char *format, ...) PRINTF_LIKE(2, 3);  /* 500: Internal error occurred: ... */
int status_errno(struct status *s, const char *what);  /* 500 with strerror(errno); for library layers */
static inline bool status_is(const struct status *s, int code) { return s && s->code == code; }
#endif
