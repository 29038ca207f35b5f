"""A cluster of servers on one machine: each `ckube server` in a network namespace of its own, joined by a bridge in one more. Needs root and etcd."""
import atexit, json, os, pathlib, shutil, signal, subprocess, tempfile, time
from harness import TOP, Skip


def run(*argv, **kw):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **kw)


class Network:
    """Namespaces named PREFIX1, PREFIX2, ... with the addresses 10.77.0.1, 10.77.0.2, ... on a bridge in PREFIX0."""

    def __init__(self, size):
        if os.geteuid() != 0: raise Skip('needs root, for network namespaces')
        self.prefix, self.size = f'ckha{os.getpid()}-', size
        atexit.register(self.remove)
        self.add(0)
        self.ip(0, 'link', 'add', 'br0', 'type', 'bridge')
        self.ip(0, 'link', 'set', 'br0', 'up')
        for n in range(1, size + 1):
            self.add(n)
            self.ip(0, 'link', 'add', f'to{n}', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', f'{self.prefix}{n}')
            self.ip(0, 'link', 'set', f'to{n}', 'master', 'br0', 'up')
            self.ip(n, 'addr', 'add', f'{self.address(n)}/24', 'dev', 'eth0')
            self.ip(n, 'link', 'set', 'eth0', 'up')

    def add(self, n):
        try: run('ip', 'netns', 'add', f'{self.prefix}{n}')
        except (OSError, subprocess.CalledProcessError) as e: raise Skip(f'cannot make network namespaces: {getattr(e, "stderr", e)}')
        self.ip(n, 'link', 'set', 'lo', 'up')

    def ip(self, n, *args):
        run('ip', '-n', f'{self.prefix}{n}', *args)

    def address(self, n):
        return f'10.77.0.{n}'

    def inside(self, n, argv):
        return ['nsenter', f'--net=/run/netns/{self.prefix}{n}', *argv]

    def cut(self, n):
        """Takes namespace n off the bridge."""
        self.ip(0, 'link', 'set', f'to{n}', 'down')

    def heal(self, n):
        self.ip(0, 'link', 'set', f'to{n}', 'up')

    def remove(self):
        for n in range(self.size + 1): subprocess.run(['ip', 'netns', 'delete', f'{self.prefix}{n}'], capture_output=True)


class Member:
    """One server of a cluster: number n, from 1. flags are given at every start, also those that only the first one needs."""

    def __init__(self, network, n, flags=(), binary='build/ckube'):
        if not shutil.which('etcd'): raise Skip('no etcd on PATH')
        self.network, self.n, self.flags, self.binary, self.process = network, n, list(flags), binary, None
        self.dir = tempfile.mkdtemp(prefix=f'ckube-ha{n}-')
        self.kubeconfig = f'{self.dir}/admin.kubeconfig'
        self.url = f'https://{network.address(n)}:6443'
        atexit.register(self.remove)

    def command(self, *args, **kw):
        return subprocess.run(self.network.inside(self.n, [str(TOP / self.binary), *args, '--data-dir', self.dir]), capture_output=True, text=True, timeout=60, **kw)

    def start(self, *flags, wait=True):
        """flags: further ones, for this start only."""
        self.log = open(f'{self.dir}.log', 'ab')
        self.process = subprocess.Popen(self.network.inside(self.n, [str(TOP / self.binary), 'server', '--disable-agent', '--node-name', f'server-{self.n}', '--data-dir', self.dir, *self.flags, *flags]),
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        if wait: self.wait_ready()

    def ready(self):
        return os.path.exists(self.kubeconfig) and self.kubectl('get', '--raw', '/readyz', check=False).returncode == 0

    def wait_ready(self, seconds=60):
        deadline = time.time() + seconds
        while not self.ready():
            if self.process.poll() is not None: raise AssertionError(f'server {self.n} ended: {self.log_text()}')
            if time.time() > deadline: raise AssertionError(f'server {self.n} is not ready: {self.log_text()}')
            time.sleep(0.1)

    def kubectl(self, *args, check=True, stdin=None, timeout=60):
        r = subprocess.run(self.network.inside(self.n, ['kubectl', '--kubeconfig', self.kubeconfig, '--request-timeout=20s', *args]), input=stdin, capture_output=True, text=True, timeout=timeout,
                           env={**os.environ, 'HOME': self.dir, 'KUBECACHEDIR': f'{self.dir}/cache'})
        if check and r.returncode: raise AssertionError(f'kubectl {" ".join(args)} at server {self.n}: exit {r.returncode}\n{r.stdout}{r.stderr}\n{self.log_text()}')
        return r

    def json(self, *args):
        return json.loads(self.kubectl(*args, '-o', 'json').stdout)

    def token(self):
        return pathlib.Path(f'{self.dir}/server/token').read_text().strip()

    def log_text(self):
        return pathlib.Path(f'{self.dir}.log').read_text(errors='replace')[-3000:]

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        return self.wait_end()

    def wait_end(self, seconds=30):
        code = self.process.wait(timeout=seconds)
        self.process = None
        return code

    def remove(self):
        if self.process:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)
        try: os.unlink(f'{self.dir}.log')
        except OSError: pass
