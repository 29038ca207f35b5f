"""Admission plugins through kubectl: which are on, how they are configured, what they change and refuse."""
import base64, json, subprocess, time
from fixtures import NEW_KEY, JsonServer, make_ca, make_cert, openssl
from harness import Server, TOP, contains, same

PRIVILEGED = 'pod-security.kubernetes.io/'


def pod(name, *, meta=None, container=None, **spec):
    return json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, **(meta or {})},
                       'spec': {'automountServiceAccountToken': False, 'containers': [{'name': 'c', 'image': 'example.org/app:1', **(container or {})}], **spec}})


def account(s, namespace='default'):
    s.kubectl('create', 'serviceaccount', 'default', '-n', namespace, check=False)


def apply(s, text, *args, check=True):
    return s.kubectl('create', '-f', '-', *args, stdin=text, check=check)


def refused(s, text, why, *args):
    contains(apply(s, text, *args, check=False).stderr, why)


def configuration(**plugins):
    """What --admission-control-config-file takes, with each plugin's configuration within."""
    return json.dumps({'apiVersion': 'apiserver.config.k8s.io/v1', 'kind': 'AdmissionConfiguration', 'plugins': [{'name': n, 'configuration': c} for n, c in plugins.items()]})


def start(enable='', disable='', config=None, before=None, **kw):
    flags = [*(['--enable-admission-plugins', enable] if enable else []), *(['--disable-admission-plugins', disable] if disable else [])]
    def prepare(s):
        if before: before(s)
        if config is not None:
            with open(f'{s.dir}/admission.yaml', 'w') as f: f.write(config if isinstance(config, str) else config(s))
            s.flags += ['--admission-control-config-file', f'{s.dir}/admission.yaml']
    s = Server(flags=flags, prepare=prepare, **kw)
    account(s)
    return s


def test_flags_are_checked():
    for flags, want in ((['--enable-admission-plugins', 'Nope'], 'enable-admission-plugins plugin "Nope" is unknown'), (['--disable-admission-plugins', 'Nope'], 'disable-admission-plugins plugin "Nope" is unknown'),
                        (['--enable-admission-plugins', 'Priority', '--disable-admission-plugins', 'Priority'], 'overlapped')):
        for command in 'kube-apiserver', 'server':
            r = subprocess.run([str(TOP / 'build-asan/ckube'), command, '--data-dir', '/nonexistent', *flags], capture_output=True, text=True, timeout=30)
            assert r.returncode != 0, (command, flags)
            contains(r.stderr, want)


def test_pod_security_levels_modes_and_namespaces():
    s = start()
    try:
        s.kubectl('create', 'namespace', 'strict')
        account(s, 'strict')
        s.kubectl('label', 'namespace', 'strict', PRIVILEGED + 'enforce=baseline', PRIVILEGED + 'enforce-version=v1.30')
        refused(s, pod('p', container={'securityContext': {'privileged': True}}), 'pods "p" is forbidden: violates PodSecurity "baseline:v1.30": privileged (container "c" must not set securityContext.privileged=true)', '-n', 'strict')
        made = apply(s, pod('plain'), '-n', 'strict')
        same(made.stderr, '')
        # an ephemeral container is looked at; an update of labels is not
        s.kubectl('label', 'pod', 'plain', 'a=b', '-n', 'strict')
        patch = json.dumps({'spec': {'ephemeralContainers': [{'name': 'e', 'image': 'x', 'securityContext': {'capabilities': {'add': ['SYS_ADMIN']}}}]}})
        contains(s.kubectl('patch', 'pod', 'plain', '--subresource=ephemeralcontainers', '-p', patch, '-n', 'strict', check=False).stderr, 'container "e" must not include "SYS_ADMIN" in securityContext.capabilities.add')
        # templates are warned of, in their own words, and stored
        template = {'metadata': {'labels': {'a': 'b'}}, 'spec': {'hostPID': True, 'containers': [{'name': 'c', 'image': 'x'}]}}
        warned = apply(s, json.dumps({'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'd'}, 'spec': {'selector': {'matchLabels': {'a': 'b'}}, 'template': template}}), '-n', 'strict')
        contains(warned.stderr, 'would violate PodSecurity "baseline:v1.30": host namespaces (hostPID=true)')
        cron = json.dumps({'apiVersion': 'batch/v1', 'kind': 'CronJob', 'metadata': {'name': 'd'}, 'spec': {'schedule': '@hourly', 'jobTemplate': {'spec': {'template': {'spec': {**template['spec'], 'restartPolicy': 'Never'}}}}}})
        contains(apply(s, cron, '-n', 'strict').stderr, 'would violate PodSecurity "baseline:v1.30": host namespaces')
        # a stricter level tells what it would refuse; the Pods of one controller count once more behind the others
        owner = [{'apiVersion': 'apps/v1', 'kind': 'ReplicaSet', 'name': 'r', 'uid': 'u', 'controller': True}]
        for name in 'b', 'a', 'c': apply(s, pod(name, meta={'ownerReferences': owner}), '-n', 'strict')
        raised = s.kubectl('label', 'namespace', 'strict', PRIVILEGED + 'enforce=restricted', '--overwrite').stderr
        contains(raised, 'existing pods in namespace "strict" violate the new PodSecurity enforce level "restricted:v1.30"')
        contains(raised, 'a (and 3 other pods): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile')
        same(s.kubectl('label', 'namespace', 'strict', PRIVILEGED + 'enforce=baseline', '--overwrite').stderr, '', 'a weaker level says nothing')
        contains(s.kubectl('label', 'namespace', 'strict', PRIVILEGED + 'audit=none', check=False).stderr, 'must be one of privileged, baseline, restricted')
        bad = json.dumps({'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': 'bad', 'labels': {PRIVILEGED + 'enforce-version': '1.30'}}})
        refused(s, bad, f'metadata.labels[{PRIVILEGED}enforce-version]: Invalid value: "1.30": must be "latest" or "v1.x"')
    finally: s.remove()


def test_pod_security_checks_many_existing_pods():
    s = start(binary='build/ckube')
    try:
        items = [json.loads(pod(f'p{i:03}', hostIPC=i % 2 == 0)) for i in range(250)]
        apply(s, json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': items}))
        warned = s.kubectl('label', 'namespace', 'default', PRIVILEGED + 'enforce=baseline').stderr
        contains(warned, 'p000 (and 124 other pods): host namespaces')
        assert 'only checked' not in warned, warned
    finally: s.remove()


def test_pod_security_configuration_and_audit():
    config = configuration(PodSecurity={'apiVersion': 'pod-security.admission.config.k8s.io/v1', 'kind': 'PodSecurityConfiguration', 'defaults': {'enforce': 'baseline', 'audit': 'restricted', 'audit-version': 'v1.25'},
                                        'exemptions': {'usernames': ['trusted'], 'namespaces': ['kube-system'], 'runtimeClasses': ['vm']}})
    def audit(s):
        with open(f'{s.dir}/policy.yaml', 'w') as f: f.write('apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata, verbs: [create]}]\n')
        s.flags += ['--audit-policy-file', f'{s.dir}/policy.yaml', '--audit-log-path', f'{s.dir}/audit.log']
    s = start(config=config, before=audit)
    try:
        account(s, 'kube-system')
        refused(s, pod('p', hostPID=True), 'violates PodSecurity "baseline:latest": host namespaces (hostPID=true)')
        apply(s, pod('fine'))
        apply(s, pod('system', hostPID=True), '-n', 'kube-system')
        s.kubectl('create', 'clusterrolebinding', 'trusted', '--clusterrole=cluster-admin', '--user=trusted', '--user=other')
        apply(s, pod('trusted', hostPID=True), '--as=trusted')
        refused(s, pod('other', hostPID=True), 'violates PodSecurity', '--as=other')
        apply(s, json.dumps({'apiVersion': 'node.k8s.io/v1', 'kind': 'RuntimeClass', 'metadata': {'name': 'vm'}, 'handler': 'vm'}))
        apply(s, pod('vm', hostPID=True, runtimeClassName='vm'))
        contains(s.kubectl('label', 'namespace', 'kube-system', PRIVILEGED + 'enforce=restricted').stderr, 'namespace "kube-system" is exempt from Pod Security, and the policy (enforce=restricted:latest) will be ignored')
        notes = {}
        for line in open(f'{s.dir}/audit.log'):
            e = json.loads(line)
            if e.get('objectRef', {}).get('resource') == 'pods':
                name = e['requestURI'].split('/')[4] + '/' + str(e['responseStatus'].get('code')) + '/' + e.get('impersonatedUser', e['user'])['username']
                notes.setdefault(name, []).append({k[len(PRIVILEGED):]: v for k, v in e.get('annotations', {}).items() if k.startswith(PRIVILEGED)})
        contains(json.dumps(notes), '{"exempt": "namespace"}')
        contains(json.dumps(notes), '{"exempt": "user"}')
        contains(json.dumps(notes), '{"exempt": "runtimeClass"}')
        fine = [n for k in notes for n in notes[k] if n.get('enforce-policy') == 'baseline:latest' and '/201/' in k]
        contains(fine[0]['audit-violations'], 'would violate PodSecurity "restricted:v1.25": allowPrivilegeEscalation != false')
    finally: s.remove()
    s = start(disable='PodSecurity')
    try:
        s.kubectl('label', 'namespace', 'default', PRIVILEGED + 'enforce=restricted')
        apply(s, pod('p', hostPID=True))
    finally: s.remove()


def test_wrong_configurations_stop_the_server():
    for config, want in ((configuration(PodSecurity={'apiVersion': 'v1', 'kind': 'x'}), 'couldn\'t init admission plugin "PodSecurity"'), ('kind: Nonsense\napiVersion: v1', 'failed to read plugin config: no kind "Nonsense"')):
        try: start(config=config).remove()
        except RuntimeError as e: contains(str(e), want)
        else: raise AssertionError('the server has started')
    try: start(enable='ImagePolicyWebhook').remove()
    except RuntimeError as e: contains(str(e), 'no config specified')
    else: raise AssertionError('the server has started')


def test_webhooks_see_what_plugins_made_and_quota_counts_last():
    """Upstream's order: built-in plugins, then policies and webhooks, then quota."""
    s = start()
    try:
        apply(s, json.dumps({'apiVersion': 'v1', 'kind': 'LimitRange', 'metadata': {'name': 'l'}, 'spec': {'limits': [{'type': 'Container', 'defaultRequest': {'cpu': '100m'}, 'max': {'cpu': '1'}, 'default': {'cpu': '200m'}}]}}))
        rules = {'resourceRules': [{'apiGroups': [''], 'apiVersions': ['v1'], 'operations': ['CREATE'], 'resources': ['pods']}]}
        def policy(name, expression, message):
            apply(s, json.dumps({'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': 'ValidatingAdmissionPolicy', 'metadata': {'name': name}, 'spec': {'matchConstraints': rules, 'validations': [{'expression': expression, 'message': message}]}}))
            apply(s, json.dumps({'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': 'ValidatingAdmissionPolicyBinding', 'metadata': {'name': name}, 'spec': {'policyName': name, 'validationActions': ['Deny']}}))
        policy('defaulted', "object.spec.containers.all(c, c.resources.requests['cpu'] == '100m') && object.spec.priority == 0", 'not defaulted')
        policy('named', "object.metadata.name != 'denied'", 'denied by policy')
        apply(s, pod('fine'))
        # a Pod against the limits is refused by LimitRanger, not by the policy that would refuse it too
        refused(s, pod('denied', container={'resources': {'requests': {'cpu': '3'}, 'limits': {'cpu': '3'}}}), 'maximum cpu usage per Container is 1')
        # the quota is not charged for what a policy refuses
        apply(s, json.dumps({'apiVersion': 'v1', 'kind': 'ResourceQuota', 'metadata': {'name': 'q'}, 'spec': {'hard': {'pods': '5'}}}))
        s.kubectl('patch', 'resourcequota', 'q', '--subresource=status', '--type=merge', '-p', '{"status":{"hard":{"pods":"5"},"used":{"pods":"1"}}}')
        refused(s, pod('denied'), 'denied by policy')
        same(s.json('get', 'resourcequota', 'q')['status']['used'], {'pods': '1'})
    finally: s.remove()


def test_plugins_that_are_off_by_default():
    s = start(enable='AlwaysPullImages,NamespaceAutoProvision,LimitPodHardAntiAffinityTopology,ExtendedResourceToleration,DenyServiceExternalIPs,NamespaceExists')
    try:
        got = json.loads(apply(s, pod('p', container={'imagePullPolicy': 'Never', 'resources': {'requests': {'example.com/gpu': '1'}, 'limits': {'example.com/gpu': '1'}}}), '-o', 'json').stdout)
        same(got['spec']['containers'][0]['imagePullPolicy'], 'Always')
        assert {'key': 'example.com/gpu', 'operator': 'Exists', 'effect': 'NoSchedule'} in got['spec']['tolerations'], got['spec']['tolerations']
        anti = {'podAntiAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': [{'topologyKey': 'zone', 'labelSelector': {}}]}}
        refused(s, pod('anti', affinity=anti), 'affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname is allowed')
        service = {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 's'}, 'spec': {'ports': [{'port': 80}], 'externalIPs': ['192.0.2.1']}}
        refused(s, json.dumps(service), 'Use of external IPs is denied by admission control')
        s.kubectl('create', 'configmap', 'c', '-n', 'made-for-it')
        same(s.json('get', 'namespace', 'made-for-it')['status']['phase'], 'Active')
        s.kubectl('create', 'configmap', 'c', '-n', 'not-for-a-trial', '--dry-run=server', check=False)
        assert s.kubectl('get', 'namespace', 'not-for-a-trial', check=False).returncode, 'a dry run has made a namespace'
    finally: s.remove()
    s = start(enable='AlwaysDeny')
    try: contains(s.kubectl('create', 'configmap', 'c', check=False).stderr, 'configmaps "c" is forbidden: admission control is denying all modifications')
    finally: s.remove()


def test_node_selectors_and_tolerations_of_namespaces():
    restriction = {'apiVersion': 'podtolerationrestriction.admission.k8s.io/v1alpha1', 'kind': 'Configuration', 'default': [{'key': 'cluster', 'operator': 'Exists'}],
                   'whitelist': [{'key': k, 'operator': 'Exists'} for k in ('cluster', 'own', 'node.kubernetes.io/memory-pressure', 'node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable')]}
    config = configuration(PodTolerationRestriction=restriction, PodNodeSelector={'podNodeSelectorPluginConfig': {'clusterDefaultNodeSelector': 'pool=default', 'default': 'pool=default,disk=ssd'}})
    s = start(enable='PodTolerationRestriction,PodNodeSelector', config=config)
    try:
        got = json.loads(apply(s, pod('p', nodeSelector={'disk': 'ssd'}, tolerations=[{'key': 'own', 'operator': 'Exists'}]), '-o', 'json').stdout)['spec']
        same(got['nodeSelector'], {'disk': 'ssd', 'pool': 'default'})
        assert {'own', 'cluster'} <= {t.get('key') for t in got['tolerations']}, got['tolerations']
        refused(s, pod('q', nodeSelector={'pool': 'other'}), 'pod node label selector conflicts with its namespace node label selector')
        refused(s, pod('q', nodeSelector={'gpu': 'yes'}), 'pod node label selector labels conflict with its namespace whitelist')
        refused(s, pod('q', tolerations=[{'key': 'other', 'operator': 'Exists'}]), 'pod tolerations (possibly merged with namespace default tolerations) conflict with its cluster whitelist')
        s.kubectl('create', 'namespace', 'own')
        account(s, 'own')
        alpha = 'scheduler.alpha.kubernetes.io/'
        s.kubectl('annotate', 'namespace', 'own', f'{alpha}node-selector=pool=own', f'{alpha}defaultTolerations=[{{"key":"mine","operator":"Exists"}}]', f'{alpha}tolerationsWhitelist=')
        got = json.loads(apply(s, pod('p', container={'resources': {'requests': {'cpu': '1'}}}), '-n', 'own', '-o', 'json').stdout)['spec']
        same(got['nodeSelector'], {'pool': 'own'})
        assert {'mine', 'node.kubernetes.io/memory-pressure'} <= {t.get('key') for t in got['tolerations']}, got['tolerations']
    finally: s.remove()


def test_events_are_limited():
    limits = {'apiVersion': 'eventratelimit.admission.k8s.io/v1alpha1', 'kind': 'Configuration', 'limits': [{'type': 'Namespace', 'qps': 1, 'burst': 3}, {'type': 'SourceAndObject', 'qps': 1, 'burst': 50}]}
    s = start(enable='EventRateLimit', config=configuration(EventRateLimit=limits))
    try:
        event = lambda i: {'apiVersion': 'v1', 'kind': 'Event', 'metadata': {'name': f'e{i}', 'namespace': 'default'}, 'involvedObject': {'kind': 'Pod', 'name': 'p', 'namespace': 'default'}, 'reason': 'R', 'message': 'm', 'type': 'Normal'}
        began = time.time()
        out = apply(s, json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': [event(i) for i in range(40)]}), check=False)
        made, most = out.stdout.count('created'), 3 + (time.time() - began) + 1
        assert 3 <= made <= most, (made, most)
        if made < 40: contains(out.stderr, 'limit reached on type Namespace for key default')
    finally: s.remove()


def test_owners_are_guarded():
    s = start(enable='OwnerReferencesPermissionEnforcement')
    try:
        s.kubectl('create', 'role', 'edits', '--verb=get,create,update,patch', '--resource=configmaps')
        s.kubectl('create', 'rolebinding', 'edits', '--role=edits', '--user=ann')
        s.kubectl('create', 'configmap', 'owner')
        owner = {'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'owner', 'uid': s.json('get', 'configmap', 'owner')['metadata']['uid']}
        child = lambda name, **more: json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': name, 'ownerReferences': [{**owner, **more}]}})
        apply(s, child('a'), '--as=ann')
        refused(s, child('b', blockOwnerDeletion=True), "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on", '--as=ann')
        refused(s, child('b', blockOwnerDeletion=True, kind='Nope'), 'cannot find RESTMapping for APIVersion v1 Kind Nope', '--as=ann')
        contains(s.kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"metadata":{"ownerReferences":null}}', '--as=ann', check=False).stderr, "cannot set an ownerRef on a resource you can't delete")
        s.kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"metadata":{"labels":{"x":"y"}}}', '--as=ann')
        s.kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"metadata":{"ownerReferences":null}}')
    finally: s.remove()


def test_images_are_asked_about():
    reviews = []
    def answer(path, review):
        reviews.append(review)
        allowed = all('bad' not in c['image'] for c in review['spec']['containers'])
        return 200, {**review, 'status': {'allowed': allowed, 'reason': '' if allowed else 'a bad one', 'auditAnnotations': {'seen': 'yes'}}}
    hook = None
    def files(s):
        nonlocal hook
        make_ca(s.dir, 'hook-ca')
        make_cert(s.dir, 'hook', 'hook-ca', '/CN=hook', usage='serverAuth', alt_names='IP:127.0.0.1')
        hook = JsonServer(f'{s.dir}/hook.crt', f'{s.dir}/hook.key', answer)
        with open(f'{s.dir}/hook.kubeconfig', 'w') as f:
            json.dump({'apiVersion': 'v1', 'kind': 'Config', 'clusters': [{'name': 'c', 'cluster': {'server': f'https://127.0.0.1:{hook.port}/review', 'certificate-authority': f'{s.dir}/hook-ca.crt'}}], 'users': [{'name': 'u', 'user': {}}],
                       'contexts': [{'name': 'x', 'context': {'cluster': 'c', 'user': 'u'}}], 'current-context': 'x'}, f)
    s = start(enable='ImagePolicyWebhook', before=files, config=lambda s: configuration(ImagePolicyWebhook={'imagePolicy': {'kubeConfigFile': f'{s.dir}/hook.kubeconfig', 'defaultAllow': False}}))
    try:
        apply(s, pod('p', meta={'annotations': {'mine.image-policy.k8s.io/ticket': '7', 'other': 'x'}}))
        same(reviews[0]['spec'], {'containers': [{'image': 'example.org/app:1'}], 'annotations': {'mine.image-policy.k8s.io/ticket': '7'}, 'namespace': 'default'})
        refused(s, pod('q', container={'image': 'bad:1'}), 'image policy webhook backend denied one or more images: a bad one')
        count = len(reviews)
        refused(s, pod('q', container={'image': 'bad:1'}), 'a bad one')
        same(len(reviews), count, 'the answer is kept')
        hook.stop()
        refused(s, pod('r', container={'image': 'new:1'}), 'pods "r" is forbidden: Post ')
    finally:
        hook.stop()
        s.remove()


def test_pods_get_their_nodes_topology():
    s = start()
    try:
        apply(s, json.dumps({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'n', 'labels': {'topology.kubernetes.io/zone': 'z', 'topology.kubernetes.io/region': 'r', 'other': 'x'}}}))
        apply(s, pod('placed', nodeName='n'))
        apply(s, pod('bound'))
        s.kubectl('create', '--raw', '/api/v1/namespaces/default/pods/bound/binding', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'bound'}, 'target': {'kind': 'Node', 'name': 'n'}}))
        for name in 'placed', 'bound':
            same(s.json('get', 'pod', name)['metadata']['labels'], {'topology.kubernetes.io/zone': 'z', 'topology.kubernetes.io/region': 'r'})
        # only one class may be the default
        classes = lambda name: json.dumps({'apiVersion': 'scheduling.k8s.io/v1', 'kind': 'PriorityClass', 'metadata': {'name': name}, 'value': 5, 'globalDefault': True})
        apply(s, classes('first'))
        refused(s, classes('second'), 'PriorityClass first is already marked as default. Only one default can exist')
        s.kubectl('annotate', 'priorityclass', 'first', 'a=b')
    finally: s.remove()


def test_nodes_ask_for_certificates_of_their_own_pods_only():
    s = Server(flags=['--runtime-config', 'certificates.k8s.io/v1beta1=true'])
    account(s)
    try:
        for name in 'n', 'm': apply(s, json.dumps({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': name}}))
        for name, node in ('mine', 'n'), ('other', 'm'): apply(s, pod(name, nodeName=node))
        s.kubectl('create', 'clusterrole', 'pcr', '--verb=create', '--resource=podcertificaterequests.certificates.k8s.io')
        s.kubectl('create', 'clusterrolebinding', 'pcr', '--clusterrole=pcr', '--group=system:nodes')
        uid = lambda *what: s.json('get', *what)['metadata']['uid']
        stub = base64.b64encode(openssl('req', '-new', *NEW_KEY, '-keyout', '/dev/null', '-subj', '/', '-outform', 'DER')).decode()
        def ask(name, **more):
            spec = {'signerName': 'example.org/x', 'podName': name, 'podUID': uid('pod', name), 'serviceAccountName': 'default', 'serviceAccountUID': uid('serviceaccount', 'default'), 'nodeName': 'n', 'nodeUID': uid('node', 'n'), 'stubPKCS10Request': stub, **more}
            request = {'apiVersion': 'certificates.k8s.io/v1beta1', 'kind': 'PodCertificateRequest', 'metadata': {'name': 'r'}, 'spec': spec}
            return apply(s, json.dumps(request), '--as=system:node:n', '--as-group=system:nodes', '--validate=false', check=False).stderr
        contains(ask('mine', stubPKCS10Request='AAAA'), 'spec.stubPKCS10Request: Invalid value: must be a valid PKCS#10 CSR')
        contains(ask('mine', stubPKCS10Request=None), 'exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set')
        forged = bytearray(base64.b64decode(stub))
        forged[-1] ^= 1
        contains(ask('mine', stubPKCS10Request=base64.b64encode(forged).decode()), 'spec.stubPKCS10Request: Invalid value: invalid signature')
        same(ask('mine'), '')
        contains(ask('mine', nodeName='m'), 'PodCertificateRequest.Spec.NodeName="m", which is not the requesting node "n"')
        contains(ask('other'), 'pod "default/other" is not running on node "n" named in the PodCertificateRequest')
        contains(ask('mine', podUID='x'), 'which differs from running pod')
        contains(ask('mine', serviceAccountName='admin'), 'contains serviceAccountName ("admin") that differs from running pod ("default")')
        contains(ask('mine', serviceAccountUID='x'), 'names service account UID "x"')
    finally: s.remove()
