/* kube-proxy's rules, tried with real connections: a network namespace for the node, one for the client and one for each server, joined by veths.
 * Needs root (the tests that do are skipped with that reason otherwise); makes and removes its own namespaces, proxytest-PID-*. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/env.h"
#include "base/str.h"
#include "proxy/rules.h"

#define SERVERS 3
static char node_ns[40], client_ns[40], server_ns[SERVERS][40];
static pid_t servers[SERVERS];
static int home_fd = -1;

static int sh(const char *format, ...) {
    char cmd[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(cmd, sizeof(cmd), format, ap);
    va_end(ap);
    return system(cmd);
}

static void ns_enter(const char *name) {
    char path[80];
    snprintf(path, sizeof(path), "/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(setns(fd, CLONE_NEWNET), 0);
    close(fd);
}

static void ns_leave(void) { assert_int_equal(setns(home_fd, CLONE_NEWNET), 0); }

/* Answers each TCP connection to port 8080 with its number and the peer's address. */
static void server_run(int number, int ready_fd) {
    int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(s, (void *)&a, sizeof(a)) || listen(s, 64)) _exit(1);
    if (write(ready_fd, "", 1) != 1) _exit(1);
    close(ready_fd);
    alarm(120);
    for (;;) {
        socklen_t len = sizeof(a);
        int c = accept(s, (void *)&a, &len);
        if (c < 0) continue;
        char text[64], ip[32];
        int n = snprintf(text, sizeof(text), "%d %s", number, inet_ntop(AF_INET, &a.sin_addr, ip, sizeof(ip)));
        if (write(c, text, (size_t)n) < 0) _exit(1);
        close(c);
    }
}

/* Connects from the namespace; gives the answer's number and the address that the server saw, or -errno. */
static int dial_within(int ms, const char *ns, const char *ip, int port, char seen[32]) {
    ns_enter(ns);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), rc = -ETIMEDOUT;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    int err = connect(fd, (void *)&a, sizeof(a)) ? errno : 0;
    struct pollfd p = {fd, POLLIN, 0};
    if (err && err != EINPROGRESS) rc = -err;
    else if (poll(&p, 1, ms) == 1) {
        char text[65] = {0};
        socklen_t len = sizeof(err);
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
        ssize_t n = read(fd, text, sizeof(text) - 1);
        rc = err ? -err : n < 0 ? -errno : atoi(text);
        if (n > 0 && seen) snprintf(seen, 32, "%s", strchr(text, ' ') + 1);
    }
    close(fd);
    ns_leave();
    return rc;
}

static int dial(const char *ns, const char *ip, int port, char seen[32]) { return dial_within(10000, ns, ip, port, seen); }

/* node: 10.77.0.1 on a bridge of servers 10.77.0.1x; 192.0.2.1 towards the client 192.0.2.2. */
static int world_make(void **state) {
    (void)state;
    if (geteuid() != 0 || sh("ip netns list >/dev/null 2>&1")) return 0;
    home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    snprintf(node_ns, sizeof(node_ns), "proxytest-%d-node", getpid());
    snprintf(client_ns, sizeof(client_ns), "proxytest-%d-client", getpid());
    if (sh("ip netns add %s && ip netns add %s", node_ns, client_ns)) return -1;
    sh("ip -n %s link set lo up; ip -n %s link add br0 type bridge; ip -n %s addr add 10.77.0.1/24 dev br0; ip -n %s link set br0 up", node_ns, node_ns, node_ns, node_ns);
    sh("ip netns exec %s sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables' 2>/dev/null", node_ns);
    sh("ip -n %s link add c0 type veth peer name eth0 netns %s; ip -n %s addr add 192.0.2.1/24 dev c0; ip -n %s link set c0 up; ip -n %s route add default via 192.0.2.2", node_ns, client_ns, node_ns, node_ns, node_ns);
    sh("ip -n %s addr add 192.0.2.2/24 dev eth0; ip -n %s link set eth0 up; ip -n %s link set lo up; ip -n %s route add default via 192.0.2.1", client_ns, client_ns, client_ns, client_ns);
    for (int i = 0; i < SERVERS; i++) {
        char *ns = server_ns[i];
        snprintf(ns, 40, "proxytest-%d-s%d", getpid(), i);
        if (sh("ip netns add %s", ns)) return -1;
        sh("ip -n %s link add s%d type veth peer name eth0 netns %s; ip -n %s link set s%d master br0 up", node_ns, i, ns, node_ns, i);
        sh("bridge -n %s link set dev s%d hairpin on", node_ns, i);
        sh("ip -n %s addr add 10.77.0.1%d/24 dev eth0; ip -n %s link set eth0 up; ip -n %s link set lo up; ip -n %s route add default via 10.77.0.1", ns, i, ns, ns, ns);
        int ready[2];
        char byte;
        if (pipe(ready)) return -1;
        servers[i] = fork();
        if (servers[i] == 0) {
            ns_enter(ns);
            server_run(i, ready[1]);
        }
        close(ready[1]);
        bool listens = read(ready[0], &byte, 1) == 1;
        close(ready[0]);
        if (!listens) return -1;
    }
    return 0;
}

static int world_remove(void **state) {
    (void)state;
    for (int i = 0; i < SERVERS && servers[i] > 0; i++) {
        kill(servers[i], SIGKILL);
        waitpid(servers[i], NULL, 0);
    }
    for (int i = 0; i < SERVERS; i++)
        if (*server_ns[i]) sh("ip netns del %s", server_ns[i]);
    if (*node_ns) sh("ip netns del %s; ip netns del %s", node_ns, client_ns);
    if (home_fd >= 0) close(home_fd);
    return 0;
}

#define NEED_ROOT()                                                            \
    if (home_fd < 0) {                                                         \
        print_message("skipped: needs root and ip(8) for network namespaces\n"); \
        skip();                                                                \
    }

static struct rules *rules_make(const struct rules_config *extra) {
    struct rules_config config = extra ? *extra : (struct rules_config){.cluster_cidr = {"10.77.0.0/24"}};
    config.ipv4 = config.ipv6 = true;
    _cleanup_status_ struct status st = STATUS_INIT;
    ns_enter(node_ns);
    struct rules *r = rules_new(&config, &st);
    ns_leave();
    if (!r) print_message("%s\n", status_message(&st));
    assert_non_null(r);
    return r;
}

static void commit(struct rules *r) {
    _cleanup_status_ struct status st = STATUS_INIT;
    if (rules_commit(r, &st)) fail_msg("commit: %s", status_message(&st));
}

static struct proxy_endpoint eps_all[SERVERS] = {
    {"10.77.0.10", 8080, true, true, false, true}, {"10.77.0.11", 8080, true, true, false, true}, {"10.77.0.12", 8080, true, true, false, true}};
static const char *const vip[] = {"10.96.0.10", NULL};

static struct service_port web(const struct proxy_endpoint *eps, size_t n) {
    return (struct service_port){.namespace = "default", .name = "web", .port_name = "http", .protocol = "TCP", .port = 80, .cluster_ips = vip, .endpoints = eps, .endpoints_len = n};
}

static void set(struct rules *r, struct service_port p) {
    _cleanup_status_ struct status st = STATUS_INIT;
    if (rules_set(r, &p, &st)) fail_msg("set: %s", status_message(&st));
}

/* How many of 40 connections each server answered; those refused are negative and counted in `failed`. */
static void spread(const char *ns, const char *ip, int port, int count[SERVERS], int *failed) {
    memset(count, 0, sizeof(int) * SERVERS);
    *failed = 0;
    for (int i = 0; i < 40; i++) {
        int n = dial(ns, ip, port, NULL);
        if (n >= 0 && n < SERVERS) count[n]++;
        else (*failed)++;
    }
}

static void a_cluster_ip_spreads_connections_over_all_ready_endpoints(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    set(r, web(eps_all, 3));
    commit(r);
    int count[SERVERS], failed;
    spread(client_ns, "10.96.0.10", 80, count, &failed);
    assert_int_equal(failed, 0);
    for (int i = 0; i < SERVERS; i++) assert_true(count[i] > 1);
    spread(node_ns, "10.96.0.10", 80, count, &failed); /* the output hook: from the node itself */
    assert_int_equal(failed, 0);
    rules_free(r);
}

static void traffic_from_outside_the_cluster_is_masqueraded_and_pod_traffic_is_not(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    set(r, web(eps_all + 1, 1));
    commit(r);
    char seen[32] = "";
    assert_int_equal(dial(client_ns, "10.96.0.10", 80, seen), 1);
    assert_string_equal(seen, "10.77.0.1");
    assert_int_equal(dial(server_ns[0], "10.96.0.10", 80, seen), 1);
    assert_string_equal(seen, "10.77.0.10");
    rules_free(r);
}

static void a_pod_reaches_itself_through_its_service(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    set(r, web(eps_all, 1));
    commit(r);
    char seen[32] = "";
    assert_int_equal(dial(server_ns[0], "10.96.0.10", 80, seen), 0);
    assert_string_equal(seen, "10.77.0.1");
    rules_free(r);
}

static void changes_take_effect_in_incremental_transactions(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    set(r, web(eps_all, 1));
    commit(r);
    assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), 0);
    set(r, web(eps_all + 2, 1));
    commit(r);
    for (int i = 0; i < 5; i++) assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), 2);
    struct service_port other = web(eps_all + 1, 1);
    other.port_name = "alt";
    other.port = 81;
    set(r, other);
    commit(r);
    assert_int_equal(dial(client_ns, "10.96.0.10", 81, NULL), 1);
    rules_delete(r, "default", "web", "http", "TCP");
    commit(r);
    assert_int_equal(dial(client_ns, "10.96.0.10", 81, NULL), 1);
    assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), -ECONNREFUSED); /* a cluster IP's other ports are refused */
    assert_int_equal(rules_stats(r)->full_syncs, 1);
    assert_int_equal(rules_stats(r)->failures, 0);
    rules_free(r);
}

static void a_service_without_endpoints_refuses_until_it_has_some(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    struct service_port p = web(NULL, 0);
    p.node_port = 30080;
    set(r, p);
    commit(r);
    assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), -ECONNREFUSED);
    assert_int_equal(dial(node_ns, "10.96.0.10", 80, NULL), -ECONNREFUSED);
    assert_int_equal(dial(client_ns, "192.0.2.1", 30080, NULL), -ECONNREFUSED);
    p.endpoints = eps_all + 1;
    p.endpoints_len = 1;
    set(r, p);
    commit(r);
    assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), 1);
    assert_int_equal(dial(client_ns, "192.0.2.1", 30080, NULL), 1);
    assert_int_equal(rules_stats(r)->failures, 0);
    rules_free(r);
}

static void endpoints_that_terminate_but_serve_are_used_when_none_is_ready(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    struct proxy_endpoint eps[] = {{"10.77.0.10", 8080, false, true, true, true}, {"10.77.0.11", 8080, false, false, true, true}};
    set(r, web(eps, 2));
    commit(r);
    for (int i = 0; i < 5; i++) assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), 0);
    rules_free(r);
}

static void a_node_port_with_local_policy_keeps_the_client_address_and_drops_without_local_endpoints(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    struct proxy_endpoint eps[] = {{"10.77.0.10", 8080, true, true, false, false}, {"10.77.0.11", 8080, true, true, false, true}};
    struct service_port p = web(eps, 2);
    p.node_port = 30081;
    p.external_local = true;
    set(r, p);
    commit(r);
    char seen[32] = "";
    for (int i = 0; i < 5; i++) assert_int_equal(dial(client_ns, "192.0.2.1", 30081, seen), 1);
    assert_string_equal(seen, "192.0.2.2");
    eps[1].local = false;
    set(r, p);
    commit(r);
    assert_int_equal(dial_within(700, client_ns, "192.0.2.1", 30081, NULL), -ETIMEDOUT);
    assert_true(dial(node_ns, "192.0.2.1", 30081, NULL) >= 0); /* the node itself reaches all */
    rules_free(r);
}

static void a_client_with_affinity_stays_with_its_endpoint_through_changes(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    struct service_port p = web(eps_all, 3);
    p.affinity_seconds = 10800;
    set(r, p);
    commit(r);
    int first = dial(client_ns, "10.96.0.10", 80, NULL);
    assert_true(first >= 0);
    for (int i = 0; i < 10; i++) assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), first);
    struct proxy_endpoint two[] = {eps_all[first], eps_all[(first + 1) % SERVERS]};
    p.endpoints = two;
    p.endpoints_len = 2;
    set(r, p);
    commit(r);
    for (int i = 0; i < 10; i++) assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), first);
    p.affinity_seconds = 60; /* another timeout is another set */
    set(r, p);
    commit(r);
    assert_true(dial(client_ns, "10.96.0.10", 80, NULL) >= 0);
    p.affinity_seconds = 0;
    set(r, p);
    commit(r);
    assert_true(dial(client_ns, "10.96.0.10", 80, NULL) >= 0);
    assert_int_equal(rules_stats(r)->failures, 0);
    rules_free(r);
}

static void a_restart_adopts_the_table_and_foreign_changes_are_healed(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    set(r, web(eps_all, 1));
    commit(r);
    rules_free(r);
    assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), 0); /* nobody runs; the rules stay */
    r = rules_make(NULL);
    set(r, web(eps_all, 1));
    commit(r);
    assert_int_equal(sh("ip netns exec %s nft delete table ip ckube", node_ns), 0);
    set(r, web(eps_all + 1, 1)); /* the incremental transaction fails, the full one follows */
    commit(r);
    assert_int_equal(dial(client_ns, "10.96.0.10", 80, NULL), 1);
    assert_int_equal(rules_stats(r)->full_syncs, 2);
    rules_free(r);
}

static void a_node_port_that_two_services_claim_passes_to_the_other_when_one_goes(void **state) {
    (void)state;
    NEED_ROOT();
    struct rules *r = rules_make(NULL);
    struct service_port a = web(eps_all, 1), b = web(eps_all + 1, 1);
    const char *const other_vip[] = {"10.96.0.11", NULL};
    a.node_port = b.node_port = 30090;
    b.name = "other";
    b.cluster_ips = other_vip;
    set(r, a);
    set(r, b);
    commit(r);
    rules_delete(r, "default", "web", "http", "TCP");
    commit(r);
    assert_int_equal(dial(client_ns, "192.0.2.1", 30090, NULL), 1);
    rules_free(r);
}

static void malformed_names_and_addresses_never_reach_the_rules(void **state) {
    (void)state;
    struct rules_config config = {.ipv4 = true, .ipv6 = true, .cluster_cidr = {"10.0.0.0/8; flush ruleset"}};
    assert_null(rules_new(&config, NULL));
    config.cluster_cidr[0] = "fd00::/129";
    assert_null(rules_new(&config, NULL));
    config.cluster_cidr[0] = NULL;
    struct rules *r = rules_new(&config, NULL);
    assert_non_null(r);
    static const struct service_port bad[] = {
        {.namespace = "default", .name = "a b", .protocol = "TCP", .port = 80},
        {.namespace = "default", .name = "web\n", .protocol = "TCP", .port = 80},
        {.namespace = "", .name = "web", .protocol = "TCP", .port = 80},
        {.namespace = "default", .name = "web", .port_name = "}", .protocol = "TCP", .port = 80},
        {.namespace = "default", .name = "web", .protocol = "ICMP", .port = 80},
        {.namespace = "default", .name = "web", .protocol = "TCP", .port = 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_int_equal(rules_set(r, &bad[i], NULL), -1);
    assert_int_equal(rules_len(r), 0);
    rules_free(r);
}

/* `test_proxy_rules bench N`: N Services of 10 endpoints each. */
static void bench(size_t n) {
    struct rules *r = rules_make(NULL);
    char ips[10][20], cluster[20];
    struct proxy_endpoint eps[10];
    const char *list[] = {cluster, NULL};
    struct service_port p = {.namespace = "default", .protocol = "TCP", .port = 80, .cluster_ips = list, .endpoints = eps, .endpoints_len = 10};
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "svc-%zu", i);
        snprintf(cluster, sizeof(cluster), "10.96.%zu.%zu", i / 250, i % 250 + 1);
        for (size_t e = 0; e < 10; e++) {
            snprintf(ips[e], sizeof(ips[e]), "10.%zu.%zu.%zu", 100 + e, i / 250, i % 250 + 1);
            eps[e] = (struct proxy_endpoint){ips[e], 8080, true, true, false, e == 0};
        }
        p.name = name;
        set(r, p);
    }
    commit(r);
    print_message("%zu services of 10 endpoints: full sync %.1f ms (%zu bytes)\n", n, (double)rules_stats(r)->duration_ns / 1e6, rules_stats(r)->transaction_bytes);
    p.name = "svc-0";
    for (int i = 0; i < 4; i++) {
        p.endpoints_len = (size_t)(9 - i);
        snprintf(cluster, sizeof(cluster), "10.96.0.1");
        set(r, p);
        commit(r);
        print_message("one endpoint fewer: %.2f ms (%zu bytes)\n", (double)rules_stats(r)->duration_ns / 1e6, rules_stats(r)->transaction_bytes);
    }
    print_message("failures %lu, full syncs %lu\n", (unsigned long)rules_stats(r)->failures, (unsigned long)rules_stats(r)->full_syncs);
    rules_free(r);
}

int main(int argc, char **argv) {
    if (argc == 3 && str_eq(argv[1], "bench")) {
        if (world_make(NULL) || home_fd < 0) return 1;
        bench((size_t)atoi(argv[2]));
        return world_remove(NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_ip_spreads_connections_over_all_ready_endpoints),
        cmocka_unit_test(traffic_from_outside_the_cluster_is_masqueraded_and_pod_traffic_is_not),
        cmocka_unit_test(a_pod_reaches_itself_through_its_service),
        cmocka_unit_test(changes_take_effect_in_incremental_transactions),
        cmocka_unit_test(a_service_without_endpoints_refuses_until_it_has_some),
        cmocka_unit_test(endpoints_that_terminate_but_serve_are_used_when_none_is_ready),
        cmocka_unit_test(a_node_port_with_local_policy_keeps_the_client_address_and_drops_without_local_endpoints),
        cmocka_unit_test(a_client_with_affinity_stays_with_its_endpoint_through_changes),
        cmocka_unit_test(a_restart_adopts_the_table_and_foreign_changes_are_healed),
        cmocka_unit_test(a_node_port_that_two_services_claim_passes_to_the_other_when_one_goes),
        cmocka_unit_test(malformed_names_and_addresses_never_reach_the_rules),
    };
    return cmocka_run_group_tests(tests, world_make, world_remove);
}
