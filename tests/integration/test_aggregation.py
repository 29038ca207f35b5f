"""Groups that another server serves: requests are passed on with who asks, and answers come back."""
import base64, http.server, json, ssl, subprocess, tempfile, threading
from harness import Server, contains, same


def other_server(seen):
    dir = tempfile.mkdtemp(prefix='ckube-aggregated-')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', f'{dir}/key', '-out', f'{dir}/cert', '-days', '2', '-subj', '/CN=things',
                    '-addext', 'subjectAltName=DNS:things.default.svc'], check=True, capture_output=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, {k.lower(): self.headers.get_all(k) for k in self.headers}))
            body = json.dumps({'kind': 'ThingList', 'items': ['one']}).encode()
            self.send_response(203)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args): pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f'{dir}/cert', f'{dir}/key')
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, base64.b64encode(open(f'{dir}/cert', 'rb').read()).decode()


def test_requests_of_an_aggregated_group_are_passed_on():
    s = Server()
    seen = []
    server, ca = other_server(seen)
    port = server.server_address[1]
    try:
        def raw(path): return s.kubectl('get', '--raw', path, check=False)
        contains(raw('/apis/other.example.org/v1/things').stderr, 'could not find the requested resource')
        service = {'group': 'other.example.org', 'version': 'v1', 'groupPriorityMinimum': 100, 'versionPriority': 100, 'caBundle': ca, 'service': {'namespace': 'default', 'name': 'things', 'port': port}}
        s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'apiregistration.k8s.io/v1', 'kind': 'APIService', 'metadata': {'name': 'v1.other.example.org'}, 'spec': service}))
        contains(raw('/apis/other.example.org/v1/things').stderr, 'the server is currently unable to handle the request')
        s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'things'}, 'spec': {'type': 'ExternalName', 'externalName': 'localhost', 'ports': [{'port': port}]}}))
        same(json.loads(raw('/apis/other.example.org/v1/things?limit=5').stdout)['items'], ['one'])
        path, headers = seen[0]
        same(path, '/apis/other.example.org/v1/things?limit=5')
        same(('system:masters' in headers['x-remote-group'], headers['host'], 'authorization' in headers), (True, ['things.default.svc'], False))
        contains(raw('/apis/apps/v1/deployments').stdout, 'DeploymentList')
        foreign = s.json('config', 'view', '--raw')['clusters'][0]['cluster']['certificate-authority-data']
        s.kubectl('patch', 'apiservice', 'v1.other.example.org', '--type=merge', '-p', json.dumps({'spec': {'caBundle': foreign}}))
        contains(raw('/apis/other.example.org/v1/things').stderr, 'unable to handle the request')
        same(len(seen), 1, 'a server with a foreign certificate is not asked')
    finally:
        server.shutdown()
        s.remove()
