"""What all resources share, as a client sees it: bodies of other kinds, what Accept may say, options of lists and deletions, patches that say another type."""
import http.client, json, ssl
from harness import Server

server = None
CONFIGMAPS = '/api/v1/namespaces/default/configmaps'
JSON, MERGE, JSON_PATCH, STRATEGIC = 'application/json', 'application/merge-patch+json', 'application/json-patch+json', 'application/strategic-merge-patch+json'


def s():
    global server
    if server is None: server = Server()
    return server


def teardown():
    if server: server.remove()


def ask(method, path, body=None, kind=JSON, accept=JSON, raw=False):
    """(code, headers, the answer as a document or as text)."""
    tls = ssl._create_unverified_context()
    tls.load_cert_chain(f'{s().dir}/tls/admin.crt', f'{s().dir}/tls/admin.key')
    c = http.client.HTTPSConnection('127.0.0.1', s().port, context=tls, timeout=60)
    headers = {'Accept': accept}
    if body is not None: headers['Content-Type'] = kind
    c.request(method, path, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body), headers)
    r = c.getresponse()
    data = r.read().decode()
    c.close()
    return r.status, r.headers, json.loads(data) if 'json' in r.headers.get('Content-Type', '') and not raw else data


def play(cases):
    """Each: (method, path, body, content type, accept, code, what the message or the text has in it)."""
    for method, path, body, kind, accept, code, says in cases:
        got, _, answer = ask(method, path, body, kind, accept)
        text = answer.get('message', '') if isinstance(answer, dict) else answer
        assert got == code and says in text, (method, path, body, kind, accept, got, answer)


def configmap(name, **metadata):
    return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': name, **metadata}, 'data': {'a': 'b'}}


def test_what_a_body_says_it_is():
    play([
        ('POST', CONFIGMAPS, {'apiVersion': 'v1', 'kind': 'Foo'}, JSON, JSON, 400, 'Foo in version "v1" cannot be handled as a ConfigMap: no kind "Foo" is registered for version "v1" in scheme'),
        ('POST', CONFIGMAPS, {'apiVersion': 'apps/v1', 'kind': 'ConfigMap'}, JSON, JSON, 400, 'no kind "ConfigMap" is registered for version "apps/v1"'),
        ('POST', CONFIGMAPS, {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'x'}}, JSON, JSON, 400, 'Deployment in version "v1" cannot be handled as a ConfigMap: converting (v1.Deployment)'),
        ('POST', CONFIGMAPS, {'apiVersion': 'a/b/c', 'kind': 'ConfigMap'}, JSON, JSON, 400, 'the object provided is unrecognized (must be of type ConfigMap): unexpected GroupVersion string: a/b/c ({"apiVersion": "a/b/c", "kind" ...)'),
        ('POST', CONFIGMAPS, '', JSON, JSON, 400, '(<empty>)'), ('POST', CONFIGMAPS, '[]', JSON, JSON, 400, '(5b5d)'),
        ('POST', CONFIGMAPS, '{}', 'application/vnd.kubernetes.protobuf', JSON, 400, 'expected prefix [107 56 115 0] ({})'),
        ('POST', CONFIGMAPS, {}, 'application/json;;', JSON, 415, 'unknown format'), ('POST', CONFIGMAPS + '?dryRun=no', {}, 'text/plain', JSON, 415, 'unknown format'),
        ('POST', CONFIGMAPS, configmap('surrogate', annotations={'x': '\ud800'}), JSON, JSON, 201, ''), # stands for U+FFFD
    ])


def test_a_created_object_has_no_version_yet():
    assert ask('POST', CONFIGMAPS, configmap('there'))[0] == 201
    play([
        ('POST', CONFIGMAPS, configmap('with-version', resourceVersion='5'), JSON, JSON, 500, 'resourceVersion should not be set on objects to be created'),
        ('POST', CONFIGMAPS, configmap('Bad Name', resourceVersion='5'), JSON, JSON, 422, 'metadata.name: Invalid value'), # is validated first
        ('POST', CONFIGMAPS, configmap('there', resourceVersion='no number'), JSON, JSON, 409, 'already exists'),
        ('POST', CONFIGMAPS + '?dryRun=All', configmap('with-version', resourceVersion='5'), JSON, JSON, 201, ''),
        ('PUT', CONFIGMAPS + '/there', configmap('there', uid='other'), JSON, JSON, 409, 'StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/there, ResourceVersion: 0'),
    ])
    code, headers, answer = ask('POST', CONFIGMAPS, configmap('there', generateName='g-'))
    assert code == 409 and answer['message'].endswith('already exists, the server was not able to generate a unique name for the object') and headers['Retry-After'] == '1', (code, answer)


def test_a_patch_that_says_another_type():
    assert ask('POST', CONFIGMAPS, configmap('patched'))[0] == 201
    at = CONFIGMAPS + '/patched'
    play([
        ('PATCH', at, {'kind': 'Foo'}, MERGE, JSON, 422, 'no kind "Foo" is registered'), ('PATCH', at, {'kind': 'Pod'}, MERGE, JSON, 422, 'unknown conversion'),
        ('PATCH', at, {'apiVersion': None}, MERGE, JSON, 400, 'the name of the object (patched based on URL) was undeterminable'),
        ('PATCH', at, {'apiVersion': 'foo/v1', 'kind': 'Pod'}, STRATEGIC, JSON, 200, ''), # maps become the object whatever they say
        ('PATCH', at, 'null', JSON_PATCH, JSON, 200, ''), ('PATCH', at, 'null', STRATEGIC, JSON, 200, ''), ('PATCH', at, '', MERGE, JSON, 400, 'error decoding patch: '),
        ('PATCH', at + '?fieldValidation=Strict', '[{"op":"add","path":"/data/z","value":"1","foo":1}]', JSON_PATCH, JSON, 422, 'strict decoding error: json patch unknown field "[0].foo"'),
        ('PATCH', at, {}, JSON, JSON, 415, '415: Unsupported Media Type'),
    ])
    _, headers, answer = ask('PATCH', at, '[{"op":"add","path":"/data/z","value":"1","value":"2"}]', JSON_PATCH)
    assert answer['data']['z'] == '2' and 'json patch duplicate field' in headers['Warning'], (answer, headers['Warning'])


def test_accept():
    play([
        ('GET', CONFIGMAPS + '/none', None, None, 'APPLICATION/JSON', 406, '406: Not Acceptable'), ('GET', CONFIGMAPS + '/none', None, None, 'application/*', 406, '406: Not Acceptable'),
        ('GET', CONFIGMAPS + '/none', None, None, 'application/json;as=', 404, ''), ('PUT', CONFIGMAPS + '/none', {}, 'text/plain', 'text/html', 406, '406: Not Acceptable'),
        ('GET', '/api/v1/nothings', None, None, 'application/yaml', 404, 'message: the server could not find the requested resource'),
        ('GET', CONFIGMAPS + '?limit=x', None, None, 'application/yaml;as=Table;v=v1;g=meta.k8s.io', 400, 'strconv.ParseInt'), # an error has no other form
        ('GET', CONFIGMAPS + '?watch=1', None, None, 'application/yaml', 406, 'only the following media types are accepted: application/json;stream=watch'),
        ('GET', '/apis//apps/v1/deployments', None, None, JSON, 404, '404 page not found'), ('GET', '/api//v1/pods', None, None, JSON, 404, 'could not find the requested resource'),
    ])
    assert ask('GET', '/nothing')[1]['X-Content-Type-Options'] == 'nosniff'
    assert ask('POST', '/healthz', '')[0] == 200


def test_options_of_lists_and_deletions():
    assert ask('POST', CONFIGMAPS, configmap('kept'))[0] == 201
    play([
        ('DELETE', CONFIGMAPS + '?limit=x', None, None, JSON, 400, 'strconv.ParseInt'), ('DELETE', CONFIGMAPS + '?sendInitialEvents=', None, None, JSON, 422, 'sendInitialEvents is forbidden for list'),
        ('DELETE', CONFIGMAPS + '?continue=x', None, None, JSON, 400, 'continue key is not valid'), ('DELETE', CONFIGMAPS + '?resourceVersionMatch=Exact', None, None, JSON, 422, 'resourceVersionMatch is forbidden'),
        ('DELETE', CONFIGMAPS + '/kept', {'kind': 'Foo'}, JSON, JSON, 400, 'no kind "Foo" is registered for version "meta.k8s.io/v1"'),
        ('DELETE', CONFIGMAPS + '/kept?propagationPolicy=', None, None, JSON, 422, 'propagationPolicy: Unsupported value: ""'),
        ('DELETE', CONFIGMAPS + '/kept?dryRun=%3C', None, None, JSON, 422, 'dryRun: Unsupported value: ["\\u003c"]'),
        ('GET', CONFIGMAPS + '/kept?export=1', None, None, JSON, 400, 'the export parameter'),
        ('GET', CONFIGMAPS + '?watch=1&continue=x', None, None, JSON, 422, 'resourceVersionMatch is forbidden when continue is provided'),
        ('GET', CONFIGMAPS + '?resourceVersion=99999999', None, None, JSON, 504, 'Timeout: Too large resource version: 99999999'),
    ])
    for none in '', '&resourceVersion=0': # neither what there is nor what was: only what comes
        answer = ask('GET', CONFIGMAPS + '?watch=1&timeoutSeconds=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan' + none, accept='application/json;stream=watch', raw=True)
        assert answer[0] == 200 and answer[2] == '', answer
    assert ask('GET', CONFIGMAPS + '/kept?watch=1')[2]['kind'] == 'ConfigMap' # one object is got, not watched
    gone = ask('DELETE', CONFIGMAPS + '/kept?orphanDependents=')[2]
    assert gone['metadata']['finalizers'] == ['orphan'], gone # a flag without a value is set


def test_a_stateful_set_that_names_its_strategy_gets_no_rest_of_it():
    at = '/apis/apps/v1/namespaces/default/statefulsets'
    template = {'metadata': {'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}
    for name, given, want in (('named', {'updateStrategy': {'type': 'RollingUpdate'}}, {'type': 'RollingUpdate'}), ('unnamed', {}, {'type': 'RollingUpdate', 'rollingUpdate': {'partition': 0}})):
        code, _, made = ask('POST', at, {'metadata': {'name': name}, 'spec': {'serviceName': 's', 'selector': {'matchLabels': {'a': 'b'}}, 'template': template, **given}})
        assert code == 201 and made['spec']['updateStrategy'] == want, made


def test_an_update_drops_the_name_that_was_generated_from():
    _, _, made = ask('POST', CONFIGMAPS, {'metadata': {'generateName': 'from-'}})
    name = made['metadata']['name']
    assert 'generateName' not in ask('PUT', f'{CONFIGMAPS}/{name}', configmap(name))[2]['metadata']


def test_a_dry_run_answers_what_would_be_read():
    job = {'metadata': {'name': 'j'}, 'spec': {'template': {'spec': {'restartPolicy': 'Never', 'containers': [{'name': 'c', 'image': 'i'}]}}}}
    code, _, made = ask('POST', '/apis/batch/v1/namespaces/default/jobs?dryRun=All', job)
    assert code == 201 and made['metadata']['labels']['job-name'] == 'j', made # of its template, which a Job without labels takes over when it is read
