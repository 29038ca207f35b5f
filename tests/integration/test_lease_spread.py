"""Three servers on an etcd of three members: the holders of the controller-manager's and the scheduler's Lease and the database's leader end on three different ones, again after one was
lost and came back, and then nothing moves any more. Members of etcd are named as the servers."""
import json, signal, time
from fixtures import Etcd
from harness import Server, same

LEASES = 'kube-controller-manager', 'kube-scheduler'


def holders(server):
    """Lease -> the server of its holder, and how often they changed hands in all."""
    r = server.kubectl('get', '--raw', '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases', check=False)
    if r.returncode: return {}, 0
    specs = {i['metadata']['name']: i['spec'] for i in json.loads(r.stdout)['items'] if i['metadata']['name'] in LEASES}
    return {n: s.get('holderIdentity', '').split('_')[0] for n, s in specs.items()}, sum(s.get('leaseTransitions', 0) for s in specs.values())


def places(server, etcd):
    found, moves = holders(server)
    try: found['database'] = f'm{etcd.leader()}'
    except Exception: pass
    return found, moves


def wait_spread(server, etcd, seconds=90):
    start = time.time()
    while time.time() < start + seconds:
        found, moves = places(server, etcd)
        if len(set(found.values()) - {''}) == 3: return time.time() - start, found, moves
        time.sleep(0.2)
    raise AssertionError(f'not spread after {seconds} s: {found}\n{server.log_text()}')


def test_leaders_are_on_three_servers_and_again_when_one_comes_back():
    etcd, servers = Etcd(members=3), {}
    try:
        for i in range(3): servers[f'm{i}'] = Server(binary='build/ckube', command='server', flags=[*etcd.flags(), '--disable-agent', '--node-name', f'm{i}'])
        took, found, moves = wait_spread(servers['m0'], etcd)
        print(f'    spread {took:.1f} s after the third server was ready: {found}, {moves} moves', flush=True)
        lost = found['kube-scheduler']
        other = next(s for n, s in servers.items() if n != lost)
        servers[lost].stop(signal.SIGKILL)
        etcd.kill(int(lost[1:]))
        killed = time.time()
        while lost in holders(other)[0].values() or '' in holders(other)[0].values():
            if time.time() > killed + 60: raise AssertionError(f'{lost} is gone: {holders(other)}')
            time.sleep(0.05)
        print(f'    {lost} killed: the scheduler goes on after {time.time() - killed:.1f} s', flush=True)
        etcd.start(int(lost[1:]))
        servers[lost].start()
        took, found, moves = wait_spread(other, etcd)
        print(f'    spread {took:.1f} s after {lost} was back: {found}, {moves} moves', flush=True)
        time.sleep(8) # more than what a next move would take
        if places(other, etcd)[0] == found: same(holders(other)[1], moves, 'moves after all was well')
        same(servers[lost].stop()[0], 0)
    finally:
        for s in servers.values(): s.remove()
        etcd.remove()
