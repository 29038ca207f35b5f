/* The default roles and bindings, as upstream's bootstrap policy has them (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), as facts: see policy.h for the form.
 * Written to the store at start by policy.c. Every object also carries the bootstrapping label and the autoupdate annotation. */
#include <stddef.h>
#include "apiserver/rbac/policy.h"
#include "base/macros.h"

const struct policy_role policy_roles[] = {
    {NULL, "admin", NULL, "admin",
     NULL},
    {NULL, "cluster-admin", NULL, NULL,
     "*|*|*\n"
     "*|*\n"},
    {NULL, "edit", "admin", "edit",
     NULL},
    {NULL, "system:aggregate-to-admin", "admin", NULL,
     "create|authorization.k8s.io|localsubjectaccessreviews\n"
     "create,delete,deletecollection,get,list,patch,update,watch|rbac.authorization.k8s.io|rolebindings,roles\n"},
    {NULL, "system:aggregate-to-edit", "edit", NULL,
     "get,list,watch||pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy\n"
     "impersonate||serviceaccounts\n"
     "create,delete,deletecollection,patch,update||pods,pods/attach,pods/exec,pods/portforward,pods/proxy\n"
     "create||pods/eviction\n"
     "create,delete,deletecollection,patch,update||configmaps,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,"
     "secrets,serviceaccounts,services,services/proxy\n"
     "create||serviceaccounts/token\n"
     "create,delete,deletecollection,patch,update|,events.k8s.io|events\n"
     "create,delete,deletecollection,patch,update|apps|daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,"
     "replicasets/scale,statefulsets,statefulsets/scale\n"
     "create,delete,deletecollection,patch,update|autoscaling|horizontalpodautoscalers\n"
     "create,delete,deletecollection,patch,update|batch|cronjobs,jobs\n"
     "create,delete,deletecollection,patch,update|extensions|daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,"
     "networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale\n"
     "create,delete,deletecollection,patch,update|policy|poddisruptionbudgets\n"
     "create,delete,deletecollection,patch,update|networking.k8s.io|ingresses,networkpolicies\n"
     "create,delete,deletecollection,get,list,patch,update,watch|coordination.k8s.io|leases\n"
     "create,delete,deletecollection,patch,update|resource.k8s.io|resourceclaims,resourceclaimtemplates\n"},
    {NULL, "system:aggregate-to-view", "view", NULL,
     "get,list,watch||configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,"
     "replicationcontrollers/scale,serviceaccounts,services,services/status\n"
     "get,list,watch||bindings,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status\n"
     "get,list,watch||namespaces\n"
     "get,list,watch|,events.k8s.io|events\n"
     "get,list,watch|discovery.k8s.io|endpointslices\n"
     "get,list,watch|apps|controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,"
     "replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status\n"
     "get,list,watch|autoscaling|horizontalpodautoscalers,horizontalpodautoscalers/status\n"
     "get,list,watch|batch|cronjobs,cronjobs/status,jobs,jobs/status\n"
     "get,list,watch|extensions|daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,"
     "networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale\n"
     "get,list,watch|policy|poddisruptionbudgets,poddisruptionbudgets/status\n"
     "get,list,watch|networking.k8s.io|ingresses,ingresses/status,networkpolicies\n"
     "get,list,watch|resource.k8s.io|resourceclaims,resourceclaims/status,resourceclaimtemplates\n"},
    {NULL, "system:auth-delegator", NULL, NULL,
     "create|authentication.k8s.io|tokenreviews\n"
     "create|authorization.k8s.io|subjectaccessreviews\n"},
    {NULL, "system:basic-user", NULL, NULL,
     "create|authorization.k8s.io|selfsubjectaccessreviews,selfsubjectrulesreviews\n"
     "create|authentication.k8s.io|selfsubjectreviews\n"},
    {NULL, "system:certificates.k8s.io:certificatesigningrequests:nodeclient", NULL, NULL,
     "create|certificates.k8s.io|certificatesigningrequests/nodeclient\n"},
    {NULL, "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", NULL, NULL,
     "create|certificates.k8s.io|certificatesigningrequests/selfnodeclient\n"},
    {NULL, "system:certificates.k8s.io:kube-apiserver-client-approver", NULL, NULL,
     "approve|certificates.k8s.io|signers|kubernetes.io/kube-apiserver-client\n"},
    {NULL, "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", NULL, NULL,
     "approve|certificates.k8s.io|signers|kubernetes.io/kube-apiserver-client-kubelet\n"},
    {NULL, "system:certificates.k8s.io:kubelet-serving-approver", NULL, NULL,
     "approve|certificates.k8s.io|signers|kubernetes.io/kubelet-serving\n"},
    {NULL, "system:certificates.k8s.io:legacy-unknown-approver", NULL, NULL,
     "approve|certificates.k8s.io|signers|kubernetes.io/legacy-unknown\n"},
    {NULL, "system:discovery", NULL, NULL,
     "get|/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/\n"},
    {NULL, "system:heapster", NULL, NULL,
     "get,list,watch||events,namespaces,nodes,pods\n"
     "get,list,watch|extensions|deployments\n"},
    {NULL, "system:kube-aggregator", NULL, NULL,
     "get,list,watch||endpoints,services\n"},
    {NULL, "system:kube-controller-manager", NULL, NULL,
     "create,patch,update|,events.k8s.io|events\n"
     "create|coordination.k8s.io|leases\n"
     "get,update|coordination.k8s.io|leases|kube-controller-manager\n"
     "create||secrets,serviceaccounts\n"
     "delete||secrets\n"
     "get||configmaps,namespaces,secrets,serviceaccounts\n"
     "update||secrets,serviceaccounts\n"
     "create|authentication.k8s.io|tokenreviews\n"
     "create|authorization.k8s.io|subjectaccessreviews\n"
     "list,watch|*|*\n"
     "create||serviceaccounts/token\n"},
    {NULL, "system:kube-dns", NULL, NULL,
     "list,watch||endpoints,services\n"},
    {NULL, "system:kube-scheduler", NULL, NULL,
     "create,patch,update|,events.k8s.io|events\n"
     "create|coordination.k8s.io|leases\n"
     "get,list,update,watch|coordination.k8s.io|leases|kube-scheduler\n"
     "create,delete,deletecollection,get,list,patch,update,watch|coordination.k8s.io|leasecandidates\n"
     "get,list,watch||nodes\n"
     "delete,get,list,watch||pods\n"
     "create||bindings,pods/binding\n"
     "patch,update||pods/status\n"
     "get,list,watch||replicationcontrollers,services\n"
     "get,list,watch|apps,extensions|replicasets\n"
     "get,list,watch|apps|statefulsets\n"
     "get,list,watch|policy|poddisruptionbudgets\n"
     "get,list,watch||persistentvolumeclaims,persistentvolumes\n"
     "create|authentication.k8s.io|tokenreviews\n"
     "create|authorization.k8s.io|subjectaccessreviews\n"
     "get,list,watch|storage.k8s.io|csinodes\n"
     "get,list,watch|storage.k8s.io|volumeattachments\n"
     "get,list,watch||namespaces\n"
     "get,list,watch|storage.k8s.io|csidrivers\n"
     "get,list,watch|storage.k8s.io|csistoragecapacities\n"
     "get,list,watch|resource.k8s.io|deviceclasses\n"
     "get,list,patch,update,watch|resource.k8s.io|resourceclaims\n"
     "get,list,patch,update,watch|resource.k8s.io|resourceclaims/status\n"
     "update||pods/finalizers\n"
     "get,list,watch|resource.k8s.io|resourceslices\n"
     "create,delete|resource.k8s.io|resourceclaims\n"
     "patch,update|resource.k8s.io|resourceclaims/binding\n"},
    {NULL, "system:kubelet-api-admin", NULL, NULL,
     "get,list,watch||nodes\n"
     "proxy||nodes\n"
     "*||nodes/log,nodes/metrics,nodes/proxy,nodes/stats\n"
     "*||nodes/configz,nodes/healthz,nodes/pods\n"},
    {NULL, "system:monitoring", NULL, NULL,
     "get|/flagz,/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*,/statusz\n"
     "get||nodes/metrics\n"},
    {NULL, "system:node", NULL, NULL,
     "create|authentication.k8s.io|tokenreviews\n"
     "create|authorization.k8s.io|localsubjectaccessreviews,subjectaccessreviews\n"
     "get,list,watch||services\n"
     "create,get,list,watch||nodes\n"
     "patch,update||nodes/status\n"
     "patch,update||nodes\n"
     "create,patch,update|,events.k8s.io|events\n"
     "get,list,watch||pods\n"
     "create,delete||pods\n"
     "patch,update||pods/status\n"
     "create||pods/eviction\n"
     "get,list,watch||configmaps,secrets\n"
     "get||persistentvolumeclaims,persistentvolumes\n"
     "get||endpoints\n"
     "create,get,list,watch|certificates.k8s.io|certificatesigningrequests\n"
     "create,delete,get,patch,update|coordination.k8s.io|leases\n"
     "get|storage.k8s.io|volumeattachments\n"
     "create||serviceaccounts/token\n"
     "get,patch,update||persistentvolumeclaims/status\n"
     "get,list,watch|storage.k8s.io|csidrivers\n"
     "create,delete,get,patch,update|storage.k8s.io|csinodes\n"
     "get,list,watch|node.k8s.io|runtimeclasses\n"
     "get|resource.k8s.io|resourceclaims\n"
     "deletecollection|resource.k8s.io|resourceslices\n"
     "get||serviceaccounts\n"},
    {NULL, "system:node-bootstrapper", NULL, NULL,
     "create,get,list,watch|certificates.k8s.io|certificatesigningrequests\n"},
    {NULL, "system:node-problem-detector", NULL, NULL,
     "get||nodes\n"
     "patch||nodes/status\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:node-proxier", NULL, NULL,
     "list,watch||endpoints,services\n"
     "get,list,watch||nodes\n"
     "create,patch,update|,events.k8s.io|events\n"
     "list,watch|networking.k8s.io|servicecidrs\n"
     "list,watch|discovery.k8s.io|endpointslices\n"},
    {NULL, "system:persistent-volume-provisioner", NULL, NULL,
     "create,delete,get,list,watch||persistentvolumes\n"
     "get,list,update,watch||persistentvolumeclaims\n"
     "get,list,watch|storage.k8s.io|storageclasses\n"
     "watch||events\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:public-info-viewer", NULL, NULL,
     "get|/healthz,/livez,/readyz,/version,/version/\n"},
    {NULL, "system:service-account-issuer-discovery", NULL, NULL,
     "get|/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/\n"},
    {NULL, "system:volume-scheduler", NULL, NULL,
     "get,list,patch,update,watch||persistentvolumes\n"
     "get,list,watch|storage.k8s.io|storageclasses\n"
     "get,list,patch,update,watch||persistentvolumeclaims\n"},
    {NULL, "view", "edit", "view",
     NULL},
    {NULL, "system:controller:attachdetach-controller", NULL, NULL,
     "list,watch||persistentvolumeclaims,persistentvolumes\n"
     "get,list,watch||nodes\n"
     "patch,update||nodes/status\n"
     "list,watch||pods\n"
     "create,patch,update|,events.k8s.io|events\n"
     "create,delete,get,list,watch|storage.k8s.io|volumeattachments\n"
     "get,list,watch|storage.k8s.io|csidrivers\n"
     "get,list,watch|storage.k8s.io|csinodes\n"},
    {NULL, "system:controller:certificate-controller", NULL, NULL,
     "delete,get,list,watch|certificates.k8s.io|certificatesigningrequests\n"
     "update|certificates.k8s.io|certificatesigningrequests/approval,certificatesigningrequests/status\n"
     "approve|certificates.k8s.io|signers|kubernetes.io/kube-apiserver-client-kubelet\n"
     "sign|certificates.k8s.io|signers|kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,"
     "kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown\n"
     "create|authorization.k8s.io|subjectaccessreviews\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:clusterrole-aggregation-controller", NULL, NULL,
     "escalate,get,list,patch,update,watch|rbac.authorization.k8s.io|clusterroles\n"},
    {NULL, "system:controller:cronjob-controller", NULL, NULL,
     "get,list,update,watch|batch|cronjobs\n"
     "create,delete,get,list,patch,update,watch|batch|jobs\n"
     "update|batch|cronjobs/status\n"
     "update|batch|cronjobs/finalizers\n"
     "delete,list,watch||pods\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:daemon-set-controller", NULL, NULL,
     "get,list,watch|apps,extensions|daemonsets\n"
     "update|apps,extensions|daemonsets/status\n"
     "update|apps,extensions|daemonsets/finalizers\n"
     "list,watch||nodes\n"
     "create,delete,list,patch,watch||pods\n"
     "create||pods/binding\n"
     "create,delete,get,list,patch,update,watch|apps|controllerrevisions\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:deployment-controller", NULL, NULL,
     "get,list,update,watch|apps,extensions|deployments\n"
     "update|apps,extensions|deployments/status\n"
     "update|apps,extensions|deployments/finalizers\n"
     "create,delete,get,list,patch,update,watch|apps,extensions|replicasets\n"
     "get,list,update,watch||pods\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:device-taint-eviction-controller", NULL, NULL,
     "delete,get,list,watch||pods\n"
     "patch,update||pods/status\n"
     "get,list,watch|resource.k8s.io|resourceclaims\n"
     "get,list,watch|resource.k8s.io|resourceslices\n"
     "get,list,watch|resource.k8s.io|deviceclasses\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:disruption-controller", NULL, NULL,
     "get,list,watch|apps,extensions|deployments\n"
     "get,list,watch|apps,extensions|replicasets\n"
     "get,list,watch||replicationcontrollers\n"
     "get,list,watch|policy|poddisruptionbudgets\n"
     "get,list,watch|apps|statefulsets\n"
     "update|policy|poddisruptionbudgets/status\n"
     "patch,update||pods/status\n"
     "get|*|*/scale\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:endpoint-controller", NULL, NULL,
     "get,list,watch||pods,services\n"
     "create,delete,get,list,update,watch||endpoints\n"
     "create||endpoints/restricted\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:endpointslice-controller", NULL, NULL,
     "get,list,watch||nodes,pods,services\n"
     "update||services/finalizers\n"
     "create,delete,get,list,update,watch|discovery.k8s.io|endpointslices\n"
     "create|discovery.k8s.io|endpointslices/restricted\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:endpointslicemirroring-controller", NULL, NULL,
     "get,list,watch||endpoints,services\n"
     "update||services/finalizers\n"
     "update||endpoints/finalizers\n"
     "create,delete,get,list,update,watch|discovery.k8s.io|endpointslices\n"
     "create|discovery.k8s.io|endpointslices/restricted\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:ephemeral-volume-controller", NULL, NULL,
     "get,list,watch||pods\n"
     "update||pods/finalizers\n"
     "create,get,list,watch||persistentvolumeclaims\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:expand-controller", NULL, NULL,
     "get,list,patch,update,watch||persistentvolumes\n"
     "patch,update||persistentvolumeclaims/status\n"
     "get,list,watch||persistentvolumeclaims\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:generic-garbage-collector", NULL, NULL,
     "delete,get,list,patch,update,watch|*|*\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:horizontal-pod-autoscaler", NULL, NULL,
     "get,list,watch|autoscaling|horizontalpodautoscalers\n"
     "update|autoscaling|horizontalpodautoscalers/status\n"
     "get,update|*|*/scale\n"
     "list,watch||pods\n"
     "list,watch|metrics.k8s.io|pods\n"
     "get,list,watch|custom.metrics.k8s.io|*\n"
     "get,list,watch|external.metrics.k8s.io|*\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:job-controller", NULL, NULL,
     "get,list,patch,update,watch|batch|jobs\n"
     "update|batch|jobs/status\n"
     "update|batch|jobs/finalizers\n"
     "create,delete,list,patch,watch||pods\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:legacy-service-account-token-cleaner", NULL, NULL,
     "get||configmaps|kube-apiserver-legacy-service-account-token-tracking\n"
     "delete,patch||secrets\n"},
    {NULL, "system:controller:namespace-controller", NULL, NULL,
     "delete,get,list,watch||namespaces\n"
     "update||namespaces/finalize,namespaces/status\n"
     "delete,deletecollection,get,list,watch|*|*\n"},
    {NULL, "system:controller:node-controller", NULL, NULL,
     "delete,get,list,patch,update,watch||nodes\n"
     "patch,update||nodes/status\n"
     "patch,update||pods/status\n"
     "delete,get,list,watch||pods\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:persistent-volume-binder", NULL, NULL,
     "create,delete,get,list,update,watch||persistentvolumes\n"
     "update||persistentvolumes/status\n"
     "get,list,update,watch||persistentvolumeclaims\n"
     "update||persistentvolumeclaims/status\n"
     "create,delete,get,list,watch||pods\n"
     "get,list,watch|storage.k8s.io|storageclasses\n"
     "list,watch||nodes\n"
     "create,patch,update|,events.k8s.io|events\n"
     "watch||events\n"},
    {NULL, "system:controller:pod-garbage-collector", NULL, NULL,
     "delete,list,watch||pods\n"
     "get,list,watch||nodes\n"
     "patch||pods/status\n"},
    {NULL, "system:controller:pv-protection-controller", NULL, NULL,
     "get,list,update,watch||persistentvolumes\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:pvc-protection-controller", NULL, NULL,
     "get,list,update,watch||persistentvolumeclaims\n"
     "update||persistentvolumeclaims/status\n"
     "get,list,watch||pods\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:replicaset-controller", NULL, NULL,
     "get,list,update,watch|apps,extensions|replicasets\n"
     "update|apps,extensions|replicasets/status\n"
     "update|apps,extensions|replicasets/finalizers\n"
     "create,delete,list,patch,watch||pods\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:replication-controller", NULL, NULL,
     "get,list,update,watch||replicationcontrollers\n"
     "update||replicationcontrollers/status\n"
     "update||replicationcontrollers/finalizers\n"
     "create,delete,list,patch,watch||pods\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:resource-claim-controller", NULL, NULL,
     "get,list,watch||pods\n"
     "update||pods/finalizers\n"
     "create,delete,get,list,watch|resource.k8s.io|resourceclaims\n"
     "patch,update|resource.k8s.io|resourceclaims,resourceclaims/status\n"
     "patch,update||pods/status\n"
     "create,patch,update|,events.k8s.io|events\n"
     "patch,update|resource.k8s.io|resourceclaims/binding\n"},
    {NULL, "system:controller:resourcequota-controller", NULL, NULL,
     "list,watch|*|*\n"
     "update||resourcequotas/status\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:root-ca-cert-publisher", NULL, NULL,
     "create,update||configmaps\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:route-controller", NULL, NULL,
     "list,watch||nodes\n"
     "patch||nodes/status\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:selinux-warning-controller", NULL, NULL,
     "create,patch,update|,events.k8s.io|events\n"
     "get,list,watch||persistentvolumes\n"
     "get,list,watch||persistentvolumeclaims\n"
     "get,list,watch||pods\n"
     "get,list,watch|storage.k8s.io|csidrivers\n"},
    {NULL, "system:controller:service-account-controller", NULL, NULL,
     "create||serviceaccounts\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:service-cidrs-controller", NULL, NULL,
     "get,list,patch,update,watch|networking.k8s.io|servicecidrs\n"
     "patch,update|networking.k8s.io|servicecidrs/finalizers\n"
     "patch,update|networking.k8s.io|servicecidrs/status\n"
     "get,list,watch|networking.k8s.io|ipaddresses\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:service-controller", NULL, NULL,
     "get,list,watch||services\n"
     "patch,update||services/status\n"
     "list,watch||nodes\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:statefulset-controller", NULL, NULL,
     "list,watch||pods\n"
     "get,list,watch|apps|statefulsets\n"
     "update|apps|statefulsets/status\n"
     "update|apps|statefulsets/finalizers\n"
     "create,delete,get,patch,update||pods\n"
     "create,delete,get,list,patch,update,watch|apps|controllerrevisions\n"
     "create,get,list,watch||persistentvolumeclaims\n"
     "delete,update||persistentvolumeclaims\n"
     "update||pods/finalizers\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:ttl-after-finished-controller", NULL, NULL,
     "delete,get,list,watch|batch|jobs\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:ttl-controller", NULL, NULL,
     "list,patch,update,watch||nodes\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:validatingadmissionpolicy-status-controller", NULL, NULL,
     "get,list,watch|admissionregistration.k8s.io|validatingadmissionpolicies\n"
     "get,patch,update|admissionregistration.k8s.io|validatingadmissionpolicies/status\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {NULL, "system:controller:volumeattributesclass-protection-controller", NULL, NULL,
     "get,list,watch||persistentvolumeclaims\n"
     "get,list,watch||persistentvolumes\n"
     "get,list,update,watch|storage.k8s.io|volumeattributesclasses\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {"kube-public", "system:controller:bootstrap-signer", NULL, NULL,
     "get,list,watch||configmaps\n"
     "update||configmaps|cluster-info\n"
     "create,patch,update|,events.k8s.io|events\n"},
    {"kube-system", "extension-apiserver-authentication-reader", NULL, NULL,
     "get,list,watch||configmaps|extension-apiserver-authentication\n"},
    {"kube-system", "system::leader-locking-kube-controller-manager", NULL, NULL,
     "create,get,list,update,watch|coordination.k8s.io|leases\n"
     "create,get,list,update,watch|coordination.k8s.io|leasecandidates\n"},
    {"kube-system", "system::leader-locking-kube-scheduler", NULL, NULL,
     "create,get,list,update,watch|coordination.k8s.io|leases\n"
     "create,get,list,update,watch|coordination.k8s.io|leasecandidates\n"},
    {"kube-system", "system:controller:bootstrap-signer", NULL, NULL,
     "get,list,watch||secrets\n"},
    {"kube-system", "system:controller:cloud-provider", NULL, NULL,
     "create,get,list,watch||configmaps\n"},
    {"kube-system", "system:controller:token-cleaner", NULL, NULL,
     "delete,get,list,watch||secrets\n"
     "create,patch,update|,events.k8s.io|events\n"},
};
const size_t policy_roles_len = ARRAY_LEN(policy_roles);

const struct policy_binding policy_bindings[] = {
    {NULL, "cluster-admin", "ClusterRole", NULL, "G:system:masters"},
    {NULL, "system:basic-user", "ClusterRole", NULL, "G:system:authenticated"},
    {NULL, "system:discovery", "ClusterRole", NULL, "G:system:authenticated"},
    {NULL, "system:kube-controller-manager", "ClusterRole", NULL, "U:system:kube-controller-manager"},
    {NULL, "system:kube-dns", "ClusterRole", NULL, "S:kube-system/kube-dns"},
    {NULL, "system:kube-scheduler", "ClusterRole", NULL, "U:system:kube-scheduler"},
    {NULL, "system:monitoring", "ClusterRole", NULL, "G:system:monitoring"},
    {NULL, "system:node", "ClusterRole", NULL, NULL},
    {NULL, "system:node-proxier", "ClusterRole", NULL, "U:system:kube-proxy"},
    {NULL, "system:public-info-viewer", "ClusterRole", NULL, "G:system:authenticated G:system:unauthenticated"},
    {NULL, "system:service-account-issuer-discovery", "ClusterRole", NULL, "G:system:serviceaccounts"},
    {NULL, "system:volume-scheduler", "ClusterRole", NULL, "U:system:kube-scheduler"},
    {NULL, "system:controller:attachdetach-controller", "ClusterRole", NULL, "S:kube-system/attachdetach-controller"},
    {NULL, "system:controller:certificate-controller", "ClusterRole", NULL, "S:kube-system/certificate-controller"},
    {NULL, "system:controller:clusterrole-aggregation-controller", "ClusterRole", NULL, "S:kube-system/clusterrole-aggregation-controller"},
    {NULL, "system:controller:cronjob-controller", "ClusterRole", NULL, "S:kube-system/cronjob-controller"},
    {NULL, "system:controller:daemon-set-controller", "ClusterRole", NULL, "S:kube-system/daemon-set-controller"},
    {NULL, "system:controller:deployment-controller", "ClusterRole", NULL, "S:kube-system/deployment-controller"},
    {NULL, "system:controller:device-taint-eviction-controller", "ClusterRole", NULL, "S:kube-system/device-taint-eviction-controller"},
    {NULL, "system:controller:disruption-controller", "ClusterRole", NULL, "S:kube-system/disruption-controller"},
    {NULL, "system:controller:endpoint-controller", "ClusterRole", NULL, "S:kube-system/endpoint-controller"},
    {NULL, "system:controller:endpointslice-controller", "ClusterRole", NULL, "S:kube-system/endpointslice-controller"},
    {NULL, "system:controller:endpointslicemirroring-controller", "ClusterRole", NULL, "S:kube-system/endpointslicemirroring-controller"},
    {NULL, "system:controller:ephemeral-volume-controller", "ClusterRole", NULL, "S:kube-system/ephemeral-volume-controller"},
    {NULL, "system:controller:expand-controller", "ClusterRole", NULL, "S:kube-system/expand-controller"},
    {NULL, "system:controller:generic-garbage-collector", "ClusterRole", NULL, "S:kube-system/generic-garbage-collector"},
    {NULL, "system:controller:horizontal-pod-autoscaler", "ClusterRole", NULL, "S:kube-system/horizontal-pod-autoscaler"},
    {NULL, "system:controller:job-controller", "ClusterRole", NULL, "S:kube-system/job-controller"},
    {NULL, "system:controller:legacy-service-account-token-cleaner", "ClusterRole", NULL, "S:kube-system/legacy-service-account-token-cleaner"},
    {NULL, "system:controller:namespace-controller", "ClusterRole", NULL, "S:kube-system/namespace-controller"},
    {NULL, "system:controller:node-controller", "ClusterRole", NULL, "S:kube-system/node-controller"},
    {NULL, "system:controller:persistent-volume-binder", "ClusterRole", NULL, "S:kube-system/persistent-volume-binder"},
    {NULL, "system:controller:pod-garbage-collector", "ClusterRole", NULL, "S:kube-system/pod-garbage-collector"},
    {NULL, "system:controller:pv-protection-controller", "ClusterRole", NULL, "S:kube-system/pv-protection-controller"},
    {NULL, "system:controller:pvc-protection-controller", "ClusterRole", NULL, "S:kube-system/pvc-protection-controller"},
    {NULL, "system:controller:replicaset-controller", "ClusterRole", NULL, "S:kube-system/replicaset-controller"},
    {NULL, "system:controller:replication-controller", "ClusterRole", NULL, "S:kube-system/replication-controller"},
    {NULL, "system:controller:resource-claim-controller", "ClusterRole", NULL, "S:kube-system/resource-claim-controller"},
    {NULL, "system:controller:resourcequota-controller", "ClusterRole", NULL, "S:kube-system/resourcequota-controller"},
    {NULL, "system:controller:root-ca-cert-publisher", "ClusterRole", NULL, "S:kube-system/root-ca-cert-publisher"},
    {NULL, "system:controller:route-controller", "ClusterRole", NULL, "S:kube-system/route-controller"},
    {NULL, "system:controller:selinux-warning-controller", "ClusterRole", NULL, "S:kube-system/selinux-warning-controller"},
    {NULL, "system:controller:service-account-controller", "ClusterRole", NULL, "S:kube-system/service-account-controller"},
    {NULL, "system:controller:service-cidrs-controller", "ClusterRole", NULL, "S:kube-system/service-cidrs-controller"},
    {NULL, "system:controller:service-controller", "ClusterRole", NULL, "S:kube-system/service-controller"},
    {NULL, "system:controller:statefulset-controller", "ClusterRole", NULL, "S:kube-system/statefulset-controller"},
    {NULL, "system:controller:ttl-after-finished-controller", "ClusterRole", NULL, "S:kube-system/ttl-after-finished-controller"},
    {NULL, "system:controller:ttl-controller", "ClusterRole", NULL, "S:kube-system/ttl-controller"},
    {NULL, "system:controller:validatingadmissionpolicy-status-controller", "ClusterRole", NULL, "S:kube-system/validatingadmissionpolicy-status-controller"},
    {NULL, "system:controller:volumeattributesclass-protection-controller", "ClusterRole", NULL, "S:kube-system/volumeattributesclass-protection-controller"},
    {"kube-public", "system:controller:bootstrap-signer", "Role", NULL, "S:kube-system/bootstrap-signer"},
    {"kube-system", "system::extension-apiserver-authentication-reader", "Role", "extension-apiserver-authentication-reader", "U:system:kube-controller-manager U:system:kube-scheduler"},
    {"kube-system", "system::leader-locking-kube-controller-manager", "Role", NULL, "U:system:kube-controller-manager S:kube-system/kube-controller-manager S:kube-system/leader-election-controller"},
    {"kube-system", "system::leader-locking-kube-scheduler", "Role", NULL, "U:system:kube-scheduler S:kube-system/kube-scheduler"},
    {"kube-system", "system:controller:bootstrap-signer", "Role", NULL, "S:kube-system/bootstrap-signer"},
    {"kube-system", "system:controller:cloud-provider", "Role", NULL, "S:kube-system/cloud-provider"},
    {"kube-system", "system:controller:token-cleaner", "Role", NULL, "S:kube-system/token-cleaner"},
};
const size_t policy_bindings_len = ARRAY_LEN(policy_bindings);
