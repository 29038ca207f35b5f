/* What kubelets may do, against a store whose Pods come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "apiserver/node_authorizer.h"
#include "api/pod_references.h"
#include "base/str.h"
#include "store/store.h"

struct world { char dir[64]; struct store *store; struct node_authorizer *nodes; };

static void put(struct world *w, const char *key, const char *json) {
    struct store_op op = {.key = key, .expect_mod_revision = STORE_ANY, .value = json, .value_len = json ? strlen(json) : 0};
    struct store_result res;
    store_write_wait(w->store, &op, 1, &res);
    assert_int_equal(res.outcome, STORE_OK);
}

static const char *const pod =
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"},\"spec\":{\"nodeName\":\"n1\",\"serviceAccountName\":\"bot\",\"imagePullSecrets\":[{\"name\":\"pull\"}],"
    "\"initContainers\":[{\"name\":\"i\",\"envFrom\":[{\"secretRef\":{\"name\":\"from\"}},{\"configMapRef\":{\"name\":\"cm-from\"}}]}],"
    "\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"env\",\"key\":\"k\"}}},{\"name\":\"F\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cm-env\",\"key\":\"k\"}}}]}],"
    "\"volumes\":[{\"name\":\"a\",\"secret\":{\"secretName\":\"vol\"}},{\"name\":\"b\",\"configMap\":{\"name\":\"cm-vol\"}},{\"name\":\"c\",\"projected\":{\"sources\":[{\"secret\":{\"name\":\"proj\"}},{\"configMap\":{\"name\":\"cm-proj\"}}]}},"
    "{\"name\":\"d\",\"persistentVolumeClaim\":{\"claimName\":\"claim\"}},{\"name\":\"e\",\"ephemeral\":{}},{\"name\":\"f\",\"csi\":{\"driver\":\"x\",\"nodePublishSecretRef\":{\"name\":\"csi\"}}},"
    "{\"name\":\"g\",\"cephfs\":{\"monitors\":[],\"secretRef\":{\"name\":\"ceph\"}}},{\"name\":\"h\",\"azureFile\":{\"secretName\":\"azure\",\"shareName\":\"s\"}}],"
    "\"resourceClaims\":[{\"name\":\"r\",\"resourceClaimName\":\"rc\"},{\"name\":\"t\",\"resourceClaimTemplateName\":\"rt\"}]},\"status\":{\"resourceClaimStatuses\":[{\"name\":\"t\",\"resourceClaimName\":\"rt-1\"}]}}";

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "/tmp/ckube-nodes-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    struct store_options so = {.dir = w->dir, .no_sync = true};
    assert_int_equal(store_open(&so, &w->store, NULL), 0);
    put(w, "/registry/pods/ns/p", pod); /* before: found when it is first asked for */
    w->nodes = node_authorizer_new(w->store, NULL);
    assert_non_null(w->nodes);
    put(w, "/registry/pods/ns/mirror", "{\"metadata\":{\"name\":\"mirror\",\"namespace\":\"ns\",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"nodeName\":\"n2\",\"volumes\":[{\"name\":\"a\",\"secret\":{\"secretName\":\"vol\"}}]}}");
    put(w, "/registry/persistentvolumes/pv", "{\"metadata\":{\"name\":\"pv\"},\"spec\":{\"claimRef\":{\"namespace\":\"ns\",\"name\":\"claim\"},\"csi\":{\"driver\":\"x\",\"volumeHandle\":\"h\",\"nodeStageSecretRef\":{\"name\":\"stage\",\"namespace\":\"vault\"},"
                                              "\"controllerPublishSecretRef\":{\"name\":\"ctl\",\"namespace\":\"vault\"}}}}");
    put(w, "/registry/persistentvolumes/other", "{\"metadata\":{\"name\":\"other\"},\"spec\":{\"claimRef\":{\"namespace\":\"ns\",\"name\":\"unused\"}}}");
    put(w, "/registry/volumeattachments/va", "{\"metadata\":{\"name\":\"va\"},\"spec\":{\"nodeName\":\"n1\"}}");
    put(w, "/registry/resourceslices/sl", "{\"metadata\":{\"name\":\"sl\"},\"spec\":{\"nodeName\":\"n1\"}}");
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    char rm[128];
    node_authorizer_free(w->nodes);
    store_close(w->store);
    snprintf(rm, sizeof(rm), "rm -rf %s", w->dir);
    assert_int_equal(system(rm), 0);
    free(w);
    return 0;
}

static bool may(struct world *w, const char *user, const char *verb, const char *group, const char *resource, const char *sub, const char *ns, const char *name, const char *selector, const char **ret_reason) {
    static char kept[256];
    _cleanup_arena_ struct arena *a = arena_new();
    struct user_info u = {.name = user};
    struct field_selector fs = {0};
    const char *reason = "";
    string_list_push(a, &u.groups, "system:nodes");
    if (selector) assert_int_equal(field_selector_parse(a, selector, &fs, NULL), 0);
    struct authz_attributes at = {.user = &u, .resource_request = true, .verb = verb, .namespace = ns, .group = group, .resource = resource, .subresource = sub, .name = name, .fields = &fs};
    bool yes = node_authorizer_decide(w->nodes, a, &at, &reason) == AUTHZ_ALLOW;
    snprintf(kept, sizeof(kept), "%s", reason);
    if (ret_reason) *ret_reason = kept;
    return yes;
}

static void decisions(void **state) {
    static const struct { const char *node, *verb, *group, *resource, *sub, *ns, *name, *selector; bool allowed; const char *reason; } cases[] = {
#define NO "no relationship found between node 'n1' and this object"
        {"n1", "get", "", "secrets", NULL, "ns", "vol", NULL, true, NULL},    {"n1", "get", "", "secrets", NULL, "ns", "pull", NULL, true, NULL},  {"n1", "get", "", "secrets", NULL, "ns", "env", NULL, true, NULL},
        {"n1", "watch", "", "secrets", NULL, "ns", "from", NULL, true, NULL}, {"n1", "list", "", "secrets", NULL, "ns", "proj", NULL, true, NULL}, {"n1", "get", "", "secrets", NULL, "ns", "csi", NULL, true, NULL},
        {"n1", "get", "", "secrets", NULL, "ns", "ceph", NULL, true, NULL},   {"n1", "get", "", "secrets", NULL, "ns", "azure", NULL, true, NULL}, {"n1", "get", "", "secrets", NULL, "vault", "stage", NULL, true, NULL},
        {"n1", "get", "", "secrets", NULL, "vault", "ctl", NULL, false, NO},  {"n1", "get", "", "secrets", NULL, "ns", "stage", NULL, false, NO},  {"n1", "get", "", "secrets", NULL, "other", "vol", NULL, false, NO},
        {"n1", "get", "", "secrets", NULL, "ns", "else", NULL, false, NO},    {"n1", "list", "", "secrets", NULL, "ns", NULL, NULL, false, "No Object name found"},
        {"n1", "list", "", "secrets", NULL, NULL, NULL, NULL, false, "can only read namespaced object of this type"},
        {"n1", "update", "", "secrets", NULL, "ns", "vol", NULL, false, "can only read resources of this type"}, {"n1", "delete", "", "secrets", NULL, "ns", "vol", NULL, false, "can only read resources of this type"},
        {"n1", "get", "", "secrets", "x", "ns", "vol", NULL, false, "cannot read subresource"},
        {"n2", "get", "", "secrets", NULL, "ns", "vol", NULL, false, "no relationship found between node 'n2' and this object"}, /* its mirror Pod gives it nothing */
        {"n1", "get", "", "configmaps", NULL, "ns", "cm-vol", NULL, true, NULL}, {"n1", "get", "", "configmaps", NULL, "ns", "cm-from", NULL, true, NULL}, {"n1", "get", "", "configmaps", NULL, "ns", "cm-env", NULL, true, NULL},
        {"n1", "get", "", "configmaps", NULL, "ns", "cm-proj", NULL, true, NULL}, {"n1", "get", "", "configmaps", NULL, "ns", "vol", NULL, false, NO}, {"n1", "get", "", "secrets", NULL, "ns", "cm-vol", NULL, false, NO},
        {"n1", "get", "", "persistentvolumeclaims", NULL, "ns", "claim", NULL, true, NULL}, {"n1", "get", "", "persistentvolumeclaims", NULL, "ns", "p-e", NULL, true, NULL},
        {"n1", "patch", "", "persistentvolumeclaims", "status", "ns", "claim", NULL, true, NULL}, {"n1", "update", "", "persistentvolumeclaims", NULL, "ns", "claim", NULL, false, "can only get individual resources of this type"},
        {"n1", "get", "", "persistentvolumes", NULL, NULL, "pv", NULL, true, NULL}, {"n1", "get", "", "persistentvolumes", NULL, NULL, "other", NULL, false, NO}, {"n2", "get", "", "persistentvolumes", NULL, NULL, "pv", NULL, false, NULL},
        {"n1", "get", "resource.k8s.io", "resourceclaims", NULL, "ns", "rc", NULL, true, NULL}, {"n1", "get", "resource.k8s.io", "resourceclaims", NULL, "ns", "rt-1", NULL, true, NULL}, {"n1", "get", "resource.k8s.io", "resourceclaims", NULL, "ns", "rt", NULL, false, NO},
        {"n1", "get", "storage.k8s.io", "volumeattachments", NULL, NULL, "va", NULL, true, NULL}, {"n2", "get", "storage.k8s.io", "volumeattachments", NULL, NULL, "va", NULL, false, NULL},
        {"n1", "delete", "resource.k8s.io", "resourceslices", NULL, NULL, "sl", NULL, true, NULL}, {"n2", "delete", "resource.k8s.io", "resourceslices", NULL, NULL, "sl", NULL, false, NULL},
        {"n1", "list", "resource.k8s.io", "resourceslices", NULL, NULL, NULL, "spec.nodeName=n1", true, NULL}, {"n1", "list", "resource.k8s.io", "resourceslices", NULL, NULL, NULL, NULL, false, NULL},
        {"n1", "create", "", "serviceaccounts", "token", "ns", "bot", NULL, true, NULL}, {"n1", "create", "", "serviceaccounts", "token", "ns", "admin", NULL, false, NO}, {"n1", "create", "", "serviceaccounts", "token", "kube-system", "bot", NULL, false, NO},
        {"n1", "get", "", "serviceaccounts", NULL, "ns", "bot", NULL, false, "can only create tokens for individual service accounts"}, {"n2", "create", "", "serviceaccounts", "token", "ns", "bot", NULL, false, NULL},
        {"n1", "get", "coordination.k8s.io", "leases", NULL, "kube-node-lease", "n1", NULL, true, NULL}, {"n1", "update", "coordination.k8s.io", "leases", NULL, "kube-node-lease", "n2", NULL, false, "can only access node lease with the same name as the requesting node"},
        {"n1", "get", "coordination.k8s.io", "leases", NULL, "kube-system", "n1", NULL, false, "can only access leases in the \"kube-node-lease\" system namespace"}, {"n1", "list", "coordination.k8s.io", "leases", NULL, "kube-node-lease", NULL, NULL, false, NULL},
        {"n1", "get", "storage.k8s.io", "csinodes", NULL, NULL, "n1", NULL, true, NULL}, {"n1", "get", "storage.k8s.io", "csinodes", NULL, NULL, "n2", NULL, false, NULL},
        {"n1", "get", "", "nodes", NULL, NULL, "n1", NULL, true, NULL}, {"n1", "get", "", "nodes", NULL, NULL, "n2", NULL, false, "node 'n1' cannot read 'n2', only its own Node object"}, {"n1", "list", "", "nodes", NULL, NULL, NULL, NULL, false, NULL},
        {"n1", "delete", "", "nodes", NULL, NULL, "n1", NULL, false, NULL}, {"n1", "patch", "", "nodes", "status", NULL, "n1", NULL, true, NULL}, {"n1", "create", "", "nodes", "proxy", NULL, "n1", NULL, false, NULL},
        {"n1", "get", "", "pods", NULL, "ns", "p", NULL, true, NULL}, {"n2", "get", "", "pods", NULL, "ns", "p", NULL, false, NULL}, {"n1", "list", "", "pods", NULL, NULL, NULL, "spec.nodeName=n1", true, NULL},
        {"n1", "list", "", "pods", NULL, NULL, NULL, "spec.nodeName=n2", false, "can only list/watch pods with spec.nodeName field selector"}, {"n1", "watch", "", "pods", NULL, NULL, NULL, "spec.nodeName!=n1", false, NULL},
        {"n1", "create", "", "pods", "exec", "ns", "p", NULL, false, NULL}, {"n1", "patch", "", "pods", "status", "ns", "p", NULL, true, NULL}, {"n1", "update", "", "pods", NULL, "ns", "p", NULL, false, NULL},
        {"n1", "list", "", "services", NULL, NULL, NULL, NULL, true, NULL}, {"n1", "update", "", "services", NULL, "ns", "s", NULL, false, NULL}, {"n1", "get", "apps", "deployments", NULL, "ns", "d", NULL, false, NULL},
        {"n1", "create", "certificates.k8s.io", "certificatesigningrequests", NULL, NULL, NULL, NULL, true, NULL}, {"n1", "create", "authentication.k8s.io", "tokenreviews", NULL, NULL, NULL, NULL, true, NULL},
        {"", "get", "", "nodes", NULL, NULL, "", NULL, false, "unknown node for user \"system:node:\""},
    };
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char user[64];
        const char *reason;
        snprintf(user, sizeof(user), "system:node:%s", cases[i].node);
        bool yes = may(w, user, cases[i].verb, cases[i].group, cases[i].resource, cases[i].sub, cases[i].ns, cases[i].name, cases[i].selector, &reason);
        if (yes != cases[i].allowed || (cases[i].reason && strcmp(reason, cases[i].reason) != 0)) fail_msg("case %zu (%s %s %s): %d, \"%s\"", i, cases[i].verb, cases[i].resource, str_or(cases[i].name, ""), yes, reason);
    }
    assert_false(may(w, "n1", "get", "", "secrets", NULL, "ns", "vol", NULL, NULL)); /* in the group, but no node */
}

static void what_a_node_may_read_goes_with_its_pods(void **state) {
    struct world *w = *state;
    const char *n3 = "system:node:n3";
    assert_false(may(w, n3, "get", "", "secrets", NULL, "ns", "late", NULL, NULL));
    put(w, "/registry/pods/ns/q", "{\"metadata\":{\"name\":\"q\",\"namespace\":\"ns\"},\"spec\":{\"volumes\":[{\"name\":\"a\",\"secret\":{\"secretName\":\"late\"}}]}}");
    assert_false(may(w, n3, "get", "", "secrets", NULL, "ns", "late", NULL, NULL)); /* not bound yet */
    put(w, "/registry/pods/ns/q", "{\"metadata\":{\"name\":\"q\",\"namespace\":\"ns\"},\"spec\":{\"nodeName\":\"n3\",\"volumes\":[{\"name\":\"a\",\"secret\":{\"secretName\":\"late\"}}]}}");
    put(w, "/registry/pods/ns/q2", "{\"metadata\":{\"name\":\"q2\",\"namespace\":\"ns\"},\"spec\":{\"nodeName\":\"n3\",\"volumes\":[{\"name\":\"a\",\"secret\":{\"secretName\":\"late\"}}]}}");
    assert_true(may(w, n3, "get", "", "secrets", NULL, "ns", "late", NULL, NULL));
    put(w, "/registry/pods/ns/q", NULL);
    assert_true(may(w, n3, "get", "", "secrets", NULL, "ns", "late", NULL, NULL)); /* the other one still needs it */
    put(w, "/registry/pods/ns/q2", NULL);
    assert_false(may(w, n3, "get", "", "secrets", NULL, "ns", "late", NULL, NULL));
    put(w, "/registry/persistentvolumes/pv", NULL);
    assert_false(may(w, "system:node:n1", "get", "", "secrets", NULL, "vault", "stage", NULL, NULL));
    assert_false(may(w, "system:node:n1", "get", "", "persistentvolumes", NULL, NULL, "pv", NULL, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(decisions), cmocka_unit_test(what_a_node_may_read_goes_with_its_pods)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
