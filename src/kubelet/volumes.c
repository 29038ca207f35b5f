/* A Pod's volumes on this node, and how its containers see them: emptyDir, hostPath, configMap, secret, downwardAPI, projected.
 *
 * The worker of the Pod calls volumes_mount at each sync: what is written from API objects is refreshed then, tokens before they expire. Upstream: pkg/volume and
 * pkg/kubelet/volumemanager, whose FailedMount messages these are. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <dirent.h>
#include <unistd.h>
#include "kubelet/internal.h"
#include "base/str.h"

enum { TOKEN_DEFAULT_S = 3600, TMPFS_MODE = 0777 };

static int64_t fs_group(const struct corev1_Pod *p) { return p->spec.securityContext && p->spec.securityContext->fsGroup.has ? p->spec.securityContext->fsGroup.value : -1; }

static const char *plugin_dir(const struct corev1_Volume *v) {
    if (v->emptyDir) return "kubernetes.io~empty-dir";
    if (v->configMap) return "kubernetes.io~configmap";
    if (v->secret) return "kubernetes.io~secret";
    if (v->downwardAPI) return "kubernetes.io~downward-api";
    return "kubernetes.io~projected";
}

const char *volume_path(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Volume *v) {
    if (v->hostPath) return v->hostPath->path;
    return arena_printf(a, "%s/volumes/%s/%s", kubelet_pod_dir(k, a, p->metadata.uid), plugin_dir(v), v->name);
}

/* ---- payloads ---- */

static void payload_add(struct arena *a, struct payload *out, const char *path, const void *data, size_t len, int mode, int64_t uid) {
    LIST_FOREACH(f, out) {
        if (!str_eq(f->path, path)) continue;
        *f = (struct payload_file){f->path, data, len, mode, uid};
        return;
    }
    struct payload_file *f = LIST_PUSH(a, out);
    *f = (struct payload_file){path, data, len, mode, uid};
}

/* The group may read what the owner may, when there is an fsGroup. */
static int file_mode(const struct opt_int32 *own, int fallback) { return own->has ? own->value : fallback; }

struct key_data { const char *key; const void *data; size_t len; };
struct key_list { struct key_data *items; size_t len; };

static int select_keys(struct arena *a, const struct key_list *data, const struct corev1_KeyToPath_list *items, int mode, bool optional, struct payload *out, struct status *reterr) {
    if (items->len == 0) {
        LIST_FOREACH(d, data) payload_add(a, out, d->key, d->data, d->len, mode, -1);
        return 0;
    }
    LIST_FOREACH(item, items) {
        const struct key_data *found = NULL;
        LIST_FOREACH(d, data) if (str_eq(d->key, item->key)) found = d;
        if (found) payload_add(a, out, item->path, found->data, found->len, file_mode(&item->mode, mode), -1);
        else if (!optional) return status_set(reterr, 404, REASON_NOT_FOUND, "references non-existent secret key: %s", item->key);
    }
    return 0;
}

static int config_map_payload(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char *name, const struct corev1_KeyToPath_list *items, bool optional,
                              int mode, struct payload *out, struct status *reterr) {
    struct corev1_ConfigMap cm = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (api_get_named(k, a, &corev1_ConfigMap_desc, "configmap", p->metadata.namespace, name, &cm, &err) != 0) {
        if (optional && status_is(&err, 404)) return 0;
        status_copy(reterr, &err);
        return -1;
    }
    struct key_list data = {0};
    LIST_FOREACH(e, &cm.data) {
        struct key_data *d = LIST_PUSH(a, &data);
        *d = (struct key_data){e->key, str_or(e->value, ""), strlen(str_or(e->value, ""))};
    }
    LIST_FOREACH(e, &cm.binaryData) {
        struct key_data *d = LIST_PUSH(a, &data);
        *d = (struct key_data){e->key, e->value.data, e->value.len};
    }
    if (select_keys(a, &data, items, mode, optional, out, &err) == 0) return 0;
    return status_set(reterr, 404, REASON_NOT_FOUND, "configmap %s", status_message(&err));
}

static int secret_payload(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char *name, const struct corev1_KeyToPath_list *items, bool optional,
                          int mode, struct payload *out, struct status *reterr) {
    struct corev1_Secret secret = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (api_get_named(k, a, &corev1_Secret_desc, "secret", p->metadata.namespace, name, &secret, &err) != 0) {
        if (optional && status_is(&err, 404)) return 0;
        status_copy(reterr, &err);
        return -1;
    }
    struct key_list data = {0};
    LIST_FOREACH(e, &secret.data) {
        struct key_data *d = LIST_PUSH(a, &data);
        *d = (struct key_data){e->key, e->value.data, e->value.len};
    }
    return select_keys(a, &data, items, mode, optional, out, reterr);
}

static int downward_payload(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_DownwardAPIVolumeFile_list *items, int mode,
                            struct payload *out, struct status *reterr) {
    LIST_FOREACH(f, items) {
        const char *value = "";
        if (f->fieldRef && field_ref_value(k, a, p, f->fieldRef->fieldPath, NULL, &value, reterr) != 0) return -1;
        if (f->resourceFieldRef && resource_ref_value(k, a, p, NULL, f->resourceFieldRef, &value, reterr) != 0) return -1;
        payload_add(a, out, f->path, value, strlen(value), file_mode(&f->mode, mode), -1);
    }
    return 0;
}

/* The user that all containers run as, or -1: a token is then theirs alone. */
static int64_t common_user(const struct corev1_Pod *p) {
    int64_t user = -1;
    LIST_FOREACH(c, &p->spec.containers) {
        int64_t own = c->securityContext && c->securityContext->runAsUser.has ? c->securityContext->runAsUser.value
            : p->spec.securityContext && p->spec.securityContext->runAsUser.has ? p->spec.securityContext->runAsUser.value : -1;
        if (own < 0 || (user >= 0 && own != user)) return -1;
        user = own;
    }
    return user;
}

/* A bound token; the one on disk is kept while four fifths of its life are not over. Its times are beside the volume, as the token itself is opaque. */
static int token_payload(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char *dir, const struct corev1_ServiceAccountTokenProjection *t, int mode,
                         struct payload *out, struct status *reterr) {
    int64_t seconds = t->expirationSeconds.has ? t->expirationSeconds.value : TOKEN_DEFAULT_S, user = common_user(p);
    const char *times = arena_printf(a, "%s.%s.expiry", dir, t->path), *current = arena_printf(a, "%s/..data/%s", dir, t->path);
    for (char *s = (char *)(uintptr_t)times + strlen(dir); *s; s++) if (*s == '/') *s = '_';
    mode = fs_group(p) >= 0 || user >= 0 ? 0600 : mode;
    char *text, *token;
    size_t len;
    long long refresh_at = 0;
    if (read_file(a, times, 64, &text, NULL) == 0 && sscanf(text, "%lld", &refresh_at) == 1 && env_now_s(k->env) < refresh_at
        && read_file(a, current, 65536, &token, &len) == 0 && len > 0) {
        payload_add(a, out, t->path, token, len, mode, user);
        return 0;
    }
    struct authenticationv1_TokenRequest req = {0};
    object_set_type_meta(a, &authenticationv1_TokenRequest_desc, &req);
    if (!str_empty(t->audience)) string_list_push(a, &req.spec.audiences, t->audience);
    req.spec.expirationSeconds = (struct opt_int64)OPT(seconds);
    req.spec.boundObjectRef = ARENA_NEW(a, struct authenticationv1_BoundObjectReference);
    *req.spec.boundObjectRef = (struct authenticationv1_BoundObjectReference){.kind = "Pod", .apiVersion = "v1", .name = p->metadata.name, .uid = p->metadata.uid};
    if (api_token_request(k, a, p->metadata.namespace, str_or(p->spec.serviceAccountName, "default"), &req, reterr) != 0) {
        status_wrap(reterr, "failed to fetch token");
        return -1;
    }
    int64_t now = env_now_s(k->env), life = req.status.expirationTimestamp.set ? req.status.expirationTimestamp.sec - now : seconds;
    const char *refresh = arena_printf(a, "%lld\n", (long long)(now + MIN(life * 8 / 10, 24 * 3600)));
    if (write_file(times, refresh, strlen(refresh), 0600, reterr) != 0) return -1;
    payload_add(a, out, t->path, req.status.token, strlen(str_or(req.status.token, "")), mode, user);
    return 0;
}

static int projected_payload(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char *dir, const struct corev1_ProjectedVolumeSource *v, struct payload *out,
                             struct status *reterr) {
    int mode = file_mode(&v->defaultMode, 0644);
    LIST_FOREACH(s, &v->sources) {
        int r = 0;
        if (s->configMap) r = config_map_payload(k, a, p, s->configMap->name, &s->configMap->items, s->configMap->optional.value, mode, out, reterr);
        else if (s->secret) r = secret_payload(k, a, p, s->secret->name, &s->secret->items, s->secret->optional.value, mode, out, reterr);
        else if (s->downwardAPI) r = downward_payload(k, a, p, &s->downwardAPI->items, mode, out, reterr);
        else if (s->serviceAccountToken) r = token_payload(k, a, p, dir, s->serviceAccountToken, mode, out, reterr);
        else r = status_bad_request(reterr, "this kind of projected source is not supported yet");
        if (r != 0) return r;
    }
    return 0;
}

/* ---- mounting ---- */

static bool is_mount_point(const char *dir) {
    struct stat st, up;
    char parent[4096];
    return snprintf(parent, sizeof(parent), "%s/..", dir) < (int)sizeof(parent) && stat(dir, &st) == 0 && stat(parent, &up) == 0 && st.st_dev != up.st_dev;
}

static int tmpfs_mount(const char *dir, const char *size_limit, struct status *reterr) {
    char options[64] = "";
    struct quantity q = quantity_of(size_limit);
    if (q.nanos > 0) snprintf(options, sizeof(options), "size=%lld", (long long)quantity_value(&q));
    if (is_mount_point(dir)) return 0;
    return mount("tmpfs", dir, "tmpfs", MS_RELATIME, options) == 0 ? 0 : status_errno(reterr, dir);
}

static int set_group(const char *dir, int64_t gid, struct status *reterr) {
    if (gid < 0) return 0;
    return chown(dir, (uid_t)-1, (gid_t)gid) == 0 && chmod(dir, 02777) == 0 ? 0 : status_errno(reterr, dir);
}

static int empty_dir_mount(struct arena *a UNUSED, const struct corev1_Pod *p, const char *dir, const struct corev1_EmptyDirVolumeSource *v, struct status *reterr) {
    struct stat st;
    bool fresh = stat(dir, &st) != 0;
    if (make_dirs(dir, 0755, reterr) != 0) return -1;
    if (str_eq(v->medium, "Memory") && tmpfs_mount(dir, v->sizeLimit, reterr) != 0) return -1;
    if (chmod(dir, fs_group(p) >= 0 ? 02777 : 0777) != 0) return status_errno(reterr, dir);
    return fresh ? set_group(dir, fs_group(p), reterr) : 0;
}

static int host_path_check(const struct corev1_HostPathVolumeSource *v, struct status *reterr) {
    struct stat st;
    const char *type = str_or(v->type, "");
    bool there = stat(v->path, &st) == 0;
    if (!there && str_eq(type, "DirectoryOrCreate")) return make_dirs(v->path, 0755, reterr);
    if (!there && str_eq(type, "FileOrCreate")) return write_file(v->path, "", 0, 0644, reterr);
    if (str_eq(type, "")) return 0;
    bool ok = (str_has_prefix(type, "Directory") && there && S_ISDIR(st.st_mode)) || (str_has_prefix(type, "File") && there && S_ISREG(st.st_mode))
        || (str_eq(type, "Socket") && there && S_ISSOCK(st.st_mode)) || (str_eq(type, "CharDevice") && there && S_ISCHR(st.st_mode))
        || (str_eq(type, "BlockDevice") && there && S_ISBLK(st.st_mode));
    if (ok) return 0;
    static const char *const words[][2] = {{"Directory", "a directory"}, {"DirectoryOrCreate", "a directory"}, {"File", "a file"}, {"FileOrCreate", "a file"},
        {"Socket", "a socket file"}, {"CharDevice", "a character device"}, {"BlockDevice", "a block device"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_eq(type, words[i][0])) return status_bad_request(reterr, "hostPath type check failed: %s is not %s", v->path, words[i][1]);
    return status_bad_request(reterr, "hostPath type check failed: %s is an invalid volume type", type);
}

static int volume_mount(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Volume *v, struct status *reterr) {
    const char *dir = volume_path(k, a, p, v);
    if (v->hostPath) return host_path_check(v->hostPath, reterr);
    if (v->emptyDir) return empty_dir_mount(a, p, dir, v->emptyDir, reterr);
    struct payload files = {0};
    int r;
    if (make_dirs(dir, 0755, reterr) != 0) return -1;
    if (v->configMap) r = config_map_payload(k, a, p, v->configMap->name, &v->configMap->items, v->configMap->optional.value, file_mode(&v->configMap->defaultMode, 0644), &files, reterr);
    else if (v->secret) r = secret_payload(k, a, p, v->secret->secretName, &v->secret->items, v->secret->optional.value, file_mode(&v->secret->defaultMode, 0644), &files, reterr);
    else if (v->downwardAPI) r = downward_payload(k, a, p, &v->downwardAPI->items, file_mode(&v->downwardAPI->defaultMode, 0644), &files, reterr);
    else if (v->projected) r = projected_payload(k, a, p, dir, v->projected, &files, reterr);
    else return status_bad_request(reterr, "no volume plugin matched");
    if (r != 0) return -1;
    if ((v->secret || v->projected) && tmpfs_mount(dir, NULL, reterr) != 0) return -1; /* secrets never reach a disk */
    if (set_group(dir, fs_group(p), reterr) != 0) return -1;
    if (fs_group(p) >= 0) LIST_FOREACH(f, &files) f->mode |= (f->mode & 0400) ? 0440 : 0; 
    bool changed;
    return atomic_write(dir, &files, fs_group(p), &changed, reterr);
}

int volumes_mount(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, bool first, struct status *reterr) {
    int result = 0;
    LIST_FOREACH(v, &p->spec.volumes) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (!first && (v->hostPath || v->emptyDir)) continue;
        if (volume_mount(k, a, p, v, &err) == 0) continue;
        event_pod(k, p, NULL, EVENT_WARNING, "FailedMount", "MountVolume.SetUp failed for volume \"%s\" : %s", v->name, status_message(&err));
        if (result == 0) status_copy(reterr, &err);
        result = -1;
    }
    return result;
}

static void unmount_below(const char *dir) {
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[4096];
        if (e->d_name[0] == '.' || snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path)) continue;
        if (is_mount_point(path)) umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    if (d) closedir(d);
}

void volumes_unmount(struct kubelet *k, const char *uid) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *dir = kubelet_pod_dir(k, a, uid), *volumes = arena_printf(a, "%s/volumes", dir);
    DIR *d = opendir(volumes);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') unmount_below(arena_printf(a, "%s/%s", volumes, e->d_name));
    if (d) closedir(d);
    remove_tree(dir);
}

/* ---- what a container sees ---- */

static const char *hosts_file(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct string_list *pod_ips, struct status *reterr) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    const char *hostname, *domain;
    pod_hostname(a, p, k->o.cluster_domain, &hostname, &domain);
    if (p->spec.hostNetwork) {
        char *own = (char *)(uintptr_t)"";
        read_file(a, "/etc/hosts", 1 << 20, &own, NULL);
        buf_printf(&b, "# Kubernetes-managed hosts file (host network).\n%s", own);
    } else {
        buf_append_str(&b, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
                           "fe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        LIST_FOREACH(ip, pod_ips) {
            if (str_empty(domain)) buf_printf(&b, "%s\t%s\n", *ip, hostname);
            else buf_printf(&b, "%s\t%s.%s\t%s\n", *ip, hostname, domain, hostname);
        }
    }
    if (p->spec.hostAliases.len) buf_append_str(&b, "\n# Entries added by HostAliases.\n");
    LIST_FOREACH(alias, &p->spec.hostAliases) {
        buf_append_str(&b, alias->ip);
        LIST_FOREACH(h, &alias->hostnames) buf_printf(&b, "\t%s", *h);
        buf_append_char(&b, '\n');
    }
    const char *path = arena_printf(a, "%s/etc-hosts", kubelet_pod_dir(k, a, p->metadata.uid));
    if (write_file(path, b.data, b.len, 0644, reterr) != 0) return NULL;
    if (fs_group(p) >= 0 && chown(path, (uid_t)-1, (gid_t)fs_group(p)) != 0) return NULL;
    return path;
}

static void mount_add(struct arena *a, Runtime__V1__ContainerConfig *config, const char *host, const char *container, bool readonly, const char *propagation) {
    Runtime__V1__Mount *m = CRI_NEW(a, Mount, mount);
    m->host_path = arena_strdup(a, host);
    m->container_path = arena_strdup(a, container);
    m->readonly = readonly;
    m->propagation = str_eq(propagation, "HostToContainer") ? RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER
        : str_eq(propagation, "Bidirectional") ? RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL : RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE;
    config->mounts[config->n_mounts++] = m;
}

/* The path of a subPath inside the volume; what is missing is made as a folder. Links that lead out of the volume are refused. */
static const char *sub_path(struct arena *a, const struct corev1_VolumeMount *m, const char *volume, const struct env_list *env, struct status *reterr) {
    const char *sub = str_empty(m->subPathExpr) ? m->subPath : env_expand(a, m->subPathExpr, env);
    if (str_empty(sub)) return volume;
    if (sub[0] == '/' || strstr(sub, "..")) {
        status_bad_request(reterr, "subPath \"%s\" must not contain '..' or be absolute", sub);
        return NULL;
    }
    char real_volume[4096], real_sub[4096];
    const char *path = arena_printf(a, "%s/%s", volume, sub);
    if (!realpath(volume, real_volume)) {
        status_errno(reterr, volume);
        return NULL;
    }
    struct stat st;
    if (lstat(path, &st) != 0 && make_dirs(path, 0750, reterr) != 0) return NULL;
    if (!realpath(path, real_sub)) {
        status_errno(reterr, path);
        return NULL;
    }
    size_t n = strlen(real_volume);
    if (strncmp(real_sub, real_volume, n) != 0 || (real_sub[n] != '/' && real_sub[n] != 0)) {
        status_bad_request(reterr, "subPath \"%s\" of volume \"%s\" leads out of the volume", sub, m->name);
        return NULL;
    }
    return arena_strdup(a, real_sub);
}

static int termination_log(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, int restart_count, Runtime__V1__ContainerConfig *config,
                           struct status *reterr) {
    if (str_empty(c->terminationMessagePath)) return 0;
    const char *dir = arena_printf(a, "%s/containers/%s", kubelet_pod_dir(k, a, p->metadata.uid), c->name);
    if (make_dirs(dir, 0750, reterr) != 0) return -1;
    const char *path = arena_printf(a, "%s/%08x", dir, (unsigned)env_random_u64(k->env));
    (void)restart_count;
    if (write_file(path, "", 0, 0666, reterr) != 0) return -1;
    mount_add(a, config, path, c->terminationMessagePath, false, NULL);
    return 0;
}

int container_mounts(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const struct env_list *env,
                     const struct string_list *pod_ips, int restart_count, Runtime__V1__ContainerConfig *config, struct status *reterr) {
    bool own_hosts = false;
    config->mounts = arena_calloc(a, c->volumeMounts.len + 3, sizeof(*config->mounts));
    LIST_FOREACH(m, &c->volumeMounts) {
        const struct corev1_Volume *volume = NULL;
        LIST_FOREACH(v, &p->spec.volumes) if (str_eq(v->name, m->name)) volume = v;
        if (!volume) return status_bad_request(reterr, "cannot find volume \"%s\" to mount into container \"%s\"", m->name, c->name);
        const char *host = sub_path(a, m, volume_path(k, a, p, volume), env, reterr);
        if (!host) return -1;
        struct stat st;
        if (volume->hostPath && str_empty(volume->hostPath->type) && stat(host, &st) != 0 && make_dirs(host, 0755, reterr) != 0) return -1;
        bool readonly = m->readOnly || volume->configMap || volume->secret || volume->projected || volume->downwardAPI;
        mount_add(a, config, host, m->mountPath, readonly, m->mountPropagation);
        own_hosts = own_hosts || str_eq(m->mountPath, "/etc/hosts");
    }
    if (!own_hosts) {
        const char *hosts = hosts_file(k, a, p, pod_ips, reterr);
        if (!hosts) return -1;
        mount_add(a, config, hosts, "/etc/hosts", false, NULL);
    }
    return termination_log(k, a, p, c, restart_count, config, reterr);
}
