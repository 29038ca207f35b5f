"""What is done to the servers. A kind of fault is a function of a Scene that breaks something and returns how to mend it; its row in KINDS says how long it may last.

`hit` are the servers whose own clients must suffer; the others are measured as those that should not."""
import collections, signal, threading, time
from cluster import compact, etcd_revision

Fault = collections.namedtuple('Fault', 'hit undo')
Kind = collections.namedtuple('Kind', 'name begin seconds clusters')
PARTS, ETCD, APART, ALL = ('etcd',), ('etcd', 'servers'), ('etcd', 'embedded'), ('etcd', 'servers', 'embedded')  # APART: components are processes of their own


class Scene:
    def __init__(self, cluster, random): self.cluster, self.servers, self.machines, self.random, self.compacted = cluster, cluster.servers, [s.machine for s in cluster.servers], random, 0

    def any(self): return self.random.choice(self.servers)
    def leader(self):
        drawn = self.any()                                   # drawn in any case, so that the seed's next numbers stay the same
        return self.cluster.database_leader() or drawn

    def follower(self):
        leader, drawn = self.leader(), self.random.randrange(len(self.servers) - 1)
        return [s for s in self.servers if s is not leader][drawn]

    def holder(self, role):
        """The server whose component holds its Lease, as was last seen."""
        drawn, holds = self.any(), self.holds[role]
        return next((s for s in self.servers if holds and s.name == holds[-1].holder), drawn)

    def others(self, server): return [s for s in self.servers if s is not server]


def kill(server, *roles):
    processes = [server.processes[r] for r in roles]
    for p in processes: p.end()
    return lambda: [p.start() for p in processes]


def pause(server, *roles):
    for r in roles: server.processes[r].pause()
    return lambda: [server.processes[r].resume() for r in roles]


def slow(process, stopped=0.2, running=0.02):
    """Lets it run for a small part of the time only."""
    ended = threading.Event()

    def run():
        while not ended.is_set():
            process.pause()
            ended.wait(stopped)
            process.resume()
            ended.wait(running)
    t = threading.Thread(target=run, daemon=True)
    t.start()

    def undo():
        ended.set()
        t.join()
        process.resume()
    return undo


def on_one(choose, how):
    """A kind that hits one server: choose(scene), how(scene, server) -> undo."""
    def begin(scene):
        server = choose(scene)
        return Fault([server], how(scene, server))
    return begin


def stop_gently(scene, s):
    p = s.processes['apiserver']
    if not p.end(signal.SIGTERM): scene.cluster.crashes.append(f'{s.name} apiserver did not end on SIGTERM: {p.log_tail()}')
    return p.start


def whole_server_killed(scene, s):
    s.kill()
    return s.start


def whole_server_paused(scene, s):
    s.pause()
    return s.resume


def unplugged(scene, s):
    s.machine.unplug()
    return s.machine.heal


def silent(scene, s):
    """Nothing passes, in either direction, and nobody is told."""
    for o in scene.others(s): o.machine.deafen(s.address)
    s.machine.deafen(scene.cluster.lab.hub_address, *[o.address for o in scene.others(s)])
    return lambda: [m.heal() for m in scene.machines]


def from_peers(scene, s):
    """The clients still reach it."""
    for o in scene.others(s): o.machine.deafen(s.address)
    s.machine.deafen(*[o.address for o in scene.others(s)])
    return lambda: [m.heal() for m in scene.machines]


def deaf(scene, s):
    """It hears none of its peers, but they hear it."""
    s.machine.deafen(*[o.address for o in scene.others(s)])
    return s.machine.heal


def from_own_member(scene, s):
    s.machine.deafen(s.address)
    return s.machine.heal


def compacted_behind(scene, s):
    """Its apiserver reaches no member of etcd while the others write and etcd forgets how: what it missed it can but compare. Its own member sleeps on until it has asked another,
    for that one still knows."""
    member, others, tls = s.processes['etcd'], scene.others(s), scene.cluster.etcd_tls
    member.pause()
    for o in others: o.machine.deafen(s.address)
    s.machine.deafen(*[o.address for o in others])
    revision = lambda: max(etcd_revision(o, tls) for o in others)
    missed = revision() + 5

    def undo():
        before, until = scene.cluster.resyncs(), time.monotonic() + 30
        while (now := revision()) < missed and time.monotonic() < until: time.sleep(0.1)
        worth = now >= missed and any(compact(o, tls, now) for o in others)
        for m in scene.machines: m.heal()
        until = time.monotonic() + 60
        while worth and scene.cluster.resyncs() == before and time.monotonic() < until: time.sleep(0.1)
        scene.compacted += worth
        member.resume()
    return undo


def components_cut_off(scene, s):
    s.machine.shut(6443)
    return s.machine.heal


def one_delayed(scene, s):
    s.machine.delay(scene.random.choice([50, 150, 400]), 30, 1)
    return s.machine.heal


def between_two(scene):
    a, b = scene.random.sample(scene.servers, 2)
    a.machine.deafen(b.address)
    b.machine.deafen(a.address)
    return Fault([], lambda: [a.machine.heal(), b.machine.heal()])


def all_delayed(scene):
    ms = scene.random.choice([10, 30, 80])
    for m in scene.machines: m.delay(ms, ms / 4)
    return Fault([], lambda: [m.heal() for m in scene.machines])


def all_apart(scene):
    for s in scene.servers: s.machine.deafen(*[o.address for o in scene.others(s)])
    return Fault(scene.servers, lambda: [m.heal() for m in scene.machines])


def two_killed(scene):
    two = scene.random.sample(scene.servers, 2)
    for s in two: s.kill()
    return Fault(scene.servers, lambda: [s.start() for s in two])


def all_killed(scene):
    for s in scene.servers: s.kill()
    return Fault(scene.servers, lambda: [s.start() for s in scene.servers])


def one_of(role, how): return on_one(lambda scene: scene.holder(role), lambda scene, s: how(s, role))


KINDS = [
    Kind('etcd leader killed', on_one(Scene.leader, lambda scene, s: kill(s, 'etcd')), (2, 8), ETCD),
    Kind('etcd follower killed', on_one(Scene.follower, lambda scene, s: kill(s, 'etcd')), (2, 8), ETCD),
    Kind('etcd leader paused', on_one(Scene.leader, lambda scene, s: pause(s, 'etcd')), (2, 12), ETCD),
    Kind('etcd follower paused', on_one(Scene.follower, lambda scene, s: pause(s, 'etcd')), (2, 12), ETCD),
    Kind('etcd leader slow', on_one(Scene.leader, lambda scene, s: slow(s.processes['etcd'])), (4, 10), ETCD),
    Kind('etcd follower slow', on_one(Scene.follower, lambda scene, s: slow(s.processes['etcd'])), (4, 10), ETCD),
    Kind('etcd compacted behind a cut off apiserver', on_one(Scene.any, compacted_behind), (3, 8), ETCD),
    Kind('apiserver killed', on_one(Scene.any, lambda scene, s: kill(s, 'apiserver')), (0, 4), ALL),
    Kind('apiserver paused', on_one(Scene.any, lambda scene, s: pause(s, 'apiserver')), (1, 14), ALL),
    Kind('apiserver stopped by SIGTERM', on_one(Scene.any, stop_gently), (0, 2), ALL),
    Kind('leading controller-manager paused', one_of('controller-manager', pause), (3, 25), APART),
    Kind('leading scheduler paused', one_of('scheduler', pause), (3, 25), APART),
    Kind('leading controller-manager killed', one_of('controller-manager', kill), (1, 18), APART),
    Kind('leading scheduler killed', one_of('scheduler', kill), (1, 18), APART),
    Kind('components cut off from their apiserver', on_one(lambda scene: scene.holder('scheduler'), components_cut_off), (5, 20), APART),
    Kind('server killed', on_one(Scene.any, whole_server_killed), (1, 8), ALL),
    Kind('server paused', on_one(Scene.any, whole_server_paused), (2, 20), ALL),
    Kind('server unplugged', on_one(Scene.any, unplugged), (2, 15), ALL),
    Kind('server silent', on_one(Scene.any, silent), (2, 15), ALL),
    Kind('leader cut off from its peers', on_one(Scene.leader, from_peers), (3, 15), ETCD),
    Kind('server cut off from its peers', on_one(Scene.any, from_peers), (3, 15), ETCD),
    Kind('server deaf to its peers', on_one(Scene.any, deaf), (3, 15), ETCD),
    Kind('apiserver cut off from its own member', on_one(Scene.any, from_own_member), (3, 12), PARTS),
    Kind('link between two cut', between_two, (3, 12), ETCD),
    Kind('server delayed and lossy', on_one(Scene.any, one_delayed), (4, 12), ALL),
    Kind('all links delayed', all_delayed, (4, 12), ALL),
    Kind('two servers killed', two_killed, (1, 6), ETCD),
    Kind('all servers killed', all_killed, (0, 4), ALL),
    Kind('all cut off from each other', all_apart, (3, 10), ETCD),
]

SHORT = 'etcd leader killed', 'leader cut off from its peers', 'apiserver paused', 'apiserver killed', 'all servers killed', 'etcd compacted behind a cut off apiserver'  # the test suite's: quick, and of every sort


class Standstills:
    """How long no write was acknowledged while something was broken and until all was well again: anywhere, and at the servers that were not hit."""

    def __init__(self, acknowledged): self.acknowledged, self.rows = acknowledged, collections.defaultdict(list)

    @staticmethod
    def gap(times, begin, end):
        """The longest time without one that touches [begin, end]."""
        inside = [t for t in times if begin < t < end]
        before, after = [t for t in times if t <= begin][-1:] or [begin], [t for t in times if t >= end][:1] or [end]
        all_times = before + inside + after
        return max((b - a for a, b in zip(all_times, all_times[1:])), default=0.0)

    def note(self, kind, begin, mended, well, hit):
        anywhere = self.gap(sorted(t for times in self.acknowledged.values() for t in list(times)), begin, well)
        spared = [self.gap(list(times), begin, well) for name, times in self.acknowledged.items() if name not in hit]
        self.rows[kind].append((mended - begin, anywhere, max(spared, default=None), well - mended))
        return self.rows[kind][-1]

    def table(self):
        yield f'{"fault":42} {"times":>5} {"lasted":>7} {"anywhere":>9} {"spared":>7} {"after":>6}   (s, the longest of each)'
        for kind, rows in sorted(self.rows.items(), key=lambda kv: -max(r[1] for r in kv[1])):
            spared = [r[2] for r in rows if r[2] is not None]
            yield f'{kind:42} {len(rows):5} {max(r[0] for r in rows):7.1f} {max(r[1] for r in rows):9.1f} {f"{max(spared):7.1f}" if spared else "      -"} {max(r[3] for r in rows):6.1f}'
