/* PodSecurity: Pods against the standards that their namespace's labels name; templates of Pods are warned of and noted in the audit log; a namespace whose labels become stricter
 * tells which of its Pods they would refuse. Upstream: k8s.io/pod-security-admission/admission, plugin/pkg/admission/security/podsecurity.
 * Tests: tests/unit/test_pod_security.c, tests/integration/test_admission.py. */
#include <stdlib.h>
#include <string.h>
#include "api/names.h"
#include "apiserver/admission/config.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/pod_security_checks.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "base/env.h"
#include "base/fiber.h"
#include "base/map.h"
#include "base/str.h"

#define GROUP "pod-security.admission.config.k8s.io"
enum { PODS_CHECKED_MAX = 3000, PODS_A_PAGE = 100 };
#define CHECK_TIME_NS 1000000000ll

struct pod_security { struct pod_security_policy defaults; struct string_list usernames, namespaces, runtime_classes; };

/* ---- configuration ---- */

static void read_default(yyjson_val *defaults, const char *level_key, const char *version_key, struct pod_security_standard *ret, struct string_list *wrong, struct arena *a) {
    const char *level = str_or(yyjson_get_str(yyjson_obj_get(defaults, level_key)), "privileged"), *version = str_or(yyjson_get_str(yyjson_obj_get(defaults, version_key)), "latest");
    const char *why = pod_security_parse_level(level, &ret->level);
    if (why) string_list_push(a, wrong, arena_printf(a, "%s: %s", level_key, why));
    if ((why = pod_security_parse_version(version, &ret->minor))) string_list_push(a, wrong, arena_printf(a, "%s: %s", version_key, why));
}

static int read_defaults(struct arena *a, yyjson_val *defaults, struct pod_security_policy *ret, struct status *reterr) {
    static const char *const members[] = {"enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version", NULL};
    struct string_list wrong = {0};
    if (admission_config_members(a, defaults, "defaults.", members, reterr) != 0) return -1;
    read_default(defaults, "enforce", "enforce-version", &ret->enforce, &wrong, a);
    read_default(defaults, "audit", "audit-version", &ret->audit, &wrong, a);
    read_default(defaults, "warn", "warn-version", &ret->warn, &wrong, a);
    if (!wrong.len) return 0;
    const char *all = wrong.items[0];
    for (size_t i = 1; i < wrong.len; i++) all = arena_printf(a, "%s, %s", all, wrong.items[i]);
    return status_bad_request(reterr, wrong.len > 1 ? "PodSecurity configuration error: [%s]" : "PodSecurity configuration error: %s", all);
}

static void check_exemptions(struct arena *a, const struct string_list *list, const char *name, void (*check)(struct arena *a, const char *name, bool prefix, struct string_list *msgs), struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(FIELD(FIELD(NULL, "exemptions"), name), i);
        struct string_list msgs = {0}, before = {list->items, i};
        if (check) check(a, list->items[i], false, &msgs);
        else if (!*list->items[i]) string_list_push(a, &msgs, "username must not be empty");
        const char *text = msgs.len ? msgs.items[0] : NULL;
        for (size_t k = 1; k < msgs.len; k++) text = arena_printf(a, "%s, %s", text, msgs.items[k]);
        if (text) field_invalid(errs, at, list->items[i], "%s", text);
        else if (string_list_has(&before, list->items[i])) field_duplicate(errs, at, list->items[i]);
    }
}

static int read_exemptions(struct arena *a, yyjson_val *exemptions, struct pod_security *ps, struct status *reterr) {
    static const char *const members[] = {"usernames", "namespaces", "runtimeClasses", NULL};
    struct field_errors errs = field_errors_in(a);
    if (admission_config_members(a, exemptions, "exemptions.", members, reterr) != 0 || admission_config_strings(a, exemptions, "usernames", &ps->usernames, reterr) != 0 ||
        admission_config_strings(a, exemptions, "namespaces", &ps->namespaces, reterr) != 0 || admission_config_strings(a, exemptions, "runtimeClasses", &ps->runtime_classes, reterr) != 0) return -1;
    check_exemptions(a, &ps->namespaces, "namespaces", object_name_dns_label, &errs);
    check_exemptions(a, &ps->runtime_classes, "runtimeClasses", object_name_dns_subdomain, &errs);
    check_exemptions(a, &ps->usernames, "usernames", NULL, &errs);
    return errs.len ? admission_config_refuse(&errs, "PodSecurity invalid: ", reterr) : 0;
}

int pod_security_setup(const struct admission_setup *s, const char *text, size_t len, void **ret_state, struct status *reterr) {
    static const char *const versions[] = {GROUP "/v1", GROUP "/v1beta1", GROUP "/v1alpha1", NULL}, *const members[] = {"apiVersion", "kind", "defaults", "exemptions", NULL};
    struct pod_security *ps = *ret_state = ARENA_NEW(s->arena, struct pod_security);
    yyjson_val *root = text && len ? admission_config_parse(s->arena, text, len, versions, "PodSecurityConfiguration", reterr) : NULL;
    if (text && len && (!root || admission_config_members(s->arena, root, "", members, reterr) != 0)) return -1;
    return read_defaults(s->arena, yyjson_obj_get(root, "defaults"), &ps->defaults, reterr) != 0 ? -1 : read_exemptions(s->arena, yyjson_obj_get(root, "exemptions"), ps, reterr);
}

/* ---- one Pod, or a template of Pods ---- */

static void annotate(struct admission_attributes *a, const char *key, const char *value) {
    if (a->r->audit) audit_annotate(a->r, arena_printf(a->r->arena, "pod-security.kubernetes.io/%s", key), value);
}

static bool is_exempt(struct admission_attributes *a, const struct pod_security *ps) {
    const char *why = !str_empty(a->namespace) && string_list_has(&ps->namespaces, a->namespace) ? "namespace" : !str_empty(a->r->user.name) && string_list_has(&ps->usernames, a->r->user.name) ? "user" : NULL;
    if (why) annotate(a, "exempt", why);
    return why != NULL;
}

static const char *violation(struct arena *a, const char *how, const struct pod_security_standard *s, const struct pod_security_result *r) {
    return arena_printf(a, "%s PodSecurity \"%s\": %s", how, pod_security_standard_string(a, s), pod_security_detail(a, r));
}

/* The labels' errors as upstream's aggregate prints them. */
static const char *label_errors(struct arena *a, const struct field_errors *errs) {
    const char *text = arena_printf(a, "%s: %s", errs->items[0].field, errs->items[0].detail);
    for (size_t i = 1; i < errs->len; i++) text = arena_printf(a, "%s, %s: %s", text, errs->items[i].field, errs->items[i].detail);
    return errs->len > 1 ? arena_printf(a, "[%s]", text) : text;
}

static int evaluate(struct admission_attributes *a, const struct pod_security *ps, const struct pod_security_policy *p, const struct field_errors *errs, const struct metav1_ObjectMeta *meta,
                    const struct corev1_PodSpec *spec, bool enforce, struct status *reterr) {
    struct arena *arena = a->r->arena;
    struct pod_security_result enforced = {0}, audited, warned;
    if (!str_empty(spec->runtimeClassName) && string_list_has(&ps->runtime_classes, spec->runtimeClassName)) {
        annotate(a, "exempt", "runtimeClass");
        return 0;
    }
    if (errs->len && a->r->audit) annotate(a, "error", arena_printf(arena, "Failed to parse policy: %s", label_errors(arena, errs)));
    if (enforce) {
        annotate(a, "enforce-policy", pod_security_standard_string(arena, &p->enforce));
        enforced = pod_security_evaluate(arena, &p->enforce, meta, spec);
    }
    if (a->r->audit) {
        audited = enforce && pod_security_standard_equal(&p->audit, &p->enforce) ? enforced : pod_security_evaluate(arena, &p->audit, meta, spec);
        if (audited.reasons.len) annotate(a, "audit-violations", violation(arena, "would violate", &p->audit, &audited));
    }
    if (enforced.reasons.len) return admission_forbid(a, violation(arena, "violates", &p->enforce, &enforced), reterr);
    warned = enforce && pod_security_standard_equal(&p->warn, &p->enforce) ? enforced : pod_security_evaluate(arena, &p->warn, meta, spec);
    if (warned.reasons.len) request_warn(a->r, "%s", violation(arena, "would violate", &p->warn, &warned));
    return 0;
}

/* Whether an update changes what the standards look at. Containers' images are all that may change of it. */
static bool same_images(const struct corev1_Container_list *x, const struct corev1_Container_list *y) {
    if (x->len != y->len) return false;
    for (size_t i = 0; i < x->len; i++)
        if (!str_eq(x->items[i].image, y->items[i].image)) return false;
    return true;
}

static bool is_significant(const struct corev1_PodSpec *now, const struct corev1_PodSpec *old) {
    if (!same_images(&now->containers, &old->containers) || !same_images(&now->initContainers, &old->initContainers)) return true;
    LIST_FOREACH(c, &now->ephemeralContainers) {
        const struct corev1_EphemeralContainer *was = NULL;
        LIST_FOREACH(o, &old->ephemeralContainers)
            if (!was && str_eq(o->name, c->name)) was = o;
        if (!was || !str_eq(was->image, c->image)) return true;
    }
    return false;
}

static bool is_fully_privileged(const struct pod_security_policy *p) { return !p->enforce.level && !p->audit.level && !p->warn.level; }

static int check_pod(struct admission_attributes *a, const struct pod_security *ps, struct status *reterr) {
    static const char *const ignored[] = {"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status", NULL};
    const struct corev1_Pod *pod = a->obj, *old = a->old;
    struct field_errors errs = field_errors_in(a->r->arena);
    if (str_in(str_or(a->o->subresource, ""), ignored)) return 0;
    bool significant = a->op != ADMIT_UPDATE || is_significant(&pod->spec, &old->spec);
    if (!significant && !a->r->audit) return 0; /* the rest would only be noted */
    if (is_exempt(a, ps)) return 0;
    const struct corev1_Namespace *ns = admission_namespace(a);
    if (!ns) return status_internal(reterr, "failed to lookup namespace \"%s\"", str_or(a->namespace, ""));
    struct pod_security_policy p = pod_security_policy_of(&ns->metadata.labels, &ps->defaults, &errs);
    if (!errs.len && is_fully_privileged(&p)) {
        annotate(a, "enforce-policy", "privileged:latest");
        return 0;
    }
    return significant ? evaluate(a, ps, &p, &errs, &pod->metadata, &pod->spec, true, reterr) : 0;
}

static const struct corev1_PodTemplateSpec *template_of(const struct admission_attributes *a) {
    const struct type_desc *t = a->st->type;
    const void *o = a->obj;
    if (t == &corev1_PodTemplate_desc) return &((const struct corev1_PodTemplate *)o)->template;
    if (t == &corev1_ReplicationController_desc) return ((const struct corev1_ReplicationController *)o)->spec.template;
    if (t == &appsv1_ReplicaSet_desc) return &((const struct appsv1_ReplicaSet *)o)->spec.template;
    if (t == &appsv1_Deployment_desc) return &((const struct appsv1_Deployment *)o)->spec.template;
    if (t == &appsv1_StatefulSet_desc) return &((const struct appsv1_StatefulSet *)o)->spec.template;
    if (t == &appsv1_DaemonSet_desc) return &((const struct appsv1_DaemonSet *)o)->spec.template;
    if (t == &batchv1_Job_desc) return &((const struct batchv1_Job *)o)->spec.template;
    if (t == &batchv1_CronJob_desc) return &((const struct batchv1_CronJob *)o)->spec.jobTemplate.spec.template;
    return NULL;
}

static int check_workload(struct admission_attributes *a, const struct pod_security *ps, struct status *reterr) {
    struct field_errors errs = field_errors_in(a->r->arena);
    if (a->o->subresource || is_exempt(a, ps)) return 0;
    const struct corev1_Namespace *ns = admission_namespace(a);
    if (!ns) {
        annotate(a, "error", arena_printf(a->r->arena, "failed to lookup namespace \"%s\"", str_or(a->namespace, "")));
        return 0;
    }
    struct pod_security_policy p = pod_security_policy_of(&ns->metadata.labels, &ps->defaults, &errs);
    const struct corev1_PodTemplateSpec *template = template_of(a);
    if ((!errs.len && !p.warn.level && !p.audit.level) || !template) return 0;
    return evaluate(a, ps, &p, &errs, &template->metadata, &template->spec, false, reterr);
}

/* ---- Namespaces: Pods that are there ---- */

struct checked { const char *name, *reason; bool again; }; /* reason NULL: fine; again: another Pod of its controller came before */
struct page { struct arena *scratch; const char *last; size_t n; };
struct scan {
    struct arena *a;
    const struct pod_security *ps;
    const struct pod_security_standard *standard;
    struct map *controllers; /* uids that were seen */
    struct { struct checked *items; size_t len; } pods;
    size_t exempt;
    struct page page;
};

static const char *controller_uid(const struct corev1_Pod *pod) {
    LIST_FOREACH(o, &pod->metadata.ownerReferences)
        if (o->controller.has && o->controller.value) return o->uid;
    return NULL;
}

static bool check_existing(void *arg, const struct store_view *v) {
    struct scan *s = arg;
    if (s->page.n == PODS_A_PAGE) return false;
    s->page.n++;
    s->page.last = arena_printf(s->page.scratch, "%.*s\x01", (int)v->key_len, v->key); /* behind this key and before any other */
    const struct corev1_Pod *pod = registry_decode(s->page.scratch, strategy_find("", "pods"), v);
    if (!pod || (!str_empty(pod->spec.runtimeClassName) && string_list_has(&s->ps->runtime_classes, pod->spec.runtimeClassName))) {
        s->exempt++;
        return true;
    }
    struct pod_security_result r = pod_security_evaluate(s->page.scratch, s->standard, &pod->metadata, &pod->spec);
    struct checked *c = LIST_PUSH(s->a, &s->pods);
    const char *uid = controller_uid(pod);
    c->name = arena_strdup(s->a, pod->metadata.name);
    if (r.reasons.len) c->reason = arena_strdup(s->a, pod_security_reason(s->page.scratch, &r));
    if (uid && !(c->again = map_has(s->controllers, uid))) map_put(s->controllers, uid, s);
    return true;
}

/* A page at a time: between them others on this loop go on, and no snapshot is held for long. Returns how many Pods there are, exempt ones left out. */
static size_t scan_pods(struct admission_attributes *a, struct scan *s, const char *namespace) {
    struct store *store = apiserver_store(a->r->server);
    const char *prefix = storage_key(a->r->arena, strategy_find("", "pods"), namespace, NULL), *start = NULL;
    int64_t deadline = env_mono_ns(env_real()) + CHECK_TIME_NS;
    size_t total = 0;
    for (bool more = true; more;) {
        struct store_txn *t;
        s->page = (struct page){.scratch = arena_new()};
        if (store_read_begin(store, &t, NULL) == 0) {
            store_range(t, prefix, start, check_existing, s);
            more = s->page.n == PODS_A_PAGE && env_mono_ns(env_real()) < deadline;
            if (!more) total = s->pods.len + (s->page.n == PODS_A_PAGE ? store_count(t, prefix, s->page.last) : 0);
            store_read_end(t);
        } else more = false;
        start = arena_strdup(a->r->arena, s->page.last);
        arena_free(s->page.scratch);
        if (more && fiber_current()) fiber_sleep_ms(0);
    }
    return total;
}

struct counted { const char *name, *reason; size_t pods; };
struct counts { struct counted *items; size_t len; };

static void count_in(struct arena *a, struct counts *counts, const struct checked *c) {
    if (!c->reason) return;
    LIST_FOREACH(k, counts)
        if (strcmp(k->reason, c->reason) == 0) {
            k->pods++;
            if (strcmp(c->name, k->name) < 0) k->name = c->name;
            return;
        }
    *LIST_PUSH(a, counts) = (struct counted){c->name, c->reason, 1};
}

static int compare_texts(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

static void warn_of_counts(struct admission_attributes *a, const struct counts *counts) {
    struct string_list texts = {0};
    LIST_FOREACH(c, counts) {
        const char *more = c->pods == 2 ? " (and 1 other pod)" : c->pods > 2 ? arena_printf(a->r->arena, " (and %zu other pods)", c->pods - 1) : "";
        string_list_push(a->r->arena, &texts, arena_printf(a->r->arena, "%s%s: %s", c->name, more, c->reason));
    }
    if (texts.len) qsort(texts.items, texts.len, sizeof(*texts.items), compare_texts);
    for (size_t i = 0; i < texts.len; i++) request_warn(a->r, "%s", texts.items[i]);
}

/* Those of different controllers first, then the others, PODS_CHECKED_MAX in all. */
static void warn_of_existing(struct admission_attributes *a, const struct pod_security *ps, const struct pod_security_standard *standard) {
    struct scan s = {.a = a->r->arena, .ps = ps, .standard = standard, .controllers = map_new()};
    struct counts counts = {0};
    size_t total = scan_pods(a, &s, a->name), checked = 0;
    for (int again = 0; again < 2; again++)
        LIST_FOREACH(c, &s.pods)
            if (c->again == (again == 1) && checked < PODS_CHECKED_MAX) {
                count_in(s.a, &counts, c);
                checked++;
            }
    if (checked < total) request_warn(a->r, "new PodSecurity enforce level only checked against the first %zu of %zu existing pods", checked, total);
    if (counts.len) request_warn(a->r, "existing pods in namespace \"%s\" violate the new PodSecurity enforce level \"%s\"", a->name, pod_security_standard_string(s.a, standard));
    warn_of_counts(a, &counts);
    map_free(s.controllers);
}

/* ---- Namespaces: their labels ---- */

static const char *mode_text(struct arena *a, const char *text, const char *mode, const struct string_map *labels, const struct pod_security_standard *s) {
    const char *level = arena_printf(a, "pod-security.kubernetes.io/%s", mode);
    if (!s->level || !(string_map_has(labels, level) || string_map_has(labels, arena_printf(a, "%s-version", level)))) return text;
    return arena_printf(a, "%s%s%s=%s", text, *text ? ", " : "", mode, pod_security_standard_string(a, s));
}

static bool same_effect(const struct pod_security_standard *x, const struct pod_security_standard *y) { return (!x->level && !y->level) || pod_security_standard_equal(x, y); }

static void warn_of_exemption(struct admission_attributes *a, const struct pod_security *ps, const struct pod_security_policy *p, const struct string_map *labels) {
    struct arena *arena = a->r->arena;
    const struct pod_security_policy *d = &ps->defaults;
    if (is_fully_privileged(p) || (same_effect(&p->enforce, &d->enforce) && same_effect(&p->audit, &d->audit) && same_effect(&p->warn, &d->warn))) return;
    const char *text = mode_text(arena, mode_text(arena, mode_text(arena, "", "enforce", labels, &p->enforce), "audit", labels, &p->audit), "warn", labels, &p->warn);
    request_warn(a->r, "namespace \"%s\" is exempt from Pod Security, and the policy (%s) will be ignored", str_or(a->name, ""), text);
}

static bool same_errors(const struct field_errors *x, const struct field_errors *y) {
    bool same = x->len == y->len;
    for (size_t i = 0; same && i < x->len; i++) same = strcmp(x->items[i].field, y->items[i].field) == 0 && strcmp(x->items[i].detail, y->items[i].detail) == 0;
    return same;
}

static int check_namespace(struct admission_attributes *a, const struct pod_security *ps, struct status *reterr) {
    const struct object *ns = a->obj, *old = a->old;
    struct field_errors errs = field_errors_in(a->r->arena), old_errs = field_errors_in(a->r->arena);
    if (a->o->subresource) return 0;
    struct pod_security_policy p = pod_security_policy_of(&ns->metadata.labels, &ps->defaults, &errs), was = ps->defaults;
    bool exempt = !str_empty(a->name) && string_list_has(&ps->namespaces, a->name);
    if (a->op == ADMIT_UPDATE) was = pod_security_policy_of(&old->metadata.labels, &ps->defaults, &old_errs);
    if (errs.len && (a->op == ADMIT_CREATE || !same_errors(&errs, &old_errs))) return field_errors_status(&errs, "", "Namespace", a->name, reterr);
    if (a->op == ADMIT_CREATE) {
        if (exempt) warn_of_exemption(a, ps, &p, &ns->metadata.labels);
        return 0;
    }
    bool relaxed = p.enforce.minor == was.enforce.minor && p.enforce.level <= was.enforce.level;
    if (pod_security_standard_equal(&p.enforce, &was.enforce) || !p.enforce.level || relaxed) return 0;
    if (exempt) warn_of_exemption(a, ps, &p, &ns->metadata.labels);
    else warn_of_existing(a, ps, &p.enforce);
    return 0;
}

int pod_security(struct admission_attributes *a, void *state, struct status *reterr) {
    if (a->st->type == &corev1_Pod_desc) return check_pod(a, state, reterr);
    return a->st->type == &corev1_Namespace_desc ? check_namespace(a, state, reterr) : check_workload(a, state, reterr);
}
