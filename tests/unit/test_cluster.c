/* cmd/cluster_*, cmd/etcd_process: tokens, the data folder's files, what joining servers get, and a process that is watched over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/env.h"
#include "base/file.h"
#include "base/str.h"
#include "cmd/cluster_files.h"
#include "cmd/cluster_token.h"
#include "cmd/etcd_process.h"
#include "cmd/pki.h"
#include "store/etcd/admin.h"

static char dir[64];
static struct arena *arena;

static int begin(void **state UNUSED) {
    snprintf(dir, sizeof(dir), "/tmp/ckube-cluster-XXXXXX");
    arena = arena_new();
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state UNUSED) {
    arena_free(arena);
    return cluster_remove_tree(dir);
}

static char *at(const char *name) { return arena_printf(arena, "%s/%s", dir, name); }

static void put(const char *name, const char *text, mode_t mode) {
    struct status err = STATUS_INIT;
    if (cluster_file_write(at(name), text, &err) != 0) fail_msg("%s", err.message);
    assert_int_equal(chmod(at(name), mode), 0);
}

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_tokens(void **state UNUSED) {
    static const struct { const char *text, *hash, *secret; } good[] = {{"CK1" HASH "::server:secret-of-ours", HASH, "secret-of-ours"}, {"only-a-secret", "", "only-a-secret"}};
    static const char *const bad[] = {NULL, "", "short", "with blank in it", "CK1" HASH "::agent:12345678", "CK1" HASH "::server:1234567", "CK1abc::server:12345678", "K10" HASH "::server:12345678",
        "CK1" HASH "0::server:12345678", "CK10123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef::server:12345678", "a:b-and-more", "line\nfeed-it"};
    struct cluster_token t;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct status err = STATUS_INIT;
        if (cluster_token_parse(arena, good[i].text, &t, &err) != 0) fail_msg("%s: %s", good[i].text, err.message);
        assert_string_equal(t.hash, good[i].hash);
        assert_string_equal(t.secret, good[i].secret);
        if (*t.hash) assert_string_equal(cluster_token_text(arena, &t), good[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (cluster_token_parse(arena, bad[i], &t, &err) == 0) fail_msg("taken: %s", bad[i]);
        assert_int_equal(err.code, 400);
    }
    t = (struct cluster_token){.secret = cluster_token_new_secret(arena)};
    assert_int_equal(strlen(t.secret), 32);
    assert_string_not_equal(t.secret, cluster_token_new_secret(arena));
    assert_true(cluster_secret_is_good(t.secret));
    assert_true(cluster_secret_is_good("0123456789abcdef"));
    assert_false(cluster_secret_is_good("0123456789abcde"));
    assert_true(cluster_secrets_equal("abc", "abc"));
    assert_false(cluster_secrets_equal("abc", "abd"));
    assert_false(cluster_secrets_equal("abc", "abcd"));
}

static void test_tokens_of_nodes(void **state UNUSED) {
    static const char hash[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct cluster_token t;
    const char *text = arena_printf(arena, "CK1%s::node:abcdef.0123456789abcdef", hash);
    assert_int_equal(node_token_parse(arena, text, &t, NULL), 0);
    assert_string_equal(t.hash, hash);
    assert_string_equal(t.secret, "abcdef.0123456789abcdef");
    assert_string_equal(node_token_text(arena, &t), text);
    assert_int_equal(node_token_parse(arena, "abcdef.0123456789abcdef", &t, NULL), 0);
    assert_string_equal(t.hash, "");
    const char *bad[] = {"", "secret-secret", arena_printf(arena, "CK1%s::server:abcdef.0123456789abcdef", hash), arena_printf(arena, "CK1%s::node:abcdef.0123456789abcde", hash), arena_printf(arena, "CK1%s::node:Abcdef.0123456789abcdef", hash),
        arena_printf(arena, "CK2%s::node:abcdef.0123456789abcdef", hash), "abcdef.0123456789abcdef0", "abcdef-0123456789abcdef"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (node_token_parse(arena, bad[i], &t, NULL) == 0) fail_msg("taken: %s", bad[i]);
    assert_int_equal(cluster_token_parse(arena, text, &t, NULL), -1); /* a node's token lets no server join */
    t = (struct cluster_token){.secret = node_token_new_secret(arena)};
    assert_int_equal(node_token_parse(arena, t.secret, &t, NULL), 0);
    assert_string_not_equal(t.secret, node_token_new_secret(arena));
}

static void test_an_authority_has_its_hash(void **state UNUSED) {
    struct status err = STATUS_INIT;
    const char *const ips[] = {"127.0.0.1", NULL};
    char hash[CLUSTER_HASH_LEN + 1], other[CLUSTER_HASH_LEN + 1];
    assert_int_equal(pki_ensure(dir, ips, NULL, &err), 0);
    char *pem = cluster_file_read(arena, at("tls/server-ca.crt"), &err);
    assert_int_equal(cluster_ca_hash(pem, hash, &err), 0);
    assert_int_equal(strspn(hash, "0123456789abcdef"), CLUSTER_HASH_LEN);
    assert_int_equal(cluster_ca_hash(arena_printf(arena, "%s\n\n", pem), other, &err), 0); /* of the certificate, not of the text */
    assert_string_equal(hash, other);
    assert_int_equal(cluster_ca_hash("no certificate", other, &err), -1);
    status_release(&err);
    /* the token is made once */
    char *token = cluster_token_ensure(arena, dir, "the-secret", &err);
    assert_string_equal(token, arena_printf(arena, "CK1%s::server:the-secret", hash));
    assert_string_equal(cluster_token_ensure(arena, dir, "another-secret", &err), token);
}

static void test_the_state_is_kept(void **state UNUSED) {
    struct status err = STATUS_INIT;
    struct cluster_state s, want = {.phase = CLUSTER_JOINING, .name = "a-1", .address = "10.0.0.1", .listen = "0.0.0.0", .client_port = 2379, .peer_port = 2380, .servers = "https://10.0.0.2:2379,https://10.0.0.3:2379"};
    assert_int_equal(cluster_state_read(arena, dir, &s, &err), 0);
    assert_int_equal(s.phase, CLUSTER_NONE);
    assert_int_equal(cluster_state_write(dir, &want, &err), 0);
    assert_int_equal(cluster_state_read(arena, dir, &s, &err), 0);
    assert_int_equal(s.phase, want.phase);
    assert_string_equal(s.name, want.name);
    assert_string_equal(s.servers, want.servers);
    assert_int_equal(s.peer_port, want.peer_port);
    assert_string_equal(cluster_access(arena, dir, &s, true).servers, "https://127.0.0.1:2379,https://10.0.0.2:2379,https://10.0.0.3:2379");
    assert_string_equal(cluster_access(arena, dir, &s, false).servers, want.servers);
    static const char *const bad[] = {"", "{", "{}", "{\"phase\":\"dancing\",\"name\":\"a\",\"address\":\"b\",\"clientPort\":1,\"peerPort\":2}", "{\"phase\":\"member\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_status_ struct status e = STATUS_INIT;
        put("server/member.json", bad[i], 0600);
        assert_int_equal(cluster_state_read(arena, dir, &s, &e), -1);
        assert_non_null(strstr(e.message, "member.json"));
    }
}

static void test_keys_go_from_server_to_server(void **state UNUSED) {
    struct status err = STATUS_INIT;
    const char *first = at("first"), *second = at("second"), *const ips[] = {"127.0.0.1", NULL}, *settings;
    struct cluster_state s = {.phase = CLUSTER_MEMBER, .name = "a-1", .address = "10.0.0.1", .listen = "10.0.0.1", .client_port = 1, .peer_port = 2};
    mkdir(first, 0700);
    mkdir(second, 0700);
    if (pki_ensure(first, ips, NULL, &err) != 0 || cluster_pki_ensure(first, &s, &err) != 0) fail_msg("%s", err.message);
    char *bundle = cluster_bundle(arena, first, "{\"members\":\"x\"}", &err);
    assert_non_null(bundle);
    if (cluster_bundle_take(arena, second, bundle, &settings, &err) != 0) fail_msg("%s", err.message);
    assert_string_equal(settings, "{\"members\":\"x\"}");
    /* what the second makes of them is good for the first: nothing is made anew */
    static const char *const same[] = {"server-ca.crt", "client-ca.key", "service-account.key", "etcd-ca.crt", "etcd-peer-ca.key", "request-header-ca.crt"};
    if (pki_ensure(second, ips, NULL, &err) != 0 || cluster_pki_ensure(second, &s, &err) != 0) fail_msg("%s", err.message);
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        assert_string_equal(cluster_file_read(arena, arena_printf(arena, "%s/tls/%s", first, same[i]), &err), cluster_file_read(arena, arena_printf(arena, "%s/tls/%s", second, same[i]), &err));
    struct stat st;
    assert_int_equal(stat(arena_printf(arena, "%s/tls/client-ca.key", second), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    static const char *const bad[] = {"", "{}", "{\"files\":{},\"settings\":{}}", "{\"files\":{\"tls/../../x\":\"y\"},\"settings\":{}}", "[1]"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_status_ struct status e = STATUS_INIT;
        assert_int_equal(cluster_bundle_take(arena, second, bad[i], &settings, &e), -1);
    }
}

/* ---- the process ---- */

static void test_pauses_grow_and_are_forgotten(void **state UNUSED) {
    static const struct { int64_t ran_ms, pause_ms; } steps[] = {{10, 250}, {10, 500}, {10, 1000}, {9999, 2000}, {10, 4000}, {10, 8000}, {10, 10000}, {10, 10000}, {10000, 250}, {10, 500}, {60000, 250}};
    int64_t backoff = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) assert_int_equal(etcd_process_backoff(&backoff, steps[i].ran_ms), steps[i].pause_ms);
}

static struct etcd_process *start_script(const char *script) {
    struct status err = STATUS_INIT;
    put("etcd.sh", script, 0755);
    struct etcd_process *p = etcd_process_start(&(struct etcd_process_options){.program = at("etcd.sh"), .dir = dir, .name = "a", .address = "127.0.0.1", .listen = "127.0.0.1", .client_port = 1, .peer_port = 2,
        .initial_cluster = "a=https://127.0.0.1:2"}, &err);
    if (!p) fail_msg("%s", err.message);
    return p;
}

static bool wait_file(const char *name) {
    for (int i = 0; i < 3000; i++, env_sleep_ms(env_real(), 10))
        if (access(at(name), F_OK) == 0) return true;
    return false;
}

static void test_a_process_that_ends_is_started_again(void **state UNUSED) {
    struct etcd_process *p = start_script(arena_printf(arena, "#!/bin/sh\n[ -e %s/one ] || { touch %s/one; echo '{\"level\":\"info\",\"msg\":\"x\"}'; echo '{\"level\":\"fatal\",\"msg\":\"cannot serve\",\"error\":\"port in use\"}' >&2; exit 1; }\n"
                                                              "touch %s/two\nexec sleep 1000\n", dir, dir, dir));
    assert_true(wait_file("two"));
    assert_int_equal(etcd_process_starts(p), 2);
    assert_true(etcd_process_running(p));
    assert_string_equal(etcd_process_last_words(p, arena), "cannot serve: port in use");
    int64_t begun = env_mono_ns(env_real());
    etcd_process_stop(p);
    assert_true(env_mono_ns(env_real()) - begun < 9000000000); /* SIGTERM was enough */
    etcd_process_stop(NULL);
}

static void test_stopping_does_not_wait_for_the_next_start(void **state UNUSED) {
    struct etcd_process *p = start_script(arena_printf(arena, "#!/bin/sh\necho >> %s/starts\nexit 3\n", dir));
    assert_true(wait_file("starts"));
    for (int i = 0; i < 3000 && etcd_process_starts(p) < 3; i++) env_sleep_ms(env_real(), 10);
    int64_t begun = env_mono_ns(env_real());
    etcd_process_stop(p);
    assert_true(env_mono_ns(env_real()) - begun < 5000000000);
}

/* Of a server that was killed: here one whose watcher is told nothing of it. */
static void test_one_of_an_earlier_life_is_ended(void **state UNUSED) {
    struct etcd_process *p = start_script(arena_printf(arena, "#!/bin/sh\ntouch %s/up\nwhile :; do sleep 0.1; done\n", dir));
    assert_true(wait_file("up") && wait_file("etcd.pid"));
    unsigned starts = etcd_process_starts(p);
    char *pid = cluster_file_read(arena, at("etcd.pid"), NULL);
    for (int i = 0; i < 3000 && str_empty(pid); i++, env_sleep_ms(env_real(), 10)) pid = cluster_file_read(arena, at("etcd.pid"), NULL);
    assert_false(str_empty(pid));
    put("etcd.pid", "1\n", 0600); /* some other process's number */
    etcd_process_end_earlier(dir);
    assert_int_equal(kill(atoi(pid), 0), 0);
    put("etcd.pid", pid, 0600);
    etcd_process_end_earlier(dir);
    for (int i = 0; i < 3000 && etcd_process_starts(p) == starts; i++) env_sleep_ms(env_real(), 10);
    assert_int_equal(etcd_process_starts(p), starts + 1);
    etcd_process_stop(p);
}

/* ---- snapshots ---- */

static void write_snapshot(const char *name, const unsigned char *data, size_t len, bool good) {
    unsigned char sum[EVP_MAX_MD_SIZE];
    EVP_Digest(data, len, sum, NULL, EVP_sha256(), NULL);
    if (!good) sum[3] ^= 1;
    FILE *f = fopen(at(name), "w");
    assert_non_null(f);
    fwrite(data, 1, len, f);
    fwrite(sum, 1, 32, f);
    fclose(f);
}

static void test_a_snapshot_is_verified_and_its_revision_raised(void **state UNUSED) {
    struct status err = STATUS_INIT;
    unsigned char db[4096] = {0};
    static const unsigned char key[] = {0, 0, 0, 0, 0, 0, 0, 7, '_', 0, 0, 0, 0, 0, 0, 0, 0, 't'}, raised[] = {0, 0, 0, 0, 0, 1, 0x86, 0xa0, '_', 0, 0, 0, 0, 0, 0, 0, 0, 't'};
    memcpy(db + 1000, key, sizeof(key));
    memcpy(db + 2000, key, sizeof(key) - 1); /* a put: not that */
    write_snapshot("good", db, sizeof(db), true);
    write_snapshot("bad", db, sizeof(db), false);
    assert_int_equal(etcd_snapshot_verify(at("good"), &err), 0);
    assert_int_equal(etcd_snapshot_verify(at("bad"), &err), -1);
    status_release(&err);
    assert_int_equal(etcd_snapshot_verify(at("none"), &err), -1);
    status_release(&err);
    assert_int_equal(etcd_snapshot_raise_revision(at("good"), 8, 100000, &err), -1); /* no such deletion */
    status_release(&err);
    if (etcd_snapshot_raise_revision(at("good"), 7, 100000, &err) != 0) fail_msg("%s", err.message);
    assert_int_equal(etcd_snapshot_verify(at("good"), &err), 0);
    _cleanup_buf_ struct buf now = BUF_INIT;
    assert_int_equal(file_read(at("good"), 1 << 20, &now, &err), 0);
    assert_memory_equal(now.data + 1000, raised, sizeof(raised));
    assert_memory_equal(now.data + 2000, key, sizeof(key) - 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {T(test_tokens), T(test_tokens_of_nodes), T(test_an_authority_has_its_hash), T(test_the_state_is_kept), T(test_keys_go_from_server_to_server), T(test_pauses_grow_and_are_forgotten),
        T(test_a_process_that_ends_is_started_again), T(test_stopping_does_not_wait_for_the_next_start), T(test_one_of_an_earlier_life_is_ended), T(test_a_snapshot_is_verified_and_its_revision_raised)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
