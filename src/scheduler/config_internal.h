/* What the parts of the configuration's reader share: config.c (the file), config_args.c (plugins' arguments), config_profile.c (plugin sets). */
#ifndef CKUBE_SCHEDULER_CONFIG_INTERNAL_H
#define CKUBE_SCHEDULER_CONFIG_INTERNAL_H
#include <yyjson.h>
#include "api/field_error.h"
#include "scheduler/config.h"

struct reader {
    struct arena *arena;
    struct string_list strict; /* `unknown field "x"` */
    char *error;               /* the first value of a wrong type */
};

enum config_kind { CONFIG_INT32, CONFIG_INT64, CONFIG_BOOL, CONFIG_STRING, CONFIG_STRINGS, CONFIG_DURATION_MS, CONFIG_VALUE, CONFIG_LIST };
/* One field: to is an int32_t, int64_t, bool, const char *, struct string_list, int64_t or yyjson_val * (CONFIG_LIST: of an array); it keeps its value if the field is not there. */
struct config_field { const char *name; enum config_kind kind; void *to; };
/* Reads an object; path: where it is ("" at the top), for the words. fields ends with a NULL name. */
void config_read(struct reader *r, yyjson_val *obj, const char *type, const char *path, const struct config_field *fields);

/* Reads the arguments of a plugin; NULL: it has none. valid_errs: errors that upstream finds at validation; init_errs: at the plugin's making. */
const void *config_plugin_args(struct reader *r, enum plugin_id id, yyjson_val *args, const char *where, const struct field_path *at, struct field_errors *valid_errs,
                               struct field_errors *init_errs);

/* One plugin set of a profile, and all of them by extension point; POINTS_LEN is multiPoint. */
struct named_plugin { const char *name; int32_t weight; };
struct named_plugin_list { struct named_plugin *items; size_t len; };
struct plugin_set { struct named_plugin_list enabled, disabled; };
struct plugin_sets { struct plugin_set sets[POINTS_LEN + 1]; };
extern const char *const config_point_names[POINTS_LEN + 1]; /* "preEnqueue", ..., "multiPoint" */
/* Defaults and the profile's own sets made one, by upstream's rules. */
void profile_ignore_resources(struct arena *a, struct profile *p, const struct string_list *names); /* NodeResourcesFit leaves them alone */
int config_profile_plugins(struct arena *a, const struct plugin_sets *custom, struct profile *p, struct status *reterr);
#endif
