"""Leader election between processes: a crashed leader is replaced within seconds, one that stops at once, and what an old leader still sends is refused, on the embedded store and
on etcd by whichever apiserver."""
import json, os, signal, subprocess, time
from fixtures import Etcd, fetch
from harness import TOP, Server, same

LEASE = '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/'
CONFIG_MAPS = '/api/v1/namespaces/default/configmaps'


class Component:
    """`ckube kube-scheduler` or `ckube kube-controller-manager` towards a server."""

    def __init__(self, command, kubeconfig, flags=(), binary='build-asan/ckube'):
        self.log = open(f'{os.path.dirname(kubeconfig)}/{command}.log', 'ab')
        self.process = subprocess.Popen([str(TOP / binary), command, '--kubeconfig', kubeconfig, '--secure-port=0', *flags], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def end(self, sig=signal.SIGKILL):
        if self.process.poll() is None: self.process.send_signal(sig)
        code = self.process.wait(timeout=60)
        self.log.close()
        return code


def holder(server, lease):
    r = server.kubectl('get', '--raw', LEASE + lease, check=False)
    return json.loads(r.stdout)['spec'] if r.returncode == 0 else {}


def wait_holder(server, lease, test, seconds=60):
    """How long it took until the holder is as wanted, and the Lease's spec."""
    start = time.time()
    while time.time() < start + seconds:
        spec = holder(server, lease)
        if spec.get('holderIdentity') and test(spec): return time.time() - start, spec
        time.sleep(0.05)
    raise AssertionError(f'the holder of {lease} is {holder(server, lease)}')


def test_a_crashed_leader_is_replaced_within_seconds_and_one_that_stops_at_once():
    s, running = Server(), []
    try:
        running.append(Component('kube-scheduler', s.kubeconfig))
        _, spec = wait_holder(s, 'kube-scheduler', lambda spec: True)
        same(spec['leaseDurationSeconds'], 4)
        for sig in signal.SIGKILL, signal.SIGTERM:
            running.append(Component('kube-scheduler', s.kubeconfig))
            time.sleep(1) # it waits for its turn; if it does not yet, the test asks less
            first = running.pop(0)
            first.end(sig)
            took, now = wait_holder(s, 'kube-scheduler', lambda n: n['holderIdentity'] != spec['holderIdentity'])
            same(now['leaseTransitions'], spec['leaseTransitions'] + 1)
            print(f'    {sig.name}: another scheduler leads after {took:.1f} s', flush=True)
            spec = now
        same(running[0].end(signal.SIGTERM), 0)
        same(holder(s, 'kube-scheduler')['holderIdentity'], '')
    finally:
        for c in running: c.end()
        s.remove()


def lease(name, holder, transitions, version=None):
    return {'apiVersion': 'coordination.k8s.io/v1', 'kind': 'Lease', 'metadata': {'name': name, 'namespace': 'kube-system', **({'resourceVersion': version} if version else {})},
            'spec': {'holderIdentity': holder, 'leaseDurationSeconds': 15, 'leaseTransitions': transitions}}


def test_an_old_leaders_writes_are_refused_by_whichever_apiserver_of_one_etcd():
    etcd, servers = Etcd(), []
    try:
        servers = [Server(flags=etcd.flags()) for _ in range(2)]
        same(fetch(servers[0], LEASE, 'POST', lease('fenced', 'h-0', 0))[0], 201)
        for n in range(8):
            a, b = servers if n % 2 else servers[::-1]
            old = f'kube-system/fenced {n} h-{n}'
            def write(name): return fetch(b, CONFIG_MAPS, 'POST', {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': name}}, Ckube_Lease_Fence=old)
            same(write(f'before-{n}')[0], 201)
            version = json.loads(fetch(a, LEASE + 'fenced')[2])['metadata']['resourceVersion']
            same(fetch(a, LEASE + 'fenced', 'PUT', lease('fenced', f'h-{n + 1}', n + 1, version))[0], 200)
            code, _, body = write(f'after-{n}')
            same(code, 412)
            same(json.loads(body)['message'], f'the write is refused: the lease kube-system/fenced is not held by "h-{n}" any more')
            same(fetch(b, f'{CONFIG_MAPS}/before-{n}', 'DELETE', Ckube_Lease_Fence=old)[0], 412)
        same(fetch(servers[0], CONFIG_MAPS, 'POST', {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'x'}}, Ckube_Lease_Fence='nonsense')[0], 400)
        names = [i['metadata']['name'] for i in servers[0].json('get', 'configmaps')['items']]
        same(sorted(n for n in names if '-' in n), [f'before-{n}' for n in range(8)])
    finally:
        for s in servers: s.remove()
        etcd.remove()
