"""`ckube datastore`: snapshots of a running server, restored and checked; scheduled ones and their retention."""
import json, os, pathlib, shutil, subprocess, tempfile, threading, time
from fixtures import Etcd
from harness import TOP, Server, contains, same

BINARY = str(TOP / 'build/ckube')


def datastore(*args, check=True):
    r = subprocess.run([BINARY, 'datastore', *args], capture_output=True, text=True, timeout=60)
    if check and r.returncode: raise AssertionError(f'ckube datastore {" ".join(args)}: exit {r.returncode}\n{r.stdout}{r.stderr}')
    return r


def names(s):
    return {i['metadata']['name'] for i in s.json('get', 'configmaps', '-n', 'default')['items']} - {'kube-root-ca.crt'}


def revision_of(s):
    return int(json.loads(s.kubectl('get', '--raw', '/api/v1/configmaps?limit=1').stdout)['metadata']['resourceVersion'])


def test_a_snapshot_of_a_running_server_holds_what_was_acknowledged_and_is_restored():
    s = Server(binary='build/ckube')
    stop, written = threading.Event(), []

    def write():
        n = 0
        while not stop.is_set():
            if s.kubectl('create', 'configmap', f'under-load-{n}', check=False).returncode == 0: written.append(f'under-load-{n}')
            n += 1
    try:
        s.kubectl('create', 'configmap', 'before')
        load = threading.Thread(target=write)
        load.start()
        while len(written) < 3: time.sleep(0.02)
        acknowledged = set(written)
        saved = f'{s.dir}/mine.mdb'
        contains(datastore('save', saved, '--data-dir', s.dir).stdout, f'saved {saved} (revision ')
        stop.set()
        load.join()
        contains(datastore('check', saved).stdout, 'is sound: revision ')
        same(oct(os.stat(saved).st_mode & 0o777), '0o600', 'Secrets are in it')
        revision = revision_of(s)
        s.kubectl('create', 'configmap', 'after')
        contains(datastore('restore', saved, '--data-dir', s.dir, check=False).stderr, 'is in use by another process')
        s.stop()
        datastore('restore', saved, '--data-dir', s.dir)
        s.start()
        there = names(s)
        same(acknowledged | {'before'} <= there, True, 'what was acknowledged before the snapshot')
        same('after' in there, False)
        # A client that saw later revisions must not mistake new ones for them.
        now = revision_of(s)
        assert now > revision + 10**8, (now, revision)
        gone = s.kubectl('get', '--raw', f'/api/v1/configmaps?watch=true&resourceVersion={revision}&timeoutSeconds=2', check=False)
        contains(gone.stdout + gone.stderr, 'too old resource version')
        s.kubectl('create', 'configmap', 'goes-on')
    finally:
        stop.set()
        s.remove()


def test_errors_are_told():
    d = tempfile.mkdtemp(prefix='ckube-test-')
    try:
        foreign = pathlib.Path(d, 'foreign.mdb')
        foreign.write_bytes(b'not a database' * 1000)
        cases = [
            (['check', str(foreign)], 'is not a database of ckube\'s'),
            (['check', f'{d}/none.mdb'], 'No such file or directory'),
            (['check', '--data-dir', d], 'No such file or directory'),
            (['save', '--data-dir', d], 'No such file or directory'),
            (['save', str(foreign), '--data-dir', d], 'No such file or directory'),
            (['restore', '--data-dir', d], 'name the snapshot'),
            (['restore', f'{d}/x.etcd', '--data-dir', d], 'etcdctl snapshot restore FILE'),
            (['restore', str(foreign), '--data-dir', d], 'is not a database of ckube\'s'),
            (['compact', '--data-dir', d], 'No such file or directory'),
            (['save', '--etcd-servers', 'http://127.0.0.1:1', f'--snapshot-dir={d}'], 'dial tcp 127.0.0.1:1: Connection refused'),
            (['dance'], 'usage: ckube datastore'),
        ]
        for args, words in cases:
            r = datastore(*args, check=False)
            assert r.returncode, args
            contains(r.stderr, words)
        same(sorted(os.listdir(d)), ['foreign.mdb'], 'nothing is made by what fails')
    finally:
        shutil.rmtree(d)


def test_a_snapshot_cut_short_is_refused():
    s = Server(binary='build/ckube')
    try:
        saved = f'{s.dir}/mine.mdb'
        datastore('save', saved, '--data-dir', s.dir)
        contains(datastore('save', saved, '--data-dir', s.dir, check=False).stderr, 'exists already')
        os.truncate(saved, os.path.getsize(saved) - 8192)
        contains(datastore('check', saved, check=False).stderr, 'is damaged: it ends before its contents do')
        contains(datastore('check', '--data-dir', s.dir).stdout, 'is sound')
        contains(datastore('compact', '--data-dir', s.dir, check=False).stderr, 'is in use by another process')
        s.stop()
        contains(datastore('restore', saved, '--data-dir', s.dir, check=False).stderr, 'is damaged')
        contains(datastore('compact', '--data-dir', s.dir).stdout, f'{s.dir}/db/data.mdb: ')
        s.start()
    finally:
        s.remove()


def test_scheduled_snapshots_are_kept_up_to_their_number():
    s = Server(binary='build/ckube', command='server', flags=['--disable-agent', '--snapshot-schedule-cron', '@every 1s', '--snapshot-retention', '2'])
    try:
        mine = f'{s.dir}/snapshots/snapshot-by-hand.mdb'
        deadline = time.time() + 20
        seen = set()
        while len(seen) < 4 and time.time() < deadline:
            seen |= {n for n in (os.listdir(f'{s.dir}/snapshots') if os.path.exists(f'{s.dir}/snapshots') else []) if n.startswith('scheduled-') and n.endswith('.mdb')}
            if seen and not os.path.exists(mine): datastore('save', mine, '--data-dir', s.dir)
            time.sleep(0.05)
        assert len(seen) >= 4, seen
        s.stop()
        left = datastore('list', '--data-dir', s.dir).stdout.split()
        same(len([n for n in left if '/scheduled-' in n]), 2, left)
        same(mine in left, True, 'what was saved by hand stays')
        for n in left: contains(datastore('check', n).stdout, 'is sound')
    finally:
        s.remove()
    d = tempfile.mkdtemp(prefix='ckube-test-')
    r = subprocess.run([BINARY, 'server', '--disable-agent', '--data-dir', d, '--secure-port', '0', '--bind-address', '127.0.0.1', '--snapshot-schedule-cron', 'often'], capture_output=True, text=True, timeout=20)
    shutil.rmtree(d)
    same(r.returncode, 1)
    contains(r.stderr, '--snapshot-schedule-cron: "often": ')


def test_a_snapshot_of_etcd():
    etcd, d = Etcd(), tempfile.mkdtemp(prefix='ckube-test-')
    try:
        etcd.ctl('put', '/registry/a', 'b')
        # The first server does not answer: the next one is asked.
        said = datastore('save', f'{d}/one.etcd', '--etcd-servers', f'http://127.0.0.1:1,{etcd.urls[0]}').stdout
        contains(said, f'saved {d}/one.etcd (revision 2, ')
        contains(datastore('check', f'{d}/one.etcd').stdout, 'is sound: revision 2')
        same(os.listdir(d), ['one.etcd'])
    finally:
        etcd.remove()
        shutil.rmtree(d)
