/* `ckube status`: a cluster at a glance. Ends with 1 when something is not as it should be.
 *
 * In the data folder of a cluster's server etcd's members are asked themselves, so that it tells the truth also while no apiserver serves; from elsewhere an apiserver is asked
 * for what it knows of them (/ckube/status). Leases and Nodes come from an apiserver in any case. Tests: tests/integration/test_ha.py. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/str.h"
#include "client/client.h"
#include "client/kubeconfig.h"
#include "cmd/cluster.h"
#include "cmd/cluster_overview.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "wire/http_client.h"
#include "wire/json.h"

struct status_command {
    struct arena *arena;
    const char *data_dir, *kubeconfig, *own; /* own: this server's member, or NULL */
    struct client *client;                   /* NULL: there is no kubeconfig */
    bool wrong;
};

static const char *size_words(struct arena *a, uint64_t bytes) { return bytes < 10 << 20 ? arena_printf(a, "%llu KiB", (unsigned long long)bytes >> 10) : arena_printf(a, "%llu MiB", (unsigned long long)bytes >> 20); }

static const char *get(yyjson_val *v, const char *name) { return str_or(yyjson_get_str(yyjson_obj_get(v, name)), ""); }

static const char *marked(struct status_command *x, const char *name) { return arena_printf(x->arena, "%s%s", *name ? name : "(not started)", x->own && str_eq(name, x->own) ? " *" : ""); }

/* ---- etcd and the apiservers ---- */

static void print_member(struct status_command *x, yyjson_val *m) {
    const char *health = get(m, "health"), *version = get(m, "version");
    x->wrong |= !str_eq(health, "healthy");
    printf("  %-32s %-28s %-9s %s", marked(x, get(m, "name")), get(m, "url"), get(m, "role"), health);
    if (*version)
        printf(", etcd %s, revision %lld, %s (%s in use)", version, (long long)yyjson_get_sint(yyjson_obj_get(m, "revision")), size_words(x->arena, yyjson_get_uint(yyjson_obj_get(m, "bytes"))),
               size_words(x->arena, yyjson_get_uint(yyjson_obj_get(m, "bytesInUse"))));
    printf("\n");
}

/* With the kubeconfig's credentials, whichever server that names. */
static void print_apiserver(struct status_command *x, const char *name, const char *url) {
    struct kubeconfig k;
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *port = strrchr(url, ':'), *host = str_has_prefix(url, "https://") ? url + 8 : NULL, *health = "cannot be asked";
    struct http_reply *r = NULL;
    struct http_client *c = NULL;
    if (host && port > host && kubeconfig_read(x->arena, x->kubeconfig, &k, &err) == 0) {
        bool bracketed = *host == '[';
        k.http.host = arena_strndup(x->arena, host + bracketed, (size_t)(port - host) - 2 * bracketed);
        k.http.port = atoi(port + 1);
        k.http.server_name = k.http.host_header = NULL;
        k.http.connect_timeout_ms = OVERVIEW_HEALTH_MS;
        if ((c = http_client_new(&k.http, &err))) health = http_client_call(c, &(struct http_call){.target = "/readyz", .timeout_ms = OVERVIEW_HEALTH_MS}, &r, &err) != 0 ? "does not answer" : r->code == 200 ? "ready" : "not ready";
    }
    x->wrong |= !str_eq(health, "ready");
    printf("  %-32s %-28s %s\n", marked(x, name), url, health);
    http_reply_free(r);
    http_client_free(c);
}

static void print_overview(struct status_command *x, const char *text) {
    yyjson_doc *doc = json_parse_in(x->arena, text, strlen(text), 0, NULL);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL, *members = yyjson_obj_get(root, "members"), *servers = yyjson_obj_get(root, "apiservers"), *v;
    bool majority = yyjson_get_bool(yyjson_obj_get(root, "majority"));
    size_t i, n;
    x->wrong |= !majority;
    printf("etcd: %zu member%s, %s%s\n", yyjson_arr_size(members), yyjson_arr_size(members) == 1 ? "" : "s", majority ? "a majority answers" : "NO majority: nothing can be written", x->own ? " (* this server)" : "");
    yyjson_arr_foreach(members, i, n, v) print_member(x, v);
    printf("\napiservers:\n");
    yyjson_arr_foreach(servers, i, n, v) print_apiserver(x, get(v, "name"), get(v, "url"));
}

/* NULL with a status: it cannot be told. "" when this is no cluster of servers. */
static char *overview_of_folder(struct status_command *x, const struct cluster_state *state, struct status *reterr) {
    struct etcd_access e = cluster_access(x->arena, x->data_dir, state, true);
    struct etcd_admin *admin = etcd_admin_new(e.servers, e.ca_file, e.cert_file, e.key_file, reterr);
    char *text = admin ? cluster_overview(admin, x->arena, reterr) : NULL;
    etcd_admin_free(admin);
    return text;
}

static char *overview_of_server(struct status_command *x, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    if (client_raw(x->client, "GET", "/ckube/status", NULL, NULL, 0, &body, reterr) == 0) return arena_strndup(x->arena, buf_cstr(&body), body.len);
    return reterr->code == 404 ? arena_strdup(x->arena, "") : NULL;
}

static void print_members(struct status_command *x, bool ask_folder) {
    struct cluster_state state = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    bool known = ask_folder && cluster_state_read(x->arena, x->data_dir, &state, &err) == 0 && state.phase == CLUSTER_MEMBER;
    if (known) x->own = state.name;
    char *text = known ? overview_of_folder(x, &state, &err) : x->client ? overview_of_server(x, &err) : NULL;
    if (text && *text) print_overview(x, text);
    else if (text) printf("database: of this apiserver alone, or an etcd of its own\n");
    else {
        printf("etcd: nothing can be told of it: %s\n", status_message(&err));
        x->wrong = true;
    }
}

/* ---- what the API knows ---- */

static void print_leases(struct status_command *x) {
    struct coordinationv1_LeaseList list;
    _cleanup_status_ struct status err = STATUS_INIT;
    int64_t now_s = env_now_s(env_real());
    printf("\nleaders:\n");
    if (client_list(x->client, x->arena, &coordinationv1_Lease_desc, "kube-system", NULL, &list, &err) != 0) {
        printf("  %s\n", status_message(&err));
        x->wrong = true;
        return;
    }
    LIST_FOREACH(l, &list.items) {
        if (!str_in(l->metadata.name, (const char *const[]){"kube-controller-manager", "kube-scheduler", NULL})) continue;
        int64_t age_s = MAX(now_s - l->spec.renewTime.sec, (int64_t)0);
        bool held = !str_empty(l->spec.holderIdentity) && l->spec.leaseDurationSeconds.has && age_s <= l->spec.leaseDurationSeconds.value;
        x->wrong |= !held;
        if (held) printf("  %-32s %s (renewed %lld s ago)\n", l->metadata.name, l->spec.holderIdentity, (long long)age_s);
        else printf("  %-32s nobody; %s was the last\n", l->metadata.name, str_or(l->spec.holderIdentity, "nobody"));
    }
}

static bool is_ready(const struct corev1_Node *n) {
    LIST_FOREACH(k, &n->status.conditions)
        if (str_eq(k->type, "Ready")) return str_eq(k->status, "True");
    return false;
}

static void print_nodes(struct status_command *x) {
    struct corev1_NodeList list;
    _cleanup_status_ struct status err = STATUS_INIT;
    size_t ready = 0;
    if (client_list(x->client, x->arena, &corev1_Node_desc, NULL, NULL, &list, &err) != 0) {
        printf("\nnodes: %s\n", status_message(&err));
        x->wrong = true;
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
    struct status_command x = {0};
    const struct flag flags[] = {
        {.name = "data-dir", .text = &x.data_dir, .help = "a server's (default: /var/lib/ckube, unless --kubeconfig is given)"},
        {.name = "kubeconfig", .text = &x.kubeconfig, .help = "an apiserver and credentials (default: DATA_DIR/admin.kubeconfig)"},
        {0},
    };
    _cleanup_status_ struct status err = STATUS_INIT;
    int parsed = flags_parse("status", flags, argc, argv);
    if (parsed) return parsed < 0 ? 2 : 0;
    command_block_signals();
    _cleanup_arena_ struct arena *a = x.arena = arena_new();
    bool ask_folder = x.data_dir || !x.kubeconfig;
    if (!x.data_dir) x.data_dir = "/var/lib/ckube";
    if (!x.kubeconfig) x.kubeconfig = arena_printf(a, "%s/admin.kubeconfig", x.data_dir);
    struct transport *t = transport_from_kubeconfig(x.kubeconfig, &err);
    if (t) x.client = client_new(t);
    print_members(&x, ask_folder);
    if (t) {
        print_leases(&x);
        print_nodes(&x);
    } else printf("\n%s\n", status_message(&err));
    client_free(x.client);
    return x.wrong || !t ? 1 : 0;
}
