/* The CNI configuration: see cni.h. */
#include "kubelet/cni.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/str.h"
#include "wire/json.h"

static void config_append(const struct cni_options *o, struct buf *b) {
    bool ipv6 = false;
    for (int i = 0; i < o->pod_cidrs_len; i++) ipv6 = ipv6 || strchr(o->pod_cidrs[i], ':');
    buf_append_str(b, "{\"cniVersion\":\"0.4.0\",\"name\":\"ckube\",\"plugins\":[{\"type\":\"bridge\",\"bridge\":");
    json_write_string(b, o->bridge);
    buf_append_str(b, ",\"isGateway\":true,\"hairpinMode\":true,\"ipMasq\":false,\"forceAddress\":true,");
    if (o->mtu) buf_printf(b, "\"mtu\":%d,", o->mtu);
    buf_append_str(b, "\"ipam\":{\"type\":\"host-local\",\"dataDir\":");
    json_write_string(b, o->ipam_dir);
    buf_append_str(b, ",\"ranges\":[");
    for (int i = 0; i < o->pod_cidrs_len; i++) {
        buf_append_str(b, i ? ",[{\"subnet\":" : "[{\"subnet\":");
        json_write_string(b, o->pod_cidrs[i]);
        buf_append_str(b, "}]");
    }
    buf_printf(b, "],\"routes\":[{\"dst\":\"0.0.0.0/0\"}%s]}},", ipv6 ? ",{\"dst\":\"::/0\"}" : "");
    buf_append_str(b, "{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true}}]}\n");
}

int cni_config_write(const struct cni_options *o, struct status *reterr) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    config_append(o, &b);
    char path[4096], temp[4096], old[8192];
    snprintf(path, sizeof(path), "%s/10-ckube.conflist", o->conf_dir);
    snprintf(temp, sizeof(temp), "%s/.10-ckube.conflist.new", o->conf_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, old, sizeof(old));
        close(fd);
        if (n == (ssize_t)b.len && memcmp(old, b.data, b.len) == 0) return 0;
    }
    if (mkdir(o->ipam_dir, 0755) != 0 && errno != EEXIST) return status_errno(reterr, o->ipam_dir);
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return status_errno(reterr, temp);
    bool ok = write(fd, b.data, b.len) == (ssize_t)b.len;
    close(fd);
    if (!ok || rename(temp, path) != 0) return status_errno(reterr, path);
    return 0;
}

static int sysctl_set(const char *name, const char *value, bool must, struct status *reterr) {
    char path[200], now[32] = "";
    snprintf(path, sizeof(path), "/proc/sys/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, now, sizeof(now) - 1);
        close(fd);
        if (n > 0 && strncmp(now, value, strlen(value)) == 0 && now[strlen(value)] == '\n') return 0;
    }
    fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
    if (fd >= 0) close(fd);
    return ok || !must ? 0 : status_errno(reterr, path);
}

int cni_sysctls_apply(struct status *reterr) {
    if (sysctl_set("net/ipv4/ip_forward", "1", true, reterr) != 0) return -1;
    sysctl_set("net/ipv6/conf/all/forwarding", "1", false, NULL);
    sysctl_set("net/bridge/bridge-nf-call-ip6tables", "1", false, NULL);
    /* Without it a Pod that reaches a Pod on its own bridge through a Service gets no answer; a kernel without the module has nothing to set. */
    sysctl_set("net/bridge/bridge-nf-call-iptables", "1", false, NULL);
    return 0;
}
