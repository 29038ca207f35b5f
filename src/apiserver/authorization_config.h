/* AuthorizationConfiguration: the file of --authorization-config, with the conditions of its webhooks compiled. Pure but for looking whether kubeconfig files are there.
 * Upstream: apiserver/pkg/apis/apiserver AuthorizationConfiguration with its defaults and validation, apiserver/pkg/authorization/cel. Tests: tests/unit/test_authorization_config.c. */
#ifndef CKUBE_APISERVER_AUTHORIZATION_CONFIG_H
#define CKUBE_APISERVER_AUTHORIZATION_CONFIG_H
#include "api/cel/cel.h"
#include "api/field_error.h"
#include "api/object.h"

enum { MATCH_CONDITIONS_MAX = 64 };
struct authorization_conditions {
    size_t len;
    const char *texts[MATCH_CONDITIONS_MAX];
    const struct cel_program *programs[MATCH_CONDITIONS_MAX];
};
struct authorizer_settings {
    const char *type, *name;
    /* of a webhook */
    const char *kubeconfig_file, *version;
    int64_t timeout_ns, authorized_ttl_ns, unauthorized_ttl_ns; /* ttl 0: not kept */
    bool deny_on_error;
    const struct authorization_conditions *conditions; /* NULL: none */
};
struct authorization_config { struct authorizer_settings *items; size_t len; };

/* Decodes, sets defaults, checks. All of it lives in the arena. required: types that must be there (those of the file at start); NULL: none. -1 with upstream's words. */
int authorization_config_parse(struct arena *a, const char *text, size_t len, const struct string_list *required, struct authorization_config *ret, struct status *reterr);
#endif
