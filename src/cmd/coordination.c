/* Coordinated leader election beside an apiserver: see coordination.h. */
#include "cmd/coordination.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "apiserver/local_transport.h"
#include "apiserver/runtime_config.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "client/lease_spread.h"

enum { UUID_LEN = 36 };

struct coordination {
    struct apiserver *apiserver;
    struct client *elector, *acting;
    struct lease_fence *fence;
    struct lease_spread *spread;
};

/* ---- who we are ---- */

const char *coordination_identity(struct arena *a, const char *data_dir, const char *node, struct status *reterr) {
    const char *path = arena_printf(a, "%s/identity", data_dir);
    _cleanup_buf_ struct buf text = BUF_INIT;
    char uuid[UUID_LEN + 1];
    if (access(path, F_OK) == 0) {
        if (file_read(path, FILE_OPTION_MAX, &text, reterr) != 0) return NULL;
        if (text.len >= UUID_LEN) return arena_printf(a, "%s_%.36s", node, buf_cstr(&text));
    }
    env_uuid(env_real(), uuid);
    FILE *f = fopen(path, "we");
    bool ok = f && fprintf(f, "%s\n", uuid) > 0;
    if (f) ok = fclose(f) == 0 && ok;
    if (ok) return arena_printf(a, "%s_%s", node, uuid);
    status_internal(reterr, "%s: cannot be written", path);
    return NULL;
}

const char *coordination_runtime_config(struct arena *a, const char *runtime_config) {
    static const char candidates[] = "coordination.k8s.io/v1beta1=true";
    if (str_empty(runtime_config)) return candidates;
    return strstr(runtime_config, "coordination.k8s.io/v1beta1=") ? runtime_config : arena_printf(a, "%s,%s", candidates, runtime_config);
}

/* ---- what is beside the apiserver ---- */

/* Components fail over between apiservers; to learn of them they read one EndpointSlice, which upstream's roles do not give to all of them. */
static void let_servers_be_read(struct client *c) {
    static const char *const objects[][2] = {
        {"roles", "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"Role\",\"metadata\":{\"name\":\"ckube:apiservers\",\"namespace\":\"default\"},"
                  "\"rules\":[{\"apiGroups\":[\"discovery.k8s.io\"],\"resources\":[\"endpointslices\"],\"resourceNames\":[\"kubernetes\"],\"verbs\":[\"get\",\"list\",\"watch\"]}]}"},
        {"rolebindings", "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"RoleBinding\",\"metadata\":{\"name\":\"ckube:apiservers\",\"namespace\":\"default\"},"
                         "\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"ckube:apiservers\"},\"subjects\":["
                         "{\"kind\":\"Group\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"system:nodes\"},"
                         "{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"system:kube-scheduler\"},"
                         "{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"system:kube-controller-manager\"}]}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_buf_ struct buf answer = BUF_INIT;
        _cleanup_status_ struct status err = STATUS_INIT;
        if (client_raw(c, "POST", arena_printf(a, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/%s", objects[i][0]), NULL, objects[i][1], strlen(objects[i][1]), &answer, &err) != 0 &&
            !status_is(&err, 409)) log_warning("%s ckube:apiservers: %s", objects[i][0], status_message(&err));
    }
}

static bool database_leader(void *ctx, char *ret, size_t size) { return store_leader(apiserver_store(ctx), ret, size); }

struct coordination *coordination_start(struct apiserver *s, const char *identity, const struct leader_election_config *times) {
    static const char *const masters[] = {"system:masters", NULL};
    if (!resource_served(api_resource_find("coordination.k8s.io", "v1beta1", "leasecandidates", NULL))) return NULL;
    struct coordination *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->apiserver = s;
    c->fence = lease_fence_new(env_real());
    c->elector = client_new(local_transport_new(s, "system:apiserver", masters, "leader-election-controller"));
    let_servers_be_read(c->elector);
    c->acting = client_new(lease_fence_transport(c->fence, local_transport_new(s, "system:apiserver", masters, "leader-election-controller")));
    c->spread = lease_spread_start(c->elector, c->acting, c->fence, env_real(), &(struct lease_spread_config){.identity = identity, .times = *times, .database_leader = database_leader, .ctx = s});
    return c;
}

void coordination_stop(struct coordination *c) {
    if (!c) return;
    lease_spread_stop(c->spread);
    c->spread = NULL;
}

void coordination_free(struct coordination *c) {
    if (!c) return;
    client_free(c->elector);
    client_free(c->acting);
    lease_fence_free(c->fence);
    free(c);
}
