"""Who decides when it is not the cluster itself: authorization by a webhook; and serving certificates that change under a running server."""
import atexit, json, os, shutil, ssl, tempfile, time
from fixtures import JsonServer, make_ca, make_cert
from harness import Server, contains, same


class Webhook:
    """An HTTPS server that answers with what `answer(document)` returns: (code, document). It keeps what it was asked."""

    def __init__(self, answer):
        self.dir, self.asked, self.answer = tempfile.mkdtemp(prefix='ckube-webhook-'), [], answer
        atexit.register(shutil.rmtree, self.dir, True)
        make_ca(self.dir, 'ca')
        make_cert(self.dir, 'client', 'ca', '/CN=apiserver')
        make_cert(self.dir, 'server', 'ca', '/CN=webhook', usage='serverAuth', alt_names='IP:127.0.0.1')
        self.server = JsonServer(f'{self.dir}/server.crt', f'{self.dir}/server.key', self.take, client_ca=f'{self.dir}/ca.crt')
        self.kubeconfig = f'{self.dir}/webhook.kubeconfig'
        with open(self.kubeconfig, 'w') as f:
            json.dump({'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'contexts': [{'name': 'c', 'context': {'cluster': 'w', 'user': 'a'}}],
                       'clusters': [{'name': 'w', 'cluster': {'certificate-authority': 'ca.crt', 'server': f'https://127.0.0.1:{self.server.port}/authorize'}}],
                       'users': [{'name': 'a', 'user': {'client-certificate': 'client.crt', 'client-key': 'client.key'}}]}, f)

    def take(self, path, doc):
        self.asked.append((path, doc))
        return self.answer(doc)


def review(user, allowed=False, denied=False, reason=''):
    """The webhook's own rule: what it says of this user; of others it says nothing."""
    def answer(doc):
        status = {'allowed': False}
        if doc['spec'].get('user') == user: status = {'allowed': allowed, **({'denied': True} if denied else {}), **({'reason': reason} if reason else {})}
        return 200, {**doc, 'status': status}
    return answer


def test_a_webhook_authorizes():
    hook = Webhook(review('ann', allowed=True))
    s = Server(flags=['--authorization-mode', 'RBAC,Webhook', '--authorization-webhook-config-file', hook.kubeconfig, '--authorization-webhook-version', 'v1',
                      '--authorization-webhook-cache-unauthorized-ttl', '0s'])
    same(hook.asked, [])  # system:masters is not asked about
    same(s.kubectl('get', 'secrets', '--as', 'ann').returncode, 0)
    same(s.kubectl('auth', 'can-i', 'delete', 'nodes', '--as', 'ann').stdout.split()[-1], 'yes')
    path, doc = next(a for a in hook.asked if a[1]['spec'].get('resourceAttributes', {}).get('resource') == 'secrets')
    same(path, '/authorize?timeout=30s')
    same((doc['apiVersion'], doc['kind']), ('authorization.k8s.io/v1', 'SubjectAccessReview'))
    same(doc['spec'], {'resourceAttributes': {'namespace': 'default', 'verb': 'list', 'version': 'v1', 'resource': 'secrets'}, 'user': 'ann', 'groups': ['system:authenticated']})
    # a yes is kept, a no is not (0s)
    before = len(hook.asked)
    s.kubectl('get', 'secrets', '--as', 'ann')
    same(len(hook.asked), before)
    for _ in range(2): contains(s.kubectl('get', 'secrets', '--as', 'bob', check=False).stderr, 'secrets is forbidden: User "bob" cannot list resource "secrets" in API group "" in the namespace "default"')
    same(len([a for a in hook.asked if a[1]['spec'].get('user') == 'bob' and a[1]['spec'].get('resourceAttributes', {}).get('resource') == 'secrets']), 2)
    # a path, and the list of rights that cannot be told
    same(s.kubectl('get', '--raw', '/metrics', '--as', 'ann').returncode, 0)
    same(hook.asked[-1][1]['spec']['nonResourceAttributes'], {'path': '/metrics', 'verb': 'get'})
    contains(s.kubectl('auth', 'can-i', '--list', '--as', 'bob', check=False).stderr, 'webhook authorizer does not support user rule resolution')
    s.remove()


def test_a_webhook_denies_before_others_allow():
    # --raw: kubectl would look into discovery first, which is forbidden to eve too
    hook = Webhook(review('eve', denied=True, reason='not today'))
    s = Server(flags=['--authorization-mode', 'Webhook,RBAC', '--authorization-webhook-config-file', hook.kubeconfig])
    s.kubectl('create', 'clusterrolebinding', 'all', '--clusterrole=cluster-admin', '--user=eve', '--user=tom')
    contains(s.kubectl('get', '--raw', '/api/v1/namespaces/default/pods', '--as', 'eve', check=False).stderr, 'cannot list resource "pods" in API group "" in the namespace "default": not today')
    same(s.kubectl('get', 'pods', '--as', 'tom').returncode, 0)
    doc = next(d for _, d in hook.asked if d['spec'].get('user') == 'eve')
    same(doc['apiVersion'], 'authorization.k8s.io/v1beta1')
    same(doc['spec']['group'], ['system:authenticated'])
    # unreachable: no opinion, others may allow; who is not allowed learns that it is the server's fault
    hook.server.stop()
    same(s.kubectl('get', 'services', '--as', 'tom').returncode, 0)
    contains(s.kubectl('get', '--raw', '/api/v1/services', '--as', 'kim', check=False).stderr, 'connection refused')
    s.remove()


def test_wrong_webhook_flags_are_refused():
    hook = Webhook(review('x'))
    for flags, words in ((['--authorization-mode', 'Webhook'], "authorization-mode Webhook's authorization config file not passed"),
                         (['--authorization-webhook-config-file', hook.kubeconfig], 'cannot specify --authorization-webhook-config-file without mode Webhook'),
                         (['--authorization-mode', 'Webhook', '--authorization-webhook-config-file', hook.kubeconfig, '--authorization-webhook-version', 'v2'], 'unsupported webhook authorizer version'),
                         (['--authorization-mode', 'Webhook', '--authorization-webhook-config-file', '/nowhere'], '/nowhere'),
                         (['--authorization-webhook-cache-authorized-ttl', 'x'], 'is no duration')):
        try: Server(flags=flags).remove()
        except RuntimeError as e: contains(str(e), words)
        else: raise AssertionError(f'{flags} were taken')


def authorizers(*chain):
    return {'apiVersion': 'apiserver.config.k8s.io/v1', 'kind': 'AuthorizationConfiguration', 'authorizers': list(chain)}


def webhook(hook, name='hook', **more):
    return {'type': 'Webhook', 'name': name, 'webhook': {'timeout': '5s', 'subjectAccessReviewVersion': 'v1', 'failurePolicy': 'NoOpinion', 'authorizedTTL': '1ms', 'unauthorizedTTL': '1ms',
                                                         'connectionInfo': {'type': 'KubeConfigFile', 'kubeConfigFile': hook.kubeconfig}, **more}}


def test_a_chain_of_authorizers_from_a_file():
    """Conditions, selectors in reviews, what follows when nobody answers, and changes while it runs."""
    hook, strict = Webhook(review('ann', allowed=True)), Webhook(review('nobody'))
    path, rbac = f'{hook.dir}/authorization.yaml', {'type': 'RBAC', 'name': 'rbac'}

    def write(*chain):
        with open(path + '.new', 'w') as f: json.dump(authorizers(*chain), f)
        os.replace(path + '.new', path)
    def until(what, fn):
        deadline = time.time() + 60
        while not fn():
            if time.time() > deadline: raise AssertionError(what)
            time.sleep(0.1)
    get = lambda user, what: s.kubectl('get', '--raw', what, '--as', user, check=False)
    pods, conditions = '/api/v1/namespaces/default/pods', [{'expression': 'has(request.resourceAttributes) && request.resourceAttributes.namespace == "default"'}, {'expression': "request.user != 'bob'"}]
    write(webhook(hook, matchConditions=conditions, matchConditionSubjectAccessReviewVersion='v1'), rbac)
    s = Server(flags=['--authorization-config', path])
    same(get('ann', pods + '?labelSelector=a%3Db,c+in+(d,e),!f,g,h!%3Di,j%3E1&fieldSelector=spec.nodeName%3Dn,status.phase!%3DFailed').returncode, 0)
    spec = hook.asked[-1][1]['spec']['resourceAttributes']
    same(spec['fieldSelector']['requirements'], [{'key': 'spec.nodeName', 'operator': 'In', 'values': ['n']}, {'key': 'status.phase', 'operator': 'NotIn', 'values': ['Failed']}])
    same({(r['key'], r['operator'], ','.join(r.get('values', []))) for r in spec['labelSelector']['requirements']}, {('a', 'In', 'b'), ('c', 'In', 'd,e'), ('f', 'DoesNotExist', ''), ('g', 'Exists', ''), ('h', 'NotIn', 'i')})
    # conditions: about other namespaces, paths and this user it is not asked
    count = len(hook.asked)
    for user, what in ('ann', '/api/v1/namespaces/other/pods'), ('ann', '/metrics'), ('bob', pods): contains(get(user, what).stderr, 'forbidden')
    same(len(hook.asked), count)
    # selectors of a SubjectAccessReview go to it too
    doc = {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SubjectAccessReview', 'spec': {'user': 'ann', 'resourceAttributes': {'namespace': 'default', 'verb': 'list', 'resource': 'pods',
           'labelSelector': {'requirements': [{'key': 'x', 'operator': 'In', 'values': ['y']}, {'key': 'x', 'operator': 'Like', 'values': ['z']}]}, 'fieldSelector': {'rawSelector': 'a=b,c'}}}}
    answer = json.loads(s.kubectl('create', '--raw', '/apis/authorization.k8s.io/v1/subjectaccessreviews', '-f', '-', stdin=json.dumps(doc)).stdout)['status']
    same(answer, {'allowed': True, 'evaluationError': 'spec.resourceAttributes.fieldSelector ignored due to parse error; spec.resourceAttributes.labelSelector partially ignored due to parse error'})
    same(hook.asked[-1][1]['spec']['resourceAttributes']['labelSelector'], {'requirements': [{'key': 'x', 'operator': 'In', 'values': ['y']}]})
    # a change: another that denies what it cannot be asked about comes first; RBAC may not go away
    s.kubectl('create', 'clusterrolebinding', 'tom', '--clusterrole=cluster-admin', '--user=tom')
    write(webhook(hook))
    until('a refused change', lambda: 'missing required types: [RBAC]' in s.log_text())
    same(get('tom', pods).returncode, 0)
    strict.server.stop()
    write(webhook(strict, 'strict', failurePolicy='Deny', matchConditions=[{'expression': 'request.user == "tom"'}, {'expression': 'request.extra["k"][0] == "v"'}], matchConditionSubjectAccessReviewVersion='v1'), webhook(hook), rbac)
    until('a change', lambda: get('tom', pods).returncode)
    contains(get('tom', pods).stderr, "cel evaluation error: expression 'request.extra")
    same(get('ann', '/metrics').returncode, 0)
    metrics = s.kubectl('get', '--raw', '/metrics').stdout
    for part in ('authorization_decisions_total{decision="allowed",name="hook",type="Webhook"}', 'authorization_decisions_total{decision="denied",name="strict",type="Webhook"}', 'authorization_config_controller_automatic_reloads_total',
                 'authorization_match_condition_exclusions_total{name="hook",type="Webhook"}', 'authorization_match_condition_evaluation_errors_total{name="strict",type="Webhook"}',
                 'authorization_webhook_evaluations_total{name="hook",result="success"}'): contains(metrics, 'apiserver_' + part)
    s.remove()
    for flags, words in ((['--authorization-config', path, '--authorization-mode', 'RBAC'], '--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined'),
                         (['--authorization-config', '/nowhere'], '/nowhere')):
        try: Server(flags=flags).remove()
        except RuntimeError as e: contains(str(e), words)
        else: raise AssertionError(f'{flags} were taken')


def test_serving_certificates_change_without_a_restart():
    d = tempfile.mkdtemp(prefix='ckube-serving-')
    make_ca(d, 'ca')

    def serve(name):
        make_cert(d, 'new', 'ca', f'/CN={name}')
        for ext in 'key', 'crt': os.replace(f'{d}/new.{ext}', f'{d}/serving.{ext}')

    def subject():
        der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(('127.0.0.1', s.port)))
        return 'first' if b'first' in der else 'second' if b'second' in der else der

    def insecure(server): server.kubectl = lambda *a, **kw: Server.kubectl(server, '--insecure-skip-tls-verify', '--certificate-authority=', *a, **kw)
    serve('first')
    s = Server(flags=['--tls-cert-file', f'{d}/serving.crt', '--tls-private-key-file', f'{d}/serving.key'], prepare=insecure)
    same(subject(), 'first')
    serve('second')
    deadline = time.time() + 10
    while subject() != 'second' and time.time() < deadline: time.sleep(0.2)
    same(subject(), 'second')
    with open(f'{d}/serving.crt', 'w') as f: f.write('nothing')  # what cannot be read changes nothing
    time.sleep(2.5)
    same(subject(), 'second')
    s.remove()
