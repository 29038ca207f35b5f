"""kubectl against the apiserver alone: what a user types, and what they see."""
import json, os, subprocess, threading, time
from harness import Server, Skip, contains, kubectls, same

server = None

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "registry.example/app:1", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


def s():
    global server
    if not server: server = Server()
    return server


def fresh(name):
    """A namespace of the test's own with the account that Pods need (no controllers run here)."""
    s().kubectl('create', 'namespace', name)
    s().kubectl('create', 'serviceaccount', 'default', '-n', name)
    return name


def test_every_kubectl_lists_and_describes_itself():
    for kubectl in kubectls():
        contains(s().kubectl('version', kubectl=kubectl, check=False).stdout, 'v1.36.2')
        contains(s().kubectl('get', 'namespaces', kubectl=kubectl).stdout, 'kube-system')
        contains(s().kubectl('api-resources', kubectl=kubectl).stdout, 'deployments')
        contains(s().kubectl('api-versions', kubectl=kubectl).stdout, 'apps/v1')


def test_every_kubectl_creates_reads_changes_and_deletes():
    for i, kubectl in enumerate(kubectls()):
        ns = fresh(f'crud-{i}')
        k = lambda *a: s().kubectl('-n', ns, *a, kubectl=kubectl).stdout
        contains(k('create', 'configmap', 'a', '--from-literal=k=v', '--validate=false') if 'debian' not in kubectl else k('create', 'configmap', 'a', '--from-literal=k=v'), 'configmap/a created')
        same(k('get', 'configmap', 'a', '-o', 'jsonpath={.data.k}'), 'v')
        contains(k('label', 'configmap', 'a', 'x=y'), 'labeled')
        contains(k('annotate', 'configmap', 'a', 'p=q'), 'annotat')
        contains(k('patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"k":"w"}}'), 'patched')
        contains(k('patch', 'configmap', 'a', '--type=json', '-p', '[{"op":"add","path":"/data/z","value":"1"}]'), 'patched')
        same(k('get', 'configmap', 'a', '-o', 'jsonpath={.data.k}{.data.z}'), 'w1')
        contains(k('get', 'configmaps', '-l', 'x=y'), 'a ')
        contains(k('delete', 'configmap', 'a'), 'deleted')


def test_apply_creates_then_changes_a_deployment_and_service():
    ns = fresh('apply')
    out = s().kubectl('-n', ns, 'apply', '--validate=false', '-f', '-', stdin=DEPLOYMENT).stdout
    contains(out, 'deployment.apps/web created')
    contains(out, 'service/web created')
    contains(s().kubectl('-n', ns, 'apply', '--validate=false', '-f', '-', stdin=DEPLOYMENT).stdout, 'deployment.apps/web unchanged')
    contains(s().kubectl('-n', ns, 'apply', '--validate=false', '-f', '-', stdin=DEPLOYMENT.replace('replicas: 3', 'replicas: 5')).stdout, 'deployment.apps/web configured')
    d = s().json('-n', ns, 'get', 'deployment', 'web')
    same(d['spec']['replicas'], 5)
    same(d['metadata']['generation'], 2)
    same(d['spec']['strategy']['rollingUpdate'], {'maxSurge': '25%', 'maxUnavailable': '25%'})
    svc = s().json('-n', ns, 'get', 'service', 'web')
    contains(svc['spec']['clusterIP'], '10.96.')
    same(svc['spec']['ports'][0]['targetPort'], 80)


def test_scale_set_image_and_edit_change_the_spec():
    ns = fresh('change')
    s().kubectl('-n', ns, 'apply', '--validate=false', '-f', '-', stdin=DEPLOYMENT)
    contains(s().kubectl('-n', ns, 'scale', 'deployment', 'web', '--replicas=7').stdout, 'scaled')
    contains(s().kubectl('-n', ns, 'set', 'image', 'deployment/web', 'c=registry.example/app:2').stdout, 'image updated')
    d = s().json('-n', ns, 'get', 'deployment', 'web')
    same((d['spec']['replicas'], d['spec']['template']['spec']['containers'][0]['image']), (7, 'registry.example/app:2'))
    table = s().kubectl('-n', ns, 'get', 'deployments', '-o', 'wide').stdout.split('\n')
    same(table[0].split(), ['NAME', 'READY', 'UP-TO-DATE', 'AVAILABLE', 'AGE', 'CONTAINERS', 'IMAGES', 'SELECTOR'])
    contains(table[1], '0/7')


def test_a_watch_sees_what_others_do():
    ns = fresh('watch')
    p = subprocess.Popen(['kubectl', '--kubeconfig', s().kubeconfig, '-n', ns, 'get', 'configmaps', '-w', '-o', 'name'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        time.sleep(1)
        s().kubectl('-n', ns, 'create', 'configmap', 'seen')
        line = []
        t = threading.Thread(target=lambda: line.append(p.stdout.readline()))
        t.start()
        t.join(10)
        same(line, ['configmap/seen\n'])
    finally:
        p.kill()
        p.wait()


def test_wrong_objects_are_refused_in_upstreams_words():
    ns = fresh('refused')
    r = s().kubectl('-n', ns, 'create', '--validate=false', '-f', '-', stdin='{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"Bad_","image":"i"}]}}', check=False)
    contains(r.stderr, 'The Pod "p" is invalid: spec.containers[0].name: Invalid value: "Bad_": a lowercase RFC 1123 label must consist of')
    r = s().kubectl('-n', ns, 'get', 'pod', 'none', check=False)
    same(r.stderr, 'Error from server (NotFound): pods "none" not found\n')
    r = s().kubectl('-n', ns, 'create', 'configmap', 'UPPER', check=False)
    contains(r.stderr, 'metadata.name: Invalid value: "UPPER"')


def test_a_patch_that_does_not_fit_says_what_it_was():
    ns = fresh('fit')
    s().kubectl('-n', ns, 'create', 'deployment', 'fitting', '--image=i')
    cases = (('replicas', 'x', 'map[spec:map[replicas:x]]', 'unrecognized type: int32'), ('replicas', 1.5, 'map[spec:map[replicas:1.5]]', 'cannot convert float64 to int32'),
             ('strategy', {'type': 5}, 'map[spec:map[strategy:map[type:5]]]', 'cannot convert int64 to string'), ('selector', ['a'], 'map[spec:map[selector:[a]]]', 'cannot restore struct from: slice'),
             ('template', {'spec': {'containers': 'x', 'a': None}}, 'map[spec:map[template:map[spec:map[a:<nil> containers:x]]]]', 'cannot restore slice from string'))
    for field, value, shown, why in cases:
        said = s().kubectl('-n', ns, 'patch', 'deployment', 'fitting', '-p', json.dumps({'spec': {field: value}}), check=False).stderr
        same(said, f'The request is invalid: patch: Invalid value: "{shown}": {why}\n')
    said = s().kubectl('-n', ns, 'patch', 'deployment', 'fitting', '--type=merge', '-p', '{"spec":{"replicas":"x"}}', check=False).stderr
    contains(said, 'The request is invalid: patch: Invalid value: "{\\"kind\\":\\"Deployment\\"')
    contains(said, '": json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32\n')


def test_a_pod_gets_its_defaults_and_its_token_volume():
    ns = fresh('pods')
    s().kubectl('-n', ns, 'run', 'p', '--image=registry.example/app')
    p = s().json('-n', ns, 'get', 'pod', 'p')
    same(p['spec']['containers'][0]['imagePullPolicy'], 'Always')
    same(p['spec']['serviceAccountName'], 'default')
    contains(p['spec']['volumes'][0]['name'], 'kube-api-access-')
    same(p['status'], {'phase': 'Pending', 'qosClass': 'BestEffort'})
    same(s().kubectl('-n', ns, 'get', 'pods').stdout.split()[:9], ['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE', 'p', '0/1', 'Pending', '0'])
    contains(s().kubectl('-n', ns, 'delete', 'pod', 'p').stdout, 'deleted')


def test_conflicting_updates_are_refused():
    ns = fresh('conflict')
    s().kubectl('-n', ns, 'create', 'configmap', 'a')
    old = s().json('-n', ns, 'get', 'configmap', 'a')
    s().kubectl('-n', ns, 'patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"k":"v"}}')
    r = s().kubectl('-n', ns, 'replace', '--validate=false', '-f', '-', stdin=json.dumps(old), check=False)
    contains(r.stderr, 'the object has been modified; please apply your changes to the latest version and try again')


def test_finalizers_hold_an_object():
    ns = fresh('finalizers')
    s().kubectl('-n', ns, 'create', '--validate=false', '-f', '-', stdin='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","finalizers":["x.example/y"]}}')
    s().kubectl('-n', ns, 'delete', 'configmap', 'a', '--wait=false')
    assert s().json('-n', ns, 'get', 'configmap', 'a')['metadata']['deletionTimestamp']
    s().kubectl('-n', ns, 'patch', 'configmap', 'a', '--type=merge', '-p', '{"metadata":{"finalizers":null}}')
    same(s().kubectl('-n', ns, 'get', 'configmap', 'a', check=False).returncode, 1)


def test_health_version_and_metrics_answer():
    for path in '/readyz', '/livez', '/healthz': same(s().kubectl('get', '--raw', path).stdout, 'ok')
    contains(s().kubectl('get', '--raw', '/metrics').stdout, 'ckube_store_revision')
    same(json.loads(s().kubectl('get', '--raw', '/version').stdout)['minor'], '36')


def test_what_is_missing_says_so():
    ns = fresh('missing')
    r = s().kubectl('get', '--raw', f'/api/v1/namespaces/{ns}/services/x/proxy/', check=False)
    contains(r.stderr, 'not')


def teardown():
    global server
    if server:
        code, _ = server.stop()
        same(code, 0, 'exit code on SIGTERM: ' + server.log_text())
        server = None
