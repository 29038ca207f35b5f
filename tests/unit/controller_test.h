/* Controllers under test: a real apiserver on a temporary store in this process, the controllers as `ckube server` runs them (each under its own
 * ServiceAccount and RBAC), a clock that tests can move, a pretended kubelet, and faults on demand. One cluster at a time; cmocka asserts inside.
 *
 *   static void a_deployment_makes_pods(void **state UNUSED) {
 *       struct cluster *k = cluster_start("deployment-controller,replicaset-controller");     // names as in --controllers; "*": all; NULL: none yet
 *       cluster_kubelet(k, KUBELET_RUNS);                       // binds Pods to the Node that their affinity names or to "n1", makes them Running and Ready, lets deleted ones go
 *       cluster_create(k, "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':'default'},'spec':{...}}"); // ' stands for "
 *       cluster_expect(k, "/apis/apps/v1/namespaces/default/deployments/web", "status.conditions[type=Available].status", "True");       // waits up to a minute
 *       cluster_expect_count(k, PODS, 3);                       // items of a list
 *       cluster_patch(k, "/apis/.../web", "{'spec':{'replicas':5}}");                          // a merge patch
 *       cluster_advance(k, 600 * 1000);                         // the clock, of the apiserver too
 *       cluster_restart_controllers(k);                         // stops them and starts new ones, without any memory
 *       cluster_stop(k);
 *   }
 *
 * Pods' annotations tell the kubelet otherwise: test/phase: Succeeded or Failed (with test/exit-code), or Running: never ready.
 * default/default's ServiceAccount is made at start, so that Pods can be. */
#ifndef CKUBE_TESTS_CONTROLLER_TEST_H
#define CKUBE_TESTS_CONTROLLER_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include <yyjson.h>
#include "apiserver/local_transport.h"
#include "base/str.h"
#include "client/client.h"
#include "client/informer.h"
#include "cmd/apiserver_command.h"
#include "controller/controller.h"

#define PODS "/api/v1/namespaces/default/pods"
enum { CLUSTER_WAIT_MS = 60000, CLUSTER_CLIENTS_MAX = 80 };
enum kubelet_mode { KUBELET_OFF, KUBELET_RUNS, KUBELET_HOLDS /* makes Pods ready, but does not let deleted ones go */ };

#include "controller_faults.h"

struct cluster {
    char dir[64];
    struct arena *arena;
    struct apiserver_command command;
    struct apiserver *apiserver;
    struct client *admin;
    struct env env;
    _Atomic int64_t offset_ns;  /* of the clock */
    struct controller_options options;
    struct controller_context cc;
    struct controller_manager *manager;
    char *controllers;
    struct { const char *name; struct client *client; } clients[CLUSTER_CLIENTS_MAX];
    size_t clients_len;
    struct faults faults;
    struct client *watcher;     /* whose the controllers' informers are: the admin's rights, and the faults of watches */
    /* the pretended kubelet */
    _Atomic int kubelet;
    atomic_bool stopping;
    struct informers *kubelet_informers;
    pthread_t kubelet_thread;
};

/* ---- the clock ---- */

static int64_t cluster_now(struct env *e) { return env_now_ns(env_real()) + ((struct cluster *)e->data)->offset_ns; }
static int64_t cluster_mono(struct env *e) { return env_mono_ns(env_real()) + ((struct cluster *)e->data)->offset_ns; }
static void cluster_sleep(struct env *e UNUSED, int64_t ns) { env_real()->sleep_ns(env_real(), ns); }
static void cluster_random(struct env *e UNUSED, void *out, size_t len) { env_random(env_real(), out, len); }

/* In short steps, since the clock may jump meanwhile. */
static bool cluster_cond_wait(struct env *e, pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline) {
    if (deadline < 0) return env_cond_wait(env_real(), c, m, -1);
    int64_t left = deadline - env_mono_ns(e);
    if (left <= 0) return false;
    if (env_cond_wait(env_real(), c, m, env_mono_ns(env_real()) + MIN(left, 20 * 1000000LL))) return true;
    return env_mono_ns(e) < deadline;
}

static UNUSED void cluster_advance(struct cluster *k, int64_t ms) { k->offset_ns += ms * 1000000; }

/* ---- requests, as the admin ---- */

static char *cluster_json(struct arena *a, const char *text) {
    char *s = arena_strdup(a, text);
    for (char *p = s; *p; p++)
        if (*p == '\'') *p = '"';
    return s;
}

/* 0, or -1 with the status; the answer in *ret (NULL: not wanted). */
static int cluster_request(struct cluster *k, const char *method, const char *target, const char *content_type, const char *body, struct buf *ret, struct status *err) {
    _cleanup_buf_ struct buf unused = BUF_INIT;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *json = body ? cluster_json(a, body) : NULL;
    return client_raw(k->admin, method, target, content_type, json, json ? strlen(json) : 0, ret ? ret : &unused, err);
}

static void cluster_must(struct cluster *k, const char *method, const char *target, const char *content_type, const char *body) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (cluster_request(k, method, target, content_type, body, NULL, &err) != 0) fail_msg("%s %s: %s", method, target, status_message(&err));
}

/* Where it goes follows from its kind and namespace. */
static UNUSED void cluster_create(struct cluster *k, const char *object) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *json = cluster_json(a, object);
    yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
    if (!doc) fail_msg("no JSON: %s", json);
    yyjson_val *root = yyjson_doc_get_root(doc), *meta = yyjson_obj_get(root, "metadata");
    char *version = arena_strdup(a, yyjson_get_str(yyjson_obj_get(root, "apiVersion"))), *slash = strchr(version, '/');
    if (slash) *slash = 0;
    const struct type_desc *type = api_kind_find(slash ? version : "", slash ? slash + 1 : version, yyjson_get_str(yyjson_obj_get(root, "kind")));
    if (!type || !api_resource_of_type(type)) fail_msg("no such kind: %s", json);
    cluster_must(k, "POST", client_path(a, api_resource_of_type(type), yyjson_get_str(yyjson_obj_get(meta, "namespace")), NULL, NULL), NULL, object);
    yyjson_doc_free(doc);
}

static UNUSED void cluster_patch(struct cluster *k, const char *target, const char *merge_patch) { cluster_must(k, "PATCH", target, PATCH_MERGE, merge_patch); }
/* options: DeleteOptions, or NULL. */
static UNUSED void cluster_delete(struct cluster *k, const char *target, const char *options) { cluster_must(k, "DELETE", target, NULL, options); }

/* ---- looking ---- */

/* One step of a path: "name", "name[3]", "name[type=Ready]". Returns the rest. */
static const char *cluster_step(yyjson_val **v, const char *path) {
    size_t n = strcspn(path, ".[");
    char name[128], at[128] = "";
    snprintf(name, sizeof(name), "%.*s", (int)n, path);
    for (char *p = name; *p; p++)
        if (*p == '|') *p = '.'; /* keys with dots are written with bars */
    *v = yyjson_obj_get(*v, name);
    path += n;
    if (*path == '[') {
        n = strcspn(path, "]");
        snprintf(at, sizeof(at), "%.*s", (int)n - 1, path + 1);
        path += n + 1;
        char *eq = strchr(at, '=');
        if (eq) *eq = 0;
        yyjson_val *item, *found = eq ? NULL : yyjson_arr_get(*v, (size_t)atoi(at));
        size_t i, max;
        if (eq) yyjson_arr_foreach(*v, i, max, item) if (str_eq(yyjson_get_str(yyjson_obj_get(item, at)), eq + 1)) found = item;
        *v = found;
    }
    return *path == '.' ? path + 1 : path;
}

/* The value as text, "" for what is not there; "#name" counts the items of name. */
static char *cluster_value(struct arena *a, yyjson_val *root, const char *path) {
    bool count = *path == '#';
    const char *p = path + count;
    for (; *p && root;) p = cluster_step(&root, p);
    if (count) return arena_printf(a, "%zu", yyjson_is_arr(root) ? yyjson_arr_size(root) : yyjson_is_obj(root) ? yyjson_obj_size(root) : 0);
    if (!root || yyjson_is_null(root)) return arena_strdup(a, "");
    if (yyjson_is_str(root)) return arena_strdup(a, yyjson_get_str(root));
    char *text = yyjson_val_write(root, 0, NULL), *copy = arena_strdup(a, text);
    free(text);
    return copy;
}

/* A value of what is there now, in the arena; "" if the object is not there. */
static char *cluster_get(struct cluster *k, struct arena *a, const char *target, const char *path) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (cluster_request(k, "GET", target, NULL, NULL, &b, &err) != 0) {
        if (!status_is(&err, 404)) fail_msg("GET %s: %s", target, status_message(&err));
        return arena_strdup(a, "");
    }
    yyjson_doc *doc = yyjson_read(b.data, b.len, 0);
    assert_non_null(doc);
    char *v = cluster_value(a, yyjson_doc_get_root(doc), path);
    yyjson_doc_free(doc);
    return v;
}

static void cluster_show(struct cluster *k, const char *target) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    cluster_request(k, "GET", target, NULL, NULL, &b, NULL);
    printf("%s is\n%.6000s\n", target, buf_cstr(&b));
}

/* Waits until the value is as wanted ("": not there). */
#define cluster_expect(k, target, path, want) cluster_expect_at(k, target, path, want, __LINE__)
static UNUSED void cluster_expect_at(struct cluster *k, const char *target, const char *path, const char *want, int line) {
    for (int waited = 0;; waited += 5) {
        _cleanup_arena_ struct arena *a = arena_new();
        char *got = cluster_get(k, a, target, path);
        if (str_eq(got, want)) return;
        if (waited > CLUSTER_WAIT_MS) {
            cluster_show(k, target);
            fail_msg("line %d: %s of %s: wanted \"%s\", is \"%s\"", line, path, target, want, got);
        }
        env_sleep_ms(env_real(), 5);
    }
}
#define cluster_expect_count(k, target, n) cluster_expect_count_at(k, target, n, __LINE__)
static UNUSED void cluster_expect_count_at(struct cluster *k, const char *target, int n, int line) {
    char want[16];
    snprintf(want, sizeof(want), "%d", n);
    cluster_expect_at(k, target, "#items", want, line);
}
#define cluster_expect_gone(k, target) cluster_expect_at(k, target, "metadata.name", "", __LINE__)
/* Nothing more happens: for a while the value stays as it is. */
static UNUSED void cluster_expect_still(struct cluster *k, const char *target, const char *path, const char *want) {
    for (int i = 0; i < 20; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        char *got = cluster_get(k, a, target, path);
        if (!str_eq(got, want)) fail_msg("%s of %s: wanted \"%s\" to stay, is \"%s\"", path, target, want, got);
        env_sleep_ms(env_real(), 10);
    }
}
/* Waits until the controllers know the object as it is now, and what they were at meanwhile is over: before the clock moves. */
static UNUSED void cluster_expect_seen(struct cluster *k, const struct type_desc *type, const char *target) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *name = strrchr(target, '/') + 1, *version = cluster_get(k, a, target, "metadata.resourceVersion"), *ns = cluster_get(k, a, target, "metadata.namespace");
    for (int waited = 0;; waited += 10) {
        _cleanup_cached_ struct cached *c = informer_get(informers_get(k->cc.informers, type), *ns ? ns : NULL, name);
        if (c && str_eq(c->obj->metadata.resourceVersion, version)) break;
        if (waited > CLUSTER_WAIT_MS) fail_msg("the controllers do not see %s", target);
        env_sleep_ms(env_real(), 10);
    }
    cluster_expect_still(k, target, "metadata.uid", cluster_get(k, a, target, "metadata.uid"));
}
/* Waits for an Event of this reason whose message has the text in it. ns "default" unless given otherwise in the test. */
static UNUSED void cluster_expect_event(struct cluster *k, const char *kind, const char *reason, const char *message_part) {
    for (int waited = 0;; waited += 10) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        assert_int_equal(cluster_request(k, "GET", "/api/v1/events", NULL, NULL, &b, NULL), 0);
        yyjson_doc *doc = yyjson_read(b.data, b.len, 0);
        yyjson_val *items = yyjson_obj_get(yyjson_doc_get_root(doc), "items"), *e;
        size_t i, max;
        bool found = false;
        yyjson_arr_foreach(items, i, max, e) {
            const char *m = yyjson_get_str(yyjson_obj_get(e, "message"));
            found |= str_eq(yyjson_get_str(yyjson_obj_get(e, "reason")), reason) && str_eq(yyjson_get_str(yyjson_obj_get(yyjson_obj_get(e, "involvedObject"), "kind")), kind) && m && strstr(m, message_part);
        }
        yyjson_doc_free(doc);
        if (found) return;
        if (waited > CLUSTER_WAIT_MS) fail_msg("no event %s about a %s with \"%s\" in\n%s", reason, kind, message_part, b.data);
        env_sleep_ms(env_real(), 10);
    }
}

/* ---- the pretended kubelet ---- */

static const char *cluster_node_of(const struct corev1_Pod *p) {
    const struct corev1_NodeAffinity *na = p->spec.affinity ? p->spec.affinity->nodeAffinity : NULL;
    const struct corev1_NodeSelector *ns = na ? na->requiredDuringSchedulingIgnoredDuringExecution : NULL;
    if (ns) LIST_FOREACH(t, &ns->nodeSelectorTerms)
        LIST_FOREACH(f, &t->matchFields)
            if (f->values.len) return f->values.items[0];
    return "n1";
}

static void cluster_run_pod(struct cluster *k, struct arena *a, const struct corev1_Pod *p) {
    const char *path = arena_printf(a, "/api/v1/namespaces/%s/pods/%s", p->metadata.namespace, p->metadata.name);
    const char *phase = str_or(string_map_get(&p->metadata.annotations, "test/phase"), "Ready"), *code = str_or(string_map_get(&p->metadata.annotations, "test/exit-code"), "0");
    _cleanup_buf_ struct buf now = BUF_INIT;
    buf_printf(&now, "%lld", (long long)env_now_s(&k->env));
    struct api_time t = {.set = true, .sec = env_now_s(&k->env)};
    time_t s = (time_t)t.sec;
    struct tm tm;
    char stamp[32];
    gmtime_r(&s, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
    bool ready = str_eq(phase, "Ready"), done = str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
    const char *state = done ? arena_printf(a, "'terminated':{'exitCode':%s,'finishedAt':'%s'}", code, stamp) : arena_printf(a, "'running':{'startedAt':'%s'}", stamp);
    const char *body = arena_printf(a, "{'metadata':{'uid':'%s'},'status':{'phase':'%s','startTime':'%s','conditions':[{'type':'Ready','status':'%s','lastTransitionTime':'%s'}],"
        "'containerStatuses':[{'name':'%s','image':'x','imageID':'','ready':%s,'restartCount':0,'state':{%s}}]}}", p->metadata.uid, ready ? "Running" : phase, stamp, ready ? "True" : "False", stamp,
        p->spec.containers.items[0].name, ready ? "true" : "false", state);
    cluster_request(k, "PATCH", arena_printf(a, "%s/status", path), PATCH_MERGE, body, NULL, NULL);
}

static void cluster_serve_pod(struct cluster *k, struct arena *a, const struct corev1_Pod *p) {
    const char *path = arena_printf(a, "/api/v1/namespaces/%s/pods/%s", p->metadata.namespace, p->metadata.name);
    if (p->metadata.deletionTimestamp.set) {
        if (k->kubelet == KUBELET_RUNS)
            cluster_request(k, "DELETE", path, NULL, arena_printf(a, "{'gracePeriodSeconds':0,'preconditions':{'uid':'%s'}}", p->metadata.uid), NULL, NULL);
    } else if (str_empty(p->spec.nodeName)) {
        cluster_request(k, "POST", arena_printf(a, "%s/binding", path), NULL, arena_printf(a, "{'apiVersion':'v1','kind':'Binding','metadata':{'name':'%s'},'target':{'kind':'Node','name':'%s'}}",
            p->metadata.name, cluster_node_of(p)), NULL, NULL);
    } else if (str_eq(str_or(p->status.phase, "Pending"), "Pending")) {
        cluster_run_pod(k, a, p);
    }
}

static void *cluster_kubelet_run(void *arg) {
    struct cluster *k = arg;
    struct informer *pods = informers_get(k->kubelet_informers, &corev1_Pod_desc);
    informers_start(k->kubelet_informers);
    while (!k->stopping) {
        _cleanup_cached_list_ struct cached_list all = {0};
        _cleanup_arena_ struct arena *a = arena_new();
        if (k->kubelet != KUBELET_OFF) informer_list(pods, NULL, &all);
        CACHED_FOREACH(p, corev1_Pod, &all) cluster_serve_pod(k, a, p);
        env_sleep_ms(env_real(), 5);
    }
    return NULL;
}

static UNUSED void cluster_kubelet(struct cluster *k, enum kubelet_mode mode) { k->kubelet = mode; }

/* ---- life ---- */

static struct client *cluster_client_for(struct controller_context *cc, const char *name) {
    struct cluster *k = cc->client_for_data;
    for (size_t i = 0; i < k->clients_len; i++)
        if (str_eq(k->clients[i].name, name)) return k->clients[i].client;
    static const char *const groups[] = {"system:serviceaccounts", "system:serviceaccounts:kube-system", NULL};
    assert_true(k->clients_len < CLUSTER_CLIENTS_MAX);
    bool itself = str_eq(name, CONTROLLER_MANAGER_ITSELF);
    struct transport *t = local_transport_new(k->apiserver, itself ? name : arena_printf(k->arena, "system:serviceaccount:kube-system:%s", name), itself ? NULL : groups, "kube-controller-manager");
    k->clients[k->clients_len].name = name;
    return k->clients[k->clients_len++].client = client_new(faulty_new(&k->faults, t));
}

static void cluster_start_controllers(struct cluster *k) {
    _cleanup_status_ struct status err = STATUS_INIT;
    k->cc.informers = informers_new(k->watcher, &k->env);
    k->manager = controller_manager_new(&k->cc, k->controllers, &err);
    if (!k->manager) fail_msg("%s", status_message(&err));
    controller_manager_start(k->manager);
}

static void cluster_stop_controllers(struct cluster *k) {
    if (!k->manager) return;
    controller_manager_stop(k->manager);
    informers_free(k->cc.informers);
    k->manager = NULL;
}

static UNUSED void cluster_restart_controllers(struct cluster *k) {
    cluster_stop_controllers(k);
    cluster_start_controllers(k);
}

static const char *cluster_runtime_config; /* --runtime-config of clusters to come; NULL: the defaults */

static const char *cluster_folder = "/tmp";

static UNUSED struct cluster *cluster_start(const char *controllers) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct cluster *k = calloc(1, sizeof(*k));
    assert_non_null(k);
    snprintf(k->dir, sizeof(k->dir), "%s/ckube-controller-test-XXXXXX", cluster_folder);
    assert_non_null(mkdtemp(k->dir));
    k->arena = arena_new();
    k->env = (struct env){cluster_now, cluster_mono, cluster_sleep, cluster_random, cluster_cond_wait, k};
    k->faults.writes_left = -1;
    apiserver_command_init(&k->command);
    k->command.options.data_dir = k->dir;
    k->command.options.bind_address = "127.0.0.1";
    k->command.options.secure_port = 0;
    k->command.endpoint_reconciler = "none"; /* nothing is written at the test's back */
    k->command.options.env = &k->env;
    k->command.options.runtime_config = cluster_runtime_config;
    assert_int_equal(apiserver_command_check(&k->command, "test"), 0);
    if (!(k->apiserver = apiserver_command_start(&k->command, k->arena, &err))) fail_msg("%s", status_message(&err));
    static const char *const masters[] = {"system:masters", NULL};
    k->admin = client_new(local_transport_new(k->apiserver, "admin", masters, "test"));
    k->watcher = client_new(faulty_new(&k->faults, local_transport_new(k->apiserver, "admin", masters, "test")));
    k->options = controller_options_default();
    k->options.root_ca_file = arena_printf(k->arena, "%s/tls/server-ca.crt", k->dir);
    k->options.service_account_private_key_file = k->command.options.service_account_signing_key_file;
    k->options.cluster_signing_cert_file = arena_printf(k->arena, "%s/tls/client-ca.crt", k->dir);
    k->options.cluster_signing_key_file = arena_printf(k->arena, "%s/tls/client-ca.key", k->dir);
    k->cc = (struct controller_context){.env = &k->env, .options = &k->options, .client_for = cluster_client_for, .client_for_data = k};
    k->kubelet_informers = informers_new(k->admin, &k->env);
    assert_int_equal(pthread_create(&k->kubelet_thread, NULL, cluster_kubelet_run, k), 0);
    if (controllers && strstr(controllers, "serviceaccount-controller") == NULL && !str_eq(controllers, "*"))
        cluster_create(k, "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'default','namespace':'default'}}");
    k->controllers = controllers ? arena_strdup(k->arena, controllers) : NULL;
    if (controllers) cluster_start_controllers(k);
    return k;
}

static int cluster_remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *ftw UNUSED) { return remove(path); }

static UNUSED void cluster_stop(struct cluster *k) {
    cluster_stop_controllers(k);
    k->stopping = true;
    pthread_join(k->kubelet_thread, NULL);
    informers_stop(k->kubelet_informers);
    informers_free(k->kubelet_informers);
    apiserver_free(k->apiserver);
    client_free(k->admin);
    client_free(k->watcher);
    for (size_t i = 0; i < k->clients_len; i++) client_free(k->clients[i].client);
    nftw(k->dir, cluster_remove_one, 8, FTW_DEPTH | FTW_PHYS);
    arena_free(k->arena);
    free(k);
}
#endif
