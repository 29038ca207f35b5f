"""Audit events on their way: to a webhook in batches, at once or strictly; the log's formats; and the ends of what runs long."""
import atexit, gzip, json, os, shutil, subprocess, tempfile, threading, time
from fixtures import fetch
from harness import Server, contains, same
from test_access import Webhook

POLICY = {'apiVersion': 'audit.k8s.io/v1', 'kind': 'Policy', 'omitStages': ['RequestReceived'],
          'rules': [{'level': 'RequestResponse', 'verbs': ['create'], 'resources': [{'group': '', 'resources': ['configmaps']}]}, {'level': 'Metadata', 'resources': [{'group': '', 'resources': ['configmaps', 'pods/exec']}]}, {'level': 'None'}]}


class Hook(Webhook):
    """A webhook that takes audit events. self.down: the code that it answers with instead; self.hang: an Event that it waits for first."""

    def __init__(self):
        self.events, self.batches, self.down, self.hang = [], [], None, None
        super().__init__(self.take_events)

    def take_events(self, doc):
        if self.hang: self.hang.wait(60)
        if self.down: return self.down, {}
        self.batches.append(doc)
        self.events += doc['items']
        return 200, {}


def policy(d, **more):
    with open(f'{d}/policy.json', 'w') as f: json.dump({**POLICY, **more}, f)
    return f'{d}/policy.json'


def until(what, fn, seconds=60):
    deadline = time.time() + seconds
    while True:
        got = fn()
        if got: return got
        if time.time() > deadline: raise AssertionError(what)
        time.sleep(0.05)


def metric(s, start):
    return next((float(l.split()[-1]) for l in s.kubectl('get', '--raw', '/metrics').stdout.splitlines() if l.startswith(start)), 0)


def test_a_webhook_gets_batches_and_what_runs_long_has_an_end():
    hook = Hook()
    s = Server(flags=['--audit-policy-file', policy(hook.dir), '--audit-webhook-config-file', hook.kubeconfig, '--audit-webhook-batch-max-wait', '200ms', '--audit-webhook-batch-throttle-qps', '100',
                      '--audit-webhook-initial-backoff', '100ms', '--audit-webhook-truncate-enabled', '--audit-webhook-truncate-max-event-size', '4000'])
    s.kubectl('create', 'configmap', 'a', '--from-literal=k=v')
    created = until('the event', lambda: [e for e in hook.events if e['verb'] == 'create'])[0]
    doc = hook.batches[0]
    same((hook.asked[0][0], doc['kind'], doc['apiVersion']), ('/authorize?timeout=30s', 'EventList', 'audit.k8s.io/v1'))
    same((created['level'], created['stage'], created['responseStatus']['code'], created['requestObject']['data'], 'kind' in created), ('RequestResponse', 'ResponseComplete', 201, {'k': 'v'}, False))
    # what is too large loses its bodies
    s.kubectl('create', 'configmap', 'b', '--from-literal=k=' + 'x' * 5000)
    large = until('the large event', lambda: [e for e in hook.events if 'audit.k8s.io/truncated' in e.get('annotations', {})])[0]
    same(('requestObject' in large, 'responseObject' in large, large['verb'], large['annotations']['audit.k8s.io/truncated']), (False, False, 'create', 'true'))
    # a watch: it starts, and it ends when its time is over or when the client goes
    s.kubectl('get', '--raw', '/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dw1')
    watch = subprocess.Popen(['kubectl', '--kubeconfig', s.kubeconfig, 'get', '--raw', '/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=600'], stdout=subprocess.DEVNULL)
    stages = lambda part: [(e['stage'], e['responseStatus']['code']) for e in hook.events if e['verb'] == 'watch' and part in e['requestURI']]
    until('the watch has begun', lambda: stages('timeoutSeconds=600') == [('ResponseStarted', 200)])
    watch.terminate()
    watch.wait(20)
    for part in 'timeoutSeconds=1&', 'timeoutSeconds=600': until(f'{part}: its end', lambda: stages(part) == [('ResponseStarted', 200), ('ResponseComplete', 200)])
    # the webhook fails for a while: nothing is lost, and nobody waits
    hook.down = 500
    s.kubectl('delete', 'configmap', 'a')
    until('tries', lambda: len([d for _, d in hook.asked if any(e['verb'] == 'delete' for e in d['items'])]) >= 2)
    hook.down = None
    until('the event after the failures', lambda: [e for e in hook.events if e['verb'] == 'delete'])
    # the last batch goes out when the server stops
    hook.down, hook.events = None, []
    s.kubectl('create', 'configmap', 'last')
    code, _ = s.stop()
    same((code, [e['requestObject']['metadata']['name'] for e in hook.events if e['verb'] == 'create']), (0, ['last']))
    s.remove()


def test_a_full_buffer_drops_events_and_requests_go_on():
    hook = Hook()
    hook.hang = threading.Event()
    s = Server(flags=['--audit-policy-file', policy(hook.dir), '--audit-webhook-config-file', hook.kubeconfig, '--audit-webhook-batch-max-size', '1', '--audit-webhook-batch-buffer-size', '2',
                      '--audit-webhook-batch-throttle-qps', '0.01', '--audit-webhook-batch-throttle-burst', '1'])
    for i in range(8): same(fetch(s, f'/api/v1/namespaces/default/configmaps/x{i}')[0], 404)
    until('dropped events', lambda: metric(s, 'apiserver_audit_error_total{plugin="buffered"}') >= 4)
    same(metric(s, 'apiserver_audit_event_total') >= 8, True)
    hook.hang.set()
    s.remove()


def test_blocking_webhooks():
    hook = Hook()
    flags = lambda mode: ['--audit-policy-file', policy(hook.dir, omitStages=[]), '--audit-webhook-config-file', hook.kubeconfig, '--audit-webhook-mode', mode, '--audit-webhook-initial-backoff', '10ms', '--request-timeout', '5s']
    s = Server(flags=flags('blocking'))
    s.kubectl('get', 'configmap', 'a', check=False)
    got = [e for e in hook.events if e['verb'] == 'get']
    same(got[0]['stage'], 'RequestReceived')  # before it was answered
    until('the answer', lambda: [e['stage'] for e in hook.events if e['verb'] == 'get'] == ['RequestReceived', 'ResponseComplete'])
    same(len(hook.batches[0]['items']), 1)
    # nobody answers: a request waits as long as is configured, and goes on
    hook.server.stop()
    same(s.kubectl('create', 'configmap', 'b').returncode, 0)
    same(metric(s, 'apiserver_audit_error_total{plugin="webhook"}') >= 1, True)
    s.remove()
    hook = Hook()
    s = Server(flags=flags('blocking-strict'))
    s.kubectl('create', 'configmap', 'a')
    hook.down = 403
    code, _, text = fetch(s, '/api/v1/namespaces/default/configmaps/a?x=y')
    same((code, text), (500, b'Internal Server Error: "/api/v1/namespaces/default/configmaps/a?x=y": failed to store audit event\n'))
    same(metric(s, 'apiserver_audit_requests_rejected_total') >= 1, True)
    hook.down = None
    same(fetch(s, '/api/v1/namespaces/default/configmaps/a')[0], 200)
    s.remove()


def test_the_log_as_text_and_compressed():
    d = tempfile.mkdtemp(prefix='ckube-audit-')
    atexit.register(shutil.rmtree, d, True)
    log = f'{d}/audit.log'
    s = Server(flags=['--audit-policy-file', policy(d), '--audit-log-path', log, '--audit-log-format', 'legacy', '--audit-log-mode', 'batch', '--audit-log-maxsize', '1', '--audit-log-compress'])
    s.kubectl('get', 'configmap', 'a', '--as', 'ann', '--as-group', 'crew', check=False)
    line = until('the line', lambda: [l for l in open(log).read().splitlines() if ' as="ann"' in l])[0]
    for part in (' AUDIT: id="', ' stage="ResponseComplete" ip="127.0.0.1" method="get" user="kubernetes-admin" groups="', ' as="ann" asgroups="\\"crew\\",\\"system:authenticated\\"" user-agent="kubectl/', ' namespace="default" uri="/api/v1/namespaces/default/configmaps/a', ' response="403"'):
        contains(line, part)
    with open(log, 'a') as f: f.write('x' * (1 << 20) + '\n')
    s.stop()
    s.start()  # the size is that of the file
    s.kubectl('get', 'configmap', 'b', check=False)
    old = until('the compressed file', lambda: [f for f in os.listdir(d) if f.endswith('.log.gz')] if not [f for f in os.listdir(d) if f.startswith('audit-') and f.endswith('.log')] else [])
    contains(gzip.open(f'{d}/{old[0]}').read().decode(), line)
    s.remove()


def test_wrong_audit_flags_are_refused():
    hook = Hook()
    for flags, words in ((['--audit-log-mode', 'sometimes'], 'invalid audit log mode sometimes, allowed modes are "batch,blocking,blocking-strict"'), (['--audit-log-format', 'xml'], 'invalid audit log format xml, allowed formats are "legacy,json"'),
                         (['--audit-webhook-config-file', hook.kubeconfig, '--audit-webhook-batch-buffer-size', '0'], 'invalid audit batch webhook buffer size 0, must be a positive number'),
                         (['--audit-webhook-config-file', hook.kubeconfig, '--audit-webhook-batch-throttle-qps', '0'], 'invalid audit batch webhook throttle QPS 0, must be a positive number'),
                         (['--audit-log-truncate-max-event-size', '20000000'], 'invalid audit truncate log max batch size 10485760, must be greater than max event size (20000000)'),
                         (['--audit-webhook-initial-backoff', 'soon'], 'invalid duration "soon"'), (['--audit-log-maxage', '-1'], "--audit-log-maxage -1 can't be a negative number")):
        try: Server(flags=flags).remove()
        except RuntimeError as e: contains(str(e), words)
        else: raise AssertionError(f'{flags} were taken')
