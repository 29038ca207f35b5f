/* CertificateSigningRequests: kubelets' client certificates are approved, approved ones signed, old ones removed. Upstream: pkg/controller/certificates (approver, signer, cleaner).
 *
 * Tests: tests/unit/test_controller_certificates.c. */
#include "base/str.h"
#include "controller/certificates.h"
#include "controller/controllers.h"

#define CLIENT_SIGNER "kubernetes.io/kube-apiserver-client"
#define KUBELET_SIGNER "kubernetes.io/kube-apiserver-client-kubelet"
#define SERVING_SIGNER "kubernetes.io/kubelet-serving"
#define LEGACY_SIGNER "kubernetes.io/legacy-unknown"
enum { BACKDATE_S = 300, SHORT_S = 8 * 3600, DURATION_S = 365 * 24 * 3600, DURATION_MIN_S = 600, CLEAN_PERIOD_MS = 3600 * 1000, HOUR_S = 3600 };

typedef struct certificatesv1_CertificateSigningRequest request;

struct certificates { struct controller *c; struct informer *requests; };

/* ---- what a request is ---- */

static const struct certificatesv1_CertificateSigningRequestCondition *condition(const request *r, const char *type) {
    LIST_FOREACH(c, &r->status.conditions)
        if (str_eq(c->type, type)) return c;
    return NULL;
}

/* Exactly these, with or without "key encipherment". */
static bool usages_are(const request *r, const char *auth) {
    size_t signature = 0, encipherment = 0, authenticates = 0;
    LIST_FOREACH(u, &r->spec.usages) {
        signature += str_eq(*u, "digital signature");
        encipherment += str_eq(*u, "key encipherment");
        authenticates += str_eq(*u, auth);
    }
    return signature && authenticates && signature + encipherment + authenticates == r->spec.usages.len;
}

static bool of_node(const struct x509_csr *x) { return x->organizations_len == 1 && str_eq(x->organizations[0], "system:nodes"); }

/* NULL: it may have such a certificate; otherwise why not, in upstream's words. */
static const char *not_kubelet_client(const request *r, const struct x509_csr *x) {
    if (!of_node(x)) return "subject organization is not system:nodes";
    if (x->dns_names) return "DNS subjectAltNames are not allowed";
    if (x->emails) return "Email subjectAltNames are not allowed";
    if (x->ips) return "IP subjectAltNames are not allowed";
    if (x->uris) return "URI subjectAltNames are not allowed";
    if (!str_has_prefix(x->common_name, "system:node:")) return "subject common name does not begin with system:node:";
    return usages_are(r, "client auth") ? NULL : "usages did not match [\"digital signature\",\"client auth\"]";
}

const char *csr_not_kubelet_serving(const request *r, const struct x509_csr *x) {
    if (!of_node(x)) return "subject organization is not system:nodes";
    if (!x->dns_names && !x->ips) return "DNS or IP subjectAltName is required";
    if (x->emails) return "Email subjectAltNames are not allowed";
    if (x->uris) return "URI subjectAltNames are not allowed";
    if (!usages_are(r, "server auth")) return "usages did not match [\"digital signature\",\"server auth\"]";
    return str_has_prefix(x->common_name, "system:node:") ? NULL : "subject common name does not begin with system:node:";
}

static const char *not_client(const request *r) {
    static const char *const may[] = {"digital signature", "key encipherment", "client auth", NULL};
    LIST_FOREACH(u, &r->spec.usages)
        if (!str_in(*u, may)) return "invalid usages for client certificate";
    return string_list_has(&r->spec.usages, "client auth") ? NULL : "missing required usage \"client auth\"";
}

static const char *not_for_signer(const request *r, const struct x509_csr *x) {
    if (str_eq(r->spec.signerName, CLIENT_SIGNER)) return not_client(r);
    if (str_eq(r->spec.signerName, KUBELET_SIGNER)) return not_kubelet_client(r, x);
    return str_eq(r->spec.signerName, SERVING_SIGNER) ? csr_not_kubelet_serving(r, x) : NULL;
}

bool csr_pending(const request *r) { return !r->status.certificate.len && !condition(r, "Approved") && !condition(r, "Denied"); }

static void add_condition(struct env *env, struct arena *a, request *r, const char *type, const char *reason, const char *message) {
    struct api_time now = {.set = true, .sec = env_now_s(env)};
    *LIST_PUSH(a, &r->status.conditions) =
        (struct certificatesv1_CertificateSigningRequestCondition){.type = type, .status = "True", .reason = reason, .message = message, .lastUpdateTime = now, .lastTransitionTime = now};
}

/* ---- approving ---- */

static int allowed(struct certificates *cc, struct arena *a, const request *r, const char *subresource, bool *ret, struct status *reterr) {
    struct authorizationv1_ResourceAttributes what = {.group = "certificates.k8s.io", .resource = "certificatesigningrequests", .verb = "create", .subresource = subresource};
    struct authorizationv1_SubjectAccessReview *sar = object_new(a, &authorizationv1_SubjectAccessReview_desc), answer;
    sar->spec.user = r->spec.username;
    sar->spec.uid = r->spec.uid;
    sar->spec.groups = r->spec.groups;
    sar->spec.extra = r->spec.extra;
    sar->spec.resourceAttributes = &what;
    if (client_create(cc->c->client, a, &authorizationv1_SubjectAccessReview_desc, sar, &answer, reterr) != 0) return -1;
    *ret = answer.status.allowed;
    return 0;
}

int csr_auto_approve(struct controller *c, struct arena *a, const request *r, const char *message, struct status *reterr) {
    request *next = object_copy(a, &certificatesv1_CertificateSigningRequest_desc, r);
    add_condition(c->env, a, next, "Approved", "AutoApproved", message);
    return client_update_subresource(c->client, a, &certificatesv1_CertificateSigningRequest_desc, next, "approval", NULL, reterr);
}

static int approve(void *self, struct arena *a, const char *key, struct status *reterr) {
    static const struct { const char *subresource, *message; bool own; } ways[] = {
        {"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.", true},
        {"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.", false},
    };
    struct certificates *cc = self;
    struct x509_csr x;
    _cleanup_cached_ struct cached *cached = informer_get(cc->requests, NULL, key);
    if (!cached) return 0;
    const request *r = CACHED(cached, certificatesv1_CertificateSigningRequest);
    if (!csr_pending(r) || !str_eq(r->spec.signerName, KUBELET_SIGNER)) return 0;
    if (x509_csr_parse(a, r->spec.request.data, r->spec.request.len, &x, NULL) != 0 || not_kubelet_client(r, &x)) return 0;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        bool yes;
        if (ways[i].own && !str_eq(r->spec.username, x.common_name)) continue;
        if (allowed(cc, a, r, ways[i].subresource, &yes, reterr) != 0) return -1;
        if (!yes) continue;
        return csr_auto_approve(cc->c, a, r, ways[i].message, reterr);
    }
    return status_set(reterr, 0, NULL, "recognized csr \"%s\" as [selfnodeclient nodeclient] but subject access review was not approved", key);
}

/* ---- signing ---- */

static int sign_into(struct certificates *cc, struct arena *a, request *r, struct status *reterr) {
    const struct controller_options *o = cc->c->context->options;
    _cleanup_buf_ struct buf pem = BUF_INIT;
    int64_t now = env_now_s(cc->c->env), ttl = DURATION_S;
    if (r->spec.expirationSeconds.has) ttl = MIN(MAX((int64_t)r->spec.expirationSeconds.value, (int64_t)DURATION_MIN_S), ttl);
    /* Begins a little earlier, since clocks differ; that does not make a short one shorter. */
    int64_t end = ttl < SHORT_S ? now + ttl : now + ttl - BACKDATE_S;
    if (x509_csr_sign(r->spec.request.data, r->spec.request.len, o->cluster_signing_cert_file, o->cluster_signing_key_file, r->spec.usages.items, r->spec.usages.len, now - BACKDATE_S, end, &pem, reterr) != 0)
        return -1;
    r->status.certificate = (struct bytes){arena_memdup(a, pem.data, pem.len), pem.len};
    return 0;
}

static int sign(void *self, struct arena *a, const char *key, struct status *reterr) {
    static const char *const ours[] = {CLIENT_SIGNER, KUBELET_SIGNER, SERVING_SIGNER, LEGACY_SIGNER, NULL};
    struct certificates *cc = self;
    struct x509_csr x;
    _cleanup_cached_ struct cached *cached = informer_get(cc->requests, NULL, key);
    if (!cached) return 0;
    const request *now = CACHED(cached, certificatesv1_CertificateSigningRequest);
    if (now->status.certificate.len || !condition(now, "Approved") || condition(now, "Denied") || condition(now, "Failed") || !str_in(str_or(now->spec.signerName, ""), ours)) return 0;
    request *r = object_copy(a, &certificatesv1_CertificateSigningRequest_desc, now);
    if (x509_csr_parse(a, r->spec.request.data, r->spec.request.len, &x, reterr) != 0) return -1;
    const char *why = not_for_signer(r, &x);
    if (why) add_condition(cc->c->env, a, r, "Failed", "SignerValidationFailure", why);
    else if (sign_into(cc, a, r, reterr) != 0) return -1;
    return client_update_status(cc->c->client, a, &certificatesv1_CertificateSigningRequest_desc, r, NULL, reterr);
}

/* ---- cleaning ---- */

static bool older(const struct api_time *since, int64_t now_s, int64_t s) { return since && since->set && now_s - since->sec > s; }

static bool outdated(const request *r, int64_t now_s) {
    const struct certificatesv1_CertificateSigningRequestCondition *approved = condition(r, "Approved"), *denied = condition(r, "Denied"), *failed = condition(r, "Failed");
    int64_t end = r->status.certificate.len ? x509_not_after(r->status.certificate.data, r->status.certificate.len) : -1;
    if (end >= 0 && end < now_s) return true;
    if (!approved && !denied && !failed) return older(&r->metadata.creationTimestamp, now_s, 24 * HOUR_S);
    return (denied && older(&denied->lastUpdateTime, now_s, HOUR_S)) || (failed && older(&failed->lastUpdateTime, now_s, HOUR_S)) || (approved && older(&approved->lastUpdateTime, now_s, HOUR_S));
}

static void clean(void *self) {
    struct certificates *cc = self;
    do {
        _cleanup_cached_list_ struct cached_list all = {0};
        informer_list(cc->requests, NULL, &all);
        CACHED_FOREACH(r, certificatesv1_CertificateSigningRequest, &all)
            if (outdated(r, env_now_s(cc->c->env))) client_delete(cc->c->client, &certificatesv1_CertificateSigningRequest_desc, NULL, r->metadata.name, NULL, NULL);
    } while (controller_sleep_ms(cc->c, CLEAN_PERIOD_MS));
}

static int sync_nothing(void *self UNUSED, struct arena *a UNUSED, const char *key UNUSED, struct status *reterr UNUSED) { return 0; }

/* ---- life ---- */

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct certificates *cc = calloc(1, sizeof(*cc));
    CHECK(cc);
    cc->c = c;
    cc->requests = informers_get(c->context->informers, &certificatesv1_CertificateSigningRequest_desc);
    if (c->desc->workers > 1) informer_add_handler(cc->requests, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    return cc;
}

static void *new_signer(struct controller *c, struct status *reterr) {
    const struct controller_options *o = c->context->options;
    if (str_empty(o->cluster_signing_cert_file) || str_empty(o->cluster_signing_key_file)) return status_bad_request(reterr, "--cluster-signing-cert-file and --cluster-signing-key-file are not given"), NULL;
    return new(c, reterr);
}

#define ACCOUNT .account = "certificate-controller"
const struct controller_desc controller_csr_approving = {.name = "certificatesigningrequest-approving-controller", .queue = "certificate", ACCOUNT, .workers = 5, .new = new, .sync = approve, .free = free};
const struct controller_desc controller_csr_signing = {.name = "certificatesigningrequest-signing-controller", .queue = "certificate", ACCOUNT, .workers = 5, .new = new_signer, .sync = sign, .free = free};
const struct controller_desc controller_csr_cleaner = {.name = "certificatesigningrequest-cleaner-controller", ACCOUNT, .workers = 1, .new = new, .sync = sync_nothing, .run = clean, .free = free};
