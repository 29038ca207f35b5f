/* ServiceAccount: a Pod gets one, its token as a volume and its pull secrets; a mirror Pod has none. Upstream: plugin/pkg/admission/serviceaccount. */
#include <string.h>
#include "api/names.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "api/pod_references.h"
#include "base/env.h"
#include "base/str.h"

#define TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_VOLUME "kube-api-access-"
#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"
#define ENFORCE_ANNOTATION "kubernetes.io/enforce-mountable-secrets"

/* ---- the token's volume ---- */

/* True if any container is given the mount: one that has something there keeps that. */
static bool mount_token(struct arena *a, struct corev1_Container_list *containers, const char *volume) {
    bool any = false;
    LIST_FOREACH(c, containers) {
        bool there = false;
        LIST_FOREACH(m, &c->volumeMounts) there |= str_eq(m->mountPath, TOKEN_PATH);
        if (there) continue;
        *LIST_PUSH(a, &c->volumeMounts) = (struct corev1_VolumeMount){.name = volume, .readOnly = true, .mountPath = TOKEN_PATH};
        any = true;
    }
    return any;
}

static void add_token_volume(struct arena *a, struct corev1_Pod *pod, const char *name) {
    struct corev1_Volume *v = LIST_PUSH(a, &pod->spec.volumes);
    v->name = name;
    v->projected = ARENA_NEW(a, struct corev1_ProjectedVolumeSource);
    v->projected->defaultMode = (struct opt_int32)OPT(0644);
    struct corev1_VolumeProjection *p = LIST_PUSH(a, &v->projected->sources);
    p->serviceAccountToken = ARENA_NEW(a, struct corev1_ServiceAccountTokenProjection);
    *p->serviceAccountToken = (struct corev1_ServiceAccountTokenProjection){.expirationSeconds = OPT(3607), .path = "token"};
    p = LIST_PUSH(a, &v->projected->sources);
    p->configMap = ARENA_NEW(a, struct corev1_ConfigMapProjection);
    p->configMap->name = "kube-root-ca.crt";
    *LIST_PUSH(a, &p->configMap->items) = (struct corev1_KeyToPath){.key = "ca.crt", .path = "ca.crt"};
    p = LIST_PUSH(a, &v->projected->sources);
    p->downwardAPI = ARENA_NEW(a, struct corev1_DownwardAPIProjection);
    struct corev1_DownwardAPIVolumeFile *f = LIST_PUSH(a, &p->downwardAPI->items);
    f->path = "namespace";
    f->fieldRef = ARENA_NEW(a, struct corev1_ObjectFieldSelector);
    *f->fieldRef = (struct corev1_ObjectFieldSelector){.apiVersion = "v1", .fieldPath = "metadata.namespace"};
}

static void mount_service_account_token(struct api_request *r, struct corev1_Pod *pod) {
    const char *name = NULL;
    char suffix[6];
    LIST_FOREACH(v, &pod->spec.volumes)
        if (!name && str_has_prefix(str_or(v->name, ""), TOKEN_VOLUME)) name = v->name;
    bool there = name != NULL;
    if (!there) {
        env_name_suffix(apiserver_env(r->server), suffix, 5);
        name = arena_printf(r->arena, TOKEN_VOLUME "%s", suffix);
    }
    bool init = mount_token(r->arena, &pod->spec.initContainers, name), any = mount_token(r->arena, &pod->spec.containers, name) || init;
    if (!there && any) add_token_volume(r->arena, pod, name);
}

/* ---- the account ---- */

static int get_account(struct admission_attributes *a, const struct corev1_Pod *pod, const struct corev1_ServiceAccount **ret, struct status *reterr) {
    const char *name = pod->spec.serviceAccountName;
    void *found;
    if (a->service_account && str_eq(a->service_account->metadata.name, name)) { /* the mutating phase has read it a moment ago */
        *ret = a->service_account;
        return 0;
    }
    struct string_list msgs = {0};
    object_name_path_segment(a->r->arena, name, false, &msgs);
    if (msgs.len) return ADMISSION_FORBID(a, reterr, "error looking up service account %s/%s: invalid resource name \"%s\": [%s]", a->namespace, name, name, msgs.items[0]);
    int there = registry_find(a->r, strategy_find("", "serviceaccounts"), a->namespace, name, &found, reterr);
    if (there < 0) return -1;
    if (!there)
        return ADMISSION_FORBID(a, reterr, "error looking up service account %s/%s: serviceaccount %s not found", a->namespace, name, go_quote(a->r->arena, name));
    *ret = a->service_account = found;
    return 0;
}

static bool is_mirror(const struct corev1_Pod *pod) { return string_map_has(&pod->metadata.annotations, MIRROR_ANNOTATION); }

static void count_reference(void *arg, enum reference_kind kind, const char *namespace UNUSED, const char *name UNUSED) { ((size_t *)arg)[kind]++; }

/* The kubelet runs it whatever the apiserver says: what it could not get for it must not be asked for. */
static int check_mirror(struct admission_attributes *a, const struct corev1_Pod *pod, struct status *reterr) {
    size_t references[2] = {0};
    if (!str_empty(pod->spec.serviceAccountName)) return admission_forbid(a, "a mirror pod may not reference service accounts", reterr);
    references_visit(&corev1_PodSpec_desc, &pod->spec, count_reference, references);
    if (references[REFERENCE_SECRET]) return admission_forbid(a, "a mirror pod may not reference secrets", reterr);
    LIST_FOREACH(v, &pod->spec.volumes)
        if (v->projected)
            LIST_FOREACH(s, &v->projected->sources)
                if (s->serviceAccountToken) return admission_forbid(a, "a mirror pod may not use ServiceAccountToken volume projections", reterr);
    return 0;
}

/* ---- accounts that say which Secrets may be mounted ---- */

static bool enforces(const struct corev1_ServiceAccount *sa) {
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True", NULL}; /* strconv.ParseBool */
    const char *v = string_map_get(&sa->metadata.annotations, ENFORCE_ANNOTATION);
    return v && str_in(v, yes);
}

static bool may_mount(const struct corev1_ServiceAccount *sa, const char *secret) {
    LIST_FOREACH(s, &sa->secrets)
        if (str_eq(s->name, secret)) return true;
    return false;
}

/* Why a container may not have its environment; NULL: it may. */
static const char *env_refused(struct arena *a, const struct corev1_ServiceAccount *sa, const char *kind, const struct corev1_EphemeralContainerCommon *c) {
    const char *name = str_or(c->name, ""), *account = sa->metadata.name;
    LIST_FOREACH(e, &c->env)
        if (e->valueFrom && e->valueFrom->secretKeyRef && !may_mount(sa, e->valueFrom->secretKeyRef->name))
            return arena_printf(a, "%s %s with envVar %s referencing secret.secretName=\"%s\" is not allowed because service account %s does not reference that secret", kind, name, str_or(e->name, ""),
                                str_or(e->valueFrom->secretKeyRef->name, ""), account);
    LIST_FOREACH(e, &c->envFrom)
        if (e->secretRef && !may_mount(sa, e->secretRef->name))
            return arena_printf(a, "%s %s with envFrom referencing secret.secretName=\"%s\" is not allowed because service account %s does not reference that secret", kind, name, str_or(e->secretRef->name, ""), account);
    return NULL;
}

static int check_env(struct admission_attributes *a, const struct corev1_ServiceAccount *sa, const char *kind, const struct corev1_Container *c, struct status *reterr) {
    const char *why = env_refused(a->r->arena, sa, kind, (const void *)c); /* the same layout: see api/pod_util.c */
    return why ? admission_forbid(a, why, reterr) : 0;
}

static int check_secrets(struct admission_attributes *a, const struct corev1_ServiceAccount *sa, const struct corev1_Pod *pod, struct status *reterr) {
    LIST_FOREACH(v, &pod->spec.volumes)
        if (v->secret && !may_mount(sa, v->secret->secretName))
            return ADMISSION_FORBID(a, reterr, "volume with secret.secretName=\"%s\" is not allowed because service account %s does not reference that secret", str_or(v->secret->secretName, ""), sa->metadata.name);
    LIST_FOREACH(c, &pod->spec.initContainers)
        if (check_env(a, sa, "init container", c, reterr) != 0) return -1;
    LIST_FOREACH(c, &pod->spec.containers)
        if (check_env(a, sa, "container", c, reterr) != 0) return -1;
    for (size_t i = 0; i < pod->spec.imagePullSecrets.len; i++) {
        const char *name = str_or(pod->spec.imagePullSecrets.items[i].name, "");
        bool found = false;
        LIST_FOREACH(s, &sa->imagePullSecrets) found |= str_eq(s->name, name);
        if (!found) return ADMISSION_FORBID(a, reterr, "imagePullSecrets[%zu].name=\"%s\" is not allowed because service account %s does not reference that imagePullSecret", i, name, sa->metadata.name);
    }
    return 0;
}

static int check_ephemeral(struct admission_attributes *a, const struct corev1_Pod *pod, struct status *reterr) {
    const struct corev1_ServiceAccount *sa = NULL;
    const char *why;
    if (str_empty(pod->spec.serviceAccountName)) return ADMISSION_FORBID(a, reterr, "no service account specified for pod %s/%s", a->namespace, pod->metadata.name);
    if (get_account(a, pod, &sa, reterr) != 0) return -1;
    if (!enforces(sa)) return 0;
    LIST_FOREACH(c, &pod->spec.ephemeralContainers)
        if ((why = env_refused(a->r->arena, sa, "ephemeral container", &c->EphemeralContainerCommon))) return status_set(reterr, 500, NULL, "%s", why); /* no 403: upstream forgets to say so */
    return 0;
}

/* ---- the plugin ---- */

int service_account_mutate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    struct corev1_Pod *pod = a->obj;
    const struct corev1_ServiceAccount *sa = NULL;
    if (a->op != ADMIT_CREATE || a->o->subresource) return 0;
    if (is_mirror(pod)) return check_mirror(a, pod, reterr);
    if (str_empty(pod->spec.serviceAccountName)) pod->spec.serviceAccountName = pod->spec.serviceAccount = "default";
    if (get_account(a, pod, &sa, reterr) != 0) return -1;
    struct opt_bool automount = pod->spec.automountServiceAccountToken.has ? pod->spec.automountServiceAccountToken : sa->automountServiceAccountToken;
    if (!automount.has || automount.value) mount_service_account_token(a->r, pod);
    if (!pod->spec.imagePullSecrets.len)
        LIST_FOREACH(s, &sa->imagePullSecrets) *LIST_PUSH(a->r->arena, &pod->spec.imagePullSecrets) = *s;
    return enforces(sa) ? check_secrets(a, sa, pod, reterr) : 0;
}

/* After others may have changed the Pod. That the account is there was seen a moment ago, unless it is another one now. */
int service_account_validate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct corev1_Pod *pod = a->obj;
    const struct corev1_ServiceAccount *sa = NULL;
    if (a->op == ADMIT_UPDATE) return str_eq(a->o->subresource, "ephemeralcontainers") ? check_ephemeral(a, pod, reterr) : 0;
    if (a->op != ADMIT_CREATE || a->o->subresource) return 0;
    if (is_mirror(pod)) return check_mirror(a, pod, reterr);
    if (str_empty(pod->spec.serviceAccountName)) return ADMISSION_FORBID(a, reterr, "no service account specified for pod %s/%s", a->namespace, str_or(pod->metadata.name, ""));
    if (get_account(a, pod, &sa, reterr) != 0) return -1;
    return enforces(sa) ? check_secrets(a, sa, pod, reterr) : 0;
}
