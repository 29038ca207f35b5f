"""A running apiserver for the tests, and kubectl in front of it. Every server gets a folder and a free port of its own, and is ended by its pid."""
import atexit, json, os, pathlib, shutil, signal, socket, subprocess, tempfile, time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = TOP.parent / 'shared'


class Skip(Exception):
    pass


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def busy():
    """Whether others keep this machine's processors: then times are no measure of ours."""
    return os.getloadavg()[0] > 2 * os.cpu_count()


class Server:
    """`ckube kube-apiserver` (or `ckube server`) on a data folder that outlives restarts."""

    def __init__(self, binary='build-asan/ckube', flags=(), command='kube-apiserver', prepare=None):
        self.dir = tempfile.mkdtemp(prefix='ckube-test-')
        self.port, self.binary, self.flags, self.command, self.process = free_port(), binary, list(flags), command, None
        self.kubeconfig = f'{self.dir}/admin.kubeconfig'
        atexit.register(self.remove)
        if prepare: prepare(self)
        self.start()

    def start(self):
        self.log = open(f'{self.dir}.log', 'ab')
        self.process = subprocess.Popen(self.command_line([str(TOP / self.binary), self.command, '--data-dir', self.dir, '--secure-port', str(self.port), '--bind-address', '127.0.0.1',
                                         '--service-cluster-ip-range', '10.96.0.0/16', *self.flags]), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.time() + 30
        while time.time() < deadline:
            if self.process.poll() is not None: raise RuntimeError('the server ended: ' + self.log_text())
            if os.path.exists(self.kubeconfig) and self.kubectl('get', '--raw', '/readyz', check=False).returncode == 0: return
            time.sleep(0.05)
        raise RuntimeError('the server is not ready: ' + self.log_text())

    def command_line(self, argv):
        """How to run something where the server can be reached."""
        return argv

    def log_text(self):
        return pathlib.Path(f'{self.dir}.log').read_text(errors='replace')[-3000:]

    def stop(self, sig=signal.SIGTERM):
        """Ends it and returns its exit code and how long that took."""
        start = time.time()
        self.process.send_signal(sig)
        code = self.process.wait(timeout=20)
        self.process = None
        return code, time.time() - start

    def remove(self):
        if self.process: self.stop(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)
        try: os.unlink(f'{self.dir}.log')
        except OSError: pass

    def kubectl(self, *args, check=True, stdin=None, kubectl='kubectl', timeout=60):
        r = subprocess.run(self.command_line([kubectl, '--kubeconfig', self.kubeconfig, *args]), input=stdin, capture_output=True, text=True, timeout=timeout,
                           env={**os.environ, 'HOME': self.dir, 'KUBECACHEDIR': f'{self.dir}/cache'})
        if check and r.returncode: raise AssertionError(f'kubectl {" ".join(args)}: exit {r.returncode}\n{r.stdout}{r.stderr}')
        return r

    def json(self, *args, **kw):
        return json.loads(self.kubectl(*args, '-o', 'json', **kw).stdout)


def kubectls():
    """Every kubectl of this machine: the one on PATH, those beside the file it links to, and Debian's unpacked by tools/setup."""
    found = shutil.which('kubectl')
    if not found: raise Skip('no kubectl on PATH')
    beside = sorted(pathlib.Path(os.path.realpath(found)).parent.glob('kubectl.1.*'))
    debian = TOP / '.deps' / 'debian-kubectl'
    return [found] + [str(p) for p in beside] + ([str(debian)] if debian.exists() else [])


def same(got, want, what=''):
    if got != want: raise AssertionError(f'{what}: wanted {want!r}, got {got!r}')


def contains(text, part):
    if part not in text: raise AssertionError(f'no {part!r} in {text!r}')
