"""What several tests stand up beside a server: certificates by openssl, an HTTPS server that answers in JSON, and etcd clusters. All on loopback."""
import atexit, base64, http.server, json, os, shutil, signal, ssl, subprocess, tempfile, threading, time, urllib.request
from harness import Skip, free_port

NEW_KEY = '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'


def openssl(*args):
    return subprocess.run(['openssl', *args], check=True, capture_output=True).stdout


def make_ca(d, name):
    openssl('req', '-x509', *NEW_KEY, '-keyout', f'{d}/{name}.key', '-out', f'{d}/{name}.crt', '-subj', f'/CN={name}', '-days', '2', '-addext', 'keyUsage=critical,digitalSignature,keyCertSign')


def make_cert(d, name, ca, subject, ca_dir=None, days='2', usage='clientAuth', alt_names=''):
    """d/name.crt and d/name.key, signed by ca_dir/ca. alt_names: as openssl's subjectAltName."""
    ca_dir = ca_dir or d
    openssl('req', *NEW_KEY, '-keyout', f'{d}/{name}.key', '-out', f'{d}/{name}.csr', '-subj', subject)
    with open(f'{d}/{name}.ext', 'w') as f: f.write(f'extendedKeyUsage={usage}\n' + (f'subjectAltName={alt_names}\n' if alt_names else ''))
    openssl('x509', '-req', '-in', f'{d}/{name}.csr', '-CA', f'{ca_dir}/{ca}.crt', '-CAkey', f'{ca_dir}/{ca}.key', '-CAcreateserial', '-out', f'{d}/{name}.crt', '-days', days, '-extfile', f'{d}/{name}.ext')


def fetch(s, path, method='GET', body=None, **headers):
    """Status, headers and body of a request with the admin's certificate. body: a document."""
    with tempfile.TemporaryDirectory() as d:
        config = json.loads(subprocess.check_output(['kubectl', '--kubeconfig', s.kubeconfig, 'config', 'view', '--raw', '--flatten', '-o', 'json']))
        for name in ('client-certificate-data', 'client-key-data'):
            open(f'{d}/{name}', 'wb').write(base64.b64decode(config['users'][0]['user'][name]))
        tls = ssl._create_unverified_context()
        tls.load_cert_chain(f'{d}/client-certificate-data', f'{d}/client-key-data')
        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *a): return None
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=tls), Stay)
        try: r = opener.open(urllib.request.Request(config['clusters'][0]['cluster']['server'] + path, method=method, data=json.dumps(body).encode() if body else None,
                                                    headers={'Content-Type': 'application/json', **{k.replace('_', '-'): v for k, v in headers.items()}}))
        except urllib.error.HTTPError as e: r = e
        return r.status, r.headers, r.read()


class JsonServer:
    """HTTPS: each POST is answered with what `answer(path, document)` returns: (code, document). client_ca: whose certificates its callers must show."""

    def __init__(self, cert, key, answer, client_ca=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                code, reply = answer(self.path, json.loads(self.rfile.read(int(self.headers['Content-Length']))))
                body = json.dumps(reply).encode()
                self.send_response(code)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args): pass

        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, key)
        if client_ca:
            tls.load_verify_locations(client_ca)
            tls.verify_mode = ssl.CERT_REQUIRED
        self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.port = self.http.server_port

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


class Etcd:
    """A cluster of etcd's own members. tls: clients need a certificate, see flags(). Members are named by their index."""

    def __init__(self, members=1, tls=False):
        if not shutil.which('etcd') or not shutil.which('etcdctl'): raise Skip('no etcd and etcdctl on PATH')
        self.dir, self.tls = tempfile.mkdtemp(prefix='ckube-etcd-'), tls
        atexit.register(self.remove)
        if tls:
            make_ca(self.dir, 'ca')
            make_cert(self.dir, 'server', 'ca', '/CN=server', usage='serverAuth,clientAuth', alt_names='IP:127.0.0.1')
            make_cert(self.dir, 'client', 'ca', '/CN=client')
        self.urls = [f'{"https" if tls else "http"}://127.0.0.1:{free_port()}' for _ in range(members)]
        self.peers = [f'http://127.0.0.1:{free_port()}' for _ in range(members)]
        self.process = [None] * members
        for i in range(members): self.start(i)
        self.wait_healthy()

    def start(self, i=0):
        d = self.dir
        tls = ['--client-cert-auth', '--trusted-ca-file', f'{d}/ca.crt', '--cert-file', f'{d}/server.crt', '--key-file', f'{d}/server.key'] if self.tls else []
        self.process[i] = subprocess.Popen(['etcd', '--name', f'm{i}', '--data-dir', f'{d}/m{i}', '--listen-client-urls', self.urls[i], '--advertise-client-urls', self.urls[i],
                                            '--listen-peer-urls', self.peers[i], '--initial-advertise-peer-urls', self.peers[i],
                                            '--initial-cluster', ','.join(f'm{n}={u}' for n, u in enumerate(self.peers)), *tls], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ctl(self, *args, check=True, endpoints=None):
        d = self.dir
        tls = ['--cacert', f'{d}/ca.crt', '--cert', f'{d}/client.crt', '--key', f'{d}/client.key'] if self.tls else []
        return subprocess.run(['etcdctl', '--endpoints', endpoints or ','.join(self.urls), *tls, *args], check=check, capture_output=True, text=True, env={**os.environ, 'ETCDCTL_API': '3'}, timeout=30)

    def wait_healthy(self):
        deadline = time.time() + 30
        while self.ctl('endpoint', 'health', check=False).returncode:
            if time.time() > deadline: raise RuntimeError('etcd is not healthy')
            time.sleep(0.1)

    def leader(self):
        for i, process in enumerate(self.process):
            if not process: continue
            status = json.loads(self.ctl('endpoint', 'status', '-w', 'json', endpoints=self.urls[i]).stdout)[0]['Status']
            if status['header']['member_id'] == status['leader']: return i
        raise RuntimeError('no leader')

    def flags(self):
        """How an apiserver, or `ckube datastore`, is told of it."""
        d = self.dir
        return ['--etcd-servers', ','.join(self.urls), *(['--etcd-cafile', f'{d}/ca.crt', '--etcd-certfile', f'{d}/client.crt', '--etcd-keyfile', f'{d}/client.key'] if self.tls else [])]

    def kill(self, i=0):
        self.process[i].send_signal(signal.SIGCONT)
        self.process[i].kill()
        self.process[i].wait()
        self.process[i] = None

    def remove(self):
        for i, process in enumerate(self.process):
            if process: self.kill(i)
        shutil.rmtree(self.dir, ignore_errors=True)
