"""Custom resources whose versions a webhook converts: every verb in every version, what is made of wrong answers, and a webhook that is away."""
import base64, json, subprocess, tempfile, threading, time
from fixtures import JsonServer, fetch
from harness import Server, contains, same

GROUP = 'example.org'
THINGS = f'/apis/{GROUP}/%s/namespaces/default/things'


def definition(hook, storage='v1', client=None, review_versions=('v1',), title=''):
    """v1 has spec.hostPort, v2 spec.host and spec.port."""
    def version(name, spec):
        return {'name': name, 'served': True, 'storage': name == storage, 'subresources': {'status': {}, 'scale': {'specReplicasPath': '.spec.replicas', 'statusReplicasPath': '.status.replicas'}},
                'schema': {'openAPIV3Schema': {'type': 'object', 'properties': {'status': {'type': 'object', 'properties': {'replicas': {'type': 'integer'}, 'note': {'type': 'string'}}}, 'spec': {'type': 'object', 'properties': {
                    **spec, 'replicas': {'type': 'integer'}, 'color': {'type': 'string', 'default': 'red' if name == 'v1' else 'blue'}}}}}}}
    return {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': f'things.{GROUP}', 'annotations': {'title': title}}, 'spec': {
        'group': GROUP, 'scope': 'Namespaced', 'names': {'plural': 'things', 'kind': 'Thing'},
        'versions': [version('v1', {'hostPort': {'type': 'string'}}), version('v2', {'host': {'type': 'string'}, 'port': {'type': 'string'}})],
        'conversion': {'strategy': 'Webhook', 'webhook': {'conversionReviewVersions': list(review_versions), 'clientConfig': {'caBundle': hook.ca, **(client or {'url': f'https://127.0.0.1:{hook.port}/convert'})}}}}}


def convert(obj, to):
    out, spec = json.loads(json.dumps(obj)), obj.get('spec', {})
    out['apiVersion'] = to
    rest = {k: v for k, v in spec.items() if k not in ('hostPort', 'host', 'port')}
    if to.endswith('v2') and 'hostPort' in spec: rest['host'], rest['port'] = spec['hostPort'].split(':')
    if to.endswith('v1') and 'host' in spec: rest['hostPort'] = spec['host'] + ':' + spec['port']
    if 'spec' in obj: out['spec'] = rest
    return out


class Converter:
    """Answers ConversionReviews; `change` alters an answer before it is sent, `wait` is waited for first."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='ckube-convert-')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', f'{self.dir}/key', '-out', f'{self.dir}/cert', '-days', '2', '-subj', '/CN=hook',
                        '-addext', 'subjectAltName=IP:127.0.0.1,DNS:hook.default.svc'], check=True, capture_output=True)
        self.reviews, self.change, self.wait = [], None, None
        self.server = JsonServer(f'{self.dir}/cert', f'{self.dir}/key', self.take)
        self.port = self.server.port
        self.ca = base64.b64encode(open(f'{self.dir}/cert', 'rb').read()).decode()

    def take(self, path, review):
        request = review['request']
        self.reviews.append((path, review))
        if self.wait: self.wait.wait(60)
        answer = {'kind': 'ConversionReview', 'apiVersion': review['apiVersion'], 'response': {
            'uid': request['uid'], 'result': {'status': 'Success'}, 'convertedObjects': [convert(o, request['desiredAPIVersion']) for o in request['objects']]}}
        return self.change(answer) if self.change else (200, answer)

    def stop(self): self.server.stop()


def define(s, hook, **more):
    s.kubectl('apply', '-f', '-', stdin=json.dumps(definition(hook, **more)))
    s.kubectl('wait', '--for=condition=Established', f'crd/things.{GROUP}', '--timeout=60s')
    eventually('it is served', lambda: fetch(s, THINGS % 'v2')[0] == 200)


def eventually(what, condition):
    deadline = time.time() + 60
    while not condition():
        if time.time() > deadline: raise AssertionError(f'not in time: {what}')
        time.sleep(0.05)


def ask(s, path, method='GET', body=None, **headers):
    code, _, text = fetch(s, path, method, body, **headers)
    return code, json.loads(text)


def thing(name, version='v1', **spec):
    return {'apiVersion': f'{GROUP}/{version}', 'kind': 'Thing', 'metadata': {'name': name}, 'spec': spec}


class Watch:
    """kubectl's raw watch, its events as they come."""

    def __init__(self, s, version, query=''):
        self.events = []
        self.process = subprocess.Popen(['kubectl', '--kubeconfig', s.kubeconfig, 'get', '--raw', THINGS % version + '?watch=1' + query], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout: self.events.append(json.loads(line))

    def wait(self, n): eventually(f'{n} events', lambda: len(self.events) >= n)

    def stop(self):
        self.process.kill()
        self.process.wait()


def test_every_verb_in_every_version():
    s, hook = Server(), Converter()
    try:
        define(s, hook)
        code, made = ask(s, THINGS % 'v2' + '?fieldManager=two', 'POST', {**thing('a', 'v2', host='h', port='1', replicas=1), 'metadata': {'name': 'a', 'labels': {'l': 'x'}}})
        same((code, made['spec'], made['apiVersion'], made['metadata']['generation']), (201, {'host': 'h', 'port': '1', 'replicas': 1, 'color': 'blue'}, f'{GROUP}/v2', 1))
        same([(p, r['request']['desiredAPIVersion'], r['request']['objects'][0]['spec']) for p, r in hook.reviews],
             [('/convert?timeout=30s', f'{GROUP}/v1', {'host': 'h', 'port': '1', 'replicas': 1, 'color': 'blue'}), ('/convert?timeout=30s', f'{GROUP}/v2', {'hostPort': 'h:1', 'replicas': 1, 'color': 'blue'})], 'there and back')
        same(ask(s, THINGS % 'v1' + '/a')[1]['spec'], {'hostPort': 'h:1', 'replicas': 1, 'color': 'blue'})
        same(len(hook.reviews), 2, 'what is stored in the version asked for needs no webhook')
        same(ask(s, THINGS % 'v2' + '/a')[1]['spec'], {'host': 'h', 'port': '1', 'replicas': 1, 'color': 'blue'})
        code, got = ask(s, THINGS % 'v2' + '/a', 'PATCH', {'spec': {'port': '2'}}, Content_Type='application/merge-patch+json')
        same((code, got['spec']['port'], got['metadata']['generation']), (200, '2', 2))
        code, got = ask(s, THINGS % 'v2' + '/a/status', 'PATCH', {'status': {'note': 'n', 'replicas': 4}, 'spec': {'port': '9'}}, Content_Type='application/merge-patch+json')
        same((code, got['spec']['port'], got['status']), (200, '2', {'note': 'n', 'replicas': 4}))
        code, got = ask(s, THINGS % 'v2' + '/a/scale', 'PATCH', {'spec': {'replicas': 3}}, Content_Type='application/merge-patch+json')
        same((code, got['kind'], got['spec']['replicas'], got['status']['replicas']), (200, 'Scale', 3, 4))
        same(ask(s, THINGS % 'v1' + '/a')[1]['spec'], {'hostPort': 'h:2', 'replicas': 3, 'color': 'blue'})
        got['metadata']['resourceVersion'] = '1'
        current = ask(s, THINGS % 'v2' + '/a')[1]
        current['spec']['host'] = 'g'
        same(ask(s, THINGS % 'v2' + '/a', 'PUT', current)[0], 200)
        same(ask(s, THINGS % 'v2' + '/a', 'PUT', current)[0], 409)
        same(ask(s, THINGS % 'v1' + '/a')[1]['spec']['hostPort'], 'g:2')
        code, gone = ask(s, THINGS % 'v2' + '/a', 'DELETE')
        same((code, gone['status']), (200, 'Success'))
        same(ask(s, THINGS % 'v1' + '/a')[0], 404)
    finally:
        hook.stop()
        s.remove()


def test_lists_are_converted_at_once_and_filtered_afterwards():
    s, hook = Server(), Converter()
    try:
        define(s, hook, client={'service': {'namespace': 'default', 'name': 'hook', 'path': '/c', 'port': hook.port}}, review_versions=('v9', 'v1beta1'))
        s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'hook'}, 'spec': {'type': 'ExternalName', 'externalName': 'localhost', 'ports': [{'port': hook.port}]}}))
        for i in range(5): ask(s, THINGS % 'v1', 'POST', thing(f't{i}', hostPort=f'h:{i}'))
        same(hook.reviews, [])
        items = ask(s, THINGS % 'v2')[1]['items']
        same([(i['apiVersion'], i['spec']['port']) for i in items], [(f'{GROUP}/v2', str(n)) for n in range(5)])
        same([(p, r['apiVersion'], len(r['request']['objects'])) for p, r in hook.reviews], [('/c?timeout=30s', 'apiextensions.k8s.io/v1beta1', 5)])
        def label(answer):  # the odd ones have a label in v2
            for o in answer['response']['convertedObjects']:
                if int(o['spec']['port']) % 2: o['metadata']['labels'] = {'odd': 'yes'}
            return 200, answer
        hook.change = label
        same([i['metadata']['name'] for i in ask(s, THINGS % 'v2' + '?labelSelector=odd')[1]['items']], ['t1', 't3'])
        same(ask(s, THINGS % 'v1' + '?labelSelector=odd')[1]['items'], [])
        names, query, pages = [], '', 0
        while True:
            page = ask(s, THINGS % 'v2' + '?limit=2' + query)[1]
            names, pages = names + [i['metadata']['name'] for i in page['items']], pages + 1
            if not page['metadata'].get('continue'): break
            query = '&continue=' + page['metadata']['continue']
        same((names, pages), ([f't{i}' for i in range(5)], 3))
        page = ask(s, THINGS % 'v2' + '?limit=1&labelSelector=odd')[1]
        rest = ask(s, THINGS % 'v2' + '?labelSelector=odd&limit=5&continue=' + page['metadata']['continue'])[1]
        same([i['metadata']['name'] for i in page['items'] + rest['items']], ['t1', 't3'])
        same(ask(s, THINGS % 'v2' + '?labelSelector=odd', 'DELETE')[0], 200)
        same([i['metadata']['name'] for i in ask(s, THINGS % 'v1')[1]['items']], ['t0', 't2', 't4'])
    finally:
        hook.stop()
        s.remove()


def test_managers_own_fields_of_their_version():
    s, hook = Server(), Converter()
    try:
        define(s, hook)
        def apply(version, manager, spec, force=''):
            return ask(s, THINGS % version + f'/a?fieldManager={manager}{force}', 'PATCH', {'apiVersion': f'{GROUP}/{version}', 'kind': 'Thing', 'metadata': {'name': 'a'}, 'spec': spec}, Content_Type='application/apply-patch+yaml')
        same(apply('v1', 'one', {'hostPort': 'h:1'})[0], 201)
        code, got = apply('v2', 'two', {'host': 'h', 'port': '1'})
        same((code, sorted((m['manager'], m['apiVersion'], json.dumps(m['fieldsV1'])) for m in got['metadata']['managedFields'])), (200, [
            ('one', f'{GROUP}/v1', '{"f:spec": {"f:hostPort": {}}}'), ('two', f'{GROUP}/v2', '{"f:spec": {"f:host": {}, "f:port": {}}}')]))
        code, got = apply('v2', 'two', {'host': 'h', 'port': '2'})
        same((code, [c['field'] for c in got['details']['causes']]), (409, ['.spec.hostPort']), 'what it changes is somebody\'s in v1')
        code, got = apply('v2', 'two', {'host': 'h', 'port': '2'}, '&force=true')
        same((code, [m['manager'] for m in got['metadata']['managedFields']]), (200, ['two']))
        same(ask(s, THINGS % 'v1' + '/a')[1]['spec']['hostPort'], 'h:2')
    finally:
        hook.stop()
        s.remove()


def test_watches_convert_in_order_and_together():
    s, hook, watches = Server(), Converter(), []
    try:
        define(s, hook)
        ask(s, THINGS % 'v1', 'POST', thing('a', hostPort='h:0'))
        watches = [Watch(s, 'v2', '&resourceVersion=0') for _ in range(4)] + [Watch(s, 'v1', '&resourceVersion=0')]
        for w in watches: w.wait(1)
        for i in range(1, 31): ask(s, THINGS % 'v1' + '/a', 'PATCH', {'spec': {'hostPort': f'h:{i}'}}, Content_Type='application/merge-patch+json')
        ask(s, THINGS % 'v1' + '/a', 'DELETE')
        for w in watches: w.wait(32)
        for w in watches[:4]:
            same([(e['type'], e['object']['spec']['port']) for e in w.events], [('ADDED', '0')] + [('MODIFIED', str(i)) for i in range(1, 31)] + [('DELETED', '30')])
            same(sorted(int(e['object']['metadata']['resourceVersion']) for e in w.events), [int(e['object']['metadata']['resourceVersion']) for e in w.events])
        same([e['object']['spec']['hostPort'] for e in watches[4].events], [f'h:{i}' for i in range(31)] + ['h:30'])
        sent = [o['metadata']['resourceVersion'] for _, r in hook.reviews for o in r['request']['objects']]
        same(len(sent), len(set(sent)), 'each is converted once for all watches')
        same([json.loads(line)['object']['spec']['port'] for line in s.kubectl('get', '--raw', THINGS % 'v2' + f'?watch=1&timeoutSeconds=1&resourceVersion={watches[0].events[0]["object"]["metadata"]["resourceVersion"]}').stdout.splitlines()],
             [str(i) for i in range(1, 31)] + ['30'], 'from the log')
    finally:
        for w in watches: w.stop()
        hook.stop()
        s.remove()


def test_wrong_answers_are_errors():
    s, hook = Server(), Converter()
    try:
        define(s, hook)
        for name in 'ab': ask(s, THINGS % 'v1', 'POST', thing(name, hostPort='h:1'))
        kind = f'conversion webhook for {GROUP}/v1, Kind=Thing'
        def response(**more): return lambda a: (200, {**a, 'response': {**a['response'], **more}})
        def objects(change):
            def alter(a):
                for o in a['response']['convertedObjects']: change(o)
                return 200, a
            return alter
        rows = [(response(result={'status': 'Failed', 'message': 'no way'}), f'{kind} failed: no way'),
                (response(result={'status': 'Failed'}), f"{kind} failed: response.result.status was 'Failed', not 'Success'"),
                (response(uid='x'), f'{kind} failed: expected response.uid="'),
                (response(convertedObjects=[]), f'{kind} returned 0 objects, expected 1'),
                (lambda a: (200, {**a, 'apiVersion': 'apiextensions.k8s.io/v1beta1'}), f'{kind} failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1beta1, Kind=ConversionReview'),
                (lambda a: (200, {k: v for k, v in a.items() if k != 'response'}), f'{kind} failed: no response provided'),
                (lambda a: (500, {'oh': 'no'}), f'{kind} failed: an error on the server'),
                (objects(lambda o: o.update(apiVersion=f'{GROUP}/v1')), f'{kind} returned invalid object at index 0: invalid groupVersion (expected {GROUP}/v2, received {GROUP}/v1)'),
                (objects(lambda o: o.update(kind='Else')), f'{kind} returned invalid object at index 0: invalid kind (expected Thing, received Else)'),
                (objects(lambda o: o['metadata'].update(name='z')), f'{kind} returned invalid object: must have the same name: a != z'),
                (objects(lambda o: o['metadata'].update(uid='z')), f'{kind} returned invalid object: must have the same UID: '),
                (objects(lambda o: o['metadata'].update(labels={'x': 1})), f'{kind} returned invalid metadata: metadata.labels[x] must be a string, but is int64 in converted object'),
                (objects(lambda o: o['metadata'].update(labels={'x': 'a b'})), f'{kind} returned invalid metadata: metadata.labels: Invalid value: "a b": a valid label must be')]
        for change, text in rows:
            hook.change = change
            code, got = ask(s, THINGS % 'v2' + '/a')
            same((code, got['message'][:len(text)]), (500, text))
        hook.change = objects(lambda o: o['metadata'].update(name='z'))
        contains(ask(s, THINGS % 'v2')[1]['message'], f'{kind} returned invalid converted object at index 0: must have the same name: a != z')
        hook.change = objects(lambda o: o['metadata'].update(labels={'x': 'y'}, annotations={'n': 'o'}, generation=77, finalizers=['a/b'], resourceVersion='3'))
        before, got = ask(s, THINGS % 'v1' + '/a')[1]['metadata'], ask(s, THINGS % 'v2' + '/a')[1]['metadata']
        same((got.pop('labels'), got.pop('annotations'), got), ({'x': 'y'}, {'n': 'o'}, before), 'of metadata only labels and annotations may change')
        same(ask(s, THINGS % 'v1' + '/a')[0], 200)
    finally:
        hook.stop()
        s.remove()


def test_a_webhook_that_hangs_or_is_away_holds_up_nobody_else():
    s, hook, watch = Server(), Converter(), None
    try:
        define(s, hook)
        ask(s, THINGS % 'v1', 'POST', thing('a', hostPort='h:1'))
        hook.wait = threading.Event()
        slow, answers = [threading.Thread(target=lambda: answers.append(ask(s, THINGS % 'v2' + '/a'))) for _ in range(8)], []
        watch = Watch(s, 'v2', '&resourceVersion=0')
        gone = Watch(s, 'v2', '&resourceVersion=0')
        for t in slow: t.start()
        eventually('they wait', lambda: len(hook.reviews) >= 9)
        gone.stop()
        for i in range(2, 12):
            same(ask(s, THINGS % 'v1' + '/a', 'PATCH', {'spec': {'hostPort': f'h:{i}'}}, Content_Type='application/merge-patch+json')[0], 200)
            s.kubectl('create', 'configmap', f'c{i}')
        same((answers, watch.events), ([], []))
        hook.wait.set()
        for t in slow: t.join(60)
        same([(code, got['spec']['port']) for code, got in answers], [(200, '1')] * 8)
        watch.wait(11)
        same([e['object']['spec']['port'] for e in watch.events], [str(i) for i in range(1, 12)])
        hook.stop()
        before = ask(s, THINGS % 'v1' + '/a')[1]
        text = f'conversion webhook for {GROUP}/v1, Kind=Thing failed: Post "https://127.0.0.1:{hook.port}/convert?timeout=30s": dial tcp 127.0.0.1:{hook.port}: connect: connection refused'
        for method, body in ('GET', None), ('DELETE', None), ('PATCH', {'spec': {'port': '5'}}):
            code, got = ask(s, THINGS % 'v2' + '/a', method, body, Content_Type='application/merge-patch+json')
            same((code, got['message']), (500, text))
        same(ask(s, THINGS % 'v2')[1]['message'], text)
        same(ask(s, THINGS % 'v2', 'POST', thing('n', 'v2', host='h', port='1'))[1]['message'], text.replace(f'{GROUP}/v1, Kind', f'{GROUP}/v2, Kind'))
        same(ask(s, THINGS % 'v1' + '/a')[1], before)
        same(ask(s, THINGS % 'v1' + '/a', 'PATCH', {'spec': {'hostPort': 'h:99'}}, Content_Type='application/merge-patch+json')[0], 200)
        eventually('the watch ends with the error', lambda: watch.process.poll() is not None)
        same((watch.events[-1]['type'], watch.events[-1]['object']['message']), ('ERROR', text))
        s.kubectl('delete', 'crd', f'things.{GROUP}', '--timeout=60s')
    finally:
        if watch: watch.stop()
        s.remove()


def test_another_version_becomes_the_stored_one():
    s, hook, watch = Server(), Converter(), None
    try:
        define(s, hook)
        ask(s, THINGS % 'v1', 'POST', thing('a', hostPort='h:1'))
        watch = Watch(s, 'v1', '&resourceVersion=0')
        watch.wait(1)
        s.kubectl('apply', '-f', '-', stdin=json.dumps(definition(hook, storage='v2')))
        eventually('v2 is stored', lambda: s.json('get', 'crd', f'things.{GROUP}')['status']['storedVersions'] == ['v1', 'v2'])
        def writes_v2():  # once what is served knows of the change
            hook.reviews.clear()
            code, got = ask(s, THINGS % 'v2', 'POST', thing(f'n{time.time_ns()}', 'v2', host='h', port='1'))
            return code == 201 and not hook.reviews
        eventually('it is written so', writes_v2)
        first = ask(s, THINGS % 'v1' + '/a')[1]
        same((first['spec'], hook.reviews), ({'hostPort': 'h:1', 'color': 'red'}, []))
        code, again = ask(s, THINGS % 'v1' + '/a', 'PUT', first)
        same((code, again['spec'], again['metadata']['generation']), (200, first['spec'], 1))
        assert again['metadata']['resourceVersion'] != first['metadata']['resourceVersion'], 'an update that changes nothing writes it anew'
        hook.reviews.clear()
        same(ask(s, THINGS % 'v2' + '/a')[1]['spec'], {'host': 'h', 'port': '1', 'color': 'red'})
        same(hook.reviews, [])
        code, third = ask(s, THINGS % 'v1' + '/a', 'PUT', again)
        same(third['metadata']['resourceVersion'], again['metadata']['resourceVersion'])
        eventually('a watch of before ends', lambda: watch.process.poll() is not None)
    finally:
        if watch: watch.stop()
        hook.stop()
        s.remove()
