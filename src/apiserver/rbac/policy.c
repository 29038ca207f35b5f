/* The default policy, brought to the store at start. Everything in one write, before anything is served. Tests: tests/integration/test_auth.py. */
#include "apiserver/rbac/policy.h"
#include <string.h>
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "apiserver/rbac/rbac.h"
#include "apiserver/registry.h"
#include "base/str.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"
static const char *const autoupdate = "rbac.authorization.kubernetes.io/autoupdate";

struct writer {
    struct apiserver *s;
    struct arena *a;
    struct store_txn *txn;
    struct { struct store_op *items; size_t len; } ops;
};

/* ---- the tables' texts ---- */

static struct string_list split(struct arena *a, const char *text, size_t len, char by) {
    struct string_list l = {0};
    for (const char *end = text + len;;) {
        const char *at = memchr(text, by, (size_t)(end - text));
        string_list_push(a, &l, arena_strndup(a, text, (size_t)((at ? at : end) - text)));
        if (!at) return l;
        text = at + 1;
    }
}

static struct rbacv1_PolicyRule parse_rule(struct arena *a, const char *line, size_t len) {
    struct string_list parts = split(a, line, len, '|');
    struct rbacv1_PolicyRule rule = {.verbs = split(a, parts.items[0], strlen(parts.items[0]), ',')};
    struct string_list *urls[] = {&rule.nonResourceURLs}, *resource[] = {&rule.apiGroups, &rule.resources, &rule.resourceNames}, **into = parts.len == 2 ? urls : resource;
    for (size_t i = 1; i < parts.len; i++) *into[i - 1] = split(a, parts.items[i], strlen(parts.items[i]), ',');
    return rule;
}

struct rbacv1_PolicyRule_list policy_rules(struct arena *a, const char *text) {
    struct rbacv1_PolicyRule_list rules = {0};
    for (; text && *text; text += strcspn(text, "\n") + 1) *LIST_PUSH(a, &rules) = parse_rule(a, text, strcspn(text, "\n"));
    return rules;
}

static struct rbacv1_Subject parse_subject(struct arena *a, const char *text) {
    const char *slash = strchr(text, '/');
    if (text[0] == 'S') return (struct rbacv1_Subject){.kind = "ServiceAccount", .namespace = arena_strndup(a, text + 2, (size_t)(slash - text - 2)), .name = slash + 1};
    return (struct rbacv1_Subject){.kind = text[0] == 'U' ? "User" : "Group", .apiGroup = RBAC_GROUP, .name = text + 2};
}

static struct rbacv1_Subject_list parse_subjects(struct arena *a, const char *text) {
    struct rbacv1_Subject_list subjects = {0};
    struct string_list words = {0};
    if (text) words = split(a, text, strlen(text), ' ');
    for (size_t i = 0; i < words.len; i++) *LIST_PUSH(a, &subjects) = parse_subject(a, words.items[i]);
    return subjects;
}

/* ---- writing ---- */

static void begin(struct writer *w, const struct type_desc *type, struct object *obj, const char *namespace, const char *name) {
    object_set_type_meta(w->a, type, obj);
    obj->metadata.name = name;
    obj->metadata.namespace = namespace;
    string_map_set(w->a, &obj->metadata.labels, "kubernetes.io/bootstrapping", "rbac-defaults");
    string_map_set(w->a, &obj->metadata.annotations, autoupdate, "true");
}

static void put(struct writer *w, const struct strategy *st, struct object *obj) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    size_t rv_offset;
    char uuid[37];
    if (str_empty(obj->metadata.uid)) {
        env_uuid(apiserver_env(w->s), uuid);
        obj->metadata.uid = arena_strdup(w->a, uuid);
        obj->metadata.creationTimestamp = time_from_s(env_now_s(apiserver_env(w->s)));
    }
    object_encode_stored(st->type, obj, &out, &rv_offset);
    *LIST_PUSH(w->a, &w->ops) = (struct store_op){.key = storage_key(w->a, st, obj->metadata.namespace, obj->metadata.name), .expect_mod_revision = STORE_ANY, .value = arena_memdup(w->a, out.data, out.len),
                                                  .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
}

/* What is stored, or NULL; NULL with *ret_hands_off when it must not be touched. */
static void *stored(struct writer *w, const struct strategy *st, const struct object *want, bool *ret_hands_off) {
    struct store_view v;
    *ret_hands_off = false;
    if (!store_get(w->txn, storage_key(w->a, st, want->metadata.namespace, want->metadata.name), &v)) return NULL;
    struct object *have = registry_decode(w->a, st, &v);
    const char *update = have ? string_map_get(&have->metadata.annotations, autoupdate) : NULL;
    *ret_hands_off = update && strcmp(update, "false") == 0;
    return have;
}

/* Labels and annotations that are gone come back; values that were changed stay. True when something was added. */
static bool merge_meta(struct writer *w, struct string_map *have, const struct string_map *want) {
    bool added = false;
    *have = string_map_copy(w->a, have);
    LIST_FOREACH(e, want) {
        if (string_map_has(have, e->key)) continue;
        string_map_set(w->a, have, e->key, e->value);
        added = true;
    }
    return added;
}

static bool merge_rules(struct writer *w, struct rbacv1_PolicyRule_list *have, const struct rbacv1_PolicyRule_list *want) {
    struct rbacv1_PolicyRule_list missing = rbac_uncovered(w->a, have, want), all = {0};
    if (!missing.len) return false;
    LIST_FOREACH(r, have) *LIST_PUSH(w->a, &all) = *r;
    LIST_FOREACH(r, &missing) *LIST_PUSH(w->a, &all) = *r;
    *have = all;
    return true;
}

static bool merge_aggregation(struct writer *w, struct rbacv1_ClusterRole *have, const struct rbacv1_ClusterRole *want) {
    struct rbacv1_AggregationRule *h = have->aggregationRule;
    if (!want->aggregationRule) return false;
    struct metav1_LabelSelector_list all = {0};
    if (h) LIST_FOREACH(s, &h->clusterRoleSelectors) *LIST_PUSH(w->a, &all) = *s;
    size_t before = all.len;
    LIST_FOREACH(s, &want->aggregationRule->clusterRoleSelectors) {
        bool there = false;
        for (size_t i = 0; i < before; i++) there |= object_equal(&metav1_LabelSelector_desc, &all.items[i], s);
        if (!there) *LIST_PUSH(w->a, &all) = *s;
    }
    if (all.len == before) return false;
    have->aggregationRule = ARENA_NEW(w->a, struct rbacv1_AggregationRule);
    have->aggregationRule->clusterRoleSelectors = all;
    return true;
}

static void reconcile_role(struct writer *w, const struct policy_role *p) {
    const struct strategy *st = strategy_find(RBAC_GROUP, p->namespace ? "roles" : "clusterroles");
    struct rbacv1_ClusterRole *want = ARENA_NEW(w->a, struct rbacv1_ClusterRole), *have; /* a Role is its beginning */
    bool hands_off;
    begin(w, st->type, (struct object *)want, p->namespace, p->name);
    if (p->to) string_map_set(w->a, &want->metadata.labels, arena_printf(w->a, RBAC_GROUP "/aggregate-to-%s", p->to), "true");
    want->rules = policy_rules(w->a, p->rules);
    if (p->from) {
        want->aggregationRule = ARENA_NEW(w->a, struct rbacv1_AggregationRule);
        string_map_set(w->a, &LIST_PUSH(w->a, &want->aggregationRule->clusterRoleSelectors)->matchLabels, arena_printf(w->a, RBAC_GROUP "/aggregate-to-%s", p->from), "true");
    }
    have = stored(w, st, (struct object *)want, &hands_off);
    if (hands_off) return;
    if (!have) {
        put(w, st, (struct object *)want);
        return;
    }
    bool changed = merge_meta(w, &have->metadata.labels, &want->metadata.labels);
    changed |= merge_meta(w, &have->metadata.annotations, &want->metadata.annotations);
    changed |= merge_rules(w, &have->rules, &want->rules);
    if (!p->namespace) changed |= merge_aggregation(w, have, want);
    if (changed) put(w, st, (struct object *)have);
}

static bool merge_subjects(struct writer *w, struct rbacv1_Subject_list *have, const struct rbacv1_Subject_list *want) {
    struct rbacv1_Subject_list all = {0};
    LIST_FOREACH(s, have) *LIST_PUSH(w->a, &all) = *s;
    size_t before = all.len;
    LIST_FOREACH(s, want) {
        bool there = false;
        for (size_t i = 0; i < before; i++) there |= object_equal(&rbacv1_Subject_desc, &all.items[i], s);
        if (!there) *LIST_PUSH(w->a, &all) = *s;
    }
    *have = all;
    return all.len > before;
}

static void reconcile_binding(struct writer *w, const struct policy_binding *p) {
    const struct strategy *st = strategy_find(RBAC_GROUP, p->namespace ? "rolebindings" : "clusterrolebindings");
    struct rbacv1_RoleBinding *want = ARENA_NEW(w->a, struct rbacv1_RoleBinding), *have;
    bool hands_off;
    begin(w, st->type, (struct object *)want, p->namespace, p->name);
    want->roleRef = (struct rbacv1_RoleRef){.apiGroup = RBAC_GROUP, .kind = p->kind, .name = p->role ? p->role : p->name};
    want->subjects = parse_subjects(w->a, p->subjects);
    have = stored(w, st, (struct object *)want, &hands_off);
    if (hands_off) return;
    if (!have || !object_equal(&rbacv1_RoleRef_desc, &have->roleRef, &want->roleRef)) { /* another role: upstream deletes it and makes it anew */
        put(w, st, (struct object *)want);
        return;
    }
    bool changed = merge_meta(w, &have->metadata.labels, &want->metadata.labels);
    changed |= merge_meta(w, &have->metadata.annotations, &want->metadata.annotations);
    changed |= merge_subjects(w, &have->subjects, &want->subjects);
    if (changed) put(w, st, (struct object *)have);
}

int policy_reconcile(struct apiserver *s, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct writer w = {.s = s, .a = a};
    struct store_result res = {0};
    _Static_assert(offsetof(struct rbacv1_Role, rules) == offsetof(struct rbacv1_ClusterRole, rules), "one function reconciles both");
    if (store_read_begin(apiserver_store(s), &w.txn, reterr) != 0) return -1;
    for (size_t i = 0; i < policy_roles_len; i++) reconcile_role(&w, &policy_roles[i]);
    for (size_t i = 0; i < policy_bindings_len; i++) reconcile_binding(&w, &policy_bindings[i]);
    store_read_end(w.txn);
    for (size_t i = 0; i < w.ops.len && res.outcome == STORE_OK; i += STORE_OPS_MAX)
        store_write_wait(apiserver_store(s), w.ops.items + i, MIN(w.ops.len - i, (size_t)STORE_OPS_MAX), &res);
    if (res.outcome == STORE_OK) return 0;
    status_copy(reterr, &res.error);
    status_release(&res.error);
    return -1;
}
