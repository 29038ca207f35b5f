/* How long RBAC takes to decide: `rbac_bench`. Prints one figure a line, in microseconds of one thread. */
#include <stdio.h>
#include <string.h>
#include "apiserver/rbac/rbac.h"
#include "base/env.h"

enum { BINDINGS = 10000, ROLES = 100, DECISIONS = 200000 };

static void put(struct rbac *c, const char *key, const char *json) { rbac_put(c, key, json, strlen(json)); }

/* 10,000 namespaces, in each a binding of a user of its own, of a group of its own and of everybody, to one of a hundred roles of five rules. */
static struct rbac *fill(struct arena *a) {
    struct rbac *c = rbac_new(NULL, NULL);
    for (int i = 0; i < ROLES; i++)
        put(c, arena_printf(a, "/registry/clusterroles/r%d", i), "{\"rules\":[{\"verbs\":[\"create\"],\"apiGroups\":[\"authorization.k8s.io\"],\"resources\":[\"selfsubjectaccessreviews\"]},"
            "{\"verbs\":[\"get\",\"list\",\"watch\"],\"apiGroups\":[\"apps\"],\"resources\":[\"deployments\",\"statefulsets\",\"daemonsets\"]},{\"verbs\":[\"get\"],\"apiGroups\":[\"batch\"],\"resources\":[\"jobs\"]},"
            "{\"verbs\":[\"*\"],\"apiGroups\":[\"example.com\"],\"resources\":[\"widgets\"]},{\"verbs\":[\"get\",\"list\",\"watch\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"pods/log\",\"services\",\"configmaps\"]}]}");
    for (int i = 0; i < BINDINGS; i++)
        put(c, arena_printf(a, "/registry/rolebindings/ns%d/b", i), arena_printf(a, "{\"metadata\":{\"name\":\"b\",\"namespace\":\"ns%d\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"r%d\"},\"subjects\":"
            "[{\"kind\":\"User\",\"name\":\"u%d\"},{\"kind\":\"Group\",\"name\":\"g%d\"},{\"kind\":\"Group\",\"name\":\"system:authenticated\"}]}", i, i % ROLES, i, i));
    for (int i = 0; i < BINDINGS; i++) /* of one user who is named everywhere */
        put(c, arena_printf(a, "/registry/clusterrolebindings/c%d", i), arena_printf(a, "{\"metadata\":{\"name\":\"c%d\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"r%d\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"everywhere\"}]}", i, i % ROLES));
    return c;
}

static void measure(const char *what, struct rbac *c, const char *name, const char *verb, enum authz_decision want, int decisions) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_arena_ struct arena *names = arena_new();
    struct user_info user = {.name = name};
    for (int i = 0; i < 8; i++) string_list_push(names, &user.groups, arena_printf(names, "team-%d", i));
    string_list_push(names, &user.groups, "system:authenticated");
    struct authz_attributes at = {.user = &user, .resource_request = true, .verb = verb, .namespace = "ns77", .group = "", .resource = "pods", .name = "p"};
    int64_t begin = env_mono_ns(env_real());
    for (int i = 0; i < decisions; i++) {
        const char *reason;
        arena_reset(a);
        CHECK(rbac_decide(c, a, &at, i % 16 ? NULL : &reason) == want);
    }
    printf("%-58s %8.2f us\n", what, (double)(env_mono_ns(env_real()) - begin) / 1e3 / decisions);
}

int main(void) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct rbac *c = fill(a);
    measure("RBAC, 20,000 bindings: allowed in the own namespace", c, "u77", "get", AUTHZ_ALLOW, DECISIONS);
    measure("RBAC, 20,000 bindings: allowed through a group", c, "stranger", "get", AUTHZ_ALLOW, DECISIONS);
    measure("RBAC, 20,000 bindings: not allowed", c, "stranger", "delete", AUTHZ_NO_OPINION, DECISIONS);
    measure("RBAC: a user in 10,000 of them, not allowed", c, "everywhere", "delete", AUTHZ_NO_OPINION, DECISIONS / 1000);
    rbac_free(c);
    return 0;
}
