"""Health checks by name, metrics in upstream's names, compressed answers, --runtime-config."""
import gzip, json, re, subprocess, urllib.request
from harness import Server, contains, same

_s = None


def s():
    global _s
    if not _s: _s = Server()
    return _s


def raw(path): return s().kubectl('get', '--raw', path).stdout


def test_checks_are_told_one_by_one():
    verbose = raw('/readyz?verbose&exclude=etcd&exclude=nothing')
    for part in ('[+]ping ok\n', '[+]etcd excluded: ok\n', '[+]poststarthook/rbac/bootstrap-roles ok\n', 'warn: some health checks cannot be excluded: no matches for "nothing"\n', 'readyz check passed\n'):
        contains(verbose, part)
    contains(raw('/livez?verbose'), 'livez check passed\n')
    assert raw('/healthz') == raw('/livez/ping') == raw('/readyz/informer-sync') == 'ok'
    assert '[+]informer-sync' not in raw('/livez?verbose')
    assert s().kubectl('get', '--raw', '/livez/informer-sync', check=False).returncode != 0


def test_requests_and_objects_are_counted():
    s().kubectl('create', 'configmap', 'counted')
    s().kubectl('get', 'configmap', 'absent', check=False)
    text = raw('/metrics')
    labels = r'component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource=""'
    assert re.search(r'^apiserver_request_total\{code="201",' + labels + r',verb="POST",version="v1"\} 1$', text, re.M), text[:3000]
    assert re.search(r'^apiserver_request_total\{code="404",' + labels + r',verb="GET",version="v1"\} 1$', text, re.M)
    assert re.search(r'^apiserver_request_duration_seconds_count\{' + labels + r',verb="POST",version="v1"\} 1$', text, re.M)
    contains(text, 'apiserver_current_inflight_requests{request_kind="readOnly"} 1\n')
    assert int(re.search(r'^apiserver_storage_objects\{resource="flowschemas.flowcontrol.apiserver.k8s.io"\} (\d+)$', text, re.M)[1]) == 13
    for line in text.splitlines(): assert line.startswith('# ') or re.fullmatch(r'[a-z_]+(\{[^{}]*\})? [-+.e\d]+', line), line


def test_who_asks_what_they_may_and_what_admission_took_are_counted():
    s().kubectl('create', 'configmap', 'watched-over')
    s().kubectl('get', 'secrets', '--as', 'nobody@example.com', check=False)
    s().kubectl('create', 'configmap', 'nowhere', '-n', 'missing', check=False)  # refused by NamespaceLifecycle
    text = raw('/metrics')
    value = lambda series: float((re.search('^' + re.escape(series) + r' ([-+.e\d]+)$', text, re.M) or [0, 'nan'])[1])
    succeeded, failed = value('authentication_attempts{result="success"}'), value('authorization_attempts_total{result="no-opinion"}')
    assert succeeded >= 4 and failed >= 1, text[:5000]
    same(value('authentication_duration_seconds_count{result="success"}'), succeeded)
    same(value('authenticated_user_requests{username="other"}') + (value('authenticated_user_requests{username="email_id"}') if 'email_id' in text else 0), succeeded)
    assert value('authorization_duration_seconds_bucket{result="allowed",le="0.001"}') <= value('authorization_attempts_total{result="allowed"}')
    step, plugin = 'apiserver_admission_step_admission_duration_seconds', 'apiserver_admission_controller_admission_duration_seconds'
    assert value(step + '_count{operation="CREATE",rejected="false",type="validate"}') >= 1 and value(step + '_bucket{operation="CREATE",rejected="true",type="admit",le="+Inf"}') >= 1, text[:5000]
    same(value(plugin + '_count{name="NamespaceLifecycle",operation="CREATE",rejected="true",type="admit"}'), value(step + '_count{operation="CREATE",rejected="true",type="admit"}'))
    assert value(plugin + '_sum{name="NamespaceLifecycle",operation="CREATE",rejected="false",type="admit"}') > 0


def test_large_answers_are_compressed_for_those_who_take_it():
    for i in range(3): s().kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': f'large-{i}'}, 'data': {'x': 'words ' * 20000}}))
    proxy = subprocess.Popen(['kubectl', '--kubeconfig', s().kubeconfig, 'proxy', '--port', '0'], stdout=subprocess.PIPE, text=True)
    try:
        port = re.search(r':(\d+)', proxy.stdout.readline())[1]
        def get(path, encoding):
            r = urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{port}{path}', headers={'Accept-Encoding': encoding}))
            return r.headers, r.read()
        headers, body = get('/api/v1/namespaces/default/configmaps', 'br, gzip;q=0.5')
        assert headers['Content-Encoding'] == 'gzip' and headers['Vary'] == 'Accept-Encoding' and len(body) < 100000
        plain_headers, plain = get('/api/v1/namespaces/default/configmaps', 'identity')
        assert plain_headers['Content-Encoding'] is None and gzip.decompress(body) == plain
        small, _ = get('/api/v1/namespaces/default', 'gzip')
        assert small['Content-Encoding'] is None
    finally:
        proxy.kill()
        proxy.wait()


def test_a_version_that_is_switched_on_speaks_of_the_same_objects():
    t = Server(flags=('--runtime-config', 'resource.k8s.io/v1beta1=true,batch/v1=false'))
    try:
        assert t.kubectl('get', '--raw', '/apis/batch/v1', check=False).returncode != 0
        t.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'resource.k8s.io/v1beta1', 'kind': 'ResourceClaim', 'metadata': {'name': 'c'}, 'spec': {'devices': {'requests': [{'name': 'r', 'deviceClassName': 'gpu'}]}}}))
        new = json.loads(t.kubectl('get', '--raw', '/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c').stdout)
        assert new['spec']['devices']['requests'][0]['exactly']['deviceClassName'] == 'gpu', new
        old = json.loads(t.kubectl('get', '--raw', '/apis/resource.k8s.io/v1beta1/namespaces/default/resourceclaims/c').stdout)
        assert old['spec']['devices']['requests'][0]['deviceClassName'] == 'gpu' and old['apiVersion'] == 'resource.k8s.io/v1beta1', old
    finally: t.remove()
