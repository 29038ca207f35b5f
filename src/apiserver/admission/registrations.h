/* The admission policies and webhooks that users have registered, decoded and with their expressions compiled, as of now: a cache of the store.
 *
 * A watch of each of the six resources counts its changes; a snapshot that was made at another count is made anew by whoever next asks. The watch is told of a write before the
 * writer is, so that what was registered counts from the next request on. Asking for a kind of which there is none costs a comparison. Snapshots are immutable and counted; any
 * thread. Tests: tests/integration/test_dynamic_admission.py. */
#ifndef CKUBE_APISERVER_ADMISSION_REGISTRATIONS_H
#define CKUBE_APISERVER_ADMISSION_REGISTRATIONS_H
#include "api/cel/policy.h"
#include "apiserver/registry.h"

enum registration_kind { VALIDATING_POLICIES, VALIDATING_BINDINGS, MUTATING_POLICIES, MUTATING_BINDINGS, VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS, REGISTRATION_KINDS };
struct registered_objects { void **items; size_t len; }; /* of the kind's type, by name */
struct registered; /* a snapshot */
struct registrations;

struct registrations *registrations_new(struct store *store, struct status *reterr);
void registrations_free(struct registrations *c); /* NULL is fine; no snapshot is held any more */
/* The snapshot, to be given back with registered_put; NULL: there is nothing of this kind. */
const struct registered *registrations_get(struct registrations *c, enum registration_kind kind);
void registered_put(const struct registered *r); /* NULL is fine */
const struct registered_objects *registered_of(const struct registered *r, enum registration_kind kind);
/* An expression of a snapshot, compiled as cel_compile would (r NULL, or of none: now, in the arena). */
struct cel_program *registered_program(const struct registered *r, struct arena *a, const char *text, enum cel_kind want, const char **ret_error);
#endif
