/* Static Pods: manifests in a folder, run without an API server, and shown there as mirrors. Upstream: config/file.go, config/common.go, pod/mirror_client.go. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "kubelet/internal.h"
#include "api/defaults.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { SCAN_MS = 1000, MANIFEST_MAX = 1 << 20 };

/* A UID from the manifest, the node and the file, so that it is the same after a restart and another when the manifest changes. */
static const char *uid_of(struct arena *a, const char *node, const char *path, const char *text) {
    const char *key = arena_printf(a, "%s\n%s\n%s", node, path, text), *again = arena_printf(a, "again\n%s", key);
    return arena_printf(a, "%016llx%016llx", (unsigned long long)hash_bytes(key, strlen(key)), (unsigned long long)hash_bytes(again, strlen(again)));
}

static struct corev1_Pod *manifest_read(struct kubelet *k, struct arena *a, const char *path, struct status *reterr) {
    char *text;
    size_t len;
    _cleanup_buf_ struct buf json = BUF_INIT;
    if (read_file(a, path, MANIFEST_MAX, &text, &len) != 0) {
        status_errno(reterr, path);
        return NULL;
    }
    if (yaml_to_json(text, len, &json, NULL, reterr) != 0) return NULL;
    struct corev1_Pod *p = ARENA_NEW(a, struct corev1_Pod);
    if (object_decode_json(a, &corev1_Pod_desc, p, json.data, json.len, NULL, reterr) != 0) return NULL;
    if (!str_eq(p->kind, "Pod") || str_empty(p->metadata.name) || p->spec.containers.len == 0) {
        status_bad_request(reterr, "%s is not a Pod with a name and containers", path);
        return NULL;
    }
    object_set_defaults(a, &corev1_Pod_desc, p);
    p->metadata.name = arena_printf(a, "%s-%s", p->metadata.name, k->o.node_name);
    if (str_empty(p->metadata.namespace)) p->metadata.namespace = "default";
    if (str_empty(p->metadata.uid)) p->metadata.uid = uid_of(a, k->o.node_name, path, text);
    p->spec.nodeName = k->o.node_name;
    *LIST_PUSH(a, &p->spec.tolerations) = (struct corev1_Toleration){.operator = "Exists", .effect = "NoExecute"};
    string_map_set(a, &p->metadata.annotations, ANNOTATION_CONFIG_SOURCE, "file");
    string_map_set(a, &p->metadata.annotations, ANNOTATION_CONFIG_HASH, p->metadata.uid);
    struct stat st;
    if (stat(path, &st) == 0) {
        struct api_time seen = time_from_s(st.st_mtime);
        _cleanup_buf_ struct buf b = BUF_INIT;
        time_format(&seen, &b);
        string_map_set(a, &p->metadata.annotations, ANNOTATION_CONFIG_SEEN, arena_strdup(a, buf_cstr(&b)));
    }
    return p;
}

/* What the folder looks like: names, sizes, times. */
static uint64_t signature(struct arena *a, const char *dir) {
    uint64_t sum = 1;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' || stat(arena_printf(a, "%s/%s", dir, e->d_name), &st) != 0) continue;
        const char *text = arena_printf(a, "%s %lld %lld.%09ld", e->d_name, (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        sum += hash_bytes(text, strlen(text));
    }
    if (d) closedir(d);
    return sum;
}

static void scan(struct kubelet *k, struct arena *a) {
    struct map *found = map_new();
    DIR *d = opendir(k->o.static_pod_dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        _cleanup_status_ struct status err = STATUS_INIT;
        struct corev1_Pod *p = manifest_read(k, a, arena_printf(a, "%s/%s", k->o.static_pod_dir, e->d_name), &err);
        if (!p) log_error("static Pod: %s", status_message(&err));
        else map_put(found, p->metadata.uid, p);
    }
    if (d) closedir(d);
    struct pod **known = kubelet_pods(k);
    for (size_t i = 0; known[i]; i++)
        if (known[i]->is_static && !map_has(found, known[i]->obj->metadata.uid)) kubelet_pod_removed(k, known[i]->obj->metadata.uid);
    for (size_t i = 0; known[i]; i++) map_del(found, known[i]->obj->metadata.uid);
    kubelet_pods_free(known);
    void *value;
    for (size_t i = 0; map_next(found, &i, NULL, &value);) kubelet_pod_set(k, value, true);
    map_free(found);
}

void *static_pods_thread(void *arg) {
    struct kubelet *k = arg;
    uint64_t last = 0;
    for (int64_t wait = 0; !kubelet_sleep_ms(k, wait); wait = SCAN_MS) {
        _cleanup_arena_ struct arena *a = arena_new();
        uint64_t now = signature(a, k->o.static_pod_dir);
        if (now != last) scan(k, a);
        last = now;
        pthread_mutex_lock(&k->mutex);
        k->static_synced = true;
        pthread_mutex_unlock(&k->mutex);
    }
    return NULL;
}

void mirror_pod_sync(struct kubelet *k, const struct pod *p) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Pod have = {0};
    const char *hash = string_map_get(&p->obj->metadata.annotations, ANNOTATION_CONFIG_HASH);
    if (api_get(k, a, &corev1_Pod_desc, p->obj->metadata.namespace, p->obj->metadata.name, &have, &err) == 0) {
        if (str_eq(string_map_get(&have.metadata.annotations, ANNOTATION_CONFIG_MIRROR), hash) && !have.metadata.deletionTimestamp.set) return;
        if (!pod_is_mirror(&have) || api_pod_delete(k, have.metadata.namespace, have.metadata.name, have.metadata.uid, 0, NULL) != 0) return;
    } else if (!status_is(&err, 404) && !status_is(&err, 403)) { /* a node may not ask for Pods that are not its own, and so for none that is not there */
        return;
    }
    struct corev1_Pod *m = object_copy(a, &corev1_Pod_desc, p->obj);
    m->metadata.uid = NULL;
    m->metadata.resourceVersion = NULL;
    m->status = (struct corev1_PodStatus){0};
    string_map_set(a, &m->metadata.annotations, ANNOTATION_CONFIG_MIRROR, hash);
    pthread_mutex_lock(&k->mutex);
    if (k->node) {
        struct metav1_OwnerReference *o = LIST_PUSH(a, &m->metadata.ownerReferences);
        *o = (struct metav1_OwnerReference){.apiVersion = "v1", .kind = "Node", .name = k->o.node_name, .uid = arena_strdup(a, k->node->metadata.uid), .controller = OPT(true)};
    }
    pthread_mutex_unlock(&k->mutex);
    if (api_create(k, a, &corev1_Pod_desc, m, NULL, &err) != 0) log_warning("mirror of %s: %s", m->metadata.name, status_message(&err));
}

void mirror_pod_delete(struct kubelet *k, const char *ns, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Pod have = {0};
    if (api_get(k, a, &corev1_Pod_desc, ns, name, &have, NULL) != 0 || !pod_is_mirror(&have)) return;
    /* One of a newer manifest may be there already. */
    struct pod *now = kubelet_pod_find(k, ns, name);
    if (!now) api_pod_delete(k, ns, name, have.metadata.uid, 0, NULL);
    pod_unref(now);
}
