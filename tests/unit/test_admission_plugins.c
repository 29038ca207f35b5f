/* The table of admission plugins, what flags and configuration files make of it, and the lists of tolerations that some of them keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "apiserver/admission/config.h"
#include "apiserver/admission/tolerations.h"
#include "base/str.h"

/* Upstream's AllOrderedPlugins; a plus: on by default. NodeRestriction is on here: see docs/security.md. */
static const char *const all[] = {"AlwaysAdmit", "NamespaceAutoProvision", "+NamespaceLifecycle", "NamespaceExists", "LimitPodHardAntiAffinityTopology", "+LimitRanger", "+ServiceAccount", "+NodeRestriction", "+TaintNodesByCondition",
    "AlwaysPullImages", "ImagePolicyWebhook", "+PodSecurity", "PodNodeSelector", "+Priority", "+DefaultTolerationSeconds", "PodTolerationRestriction", "EventRateLimit", "ExtendedResourceToleration", "+DefaultStorageClass",
    "+StorageObjectInUseProtection", "+PodGroupProtection", "OwnerReferencesPermissionEnforcement", "+PersistentVolumeClaimResize", "+RuntimeClass", "+CertificateApproval", "+CertificateSigning", "+ClusterTrustBundleAttest",
    "+CertificateSubjectRestriction", "+DefaultIngressClass", "DenyServiceExternalIPs", "+PodTopologyLabels", "+PodGroupWorkloadExists", "+NodeDeclaredFeatureValidator", "+JobValidation", "+PodResizeValidator",
    "+MutatingAdmissionPolicy", "+MutatingAdmissionWebhook", "+ValidatingAdmissionPolicy", "+ValidatingAdmissionWebhook", "+ResourceQuota", "AlwaysDeny"};

static void plugins_are_upstreams(void **state UNUSED) {
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        bool on = all[i][0] == '+';
        assert_string_equal(admission_plugins[i].name, all[i] + on);
        assert_int_equal(admission_plugins[i].on, on);
    }
    assert_null(admission_plugins[ARRAY_LEN(all)].name);
}

static void flags_choose(void **state UNUSED) {
    static const struct { const char *enable, *disable, *on, *off; } chosen[] = {{NULL, NULL, "PodSecurity", "AlwaysDeny"}, {"AlwaysDeny,AlwaysAdmit", NULL, "AlwaysDeny", "NamespaceExists"}, {"", "PodSecurity,Priority", "LimitRanger", "PodSecurity"},
        {"PodSecurity", "Priority", "PodSecurity", "Priority"}};
    static const struct { const char *enable, *disable, *want; } wrong[] = {{"Nope", NULL, "enable-admission-plugins plugin \"Nope\" is unknown"}, {"Priority,podsecurity", NULL, "enable-admission-plugins plugin \"podsecurity\" is unknown"},
        {NULL, "PodSecurityPolicy", "disable-admission-plugins plugin \"PodSecurityPolicy\" is unknown"},
        {"Priority,PodSecurity", "PodSecurity,Priority", "[Priority PodSecurity] in enable-admission-plugins and disable-admission-plugins overlapped"}, {" Priority", NULL, "enable-admission-plugins plugin \" Priority\" is unknown"}};
    for (size_t i = 0; i < ARRAY_LEN(chosen); i++) {
        const struct admission_options o = {.enable = chosen[i].enable, .disable = chosen[i].disable};
        assert_int_equal(admission_check_flags(o.enable, o.disable, NULL), 0);
        assert_true(admission_plugin_enabled(admission_plugin_find(chosen[i].on), &o));
        assert_false(admission_plugin_enabled(admission_plugin_find(chosen[i].off), &o));
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        assert_int_equal(admission_check_flags(wrong[i].enable, wrong[i].disable, &err), -1);
        assert_string_equal(status_message(&err), wrong[i].want);
    }
}

/* ---- files ---- */

static char dir[] = "/tmp/ckube-admission-XXXXXX";

static char *write_file(struct arena *a, const char *name, const char *text) {
    char *path = arena_printf(a, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static void configurations_are_found(void **state UNUSED) {
    static const struct { const char *text, *plugin, *want; } cases[] = {
        {"apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n  configuration: {a: 1}\n- name: EventRateLimit\n  path: own.yaml\n", "PodSecurity", "{\"a\":1}"},
        {"apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n  configuration: {a: 1}\n- name: EventRateLimit\n  path: own.yaml\n", "EventRateLimit", "own: file\n"},
        {"apiVersion: apiserver.k8s.io/v1alpha1\nkind: AdmissionConfiguration\nplugins: [{name: A, path: own.yaml, configuration: {}}]\n", "A", "{}"},
        {"apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: []\n", "PodSecurity", NULL},
        {"podNodeSelectorPluginConfig: {a: b=c}\n", "PodNodeSelector", "podNodeSelectorPluginConfig: {a: b=c}\n"}, /* the form from before there was a kind */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_status_ struct status err = STATUS_INIT;
        bool has;
        write_file(a, "own.yaml", "own: file\n");
        struct admission_config *c = admission_config_read(a, write_file(a, "config.yaml", cases[i].text), &err);
        if (!c || admission_config_for(c, cases[i].plugin, &text, &has, &err) != 0) fail_msg("case %zu: %s", i, status_message(&err));
        assert_int_equal(has, cases[i].want != NULL);
        if (has) assert_string_equal(buf_cstr(&text), cases[i].want);
    }
}

static void wrong_files_are_refused(void **state UNUSED) {
    static const struct { const char *text, *want; } cases[] = {
        {"apiVersion: v1\nkind: Pod\n", "no kind \"Pod\" is registered for version \"v1\""},
        {"apiVersion: apiserver.config.k8s.io/v1\nplugins: []\n", "Object 'Kind' is missing"},
        {"kind: AdmissionConfiguration\n", "Object 'apiVersion' is missing"},
        {"apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugin: []\n", "strict decoding error: unknown field \"plugin\""},
        {"apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: [{nam: x}]\n", "unknown field \"plugins[0].nam\""},
        {"{", ""}, {"", "Object 'Kind' is missing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        if (admission_config_read(a, write_file(a, "config.yaml", cases[i].text), &err)) fail_msg("case %zu was taken", i);
        if (!strstr(status_message(&err), cases[i].want) || !str_has_prefix(status_message(&err), "failed to read plugin config: ")) fail_msg("case %zu: %s", i, status_message(&err));
    }
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    assert_null(admission_config_read(a, "/nonexistent/x", &err));
    assert_true(strstr(status_message(&err), "unable to read admission control configuration from \"/nonexistent/x\"") != NULL);
}

/* ---- plugins' own configurations ---- */

static void configurations_of_plugins(void **state UNUSED) {
#define PS "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n"
#define ER "apiVersion: eventratelimit.admission.k8s.io/v1alpha1\nkind: Configuration\n"
#define TR "apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1\nkind: Configuration\n"
    static const struct { const char *plugin, *text, *want; } cases[] = { /* want NULL: it is taken */
        {"PodSecurity", NULL, NULL},
        {"PodSecurity", PS, NULL},
        {"PodSecurity", PS "defaults: {enforce: baseline, enforce-version: v1.30, warn: restricted}\nexemptions: {usernames: [a], namespaces: [kube-system], runtimeClasses: [r]}\n", NULL},
        {"PodSecurity", "apiVersion: pod-security.admission.config.k8s.io/v1beta1\nkind: PodSecurityConfiguration\n", NULL},
        {"PodSecurity", PS "defaults: {enforce: strict}\n", "PodSecurity configuration error: enforce: must be one of privileged, baseline, restricted"},
        {"PodSecurity", PS "defaults: {enforce: strict, warn-version: v2}\n", "PodSecurity configuration error: [enforce: must be one of privileged, baseline, restricted, warn-version: must be \"latest\" or \"v1.x\"]"},
        {"PodSecurity", PS "default: {}\n", "strict decoding error: unknown field \"default\""},
        {"PodSecurity", PS "defaults: {enforced: baseline}\n", "strict decoding error: unknown field \"defaults.enforced\""},
        {"PodSecurity", PS "exemptions: {namespaces: [a, a, B], usernames: ['']}\n", "PodSecurity invalid: [exemptions.namespaces[1]: Duplicate value: \"a\", exemptions.namespaces[2]: Invalid value: \"B\": a lowercase RFC 1123 label must consist of"},
        {"PodSecurity", "apiVersion: v1\nkind: Pod\n", "no kind \"Pod\" is registered for version \"v1\" in scheme"},
        {"EventRateLimit", NULL, NULL},
        {"EventRateLimit", ER "limits: [{type: Server, qps: 10, burst: 20}, {type: User, qps: 1, burst: 2, cacheSize: 5}]\n", NULL},
        {"EventRateLimit", ER "limits: []\n", "limits: Invalid value: []: must not be empty"},
        {"EventRateLimit", ER "limits: [{type: Server}]\n", "[limits[0].burst: Invalid value: 0: must be positive, limits[0].qps: Invalid value: 0: must be positive]"},
        {"EventRateLimit", ER "limits: [{type: Pod, qps: 1, burst: 1}]\n", "limits[0].type: Unsupported value: \"Pod\": supported values: \"Namespace\", \"Server\", \"SourceAndObject\", \"User\""},
        {"EventRateLimit", ER "limits: [{type: Namespace, qps: 1, burst: 1, cacheSize: -1}]\n", "limits[0].cacheSize: Invalid value: -1: must not be negative"},
        {"PodTolerationRestriction", NULL, NULL},
        {"PodTolerationRestriction", TR "default: [{key: a, operator: Exists}]\nwhitelist: [{key: b, operator: Equal, value: c}]\n", NULL},
        {"PodTolerationRestriction", TR "whitelist: [{key: a, operator: Maybe}]\n", "invalid config: podtolerationrestriction.whitelist[0].operator: Unsupported value: \"Maybe\""},
        {"PodNodeSelector", "podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: a=b}\n", NULL},
        {"PodNodeSelector", "]", NULL}, /* it takes what it can read */
        {"ImagePolicyWebhook", NULL, "no config specified"},
        {"ImagePolicyWebhook", "imagePolicy: {}\n", "invalid configuration: no configuration has been provided"},
        {"ImagePolicyWebhook", "imagePolicy: {allowTTL: 3600}\n", "valid value is between 1s and 30m0s, got 1h0m0s"},
        {"ImagePolicyWebhook", "imagePolicy: {retryBackoff: -2}\n", "valid value is between 1ns and 5m0s, got -2ms"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        const struct admission_options o = {.not_ready_toleration_s = 300, .unreachable_toleration_s = 300};
        const struct admission_setup s = {a, &o, NULL};
        const struct admission_plugin *p = admission_plugin_find(cases[i].plugin);
        void *made = NULL;
        int failed = p->setup(&s, cases[i].text, cases[i].text ? strlen(cases[i].text) : 0, &made, &err);
        if ((failed != 0) != (cases[i].want != NULL) || (failed && !str_has_prefix(status_message(&err), cases[i].want))) fail_msg("case %zu: %s", i, status_message(&err));
        if (!failed && p->release) p->release(made);
    }
}

/* ---- tolerations ---- */

/* "key operator value effect seconds", a dash for what is not there */
static void add(struct arena *a, struct corev1_Toleration_list *l, const char *text) {
    char field[5][32];
    if (sscanf(text, "%31s %31s %31s %31s %31s", field[0], field[1], field[2], field[3], field[4]) != 5) fail_msg("%s", text);
    const char *f[5];
    for (int i = 0; i < 5; i++) f[i] = strcmp(field[i], "-") == 0 ? NULL : arena_strdup(a, field[i]);
    struct corev1_Toleration *t = LIST_PUSH(a, l);
    *t = (struct corev1_Toleration){.key = f[0], .operator = f[1], .value = f[2], .effect = f[3]};
    if (f[4]) t->tolerationSeconds = (struct opt_int64){true, atoi(f[4])};
}

static struct corev1_Toleration_list list_of(struct arena *a, const char *const *texts) {
    struct corev1_Toleration_list l = {0};
    for (; *texts; texts++) add(a, &l, *texts);
    return l;
}

static void tolerations_are_merged(void **state UNUSED) {
    static const struct { const char *first[4], *second[4], *want[5]; } cases[] = {
        {{"a Exists - NoSchedule -"}, {"a Exists - NoSchedule -"}, {"a Exists - NoSchedule -"}},                                      /* equal: once */
        {{"a Equal x NoSchedule -"}, {"a Exists - NoSchedule -"}, {"a Exists - NoSchedule -"}},                                       /* any value is more */
        {{"a Exists - - -"}, {"a Equal x NoSchedule -"}, {"a Exists - - -"}},                                                         /* any effect is more */
        {{"- Exists - - -"}, {"a Exists - NoSchedule -", "b Equal x NoExecute 5"}, {"- Exists - - -"}},                               /* everything */
        {{"a Exists - NoExecute 5"}, {"a Exists - NoExecute 10"}, {"a Exists - NoExecute 10"}},                                       /* the longer time */
        {{"a Exists - NoExecute -"}, {"a Exists - NoExecute 10"}, {"a Exists - NoExecute -"}},                                        /* no end is longest */
        {{"a Equal x NoSchedule -"}, {"a Equal y NoSchedule -"}, {"a Equal x NoSchedule -", "a Equal y NoSchedule -"}},
        {{"a Equal x NoSchedule -", "b Exists - - -"}, {"c Exists - NoSchedule -"}, {"a Equal x NoSchedule -", "b Exists - - -", "c Exists - NoSchedule -"}},
        {{NULL}, {"a Exists - - -"}, {"a Exists - - -"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct corev1_Toleration_list first = list_of(a, cases[i].first), second = list_of(a, cases[i].second), want = list_of(a, cases[i].want), got = tolerations_merge(a, &first, &second);
        bool same = got.len == want.len;
        for (size_t k = 0; same && k < got.len; k++) same = object_equal(&corev1_Toleration_desc, &got.items[k], &want.items[k]);
        if (!same) fail_msg("case %zu: %zu are left", i, got.len);
    }
}

static void tolerations_are_allowed(void **state UNUSED) {
    static const struct { const char *list[3], *whitelist[3]; bool want; } cases[] = {
        {{"a Exists - - -"}, {NULL}, true}, {{NULL}, {"a Exists - - -"}, true}, {{"a Equal x NoSchedule -"}, {"a Exists - NoSchedule -"}, true}, {{"a Equal x NoSchedule -", "b Exists - - -"}, {"a Exists - NoSchedule -"}, false},
        {{"a Exists - - -"}, {"a Exists - NoSchedule -"}, false}, {{"a - x NoSchedule -"}, {"a Equal x NoSchedule -"}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct corev1_Toleration_list list = list_of(a, cases[i].list), whitelist = list_of(a, cases[i].whitelist);
        if (tolerations_allowed(&list, &whitelist) != cases[i].want) fail_msg("case %zu", i);
    }
}

int main(void) {
    if (!mkdtemp(dir)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plugins_are_upstreams), cmocka_unit_test(flags_choose), cmocka_unit_test(configurations_are_found), cmocka_unit_test(wrong_files_are_refused), cmocka_unit_test(configurations_of_plugins),
        cmocka_unit_test(tolerations_are_merged), cmocka_unit_test(tolerations_are_allowed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) != 0 ? 1 : failed;
}
