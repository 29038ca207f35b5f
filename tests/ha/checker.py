"""Whether a History can have come from one correct database, whatever was killed meanwhile. Knows nothing of servers.

A successful write is told its revision, and the watches tell every change: so the order of all writes is known, and linearizability is whether real time and every answer
agree with it (no search is needed). For each object, in the order of time:

  known(t)   the highest revision that anyone had been told of, by an answer or a watch, before t. It was in the database at t.
  a write    that is acknowledged has a revision above known(its start), stands once in the order, and in the place that its guard asks for
  a read     of the most recent state returns a revision of at least known(its start), whose write had begun before the read ended
  `absent`, `conflict` and `exists` are reads too: at some moment between start and end the object must have been so
  UNKNOWN    the write is in the order or not; REFUSED: it is not

and for each watch: every change from where it began to the end, once, in order, of the right type and content. A GAP (410, listed anew) is allowed and counted.
What is checked is exact but for two things that are not demanded: that stale reads go forward between servers, and where a gap's changes went."""
import bisect, collections
from client import ABSENT, CONFLICT, EXISTS, OK, REFUSED, UNKNOWN

WRITES = 'create', 'update', 'patch'


class Change:
    """One revision of one object. token None: a deletion, and uid is whose."""
    __slots__ = 'revision', 'token', 'uid', 'seen'

    def __init__(self, revision, token, uid, seen): self.revision, self.token, self.uid, self.seen = revision, token, uid, seen


class Order:
    """The changes of one object by revision, from everything that anyone was told."""

    def __init__(self, name, report):
        self.name, self.report, self.changes, self.revisions = name, report, {}, []

    def learn(self, revision, token, uid, seen):
        c = self.changes.get(revision)
        if not c: self.changes[revision] = Change(revision, token, uid, seen)
        elif (c.token, c.uid) != (token, uid): self.report('two contents', f'{self.name} at revision {revision} is {c.token} of {c.uid} ({c.seen}), and {token} of {uid} ({seen})')

    def settle(self): self.revisions = sorted(self.changes)
    def at(self, revision):
        """The change that is in force at a revision; None: there was none before."""
        i = bisect.bisect_right(self.revisions, revision)
        return self.changes[self.revisions[i - 1]] if i else None

    def before(self, revision): return self.at(revision - 1)
    def after(self, revision):
        """Changes above a revision, in order."""
        return (self.changes[r] for r in self.revisions[bisect.bisect_right(self.revisions, revision):])


class Checker:
    """check() returns [(what kind of violation, the case in words)]; gaps: how many watches had to list anew."""

    def __init__(self, history):
        self.h, self.violations, self.orders, self.gaps = history, [], {}, 0
        self.writers = {op.token: op for op in history.ops if op.kind in WRITES}
        self.deleters = collections.defaultdict(list)
        for op in history.ops:
            if op.kind == 'delete' and op.outcome in (OK, UNKNOWN): self.deleters[op.name].append(op)

    def report(self, kind, text): self.violations.append((kind, text))
    def order(self, name): return self.orders.setdefault(name, Order(name, self.report))

    def check(self):
        self.gather()
        for order in self.orders.values(): self.check_order(order)
        by_name = collections.defaultdict(list)
        for op in self.h.ops:
            if op.kind != 'list': by_name[op.name].append(op)
        for name, ops in by_name.items(): self.check_times(self.order(name), ops)
        self.check_lists()
        for name, events in self.h.watches.items(): self.check_watch(name, events)
        return self.violations

    # ---- the order ----

    def gather(self):
        for op in self.h.ops:
            if op.outcome != OK: continue
            if op.kind == 'list':
                for name, revision, token, uid in op.items: self.order(name).learn(revision, token, uid, op)
            elif op.kind != 'delete': self.order(op.name).learn(op.revision, op.token, op.uid, op)
        for events in self.h.watches.values():
            for e in events:
                if e.kind != 'GAP': self.order(e.name).learn(e.revision, None if e.kind == 'DELETED' else e.token, e.uid, e)
        for o in self.orders.values(): o.settle()
        self.infer_deletions()

    def infer_deletions(self):
        """When all servers were lost at once, every watch lists anew, and a deletion meanwhile is told by nobody: only that the object is gone, or is another one. It
        stands then, at half a revision, before the first list or creation that tells so. A watch that was there all the time is still found not to have told."""
        lists = [(op.revision, {name: revision for name, revision, _, _ in op.items}) for op in self.h.ops if op.kind == 'list' and op.outcome == OK]
        for o in self.orders.values():
            for revision, following in zip(list(o.revisions), [*o.revisions[1:], None]):
                c, after = o.changes[revision], o.changes.get(following)
                if c.token is None or after and (after.token is None or after.uid == c.uid): continue
                ends = [r for r, shown in lists if r > revision and o.name not in shown] + ([following] if after else [])
                if not ends: continue
                hidden = min(ends) - 0.5
                if not any(r > hidden for r, shown in lists if shown.get(o.name) == revision): o.learn(hidden, None, c.uid, 'nobody saw when')
            o.settle()

    def check_order(self, o):
        """Each change was asked for, once, and stands where its guard allows."""
        written, previous = {}, None
        for revision in o.revisions:
            c = o.changes[revision]
            if c.token is None:
                if not previous or previous.token is None: self.report('impossible order', f'{o.name} is deleted at {revision} when it was not there')
                elif previous.uid != c.uid: self.report('impossible order', f'{o.name} of {c.uid} is deleted at {revision} when {previous.uid} was there')
            else: self.check_put(o, c, previous, written)
            previous = c

    def check_put(self, o, c, previous, written):
        op = self.writers.get(c.token)
        there = previous is not None and previous.token is not None
        if not op: return self.report('invented', f'{o.name} at revision {c.revision} holds {c.token!r}, which nobody wrote ({c.seen})')
        if c.token in written: self.report('applied twice', f'{op}: at revisions {written[c.token]} and {c.revision}')
        written[c.token] = c.revision
        if op.outcome not in (OK, UNKNOWN): self.report('refused and applied', f'{op}: at revision {c.revision}')
        if op.kind == 'create' and there: self.report('guard ignored', f'{op}: created at {c.revision} over revision {previous.revision}')
        if op.kind != 'create' and not there: self.report('guard ignored', f'{op}: changed at {c.revision} what was not there')
        if op.kind == 'update' and there and previous.revision != op.expect: self.report('guard ignored', f'{op}: at {c.revision} over revision {previous.revision}')
        if there and op.kind != 'create' and previous.uid != c.uid: self.report('impossible order', f'{op}: at {c.revision} the uid changes without a deletion')

    # ---- real time ----

    def check_times(self, o, ops):
        """Walks through the moments at which calls began and something became known."""
        deletions = {c.uid: c.revision for c in o.changes.values() if c.token is None}
        moments = []
        for op in ops:
            moments += [(op.start, 1, 'start', op)] + ([(op.end, 0, 'end', op)] if op.outcome not in (UNKNOWN, REFUSED) else [])
        for events in self.h.watches.values(): moments += [(e.time, 0, 'seen', e) for e in events if e.name == o.name]
        known, at_start, deleted_by, stale = 0, {}, {}, {}
        for _, _, what, x in sorted(moments, key=lambda m: m[:2]):
            if what == 'start': at_start[id(x)] = known
            elif what == 'seen': known = max(known, x.revision)
            else: known = max(known, self.end_of(o, x, at_start[id(x)], deletions, deleted_by, stale))

    def end_of(self, o, op, known, deletions, deleted_by, stale):
        """Checks an answer; returns the revision that it proves to be there."""
        if op.outcome == OK and op.kind in WRITES: return self.end_of_write(o, op, known)
        if op.outcome == OK and op.kind == 'delete': return self.end_of_delete(op, known, deletions, deleted_by)
        if op.outcome == OK: return self.end_of_read(o, op, known, stale)
        if op.kind == 'stale' and op.outcome == ABSENT: return 0
        if op.kind == 'create' and op.outcome == ABSENT:     # not the object: what it lies in, and that is never taken away
            self.report('wrong answer', f'{op}')
            return 0
        if op.outcome == ABSENT: return self.must_have_been(o, op, op.expect if op.kind == 'atleast' else known, lambda c: c is None or c.token is None, 'absent')
        if op.outcome == EXISTS: return self.must_have_been(o, op, known, lambda c: c is not None and c.token is not None, 'there')
        if op.outcome == CONFLICT: return self.must_have_been(o, op, known, lambda c: c is None or c.revision != op.expect, 'at another revision')
        return 0

    def end_of_write(self, o, op, known):
        if op.revision <= known: self.report('not linearizable', f'{op}: its revision is not above {known}, which was known before it began')
        if 'the answer holds' in op.said: self.report('not linearizable', f'{op}')
        return op.revision

    def end_of_delete(self, op, known, deletions, deleted_by):
        revision = deletions.get(op.uid)
        if revision is None: self.report('lost', f'{op}: nobody saw the deletion of {op.uid}')
        elif op.uid in deleted_by: self.report('applied twice', f'{op}: {op.uid} was deleted by {deleted_by[op.uid]} too')
        elif revision <= known: self.report('not linearizable', f'{op}: was deleted at {revision}, but {known} was known before it began')
        deleted_by[op.uid] = op
        return revision or 0

    def end_of_read(self, o, op, known, stale):
        writer = self.writers.get(op.token)
        if writer and writer.start > op.end: self.report('not linearizable', f'{op}: read what had not begun to be written: {writer}')
        if op.kind == 'get' and op.revision < known: self.report('stale read', f'{op}: {known} was known before it began')
        if op.kind == 'atleast':
            at = o.at(op.expect)
            if op.revision < op.expect and not (at and at.revision == op.revision): self.report('stale read', f'{op}: asked for {op.expect} or later')
        if op.kind == 'stale':
            before = stale.get(op.server)
            if before and before[0] < op.start and before[1] > op.revision: self.report('back in time', f'{op}: {op.server} had shown {before[1]} before')
            if not before or op.revision > before[1]: stale[op.server] = (op.end, op.revision)
        return op.revision

    def must_have_been(self, o, op, known, fits, what):
        """At some moment between start and end the object was so: now, or after a change that had begun before the end."""
        now = o.at(known)
        if fits(now): return 0
        for c in o.after(known):
            if fits(c): return c.revision if self.had_begun(o, c, op.end) else self.never(op, what, c)
        return self.never(op, what, None)

    def never(self, op, what, c):
        self.report('not linearizable', f'{op}: it was never {what}' + (f' before revision {c.revision}, which had not begun' if c else ''))
        return 0

    def had_begun(self, o, c, time):
        if c.token is not None: return c.token not in self.writers or self.writers[c.token].start <= time
        return any(op.start <= time for op in self.deleters[o.name])

    # ---- many objects, and watches ----

    def check_lists(self):
        """A list shows all objects as they were at its revision."""
        for op in self.h.ops:
            if op.kind != 'list' or op.outcome != OK: continue
            shown = {name: revision for name, revision, _, _ in op.items}
            for name, o in self.orders.items():
                c = o.at(op.revision)
                want = c.revision if c and c.token is not None else None
                if shown.get(name) != want: self.report('torn list', f'{op}: shows {name} at {shown.get(name)}, where {want} was in force')

    def changes(self):
        if not hasattr(self, 'all_changes'): self.all_changes = sorted(((c.revision, name, c) for name, o in self.orders.items() for c in o.changes.values()), key=lambda x: x[0])
        return self.all_changes

    def check_watch(self, watcher, events):
        last = None
        for e in events:
            if e.kind == 'GAP':
                if last is not None: self.gaps += 1
                if last is not None and e.revision < last: self.report('watch', f'{watcher} listed anew at {e.revision}, behind {last}')
                last = e.revision
                continue
            if last is None: last = 0
            if e.revision <= last: self.report('watch', f'{watcher}: {e} again or out of order, behind {last}')
            self.check_type(watcher, e)
            self.check_missed(watcher, last, e.revision)
            last = max(last, e.revision)
        if watcher in self.h.complete and last is not None: self.check_missed(watcher, last, self.h.final_revision + 1)

    def check_missed(self, watcher, after, before):
        """Nothing lies strictly between two events that followed each other."""
        changes = self.changes()
        i = bisect.bisect_right(changes, after, key=lambda x: x[0])
        while i < len(changes) and changes[i][0] < before:
            self.report('watch', f'{watcher} was not told of revision {changes[i][0]}, {changes[i][1]} {changes[i][2].token or "deleted"} ({changes[i][2].seen})')
            i += 1

    def check_type(self, watcher, e):
        before = self.order(e.name).before(e.revision)
        there = before is not None and before.token is not None
        want = 'DELETED' if e.kind == 'DELETED' and there else 'MODIFIED' if there else 'ADDED'
        if e.kind != want: self.report('watch', f'{watcher}: {e} should have been {want}')
        if e.kind == 'DELETED' and there and e.token != before.token: self.report('watch', f'{watcher}: {e} shows another last state than {before.token}')


def lost(history, checker):
    """Acknowledged writes that no complete watch was told of: a part of what check_watch finds, by its right name."""
    for name in history.complete:
        told = {e.revision for e in history.watches[name]}
        first = history.watches[name][0].revision
        gaps = [(a.revision, b.revision) for a, b in zip(history.watches[name], history.watches[name][1:]) if b.kind == 'GAP']
        for op in history.ops:
            if op.kind in WRITES and op.outcome == OK and first < op.revision <= history.final_revision and op.revision not in told and not any(a < op.revision <= b for a, b in gaps):
                checker.report('lost', f'{op}: {name} was never told of it')
    return checker.violations
