"""Groups that another server serves: requests are passed on with who asks, and answers come back."""
import base64, http.client, http.server, json, ssl, subprocess, tempfile, threading, time
from harness import Server, contains, same


def other_server(seen, documents=None):
    dir = tempfile.mkdtemp(prefix='ckube-aggregated-')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', f'{dir}/key', '-out', f'{dir}/cert', '-days', '2', '-subj', '/CN=things',
                    '-addext', 'subjectAltName=DNS:things.default.svc'], check=True, capture_output=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, {k.lower(): self.headers.get_all(k) for k in self.headers}))
            document = documents(self.path, self.headers.get('Accept', '')) if documents else None
            body = json.dumps(document[1] if document else {'kind': 'ThingList', 'items': ['one']}).encode()
            self.send_response(200 if document else 203)
            self.send_header('Content-Type', document[0] if document else 'application/json')
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


def asked(seen):
    """What it was asked for besides the checks whether it is there, which accept anything."""
    return [(p, h) for p, h in seen if h.get('accept')]


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
        path, headers = asked(seen)[0]
        same(path, '/apis/other.example.org/v1/things?limit=5')
        same(('system:masters' in headers['x-remote-group'], headers['host'], 'authorization' in headers), (True, ['things.default.svc'], False))
        contains(raw('/apis/apps/v1/deployments').stdout, 'DeploymentList')
        foreign = s.json('config', 'view', '--raw')['clusters'][0]['cluster']['certificate-authority-data']
        s.kubectl('patch', 'apiservice', 'v1.other.example.org', '--type=merge', '-p', json.dumps({'spec': {'caBundle': foreign}}))
        contains(raw('/apis/other.example.org/v1/things').stderr, 'unable to handle the request')
        same(len(asked(seen)), 1, 'a server with a foreign certificate is not asked')
    finally:
        server.shutdown()
        s.remove()


def test_the_condition_tells_whether_the_server_can_be_had():
    s, seen = Server(), []
    server, ca = other_server(seen)
    port = server.server_address[1]
    try:
        def make(d): s.kubectl('apply', '-f', '-', stdin=json.dumps(d))
        def api_service(**more): make({'apiVersion': 'apiregistration.k8s.io/v1', 'kind': 'APIService', 'metadata': {'name': 'v1.other.example.org'}, 'spec': {
            'group': 'other.example.org', 'version': 'v1', 'groupPriorityMinimum': 100, 'versionPriority': 100, 'caBundle': ca, 'service': {'namespace': 'default', 'name': 'things', 'port': 443}, **more}})
        def service(spec): make({'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'things'}, 'spec': spec})
        def slices(ready): make({'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice', 'metadata': {'name': 'things-1', 'labels': {'kubernetes.io/service-name': 'things'}}, 'addressType': 'IPv4', 'ports': [{'name': 'https', 'port': port}],
                                 'endpoints': [{'addresses': ['10.9.8.7'], 'conditions': {'ready': ready}}]})
        def available():
            conditions = s.json('get', 'apiservice', 'v1.other.example.org').get('status', {}).get('conditions', [{}])
            return tuple(conditions[0].get(k) for k in ('status', 'reason', 'message'))
        def becomes(*want): eventually(f'{want}', lambda: available() == want)
        api_service()
        becomes('False', 'ServiceNotFound', 'service/things in "default" is not present')
        contains(s.kubectl('get', 'apiservice', 'v1.other.example.org').stdout, 'default/things   False (ServiceNotFound)')
        service({'ports': [{'name': 'https', 'port': 444}]})
        becomes('False', 'ServicePortError', 'service/things in "default" is not listening on port 443')
        service({'ports': [{'name': 'https', 'port': 443}]})
        becomes('False', 'EndpointsNotFound', 'cannot find endpointslices for service/things in "default"')
        slices(False)
        becomes('False', 'MissingEndpoints', 'endpointslices for service/things in "default" have no addresses with port name "https"')
        make({'apiVersion': 'v1', 'kind': 'Endpoints', 'metadata': {'name': 'things'}, 'subsets': [{'addresses': [{'ip': '10.9.8.7'}], 'notReadyAddresses': [], 'ports': [{'name': 'other', 'port': 1}]}]})
        slices(True)
        becomes('False', 'FailedDiscoveryCheck', 'no endpoints available for service "things"')
        s.kubectl('delete', 'service', 'things')
        service({'type': 'ExternalName', 'externalName': 'localhost', 'ports': [{'port': port}]})
        api_service(service={'namespace': 'default', 'name': 'things', 'port': port})
        url = f'https://localhost:{port}/apis/other.example.org/v1'
        becomes('True', 'Passed', 'all checks passed')
        contains(s.kubectl('get', 'apiservice', 'v1.other.example.org').stdout, 'True ')
        headers = next(h for p, h in seen if p == '/apis/other.example.org/v1')
        same((headers['x-remote-user'], headers['x-remote-group']), (['system:kube-aggregator'], ['system:masters']))
        s.kubectl('wait', '--for=condition=Available', 'apiservice/v1.other.example.org', '--timeout=60s')
        api_service(service={'namespace': 'default', 'name': 'things', 'port': port}, caBundle=s.json('config', 'view', '--raw')['clusters'][0]['cluster']['certificate-authority-data'])
        eventually('it is not trusted', lambda: available()[:2] == ('False', 'FailedDiscoveryCheck') and available()[2].startswith(f'failing or missing response from {url}: Get "{url}": '))
        same({c['reason'] for a in s.json('get', 'apiservices')['items'] if not a['spec'].get('service') for c in a['status']['conditions']}, {'Local'})
    finally:
        server.shutdown()
        s.remove()


def documents_of(aggregated):
    """A server's own discovery, in the aggregated form or in the plain one alone, and its OpenAPI."""
    resource = {'resource': 'things', 'responseKind': {'group': 'other.example.org', 'version': 'v1', 'kind': 'Thing'}, 'scope': 'Namespaced', 'singularResource': 'thing', 'verbs': ['get', 'list'], 'shortNames': ['tg'],
                'subresources': [{'subresource': 'status', 'responseKind': {'group': 'other.example.org', 'version': 'v1', 'kind': 'Thing'}, 'verbs': ['get']}]}
    plain = [{'name': 'things', 'singularName': 'thing', 'namespaced': True, 'kind': 'Thing', 'verbs': ['get', 'list'], 'shortNames': ['tg']}, {'name': 'things/status', 'singularName': '', 'namespaced': True, 'kind': 'Thing', 'verbs': ['get']}]

    v2 = {'swagger': '2.0', 'info': {'title': 'theirs', 'version': '1'}, 'paths': {'/apis/': {'get': {'responses': {'200': {'description': 'OK'}}}}, '/apis/other.example.org/v1/things': {'get': {'operationId': 'listThings', 'produces': ['application/json'],
          'parameters': [{'name': 'limit', 'in': 'query', 'type': 'integer'}], 'responses': {'200': {'description': 'OK', 'schema': {'$ref': '#/definitions/org.example.other.Thing'}}}}}},
          'definitions': {'org.example.other.Thing': {'type': 'object', 'properties': {'spec': {'description': 'a spec', '$ref': '#/definitions/org.example.other.Spec'}}}, 'org.example.other.Spec': {'type': 'string'}, 'unused': {'type': 'string'}}}

    def documents(path, accept):
        if path == '/apis' and aggregated and 'as=APIGroupDiscoveryList' in accept:
            return 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList', {'kind': 'APIGroupDiscoveryList', 'apiVersion': 'apidiscovery.k8s.io/v2', 'items': [
                {'metadata': {'name': 'other.example.org'}, 'versions': [{'version': 'v1', 'resources': [resource], 'freshness': 'Current'}]}]}
        if path == '/apis/other.example.org/v1': return 'application/json', {'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': 'other.example.org/v1', 'resources': plain}
        if path == '/openapi/v2': return 'application/json', v2
        if not aggregated: return None
        if path == '/openapi/v3': return 'application/json', {'paths': {'apis/other.example.org/v1': {'serverRelativeURL': '/openapi/v3/apis/other.example.org/v1?hash=abc'}}}
        if path.startswith('/openapi/v3/apis/other.example.org/v1'): return 'application/json', {'openapi': '3.0.0', 'info': {'title': 'theirs'}, 'paths': {}}
        return None
    return documents, resource


def discovered(s, token):
    """The group in the aggregated document, or None."""
    c = http.client.HTTPSConnection('127.0.0.1', s.port, context=ssl._create_unverified_context(), timeout=60)
    c.request('GET', '/apis', headers={'Authorization': f'Bearer {token}', 'Accept': 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'})
    return next((g for g in json.loads(c.getresponse().read())['items'] if g['metadata'].get('name') == 'other.example.org'), None)


def eventually(what, condition):
    deadline = time.time() + 60
    while not condition():
        if time.time() > deadline: raise AssertionError(f'not in time: {what}')
        time.sleep(0.1)


def test_the_groups_of_other_servers_are_discovered():
    for aggregated in True, False:
        s, seen = Server(), []
        documents, resource = documents_of(aggregated)
        server, ca = other_server(seen, documents)
        port = server.server_address[1]
        try:
            s.kubectl('create', 'serviceaccount', 'reader')
            token = s.kubectl('create', 'token', 'reader').stdout.strip()
            service = {'group': 'other.example.org', 'version': 'v1', 'groupPriorityMinimum': 100, 'versionPriority': 100, 'caBundle': ca, 'service': {'namespace': 'default', 'name': 'things', 'port': port}}
            s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'apiregistration.k8s.io/v1', 'kind': 'APIService', 'metadata': {'name': 'v1.other.example.org'}, 'spec': service}))
            same(discovered(s, token)['versions'], [{'version': 'v1', 'freshness': 'Stale'}], 'nobody answers')
            s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'things'}, 'spec': {'type': 'ExternalName', 'externalName': 'localhost', 'ports': [{'port': port}]}}))
            eventually('it answers', lambda: discovered(s, token)['versions'][0]['freshness'] == 'Current')
            same(discovered(s, token)['versions'][0]['resources'], [resource])
            headers = next(h for p, h in seen if p == '/apis')
            same((headers['x-remote-user'], headers['x-remote-group']), (['system:kube-aggregator'], ['system:masters']))
            n = len(asked(seen))
            discovered(s, token)
            same(len(asked(seen)), n, 'what it said is kept for a while')
            raw = lambda path: json.loads(s.kubectl('get', '--raw', path).stdout)
            version = {'groupVersion': 'other.example.org/v1', 'version': 'v1'}
            same([g for g in raw('/apis')['groups'] if g['name'] == 'other.example.org'], [{'name': 'other.example.org', 'versions': [version], 'preferredVersion': version}])
            same(raw('/apis/other.example.org')['preferredVersion'], version)
            url = raw('/openapi/v3')['paths']['apis/other.example.org/v1']['serverRelativeURL']
            assert url.startswith('/openapi/v3/apis/other.example.org/v1?hash='), url
            document = raw(url)
            same((document['info']['title'], document['openapi'], url.endswith('=abc')), ('theirs', '3.0.0', aggregated))
            if not aggregated:  # made of its v2
                thing = document['components']['schemas']['org.example.other.Thing']
                same(thing['properties']['spec'], {'description': 'a spec', 'allOf': [{'$ref': '#/components/schemas/org.example.other.Spec'}]})
                same(document['paths']['/apis/other.example.org/v1/things']['get'], {'operationId': 'listThings', 'parameters': [{'name': 'limit', 'in': 'query', 'schema': {'type': 'integer'}}], 'responses': {
                    '200': {'description': 'OK', 'content': {'application/json': {'schema': {'$ref': '#/components/schemas/org.example.other.Thing'}}}}}})
            merged = raw('/openapi/v2')
            same((merged['paths']['/apis/other.example.org/v1/things']['get']['operationId'], 'org.example.other.Spec' in merged['definitions'], 'unused' in merged['definitions'], '/apis/apps/v1/deployments' in merged['paths']),
                 ('listThings', True, False, True))
            contains(s.kubectl('api-resources', '--api-group=other.example.org').stdout, 'other.example.org/v1   true         Thing')
            s.kubectl('delete', 'apiservice', 'v1.other.example.org')
            same(discovered(s, token), None)
        finally:
            server.shutdown()
            s.remove()
