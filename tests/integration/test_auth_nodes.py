"""What a kubelet's credentials are good for, and what they are not: the node authorizer, NodeRestriction, and certificate requests, as separate nodes with certificates."""
import base64, json, os, shutil, ssl, subprocess, tempfile, urllib.error, urllib.request
from fixtures import openssl
from harness import Server, contains, same

server = None
NODES = 'node-a', 'node-b'


def s():
    global server
    if not server:
        server = Server()
        server.certs = tempfile.mkdtemp(prefix='ckube-auth-')
        for node in NODES:
            certificate(node, f'/O=system:nodes/CN=system:node:{node}')
            on(node, 'create', '--validate=false', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': node}}))
        server.kubectl('create', 'serviceaccount', 'default')
        server.kubectl('create', 'serviceaccount', 'admin')
        for name in 'used', 'unused', 'theirs': server.kubectl('create', 'secret', 'generic', name, '--from-literal=k=v')
        for name, node, secret in ('mine', 'node-a', 'used'), ('others', 'node-b', 'theirs'):
            pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name}, 'spec': {'nodeName': node, 'containers': [{'name': 'c', 'image': 'i', 'envFrom': [{'secretRef': {'name': secret}}]}]}}
            server.kubectl('create', '--validate=false', '-f', '-', stdin=json.dumps(pod))
    return server


def certificate(name, subject):
    d, tls = server.certs, f'{server.dir}/tls'
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', f'{d}/{name}.key', '-out', f'{d}/{name}.csr', '-subj', subject)
    with open(f'{d}/client.ext', 'w') as f: f.write('extendedKeyUsage=clientAuth\n')
    openssl('x509', '-req', '-in', f'{d}/{name}.csr', '-CA', f'{tls}/client-ca.crt', '-CAkey', f'{tls}/client-ca.key', '-CAcreateserial', '-out', f'{d}/{name}.crt', '-days', '2', '-extfile', f'{d}/client.ext')


def on(name, *args, check=True, stdin=None):
    """kubectl with this certificate and nothing else."""
    r = subprocess.run(['kubectl', '--kubeconfig', '/dev/null', '--server', f'https://127.0.0.1:{server.port}', '--insecure-skip-tls-verify', '--client-certificate', f'{server.certs}/{name}.crt',
                        '--client-key', f'{server.certs}/{name}.key', *args], input=stdin, capture_output=True, text=True, timeout=60, env={**os.environ, 'HOME': server.dir, 'KUBECACHEDIR': f'{server.dir}/cache-{name}'})
    if check and r.returncode: raise AssertionError(f'{name}: kubectl {" ".join(args)}: {r.stdout}{r.stderr}')
    return r


def patch_status(name, pod, patch):
    """As a kubelet does it: kubectl would first read what a node may not."""
    tls = ssl._create_unverified_context()
    tls.load_cert_chain(f'{server.certs}/{name}.crt', f'{server.certs}/{name}.key')
    request = urllib.request.Request(f'https://127.0.0.1:{server.port}/api/v1/namespaces/default/pods/{pod}/status', json.dumps(patch).encode(), {'Content-Type': 'application/merge-patch+json'}, method='PATCH')
    try:
        with urllib.request.urlopen(request, context=tls, timeout=20) as r: return r.status, json.loads(r.read())
    except urllib.error.HTTPError as e: return e.code, json.loads(e.read())


def refused(name, *args, stdin=None, why=''):
    r = on(name, *args, check=False, stdin=stdin)
    same(r.returncode, 1, f'{name}: kubectl {" ".join(args)}: {r.stdout}{r.stderr}')
    contains(r.stderr, 'forbidden')
    contains(r.stderr, why)


def test_a_node_reads_the_secrets_of_its_own_pods_only():
    s()
    same(on('node-a', 'get', 'secret', 'used', '-o', 'jsonpath={.data.k}').stdout, 'dg==')
    for secret in 'unused', 'theirs': refused('node-a', 'get', 'secret', secret, why="no relationship found between node 'node-a' and this object")
    refused('node-b', 'get', 'secret', 'used', why="no relationship found between node 'node-b' and this object")
    refused('node-a', 'get', 'secrets', why='No Object name found')
    refused('node-a', 'get', 'secrets', '-A')
    refused('node-a', 'delete', 'secret', 'used', why='can only read resources of this type')
    same(on('node-a', 'get', 'pods', '--field-selector', 'spec.nodeName=node-a', '-o', 'name').stdout, 'pod/mine\n')
    refused('node-a', 'get', 'pods', why='can only list/watch pods with spec.nodeName field selector')
    refused('node-a', 'get', 'pods', '--field-selector', 'spec.nodeName=node-b')
    same(on('node-a', 'get', 'node', 'node-a', '-o', 'name').stdout, 'node/node-a\n')
    refused('node-a', 'get', 'node', 'node-b', why="node 'node-a' cannot read 'node-b', only its own Node object")


def test_a_node_changes_its_own_things_only():
    s()
    on('node-a', 'label', 'node', 'node-a', 'topology.kubernetes.io/zone=z', 'own=1')
    refused('node-a', 'label', 'node', 'node-a', 'node-restriction.kubernetes.io/x=y', why='is not allowed to modify labels: node-restriction.kubernetes.io/x')
    refused('node-a', 'label', 'node', 'node-a', 'node-role.kubernetes.io/control-plane=', why='is not allowed to modify labels')
    refused('node-a', 'patch', 'node', 'node-a', '--type=merge', '-p', '{"spec":{"taints":[]}}', why='is not allowed to modify taints')
    refused('node-a', 'patch', 'node', 'node-b', '--type=merge', '-p', '{"metadata":{"labels":{"a":"b"}}}', why='only its own Node object')
    refused('node-a', 'create', '--validate=false', '-f', '-', stdin='{"apiVersion":"v1","kind":"Node","metadata":{"name":"node-c"}}', why='node "node-a" is not allowed to modify node "node-c"')
    same(patch_status('node-a', 'mine', {'status': {'phase': 'Running'}})[0], 200)
    code, doc = patch_status('node-a', 'others', {'status': {'phase': 'Running'}})
    same((code, doc['message']), (403, 'pods "others" is forbidden: node "node-a" can only update pod status for pods with spec.nodeName set to itself'))
    code, doc = patch_status('node-a', 'mine', {'metadata': {'labels': {'a': 'b'}}})
    same((code, doc['message']), (403, 'pods "mine" is forbidden: node "node-a" cannot update labels through pod status'))
    refused('node-a', 'delete', 'pod', 'others', why='can only delete pods with spec.nodeName set to itself')
    refused('node-a', 'run', 'x', '--image=i', why='can only create mirror pods')
    refused('node-a', 'create', 'clusterrolebinding', 'x', '--clusterrole=cluster-admin', '--user=system:node:node-a')


def test_a_node_gets_tokens_for_its_own_pods_only():
    s()
    uid = server.json('get', 'pod', 'mine')['metadata']['uid']
    token = on('node-a', 'create', 'token', 'default', '--bound-object-kind=Pod', '--bound-object-name=mine', f'--bound-object-uid={uid}').stdout.strip()
    claims = json.loads(base64.urlsafe_b64decode(token.split('.')[1] + '=='))['kubernetes.io']
    same((claims['pod']['name'], claims['node']['name']), ('mine', 'node-a'))
    refused('node-a', 'create', 'token', 'default', why='node requested token not bound to a pod')
    refused('node-a', 'create', 'token', 'default', '--bound-object-kind=Pod', '--bound-object-name=mine', why='node requested token with a pod binding without a uid')
    refused('node-a', 'create', 'token', 'admin', why="no relationship found between node 'node-a' and this object")
    theirs = server.json('get', 'pod', 'others')['metadata']['uid']
    refused('node-a', 'create', 'token', 'default', '--bound-object-kind=Pod', '--bound-object-name=others', f'--bound-object-uid={theirs}', why='node requested token bound to a pod scheduled on a different node')
    refused('node-a', 'create', 'token', 'default', '--bound-object-kind=Pod', '--bound-object-name=mine', f'--bound-object-uid={uid}', '--audience=vault', why='audience "vault" not found in pod spec volume')


def csr(name, subject, signer='kubernetes.io/kube-apiserver-client', usages=('client auth', 'digital signature')):
    d = server.certs
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', f'{d}/{name}.key', '-out', f'{d}/{name}.csr', '-subj', subject)
    with open(f'{d}/{name}.csr', 'rb') as f: request = base64.b64encode(f.read()).decode()
    return json.dumps({'apiVersion': 'certificates.k8s.io/v1', 'kind': 'CertificateSigningRequest', 'metadata': {'name': name}, 'spec': {'request': request, 'signerName': signer, 'usages': list(usages)}})


def test_certificate_requests_say_who_asks_and_need_an_approver():
    s()
    on('node-a', 'create', '--validate=false', '-f', '-', stdin=csr('ask', '/CN=ann'))
    got = server.json('get', 'csr', 'ask')
    same((got['spec']['username'], got['spec']['groups']), ('system:node:node-a', ['system:nodes', 'system:authenticated']))
    contains(server.kubectl('get', 'csr', 'ask').stdout, 'Pending')
    refused('node-a', 'certificate', 'approve', 'ask')
    contains(server.kubectl('certificate', 'approve', 'ask').stdout, 'approved')
    contains(server.kubectl('get', 'csr', 'ask').stdout, 'Approved')
    r = server.kubectl('create', '--validate=false', '-f', '-', stdin=csr('masters', '/O=system:masters/CN=eve'), check=False)
    contains(r.stderr, 'use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed')
    server.kubectl('create', 'clusterrole', 'approver', '--verb=update,patch,get,list', '--resource=certificatesigningrequests,certificatesigningrequests/approval')
    server.kubectl('create', 'clusterrolebinding', 'approver', '--clusterrole=approver', '--user=ann')
    server.kubectl('create', '--validate=false', '-f', '-', stdin=csr('second', '/CN=bob'))
    contains(server.kubectl('certificate', 'approve', 'second', '--as', 'ann', check=False).stderr, 'user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"')
    rules = [{'apiGroups': ['certificates.k8s.io'], 'resources': ['signers'], 'verbs': ['approve'], 'resourceNames': ['kubernetes.io/*']}]
    server.kubectl('create', '--validate=false', '-f', '-', stdin=json.dumps({'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': 'ClusterRole', 'metadata': {'name': 'signers'}, 'rules': rules}))
    server.kubectl('create', 'clusterrolebinding', 'signers', '--clusterrole=signers', '--user=ann')
    contains(server.kubectl('certificate', 'deny', 'second', '--as', 'ann').stdout, 'denied')


def teardown():
    global server
    if server:
        code, _ = server.stop()
        same(code, 0, 'exit code on SIGTERM: ' + server.log_text())
        shutil.rmtree(server.certs, ignore_errors=True)
        server = None
