"""What clients did and saw. Times are time.monotonic() of one machine, so that they compare. Kept as lines of JSON when a run fails."""
import dataclasses, json


@dataclasses.dataclass(slots=True)
class Op:
    """One call. kind: create, update (guarded by `expect`), patch (unguarded), delete (guarded if expect), get (most recent), stale (resourceVersion=0), atleast (at `expect` or later), list.
    Each write carries a token of its own, which is then the object's whole value."""
    kind: str
    name: str
    client: str
    server: str
    start: float
    end: float = 0.0
    outcome: str = 'unknown'
    token: str = ''        # what a write wrote, or a read found
    expect: int = 0        # a revision
    revision: int = 0      # what the answer said; a list's own
    uid: str = ''
    said: str = ''
    items: tuple = ()      # of a list: (name, revision, token, uid)

    def __str__(self):
        return f'{self.kind} {self.name} by {self.client} at {self.server} [{self.start:.3f}, {self.end:.3f}] {self.outcome} {self.token} expect {self.expect} revision {self.revision} {self.said}'.rstrip()


@dataclasses.dataclass(slots=True)
class Seen:
    """One event of a watch, or a gap: the watch had to list anew, at `revision`. kind: ADDED, MODIFIED, DELETED, GAP."""
    kind: str
    name: str
    revision: int
    token: str
    uid: str
    time: float
    server: str

    def __str__(self): return f'{self.kind} {self.name} {self.token} revision {self.revision} at {self.server} [{self.time:.3f}]'


@dataclasses.dataclass
class History:
    """ops: of all clients. watches: each watcher's events in the order in which it got them, the first a GAP at the revision it began at; `complete` those that had seen everything at the end."""
    ops: list = dataclasses.field(default_factory=list)
    watches: dict = dataclasses.field(default_factory=dict)
    complete: set = dataclasses.field(default_factory=set)
    final_revision: int = 0

    def save(self, path):
        with open(path, 'w') as f:
            for op in self.ops: f.write(json.dumps(dataclasses.asdict(op)) + '\n')
            for name, events in self.watches.items():
                for e in events: f.write(json.dumps({'watcher': name, **dataclasses.asdict(e)}) + '\n')
            f.write(json.dumps({'complete': sorted(self.complete), 'final_revision': self.final_revision}) + '\n')

    @staticmethod
    def load(path):
        h = History()
        with open(path) as f:
            for line in f:
                d = json.loads(line)
                if 'complete' in d: h.complete, h.final_revision = set(d['complete']), d['final_revision']
                elif 'watcher' in d: h.watches.setdefault(d.pop('watcher'), []).append(Seen(**d))
                else: h.ops.append(Op(**{**d, 'items': tuple(map(tuple, d['items']))}))
        return h
