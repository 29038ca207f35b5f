/* etcd's own tools: see etcd_tools.h. */
#include "cmd/etcd_tools.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/str.h"
#include "cmd/program.h"
#include "store/etcd/admin.h"
#include "wire/json.h"

enum { RESTORE_TIMEOUT_MS = 300000, CHECK_TIMEOUT_MS = 60000 };

static const char *const api3[] = {"ETCDCTL_API=3", NULL};

static const char *tool(struct arena *a, const char *first, const char *second, struct status *reterr) {
    const char *path = program_find(a, first);
    if (!path && second) path = program_find(a, second);
    if (!path) status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s is not installed (Debian: apt install etcd-client)", second ? second : first);
    return path;
}

static int file_size(const char *path, struct etcd_report *ret, struct status *reterr) {
    struct stat st;
    if (stat(path, &st) != 0) return status_errno(reterr, path);
    ret->bytes = (uint64_t)st.st_size;
    return 0;
}

/* The sum says whether it is whole; what is in it, only etcd's tools can tell. */
int etcd_snapshot_check(const char *path, struct etcd_report *ret, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf out = BUF_INIT;
    struct etcd_report report = {0};
    if (etcd_snapshot_verify(path, reterr) != 0 || file_size(path, &report, reterr) != 0) return -1;
    const char *program = tool(a, "etcdutl", "etcdctl", NULL);
    if (program) {
        const char *argv[] = {program, "snapshot", "status", path, "--write-out=json", NULL};
        if (program_run(argv, api3, CHECK_TIMEOUT_MS, &out, reterr) != 0) return -1;
        yyjson_doc *doc = json_parse_in(a, out.data, out.len, 0, reterr);
        if (!doc) return -1;
        yyjson_val *root = yyjson_doc_get_root(doc);
        report.revision = yyjson_get_uint(yyjson_obj_get(root, "revision"));
        report.keys = yyjson_get_uint(yyjson_obj_get(root, "totalKey"));
    }
    if (ret) *ret = report;
    return 0;
}

int etcd_snapshot_save(const struct etcd_access *etcd, const char *path, struct etcd_report *ret, struct status *reterr) {
    struct etcd_admin *admin = etcd_admin_new(etcd->servers, etcd->ca_file, etcd->cert_file, etcd->key_file, reterr);
    int rc = admin ? etcd_admin_snapshot(admin, path, reterr) : -1;
    etcd_admin_free(admin);
    return rc == 0 ? etcd_snapshot_check(path, ret, reterr) : -1;
}

int etcd_snapshot_restore(const char *path, const char *dir, const char *name, const char *peer_url, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *program = tool(a, "etcdutl", "etcdctl", reterr);
    if (!program) return -1;
    const char *argv[] = {program, "snapshot", "restore", path, "--data-dir", dir, "--name", name, "--initial-cluster", arena_printf(a, "%s=%s", name, peer_url), "--initial-advertise-peer-urls", peer_url, NULL};
    return program_run(argv, api3, RESTORE_TIMEOUT_MS, NULL, reterr);
}
