/* Cluster IPs and node ports as they are kept in the store: which are given, which are refused and why, and that the record of ports is upstream's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "apiserver/allocators.h"
#include "base/map.h"
#include "base/str.h"

static struct { char dir[64]; struct store *store; struct arena *a; } w;

static int setup(void **state UNUSED) {
    strcpy(w.dir, "/tmp/ckube-allocators-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    assert_int_equal(store_open(&(struct store_options){.dir = w.dir, .no_sync = true}, &w.store, NULL), 0);
    w.a = arena_new();
    return 0;
}

static int teardown(void **state UNUSED) {
    char command[100];
    store_close(w.store);
    arena_free(w.a);
    snprintf(command, sizeof(command), "rm -rf %s", w.dir);
    return system(command);
}

static enum store_outcome write_ops(const struct store_op *ops, size_t n) {
    struct store_result res;
    store_write_wait(w.store, ops, n, &res);
    status_release(&res.error);
    return res.outcome;
}

static void put(const char *key, const char *json) {
    assert_int_equal(write_ops(&(struct store_op){.key = key, .expect_mod_revision = STORE_ANY, .value = json, .value_len = strlen(json)}, 1), STORE_OK);
}

static struct store_txn *snapshot(void) {
    struct store_txn *t;
    assert_int_equal(store_read_begin(w.store, &t, NULL), 0);
    return t;
}

static void take_ip(const char *ip) {
    struct store_op op = ip_address_put(w.a, ip_address_new(w.a, env_real(), ip, "default", "s"), 0);
    assert_int_equal(write_ops(&op, 1), STORE_OK);
}

/* ---- ranges ---- */

static void ranges_have_a_first_address_and_ends(void **state UNUSED) {
    static const struct { const char *cidr, *first, *base, *in, *out; } cases[] = {
        {"10.96.0.0/16", "10.96.0.1", "10.96.0.0", "10.96.255.254", "10.96.255.255"},
        {"10.96.7.9/30", "10.96.7.9", "10.96.7.8", "10.96.7.10", "10.96.7.11"},
        {"0.0.0.0/0", "0.0.0.1", "0.0.0.0", "255.255.255.254", "::1"},
        {"fd00:1::/112", "fd00:1::1", "fd00:1::", "fd00:1::ffff", "fd00:1::1:0"},
        {"fd00:1:2:3::/64", "fd00:1:2:3::1", "fd00:1:2:3::", "fd00:1:2:3:ffff:ffff:ffff:ffff", "fd00:1:2:4::"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(ip_range_valid(cases[i].cidr));
        assert_string_equal(ip_range_first(w.a, cases[i].cidr), cases[i].first);
        assert_string_equal(ip_range_base(w.a, cases[i].cidr), cases[i].base);
        assert_false(ip_range_contains(cases[i].cidr, cases[i].base));
        assert_true(ip_range_contains(cases[i].cidr, cases[i].in));
        assert_false(ip_range_contains(cases[i].cidr, cases[i].out));
    }
    static const char *const bad[] = {"", "10.96.0.0", "10.96.0.0/33", "10.96.0.0/x", "10.96.0/16", "fd00::/48", "fd00::/129", "10.0.0.1/32"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(ip_range_valid(bad[i]));
}

/* ---- addresses ---- */

static void every_address_is_given_once_the_lower_ones_last(void **state UNUSED) {
    static const char *const items[] = {"10.96.0.0/25", "fd00::/126"};
    const struct string_list ranges = {(const char **)(uintptr_t)items, ARRAY_LEN(items)};
    struct map *given = map_new();
    char *ip;
    for (int n = 0;; n++) {
        struct store_txn *t = snapshot();
        ip = cluster_ip_next(w.a, env_real(), t, &ranges, "IPv4");
        store_read_end(t);
        if (!ip) {
            assert_int_equal(n, 126); /* 128 but the network's and the broadcast address */
            break;
        }
        assert_false(map_has(given, ip));
        assert_true(ip_range_contains("10.96.0.0/25", ip));
        /* 16 at the beginning are left to those who ask for one: 10.96.0.1 to 10.96.0.16 */
        assert_int_equal(atoi(strrchr(ip, '.') + 1) <= 16, n >= 110);
        map_put(given, ip, &w);
        take_ip(ip);
    }
    struct store_txn *t = snapshot();
    ip = cluster_ip_next(w.a, env_real(), t, &ranges, "IPv6");
    store_read_end(t);
    assert_true(str_has_prefix(ip, "fd00::"));
    map_free(given);
}

static void a_full_range_is_followed_by_the_next(void **state UNUSED) {
    static const char *const items[] = {"10.96.0.0/30", "10.97.0.0/30"};
    const struct string_list ranges = {(const char **)(uintptr_t)items, ARRAY_LEN(items)};
    take_ip("10.96.0.1");
    take_ip("10.96.0.2");
    struct store_txn *t = snapshot();
    assert_true(ip_range_contains("10.97.0.0/30", cluster_ip_next(w.a, env_real(), t, &ranges, "IPv4")));
    store_read_end(t);
}

static void an_address_is_refused_in_upstreams_words(void **state UNUSED) {
    static const char *const items[] = {"10.96.0.0/24", "fd00::/112"};
    const struct string_list ranges = {(const char **)(uintptr_t)items, ARRAY_LEN(items)};
    static const struct { const char *ip, *why; } cases[] = {
        {"10.96.0.8", NULL}, {"fd00::8", NULL}, {"10.96.0.7", "provided IP is already allocated"}, {"fd00::7", "provided IP is already allocated"}, {"fd00:0::7", "provided IP is already allocated"},
        {"10.96.0.0", "the provided network does not match the current range"},
        {"10.96.0.255", "the provided network does not match the current range"},
        {"10.97.0.1", "the provided network does not match the current range"}, {"x", "failed to parse service IP \"x\""},
    };
    take_ip("10.96.0.7");
    take_ip("fd00::7");
    struct store_txn *t = snapshot();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *why = cluster_ip_refused(w.a, t, &ranges, cases[i].ip, true);
        if (cases[i].why) assert_string_equal(why, cases[i].why);
        else assert_null(why);
    }
    assert_null(cluster_ip_refused(w.a, t, &ranges, "10.96.0.7", false));
    store_read_end(t);
}

static void ranges_that_are_ready_are_used(void **state UNUSED) {
    struct string_list ranges = {0};
    put("/registry/servicecidrs/kubernetes", "{\"metadata\":{\"name\":\"kubernetes\"},\"spec\":{\"cidrs\":[\"10.96.0.0/16\",\"fd00::/108\"]},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    put("/registry/servicecidrs/new", "{\"metadata\":{\"name\":\"new\"},\"spec\":{\"cidrs\":[\"10.97.0.0/16\",\"10.96.0.0/16\"]}}");
    put("/registry/servicecidrs/refused", "{\"metadata\":{\"name\":\"refused\"},\"spec\":{\"cidrs\":[\"10.98.0.0/16\"]},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}");
    put("/registry/servicecidrs/going", "{\"metadata\":{\"name\":\"going\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":{\"cidrs\":[\"10.99.0.0/16\"]}}");
    struct store_txn *t = snapshot();
    service_ranges_read(w.a, t, &ranges);
    store_read_end(t);
    assert_int_equal(ranges.len, 3);
    assert_string_equal(ranges.items[0], "10.96.0.0/16");
    assert_string_equal(ranges.items[1], "fd00::/108");
    assert_string_equal(ranges.items[2], "10.97.0.0/16");
}

static void an_address_is_given_back_by_its_service_alone(void **state UNUSED) {
    struct store_op op;
    struct store_view v;
    take_ip("10.96.0.7");
    struct store_txn *t = snapshot();
    assert_false(ip_address_remove(w.a, env_real(), t, "10.96.0.8", "default", "s", &op));
    assert_false(ip_address_remove(w.a, env_real(), t, "10.96.0.7", "default", "other", &op));
    assert_false(ip_address_remove(w.a, env_real(), t, "10.96.0.7", "other", "s", &op));
    assert_true(ip_address_remove(w.a, env_real(), t, "10.96.0.7", "default", "s", &op));
    store_read_end(t);
    assert_int_equal(write_ops(&op, 1), STORE_OK);
    put("/registry/ipaddresses/10.96.0.7", "{\"metadata\":{\"name\":\"10.96.0.7\",\"finalizers\":[\"a/b\"]},\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"default\",\"name\":\"s\"}}}");
    t = snapshot();
    assert_true(ip_address_remove(w.a, env_real(), t, "10.96.0.7", "default", "s", &op));
    store_read_end(t);
    assert_int_equal(write_ops(&op, 1), STORE_OK);
    t = snapshot();
    assert_true(store_get(t, "/registry/ipaddresses/10.96.0.7", &v)); /* whoever put the finalizer takes it away */
    assert_non_null(strstr(arena_strndup(w.a, v.value, v.value_len), "deletionTimestamp"));
    assert_false(ip_address_remove(w.a, env_real(), t, "10.96.0.7", "default", "s", &op));
    store_read_end(t);
}

static void of_two_who_take_one_address_one_fails(void **state UNUSED) {
    struct store_op first = ip_address_put(w.a, ip_address_new(w.a, env_real(), "10.96.0.7", "default", "a"), 0);
    struct store_op second = ip_address_put(w.a, ip_address_new(w.a, env_real(), "10.96.0.7", "default", "b"), 0);
    assert_int_equal(write_ops(&first, 1), STORE_OK);
    assert_int_equal(write_ops(&second, 1), STORE_CONFLICT);
}

/* ---- node ports ---- */

#define PORTS_KEY "/registry/ranges/servicenodeports"

static struct node_ports ports_of(int min, int max) {
    struct node_ports p;
    struct store_txn *t = snapshot();
    node_ports_read(w.a, t, min, max, &p);
    store_read_end(t);
    return p;
}

static void store_ports(const struct node_ports *p) {
    struct store_op op = node_ports_put(w.a, p);
    assert_int_equal(write_ops(&op, 1), STORE_OK);
}

static void ports_are_kept_as_upstream_keeps_them(void **state UNUSED) {
    struct node_ports p = ports_of(30000, 30019);
    struct store_view v;
    assert_int_equal(p.revision, 0);
    p.taken[0] = p.taken[9] = p.taken[17] = true; /* 2^17 + 2^9 + 2^0 */
    store_ports(&p);
    struct store_txn *t = snapshot();
    assert_true(store_get(t, PORTS_KEY, &v));
    const char *json = arena_strndup(w.a, v.value, v.value_len);
    store_read_end(t);
    assert_non_null(strstr(json, "\"range\":\"30000-30019\""));
    assert_non_null(strstr(json, "\"data\":\"AgIB\"")); /* 02 02 01 */
    p = ports_of(30000, 30019);
    assert_false(p.mismatch);
    for (int i = 0; i < 20; i++) assert_int_equal(p.taken[i], i == 0 || i == 9 || i == 17);
    assert_true(ports_of(30000, 30020).mismatch);
    struct store_op stale = node_ports_put(w.a, &p);
    p.taken[1] = true;
    store_ports(&p);
    assert_int_equal(write_ops(&stale, 1), STORE_CONFLICT);
    put(PORTS_KEY, "garbage");
    assert_true(ports_of(30000, 30019).mismatch);
}

static void every_port_is_given_once_the_lower_ones_last(void **state UNUSED) {
    struct node_ports p = ports_of(30000, 30063);
    for (int n = 0; n < 64; n++) {
        int port = node_ports_next(&p, env_real());
        assert_in_range(port, 30000, 30063);
        assert_false(p.taken[port - 30000]);
        assert_int_equal(port < 30016, n >= 48);
        p.taken[port - 30000] = true;
    }
    assert_int_equal(node_ports_next(&p, env_real()), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(ranges_have_a_first_address_and_ends),          CASE(every_address_is_given_once_the_lower_ones_last), CASE(a_full_range_is_followed_by_the_next),
        CASE(an_address_is_refused_in_upstreams_words),      CASE(ranges_that_are_ready_are_used),                  CASE(an_address_is_given_back_by_its_service_alone),
        CASE(of_two_who_take_one_address_one_fails),         CASE(ports_are_kept_as_upstream_keeps_them),           CASE(every_port_is_given_once_the_lower_ones_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
