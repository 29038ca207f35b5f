"""A cluster of servers with one command each: `--cluster-init`, `--server` and `--token`; servers that are killed, leave, and come from the embedded database."""
import json, os, re, shutil, signal, subprocess, time
from clusters import Member, Network
from harness import TOP, busy, contains, same

shared = {}


def three():
    """Three servers, made once: one that begins, two that join it at the same time."""
    if shared: return shared['servers']
    shared['network'] = network = Network(4)
    first = Member(network, 1, ['--cluster-init'])
    shared['servers'] = servers = [first, Member(network, 2), Member(network, 3)]
    first.start()
    for s in servers[1:]:
        s.flags = ['--server', first.url, '--token', first.token()]
        s.start(wait=False)
    for s in servers[1:]: s.wait_ready()
    return servers


def teardown():
    for s in shared.get('servers', []) + shared.get('more', []): s.remove()
    if shared: shared['network'].remove()


def until(test, what, seconds=40):
    deadline = time.time() + seconds
    while not test():
        if time.time() > deadline: raise AssertionError(f'waited {seconds} s for {what}')
        time.sleep(0.1)


def write(server, name, seconds=40):
    """Tries until it is acknowledged; how long that took."""
    begun = time.time()
    until(lambda: server.kubectl('create', 'configmap', name, check=False).returncode == 0 or server.kubectl('get', 'configmap', name, check=False).returncode == 0, f'{name} to be written', seconds)
    return time.time() - begun


def reads(server, name):
    same(server.kubectl('get', 'configmap', name, '-o', 'name').stdout.strip(), f'configmap/{name}')


def members(server):
    return server.command('cluster', 'members').stdout.splitlines()


def leader(servers):
    text = servers[0].command('status').stdout
    address = re.search(r'https://(\S+):2379 +leader', text)
    if not address: raise AssertionError(f'no leader in {text}')
    return next(s for s in servers if s.network.address(s.n) == address[1])


def test_servers_join_and_agree():
    a, b, c = three()
    for at, n in (a, 1), (b, 2), (c, 3):
        write(at, f'at-{n}')
        for other in a, b, c: reads(other, f'at-{n}')
    def counts(text): return [len(re.findall(w, text)) for w in (' leader ', ' follower ', r':6443 +ready')]
    until(lambda: counts(a.command('status').stdout) == [1, 2, 3], 'three members and as many apiservers that say of themselves that they live')
    contains(a.command('status').stdout, 'kube-controller-manager')
    # from elsewhere, an apiserver is asked; a Lease on its way to a better place is nobody's for a moment
    def elsewhere(): return subprocess.run(b.network.inside(2, [str(TOP / b.binary), 'status', '--kubeconfig', b.kubeconfig]), capture_output=True, text=True, timeout=60)
    until(lambda: elsewhere().returncode == 0, 'all to be well')
    until(lambda: counts(elsewhere().stdout) == [1, 2, 3], 'the same to be seen from elsewhere')
    # the cluster's keys are everybody's: a token that one gives out is good at another
    token = a.kubectl('create', 'token', 'default').stdout.strip()
    contains(c.kubectl('--token', token, 'auth', 'whoami', '--kubeconfig', '/dev/null', '--server', c.url, '--insecure-skip-tls-verify').stdout, 'system:serviceaccount:default:default')


def leading(servers):
    """Which servers lead: the database, the controllers, the scheduler."""
    leases = {l['metadata']['name']: l['spec'].get('holderIdentity', '') for l in servers[0].json('-n', 'kube-system', 'get', 'leases')['items']}
    return [f'server-{leader(servers).n}', *(leases[name].split('_')[0] for name in ('kube-controller-manager', 'kube-scheduler'))]


def test_the_three_leaders_are_on_three_servers():
    servers = three()
    begun = time.time()
    until(lambda: len(set(leading(servers))) == 3, 'three leaders on three servers', 60)
    assert time.time() - begun < 30 or busy(), time.time() - begun
    there = leading(servers)
    time.sleep(5)
    same(leading(servers), there, 'leaders that stay where they are')



def test_who_joins_needs_the_token_and_finds_its_cluster():
    a, b, c = three()
    stranger = Member(shared['network'], 4)
    shared['more'] = [stranger]
    secret = a.token().split('::server:')[1]
    for token, words in ((f'CK1{"0" * 64}::server:{secret}', "is not the token's cluster"), (a.token()[:-1] + '~', 'refuses the token'), ('CK1xyz::server:abcdefgh', 'not of the form')):
        stranger.start('--server', b.url, '--token', token, wait=False)
        same(stranger.wait_end(), 1, words)
        contains(stranger.log_text(), words)
    stranger.start('--server', b.url, '--token', a.token(), '--cluster-cidr', '10.1.0.0/16', wait=False)
    same(stranger.wait_end(), 1)
    contains(stranger.log_text(), '--cluster-cidr must be the same on all servers')
    same(len(members(a)), 3)


def test_who_joins_waits_for_a_server_that_is_not_up_yet():
    a, b, c = three()
    stranger = Member(shared['network'], 4)
    shared['more'].append(stranger)
    same(b.stop(), 0)
    waiting = f'waiting for the server at {b.network.address(b.n)}:6443'
    stranger.start('--server', b.url, '--token', b.token(), wait=False)
    until(lambda: waiting in stranger.log_text(), 'it to wait')
    same(stranger.stop(), 0, 'the exit code of one that is stopped while it waits')
    stranger.start('--server', b.url, '--token', b.token()[:-1] + '~', wait=False)
    until(lambda: stranger.log_text().count(waiting) > 1, 'it to wait again')
    same(stranger.process.poll(), None)
    b.start()
    same(stranger.wait_end(60), 1, 'the exit code of one whose token is wrong')
    contains(stranger.log_text(), 'refuses the token')


def test_servers_are_killed_and_come_back():
    servers = a, b, c = three()
    victim = leader(servers)
    others = [s for s in servers if s is not victim]
    victim.stop(signal.SIGKILL)
    print(f'    the leader killed: writes stood still for {write(others[0], "one-killed"):.1f} s', flush=True)
    reads(others[1], 'one-killed')
    victim.start()
    reads(victim, 'one-killed')
    for s in others: s.stop(signal.SIGKILL)
    same(victim.kubectl('get', '--raw', '/api/v1/namespaces/default/configmaps/one-killed?resourceVersion=0', check=False).returncode, 0, 'a read of what is there, without a majority')
    for s in others: s.start(wait=False)
    for s in others: s.wait_ready()
    print(f'    two of three killed and back: written after {write(victim, "two-killed"):.1f} s', flush=True)
    for s in servers: s.process.send_signal(signal.SIGTERM)
    same([s.wait_end() for s in servers], [0, 0, 0], 'exit codes')
    for s in servers: s.start(wait=False)
    for s in servers: s.wait_ready()
    write(c, 'all-restarted')
    for s in servers: reads(s, 'two-killed')
    for s in others: s.stop(signal.SIGKILL)
    begun = time.time()
    same(victim.stop(), 0, 'the exit code of a server that is stopped without a majority')
    seconds = time.time() - begun
    print(f'    a server without a majority stops after {seconds:.1f} s', flush=True)
    if seconds > 4 and not busy(): raise AssertionError(f'it took {seconds:.1f} s: {victim.log_text()}')
    for s in servers: s.start(wait=False)
    for s in servers: s.wait_ready()


def test_a_killed_member_is_started_again():
    a, b, c = three()
    pids = subprocess.run(['pgrep', '-f', f'etcd .*--data-dir {b.dir}/etcd/data'], capture_output=True, text=True).stdout.split()
    same(len(pids), 1, 'members of server 2')
    os.kill(int(pids[0]), signal.SIGKILL)
    print(f"    server 2's etcd killed: its writes stood still for {write(b, 'member-killed'):.1f} s", flush=True)
    until(lambda: re.search(r'10\.77\.0\.2:2379 +(leader|follower) +healthy', a.command('status').stdout), "server 2's member to be healthy")


def test_a_server_whose_disk_is_lost_joins_anew():
    a, b, c = three()
    c.stop(signal.SIGKILL)
    until(lambda: not subprocess.run(['pgrep', '-f', f'etcd .*--data-dir {c.dir}/etcd/data'], capture_output=True).stdout, 'its etcd to end with it')
    shutil.rmtree(c.dir)
    os.mkdir(c.dir)
    c.start()
    reads(c, 'at-1')
    same(len(members(a)), 3)
    until(lambda: a.command('status').returncode == 0, 'all to be well')


def test_who_is_cut_off_catches_up():
    a, b, c = three()
    a.network.cut(1)
    write(b, 'while-one-is-cut-off')
    a.network.heal(1)
    until(lambda: a.kubectl('get', 'configmap', 'while-one-is-cut-off', check=False).returncode == 0, 'server 1 to have what was written meanwhile')
    write(a, 'no-longer-cut-off')


def test_a_server_leaves_and_joins_again():
    a, b, c = three()
    contains(c.command('cluster', 'leave').stdout, 'has left')
    same(c.wait_end(), 0, 'its exit code')
    same(len(members(a)), 2)
    write(b, 'two-are-left')
    c.start(wait=False)  # with --server and --token, as at first
    c.wait_ready()
    reads(c, 'two-are-left')
    same(len(members(c)), 3)
    c.stop(signal.SIGKILL)
    contains(a.command('cluster', 'remove', next(l.split()[0] for l in members(a) if '10.77.0.3' in l)).stdout, 'is removed')
    c.start(wait=False)
    same(c.wait_end(), 1, 'the exit code of a server that was removed while it was away')
    contains(c.log_text(), 'was removed from the cluster')


def test_the_embedded_database_moves_to_a_cluster():
    network = three()[0].network
    for s in three(): s.remove()
    a, b = Member(network, 1), Member(network, 2)
    shared['servers'] = [a, b]
    a.start()
    a.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': f'old-{n}'}, 'data': {'n': str(n)}} for n in range(120)]}))
    a.kubectl('create', 'service', 'clusterip', 'old', '--tcp=80')
    token = a.kubectl('create', 'token', 'default').stdout.strip()
    kinds = 'configmaps,services,serviceaccounts,clusterroles,namespaces'
    old = a.json('get', kinds, '-A')
    same(a.stop(), 0)
    a.start('--cluster-init')
    new = a.json('get', kinds, '-A')

    def body(o):
        return {**o, 'metadata': {k: v for k, v in o['metadata'].items() if k != 'resourceVersion'}}

    was, now = [{(o['kind'], o['metadata'].get('namespace'), o['metadata']['name']): o for o in l['items']} for l in (old, new)]
    same([k for k, o in was.items() if body(now[k]) != body(o)], [], 'changed by the move')
    last = max(int(o['metadata']['resourceVersion']) for o in old['items'])
    same([k for k, o in now.items() if int(o['metadata']['resourceVersion']) <= last], [], 'resourceVersions that go back')
    contains(a.kubectl('--token', token, 'auth', 'whoami', '--kubeconfig', '/dev/null', '--server', a.url, '--insecure-skip-tls-verify').stdout, 'system:serviceaccount')
    b.flags = ['--server', a.url, '--token', a.token()]
    b.start()
    same({k: o['metadata']['uid'] for k, o in was.items()}, {(o['kind'], o['metadata'].get('namespace'), o['metadata']['name']): o['metadata']['uid'] for o in b.json('get', kinds, '-A')['items'] if (o['kind'], o['metadata'].get('namespace'), o['metadata']['name']) in was}, 'at the second server')
    same(a.stop(), 0)
    a.start()
    reads(a, 'old-119')


def test_a_cluster_is_restored_from_a_snapshot():
    a, b = shared['servers'] if len(shared.get('servers', [])) == 2 else three()[:2]
    saved = f'{a.dir}/saved.etcd'
    contains(a.command('datastore', 'save', saved).stdout, 'saved')
    write(a, 'after-the-snapshot')
    last = int(a.json('get', 'configmap', 'after-the-snapshot')['metadata']['resourceVersion'])
    b.stop()
    a.stop(signal.SIGKILL)
    r = a.command('server', '--disable-agent', '--cluster-reset', '--cluster-reset-restore-path', saved)
    same(r.returncode, 0, r.stderr)
    a.start()
    same(a.kubectl('get', 'configmap', 'after-the-snapshot', check=False).returncode, 1)
    reads(a, 'old-7')
    write(a, 'after-the-restore')
    if int(a.json('get', 'configmap', 'after-the-restore')['metadata']['resourceVersion']) <= last: raise AssertionError('revisions go back')
    same(len(members(a)), 1)
