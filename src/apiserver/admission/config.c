#include "apiserver/admission/config.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/yaml.h"

/* ---- flags ---- */

/* Calls fn for each name of "A,B"; stops at the first that is not 0. */
static int each_name(const char *list, int (*fn)(void *arg, const char *name), void *arg) {
    char name[256];
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, ",");
        snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name) - 1), p);
        int result = fn(arg, name);
        if (result) return result;
        p += len + (p[len] == ',');
    }
    return 0;
}

static int is_same(void *arg, const char *name) { return strcmp(arg, name) == 0; }
static bool names_has(const char *list, const char *name) { return each_name(list, is_same, (void *)(uintptr_t)name) != 0; }

bool admission_plugin_enabled(const struct admission_plugin *p, const struct admission_options *o) {
    return names_has(o->enable, p->name) || (p->on && !names_has(o->disable, p->name));
}

struct checking { const char *flag; struct status *reterr; };

static int check_name(void *arg, const char *name) {
    const struct checking *c = arg;
    return admission_plugin_find(name) ? 0 : status_bad_request(c->reterr, "%s plugin \"%s\" is unknown", c->flag, name);
}

struct overlap { const char *other; struct buf names; };

static int add_overlap(void *arg, const char *name) {
    struct overlap *o = arg;
    if (names_has(o->other, name)) buf_printf(&o->names, "%s%s", o->names.len ? " " : "", name);
    return 0;
}

int admission_check_flags(const char *enable, const char *disable, struct status *reterr) {
    struct overlap o = {.other = disable};
    if (each_name(enable, check_name, &(struct checking){"enable-admission-plugins", reterr}) != 0 || each_name(disable, check_name, &(struct checking){"disable-admission-plugins", reterr}) != 0) return -1;
    each_name(enable, add_overlap, &o);
    int result = o.names.len ? status_bad_request(reterr, "[%s] in enable-admission-plugins and disable-admission-plugins overlapped", buf_cstr(&o.names)) : 0;
    buf_release(&o.names);
    return result;
}

/* ---- the file ---- */

struct entry { const char *plugin, *path; yyjson_val *configuration; };
struct admission_config { struct entry *items; size_t len; };

static const char *const versions[] = {"apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1", NULL};

/* A path of the file is relative to where the file is. */
static const char *absolute(struct arena *a, const char *path, const char *file) {
    char cwd[PATH_MAX] = "";
    const char *slash = strrchr(file, '/');
    if (*path == '/') return path;
    if (slash && slash != file) return arena_printf(a, "%.*s/%s", (int)(slash - file), file, path);
    if (slash || !getcwd(cwd, sizeof(cwd))) return arena_printf(a, "/%s", path);
    return arena_printf(a, "%s/%s", cwd, path);
}

static int read_entries(struct arena *a, yyjson_val *root, const char *file, struct admission_config *ret, struct status *reterr) {
    static const char *const members[] = {"apiVersion", "kind", "plugins", NULL}, *const own[] = {"name", "path", "configuration", NULL};
    yyjson_val *plugins = yyjson_obj_get(root, "plugins"), *item;
    size_t i, max;
    if (admission_config_members(a, root, "", members, reterr) != 0) return -1;
    if (plugins && !yyjson_is_null(plugins) && !yyjson_is_arr(plugins)) return status_bad_request(reterr, "plugins: a list is expected");
    yyjson_arr_foreach(plugins, i, max, item) {
        struct entry *e = LIST_PUSH(a, ret);
        const char *path = NULL;
        if (admission_config_members(a, item, arena_printf(a, "plugins[%zu].", i), own, reterr) != 0 || admission_config_string(a, item, "name", &e->plugin, reterr) != 0 ||
            admission_config_string(a, item, "path", &path, reterr) != 0) return -1;
        e->configuration = yyjson_obj_get(item, "configuration");
        if (yyjson_is_null(e->configuration)) e->configuration = NULL;
        if (!str_empty(path)) e->path = absolute(a, path, file);
    }
    return 0;
}

/* Two plugins were once configured by files of their own. */
static bool is_legacy(yyjson_val *root) { return yyjson_obj_get(root, "imagePolicy") || yyjson_obj_get(root, "podNodeSelectorPluginConfig"); }

struct admission_config *admission_config_read(struct arena *a, const char *path, struct status *reterr) {
    struct admission_config *c = ARENA_NEW(a, struct admission_config);
    _cleanup_buf_ struct buf text = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (str_empty(path)) return c;
    if (file_read(path, FILE_OPTION_MAX, &text, &err) != 0) {
        status_set(reterr, 500, NULL, "failed to read plugin config: unable to read admission control configuration from \"%s\" [%s]", path, status_message(&err));
        return NULL;
    }
    yyjson_val *root = admission_config_parse(a, text.data, text.len, NULL, NULL, &err);
    if (root && is_legacy(root)) {
        *LIST_PUSH(a, c) = (struct entry){"ImagePolicyWebhook", arena_strdup(a, path), NULL};
        *LIST_PUSH(a, c) = (struct entry){"PodNodeSelector", arena_strdup(a, path), NULL};
        return c;
    }
    if (root && (root = admission_config_parse(a, text.data, text.len, versions, "AdmissionConfiguration", &err)) && read_entries(a, root, path, c, &err) == 0) return c;
    status_set(reterr, 500, NULL, "failed to read plugin config: %s", status_message(&err));
    return NULL;
}

int admission_config_for(const struct admission_config *c, const char *plugin, struct buf *ret, bool *ret_has, struct status *reterr) {
    *ret_has = false;
    for (size_t i = 0; i < c->len; i++) {
        const struct entry *e = &c->items[i];
        if (!str_eq(e->plugin, plugin)) continue;
        *ret_has = e->configuration || e->path;
        if (e->configuration) json_write_value(ret, e->configuration);
        else if (e->path && file_read(e->path, FILE_OPTION_MAX, ret, reterr) != 0) {
            status_wrap(reterr, "couldn't open admission plugin configuration %s", e->path);
            return -1;
        }
        return 0;
    }
    return 0;
}

/* ---- plugins' own ---- */

yyjson_val *admission_config_parse(struct arena *a, const char *text, size_t len, const char *const *wanted, const char *kind, struct status *reterr) {
    _cleanup_buf_ struct buf json = BUF_INIT;
    yyjson_doc *doc = yaml_to_json(text, len, &json, NULL, reterr) == 0 ? json_parse_in(a, json.data, json.len, 0, reterr) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!doc) return NULL;
    const char *version = str_or(yyjson_get_str(yyjson_obj_get(root, "apiVersion")), ""), *is = str_or(yyjson_get_str(yyjson_obj_get(root, "kind")), "");
    if (!kind || (strcmp(is, kind) == 0 && str_in(version, wanted))) return root;
    if (!*is) status_bad_request(reterr, "Object 'Kind' is missing in '%s'", arena_strndup(a, text, MIN(len, (size_t)1024)));
    else if (!*version) status_bad_request(reterr, "Object 'apiVersion' is missing in '%s'", arena_strndup(a, text, MIN(len, (size_t)1024)));
    else status_bad_request(reterr, "no kind \"%s\" is registered for version \"%s\" in scheme", is, version);
    return NULL;
}

int admission_config_members(struct arena *a, yyjson_val *object, const char *path, const char *const *names, struct status *reterr) {
    const char *unknown = "";
    size_t i, max;
    yyjson_val *key, *value;
    if (!object || yyjson_is_null(object)) return 0;
    if (!yyjson_is_obj(object)) return status_bad_request(reterr, "%.*s: an object is expected", (int)(strlen(path) ? strlen(path) - 1 : 0), path);
    yyjson_obj_foreach(object, i, max, key, value) if (!str_in(yyjson_get_str(key), names)) unknown = arena_printf(a, "%s%sunknown field \"%s%s\"", unknown, *unknown ? ", " : "", path, yyjson_get_str(key));
    return *unknown ? status_bad_request(reterr, "strict decoding error: %s", unknown) : 0;
}

int admission_config_strings(struct arena *a, yyjson_val *object, const char *name, struct string_list *ret, struct status *reterr) {
    yyjson_val *list = yyjson_obj_get(object, name), *item;
    size_t i, max;
    if (!list || yyjson_is_null(list)) return 0;
    if (!yyjson_is_arr(list)) return status_bad_request(reterr, "%s: a list of strings is expected", name);
    yyjson_arr_foreach(list, i, max, item) {
        if (!yyjson_is_str(item)) return status_bad_request(reterr, "%s[%zu]: a string is expected", name, i);
        string_list_push(a, ret, arena_strdup(a, yyjson_get_str(item)));
    }
    return 0;
}

int admission_config_string(struct arena *a, yyjson_val *object, const char *name, const char **ret, struct status *reterr) {
    yyjson_val *v = yyjson_obj_get(object, name);
    if (!v || yyjson_is_null(v)) return 0;
    if (!yyjson_is_str(v)) return status_bad_request(reterr, "%s: a string is expected", name);
    *ret = arena_strdup(a, yyjson_get_str(v));
    return 0;
}

int admission_config_refuse(const struct field_errors *errs, const char *before, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    for (size_t i = 0; i < errs->len; i++) buf_printf(&text, "%s%s: %s", i ? ", " : "", errs->items[i].field, errs->items[i].detail);
    return status_bad_request(reterr, errs->len > 1 ? "%s[%s]" : "%s%s", before, buf_cstr(&text));
}
