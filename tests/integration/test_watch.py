"""Watches under stress: a client that does not read costs the others nothing, and is cut."""
import json, socket, ssl, http.client
from harness import Server, same

UPDATES, VALUE_BYTES = 40, 600_000 # more than the 16 MiB that the server keeps for one watcher, and all that its kernel takes besides


class Api:
    def __init__(self):
        def tokens(server):
            open(f'{server.dir}/tokens', 'w').write('secret,admin,1,"system:masters"\n')
            server.flags += ['--token-auth-file', f'{server.dir}/tokens']
        self.server = Server(prepare=tokens)
        self.tls = ssl._create_unverified_context()

    def ask(self, method, path, body=None, connection=None):
        c = connection or http.client.HTTPSConnection('127.0.0.1', self.server.port, context=self.tls, timeout=120)
        c.request(method, path, json.dumps(body) if body else None, {'Authorization': 'Bearer secret', 'Content-Type': 'application/json'})
        return c.getresponse()

    def watch(self, path, receive_buffer=None):
        """A watch's raw TLS socket, its request sent and nothing read."""
        raw = socket.socket()
        if receive_buffer: raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.connect(('127.0.0.1', self.server.port))
        s = self.tls.wrap_socket(raw)
        s.settimeout(120)
        s.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n'.encode())
        return s


def config_map(n):
    return {'kind': 'ConfigMap', 'apiVersion': 'v1', 'metadata': {'name': 'large'}, 'data': {'n': str(n), 'fill': 'x' * VALUE_BYTES}}


def test_a_stalled_watcher_costs_the_others_nothing_and_is_cut():
    api = Api()
    path = '/api/v1/namespaces/default/configmaps'
    stalled = api.watch(f'{path}?watch=true&fieldSelector=metadata.name%3Dlarge', receive_buffer=4096)
    stalled.recv(12) # it has begun
    reader = api.ask('GET', f'{path}?watch=true&fieldSelector=metadata.name%3Dlarge')
    writer = http.client.HTTPSConnection('127.0.0.1', api.server.port, context=api.tls, timeout=120)
    for n in range(UPDATES):
        r = api.ask('POST' if n == 0 else 'PUT', path if n == 0 else f'{path}/large', config_map(n), writer)
        same(r.status, 201 if n == 0 else 200, r.read(300))
        r.read()
        event = json.loads(reader.readline()) # comes though the other takes nothing
        same((event['type'], event['object']['data']['n']), ('ADDED' if n == 0 else 'MODIFIED', str(n)))
    got = 0
    try:
        while part := stalled.recv(1 << 16): got += len(part)
    except (ConnectionError, ssl.SSLError): pass
    assert got < UPDATES * VALUE_BYTES, 'the stalled watcher was kept'
    api.server.remove()
