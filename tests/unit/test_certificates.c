/* Certificates of a data folder: what is made, read, found wanting, renewed and refused; requests, and what they name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include "base/env.h"
#include "base/file.h"
#include "base/str.h"
#include "cmd/certificates.h"
#include "cmd/cluster_files.h"
#include "cmd/pki.h"
#include "wire/json.h"
#include "wire/tls_files.h"
#include "wire/x509.h"
#include "wire/x509_csr.h"
#include "wire/x509_possession.h"

static char dir[64];
static struct arena *a;

static int begin(void **state UNUSED) {
    a = arena_new();
    snprintf(dir, sizeof(dir), "/tmp/ckube-certs-XXXXXX");
    return mkdtemp(dir) && pki_ensure(dir, (const char *const[]){"127.0.0.1", "::1", NULL}, "api.example.org,10.9.8.7", NULL) == 0 ? 0 : -1;
}

static int end(void **state UNUSED) {
    arena_free(a);
    return cluster_remove_tree(dir);
}

static const char *at(const char *name) { return arena_printf(a, "%s/%s", dir, name); }

static struct x509_facts facts(const char *name) {
    struct x509_facts f;
    assert_int_equal(x509_facts_read(a, at(name), &f, NULL), 0);
    return f;
}

static bool has(const char **list, const char *what) {
    for (; *list; list++)
        if (strcmp(*list, what) == 0) return true;
    return false;
}

static void what_is_made_is_well_and_for_its_owner_alone(void **state UNUSED) {
    struct x509_facts f = facts("tls/apiserver.crt"), ca = facts("tls/server-ca.crt"), admin = facts("tls/admin.crt");
    struct stat st;
    assert_string_equal(f.subject, "CN=kube-apiserver");
    assert_string_equal(f.issuer, "CN=ckube-server-ca");
    assert_true(f.server && !f.client && !f.authority && ca.authority);
    assert_true(has(f.dns_names, "kubernetes.default.svc") && has(f.dns_names, "api.example.org") && has(f.ips, "10.9.8.7") && has(f.ips, "::1"));
    assert_string_equal(admin.common_name, "kubernetes-admin");
    assert_string_equal(admin.organizations[0], "system:masters");
    for (size_t i = 0; i < certificates_len; i++) {
        if (!certificate_exists(a, dir, &certificates_all[i])) continue;
        assert_null(certificate_problem(a, dir, &certificates_all[i], env_now_s(env_real())));
        assert_int_equal(stat(at(certificates_all[i].key_file), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void problems_are_told(void **state UNUSED) {
    const struct certificate *c = certificate_find("apiserver");
    struct x509_facts f = facts("tls/apiserver.crt");
    assert_string_equal(certificate_problem(a, dir, c, f.not_after_s), "it has expired");
    assert_string_equal(certificate_problem(a, dir, c, f.not_after_s - 86400), "it expires soon and has not been renewed");
    assert_null(certificate_problem(a, dir, c, f.not_after_s - 31 * 86400));
    assert_non_null(strstr(certificate_problem(a, dir, c, f.not_before_s - 10), "not valid yet"));
    chmod(at(c->key_file), 0644);
    assert_non_null(strstr(certificate_problem(a, dir, c, env_now_s(env_real())), "can be read by others (mode 0644)"));
    assert_int_equal(rename(at("tls/admin.key"), at(c->key_file)), 0);
    assert_string_equal(certificate_problem(a, dir, c, env_now_s(env_real())), "its key is another certificate's");
    assert_string_equal(certificate_problem(a, dir, certificate_find("admin"), env_now_s(env_real())), arena_printf(a, "its key %s is not there", at("tls/admin.key")));
    assert_int_equal(rename(at("tls/client-ca.crt"), at("tls/server-ca.crt")), 0);
    assert_int_equal(certificate_rotate(dir, c, NULL), 0); /* with a key that does not belong to the authority */
    assert_string_equal(certificate_problem(a, dir, c, env_now_s(env_real())), "server-ca has not signed it");
}

static void a_rotated_leaf_says_the_same_with_another_key(void **state UNUSED) {
    struct x509_facts before = facts("tls/apiserver.crt");
    assert_int_equal(pki_write_admin_kubeconfig(dir, at("admin.kubeconfig"), "127.0.0.1", 6443, NULL), 0);
    for (size_t i = 0; i < certificates_len; i++) {
        const struct certificate *c = &certificates_all[i];
        if (!c->authority || !certificate_exists(a, dir, c)) continue;
        assert_int_equal(certificate_rotate(dir, c, NULL), 0);
        assert_null(certificate_problem(a, dir, c, env_now_s(env_real())));
    }
    struct x509_facts after = facts("tls/apiserver.crt");
    assert_string_not_equal(before.fingerprint, after.fingerprint);
    assert_string_equal(before.subject, after.subject);
    assert_true(after.server && !after.client);
    for (const char **n = before.dns_names; *n; n++) assert_true(has(after.dns_names, *n));
    for (const char **n = before.ips; *n; n++) assert_true(has(after.ips, *n));
    assert_string_equal(facts("tls/admin.crt").organizations[0], "system:masters");
    _cleanup_buf_ struct buf config = BUF_INIT, crt = BUF_INIT, base64 = BUF_INIT;
    assert_int_equal(file_read(at("admin.kubeconfig"), 1 << 20, &config, NULL), 0);
    assert_int_equal(file_read(at("tls/admin.crt"), 1 << 20, &crt, NULL), 0);
    base64_encode(&base64, (const unsigned char *)crt.data, crt.len);
    assert_non_null(strstr(buf_cstr(&config), buf_cstr(&base64)));
}

static void authorities_are_not_rotated(void **state UNUSED) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct x509_facts before = facts("tls/server-ca.crt");
    assert_int_equal(certificate_rotate(dir, certificate_find("server-ca"), &err), -1);
    assert_non_null(strstr(status_message(&err), "authorities are not rotated"));
    assert_string_equal(before.fingerprint, facts("tls/server-ca.crt").fingerprint);
    assert_int_equal(certificate_rotate(dir, certificate_find("etcd-peer"), NULL), -1); /* there is none */
    unlink(at("tls/client-ca.key"));
    assert_int_equal(certificate_rotate(dir, certificate_find("admin"), &err), -1);
    assert_non_null(strstr(status_message(&err), "the key of client-ca, which signs it, is not in"));
}

static void leaves_are_renewed_when_they_are_due(void **state UNUSED) {
    struct x509_facts f = facts("tls/apiserver.crt");
    int64_t due = x509_renewal_s(f.not_before_s, f.not_after_s);
    assert_int_equal(f.not_after_s - due, 30 * 86400);
    assert_int_equal(x509_renewal_s(0, 9000), 6000); /* a short life: a third of it */
    assert_int_equal(certificates_renew(dir, env_now_s(env_real())), 3600);
    assert_string_equal(facts("tls/apiserver.crt").fingerprint, f.fingerprint);
    assert_int_equal(certificates_renew(dir, due - 50), 50);
    certificates_renew(dir, due + 60);
    assert_string_not_equal(facts("tls/apiserver.crt").fingerprint, f.fingerprint);
}

static void requests_name_what_they_ask_for(void **state UNUSED) {
    _cleanup_buf_ struct buf csr = BUF_INIT, key = BUF_INIT;
    const char *const orgs[] = {"system:nodes", NULL}, *const names[] = {"node-1", NULL}, *const ips[] = {"10.0.0.7", "fd00::7", NULL};
    struct x509_csr x;
    assert_int_equal(x509_csr_make("system:node:node-1", orgs, names, ips, &csr, &key, NULL), 0);
    assert_int_equal(x509_csr_parse(a, csr.data, csr.len, &x, NULL), 0);
    assert_string_equal(x.common_name, "system:node:node-1");
    assert_string_equal(x.organizations[0], "system:nodes");
    assert_int_equal(x.dns_names, 1);
    assert_int_equal(x.ips, 2);
    assert_string_equal(x.dns_name_list[0], "node-1");
    assert_string_equal(x.ip_list[1], "fd00::7");
    assert_non_null(strstr(buf_cstr(&key), "PRIVATE KEY"));
}

/* "system:masters\0.example.org" is not system:masters. */
static void names_with_a_nul_byte_are_nobodys(void **state UNUSED) {
    X509 *cert = X509_new();
    struct x509_facts f;
    const char *organization = "system:masters", *name = "admin\0.example.org";
    X509_NAME *subject = X509_get_subject_name(cert);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)organization, -1, -1, 0), 1);
    assert_int_equal(X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC, (unsigned char *)(uintptr_t)name, 18, -1, 0), 1);
    assert_int_equal(x509_subject_of(a, cert, &f), -1);
    X509_free(cert);
}

/* Who signs with which key is told from who does not. */
static void keys_are_shown_by_what_they_sign(void **state UNUSED) {
    static const struct { const char *type, *curve; size_t bits; enum possession want; } keys[] = {
        {"ED25519", NULL, 0, POSSESSION_SHOWN}, {"EC", "P-256", 0, POSSESSION_SHOWN}, {"EC", "P-384", 0, POSSESSION_SHOWN}, {"EC", "secp256k1", 0, POSSESSION_CURVE}, {"RSA", NULL, 2048, POSSESSION_MODULUS},
        {"RSA", NULL, 3072, POSSESSION_SHOWN}, {"ED448", NULL, 0, POSSESSION_KEY_TYPE}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        EVP_PKEY *key = keys[i].curve ? EVP_EC_gen(keys[i].curve) : keys[i].bits ? EVP_RSA_gen(keys[i].bits) : EVP_PKEY_Q_keygen(NULL, NULL, keys[i].type);
        unsigned char *der = NULL, *request = NULL, signature[1024];
        size_t n = sizeof(signature);
        struct possession_key told;
        bool digest = strcmp(keys[i].type, "EC") == 0 || keys[i].bits;
        int der_len = i2d_PUBKEY(key, &der);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *how = NULL;
        assert_int_equal(EVP_DigestSignInit(ctx, &how, digest ? EVP_sha256() : NULL, NULL, key), 1);
        if (keys[i].bits) assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_DigestSign(ctx, signature, &n, (const unsigned char *)"uid", 3), 1);
        assert_int_equal(x509_possession_by_signature(der, (size_t)der_len, "uid", 3, signature, n, &told), keys[i].want);
        if (keys[i].want == POSSESSION_SHOWN) assert_int_equal(x509_possession_by_signature(der, (size_t)der_len, "other", 5, signature, n, &told), POSSESSION_SIGNATURE);
        X509_REQ *req = X509_REQ_new();
        X509_REQ_set_pubkey(req, key);
        assert_true(X509_REQ_sign(req, key, digest ? EVP_sha256() : NULL) > 0);
        int len = i2d_X509_REQ(req, &request);
        assert_int_equal(x509_possession_by_request(request, (size_t)len, &told), keys[i].want);
        request[len - 1] ^= 1;
        if (keys[i].want == POSSESSION_SHOWN) assert_int_not_equal(x509_possession_by_request(request, (size_t)len, &told), POSSESSION_SHOWN);
        assert_int_equal(x509_possession_by_request(request, (size_t)len - 1, &told), POSSESSION_UNREADABLE);
        OPENSSL_free(der);
        OPENSSL_free(request);
        X509_REQ_free(req);
        EVP_MD_CTX_free(ctx);
        EVP_PKEY_free(key);
    }
}

static void files_that_change_are_noticed_once_a_second(void **state UNUSED) {
    struct tls_files f;
    uint64_t now;
    tls_files_init(&f, at("tls/apiserver.crt"), NULL, at("tls/apiserver.key"));
    assert_int_equal(certificate_rotate(dir, certificate_find("apiserver"), NULL), 0);
    assert_false(tls_files_changed(&f, &now)); /* it has just looked */
    f.looked_ns -= 2000000000;
    assert_true(tls_files_changed(&f, &now));
    f.looked_ns -= 2000000000;
    assert_true(tls_files_changed(&f, &now)); /* until whoever read them says so */
    f.seen = now;
    f.looked_ns -= 2000000000;
    assert_false(tls_files_changed(&f, &now));
}

int main(void) {
#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)
    const struct CMUnitTest tests[] = {TEST(what_is_made_is_well_and_for_its_owner_alone), TEST(problems_are_told), TEST(a_rotated_leaf_says_the_same_with_another_key), TEST(authorities_are_not_rotated),
        TEST(leaves_are_renewed_when_they_are_due), TEST(requests_name_what_they_ask_for), TEST(names_with_a_nul_byte_are_nobodys), TEST(keys_are_shown_by_what_they_sign), TEST(files_that_change_are_noticed_once_a_second)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
