"""Metrics of the controllers, the scheduler and their clients: from `ckube server` at its /metrics, from processes of their own at theirs, to whom the API server lets."""
import os, re, signal, ssl, subprocess, time, urllib.error, urllib.request
from harness import TOP, Server, contains, free_port, same

RIGHTS = '''
apiVersion: v1
kind: ServiceAccount
metadata: {name: scraper, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scraper}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scraper}
subjects: [{kind: ServiceAccount, name: scraper, namespace: default}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody, namespace: default}
'''


def values(text):
    """{'name{labels}': value}"""
    return {m[1]: float(m[2]) for m in re.finditer(r'^([a-z_]+(?:\{.*?\})?) (\S+)$', text, re.M)}


def check_text(text):
    """Each metric has its head once, before its samples, and no sample comes twice."""
    heads = re.findall(r'^# TYPE (\S+)', text, re.M)
    same(len(heads), len(set(heads)), sorted(h for h in heads if heads.count(h) > 1))
    samples = re.findall(r'^([a-z_]+(?:\{.*\})?) \S+$', text, re.M)
    same(len(samples), len(set(samples)), sorted(s for s in samples if samples.count(s) > 1)[:5])


def until(what, seconds=90):
    """The first true answer."""
    end, last = time.time() + seconds, None
    while time.time() < end:
        last = what()
        if last: return last
        time.sleep(0.2)
    raise AssertionError(f'not so within {seconds} s: {last}')


def test_a_server_tells_of_its_controllers_scheduler_and_clients():
    s = Server(command='server', flags=['--disable-agent'])
    try:
        s.kubectl('create', 'deployment', 'web', '--image=x', '--replicas=2')
        def get():
            text = s.kubectl('get', '--raw', '/metrics').stdout
            v = values(text)
            return v.get('workqueue_work_duration_seconds_count{name="replicaset"}', 0) > 0 and v.get('rest_client_requests_total{code="201",host="in-process",method="POST"}', 0) >= 3 and v.get('leader_election_master_status{name="kube-scheduler"}') == 1 and text
        text = until(get)
        check_text(text)
        v = values(text)
        for name in 'deployment', 'replicaset', 'serviceaccount', 'namespace', 'garbage_collector_attempt_to_delete':
            for metric in 'adds_total', 'depth', 'queue_duration_seconds_count', 'unfinished_work_seconds', 'longest_running_processor_seconds':
                if metric != 'queue_duration_seconds_count' or v[f'workqueue_adds_total{{name="{name}"}}']: assert f'workqueue_{metric}{{name="{name}"}}' in v, (metric, name)
        assert v['workqueue_adds_total{name="deployment"}'] >= 1
        assert v['rest_client_request_duration_seconds_count{host="in-process",verb="POST"}'] >= 3
        same(v['leader_election_master_status{name="kube-controller-manager"}'], 1.0)
        contains(text, 'workqueue_queue_duration_seconds_bucket{name="deployment",le="9.999999999999999e-06"}')
        assert s.kubectl('get', '--raw', '/metrics', '--as=someone', check=False).returncode != 0
    finally:
        s.remove()


class Part:
    """kube-controller-manager or kube-scheduler, serving on a port of its own."""

    def __init__(self, server, command, *flags):
        self.port, self.log_path = free_port(), f'{os.path.dirname(server.kubeconfig)}/{command}.log'
        self.log = open(self.log_path, 'ab')
        self.process = subprocess.Popen([str(TOP / server.binary), command, '--kubeconfig', server.kubeconfig, '--bind-address', '127.0.0.1', '--secure-port', str(self.port), *flags],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def get(self, path, token=None, cert=None):
        """(code, body), as soon as it listens."""
        tls = ssl._create_unverified_context()
        if cert: tls.load_cert_chain(*cert)
        headers = {'Authorization': f'Bearer {token}'} if token else {}
        return until(lambda: self.ask(path, headers, tls))

    def ask(self, path, headers, tls):
        try:
            with urllib.request.urlopen(urllib.request.Request(f'https://127.0.0.1:{self.port}{path}', headers=headers), timeout=30, context=tls) as r: return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError:
            if self.process.poll() is not None: raise AssertionError(open(self.log_path).read())
            return None

    def end(self):
        if self.process.poll() is None: self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.log.close()
        return code


JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}
"""


def test_controllers_count_their_own_work():
    s = Server(command='server', flags=['--disable-agent'])
    try:
        s.kubectl('create', 'service', 'clusterip', 'web', '--tcp=80')
        s.kubectl('apply', '-f', '-', stdin=JOB)
        def pod(): return (s.json('get', 'pods', '-l', 'job-name=work')['items'] or [None])[0]
        name = until(pod)['metadata']['name']
        want = {'job_controller_job_pods_creation_total{reason="new",status="succeeded"}': 1,
                'job_controller_job_pods_finished_total{completion_mode="NonIndexed",result="succeeded"}': 1,
                'job_controller_jobs_finished_total{completion_mode="NonIndexed",reason="CompletionsReached",result="succeeded"}': 1,
                'job_controller_terminated_pods_tracking_finalizer_total{event="add"}': 1, 'job_controller_terminated_pods_tracking_finalizer_total{event="delete"}': 1,
                'job_controller_job_syncs_total{action="pods_created",completion_mode="NonIndexed",result="success"}': 1,
                'endpoint_slice_controller_changes{operation="create"}': 1, 'endpoint_slice_controller_syncs{result="success"}': 1,
                'root_ca_cert_publisher_sync_total{code="200"}': 4, 'root_ca_cert_publisher_sync_duration_seconds_count{code="200"}': 4,
                'endpoint_slice_controller_endpointslices_changed_per_sync_sum{topology="Disabled",traffic_distribution=""}': 1,
                'running_managed_controllers{manager="kube-controller-manager",name="job-controller"}': 1}
        s.kubectl('patch', 'pod', name, '--subresource=status', '--type=merge', '-p', '{"status": {"phase": "Succeeded"}}')
        def get():
            v = values(s.kubectl('get', '--raw', '/metrics').stdout)
            return all(v.get(k, 0) >= n for k, n in want.items()) and v
        try: v = until(get)
        except AssertionError:
            v = values(s.kubectl('get', '--raw', '/metrics').stdout)
            raise AssertionError({k: v.get(k) for k in want if v.get(k, 0) < want[k]})
        for k in want:
            if 'finished' in k or 'creation' in k: same(v[k], float(want[k]), k)
        s.kubectl('create', 'deployment', 'web', '--image=x', '--replicas=3')
        def three():
            pods = s.json('get', 'pods', '-l', 'app=web')['items']
            return len(pods) == 3 and pods
        for pod in until(three):
            s.kubectl('patch', 'pod', pod['metadata']['name'], '--subresource=status', '--type=merge', '-p', '{"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}')
        until(lambda: s.json('get', 'deployment', 'web')['status'].get('readyReplicas') == 3)
        s.kubectl('scale', 'deployment', 'web', '--replicas=1')
        until(lambda: values(s.kubectl('get', '--raw', '/metrics').stdout).get('replicaset_controller_sorting_deletion_age_ratio_count') == 2)
        check_text(s.kubectl('get', '--raw', '/metrics').stdout)
    finally:
        s.remove()


def test_processes_of_their_own_serve_metrics_to_whom_the_api_server_lets():
    s, parts = Server(), []
    try:
        tls = f'{s.dir}/tls'
        parts = [Part(s, 'kube-controller-manager', '--controllers', 'serviceaccount-controller,deployment-controller'), Part(s, 'kube-scheduler', '--cert-dir', f'{s.dir}/scheduler')]
        s.kubectl('apply', '-f', '-', stdin=RIGHTS)
        scraper, nobody = (s.kubectl('create', 'token', name).stdout.strip() for name in ('scraper', 'nobody'))
        s.kubectl('create', 'deployment', 'web', '--image=x')
        for part, lease in zip(parts, ('kube-controller-manager', 'kube-scheduler')):
            for path in '/healthz', '/livez', '/readyz': same(part.get(path), (200, 'ok'))
            same(part.get('/healthz?verbose'), (200, '[+]ping ok\nhealthz check passed\n'))
            code, body = part.get('/metrics')
            same(code, 403)
            contains(body, '"message":"forbidden: User \\"system:anonymous\\" cannot get path \\"/metrics\\""')
            same(part.get('/metrics', token='x')[0], 401)
            code, body = part.get('/metrics', token=nobody)
            same(code, 403)
            contains(body, 'User \\"system:serviceaccount:default:nobody\\" cannot get path')
            same(part.get('/configz', token=scraper)[0], 403)
            def get():
                code, text = part.get('/metrics', token=scraper)
                same(code, 200)
                return values(text).get(f'leader_election_master_status{{name="{lease}"}}') == 1 and text
            text = until(get)
            check_text(text)
            # The client authority is looked up in the cluster; who is of system:masters may do all.
            admin = f'{s.dir}/admin-pair'
            write_admin_pair(s, admin)
            until(lambda: part.get('/metrics', cert=(f'{admin}.crt', f'{admin}.key'))[0] == 200)
            same(part.get('/nowhere', cert=(f'{admin}.crt', f'{admin}.key'))[0], 404)
        manager, scheduler = (part.get('/metrics', token=scraper)[1] for part in parts)
        host = f'127.0.0.1:{s.port}'
        until(lambda: values(parts[0].get('/metrics', token=scraper)[1]).get('workqueue_work_duration_seconds_count{name="deployment"}', 0) > 0)
        assert values(manager)[f'rest_client_requests_total{{code="200",host="{host}",method="GET"}}'] > 0
        assert 'scheduler_' not in manager and 'workqueue' not in scheduler
        until(lambda: 'scheduler_pending_pods{queue="active"}' in parts[1].get('/metrics', token=scraper)[1])
        assert os.path.exists(f'{s.dir}/scheduler/kube-scheduler.crt')
        second = Part(s, 'kube-scheduler', '--secure-port', str(parts[1].port))
        same(second.process.wait(timeout=60), 1)
        second.end()
        for part in parts: same(part.end(), 0)
    finally:
        for part in parts: part.end()
        s.remove()


def write_admin_pair(s, path):
    import base64
    text = open(s.kubeconfig).read()
    for key, ending in ('client-certificate-data', 'crt'), ('client-key-data', 'key'):
        with open(f'{path}.{ending}', 'wb') as f: f.write(base64.b64decode(re.search(rf'{key}: (\S+)', text)[1]))
