/* What the kubelet's files share: the kubelet itself, Pods as the workers hold them, and each file's entry points. Nothing outside src/kubelet
 * includes this. Upstream: pkg/kubelet/kubelet.go and the interfaces between its parts. */
#ifndef CKUBE_KUBELET_INTERNAL_H
#define CKUBE_KUBELET_INTERNAL_H
#include "kubelet/cri.h" /* first: undefines linux */
#include <pthread.h>
#include <stdatomic.h>
#include "api/object.h"
#include "api/pod_util.h"
#include "api/quantity.h"
#include "api/time.h"
#include "base/env.h"
#include "base/file.h"
#include "base/map.h"
#include "client/event_recorder.h"
#include "client/informer.h"
#include "kubelet/kubelet.h"
#include "wire/http_client.h"

/* ---- Pods ---- */

/* One version of a Pod, shared and never changed. */
struct pod {
    atomic_int refs;
    struct arena *arena;
    struct corev1_Pod *obj;
    bool is_static; /* from a manifest; the API server holds a mirror of it */
};
struct pod *pod_new(const struct corev1_Pod *obj, bool is_static); /* copies; count 1 */
struct pod *pod_ref(struct pod *p);
void pod_unref(struct pod *p);
static inline void pod_unrefp(struct pod **p) { pod_unref(*p); }
#define _cleanup_pod_ __attribute__((cleanup(pod_unrefp)))

#define ANNOTATION_CONFIG_SOURCE "kubernetes.io/config.source"
#define ANNOTATION_CONFIG_HASH "kubernetes.io/config.hash"
#define ANNOTATION_CONFIG_MIRROR "kubernetes.io/config.mirror"
#define ANNOTATION_CONFIG_SEEN "kubernetes.io/config.seen"

bool pod_is_mirror(const struct corev1_Pod *p);
const char *pod_qos_class(const struct corev1_Pod *p); /* Guaranteed, Burstable, BestEffort */
const struct corev1_Container *pod_container(const struct corev1_Pod *p, const char *name); /* of any kind, or NULL */
bool pod_container_is_sidecar(const struct corev1_Container *c); /* an init container with restartPolicy Always */
const char *pod_full_name(struct arena *a, const struct corev1_Pod *p); /* "name_namespace(uid)", as upstream's messages have it */
int pod_hostname(struct arena *a, const struct corev1_Pod *p, const char *cluster_domain, const char **ret_hostname, const char **ret_domain);
int64_t pod_grace_seconds(const struct corev1_Pod *p); /* what a deletion gives it */

/* ---- resources as cgroups see them (cm.c) ---- */

enum { CPU_SHARES_MIN = 2, CPU_SHARES_MAX = 262144, CPU_PERIOD_US = 100000, CPU_QUOTA_MIN_US = 1000 };
int64_t milli_cpu_to_shares(int64_t milli);
int64_t milli_cpu_to_quota(int64_t milli);  /* 0: none */
int64_t cpu_shares_to_weight(int64_t shares);
int container_oom_score_adj(const struct corev1_Pod *p, const struct corev1_Container *c, int64_t memory_capacity);
struct pod_resources { int64_t shares, quota, memory, pids; }; /* quota, memory, pids 0: no limit */
struct pod_resources pod_resources_of(const struct corev1_Pod *p);
/* Sums over containers, init containers, sidecars and overhead, as the scheduler counts. Nanos of the named resource. */
int64_t pod_request_milli(const struct corev1_Pod *p, const char *resource);

struct cgroups { const char *root; bool v2; int64_t pids_max; };
void cgroups_init(struct cgroups *g, struct arena *a, const char *root);
int cgroups_make_base(const struct cgroups *g, struct status *reterr); /* kubepods, burstable, besteffort */
/* "/kubepods/burstable/podUID" */
const char *cgroups_pod_path(const struct cgroups *g, struct arena *a, const struct corev1_Pod *p);
int cgroups_pod_make(const struct cgroups *g, const struct corev1_Pod *p, struct status *reterr);
bool cgroups_pod_exists(const struct cgroups *g, const struct corev1_Pod *p);
void cgroups_pod_remove(const struct cgroups *g, const char *uid);

/* ---- the kubelet ---- */

struct pod_workers;
struct status_manager;
struct prober;
struct events;
struct http_server;
struct kubelet_auth;
struct file_watch;

struct kubelet {
    struct arena *arena; /* options and other strings */
    struct kubelet_options o;
    struct http_client *api;
    struct api_watches *watches;
    struct env *env;
    struct cri *cri;
    struct cgroups cgroups;
    struct pod_workers *workers;
    struct status_manager *statuses;
    struct prober *prober;
    struct event_recorder *events;
    struct http_server *server;
    struct kubelet_auth *auth;
    struct file_watch *serving_files;
    int64_t memory_capacity, cpu_milli;
    int64_t started_ns;

    atomic_bool stopping;
    pthread_mutex_t mutex; /* of what follows, and of sleeping threads */
    pthread_cond_t cond;   /* signalled on stop */
    bool runtime_ready, network_ready; /* as last seen */
    bool pods_synced, static_synced; /* the Pod watch and the static Pods have been read once */
    bool pleg_ok;
    char runtime_error[512], network_error[512];
    int64_t runtime_seen_ns; /* monotonic; when the runtime answered last */
    struct corev1_Node *node; /* the API server's latest; swapped whole */
    struct arena *node_arena;
    struct map *pods;      /* uid -> struct pod *, the desired state */
    pthread_t threads[16];
    int threads_len;
};

/* Sleeps; true when the kubelet is stopping. */
bool kubelet_sleep_ms(struct kubelet *k, int64_t ms);
void kubelet_thread_start(struct kubelet *k, void *(*fn)(void *));
/* The desired Pod of that uid, with a reference, or NULL. */
struct pod *kubelet_pod_get(struct kubelet *k, const char *uid);
struct pod *kubelet_pod_find(struct kubelet *k, const char *ns, const char *name);
/* All desired Pods: an array of references in the heap, ended by NULL; free with kubelet_pods_free. */
struct pod **kubelet_pods(struct kubelet *k);
void kubelet_pods_free(struct pod **pods);
/* Pod sources call these. */
void kubelet_pod_set(struct kubelet *k, const struct corev1_Pod *p, bool is_static);
void kubelet_pod_removed(struct kubelet *k, const char *uid);
const char *kubelet_pod_dir(struct kubelet *k, struct arena *a, const char *uid);
const char *kubelet_pod_log_dir(struct kubelet *k, struct arena *a, const struct corev1_Pod *p);
/* Why a Pod may not be admitted here ("" in *ret_reason: it may). Upstream: lifecycle/predicate.go. */
void kubelet_admit(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char **ret_reason, const char **ret_message);

/* ---- the API server (kube_api.c): thin calls, so that this is the one file that knows the client ---- */

int api_get(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *ns, const char *name, void *ret_obj, struct status *reterr);
/* The same, a missing one being told in the kubelet's words: configmap "x" not found. reterr is not NULL. */
int api_get_named(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *singular, const char *ns, const char *name, void *ret_obj, struct status *reterr);
int api_create(struct kubelet *k, struct arena *a, const struct type_desc *type, const void *obj, void *ret_obj, struct status *reterr);
int api_update(struct kubelet *k, struct arena *a, const struct type_desc *type, const void *obj, void *ret_obj, struct status *reterr);
/* Strategic merge patch of the status subresource. */
int api_patch_status(struct kubelet *k, struct arena *a, const struct type_desc *type, const char *ns, const char *name, const char *patch, void *ret_obj, struct status *reterr);
int api_pod_delete(struct kubelet *k, const char *ns, const char *name, const char *uid, int64_t grace_seconds, struct status *reterr);
int api_token_request(struct kubelet *k, struct arena *a, const char *ns, const char *service_account, struct authenticationv1_TokenRequest *req, struct status *reterr);
enum { SERVICES_WAIT_MS = 10000 };
void api_services_list(struct kubelet *k, struct cached_list *ret); /* all Services; waits, but not for ever, until they are known */
void api_watches_start(struct kubelet *k);
void api_watches_stop(struct kubelet *k);                           /* nothing comes any more; Services can still be listed */
void api_watches_free(struct kubelet *k);
void node_seen(struct kubelet *k, const struct corev1_Node *n); /* node_status.c: a new version of our Node: its Pod CIDR goes to the network */

/* ---- events (events.c) ---- */

/* container NULL: the Pod's own. */
void event_pod(struct kubelet *k, const struct corev1_Pod *p, const char *container, const char *type, const char *reason, const char *format, ...) PRINTF_LIKE(6, 7);
void event_node(struct kubelet *k, const char *type, const char *reason, const char *format, ...) PRINTF_LIKE(4, 5);

/* ---- what the runtime has of a Pod (kuberuntime_manager.c) ---- */

enum rt_state { RT_CREATED, RT_RUNNING, RT_EXITED, RT_UNKNOWN };
struct rt_container {
    const char *id, *name, *sandbox_id, *image, *image_id, *reason, *message, *log_path;
    enum rt_state state;
    int64_t created_at, started_at, finished_at; /* nanoseconds; 0: not yet */
    int32_t exit_code, restart_count;
    uint32_t hash;
    int64_t uid, gid; /* of its first process; -1: not known */
};
struct rt_sandbox {
    const char *id;
    uint32_t attempt;
    int64_t created_at;
    bool ready, host_network;
    struct string_list ips;
};
struct rt_status { /* newest first */
    struct { struct rt_sandbox *items; size_t len; } sandboxes;
    struct { struct rt_container *items; size_t len; } containers;
};
int runtime_pod_status(struct kubelet *k, struct arena *a, const char *uid, struct rt_status *ret, struct status *reterr);
const struct rt_container *rt_container_find(const struct rt_status *s, const char *name); /* the newest */
const struct rt_container *rt_container_by_id(const struct rt_status *s, const char *id);
uint32_t container_hash(const struct corev1_Container *c);

/* Exponential back-off of one thing. Upstream: client-go util/flowcontrol. */
enum { BACKOFF_INITIAL_S = 10, BACKOFF_MAX_S = 300 };
struct backoff { int64_t delay_ns, updated_ns; };
bool backoff_active_since(const struct backoff *b, int64_t event_ns, int64_t now_ns); /* still waiting, counted from an event */
bool backoff_active_since_update(const struct backoff *b, int64_t now_ns);
void backoff_next(struct backoff *b, int64_t now_ns);

/* A container's last failure to start: what its waiting state says. */
struct start_failure { char *reason, *message; };

/* What one Pod's worker keeps between syncs; its thread alone touches it. */
struct pod_runtime {
    struct map *backoffs;  /* container name -> struct backoff * */
    struct map *failures;  /* container name -> struct start_failure *; the sandbox's under "" */
    int64_t wake_ns;       /* monotonic; sync again at the latest then; INT64_MAX: no wish */
    bool volumes_done;     /* mounted once */
    atomic_bool cancel;    /* the Pod is being ended: give up waiting */
};
void pod_runtime_init(struct pod_runtime *r);
void pod_runtime_release(struct pod_runtime *r);
void pod_runtime_fail(struct pod_runtime *r, const char *container, const char *reason, const char *format, ...) PRINTF_LIKE(4, 5);
void pod_runtime_ok(struct pod_runtime *r, const char *container);

/* Makes the runtime's state match the Pod: sandbox, init containers, containers. 0 when nothing failed. Upstream: SyncPod. */
int runtime_sync_pod(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct rt_status *s, struct pod_runtime *r, struct status *reterr);
/* Stops every container and sandbox within the grace period; 0 when all are stopped. */
int runtime_kill_pod(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct rt_status *s, int64_t grace_seconds, struct status *reterr);
/* Runs the preStop hook, then stops. reason: the event's message; NULL: "Stopping container NAME". grace < 0: the Pod's. */
int runtime_kill_container(struct kubelet *k, const struct corev1_Pod *p, const char *id, const char *name, const char *message, int64_t grace_seconds, struct status *reterr);
void runtime_remove_pod(struct kubelet *k, struct arena *a, const struct rt_status *s); /* removes stopped containers and sandboxes */
/* kuberuntime_sandbox.c */
Runtime__V1__PodSandboxConfig *sandbox_config(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, uint32_t attempt);
Runtime__V1__NamespaceOption *namespace_options(struct arena *a, const struct corev1_Pod *p);
Runtime__V1__SecurityProfile *seccomp_profile(struct kubelet *k, struct arena *a, const struct corev1_SeccompProfile *pod, const struct corev1_SeccompProfile *own);
/* kuberuntime_container.c: pulls the image, creates and starts. *ret_reason is what the container waits for on failure. */
int container_start(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const char *target_id, const struct rt_status *s,
                    const char *sandbox_id, const struct string_list *pod_ips, struct pod_runtime *r, const char **ret_reason, struct status *reterr);
/* lifecycle.c: an exec, HTTP, or sleep hook. */
int lifecycle_run(struct kubelet *k, const struct corev1_Pod *p, const struct corev1_Container *c, const char *id, const struct corev1_LifecycleHandler *h,
                  int64_t timeout_s, struct status *reterr);
int container_port_find(const struct corev1_Container *c, const struct int_or_string *port, int *ret, struct status *reterr);
/* images.c: 0 when the image is here; *ret_ref what to create the container from. */
int image_ensure(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, struct pod_runtime *r, const char **ret_ref,
                 const char **ret_reason, struct status *reterr);
const char *image_with_tag(struct arena *a, const char *image); /* adds :latest */

/* ---- environment (env.c) ---- */

struct env_var { const char *name, *value; };
struct env_list { struct env_var *items; size_t len; };
int container_env(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const struct string_list *pod_ips,
                  struct env_list *ret, struct status *reterr);
/* $(VAR) of the variables, $$ for a dollar; unknown ones stay. Upstream: third_party/forked/golang/expansion. */
const char *env_expand(struct arena *a, const char *text, const struct env_list *vars);
/* fieldRef: metadata.*, spec.*, status.*; labels and annotations with subscripts. */
int field_ref_value(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char *path, const struct string_list *pod_ips, const char **ret, struct status *reterr);
int resource_ref_value(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const struct corev1_ResourceFieldSelector *ref,
                       const char **ret, struct status *reterr);

/* ---- volumes (volumes.c, atomic_writer.c) ---- */

/* Makes (or refreshes) the Pod's volumes; idempotent. */
int volumes_mount(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, bool first, struct status *reterr);
void volumes_unmount(struct kubelet *k, const char *uid); /* and removes the Pod's folder */
const char *volume_path(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Volume *v);
/* The container's mounts, its /etc/hosts and termination log among them. */
int container_mounts(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const struct env_list *env,
                     const struct string_list *pod_ips, int restart_count, Runtime__V1__ContainerConfig *config, struct status *reterr);
struct payload_file { const char *path; const void *data; size_t len; int mode; int64_t uid; }; /* uid -1: leave */
struct payload { struct payload_file *items; size_t len; };
/* Makes dir hold exactly these files, all changing at once (..data symlink); true in *ret_changed when anything did. */
int atomic_write(const char *dir, const struct payload *files, int64_t gid, bool *ret_changed, struct status *reterr);
void remove_tree(const char *path);
int read_file(struct arena *a, const char *path, size_t max, char **ret, size_t *ret_len);
int write_file(const char *path, const void *data, size_t len, int mode, struct status *reterr);

/* ---- Pod status (status.c makes it, status_manager.c sends it) ---- */

/* The status the API server is to have, from what the runtime says. p: the Pod with the status last known. */
void status_generate(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct rt_status *s, struct pod_runtime *r, bool terminal, struct corev1_PodStatus *ret);
const char *status_phase(const struct corev1_Pod *p, const struct corev1_PodStatus *st, bool terminal);
void status_conditions(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, struct corev1_PodStatus *st, bool sandbox_ready);
struct status_manager *status_manager_new(struct kubelet *k);
void status_manager_free(struct status_manager *m);
/* Copies and sends when it differs. */
void status_manager_set(struct status_manager *m, const struct pod *p, const struct corev1_PodStatus *st);
/* The status last set, in the arena; false if none. */
bool status_manager_get(struct status_manager *m, struct arena *a, const char *uid, struct corev1_PodStatus *ret);
/* The Pod's containers have all ended: once its last status is sent, delete it from the API server. */
void status_manager_finish(struct status_manager *m, const struct pod *p);
void status_manager_forget(struct status_manager *m, const char *uid);

/* ---- probes (prober.c) ---- */

struct prober *prober_new(struct kubelet *k);
void prober_free(struct prober *b);
void prober_pod_set(struct prober *b, struct pod *p);       /* starts a thread per probe that has none */
void prober_pod_stop_liveness(struct prober *b, const char *uid);
void prober_pod_remove(struct prober *b, const char *uid);
enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS };
enum probe_result { PROBE_UNKNOWN, PROBE_SUCCESS, PROBE_FAILURE };
/* The result for that container, by its runtime id; PROBE_UNKNOWN: none yet. has: whether the container has such a probe being run. */
enum probe_result prober_result(struct prober *b, enum probe_kind kind, const char *container_id);
/* One probe's thresholds: feeds one outcome and says whether the settled result has changed. */
struct probe_counter { enum probe_result last, settled; int run; };
bool probe_counter_feed(struct probe_counter *c, enum probe_result r, int success_threshold, int failure_threshold);

/* ---- Pod workers (pod_workers.c) ---- */

struct pod_workers *pod_workers_new(struct kubelet *k);
void pod_workers_free(struct pod_workers *w); /* ends the threads; containers run on */
void pod_workers_update(struct pod_workers *w, struct pod *p);       /* a new version, or a deletion begun */
void pod_workers_removed(struct pod_workers *w, const char *uid);    /* gone from its source: end it at once */
void pod_workers_wake(struct pod_workers *w, const char *uid);       /* the runtime, a probe or a clock has news */
bool pod_workers_known(struct pod_workers *w, const char *uid);
void pod_workers_end(struct pod_workers *w, const char *uid, const char *reason, const char *message); /* evicted, past its deadline */
/* An orphan of an earlier run, known by the runtime only: stop and remove it. */
void pod_workers_orphan(struct pod_workers *w, const char *uid, const char *ns, const char *name);

/* ---- the rest: one thread each ---- */

void *pleg_thread(void *kubelet);          /* pleg.c */
void *housekeeping_thread(void *kubelet);  /* housekeeping.c: orphans, dead containers, log rotation */
void *node_status_thread(void *kubelet);   /* node_status.c */
void *node_lease_thread(void *kubelet);    /* node_lease.c */
void *static_pods_thread(void *kubelet);   /* config_file.c */
void mirror_pod_sync(struct kubelet *k, const struct pod *p); /* makes the API server's mirror of a static Pod right */
void mirror_pod_delete(struct kubelet *k, const char *ns, const char *name);
int kubelet_server_start(struct kubelet *k, struct status *reterr); /* server.c */
void kubelet_server_stop(struct kubelet *k);
struct http_request;
void kubelet_stats_serve(struct kubelet *k, struct http_request *req); /* stats.c */
#endif
