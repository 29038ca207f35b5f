#!/usr/bin/env python3
"""The checker's own specification: histories of a correct database pass, and each way of being wrong is found. Run by tests/run."""
import copy, random, unittest
from checker import Checker, lost
from history import History, Op, Seen


def kinds(history):
    c = Checker(history)
    c.check()
    return {kind for kind, _ in lost(history, c)}


class Database:
    """A correct database, one simulated second per step. Every call takes effect at one moment between its start and its end; a watch sees each change."""

    def __init__(self, seed, steps=400, clients=5, unknown=0.1):
        self.random, self.h, self.revision, self.now, self.objects, self.count = random.Random(seed), History(), 10, 0.0, {}, 0
        self.h.watches = {'a': [Seen('GAP', '', 10, '', '', 0, 's1')], 'b': [Seen('GAP', '', 10, '', '', 0, 's2')]}
        busy, late = {}, []
        for _ in range(steps):
            self.now += 1
            c = self.random.randrange(clients)
            if c not in busy: busy[c] = [self.begin(c), None]
            elif busy[c][1] is None:
                op = busy[c][0]
                if self.random.random() < unknown:           # the client gives up; the call may take effect later
                    late.append(op)
                    op.end = self.now
                    busy.pop(c)
                else: busy[c][1] = self.effect(op)
            else:
                op, answer = busy.pop(c)
                for k, v in answer.items(): setattr(op, k, v)
                op.end = self.now
            if late and self.random.random() < 0.2: self.effect(late.pop(self.random.randrange(len(late))))
        self.h.complete, self.h.final_revision = {'a', 'b'}, self.revision

    def begin(self, c):
        self.count += 1
        kind = self.random.choice(['get', 'stale', 'create', 'update', 'patch', 'delete', 'list', 'atleast'])
        op = Op(kind, self.random.choice('xy'), f'c{c}', self.random.choice(['s1', 's2']), self.now, token=f't{self.count}' if kind in ('create', 'update', 'patch') else '')
        if kind in ('update', 'delete'): op.expect = self.objects.get(op.name, (0,))[0]
        if kind == 'update' and not op.expect: op.expect = 1
        if kind == 'atleast': op.expect = self.revision
        self.h.ops.append(op)
        return op

    def change(self, kind, name, token, uid):
        self.revision += self.random.choice([1, 1, 3])       # others write too
        for w in self.h.watches.values(): w.append(Seen(kind, name, self.revision, token, uid, self.now, 's1'))
        if kind == 'DELETED': del self.objects[name]
        else: self.objects[name] = (self.revision, token, uid)
        return {'outcome': 'ok', 'revision': 0 if kind == 'DELETED' else self.revision, 'uid': uid}

    def effect(self, op):
        there = self.objects.get(op.name)
        if op.kind == 'list': return {'outcome': 'ok', 'revision': self.revision, 'items': tuple((n, *o) for n, o in self.objects.items())}
        if op.kind == 'create': return {'outcome': 'exists'} if there else self.change('ADDED', op.name, op.token, f'u{self.count}{op.token}')
        if not there: return {'outcome': 'absent'}
        if op.kind in ('get', 'stale', 'atleast'): return {'outcome': 'ok', 'revision': there[0], 'token': there[1], 'uid': there[2]}
        if op.kind in ('update', 'delete') and op.expect and op.expect != there[0]: return {'outcome': 'conflict'}
        if op.kind == 'delete': return self.change('DELETED', op.name, there[1], there[2])
        return self.change('MODIFIED', op.name, op.token, there[2])


def find(h, kind, outcome='ok', which=0): return [op for op in h.ops if op.kind == kind and op.outcome == outcome][which]


class Valid(unittest.TestCase):
    def test_what_a_correct_database_does_passes(self):
        for seed in range(20): self.assertEqual(kinds(Database(seed).h), set(), f'seed {seed}')

    def test_without_unknown_outcomes(self):
        for seed in range(10): self.assertEqual(kinds(Database(seed, unknown=0).h), set(), f'seed {seed}')

    def test_saved_and_loaded(self):
        import tempfile
        h = Database(1).h
        with tempfile.NamedTemporaryFile() as f:
            h.save(f.name)
            self.assertEqual(History.load(f.name), h)

    def test_a_gap_is_no_violation_and_is_counted(self):
        h = Database(2).h
        h.watches['a'] = h.watches['a'][:3] + [Seen('GAP', '', h.watches['a'][9].revision, '', '', 900, 's1')] + h.watches['a'][10:]
        c = Checker(h)
        self.assertEqual((c.check(), c.gaps), ([], 1))

    def test_a_deletion_that_fell_into_everyones_gap(self):
        for seed in range(20):
            h = Database(seed).h
            at = next(i for i, e in enumerate(h.watches['a']) if e.kind == 'DELETED')
            there = {}
            for e in h.watches['a'][1:at + 1]: there[e.name] = None if e.kind == 'DELETED' else (e.name, e.revision, e.token, e.uid)
            e = h.watches['a'][at]
            for w in h.watches.values(): w[at] = Seen('GAP', '', e.revision, '', '', e.time, 's1')
            h.ops.append(Op('list', '', 'w', 's1', e.time, e.time, 'ok', revision=e.revision, items=tuple(t for t in there.values() if t)))
            self.assertEqual(kinds(h), set(), f'seed {seed}')


class Wrong(unittest.TestCase):
    """Each breaks a correct history in one way, for many seeds: the break must be found every time."""

    def broken(self, change, *expected, seeds=8):
        tried = 0
        for seed in range(seeds):
            h = copy.deepcopy(Database(seed, steps=600).h)
            try: change(h)
            except (IndexError, StopIteration): continue     # this history has no place for it
            tried += 1
            found = kinds(h)
            self.assertTrue(found & set(expected), f'seed {seed}: found {found}, not {expected}')
        self.assertGreater(tried, seeds // 4)

    def test_a_read_of_what_was_overwritten_before_it_began(self):
        def change(h):
            writes = [op for op in h.ops if op.kind in ('patch', 'update', 'create') and op.outcome == 'ok']
            old, new = next((a, b) for a in writes for b in writes if a.name == b.name and a.end < b.start and a.revision < b.revision)
            h.ops.append(Op('get', old.name, 'c9', 's1', new.end + 0.1, new.end + 0.2, 'ok', old.token, 0, old.revision, old.uid))
        self.broken(change, 'stale read')

    def test_a_read_of_what_was_not_yet_written(self):
        def change(h):
            op = find(h, 'patch', which=1)
            h.ops.append(Op('get', op.name, 'c9', 's1', op.start - 0.3, op.start - 0.2, 'ok', op.token, 0, op.revision, op.uid))
        self.broken(change, 'not linearizable')

    def test_a_read_that_does_not_find_what_is_there(self):
        def change(h):
            op = find(h, 'create')
            h.ops.append(Op('get', op.name, 'c9', 's1', op.end + 0.1, op.end + 0.2, 'absent'))
            if any(o.kind == 'delete' and o.name == op.name and o.outcome in ('ok', 'unknown') and o.start <= op.end + 1 for o in h.ops): raise IndexError
        self.broken(change, 'not linearizable', seeds=30)

    def test_an_acknowledged_write_that_nobody_sees(self):
        def change(h):
            h.ops.append(Op('patch', 'x', 'c9', 's1', 9000, 9001, 'ok', 'gone', 0, h.final_revision + 5, 'u'))
            h.final_revision += 9
        self.broken(change, 'lost')

    def test_an_acknowledged_write_that_was_undone(self):
        def change(h):
            op = find(h, 'patch')
            for w in h.watches.values(): w[:] = [e for e in w if e.revision != op.revision]
        self.broken(change, 'lost')

    def test_an_acknowledged_deletion_that_did_not_happen(self):
        def change(h):
            op = find(h, 'delete')
            for w in h.watches.values(): w[:] = [e for e in w if not (e.kind == 'DELETED' and e.uid == op.uid)]
        self.broken(change, 'lost', 'watch')

    def test_a_write_that_happens_twice(self):
        def change(h):
            op = find(h, 'patch')
            for w in h.watches.values(): w.append(Seen('MODIFIED', op.name, h.final_revision + 1, op.token, op.uid, 9000, 's1'))
            h.final_revision += 1
        self.broken(change, 'applied twice')

    def test_a_create_that_comes_back_after_the_deletion(self):
        def change(h):
            op = next(o for o in h.ops if o.kind == 'create' and o.outcome == 'ok' and any(e.kind == 'DELETED' and e.uid == o.uid for e in h.watches['a']))
            last = [e for e in h.watches['a'] if e.name == op.name][-1]
            if last.kind != 'DELETED': raise IndexError
            for w in h.watches.values(): w.append(Seen('ADDED', op.name, h.final_revision + 1, op.token, op.uid, 9000, 's1'))
            h.final_revision += 1
        self.broken(change, 'applied twice', seeds=30)

    def test_a_refused_write_that_happened(self):
        def change(h):
            op = find(h, 'patch')
            op.outcome = 'refused'
        self.broken(change, 'refused and applied')

    def test_a_conflict_that_cannot_be(self):
        def change(h):
            op = find(h, 'update')
            op.outcome = 'conflict'
            for w in h.watches.values(): w[:] = [e for e in w if e.revision < op.revision]
            h.ops = [o for o in h.ops if o.end < op.start or o is op]
            h.complete = set()
        self.broken(change, 'not linearizable', seeds=30)

    def test_a_create_that_finds_no_namespace(self):
        def change(h): find(h, 'create', 'exists').outcome = 'absent'
        self.broken(change, 'wrong answer')

    def test_a_guard_that_did_not_guard(self):
        def change(h): find(h, 'update').expect -= 1
        self.broken(change, 'guard ignored')

    def test_a_create_over_what_is_there(self):
        def change(h): find(h, 'patch').kind = 'create'
        self.broken(change, 'guard ignored')

    def test_a_value_that_nobody_wrote(self):
        def change(h):
            for w in h.watches.values(): w.append(Seen('ADDED', 'z', h.final_revision + 1, 'whence?', 'u', 9000, 's1'))
            h.final_revision += 1
        self.broken(change, 'invented')

    def test_two_contents_of_one_revision(self):
        def change(h): next(e for e in h.watches['b'] if e.kind == 'MODIFIED').token = find(h, 'create').token
        self.broken(change, 'two contents')

    def test_a_write_ordered_before_one_that_had_ended(self):
        def change(h):
            writes = sorted((op for op in h.ops if op.kind == 'patch' and op.outcome == 'ok'), key=lambda op: op.revision)
            a, b = next((a, b) for a in writes for b in writes if a.name == b.name and a.revision < b.revision)
            a.start, a.end = b.end + 1, b.end + 2
        self.broken(change, 'not linearizable')

    def test_a_watch_that_misses_one(self):
        def change(h): del h.watches['a'][len(h.watches['a']) // 2]
        self.broken(change, 'watch')

    def test_a_watch_that_misses_the_last_one(self):
        def change(h): del h.watches['a'][-1]
        self.broken(change, 'watch')

    def test_a_watch_that_tells_one_twice(self):
        def change(h): h.watches['a'].insert(5, copy.copy(h.watches['a'][4]))
        self.broken(change, 'watch')

    def test_a_watch_out_of_order(self):
        def change(h): h.watches['a'][4], h.watches['a'][5] = h.watches['a'][5], h.watches['a'][4]
        self.broken(change, 'watch')

    def test_a_watch_with_the_wrong_type(self):
        def change(h): next(e for e in h.watches['a'] if e.kind == 'MODIFIED').kind = 'ADDED'
        self.broken(change, 'watch')

    def test_a_list_of_two_moments(self):
        def change(h):
            op = next(op for op in h.ops if op.kind == 'list' and op.items)
            op.items = op.items[1:]
        self.broken(change, 'torn list')

    def test_a_server_that_goes_back_in_time(self):
        def change(h):
            writes = [op for op in h.ops if op.kind == 'patch' and op.outcome == 'ok' and op.name == 'x']
            for n, op in enumerate((writes[1], writes[0])): h.ops.append(Op('stale', 'x', 'c9', 's3', 9000 + n, 9000.5 + n, 'ok', op.token, 0, op.revision, op.uid))
        self.broken(change, 'back in time')


if __name__ == '__main__': unittest.main(verbosity=0)
