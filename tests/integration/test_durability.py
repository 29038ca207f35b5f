"""What was acknowledged is there after the server has been killed; SIGTERM ends it at once and cleanly."""
import json, os, signal, subprocess, threading, time
from harness import Server, busy, Skip, contains, same


def test_sigterm_ends_it_within_a_second_with_exit_code_0():
    s = Server(binary='build/ckube')
    code, seconds = s.stop()
    same(code, 0)
    assert seconds < 1 or busy(), f'it took {seconds:.2f} s'
    s.remove()


def test_acknowledged_writes_survive_sigkill():
    s = Server(binary='build/ckube')
    acknowledged, stop = [], threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            if s.kubectl('create', 'configmap', f'c{n}', check=False).returncode == 0: acknowledged.append(f'c{n}')
            n += 1
    t = threading.Thread(target=write)
    t.start()
    while len(acknowledged) < 5: time.sleep(0.02)
    s.stop(signal.SIGKILL)
    stop.set()
    t.join()
    s.start()
    there = {i['metadata']['name'] for i in s.json('get', 'configmaps')['items']}
    lost = [n for n in acknowledged if n not in there]
    same(lost, [])
    s.stop()
    s.remove()


def test_a_full_disk_refuses_writes_and_serves_reads():
    if os.geteuid() != 0: raise Skip('needs root, for a small disk of its own')
    mount = lambda s: subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m,mode=0755', 'tmpfs', s.dir], check=True)
    s = Server(binary='build/ckube', prepare=mount)
    try:
        value = 'x' * 900000
        refused = None
        for n in range(40):
            r = s.kubectl('create', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': f'c{n}'}, 'data': {'v': value}}), check=False)
            if r.returncode:
                refused = r.stderr
                break
        assert refused, 'the disk never filled up'
        contains(refused, 'No space left on device')
        same(len(s.json('get', 'configmaps', '--field-selector', 'metadata.name!=kube-root-ca.crt')['items']), n)
        same(s.kubectl('get', '--raw', '/livez').stdout, 'ok')
        subprocess.run(['mount', '-o', 'remount,size=64m', s.dir], check=True)
        deadline = time.time() + 10
        while s.kubectl('create', 'configmap', 'again', check=False).returncode and time.time() < deadline: time.sleep(0.2)
        same(s.kubectl('get', 'configmap', 'again', '-o', 'name').stdout.strip(), 'configmap/again')
    finally:
        if s.process: s.stop()
        subprocess.run(['umount', s.dir])
        s.remove()
