"""Components that know two apiservers on one etcd: the one in use is killed, or stands still, and they go on at the other. (What the Service `kubernetes` teaches is no
use here: addresses on loopback are not in it.)"""
import json, shutil, signal, time
from fixtures import Etcd
from harness import Server, same
from test_leader_election import Component, wait_holder

NODE = {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'n1'}}
READY = {'status': {'capacity': {'cpu': '8', 'memory': '8Gi', 'pods': '100'}, 'allocatable': {'cpu': '8', 'memory': '8Gi', 'pods': '100'},
                    'conditions': [{'type': 'Ready', 'status': 'True', 'reason': 'x', 'message': 'x', 'lastHeartbeatTime': '2026-01-01T00:00:00Z', 'lastTransitionTime': '2026-01-01T00:00:00Z'}]}}


def pod(name): return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name}, 'spec': {'containers': [{'name': 'a', 'image': 'a'}], 'tolerations': [{'operator': 'Exists'}]}}


def until_bound(server, name, seconds=90):
    """Makes a Pod and waits until the scheduler has seen to it."""
    start = time.time()
    server.kubectl('create', '-f', '-', stdin=json.dumps(pod(name)))
    while not server.json('get', 'pod', name)['spec'].get('nodeName'):
        if time.time() > start + seconds: raise AssertionError(f'{name} is not scheduled after {seconds} s')
        time.sleep(0.1)
    return time.time() - start


def test_a_scheduler_goes_on_at_another_apiserver():
    etcd, servers, scheduler = Etcd(), [], None
    try:
        a = Server(flags=etcd.flags())
        servers.append(a)
        b = Server(flags=etcd.flags(), prepare=lambda s: shutil.copytree(f'{a.dir}/tls', f'{s.dir}/tls')) # one cluster has one set of authorities
        servers.append(b)
        a.kubectl('create', 'serviceaccount', 'default')
        a.kubectl('create', '-f', '-', stdin=json.dumps(NODE))
        a.kubectl('patch', 'node', 'n1', '--subresource=status', '--type=merge', '-p', json.dumps(READY))
        scheduler = Component('kube-scheduler', a.kubeconfig, flags=['--apiserver-endpoints', f'https://127.0.0.1:{b.port}'])
        wait_holder(b, 'kube-scheduler', lambda spec: True)
        until_bound(b, 'before')
        a.process.send_signal(signal.SIGSTOP)
        print(f'    the apiserver stands still: a Pod is scheduled after {until_bound(b, "stopped"):.1f} s', flush=True)
        a.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        a.stop(signal.SIGKILL)
        print(f'    the apiserver is killed: a Pod is scheduled after {until_bound(b, "killed"):.1f} s', flush=True)
        a.start()
        b.stop(signal.SIGKILL)
        print(f'    the other is killed and the first one back: a Pod is scheduled after {until_bound(a, "back"):.1f} s', flush=True)
        same(scheduler.process.poll(), None)
    finally:
        if scheduler: scheduler.end()
        for s in servers: s.remove()
        etcd.remove()


def test_further_apiservers_are_named_by_a_flag():
    etcd, servers, manager = Etcd(), [], None
    try:
        a = Server(flags=etcd.flags())
        servers.append(a)
        b = Server(flags=etcd.flags(), prepare=lambda s: shutil.copytree(f'{a.dir}/tls', f'{s.dir}/tls'))
        servers.append(b)
        kubeconfig = shutil.copy(a.kubeconfig, f'{b.dir}/first.kubeconfig')
        a.stop(signal.SIGKILL)
        manager = Component('kube-controller-manager', kubeconfig, flags=['--apiserver-endpoints', f'https://127.0.0.1:{b.port}', '--controllers', 'serviceaccount-controller'])
        wait_holder(b, 'kube-controller-manager', lambda spec: True)
        deadline = time.time() + 60
        while b.kubectl('get', 'serviceaccount', 'default', check=False).returncode:
            if time.time() > deadline: raise AssertionError('no ServiceAccount is made')
            time.sleep(0.1)
        same(manager.end(signal.SIGTERM), 0)
    finally:
        if manager: manager.end()
        for s in servers: s.remove()
        etcd.remove()
