#include "api/warnings.h"
#include <arpa/inet.h>
#include <string.h>
#include "api/names.h"
#include "api/pod_util.h"
#include "api/quantity.h"
#include "base/str.h"

struct sink { struct arena *arena; struct string_list *list; };

static void warn(struct sink *s, const struct field_path *at, const char *format, ...) PRINTF_LIKE(3, 4);
static void warn(struct sink *s, const struct field_path *at, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(s->arena, format, args);
    va_end(args);
    string_list_push(s->arena, s->list, at ? arena_printf(s->arena, "%s: %s", field_path_string(s->arena, at), text) : text);
}

/* ---- nodes' old labels ---- */

const char *node_label_deprecation(const char *key) {
    static const struct { const char *key, *text; } labels[] = {
        {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
        {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
        {"failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
        {"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
        {"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
        {"app.kubernetes.io/created-by", "deprecated since v1.9"},
        {"scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"},
        {"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"}};
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        if (str_eq(labels[i].key, key)) return labels[i].text;
    return NULL;
}

static void selector_term(struct sink *s, const struct corev1_NodeSelectorTerm *t, bool check_values, const struct field_path *at) {
    for (size_t i = 0; i < t->matchExpressions.len; i++) {
        const struct corev1_NodeSelectorRequirement *e = &t->matchExpressions.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "matchExpressions"), i);
        const char *text = node_label_deprecation(e->key);
        if (text) warn(s, FIELD(p, "key"), "%s is %s", e->key, text);
        for (size_t k = 0; check_values && k < e->values.len; k++) {
            struct string_list msgs = {0};
            name_label_value(s->arena, e->values.items[k], &msgs);
            for (size_t m = 0; m < msgs.len; m++) warn(s, FIELD_INDEX(FIELD(p, "values"), k), "%s is invalid, %s", e->values.items[k], msgs.items[m]);
        }
    }
}

static void node_affinity(struct sink *s, const struct corev1_NodeAffinity *n, const struct field_path *at) {
    const struct corev1_NodeSelector *required = n->requiredDuringSchedulingIgnoredDuringExecution;
    for (size_t i = 0; required && i < required->nodeSelectorTerms.len; i++)
        selector_term(s, &required->nodeSelectorTerms.items[i], false, FIELD_INDEX(FIELD(FIELD(at, "requiredDuringSchedulingIgnoredDuringExecution"), "nodeSelectorTerms"), i));
    for (size_t i = 0; i < n->preferredDuringSchedulingIgnoredDuringExecution.len; i++)
        selector_term(s, &n->preferredDuringSchedulingIgnoredDuringExecution.items[i].preference, true, FIELD(FIELD_INDEX(FIELD(at, "preferredDuringSchedulingIgnoredDuringExecution"), i), "preference"));
}

/* ---- annotations ---- */

static void annotations(struct sink *s, const struct corev1_PodSpec *spec, const struct metav1_ObjectMeta *meta, const struct field_path *at) {
    static const struct { const char *key, *text; } old[] = {
        {"scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
        {"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
        {"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"}};
    (void)spec;
    for (size_t i = 0; i < ARRAY_LEN(old); i++)
        if (string_map_has(&meta->annotations, old[i].key)) warn(s, FIELD_KEY(FIELD(FIELD(at, "metadata"), "annotations"), old[i].key), "%s", old[i].text);
}

/* Whether an old annotation asks for what the Pod's field says too. Upstream: ApparmorFieldForAnnotation. */
static bool armor_matches(const struct corev1_AppArmorProfile *p, const char *annotation) {
    static const char localhost[] = "localhost/";
    if (!p || !annotation) return false;
    if (str_eq(annotation, "unconfined")) return str_eq(p->type, "Unconfined") && !p->localhostProfile;
    if (str_eq(annotation, "runtime/default")) return str_eq(p->type, "RuntimeDefault") && !p->localhostProfile;
    return str_has_prefix(annotation, localhost) && annotation[sizeof(localhost) - 1] && str_eq(p->type, "Localhost") && str_eq(p->localhostProfile, annotation + sizeof(localhost) - 1);
}

static void container_annotations(struct sink *s, const struct corev1_Container *c, const struct corev1_PodSpec *spec, const struct metav1_ObjectMeta *meta, const struct field_path *at, bool is_template) {
    const struct corev1_AppArmorProfile *pod_armor = spec->securityContext ? spec->securityContext->appArmorProfile : NULL;
    const struct field_path *p = FIELD(FIELD(at, "metadata"), "annotations");
    const char *seccomp = arena_printf(s->arena, "container.seccomp.security.alpha.kubernetes.io/%s", str_or(c->name, "")), *armor = arena_printf(s->arena, "container.apparmor.security.beta.kubernetes.io/%s", str_or(c->name, ""));
    if ((!c->securityContext || !c->securityContext->seccompProfile) && string_map_has(&meta->annotations, seccomp))
        warn(s, FIELD_KEY(p, seccomp), "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    if (is_template && (!c->securityContext || !c->securityContext->appArmorProfile) && string_map_has(&meta->annotations, armor) &&
        !armor_matches(pod_armor, string_map_get(&meta->annotations, armor)))
        warn(s, FIELD_KEY(p, armor), "deprecated since v1.30; use the \"appArmorProfile\" field instead");
}

/* ---- volumes ---- */

static void old_volumes(struct sink *s, const struct corev1_Volume *v, const struct field_path *at) {
    const struct { const void *source; const char *name, *text; } old[] = {
        {v->photonPersistentDisk, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"}, {v->gitRepo, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
        {v->scaleIO, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"}, {v->flocker, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
        {v->storageos, "storageOS", "deprecated in v1.22, non-functional in v1.25+"}, {v->quobyte, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
        {v->glusterfs, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"}};
    for (size_t i = 0; i < ARRAY_LEN(old); i++)
        if (old[i].source) warn(s, FIELD(at, old[i].name), "%s", old[i].text);
    if (v->ephemeral && v->ephemeral->volumeClaimTemplate)
        claim_spec_warnings(s->arena, &v->ephemeral->volumeClaimTemplate->spec, FIELD(FIELD(FIELD(at, "ephemeral"), "volumeClaimTemplate"), "spec"), s->list);
    if (v->cephfs) warn(s, FIELD(at, "cephfs"), "deprecated in v1.28, non-functional in v1.31+");
    if (v->rbd) warn(s, FIELD(at, "rbd"), "deprecated in v1.28, non-functional in v1.31+");
}

/* A path that a volume's source fills, and which source. */
struct filled { const char *path, *source; };
struct filled_list { struct filled *items; size_t len; };

static const char *filled_text(struct arena *a, const struct filled *f) { return f->source ? arena_printf(a, "\"%s\" (%s)", f->path, f->source) : arena_printf(a, "\"%s\"", f->path); }
static bool below(struct arena *a, const char *path, const char *folder) { return str_has_prefix(path, arena_printf(a, "%s/", folder)); }

/* Complains of each earlier path that is the same, above or below. */
static void fill(struct sink *s, struct filled_list *all, const char *path, const char *source, const char *volume, const char *what) {
    size_t len = strlen(str_or(path, ""));
    while (len && path[len - 1] == '/') len--;
    struct filled f = {arena_strndup(s->arena, str_or(path, ""), len), source};
    if (len)
        LIST_FOREACH(o, all)
            if (str_eq(o->path, f.path) || below(s->arena, o->path, f.path) || below(s->arena, f.path, o->path))
                warn(s, NULL, "volume \"%s\" (%s): overlapping paths: %s with %s", volume, what, filled_text(s->arena, &f), filled_text(s->arena, o));
    *LIST_PUSH(s->arena, all) = f;
}

static void fill_keys(struct sink *s, struct filled_list *all, const struct corev1_KeyToPath_list *items, const char *source, const char *volume, const char *what) {
    LIST_FOREACH(i, items) fill(s, all, i->path, source, volume, what);
}

static void fill_files(struct sink *s, struct filled_list *all, const struct corev1_DownwardAPIVolumeFile_list *items, const char *source, const char *volume, const char *what) {
    LIST_FOREACH(i, items) fill(s, all, i->path, source, volume, what);
}

static void projected_paths(struct sink *s, const struct corev1_ProjectedVolumeSource *p, const char *volume) {
    struct filled_list all = {0};
    struct arena *a = s->arena;
    LIST_FOREACH(v, &p->sources) {
        if (v->configMap && v->configMap->items.items) fill_keys(s, &all, &v->configMap->items, arena_printf(a, "ConfigMap \"%s\"", str_or(v->configMap->name, "")), volume, "Projected");
        else if (v->secret && v->secret->items.items) fill_keys(s, &all, &v->secret->items, arena_printf(a, "Secret \"%s\"", str_or(v->secret->name, "")), volume, "Projected");
        else if (v->downwardAPI && v->downwardAPI->items.items) fill_files(s, &all, &v->downwardAPI->items, "DownwardAPI", volume, "Projected");
        else if (v->serviceAccountToken) fill(s, &all, v->serviceAccountToken->path, "ServiceAccountToken", volume, "Projected");
        else if (!v->configMap && !v->secret && !v->downwardAPI) warn(s, NULL, "volume \"%s\" (Projected) has no sources provided", volume);
    }
}

static void overlapping_paths(struct sink *s, const struct corev1_Volume *v) {
    struct arena *a = s->arena;
    const char *name = str_or(v->name, "");
    struct filled_list keys = {0}, secrets = {0}, files = {0};
    if (v->configMap) fill_keys(s, &keys, &v->configMap->items, NULL, name, arena_printf(a, "ConfigMap \"%s\"", str_or(v->configMap->name, "")));
    if (v->secret) fill_keys(s, &secrets, &v->secret->items, NULL, name, arena_printf(a, "Secret \"%s\"", str_or(v->secret->secretName, "")));
    if (v->downwardAPI) fill_files(s, &files, &v->downwardAPI->items, NULL, name, "DownwardAPI");
    if (v->projected) projected_paths(s, v->projected, name);
}

/* ---- containers ---- */

static void fractional(struct sink *s, const struct string_map *list, const char *name, const struct field_path *at) {
    const char *value = string_map_get(list, name);
    struct quantity q = quantity_of(value);
    if (value && q.nanos % 1000000000 != 0) warn(s, FIELD_KEY(at, name), "fractional byte value \"%s\" is invalid, must be an integer", value);
}

static void environment(struct sink *s, const struct corev1_EnvVar_list *env, const struct field_path *at) {
    for (size_t i = 0; i < env->len; i++) {
        const struct corev1_EnvVar *e = &env->items[i];
        bool seen = false;
        for (size_t j = 0; j < i; j++) seen |= str_eq(env->items[j].name, e->name);
        if (!seen) continue;
        const char *ref = arena_printf(s->arena, "$(%s)", str_or(e->name, ""));
        if (e->valueFrom || str_eq(e->value, ref) || !strstr(str_or(e->value, ""), ref)) warn(s, FIELD_INDEX(FIELD(at, "env"), i), "hides previous definition of \"%s\", which may be dropped when using apply", str_or(e->name, ""));
    }
}

static void container(struct sink *s, const struct corev1_Container *c, const struct corev1_PodSpec *spec, const struct metav1_ObjectMeta *meta, const struct field_path *template, const struct field_path *at, bool is_template) {
    const struct field_path *limits = FIELD(FIELD(at, "resources"), "limits"), *requests = FIELD(FIELD(at, "resources"), "requests");
    container_annotations(s, c, spec, meta, template, is_template);
    fractional(s, &c->resources.limits, "memory", limits);
    fractional(s, &c->resources.requests, "memory", requests);
    fractional(s, &c->resources.limits, "ephemeral-storage", limits);
    fractional(s, &c->resources.requests, "ephemeral-storage", requests);
    environment(s, &c->env, at);
}

struct seen_port { const struct corev1_ContainerPort *port; const char *path; };
struct seen_ports { struct seen_port *items; size_t len; };

static void port_overlap(struct sink *s, const struct corev1_ContainerPort *p, const struct seen_port *o, const struct field_path *at) {
    if (p->containerPort != o->port->containerPort || !str_eq(p->protocol, o->port->protocol)) return;
    bool anywhere = str_empty(p->hostIP), other_anywhere = str_empty(o->port->hostIP);
    if (str_eq(p->hostIP, o->port->hostIP) && p->hostPort == o->port->hostPort) warn(s, at, "duplicate port definition with %s", o->path);
    else if (!p->hostPort || !o->port->hostPort) warn(s, at, "overlapping port definition with %s", o->path);
    else if (p->hostPort == o->port->hostPort && anywhere != other_anywhere) warn(s, at, "dangerously ambiguous port definition with %s", o->path);
}

static void ports(struct sink *s, const struct corev1_PodSpec *spec, const struct field_path *at) {
    struct seen_ports seen = {0}, names = {0};
    const struct corev1_Container *c;
    const char *list;
    size_t index;
    for (size_t n = 0; (c = pod_container_at(spec, n, &list, &index)); n++)
        for (size_t i = 0; i < c->ports.len; i++) {
            const struct corev1_ContainerPort *p = &c->ports.items[i];
            const struct field_path *pp = FIELD_INDEX(FIELD(FIELD_INDEX(FIELD(at, list), index), "ports"), i);
            if (!str_empty(p->hostIP) && !p->hostPort)
                warn(s, pp, "hostIP set without hostPort: {Name:%s HostPort:0 ContainerPort:%d Protocol:%s HostIP:%s}", str_or(p->name, ""), p->containerPort, str_or(p->protocol, ""), p->hostIP);
            LIST_FOREACH(o, &seen) port_overlap(s, p, o, pp);
            *LIST_PUSH(s->arena, &seen) = (struct seen_port){p, field_path_string(s->arena, pp)};
        }
    LIST_FOREACH(p, &seen) {
        const struct seen_port *first = NULL;
        if (str_empty(p->port->name)) continue;
        LIST_FOREACH(o, &names)
            if (str_eq(o->port->name, p->port->name)) first = o;
        if (first) warn(s, NULL, "%s: duplicate port name \"%s\" with %s, services and probes that select ports by name will use %s", p->path, p->port->name, first->path, first->path);
        else *LIST_PUSH(s->arena, &names) = *p;
    }
}

/* ---- names of others, affinity ---- */

static void duplicates(struct sink *s, const struct corev1_PodSpec *spec, const struct field_path *at) {
    for (size_t i = 0; i < spec->hostAliases.len; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(spec->hostAliases.items[j].ip, spec->hostAliases.items[i].ip)) {
                warn(s, FIELD(FIELD_INDEX(FIELD(at, "hostAliases"), i), "ip"), "duplicate ip \"%s\"", str_or(spec->hostAliases.items[i].ip, ""));
                break;
            }
    const struct field_path *secrets = FIELD(at, "imagePullSecrets");
    for (size_t i = 0; i < spec->imagePullSecrets.len; i++)
        for (size_t j = 0; j < i; j++)
            if (str_eq(spec->imagePullSecrets.items[j].name, spec->imagePullSecrets.items[i].name)) {
                warn(s, FIELD(FIELD_INDEX(secrets, i), "name"), "duplicate name \"%s\"", str_or(spec->imagePullSecrets.items[i].name, ""));
                break;
            }
    for (size_t i = 0; i < spec->imagePullSecrets.len; i++)
        if (str_empty(spec->imagePullSecrets.items[i].name)) warn(s, FIELD(FIELD_INDEX(secrets, i), "name"), "invalid empty name \"\"");
}

static void no_pod_matches(struct sink *s, const struct corev1_PodAffinityTerm_list *required, const struct corev1_WeightedPodAffinityTerm_list *preferred, const struct field_path *at) {
    static const char text[] = "a null labelSelector results in matching no pod";
    for (size_t i = 0; i < required->len; i++)
        if (!required->items[i].labelSelector) warn(s, FIELD(FIELD_INDEX(FIELD(at, "requiredDuringSchedulingIgnoredDuringExecution"), i), "labelSelector"), "%s", text);
    for (size_t i = 0; i < preferred->len; i++)
        if (!preferred->items[i].podAffinityTerm.labelSelector)
            warn(s, FIELD(FIELD(FIELD_INDEX(FIELD(at, "preferredDuringSchedulingIgnoredDuringExecution"), i), "podAffinityTerm"), "labelSelector"), "%s", text);
}

static void pod_affinity(struct sink *s, const struct corev1_Affinity *f, const struct field_path *at) {
    if (f && f->podAffinity) no_pod_matches(s, &f->podAffinity->requiredDuringSchedulingIgnoredDuringExecution, &f->podAffinity->preferredDuringSchedulingIgnoredDuringExecution, FIELD(at, "podAffinity"));
    if (f && f->podAntiAffinity)
        no_pod_matches(s, &f->podAntiAffinity->requiredDuringSchedulingIgnoredDuringExecution, &f->podAntiAffinity->preferredDuringSchedulingIgnoredDuringExecution, FIELD(at, "podAntiAffinity"));
}

static void placement(struct sink *s, const struct corev1_PodSpec *spec, const struct field_path *at) {
    LIST_FOREACH(e, &spec->nodeSelector)
        if (node_label_deprecation(e->key)) warn(s, FIELD_KEY(FIELD(at, "nodeSelector"), e->key), "%s", node_label_deprecation(e->key));
    if (spec->affinity && spec->affinity->nodeAffinity) node_affinity(s, spec->affinity->nodeAffinity, FIELD(FIELD(at, "affinity"), "nodeAffinity"));
    for (size_t i = 0; i < spec->topologySpreadConstraints.len; i++) {
        const struct corev1_TopologySpreadConstraint *t = &spec->topologySpreadConstraints.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "topologySpreadConstraints"), i);
        if (node_label_deprecation(t->topologyKey)) warn(s, FIELD(p, "topologyKey"), "%s is %s", t->topologyKey, node_label_deprecation(t->topologyKey));
        if (!t->labelSelector) warn(s, FIELD(p, "labelSelector"), "a null labelSelector results in matching no pod");
    }
}

void pod_warnings(struct arena *a, const struct corev1_PodSpec *spec, const struct metav1_ObjectMeta *meta, const struct field_path *at, struct string_list *ret) {
    struct sink s = {a, ret};
    const struct field_path *p = FIELD(at, "spec");
    const struct corev1_Container *c;
    const char *list;
    size_t index;
    placement(&s, spec, p);
    annotations(&s, spec, meta, at);
    for (size_t i = 0; i < spec->volumes.len; i++) old_volumes(&s, &spec->volumes.items[i], FIELD_INDEX(FIELD(p, "volumes"), i));
    LIST_FOREACH(v, &spec->volumes) overlapping_paths(&s, v);
    duplicates(&s, spec, p);
    fractional(&s, &spec->overhead, "memory", FIELD(p, "overhead"));
    fractional(&s, &spec->overhead, "ephemeral-storage", FIELD(p, "overhead"));
    if ((!spec->securityContext || !spec->securityContext->seccompProfile) && string_map_has(&meta->annotations, "seccomp.security.alpha.kubernetes.io/pod"))
        warn(&s, FIELD_KEY(FIELD(FIELD(at, "metadata"), "annotations"), "seccomp.security.alpha.kubernetes.io/pod"), "non-functional in v1.27+; use the \"seccompProfile\" field instead");
    for (size_t n = 0; (c = pod_container_at(spec, n, &list, &index)); n++) container(&s, c, spec, meta, at, FIELD_INDEX(FIELD(p, list), index), at != NULL);
    ports(&s, spec, p);
    if (spec->terminationGracePeriodSeconds.has && spec->terminationGracePeriodSeconds.value < 0)
        warn(&s, FIELD(p, "terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1");
    pod_affinity(&s, spec->affinity, FIELD(p, "affinity"));
    for (size_t i = 0; spec->dnsConfig && i < spec->dnsConfig->nameservers.len; i++) ip_warnings(a, spec->dnsConfig->nameservers.items[i], FIELD_INDEX(FIELD(FIELD(p, "dnsConfig"), "nameservers"), i), ret);
    for (size_t i = 0; i < spec->hostAliases.len; i++) ip_warnings(a, spec->hostAliases.items[i].ip, FIELD(FIELD_INDEX(FIELD(p, "hostAliases"), i), "ip"), ret);
}

/* An address as Go writes it: unlike inet_ntop, no IPv4 tail but for mapped addresses. */
static const char *ipv6_text(struct arena *a, const struct in6_addr *six) {
    char text[INET6_ADDRSTRLEN];
    const unsigned char *b = six->s6_addr;
    if (IN6_IS_ADDR_V4COMPAT(six) && (b[12] || b[13])) return arena_printf(a, "::%x:%x", b[12] << 8 | b[13], b[14] << 8 | b[15]);
    return inet_ntop(AF_INET6, six, text, sizeof(text)) ? arena_strdup(a, text) : "";
}

static const char *address_text(struct arena *a, bool six, const unsigned char *address) {
    char text[INET_ADDRSTRLEN];
    struct in6_addr all;
    if (six) {
        memcpy(&all, address, sizeof(all));
        return ipv6_text(a, &all);
    }
    return inet_ntop(AF_INET, address, text, sizeof(text)) ? arena_strdup(a, text) : "";
}

void cidr_warnings(struct arena *a, const char *cidr, const struct field_path *at, struct string_list *ret) {
    struct sink s = {a, ret};
    unsigned char address[16] = {0}, masked[16] = {0};
    uint64_t bits = 0;
    if (!name_is_cidr(cidr)) return;
    const char *slash = strchr(cidr, '/'), *ip = arena_strndup(a, cidr, (size_t)(slash - cidr));
    bool six = strchr(ip, ':') != NULL;
    if (inet_pton(six ? AF_INET6 : AF_INET, ip, address) != 1 || !str_to_u64(slash + 1, &bits)) return;
    for (size_t i = 0; i < bits; i++) masked[i / 8] |= address[i / 8] & (0x80u >> i % 8);
    const char *net = arena_printf(a, "%s/%d", address_text(a, six, masked), (int)bits);
    bool differs = memcmp(address, masked, sizeof(address)) != 0, zeros = slash[1] == '0' && slash[2];
    if (differs) warn(&s, at, "CIDR value \"%s\" is ambiguous in this context (should be \"%s\" or \"%s/%d\"?)", cidr, net, address_text(a, six, address), six ? 128 : 32);
    if (zeros) warn(&s, at, "non-standard CIDR value \"%s\" is invalid: use \"%s\"", cidr, net);
    if (!differs && !zeros && six && strcmp(net, cidr) != 0) warn(&s, at, "IPv6 CIDR value \"%s\" should be in RFC 5952 canonical format (\"%s\")", cidr, net);
}

void ip_warnings(struct arena *a, const char *ip, const struct field_path *at, struct string_list *ret) {
    struct sink s = {a, ret};
    struct in6_addr six;
    if (!name_is_ip(ip) || !strchr(ip, ':') || inet_pton(AF_INET6, ip, &six) != 1) return;
    const char *text = ipv6_text(a, &six);
    if (IN6_IS_ADDR_V4MAPPED(&six)) warn(&s, at, "non-standard IP address \"%s\" is invalid: use \"%s\"", ip, strrchr(text, ':') + 1);
    else if (strcmp(text, ip) != 0) warn(&s, at, "IPv6 address \"%s\" should be in RFC 5952 canonical format (\"%s\")", ip, text);
}

void pod_name_warnings(struct arena *a, const char *name, bool is_pod, struct string_list *ret) {
    struct string_list msgs = {0};
    name_dns1123_label(a, str_or(name, ""), &msgs);
    if (!msgs.len) return;
    const char *all = msgs.items[0];
    for (size_t i = 1; i < msgs.len; i++) all = arena_printf(a, "%s %s", all, msgs.items[i]);
    string_list_push(a, ret, arena_printf(a, "metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is recommended: [%s]", is_pod ? "the Pod's hostname" : "Pod names and hostnames", all));
}

/* ---- storage ---- */

static const char beta_storage_class[] = "volume.beta.kubernetes.io/storage-class";

void claim_spec_warnings(struct arena *a, const struct corev1_PersistentVolumeClaimSpec *c, const struct field_path *at, struct string_list *ret) {
    struct sink s = {a, ret};
    fractional(&s, &c->resources.requests, "storage", FIELD(FIELD(at, "resources"), "requests"));
    fractional(&s, &c->resources.limits, "storage", FIELD(FIELD(at, "resources"), "limits"));
}

void persistent_volume_claim_warnings(struct arena *a, const struct corev1_PersistentVolumeClaim *c, struct string_list *ret) {
    struct sink s = {a, ret};
    if (string_map_has(&c->metadata.annotations, beta_storage_class))
        warn(&s, FIELD_KEY(FIELD(FIELD(NULL, "metadata"), "annotations"), beta_storage_class), "deprecated since v1.8; use \"storageClassName\" attribute instead");
    claim_spec_warnings(a, &c->spec, FIELD(NULL, "spec"), ret);
}

void persistent_volume_warnings(struct arena *a, const struct corev1_PersistentVolume *pv, struct string_list *ret) {
    struct sink s = {a, ret};
    const struct field_path *meta = FIELD(FIELD(NULL, "metadata"), "annotations"), *at = FIELD(NULL, "spec");
    static const char mount_options[] = "volume.beta.kubernetes.io/mount-options";
    const struct corev1_PersistentVolumeSpec *v = &pv->spec;
    if (string_map_has(&pv->metadata.annotations, beta_storage_class)) warn(&s, FIELD_KEY(meta, beta_storage_class), "deprecated since v1.8; use \"storageClassName\" attribute instead");
    if (string_map_has(&pv->metadata.annotations, mount_options)) warn(&s, FIELD_KEY(meta, mount_options), "deprecated since v1.31; use \"mountOptions\" attribute instead");
    if (str_eq(v->persistentVolumeReclaimPolicy, "Recycle"))
        warn(&s, FIELD(at, "persistentVolumeReclaimPolicy"), "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
    for (size_t i = 0; v->nodeAffinity && v->nodeAffinity->required && i < v->nodeAffinity->required->nodeSelectorTerms.len; i++)
        selector_term(&s, &v->nodeAffinity->required->nodeSelectorTerms.items[i], false, FIELD_INDEX(FIELD(FIELD(FIELD(at, "nodeAffinity"), "required"), "nodeSelectorTerms"), i));
    const struct { const void *source; const char *name, *text; } old[] = {
        {v->cephfs, "cephfs", "deprecated in v1.28, non-functional in v1.31+"}, {v->photonPersistentDisk, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
        {v->scaleIO, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"}, {v->storageos, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
        {v->glusterfs, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"}, {v->rbd, "rbd", "deprecated in v1.28, non-functional in v1.31+"}};
    for (size_t i = 0; i < ARRAY_LEN(old); i++)
        if (old[i].source) warn(&s, FIELD(at, old[i].name), "%s", old[i].text);
}

/* ---- Services ---- */

void service_warnings(struct arena *a, const struct corev1_Service *v, struct string_list *ret) {
    struct sink s = {a, ret};
    const struct field_path *at = FIELD(NULL, "spec");
    bool external_name = str_eq(v->spec.type, "ExternalName"), headless = str_eq(v->spec.type, "ClusterIP") && str_eq(v->spec.clusterIP, "None");
    if (string_map_has(&v->metadata.annotations, "service.kubernetes.io/topology-aware-hints"))
        warn(&s, NULL, "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead");
    for (size_t i = 0; !str_empty(v->spec.clusterIP) && !str_eq(v->spec.clusterIP, "None") && i < v->spec.clusterIPs.len; i++)
        ip_warnings(a, v->spec.clusterIPs.items[i], FIELD_INDEX(FIELD(at, "clusterIPs"), i), ret);
    if (headless && !str_empty(v->spec.loadBalancerIP)) warn(&s, NULL, "spec.loadBalancerIP is ignored for headless services");
    if (headless && v->spec.externalIPs.len) warn(&s, NULL, "spec.externalIPs is ignored for headless services");
    if (headless && !str_eq(v->spec.sessionAffinity, "None")) warn(&s, NULL, "spec.SessionAffinity is ignored for headless services");
    for (size_t i = 0; i < v->spec.externalIPs.len; i++) ip_warnings(a, v->spec.externalIPs.items[i], FIELD_INDEX(FIELD(at, "externalIPs"), i), ret);
    if (v->spec.externalIPs.len && !headless && !external_name) warn(&s, NULL, "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    if (!str_empty(v->spec.loadBalancerIP)) ip_warnings(a, v->spec.loadBalancerIP, FIELD(at, "loadBalancerIP"), ret);
    for (size_t i = 0; i < v->spec.loadBalancerSourceRanges.len; i++) cidr_warnings(a, v->spec.loadBalancerSourceRanges.items[i], FIELD_INDEX(FIELD(at, "loadBalancerSourceRanges"), i), ret);
    if (external_name && v->spec.externalIPs.len) warn(&s, NULL, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    if (!external_name && !str_empty(v->spec.externalName)) warn(&s, NULL, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
    if (str_eq(v->spec.trafficDistribution, "PreferClose")) warn(&s, NULL, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}
