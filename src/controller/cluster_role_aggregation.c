/* ClusterRoles with an aggregationRule get the rules of all that their selectors match. Upstream: pkg/controller/clusterroleaggregation. Tests: tests/unit/test_controller_misc.c. */
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"

#define MANAGER "clusterrole-aggregation-controller"

struct aggregation { struct controller *c; struct informer *roles; };

static int by_name(const void *a, const void *b) { return str_cmp((*(struct cached *const *)a)->obj->metadata.name, (*(struct cached *const *)b)->obj->metadata.name); }

static void add_rules(struct arena *a, struct rbacv1_PolicyRule_list *to, const struct rbacv1_PolicyRule_list *from) {
    LIST_FOREACH(rule, from) {
        bool known = false;
        LIST_FOREACH(x, to) known |= object_equal(&rbacv1_PolicyRule_desc, x, rule);
        if (!known) *LIST_PUSH(a, to) = *rule;
    }
}

/* In the order of selectors, then of names. */
static int collect(struct arena *a, const struct rbacv1_ClusterRole *role, const struct cached_list *all, struct rbacv1_PolicyRule_list *ret, struct status *reterr) {
    LIST_FOREACH(ls, &role->aggregationRule->clusterRoleSelectors) {
        struct selector s;
        if (label_selector_from(a, ls, &s, reterr) != 0) return -1;
        CACHED_FOREACH(other, rbacv1_ClusterRole, all)
            if (!str_eq(other->metadata.name, role->metadata.name) && selector_matches(&s, &other->metadata.labels)) add_rules(a, ret, &other->rules);
    }
    return 0;
}

static int write_rules(struct aggregation *ag, struct arena *a, const struct rbacv1_ClusterRole *role, const struct rbacv1_PolicyRule_list *rules, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT, answer = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    buf_printf(&body, "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRole\",\"metadata\":{\"name\":\"%s\"},\"rules\":[", role->metadata.name);
    for (size_t i = 0; i < rules->len; i++) {
        if (i) buf_append_char(&body, ',');
        object_encode_json(&rbacv1_PolicyRule_desc, &rules->items[i], &body);
    }
    buf_append_str(&body, "]}");
    const char *target = arena_printf(a, "%s?fieldManager=" MANAGER "&force=true", client_path(a, api_resource_of_type(&rbacv1_ClusterRole_desc), NULL, role->metadata.name, NULL));
    if (client_raw(ag->c->client, "PATCH", target, PATCH_APPLY, buf_cstr(&body), body.len, &answer, &err) == 0) return 0;
    if (status_is(&err, 415)) { /* a server without apply */
        struct rbacv1_ClusterRole *next = object_copy(a, &rbacv1_ClusterRole_desc, role);
        next->rules = *rules;
        return client_update(ag->c->client, a, &rbacv1_ClusterRole_desc, next, NULL, reterr);
    }
    status_copy(reterr, &err);
    return -1;
}

static int sync_role(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct aggregation *ag = self;
    _cleanup_cached_ struct cached *cached = informer_get(ag->roles, NULL, key);
    if (!cached) return 0;
    const struct rbacv1_ClusterRole *role = CACHED(cached, rbacv1_ClusterRole);
    if (!role->aggregationRule) return 0;
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(ag->roles, NULL, &all);
    qsort(all.items, all.len, sizeof(*all.items), by_name);
    struct rbacv1_PolicyRule_list rules = {0};
    if (collect(a, role, &all, &rules, reterr) != 0) return -1;
    struct rbacv1_ClusterRole was = {.rules = role->rules}, is = {.rules = rules};
    return object_equal(&rbacv1_ClusterRole_desc, &was, &is) ? 0 : write_rules(ag, a, role, &rules, reterr);
}

/* A change of any role may concern every aggregated one. */
static void enqueue_all(struct aggregation *ag) {
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(ag->roles, NULL, &all);
    CACHED_FOREACH(role, rbacv1_ClusterRole, &all)
        if (role->aggregationRule) controller_enqueue(ag->c, role);
}
static void on_add(void *data, struct cached *now UNUSED) { enqueue_all(data); }
static void on_update(void *data, struct cached *old UNUSED, struct cached *now UNUSED) { enqueue_all(data); }

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct aggregation *ag = calloc(1, sizeof(*ag));
    CHECK(ag);
    ag->c = c;
    ag->roles = informers_get(c->context->informers, &rbacv1_ClusterRole_desc);
    informer_add_handler(ag->roles, &(struct informer_handler){ag, on_add, on_update, on_add});
    return ag;
}

const struct controller_desc controller_cluster_role_aggregation = {.name = MANAGER, .queue = "ClusterRoleAggregator", .workers = 5, .new = new, .sync = sync_role, .free = free};
