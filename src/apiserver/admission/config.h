/* What the flags and --admission-control-config-file say of plugins. Upstream: apiserver/pkg/admission/config.go, apiserver/pkg/server/options/admission.go. */
#ifndef CKUBE_APISERVER_ADMISSION_CONFIG_H
#define CKUBE_APISERVER_ADMISSION_CONFIG_H
#include <yyjson.h>
#include "api/field_error.h"
#include "apiserver/admission/plugins.h"
#include "base/buf.h"

bool admission_plugin_enabled(const struct admission_plugin *p, const struct admission_options *o);

/* apiserver.config.k8s.io/v1 AdmissionConfiguration (also the v1alpha1 of that group's old name, and the two formats from before it); path NULL: an empty one. */
struct admission_config;
struct admission_config *admission_config_read(struct arena *a, const char *path, struct status *reterr);
/* Appends the plugin's configuration, from within or from the file that it names; *ret_has: there is one. */
int admission_config_for(const struct admission_config *c, const char *plugin, struct buf *ret, bool *ret_has, struct status *reterr);

/* ---- for plugins: a configuration of their own ---- */

/* The document in YAML or JSON, of the kind and one of the versions (ends with NULL), or NULL with upstream's words. kind NULL: of any or none. */
yyjson_val *admission_config_parse(struct arena *a, const char *text, size_t len, const char *const *versions, const char *kind, struct status *reterr);
/* Upstream's strict decoding: -1 when an object has other members than these (ends with NULL). path: "defaults." or "" of the top. Absent objects are fine. */
int admission_config_members(struct arena *a, yyjson_val *object, const char *path, const char *const *names, struct status *reterr);
/* A member that is a list of strings, or a string; -1 if it is there and something else. Strings are copied. */
int admission_config_strings(struct arena *a, yyjson_val *object, const char *name, struct string_list *ret, struct status *reterr);
int admission_config_string(struct arena *a, yyjson_val *object, const char *name, const char **ret, struct status *reterr);
/* All errors in one line, as upstream's ErrorList.ToAggregate prints them; after `before`. Returns -1. */
int admission_config_refuse(const struct field_errors *errs, const char *before, struct status *reterr);
#endif
