/* The container runtime interface: typed calls of containerd's or CRI-O's RuntimeService and ImageService.
 *
 * Messages are protobuf-c's structs, made at build time from cri/api.proto. Requests are built in an arena (CRI_NEW); answers live in the arena given.
 * Any thread may call. Upstream: cri-client/pkg, remote_runtime.go and remote_image.go, whose deadlines are used. */
#ifndef CKUBE_KUBELET_CRI_H
#define CKUBE_KUBELET_CRI_H
#undef linux /* gnu17 predefines it; the messages have fields of that name */
#include "api.pb-c.h"
#include <stdatomic.h>
#include "api/schema.h"
#include "base/arena.h"
#include "base/status.h"

struct cri;
struct cri *cri_new(const char *endpoint); /* "unix:///run/containerd/containerd.sock" */
void cri_cancel(struct cri *c); /* from any thread: ends calls under way that have no cancel of their own, and all that come after */
void cri_free(struct cri *c);

/* CRI_NEW(arena, PodSandboxConfig, pod_sandbox_config): a message with its defaults. */
#define CRI_NEW(arena, Type, name) ({ Runtime__V1__##Type *cri_m = ARENA_NEW((arena), Runtime__V1__##Type); runtime__v1__##name##__init(cri_m); cri_m; })

/* One call: request and answer are messages of the service's method. The answer is NULL with a status on failure. cancel may be NULL. */
void *cri_call(struct cri *c, struct arena *a, const char *method, const void *request, const ProtobufCMessageDescriptor *response, int timeout_ms,
               const atomic_bool *cancel, struct status *reterr);

/* The calls, by their upstream names: 0, or -1 with a status. Ids and answers are the arena's. */
int cri_version(struct cri *c, struct arena *a, Runtime__V1__VersionResponse **ret, struct status *reterr);
int cri_status(struct cri *c, struct arena *a, Runtime__V1__RuntimeStatus **ret, struct status *reterr);
int cri_run_pod_sandbox(struct cri *c, struct arena *a, Runtime__V1__PodSandboxConfig *config, const char *runtime_handler, const atomic_bool *cancel,
                        const char **ret_id, struct status *reterr);
int cri_stop_pod_sandbox(struct cri *c, const char *id, struct status *reterr);
int cri_remove_pod_sandbox(struct cri *c, const char *id, struct status *reterr);
int cri_pod_sandbox_status(struct cri *c, struct arena *a, const char *id, Runtime__V1__PodSandboxStatus **ret, struct status *reterr);
/* pod_uid NULL: all. */
int cri_list_pod_sandboxes(struct cri *c, struct arena *a, const char *pod_uid, Runtime__V1__ListPodSandboxResponse **ret, struct status *reterr);
int cri_list_containers(struct cri *c, struct arena *a, const char *pod_uid, Runtime__V1__ListContainersResponse **ret, struct status *reterr);
int cri_container_status(struct cri *c, struct arena *a, const char *id, Runtime__V1__ContainerStatus **ret, struct status *reterr);
int cri_create_container(struct cri *c, struct arena *a, const char *sandbox_id, Runtime__V1__ContainerConfig *config,
                         Runtime__V1__PodSandboxConfig *sandbox_config, const char **ret_id, struct status *reterr);
int cri_start_container(struct cri *c, const char *id, struct status *reterr);
/* Waits up to grace_seconds for the container to end before it is killed. */
int cri_stop_container(struct cri *c, const char *id, int64_t grace_seconds, struct status *reterr);
int cri_remove_container(struct cri *c, const char *id, struct status *reterr);
int cri_update_container_resources(struct cri *c, const char *id, Runtime__V1__LinuxContainerResources *resources, struct status *reterr);
int cri_reopen_container_log(struct cri *c, const char *id, struct status *reterr);
/* timeout_s 0: the default of two minutes. */
int cri_exec_sync(struct cri *c, struct arena *a, const char *id, const struct string_list *command, int timeout_s, Runtime__V1__ExecSyncResponse **ret,
                  struct status *reterr);
/* The URL at which the runtime serves the stream, once. */
int cri_exec(struct cri *c, struct arena *a, const char *id, const struct string_list *command, bool tty, bool in, bool out, bool err, const char **ret_url,
             struct status *reterr);
int cri_attach(struct cri *c, struct arena *a, const char *id, bool tty, bool in, bool out, bool err, const char **ret_url, struct status *reterr);
int cri_port_forward(struct cri *c, struct arena *a, const char *sandbox_id, const char **ret_url, struct status *reterr);
int cri_list_container_stats(struct cri *c, struct arena *a, Runtime__V1__ListContainerStatsResponse **ret, struct status *reterr);
int cri_update_runtime_config(struct cri *c, const char *pod_cidr, struct status *reterr);

/* *ret NULL when the image is not there. */
int cri_image_status(struct cri *c, struct arena *a, const char *image, Runtime__V1__Image **ret, struct status *reterr);
int cri_list_images(struct cri *c, struct arena *a, Runtime__V1__ListImagesResponse **ret, struct status *reterr);
int cri_pull_image(struct cri *c, struct arena *a, const char *image, Runtime__V1__AuthConfig *auth, Runtime__V1__PodSandboxConfig *sandbox,
                   const atomic_bool *cancel, const char **ret_ref, struct status *reterr);
int cri_remove_image(struct cri *c, const char *image, struct status *reterr);
int cri_image_fs_info(struct cri *c, struct arena *a, Runtime__V1__ImageFsInfoResponse **ret, struct status *reterr);

/* Fills a map<string,string> field, whose entry type is named e.g. PodSandboxConfig__LabelsEntry / pod_sandbox_config__labels_entry. */
#define CRI_MAP(arena, n_field, field, Entry, entry, map)                                            \
    do {                                                                                             \
        const struct string_map *cri_map = (map);                                                    \
        (field) = arena_calloc((arena), cri_map->len + 1, sizeof(*(field)));                         \
        for (size_t cri_i = 0; cri_i < cri_map->len; cri_i++) {                                      \
            (field)[cri_i] = CRI_NEW((arena), Entry, entry);                                         \
            (field)[cri_i]->key = arena_strdup((arena), cri_map->items[cri_i].key);                  \
            (field)[cri_i]->value = arena_strdup((arena), cri_map->items[cri_i].value ? cri_map->items[cri_i].value : ""); \
        }                                                                                            \
        (n_field) = cri_map->len;                                                                    \
    } while (0)
/* The value of a key in a decoded map, or NULL. */
#define CRI_MAP_GET(n_field, field, k) ({ const char *cri_v = NULL; for (size_t cri_i = 0; cri_i < (n_field); cri_i++) if (strcmp((field)[cri_i]->key, (k)) == 0) cri_v = (field)[cri_i]->value; cri_v; })
#endif
