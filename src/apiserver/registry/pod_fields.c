/* Fields of Pods whose feature gates are off by default: dropped when an object is written, unless what was there has them already. And AppArmor's old
 * annotations, which become fields. Upstream: pkg/api/pod DropDisabledPodFields, and applyAppArmorVersionSkew. Tests: tests/integration/test_resources.py. */
#include <string.h>
#include "api/field_error.h"
#include "api/pod_util.h"
#include "api/validation/pod_security.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

/* ---- the spec, of Pods and of templates ---- */

struct in_use { bool stop_signal, trust_bundle, certificate; };

static struct in_use in_use(const struct corev1_PodSpec *s) {
    struct in_use u = {0};
    const struct corev1_Container *c;
    if (!s) return u;
    for (size_t n = 0; (c = pod_container_at(s, n, NULL, NULL)); n++) u.stop_signal |= c->lifecycle && c->lifecycle->stopSignal;
    LIST_FOREACH(v, &s->volumes) {
        if (!v->projected) continue;
        LIST_FOREACH(p, &v->projected->sources) {
            u.trust_bundle |= p->clusterTrustBundle != NULL;
            u.certificate |= p->podCertificate != NULL;
        }
    }
    return u;
}

static void drop_stop_signal(struct corev1_Container *c) {
    struct corev1_Lifecycle *l = c->lifecycle;
    if (!l || !l->stopSignal) return;
    l->stopSignal = NULL;
    if (!l->postStart && !l->preStop) c->lifecycle = NULL;
}

void pod_spec_drop_disabled(struct corev1_PodSpec *s, const struct corev1_PodSpec *old) {
    struct in_use before = in_use(old);
    const struct corev1_Container *c;
    if (!s) return;
    for (size_t n = 0; !before.stop_signal && (c = pod_container_at(s, n, NULL, NULL)); n++) drop_stop_signal((struct corev1_Container *)c);
    LIST_FOREACH(v, &s->volumes) {
        if (!v->projected) continue;
        LIST_FOREACH(p, &v->projected->sources) {
            if (!before.trust_bundle) p->clusterTrustBundle = NULL;
            if (!before.certificate) p->podCertificate = NULL;
        }
    }
    if (!old || !old->schedulingGroup) s->schedulingGroup = NULL;
}

/* ---- the status ---- */

static bool has_volume_status(const struct corev1_ContainerStatus_list *list) {
    LIST_FOREACH(c, list)
        LIST_FOREACH(m, &c->volumeMounts)
            if (m->volumeStatus) return true;
    return false;
}

static void drop_volume_status(struct corev1_ContainerStatus_list *list) {
    LIST_FOREACH(c, list)
        LIST_FOREACH(m, &c->volumeMounts) m->volumeStatus = NULL;
}

void pod_status_drop_disabled(struct corev1_PodStatus *s, const struct corev1_PodStatus *old) {
    if (!has_volume_status(&old->containerStatuses) && !has_volume_status(&old->initContainerStatuses) && !has_volume_status(&old->ephemeralContainerStatuses)) {
        drop_volume_status(&s->containerStatuses);
        drop_volume_status(&s->initContainerStatuses);
        drop_volume_status(&s->ephemeralContainerStatuses);
    }
    if (!old->nodeAllocatableResourceClaimStatuses.len) s->nodeAllocatableResourceClaimStatuses = (struct corev1_NodeAllocatableResourceClaimStatus_list){0};
}

/* ---- AppArmor ---- */

static const char armor_prefix[] = "container.apparmor.security.beta.kubernetes.io/";

/* The field of an annotation's meaning; NULL: it means nothing that a field may say. */
static struct corev1_AppArmorProfile *armor_field(struct arena *a, const char *annotation) {
    static const char local[] = "localhost/";
    struct corev1_AppArmorProfile p = {0};
    if (str_eq(annotation, "unconfined")) p.type = "Unconfined";
    else if (str_eq(annotation, "runtime/default")) p.type = "RuntimeDefault";
    else if (str_has_prefix(str_or(annotation, ""), local) && annotation[strlen(local)]) p = (struct corev1_AppArmorProfile){.type = "Localhost", .localhostProfile = annotation + strlen(local)};
    else return NULL;
    struct field_errors errs = field_errors_in(a);
    validate_app_armor_profile(&p, NULL, &errs);
    return errs.len ? NULL : object_copy(a, &corev1_AppArmorProfile_desc, &p);
}

static void armor_container(struct api_request *r, struct corev1_Pod *pod, struct corev1_Container *c) {
    const char *key = arena_printf(r->arena, "%s%s", armor_prefix, str_or(c->name, ""));
    const struct corev1_AppArmorProfile *whole = pod->spec.securityContext ? pod->spec.securityContext->appArmorProfile : NULL;
    if (!string_map_has(&pod->metadata.annotations, key) || (c->securityContext && c->securityContext->appArmorProfile)) return;
    struct corev1_AppArmorProfile *field = armor_field(r->arena, string_map_get(&pod->metadata.annotations, key));
    if (field && whole && object_equal(&corev1_AppArmorProfile_desc, field, whole)) return;
    if (field) {
        if (!c->securityContext) c->securityContext = ARENA_NEW(r->arena, struct corev1_SecurityContext);
        c->securityContext->appArmorProfile = field;
    }
    request_warn(r, "%s: deprecated since v1.30; use the \"appArmorProfile\" field instead", field_path_string(r->arena, FIELD_KEY(FIELD(FIELD(NULL, "metadata"), "annotations"), key)));
}

void pod_apply_app_armor(struct api_request *r, struct corev1_Pod *pod) {
    const struct corev1_Container *c;
    if (pod->spec.os && str_eq(pod->spec.os->name, "windows")) return;
    for (size_t n = 0; (c = pod_container_at(&pod->spec, n, NULL, NULL)); n++) armor_container(r, pod, (struct corev1_Container *)c);
}
