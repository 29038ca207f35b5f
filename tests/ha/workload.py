"""What keeps the schedulers and controller-managers busy: a Deployment whose size changes all the time on Nodes that only pretend to be there. And who acted, from what was seen."""
import collections, datetime, functools, random, threading, time
import acting
from client import OK, REFUSED, UNKNOWN
from load import Watcher

NAMESPACE, NODES = 'work', 3
DEPLOYMENTS = f'/apis/apps/v1/namespaces/{NAMESPACE}/deployments'
LEASES = '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases'


def node(n):
    now = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
    size = {'cpu': '64', 'memory': '256Gi', 'pods': '500'}
    return {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': f'n{n}'},
            'status': {'capacity': size, 'allocatable': size, 'conditions': [{'type': 'Ready', 'status': 'True', 'reason': 'KubeletReady', 'message': 'pretended', 'lastHeartbeatTime': now, 'lastTransitionTime': now}]}}


def deployment():
    return {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'churn', 'namespace': NAMESPACE},
            'spec': {'replicas': 3, 'selector': {'matchLabels': {'app': 'churn'}}, 'template': {'metadata': {'labels': {'app': 'churn'}}, 'spec': {'containers': [{'name': 'c', 'image': 'none'}]}}}}


class Workload(threading.Thread):
    """Plays the administrator who scales, and the kubelets: heartbeats, and the end of Pods that are to go."""

    def __init__(self, shared):
        super().__init__(daemon=True, name='workload')
        self.shared, self.random, self.at, self.renewed = shared, random.Random(f'{shared.seed}-workload'), 0, 0.0
        self.seen, self.bound, self.holds = {}, collections.defaultdict(dict), {role: [] for role in acting.LEASES}
        self.unknown = []                                    # (after, until): revisions at which the holders are not known
        self.of_leases = Watcher(shared, 'watch-leases', None, LEASES, self.take_lease)
        self.watchers = [self.of_leases, Watcher(shared, 'watch-pods', None, f'/api/v1/namespaces/{NAMESPACE}/pods', self.take_pod)]

    @functools.cached_property
    def client(self): return self.shared.client(self.shared.cluster.servers[0], 5)

    def take_lease(self, kind, what, revision, now, server):
        if kind == 'GAP': self.unknown.append((max([h.revision for hs in self.holds.values() for h in hs], default=0), revision))
        for l in what if kind == 'GAP' else [what]:
            role = next((r for r, name in acting.LEASES.items() if name == l['metadata']['name']), None)
            at = int(l['metadata']['resourceVersion'])
            if not role or self.holds[role] and self.holds[role][-1].revision >= at: continue
            self.holds[role].append(acting.Hold(at, acting.machine_of(l['spec'].get('holderIdentity') or '') if kind != 'DELETED' else '', now))

    def take_pod(self, kind, what, revision, now, server):
        """A Pod that a gap shows bound was bound in it, at a revision that nobody knows (0): what changes it next is not its binding."""
        if kind != 'GAP': self.seen.setdefault(revision, time.time())
        for pod in what if kind == 'GAP' else [what]:
            if not pod['spec'].get('nodeName'): continue
            self.bound[pod['metadata']['namespace'], pod['metadata']['name']].setdefault(pod['spec']['nodeName'], 0 if kind == 'GAP' else revision)

    def call(self, *request):
        outcome, document, said = self.client.call(*request)
        if outcome in (UNKNOWN, REFUSED):
            self.client.close()
            self.at = (self.at + 1) % len(self.shared.cluster.servers)
            self.client = self.shared.client(self.shared.cluster.servers[self.at], 5)
        return outcome, document, said

    def must(self, *request):
        deadline = time.monotonic() + 30
        while True:
            outcome, document, said = self.call(*request)
            if outcome in (OK, 'exists'): return
            if time.monotonic() > deadline: raise RuntimeError(f'{request[:2]}: {said}')
            time.sleep(0.2)

    def prepare(self):
        """Namespaces and objects; what must be there before any fault."""
        for name in 'load', NAMESPACE: self.must('POST', '/api/v1/namespaces', {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': name}})
        for n in range(NODES): self.must('POST', '/api/v1/nodes', node(n))
        self.must('POST', DEPLOYMENTS, deployment())
        for w in self.watchers:
            w.start()
            if not w.begun.wait(30): raise RuntimeError(f'{w.name} cannot list')

    def run(self):
        while not self.shared.stopping.wait(1.0):
            if time.monotonic() - self.renewed > 5 and all(self.call('PATCH', f'/api/v1/nodes/n{n}/status', {'status': {'conditions': node(n)['status']['conditions']}}, 'application/strategic-merge-patch+json')[0] == OK
                                                           for n in range(NODES)): self.renewed = time.monotonic()
            self.call('PATCH', f'{DEPLOYMENTS}/churn', {'spec': {'replicas': self.random.randrange(2, 8)}}, 'application/merge-patch+json')
            outcome, pods, _ = self.call('GET', f'/api/v1/namespaces/{NAMESPACE}/pods')
            for p in pods.get('items', []) if outcome == OK else []:
                if p['metadata'].get('deletionTimestamp'): self.call('DELETE', f'/api/v1/namespaces/{NAMESPACE}/pods/{p["metadata"]["name"]}', {'kind': 'DeleteOptions', 'apiVersion': 'v1', 'gracePeriodSeconds': 0})

    def acts(self):
        """Everything that components wrote, without echoes, up to the last revision at which it is known who held the Leases."""
        cluster, acts = self.shared.cluster, []
        for s in cluster.servers:
            for path in cluster.audit_logs(s):
                with open(path, errors='replace') as f: acts += acting.acts_of_log(f, s.name, {o.address: o.name for o in cluster.servers}, self.bound)
        return [a for a in acting.without_echoes(acts, self.seen) if a.revision <= self.of_leases.revision and not any(after < a.revision <= until for after, until in self.unknown)]
