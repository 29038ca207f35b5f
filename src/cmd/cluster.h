/* A cluster of servers: this one's etcd member, how it begins or joins, and what it tells the others.
 *
 * `ckube server --cluster-init` begins a cluster of one (with what the embedded database holds), `ckube server --server URL --token T` joins one; later starts need no flags. The
 * apiserver gets etcd's addresses from here, the local member's first; a thread keeps them up to date. k3s knows the same flags. docs/high-availability.md tells it all.
 * Files: cluster_begin.c the first member, cluster_join.c joining, cluster_revision.c restoring and revisions, cluster_files.c the data folder, cluster_token.c tokens, etcd_process.c the
 * process, cluster_command.c `ckube cluster`, status.c `ckube status`. Tests: tests/unit/test_cluster.c, tests/integration/test_ha.py. */
#ifndef CKUBE_CMD_CLUSTER_H
#define CKUBE_CMD_CLUSTER_H
#include "apiserver/apiserver.h"
#include "cmd/cluster_files.h"
#include "cmd/etcd_process.h"
#include "store/etcd/admin.h"

struct cluster_config {
    const struct apiserver_options *apiserver; /* data_dir, etcd_prefix, storage_media_type, event_ttl_s, the Services' ranges */
    bool init, reset;
    const char *restore;           /* with reset: a snapshot; NULL: the database that is there */
    const char *server, *token, *token_file;
    const char *address, *node_ip; /* NULL: of the default route */
    int client_port, peer_port;    /* 0: 2379, 2380 */
    const char *cluster_cidr, *node_ports;
};

struct cluster;
/* 1: this server is of a cluster: *ret, whose majority answers. 0: it is not, the embedded database is the store. -1: it should be and cannot. Blocks; a signal that waits for
 * command_wait_signal ends it with -1. The cluster's authorities are in DATA_DIR/tls when it returns 1. */
int cluster_start(const struct cluster_config *config, struct cluster **ret, struct status *reterr);
/* The apiserver serves: from now on it is told of members that come and go, and the others of it. */
void cluster_serve(struct cluster *c, struct apiserver *s);
/* The server is about to stop: the thread is asked to end, and no member that does not answer is waited for any more. NULL is fine. */
void cluster_hurry(struct cluster *c);
void cluster_stop_serving(struct cluster *c); /* before the apiserver is freed; NULL is fine */
void cluster_free(struct cluster *c);         /* stops etcd; NULL is fine */

const char *cluster_address(struct cluster *c);                       /* which others know this server by */
const char *cluster_member_name(struct cluster *c);
struct etcd_access cluster_etcd(struct cluster *c, struct arena *a);  /* as of now */
const char *cluster_token(struct cluster *c);
/* /ckube/...: what joining servers ask for. For apiserver_options.own_paths; ctx is the cluster. */
bool cluster_handle(struct http_request *req, void *ctx);
bool cluster_handle_status(struct http_request *req, void *ctx); /* /ckube/status, for more_paths: what `ckube status` prints from elsewhere */

/* `ckube server --cluster-reset`: a cluster of one, of this server's database or of a snapshot, then it returns; 0 or -1. The other servers join anew. */
int cluster_reset(const struct cluster_config *config, struct status *reterr);

/* ---- inside ---- */

#define CLUSTER_SERVERS_KEY "/ckube/servers/" /* and the member's name: {"apiserver":"https://10.0.0.1:6443"} */
enum { CLUSTER_CLIENT_PORT = 2379, CLUSTER_PEER_PORT = 2380, CLUSTER_BEGIN_MS = 120000 };

struct cluster {
    struct arena *arena;
    struct cluster_config config;
    const char *data_dir, *dir;    /* dir: DATA_DIR/etcd */
    struct cluster_state state;    /* servers: guarded by mutex once the thread runs */
    struct etcd_process *etcd;
    const char *token;

    struct apiserver *apiserver;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool serving;
    atomic_bool stopping;          /* under the mutex too, for who waits */
    char *servers;                 /* the other members' client URLs: state.servers is this */
    char *overview;                /* see cluster_overview.h: as of the last round; NULL: not known yet, or no member answers */
};

/* Fills what is not said of the member: name, addresses, ports. */
int cluster_name_member(struct cluster *c, struct status *reterr);
int cluster_enter(struct cluster *c, enum cluster_phase phase, struct status *reterr); /* writes the state */
int cluster_run_etcd(struct cluster *c, const char *initial_cluster, bool existing, bool force_new, struct status *reterr);
struct etcd_admin *cluster_admin(struct cluster *c, bool local, struct status *reterr);
/* Until a majority answers; timeout_ms 0: for ever (but a signal or a member that was removed ends it). */
int cluster_wait_quorum(struct cluster *c, int64_t timeout_ms, struct status *reterr);
/* Waits a moment; false when a signal asks this process to end. */
bool cluster_pause(int ms);
bool cluster_has_database(struct cluster *c); /* whether etcd has begun to keep things here */
/* Whether etcd may do later what it refuses now: it takes one learner at a time, and changes its members only while all have been seen for some seconds. */
bool cluster_worth_waiting(const struct status *s);
const struct etcd_member *cluster_own_member(struct cluster *c, const struct etcd_members *members); /* by its address; NULL: it is not among them */
char *cluster_own_peer(struct arena *a, const struct cluster_state *s); /* "name=https://address:port" */

int cluster_begin(struct cluster *c, struct status *reterr);                   /* cluster_begin.c */
int cluster_join(struct cluster *c, struct status *reterr);                    /* cluster_join.c: until this member is promoted */
int cluster_raise_revision(struct cluster *c, int64_t to, struct status *reterr); /* cluster_revision.c: of a cluster of one, whose etcd runs: is started anew */
int cluster_reset_member(struct cluster *c, struct status *reterr);            /* the same file: --cluster-reset */
#endif
