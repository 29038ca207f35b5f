/* A cluster's server while it serves: what it hears of the other members, what it tells its apiserver and those that join. See cluster.h.
 *
 * One thread asks every two seconds. It alone writes c->servers and c->overview. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cluster.h"
#include "cmd/cluster_overview.h"
#include "cmd/cluster_token.h"
#include "wire/json.h"

enum { ROUND_MS = 2000, GONE_ROUNDS = 2 };

struct round { struct cluster *c; struct etcd_admin *admin; char *admin_servers; bool registered; int gone; };

/* ---- what is heard ---- */

static char *others_of(struct cluster *c, struct arena *a, const struct etcd_members *members, bool *ret_there) {
    const char *own = etcd_url(a, c->state.address, c->state.peer_port);
    _cleanup_buf_ struct buf out = BUF_INIT;
    *ret_there = false;
    for (size_t i = 0; i < members->len; i++) {
        const struct etcd_member *m = &members->items[i];
        bool ours = str_eq(m->peer_url, own);
        *ret_there |= ours;
        if (!ours && !m->learner && !str_empty(m->client_url)) buf_printf(&out, "%s%s", out.len ? "," : "", m->client_url);
    }
    return arena_strndup(a, buf_cstr(&out), out.len);
}

static void take_others(struct cluster *c, const char *others) {
    _cleanup_status_ struct status err = STATUS_INIT;
    pthread_mutex_lock(&c->mutex);
    bool same = str_eq(c->servers, others);
    if (!same) {
        free(c->servers);
        c->servers = strdup(others);
        CHECK(c->servers);
    }
    pthread_mutex_unlock(&c->mutex);
    if (same) return;
    struct cluster_state s = c->state;
    s.servers = others;
    log_info("the other members of etcd: %s", *others ? others : "none");
    if (cluster_state_write(c->data_dir, &s, &err) != 0) log_warning("%s", status_message(&err));
}

/* Removed, by `ckube cluster leave` here or `ckube cluster remove` elsewhere: what this server answered from now on would be nobody's. */
static void leave(struct cluster *c) {
    _cleanup_status_ struct status err = STATUS_INIT;
    log_info("this server's member was removed from the cluster: the server stops");
    if (cluster_enter(c, CLUSTER_LEFT, &err) != 0) log_error("%s", status_message(&err));
    kill(getpid(), SIGTERM);
}

static bool local_serves(struct cluster *c, struct etcd_admin *admin, struct arena *a) {
    struct etcd_member_status s;
    const char *url = etcd_url(a, strchr(c->state.listen, ':') ? "::1" : "127.0.0.1", c->state.client_port);
    return etcd_admin_status(admin, url, &s, NULL) == 0 && !s.learner && s.leader != 0;
}

/* What servers said of themselves whose members are gone. */
static void forget_gone(struct etcd_admin *admin, const struct etcd_members *members, struct arena *a) {
    struct etcd_pairs said;
    if (etcd_admin_list(admin, CLUSTER_SERVERS_KEY, a, &said, NULL) != 0) return;
    for (size_t i = 0; i < said.len; i++) {
        bool known = false;
        for (size_t k = 0; k < members->len; k++) known |= str_empty(members->items[k].name) || str_eq(members->items[k].name, said.items[i].key + strlen(CLUSTER_SERVERS_KEY));
        if (!known) etcd_admin_delete(admin, said.items[i].key, NULL, NULL);
    }
}

static bool tell_others(struct cluster *c, struct etcd_admin *admin, struct arena *a) {
    const char *key = arena_printf(a, CLUSTER_SERVERS_KEY "%s", c->state.name);
    return etcd_admin_put(admin, key, arena_printf(a, "{\"apiserver\":\"%s\"}", etcd_url(a, c->state.address, apiserver_port(c->apiserver))), NULL, NULL) == 0;
}

static void take_overview(struct cluster *c, struct etcd_admin *admin, struct arena *a) {
    char *text = cluster_overview(admin, a, NULL);
    pthread_mutex_lock(&c->mutex);
    free(c->overview);
    c->overview = text ? strdup(text) : NULL;
    pthread_mutex_unlock(&c->mutex);
}

static void one_round(struct round *r) {
    struct cluster *c = r->c;
    _cleanup_arena_ struct arena *a = arena_new();
    struct etcd_access e = cluster_etcd(c, a);
    struct etcd_members members;
    bool there;
    if (!str_eq(r->admin_servers, e.servers)) {
        etcd_admin_free(r->admin);
        free(r->admin_servers);
        r->admin_servers = strdup(e.servers);
        r->admin = etcd_admin_new(e.servers, e.ca_file, e.cert_file, e.key_file, NULL);
        if (r->admin) etcd_admin_set_cancel(r->admin, &c->stopping);
    }
    etcd_process_trim_log(c->etcd);
    if (r->admin) take_overview(c, r->admin, a);
    if (!r->admin || etcd_admin_members_now(r->admin, a, &members, NULL) != 0) return;
    char *others = others_of(c, a, &members, &there);
    r->gone = there ? 0 : r->gone + 1;
    if (r->gone == GONE_ROUNDS) leave(c);
    if (!there) return;
    take_others(c, others);
    apiserver_set_etcd_servers(c->apiserver, cluster_etcd(c, a).servers, local_serves(c, r->admin, a));
    if (r->registered) return;
    forget_gone(r->admin, &members, a);
    r->registered = tell_others(c, r->admin, a);
}

static void *run(void *arg) {
    struct round r = {.c = arg};
    struct cluster *c = arg;
    pthread_mutex_lock(&c->mutex);
    while (!c->stopping) {
        pthread_mutex_unlock(&c->mutex);
        one_round(&r);
        int64_t until = env_mono_ns(env_real()) + (int64_t)ROUND_MS * 1000000;
        pthread_mutex_lock(&c->mutex);
        while (!c->stopping && env_mono_ns(env_real()) < until) env_cond_wait(env_real(), &c->cond, &c->mutex, until);
    }
    pthread_mutex_unlock(&c->mutex);
    etcd_admin_free(r.admin);
    free(r.admin_servers);
    return NULL;
}

void cluster_serve(struct cluster *c, struct apiserver *s) {
    c->apiserver = s;
    c->serving = true;
    CHECK(pthread_create(&c->thread, NULL, run, c) == 0);
}

void cluster_hurry(struct cluster *c) {
    if (!c) return;
    pthread_mutex_lock(&c->mutex);
    c->stopping = true;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mutex);
}

void cluster_stop_serving(struct cluster *c) {
    if (!c || !c->serving) return;
    cluster_hurry(c);
    pthread_join(c->thread, NULL);
    c->serving = false;
}

/* ---- what is told ---- */

static void respond(struct http_request *req, int code, const char *type, const char *text) {
    const struct http_header headers[] = {{"Content-Type", type}, {"Cache-Control", "no-store"}};
    http_respond(req, code, headers, ARRAY_LEN(headers), &(struct http_slice){.data = text, .len = strlen(text)}, 1);
}

static bool authorized(struct cluster *c, struct http_request *req) {
    struct cluster_token own;
    const char *auth = http_request_header(req, "Authorization");
    if (!auth || strncasecmp(auth, "Bearer ", 7) != 0 || cluster_token_parse(req->arena, c->token, &own, NULL) != 0) return false;
    return cluster_secrets_equal(auth + 7, own.secret);
}

/* What must be the same on all servers, and where etcd is. */
static char *settings(struct cluster *c, struct arena *a) {
    const struct apiserver_options *o = c->config.apiserver;
    const char *own = etcd_url(a, c->state.address, c->state.client_port);
    pthread_mutex_lock(&c->mutex);
    const char *members = *c->servers ? arena_printf(a, "%s,%s", own, c->servers) : own;
    pthread_mutex_unlock(&c->mutex);
    const struct { const char *name, *value; } all[] = {{"members", members}, {"service-cluster-ip-range", o->service_cluster_ip_range}, {"service-node-port-range", c->config.node_ports},
        {"cluster-cidr", c->config.cluster_cidr}, {"etcd-prefix", o->etcd_prefix}};
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        buf_printf(&out, "%s\"%s\":", i ? "," : "{", all[i].name);
        json_write_string(&out, all[i].value);
    }
    buf_append_char(&out, '}');
    return arena_strndup(a, out.data, out.len);
}

bool cluster_handle(struct http_request *req, void *ctx) {
    struct cluster *c = ctx;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (strcmp(req->method, "GET") != 0 || strcmp(req->path, "/ckube/join") != 0) return false;
    if (!authorized(c, req)) {
        log_warning("%s asked for the cluster's keys without the right token", req->peer);
        respond(req, 401, "text/plain", "the token is not this cluster's\n");
        return true;
    }
    char *bundle = cluster_bundle(req->arena, c->data_dir, settings(c, req->arena), &err);
    log_info("%s was given the cluster's keys, to join", req->peer);
    respond(req, bundle ? 200 : 500, "application/json", bundle ? bundle : status_message(&err));
    return true;
}

bool cluster_handle_status(struct http_request *req, void *ctx) {
    struct cluster *c = ctx;
    if (strcmp(req->method, "GET") != 0 || strcmp(req->path, "/ckube/status") != 0) return false;
    pthread_mutex_lock(&c->mutex);
    char *text = c->overview ? arena_strdup(req->arena, c->overview) : NULL;
    pthread_mutex_unlock(&c->mutex);
    respond(req, text ? 200 : 503, text ? "application/json" : "text/plain", text ? text : "no member of etcd answers\n");
    return true;
}
