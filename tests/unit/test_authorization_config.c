/* AuthorizationConfiguration: what is refused, in which words, and what defaults are set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "apiserver/authorization_config.h"
#include "base/str.h"

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n"
#define GOOD "timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: NoOpinion, connectionInfo: {type: KubeConfigFile, kubeConfigFile: /dev/../etc/passwd}"
#define HOOK(webhook) HEAD "- {type: Webhook, name: w, webhook: {" webhook "}}"
#define MATCH "matchConditionSubjectAccessReviewVersion: v1, matchConditions: "

static void configurations_are_checked_in_upstreams_words(void **state UNUSED) {
    static const struct { const char *text, *words; } cases[] = {
        {HEAD "- {type: Node, name: node}\n- {type: RBAC, name: rbac}", ""},
        {HOOK(GOOD), ""},
        {HEAD "- {type: Webhook, name: a, webhook: {" GOOD "}}\n- {type: RBAC, name: rbac}\n- {type: Webhook, name: b, webhook: {" GOOD "}}", ""},
        {"", "authorizers: Required value: at least one authorization mode must be defined"},
        {HEAD "- {type: RBAC, name: rbac, weight: 3}", "failed to load AuthorizationConfiguration from file: strict decoding error: unknown field \"authorizers[0].weight\""},
        {HEAD "- {name: x}\n- {type: ABC, name: x}\n- {type: RBAC, name: rbac}\n- {type: RBAC, name: r2}",
         "[authorizers[0].type: Required value, authorizers[1].type: Unsupported value: \"ABC\": supported values: \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\", authorizers[3].type: Duplicate value: \"RBAC\"]"},
        {HEAD "- {type: RBAC, name: mine}", "expected name rbac for authorizer RBAC instead of mine"},
        {HEAD "- {type: RBAC}", "authorizers[0].name: Required value"},
        {HEAD "- {type: Webhook, name: A_b, webhook: {" GOOD "}}",
         "authorizers[0].name: Invalid value: \"A_b\": authorizer name is invalid: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
         "character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
        {HEAD "- {type: Webhook, name: a, webhook: {" GOOD "}}\n- {type: Webhook, name: a, webhook: {" GOOD "}}", "authorizers[1].name: Duplicate value: \"a\""},
        {HEAD "- {type: Webhook, name: a}\n- {type: RBAC, name: rbac, webhook: {" GOOD "}}",
         "[authorizers[0].webhook: Required value: required when type=Webhook, authorizers[1].webhook: Invalid value: \"non-null\": may only be specified when type=Webhook]"},
        {HEAD "- {type: Webhook, name: a, webhook: {}}",
         "[authorizers[0].timeout: Required value, authorizers[0].subjectAccessReviewVersion: Required value, authorizers[0].failurePolicy: Required value, authorizers[0].connectionInfo.type: Required value]"},
        {HOOK("timeout: 31s, authorizedTTL: -1s, unauthorizedTTL: -2s, subjectAccessReviewVersion: v2, failurePolicy: Maybe, connectionInfo: {type: Carrier}"),
         "[authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s, authorizers[0].authorizedTTL: Invalid value: \"-1s\": must be > 0s, authorizers[0].unauthorizedTTL: Invalid value: \"-2s\": must be > 0s, "
         "authorizers[0].subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\", authorizers[0].failurePolicy: Unsupported value: \"Maybe\": supported values: \"NoOpinion\", \"Deny\", "
         "authorizers[0].connectionInfo.type: Unsupported value: \"Carrier\": supported values: \"InClusterConfig\", \"KubeConfigFile\"]"},
        {HOOK("timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile}"), "authorizers[0].connectionInfo.kubeConfigFile: Required value"},
        {HOOK("timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: x}"),
         "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"x\": must be an absolute path"},
        {HOOK("timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: /nowhere/x}"),
         "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"/nowhere/x\": error loading file: stat /nowhere/x: no such file or directory"},
        {HOOK("timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: /tmp}"),
         "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"/tmp\": must be a regular file"},
        {HOOK(GOOD ", matchConditions: [{expression: 'true'}]"), "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified"},
        {HOOK(GOOD ", " MATCH "[{expression: ' '}, {expression: request.user}, {expression: 'request.user == \"a\"'}, {expression: 'request.user == \"a\"'}, {expression: 'request.who == \"a\"'}]"),
         "[authorizers[0].matchConditions[0].expression: Required value, authorizers[0].matchConditions[1].expression: Invalid value: \"request.user\": must evaluate to bool but got string, "
         "authorizers[0].matchConditions[3].expression: Duplicate value: \"request.user == \\\"a\\\"\", authorizers[0].matchConditions[4].expression: Invalid value: \"request.who == \\\"a\\\"\": compilation failed: "
         "ERROR: <input>:1:8: undefined field 'who'\n | request.who == \"a\"\n | .......^]"},
        {HOOK(GOOD ", " MATCH "[{expression: 'has(request.resourceAttributes) && request.resourceAttributes.?labelSelector.requirements.orValue([]).exists(r, r.key == \"a\" && \"b\" in r.values)'}]"), ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        struct authorization_config c;
        const char *got = authorization_config_parse(a, cases[i].text, strlen(cases[i].text), NULL, &c, &err) == 0 ? "" : status_message(&err);
        if (strcmp(got, cases[i].words) != 0) fail_msg("case %zu:\n got %s\nwant %s", i, got, cases[i].words);
    }
}

static void defaults_and_demands(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct authorization_config c;
    struct string_list required = {0};
    const char *text = HOOK(GOOD ", cacheUnauthorizedRequests: false");
    assert_int_equal(authorization_config_parse(a, text, strlen(text), NULL, &c, NULL), 0);
    assert_int_equal(c.len, 1);
    assert_int_equal(c.items[0].authorized_ttl_ns, 300000000000);
    assert_int_equal(c.items[0].unauthorized_ttl_ns, 0);
    assert_int_equal(c.items[0].timeout_ns, 3000000000);
    assert_false(c.items[0].deny_on_error);
    assert_null(c.items[0].conditions);
    string_list_push(a, &required, "Node");
    string_list_push(a, &required, "RBAC");
    assert_int_equal(authorization_config_parse(a, text, strlen(text), &required, &c, &err), -1);
    assert_string_equal(status_message(&err), "missing required types: [Node RBAC]");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(configurations_are_checked_in_upstreams_words), cmocka_unit_test(defaults_and_demands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
