"""A whole cluster, `ckube server`, and what a user does with it: the first deployment, updates, Services, and what goes wrong. Needs root, containerd, runc and the
CNI plugins. It has a network namespace of its own, so that its ports, bridge and rules meet nobody else's; kubectl is run in there too."""
import json, os, pathlib, re, shutil, signal, subprocess, tempfile, time
from harness import TOP, Server, Skip, busy, contains, free_port, kubectls, same

IMAGE = 'registry.ckube.local/busybox:1'
NODE_IP = '10.201.77.1'
the_cluster = None


class Cluster(Server):
    def __init__(self):
        self.ns = f'ckt{os.getpid() % 100000}'
        self.cgroup = f'/ckube-{self.ns}'
        run('ip', 'netns', 'add', self.ns)
        self.inside('ip', 'link', 'set', 'lo', 'up')
        self.inside('ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1')
        self.inside('ip', 'address', 'add', f'{NODE_IP}/24', 'dev', 'up0')
        for link in ('up0', 'up1'): self.inside('ip', 'link', 'set', link, 'up')
        self.inside('ip', 'route', 'add', 'default', 'via', '10.201.77.254')
        super().__init__(binary='build/ckube', command='server', prepare=self.prepare)
        self.wait(lambda: self.condition('node', 'node-1', 'Ready') == 'True', 'the node to be Ready')
        self.wait(lambda: 'not-ready' not in self.kubectl('get', 'nodes', '-o', 'json').stdout, 'its taint to go')
        self.wait(lambda: self.kubectl('get', 'serviceaccount', 'default', check=False).returncode == 0, 'the ServiceAccount default')

    def prepare(self, _):
        os.makedirs(f'{self.dir}/agent/images')
        run(str(TOP / 'tools/make-image'), '--busybox', f'{self.dir}/agent/images/busybox.tar')
        self.flags = ['--node-name', 'node-1', '--node-ip', NODE_IP, '--root-dir', f'{self.dir}/kubelet', '--pod-logs-dir', f'{self.dir}/logs', '--cgroup-root', self.cgroup,
                      '--bind-address', '0.0.0.0']

    def command_line(self, argv):
        return ['nsenter', f'--net=/run/netns/{self.ns}', *argv]

    def inside(self, *argv, check=True):
        return run(*self.command_line(argv), check=check)

    def condition(self, kind, name, which):
        return self.kubectl('get', kind, name, '-o', f'jsonpath={{.status.conditions[?(@.type=="{which}")].status}}', check=False).stdout

    def wait(self, test, what, seconds=60):
        deadline = time.time() + seconds
        while time.time() < deadline:
            if self.process.poll() is not None: raise AssertionError('the server ended: ' + self.log_text())
            if test(): return
            time.sleep(0.1)
        raise AssertionError(f'waited {seconds} s for {what}\n' + self.kubectl('get', 'pods,events', '-A', check=False).stdout[-3000:] + self.log_text())

    def pods(self, selector, ns='default'):
        return [p for p in self.json('-n', ns, 'get', 'pods', '-l', selector)['items'] if 'deletionTimestamp' not in p['metadata']]

    def apply(self, *objects):
        self.kubectl('apply', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects}))

    def fetch(self, address, within=2):
        return self.inside('timeout', str(within), 'busybox', 'wget', '-qO-', f'http://{address}/hostname', check=False).stdout.strip()

    def remove(self):
        if self.process:
            self.kubectl('delete', 'deployments', '--all', '-A', '--cascade=foreground', '--timeout=60s', check=False, timeout=70)
            self.kubectl('delete', 'pods', '--all', '-A', '--grace-period=1', '--timeout=60s', check=False, timeout=70)
            self.stop()
        super().remove()
        subprocess.run(['ip', 'netns', 'delete', self.ns], capture_output=True)
        for root, _, _ in os.walk('/sys/fs/cgroup', topdown=False):
            if self.cgroup in root:
                try: os.rmdir(root)
                except OSError: pass


def run(*argv, check=True):
    r = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    if check and r.returncode: raise AssertionError(f'{" ".join(argv)}: exit {r.returncode}\n{r.stdout}{r.stderr}')
    return r


def cluster():
    global the_cluster
    if os.geteuid() != 0: raise Skip('needs root')
    for program in ('containerd', 'runc', 'ctr', 'nft', 'nsenter', 'busybox'):
        if not shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin'): raise Skip(f'{program} is not installed')
    if not any(pathlib.Path(d, 'bridge').exists() for d in ('/usr/lib/cni', '/opt/cni/bin')): raise Skip('the CNI plugins are not installed')
    if not the_cluster: the_cluster = Cluster()
    return the_cluster


def teardown():
    if the_cluster: the_cluster.remove()


def deployment(name, replicas, image=IMAGE, command=('sh', '-c', 'mkdir -p /www && hostname > /www/hostname && exec httpd -f -p 8080 -h /www'), **spec):
    return {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': name, 'labels': {'app': name}},
            'spec': {'replicas': replicas, 'selector': {'matchLabels': {'app': name}},
                     'template': {'metadata': {'labels': {'app': name}},
                                  'spec': {'terminationGracePeriodSeconds': 1,
                                           'containers': [{'name': 'c', 'image': image, 'command': list(command), 'readinessProbe': {'tcpSocket': {'port': 8080}, 'periodSeconds': 1}}]}}, **spec}}


def service(name, **spec):
    return {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name}, 'spec': {'selector': {'app': name}, 'ports': [{'port': 80, 'targetPort': 8080}], **spec}}


# ---- the first deployment ----

def test_the_example_ends_in_ten_ready_pods_behind_a_service():
    k = cluster()
    k.kubectl('apply', '-f', str(TOP / 'examples/deploy.yaml'))
    contains(k.kubectl('rollout', 'status', 'deployment/web', '--timeout=90s', timeout=100).stdout, 'deployment "web" successfully rolled out')
    pods = k.pods('app=web')
    same(len(pods), 10)
    same({p['status']['phase'] for p in pods}, {'Running'})
    same(len({p['status']['podIP'] for p in pods}), 10, 'distinct addresses')
    for p in pods: assert re.fullmatch(r'web-[bcdfghjklmnpqrstvwxz2456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}', p['metadata']['name']), p['metadata']['name']
    same(k.kubectl('get', 'deployment', 'web').stdout.split()[5:9], ['web', '10/10', '10', '10'])
    messages = k.kubectl('get', 'events').stdout
    for text in ('Scaled up replica set web-', 'Created pod: web-', 'Successfully assigned default/web-', 'Container started'): contains(messages, text)


def test_it_is_shown_in_every_form_by_every_kubectl():
    k = cluster()
    name = k.pods('app=web')[0]['metadata']['name']
    for kubectl in kubectls():
        get = lambda *args: k.kubectl('get', *args, kubectl=kubectl).stdout
        contains(get('pods', '-o', 'wide'), 'node-1')
        same(get('pods', name, '-o', 'jsonpath={.spec.nodeName}'), 'node-1')
        same(get('pods', name, '-o', 'custom-columns=N:.metadata.name,P:.status.phase').split(), ['N', 'P', name, 'Running'])
        same(json.loads(get('pods', name, '-o', 'json'))['metadata']['name'], name)
        contains(get('deployment', 'web', '-o', 'yaml'), 'availableReplicas: 10')
        contains(k.kubectl('describe', 'pod', name, kubectl=kubectl).stdout, 'Successfully assigned')
        contains(k.kubectl('describe', 'deployment', 'web', kubectl=kubectl).stdout, 'Scaled up replica set')
        contains(k.kubectl('describe', 'node', 'node-1', kubectl=kubectl).stdout, 'KubeletReady')
        contains(k.kubectl('rollout', 'status', 'deployment/web', kubectl=kubectl).stdout, 'successfully rolled out')
        same(k.kubectl('exec', name, '--', 'echo', 'inside', kubectl=kubectl).stdout, 'inside\n')


def test_other_ways_to_look():
    k = cluster()
    contains(k.kubectl('api-resources').stdout, 'deployments')
    contains(k.kubectl('api-versions').stdout, 'apps/v1')
    contains(k.kubectl('cluster-info').stdout, 'is running at')
    contains(k.kubectl('explain', 'deployment.spec.strategy').stdout, 'rollingUpdate')
    same(k.kubectl('auth', 'can-i', 'create', 'pods').stdout.strip(), 'yes')
    same(k.kubectl('auth', 'can-i', 'create', 'pods', '--as', 'nobody', check=False).stdout.strip(), 'no')
    contains(k.kubectl('top', 'nodes', check=False).stderr, 'Metrics API not available')
    contains(k.kubectl('get', 'leases', '-n', 'kube-system').stdout, 'kube-scheduler')
    contains(k.kubectl('get', 'configmap', 'kube-root-ca.crt', '-o', 'yaml').stdout, 'BEGIN CERTIFICATE')


# ---- the Service ----

def test_the_service_answers_from_host_and_pods_and_spreads():
    k = cluster()
    k.apply(deployment('echo', 3), service('echo', type='NodePort'))
    k.kubectl('rollout', 'status', 'deployment/echo', '--timeout=60s', timeout=70)
    spec = k.json('get', 'service', 'echo')['spec']
    names = {p['metadata']['name'] for p in k.pods('app=echo')}
    for address in (spec['clusterIP'], f'{NODE_IP}:{spec["ports"][0]["nodePort"]}'):
        k.wait(lambda: k.fetch(address) in names, f'{address} to answer', 10)
        seen = {k.fetch(address) for _ in range(40)}
        same(seen, names, f'Pods that answered at {address}')
    pod = next(iter(names))
    seen = set(k.kubectl('exec', pod, '--', 'sh', '-c', f'for i in $(seq 40); do timeout 2 wget -qO- http://{spec["clusterIP"]}/hostname; done').stdout.split())
    same(seen, names, 'Pods that answered a Pod')


def test_endpoints_follow_pods_within_a_second():
    k = cluster()
    within = 1 if not busy() else 5
    address = k.json('get', 'service', 'echo')['spec']['clusterIP']
    k.kubectl('scale', 'deployment', 'echo', '--replicas=1')
    k.wait(lambda: len(k.pods('app=echo')) == 1, 'one Pod', 20)
    last = k.pods('app=echo')[0]['metadata']['name']
    time.sleep(within)
    same({k.fetch(address) for _ in range(20)}, {last})
    k.kubectl('scale', 'deployment', 'echo', '--replicas=2')
    k.kubectl('wait', '--for=condition=Available', 'deployment/echo', '--timeout=30s')
    k.wait(lambda: len([p for p in k.pods('app=echo') if any(c['type'] == 'Ready' and c['status'] == 'True' for c in p['status'].get('conditions', []))]) == 2, 'two ready Pods', 20)
    time.sleep(within)
    same(len({k.fetch(address) for _ in range(30)}), 2)


# ---- changes ----

def test_a_rolling_update_and_its_undoing():
    k = cluster()
    k.apply(deployment('roll', 4))
    k.kubectl('rollout', 'status', 'deployment/roll', '--timeout=60s', timeout=70)
    first = k.json('get', 'rs', '-l', 'app=roll')['items'][0]['metadata']['name']
    k.kubectl('set', 'env', 'deployment/roll', 'VERSION=2')
    contains(k.kubectl('rollout', 'status', 'deployment/roll', '--timeout=60s', timeout=70).stdout, 'successfully rolled out')
    same(len(k.json('get', 'rs', '-l', 'app=roll')['items']), 2)
    k.wait(lambda: {p['spec']['containers'][0].get('env', [{}])[0].get('value') for p in k.pods('app=roll')} == {'2'}, 'only new Pods', 30)
    contains(k.kubectl('rollout', 'history', 'deployment/roll').stdout, '2')
    k.kubectl('rollout', 'undo', 'deployment/roll')
    k.kubectl('rollout', 'status', 'deployment/roll', '--timeout=60s', timeout=70)
    k.wait(lambda: k.json('get', 'rs', first)['status'].get('availableReplicas') == 4, 'the first revision to be back', 30)
    same(k.json('get', 'deployment', 'roll')['metadata']['annotations']['deployment.kubernetes.io/revision'], '3')
    k.kubectl('set', 'image', 'deployment/roll', 'c=registry.ckube.local/none:1')
    k.wait(lambda: 'ImagePull' in k.kubectl('get', 'pods', '-l', 'app=roll').stdout or 'ErrImage' in k.kubectl('get', 'pods', '-l', 'app=roll').stdout, 'a Pod that cannot pull', 30)
    assert k.json('get', 'deployment', 'roll')['status']['availableReplicas'] >= 3
    k.kubectl('rollout', 'undo', 'deployment/roll')
    k.kubectl('rollout', 'status', 'deployment/roll', '--timeout=60s', timeout=70)


def test_edits_and_patches_of_all_kinds():
    k = cluster()
    k.apply(deployment('edit', 1))
    for kind, patch in (('merge', '{"spec":{"replicas":2}}'), ('json', '[{"op":"replace","path":"/spec/replicas","value":1}]'), ('strategic', '{"spec":{"template":{"spec":{"containers":[{"name":"c","env":[{"name":"A","value":"1"}]}]}}}}')):
        k.kubectl('patch', 'deployment', 'edit', '--type', kind, '-p', patch)
    same(k.json('get', 'deployment', 'edit')['spec']['template']['spec']['containers'][0]['env'], [{'name': 'A', 'value': '1'}])
    editor = f'{k.dir}/editor'
    pathlib.Path(editor).write_text('#!/bin/sh\nsed -i "s/replicas: 1/replicas: 2/" "$1"\n')
    os.chmod(editor, 0o755)
    os.environ['KUBE_EDITOR'] = editor
    k.kubectl('edit', 'deployment', 'edit')
    del os.environ['KUBE_EDITOR']
    same(k.json('get', 'deployment', 'edit')['spec']['replicas'], 2)
    changed = deployment('edit', 3)
    r = k.kubectl('diff', '-f', '-', stdin=json.dumps(changed), check=False)
    same(r.returncode, 1)
    contains(r.stdout, '+  replicas: 3')
    k.apply(changed)
    same(k.json('get', 'deployment', 'edit')['spec']['replicas'], 3)
    k.kubectl('label', 'deployment', 'edit', 'tier=front')
    k.kubectl('annotate', 'deployment', 'edit', 'note=kept')
    k.kubectl('expose', 'deployment', 'edit', '--port=80', '--target-port=8080')
    same(k.json('get', 'service', 'edit')['spec']['selector'], {'app': 'edit'})
    k.kubectl('apply', '--server-side', '--force-conflicts', '-f', '-', stdin=json.dumps(deployment('edit', 1)))
    k.kubectl('wait', '--for=jsonpath={.status.replicas}=1', 'deployment/edit', '--timeout=30s')


def test_a_watch_tells_what_happens():
    k = cluster()
    w = subprocess.Popen(k.command_line(['kubectl', '--kubeconfig', k.kubeconfig, 'get', 'pods', '-l', 'app=watched', '-w', '--no-headers']), stdout=subprocess.PIPE, text=True)
    try:
        k.apply(deployment('watched', 1))
        k.kubectl('rollout', 'status', 'deployment/watched', '--timeout=60s', timeout=70)
        k.kubectl('delete', 'deployment', 'watched')
        k.wait(lambda: not k.json('get', 'pods', '-l', 'app=watched')['items'], 'the Pods to go', 30)
    finally:
        w.terminate()
    seen = w.communicate()[0]
    for text in ('Pending', 'ContainerCreating', 'Running', '1/1', 'Terminating'): contains(seen, text)


def test_deletion_in_every_mode():
    k = cluster()
    for mode in ('background', 'foreground', 'orphan'):
        name = f'del-{mode}'
        k.apply(deployment(name, 2))
        k.wait(lambda: len(k.pods(f'app={name}')) == 2, 'two Pods', 30)
        k.kubectl('delete', 'deployment', name, f'--cascade={mode}', '--timeout=60s', timeout=70)
        if mode == 'orphan':
            time.sleep(1)
            same(len(k.pods(f'app={name}')), 2, 'orphans')
            same(k.json('get', 'rs', '-l', f'app={name}')['items'][0]['metadata'].get('ownerReferences'), None)
            k.kubectl('delete', 'rs', '-l', f'app={name}')
        k.wait(lambda: not k.json('get', 'pods', '-l', f'app={name}')['items'] and not k.json('get', 'rs', '-l', f'app={name}')['items'], f'all to be gone ({mode})', 30)
    k.kubectl('run', 'slow', f'--image={IMAGE}', '--restart=Never', '--command', '--', 'sh', '-c', 'trap "" TERM; sleep 1000 & wait; sleep 1000')
    k.kubectl('wait', '--for=condition=Ready', 'pod/slow', '--timeout=30s')
    start = time.time()
    k.kubectl('delete', 'pod', 'slow', '--grace-period=2')
    assert 1.5 < time.time() - start < 10, time.time() - start


def test_a_namespace_goes_with_all_it_holds():
    k = cluster()
    k.kubectl('create', 'namespace', 'gone')
    k.wait(lambda: k.kubectl('-n', 'gone', 'get', 'serviceaccount', 'default', check=False).returncode == 0, 'its ServiceAccount', 10)
    k.kubectl('-n', 'gone', 'create', 'deployment', 'd', f'--image={IMAGE}', '--replicas=2', '--', 'sh', '-c', 'trap exit TERM; sleep 1000 & wait')
    k.kubectl('-n', 'gone', 'create', 'configmap', 'c')
    k.wait(lambda: len(k.pods('app=d', 'gone')) == 2, 'two Pods', 20)
    k.kubectl('delete', 'namespace', 'gone', '--timeout=90s', timeout=100)


# ---- what goes wrong ----

def test_a_pod_that_fits_nowhere_says_why():
    k = cluster()
    pod = lambda name, **spec: {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name}, 'spec': {'containers': [{'name': 'c', 'image': IMAGE, **spec.pop('container', {})}], **spec}}
    k.apply(pod('nowhere', nodeSelector={'disk': 'none'}), pod('toolarge', container={'resources': {'requests': {'cpu': '1000'}}}))
    for name, why in (('nowhere', "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."), ('toolarge', '0/1 nodes are available: 1 Insufficient cpu.')):
        k.wait(lambda: why in json.dumps(k.json('get', 'pod', name)['status'], ensure_ascii=False), f'{name} to say {why}', 20)
        contains(k.kubectl('get', 'events', '--field-selector', f'involvedObject.name={name}').stdout, 'FailedScheduling')
    k.kubectl('label', 'node', 'node-1', 'disk=none')
    k.wait(lambda: k.json('get', 'pod', 'nowhere')['spec'].get('nodeName') == 'node-1', 'it to be bound once the label is there', 20)
    k.kubectl('delete', 'pod', 'nowhere', 'toolarge', '--grace-period=0', '--force')


def test_a_service_account_token_opens_the_api_to_its_pod():
    k = cluster()
    name = k.pods('app=web')[0]['metadata']['name']
    token = k.kubectl('exec', name, '--', 'cat', '/var/run/secrets/kubernetes.io/serviceaccount/token').stdout
    contains(k.kubectl('exec', name, '--', 'cat', '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt').stdout, 'BEGIN CERTIFICATE')
    r = run(*k.command_line(['curl', '-sk', '-H', f'Authorization: Bearer {token}', f'https://127.0.0.1:{k.port}/apis/authentication.k8s.io/v1/selfsubjectreviews', '-H', 'Content-Type: application/json',
                             '-d', '{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}']))
    same(json.loads(r.stdout)['status']['userInfo']['username'], 'system:serviceaccount:default:default')


def network_of(process):
    try: return os.stat(f'/proc/{process}/ns/net').st_ino
    except OSError: return 0 # it has ended meanwhile


def test_a_pod_reaches_the_api_by_the_service_kubernetes():
    """As client libraries do in a Pod: the address of its environment, the token and the authority of its volume. The image has no curl: ours is run in the Pod's network."""
    k = cluster()
    same([x['ip'] for x in k.json('get', 'endpoints', 'kubernetes')['subsets'][0]['addresses']], [NODE_IP])
    name = k.pods('app=web')[0]['metadata']['name']
    inside = lambda *argv: k.kubectl('exec', name, '--', *argv).stdout
    host, port = inside('sh', '-c', 'echo $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT').split()
    same(host, k.json('get', 'service', 'kubernetes')['spec']['clusterIP'])
    pathlib.Path(f'{k.dir}/pod-ca.crt').write_text(inside('cat', '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt'))
    token, network = inside('cat', '/var/run/secrets/kubernetes.io/serviceaccount/token'), int(re.search(r'\d+', inside('busybox', 'readlink', '/proc/self/ns/net'))[0])
    process = next(p for p in os.listdir('/proc') if p.isdigit() and network_of(p) == network)
    r = run('nsenter', f'--net=/proc/{process}/ns/net', 'curl', '-sS', '--max-time', '10', '--cacert', f'{k.dir}/pod-ca.crt', '-H', f'Authorization: Bearer {token}',
            f'https://{host}:{port}/apis/authentication.k8s.io/v1/selfsubjectreviews', '-H', 'Content-Type: application/json', '-d', '{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}')
    same(json.loads(r.stdout)['status']['userInfo']['username'], 'system:serviceaccount:default:default')


def test_a_restart_adopts_what_runs():
    k = cluster()
    before = {p['metadata']['name']: p['status']['containerStatuses'][0]['containerID'] for p in k.pods('app=web')}
    for sig in (signal.SIGTERM, signal.SIGKILL):
        code, seconds = k.stop(sig)
        if sig == signal.SIGTERM: same(code, 0)
        k.start()
        k.wait(lambda: k.condition('node', 'node-1', 'Ready') == 'True', 'the node to be Ready again')
        time.sleep(2)
        after = {p['metadata']['name']: (p['status']['containerStatuses'][0]['containerID'], p['status']['containerStatuses'][0]['restartCount']) for p in k.pods('app=web')}
        same(after, {n: (i, 0) for n, i in before.items()}, f'Pods after {sig.name}')


# ---- the control plane alone ----

def test_a_control_plane_alone_needs_no_root_and_ends_within_a_second():
    user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] if os.geteuid() == 0 else []
    d, port = tempfile.mkdtemp(prefix='ckube-plane-'), free_port()
    os.chmod(d, 0o777)
    args = [*user, str(TOP / 'build/ckube'), 'server', '--disable-agent', '--data-dir', f'{d}/data', '--secure-port', str(port), '--bind-address', '127.0.0.1']
    kubectl = lambda *a: subprocess.run(['kubectl', '--kubeconfig', f'{d}/data/admin.kubeconfig', *a], capture_output=True, text=True, timeout=30)
    try:
        for sig in (signal.SIGKILL, signal.SIGTERM):
            p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            deadline = time.time() + 20
            while kubectl('get', '--raw', '/readyz').returncode and time.time() < deadline: time.sleep(0.05)
            for path in ('/readyz', '/livez', '/healthz', '/version', '/metrics'): same(kubectl('get', '--raw', path).returncode, 0, path)
            if sig == signal.SIGKILL: same(kubectl('create', 'deployment', 'kept', '--image=x').returncode, 0)
            else: contains(kubectl('get', 'deployments').stdout, 'kept')
            start = time.time()
            p.send_signal(sig)
            code = p.wait(timeout=10)
            if sig == signal.SIGTERM:
                same(code, 0)
                assert time.time() - start < 1 or busy(), time.time() - start
            same(p.stdout.read(), b'', 'standard output')
    finally:
        p.kill()
        shutil.rmtree(d, ignore_errors=True)
