"""Servers in a lab, and the processes of each: what faults hit. How servers are started is known here alone.

`Parts`: on each machine an etcd member, `ckube kube-apiserver`, kube-controller-manager and kube-scheduler. `Servers`: one `ckube server` on each, which is all of these and
starts its etcd member itself. `Embedded`: one machine without etcd.
Processes are started from the main thread only (they die with it), and started again when they end by themselves, as an init system does."""
import json, os, pathlib, shutil, signal, subprocess, sys, time
from lab import in_namespace
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'integration'))
from fixtures import make_ca, make_cert, openssl  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
PORT, RESTART_S = 6443, 1.0
SHARED_KEYS = 'server-ca', 'client-ca', 'request-header-ca'
AUDIT_POLICY = '''apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: None
  resources: [{group: "", resources: [events]}, {group: events.k8s.io}]
- level: None
  namespaces: [load]
- level: RequestResponse
'''


class Process:
    """A program on a machine that is kept running."""

    def __init__(self, server, role, argv):
        self.server, self.role, self.argv, self.process, self.wanted, self.ended_at, self.log = server, role, argv, None, False, 0, f'{server.dir}/{role}.log'

    def start(self):
        self.wanted = True
        if self.process: return
        name = self.server.name
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *in_namespace(self.server.machine.namespace), 'unshare', '--uts', 'sh', '-c', f'hostname {name}; exec "$@"', 'sh', *self.argv],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def send(self, number):
        if self.process:
            try: self.process.send_signal(number)
            except ProcessLookupError: pass

    def end(self, number=signal.SIGKILL, timeout=30):
        """Ends it and leaves it so. Returns whether it went by itself in time (SIGTERM)."""
        self.wanted, in_time = False, True
        self.send(signal.SIGCONT)
        self.send(number)
        if not self.process: return True
        try: self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            in_time = False
            self.process.kill()
            self.process.wait()
        self.process = None
        return in_time

    def pause(self): self.send(signal.SIGSTOP)
    def resume(self): self.send(signal.SIGCONT)

    def supervise(self):
        """Starts it again when it has ended; its exit code then, otherwise None."""
        if not self.wanted: return None
        if self.process:
            code = self.process.poll()
            if code is None: return None
            self.process, self.ended_at = None, time.monotonic()
            return code
        if time.monotonic() - self.ended_at > RESTART_S: self.start()
        return None

    def log_tail(self, size=1500):
        try: return pathlib.Path(self.log).read_text(errors='replace')[-size:]
        except OSError: return ''


class EtcdOfServer(Process):
    """The etcd member that a `ckube server` has started, and starts again when it is killed."""

    def start(self): pass
    def supervise(self): return None
    def log_tail(self, size=1500): return ''
    def send(self, number):
        parent = self.server.processes['apiserver'].process
        for stat in pathlib.Path('/proc').glob('[0-9]*/stat') if parent else ():
            try:
                name, rest = stat.read_text().rsplit(')', 1)
                if name.endswith('(etcd') and int(rest.split()[1]) == parent.pid: os.kill(int(stat.parent.name), number)
            except OSError: pass                             # it has just ended

    def end(self, number=signal.SIGKILL, timeout=30):
        self.send(number)
        return True


class Server:
    """One machine's part of the cluster. processes: by role, in the order in which they are started."""

    def __init__(self, machine, top):
        self.machine, self.name, self.address, self.dir, self.processes = machine, machine.name, machine.address, f'{top}/{machine.name}', {}
        self.audit_log = f'{self.dir}/audit.log'
        os.makedirs(self.dir)

    def add(self, role, argv): self.processes[role] = Process(self, role, [str(a) for a in argv])
    def start(self):
        for p in self.processes.values(): p.start()

    def kill(self):
        """All at once, as a machine that loses its power."""
        for p in self.processes.values(): p.send(signal.SIGKILL)
        for p in self.processes.values(): p.end()

    def pause(self):
        for p in self.processes.values(): p.pause()

    def resume(self):
        for p in self.processes.values(): p.resume()


def etcdctl(server, tls, *args):
    """What etcdctl says of this server's member; tls: files of authority, certificate and key."""
    return subprocess.run(['etcdctl', '--endpoints', f'https://{server.address}:2379', '--cacert', tls[0], '--cert', tls[1], '--key', tls[2], '--command-timeout', '5s', '--dial-timeout', '2s', *args],
                          capture_output=True, text=True, env={**os.environ, 'ETCDCTL_API': '3'})


def etcd_revision(server, tls):
    """As this server's member knows it; 0: it does not say."""
    try: return json.loads(etcdctl(server, tls, 'endpoint', 'status', '-w', 'json').stdout)[0]['Status']['header']['revision']
    except (ValueError, IndexError, KeyError): return 0


def compact(server, tls, revision): return etcdctl(server, tls, 'compact', str(revision)).returncode == 0


def database_leader(servers, tls):
    """The server whose etcd member leads, as the members themselves say, or None. tls: files of authority, certificate and key."""
    for s in servers:
        r = subprocess.run(['etcdctl', '--endpoints', f'https://{s.address}:2379', '--cacert', tls[0], '--cert', tls[1], '--key', tls[2], '--command-timeout', '1s', '--dial-timeout', '1s',
                            'endpoint', 'status', '-w', 'json'], capture_output=True, text=True, env={**os.environ, 'ETCDCTL_API': '3'})
        try: status = json.loads(r.stdout)[0]['Status']
        except (ValueError, IndexError, KeyError): continue
        if status.get('leader') == status['header']['member_id']: return s
    return None


class Cluster:
    """What all kinds have in common. flags: more of them for the apiservers. credentials: files (authority, certificate, key) of an administrator."""

    def __init__(self, lab, top, binary, flags=()):
        self.lab, self.top, self.binary, self.flags, self.servers, self.crashes = lab, top, str(binary), list(flags), [], []
        with open(f'{top}/audit.yaml', 'w') as f: f.write(AUDIT_POLICY)

    def start(self, wait):
        """wait(seconds) passes time while supervising."""
        for s in self.servers: s.start()

    def supervise(self):
        """To be called often. Notes who ended by itself, and why it should not have."""
        for s in self.servers:
            for p in s.processes.values():
                code = p.supervise()
                if code is None: continue
                print(f'      {s.name} {p.role} ended by itself: {code}', flush=True)
                if code < 0 or p.role != 'etcd' and 'Sanitizer' in p.log_tail(20000): self.crashes.append(f'{s.name} {p.role} ended with {code}: {p.log_tail()}')

    def stop(self):
        for s in self.servers: s.resume()
        for s in self.servers:
            for p in reversed(s.processes.values()): p.send(signal.SIGKILL)
        for s in self.servers: s.kill()

    def resyncs(self):
        """How often apiservers compared their mirrors with etcd, since it had compacted what they had not seen."""
        return sum(p.log_tail(1 << 30).count('the mirror of etcd was compared') for s in self.servers for p in s.processes.values() if p.role == 'apiserver')

    def audit_logs(self, server): return sorted(pathlib.Path(server.dir).glob('audit*.log*'))


def component_kubeconfig(tls, path, user):
    """A kubeconfig for a component under upstream's name for it, with every right: the audit log tells them apart, no rule stands in their way."""
    make_cert(tls, user, 'client-ca', f'/O=system:masters/CN=system:{user}')
    with open(path, 'w') as f:
        json.dump({'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'contexts': [{'name': 'c', 'context': {'cluster': 'c', 'user': 'u'}}],
                   'clusters': [{'name': 'c', 'cluster': {'server': f'https://127.0.0.1:{PORT}', 'certificate-authority': f'{tls}/server-ca.crt'}}],
                   'users': [{'name': 'u', 'user': {'client-certificate': f'{tls}/{user}.crt', 'client-key': f'{tls}/{user}.key'}}]}, f)


def add_components(cluster, s, store_flags):
    data, tls = f'{s.dir}/data', f'{s.dir}/data/tls'
    s.add('apiserver', [cluster.binary, 'kube-apiserver', '--data-dir', data, '--bind-address', '0.0.0.0', '--advertise-address', s.address, '--secure-port', PORT,
                        '--service-cluster-ip-range', '10.96.0.0/16', '--audit-policy-file', f'{cluster.top}/audit.yaml', '--audit-log-path', s.audit_log, *store_flags, *cluster.flags])
    for role in 'controller-manager', 'scheduler':
        path = f'{s.dir}/{role}.kubeconfig'
        component_kubeconfig(tls, path, f'kube-{role}')
        more = ['--root-ca-file', f'{tls}/server-ca.crt', '--service-account-private-key-file', f'{tls}/service-account.key'] if role == 'controller-manager' else []
        s.add(role, [cluster.binary, f'kube-{role}', '--kubeconfig', path, *more])


def shared_keys(cluster):
    """One set of authorities and keys for all apiservers; the rest each makes itself."""
    tls = f'{cluster.servers[0].dir}/data/tls'
    os.makedirs(tls)
    for name in SHARED_KEYS: make_ca(tls, name)
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', f'{tls}/service-account.key')
    make_cert(tls, 'admin', 'client-ca', '/O=system:masters/CN=kubernetes-admin')
    for s in cluster.servers[1:]: shutil.copytree(tls, f'{s.dir}/data/tls')
    cluster.credentials = f'{tls}/server-ca.crt', f'{tls}/admin.crt', f'{tls}/admin.key'


class Parts(Cluster):
    """`--etcd-servers`: every apiserver knows all members, its own machine's first."""

    def __init__(self, lab, top, binary, flags=()):
        super().__init__(lab, top, binary, flags)
        self.servers = [Server(m, top) for m in lab.machines]
        shared_keys(self)
        self.tls = f'{top}/etcd-tls'
        self.etcd_tls = [f'{self.tls}/ca.crt', f'{self.tls}/client.crt', f'{self.tls}/client.key']
        os.makedirs(self.tls)
        make_ca(self.tls, 'ca')
        make_cert(self.tls, 'client', 'ca', '/CN=client')
        for s in self.servers:
            self.add_etcd(s)
            urls = [f'https://{o.address}:2379' for o in [s] + [o for o in self.servers if o is not s]]
            add_components(self, s, ['--etcd-servers', ','.join(urls), '--etcd-cafile', f'{self.tls}/ca.crt', '--etcd-certfile', f'{self.tls}/client.crt', '--etcd-keyfile', f'{self.tls}/client.key'])

    def add_etcd(self, s):
        t, peers = self.tls, ','.join(f'{o.name}=https://{o.address}:2380' for o in self.servers)
        make_cert(t, s.name, 'ca', f'/CN={s.name}', usage='serverAuth,clientAuth', alt_names=f'IP:{s.address}')
        s.add('etcd', ['etcd', '--name', s.name, '--data-dir', f'{s.dir}/etcd', '--listen-client-urls', f'https://{s.address}:2379', '--advertise-client-urls', f'https://{s.address}:2379',
                       '--listen-peer-urls', f'https://{s.address}:2380', '--initial-advertise-peer-urls', f'https://{s.address}:2380', '--initial-cluster', peers, '--log-level', 'warn', '--pre-vote',
                       '--client-cert-auth', '--trusted-ca-file', f'{t}/ca.crt', '--cert-file', f'{t}/{s.name}.crt', '--key-file', f'{t}/{s.name}.key',
                       '--peer-client-cert-auth', '--peer-trusted-ca-file', f'{t}/ca.crt', '--peer-cert-file', f'{t}/{s.name}.crt', '--peer-key-file', f'{t}/{s.name}.key'])

    def database_leader(self): return database_leader(self.servers, self.etcd_tls)


class Servers(Cluster):
    """`ckube server --cluster-init` on the first machine, `--server` on the others."""

    def __init__(self, lab, top, binary, flags=()):
        super().__init__(lab, top, binary, flags)
        self.servers = [Server(m, top) for m in lab.machines]
        tls = f'{self.servers[0].dir}/data/tls'
        self.credentials, self.etcd_tls = (f'{tls}/server-ca.crt', f'{tls}/admin.crt', f'{tls}/admin.key'), [f'{tls}/etcd-ca.crt', f'{tls}/etcd-client.crt', f'{tls}/etcd-client.key']
        for s in self.servers:
            s.processes['etcd'] = EtcdOfServer(s, 'etcd', [])
            s.add('apiserver', [binary, 'server', '--disable-agent', '--data-dir', f'{s.dir}/data', '--advertise-address', s.address, '--secure-port', PORT, '--audit-policy-file', f'{top}/audit.yaml',
                                '--audit-log-path', s.audit_log, *self.flags])

    def start(self, wait):
        first, token = self.servers[0], pathlib.Path(f'{self.servers[0].dir}/data/server/token')
        first.processes['apiserver'].argv += ['--cluster-init']
        first.start()
        deadline = time.monotonic() + 60
        while not token.exists():
            if time.monotonic() > deadline: raise RuntimeError('there is no token: ' + first.processes['apiserver'].log_tail())
            wait(0.2)
        for s in self.servers[1:]:
            s.processes['apiserver'].argv += ['--server', f'https://{first.address}:{PORT}', '--token', token.read_text().strip()]
            s.start()

    def database_leader(self): return database_leader(self.servers, self.etcd_tls)


class Embedded(Cluster):
    """One apiserver on the embedded store."""

    def __init__(self, lab, top, binary, flags=()):
        super().__init__(lab, top, binary, flags)
        self.servers = [Server(m, top) for m in lab.machines[:1]]
        shared_keys(self)
        for s in self.servers: add_components(self, s, [])

    def database_leader(self): return None
