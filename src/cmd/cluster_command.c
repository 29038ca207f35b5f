/* `ckube cluster`: a cluster's servers, from one of them: its members, its token, leaving it, removing one that is gone. See cluster.h. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/str.h"
#include "cmd/cluster.h"
#include "cmd/commands.h"
#include "cmd/flags.h"

enum { REMOVE_MS = 30000, RETRY_MS = 500 };

struct command { struct arena *arena; const char *data_dir, *name; struct cluster_state state; };

static int fail(const struct status *err) {
    fprintf(stderr, "ckube cluster: %s\n", status_message(err));
    return 1;
}

static struct etcd_admin *admin_of(struct command *x, bool local, struct status *reterr) {
    struct etcd_access e = cluster_access(x->arena, x->data_dir, &x->state, local);
    return etcd_admin_new(e.servers, e.ca_file, e.cert_file, e.key_file, reterr);
}

static int members(struct command *x) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct etcd_members list;
    struct etcd_admin *admin = admin_of(x, true, &err);
    int rc = admin ? etcd_admin_members(admin, x->arena, &list, &err) : -1;
    for (size_t i = 0; rc == 0 && i < list.len; i++)
        printf("%-40s %-32s %s%s\n", str_or(list.items[i].name, "(not started yet)"), list.items[i].peer_url, list.items[i].learner ? "learner" : "member", str_eq(list.items[i].name, x->state.name) ? ", this server" : "");
    etcd_admin_free(admin);
    return rc == 0 ? 0 : fail(&err);
}

static int token(struct command *x) {
    _cleanup_status_ struct status err = STATUS_INIT;
    char *text = cluster_file_read(x->arena, arena_printf(x->arena, "%s/server/token", x->data_dir), &err);
    if (!text) return fail(&err);
    printf("%s\n", text);
    return 0;
}

/* ---- removing ---- */

static int find(struct command *x, struct etcd_admin *admin, const char *name, struct etcd_members *list, const struct etcd_member **ret, struct status *reterr) {
    *ret = NULL;
    if (etcd_admin_members(admin, x->arena, list, reterr) != 0) return -1;
    for (size_t i = 0; i < list->len; i++)
        if (str_eq(list->items[i].name, name)) *ret = &list->items[i];
    return *ret ? 0 : status_set(reterr, 404, REASON_NOT_FOUND, "the cluster has no member %s: see ckube cluster members", name);
}

/* A leader that goes hands over first, so that writing does not wait for an election. */
static void hand_over(struct etcd_admin *admin, const struct etcd_members *list, const struct etcd_member *from) {
    struct etcd_member_status s;
    for (size_t i = 0; i < list->len; i++) {
        const struct etcd_member *to = &list->items[i];
        if (etcd_admin_status(admin, from->client_url, &s, NULL) != 0 || s.leader != from->id) return;
        if (to->id != from->id && !to->learner && etcd_admin_status(admin, to->client_url, &s, NULL) == 0) etcd_admin_move_leader(admin, from->client_url, to->id, NULL);
    }
}

static int remove_when_it_can_be(struct etcd_admin *admin, uint64_t id, struct status *reterr) {
    int64_t until = env_mono_ns(env_real()) / 1000000 + REMOVE_MS;
    for (;;) {
        if (etcd_admin_remove(admin, id, reterr) == 0) return 0;
        if (!cluster_worth_waiting(reterr) || env_mono_ns(env_real()) / 1000000 > until || !cluster_pause(RETRY_MS)) return -1;
    }
}

static int remove_member(struct command *x, struct etcd_admin *admin, const char *name, struct status *reterr) {
    struct etcd_members list;
    const struct etcd_member *m;
    if (find(x, admin, name, &list, &m, reterr) != 0) return -1;
    if (list.len == 1) return status_bad_request(reterr, "%s is the last member: there is no cluster without it", name);
    if (!str_empty(m->client_url)) hand_over(admin, &list, m);
    if (remove_when_it_can_be(admin, m->id, reterr) != 0) return -1;
    etcd_admin_delete(admin, arena_printf(x->arena, CLUSTER_SERVERS_KEY "%s", name), NULL, NULL);
    return 0;
}

static int remove_other(struct command *x) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!x->name) {
        status_bad_request(&err, "remove: name the member: see ckube cluster members");
        return fail(&err);
    }
    if (str_eq(x->name, x->state.name)) {
        status_bad_request(&err, "%s is this server: ckube cluster leave", x->name);
        return fail(&err);
    }
    struct etcd_admin *admin = admin_of(x, true, &err);
    int rc = admin ? remove_member(x, admin, x->name, &err) : -1;
    etcd_admin_free(admin);
    if (rc == 0) printf("%s is removed from the cluster; if its server runs, it stops\n", x->name);
    return rc == 0 ? 0 : fail(&err);
}

/* Through the other members: our own ends with it. A server that runs here finds out by itself, and stops. */
static int leave(struct command *x) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct etcd_admin *admin = admin_of(x, str_empty(x->state.servers), &err);
    int rc = admin ? remove_member(x, admin, x->state.name, &err) : -1;
    etcd_admin_free(admin);
    if (rc == 0) {
        x->state.phase = CLUSTER_LEFT;
        rc = cluster_state_write(x->data_dir, &x->state, &err);
    }
    if (rc == 0) printf("this server has left the cluster; if it runs, it stops\n");
    return rc == 0 ? 0 : fail(&err);
}

/* ---- the command ---- */

static const struct { const char *name; int (*run)(struct command *); const char *help; } verbs[] = {
    {"members", members, "the members of the cluster's etcd"},
    {"token", token, "what other servers need to join"},
    {"leave", leave, "take this server out of the cluster; it stops"},
    {"remove", remove_other, "NAME  take another server out, which is gone for good"},
};

static int usage(FILE *to) {
    fprintf(to, "usage: ckube cluster VERB [NAME] [--data-dir DIR]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
    return to == stdout ? 0 : 2;
}

int cmd_cluster(int argc, char **argv) {
    struct command x = {.data_dir = "/var/lib/ckube"};
    const struct flag flags[] = {{.name = "data-dir", .text = &x.data_dir, .help = "the server's (default: /var/lib/ckube)"}, {0}};
    _cleanup_status_ struct status err = STATUS_INIT;
    size_t v = 0;
    if (argc < 2) return usage(stderr);
    while (v < ARRAY_LEN(verbs) && !str_eq(argv[1], verbs[v].name)) v++;
    if (v == ARRAY_LEN(verbs)) return usage(str_in(argv[1], (const char *const[]){"--help", "-h", "help", NULL}) ? stdout : stderr);
    int skip = argc > 2 && argv[2][0] != '-' ? 2 : 1;
    if (skip == 2) x.name = argv[2];
    int parsed = flags_parse("cluster", flags, argc - skip, argv + skip);
    if (parsed) return parsed < 0 ? 2 : 0;
    command_block_signals();
    _cleanup_arena_ struct arena *a = x.arena = arena_new();
    if (cluster_state_read(a, x.data_dir, &x.state, &err) != 0) return fail(&err);
    if (x.state.phase == CLUSTER_MEMBER) return verbs[v].run(&x);
    status_bad_request(&err, "the server of %s is not of a cluster", x.data_dir);
    return fail(&err);
}
