"""An apiserver on an etcd cluster of three: a lost leader, a frozen member, and a lost majority. What was acknowledged is there; nothing is there twice."""
import re, signal, threading, time, urllib.request
from fixtures import Etcd
from harness import Server, contains, same


class Writer(threading.Thread):
    """Creates one ConfigMap after the other and keeps which were acknowledged, and how long it had to wait for the next at most."""

    def __init__(self, server, prefix):
        super().__init__(daemon=True)                        # a test that fails does not wait for it
        self.server, self.prefix, self.ended, self.acknowledged, self.refused, self.standstill, self.last = server, prefix, False, [], [], 0, time.time()
        self.start()

    def run(self):
        n = 0
        while not self.ended:
            name = f'{self.prefix}-{n}'
            r = self.server.kubectl('create', 'configmap', name, '--from-literal', f'n={n}', check=False)
            if r.returncode: self.refused.append(f'{name}: {r.stderr}')
            else:
                self.acknowledged.append(name)
                self.standstill = max(self.standstill, time.time() - self.last)
                self.last = time.time()
            n += 1

    def wait_for(self, count):
        goal, deadline = len(self.acknowledged) + count, time.time() + 40
        while len(self.acknowledged) < goal:
            if time.time() > deadline: raise AssertionError(f'writes stand still: {len(self.acknowledged)} acknowledged; {self.server.log_text()[-800:]}')
            time.sleep(0.05)

    def end(self):
        self.ended = True
        self.join()


def check(server, writer):
    there = {i['metadata']['name'] for i in server.json('get', 'configmaps')['items']}
    same([n for n in writer.acknowledged if n not in there], [], 'acknowledged and lost')


def wait_statuses(server, *unhealthy):
    """Until exactly these members are unhealthy by `kubectl get componentstatuses`."""
    deadline = time.time() + 30
    while True:
        conditions = {i['metadata']['name']: i['conditions'][0] for i in server.json('get', 'componentstatuses')['items'] if i['metadata']['name'].startswith('etcd-')}
        same(sorted(conditions), ['etcd-0', 'etcd-1', 'etcd-2'])
        if {n for n, c in conditions.items() if c['status'] != 'True'} == {f'etcd-{i}' for i in unhealthy}: break
        if time.time() > deadline: raise AssertionError(f'not {unhealthy} but {conditions}')
        time.sleep(0.2)
    for i in unhealthy: assert conditions[f'etcd-{i}']['status'] == 'False' and conditions[f'etcd-{i}']['error'], conditions


def test_no_acknowledged_write_is_lost_with_a_member():
    m = Etcd(members=3)
    s = Server(flags=m.flags())
    try:
        w = Writer(s, 'w')
        w.wait_for(5)
        for fault in 'killed leader', 'killed follower', 'frozen leader':
            w.standstill, victim = 0, m.leader()
            if fault == 'killed follower': victim = (victim + 1) % 3
            if fault == 'frozen leader': m.process[victim].send_signal(signal.SIGSTOP)
            else: m.kill(victim)
            w.wait_for(10)
            if fault != 'killed leader': wait_statuses(s, victim)
            if fault == 'frozen leader': m.process[victim].send_signal(signal.SIGCONT)
            else: m.start(victim)
            m.wait_healthy()
            w.wait_for(3)
            print(f'    {fault}: writes stood still for {w.standstill:.1f} s at most', flush=True)
        lost = [i for i in range(3) if i != m.leader()][0], m.leader()
        for i in lost: m.kill(i)
        contains(s.kubectl('get', '--raw', '/api/v1/namespaces/default/configmaps?resourceVersion=0').stdout, 'w-0')
        for i in lost: m.start(i)
        m.wait_healthy()
        w.wait_for(5)
        w.end()
        check(s, w)
        wait_statuses(s)
    finally:
        s.remove()
        m.remove()


def watchers(m, i):
    """How many watches member i serves: ours is where the apiserver's connection is."""
    try:
        with urllib.request.urlopen(f'{m.urls[i]}/metrics', timeout=10) as r: return int(float(re.search(r'^etcd_debugging_mvcc_watcher_total (\S+)', r.read().decode(), re.M)[1]))
    except OSError: return 0                                 # it starts


def wait_connected(s, m, i, what):
    deadline = time.time() + 60
    while watchers(m, i) != 1:
        if time.time() > deadline: raise AssertionError(f'{what}: {s.log_text()}')
        time.sleep(0.1)


def test_the_preferred_member_is_gone_back_to():
    """All members are on this machine: the first is preferred."""
    m = Etcd(members=3)
    s = Server(flags=m.flags())
    try:
        wait_connected(s, m, 0, 'the first member is not the one in use')
        w = Writer(s, 'w')
        w.wait_for(3)
        m.kill(0)
        w.wait_for(3)
        wait_connected(s, m, 1, 'the next member is not the one in use')
        w.refused.clear()
        m.start(0)
        begun = time.time()
        wait_connected(s, m, 0, 'the first member is not gone back to')
        print(f'    the preferred member is back in use after {time.time() - begun:.1f} s', flush=True)
        w.wait_for(10)
        w.end()
        same(w.refused, [], 'writes that the way back cost')
        check(s, w)
    finally:
        s.remove()
        m.remove()
