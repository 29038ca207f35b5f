/* What is wrong with Services, in upstream's words and order; addresses as the allocator fills them are given here by hand. */
#include "api/validation/core.h"
#include "validation_testing.h"

#define SERVICE(spec) "{'metadata':{'name':'s','namespace':'n'},'spec':{'clusterIP':'10.96.0.5','clusterIPs':['10.96.0.5'],'ipFamilies':['IPv4'],'ipFamilyPolicy':'SingleStack','ports':[{'port':80}]" spec "}}"
#define BARE(spec) "{'metadata':{'name':'s','namespace':'n'},'spec':{" spec "}}"
#define PORTS(ports) BARE("'clusterIP':'10.96.0.5','clusterIPs':['10.96.0.5'],'ipFamilies':['IPv4'],'ipFamilyPolicy':'SingleStack','ports':[" ports "]")

static void services(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {SERVICE(""), ""},
        {SERVICE(",'type':'Odd','sessionAffinity':'Odd'"), "spec.sessionAffinity: Unsupported value: \"Odd\": supported values: \"ClientIP\", \"None\" | spec.type: Unsupported value: \"Odd\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""},
        {SERVICE(",'type':'ExternalName'"), "spec.clusterIPs: Forbidden: may not be set for ExternalName services | spec.ipFamilies: Forbidden: may not be set for ExternalName services | spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services | spec.externalName: Required value"},
        {BARE("'type':'ExternalName','externalName':'a_b'"), "spec.externalName: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
        {PORTS(""), "spec.ports: Required value"},
        {PORTS("{'port':0},{'port':70000,'protocol':'X','name':'A'}"), "spec.ports[0].name: Required value | spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive | spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive | spec.ports[1].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?') | spec.ports[1].port: Invalid value: 70000: must be between 1 and 65535, inclusive | spec.ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\" | spec.ports[1].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive"},
        {PORTS("{'port':80,'name':'a'},{'port':80,'name':'b'},{'port':81,'name':'a'}"), "spec.ports[2].name: Duplicate value: \"a\" | spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}"},
        {PORTS("{'port':80,'nodePort':30000}"), "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"},
        {SERVICE(",'externalIPs':['127.0.0.1','x'],'loadBalancerSourceRanges':['10.0.0.0/8']"), "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128) | spec.externalIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff) | spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"},
        {"{'metadata':{'name':'s','namespace':'n','annotations':{'service.beta.kubernetes.io/load-balancer-source-ranges':' 10.0.0.0/8,, x'}},'spec':{'type':'LoadBalancer','clusterIP':'10.96.0.5','clusterIPs':['10.96.0.5'],'ports':[{'port':80}]}}",
         "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid value: \"\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64) | metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"},
        {SERVICE(",'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':0}}"), "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400"},
        {SERVICE(",'externalTrafficPolicy':'Local'"), "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"},
        {SERVICE(",'type':'LoadBalancer','healthCheckNodePort':31000,'loadBalancerClass':'a b'"), "spec.loadBalancerClass: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | spec.healthCheckNodePort: Invalid value: 31000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"},
        {SERVICE(",'internalTrafficPolicy':'Odd','trafficDistribution':'Odd'"), "spec.internalTrafficPolicy: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Local\" | spec.trafficDistribution: Unsupported value: \"Odd\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\""},
        {SERVICE(",'selector':{'a b':'c'},'publishNotReadyAddresses':true"), "spec.selector: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
    };
    CHECK_CREATIONS(corev1_Service_desc, validate_service, cases);
}

static void services_change(void **state UNUSED) {
    static const struct update_case cases[] = {
        {SERVICE(""), SERVICE(",'type':'NodePort'"), ""},
        {SERVICE(""), BARE("'clusterIP':'10.96.0.6','clusterIPs':['10.96.0.6'],'ipFamilies':['IPv4'],'ipFamilyPolicy':'SingleStack','ports':[{'port':80}]"), "spec.clusterIPs[0]: Invalid value: [\"10.96.0.6\"]: may not change once set"},
        {SERVICE(",'type':'LoadBalancer','loadBalancerClass':'a/b'"), SERVICE(",'type':'LoadBalancer','loadBalancerClass':'a/c'"), "spec.loadBalancerClass: Invalid value: \"a/c\": may not change once set"},
    };
    CHECK_UPDATES(corev1_Service_desc, validate_service_update, cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(services), cmocka_unit_test(services_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
