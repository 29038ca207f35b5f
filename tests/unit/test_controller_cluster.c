/* Controllers of things that are one of a kind in a cluster: service ranges, admission policies, bootstrap tokens. */
#include "controller_test.h"
#include "api/time.h"
#include "wire/json.h"

#define CIDR(n) "/apis/networking.k8s.io/v1/servicecidrs/" n

static void a_service_range_stays_while_its_addresses_are_used(void **state UNUSED) {
    struct cluster *k = cluster_start("service-cidr-controller");
    cluster_create(k, "{'apiVersion':'networking.k8s.io/v1','kind':'ServiceCIDR','metadata':{'name':'more'},'spec':{'cidrs':['10.200.0.0/24']}}");
    cluster_expect(k, CIDR("more"), "metadata.finalizers", "[\"networking.k8s.io/service-cidr-finalizer\"]");
    cluster_expect(k, CIDR("more"), "status.conditions[type=Ready].status", "True");
    cluster_expect(k, CIDR("more"), "status.conditions[type=Ready].message", "Kubernetes Service CIDR is ready");
    cluster_create(k, "{'apiVersion':'networking.k8s.io/v1','kind':'IPAddress','metadata':{'name':'10.200.0.7'},'spec':{'parentRef':{'resource':'services','namespace':'default','name':'s'}}}");
    env_sleep_ms(env_real(), 200);
    cluster_delete(k, CIDR("more"), NULL);
    cluster_expect(k, CIDR("more"), "status.conditions[type=Ready].reason", "Terminating");
    cluster_delete(k, "/apis/networking.k8s.io/v1/ipaddresses/10.200.0.7", NULL);
    cluster_expect_still(k, CIDR("more"), "metadata.name", "more");
    cluster_advance(k, 11000);
    cluster_expect_gone(k, CIDR("more"));
    cluster_stop(k);
}

static void policies_are_told_that_they_were_seen(void **state UNUSED) {
    struct cluster *k = cluster_start("validatingadmissionpolicy-status-controller");
    cluster_create(k, "{'apiVersion':'admissionregistration.k8s.io/v1','kind':'ValidatingAdmissionPolicy','metadata':{'name':'p'},'spec':{'matchConstraints':{'resourceRules':[{'apiGroups':[''],'apiVersions':['v1'],"
        "'operations':['CREATE'],'resources':['pods']}]},'validations':[{'expression':'true'}]}}");
    cluster_expect(k, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/p", "status", "{\"observedGeneration\":1,\"typeChecking\":{}}");
    cluster_stop(k);
}

static void make_token(struct cluster *k, const char *id, int64_t end_s) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf end = BUF_INIT;
    struct api_time t = {.set = true, .sec = end_s};
    time_format(&t, &end);
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Secret','type':'bootstrap.kubernetes.io/token','metadata':{'name':'bootstrap-token-%s','namespace':'kube-system'},"
        "'stringData':{'token-id':'%s','token-secret':'0123456789abcdef','usage-bootstrap-signing':'true','expiration':'%s'}}", id, id, buf_cstr(&end)));
}

static void tokens_sign_the_clusters_address_until_they_expire(void **state UNUSED) {
    struct cluster *k = cluster_start("token-cleaner-controller,bootstrap-signer-controller");
#define INFO "/api/v1/namespaces/kube-public/configmaps/cluster-info"
    cluster_create(k, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'cluster-info','namespace':'kube-public'},'data':{'kubeconfig':'content','jws-kubeconfig-gone00':'x'}}");
    make_token(k, "abcdef", env_now_s(&k->env) + 100);
    make_token(k, "fedcba", env_now_s(&k->env) + 10000);
    cluster_expect(k, INFO, "data.jws-kubeconfig-abcdef", "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..psz1NayrXM3IaFzKZGsb5n_mBl7MjtlsZ1xE8MRmF_4");
    cluster_expect(k, INFO, "data.jws-kubeconfig-gone00", "");
    cluster_advance(k, 101 * 1000);
    cluster_expect_gone(k, "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef");
    cluster_expect(k, INFO, "data.jws-kubeconfig-abcdef", "");
    cluster_expect_still(k, "/api/v1/namespaces/kube-system/secrets/bootstrap-token-fedcba", "metadata.name", "bootstrap-token-fedcba");
    cluster_stop(k);
}

static void a_secret_gets_the_token_of_its_account_and_goes_with_it(void **state UNUSED) {
    struct cluster *k = cluster_start("serviceaccount-token-controller");
#define SECRET "/api/v1/namespaces/default/secrets/t"
    cluster_create(k, "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'sa','namespace':'default'}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'Secret','type':'kubernetes.io/service-account-token','metadata':{'name':'t','namespace':'default','annotations':{'kubernetes.io/service-account.name':'sa'}}}");
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_expect(k, SECRET, "data.namespace", "ZGVmYXVsdA==");
    cluster_expect(k, SECRET, "metadata.annotations.kubernetes|io/service-account|uid", cluster_get(k, a, "/api/v1/namespaces/default/serviceaccounts/sa", "metadata.uid"));
    unsigned char *token;
    size_t len;
    char *text = cluster_get(k, a, SECRET, "data.token");
    assert_int_equal(base64_decode(a, text, strlen(text), &token, &len, NULL), 0);
    _cleanup_buf_ struct buf answer = BUF_INIT;
    cluster_request(k, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", "application/json",
        cluster_json(a, arena_printf(a, "{'apiVersion':'authentication.k8s.io/v1','kind':'TokenReview','spec':{'token':'%.*s'}}", (int)len, (const char *)token)), &answer, NULL);
    assert_non_null(strstr(buf_cstr(&answer), "\"username\":\"system:serviceaccount:default:sa\""));
    cluster_delete(k, "/api/v1/namespaces/default/serviceaccounts/sa", NULL);
    cluster_expect_gone(k, SECRET);
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_range_stays_while_its_addresses_are_used),
        cmocka_unit_test(policies_are_told_that_they_were_seen),
        cmocka_unit_test(a_secret_gets_the_token_of_its_account_and_goes_with_it),
        cmocka_unit_test(tokens_sign_the_clusters_address_until_they_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
