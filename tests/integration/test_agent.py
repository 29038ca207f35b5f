"""A further node with one command: `ckube server --disable-agent` in one network namespace, `ckube agent` in another. It joins by the token, gets its certificates by request, runs a Pod, is asked for logs and
exec by an apiserver that verifies it, and comes back as who it was. Needs root, containerd, runc and the CNI plugins."""
import json, os, pathlib, shutil, signal, subprocess, tempfile, time
from clusters import Network
from fixtures import openssl
from harness import TOP, Skip, contains, same

IMAGE = 'registry.ckube.local/busybox:1'
world = None


class World:
    def __init__(self):
        if os.geteuid() != 0: raise Skip('needs root')
        for program in ('containerd', 'runc', 'ctr', 'nft', 'nsenter', 'busybox'):
            if not shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin'): raise Skip(f'{program} is not installed')
        if not any(pathlib.Path(d, 'bridge').exists() for d in ('/usr/lib/cni', '/opt/cni/bin')): raise Skip('the CNI plugins are not installed')
        self.network = Network(2)
        for n in 1, 2: self.network.ip(n, 'route', 'add', 'default', 'via', '10.77.0.254')
        self.dir, self.processes = tempfile.mkdtemp(prefix='ckube-agent-'), {}
        self.cgroup = f'/ckube-agent-{os.getpid()}'
        os.makedirs(f'{self.dir}/node/agent/images')
        subprocess.run([str(TOP / 'tools/make-image'), '--busybox', f'{self.dir}/node/agent/images/busybox.tar'], check=True)
        self.start('server', 1, 'server', '--disable-agent', '--data-dir', f'{self.dir}/server')
        self.wait(lambda: os.path.exists(f'{self.dir}/server/admin.kubeconfig') and self.kubectl('get', '--raw', '/readyz', check=False).returncode == 0, 'the server to be ready')
        self.token = pathlib.Path(f'{self.dir}/server/server/node-token').read_text().strip()

    def start(self, name, n, *args):
        log = open(f'{self.dir}/{name}.log', 'ab')
        self.processes[name] = subprocess.Popen(self.network.inside(n, [str(TOP / 'build/ckube'), *args]), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def agent(self, *flags):
        self.start('agent', 2, 'agent', '--data-dir', f'{self.dir}/node', '--node-name', 'node-2', '--node-ip', self.network.address(2), '--root-dir', f'{self.dir}/kubelet',
                   '--pod-logs-dir', f'{self.dir}/logs', '--cgroup-root', self.cgroup, *flags)

    def stop(self, name):
        p = self.processes.pop(name)
        p.send_signal(signal.SIGTERM)
        return p.wait(timeout=60)

    def log(self, name):
        return pathlib.Path(f'{self.dir}/{name}.log').read_text(errors='replace')

    def wait(self, test, what, seconds=90):
        deadline = time.time() + seconds
        while not test():
            for name, p in self.processes.items(): assert p.poll() is None, f'{name} ended: {self.log(name)[-3000:]}'
            assert time.time() < deadline, f'waited {seconds} s for {what}\n' + self.kubectl('get', 'nodes,csr,pods,events', '-A', check=False).stdout[-3000:] + ''.join(self.log(n)[-2000:] for n in self.processes)
            time.sleep(0.1)

    def inside(self, n, *argv, timeout=60):
        return subprocess.run(self.network.inside(n, argv), capture_output=True, text=True, timeout=timeout)

    def kubectl(self, *args, check=True, stdin=None):
        r = subprocess.run(self.network.inside(1, ['kubectl', '--kubeconfig', f'{self.dir}/server/admin.kubeconfig', '--request-timeout=20s', *args]), input=stdin, capture_output=True, text=True, timeout=60,
                           env={**os.environ, 'HOME': self.dir, 'KUBECACHEDIR': f'{self.dir}/cache'})
        if check and r.returncode: raise AssertionError(f'kubectl {" ".join(args)}: {r.stdout}{r.stderr}')
        return r

    def json(self, *args):
        return json.loads(self.kubectl(*args, '-o', 'json').stdout)

    def ready(self):
        r = self.kubectl('get', 'node', 'node-2', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}', check=False)
        return r.stdout == 'True'

    def certificate(self, name, field):
        return openssl('x509', '-in', f'{self.dir}/node/agent/pki/{name}-current.pem', '-noout', field).decode().strip()

    def remove(self):
        if 'agent' in self.processes:
            self.kubectl('delete', 'pods', '--all', '--grace-period=1', '--timeout=60s', check=False)
            self.stop('agent')
        if 'server' in self.processes: self.stop('server')
        self.network.remove()
        shutil.rmtree(self.dir, ignore_errors=True)
        for root, _, _ in os.walk('/sys/fs/cgroup', topdown=False):
            if self.cgroup in root:
                try: os.rmdir(root)
                except OSError: pass


def the_world():
    global world
    if not world: world = World()
    return world


def teardown():
    if world: world.remove()


def test_a_token_that_is_not_the_clusters_is_no_good():
    w = the_world()
    head, secret = w.token.split('::node:')
    def refused(token, why):
        d = tempfile.mkdtemp(dir=w.dir)
        r = w.inside(2, str(TOP / 'build/ckube'), 'agent', '--data-dir', d, '--server', f'https://{w.network.address(1)}:6443', '--token', token, '--node-name', 'stranger')
        same(r.returncode, 1)
        contains(r.stdout + r.stderr, why)
        assert not os.path.exists(f'{d}/agent/kubelet.kubeconfig')
    refused('CK1' + 'ab' * 32 + '::node:' + secret, "is not the token's cluster")
    refused(f'{head}::node:{secret[:7]}0123456789abcdef', 'the cluster does not know the token')
    refused(f'{head}::server:{secret}', 'the token is not of the form CK1<hash>::node:<id>.<secret>')
    same(w.json('get', 'csr')['items'], [])


def test_a_node_joins_with_one_command_and_runs_pods():
    w = the_world()
    w.agent('--server', f'https://{w.network.address(1)}:6443', '--token', w.token)
    w.wait(w.ready, 'the node to be Ready')
    w.wait(lambda: w.certificate('kubelet-server', '-subject').replace(' ', '').endswith('O=system:nodes,CN=system:node:node-2'), 'its serving certificate')
    requests = {r['spec']['signerName']: r for r in w.json('get', 'csr')['items']}
    for signer, user in ('kubernetes.io/kube-apiserver-client-kubelet', 'system:bootstrap:'), ('kubernetes.io/kubelet-serving', 'system:node:node-2'):
        contains(requests[signer]['spec']['username'], user)
        same([c['type'] for c in requests[signer]['status']['conditions']], ['Approved'])
    same(oct(os.stat(f'{w.dir}/node/agent/pki/kubelet-client-current.pem').st_mode & 0o777), '0o600')
    same(oct(os.stat(f'{w.dir}/node/agent/bootstrap.kubeconfig').st_mode & 0o777), '0o600')
    w.wait(lambda: 'not-ready' not in w.kubectl('get', 'node', 'node-2', '-o', 'json').stdout, 'its taint to go')
    w.wait(lambda: w.kubectl('get', 'serviceaccount', 'default', check=False).returncode == 0, 'the ServiceAccount default')
    pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'web', 'labels': {'app': 'web'}},
           'spec': {'terminationGracePeriodSeconds': 1, 'containers': [{'name': 'c', 'image': IMAGE, 'command': ['sh', '-c', 'echo it runs; exec hostname-server'], 'readinessProbe': {'httpGet': {'port': 8080}, 'periodSeconds': 1}}]}}
    w.kubectl('create', '-f', '-', stdin=json.dumps(pod))
    w.kubectl('create', 'service', 'clusterip', 'web', '--tcp=80:8080')
    w.wait(lambda: w.json('get', 'pod', 'web')['status'].get('phase') == 'Running', 'the Pod to run')
    same(w.json('get', 'pod', 'web')['spec']['nodeName'], 'node-2')
    # The apiserver verifies the kubelet by the certificate that it asked for.
    w.wait(lambda: w.kubectl('exec', 'web', '--', 'echo', 'hello', check=False).stdout == 'hello\n', 'exec to work')
    same(w.kubectl('logs', 'web').stdout, 'it runs\n')
    address = w.json('get', 'service', 'web')['spec']['clusterIP']
    w.wait(lambda: w.inside(2, 'timeout', '2', 'busybox', 'wget', '-qO-', f'http://{address}/').stdout.strip() == 'web', 'the Service to answer on the node')


def test_a_restart_keeps_the_identity():
    w = the_world()
    if 'agent' not in w.processes: raise Skip('no node has joined')
    before = [w.certificate(n, '-fingerprint') for n in ('kubelet-client', 'kubelet-server')]
    requests = len(w.json('get', 'csr')['items'])
    uid = w.json('get', 'node', 'node-2')['metadata']['uid']
    same(w.stop('agent'), 0)
    w.agent()
    renewed = lambda: w.json('-n', 'kube-node-lease', 'get', 'lease', 'node-2')['spec']['renewTime']
    last = renewed()
    w.wait(lambda: renewed() != last and w.ready(), 'the node to be back')
    same([w.certificate(n, '-fingerprint') for n in ('kubelet-client', 'kubelet-server')], before)
    same(len(w.json('get', 'csr')['items']), requests)
    same(w.json('get', 'node', 'node-2')['metadata']['uid'], uid)
    same(w.kubectl('exec', 'web', '--', 'echo', 'still here').stdout, 'still here\n')
