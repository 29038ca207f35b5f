"""An apiserver on an etcd cluster of three: a lost leader, a frozen member, and a lost majority. What was acknowledged is there; nothing is there twice."""
import json, os, shutil, signal, subprocess, tempfile, threading, time
from harness import Server, Skip, contains, free_port, same


class Members:
    def __init__(self):
        if not shutil.which('etcd') or not shutil.which('etcdctl'): raise Skip('etcd is not installed')
        self.dir = tempfile.mkdtemp(prefix='ckube-etcd3-')
        self.client = [f'http://127.0.0.1:{free_port()}' for _ in range(3)]
        self.peer = [f'http://127.0.0.1:{free_port()}' for _ in range(3)]
        self.process = [None] * 3
        for i in range(3): self.start(i)
        self.wait_healthy()

    def start(self, i):
        self.process[i] = subprocess.Popen(['etcd', '--name', f'm{i}', '--data-dir', f'{self.dir}/m{i}', '--listen-client-urls', self.client[i], '--advertise-client-urls', self.client[i],
                                            '--listen-peer-urls', self.peer[i], '--initial-advertise-peer-urls', self.peer[i],
                                            '--initial-cluster', ','.join(f'm{n}={u}' for n, u in enumerate(self.peer))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ctl(self, *args, endpoints=None):
        return subprocess.run(['etcdctl', '--endpoints', endpoints or ','.join(self.client), *args], capture_output=True, text=True, env={**os.environ, 'ETCDCTL_API': '3'}, timeout=30)

    def wait_healthy(self):
        deadline = time.time() + 30
        while self.ctl('endpoint', 'health').returncode:
            if time.time() > deadline: raise RuntimeError('etcd is not healthy')
            time.sleep(0.2)

    def leader(self):
        for i in range(3):
            if not self.process[i]: continue
            status = json.loads(self.ctl('endpoint', 'status', '-w', 'json', endpoints=self.client[i]).stdout)[0]['Status']
            if status['header']['member_id'] == status['leader']: return i
        raise RuntimeError('no leader')

    def kill(self, i):
        self.process[i].send_signal(signal.SIGCONT)
        self.process[i].kill()
        self.process[i].wait()
        self.process[i] = None

    def remove(self):
        for i in range(3):
            if self.process[i]: self.kill(i)
        shutil.rmtree(self.dir, ignore_errors=True)


class Writer(threading.Thread):
    """Creates one ConfigMap after the other and keeps which were acknowledged, and how long it had to wait for the next at most."""

    def __init__(self, server, prefix):
        super().__init__()
        self.server, self.prefix, self.ended, self.acknowledged, self.standstill, self.last = server, prefix, False, [], 0, time.time()
        self.start()

    def run(self):
        n = 0
        while not self.ended:
            name = f'{self.prefix}-{n}'
            if self.server.kubectl('create', 'configmap', name, '--from-literal', f'n={n}', check=False).returncode == 0:
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


def test_no_acknowledged_write_is_lost_with_a_member():
    m = Members()
    s = Server(flags=['--etcd-servers', ','.join(m.client)])
    try:
        w = Writer(s, 'w')
        w.wait_for(5)
        for fault in 'killed leader', 'killed follower', 'frozen leader':
            w.standstill, victim = 0, m.leader()
            if fault == 'killed follower': victim = (victim + 1) % 3
            if fault == 'frozen leader': m.process[victim].send_signal(signal.SIGSTOP)
            else: m.kill(victim)
            w.wait_for(10)
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
    finally:
        s.remove()
        m.remove()
