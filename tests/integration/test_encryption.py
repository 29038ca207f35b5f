"""Encryption at rest: the plain bytes are nowhere on the disk, keys rotate, and one etcd may be taken over from upstream and given back."""
import base64, glob, json, os, pathlib, shutil, socket, struct, subprocess, tempfile, threading, time
from fixtures import Etcd, openssl
from harness import Server, Skip, contains, same

PLAIN = 'nobody-may-read-this-4711'
KEYS = [bytes(range(i, i + 32)) for i in range(4)]


def key(name, i):
    return {'name': name, 'secret': base64.b64encode(KEYS[i]).decode()}


def config(*rules):
    return json.dumps({'apiVersion': 'apiserver.config.k8s.io/v1', 'kind': 'EncryptionConfiguration', 'resources': [{'resources': r, 'providers': p} for r, p in rules]})


def server(text, *flags, **kw):
    """A server on such a configuration, which is written to s.config."""
    def prepare(s):
        s.config = f'{s.dir}/encryption.yaml'
        pathlib.Path(s.config).write_text(text)
        s.flags.extend(['--encryption-provider-config', s.config])
    return Server(prepare=prepare, flags=flags, **kw)


def on_disk(folder, what):
    """Whether the bytes, or their base64 (at any offset), are in a file below the folder."""
    raw = what.encode()
    forms = [raw] + [base64.b64encode(b'x' * i + raw)[i and 4:][:-4] for i in range(3)]
    return any(form in data for f in glob.glob(f'{folder}/**', recursive=True) if os.path.isfile(f) for data in [open(f, 'rb').read()] for form in forms)


def make_secret(s, name='a', text=PLAIN, ns='default'):
    s.kubectl('create', 'secret', 'generic', name, f'--from-literal=x={text}', '-n', ns)


def read_secret(s, name='a'):
    return base64.b64decode(s.json('get', 'secret', name)['data']['x']).decode()


def rewrite(s):
    s.kubectl('replace', '-f', '-', stdin=s.kubectl('get', 'secrets', '-A', '-o', 'json').stdout)


def raw_value(s, path):
    """What the embedded store holds of a key, as far as the file shows it: whether such bytes are in it."""
    return any(path in open(f, 'rb').read() for f in glob.glob(f'{s.dir}/db/data.mdb'))


def test_nothing_plain_in_the_database():
    for provider, prefix in (({'aesgcm': {'keys': [key('k1', 0)]}}, b'k8s:enc:aesgcm:v1:k1:'), ({'aescbc': {'keys': [key('k1', 0)]}}, b'k8s:enc:aescbc:v1:k1:'),
                             ({'secretbox': {'keys': [key('k1', 0)]}}, b'k8s:enc:secretbox:v1:k1:')):
        s = server(config((['secrets'], [provider, {'identity': {}}])))
        start = json.loads(s.kubectl('get', '--raw', '/api/v1/secrets').stdout)['metadata']['resourceVersion']
        make_secret(s)
        s.kubectl('create', 'configmap', 'a', '--from-literal=x=everybody-may-read-this-0815')
        same(read_secret(s), PLAIN, 'read')
        s.kubectl('patch', 'secret', 'a', '-p', json.dumps({'stringData': {'y': PLAIN + '-more'}}))
        s.kubectl('annotate', 'secret', 'a', 'note=' + PLAIN)
        contains(s.kubectl('get', 'secrets', '-o', 'yaml').stdout, 'note: ' + PLAIN)
        # The log of events, which watches resume from, holds both what is and what was.
        seen = s.kubectl('get', '--raw', f'/api/v1/namespaces/default/secrets?watch=1&resourceVersion={start}&timeoutSeconds=1').stdout
        same([json.loads(line)['type'] for line in seen.splitlines()], ['ADDED', 'MODIFIED', 'MODIFIED'], 'watch')
        contains(seen, base64.b64encode(PLAIN.encode()).decode())
        s.kubectl('delete', 'secret', 'a')
        make_secret(s, 'b')
        assert not on_disk(f'{s.dir}/db', PLAIN), provider
        assert on_disk(f'{s.dir}/db', 'everybody-may-read-this-0815')
        assert raw_value(s, prefix)
        s.stop()
        s.start()
        same(read_secret(s, 'b'), PLAIN, 'after a restart')
        s.remove()


def wait(condition, timeout=30):
    deadline = time.time() + timeout
    while not condition():
        assert time.time() < deadline, 'not within time'
        time.sleep(0.1)


def test_keys_rotate_while_serving():
    old, new = {'aesgcm': {'keys': [key('old', 0)]}}, {'secretbox': {'keys': [key('new', 1)]}}
    s = server(config((['secrets', 'configmaps'], [{'identity': {}}])), '--encryption-provider-config-automatic-reload')
    make_secret(s)
    put = lambda *providers: pathlib.Path(s.config).write_text(config((['secrets', 'configmaps'], list(providers))))
    def reloaded(n): return s.log_text().count('the encryption configuration was read again') >= n
    put(old, {'identity': {}})
    wait(lambda: reloaded(1))
    same(read_secret(s), PLAIN, 'what was written plain')
    rewrite(s)
    put(new, old)
    wait(lambda: reloaded(2))
    same(read_secret(s), PLAIN, 'under the old key')
    rewrite(s)
    assert raw_value(s, b'k8s:enc:secretbox:v1:new:')
    # What is wrong is not taken over.
    pathlib.Path(s.config).write_text(config((['secrets'], [])))
    wait(lambda: 'the one from before stays in force' in s.log_text())
    same(read_secret(s), PLAIN, 'the configuration from before')
    put(new)
    wait(lambda: reloaded(3))
    same(read_secret(s), PLAIN, 'without the old key')
    contains(s.kubectl('get', '--raw', '/readyz?verbose').stdout, '[+]kms-providers ok')
    # Without its key an object is there, and an error.
    put(old)
    wait(lambda: reloaded(4))
    for args in (['get', 'secret', 'a'], ['get', 'secrets'], ['get', 'secrets', '-o', 'json'], ['delete', 'secret', 'a']):
        r = s.kubectl(*args, check=False)
        assert r.returncode, args
        contains(r.stderr, 'unable to transform key "/registry/secrets/default/a": no matching prefix found')
    r = s.kubectl('create', 'secret', 'generic', 'a', check=False)
    contains(r.stderr, 'already exists')
    same(s.kubectl('get', 'pods').returncode, 0, 'others')


def cbc(data, i, decrypt=False):
    iv, body = (data[:16], data[16:]) if decrypt else (os.urandom(16), data)
    out = subprocess.run(['openssl', 'enc', *(['-d'] if decrypt else []), '-aes-256-cbc', '-K', KEYS[i].hex(), '-iv', iv.hex()], input=body, capture_output=True, check=True).stdout
    return out if decrypt else iv + out


def test_etcd_is_upstreams():
    """openssl stands for another apiserver: it opens what we wrote, and we open what it wrote."""
    etcd = Etcd()
    rules = config((['secrets'], [{'aescbc': {'keys': [key('k1', 0)]}}, {'identity': {}}]))
    s = server(rules, *etcd.flags())
    make_secret(s)
    prefix = b'k8s:enc:aescbc:v1:k1:'
    value = lambda k: subprocess.run(['etcdctl', '--endpoints', etcd.urls[0], 'get', '--print-value-only', k], capture_output=True, check=True, env={**os.environ, 'ETCDCTL_API': '3'}).stdout[:-1]
    stored = value('/registry/secrets/default/a')
    assert stored.startswith(prefix), stored[:40]
    plain = cbc(stored[len(prefix):], 0, decrypt=True)
    assert plain.startswith(b'k8s\0') and PLAIN.encode() in plain, plain
    # Another object, by another hand: the protobuf of ours with its name changed.
    other = plain.replace(PLAIN.encode(), PLAIN[::-1].encode()).replace(b'\x01a\x12', b'\x01b\x12', 1)
    subprocess.run(['etcdctl', '--endpoints', etcd.urls[0], 'put', '/registry/secrets/default/b'], input=prefix + cbc(other, 0), capture_output=True, check=True, env={**os.environ, 'ETCDCTL_API': '3'})
    wait(lambda: s.kubectl('get', 'secret', 'b', check=False).returncode == 0)
    same(read_secret(s, 'b'), PLAIN[::-1], 'what another has written')
    # One that nobody has the key of.
    subprocess.run(['etcdctl', '--endpoints', etcd.urls[0], 'put', '/registry/secrets/default/c'], input=b'k8s:enc:aescbc:v1:k2:' + cbc(plain, 1), capture_output=True, check=True, env={**os.environ, 'ETCDCTL_API': '3'})
    wait(lambda: 'no matching key was found' in s.kubectl('get', 'secret', 'c', check=False).stderr or 'unable to transform key' in s.kubectl('get', 'secret', 'c', check=False).stderr)
    for folder in (f'{s.dir}/mirror', etcd.dir):
        assert os.listdir(folder) and not on_disk(folder, PLAIN), folder
    s.stop()
    s.start()
    same(read_secret(s), PLAIN, 'after a restart')
    assert not on_disk(f'{s.dir}/mirror', PLAIN)


class Plugin:
    """A KMS v2 plugin: gRPC over HTTP/2 on a unix socket, as far as it takes. Its cipher is a toy."""

    def __init__(self, path):
        self.path, self.key_id, self.healthz, self.calls, self.broken = path, 'key-1', 'ok', [], False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try: c, _ = self.listener.accept()
            except OSError: return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def stop(self):
        self.listener.close()
        os.unlink(self.path)

    @staticmethod
    def frame(kind, flags, stream, data=b''):
        return struct.pack('>I', len(data))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + data

    @staticmethod
    def header(name, value):
        return bytes([0, len(name)]) + name + bytes([len(value)]) + value

    def serve(self, c):
        f = c.makefile('rb')
        f.read(24)
        c.sendall(self.frame(4, 0, 0))
        bodies = {}
        while True:
            head = f.read(9)
            if len(head) < 9: return
            length, kind, flags, stream = int.from_bytes(head[:3], 'big'), head[3], head[4], int.from_bytes(head[5:], 'big')
            data = f.read(length)
            if kind == 4 and not flags & 1: c.sendall(self.frame(4, 1, 0))
            if kind == 6 and not flags & 1: c.sendall(self.frame(6, 1, 0, data))
            if kind == 0: bodies[stream] = bodies.get(stream, b'') + data
            if kind in (0, 1) and flags & 1: self.answer(c, stream, bodies.pop(stream, b'')[5:])

    def answer(self, c, stream, message):
        fields, at = {}, 0
        while at < len(message): # each is a string or bytes, short
            number, n, shift = message[at] >> 3, 0, 0
            at += 1
            while True:
                n |= (message[at] & 127) << shift
                shift += 7
                at += 1
                if not message[at - 1] & 128: break
            fields[number] = message[at:at + n]
            at += n
        put = lambda number, value: bytes([number << 3 | 2]) + bytes([len(value) & 127 | 128, len(value) >> 7] if len(value) > 127 else [len(value)]) + value
        mask = lambda b: bytes(x ^ 0x5a for x in b)
        if not fields: reply, name = put(1, b'v2') + put(2, self.healthz.encode()) + put(3, self.key_id.encode()), 'Status'
        elif 3 in fields: reply, name = put(1, mask(fields[1][5:])), 'Decrypt'
        else: reply, name = put(1, b'kms1:' + mask(fields[1])) + put(2, self.key_id.encode()) + put(3, put(1, b'version.example.com') + put(2, b'1')), 'Encrypt'
        self.calls.append(name)
        ok = not self.broken
        c.sendall(self.frame(1, 4, stream, b'\x88' + self.header(b'content-type', b'application/grpc')) +
                  (self.frame(0, 0, stream, b'\0' + struct.pack('>I', len(reply)) + reply) if ok else b'') +
                  self.frame(1, 5, stream, self.header(b'grpc-status', b'0' if ok else b'14')))


def test_kms():
    d = tempfile.mkdtemp(prefix='ckube-kms-')
    try:
        plugin = Plugin(f'{d}/kms.sock')
        s = server(config((['secrets'], [{'kms': {'apiVersion': 'v2', 'name': 'vault', 'endpoint': f'unix://{d}/kms.sock', 'timeout': '5s'}}, {'identity': {}}])))
        make_secret(s)
        assert raw_value(s, b'k8s:enc:kms:v2:vault:')
        assert not on_disk(f'{s.dir}/db', PLAIN)
        same(plugin.calls.count('Encrypt'), 1, 'one seed for all')
        same(plugin.calls.count('Decrypt'), 0, 'the seed is known')
        contains(s.kubectl('get', '--raw', '/readyz?verbose').stdout, '[+]kms-providers ok')
        same(s.kubectl('get', '--raw', '/healthz/kms-providers').stdout, 'ok', 'health')
        s.stop()
        plugin.key_id = 'key-2'
        s.start()
        same(read_secret(s), PLAIN, 'an old seed')
        same(read_secret(s), PLAIN, 'an old seed')
        same(plugin.calls.count('Decrypt'), 1, 'asked for once')
        rewrite(s)
        assert raw_value(s, b'key-2')
        # Without the plugin what is known goes on; a server that starts then cannot read what it does not know.
        plugin.broken = True
        same(read_secret(s), PLAIN, 'while the plugin is away')
        make_secret(s, 'b')
        s.stop()
        plugin.calls.clear()
        start_unready(s)
        r = s.kubectl('get', 'secret', 'a', check=False)
        contains(r.stderr, 'unable to transform key "/registry/secrets/default/a": failed to decrypt DEK')
        r = s.kubectl('create', 'secret', 'generic', 'c', check=False)
        assert r.returncode, r.stdout
        contains(s.kubectl('get', '--raw', '/healthz/kms-providers', check=False).stderr, 'internal server error')
        plugin.broken = False
        wait(lambda: s.kubectl('get', '--raw', '/healthz/kms-providers', check=False).returncode == 0)
        wait(lambda: s.kubectl('get', 'secret', 'a', check=False).returncode == 0)
        same(read_secret(s), PLAIN, 'when it is back')
        make_secret(s, 'c')
        plugin.stop()
    finally:
        shutil.rmtree(d, ignore_errors=True)


def start_unready(s):
    """Starts a server whose readiness the plugin is in the way of."""
    s.log = open(f'{s.dir}.log', 'ab')
    from harness import TOP
    s.process = subprocess.Popen([str(TOP / s.binary), s.command, '--data-dir', s.dir, '--secure-port', str(s.port), '--bind-address', '127.0.0.1', '--service-cluster-ip-range', '10.96.0.0/16', *s.flags],
                                 stdin=subprocess.DEVNULL, stdout=s.log, stderr=s.log)
    wait(lambda: s.kubectl('get', '--raw', '/livez/ping', check=False).returncode == 0)


def test_wrong_configurations_are_refused():
    for text, words in (('{}', 'no kind'), (config((['secrets'], [{'aesgcm': {'keys': [{'name': 'a', 'secret': 'AAEC'}]}}])), 'secret is not of the expected length, got 3')):
        try: s = server(text)
        except RuntimeError as e: contains(str(e), words)
        else: raise AssertionError('it started')
    try: server('apiVersion: a\nkeys: [{name: a, secret: not-for-the-log')
    except RuntimeError as e:
        contains(str(e), 'it is neither YAML nor JSON')
        assert 'not-for-the-log' not in str(e), e
    else: raise AssertionError('it started')
