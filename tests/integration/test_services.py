"""Where Services' addresses and ports are kept: IPAddress objects and the record of node ports, written with the Service, by several apiservers on one etcd too."""
import base64, json, time
from concurrent.futures import ThreadPoolExecutor
from fixtures import Etcd
from harness import Server, contains, same

state = {}
PORTS_KEY = '/registry/ranges/servicenodeports'


def alone():
    """One server with ranges of 14 addresses of each family and four node ports."""
    if 'alone' not in state: state['alone'] = Server(flags=['--service-cluster-ip-range', '10.96.0.0/28,fd00:96::/124', '--service-node-port-range', '30000-30003'])
    return state['alone']


def pair():
    """Two servers on one etcd."""
    if 'etcd' not in state:
        etcd = state['etcd'] = Etcd()
        state.update(a=Server(flags=[*etcd.flags(), '--advertise-address', '192.0.2.101']), b=Server(flags=[*etcd.flags(), '--advertise-address', '192.0.2.102']))
    return state['etcd'], state['a'], state['b']


def teardown():
    for name in 'alone', 'a', 'b', 'etcd':
        if name in state: state.pop(name).remove()


def service(name, kind='ClusterIP', **spec):
    return json.dumps({'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name}, 'spec': {'type': kind, 'ports': [{'port': 80}], **spec}})


def create(s, *args, check=True, **spec):
    r = s.kubectl('create', '-o', 'json', '-f', '-', stdin=service(*args, **spec), check=check)
    return json.loads(r.stdout)['spec'] if r.returncode == 0 else r.stderr


def addresses(s):
    """Whose each address is."""
    return {i['metadata']['name']: i['spec']['parentRef']['name'] for i in s.json('get', 'ipaddresses')['items']}


def addresses_of_services(s):
    return {ip: i['metadata']['name'] for i in s.json('get', 'services', '-A')['items'] for ip in i['spec'].get('clusterIPs', []) if ip != 'None'}


def wait(test, what, seconds=30):
    deadline = time.time() + seconds
    while not test():
        if time.time() > deadline: raise AssertionError(f'waited {seconds} s for {what}')
        time.sleep(0.1)


def test_a_service_has_an_ipaddress_as_long_as_it_has_the_address():
    s = alone()
    same(addresses(s), {'10.96.0.1': 'kubernetes'})
    ip = create(s, 'web')['clusterIP']
    o = s.json('get', 'ipaddress', ip)
    same(o['metadata']['labels'], {'ipaddress.kubernetes.io/ip-family': 'IPv4', 'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io'})
    same(o['spec'], {'parentRef': {'resource': 'services', 'namespace': 'default', 'name': 'web'}})
    create(s, 'headless', clusterIP='None')
    s.kubectl('create', '--dry-run=server', '-f', '-', stdin=service('dry'))
    contains(create(s, 'web', check=False), 'already exists')
    contains(create(s, 'twice', clusterIP=ip, check=False), 'provided IP is already allocated')
    same(addresses(s), {'10.96.0.1': 'kubernetes', ip: 'web'})
    s.kubectl('patch', 'service', 'web', '-p', '{"spec":{"type":"ExternalName","externalName":"example.com","clusterIP":null,"clusterIPs":null}}')
    same(addresses(s), {'10.96.0.1': 'kubernetes'})
    s.kubectl('patch', 'service', 'web', '-p', '{"spec":{"type":"ClusterIP","externalName":null}}')
    same(addresses(s), addresses_of_services(s))
    s.kubectl('delete', 'service', 'web', 'headless')
    same(addresses(s), {'10.96.0.1': 'kubernetes'})


def test_a_service_of_two_families_has_an_ipaddress_of_each():
    s = alone()
    spec = create(s, 'both', ipFamilyPolicy='RequireDualStack')
    same(spec['ipFamilies'], ['IPv4', 'IPv6'])
    same({ip: s.json('get', 'ipaddress', ip)['metadata']['labels']['ipaddress.kubernetes.io/ip-family'] for ip in spec['clusterIPs']}, dict(zip(spec['clusterIPs'], ['IPv4', 'IPv6'])))
    s.kubectl('patch', 'service', 'both', '-p', '{"spec":{"ipFamilyPolicy":"SingleStack"}}')
    same(addresses(s), {'10.96.0.1': 'kubernetes', spec['clusterIP']: 'both'})
    same(create(s, 'six', ipFamilies=['IPv6'], clusterIP='fd00:96::9')['clusterIPs'], ['fd00:96::9'])
    s.kubectl('delete', 'service', 'both', 'six')
    same(addresses(s), {'10.96.0.1': 'kubernetes'})


def test_an_ipaddress_that_is_deleted_or_left_over_is_put_right():
    s = alone()
    ip = create(s, 'kept')['clusterIP']
    s.kubectl('delete', 'ipaddress', ip)
    wait(lambda: addresses(s).get(ip) == 'kept', 'the address to be there again')
    contains(s.kubectl('get', 'events', '--field-selector', 'involvedObject.name=kept').stdout, 'is not allocated; repairing')
    s.kubectl('delete', 'service', 'kept')
    same(addresses(s), {'10.96.0.1': 'kubernetes'})


def test_a_second_servicecidr_serves_when_the_first_is_full():
    s = alone()
    s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': [json.loads(service(f'full-{n}')) for n in range(13)]}))
    contains(create(s, 'over', check=False), 'failed to allocate a serviceIP for Service "over": range is full')
    contains(create(s, 'outside', clusterIP='10.97.0.9', check=False), 'the provided network does not match the current range')
    s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'networking.k8s.io/v1', 'kind': 'ServiceCIDR', 'metadata': {'name': 'more'}, 'spec': {'cidrs': ['10.97.0.0/28']}}))
    contains(create(s, 'over')['clusterIP'], '10.97.0.')
    if '10.97.0.9' not in addresses(s): same(create(s, 'outside', clusterIP='10.97.0.9')['clusterIP'], '10.97.0.9')
    same(addresses(s), addresses_of_services(s))
    s.kubectl('delete', 'services', '-l', '!component')
    same(addresses(s), {'10.96.0.1': 'kubernetes'})


def test_node_ports_run_out_and_come_back():
    s = alone()
    ports = [create(s, f'port-{n}', 'NodePort')['ports'][0]['nodePort'] for n in range(4)]
    same(sorted(ports), [30000, 30001, 30002, 30003])
    contains(create(s, 'no-port', 'NodePort', check=False), 'failed to allocate a nodePort: range is full')
    contains(create(s, 'no-port', 'NodePort', ports=[{'port': 80, 'nodePort': 30001}], check=False), 'provided port is already allocated')
    s.kubectl('patch', 'service', f'port-{ports.index(30002)}', '-p', '{"spec":{"type":"ClusterIP"}}')
    same(create(s, 'again', 'NodePort')['ports'][0]['nodePort'], 30002)
    s.kubectl('delete', 'service', f'port-{ports.index(30001)}')
    s.stop()
    s.start()
    same(create(s, 'after-restart', 'NodePort')['ports'][0]['nodePort'], 30001)
    contains(create(s, 'no-port', 'NodePort', check=False), 'failed to allocate a nodePort: range is full')
    same(addresses(s), addresses_of_services(s))
    s.kubectl('delete', 'services', '-l', '!component')


def test_two_servers_on_one_etcd_give_nothing_twice():
    etcd, a, b = pair()

    def many(server, name):
        items = [json.loads(service(f'{name}-{n}', 'NodePort' if n % 2 else 'ClusterIP')) for n in range(20)]
        return server.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': items}), timeout=120)

    with ThreadPoolExecutor(6) as pool:
        for r in pool.map(lambda n: many((a, b)[n % 2], f'm{n}'), range(4)): same(r.returncode, 0)
        wanted = list(pool.map(lambda n: create((a, b)[n % 2], f'w{n}', 'NodePort', clusterIP='10.96.0.7', ports=[{'port': 80, 'nodePort': 30007}], check=False), range(6)))
    same(sum(isinstance(w, dict) for w in wanted), 1, 'winners of one address and one port')
    for w in wanted: assert isinstance(w, dict) or 'provided IP is already allocated' in w or 'provided port is already allocated' in w, w
    services = [i for i in a.json('get', 'services')['items']]
    same(len(services), 80 + 2)
    ips, ports = [i['spec']['clusterIP'] for i in services], [p['nodePort'] for i in services for p in i['spec']['ports'] if 'nodePort' in p]
    same((len(set(ips)), len(set(ports))), (82, 41))
    same(addresses(b), addresses_of_services(b))
    # what one gives back the other can have at once
    for n in range(5):
        (a, b)[n % 2].kubectl('delete', 'service', addresses(a)['10.96.0.7'])
        same(create((b, a)[n % 2], f'handed-{n}', 'NodePort', clusterIP='10.96.0.7', ports=[{'port': 80, 'nodePort': 30007}])['clusterIP'], '10.96.0.7')


def test_the_record_of_node_ports_is_upstreams_and_is_mended_at_start():
    etcd, a, b = pair()
    value = base64.b64decode(json.loads(etcd.ctl('get', PORTS_KEY, '-w', 'json').stdout)['kvs'][0]['value'])
    assert value.startswith(b'k8s\0\n\x15\n\x02v1\x12\x0fRangeAllocation'), value[:40]
    contains(value, b'30000-32767')
    used = {p['nodePort'] for i in a.json('get', 'services')['items'] for p in i['spec']['ports'] if 'nodePort' in p}
    port = next(iter(used))
    # as an older version of ours leaves it, and with an address that nobody has
    for s in a, b: s.stop()
    etcd.ctl('del', PORTS_KEY)
    etcd.ctl('del', '--prefix', '/registry/ipaddresses/')
    a.start()
    same(addresses(a), addresses_of_services(a))
    contains(create(a, 'taken', 'NodePort', ports=[{'port': 80, 'nodePort': port}], check=False), 'provided port is already allocated')
    # as upstream writes it: JSON is one of its forms, and it has taken a port more
    free = next(p for p in range(31000, 31200) if p not in used)
    bits = sum(1 << p - 30000 for p in [*used, free])
    record = {'kind': 'RangeAllocation', 'apiVersion': 'v1', 'metadata': {'creationTimestamp': None}, 'range': '30000-32767', 'data': base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, 'big')).decode()}
    etcd.ctl('put', PORTS_KEY, json.dumps(record))
    wait(lambda: 'provided port is already allocated' in create(a, 'theirs', 'NodePort', ports=[{'port': 80, 'nodePort': free}], check=False), "upstream's port to be taken", 10)
    create(a, 'ours', 'NodePort')
    value = base64.b64decode(json.loads(etcd.ctl('get', PORTS_KEY, '-w', 'json').stdout)['kvs'][0]['value'])
    assert value.startswith(b'k8s\0'), value[:40]
