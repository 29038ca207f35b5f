/* Disruption budgets, autoscalers, certificates, bootstrap tokens, admission policies. */
#include <openssl/ec.h>
#include <openssl/pem.h>
#include "api/pod_util.h"
#include "api/time.h"
#include "converge.h"
#include "wire/json.h"

/* ---- a budget of three of five, while somebody evicts whom he can ---- */

#define BUDGET "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b"

static void make_guarded(struct world *w, int i) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_request(w->k, "POST", PODS, NULL, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p%d','labels':{'app':'web'}},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}", i), NULL, NULL);
}

static void budget_begin(struct world *w) {
    for (int i = 0; i < 5; i++) make_guarded(w, i);
    cluster_create(w->k, "{'apiVersion':'policy/v1','kind':'PodDisruptionBudget','metadata':{'name':'b','namespace':'default'},'spec':{'selector':{'matchLabels':{'app':'web'}},'minAvailable':3}}");
}

static const char *budget_ready(struct world *w, struct arena *a) { return world_want(w, a, BUDGET, "status.disruptionsAllowed", "2"); }

static void budget_look(struct world *w) {
    _cleanup_arena_ struct arena *a = arena_new();
    if (!w->begun) return;
    make_guarded(w, world_draw(w, 5)); /* what is gone comes back, sooner or later */
    if (w->step >= w->scenario->steps - 1) return;
    for (int i = 0; i < 5; i++)
        cluster_request(w->k, "POST", arena_printf(a, PODS "/p%d/eviction", i), NULL, arena_printf(a, "{'apiVersion':'policy/v1','kind':'Eviction','metadata':{'name':'p%d'}}", i), NULL, NULL);
}

static void budget_act(struct world *w, int step) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(w->k, BUDGET, arena_printf(a, "{'metadata':{'annotations':{'look':'%d'}}}", step));
}

static const char *budget_holds(struct world *w, struct arena *a) {
    struct corev1_PodList pods;
    int ready = 0;
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    LIST_FOREACH(p, &pods.items) ready += !p->metadata.deletionTimestamp.set && pod_is_ready(p);
    return ready < 3 ? arena_printf(a, "the budget is broken: %d Pods are ready", ready) : NULL;
}

static const char *budget_done(struct world *w, struct arena *a) {
    struct corev1_PodList pods;
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    int ready = 0;
    LIST_FOREACH(p, &pods.items) ready += !p->metadata.deletionTimestamp.set && pod_is_ready(p);
    if (ready != 5) return arena_printf(a, "%d of %zu Pods are ready", ready, pods.items.len);
    static const char *const wants[][3] = {{BUDGET, "#status.disruptedPods", "0"}, {BUDGET, "status.currentHealthy", "5"}, {BUDGET, "status.disruptionsAllowed", "2"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_disruption = {.name = "disruption", .controllers = "disruption-controller", .kubelet = KUBELET_RUNS, .steps = 6, .pace_ms = 300, .begin = budget_begin, .ready = budget_ready, .look = budget_look,
    .act = budget_act, .holds = budget_holds, .done = budget_done, .state = (const char *const[]){PODS, "/apis/policy/v1/namespaces/default/poddisruptionbudgets", NULL}};

/* ---- an autoscaler between 2 and 6 ---- */

#define HPAS "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
#define TARGET "/api/v1/namespaces/default/replicationcontrollers/web"
#define USES(name, cpu) "{'metadata':{'name':'" name "'},'timestamp':'2030-01-01T00:00:00Z','window':'30s','containers':[{'name':'c','usage':{'cpu':'" cpu "','memory':'1Mi'}}]}"
#define ALL_USE(cpu) "{'items':[" USES("w0", cpu) "," USES("w1", cpu) "]}"

static void scaler_begin(struct world *w) {
    _cleanup_arena_ struct arena *a = arena_new();
    for (int i = 0; i < 2; i++)
        cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'w%d','namespace':'default','labels':{'app':'web'}},'spec':{'containers':[{'name':'c','image':'a','resources':{'requests':{'cpu':'100m'}}}]}}", i));
    cluster_create(w->k, "{'apiVersion':'v1','kind':'ReplicationController','metadata':{'name':'web','namespace':'default'},'spec':{'replicas':2,'selector':{'app':'web'},'template':{'metadata':{'labels':{'app':'web'}},"
        "'spec':{'containers':[{'name':'c','image':'a'}]}}}}");
    cluster_create(w->k, "{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','metadata':{'name':'h','namespace':'default'},'spec':{'minReplicas':2,'maxReplicas':6,'scaleTargetRef':{'apiVersion':'v1',"
        "'kind':'ReplicationController','name':'web'},'metrics':[{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':50}}}]}}");
    cluster_expect(w->k, PODS "/w1", "status.phase", "Running");
    cluster_advance(w->k, 600 * 1000); /* their CPU counts now */
    w->k->faults.metrics = ALL_USE("50m");
}

static void scaler_act(struct world *w, int step) {
    static const char *const uses[] = {ALL_USE("200m"), ALL_USE("1m"), ALL_USE("90m"), ALL_USE("1m"), ALL_USE("200m")};
    w->k->faults.metrics = uses[step];
    if (step == 2) cluster_advance(w->k, 400 * 1000);
}

static const char *scaler_holds(struct world *w, struct arena *a) {
    int now = atoi(cluster_get(w->k, a, TARGET, "spec.replicas"));
    return now < 2 || now > 6 ? arena_printf(a, "%d replicas are outside of 2 to 6", now) : NULL;
}

static const char *scaler_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{TARGET, "spec.replicas", "6"}, {HPAS "/h", "status.currentReplicas", "6"}, {HPAS "/h", "status.desiredReplicas", "6"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_horizontal = {.name = "horizontal-pod-autoscaler", .controllers = "horizontal-pod-autoscaler-controller", .kubelet = KUBELET_RUNS, .steps = 5, .pace_ms = 1000, .begin = scaler_begin,
    .act = scaler_act, .holds = scaler_holds, .done = scaler_done, .state = (const char *const[]){"/api/v1/namespaces/default/replicationcontrollers", NULL}};

/* ---- certificates: approved ones are signed once, others never; old ones go ---- */

#define CSRS "/apis/certificates.k8s.io/v1/certificatesigningrequests"

static void make_csr(struct world *w, const char *name, const char *signer, const char *cn) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf text = BUF_INIT;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_REQ *req = X509_REQ_new();
    X509_NAME *subject = X509_REQ_get_subject_name(req);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"system:nodes", -1, -1, 0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_REQ_set_pubkey(req, key);
    X509_REQ_sign(req, key, EVP_sha256());
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_REQ(bio, req);
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    base64_encode(&text, (const unsigned char *)data, (size_t)n);
    BIO_free(bio);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'certificates.k8s.io/v1','kind':'CertificateSigningRequest','metadata':{'name':'%s'},'spec':{'request':'%s','signerName':'%s','usages':['digital signature','client auth']}}",
        name, buf_cstr(&text), signer));
}

static void judge(struct world *w, const char *name, const char *type) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(w->k, arena_printf(a, CSRS "/%s/approval", name), arena_printf(a, "{'status':{'conditions':[{'type':'%s','status':'True','reason':'ByHand','message':'m'}]}}", type));
}

#define KUBELET_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"

static void csr_act(struct world *w, int step) {
    if (step == 0) make_csr(w, "kubelet", KUBELET_CLIENT, "system:node:n"), make_csr(w, "client", "kubernetes.io/kube-apiserver-client", "me");
    if (step == 1) make_csr(w, "refused", "kubernetes.io/kube-apiserver-client", "me"), judge(w, "client", "Approved");
    if (step == 2) judge(w, "refused", "Denied"), make_csr(w, "foreign", "example.com/signer", "me"), make_csr(w, "waits", "kubernetes.io/kube-apiserver-client", "me");
    if (step == 3) judge(w, "foreign", "Approved"), make_csr(w, "kubelet-2", KUBELET_CLIENT, "system:node:m");
}

static const char *csr_holds(struct world *w, struct arena *a) {
    struct certificatesv1_CertificateSigningRequestList all;
    world_list(w, a, &certificatesv1_CertificateSigningRequest_desc, NULL, &all);
    LIST_FOREACH(c, &all.items) {
        if (!c->status.certificate.len) continue;
        bool approved = false;
        LIST_FOREACH(x, &c->status.conditions) approved |= str_eq(x->type, "Approved");
        if (!approved) return arena_printf(a, "%s is signed, and nobody approved it", c->metadata.name);
        if (str_eq(c->spec.signerName, "example.com/signer")) return "what another is to sign is signed";
        if (!world_same(w, c->metadata.name, arena_strndup(a, (const char *)c->status.certificate.data, c->status.certificate.len))) return arena_printf(a, "%s was signed twice", c->metadata.name);
    }
    return NULL;
}

static const char *csr_done(struct world *w, struct arena *a) {
    static const char *const names[] = {"kubelet", "kubelet-2", "client"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!*cluster_get(w->k, a, arena_printf(a, CSRS "/%s", names[i]), "status.certificate")) return arena_printf(a, "%s is not signed", names[i]);
    return world_want(w, a, CSRS, "#items", "6");
}

const struct scenario scenario_certificates = {.name = "certificatesigningrequest-approve-sign", .controllers = "certificatesigningrequest-approving-controller,certificatesigningrequest-signing-controller,"
    "certificatesigningrequest-cleaner-controller", .steps = 4, .pace_ms = 20, .act = csr_act, .holds = csr_holds, .done = csr_done, .state = (const char *const[]){CSRS, NULL}};

/* ---- bootstrap tokens ---- */

#define INFO "/api/v1/namespaces/kube-public/configmaps/cluster-info"
#define TOKEN(id) "/api/v1/namespaces/kube-system/secrets/bootstrap-token-" id

static void make_bootstrap_token(struct world *w, const char *id, int64_t seconds) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf end = BUF_INIT;
    struct api_time t = {.set = true, .sec = env_now_s(&w->k->env) + seconds};
    time_format(&t, &end);
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'v1','kind':'Secret','type':'bootstrap.kubernetes.io/token','metadata':{'name':'bootstrap-token-%s','namespace':'kube-system','labels':{'mine':'1'}},"
        "'stringData':{'token-id':'%s','token-secret':'0123456789abcdef','usage-bootstrap-signing':'true','expiration':'%s'}}", id, id, buf_cstr(&end)));
}

static void bootstrap_begin(struct world *w) {
    cluster_create(w->k, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'cluster-info','namespace':'kube-public'},'data':{'kubeconfig':'content','jws-kubeconfig-gone00':'x'}}");
    make_bootstrap_token(w, "aaaaaa", 100000);
    make_bootstrap_token(w, "bbbbbb", 30);
}

static void bootstrap_act(struct world *w, int step) {
    if (step == 0) make_bootstrap_token(w, "cccccc", 100000);
    if (step == 1) cluster_patch(w->k, INFO, "{'data':{'kubeconfig':'other','jws-kubeconfig-aaaaaa':'forged'}}");
    if (step == 2) make_bootstrap_token(w, "dddddd", 10), make_bootstrap_token(w, "eeeeee", 100000);
    if (step == 3) cluster_delete(w->k, TOKEN("cccccc"), NULL);
}

static const char *bootstrap_holds(struct world *w, struct arena *a) { return world_want(w, a, TOKEN("aaaaaa"), "metadata.name", "bootstrap-token-aaaaaa"); }

static const char *bootstrap_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{TOKEN("bbbbbb"), "metadata.name", ""}, {TOKEN("dddddd"), "metadata.name", ""}, {INFO, "#data", "3"}, {NULL}};
    const char *missing = world_want_all(w, a, wants);
    if (missing) return missing;
    return str_has_prefix(cluster_get(w->k, a, INFO, "data.jws-kubeconfig-aaaaaa"), "eyJ") && str_has_prefix(cluster_get(w->k, a, INFO, "data.jws-kubeconfig-eeeeee"), "eyJ") ? NULL : "not both signatures are there";
}

const struct scenario scenario_bootstrap_tokens = {.name = "bootstrap-signer-and-token-cleaner", .controllers = "token-cleaner-controller,bootstrap-signer-controller", .steps = 4, .pace_ms = 500, .begin = bootstrap_begin,
    .act = bootstrap_act, .holds = bootstrap_holds, .done = bootstrap_done, .state = (const char *const[]){"/api/v1/namespaces/kube-public/configmaps", "/api/v1/namespaces/kube-system/secrets?labelSelector=mine", NULL}};

/* ---- admission policies are told that they were seen ---- */

#define POLICIES "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

static void make_policy(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'admissionregistration.k8s.io/v1','kind':'ValidatingAdmissionPolicy','metadata':{'name':'%s'},'spec':{'matchConstraints':{'resourceRules':[{'apiGroups':[''],'apiVersions':['v1'],"
        "'operations':['CREATE'],'resources':['pods']}]},'validations':[{'expression':'true'}]}}", name));
}

static void policy_begin(struct world *w) { make_policy(w, "a"); }

static void policy_act(struct world *w, int step) {
    if (step == 0) make_policy(w, "b");
    if (step == 1) cluster_patch(w->k, POLICIES "/a", "{'spec':{'failurePolicy':'Ignore'}}");
    if (step == 2) cluster_delete(w->k, POLICIES "/b", NULL);
    if (step == 3) cluster_patch(w->k, POLICIES "/a", "{'spec':{'failurePolicy':'Fail'}}");
}

static const char *policy_holds(struct world *w, struct arena *a) {
    struct admissionregistrationv1_ValidatingAdmissionPolicyList all;
    world_list(w, a, &admissionregistrationv1_ValidatingAdmissionPolicy_desc, NULL, &all);
    LIST_FOREACH(p, &all.items)
        if (p->status.observedGeneration > p->metadata.generation) return arena_printf(a, "%s was seen before it was", p->metadata.name);
    return NULL;
}

static const char *policy_done(struct world *w, struct arena *a) { return world_want(w, a, POLICIES "/a", "status", "{\"observedGeneration\":3,\"typeChecking\":{}}"); }

const struct scenario scenario_policy_status = {.name = "validatingadmissionpolicy-status", .controllers = "validatingadmissionpolicy-status-controller", .steps = 4, .pace_ms = 20, .begin = policy_begin, .act = policy_act,
    .holds = policy_holds, .done = policy_done, .state = (const char *const[]){POLICIES, NULL}};
