"""What kinds do to what they are given, and how often they look at its metadata, as upstream's strategies."""
import json
from fixtures import fetch
from harness import Server, same

CORE, STORAGE, NET = '/api/v1/namespaces/default', '/apis/storage.k8s.io/v1', '/apis/networking.k8s.io/v1'
PV = {'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'hostPath': {'path': '/x'}}
QUOTA = {'hard': {'pods': '1'}}


def ask(s, method, path, body, **headers):
    code, _, answer = fetch(s, path, method, body, **headers)
    return code, json.loads(answer)


def merge(s, path, body): return ask(s, 'PATCH', path, body, Content_Type='application/merge-patch+json')


def fields(answer): return sorted(c['field'] for c in answer['details']['causes'])


# (path, body without metadata, how often an update with a bad label tells of it): the generic code twice, then the kind's own.
LOOKS = [
    (CORE + '/resourcequotas', {'spec': QUOTA}, 3),
    (CORE + '/limitranges', {'spec': {'limits': []}}, 3),
    (CORE + '/configmaps', {}, 4),
    (CORE + '/serviceaccounts', {}, 4),
    (CORE + '/persistentvolumeclaims', {'spec': {'accessModes': ['ReadWriteOnce'], 'resources': {'requests': {'storage': '1Gi'}}}}, 4),
    ('/api/v1/persistentvolumes', {'spec': PV}, 4),
    (CORE + '/events', {'involvedObject': {'namespace': 'default'}}, 2),
    (STORAGE + '/csidrivers', {'spec': {}}, 3),
    (STORAGE + '/storageclasses', {'provisioner': 'p'}, 4),
    (STORAGE + '/csinodes', {'spec': {'drivers': []}}, 3),
    (NET + '/ingressclasses', {'spec': {'controller': 'a.b/c'}}, 4),
    (NET + '/namespaces/default/networkpolicies', {'spec': {'podSelector': {}}}, 3),
    ('/apis/node.k8s.io/v1/runtimeclasses', {'handler': 'h'}, 4),
]


def test_metadata_is_looked_at_as_often_as_upstream_does():
    s = Server(binary='build/ckube')
    try:
        for path, body, times in LOOKS:
            same(ask(s, 'POST', path, {'metadata': {'name': 'looked-at'}, **body})[0], 201, path)
            code, answer = merge(s, path + '/looked-at', {'metadata': {'labels': {'a': 'b c'}}})
            same((code, fields(answer)), (422, ['metadata.labels'] * times), path)
        code, answer = merge(s, CORE + '/configmaps/looked-at', {'metadata': {'finalizers': ['..']}})
        same(fields(answer), ['metadata.finalizers'] * 2 + ['metadata.finalizers[0]'] * 2)
        # A core Event's name is only looked at when there is nothing against the rest of it.
        code, answer = ask(s, 'POST', CORE + '/events', {'metadata': {'name': 'A/b'}, 'involvedObject': {'namespace': 'other'}})
        same((code, fields(answer)), (422, ['involvedObject.namespace']))
        code, answer = ask(s, 'POST', CORE + '/events', {'metadata': {'name': 'a/b'}, 'involvedObject': {'namespace': 'default'}})
        same((code, fields(answer)), (422, ['metadata.name']))
        # A resourceVersion is in the way of a creation only at the end, and only if it is one.
        same(fields(ask(s, 'POST', CORE + '/configmaps', {'metadata': {'resourceVersion': '5'}})[1]), ['metadata.name'])
        same(ask(s, 'POST', CORE + '/configmaps', {'metadata': {'name': 'v', 'resourceVersion': '5'}})[0], 500)
        same(ask(s, 'POST', CORE + '/configmaps', {'metadata': {'name': 'v', 'resourceVersion': 'x'}})[0], 201)
    finally:
        s.remove()


def claim(**exactly): return {'spec': {'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'c', **exactly}}]}}}


def test_what_kinds_make_of_what_they_are_given():
    s = Server(binary='build/ckube')
    try:
        same(len(ask(s, 'POST', CORE + '/limitranges', {'metadata': {}, 'spec': {'limits': []}})[1]['metadata']['name']), 36)
        for path, body in ((CORE + '/limitranges', {'spec': {'limits': []}}), ('/apis/node.k8s.io/v1/runtimeclasses', {'handler': 'h'})):
            same(ask(s, 'PUT', path + '/put', {'metadata': {'name': 'put'}, **body})[0], 201, path)
        same(ask(s, 'PUT', NET + '/ipaddresses/1.2.3.4', {'metadata': {'name': '1.2.3.4'}, 'spec': {'parentRef': {'resource': 'services', 'name': 'a'}}})[0], 404)
        account = ask(s, 'POST', CORE + '/serviceaccounts', {'metadata': {'name': 'bot'}, 'secrets': [{'name': 'a', 'namespace': 'b', 'uid': 'c'}]})[1]
        same(account['secrets'], [{'name': 'a'}])
        quota = ask(s, 'POST', CORE + '/resourcequotas', {'metadata': {'name': 'fine'}, 'spec': {'hard': {'cpu': '100n'}}})[1]
        same(quota['spec']['hard'], {'cpu': '1m'})
        driver = ask(s, 'POST', STORAGE + '/csidrivers', {'metadata': {'name': 'd'}, 'spec': {'preventPodSchedulingIfMissing': True}})[1]
        same('preventPodSchedulingIfMissing' in driver['spec'], False)
        endpoint = {'addresses': ['10.0.0.1'], 'deprecatedTopology': {'Bad Key': 'x'}}
        code, made = ask(s, 'POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {'metadata': {'name': 'e'}, 'addressType': 'IPv4', 'endpoints': [endpoint]})
        same((code, made.get('endpoints')), (201, [{'addresses': ['10.0.0.1'], 'conditions': {}}]))
        slice_ = {'driver': 'd', 'pool': {'name': 'p', 'resourceSliceCount': 1}, 'nodeName': 'n', 'devices': [{'name': 'd', 'attributes': {'a': {'string': 'x', 'strings': ['y']}}}]}
        made = ask(s, 'POST', '/apis/resource.k8s.io/v1/resourceslices', {'metadata': {'name': 's'}, 'spec': slice_})[1]
        same(made['spec']['devices'][0]['attributes'], {'a': {'string': 'x'}})
        # A Service needs a name before anything else is wrong with it: its address is made first.
        code, answer = ask(s, 'POST', CORE + '/services', {'metadata': {}, 'spec': {'ports': []}})
        same((code, fields(answer)), (422, ['spec.clusterIPs']))
        same(answer['details']['causes'][0]['message'].endswith('is invalid: spec.parentRef.name: Required value'), True, answer)
        code, answer = ask(s, 'POST', CORE + '/serviceaccounts/bot/token', {'spec': {'boundObjectRef': {'kind': 'Pod', 'apiVersion': 'v1', 'name': 'a%'}}})
        same((code, answer['message']), (400, 'Name parameter invalid: "a%": may not contain \'%\''))
        # Access for administrators needs a namespace that allows it.
        claims = '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims'
        code, answer = ask(s, 'POST', claims, {'metadata': {'name': 'c'}, **claim(adminAccess=True)})
        same((code, fields(answer)), (422, ['spec.devices.requests[0].adminAccess']))
        same(merge(s, '/api/v1/namespaces/default', {'metadata': {'labels': {'resource.kubernetes.io/admin-access': 'true'}}})[0], 200)
        same(ask(s, 'POST', claims, {'metadata': {'name': 'c'}, **claim(adminAccess=True)})[0], 201)
        # What is said of a device goes with its allocation.
        result = {'request': 'r', 'driver': 'd', 'pool': 'p', 'device': 'd'}
        status = {'allocation': {'devices': {'results': [result]}}, 'devices': [{k: v for k, v in result.items() if k != 'request'}]}
        same(merge(s, claims + '/c/status', {'status': status})[0], 200)
        same(merge(s, claims + '/c/status', {'status': {'allocation': None}})[1].get('status'), {})
    finally:
        s.remove()
