"""What was acknowledged is there after the server has been killed; SIGTERM ends it at once and cleanly."""
import signal, threading, time
from harness import Server, same


def test_sigterm_ends_it_within_a_second_with_exit_code_0():
    s = Server(binary='build/ckube')
    code, seconds = s.stop()
    same(code, 0)
    assert seconds < 1, f'it took {seconds:.2f} s'
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
