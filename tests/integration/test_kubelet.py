"""Pods on a real containerd: an apiserver, a kubelet with a runtime of its own, and what kubectl sees. Needs root, containerd, runc and the CNI plugins."""
import json, os, pathlib, shutil, signal, subprocess, time
from fixtures import make_ca, make_cert
from harness import TOP, Server, Skip, contains, free_port, same

IMAGE = 'registry.ckube.local/busybox:1'
node = None


class Node:
    """An apiserver and a kubelet that share a data folder, with a bridge, cgroup and Pod network of their own."""

    def __init__(self):
        self.server = Server()
        self.dir, self.port, self.process = self.server.dir, free_port(), None
        self.bridge, self.cgroup = f'ckt{self.port}', f'/ckube-test-{self.port}'
        os.makedirs(f'{self.dir}/agent/images')
        subprocess.run([str(TOP / 'tools/make-image'), '--busybox', f'{self.dir}/agent/images/busybox.tar'], check=True)
        self.server.kubectl('create', 'serviceaccount', 'default', check=False)
        self.start()
        self.wait(lambda: self.condition() == 'True', 'the node to be Ready')

    def start(self):
        self.log = open(f'{self.dir}.log', 'ab')
        self.process = subprocess.Popen(
            [str(TOP / self.server.binary), 'kubelet', '--data-dir', self.dir, '--hostname-override', 'node-1', '--node-ip', '127.0.0.1', '--root-dir', f'{self.dir}/kubelet',
             '--pod-logs-dir', f'{self.dir}/logs', '--port', str(self.port), '--address', '127.0.0.1', '--cgroup-root', self.cgroup, '--pod-cidr', '10.199.0.0/24',
             '--cni-bridge', self.bridge, '--pod-manifest-path', f'{self.dir}/manifests'], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        code = self.process.wait(timeout=30)
        return code

    def condition(self):
        r = self.server.kubectl('get', 'node', 'node-1', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}', check=False)
        return r.stdout

    def wait(self, test, what, seconds=40):
        deadline = time.time() + seconds
        while time.time() < deadline:
            if self.process.poll() is not None: raise AssertionError('the kubelet ended: ' + self.server.log_text())
            if test(): return
            time.sleep(0.2)
        raise AssertionError(f'waited {seconds} s for {what}\n' + self.server.kubectl('get', 'pods,events', '-A', check=False).stdout + self.server.log_text())

    def run(self, name, containers, **spec):
        pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name},
               'spec': {'nodeName': 'node-1', 'automountServiceAccountToken': False, 'terminationGracePeriodSeconds': 1, 'containers': [{'image': IMAGE, **c} for c in containers], **spec}}
        self.server.kubectl('create', '--validate=false', '-f', '-', stdin=json.dumps(pod))

    def pod(self, name):
        return self.server.json('get', 'pod', name)

    def state(self, name, i=0):
        statuses = self.pod(name)['status'].get('containerStatuses') or [{}] * (i + 1)
        return statuses[i]

    def until(self, name, test, what, seconds=40):
        self.wait(lambda: test(self.pod(name)['status']), f'{name}: {what}', seconds)

    def remove(self):
        if self.process.poll() is None:
            self.server.kubectl('delete', 'pods', '--all', '--grace-period=1', check=False)
            self.stop()
        subprocess.run(['ip', 'link', 'delete', self.bridge], capture_output=True)
        for root, folders, _ in os.walk('/sys/fs/cgroup', topdown=False):
            if self.cgroup in root:
                try: os.rmdir(root)
                except OSError: pass
        self.server.stop()
        self.server.remove()


def the_node():
    global node
    if os.geteuid() != 0: raise Skip('needs root')
    for program in ('containerd', 'runc', 'ctr'):
        if not shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin'): raise Skip(f'{program} is not installed')
    if not any(pathlib.Path(d, 'bridge').exists() for d in ('/usr/lib/cni', '/opt/cni/bin')): raise Skip('the CNI plugins are not installed')
    if not node: node = Node()
    return node


def teardown():
    if node: node.remove()


def running(status): return status.get('phase') == 'Running' and all(c.get('ready') for c in status.get('containerStatuses', []))


def test_a_pod_runs_answers_and_goes():
    n = the_node()
    n.run('web', [{'name': 'c', 'command': ['hostname-server'], 'readinessProbe': {'httpGet': {'port': 8080}, 'periodSeconds': 1}}])
    n.until('web', running, 'to be Running and Ready')
    ip = n.pod('web')['status']['podIP']
    same(subprocess.run(['curl', '-s', '--max-time', '5', f'http://{ip}:8080/'], capture_output=True, text=True).stdout.strip(), 'web')
    n.server.kubectl('delete', 'pod', 'web')
    same(n.server.kubectl('get', 'pod', 'web', check=False).returncode, 1)


def test_environment_volumes_and_init_containers():
    n = the_node()
    n.server.kubectl('create', 'configmap', 'conf', '--from-literal=key=from-configmap')
    n.server.kubectl('create', 'secret', 'generic', 'sec', '--from-literal=pw=sesame')
    n.run('full', [{'name': 'c', 'command': ['sh', '-c', 'cat /shared/i /conf/key /sec/pw; echo; echo $A $B $NAME $CPU; sleep 1000'],
                    'env': [{'name': 'A', 'value': 'x'}, {'name': 'B', 'value': '$(A)-$(NO)'}, {'name': 'NAME', 'valueFrom': {'fieldRef': {'fieldPath': 'metadata.name'}}},
                            {'name': 'CPU', 'valueFrom': {'resourceFieldRef': {'resource': 'limits.cpu', 'divisor': '1m'}}}],
                    'resources': {'limits': {'cpu': '200m', 'memory': '64Mi'}},
                    'volumeMounts': [{'name': 'e', 'mountPath': '/shared'}, {'name': 'c', 'mountPath': '/conf'}, {'name': 's', 'mountPath': '/sec'}]}],
          initContainers=[{'name': 'i', 'image': IMAGE, 'command': ['sh', '-c', 'echo made >/shared/i'], 'volumeMounts': [{'name': 'e', 'mountPath': '/shared'}]}],
          volumes=[{'name': 'e', 'emptyDir': {}}, {'name': 'c', 'configMap': {'name': 'conf'}}, {'name': 's', 'secret': {'secretName': 'sec'}}])
    n.until('full', running, 'to run')
    log = pathlib.Path(n.dir, 'logs', f"default_full_{n.pod('full')['metadata']['uid']}", 'c', '0.log')
    n.wait(lambda: 'x-$(NO)' in log.read_text(), 'its output')
    for part in ('made', 'from-configmapsesame', 'x x-$(NO) full 200'): contains(log.read_text(), part)
    same(n.pod('full')['status']['qosClass'], 'Burstable')  # the init container has no limits
    same({c['type']: c['status'] for c in n.pod('full')['status']['conditions']},
         {t: 'True' for t in ('PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled')})


def test_a_crash_loop_backs_off_and_says_why():
    n = the_node()
    n.run('crash', [{'name': 'c', 'command': ['sh', '-c', 'echo why >/dev/termination-log; exit 3']}])
    n.until('crash', lambda s: (s.get('containerStatuses') or [{}])[0].get('state', {}).get('waiting', {}).get('reason') == 'CrashLoopBackOff', 'CrashLoopBackOff')
    st = n.state('crash')
    contains(st['state']['waiting']['message'], 'back-off 10s restarting failed container=c pod=crash_default(')
    same((st['lastState']['terminated']['exitCode'], st['lastState']['terminated']['reason'], st['lastState']['terminated']['message']), (3, 'Error', 'why\n'))
    assert st['restartCount'] >= 1


def test_a_bad_image_and_a_missing_configmap_wait_with_their_reasons():
    n = the_node()
    n.run('badimage', [{'name': 'c', 'image': '127.0.0.1:1/none:1'}])
    n.run('never', [{'name': 'c', 'image': 'registry.ckube.local/none:1', 'imagePullPolicy': 'Never'}])
    n.run('badconf', [{'name': 'c', 'command': ['sleep', '9'], 'env': [{'name': 'X', 'valueFrom': {'configMapKeyRef': {'name': 'nope', 'key': 'k'}}}]}])
    reason = lambda s: (s.get('containerStatuses') or [{}])[0].get('state', {}).get('waiting', {}).get('reason')
    n.until('badimage', lambda s: reason(s) == 'ImagePullBackOff', 'ImagePullBackOff')
    n.until('never', lambda s: reason(s) == 'ErrImageNeverPull', 'ErrImageNeverPull')
    n.until('badconf', lambda s: reason(s) == 'CreateContainerConfigError', 'CreateContainerConfigError')
    same(n.state('badconf')['state']['waiting']['message'], 'configmap "nope" not found')
    n.server.kubectl('create', 'configmap', 'nope', '--from-literal=k=v')
    n.until('badconf', running, 'to run once the ConfigMap is there', 60)


def test_a_failing_liveness_probe_restarts_the_container():
    n = the_node()
    n.run('sick', [{'name': 'c', 'command': ['sleep', '1000'], 'livenessProbe': {'tcpSocket': {'port': 9}, 'periodSeconds': 1, 'failureThreshold': 1}}])
    n.until('sick', lambda s: (s.get('containerStatuses') or [{}])[0].get('restartCount', 0) >= 1, 'a restart')
    messages = ' '.join(e['message'] for e in n.server.json('get', 'events', '--field-selector', 'involvedObject.name=sick')['items'])
    contains(messages, 'Liveness probe failed: dial tcp')
    contains(messages, 'Container c failed liveness probe, will be restarted')


def test_a_pod_that_is_too_large_is_refused():
    n = the_node()
    n.run('big', [{'name': 'c', 'resources': {'requests': {'cpu': '1000'}}}])
    n.until('big', lambda s: s.get('phase') == 'Failed', 'to be refused')
    same(n.pod('big')['status']['reason'], 'OutOfcpu')


def test_memory_beyond_the_limit_is_an_oom_kill():
    n = the_node()
    n.run('oom', [{'name': 'c', 'command': ['sh', '-c', 'x=a; while true; do x=$x$x; done'], 'resources': {'limits': {'memory': '16Mi'}}}], restartPolicy='Never')
    n.until('oom', lambda s: s.get('phase') == 'Failed', 'to fail')
    same(n.state('oom')['state']['terminated']['reason'], 'OOMKilled')


def test_pods_are_adopted_after_the_kubelet_was_killed():
    n = the_node()
    n.run('stays', [{'name': 'c', 'command': ['sleep', '1000']}])
    n.until('stays', running, 'to run')
    before = n.state('stays')['containerID']
    n.stop(signal.SIGKILL)
    n.start()
    n.wait(lambda: n.condition() == 'True', 'the node to be Ready again')
    time.sleep(3)
    st = n.state('stays')
    same((st['containerID'], st['restartCount']), (before, 0))


def test_a_static_pod_has_a_mirror_and_goes_with_its_manifest():
    n = the_node()
    os.makedirs(f'{n.dir}/manifests', exist_ok=True)
    manifest = pathlib.Path(n.dir, 'manifests', 'static.yaml')
    manifest.write_text(f'apiVersion: v1\nkind: Pod\nmetadata: {{name: fixed}}\nspec: {{terminationGracePeriodSeconds: 1, containers: [{{name: c, image: "{IMAGE}", command: [sleep, "1000"]}}]}}\n')
    n.wait(lambda: n.server.kubectl('get', 'pod', 'fixed-node-1', check=False).returncode == 0, 'the mirror')
    n.until('fixed-node-1', running, 'to run')
    assert 'kubernetes.io/config.mirror' in n.pod('fixed-node-1')['metadata']['annotations']
    manifest.unlink()
    n.wait(lambda: n.server.kubectl('get', 'pod', 'fixed-node-1', check=False).returncode == 1, 'the mirror to go')


def test_the_node_says_that_its_runtime_is_down_and_recovers():
    n = the_node()
    def kill_runtime():
        # Ours by its configuration's path. It is started again a second later, then two, so that the node is seen without it.
        for pid in subprocess.run(['pgrep', '-f', f'containerd --config {n.dir}/'], capture_output=True, text=True).stdout.split(): os.kill(int(pid), signal.SIGKILL)
        return n.condition() == 'False'
    n.wait(kill_runtime, 'the node to be NotReady')
    n.wait(lambda: n.condition() == 'True', 'the node to be Ready again')


def test_callers_are_asked_who_they_are_and_whether_they_may():
    n = the_node()
    d, tls = n.dir, f'{n.dir}/tls'
    make_ca(d, 'strangers')
    for name, ca, where, subject in ('stranger', 'strangers', d, '/O=system:masters/CN=admin'), ('other-node', 'client-ca', tls, '/O=system:nodes/CN=system:node:other'), \
            ('admin', 'client-ca', tls, '/O=system:masters/CN=admin'), ('expired', 'client-ca', tls, '/O=system:masters/CN=admin'):
        make_cert(d, name, ca, subject, where, days='0' if name == 'expired' else '2')
    make_cert(d, 'server', 'client-ca', '/O=system:masters/CN=admin', tls, usage='serverAuth')
    rules = {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': 'ClusterRole', 'metadata': {'name': 'node-metrics'},
             'rules': [{'apiGroups': [''], 'resources': ['nodes/metrics', 'nodes/pods'], 'verbs': ['get']}]}
    n.server.kubectl('create', '-f', '-', stdin=json.dumps(rules))
    for account in 'nobody', 'watcher': n.server.kubectl('create', 'serviceaccount', account)
    n.server.kubectl('create', 'clusterrolebinding', 'node-metrics', '--clusterrole=node-metrics', '--serviceaccount=default:watcher')
    token = {account: n.server.kubectl('create', 'token', account).stdout.strip() for account in ('nobody', 'watcher')}

    def ask(path, *args, method='GET'):
        r = subprocess.run(['curl', '-sk', '-X', method, '--max-time', '20', '-w', '\n%{http_code}', *args, f'https://127.0.0.1:{n.port}{path}'], capture_output=True, text=True)
        body, code = r.stdout.rsplit('\n', 1)
        return int(code), body

    def cert(name): return '--cert', f'{d}/{name}.crt', '--key', f'{d}/{name}.key'

    def bearer(t): return '-H', f'Authorization: Bearer {t}'
    for args in (), cert('stranger'), cert('expired'), cert('server'), bearer('nonsense'), bearer(token['watcher'][:-4] + 'AAAA'):
        for path in '/pods', '/healthz', '/exec/default/a/b', '/nothing': same(ask(path, *args), (401, 'Unauthorized'), f'{args} {path}')
    same(ask('/pods', *bearer(token['nobody'])), (403, 'Forbidden (user=system:serviceaccount:default:nobody, verb=get, resource=nodes, subresource(s)=[pods proxy])\n'))
    same(ask('/exec/default/a/b?command=id&output=1', *cert('other-node'), method='POST'), (403, 'Forbidden (user=system:node:other, verb=create, resource=nodes, subresource(s)=[proxy])\n'))
    same(ask('/metrics', *bearer(token['watcher']))[0], 200)
    same(ask('/pods', *bearer(token['watcher']))[0], 200)
    same(ask('/stats/summary', *bearer(token['watcher'])), (403, 'Forbidden (user=system:serviceaccount:default:watcher, verb=get, resource=nodes, subresource(s)=[stats])\n'))
    same(ask('/runningpods/', *cert('admin'))[0], 200)
    same(ask('/nothing', *cert('admin'))[0], 404)
    # A certificate that is no good does not spoil a token that is; upstream's authenticators are tried one after the other.
    same(ask('/metrics', *cert('stranger'), *bearer(token['watcher']))[0], 200)
