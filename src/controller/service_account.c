/* A ServiceAccount `default` in every active namespace. Upstream: pkg/controller/serviceaccount/serviceaccounts_controller.go. Tests: tests/unit/test_controller_namespace.c. */
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"

static const char *const managed[] = {"default", NULL};

struct service_account_controller {
    struct controller *c;
    struct informer *accounts, *namespaces;
};

static void on_account_gone(void *data, struct cached *old) {
    struct service_account_controller *sc = data;
    work_queue_add(sc->c->queue, old->obj->metadata.namespace);
}

static int create_account(struct service_account_controller *sc, struct arena *a, const char *ns, const char *name, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_ServiceAccount *sa = object_new(a, &corev1_ServiceAccount_desc);
    sa->metadata.namespace = ns;
    sa->metadata.name = name;
    if (client_create(sc->c->client, a, &corev1_ServiceAccount_desc, sa, NULL, &err) == 0 || status_is(&err, 409) || status_has_cause(&err, "NamespaceTerminating")) return 0;
    status_copy(reterr, &err);
    return -1;
}

static int sync_namespace(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct service_account_controller *sc = self;
    _cleanup_cached_ struct cached *cached = informer_get(sc->namespaces, NULL, key);
    if (!cached || !str_eq(CACHED(cached, corev1_Namespace)->status.phase, "Active")) return 0;
    int failed = 0;
    for (const char *const *name = managed; *name; name++) {
        _cleanup_cached_ struct cached *sa = informer_get(sc->accounts, key, *name);
        if (!sa && create_account(sc, a, key, *name, reterr) != 0) failed = -1;
    }
    return failed;
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct service_account_controller *sc = calloc(1, sizeof(*sc));
    CHECK(sc);
    sc->c = c;
    sc->accounts = informers_get(c->context->informers, &corev1_ServiceAccount_desc);
    sc->namespaces = informers_get(c->context->informers, &corev1_Namespace_desc);
    informer_add_handler(sc->accounts, &(struct informer_handler){sc, NULL, NULL, on_account_gone});
    informer_add_handler(sc->namespaces, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    return sc;
}

const struct controller_desc controller_serviceaccount = {
    .name = "serviceaccount-controller", .queue = "serviceaccount", .account = "service-account-controller", .workers = 5, .new = new, .sync = sync_namespace, .free = free};
