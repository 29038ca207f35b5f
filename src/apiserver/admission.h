/* Admission: what is changed and what is refused between decoding and storing. Upstream: apiserver/pkg/admission, pkg/kubeapiserver/options/plugins.go.
 *
 * Every write is one struct admission_attributes. It goes through the mutating functions of the plugins that are enabled, in upstream's order, before the resource's own
 * strategy, and through the validating ones after its validation. Which functions those are was worked out at start for each type that any plugin names, so that a write pays
 * for the plugins that care for it and for no others. Plugins: admission/plugins.h. Tests: tests/unit/test_admission_plugins.c, tests/integration/test_admission.py. */
#ifndef CKUBE_APISERVER_ADMISSION_H
#define CKUBE_APISERVER_ADMISSION_H
#include "apiserver/registry.h"

enum admission_operation { ADMIT_CREATE, ADMIT_UPDATE, ADMIT_DELETE, ADMIT_CONNECT };
enum { ON_CREATE = 1u << ADMIT_CREATE, ON_UPDATE = 1u << ADMIT_UPDATE, ON_DELETE = 1u << ADMIT_DELETE, ON_CONNECT = 1u << ADMIT_CONNECT };

/* What a mutating plugin of users' needs to know to be run once more: upstream's reinvocation context. Names are of policies or webhooks. */
struct admission_reinvocation {
    struct string_list invoked, required; /* those that ask for it and were run; those that are to be run again */
    struct yyjson_val *last;              /* the object when the plugin was last done */
};

/* What one write has been charged by quotas so far: when it is tried again from the object as another writer left it, it pays what it asks for more, not all of it anew. (Upstream charges
 * each try, and usage stays too high until the quota controller counts again.) */
struct admission_charge { const char *quota; struct string_map amounts; };
struct admission_charges { struct admission_charge *items; size_t len; };

/* One write, as plugins, policies and webhooks see it. Upstream: admission.Attributes. Documents and the namespace are got when they are first asked for. */
struct admission_attributes {
    struct api_request *r;
    const struct strategy *st;
    enum admission_operation op;
    void *obj;                        /* NULL for a DELETE */
    const void *old;                  /* NULL for a CREATE */
    const struct write_options *o;
    const char *name, *namespace;     /* a Namespace is in itself */
    struct admission_charges *charges; /* of all tries, the writer's to keep; NULL: there is but one */
    struct yyjson_val *object, *old_object;
    const struct corev1_Namespace *ns; /* see admission_namespace */
    bool ns_known;
    const struct corev1_ServiceAccount *service_account; /* that the plugin of this name has read */
    int round;                        /* of the mutating phase: 0, or 1 when all plugins are run once more */
    bool reinvoke;                    /* a policy or webhook has changed the object: there will be a round 1 */
    struct admission_reinvocation policies, webhooks;
    const struct registered *registered; /* set while a policy or webhook runs: what its expressions are compiled in, see admission/registrations.h */
};
void admission_attributes_init(struct admission_attributes *a, struct api_request *r, const struct strategy *st, enum admission_operation op, void *obj, const void *old, const struct write_options *o);
const char *admission_operation_name(const struct admission_attributes *a); /* "CREATE" */
struct yyjson_val *admission_object(struct admission_attributes *a);      /* NULL if there is none */
struct yyjson_val *admission_old_object(struct admission_attributes *a);
void admission_object_changed(struct admission_attributes *a);            /* obj is no longer what admission_object told */
/* The namespace of what is written, read once; NULL: it is not there, or the resource is in none (or is a Namespace itself). */
const struct corev1_Namespace *admission_namespace(struct admission_attributes *a);
/* What a 403 calls the object: its name, or what its name is made from. Upstream: extractResourceName. */
const char *admission_name(const void *obj);
/* Upstream's NewForbidden: `pods "x" is forbidden: WHY`. Returns -1. */
int admission_forbid(const struct admission_attributes *a, const char *why, struct status *reterr);
#define ADMISSION_FORBID(a, reterr, ...) admission_forbid((a), arena_printf((a)->r->arena, __VA_ARGS__), (reterr))

/* For the audit log, if the request is in it. */
void admission_annotate(const struct admission_attributes *a, const char *key, const char *value);

struct admission;
/* What flags say; strings may be NULL. The seconds are of DefaultTolerationSeconds. */
struct admission_options { const char *enable, *disable, *config_file; int not_ready_toleration_s, unreachable_toleration_s; };
/* Whether the names of two lists (commas) are plugins' and in one of them only; -1 with upstream's words. */
int admission_check_flags(const char *enable, const char *disable, struct status *reterr);
/* NULL with words: a name that is unknown, a configuration that cannot be read. */
struct admission *admission_new(const struct admission_options *options, struct store *store, struct status *reterr);
/* How long each plugin took, for /metrics. */
void admission_put_metrics(const struct admission *ad, struct buf *out);
void admission_free(struct admission *ad); /* NULL is fine */

/* The mutating phase; obj may be changed. */
int admission_mutate(struct admission_attributes *a, struct status *reterr);
/* The validating phase, after the strategy's own validation. */
int admission_validate(struct admission_attributes *a, struct status *reterr);
/* Both, for what is not stored: created (a Binding, an Eviction, a TokenRequest), updated (a Scale), or connected to (PodExecOptions, old NULL). obj may be changed. */
int admission_run(struct api_request *r, const struct type_desc *type, enum admission_operation op, void *obj, const void *old, const struct write_options *o, struct status *reterr);
#endif
