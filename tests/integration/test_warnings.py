"""Warning headers of what is accepted but questionable, in upstream's words."""
import json
from fixtures import fetch
from harness import Server, same


def warnings_of(s, path, body, method='POST'):
    code, headers, answer = fetch(s, path, method, body)
    assert code in (200, 201), answer
    return [h[len('299 - "'):-1].replace('\\"', '"') for h in headers.get_all('Warning') or []]


def named(name, **fields): return {'metadata': {'name': name, **fields.pop('meta', {})}, **fields}


def test_questionable_objects_are_warned_of():
    s = Server(binary='build/ckube')
    try:
        core, net = '/api/v1/namespaces/default', '/apis/networking.k8s.io/v1/namespaces/default'
        service = {'type': 'LoadBalancer', 'ports': [{'port': 80}], 'loadBalancerSourceRanges': ['10.0.0.0/8', 'FE80:0::/64']}
        same(warnings_of(s, core + '/services', named('ranges', spec=service)),
             ['spec.loadBalancerSourceRanges[1]: IPv6 CIDR value "FE80:0::/64" should be in RFC 5952 canonical format ("fe80::/64")'])
        refused = {**service, 'loadBalancerSourceRanges': ['2001:db8::1/32', '::ffff:a00:0/104']}
        code, _, answer = fetch(s, core + '/services', 'POST', named('refused', spec=refused))
        same((code, [(c['field'], c['message'].split(': ')[-1]) for c in json.loads(answer)['details']['causes']]),
             (422, [('spec.LoadBalancerSourceRanges[0]', 'must not have bits set beyond the prefix length'), ('spec.LoadBalancerSourceRanges[1]', 'must not have an IPv4-mapped IPv6 address')]))
        status = {'status': {'loadBalancer': {'ingress': [{'ip': 'FE80::1'}]}}}
        code, headers, _ = fetch(s, core + '/services/ranges/status', 'PATCH', status, Content_Type='application/merge-patch+json')
        same((code, headers.get_all('Warning')), (200, [r'299 - "status.loadBalancer.ingress[0]: IPv6 address \"FE80::1\" should be in RFC 5952 canonical format (\"fe80::1\")"']))
        policy = {'podSelector': {}, 'ingress': [{'from': [{'ipBlock': {'cidr': '2001:DB8::/32', 'except': ['2001:db8:0::/48']}}]}]}
        same(warnings_of(s, net + '/networkpolicies', named('blocks', spec=policy)),
             ['spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value "2001:DB8::/32" should be in RFC 5952 canonical format ("2001:db8::/32")',
              'spec.ingress[0].from[0].ipBlock.except[0]: IPv6 CIDR value "2001:db8:0::/48" should be in RFC 5952 canonical format ("2001:db8::/48")'])
        same(warnings_of(s, core + '/resourcequotas', named('upside-down', spec={'hard': {'cpu': '2', 'limits.cpu': '1', 'requests.storage': '1Gi'}})), ['ResourceQuota cpu (2) should be less than limits.cpu (1)'])
        same(warnings_of(s, core + '/serviceaccounts', named('mounts', meta={'annotations': {'kubernetes.io/enforce-mountable-secrets': 'true'}})),
             ['metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets'])
        same(warnings_of(s, '/apis/storage.k8s.io/v1/csidrivers', named('d', spec={'tokenRequests': [{'audience': 'a'}]})),
             ['spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes'])
        topology = [{'matchLabelExpressions': [{'key': 'beta.kubernetes.io/os', 'values': ['linux']}]}]
        same(warnings_of(s, '/apis/storage.k8s.io/v1/storageclasses', named('c', provisioner='p', allowedTopologies=topology)),
             ['allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.14; use "kubernetes.io/os" instead'])
        same(warnings_of(s, '/apis/node.k8s.io/v1/runtimeclasses', named('r', handler='h', scheduling={'nodeSelector': {'beta.kubernetes.io/arch': 'x'}})),
             ['scheduling.nodeSelector: deprecated since v1.14; use "kubernetes.io/arch" instead'])
        same(warnings_of(s, '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations', named('a.static.k8s.io')),
             ['metadata.name: names ending with ".static.k8s.io" are reserved for static manifest-based configurations and cannot be managed via the API'])
    finally:
        s.remove()
