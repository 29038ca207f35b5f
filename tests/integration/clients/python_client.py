"""python3-kubernetes against a server: `python_client.py KUBECONFIG [POD]`, with the Python that has the package. Says `ok NAME` for each part; an exception ends it.
With the name of a Pod that runs, only exec into it."""
import sys, threading, time
from kubernetes import client, config, dynamic, stream, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

DEADLINE_S = 60


def same(got, want):
    if got != want: raise AssertionError(f'wanted {want!r}, got {got!r}')


def eventually(what, condition):
    deadline = time.time() + DEADLINE_S
    while not condition():
        if time.time() > deadline: raise AssertionError(f'not within {DEADLINE_S} s: {what}')
        time.sleep(0.02)


def refused(code, reason, call, *args, **kw):
    try: call(*args, **kw)
    except ApiException as e: same((e.status, reason in e.body), (code, True))
    else: raise AssertionError(f'{call.__name__} was not refused')


def pod(name, labels=None):
    return client.V1Pod(metadata=client.V1ObjectMeta(name=name, labels=labels), spec=client.V1PodSpec(containers=[client.V1Container(name='c', image='i', resources=client.V1ResourceRequirements(requests={'cpu': '100m'}))]))


def typed(core):
    made = core.create_namespaced_pod('default', pod('typed', {'app': 'x'}))
    same((made.status.phase, made.status.qos_class, made.spec.restart_policy), ('Pending', 'Burstable', 'Always'))
    refused(409, 'AlreadyExists', core.create_namespaced_pod, 'default', pod('typed'))
    refused(404, 'NotFound', core.read_namespaced_pod, 'missing', 'default')
    refused(422, 'metadata.name: Invalid value', core.create_namespaced_pod, 'default', pod('Not_A_Name'))
    for i in range(5): core.create_namespaced_config_map('default', client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f'c{i}'), data={'i': str(i)}))
    names, more = [], None
    while True: # pages
        page = core.list_namespaced_config_map('default', limit=2, _continue=more)
        names += [c.metadata.name for c in page.items]
        more = page.metadata._continue
        if not more: break
    same([n for n in names if n.startswith('c')], [f'c{i}' for i in range(5)])
    same([p.metadata.name for p in core.list_pod_for_all_namespaces(label_selector='app in (x,y)', field_selector='metadata.name=typed').items], ['typed'])
    patched = core.patch_namespaced_pod('typed', 'default', {'metadata': {'labels': {'app': None, 'b': 'c'}}})
    same(patched.metadata.labels, {'b': 'c'})
    patched = core.patch_namespaced_config_map('c0', 'default', [{'op': 'replace', 'path': '/data/i', 'value': 'nine'}])
    same(patched.data, {'i': 'nine'})
    replaced = core.read_namespaced_config_map('c1', 'default')
    replaced.data['more'] = 'y'
    same(core.replace_namespaced_config_map('c1', 'default', replaced).data, {'i': '1', 'more': 'y'})
    refused(409, 'the object has been modified', core.replace_namespaced_config_map, 'c1', 'default', replaced)
    core.delete_collection_namespaced_config_map('default', field_selector='metadata.name=c2')
    refused(404, 'NotFound', core.read_namespaced_config_map, 'c2', 'default')
    core.delete_namespaced_pod('typed', 'default', grace_period_seconds=0)


def watched(core):
    seen = []
    since = core.list_namespaced_config_map('default').metadata.resource_version

    def follow():
        for e in watch.Watch().stream(core.list_namespaced_config_map, 'default', resource_version=since, timeout_seconds=DEADLINE_S):
            if e['object'].metadata.name == 'w': seen.append((e['type'], (e['object'].data or {}).get('n')))
            if e['type'] == 'DELETED': return
    t = threading.Thread(target=follow, daemon=True)
    t.start()
    core.create_namespaced_config_map('default', client.V1ConfigMap(metadata=client.V1ObjectMeta(name='w'), data={'n': '0'}))
    for i in range(1, 4): core.patch_namespaced_config_map('w', 'default', {'data': {'n': str(i)}})
    core.delete_namespaced_config_map('w', 'default')
    t.join(DEADLINE_S)
    same(seen, [('ADDED', '0'), ('MODIFIED', '1'), ('MODIFIED', '2'), ('MODIFIED', '3'), ('DELETED', '3')])
    try: list(watch.Watch().stream(core.list_namespaced_config_map, 'default', resource_version='1', timeout_seconds=5))
    except ApiException as e: same(e.status, 410) # only once the log has been compacted


def dynamically(api):
    extensions, d = client.ApiextensionsV1Api(api), dynamic.DynamicClient(api)
    schema = {'type': 'object', 'properties': {'spec': {'type': 'object', 'properties': {'size': {'type': 'integer', 'minimum': 1}}}}}
    extensions.create_custom_resource_definition({'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'gears.py.example.org'}, 'spec': {
        'group': 'py.example.org', 'scope': 'Namespaced', 'names': {'plural': 'gears', 'singular': 'gear', 'kind': 'Gear'}, 'versions': [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': schema}}]}})
    eventually('the definition is established', lambda: any(c.type == 'Established' and c.status == 'True' for c in extensions.read_custom_resource_definition('gears.py.example.org').status.conditions or []))
    eventually('it is discovered', lambda: d.resources.invalidate_cache() or d.resources.search(api_version='py.example.org/v1', kind='Gear'))
    gears = d.resources.get(api_version='py.example.org/v1', kind='Gear')
    same((gears.name, gears.namespaced, gears.singular_name), ('gears', True, 'gear'))
    gear = {'apiVersion': 'py.example.org/v1', 'kind': 'Gear', 'metadata': {'name': 'g'}, 'spec': {'size': 3}}
    same(gears.create(body=gear, namespace='default').spec.size, 3)
    same(gears.patch(body={'apiVersion': 'py.example.org/v1', 'kind': 'Gear', 'metadata': {'name': 'g'}, 'spec': {'size': 4}}, namespace='default', content_type='application/merge-patch+json').spec.size, 4)
    try: gears.create(body={**gear, 'metadata': {'name': 'bad'}, 'spec': {'size': 0}}, namespace='default')
    except ApiException as e: same((e.status, 'spec.size in body should be greater than or equal to 1' in str(e.body)), (422, True))
    else: raise AssertionError('an invalid Gear was taken')
    same([g.metadata.name for g in gears.get(namespace='default').items], ['g'])
    deployments = d.resources.get(api_version='apps/v1', kind='Deployment')
    assert deployments.subresources['scale'] and deployments.subresources['status']
    gears.delete(name='g', namespace='default')


def elected(api):
    """Two candidates over one lock of the package's own kind: while the first holds it the second does not lead."""
    led, holds = [], threading.Event()

    def run(identity, work):
        settings = electionconfig.Config(ConfigMapLock('lock', 'default', identity), lease_duration=30, renew_deadline=20, retry_period=1, onstarted_leading=work, onstopped_leading=lambda: led.append(f'{identity} stopped'))
        leaderelection.LeaderElection(settings).run()

    def first():
        led.append('first')
        holds.set()
    threading.Thread(target=run, args=('first', first), daemon=True).start()
    if not holds.wait(DEADLINE_S): raise AssertionError('nobody leads')
    threading.Thread(target=run, args=('second', lambda: led.append('second')), daemon=True).start()
    core = client.CoreV1Api(api)
    record = core.read_namespaced_config_map('lock', 'default').metadata.annotations['control-plane.alpha.kubernetes.io/leader']
    assert '"holderIdentity": "first"' in record, record
    eventually('a renewal', lambda: core.read_namespaced_config_map('lock', 'default').metadata.annotations['control-plane.alpha.kubernetes.io/leader'] != record)
    same(led, ['first'])


def execute(core, pod_name):
    """exec over a WebSocket: output and errors told apart, input, the exit code."""
    def run(*command, **kw): return stream.stream(core.connect_get_namespaced_pod_exec, pod_name, 'default', command=list(command), stderr=True, stdout=True, **kw)
    same(run('echo', 'over a WebSocket', stdin=False, tty=False), 'over a WebSocket\n')
    session = run('sh', '-c', 'cat; echo wrong >&2; exit 3', stdin=True, tty=False, _preload_content=False)
    session.write_stdin('typed\n')
    eventually('what was typed', lambda: session.peek_stdout(timeout=1))
    same(session.read_stdout(), 'typed\n')
    session.close()
    session = run('sh', '-c', 'echo wrong >&2; exit 3', stdin=False, tty=False, _preload_content=False)
    session.run_forever(timeout=DEADLINE_S)
    same((session.read_stderr(), session.returncode), ('wrong\n', 3))


def main():
    config.load_kube_config(sys.argv[1])
    api = client.ApiClient()
    core = client.CoreV1Api(api)
    if len(sys.argv) > 2:
        execute(core, sys.argv[2])
        print('ok execute')
        return
    for part, argument in ((typed, core), (watched, core), (dynamically, api), (elected, api)):
        part(argument)
        print('ok', part.__name__, flush=True)


main()
