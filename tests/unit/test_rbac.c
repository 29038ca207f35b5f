/* The RBAC cache and its decisions, what covers what, and that a decision stays quick with ten thousand bindings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "apiserver/rbac/rbac.h"
#include "base/str.h"

static void put(struct rbac *c, const char *key, const char *json) { rbac_put(c, key, json, strlen(json)); }

static struct rbac *sample(void) {
    struct rbac *c = rbac_new(NULL, NULL);
    put(c, "/registry/clusterroles/reader", "{\"rules\":[{\"verbs\":[\"get\",\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"pods/log\",\"*/status\"]}]}");
    put(c, "/registry/clusterroles/one", "{\"rules\":[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"resourceNames\":[\"a\"]}]}");
    put(c, "/registry/clusterroles/paths", "{\"rules\":[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/logs/*\"]}]}");
    put(c, "/registry/roles/ns/all", "{\"rules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]}");
    put(c, "/registry/clusterrolebindings/b1", "{\"metadata\":{\"name\":\"b1\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"reader\"},\"subjects\":[{\"kind\":\"Group\",\"name\":\"devs\"},{\"kind\":\"User\",\"name\":\"ann\"}]}");
    put(c, "/registry/clusterrolebindings/b2", "{\"metadata\":{\"name\":\"b2\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"paths\"},\"subjects\":[{\"kind\":\"Group\",\"name\":\"devs\"}]}");
    put(c, "/registry/clusterrolebindings/sa", "{\"metadata\":{\"name\":\"sa\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"reader\"},\"subjects\":[{\"kind\":\"ServiceAccount\",\"name\":\"bot\"}]}");
    put(c, "/registry/rolebindings/ns/b3", "{\"metadata\":{\"name\":\"b3\",\"namespace\":\"ns\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"all\"},\"subjects\":[{\"kind\":\"ServiceAccount\",\"name\":\"bot\"}]}");
    put(c, "/registry/rolebindings/ns/b4", "{\"metadata\":{\"name\":\"b4\",\"namespace\":\"ns\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"one\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"uno\"}]}");
    put(c, "/registry/rolebindings/ns/b5", "{\"metadata\":{\"name\":\"b5\",\"namespace\":\"ns\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"gone\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"ghost\"}]}");
    put(c, "/registry/rolebindings/ns/b6", "{\"metadata\":{\"name\":\"b6\",\"namespace\":\"ns\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"all\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"odd/U:tail\"}]}");
    return c;
}

static void decisions(void **state UNUSED) {
    static const struct { const char *user, *group, *verb, *ns, *api_group, *resource, *sub, *name, *path; bool allowed; const char *reason; } cases[] = {
        {"ann", NULL, "get", "x", "", "pods", NULL, "p", NULL, true, "RBAC: allowed by ClusterRoleBinding \"b1\" of ClusterRole \"reader\" to User \"ann\""},
        {"ann", "devs", "get", "x", "", "pods", "log", "p", NULL, true, "RBAC: allowed by ClusterRoleBinding \"b1\" of ClusterRole \"reader\" to Group \"devs\""},
        {"ann", NULL, "delete", "x", "", "pods", NULL, "p", NULL, false, ""},
        {"ann", NULL, "get", "x", "apps", "pods", NULL, "p", NULL, false, ""},
        {"ann", NULL, "get", "x", "", "pods", "exec", "p", NULL, false, ""},
        {"ann", NULL, "get", "x", "", "pod", NULL, "p", NULL, false, ""},
        {"ann", NULL, "get", "", "", "nodes", "status", "n", NULL, true, NULL},
        {"an", "dev", "get", "x", "", "pods", NULL, "p", NULL, false, ""},
        {"ann", "devs", "get", NULL, NULL, NULL, NULL, NULL, "/logs/a/b", true, NULL},
        {"ann", "devs", "get", NULL, NULL, NULL, NULL, NULL, "/logs", false, ""},
        {"ann", "devs", "get", NULL, NULL, NULL, NULL, NULL, "/healthz", true, NULL},
        {"ann", "devs", "get", NULL, NULL, NULL, NULL, NULL, "/healthz/x", false, ""},
        {"system:serviceaccount:ns:bot", NULL, "delete", "ns", "apps", "deployments", "scale", "d", NULL, true, "RBAC: allowed by RoleBinding \"b3/ns\" of Role \"all\" to ServiceAccount \"bot/ns\""},
        {"system:serviceaccount:ns:bot", NULL, "delete", "other", "apps", "deployments", NULL, "d", NULL, false, ""},
        {"system:serviceaccount:ns:bot", NULL, "get", "", "", "pods", NULL, "d", NULL, false, ""}, /* a cluster binding to an account without a namespace is for nobody */
        {"system:serviceaccount:n:s:bot", NULL, "get", "ns", "", "pods", NULL, "d", NULL, false, ""},
        {"uno", NULL, "get", "ns", "", "secrets", NULL, "a", NULL, true, NULL},
        {"uno", NULL, "get", "ns", "", "secrets", NULL, "b", NULL, false, ""},
        {"uno", NULL, "get", "ns", "", "secrets", NULL, NULL, NULL, false, ""},
        {"uno", NULL, "get", "other", "", "secrets", NULL, "a", NULL, false, ""},
        {"ghost", NULL, "get", "ns", "", "pods", NULL, "p", NULL, false, "RBAC: role.rbac.authorization.k8s.io \"gone\" not found"},
        {NULL, NULL, "get", "ns", "", "pods", NULL, "p", NULL, false, ""},
        {"tail", NULL, "get", "ns/U:odd", "", "pods", NULL, "p", NULL, false, ""}, /* the index's key is the same as that of the user below */
        {"odd/U:tail", NULL, "get", "ns", "", "pods", NULL, "p", NULL, true, NULL},
    };
    struct rbac *c = sample();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct user_info user = {.name = cases[i].user};
        const char *reason;
        if (cases[i].group) string_list_push(a, &user.groups, cases[i].group);
        struct authz_attributes at = {.user = &user, .resource_request = cases[i].resource != NULL, .verb = cases[i].verb, .namespace = cases[i].ns, .group = cases[i].api_group, .resource = cases[i].resource,
            .subresource = cases[i].sub, .name = cases[i].name, .path = cases[i].path};
        bool allowed = rbac_decide(c, a, &at, &reason) == AUTHZ_ALLOW;
        if (allowed != cases[i].allowed || (cases[i].reason && strcmp(reason, cases[i].reason) != 0)) fail_msg("case %zu: got %d, \"%s\"", i, allowed, reason);
    }
    rbac_free(c);
}

static void changes_count_at_once(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct rbac *c = sample();
    struct user_info user = {.name = "ann"};
    struct authz_attributes at = {.user = &user, .resource_request = true, .verb = "get", .namespace = "x", .group = "", .resource = "pods"};
    assert_int_equal(rbac_decide(c, a, &at, NULL), AUTHZ_ALLOW);
    put(c, "/registry/clusterrolebindings/b1", "{\"metadata\":{\"name\":\"b1\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"reader\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"bob\"}]}");
    assert_int_equal(rbac_decide(c, a, &at, NULL), AUTHZ_NO_OPINION);
    user.name = "bob";
    assert_int_equal(rbac_decide(c, a, &at, NULL), AUTHZ_ALLOW);
    put(c, "/registry/clusterroles/reader", "{\"rules\":null}");
    assert_int_equal(rbac_decide(c, a, &at, NULL), AUTHZ_NO_OPINION);
    put(c, "/registry/clusterroles/reader", "{\"rules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]}");
    assert_int_equal(rbac_decide(c, a, &at, NULL), AUTHZ_ALLOW);
    put(c, "/registry/clusterroles/reader", "{\"rules\":[{\"verbs\":\"x\""); /* damaged: grants nothing */
    assert_int_equal(rbac_decide(c, a, &at, NULL), AUTHZ_NO_OPINION);
    put(c, "/registry/clusterroles/reader", "{\"rules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]}");
    rbac_del(c, "/registry/clusterrolebindings/b1");
    rbac_del(c, "/registry/clusterrolebindings/none");
    assert_int_equal(rbac_decide(c, a, &at, NULL), AUTHZ_NO_OPINION);
    rbac_free(c);
}

static struct rbacv1_PolicyRule_list rules(struct arena *a, const char *json) {
    struct rbacv1_Role *role = ARENA_NEW(a, struct rbacv1_Role);
    const char *text = arena_printf(a, "{\"rules\":%s}", json);
    assert_int_equal(object_decode_json(a, &rbacv1_Role_desc, role, text, strlen(text), NULL, NULL), 0);
    return role->rules;
}

static void what_covers_what(void **state UNUSED) {
    static const struct { const char *owned, *wanted; size_t missing; } cases[] = {
        {"[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]", "[{\"verbs\":[\"get\",\"*\"],\"apiGroups\":[\"\",\"x\"],\"resources\":[\"a\",\"a/b\"],\"resourceNames\":[\"n\"]}]", 0},
        {"[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]", "[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/x\"]}]", 1},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"*/scale\"]}]", "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods/scale\",\"pods\",\"pods/log\"]}]", 2},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":[\"a\"]}]", "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", 1},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":[\"a\"]}]", "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":[\"a\",\"b\"]}]", 1},
        {"[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a/*\"]}]", "[{\"verbs\":[\"get\",\"post\"],\"nonResourceURLs\":[\"/a/b\",\"/a\"]}]", 3},
        {"[]", "[{\"verbs\":[\"get\",\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", 2},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]},{\"verbs\":[\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", "[{\"verbs\":[\"get\",\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", 0},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", "[]", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct rbacv1_PolicyRule_list owned = rules(a, cases[i].owned), wanted = rules(a, cases[i].wanted), missing = rbac_uncovered(a, &owned, &wanted);
        if (missing.len != cases[i].missing) fail_msg("case %zu: %zu missing", i, missing.len);
    }
}

static void ten_thousand_bindings(void **state UNUSED) {
    enum { BINDINGS = 10000, DECISIONS = 2000 };
    _cleanup_arena_ struct arena *a = arena_new();
    struct rbac *c = sample();
    for (int i = 0; i < BINDINGS; i++)
        put(c, arena_printf(a, "/registry/rolebindings/ns%d/b", i), arena_printf(a, "{\"metadata\":{\"name\":\"b\",\"namespace\":\"ns%d\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"reader\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"u%d\"},{\"kind\":\"Group\",\"name\":\"everyone\"}]}", i, i));
    struct user_info user = {.name = "u77"};
    string_list_push(a, &user.groups, "everyone");
    string_list_push(a, &user.groups, "system:authenticated");
    struct authz_attributes at = {.user = &user, .resource_request = true, .verb = "list", .namespace = "ns77", .group = "", .resource = "pods"};
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < DECISIONS; i++) assert_int_equal(rbac_decide(c, a, &at, NULL), AUTHZ_ALLOW);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double us = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / 1e3 / DECISIONS;
    printf("%.2f us a decision with %d bindings\n", us, BINDINGS);
    assert_true(us < 100); /* a linear scan takes a thousand; sanitizers and a busy machine take their share */
    rbac_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(decisions), cmocka_unit_test(changes_count_at_once), cmocka_unit_test(what_covers_what), cmocka_unit_test(ten_thousand_bindings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
