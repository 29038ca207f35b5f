/* CRI calls: see cri.h. */
#include "kubelet/cri.h"
#include <string.h>
#include "base/buf.h"
#include "base/str.h"
#include "wire/grpc.h"

/* Upstream: 2 minutes for most calls, 4 for the ones that make and remove sandboxes; a pull has no deadline of its own. */
enum { TIMEOUT_MS = 120 * 1000, SANDBOX_TIMEOUT_MS = 240 * 1000 };

struct cri {
    struct grpc_client *grpc;
    atomic_bool closing;
};

struct cri *cri_new(const char *endpoint) {
    struct cri *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->grpc = grpc_client_new(endpoint);
    return c;
}

void cri_cancel(struct cri *c) { atomic_store(&c->closing, true); }

void cri_free(struct cri *c) {
    if (!c) return;
    grpc_client_free(c->grpc);
    free(c);
}

static void *arena_pb_alloc(void *a, size_t size) { return arena_alloc(a, size); }
static void arena_pb_free(void *a UNUSED, void *p UNUSED) {}

void *cri_call(struct cri *c, struct arena *a, const char *method, const void *request, const ProtobufCMessageDescriptor *response, int timeout_ms,
               const atomic_bool *cancel, struct status *reterr) {
    size_t len = protobuf_c_message_get_packed_size(request);
    _cleanup_free_ uint8_t *packed = malloc(len + 1);
    CHECK(packed);
    protobuf_c_message_pack(request, packed);
    _cleanup_buf_ struct buf answer = BUF_INIT;
    if (grpc_call(c->grpc, method, packed, len, timeout_ms, cancel ? cancel : &c->closing, &answer, reterr) != 0) return NULL;
    ProtobufCAllocator alloc = {arena_pb_alloc, arena_pb_free, a};
    void *message = protobuf_c_message_unpack(response, &alloc, answer.len, (const uint8_t *)buf_cstr(&answer));
    if (!message) status_set(reterr, 500, REASON_INTERNAL_ERROR, "malformed answer of %s", method);
    return message;
}

#define RUNTIME(method) "/runtime.v1.RuntimeService/" method
#define IMAGE(method) "/runtime.v1.ImageService/" method

int cri_version(struct cri *c, struct arena *a, Runtime__V1__VersionResponse **ret, struct status *reterr) {
    Runtime__V1__VersionRequest req = RUNTIME__V1__VERSION_REQUEST__INIT;
    req.version = (char *)(uintptr_t)"0.1.0";
    Runtime__V1__VersionResponse *r = cri_call(c, a, RUNTIME("Version"), &req, &runtime__v1__version_response__descriptor, TIMEOUT_MS, NULL, reterr);
    if (r) *ret = r;
    return r ? 0 : -1;
}

int cri_status(struct cri *c, struct arena *a, Runtime__V1__RuntimeStatus **ret, struct status *reterr) {
    Runtime__V1__StatusRequest req = RUNTIME__V1__STATUS_REQUEST__INIT;
    Runtime__V1__StatusResponse *r = cri_call(c, a, RUNTIME("Status"), &req, &runtime__v1__status_response__descriptor, TIMEOUT_MS, NULL, reterr);
    if (!r) return -1;
    if (!r->status) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the runtime's status is empty");
    *ret = r->status;
    return 0;
}

int cri_run_pod_sandbox(struct cri *c, struct arena *a, Runtime__V1__PodSandboxConfig *config, const char *runtime_handler, const atomic_bool *cancel,
                        const char **ret_id, struct status *reterr) {
    Runtime__V1__RunPodSandboxRequest req = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
    req.config = config;
    req.runtime_handler = arena_strdup(a, str_or(runtime_handler, ""));
    Runtime__V1__RunPodSandboxResponse *r = cri_call(c, a, RUNTIME("RunPodSandbox"), &req, &runtime__v1__run_pod_sandbox_response__descriptor,
                                                     SANDBOX_TIMEOUT_MS, cancel, reterr);
    if (!r) return -1;
    *ret_id = r->pod_sandbox_id;
    return 0;
}

/* Calls whose answer is empty: `Type` and `type` name the request and the answer, `set` fills the request. */
#define SIMPLE_CALL(method, Request, request, response, timeout, ...)                                                     \
    do {                                                                                                                  \
        _cleanup_arena_ struct arena *a_ = arena_new();                                                                   \
        Runtime__V1__##Request req;                                                                                       \
        runtime__v1__##request##__init(&req);                                                                             \
        __VA_ARGS__;                                                                                                      \
        return cri_call(c, a_, method, &req, &runtime__v1__##response##__descriptor, (timeout), NULL, reterr) ? 0 : -1;   \
    } while (0)
#define MUTABLE(s) ((char *)(uintptr_t)(s))

int cri_stop_pod_sandbox(struct cri *c, const char *id, struct status *reterr) {
    SIMPLE_CALL(RUNTIME("StopPodSandbox"), StopPodSandboxRequest, stop_pod_sandbox_request, stop_pod_sandbox_response, SANDBOX_TIMEOUT_MS,
                req.pod_sandbox_id = MUTABLE(id));
}

int cri_remove_pod_sandbox(struct cri *c, const char *id, struct status *reterr) {
    SIMPLE_CALL(RUNTIME("RemovePodSandbox"), RemovePodSandboxRequest, remove_pod_sandbox_request, remove_pod_sandbox_response, SANDBOX_TIMEOUT_MS,
                req.pod_sandbox_id = MUTABLE(id));
}

int cri_start_container(struct cri *c, const char *id, struct status *reterr) {
    SIMPLE_CALL(RUNTIME("StartContainer"), StartContainerRequest, start_container_request, start_container_response, TIMEOUT_MS, req.container_id = MUTABLE(id));
}

int cri_stop_container(struct cri *c, const char *id, int64_t grace_seconds, struct status *reterr) {
    SIMPLE_CALL(RUNTIME("StopContainer"), StopContainerRequest, stop_container_request, stop_container_response,
                (int)MIN(grace_seconds * 1000 + TIMEOUT_MS, INT32_MAX), req.container_id = MUTABLE(id); req.timeout = grace_seconds);
}

int cri_remove_container(struct cri *c, const char *id, struct status *reterr) {
    SIMPLE_CALL(RUNTIME("RemoveContainer"), RemoveContainerRequest, remove_container_request, remove_container_response, TIMEOUT_MS,
                req.container_id = MUTABLE(id));
}

int cri_update_container_resources(struct cri *c, const char *id, Runtime__V1__LinuxContainerResources *resources, struct status *reterr) {
    SIMPLE_CALL(RUNTIME("UpdateContainerResources"), UpdateContainerResourcesRequest, update_container_resources_request, update_container_resources_response,
                TIMEOUT_MS, req.container_id = MUTABLE(id); req.linux = resources);
}

int cri_reopen_container_log(struct cri *c, const char *id, struct status *reterr) {
    SIMPLE_CALL(RUNTIME("ReopenContainerLog"), ReopenContainerLogRequest, reopen_container_log_request, reopen_container_log_response, TIMEOUT_MS,
                req.container_id = MUTABLE(id));
}

int cri_update_runtime_config(struct cri *c, const char *pod_cidr, struct status *reterr) {
    Runtime__V1__NetworkConfig network = RUNTIME__V1__NETWORK_CONFIG__INIT;
    Runtime__V1__RuntimeConfig config = RUNTIME__V1__RUNTIME_CONFIG__INIT;
    network.pod_cidr = MUTABLE(pod_cidr);
    config.network_config = &network;
    SIMPLE_CALL(RUNTIME("UpdateRuntimeConfig"), UpdateRuntimeConfigRequest, update_runtime_config_request, update_runtime_config_response, TIMEOUT_MS,
                req.runtime_config = &config);
}

int cri_pod_sandbox_status(struct cri *c, struct arena *a, const char *id, Runtime__V1__PodSandboxStatus **ret, struct status *reterr) {
    Runtime__V1__PodSandboxStatusRequest req = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;
    req.pod_sandbox_id = MUTABLE(id);
    Runtime__V1__PodSandboxStatusResponse *r = cri_call(c, a, RUNTIME("PodSandboxStatus"), &req, &runtime__v1__pod_sandbox_status_response__descriptor,
                                                        TIMEOUT_MS, NULL, reterr);
    if (!r) return -1;
    if (!r->status || !r->status->metadata) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the status of sandbox %s is empty", id);
    *ret = r->status;
    return 0;
}

static const struct string_map *uid_selector(struct arena *a, const char *pod_uid) {
    struct string_map *m = ARENA_NEW(a, struct string_map);
    m->items = ARENA_NEW(a, struct string_map_entry);
    m->items[0] = (struct string_map_entry){"io.kubernetes.pod.uid", pod_uid};
    m->len = pod_uid ? 1 : 0;
    return m;
}

int cri_list_pod_sandboxes(struct cri *c, struct arena *a, const char *pod_uid, Runtime__V1__ListPodSandboxResponse **ret, struct status *reterr) {
    Runtime__V1__ListPodSandboxRequest *req = CRI_NEW(a, ListPodSandboxRequest, list_pod_sandbox_request);
    req->filter = CRI_NEW(a, PodSandboxFilter, pod_sandbox_filter);
    CRI_MAP(a, req->filter->n_label_selector, req->filter->label_selector, PodSandboxFilter__LabelSelectorEntry, pod_sandbox_filter__label_selector_entry,
            uid_selector(a, pod_uid));
    Runtime__V1__ListPodSandboxResponse *r = cri_call(c, a, RUNTIME("ListPodSandbox"), req, &runtime__v1__list_pod_sandbox_response__descriptor, TIMEOUT_MS,
                                                      NULL, reterr);
    if (r) *ret = r;
    return r ? 0 : -1;
}

int cri_list_containers(struct cri *c, struct arena *a, const char *pod_uid, Runtime__V1__ListContainersResponse **ret, struct status *reterr) {
    Runtime__V1__ListContainersRequest *req = CRI_NEW(a, ListContainersRequest, list_containers_request);
    req->filter = CRI_NEW(a, ContainerFilter, container_filter);
    CRI_MAP(a, req->filter->n_label_selector, req->filter->label_selector, ContainerFilter__LabelSelectorEntry, container_filter__label_selector_entry,
            uid_selector(a, pod_uid));
    Runtime__V1__ListContainersResponse *r = cri_call(c, a, RUNTIME("ListContainers"), req, &runtime__v1__list_containers_response__descriptor, TIMEOUT_MS,
                                                      NULL, reterr);
    if (r) *ret = r;
    return r ? 0 : -1;
}

int cri_container_status(struct cri *c, struct arena *a, const char *id, Runtime__V1__ContainerStatus **ret, struct status *reterr) {
    Runtime__V1__ContainerStatusRequest req = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
    req.container_id = MUTABLE(id);
    Runtime__V1__ContainerStatusResponse *r = cri_call(c, a, RUNTIME("ContainerStatus"), &req, &runtime__v1__container_status_response__descriptor, TIMEOUT_MS,
                                                       NULL, reterr);
    if (!r) return -1;
    if (!r->status || !r->status->metadata) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the status of container %s is empty", id);
    *ret = r->status;
    return 0;
}

int cri_create_container(struct cri *c, struct arena *a, const char *sandbox_id, Runtime__V1__ContainerConfig *config,
                         Runtime__V1__PodSandboxConfig *sandbox_config, const char **ret_id, struct status *reterr) {
    Runtime__V1__CreateContainerRequest req = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
    req.pod_sandbox_id = MUTABLE(sandbox_id);
    req.config = config;
    req.sandbox_config = sandbox_config;
    Runtime__V1__CreateContainerResponse *r = cri_call(c, a, RUNTIME("CreateContainer"), &req, &runtime__v1__create_container_response__descriptor, TIMEOUT_MS,
                                                       NULL, reterr);
    if (!r) return -1;
    *ret_id = r->container_id;
    return 0;
}

static char **strings(struct arena *a, const struct string_list *list, size_t *ret_len) {
    char **out = arena_calloc(a, list->len + 1, sizeof(*out));
    for (size_t i = 0; i < list->len; i++) out[i] = arena_strdup(a, str_or(list->items[i], ""));
    *ret_len = list->len;
    return out;
}

int cri_exec_sync(struct cri *c, struct arena *a, const char *id, const struct string_list *command, int timeout_s, Runtime__V1__ExecSyncResponse **ret,
                  struct status *reterr) {
    Runtime__V1__ExecSyncRequest req = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    req.container_id = MUTABLE(id);
    req.cmd = strings(a, command, &req.n_cmd);
    req.timeout = timeout_s;
    /* The runtime enforces the command's time; ours is a little later, so that its answer is the one that counts. */
    Runtime__V1__ExecSyncResponse *r = cri_call(c, a, RUNTIME("ExecSync"), &req, &runtime__v1__exec_sync_response__descriptor,
                                                timeout_s ? timeout_s * 1000 + 2000 : TIMEOUT_MS, NULL, reterr);
    if (r) *ret = r;
    return r ? 0 : -1;
}

int cri_exec(struct cri *c, struct arena *a, const char *id, const struct string_list *command, bool tty, bool in, bool out, bool err, const char **ret_url,
             struct status *reterr) {
    Runtime__V1__ExecRequest req = RUNTIME__V1__EXEC_REQUEST__INIT;
    req.container_id = MUTABLE(id);
    req.cmd = strings(a, command, &req.n_cmd);
    req.tty = tty;
    req.stdin = in;
    req.stdout = out;
    req.stderr = err;
    Runtime__V1__ExecResponse *r = cri_call(c, a, RUNTIME("Exec"), &req, &runtime__v1__exec_response__descriptor, TIMEOUT_MS, NULL, reterr);
    if (!r) return -1;
    *ret_url = r->url;
    return 0;
}

int cri_attach(struct cri *c, struct arena *a, const char *id, bool tty, bool in, bool out, bool err, const char **ret_url, struct status *reterr) {
    Runtime__V1__AttachRequest req = RUNTIME__V1__ATTACH_REQUEST__INIT;
    req.container_id = MUTABLE(id);
    req.tty = tty;
    req.stdin = in;
    req.stdout = out;
    req.stderr = err;
    Runtime__V1__AttachResponse *r = cri_call(c, a, RUNTIME("Attach"), &req, &runtime__v1__attach_response__descriptor, TIMEOUT_MS, NULL, reterr);
    if (!r) return -1;
    *ret_url = r->url;
    return 0;
}

int cri_port_forward(struct cri *c, struct arena *a, const char *sandbox_id, const char **ret_url, struct status *reterr) {
    Runtime__V1__PortForwardRequest req = RUNTIME__V1__PORT_FORWARD_REQUEST__INIT;
    req.pod_sandbox_id = MUTABLE(sandbox_id);
    Runtime__V1__PortForwardResponse *r = cri_call(c, a, RUNTIME("PortForward"), &req, &runtime__v1__port_forward_response__descriptor, TIMEOUT_MS, NULL, reterr);
    if (!r) return -1;
    *ret_url = r->url;
    return 0;
}

int cri_list_container_stats(struct cri *c, struct arena *a, Runtime__V1__ListContainerStatsResponse **ret, struct status *reterr) {
    Runtime__V1__ListContainerStatsRequest req = RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;
    Runtime__V1__ListContainerStatsResponse *r = cri_call(c, a, RUNTIME("ListContainerStats"), &req, &runtime__v1__list_container_stats_response__descriptor,
                                                          TIMEOUT_MS, NULL, reterr);
    if (r) *ret = r;
    return r ? 0 : -1;
}

int cri_image_status(struct cri *c, struct arena *a, const char *image, Runtime__V1__Image **ret, struct status *reterr) {
    Runtime__V1__ImageStatusRequest req = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    spec.image = MUTABLE(image);
    req.image = &spec;
    Runtime__V1__ImageStatusResponse *r = cri_call(c, a, IMAGE("ImageStatus"), &req, &runtime__v1__image_status_response__descriptor, TIMEOUT_MS, NULL, reterr);
    if (!r) return -1;
    *ret = r->image;
    return 0;
}

int cri_list_images(struct cri *c, struct arena *a, Runtime__V1__ListImagesResponse **ret, struct status *reterr) {
    Runtime__V1__ListImagesRequest req = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    Runtime__V1__ListImagesResponse *r = cri_call(c, a, IMAGE("ListImages"), &req, &runtime__v1__list_images_response__descriptor, TIMEOUT_MS, NULL, reterr);
    if (r) *ret = r;
    return r ? 0 : -1;
}

int cri_pull_image(struct cri *c, struct arena *a, const char *image, Runtime__V1__AuthConfig *auth, Runtime__V1__PodSandboxConfig *sandbox,
                   const atomic_bool *cancel, const char **ret_ref, struct status *reterr) {
    Runtime__V1__PullImageRequest req = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    spec.image = MUTABLE(image);
    req.image = &spec;
    req.auth = auth;
    req.sandbox_config = sandbox;
    Runtime__V1__PullImageResponse *r = cri_call(c, a, IMAGE("PullImage"), &req, &runtime__v1__pull_image_response__descriptor, 0, cancel, reterr);
    if (!r) return -1;
    *ret_ref = r->image_ref;
    return 0;
}

int cri_remove_image(struct cri *c, const char *image, struct status *reterr) {
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    spec.image = MUTABLE(image);
    SIMPLE_CALL(IMAGE("RemoveImage"), RemoveImageRequest, remove_image_request, remove_image_response, TIMEOUT_MS, req.image = &spec);
}

int cri_image_fs_info(struct cri *c, struct arena *a, Runtime__V1__ImageFsInfoResponse **ret, struct status *reterr) {
    Runtime__V1__ImageFsInfoRequest req = RUNTIME__V1__IMAGE_FS_INFO_REQUEST__INIT;
    Runtime__V1__ImageFsInfoResponse *r = cri_call(c, a, IMAGE("ImageFsInfo"), &req, &runtime__v1__image_fs_info_response__descriptor, TIMEOUT_MS, NULL, reterr);
    if (r) *ret = r;
    return r ? 0 : -1;
}
