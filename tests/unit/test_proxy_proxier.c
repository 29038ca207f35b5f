/* kube-proxy's way from API objects to the kernel: conversion as tables; the loop against real nftables in a network namespace of this process
 * (which goes with it; skipped with its reason without root). */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/str.h"
#include "proxy/proxier.h"

static struct arena *arena;
static bool have_netns;
static int setup(void **state) { return (void)state, arena = arena_new(), 0; }
static int teardown(void **state) { return (void)state, arena_free(arena), 0; }

static void *decode(const struct type_desc *type, const char *json) {
    _cleanup_status_ struct status st = STATUS_INIT;
    void *obj = object_new(arena, type);
    if (object_decode_json(arena, type, obj, json, strlen(json), NULL, &st)) fail_msg("%s: %s", json, status_message(&st));
    return obj;
}

static struct corev1_Service *service(const char *name, const char *spec) {
    return decode(&corev1_Service_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\"},\"spec\":{%s}}", name, spec));
}
static struct discoveryv1_EndpointSlice *slice(const char *name, const char *service, const char *endpoints) {
    return decode(&discoveryv1_EndpointSlice_desc,
                  arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"labels\":{\"kubernetes.io/service-name\":\"%s\"}},\"addressType\":\"IPv4\","
                               "\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}],\"endpoints\":[%s]}", name, service, endpoints));
}
#define WEB "\"clusterIP\":\"10.96.0.10\",\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":80,\"nodePort\":30080},{\"name\":\"dns\",\"protocol\":\"UDP\",\"port\":53}]"

static void services_that_are_not_ours_give_no_ports(void **state) {
    (void)state;
    static const char *const specs[] = {"\"clusterIP\":\"None\"", "\"type\":\"ExternalName\",\"externalName\":\"x\"", "\"ports\":[{\"port\":1}]"};
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) assert_int_equal(service_ports_build(arena, service("x", specs[i]), NULL, 0, "n").len, 0);
}

static void endpoints_are_matched_by_port_name_and_their_conditions_default_as_upstreams(void **state) {
    (void)state;
    const struct discoveryv1_EndpointSlice *slices[] = {
        slice("a", "web", "{\"addresses\":[\"10.0.0.1\"],\"nodeName\":\"n1\"},{\"addresses\":[\"10.0.0.2\"],\"conditions\":{\"ready\":false,\"serving\":true,\"terminating\":true}}"),
        slice("b", "web", "{\"addresses\":[\"10.0.0.2\"],\"conditions\":{\"ready\":true}},{\"addresses\":[\"10.0.0.3\"],\"conditions\":{\"ready\":false}}")};
    struct service_port_list l = service_ports_build(arena, service("web", WEB ",\"sessionAffinity\":\"ClientIP\",\"externalTrafficPolicy\":\"Local\""), slices, 2, "n1");
    assert_int_equal(l.len, 2);
    const struct service_port *p = &l.items[0];
    assert_int_equal(p->endpoints_len, 3);
    assert_int_equal(p->affinity_seconds, 10800);
    assert_true(p->external_local && !p->internal_local);
    assert_int_equal(p->node_port, 30080);
    assert_string_equal(p->cluster_ips[0], "10.96.0.10");
    const struct proxy_endpoint *e = p->endpoints;
    assert_true(e[0].local && e[0].ready && e[0].serving && !e[0].terminating && e[0].port == 8080);
    assert_true(e[1].ready && !e[1].local && !e[1].terminating); /* in two slices: the ready one counts */
    assert_true(!e[2].ready && !e[2].serving);
    assert_int_equal(l.items[1].endpoints_len, 0); /* no slice has a port named dns */
}

/* Whether the kernel's table comes to contain (or to lack) the text, within a second. */
static bool table_has(const char *text, bool wanted) {
    for (int i = 0; i < 50; i++) {
        FILE *f = popen("nft list table ip ckube 2>/dev/null", "r");
        _cleanup_buf_ struct buf b = BUF_INIT;
        char line[1024];
        while (f && fgets(line, sizeof(line), f)) buf_append_str(&b, line);
        if (f) pclose(f);
        if (b.len && (strstr(buf_cstr(&b), text) != NULL) == wanted) return true;
        usleep(20000);
    }
    return false;
}

static void the_kernel_follows_the_api_within_a_second(void **state) {
    (void)state;
    if (!have_netns) {
        print_message("skipped: needs root for a network namespace\n");
        skip();
    }
    struct proxier *p = proxier_new(env_real(), &(struct proxier_config){.rules = {.ipv4 = true, .ipv6 = true}, .node_name = "n1"}, NULL);
    assert_non_null(p);
    proxier_start(p);
    proxier_set_endpoint_slice(p, slice("web-1", "web", "{\"addresses\":[\"10.0.0.1\"]}")); /* a slice may come before its Service */
    proxier_set_service(p, service("web", WEB));
    usleep(50000);
    assert_false(proxier_healthy(p)); /* nothing is written before all is known */
    proxier_synced(p);
    assert_true(table_has("10.96.0.10 . tcp . 80 : goto service-", true));
    assert_true(proxier_healthy(p));
    assert_true(table_has("10.96.0.10 . udp . 53 : goto reject-chain", true));
    assert_true(table_has("dnat to 10.0.0.1:8080", true) || table_has("dnat ip to 10.0.0.1:8080", true));
    proxier_set_endpoint_slice(p, slice("web-1", "web", "{\"addresses\":[\"10.0.0.7\"]}"));
    assert_true(table_has("10.0.0.7:8080", true));
    assert_true(table_has("10.0.0.1:8080", false));
    proxier_set_service(p, service("web", "\"clusterIP\":\"10.96.0.10\",\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":80}]"));
    assert_true(table_has(". udp . 53", false));
    assert_true(table_has("30080", false));
    proxier_delete_endpoint_slice(p, "default", "web-1");
    assert_true(table_has("10.96.0.10 . tcp . 80 : goto reject-chain", true));
    proxier_delete_service(p, "default", "web");
    assert_true(table_has("10.96.0.10", false));
    struct proxier_stats st;
    proxier_stats(p, &st);
    assert_int_equal(st.rules.full_syncs, 1);
    assert_int_equal(st.rules.failures, 0);
    assert_int_equal(st.services, 0);
    assert_int_equal(st.pending, 0);
    proxier_stop(p);
    proxier_free(p);
}

int main(void) {
    have_netns = geteuid() == 0 && unshare(CLONE_NEWNET) == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(services_that_are_not_ours_give_no_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(endpoints_are_matched_by_port_name_and_their_conditions_default_as_upstreams, setup, teardown),
        cmocka_unit_test_setup_teardown(the_kernel_follows_the_api_within_a_second, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
