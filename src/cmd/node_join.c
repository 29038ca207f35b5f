/* Joining by nodes, the server's part: see node_join.h. */
#include "cmd/node_join.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cluster_files.h"
#include "cmd/cluster_token.h"
#include "wire/json.h"

#define NODES_GROUP "system:bootstrappers:ckube:nodes"
#define RBAC "/apis/rbac.authorization.k8s.io/v1/"
#define ROLE(name, rules) {RBAC "clusterroles", "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRole\",\"metadata\":{\"name\":\"" name "\"},\"rules\":[" rules "]}"}
#define BINDING(name, role, subject) {RBAC "clusterrolebindings", "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRoleBinding\",\"metadata\":{\"name\":\"" name "\"}," \
    "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"" role "\"},\"subjects\":[" subject "]}"}
#define GROUP(name) "{\"kind\":\"Group\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"" name "\"}"
#define ACCOUNT(name) "{\"kind\":\"ServiceAccount\",\"namespace\":\"kube-system\",\"name\":\"" name "\"}"

/* With kubeadm's first three under names of our own; kube-proxy runs as its node; and who approves nodes' serving certificates. */
static const char *const objects[][2] = {
    BINDING("ckube:node-bootstrapper", "system:node-bootstrapper", GROUP(NODES_GROUP)),
    BINDING("ckube:node-autoapprove-bootstrap", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", GROUP(NODES_GROUP)),
    BINDING("ckube:node-autoapprove-certificate-rotation", "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", GROUP("system:nodes")),
    BINDING("ckube:node-proxier", "system:node-proxier", GROUP("system:nodes")),
    ROLE("ckube:agent", "{\"nonResourceURLs\":[\"/ckube/agent\"],\"verbs\":[\"get\"]}"),
    BINDING("ckube:agent", "ckube:agent", GROUP("system:nodes")),
    ROLE("ckube:kubelet-serving-approver",
         "{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":[\"certificatesigningrequests\"],\"verbs\":[\"get\",\"list\",\"watch\"]},"
         "{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":[\"certificatesigningrequests/approval\"],\"verbs\":[\"update\"]},"
         "{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":[\"signers\"],\"resourceNames\":[\"kubernetes.io/kubelet-serving\"],\"verbs\":[\"approve\"]},"
         "{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],\"verbs\":[\"get\",\"list\",\"watch\"]},"
         "{\"apiGroups\":[\"\",\"events.k8s.io\"],\"resources\":[\"events\"],\"verbs\":[\"create\",\"patch\",\"update\"]}"),
    BINDING("ckube:kubelet-serving-approver", "ckube:kubelet-serving-approver", ACCOUNT("kubelet-serving-approver")),
};

enum { RETRY_MS = 1000 };

struct node_join {
    struct client *masters;
    struct arena *arena;
    struct cluster_token token;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping; /* under the mutex */
};

/* Whether it is there now. */
static bool want(struct node_join *j, const char *target, const char *text) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_raw(j->masters, "POST", target, NULL, text, strlen(text), &answer, &err) == 0 || status_is(&err, 409)) return true;
    log_warning("what nodes need to join: %s", status_message(&err));
    return false;
}

/* The file's token, or a new one. */
static char *ensure_token(struct arena *a, const char *data_dir, struct cluster_token *ret, struct status *reterr) {
    const char *dir = arena_printf(a, "%s/server", data_dir), *path = arena_printf(a, "%s/node-token", dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) return status_errno(reterr, dir), NULL;
    char *text = access(path, F_OK) == 0 ? cluster_file_read(a, path, reterr) : NULL, *ca;
    if (text) return node_token_parse(a, text, ret, reterr) == 0 ? text : NULL;
    if (access(path, F_OK) == 0) return NULL;
    *ret = (struct cluster_token){.secret = node_token_new_secret(a)};
    if (!(ca = cluster_file_read(a, arena_printf(a, "%s/tls/server-ca.crt", data_dir), reterr)) || cluster_ca_hash(ca, ret->hash, reterr) != 0) return NULL;
    text = node_token_text(a, ret);
    return cluster_file_write(path, arena_printf(a, "%s\n", text), reterr) == 0 ? text : NULL;
}

static bool want_token(struct node_join *j) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *secret = j->token.secret, *dot = strchr(secret, '.');
    int id = (int)(dot - secret);
    return want(j, "/api/v1/namespaces/kube-system/secrets", arena_printf(a, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"bootstrap-token-%.*s\",\"namespace\":\"kube-system\"},"
        "\"type\":\"bootstrap.kubernetes.io/token\",\"stringData\":{\"token-id\":\"%.*s\",\"token-secret\":\"%s\",\"usage-bootstrap-authentication\":\"true\",\"auth-extra-groups\":\"" NODES_GROUP "\","
        "\"description\":\"by which nodes join: ckube agent --server URL --token ...\"}}", id, secret, id, secret, dot + 1));
}

static bool make_all(struct node_join *j) {
    bool all = true;
    for (size_t i = 0; i < ARRAY_LEN(objects) && all; i++) all = want(j, objects[i][0], objects[i][1]);
    return all && want_token(j);
}

static void *run(void *arg) {
    struct node_join *j = arg;
    pthread_mutex_lock(&j->mutex);
    while (!j->stopping) {
        pthread_mutex_unlock(&j->mutex);
        bool done = make_all(j);
        int64_t until_ns = env_mono_ns(env_real()) + (int64_t)RETRY_MS * 1000000;
        pthread_mutex_lock(&j->mutex);
        if (done) break;
        while (!j->stopping && env_cond_wait(env_real(), &j->cond, &j->mutex, until_ns)) {}
    }
    pthread_mutex_unlock(&j->mutex);
    return NULL;
}

struct node_join *node_join_start(struct client *masters, const struct node_join_settings *settings, struct status *reterr) {
    struct node_join *j = calloc(1, sizeof(*j));
    CHECK(j);
    j->masters = masters;
    j->arena = arena_new();
    if (!ensure_token(j->arena, settings->data_dir, &j->token, reterr)) {
        arena_free(j->arena);
        free(j);
        return NULL;
    }
    pthread_mutex_init(&j->mutex, NULL);
    env_cond_init(&j->cond);
    CHECK(pthread_create(&j->thread, NULL, run, j) == 0);
    return j;
}

void node_join_stop(struct node_join *j) {
    if (!j) return;
    pthread_mutex_lock(&j->mutex);
    j->stopping = true;
    pthread_cond_broadcast(&j->cond);
    pthread_mutex_unlock(&j->mutex);
    pthread_join(j->thread, NULL);
    pthread_cond_destroy(&j->cond);
    pthread_mutex_destroy(&j->mutex);
    arena_free(j->arena);
    free(j);
}

static void respond(struct http_request *req, int code, const char *type, const char *text) {
    const struct http_header headers[] = {{"Content-Type", type}, {"Cache-Control", "no-store"}};
    http_respond(req, code, headers, ARRAY_LEN(headers), &(struct http_slice){.data = text, .len = strlen(text)}, 1);
}

static bool is_get(const struct http_request *req, const char *path) { return strcmp(req->method, "GET") == 0 && strcmp(req->path, path) == 0; }

bool node_join_handle(const struct node_join_settings *settings, struct http_request *req) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!is_get(req, "/ckube/cacerts")) return false; /* public, as a certificate is; the token's hash says whether it is the right one */
    char *pem = cluster_file_read(req->arena, arena_printf(req->arena, "%s/tls/server-ca.crt", settings->data_dir), &err);
    respond(req, pem ? 200 : 500, "text/plain", pem ? pem : "the authority cannot be read\n");
    return true;
}

bool node_join_handle_settings(const struct node_join_settings *settings, struct http_request *req) {
    _cleanup_status_ struct status err = STATUS_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (!is_get(req, "/ckube/agent")) return false;
    char *pem = cluster_file_read(req->arena, arena_printf(req->arena, "%s/tls/client-ca.crt", settings->data_dir), &err);
    buf_append_str(&out, "{\"clusterCIDR\":");
    json_write_string(&out, str_or(settings->cluster_cidr, ""));
    buf_append_str(&out, ",\"clusterDNS\":");
    json_write_string(&out, str_or(settings->cluster_dns, ""));
    buf_append_str(&out, ",\"clientCA\":");
    json_write_string(&out, str_or(pem, ""));
    buf_append_str(&out, "}\n");
    respond(req, pem ? 200 : 500, "application/json", pem ? buf_cstr(&out) : "the authority cannot be read\n");
    return true;
}
