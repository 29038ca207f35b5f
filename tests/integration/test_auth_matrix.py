"""The access matrix: for every default role, and everybody whom a default binding names, what RBAC must answer for every verb and every resource, worked out here from upstream's own roles by an
implementation that knows nothing of ours and takes its time; then the server is asked all of it, and asked again by requests that mean it."""
import json, random, tempfile, time
from harness import SHARED, Server, Skip, same
from raw_http import post, request, send_all

VERBS = 'get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'
PATHS = ('/', '/api', '/api/', '/api/v1', '/apis', '/apis/', '/apis/apps/v1', '/apisx', '/healthz', '/healthz/', '/healthz/etcd', '/livez', '/livez/ping', '/readyz', '/readyz/ping', '/version', '/version/',
         '/metrics', '/metrics/slis', '/flagz', '/statusz', '/logs', '/logs/x', '/openapi', '/openapi/v2', '/openapi/v3/api/v1', '/openid/v1/jwks', '/openid/v1/jwks/', '/.well-known/openid-configuration',
         '/.well-known/openid-configuration/', '/debug/pprof/', '/API', '//api', '/healthz/../metrics')
EVERYBODY = 'system:authenticated'
NOT_UPSTREAM = 'system:controller:service-ca-cert-publisher'  # a distribution's own controller, which the facts have and kube-controller-manager has not
state = {}


# ---- RBAC, slowly ----

class Policy:
    """Roles and bindings as they are written in the facts."""

    def __init__(self, objects):
        objects = [o for o in objects if o['metadata']['name'] != NOT_UPSTREAM]
        of = lambda kind: [o for o in objects if o['kind'] == kind]
        self.cluster_roles = {o['metadata']['name']: o for o in of('ClusterRole')}
        self.roles = {(o['metadata']['namespace'], o['metadata']['name']): o for o in of('Role')}
        self.bindings = of('ClusterRoleBinding') + of('RoleBinding')

    def rules_of_cluster_role(self, name, above=()):
        """With what aggregation adds: the rules of all roles that its selectors select, theirs included."""
        role = self.cluster_roles[name]
        if not role.get('aggregationRule'): return role.get('rules') or []
        rules = []
        for selector in role['aggregationRule']['clusterRoleSelectors']:
            for other, o in self.cluster_roles.items():
                labels = o['metadata'].get('labels') or {}
                if other not in above + (name,) and all(labels.get(k) == v for k, v in selector['matchLabels'].items()): rules += self.rules_of_cluster_role(other, above + (name,))
        return rules

    def granted(self, user, groups):
        """[(namespace or None, rules)] of all bindings that name the user or one of the groups."""
        out = []
        for b in self.bindings:
            namespace = b['metadata'].get('namespace')
            for s in b.get('subjects') or []:
                name = f'system:serviceaccount:{s.get("namespace") or namespace}:{s["name"]}' if s['kind'] == 'ServiceAccount' else s['name']
                if (s['kind'] == 'Group' and name in groups) or (s['kind'] != 'Group' and name == user):
                    ref = b['roleRef']
                    out.append((namespace, self.rules_of_cluster_role(ref['name']) if ref['kind'] == 'ClusterRole' else self.roles[namespace, ref['name']].get('rules') or []))
        return out


def one_of(words, word):
    return '*' in words or word in words


def rule_allows(rule, q):
    if not one_of(rule['verbs'], q['verb']): return False
    if 'path' in q: return any(u == q['path'] or (u.endswith('*') and q['path'].startswith(u[:-1])) for u in rule.get('nonResourceURLs') or [])
    resources = rule.get('resources') or []
    sub = '/' in q['resource'] and '*/' + q['resource'].split('/')[1] in resources
    if not one_of(rule.get('apiGroups') or [], q['group']) or not (one_of(resources, q['resource']) or sub): return False
    return not rule.get('resourceNames') or q.get('name', '') in rule['resourceNames']


def expected(granted, q):
    """Cluster-wide grants count everywhere; a namespace's only for resources in it."""
    return any((namespace is None or ('path' not in q and q.get('namespace') == namespace)) and any(rule_allows(r, q) for r in rules) for namespace, rules in granted)


# ---- the questions ----

def facts():
    if not (SHARED / 'facts' / 'roles').is_dir(): raise Skip('no ../shared/facts/roles here')
    return SHARED / 'facts'


def documents(text):
    decoder, at, out = json.JSONDecoder(), 0, []
    while at < len(text):
        doc, at = decoder.raw_decode(text, at)
        while at < len(text) and text[at].isspace(): at += 1
        out += doc['items'] if doc['kind'] == 'List' else [doc]
    return out


def resources():
    """{(group, resource): namespaced} of all that is served by default or could be."""
    out = {}
    for line in open(facts() / 'resources.txt'):
        if line.startswith('#') or not line.strip(): continue
        version, resource, _, scope = line.split()[:4]
        out[version.rsplit('/', 1)[0] if '/' in version else '', resource] = scope == 'namespaced'
    return out


def mentioned(policy):
    """(group, resource, verb or None, name or '') of each rule: what only a role knows of (signers, special verbs, single names)."""
    out = set()
    for o in [*policy.cluster_roles.values(), *policy.roles.values()]:
        for r in o.get('rules') or []:
            for g in r.get('apiGroups') or []:
                for resource in r.get('resources') or []:
                    for verb in r['verbs']:
                        for name in r.get('resourceNames') or ['']: out.add((g, resource, verb, name))
    return out


def questions(policy, served, namespace):
    """All there is to ask about one namespace: first the matrix, then what only roles know of, and paths."""
    out = []
    for (group, resource), namespaced in served.items():
        for verb in VERBS: out.append({'verb': verb, 'group': group, 'resource': resource, 'name': 'x' if verb not in ('list', 'watch', 'create', 'deletecollection') else '', 'namespace': namespace if namespaced else ''})
    known = {(g, r) for g, r in served}
    for group, resource, verb, name in sorted(mentioned(policy)):
        if '*' in (group, resource): continue
        if (group, resource) in known and verb in VERBS and not name: continue
        out.append({'verb': verb, 'group': group, 'resource': resource.replace('*/', 'widgets/'), 'name': name, 'namespace': namespace if served.get((group, resource), True) else ''})
    for verb in 'get', 'post', 'head', 'delete', '*': out += [{'verb': verb, 'path': p} for p in PATHS]
    return out + [{'verb': '*', 'group': '*', 'resource': '*', 'namespace': namespace}, {'verb': 'get', 'group': 'example.com', 'resource': 'widgets', 'namespace': namespace, 'name': 'x'}]


def review(user, groups, q):
    """A SubjectAccessReview as bytes; there are so many that what is the same is made once."""
    if 'body' not in q:
        resource, _, sub = q.get('resource', '').partition('/')
        attributes = {k: v for k, v in {'verb': q['verb'], 'group': q.get('group'), 'resource': resource, 'subresource': sub, 'name': q.get('name'), 'namespace': q.get('namespace')}.items() if v}
        spec = {'nonResourceAttributes': {'path': q['path'], 'verb': q['verb']}} if 'path' in q else {'resourceAttributes': attributes}
        q['body'] = ',' + json.dumps(spec)[1:] + '}'
    body = '{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":' + json.dumps(user) + ',"groups":' + json.dumps(groups) + q['body']
    return (f'POST /apis/authorization.k8s.io/v1/subjectaccessreviews HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer matrix-token\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}').encode()


# ---- the server ----

def binding(name, kind, role, user, namespace=None):
    return {'apiVersion': 'rbac.authorization.k8s.io/v1', 'kind': 'RoleBinding' if namespace else 'ClusterRoleBinding', 'metadata': {'name': name, **({'namespace': namespace} if namespace else {})},
            'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': kind, 'name': role}, 'subjects': [{'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'User', 'name': user}]}


def cluster():
    """A whole control plane (aggregation is a controller's work) with a user for every role. Its policy: the facts', and these bindings."""
    if state: return state
    files = [f for f in sorted((facts() / 'roles').glob('*.yaml'))]
    tokens = tempfile.NamedTemporaryFile('w', prefix='ckube-matrix-', suffix='.csv')
    tokens.write('matrix-token,matrix-admin,1,"system:masters"\n')
    tokens.flush()
    s = Server(command='server', flags=['--disable-agent', '--token-auth-file', tokens.name])
    policy = Policy(documents(s.kubectl('create', '--dry-run=client', '--validate=false', '-o', 'json', *[a for f in files for a in ('-f', str(f))]).stdout))
    made = [binding(f'matrix:{r}', 'ClusterRole', r, f'matrix:{r}') for r in policy.cluster_roles]
    made += [binding(f'matrix:{r}', 'Role', r, f'matrix:{ns}:{r}', ns) for ns, r in policy.roles]
    made += [binding(f'matrix:{r}', 'ClusterRole', r, f'local:{r}', 'matrix') for r in ('cluster-admin', 'admin', 'edit', 'view', 'system:node')]
    policy.bindings += made
    admin = [('Authorization', 'Bearer matrix-token')]
    group = '/apis/rbac.authorization.k8s.io/v1'
    wanted = [post('/api/v1/namespaces', {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': 'matrix'}}, admin)]
    wanted += [post(f'{group}/namespaces/{b["metadata"]["namespace"]}/rolebindings' if 'namespace' in b['metadata'] else f'{group}/clusterrolebindings', b, admin) for b in made]
    for code, body in send_all(s.port, wanted[:1], connections=1) + send_all(s.port, wanted[1:], connections=2): same(code, 201, body)
    deadline = time.time() + 60
    for role in 'admin', 'edit', 'view':
        rules = policy.rules_of_cluster_role(role)
        def there(): return {json.dumps(r, sort_keys=True) for r in s.json('get', 'clusterrole', role)['rules'] or []}
        while there() != {json.dumps(r, sort_keys=True) for r in rules}:
            if time.time() > deadline: raise AssertionError(f'{role} is not aggregated: {there()}')
            time.sleep(0.1)
    state.update(server=s, policy=policy, served=resources(), tokens=tokens)
    return state


def compare(s, asked):
    """asked: [(who, groups, granted, question)]. Each answer against its expectation, all differences told."""
    answers = send_all(s.port, [review(user, groups, q) for user, groups, _, q in asked])
    wrong, allowed = [], 0
    for (user, groups, granted, q), (code, body) in zip(asked, answers):
        same(code, 201, body)
        want, got = expected(granted, q), b'"allowed":true' in body
        allowed += got
        if want != got: wrong.append(f'{user} {groups} { {k: v for k, v in q.items() if k != "body"} }: {"allowed" if got else "not allowed"}')
    if wrong: raise AssertionError(f'{len(wrong)} of {len(asked)} answers are wrong:\n' + '\n'.join(wrong[:40]))
    return allowed


def test_every_default_role_may_do_what_upstream_says_and_nothing_else():
    c = cluster()
    policy, served = c['policy'], c['served']
    asked, of_namespace, dice = [], {}, random.Random(4)
    who = [(f'matrix:{r}', 'matrix') for r in policy.cluster_roles] + [(f'matrix:{ns}:{r}', ns) for ns, r in policy.roles]
    who += [(f'local:{r}', ns) for r in ('cluster-admin', 'admin', 'edit', 'view', 'system:node') for ns in ('matrix', 'default')]
    for user, namespace in who:
        granted = policy.granted(user, [])
        if namespace not in of_namespace: of_namespace[namespace] = questions(policy, served, namespace)
        cells = len(served) * len(VERBS)
        asked += [(user, [], granted, q) for i, q in enumerate(of_namespace[namespace]) if i < cells or dice.random() < 0.3 or expected(granted, q)]
    allowed = compare(c['server'], asked)
    assert len(asked) > 50000 and 5000 < allowed < len(asked) / 2, (len(asked), allowed)


def test_whom_default_bindings_name():
    """Groups and users: everything; the controllers' accounts, which their roles above stand for: all that they may, and a part of what they may not."""
    c = cluster()
    policy, dice, asked = c['policy'], random.Random(5), []
    subjects = {(s['kind'], s['name'], s.get('namespace') or b['metadata'].get('namespace')) for b in policy.bindings for s in b.get('subjects') or [] if not s['name'].startswith(('matrix:', 'local:'))}
    everything = questions(policy, c['served'], 'kube-system')
    for kind, name, namespace in sorted(subjects, key=str):
        if kind == 'Group': user, groups = 'somebody', [name]
        elif kind == 'User': user, groups = name, [EVERYBODY]
        else: user, groups = f'system:serviceaccount:{namespace}:{name}', ['system:serviceaccounts', f'system:serviceaccounts:{namespace}', EVERYBODY]
        granted = policy.granted(user, groups)
        mine = [q for q in everything if kind != 'ServiceAccount' or expected(granted, q) or dice.random() < 0.05]
        asked += [(user, groups, granted, q) for q in mine]
    for user, groups in (('somebody', []), ('somebody', [EVERYBODY]), ('system:anonymous', ['system:unauthenticated']), ('system:node:n', ['system:nodes', EVERYBODY]), ('system:kube-scheduler ', [EVERYBODY]),
                         ('system:serviceaccount:default:deployment-controller', ['system:serviceaccounts', EVERYBODY]), ('System:Masters', ['SYSTEM:MASTERS', 'system:masters '])):
        granted = policy.granted(user, groups)
        asked += [(user, groups, granted, q) for q in everything if not user.startswith('system:node:') or 'path' in q]
    compare(c['server'], asked)


def path_of(q, version):
    resource, _, sub = q['resource'].partition('/')
    path = f'/apis/{q["group"]}/{version}' if q['group'] else f'/api/{version}'
    if q['namespace']: path += f'/namespaces/{q["namespace"]}'
    path += f'/{resource}'
    if sub or q['verb'] not in ('list', 'watch', 'create', 'deletecollection'): path += '/x'
    return path + (f'/{sub}' if sub else '') + {'watch': '?watch=1&resourceVersion=nonsense', 'deletecollection': '?dryRun=All&limit=x', 'delete': '?dryRun=All'}.get(q['verb'], '')


def test_requests_are_judged_as_reviews_say():
    """Requests as these users, which do nothing but are real: whoever is refused gets 403 and its words, anybody else some other answer."""
    c = cluster()
    policy, dice, sent = c['policy'], random.Random(36), []
    methods = {'get': 'GET', 'list': 'GET', 'watch': 'GET', 'create': 'POST', 'update': 'PUT', 'patch': 'PATCH', 'delete': 'DELETE', 'deletecollection': 'DELETE'}
    rows = []
    for line in open(facts() / 'resources.txt'):
        if line.startswith('#') or not line.strip() or 'off-by-default' in line: continue
        f = line.split()
        group, version = f[0].rsplit('/', 1) if '/' in f[0] else ('', f[0])
        verbs = next(w for w in f if w.startswith('verbs='))[6:].split(',')
        rows += [(group, version, f[1], f[3] == 'namespaced', v) for v in verbs if f[1].split('/')[-1] not in ('exec', 'attach', 'portforward', 'proxy') and 'review' not in f[1]]
    for role in ['admin', 'edit', 'view', 'system:kube-scheduler', 'system:node', 'system:kube-controller-manager', 'system:discovery', *dice.sample(sorted(policy.cluster_roles), 20)]:
        user = f'matrix:{role}'
        granted = policy.granted(user, [EVERYBODY])
        both = {True: [], False: []}
        for group, version, resource, namespaced, verb in rows:
            q = {'verb': verb, 'group': group, 'resource': resource, 'namespace': 'matrix' if namespaced else '', 'name': 'x' if verb not in ('list', 'watch', 'create', 'deletecollection') or '/' in resource else ''}
            both[expected(granted, q)].append((q, version))
        for want, some in both.items(): sent += [(user, q, version, want) for q, version in dice.sample(some, min(12, len(some)))]
    head = lambda user: [('Authorization', 'Bearer matrix-token'), ('Impersonate-User', user)]
    answers = send_all(c['server'].port, [request(methods[q['verb']], path_of(q, version), head(user), b'' if methods[q['verb']] in ('GET', 'DELETE') else b'[]') for user, q, version, _ in sent], at_once=8)
    for (user, q, version, want), (code, body) in zip(sent, answers):
        refused = code == 403 and f'User \\"{user}\\" cannot {q["verb"]} resource \\"{q["resource"]}\\"'.encode() in body
        if refused == want or code in (0, 401): raise AssertionError(f'{user} {methods[q["verb"]]} {path_of(q, version)}: {"allowed" if want else "not allowed"} by the facts, got {code} {body[:300]}')
    assert len(sent) > 300


def test_kubectl_meets_the_same_rules():
    c = cluster()
    s, policy, dice = c['server'], c['policy'], random.Random(7)
    s.kubectl('-n', 'matrix', 'create', 'configmap', 'x')
    s.kubectl('-n', 'matrix', 'create', 'secret', 'generic', 'x')
    tries = [(['get', 'configmap', 'x'], 'get', '', 'configmaps'), (['get', 'secrets'], 'list', '', 'secrets'), (['delete', 'secret', 'x', '--dry-run=server'], 'delete', '', 'secrets'),
             (['create', 'deployment', 'd', '--image=i', '--dry-run=server'], 'create', 'apps', 'deployments'), (['create', 'role', 'r', '--verb=get', '--resource=pods', '--dry-run=server'], 'create', 'rbac.authorization.k8s.io', 'roles')]
    for role in 'view', 'edit', 'admin', *dice.sample([r for r in policy.cluster_roles if r.startswith('system:controller:')], 1):
        user = f'matrix:{role}'
        granted = policy.granted(user, [EVERYBODY])
        for args, verb, group, resource in tries:
            want = expected(granted, {'verb': verb, 'group': group, 'resource': resource, 'namespace': 'matrix', 'name': 'x' if verb != 'create' else ''})
            r = s.kubectl('-n', 'matrix', '--as', user, *args, check=False)
            if (r.returncode == 0) != want or (not want and 'is forbidden: User' not in r.stderr): raise AssertionError(f'{user}: kubectl {" ".join(args)}: wanted {want}: {r.stdout}{r.stderr}')


def teardown():
    if state:
        code, _ = state['server'].stop()
        same(code, 0, 'exit code on SIGTERM: ' + state['server'].log_text())
        state['server'].remove()
        state['tokens'].close()
        state.clear()
