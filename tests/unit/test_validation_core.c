/* What is wrong with Nodes, Namespaces, Endpoints, Events, ConfigMaps and Secrets, in upstream's words and order. */
#include "api/validation/core.h"
#include "validation_testing.h"

#define NODE(spec, status) "{'metadata':{'name':'n'},'spec':{" spec "},'status':{" status "}}"
#define ENDPOINTS(subsets) "{'metadata':{'name':'e','namespace':'n'},'subsets':[" subsets "]}"
#define NAMESPACE(rest) "{'metadata':{'name':'n'" rest "}"
#define EVENT(rest) "{'metadata':{'name':'e','namespace':'n'}" rest "}"
#define NEW_EVENT(rest) "{'metadata':{'name':'e','namespace':'n'},'involvedObject':{'kind':'Pod','name':'p','namespace':'n'},'eventTime':'2024-01-01T00:00:00.000001Z','reportingComponent':'a.b/c','reportingInstance':'i','action':'A','reason':'R','type':'Normal'" rest "}"
#define SECRET(rest) "{'metadata':{'name':'s','namespace':'n'}" rest "}"

static void nodes(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {NODE("'podCIDR':'10.1.0.0/24'", "'capacity':{'cpu':'4'}"), ""},
        {NODE("'taints':[{'key':'a','effect':'Odd'},{'key':'','value':'b c'},{'key':'k','effect':'NoSchedule'},{'key':'k','effect':'NoSchedule','value':'x'}]", ""), "metadata.taints[0].effect: Unsupported value: \"Odd\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\" | metadata.taints[1].key: Invalid value: \"\": name part must be non-empty | metadata.taints[1].key: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | metadata.taints[1].value: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?') | metadata.taints[1].effect: Required value | metadata.taints[3]: Duplicate value: {\"Key\":\"k\",\"Value\":\"x\",\"Effect\":\"NoSchedule\",\"TimeAdded\":null}: taints must be unique by key and effect pair"},
        {NODE("'podCIDRs':['10.1.0.0/24','10.2.0.0/24']", ""), "spec.podCIDRs: Invalid value: [\"10.1.0.0/24\",\"10.2.0.0/24\"]: may specify no more than one CIDR for each IP family"},
        {NODE("'podCIDRs':['10.1.0.0/24','fd00::/64']", ""), ""},
        {NODE("'podCIDRs':['x']", ""), "spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"},
        {NODE("", "'capacity':{'cpu':'-1','pods':'1.5'},'allocatable':{'memory':'-5'}"), "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0 | status.capacity.pods: Invalid value: \"1500m\": must be an integer | status.allocatable.memory: Invalid value: \"-5\": must be greater than or equal to 0"},
        {NODE("", "'declaredFeatures':['B','A','A','bad name']"), "status.declaredFeatures[1]: Invalid value: \"A\": list must be sorted alphabetically | status.declaredFeatures[2]: Duplicate value: \"A\" | status.declaredFeatures[3]: Invalid value: \"bad name\": invalid feature name \"bad name\": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"},
    };
    CHECK_CREATIONS(corev1_Node_desc, validate_node, cases);
}

static void nodes_change(void **state UNUSED) {
    static const struct update_case cases[] = {
        {NODE("", ""), NODE("'podCIDR':'10.1.0.0/24','providerID':'p','unschedulable':true", ""), ""},
        {NODE("'podCIDR':'10.1.0.0/24','providerID':'p'", ""), NODE("'podCIDR':'10.2.0.0/24','providerID':'q','externalID':'e'", ""), "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid | spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid | spec.externalID: Forbidden: may not be updated"},
        {NODE("", ""), NODE("'taints':[{'key':'a'}]", ""), "metadata.taints[0].effect: Required value | metadata.taints[0].effect: Required value"}, /* both of upstream's functions look at taints */
        {NODE("", ""), NODE("", "'addresses':[{'type':'Hostname','address':'a'},{'type':'Hostname','address':'a'}]"), "status.addresses[1]: Duplicate value: {\"Type\":\"Hostname\",\"Address\":\"a\"}"},
    };
    CHECK_UPDATES(corev1_Node_desc, validate_node_update, cases);
}

static void namespaces(void **state UNUSED) {
    static const struct update_case status[] = {
        {NAMESPACE("}"), NAMESPACE("},'status':{'phase':'Terminating'}"), "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"},
        {NAMESPACE("}"), NAMESPACE(",'deletionTimestamp':'2024-01-01T00:00:00Z'},'status':{'phase':'Active'}"), "status.Phase: Invalid value: \"Active\": may only be 'Terminating' if `deletionTimestamp` is not empty"},
    };
    static const struct update_case finalize[] = {
        {NAMESPACE("}"), NAMESPACE("},'spec':{'finalizers':['kubernetes','a.b/c']}"), ""},
        {NAMESPACE("}"), NAMESPACE("},'spec':{'finalizers':['mine','a b/c']}"), "spec.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified | spec.finalizers[1]: Invalid value: \"a b/c\": prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
    };
    CHECK_UPDATES(corev1_Namespace_desc, validate_namespace_status_update, status);
    CHECK_UPDATES(corev1_Namespace_desc, validate_namespace_finalize_update, finalize);
}

static void endpoints(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {ENDPOINTS("{'addresses':[{'ip':'10.0.0.1'}],'ports':[{'port':1}]}"), ""},
        {ENDPOINTS("{'ports':[{'port':0}]}"), "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses` | subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"},
        {ENDPOINTS("{'addresses':[{'ip':'010.0.0.1'},{'ip':'::1'},{'ip':'10.0.0.1','nodeName':'A_'}]}"), "subsets[0].addresses[0].ip: Invalid value: \"010.0.0.1\": must not have leading 0s | subsets[0].addresses[1].ip: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128) | subsets[0].addresses[2].nodeName: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
        {ENDPOINTS("{'addresses':[{'ip':'10.0.0.1'}],'ports':[{'port':1},{'name':'x','port':70000,'protocol':'X','appProtocol':'/'}]}"), "subsets[0].ports[0].name: Required value | subsets[0].ports[1].port: Invalid value: 70000: must be between 1 and 65535, inclusive | subsets[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\" | subsets[0].ports[1].appProtocol: Invalid value: \"/\": prefix part must be non-empty | subsets[0].ports[1].appProtocol: Invalid value: \"/\": name part must be non-empty | subsets[0].ports[1].appProtocol: Invalid value: \"/\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
    };
    static const struct update_case as_before[] = {{ENDPOINTS("{'addresses':[{'ip':'127.0.0.1'}]}"), ENDPOINTS("{'addresses':[{'ip':'127.0.0.1'}]}"), ""}};
    CHECK_CREATIONS(corev1_Endpoints_desc, validate_endpoints, cases);
    CHECK_UPDATES(corev1_Endpoints_desc, validate_endpoints_update, as_before);
}

static void events(void **state UNUSED) {
    static const struct validation_case core[] = {
        {EVENT(",'involvedObject':{'namespace':'n'}"), ""},
        {EVENT(""), "involvedObject.namespace: Invalid value: \"\": does not match event.namespace"},
        {EVENT(",'involvedObject':{'namespace':'n'},'eventTime':'2024-01-01T00:00:00.000000Z'"), "reportingComponent: Required value | reportingComponent: Invalid value: \"\": name part must be non-empty | reportingComponent: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | reportingInstance: Required value | action: Required value | reason: Required value"},
        {NEW_EVENT(",'source':{'component':'x'},'count':3"), ""},
    };
    static const struct validation_case strict[] = {
        {NEW_EVENT(""), ""},
        {NEW_EVENT(",'source':{'component':'x'},'count':3,'firstTimestamp':'2024-01-01T00:00:00Z','series':{'count':1}"), "series.count: Invalid value: \"\": should be at least 2 | series.lastObservedTime: Required value | firstTimestamp: Invalid value: \"\": needs to be unset | count: Invalid value: \"\": needs to be unset | source: Invalid value: \"\": needs to be unset"},
        {EVENT(",'involvedObject':{'namespace':'n'},'type':'Odd'"), "eventTime: Required value | type: Invalid value: \"\": has invalid value: Odd"},
    };
    static const struct update_case changes[] = {
        {NEW_EVENT(""), NEW_EVENT(",'series':{'count':2,'lastObservedTime':'2024-01-01T00:00:00.000000Z'}"), ""},
        {NEW_EVENT(""), NEW_EVENT(",'message':'m','count':2,'related':{'kind':'x'}"), "message: Invalid value: \"m\": field is immutable | count: Invalid value: 2: field is immutable | related: Invalid value: {\"Kind\":\"x\",\"Namespace\":\"\",\"Name\":\"\",\"UID\":\"\",\"APIVersion\":\"\",\"ResourceVersion\":\"\",\"FieldPath\":\"\"}: field is immutable"},
    };
    CHECK_CREATIONS(corev1_Event_desc, validate_event, core);
    CHECK_CREATIONS(corev1_Event_desc, validate_events_event, strict);
    CHECK_UPDATES(corev1_Event_desc, validate_events_event_update, changes);
}

static void secrets(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {SECRET(",'data':{'a':'eA=='}"), ""},
        {SECRET(",'data':{'a b':'eA=='}"), "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"},
        {SECRET(",'type':'kubernetes.io/tls','data':{'tls.crt':'eA=='}"), "data[tls.key]: Required value"},
        {SECRET(",'type':'kubernetes.io/basic-auth'"), "data[username]: Required value | data[password]: Required value"},
        {SECRET(",'type':'kubernetes.io/ssh-auth','data':{'ssh-privatekey':''}"), "data[ssh-privatekey]: Required value"},
        {SECRET(",'type':'kubernetes.io/service-account-token'"), "metadata.annotations[kubernetes.io/service-account.name]: Required value"},
        {SECRET(",'type':'kubernetes.io/dockerconfigjson','data':{'.dockerconfigjson':''}"), "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input"},
        {SECRET(",'type':'kubernetes.io/dockercfg','data':{'.dockercfg':'W10='}"), "data[.dockercfg]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array into Go value of type map[string]interface {}"},
        {SECRET(",'type':'kubernetes.io/dockercfg','data':{'.dockercfg':'e30='}"), ""},
    };
    static const struct update_case changes[] = {
        {SECRET(",'data':{'a':'eA=='},'immutable':true"), SECRET(",'data':{'a':'eQ=='}"), "immutable: Forbidden: field is immutable when `immutable` is set | data: Forbidden: field is immutable when `immutable` is set"},
        {SECRET(""), SECRET(",'type':'a/b'"), "type: Invalid value: \"a/b\": field is immutable"},
    };
    CHECK_CREATIONS(corev1_Secret_desc, validate_secret, cases);
    CHECK_UPDATES(corev1_Secret_desc, validate_secret_update, changes);
}

static void config_maps(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {"{'metadata':{'name':'c'},'data':{'a':'b','..':'x'}}", "data[..]: Invalid value: \"..\": must not be '..'"},
        {"{'metadata':{'name':'c'},'data':{'a':'b'},'binaryData':{'a':'eA=='}}", "data[a]: Invalid value: \"a\": duplicate of key present in binaryData"},
    };
    CHECK_CREATIONS(corev1_ConfigMap_desc, validate_configmap, cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nodes), cmocka_unit_test(nodes_change), cmocka_unit_test(namespaces), cmocka_unit_test(endpoints), cmocka_unit_test(events), cmocka_unit_test(secrets), cmocka_unit_test(config_maps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
