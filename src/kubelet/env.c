/* A container's environment: its own variables, fields, resources, ConfigMaps, Secrets and Services; and $(VAR) expansion.
 * Upstream: makeEnvironmentVariables in kubelet_pods.go, envvars/envvars.go, third_party/forked/golang/expansion, pkg/fieldpath. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/str.h"

static void env_set(struct arena *a, struct env_list *l, const char *name, const char *value) {
    LIST_FOREACH(e, l) {
        if (!str_eq(e->name, name)) continue;
        e->value = value;
        return;
    }
    struct env_var *e = LIST_PUSH(a, l);
    *e = (struct env_var){name, value};
}

static const char *env_lookup(const struct env_list *l, const char *name, size_t len) {
    LIST_FOREACH(e, l) if (strlen(e->name) == len && memcmp(e->name, name, len) == 0) return e->value;
    return NULL;
}

const char *env_expand(struct arena *a, const char *text, const struct env_list *vars) {
    if (!text || !strchr(text, '$')) return text;
    _cleanup_buf_ struct buf b = BUF_INIT;
    for (const char *p = text; *p; p++) {
        if (*p != '$' || !p[1]) {
            buf_append_char(&b, *p);
            continue;
        }
        const char *end = p[1] == '(' ? strchr(p, ')') : NULL;
        if (p[1] == '$') {
            buf_append_char(&b, '$');
            p++;
        } else if (end) {
            const char *value = env_lookup(vars, p + 2, (size_t)(end - p - 2));
            if (value) buf_append_str(&b, value);
            else buf_append(&b, p, (size_t)(end - p + 1)); /* an unknown name stays as it was written */
            p = end;
        } else {
            buf_append_char(&b, *p);
        }
    }
    return arena_strdup(a, buf_cstr(&b));
}

/* ---- fields ---- */

static const char *map_text(struct arena *a, const struct string_map *m) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    LIST_FOREACH(e, m) {
        if (b.len) buf_append_char(&b, '\n');
        buf_printf(&b, "%s=\"", e->key);
        for (const char *p = str_or(e->value, ""); *p; p++) {
            if (*p == '"' || *p == '\\') buf_append_char(&b, '\\');
            if (*p == '\n') buf_append_str(&b, "\\n");
            else if (*p == '\t') buf_append_str(&b, "\\t");
            else if (*p == '\r') buf_append_str(&b, "\\r");
            else buf_append_char(&b, *p);
        }
        buf_append_char(&b, '"');
    }
    return arena_strdup(a, buf_cstr(&b));
}

static const char *join(struct arena *a, const struct string_list *l) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    LIST_FOREACH(s, l) {
        if (b.len) buf_append_char(&b, ',');
        buf_append_str(&b, *s);
    }
    return arena_strdup(a, buf_cstr(&b));
}

/* metadata.labels['key'] and the like: the key, or NULL. */
static const char *subscript(struct arena *a, const char *path, const char *prefix) {
    size_t n = strlen(prefix), len = strlen(path);
    if (strncmp(path, prefix, n) != 0 || strncmp(path + n, "['", 2) != 0 || len < n + 4 || strcmp(path + len - 2, "']") != 0) return NULL;
    return arena_strndup(a, path + n + 2, len - n - 4);
}

int field_ref_value(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char *path, const struct string_list *pod_ips, const char **ret, struct status *reterr) {
    const char *value = NULL, *key;
    if ((key = subscript(a, path, "metadata.labels"))) value = str_or(string_map_get(&p->metadata.labels, key), "");
    else if ((key = subscript(a, path, "metadata.annotations"))) value = str_or(string_map_get(&p->metadata.annotations, key), "");
    else if (str_eq(path, "metadata.name")) value = p->metadata.name;
    else if (str_eq(path, "metadata.namespace")) value = p->metadata.namespace;
    else if (str_eq(path, "metadata.uid")) value = p->metadata.uid;
    else if (str_eq(path, "metadata.labels")) value = map_text(a, &p->metadata.labels);
    else if (str_eq(path, "metadata.annotations")) value = map_text(a, &p->metadata.annotations);
    else if (str_eq(path, "spec.nodeName")) value = p->spec.nodeName;
    else if (str_eq(path, "spec.serviceAccountName")) value = p->spec.serviceAccountName;
    else if (str_eq(path, "status.hostIP") || str_eq(path, "status.hostIPs")) value = k->o.node_ip;
    else if (str_eq(path, "status.podIP")) value = pod_ips && pod_ips->len ? pod_ips->items[0] : p->spec.hostNetwork ? k->o.node_ip : "";
    else if (str_eq(path, "status.podIPs")) value = pod_ips && pod_ips->len ? join(a, pod_ips) : p->spec.hostNetwork ? k->o.node_ip : "";
    else return status_bad_request(reterr, "unsupported fieldPath: %s", path);
    *ret = str_or(value, "");
    return 0;
}

int resource_ref_value(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const struct corev1_ResourceFieldSelector *ref,
                       const char **ret, struct status *reterr) {
    if (!str_empty(ref->containerName)) c = pod_container(p, ref->containerName);
    if (!c) return status_bad_request(reterr, "container %s not found", str_or(ref->containerName, ""));
    bool limits = str_has_prefix(ref->resource, "limits."), requests = str_has_prefix(ref->resource, "requests.");
    if (!limits && !requests) return status_bad_request(reterr, "unsupported container resource : %s", str_or(ref->resource, ""));
    const char *name = strchr(ref->resource, '.') + 1;
    const char *text = string_map_get(limits ? &c->resources.limits : &c->resources.requests, name);
    struct quantity q = quantity_of(text), divisor = quantity_of(str_empty(ref->divisor) || str_eq(ref->divisor, "0") ? "1" : ref->divisor);
    if (limits && q.nanos == 0) { /* no limit: what the node has to give */
        if (str_eq(name, "cpu")) q = quantity_from_milli(k->cpu_milli, QUANTITY_DECIMAL_SI);
        else if (str_eq(name, "memory")) q = quantity_from_value(k->memory_capacity, QUANTITY_BINARY_SI);
    }
    int128 d = divisor.nanos ? divisor.nanos : 1000000000;
    int128 whole = (q.nanos + d - 1) / d;
    *ret = arena_printf(a, "%lld", (long long)whole);
    return 0;
}

/* ---- Services ---- */

static const char *env_name(struct arena *a, const char *name, const char *suffix) {
    char *out = arena_printf(a, "%s%s", name, suffix);
    for (char *p = out; p < out + strlen(name); p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return out;
}

static void service_env(struct arena *a, struct env_list *l, const struct corev1_Service *s) {
    if (str_empty(s->spec.clusterIP) || str_eq(s->spec.clusterIP, "None") || s->spec.ports.len == 0) return;
    const char *n = s->metadata.name, *ip = s->spec.clusterIP, *host = strchr(ip, ':') ? arena_printf(a, "[%s]", ip) : ip;
    env_set(a, l, env_name(a, n, "_SERVICE_HOST"), ip);
    env_set(a, l, env_name(a, n, "_SERVICE_PORT"), arena_printf(a, "%d", s->spec.ports.items[0].port));
    LIST_FOREACH(p, &s->spec.ports)
        if (!str_empty(p->name)) env_set(a, l, env_name(a, arena_printf(a, "%s_SERVICE_PORT_%s", n, p->name), ""), arena_printf(a, "%d", p->port));
    for (size_t i = 0; i < s->spec.ports.len; i++) {
        const struct corev1_ServicePort *p = &s->spec.ports.items[i];
        const char *protocol = str_or(p->protocol, "TCP");
        char lower[16];
        size_t j = 0;
        for (; protocol[j] && j < sizeof(lower) - 1; j++) lower[j] = (char)tolower((unsigned char)protocol[j]);
        lower[j] = 0;
        const char *prefix = env_name(a, n, arena_printf(a, "_PORT_%d_%s", p->port, protocol));
        const char *url = arena_printf(a, "%s://%s:%d", lower, host, p->port);
        if (i == 0) env_set(a, l, env_name(a, n, "_PORT"), url);
        env_set(a, l, prefix, url);
        env_set(a, l, arena_printf(a, "%s_PROTO", prefix), arena_strdup(a, lower));
        env_set(a, l, arena_printf(a, "%s_PORT", prefix), arena_printf(a, "%d", p->port));
        env_set(a, l, arena_printf(a, "%s_ADDR", prefix), ip);
    }
}

static void services_env(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, struct env_list *l) {
    bool links = !p->spec.enableServiceLinks.has || p->spec.enableServiceLinks.value;
    _cleanup_cached_list_ struct cached_list list = {0};
    api_services_list(k, &list);
    for (int own = 0; own < 2; own++) /* the namespace's own win over `kubernetes` of default */
        CACHED_FOREACH(s, corev1_Service, &list) {
            bool master = str_eq(s->metadata.namespace, "default") && str_eq(s->metadata.name, "kubernetes");
            bool same = str_eq(s->metadata.namespace, p->metadata.namespace);
            if (own ? same && (links || master) : master && !same) service_env(a, l, s);
        }
}

/* ---- ConfigMaps and Secrets ---- */

static bool valid_env_name(const char *s) {
    if (str_empty(s)) return false;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e || *s == '=') return false;
    return true;
}

static bool missing_ok(const struct status *err, const struct opt_bool *optional) { return status_is(err, 404) && optional->has && optional->value; }

static int env_from(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_EnvFromSource *from, struct env_list *l, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *prefix = str_or(from->prefix, "");
    if (from->configMapRef) {
        struct corev1_ConfigMap cm = {0};
        if (api_get_named(k, a, &corev1_ConfigMap_desc, "configmap", p->metadata.namespace, from->configMapRef->name, &cm, &err) != 0) {
            if (missing_ok(&err, &from->configMapRef->optional)) return 0;
            status_copy(reterr, &err);
            return -1;
        }
        LIST_FOREACH(e, &cm.data) {
            const char *name = arena_printf(a, "%s%s", prefix, e->key);
            if (valid_env_name(name)) env_set(a, l, name, str_or(e->value, ""));
        }
    } else if (from->secretRef) {
        struct corev1_Secret secret = {0};
        if (api_get_named(k, a, &corev1_Secret_desc, "secret", p->metadata.namespace, from->secretRef->name, &secret, &err) != 0) {
            if (missing_ok(&err, &from->secretRef->optional)) return 0;
            status_copy(reterr, &err);
            return -1;
        }
        LIST_FOREACH(e, &secret.data) {
            const char *name = arena_printf(a, "%s%s", prefix, e->key);
            if (valid_env_name(name)) env_set(a, l, name, arena_strndup(a, (const char *)e->value.data, e->value.len));
        }
    }
    return 0;
}

/* *ret NULL: an optional one that is not there. */
static int config_map_key(struct kubelet *k, struct arena *a, const char *ns, const struct corev1_ConfigMapKeySelector *ref, const char **ret, struct status *reterr) {
    struct corev1_ConfigMap cm = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    *ret = NULL;
    if (api_get_named(k, a, &corev1_ConfigMap_desc, "configmap", ns, ref->name, &cm, &err) != 0) {
        if (missing_ok(&err, &ref->optional)) return 0;
        status_copy(reterr, &err);
        return -1;
    }
    if (string_map_has(&cm.data, ref->key)) *ret = str_or(string_map_get(&cm.data, ref->key), "");
    else if (!ref->optional.has || !ref->optional.value) return status_set(reterr, 404, REASON_NOT_FOUND, "couldn't find key %s in ConfigMap %s/%s", ref->key, ns, ref->name);
    return 0;
}

static int secret_key(struct kubelet *k, struct arena *a, const char *ns, const struct corev1_SecretKeySelector *ref, const char **ret, struct status *reterr) {
    struct corev1_Secret secret = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    *ret = NULL;
    if (api_get_named(k, a, &corev1_Secret_desc, "secret", ns, ref->name, &secret, &err) != 0) {
        if (missing_ok(&err, &ref->optional)) return 0;
        status_copy(reterr, &err);
        return -1;
    }
    LIST_FOREACH(e, &secret.data) if (str_eq(e->key, ref->key)) *ret = arena_strndup(a, (const char *)e->value.data, e->value.len);
    if (!*ret && (!ref->optional.has || !ref->optional.value))
        return status_set(reterr, 404, REASON_NOT_FOUND, "couldn't find key %s in Secret %s/%s", ref->key, ns, ref->name);
    return 0;
}

int container_env(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const struct string_list *pod_ips,
                  struct env_list *ret, struct status *reterr) {
    struct env_list services = {0}, own = {0};
    LIST_FOREACH(from, &c->envFrom) if (env_from(k, a, p, from, &own, reterr) != 0) return -1;
    services_env(k, a, p, &services);
    LIST_FOREACH(e, &c->env) {
        const char *value = e->value;
        if (!str_empty(value)) {
            /* References see the variables before this one, then the Services'. */
            struct env_list seen = {0};
            LIST_FOREACH(s, &services) env_set(a, &seen, s->name, s->value);
            LIST_FOREACH(s, &own) env_set(a, &seen, s->name, s->value);
            value = env_expand(a, value, &seen);
        } else if (e->valueFrom && e->valueFrom->fieldRef) {
            if (field_ref_value(k, a, p, e->valueFrom->fieldRef->fieldPath, pod_ips, &value, reterr) != 0) return -1;
        } else if (e->valueFrom && e->valueFrom->resourceFieldRef) {
            if (resource_ref_value(k, a, p, c, e->valueFrom->resourceFieldRef, &value, reterr) != 0) return -1;
        } else if (e->valueFrom && e->valueFrom->configMapKeyRef) {
            if (config_map_key(k, a, p->metadata.namespace, e->valueFrom->configMapKeyRef, &value, reterr) != 0) return -1;
            if (!value) continue;
        } else if (e->valueFrom && e->valueFrom->secretKeyRef) {
            if (secret_key(k, a, p->metadata.namespace, e->valueFrom->secretKeyRef, &value, reterr) != 0) return -1;
            if (!value) continue;
        }
        env_set(a, &own, e->name, str_or(value, ""));
    }
    *ret = own;
    LIST_FOREACH(s, &services) if (!env_lookup(&own, s->name, strlen(s->name))) env_set(a, ret, s->name, s->value);
    return 0;
}
