/* The scheduler's threads in a cluster that does not stand still: Pods of all kinds come and go, nodes are relabelled, cordoned and deleted, victims are
 * evicted, all from several threads at once. Then the news end, and every Pod that can have a node must get one. For the sanitizers above all. */
#include "scheduler_testing.h"

enum { NODES = 12, PODS = 60, ROUNDS = 400 };

static struct scheduler *s;
static pthread_mutex_t truth = PTHREAD_MUTEX_INITIALIZER; /* the API's side of bindings: a Pod that was deleted is not bound */
static bool exists[3 * PODS];

static int number_of(const struct corev1_Pod *p) { return atoi(p->metadata.name + 1); }

static int bind(void *data, const struct corev1_Pod *p, const char *to, struct status *reterr) {
    (void)data;
    pthread_mutex_lock(&truth);
    bool there = exists[number_of(p)];
    if (there) {
        struct corev1_Pod bound = *p;
        bound.spec.nodeName = to;
        scheduler_set_pod(s, &bound);
    }
    pthread_mutex_unlock(&truth);
    return there ? 0 : status_not_found(reterr, "", "pods", p->metadata.name);
}
static int evict(void *data, const struct corev1_Pod *p, const char *message, struct status *reterr) {
    (void)data, (void)message, (void)reterr;
    pthread_mutex_lock(&truth);
    exists[number_of(p)] = false;
    scheduler_delete_pod(s, "default", p->metadata.name);
    pthread_mutex_unlock(&truth);
    return 0;
}
static int condition(void *data, const struct corev1_Pod *p, const char *reason, const char *message, struct status *reterr) {
    return (void)data, (void)p, (void)reason, (void)message, (void)reterr, 0;
}
static void record(void *data, const struct corev1_Pod *p, const char *type, const char *reason, const char *action, const char *note) {
    (void)data, (void)p, (void)type, (void)reason, (void)action, (void)note;
}

static void *object(struct arena *a, const struct type_desc *type, const char *json) {
    void *obj = object_new(a, type);
    CHECK(!object_decode_json(a, type, obj, json, strlen(json), NULL, NULL));
    return obj;
}

static void node_set(struct arena *a, int i, int labels, bool cordoned) {
    scheduler_set_node(s, object(a, &corev1_Node_desc, arena_printf(a, "{\"metadata\":{\"name\":\"n%d\",\"labels\":{\"zone\":\"z%d\",\"kubernetes.io/hostname\":\"n%d\"}},\"spec\":{%s},\"status\":"
        "{\"allocatable\":{\"cpu\":\"8\",\"memory\":\"64Gi\",\"pods\":\"110\"}}}", i, labels % 3, i, cordoned ? "\"unschedulable\":true" : "")));
}

static void pod_set(struct arena *a, int i, int kind, int priority) {
    static const char *const kinds[] = {"",
        ",\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"kubernetes.io/hostname\",\"labelSelector\":{\"matchLabels\":{\"k\":\"1\"}}}]}}",
        ",\"affinity\":{\"podAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":5,\"podAffinityTerm\":{\"topologyKey\":\"zone\",\"labelSelector\":{\"matchLabels\":{\"k\":\"0\"}}}}]}}",
        ",\"topologySpreadConstraints\":[{\"maxSkew\":2,\"topologyKey\":\"zone\",\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"k\":\"3\"}}}]"};
    struct corev1_Pod *p = object(a, &corev1_Pod_desc, arena_printf(a, "{\"metadata\":{\"name\":\"p%d\",\"namespace\":\"default\",\"uid\":\"u%d-%d\",\"labels\":{\"k\":\"%d\"}},\"spec\":{\"priority\":%d,"
        "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"700m\"}}}]%s}}", i, i, kind, kind, priority, kinds[kind]));
    pthread_mutex_lock(&truth);
    exists[i] = true;
    scheduler_set_pod(s, p);
    pthread_mutex_unlock(&truth);
}

static void pod_gone(struct arena *a, int i) {
    pthread_mutex_lock(&truth);
    exists[i] = false;
    scheduler_delete_pod(s, "default", arena_printf(a, "p%d", i));
    pthread_mutex_unlock(&truth);
}

static unsigned next(unsigned *x) { return (*x = *x * 1664525 + 1013904223) >> 8; }

static void *pods_thread(void *arg) {
    int first = (int)(intptr_t)arg * PODS;
    unsigned x = (unsigned)first + 1;
    for (int r = 0; r < ROUNDS; r++) {
        _cleanup_arena_ struct arena *a = arena_new();
        int i = first + (int)(next(&x) % PODS);
        pod_gone(a, i);
        if (next(&x) % 3) pod_set(a, i, (int)(next(&x) % 4), (int)(next(&x) % 3));
    }
    return NULL;
}

static void *nodes_thread(void *arg) {
    unsigned x = 99;
    for (int r = 0; r < ROUNDS / 2; r++) {
        _cleanup_arena_ struct arena *a = arena_new();
        int i = (int)(next(&x) % NODES);
        if (next(&x) % 8 == 0) scheduler_delete_node(s, arena_printf(a, "n%d", i));
        else node_set(a, i, (int)next(&x) % 3, next(&x) % 4 == 0);
        usleep(200);
    }
    return arg;
}

static void nothing_is_lost_while_everything_changes(void **state) {
    (void)state;
    const struct scheduler_client client = {.bind = bind, .set_unscheduled = condition, .record = record, .evict = evict};
    s = scheduler_new(env_real(), &client, &(struct scheduler_config){.binders = 3, .backoff_initial_ms = 1, .backoff_max_ms = 20});
    for (int i = 0; i < NODES; i++) node_set(arena, i, i, false);
    scheduler_start(s);
    pthread_t threads[4];
    for (intptr_t t = 0; t < 3; t++) assert_int_equal(pthread_create(&threads[t], NULL, pods_thread, (void *)t), 0);
    assert_int_equal(pthread_create(&threads[3], NULL, nodes_thread, NULL), 0);
    for (int t = 0; t < 4; t++) pthread_join(threads[t], NULL);
    for (int i = 0; i < 3 * PODS; i++) pod_gone(arena, i);
    for (int i = 0; i < NODES; i++) node_set(arena, i, i, false);
    uint64_t before = scheduler_stats(s).scheduled;
    for (int i = 0; i < PODS; i++) pod_set(arena, i, 0, 0); /* 11 of these fit on each node */
    for (int waited = 0; waited < 2000 && scheduler_stats(s).scheduled < before + PODS; waited++) usleep(10000);
    scheduler_stop(s);
    assert_true(scheduler_stats(s).scheduled >= before + PODS);
    struct queue_lengths left = scheduler_queue_lengths(s);
    assert_int_equal(left.active + left.backoff + left.unschedulable + left.in_flight, 0);
    scheduler_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(nothing_is_lost_while_everything_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
