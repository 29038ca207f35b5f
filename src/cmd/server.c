/* `ckube server`: a whole cluster in one process. apiserver, controller-manager and scheduler, and, unless --disable-agent, this machine as a node.
 *
 * The controllers and the scheduler reach the apiserver by direct calls under upstream's user names, each acting only while it holds its Lease, so that
 * components of other processes may stand in for them. The identity in the Lease is this data folder's: after a crash the next process on it, which has the
 * store's lock, goes on at once. Stops in the opposite order on SIGTERM and SIGINT; Pods run on and are adopted by the next start. */
#include <ctype.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "apiserver/local_transport.h"
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "client/lease_candidate.h"
#include "cmd/apiserver_command.h"
#include "cmd/certificates.h"
#include "cmd/cluster.h"
#include "cmd/commands.h"
#include "cmd/coordination.h"
#include "cmd/harden.h"
#include "cmd/leader_flags.h"
#include "cmd/node.h"
#include "cmd/node_join.h"
#include "cmd/snapshots.h"
#include "controller/controller.h"
#include "controller/metrics.h"
#include "proxy/server.h"
#include "apiserver/metrics.h"
#include "scheduler/server.h"

enum { BINDERS = 32 /* what waits for one sync of the store is committed by the next, together */, CONTROLLER_CLIENTS_MAX = 80 };

struct server_flags {
    const char *cluster_cidr, *controllers, *runtime_endpoint, *node_name, *node_ip, *cluster_dns;
    const char *root_dir, *pod_logs_dir, *cgroup_root, *cni_bridge;
    const char *snapshot_schedule, *snapshot_dir;
    int kubelet_port, snapshot_retention;
    bool disable_agent, allocate_node_cidrs;
    /* a cluster of servers */
    const char *join, *token, *token_file, *restore;
    int etcd_client_port, etcd_peer_port;
    bool cluster_init, cluster_reset;
};

struct named_client { const char *name; struct client *client; };

struct server {
    struct apiserver_command command;
    struct server_flags flags;
    struct arena *arena;
    struct cluster *cluster; /* NULL: a server of its own */
    struct apiserver *apiserver;
    char host[256];
    const char *identity;
    struct coordination *coordination;
    struct lease_candidate *candidates[2]; /* for the two Leases */
    struct leader_flags leader;
    struct leader_election_config election; /* its times */
    /* controllers */
    struct client *controller_client, *controllers_elector; /* what acts is fenced, what elects is not */
    struct lease_fence *controllers_fence;
    struct controller_options controller_options;
    struct controller_context cc;
    struct controller_manager *controllers;
    struct named_client clients[CONTROLLER_CLIENTS_MAX]; /* made on the election's thread alone */
    size_t clients_len;
    struct leader_election *controllers_election;
    /* scheduler */
    struct client *scheduler_client, *scheduler_elector;
    struct lease_fence *scheduler_fence;
    struct scheduler_config scheduler_config;
    struct scheduler_server *scheduler;
    struct leader_election *scheduler_election;
    struct snapshots *snapshots;
    struct node_join_settings join;
    struct node_join *node_join;
    struct client *join_client;
    struct certificates_renewer *renewer;
    /* the node */
    struct client *proxy_client, *node_client;
    struct node *node;
    struct proxy_server *proxy;
};

static struct client *fenced_client(struct server *s, struct lease_fence *fence, const char *user, const char *const *groups, const char *agent) {
    return client_new(lease_fence_transport(fence, local_transport_new(s->apiserver, user, groups, agent)));
}

static struct client *local_client(struct server *s, const char *user, const char *const *groups, const char *agent) {
    return client_new(local_transport_new(s->apiserver, user, groups, agent));
}

static const char *node_name(const struct server *s) { return s->flags.node_name ? s->flags.node_name : s->host; }

/* Candidates for different Leases are different ones, though they are of one process. */
static struct leader_election *start_election(struct server *s, struct client *elector, struct lease_candidate **candidate, const struct leader_election_config *c) {
    struct leader_election_config config = s->election;
    config.name = c->name;
    config.identity = arena_printf(s->arena, "%s.%s", s->identity, c->name);
    if (s->command.options.etcd_servers) *candidate = lease_candidate_start(elector, env_real(), &(struct lease_candidate_config){.lease = c->name, .identity = config.identity, .node = node_name(s),
        .member = s->cluster ? cluster_member_name(s->cluster) : NULL});
    config.fence = c->fence;
    config.on_leading = c->on_leading;
    config.on_lost = c->on_lost;
    config.arg = s;
    return leader_election_start(elector, env_real(), &config);
}

/* ---- controllers ---- */

/* Each controller is a ServiceAccount of its own, with the rights of its default role and no more. Upstream: --use-service-account-credentials. */
static struct client *controller_client(struct controller_context *cc, const char *name) {
    struct server *s = cc->client_for_data;
    if (str_eq(name, CONTROLLER_MANAGER_ITSELF)) return s->controller_client;
    for (size_t i = 0; i < s->clients_len; i++)
        if (str_eq(s->clients[i].name, name)) return s->clients[i].client;
    static const char *const groups[] = {"system:serviceaccounts", "system:serviceaccounts:kube-system", NULL};
    CHECK(s->clients_len < CONTROLLER_CLIENTS_MAX);
    struct client *c = fenced_client(s, s->controllers_fence, arena_printf(s->arena, "system:serviceaccount:kube-system:%s", name), groups, "kube-controller-manager");
    s->clients[s->clients_len++] = (struct named_client){name, c};
    return c;
}

static void controllers_lead(void *arg) {
    struct server *s = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    s->cc.informers = informers_new(s->controller_client, env_real());
    s->controllers = controller_manager_new(&s->cc, s->flags.controllers, &err);
    CHECK(s->controllers); /* the list was checked at the start */
    controller_manager_start(s->controllers);
    metrics_source_add(controller_metrics_put, s->controllers);
}

static void controllers_lost(void *arg) {
    struct server *s = arg;
    metrics_source_remove(s->controllers);
    controller_manager_stop(s->controllers);
    informers_free(s->cc.informers);
    s->controllers = NULL;
    s->cc.informers = NULL;
}

static void start_controllers(struct server *s) {
    struct controller_options *o = &s->controller_options;
    *o = controller_options_default();
    o->cluster_cidr[0] = s->flags.cluster_cidr;
    const char *ranges = s->command.options.service_cluster_ip_range, *comma = strchr(ranges, ',');
    o->service_cluster_ip_range[0] = comma ? arena_strndup(s->arena, ranges, (size_t)(comma - ranges)) : ranges;
    if (comma) o->service_cluster_ip_range[1] = comma + 1;
    o->allocate_node_cidrs = s->flags.allocate_node_cidrs;
    o->root_ca_file = arena_printf(s->arena, "%s/tls/server-ca.crt", s->command.options.data_dir);
    o->service_account_private_key_file = s->command.options.service_account_signing_key_file;
    o->cluster_signing_cert_file = arena_printf(s->arena, "%s/tls/client-ca.crt", s->command.options.data_dir);
    o->cluster_signing_key_file = arena_printf(s->arena, "%s/tls/client-ca.key", s->command.options.data_dir);
    o->approve_kubelet_serving = true;
    s->controllers_fence = lease_fence_new(env_real());
    s->controller_client = fenced_client(s, s->controllers_fence, "system:kube-controller-manager", NULL, "kube-controller-manager");
    s->controllers_elector = local_client(s, "system:kube-controller-manager", NULL, "kube-controller-manager");
    s->cc = (struct controller_context){.env = env_real(), .options = o, .client_for = controller_client, .client_for_data = s};
    s->controllers_election = start_election(s, s->controllers_elector, &s->candidates[0], &(struct leader_election_config){.name = "kube-controller-manager", .fence = s->controllers_fence,
        .on_leading = controllers_lead, .on_lost = controllers_lost});
}

/* ---- scheduler ---- */

static void scheduler_lead(void *arg) {
    struct server *s = arg;
    s->scheduler = scheduler_server_start(s->scheduler_client, env_real(), &s->scheduler_config, s->host);
    metrics_source_add(scheduler_server_put_metrics, s->scheduler);
}

static void scheduler_lost(void *arg) {
    struct server *s = arg;
    if (s->scheduler) metrics_source_remove(s->scheduler);
    scheduler_server_stop(s->scheduler);
    s->scheduler = NULL;
}

static void start_scheduler(struct server *s) {
    s->scheduler_config = (struct scheduler_config){.binders = BINDERS};
    s->scheduler_fence = lease_fence_new(env_real());
    s->scheduler_client = fenced_client(s, s->scheduler_fence, "system:kube-scheduler", NULL, "kube-scheduler");
    s->scheduler_elector = local_client(s, "system:kube-scheduler", NULL, "kube-scheduler");
    s->scheduler_election = start_election(s, s->scheduler_elector, &s->candidates[1], &(struct leader_election_config){.name = "kube-scheduler", .fence = s->scheduler_fence,
        .on_leading = scheduler_lead, .on_lost = scheduler_lost});
}

/* ---- the node ---- */

static int start_agent(struct server *s, struct status *reterr) {
    static const char *const groups[] = {"system:nodes", NULL};
    const char *name = node_name(s);
    s->node_client = local_client(s, arena_printf(s->arena, "system:node:%s", name), groups, "kubelet");
    struct node_options no = {.data_dir = s->command.options.data_dir, .runtime_endpoint = s->flags.runtime_endpoint,
        .kubelet = {.client = s->node_client, .node_name = name, .node_ip = s->flags.node_ip, .cluster_dns = s->flags.cluster_dns, .root_dir = s->flags.root_dir,
                    .pod_logs_dir = s->flags.pod_logs_dir, .cgroup_root = s->flags.cgroup_root, .cni_bridge = s->flags.cni_bridge, .port = s->flags.kubelet_port}};
    if (!(s->node = node_start(&no, reterr))) return -1;
    s->proxy_client = local_client(s, "system:kube-proxy", NULL, "kube-proxy");
    struct proxier_config pc = {.node_name = name, .rules = {.ipv4 = true, .ipv6 = true, .cluster_cidr = {s->flags.cluster_cidr}, .masquerade_pods = true}};
    s->proxy = proxy_server_start(s->proxy_client, env_real(), &pc, reterr);
    return s->proxy ? 0 : -1;
}

/* ---- life ---- */

static int start_snapshots(struct server *s, struct status *reterr) {
    if (str_empty(s->flags.snapshot_schedule) || (s->command.options.etcd_servers && !s->cluster)) return 0; /* an etcd of the user's own is saved by whoever runs it */
    struct etcd_access etcd = s->cluster ? cluster_etcd(s->cluster, s->arena) : (struct etcd_access){0};
    s->snapshots = snapshots_start(&(struct snapshots_config){.data_dir = s->command.options.data_dir, .etcd = etcd, .dir = s->flags.snapshot_dir, .schedule = s->flags.snapshot_schedule,
        .retention = s->flags.snapshot_retention}, reterr);
    return s->snapshots ? 0 : -1;
}

static void stop(struct server *s) {
    apiserver_hurry(s->apiserver);
    cluster_hurry(s->cluster);
    for (size_t i = 0; i < ARRAY_LEN(s->candidates); i++) lease_candidate_stop(s->candidates[i]);
    coordination_stop(s->coordination);
    leader_election_stop(s->scheduler_election); /* first: others may wait for the Leases */
    leader_election_stop(s->controllers_election);
    node_join_stop(s->node_join);
    certificates_renewer_stop(s->renewer);
    snapshots_stop(s->snapshots);
    proxy_server_stop(s->proxy);
    node_stop(s->node);
    cluster_stop_serving(s->cluster);
    apiserver_free(s->apiserver);
    /* Transports are named in requests until the server has gone. */
    client_free(s->join_client);
    client_free(s->proxy_client);
    client_free(s->node_client);
    client_free(s->scheduler_client);
    client_free(s->controller_client);
    client_free(s->scheduler_elector);
    client_free(s->controllers_elector);
    for (size_t i = 0; i < s->clients_len; i++) client_free(s->clients[i].client);
    coordination_free(s->coordination);
    lease_fence_free(s->scheduler_fence);
    lease_fence_free(s->controllers_fence);
    cluster_free(s->cluster);
}

static struct cluster_config cluster_flags(const struct server *s) {
    const struct server_flags *f = &s->flags;
    const char *bound = s->command.options.bind_address;
    if (str_eq(bound, "0.0.0.0") || str_eq(bound, "::")) bound = NULL;
    return (struct cluster_config){.apiserver = &s->command.options, .init = f->cluster_init, .restore = f->restore, .server = f->join, .token = f->token, .token_file = f->token_file,
        .address = s->command.advertise ? s->command.advertise : f->node_ip ? f->node_ip : bound, .node_ip = f->node_ip, .client_port = f->etcd_client_port, .peer_port = f->etcd_peer_port, .cluster_cidr = f->cluster_cidr, .node_ports = s->command.node_ports};
}

static bool handle_own(struct http_request *req, void *ctx) {
    struct server *s = ctx;
    return node_join_handle(&s->join, req) || (s->cluster && cluster_handle(req, s->cluster));
}

static bool handle_more(struct http_request *req, void *ctx) {
    struct server *s = ctx;
    return node_join_handle_settings(&s->join, req) || (s->cluster && cluster_handle_status(req, s->cluster));
}

/* What is answered besides the API, and what nodes need to join; kubelets must show certificates that the cluster has signed. */
static void let_nodes_join(struct server *s) {
    struct apiserver_options *o = &s->command.options;
    s->join = (struct node_join_settings){.data_dir = o->data_dir, .cluster_cidr = s->flags.cluster_cidr, .cluster_dns = s->flags.cluster_dns};
    o->own_paths = handle_own;
    o->more_paths = handle_more;
    o->own_paths_ctx = s;
    if (!o->kubelet_ca_file) o->kubelet_ca_file = arena_printf(s->arena, "%s/tls/client-ca.crt", o->data_dir);
}

static void prepare_for_nodes(struct server *s) {
    static const char *const masters[] = {"system:masters", NULL};
    _cleanup_status_ struct status err = STATUS_INIT;
    s->join_client = local_client(s, "system:apiserver", masters, "ckube");
    if (!(s->node_join = node_join_start(s->join_client, &s->join, &err))) log_error("no node can join: %s", status_message(&err));
}

/* The apiserver's store is this server's etcd member then, and its certificate is for the address that the others know. */
static int start_cluster(struct server *s, struct status *reterr) {
    struct apiserver_options *o = &s->command.options;
    struct cluster_config config = cluster_flags(s);
    int is_one = apiserver_command_make_dir(&s->command, reterr) != 0 ? -1 : cluster_start(&config, &s->cluster, reterr);
    if (is_one <= 0) return is_one;
    struct etcd_access e = cluster_etcd(s->cluster, s->arena);
    o->etcd_servers = e.servers;
    o->etcd_ca_file = e.ca_file;
    o->etcd_cert_file = e.cert_file;
    o->etcd_key_file = e.key_file;
    o->advertise_address = s->command.advertise = cluster_address(s->cluster);
    return 0;
}

static int reset(struct server *s) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct cluster_config config = cluster_flags(s);
    command_block_signals();
    if (apiserver_command_make_dir(&s->command, &err) == 0 && cluster_reset(&config, &err) == 0) return 0;
    log_error("%s", status_message(&err));
    return 1;
}

/* Before the first thread. A node needs all that it has. */
static void harden(const struct server *s) {
    const char *member = arena_printf(s->arena, "%s/server/member.json", s->command.options.data_dir);
    bool clustered = s->flags.cluster_init || s->flags.join || access(member, F_OK) == 0; /* then etcd runs here, as another user if there is one for it */
    if (!s->flags.disable_agent) harden_secrets();
    else harden_control_plane(&(struct harden_options){.low_port = s->command.options.secure_port > 0 && s->command.options.secure_port < 1024, .runs_as_others = clustered});
}

static int run(struct server *s) {
    _cleanup_status_ struct status err = STATUS_INIT;
    harden(s);
    command_block_signals();
    mallopt(M_ARENA_MAX, 2); /* many threads that each do little: an arena each would be most of the memory */
    gethostname(s->host, sizeof(s->host) - 1);
    for (char *p = s->host; *p; p++) *p = (char)tolower((unsigned char)*p); /* it becomes the Node's name */
    let_nodes_join(s);
    if (start_cluster(s, &err) == 0) {
        bool lone = !s->command.options.etcd_servers; /* nobody else could stand for the Leases */
        leader_flags_take(&s->leader, "server", lone, &s->election);
        if (!lone) s->command.options.runtime_config = coordination_runtime_config(s->arena, s->command.options.runtime_config);
        s->apiserver = apiserver_command_start(&s->command, s->arena, &err);
    }
    if (!s->apiserver || !(s->identity = coordination_identity(s->arena, s->command.options.data_dir, node_name(s), &err))) {
        bool asked_to_end = !s->apiserver && command_signal_pending();
        apiserver_free(s->apiserver);
        if (asked_to_end) log_info("%s", status_message(&err));
        else log_error("%s", status_message(&err));
        cluster_free(s->cluster);
        return asked_to_end ? 0 : 1;
    }
    if (s->cluster) cluster_serve(s->cluster, s->apiserver);
    s->renewer = certificates_renewer_start(s->command.options.data_dir, env_real());
    s->coordination = coordination_start(s->apiserver, s->identity, &s->election);
    prepare_for_nodes(s);
    start_controllers(s);
    start_scheduler(s);
    if (start_snapshots(s, &err) != 0 || (!s->flags.disable_agent && start_agent(s, &err) != 0)) {
        log_error("%s", status_message(&err));
        stop(s);
        return 1;
    }
    log_info("stopping on signal %d", command_wait_signal());
    stop(s);
    return 0;
}

int cmd_server(int argc, char **argv) {
    struct server *s = calloc(1, sizeof(*s));
    CHECK(s);
    apiserver_command_init(&s->command);
    s->flags = (struct server_flags){.cluster_cidr = "10.42.0.0/16", .allocate_node_cidrs = true, .snapshot_schedule = "0 */12 * * *", .snapshot_retention = 5};
    const struct flag own[] = {
        {.name = "cluster-init", .on = &s->flags.cluster_init, .help = "begin a cluster of servers, with an etcd member each; what the embedded database holds is taken over"},
        {.name = "server", .text = &s->flags.join, .help = "join the cluster of the server at this URL"},
        {.name = "token", .text = &s->flags.token, .help = "with --server: the token in DATA_DIR/server/token there; with --cluster-init: its secret (default: a random one)"},
        {.name = "token-file", .text = &s->flags.token_file, .help = "file with the token"},
        {.name = "etcd-client-port", .number = &s->flags.etcd_client_port, .help = "port that this server's etcd member serves on (default: 2379)"},
        {.name = "etcd-peer-port", .number = &s->flags.etcd_peer_port, .help = "port that other members reach it at (default: 2380)"},
        {.name = "cluster-reset", .on = &s->flags.cluster_reset, .help = "make this server's member a cluster of one and end; the other servers join anew"},
        {.name = "cluster-reset-restore-path", .text = &s->flags.restore, .help = "with --cluster-reset: a snapshot of etcd that is restored"},
        {.name = "disable-agent", .on = &s->flags.disable_agent, .help = "no kubelet and no kube-proxy here: a control plane alone, which needs no root"},
        {.name = "cluster-cidr", .text = &s->flags.cluster_cidr, .help = "range of Pods' addresses (default: 10.42.0.0/16)"},
        {.name = "allocate-node-cidrs", .on = &s->flags.allocate_node_cidrs, .help = "give each Node a part of it (default: true)"},
        {.name = "controllers", .text = &s->flags.controllers, .help = "which controllers: \"*\", \"foo\", \"-foo\", by comma"},
        {.name = "snapshot-schedule-cron", .text = &s->flags.snapshot_schedule, .help = "when the database is saved, embedded or a cluster's, as a CronJob's schedule in UTC; empty: never (default: 0 */12 * * *)"},
        {.name = "snapshot-retention", .number = &s->flags.snapshot_retention, .help = "how many of these snapshots are kept (default: 5)"},
        {.name = "snapshot-dir", .text = &s->flags.snapshot_dir, .help = "where they go (default: DATA_DIR/snapshots)"},
        {.name = "container-runtime-endpoint", .text = &s->flags.runtime_endpoint, .help = "socket of a runtime that runs already (default: a containerd of our own)"},
        {.name = "node-name", .text = &s->flags.node_name, .help = "name of this node (default: the host's)"},
        {.name = "node-ip", .text = &s->flags.node_ip, .help = "address of this node (default: of the default route)"},
        {.name = "cluster-dns", .text = &s->flags.cluster_dns, .help = "address of the cluster's DNS"},
        {.name = "kubelet-port", .number = &s->flags.kubelet_port, .help = "port of the kubelet here (default: 10250)"},
        {.name = "root-dir", .text = &s->flags.root_dir, .help = "where volumes live (default: /var/lib/kubelet)"},
        {.name = "pod-logs-dir", .text = &s->flags.pod_logs_dir, .help = "where logs live (default: /var/log/pods)"},
        {.name = "cgroup-root", .text = &s->flags.cgroup_root, .help = "cgroup to make kubepods in"},
        {.name = "cni-bridge", .text = &s->flags.cni_bridge, .help = "name of the Pods' bridge (default: cni0)"},
    };
    struct flag flags[APISERVER_FLAGS_MAX + ARRAY_LEN(own) + LEADER_FLAGS + 1] = {0}, leader[LEADER_FLAGS];
    size_t n = apiserver_command_flags(&s->command, flags);
    memcpy(flags + n, own, sizeof(own));
    leader_flags_rows(&s->leader, leader);
    memcpy(flags + n + ARRAY_LEN(own), leader, LEADER_TIME_FLAGS * sizeof(*leader));
    int parsed = flags_parse("server", flags, argc, argv), rc = parsed < 0 ? 2 : 0;
    if (parsed == 0 && (rc = apiserver_command_check(&s->command, "server")) == 0 && (rc = leader_flags_take(&s->leader, "server", false, &s->election)) == 0) {
        log_set_verbosity(s->command.verbosity);
        s->arena = arena_new();
        rc = s->flags.cluster_reset ? reset(s) : run(s);
        arena_free(s->arena);
    }
    free(s);
    return rc;
}
