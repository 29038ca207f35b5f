/* The etcd member of this server: the distribution's etcd, started with mutual TLS, under its own user where there is one, and started again when it ends.
 *
 * A thread waits for the process. It ends with this process too, also when that is killed. What etcd says goes to DATA_DIR/etcd/etcd.log. Tests: tests/unit/test_cluster.c,
 * tests/integration/test_ha.py. */
#ifndef CKUBE_CMD_ETCD_PROCESS_H
#define CKUBE_CMD_ETCD_PROCESS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/status.h"

struct etcd_process_options {
    const char *program;           /* NULL: found on PATH */
    const char *dir;               /* DATA_DIR/etcd: the database is data in it, certificates in tls, the log etcd.log */
    const char *name;
    const char *address, *listen;  /* which others know (an address or a name), and which is listened on besides 127.0.0.1 */
    int client_port, peer_port;
    const char *initial_cluster;   /* "a=https://...,b=https://..."; of no meaning once there is a database */
    bool existing;                 /* these members are there already */
    bool force_new_cluster;        /* forget all members but this one */
};

/* A server that was killed may have left an etcd behind that is still ending: waits for its end, and sees to it. Two must not have the database at once, nor may the old one
 * answer for the new. Before anything is done below dir. */
void etcd_process_end_earlier(const char *dir);

struct etcd_process;
struct etcd_process *etcd_process_start(const struct etcd_process_options *o, struct status *reterr); /* strings are copied */
void etcd_process_stop(struct etcd_process *p); /* SIGTERM, after 10 s SIGKILL; NULL is fine */
bool etcd_process_running(struct etcd_process *p);
unsigned etcd_process_starts(struct etcd_process *p); /* how often it has been started */
/* The last error that etcd has logged, in its words; "" if there is none. In the arena. */
char *etcd_process_last_words(struct etcd_process *p, struct arena *a);
void etcd_process_trim_log(struct etcd_process *p);   /* begins the log anew when it is large */

/* "https://10.0.0.1:2379", "https://[::1]:2379" */
char *etcd_url(struct arena *a, const char *host, int port);
/* How long to wait before the next start after a run of so many milliseconds; *backoff_ms is what is remembered, 0 at first. */
int64_t etcd_process_backoff(int64_t *backoff_ms, int64_t ran_ms);
/* Gives everything below dir to etcd's user, if there is one and we may; sets *ret_uid, *ret_gid to it, or to -1: it runs as we do. */
void etcd_process_give(const char *dir, int *ret_uid, int *ret_gid);
#endif
