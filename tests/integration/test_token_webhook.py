"""Tokens that a server of the administrator's knows: TokenReviews are posted to it."""
from harness import Server, contains, same
from test_access import Webhook
from test_oidc import whoami, why


def test_a_webhook_knows_tokens():
    down = []

    def answer(doc):
        if down: return 404, {}
        token, status = doc['spec']['token'], {'authenticated': False}
        if token.startswith('good'): status = {'authenticated': True, 'user': {'username': token, 'uid': '7', 'groups': ['hooked'], 'extra': {'k': ['v']}}}
        if token == 'good-for-others': status['audiences'] = ['others']
        if token == 'broken': status = {'error': 'the backend is broken'}
        return 200, {**doc, 'status': status}
    hook = Webhook(answer)
    s = Server(flags=['--authentication-token-webhook-config-file', hook.kubeconfig, '--authentication-token-webhook-version', 'v1', '--api-audiences', 'here,there'])
    me = whoami(s, 'good-ann')
    same((me['username'], me['uid'], me['groups'], me['extra']), ('good-ann', '7', ['hooked', 'system:authenticated'], {'k': ['v']}))
    path, doc = hook.asked[-1]
    same((path, doc['apiVersion'], doc['kind'], doc['spec']), ('/authorize?timeout=30s', 'authentication.k8s.io/v1', 'TokenReview', {'token': 'good-ann', 'audiences': ['here', 'there']}))
    same(why(s, 'good-ann')['audiences'], ['here', 'there'])
    for bad in 'unknown', 'good-for-others', 'broken': same(whoami(s, bad), 401, bad)
    contains(why(s, 'broken')['error'], 'the backend is broken')
    # answers are kept, of both kinds; errors are not
    count = len(hook.asked)
    for t in 'good-ann', 'unknown': whoami(s, t)
    same(len(hook.asked), count)
    whoami(s, 'broken')
    same(len(hook.asked), count + 1)
    down.append(True)
    same(whoami(s, 'good-ann')['username'], 'good-ann')
    same(whoami(s, 'good-new'), 401)
    # a ServiceAccount's token is known without asking
    count = len(hook.asked)
    s.kubectl('create', 'serviceaccount', 'bot')
    token = s.kubectl('create', 'token', 'bot').stdout.strip()
    same(whoami(s, token)['username'], 'system:serviceaccount:default:bot')
    same(len(hook.asked), count)
    s.remove()


def test_the_old_version_is_the_default():
    hook = Webhook(lambda doc: (200, {**doc, 'status': {'authenticated': True, 'user': {'username': 'old'}}}))
    s = Server(flags=['--authentication-token-webhook-config-file', hook.kubeconfig, '--authentication-token-webhook-cache-ttl', '0s'])
    for _ in range(2): same(whoami(s, 'x')['username'], 'old')
    same((len(hook.asked), hook.asked[0][1]['apiVersion']), (2, 'authentication.k8s.io/v1beta1'))
    s.remove()
    try: Server(flags=['--authentication-token-webhook-config-file', hook.kubeconfig, '--authentication-token-webhook-version', 'v2']).remove()
    except RuntimeError as e: contains(str(e), 'unsupported authentication webhook version "v2", supported versions are "v1", "v1beta1"')
    else: raise AssertionError('version v2 was taken')
