"""A short run of tests/ha: clusters in namespaces of their own are broken under load, and a checker judges what the clients saw. `tests/ha/run` does it for longer."""
import shutil, subprocess, sys
from harness import TOP, Skip


def broken(*argv):
    """What tests/ha/run found. 77: it cannot run here."""
    r = subprocess.run([sys.executable, str(TOP / 'tests' / 'ha' / 'run'), '--short', '--seed', '1', *argv], capture_output=True, text=True, timeout=280)
    if r.returncode == 77: raise Skip(r.stdout.strip().splitlines()[-1])
    if r.returncode: raise AssertionError(f'exit {r.returncode}\n{r.stdout[-6000:]}{r.stderr[-2000:]}')
    print('    ' + '\n    '.join(l for l in r.stdout.splitlines() if 'stood still' in l), flush=True)


def test_three_servers_are_broken_under_load():
    if not shutil.which('etcd') or not shutil.which('etcdctl'): raise Skip('no etcd and etcdctl on PATH')
    broken('--store', 'servers')


def test_the_embedded_store_is_broken_under_load():
    broken('--store', 'embedded')
