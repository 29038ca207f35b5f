/* What the scheduler's tests share: a clock moved by hand, objects from JSON, a client that writes down what it is asked, cycles over a small cluster. */
#ifndef CKUBE_TESTS_SCHEDULER_TESTING_H
#define CKUBE_TESTS_SCHEDULER_TESTING_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"
#include "scheduler/scheduler.h"

#define SECOND INT64_C(1000000000)

static int64_t clock_ns;
static uint64_t seed = 7;
static int64_t fake_now(struct env *e) { return (void)e, clock_ns; }
static void fake_random(struct env *e, void *out, size_t len) { (void)e, memset(out, (int)seed, len); }
static bool fake_wait(struct env *e, pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline) { return (void)e, (void)c, (void)m, clock_ns = MAX(clock_ns, deadline), false; }
static void fake_sleep(struct env *e, int64_t ns) { (void)e, clock_ns += ns; }
static struct env fake_env = {.now_ns = fake_now, .mono_ns = fake_now, .sleep_ns = fake_sleep, .random = fake_random, .cond_wait = fake_wait};

static struct arena *arena;
static int setup(void **state) { return (void)state, clock_ns = SECOND, arena = arena_new(), 0; }
static int teardown(void **state) { return (void)state, arena_free(arena), 0; }
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNUSED static void *decode(const struct type_desc *type, const char *json) {
    _cleanup_status_ struct status st = STATUS_INIT;
    void *obj = object_new(arena, type);
    if (object_decode_json(arena, type, obj, json, strlen(json), NULL, &st)) fail_msg("%s: %s", json, status_message(&st));
    return obj;
}

/* labels, spec, status: the insides of these objects. */
UNUSED static struct corev1_Pod *pod_in(const char *ns, const char *name, const char *labels, const char *spec, const char *status) {
    return decode(&corev1_Pod_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"u-%s\",\"labels\":{%s}},\"spec\":{%s},\"status\":{%s}}",
                                                 name, ns, name, labels, spec, status));
}
UNUSED static struct corev1_Pod *pod(const char *name, const char *spec) { return pod_in("default", name, "", spec, ""); }
#define CPU(n) "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"" n "\"}}}]"

UNUSED static struct corev1_Node *node(const char *name, const char *labels, const char *spec) {
    return decode(&corev1_Node_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}},\"spec\":{%s},\"status\":{\"allocatable\":"
        "{\"cpu\":\"2\",\"memory\":\"4Gi\",\"pods\":\"3\",\"example.com/gpu\":\"1\"},\"images\":[{\"names\":[\"big:%s\"],\"sizeBytes\":900000000}]}}", name, labels, spec, name));
}

/* ---- plugins without a scheduler ---- */

UNUSED static void cluster_node(struct scheduler_cache *c, const struct corev1_Node *n) {
    struct old_node old = cache_set_node(c, n);
    old_node_release(&old);
}
UNUSED static void cluster_pod(struct scheduler_cache *c, const struct corev1_Pod *p) {
    struct pod_info *info = pod_info_new(p);
    pod_info_unref(cache_set_pod(c, info));
    pod_info_unref(info);
}
UNUSED static void cluster_object(struct scheduler_cache *c, const struct type_desc *type, const char *json) {
    const void *old;
    arena_free(cache_set(c, type, decode(type, json), &old));
}

/* One cycle with the profile (NULL: the default); *ret lives in the arena. */
UNUSED static struct schedule_result cycle_of(struct scheduler_cache *c, const struct profile *profile, const struct corev1_Pod *p) {
    static struct profile standard;
    profile_init_default(&standard, "default-scheduler");
    struct framework f = {.handle = {&fake_env, c, NULL}};
    struct pod_info *info = pod_info_new(p);
    struct schedule_result r;
    cache_lock(c);
    framework_schedule(&f, profile ? profile : &standard, arena, info, &r, NULL);
    cache_unlock(c);
    pod_info_unref(info);
    return r;
}

/* fits: the node's name, "a|b" for either; NULL: nowhere, and says is why. */
UNUSED static void assert_result(const struct schedule_result *r, const char *fits, const char *says) {
    const char *got = r->node ? r->node->name : r->message;
    if (!fits) {
        if (r->node) fail_msg("it fits on %s, but should not: %s", got, says);
        assert_string_equal(r->message, says);
        return;
    }
    if (!r->node) fail_msg("it should fit on %s: %s", fits, got);
    char *list = arena_strdup(arena, fits), *save = NULL;
    for (char *name = strtok_r(list, "|", &save); name; name = strtok_r(NULL, "|", &save))
        if (str_eq(name, r->node->name)) return;
    fail_msg("it is on %s, not on %s", r->node->name, fits);
}

/* ---- a client that writes down what it was asked ---- */

static struct {
    int bound, fail_code;
    char last_node[64], last_event[2048], last_reason[64], last_message[2048], last_nominated[64], evicted[512], related[512];
    int claims_updated, volumes_updated;
    struct corev1_PersistentVolume *volume;
    struct corev1_PersistentVolumeClaim *claim;
    int resource_claims_put, unreserved, resource_claim_fail_code, resource_claim_fails; /* the next so many PUTs fail */
    struct resourcev1_ResourceClaim *resource_claim; /* as it was last put, with its resourceVersion */
    pthread_mutex_t mutex;
} seen = {.mutex = PTHREAD_MUTEX_INITIALIZER};
UNUSED static void seen_reset(void) { memset(&seen, 0, offsetof(__typeof__(seen), mutex)); }

static int seen_bind(void *data, const struct corev1_Pod *p, const char *to, struct status *reterr) {
    (void)data, (void)p;
    pthread_mutex_lock(&seen.mutex);
    int code = seen.fail_code;
    seen.bound += !code;
    snprintf(seen.last_node, sizeof(seen.last_node), "%s", to);
    pthread_mutex_unlock(&seen.mutex);
    return code ? status_set(reterr, code, REASON_INTERNAL_ERROR, "no luck") : 0;
}
static int seen_condition(void *data, const struct corev1_Pod *p, const char *reason, const char *message, struct status *reterr) {
    (void)data, (void)p, (void)reterr;
    snprintf(seen.last_reason, sizeof(seen.last_reason), "%s", reason);
    snprintf(seen.last_message, sizeof(seen.last_message), "%s", message);
    return 0;
}
static void seen_event(void *data, const struct corev1_Pod *p, const char *type, const char *reason, const char *action, const char *note) {
    (void)data, (void)p, (void)action;
    pthread_mutex_lock(&seen.mutex);
    snprintf(seen.last_event, sizeof(seen.last_event), "%s %s %s", type, reason, note);
    pthread_mutex_unlock(&seen.mutex);
}
static int seen_nominate(void *data, const struct corev1_Pod *p, const char *to, struct status *reterr) {
    (void)data, (void)p, (void)reterr;
    snprintf(seen.last_nominated, sizeof(seen.last_nominated), "%s", to);
    return 0;
}
static int seen_evict(void *data, const struct corev1_Pod *victim, const char *message, struct status *reterr) {
    (void)data, (void)reterr;
    size_t len = strlen(seen.evicted);
    snprintf(seen.evicted + len, sizeof(seen.evicted) - len, "%s[%s] ", victim->metadata.name, message);
    return 0;
}
static void seen_related(void *data, const struct corev1_Pod *p, const struct corev1_Pod *related, const char *type, const char *reason, const char *action, const char *note) {
    (void)data;
    size_t len = strlen(seen.related);
    snprintf(seen.related + len, sizeof(seen.related) - len, "%s<-%s %s %s %s: %s; ", p->metadata.name, related->metadata.name, type, reason, action, note);
}
static int seen_volume(void *data, const struct corev1_PersistentVolume *pv, struct status *reterr) {
    (void)data, (void)reterr;
    seen.volumes_updated++;
    seen.volume = object_copy(arena, &corev1_PersistentVolume_desc, pv);
    return 0;
}
static int seen_claim(void *data, const struct corev1_PersistentVolumeClaim *pvc, struct status *reterr) {
    (void)data, (void)reterr;
    seen.claims_updated++;
    seen.claim = object_copy(arena, &corev1_PersistentVolumeClaim_desc, pvc);
    return 0;
}
static int seen_get_resource_claim(void *data, struct arena *a, const char *ns, const char *name, struct resourcev1_ResourceClaim *ret, struct status *reterr) {
    (void)data, (void)reterr;
    assert_string_equal(ns, "default");
    assert_non_null(name);
    *ret = *(struct resourcev1_ResourceClaim *)object_copy(a, &resourcev1_ResourceClaim_desc, seen.resource_claim);
    return 0;
}
static int seen_put_resource_claim(void *data, struct arena *a, const struct resourcev1_ResourceClaim *claim, bool status, struct resourcev1_ResourceClaim *ret, struct status *reterr) {
    (void)data, (void)status;
    if (seen.resource_claim_fails > 0) {
        seen.resource_claim_fails--;
        return status_set(reterr, seen.resource_claim_fail_code, REASON_CONFLICT, "no luck");
    }
    seen.resource_claims_put++;
    seen.resource_claim = object_copy(arena, &resourcev1_ResourceClaim_desc, claim);
    seen.resource_claim->metadata.resourceVersion = arena_printf(arena, "%d", 1000 + seen.resource_claims_put);
    if (ret) *ret = *(struct resourcev1_ResourceClaim *)object_copy(a, &resourcev1_ResourceClaim_desc, seen.resource_claim);
    return 0;
}
static int seen_unreserve(void *data, const struct resourcev1_ResourceClaim *claim, const struct corev1_Pod *p, struct status *reterr) {
    (void)data, (void)claim, (void)p, (void)reterr;
    seen.unreserved++;
    return 0;
}
UNUSED static const struct scheduler_client seen_client = {NULL, seen_bind, seen_condition, seen_event, seen_nominate, seen_evict, seen_related, seen_volume, seen_claim,
    seen_get_resource_claim, seen_put_resource_claim, seen_unreserve};
#endif
