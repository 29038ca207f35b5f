"""OpenAPI v2 and v3 as clients use them: client-side validation, explain and strategic apply with every kubectl of this machine; what every field is for."""
import gzip, json
from fixtures import fetch
from harness import Server, contains, kubectls, same

DEPLOYMENT = '''
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: a, image: a:1, ports: [{containerPort: 80}], resources: {limits: {cpu: 1}}}]
'''


def test_every_kubectl_validates_explains_and_applies():
    s = Server()
    try:
        for k in kubectls():
            old = '1.20' in s.kubectl('version', '--client', kubectl=k, check=False).stdout
            s.kubectl('apply', '-f', '-', stdin=DEPLOYMENT, kubectl=k)
            wrong = s.kubectl('apply', '--dry-run=client', '-f', '-', stdin=DEPLOYMENT.replace('replicas: 1', 'replicaz: 1'), kubectl=k, check=False)
            if old: assert wrong.returncode and 'replicaz' in wrong.stderr, (k, wrong)
            s.kubectl('apply', '-f', '-', stdin=DEPLOYMENT.replace('a:1', 'a:2').replace('{name: a,', '{name: b, image: b:1}, {name: a,'), kubectl=k)
            same(len(s.json('get', 'deploy', 'web')['spec']['template']['spec']['containers']), 2, k)
            out = s.kubectl('explain', 'deployment.spec', '--recursive', kubectl=k).stdout
            contains(out, 'matchExpressions')
            contains(out, 'containerPort')
            contains(s.kubectl('explain', 'pod.spec.containers.resources', kubectl=k).stdout, 'limits')
            s.kubectl('delete', 'deploy', 'web', kubectl=k)
    finally: s.remove()


def test_every_kind_is_explained():
    s = Server()
    try:
        rows = [line.split() for line in s.kubectl('api-resources', '--no-headers').stdout.splitlines()]
        assert len(rows) > 50, rows
        for row in rows:
            out = s.kubectl('explain', row[0], '--api-version', row[-3], check=False)
            assert out.returncode == 0 and 'FIELDS' in out.stdout, (row, out.stdout, out.stderr)
    finally: s.remove()


def test_documents_are_tagged_and_compressed():
    s = Server()
    try:
        code, headers, body = fetch(s, '/openapi/v2', Accept='application/com.github.proto-openapi.spec.v2@v1.0+protobuf', Accept_Encoding='gzip')
        same((code, headers['Content-Encoding'], headers['Content-Type']), (200, 'gzip', 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf'))
        assert gzip.decompress(body).startswith(b'\x0a\x032.0')
        same(fetch(s, '/openapi/v2', Accept='application/com.github.proto-openapi.spec.v2@v1.0+protobuf', If_None_Match=headers['Etag'])[0], 304)
        code, _, body = fetch(s, '/openapi/v2')
        pod = json.loads(body)['definitions']['io.k8s.api.core.v1.Pod']
        same(pod['x-kubernetes-group-version-kind'], [{'group': '', 'version': 'v1', 'kind': 'Pod'}])
        same(fetch(s, '/openapi/v2', Accept='text/html')[0], 406)
        index = json.loads(fetch(s, '/openapi/v3')[2])['paths']
        code, headers, body = fetch(s, index['apis/apps/v1']['serverRelativeURL'])
        same((code, headers['Cache-Control']), (200, 'public, immutable'))
        code, headers, _ = fetch(s, '/openapi/v3/apis/apps/v1?hash=00')
        same((code, headers['Location']), (301, index['apis/apps/v1']['serverRelativeURL']))
    finally: s.remove()


WIDGETS = '''
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, description: A thing that turns., properties: {spec: {type: object, properties: {size: {type: integer, description: How wide it is.}}}}}}
'''


def undescribed(schemas):
    """Names of the types and fields that lack a sentence, or whose sentence is not a short one."""
    good = lambda d: 25 <= len(d.get('description', '')) <= 200 and d['description'].isascii()
    for name, schema in schemas.items():
        if name.startswith('org.example'): continue  # described as its definition says
        if not good(schema): yield name
        yield from (f'{name}: {field}' for field, d in schema.get('properties', {}).items() if not good(d))


def unexplained(paths):
    """Addresses of the operations, and of their parameters, that lack a sentence."""
    for path, item in paths.items():
        for method, o in item.items():
            if method != 'parameters' and not o.get('description'): yield f'{method} {path}'
            for p in o if method == 'parameters' else o.get('parameters', []):
                if p['name'] != 'body' and not p.get('description'): yield f'{method} {path}: {p["name"]}'


def explained(s, path):
    """The description that `kubectl explain` prints, its lines joined."""
    out = s.kubectl('explain', path).stdout
    return ' '.join(out.split('DESCRIPTION:')[1].split('\nFIELD')[0].split())


def test_every_type_and_field_is_described():
    s = Server(binary='build/ckube', flags=('--runtime-config', 'api/all=true'))
    try:
        s.kubectl('apply', '-f', '-', stdin=WIDGETS)
        s.kubectl('wait', '--for=condition=Established', 'crd/widgets.example.org')
        document = json.loads(fetch(s, '/openapi/v2')[2])
        schemas = document['definitions']
        same(list(unexplained(document['paths'])), [], 'v2')
        same(list(undescribed(schemas)), [], 'v2')
        same(explained_custom(schemas), CUSTOM, 'v2')
        for path, d in json.loads(fetch(s, '/openapi/v3')[2])['paths'].items():
            document = json.loads(fetch(s, d['serverRelativeURL'])[2])
            schemas = document['components']['schemas']
            same(list(unexplained(document['paths'])), [], path)
            same(list(undescribed(schemas)), [], path)
            if 'example.org' in path: same(explained_custom(schemas), CUSTOM, path)
        same(explained(s, 'deployment.spec.strategy'), 'How old Pods give way to new ones. Which way a Deployment is updated, with its parameters.')
        same(explained(s, 'widget.spec.size'), 'How wide it is.')
        assert '<empty>' not in s.kubectl('explain', 'pod.spec').stdout
        contains(s.kubectl('explain', 'pods', '--recursive').stdout, 'matchExpressions')
    finally: s.remove()


CUSTOM = ['A thing that turns.', 'Which kind of object this is, in CamelCase; it cannot be changed.', 'Name, labels, annotations and all else that every object carries.', 'How wide it is.',
          'A list of Widget objects, or one page of it.', 'The Widget objects of the list or of its page.', 'Resource version of the list, and where to go on when this is one page of it.']


def explained_custom(schemas):
    widget, items = schemas['org.example.v1.Widget'], schemas['org.example.v1.WidgetList']
    p, q = widget['properties'], items['properties']
    return [d['description'] for d in (widget, p['kind'], p['metadata'], p['spec']['properties']['size'], items, q['items'], q['metadata'])]


def test_operations_are_those_of_upstreams_documents():
    s = Server()
    try:
        core = json.loads(fetch(s, '/openapi/v3/api/v1')[2])
        collection, item = (core['paths'][f'/api/v1/namespaces/{{namespace}}/configmaps{p}'] for p in ('', '/{name}'))
        names = lambda o: [p['name'] for p in o.get('parameters', [])]
        same(list(collection['get']['responses']['200']['content']), ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf', 'application/json;stream=watch', 'application/vnd.kubernetes.protobuf;stream=watch'])
        same(sorted(collection['post']['responses']), ['200', '201', '202', '401'])
        same(names(collection), ['namespace', 'pretty'])
        same(names(core['paths']['/api/v1/configmaps'])[:3], ['allowWatchBookmarks', 'continue', 'fieldSelector']) # of a path's only operation
        same(sorted(item['patch']['requestBody']['content']), ['application/apply-patch+yaml', 'application/json-patch+json', 'application/merge-patch+json', 'application/strategic-merge-patch+json'])
        contains(json.dumps(item['delete']['responses']['202']), 'meta.v1.Status')
        contains(json.dumps(core['paths']['/api/v1/namespaces/{namespace}/pods/{name}']['delete']['responses']['200']), 'core.v1.Pod')
        same(core['paths']['/api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}']['get']['operationId'], 'connectCoreV1GetNamespacedPodProxyWithPath')
        same(core['paths']['/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token']['post']['operationId'], 'createCoreV1NamespacedServiceAccountToken')
        same(core['paths']['/api/v1/watch/configmaps']['get']['x-kubernetes-action'], 'watchlist')
        same(core['paths']['/api/v1/']['get']['operationId'], 'getCoreV1APIResources')
        schemas = core['components']['schemas']
        port = schemas['io.k8s.api.core.v1.ServicePort']['properties']
        same((port['port']['default'], port['protocol']['enum']), (0, ['SCTP', 'TCP', 'UDP']))
        same(schemas['io.k8s.api.core.v1.PodList']['properties']['items']['items'], {'$ref': '#/components/schemas/io.k8s.api.core.v1.Pod'})
        same(schemas['io.k8s.api.core.v1.Pod']['properties']['metadata']['default'], {})
        same(list(json.loads(fetch(s, '/openapi/v3/apis/rbac.authorization.k8s.io/v1')[2])['paths'].values())[0]['get']['tags'], ['rbacAuthorization_v1'])
    finally: s.remove()
