/* What is wrong with ResourceQuotas and LimitRanges, in upstream's words and order. */
#include "api/validation/core.h"
#include "validation_testing.h"

#define QUOTA(spec) "{'metadata':{'name':'q','namespace':'n'},'spec':{" spec "}}"
#define LIMITS(item) "{'metadata':{'name':'l','namespace':'n'},'spec':{'limits':[" item "]}}"

static void quotas(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {QUOTA("'hard':{'pods':'1','requests.cpu':'1','count/deployments.apps':'2','x.example.storageclass.storage.k8s.io/requests.storage':'1Gi'}"), ""},
        {QUOTA("'hard':{'pods':'1.5','cpu':'-1','odd':'1','a b':'1'}"), "spec.hard[a b]: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | spec.hard[a b]: Invalid value: \"a b\": must be a standard resource for quota | spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0 | spec.hard[odd]: Invalid value: \"odd\": must be a standard resource type or fully qualified | spec.hard[odd]: Invalid value: \"odd\": must be a standard resource for quota | spec.hard[pods]: Invalid value: \"1500m\": must be an integer"},
        {QUOTA("'hard':{'pods':'1'},'scopes':['Terminating','NotTerminating','BestEffort','Odd']"), "spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\",\"BestEffort\",\"Odd\"]: unsupported scope | spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\",\"BestEffort\",\"Odd\"]: conflicting scopes"},
        {QUOTA("'hard':{'cpu':'1'},'scopes':['BestEffort']"), "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"},
        {QUOTA("'hard':{'services':'1'},'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass','operator':'In'}]}"), "spec.scopeSelector.matchExpressions: Invalid value: {\"MatchExpressions\":[{\"ScopeName\":\"PriorityClass\",\"Operator\":\"In\",\"Values\":null}]}: unsupported scope applied to resource | spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"},
        {QUOTA("'hard':{'pods':'1'},'scopeSelector':{'matchExpressions':[{'scopeName':'BestEffort','operator':'In','values':['a']}]}"), "spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"},
    };
    static const struct update_case changes[] = {{QUOTA("'hard':{'pods':'1'},'scopes':['BestEffort']"), QUOTA("'hard':{'pods':'1'},'scopes':['NotBestEffort']"), "spec.scopes: Invalid value: [\"NotBestEffort\"]: field is immutable"}};
    CHECK_CREATIONS(corev1_ResourceQuota_desc, validate_resource_quota, cases);
    CHECK_UPDATES(corev1_ResourceQuota_desc, validate_resource_quota_update, changes);
}

static void limit_ranges(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {LIMITS("{'type':'Container','max':{'cpu':'2'},'min':{'cpu':'1'},'default':{'cpu':'1'}}"), ""},
        {LIMITS("{'type':'Container','max':{'cpu':'1'},'min':{'cpu':'2'}}"), "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1 | spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1 | spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1"},
        {LIMITS("{'type':'Pod','default':{'cpu':'1'},'defaultRequest':{'cpu':'1'}}"), "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod' | spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'"},
        {LIMITS("{'type':'PersistentVolumeClaim'}"), "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided"},
        {LIMITS("{'type':'Pod','min':{'memory':'4500Ti'},'max':{'memory':'9Pi'},'maxLimitRequestRatio':{'memory':'2100m'}}"), "spec.limits[0].maxLimitRequestRatio[memory]: Invalid value: \"2100m\": ratio 2100m is greater than max/min = 2.048000"},
        {LIMITS("{'type':'Container','default':{'cpu':'1'},'defaultRequest':{'cpu':'2'},'maxLimitRequestRatio':{'cpu':'0'}}"), "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1 | spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"0\": ratio 0 is less than 1"},
        {LIMITS("{'type':'Container'},{'type':'Container'},{'type':'a b'}"), "spec.limits[1].type: Duplicate value: \"Container\" | spec.limits[2].type: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
    };
    CHECK_CREATIONS(corev1_LimitRange_desc, validate_limit_range, cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(quotas), cmocka_unit_test(limit_ranges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
