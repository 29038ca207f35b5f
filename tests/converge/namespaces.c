/* Namespaces and what each has: accounts, the root certificate, tokens, quotas; garbage; aggregated roles. */
#include "converge.h"

#define NS(n) "/api/v1/namespaces/" n

static void make_namespace(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'%s'}}", name));
}

static void make_map(struct world *w, const char *ns, const char *name, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'%s','namespace':'%s'%s}}", name, ns, more));
}

/* ---- a deleted namespace goes with all that is in it, not before, and nothing else goes ---- */

static void fill_namespace(struct world *w, const char *ns) {
    _cleanup_arena_ struct arena *a = arena_new();
    make_namespace(w, ns);
    make_map(w, ns, "m1", "");
    make_map(w, ns, "m2", "");
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'default','namespace':'%s'},'automountServiceAccountToken':false}", ns));
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'s','namespace':'%s'}}", ns));
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'%s'},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'i'}]}}", ns));
}

static void namespace_begin(struct world *w) {
    fill_namespace(w, "a");
    fill_namespace(w, "b");
    fill_namespace(w, "stays");
    make_map(w, "a", "held", ",'finalizers':['example.com/hold']");
}

static void namespace_act(struct world *w, int step) {
    if (step == 0) cluster_delete(w->k, NS("a"), NULL);
    if (step == 1) make_map(w, "stays", "m3", "");
    if (step == 2) cluster_delete(w->k, NS("b"), NULL);
    if (step == 3) cluster_patch(w->k, NS("a/configmaps/held"), "{'metadata':{'finalizers':null}}");
}

static const char *namespace_holds(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{NS("stays/configmaps/m1"), "metadata.name", "m1"}, {NS("stays/secrets/s"), "metadata.name", "s"}, {NS("stays"), "status.phase", "Active"}, {NULL}};
    if (!*cluster_get(w->k, a, NS("a"), "metadata.name") && w->step < 3) return "a namespace is gone before what is in it";
    bool gone = !*cluster_get(w->k, a, NS("b"), "metadata.name");
    if (gone && !str_eq(cluster_get(w->k, a, NS("b/configmaps"), "#items"), "0")) return "a namespace is gone before its ConfigMaps";
    if (gone && !str_eq(cluster_get(w->k, a, NS("b/pods"), "#items"), "0")) return "a namespace is gone before its Pods";
    return world_want_all(w, a, wants);
}

static const char *namespace_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{NS("a"), "metadata.name", ""}, {NS("b"), "metadata.name", ""}, {NS("stays/pods/p"), "status.phase", "Running"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_namespace = {.name = "namespace", .controllers = "namespace-controller", .kubelet = KUBELET_RUNS, .steps = 4, .pace_ms = 200, .begin = namespace_begin, .act = namespace_act,
    .holds = namespace_holds, .done = namespace_done,
    .state = (const char *const[]){"/api/v1/namespaces", "/api/v1/pods", "/api/v1/secrets?fieldSelector=metadata.name=s", "/api/v1/configmaps?fieldSelector=metadata.namespace=stays", NULL}};

/* ---- each namespace has its default account, and gets it back ---- */

static void account_begin(struct world *w) { make_namespace(w, "a"); }

static void account_act(struct world *w, int step) {
    if (step == 0) make_namespace(w, "b");
    if (step == 1 || step == 3) world_delete(w, NS("a/serviceaccounts/default"), NULL);
    if (step == 2) make_namespace(w, "c"), cluster_create(w->k, "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'mine','namespace':'c'}}");
}

static const char *account_holds(struct world *w, struct arena *a) {
    struct corev1_ServiceAccountList all;
    world_list(w, a, &corev1_ServiceAccount_desc, "c", &all);
    LIST_FOREACH(s, &all.items)
        if (!world_same(w, s->metadata.name, s->metadata.uid)) return arena_printf(a, "the account %s was made twice", s->metadata.name);
    return NULL;
}

static const char *account_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{NS("a/serviceaccounts/default"), "metadata.name", "default"}, {NS("b/serviceaccounts/default"), "metadata.name", "default"}, {NS("c/serviceaccounts"), "#items", "2"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_service_account = {.name = "serviceaccount", .controllers = "serviceaccount-controller", .steps = 4, .pace_ms = 20, .begin = account_begin, .act = account_act, .holds = account_holds,
    .done = account_done, .state = (const char *const[]){"/api/v1/serviceaccounts", NULL}};

/* ---- each namespace has the root certificate, and gets it back ---- */

#define CA(ns) NS(ns "/configmaps/kube-root-ca.crt")

static const char *ca_ready(struct world *w, struct arena *a) { return world_want(w, a, CA("a"), "metadata.name", "kube-root-ca.crt"); }

static void ca_act(struct world *w, int step) {
    if (step == 0) make_namespace(w, "b");
    if (step == 1) cluster_request(w->k, "PATCH", CA("a"), PATCH_MERGE, "{'data':{'ca.crt':'wrong','more':'x'}}", NULL, NULL);
    if (step == 2) world_delete(w, CA("a"), NULL);
    if (step == 3) cluster_request(w->k, "PATCH", CA("default"), PATCH_MERGE, "{'data':{'more':'x'}}", NULL, NULL);
    if (step == 4) make_map(w, "b", "mine", "");
}

static const char *ca_holds(struct world *w, struct arena *a) { return w->step > 4 ? world_want(w, a, NS("b/configmaps/mine"), "metadata.name", "mine") : NULL; }

static const char *ca_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CA("a"), "#data", "1"}, {CA("b"), "#data", "1"}, {CA("default"), "#data", "1"}, {NULL}};
    const char *missing = world_want_all(w, a, wants);
    return missing ? missing : world_want(w, a, CA("a"), "data.ca|crt", cluster_get(w->k, a, CA("b"), "data.ca|crt"));
}

const struct scenario scenario_root_ca = {.name = "root-ca-publisher", .controllers = "root-ca-certificate-publisher-controller", .steps = 5, .pace_ms = 20, .begin = account_begin, .ready = ca_ready, .act = ca_act,
    .holds = ca_holds, .done = ca_done, .state = (const char *const[]){"/api/v1/configmaps?fieldSelector=metadata.name=kube-root-ca.crt", NULL}};

/* ---- tokens in Secrets ---- */

static void make_token_secret(struct world *w, const char *name, const char *account) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Secret','type':'kubernetes.io/service-account-token','metadata':{'name':'%s','namespace':'default','annotations':{'kubernetes.io/service-account.name':'%s'}}}",
        name, account));
}

static void make_account(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'%s','namespace':'default'}}", name));
}

#define TOKENS(n) NS("default/secrets/" n)

static void token_begin(struct world *w) {
    make_account(w, "stays");
    make_account(w, "goes");
    make_token_secret(w, "kept", "stays");
    make_token_secret(w, "lost", "goes");
}

static const char *has_token(struct world *w, struct arena *a, const char *name) {
    char *target = arena_printf(a, TOKENS("%s"), name);
    if (!*cluster_get(w->k, a, target, "data.token") || !*cluster_get(w->k, a, target, "data.ca|crt")) return arena_printf(a, "%s has no token or certificate", name);
    return world_want(w, a, target, "data.namespace", "ZGVmYXVsdA==");
}

static const char *token_ready(struct world *w, struct arena *a) { return has_token(w, a, "kept"); }

static void token_act(struct world *w, int step) {
    if (step == 0) make_token_secret(w, "more", "stays");
    if (step == 1) cluster_delete(w->k, NS("default/serviceaccounts/goes"), NULL);
    if (step == 2) cluster_patch(w->k, TOKENS("kept"), "{'data':{'token':null,'namespace':'eA=='}}");
    if (step == 3) make_account(w, "new"), make_token_secret(w, "of-new", "new");
}

static const char *token_holds(struct world *w, struct arena *a) { return world_want(w, a, TOKENS("kept"), "metadata.name", "kept"); }

static const char *token_done(struct world *w, struct arena *a) {
    static const char *const names[] = {"kept", "more", "of-new"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *missing = has_token(w, a, names[i]);
        if (missing) return missing;
    }
    return world_want(w, a, TOKENS("lost"), "metadata.name", "");
}

const struct scenario scenario_service_account_token = {.name = "serviceaccount-token", .controllers = "serviceaccount-token-controller", .steps = 4, .pace_ms = 20, .begin = token_begin, .ready = token_ready, .act = token_act,
    .holds = token_holds, .done = token_done, .state = (const char *const[]){"/api/v1/namespaces/default/serviceaccounts", NULL}};

/* ---- quotas: users make and delete at random; what is used is at the end what is there ----
 * That it is never exceeded is not asked: as upstream, what was charged and is not there yet may be given back by a count. */

#define QUOTA NS("default/resourcequotas/q")

static void quota_begin(struct world *w) {
    w->k->options.resource_quota_sync_period_ms = 30000; /* what was counted for a Pod that was then refused is found by counting all again */
    cluster_create(w->k, "{'apiVersion':'v1','kind':'ResourceQuota','metadata':{'name':'q','namespace':'default'},'spec':{'hard':{'pods':'3','configmaps':'4','requests.cpu':'1'}}}");
    make_map(w, "default", "first", "");
}

static const char *quota_ready(struct world *w, struct arena *a) { return world_want(w, a, QUOTA, "status.used.configmaps", "1"); }

static void quota_look(struct world *w) {
    _cleanup_arena_ struct arena *a = arena_new();
    if (!w->begun || w->step >= w->scenario->steps - 1) return;
    char *pod = arena_printf(a, PODS "/p%d", world_draw(w, 6));
    if (world_draw(w, 2)) cluster_request(w->k, "POST", PODS, NULL, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s'},'spec':{'containers':[{'name':'c','image':'i','resources':{'requests':{'cpu':'100m'}}}]}}",
        strrchr(pod, '/') + 1), NULL, NULL);
    else world_delete(w, pod, "{'gracePeriodSeconds':0}");
}

static void quota_act(struct world *w, int step) {
    if (step == 1) cluster_patch(w->k, QUOTA, "{'spec':{'hard':{'pods':'2'}}}");
    if (step == 2) cluster_delete(w->k, NS("default/configmaps/first"), NULL);
    if (step < 4) return;
    cluster_delete(w->k, PODS, "{'gracePeriodSeconds':0}");
    cluster_patch(w->k, QUOTA, "{'spec':{'hard':{'pods':'5'}}}");
}

static const char *quota_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{QUOTA, "status.hard.pods", "5"}, {QUOTA, "status.used.pods", "0"}, {QUOTA, "status.used.requests|cpu", "0"}, {QUOTA, "status.used.configmaps", "0"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_resource_quota = {.name = "resourcequota", .controllers = "resourcequota-controller", .steps = 5, .pace_ms = 300, .begin = quota_begin, .ready = quota_ready, .look = quota_look, .act = quota_act,
    .done = quota_done, .state = (const char *const[]){NS("default/resourcequotas"), PODS, NULL}};

/* ---- garbage: background, foreground, orphans ---- */

#define MAPS NS("default/configmaps")

static char *ref(struct world *w, struct arena *a, const char *name, bool blocks) {
    return arena_printf(a, ",'ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap','name':'%s','uid':'%s','blockOwnerDeletion':%s}]", name, cluster_get(w->k, a, arena_printf(a, MAPS "/%s", name), "metadata.uid"),
        blocks ? "true" : "false");
}

static void garbage_begin(struct world *w) {
    static const char *const tops[] = {"background", "foreground", "orphan", "stays"};
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(tops); i++) {
        make_map(w, "default", tops[i], "");
        char *middle = arena_printf(a, "%s-1", tops[i]);
        make_map(w, "default", middle, ref(w, a, tops[i], true));
        make_map(w, "default", arena_printf(a, "%s-2", tops[i]), ref(w, a, tops[i], false));
        make_map(w, "default", arena_printf(a, "%s-1-1", tops[i]), ref(w, a, middle, true));
    }
}

static void garbage_act(struct world *w, int step) {
    _cleanup_arena_ struct arena *a = arena_new();
    if (step == 0) cluster_delete(w->k, MAPS "/background", "{'propagationPolicy':'Background'}");
    if (step == 1) cluster_delete(w->k, MAPS "/foreground", "{'propagationPolicy':'Foreground'}");
    if (step == 2) cluster_delete(w->k, MAPS "/orphan", "{'propagationPolicy':'Orphan'}");
    if (step == 3) make_map(w, "default", "late", ",'ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap','name':'background','uid':'of-one-that-is-gone'}]");
}

static const char *garbage_holds(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{MAPS "/stays", "metadata.name", "stays"}, {MAPS "/stays-1", "metadata.name", "stays-1"}, {MAPS "/stays-1-1", "metadata.name", "stays-1-1"}, {MAPS "/stays-2", "metadata.name", "stays-2"},
        {MAPS "/orphan-1", "metadata.name", "orphan-1"}, {MAPS "/orphan-2", "metadata.name", "orphan-2"}, {MAPS "/orphan-1-1", "metadata.name", "orphan-1-1"}, {NULL}};
    bool owner = *cluster_get(w->k, a, MAPS "/foreground", "metadata.name") != 0;
    if (!owner && *cluster_get(w->k, a, MAPS "/foreground-1", "metadata.name")) return "an owner in the foreground is gone before what blocks it";
    return world_want_all(w, a, wants);
}

static const char *garbage_done(struct world *w, struct arena *a) {
    return world_want(w, a, MAPS, "#items", "7");
}

const struct scenario scenario_garbage_collector = {.name = "garbage-collector", .controllers = "garbage-collector-controller", .steps = 4, .pace_ms = 100, .begin = garbage_begin, .act = garbage_act, .holds = garbage_holds,
    .done = garbage_done, .state = (const char *const[]){MAPS, NULL}};

/* ---- aggregated roles ---- */

#define ROLE(n) "/apis/rbac.authorization.k8s.io/v1/clusterroles/" n

static void make_role(struct world *w, const char *name, const char *label, const char *resource) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'ClusterRole','metadata':{'name':'%s','labels':{'mine':'1','%s':'1'}},'rules':[{'apiGroups':[''],'resources':['%s'],'verbs':['get']}]}",
        name, label, resource));
}

static void roles_begin(struct world *w) {
    cluster_create(w->k, "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'ClusterRole','metadata':{'name':'all','labels':{'mine':'1','up':'1'}},'aggregationRule':{'clusterRoleSelectors':[{'matchLabels':{'to':'1'}}]},'rules':[]}");
    cluster_create(w->k, "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'ClusterRole','metadata':{'name':'above','labels':{'mine':'1'}},'aggregationRule':{'clusterRoleSelectors':[{'matchLabels':{'up':'1'}}]},'rules':[]}");
    make_role(w, "a", "to", "pods");
}

static void roles_act(struct world *w, int step) {
    if (step == 0) make_role(w, "b", "to", "nodes");
    if (step == 1) make_role(w, "c", "other", "secrets");
    if (step == 2) cluster_patch(w->k, ROLE("c"), "{'metadata':{'labels':{'to':'1'}}}");
    if (step == 3) cluster_delete(w->k, ROLE("a"), NULL);
    if (step == 4) cluster_patch(w->k, ROLE("b"), "{'rules':[{'apiGroups':[''],'resources':['services'],'verbs':['list']}]}");
}

static const char *roles_hold(struct world *w, struct arena *a) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    char *rules = cluster_get(w->k, a, ROLE("all"), "rules");
    return w->step < 2 && strstr(rules, "secrets") ? "a rule is in that nobody put there" : NULL;
}

static const char *roles_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{ROLE("all"), "#rules", "2"}, {ROLE("above"), "#rules", "2"}, {ROLE("all"), "rules[0].resources", "[\"services\"]"}, {ROLE("above"), "rules[1].resources", "[\"secrets\"]"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_cluster_role_aggregation = {.name = "clusterrole-aggregation", .controllers = "clusterrole-aggregation-controller", .steps = 5, .pace_ms = 20, .begin = roles_begin, .act = roles_act,
    .holds = roles_hold, .done = roles_done, .state = (const char *const[]){"/apis/rbac.authorization.k8s.io/v1/clusterroles?labelSelector=mine", NULL}};
