#include "api/flowcontrol_bootstrap.h"
#include <string.h>
#include "base/str.h"

/* Facts. Subjects: "g:" a group, "u:" a user, "s:" an account of kube-system. Rules: an API group, resources, whether cluster-scoped objects too;
 * no rules: everything. */
struct rule { const char *group, *resources[3]; bool cluster, every_verb; };
static const struct schema {
    const char *name, *level;
    int32_t precedence;
    const char *distinguisher, *subjects[4];
    struct rule rules[3];
} schemas[] = {
    {"exempt", "exempt", 1, NULL, {"g:system:masters"}, {{0}}},
    {"catch-all", "catch-all", 10000, "ByUser", {"g:system:unauthenticated", "g:system:authenticated"}, {{0}}},
    {"system-nodes", "system", 500, "ByUser", {"g:system:nodes"}, {{0}}},
    {"system-node-high", "node-high", 400, "ByUser", {"g:system:nodes"}, {{"", {"nodes", "nodes/status"}, true, true}, {"coordination.k8s.io", {"leases"}, false, true}}},
    {"probes", "exempt", 2, NULL, {"g:system:unauthenticated", "g:system:authenticated"}, {{0}}},
    {"system-leader-election", "leader-election", 100, "ByUser", {"u:system:kube-controller-manager", "u:system:kube-scheduler", "s:*"}, {{"coordination.k8s.io", {"leases"}, false, false}}},
    {"endpoint-controller", "workload-high", 150, "ByUser", {"u:system:kube-controller-manager", "s:endpoint-controller", "s:endpointslicemirroring-controller"}, {{"", {"endpoints"}, false, false}}},
    {"workload-leader-election", "leader-election", 200, "ByUser", {"s:*"}, {{"", {"endpoints", "configmaps"}, false, false}, {"coordination.k8s.io", {"leases"}, false, false}}},
    {"kube-controller-manager", "workload-high", 800, "ByNamespace", {"u:system:kube-controller-manager"}, {{0}}},
    {"kube-scheduler", "workload-high", 800, "ByNamespace", {"u:system:kube-scheduler"}, {{0}}},
    {"kube-system-service-accounts", "workload-high", 900, "ByNamespace", {"s:*"}, {{0}}},
    {"service-accounts", "workload-low", 9000, "ByUser", {"g:system:serviceaccounts"}, {{0}}},
    {"global-default", "global-default", 9900, "ByUser", {"g:system:unauthenticated", "g:system:authenticated"}, {{0}}},
};

static const struct level { const char *name; int32_t shares, lendable, queues, hand; } levels[] = { /* queues 0: none, the rest is refused */
    {"exempt", 0, 0, 0, 0}, {"catch-all", 5, 0, 0, 0}, {"system", 30, 33, 64, 6}, {"node-high", 40, 25, 64, 6}, {"leader-election", 10, 0, 16, 4},
    {"workload-high", 40, 50, 128, 6}, {"workload-low", 100, 90, 128, 6}, {"global-default", 20, 50, 128, 6}};

enum { QUEUE_LENGTH = 50 };

static struct string_list list_of(struct arena *a, const char *const *items) {
    struct string_list list = {0};
    for (; *items; items++) string_list_push(a, &list, *items);
    return list;
}
#define LIST(a, ...) list_of(a, (const char *const[]){__VA_ARGS__, NULL})

static void add_subject(struct arena *a, struct flowcontrolv1_PolicyRulesWithSubjects *r, const char *s) {
    struct flowcontrolv1_Subject *to = LIST_PUSH(a, &r->subjects);
    if (*s == 'g') {
        to->kind = "Group";
        to->group = ARENA_NEW(a, struct flowcontrolv1_GroupSubject);
        to->group->name = s + 2;
    } else if (*s == 'u') {
        to->kind = "User";
        to->user = ARENA_NEW(a, struct flowcontrolv1_UserSubject);
        to->user->name = s + 2;
    } else {
        to->kind = "ServiceAccount";
        to->serviceAccount = ARENA_NEW(a, struct flowcontrolv1_ServiceAccountSubject);
        *to->serviceAccount = (struct flowcontrolv1_ServiceAccountSubject){"kube-system", s + 2};
    }
}

static void add_rules(struct arena *a, struct flowcontrolv1_PolicyRulesWithSubjects *r, const struct schema *s) {
    if (str_eq(s->name, "probes")) {
        *LIST_PUSH(a, &r->nonResourceRules) = (struct flowcontrolv1_NonResourcePolicyRule){LIST(a, "get"), LIST(a, "/healthz", "/readyz", "/livez")};
        return;
    }
    for (size_t i = 0; i < 3 && s->rules[i].group; i++)
        *LIST_PUSH(a, &r->resourceRules) = (struct flowcontrolv1_ResourcePolicyRule){.verbs = s->rules[i].every_verb ? LIST(a, "*") : LIST(a, "get", "create", "update"),
            .apiGroups = LIST(a, s->rules[i].group), .resources = list_of(a, s->rules[i].resources), .clusterScope = s->rules[i].cluster, .namespaces = LIST(a, "*")};
    if (r->resourceRules.len) return;
    *LIST_PUSH(a, &r->resourceRules) = (struct flowcontrolv1_ResourcePolicyRule){LIST(a, "*"), LIST(a, "*"), LIST(a, "*"), true, LIST(a, "*")};
    *LIST_PUSH(a, &r->nonResourceRules) = (struct flowcontrolv1_NonResourcePolicyRule){LIST(a, "*"), LIST(a, "*")};
}

struct flowcontrolv1_FlowSchema *bootstrap_flow_schema(struct arena *a, size_t i) {
    if (i >= ARRAY_LEN(schemas)) return NULL;
    const struct schema *s = &schemas[i];
    struct flowcontrolv1_FlowSchema *f = object_new(a, &flowcontrolv1_FlowSchema_desc);
    f->metadata.name = s->name;
    f->spec.priorityLevelConfiguration.name = s->level;
    f->spec.matchingPrecedence = s->precedence;
    if (s->distinguisher) {
        f->spec.distinguisherMethod = ARENA_NEW(a, struct flowcontrolv1_FlowDistinguisherMethod);
        f->spec.distinguisherMethod->type = s->distinguisher;
    }
    struct flowcontrolv1_PolicyRulesWithSubjects *r = LIST_PUSH(a, &f->spec.rules);
    for (size_t j = 0; j < 4 && s->subjects[j]; j++) add_subject(a, r, s->subjects[j]);
    add_rules(a, r, s);
    return f;
}

struct flowcontrolv1_PriorityLevelConfiguration *bootstrap_priority_level(struct arena *a, size_t i) {
    if (i >= ARRAY_LEN(levels)) return NULL;
    const struct level *l = &levels[i];
    struct flowcontrolv1_PriorityLevelConfiguration *p = object_new(a, &flowcontrolv1_PriorityLevelConfiguration_desc);
    p->metadata.name = l->name;
    if (i == 0) {
        p->spec.type = "Exempt";
        p->spec.exempt = ARENA_NEW(a, struct flowcontrolv1_ExemptPriorityLevelConfiguration);
        *p->spec.exempt = (struct flowcontrolv1_ExemptPriorityLevelConfiguration){.nominalConcurrencyShares = OPT(0), .lendablePercent = OPT(0)};
        return p;
    }
    p->spec.type = "Limited";
    p->spec.limited = ARENA_NEW(a, struct flowcontrolv1_LimitedPriorityLevelConfiguration);
    *p->spec.limited = (struct flowcontrolv1_LimitedPriorityLevelConfiguration){.nominalConcurrencyShares = OPT(l->shares), .lendablePercent = OPT(l->lendable), .limitResponse.type = l->queues ? "Queue" : "Reject"};
    if (l->queues) {
        p->spec.limited->limitResponse.queuing = ARENA_NEW(a, struct flowcontrolv1_QueuingConfiguration);
        *p->spec.limited->limitResponse.queuing = (struct flowcontrolv1_QueuingConfiguration){l->queues, l->hand, QUEUE_LENGTH};
    }
    return p;
}

const struct flowcontrolv1_FlowSchema *mandatory_flow_schema(struct arena *a, const char *name) {
    return str_eq(name, "exempt") ? bootstrap_flow_schema(a, 0) : str_eq(name, "catch-all") ? bootstrap_flow_schema(a, 1) : NULL;
}

const struct flowcontrolv1_PriorityLevelConfiguration *mandatory_priority_level(struct arena *a, const char *name) {
    return str_eq(name, "exempt") ? bootstrap_priority_level(a, 0) : str_eq(name, "catch-all") ? bootstrap_priority_level(a, 1) : NULL;
}
