"""Dynamic resources over the API: a template becomes a claim, the scheduler gives it a device, the Pod's end gives it back; a device that is in use is not given again."""
import json
from harness import Server, same
from test_scheduler import condition, node_of, until

API = 'resource.k8s.io/v1'


def create(s, *objects):
    for o in objects: s.kubectl('create', '-f', '-', stdin=json.dumps(o))


def pod(name, claim):
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name}, 'spec': {'terminationGracePeriodSeconds': 0, 'resourceClaims': [{'name': 'gpu', **claim}],
            'containers': [{'name': 'c', 'image': 'x', 'resources': {'claims': [{'name': 'gpu'}]}}]}}


def claims(s): return s.json('get', 'resourceclaims')['items']


def test_a_pod_gets_a_device_and_gives_it_back():
    s = Server(command='server', flags=('--disable-agent',))
    try:
        until('the default ServiceAccount', lambda: s.kubectl('get', 'serviceaccount', 'default', check=False).returncode == 0, 60)
        request = {'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'gpu', 'selectors': [
            {'cel': {'expression': 'device.capacity["dra.io"].memory.compareTo(quantity("10Gi")) > 0'}}]}}]}}
        create(s, {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'n1'}},
               {'apiVersion': API, 'kind': 'DeviceClass', 'metadata': {'name': 'gpu'}, 'spec': {'selectors': [{'cel': {'expression': 'device.driver == "dra.io"'}}]}},
               {'apiVersion': API, 'kind': 'ResourceSlice', 'metadata': {'name': 's'}, 'spec': {
                   'driver': 'dra.io', 'nodeName': 'n1', 'pool': {'name': 'n1', 'generation': 1, 'resourceSliceCount': 1},
                   'devices': [{'name': 'small', 'capacity': {'memory': {'value': '8Gi'}}}, {'name': 'large', 'capacity': {'memory': {'value': '16Gi'}}}]}},
               {'apiVersion': API, 'kind': 'ResourceClaimTemplate', 'metadata': {'name': 't'}, 'spec': {'spec': request}},
               {'apiVersion': API, 'kind': 'ResourceClaim', 'metadata': {'name': 'by-hand'}, 'spec': request})
        s.kubectl('patch', 'node', 'n1', '--subresource=status', '-p', json.dumps({'status': {
            'allocatable': {'cpu': '2', 'memory': '4Gi', 'pods': '10'}, 'conditions': [{'type': 'Ready', 'status': 'True'}]}}))
        s.kubectl('taint', 'node', 'n1', 'node.kubernetes.io/not-ready-', check=False)
        create(s, pod('p1', {'resourceClaimTemplateName': 't'}))
        same(until('p1 is bound', lambda: node_of(s, 'p1'), 60), 'n1')
        name = s.json('get', 'pod', 'p1')['status']['resourceClaimStatuses'][0]['resourceClaimName']
        claim = s.json('get', 'resourceclaim', name)
        same(claim['metadata']['annotations']['resource.kubernetes.io/pod-claim-name'], 'gpu')
        same(claim['metadata']['finalizers'], ['resource.kubernetes.io/delete-protection'])
        same([(r['name'], r['resource']) for r in claim['status']['reservedFor']], [('p1', 'pods')])
        got = claim['status']['allocation']
        same([(r['request'], r['driver'], r['pool'], r['device']) for r in got['devices']['results']], [('r', 'dra.io', 'n1', 'large')])
        same(got['nodeSelector']['nodeSelectorTerms'][0]['matchFields'][0]['values'], ['n1'])
        metrics = s.kubectl('get', '--raw', '/metrics').stdout
        assert 'scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"} 1\n' in metrics, metrics[-3000:]
        create(s, pod('p2', {'resourceClaimName': 'by-hand'}))
        c = until('p2 is told why it waits', lambda: condition(s, 'p2'), 60)
        assert c['message'].startswith('0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, '), c
        s.kubectl('delete', 'pod', 'p1', '--force', '--grace-period=0')
        same(until('p2 is bound', lambda: node_of(s, 'p2'), 60), 'n1')
        until("p1's claim is gone", lambda: [c['metadata']['name'] for c in claims(s)] == ['by-hand'], 60)
        s.kubectl('delete', 'resourceclaim', 'by-hand', '--wait=false')
        assert claims(s)[0]['metadata']['finalizers'] and claims(s)[0]['status']['allocation'], 'it is in use'
        s.kubectl('delete', 'pod', 'p2', '--force', '--grace-period=0')
        until('the claim goes with its last user', lambda: not claims(s), 60)
    finally: s.remove()
