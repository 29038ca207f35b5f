/* What is wrong with objects of storage, networking, discovery, node and resource.k8s.io, in upstream's words and order. */
#include "api/validation/core.h"
#include "api/validation/groups.h"
#include "validation_testing.h"

#define LABEL "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define SUBDOMAIN "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"

static void storage_classes(void **state UNUSED) {
#define CLASS(rest) "{'metadata':{'name':'c'},'provisioner':'p'" rest "}"
#define TERM(values) "{'matchLabelExpressions':[{'key':'zone','values':[" values "]}]}"
    static const struct validation_case cases[] = {
        {CLASS(""), ""},
        {CLASS(",'parameters':{'':'x'}"), "parameters: Invalid value: \"\": field can not be empty."},
        {CLASS(",'allowedTopologies':[" TERM("'a','b'") "," TERM("'b','a'") "," TERM("'a'") "]"), "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""},
        {CLASS(",'allowedTopologies':[{},{}]"), "allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\" | allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\" | allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\" | "
                                                "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\" | allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""},
    };
    static const struct update_case changes[] = {
        {CLASS(""), "{'metadata':{'name':'c'},'provisioner':'-p'}", "provisioner: Invalid value: \"-p\": " LABEL " | provisioner: Invalid value: \"-p\": field is immutable"},
    };
    CHECK_CREATIONS(storagev1_StorageClass_desc, validate_storageclass, cases);
    CHECK_UPDATES(storagev1_StorageClass_desc, validate_storageclass_update, changes);
}

static void drivers_and_attributes(void **state UNUSED) {
    static const struct validation_case drivers[] = {
        {"{'metadata':{'name':'d'},'spec':{'serviceAccountTokenInSecrets':false}}", "spec.serviceAccountTokenInSecrets: Invalid value: false: serviceAccountTokenInSecrets is set but no tokenRequests are specified"},
        {"{'metadata':{'name':'d'},'spec':{'tokenRequests':[{'audience':'a'},{'audience':'a','expirationSeconds':5}]}}", "spec.tokenRequests[1].audience: Duplicate value: \"a\""},
    };
    static const struct validation_case classes[] = {
        {"{'metadata':{'name':'c'},'driverName':'foo/bar','parameters':{'a':'b'}}", ""},
        {"{'metadata':{'name':'c'},'driverName':'a:b'}", "driverName: Invalid value: \"a:b\": " LABEL " | parameters: Required value: must contain at least one key/value pair"},
    };
    static const struct update_case class_changes[] = {
        {"{'driverName':'d','parameters':{'a':'b'}}", "{'parameters':{'a':'b'}}", "driverName: Forbidden: updates to driverName are forbidden. | driverName: Required value"},
    };
    CHECK_CREATIONS(storagev1_CSIDriver_desc, validate_csidriver, drivers);
    CHECK_CREATIONS(storagev1_VolumeAttributesClass_desc, validate_volumeattributesclass, classes);
    CHECK_UPDATES(storagev1_VolumeAttributesClass_desc, validate_volumeattributesclass_update, class_changes);
}

static void attachments(void **state UNUSED) {
#define ATTACHMENT(source, status) "{'metadata':{'name':'a'},'spec':{'attacher':'d','nodeName':'n','source':{" source "}}" status "}"
#define INLINE(rest) ATTACHMENT("'inlineVolumeSpec':{'accessModes':['ReadWriteOnce'],'csi':{'driver':'d','volumeHandle':'h'}" rest "}", "")
    static const struct validation_case cases[] = {
        {ATTACHMENT("'persistentVolumeName':'v'", ""), ""},
        {ATTACHMENT("'persistentVolumeName':''", ""), "spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName | spec.source.persistentVolumeName: Invalid value: \"\": " SUBDOMAIN},
        {ATTACHMENT("'persistentVolumeName':'v'", ",'status':{'attached':false,'attachError':{'errorCode':-1}}"), "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"},
        {INLINE(""), ""},
        {INLINE(",'capacity':{'storage':'1Gi'},'storageClassName':'c','volumeMode':'Block','persistentVolumeReclaimPolicy':'Delete'"),
         "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes | spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes | "
         "spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes | spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes"},
        {ATTACHMENT("'inlineVolumeSpec':{}", ""), "spec.source.inlineVolumeSpec.accessModes: Required value | spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes | spec.source.inlineVolumeSpec: Required value: must specify a volume type"},
    };
    CHECK_CREATIONS(storagev1_VolumeAttachment_desc, validate_volumeattachment, cases);
}

static void node_and_scheduling(void **state UNUSED) {
    static const struct update_case cases[] = {
        {"{'handler':'h'}", "{'handler':'h','overhead':{'podFixed':{'a':'1'}}}", "overhead.limits[a]: Invalid value: \"a\": must be a standard resource type or fully qualified | overhead.limits[a]: Invalid value: \"a\": must be a standard resource for containers"},
    };
#define TOLERATIONS(list) "{'handler':'h','scheduling':{'tolerations':[" list "]}}"
    static const struct validation_case tolerations[] = {
        {TOLERATIONS("{'key':'a','operator':'Exists','effect':'NoExecute'},{'key':'a','operator':'Exists','effect':'NoExecute','tolerationSeconds':5}"),
         "scheduling.tolerations[1]: Duplicate value: {\"Key\":\"a\",\"Operator\":\"Exists\",\"Value\":\"\",\"Effect\":\"NoExecute\",\"TolerationSeconds\":5}"},
        {TOLERATIONS("{'operator':'Equal'}"), "scheduling.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\""},
    };
    static const struct validation_case priorities[] = {
        {"{'metadata':{'name':'a'},'preemptionPolicy':''}", "preemptionPolicy: Required value"},
    };
    CHECK_UPDATES(nodev1_RuntimeClass_desc, validate_runtimeclass_update, cases);
    CHECK_CREATIONS(nodev1_RuntimeClass_desc, validate_runtimeclass, tolerations);
    CHECK_CREATIONS(schedulingv1_PriorityClass_desc, validate_priorityclass, priorities);
}

static void networking(void **state UNUSED) {
#define STATUS(ip) "{'status':{'loadBalancer':{'ingress':[{'ip':'" ip "'}]}}}"
    static const struct update_case ingresses[] = {
        {"{}", STATUS("010.0.0.1"), "status.loadBalancer.ingress[0].ip: Invalid value: \"010.0.0.1\": must not have leading 0s"},
        {STATUS("010.0.0.1"), STATUS("010.0.0.1"), ""},
    };
    static const struct validation_case classes[] = {
        {"{'spec':{'controller':'https://x.example/a?b'}}", "spec.controller: Invalid value: \"https:\": " SUBDOMAIN " | spec.controller: Invalid value: \"/x.example/a?b\": Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"},
    };
    static const struct update_case addresses[] = {
        {"{'spec':{'parentRef':{'resource':'services','name':'a'}}}", "{'spec':{'parentRef':{'resource':'services','name':'a/b'}}}",
         "spec.parentRef.name: Invalid value: \"a/b\": may not contain '/' | spec.parentRef: Invalid value: {\"Group\":\"\",\"Resource\":\"services\",\"Namespace\":\"\",\"Name\":\"a/b\"}: field is immutable"},
    };
    static const struct validation_case policies[] = {
        {"{'spec':{'podSelector':{},'ingress':[{'from':[{'ipBlock':{'cidr':'010.0.0.0/8','except':['11.0.0.0/8','010.1.0.0/16']}}]}]}}",
         "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"010.0.0.0/8\": must not have leading 0s in IP or prefix length | spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/8\": must be a strict subset of `cidr` | "
         "spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: \"010.1.0.0/16\": must not have leading 0s in IP or prefix length"},
    };
#define SLICE(type, address) "{'addressType':'" type "','endpoints':[{'addresses':['" address "']}]}"
    static const struct validation_case slices[] = {
        {SLICE("IPv4", "010.0.0.1"), "endpoints[0].addresses[0]: Invalid value: \"010.0.0.1\": must not have leading 0s"},
        {SLICE("IPv6", "FD00::1"), "endpoints[0].addresses[0]: Invalid value: \"FD00::1\": must be in canonical form (\"fd00::1\")"},
        {SLICE("FQDN", "a_b"), "endpoints[0].addresses[0]: Invalid value: \"a_b\": " SUBDOMAIN},
        {SLICE("FQDN", "ab"), "endpoints[0].addresses[0]: Invalid value: \"ab\": should be a domain with at least two segments separated by dots"},
    };
    static const struct update_case slice_changes[] = {{SLICE("IPv4", "x"), SLICE("IPv4", "x"), ""}};
    CHECK_UPDATES(networkingv1_Ingress_desc, validate_ingress_status, ingresses);
    CHECK_CREATIONS(networkingv1_NetworkPolicy_desc, validate_networkpolicy, policies);
    CHECK_CREATIONS(networkingv1_IngressClass_desc, validate_ingressclass, classes);
    CHECK_UPDATES(networkingv1_IPAddress_desc, validate_ipaddress_update, addresses);
    CHECK_CREATIONS(discoveryv1_EndpointSlice_desc, validate_endpointslice, slices);
    CHECK_UPDATES(discoveryv1_EndpointSlice_desc, validate_endpointslice_update, slice_changes);
}

static void devices(void **state UNUSED) {
#define SLICE_OF(device) "{'spec':{'driver':'d','pool':{'name':'p','resourceSliceCount':1},'nodeName':'n','devices':[{'name':'d'" device "}]}}"
#define SHARED(policy) SLICE_OF(",'allowMultipleAllocations':true,'capacity':{'m':{'value':'10','requestPolicy':{" policy "}}}")
    static const struct validation_case cases[] = {
        {SLICE_OF(",'attributes':{'a/b/c':{'int':1}}"), ""},
        {SLICE_OF(",'attributes':{'a':{'int':1,'version':'1.0.0'}}"), "spec.devices[0].attributes[a]: Invalid value: {\"IntValue\":1,\"BoolValue\":null,\"StringValue\":null,\"VersionValue\":\"1.0.0\",\"IntValues\":null,\"BoolValues\":null,\"StringValues\":null,\"VersionValues\":null}: exactly one value must be specified"},
        {SLICE_OF(",'capacity':{'m':{'value':'1','requestPolicy':{}}}"), "spec.devices[0].capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true"},
        {SHARED("'validValues':['1','2'],'default':'2'"), ""},
        {SHARED("'validValues':['1']"), "spec.devices[0].capacity[m].requestPolicy.default: Required value: required when validValues is defined"},
        {SHARED("'validValues':['20','1'],'default':'3'"), "spec.devices[0].capacity[m].requestPolicy.validValues[1]: Invalid value: \"1\": values must be sorted in ascending order | "
         "spec.devices[0].capacity[m].requestPolicy.validValues[0]: Invalid value: \"20\": option is larger than capacity value: 10 | spec.devices[0].capacity[m].requestPolicy.validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy"},
        {SHARED("'validRange':{'min':'2','max':'12','step':'3'},'default':'4'"), "spec.devices[0].capacity[m].requestPolicy.validRange.max: Invalid value: \"12\": max is larger than capacity value: 10 | "
         "spec.devices[0].capacity[m].requestPolicy.validRange.step: Invalid value: \"4\": value is not a multiple of a given step (3) from (2) | spec.devices[0].capacity[m].requestPolicy.validRange.step: Invalid value: \"12\": value is not a multiple of a given step (3) from (2)"},
    };
#define ONE_TAINT "'taints':[{'key':'k','effect':'Odd'}]"
    static const struct update_case changes[] = {{SLICE_OF("," ONE_TAINT), SLICE_OF("," ONE_TAINT ",'bindsToNode':true"), ""}};
#define TEMPLATE(meta) "{'spec':{'metadata':{" meta "},'spec':{}}}"
    static const struct validation_case templates[] = {
        {TEMPLATE("'labels':{'a':'b'}"), ""},
        {TEMPLATE("'uid':'x','resourceVersion':'1'"), "spec.metadata.uID: Forbidden: cannot be set | spec.metadata.resourceVersion: Forbidden: cannot be set"},
    };
    static const struct update_case template_changes[] = {
        {TEMPLATE(""), TEMPLATE("'labels':{'a':'c'}"), "spec: Invalid value: {\"labels\":{\"a\":\"c\"},\"Spec\":{\"Devices\":{\"Requests\":null,\"Constraints\":null,\"Config\":null}}}: field is immutable"},
    };
    CHECK_CREATIONS(resourcev1_ResourceSlice_desc, validate_resourceslice, cases);
    CHECK_UPDATES(resourcev1_ResourceSlice_desc, validate_resourceslice_update, changes);
    CHECK_CREATIONS(resourcev1_ResourceClaimTemplate_desc, validate_resourceclaimtemplate, templates);
    CHECK_UPDATES(resourcev1_ResourceClaimTemplate_desc, validate_resourceclaimtemplate_update, template_changes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(storage_classes), cmocka_unit_test(drivers_and_attributes), cmocka_unit_test(attachments), cmocka_unit_test(node_and_scheduling), cmocka_unit_test(networking), cmocka_unit_test(devices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
