/* The configuration file: see config.h. Upstream decodes strictly: an unknown or doubled field is an error. */
#include "scheduler/config.h"
#include <stdio.h>
#include "api/names.h"
#include "api/time.h"
#include "base/str.h"
#include "scheduler/config_internal.h"
#include "wire/yaml.h"

#define API_VERSION "kubescheduler.config.k8s.io/v1"
#define KIND "KubeSchedulerConfiguration"
#define SCHEME "pkg/scheduler/apis/config/scheme/scheme.go:30"

/* ---- fields ---- */

static bool duration_ms(const char *text, int64_t *ret_ms) {
    int64_t ns;
    if (!duration_parse(text, &ns)) return false;
    *ret_ms = ns / 1000000;
    return true;
}

static void wrong_type(struct reader *r, yyjson_val *v, const char *type, const char *path, const char *wanted) {
    if (r->error) return;
    const char *is = yyjson_is_obj(v) ? "object" : yyjson_is_arr(v) ? "array" : yyjson_is_bool(v) ? "bool" : yyjson_is_num(v) ? "number" : "string";
    r->error = arena_printf(r->arena, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", is, type, path, wanted);
}

static void strings_read(struct reader *r, yyjson_val *v, const char *type, const char *path, struct string_list *to) {
    size_t i, n;
    yyjson_val *item;
    if (!yyjson_is_arr(v)) return wrong_type(r, v, type, path, "[]string");
    yyjson_arr_foreach(v, i, n, item) {
        if (yyjson_is_str(item)) string_list_push(r->arena, to, arena_strdup(r->arena, yyjson_get_str(item)));
        else wrong_type(r, item, type, path, "string");
    }
}

static void field_read(struct reader *r, yyjson_val *v, const char *type, const char *path, const struct config_field *f) {
    switch (f->kind) {
    case CONFIG_INT32:
        if (!yyjson_is_int(v) || yyjson_get_sint(v) > INT32_MAX || yyjson_get_sint(v) < INT32_MIN) return wrong_type(r, v, type, path, "int32");
        *(int32_t *)f->to = (int32_t)yyjson_get_sint(v);
        break;
    case CONFIG_INT64:
        if (!yyjson_is_int(v)) return wrong_type(r, v, type, path, "int64");
        *(int64_t *)f->to = yyjson_get_sint(v);
        break;
    case CONFIG_BOOL:
        if (!yyjson_is_bool(v)) return wrong_type(r, v, type, path, "bool");
        *(bool *)f->to = yyjson_get_bool(v);
        break;
    case CONFIG_STRING:
        if (!yyjson_is_str(v)) return wrong_type(r, v, type, path, "string");
        *(const char **)f->to = arena_strdup(r->arena, yyjson_get_str(v));
        break;
    case CONFIG_STRINGS: strings_read(r, v, type, path, f->to); break;
    case CONFIG_DURATION_MS:
        if (!yyjson_is_str(v)) return wrong_type(r, v, type, path, "string");
        if (!duration_ms(yyjson_get_str(v), f->to) && !r->error) r->error = arena_printf(r->arena, "time: invalid duration %s", go_quote(r->arena, yyjson_get_str(v)));
        break;
    case CONFIG_LIST:
        if (!yyjson_is_arr(v)) return wrong_type(r, v, type, path, "[]");
        *(yyjson_val **)f->to = v;
        break;
    case CONFIG_VALUE: *(yyjson_val **)f->to = v; break;
    }
}

void config_read(struct reader *r, yyjson_val *obj, const char *type, const char *path, const struct config_field *fields) {
    size_t i, n;
    yyjson_val *key, *v;
    if (!obj) return;
    if (!yyjson_is_obj(obj)) return wrong_type(r, obj, type, path, type);
    yyjson_obj_foreach(obj, i, n, key, v) {
        const char *name = yyjson_get_str(key), *here = *path ? arena_printf(r->arena, "%s.%s", path, name) : arena_strdup(r->arena, name);
        const struct config_field *f = fields;
        while (f->name && !str_eq(f->name, name)) f++;
        bool meta = str_eq(name, "apiVersion") || str_eq(name, "kind");
        if (!f->name && !meta) string_list_push(r->arena, &r->strict, arena_printf(r->arena, "unknown field \"%s\"", here));
        if (f->name && !yyjson_is_null(v)) field_read(r, v, type, here, f);
    }
}

/* ---- the file ---- */

struct file {
    struct reader r;
    struct scheduler_configuration *to;
    struct field_errors errs;
    struct status making; /* what upstream finds when it makes the profiles */
    int32_t percentage;
    bool has_percentage;
};

void scheduler_configuration_default(struct arena *a, struct scheduler_configuration *ret) {
    *ret = (struct scheduler_configuration){.parallelism = 16, .leader_elect = true, .lease_duration_ms = 15000, .renew_deadline_ms = 10000, .retry_period_ms = 2000,
        .resource_lock = "leases", .resource_name = "kube-scheduler", .resource_namespace = "kube-system", .kubeconfig = "", .backoff_initial_seconds = 1,
        .backoff_max_seconds = 10};
    ret->profiles = ARENA_NEW(a, struct profile);
    ret->profiles_len = 1;
    profile_init_default(ret->profiles, "default-scheduler");
}

static void percentage_validate(struct file *f, const struct field_path *at, int32_t v) {
    if (v < 0 || v > 100) field_invalid_int(&f->errs, at, v, "%s", "not in valid range [0-100]");
}

static void plugins_read(struct file *f, yyjson_val *list, const char *where, struct named_plugin_list *to) {
    size_t i, n;
    yyjson_val *item;
    if (list)
        yyjson_arr_foreach(list, i, n, item) {
            struct named_plugin p = {.name = ""};
            config_read(&f->r, item, "Plugin", arena_printf(f->r.arena, "%s[%zu]", where, i),
                        (const struct config_field[]){{"name", CONFIG_STRING, &p.name}, {"weight", CONFIG_INT32, &p.weight}, {0}});
            *LIST_PUSH(f->r.arena, to) = p;
        }
}

/* Plugins of the past. */
static bool removed(const char *name) {
    static const char *const names[] = {"AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits", NULL};
    return str_in(name, names);
}
#define REMOVED "was invalid in version \"v1\" (KubeSchedulerConfiguration is version \"" API_VERSION "\")"

static void sets_read(struct file *f, yyjson_val *plugins, const char *where, const struct field_path *at, struct plugin_sets *sets) {
    yyjson_val *values[POINTS_LEN + 1] = {0};
    struct config_field fields[POINTS_LEN + 5] = {0};
    yyjson_val *group[3] = {0}; /* of Pod groups: taken, without effect */
    for (int i = 0; i <= POINTS_LEN; i++) fields[i] = (struct config_field){config_point_names[i], CONFIG_VALUE, &values[i]};
    fields[POINTS_LEN + 1] = (struct config_field){"placementGenerate", CONFIG_VALUE, &group[0]};
    fields[POINTS_LEN + 2] = (struct config_field){"placementScore", CONFIG_VALUE, &group[1]};
    fields[POINTS_LEN + 3] = (struct config_field){"podGroupPostFilter", CONFIG_VALUE, &group[2]};
    config_read(&f->r, plugins, "Plugins", where, fields);
    for (int i = 0; i <= POINTS_LEN; i++) {
        yyjson_val *enabled = NULL, *disabled = NULL;
        const char *here = arena_printf(f->r.arena, "%s.%s", where, config_point_names[i]);
        config_read(&f->r, values[i], "PluginSet", here, (const struct config_field[]){{"enabled", CONFIG_LIST, &enabled}, {"disabled", CONFIG_LIST, &disabled}, {0}});
        plugins_read(f, enabled, arena_printf(f->r.arena, "%s.enabled", here), &sets->sets[i].enabled);
        plugins_read(f, disabled, arena_printf(f->r.arena, "%s.disabled", here), &sets->sets[i].disabled);
        for (size_t k = 0; i < POINTS_LEN && k < sets->sets[i].enabled.len; k++)
            if (removed(sets->sets[i].enabled.items[k].name))
                field_invalid(&f->errs, FIELD_INDEX(FIELD(FIELD(at, config_point_names[i]), "enabled"), k), sets->sets[i].enabled.items[k].name, "%s", REMOVED);
    }
}

static void making_failed(struct file *f, const char *profile, const char *what) {
    if (!f->making.code) status_bad_request(&f->making, "initializing profiles: creating profile for scheduler name %s: %s", profile, what);
}

static const char *errors_text(struct arena *a, const struct field_errors *errs) {
    const char *text = "";
    for (size_t i = 0; i < errs->len; i++) text = arena_printf(a, "%s%s%s: %s", text, i ? ", " : "", errs->items[i].field, errs->items[i].detail);
    return errs->len > 1 ? arena_printf(a, "[%s]", text) : text;
}

static void plugin_config_read(struct file *f, yyjson_val *list, const char *where, const struct field_path *at, struct profile *p) {
    size_t i, n;
    yyjson_val *item;
    struct string_list seen = {0};
    if (list)
        yyjson_arr_foreach(list, i, n, item) {
            const char *name = "", *here = arena_printf(f->r.arena, "%s[%zu]", where, i);
            yyjson_val *args = NULL;
            config_read(&f->r, item, "PluginConfig", here, (const struct config_field[]){{"name", CONFIG_STRING, &name}, {"args", CONFIG_VALUE, &args}, {0}});
            const struct plugin *plugin = plugin_find(name);
            const char *kind = yyjson_get_str(yyjson_obj_get(args, "kind")), *wanted = arena_printf(f->r.arena, "%sArgs", name);
            if (plugin && p->args[plugin->id] && kind && !str_eq(kind, wanted) && !f->r.error)
                f->r.error = arena_printf(f->r.arena, "decoding .%s: args for plugin %s were not of type %s.kubescheduler.config.k8s.io, got %s.kubescheduler.config.k8s.io", here, name, wanted, kind);
            if (string_list_has(&seen, name)) field_duplicate(&f->errs, FIELD_INDEX(at, i), name);
            string_list_push(f->r.arena, &seen, name);
            if (removed(name)) field_invalid(&f->errs, FIELD_INDEX(at, i), name, "%s", REMOVED);
            if (!plugin) continue;
            struct field_errors init = field_errors_in(f->r.arena);
            const void *parsed = config_plugin_args(&f->r, plugin->id, args, arena_printf(f->r.arena, "%s.args", here), FIELD(FIELD_INDEX(at, i), "args"), &f->errs, &init);
            if (parsed) p->args[plugin->id] = parsed;
            if (init.len) making_failed(f, p->name, arena_printf(f->r.arena, "initializing plugin \"%s\": %s", name, errors_text(f->r.arena, &init)));
        }
}

static void profile_read(struct file *f, yyjson_val *obj, size_t i, const struct field_path *at, struct profile *p, struct plugin_set *ret_sort) {
    const char *where = arena_printf(f->r.arena, "profiles[%zu]", i), *name = "";
    yyjson_val *plugins = NULL, *config = NULL;
    int32_t percentage = INT32_MIN;
    config_read(&f->r, obj, "KubeSchedulerProfile", where, (const struct config_field[]){{"schedulerName", CONFIG_STRING, &name},
        {"percentageOfNodesToScore", CONFIG_INT32, &percentage}, {"plugins", CONFIG_VALUE, &plugins}, {"pluginConfig", CONFIG_LIST, &config}, {0}});
    if (f->to->profiles_len == 1) name = str_or(name, "default-scheduler");
    profile_init_default(p, name);
    if (str_empty(name)) field_required(&f->errs, FIELD(at, "schedulerName"), "%s", "");
    if (percentage != INT32_MIN) percentage_validate(f, FIELD(at, "percentageOfNodesToScore"), percentage);
    p->percentage = percentage != INT32_MIN ? percentage : f->has_percentage ? f->percentage : 0;
    struct plugin_sets sets = {0};
    sets_read(f, plugins, arena_printf(f->r.arena, "%s.plugins", where), FIELD(at, "plugins"), &sets);
    plugin_config_read(f, config, arena_printf(f->r.arena, "%s.pluginConfig", where), FIELD(at, "pluginConfig"), p);
    *ret_sort = sets.sets[POINT_QUEUE_SORT];
    _cleanup_status_ struct status st = STATUS_INIT;
    if (config_profile_plugins(f->r.arena, &sets, p, &st)) making_failed(f, name, status_message(&st));
}

static void profiles_read(struct file *f, yyjson_val *list) {
    struct scheduler_configuration *to = f->to;
    size_t i, n;
    yyjson_val *item;
    const struct field_path *all = FIELD(NULL, "profiles");
    struct plugin_set first = {0};
    if (!list || !yyjson_arr_size(list)) {
        to->profiles[0].percentage = f->has_percentage ? f->percentage : 0;
        return;
    }
    to->profiles_len = yyjson_arr_size(list);
    to->profiles = arena_calloc(f->r.arena, to->profiles_len, sizeof(struct profile));
    yyjson_arr_foreach(list, i, n, item) {
        const struct field_path *at = FIELD_INDEX(all, i);
        struct plugin_set sort = {0};
        profile_read(f, item, i, at, &to->profiles[i], &sort);
        for (size_t k = i; k > 0; k--)
            if (str_eq(to->profiles[k - 1].name, to->profiles[i].name)) {
                field_duplicate_raw(&f->errs, FIELD(at, "schedulerName"), arena_printf(f->r.arena, "profiles[%zu].schedulerName", k - 1));
                break;
            }
        if (!i) first = sort;
        bool same = sort.enabled.len == first.enabled.len && sort.disabled.len == first.disabled.len;
        for (size_t k = 0; same && k < sort.enabled.len; k++) same = str_eq(sort.enabled.items[k].name, first.enabled.items[k].name);
        if (!same) field_invalid_raw(&f->errs, FIELD(FIELD(at, "plugins"), "queueSort"), "queueSort", "%s", "must be the same for all profiles");
    }
    if (first.enabled.len > 1)
        field_invalid_int(&f->errs, FIELD(FIELD(FIELD(FIELD_INDEX(all, 0), "plugins"), "queueSort"), "Enabled"), (int64_t)first.enabled.len, "%s", "only one queue sort plugin can be enabled");
}

/* ---- extenders ---- */

static void managed_read(struct file *f, yyjson_val *list, const char *where, const struct field_path *at, struct extender *e, struct string_list *seen) {
    size_t i, n;
    yyjson_val *item;
    if (list)
        yyjson_arr_foreach(list, i, n, item) {
            struct managed_resource m = {.name = ""};
            const struct field_path *name = FIELD(FIELD_INDEX(at, i), "name");
            config_read(&f->r, item, "ExtenderManagedResource", arena_printf(f->r.arena, "%s[%zu]", where, i),
                        (const struct config_field[]){{"name", CONFIG_STRING, &m.name}, {"ignoredByScheduler", CONFIG_BOOL, &m.ignored_by_scheduler}, {0}});
            struct string_list msgs = {0};
            name_qualified(f->r.arena, m.name, &msgs);
            LIST_FOREACH(msg, &msgs) field_invalid(&f->errs, name, m.name, "%s", *msg);
            bool native = !strchr(m.name, '/') || str_has_prefix(m.name, "kubernetes.io/") || strstr(m.name, ".kubernetes.io/") || str_has_prefix(m.name, "requests.");
            if (!msgs.len && native) field_invalid(&f->errs, name, m.name, "%s", "is an invalid extended resource name");
            if (string_list_has(seen, m.name)) field_invalid(&f->errs, name, m.name, "%s", "duplicate extender managed resource name");
            string_list_push(f->r.arena, seen, m.name);
            *LIST_PUSH(f->r.arena, &e->managed) = m;
        }
}

static void extender_read(struct file *f, yyjson_val *obj, size_t i, struct string_list *seen) {
    struct extender *e = LIST_PUSH(f->r.arena, &f->to->extenders);
    const char *where = arena_printf(f->r.arena, "extenders[%zu]", i);
    const struct field_path *at = FIELD_INDEX(FIELD(NULL, "extenders"), i);
    yyjson_val *tls = NULL, *managed = NULL, *data[3] = {0};
    bool https = false;
    *e = (struct extender){.url_prefix = "", .timeout_ms = 5000};
    config_read(&f->r, obj, "Extender", where, (const struct config_field[]){{"urlPrefix", CONFIG_STRING, &e->url_prefix}, {"filterVerb", CONFIG_STRING, &e->filter_verb},
        {"preemptVerb", CONFIG_STRING, &e->preempt_verb}, {"prioritizeVerb", CONFIG_STRING, &e->prioritize_verb}, {"weight", CONFIG_INT64, &e->weight},
        {"bindVerb", CONFIG_STRING, &e->bind_verb}, {"enableHTTPS", CONFIG_BOOL, &https}, {"tlsConfig", CONFIG_VALUE, &tls}, {"httpTimeout", CONFIG_DURATION_MS, &e->timeout_ms},
        {"nodeCacheCapable", CONFIG_BOOL, &e->node_cache_capable}, {"managedResources", CONFIG_LIST, &managed}, {"ignorable", CONFIG_BOOL, &e->ignorable}, {0}});
    config_read(&f->r, tls, "ExtenderTLSConfig", arena_printf(f->r.arena, "%s.tlsConfig", where), (const struct config_field[]){{"insecure", CONFIG_BOOL, &e->insecure},
        {"serverName", CONFIG_STRING, &e->server_name}, {"certFile", CONFIG_STRING, &e->cert_file}, {"keyFile", CONFIG_STRING, &e->key_file}, {"caFile", CONFIG_STRING, &e->ca_file},
        {"certData", CONFIG_VALUE, &data[0]}, {"keyData", CONFIG_VALUE, &data[1]}, {"caData", CONFIG_VALUE, &data[2]}, {0}});
    if (!f->r.error && (data[0] || data[1] || data[2])) f->r.error = arena_printf(f->r.arena, "%s.tlsConfig: certData, keyData and caData are not available: use files", where);
    if (!f->r.error && !str_empty(e->preempt_verb)) f->r.error = arena_printf(f->r.arena, "%s.preemptVerb: extenders are not asked about preemption in this version", where);
    if (!str_empty(e->prioritize_verb) && e->weight <= 0) field_invalid_int(&f->errs, FIELD(at, "weight"), e->weight, "%s", "must have a positive weight applied to it");
    managed_read(f, managed, arena_printf(f->r.arena, "%s.managedResources", where), FIELD(at, "managedResources"), e, seen);
}

static void extenders_read(struct file *f, yyjson_val *list) {
    size_t i, n;
    int binders = 0;
    yyjson_val *item;
    struct string_list seen = {0};
    if (list)
        yyjson_arr_foreach(list, i, n, item) extender_read(f, item, i, &seen);
    LIST_FOREACH(e, &f->to->extenders) binders += !str_empty(e->bind_verb);
    if (binders > 1)
        field_invalid(&f->errs, FIELD(NULL, "extenders"), arena_printf(f->r.arena, "found %d extenders implementing bind", binders), "%s", "only one extender can implement bind");
}

/* Resources that only extenders look after: every profile's Fit leaves them alone. Upstream: scheduler.go buildExtenders. */
static void ignored_resources(struct file *f) {
    struct string_list names = {0};
    LIST_FOREACH(e, &f->to->extenders)
        LIST_FOREACH(m, &e->managed)
            if (m->ignored_by_scheduler) string_list_push(f->r.arena, &names, m->name);
    for (size_t i = 0; names.len && i < f->to->profiles_len; i++) profile_ignore_resources(f->r.arena, &f->to->profiles[i], &names);
}

/* ---- the rest ---- */

static void duration_invalid(struct file *f, const struct field_path *at, int64_t ms, const char *detail) {
    field_invalid_raw(&f->errs, at, arena_printf(f->r.arena, "%gs", (double)ms / 1000), "%s", detail);
}

static void election_validate(struct file *f) {
    const struct scheduler_configuration *c = f->to;
    const struct field_path *at = FIELD(NULL, "leaderElection");
    if (!c->leader_elect) return;
    if (c->lease_duration_ms <= 0) duration_invalid(f, FIELD(at, "leaseDuration"), c->lease_duration_ms, "must be greater than zero");
    if (c->renew_deadline_ms <= 0) duration_invalid(f, FIELD(at, "renewDeadline"), c->renew_deadline_ms, "must be greater than zero");
    if (c->retry_period_ms <= 0) duration_invalid(f, FIELD(at, "retryPeriod"), c->retry_period_ms, "must be greater than zero");
    if (c->lease_duration_ms < c->renew_deadline_ms) duration_invalid(f, FIELD(at, "leaseDuration"), c->renew_deadline_ms, "LeaseDuration must be greater than RenewDeadline");
    if (!str_eq(c->resource_lock, "leases")) field_invalid(&f->errs, FIELD(at, "resourceLock"), c->resource_lock, "%s", "resourceLock value must be \"leases\"");
}

static void file_read(struct file *f, yyjson_val *root) {
    struct scheduler_configuration *c = f->to;
    yyjson_val *election = NULL, *connection = NULL, *profiles = NULL, *extenders = NULL, *unused[6] = {0};
    f->percentage = INT32_MIN;
    config_read(&f->r, root, KIND, "", (const struct config_field[]){{"parallelism", CONFIG_INT32, &c->parallelism}, {"leaderElection", CONFIG_VALUE, &election},
        {"clientConnection", CONFIG_VALUE, &connection}, {"enableProfiling", CONFIG_VALUE, &unused[0]}, {"enableContentionProfiling", CONFIG_VALUE, &unused[1]},
        {"percentageOfNodesToScore", CONFIG_INT32, &f->percentage}, {"podInitialBackoffSeconds", CONFIG_INT64, &c->backoff_initial_seconds},
        {"podMaxBackoffSeconds", CONFIG_INT64, &c->backoff_max_seconds}, {"profiles", CONFIG_LIST, &profiles}, {"extenders", CONFIG_LIST, &extenders},
        {"delayCacheUntilActive", CONFIG_VALUE, &unused[2]}, {0}});
    config_read(&f->r, election, "LeaderElectionConfiguration", "leaderElection", (const struct config_field[]){{"leaderElect", CONFIG_BOOL, &c->leader_elect},
        {"leaseDuration", CONFIG_DURATION_MS, &c->lease_duration_ms}, {"renewDeadline", CONFIG_DURATION_MS, &c->renew_deadline_ms},
        {"retryPeriod", CONFIG_DURATION_MS, &c->retry_period_ms}, {"resourceLock", CONFIG_STRING, &c->resource_lock}, {"resourceName", CONFIG_STRING, &c->resource_name},
        {"resourceNamespace", CONFIG_STRING, &c->resource_namespace}, {0}});
    config_read(&f->r, connection, "ClientConnectionConfiguration", "clientConnection", (const struct config_field[]){{"kubeconfig", CONFIG_STRING, &c->kubeconfig},
        {"acceptContentTypes", CONFIG_VALUE, &unused[3]}, {"contentType", CONFIG_VALUE, &unused[4]}, {"qps", CONFIG_VALUE, &unused[5]}, {"burst", CONFIG_VALUE, &unused[5]}, {0}});
    f->has_percentage = f->percentage != INT32_MIN;
    election_validate(f);
    if (c->parallelism <= 0) field_invalid_int(&f->errs, FIELD(NULL, "parallelism"), c->parallelism, "%s", "should be an integer value greater than zero");
    profiles_read(f, profiles);
    if (f->has_percentage) percentage_validate(f, FIELD(NULL, "percentageOfNodesToScore"), f->percentage);
    if (c->backoff_initial_seconds <= 0) field_invalid_int(&f->errs, FIELD(NULL, "podInitialBackoffSeconds"), c->backoff_initial_seconds, "%s", "must be greater than 0");
    if (c->backoff_max_seconds < c->backoff_initial_seconds)
        field_invalid_int(&f->errs, FIELD(NULL, "podMaxBackoffSeconds"), c->backoff_max_seconds, "%s", "must be greater than or equal to PodInitialBackoffSeconds");
    extenders_read(f, extenders);
    ignored_resources(f);
}

static int type_check(yyjson_val *root, struct status *reterr) {
    const char *version = yyjson_get_str(yyjson_obj_get(root, "apiVersion")), *kind = yyjson_get_str(yyjson_obj_get(root, "kind"));
    _cleanup_free_ char *text = root ? yyjson_val_write(root, 0, NULL) : NULL;
    if (str_empty(kind)) return status_bad_request(reterr, "Object 'Kind' is missing in '%s'", str_or(text, ""));
    if (str_empty(version)) return status_bad_request(reterr, "Object 'apiVersion' is missing in '%s'", str_or(text, ""));
    if (str_eq(version, API_VERSION) && str_eq(kind, KIND)) return 0;
    return status_bad_request(reterr, "no kind \"%s\" is registered for version \"%s\" in scheme \"%s\"", kind, version, SCHEME);
}

static int file_result(struct file *f, const char *duplicate, struct status *reterr) {
    if (f->r.error) return status_bad_request(reterr, "%s", f->r.error);
    if (duplicate) return status_bad_request(reterr, "strict decoding error: yaml: unmarshal errors:\n  %s", duplicate);
    if (f->r.strict.len) {
        const char *text = f->r.strict.items[0];
        for (size_t i = 1; i < f->r.strict.len; i++) text = arena_printf(f->r.arena, "%s, %s", text, f->r.strict.items[i]);
        return status_bad_request(reterr, "strict decoding error: %s", text);
    }
    if (f->errs.len) return status_bad_request(reterr, "%s", errors_text(f->r.arena, &f->errs));
    if (f->making.code) return status_bad_request(reterr, "%s", status_message(&f->making));
    return 0;
}

int scheduler_configuration_load(struct arena *a, const char *yaml, size_t len, struct scheduler_configuration *ret, struct status *reterr) {
    _cleanup_buf_ struct buf json = BUF_INIT;
    _cleanup_free_ char *duplicate = NULL;
    if (yaml_to_json(yaml, len, &json, &duplicate, reterr)) return -1;
    yyjson_doc *doc = yyjson_read(buf_cstr(&json), json.len, 0);
    if (!doc) return status_bad_request(reterr, "%s", "the configuration is not a document");
    struct scheduler_configuration c;
    scheduler_configuration_default(a, &c);
    struct file f = {.r = {.arena = a}, .to = &c, .errs = field_errors_in(a)};
    yyjson_val *root = yyjson_doc_get_root(doc);
    int r = type_check(root, reterr);
    if (!r) {
        file_read(&f, root);
        r = file_result(&f, duplicate, reterr);
    }
    status_release(&f.making);
    yyjson_doc_free(doc);
    if (!r) *ret = c;
    return r;
}
