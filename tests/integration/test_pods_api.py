"""Pods as the apiserver sees them: what is made of their fields before they are stored, and the subresources that are no updates."""
import json
from fixtures import fetch
from harness import Server, contains, same

PODS = '/api/v1/namespaces/default/pods'


class Api:
    def __init__(self):
        self.s = Server(binary='build/ckube')
        self.ask('POST', '/api/v1/namespaces/default/serviceaccounts', {'metadata': {'name': 'default'}})

    def ask(self, method, path, body=None, patch='application/merge-patch+json'):
        code, headers, answer = fetch(self.s, path, method, body, **({'Content_Type': patch} if method == 'PATCH' else {}))
        self.warnings = headers.get_all('Warning') or []
        return code, json.loads(answer) if answer else None

    def pod(self, name, annotations=None, container=None, **spec):
        return self.ask('POST', PODS, {'metadata': {'name': name, 'annotations': annotations or {}}, 'spec': {'automountServiceAccountToken': False, 'containers': [{'name': 'c', 'image': 'i', **(container or {})}], **spec}})


def said(answer): return answer[0], answer[1].get('message')


def test_fields_of_pods_on_their_way_in():
    a = Api()
    try:
        code, pod = a.pod('gated', container={'lifecycle': {'stopSignal': 'SIGTERM'}}, os={'name': 'linux'}, schedulingGroup={'podGroupName': 'g'},
                          volumes=[{'name': 'v', 'projected': {'sources': [{'clusterTrustBundle': {'name': 'b', 'path': 'p'}}]}}])
        same((code, 'lifecycle' in pod['spec']['containers'][0], 'schedulingGroup' in pod['spec'], pod['spec']['volumes'][0]['projected']['sources']), (201, False, False, [{}]))
        contains(json.dumps(pod['metadata']['managedFields']), 'f:stopSignal')  # who asked for it owns it all the same
        contains(a.warnings[0], 'has no sources provided')

        key = 'container.apparmor.security.beta.kubernetes.io/c'
        _, pod = a.pod('armored', annotations={key: 'localhost/x'})
        same(pod['spec']['containers'][0]['securityContext'], {'appArmorProfile': {'type': 'Localhost', 'localhostProfile': 'x'}})
        contains(a.warnings[0], f'metadata.annotations[{key}]: deprecated since v1.30')

        spread = {'maxSkew': 1, 'topologyKey': 'z', 'whenUnsatisfiable': 'DoNotSchedule', 'labelSelector': {}, 'matchLabelKeys': ['app']}
        _, pod = a.ask('POST', PODS, {'metadata': {'name': 'spread', 'labels': {'app': 'x'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}], 'topologySpreadConstraints': [spread]}})
        same(pod['spec']['topologySpreadConstraints'][0]['labelSelector'], {'matchExpressions': [{'key': 'app', 'operator': 'In', 'values': ['x']}]})

        requests = lambda cpu: {'resources': {'requests': {'cpu': cpu}}}
        _, pod = a.pod('whole', container=requests('1'), resources={'limits': {'cpu': '5'}}, initContainers=[{'name': 's', 'image': 'i', 'restartPolicy': 'Always', **requests('1')}, {'name': 'i', 'image': 'i', **requests('3')}])
        same(pod['spec']['resources'], {'limits': {'cpu': '5'}, 'requests': {'cpu': '4'}})

        status = lambda **s: a.ask('PATCH', f'{PODS}/whole/status', {'status': s})[1]['status']
        same([status(podIP='10.0.0.1')['podIPs'], status(podIPs=[{'ip': '10.0.0.2'}, {'ip': 'fd00::1'}])['podIPs'], status(podIP='10.0.0.3')['podIPs']], [[{'ip': '10.0.0.1'}], [{'ip': '10.0.0.1'}], [{'ip': '10.0.0.3'}]])
        statuses = [{'name': 'c', 'image': '', 'imageID': '', 'ready': False, 'restartCount': 2, 'state': {'terminated': {'exitCode': e, 'reason': r}}} for e, r in ((0, 'Completed'), (7, 'Error'))]
        status(phase='Running', containerStatuses=statuses)
        _, _, table = fetch(a.s, f'{PODS}/whole', Accept='application/json;as=Table;v=v1;g=meta.k8s.io')
        same(json.loads(table)['rows'][0]['cells'][2:4], ['Error', '4'])
        same(a.ask('PATCH', f'{PODS}/whole', {'metadata': {'finalizers': [None]}})[0], 422)
    finally: a.s.remove()


def test_bindings_evictions_and_logs():
    a = Api()
    try:
        a.pod('p')
        bind = lambda path, **b: said(a.ask('POST', f'/api/v1/namespaces/default/{path}', {'apiVersion': 'v1', 'kind': 'Binding', **b}))
        same(bind('pods/p/binding', metadata={'name': 'q'}, target={'name': 'n'}), (400, 'name in URL does not match name in Binding object'))
        same(bind('pods/p/binding', metadata={'name': 'p', 'namespace': 'x'}, target={'name': 'n'}), (400, 'the namespace of the provided object does not match the namespace sent on the request'))
        same(bind('pods/p/binding', metadata={'name': 'p'}, target={'kind': 'X'}), (500, '[target.kind: Unsupported value: "X": supported values: "Node", "<empty>", target.name: Required value]'))
        code, message = bind('pods/p/binding', metadata={'name': 'p', 'uid': 'x'}, target={'name': 'n'})
        same(code, 409)
        contains(message, 'Precondition failed: UID in precondition: x, UID in object meta: ')
        same(bind('bindings', metadata={'name': 'p'}, target={'name': 'n'}), (201, None))
        same(a.ask('GET', f'{PODS}/p')[1]['spec']['nodeName'], 'n')

        evict = lambda **options: said(a.ask('POST', f'{PODS}/p/eviction', {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'p'}, 'deleteOptions': options}))
        same(evict(propagationPolicy='x'), (422, 'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "x": supported values: "Foreground", "Background", "Orphan", "nil"'))
        same(evict(ignoreStoreReadErrorWithClusterBreakingPotential=True)[0], 422)
        same(evict(gracePeriodSeconds=-5), (201, None))
        same(a.ask('GET', f'{PODS}/p')[1]['metadata']['deletionGracePeriodSeconds'], 1)

        a.pod('q')
        log = lambda query: a.ask('GET', f'{PODS}/q/log?{query}')[0]
        same([log('tailLines=x'), log('sinceTime=x'), log('stream=All'), log('tailLines=3')], [400, 400, 422, 204])
        same(said(a.ask('GET', f'{PODS}/q/proxy')), (400, 'address not allowed'))
    finally: a.s.remove()
