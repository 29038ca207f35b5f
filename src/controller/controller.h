/* What every controller is: informers that feed a work queue of keys, and workers that reconcile one key at a time. Upstream: pkg/controller, cmd/kube-controller-manager.
 *
 * A controller is a constant table (struct controller_desc) in a file of its name; controller_manager.c lists them all. Its `new` takes the informers it wants,
 * registers handlers that add keys to c->queue, and returns its state; its `sync` is level-triggered and idempotent: it reads from informers, compares what is with
 * what should be, writes through c->client, and may be called again for any reason at any time. What it returns decides about the key: 0 forgets its
 * failures, -1 tries again after a growing back-off. Workers start one by one as keys wait, up to `workers`; all memory of a sync is in an arena of its own.
 * Several workers may be in `sync` at once, never for the same key. Tests: tests/unit/test_controller_*.c with controller_test.h. */
#ifndef CKUBE_CONTROLLER_CONTROLLER_H
#define CKUBE_CONTROLLER_CONTROLLER_H
#include "client/client.h"
#include "client/event_recorder.h"
#include "client/informer.h"
#include "client/work_queue.h"

/* Flags of kube-controller-manager that controllers read; all have upstream's defaults (controller_options_default). */
struct controller_options {
    const char *cluster_name;
    const char *cluster_cidr[2];            /* of Pods, one a family; NULL: none */
    const char *service_cluster_ip_range[2];
    int node_cidr_mask_size_ipv4, node_cidr_mask_size_ipv6;
    bool allocate_node_cidrs;
    const char *root_ca_file;               /* published as kube-root-ca.crt; or ... */
    const char *root_ca_pem;                /* ... this text */
    const char *service_account_private_key_file; /* signs tokens that Secrets hold */
    const char *cluster_signing_cert_file, *cluster_signing_key_file; /* of CertificateSigningRequests */
    bool approve_kubelet_serving;           /* CSRs of kubernetes.io/kubelet-serving that name what their Node names: upstream leaves that to others */
    int node_monitor_period_ms, node_monitor_grace_period_ms, node_startup_grace_period_ms;
    double node_eviction_rate, secondary_node_eviction_rate, unhealthy_zone_threshold;
    int large_cluster_size_threshold;
    int terminated_pod_gc_threshold;
    int horizontal_pod_autoscaler_sync_period_ms;
    int resource_quota_sync_period_ms, pvclaimbinder_sync_period_ms;
    bool disable_attach_detach_reconcile_sync;  /* does not look whether what was attached still is */
    int attach_detach_reconcile_sync_period_ms; /* how often it looks; at least a second */
    bool disable_force_detach_on_timeout;       /* a volume that a lost node had mounted stays until the node is out of service */
    int64_t legacy_service_account_token_clean_up_period_ms; /* how long a token that nobody asked for stays without being used */
    int64_t env_seed;                       /* simulation only */
};
struct controller_options controller_options_default(void);

/* What controllers of one process share. */
struct controller_context {
    struct env *env;
    struct informers *informers;
    const struct controller_options *options;
    /* A client for the controller of that name: with --use-service-account-credentials its own identity. Lives as long as the context. */
    struct client *(*client_for)(struct controller_context *cc, const char *controller_name);
    void *client_for_data;
};

#define CONTROLLER_MANAGER_ITSELF "system:kube-controller-manager" /* an account that is no ServiceAccount: for what upstream does as the manager itself */

struct controller;
struct controller_desc {
    const char *name;          /* as in --controllers: "replicaset-controller" */
    const char *account;       /* the ServiceAccount whose rights it has ("endpoint-controller"); NULL: name */
    const char *component;     /* source of its events; NULL: name */
    const char *queue;         /* upstream's name of the queue, for its metrics; NULL: upstream has none */
    int workers;               /* upstream's --concurrent-...-syncs */
    int retries_max;           /* then the key is dropped until its next event; 0: never */
    /* NULL with a status: it cannot run here (a flag is missing); the others do. */
    void *(*new)(struct controller *c, struct status *reterr);
    int (*sync)(void *self, struct arena *a, const char *key, struct status *reterr);
    /* Optional: called once on a thread of its own when the informers are in sync, for loops by time; must return soon after controller_stopping. */
    void (*run)(void *self);
    void (*free)(void *self);  /* workers and informers have stopped */
};

struct controller {
    const struct controller_desc *desc;
    struct controller_context *context;
    struct env *env;
    struct client *client;
    struct event_recorder *events;
    struct work_queue *queue;
    void *self;
};
/* new, once; workers begin with controller_start when the informers are in sync. NULL with a status. */
struct controller *controller_new(struct controller_context *cc, const struct controller_desc *desc, struct status *reterr);
void controller_start(struct controller *c);
void controller_stop(struct controller *c);  /* no sync is under way when it returns */
void controller_free(struct controller *c);  /* after the informers have stopped; NULL is fine */
bool controller_stopping(struct controller *c);
/* Sleeps, but not past controller_stop. False: stopping. For `run`. */
bool controller_sleep_ms(struct controller *c, int64_t ms);

/* ---- for handlers ---- */
void controller_enqueue(struct controller *c, const void *obj);                    /* its key */
void controller_enqueue_after(struct controller *c, const void *obj, int64_t ms);
/* Handlers that enqueue each object that was added, changed or deleted: `.data` is the struct controller. */
extern void controller_on_add(void *data, struct cached *now);
extern void controller_on_update(void *data, struct cached *old, struct cached *now);
extern void controller_on_delete(void *data, struct cached *old);

/* ---- the manager ---- */
struct controller_manager;
/* names: upstream's --controllers list ("*", "foo", "-foo"), NULL: "*". Unknown names are an error. */
struct controller_manager *controller_manager_new(struct controller_context *cc, const char *names, struct status *reterr);
/* Starts informers, waits for them in a thread of its own, then starts the workers. Returns at once. */
void controller_manager_start(struct controller_manager *m);
/* Stops everything, informers included, and frees. */
void controller_manager_stop(struct controller_manager *m);
extern const struct controller_desc *const controllers_all[]; /* ends with NULL */
#endif
