"""What the registries promise when many write at once: addresses and ports are given out once and given back, quotas are never exceeded; and what core kinds answer."""
import http.client, json, ssl, threading, time
from concurrent.futures import ThreadPoolExecutor
from harness import Server, contains, same

server = None


def s():
    global server
    if server is None: server = Server()
    return server


def teardown():
    if server: server.remove()


def raw(verb, path, body=None):
    """A request by kubectl's own client; (ok, answer)."""
    args = {'GET': ['get', '--raw', path], 'DELETE': ['delete', '--raw', path], 'POST': ['create', '--raw', path, '-f', '-']}[verb]
    r = s().kubectl(*args, check=False, stdin=json.dumps(body) if body is not None else None)
    return r.returncode == 0, json.loads(r.stdout) if r.returncode == 0 and r.stdout.strip().startswith('{') else r.stdout + r.stderr


def at_once(n, work, threads=12):
    with ThreadPoolExecutor(threads) as pool: return list(pool.map(work, range(n)))


def fresh(name):
    s().kubectl('create', 'namespace', name)
    return name


def service(name, kind='ClusterIP', **spec):
    return {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name}, 'spec': {'type': kind, 'ports': [{'port': 80}], **spec}}


def test_services_made_at_once_share_no_address_and_no_port():
    ns = fresh('many-services')
    path = f'/api/v1/namespaces/{ns}/services'
    made = at_once(24, lambda i: raw('POST', path, service(f's{i}', 'NodePort')))
    assert all(ok for ok, _ in made), [a for ok, a in made if not ok][:1]
    ips, ports = [a['spec']['clusterIP'] for _, a in made], [a['spec']['ports'][0]['nodePort'] for _, a in made]
    same(len(set(ips)), 24, 'cluster IPs')
    same(len(set(ports)), 24, 'node ports')


def test_one_port_wanted_by_many_goes_to_one_and_nothing_leaks():
    ns = fresh('one-port')
    path = f'/api/v1/namespaces/{ns}/services'
    want = lambda i: service(f'p{i}', 'NodePort', clusterIP='10.96.77.7', ports=[{'port': 80, 'nodePort': 31777}])
    made = at_once(10, lambda i: raw('POST', path, want(i)))
    same(sum(ok for ok, _ in made), 1, 'winners')
    refused = [a for ok, a in made if not ok]
    assert all('provided IP is already allocated' in a or 'provided port is already allocated' in a for a in refused), refused[:1]
    # what the losers had taken before they were refused is free again: as soon as the winner goes, both can be had
    s().kubectl('delete', 'service', '--all', '-n', ns)
    ok, answer = raw('POST', path, want(99))
    assert ok, answer
    # a Service that validation refuses takes nothing
    s().kubectl('delete', 'service', '--all', '-n', ns)
    for _ in range(3):
        ok, answer = raw('POST', path, service('bad', 'NodePort', clusterIP='10.96.77.7', ports=[{'port': 0, 'nodePort': 31777}]))
        assert not ok, answer
    ok, answer = raw('POST', path, want(100))
    assert ok, answer


def test_a_quota_is_never_exceeded_by_many_at_once():
    ns = fresh('quota')
    s().kubectl('create', 'quota', 'q', '-n', ns, '--hard=count/configmaps=10,services.nodeports=3')
    quota = s().json('get', 'quota', 'q', '-n', ns)
    quota['status'] = {'hard': quota['spec']['hard'], 'used': {'count/configmaps': '0', 'services.nodeports': '0'}} # the controller's work
    s().kubectl('replace', '--subresource=status', '-f', '-', stdin=json.dumps(quota))
    config = lambda i: {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': f'c{i}'}}
    made = at_once(20, lambda i: raw('POST', f'/api/v1/namespaces/{ns}/configmaps', config(i)))
    same(sum(ok for ok, _ in made), 10, 'ConfigMaps allowed')
    contains([a for ok, a in made if not ok][0], 'exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=10, limited: count/configmaps=10')
    made = at_once(8, lambda i: raw('POST', f'/api/v1/namespaces/{ns}/services', service(f'n{i}', 'NodePort')))
    same(sum(ok for ok, _ in made), 3, 'node ports allowed')
    same(s().json('get', 'quota', 'q', '-n', ns)['status']['used'], {'count/configmaps': '10', 'services.nodeports': '3'})


def test_a_quota_counts_the_devices_that_claims_ask_for():
    ns, gpus = fresh('devices'), 'gpu.deviceclass.resource.k8s.io/devices'
    s().kubectl('create', 'quota', 'q', '-n', ns, f'--hard={gpus}=3')
    quota = s().json('get', 'quota', 'q', '-n', ns)
    quota['status'] = {'hard': quota['spec']['hard'], 'used': {gpus: '0'}}
    s().kubectl('replace', '--subresource=status', '-f', '-', stdin=json.dumps(quota))
    claim = lambda name, count: json.dumps({'apiVersion': 'resource.k8s.io/v1', 'kind': 'ResourceClaim', 'metadata': {'name': name, 'namespace': ns}, 'spec': {'devices': {'requests': [
        {'name': 'r', 'exactly': {'deviceClassName': 'gpu', 'count': count}}]}}})
    s().kubectl('create', '-f', '-', stdin=claim('one', 2))
    refused = s().kubectl('create', '-f', '-', stdin=claim('two', 2), check=False).stderr
    contains(refused, f'resourceclaims.resource.k8s.io "two" is forbidden: exceeded quota: q, requested: {gpus}=2, used: {gpus}=2, limited: {gpus}=3')
    s().kubectl('create', '-f', '-', stdin=claim('three', 1))


def test_a_write_that_is_tried_again_is_charged_once():
    """Labels that change all the time make the patches of the ports lose their race and be tried again, each within one request. (One that loses too often is refused, and what it was
    charged stays until the quota controller counts, as upstream.)"""
    ns = fresh('quota-again')
    s().kubectl('create', 'quota', 'q', '-n', ns, '--hard=services.nodeports=1000')
    s().kubectl('patch', 'quota', 'q', '-n', ns, '--subresource=status', '--type=merge', '-p', '{"status":{"hard":{"services.nodeports":"1000"},"used":{"services.nodeports":"0"}}}')
    ok, answer = raw('POST', f'/api/v1/namespaces/{ns}/services', service('s', 'NodePort'))
    assert ok, answer
    tls, ended = ssl._create_unverified_context(), threading.Event()
    tls.load_cert_chain(f'{s().dir}/tls/admin.crt', f'{s().dir}/tls/admin.key')

    def patcher():
        c = http.client.HTTPSConnection('127.0.0.1', s().port, context=tls, timeout=60)

        def patch(body):
            c.request('PATCH', f'/api/v1/namespaces/{ns}/services/s', json.dumps(body), {'Content-Type': 'application/merge-patch+json'})
            r = c.getresponse()
            text = r.read()
            if r.status != 409: same(r.status, 200, text)
            return r.status
        return patch

    def label(i):
        n, patch = 0, patcher()
        while not ended.is_set():
            n += 1
            patch({'metadata': {'labels': {f'l{i}': str(n)}}})
            time.sleep(0.001)                                # the others have their turn

    refused = 0
    with ThreadPoolExecutor(3) as pool:
        labels, patch = [pool.submit(label, i) for i in range(3)], patcher()
        try:
            for n in range(2, 42):
                while patch({'spec': {'ports': [{'name': f'p{i}', 'port': 80 + i} for i in range(n)]}}) == 409: refused += 1
        finally: ended.set()
    for l in labels: l.result()
    used = int(s().json('get', 'quota', 'q', '-n', ns)['status']['used']['services.nodeports'])
    assert 41 <= used <= 41 + refused, f'41 node ports are charged as {used}, with {refused} patches that were refused'


def test_events_are_one_thing_under_two_names_and_expire():
    server = Server(flags=['--event-ttl', '4s'])
    try:
        event = {'apiVersion': 'events.k8s.io/v1', 'kind': 'Event', 'metadata': {'name': 'e', 'namespace': 'default'}, 'eventTime': '2024-01-01T00:00:00.000001Z', 'reportingController': 'a.example/b',
                 'reportingInstance': 'i', 'action': 'A', 'reason': 'R', 'type': 'Normal', 'note': 'hello', 'regarding': {'kind': 'Pod', 'name': 'p', 'namespace': 'default'}}
        server.kubectl('create', '-f', '-', stdin=json.dumps(event))
        core = json.loads(server.kubectl('get', '--raw', '/api/v1/namespaces/default/events/e').stdout)
        same((core['apiVersion'], core['message'], core['involvedObject']['name'], core['reportingComponent']), ('v1', 'hello', 'p', 'a.example/b'))
        changed = server.kubectl('patch', 'events.v1.events.k8s.io', 'e', '--type=merge', '-p', '{"note":"other"}', check=False)
        contains(changed.stderr, 'message: Invalid value: "other": field is immutable')
        deadline = time.time() + 30
        while server.kubectl('get', 'event', 'e', check=False).returncode == 0:
            assert time.time() < deadline, 'the event stays'
            time.sleep(0.3)
    finally:
        server.remove()


def test_component_statuses_tell_the_truth():
    r = s().kubectl('get', 'componentstatuses')
    contains(r.stderr, 'v1 ComponentStatus is deprecated in v1.19+')
    lines = {l.split()[0]: l for l in r.stdout.splitlines()[1:]}
    same(sorted(lines), ['controller-manager', 'etcd-0', 'scheduler'])
    contains(lines['etcd-0'], 'Healthy')
    for name, port in (('controller-manager', 10257), ('scheduler', 10259)):
        assert 'Healthy' in lines[name] or f'dial tcp 127.0.0.1:{port}: connect: connection refused' in lines[name], lines[name]
    if f'dial tcp 127.0.0.1:{port}' not in lines['scheduler']: return # a scheduler of somebody else's answers on this machine
    lease = {'apiVersion': 'coordination.k8s.io/v1', 'kind': 'Lease', 'metadata': {'name': 'kube-scheduler', 'namespace': 'kube-system'},
             'spec': {'holderIdentity': 'elsewhere', 'leaseDurationSeconds': 15, 'renewTime': '2020-01-01T00:00:00.000000Z'}}
    s().kubectl('create', '-f', '-', stdin=json.dumps(lease))
    condition = lambda: s().json('get', 'componentstatus', 'scheduler')['conditions'][0]
    same(condition()['status'], 'False', 'a scheduler that has not renewed its Lease')
    lease['spec'].update(leaseDurationSeconds=3600, renewTime=time.strftime('%Y-%m-%dT%H:%M:%S.000000Z', time.gmtime()))
    s().kubectl('apply', '--server-side', '--force-conflicts', '-f', '-', stdin=json.dumps(lease))
    same(condition(), {'type': 'Healthy', 'status': 'True', 'message': 'ok'}, 'a scheduler that has')


def test_eviction_spends_a_budget():
    ns = fresh('evictions')
    s().kubectl('create', 'serviceaccount', 'default', '-n', ns)
    pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'p', 'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}], 'nodeName': 'n1'}}
    s().kubectl('create', '-n', ns, '-f', '-', stdin=json.dumps(pod))
    s().kubectl('patch', 'pod', 'p', '-n', ns, '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}')
    s().kubectl('create', 'pdb', 'b', '-n', ns, '--selector=a=b', '--min-available=1')
    eviction = {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'p', 'namespace': ns}}
    ok, answer = raw('POST', f'/api/v1/namespaces/{ns}/pods/p/eviction', eviction)
    assert not ok, answer
    contains(answer, "Cannot evict pod as it would violate the pod's disruption budget.")
    s().kubectl('patch', 'pdb', 'b', '-n', ns, '--subresource=status', '--type=merge', '-p', '{"status":{"observedGeneration":1,"disruptionsAllowed":1,"currentHealthy":2,"desiredHealthy":1,"expectedPods":2}}')
    ok, answer = raw('POST', f'/api/v1/namespaces/{ns}/pods/p/eviction', eviction)
    assert ok, answer
    same(s().json('get', 'pdb', 'b', '-n', ns)['status']['disruptionsAllowed'], 0)
    gone = s().json('get', 'pod', 'p', '-n', ns)
    assert gone['metadata']['deletionTimestamp'] and any(c['type'] == 'DisruptionTarget' for c in gone['status']['conditions']), gone['status']
