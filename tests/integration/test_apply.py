"""Server-side apply with the real kubectl, alone and mixed with client-side apply: fields, conflicts, subresources, diff."""
import json
from harness import Server, contains, kubectls, same

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
"""
MAP = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: %s\n'


def s():
    global server
    if not server: server = Server()
    return server


def fresh(name):
    s().kubectl('create', 'namespace', name)
    return name


def apply(ns, text, *args, **kw):
    return s().kubectl('apply', '--server-side', '-n', ns, '-f', '-', *args, stdin=text, **kw)


def owners(ns, what):
    meta = json.loads(s().kubectl('get', what, '-n', ns, '-o', 'json', '--show-managed-fields').stdout)['metadata']
    return {(e['manager'], e['operation'], e.get('subresource', '')): e['fieldsV1'] for e in meta.get('managedFields', [])}


def test_every_kubectl_applies_server_side():
    for i, kubectl in enumerate(kubectls()):
        ns = fresh(f'ssa-{i}')
        contains(apply(ns, DEPLOYMENT, kubectl=kubectl).stdout, 'deployment.apps/web serverside-applied')
        before = s().json('get', 'deploy/web', '-n', ns)['metadata']['resourceVersion']
        apply(ns, DEPLOYMENT, kubectl=kubectl)
        same(s().json('get', 'deploy/web', '-n', ns)['metadata']['resourceVersion'], before, 'the same again writes nothing')
        same(owners(ns, 'deploy/web')[('kubectl', 'Apply', '')]['f:spec']['f:template']['f:spec']['f:containers'],
             {'k:{"name":"c"}': {'.': {}, 'f:image': {}, 'f:name': {}, 'f:ports': {'k:{"containerPort":80,"protocol":"TCP"}': {'.': {}, 'f:containerPort': {}}}}}, 'fields of the container')


def test_conflicts_are_told_and_forced():
    ns = fresh('ssa-conflict')
    apply(ns, MAP % '{a: "1", b: "2"}', '--field-manager=one')
    r = apply(ns, MAP % '{a: "9", b: "9"}', '--field-manager=two', check=False)
    same(r.returncode, 1, 'exit code')
    contains(r.stderr, 'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\n- .data.b')
    contains(r.stderr, '--force-conflicts')
    apply(ns, MAP % '{a: "9"}', '--field-manager=two', '--force-conflicts')
    same(owners(ns, 'cm/m'), {('one', 'Apply', ''): {'f:data': {'f:b': {}}}, ('two', 'Apply', ''): {'f:data': {'f:a': {}}}}, 'owners')
    apply(ns, MAP % '{}', '--field-manager=one')
    same(s().json('get', 'cm/m', '-n', ns)['data'], {'a': '9'}, 'what one applied is gone with it')


def test_dry_run_and_diff_change_nothing():
    ns = fresh('ssa-diff')
    apply(ns, MAP % '{a: "1"}')
    contains(apply(ns, MAP % '{a: "2"}', '--dry-run=server').stdout, 'serverside-applied (server dry run)')
    r = s().kubectl('diff', '--server-side', '-n', ns, '-f', '-', stdin=MAP % '{a: "2"}', check=False)
    same(r.returncode, 1, 'diff: ' + r.stderr)
    contains(r.stdout, '-  a: "1"\n+  a: "2"')
    same(s().json('get', 'cm/m', '-n', ns)['data'], {'a': '1'}, 'data')
    same(s().kubectl('diff', '--server-side', '-n', ns, '-f', '-', stdin=MAP % '{a: "1"}', check=False).returncode, 0, 'no difference')


def test_from_client_side_to_server_side_and_back():
    ns = fresh('ssa-migrate')
    client = lambda text: s().kubectl('apply', '--validate=false', '-n', ns, '-f', '-', stdin=text)
    client(MAP % '{a: "1", b: "2"}')
    contains(str(owners(ns, 'cm/m')), 'kubectl-client-side-apply')
    apply(ns, MAP % '{a: "3"}')
    same(s().json('get', 'cm/m', '-n', ns)['data'], {'a': '3'}, 'what was applied client-side is pruned server-side')
    same(set(owners(ns, 'cm/m')), {('kubectl', 'Apply', ''), ('kubectl-last-applied', 'Apply', '')}, 'kubectl moved its fields over')
    annotation = s().json('get', 'cm/m', '-n', ns)['metadata']['annotations']['kubectl.kubernetes.io/last-applied-configuration']
    same(json.loads(annotation)['data'], {'a': '3'}, 'the annotation follows')
    client(MAP % '{c: "4"}')
    same(s().json('get', 'cm/m', '-n', ns)['data'], {'c': '4'}, 'and back')


def test_scale_and_status_are_managers_of_their_own():
    ns = fresh('ssa-sub')
    apply(ns, DEPLOYMENT)
    s().kubectl('scale', 'deploy/web', '--replicas=5', '-n', ns)
    same(owners(ns, 'deploy/web')[('kubectl', 'Update', 'scale')], {'f:spec': {'f:replicas': {}}}, 'scale')
    r = apply(ns, DEPLOYMENT, check=False)
    contains(r.stderr, 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas')
    apply(ns, DEPLOYMENT.replace('  replicas: 3\n', ''))
    same(s().json('get', 'deploy/web', '-n', ns)['spec']['replicas'], 5, 'replicas stay with their owner')
    apply(ns, 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {paused: true}\nstatus: {replicas: 2}\n', '--subresource=status', '--field-manager=ctl')
    d = s().json('get', 'deploy/web', '-n', ns)
    same((d['status']['replicas'], d['spec'].get('paused')), (2, None), 'status')
    same(owners(ns, 'deploy/web')[('ctl', 'Apply', 'status')], {'f:status': {'f:replicas': {}}}, 'status owns status only')


def test_unknown_and_duplicate_fields():
    ns = fresh('ssa-bad')
    r = apply(ns, 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndatum: {}\n', '--validate=false', check=False)
    contains(r.stderr, 'failed to create typed patch object')
    contains(r.stderr, '.datum: field not declared in schema')
    r = apply(ns, 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, finalizers: [a.example/b, a.example/b]}\n', '--validate=false', check=False)
    contains(r.stderr, '.metadata.finalizers: duplicate entries for key [="a.example/b"]')
