"""What a control plane that runs no containers has given up, in every thread of it, and that it serves all the same."""
import os, pathlib, signal
from harness import Server, contains, same


def status_of(task):
    return dict(line.split(':\t', 1) for line in (task / 'status').read_text().splitlines() if ':\t' in line)


def check(server):
    tasks = list(pathlib.Path(f'/proc/{server.process.pid}/task').iterdir())
    assert len(tasks) > 4, tasks
    for task in tasks:
        try: status = status_of(task)
        except OSError: continue  # a thread that has just ended
        for which in 'CapInh', 'CapPrm', 'CapEff', 'CapAmb': same(int(status[which], 16), 0, which)
        if os.geteuid() == 0: same(int(status['CapBnd'], 16), 0)
        same((status['NoNewPrivs'].strip(), status['Seccomp'].strip()), ('1', '2'))
    limit = next(l for l in pathlib.Path(f'/proc/{server.process.pid}/limits').read_text().splitlines() if l.startswith('Max core file size'))
    same(limit.split()[4:6], ['0', '0'])


def test_a_server_without_a_node_has_no_privileges_and_leaves_no_core():
    s = Server(binary='build/ckube', command='server', flags=['--disable-agent'])
    check(s)
    s.kubectl('create', 'configmap', 'still', '--from-literal=it=works')
    s.process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(s.process.pid, 0)
    s.process.returncode, s.process = 0, None
    assert os.WIFSIGNALED(status) and not os.WCOREDUMP(status), status
    s.start()
    contains(s.kubectl('get', 'configmap', 'still', '-o', 'yaml').stdout, 'it: works')
    s.stop()
    s.remove()


def test_an_apiserver_has_no_privileges():
    s = Server(binary='build/ckube')
    check(s)
    s.stop()
    s.remove()
