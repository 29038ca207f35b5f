"""The scheduler over the API, with kubectl: where Pods go, what is said of those that fit nowhere, preemption, profiles from a file."""
import json, pathlib, signal, subprocess, tempfile, time
from harness import TOP, Server, contains, same

CONFIG = '''
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  plugins: {score: {disabled: [{name: NodeResourcesBalancedAllocation}]}}
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 100}]}}
'''


class Scheduler:
    def __init__(self, server, config=CONFIG):
        self.file = tempfile.NamedTemporaryFile('w', suffix='.yaml')
        self.file.write(config)
        self.file.flush()
        self.process = subprocess.Popen([str(TOP / server.binary), 'kube-scheduler', '--kubeconfig', server.kubeconfig, '--secure-port=0', '--config', self.file.name],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        err = self.process.communicate(timeout=30)[1]
        assert self.process.returncode == 0, err


def node(s, name, zone):
    body = {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': name, 'labels': {'topology.kubernetes.io/zone': zone, 'kubernetes.io/hostname': name}},
            'status': {'allocatable': {'cpu': '2', 'memory': '4Gi', 'pods': '10'}, 'conditions': [{'type': 'Ready', 'status': 'True'}]}}
    s.kubectl('create', '-f', '-', stdin=json.dumps(body))
    s.kubectl('taint', 'node', name, 'node.kubernetes.io/not-ready-', check=False)
    s.kubectl('patch', 'node', name, '--subresource=status', '-p', json.dumps({'status': body['status']}))


def pod(s, name, cpu, **spec):
    labels = spec.pop('labels', {})
    body = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'labels': labels}, 'spec': {'terminationGracePeriodSeconds': 0, **spec,
            'containers': [{'name': 'c', 'image': 'x', 'resources': {'requests': {'cpu': cpu}}}]}}
    s.kubectl('create', '-f', '-', stdin=json.dumps(body))


def until(what, check, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        got = check()
        if got: return got
        time.sleep(0.1)
    raise AssertionError(f'{what}: not within {seconds} s')


def node_of(s, name): return s.json('get', 'pod', name)['spec'].get('nodeName')
def events(s, name, reason): return [e for e in s.json('get', 'events')['items'] if e['involvedObject']['name'] == name and e['reason'] == reason]


def condition(s, name):
    for c in s.json('get', 'pod', name)['status'].get('conditions', []):
        if c['type'] == 'PodScheduled' and c['status'] == 'False': return c


def test_pods_find_their_nodes_and_make_room():
    s = Server()
    scheduler = None
    try:
        s.kubectl('create', 'serviceaccount', 'default')
        s.kubectl('create', 'priorityclass', 'high', '--value=1000')
        for name, zone in (('n1', 'a'), ('n2', 'b')): node(s, name, zone)
        scheduler = Scheduler(s)
        pod(s, 'low1', '1500m')
        pod(s, 'low2', '1500m')
        until('both are bound, to different nodes', lambda: {node_of(s, 'low1'), node_of(s, 'low2')} == {'n1', 'n2'})
        pod(s, 'big', '3')
        text = ('0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available: '
                '2 Preemption is not helpful for scheduling.')
        c = until('big is told why', lambda: condition(s, 'big'))
        same((c['reason'], c['message']), ('Unschedulable', text))
        e = until('an Event says so', lambda: events(s, 'big', 'FailedScheduling'))[0]
        same((e['type'], e['action'], e['message'], e['reportingComponent']), ('Warning', 'Scheduling', text, 'default-scheduler'))
        pod(s, 'vip', '1', priorityClassName='high')
        at = until('vip is bound', lambda: node_of(s, 'vip'))
        victim = {node_of(s, n): n for n in ('low1', 'low2') if s.kubectl('get', 'pod', n, check=False).returncode == 0}
        assert at not in victim, victim
        gone = 'low1' if 'low1' not in victim.values() else 'low2'
        e = until('the victim has its Event', lambda: events(s, gone, 'Preempted'))[0]
        same((e['action'], e['message'], e['related']['name']), ('Preempting', f'Preempted by pod {s.json("get", "pod", "vip")["metadata"]["uid"]} on node {at}', 'vip'))
        same(events(s, 'vip', 'Scheduled')[0]['message'], f'Successfully assigned default/vip to {at}')
        pod(s, 'packed', '100m', schedulerName='packer')
        same(until('packed is bound', lambda: node_of(s, 'packed')), victim and [n for n in victim][0], 'the fuller node')
        s.kubectl('delete', 'pod', 'vip')
        spread = {'topologySpreadConstraints': [{'maxSkew': 1, 'topologyKey': 'topology.kubernetes.io/zone', 'whenUnsatisfiable': 'DoNotSchedule',
                                                 'labelSelector': {'matchLabels': {'app': 'web'}}}]}
        for i in range(2): pod(s, f'web{i}', '10m', labels={'app': 'web'}, **spread)
        until('web is in both zones', lambda: {node_of(s, 'web0'), node_of(s, 'web1')} == {'n1', 'n2'})
    finally:
        if scheduler: scheduler.stop()
        s.remove()


def test_a_bad_configuration_is_refused_with_its_reason():
    s = Server()
    try:
        for config, says in (('kind: x\n', "Object 'apiVersion' is missing in '{\"kind\":\"x\"}'"),
                             (CONFIG + 'parallelism: -1\n', 'parallelism: Invalid value: -1: should be an integer value greater than zero')):
            sch = Scheduler(s, config)
            err = sch.process.communicate(timeout=20)[1]
            same(sch.process.returncode, 1, err)
            contains(err, says)
    finally: s.remove()
