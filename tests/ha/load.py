"""The clients: threads that read and write a few ConfigMaps through different apiservers, and watchers that follow them. All of it goes into a History."""
import collections, functools, json, random, threading, time
from client import ABSENT, EXPIRED, OK, REFUSED, UNKNOWN, Client, tls_context
from cluster import PORT
from history import History, Op, Seen

NAMESPACE, OBJECTS = 'load', 6
PATH = f'/api/v1/namespaces/{NAMESPACE}/configmaps'
WEIGHTS = {'get': 24, 'stale': 14, 'atleast': 6, 'list': 3, 'update': 22, 'patch': 16, 'create': 9, 'delete': 6}
WRITES = 'create', 'update', 'patch', 'delete'
WATCH_IDLE_S = 4.0


def config_map(name, token, revision=0):
    metadata = {'name': name, 'namespace': NAMESPACE, **({'resourceVersion': str(revision)} if revision else {})}
    return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': metadata, 'data': {'v': token}}


def ours(document):
    """Whether it is one of the clients' objects: there is also what controllers put into every namespace."""
    return not document['metadata']['name'].startswith('kube-')


def facts(document):
    """(revision, token, uid) of a ConfigMap."""
    m = document.get('metadata', {})
    return int(m.get('resourceVersion') or 0), document.get('data', {}).get('v', ''), m.get('uid', '')


class Shared:
    """What all clients share. acknowledged: the moments at which a write was acknowledged, by server."""

    def __init__(self, cluster, seed, rate):
        self.cluster, self.seed, self.rate, self.stopping, self.ended = cluster, seed, rate, threading.Event(), threading.Event()  # for workers; for watchers
        self.history = History()
        self.acknowledged = {s.name: [] for s in cluster.servers}
        self.latest = {}                                     # name -> a revision that was acknowledged lately
        self.calls = collections.Counter()

    @functools.cached_property
    def context(self): return tls_context(self.cluster.credentials)  # a cluster may make them when it starts

    def client(self, server, timeout): return Client(self.context, server.address, PORT, timeout)


class Worker(threading.Thread):
    """Does one call after the other. home: the server it stays with; None: it goes on to the next one when a call fails."""

    def __init__(self, shared, number, home, timeout):
        super().__init__(daemon=True, name=f'c{number}')
        self.shared, self.home, self.timeout, self.random, self.count, self.known = shared, home, timeout, random.Random(f'{shared.seed}-{number}'), 0, {}
        self.at = home or self.random.choice(shared.cluster.servers)

    @functools.cached_property
    def client(self): return self.shared.client(self.at, self.timeout)

    def run(self):
        while not self.shared.stopping.is_set():
            kind = self.random.choices(list(WEIGHTS), WEIGHTS.values())[0]
            op = self.call(kind, f'o{self.random.randrange(OBJECTS)}')
            if op.outcome in (UNKNOWN, REFUSED): self.failed()
            self.shared.stopping.wait(self.random.expovariate(self.shared.rate))
        self.client.close()

    def failed(self):
        self.client.close()
        self.shared.stopping.wait(0.1)
        if self.home: return
        servers = self.shared.cluster.servers
        self.at = servers[(servers.index(self.at) + 1) % len(servers)]
        self.client = self.shared.client(self.at, self.timeout)

    def call(self, kind, name):
        self.count += 1
        op = Op(kind, name, self.name, self.at.name, 0.0)
        if kind in ('create', 'update', 'patch'): op.token = f'{self.name}-{self.count}'
        if kind == 'update' or kind == 'delete' and self.random.random() < 0.5: op.expect = self.known.get(name, 0)
        if kind == 'update' and not op.expect: op.kind = kind = 'get'
        if kind == 'atleast': op.expect = self.shared.latest.get(name, 1)
        request = self.request(op)
        self.shared.history.ops.append(op)                   # before it is sent: also what never returns is known
        op.start = time.monotonic()
        outcome, document, op.said = self.client.call(*request)
        op.end = time.monotonic()
        self.note(op, outcome, document)
        op.outcome = outcome
        self.shared.calls[f'{kind} {outcome}'] += 1
        return op

    def request(self, op):
        path = f'{PATH}/{op.name}'
        if op.kind == 'get': return 'GET', path
        if op.kind == 'stale': return 'GET', f'{path}?resourceVersion=0'
        if op.kind == 'atleast': return 'GET', f'{path}?resourceVersion={op.expect}'
        if op.kind == 'list': return 'GET', PATH
        if op.kind == 'create': return 'POST', PATH, config_map(op.name, op.token)
        if op.kind == 'update': return 'PUT', path, config_map(op.name, op.token, op.expect)
        if op.kind == 'patch': return 'PATCH', path, {'data': {'v': op.token}}, 'application/merge-patch+json'
        return 'DELETE', path, {'kind': 'DeleteOptions', 'apiVersion': 'v1', **({'preconditions': {'resourceVersion': str(op.expect)}} if op.expect else {})}

    def note(self, op, outcome, document):
        if outcome == OK and op.kind == 'list':
            op.revision = int(document['metadata']['resourceVersion'])
            op.items = tuple((i['metadata']['name'], *facts(i)) for i in document['items'] if ours(i))
        elif outcome == OK and op.kind == 'delete': op.uid = document.get('details', {}).get('uid', '')
        elif outcome == OK:
            op.revision, token, op.uid = facts(document)
            if op.kind not in WRITES: op.token = token
            elif token != op.token: op.said = f'the answer holds {token}'
            self.known[op.name] = op.revision
        elif outcome == ABSENT: self.known.pop(op.name, None)
        if outcome == OK and op.kind in WRITES:
            self.shared.acknowledged[op.server].append(op.end)
            if op.revision: self.shared.latest[op.name] = op.revision


class Watcher(threading.Thread):
    """Follows a collection from one revision on, over every break. home None: at another server each time, and every few seconds.
    take(event type or GAP, object or items, revision, time, server's name) is called in order."""

    def __init__(self, shared, name, home, path, take):
        super().__init__(daemon=True, name=name)
        self.shared, self.home, self.path, self.take, self.revision, self.random = shared, home, path, take, 0, random.Random(f'{shared.seed}-{name}')
        self.begun = threading.Event()

    def run(self):
        while not self.shared.ended.is_set():
            server = self.home or self.random.choice(self.shared.cluster.servers)
            try:
                if not self.revision: self.list(server)
                if self.revision: self.follow(server, time.monotonic() + (1e9 if self.home else self.random.uniform(2, 8)))
            except (KeyError, ValueError) as e: print(f'{self.name}: what cannot be: {type(e).__name__} {e}', flush=True)
            self.shared.ended.wait(0.2)

    def list(self, server):
        client = self.shared.client(server, 5)
        outcome, document, _ = client.call('GET', self.path)
        client.close()
        if outcome != OK: return
        self.revision = int(document['metadata']['resourceVersion'])
        self.take('GAP', document['items'], self.revision, time.monotonic(), server.name)
        self.begun.set()

    def follow(self, server, until):
        sep = '&' if '?' in self.path else '?'
        for line in self.shared.client(server, 5).stream(f'{self.path}{sep}watch=1&allowWatchBookmarks=true&resourceVersion={self.revision}', WATCH_IDLE_S):
            event = json.loads(line)
            if event['type'] == 'ERROR':
                if event['object'].get('code') == 410 or event['object'].get('reason') == EXPIRED: self.revision = 0
                return
            self.revision = int(event['object']['metadata']['resourceVersion'])
            if event['type'] != 'BOOKMARK': self.take(event['type'], event['object'], self.revision, time.monotonic(), server.name)
            if time.monotonic() > until or self.shared.ended.is_set(): return


def into_history(history, name):
    """A watcher's `take` that records the ConfigMaps."""
    events = history.watches.setdefault(name, [])

    def take(kind, what, revision, now, server):
        if kind == 'GAP':
            history.ops.append(Op('list', '', name, server, now, now, OK, revision=revision, items=tuple((i['metadata']['name'], *facts(i)) for i in what if ours(i))))
            events.append(Seen('GAP', '', revision, '', '', now, server))
        elif ours(what): events.append(Seen(kind, what['metadata']['name'], revision, facts(what)[1], what['metadata']['uid'], now, server))
    return take


class Load:
    """Two workers on each server and two that roam; a watcher on each server and one that roams."""

    def __init__(self, shared):
        servers = shared.cluster.servers
        homes = [s for s in servers for _ in range(2)] + [None, None]
        self.shared = shared
        self.workers = [Worker(shared, n, home, 12 if home else 2) for n, home in enumerate(homes)]
        self.watchers = [Watcher(shared, f'watch-{home.name if home else "roaming"}', home, PATH, into_history(shared.history, f'watch-{home.name if home else "roaming"}')) for home in [*servers, None]]

    def start(self):
        for w in self.watchers: w.start()
        for w in self.watchers:
            if not w.begun.wait(30): raise RuntimeError(f'{w.name} cannot list')
        for w in self.workers: w.start()

    def wait_acknowledged(self, since, servers, deadline, idle):
        """Until each of these servers has acknowledged a write that is younger than `since`; None, or who has not."""
        while True:
            late = [s.name for s in servers if not self.shared.acknowledged[s.name] or self.shared.acknowledged[s.name][-1] <= since]
            if not late: return None
            if time.monotonic() > deadline: return ', '.join(late)
            idle()
            time.sleep(0.05)

    def finish(self, idle, others=()):
        """Ends the workers, writes a last object, waits until each watcher (and the others) has seen it or what came later, and reads every object once more from each server.
        Returns who has not seen it."""
        h, shared = self.shared.history, self.shared
        shared.stopping.set()
        while any(w.is_alive() for w in self.workers):
            idle()
            time.sleep(0.05)
        final, deadline = Worker(shared, 1000, None, 5), time.monotonic() + 60
        while not h.final_revision and time.monotonic() < deadline:
            for kind in 'create', 'patch':
                op = final.call(kind, 'final')
                if op.outcome == OK: h.final_revision = op.revision
                elif op.outcome in (UNKNOWN, REFUSED): final.failed()
            idle()
        while time.monotonic() < deadline and not all(w.revision >= h.final_revision for w in [*self.watchers, *others]):
            idle()
            time.sleep(0.05)
        h.complete = {w.name for w in self.watchers if w.revision >= h.final_revision > 0}
        for s in shared.cluster.servers:
            reader = Worker(shared, f'-final-{s.name}', s, 10)
            for n in range(OBJECTS): reader.call('get', f'o{n}')
        shared.ended.set()
        return [w.name for w in [*self.watchers, *others] if w.revision < max(h.final_revision, 1)]
