"""OpenAPI v2 and v3 as clients use them: client-side validation, explain and strategic apply with every kubectl of this machine."""
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
