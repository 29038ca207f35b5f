"""Controllers as users see them: `ckube server` without a node, and kubectl."""
import json, time
from harness import Server, Skip, contains, same

server = None


def the_server():
    global server
    if not server: server = Server(command='server', flags=['--disable-agent'])
    return server


def until(test, what, seconds=60):
    deadline = time.time() + seconds
    while time.time() < deadline:
        if test(): return
        time.sleep(0.1)
    raise AssertionError(f'waited {seconds} s for {what}')


def test_a_namespace_of_many_pods_goes_in_a_moment():
    s = the_server()
    s.kubectl('create', 'namespace', 'many')
    until(lambda: s.kubectl('-n', 'many', 'get', 'serviceaccount', 'default', check=False).returncode == 0, 'the default account')
    pods = [{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': f'p{i}', 'namespace': 'many'}, 'spec': {'containers': [{'name': 'c', 'image': 'x'}]}} for i in range(100)]
    s.kubectl('create', '--validate=false', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': pods}))
    start = time.time()
    s.kubectl('delete', 'namespace', 'many')
    assert time.time() - start < 10, f'it took {time.time() - start:.1f} s'
    contains(s.kubectl('get', 'namespace', 'many', check=False).stderr, '"many" not found')


def test_a_custom_resource_goes_with_its_namespace():
    s = the_server()
    crd = {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'widgets.example.com'},
           'spec': {'group': 'example.com', 'scope': 'Namespaced', 'names': {'plural': 'widgets', 'singular': 'widget', 'kind': 'Widget', 'listKind': 'WidgetList'},
                    'versions': [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}]}}
    s.kubectl('create', '-f', '-', stdin=json.dumps(crd))
    time.sleep(1)
    if not s.json('get', 'crd', 'widgets.example.com').get('status', {}).get('conditions'): raise Skip('this server does not serve custom resources')
    s.kubectl('create', 'namespace', 'custom')
    widget = {'apiVersion': 'example.com/v1', 'kind': 'Widget', 'metadata': {'name': 'w', 'namespace': 'custom'}, 'size': 1}
    until(lambda: s.kubectl('create', '--validate=false', '-f', '-', stdin=json.dumps(widget), check=False).returncode == 0, 'the definition to be served')
    s.kubectl('delete', 'namespace', 'custom')
    same(json.loads(s.kubectl('get', '--raw', '/apis/example.com/v1/widgets').stdout)['items'], [], 'widgets')


def test_a_quota_counts_and_gives_back():
    s = the_server()
    s.kubectl('create', 'namespace', 'q')
    s.kubectl('-n', 'q', 'create', 'quota', 'q', '--hard=configmaps=5,pods=3')
    until(lambda: s.json('-n', 'q', 'get', 'quota', 'q').get('status', {}).get('used', {}).get('configmaps') == '1', 'the root CA to be counted')
    s.kubectl('-n', 'q', 'delete', 'quota', 'q')


def test_nodes_have_ranges_and_views_have_rules():
    s = the_server()
    s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'n1'}}))
    until(lambda: s.json('get', 'node', 'n1')['spec'].get('podCIDR') == '10.42.0.0/24', 'a range')
    until(lambda: len(s.json('get', 'clusterrole', 'view').get('rules') or []) > 5, 'the rules of view')
    until(lambda: 'certificate-authority-data' in s.kubectl('config', 'view', '--raw').stdout and 'BEGIN CERTIFICATE' in s.json('get', 'configmap', 'kube-root-ca.crt')['data']['ca.crt'], 'the root CA')
