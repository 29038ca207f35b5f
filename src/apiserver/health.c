/* /healthz, /livez and /readyz with their single checks. Upstream: apiserver/pkg/server/healthz. The hooks named here are done before a server serves, so
 * that they cannot be found unfinished; what can fail is the store. Tests: tests/integration/test_health.py. */
#include <string.h>
#include "apiserver/apiserver.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/handlers.h"
#include "base/str.h"

static bool always(struct api_request *r UNUSED) { return true; }

enum { STORE_TIMEOUT_MS = 2000 };

static bool store_answers_in(struct api_request *r, int timeout_ms) {
    struct store_txn *t;
    if (store_check_health(apiserver_store(r->server), timeout_ms ? timeout_ms : STORE_TIMEOUT_MS, NULL) != 0 || store_read_begin(apiserver_store(r->server), &t, NULL) != 0) return false;
    store_read_end(t);
    return true;
}

static bool store_answers(struct api_request *r) { return store_answers_in(r, apiserver_options(r->server)->etcd_health_timeout_ms); }
static bool store_is_ready(struct api_request *r) { return store_answers_in(r, apiserver_options(r->server)->etcd_ready_timeout_ms); }

static bool plugins_are_well(struct api_request *r) { return !apiserver_encryption(r->server) || encryption_is_healthy(apiserver_encryption(r->server), NULL); }

static const struct check { const char *name; bool (*passes)(struct api_request *r); bool ready_only; } checks[] = {
    {"ping", always, false}, {"log", always, false}, {"etcd", store_answers, false}, {"etcd-readiness", store_is_ready, true}, {"informer-sync", always, true},
    {"poststarthook/start-system-namespaces-controller", always, false}, {"poststarthook/rbac/bootstrap-roles", always, false}, {"poststarthook/scheduling/bootstrap-system-priority-classes", always, false},
    {"poststarthook/priority-and-fairness-config-consumer", always, false}, {"poststarthook/priority-and-fairness-filter", always, false},
    {"poststarthook/priority-and-fairness-config-producer", always, false}, {"poststarthook/bootstrap-controller", always, false}, {"poststarthook/start-kubernetes-service-cidr-controller", always, false},
    {"poststarthook/kube-apiserver-autoregistration", always, false}, {"autoregister-completion", always, false}, {"shutdown", always, true},
    {"kms-providers", plugins_are_well, false},
};

/* Without plugins, nobody knows of their check. */
static bool is_there(const struct api_request *r, const struct check *c) { return strcmp(c->name, "kms-providers") != 0 || encryption_has_health(apiserver_encryption(r->server)); }

static struct string_list excluded(const struct api_request *r) {
    struct string_list list = {0};
    for (size_t i = 0; i < r->query.len; i++)
        if (str_eq(r->query.items[i].key, "exclude")) string_list_push(r->arena, &list, r->query.items[i].value);
    return list;
}

/* Names that no check has, quoted and sorted as upstream warns of them. */
static void warn_unknown(const struct string_list *names, bool ready, struct buf *out) {
    bool any = false;
    for (size_t i = 0; i < names->len; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(checks); k++) known |= (ready || !checks[k].ready_only) && str_eq(checks[k].name, names->items[i]);
        if (known) continue;
        buf_printf(out, "%s\"%s\"", any ? ", " : "warn: some health checks cannot be excluded: no matches for ", names->items[i]);
        any = true;
    }
    if (any) buf_append_char(out, '\n');
}

/* All checks but the excluded ones: "ok" alone, or each by its name. */
static void respond_all(struct api_request *r, const char *name, bool ready) {
    struct string_list skip = excluded(r);
    _cleanup_buf_ struct buf out = BUF_INIT;
    bool failed = false;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        const struct check *c = &checks[i];
        if ((c->ready_only && !ready) || !is_there(r, c)) continue;
        bool skipped = string_list_has(&skip, c->name), ok = skipped || c->passes(r);
        failed |= !ok;
        buf_printf(&out, ok ? "[+]%s%s ok\n" : "[-]%s%s failed: reason withheld\n", c->name, skipped ? " excluded:" : "");
    }
    warn_unknown(&skip, ready, &out);
    buf_printf(&out, failed ? "%s check failed\n" : "%s check passed\n", name);
    respond_health(r, failed ? 500 : 200, failed || url_query_has(&r->query, "verbose") ? buf_cstr(&out) : "ok");
}

bool handle_health(struct api_request *r) {
    static const char *const roots[] = {"healthz", "livez", "readyz"};
    for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
        size_t n = strlen(roots[i]);
        bool ready = strcmp(roots[i], "readyz") == 0;
        if (r->path[0] != '/' || strncmp(r->path + 1, roots[i], n) != 0) continue;
        const char *rest = r->path + 1 + n;
        if (!*rest) {
            respond_all(r, roots[i], ready);
            return true;
        }
        for (size_t k = 0; *rest == '/' && k < ARRAY_LEN(checks); k++) {
            if (strcmp(rest + 1, checks[k].name) != 0 || (checks[k].ready_only && !ready) || !is_there(r, &checks[k])) continue;
            bool ok = checks[k].passes(r);
            respond_health(r, ok ? 200 : 500, ok ? "ok" : "internal server error: reason withheld\n");
            return true;
        }
    }
    return false;
}
