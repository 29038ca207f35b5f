"""An apiserver whose truth is an etcd cluster: a real etcd on loopback, over mutual TLS; two apiservers on it are one; what others write into it is read."""
import base64, http.client, json, os, shutil, signal, ssl, subprocess, time
from fixtures import Etcd
from harness import Server, contains, same

state = {}


def value(etcd, key):
    return base64.b64decode(json.loads(etcd.ctl('get', key, '-w', 'json').stdout)['kvs'][0]['value'])


def cluster():
    """One etcd, and two apiservers on it. They advertise addresses that nobody has: one machine has but one of its own."""
    if not state:
        etcd = Etcd(tls=True)
        state.update(etcd=etcd, a=Server(flags=[*etcd.flags(), '--advertise-address', '192.0.2.101']), b=Server(flags=[*etcd.flags(), '--advertise-address', '192.0.2.102']))
    return state['etcd'], state['a'], state['b']


def teardown():
    for name in 'a', 'b', 'c', 'etcd':
        if name in state: state.pop(name).remove()


def endpoints(server):
    """The addresses of the Service kubernetes by its Endpoints and by its EndpointSlice."""
    e, s = server.kubectl('get', 'endpoints', 'kubernetes', '-o', 'json', check=False), server.kubectl('get', 'endpointslice', 'kubernetes', '-o', 'json', check=False)
    if e.returncode or s.returncode: return [], []
    return [x['ip'] for subset in json.loads(e.stdout).get('subsets', []) for x in subset['addresses']], [x for ep in json.loads(s.stdout)['endpoints'] for x in ep['addresses']]


def wait_endpoints(server, *want, seconds):
    deadline = time.time() + seconds
    while (got := endpoints(server)) != (list(want), list(want)):
        if time.time() > deadline: raise AssertionError(f'after {seconds} s the endpoints are {got}, not {want}')
        time.sleep(0.1)


def test_every_apiserver_is_an_endpoint_of_the_service_until_it_ends():
    etcd, a, b = cluster()
    wait_endpoints(a, '192.0.2.101', '192.0.2.102', seconds=20)
    c = state['c'] = Server(flags=[*etcd.flags(), '--advertise-address', '192.0.2.103'])
    for s in a, b: wait_endpoints(s, '192.0.2.101', '192.0.2.102', '192.0.2.103', seconds=20)
    assert value(etcd, '/registry/masterleases/192.0.2.103').startswith(b'k8s\0\n\x0f\n\x02v1\x12\tEndpoints')
    same(c.stop()[0], 0)
    same(endpoints(a), (['192.0.2.101', '192.0.2.102'],) * 2, 'endpoints after a clean stop')
    c.start()
    wait_endpoints(a, '192.0.2.101', '192.0.2.102', '192.0.2.103', seconds=20)
    c.stop(signal.SIGKILL) # what comes of it is seen below, when its lease has had its time
    slice = a.json('get', 'endpointslice', 'kubernetes')
    same(slice['metadata']['labels'], {'kubernetes.io/service-name': 'kubernetes'})
    same((slice['addressType'], slice['ports'][0]['name'], slice['endpoints'][0]['conditions']), ('IPv4', 'https', {'ready': True}))
    same(a.json('get', 'endpoints', 'kubernetes')['metadata']['labels'], {'endpointslice.kubernetes.io/skip-mirror': 'true'})


def test_what_one_apiserver_wrote_the_other_reads_at_once():
    etcd, a, b = cluster()
    for n in range(10):
        a.kubectl('create', 'configmap', f'seen-{n}', '--from-literal', f'n={n}')
        same(b.json('get', 'configmap', f'seen-{n}')['data'], {'n': str(n)})
        b.kubectl('label', 'configmap', f'seen-{n}', f'by=b{n}')
        same(a.json('get', 'configmap', f'seen-{n}')['metadata']['labels'], {'by': f'b{n}'})
    both = [[(i['metadata']['name'], i['metadata']['resourceVersion'], i['metadata']['uid']) for i in s.json('get', 'configmaps')['items']] for s in (a, b)]
    same(both[0], both[1])


def test_a_revision_that_is_not_there_yet_is_not_answered_with_an_older_one():
    etcd, a, b = cluster()
    a.kubectl('create', 'configmap', 'old')
    tls = ssl.create_default_context(cafile=f'{b.dir}/tls/server-ca.crt')
    tls.load_cert_chain(f'{b.dir}/tls/admin.crt', f'{b.dir}/tls/admin.key')
    for path in '/api/v1/namespaces/default/configmaps/old', '/api/v1/namespaces/default/configmaps':
        c = http.client.HTTPSConnection('127.0.0.1', b.port, context=tls)  # kubectl would try it ten times
        c.request('GET', f'{path}?resourceVersion=99999999')
        r = c.getresponse()
        said = r.read().decode()
        c.close()
        assert r.status == 504 and 'Too large resource version' in said, (r.status, said)


def test_objects_lie_in_etcd_where_and_as_upstream_keeps_them():
    etcd, a, b = cluster()
    a.kubectl('create', 'configmap', 'stored', '--from-literal', 'k=v')
    a.kubectl('create', 'service', 'clusterip', 'stored', '--tcp=80')
    assert value(etcd, '/registry/configmaps/default/stored').startswith(b'k8s\0\n\x0f\n\x02v1\x12\tConfigMap')
    assert value(etcd, '/registry/services/specs/default/stored').startswith(b'k8s\0')


def test_an_object_that_another_wrote_as_json_is_read_changed_and_watched():
    etcd, a, b = cluster()
    since = json.loads(a.kubectl('get', '--raw', '/api/v1/namespaces/default/configmaps?limit=1').stdout)['metadata']['resourceVersion']
    foreign = {'kind': 'ConfigMap', 'apiVersion': 'v1', 'metadata': {'name': 'foreign', 'namespace': 'default', 'uid': '0b7d7f3e-0000-4000-8000-000000000001',
               'creationTimestamp': '2026-01-01T00:00:00Z'}, 'data': {'from': 'elsewhere'}}
    etcd.ctl('put', '/registry/configmaps/default/foreign', json.dumps(foreign))
    for s in a, b: same(s.json('get', 'configmap', 'foreign')['data'], {'from': 'elsewhere'})
    events = a.kubectl('get', '--raw', f'/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={since}&timeoutSeconds=1').stdout.splitlines()
    same([(e['type'], e['object']['metadata']['name']) for e in map(json.loads, events)], [('ADDED', 'foreign')])
    b.kubectl('patch', 'configmap', 'foreign', '-p', '{"data":{"to":"here"}}')
    same(a.json('get', 'configmap', 'foreign')['data'], {'from': 'elsewhere', 'to': 'here'})
    etcd.ctl('del', '/registry/configmaps/default/foreign')
    contains(b.kubectl('get', 'configmap', 'foreign', check=False).stderr, 'configmaps "foreign" not found')


def test_a_stale_update_conflicts_whichever_apiserver_it_comes_to():
    etcd, a, b = cluster()
    a.kubectl('create', 'configmap', 'raced')
    old = a.json('get', 'configmap', 'raced')
    b.kubectl('label', 'configmap', 'raced', 'x=1')
    old['data'] = {'lost': 'update'}
    r = a.kubectl('replace', '-f', '-', stdin=json.dumps(old), check=False)
    contains(r.stderr, 'the object has been modified; please apply your changes to the latest version and try again')


def test_custom_resources_of_one_are_served_by_the_other():
    etcd, a, b = cluster()
    crd = {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'things.example.com'}, 'spec': {'group': 'example.com', 'scope': 'Namespaced',
           'names': {'plural': 'things', 'singular': 'thing', 'kind': 'Thing', 'listKind': 'ThingList'}, 'versions': [{'name': 'v1', 'served': True, 'storage': True,
           'schema': {'openAPIV3Schema': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}]}}
    a.kubectl('create', '-f', '-', stdin=json.dumps(crd))
    a.kubectl('wait', '--for=condition=Established', 'crd/things.example.com', '--timeout=20s')
    thing = json.dumps({'apiVersion': 'example.com/v1', 'kind': 'Thing', 'metadata': {'name': 't', 'namespace': 'default'}, 'spec': {'deep': [1, 2]}})
    deadline = time.time() + 15
    while b.kubectl('create', '--validate=false', '-f', '-', stdin=thing, check=False).returncode:
        if time.time() > deadline: raise AssertionError('the other apiserver does not serve the custom resource')
        time.sleep(0.3)
    same(a.json('get', 'things.example.com', 't')['spec'], {'deep': [1, 2]})
    same(json.loads(value(etcd, '/registry/example.com/things/default/t'))['spec'], {'deep': [1, 2]})


def test_an_apiserver_that_was_killed_is_no_endpoint_when_its_lease_has_ended():
    etcd, a, b = cluster()
    if 'c' in state: wait_endpoints(b, '192.0.2.101', '192.0.2.102', seconds=60)


def test_while_etcd_is_away_reads_that_may_be_old_go_on_and_writes_say_why_not():
    etcd, a, b = cluster()
    a.kubectl('create', 'configmap', 'before')
    etcd.kill()
    items = json.loads(a.kubectl('get', '--raw', '/api/v1/namespaces/default/configmaps?resourceVersion=0').stdout)['items']
    assert 'before' in [i['metadata']['name'] for i in items]
    r = a.kubectl('create', 'configmap', 'meanwhile', check=False)
    assert r.returncode and r.stderr, 'a write succeeded without etcd'
    assert 'not found' not in r.stderr, f'nobody can know that now: {r.stderr}'
    etcd.start()
    etcd.wait_healthy()
    deadline = time.time() + 30
    while a.kubectl('create', 'configmap', 'after', check=False).returncode:
        if time.time() > deadline: raise AssertionError('writes do not go on')
        time.sleep(0.3)
    there = {i['metadata']['name'] for i in b.json('get', 'configmaps')['items']}
    assert {'before', 'after'} <= there, there


def test_an_etcd_that_went_back_is_noticed_and_nothing_old_is_called_current():
    etcd, words = Etcd(), 'etcd is another one than this server has mirrored, perhaps restored from a snapshot: restart this server'
    s = Server(flags=etcd.flags())
    try:
        s.kubectl('create', 'configmap', 'before')
        etcd.ctl('snapshot', 'save', f'{etcd.dir}/saved')
        for n in range(3): s.kubectl('create', 'configmap', f'after-{n}')
        etcd.kill()
        shutil.rmtree(f'{etcd.dir}/m0')
        tool = shutil.which('etcdutl') or 'etcdctl'          # etcdctl's is gone in 3.6
        subprocess.run([tool, 'snapshot', 'restore', f'{etcd.dir}/saved', '--name', 'm0', '--data-dir', f'{etcd.dir}/m0', '--initial-cluster', f'm0={etcd.peers[0]}',
                        '--initial-advertise-peer-urls', etcd.peers[0]], check=True, capture_output=True, env={**os.environ, 'ETCDCTL_API': '3'})
        etcd.start()
        etcd.wait_healthy()
        deadline = time.time() + 60
        while words not in (r := s.kubectl('get', 'configmap', 'after-1', check=False)).stderr:
            if time.time() > deadline: raise AssertionError(f'not noticed: {r}; {s.log_text()}')
            time.sleep(0.1)
        contains(s.kubectl('create', 'configmap', 'new', check=False).stderr, words)
        contains(s.kubectl('get', '--raw', '/readyz', check=False).stderr, 'etcd')
        same(s.stop()[0], 0)
        s.start()
        same(s.kubectl('get', 'configmaps', '-o', 'name').stdout.split(), ['configmap/before'])
        s.kubectl('create', 'configmap', 'new')
    finally:
        s.remove()
        etcd.remove()
