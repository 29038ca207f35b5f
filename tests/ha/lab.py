"""Machines on one machine: a network namespace each, joined by a bridge, with links that can be cut, made deaf on one side, and delayed.

The bridge lies in a namespace of its own, the hub, which the calling process enters: clients sit there, and nothing is seen outside. All names begin with `ckh` and the
process's id; what a process that is no more left behind is removed by the next one."""
import atexit, ctypes, os, pathlib, re, shutil, signal, subprocess, sys

HERE = pathlib.Path(__file__).resolve().parent
CLONE_NEWNET = 0x40000000


class Unable(Exception):
    """This machine cannot do it; says why."""


def command(*argv, check=True):
    r = subprocess.run(argv, capture_output=True, text=True)
    if check and r.returncode: raise RuntimeError(f'{" ".join(argv)}: {r.stderr.strip()}')
    return r


def missing():
    """Why there can be no lab here, or None."""
    if os.geteuid() != 0: return 'needs root for network namespaces'
    for tool in 'ip', 'nsenter', 'nft', 'setpriv', 'unshare':
        if not shutil.which(tool): return f'no {tool} on PATH'
    return None


def in_namespace(name): return ['nsenter', f'--net=/run/netns/{name}', '--']


def remove_namespace(name):
    for pid in command('ip', 'netns', 'pids', name, check=False).stdout.split():
        try: os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError: pass
    command('ip', 'netns', 'del', name, check=False)


def sweep():
    """Removes the namespaces of labs whose process is gone, and what still runs in them."""
    for path in pathlib.Path('/run/netns').glob('ckh*-*'):
        m = re.fullmatch(r'ckh(\d+)-\w+', path.name)
        if m and not pathlib.Path(f'/proc/{m[1]}').exists(): remove_namespace(path.name)


class Machine:
    """One namespace with one link. What it does to its link it does in its own namespace, but for `unplug`."""

    def __init__(self, lab, index):
        self.lab, self.index, self.name = lab, index, f's{index + 1}'
        self.namespace, self.address, self.delayer = f'{lab.prefix}-{self.name}', lab.address(index + 1), None
        command('ip', 'netns', 'add', self.namespace)
        command('ip', 'link', 'add', self.name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', self.namespace)
        command('ip', 'link', 'set', self.name, 'master', 'br0', 'up')
        self.run('ip', 'link', 'set', 'lo', 'up')
        self.run('ip', 'addr', 'add', f'{self.address}/24', 'dev', 'eth0')
        self.run('ip', 'link', 'set', 'eth0', 'up')
        self.run('nft', 'table inet ckh {\n set deaf { type ipv4_addr; }\n set shut { type inet_service; }\n'
                 ' chain in { type filter hook input priority -10;\n ip saddr @deaf drop\n iif "lo" tcp dport @shut drop\n }\n }')

    def run(self, *argv, check=True): return command(*in_namespace(self.namespace), *argv, check=check)

    def unplug(self): command('ip', 'link', 'set', self.name, 'down')
    def plug(self): command('ip', 'link', 'set', self.name, 'up')
    def deafen(self, *addresses):
        """Drops what comes from these addresses, without a word to them."""
        self.run('nft', f'add element inet ckh deaf {{ {", ".join(addresses)} }}')

    def shut(self, port):
        """Drops what programs of this machine send to its own port over loopback."""
        self.run('nft', f'add element inet ckh shut {{ {port} }}')

    def listen(self): self.run('nft', 'flush set inet ckh deaf; flush set inet ckh shut')

    def delay(self, ms, jitter=0, loss=0):
        """Holds every packet that leaves for so long: netem. Where the kernel has none, every packet that arrives, by hand: delay.py. (By hand on its way out it
        would still count as the sender's own, and TCP sends nothing more before it is gone.)"""
        self.undelay()
        if self.run('tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'netem', 'delay', f'{ms}ms', f'{jitter}ms', 'loss', f'{loss}%', check=False).returncode == 0: return
        if not shutil.which('iptables'): raise Unable('no netem in this kernel, and no iptables to queue packets with')
        self.delayer = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *in_namespace(self.namespace), sys.executable, str(HERE / 'delay.py'), str(ms), str(jitter), str(loss)], stdout=subprocess.PIPE)
        self.delayer.stdout.readline()
        self.run('iptables', '-w', '-A', 'INPUT', '-i', 'eth0', '-j', 'NFQUEUE', '--queue-num', '7', '--queue-bypass')

    def undelay(self):
        if not self.delayer:
            self.run('tc', 'qdisc', 'del', 'dev', 'eth0', 'root', check=False)
            return
        self.run('iptables', '-w', '-F', 'INPUT')
        self.delayer.kill()
        self.delayer.wait()
        self.delayer.stdout.close()
        self.delayer = None

    def heal(self):
        self.plug()
        self.listen()
        self.undelay()


class Lab:
    """`count` machines; the calling thread, and those it starts from then on, are in the hub."""

    def __init__(self, count):
        why = missing()
        if why: raise Unable(why)
        sweep()
        self.prefix, self.hub_address, self.machines = f'ckh{os.getpid()}', self.address(254), []
        atexit.register(self.remove)
        command('ip', 'netns', 'add', f'{self.prefix}-hub')
        self.outside = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
        self.enter(os.open(f'/run/netns/{self.prefix}-hub', os.O_RDONLY))
        command('ip', 'link', 'set', 'lo', 'up')
        command('ip', 'link', 'add', 'br0', 'type', 'bridge')
        command('ip', 'addr', 'add', f'{self.hub_address}/24', 'dev', 'br0')
        command('ip', 'link', 'set', 'br0', 'up')
        for i in range(count): self.machines.append(Machine(self, i))

    @staticmethod
    def address(host): return f'10.231.7.{host}'

    @staticmethod
    def enter(fd):
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET): raise Unable(f'cannot enter a network namespace: {os.strerror(ctypes.get_errno())}')

    def heal(self):
        for m in self.machines: m.heal()

    def remove(self):
        if self.outside is None: return
        self.enter(self.outside)
        self.outside = None
        for m in self.machines:
            if m.delayer: m.delayer.kill()
        for path in pathlib.Path('/run/netns').glob(f'{self.prefix}-*'): remove_namespace(path.name)
