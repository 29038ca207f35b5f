/* Which plugins a profile uses at each point: the default set, multiPoint and the points' own sets. Upstream: apis/config/v1/default_plugins.go
 * (mergePluginSet) and framework/runtime (expandMultiPointPlugins). */
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/config_internal.h"

const char *const config_point_names[POINTS_LEN + 1] = {"preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score", "reserve", "permit",
    "preBind", "bind", "postBind", "multiPoint"};
static const char *const type_names[POINTS_LEN] = {"PreEnqueuePlugin", "QueueSortPlugin", "PreFilterPlugin", "FilterPlugin", "PostFilterPlugin", "PreScorePlugin",
    "ScorePlugin", "ReservePlugin", "PermitPlugin", "PreBindPlugin", "BindPlugin", "PostBindPlugin"};

static const struct named_plugin *named(const struct named_plugin_list *list, const char *name) {
    LIST_FOREACH(p, list)
        if (str_eq(p->name, name)) return p;
    return NULL;
}

/* The defaults in their order, as re-configured, without those disabled; then the others. */
static struct named_plugin_list merge(struct arena *a, const struct plugin_set *custom) {
    struct named_plugin_list out = {0};
    for (int i = 0; i < PLUGINS_LEN && !named(&custom->disabled, "*"); i++) {
        const char *name = all_plugins[i]->name;
        if (named(&custom->disabled, name)) continue;
        const struct named_plugin *again = named(&custom->enabled, name);
        *LIST_PUSH(a, &out) = again ? *again : (struct named_plugin){name, all_plugins[i]->weight};
    }
    LIST_FOREACH(p, &custom->enabled)
        if (!named(&out, p->name) || !plugin_find(p->name)) *LIST_PUSH(a, &out) = *p;
    return out;
}


static int use_add(struct profile *p, int point, const struct named_plugin *named_one, int32_t weight, struct status *reterr) {
    const struct plugin *plugin = plugin_find(named_one->name);
    struct plugin_uses *uses = &p->points[point];
    if (!plugin) return status_bad_request(reterr, "%s \"%s\" does not exist", type_names[point], named_one->name);
    if (!plugin_has_point(plugin, point)) return status_bad_request(reterr, "plugin \"%s\" does not extend %s plugin", named_one->name, type_names[point]);
    for (int i = 0; i < uses->len; i++)
        if (uses->items[i].plugin == plugin) return status_bad_request(reterr, "plugin \"%s\" already registered as \"%s\"", named_one->name, type_names[point]);
    uses->items[uses->len++] = (struct plugin_use){plugin, p->args[plugin->id], weight > 0 ? weight : 1};
    return 0;
}

/* First those that are both in multiPoint and here, in this set's order; then the rest of multiPoint; then the rest of this set. */
static int point_expand(struct profile *p, int point, const struct plugin_set *own, const struct named_plugin_list *multi, struct status *reterr) {
    bool all_off = named(&own->disabled, "*") != NULL;
    LIST_FOREACH(o, &own->enabled)
        if (named(multi, o->name) && use_add(p, point, o, o->weight, reterr)) return -1;
    if (!all_off)
        LIST_FOREACH(m, multi) {
            const struct plugin *plugin = plugin_find(m->name);
            if (!plugin) return status_bad_request(reterr, "%s \"%s\" does not exist", type_names[point], m->name);
            if (!plugin_has_point(plugin, point) || named(&own->disabled, m->name) || named(&own->enabled, m->name)) continue;
            if (use_add(p, point, m, m->weight, reterr)) return -1;
        }
    LIST_FOREACH(o, &own->enabled)
        if (!named(multi, o->name) && use_add(p, point, o, o->weight, reterr)) return -1;
    return 0;
}

int config_profile_plugins(struct arena *a, const struct plugin_sets *custom, struct profile *p, struct status *reterr) {
    struct named_plugin_list multi = merge(a, &custom->sets[POINTS_LEN]);
    for (int point = 0; point < POINTS_LEN; point++) p->points[point].len = 0;
    for (int point = 0; point < POINTS_LEN; point++)
        if (point_expand(p, point, &custom->sets[point], &multi, reterr)) return -1;
    const struct plugin_uses *sort = &p->points[POINT_QUEUE_SORT];
    if (!sort->len) return status_bad_request(reterr, "no queue sort plugin is enabled for profile with scheduler name \"%s\"", p->name);
    if (!p->points[POINT_BIND].len) return status_bad_request(reterr, "at least one bind plugin is needed for profile with scheduler name \"%s\"", p->name);
    return 0;
}

void profile_ignore_resources(struct arena *a, struct profile *p, const struct string_list *names) {
    struct node_resources_fit_args *args = arena_memdup(a, p->args[PLUGIN_NODE_RESOURCES_FIT], sizeof(*args));
    struct string_list all = {0};
    LIST_FOREACH(n, &args->ignored_resources) string_list_push(a, &all, *n);
    LIST_FOREACH(n, names) string_list_push(a, &all, *n);
    args->ignored_resources = all;
    p->args[PLUGIN_NODE_RESOURCES_FIT] = args;
    for (int point = 0; point < POINTS_LEN; point++)
        for (int i = 0; i < p->points[point].len; i++)
            if (p->points[point].items[i].plugin->id == PLUGIN_NODE_RESOURCES_FIT) p->points[point].items[i].args = args;
}
