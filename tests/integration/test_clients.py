"""Client libraries that others wrote, against ours as against upstream's: python3-kubernetes and @kubernetes/client-node. Their exec needs a container and is in
test_streams.py; client-go's program here is kubectl (test_kubectl.py and most others)."""
import pathlib, subprocess
from harness import TOP, Server, Skip, same

HERE = pathlib.Path(__file__).resolve().parent / 'clients'


def system_python():
    """A Python that has the package of Debian, which need not be the one that runs this."""
    for python in '/usr/bin/python3', 'python3':
        if subprocess.run([python, '-c', 'import kubernetes'], capture_output=True).returncode == 0: return python
    raise Skip('python3-kubernetes is not installed')


def node_modules():
    if not (TOP / '.deps/node/node_modules/@kubernetes/client-node').is_dir(): raise Skip('@kubernetes/client-node is not installed: the npm registry could not be reached by tools/setup test')
    return str(TOP / '.deps/node')


def run(argv, parts):
    r = subprocess.run(argv, capture_output=True, text=True, timeout=240)
    if r.returncode: raise AssertionError(r.stdout + r.stderr[-3000:])
    same(r.stdout.split(), ' '.join(f'ok {p}' for p in parts).split())


def test_python_client():
    python, server = system_python(), Server()
    server.kubectl('create', 'serviceaccount', 'default', check=False)
    run([python, str(HERE / 'python_client.py'), server.kubeconfig], ['typed', 'watched', 'dynamically', 'elected'])
    server.remove()


def test_node_client():
    modules, server = node_modules(), Server()
    server.kubectl('create', 'serviceaccount', 'default', check=False)
    run(['node', str(HERE / 'node_client.mjs'), modules, server.kubeconfig], ['objects', 'patches', 'watch', 'informer'])
    server.remove()
