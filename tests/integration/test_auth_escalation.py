"""Ways to more rights than one has, each tried with kubectl and credentials made by openssl, or with bytes that no client would send. Beside what must fail stands what must work, so that it fails for its own reason."""
import base64, json, os, shutil, subprocess, tempfile, time
from fixtures import make_cert, openssl
from harness import Server, Skip, contains, same
from raw_http import connect, post, read_answer, request, send_all

server = None
SECRET = 'not-for-anybody'
SHOWN = (SECRET.encode(), base64.b64encode(SECRET.encode()), b'apiserver_request_total')
SUBJECTS = {'eve': '/CN=eve', 'node-a': '/O=system:nodes/CN=system:node:node-a', 'node-b': '/O=system:nodes/CN=system:node:node-b', 'not-a-node': '/CN=system:node:node-a', 'no-node': '/O=system:nodes/CN=system:node:', 'maker': '/CN=maker'}
OUTSIDE = 'kube-system', 'esc'


def until(true, what):
    deadline = time.time() + 60
    while not true():
        if time.time() > deadline: raise AssertionError(f'not there after a minute: {what}')
        time.sleep(0.1)


def make(*objects, ns='esc'):
    s().kubectl('-n', ns, 'create', '--validate=false', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': list(objects)}))


def rule(verbs, resources, group='', names=()):
    return {'apiGroups': [group], 'resources': resources.split(','), 'verbs': verbs.split(','), **({'resourceNames': list(names)} if names else {})}


def grant(user, name, *rules, ns=None):
    """A role of these rules, bound to the user, in the namespace or cluster-wide."""
    kind = 'Role' if ns else 'ClusterRole'
    meta = {'name': name, **({'namespace': ns} if ns else {})}
    make({'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': kind, 'metadata': meta, 'rules': list(rules)},
         {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': kind + 'Binding', 'metadata': meta, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': kind, 'name': name},
          'subjects': [{'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'User', 'name': user}]}, ns=ns or 'default')


def pod(name, node=None, **spec):
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name}, 'spec': {**({'nodeName': node} if node else {}), 'containers': [{'name': 'c', 'image': 'i'}], **spec}}


def volume(**source):
    return [{'name': 'v', **source}]


def s():
    """A control plane with two nodes and a Pod on each, with its Secret, ConfigMap and claim; and eve, who has a namespace `esc` to look after, but not all of it."""
    global server
    if not server:
        server = Server(command='server', flags=['--disable-agent'])
        server.certs = tempfile.mkdtemp(prefix='ckube-escalation-')
        for name, subject in SUBJECTS.items(): make_cert(server.certs, name, 'client-ca', subject, ca_dir=f'{server.dir}/tls')
        server.kubectl('create', 'namespace', 'esc')
        for ns in OUTSIDE:
            server.kubectl('-n', ns, 'create', 'secret', 'generic', 'x', f'--from-literal=k={SECRET if ns == "kube-system" else "hers"}')
            until(lambda: server.kubectl('-n', ns, 'get', 'serviceaccount', 'default', check=False).returncode == 0, 'the default ServiceAccount')
        for node in 'node-a', 'node-b': run(node, 'create', '--validate=false', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': node}}))
        for at, node in ('a', 'node-a'), ('b', 'node-b'):
            claim = {'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'metadata': {'name': f'claim-{at}'}, 'spec': {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': '1Gi'}}}}
            make({'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': f'secret-{at}'}, 'stringData': {'k': 'for-one-node'}}, {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': f'config-{at}'}}, claim,
                 pod(f'pod-{at}', node, volumes=[{'name': 's', 'secret': {'secretName': f'secret-{at}'}}, {'name': 'c', 'configMap': {'name': f'config-{at}'}}, {'name': 'p', 'persistentVolumeClaim': {'claimName': f'claim-{at}'}}]))
        grant('eve', 'hers', rule('get,list,watch', 'secrets,pods,configmaps'), rule('create,update,patch,get,list,delete', 'roles,rolebindings', 'rbac.authorization.k8s.io'), ns='esc')
        grant('eve', 'rbac-writer', rule('create,update,patch,get,list', 'clusterroles,clusterrolebindings', 'rbac.authorization.k8s.io'), rule('create,get,list,watch', 'certificatesigningrequests', 'certificates.k8s.io'))
    return server


def run(name, *args, stdin=None):
    """kubectl with this certificate and nothing else."""
    return subprocess.run(['kubectl', '--kubeconfig', '/dev/null', '--server', f'https://127.0.0.1:{server.port}', '--insecure-skip-tls-verify', '--client-certificate', f'{server.certs}/{name}.crt', '--client-key', f'{server.certs}/{name}.key', *args],
                          input=stdin, capture_output=True, text=True, timeout=60, env={**os.environ, 'HOME': server.dir, 'KUBECACHEDIR': f'{server.dir}/cache-{name}'})


def may(name, *args, stdin=None):
    r = run(name, *args, stdin=stdin)
    same(r.returncode, 0, f'{name}: kubectl {" ".join(args)}: {r.stdout}{r.stderr}')
    return r.stdout


def may_not(name, *args, stdin=None, why='forbidden'):
    r = run(name, *args, stdin=stdin)
    if r.returncode == 0 or why not in r.stderr or SECRET in r.stdout: raise AssertionError(f'{name}: kubectl {" ".join(args)}: wanted a refusal with {why!r}, got {r.returncode}: {r.stdout}{r.stderr}')


def asks(name, method, path, body=None, headers=()):
    """(code, answer) of one request with this certificate."""
    kind = [('Content-Type', 'application/merge-patch+json')] if method == 'PATCH' else []
    data = b'' if body is None else json.dumps(body).encode()
    message = request(method, path, [*headers, *kind], data)
    if kind: message = message.replace(b'Content-Type: application/json\r\n', b'', 1)
    return send_all(s().port, [message], cert=f'{s().certs}/{name}', connections=1)[0]


def all_refused(name, requests, words=b'forbidden'):
    """requests: (method, path, body)."""
    for method, path, *body in requests:
        code, answer = asks(name, method, path, *body)
        if code != 403 or words not in answer.lower() or any(x in answer for x in SHOWN): raise AssertionError(f'{name}: {method} {path}: got {code} {answer[:400]}')


# ---- impersonation ----

def test_impersonation():
    s()
    for flags in ['--as', 'admin'], ['--as', 'ann', '--as-group', 'system:masters'], ['--as', 'system:node:node-a'], ['--as', 'system:serviceaccount:kube-system:default'], ['--as', 'eve', '--as-group', 'system:masters'], ['--as', 'eve', '--as-uid', '1']:
        may_not('eve', *flags, '-n', 'kube-system', 'get', 'secret', 'x', why='Forbidden')
    grant('eve', 'as-ann', rule('impersonate', 'users', names=['ann']), rule('impersonate', 'groups', names=['devs']), rule('impersonate', 'userextras/scopes', 'authentication.k8s.io', ['view']))
    grant('eve', 'as-account', rule('impersonate', 'serviceaccounts'), ns='esc')
    whoami = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}']
    same(may('eve', '--as', 'ann', '--as-group', 'devs', *whoami), 'ann')
    same(may('eve', '--as', 'system:serviceaccount:esc:default', *whoami), 'system:serviceaccount:esc:default')
    for flags in (['--as', 'ann', '--as-group', 'devs', '--as-group', 'system:masters'], ['--as', 'ann', '--as-uid', '0'], ['--as', 'Ann'], ['--as', 'system:serviceaccount:kube-system:default'], ['--as', 'system:serviceaccount:esc:default', '--as-group', 'system:masters'],
                  ['--as', 'system:serviceaccount:esc:default:x'], ['--as', 'system:serviceaccount:esc:'], ['--as', 'system:masters']):
        may_not('eve', *flags, *whoami, why='permission to call it')
    me = '/apis/authentication.k8s.io/v1/selfsubjectreviews', {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}
    as_ann = ('Impersonate-User', 'ann')
    code, answer = asks('eve', 'POST', *me, headers=[as_ann, ('Impersonate-Extra-Scopes', 'view')])
    same((code, json.loads(answer)['status']['userInfo'].get('extra')), (201, {'scopes': ['view']}))
    for more in ([('Impersonate-Extra-Scopes', 'all')], [('Impersonate-Extra-Scopes', 'view'), ('impersonate-extra-SCOPES', 'all')], [('Impersonate-Extra-Other', 'view')], [('Impersonate-Extra-Scopes%2fmore', 'view')], [('IMPERSONATE-GROUP', 'system:masters')],
                 [('impersonate-group', 'devs'), ('Impersonate-Group', 'system:masters')], [('Impersonate-UID', '1')], [('Impersonate-Extra-', 'x')]):
        code, answer = asks('eve', 'POST', *me, headers=[as_ann, *more])
        if code != 403: raise AssertionError(f'{more}: got {code} {answer[:300]}')
    for lonely in ([('Impersonate-Group', 'system:masters')], [('Impersonate-Uid', '1')], [('Impersonate-Extra-Scopes', 'view')], [('Impersonate-User', ''), ('Impersonate-Group', 'system:masters')]):
        code, answer = asks('eve', 'POST', *me, headers=lonely)
        if code not in (400, 403, 500): raise AssertionError(f'{lonely}: got {code} {answer[:300]}')


# ---- roles ----

ROLE = '/apis/rbac.authorization.k8s.io/v1'


def role(name, *rules, kind='Role', **more):
    return {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': kind, 'metadata': {'name': name, **more.pop('metadata', {})}, 'rules': list(rules), **more}


def bind(kind, name, to, to_kind='ClusterRole', user='eve'):
    return {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': kind, 'metadata': {'name': name}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': to_kind, 'name': to}, 'subjects': [{'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'User', 'name': user}]}


def test_roles_and_bindings():
    s()
    here = ['-n', 'esc']
    more = 'is attempting to grant RBAC permissions not currently held'
    may('eve', *here, 'create', 'role', 'own', '--verb=get,list', '--resource=secrets')
    may('eve', *here, 'create', 'rolebinding', 'own', '--role=own', '--user=bob')
    for args in (['role', 'x', '--verb=create', '--resource=pods'], ['role', 'x', '--verb=*', '--resource=secrets'], ['role', 'x', '--verb=get', '--resource=secrets/status'], ['role', 'x', '--verb=get', '--resource=*.*'], ['role', 'x', '--verb=impersonate', '--resource=users'],
                 ['role', 'x', '--verb=escalate', '--resource=roles.rbac.authorization.k8s.io'], ['rolebinding', 'x', '--clusterrole=admin', '--user=eve'], ['rolebinding', 'x', '--clusterrole=cluster-admin', '--group=system:authenticated']):
        may_not('eve', *here, 'create', *args, why=more)
    for args in ['clusterrole', 'x', '--verb=get', '--resource=nodes'], ['clusterrole', 'x', '--verb=get', '--non-resource-url=/metrics'], ['clusterrole', 'x', '--verb=get', '--resource=secrets'], ['clusterrolebinding', 'x', '--clusterrole=cluster-admin', '--user=eve']:
        may_not('eve', 'create', *args, why=more)
    s().kubectl(*here, 'create', 'role', 'strong', '--verb=*', '--resource=pods')
    s().kubectl(*here, 'create', 'rolebinding', 'strong', '--role=strong', '--user=root')
    change = '[{"op":"add","path":"/rules/0/verbs/-","value":"delete"}]'
    may_not('eve', *here, 'patch', 'role', 'own', '--type=json', '-p', change, why=more)
    may_not('eve', *here, 'create', 'rolebinding', 'x', '--role=strong', '--user=eve', why=more)
    may_not('eve', *here, 'patch', 'rolebinding', 'strong', '--type=json', '-p', '[{"op":"add","path":"/subjects/-","value":{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"eve"}}]', why=more)
    may_not('eve', *here, 'label', 'role', 'strong', 'a=b', why=more)
    may_not('eve', *here, 'apply', '--server-side', '--force-conflicts', '--validate=false', '-f', '-', stdin=json.dumps(role('own', rule('*', '*', '*'))), why=more)
    may_not('eve', *here, 'auth', 'reconcile', '-f', '-', stdin=json.dumps(role('own', rule('*', 'secrets'), metadata={'namespace': 'esc'})), why=more)
    may_not('eve', '-n', 'kube-system', 'create', 'role', 'x', '--verb=get', '--resource=secrets', why='cannot create resource "roles"')
    may_not('eve', *here, 'replace', '--validate=false', '-f', '-', stdin=json.dumps(bind('RoleBinding', 'own', 'strong', 'Role')), why='forbidden')
    # what she holds here she does not hold elsewhere: a namespace in the body cannot widen it
    code, answer = asks('eve', 'POST', f'{ROLE}/namespaces/esc/roles', {**role('y', rule('get', 'secrets')), 'metadata': {'name': 'y', 'namespace': 'kube-system'}})
    same(code, 400, answer)
    for user, verb in ('escalator', 'escalate'), ('binder', 'bind'): grant(user, verb, rule('create,get', 'roles,rolebindings,clusterroles', 'rbac.authorization.k8s.io'), rule(verb, 'roles' if verb == 'escalate' else 'clusterroles', 'rbac.authorization.k8s.io', ['free'] if verb == 'escalate' else ['view']), ns='esc')
    for user in 'escalator', 'binder': make_cert(s().certs, user, 'client-ca', f'/CN={user}', ca_dir=f'{s().dir}/tls')
    may('binder', *here, 'create', 'rolebinding', 'v', '--clusterrole=view', '--user=binder')
    may_not('binder', *here, 'create', 'rolebinding', 'e', '--clusterrole=edit', '--user=binder', why=more)
    may_not('binder', *here, 'create', 'role', 'free', '--verb=*', '--resource=pods', why=more)
    may_not('escalator', *here, 'create', 'rolebinding', 'e', '--role=strong', '--user=escalator', why=more)
    may_not('escalator', *here, 'create', 'role', 'other', '--verb=*', '--resource=pods', why=more)


def test_aggregated_roles():
    s()
    more = 'is attempting to grant RBAC permissions not currently held'
    aggregate = {'aggregationRule': {'clusterRoleSelectors': [{'matchLabels': {'rbac.authorization.k8s.io/aggregate-to-admin': 'true'}}]}}
    may_not('eve', 'create', '--validate=false', '-f', '-', stdin=json.dumps(role('sum', kind='ClusterRole', **aggregate)))
    may_not('eve', 'create', '--validate=false', '-f', '-', stdin=json.dumps(role('part', rule('*', 'secrets'), kind='ClusterRole', metadata={'labels': {'rbac.authorization.k8s.io/aggregate-to-view': 'true'}})), why=more)
    may('eve', 'create', '--validate=false', '-f', '-', stdin=json.dumps(role('empty', kind='ClusterRole')))
    code, answer = asks('eve', 'PATCH', f'{ROLE}/clusterroles/empty', aggregate)
    same(code, 403, answer)
    may_not('eve', 'label', 'clusterrole', 'system:aggregate-to-admin', 'rbac.authorization.k8s.io/aggregate-to-view=true', why=more)
    may_not('eve', 'label', 'clusterrole', 'cluster-admin', 'rbac.authorization.k8s.io/aggregate-to-view=true', why=more)
    same(s().json('get', 'clusterrole', 'empty').get('aggregationRule'), None)


# ---- certificates ----

def csr(name, subject, signer='kubernetes.io/kube-apiserver-client', usages=('client auth', 'digital signature'), **more):
    d = s().certs
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', f'{d}/csr-{name}.key', '-out', f'{d}/csr-{name}.csr', '-subj', subject)
    with open(f'{d}/csr-{name}.csr', 'rb') as f: text = base64.b64encode(f.read()).decode()
    return json.dumps({'apiVersion': 'certificates.k8s.io/v1', 'kind': 'CertificateSigningRequest', 'metadata': {'name': name}, 'spec': {'request': text, 'signerName': signer, 'usages': list(usages), **more.pop('spec', {})}, **more})


def test_certificate_requests():
    s()
    kubelet = 'kubernetes.io/kube-apiserver-client-kubelet'
    create = ['create', '--validate=false', '-f', '-']
    may_not('eve', *create, stdin=csr('masters', '/O=system:masters/CN=eve'), why='use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed')
    may_not('eve', *create, stdin=csr('masters-too', '/O=devs/O=system:masters/CN=eve'), why='system:masters group is not allowed')
    may_not('node-a', *create, stdin=csr('of-b', '/O=system:nodes/CN=system:node:node-b', kubelet), why='can only create a node CSR with CN=system:node:node-a')
    # who asks and what was decided is not the asker's to say
    approved = {'conditions': [{'type': 'Approved', 'status': 'True', 'reason': 'x', 'message': 'x'}], 'certificate': base64.b64encode(open(f'{s().certs}/eve.crt', 'rb').read()).decode()}
    may('eve', *create, stdin=csr('self-approved', '/CN=root', status=approved, spec={'username': 'system:admin', 'groups': ['system:masters']}))
    got = s().json('get', 'csr', 'self-approved')
    same((got['spec']['username'], got['spec']['groups'], got.get('status', {})), ('eve', ['system:authenticated'], {}))
    may('eve', *create, stdin=csr('posing', '/O=system:nodes/CN=system:node:node-b', kubelet))
    may('node-a', *create, stdin=csr('own', '/O=system:nodes/CN=system:node:node-a', kubelet))
    until(lambda: s().json('get', 'csr', 'own').get('status', {}).get('certificate'), 'a certificate for a node that asks for itself')
    same(s().json('get', 'csr', 'posing').get('status', {}), {})  # it came first
    # approving and signing are rights of their own, for each signer
    may_not('eve', 'certificate', 'approve', 'self-approved')
    path = '/apis/certificates.k8s.io/v1/certificatesigningrequests/self-approved'
    all_refused('eve', [('PUT', f'{path}/approval', got), ('PUT', f'{path}/status', got), ('PATCH', f'{path}/approval', {'status': approved}), ('PATCH', f'{path}/status', {'status': approved}), ('PATCH', path, {'status': approved}), ('DELETE', path)])
    make_cert(s().certs, 'half', 'client-ca', '/CN=half', ca_dir=f'{s().dir}/tls')
    grant('half', 'half-approver', rule('get,list,update,patch', 'certificatesigningrequests,certificatesigningrequests/approval,certificatesigningrequests/status', 'certificates.k8s.io'), rule('approve,sign', 'signers', 'certificates.k8s.io', ['example.com/*', 'kubernetes.io', 'kubernetes.io/']))
    may_not('half', 'certificate', 'approve', 'self-approved', why='user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"')
    code, answer = asks('half', 'PATCH', f'{path}/status', {'status': {'certificate': approved['certificate']}})
    same((code, b'user not permitted to sign requests with signerName' in answer), (403, True), answer)
    code, answer = asks('half', 'PATCH', f'{path}/status', {'status': {'conditions': approved['conditions']}})
    if code == 200 and json.loads(answer).get('status', {}).get('conditions'): raise AssertionError(f'approved through the status: {answer}')
    code, answer = asks('half', 'PATCH', path, {'spec': {'username': 'system:admin', 'request': json.loads(csr('x', '/O=system:masters/CN=x'))['spec']['request']}})
    now = s().json('get', 'csr', 'self-approved')
    same((now['spec']['username'], now['spec']['request'], now.get('status', {})), ('eve', got['spec']['request'], {}), (code, answer))


# ---- nodes ----

def test_a_node_reads_only_what_its_pods_need():
    s()
    ns = ['-n', 'esc']
    for kind, name in ('secret', 'secret'), ('configmap', 'config'), ('pvc', 'claim'):
        may('node-a', *ns, 'get', kind, f'{name}-a')
        may_not('node-a', *ns, 'get', kind, f'{name}-b', why="no relationship found between node 'node-a' and this object")
    api = '/api/v1/namespaces/esc'
    all_refused('node-a', [('GET', f'{api}/{r}{q}') for r in ('secrets', 'configmaps', 'persistentvolumeclaims') for q in ('', '?watch=1', '?fieldSelector=metadata.name%3Dsecret-b', '?fieldSelector=metadata.name%21%3Dsecret-a', '?fieldSelector=metadata.name%3Dsecret-a,metadata.name%3Dsecret-b')
                           if not (r == 'secrets' and 'secret-a,' in q)])
    code, answer = asks('node-a', 'GET', f'{api}/secrets?fieldSelector=metadata.name%3Dsecret-a,metadata.name%3Dsecret-b')
    if b'secret-b' in answer and code == 200 and json.loads(answer)['items']: raise AssertionError(answer)
    all_refused('node-a', [('GET', '/api/v1/secrets'), ('GET', '/api/v1/namespaces/kube-system/secrets/x'), ('GET', '/api/v1/namespaces/default/secrets/secret-a'), ('DELETE', f'{api}/secrets/secret-a'), ('PUT', f'{api}/secrets/secret-a', {}), ('GET', f'{api}/secrets/secret-a/status'),
                           ('GET', '/api/v1/pods'), ('GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-b'), ('GET', f'{api}/pods/pod-b'), ('GET', f'{api}/pods/pod-a/exec?command=id'), ('POST', f'{api}/pods/pod-a/exec?command=id'),
                           ('POST', f'{api}/pods/pod-a/ephemeralcontainers', {}), ('GET', '/api/v1/nodes/node-a/proxy/pods'), ('GET', '/metrics'), ('GET', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-b'),
                           ('GET', '/apis/storage.k8s.io/v1/volumeattachments/x'), ('GET', '/api/v1/persistentvolumes/x')])
    for name in 'not-a-node', 'no-node': all_refused(name, [('GET', f'{api}/secrets/secret-a'), ('PATCH', '/api/v1/nodes/node-a', {}), ('GET', f'{api}/pods/pod-a'), ('GET', '/api/v1/pods?fieldSelector=spec.nodeName%3D')])


def test_a_node_changes_only_its_own():
    s()
    ns = ['-n', 'esc']
    may('node-a', 'label', 'node', 'node-a', 'own=1')
    for label in 'node-restriction.kubernetes.io/x=y', 'x.node-restriction.kubernetes.io/x=y', 'node-role.kubernetes.io/control-plane=', 'kubernetes.io/x=y', 'a.k8s.io/x=y': may_not('node-a', 'label', 'node', 'node-a', label, why='is not allowed to modify labels')
    may_not('node-a', 'taint', 'node', 'node-a', 'a=b:NoSchedule', why='is not allowed to modify taints')
    for args in ['label', 'node', 'node-b', 'a=b'], ['taint', 'node', 'node-b', 'a=b:NoExecute'], ['delete', 'node', 'node-b']: may_not('node-a', *args)
    api = '/api/v1/namespaces/esc'
    other = {'metadata': {'name': 'node-b'}, 'status': {'addresses': []}}
    all_refused('node-a', [('PATCH', '/api/v1/nodes/node-b/status', other), ('PATCH', '/api/v1/nodes/node-b', {'spec': {'unschedulable': True}}), ('PATCH', '/api/v1/nodes/node-a', {'spec': {'taints': [{'key': 'a', 'effect': 'NoSchedule'}]}}),
                           ('PATCH', '/api/v1/nodes/node-a/status', {'metadata': {'labels': {'node-restriction.kubernetes.io/x': 'y'}}}), ('PATCH', '/api/v1/nodes/node-a', {'metadata': {'ownerReferences': [{'apiVersion': 'v1', 'kind': 'Pod', 'name': 'x', 'uid': 'u'}]}}),
                           ('PATCH', f'{api}/pods/pod-b/status', {'status': {'phase': 'Failed'}}), ('PATCH', f'{api}/pods/pod-a/status', {'metadata': {'labels': {'app': 'x'}}}), ('PATCH', f'{api}/pods/pod-a', {'spec': {'activeDeadlineSeconds': 1}}), ('DELETE', f'{api}/pods/pod-b'), ('DELETE', f'{api}/pods'),
                           ('POST', f'{api}/pods/pod-b/eviction', {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'pod-b'}}), ('POST', f'{api}/pods/pod-b/binding', {'target': {'name': 'node-a'}}), ('POST', f'{api}/bindings', {}), ('PATCH', f'{api}/pods/pod-a/ephemeralcontainers', {}),
                           ('PATCH', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-b', {}), ('POST', '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases', {'apiVersion': 'coordination.k8s.io/v1', 'kind': 'Lease', 'metadata': {'name': 'node-a'}}),
                           ('POST', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', {'apiVersion': 'coordination.k8s.io/v1', 'kind': 'Lease', 'metadata': {'name': 'node-b'}}),
                           ('POST', '/apis/storage.k8s.io/v1/csinodes', {'apiVersion': 'storage.k8s.io/v1', 'kind': 'CSINode', 'metadata': {'name': 'node-b'}, 'spec': {'drivers': []}}),
                           ('POST', '/apis/resource.k8s.io/v1/resourceslices', {'apiVersion': 'resource.k8s.io/v1', 'kind': 'ResourceSlice', 'metadata': {'name': 'x'}, 'spec': {'nodeName': 'node-b', 'driver': 'd.example', 'pool': {'name': 'p', 'generation': 1, 'resourceSliceCount': 1}}}),
                           ('POST', f'{ROLE}/clusterrolebindings', bind('ClusterRoleBinding', 'x', 'cluster-admin', user='system:node:node-a')), ('PATCH', '/api/v1/namespaces/esc', {'metadata': {'labels': {'a': 'b'}}}), ('POST', '/api/v1/namespaces', {'metadata': {'name': 'z'}})])
    for labels in {'node-restriction.kubernetes.io/x': 'y'}, {'node-role.kubernetes.io/master': ''}:
        s().kubectl('delete', 'node', 'node-b', '--ignore-not-found')
        code, answer = asks('node-b', 'POST', '/api/v1/nodes', {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'node-b', 'labels': labels}})
        same((code, b'is not allowed to set the following labels' in answer), (403, True), answer)
    may('node-b', 'create', '--validate=false', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'node-b'}}))


def test_mirror_pods_bring_a_node_nothing():
    s()
    uid = s().json('get', 'node', 'node-a')['metadata']['uid']
    owner = [{'apiVersion': 'v1', 'kind': 'Node', 'name': 'node-a', 'uid': uid, 'controller': True}]

    def mirror(name, node='node-a', annotations={'kubernetes.io/config.mirror': 'x'}, owners=owner, **spec):
        p = pod(name, node, **spec)
        p['metadata'] |= {'annotations': annotations, 'ownerReferences': owners}
        return p
    good = asks('node-a', 'POST', '/api/v1/namespaces/esc/pods', mirror('mirror'))
    same(good[0], 201, good)
    env = [{'name': 'c', 'image': 'i', 'env': [{'name': 'A', 'valueFrom': {'secretKeyRef': {'name': 'x', 'key': 'k'}}}]}]
    init = [{'name': 'd', 'image': 'i', 'envFrom': [{'secretRef': {'name': 'x'}}]}]
    projected = lambda source: volume(projected={'sources': [source]})
    bad = [mirror('m', volumes=volume(secret={'secretName': 'x'})), mirror('m', volumes=volume(configMap={'name': 'config-b'})), mirror('m', containers=env), mirror('m', initContainers=init), mirror('m', imagePullSecrets=[{'name': 'x'}]), mirror('m', volumes=projected({'secret': {'name': 'x'}})),
           mirror('m', volumes=projected({'configMap': {'name': 'x'}})), mirror('m', volumes=projected({'serviceAccountToken': {'path': 't'}}), serviceAccountName='default'), mirror('m', serviceAccountName='default'), mirror('m', volumes=volume(persistentVolumeClaim={'claimName': 'claim-b'})),
           mirror('m', volumes=volume(cephfs={'monitors': ['m'], 'secretRef': {'name': 'x'}})), mirror('m', node='node-b'), mirror('m', node=None), mirror('m', annotations={}), mirror('m', owners=[]), mirror('m', owners=[{**owner[0], 'uid': 'other'}]), mirror('m', owners=[{**owner[0], 'name': 'node-b'}]),
           mirror('m', resourceClaims=[{'name': 'r', 'resourceClaimName': 'c'}])]
    all_refused('node-a', [('POST', '/api/v1/namespaces/esc/pods', p) for p in bad] + [('POST', '/api/v1/namespaces/kube-system/pods', mirror('m', volumes=volume(secret={'secretName': 'x'})))])
    # nobody makes a mirror Pod that names a Secret; and one that names a ConfigMap gives its node nothing
    pretended = {**mirror('pretended', volumes=volume(secret={'secretName': 'x'})), 'metadata': {'name': 'pretended', 'annotations': {'kubernetes.io/config.mirror': 'x'}}}
    contains(s().kubectl('-n', 'esc', 'create', '--validate=false', '-f', '-', stdin=json.dumps(pretended), check=False).stderr, 'a mirror pod may not reference secrets')


def test_tokens_are_requested_for_what_one_has():
    s()
    token = '/serviceaccounts/default/token'
    spec = lambda **more: {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenRequest', 'spec': {**more}}
    all_refused('eve', [('POST', f'/api/v1/namespaces/{ns}{token}', spec()) for ns in OUTSIDE])
    grant('eve', 'accounts', rule('*', 'serviceaccounts'), ns='esc')
    all_refused('eve', [('POST', f'/api/v1/namespaces/esc{token}', spec())])  # the account is not its token
    may_not('eve', '-n', 'esc', 'create', 'token', 'default')
    grant('eve', 'one-token', rule('create', 'serviceaccounts/token', names=['default']), ns='esc')
    may('eve', '-n', 'esc', 'create', 'token', 'default')
    all_refused('eve', [('POST', f'/api/v1/namespaces/kube-system{token}', spec()), ('POST', '/api/v1/namespaces/esc/serviceaccounts/other/token', spec())])
    for what, body in {'another namespace in the body': {**spec(), 'metadata': {'name': 'default', 'namespace': 'kube-system'}}, 'another name in the body': {**spec(), 'metadata': {'name': 'other'}}, 'bound to a kind that cannot be': spec(boundObjectRef={'kind': 'ConfigMap', 'apiVersion': 'v1', 'name': 'x'}),
                       'bound to what is not there': spec(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': 'none'}), 'bound to another uid': spec(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': 'pod-a', 'uid': 'other'}), 'for a moment': spec(expirationSeconds=1),
                       'for ever': spec(expirationSeconds=1 << 33)}.items():
        code, answer = asks('eve', 'POST', f'/api/v1/namespaces/esc{token}', body)
        if code < 400 or b'"token"' in answer: raise AssertionError(f'{what}: got {code} {answer[:400]}')
    uid = {n: s().json('-n', 'esc', 'get', 'pod', f'pod-{n}')['metadata']['uid'] for n in 'ab'}
    bound = lambda n, **more: spec(boundObjectRef={'kind': 'Pod', 'apiVersion': 'v1', 'name': f'pod-{n}', 'uid': uid[n]}, **more)
    code, answer = asks('node-a', 'POST', f'/api/v1/namespaces/esc{token}', bound('a'))
    same(code, 201, answer)
    all_refused('node-a', [('POST', f'/api/v1/namespaces/{ns}{token}', b) for ns, b in (('esc', spec()), ('esc', bound('b')), ('esc', bound('a', audiences=['vault'])), ('kube-system', bound('a')), ('esc', spec(boundObjectRef={'kind': 'Secret', 'apiVersion': 'v1', 'name': 'secret-a'})),
                                                                                   ('esc', spec(boundObjectRef={'kind': 'Node', 'apiVersion': 'v1', 'name': 'node-a'})))])


def test_into_a_pod():
    s()
    ns = ['-n', 'esc']
    for args in ['exec', 'pod-a', '--', 'id'], ['attach', 'pod-a'], ['debug', 'pod-a', '--image=i'], ['logs', 'pod-a'], ['cp', 'pod-a:/etc/passwd', '/dev/null']: may_not('eve', *ns, *args)
    pods = '/api/v1/namespaces/esc/pods/pod-a'
    upgrade = [('Connection', 'Upgrade'), ('Upgrade', 'websocket'), ('Sec-WebSocket-Version', '13'), ('Sec-WebSocket-Key', 'AAAAAAAAAAAAAAAAAAAAAA=='), ('Sec-WebSocket-Protocol', 'v5.channel.k8s.io')]
    for sub in 'exec?command=id&stdout=1', 'attach?stdout=1', 'portforward?ports=1', 'proxy/', 'log', 'ephemeralcontainers', 'resize':
        for method in 'GET', 'POST', 'PUT', 'PATCH':
            code, answer = asks('eve', method, f'{pods}/{sub}', None if method == 'GET' else {}, upgrade if method == 'GET' else [])
            if code not in (403, 405): raise AssertionError(f'{method} {sub}: got {code} {answer[:300]}')
    grant('maker', 'half-exec', rule('get', 'pods/exec,pods/attach,pods/portforward'), rule('get,create', 'pods/log'), rule('get,patch,update', 'pods'), ns='esc')
    for sub in 'exec?command=id&stdout=1', 'attach?stdout=1', 'portforward?ports=1':  # to get is not enough: it does something
        code, answer = asks('maker', 'GET', f'{pods}/{sub}', headers=upgrade)
        same((code, b'cannot create resource' in answer), (403, True), answer)
    ephemeral = {'spec': {'ephemeralContainers': [{'name': 'debugger', 'image': 'i'}]}}
    all_refused('maker', [('PATCH', f'{pods}/ephemeralcontainers', ephemeral), ('PATCH', f'{pods}/status', {'status': {'phase': 'Failed'}}), ('PATCH', f'{pods}/resize', {})])
    for patch in ephemeral, {'spec': {'serviceAccountName': 'other'}}, {'spec': {'nodeName': 'node-b'}}, {'spec': {'hostNetwork': True}}:  # the Pod itself is hers to write, but not this of it
        code, answer = asks('maker', 'PATCH', pods, patch)
        if code < 400: raise AssertionError(f'{patch}: got {code} {answer[:300]}')


# ---- bytes ----

def test_headers_do_not_say_who_asks():
    s()
    path = '/api/v1/namespaces/kube-system/secrets/x'
    remote = [('X-Remote-User', 'kubernetes-admin'), ('X-Remote-Group', 'system:masters')]
    tries = [[*remote], [(k.lower(), v) for k, v in remote], [(k.replace('-', '_'), v) for k, v in remote], [('X-Forwarded-User', 'admin'), ('X-Forwarded-Client-Cert', 'Subject="/CN=admin"')], [('X-Client-Cert', 'x'), ('Ssl-Client-Verify', 'SUCCESS')], [('Remote-User', 'admin')],
             [('Impersonate_User', 'kubernetes-admin'), ('Impersonate_Group', 'system:masters')], [('Authorization', 'Basic YWRtaW46YWRtaW4=')], [('Authorization', 'Bearer'), ('Authorization', 'Bearer x')], [('Authorization', 'Bearer x'), *remote], [('Authorization', 'Negotiate AAAA')],
             [('Sec-WebSocket-Protocol', 'base64url.bearer.authorization.k8s.io.eA')], [('X-Original-URL', '/healthz')], [('X-Rewrite-URL', '/healthz')], [('X-HTTP-Method-Override', 'HEAD')], [('Forwarded', 'for=127.0.0.1')], [('X-Forwarded-For', '127.0.0.1')], [('Host', 'kubernetes.default')]]
    for cert in None, f'{s().certs}/eve':
        for (headers, (code, body)) in zip(tries, send_all(s().port, [request('GET', path, h) for h in tries], cert=cert, at_once=1)):
            if code not in (400, 401, 403) or any(x in body for x in SHOWN): raise AssertionError(f'{cert} {headers}: got {code} {body[:300]}')


def whole(data, cert='eve'):
    """Everything that comes back for these bytes, until the server closes or has answered twice."""
    answers = []
    with connect(s().port, cert and f'{s().certs}/{cert}') as c:
        c.settimeout(20)
        c.sendall(data)
        with c.makefile('rb') as f:
            while len(answers) < 4:
                try: code, body = read_answer(f)
                except OSError: break
                if not code: break
                answers.append((code, body))
    return answers


def test_headers_are_read_one_way():
    """What could be read in two ways is refused, and what follows on the connection is not taken for a request."""
    s()
    path = '/api/v1/namespaces/kube-system/secrets/x'
    get = f'GET {path} HTTP/1.1\r\nHost: localhost\r\n'
    inner = f'GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    for what, text in {'a fold': get + 'X-A: b\r\n Impersonate-User: admin\r\nConnection: close\r\n\r\n', 'a fold at the start': f'GET {path} HTTP/1.1\r\n Host: localhost\r\nConnection: close\r\n\r\n', 'a blank before the colon': get + 'Impersonate-User : kubernetes-admin\r\nConnection: close\r\n\r\n',
                       'a tab before the colon': get + 'Impersonate-User\t: kubernetes-admin\r\nConnection: close\r\n\r\n', 'a bare CR': get + 'X-A: b\rImpersonate-User: admin\r\nConnection: close\r\n\r\n', 'bare LFs': get.replace('\r\n', '\n') + 'Impersonate-User: admin\nConnection: close\n\n',
                       'a NUL': get + 'X-A: b\0c\r\nConnection: close\r\n\r\n', 'no colon': get + 'Impersonate-User\r\nConnection: close\r\n\r\n', 'no name': get + ': x\r\nConnection: close\r\n\r\n', 'two hosts': get + 'Host: other\r\nConnection: close\r\n\r\n'}.items():
        for code, body in whole(text.encode()):
            if code not in (400, 403) or any(x in body for x in SHOWN): raise AssertionError(f'{what}: got {code} {body[:300]}')
    post_to = 'POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
    n = len(inner)
    for what, text in {'both lengths': f'Content-Length: {n + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}', 'both the other way': f'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}', 'two lengths': f'Content-Length: 0\r\nContent-Length: {n}\r\n\r\n{inner}',
                       'a list of lengths': f'Content-Length: 0, {n}\r\n\r\n{inner}', 'a signed length': f'Content-Length: +0\r\n\r\n{inner}', 'a negative length': f'Content-Length: -1\r\n\r\n{inner}', 'a length in hex': f'Content-Length: 0x0\r\n\r\n{inner}', 'an encoding twice': f'Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{inner}',
                       'an unknown encoding': f'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}', 'chunked not last': f'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}', 'a blank before an encoding': f'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}', 'a chunk of no size': f'Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n{inner}',
                       'a negative chunk': f'Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{inner}', 'a huge chunk': f'Transfer-Encoding: chunked\r\n\r\n{"f" * 17}\r\n\r\n{inner}', 'a vertical tab': f'Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{inner}'}.items():
        answers = whole((post_to + text).encode())
        if len(answers) > 1 or any(code not in (400, 501) for code, _ in answers): raise AssertionError(f'{what}: got {answers}')
    same([code for code, _ in whole((post_to + f'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}').encode())], [400, 403])  # two requests are two


def test_http2_has_no_headers_of_connections():
    s()
    tool = shutil.which('nghttp')
    if not tool: raise Skip('no nghttp (nghttp2-client) on PATH')
    url = f'https://127.0.0.1:{s().port}/api/v1/namespaces/kube-system/secrets/x'
    cert = [f'--cert={s().certs}/eve.crt', f'--key={s().certs}/eve.key']
    ask = lambda *headers, verbose=True: subprocess.run([tool, *(['-v'] if verbose else []), '--no-dep', '-t', '20', *cert, *[a for h in headers for a in ('-H', h)], url], capture_output=True, text=True, timeout=60).stdout
    contains(ask(), ':status: 403')
    for headers in (['connection: keep-alive'], ['transfer-encoding: chunked'], ['upgrade: h2c'], ['keep-alive: 1'], ['proxy-connection: x'], ['te: gzip'], ['x-remote-user: kubernetes-admin', 'x-remote-group: system:masters'], ['impersonate-user: kubernetes-admin'], ['content-length: 7'],
                    [':path: /healthz/../api/v1/namespaces/kube-system/secrets/x'], [':method: CONNECT'], ['host: other'], ['x-a: b\r\nimpersonate-user: admin']):
        out = ask(*headers)
        if ':status: 2' in out or any(x.decode() in out for x in SHOWN): raise AssertionError(f'{headers}: {out}')


def test_paths_are_read_one_way():
    """eve may read the Secrets of `esc` and everybody /healthz; whatever is written around that leads nowhere else."""
    s()
    ks, api = 'kube-system/secrets/x', '/api/v1/namespaces'
    code, body = asks('eve', 'GET', f'{api}/esc/secrets/x')
    same(code, 200, body)
    paths = [f'{api}/esc/../{ks}', f'{api}/esc/%2e%2e/{ks}', f'{api}/esc/.%2e/{ks}', f'{api}/esc%2f..%2f{ks}', f'{api}/esc%2F%2e%2E%2F{ks}', f'{api}/esc/secrets/../../{ks}', f'{api}/esc/secrets/..%2f..%2f{ks}', f'{api}/esc/secrets/%252e%252e/{ks}', f'{api}/esc;/{ks}', f'{api}/esc%00/{ks}',
             f'{api}/esc/secrets/x/../../../{ks}', f'{api}//{ks}', f'{api}/./{ks}', f'//api/v1/namespaces/{ks}', f'/api//v1/namespaces/{ks}', f'/api/v1//namespaces/{ks}', f'/./api/v1/namespaces/{ks}', f'/healthz/../api/v1/namespaces/{ks}', f'/healthz/..%2fapi/v1/namespaces/{ks}', f'/healthz%2f..%2fapi%2fv1%2fnamespaces%2f{ks}',
             f'/API/v1/namespaces/{ks}', f'/api/V1/namespaces/{ks}', '/api/v1/namespaces/kube-system/Secrets/x', '/api/v1/namespaces/kube-system/secret/x', '/api/v1/namespaces/kube-system%2fsecrets/x', '/api/v1/namespaces/kube-system/secrets%2fx', '/api/v1/namespaces/kube-system/secrets/x/', '/api/v1/namespaces/kube-system/secrets/x%20',
             '/api/v1/namespaces/KUBE-SYSTEM/secrets/x', f'/api/v1/watch/namespaces/{ks}', '/api/v1/watch/secrets', '/api/v1/secrets', '/api/v1/secrets/', '/api/v1/secrets/kube-system%2fx', '/api/v1/secrets/x?namespace=kube-system', '/api/v1/secrets?fieldSelector=metadata.namespace%3Desc', f'/api/v1/proxy/namespaces/{ks}',
             f'/apis//v1/namespaces/{ks}', f'/apis/v1/namespaces/{ks}', f'/apis/core/v1/namespaces/{ks}', f'/apis/%2e%2e/api/v1/namespaces/{ks}', f'https://localhost/api/v1/namespaces/{ks}', f'http://localhost/healthz/../api/v1/namespaces/{ks}', f'{api}/esc/secrets/x?watch=1&watch=0&timeoutSeconds=1&fieldSelector=metadata.name%3Dx%2cmetadata.namespace%3Dkube-system',
             f'{api}/esc/services/https:kubernetes:443/proxy/api/v1/namespaces/{ks}', f'{api}/esc/pods/pod-a/proxy/../../../{ks}', '/api/v1/nodes/node-a/proxy/pods', f'{api}/esc/secrets?namespace=kube-system', f'\\api\\v1\\namespaces\\{ks}', f'/api/v1/namespaces/{ks}%23', f'/api/v1/namespaces/{ks}%3f', f'/%61pi/v1/namespaces/{ks}',
             '/metrics', '//metrics', '/./metrics', '/%6detrics', '/healthz/../metrics', '/healthz/%2e%2e/metrics', '/healthz/..%2fmetrics', '/healthz%2f..%2fmetrics', '/metrics/', '/Metrics', '/metrics%00', '/metrics%20', '/metrics;/healthz', '/metrics?/healthz', '/livez/../metrics', '/version/../metrics', '/openid/v1/jwks/../../../metrics', '/metrics/slis',
             '/debug/pprof/', '/debug/api_priority_and_fairness/dump_requests', '/configz', '/logs/', '/flagz', '*', '/', '', '/api/v1/namespaces/' + 'a/../' * 100 + ks, '/' * 5000]
    for cert in None, f'{s().certs}/eve':
        for method in 'GET', 'get', 'HEAD', 'POST', 'OPTIONS', 'TRACE', 'PROPFIND':
            some = paths if method == 'GET' else paths[::4]
            wanted = [request(method, p, [('Connection', 'close')]).replace(b' \r\n', b' / HTTP/1.1\r\n') for p in some]
            for p, data in zip(some, wanted):
                for code, body in whole_quick(data, cert):
                    shown = [x for x in SHOWN if x in body]
                    hers = code == 200 and b'aGVycw==' in body or code == 200 and b'"items":[' in body and b'kube-system' not in body
                    if shown or (code < 300 and method in ('GET', 'POST') and b'"kind":"Secret' in body and not hers): raise AssertionError(f'{cert} {method} {p[:200]}: got {code} {body[:300]}')


def whole_quick(data, cert):
    """The one answer to this; HEAD has no body, and the connection is closed after it."""
    with connect(s().port, cert) as c:
        c.sendall(data)
        text = b''
        try:
            while part := c.recv(65536): text += part
        except OSError as e: raise AssertionError(f'{data[:200]}: {e!r} behind {text[:200]}')
    head, _, body = text.partition(b'\r\n\r\n')
    return [(int(head.split()[1]), body)] if head.startswith(b'HTTP/1.') else []


def teardown():
    global server
    if server:
        code, _ = server.stop()
        same(code, 0, 'exit code on SIGTERM: ' + server.log_text())
        server.remove()
        shutil.rmtree(server.certs, ignore_errors=True)
        server = None
