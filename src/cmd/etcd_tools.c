/* etcd's own tools: see etcd_tools.h. */
#include "cmd/etcd_tools.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/str.h"
#include "cmd/program.h"
#include "wire/json.h"

enum { SAVE_TIMEOUT_MS = 300000, CHECK_TIMEOUT_MS = 60000, ARGS_MAX = 24 };

static const char *const api3[] = {"ETCDCTL_API=3", NULL};

static const char *tool(struct arena *a, const char *first, const char *second, struct status *reterr) {
    const char *path = program_find(a, first);
    if (!path && second) path = program_find(a, second);
    if (!path) status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s is not installed (Debian: apt install etcd-client)", second ? second : first);
    return path;
}

static void access_args(const char **argv, size_t *n, struct arena *a, const struct etcd_access *etcd, const char *server) {
    argv[(*n)++] = arena_printf(a, "--endpoints=%s", server);
    if (etcd->ca_file) argv[(*n)++] = arena_printf(a, "--cacert=%s", etcd->ca_file);
    if (etcd->cert_file) argv[(*n)++] = arena_printf(a, "--cert=%s", etcd->cert_file);
    if (etcd->key_file) argv[(*n)++] = arena_printf(a, "--key=%s", etcd->key_file);
}

int etcd_snapshot_check(const char *path, struct etcd_report *ret, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (access(path, R_OK) != 0) return status_errno(reterr, path);
    const char *program = tool(a, "etcdutl", "etcdctl", reterr);
    if (!program) return -1;
    const char *argv[] = {program, "snapshot", "status", path, "--write-out=json", NULL};
    if (program_run(argv, api3, CHECK_TIMEOUT_MS, &out, reterr) != 0) return -1;
    yyjson_doc *doc = json_parse_in(a, out.data, out.len, 0, reterr);
    if (!doc) return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (ret) *ret = (struct etcd_report){yyjson_get_uint(yyjson_obj_get(root, "revision")), yyjson_get_uint(yyjson_obj_get(root, "totalKey")), yyjson_get_uint(yyjson_obj_get(root, "totalSize"))};
    return 0;
}

/* Saving has no time limit of its own in etcdctl, and waits for a dead server for ever. */
static int answers(struct arena *a, const char *program, const struct etcd_access *etcd, const char *server, struct status *reterr) {
    const char *argv[ARGS_MAX] = {program};
    size_t n = 1;
    access_args(argv, &n, a, etcd, server);
    argv[n++] = "--command-timeout=3s";
    argv[n++] = "endpoint";
    argv[n++] = "health";
    return program_run(argv, api3, CHECK_TIMEOUT_MS, NULL, reterr);
}

int etcd_snapshot_save(const struct etcd_access *etcd, const char *path, struct etcd_report *ret, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *program = tool(a, "etcdctl", NULL, reterr), *tmp = arena_printf(a, "%s.tmp", path);
    char *servers = arena_strdup(a, etcd->servers), *rest = NULL;
    int failed = -1;
    if (!program) return -1;
    if (access(path, F_OK) == 0) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s exists already", path);
    status_set(reterr, 500, REASON_INTERNAL_ERROR, "no etcd server is named");
    for (char *server = strtok_r(servers, ",", &rest); server && failed; server = strtok_r(NULL, ",", &rest)) {
        const char *argv[ARGS_MAX] = {program};
        size_t n = 1;
        if (answers(a, program, etcd, server, reterr) != 0) continue;
        access_args(argv, &n, a, etcd, server);
        argv[n++] = "snapshot";
        argv[n++] = "save";
        argv[n++] = tmp;
        mode_t mask = umask(0077); /* Secrets are in it */
        failed = program_run(argv, api3, SAVE_TIMEOUT_MS, NULL, reterr);
        umask(mask);
    }
    if (!failed) failed = etcd_snapshot_check(tmp, ret, reterr);
    if (!failed && rename(tmp, path) != 0) failed = status_errno(reterr, path);
    if (failed) unlink(tmp);
    else if (reterr) status_release(reterr);
    return failed ? -1 : 0;
}
