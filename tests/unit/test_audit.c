/* Audit policies: which rule a request falls under, and which policies are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include "apiserver/audit.h"
#include "apiserver/audit_backend.h"
#include "apiserver/audit_backups.h"

static const char *const policy =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n"
    "- {level: None, users: [\"system:kube-proxy\"], verbs: [watch]}\n"
    "- {level: None, nonResourceURLs: [\"/healthz*\", /version]}\n"
    "- {level: Metadata, resources: [{group: \"\", resources: [secrets, configmaps]}], omitStages: [ResponseStarted], omitManagedFields: false}\n"
    "- {level: RequestResponse, resources: [{group: \"\", resources: [pods]}]}\n"
    "- {level: Request, resources: [{group: \"\", resources: [pods/*, \"*/scale\"]}, {group: apps}], namespaces: [a, b]}\n"
    "- {level: Request, userGroups: [devs], resources: [{group: batch, resources: [jobs], resourceNames: [j]}]}\n"
    "- {level: None, userGroups: [\"system:nodes\"]}\n"
    "- {level: Metadata, namespaces: [\"\"]}\n";

static void rules_are_tried_in_order(void **state UNUSED) {
    static const struct { const char *user, *group, *verb, *ns, *api_group, *resource, *sub, *name, *path; enum audit_level level; } cases[] = {
        {"system:kube-proxy", NULL, "watch", NULL, "", "services", NULL, NULL, NULL, AUDIT_NONE}, {"system:kube-proxy", NULL, "list", NULL, "", "services", NULL, NULL, NULL, AUDIT_METADATA},
        {"a", NULL, "get", NULL, NULL, NULL, NULL, NULL, "/healthz/x", AUDIT_NONE},               {"a", NULL, "get", NULL, NULL, NULL, NULL, NULL, "/version", AUDIT_NONE},
        {"a", NULL, "get", "n", "", "secrets", NULL, "s", NULL, AUDIT_METADATA},                  {"a", NULL, "get", "n", "x", "secrets", NULL, "s", NULL, AUDIT_NONE},
        {"a", NULL, "get", "n", "", "pods", NULL, "p", NULL, AUDIT_REQUEST_RESPONSE},             {"a", NULL, "create", "a", "", "pods", "exec", "p", NULL, AUDIT_REQUEST},
        {"a", NULL, "create", "n", "", "pods", "exec", "p", NULL, AUDIT_NONE},                    {"a", NULL, "update", "b", "", "replicationcontrollers", "scale", "r", NULL, AUDIT_REQUEST},
        {"a", NULL, "get", "a", "apps", "deployments", "status", "d", NULL, AUDIT_REQUEST},       {"a", NULL, "get", "c", "apps", "deployments", NULL, "d", NULL, AUDIT_NONE},
        {"a", "devs", "get", "n", "batch", "jobs", NULL, "j", NULL, AUDIT_REQUEST},               {"a", "devs", "get", "n", "batch", "jobs", NULL, "k", NULL, AUDIT_NONE},
        {"a", NULL, "get", "n", "batch", "jobs", NULL, "j", NULL, AUDIT_NONE},                    {"n", "system:nodes", "get", NULL, "", "nodes", NULL, "n", NULL, AUDIT_NONE},
        {"a", NULL, "get", NULL, "", "nodes", NULL, "n", NULL, AUDIT_METADATA},                   {"a", NULL, "get", NULL, NULL, NULL, NULL, NULL, "/metrics", AUDIT_NONE},
    };
    struct audit_policy *p = audit_policy_parse(policy, strlen(policy), NULL);
    assert_non_null(p);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct user_info u = {.name = cases[i].user};
        if (cases[i].group) string_list_push(a, &u.groups, cases[i].group);
        struct authz_attributes at = {.user = &u, .resource_request = cases[i].resource != NULL, .verb = cases[i].verb, .namespace = cases[i].ns, .group = cases[i].api_group, .resource = cases[i].resource,
            .subresource = cases[i].sub, .name = cases[i].name, .path = cases[i].path};
        struct audit_decision d = audit_policy_decide(p, &at);
        if (d.level != cases[i].level) fail_msg("case %zu: level %d", i, (int)d.level);
        if (d.level == AUDIT_NONE) continue;
        assert_true(d.omit_stages & 1u << AUDIT_REQUEST_RECEIVED);
        bool secrets = strcmp(cases[i].resource, "secrets") == 0;
        assert_int_equal(d.omit_managed_fields, !secrets);
        assert_int_equal((d.omit_stages & 1u << AUDIT_RESPONSE_STARTED) != 0, secrets);
    }
    audit_policy_free(p);
}

static void wrong_policies_are_refused(void **state UNUSED) {
    static const char *const cases[] = {"", "{}", "apiVersion: v1\nkind: Policy\nrules: [{level: None}]", "apiVersion: audit.k8s.io/v1\nkind: Policy\n", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Everything}]", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{}]", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, omitStages: [Later]}]",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, nonResourceURLs: [/x], namespaces: [a]}]", "[", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: 7"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        struct audit_policy *p = audit_policy_parse(cases[i], strlen(cases[i]), &err);
        if (p || !err.message) fail_msg("case %zu was taken", i);
    }
}

/* The newest of those set aside stay, and none for longer than that; files of other names are none of the log's business. */
static void backups_are_pruned(void **state UNUSED) {
    static const int64_t day = INT64_C(86400000000000), now = INT64_C(1795806468123000000);
    static const char *const others[] = {"audit.log", "audit-2026.log", "other-2026-11-27T19-07-48.123.log", "audit-2026-11-27T19-07-48.1x3.log"};
    char dir[] = "/tmp/ckube-audit-XXXXXX", path[100], name[200];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/audit.log", dir);
    audit_backup_name(path, now, name, sizeof(name));
    assert_string_equal(name + strlen(dir), "/audit-2026-11-27T19-07-48.123.log");
    for (int i = 0; i < 6; i++) {
        audit_backup_name(path, now - i * day, name, sizeof(name));
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        snprintf(name, sizeof(name), "%s/%s", dir, others[i]);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    static const struct { int backups, days, left; } steps[] = {{0, 0, 6}, {5, 0, 5}, {0, 3, 4}, {10, 10, 4}, {2, 1, 2}};
    for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
        int left = 0;
        audit_backups_prune(path, steps[k].backups, steps[k].days, now);
        for (int i = 0; i < 6; i++) {
            audit_backup_name(path, now - i * day, name, sizeof(name));
            bool there = access(name, F_OK) == 0;
            assert_true(there == (i < steps[k].left));
            left += there;
        }
        assert_int_equal(left, steps[k].left);
    }
    for (int i = 0; i < 6; i++) {
        audit_backup_name(path, now - i * day, name, sizeof(name));
        unlink(name);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        snprintf(name, sizeof(name), "%s/%s", dir, others[i]);
        assert_int_equal(unlink(name), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

static struct audit_record *record_of(const char *json, const char *bodies, const char *annotations) {
    struct audit_record *r = audit_record_new();
    const char *at = bodies ? strstr(json, bodies) : NULL, *notes = annotations ? strstr(json, annotations) : NULL;
    buf_append_str(&r->json, json);
    r->bodies_at = at ? (size_t)(at - json) : strlen(json) - 1;
    r->bodies_len = at ? strlen(bodies) : 0;
    r->annotations_at = notes ? (size_t)(notes - json) : 0;
    return r;
}

static void large_events_lose_their_bodies(void **state UNUSED) {
    static const struct { const char *json, *bodies, *annotations, *want; } cases[] = {
        {"{\"a\":1,\"requestObject\":{},\"t\":2}", ",\"requestObject\":{}", NULL, "{\"a\":1,\"t\":2,\"annotations\":{\"audit.k8s.io/truncated\":\"true\"}}"},
        {"{\"a\":1,\"requestObject\":{},\"annotations\":{\"x\":\"y\"}}", ",\"requestObject\":{}", "\"x\"", "{\"a\":1,\"annotations\":{\"audit.k8s.io/truncated\":\"true\",\"x\":\"y\"}}"},
        {"{\"a\":1}", NULL, NULL, "{\"a\":1,\"annotations\":{\"audit.k8s.io/truncated\":\"true\"}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct audit_record *r = record_of(cases[i].json, cases[i].bodies, cases[i].annotations), *t = audit_record_truncate(r);
        assert_string_equal(buf_cstr(&t->json), cases[i].want);
        audit_record_unref(t);
        audit_record_unref(r);
    }
}

struct sent { pthread_mutex_t mutex; pthread_cond_t cond; size_t events, batches, largest; bool held; };

static void take_batch(void *arg, struct audit_record *const *records UNUSED, size_t n) {
    struct sent *s = arg;
    pthread_mutex_lock(&s->mutex);
    while (s->held) pthread_cond_wait(&s->cond, &s->mutex);
    s->events += n;
    s->batches++;
    s->largest = n > s->largest ? n : s->largest;
    pthread_mutex_unlock(&s->mutex);
}

/* The buffer never waits and never grows: what does not fit is dropped; what was taken is sent, at the end at the latest. */
static void a_buffer_is_bounded_and_drained(void **state UNUSED) {
    struct sent s = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .held = true};
    const struct audit_backend_options o = {.mode = AUDIT_BATCH, .buffer_size = 8, .batch_size_max = 4, .batch_wait_ns = 3600000000000, .throttle = true, .throttle_qps = 0.001, .throttle_burst = 1};
    struct audit_buffer *b = audit_buffer_new(&o, take_batch, &s);
    struct audit_record *r = record_of("{}", NULL, NULL);
    for (int i = 0; i < 100; i++) audit_buffer_put(b, r);
    pthread_mutex_lock(&s.mutex);
    s.held = false;
    pthread_cond_broadcast(&s.cond);
    pthread_mutex_unlock(&s.mutex);
    audit_buffer_free(b);
    assert_true(s.events >= 8 && s.events <= 16); /* a ring full, and what was on its way */
    assert_int_equal(s.largest, 4);
    assert_int_equal(atomic_load(&r->refs), 1);
    audit_record_unref(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(large_events_lose_their_bodies), cmocka_unit_test(a_buffer_is_bounded_and_drained), cmocka_unit_test(backups_are_pruned), cmocka_unit_test(rules_are_tried_in_order), cmocka_unit_test(wrong_policies_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
