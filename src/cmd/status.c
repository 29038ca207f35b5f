/* `ckube status`: a cluster at a glance.
 *
 * Where the data folder is a cluster's, etcd's members are asked themselves, so that it tells the truth also while no apiserver does; the rest is asked of an apiserver. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/str.h"
#include "client/client.h"
#include "client/kubeconfig.h"
#include "cmd/cluster.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "api/time.h"
#include "wire/http_client.h"
#include "wire/json.h"

enum { HEALTH_MS = 2000 };

struct status_command { struct arena *arena; const char *data_dir, *kubeconfig; bool wrong; };

static const char *size_words(struct arena *a, int64_t bytes) { return bytes < 10 << 20 ? arena_printf(a, "%lld KiB", (long long)bytes >> 10) : arena_printf(a, "%lld MiB", (long long)bytes >> 20); }

/* ---- etcd ---- */

static void print_member(struct status_command *x, struct etcd_admin *admin, const struct etcd_member *m, const char *own) {
    struct etcd_member_status s;
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *name = arena_printf(x->arena, "%s%s", str_or(m->name, "(not started)"), str_eq(m->name, own) ? " *" : "");
    if (str_empty(m->client_url) || etcd_admin_status(admin, m->client_url, &s, &err) != 0) {
        printf("  %-32s %-28s %-9s %s\n", name, str_or(m->client_url, m->peer_url), m->learner ? "learner" : "member", str_empty(m->client_url) ? "never started" : "does not answer");
        x->wrong = true;
        return;
    }
    const char *role = m->learner ? "learner" : s.leader == m->id ? "leader" : s.leader ? "follower" : "no leader";
    const char *health = *s.error ? s.error : !s.leader ? "has no leader" : "healthy";
    x->wrong |= *s.error || !s.leader;
    printf("  %-32s %-28s %-9s %s, etcd %s, revision %lld, %s (%s in use)\n", name, m->client_url, role, health, s.version, (long long)s.revision, size_words(x->arena, s.db_bytes),
           size_words(x->arena, s.db_bytes_in_use));
}

static void print_etcd(struct status_command *x, struct etcd_admin *admin, const char *own) {
    struct etcd_members list;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (etcd_admin_members(admin, x->arena, &list, &err) != 0) {
        printf("etcd: no member answers: %s\n", status_message(&err));
        x->wrong = true;
        return;
    }
    bool quorum = etcd_admin_quorum(admin, HEALTH_MS, NULL, &err) == 0;
    printf("etcd: %zu member%s, %s (* this server)\n", list.len, list.len == 1 ? "" : "s", quorum ? "a majority answers" : "NO majority: nothing can be written");
    x->wrong |= !quorum;
    for (size_t i = 0; i < list.len; i++) print_member(x, admin, &list.items[i], own);
}

static void print_apiserver(struct status_command *x, const char *name, const char *url, const char *ca) {
    struct kubeconfig k;
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *port = strrchr(url, ':'), *host = str_has_prefix(url, "https://") ? url + 8 : url;
    struct http_reply *r = NULL;
    if (kubeconfig_read(x->arena, x->kubeconfig, &k, &err) == 0) {
        struct http_client_options o = k.http;
        bool bracketed = *host == '[';
        o.host = arena_strndup(x->arena, host + bracketed, (size_t)(port - host) - 2 * bracketed);
        o.port = atoi(port + 1);
        o.server_name = NULL;
        o.ca_file = ca ? ca : o.ca_file;
        struct http_client *c = http_client_new(&o, &err);
        if (c && http_client_call(c, &(struct http_call){.target = "/readyz", .timeout_ms = HEALTH_MS}, &r, &err) == 0) {}
        bool ready = r && r->code == 200;
        x->wrong |= !ready;
        printf("  %-32s %-28s %s\n", name, url, ready ? "ready" : r ? "not ready" : "does not answer");
        http_reply_free(r);
        http_client_free(c);
    }
}

static void print_apiservers(struct status_command *x, struct etcd_admin *admin, const char *own) {
    struct etcd_pairs servers;
    if (etcd_admin_list(admin, CLUSTER_SERVERS_KEY, x->arena, &servers, NULL) != 0) return;
    printf("\napiservers:\n");
    for (size_t i = 0; i < servers.len; i++) {
        yyjson_doc *doc = json_parse_in(x->arena, servers.items[i].value, strlen(servers.items[i].value), 0, NULL);
        const char *url = doc ? yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "apiserver")) : NULL, *name = servers.items[i].key + strlen(CLUSTER_SERVERS_KEY);
        if (url) print_apiserver(x, arena_printf(x->arena, "%s%s", name, str_eq(name, own) ? " *" : ""), url, NULL);
    }
}

static void print_members(struct status_command *x) {
    struct cluster_state state;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (cluster_state_read(x->arena, x->data_dir, &state, &err) != 0 || state.phase != CLUSTER_MEMBER) {
        printf("database: %s\n", state.phase == CLUSTER_NONE ? "embedded, or an etcd of its own" : "this server is not of a cluster now");
        return;
    }
    struct etcd_access e = cluster_access(x->arena, x->data_dir, &state, true);
    struct etcd_admin *admin = etcd_admin_new(e.servers, e.ca_file, e.cert_file, e.key_file, &err);
    if (!admin) {
        printf("etcd: %s\n", status_message(&err));
        x->wrong = true;
        return;
    }
    print_etcd(x, admin, state.name);
    print_apiservers(x, admin, state.name);
    etcd_admin_free(admin);
}

/* ---- what the apiserver knows ---- */

static void print_leases(struct status_command *x, struct client *c) {
    struct coordinationv1_LeaseList list;
    _cleanup_status_ struct status err = STATUS_INIT;
    int64_t now_s = env_now_s(env_real());
    printf("\nleaders:\n");
    if (client_list(c, x->arena, &coordinationv1_Lease_desc, "kube-system", NULL, &list, &err) != 0) {
        printf("  %s\n", status_message(&err));
        x->wrong = true;
        return;
    }
    LIST_FOREACH(l, &list.items) {
        if (!str_in(l->metadata.name, (const char *const[]){"kube-controller-manager", "kube-scheduler", NULL})) continue;
        int64_t age_s = now_s - l->spec.renewTime.sec;
        bool held = !str_empty(l->spec.holderIdentity) && l->spec.leaseDurationSeconds.has && age_s <= l->spec.leaseDurationSeconds.value;
        x->wrong |= !held;
        if (held) printf("  %-32s %s (renewed %lld s ago)\n", l->metadata.name, l->spec.holderIdentity, (long long)MAX(age_s, (int64_t)0));
        else printf("  %-32s nobody (%s was the last)\n", l->metadata.name, str_or(l->spec.holderIdentity, "nobody"));
    }
}

static bool is_ready(const struct corev1_Node *n) {
    LIST_FOREACH(k, &n->status.conditions)
        if (str_eq(k->type, "Ready")) return str_eq(k->status, "True");
    return false;
}

static void print_nodes(struct status_command *x, struct client *c) {
    struct corev1_NodeList list;
    _cleanup_status_ struct status err = STATUS_INIT;
    size_t ready = 0;
    if (client_list(c, x->arena, &corev1_Node_desc, NULL, NULL, &list, &err) != 0) {
        printf("\nnodes: %s\n", status_message(&err));
        return;
    }
    LIST_FOREACH(n, &list.items) ready += is_ready(n);
    printf("\nnodes: %zu, %zu ready\n", list.items.len, ready);
    LIST_FOREACH(n, &list.items)
        if (!is_ready(n)) {
            printf("  %-32s not ready\n", n->metadata.name);
            x->wrong = true;
        }
}

int cmd_status(int argc, char **argv) {
    struct status_command x = {.data_dir = "/var/lib/ckube"};
    const struct flag flags[] = {
        {.name = "data-dir", .text = &x.data_dir, .help = "a server's (default: /var/lib/ckube)"},
        {.name = "kubeconfig", .text = &x.kubeconfig, .help = "an apiserver and credentials (default: DATA_DIR/admin.kubeconfig)"},
        {0},
    };
    _cleanup_status_ struct status err = STATUS_INIT;
    int parsed = flags_parse("status", flags, argc, argv);
    if (parsed) return parsed < 0 ? 2 : 0;
    command_block_signals();
    _cleanup_arena_ struct arena *a = x.arena = arena_new();
    if (!x.kubeconfig) x.kubeconfig = arena_printf(a, "%s/admin.kubeconfig", x.data_dir);
    print_members(&x);
    struct transport *t = transport_from_kubeconfig(x.kubeconfig, &err);
    if (!t) {
        printf("\n%s\n", status_message(&err));
        return 1;
    }
    struct client *c = client_new(t);
    print_leases(&x, c);
    print_nodes(&x, c);
    client_free(c);
    return x.wrong ? 1 : 0;
}
