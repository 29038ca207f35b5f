"""Admission policies and webhooks: what they change, what they refuse, and what happens when they fail."""
import base64, json, subprocess, tempfile
from fixtures import JsonServer
from harness import Server, contains, same


class Hook:
    """An HTTPS server on loopback that answers AdmissionReviews with what `answer` makes of the request."""

    def __init__(self, answer):
        self.dir = tempfile.mkdtemp(prefix='ckube-hook-')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', f'{self.dir}/key', '-out', f'{self.dir}/cert', '-days', '2', '-subj', '/CN=hook',
                        '-addext', 'subjectAltName=IP:127.0.0.1,DNS:hook.default.svc'], check=True, capture_output=True)
        self.reviews, self.answer = [], answer
        self.server = JsonServer(f'{self.dir}/cert', f'{self.dir}/key', self.take)
        self.port = self.server.port
        self.ca = base64.b64encode(open(f'{self.dir}/cert', 'rb').read()).decode()

    def take(self, path, review):
        self.reviews.append(review['request'])
        return 200, {'kind': 'AdmissionReview', 'apiVersion': review['apiVersion'], 'response': {'uid': review['request']['uid'], **self.answer(review['request'])}}

    def stop(self): self.server.stop()


def configuration(kind, hook, client=None, **more):
    client = {'caBundle': hook.ca, **(client or {'url': f'https://127.0.0.1:{hook.port}/review'})}
    rule = {'apiGroups': [''], 'apiVersions': ['v1'], 'operations': ['CREATE', 'UPDATE', 'DELETE'], 'resources': ['configmaps']}
    return json.dumps({'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': kind, 'metadata': {'name': 'hook'},
                       'webhooks': [{'name': 'hook.example.org', 'sideEffects': 'None', 'admissionReviewVersions': ['v1'], 'clientConfig': client, 'rules': [rule], **more}]})


def test_policies_refuse_warn_and_change():
    s = Server()
    try:
        rules = {'resourceRules': [{'apiGroups': [''], 'apiVersions': ['v1'], 'operations': ['CREATE', 'UPDATE'], 'resources': ['configmaps']}]}
        def make(kind, name, spec): s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': kind, 'metadata': {'name': name}, 'spec': spec}))
        s.kubectl('create', 'configmap', 'limits', '--from-literal=max=2')
        make('ValidatingAdmissionPolicy', 'few', {'matchConstraints': rules, 'paramKind': {'apiVersion': 'v1', 'kind': 'ConfigMap'}, 'variables': [{'name': 'n', 'expression': 'size(object.data)'}],
             'matchConditions': [{'name': 'users', 'expression': "request.userInfo.username != 'nobody' && !object.metadata.name.startsWith('exempt')"}],
             'validations': [{'expression': 'variables.n <= int(params.data.max)', 'messageExpression': "'at most ' + params.data.max + ' keys'", 'reason': 'Forbidden'}]})
        make('ValidatingAdmissionPolicyBinding', 'few', {'policyName': 'few', 'validationActions': ['Deny'], 'paramRef': {'name': 'limits', 'namespace': 'default', 'parameterNotFoundAction': 'Deny'}})
        keys = [f'--from-literal=k{i}=v' for i in range(3)]
        refused = s.kubectl('create', 'configmap', 'many', *keys, check=False)
        contains(refused.stderr, "ValidatingAdmissionPolicy 'few' with binding 'few' denied request: at most 2 keys")
        s.kubectl('create', 'configmap', 'exempt-many', *keys)
        s.kubectl('create', 'configmap', 'ok', *keys[:2])
        make('MutatingAdmissionPolicy', 'stamp', {'matchConstraints': rules, 'reinvocationPolicy': 'Never', 'mutations': [
            {'patchType': 'ApplyConfiguration', 'applyConfiguration': {'expression': "Object{metadata: Object.metadata{labels: {'stamped': 'yes'}}}"}},
            {'patchType': 'JSONPatch', 'jsonPatch': {'expression': "[JSONPatch{op: 'add', path: '/data/added', value: object.metadata.name}]"}}]})
        make('MutatingAdmissionPolicyBinding', 'stamp', {'policyName': 'stamp'})
        s.kubectl('create', 'configmap', 'new', keys[0])
        got = s.json('get', 'configmap', 'new')
        same((got['metadata']['labels'], got['data']), ({'stamped': 'yes'}, {'k0': 'v', 'added': 'new'}))
        wrong = s.kubectl('create', '-f', '-', check=False, stdin=json.dumps({'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': 'ValidatingAdmissionPolicy', 'metadata': {'name': 'wrong'},
                          'spec': {'matchConstraints': rules, 'validations': [{'expression': 'object.nope('}]}}))
        contains(wrong.stderr, 'compilation failed: ERROR: <input>:1:13: Syntax error')
    finally: s.remove()


def test_webhooks_are_asked_and_obeyed():
    s = Server()
    patch = base64.b64encode(json.dumps([{'op': 'add', 'path': '/data/hooked', 'value': 'yes'}]).encode()).decode()
    def answer(request):
        if request['operation'] == 'DELETE': return {'allowed': request['oldObject']['metadata']['name'] != 'kept', 'status': {'code': 403, 'message': 'this one stays', 'reason': 'Forbidden'}}
        return {'allowed': True, 'patch': patch, 'patchType': 'JSONPatch', 'warnings': ['careful']}
    hook = Hook(answer)
    try:
        s.kubectl('create', '-f', '-', stdin=configuration('MutatingWebhookConfiguration', hook, matchConditions=[{'name': 'mine', 'expression': "request.namespace == 'default'"}]))
        made = s.kubectl('create', 'configmap', 'kept', '--from-literal=a=b')
        contains(made.stderr, 'careful')
        same(s.json('get', 'configmap', 'kept')['data'], {'a': 'b', 'hooked': 'yes'})
        review = hook.reviews[0]
        same((review['operation'], review['resource'], review['object']['data'], review['userInfo']['groups'][0]), ('CREATE', {'group': '', 'version': 'v1', 'resource': 'configmaps'}, {'a': 'b'}, 'system:masters'))
        contains(s.kubectl('delete', 'configmap', 'kept', check=False).stderr, 'admission webhook "hook.example.org" denied the request: this one stays')
        s.kubectl('create', 'configmap', 'gone', '--from-literal=a=b')
        s.kubectl('delete', 'configmap', 'gone')
        count = len(hook.reviews)
        s.kubectl('create', 'configmap', 'elsewhere', '--from-literal=a=b', '-n', 'kube-public')
        same(len(hook.reviews), count, 'a match condition keeps requests from the webhook')
    finally:
        hook.stop()
        s.remove()


def test_webhooks_that_fail():
    s = Server()
    hook = Hook(lambda request: {'allowed': False})
    try:
        s.kubectl('create', 'service', 'clusterip', 'hook', '--tcp=443:8443')
        text = configuration('ValidatingWebhookConfiguration', hook, {'service': {'name': 'hook', 'namespace': 'default', 'path': '/review'}})
        s.kubectl('create', '-f', '-', stdin=text)
        contains(s.kubectl('create', 'configmap', 'a', check=False).stderr, 'no endpoints available for service "hook"')
        s.kubectl('replace', '-f', '-', stdin=configuration('ValidatingWebhookConfiguration', hook))
        contains(s.kubectl('create', 'configmap', 'a', check=False).stderr, 'admission webhook "hook.example.org" denied the request without explanation')
        hook.stop()
        contains(s.kubectl('create', 'configmap', 'a', check=False).stderr, 'failed calling webhook "hook.example.org"')
        s.kubectl('replace', '-f', '-', stdin=configuration('ValidatingWebhookConfiguration', hook, failurePolicy='Ignore'))
        s.kubectl('create', 'configmap', 'a')
        s.kubectl('replace', '-f', '-', stdin=configuration('ValidatingWebhookConfiguration', hook, objectSelector={'matchLabels': {'x': 'y'}}))
        s.kubectl('create', 'configmap', 'b')
        text = s.kubectl('get', '--raw', '/metrics').stdout
        rejections = 'apiserver_admission_webhook_rejection_count{error_type="%s",name="hook.example.org",operation="CREATE",rejection_code="%d",type="validating"} %d\n'
        contains(text, rejections % ('no_error', 400, 1))
        contains(text, rejections % ('calling_webhook_error', 503, 2))
        contains(text, 'apiserver_admission_webhook_fail_open_count{name="hook.example.org",type="validating"} 1\n')
        contains(text, 'apiserver_admission_webhook_request_total{code="503",name="hook.example.org",operation="CREATE",rejected="false",type="validating"} 1\n')
        contains(text, 'apiserver_admission_webhook_admission_duration_seconds_count{name="hook.example.org",operation="CREATE",rejected="true",type="validating"} 3\n')
    finally: s.remove()


def policy(s, name, *, rules, actions=('Deny',), kind='Validating', reinvocation=None, **spec):
    make = lambda what, body: s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': what, 'metadata': {'name': name}, 'spec': body}))
    make(f'{kind}AdmissionPolicy', {'matchConstraints': {'resourceRules': [{'apiVersions': ['*'], **r} for r in rules]}, **({'reinvocationPolicy': reinvocation} if reinvocation else {}), **spec})
    make(f'{kind}AdmissionPolicyBinding', {'policyName': name, **({'validationActions': list(actions)} if kind == 'Validating' else {})})


CONFIGMAPS = {'apiGroups': [''], 'operations': ['CREATE', 'UPDATE'], 'resources': ['configmaps']}


def test_expressions_ask_the_authorizer():
    s = Server()
    try:
        s.kubectl('create', 'clusterrole', 'makes', '--verb=create,get', '--resource=configmaps')
        s.kubectl('create', 'clusterrolebinding', 'makes', '--clusterrole=makes', '--user=ann', '--user=bob')
        s.kubectl('create', 'clusterrole', 'trusted', '--verb=trust', '--resource=configmaps')
        s.kubectl('create', 'clusterrolebinding', 'trusted', '--clusterrole=trusted', '--user=ann')
        policy(s, 'trust', rules=[CONFIGMAPS], variables=[{'name': 'd', 'expression': "authorizer.group('').resource('configmaps').namespace('default').check('trust')"}],
               matchConditions=[{'name': 'not-admins', 'expression': "!authorizer.path('/metrics').check('get').allowed()"}],
               validations=[{'expression': "variables.d.allowed() && authorizer.requestResource.check('create').allowed()", 'message': 'not trusted'}])
        contains(s.kubectl('create', 'configmap', 'a', '--as=bob', check=False).stderr, 'denied request: not trusted')
        s.kubectl('create', 'configmap', 'a', '--as=ann')
        s.kubectl('create', 'configmap', 'b')
        wrong = s.kubectl('create', '-f', '-', check=False, stdin=json.dumps({'apiVersion': 'admissionregistration.k8s.io/v1', 'kind': 'ValidatingAdmissionPolicy', 'metadata': {'name': 'w'}, 'spec': {
            'matchConstraints': {'resourceRules': [{**CONFIGMAPS, 'apiVersions': ['v1']}]}, 'validations': [{'expression': 'true', 'messageExpression': "authorizer.path('/x').check('get').reason()"}]}}))
        contains(wrong.stderr, "undeclared reference to 'authorizer'")
    finally: s.remove()


def test_policies_and_webhooks_leave_traces_in_the_audit_log():
    def audit(s):
        with open(f'{s.dir}/policy.yaml', 'w') as f: f.write('apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Request, verbs: [create], resources: [{group: "", resources: [configmaps]}]}]\n')
        s.flags += ['--audit-policy-file', f'{s.dir}/policy.yaml', '--audit-log-path', f'{s.dir}/audit.log']
    patch = [{'op': 'add', 'path': '/data/hooked', 'value': 'yes'}]
    hook = Hook(lambda request: {'allowed': True, 'patch': base64.b64encode(json.dumps(patch).encode()).decode(), 'patchType': 'JSONPatch', 'auditAnnotations': {'seen': 'it'}})
    dead = Hook(lambda request: {'allowed': True})
    s = Server(prepare=audit)
    try:
        dead.stop()
        s.kubectl('create', '-f', '-', stdin=configuration('MutatingWebhookConfiguration', hook))
        s.kubectl('create', '-f', '-', stdin=configuration('ValidatingWebhookConfiguration', dead, failurePolicy='Ignore'))
        policy(s, 'first', rules=[CONFIGMAPS], actions=('Audit', 'Warn'), validations=[{'expression': 'true'}, {'expression': "!has(object.data.bad)", 'message': 'a bad key'}],
               auditAnnotations=[{'key': 'keys', 'valueExpression': "string(size(object.data)) + ' keys'"}, {'key': 'nothing', 'valueExpression': "''"}])
        policy(s, 'second', rules=[CONFIGMAPS], validations=[{'expression': "object.metadata.name != 'denied'", 'message': 'denied'}])
        policy(s, 'third', rules=[CONFIGMAPS], actions=('Warn',), validations=[{'expression': "object.metadata.name != 'denied'", 'message': 'warned all the same'}])
        contains(s.kubectl('create', 'configmap', 'bad', '--from-literal=bad=x').stderr, "Validation failed for ValidatingAdmissionPolicy 'first' with binding 'first': a bad key")
        refused = s.kubectl('create', 'configmap', 'denied', '--from-literal=a=x', check=False).stderr
        contains(refused, "ValidatingAdmissionPolicy 'second' with binding 'second' denied request: denied")
        contains(refused, 'warned all the same')  # the policies behind the one that denies are run too
        notes = [json.loads(line)['annotations'] for line in open(f'{s.dir}/audit.log')]
        same(notes[0]['first/keys'], '2 keys')
        assert 'first/nothing' not in notes[0], notes[0]
        same(json.loads(notes[0]['validation.policy.admission.k8s.io/validation_failure']), [{'message': 'a bad key', 'policy': 'first', 'binding': 'first', 'expressionIndex': 1, 'validationActions': ['Audit', 'Warn']}])
        same(notes[0]['hook.example.org/seen'], 'it')
        same(json.loads(notes[0]['mutation.webhook.admission.k8s.io/round_0_index_0']), {'configuration': 'hook', 'webhook': 'hook.example.org', 'mutated': True})
        same(json.loads(notes[0]['patch.webhook.admission.k8s.io/round_0_index_0']), {'configuration': 'hook', 'webhook': 'hook.example.org', 'patch': patch, 'patchType': 'JSONPatch'})
        same(notes[0]['failed-open.validating.webhook.admission.k8s.io/round_0_index_0'], 'hook.example.org')
    finally:
        hook.stop()
        s.remove()


def test_what_is_changed_is_shown_to_all_once_more():
    """A webhook adds a container; LimitRanger then gives it its defaults, and a policy that asks for it is run again."""
    container = {'name': 'added', 'image': 'x'}
    hook = Hook(lambda request: {'allowed': True, **({} if len(request['object']['spec']['containers']) > 1 else {'patchType': 'JSONPatch', 'patch': base64.b64encode(json.dumps([{'op': 'add', 'path': '/spec/containers/-', 'value': container}]).encode()).decode()})})
    s = Server()
    try:
        s.kubectl('create', 'serviceaccount', 'default', check=False)
        s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'LimitRange', 'metadata': {'name': 'l'}, 'spec': {'limits': [{'type': 'Container', 'defaultRequest': {'cpu': '100m'}}]}}))
        pods = {'apiGroups': [''], 'operations': ['CREATE'], 'resources': ['pods']}
        count = lambda name, again: policy(s, name, rules=[pods], kind='Mutating', reinvocation=again, mutations=[{'patchType': 'ApplyConfiguration', 'applyConfiguration': {
            'expression': f"Object{{metadata: Object.metadata{{annotations: {{'{name}': string(size(object.spec.containers))}}}}}}"}}])
        count('once', 'Never')
        count('again', 'IfNeeded')
        s.kubectl('create', '-f', '-', stdin=configuration('MutatingWebhookConfiguration', hook, reinvocationPolicy='IfNeeded', rules=[{**pods, 'apiVersions': ['v1']}]))
        made = json.loads(s.kubectl('create', '-f', '-', '-o', 'json', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'p'}, 'spec': {'containers': [{'name': 'c', 'image': 'x'}]}})).stdout)
        same([c['resources'] for c in made['spec']['containers']], [{'requests': {'cpu': '100m'}}] * 2)
        same({k: made['metadata']['annotations'][k] for k in ('once', 'again')}, {'once': '1', 'again': '2'})
        same([len(r['object']['spec']['containers']) for r in hook.reviews], [1, 2], 'the webhook asks to be called again')
    finally:
        hook.stop()
        s.remove()


def test_scales_evictions_bindings_tokens_and_connections_are_admitted_as_such():
    reviews = []
    def answer(request):
        reviews.append((request['operation'], request['kind']['kind'], request['resource']['resource'], request.get('subResource')))
        return {'allowed': request.get('subResource') != 'exec', 'status': {'code': 403, 'message': 'nobody runs commands here'}}
    hook = Hook(answer)
    s = Server()
    try:
        s.kubectl('create', 'serviceaccount', 'default', check=False)
        s.kubectl('create', 'deployment', 'd', '--image=x')
        s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'p'}, 'spec': {'containers': [{'name': 'c', 'image': 'x'}]}}))
        rules = [{'apiGroups': ['*'], 'apiVersions': ['*'], 'operations': ['*'], 'resources': ['pods/*', 'deployments/*', 'serviceaccounts/token']}]
        s.kubectl('create', '-f', '-', stdin=configuration('ValidatingWebhookConfiguration', hook, rules=rules))
        s.kubectl('scale', 'deployment', 'd', '--replicas=3')
        same(s.json('get', 'deployment', 'd')['spec']['replicas'], 3)
        s.kubectl('create', 'token', 'default')
        s.kubectl('create', '--raw', '/api/v1/namespaces/default/pods/p/binding', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'p'}, 'target': {'kind': 'Node', 'name': 'n'}}))
        contains(s.kubectl('create', '--raw', '/api/v1/namespaces/default/pods/p/exec?command=ls&stdout=true', '-f', '-', stdin='', check=False).stderr, 'nobody runs commands here')
        s.kubectl('create', '--raw', '/api/v1/namespaces/default/pods/p/eviction', '-f', '-', stdin=json.dumps({'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'p', 'namespace': 'default'}}))
        same(reviews, [('UPDATE', 'Scale', 'deployments', 'scale'), ('CREATE', 'TokenRequest', 'serviceaccounts', 'token'), ('CREATE', 'Binding', 'pods', 'binding'), ('CONNECT', 'PodExecOptions', 'pods', 'exec'), ('CREATE', 'Eviction', 'pods', 'eviction')])
    finally:
        hook.stop()
        s.remove()
