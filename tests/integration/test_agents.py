"""A node whose apiserver is lost: three servers and, on a machine of its own, `ckube kubelet` and `ckube kube-proxy` that know only the first of them at the start. The others they
learn from the EndpointSlice of the Service `kubernetes`. Needs root, etcd, containerd, runc and the CNI plugins."""
import json, os, pathlib, shutil, signal, subprocess, tempfile, time
from clusters import Member, Network
from fixtures import make_cert
from harness import TOP, Skip, same

IMAGE = 'registry.ckube.local/busybox:1'
SERVE = 'mkdir -p /www && hostname > /www/hostname && exec httpd -f -p 8080 -h /www'


class Agent:
    """Namespace n of the network: a kubelet and a kube-proxy, each with credentials of its own, for the apiserver at this URL."""

    def __init__(self, network, n, name, tls, url):
        self.network, self.n, self.name, self.cgroup, self.processes = network, n, name, f'/ckube-{network.prefix}{n}', {}
        self.dir = tempfile.mkdtemp(prefix='ckube-agent-')
        os.makedirs(f'{self.dir}/agent/images')
        subprocess.run([str(TOP / 'tools/make-image'), '--busybox', f'{self.dir}/agent/images/busybox.tar'], check=True)
        network.ip(n, 'route', 'add', 'default', 'via', network.address(254))  # Services' addresses have a way out of the machine, as everywhere
        self.credentials('kubelet', tls, f'/O=system:nodes/CN=system:node:{name}', url)
        self.credentials('kube-proxy', tls, '/CN=system:kube-proxy', url)

    def credentials(self, component, tls, subject, url):
        make_cert(self.dir, component, 'client-ca', subject, ca_dir=tls)
        shutil.copy(f'{tls}/server-ca.crt', self.dir)
        pathlib.Path(f'{self.dir}/{component}.kubeconfig').write_text(json.dumps({
            'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'contexts': [{'name': 'c', 'context': {'cluster': 'c', 'user': 'u'}}],
            'clusters': [{'name': 'c', 'cluster': {'server': url, 'certificate-authority': f'{self.dir}/server-ca.crt'}}],
            'users': [{'name': 'u', 'user': {'client-certificate': f'{self.dir}/{component}.crt', 'client-key': f'{self.dir}/{component}.key'}}]}))

    def start(self, component):
        flags = {'kubelet': ['--node-ip', self.network.address(self.n), '--root-dir', f'{self.dir}/kubelet', '--pod-logs-dir', f'{self.dir}/logs', '--cgroup-root', self.cgroup],
                 'kube-proxy': ['--cluster-cidr', '10.42.0.0/16', '--masquerade-pods']}[component]
        with open(f'{self.dir}/{component}.log', 'ab') as log:
            self.processes[component] = subprocess.Popen(self.inside(str(TOP / 'build/ckube'), component, '--data-dir', self.dir, '--hostname-override', self.name,
                                                                     '--kubeconfig', f'{self.dir}/{component}.kubeconfig', *flags), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self, component):
        p = self.processes.pop(component)
        p.terminate()
        try: return p.wait(40)
        finally: p.kill()

    def inside(self, *argv): return self.network.inside(self.n, argv)
    def known(self, component):
        """The apiservers that it has learnt."""
        path = pathlib.Path(f'{self.dir}/{component}.kubeconfig.servers')
        return sorted(path.read_text().split()) if path.exists() else []

    def answered(self, address):
        """Which Pod answers there."""
        return subprocess.run(self.inside('timeout', '2', 'busybox', 'wget', '-qO-', f'http://{address}/hostname'), capture_output=True, text=True).stdout.strip()

    def log_text(self): return ''.join(pathlib.Path(f'{self.dir}/{c}.log').read_text(errors='replace')[-1500:] for c in ('kubelet', 'kube-proxy') if os.path.exists(f'{self.dir}/{c}.log'))

    def remove(self):
        for component in list(self.processes): self.stop(component)
        shutil.rmtree(self.dir, ignore_errors=True)
        for root, _, _ in os.walk('/sys/fs/cgroup', topdown=False):
            if self.cgroup in root:
                try: os.rmdir(root)
                except OSError: pass


def need():
    if os.geteuid() != 0: raise Skip('needs root')
    for program in ('containerd', 'runc', 'ctr', 'nft', 'busybox'):
        if not shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin'): raise Skip(f'{program} is not installed')
    if not any(pathlib.Path(d, 'bridge').exists() for d in ('/usr/lib/cni', '/opt/cni/bin')): raise Skip('the CNI plugins are not installed')


def deployment(replicas):
    return json.dumps({'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'web'}, 'spec': {
        'replicas': replicas, 'selector': {'matchLabels': {'app': 'web'}}, 'template': {'metadata': {'labels': {'app': 'web'}}, 'spec': {
            'terminationGracePeriodSeconds': 1, 'containers': [{'name': 'c', 'image': IMAGE, 'command': ['sh', '-c', SERVE], 'readinessProbe': {'tcpSocket': {'port': 8080}, 'periodSeconds': 1}}]}}}})


def test_a_node_goes_on_when_its_apiserver_is_lost():
    need()
    network = Network(4)
    first = Member(network, 1, ['--cluster-init'])
    servers, agent, at = [first, Member(network, 2), Member(network, 3)], None, first

    def until(test, what, seconds=90):
        begun = time.time()
        while not test():
            if time.time() > begun + seconds:
                raise AssertionError(f'waited {seconds} s for {what}\n' + at.kubectl('get', 'nodes,pods,events', '-A', check=False).stdout[-3000:] + agent.log_text())
            time.sleep(0.1)
        return time.time() - begun

    def ready():
        return at.kubectl('get', 'node', 'agent', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}', check=False).stdout == 'True'

    def pods():
        """The names of those that run and are ready."""
        r = at.kubectl('get', 'pods', '-l', 'app=web', '-o', 'json', check=False)
        return {p['metadata']['name'] for p in json.loads(r.stdout)['items'] if not p['metadata'].get('deletionTimestamp') and
                any(c['type'] == 'Ready' and c['status'] == 'True' for c in p['status'].get('conditions', []))} if r.returncode == 0 else set()

    try:
        first.start()
        for s in servers[1:]:
            s.flags = ['--server', first.url, '--token', first.token()]
            s.start(wait=False)
        agent = Agent(network, 4, 'agent', f'{first.dir}/tls', first.url)
        for component in 'kubelet', 'kube-proxy': agent.start(component)
        for s in servers[1:]: s.wait_ready()
        until(ready, 'the node to be Ready')
        at.kubectl('apply', '-f', '-', stdin=deployment(1))
        at.kubectl('expose', 'deployment', 'web', '--port=80', '--target-port=8080')
        address = at.kubectl('get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}').stdout
        until(lambda: len(pods()) == 1, 'a Pod')
        until(lambda: {agent.answered(address)} == pods(), 'the Service to answer')
        for component in 'kubelet', 'kube-proxy': until(lambda: agent.known(component) == [s.url for s in servers], f'the {component} to have learnt all apiservers')
        # the only one that they were told of goes; what is asked of the others from then on happens
        first.stop(signal.SIGKILL)
        at = servers[1]
        until(lambda: at.kubectl('apply', '-f', '-', stdin=deployment(3), check=False).returncode == 0, 'the Deployment to be changed')
        seconds = until(lambda: len(pods()) == 3, 'three Pods')
        follows = until(lambda: {agent.answered(address) for _ in range(30)} == pods(), 'the Service to answer from all Pods')
        print(f'    the apiserver in use is killed: new Pods run after {seconds:.1f} s, their Service answers from them {follows:.1f} s later', flush=True)
        # a start without it: by what was kept
        same(agent.stop('kubelet'), 0, "the kubelet's exit code")
        renewed = lambda: at.kubectl('get', 'lease', 'agent', '-n', 'kube-node-lease', '-o', 'jsonpath={.spec.renewTime}', check=False).stdout
        before = renewed()
        agent.start('kubelet')
        until(lambda: renewed() not in ('', before), 'the lease of the node to be renewed')
        until(ready, 'the node to be Ready')
        # and one that says nothing any more, without a word of goodbye
        first.start()
        network.cut(2)
        at = servers[2]
        until(lambda: at.kubectl('apply', '-f', '-', stdin=deployment(1), check=False).returncode == 0, 'the Deployment to be changed again')
        seconds = until(lambda: len(pods()) == 1 and {agent.answered(address) for _ in range(5)} == pods(), 'one Pod, and the Service to answer from it')
        print(f'    another server is cut off: Pods have gone after {seconds:.1f} s', flush=True)
        same(ready(), True, 'the node is Ready')
        network.heal(2)
        at.kubectl('delete', 'deployment', 'web', '--cascade=foreground', '--timeout=60s', timeout=70)
    finally:
        if agent: agent.remove()
        for s in servers: s.remove()
        network.remove()
