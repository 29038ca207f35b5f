/* The Pod Security Standards: what each check says of which Pods in which versions, and namespaces' policies by their labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "apiserver/admission/pod_security_checks.h"
#include "base/str.h"

/* ' stands for " */
static char *json(struct arena *a, const char *text) {
    char *s = arena_strdup(a, text);
    for (char *p = s; *p; p++)
        if (*p == '\'') *p = '"';
    return s;
}

static struct corev1_Pod *pod_of(struct arena *a, const char *meta, const char *spec) {
    struct corev1_Pod *pod = arena_alloc(a, sizeof(*pod));
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *text = json(a, arena_printf(a, "{'metadata':{%s},'spec':{%s}}", meta, spec));
    if (object_decode_json(a, &corev1_Pod_desc, pod, text, strlen(text), NULL, &err) != 0) fail_msg("%s: %s", text, status_message(&err));
    return pod;
}

static struct pod_security_standard standard_of(struct arena *a, const char *text) {
    const char *colon = strchr(text, ':');
    struct pod_security_standard s;
    assert_null(pod_security_parse_level(arena_strndup(a, text, (size_t)(colon - text)), &s.level));
    assert_null(pod_security_parse_version(colon + 1, &s.minor));
    assert_string_equal(pod_security_standard_string(a, &s), text);
    return s;
}

struct checked { const char *standard, *meta, *spec, *want; };

static void run_cases(const struct checked *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct corev1_Pod *pod = pod_of(a, cases[i].meta, cases[i].spec);
        struct pod_security_standard s = standard_of(a, cases[i].standard);
        struct pod_security_result r = pod_security_evaluate(a, &s, &pod->metadata, &pod->spec);
        if (!str_eq(pod_security_detail(a, &r), json(a, cases[i].want))) fail_msg("case %zu (%s): %s\nwanted %s", i, cases[i].standard, pod_security_detail(a, &r), json(a, cases[i].want));
    }
}

#define C(name, context) "{'name':'" name "','securityContext':{" context "}}"
#define CONTAINERS(...) "'containers':[" __VA_ARGS__ "]"
#define POD_CONTEXT(context) "'securityContext':{" context "}"

static void baseline_checks(void **state UNUSED) {
    static const struct checked cases[] = {
        {"baseline:latest", "", CONTAINERS("{'name':'c'}"), ""},
        {"privileged:latest", "", "'hostPID':true," CONTAINERS(C("c", "'privileged':true")), ""},
        /* host namespaces, volumes, ports */
        {"baseline:v1.0", "", "'hostNetwork':true,'hostPID':true,'hostIPC':true", "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)"},
        {"baseline:latest", "", "'hostIPC':true", "host namespaces (hostIPC=true)"},
        {"baseline:v1.7", "", "'volumes':[{'name':'a','hostPath':{'path':'/'}},{'name':'b','hostPath':{'path':'/'}},{'name':'c','emptyDir':{}}]", "hostPath volumes (volumes 'a', 'b')"},
        {"baseline:latest", "", CONTAINERS("{'name':'a','ports':[{'hostPort':0}]},{'name':'b','ports':[{'hostPort':0},{'hostPort':20}]}"), "hostPort (container 'b' uses hostPort 20)"},
        {"baseline:latest", "", "'initContainers':[{'name':'i','ports':[{'hostPort':9}]}]," CONTAINERS("{'name':'b','ports':[{'hostPort':10},{'hostPort':20}]},{'name':'c','ports':[{'hostPort':10},{'hostPort':100}]}"),
         "hostPort (containers 'i', 'b', 'c' use hostPorts 10, 100, 20, 9)"},
        /* privileged, in each kind of container */
        {"baseline:latest", "", "'initContainers':[" C("i", "'privileged':true") "],'ephemeralContainers':[" C("e", "'privileged':true") "]," CONTAINERS(C("c", "'privileged':false") "," C("d", "'privileged':true")),
         "privileged (containers 'i', 'd', 'e' must not set securityContext.privileged=true)"},
        /* capabilities */
        {"baseline:latest", "", CONTAINERS(C("a", "'capabilities':{'add':['FOO','BAR']}") "," C("b", "'capabilities':{'add':['BAR','BAZ','CHOWN']}") "," C("c", "'capabilities':{'add':['AUDIT_WRITE','CHOWN','DAC_OVERRIDE','FOWNER',"
         "'FSETID','KILL','MKNOD','NET_BIND_SERVICE','SETFCAP','SETGID','SETPCAP','SETUID','SYS_CHROOT']}")), "non-default capabilities (containers 'a', 'b' must not include 'BAR', 'BAZ', 'FOO' in securityContext.capabilities.add)"},
        {"baseline:latest", "", CONTAINERS(C("a", "'capabilities':{'add':['NET_RAW'],'drop':['ALL']}")), "non-default capabilities (container 'a' must not include 'NET_RAW' in securityContext.capabilities.add)"},
        /* AppArmor: fields and annotations */
        {"baseline:latest", "'annotations':{'container.apparmor.security.beta.kubernetes.io/test':'runtime/default','env':'prod'}", "", ""},
        {"baseline:latest", "'annotations':{'container.apparmor.security.beta.kubernetes.io/test':'localhost/x','container.apparmor.security.beta.kubernetes.io/b':''}", "", ""},
        {"baseline:latest", "", POD_CONTEXT("'appArmorProfile':{'type':'Unconfined'}"), "forbidden AppArmor profile (pod must not set AppArmor profile type to 'Unconfined')"},
        {"baseline:latest", "", POD_CONTEXT("'appArmorProfile':{'type':'RuntimeDefault'}") "," CONTAINERS(C("foo", "'appArmorProfile':{'type':'Unconfined'}") "," C("bar", "'appArmorProfile':{'type':'Localhost'}")),
         "forbidden AppArmor profile (container 'foo' must not set AppArmor profile type to 'Unconfined')"},
        {"baseline:latest", "'annotations':{'container.apparmor.security.beta.kubernetes.io/':'bogus','container.apparmor.security.beta.kubernetes.io/e':'unconfined'}",
         POD_CONTEXT("'appArmorProfile':{'type':'x'}") "," CONTAINERS(C("a", "'appArmorProfile':{'type':'Unconfined'}") "," C("b", "'appArmorProfile':{'type':''}")),
         "forbidden AppArmor profiles (pod and containers 'a', 'b' and annotations must not set AppArmor profile type to '', 'Unconfined', 'x', 'container.apparmor.security.beta.kubernetes.io/='bogus'', "
         "'container.apparmor.security.beta.kubernetes.io/e='unconfined'')"},
        {"baseline:latest", "'annotations':{'container.apparmor.security.beta.kubernetes.io/a':'unconfined'}", "",
         "forbidden AppArmor profile (annotation must not set AppArmor profile type to 'container.apparmor.security.beta.kubernetes.io/a='unconfined'')"},
        /* hosts in probes and handlers: since 1.34 */
        {"baseline:v1.33", "", CONTAINERS("{'name':'a','livenessProbe':{'httpGet':{'host':'x','port':1}}}"), ""},
        {"baseline:v1.34", "", CONTAINERS("{'name':'a','livenessProbe':{'httpGet':{'host':'x','port':1}}},{'name':'b','readinessProbe':{'httpGet':{'port':1}}}"), "probe or lifecycle host (container 'a' uses probe or lifecycle host 'x')"},
        {"baseline:latest", "", CONTAINERS("{'name':'z','readinessProbe':{'tcpSocket':{'host':'a.com','port':1}},'startupProbe':{'httpGet':{'host':'b.com','port':1}}},"
         "{'name':'a','lifecycle':{'postStart':{'httpGet':{'host':'b.com','port':1}},'preStop':{'tcpSocket':{'host':'127.0.0.1','port':1}}}}"),
         "probe or lifecycle host (containers 'a', 'z' use probe or lifecycle hosts '127.0.0.1', 'a.com', 'b.com')"},
        /* procMount: of user namespaces since 1.35 */
        {"baseline:v1.34", "", "'hostUsers':false," CONTAINERS(C("d", "'procMount':'Unmasked'") "," C("e", "'procMount':'other'") "," C("f", "'procMount':'Default'")),
         "procMount (containers 'd', 'e' must not set securityContext.procMount to 'Unmasked', 'other')"},
        {"baseline:v1.35", "", "'hostUsers':false," CONTAINERS(C("d", "'procMount':'Unmasked'")), ""},
        {"baseline:latest", "", "'hostUsers':true," CONTAINERS(C("d", "'procMount':'Unmasked'")), "procMount (container 'd' must not set securityContext.procMount to 'Unmasked')"},
        /* SELinux */
        {"baseline:latest", "", POD_CONTEXT("'seLinuxOptions':{'type':'foo','user':'bar','role':'baz','level':'s0'}"),
         "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type 'foo'; user may not be set; role may not be set)"},
        {"baseline:latest", "", POD_CONTEXT("'seLinuxOptions':{'type':'container_t','level':'s0'}") "," CONTAINERS(C("a", "'seLinuxOptions':{'type':'container_init_t'}") "," C("b", "'seLinuxOptions':{'type':'container_kvm_t'}")), ""},
        {"baseline:latest", "", POD_CONTEXT("'seLinuxOptions':{'type':'foo'}") "," CONTAINERS(C("e", "'seLinuxOptions':{'type':'bar'}") "," C("f", "'seLinuxOptions':{'user':'bar'}") "," C("g", "'seLinuxOptions':{'role':'baz'}")),
         "seLinuxOptions (pod and containers 'e', 'f', 'g' set forbidden securityContext.seLinuxOptions: types 'bar', 'foo'; user may not be set; role may not be set)"},
        {"baseline:v1.30", "", POD_CONTEXT("'seLinuxOptions':{'type':'container_engine_t'}"), "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type 'container_engine_t')"},
        {"baseline:v1.31", "", POD_CONTEXT("'seLinuxOptions':{'type':'container_engine_t'}"), ""},
        /* seccomp: annotations until 1.18, fields since */
        {"baseline:v1.18", "'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'unconfined','container.seccomp.security.alpha.kubernetes.io/a':'unconfined','container.seccomp.security.alpha.kubernetes.io/b':'unknown',"
         "'container.seccomp.security.alpha.kubernetes.io/other':'unknown'}", POD_CONTEXT("'seccompProfile':{'type':'Unconfined'}") "," CONTAINERS("{'name':'a'},{'name':'b'},{'name':'c'}"),
         "seccompProfile (forbidden annotations container.seccomp.security.alpha.kubernetes.io/a='unconfined', container.seccomp.security.alpha.kubernetes.io/b='unknown', seccomp.security.alpha.kubernetes.io/pod='unconfined')"},
        {"baseline:v1.0", "'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'docker/default','container.seccomp.security.alpha.kubernetes.io/a':'localhost/x'}", CONTAINERS("{'name':'a'}"), ""},
        {"baseline:v1.0", "'annotations':{'seccomp.security.alpha.kubernetes.io/pod':''}", "", "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod='')"},
        {"baseline:v1.19", "'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'unconfined'}", CONTAINERS("{'name':'a'}"), ""},
        {"baseline:v1.19", "", POD_CONTEXT("'seccompProfile':{'type':'Unconfined'}") "," CONTAINERS(C("a", "'seccompProfile':null") "," C("c", "'seccompProfile':{'type':'Unconfined'}") "," C("d", "'seccompProfile':{'type':'Other'}") ","
         C("e", "'seccompProfile':{'type':'Localhost'}") "," C("f", "'seccompProfile':{'type':'RuntimeDefault'}")), "seccompProfile (pod and containers 'c', 'd' must not set securityContext.seccompProfile.type to 'Other', 'Unconfined')"},
        /* sysctls, more of them safe from version to version */
        {"baseline:v1.0", "", POD_CONTEXT("'sysctls':[{'name':'b'},{'name':'a'},{'name':'kernel.shm_rmid_forced'},{'name':'net.ipv4.ip_unprivileged_port_start'},{'name':'net.ipv4.ip_local_reserved_ports'}]"),
         "forbidden sysctls (b, a, net.ipv4.ip_local_reserved_ports)"},
        {"baseline:v1.26", "", POD_CONTEXT("'sysctls':[{'name':'net.ipv4.ip_local_reserved_ports'}]"), "forbidden sysctls (net.ipv4.ip_local_reserved_ports)"},
        {"baseline:v1.27", "", POD_CONTEXT("'sysctls':[{'name':'net.ipv4.ip_local_reserved_ports'},{'name':'net.ipv4.tcp_fin_timeout'}]"), "forbidden sysctls (net.ipv4.tcp_fin_timeout)"},
        {"baseline:v1.29", "", POD_CONTEXT("'sysctls':[{'name':'net.ipv4.tcp_keepalive_time'},{'name':'net.ipv4.tcp_fin_timeout'},{'name':'net.ipv4.tcp_keepalive_intvl'},{'name':'net.ipv4.tcp_keepalive_probes'},{'name':'net.ipv4.tcp_rmem'}]"),
         "forbidden sysctls (net.ipv4.tcp_rmem)"},
        {"baseline:v1.32", "", POD_CONTEXT("'sysctls':[{'name':'net.ipv4.tcp_rmem'},{'name':'net.ipv4.tcp_wmem'}]"), ""},
        /* Windows */
        {"baseline:latest", "", POD_CONTEXT("'windowsOptions':{'hostProcess':true}") "," CONTAINERS(C("a", "'windowsOptions':{'hostProcess':false}") "," C("e", "'windowsOptions':{'hostProcess':true}") "," C("f", "'windowsOptions':{'hostProcess':true}")),
         "hostProcess (pod and containers 'e', 'f' must not set securityContext.windowsOptions.hostProcess=true)"},
        /* several: in the order of their ids */
        {"baseline:latest", "", "'hostPID':true,'volumes':[{'name':'v','hostPath':{}}]," POD_CONTEXT("'sysctls':[{'name':'a'}],'seLinuxOptions':{'user':'u'}") "," CONTAINERS(C("c", "'privileged':true,'capabilities':{'add':['X']},"
         "'seccompProfile':{'type':'Unconfined'}")), "non-default capabilities (container 'c' must not include 'X' in securityContext.capabilities.add), host namespaces (hostPID=true), hostPath volumes (volume 'v'), "
         "privileged (container 'c' must not set securityContext.privileged=true), seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: user may not be set), "
         "seccompProfile (container 'c' must not set securityContext.seccompProfile.type to 'Unconfined'), forbidden sysctls (a)"},
    };
    run_cases(cases, ARRAY_LEN(cases));
}

/* What makes a container fit for all of restricted but what a case is about. */
#define FIT "'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']},'runAsNonRoot':true,'seccompProfile':{'type':'RuntimeDefault'}"
#define ESCALATION "allowPrivilegeEscalation != false (container 'c' must set securityContext.allowPrivilegeEscalation=false)"
#define CAPABILITIES "unrestricted capabilities (container 'c' must set securityContext.capabilities.drop=['ALL'])"
#define NON_ROOT "runAsNonRoot != true (pod or container 'c' must set securityContext.runAsNonRoot=true)"
#define SECCOMP "seccompProfile (pod or container 'c' must set securityContext.seccompProfile.type to 'RuntimeDefault' or 'Localhost')"

static void restricted_checks(void **state UNUSED) {
    static const struct checked cases[] = {
        /* more from version to version */
        {"restricted:v1.0", "", CONTAINERS("{'name':'c'}"), NON_ROOT},
        {"restricted:v1.8", "", CONTAINERS("{'name':'c'}"), ESCALATION ", " NON_ROOT},
        {"restricted:v1.19", "", CONTAINERS("{'name':'c'}"), ESCALATION ", " NON_ROOT ", " SECCOMP},
        {"restricted:v1.22", "", CONTAINERS("{'name':'c'}"), ESCALATION ", " CAPABILITIES ", " NON_ROOT ", " SECCOMP},
        {"restricted:latest", "", CONTAINERS("{'name':'c'}"), ESCALATION ", " CAPABILITIES ", " NON_ROOT ", " SECCOMP},
        {"restricted:v1.99", "", CONTAINERS(C("c", FIT)), ""},
        /* Windows Pods are let off since 1.25 */
        {"restricted:v1.24", "", "'os':{'name':'windows'}," CONTAINERS("{'name':'c'}"), ESCALATION ", " CAPABILITIES ", " NON_ROOT ", " SECCOMP},
        {"restricted:v1.25", "", "'os':{'name':'windows'}," CONTAINERS("{'name':'c'}"), NON_ROOT},
        {"restricted:v1.25", "", "'os':{'name':'linux'}," CONTAINERS("{'name':'c'}"), ESCALATION ", " CAPABILITIES ", " NON_ROOT ", " SECCOMP},
        /* capabilities: the baseline's check is replaced since 1.22 */
        {"restricted:v1.21", "", CONTAINERS(C("c", "'allowPrivilegeEscalation':false,'runAsNonRoot':true,'seccompProfile':{'type':'Localhost'},'capabilities':{'add':['CHOWN','FOO']}")),
         "non-default capabilities (container 'c' must not include 'FOO' in securityContext.capabilities.add)"},
        {"restricted:v1.22", "", CONTAINERS(C("c", "'allowPrivilegeEscalation':false,'runAsNonRoot':true,'seccompProfile':{'type':'Localhost'},'capabilities':{'add':['CHOWN','FOO','NET_BIND_SERVICE']}")),
         "unrestricted capabilities (container 'c' must set securityContext.capabilities.drop=['ALL']; container 'c' must not include 'CHOWN', 'FOO' in securityContext.capabilities.add)"},
        {"restricted:latest", "", CONTAINERS(C("c", "'allowPrivilegeEscalation':false,'runAsNonRoot':true,'seccompProfile':{'type':'Localhost'},'capabilities':{'drop':['CHOWN','ALL'],'add':['NET_BIND_SERVICE']}")), ""},
        /* volumes: hostPath is told by this check alone */
        {"restricted:v1.0", "", "'volumes':[{'name':'a','hostPath':{}},{'name':'b','configMap':{}},{'name':'c','csi':{}},{'name':'d','downwardAPI':{}},{'name':'e','emptyDir':{}},{'name':'f','ephemeral':{}},{'name':'g','image':{}},"
         "{'name':'h','persistentVolumeClaim':{}},{'name':'i','projected':{}},{'name':'j','secret':{}}]", "restricted volume types (volume 'a' uses restricted volume type 'hostPath')"},
        {"restricted:latest", "", "'volumes':[{'name':'v1','gcePersistentDisk':{}},{'name':'v2','awsElasticBlockStore':{}},{'name':'v3','gitRepo':{}},{'name':'v4','nfs':{}},{'name':'v5','iscsi':{}},{'name':'v6','glusterfs':{}},"
         "{'name':'v7','rbd':{}},{'name':'v8','flexVolume':{}},{'name':'v9','cinder':{}},{'name':'v10','cephfs':{}},{'name':'v11','flocker':{}},{'name':'v12','fc':{}},{'name':'v13','azureFile':{}},{'name':'v14','vsphereVolume':{}},"
         "{'name':'v15','quobyte':{}},{'name':'v16','azureDisk':{}},{'name':'v17','portworxVolume':{}},{'name':'v18','scaleIO':{}},{'name':'v19','storageos':{}},{'name':'v20','photonPersistentDisk':{}},{'name':'v21'}]",
         "restricted volume types (volumes 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7', 'v8', 'v9', 'v10', 'v11', 'v12', 'v13', 'v14', 'v15', 'v16', 'v17', 'v18', 'v19', 'v20', 'v21' use restricted volume types 'awsElasticBlockStore', "
         "'azureDisk', 'azureFile', 'cephfs', 'cinder', 'fc', 'flexVolume', 'flocker', 'gcePersistentDisk', 'gitRepo', 'glusterfs', 'iscsi', 'nfs', 'photonPersistentDisk', 'portworxVolume', 'quobyte', 'rbd', 'scaleIO', 'storageos', "
         "'unknown', 'vsphereVolume')"},
        /* runAsNonRoot: who says no is told before who says nothing */
        {"restricted:v1.0", "", POD_CONTEXT("'runAsNonRoot':false") "," CONTAINERS("{'name':'a'}," C("b", "'runAsNonRoot':true") "," C("c", "'runAsNonRoot':false") "," C("d", "'runAsNonRoot':false")),
         "runAsNonRoot != true (pod and containers 'c', 'd' must not set securityContext.runAsNonRoot=false)"},
        {"restricted:v1.0", "", POD_CONTEXT("'runAsNonRoot':true") "," CONTAINERS("{'name':'a'}," C("c", "'runAsNonRoot':true")), ""},
        {"restricted:v1.0", "", POD_CONTEXT("'runAsNonRoot':false") "," CONTAINERS(C("c", "'runAsNonRoot':true")), "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"},
        {"restricted:v1.0", "", "'initContainers':[{'name':'a'}]," CONTAINERS("{'name':'b'}," C("c", "'runAsNonRoot':true")), "runAsNonRoot != true (pod or containers 'a', 'b' must set securityContext.runAsNonRoot=true)"},
        {"restricted:v1.34", "", "'hostUsers':false," POD_CONTEXT("'seccompProfile':{'type':'Localhost'}") "," CONTAINERS(C("c", "'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}")), NON_ROOT},
        {"restricted:v1.35", "", "'hostUsers':false," POD_CONTEXT("'seccompProfile':{'type':'Localhost'}") "," CONTAINERS(C("c", "'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}")), ""},
        /* runAsUser: since 1.23; of user namespaces since 1.35 */
        {"restricted:v1.22", "", POD_CONTEXT("'runAsUser':0") "," CONTAINERS(C("c", FIT)), ""},
        {"restricted:v1.23", "", POD_CONTEXT("'runAsUser':0") "," CONTAINERS(C("b", FIT ",'runAsUser':1000") "," C("c", FIT ",'runAsUser':0") "," C("d", FIT ",'runAsUser':0")), "runAsUser=0 (pod and containers 'c', 'd' must not set runAsUser=0)"},
        {"restricted:latest", "", CONTAINERS(C("c", FIT ",'runAsUser':0")), "runAsUser=0 (container 'c' must not set runAsUser=0)"},
        {"restricted:latest", "", "'hostUsers':false," CONTAINERS(C("c", FIT ",'runAsUser':0")), ""},
        /* seccomp: annotations count until 1.18; who is wrong is told before who says nothing */
        {"restricted:v1.18", "'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'unconfined'}", CONTAINERS(C("c", FIT)), "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod='unconfined')"},
        {"restricted:v1.19", "'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'unconfined'}", CONTAINERS(C("c", FIT)), ""},
        {"restricted:latest", "", POD_CONTEXT("'seccompProfile':{'type':'Unconfined'}") "," CONTAINERS(C("c", FIT)), "seccompProfile (pod must not set securityContext.seccompProfile.type to 'Unconfined')"},
        {"restricted:latest", "", POD_CONTEXT("'runAsNonRoot':true,'seccompProfile':{'type':'RuntimeDefault'}") "," CONTAINERS(C("c", "'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}")), ""},
        {"restricted:latest", "", POD_CONTEXT("'seccompProfile':{'type':'RuntimeDefault'}") "," CONTAINERS(C("a", FIT) "," C("c", "'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']},'runAsNonRoot':true,'seccompProfile':{'type':'x'}")),
         "seccompProfile (container 'c' must not set securityContext.seccompProfile.type to 'x')"},
        /* procMount: never, not even in a user namespace */
        {"restricted:v1.35", "", "'hostUsers':false," CONTAINERS(C("c", FIT ",'procMount':'Unmasked'")), "procMount (container 'c' must not set securityContext.procMount to 'Unmasked')"},
        {"restricted:v1.34", "", CONTAINERS(C("c", FIT ",'procMount':'Unmasked'")), "procMount (container 'c' must not set securityContext.procMount to 'Unmasked')"},
        /* the baseline's checks come first */
        {"restricted:latest", "", "'hostNetwork':true," CONTAINERS("{'name':'c'}"), "host namespaces (hostNetwork=true), " ESCALATION ", " CAPABILITIES ", " NON_ROOT ", " SECCOMP},
        /* ephemeral containers are containers */
        {"restricted:latest", "", "'ephemeralContainers':[{'name':'e'}]," CONTAINERS(C("c", FIT)), "allowPrivilegeEscalation != false (container 'e' must set securityContext.allowPrivilegeEscalation=false), "
         "unrestricted capabilities (container 'e' must set securityContext.capabilities.drop=['ALL']), runAsNonRoot != true (pod or container 'e' must set securityContext.runAsNonRoot=true), "
         "seccompProfile (pod or container 'e' must set securityContext.seccompProfile.type to 'RuntimeDefault' or 'Localhost')"},
    };
    run_cases(cases, ARRAY_LEN(cases));
}

static void reasons_are_without_details(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Pod *pod = pod_of(a, "", "'hostPID':true," CONTAINERS(C("c", "'privileged':true")));
    struct pod_security_standard s = standard_of(a, "baseline:latest");
    struct pod_security_result r = pod_security_evaluate(a, &s, &pod->metadata, &pod->spec);
    assert_string_equal(pod_security_reason(a, &r), "host namespaces, privileged");
}

static void levels_and_versions_are_read(void **state UNUSED) {
    static const struct { const char *text; int64_t minor; bool wrong; } versions[] = {{"latest", POD_SECURITY_LATEST, false}, {"v1.0", 0, false}, {"v1.22", 22, false}, {"v1.12345", 12345, false}, {"", 0, true}, {"v1.01", 0, true},
        {"v2.0", 0, true}, {"1.22", 0, true}, {"v1.", 0, true}, {"v1.-1", 0, true}, {"v1.2.3", 0, true}, {"v1.22 ", 0, true}, {"Latest", 0, true}, {"v1.99999999999999999999", 0, true}, {"v1.9223372036854775807", 0, true}};
    static const char *const levels[] = {"", "Baseline", "strict", "restricted "};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        int64_t minor;
        const char *why = pod_security_parse_version(versions[i].text, &minor);
        if ((why != NULL) != versions[i].wrong || minor != (versions[i].wrong ? POD_SECURITY_LATEST : versions[i].minor)) fail_msg("%s: %s", versions[i].text, why);
    }
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        enum pod_security_level l = POD_SECURITY_BASELINE;
        assert_string_equal(pod_security_parse_level(levels[i], &l), "must be one of privileged, baseline, restricted");
        assert_int_equal(l, POD_SECURITY_RESTRICTED);
    }
}

static void labels_make_policies(void **state UNUSED) {
#define L "'pod-security.kubernetes.io/"
    static const struct { const char *labels, *want, *errors; bool default_baseline; } cases[] = {
        {"", "privileged:latest privileged:latest privileged:latest", "", false},
        {"", "baseline:v1.20 baseline:v1.21 baseline:v1.22", "", true},
        {"'a':'b'", "privileged:latest privileged:latest privileged:latest", "", false},
        {L "enforce':'baseline'", "baseline:latest privileged:latest baseline:latest", "", false}, /* warnings follow a stricter level */
        {L "enforce':'baseline'," L "enforce-version':'v1.22'", "baseline:v1.22 privileged:latest baseline:v1.22", "", false},
        {L "enforce':'baseline'," L "enforce-version':'v1.22'," L "warn-version':'v1.5'", "baseline:v1.22 privileged:latest baseline:v1.5", "", false},
        {L "enforce':'restricted'," L "warn':'baseline'", "restricted:latest privileged:latest baseline:latest", "", false},
        {L "enforce':'restricted'," L "warn':'privileged'", "restricted:latest privileged:latest privileged:latest", "", false},
        {L "enforce':'privileged'", "privileged:v1.20 baseline:v1.21 baseline:v1.22", "", true},
        {L "enforce':'restricted'", "restricted:v1.20 baseline:v1.21 restricted:v1.20", "", true},
        {L "audit':'restricted'," L "audit-version':'v1.9'," L "warn':'baseline'", "privileged:latest restricted:v1.9 baseline:latest", "", false},
        {L "enforce':'strict'", "restricted:latest privileged:latest privileged:latest", "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: 'strict': must be one of privileged, baseline, restricted\n", false},
        {L "audit':'x'," L "warn':'y'", "privileged:latest privileged:latest privileged:latest", "metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: 'x': must be one of privileged, baseline, restricted\n"
         "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: 'y': must be one of privileged, baseline, restricted\n", false},
        {L "enforce-version':'v2.0'," L "audit-version':'1'," L "warn-version':''", "privileged:latest privileged:latest privileged:latest",
         "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: 'v2.0': must be 'latest' or 'v1.x'\n"
         "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: '1': must be 'latest' or 'v1.x'\nmetadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: '': must be 'latest' or 'v1.x'\n", false},
    };
    const struct pod_security_policy privileged = {{0, POD_SECURITY_LATEST}, {0, POD_SECURITY_LATEST}, {0, POD_SECURITY_LATEST}}, baseline = {{1, 20}, {1, 21}, {1, 22}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct corev1_Pod *pod = pod_of(a, arena_printf(a, "'labels':{%s}", cases[i].labels), "");
        struct field_errors errs = field_errors_in(a);
        struct pod_security_policy p = pod_security_policy_of(&pod->metadata.labels, cases[i].default_baseline ? &baseline : &privileged, &errs);
        const char *got = arena_printf(a, "%s %s %s", pod_security_standard_string(a, &p.enforce), pod_security_standard_string(a, &p.audit), pod_security_standard_string(a, &p.warn)), *text = "";
        for (size_t k = 0; k < errs.len; k++) text = arena_printf(a, "%s%s: %s\n", text, errs.items[k].field, errs.items[k].detail);
        if (!str_eq(got, cases[i].want) || !str_eq(text, json(a, cases[i].errors))) fail_msg("case %zu: %s; %s", i, got, text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(baseline_checks), cmocka_unit_test(restricted_checks), cmocka_unit_test(reasons_are_without_details), cmocka_unit_test(levels_and_versions_are_read), cmocka_unit_test(labels_make_policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
