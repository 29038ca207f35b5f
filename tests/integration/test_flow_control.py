"""Priority and fairness over the wire: a client that floods with 64 connections, and what others notice of it."""
import http.client, json, os, ssl, statistics, tempfile, threading, time
from harness import Server, contains, same

TOKENS = 'flood,flooder,1,"crowd"\nquiet,quiet,2,"crowd"\nnode,system:node:n1,3,"system:nodes"\nadmin,root,4,"system:masters"\n'
CONFIG_MAPS = '/api/v1/namespaces/default/configmaps'
FLOW = 'flowcontrol.apiserver.k8s.io'


def server(*flags):
    def prepare(s):
        with open(f'{s.dir}.tokens', 'w') as f: f.write(TOKENS)
    s = Server(prepare=lambda s: (prepare(s), s.flags.extend(['--token-auth-file', f'{s.dir}.tokens'])), flags=flags)
    os.unlink(f'{s.dir}.tokens')
    s.kubectl('create', 'clusterrolebinding', 'crowd', '--clusterrole=cluster-admin', '--group=crowd')
    return s


class Caller:
    """One connection of one user."""

    def __init__(self, s, token):
        self.conn = http.client.HTTPSConnection('127.0.0.1', s.port, context=ssl._create_unverified_context(), timeout=60)
        self.token = token

    def __call__(self, method, path, body=None):
        self.conn.request(method, path, body=body and json.dumps(body), headers={'Authorization': f'Bearer {self.token}', 'Content-Type': 'application/json'})
        r = self.conn.getresponse()
        return r.status, r.headers, r.read()


class Flood:
    """64 connections of one user that write without a pause. Counts the codes that it is answered with."""

    def __init__(self, s, connections=64):
        self.stop, self.codes, self.retry_after, self.lock = False, {}, set(), threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(s, i)) for i in range(connections)]
        for t in self.threads: t.start()

    def run(self, s, i):
        call, n = Caller(s, 'flood'), 0
        while not self.stop:
            n += 1
            code, headers, _ = call('POST', CONFIG_MAPS, {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'generateName': f'flood-{i}-'}, 'data': {'x': 'y' * 500}})
            with self.lock:
                self.codes[code] = self.codes.get(code, 0) + 1
                if code == 429: self.retry_after.add(headers['Retry-After'])
            if code == 429: time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stop = True
        for t in self.threads: t.join()


def sample(s, token, count, write=False):
    """(codes, p50, p99 in ms) of so many requests, one after the other."""
    call, codes, times = Caller(s, token), {}, []
    for n in range(count):
        start = time.time()
        if token == 'node': code = call('GET', '/api/v1/nodes/n1')[0]
        elif write: code = call('POST', CONFIG_MAPS, {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'generateName': 'quiet-'}})[0]
        else: code = call('GET', '/api/v1/namespaces/default')[0]
        times.append((time.time() - start) * 1000)
        codes[code] = codes.get(code, 0) + 1
    times.sort()
    return codes, statistics.median(times), times[int(len(times) * 0.99)]


def describe(what, result):
    print(f'        {what}: {result[0]}, median {result[1]:.1f} ms, p99 {result[2]:.1f} ms')


def metric(s, name, **labels):
    wanted = ','.join(f'{k}="{v}"' for k, v in sorted(labels.items()))
    for line in s.kubectl('get', '--raw', '/metrics').stdout.splitlines():
        if line.startswith(f'{name}{{') and wanted in line: return float(line.rsplit(' ', 1)[1])
    return 0.0


def test_a_flood_starves_nobody():
    """Twelve seats for all; a flood of writes fills its level's. Another user of the same level, and a node of another level, are served all the same."""
    s = server('--max-requests-inflight=8', '--max-mutating-requests-inflight=4')
    s.kubectl('create', '-f', '-', stdin='{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}')
    alone = sample(s, 'quiet', 100, write=True)
    with Flood(s) as flood:
        time.sleep(0.3)
        quiet, node = sample(s, 'quiet', 100, write=True), sample(s, 'node', 200)
        dump = s.kubectl('get', '--raw', '/debug/api_priority_and_fairness/dump_priority_levels').stdout
        requests = s.kubectl('get', '--raw', '/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1').stdout
    describe('alone', alone)
    describe('another user while 64 connections flood', quiet)
    describe('a node meanwhile', node)
    print(f'        the flood: {flood.codes}')
    same(set(quiet[0]), {201}, 'a quiet user')
    same(set(node[0]), {200}, 'a node')
    assert flood.codes[201] > 100, flood.codes
    waited = metric(s, 'apiserver_flowcontrol_request_wait_duration_seconds_sum', flow_schema='global-default')
    print(f'        waited in queues: {waited:.1f} s')
    assert waited > 1, 'the flood has waited for seats'
    waiting = [row for row in dump.splitlines() if row.startswith('global-default')][0].replace(',', '').split()
    assert int(waiting[4]) > 0, dump
    contains(requests, 'flooder')
    # A quiet flow waits for about one request that runs, the flood for all of its own.
    assert quiet[2] < 2000, quiet
    same(metric(s, 'apiserver_flowcontrol_current_inqueue_requests', flow_schema='global-default'), 0.0, 'nobody waits any more')


def test_without_fairness_a_flood_has_others_refused():
    """The same seats as plain limits: what the flood leaves is a matter of luck. Masters always get an answer, reading is not writing's business."""
    s = server('--max-requests-inflight=8', '--max-mutating-requests-inflight=4', '--enable-priority-and-fairness=false')
    with Flood(s) as flood:
        time.sleep(0.3)
        quiet, reading, admin = sample(s, 'quiet', 100, write=True), sample(s, 'quiet', 100), sample(s, 'admin', 50, write=True)
    describe('another user, without fairness', quiet)
    same(set(reading[0]), {200}, 'reading')
    same(set(admin[0]), {201}, 'masters')
    assert flood.codes.get(429), flood.codes
    same(flood.retry_after, {'1'}, 'Retry-After')
    print(f'        refused: {quiet[0].get(429, 0)} of 100 writes of another user')


def test_who_is_refused_learns_when_to_come_again():
    s = server()
    level = {'apiVersion': f'{FLOW}/v1', 'kind': 'PriorityLevelConfiguration', 'metadata': {'name': 'tight'},
             'spec': {'type': 'Limited', 'limited': {'nominalConcurrencyShares': 0, 'limitResponse': {'type': 'Reject'}, 'borrowingLimitPercent': 0}}}
    schema = {'apiVersion': f'{FLOW}/v1', 'kind': 'FlowSchema', 'metadata': {'name': 'flood'},
              'spec': {'priorityLevelConfiguration': {'name': 'tight'}, 'matchingPrecedence': 50, 'rules': [{'subjects': [{'kind': 'User', 'user': {'name': 'flooder'}}],
                       'resourceRules': [{'verbs': ['*'], 'apiGroups': ['*'], 'resources': ['*'], 'clusterScope': True, 'namespaces': ['*']}]}]}}
    s.kubectl('create', '-f', '-', stdin=json.dumps(schema))
    dangling = lambda: s.json('get', 'flowschema', 'flood')['status']['conditions'][0]
    wait(lambda: dangling()['status'] == 'True')
    same((dangling()['reason'], dangling()['message']), ('NotFound', 'This FlowSchema references the PriorityLevelConfiguration object named "tight" but there is no such object'), 'condition')
    call = Caller(s, 'flood')
    same(call('GET', CONFIG_MAPS)[0], 200, 'a schema that leads nowhere is not used')
    s.kubectl('create', '-f', '-', stdin=json.dumps(level))
    wait(lambda: dangling()['status'] == 'False')
    schema_uid, level_uid = (s.json('get', kind, name)['metadata']['uid'] for kind, name in (('flowschema', 'flood'), ('prioritylevelconfiguration', 'tight')))
    s.kubectl('patch', 'prioritylevelconfiguration', 'tight', '--type=merge', '-p', '{"spec":{"limited":{"nominalConcurrencyShares":1}}}')
    # One seat or so, and 32 connections that want it: some are refused.
    with Flood(s, 32) as flood:
        wait(lambda: flood.codes.get(429, 0) > 20 and flood.codes.get(201, 0) > 20)
    assert all(1 <= int(x) <= 32 for x in flood.retry_after), flood.retry_after
    code, headers, _ = call('GET', CONFIG_MAPS + '?limit=1')
    same((code, headers['X-Kubernetes-PF-FlowSchema-UID'], headers['X-Kubernetes-PF-PriorityLevel-UID']), (200, schema_uid, level_uid), 'headers')
    assert metric(s, 'apiserver_flowcontrol_rejected_requests_total', flow_schema='flood', priority_level='tight', reason='concurrency-limit') > 20
    assert metric(s, 'apiserver_flowcontrol_dispatched_requests_total', flow_schema='flood') > 20


def wait(condition, timeout=30):
    deadline = time.time() + timeout
    while not condition():
        assert time.time() < deadline, 'not within time'
        time.sleep(0.05)


def test_defaults_are_kept():
    """What is mandatory comes back at the next start; what an administrator has taken over stays."""
    s = Server()
    s.kubectl('delete', 'flowschema', 'probes', 'catch-all')
    s.kubectl('annotate', '--overwrite', 'flowschema', 'global-default', 'apf.kubernetes.io/autoupdate-spec=false')
    s.kubectl('patch', 'flowschema', 'global-default', '--type=merge', '-p', '{"spec":{"matchingPrecedence":9000}}')
    s.kubectl('patch', 'flowschema', 'service-accounts', '--type=merge', '-p', '{"spec":{"matchingPrecedence":8000}}')
    same(s.kubectl('get', '--raw', '/healthz').stdout, 'ok', 'without the objects')
    s.stop()
    s.start()
    wait(lambda: s.json('get', 'flowschema', 'service-accounts')['spec']['matchingPrecedence'] == 9000)
    same(s.json('get', 'flowschema', 'global-default')['spec']['matchingPrecedence'], 9000, 'taken over')
    same(s.json('get', 'flowschema', 'catch-all')['metadata']['annotations']['apf.kubernetes.io/autoupdate-spec'], 'true', 'mandatory')
    s.json('get', 'flowschema', 'probes')


def test_watches_hold_seats_only_while_they_begin():
    s = server('--max-requests-inflight=3', '--max-mutating-requests-inflight=1')
    watches = []
    for _ in range(20):
        c = http.client.HTTPSConnection('127.0.0.1', s.port, context=ssl._create_unverified_context(), timeout=30)
        c.request('GET', CONFIG_MAPS + '?watch=1', headers={'Authorization': 'Bearer quiet'})
        watches.append((c, c.getresponse()))
    same([r.status for _, r in watches], [200] * 20, 'watches')
    same(sample(s, 'quiet', 20)[0], {200: 20}, 'beside 20 watches')
    # Their writes count as more work while the watches are there.
    sample(s, 'quiet', 3, write=True)
    assert metric(s, 'apiserver_flowcontrol_watch_count_samples_sum', flow_schema='global-default') >= 60
    for c, r in watches:
        r.close()
        c.close()
