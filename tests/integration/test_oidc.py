"""Users by tokens of OpenID Connect issuers, by flags and by --authentication-config: who gets in, and the tokens that must not."""
import json, os, ssl, tempfile, time, urllib.error, urllib.request
from harness import Server, contains, same
from issuer import Issuer, Key, b64, hs256

REVIEW = {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}


def whoami(s, token=None):
    """The user that a token makes, or the code of the refusal."""
    tls, h = ssl._create_unverified_context(), {'Content-Type': 'application/json', **({'Authorization': f'Bearer {token}'} if token else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(f'https://127.0.0.1:{s.port}/apis/authentication.k8s.io/v1/selfsubjectreviews', json.dumps(REVIEW).encode(), h), context=tls, timeout=60) as r:
            return json.load(r)['status']['userInfo']
    except urllib.error.HTTPError as e: return e.code


def path_code(s, path):
    try: return urllib.request.urlopen(f'https://127.0.0.1:{s.port}{path}', context=ssl._create_unverified_context(), timeout=60).status
    except urllib.error.HTTPError as e: return e.code


def until(what, fn, want, seconds=60):
    """Polls until fn() is what is wanted."""
    deadline = time.time() + seconds
    while True:
        got = fn()
        if (want(got) if callable(want) else got == want): return got
        if time.time() > deadline: raise AssertionError(f'{what}: still {got!r}')
        time.sleep(0.1)


def why(s, token):
    """What a TokenReview says is wrong with a token."""
    body = json.dumps({'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenReview', 'spec': {'token': token}})
    return json.loads(s.kubectl('create', '--raw', '/apis/authentication.k8s.io/v1/tokenreviews', '-f', '-', stdin=body).stdout)['status']


def config_file(config):
    f = tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='ckube-authn-', delete=False)
    json.dump({'apiVersion': 'apiserver.config.k8s.io/v1', 'kind': 'AuthenticationConfiguration', **config}, f)
    f.close()
    return f.name


def rewrite(path, config):
    with open(path + '.new', 'w') as f: json.dump({'apiVersion': 'apiserver.config.k8s.io/v1', 'kind': 'AuthenticationConfiguration', **config}, f)
    os.replace(path + '.new', path)


def jwt(issuer, **more):
    return {'issuer': {'url': issuer.url, 'certificateAuthority': issuer.ca_pem(), 'audiences': ['kubernetes']}, 'claimMappings': {'username': {'claim': 'sub', 'prefix': ''}}, **more}


def refused_at_start(words, *flags):
    try: Server(flags=list(flags)).remove()
    except RuntimeError as e: contains(str(e), words)
    else: raise AssertionError(f'{flags} were taken')


def test_tokens_of_an_issuer_by_flags():
    i = Issuer()
    good, other, weak = Key(i.dir, 'good'), Key(i.dir, 'other'), Key(i.dir, 'weak', bits=1024)
    i.keys = [good, weak, {'kty': 'oct', 'kid': 'secret', 'k': 'c2VjcmV0'}]
    s = Server(flags=['--oidc-issuer-url', i.url, '--oidc-client-id', 'kubernetes', '--oidc-ca-file', i.ca, '--oidc-groups-claim', 'roles', '--oidc-groups-prefix', 'oidc:', '--oidc-required-claim', 'hd=example.org',
                      '--oidc-required-claim', 'tier=gold', '--oidc-signing-algs', 'RS256,PS256'])
    claims = lambda **more: i.claims(**{'hd': 'example.org', 'tier': 'gold', **more})
    me = until('the issuer is discovered', lambda: whoami(s, good.sign(claims(roles=['a', 'b'], jti='id-1'))), lambda u: u != 401)
    same((me['username'], me['groups'], me['extra']), (f'{i.url}#ann', ['oidc:a', 'oidc:b', 'system:authenticated'], {'authentication.kubernetes.io/credential-id': ['JTI=id-1']}))
    same(whoami(s, good.sign(claims(roles='one')))['groups'], ['oidc:one', 'system:authenticated'])
    same(whoami(s, good.sign(claims(), alg='PS256'))['username'], f'{i.url}#ann')
    same(whoami(s, good.sign(claims(aud=['x', 'kubernetes']), kid=False))['username'], f'{i.url}#ann')
    # real kubectl with such a token, and RBAC for what it says
    s.kubectl('create', 'clusterrole', 'reader', '--verb=get,list', '--resource=pods')
    s.kubectl('create', 'clusterrolebinding', 'readers', '--clusterrole=reader', '--group=oidc:readers')
    token = good.sign(claims(roles=['readers']))
    config = json.loads(s.kubectl('config', 'view', '--raw', '-o', 'json').stdout)
    config['users'] = [{'name': u['name'], 'user': {'token': token}} for u in config['users']]
    kubeconfig = f'{s.dir}/ann.kubeconfig'
    with open(kubeconfig, 'w') as f: json.dump(config, f)
    same(s.kubectl('--kubeconfig', kubeconfig, 'get', 'pods').returncode, 0)
    contains(s.kubectl('--kubeconfig', kubeconfig, 'get', 'secrets', check=False).stderr, f'User "{i.url}#ann" cannot list resource "secrets"')
    contains(s.kubectl('--kubeconfig', kubeconfig, 'auth', 'whoami').stdout, 'oidc:readers')
    # those that must not get in
    now = int(time.time())
    sig = token.rsplit('.', 1)[1]
    bad = {'expired': good.sign(claims(exp=now - 10)), 'without an end': good.sign(claims(exp=None)), 'not yet': good.sign(claims(nbf=now + 600)), 'for others': good.sign(claims(aud='other')), 'for nobody': good.sign(claims(aud=None)),
           'of another issuer': good.sign(claims(iss='https://evil.example')), 'forged': other.sign(claims(), kid='good'), 'of an unknown key': other.sign(claims()), 'with a weak key': weak.sign(claims()),
           'alg none': f"{b64({'alg': 'none'})}.{b64(claims())}.", 'alg none with a signature': f"{b64({'alg': 'none', 'kid': 'good'})}.{b64(claims())}.{sig}", 'key confused': hs256(good.public, claims(), 'good'),
           'with the secret that is published': hs256(b'secret', claims(), 'secret'), 'of an algorithm that is not allowed': good.sign(claims(), alg='RS512'), 'changed': '.'.join([token.split('.')[0], b64(claims(sub='root')), sig]),
           'without a user': good.sign(claims(sub=None)), 'with a number for a user': good.sign(claims(sub=7)), 'without a required claim': good.sign(claims(hd=None)), 'with a wrong claim': good.sign(claims(tier='iron')),
           'with groups of the wrong kind': good.sign(claims(roles=[1])), 'critical': good.sign(claims(), header={'alg': 'RS256', 'kid': 'good', 'crit': ['x'], 'x': 1})}
    doubled = json.dumps(claims())[:-1].encode() + b', "sub": "root"}'
    text = f"{b64({'alg': 'RS256', 'kid': 'good'})}.{b64(doubled)}"
    bad['with doubled claims'] = f'{text}.{b64(good.signature(text))}'
    for name, t in bad.items(): same(whoami(s, t), 401, f'a token {name}')
    contains(why(s, bad['expired'])['error'], 'oidc: verify token: oidc: token is expired (Token Expiry: ')
    same(why(s, bad['for others'])['error'], '[invalid bearer token, oidc: verify token: oidc: expected audience "kubernetes" got ["other"]]')
    same(why(s, bad['forged'])['error'], '[invalid bearer token, oidc: verify token: failed to verify signature: failed to verify id token signature]')
    same(why(s, bad['of an algorithm that is not allowed'])['error'], '[invalid bearer token, oidc: verify token: oidc: id token signed with unsupported algorithm, expected ["RS256" "PS256"] got "RS512"]')
    same(why(s, bad['with a wrong claim'])['error'], '[invalid bearer token, oidc: required claim tier value does not match. Got = iron, want = gold]')
    same(why(s, token)['authenticated'], True)
    # a key is rotated: tokens of the new one are good as soon as they come, those of the old one no longer
    i.keys = [other]
    same(until('the new key', lambda: whoami(s, other.sign(claims())), lambda u: u != 401)['username'], f'{i.url}#ann')
    same(whoami(s, token), 401)
    # the issuer is gone: what is known goes on
    i.stop()
    same(whoami(s, other.sign(claims()))['username'], f'{i.url}#ann')
    same(whoami(s, good.sign(claims())), 401)
    metrics = s.kubectl('get', '--raw', '/metrics').stdout
    for part in 'jwks_fetch_last_timestamp_seconds{', 'jwks_fetch_last_key_set_info{', 'latency_seconds_count{': contains(metrics, 'apiserver_authentication_jwt_authenticator_' + part)
    s.remove()


def test_structured_authentication():
    i = Issuer()
    keys = {alg: Key(i.dir, alg.lower(), alg) for alg in ('ES256', 'ES384', 'ES512', 'RS384')}
    i.keys = list(keys.values())
    groups = Issuer(i.dir, 'claims')
    groups.keys = [Key(i.dir, 'claims', 'ES256')]
    rules = {'claimValidationRules': [{'claim': 'hd', 'requiredValue': 'example.org'}, {'expression': 'claims.exp - claims.iat <= 86400', 'message': 'tokens live a day'}],
             'claimMappings': {'username': {'expression': '"cel:" + claims.email + (claims.?email_verified.orValue(false) ? "" : ":unverified")'}, 'groups': {'expression': 'claims.roles.split(",")'}, 'uid': {'claim': 'sub'},
                               'extra': [{'key': 'example.org/tenant', 'valueExpression': 'claims.deep.tenant__dot__name'}]},
             'userValidationRules': [{'expression': "!user.username.startsWith('system:') && user.groups.all(g, !g.startsWith('system:'))", 'message': 'reserved'}]}
    mine = lambda **more: {'jwt': [{**jwt(i), **rules, **more}], 'anonymous': {'enabled': True, 'conditions': [{'path': '/livez'}, {'path': '/readyz'}]}}
    path = config_file(mine())
    s = Server(flags=['--authentication-config', path])
    claims = lambda **more: i.claims(**{'hd': 'example.org', 'email': 'ann@example.org', 'email_verified': True, 'roles': 'a,b', 'deep': {'tenant.name': 'red'}, **more})
    key = keys['ES256']
    me = until('the issuer is discovered', lambda: whoami(s, key.sign(claims())), lambda u: u != 401)
    same((me['username'], me['uid'], me['groups'], me['extra']), ('cel:ann@example.org', 'ann', ['a', 'b', 'system:authenticated'], {'example.org/tenant': ['red']}))
    for k in keys.values(): same(whoami(s, k.sign(claims()))['uid'], 'ann', k.alg)
    for words, t in (('validation expression \'claims.exp - claims.iat <= 86400\' failed: tokens live a day', claims(exp=int(time.time()) + 100000)), ('failed: reserved', claims(roles='system:masters')),
                     ('oidc: error evaluating username claim expression: expression', claims(email=None)), ('oidc: required claim hd not present in ID token', claims(hd=None))):
        same(whoami(s, key.sign(t)), 401)
        contains(why(s, key.sign(t))['error'], words)
    # anonymous requests may see what the file names, and nothing else
    same((path_code(s, '/livez'), path_code(s, '/readyz'), path_code(s, '/version'), path_code(s, '/healthz')), (200, 200, 401, 401))
    # what is wrong in a changed file changes nothing
    reloads = lambda status: next((int(l.split()[-1]) for l in s.kubectl('get', '--raw', '/metrics').stdout.splitlines() if l.startswith('apiserver_authentication_config_controller_automatic_reloads_total') and f'"{status}"' in l), 0)
    rewrite(path, {**mine(), 'anonymous': {'enabled': False}})
    until('a refusal', lambda: reloads('failure'), 1)
    contains(s.log_text(), 'anonymous: Forbidden: changed from initial configuration file')
    same(whoami(s, key.sign(claims()))['uid'], 'ann')
    # a change: other names, and groups that another issuer knows
    rewrite(path, {**mine(claimMappings={'username': {'claim': 'sub', 'prefix': 'new:'}, 'groups': {'claim': 'teams', 'prefix': ''}}, claimValidationRules=[], userValidationRules=[])})
    until('the change', lambda: whoami(s, key.sign(claims())), lambda u: u != 401 and u['username'] == 'new:ann')
    same(reloads('success'), 1)
    groups.paths['/teams'] = lambda h: (200, groups.keys[0].sign({**groups.claims(), 'teams': ['x', 'y']})) if h['Authorization'] == 'Bearer sesame' else (403, 'no')
    i.paths['/teams'] = lambda h: (200, key.sign(i.claims(teams=['own']))) if h['Authorization'] == 'Bearer sesame' else (403, 'no')
    elsewhere = lambda url, bearer: key.sign(claims(_claim_names={'teams': 'src'}, _claim_sources={'src': {'endpoint': url, 'access_token': bearer}}))
    until('distributed claims', lambda: whoami(s, elsewhere(f'{i.url}/teams', 'sesame')), lambda u: u != 401 and u['groups'] == ['own', 'system:authenticated'])
    contains(why(s, elsewhere(f'{i.url}/teams', 'wrong'))['error'], 'oidc: could not expand distributed claims: while getting distributed claim "teams"')
    contains(why(s, elsewhere(f'{groups.url}/teams', 'sesame'))['error'], 'could not expand distributed claims')  # by whom we do not trust
    same(whoami(s, key.sign(claims()))['groups'], ['system:authenticated'])
    # an issuer that cannot be reached is not taken over
    rewrite(path, {**mine(), 'jwt': []})
    until('no issuers', lambda: whoami(s, key.sign(claims())), 401)
    s.remove()
    os.unlink(path)


def test_wrong_authentication_is_refused_at_start():
    i = Issuer()
    i.keys = [Key(i.dir, 'k')]
    path = config_file({'jwt': [jwt(i)], 'anonymous': {'enabled': True}})
    for words, *flags in (('oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set', '--oidc-groups-claim', 'x'),
                          ('oidc: unsupported signing alg: "HS256"', '--oidc-issuer-url', i.url, '--oidc-client-id', 'x', '--oidc-signing-algs', 'HS256'),
                          ('invalid authentication configuration: jwt[0].issuer.url: Invalid value: "http://x": URL scheme must be https', '--oidc-issuer-url', 'http://x', '--oidc-client-id', 'x'),
                          ('authentication-config file and oidc-* flags are mutually exclusive', '--authentication-config', path, '--oidc-client-id', 'x'),
                          ('anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file', '--authentication-config', path, '--anonymous-auth=true'),
                          ('failed to load authentication configuration from file "/nowhere"', '--authentication-config', '/nowhere')):
        refused_at_start(words, *flags)
    os.unlink(path)
