/* Typed calls to the API: how every component but the apiserver itself reads and changes the cluster. Upstream: client-go's clientset.
 *
 * Resources are named by their type's descriptor (corev1_Pod_desc); the path, the JSON and the decoding follow from it. Thread-safe and blocking. All
 * calls return 0, or -1 with the server's code, reason, message and details, or 5xx when no answer came: then a write may have happened, so read again
 * before repeating it. Decoded objects live in the caller's arena. A namespace of cluster-scoped types is ignored.
 * In-process and remote differ in the transport alone. Tests: tests/unit/test_client.c, tests/integration. */
#ifndef CKUBE_CLIENT_CLIENT_H
#define CKUBE_CLIENT_CLIENT_H
#include "api/object.h"
#include "client/transport.h"

struct client;
struct client *client_new(struct transport *t); /* takes the transport */
void client_free(struct client *c);             /* NULL is fine */
struct transport *client_transport(struct client *c);
void client_set_timeout(struct client *c, int ms); /* of each call, instead of 34 s; while no call is under way */

/* ret NULL: the answer is not wanted and not decoded. */
int client_get(struct client *c, struct arena *a, const struct type_desc *type, const char *ns, const char *name, void *ret, struct status *reterr);
/* query: "fieldSelector=...&limit=..." percent-encoded, or NULL; ns NULL: all. *ret is of the type's list type. */
int client_list(struct client *c, struct arena *a, const struct type_desc *type, const char *ns, const char *query, void *ret, struct status *reterr);
int client_create(struct client *c, struct arena *a, const struct type_desc *type, const void *obj, void *ret, struct status *reterr);
int client_update(struct client *c, struct arena *a, const struct type_desc *type, const void *obj, void *ret, struct status *reterr);
/* PUT to a subresource that takes the object itself (status, finalize, approval). */
int client_update_subresource(struct client *c, struct arena *a, const struct type_desc *type, const void *obj, const char *subresource, void *ret, struct status *reterr);
static inline int client_update_status(struct client *c, struct arena *a, const struct type_desc *type, const void *obj, void *ret, struct status *reterr) {
    return client_update_subresource(c, a, type, obj, "status", ret, reterr);
}
#define PATCH_JSON "application/json-patch+json"
#define PATCH_MERGE "application/merge-patch+json"
#define PATCH_STRATEGIC "application/strategic-merge-patch+json"
#define PATCH_APPLY "application/apply-patch+yaml"
/* subresource NULL: the object. patch is JSON text. */
int client_patch(struct client *c, struct arena *a, const struct type_desc *type, const char *ns, const char *name, const char *subresource, const char *patch_type,
                 const char *patch, void *ret, struct status *reterr);
/* options NULL: none. */
int client_delete(struct client *c, const struct type_desc *type, const char *ns, const char *name, const struct metav1_DeleteOptions *options, struct status *reterr);
int client_delete_collection(struct client *c, const struct type_desc *type, const char *ns, const char *query, const struct metav1_DeleteOptions *options, struct status *reterr);
/* POST to a subresource with a body of a type of its own (binding, eviction, token); the answer, of the same type, goes to *ret. */
int client_create_subresource(struct client *c, struct arena *a, const struct type_desc *type, const char *ns, const char *name, const char *subresource,
                              const struct type_desc *body_type, const void *body, void *ret, struct status *reterr);
/* Any path; body and answer as bytes. 0 for 2xx. */
int client_raw(struct client *c, const char *method, const char *target, const char *content_type, const char *body, size_t body_len, struct buf *ret, struct status *reterr);

/* "/api/v1/namespaces/NS/pods/NAME/SUB"; name and subresource may be NULL, ns NULL or "" leaves the namespace out. */
char *client_path(struct arena *a, const struct resource_desc *r, const char *ns, const char *name, const char *subresource);
/* Turns an answer beyond 2xx into a status. Returns -1. */
int client_status(int code, const char *body, size_t len, struct status *reterr);
/* "DeleteOptions" with the UID as a precondition: only this very object. propagation NULL: the server's default. In the arena. */
struct metav1_DeleteOptions *client_delete_options(struct arena *a, const char *uid, const char *propagation);
#endif
