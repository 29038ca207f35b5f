"""An OpenID Connect issuer on loopback: discovery, keys and whatever else a test puts at a path, over HTTPS; and tokens signed by openssl."""
import atexit, base64, hashlib, hmac, http.server, json, shutil, ssl, subprocess, tempfile, threading, time
from fixtures import make_ca, make_cert, openssl

CURVES = {'ES256': ('P-256', 'prime256v1', 32), 'ES384': ('P-384', 'secp384r1', 48), 'ES512': ('P-521', 'secp521r1', 66)}


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b'=').decode()


class Key:
    """A private key, its public half as a JWK, and signatures by it."""

    def __init__(self, d, kid, alg='RS256', bits=2048):
        self.file, self.kid, self.alg = f'{d}/{kid}.pem', kid, alg
        if alg in CURVES: openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', f'ec_paramgen_curve:{CURVES[alg][1]}', '-out', self.file)
        else: openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', f'rsa_keygen_bits:{bits}', '-out', self.file)
        self.public = openssl('pkey', '-in', self.file, '-pubout')

    def jwk(self):
        if self.alg in CURVES:
            name, _, n = CURVES[self.alg]
            point = openssl('pkey', '-in', self.file, '-pubout', '-outform', 'DER')[-2 * n:]
            return {'kty': 'EC', 'use': 'sig', 'kid': self.kid, 'crv': name, 'x': b64(point[:n]), 'y': b64(point[n:])}
        modulus = openssl('rsa', '-in', self.file, '-noout', '-modulus').decode().strip().split('=')[1]
        return {'kty': 'RSA', 'use': 'sig', 'kid': self.kid, 'n': b64(bytes.fromhex(modulus)), 'e': 'AQAB'}

    def raw(self, der):
        """r and s of fixed size out of a DER signature."""
        out, at, n = b'', 3 if der[1] & 0x80 else 2, CURVES[self.alg][2]
        for _ in range(2):
            length = der[at + 1]
            out += der[at + 2:at + 2 + length].lstrip(b'\0').rjust(n, b'\0')
            at += 2 + length
        return out

    def sign(self, claims, alg=None, kid=True, header=None):
        alg = alg or self.alg
        head = header or {'alg': alg, **({'kid': self.kid} if kid is True else {'kid': kid} if kid else {})}
        text = f'{b64(head)}.{b64(claims)}'
        return f'{text}.{b64(self.signature(text, alg))}'

    def signature(self, text, alg=None):
        alg = alg or self.alg
        how = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:-1'] if alg.startswith('PS') else []
        sig = subprocess.run(['openssl', 'dgst', f'-sha{alg[2:]}', '-sign', self.file, *how], input=text.encode(), check=True, capture_output=True).stdout
        return self.raw(sig) if alg in CURVES else sig


def hs256(secret, claims, kid):
    """What an attacker makes who takes a public key for a secret."""
    text = f"{b64({'alg': 'HS256', 'kid': kid})}.{b64(claims)}"
    return f'{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}'


class Issuer:
    """self.keys are served; self.paths: path to (code, body) or to a function of the headers that gives that; self.asked counts requests by path."""

    def __init__(self, d=None, name='issuer', cache_control=None):
        self.dir, self.asked, self.paths, self.keys, self.cache_control = d or tempfile.mkdtemp(prefix='ckube-oidc-'), {}, {}, [], cache_control
        atexit.register(shutil.rmtree, self.dir, True)
        make_ca(self.dir, f'{name}-ca')
        make_cert(self.dir, name, f'{name}-ca', f'/CN={name}', usage='serverAuth', alt_names='IP:127.0.0.1')
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked[self.path] = issuer.asked.get(self.path, 0) + 1
                what = issuer.paths.get(self.path, (404, 'nothing'))
                code, body = what(self.headers) if callable(what) else what
                text = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(code)
                self.send_header('Content-Length', str(len(text)))
                self.send_header('Content-Type', 'application/json')
                if issuer.cache_control: self.send_header('Cache-Control', issuer.cache_control)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args): pass

        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(f'{self.dir}/{name}.crt', f'{self.dir}/{name}.key')
        self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url, self.ca = f'https://127.0.0.1:{self.http.server_port}', f'{self.dir}/{name}-ca.crt'
        self.paths['/.well-known/openid-configuration'] = lambda h: (200, {'issuer': self.url, 'jwks_uri': f'{self.url}/keys'})
        self.paths['/keys'] = lambda h: (200, {'keys': [k.jwk() if isinstance(k, Key) else k for k in self.keys]})

    def ca_pem(self):
        with open(self.ca) as f: return f.read()

    def claims(self, **more):
        """Those of a good token; a claim that is given as None is left out."""
        now = int(time.time())
        return {k: v for k, v in {'iss': self.url, 'sub': 'ann', 'aud': 'kubernetes', 'iat': now, 'exp': now + 3600, **more}.items() if v is not None}

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
