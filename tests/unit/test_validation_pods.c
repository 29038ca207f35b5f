/* What is wrong with Pods, in upstream's words and order. */
#include "api/image_reference.h"
#include "api/validation/core.h"
#include "validation_testing.h"

#define POD(spec) "{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'c','image':'i'}]" spec "}}"
#define CONTAINER(rest) "{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'c','image':'i'" rest "}]}}"
#define VOLUME(source) "{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v'," source "}]}}"

static void specs(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {POD(""), ""},
        {"{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[]}}", "spec.containers: Required value"},
        {POD(",'restartPolicy':'Odd','dnsPolicy':'Odd','terminationGracePeriodSeconds':-1"), "spec.restartPolicy: Unsupported value: \"Odd\": supported values: \"Always\", \"OnFailure\", \"Never\" | spec.dnsPolicy: Unsupported value: \"Odd\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\""},
        {POD(",'nodeSelector':{'a b':'c d'},'nodeName':'A','hostname':'H','subdomain':'S'"), "spec.nodeSelector: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | spec.nodeSelector: Invalid value: \"c d\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?') | spec.nodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*') | spec.hostname: Invalid value: \"H\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?') | spec.subdomain: Invalid value: \"S\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
        {POD(",'activeDeadlineSeconds':0,'priorityClassName':'B','serviceAccountName':'S'"), "spec.serviceAccountName: Invalid value: \"S\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*') | spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive | spec.priorityClassName: Invalid value: \"B\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
        {POD(",'dnsPolicy':'None'"), "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
        {POD(",'dnsConfig':{'nameservers':['1.1.1.1','1.1.1.2','1.1.1.3','1.1.1.4'],'searches':['_x'],'options':[{'name':''}]}"), "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]: must not have more than 3 nameservers | spec.dnsConfig.options[0]: Required value: must not be empty"},
        {POD(",'tolerations':[{'key':'a','operator':'Exists','value':'b'},{'operator':'Equal'},{'key':'c','effect':'NoSchedule','tolerationSeconds':5}]"), "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists' | spec.tolerations[1].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\" | spec.tolerations[2].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"},
        {POD(",'hostAliases':[{'ip':'x','hostnames':['A']}]"), "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff) | spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
        {POD(",'readinessGates':[{'conditionType':'a b'}],'schedulingGates':[{'name':'a'},{'name':'a'}]"), "spec.readinessGates[0].conditionType: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | spec.schedulingGates[1]: Duplicate value: \"a\""},
        {POD(",'topologySpreadConstraints':[{'maxSkew':0,'topologyKey':'','whenUnsatisfiable':'Odd'}]"), "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero | spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty | spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Odd\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\""},
        {POD(",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[]}}}"), "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term"},
        {POD(",'ephemeralContainers':[{'name':'e','image':'i'}]"), "spec.ephemeralContainers: Forbidden: cannot be set on create"},
        {POD(",'os':{'name':'plan9'}"), "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""},
        {POD(",'overhead':{'cpu':'-1'}"), "spec.overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"},
    };
    CHECK_CREATIONS(corev1_Pod_desc, validate_pod, cases);
}

static void containers(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {CONTAINER(",'ports':[{'containerPort':0},{'name':'a','containerPort':80,'protocol':'X'},{'name':'a','containerPort':81,'hostPort':70000}]"), "spec.containers[0].ports[0].containerPort: Required value | spec.containers[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\" | spec.containers[0].ports[2].name: Duplicate value: \"a\" | spec.containers[0].ports[2].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive"},
        {CONTAINER(",'env':[{'name':''},{'name':'a','value':'b','valueFrom':{'fieldRef':{'fieldPath':'spec.nope'}}},{'name':'x','valueFrom':{}}]"), "spec.containers[0].env[0].name: Required value | spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nope\": error converting fieldPath: field label not supported: spec.nope | spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty | spec.containers[0].env[2].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"},
        {CONTAINER(",'volumeMounts':[{'name':'','mountPath':''},{'name':'x','mountPath':'/a'}]"), "spec.containers[0].volumeMounts[0].name: Required value | spec.containers[0].volumeMounts[0].name: Not found: \"\" | spec.containers[0].volumeMounts[0].mountPath: Required value | spec.containers[0].volumeMounts[1].name: Not found: \"x\""},
        {CONTAINER(",'resources':{'limits':{'cpu':'1','bad name':'1'},'requests':{'cpu':'2','memory':'-1'}}"), "spec.containers[0].resources.limits[bad name]: Invalid value: \"bad name\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | spec.containers[0].resources.limits[bad name]: Invalid value: \"bad name\": must be a standard resource for containers | spec.containers[0].resources.requests[bad name]: Invalid value: \"bad name\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | spec.containers[0].resources.requests[bad name]: Invalid value: \"bad name\": must be a standard resource for containers | spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1 | spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0"},
        {CONTAINER(",'resources':{'limits':{'x.example/gpu':'1.5'}}"), "spec.containers[0].resources.limits[x.example/gpu]: Invalid value: \"1500m\": must be an integer | spec.containers[0].resources.requests[x.example/gpu]: Invalid value: \"1500m\": must be an integer"},
        {CONTAINER(",'imagePullPolicy':'Odd','terminationMessagePolicy':'Odd'"), "spec.containers[0].terminationMessagePolicy: Unsupported value: \"Odd\": supported values: \"File\", \"FallbackToLogsOnError\" | spec.containers[0].imagePullPolicy: Unsupported value: \"Odd\": supported values: \"Always\", \"IfNotPresent\", \"Never\""},
        {CONTAINER(",'livenessProbe':{'successThreshold':2,'periodSeconds':-1}"), "spec.containers[0].livenessProbe: Required value: must specify a handler type | spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0 | spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"},
        {CONTAINER(",'livenessProbe':{'httpGet':{'port':0,'scheme':'X','path':'/'},'tcpSocket':{'port':1}}"), "spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive | spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: \"X\": supported values: \"HTTP\", \"HTTPS\" | spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"},
        {CONTAINER(",'lifecycle':{'preStop':{}}"), "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"},
        {CONTAINER(",'securityContext':{'privileged':true,'allowPrivilegeEscalation':false,'runAsUser':-1,'procMount':'Odd'}"), "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive | spec.containers[0].securityContext.procMount: Unsupported value: \"Odd\": supported values: \"Default\", \"Unmasked\" | spec.containers[0].securityContext: Invalid value: {\"Capabilities\":null,\"Privileged\":true,\"SELinuxOptions\":null,\"WindowsOptions\":null,\"RunAsUser\":-1,\"RunAsGroup\":null,\"RunAsNonRoot\":null,\"ReadOnlyRootFilesystem\":null,\"AllowPrivilegeEscalation\":false,\"ProcMount\":\"Odd\",\"SeccompProfile\":null,\"AppArmorProfile\":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"},
        {CONTAINER(",'restartPolicy':'Always'"), ""},
        {CONTAINER(",'resizePolicy':[{'resourceName':'gpu','restartPolicy':'Odd'}]"), "spec.containers[0].resizePolicy: Unsupported value: \"gpu\": supported values: \"cpu\", \"memory\" | spec.containers[0].resizePolicy: Unsupported value: \"Odd\": supported values: \"NotRequired\", \"RestartContainer\""},
        {"{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'c','image':'i'},{'name':'c','image':''},{'name':'','image':'i'}],'initContainers':[{'name':'c','image':' i'}]}}", "spec.containers[1].image: Required value | spec.containers[1].name: Duplicate value: \"c\" | spec.containers[2].name: Required value | spec.initContainers[0].name: Duplicate value: \"c\" | spec.initContainers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"},
    };
    CHECK_CREATIONS(corev1_Pod_desc, validate_pod, cases);
}

static void volumes(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {VOLUME("'emptyDir':{'sizeLimit':'-1'}"), "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"},
        {VOLUME("'emptyDir':{},'hostPath':{'path':'/x'}"), "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"},
        {VOLUME("'configMap':{'name':'','items':[{'key':'','path':'../x'}],'defaultMode':1000}"), "spec.volumes[0].configMap.name: Required value | spec.volumes[0].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive | spec.volumes[0].configMap.items[0].key: Required value | spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'"},
        {VOLUME("'secret':{'secretName':''}"), "spec.volumes[0].secret.secretName: Required value"},
        {VOLUME("'projected':{'sources':[{'serviceAccountToken':{'path':'','expirationSeconds':5}}]}"), "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes | spec.volumes[0].projected.path: Required value | spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"},
        {VOLUME("'downwardAPI':{'items':[{'path':'a'}]}"), "spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"},
        {VOLUME("'persistentVolumeClaim':{'claimName':''}"), "spec.volumes[0].persistentVolumeClaim.claimName: Required value"},
        {VOLUME("'ephemeral':{}"), "spec.volumes[0].ephemeral.volumeClaimTemplate: Required value"},
        {VOLUME("'csi':{'driver':''}"), "spec.volumes[0].csi.driver: Required value"},
        {VOLUME("'hostPath':{'path':'/x','type':'Odd'}"), "spec.volumes[0].hostPath.type: Unsupported value: \"Odd\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""},
        {"{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v','emptyDir':{}},{'name':'v','emptyDir':{}},{'name':'A','emptyDir':{}}]}}", "spec.volumes[1].name: Duplicate value: \"v\" | spec.volumes[2].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
    };
    CHECK_CREATIONS(corev1_Pod_desc, validate_pod, cases);
}

static void pods_change(void **state UNUSED) {
    static const struct update_case cases[] = {
        {POD(""), CONTAINER(",'imagePullPolicy':'Always'"), ""},
        {POD(""), "{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'c','image':'other:1','imagePullPolicy':'Always'}],'activeDeadlineSeconds':5}}", ""},
        {POD(""), POD(",'hostNetwork':true"), "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"},
        {POD(",'activeDeadlineSeconds':5"), POD(",'activeDeadlineSeconds':6"), "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"},
        {POD(",'activeDeadlineSeconds':5"), POD(""), "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"},
        {POD(",'tolerations':[{'key':'a','operator':'Exists'}]"), POD(",'tolerations':[{'key':'b','operator':'Exists'}]"), "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"},
        {POD(""), "{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'c','image':'i'},{'name':'d','image':'i'}]}}", "spec.containers: Forbidden: pod updates may not add or remove containers"},
    };
    CHECK_UPDATES(corev1_Pod_desc, validate_pod_update, cases);
}

static void resize(const void *obj, const void *old, struct field_errors *errs) { validate_pod_resize(obj, old, "Burstable", "Burstable", errs); }

static void pods_resize(void **state UNUSED) {
    static const struct update_case cases[] = {
        {CONTAINER(",'resources':{'requests':{'cpu':'1'}}"), CONTAINER(",'resources':{'requests':{'cpu':'2'}}"), ""},
        {CONTAINER(",'resources':{'requests':{'cpu':'1'}}"), CONTAINER(",'resources':{'requests':{'memory':'1Mi'}}"), "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"},
        {CONTAINER(",'resources':{'requests':{'cpu':'1'}}"), CONTAINER(",'resources':{'requests':{'cpu':'1','ephemeral-storage':'1Gi'}}"), "spec: Forbidden: only cpu and memory resources are mutable"},
        {POD(""), "{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'d','image':'i'}]}}", "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"},
        {POD(""), "{'metadata':{'name':'p','namespace':'n'},'spec':{'containers':[{'name':'c','image':'i'},{'name':'d','image':'i'}]}}", "spec.containers: Forbidden: containers may not be added or removed on resize"},
        {POD(",'os':{'name':'windows'}"), POD(",'os':{'name':'windows'}"), ": Forbidden: windows pods cannot be resized"},
    };
    CHECK_UPDATES(corev1_Pod_desc, resize, cases);
}

#define STATUS(status) "{'metadata':{'name':'p','namespace':'n'},'spec':{'restartPolicy':'OnFailure','nodeName':'n1','containers':[{'name':'c','image':'i'},{'name':'d','image':'i','restartPolicy':'Never'}]},'status':{" status "}}"
#define ENDED(name, code) "{'name':'" name "','state':{'terminated':{'exitCode':" code "}}}"
#define RUNS(name) "{'name':'" name "','state':{'running':{}}}"

static void statuses(void **state UNUSED) {
    static const struct update_case cases[] = {
        {STATUS("'qosClass':'BestEffort'"), STATUS("'qosClass':'BestEffort','phase':'Running','podIPs':[{'ip':'10.1.0.1'},{'ip':'fd00::1'}],'conditions':[{'type':'Ready','status':'True'},{'type':'a.b/c','status':'True'}]"), ""},
        {STATUS("'qosClass':'BestEffort'"), STATUS("'qosClass':'Burstable'"), "status.qosClass: Invalid value: \"Burstable\": field is immutable"},
        {STATUS(""), STATUS("'conditions':[{'type':'a b','observedGeneration':-1}],'observedGeneration':-2"), "status.conditions[0].observedGeneration: Invalid value: -1: must be a non-negative integer | status.conditions[0].Type: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') | status.observedGeneration: Invalid value: -2: must be a non-negative integer"},
        {STATUS(""), STATUS("'nominatedNodeName':'A'"), "status.nominatedNodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*') | status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"},
        {STATUS(""), STATUS("'podIPs':[{'ip':'x'},{'ip':'10.0.0.1'}],'hostIP':'1.1.1.1','hostIPs':[{'ip':'1.1.1.2'}]"), "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff) | status.podIPs: Invalid value: [{\"IP\":\"x\"},{\"IP\":\"10.0.0.1\"}]: may specify no more than one IP for each IP family | status.hostIPs[0].ip: Invalid value: \"1.1.1.2\": must be equal to `hostIP`"},
        {STATUS("'podIPs':[{'ip':'010.0.0.1'}]"), STATUS("'podIPs':[{'ip':'010.0.0.1'}]"), ""}, /* what was there is let be */
        {STATUS("'containerStatuses':[" ENDED("c", "0") "," ENDED("d", "1") "]"), STATUS("'containerStatuses':[" RUNS("c") "," RUNS("d") "]"), "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state | status.containerStatuses[1].state: Forbidden: may not be transitioned to non-terminated state"},
        {STATUS("'containerStatuses':[" ENDED("c", "1") "]"), STATUS("'containerStatuses':[" RUNS("c") "]"), ""},
        {STATUS(""), STATUS("'resourceClaimStatuses':[{'name':'x'},{'name':'x','resourceClaimName':'A'}]"), "status.resourceClaimStatuses[0].name: Invalid value: \"x\": must match the name of an entry in `spec.resourceClaims` | status.resourceClaimStatuses[1].name: Invalid value: \"x\": must match the name of an entry in `spec.resourceClaims` | status.resourceClaimStatuses[1].name: Duplicate value: \"x\" | status.resourceClaimStatuses[1].resourceClaimName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
    };
    CHECK_UPDATES(corev1_Pod_desc, validate_pod_status_update, cases);
}

static void tags(void **state UNUSED) {
    static const struct { const char *image, *tag; } cases[] = {
        {"app", "latest"}, {"app:1", "1"}, {"reg.example:5000/app", "latest"}, {"reg.example:5000/a/b:v2", "v2"}, {"localhost/app", "latest"}, {" app", ""}, {"App", ""}, {"app:", ""}, {"app:.x", ""},
        {"app@sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", ""}, {"app:latest@sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "latest"},
        {"app@sha256:a1", ""}, {"a__b/c-d.e:x", "x"}, {"a..b", ""}, {"", ""}, {"UPPER.example/app", "latest"}, {"UPPER/app", "latest"}, {"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        if (!str_eq(image_tag(a, cases[i].image), cases[i].tag)) fail_msg("\"%s\": wanted \"%s\", got \"%s\"", cases[i].image, cases[i].tag, image_tag(a, cases[i].image));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(specs), cmocka_unit_test(containers), cmocka_unit_test(volumes), cmocka_unit_test(pods_change), cmocka_unit_test(pods_resize), cmocka_unit_test(statuses), cmocka_unit_test(tags)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
