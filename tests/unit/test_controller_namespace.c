/* What every namespace gets, and how it goes: default ServiceAccount, root CA, deletion of all content. */
#include "controller_test.h"

#define NS(n) "/api/v1/namespaces/" n
#define NAMES "serviceaccount-controller,root-ca-certificate-publisher-controller,namespace-controller"

static void make_namespace(struct cluster *k, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'%s'}}", name));
}

static void a_namespace_has_its_account_and_the_root_ca_and_gets_them_back(void **state UNUSED) {
    struct cluster *k = cluster_start(NAMES);
    make_namespace(k, "a");
    cluster_expect(k, NS("a/serviceaccounts/default"), "metadata.name", "default");
    cluster_expect(k, NS("a/configmaps/kube-root-ca.crt"), "metadata.annotations.kubernetes|io/description",
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. "
        "No other usage is guaranteed across distributions of Kubernetes clusters.");
    cluster_delete(k, NS("a/serviceaccounts/default"), NULL);
    cluster_expect(k, NS("a/serviceaccounts/default"), "metadata.name", "default");
    cluster_patch(k, NS("a/configmaps/kube-root-ca.crt"), "{'data':{'ca.crt':'wrong','more':'x'}}");
    cluster_expect(k, NS("a/configmaps/kube-root-ca.crt"), "data.more", "");
    cluster_expect_still(k, NS("a/configmaps/kube-root-ca.crt"), "data.more", "");
    cluster_delete(k, NS("a/configmaps/kube-root-ca.crt"), NULL);
    cluster_expect(k, NS("a/configmaps/kube-root-ca.crt"), "metadata.name", "kube-root-ca.crt");
    cluster_stop(k);
}

static void a_deleted_namespace_takes_all_its_content_with_it(void **state UNUSED) {
    struct cluster *k = cluster_start(NAMES);
    make_namespace(k, "a");
    make_namespace(k, "b");
    cluster_create(k, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','namespace':'a'}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','namespace':'b'}}");
    cluster_expect(k, NS("a/serviceaccounts/default"), "metadata.name", "default"); /* without it no Pod can be made */
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'a'},'spec':{'containers':[{'name':'c','image':'i'}]}}");
    cluster_delete(k, NS("a"), NULL);
    cluster_expect_gone(k, NS("a"));
    cluster_expect_gone(k, NS("a/configmaps/c"));
    cluster_expect_gone(k, NS("a/pods/p"));
    cluster_expect(k, NS("b/configmaps/c"), "metadata.name", "c");
    make_namespace(k, "a"); /* a new one of the name begins anew */
    cluster_expect(k, NS("a/serviceaccounts/default"), "metadata.name", "default");
    cluster_stop(k);
}

static void what_holds_a_namespace_is_told_in_its_conditions(void **state UNUSED) {
    static const struct { const char *type, *status, *reason, *message; } want[] = {
        {"NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"},
        {"NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions", "All legacy kube types successfully parsed"},
        {"NamespaceDeletionContentFailure", "False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"},
        {"NamespaceContentRemaining", "True", "SomeResourcesRemain", "Some resources are remaining: configmaps. has 2 resource instances"},
        {"NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", "Some finalizers are remaining: example.com/x in 2 resource instances, example.com/y in 1 resource instances"},
    };
    struct cluster *k = cluster_start(NAMES);
    _cleanup_arena_ struct arena *a = arena_new();
    make_namespace(k, "a");
    cluster_create(k, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','namespace':'a','finalizers':['example.com/x']}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'d','namespace':'a','finalizers':['example.com/x','example.com/y']}}");
    cluster_delete(k, NS("a"), NULL);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        cluster_expect(k, NS("a"), arena_printf(a, "status.conditions[type=%s].status", want[i].type), want[i].status);
        cluster_expect(k, NS("a"), arena_printf(a, "status.conditions[type=%s].reason", want[i].type), want[i].reason);
        cluster_expect(k, NS("a"), arena_printf(a, "status.conditions[type=%s].message", want[i].type), want[i].message);
    }
    cluster_patch(k, NS("a/configmaps/c"), "{'metadata':{'finalizers':null}}");
    cluster_patch(k, NS("a/configmaps/d"), "{'metadata':{'finalizers':null}}");
    cluster_expect(k, NS("a"), "status.phase", "Terminating");
    cluster_advance(k, 8000); /* half of what finalizers are thought to take */
    cluster_expect_gone(k, NS("a"));
    cluster_stop(k);
}

static void pods_go_before_what_they_need(void **state UNUSED) {
    struct cluster *k = cluster_start(NAMES);
    cluster_kubelet(k, KUBELET_HOLDS);
    make_namespace(k, "a");
    cluster_expect(k, NS("a/serviceaccounts/default"), "metadata.name", "default");
    cluster_create(k, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','namespace':'a'}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'a'},'spec':{'containers':[{'name':'c','image':'i'}]}}");
    cluster_expect(k, NS("a/pods/p"), "status.phase", "Running");
    cluster_delete(k, NS("a"), NULL);
    cluster_expect(k, NS("a"), "status.conditions[type=NamespaceContentRemaining].message", "Some resources are remaining: pods. has 1 resource instances");
    cluster_expect_still(k, NS("a/configmaps/c"), "metadata.name", "c");
    cluster_kubelet(k, KUBELET_RUNS); /* the last Pod's end is noticed at once */
    cluster_expect_gone(k, NS("a"));
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_namespace_has_its_account_and_the_root_ca_and_gets_them_back),
        cmocka_unit_test(a_deleted_namespace_takes_all_its_content_with_it),
        cmocka_unit_test(what_holds_a_namespace_is_told_in_its_conditions),
        cmocka_unit_test(pods_go_before_what_they_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
