"""Who may do what: RBAC, impersonation, ServiceAccounts' and bootstrap tokens, certificates and front proxies, with the ways in that must stay shut."""
import base64, hashlib, hmac, json, os, shutil, ssl, subprocess, tempfile, time, urllib.error, urllib.request
from fixtures import make_ca, make_cert, openssl
from harness import Server, contains, same

server = None
AUDIT = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, nonResourceURLs: ["*"]}
- {level: RequestResponse, namespaces: [audit], resources: [{group: "", resources: [configmaps]}]}
- {level: Metadata, namespaces: [audit]}
- {level: Metadata, verbs: [list], resources: [{group: "", resources: [nodes]}]}
"""


def s():
    global server
    if not server:
        d = tempfile.mkdtemp(prefix='ckube-auth-')
        make_ca(d, 'proxy-ca')
        make_cert(d, 'proxy', 'proxy-ca', '/CN=front-proxy')
        make_cert(d, 'wrong-proxy', 'proxy-ca', '/CN=somebody')
        with open(f'{d}/tokens.csv', 'w') as f: f.write('static-secret-1,tom,42,"devs,testers"\n')
        with open(f'{d}/audit.yaml', 'w') as f: f.write(AUDIT)
        server = Server(flags=['--audit-policy-file', f'{d}/audit.yaml', '--audit-log-path', f'{d}/audit.log', '--requestheader-client-ca-file', f'{d}/proxy-ca.crt', '--requestheader-allowed-names', 'front-proxy', '--token-auth-file', f'{d}/tokens.csv'])
        server.certs = d
    return server


def ask(path, token=None, cert=None, headers=None, method='GET', body=None):
    """(code, document) of a request with exactly these credentials."""
    tls = ssl._create_unverified_context()
    if cert: tls.load_cert_chain(f'{cert}.crt', f'{cert}.key')
    h = {'Content-Type': 'application/json', **(headers or {})}
    if token: h['Authorization'] = 'Bearer ' + token
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(f'https://127.0.0.1:{s().port}{path}', data, h, method=method), context=tls, timeout=20) as r:
            text = r.read()
            return r.status, json.loads(text) if text[:1] == b'{' else text.decode()
    except urllib.error.HTTPError as e:
        text = e.read()
        return e.code, json.loads(text) if text[:1] == b'{' else text.decode()


def whoami(**kw):
    code, doc = ask('/apis/authentication.k8s.io/v1/selfsubjectreviews', method='POST', body={'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}, **kw)
    return doc['status']['userInfo'] if code == 201 else code


def fresh(name):
    s().kubectl('create', 'namespace', name)
    s().kubectl('create', 'serviceaccount', 'default', '-n', name)
    return name


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b'=').decode()


def parts_of(token):
    return [json.loads(base64.urlsafe_b64decode(p + '==')) for p in token.split('.')[:2]]


def test_anonymous_and_everybody_see_what_is_public():
    same(ask('/healthz')[0], 200)
    same(ask('/version')[0], 200)
    code, doc = ask('/api')
    same((code, doc['message']), (403, 'forbidden: User "system:anonymous" cannot get path "/api"'))
    same(ask('/metrics')[0], 403)
    same(ask('/api/v1/secrets')[1]['message'], 'secrets is forbidden: User "system:anonymous" cannot list resource "secrets" in API group "" at the cluster scope')
    same(ask('/api', token='static-secret-1')[0], 200)


def test_static_tokens():
    me = whoami(token='static-secret-1')
    same((me['username'], me['uid'], me['groups']), ('tom', '42', ['devs', 'testers', 'system:authenticated']))
    for bad in 'static-secret-2', 'static-secret-', 'static-secret-11', 'x', '.', 'a.b.c': same(whoami(token=bad), 401)


def test_can_i_and_whoami_as_upstream():
    ns = fresh('can-i')
    k = lambda *a, **kw: s().kubectl('-n', ns, *a, **kw)
    k('create', 'role', 'reader', '--verb=get,list', '--resource=pods,pods/log')
    k('create', 'rolebinding', 'reader', '--role=reader', '--user=ann')
    same(k('auth', 'can-i', 'list', 'pods', '--as', 'ann').stdout, 'yes\n')
    same(k('auth', 'can-i', 'delete', 'pods', '--as', 'ann', check=False).stdout, 'no\n')
    same(k('auth', 'can-i', 'get', 'pods/log', '--as', 'ann').stdout, 'yes\n')
    same(k('auth', 'can-i', 'get', 'pods', '--as', 'ann', '-A', check=False).stdout, 'no\n')
    same(k('auth', 'can-i', 'get', '/healthz', '--as', 'ann').stdout, 'yes\n')
    same(k('auth', 'can-i', '*', '*').stdout, 'yes\n')
    contains(k('auth', 'can-i', '--list', '--as', 'ann').stdout, 'pods/log')
    contains(k('auth', 'whoami').stdout, 'system:masters')
    contains(k('auth', 'whoami', '--as', 'jo', '--as-group', 'crew').stdout, 'crew')
    k('delete', 'rolebinding', 'reader')
    same(k('auth', 'can-i', 'list', 'pods', '--as', 'ann', check=False).stdout, 'no\n')


def test_nobody_grants_what_they_do_not_hold():
    ns = fresh('escalation')
    k = lambda *a, **kw: s().kubectl('-n', ns, *a, **kw)
    k('create', 'role', 'writer', '--verb=create,update,patch,get', '--resource=roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io')
    k('create', 'rolebinding', 'writer', '--role=writer', '--user=eve')
    for args in (['create', 'role', 'x', '--verb=get', '--resource=secrets'], ['create', 'role', 'x', '--verb=*', '--resource=*.*'],
                 ['create', 'rolebinding', 'x', '--clusterrole=cluster-admin', '--user=eve'], ['create', 'rolebinding', 'x', '--clusterrole=system:node', '--user=eve']):
        r = k(*args, '--as', 'eve', check=False)
        contains(r.stderr, 'is attempting to grant RBAC permissions not currently held')
    r = k('patch', 'role', 'writer', '--type=json', '-p', '[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}}]', '--as', 'eve', check=False)
    contains(r.stderr, 'not currently held')
    same(k('label', 'role', 'writer', 'a=b', '--as', 'eve').returncode, 0)
    contains(k('create', 'clusterrolebinding', 'x', '--clusterrole=cluster-admin', '--user=eve', '--as', 'eve', check=False).stderr, 'cannot create resource "clusterrolebindings"')


def test_impersonation_needs_its_rights():
    ns = fresh('impersonation')
    k = lambda *a, **kw: s().kubectl(*a, **kw)
    as_tom = lambda **h: whoami(token='static-secret-1', headers={k.replace('_', '-'): v for k, v in h.items()})
    same(as_tom(Impersonate_User='ann'), 403)
    same(as_tom(Impersonate_User='system:admin', Impersonate_Group='system:masters'), 403)
    same(as_tom(Impersonate_Group='system:masters'), 400)
    k('create', 'clusterrole', 'as-ann', '--verb=impersonate', '--resource=users', '--resource-name=ann')
    k('create', 'clusterrolebinding', 'as-ann', '--clusterrole=as-ann', '--user=tom')
    same(as_tom(Impersonate_User='ann')['username'], 'ann')
    same(as_tom(Impersonate_User='bob'), 403)
    same(as_tom(Impersonate_User='ann', Impersonate_Group='system:masters'), 403)
    same(as_tom(Impersonate_User='ann', Impersonate_Uid='1'), 403)
    same(as_tom(Impersonate_User='ann', Impersonate_Extra_Scopes='all'), 403)
    same(as_tom(Impersonate_User=f'system:serviceaccount:{ns}:default'), 403)
    code, doc = ask('/api/v1/nodes', token='static-secret-1', headers={'Impersonate-User': 'bob'})
    contains(doc['message'], 'users "bob" is forbidden: User "tom" cannot impersonate resource "users" in API group "" at the cluster scope')


def test_service_account_tokens():
    ns = fresh('tokens')
    k = lambda *a, **kw: s().kubectl('-n', ns, *a, **kw)
    token = k('create', 'token', 'default').stdout.strip()
    me = whoami(token=token)
    same(me['username'], f'system:serviceaccount:{ns}:default')
    same(me['groups'], ['system:serviceaccounts', f'system:serviceaccounts:{ns}', 'system:authenticated'])
    header, claims = parts_of(token)
    same((header['alg'], claims['exp'] - claims['iat'], claims['sub']), ('ES256', 3600, me['username']))
    for other in k('create', 'token', 'default', '--audience=vault').stdout.strip(), token[:-8] + 'AAAAAAAA', token + 'x', token.rsplit('.', 1)[0] + '.': same(whoami(token=other), 401)
    contains(k('create', 'token', 'default', '--duration=5m', check=False).stderr, 'may not specify a duration less than 10 minutes')
    k('create', '-f', '-', '--validate=false', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'p'}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}))
    bound = k('create', 'token', 'default', '--bound-object-kind=Pod', '--bound-object-name=p').stdout.strip()
    extra = whoami(token=bound)['extra']
    same(extra['authentication.kubernetes.io/pod-name'], ['p'])
    k('delete', 'pod', 'p', '--grace-period=0', '--force')
    same(whoami(token=bound), 401)
    same(whoami(token=token)['username'], me['username'])
    k('delete', 'serviceaccount', 'default')
    same(whoami(token=token), 401)
    k('create', 'serviceaccount', 'default')
    same(whoami(token=token), 401)


def test_forged_tokens_get_nobody_in():
    ns = fresh('forged')
    token = s().kubectl('-n', ns, 'create', 'token', 'default').stdout.strip()
    header, claims = parts_of(token)
    same(whoami(token=token)['username'], f'system:serviceaccount:{ns}:default')
    claims['sub'], claims['kubernetes.io']['namespace'] = 'system:serviceaccount:kube-system:default', 'kube-system'
    body = b64(claims)
    for alg in 'none', 'None', 'NONE', 'HS256': same(whoami(token=f'{b64({"alg": alg, "kid": header["kid"]})}.{body}.'), 401)
    jwks = ask('/openid/v1/jwks', token=token)[1]
    same(jwks['keys'][0]['kid'], header['kid'])
    for secret in json.dumps(jwks['keys'][0]), json.dumps(jwks), header['kid']: # the public key as an HMAC secret
        text = f'{b64({"alg": "HS256", "kid": header["kid"]})}.{body}'
        same(whoami(token=f'{text}.{b64(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}'), 401)
    same(whoami(token='.'.join([token.split('.')[0], body, token.split('.')[2]])), 401)
    same(whoami(token=f'{b64({"alg": "ES256", "kid": header["kid"]})}.{body}.{b64(bytes(64))}'), 401)
    d = s().certs
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', f'{d}/k.pem')
    text = f'{b64({"alg": "ES256", "jwk": jwks["keys"][0]})}.{body}'
    der = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', f'{d}/k.pem'], input=text.encode(), capture_output=True, check=True).stdout
    r_len = der[3]
    r, rest = der[4:4 + r_len], der[4 + r_len:]
    sig = r[-32:].rjust(32, b'\0') + rest[2:][-32:].rjust(32, b'\0')
    same(whoami(token=f'{text}.{b64(sig)}'), 401)


def test_certificates():
    d = s().certs
    make_cert(d, 'ann', 'client-ca', '/O=devs/O=testers/CN=ann', ca_dir=f'{s().dir}/tls')
    me = whoami(cert=f'{d}/ann')
    same((me['username'], me['groups']), ('ann', ['devs', 'testers', 'system:authenticated']))
    contains(me['extra']['authentication.kubernetes.io/credential-id'][0], 'X509SHA256=')
    make_ca(d, 'other-ca')
    make_cert(d, 'mallory', 'other-ca', '/O=system:masters/CN=admin')
    same(ask('/api/v1/secrets', cert=f'{d}/mallory')[0], 401)
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', f'{d}/self.key', '-out', f'{d}/self.crt', '-subj', '/O=system:masters/CN=admin', '-days', '2')
    same(ask('/api/v1/secrets', cert=f'{d}/self')[0], 401)
    make_cert(d, 'late', 'client-ca', '/O=system:masters/CN=admin', ca_dir=f'{s().dir}/tls', days='0')
    time.sleep(1.1)  # it ends in the second it was made in
    same(ask('/api/v1/secrets', cert=f'{d}/late')[0], 401)
    same(whoami(cert=f'{d}/mallory', token='static-secret-1')['username'], 'tom')
    same(whoami(cert=f'{d}/ann', token='nonsense')['username'], 'ann')


def test_front_proxies():
    d = s().certs
    remote = {'X-Remote-User': 'jo', 'X-Remote-Group': 'crew', 'X-Remote-Extra-Scopes': 'view', 'X-Remote-Uid': 'u-1'}
    me = whoami(cert=f'{d}/proxy', headers=remote)
    same((me['username'], me['uid'], me['groups'], me['extra']), ('jo', 'u-1', ['crew', 'system:authenticated'], {'scopes': ['view']}))
    same(whoami(cert=f'{d}/wrong-proxy', headers=remote), 401)
    same(whoami(cert=f'{d}/proxy'), 401)
    same(whoami(headers=remote), 403)
    make_cert(d, 'bob', 'client-ca', '/CN=front-proxy', ca_dir=f'{s().dir}/tls')
    same(whoami(cert=f'{d}/bob', headers={**remote, 'X-Remote-Group': 'system:masters'})['groups'], ['system:authenticated'])
    # the proxy's own certificate behind one whose key the client has: shown, but nothing proves that it is theirs
    with open(f'{d}/thief.crt', 'w') as f: f.write(open(f'{d}/wrong-proxy.crt').read() + open(f'{d}/proxy.crt').read())
    os.link(f'{d}/wrong-proxy.key', f'{d}/thief.key')
    same(whoami(cert=f'{d}/thief', headers=remote), 401)


def test_bootstrap_tokens():
    k = lambda *a, **kw: s().kubectl('-n', 'kube-system', *a, **kw)
    secret = {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'bootstrap-token-abcdef'}, 'type': 'bootstrap.kubernetes.io/token',
              'stringData': {'token-id': 'abcdef', 'token-secret': '0123456789abcdef', 'usage-bootstrap-authentication': 'true', 'auth-extra-groups': 'system:bootstrappers:kubeadm:default-node-token'}}
    k('create', '--validate=false', '-f', '-', stdin=json.dumps(secret))
    me = whoami(token='abcdef.0123456789abcdef')
    same((me['username'], me['groups']), ('system:bootstrap:abcdef', ['system:bootstrappers', 'system:bootstrappers:kubeadm:default-node-token', 'system:authenticated']))
    same(whoami(token='abcdef.0123456789abcdee'), 401)
    same(ask('/api/v1/secrets', token='abcdef.0123456789abcdef')[0], 403)
    k('delete', 'secret', 'bootstrap-token-abcdef')
    same(whoami(token='abcdef.0123456789abcdef'), 401)


def test_what_also_creates_needs_the_right_to_create():
    ns = fresh('creates')
    rules = [{'apiGroups': [''], 'resources': ['endpoints', 'pods/exec', 'pods/portforward'], 'verbs': ['get', 'update']}]
    s().kubectl('create', '--validate=false', '-f', '-', stdin=json.dumps({'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': 'Role', 'metadata': {'name': 'r', 'namespace': ns}, 'rules': rules}))
    s().kubectl('-n', ns, 'create', 'rolebinding', 'r', '--role=r', '--user=tom')
    body = {'apiVersion': 'v1', 'kind': 'Endpoints', 'metadata': {'name': 'e'}}
    code, doc = ask(f'/api/v1/namespaces/{ns}/endpoints/e', token='static-secret-1', method='PUT', body=body)
    same(code, 403, doc)
    code, doc = ask(f'/api/v1/namespaces/{ns}/pods/p/exec?command=id&stdout=true', token='static-secret-1')
    same((code, doc['message']), (403, f'pods "p" is forbidden: User "tom" cannot create resource "pods/exec" in API group "" in the namespace "{ns}"'))
    s().kubectl('-n', ns, 'patch', 'role', 'r', '--type=json', '-p', '[{"op":"add","path":"/rules/0/verbs/-","value":"create"}]')
    same(ask(f'/api/v1/namespaces/{ns}/endpoints/e', token='static-secret-1', method='PUT', body=body)[0], 201)
    same(ask(f'/api/v1/namespaces/{ns}/pods/p/exec?command=id&stdout=true', token='static-secret-1')[0], 404)


def audited():
    with open(f'{s().certs}/audit.log') as f: return [json.loads(line) for line in f]


def test_what_is_asked_is_audited():
    ns = fresh('audit')
    k = lambda *a, **kw: s().kubectl('-n', ns, *a, **kw)
    k('create', 'configmap', 'a', '--from-literal=k=v')
    k('get', 'configmap', 'a', '--as', 'nobody', check=False)
    k('create', 'secret', 'generic', 'hidden', '--from-literal=k=not-for-the-log')
    ask('/api/v1/nodes', token='forged')
    events = audited()
    created = [e for e in events if e['verb'] == 'create' and e.get('objectRef', {}).get('resource') == 'configmaps'][0]
    same((created['level'], created['stage'], created['user']['username'], created['responseStatus']['code']), ('RequestResponse', 'ResponseComplete', 'kubernetes-admin', 201))
    same((created['requestObject']['data'], created['responseObject']['data'], created['sourceIPs']), ({'k': 'v'}, {'k': 'v'}, ['127.0.0.1']))
    same(created['annotations']['authorization.k8s.io/decision'], 'allow')
    refused = [e for e in events if e.get('impersonatedUser', {}).get('username') == 'nobody'][0]
    same((refused['responseStatus']['code'], refused['responseStatus']['reason'], refused['annotations']['authorization.k8s.io/decision'], refused['objectRef']['name']), (403, 'Forbidden', 'forbid', 'a'))
    secret = [e for e in events if e.get('objectRef', {}).get('resource') == 'secrets'][0]
    same((secret['level'], 'requestObject' in secret), ('Metadata', False))
    forged = [e for e in events if e['verb'] == 'list' and e.get('objectRef', {}).get('resource') == 'nodes'][-1]
    same((forged['user'], forged['responseStatus']['code']), ({}, 401))
    assert 'bm90LWZvci10aGUtbG9n' not in json.dumps(events)


def test_other_servers_learn_whom_to_believe():
    data = s().json('-n', 'kube-system', 'get', 'configmap', 'extension-apiserver-authentication')['data']
    with open(f'{s().dir}/tls/client-ca.crt') as f: same(data['client-ca-file'], f.read())
    with open(f'{s().certs}/proxy-ca.crt') as f: same(data['requestheader-client-ca-file'], f.read())
    same((data['requestheader-allowed-names'], data['requestheader-username-headers']), ('["front-proxy"]', '["X-Remote-User"]'))


def test_default_policy_is_restored_at_start():
    global server
    k = s().kubectl
    k('delete', 'clusterrole', 'system:discovery')
    k('patch', 'clusterrole', 'system:basic-user', '--type=json', '-p', '[{"op":"remove","path":"/rules/0"}]')
    k('annotate', '--overwrite', 'clusterrole', 'system:public-info-viewer', 'rbac.authorization.kubernetes.io/autoupdate=false')
    k('patch', 'clusterrole', 'system:public-info-viewer', '--type=merge', '-p', '{"rules":[]}')
    same(ask('/version')[0], 403)
    s().stop()
    s().start()
    same(len(s().json('get', 'clusterrole', 'system:discovery')['rules']), 1)
    same(k('auth', 'can-i', 'create', 'selfsubjectrulesreviews', '--as', 'x').stdout, 'yes\n')
    same(s().json('get', 'clusterrole', 'system:public-info-viewer')['rules'], None)
    same(ask('/version')[0], 403)
    k('annotate', '--overwrite', 'clusterrole', 'system:public-info-viewer', 'rbac.authorization.kubernetes.io/autoupdate=true')
    s().stop()
    s().start()
    same(ask('/version')[0], 200)


def teardown():
    global server
    if server:
        code, _ = server.stop()
        same(code, 0, 'exit code on SIGTERM: ' + server.log_text())
        shutil.rmtree(server.certs, ignore_errors=True)
        server = None
