/* What controllers of Pods have in common. Upstream: pkg/controller/controller_utils.go, controller_ref_manager.go, api/v1/pod. */
#ifndef CKUBE_CONTROLLER_CONTROLLER_UTILS_H
#define CKUBE_CONTROLLER_CONTROLLER_UTILS_H
#include "api/pod_util.h"
#include "api/selector.h"
#include "controller/controller.h"

/* ---- expectations ----
 * What a controller has asked for and its cache has not shown yet: until then it must not act on the cache again, or it would make too many. A key's
 * expectations are met when all creations and deletions were seen, or are forgotten after five minutes. Thread-safe.
 * The key is the owner's UID and not its name as upstream's: what was still expected for an owner must not hold up another of the same name, made just after it was deleted. */
struct expectations;
struct expectations *expectations_new(struct env *env);
void expectations_free(struct expectations *e);
void expectations_expect_creations(struct expectations *e, const char *key, int n);
/* pod_keys: the "namespace/name"s that will go; each counts once, however often its deletion is seen. */
void expectations_expect_deletions(struct expectations *e, const char *key, const struct string_list *pod_keys);
/* Both at once. */
void expectations_expect(struct expectations *e, const char *key, int creations, const struct string_list *deletion_pod_keys);
void expectations_creation_observed(struct expectations *e, const char *key);
void expectations_deletion_observed(struct expectations *e, const char *key, const char *pod_key);
bool expectations_satisfied(struct expectations *e, const char *key);
bool expectations_deletes(struct expectations *e, const char *key, const char *pod_key); /* its deletion was asked for and not seen yet */
void expectations_delete(struct expectations *e, const char *key);

/* A write failed, but it may have been done: no answer came, or the server had trouble. */
bool write_is_in_doubt(const struct status *err);
/* After such a write for the key the cache cannot be trusted until it shows the same Pods as the server: then alone it is known what was done. Upstream has not got this and may make
 * a Pod too many. Call doubt when a write fails so, and settle before acting: false: do not act yet, look again soon. */
void expectations_doubt(struct expectations *e, const char *key);
bool expectations_settle(struct expectations *e, const char *key, struct controller *c, struct arena *a, struct informer *pods, int by_controller, const void *owner,
                         const struct selector *selector);

/* ---- own writes ----
 * What was written for a key and may not be in the cache yet: until it is, what would be computed from the cache may have been done already. What follows a write that
 * conflicts needs none of this; what follows from several objects does. A key is forgotten once its writes were seen. Thread-safe. Upstream: pkg/controller/util/consistency. */
struct own_writes;
struct own_writes *own_writes_new(void);
void own_writes_free(struct own_writes *w); /* NULL is fine */
void own_writes_note(struct own_writes *w, const char *key, const void *obj); /* as the server answered, or as it was read from there */
void own_writes_doubt(struct own_writes *w, const char *key);                 /* it may have been written: read it from the server before anything else */
bool own_writes_in_doubt(struct own_writes *w, const char *key);
void own_writes_settle(struct own_writes *w, const char *key);                /* it was read, and noted */
bool own_writes_seen(struct own_writes *w, const char *key, struct informer *inf); /* inf: of the objects that are written */

/* Upstream: apierrors.HasStatusCause. */
bool status_has_cause(const struct status *s, const char *type);

void cached_list_push(struct cached_list *l, struct cached *c); /* takes a reference */
/* Moves what `from` holds to the end of `to`; from is empty then. */
void cached_list_take(struct cached_list *to, struct cached_list *from);

/* ---- owners ---- */
const struct metav1_OwnerReference *controller_of(const void *obj);            /* the owner that controls it, or NULL */
bool controlled_by(const void *obj, const void *owner);                        /* by UID */
struct metav1_OwnerReference controller_ref(struct arena *a, const struct type_desc *type, const void *owner); /* controller and blockOwnerDeletion set */

/* Adds (once) the index of Pods by their controller's UID, or "orphans/NAMESPACE" for those without one. Returns its number. Upstream: AddPodControllerIndexer. */
int pods_index_by_controller(struct informer *pods);
/* Appends the Pods that owner controls, and the orphans of its namespace, which it may want to adopt. */
void pods_owned_or_orphaned(struct informer *pods, int by_controller, const void *owner, struct cached_list *ret);

/* Claims what belongs to an owner: of `all` (in one namespace) those that it controls and that match its selector, and orphans that match, which are adopted
 * (unless owner is being deleted; it is read again from the server before the first adoption). Controlled ones that match no longer are released. Upstream: ControllerRefManager.
 * kind: of `all`. Appends references to *ret. */
int controller_claim(struct controller *c, struct arena *a, const struct type_desc *owner_type, const void *owner, const struct selector *selector, const struct type_desc *type,
                     const struct cached_list *all, struct cached_list *ret, struct status *reterr);

/* The same; what is adopted gets this finalizer too. NULL: none. */
int controller_claim_with(struct controller *c, struct arena *a, const struct type_desc *owner_type, const void *owner, const struct selector *selector, const struct type_desc *type,
                          const struct cached_list *all, const char *finalizer, struct cached_list *ret, struct status *reterr);

/* ---- Pods ---- */
/* Creates a Pod of a template, owned by owner, and records SuccessfulCreate or FailedCreate about owner. generate_name NULL: named NAME. */
int pod_control_create(struct controller *c, const struct type_desc *owner_type, const void *owner, const struct corev1_PodTemplateSpec *template, const char *name,
                       struct status *reterr);
/* The Pod that such a template makes; callers may change it before they create it. */
struct corev1_Pod *pod_from_template(struct arena *a, const struct type_desc *owner_type, const void *owner, const struct corev1_PodTemplateSpec *template);
int pod_control_create_pod(struct controller *c, const struct type_desc *owner_type, const void *owner, const struct corev1_Pod *pod, struct status *reterr);
/* Records SuccessfulDelete or FailedDelete; one that is gone already is an error with code 404 without an event. */
int pod_control_delete(struct controller *c, const struct type_desc *owner_type, const void *owner, const struct corev1_Pod *pod, struct status *reterr);

/* Which of two Pods of one owner goes first when there are too many: <0: a. Upstream: ActivePodsWithRanks. ranks: Pods of the same owner on its node. */
int pod_deletion_order(const struct corev1_Pod *a, int rank_a, const struct corev1_Pod *b, int rank_b, int64_t now_s);

/* Upstream: rand.SafeEncodeString of the number's digits. */
char *safe_encode_number(struct arena *a, uint32_t number);
/* The short hash of a template: upstream's form (eight to ten safe characters of FNV-32a), over our own encoding. collision_count < 0: none. */
char *template_hash(struct arena *a, const struct corev1_PodTemplateSpec *template, int64_t collision_count);
#endif
