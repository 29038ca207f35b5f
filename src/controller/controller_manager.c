/* All controllers of one process, from start to stop: see controller.h. Upstream: cmd/kube-controller-manager/app. */
#include "base/log.h"
#include "base/str.h"
#include "controller/controller.h"
#include "controller/controllers.h"
#include "controller/metrics.h"

enum { SYNC_WAIT_MS = 1000 };

const struct controller_desc *const controllers_all[] = {
#define CONTROLLER(id) &controller_##id,
    CONTROLLERS_ALL
#undef CONTROLLER
    NULL};

struct controller_manager {
    struct controller_context *context;
    struct controller **items;
    size_t len;
    pthread_t thread;
    pthread_mutex_t mutex;
    bool started, stopping, running;
};

struct controller_options controller_options_default(void) {
    return (struct controller_options){
        .cluster_name = "kubernetes",
        .node_cidr_mask_size_ipv4 = 24,
        .node_cidr_mask_size_ipv6 = 64,
        .node_monitor_period_ms = 5000,
        .node_monitor_grace_period_ms = 50000,
        .node_startup_grace_period_ms = 60000,
        .node_eviction_rate = 0.1,
        .secondary_node_eviction_rate = 0.01,
        .unhealthy_zone_threshold = 0.55,
        .large_cluster_size_threshold = 50,
        .terminated_pod_gc_threshold = 12500,
        .horizontal_pod_autoscaler_sync_period_ms = 15000,
        .resource_quota_sync_period_ms = 300000,
        .pvclaimbinder_sync_period_ms = 15000,
        .legacy_service_account_token_clean_up_period_ms = 365 * 24 * 3600 * 1000LL,
        .attach_detach_reconcile_sync_period_ms = 60000,
    };
}

/* ---- which ---- */

static bool known(const char *name) {
    for (size_t i = 0; controllers_all[i]; i++)
        if (str_eq(controllers_all[i]->name, name)) return true;
    return false;
}

/* Upstream's rule: "-foo" off, "foo" on, "*" all others; without a star only those that are named. */
static bool wanted(const char *const *list, const char *name) {
    bool star = false;
    for (; *list; list++) {
        if (str_eq(*list, name)) return true;
        if (**list == '-' && str_eq(*list + 1, name)) return false;
        star |= str_eq(*list, "*");
    }
    return star;
}

static int split_names(struct arena *a, const char *names, const char *const **ret, struct status *reterr) {
    struct string_list list = {0};
    char *text = arena_strdup(a, names ? names : "*"), *save = NULL;
    for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        if (!str_eq(p, "*") && !known(*p == '-' ? p + 1 : p)) return status_bad_request(reterr, "\"%s\" is not in the list of known controllers", *p == '-' ? p + 1 : p);
        string_list_push(a, &list, p);
    }
    string_list_push(a, &list, NULL);
    *ret = list.items;
    return 0;
}

/* ---- life ---- */

struct controller_manager *controller_manager_new(struct controller_context *cc, const char *names, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *const *list = NULL;
    if (split_names(a, names, &list, reterr) != 0) return NULL;
    struct controller_manager *m = calloc(1, sizeof(*m));
    CHECK(m && (m->items = calloc(ARRAY_LEN(controllers_all), sizeof(*m->items))));
    m->context = cc;
    pthread_mutex_init(&m->mutex, NULL);
    for (size_t i = 0; controllers_all[i]; i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (!wanted(list, controllers_all[i]->name)) continue;
        struct controller *c = controller_new(cc, controllers_all[i], &err);
        if (c) m->items[m->len++] = c;
        else log_info("%s does not run: %s", controllers_all[i]->name, status_message(&err));
    }
    return m;
}

static bool stopping(struct controller_manager *m) {
    pthread_mutex_lock(&m->mutex);
    bool s = m->stopping;
    pthread_mutex_unlock(&m->mutex);
    return s;
}

static void tell_running(const struct controller *c, bool runs) {
    controller_metric_set(&metrics_running, runs, "manager=\"kube-controller-manager\",name=\"%s\"", c->desc->name);
}

static void *run(void *arg) {
    struct controller_manager *m = arg;
    while (!stopping(m) && !informers_wait_synced(m->context->informers, SYNC_WAIT_MS)) log_debug("waiting for the informers to sync");
    if (stopping(m)) return NULL;
    for (size_t i = 0; i < m->len; i++) {
        controller_start(m->items[i]);
        tell_running(m->items[i], true);
    }
    return NULL;
}

void controller_manager_start(struct controller_manager *m) {
    informers_start(m->context->informers);
    m->running = pthread_create(&m->thread, NULL, run, m) == 0;
    CHECK(m->running);
}

void controller_manager_stop(struct controller_manager *m) {
    if (!m) return;
    pthread_mutex_lock(&m->mutex);
    m->stopping = true;
    pthread_mutex_unlock(&m->mutex);
    if (m->running) pthread_join(m->thread, NULL);
    for (size_t i = 0; i < m->len; i++) {
        controller_stop(m->items[i]);
        tell_running(m->items[i], false);
    }
    informers_stop(m->context->informers);
    for (size_t i = 0; i < m->len; i++) controller_free(m->items[i]);
    pthread_mutex_destroy(&m->mutex);
    free(m->items);
    free(m);
}
