"""Credentials that must not work: tokens that are forged, twisted, late, early, for others, or of what has gone; certificates of the wrong authority, time or use. Each is tried where a good one of its kind works."""
import base64, hashlib, hmac, json, os, shutil, subprocess, tempfile, time
from fixtures import NEW_KEY, make_ca, make_cert, openssl
from harness import Server, contains, same
from raw_http import post, send_all

server = None
ISSUER = 'https://kubernetes.default.svc.cluster.local'
ME = {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}


def s():
    """A whole control plane: tokens in Secrets are made by a controller. A second, RSA, key may sign tokens too; nobody has signed with it."""
    global server
    if not server:
        d = tempfile.mkdtemp(prefix='ckube-tokens-')
        openssl('genrsa', '-out', f'{d}/rsa.key', '2048')
        openssl('rsa', '-in', f'{d}/rsa.key', '-pubout', '-out', f'{d}/rsa.pub')
        openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', f'{d}/sa.key')
        openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', f'{d}/other.key')
        openssl('ec', '-in', f'{d}/sa.key', '-pubout', '-out', f'{d}/sa.pub')
        server = Server(command='server', flags=['--disable-agent', '--service-account-signing-key-file', f'{d}/sa.key', '--service-account-key-file', f'{d}/sa.key', '--service-account-key-file', f'{d}/rsa.pub'])
        server.certs = d
        until(lambda: server.kubectl('get', 'serviceaccount', 'default', check=False).returncode == 0, 'the default ServiceAccount')
    return server


def until(true, what):
    deadline = time.time() + 60
    while not true():
        if time.time() > deadline: raise AssertionError(f'not there after a minute: {what}')
        time.sleep(0.1)


def who(tokens=(), certs=()):
    """What each credential makes of its owner: a user's name, or the code that it was answered with."""
    answers = send_all(s().port, [post('/apis/authentication.k8s.io/v1/selfsubjectreviews', ME, [('Authorization', f'Bearer {t}')]) for t in tokens], at_once=1) if tokens else []
    for c in certs: answers += send_all(s().port, [post('/apis/authentication.k8s.io/v1/selfsubjectreviews', ME)], cert=c, connections=1)
    return [json.loads(body)['status']['userInfo']['username'] if code == 201 else code for code, body in answers]


def kubectl_with(*credential):
    """What kubectl says to who shows this and nothing else."""
    r = subprocess.run(['kubectl', '--kubeconfig', '/dev/null', '--server', f'https://127.0.0.1:{s().port}', '--insecure-skip-tls-verify', *credential, 'auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'],
                       capture_output=True, text=True, timeout=60, env={**os.environ, 'HOME': s().dir, 'KUBECACHEDIR': f'{s().dir}/cache-tokens'})
    return r.stdout if r.returncode == 0 else r.stderr


# ---- making tokens ----

def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b'=').decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))


def kid_of(public):
    return b64(hashlib.sha256(openssl('pkey', '-pubin', '-in', public, '-outform', 'DER')).digest())


def der_integers(der):
    out, at = [], 2
    while at < len(der):
        n = der[at + 1]
        out.append(der[at + 2:at + 2 + n])
        at += 2 + n
    return out


def sign_with(key, text, digest='-sha256', ec=True):
    sig = subprocess.run(['openssl', 'dgst', digest, '-sign', key], input=text.encode(), capture_output=True, check=True).stdout
    return b''.join(n[-32:].rjust(32, b'\0') for n in der_integers(sig)) if ec else sig


def signed(claims, key='sa', header=None, kid=True):
    """As the server signs, by its own key: what only somebody with the key could make."""
    d = s().certs
    alg = 'RS256' if key == 'rsa' else 'ES256'
    h = {'alg': alg, **({'kid': kid_of(f'{d}/{key}.pub')} if kid and os.path.exists(f'{d}/{key}.pub') else {}), **(header or {})}
    text = f'{b64(h)}.{b64(claims)}'
    return f'{text}.{b64(sign_with(f"{d}/{key}.key", text, ec=key != "rsa"))}'


def issued(ns='default', *flags):
    token = s().kubectl('-n', ns, 'create', 'token', 'default', *flags).stdout.strip()
    return token, json.loads(unb64(token.split('.')[1]))


def fresh(name):
    s().kubectl('create', 'namespace', name)
    until(lambda: s().kubectl('-n', name, 'get', 'serviceaccount', 'default', check=False).returncode == 0, f'the default ServiceAccount in {name}')
    return name


def refused(tokens):
    """tokens: {what is wrong: token}."""
    for (what, token), got in zip(tokens.items(), who(tokens.values())):
        if got != 401 and not (got == 431 and len(token) > 16384): raise AssertionError(f'{what}: got {got} for {token[:200]}')


# ---- tokens ----

def test_what_is_signed_and_good_is_let_in():
    """So that the refusals below are for what they say."""
    token, claims = issued()
    me = 'system:serviceaccount:default:default'
    good = [token, signed(claims), signed(claims, kid=False), signed(claims, key='rsa'), signed({**claims, 'exp': int(time.time()) + 100}), signed({k: v for k, v in claims.items() if k != 'aud'})]
    same(who(good), [me] * len(good))
    contains(kubectl_with('--token', token), me)


def test_claims_that_are_late_early_or_for_others():
    token, claims = issued()
    now = int(time.time())
    kube = claims['kubernetes.io']
    account = kube['serviceaccount']
    without = lambda name: {k: v for k, v in claims.items() if k != name}
    cases = {'expired': {**claims, 'exp': now - 120}, 'expired long ago': {**claims, 'exp': 1}, 'expired before 1970': {**claims, 'exp': -1e300}, 'an end that is no number': {**claims, 'exp': str(now + 100)},
             'not yet valid': {**claims, 'nbf': now + 3600}, 'issued in the future': {**claims, 'iat': now + 3600}, 'another issuer': {**claims, 'iss': 'https://example.com'},
             'the issuer with a slash': {**claims, 'iss': ISSUER + '/'}, 'no issuer': without('iss'), 'an issuer in a list': {**claims, 'iss': [ISSUER]},
             'another audience': {**claims, 'aud': ['vault']}, 'almost this audience': {**claims, 'aud': [ISSUER + '.evil.example']},
             'another uid': {**claims, 'kubernetes.io': {**kube, 'serviceaccount': {**account, 'uid': 'x'}}}, 'no uid': {**claims, 'kubernetes.io': {**kube, 'serviceaccount': {'name': account['name']}}},
             'an account that is not there': {**claims, 'kubernetes.io': {**kube, 'serviceaccount': {**account, 'name': 'nobody'}}}, 'an account of another namespace': {**claims, 'kubernetes.io': {**kube, 'namespace': 'kube-system'}},
             'a namespace with a path': {**claims, 'kubernetes.io': {**kube, 'namespace': '../default', 'serviceaccount': {**account, 'name': 'x/../default'}}},
             'no claims of ours': without('kubernetes.io'), 'claims of ours that are a list': {**claims, 'kubernetes.io': [kube]}, 'claims that are a list': [claims], 'a legacy issuer with new claims': {**claims, 'iss': 'kubernetes/serviceaccount'},
             'a legacy token that no Secret has': {'iss': 'kubernetes/serviceaccount', 'sub': 'system:serviceaccount:default:default', 'kubernetes.io/serviceaccount/namespace': 'default', 'kubernetes.io/serviceaccount/secret.name': 'none',
                                                   'kubernetes.io/serviceaccount/service-account.name': 'default', 'kubernetes.io/serviceaccount/service-account.uid': account['uid']}}
    refused({what: signed(c) for what, c in cases.items()})
    contains(kubectl_with('--token', signed(cases['expired'])), 'You must be logged in')
    expired = json.dumps({'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenReview', 'spec': {'token': signed(cases['expired'])}})
    status = json.loads(s().kubectl('create', '--validate=false', '-o', 'json', '-f', '-', stdin=expired).stdout)['status']
    same((status.get('authenticated', False), 'expired' in status['error'], status.get('user', {})), (False, True, {}))


def test_signatures_and_headers_that_are_not_the_servers():
    token, claims = issued()
    d = s().certs
    head, body, signature = token.split('.')
    kid = json.loads(unb64(head))['kid']
    claims['kubernetes.io'] = {**claims['kubernetes.io'], 'namespace': 'kube-system'}
    forged = b64(claims)
    own = openssl('pkey', '-in', f'{d}/other.key', '-pubout', '-outform', 'DER')
    x, y = b64(own[-64:-32]), b64(own[-32:])
    cases = {f'alg {alg}': f'{b64({"alg": alg, "kid": kid})}.{body}.{sig}' for alg in ('none', 'None', 'nOnE', '', 'ES384', 'RS256', 'PS256', 'EdDSA', 'es256') for sig in ('', signature)}
    publics = {'PEM': open(f'{d}/sa.pub', 'rb').read(), 'PEM without its end': open(f'{d}/sa.pub', 'rb').read().rstrip(b'\n'), 'DER': openssl('pkey', '-pubin', '-in', f'{d}/sa.pub', '-outform', 'DER'),
               'RSA PEM': open(f'{d}/rsa.pub', 'rb').read(), 'RSA DER': openssl('pkey', '-pubin', '-in', f'{d}/rsa.pub', '-outform', 'DER'), 'the key id': kid.encode(), 'nothing': b''}
    for what, secret in publics.items():
        for alg, digest in ('HS256', 'sha256'), ('HS512', 'sha512'):
            for k in ({'kid': kid}, {'kid': kid_of(f'{d}/rsa.pub')}, {}):
                text = f'{b64({"alg": alg, **k})}.{forged}'
                cases[f'{alg} with {what} as its secret, {k}'] = f'{text}.{b64(hmac.new(secret, text.encode(), digest).digest())}'
    for what, header in {'no key id': {}, 'our key id': {'kid': kid}, 'its own key': {'jwk': {'kty': 'EC', 'crv': 'P-256', 'x': x, 'y': y}}, 'where its key is': {'jku': 'https://127.0.0.1:1/jwks', 'x5u': 'file:///etc/passwd'},
                         'a path as key id': {'kid': '../../../../dev/null'}, 'a query as key id': {'kid': "x' OR '1'='1"}, 'a number as key id': {'kid': 1}, 'a list as key id': {'kid': [kid]}, 'a NUL in the key id': {'kid': kid + '\0'},
                         'crit': {'kid': kid, 'crit': ['exp']}, 'b64': {'kid': kid, 'b64': False}}.items():
        text = f'{b64({"alg": "ES256", **header})}.{forged}'
        cases[f'another key, {what}'] = f'{text}.{b64(sign_with(f"{d}/other.key", text))}'
    cases['crit by our key'] = signed(json.loads(unb64(body)), header={'crit': ['x'], 'x': 1})
    cases['an unencoded payload by our key'] = signed(json.loads(unb64(body)), header={'b64': False, 'crit': ['b64']})
    twice = f'{b64(b"""{"alg":"ES256","alg":"none","kid":"%s"}""" % kid.encode())}.{forged}'
    cases['alg twice'] = f'{twice}.'
    n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
    for what, (r, sv) in {'zeros': (0, 0), 'r of zero': (0, 1), 's of zero': (1, 0), 'the order': (n, n), 'ones': (1, 1), 'above the order': (n + 1, n + 1)}.items():
        cases[f'a signature of {what}'] = f'{head}.{forged}.{b64(r.to_bytes(32, "big") + sv.to_bytes(32, "big"))}'
    der = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', f'{d}/sa.key'], input=f'{head}.{body}'.encode(), capture_output=True, check=True).stdout
    cases['a signature in DER'] = f'{head}.{body}.{b64(der)}'
    cases['another body'] = f'{head}.{forged}.{signature}'
    cases['another header'] = f'{b64({"alg": "ES256"})}.{body}.{signature}'
    text = f'{b64({"alg": "RS256"})}.{body}'
    cases['RS256 with a longer digest'] = f'{text}.{b64(sign_with(f"{d}/rsa.key", text, "-sha512", ec=False))}'
    refused(cases)
    contains(kubectl_with('--token', cases['another body']), 'You must be logged in')


def test_tokens_that_are_cut_swollen_or_bent():
    token, claims = issued()
    head, body, signature = token.split('.')
    cases = {f'cut to {n}': token[:n] for n in (1, 10, len(head), len(head) + 1, len(head) + len(body), len(token) - len(signature), len(token) - 40, len(token) - 2)}
    cases |= {'a part more': token + '.' + signature, 'a part fewer': f'{head}.{body}', 'dots alone': '..', 'four dots': '....', 'an empty part': f'.{body}.{signature}', 'parts in another order': f'{body}.{head}.{signature}',
              'padding': f'{head}==.{body}==.{signature}==', 'the other alphabet': f'{head}.{body}.+/{signature[2:]}', 'a comma list': f'{token},{token}', 'quotes': f'"{token}"', 'a byte too many': token + 'A', 'percent': token.replace('.', '%2E'),
              'JSON form': json.dumps({'payload': body, 'protected': head, 'signature': signature}).replace(' ', ''), 'twice': token + token, 'bytes above ASCII': token + '\u00e9', 'NUL in words': token + '%00',
              'swollen claims': f'{head}.{b64({**claims, "x": "y" * 50000})}.{signature}', 'a huge header': f'{b64({"alg": "ES256", "x": "y" * 40000})}.{body}.{signature}', 'letters': 'A' * 60000, 'many dots': '.' * 15000,
              'deep claims': f'{head}.{b64(b"[" * 20000)}.{signature}', 'deep header': f'{b64(b"""{"a":""" * 5000)}.{body}.{signature}'}
    refused(cases)
    same(who([token]), ['system:serviceaccount:default:default'])
    # as long as a header may be
    code, _ = send_all(s().port, [post('/apis/authentication.k8s.io/v1/selfsubjectreviews', ME, [('Authorization', 'Bearer ' + 'A' * 900000)])], connections=1)[0]
    same(code, 401)
    same(who([token]), ['system:serviceaccount:default:default'])


def test_what_a_token_is_bound_to_must_live():
    ns = fresh('bound')
    k = lambda *a, **kw: s().kubectl('-n', ns, *a, **kw)
    make = lambda o: k('create', '--validate=false', '-f', '-', stdin=json.dumps(o))
    pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'p'}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}
    node = {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'bound-node'}}
    secret = {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'b'}}
    for o in pod, node, secret: make(o)
    tokens = {kind: issued(ns, f'--bound-object-kind={kind}', f'--bound-object-name={name}')[0] for kind, name in (('Pod', 'p'), ('Node', 'bound-node'), ('Secret', 'b'))}
    tokens['account'] = issued(ns)[0]
    me = f'system:serviceaccount:{ns}:default'
    same(who(tokens.values()), [me] * 4)
    k('delete', 'pod', 'p', '--grace-period=0', '--force')
    k('delete', 'node', 'bound-node')
    k('delete', 'secret', 'b')
    same(who(tokens.values()), [401, 401, 401, me])
    for o in pod, node, secret: make(o)  # the same names, other uids
    same(who(tokens.values()), [401, 401, 401, me])
    k('delete', 'serviceaccount', 'default')
    until(lambda: k('get', 'serviceaccount', 'default', check=False).returncode == 0, 'the default ServiceAccount, made again')
    same(who(tokens.values()), [401] * 4)
    contains(kubectl_with('--token', tokens['account']), 'You must be logged in')


def test_tokens_in_secrets():
    ns = fresh('legacy')
    k = lambda *a, **kw: s().kubectl('-n', ns, *a, **kw)
    k('create', 'serviceaccount', 'bot')
    secret = {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 't', 'annotations': {'kubernetes.io/service-account.name': 'bot'}}, 'type': 'kubernetes.io/service-account-token'}

    def made():
        k('create', '--validate=false', '-f', '-', stdin=json.dumps(secret))
        token = lambda: s().json('-n', ns, 'get', 'secret', 't').get('data', {}).get('token')
        until(token, 'a token in the Secret')
        return base64.b64decode(token()).decode()
    token, me = made(), f'system:serviceaccount:{ns}:bot'
    same(who([token]), [me])
    claims = json.loads(unb64(token.split('.')[1]))
    refused({'the same claims, signed again': signed(claims), 'for another Secret': signed({**claims, 'kubernetes.io/serviceaccount/secret.name': 'u'}), 'for another account': signed({**claims, 'kubernetes.io/serviceaccount/service-account.name': 'default'}),
             'another subject': signed({**claims, 'sub': 'system:serviceaccount:kube-system:default'})})
    k('label', 'secret', 't', 'kubernetes.io/legacy-token-invalid-since=2020-01-01')
    same(who([token]), [401])
    k('label', 'secret', 't', 'kubernetes.io/legacy-token-invalid-since-')
    same(who([token]), [me])
    k('delete', 'secret', 't')
    same(who([token]), [401])
    again = made()
    same(who([again]), [me])
    if again != token: same(who([token]), [401])
    k('delete', 'serviceaccount', 'bot')
    k('create', 'serviceaccount', 'bot')
    same(who([again]), [401])


# ---- certificates ----

def issue(name, ca, subject, *flags, extensions='extendedKeyUsage=clientAuth', ca_dir=None):
    """Like make_cert, with all that one can get wrong."""
    d = s().certs
    openssl('req', *NEW_KEY, '-keyout', f'{d}/{name}.key', '-out', f'{d}/{name}.csr', '-subj', subject)
    with open(f'{d}/{name}.ext', 'w') as f: f.write(extensions + '\n')
    openssl('x509', '-req', '-in', f'{d}/{name}.csr', '-CA', f'{ca_dir or d}/{ca}.crt', '-CAkey', f'{ca_dir or d}/{ca}.key', '-CAcreateserial', '-out', f'{d}/{name}.crt', *(flags or ('-days', '2')), '-extfile', f'{d}/{name}.ext')
    return f'{d}/{name}'


def at_times(name, begin, end):
    """A client certificate of the server's own authority with these times, which `openssl x509` cannot make."""
    d, tls = s().certs, f'{s().dir}/tls'
    with open(f'{d}/{name}.cnf', 'w') as f:
        f.write(f'[ca]\ndefault_ca=c\n[c]\ndatabase={d}/{name}.db\nnew_certs_dir={d}\nserial={d}/{name}.srl\ncertificate={tls}/client-ca.crt\nprivate_key={tls}/client-ca.key\ndefault_md=sha256\npolicy=p\nx509_extensions=x\nunique_subject=no\n'
                '[p]\norganizationName=optional\ncommonName=supplied\n[x]\nextendedKeyUsage=clientAuth\n')
    open(f'{d}/{name}.db', 'w').close()
    with open(f'{d}/{name}.srl', 'w') as f: f.write('77\n')
    openssl('req', *NEW_KEY, '-keyout', f'{d}/{name}.key', '-out', f'{d}/{name}.csr', '-subj', '/O=system:masters/CN=admin')
    openssl('ca', '-batch', '-notext', '-config', f'{d}/{name}.cnf', '-in', f'{d}/{name}.csr', '-out', f'{d}/{name}.crt', '-startdate', begin, '-enddate', end)
    return f'{d}/{name}'


def tlv(tag, content):
    n = len(content)
    return bytes([tag]) + (bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else bytes([0x82, n >> 8, n & 255])) + content


def element(der):
    """(the first element whole, its content, what follows)."""
    n, head = der[1], 2
    if n > 127: n, head = int.from_bytes(der[2:2 + (n & 127)], 'big'), 2 + (n & 127)
    return der[:head + n], der[head:head + n], der[head + n:]


def with_bytes(name, cert, old, new):
    """A copy of the certificate with other bytes in it, signed by the authority as if it had meant them."""
    d = s().certs
    der = openssl('x509', '-in', f'{cert}.crt', '-outform', 'DER')
    tbs, _, rest = element(element(der)[1])
    assert tbs.count(old) == 1 and len(old) == len(new)
    tbs = tbs.replace(old, new)
    with open(f'{d}/tbs', 'wb') as f: f.write(tbs)
    signature = openssl('dgst', '-sha256', '-sign', f'{s().dir}/tls/client-ca.key', f'{d}/tbs')
    whole = tlv(0x30, tbs + element(rest)[0] + tlv(0x03, b'\0' + signature))
    with open(f'{d}/{name}.crt', 'wb') as f: f.write(subprocess.run(['openssl', 'x509', '-inform', 'DER'], input=whole, capture_output=True, check=True).stdout)
    shutil.copy(f'{cert}.key', f'{d}/{name}.key')
    return f'{d}/{name}'


def test_certificates_of_the_wrong_authority_time_or_use():
    s()
    d, tls = server.certs, f'{server.dir}/tls'
    masters = '/O=system:masters/CN=admin'
    good = issue('good', 'client-ca', '/O=devs/CN=ann', ca_dir=tls)
    make_ca(d, 'other-ca')
    make_ca(d, 'client-ca')  # the same name as the server's own authority, another key
    openssl('req', '-x509', *NEW_KEY, '-keyout', f'{d}/self.key', '-out', f'{d}/self.crt', '-subj', masters, '-days', '2', '-addext', 'extendedKeyUsage=clientAuth')
    cases = {'of another authority': issue('other', 'other-ca', masters), 'of one with the same name': issue('namesake', 'client-ca', masters), 'self-signed': f'{d}/self', 'expired': at_times('expired', '20200101000000Z', '20200201000000Z'),
             'not yet valid': at_times('early', '20400101000000Z', '20410101000000Z'), 'for servers': issue('serving', 'client-ca', masters, ca_dir=tls, extensions='extendedKeyUsage=serverAuth'),
             'for code': issue('code', 'client-ca', masters, ca_dir=tls, extensions='extendedKeyUsage=codeSigning,emailProtection'), "the apiserver's own": f'{tls}/apiserver',
             "of the servers' authority": issue('by-server-ca', 'server-ca', masters, ca_dir=tls), "of the proxies' authority": issue('by-proxy-ca', 'request-header-ca', masters, ca_dir=tls),
             'of a client, which is no authority': issue('by-leaf', 'good', masters)}
    for name, by in ('by-leaf', 'good'),:  # with its signer beside it
        with open(f'{d}/{name}.crt', 'a') as f: f.write(open(f'{d}/{by}.crt').read())
    same(who(certs=[good]), ['ann'])
    for (what, cert), got in zip(cases.items(), who(certs=cases.values())):
        if got != 401: raise AssertionError(f'{what}: got {got}')
    contains(kubectl_with('--client-certificate', f'{cases["expired"]}.crt', '--client-key', f'{cases["expired"]}.key'), 'You must be logged in')
    same(kubectl_with('--client-certificate', f'{good}.crt', '--client-key', f'{good}.key'), 'ann')


def test_intermediate_authorities_must_be_shown_and_allowed():
    s()
    d, tls = server.certs, f'{server.dir}/tls'
    ca = 'basicConstraints=critical,CA:TRUE%s\nkeyUsage=critical,keyCertSign'
    issue('middle', 'client-ca', '/CN=middle', ca_dir=tls, extensions=ca % ',pathlen:0')
    issue('below', 'middle', '/CN=below', extensions=ca % '')
    cases = [issue('of-middle', 'middle', '/CN=ann'), issue('of-middle-alone', 'middle', '/CN=ann'), issue('of-below', 'below', '/CN=ann'), issue('of-server-middle', 'middle', '/CN=ann', extensions='extendedKeyUsage=serverAuth')]
    for name, chain in ('of-middle', ['middle']), ('of-below', ['below', 'middle']), ('of-server-middle', ['middle']):
        with open(f'{d}/{name}.crt', 'a') as f: f.write(''.join(open(f'{d}/{c}.crt').read() for c in chain))
    same(who(certs=cases), ['ann', 401, 401, 401])


def test_a_name_is_the_whole_name():
    """A NUL byte ends a string in C, not in a certificate."""
    s()
    tls = server.dir + '/tls'
    cut = issue('cut-name', 'client-ca', '/O=devs/CN=adminXexample', ca_dir=tls)
    group = issue('cut-group', 'client-ca', '/O=system:mastersXexample/CN=eve', ca_dir=tls)
    same(who(certs=[cut, group]), ['adminXexample', 'eve'])
    refusals = who(certs=[with_bytes('nul-name', cut, b'adminXexample', b'admin\0example'), with_bytes('nul-group', group, b'system:mastersXexample', b'system:masters\0example')])
    if any(r not in (401, 403) for r in refusals): raise AssertionError(f'a name was cut at its NUL: {refusals}')  # 403: nobody, who may not review
    same(who(certs=[with_bytes('signed-anew', cut, b'adminXexample', b'adminYexample')]), ['adminYexample'])


def teardown():
    global server
    if server:
        code, _ = server.stop()
        same(code, 0, 'exit code on SIGTERM: ' + server.log_text())
        server.remove()
        shutil.rmtree(server.certs, ignore_errors=True)
        server = None
