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
    finally: s.remove()
