/* CertificateSigningRequests are approved, signed and removed. */
#include "controller_test.h"
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include "cmd/node_join.h"
#include "wire/json.h"
#include "wire/x509_csr.h"

#define CSR(n) "/apis/certificates.k8s.io/v1/certificatesigningrequests/" n
#define ALL "certificatesigningrequest-approving-controller,certificatesigningrequest-signing-controller,certificatesigningrequest-cleaner-controller"

/* In PEM; alt: "DNS:a", or NULL. */
static void make_request(const char *cn, const char *org, const char *alt, struct buf *out) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_REQ *req = X509_REQ_new();
    X509_NAME *name = X509_REQ_get_subject_name(req);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)org, -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_REQ_set_pubkey(req, key);
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    if (alt) {
        extensions = sk_X509_EXTENSION_new_null();
        sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alt));
        X509_REQ_add_extensions(req, extensions);
        sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    }
    X509_REQ_sign(req, key, EVP_sha256());
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_REQ(bio, req);
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    buf_append(out, data, (size_t)n);
    BIO_free(bio);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
}

static void create(struct cluster *k, const char *name, const char *signer, const char *cn, const char *alt, const char *auth, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf pem = BUF_INIT, text = BUF_INIT;
    make_request(cn, "system:nodes", alt, &pem);
    base64_encode(&text, (const unsigned char *)pem.data, pem.len);
    cluster_create(k, arena_printf(a, "{'apiVersion':'certificates.k8s.io/v1','kind':'CertificateSigningRequest','metadata':{'name':'%s'},'spec':{'request':'%s','signerName':'%s','usages':['digital signature','%s']%s}}",
        name, buf_cstr(&text), signer, auth, more));
}

static int64_t end_of(struct cluster *k, const char *target) {
    _cleanup_arena_ struct arena *a = arena_new();
    char *text = cluster_get(k, a, target, "status.certificate");
    unsigned char *pem;
    size_t len;
    assert_int_equal(base64_decode(a, text, strlen(text), &pem, &len, NULL), 0);
    return x509_not_after(pem, len);
}

static void approve_by_hand(struct cluster *k, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(k, arena_printf(a, CSR("%s/approval"), name), "{'status':{'conditions':[{'type':'Approved','status':'True','reason':'ByHand','message':'m'}]}}");
}

static bool is_signed(struct cluster *k, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    return *cluster_get(k, a, arena_printf(a, CSR("%s"), name), "status.certificate") != 0;
}

static void wait_signed(struct cluster *k, const char *name) {
    for (int i = 0; i < 6000 && !is_signed(k, name); i++) env_sleep_ms(env_real(), 10);
    assert_true(is_signed(k, name));
}

static void a_kubelets_client_certificate_is_approved_and_signed(void **state UNUSED) {
    struct cluster *k = cluster_start(ALL);
    create(k, "n", "kubernetes.io/kube-apiserver-client-kubelet", "system:node:n", NULL, "client auth", ",'expirationSeconds':3600");
    cluster_expect(k, CSR("n"), "status.conditions[type=Approved].reason", "AutoApproved");
    cluster_expect(k, CSR("n"), "status.conditions[type=Approved].message", "Auto approving kubelet client certificate after SubjectAccessReview.");
    wait_signed(k, "n");
    int64_t left = end_of(k, CSR("n")) - env_now_s(&k->env);
    assert_true(left > 3500 && left <= 3600);
    cluster_advance(k, 3601 * 1000); /* past its end, and the cleaner's hour */
    cluster_expect_gone(k, CSR("n"));
    cluster_stop(k);
}

static void others_wait_for_approval_and_must_suit_their_signer(void **state UNUSED) {
    struct cluster *k = cluster_start(ALL);
    create(k, "serving", "kubernetes.io/kubelet-serving", "system:node:n", "DNS:n,IP:10.0.0.1", "server auth", "");
    create(k, "nameless", "kubernetes.io/kubelet-serving", "system:node:n", NULL, "server auth", "");
    create(k, "client", "kubernetes.io/kube-apiserver-client", "me", NULL, "client auth", "");
    create(k, "foreign", "example.com/signer", "me", NULL, "client auth", "");
    cluster_expect_still(k, CSR("serving"), "status.conditions", "");
    approve_by_hand(k, "serving");
    approve_by_hand(k, "nameless");
    approve_by_hand(k, "client");
    approve_by_hand(k, "foreign");
    wait_signed(k, "serving");
    wait_signed(k, "client");
    cluster_expect(k, CSR("nameless"), "status.conditions[type=Failed].reason", "SignerValidationFailure");
    cluster_expect(k, CSR("nameless"), "status.conditions[type=Failed].message", "DNS or IP subjectAltName is required");
    assert_false(is_signed(k, "foreign"));
    int64_t left = end_of(k, CSR("client")) - env_now_s(&k->env);
    assert_true(left > 364 * 86400 && left <= 365 * 86400);
    cluster_stop(k);
}

/* As a node, or whoever: a request for the node's serving certificate. */
static void ask_as(struct cluster *k, const char *user, const char *group, const char *name, const char *cn, const char *alt) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf pem = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct client *c = client_new(local_transport_new(k->apiserver, user, (const char *const[]){group, NULL}, "test"));
    struct certificatesv1_CertificateSigningRequest *r = object_new(a, &certificatesv1_CertificateSigningRequest_desc);
    make_request(cn, "system:nodes", alt, &pem);
    r->metadata.name = name;
    r->spec.request = (struct bytes){(unsigned char *)pem.data, pem.len};
    r->spec.signerName = "kubernetes.io/kubelet-serving";
    string_list_push(a, &r->spec.usages, "digital signature");
    string_list_push(a, &r->spec.usages, "server auth");
    if (client_create(c, a, &certificatesv1_CertificateSigningRequest_desc, r, NULL, &err) != 0) fail_msg("%s: %s", name, status_message(&err));
    client_free(c);
}

static void a_kubelets_serving_certificate_is_approved_for_the_addresses_of_its_node(void **state UNUSED) {
    struct cluster *k = cluster_start(NULL);
    k->options.approve_kubelet_serving = true;
    struct node_join *rights = node_join_start(k->admin, &(struct node_join_settings){.data_dir = k->dir}, NULL);
    assert_non_null(rights);
    cluster_expect(k, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/ckube:kubelet-serving-approver", "roleRef.name", "ckube:kubelet-serving-approver");
    cluster_create(k, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n'}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'other'}}");
    cluster_patch(k, "/api/v1/nodes/n/status", "{'status':{'addresses':[{'type':'InternalIP','address':'10.0.0.1'},{'type':'InternalIP','address':'10.0.0.9'},{'type':'Hostname','address':'n'},{'type':'InternalDNS','address':'n.example.org'}]}}");
    cluster_patch(k, "/api/v1/nodes/other/status", "{'status':{'addresses':[{'type':'InternalIP','address':'10.0.0.2'},{'type':'InternalIP','address':'10.0.0.9'},{'type':'Hostname','address':'other'}]}}");
    k->controllers = arena_strdup(k->arena, ALL ",kubelet-serving-approving-controller");
    cluster_start_controllers(k);
    ask_as(k, "system:node:n", "system:nodes", "good", "system:node:n", "DNS:n,DNS:n.example.org,IP:10.0.0.1");
    ask_as(k, "system:node:n", "system:nodes", "of-another", "system:node:n", "DNS:n,IP:10.0.0.2");
    ask_as(k, "system:node:n", "system:nodes", "of-both", "system:node:n", "IP:10.0.0.9");
    ask_as(k, "system:node:n", "system:nodes", "of-nobody", "system:node:n", "DNS:kubernetes.default.svc,IP:10.0.0.1");
    ask_as(k, "system:node:n", "system:nodes", "an-address-as-a-name", "system:node:n", "DNS:10.0.0.1");
    ask_as(k, "mallory", "system:masters", "not-by-itself", "system:node:n", "DNS:n,IP:10.0.0.1");
    wait_signed(k, "good");
    cluster_expect(k, CSR("good"), "status.conditions[type=Approved].reason", "AutoApproved");
    static const char *const not[] = {CSR("of-another"), CSR("of-both"), CSR("of-nobody"), CSR("an-address-as-a-name"), CSR("not-by-itself")};
    for (size_t i = 0; i < ARRAY_LEN(not); i++) cluster_expect(k, not[i], "status.conditions", "");
    /* What its Node says later counts too. */
    cluster_patch(k, "/api/v1/nodes/other/status", "{'status':{'addresses':[{'type':'InternalIP','address':'10.0.0.2'}]}}");
    wait_signed(k, "of-both");
    cluster_expect(k, CSR("of-another"), "status.conditions", "");
    node_join_stop(rights);
    cluster_stop(k);
}

static void bad_requests_are_refused(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf pem = BUF_INIT, out = BUF_INIT;
    struct status err = STATUS_INIT;
    struct x509_csr x;
    static const char *const texts[] = {"", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) assert_int_equal(x509_csr_parse(a, texts[i], strlen(texts[i]), &x, &err), -1);
    make_request("cn", "org", "DNS:a,email:b@c,URI:https://x,IP:::1,DNS:d", &pem);
    assert_int_equal(x509_csr_parse(a, pem.data, pem.len, &x, &err), 0);
    assert_string_equal(x.common_name, "cn");
    assert_string_equal(x.organizations[0], "org");
    assert_true(x.dns_names == 2 && x.emails == 1 && x.uris == 1 && x.ips == 1);
    static const char *const usages[] = {"flying"};
    assert_int_equal(x509_csr_sign(pem.data, pem.len, "/nonexistent", "/nonexistent", usages, 1, 0, 1, &out, &err), -1);
    assert_int_equal(x509_csr_sign(pem.data, pem.len, "/nonexistent", "/nonexistent", NULL, 0, 0, 1, &out, &err), -1);
    status_release(&err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kubelets_client_certificate_is_approved_and_signed),
        cmocka_unit_test(others_wait_for_approval_and_must_suit_their_signer),
        cmocka_unit_test(a_kubelets_serving_certificate_is_approved_for_the_addresses_of_its_node),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
