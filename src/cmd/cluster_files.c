/* Files of a cluster's server: see cluster_files.h. Tests: tests/unit/test_cluster.c. */
#include "cmd/cluster_files.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "cmd/cluster_token.h"
#include "cmd/etcd_process.h"
#include "wire/json.h"
#include "wire/x509.h"

enum { DEPTH_MAX = 32 };
static const char *const phases[] = {"none", "beginning", "joining", "member", "left"};

/* ---- small files ---- */

static int sync_folder(const char *path, struct status *reterr) {
    char folder[4096];
    snprintf(folder, sizeof(folder), "%s", path);
    int fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return status_errno(reterr, path);
    fsync(fd); /* some filesystems cannot: they need not */
    close(fd);
    return 0;
}

int cluster_file_write(const char *path, const char *text, struct status *reterr) {
    if (file_write_secret(path, text, strlen(text), reterr) != 0) return -1;
    return sync_folder(path, reterr);
}

char *cluster_file_read(struct arena *a, const char *path, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (file_read(path, FILE_OPTION_MAX, &text, reterr) != 0) return NULL;
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == ' ')) text.len--;
    return arena_strndup(a, buf_cstr(&text), text.len);
}

static int remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *ftw UNUSED) { return remove(path); }

int cluster_remove_tree(const char *path) { return access(path, F_OK) != 0 && errno == ENOENT ? 0 : nftw(path, remove_one, DEPTH_MAX, FTW_DEPTH | FTW_PHYS); }

/* ---- the member ---- */

static const char *state_path(struct arena *a, const char *data_dir) { return arena_printf(a, "%s/server/member.json", data_dir); }

static const char *text_of(struct arena *a, yyjson_val *root, const char *name) { return arena_strdup(a, str_or(yyjson_get_str(yyjson_obj_get(root, name)), "")); }

int cluster_state_read(struct arena *a, const char *data_dir, struct cluster_state *ret, struct status *reterr) {
    const char *path = state_path(a, data_dir);
    *ret = (struct cluster_state){.phase = CLUSTER_NONE};
    if (access(path, F_OK) != 0 && errno == ENOENT) return 0;
    char *text = cluster_file_read(a, path, reterr);
    yyjson_doc *doc = text ? json_parse_in(a, text, strlen(text), 0, reterr) : NULL;
    if (!doc) {
        status_wrap(reterr, "%s", path);
        return -1;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *phase = text_of(a, root, "phase");
    *ret = (struct cluster_state){.name = text_of(a, root, "name"), .address = text_of(a, root, "address"), .listen = text_of(a, root, "listen"), .servers = text_of(a, root, "servers"),
        .client_port = (int)yyjson_get_int(yyjson_obj_get(root, "clientPort")), .peer_port = (int)yyjson_get_int(yyjson_obj_get(root, "peerPort"))};
    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        if (str_eq(phases[i], phase)) ret->phase = (enum cluster_phase)i;
    if (ret->phase == CLUSTER_NONE || str_empty(ret->name) || str_empty(ret->address) || ret->client_port <= 0 || ret->peer_port <= 0)
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s: it does not say what this server's member is", path);
    return 0;
}

int cluster_state_write(const char *data_dir, const struct cluster_state *s, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf out = BUF_INIT;
    const struct { const char *name, *value; } texts[] = {{"phase", phases[s->phase]}, {"name", s->name}, {"address", s->address}, {"listen", s->listen}, {"servers", s->servers}};
    const char *dir = arena_printf(a, "%s/server", data_dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) return status_errno(reterr, dir);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        buf_printf(&out, "%s\"%s\":", i ? "," : "{", texts[i].name);
        json_write_string(&out, texts[i].value);
    }
    buf_printf(&out, ",\"clientPort\":%d,\"peerPort\":%d}\n", s->client_port, s->peer_port);
    return cluster_file_write(state_path(a, data_dir), buf_cstr(&out), reterr);
}

struct etcd_access cluster_access(struct arena *a, const char *data_dir, const struct cluster_state *s, bool local) {
    const char *own = etcd_url(a, strchr(s->listen, ':') ? "::1" : "127.0.0.1", s->client_port);
    const char *servers = local && !str_empty(s->servers) ? arena_printf(a, "%s,%s", own, s->servers) : local ? own : str_or(s->servers, "");
    return (struct etcd_access){servers, arena_printf(a, "%s/tls/etcd-ca.crt", data_dir), arena_printf(a, "%s/tls/etcd-client.crt", data_dir), arena_printf(a, "%s/tls/etcd-client.key", data_dir)};
}

/* ---- certificates ---- */

static bool is_address(const char *host) { return strspn(host, "0123456789.") == strlen(host) || strchr(host, ':'); }

static int copy_text(struct arena *a, const char *from, const char *to, struct status *reterr) {
    char *text = cluster_file_read(a, from, reterr), *old = text ? cluster_file_read(a, to, NULL) : NULL;
    if (!text) return -1;
    return str_eq(text, old) ? 0 : cluster_file_write(to, arena_printf(a, "%s\n", text), reterr);
}

int cluster_pki_ensure(const char *data_dir, const struct cluster_state *s, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *ca = arena_printf(a, "%s/tls/etcd-ca.crt", data_dir), *ca_key = arena_printf(a, "%s/tls/etcd-ca.key", data_dir);
    const char *peer_ca = arena_printf(a, "%s/tls/etcd-peer-ca.crt", data_dir), *peer_ca_key = arena_printf(a, "%s/tls/etcd-peer-ca.key", data_dir);
    const char *etcd = arena_printf(a, "%s/etcd", data_dir), *tls = arena_printf(a, "%s/etcd/tls", data_dir);
    const char *names[] = {"localhost", is_address(s->address) ? NULL : s->address, NULL}, *ips[6] = {"127.0.0.1", "::1"};
    size_t n = 2;
    if (is_address(s->address) && !str_eq(s->address, ips[0]) && !str_eq(s->address, ips[1])) ips[n++] = s->address;
    if (is_address(s->listen) && !str_eq(s->listen, s->address) && !str_eq(s->listen, "0.0.0.0") && !str_eq(s->listen, "::")) ips[n++] = s->listen;
    if ((mkdir(etcd, 0700) != 0 && errno != EEXIST) || (mkdir(tls, 0700) != 0 && errno != EEXIST)) return status_errno(reterr, tls);
    /* Two authorities: who may read and write keys may not therefore be a member. Members show their serving certificate as clients too, to themselves and to each other. */
    struct x509_request member = {.common_name = s->name, .dns_names = names, .ips = ips, .server = true, .client = true}, client = {.common_name = "kube-apiserver-etcd-client", .client = true};
    if (x509_make_ca(ca, ca_key, "ckube-etcd-ca", reterr) != 0 || x509_make_ca(peer_ca, peer_ca_key, "ckube-etcd-peer-ca", reterr) != 0) return -1;
    if (x509_make_leaf(arena_printf(a, "%s/tls/etcd-client.crt", data_dir), arena_printf(a, "%s/tls/etcd-client.key", data_dir), ca, ca_key, &client, reterr) != 0) return -1;
    if (x509_make_leaf(arena_printf(a, "%s/server.crt", tls), arena_printf(a, "%s/server.key", tls), ca, ca_key, &member, reterr) != 0) return -1;
    if (x509_make_leaf(arena_printf(a, "%s/peer.crt", tls), arena_printf(a, "%s/peer.key", tls), peer_ca, peer_ca_key, &member, reterr) != 0) return -1;
    return copy_text(a, ca, arena_printf(a, "%s/ca.crt", tls), reterr) != 0 ? -1 : copy_text(a, peer_ca, arena_printf(a, "%s/peer-ca.crt", tls), reterr);
}

char *cluster_token_ensure(struct arena *a, const char *data_dir, const char *secret, struct status *reterr) {
    const char *dir = arena_printf(a, "%s/server", data_dir), *path = arena_printf(a, "%s/token", dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        status_errno(reterr, dir);
        return NULL;
    }
    if (access(path, F_OK) == 0) return cluster_file_read(a, path, reterr);
    char *ca = cluster_file_read(a, arena_printf(a, "%s/tls/server-ca.crt", data_dir), reterr), *text = NULL;
    struct cluster_token t = {.secret = secret ? secret : cluster_token_new_secret(a)};
    if (!ca || cluster_ca_hash(ca, t.hash, reterr) != 0) return NULL;
    text = cluster_token_text(a, &t);
    return cluster_file_write(path, arena_printf(a, "%s\n", text), reterr) == 0 ? text : NULL;
}

/* ---- what a joining server gets ---- */

static const char *const bundled[] = {"server-ca.crt", "server-ca.key", "client-ca.crt", "client-ca.key", "request-header-ca.crt", "request-header-ca.key", "service-account.key", "etcd-ca.crt", "etcd-ca.key",
    "etcd-peer-ca.crt", "etcd-peer-ca.key"};

char *cluster_bundle(struct arena *a, const char *data_dir, const char *settings, struct status *reterr) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_str(&out, "{\"files\":{");
    for (size_t i = 0; i < ARRAY_LEN(bundled); i++) {
        char *text = cluster_file_read(a, arena_printf(a, "%s/tls/%s", data_dir, bundled[i]), reterr);
        if (!text) return NULL;
        buf_printf(&out, "%s\"tls/%s\":", i ? "," : "", bundled[i]);
        json_write_string(&out, text);
    }
    buf_printf(&out, "},\"settings\":%s}\n", settings);
    return arena_strndup(a, out.data, out.len);
}

int cluster_bundle_take(struct arena *a, const char *data_dir, const char *text, const char **ret_settings, struct status *reterr) {
    yyjson_doc *doc = json_parse_in(a, text, strlen(text), 0, reterr);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL, *files = yyjson_obj_get(root, "files"), *settings = yyjson_obj_get(root, "settings");
    const char *dir = arena_printf(a, "%s/tls", data_dir);
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (!doc) return -1;
    if (!yyjson_is_obj(settings)) return status_bad_request(reterr, "the cluster's keys came without its settings");
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) return status_errno(reterr, dir);
    for (size_t i = 0; i < ARRAY_LEN(bundled); i++) { /* these names and no others: what comes from there must not choose where it goes */
        const char *pem = yyjson_get_str(yyjson_obj_get(files, arena_printf(a, "tls/%s", bundled[i])));
        if (str_empty(pem)) return status_bad_request(reterr, "the cluster's keys came without %s", bundled[i]);
        if (cluster_file_write(arena_printf(a, "%s/%s", dir, bundled[i]), arena_printf(a, "%s\n", pem), reterr) != 0) return -1;
    }
    json_write_value(&out, settings);
    *ret_settings = arena_strndup(a, out.data, out.len);
    return 0;
}
